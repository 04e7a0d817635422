#include "ctl/markup.h"
#include "ctl/object.h"

static struct str escape_of(char c)
{
    switch (c) {
    case '&':
        return STR("&amp;");
    case '<':
        return STR("&lt;");
    case '>':
        return STR("&gt;");
    case '"':
        return STR("&quot;");
    case '\'':
        return STR("&#39;");
    default:
        return (struct str){0};
    }
}

/* U+FFFE and U+FFFF. */
static bool is_no_character(struct str s)
{
    return str_starts(s, STR("\xef\xbf\xbe")) || str_starts(s, STR("\xef\xbf\xbf"));
}

static void escape(struct text *t, struct str s)
{
    size_t done = 0;
    for (size_t i = 0; i < s.n;) {
        struct str instead = escape_of(s.p[i]);
        size_t n = 1;
        if (!instead.n && is_no_character(str_from(s, i))) {
            instead = STR("?");
            n = 3;
        }
        if (instead.n) {
            text_add(t, str_of(s.p + done, i - done));
            text_add(t, instead);
            done = i + n;
        }
        i += n;
    }
    text_add(t, str_from(s, done));
}

void text_markup(struct text *t, struct str s)
{
    struct text clean = {0};
    text_clean(&clean, s);
    if (clean.failed)
        t->failed = clean.failed;
    escape(t, str_of(clean.p, clean.n));
    text_release(&clean);
}

#include "ctl/table.h"
#include "ctl/object.h"
#include <stdio.h>

/* Characters, not bytes. */
static size_t width_of(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

void table_add(struct table *t, struct str cell)
{
    size_t column = t->count++ % t->columns, start = t->cells.n;
    text_clean(&t->cells, cell.n ? cell : STR("-"));
    if (t->cells.failed)
        return;
    size_t width = width_of(str_of(t->cells.p + start, t->cells.n - start));
    text_add(&t->cells, str_of("", 1));
    if (width > t->width[column])
        t->width[column] = width;
}

void table_number(struct table *t, uint64_t n)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    table_add(t, str_c(digits));
}

static void write_cells(const struct table *t, struct text *out)
{
    const char *p = t->cells.p;
    size_t blanks = 0;
    for (size_t i = 0; i < t->count; i++) {
        struct str cell = str_c(p);
        size_t column = i % t->columns;
        text_fmt(out, "%*s", (int)blanks, "");
        text_add(out, cell);
        blanks = t->width[column] - width_of(cell) + 2;
        if (column + 1 == t->columns) {
            text_add(out, STR("\n"));
            blanks = 0;
        }
        p += cell.n + 1;
    }
}

void table_write(struct table *t, struct text *out)
{
    if (t->cells.failed)
        out->failed = t->cells.failed;
    else
        write_cells(t, out);
    text_release(&t->cells);
}

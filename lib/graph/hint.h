/* Helps that findings give: texts shown in part, and the nearest of the names that exist. */
#ifndef OFFSHOOT_GRAPH_HINT_H
#define OFFSHOOT_GRAPH_HINT_H

#include "lib/base/str.h"

#define HINT_EDITS 3  /* between a word and one that may have been meant */
#define SHOWN_MAX  80 /* bytes of a text that a message repeats */

/* For printf("%.*s", STR_ARG(shown(s))): the start of a long text, whole characters. */
static inline struct str shown(struct str s)
{
    if (s.n > SHOWN_MAX) {
        s.n = SHOWN_MAX;
        while (s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80)
            s.n--;
    }
    return s;
}

/* Looks for the nearest of many words. */
struct hint {
    struct str word;
    struct str best; /* n 0: none is near */
    unsigned cap;    /* edits that the next one may have */
};

/* Short words are near only when they share half of their characters. */
static inline struct hint hint_for(struct str word)
{
    size_t half = (word.n + 1) / 2;
    return (struct hint){word, {NULL, 0}, half < HINT_EDITS ? (unsigned)half : HINT_EDITS};
}

static inline void hint_offer(struct hint *h, struct str candidate)
{
    size_t n = h->word.n, m = candidate.n;
    if (h->cap == 0 || (n > m ? n - m : m - n) > h->cap)
        return;
    unsigned distance = str_distance(h->word, candidate, h->cap);
    if (distance == 0 || distance > h->cap)
        return;
    h->best = candidate;
    h->cap = distance - 1;
}

#endif

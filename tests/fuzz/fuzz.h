/* What fuzz targets share. */
#ifndef OFFSHOOT_TESTS_FUZZ_FUZZ_H
#define OFFSHOOT_TESTS_FUZZ_FUZZ_H

#include "lib/base/str.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define demand(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Takes what is before the next separator, or all the rest; a naive reading. */
static inline struct str next_part(struct str *rest, char separator)
{
    struct str part = {rest->p, str_find(*rest, separator)};
    *rest = part.n < rest->n ? str_from(*rest, part.n + 1) : str_of(rest->p, 0);
    return part;
}

#endif

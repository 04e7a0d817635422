/* What every unit test program includes: cmocka with the headers that it needs, and a run that
 * also fails when blocks of the heap stay behind. (cmocka does not count a failed group teardown
 * in its result, so that check cannot live there.) */
#ifndef OFFSHOOT_TESTS_UNIT_UNIT_H
#define OFFSHOOT_TESTS_UNIT_UNIT_H

#include "lib/base/mem.h"
#include "lib/base/str.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define unit_run(tests) unit_end(cmocka_run_group_tests(tests, NULL, NULL))

static inline int unit_end(int failed)
{
    if (mem_live() == 0)
        return failed;
    fprintf(stderr, "[  FAILED  ] %zu blocks of memory not freed\n", mem_live());
    return failed + 1;
}

/* Shows the text on failure, unlike assert_true(str_eq(...)). */
static inline void assert_str(struct str have, const char *want)
{
    size_t n = strlen(want);
    if (have.n != n || (n && memcmp(have.p, want, n) != 0))
        fail_msg("have \"%.*s\", want \"%s\"", STR_ARG(have), want);
}

#endif

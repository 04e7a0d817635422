#include "lib/wire/grpc_timeout.h"
#include <stdio.h>

#define DIGITS_MAX   8
#define DIGITS_BOUND 100000000u

static const struct {
    char unit;
    uint64_t us; /* 0: nanoseconds */
} units[] = {{'n', 0}, {'u', 1}, {'m', 1000}, {'S', 1000000}, {'M', 60000000}, {'H', 3600000000}};
#define UNITS (sizeof units / sizeof units[0])

bool grpc_timeout_parse(struct str value, uint64_t *ret_us)
{
    uint64_t number = 0;
    if (value.n < 2 || value.n > DIGITS_MAX + 1)
        return false;
    for (size_t i = 0; i + 1 < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(value.p[i] - '0');
    }
    for (size_t i = 0; i < UNITS; i++) {
        if (units[i].unit != value.p[value.n - 1])
            continue;
        *ret_us = units[i].us ? number * units[i].us : (number + 999) / 1000;
        return true;
    }
    return false;
}

size_t grpc_timeout_format(uint64_t us, char out[GRPC_TIMEOUT_TEXT])
{
    size_t i = 1;
    us = us ? us : 1;
    while (i + 1 < UNITS && us / units[i].us >= DIGITS_BOUND)
        i++;
    uint64_t number = us / units[i].us;
    number = number < DIGITS_BOUND ? number : DIGITS_BOUND - 1;
    return (size_t)snprintf(out, GRPC_TIMEOUT_TEXT, "%u%c", (unsigned)number, units[i].unit);
}

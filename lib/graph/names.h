/* Intern table: every name and reference of a graph as a small number, so that the check compares
 * numbers and finds things in arrays. Append-only; owned by one loader. */
#ifndef OFFSHOOT_GRAPH_NAMES_H
#define OFFSHOOT_GRAPH_NAMES_H

#include "lib/base/str.h"
#include <stddef.h>
#include <stdint.h>

#define NAME_NONE UINT32_MAX

struct names;

struct names *names_new(void);    /* NULL when memory is out */
void names_free(struct names *n); /* NULL is allowed */
/* The number of a name, new or known; copies it. NAME_NONE when memory is out. */
uint32_t names_add(struct names *n, struct str name);
/* NAME_NONE when it was never added. */
uint32_t names_find(const struct names *n, struct str name);
uint32_t names_count(const struct names *n); /* numbers are below this */
size_t names_bytes(const struct names *n);   /* memory it takes */

#endif

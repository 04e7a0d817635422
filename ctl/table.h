/* Aligned columns of text: gathered cell by cell, then written at once. */
#ifndef OFFSHOOT_CTL_TABLE_H
#define OFFSHOOT_CTL_TABLE_H

#include "lib/base/counters.h"

#define TABLE_COLUMNS 8

struct table {
    unsigned columns; /* 1 to TABLE_COLUMNS */
    struct text cells;
    size_t count, width[TABLE_COLUMNS];
};
/* The next cell, from left to right and from above to below. Cleaned for a terminal. */
void table_add(struct table *t, struct str cell);
void table_number(struct table *t, uint64_t n);
/* Appends the lines, without spaces at their ends. Releases the table. */
void table_write(struct table *t, struct text *out);

#endif

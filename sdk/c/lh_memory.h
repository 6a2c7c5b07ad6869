/* Tables in memory, for tests; not for plugins. */
#ifndef LH_MEMORY_H
#define LH_MEMORY_H

#include "lh_internal.h"

typedef struct lh_memory_row {
    /* Bytes that sort. */
    lh_bytes key;
    lh_value *values;
} lh_memory_row;

typedef struct lh_memory_table {
    lh_memory_row *rows;
    size_t count, room;
} lh_memory_table;

/* What undoes one change of a call. */
typedef struct lh_memory_undo {
    uint32_t table;
    lh_bytes key;
    lh_value *before;
} lh_memory_undo;

typedef struct lh_memory {
    lh_arena arena;
    const lh_shape *shapes;
    size_t table_count;
    lh_memory_table *tables;
    lh_memory_undo *undo;
    size_t undo_count, undo_room;
} lh_memory;

lh_memory *lh_memory_new(const lh_shape *shapes, size_t table_count);
void lh_memory_free(lh_memory *memory);
/* A row by its key, which is conformed; NULL where there is none. */
const lh_value *lh_memory_row_of(const lh_memory *memory, uint32_t table, const lh_value *key);
lh_rows lh_memory_find(lh_memory *memory, uint32_t table, const lh_index *index, const lh_value *prefix,
                       size_t prefix_len, const lh_value *after, uint32_t limit);
bool lh_memory_change(lh_memory *memory, lh_scope *scope, lh_change *change);
/* One call: all of its changes, or none. */
bool lh_memory_project(lh_memory *memory, const lh_projector *projector, lh_bytes events, lh_failure *failure);

#endif

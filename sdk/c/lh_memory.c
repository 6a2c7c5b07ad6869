/* Tables in memory, for tests: rows in the order of their keys, changed by the rules that the host changes rows by. */
#ifdef __wasm__
typedef int lh_nothing_of_this_is_in_the_sandbox;
#else
#include <stdlib.h>

#include "lh_memory.h"

/* ---- Keys as bytes whose memcmp order is the order of the values ---- */

static void big_endian(lh_buffer *out, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8) lh_buffer_byte(out, (uint8_t)(number >> shift));
}

static lh_bytes sorted(lh_arena *arena, const lh_value *key, size_t len)
{
    lh_buffer out = {.arena = arena};
    for (size_t i = 0; i < len; i++) {
        switch (key[i].kind) {
        case LH_KIND_BOOLEAN: lh_buffer_byte(&out, key[i].boolean); break;
        /* With the sign bit turned, negative numbers come before positive ones. */
        case LH_KIND_INTEGER:
        case LH_KIND_TIMESTAMP: big_endian(&out, (uint64_t)key[i].integer ^ UINT64_C(1) << 63); break;
        case LH_KIND_DECIMAL:
            big_endian(&out, (uint64_t)key[i].decimal.high ^ UINT64_C(1) << 63);
            big_endian(&out, key[i].decimal.low);
            break;
        /* Text has no U+0000, so one byte 0 ends it. */
        case LH_KIND_TEXT:
            lh_buffer_add(&out, key[i].text.ptr, key[i].text.len);
            lh_buffer_byte(&out, 0);
            break;
        /* A 0 within becomes 0 255; 0 0 ends. */
        default:
            for (size_t b = 0; b < key[i].bytes.len; b++) {
                lh_buffer_byte(&out, key[i].bytes.ptr[b]);
                if (key[i].bytes.ptr[b] == 0) lh_buffer_byte(&out, 0xff);
            }
            lh_buffer_byte(&out, 0);
            lh_buffer_byte(&out, 0);
        }
    }
    return (lh_bytes){out.bytes, out.len};
}

static int compare(lh_bytes one, lh_bytes other)
{
    size_t len = one.len < other.len ? one.len : other.len;
    int order = len == 0 ? 0 : memcmp(one.ptr, other.ptr, len);
    return order != 0 ? order : (one.len > other.len) - (one.len < other.len);
}

/* ---- Rows ---- */

lh_memory *lh_memory_new(const lh_shape *shapes, size_t table_count)
{
    lh_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL) abort();
    memory->shapes = shapes;
    memory->table_count = table_count;
    memory->tables = lh_arena_alloc(&memory->arena, (table_count + 1) * sizeof *memory->tables);
    memset(memory->tables, 0, (table_count + 1) * sizeof *memory->tables);
    return memory;
}

void lh_memory_free(lh_memory *memory)
{
    for (size_t i = 0; i < memory->table_count; i++) free(memory->tables[i].rows);
    free(memory->undo);
    lh_arena_free(&memory->arena);
    free(memory);
}

/* The first row whose key is not below this one; `found` says whether it is this one. */
static size_t search(const lh_memory_table *table, lh_bytes key, bool *found)
{
    size_t low = 0, high = table->count;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(table->rows[middle].key, key);
        if (order == 0) *found = true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Puts a row, or, where it is NULL, removes it; gives the one that was there. */
static lh_value *set(lh_memory_table *table, lh_bytes key, lh_value *row)
{
    bool found;
    size_t at = search(table, key, &found);
    lh_value *before = found ? table->rows[at].values : NULL;
    if (found && row != NULL) {
        table->rows[at].values = row;
    } else if (found) {
        table->count--;
        memmove(table->rows + at, table->rows + at + 1, (table->count - at) * sizeof *table->rows);
    } else if (row != NULL) {
        if (table->count == table->room) {
            table->room = table->room == 0 ? 64 : table->room * 2;
            table->rows = realloc(table->rows, table->room * sizeof *table->rows);
            if (table->rows == NULL) abort();
        }
        memmove(table->rows + at + 1, table->rows + at, (table->count - at) * sizeof *table->rows);
        table->count++;
        table->rows[at] = (lh_memory_row){key, row};
    }
    return before;
}

const lh_value *lh_memory_row_of(const lh_memory *memory, uint32_t table, const lh_value *key)
{
    lh_arena arena = {0};
    bool found;
    size_t at = search(&memory->tables[table], sorted(&arena, key, memory->shapes[table].key_count), &found);
    lh_arena_free(&arena);
    return found ? memory->tables[table].rows[at].values : NULL;
}

lh_rows lh_memory_find(lh_memory *memory, uint32_t table, const lh_index *index, const lh_value *prefix,
                       size_t prefix_len, const lh_value *after, uint32_t limit)
{
    const lh_memory_table *rows = &memory->tables[table];
    size_t from = 0, count = 0;
    if (after != NULL) {
        bool found;
        from = search(rows, sorted(&memory->arena, after, memory->shapes[table].key_count), &found);
        if (found) from++;
    }
    const lh_value **list = lh_arena_alloc(&memory->arena, rows->count * sizeof *list);
    for (size_t i = from; i < rows->count && count < limit; i++) {
        bool same = true;
        for (size_t c = 0; c < prefix_len && same; c++)
            same = lh_value_same(rows->rows[i].values[index->columns[c]], prefix[c]);
        if (same) list[count++] = rows->rows[i].values;
    }
    return (lh_rows){count, list};
}

/* ---- One call ---- */

static void set_in_call(lh_memory *memory, uint32_t table, const lh_value *key, lh_value *row)
{
    if (memory->undo_count == memory->undo_room) {
        memory->undo_room = memory->undo_room == 0 ? 256 : memory->undo_room * 2;
        memory->undo = realloc(memory->undo, memory->undo_room * sizeof *memory->undo);
        if (memory->undo == NULL) abort();
    }
    lh_bytes bytes = sorted(&memory->arena, key, memory->shapes[table].key_count);
    lh_value *before = set(&memory->tables[table], bytes, row);
    memory->undo[memory->undo_count++] = (lh_memory_undo){table, bytes, before};
}

/* A row of its own, with texts of its own. */
static lh_value *kept(lh_memory *memory, const lh_value *row, size_t columns)
{
    lh_value *own = lh_arena_alloc(&memory->arena, columns * sizeof *own);
    for (size_t i = 0; i < columns; i++) own[i] = lh_own(&memory->arena, row[i]);
    return own;
}

bool lh_memory_change(lh_memory *memory, lh_scope *scope, lh_change *change)
{
    if (change->table >= memory->table_count) return lh_violate(scope, "there is no table %u", change->table);
    const lh_shape *shape = &memory->shapes[change->table];
    size_t columns = shape->column_count;
    if (change->operation == LH_PUT) {
        if (!lh_conform_row(scope, shape, change->values, change->value_count)) return false;
        lh_value *key = lh_arena_alloc(scope->arena, shape->key_count * sizeof *key);
        for (uint32_t i = 0; i < shape->key_count; i++) key[i] = change->values[shape->key[i]];
        set_in_call(memory, change->table, key, kept(memory, change->values, columns));
        return true;
    }
    const lh_value *key = change->values;
    if (!lh_conform_key(scope, shape, change->values, change->value_count)) return false;
    if (change->operation == LH_REMOVE) {
        set_in_call(memory, change->table, key, NULL);
        return true;
    }
    const lh_value *old = lh_memory_row_of(memory, change->table, key);
    lh_value *row;
    if (old != NULL) {
        row = lh_arena_alloc(scope->arena, columns * sizeof *row);
        memcpy(row, old, columns * sizeof *row);
        if (!lh_patch_row(scope, shape, row, change->cells, change->cell_count)) return false;
    } else {
        if (change->operation == LH_PATCH)
            return lh_violate(scope, "table '%s' has no row with key %s to patch (upsert makes one)", shape->name,
                              lh_describe_key(scope->arena, key, shape->key_count));
        row = lh_new_row(scope, shape, key, change->cells, change->cell_count);
        if (row == NULL) return false;
    }
    set_in_call(memory, change->table, key, kept(memory, row, columns));
    return true;
}

static bool apply(void *self, lh_scope *scope, lh_bytes changes)
{
    lh_reader reader = lh_reader_of(scope, changes.ptr, changes.len);
    lh_change change;
    while (reader.at < reader.end)
        if (!lh_read_change(&reader, &change) || !lh_memory_change(self, scope, &change)) return false;
    return true;
}

static bool read(void *self, lh_scope *scope, lh_bytes reads, lh_bytes *answers)
{
    const lh_memory *memory = self;
    lh_buffer out = {.arena = scope->arena};
    lh_reader reader = lh_reader_of(scope, reads.ptr, reads.len);
    while (reader.at < reader.end) {
        if (lh_read_array(&reader) != 2) return lh_violate(scope, "a read does not have two entries");
        uint32_t table = lh_read_uint32(&reader);
        size_t len = lh_read_array(&reader);
        const lh_value *key = lh_read_values(&reader, len);
        if (reader.failed || table >= memory->table_count || len != memory->shapes[table].key_count)
            return lh_violate(scope, "a read is none");
        const lh_value *row = lh_memory_row_of(memory, table, key);
        if (row == NULL)
            lh_pack_nil(&out);
        else
            lh_pack_values(&out, row, memory->shapes[table].column_count);
    }
    *answers = (lh_bytes){out.bytes, out.len};
    return true;
}

static bool find(void *self, lh_scope *scope, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                 const lh_value *after, uint32_t limit, lh_rows *rows)
{
    (void)scope;
    lh_memory *memory = self;
    *rows = lh_memory_find(memory, table, &memory->shapes[table].indexes[index], prefix, prefix_len, after, limit);
    return true;
}

bool lh_memory_project(lh_memory *memory, const lh_projector *projector, lh_bytes events, lh_failure *failure)
{
    lh_arena arena = {0};
    lh_host host = {.self = memory, .apply = apply, .read = read, .find = find};
    lh_bytes changes;
    memory->undo_count = 0;
    bool fine = lh_run_project(&arena, projector, memory->shapes, &host, events, &changes, failure);
    if (fine) {
        lh_scope scope = {.arena = &arena};
        fine = apply(memory, &scope, changes);
        if (!fine) *failure = (lh_failure){.message = scope.why, .trace = ""};
    }
    if (!fine) {
        while (memory->undo_count > 0) {
            lh_memory_undo undo = memory->undo[--memory->undo_count];
            set(&memory->tables[undo.table], undo.key, undo.before);
        }
        failure->message = lh_arena_copy(&memory->arena, failure->message, strlen(failure->message));
        failure->trace = lh_arena_copy(&memory->arena, failure->trace, strlen(failure->trace));
    }
    lh_arena_free(&arena);
    return fine;
}
#endif

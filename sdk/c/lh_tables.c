/* Rows as plugins read and change them: what lamphouse.h declares of them. */
#include "lh_internal.h"

/* Rows that one page of lh_find asks the host for. */
enum { FIND_PAGE_ROWS = 1000 };

bool lh_fine(lh_call *call, bool fine, lh_place_ place)
{
    if (!fine && call->failed_at.file == NULL) call->failed_at = place;
    return fine;
}

static lh_result result(lh_call *call, bool fine) { return lh_fine(call, fine, call->place) ? LH_OK : LH_FAILED; }

static bool is_table(lh_call *call, uint32_t table)
{
    if (call->scope.why != NULL) return false;
    if (call->host == NULL) return lh_violate(&call->scope, "an upcaster has no tables");
    return table < call->table_count ||
           lh_violate(&call->scope, "table %u is used, but %u are declared (they count from 0)", table,
                      call->table_count);
}

/* The place of a row that may be changed. */
static bool change_place(lh_call *call, uint32_t table, const lh_value *key, size_t key_len, uint32_t *place)
{
    if (!is_table(call, table)) return false;
    if (call->prefetching) return lh_violate(&call->scope, "a prefetch names rows, and changes none");
    *place = lh_memo_place(call, table, key, key_len);
    return *place != UINT32_MAX;
}

const lh_value *lh_get(lh_call *call, uint32_t table, const lh_value *key, size_t key_len)
{
    if (!lh_fine(call, is_table(call, table), call->place)) return NULL;
    uint32_t place = lh_memo_place(call, table, key, key_len);
    bool known = place != UINT32_MAX && (call->memo.entries[place].state == LH_KNOWN || lh_memo_read(call, &place, 1));
    return lh_fine(call, known, call->place) ? call->memo.entries[place].row : NULL;
}

lh_rows lh_get_many(lh_call *call, uint32_t table, const lh_value *keys, size_t count)
{
    lh_rows none = {0, NULL};
    if (!lh_fine(call, is_table(call, table), call->place)) return none;
    uint32_t key_len = call->shapes[table].key_count;
    uint32_t *places = lh_alloc(call, count * sizeof *places);
    bool fine = true;
    for (size_t i = 0; i < count && fine; i++) {
        places[i] = lh_memo_place(call, table, keys + i * key_len, key_len);
        fine = places[i] != UINT32_MAX;
    }
    if (!lh_fine(call, fine && lh_memo_read(call, places, count), call->place)) return none;
    const lh_value **rows = lh_alloc(call, count * sizeof *rows);
    for (size_t i = 0; i < count; i++) rows[i] = call->memo.entries[places[i]].row;
    return (lh_rows){count, rows};
}

static lh_value *key_of(lh_call *call, const lh_shape *shape, const lh_value *row)
{
    lh_value *key = lh_alloc(call, shape->key_count * sizeof *key);
    for (uint32_t i = 0; i < shape->key_count; i++) key[i] = row[shape->key[i]];
    return key;
}

static bool page(lh_call *call, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                 const lh_value *after, uint32_t limit, lh_rows *out)
{
    if (!is_table(call, table)) return false;
    if (call->prefetching) return lh_violate(&call->scope, "a prefetch names rows, and finds none");
    const lh_shape *shape = &call->shapes[table];
    lh_value *own = lh_alloc(call, prefix_len * sizeof *own);
    for (size_t i = 0; i < prefix_len; i++) own[i] = prefix[i];
    if (!lh_conform_prefix(&call->scope, shape, index, own, prefix_len)) return false;
    const lh_value *behind = after == NULL ? NULL : key_of(call, shape, after);
    /* Only the host has the index, so it has to know what this call changed. */
    lh_buffer changes = {.arena = call->scope.arena};
    lh_memo_hand_over(call, table, &changes);
    const lh_host *host = call->host;
    if (changes.len > 0 && !host->apply(host->self, &call->scope, (lh_bytes){changes.bytes, changes.len})) return false;
    if (!host->find(host->self, &call->scope, table, index, own, prefix_len, behind, limit, out)) return false;
    for (size_t i = 0; i < out->count; i++) {
        uint32_t place = lh_memo_place(call, table, key_of(call, shape, out->rows[i]), shape->key_count);
        if (place == UINT32_MAX) return false;
        /* A copy, so that whoever goes through the rows may change them. */
        lh_value *row = lh_alloc(call, shape->column_count * sizeof *row);
        memcpy(row, out->rows[i], shape->column_count * sizeof *row);
        lh_memo_found(call, place, row);
    }
    return true;
}

lh_rows lh_find_page(lh_call *call, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                     const lh_value *after, uint32_t limit)
{
    lh_rows rows = {0, NULL};
    bool fine = page(call, table, index, prefix, prefix_len, after, limit, &rows);
    return lh_fine(call, fine, call->place) ? rows : (lh_rows){0, NULL};
}

lh_rows lh_find(lh_call *call, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len)
{
    lh_buffer rows = {.arena = call->scope.arena};
    size_t count = 0;
    const lh_value *last = NULL;
    for (;;) {
        lh_rows next = lh_find_page(call, table, index, prefix, prefix_len, last, FIND_PAGE_ROWS);
        if (next.count > 0) {
            lh_buffer_add(&rows, next.rows, next.count * sizeof *next.rows);
            count += next.count;
            last = next.rows[next.count - 1];
        }
        if (next.count < FIND_PAGE_ROWS) break;
    }
    if (call->scope.why != NULL) return (lh_rows){0, NULL};
    return (lh_rows){count, (const lh_value *const *)(void *)rows.bytes};
}

lh_result lh_put(lh_call *call, uint32_t table, const lh_value *row, size_t row_len)
{
    if (!is_table(call, table)) return result(call, false);
    const lh_shape *shape = &call->shapes[table];
    size_t room = row_len > shape->column_count ? row_len : shape->column_count;
    lh_value *own = lh_alloc(call, room * sizeof *own);
    for (size_t i = 0; i < room; i++) own[i] = i < row_len ? row[i] : lh_null();
    if (!lh_conform_row(&call->scope, shape, own, room)) return result(call, false);
    for (size_t i = 0; i < room; i++) own[i] = lh_own(call->scope.arena, own[i]);
    lh_value one, *key = &one;
    if (shape->key_count == 1)
        one = own[shape->key[0]];
    else
        key = key_of(call, shape, own);
    uint32_t place = UINT32_MAX;
    return result(call, change_place(call, table, key, shape->key_count, &place) && lh_memo_replace(call, place, own));
}

lh_result lh_patch(lh_call *call, uint32_t table, const lh_value *key, size_t key_len, const lh_cell *cells,
                   size_t count)
{
    uint32_t place = UINT32_MAX;
    return result(call,
                  change_place(call, table, key, key_len, &place) && lh_memo_change(call, place, cells, count, true));
}

lh_result lh_upsert(lh_call *call, uint32_t table, const lh_value *key, size_t key_len, const lh_cell *cells,
                    size_t count)
{
    uint32_t place = UINT32_MAX;
    return result(call,
                  change_place(call, table, key, key_len, &place) && lh_memo_change(call, place, cells, count, false));
}

lh_result lh_remove(lh_call *call, uint32_t table, const lh_value *key, size_t key_len)
{
    uint32_t place = UINT32_MAX;
    return result(call, change_place(call, table, key, key_len, &place) && lh_memo_replace(call, place, NULL));
}

void lh_want(lh_call *call, uint32_t table, const lh_value *key, size_t key_len)
{
    /* A table that is not declared is told when it is used, and so is a key that cannot be one. */
    if (table >= call->table_count || call->scope.why != NULL) return;
    uint32_t place = lh_memo_place(call, table, key, key_len);
    call->scope.why = NULL;
    if (place == UINT32_MAX || !call->prefetching) return;
    if (call->wanted_count == call->wanted_room) {
        uint32_t room = call->wanted_room == 0 ? 1024 : call->wanted_room * 2;
        uint32_t *wanted = lh_alloc(call, room * sizeof *wanted);
        if (call->wanted_count > 0) memcpy(wanted, call->wanted, call->wanted_count * sizeof *wanted);
        call->wanted = wanted;
        call->wanted_room = room;
    }
    call->wanted[call->wanted_count++] = place;
}

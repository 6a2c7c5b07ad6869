/* The rows that one call has read or changed.
 *
 * Every row is answered from here once it is known, with all changes of the call in it; what it became goes to the
 * host once, at the end: a row that a batch touches a hundred times crosses the boundary once. A row that is only
 * changed, never read, is never asked for: its changes are merged instead. */
#include "lh_internal.h"

enum { ENTRIES_MIN = 256 };

/* FxHash over words, the last of which may overlap the one before, with the last step of MurmurHash3 behind it: what
 * numbered keys differ in stands in the highest bytes of their last word, which one multiplication only carries
 * upwards. */
static inline uint32_t hash_of(uint32_t table, const char *key, size_t len)
{
    const uint64_t factor = UINT64_C(0x517cc1b727220a95);
    uint64_t hash = (uint64_t)table << 32 | len, word = 0;
    if (len >= 8) {
        for (size_t i = 0; i + 8 <= len; i += 8) hash = ((hash << 5 | hash >> 59) ^ lh_word(key + i)) * factor;
        word = lh_word(key + len - 8);
    } else {
        for (size_t i = 0; i < len; i++) word = word << 8 | (unsigned char)key[i];
    }
    hash = ((hash << 5 | hash >> 59) ^ word) * factor;
    hash = (hash ^ hash >> 32) * factor;
    return (uint32_t)(hash ^ hash >> 32);
}

/* Word by word, for the sandbox has no quick memcmp. */
static inline bool is_same(const char *one, const char *other, size_t len)
{
    if (len < 8) {
        for (size_t i = 0; i < len; i++)
            if (one[i] != other[i]) return false;
        return true;
    }
    for (size_t i = 0; i + 8 <= len; i += 8)
        if (lh_word(one + i) != lh_word(other + i)) return false;
    return lh_word(one + len - 8) == lh_word(other + len - 8);
}

static void grow(lh_call *call)
{
    lh_memo *memo = &call->memo;
    uint32_t room = memo->room == 0 ? ENTRIES_MIN : memo->room * 2;
    lh_entry *entries = lh_arena_alloc(call->scope.arena, room * sizeof *entries);
    if (memo->count > 0) memcpy(entries, memo->entries, memo->count * sizeof *entries);
    memo->entries = entries;
    memo->room = room;
    /* At most half full. */
    memo->slot_mask = room * 2 - 1;
    memo->slots = lh_arena_alloc(call->scope.arena, room * 2 * sizeof *memo->slots);
    memset(memo->slots, 0, room * 2 * sizeof *memo->slots);
    for (uint32_t i = 0; i < memo->count; i++) {
        uint32_t slot = entries[i].hash & memo->slot_mask;
        while (memo->slots[slot] != 0) slot = (slot + 1) & memo->slot_mask;
        memo->slots[slot] = i + 1;
    }
}

/* `key` is conformed; `owned` says that its texts live as long as the call. */
static uint32_t place_of_bytes(lh_call *call, uint32_t table, const char *bytes, size_t len, const lh_value *key,
                               size_t key_len)
{
    lh_memo *memo = &call->memo;
    if (memo->count == memo->room) grow(call);
    uint32_t hash = hash_of(table, bytes, len), slot = hash & memo->slot_mask;
    for (; memo->slots[slot] != 0; slot = (slot + 1) & memo->slot_mask) {
        const lh_entry *entry = &memo->entries[memo->slots[slot] - 1];
        if (entry->hash == hash && entry->table == table && entry->bytes_len == len &&
            is_same(entry->bytes, bytes, len))
            return memo->slots[slot] - 1;
    }
    lh_arena *arena = call->scope.arena;
    lh_value *own = lh_arena_alloc(arena, key_len * sizeof *own);
    for (size_t i = 0; i < key_len; i++) own[i] = lh_own(arena, key[i]);
    /* All keys of a table have the same types, so that a text may stand for itself. */
    bool is_text = key_len == 1 && own[0].kind == LH_KIND_TEXT;
    memo->entries[memo->count] = (lh_entry){
        .table = table,
        .hash = hash,
        .key = own,
        .bytes = is_text ? own[0].text.ptr : lh_arena_copy(arena, bytes, len),
        .bytes_len = (uint32_t)len,
    };
    memo->slots[slot] = ++memo->count;
    return memo->count - 1;
}

uint32_t lh_memo_place(lh_call *call, uint32_t table, const lh_value *key, size_t key_len)
{
    const lh_shape *shape = &call->shapes[table];
    if (lh_is_plain_text_key(shape, key, key_len))
        return place_of_bytes(call, table, key->text.ptr, key->text.len, key, 1);
    lh_arena *arena = call->scope.arena;
    lh_value *own = lh_arena_alloc(arena, key_len * sizeof *own);
    for (size_t i = 0; i < key_len; i++) own[i] = key[i];
    if (!lh_conform_key(&call->scope, shape, own, key_len)) return UINT32_MAX;
    if (key_len == 1 && own[0].kind == LH_KIND_TEXT)
        return place_of_bytes(call, table, own[0].text.ptr, own[0].text.len, own, 1);
    lh_buffer bytes = {.arena = arena};
    lh_pack_values(&bytes, own, key_len);
    return place_of_bytes(call, table, (const char *)bytes.bytes, bytes.len, own, key_len);
}

static bool absent(lh_call *call, const lh_entry *entry)
{
    const lh_shape *shape = &call->shapes[entry->table];
    return lh_violate(&call->scope, "table '%s' has no row with key %s to patch (upsert makes one)", shape->name,
                      lh_describe_key(call->scope.arena, entry->key, shape->key_count));
}

static void know(lh_entry *entry, lh_value *row, bool dirty)
{
    entry->state = LH_KNOWN;
    entry->row = row;
    entry->flag = dirty;
}

/* Takes in what the host has, with the changes that were made meanwhile. */
static bool learn(lh_call *call, lh_entry *entry, lh_value *row)
{
    const lh_shape *shape = &call->shapes[entry->table];
    bool pending = entry->state == LH_PENDING;
    if (pending && row == NULL) {
        if (entry->flag) return absent(call, entry);
        row = lh_new_row(&call->scope, shape, entry->key, entry->cells, entry->cell_count);
        if (row == NULL) return false;
    } else if (pending) {
        if (!lh_patch_row(&call->scope, shape, row, entry->cells, entry->cell_count)) return false;
    }
    know(entry, row, pending);
    return true;
}

bool lh_memo_read(lh_call *call, const uint32_t *places, size_t count)
{
    lh_memo *memo = &call->memo;
    lh_buffer reads = {.arena = call->scope.arena};
    uint32_t *wanted = lh_arena_alloc(call->scope.arena, count * sizeof *wanted);
    size_t unread = 0;
    for (size_t i = 0; i < count; i++) {
        lh_entry *entry = &memo->entries[places[i]];
        if (entry->state == LH_KNOWN || entry->wanted) continue;
        entry->wanted = true;
        wanted[unread++] = places[i];
        lh_pack_read(&reads, entry->table, entry->key, call->shapes[entry->table].key_count);
    }
    if (unread == 0) return true;
    lh_bytes answers = {NULL, 0};
    if (!call->host->read(call->host->self, &call->scope, (lh_bytes){reads.bytes, reads.len}, &answers)) return false;
    lh_reader reader = lh_reader_of(&call->scope, answers.ptr, answers.len);
    for (size_t i = 0; i < unread; i++) {
        lh_entry *entry = &memo->entries[wanted[i]];
        entry->wanted = false;
        if (reader.at == reader.end)
            return lh_violate(&call->scope, "the host answered fewer rows than were asked for");
        size_t columns = 0;
        lh_value *row = NULL;
        if (lh_read_array_or_nil(&reader, &columns)) {
            if (columns != call->shapes[entry->table].column_count)
                return lh_violate(&call->scope, "the host answered a row of another table");
            row = lh_read_values(&reader, columns);
        }
        if (reader.failed || !learn(call, entry, row)) return false;
    }
    return true;
}

void lh_memo_found(lh_call *call, uint32_t place, lh_value *row)
{
    lh_entry *entry = &call->memo.entries[place];
    if (entry->state == LH_UNKNOWN) know(entry, row, false);
}

bool lh_memo_replace(lh_call *call, uint32_t place, lh_value *row)
{
    lh_entry *entry = &call->memo.entries[place];
    /* A patch of an absent row faults, even if another row comes after it. */
    if (entry->state == LH_PENDING && entry->flag && !lh_memo_read(call, &place, 1)) return false;
    /* A row known to be absent need not be removed again. */
    bool gone = entry->state == LH_KNOWN && entry->row == NULL && !entry->flag;
    know(entry, row, row != NULL || !gone);
    return true;
}

bool lh_memo_change(lh_call *call, uint32_t place, const lh_cell *cells, size_t count, bool must_exist)
{
    lh_entry *entry = &call->memo.entries[place];
    const lh_shape *shape = &call->shapes[entry->table];
    lh_scope *scope = &call->scope;
    if (entry->state == LH_UNKNOWN) {
        lh_cell *own = lh_conform_cells(scope, shape, cells, count);
        if (own == NULL) return false;
        if (must_exist || lh_names_all_required(shape, own, count)) {
            entry->state = LH_PENDING;
            entry->flag = must_exist;
            entry->cells = own;
            entry->cell_count = count;
            return true;
        }
        /* Only right if the row is there already, which only the host knows. */
        if (!lh_memo_read(call, &place, 1)) return false;
    } else if (entry->state == LH_PENDING) {
        /* Behind either change the row exists, so that an upsert and a patch are the same now. */
        lh_cell *rest = lh_arena_alloc(scope->arena, count * sizeof *rest);
        size_t rest_count = 0;
        if (!lh_merge_cells(scope, shape, entry->cells, &entry->cell_count, cells, count, rest, &rest_count))
            return false;
        if (rest_count == 0) return true;
        cells = rest;
        count = rest_count;
        if (!lh_memo_read(call, &place, 1)) return false;
    }
    if (entry->row != NULL) {
        entry->flag = true;
        return lh_patch_row(scope, shape, entry->row, cells, count);
    }
    if (must_exist) return absent(call, entry);
    lh_value *row = lh_new_row(scope, shape, entry->key, cells, count);
    if (row == NULL) return false;
    know(entry, row, true);
    return true;
}

void lh_memo_hand_over(lh_call *call, uint32_t table, lh_buffer *out)
{
    for (uint32_t i = 0; i < call->memo.count; i++) {
        lh_entry *entry = &call->memo.entries[i];
        if (table != UINT32_MAX && entry->table != table) continue;
        const lh_shape *shape = &call->shapes[entry->table];
        lh_change change = {.table = entry->table, .values = entry->key, .value_count = shape->key_count};
        if (entry->state == LH_PENDING) {
            change.operation = entry->flag ? LH_PATCH : LH_UPSERT;
            change.cells = entry->cells;
            change.cell_count = entry->cell_count;
            entry->state = LH_UNKNOWN;
        } else if (entry->state == LH_UNKNOWN || !entry->flag) {
            continue;
        } else if (entry->row == NULL) {
            change.operation = LH_REMOVE;
        } else {
            change.operation = LH_PUT;
            change.values = entry->row;
            change.value_count = shape->column_count;
        }
        entry->flag = false;
        lh_pack_change(out, &change);
    }
}

/* The byte format of wit/PACKED.md: written in its shortest form, read in every valid one. */
#include "lh_internal.h"

enum { NIL = 0xc0, EXT_DECIMAL = 1, EXT_TIMESTAMP = 2, EXT_JSON = 3, EVENT_ENTRIES = 12 };

/* ---- Reading ---- */

lh_reader lh_reader_of(lh_scope *scope, const void *bytes, size_t len)
{
    return (lh_reader){.at = bytes, .end = (const uint8_t *)bytes + len, .start = bytes, .scope = scope};
}

static void fail(lh_reader *reader, const char *what)
{
    if (reader->failed) return;
    reader->failed = true;
    lh_violate(reader->scope, "packed bytes, before byte %zu: %s", (size_t)(reader->at - reader->start), what);
    /* So that whoever goes on finds nothing. */
    reader->at = reader->end;
}

static void unexpected(lh_reader *reader, uint8_t tag, const char *wanted)
{
    if (!reader->failed)
        fail(reader, lh_arena_format(reader->scope->arena, "found tag 0x%02x where %s is due", tag, wanted));
}

static inline bool has(lh_reader *reader, size_t bytes)
{
    if (LH_UNLIKELY((size_t)(reader->end - reader->at) < bytes)) {
        fail(reader, "they end within a piece that began before");
        return false;
    }
    return true;
}

static inline uint8_t take_tag(lh_reader *reader) { return has(reader, 1) ? *reader->at++ : NIL; }

/* A big-endian number of so many bytes. */
static inline uint64_t take(lh_reader *reader, size_t bytes)
{
    if (!has(reader, bytes)) return 0;
    const uint8_t *at = reader->at;
    reader->at += bytes;
    uint64_t word;
    switch (bytes) {
    case 1: return at[0];
    case 2: return (uint64_t)at[0] << 8 | at[1];
    case 4: return (uint64_t)at[0] << 24 | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 8 | at[3];
    default: word = lh_word(at); return __builtin_bswap64(word);
    }
}

static inline const uint8_t *take_bytes(lh_reader *reader, size_t len)
{
    if (!has(reader, len)) return NULL;
    const uint8_t *at = reader->at;
    reader->at += len;
    return at;
}

size_t lh_read_array(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    size_t count = 0;
    if (tag >= 0x90 && tag <= 0x9f)
        count = tag & 0x0f;
    else if (tag == 0xdc)
        count = (size_t)take(reader, 2);
    else if (tag == 0xdd)
        count = (size_t)take(reader, 4);
    else
        unexpected(reader, tag, "an array");
    /* An entry takes at least one byte, so a count beyond the bytes that are left is a lie. */
    if (count > (size_t)(reader->end - reader->at)) {
        fail(reader, "an array is longer than the bytes that are left");
        return 0;
    }
    return count;
}

bool lh_read_array_or_nil(lh_reader *reader, size_t *count)
{
    if (reader->at < reader->end && *reader->at == NIL) {
        reader->at++;
        return false;
    }
    *count = lh_read_array(reader);
    return !reader->failed;
}

/* The integer behind a tag; false if the tag is of something else. */
static inline bool int_of(lh_reader *reader, uint8_t tag, int64_t *out)
{
    if (tag < 0x80) {
        *out = tag;
        return true;
    }
    if (tag >= 0xe0) {
        *out = (int8_t)tag;
        return true;
    }
    switch (tag) {
    case 0xcc: *out = (int64_t)take(reader, 1); return true;
    case 0xcd: *out = (int64_t)take(reader, 2); return true;
    case 0xce: *out = (int64_t)take(reader, 4); return true;
    case 0xcf: {
        uint64_t number = take(reader, 8);
        if (number > INT64_MAX) fail(reader, "an integer does not fit 64 bits with a sign");
        *out = (int64_t)number;
        return true;
    }
    case 0xd0: *out = (int8_t)take(reader, 1); return true;
    case 0xd1: *out = (int16_t)take(reader, 2); return true;
    case 0xd2: *out = (int32_t)take(reader, 4); return true;
    case 0xd3: *out = (int64_t)take(reader, 8); return true;
    default: return false;
    }
}

uint64_t lh_read_uint(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    int64_t number = 0;
    if (tag < 0x80) return tag;
    /* The one form that an integer with a sign cannot hold. */
    if (tag == 0xcf) return take(reader, 8);
    if (!int_of(reader, tag, &number)) unexpected(reader, tag, "an unsigned integer");
    if (number < 0) fail(reader, "an unsigned integer is negative");
    return number < 0 ? 0 : (uint64_t)number;
}

uint32_t lh_read_uint32(lh_reader *reader)
{
    uint64_t number = lh_read_uint(reader);
    if (number > UINT32_MAX) {
        fail(reader, "a number does not fit 32 bits");
        return 0;
    }
    return (uint32_t)number;
}

int64_t lh_read_int(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    int64_t number = 0;
    if (!int_of(reader, tag, &number)) unexpected(reader, tag, "an integer");
    return number;
}

/* The 8, 16 or 32-bit length after a tag: `width` 0, 1 or 2. */
static inline size_t length(lh_reader *reader, unsigned width) { return (size_t)take(reader, (size_t)1 << width); }

static inline bool str_of(lh_reader *reader, uint8_t tag, lh_text *out)
{
    size_t len;
    if (tag >= 0xa0 && tag <= 0xbf)
        len = tag & 0x1f;
    else if (tag >= 0xd9 && tag <= 0xdb)
        len = length(reader, tag - 0xd9u);
    else
        return false;
    out->ptr = (const char *)take_bytes(reader, len);
    out->len = out->ptr == NULL ? 0 : len;
    return true;
}

lh_text lh_read_str(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    lh_text text = {"", 0};
    if (!str_of(reader, tag, &text)) unexpected(reader, tag, "a text");
    return text;
}

lh_text lh_read_str_or_nil(lh_reader *reader)
{
    if (reader->at < reader->end && *reader->at == NIL) {
        reader->at++;
        return (lh_text){NULL, 0};
    }
    return lh_read_str(reader);
}

lh_bytes lh_read_bin(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    lh_bytes bytes = {NULL, 0};
    if (tag < 0xc4 || tag > 0xc6) {
        unexpected(reader, tag, "a byte list");
        return bytes;
    }
    size_t len = length(reader, tag - 0xc4u);
    bytes.ptr = take_bytes(reader, len);
    bytes.len = bytes.ptr == NULL ? 0 : len;
    return bytes;
}

static lh_value ext(lh_reader *reader, size_t len)
{
    uint8_t type = (uint8_t)take(reader, 1);
    const char *bytes = (const char *)take_bytes(reader, len);
    lh_value value = lh_null();
    if (bytes == NULL) return value;
    switch (type) {
    case EXT_DECIMAL: {
        value.kind = LH_KIND_DECIMAL;
        lh_decimal_error error = lh_decimal_read(bytes, len, &value.decimal);
        if (error != LH_DECIMAL_FINE)
            fail(reader, lh_decimal_why(reader->scope->arena, error, (lh_text){bytes, len}, lh_decimal_of(0), 0));
        return value;
    }
    case EXT_TIMESTAMP:
        value.kind = LH_KIND_TIMESTAMP;
        if (len != 8)
            fail(reader, "a timestamp does not have 8 bytes");
        else
            value.timestamp.micros = (int64_t)__builtin_bswap64(lh_word(bytes));
        return value;
    case EXT_JSON: return lh_of_json((lh_text){bytes, len});
    default: fail(reader, "an extension type is unknown"); return value;
    }
}

lh_value lh_read_value(lh_reader *reader)
{
    uint8_t tag = take_tag(reader);
    lh_value value = lh_null();
    if (str_of(reader, tag, &value.text)) {
        value.kind = LH_KIND_TEXT;
        return value;
    }
    if (int_of(reader, tag, &value.integer)) {
        value.kind = LH_KIND_INTEGER;
        return value;
    }
    switch (tag) {
    case NIL: return value;
    case 0xc2: return lh_of_bool(false);
    case 0xc3: return lh_of_bool(true);
    case 0xc4:
    case 0xc5:
    case 0xc6: {
        size_t len = length(reader, tag - 0xc4u);
        return lh_of_bytes(take_bytes(reader, len), len);
    }
    case 0xc7:
    case 0xc8:
    case 0xc9: return ext(reader, length(reader, tag - 0xc7u));
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: return ext(reader, (size_t)1 << (tag - 0xd4));
    case 0xca: {
        uint32_t bits = (uint32_t)take(reader, 4);
        float real;
        memcpy(&real, &bits, sizeof real);
        return lh_of_real((double)real);
    }
    case 0xcb: {
        uint64_t bits = take(reader, 8);
        double real;
        memcpy(&real, &bits, sizeof real);
        return lh_of_real(real);
    }
    default: unexpected(reader, tag, "a value"); return value;
    }
}

lh_value *lh_read_values(lh_reader *reader, size_t count)
{
    lh_value *values = lh_arena_alloc(reader->scope->arena, count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = lh_read_value(reader);
    return values;
}

bool lh_read_event(lh_reader *reader, lh_event *event, lh_bytes *fields)
{
    size_t entries = lh_read_array(reader);
    bool has_fields = entries == EVENT_ENTRIES + 1;
    if (entries != EVENT_ENTRIES && !has_fields) fail(reader, "an event has neither 12 entries nor 13");
    event->position = lh_read_uint(reader);
    event->part = lh_read_uint32(reader);
    event->id = lh_read_str(reader);
    event->stream_id = lh_read_str(reader);
    event->stream_type = lh_read_str(reader);
    event->stream_version = lh_read_uint(reader);
    event->event_type = lh_read_str(reader);
    event->schema_version = lh_read_uint32(reader);
    event->data = has_fields ? lh_read_str_or_nil(reader) : lh_read_str(reader);
    event->metadata = has_fields ? lh_read_str_or_nil(reader) : lh_read_str(reader);
    event->occurred_at.micros = lh_read_int(reader);
    event->recorded_at.micros = lh_read_int(reader);
    event->fields = NULL;
    *fields = has_fields ? lh_read_bin(reader) : (lh_bytes){NULL, 0};
    return !reader->failed;
}

bool lh_read_change(lh_reader *reader, lh_change *change)
{
    *change = (lh_change){0};
    size_t entries = lh_read_array(reader);
    uint64_t operation = lh_read_uint(reader);
    if (operation > LH_REMOVE) {
        fail(reader, "an operation is unknown");
        return false;
    }
    bool has_cells = operation == LH_PATCH || operation == LH_UPSERT;
    if (entries != (has_cells ? 4u : 3u)) fail(reader, "a change has too few entries, or too many");
    change->operation = (lh_operation)operation;
    change->table = lh_read_uint32(reader);
    change->value_count = lh_read_array(reader);
    change->values = lh_read_values(reader, change->value_count);
    if (!has_cells) return !reader->failed;
    size_t flat = lh_read_array(reader);
    if (flat % 3 != 0) fail(reader, "cells do not have three entries each");
    change->cell_count = flat / 3;
    change->cells = lh_arena_alloc(reader->scope->arena, change->cell_count * sizeof *change->cells);
    for (size_t i = 0; i < change->cell_count; i++) {
        lh_cell *cell = &change->cells[i];
        cell->column = lh_read_uint32(reader);
        uint64_t adds = lh_read_uint(reader);
        if (adds > 1) fail(reader, "a cell change is unknown");
        cell->adds = adds == 1;
        cell->value = lh_read_value(reader);
    }
    return !reader->failed;
}

/* ---- Writing ---- */

/* A tag and a big-endian number of so many bytes. */
static inline void head(lh_buffer *out, uint8_t tag, uint64_t number, size_t bytes)
{
    uint8_t *to = lh_buffer_reserve(out, 9);
    to[0] = tag;
    for (size_t i = 0; i < bytes; i++) to[1 + i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    out->len += 1 + bytes;
}

void lh_pack_nil(lh_buffer *out) { lh_buffer_byte(out, NIL); }

void lh_pack_array(lh_buffer *out, size_t count)
{
    if (count < 16)
        lh_buffer_byte(out, (uint8_t)(0x90 | count));
    else if (count <= 0xffff)
        head(out, 0xdc, count, 2);
    else
        head(out, 0xdd, count, 4);
}

void lh_pack_uint(lh_buffer *out, uint64_t number)
{
    if (number < 0x80)
        lh_buffer_byte(out, (uint8_t)number);
    else if (number <= 0xff)
        head(out, 0xcc, number, 1);
    else if (number <= 0xffff)
        head(out, 0xcd, number, 2);
    else if (number <= 0xffffffff)
        head(out, 0xce, number, 4);
    else
        head(out, 0xcf, number, 8);
}

void lh_pack_int(lh_buffer *out, int64_t number)
{
    if (number >= 0)
        lh_pack_uint(out, (uint64_t)number);
    else if (number >= -0x20)
        lh_buffer_byte(out, (uint8_t)number);
    else if (number >= INT8_MIN)
        head(out, 0xd0, (uint64_t)number, 1);
    else if (number >= INT16_MIN)
        head(out, 0xd1, (uint64_t)number, 2);
    else if (number >= INT32_MIN)
        head(out, 0xd2, (uint64_t)number, 4);
    else
        head(out, 0xd3, (uint64_t)number, 8);
}

/* The head of bytes whose length takes 1, 2 or 4 bytes, with tags one after the other. */
static void sized(lh_buffer *out, uint8_t tag, size_t len)
{
    if (len <= 0xff)
        head(out, tag, len, 1);
    else if (len <= 0xffff)
        head(out, (uint8_t)(tag + 1), len, 2);
    else
        head(out, (uint8_t)(tag + 2), len, 4);
}

void lh_pack_str(lh_buffer *out, lh_text text)
{
    if (text.len < 32)
        lh_buffer_byte(out, (uint8_t)(0xa0 | text.len));
    else
        sized(out, 0xd9, text.len);
    lh_buffer_add(out, text.ptr, text.len);
}

void lh_pack_bin(lh_buffer *out, lh_bytes bytes)
{
    sized(out, 0xc4, bytes.len);
    lh_buffer_add(out, bytes.ptr, bytes.len);
}

static void pack_ext(lh_buffer *out, uint8_t type, const void *bytes, size_t len)
{
    switch (len) {
    case 1: lh_buffer_byte(out, 0xd4); break;
    case 2: lh_buffer_byte(out, 0xd5); break;
    case 4: lh_buffer_byte(out, 0xd6); break;
    case 8: lh_buffer_byte(out, 0xd7); break;
    case 16: lh_buffer_byte(out, 0xd8); break;
    default: sized(out, 0xc7, len); break;
    }
    lh_buffer_byte(out, type);
    lh_buffer_add(out, bytes, len);
}

void lh_pack_value(lh_buffer *out, lh_value value)
{
    switch (value.kind) {
    case LH_KIND_NULL: lh_pack_nil(out); return;
    case LH_KIND_BOOLEAN: lh_buffer_byte(out, value.boolean ? 0xc3 : 0xc2); return;
    case LH_KIND_INTEGER: lh_pack_int(out, value.integer); return;
    case LH_KIND_REAL: {
        uint64_t bits;
        memcpy(&bits, &value.real, sizeof bits);
        head(out, 0xcb, bits, 8);
        return;
    }
    case LH_KIND_DECIMAL: {
        char text[LH_DECIMAL_TEXT_MAX];
        pack_ext(out, EXT_DECIMAL, text, lh_decimal_text(value.decimal, text));
        return;
    }
    case LH_KIND_TEXT: lh_pack_str(out, value.text); return;
    case LH_KIND_BYTES: lh_pack_bin(out, value.bytes); return;
    case LH_KIND_TIMESTAMP: {
        uint64_t big = __builtin_bswap64((uint64_t)value.timestamp.micros);
        pack_ext(out, EXT_TIMESTAMP, &big, sizeof big);
        return;
    }
    case LH_KIND_JSON: pack_ext(out, EXT_JSON, value.json.ptr, value.json.len); return;
    }
}

void lh_pack_values(lh_buffer *out, const lh_value *values, size_t count)
{
    lh_pack_array(out, count);
    for (size_t i = 0; i < count; i++) lh_pack_value(out, values[i]);
}

void lh_pack_change(lh_buffer *out, const lh_change *change)
{
    bool has_cells = change->operation == LH_PATCH || change->operation == LH_UPSERT;
    lh_pack_array(out, has_cells ? 4 : 3);
    lh_pack_uint(out, change->operation);
    lh_pack_uint(out, change->table);
    lh_pack_values(out, change->values, change->value_count);
    if (!has_cells) return;
    lh_pack_array(out, change->cell_count * 3);
    for (size_t i = 0; i < change->cell_count; i++) {
        lh_pack_uint(out, change->cells[i].column);
        lh_pack_uint(out, change->cells[i].adds);
        lh_pack_value(out, change->cells[i].value);
    }
}

void lh_pack_read(lh_buffer *out, uint32_t table, const lh_value *key, size_t key_len)
{
    lh_pack_array(out, 2);
    lh_pack_uint(out, table);
    lh_pack_values(out, key, key_len);
}

void lh_pack_event(lh_buffer *out, const lh_event *event)
{
    lh_pack_array(out, EVENT_ENTRIES);
    lh_pack_uint(out, event->position);
    lh_pack_uint(out, event->part);
    lh_pack_str(out, event->id);
    lh_pack_str(out, event->stream_id);
    lh_pack_str(out, event->stream_type);
    lh_pack_uint(out, event->stream_version);
    lh_pack_str(out, event->event_type);
    lh_pack_uint(out, event->schema_version);
    lh_pack_str(out, event->data);
    lh_pack_str(out, event->metadata);
    lh_pack_int(out, event->occurred_at.micros);
    lh_pack_int(out, event->recorded_at.micros);
}

/* A plugin's values checked against their table and brought to their one form. The same rules as in
 * sdk/contract/src/semantics: tests/rules.c holds them together. */
#include <math.h>

#include "lh_internal.h"

/* Whether a text is ASCII without a zero: what nearly every text is. By words, for what is looked at is short. */
static bool is_plain(const char *text, size_t len)
{
    const uint64_t low = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    if (len < 8) {
        for (size_t i = 0; i < len; i++)
            if ((signed char)text[i] <= 0) return false;
        return true;
    }
    uint64_t odd = 0;
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t word = lh_word(text + i);
        odd |= (word - low) | word;
    }
    /* The last eight bytes take in what is left behind whole words. */
    uint64_t last = lh_word(text + len - 8);
    odd |= (last - low) | last;
    return (odd & high) == 0;
}

static const char *text_fault(const char *text, size_t len)
{
    if (is_plain(text, len)) return NULL;
    if (memchr(text, 0, len) != NULL) return "text may not contain U+0000";
    return lh_is_utf8(text, len) ? NULL : "the text is not UTF-8";
}

const char *lh_type_name(lh_arena *arena, lh_kind kind, unsigned scale)
{
    static const char *const NAMES[] = {
        [LH_KIND_NULL] = "null",   [LH_KIND_BOOLEAN] = "boolean",     [LH_KIND_INTEGER] = "integer",
        [LH_KIND_REAL] = "real",   [LH_KIND_DECIMAL] = "decimal",     [LH_KIND_TEXT] = "text",
        [LH_KIND_BYTES] = "bytes", [LH_KIND_TIMESTAMP] = "timestamp", [LH_KIND_JSON] = "json",
    };
    if (kind == LH_KIND_DECIMAL) return lh_arena_format(arena, "decimal(%u)", scale);
    return NAMES[kind];
}

const char *lh_describe_value(lh_arena *arena, lh_value value)
{
    char text[LH_TIMESTAMP_TEXT_MAX];
    switch (value.kind) {
    case LH_KIND_NULL: return "null";
    case LH_KIND_BOOLEAN: return value.boolean ? "boolean true" : "boolean false";
    case LH_KIND_INTEGER: return lh_arena_format(arena, "integer %lld", (long long)value.integer);
    case LH_KIND_REAL: lh_real_text(value.real, text); return lh_arena_format(arena, "real %s", text);
    case LH_KIND_DECIMAL: lh_decimal_text(value.decimal, text); return lh_arena_format(arena, "decimal %s", text);
    case LH_KIND_TEXT: return lh_arena_format(arena, "text '%s'", lh_shown(arena, value.text, LH_SHOWN_CHARS));
    case LH_KIND_BYTES: return lh_arena_format(arena, "%zu bytes", value.bytes.len);
    case LH_KIND_TIMESTAMP: return lh_arena_format(arena, "timestamp %lld", (long long)value.timestamp.micros);
    case LH_KIND_JSON: return lh_arena_format(arena, "json %s", lh_shown(arena, value.json, LH_SHOWN_CHARS));
    }
    return "a value of no kind";
}

const char *lh_describe_key(lh_arena *arena, const lh_value *key, size_t len)
{
    if (len == 1) return lh_describe_value(arena, key[0]);
    lh_buffer out = {.arena = arena};
    for (size_t i = 0; i < len; i++) {
        lh_buffer_str(&out, i == 0 ? "(" : ", ");
        lh_buffer_str(&out, lh_describe_value(arena, key[i]));
    }
    lh_buffer_add(&out, ")", 2);
    return (const char *)out.bytes;
}

const char *lh_place(lh_arena *arena, const lh_shape *table, uint32_t column)
{
    return lh_arena_format(arena, "%s.%s", lh_shown(arena, lh_str(table->name), LH_NAME_BYTES_MAX),
                           lh_shown(arena, lh_str(table->columns[column].name), LH_NAME_BYTES_MAX));
}

static const char *names(lh_arena *arena, const lh_shape *table, const uint32_t *columns, size_t count)
{
    lh_buffer out = {.arena = arena};
    for (size_t i = 0; i < count; i++) {
        if (i > 0) lh_buffer_str(&out, ", ");
        lh_buffer_str(&out, table->columns[columns[i]].name);
    }
    lh_buffer_byte(&out, 0);
    return (const char *)out.bytes;
}

static bool mismatch(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value value)
{
    const lh_shape_column *declared = &table->columns[column];
    const char *place = lh_place(scope->arena, table, column);
    if (value.kind == LH_KIND_NULL) return lh_violate(scope, "%s: null came, but the column is not nullable", place);
    if (declared->kind == LH_KIND_REAL && value.kind == LH_KIND_REAL)
        return lh_violate(scope, "%s: %f is not a finite number", place, value.real);
    return lh_violate(scope, "%s: the column is %s, but %s came", place,
                      lh_type_name(scope->arena, declared->kind, declared->scale),
                      lh_describe_value(scope->arena, value));
}

static bool conform_decimal(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value *value)
{
    const lh_shape_column *declared = &table->columns[column];
    lh_decimal number = value->kind == LH_KIND_INTEGER ? lh_decimal_of(value->integer) : value->decimal;
    lh_decimal_error error = lh_decimal_scaled(number, declared->scale, &value->decimal);
    value->kind = LH_KIND_DECIMAL;
    if (error == LH_DECIMAL_FINE) return true;
    char text[LH_DECIMAL_TEXT_MAX];
    lh_decimal_text(number, text);
    return lh_violate(scope, "%s: %s does not fit decimal(%u): %s", lh_place(scope->arena, table, column), text,
                      declared->scale, lh_decimal_why(scope->arena, error, lh_str(text), number, declared->scale));
}

bool lh_conform(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value *value)
{
    const lh_shape_column *declared = &table->columns[column];
    if (value->kind == LH_KIND_NULL) return declared->nullable || mismatch(scope, table, column, *value);
    if (declared->kind == LH_KIND_DECIMAL && (value->kind == LH_KIND_DECIMAL || value->kind == LH_KIND_INTEGER)) {
        if (value->kind == LH_KIND_DECIMAL && value->decimal.scale == declared->scale) return true;
        return conform_decimal(scope, table, column, value);
    }
    if (declared->kind != value->kind) return mismatch(scope, table, column, *value);
    switch (value->kind) {
    case LH_KIND_TEXT: {
        const char *fault = text_fault(value->text.ptr, value->text.len);
        if (fault == NULL) return true;
        return lh_violate(scope, "%s: %s", lh_place(scope->arena, table, column), fault);
    }
    case LH_KIND_REAL:
        if (!isfinite(value->real)) return mismatch(scope, table, column, *value);
        /* 0.0 is added, so that -0 becomes 0. */
        value->real += 0.0;
        return true;
    case LH_KIND_TIMESTAMP:
        if (value->timestamp.micros >= LH_MICROS_MIN && value->timestamp.micros <= LH_MICROS_MAX) return true;
        return lh_violate(scope,
                          "%s: %lld microseconds since 1970 lie outside the years 1 to 9999, which both databases can "
                          "keep",
                          lh_place(scope->arena, table, column), (long long)value->timestamp.micros);
    case LH_KIND_JSON: {
        const char *fault = lh_json_check(scope->arena, value->json, LH_JSON_DEPTH_MAX);
        if (fault == NULL) return true;
        return lh_violate(scope, "%s: not JSON that can be kept: %s", lh_place(scope->arena, table, column), fault);
    }
    default: return true;
    }
}

/* Bytes that a value counts in a key or an index. */
static size_t sort_bytes(const lh_value *value)
{
    switch (value->kind) {
    case LH_KIND_TEXT:
    case LH_KIND_JSON:
    case LH_KIND_BYTES: return value->text.len;
    case LH_KIND_DECIMAL: return 16;
    default: return 8;
    }
}

static bool within_key(lh_scope *scope, const lh_shape *table, size_t bytes)
{
    if (bytes <= LH_KEY_BYTES_MAX) return true;
    return lh_violate(scope, "table '%s': a key (%s) has %zu bytes; at most %d are allowed", table->name,
                      names(scope->arena, table, table->key, table->key_count), bytes, LH_KEY_BYTES_MAX);
}

bool lh_within_indexes(lh_scope *scope, const lh_shape *table, const lh_value *row)
{
    for (uint32_t i = 0; i < table->index_count; i++) {
        const lh_index *index = &table->indexes[i];
        size_t bytes = 0;
        for (size_t c = 0; c < index->count; c++) bytes += sort_bytes(&row[index->columns[c]]);
        if (LH_UNLIKELY(bytes > LH_INDEX_BYTES_MAX))
            return lh_violate(scope, "table '%s': the indexed columns (%s) have %zu bytes; at most %d are allowed",
                              table->name, names(scope->arena, table, index->columns, index->count), bytes,
                              LH_INDEX_BYTES_MAX);
    }
    return true;
}

bool lh_conform_key(lh_scope *scope, const lh_shape *table, lh_value *key, size_t len)
{
    if (len != table->key_count)
        return lh_violate(scope, "table '%s': a key has %u %s (%s), but %zu came", table->name, table->key_count,
                          table->key_count == 1 ? "value" : "values",
                          names(scope->arena, table, table->key, table->key_count), len);
    size_t bytes = 0;
    for (size_t i = 0; i < len; i++) {
        if (!lh_conform(scope, table, table->key[i], &key[i])) return false;
        bytes += sort_bytes(&key[i]);
    }
    return within_key(scope, table, bytes);
}

bool lh_is_plain_text_key(const lh_shape *table, const lh_value *key, size_t len)
{
    return len == 1 && table->key_count == 1 && key->kind == LH_KIND_TEXT &&
           table->columns[table->key[0]].kind == LH_KIND_TEXT && key->text.len <= LH_KEY_BYTES_MAX &&
           is_plain(key->text.ptr, key->text.len);
}

bool lh_conform_prefix(lh_scope *scope, const lh_shape *table, uint32_t index, lh_value *prefix, size_t len)
{
    if (index >= table->index_count)
        return lh_violate(scope, "table '%s' declares %u indexes; there is none with number %u (they count from 0)",
                          table->name, table->index_count, index);
    const lh_index *columns = &table->indexes[index];
    if (len == 0 || len > columns->count)
        return lh_violate(scope, "table '%s': find by index (%s) takes 1 to %zu values, but %zu came", table->name,
                          names(scope->arena, table, columns->columns, columns->count), columns->count, len);
    for (size_t i = 0; i < len; i++) {
        if (lh_is_null(prefix[i]))
            return lh_violate(scope, "%s: find looks for a value, and null is none",
                              lh_place(scope->arena, table, columns->columns[i]));
        if (!lh_conform(scope, table, columns->columns[i], &prefix[i])) return false;
    }
    return true;
}

bool lh_conform_row(lh_scope *scope, const lh_shape *table, lh_value *row, size_t len)
{
    if (len != table->column_count)
        return lh_violate(scope, "table '%s' has %u columns, but a row of %zu came", table->name, table->column_count,
                          len);
    for (uint32_t column = 0; column < len; column++)
        if (!lh_conform(scope, table, column, &row[column])) return false;
    size_t bytes = 0;
    for (uint32_t i = 0; i < table->key_count; i++) bytes += sort_bytes(&row[table->key[i]]);
    return within_key(scope, table, bytes) && lh_within_indexes(scope, table, row);
}

bool lh_value_same(lh_value one, lh_value other)
{
    if (one.kind != other.kind) return false;
    switch (one.kind) {
    case LH_KIND_NULL: return true;
    case LH_KIND_BOOLEAN: return one.boolean == other.boolean;
    case LH_KIND_INTEGER: return one.integer == other.integer;
    case LH_KIND_REAL: return one.real == other.real;
    case LH_KIND_DECIMAL: return lh_decimal_compare(one.decimal, other.decimal) == 0;
    case LH_KIND_TIMESTAMP: return one.timestamp.micros == other.timestamp.micros;
    default: return lh_same(one.text, other.text);
    }
}

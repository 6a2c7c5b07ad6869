/*
 * Lamphouse plugins in C: projectors (events in, rows out) and upcasters (old events in, today's out).
 *
 * A projector declares its tables and its handlers in constant arrays, and each handler turns one event into changes
 * of rows. README.md beside this file has a whole plugin; lh_harness.h tests one without Wasm and without a host.
 *
 * Memory: everything that the SDK hands out lives until the end of the call (`project`, `upcast`), and nothing is
 * freed one by one. Nothing at all is kept from call to call: do not keep state in variables with static storage.
 *
 * Errors: a function that fails has failed the whole call, whatever the handler does next, and the first message is
 * the one that is shown. So results need not be checked one by one, and `return lh_put(...)` is enough.
 *
 * C11, and C++20 with the same macros (arrays there are written in the order of the columns).
 */
#ifndef LAMPHOUSE_H
#define LAMPHOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LH_PRINTF_(at, first) __attribute__((format(printf, at, first)))
#else
#define LH_PRINTF_(at, first)
#endif

/* The name of the file alone, where the compiler gives it: so that a plugin's bytes do not tell its folder. */
#ifdef __FILE_NAME__
#define LH_FILE_ __FILE_NAME__
#else
#define LH_FILE_ __FILE__
#endif

/* ---- Values ------------------------------------------------------------------------------------------------- */

/* UTF-8 text; not ended by a zero. */
typedef struct lh_text {
    const char *ptr;
    size_t len;
} lh_text;

typedef struct lh_bytes {
    const uint8_t *ptr;
    size_t len;
} lh_bytes;

/* Microseconds since 1970-01-01T00:00:00Z. */
typedef struct lh_timestamp {
    int64_t micros;
} lh_timestamp;

/* An exact decimal of at most 38 digits: mantissa / 10^scale. `high` and `low` are the mantissa's two words. */
typedef struct lh_decimal {
    int64_t high;
    uint64_t low;
    uint8_t scale;
} lh_decimal;

typedef enum lh_kind {
    LH_KIND_NULL = 0,
    LH_KIND_BOOLEAN,
    LH_KIND_INTEGER,
    LH_KIND_REAL,
    LH_KIND_DECIMAL,
    LH_KIND_TEXT,
    LH_KIND_BYTES,
    LH_KIND_TIMESTAMP,
    LH_KIND_JSON
} lh_kind;

/* One value of a row, of a key, or of an event's declared field. A value that is all zeros is null. */
typedef struct lh_value {
    lh_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        lh_decimal decimal;
        lh_text text;
        lh_bytes bytes;
        lh_timestamp timestamp;
        lh_text json;
    };
} lh_value;

/* What a handler gives. */
typedef enum lh_result { LH_OK = 0, LH_FAILED = 1 } lh_result;

/* A call of the plugin: handed to every handler, and gone after it. */
typedef struct lh_call lh_call;

/* What a call begins with: the line that used it last, so that a failure can say where it was. */
typedef struct lh_place_ {
    const char *file;
    int line;
} lh_place_;

static inline lh_call *lh_here_(lh_call *call, const char *file, int line)
{
    ((lh_place_ *)call)->file = file;
    ((lh_place_ *)call)->line = line;
    return call;
}

lh_value lh_null(void);
lh_value lh_of_bool(bool value);
lh_value lh_of_int(int64_t value);
lh_value lh_of_real(double value);
lh_value lh_of_decimal(lh_decimal value);
lh_value lh_of_text(lh_text value);
/* Of a text that ends in a zero. */
lh_value lh_of_str(const char *value);
lh_value lh_of_bytes(const void *ptr, size_t len);
lh_value lh_of_timestamp(lh_timestamp value);
/* JSON text. */
lh_value lh_of_json(lh_text value);

static inline bool lh_is_null(lh_value value) { return value.kind == LH_KIND_NULL; }

/* ---- Texts and memory of the call ---------------------------------------------------------------------------- */

/* Bytes that live until the end of the call, aligned for anything. Never NULL: without memory the call ends. */
void *lh_alloc(lh_call *call, size_t bytes);

/* Of a text that ends in a zero; not copied. */
lh_text lh_str(const char *text);
/* Whether both are the same bytes. */
bool lh_same(lh_text one, lh_text other);
bool lh_is(lh_text text, const char *other);
/* A text that ends in a zero, as C functions want it. A zero within cuts it. */
const char *lh_c_str(lh_call *call, lh_text text);
/* As printf writes it. */
lh_text lh_format(lh_call *call, const char *format, ...) LH_PRINTF_(2, 3);

/* For printf: lh_fail(call, "no sku " LH_S, LH_A(sku)). */
#define LH_S "%.*s"
#define LH_A(text) (int)(text).len, (text).ptr

/* ---- Decimals: exact, never rounded -------------------------------------------------------------------------- */

/* Each gives false, and leaves `out` alone, where the result has more than 38 digits or would have to be rounded. */

/* Reads [-]digits[.digits]; the digits after the point become the scale. */
bool lh_decimal_parse(lh_text text, lh_decimal *out);
/* mantissa / 10^scale. */
bool lh_decimal_make(int64_t mantissa, unsigned scale, lh_decimal *out);
/* The same number with another scale. Zeros at the end may go, other digits may not. */
bool lh_decimal_rescale(lh_decimal number, unsigned scale, lh_decimal *out);
bool lh_decimal_add(lh_decimal one, lh_decimal other, lh_decimal *out);
bool lh_decimal_sub(lh_decimal one, lh_decimal other, lh_decimal *out);
/* So many times itself, at its own scale. */
bool lh_decimal_times(lh_decimal number, int64_t times, lh_decimal *out);
/* The mantissa, where 64 bits hold it. */
bool lh_decimal_mantissa(lh_decimal number, int64_t *out);
lh_decimal lh_decimal_of(int64_t number);
lh_decimal lh_decimal_negate(lh_decimal number);
/* Below, at or above 0, by the number: 1.5 equals 1.50. */
int lh_decimal_compare(lh_decimal one, lh_decimal other);

#define LH_DECIMAL_TEXT_MAX 44
/* Writes the canonical text and a zero; gives its length. */
size_t lh_decimal_text(lh_decimal number, char out[LH_DECIMAL_TEXT_MAX]);

/* ---- Timestamps ---------------------------------------------------------------------------------------------- */

typedef struct lh_date {
    int64_t year;
    uint8_t month, day;
} lh_date;

/* Reads RFC 3339; digits beyond microseconds are cut off. */
bool lh_timestamp_parse(lh_text text, lh_timestamp *out);
#define LH_TIMESTAMP_TEXT_MAX 48
/* Writes 2011-08-12T13:50:00Z and a zero; gives its length. */
size_t lh_timestamp_text(lh_timestamp timestamp, char out[LH_TIMESTAMP_TEXT_MAX]);
/* Its day, in UTC. */
lh_date lh_timestamp_date(lh_timestamp timestamp);

/* ---- Events -------------------------------------------------------------------------------------------------- */

typedef struct lh_event {
    uint64_t position;
    /* Among the siblings that upcasters made of one stored event, from 0. */
    uint32_t part;
    uint32_t schema_version;
    lh_text id;
    lh_text stream_id;
    lh_text stream_type;
    uint64_t stream_version;
    lh_text event_type;
    /* JSON text. Empty where the handler declares fields. */
    lh_text data;
    lh_text metadata;
    lh_timestamp occurred_at;
    lh_timestamp recorded_at;
    /* The declared fields, in the order of their declaration. */
    const lh_value *fields;
} lh_event;

/* Random numbers that come from an event: the same ones whenever it is projected. Not for secrets. */
typedef struct lh_random {
    uint64_t state;
} lh_random;

lh_random lh_event_random(const lh_event *event);
uint64_t lh_random_next(lh_random *random);
/* From 0 up to, but not, `end`; 0 if `end` is 0. */
uint64_t lh_random_below(lh_random *random, uint64_t end);
/* From 0 up to, but not, 1. */
double lh_random_fraction(lh_random *random);
/* A UUID (version 4) and a zero. */
void lh_random_uuid(lh_random *random, char out[37]);

/* ---- Declared fields: what a handler reads of its events' JSON ------------------------------------------------ */

/* The host takes declared fields out of the JSON in native code, so that the plugin parses none. */
typedef struct lh_field {
    lh_kind kind;
    /* Where it is declared, for messages. */
    const char *file;
    int line;
    /* A JSON Pointer: /data/price/amount, /metadata/user. */
    const char *path;
    /* Null, or not there, is null; else that fails the call. */
    bool optional;
} lh_field;

/* LH_FIELD_TEXT("/data/sku"), LH_FIELD_TEXT("/data/note", LH_OPTIONAL). What each type takes: wit/PACKED.md. */
#define LH_FIELD_BOOLEAN(...) LH_FIELD_(LH_KIND_BOOLEAN, __VA_ARGS__)
#define LH_FIELD_INTEGER(...) LH_FIELD_(LH_KIND_INTEGER, __VA_ARGS__)
#define LH_FIELD_REAL(...) LH_FIELD_(LH_KIND_REAL, __VA_ARGS__)
/* A text such as "2.50", or a whole number. */
#define LH_FIELD_DECIMAL(...) LH_FIELD_(LH_KIND_DECIMAL, __VA_ARGS__)
#define LH_FIELD_TEXT(...) LH_FIELD_(LH_KIND_TEXT, __VA_ARGS__)
/* A text in RFC 3339. */
#define LH_FIELD_TIMESTAMP(...) LH_FIELD_(LH_KIND_TIMESTAMP, __VA_ARGS__)
/* Anything, as JSON text, to the letter: read it with lh_json_open. */
#define LH_FIELD_JSON(...) LH_FIELD_(LH_KIND_JSON, __VA_ARGS__)
#define LH_OPTIONAL .optional = true
#define LH_FIELD_(kind_, ...) {.kind = kind_, .file = LH_FILE_, .line = __LINE__, .path = __VA_ARGS__}

/* ---- Declaring a projector ------------------------------------------------------------------------------------ */

/* What an upsert gives a new row. */
typedef struct lh_initial {
    lh_kind kind;
    int64_t integer;
    double real;
    const char *text;
    size_t len;
} lh_initial;

typedef struct lh_column {
    lh_kind kind;
    const char *name;
    /* Of a decimal: digits after the point. */
    uint8_t scale;
    /* Of the primary key, which is in the order of the columns. */
    bool key;
    bool nullable;
    lh_initial initial;
} lh_column;

/* LH_TEXT("order_id", LH_KEY), LH_TEXT("note", LH_NULLABLE), LH_DECIMAL("total", 2, LH_INITIAL_INT(0)). */
#define LH_BOOLEAN(...) {.kind = LH_KIND_BOOLEAN, .name = __VA_ARGS__}
#define LH_INTEGER(...) {.kind = LH_KIND_INTEGER, .name = __VA_ARGS__}
#define LH_REAL(...) {.kind = LH_KIND_REAL, .name = __VA_ARGS__}
#define LH_DECIMAL(name_, ...) {.kind = LH_KIND_DECIMAL, .name = name_, .scale = __VA_ARGS__}
#define LH_TEXT(...) {.kind = LH_KIND_TEXT, .name = __VA_ARGS__}
#define LH_BYTES(...) {.kind = LH_KIND_BYTES, .name = __VA_ARGS__}
#define LH_TIMESTAMP(...) {.kind = LH_KIND_TIMESTAMP, .name = __VA_ARGS__}
#define LH_JSON(...) {.kind = LH_KIND_JSON, .name = __VA_ARGS__}

#define LH_KEY .key = true
#define LH_NULLABLE .nullable = true
#define LH_INITIAL_BOOL(value) .initial = {.kind = LH_KIND_BOOLEAN, .integer = (value)}
#define LH_INITIAL_INT(value) .initial = {.kind = LH_KIND_INTEGER, .integer = (value)}
#define LH_INITIAL_REAL(value) .initial = {.kind = LH_KIND_REAL, .real = (value)}
#define LH_INITIAL_DECIMAL(text_) LH_INITIAL_(LH_KIND_DECIMAL, text_)
#define LH_INITIAL_TEXT(text_) LH_INITIAL_(LH_KIND_TEXT, text_)
#define LH_INITIAL_BYTES(text_) LH_INITIAL_(LH_KIND_BYTES, text_)
/* In RFC 3339. */
#define LH_INITIAL_TIMESTAMP(text_) LH_INITIAL_(LH_KIND_TIMESTAMP, text_)
#define LH_INITIAL_JSON(text_) LH_INITIAL_(LH_KIND_JSON, text_)
#define LH_INITIAL_(kind_, text_) .initial = {.kind = kind_, .text = "" text_, .len = sizeof(text_) - 1}

#define LH_INDEX_COLUMNS_MAX 8
/* A declared index: LH_INDEX(CUSTOMER_ID), LH_INDEX(COUNTRY, PLACED_AT). */
typedef struct lh_index {
    size_t count;
    uint32_t columns[LH_INDEX_COLUMNS_MAX];
} lh_index;
#define LH_INDEX(...)                                                                                                  \
    {                                                                                                                  \
        .count = LH_COUNT_(__VA_ARGS__), .columns = { __VA_ARGS__ }                                                    \
    }
#define LH_COUNT_(...) LH_COUNT_OF_(__VA_ARGS__, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define LH_COUNT_OF_(a, b, c, d, e, f, g, h, i, count, ...) count

typedef struct lh_table {
    const char *name;
    const lh_column *columns;
    size_t column_count;
    const lh_index *indexes;
    size_t index_count;
} lh_table;

/* LH_TABLE("orders", LH_COLUMNS(ORDER_COLUMNS)), or with LH_INDEXES(ORDER_INDEXES) behind. */
#define LH_TABLE(...) {.name = __VA_ARGS__}
#define LH_COLUMNS(array) .columns = (array), .column_count = LH_LENGTH_(array)
#define LH_INDEXES(array) .indexes = (array), .index_count = LH_LENGTH_(array)
#define LH_LENGTH_(array) (sizeof(array) / sizeof((array)[0]))

/* Turns one event into changes of rows. */
typedef lh_result lh_project(lh_call *call, const lh_event *event);
/* Names the rows that the event's handler will read (lh_want), so that those of a whole batch are read together. */
typedef void lh_prefetch(lh_call *call, const lh_event *event);

/* Takes events that match all that is given. An event goes to the first handler of the list that takes it. */
typedef struct lh_handler {
    /* NULL is any. */
    const char *event_type;
    lh_project *project;
    /* Whether all that is read of data and metadata is declared: these fields. */
    bool declares;
    const lh_field *fields;
    size_t field_count;
    lh_prefetch *prefetch;
    /* NULL is any. */
    const char *stream_type;
    /* None is all. */
    const uint32_t *schema_versions;
    size_t schema_version_count;
} lh_handler;

/* LH_ON("LineAdded", line_added, LH_FIELDS(LINE), LH_PREFETCH(want_order)); the options in this order. */
#define LH_ON(event_type_, ...) {.event_type = (event_type_), .project = __VA_ARGS__}
#define LH_ON_EVERY_EVENT(...) {.event_type = NULL, .project = __VA_ARGS__}
#define LH_FIELDS(array) .declares = true, .fields = (array), .field_count = LH_LENGTH_(array)
/* Nothing of data and metadata is read. */
#define LH_NO_DATA .declares = true
#define LH_PREFETCH(function) .prefetch = (function)
#define LH_STREAM_TYPE(type) .stream_type = (type)
#define LH_SCHEMA_VERSIONS(array) .schema_versions = (array), .schema_version_count = LH_LENGTH_(array)

typedef struct lh_option {
    const char *name;
    const char *value;
} lh_option;

typedef struct lh_projector {
    /* Lower-case letters, digits and '-'. */
    const char *name;
    /* A new one makes a new generation of the tables: raise it whenever the rows would come out differently. */
    const char *version;
    const lh_table *tables;
    size_t table_count;
    const lh_handler *handlers;
    size_t handler_count;
    const lh_option *options;
    size_t option_count;
} lh_projector;

#define LH_TABLES(array) .tables = (array), .table_count = LH_LENGTH_(array)
#define LH_HANDLERS(array) .handlers = (array), .handler_count = LH_LENGTH_(array)
#define LH_OPTIONS(array) .options = (array), .option_count = LH_LENGTH_(array)

/* ---- Rows: tables and columns are named by their places in the declaration ------------------------------------ */

typedef struct lh_cell {
    uint32_t column;
    bool adds;
    lh_value value;
} lh_cell;

lh_cell lh_set(uint32_t column, lh_value value);
/* Adds to an integer, a real or a decimal; null counts as 0; a sum that does not fit fails the call. */
lh_cell lh_add(uint32_t column, lh_value value);
lh_cell lh_add_int(uint32_t column, int64_t value);
lh_cell lh_add_decimal(uint32_t column, lh_decimal value);

/* Rows that were found: rows[0] to rows[count - 1], each an array of all columns. */
typedef struct lh_rows {
    size_t count;
    const lh_value *const *rows;
} lh_rows;

/* Two arguments: an array and its length. A row may name its columns: LH_ROW([ORDER_ID] = …, [TOTAL] = …). */
#ifndef __cplusplus
#define LH_VALUES(...) (const lh_value[]){__VA_ARGS__}, sizeof((const lh_value[]){__VA_ARGS__}) / sizeof(lh_value)
#define LH_CELLS(...) (const lh_cell[]){__VA_ARGS__}, sizeof((const lh_cell[]){__VA_ARGS__}) / sizeof(lh_cell)
#else
#define LH_VALUES(...) lh_array_(lh_value{}, __VA_ARGS__).items, lh_array_(lh_value{}, __VA_ARGS__).count
#define LH_CELLS(...) lh_array_(lh_cell{}, __VA_ARGS__).items, lh_array_(lh_cell{}, __VA_ARGS__).count
#endif
#define LH_ROW(...) LH_VALUES(__VA_ARGS__)

/* Reads see every change made before them. A key is one value for each key column: LH_VALUES(lh_of_text(id)). */

/* A row by its key, all columns in order; NULL where there is none (or the call has failed). It is the call's own
 * row: after a change of that row, copy it anew. */
const lh_value *lh_get(lh_call *call, uint32_t table, const lh_value *key, size_t key_len);
/* Rows by `count` keys, whose values lie one after the other, read together: in their order, NULL where there is none.
 */
lh_rows lh_get_many(lh_call *call, uint32_t table, const lh_value *keys, size_t count);
/* All rows whose first indexed columns have these values, in the order of their keys; they may be changed meanwhile. */
lh_rows lh_find(lh_call *call, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len);
/* One page of them: at most `limit` rows, those behind the row `after`, which is NULL for the first page. */
lh_rows lh_find_page(lh_call *call, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                     const lh_value *after, uint32_t limit);
/* Inserts a row, or replaces the one with its key. A column that is left out is null. */
lh_result lh_put(lh_call *call, uint32_t table, const lh_value *row, size_t row_len);
/* Changes cells of a row; an absent one fails the call. */
lh_result lh_patch(lh_call *call, uint32_t table, const lh_value *key, size_t key_len, const lh_cell *cells,
                   size_t count);
/* Changes cells of a row; an absent one is made first, of each column's initial value. */
lh_result lh_upsert(lh_call *call, uint32_t table, const lh_value *key, size_t key_len, const lh_cell *cells,
                    size_t count);
/* Removes a row, if it is there. */
lh_result lh_remove(lh_call *call, uint32_t table, const lh_value *key, size_t key_len);
/* In an lh_prefetch: names a row that will be read. */
void lh_want(lh_call *call, uint32_t table, const lh_value *key, size_t key_len);

#ifndef LH_WITHOUT_PLACES
#define lh_get(call, ...) lh_get(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_get_many(call, ...) lh_get_many(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_find(call, ...) lh_find(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_find_page(call, ...) lh_find_page(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_put(call, ...) lh_put(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_patch(call, ...) lh_patch(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_upsert(call, ...) lh_upsert(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#define lh_remove(call, ...) lh_remove(lh_here_(call, LH_FILE_, __LINE__), __VA_ARGS__)
#endif

/* ---- Failures and the log ------------------------------------------------------------------------------------- */

/* Fails the call: return lh_fail(call, "order " LH_S " has no lines", LH_A(id)). The host shows the message, the
 * event, and the line of the source. */
#define lh_fail(call, ...) lh_fail_at(call, LH_FILE_, __LINE__, __VA_ARGS__)
lh_result lh_fail_at(lh_call *call, const char *file, int line, const char *format, ...) LH_PRINTF_(4, 5);
/* Whether the call has failed. */
bool lh_has_failed(const lh_call *call);

typedef enum lh_level { LH_TRACE, LH_DEBUG, LH_INFO, LH_WARN, LH_ERROR } lh_level;

/* A line for the host's log, which is shown with the projection's status; capped for each call. What is printed to
 * stdout and stderr goes there too, as info and error. */
void lh_log(lh_level level, const char *format, ...) LH_PRINTF_(2, 3);
#define lh_trace(...) lh_log(LH_TRACE, __VA_ARGS__)
#define lh_debug(...) lh_log(LH_DEBUG, __VA_ARGS__)
#define lh_info(...) lh_log(LH_INFO, __VA_ARGS__)
#define lh_warn(...) lh_log(LH_WARN, __VA_ARGS__)
#define lh_error(...) lh_log(LH_ERROR, __VA_ARGS__)

/* ---- Upcasters ------------------------------------------------------------------------------------------------ */

typedef struct lh_schema {
    const char *event_type;
    uint32_t schema_version;
} lh_schema;

/* Gives what one event is today (lh_give, lh_rename): nothing, one event or several, of the schemas of its rule. */
typedef lh_result lh_lift(lh_call *call, const lh_event *event);

/* Takes events of one schema and gives events of others. Only one upcaster of a host may take a schema. */
typedef struct lh_rule {
    lh_schema takes;
    const lh_schema *gives;
    size_t give_count;
    /* NULL: drops the event where the rule gives nothing, renames it where the rule gives one schema. */
    lh_lift *lift;
    bool declares;
    const lh_field *fields;
    size_t field_count;
} lh_rule;

/* LH_RULE("LineAdded", 1, LH_GIVES(LINE_2), LH_LIFT(line), LH_FIELDS(LINE_1)); the options in this order. */
#define LH_RULE(event_type, version, ...) {.takes = {event_type, version}, __VA_ARGS__}
/* Drops events of this schema. */
#define LH_DROPS(event_type, version) {.takes = {event_type, version}, .gives = NULL}
#define LH_GIVES(array) .gives = (array), .give_count = LH_LENGTH_(array)
#define LH_LIFT(function) .lift = (function)

typedef struct lh_upcaster {
    const char *name;
    /* A new one builds the projections anew that it reaches: raise it whenever other events would come out. */
    const char *version;
    const lh_rule *rules;
    size_t rule_count;
    const lh_option *options;
    size_t option_count;
} lh_upcaster;

#define LH_RULES(array) .rules = (array), .rule_count = LH_LENGTH_(array)

/* An event with this data (JSON text); its metadata stays. */
lh_result lh_give(lh_call *call, const char *event_type, uint32_t schema_version, lh_text data);
/* An event with this data and this metadata, which is an object. */
lh_result lh_give_with_metadata(lh_call *call, const char *event_type, uint32_t schema_version, lh_text data,
                                lh_text metadata);
/* The event under another type or version; its data and metadata stay, to the letter. */
lh_result lh_rename(lh_call *call, const char *event_type, uint32_t schema_version);

/* ---- Writing JSON --------------------------------------------------------------------------------------------- */

/* Writes one JSON value. `name` is the member's name in an object, and NULL in an array or outermost. */
typedef struct lh_writer lh_writer;

lh_writer *lh_writer_new(lh_call *call);
#ifndef LH_WITHOUT_PLACES
#define lh_writer_new(call) lh_writer_new(lh_here_(call, LH_FILE_, __LINE__))
#endif
void lh_write_object(lh_writer *writer, const char *name);
void lh_write_array(lh_writer *writer, const char *name);
/* Ends the object or array that was opened last. */
void lh_write_end(lh_writer *writer);
/* Any value: decimals, timestamps and bytes (in hexadecimal) as text, JSON as it is. */
void lh_write(lh_writer *writer, const char *name, lh_value value);
/* What was written. Objects and arrays that are open are ended. */
lh_text lh_written(lh_writer *writer);

/* ---- Reading JSON --------------------------------------------------------------------------------------------- */

/* Reads JSON text from front to back, for events whose fields cannot be declared:
 *
 *     lh_json json = lh_json_open(call, event->data);
 *     lh_text name;
 *     lh_json_enter(&json, '{');
 *     while (lh_json_next(&json, &name)) {
 *         if (lh_is(name, "sku")) sku = lh_json_value(&json, LH_KIND_TEXT);
 *     }
 *
 * What is not read of a value is skipped. JSON that is not as it is read fails the call, and ends every loop. */
typedef struct lh_json {
    lh_call *call;
    const char *start, *at, *end;
    /* What is open: one bit a level, set for an object. */
    uint64_t open[2];
    uint32_t depth;
    /* Whether a value is due; whether it is the first of what is open; whether a null was entered. */
    bool due, first, empty;
    /* Where it was opened, for messages. */
    lh_place_ place;
} lh_json;

lh_json lh_json_open(lh_call *call, lh_text text);
#ifndef LH_WITHOUT_PLACES
#define lh_json_open(call, text) lh_json_open(lh_here_(call, LH_FILE_, __LINE__), text)
#endif
/* What comes next: '{', '[', '"', '0' for a number, 't' for true and false, 'n' for null; 0 after a failure. */
char lh_json_peek(lh_json *json);
/* Opens an object or an array; a null in its place counts as an empty one. */
bool lh_json_enter(lh_json *json, char open);
/* Goes to the next member or element; false at the end, which closes the object or array. `name` may be NULL. */
bool lh_json_next(lh_json *json, lh_text *name);
/* Reads a value as one of the types of declared fields; null is null of each. */
lh_value lh_json_value(lh_json *json, lh_kind kind);

/* ---- The plugin's entry points: one of these, once, in one file ------------------------------------------------- */

#ifdef __wasm__
#define LH_EXPORT_(name) __attribute__((export_name(name)))
#define LH_PROJECTOR(projector)                                                                                        \
    LH_EXPORT_("lamphouse:plugin/packed-projector@0.1.0#describe")                                                     \
    void *lh_export_describe(void) { return lh_guest_describe_projector(&(projector)); }                               \
    LH_EXPORT_("lamphouse:plugin/packed-projector@0.1.0#project")                                                      \
    void *lh_export_project(uint8_t *events, size_t len) { return lh_guest_project(&(projector), events, len); }       \
    LH_EXPORT_("cabi_post_lamphouse:plugin/packed-projector@0.1.0#describe")                                           \
    void lh_export_describe_post(void *area) { lh_guest_end(area); }                                                   \
    LH_EXPORT_("cabi_post_lamphouse:plugin/packed-projector@0.1.0#project")                                            \
    void lh_export_project_post(void *area) { lh_guest_end(area); }                                                    \
    LH_EXPORT_("cabi_realloc") void *lh_export_realloc(void *old, size_t had, size_t align, size_t bytes)              \
    {                                                                                                                  \
        return lh_guest_realloc(old, had, align, bytes);                                                               \
    }
#define LH_UPCASTER(upcaster)                                                                                          \
    LH_EXPORT_("lamphouse:plugin/packed-upcaster@0.1.0#describe")                                                      \
    void *lh_export_describe(void) { return lh_guest_describe_upcaster(&(upcaster)); }                                 \
    LH_EXPORT_("lamphouse:plugin/packed-upcaster@0.1.0#upcast")                                                        \
    void *lh_export_upcast(uint8_t *events, size_t len) { return lh_guest_upcast(&(upcaster), events, len); }          \
    LH_EXPORT_("cabi_post_lamphouse:plugin/packed-upcaster@0.1.0#describe")                                            \
    void lh_export_describe_post(void *area) { lh_guest_end(area); }                                                   \
    LH_EXPORT_("cabi_post_lamphouse:plugin/packed-upcaster@0.1.0#upcast")                                              \
    void lh_export_upcast_post(void *area) { lh_guest_end(area); }                                                     \
    LH_EXPORT_("cabi_realloc") void *lh_export_realloc(void *old, size_t had, size_t align, size_t bytes)              \
    {                                                                                                                  \
        return lh_guest_realloc(old, had, align, bytes);                                                               \
    }

void *lh_export_describe(void);
void *lh_export_project(uint8_t *events, size_t len);
void *lh_export_upcast(uint8_t *events, size_t len);
void lh_export_describe_post(void *area);
void lh_export_project_post(void *area);
void lh_export_upcast_post(void *area);
void *lh_export_realloc(void *old, size_t had, size_t align, size_t bytes);
void *lh_guest_describe_projector(const lh_projector *projector);
void *lh_guest_describe_upcaster(const lh_upcaster *upcaster);
void *lh_guest_project(const lh_projector *projector, uint8_t *events, size_t len);
void *lh_guest_upcast(const lh_upcaster *upcaster, uint8_t *events, size_t len);
void lh_guest_end(void *area);
void *lh_guest_realloc(void *old, size_t had, size_t align, size_t bytes);
#else
/* On the developer's machine they do nothing: lh_harness.h takes the declaration itself. */
#define LH_PROJECTOR(projector) extern const lh_projector projector;
#define LH_UPCASTER(upcaster) extern const lh_upcaster upcaster;
#endif

#ifdef __cplusplus
}

template <typename T, size_t N> struct lh_array_of_ {
    T items[N];
    size_t count;
};
template <typename T, typename... More> constexpr lh_array_of_<T, sizeof...(More)> lh_array_(T, const More &...items)
{
    return {{items...}, sizeof...(More)};
}
#endif

#endif

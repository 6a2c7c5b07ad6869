/* What the files of the SDK share; not for plugins. */
#ifndef LH_INTERNAL_H
#define LH_INTERNAL_H

#include <stdarg.h>
#include <string.h>

/* The macros that remember an author's line are not for the functions themselves. */
#define LH_WITHOUT_PLACES
#include "lamphouse.h"

__extension__ typedef __int128 lh_int128;
__extension__ typedef unsigned __int128 lh_uint128;

#define LH_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* ---- lh_arena.c: memory of a call, and texts in it ---- */

typedef struct lh_chunk lh_chunk;

/* All zeros is an empty one. */
typedef struct lh_arena {
    lh_chunk *last;
    char *at, *end;
} lh_arena;

void *lh_arena_alloc(lh_arena *arena, size_t bytes);
void lh_arena_free(lh_arena *arena);
/* Forgets all that is in it, and keeps its last chunk. */
void lh_arena_reset(lh_arena *arena);
char *lh_arena_vformat(lh_arena *arena, const char *format, va_list arguments);
char *lh_arena_format(lh_arena *arena, const char *format, ...) LH_PRINTF_(2, 3);
/* A copy with a zero behind it. */
char *lh_arena_copy(lh_arena *arena, const void *bytes, size_t len);

/* Bytes that grow in an arena. */
typedef struct lh_buffer {
    lh_arena *arena;
    uint8_t *bytes;
    size_t len, room;
} lh_buffer;

void lh_buffer_grow(lh_buffer *buffer, size_t more);

static inline uint8_t *lh_buffer_reserve(lh_buffer *buffer, size_t more)
{
    if (LH_UNLIKELY(buffer->room - buffer->len < more)) lh_buffer_grow(buffer, more);
    return buffer->bytes + buffer->len;
}

static inline void lh_buffer_byte(lh_buffer *buffer, uint8_t byte)
{
    *lh_buffer_reserve(buffer, 1) = byte;
    buffer->len++;
}

static inline void lh_buffer_add(lh_buffer *buffer, const void *bytes, size_t len)
{
    uint8_t *to = lh_buffer_reserve(buffer, len);
    if (len > 0) memcpy(to, bytes, len);
    buffer->len += len;
}

void lh_buffer_str(lh_buffer *buffer, const char *text);

static inline uint64_t lh_word(const void *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

bool lh_is_utf8(const char *text, size_t len);
/* A text fit for a message: cut to so many characters, without control characters. */
const char *lh_shown(lh_arena *arena, lh_text text, size_t chars_max);
enum { LH_SHOWN_CHARS = 40 };

/* Where something goes wrong, and why; the first failure stays. */
typedef struct lh_scope {
    lh_arena *arena;
    const char *why;
} lh_scope;

/* Always false. */
bool lh_violate(lh_scope *scope, const char *format, ...) LH_PRINTF_(2, 3);

/* ---- lh_decimal.c, lh_timestamp.c ---- */

#define LH_DECIMAL_DIGITS_MAX 38

lh_int128 lh_decimal_whole(lh_decimal number);
typedef enum { LH_DECIMAL_FINE, LH_DECIMAL_SYNTAX, LH_DECIMAL_OVERFLOW, LH_DECIMAL_SCALE } lh_decimal_error;
lh_decimal_error lh_decimal_read(const char *text, size_t len, lh_decimal *out);
lh_decimal_error lh_decimal_scaled(lh_decimal number, unsigned scale, lh_decimal *out);
/* `text` is what was read, or NULL; `scale` is what is kept. */
const char *lh_decimal_why(lh_arena *arena, lh_decimal_error error, lh_text text, lh_decimal number, unsigned scale);

/* ---- lh_shape.c: a table's declaration, ready for use ---- */

typedef struct lh_shape_column {
    lh_kind kind;
    uint8_t scale;
    bool key, nullable, has_initial;
    const char *name;
    lh_value initial;
} lh_shape_column;

typedef struct lh_shape {
    const char *name;
    lh_shape_column *columns;
    uint32_t column_count;
    uint32_t *key;
    uint32_t key_count;
    const lh_index *indexes;
    uint32_t index_count;
} lh_shape;

/* False: an initial value is no decimal or no timestamp at all. */
bool lh_shape_make(lh_scope *scope, const lh_table *table, lh_shape *out);

/* ---- lh_conform.c, lh_cells.c: what a change makes of a row ---- */

enum { LH_KEY_BYTES_MAX = 1000, LH_INDEX_BYTES_MAX = 2000, LH_NAME_BYTES_MAX = 48, LH_JSON_DEPTH_MAX = 128 };
#define LH_MICROS_MIN (-62135596800000000LL)
#define LH_MICROS_MAX 253402300799999999LL

bool lh_conform(lh_scope *scope, const lh_shape *table, uint32_t column, lh_value *value);
bool lh_conform_row(lh_scope *scope, const lh_shape *table, lh_value *row, size_t len);
bool lh_conform_key(lh_scope *scope, const lh_shape *table, lh_value *key, size_t len);
bool lh_conform_prefix(lh_scope *scope, const lh_shape *table, uint32_t index, lh_value *prefix, size_t len);
bool lh_within_indexes(lh_scope *scope, const lh_shape *table, const lh_value *row);
/* Whether a key of one text is in its one form already: what nearly every key is. */
bool lh_is_plain_text_key(const lh_shape *table, const lh_value *key, size_t len);

/* Changes a row in place; after a violation it is of no use. Texts that stay are copied. */
bool lh_patch_row(lh_scope *scope, const lh_shape *table, lh_value *row, const lh_cell *cells, size_t count);
/* The row that an upsert makes where there is none. The key must be conformed. */
lh_value *lh_new_row(lh_scope *scope, const lh_shape *table, const lh_value *key, const lh_cell *cells, size_t count);
/* Cells whose row is not at hand, checked as far as that goes; NULL after a violation. */
lh_cell *lh_conform_cells(lh_scope *scope, const lh_shape *table, const lh_cell *cells, size_t count);
bool lh_names_all_required(const lh_shape *table, const lh_cell *cells, size_t count);
/* Makes one list of two, in `earlier`, which has room for all columns. Gives back in `rest` those of `later` that do
 * not merge, conformed. */
bool lh_merge_cells(lh_scope *scope, const lh_shape *table, lh_cell *earlier, size_t *earlier_count,
                    const lh_cell *later, size_t later_count, lh_cell *rest, size_t *rest_count);

/* The value with texts and bytes of its own. */
static inline lh_value lh_own(lh_arena *arena, lh_value value)
{
    if (value.kind == LH_KIND_TEXT || value.kind == LH_KIND_BYTES || value.kind == LH_KIND_JSON)
        value.text.ptr = lh_arena_copy(arena, value.text.ptr, value.text.len);
    return value;
}

bool lh_value_same(lh_value one, lh_value other);
/* `orders.total`. */
const char *lh_place(lh_arena *arena, const lh_shape *table, uint32_t column);
const char *lh_describe_value(lh_arena *arena, lh_value value);
const char *lh_type_name(lh_arena *arena, lh_kind kind, unsigned scale);
/* A key as messages show it. */
const char *lh_describe_key(lh_arena *arena, const lh_value *key, size_t len);

/* ---- lh_packed.c: wit/PACKED.md ---- */

typedef enum { LH_PUT, LH_PATCH, LH_UPSERT, LH_REMOVE } lh_operation;

/* Reads piece after piece; after a failure `why` is set, and nothing that it gives is of use. */
typedef struct lh_reader {
    const uint8_t *at, *end, *start;
    lh_scope *scope;
    bool failed;
} lh_reader;

lh_reader lh_reader_of(lh_scope *scope, const void *bytes, size_t len);
size_t lh_read_array(lh_reader *reader);
/* False for nil. */
bool lh_read_array_or_nil(lh_reader *reader, size_t *count);
uint64_t lh_read_uint(lh_reader *reader);
uint32_t lh_read_uint32(lh_reader *reader);
int64_t lh_read_int(lh_reader *reader);
lh_text lh_read_str(lh_reader *reader);
/* A text without bytes at NULL for nil. */
lh_text lh_read_str_or_nil(lh_reader *reader);
lh_bytes lh_read_bin(lh_reader *reader);
lh_value lh_read_value(lh_reader *reader);
lh_value *lh_read_values(lh_reader *reader, size_t count);

/* An event, and its declared fields, packed; at NULL where it came whole. */
bool lh_read_event(lh_reader *reader, lh_event *event, lh_bytes *fields);

typedef struct lh_change {
    lh_operation operation;
    uint32_t table;
    /* The row of a put, the key of any other. */
    lh_value *values;
    size_t value_count;
    lh_cell *cells;
    size_t cell_count;
} lh_change;

bool lh_read_change(lh_reader *reader, lh_change *change);

void lh_pack_array(lh_buffer *out, size_t count);
void lh_pack_uint(lh_buffer *out, uint64_t number);
void lh_pack_int(lh_buffer *out, int64_t number);
void lh_pack_str(lh_buffer *out, lh_text text);
void lh_pack_nil(lh_buffer *out);
void lh_pack_bin(lh_buffer *out, lh_bytes bytes);
void lh_pack_value(lh_buffer *out, lh_value value);
void lh_pack_values(lh_buffer *out, const lh_value *values, size_t count);
void lh_pack_change(lh_buffer *out, const lh_change *change);
void lh_pack_read(lh_buffer *out, uint32_t table, const lh_value *key, size_t key_len);
void lh_pack_event(lh_buffer *out, const lh_event *event);

/* ---- lh_json.c ---- */

/* NULL where the text is one JSON value that databases keep; else what is wrong, and where. */
const char *lh_json_check(lh_arena *arena, lh_text text, unsigned depth_max);

/* A place in JSON text, for the readers. After a failure `why` is set, and `at` is where. */
typedef struct lh_scan {
    const char *start, *at, *end;
    lh_arena *arena;
    const char *why;
} lh_scan;

/* False, with the reason; the first one stays. */
bool lh_scan_error(lh_scan *scan, const char *why);
/* Skips white space; the next byte, or 0 at the end. */
char lh_scan_peek(lh_scan *scan);
/* Goes behind a value without looking closer than whether it is one. */
bool lh_scan_skip(lh_scan *scan);
/* A text, with its escapes resolved: in place where it has none. */
bool lh_scan_string(lh_scan *scan, lh_text *out);
/* A name in an object, with its colon. */
bool lh_scan_name(lh_scan *scan, lh_text *out);
/* A value as a declared field of this kind; null is null of each. */
bool lh_scan_field(lh_scan *scan, lh_kind kind, lh_value *out);
void lh_json_quote(lh_buffer *out, lh_text text);
/* A double in the shortest form that is read as the same one. */
size_t lh_real_text(double number, char out[40]);

/* ---- lh_fields.c ---- */

/* Takes declared fields out of an event's JSON into `values`; NULL, or why its JSON is not as declared. */
const char *lh_extract(lh_arena *arena, const lh_event *event, const lh_field *fields, size_t count, lh_value *values);
/* NULL, or why these cannot be declared. */
const char *lh_fields_error(lh_arena *arena, const lh_field *fields, size_t count);
/* Puts the declared fields in the place of data and metadata, and finds what must be there and is not. */
const char *lh_take_fields(lh_arena *arena, lh_event *event, lh_bytes packed, const lh_field *fields, size_t count,
                           const lh_field **missing);
/* The text of the option `fields`; NULL where none are declared. */
const char *lh_fields_option(lh_arena *arena, const lh_projector *projector);

/* ---- lh_memo.c ---- */

/* What a call of a projector needs of the world. Each gives false after setting the scope's `why`. */
typedef struct lh_host {
    void *self;
    bool (*apply)(void *self, lh_scope *scope, lh_bytes changes);
    bool (*read)(void *self, lh_scope *scope, lh_bytes reads, lh_bytes *answers);
    bool (*find)(void *self, lh_scope *scope, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                 const lh_value *after, uint32_t limit, lh_rows *rows);
} lh_host;

typedef enum { LH_UNKNOWN, LH_KNOWN, LH_PENDING } lh_state;

typedef struct lh_entry {
    uint32_t table;
    uint32_t hash;
    /* Conformed. */
    lh_value *key;
    const char *bytes;
    uint32_t bytes_len;
    lh_state state;
    /* Known: whether it was changed. Pending: whether the row must exist. */
    bool flag;
    bool wanted;
    /* Known: the row, or NULL where there is none. */
    lh_value *row;
    /* Pending: merged changes of a row that was never read. */
    lh_cell *cells;
    size_t cell_count;
} lh_entry;

typedef struct lh_memo {
    lh_entry *entries;
    uint32_t count, room;
    /* Places in `entries` and 1, by hash. */
    uint32_t *slots;
    uint32_t slot_mask;
} lh_memo;

/* ---- lh_run.c ---- */

typedef struct lh_today {
    lh_text event_type;
    uint32_t schema_version;
    /* At NULL: as in the event that was given. */
    lh_text data, metadata;
} lh_today;

struct lh_call {
    /* The author's line that used the call last; must come first. */
    lh_place_ place;
    lh_scope scope;
    /* Where it failed, if that is known. */
    lh_place_ failed_at;
    const lh_host *host;
    const lh_shape *shapes;
    uint32_t table_count;
    lh_memo memo;
    bool prefetching;
    /* Places in the memo that a prefetch named. */
    uint32_t *wanted;
    uint32_t wanted_count, wanted_room;
    /* Of an upcaster. */
    lh_today *given;
    uint32_t given_count, given_room;
};

/* Remembers where a call failed, the first time; gives `fine`. */
bool lh_fine(lh_call *call, bool fine, lh_place_ place);

/* The place of a row, made where there is none; UINT32_MAX after a violation. */
uint32_t lh_memo_place(lh_call *call, uint32_t table, const lh_value *key, size_t key_len);
bool lh_memo_read(lh_call *call, const uint32_t *places, size_t count);
bool lh_memo_replace(lh_call *call, uint32_t place, lh_value *row);
bool lh_memo_change(lh_call *call, uint32_t place, const lh_cell *cells, size_t count, bool must_exist);
void lh_memo_found(lh_call *call, uint32_t place, lh_value *row);
/* Writes what became of the rows of one table, or of all (UINT32_MAX). */
void lh_memo_hand_over(lh_call *call, uint32_t table, lh_buffer *out);

typedef struct lh_failure {
    bool has_index;
    uint32_t index;
    const char *message;
    const char *trace;
} lh_failure;

/* One call: packed events in, packed changes out. */
bool lh_run_project(lh_arena *arena, const lh_projector *projector, const lh_shape *shapes, const lh_host *host,
                    lh_bytes events, lh_bytes *changes, lh_failure *failure);
bool lh_run_upcast(lh_arena *arena, const lh_upcaster *upcaster, lh_bytes events, lh_bytes *lifted,
                   lh_failure *failure);
bool lh_handler_takes(const lh_handler *handler, const lh_event *event);
/* Lifts one event; what it became is in the call. */
bool lh_run_lift(lh_call *call, const lh_upcaster *upcaster, const lh_event *event);
/* The tables of a projector; NULL after a violation. */
const lh_shape *lh_shapes_of(lh_scope *scope, const lh_projector *projector);

void lh_log_write(lh_level level, const char *text, size_t len);

/* ---- lh_check.c ---- */

/* Everything that a host would refuse, a line each behind "- "; NULL where nothing. */
const char *lh_check_projector(lh_arena *arena, const lh_projector *projector);
const char *lh_check_upcaster(lh_arena *arena, const lh_upcaster *upcaster);

#endif

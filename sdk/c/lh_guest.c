/* The sandbox's side: the canonical ABI of the worlds `packed-projector-plugin` and `packed-upcaster-plugin`, written
 * by hand, so that plugins in C need no bindings generator.
 *
 * What the component model makes of wit/lamphouse.wit for a core module (Canonical ABI, 32-bit memory, UTF-8):
 *
 * - A function of an interface is exported under "lamphouse:plugin/INTERFACE@0.1.0#FUNCTION", and imported from the
 *   module "lamphouse:plugin/INTERFACE@0.1.0" under "FUNCTION". The host tells the world from the exports' names.
 * - Records lie in memory as C structs do, with the alignment of each field. A list or a string is two fields, pointer
 *   and length. A variant, an option or a result is one byte that says which case, then the payload at its alignment.
 *   So the structs below mirror the contract, and the assertions hold their sizes.
 * - A parameter that is a list or a string comes as two i32. A result that is no single number is written to a place in
 *   memory: of an export, the function returns where; of an import, the caller hands over where as a last parameter.
 * - Whatever the host writes into the plugin's memory (the events of a call, the answer of a read), it first asks
 *   "cabi_realloc" for room: here from the arena of the call.
 * - When the host has copied an export's result out, it calls "cabi_post_" and the export's name: the arena is emptied.
 *
 * The macros LH_PROJECTOR and LH_UPCASTER of lamphouse.h define the exports, so that a plugin has those of one world;
 * the linker leaves out the imports that nothing reaches.
 */
#include "lh_internal.h"

#ifdef __wasm__

#include <stdio.h>

/* ---- What the contract's types look like in memory ---- */

typedef struct {
    uint32_t ptr, len;
} wit_list;
typedef wit_list wit_string;
typedef struct {
    uint8_t is_some;
    wit_string value;
} wit_option_string;

/* variant value, and column-type: their cases are numbered as lh_kind is, and column-type has no null. */
typedef struct {
    uint8_t kind;
    union {
        uint8_t boolean;
        int64_t integer;
        double real;
        wit_string bytes;
    } as;
} wit_value;

typedef struct {
    wit_option_string event_type, stream_type;
    wit_list schema_versions;
} wit_subscription;
typedef struct {
    uint8_t is_some;
    wit_value value;
} wit_option_value;
typedef struct {
    wit_string name;
    uint8_t kind, scale, nullable;
    wit_option_value initial;
} wit_column;
typedef struct {
    wit_string name;
    wit_list columns, primary_key, indexes;
} wit_table;
typedef struct {
    wit_string name, value;
} wit_pair;
typedef struct {
    wit_string name, version;
    wit_list subscriptions, tables, options;
} wit_descriptor;
typedef struct {
    wit_string event_type;
    uint32_t schema_version;
} wit_schema;
typedef struct {
    wit_schema takes;
    wit_list gives;
} wit_rule;
typedef struct {
    wit_string name, version;
    wit_list rules, options;
} wit_upcaster_descriptor;
typedef struct {
    uint8_t is_err;
    union {
        wit_list ok;
        struct {
            uint8_t has_index;
            uint32_t index;
            wit_string message, trace;
        } err;
    } as;
} wit_result;

_Static_assert(sizeof(wit_value) == 16 && sizeof(wit_subscription) == 32 && sizeof(wit_column) == 40, "layout");
_Static_assert(offsetof(wit_column, initial) == 16 && sizeof(wit_table) == 32 && sizeof(wit_descriptor) == 40,
               "layout");
_Static_assert(sizeof(wit_rule) == 20 && sizeof(wit_upcaster_descriptor) == 32 && sizeof(wit_result) == 28, "layout");
_Static_assert(sizeof(void *) == 4 && sizeof(size_t) == 4, "Wasm with 32-bit memory");

/* ---- Imports ---- */

#define LH_IMPORT(module, name)                                                                                        \
    __attribute__((import_module("lamphouse:plugin/" module "@0.1.0"), import_name(name))) extern

LH_IMPORT("log", "write") void import_log_write(uint32_t level, const char *text, size_t len);
LH_IMPORT("tables", "apply") void import_apply(const uint8_t *changes, size_t len);
LH_IMPORT("tables", "read") void import_read(const uint8_t *reads, size_t len, wit_list *answers);
LH_IMPORT("tables", "find")
void import_find(uint32_t table, uint32_t index, const wit_value *prefix, size_t prefix_len, uint32_t has_after,
                 const wit_value *after, size_t after_len, uint32_t limit, wit_list *rows);

/* ---- Memory of the call ---- */

static lh_arena arena;

void *lh_guest_realloc(void *old, size_t had, size_t align, size_t bytes)
{
    (void)align; /* At most 8; the arena gives 16. */
    void *room = lh_arena_alloc(&arena, bytes);
    if (had > 0) memcpy(room, old, had < bytes ? had : bytes);
    return room;
}

void lh_guest_end(void *area)
{
    (void)area; /* It is in the arena, as everything is. */
    lh_arena_reset(&arena);
}

/* ---- To the contract's types and back ---- */

static wit_list list_of(const void *ptr, size_t len) { return (wit_list){(uint32_t)(uintptr_t)ptr, (uint32_t)len}; }
static wit_string string_of(const char *text) { return text == NULL ? list_of("", 0) : list_of(text, strlen(text)); }
static const void *at(wit_list list) { return (const void *)(uintptr_t)list.ptr; }

static wit_option_string optional(const char *text)
{
    return (wit_option_string){.is_some = text != NULL, .value = string_of(text)};
}

static wit_value to_wit(lh_value value)
{
    wit_value out = {.kind = (uint8_t)value.kind};
    switch (value.kind) {
    case LH_KIND_NULL: break;
    case LH_KIND_BOOLEAN: out.as.boolean = value.boolean; break;
    case LH_KIND_INTEGER: out.as.integer = value.integer; break;
    case LH_KIND_TIMESTAMP: out.as.integer = value.timestamp.micros; break;
    case LH_KIND_REAL: out.as.real = value.real; break;
    case LH_KIND_DECIMAL: {
        char *text = lh_arena_alloc(&arena, LH_DECIMAL_TEXT_MAX);
        out.as.bytes = list_of(text, lh_decimal_text(value.decimal, text));
        break;
    }
    case LH_KIND_TEXT:
    case LH_KIND_BYTES:
    case LH_KIND_JSON: out.as.bytes = list_of(value.text.ptr, value.text.len); break;
    }
    return out;
}

static wit_value *values_to_wit(const lh_value *values, size_t count)
{
    wit_value *out = lh_arena_alloc(&arena, count * sizeof *out);
    for (size_t i = 0; i < count; i++) out[i] = to_wit(values[i]);
    return out;
}

static bool from_wit(lh_scope *scope, wit_value value, lh_value *out)
{
    *out = (lh_value){.kind = (lh_kind)value.kind};
    lh_text text = {at(value.as.bytes), value.as.bytes.len};
    switch (out->kind) {
    case LH_KIND_NULL: return true;
    case LH_KIND_BOOLEAN: out->boolean = value.as.boolean != 0; return true;
    case LH_KIND_INTEGER: out->integer = value.as.integer; return true;
    case LH_KIND_TIMESTAMP: out->timestamp.micros = value.as.integer; return true;
    case LH_KIND_REAL: out->real = value.as.real; return true;
    case LH_KIND_DECIMAL:
        return lh_decimal_parse(text, &out->decimal) || lh_violate(scope, "the host gave a decimal that is none");
    case LH_KIND_TEXT:
    case LH_KIND_BYTES:
    case LH_KIND_JSON: out->text = text; return true;
    }
    return lh_violate(scope, "the host gave a value of an unknown kind");
}

/* ---- The host, as a call sees it ---- */

static bool apply(void *self, lh_scope *scope, lh_bytes changes)
{
    (void)self, (void)scope;
    import_apply(changes.ptr, changes.len);
    return true;
}

static bool read(void *self, lh_scope *scope, lh_bytes reads, lh_bytes *answers)
{
    (void)self, (void)scope;
    wit_list out = {0, 0};
    import_read(reads.ptr, reads.len, &out);
    *answers = (lh_bytes){at(out), out.len};
    return true;
}

static bool find(void *self, lh_scope *scope, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len,
                 const lh_value *after, uint32_t limit, lh_rows *rows)
{
    const lh_shape *shapes = *(const lh_shape *const *)self;
    size_t key_len = after == NULL ? 0 : shapes[table].key_count, columns = shapes[table].column_count;
    wit_list out = {0, 0};
    import_find(table, index, values_to_wit(prefix, prefix_len), prefix_len, after != NULL,
                values_to_wit(after, key_len), key_len, limit, &out);
    const wit_list *found = at(out);
    const lh_value **list = lh_arena_alloc(&arena, out.len * sizeof *list);
    for (uint32_t i = 0; i < out.len; i++) {
        lh_value *row = lh_arena_alloc(&arena, columns * sizeof *row);
        if (found[i].len != columns) return lh_violate(scope, "the host found a row of another table");
        const wit_value *values = at(found[i]);
        for (size_t column = 0; column < columns; column++)
            if (!from_wit(scope, values[column], &row[column])) return false;
        list[i] = row;
    }
    *rows = (lh_rows){out.len, list};
    return true;
}

/* ---- Exports ---- */

static wit_list options_to_wit(const lh_option *options, size_t count, const char *fields)
{
    wit_pair *out = lh_arena_alloc(&arena, (count + 1) * sizeof *out);
    for (size_t i = 0; i < count; i++) out[i] = (wit_pair){string_of(options[i].name), string_of(options[i].value)};
    if (fields != NULL) out[count++] = (wit_pair){string_of("fields"), string_of(fields)};
    return list_of(out, count);
}

static wit_list columns_to_wit(const lh_shape *shape)
{
    wit_column *out = lh_arena_alloc(&arena, shape->column_count * sizeof *out);
    for (uint32_t i = 0; i < shape->column_count; i++) {
        const lh_shape_column *column = &shape->columns[i];
        out[i] = (wit_column){
            .name = string_of(column->name),
            .kind = (uint8_t)(column->kind - LH_KIND_BOOLEAN),
            .scale = column->scale,
            .nullable = column->nullable,
            .initial = {.is_some = column->has_initial, .value = to_wit(column->initial)},
        };
    }
    return list_of(out, shape->column_count);
}

static wit_list indexes_to_wit(const lh_shape *shape)
{
    wit_list *out = lh_arena_alloc(&arena, shape->index_count * sizeof *out);
    for (uint32_t i = 0; i < shape->index_count; i++)
        out[i] = list_of(shape->indexes[i].columns, shape->indexes[i].count);
    return list_of(out, shape->index_count);
}

void *lh_guest_describe_projector(const lh_projector *projector)
{
    lh_scope scope = {.arena = &arena};
    const lh_shape *shapes = lh_shapes_of(&scope, projector);
    if (shapes == NULL) {
        lh_log_write(LH_ERROR, scope.why, strlen(scope.why));
        __builtin_trap();
    }
    wit_table *tables = lh_arena_alloc(&arena, projector->table_count * sizeof *tables);
    for (size_t i = 0; i < projector->table_count; i++)
        tables[i] = (wit_table){string_of(shapes[i].name), columns_to_wit(&shapes[i]),
                                list_of(shapes[i].key, shapes[i].key_count), indexes_to_wit(&shapes[i])};
    wit_subscription *subscriptions = lh_arena_alloc(&arena, projector->handler_count * sizeof *subscriptions);
    for (size_t i = 0; i < projector->handler_count; i++) {
        const lh_handler *handler = &projector->handlers[i];
        subscriptions[i] = (wit_subscription){optional(handler->event_type), optional(handler->stream_type),
                                              list_of(handler->schema_versions, handler->schema_version_count)};
    }
    wit_descriptor *out = lh_arena_alloc(&arena, sizeof *out);
    *out = (wit_descriptor){
        .name = string_of(projector->name),
        .version = string_of(projector->version),
        .subscriptions = list_of(subscriptions, projector->handler_count),
        .tables = list_of(tables, projector->table_count),
        .options = options_to_wit(projector->options, projector->option_count, lh_fields_option(&arena, projector)),
    };
    return out;
}

void *lh_guest_describe_upcaster(const lh_upcaster *upcaster)
{
    wit_rule *rules = lh_arena_alloc(&arena, upcaster->rule_count * sizeof *rules);
    for (size_t i = 0; i < upcaster->rule_count; i++) {
        const lh_rule *rule = &upcaster->rules[i];
        wit_schema *gives = lh_arena_alloc(&arena, rule->give_count * sizeof *gives);
        for (size_t g = 0; g < rule->give_count; g++)
            gives[g] = (wit_schema){string_of(rule->gives[g].event_type), rule->gives[g].schema_version};
        rules[i] = (wit_rule){{string_of(rule->takes.event_type), rule->takes.schema_version},
                              list_of(gives, rule->give_count)};
    }
    wit_upcaster_descriptor *out = lh_arena_alloc(&arena, sizeof *out);
    *out = (wit_upcaster_descriptor){
        .name = string_of(upcaster->name),
        .version = string_of(upcaster->version),
        .rules = list_of(rules, upcaster->rule_count),
        .options = options_to_wit(upcaster->options, upcaster->option_count, NULL),
    };
    return out;
}

static void *result_to_wit(bool fine, lh_bytes bytes, const lh_failure *failure)
{
    wit_result *out = lh_arena_alloc(&arena, sizeof *out);
    *out = (wit_result){.is_err = !fine};
    if (fine) {
        out->as.ok = list_of(bytes.ptr, bytes.len);
    } else {
        out->as.err.has_index = failure->has_index;
        out->as.err.index = failure->index;
        out->as.err.message = string_of(failure->message);
        out->as.err.trace = string_of(failure->trace);
    }
    return out;
}

void *lh_guest_project(const lh_projector *projector, uint8_t *events, size_t len)
{
    lh_bytes changes = {NULL, 0};
    lh_failure failure = {0};
    lh_scope scope = {.arena = &arena};
    const lh_shape *shapes = lh_shapes_of(&scope, projector);
    const lh_host host = {.self = &shapes, .apply = apply, .read = read, .find = find};
    bool fine = lh_run_project(&arena, projector, shapes, &host, (lh_bytes){events, len}, &changes, &failure);
    return result_to_wit(fine, changes, &failure);
}

void *lh_guest_upcast(const lh_upcaster *upcaster, uint8_t *events, size_t len)
{
    lh_bytes lifted = {NULL, 0};
    lh_failure failure = {0};
    bool fine = lh_run_upcast(&arena, upcaster, (lh_bytes){events, len}, &lifted, &failure);
    return result_to_wit(fine, lifted, &failure);
}

/* ---- The C library's ways out ---- */

void lh_log_write(lh_level level, const char *text, size_t len) { import_log_write(level, text, len); }

/* Debian's compiler runtime was built with a stack protector, of which its C library knows nothing. */
__attribute__((weak)) uintptr_t __stack_chk_guard;
__attribute__((weak)) _Noreturn void __stack_chk_fail(void);
__attribute__((weak)) _Noreturn void __stack_chk_fail(void) { __builtin_trap(); }

typedef struct {
    const char *ptr;
    size_t len;
} io_vector;

/* What is printed goes to the host's log, line by line, and so does what a failed assert() says. wasi-libc imports this
 * function of WASI under this name; as it is defined here, nothing is imported. */
int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t fd, int32_t vectors, int32_t count, int32_t written);
int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t fd, int32_t vectors, int32_t count, int32_t written)
{
    enum { LINE_MAX = 1024, BADF = 8 };
    static char lines[2][LINE_MAX];
    static size_t lengths[2];
    if (fd != 1 && fd != 2) return BADF;
    char *line = lines[fd - 1];
    size_t *len = &lengths[fd - 1], all = 0;
    const io_vector *from = (const io_vector *)(uintptr_t)vectors;
    for (int32_t i = 0; i < count; i++) {
        all += from[i].len;
        for (size_t c = 0; c < from[i].len; c++) {
            bool ends = from[i].ptr[c] == '\n';
            if (!ends) line[(*len)++] = from[i].ptr[c];
            if (!ends && *len < LINE_MAX) continue;
            /* A text that is not UTF-8 would end the call. */
            const char *shown = lh_is_utf8(line, *len) ? NULL : "(a printed line is not UTF-8)";
            if (shown != NULL)
                lh_log_write(fd == 1 ? LH_INFO : LH_ERROR, shown, strlen(shown));
            else
                lh_log_write(fd == 1 ? LH_INFO : LH_ERROR, line, *len);
            *len = 0;
        }
    }
    *(size_t *)(uintptr_t)written = all;
    return 0;
}

#endif

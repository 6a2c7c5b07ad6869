/* Whether a plugin declares what a host takes: for tests on the developer's machine. */
#ifdef __wasm__
typedef int lh_nothing_of_this_is_in_the_sandbox;
#else
#include "lh_internal.h"

enum {
    TABLES_MAX = 64,
    COLUMNS_MAX = 200,
    INDEXES_MAX = 32,
    KEY_COLUMNS_MAX = 8,
    HANDLERS_MAX = 1000,
    VERSIONS_MAX = 1000,
    INITIAL_BYTES_MAX = 10000,
    RULES_MAX = 1000,
    GIVES_MAX = 100,
    TYPE_BYTES_MAX = 256,
    VERSION_BYTES_MAX = 64,
    FIELD_TYPES_MAX = 256,
};

static void wrong(lh_buffer *out, const char *format, ...) LH_PRINTF_(2, 3);
static void wrong(lh_buffer *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    lh_buffer_str(out, "\n- ");
    lh_buffer_str(out, lh_arena_vformat(out->arena, format, arguments));
    va_end(arguments);
}

static const char *ended(lh_buffer *out)
{
    if (out->len == 0) return NULL;
    lh_buffer_byte(out, 0);
    return (const char *)out->bytes;
}

static const char *shown(lh_buffer *out, const char *text)
{
    return lh_shown(out->arena, lh_str(text), LH_SHOWN_CHARS);
}

static bool begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static bool is_name(const char *name, bool dashes)
{
    for (const char *at = name; *at != 0; at++) {
        bool letter = *at >= 'a' && *at <= 'z';
        bool more = at > name && ((*at >= '0' && *at <= '9') || *at == '_' || (dashes && *at == '-'));
        if (!letter && !more) return false;
    }
    return true;
}

static void check_name(lh_buffer *out, const char *where, const char *what, const char *name, bool dashes)
{
    if (name == NULL || *name == 0)
        wrong(out, "%sa %s name is empty", where, what);
    else if (strlen(name) > LH_NAME_BYTES_MAX)
        wrong(out, "%s%s name '%s' has %zu bytes; at most %d are allowed", where, what, shown(out, name), strlen(name),
              LH_NAME_BYTES_MAX);
    else if (!is_name(name, dashes))
        wrong(out, "%s%s name '%s' must be lower-case ASCII: a letter first, then letters, digits%s", where, what,
              shown(out, name), dashes ? ", '_' and '-'" : " and '_'");
    else if (begins(name, "lamphouse") || begins(name, "sqlite_") || begins(name, "pg_") || strstr(name, "__g") != NULL)
        wrong(out, "%s%s name '%s' uses a reserved form ('lamphouse…', 'sqlite_…', 'pg_…', '…__g…')", where, what,
              shown(out, name));
}

static void check_version(lh_buffer *out, const char *version)
{
    bool legal = version != NULL && *version != 0 && strlen(version) <= VERSION_BYTES_MAX;
    for (const char *at = version; legal && *at != 0; at++) legal = *at > ' ' && *at < 0x7f;
    if (!legal)
        wrong(out, "version '%s' must be 1 to %d visible ASCII characters", shown(out, version == NULL ? "" : version),
              VERSION_BYTES_MAX);
}

/* ---- Tables ---- */

/* The columns of the primary key or of an index. */
static void check_columns(lh_buffer *out, const lh_shape *shape, const char *what, const uint32_t *columns,
                          size_t count, size_t count_max)
{
    if (count == 0 || count > count_max) {
        wrong(out, "table '%s': the %s has %zu columns; 1 to %zu are allowed", shape->name, what, count, count_max);
        return;
    }
    bool twice = false;
    for (size_t i = 0; i < count; i++) {
        if (columns[i] >= shape->column_count)
            wrong(out, "table '%s': the %s names column %u, but there are %u (they count from 0)", shape->name, what,
                  columns[i], shape->column_count);
        for (size_t other = 0; other < i; other++) twice = twice || columns[other] == columns[i];
    }
    if (twice) wrong(out, "table '%s': the %s names a column twice", shape->name, what);
}

static void check_column(lh_buffer *out, const lh_shape *shape, uint32_t number)
{
    static const char *const RESERVED[] = {"cmax", "cmin", "ctid", "oid", "rowid", "tableoid", "xmax", "xmin"};
    const lh_shape_column *column = &shape->columns[number];
    const char *where = lh_arena_format(out->arena, "table '%s': ", shown(out, shape->name));
    check_name(out, where, "column", column->name, false);
    for (size_t i = 0; i < LH_LENGTH_(RESERVED); i++)
        if (strcmp(column->name, RESERVED[i]) == 0)
            wrong(out, "%scolumn name '%s' is one that databases give columns of their own", where, column->name);
    for (uint32_t other = 0; other < number; other++)
        if (strcmp(column->name, shape->columns[other].name) == 0)
            wrong(out, "table '%s' declares column '%s' twice", shape->name, shown(out, column->name));
    if (column->kind == LH_KIND_DECIMAL && column->scale > LH_DECIMAL_DIGITS_MAX)
        wrong(out, "%scolumn '%s' is decimal(%d); at most %d digits after the point are allowed", where, column->name,
              column->scale, LH_DECIMAL_DIGITS_MAX);
    if (column->key && column->nullable)
        wrong(out, "%skey column '%s' is nullable; a key has no null", where, column->name);
    if (column->key && (column->kind == LH_KIND_REAL || column->kind == LH_KIND_JSON))
        wrong(out, "%skey column '%s' is real or json, which cannot be a key", where, column->name);
    if (column->key && column->has_initial)
        wrong(out, "%skey column '%s' has an initial value; a key is always given", where, column->name);
    if (!column->has_initial) return;
    lh_value initial = column->initial;
    bool sized = initial.kind == LH_KIND_TEXT || initial.kind == LH_KIND_BYTES || initial.kind == LH_KIND_JSON;
    if (sized && initial.text.len > INITIAL_BYTES_MAX) {
        wrong(out, "%sthe initial value of column '%s' has %zu bytes; at most %d are allowed", where, column->name,
              initial.text.len, INITIAL_BYTES_MAX);
        return;
    }
    lh_scope scope = {.arena = out->arena};
    if (!lh_conform(&scope, shape, number, &initial)) wrong(out, "initial value of %s", scope.why);
}

static bool same_index(const lh_index *one, const lh_index *other)
{
    return one->count == other->count && memcmp(one->columns, other->columns, one->count * sizeof one->columns[0]) == 0;
}

static void check_index(lh_buffer *out, const lh_shape *shape, uint32_t number)
{
    const lh_index *index = &shape->indexes[number];
    check_columns(out, shape, lh_arena_format(out->arena, "index %u", number), index->columns, index->count,
                  LH_INDEX_COLUMNS_MAX);
    if (index->count > LH_INDEX_COLUMNS_MAX) return;
    for (size_t i = 0; i < index->count; i++)
        if (index->columns[i] < shape->column_count && shape->columns[index->columns[i]].kind == LH_KIND_JSON)
            wrong(out, "table '%s': index %u has a json column, which cannot be indexed", shape->name, number);
    for (uint32_t other = 0; other < number; other++)
        if (same_index(index, &shape->indexes[other]))
            wrong(out, "table '%s' declares index %u a second time as index %u", shape->name, other, number);
}

static void check_table(lh_buffer *out, const lh_table *table)
{
    check_name(out, "", "table", table->name, false);
    if (table->column_count == 0 || table->column_count > COLUMNS_MAX) {
        wrong(out, "table '%s' declares %zu columns; 1 to %d are allowed", shown(out, table->name), table->column_count,
              COLUMNS_MAX);
        return;
    }
    lh_scope scope = {.arena = out->arena};
    lh_shape shape;
    if (!lh_shape_make(&scope, table, &shape)) {
        wrong(out, "%s", scope.why);
        return;
    }
    for (uint32_t i = 0; i < shape.column_count; i++) check_column(out, &shape, i);
    check_columns(out, &shape, "primary key", shape.key, shape.key_count, KEY_COLUMNS_MAX);
    if (table->index_count > INDEXES_MAX)
        wrong(out, "table '%s' declares %zu indexes; at most %d are allowed", shape.name, table->index_count,
              INDEXES_MAX);
    for (uint32_t i = 0; i < shape.index_count && i < INDEXES_MAX; i++) check_index(out, &shape, i);
}

/* ---- Handlers ---- */

static void check_type(lh_buffer *out, const char *what, const char *type)
{
    if (type == NULL) return;
    if (*type == 0) wrong(out, "a handler names an empty event type or stream type (leave it out to take any)");
    if (strlen(type) > TYPE_BYTES_MAX)
        wrong(out, "a handler names %s '%s', which has more than %d bytes, as no event's has", what, shown(out, type),
              TYPE_BYTES_MAX);
}

static void check_handlers(lh_buffer *out, const lh_projector *projector)
{
    size_t declaring = 0;
    if (projector->handler_count == 0)
        wrong(out, "no handler is declared, so no event would ever come (LH_ON_EVERY_EVENT takes every event)");
    if (projector->handler_count > HANDLERS_MAX) {
        wrong(out, "%zu handlers are declared; at most %d are allowed", projector->handler_count, HANDLERS_MAX);
        return;
    }
    for (size_t i = 0; i < projector->handler_count; i++) {
        const lh_handler *handler = &projector->handlers[i];
        const char *type = handler->event_type == NULL ? "every event" : handler->event_type;
        check_type(out, "event type", handler->event_type);
        check_type(out, "stream type", handler->stream_type);
        if (handler->project == NULL) wrong(out, "the handler of %s has no function", shown(out, type));
        if (handler->schema_version_count > VERSIONS_MAX)
            wrong(out, "a handler names %zu schema versions; at most %d are allowed", handler->schema_version_count,
                  VERSIONS_MAX);
        for (size_t v = 0; v < handler->schema_version_count && v < VERSIONS_MAX; v++)
            if (handler->schema_versions[v] == 0) wrong(out, "a handler names schema version 0 (they count from 1)");
        if (!handler->declares) continue;
        declaring++;
        if (handler->event_type == NULL) {
            wrong(out, "the handler of every event declares fields: only one of an event type can");
            continue;
        }
        const char *error = lh_fields_error(out->arena, handler->fields, handler->field_count);
        if (error != NULL) wrong(out, "the fields of '%s': %s", shown(out, type), error);
        for (size_t other = 0; other < i; other++) {
            const lh_handler *before = &projector->handlers[other];
            bool same = before->event_type != NULL && strcmp(before->event_type, handler->event_type) == 0;
            if (same && before->declares && before->fields != handler->fields)
                wrong(out, "two handlers of '%s' declare different fields; share one array", shown(out, type));
        }
    }
    if (declaring > FIELD_TYPES_MAX)
        wrong(out, "fields of %zu event types are declared; at most %d are allowed", declaring, FIELD_TYPES_MAX);
}

const char *lh_check_projector(lh_arena *arena, const lh_projector *projector)
{
    lh_buffer out = {.arena = arena};
    check_name(&out, "", "plugin", projector->name, true);
    check_version(&out, projector->version);
    check_handlers(&out, projector);
    if (projector->table_count == 0) wrong(&out, "no table is declared");
    if (projector->table_count > TABLES_MAX) {
        wrong(&out, "%zu tables are declared; at most %d are allowed", projector->table_count, TABLES_MAX);
        return ended(&out);
    }
    for (size_t i = 0; i < projector->table_count; i++) {
        const lh_table *table = &projector->tables[i];
        if (table->name == NULL) {
            wrong(&out, "table %zu has no name", i);
            continue;
        }
        for (size_t other = 0; other < i; other++)
            if (projector->tables[other].name != NULL && strcmp(projector->tables[other].name, table->name) == 0)
                wrong(&out, "table '%s' is declared twice", shown(&out, table->name));
        check_table(&out, table);
    }
    return ended(&out);
}

/* ---- Upcasters ---- */

static bool same_schema(lh_schema one, lh_schema other)
{
    return one.schema_version == other.schema_version && strcmp(one.event_type, other.event_type) == 0;
}

static void check_schema(lh_buffer *out, lh_schema takes, lh_schema schema)
{
    const char *where =
        lh_arena_format(out->arena, "the rule that takes %s %u", shown(out, takes.event_type), takes.schema_version);
    if (*schema.event_type == 0) wrong(out, "%s: an event type is empty", where);
    if (strlen(schema.event_type) > TYPE_BYTES_MAX)
        wrong(out, "%s: event type '%s' has more than %d bytes", where, shown(out, schema.event_type), TYPE_BYTES_MAX);
    if (schema.schema_version == 0)
        wrong(out, "%s: '%s' has schema version 0 (they count from 1)", where, shown(out, schema.event_type));
}

static void check_rule(lh_buffer *out, const lh_rule *rule)
{
    const char *takes =
        lh_arena_format(out->arena, "%s %u", shown(out, rule->takes.event_type), rule->takes.schema_version);
    if (rule->give_count > GIVES_MAX) {
        wrong(out, "the rule that takes %s gives %zu schemas; at most %d are allowed", takes, rule->give_count,
              GIVES_MAX);
        return;
    }
    check_schema(out, rule->takes, rule->takes);
    for (size_t i = 0; i < rule->give_count; i++) {
        check_schema(out, rule->takes, rule->gives[i]);
        for (size_t other = 0; other < i; other++)
            if (same_schema(rule->gives[i], rule->gives[other]))
                wrong(out, "the rule that takes %s names %s %u twice among what it gives", takes,
                      shown(out, rule->gives[i].event_type), rule->gives[i].schema_version);
    }
    if (rule->lift == NULL && rule->give_count > 1)
        wrong(out, "the rule that takes %s gives several schemas, so that it needs a function (LH_LIFT)", takes);
    const char *error = rule->declares ? lh_fields_error(out->arena, rule->fields, rule->field_count) : NULL;
    if (error != NULL) wrong(out, "the rule that takes %s: %s", takes, error);
}

const char *lh_check_upcaster(lh_arena *arena, const lh_upcaster *upcaster)
{
    lh_buffer out = {.arena = arena};
    check_name(&out, "", "plugin", upcaster->name, true);
    check_version(&out, upcaster->version);
    if (upcaster->rule_count == 0) wrong(&out, "no rule is declared, so no event would ever come");
    if (upcaster->rule_count > RULES_MAX) {
        wrong(&out, "%zu rules are declared; at most %d are allowed", upcaster->rule_count, RULES_MAX);
        return ended(&out);
    }
    for (size_t i = 0; i < upcaster->rule_count; i++) {
        const lh_rule *rule = &upcaster->rules[i];
        for (size_t other = 0; other < i; other++)
            if (same_schema(rule->takes, upcaster->rules[other].takes))
                wrong(&out, "two rules take %s %u", shown(&out, rule->takes.event_type), rule->takes.schema_version);
        check_rule(&out, rule);
    }
    return ended(&out);
}
#endif

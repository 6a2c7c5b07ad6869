/* A projector that knows wit/ and a bindings generator, and no SDK of ours: the typed world, one host call a change.
 *
 * It counts events by type, keeps one row a stream with the type of its last event, and, by a declared index, how many
 * streams stand at that type. */
#include <stdlib.h>
#include <string.h>

#include "generated/projector_plugin.h"

/* The generator also writes an object file with the component type, and its code wants it linked. The host tells the
 * world by the exports' names, so that nothing stands in its place. */
void __component_type_object_force_link_projector_plugin(void);
void __component_type_object_force_link_projector_plugin(void) {}

typedef lamphouse_plugin_types_value_t value;
typedef lamphouse_plugin_tables_list_value_t values;
typedef projector_plugin_string_t string;

enum { TYPES, STREAMS };
enum { TYPE, EVENTS, AT_IT };
enum { STREAM_ID, LAST_TYPE, VERSION };

/* ---- Values ---- */

static string text_of(const char *text)
{
    string out;
    projector_plugin_string_set(&out, text);
    return out;
}

static value text(string of)
{
    value out = {.tag = LAMPHOUSE_PLUGIN_TYPES_VALUE_TEXT};
    out.val.text = of;
    return out;
}

static value integer(int64_t of)
{
    value out = {.tag = LAMPHOUSE_PLUGIN_TYPES_VALUE_INTEGER};
    out.val.integer = of;
    return out;
}

static void *room(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) abort();
    return memory;
}

/* ---- describe: what it gives is freed by the generated code, so that all of it lies on the heap ---- */

static lamphouse_plugin_types_column_t column(const char *name, uint8_t kind, bool from_nothing)
{
    lamphouse_plugin_types_column_t out = {.kind = {.tag = kind}, .initial = {.is_some = from_nothing}};
    projector_plugin_string_dup(&out.name, name);
    if (from_nothing) out.initial.val = integer(0);
    return out;
}

static lamphouse_plugin_types_list_column_id_t columns_of(uint32_t only)
{
    lamphouse_plugin_types_list_column_id_t out = {room(sizeof(uint32_t)), 1};
    out.ptr[0] = only;
    return out;
}

static lamphouse_plugin_types_table_schema_t table(const char *name, size_t columns)
{
    lamphouse_plugin_types_table_schema_t out = {0};
    projector_plugin_string_dup(&out.name, name);
    out.columns.ptr = room(columns * sizeof *out.columns.ptr);
    out.columns.len = columns;
    out.primary_key = columns_of(0);
    return out;
}

void exports_lamphouse_plugin_projector_describe(exports_lamphouse_plugin_projector_descriptor_t *out)
{
    memset(out, 0, sizeof *out);
    projector_plugin_string_dup(&out->name, "bare-c");
    projector_plugin_string_dup(&out->version, "1.0.0");
    /* One subscription that names nothing takes every event. */
    out->subscriptions.ptr = room(sizeof *out->subscriptions.ptr);
    out->subscriptions.len = 1;
    memset(out->subscriptions.ptr, 0, sizeof *out->subscriptions.ptr);

    out->tables.ptr = room(2 * sizeof *out->tables.ptr);
    out->tables.len = 2;
    lamphouse_plugin_types_table_schema_t *types = &out->tables.ptr[TYPES], *streams = &out->tables.ptr[STREAMS];
    *types = table("event_types", 3);
    types->columns.ptr[TYPE] = column("event_type", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_TEXT, false);
    types->columns.ptr[EVENTS] = column("events", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_INTEGER, true);
    types->columns.ptr[AT_IT] = column("streams_at_it", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_INTEGER, true);
    *streams = table("streams", 3);
    streams->columns.ptr[STREAM_ID] = column("stream_id", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_TEXT, false);
    streams->columns.ptr[LAST_TYPE] = column("last_type", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_TEXT, false);
    streams->columns.ptr[VERSION] = column("version", LAMPHOUSE_PLUGIN_TYPES_COLUMN_TYPE_INTEGER, false);
    streams->indexes.ptr = room(sizeof *streams->indexes.ptr);
    streams->indexes.len = 1;
    streams->indexes.ptr[0] = columns_of(LAST_TYPE);
}

/* ---- project ---- */

static bool fail(exports_lamphouse_plugin_projector_failure_t *err, size_t index, const char *message)
{
    err->index.is_some = true;
    err->index.val = (uint32_t)index;
    projector_plugin_string_dup(&err->message, message);
    projector_plugin_string_dup(&err->trace, "");
    return false;
}

static void count(string event_type, uint32_t at, uint8_t change, int64_t number)
{
    value key = text(event_type);
    lamphouse_plugin_types_cell_t cell = {.column = at, .change = {.tag = change}};
    cell.change.val.add = integer(number);
    lamphouse_plugin_tables_upsert(TYPES, &(values){&key, 1}, &(lamphouse_plugin_tables_list_cell_t){&cell, 1});
}

/* How many streams' last event is of this type: read page by page. */
static int64_t streams_at(string event_type)
{
    value prefix = text(event_type), last;
    values after = {&last, 1};
    lamphouse_plugin_tables_list_list_value_t page = {NULL, 0};
    int64_t found = 0;
    do {
        if (found > 0) last = page.ptr[page.len - 1].ptr[STREAM_ID];
        lamphouse_plugin_tables_find(STREAMS, 0, &(values){&prefix, 1}, found > 0 ? &after : NULL, 100, &page);
        found += (int64_t)page.len;
    } while (page.len == 100);
    return found;
}

bool exports_lamphouse_plugin_projector_project(exports_lamphouse_plugin_projector_list_event_t *events,
                                                exports_lamphouse_plugin_projector_failure_t *err)
{
    for (size_t i = 0; i < events->len; i++) {
        exports_lamphouse_plugin_projector_event_t *event = &events->ptr[i];
        value key = text(event->stream_id);
        values before;
        bool known = lamphouse_plugin_tables_get(STREAMS, &(values){&key, 1}, &before);
        if (known && before.ptr[VERSION].val.integer >= (int64_t)event->stream_version)
            return fail(err, i, "an event came twice");
        value row[] = {key, text(event->event_type), integer((int64_t)event->stream_version)};
        lamphouse_plugin_tables_put(STREAMS, &(values){row, 3});
        count(event->event_type, EVENTS, LAMPHOUSE_PLUGIN_TYPES_CELL_CHANGE_ADD, 1);
        string was = known ? before.ptr[LAST_TYPE].val.text : event->event_type;
        count(was, AT_IT, LAMPHOUSE_PLUGIN_TYPES_CELL_CHANGE_SET, streams_at(was));
        count(event->event_type, AT_IT, LAMPHOUSE_PLUGIN_TYPES_CELL_CHANGE_SET, streams_at(event->event_type));
    }
    string done = text_of("counted");
    lamphouse_plugin_log_write(LAMPHOUSE_PLUGIN_LOG_LEVEL_DEBUG, &done);
    return true;
}

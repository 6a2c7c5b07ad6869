/* The golden vectors of wit/golden that hold bytes: values, events, declared fields, changes, reads, lifted events. */
#include "golden.h"

static void same_bytes(const lh_buffer *made, lh_bytes due, const char *what)
{
    if (made->len != due.len || memcmp(made->bytes, due.ptr, due.len) != 0)
        lh_test_ends("%s: %zu bytes were written that are not the %zu of the golden file", what, made->len, due.len);
}

static lh_reader reader_of(lh_scope *scope, lh_bytes bytes)
{
    *scope = (lh_scope){.arena = &test_arena};
    return lh_reader_of(scope, bytes.ptr, bytes.len);
}

static void at_end(const lh_reader *reader, const char *what)
{
    if (reader->failed || reader->at != reader->end)
        lh_test_ends("%s: not read to the end: %s", what, reader->scope->why == NULL ? "" : reader->scope->why);
}

static void values(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_value due = value_of(member(element(file, i), "value"));
        lh_bytes bytes = bytes_of(member(element(file, i), "hex"));
        lh_buffer made = {.arena = &test_arena};
        lh_pack_value(&made, due);
        same_bytes(&made, bytes, "values.json");
        lh_scope scope;
        lh_reader reader = reader_of(&scope, bytes);
        same_value(lh_read_value(&reader), due, "values.json");
        at_end(&reader, "values.json");
        /* Every piece that is cut off is told. */
        for (size_t cut = 0; cut < bytes.len; cut++) {
            reader = reader_of(&scope, (lh_bytes){bytes.ptr, cut});
            lh_read_value(&reader);
            if (!reader.failed) lh_test_ends("values.json: a piece that is cut off was read");
        }
    }
}

static lh_event event_of(lh_text json)
{
    return (lh_event){
        .position = (uint64_t)int_of(member(json, "position")),
        .part = (uint32_t)int_of(member(json, "part")),
        .id = text_of(member(json, "id")),
        .stream_id = text_of(member(json, "stream_id")),
        .stream_type = text_of(member(json, "stream_type")),
        .stream_version = (uint64_t)int_of(member(json, "stream_version")),
        .event_type = text_of(member(json, "event_type")),
        .schema_version = (uint32_t)int_of(member(json, "schema_version")),
        .data = text_of(member(json, "data")),
        .metadata = text_of(member(json, "metadata")),
        .occurred_at = {int_of(member(json, "occurred_at"))},
        .recorded_at = {int_of(member(json, "recorded_at"))},
    };
}

static void same_head(const lh_event *one, const lh_event *other)
{
    bool same = one->position == other->position && one->part == other->part && lh_same(one->id, other->id) &&
                lh_same(one->stream_id, other->stream_id) && lh_same(one->stream_type, other->stream_type) &&
                one->stream_version == other->stream_version && lh_same(one->event_type, other->event_type) &&
                one->schema_version == other->schema_version && one->occurred_at.micros == other->occurred_at.micros &&
                one->recorded_at.micros == other->recorded_at.micros;
    if (!same) lh_test_ends("an event is read as another one");
}

static void events(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_event due = event_of(member(element(file, i), "event")), event;
        lh_bytes bytes = bytes_of(member(element(file, i), "hex")), fields;
        lh_buffer made = {.arena = &test_arena};
        lh_pack_event(&made, &due);
        same_bytes(&made, bytes, "events.json");
        lh_scope scope;
        lh_reader reader = reader_of(&scope, bytes);
        lh_read_event(&reader, &event, &fields);
        at_end(&reader, "events.json");
        same_head(&event, &due);
        if (fields.ptr != NULL || !lh_same(event.data, due.data) || !lh_same(event.metadata, due.metadata))
            lh_test_ends("events.json: data or metadata are others");
    }
}

/* The fields that an option declares of an event type; false where it declares none. */
static bool declared(lh_text option, lh_text event_type, lh_field *fields, size_t *count)
{
    for (size_t i = 0; i < length(option); i++) {
        lh_text list = member(element(option, i), "fields");
        if (!lh_same(text_of(member(element(option, i), "event_type")), event_type)) continue;
        *count = length(list);
        for (size_t f = 0; f < *count; f++)
            fields[f] = (lh_field){.kind = kind_of(member(element(list, f), "type")),
                                   .path = c_str_of(member(element(list, f), "path")),
                                   .optional = true};
        return true;
    }
    return false;
}

static void declared_fields(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_text vector = element(file, i), option = text_of(member(vector, "option")), due = member(vector, "values");
        lh_event whole = event_of(member(vector, "event")), event;
        lh_scope scope;
        lh_reader reader = reader_of(&scope, bytes_of(member(vector, "hex")));
        lh_bytes packed;
        lh_read_event(&reader, &event, &packed);
        at_end(&reader, "fields.json");
        same_head(&event, &whole);
        if ((packed.ptr == NULL) != is_null(due)) lh_test_ends("fields.json: whole, or not whole");
        lh_field fields[64];
        size_t count = 0;
        if (!declared(option, whole.event_type, fields, &count)) continue;

        /* As it is spelled. */
        lh_handler handler = {.event_type = lh_arena_copy(&test_arena, whole.event_type.ptr, whole.event_type.len),
                              .project = project_nothing,
                              .declares = true,
                              .fields = fields,
                              .field_count = count};
        lh_projector projector = {.handlers = &handler, .handler_count = 1};
        if (!lh_is(option, lh_fields_option(&test_arena, &projector))) lh_test_ends("fields.json: spelled otherwise");
        if (lh_fields_error(&test_arena, fields, count) != NULL) lh_test_ends("fields.json: good fields are refused");

        /* From the host, and taken out here, the values are the same; what the host leaves whole is no different. */
        const lh_field *missing;
        lh_event taken = whole;
        const char *why = lh_take_fields(&test_arena, &taken, (lh_bytes){NULL, 0}, fields, count, &missing);
        if ((why != NULL) != is_null(due))
            lh_test_ends("fields.json: %s", why == NULL ? "a fault was overlooked" : why);
        if (why != NULL) continue;
        lh_take_fields(&test_arena, &event, packed, fields, count, &missing);
        for (size_t f = 0; f < count; f++) {
            same_value(taken.fields[f], value_of(element(due, f)), "fields.json, taken out here");
            same_value(event.fields[f], value_of(element(due, f)), "fields.json, from the host");
        }
    }
}

lh_change change_of(lh_text json)
{
    lh_text name = first_name(json), body = element(json, 0);
    lh_change change = {.table = (uint32_t)int_of(member(body, "table"))};
    change.operation = lh_is(name, "put")      ? LH_PUT
                       : lh_is(name, "patch")  ? LH_PATCH
                       : lh_is(name, "upsert") ? LH_UPSERT
                                               : LH_REMOVE;
    change.values = values_of(member(body, change.operation == LH_PUT ? "row" : "key"), &change.value_count);
    lh_text cells = member(body, "cells");
    if (cells.ptr == NULL) return change;
    change.cell_count = length(cells);
    change.cells = lh_arena_alloc(&test_arena, (change.cell_count + 1) * sizeof *change.cells);
    for (size_t i = 0; i < change.cell_count; i++) {
        lh_text cell = element(cells, i);
        bool adds = member(cell, "add").ptr != NULL;
        change.cells[i] =
            (lh_cell){(uint32_t)int_of(member(cell, "column")), adds, value_of(member(cell, adds ? "add" : "set"))};
    }
    return change;
}

static void changes(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_change due = change_of(member(element(file, i), "change")), change;
        lh_bytes bytes = bytes_of(member(element(file, i), "hex"));
        lh_buffer made = {.arena = &test_arena};
        lh_pack_change(&made, &due);
        same_bytes(&made, bytes, "changes.json");
        lh_scope scope;
        lh_reader reader = reader_of(&scope, bytes);
        lh_read_change(&reader, &change);
        at_end(&reader, "changes.json");
        bool same = change.operation == due.operation && change.table == due.table &&
                    change.value_count == due.value_count && change.cell_count == due.cell_count;
        if (!same) lh_test_ends("changes.json: a change is read as another one");
        for (size_t v = 0; v < due.value_count; v++) same_value(change.values[v], due.values[v], "changes.json");
        for (size_t c = 0; c < due.cell_count; c++) {
            same_value(change.cells[c].value, due.cells[c].value, "changes.json");
            if (change.cells[c].column != due.cells[c].column || change.cells[c].adds != due.cells[c].adds)
                lh_test_ends("changes.json: a cell is read as another one");
        }
    }
}

static void reads(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_text vector = element(file, i), read = member(vector, "read"), due = member(vector, "answer");
        size_t key_len;
        const lh_value *key = values_of(member(read, "key"), &key_len);
        lh_buffer made = {.arena = &test_arena};
        lh_pack_read(&made, (uint32_t)int_of(member(read, "table")), key, key_len);
        same_bytes(&made, bytes_of(member(vector, "hex")), "reads.json");
        lh_scope scope;
        lh_reader reader = reader_of(&scope, bytes_of(member(vector, "answer_hex")));
        size_t columns = 0;
        bool found = lh_read_array_or_nil(&reader, &columns);
        if (found == is_null(due) || (found && columns != length(due))) lh_test_ends("reads.json: another row");
        const lh_value *row = found ? lh_read_values(&reader, columns) : NULL;
        at_end(&reader, "reads.json");
        for (size_t c = 0; c < columns; c++) same_value(row[c], value_of(element(due, c)), "reads.json");
    }
}

/* ---- Lifted events: through an upcaster that gives what the vector says ---- */

static lh_text lifted_now;

static lh_result give_lifted(lh_call *call, const lh_event *event)
{
    (void)event;
    for (size_t i = 0; i < length(lifted_now); i++) {
        lh_text one = element(lifted_now, i), data = member(one, "data"), metadata = member(one, "metadata");
        const char *type = c_str_of(member(one, "event_type"));
        uint32_t version = (uint32_t)int_of(member(one, "schema_version"));
        if (is_null(data))
            lh_rename(call, type, version);
        else if (is_null(metadata))
            lh_give(call, type, version, text_of(data));
        else
            lh_give_with_metadata(call, type, version, text_of(data), text_of(metadata));
    }
    return LH_OK;
}

static void lifted(lh_text file)
{
    static const lh_rule RULES[] = {LH_RULE("Old", 1, LH_LIFT(give_lifted))};
    static const lh_upcaster UPCASTER = {.name = "golden", .version = "1", LH_RULES(RULES)};
    lh_event old = {.event_type = lh_str("Old"),
                    .schema_version = 1,
                    .data = lh_str("{}"),
                    .metadata = lh_str("{}"),
                    .id = lh_str(""),
                    .stream_id = lh_str("s-1"),
                    .stream_type = lh_str("s")};
    lh_buffer in = {.arena = &test_arena};
    lh_pack_event(&in, &old);
    for (size_t i = 0; i < length(file); i++) {
        lifted_now = member(element(file, i), "lifted");
        lh_bytes out;
        lh_failure failure;
        if (!lh_run_upcast(&test_arena, &UPCASTER, (lh_bytes){in.bytes, in.len}, &out, &failure))
            lh_test_ends("%s", failure.message);
        same_bytes(&(lh_buffer){.bytes = (uint8_t *)(uintptr_t)out.ptr, .len = out.len},
                   bytes_of(member(element(file, i), "hex")), "lifted.json");
    }
}

void golden_format(const char *folder)
{
    values(file_text(folder, "values.json"));
    events(file_text(folder, "events.json"));
    declared_fields(file_text(folder, "fields.json"));
    changes(file_text(folder, "changes.json"));
    reads(file_text(folder, "reads.json"));
    lifted(file_text(folder, "lifted.json"));
}

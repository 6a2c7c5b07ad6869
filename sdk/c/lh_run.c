/* One call of a projector or an upcaster: a batch of packed events in, packed changes or events out. */
#include "lh_internal.h"

/* ---- Failures and the log ---- */

lh_result lh_fail_at(lh_call *call, const char *file, int line, const char *format, ...)
{
    if (call->scope.why == NULL) {
        va_list arguments;
        va_start(arguments, format);
        call->scope.why = lh_arena_vformat(call->scope.arena, format, arguments);
        va_end(arguments);
        lh_fine(call, false, (lh_place_){file, line});
    }
    return LH_FAILED;
}

bool lh_has_failed(const lh_call *call) { return call->scope.why != NULL; }

void lh_log(lh_level level, const char *format, ...)
{
    lh_arena arena = {0};
    va_list arguments;
    va_start(arguments, format);
    char *text = lh_arena_vformat(&arena, format, arguments);
    va_end(arguments);
    lh_log_write(level, text, strlen(text));
    lh_arena_free(&arena);
}

/* What the host is told of a failed call. `index` is of the event, or below 0. */
static bool failed(lh_call *call, int64_t index, lh_failure *failure)
{
    failure->has_index = index >= 0;
    failure->index = index >= 0 ? (uint32_t)index : 0;
    failure->message = call->scope.why;
    failure->trace = "";
    if (call->failed_at.file != NULL)
        failure->trace = lh_arena_format(call->scope.arena, "at %s:%d", call->failed_at.file, call->failed_at.line);
    return false;
}

/* Whether a handler ended well. */
static bool ended_well(lh_call *call, lh_result result, const lh_event *event)
{
    if (result != LH_OK)
        lh_violate(&call->scope, "the handler of " LH_S " failed without a message (return lh_fail(…) says why)",
                   LH_A(event->event_type));
    return call->scope.why == NULL;
}

/* ---- Projectors ---- */

/* An event of the call, with what takes it. */
typedef struct {
    lh_event event;
    const lh_handler *handler;
    /* Why its declared fields cannot be had, and where they are declared. */
    const char *why;
    const lh_field *missing;
} arrival;

/* The event types of the handlers, as texts. */
static const lh_text *types_of(lh_arena *arena, const lh_projector *projector)
{
    lh_text *types = lh_arena_alloc(arena, (projector->handler_count + 1) * sizeof *types);
    for (size_t i = 0; i < projector->handler_count; i++) {
        const char *type = projector->handlers[i].event_type;
        types[i] = type == NULL ? (lh_text){NULL, 0} : lh_str(type);
    }
    return types;
}

static bool takes(const lh_handler *handler, lh_text type, const lh_event *event)
{
    if (type.ptr != NULL && !lh_same(type, event->event_type)) return false;
    if (handler->stream_type != NULL && !lh_is(event->stream_type, handler->stream_type)) return false;
    for (size_t i = 0; i < handler->schema_version_count; i++)
        if (handler->schema_versions[i] == event->schema_version) return true;
    return handler->schema_version_count == 0;
}

bool lh_handler_takes(const lh_handler *handler, const lh_event *event)
{
    const char *type = handler->event_type;
    return takes(handler, type == NULL ? (lh_text){NULL, 0} : lh_str(type), event);
}

/* Reads the events of a call; false where the bytes are none. */
static bool arrivals(lh_call *call, const lh_projector *projector, lh_bytes events, arrival **out, size_t *count)
{
    lh_arena *arena = call->scope.arena;
    const lh_text *types = types_of(arena, projector);
    lh_reader reader = lh_reader_of(&call->scope, events.ptr, events.len);
    size_t room = 0;
    *count = 0;
    while (reader.at < reader.end) {
        if (*count == room) {
            room = room == 0 ? 64 : room * 2;
            arrival *more = lh_arena_alloc(arena, room * sizeof *more);
            if (*count > 0) memcpy(more, *out, *count * sizeof *more);
            *out = more;
        }
        arrival *next = &(*out)[*count];
        lh_bytes fields;
        if (!lh_read_event(&reader, &next->event, &fields)) return false;
        next->handler = NULL;
        next->why = NULL;
        for (size_t i = 0; i < projector->handler_count && next->handler == NULL; i++)
            if (takes(&projector->handlers[i], types[i], &next->event)) next->handler = &projector->handlers[i];
        const lh_handler *handler = next->handler;
        if (handler == NULL)
            next->why = lh_arena_format(arena, "event type " LH_S " was not asked for", LH_A(next->event.event_type));
        else if (handler->declares)
            next->why =
                lh_take_fields(arena, &next->event, fields, handler->fields, handler->field_count, &next->missing);
        ++*count;
    }
    return true;
}

/* Lets the handlers name the rows that they will read, and reads them together. */
static bool prefetch(lh_call *call, const arrival *all, size_t count, int64_t *index)
{
    call->prefetching = true;
    for (size_t i = 0; i < count; i++) {
        if (all[i].why != NULL || all[i].handler->prefetch == NULL) continue;
        all[i].handler->prefetch(call, &all[i].event);
        if (call->scope.why == NULL) continue;
        *index = (int64_t)i;
        return false;
    }
    call->prefetching = false;
    return lh_memo_read(call, call->wanted, call->wanted_count);
}

bool lh_run_project(lh_arena *arena, const lh_projector *projector, const lh_shape *shapes, const lh_host *host,
                    lh_bytes events, lh_bytes *changes, lh_failure *failure)
{
    lh_call call = {.scope = {.arena = arena}, .host = host, .table_count = (uint32_t)projector->table_count};
    call.shapes = shapes != NULL ? shapes : lh_shapes_of(&call.scope, projector);
    arrival *all = NULL;
    size_t count = 0;
    int64_t index = -1;
    if (call.shapes == NULL || !arrivals(&call, projector, events, &all, &count) ||
        !prefetch(&call, all, count, &index))
        return failed(&call, index, failure);
    for (size_t i = 0; i < count; i++) {
        const arrival *next = &all[i];
        if (next->why != NULL) {
            call.scope.why = next->why;
            if (next->handler != NULL && next->missing != NULL)
                call.failed_at = (lh_place_){next->missing->file, next->missing->line};
            return failed(&call, (int64_t)i, failure);
        }
        if (!ended_well(&call, next->handler->project(&call, &next->event), &next->event))
            return failed(&call, (int64_t)i, failure);
    }
    lh_buffer out = {.arena = arena};
    lh_memo_hand_over(&call, UINT32_MAX, &out);
    *changes = (lh_bytes){out.bytes, out.len};
    return true;
}

/* ---- Upcasters ---- */

static lh_result give(lh_call *call, const char *event_type, uint32_t schema_version, lh_text data, lh_text metadata)
{
    if (call->scope.why != NULL) return LH_FAILED;
    if (call->given_count == call->given_room) {
        uint32_t room = call->given_room == 0 ? 4 : call->given_room * 2;
        lh_today *given = lh_alloc(call, room * sizeof *given);
        if (call->given_count > 0) memcpy(given, call->given, call->given_count * sizeof *given);
        call->given = given;
        call->given_room = room;
    }
    call->given[call->given_count++] = (lh_today){lh_str(event_type), schema_version, data, metadata};
    return LH_OK;
}

lh_result lh_give(lh_call *call, const char *event_type, uint32_t schema_version, lh_text data)
{
    return give(call, event_type, schema_version, data, (lh_text){NULL, 0});
}

lh_result lh_give_with_metadata(lh_call *call, const char *event_type, uint32_t schema_version, lh_text data,
                                lh_text metadata)
{
    return give(call, event_type, schema_version, data, metadata);
}

lh_result lh_rename(lh_call *call, const char *event_type, uint32_t schema_version)
{
    return give(call, event_type, schema_version, (lh_text){NULL, 0}, (lh_text){NULL, 0});
}

bool lh_run_lift(lh_call *call, const lh_upcaster *upcaster, const lh_event *event)
{
    const lh_rule *rule = NULL;
    for (size_t i = 0; i < upcaster->rule_count && rule == NULL; i++) {
        const lh_rule *next = &upcaster->rules[i];
        if (next->takes.schema_version == event->schema_version && lh_is(event->event_type, next->takes.event_type))
            rule = next;
    }
    call->given_count = 0;
    if (rule == NULL)
        return lh_violate(&call->scope, LH_S " %u was not asked for", LH_A(event->event_type), event->schema_version);
    if (rule->lift == NULL) {
        if (rule->give_count == 1) lh_rename(call, rule->gives[0].event_type, rule->gives[0].schema_version);
        return rule->give_count <= 1 ||
               lh_violate(&call->scope, "the rule that takes %s %u gives several schemas, but has no function",
                          rule->takes.event_type, rule->takes.schema_version);
    }
    lh_event taken = *event;
    if (rule->declares) {
        const lh_field *missing;
        lh_event fields = *event;
        const char *why =
            lh_take_fields(call->scope.arena, &fields, (lh_bytes){NULL, 0}, rule->fields, rule->field_count, &missing);
        if (why != NULL) {
            call->scope.why = why;
            return missing == NULL ? false : lh_fine(call, false, (lh_place_){missing->file, missing->line});
        }
        taken.fields = fields.fields;
    }
    return ended_well(call, rule->lift(call, &taken), &taken);
}

bool lh_run_upcast(lh_arena *arena, const lh_upcaster *upcaster, lh_bytes events, lh_bytes *lifted, lh_failure *failure)
{
    lh_call call = {.scope = {.arena = arena}};
    lh_reader reader = lh_reader_of(&call.scope, events.ptr, events.len);
    lh_buffer out = {.arena = arena};
    for (int64_t index = 0; reader.at < reader.end; index++) {
        lh_event event;
        lh_bytes fields;
        if (!lh_read_event(&reader, &event, &fields) || !lh_run_lift(&call, upcaster, &event))
            return failed(&call, index, failure);
        lh_pack_array(&out, call.given_count);
        for (uint32_t i = 0; i < call.given_count; i++) {
            const lh_today *given = &call.given[i];
            lh_pack_array(&out, 4);
            lh_pack_str(&out, given->event_type);
            lh_pack_uint(&out, given->schema_version);
            if (given->data.ptr == NULL)
                lh_pack_nil(&out);
            else
                lh_pack_str(&out, given->data);
            if (given->metadata.ptr == NULL)
                lh_pack_nil(&out);
            else
                lh_pack_str(&out, given->metadata);
        }
    }
    *lifted = (lh_bytes){out.bytes, out.len};
    return true;
}

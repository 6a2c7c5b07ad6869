/* The test harness of upcasters, and what tests expect. */
#ifdef __wasm__
typedef int lh_nothing_of_this_is_in_the_sandbox;
#else
#include <stdio.h>
#include <stdlib.h>

#include "lh_harness_internal.h"

/* ---- JSON that is the same ---- */

/* A member or element of a JSON value: the text of its value. */
static bool value_text(lh_scan *scan, lh_text *out)
{
    lh_scan_peek(scan);
    const char *start = scan->at;
    if (!lh_scan_skip(scan)) return false;
    *out = (lh_text){start, (size_t)(scan->at - start)};
    return true;
}

static lh_scan scan_of(lh_arena *arena, lh_text text)
{
    return (lh_scan){.start = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .arena = arena};
}

/* The next member of what is open; false at its end. */
static bool next_member(lh_scan *scan, char close, lh_text *name, lh_text *value)
{
    char next = lh_scan_peek(scan);
    if (next == close || next == 0) return false;
    if (next == ',' || next == '{' || next == '[') scan->at++;
    if (lh_scan_peek(scan) == close) return false;
    *name = (lh_text){"", 0};
    if (close == '}' && !lh_scan_name(scan, name)) return false;
    return value_text(scan, value);
}

static bool same_json(lh_arena *arena, lh_text one, lh_text other);

static size_t members(lh_arena *arena, lh_text text, char close)
{
    lh_scan scan = scan_of(arena, text);
    lh_text name, value;
    size_t count = 0;
    while (next_member(&scan, close, &name, &value)) {
        count++;
        if (lh_scan_peek(&scan) == close) break;
    }
    return count;
}

static bool same_members(lh_arena *arena, lh_text one, lh_text other, char close)
{
    if (members(arena, one, close) != members(arena, other, close)) return false;
    lh_scan left = scan_of(arena, one);
    lh_text name, value;
    for (size_t place = 0; next_member(&left, close, &name, &value); place++) {
        lh_scan right = scan_of(arena, other);
        lh_text other_name, other_value;
        bool same = false;
        for (size_t at = 0; !same && next_member(&right, close, &other_name, &other_value); at++) {
            bool meant = close == '}' ? lh_same(name, other_name) : at == place;
            if (meant && !(same = same_json(arena, value, other_value))) return false;
            if (lh_scan_peek(&right) == close) break;
        }
        if (!same) return false;
        if (lh_scan_peek(&left) == close) break;
    }
    return true;
}

static bool same_json(lh_arena *arena, lh_text one, lh_text other)
{
    lh_scan left = scan_of(arena, one), right = scan_of(arena, other);
    char first = lh_scan_peek(&left);
    if (first != lh_scan_peek(&right)) return false;
    if (first == '{' || first == '[') return same_members(arena, one, other, first == '{' ? '}' : ']');
    if (first == '"') {
        lh_text left_text, right_text;
        return lh_scan_string(&left, &left_text) && lh_scan_string(&right, &right_text) &&
               lh_same(left_text, right_text);
    }
    lh_text left_text, right_text;
    return value_text(&left, &left_text) && value_text(&right, &right_text) && lh_same(left_text, right_text);
}

static bool is_same_json(const char *one, const char *other)
{
    lh_arena arena = {0};
    const char *wrong = lh_json_check(&arena, lh_str(one), LH_JSON_DEPTH_MAX);
    if (wrong == NULL) wrong = lh_json_check(&arena, lh_str(other), LH_JSON_DEPTH_MAX);
    bool same = wrong == NULL && same_json(&arena, lh_str(one), lh_str(other));
    lh_arena_free(&arena);
    return same;
}

/* ---- Upcasters ---- */

struct lh_upcaster_harness {
    lh_arena arena;
    const lh_upcaster *upcaster;
    lh_lifted *events;
    size_t count;
    lh_test_failure failure;
};

lh_upcaster_harness *lh_upcaster_harness_new(const lh_upcaster *upcaster)
{
    lh_upcaster_harness *harness = calloc(1, sizeof *harness);
    if (harness == NULL) abort();
    harness->upcaster = upcaster;
    const char *errors = lh_check_upcaster(&harness->arena, upcaster);
    if (errors != NULL) lh_test_ends("the host would refuse this upcaster:%s", errors);
    return harness;
}

void lh_upcaster_harness_free(lh_upcaster_harness *harness)
{
    lh_arena_free(&harness->arena);
    free(harness);
}

static const lh_rule *rule_of(const lh_upcaster *upcaster, const lh_lifted *form)
{
    for (size_t i = 0; i < upcaster->rule_count; i++) {
        lh_schema takes = upcaster->rules[i].takes;
        if (takes.schema_version == form->schema_version && strcmp(takes.event_type, form->event_type) == 0)
            return &upcaster->rules[i];
    }
    return NULL;
}

static lh_lifted form_of(lh_upcaster_harness *harness, const lh_rule *rule, const lh_today *given,
                         const lh_lifted *from)
{
    lh_arena *arena = &harness->arena;
    lh_lifted form = {.event_type = lh_arena_copy(arena, given->event_type.ptr, given->event_type.len),
                      .schema_version = given->schema_version,
                      .data = from->data,
                      .metadata = from->metadata};
    bool named = false;
    for (size_t i = 0; i < rule->give_count; i++)
        named = named || (rule->gives[i].schema_version == form.schema_version &&
                          strcmp(rule->gives[i].event_type, form.event_type) == 0);
    if (!named)
        lh_test_ends("%s %u became %s %u, which its rule does not name: the host would fault", from->event_type,
                     from->schema_version, form.event_type, form.schema_version);
    if (given->data.ptr != NULL) form.data = lh_arena_copy(arena, given->data.ptr, given->data.len);
    if (given->metadata.ptr != NULL) form.metadata = lh_arena_copy(arena, given->metadata.ptr, given->metadata.len);
    const char *wrong = lh_json_check(arena, lh_str(form.data), LH_JSON_DEPTH_MAX);
    if (wrong != NULL) lh_test_ends("the data of %s %u is not JSON: %s", form.event_type, form.schema_version, wrong);
    wrong = lh_json_check(arena, lh_str(form.metadata), LH_JSON_DEPTH_MAX);
    lh_scan scan = scan_of(arena, lh_str(form.metadata));
    if (wrong != NULL || lh_scan_peek(&scan) != '{')
        lh_test_ends("the metadata of %s %u is no object: the host would fault", form.event_type, form.schema_version);
    return form;
}

/* What one form becomes, by one rule; false where the upcaster fails. */
static bool step(lh_upcaster_harness *harness, const lh_rule *rule, lh_event event, const lh_lifted *form,
                 lh_lifted **next, size_t *count)
{
    lh_call call = {.scope = {.arena = &harness->arena}};
    event.event_type = lh_str(form->event_type);
    event.schema_version = form->schema_version;
    event.data = lh_str(form->data);
    event.metadata = lh_str(form->metadata);
    if (!lh_run_lift(&call, harness->upcaster, &event)) {
        const char *trace = call.failed_at.file == NULL ? ""
                                                        : lh_arena_format(&harness->arena, "at %s:%d",
                                                                          call.failed_at.file, call.failed_at.line);
        harness->failure = (lh_test_failure){1, call.scope.why, trace};
        return false;
    }
    lh_lifted *more = lh_arena_alloc(&harness->arena, (*count + call.given_count) * sizeof *more);
    if (*count > 0) memcpy(more, *next, *count * sizeof *more);
    for (uint32_t i = 0; i < call.given_count; i++) more[(*count)++] = form_of(harness, rule, &call.given[i], form);
    *next = more;
    return true;
}

const lh_test_failure *lh_upcast_run(lh_upcaster_harness *harness, const lh_test_event *given)
{
    int64_t clock = INT64_C(1704067200000000) - (given->occurred_at == NULL ? 1000000 : 0);
    lh_event event = lh_event_of_test(&harness->arena, given, &clock);
    event.position = event.stream_version = 1;
    event.id = lh_str("00000000-0000-7000-8000-000000000001");
    lh_lifted *forms = lh_arena_alloc(&harness->arena, sizeof *forms);
    forms[0] = (lh_lifted){given->event_type, event.schema_version, event.data.ptr, event.metadata.ptr};
    size_t count = 1;
    harness->count = 0;
    /* A chain without a cycle ends within as many rounds as there are rules. */
    for (size_t round = 0; round <= harness->upcaster->rule_count; round++) {
        lh_lifted *next = NULL;
        size_t next_count = 0;
        bool is_done = true;
        for (size_t i = 0; i < count; i++) {
            const lh_rule *rule = rule_of(harness->upcaster, &forms[i]);
            if (rule != NULL) {
                is_done = false;
                event.part = (uint32_t)i;
                if (!step(harness, rule, event, &forms[i], &next, &next_count)) return &harness->failure;
                continue;
            }
            lh_lifted *more = lh_arena_alloc(&harness->arena, (next_count + 1) * sizeof *more);
            if (next_count > 0) memcpy(more, next, next_count * sizeof *more);
            more[next_count++] = forms[i];
            next = more;
        }
        forms = next;
        count = next_count;
        if (is_done) {
            harness->events = forms;
            harness->count = count;
            return NULL;
        }
    }
    lh_test_ends("the rules form a cycle: the host would refuse this upcaster");
}

size_t lh_upcast_given_event(lh_upcaster_harness *harness, const lh_test_event *event)
{
    const lh_test_failure *failure = lh_upcast_run(harness, event);
    if (failure != NULL) lh_test_ends("%s %s", failure->message, failure->trace);
    return harness->count;
}

size_t lh_upcast_given(lh_upcaster_harness *harness, const char *stream_id, const char *event_type, const char *data)
{
    const lh_test_event event = {.stream_id = stream_id, .event_type = event_type, .data = data};
    return lh_upcast_given_event(harness, &event);
}

lh_lifted lh_upcast_event(lh_upcaster_harness *harness, size_t number)
{
    if (number >= harness->count)
        lh_test_ends("%zu events came out; there is none with number %zu", harness->count, number);
    return harness->events[number];
}

/* ---- Expectations ---- */

static const char *as_text(lh_arena *arena, lh_value value)
{
    char *text = lh_arena_alloc(arena, LH_TIMESTAMP_TEXT_MAX);
    switch (value.kind) {
    case LH_KIND_NULL: return "null";
    case LH_KIND_BOOLEAN: return value.boolean ? "true" : "false";
    case LH_KIND_INTEGER: return lh_arena_format(arena, "%lld", (long long)value.integer);
    case LH_KIND_REAL: lh_real_text(value.real, text); return text;
    case LH_KIND_DECIMAL: lh_decimal_text(value.decimal, text); return text;
    case LH_KIND_TIMESTAMP: lh_timestamp_text(value.timestamp, text); return text;
    default: return lh_arena_copy(arena, value.text.ptr, value.text.len);
    }
}

void lh_expect_at(const char *file, int line, lh_value value, const char *text)
{
    lh_arena arena = {0};
    const char *is = as_text(&arena, value);
    if (strcmp(is, text) != 0)
        lh_expectation_failed(file, line, lh_arena_format(&arena, "expected %s, but it is %s", text, is));
    lh_arena_free(&arena);
}

void lh_expect_json_at(const char *file, int line, const char *text, const char *other)
{
    lh_arena arena = {0};
    if (!is_same_json(text, other))
        lh_expectation_failed(file, line, lh_arena_format(&arena, "expected %s, but it is %s", other, text));
    lh_arena_free(&arena);
}

void lh_expect_event_at(const char *file, int line, lh_upcaster_harness *harness, size_t number, const char *event_type,
                        uint32_t schema_version, const char *data)
{
    lh_lifted event = lh_upcast_event(harness, number);
    if (strcmp(event.event_type, event_type) != 0 || event.schema_version != schema_version)
        lh_expectation_failed(file, line,
                              lh_arena_format(&harness->arena, "expected %s %u, but %s %u came out", event_type,
                                              schema_version, event.event_type, event.schema_version));
    lh_expect_json_at(file, line, event.data, data);
}

void lh_expect_failure_at(const char *file, int line, const lh_test_failure *failure, const char *message)
{
    lh_arena arena = {0};
    if (failure == NULL) {
        lh_expectation_failed(file, line, "expected a failure, but it went well");
    } else if (strncmp(failure->message, message, strlen(message)) != 0) {
        lh_expectation_failed(
            file, line,
            lh_arena_format(&arena, "expected the failure '%s', but it is '%s'", message, failure->message));
    }
    lh_arena_free(&arena);
}
#endif

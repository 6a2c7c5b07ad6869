/* The test harness of projectors, and what both harnesses share. */
#ifdef __wasm__
typedef int lh_nothing_of_this_is_in_the_sandbox;
#else
#include <stdio.h>
#include <stdlib.h>

#include "lh_harness_internal.h"
#include "lh_memory.h"

enum { BATCH_EVENTS = 1000 };

/* An event as it is given to a call; without bytes where no handler takes it. */
typedef struct {
    lh_bytes packed;
} given_event;

/* How many events a stream has. */
typedef struct {
    const char *stream_id;
    uint64_t version;
} stream;

struct lh_harness {
    lh_arena arena;
    const lh_projector *projector;
    const lh_shape *shapes;
    lh_memory *memory;
    size_t batch_size;
    given_event *events;
    size_t event_count, event_room, projected;
    stream *streams;
    size_t stream_slots, stream_count;
    int64_t clock;
    lh_test_failure failure;
};

/* ---- The log ---- */

static struct {
    lh_log_line *lines;
    size_t count, room, told;
} logged;

void lh_log_write(lh_level level, const char *text, size_t len)
{
    if (logged.count == logged.room) {
        logged.room = logged.room == 0 ? 16 : logged.room * 2;
        logged.lines = realloc(logged.lines, logged.room * sizeof *logged.lines);
        if (logged.lines == NULL) abort();
    }
    char *copy = malloc(len + 1);
    if (copy == NULL) abort();
    memcpy(copy, text, len);
    copy[len] = 0;
    logged.lines[logged.count++] = (lh_log_line){level, copy};
}

static void forget_log(void)
{
    for (size_t i = 0; i < logged.count; i++) free((void *)(uintptr_t)logged.lines[i].text);
    free(logged.lines);
    memset(&logged, 0, sizeof logged);
}

size_t lh_logged(lh_harness *harness, const lh_log_line **lines)
{
    (void)harness;
    *lines = logged.lines + logged.told;
    size_t count = logged.count - logged.told;
    logged.told = logged.count;
    return count;
}

/* ---- Failing a test ---- */

void lh_expectation_failed(const char *file, int line, const char *why)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, why);
    exit(1);
}

_Noreturn void lh_test_ends(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* ---- Events ---- */

lh_event lh_event_of_test(lh_arena *arena, const lh_test_event *given, int64_t *clock)
{
    const char *dash = strchr(given->stream_id, '-');
    size_t type_len = dash == NULL ? strlen(given->stream_id) : (size_t)(dash - given->stream_id);
    lh_timestamp at = {*clock + 1000000};
    if (given->occurred_at != NULL && !lh_timestamp_parse(lh_str(given->occurred_at), &at))
        lh_test_ends("the time of a test's event, '%s', is not RFC 3339", given->occurred_at);
    *clock = at.micros;
    lh_event event = {
        .schema_version = given->schema_version == 0 ? 1 : given->schema_version,
        .stream_id = lh_str(given->stream_id),
        .stream_type = given->stream_type == NULL ? (lh_text){given->stream_id, type_len} : lh_str(given->stream_type),
        .event_type = lh_str(given->event_type),
        .data = lh_str(given->data == NULL ? "{}" : given->data),
        .metadata = lh_str(given->metadata == NULL ? "{\"reason\":\"given by a test\"}" : given->metadata),
        .occurred_at = at,
        .recorded_at = at,
    };
    const char *wrong = lh_json_check(arena, event.data, LH_JSON_DEPTH_MAX);
    if (wrong != NULL) lh_test_ends("the data of a test's %s is not JSON: %s", given->event_type, wrong);
    wrong = lh_json_check(arena, event.metadata, LH_JSON_DEPTH_MAX);
    if (wrong != NULL) lh_test_ends("the metadata of a test's %s is not JSON: %s", given->event_type, wrong);
    return event;
}

/* The next version of a stream: streams lie in an open hash table. */
static uint64_t next_version(lh_harness *harness, const char *stream_id)
{
    if (harness->stream_count * 2 >= harness->stream_slots) {
        stream *before = harness->streams;
        size_t slots = harness->stream_slots;
        harness->stream_slots = slots == 0 ? 256 : slots * 2;
        harness->streams = calloc(harness->stream_slots, sizeof *harness->streams);
        if (harness->streams == NULL) abort();
        harness->stream_count = 0;
        for (size_t i = 0; i < slots; i++) {
            if (before[i].stream_id == NULL) continue;
            next_version(harness, before[i].stream_id);
            lh_random hash = lh_event_random(&(lh_event){.id = lh_str(before[i].stream_id)});
            size_t at = hash.state & (harness->stream_slots - 1);
            while (strcmp(harness->streams[at].stream_id, before[i].stream_id) != 0)
                at = (at + 1) & (harness->stream_slots - 1);
            harness->streams[at].version = before[i].version;
        }
        free(before);
    }
    size_t at = lh_event_random(&(lh_event){.id = lh_str(stream_id)}).state & (harness->stream_slots - 1);
    while (harness->streams[at].stream_id != NULL && strcmp(harness->streams[at].stream_id, stream_id) != 0)
        at = (at + 1) & (harness->stream_slots - 1);
    if (harness->streams[at].stream_id == NULL) {
        harness->streams[at].stream_id = lh_arena_copy(&harness->arena, stream_id, strlen(stream_id));
        harness->stream_count++;
    }
    return ++harness->streams[at].version;
}

void lh_given_event(lh_harness *harness, const lh_test_event *given)
{
    lh_event event = lh_event_of_test(&harness->arena, given, &harness->clock);
    if (harness->event_count == harness->event_room) {
        harness->event_room = harness->event_room == 0 ? 256 : harness->event_room * 2;
        harness->events = realloc(harness->events, harness->event_room * sizeof *harness->events);
        if (harness->events == NULL) abort();
    }
    given_event *next = &harness->events[harness->event_count++];
    next->packed = (lh_bytes){NULL, 0};
    event.position = harness->event_count;
    event.stream_version = next_version(harness, given->stream_id);
    char id[40];
    event.id = (lh_text){id, (size_t)snprintf(id, sizeof id, "00000000-0000-7000-8000-%012llx",
                                              (unsigned long long)harness->event_count)};
    bool taken = false;
    for (size_t i = 0; i < harness->projector->handler_count && !taken; i++)
        taken = lh_handler_takes(&harness->projector->handlers[i], &event);
    if (!taken) return;
    lh_buffer out = {.arena = &harness->arena};
    lh_pack_event(&out, &event);
    next->packed = (lh_bytes){out.bytes, out.len};
}

void lh_given(lh_harness *harness, const char *stream_id, const char *event_type, const char *data)
{
    const lh_test_event event = {.stream_id = stream_id, .event_type = event_type, .data = data};
    lh_given_event(harness, &event);
}

/* ---- Running ---- */

lh_harness *lh_harness_new(const lh_projector *projector)
{
    lh_harness *harness = calloc(1, sizeof *harness);
    if (harness == NULL) abort();
    harness->projector = projector;
    const char *errors = lh_check_projector(&harness->arena, projector);
    if (errors != NULL) lh_test_ends("the host would refuse this projector:%s", errors);
    lh_scope scope = {.arena = &harness->arena};
    harness->shapes = lh_shapes_of(&scope, projector);
    harness->memory = lh_memory_new(harness->shapes, projector->table_count);
    harness->batch_size = BATCH_EVENTS;
    harness->clock = INT64_C(1704067200000000);
    return harness;
}

void lh_harness_free(lh_harness *harness)
{
    lh_memory_free(harness->memory);
    free(harness->events);
    free(harness->streams);
    lh_arena_free(&harness->arena);
    free(harness);
    forget_log();
}

void lh_batch_size(lh_harness *harness, size_t events) { harness->batch_size = events == 0 ? 1 : events; }

/* Projects so many events from `from` on, as one call. `failure` names the event of the test. */
static bool project(lh_harness *harness, lh_memory *memory, size_t from, size_t count, lh_test_failure *failure)
{
    lh_arena arena = {0};
    lh_buffer batch = {.arena = &arena};
    for (size_t i = from; i < from + count; i++)
        lh_buffer_add(&batch, harness->events[i].packed.ptr, harness->events[i].packed.len);
    lh_failure why = {0};
    bool fine = lh_memory_project(memory, harness->projector, (lh_bytes){batch.bytes, batch.len}, &why);
    if (!fine) {
        *failure = (lh_test_failure){.message = why.message, .trace = why.trace};
        /* The call's index counts those events that a handler takes. */
        uint32_t left = why.index;
        for (size_t i = from; why.has_index && i < from + count; i++) {
            if (harness->events[i].packed.ptr == NULL || left-- > 0) continue;
            failure->event = i + 1;
            break;
        }
    }
    lh_arena_free(&arena);
    return fine;
}

const lh_test_failure *lh_run(lh_harness *harness)
{
    while (harness->projected < harness->event_count) {
        size_t left = harness->event_count - harness->projected;
        size_t count = left < harness->batch_size ? left : harness->batch_size;
        if (!project(harness, harness->memory, harness->projected, count, &harness->failure)) return &harness->failure;
        harness->projected += count;
    }
    return NULL;
}

static void settle(lh_harness *harness, uint32_t table)
{
    const lh_test_failure *failure = lh_run(harness);
    if (failure != NULL)
        lh_test_ends("event %llu of the test: %s %s", (unsigned long long)failure->event, failure->message,
                     failure->trace);
    if (table >= harness->projector->table_count) lh_test_ends("there is no table %u", table);
}

const lh_value *lh_row(lh_harness *harness, uint32_t table, const lh_value *key, size_t key_len)
{
    settle(harness, table);
    lh_scope scope = {.arena = &harness->arena};
    lh_value *own = lh_arena_alloc(&harness->arena, key_len * sizeof *own);
    for (size_t i = 0; i < key_len; i++) own[i] = key[i];
    if (!lh_conform_key(&scope, &harness->shapes[table], own, key_len)) lh_test_ends("%s", scope.why);
    return lh_memory_row_of(harness->memory, table, own);
}

lh_rows lh_table_rows(lh_harness *harness, uint32_t table)
{
    settle(harness, table);
    return lh_memory_find(harness->memory, table, NULL, NULL, 0, NULL, UINT32_MAX);
}

lh_rows lh_found(lh_harness *harness, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len)
{
    settle(harness, table);
    const lh_shape *shape = &harness->shapes[table];
    lh_scope scope = {.arena = &harness->arena};
    lh_value *own = lh_arena_alloc(&harness->arena, prefix_len * sizeof *own);
    for (size_t i = 0; i < prefix_len; i++) own[i] = prefix[i];
    if (!lh_conform_prefix(&scope, shape, index, own, prefix_len)) lh_test_ends("%s", scope.why);
    return lh_memory_find(harness->memory, table, &shape->indexes[index], own, prefix_len, NULL, UINT32_MAX);
}

static const char *first_difference(lh_harness *harness, const lh_memory *one, const lh_memory *other, uint32_t table)
{
    const lh_shape *shape = &harness->shapes[table];
    const lh_memory_table *left = &one->tables[table], *right = &other->tables[table];
    for (size_t i = 0; i < left->count || i < right->count; i++) {
        const lh_value *row = i < left->count ? left->rows[i].values : right->rows[i].values;
        const char *key = lh_describe_value(&harness->arena, row[shape->key[0]]);
        if (i >= left->count || i >= right->count)
            return lh_arena_format(&harness->arena, "a row (%s) more or less", key);
        for (uint32_t c = 0; c < shape->column_count; c++) {
            lh_value was = row[c], is = right->rows[i].values[c];
            if (!lh_value_same(was, is))
                return lh_arena_format(&harness->arena, "row %s, column %s: %s and %s", key, shape->columns[c].name,
                                       lh_describe_value(&harness->arena, was), lh_describe_value(&harness->arena, is));
        }
    }
    return NULL;
}

void lh_assert_same_at_any_batch_size(lh_harness *harness)
{
    static const size_t SIZES[] = {1, 7, 1000};
    lh_memory *first = NULL;
    for (size_t s = 0; s < LH_LENGTH_(SIZES); s++) {
        lh_memory *memory = lh_memory_new(harness->shapes, harness->projector->table_count);
        for (size_t from = 0; from < harness->event_count; from += SIZES[s]) {
            size_t left = harness->event_count - from;
            lh_test_failure failure;
            if (!project(harness, memory, from, left < SIZES[s] ? left : SIZES[s], &failure))
                lh_test_ends("in batches of %zu, event %llu of the test: %s %s", SIZES[s],
                             (unsigned long long)failure.event, failure.message, failure.trace);
        }
        for (uint32_t table = 0; first != NULL && table < harness->projector->table_count; table++) {
            const char *difference = first_difference(harness, first, memory, table);
            if (difference != NULL)
                lh_test_ends("table '%s' differs in batches of 1 and of %zu: %s", harness->shapes[table].name, SIZES[s],
                             difference);
        }
        if (first == NULL)
            first = memory;
        else
            lh_memory_free(memory);
    }
    lh_memory_free(first);
}
#endif

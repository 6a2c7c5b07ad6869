/*
 * Tests of a plugin on the developer's machine: given events, then rows; given an event, then today's events. No Wasm,
 * no database, no host: the harness keeps the tables in memory, by the rules that the host applies changes by, and
 * refuses what the host would refuse.
 *
 *     extern const lh_projector orders;
 *
 *     int main(void)
 *     {
 *         lh_harness *harness = lh_harness_new(&orders);
 *         lh_given(harness, "order-1", "OrderPlaced", LH_DATA({"customer_id": "c-7"}));
 *         const lh_value *order = lh_row(harness, 0, LH_VALUES(lh_of_str("order-1")));
 *         LH_EXPECT(order[1], "c-7");
 *         lh_assert_same_at_any_batch_size(harness);
 *         lh_harness_free(harness);
 *     }
 *
 * What fails prints file, line and reason, and ends the process with status 1.
 */
#ifndef LH_HARNESS_H
#define LH_HARNESS_H

#include "lamphouse.h"

#ifdef __cplusplus
extern "C" {
#endif

/* JSON as it is, without quotes to escape: LH_DATA({"sku": "A1", "quantity": 3}). */
#define LH_DATA(...) #__VA_ARGS__

/* An event to give. What is left out has a default. */
typedef struct lh_test_event {
    const char *stream_id;
    const char *event_type;
    /* JSON text; {} by default. */
    const char *data;
    /* What stands before the first '-' of the stream's id. */
    const char *stream_type;
    /* 1. */
    uint32_t schema_version;
    /* JSON text of an object; only a reason. */
    const char *metadata;
    /* 2024-01-01T00:00:01Z, and each event one second after the one before. */
    const char *occurred_at;
} lh_test_event;

/* Why a call failed. */
typedef struct lh_test_failure {
    /* The number of the event in the test, from 1; 0 where no event is to blame. */
    uint64_t event;
    const char *message;
    /* at plugin.c:42 */
    const char *trace;
} lh_test_failure;

typedef struct lh_log_line {
    lh_level level;
    const char *text;
} lh_log_line;

/* ---- Projectors ---- */

typedef struct lh_harness lh_harness;

/* Empty tables. */
lh_harness *lh_harness_new(const lh_projector *projector);
void lh_harness_free(lh_harness *harness);
/* How many events a call gets: 1,000. No size may change a row. */
void lh_batch_size(lh_harness *harness, size_t events);

/* Gives one event. One that no handler takes has its place in the log, and is not projected. */
void lh_given(lh_harness *harness, const char *stream_id, const char *event_type, const char *data);
void lh_given_event(lh_harness *harness, const lh_test_event *event);
/* Projects the events that wait; NULL, or why they cannot be: for tests that expect a failure. The rows then are as
 * after the last batch that went well. */
const lh_test_failure *lh_run(lh_harness *harness);

/* A row by its key; NULL where there is none. What is found lives as long as the harness. */
const lh_value *lh_row(lh_harness *harness, uint32_t table, const lh_value *key, size_t key_len);
/* All rows, in the order of their keys. */
lh_rows lh_table_rows(lh_harness *harness, uint32_t table);
/* The rows that an lh_find would give. */
lh_rows lh_found(lh_harness *harness, uint32_t table, uint32_t index, const lh_value *prefix, size_t prefix_len);
/* What was logged since this was last called; the number of lines. */
size_t lh_logged(lh_harness *harness, const lh_log_line **lines);
/* Projects all events anew in batches of 1, 7 and 1,000: fails if any row differs. The host refuses a projector whose
 * rows depend on how its events are cut. */
void lh_assert_same_at_any_batch_size(lh_harness *harness);

/* ---- Upcasters ---- */

typedef struct lh_upcaster_harness lh_upcaster_harness;

/* One event that came out. */
typedef struct lh_lifted {
    const char *event_type;
    uint32_t schema_version;
    const char *data;
    const char *metadata;
} lh_lifted;

lh_upcaster_harness *lh_upcaster_harness_new(const lh_upcaster *upcaster);
void lh_upcaster_harness_free(lh_upcaster_harness *harness);
/* Lifts one event through the upcaster's own rules until none takes the result. Fails where the upcaster does, or
 * where it gives what its rule does not name. The number of events that came out. */
size_t lh_upcast_given(lh_upcaster_harness *harness, const char *stream_id, const char *event_type, const char *data);
size_t lh_upcast_given_event(lh_upcaster_harness *harness, const lh_test_event *event);
/* The same for an event that may fail: NULL, or why. */
const lh_test_failure *lh_upcast_run(lh_upcaster_harness *harness, const lh_test_event *event);
/* What came out last. */
lh_lifted lh_upcast_event(lh_upcaster_harness *harness, size_t number);

/* ---- Expectations ---- */

#define LH_CHECK(condition)                                                                                            \
    do {                                                                                                               \
        if (!(condition)) lh_expectation_failed(__FILE__, __LINE__, "this does not hold: " #condition);                \
    } while (0)
/* That a value is this, as text: "placed", "7.50", "3", "true", "null", "2011-08-12T13:50:00Z". */
#define LH_EXPECT(value, text) lh_expect_at(__FILE__, __LINE__, value, text)
/* That the JSON of both is the same, whatever their spaces and the order of their members. */
#define LH_EXPECT_JSON(text, other) lh_expect_json_at(__FILE__, __LINE__, text, other)
/* That this came out of an upcaster at place `number`: type, version, data. */
#define LH_EXPECT_EVENT(harness, number, type, version, data)                                                          \
    lh_expect_event_at(__FILE__, __LINE__, harness, number, type, version, data)
/* That a failure is one, and that its message begins so. */
#define LH_EXPECT_FAILURE(failure, message) lh_expect_failure_at(__FILE__, __LINE__, failure, message)

void lh_expectation_failed(const char *file, int line, const char *why);
void lh_expect_at(const char *file, int line, lh_value value, const char *text);
void lh_expect_json_at(const char *file, int line, const char *text, const char *other);
void lh_expect_event_at(const char *file, int line, lh_upcaster_harness *harness, size_t number, const char *event_type,
                        uint32_t schema_version, const char *data);
void lh_expect_failure_at(const char *file, int line, const lh_test_failure *failure, const char *message);

#ifdef __cplusplus
}
#endif

#endif

/* What handlers do with rows: the memo of a call gives the same rows as one change after the other; failures stay. */
#include <string.h>

#include "../lh_harness.h"
#include "tests.h"

enum { COUNTERS, LINES };
enum { NAME, COUNT, TOTAL, WEIGHT, NOTE };
enum { ORDER, NUMBER, SKU };
enum { BY_NOTE, BY_NOTE_AND_COUNT };

static const lh_column COUNTER_COLUMNS[] = {
    [NAME] = LH_TEXT("name", LH_KEY),
    [COUNT] = LH_INTEGER("count", LH_INITIAL_INT(0)),
    [TOTAL] = LH_DECIMAL("total", 2, LH_NULLABLE, LH_INITIAL_DECIMAL("1.50")),
    [WEIGHT] = LH_REAL("weight", LH_NULLABLE),
    [NOTE] = LH_TEXT("note", LH_NULLABLE),
};
static const lh_index COUNTER_INDEXES[] = {[BY_NOTE] = LH_INDEX(NOTE), [BY_NOTE_AND_COUNT] = LH_INDEX(NOTE, COUNT)};
static const lh_column LINE_COLUMNS[] = {
    [ORDER] = LH_TEXT("order_id", LH_KEY),
    [NUMBER] = LH_INTEGER("number", LH_KEY),
    [SKU] = LH_TEXT("sku"),
};
static const lh_table TABLES[] = {
    [COUNTERS] = LH_TABLE("counters", LH_COLUMNS(COUNTER_COLUMNS), LH_INDEXES(COUNTER_INDEXES)),
    [LINES] = LH_TABLE("lines", LH_COLUMNS(LINE_COLUMNS)),
};

#define KEY(text) LH_VALUES(lh_of_str(text))

static lh_value name_of(lh_random *random)
{
    static const char *const NAMES[] = {"a", "b", "c", "a longer name of a counter", "a longer name of another", ""};
    return lh_of_str(NAMES[lh_random_below(random, LH_LENGTH_(NAMES))]);
}

/* One of all that can be done, by chance: what comes out must not depend on how the events are cut. */
static lh_result anything(lh_call *call, const lh_event *event)
{
    lh_random random = lh_event_random(event);
    lh_value name = name_of(&random);
    lh_value note = lh_of_text(lh_format(call, "note %d", (int)lh_random_below(&random, 3)));
    int64_t number = (int64_t)lh_random_below(&random, 100) - 50;
    lh_decimal price;
    lh_decimal_make(number, 1, &price);
    switch (lh_random_below(&random, 11)) {
    case 0: return lh_put(call, COUNTERS, LH_ROW([NAME] = name, [COUNT] = lh_of_int(number), [NOTE] = note));
    case 1: return lh_remove(call, COUNTERS, LH_VALUES(name));
    case 2: return lh_upsert(call, COUNTERS, LH_VALUES(name), LH_CELLS(lh_add_int(COUNT, number), lh_set(NOTE, note)));
    case 3: return lh_upsert(call, COUNTERS, LH_VALUES(name), LH_CELLS(lh_add_decimal(TOTAL, price)));
    case 4: return lh_upsert(call, COUNTERS, LH_VALUES(name), LH_CELLS(lh_add(WEIGHT, lh_of_real((double)number / 3))));
    case 5:
        return lh_upsert(call, COUNTERS, LH_VALUES(name),
                         LH_CELLS(lh_set(TOTAL, lh_null()), lh_set(COUNT, lh_of_int(1))));
    case 6:
        if (lh_get(call, COUNTERS, LH_VALUES(name)) == NULL) return LH_OK;
        return lh_patch(call, COUNTERS, LH_VALUES(name), LH_CELLS(lh_add_int(COUNT, 1), lh_add_int(TOTAL, 2)));
    case 7: {
        lh_rows rows = lh_find(call, COUNTERS, BY_NOTE, LH_VALUES(note));
        for (size_t i = 0; i < rows.count; i++)
            lh_patch(call, COUNTERS, LH_VALUES(rows.rows[i][NAME]), LH_CELLS(lh_add_int(COUNT, (int64_t)rows.count)));
        return LH_OK;
    }
    case 8: {
        const lh_value keys[] = {name, name_of(&random), name};
        lh_rows rows = lh_get_many(call, COUNTERS, keys, 3);
        LH_CHECK(rows.rows[0] == rows.rows[2]);
        int64_t sum = 0;
        for (size_t i = 0; i < rows.count; i++) sum += rows.rows[i] == NULL ? 0 : rows.rows[i][COUNT].integer % 1000;
        return lh_upsert(call, COUNTERS, KEY("sum"), LH_CELLS(lh_add_int(COUNT, sum)));
    }
    case 9: return lh_put(call, LINES, LH_ROW(lh_of_text(event->stream_id), lh_of_int(number), lh_of_str("A1")));
    default:
        return lh_upsert(call, LINES, LH_VALUES(lh_of_text(event->stream_id), lh_of_int(number)),
                         LH_CELLS(lh_set(SKU, note)));
    }
}

static void want_anything(lh_call *call, const lh_event *event)
{
    /* Few of them, so that most rows of a call are changed before they are read. */
    lh_random random = lh_event_random(event);
    lh_value name = name_of(&random);
    if (lh_random_below(&random, 40) == 0) lh_want(call, COUNTERS, LH_VALUES(name));
}

/* The other half of the events: declared fields, of which some do not come as declared. */
static const lh_field FIELDS[] = {
    LH_FIELD_INTEGER("/data/n", LH_OPTIONAL),
    LH_FIELD_TEXT("/metadata/reason"),
    LH_FIELD_DECIMAL("/data/deep/0/price", LH_OPTIONAL),
};

static lh_result declared(lh_call *call, const lh_event *event)
{
    LH_CHECK(event->data.len == 0);
    LH_EXPECT(event->fields[1], "given by a test");
    return lh_upsert(call, COUNTERS, KEY("declared"),
                     LH_CELLS(lh_add(COUNT, lh_is_null(event->fields[0]) ? lh_of_int(1000) : event->fields[0]),
                              lh_add(TOTAL, lh_is_null(event->fields[2]) ? lh_of_int(0) : event->fields[2])));
}

static lh_result fails(lh_call *call, const lh_event *event)
{
    lh_log(LH_WARN, "about to fail at " LH_S, LH_A(event->stream_id));
    if (lh_is(event->stream_id, "s-said")) return lh_fail(call, "no good: %d", 42);
    if (lh_is(event->stream_id, "s-mute")) return LH_FAILED;
    if (lh_is(event->stream_id, "s-absent"))
        return lh_patch(call, COUNTERS, KEY("nobody"), LH_CELLS(lh_add_int(COUNT, 1)));
    if (lh_is(event->stream_id, "s-known-absent")) {
        lh_get(call, COUNTERS, KEY("nobody"));
        return lh_patch(call, COUNTERS, KEY("nobody"), LH_CELLS(lh_add_int(COUNT, 1)));
    }
    if (lh_is(event->stream_id, "s-put-behind")) {
        lh_patch(call, COUNTERS, KEY("behind"), LH_CELLS(lh_add_int(COUNT, 1)));
        return lh_put(call, COUNTERS, LH_ROW([NAME] = lh_of_str("behind"), [COUNT] = lh_of_int(1)));
    }
    if (lh_is(event->stream_id, "s-utf8")) lh_put(call, LINES, LH_ROW(lh_of_str("\xff"), lh_of_int(1), lh_of_str("x")));
    if (lh_is(event->stream_id, "s-scale")) {
        lh_decimal fine;
        lh_decimal_make(1, 3, &fine);
        lh_upsert(call, COUNTERS, KEY("a"), LH_CELLS(lh_add_decimal(TOTAL, fine)));
    }
    if (lh_is(event->stream_id, "s-table")) lh_get(call, 7, KEY("a"));
    if (lh_is(event->stream_id, "s-key")) lh_remove(call, LINES, KEY("a"));
    if (lh_is(event->stream_id, "s-index")) lh_find(call, COUNTERS, 2, KEY("a"));
    /* Whatever went wrong above has failed the call, whatever is done now. */
    return lh_put(call, COUNTERS, LH_ROW([NAME] = lh_of_str("after"), [COUNT] = lh_of_int(1)));
}

/* What is handed over is copied, and what is found stays as it was. */
static lh_result copies(lh_call *call, const lh_event *event)
{
    char text[8] = "one";
    (void)event;
    lh_upsert(call, COUNTERS, KEY(text), LH_CELLS(lh_set(NOTE, lh_of_str(text))));
    lh_get(call, COUNTERS, KEY(text));
    lh_upsert(call, COUNTERS, KEY(text), LH_CELLS(lh_set(NOTE, lh_of_str(text)), lh_add_int(COUNT, 1)));
    lh_put(call, LINES, LH_ROW(lh_of_str(text), lh_of_int(1), lh_of_str(text)));
    lh_upsert(call, COUNTERS, KEY("unread"), LH_CELLS(lh_set(NOTE, lh_of_str(text)), lh_add(WEIGHT, lh_of_real(-0.0))));
    memset(text, 'x', sizeof text - 1);
    LH_EXPECT(lh_get(call, COUNTERS, KEY("unread"))[WEIGHT], "0.0");
    LH_EXPECT(lh_get(call, COUNTERS, KEY("unread"))[NOTE], "one");
    lh_remove(call, COUNTERS, KEY("unread"));
    /* Never read before it is found. */
    lh_upsert(call, COUNTERS, KEY("three"), LH_CELLS(lh_set(NOTE, lh_of_str("three")), lh_set(COUNT, lh_of_int(3))));
    lh_rows three = lh_find(call, COUNTERS, BY_NOTE, KEY("three"));
    lh_patch(call, COUNTERS, KEY("three"), LH_CELLS(lh_add_int(COUNT, 1)));
    LH_EXPECT(three.rows[0][COUNT], "3");
    LH_EXPECT(lh_get(call, COUNTERS, KEY("three"))[COUNT], "4");
    LH_EXPECT(lh_get(call, COUNTERS, KEY("one"))[NOTE], "one");
    lh_rows found = lh_find(call, COUNTERS, BY_NOTE, KEY("one"));
    LH_CHECK(found.count == 1);
    lh_patch(call, COUNTERS, KEY("one"), LH_CELLS(lh_add_int(COUNT, 1)));
    LH_EXPECT(found.rows[0][COUNT], "1");
    LH_EXPECT(lh_get(call, COUNTERS, KEY("one"))[COUNT], "2");
    return LH_OK;
}

/* Sums of reals depend on their order, which no merging may change. */
static lh_result weighs(lh_call *call, const lh_event *event)
{
    lh_random random = lh_event_random(event);
    return lh_upsert(call, COUNTERS, LH_VALUES(lh_of_text(event->stream_id)),
                     LH_CELLS(lh_add(WEIGHT, lh_of_real(lh_random_fraction(&random)))));
}

static const lh_handler HANDLERS[] = {
    LH_ON("Weighs", weighs, LH_NO_DATA),
    LH_ON("Anything", anything, LH_PREFETCH(want_anything)),
    LH_ON("Declared", declared, LH_FIELDS(FIELDS)),
    LH_ON("Fails", fails, LH_NO_DATA),
    LH_ON("Copies", copies, LH_NO_DATA),
};
static const lh_projector PUPPET = {.name = "puppet", .version = "1.0.0", LH_TABLES(TABLES), LH_HANDLERS(HANDLERS)};

/* ---- A find of many rows ---- */

static lh_result put_row(lh_call *call, const lh_event *event)
{
    return lh_put(call, COUNTERS,
                  LH_ROW([NAME] = lh_of_text(event->id), [COUNT] = lh_of_int(1), [NOTE] = lh_of_str("n")));
}

static lh_result count_pages(lh_call *call, const lh_event *event)
{
    (void)event;
    lh_rows all = lh_find(call, COUNTERS, BY_NOTE_AND_COUNT, LH_VALUES(lh_of_str("n"), lh_of_int(1)));
    for (size_t i = 1; i < all.count; i++)
        LH_CHECK(memcmp(all.rows[i - 1][NAME].text.ptr, all.rows[i][NAME].text.ptr, 36) < 0);
    lh_rows page = lh_find_page(call, COUNTERS, BY_NOTE, KEY("n"), all.rows[2492], 100);
    return lh_upsert(call, COUNTERS, KEY("pages"), LH_CELLS(lh_add_int(COUNT, (int64_t)(all.count + page.count))));
}

static const lh_handler PAGE_HANDLERS[] = {LH_ON("Row", put_row), LH_ON("Pages", count_pages)};
static const lh_projector PAGES = {.name = "pages", .version = "1.0.0", LH_TABLES(TABLES), LH_HANDLERS(PAGE_HANDLERS)};

static void the_memo_gives_the_rows_of_one_change_after_the_other(void)
{
    lh_harness *harness = lh_harness_new(&PUPPET);
    for (int i = 0; i < 3000; i++) lh_given(harness, i % 3 == 0 ? "s-1" : "s-2", "Anything", "{}");
    for (int i = 0; i < 500; i++) lh_given(harness, i < 250 ? "s-3" : i % 2 == 0 ? "s-4" : "s-5", "Weighs", "{}");
    lh_assert_same_at_any_batch_size(harness);
    LH_CHECK(lh_table_rows(harness, COUNTERS).count >= 5);
    LH_CHECK(lh_table_rows(harness, LINES).count >= 100);
    /* Rows are in the order of their keys. */
    lh_rows lines = lh_table_rows(harness, LINES);
    for (size_t i = 1; i < lines.count; i++) {
        bool same = lh_same(lines.rows[i - 1][ORDER].text, lines.rows[i][ORDER].text);
        LH_CHECK(!same || lines.rows[i - 1][NUMBER].integer < lines.rows[i][NUMBER].integer);
    }
    lh_harness_free(harness);
}

static void declared_fields_come_typed(void)
{
    lh_harness *harness = lh_harness_new(&PUPPET);
    lh_given(harness, "s-1", "Declared",
             LH_DATA({"n" : 9007199254740993, "deep" : [ {"price" : "2.50"}, {"price" : "no"} ]}));
    lh_given(harness, "s-1", "Declared", LH_DATA({"n" : null, "deep" : null, "more" : [ 1, {"n" : "no"} ]}));
    lh_given(harness, "s-1", "Declared", LH_DATA({"n" : -1, "deep" : [ {"price" : 7} ]}));
    const lh_value *row = lh_row(harness, COUNTERS, KEY("declared"));
    LH_EXPECT(row[COUNT], "9007199254741992");
    LH_EXPECT(row[TOTAL], "11.00");
    lh_assert_same_at_any_batch_size(harness);
    lh_given(harness, "s-1", "Declared", LH_DATA({"n" : 1.5}));
    const lh_test_failure *failure = lh_run(harness);
    LH_EXPECT_FAILURE(failure, "data of Declared: found 1.5 where an integer of 64 bits is due");
    LH_CHECK(failure->event == 4);
    lh_harness_free(harness);
}

static void failures_say_what_and_where(void)
{
    static const char *const DUE[][2] = {
        {"s-said", "no good: 42"},
        {"s-mute", "the handler of Fails failed without a message"},
        {"s-absent", "table 'counters' has no row with key text 'nobody' to patch"},
        {"s-known-absent", "table 'counters' has no row with key text 'nobody' to patch"},
        {"s-put-behind", "table 'counters' has no row with key text 'behind' to patch"},
        {"s-utf8", "lines.order_id: the text is not UTF-8"},
        {"s-scale", "counters.total: 0.001 does not fit decimal(2): 3 digits after the point where 2 are kept"},
        {"s-table", "table 7 is used, but 2 are declared"},
        {"s-key", "table 'lines': a key has 2 values (order_id, number), but 1 came"},
        {"s-index", "table 'counters' declares 2 indexes; there is none with number 2"},
    };
    for (size_t i = 0; i < LH_LENGTH_(DUE); i++) {
        lh_harness *harness = lh_harness_new(&PUPPET);
        lh_given(harness, "s-fine", "Fails", "{}");
        lh_given(harness, "s-1", "Nobody", "{}");
        lh_batch_size(harness, 2);
        LH_CHECK(lh_run(harness) == NULL);
        lh_given(harness, "s-fine", "Anything", "{}");
        lh_given(harness, DUE[i][0], "Fails", "{}");
        const lh_test_failure *failure = lh_run(harness);
        LH_EXPECT_FAILURE(failure, DUE[i][1]);
        /* Where nothing was read, only the host sees at the end that the row of a patch is absent. */
        bool at_end = strcmp(DUE[i][0], "s-absent") == 0;
        LH_CHECK(failure->event == (at_end ? 0 : 4));
        if (!at_end && strcmp(DUE[i][0], "s-mute") != 0) LH_CHECK(strstr(failure->trace, "rows.c:") != NULL);
        const lh_log_line *lines;
        LH_CHECK(lh_logged(harness, &lines) == 2);
        LH_CHECK(lines[0].level == LH_WARN && strcmp(lines[0].text, "about to fail at s-fine") == 0);
        lh_harness_free(harness);
    }
}

static void texts_are_copied_and_found_rows_stay(void)
{
    lh_harness *harness = lh_harness_new(&PUPPET);
    lh_given(harness, "s-1", "Copies", "{}");
    const lh_value *row = lh_row(harness, COUNTERS, KEY("one"));
    LH_EXPECT(row[NOTE], "one");
    LH_EXPECT(row[COUNT], "2");
    LH_EXPECT(lh_table_rows(harness, LINES).rows[0][SKU], "one");
    lh_harness_free(harness);
}

/* Pages of a find go on where the one before ended. */
static void long_finds_come_in_pages(void)
{
    lh_harness *harness = lh_harness_new(&PAGES);
    for (int i = 0; i < 2500; i++) lh_given_event(harness, &(lh_test_event){.stream_id = "s-1", .event_type = "Row"});
    lh_given(harness, "s-1", "Pages", "{}");
    const lh_value *row = lh_row(harness, 0, KEY("pages"));
    LH_EXPECT(row[COUNT], "2507");
    lh_harness_free(harness);
}

static void events_that_nobody_takes_have_their_place(void)
{
    lh_harness *harness = lh_harness_new(&PUPPET);
    lh_given(harness, "s-1", "Nobody", "{}");
    lh_given(harness, "s-said", "Fails", "{}");
    LH_CHECK(lh_run(harness)->event == 2);
    lh_harness_free(harness);
}

void rows_tests(void)
{
    the_memo_gives_the_rows_of_one_change_after_the_other();
    declared_fields_come_typed();
    failures_say_what_and_where();
    texts_are_copied_and_found_rows_stay();
    long_finds_come_in_pages();
    events_that_nobody_takes_have_their_place();
}

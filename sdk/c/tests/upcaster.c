/* Upcasters: rules with and without a function, chains, failures. */
#include <string.h>

#include "../lh_harness.h"
#include "tests.h"

static const lh_field LINE[] = {LH_FIELD_TEXT("/data/sku"), LH_FIELD_DECIMAL("/data/price")};
static const lh_schema LINE_2[] = {{"LineAdded", 2}}, BOTH[] = {{"One", 1}, {"Two", 2}}, NEW[] = {{"New", 1}},
                       NEWER[] = {{"Newer", 1}};

static lh_result line(lh_call *call, const lh_event *event)
{
    lh_decimal pence;
    int64_t minor;
    if (!lh_decimal_rescale(event->fields[1].decimal, 2, &pence) || !lh_decimal_mantissa(pence, &minor))
        return lh_fail(call, "a price of parts of a penny");
    lh_writer *data = lh_writer_new(call);
    lh_write_object(data, NULL);
    lh_write(data, "sku", event->fields[0]);
    lh_write(data, "price_minor", lh_of_int(minor));
    return lh_give(call, "LineAdded", 2, lh_written(data));
}

static lh_result both(lh_call *call, const lh_event *event)
{
    lh_give(call, "One", 1, event->data);
    return lh_give_with_metadata(call, "Two", 2, lh_str("2"), lh_str("{\"by\":\"us\"}"));
}

static const lh_rule RULES[] = {
    LH_RULE("LineAdded", 1, LH_GIVES(LINE_2), LH_LIFT(line), LH_FIELDS(LINE)),
    LH_RULE("Both", 1, LH_GIVES(BOTH), LH_LIFT(both)),
    LH_RULE("Old", 1, LH_GIVES(NEW)),
    LH_RULE("New", 1, LH_GIVES(NEWER)),
    LH_DROPS("CartViewed", 1),
};
static const lh_upcaster SHOP = {.name = "shop", .version = "1.0.0", LH_RULES(RULES)};

void upcaster_tests(void)
{
    lh_upcaster_harness *harness = lh_upcaster_harness_new(&SHOP);
    LH_CHECK(lh_upcast_given(harness, "order-1", "LineAdded", LH_DATA({"sku" : "A1", "price" : "2.5"})) == 1);
    LH_EXPECT_EVENT(harness, 0, "LineAdded", 2, LH_DATA({"price_minor" : 250, "sku" : "A1"}));
    LH_CHECK(lh_upcast_given(harness, "s-1", "Both", LH_DATA({"a" : [ 1, 2 ]})) == 2);
    LH_EXPECT_EVENT(harness, 0, "One", 1, "{\"a\":[1,2]}");
    LH_EXPECT_EVENT(harness, 1, "Two", 2, "2");
    LH_EXPECT_JSON(lh_upcast_event(harness, 1).metadata, LH_DATA({"by" : "us"}));
    /* Through two rules, to the letter. */
    LH_CHECK(lh_upcast_given(harness, "s-1", "Old", "{ \"a\" : 1 }") == 1);
    LH_EXPECT_EVENT(harness, 0, "Newer", 1, "{\"a\":1}");
    LH_CHECK(strcmp(lh_upcast_event(harness, 0).data, "{ \"a\" : 1 }") == 0);
    LH_CHECK(lh_upcast_given(harness, "c-1", "CartViewed", "{}") == 0);
    /* What no rule takes stays. */
    const lh_test_event today = {.stream_id = "order-1", .event_type = "LineAdded", .schema_version = 2, .data = "{}"};
    LH_CHECK(lh_upcast_given_event(harness, &today) == 1);
    LH_EXPECT_EVENT(harness, 0, "LineAdded", 2, "{}");
    const lh_test_event part = {
        .stream_id = "s", .event_type = "LineAdded", .data = LH_DATA({"sku" : "A", "price" : "0.001"})};
    const lh_test_failure *failure = lh_upcast_run(harness, &part);
    LH_EXPECT_FAILURE(failure, "a price of parts of a penny");
    LH_CHECK(strstr(failure->trace, "upcaster.c:") != NULL);
    const lh_test_event none = {.stream_id = "s", .event_type = "LineAdded", .data = LH_DATA({"sku" : "A"})};
    LH_EXPECT_FAILURE(lh_upcast_run(harness, &none), "data of LineAdded: missing field /data/price");
    lh_upcaster_harness_free(harness);
}

/* What single events make of the rows. */
#include <stdio.h>
#include <string.h>

#include "../../../sdk/c/lh_harness.h"

extern const lh_projector order_summary_c;

enum { ORDERS, CUSTOMERS };
enum { ORDER_ID, ORDER_CUSTOMER_ID, COUNTRY, ORDER_LINES, ORDER_QUANTITY, TOTAL, STATUS, PLACED_AT };
enum { CUSTOMER_ID, CUSTOMER_ORDERS, CUSTOMER_LINES, CUSTOMER_QUANTITY, NET, ORDERED, RETURNED };

static const char HEADER[] = LH_DATA({"invoice_no" : "1", "customer_id" : "17850", "country" : "EIRE"});
static const char NOBODY[] = LH_DATA({"customer_id" : null, "country" : "EIRE"});

static const lh_value *row(lh_harness *harness, uint32_t table, const char *key)
{
    const lh_value *found = lh_row(harness, table, LH_VALUES(lh_of_str(key)));
    LH_CHECK(found != NULL);
    return found;
}

static void an_order_and_its_credit_note_are_two_rows_of_one_customer(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-1", "OrderPlaced", HEADER);
    lh_given(harness, "order-1", "LineAdded", LH_DATA({"sku" : "22423", "quantity" : 6, "unit_price" : "2.55"}));
    lh_given(harness, "order-1", "LineAdded",
             LH_DATA({"description" : "CAKE \"STAND\"", "quantity" : 1, "unit_price" : "0.001"}));
    lh_given(harness, "order-C2", "OrderCancelled", HEADER);
    lh_given(harness, "order-C2", "LineReturned", LH_DATA({"quantity" : -2, "unit_price" : "2.55"}));

    const lh_value *order = row(harness, ORDERS, "order-1");
    LH_EXPECT(order[ORDER_LINES], "2");
    LH_EXPECT(order[ORDER_QUANTITY], "7");
    LH_EXPECT(order[TOTAL], "15.301");
    LH_EXPECT(order[STATUS], "placed");
    LH_EXPECT(order[PLACED_AT], "2024-01-01T00:00:01Z");
    const lh_value *note = row(harness, ORDERS, "order-C2");
    LH_EXPECT(note[STATUS], "credited");
    LH_EXPECT(note[TOTAL], "-5.100");
    const lh_value *customer = row(harness, CUSTOMERS, "17850");
    LH_EXPECT(customer[CUSTOMER_ORDERS], "2");
    LH_EXPECT(customer[CUSTOMER_LINES], "3");
    LH_EXPECT(customer[CUSTOMER_QUANTITY], "5");
    LH_EXPECT(customer[NET], "10.201");
    LH_EXPECT(customer[ORDERED], "15.301");
    LH_EXPECT(customer[RETURNED], "-5.100");
    lh_assert_same_at_any_batch_size(harness);
    lh_harness_free(harness);
}

static void lifted_events_give_the_same_rows_as_stored_ones(void)
{
    lh_harness *stored = lh_harness_new(&order_summary_c), *lifted = lh_harness_new(&order_summary_c);
    lh_given(stored, "order-1", "OrderPlaced", HEADER);
    lh_given(lifted, "order-1", "OrderPlaced", HEADER);
    lh_given(stored, "order-1", "LineAdded", LH_DATA({"quantity" : 6, "unit_price" : "2.55"}));
    lh_given(lifted, "order-1", "LineAdded", LH_DATA({"quantity" : 6, "unit_price_minor" : 255, "currency" : "GBP"}));
    lh_given(stored, "order-1", "LineAdded", LH_DATA({"quantity" : 1, "unit_price" : "0.001"}));
    lh_given(lifted, "order-1", "LineAdded", LH_DATA({"quantity" : 1, "unit_price_minor" : 1, "minor_digits" : 3}));
    lh_given(stored, "order-C2", "OrderCancelled", HEADER);
    lh_given(lifted, "order-C2", "CreditNoteIssued", HEADER);
    for (uint32_t table = ORDERS; table <= CUSTOMERS; table++) {
        lh_rows one = lh_table_rows(stored, table), other = lh_table_rows(lifted, table);
        LH_CHECK(one.count == other.count && one.count == (table == ORDERS ? 2 : 1));
    }
    LH_EXPECT(row(lifted, ORDERS, "order-1")[TOTAL], "15.301");
    LH_EXPECT(row(lifted, ORDERS, "order-C2")[STATUS], "credited");
    LH_EXPECT(row(lifted, CUSTOMERS, "17850")[NET], "15.301");
    lh_harness_free(stored);
    lh_harness_free(lifted);
}

static void sales_to_nobody_in_particular_have_an_order_and_no_customer(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-1", "OrderPlaced", NOBODY);
    lh_given(harness, "order-1", "LineAdded", LH_DATA({"quantity" : 1, "unit_price" : "2.00"}));
    LH_EXPECT(row(harness, ORDERS, "order-1")[ORDER_CUSTOMER_ID], "null");
    LH_CHECK(lh_table_rows(harness, CUSTOMERS).count == 0);
    lh_harness_free(harness);
}

static void an_adjustment_is_header_and_line_in_one_or_two_events(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-A1", "AdjustmentPosted",
             LH_DATA({"customer_id" : "c", "country" : "EIRE", "quantity" : 1, "unit_price" : "-11062.06"}));
    lh_given(harness, "order-A2", "AdjustmentOpened", LH_DATA({"customer_id" : "c", "country" : "EIRE"}));
    lh_given(harness, "order-A2", "LineAdjusted", LH_DATA({"quantity" : 1, "unit_price_minor" : -1106206}));
    for (int number = 1; number <= 2; number++) {
        const lh_value *order = row(harness, ORDERS, number == 1 ? "order-A1" : "order-A2");
        LH_EXPECT(order[STATUS], "adjusted");
        LH_EXPECT(order[ORDER_LINES], "1");
        LH_EXPECT(order[TOTAL], "-11062.060");
    }
    const lh_value *customer = row(harness, CUSTOMERS, "c");
    LH_EXPECT(customer[NET], "-22124.120");
    LH_EXPECT(customer[ORDERED], "0.000");
    lh_assert_same_at_any_batch_size(harness);
    lh_harness_free(harness);
}

static void a_line_before_its_order_is_a_failure_that_says_so(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-1", "OrderPlaced", NOBODY);
    lh_given(harness, "order-2", "LineAdded", LH_DATA({"quantity" : 1, "unit_price" : "2.00"}));
    const lh_test_failure *failure = lh_run(harness);
    LH_EXPECT_FAILURE(failure, "a line came before its order");
    LH_CHECK(failure->event == 2 && strstr(failure->trace, "plugin.c:") != NULL);
    lh_harness_free(harness);
}

static void a_price_that_is_no_decimal_is_named(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-1", "OrderPlaced", NOBODY);
    lh_given(harness, "order-1", "LineAdded", LH_DATA({"quantity" : 1, "unit_price" : "2,00"}));
    LH_EXPECT_FAILURE(lh_run(harness), "data of LineAdded: '2,00' is not a decimal");
    lh_harness_free(harness);
}

static void a_field_that_is_missing_is_named(void)
{
    lh_harness *harness = lh_harness_new(&order_summary_c);
    lh_given(harness, "order-1", "OrderPlaced", LH_DATA({"customer_id" : "c"}));
    LH_EXPECT_FAILURE(lh_run(harness),
                      "data of OrderPlaced: missing field /data/country: null or not there, where a text");
    lh_harness_free(harness);
}

int main(void)
{
    an_order_and_its_credit_note_are_two_rows_of_one_customer();
    lifted_events_give_the_same_rows_as_stored_ones();
    sales_to_nobody_in_particular_have_an_order_and_no_customer();
    an_adjustment_is_header_and_line_in_one_or_two_events();
    a_line_before_its_order_is_a_failure_that_says_so();
    a_price_that_is_no_decimal_is_named();
    a_field_that_is_missing_is_named();
    puts("all tests passed");
    return 0;
}

/* Keeps what a shop wants to know of its orders: one row an order, one a customer.
 *
 * It takes the events as they are stored, and in the form that `order-upcasters` lifts them to: with or without it the
 * rows are the same. Credit notes and adjustments are streams of their own and have rows of their own. A line names no
 * customer, so the handler looks at the row of the line's order.
 */
#include "../../sdk/c/lamphouse.h"

/* ---- Tables. Prices have up to three digits after the point, so sums do too. ---- */

enum { ORDERS, CUSTOMERS };

/* One row a stream: an order, a credit note or an adjustment. */
enum { ORDER_ID, ORDER_CUSTOMER_ID, COUNTRY, ORDER_LINES, ORDER_QUANTITY, TOTAL, STATUS, PLACED_AT };

static const lh_column ORDER_COLUMNS[] = {
    [ORDER_ID] = LH_TEXT("order_id", LH_KEY),
    [ORDER_CUSTOMER_ID] = LH_TEXT("customer_id", LH_NULLABLE),
    [COUNTRY] = LH_TEXT("country"),
    [ORDER_LINES] = LH_INTEGER("lines"),
    [ORDER_QUANTITY] = LH_INTEGER("quantity"),
    [TOTAL] = LH_DECIMAL("total", 3),
    /* placed, credited or adjusted */
    [STATUS] = LH_TEXT("status"),
    [PLACED_AT] = LH_TIMESTAMP("placed_at"),
};

/* One row a known customer. */
enum { CUSTOMER_ID, CUSTOMER_ORDERS, CUSTOMER_LINES, CUSTOMER_QUANTITY, NET, ORDERED, RETURNED };

static const lh_column CUSTOMER_COLUMNS[] = {
    [CUSTOMER_ID] = LH_TEXT("customer_id", LH_KEY),
    /* Streams: orders, credit notes and adjustments. */
    [CUSTOMER_ORDERS] = LH_INTEGER("orders", LH_INITIAL_INT(0)),
    [CUSTOMER_LINES] = LH_INTEGER("lines", LH_INITIAL_INT(0)),
    [CUSTOMER_QUANTITY] = LH_INTEGER("quantity", LH_INITIAL_INT(0)),
    [NET] = LH_DECIMAL("net", 3, LH_INITIAL_INT(0)),
    /* The lines of orders. */
    [ORDERED] = LH_DECIMAL("ordered", 3, LH_INITIAL_INT(0)),
    /* The lines of credit notes: negative. */
    [RETURNED] = LH_DECIMAL("returned", 3, LH_INITIAL_INT(0)),
};

static const lh_table TABLES[] = {
    [ORDERS] = LH_TABLE("orders", LH_COLUMNS(ORDER_COLUMNS)),
    [CUSTOMERS] = LH_TABLE("customers", LH_COLUMNS(CUSTOMER_COLUMNS)),
};

/* ---- What the events carry, as far as it is looked at ---- */

/* Header and line have the same places in AdjustmentPosted, which is both. */
enum { HEADER_CUSTOMER_ID, HEADER_COUNTRY, HEADER_FIELDS };

static const lh_field HEADER[] = {
    /* Null for sales to nobody in particular. */
    [HEADER_CUSTOMER_ID] = LH_FIELD_TEXT("/data/customer_id", LH_OPTIONAL),
    [HEADER_COUNTRY] = LH_FIELD_TEXT("/data/country"),
};

enum { QUANTITY, UNIT_PRICE, UNIT_PRICE_MINOR, MINOR_DIGITS };

static const lh_field LINE[] = {
    [QUANTITY] = LH_FIELD_INTEGER("/data/quantity"),
    /* In pounds: the stored form. */
    [UNIT_PRICE] = LH_FIELD_DECIMAL("/data/unit_price", LH_OPTIONAL),
    /* In pence: what order-upcasters makes of it. */
    [UNIT_PRICE_MINOR] = LH_FIELD_INTEGER("/data/unit_price_minor", LH_OPTIONAL),
    /* Digits after the point of unit_price_minor, where they are not two. */
    [MINOR_DIGITS] = LH_FIELD_INTEGER("/data/minor_digits", LH_OPTIONAL),
};

static const lh_field ADJUSTMENT[] = {
    LH_FIELD_TEXT("/data/customer_id", LH_OPTIONAL),
    LH_FIELD_TEXT("/data/country"),
    LH_FIELD_INTEGER("/data/quantity"),
    LH_FIELD_DECIMAL("/data/unit_price", LH_OPTIONAL),
    LH_FIELD_INTEGER("/data/unit_price_minor", LH_OPTIONAL),
    LH_FIELD_INTEGER("/data/minor_digits", LH_OPTIONAL),
};

/* ---- Handlers ---- */

/* A stream begins: its row, and one more stream of its customer. */
static lh_result open_stream(lh_call *call, const lh_event *event, const char *status)
{
    lh_value customer = event->fields[HEADER_CUSTOMER_ID];
    if (!lh_is_null(customer))
        lh_upsert(call, CUSTOMERS, LH_VALUES(customer), LH_CELLS(lh_add_int(CUSTOMER_ORDERS, 1)));
    return lh_put(call, ORDERS,
                  LH_ROW([ORDER_ID] = lh_of_text(event->stream_id), [ORDER_CUSTOMER_ID] = customer,
                         [COUNTRY] = event->fields[HEADER_COUNTRY], [ORDER_LINES] = lh_of_int(0),
                         [ORDER_QUANTITY] = lh_of_int(0), [TOTAL] = lh_of_int(0), [STATUS] = lh_of_str(status),
                         [PLACED_AT] = lh_of_timestamp(event->occurred_at)));
}

/* Price of one piece, in pounds. */
static bool unit_price(lh_call *call, const lh_value *line, lh_decimal *out)
{
    if (!lh_is_null(line[UNIT_PRICE])) {
        *out = line[UNIT_PRICE].decimal;
        return true;
    }
    if (lh_is_null(line[UNIT_PRICE_MINOR])) {
        lh_fail(call, "a line has neither unit_price nor unit_price_minor");
        return false;
    }
    int64_t digits = lh_is_null(line[MINOR_DIGITS]) ? 2 : line[MINOR_DIGITS].integer;
    if (digits >= 0 && digits <= 38) return lh_decimal_make(line[UNIT_PRICE_MINOR].integer, (unsigned)digits, out);
    lh_fail(call, "a price has %lld digits after the point", (long long)digits);
    return false;
}

/* A line: counted for its order, and for the order's customer where it is known. `by_kind` is the customer's column of
 * such lines, or NET for none. */
static lh_result count_line(lh_call *call, const lh_event *event, const lh_value *line, uint32_t by_kind)
{
    lh_decimal price, value;
    if (!unit_price(call, line, &price)) return LH_FAILED;
    if (!lh_decimal_times(price, line[QUANTITY].integer, &value))
        return lh_fail(call, "value of the line: more than 38 digits");

    const lh_value *order = lh_get(call, ORDERS, LH_VALUES(lh_of_text(event->stream_id)));
    if (order == NULL) return lh_fail(call, "a line came before its order");
    lh_value customer = order[ORDER_CUSTOMER_ID];

    lh_patch(
        call, ORDERS, LH_VALUES(lh_of_text(event->stream_id)),
        LH_CELLS(lh_add_int(ORDER_LINES, 1), lh_add(ORDER_QUANTITY, line[QUANTITY]), lh_add_decimal(TOTAL, value)));
    if (lh_is_null(customer)) return LH_OK;

    const lh_cell cells[] = {
        lh_add_int(CUSTOMER_LINES, 1),
        lh_add(CUSTOMER_QUANTITY, line[QUANTITY]),
        lh_add_decimal(NET, value),
        lh_add_decimal(by_kind, value),
    };
    return lh_upsert(call, CUSTOMERS, LH_VALUES(customer), cells, by_kind == NET ? 3 : 4);
}

static lh_result order_opened(lh_call *call, const lh_event *event) { return open_stream(call, event, "placed"); }
static lh_result credit_opened(lh_call *call, const lh_event *event) { return open_stream(call, event, "credited"); }
static lh_result adjustment_opened(lh_call *call, const lh_event *event)
{
    return open_stream(call, event, "adjusted");
}

static lh_result line_added(lh_call *call, const lh_event *event)
{
    return count_line(call, event, event->fields, ORDERED);
}
static lh_result line_returned(lh_call *call, const lh_event *event)
{
    return count_line(call, event, event->fields, RETURNED);
}
static lh_result line_adjusted(lh_call *call, const lh_event *event)
{
    return count_line(call, event, event->fields, NET);
}

/* One event that is header and line in one. */
static lh_result adjustment_posted(lh_call *call, const lh_event *event)
{
    open_stream(call, event, "adjusted");
    return count_line(call, event, event->fields + HEADER_FIELDS, NET);
}

static void want_order(lh_call *call, const lh_event *event)
{
    lh_want(call, ORDERS, LH_VALUES(lh_of_text(event->stream_id)));
}

static const lh_handler HANDLERS[] = {
    LH_ON("LineAdded", line_added, LH_FIELDS(LINE), LH_PREFETCH(want_order)),
    LH_ON("LineReturned", line_returned, LH_FIELDS(LINE), LH_PREFETCH(want_order)),
    LH_ON("LineAdjusted", line_adjusted, LH_FIELDS(LINE), LH_PREFETCH(want_order)),
    LH_ON("OrderPlaced", order_opened, LH_FIELDS(HEADER)),
    LH_ON("OrderCancelled", credit_opened, LH_FIELDS(HEADER)),
    LH_ON("CreditNoteIssued", credit_opened, LH_FIELDS(HEADER)),
    LH_ON("AdjustmentOpened", adjustment_opened, LH_FIELDS(HEADER)),
    LH_ON("AdjustmentPosted", adjustment_posted, LH_FIELDS(ADJUSTMENT)),
};

const lh_projector order_summary_c = {
    .name = "order-summary-c",
    .version = "1.0.0",
    LH_TABLES(TABLES),
    LH_HANDLERS(HANDLERS),
};

LH_PROJECTOR(order_summary_c)

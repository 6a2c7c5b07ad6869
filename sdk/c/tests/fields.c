/* Declared fields taken out of JSON, by the rules of sdk/contract/src/fields; and JSON as plugins read and write it. */
#include "golden.h"
#include "tests.h"

static const char *taken(const lh_field *fields, size_t count, const char *data, lh_value *values)
{
    lh_event event = {.event_type = lh_str("E"),
                      .data = lh_str(data),
                      .metadata = lh_str("{\"by\":{\"user\":\"ann\"},\"reason\":\"x\"}")};
    return lh_extract(&test_arena, &event, fields, count, values);
}

static void values_come_in_the_order_of_the_declaration(void)
{
    static const lh_field FIELDS[] = {
        LH_FIELD_DECIMAL("/data/price/amount"),
        LH_FIELD_INTEGER("/data/quantity"),
        LH_FIELD_TEXT("/metadata/by/user"),
        LH_FIELD_TEXT("/data/price/currency"),
        LH_FIELD_TIMESTAMP("/data/gone"),
        LH_FIELD_TEXT("/data/lines/1/sku"),
        LH_FIELD_BOOLEAN("/data/a~1b"),
        LH_FIELD_JSON("/data/rest"),
        LH_FIELD_REAL("/data/rate"),
        LH_FIELD_INTEGER("/data/"),
        LH_FIELD_INTEGER("/data/m~0n"),
    };
    static const char *const DUE[] = {
        "12.50", "3", "ann", "\xe2\x82\xac\xf0\x9f\x8f\xae\n", "null", "B", "true", "{\"x\": [1, 2]}", "2.0", "5", "6"};
    lh_value values[LH_LENGTH_(FIELDS)];
    const char *why =
        taken(FIELDS, LH_LENGTH_(FIELDS),
              "{\"rest\": {\"x\": [1, 2]} , \"quantity\":3,\"other\":{\"quantity\":\"no\"},\"a/b\":true,\"rate\":2,"
              "\"price\":{\"currency\":\"\\u20ac\\ud83c\\udfee\\n\",\"amount\":\"12.50\"},"
              "\"lines\":[{\"sku\":\"A\"},{\"sku\":\"B\"}],\"gone\":null,\"\":5,\"m~n\":6}",
              values);
    LH_CHECK(why == NULL);
    for (size_t i = 0; i < LH_LENGTH_(FIELDS); i++) LH_EXPECT(values[i], DUE[i]);
    static const lh_field WHOLE[] = {LH_FIELD_JSON("/data")};
    LH_CHECK(taken(WHOLE, 1, " [1] ", values) == NULL);
    LH_EXPECT(values[0], "[1]");
    LH_CHECK(taken(NULL, 0, "not even JSON", values) == NULL);
}

static void what_is_not_as_declared_is_said(void)
{
    static const struct {
        lh_kind kind;
        const char *json;
        bool fine;
    } CASES[] = {
        {LH_KIND_INTEGER, "1.0", false},
        {LH_KIND_INTEGER, "9223372036854775807", true},
        {LH_KIND_INTEGER, "-9223372036854775808", true},
        {LH_KIND_INTEGER, "9223372036854775808", false},
        {LH_KIND_INTEGER, "\"1\"", false},
        {LH_KIND_INTEGER, "01", false},
        {LH_KIND_INTEGER, "1e2", false},
        {LH_KIND_INTEGER, "-0", false},
        {LH_KIND_INTEGER, "true", false},
        {LH_KIND_INTEGER, "+1", false},
        {LH_KIND_DECIMAL, "1.5", false},
        {LH_KIND_DECIMAL, "18446744073709551615", true},
        {LH_KIND_DECIMAL, "18446744073709551616", false},
        {LH_KIND_DECIMAL, "\"1e3\"", false},
        {LH_KIND_DECIMAL, "\"99999999999999999999999999999999999999\"", true},
        {LH_KIND_DECIMAL, "-5", true},
        {LH_KIND_TEXT, "7", false},
        {LH_KIND_TEXT, "\"\\ud800\"", false},
        {LH_KIND_TEXT, "\"\\x\"", false},
        {LH_KIND_TEXT, "\"a\nb\"", false},
        {LH_KIND_TEXT, "\"\\u0000\"", true},
        {LH_KIND_TEXT, "[\"a\"]", false},
        {LH_KIND_BOOLEAN, "{}", false},
        {LH_KIND_BOOLEAN, "false", true},
        {LH_KIND_BOOLEAN, "tru", false},
        {LH_KIND_TIMESTAMP, "\"yesterday\"", false},
        {LH_KIND_TIMESTAMP, "\"2011-08-12T13:50:00Z\"", true},
        {LH_KIND_REAL, "[]", false},
        {LH_KIND_REAL, "1e400", false},
        {LH_KIND_REAL, "1e-400", true},
        {LH_KIND_REAL, "-0", true},
        {LH_KIND_REAL, "1.", false},
        {LH_KIND_REAL, ".5", false},
        {LH_KIND_JSON, "[1,2", false},
        {LH_KIND_JSON, "{\"a\":}", false},
        {LH_KIND_JSON, "[1,]", false},
        {LH_KIND_JSON, "{\"a\":[{\"b\":[]}]}", true},
        {LH_KIND_JSON, "", false},
        {LH_KIND_TEXT, "null", true},
    };
    for (size_t i = 0; i < LH_LENGTH_(CASES); i++) {
        const lh_field field[] = {{.kind = CASES[i].kind, .path = "/data/f"}};
        lh_value value;
        const char *why = taken(field, 1, lh_arena_format(&test_arena, "{\"f\":%s}", CASES[i].json), &value);
        if ((why == NULL) != CASES[i].fine)
            lh_test_ends("%s of kind %d: %s", CASES[i].json, CASES[i].kind, why == NULL ? "taken" : why);
        LH_CHECK(why == NULL || strncmp(why, "data of E: ", 11) == 0);
        /* The check of values, which the database must keep, is no laxer about what is JSON at all. */
        bool kept = lh_json_check(&test_arena, lh_str(CASES[i].json), LH_JSON_DEPTH_MAX) == NULL;
        LH_CHECK(!kept || CASES[i].kind != LH_KIND_JSON || CASES[i].fine);
    }
    static const lh_field F[] = {LH_FIELD_INTEGER("/data/f")}, G[] = {LH_FIELD_INTEGER("/data/f/g")};
    lh_value value;
    LH_CHECK(strstr(taken(F, 1, "{\"f\":1,\"f\":2}", &value), "comes twice") != NULL);
    LH_CHECK(strstr(taken(F, 1, "{\"f\":1} 2", &value), "text after the value") != NULL);
    LH_CHECK(strstr(taken(G, 1, "{\"f\":1}", &value), "an object with 'g'") != NULL);
    LH_CHECK(taken(G, 1, "null", &value) == NULL && lh_is_null(value));
}

static void paths_that_are_none_are_refused(void)
{
    static const lh_field BAD[][2] = {
        {LH_FIELD_TEXT("/n"), LH_FIELD_TEXT("/data/b")},        {LH_FIELD_TEXT("/data/~2"), LH_FIELD_TEXT("/data/b")},
        {LH_FIELD_TEXT("/data/n"), LH_FIELD_TEXT("/data/n/m")}, {LH_FIELD_TEXT("/data/n/m"), LH_FIELD_TEXT("/data/n")},
        {LH_FIELD_TEXT("/data/n"), LH_FIELD_TEXT("/data/n")},   {LH_FIELD_TEXT("/database"), LH_FIELD_TEXT("/data/b")},
    };
    for (size_t i = 0; i < LH_LENGTH_(BAD); i++) LH_CHECK(lh_fields_error(&test_arena, BAD[i], 2) != NULL);
    static const lh_field GOOD[] = {LH_FIELD_TEXT("/data/n"), LH_FIELD_TEXT("/data/nm"), LH_FIELD_TEXT("/metadata")};
    LH_CHECK(lh_fields_error(&test_arena, GOOD, 3) == NULL);
}

/* ---- Reading and writing ---- */

static lh_call new_call(void) { return (lh_call){.scope = {.arena = &test_arena}}; }

static void json_is_read_from_front_to_back(void)
{
    lh_call call = new_call();
    lh_json json = lh_json_open(&call, lh_str("{\"skip\":[1,{}],\"sku\":\"A1\",\"lines\":[{\"n\":1},null,{\"n\":3}],"
                                              "\"big\":9007199254740993,\"none\":null}"));
    lh_text name;
    lh_value sku = lh_null(), big = lh_null();
    int64_t sum = 0;
    size_t lines = 0;
    LH_CHECK(lh_json_peek(&json) == '{');
    lh_json_enter(&json, '{');
    while (lh_json_next(&json, &name)) {
        if (lh_is(name, "sku")) sku = lh_json_value(&json, LH_KIND_TEXT);
        if (lh_is(name, "big")) big = lh_json_value(&json, LH_KIND_INTEGER);
        if (lh_is(name, "none")) {
            lh_json_enter(&json, '[');
            while (lh_json_next(&json, NULL)) LH_CHECK(false);
        }
        if (!lh_is(name, "lines")) continue;
        lh_json_enter(&json, '[');
        while (lh_json_next(&json, NULL)) {
            lines++;
            lh_json_enter(&json, '{');
            while (lh_json_next(&json, &name)) sum += lh_json_value(&json, LH_KIND_INTEGER).integer;
        }
    }
    LH_EXPECT(sku, "A1");
    LH_EXPECT(big, "9007199254740993");
    LH_CHECK(lines == 3 && sum == 4 && !lh_has_failed(&call));
    /* A scalar alone. */
    json = lh_json_open(&call, lh_str(" 7 "));
    LH_EXPECT(lh_json_value(&json, LH_KIND_INTEGER), "7");
    LH_CHECK(!lh_has_failed(&call));
}

static void json_that_is_none_ends_every_loop(void)
{
    static const char *const BAD[] = {"{\"a\":1", "{\"a\" 1}",   "[1 2]", "{\"a\":[1,2}", "{} x",
                                      "",         "{\"a\":tru}", "[1,",   "{a:1}"};
    for (size_t i = 0; i < LH_LENGTH_(BAD); i++) {
        lh_call call = new_call();
        lh_json json = lh_json_open(&call, lh_str(BAD[i]));
        size_t turns = 0;
        lh_text name;
        lh_json_enter(&json, lh_json_peek(&json) == '[' ? '[' : '{');
        while (lh_json_next(&json, &name) && ++turns < 10) {
            if (lh_json_peek(&json) != '[') continue;
            lh_json_enter(&json, '[');
            while (lh_json_next(&json, NULL) && ++turns < 10) lh_json_value(&json, LH_KIND_INTEGER);
        }
        LH_CHECK(turns < 10 && lh_has_failed(&call));
    }
}

static void json_is_written(void)
{
    lh_call call = new_call();
    lh_decimal price;
    LH_CHECK(lh_decimal_parse(lh_str("2.50"), &price));
    lh_writer *writer = lh_writer_new(&call);
    lh_write_object(writer, NULL);
    lh_write(writer, "sku", lh_of_str("A\"1\\\n\x01/\xc3\xa9"));
    lh_write(writer, "price", lh_of_decimal(price));
    lh_write_array(writer, "all");
    lh_write(writer, NULL, lh_of_int(INT64_MIN));
    lh_write(writer, NULL, lh_null());
    lh_write(writer, NULL, lh_of_bool(true));
    lh_write(writer, NULL, lh_of_real(0.1));
    lh_write(writer, NULL, lh_of_real(1));
    lh_write(writer, NULL, lh_of_timestamp((lh_timestamp){1}));
    lh_write(writer, NULL, lh_of_bytes("\x00\xff", 2));
    lh_write_object(writer, NULL);
    lh_write_end(writer);
    lh_write_end(writer);
    lh_write(writer, "raw", lh_of_json(lh_str("[1]")));
    lh_text text = lh_written(writer);
    LH_CHECK(lh_is(
        text, "{\"sku\":\"A\\\"1\\\\\\n\\u0001/\xc3\xa9\",\"price\":\"2.50\",\"all\":[-9223372036854775808,null,true,"
              "0.1,1.0,\"1970-01-01T00:00:00.000001Z\",\"00ff\",{}],\"raw\":[1]}"));
    LH_CHECK(!lh_has_failed(&call));
    lh_write(writer, NULL, lh_of_int(1));
    LH_CHECK(lh_has_failed(&call));
}

static void texts_are_utf8(void)
{
    static const char *const GOOD[] = {
        "", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8f\xae", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"};
    static const char *const BAD[] = {
        "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "a\xe2\x82"};
    for (size_t i = 0; i < LH_LENGTH_(GOOD); i++) LH_CHECK(lh_is_utf8(GOOD[i], strlen(GOOD[i])));
    for (size_t i = 0; i < LH_LENGTH_(BAD); i++) LH_CHECK(!lh_is_utf8(BAD[i], strlen(BAD[i])));
}

void fields_tests(void)
{
    values_come_in_the_order_of_the_declaration();
    what_is_not_as_declared_is_said();
    paths_that_are_none_are_refused();
    json_is_read_from_front_to_back();
    json_that_is_none_ends_every_loop();
    json_is_written();
    texts_are_utf8();
}

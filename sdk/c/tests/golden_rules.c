/* The golden vectors of wit/golden that hold rules: what changes make of rows, declarations, numbers and moments. */
#include "golden.h"

#include "../lh_memory.h"

void same_value(lh_value one, lh_value other, const char *what)
{
    bool same = lh_value_same(one, other);
    if (one.kind == LH_KIND_DECIMAL) same = same && one.decimal.scale == other.decimal.scale;
    /* 0 and -0 are two forms, of which rows have one. */
    if (one.kind == LH_KIND_REAL) same = same && memcmp(&one.real, &other.real, sizeof one.real) == 0;
    if (!same)
        lh_test_ends("%s: %s where %s is due", what, lh_describe_value(&test_arena, one),
                     lh_describe_value(&test_arena, other));
}

lh_result project_nothing(lh_call *call, const lh_event *event)
{
    (void)call, (void)event;
    return LH_OK;
}

static lh_initial initial_of(lh_text json)
{
    lh_value value = value_of(json);
    char *written = lh_arena_alloc(&test_arena, LH_TIMESTAMP_TEXT_MAX);
    lh_initial out = {.kind = value.kind};
    switch (value.kind) {
    case LH_KIND_NULL: break;
    case LH_KIND_BOOLEAN: out.integer = value.boolean; break;
    case LH_KIND_INTEGER: out.integer = value.integer; break;
    case LH_KIND_REAL: out.real = value.real; break;
    case LH_KIND_DECIMAL: out.len = lh_decimal_text(value.decimal, written); break;
    case LH_KIND_TIMESTAMP: out.len = lh_timestamp_text(value.timestamp, written); break;
    default: out.text = value.text.ptr; out.len = value.text.len;
    }
    if (out.text == NULL) out.text = written;
    return out;
}

/* A table of a golden file; false where C cannot declare such a one at all: a key column named twice or not there, a
 * null as initial value of a column that has none. */
static bool table_of(lh_text json, lh_table *out)
{
    lh_text columns = member(json, "columns"), key = member(json, "primary_key"), indexes = member(json, "indexes");
    size_t count = length(columns);
    lh_column *list = lh_arena_alloc(&test_arena, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        lh_text column = element(columns, i), scale = member(column, "scale"), initial = member(column, "initial");
        list[i] = (lh_column){.kind = kind_of(member(column, "type")),
                              .name = c_str_of(member(column, "name")),
                              .scale = (uint8_t)(is_null(scale) ? 0 : int_of(scale)),
                              .nullable = lh_is(member(column, "nullable"), "true")};
        if (is_null(initial)) continue;
        list[i].initial = initial_of(initial);
        if (list[i].initial.kind == LH_KIND_NULL && !list[i].nullable) return false;
    }
    int64_t before = -1;
    for (size_t i = 0; i < length(key) && count > 0; i++) {
        int64_t column = int_of(element(key, i));
        if (column <= before || column >= (int64_t)count) return false;
        before = column;
        list[column].key = true;
    }
    lh_index *index = lh_arena_alloc(&test_arena, (length(indexes) + 1) * sizeof *index);
    for (size_t i = 0; i < length(indexes); i++) {
        lh_text of = element(indexes, i);
        if (length(of) > LH_INDEX_COLUMNS_MAX) return false;
        index[i] = (lh_index){.count = length(of)};
        for (size_t c = 0; c < length(of); c++) index[i].columns[c] = (uint32_t)int_of(element(of, c));
    }
    *out = (lh_table){.name = c_str_of(member(json, "name")),
                      .columns = list,
                      .column_count = count,
                      .indexes = index,
                      .index_count = length(indexes)};
    return true;
}

static void rules(lh_text file)
{
    lh_text first = element(file, 0), old = element(member(first, "rows"), 0);
    lh_table table;
    lh_shape shape;
    lh_scope scope = {.arena = &test_arena};
    if (!table_of(member(first, "table"), &table) || !lh_shape_make(&scope, &table, &shape))
        lh_test_ends("rules.json: no table");
    for (size_t i = 1; i < length(file); i++) {
        lh_text vector = element(file, i), fault = member(vector, "fault"), due = member(vector, "rows");
        const char *what = lh_arena_format(&test_arena, "rules.json, vector %zu", i);
        lh_change before = {.operation = LH_PUT}, change = change_of(member(vector, "change"));
        before.values = values_of(old, &before.value_count);
        lh_memory *memory = lh_memory_new(&shape, 1);
        scope = (lh_scope){.arena = &test_arena};
        if (!lh_memory_change(memory, &scope, &before)) lh_test_ends("rules.json: %s", scope.why);
        bool fine = lh_memory_change(memory, &scope, &change);
        if (fine != is_null(fault)) lh_test_ends("%s: %s", what, fine ? "a fault was overlooked" : scope.why);
        lh_rows rows = lh_memory_find(memory, 0, NULL, NULL, 0, NULL, UINT32_MAX);
        if (fine && rows.count != length(due)) lh_test_ends("%s: %zu rows", what, rows.count);
        for (size_t r = 0; fine && r < rows.count; r++)
            for (size_t c = 0; c < shape.column_count; c++)
                same_value(rows.rows[r][c], value_of(element(element(due, r), c)), what);
        lh_memory_free(memory);
    }
}

static lh_handler handler_of(lh_text json)
{
    lh_text event_type = member(json, "event_type"), stream_type = member(json, "stream_type");
    lh_text versions = member(json, "schema_versions");
    uint32_t *list = lh_arena_alloc(&test_arena, (length(versions) + 1) * sizeof *list);
    for (size_t i = 0; i < length(versions); i++) list[i] = (uint32_t)int_of(element(versions, i));
    return (lh_handler){.event_type = is_null(event_type) ? NULL : c_str_of(event_type),
                        .project = project_nothing,
                        .stream_type = is_null(stream_type) ? NULL : c_str_of(stream_type),
                        .schema_versions = list,
                        .schema_version_count = length(versions)};
}

static void declarations(lh_text file)
{
    size_t judged = 0;
    for (size_t i = 0; i < length(file); i++) {
        lh_text plugin = member(element(file, i), "plugin"), errors = member(element(file, i), "errors");
        lh_text tables = member(plugin, "tables"), subscriptions = member(plugin, "subscriptions");
        lh_table *table = lh_arena_alloc(&test_arena, (length(tables) + 1) * sizeof *table);
        lh_handler *handler = lh_arena_alloc(&test_arena, (length(subscriptions) + 1) * sizeof *handler);
        bool sayable = true;
        for (size_t t = 0; t < length(tables); t++) sayable = sayable && table_of(element(tables, t), &table[t]);
        for (size_t s = 0; s < length(subscriptions); s++) handler[s] = handler_of(element(subscriptions, s));
        if (!sayable) continue;
        judged++;
        lh_projector projector = {.name = c_str_of(member(plugin, "name")),
                                  .version = c_str_of(member(plugin, "version")),
                                  .tables = table,
                                  .table_count = length(tables),
                                  .handlers = handler,
                                  .handler_count = length(subscriptions)};
        const char *why = lh_check_projector(&test_arena, &projector);
        if ((why == NULL) != (length(errors) == 0))
            lh_test_ends("declarations.json, vector %zu: %s", i, why == NULL ? "what is wrong was overlooked" : why);
    }
    if (judged + 3 < length(file)) lh_test_ends("declarations.json: only %zu of %zu were judged", judged, length(file));
}

static lh_decimal decimal_of(lh_text json)
{
    lh_decimal number;
    if (!lh_decimal_parse(text_of(json), &number)) lh_test_ends("decimals.json: no decimal");
    return number;
}

static void decimals(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_text vector = element(file, i), name = first_name(vector), input = element(vector, 0),
                due = member(vector, "is");
        lh_decimal result = {0, 0, 0};
        bool fine;
        if (lh_is(name, "parse")) {
            fine = lh_decimal_parse(text_of(input), &result);
        } else {
            lh_decimal one = decimal_of(element(input, 0));
            lh_text second = element(input, 1);
            if (lh_is(name, "compare")) {
                if (lh_decimal_compare(one, decimal_of(second)) != int_of(due))
                    lh_test_ends("decimals.json, vector %zu: another order", i);
                continue;
            }
            if (lh_is(name, "add"))
                fine = lh_decimal_add(one, decimal_of(second), &result);
            else if (lh_is(name, "times"))
                fine = lh_decimal_times(one, int_of(second), &result);
            else if (lh_is(name, "rescale"))
                fine = lh_decimal_rescale(one, (unsigned)int_of(second), &result);
            else
                lh_test_ends("decimals.json: what is '%.*s'?", (int)name.len, name.ptr);
        }
        char text[LH_DECIMAL_TEXT_MAX];
        lh_decimal_text(result, text);
        if (fine == is_null(due) || (fine && !lh_is(text_of(due), text)))
            lh_test_ends("decimals.json, vector %zu: %s", i, fine ? text : "none");
    }
}

static void timestamps(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_text vector = element(file, i), micros = member(vector, "micros");
        lh_timestamp at = {0};
        bool fine = lh_timestamp_parse(text_of(member(vector, "text")), &at);
        char text[LH_TIMESTAMP_TEXT_MAX];
        lh_timestamp_text(at, text);
        if (fine == is_null(micros)) lh_test_ends("timestamps.json, vector %zu: a moment, or none", i);
        if (fine && (at.micros != int_of(micros) || !lh_is(text_of(member(vector, "canonical")), text)))
            lh_test_ends("timestamps.json, vector %zu: %s", i, text);
    }
}

static void random_numbers(lh_text file)
{
    for (size_t i = 0; i < length(file); i++) {
        lh_text vector = element(file, i), next = member(vector, "next_u64"), below = member(vector, "below_6");
        lh_event event = {.id = text_of(member(vector, "id")), .part = (uint32_t)int_of(member(vector, "part"))};
        lh_random random = lh_event_random(&event);
        char uuid[37];
        bool same = true;
        for (size_t n = 0; n < length(next); n++) {
            lh_text number = lh_str(lh_arena_format(&test_arena, "%llu", (unsigned long long)lh_random_next(&random)));
            same = same && lh_same(number, text_of(element(next, n)));
        }
        for (size_t n = 0; n < length(below); n++)
            same = same && lh_random_below(&random, 6) == (uint64_t)int_of(element(below, n));
        same = same &&
               lh_random_below(&random, UINT64_C(1) << 63) == (uint64_t)int_of(member(vector, "below_2_to_the_63"));
        same = same && lh_random_below(&random, 0) == (uint64_t)int_of(member(vector, "below_0"));
        same = same && lh_random_fraction(&random) == real_of(member(vector, "fraction"));
        lh_random_uuid(&random, uuid);
        if (!same || !lh_is(text_of(member(vector, "uuid")), uuid))
            lh_test_ends("random.json, vector %zu: other numbers", i);
    }
}

void golden_rules(const char *folder)
{
    rules(file_text(folder, "rules.json"));
    declarations(file_text(folder, "declarations.json"));
    decimals(file_text(folder, "decimals.json"));
    timestamps(file_text(folder, "timestamps.json"));
    random_numbers(file_text(folder, "random.json"));
}

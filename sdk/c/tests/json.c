#include "json.h"

#include <stdio.h>
#include <stdlib.h>

lh_arena test_arena;

lh_text file_text(const char *folder, const char *name)
{
    const char *path = lh_arena_format(&test_arena, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) lh_test_ends("%s cannot be opened", path);
    lh_buffer out = {.arena = &test_arena};
    char part[4096];
    for (size_t len; (len = fread(part, 1, sizeof part, file)) > 0;) lh_buffer_add(&out, part, len);
    fclose(file);
    lh_text text = {(const char *)out.bytes, out.len};
    const char *wrong = lh_json_check(&test_arena, text, LH_JSON_DEPTH_MAX);
    /* A golden file may hold what databases do not keep. */
    if (wrong != NULL && strstr(wrong, "databases") == NULL) lh_test_ends("%s: %s", path, wrong);
    return text;
}

static lh_scan scan_of(lh_text json)
{
    return (lh_scan){.start = json.ptr, .at = json.ptr, .end = json.ptr + json.len, .arena = &test_arena};
}

/* Goes through an object or array; stops at the member of this name, or at this place. */
static lh_text find(lh_text json, const char *name, size_t place, lh_text *found_name, size_t *count)
{
    lh_scan scan = scan_of(json);
    char open = lh_scan_peek(&scan), close = open == '{' ? '}' : ']';
    *count = 0;
    if (open != '{' && open != '[') lh_test_ends("no object and no array: %.*s", (int)json.len, json.ptr);
    scan.at++;
    while (lh_scan_peek(&scan) != close) {
        *found_name = (lh_text){"", 0};
        if (*scan.at == ',') scan.at++;
        if (open == '{') lh_scan_name(&scan, found_name);
        lh_scan_peek(&scan);
        lh_text value = {scan.at, 0};
        if (!lh_scan_skip(&scan)) lh_test_ends("JSON: %s", scan.why);
        value.len = (size_t)(scan.at - value.ptr);
        if (name != NULL ? lh_is(*found_name, name) : *count == place) return value;
        ++*count;
    }
    return (lh_text){NULL, 0};
}

lh_text member(lh_text object, const char *name)
{
    lh_text found;
    size_t count;
    return find(object, name, 0, &found, &count);
}

lh_text element(lh_text array, size_t place)
{
    lh_text found;
    size_t count;
    return find(array, NULL, place, &found, &count);
}

size_t length(lh_text array)
{
    lh_text found;
    size_t count;
    find(array, NULL, SIZE_MAX, &found, &count);
    return count;
}

lh_text first_name(lh_text object)
{
    lh_text found;
    size_t count;
    find(object, NULL, 0, &found, &count);
    return found;
}

bool is_null(lh_text json) { return json.ptr == NULL || lh_is(json, "null"); }

lh_text text_of(lh_text json)
{
    lh_scan scan = scan_of(json);
    lh_text text;
    if (json.ptr == NULL || !lh_scan_string(&scan, &text)) lh_test_ends("no text: %.*s", (int)json.len, json.ptr);
    return text;
}

char *c_str_of(lh_text json)
{
    lh_text text = text_of(json);
    return lh_arena_copy(&test_arena, text.ptr, text.len);
}

int64_t int_of(lh_text json)
{
    if (json.len > 0 && json.ptr[0] == '"') json = text_of(json);
    lh_decimal number;
    int64_t integer;
    if (!lh_decimal_parse(json, &number) || !lh_decimal_rescale(number, 0, &number) ||
        !lh_decimal_mantissa(number, &integer))
        lh_test_ends("no integer: %.*s", (int)json.len, json.ptr);
    return integer;
}

double real_of(lh_text json) { return strtod(lh_arena_copy(&test_arena, json.ptr, json.len), NULL); }

lh_bytes bytes_of(lh_text json)
{
    lh_text digits = text_of(json);
    uint8_t *bytes = lh_arena_alloc(&test_arena, digits.len / 2 + 1);
    for (size_t i = 0; i + 1 < digits.len; i += 2) {
        char pair[3] = {digits.ptr[i], digits.ptr[i + 1], 0};
        bytes[i / 2] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return (lh_bytes){bytes, digits.len / 2};
}

lh_kind kind_of(lh_text json)
{
    static const char *const NAMES[] = {"null", "boolean", "integer",   "real", "decimal",
                                        "text", "bytes",   "timestamp", "json"};
    for (size_t i = 0; i < LH_LENGTH_(NAMES); i++)
        if (lh_is(text_of(json), NAMES[i])) return (lh_kind)i;
    lh_test_ends("type %.*s is unknown", (int)json.len, json.ptr);
}

lh_value value_of(lh_text json)
{
    lh_text value = member(json, "value");
    lh_value out = {.kind = kind_of(member(json, "type"))};
    switch (out.kind) {
    case LH_KIND_NULL: break;
    case LH_KIND_BOOLEAN: out.boolean = lh_is(value, "true"); break;
    case LH_KIND_INTEGER: out.integer = int_of(value); break;
    case LH_KIND_REAL: out.real = real_of(value); break;
    case LH_KIND_TIMESTAMP: out.timestamp.micros = int_of(value); break;
    case LH_KIND_BYTES: out.bytes = bytes_of(value); break;
    case LH_KIND_TEXT:
    case LH_KIND_JSON: out.text = text_of(value); break;
    case LH_KIND_DECIMAL:
        if (!lh_decimal_parse(text_of(value), &out.decimal)) lh_test_ends("no decimal");
    }
    return out;
}

lh_value *values_of(lh_text json, size_t *count)
{
    *count = length(json);
    lh_value *values = lh_arena_alloc(&test_arena, (*count + 1) * sizeof *values);
    for (size_t i = 0; i < *count; i++) values[i] = value_of(element(json, i));
    return values;
}

/* What plugins read and write JSON with. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lh_internal.h"

/* ---- The pull reader ---- */

lh_json lh_json_open(lh_call *call, lh_text text)
{
    return (lh_json){
        .call = call, .start = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .due = true, .place = call->place};
}

static bool stop(lh_json *json, const char *why)
{
    lh_violate(&json->call->scope, "JSON, at byte %zu: %s", (size_t)(json->at - json->start), why);
    lh_fine(json->call, false, json->place);
    json->at = json->end;
    json->due = false;
    json->empty = true;
    return false;
}

static lh_scan scan_of(const lh_json *json)
{
    return (lh_scan){.start = json->start, .at = json->at, .end = json->end, .arena = json->call->scope.arena};
}

/* Takes over where a scan came to. */
static bool scanned(lh_json *json, const lh_scan *scan, bool fine)
{
    json->at = scan->at;
    return fine || stop(json, scan->why);
}

/* Whether a value, which has ended, was the whole text's. */
static bool ended(lh_json *json)
{
    json->due = false;
    if (json->depth > 0) return true;
    lh_scan scan = scan_of(json);
    lh_scan_peek(&scan);
    return scanned(json, &scan, scan.at == scan.end || lh_scan_error(&scan, "text after the value"));
}

char lh_json_peek(lh_json *json)
{
    if (!json->due) return 0;
    lh_scan scan = scan_of(json);
    char first = lh_scan_peek(&scan);
    json->at = scan.at;
    if (first == 'f') return 't';
    return first == '-' || (first >= '0' && first <= '9') ? '0' : first;
}

bool lh_json_enter(lh_json *json, char open)
{
    if (json->empty && !json->due) return false;
    if (!json->due) return stop(json, "no value is due here: call lh_json_next before");
    lh_scan scan = scan_of(json);
    char first = lh_scan_peek(&scan);
    if (first == 'n') {
        if (!scanned(json, &scan, lh_scan_skip(&scan)) || !ended(json)) return false;
        json->empty = true;
        return true;
    }
    json->at = scan.at;
    if (first != open) return stop(json, open == '{' ? "expected an object" : "expected an array");
    if (json->depth == 128) return stop(json, "nested more than 128 deep");
    uint64_t bit = UINT64_C(1) << (json->depth % 64), *bits = &json->open[json->depth / 64];
    *bits = open == '{' ? *bits | bit : *bits & ~bit;
    json->depth++;
    json->at++;
    json->due = false;
    json->first = true;
    return true;
}

bool lh_json_next(lh_json *json, lh_text *name)
{
    if (name != NULL) *name = (lh_text){"", 0};
    lh_scan scan = scan_of(json);
    if (json->due) {
        if (!scanned(json, &scan, lh_scan_skip(&scan))) return false;
        json->due = false;
    }
    if (json->empty || json->depth == 0) {
        json->empty = false;
        return false;
    }
    bool object = json->open[(json->depth - 1) / 64] >> ((json->depth - 1) % 64) & 1;
    char next = lh_scan_peek(&scan);
    json->at = scan.at;
    if (next == (object ? '}' : ']')) {
        json->at++;
        json->depth--;
        json->first = false;
        ended(json);
        return false;
    }
    if (!json->first) {
        if (next != ',') return stop(json, object ? "expected ',' or '}'" : "expected ',' or ']'");
        scan.at++;
    }
    json->first = false;
    lh_text found = {"", 0};
    if (!scanned(json, &scan, !object || lh_scan_name(&scan, &found))) return false;
    if (name != NULL) *name = found;
    json->due = true;
    return true;
}

lh_value lh_json_value(lh_json *json, lh_kind kind)
{
    lh_value value = lh_null();
    if (!json->due) {
        if (!json->empty) stop(json, "no value is due here: call lh_json_next before");
        return value;
    }
    lh_scan scan = scan_of(json);
    bool fine = scanned(json, &scan, lh_scan_field(&scan, kind, &value)) && ended(json);
    return fine ? value : lh_null();
}

/* ---- Writing ---- */

struct lh_writer {
    lh_call *call;
    /* Where it was made, for messages. */
    lh_place_ place;
    lh_buffer out;
    uint32_t depth;
    /* By depth: whether an object is open, and whether it has members. */
    uint8_t open[LH_JSON_DEPTH_MAX + 1];
};

enum { IS_OBJECT = 1, HAS_MEMBERS = 2 };

void lh_json_quote(lh_buffer *out, lh_text text)
{
    lh_buffer_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        const char *at = c == 0 ? NULL : strchr("\"\"\\\\\bb\ff\nn\rr\tt", c);
        if (c == '"' || c == '\\') {
            lh_buffer_byte(out, '\\');
            lh_buffer_byte(out, c);
        } else if (c >= 0x20) {
            lh_buffer_byte(out, c);
        } else if (at != NULL) {
            lh_buffer_byte(out, '\\');
            lh_buffer_byte(out, (uint8_t)at[1]);
        } else {
            char escape[8];
            lh_buffer_add(out, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        }
    }
    lh_buffer_byte(out, '"');
}

size_t lh_real_text(double number, char out[40])
{
    int len = 0;
    for (int digits = 15; digits <= 17; digits++) {
        len = snprintf(out, 40, "%.*g", digits, number);
        if (strtod(out, NULL) == number) break;
    }
    if (isfinite(number) && strpbrk(out, ".e") == NULL) len += snprintf(out + len, 4, ".0");
    return (size_t)len;
}

lh_writer *lh_writer_new(lh_call *call)
{
    lh_writer *writer = lh_alloc(call, sizeof *writer);
    *writer = (lh_writer){.call = call, .place = call->place, .out = {.arena = call->scope.arena}};
    return writer;
}

static bool wrong(lh_writer *writer, const char *why)
{
    lh_violate(&writer->call->scope, "writing JSON: %s", why);
    return lh_fine(writer->call, false, writer->place);
}

/* What stands before a value: a comma, and in an object the name. */
static bool begin(lh_writer *writer, const char *name)
{
    uint8_t *open = &writer->open[writer->depth];
    bool object = *open & IS_OBJECT;
    if (object && name == NULL) return wrong(writer, "a member of an object has a name");
    if (!object && name != NULL) return wrong(writer, "a name outside an object");
    if (writer->depth == 0 && *open & HAS_MEMBERS) return wrong(writer, "there is one value outermost");
    if (*open & HAS_MEMBERS) lh_buffer_byte(&writer->out, ',');
    *open |= HAS_MEMBERS;
    if (object) {
        lh_json_quote(&writer->out, lh_str(name));
        lh_buffer_byte(&writer->out, ':');
    }
    return true;
}

static void open_one(lh_writer *writer, const char *name, bool object)
{
    if (!begin(writer, name)) return;
    if (writer->depth == LH_JSON_DEPTH_MAX) {
        wrong(writer, "nested more than 128 deep");
        return;
    }
    lh_buffer_byte(&writer->out, object ? '{' : '[');
    writer->open[++writer->depth] = object ? IS_OBJECT : 0;
}

void lh_write_object(lh_writer *writer, const char *name) { open_one(writer, name, true); }
void lh_write_array(lh_writer *writer, const char *name) { open_one(writer, name, false); }

void lh_write_end(lh_writer *writer)
{
    if (writer->depth == 0) return;
    lh_buffer_byte(&writer->out, writer->open[writer->depth--] & IS_OBJECT ? '}' : ']');
}

void lh_write(lh_writer *writer, const char *name, lh_value value)
{
    char text[LH_TIMESTAMP_TEXT_MAX];
    if (!begin(writer, name)) return;
    switch (value.kind) {
    case LH_KIND_NULL: lh_buffer_str(&writer->out, "null"); return;
    case LH_KIND_BOOLEAN: lh_buffer_str(&writer->out, value.boolean ? "true" : "false"); return;
    case LH_KIND_INTEGER:
        snprintf(text, sizeof text, "%lld", (long long)value.integer);
        lh_buffer_str(&writer->out, text);
        return;
    case LH_KIND_REAL:
        if (!isfinite(value.real)) wrong(writer, "a number is not finite");
        lh_real_text(value.real, text);
        lh_buffer_str(&writer->out, text);
        return;
    case LH_KIND_DECIMAL: lh_json_quote(&writer->out, (lh_text){text, lh_decimal_text(value.decimal, text)}); return;
    case LH_KIND_TIMESTAMP:
        lh_json_quote(&writer->out, (lh_text){text, lh_timestamp_text(value.timestamp, text)});
        return;
    case LH_KIND_TEXT:
        if (!lh_is_utf8(value.text.ptr, value.text.len)) wrong(writer, "a text is not UTF-8");
        lh_json_quote(&writer->out, value.text);
        return;
    case LH_KIND_BYTES:
        lh_buffer_byte(&writer->out, '"');
        for (size_t i = 0; i < value.bytes.len; i++) {
            snprintf(text, sizeof text, "%02x", value.bytes.ptr[i]);
            lh_buffer_str(&writer->out, text);
        }
        lh_buffer_byte(&writer->out, '"');
        return;
    case LH_KIND_JSON: lh_buffer_add(&writer->out, value.json.ptr, value.json.len); return;
    }
}

lh_text lh_written(lh_writer *writer)
{
    while (writer->depth > 0) lh_write_end(writer);
    return (lh_text){writer->out.len == 0 ? "" : (const char *)writer->out.bytes, writer->out.len};
}

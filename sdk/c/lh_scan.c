/* A strict scanner of JSON text: declared fields, the pull reader and the check of JSON values stand on it. What it
 * makes of a value is what the host makes of it (sdk/contract/src/fields/extract.rs). */
#include <math.h>
#include <stdlib.h>

#include "lh_internal.h"

/* Longest number, and largest exponent, of JSON that is kept: less than where PostgreSQL's numeric ends. */
enum { KEPT_NUMBER_MAX = 10000, OPEN_MAX = 512 };

bool lh_scan_error(lh_scan *scan, const char *why)
{
    if (scan->why == NULL) scan->why = why;
    return false;
}

static inline int peek(const lh_scan *scan) { return scan->at < scan->end ? (unsigned char)*scan->at : -1; }

char lh_scan_peek(lh_scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
    return scan->at < scan->end ? *scan->at : 0;
}

static bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

static bool digits(lh_scan *scan)
{
    if (!is_digit(peek(scan))) return lh_scan_error(scan, "expected a digit");
    while (is_digit(peek(scan))) scan->at++;
    return true;
}

/* `whole` is whether it has neither point nor exponent. */
static bool number(lh_scan *scan, bool kept, bool *whole)
{
    const char *start = scan->at;
    if (peek(scan) == '-') scan->at++;
    if (peek(scan) == '0')
        scan->at++;
    else if (!digits(scan))
        return false;
    if (is_digit(peek(scan))) return lh_scan_error(scan, "a number begins with 0");
    *whole = true;
    if (peek(scan) == '.') {
        *whole = false;
        scan->at++;
        if (!digits(scan)) return false;
    }
    long exponent = 0;
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        *whole = false;
        scan->at++;
        if (peek(scan) == '+' || peek(scan) == '-') scan->at++;
        const char *from = scan->at;
        if (!digits(scan)) return false;
        for (const char *at = from; at < scan->at && exponent <= KEPT_NUMBER_MAX; at++)
            exponent = exponent * 10 + (*at - '0');
    }
    if (kept && (scan->at - start > KEPT_NUMBER_MAX || exponent > KEPT_NUMBER_MAX))
        return lh_scan_error(scan, "a number of more than 10000 digits");
    return true;
}

/* The four digits behind \u. */
static bool unit(lh_scan *scan, unsigned *out)
{
    *out = 0;
    if (scan->end - scan->at < 5) return lh_scan_error(scan, "expected four hexadecimal digits after \\u");
    for (int i = 1; i <= 4; i++) {
        char c = scan->at[i];
        unsigned digit = is_digit(c)            ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit == 16) return lh_scan_error(scan, "expected four hexadecimal digits after \\u");
        *out = *out * 16 + digit;
    }
    scan->at += 5;
    return true;
}

static void write_utf8(lh_buffer *out, uint32_t c)
{
    if (c < 0x80) {
        lh_buffer_byte(out, (uint8_t)c);
    } else if (c < 0x800) {
        lh_buffer_byte(out, (uint8_t)(0xc0 | c >> 6));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        lh_buffer_byte(out, (uint8_t)(0xe0 | c >> 12));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        lh_buffer_byte(out, (uint8_t)(0xf0 | c >> 18));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        lh_buffer_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* uXXXX, or a pair of them, behind a backslash. */
static bool escaped(lh_scan *scan, lh_buffer *out)
{
    unsigned high, low;
    if (!unit(scan, &high)) return false;
    if (high < 0xd800 || high > 0xdfff) {
        write_utf8(out, high);
        return true;
    }
    if (high > 0xdbff || scan->end - scan->at < 2 || scan->at[0] != '\\' || scan->at[1] != 'u')
        return lh_scan_error(scan, "a lone surrogate in a text");
    scan->at++;
    if (!unit(scan, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return lh_scan_error(scan, "a lone surrogate in a text");
    write_utf8(out, 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    return true;
}

/* Goes on to the next quote or backslash. */
static bool plain(lh_scan *scan)
{
    const char *at = scan->at, *end = scan->end;
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) at++;
    scan->at = at;
    if (at == end) return lh_scan_error(scan, "a text has no end");
    if ((unsigned char)*at < 0x20) return lh_scan_error(scan, "a control character in a text");
    return true;
}

bool lh_scan_string(lh_scan *scan, lh_text *out)
{
    static const char ESCAPES[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
    if (peek(scan) != '"') return lh_scan_error(scan, "expected a text in quotes");
    const char *start = ++scan->at;
    if (!plain(scan)) return false;
    if (*scan->at == '"') {
        *out = (lh_text){start, (size_t)(scan->at++ - start)};
        return true;
    }
    lh_buffer text = {.arena = scan->arena};
    for (;;) {
        lh_buffer_add(&text, start, (size_t)(scan->at - start));
        if (*scan->at++ == '"') break;
        int letter = peek(scan);
        if (letter == 'u') {
            if (!escaped(scan, &text)) return false;
        } else {
            const char *meant = NULL;
            for (const char *at = ESCAPES; *at != 0; at += 2)
                if (*at == letter) meant = at + 1;
            if (meant == NULL) return lh_scan_error(scan, "an unknown escape in a text");
            lh_buffer_byte(&text, (uint8_t)*meant);
            scan->at++;
        }
        start = scan->at;
        if (!plain(scan)) return false;
    }
    *out = (lh_text){text.len == 0 ? "" : (const char *)text.bytes, text.len};
    return true;
}

/* Goes behind a text. `kept`: refuses what databases do not keep. */
static bool skip_string(lh_scan *scan, bool kept)
{
    scan->at++;
    for (;;) {
        if (!plain(scan)) return false;
        if (*scan->at++ == '"') return true;
        int letter = peek(scan);
        if (letter != 'u') {
            if (letter <= 0 || strchr("\"\\/bfnrt", letter) == NULL)
                return lh_scan_error(scan, "an unknown escape in a text");
            scan->at++;
            continue;
        }
        unsigned code, low;
        if (!unit(scan, &code)) return false;
        if (!kept) continue;
        if (code == 0) return lh_scan_error(scan, "U+0000 in a text, which databases do not keep,");
        if (code < 0xd800 || code > 0xdfff) continue;
        bool paired = code <= 0xdbff && scan->end - scan->at >= 2 && scan->at[0] == '\\' && scan->at[1] == 'u';
        if (!paired) return lh_scan_error(scan, "a lone surrogate in a text");
        scan->at++;
        if (!unit(scan, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return lh_scan_error(scan, "a lone surrogate in a text");
    }
}

static bool word(lh_scan *scan, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return lh_scan_error(scan, "expected a value");
    scan->at += len;
    return true;
}

static bool skip_name(lh_scan *scan, bool kept)
{
    if (lh_scan_peek(scan) != '"') return lh_scan_error(scan, "expected a name in quotes");
    if (!skip_string(scan, kept)) return false;
    if (lh_scan_peek(scan) != ':') return lh_scan_error(scan, "expected ':'");
    scan->at++;
    return true;
}

bool lh_scan_name(lh_scan *scan, lh_text *out)
{
    if (lh_scan_peek(scan) != '"') return lh_scan_error(scan, "expected a name in quotes");
    if (!lh_scan_string(scan, out)) return false;
    if (lh_scan_peek(scan) != ':') return lh_scan_error(scan, "expected ':'");
    scan->at++;
    return true;
}

/* Goes behind one value. What is open is kept in bits instead of recursion, so that depth costs no stack. */
static bool skip(lh_scan *scan, bool kept, unsigned depth_max)
{
    uint64_t objects[OPEN_MAX / 64];
    unsigned open = 0;
    for (;;) {
        /* A value is due here. */
        char first = lh_scan_peek(scan);
        bool whole, opened = false;
        switch (first) {
        case '{':
        case '[': opened = true; break;
        case '"':
            if (!skip_string(scan, kept)) return false;
            break;
        case 't':
            if (!word(scan, "true")) return false;
            break;
        case 'f':
            if (!word(scan, "false")) return false;
            break;
        case 'n':
            if (!word(scan, "null")) return false;
            break;
        default:
            if (scan->at == scan->end) return lh_scan_error(scan, "the text ends where a value is due");
            if (first != '-' && !is_digit(first)) return lh_scan_error(scan, "expected a value");
            if (!number(scan, kept, &whole)) return false;
        }
        if (opened) {
            if (open == depth_max)
                return lh_scan_error(scan, lh_arena_format(scan->arena, "nested more than %u deep", depth_max));
            scan->at++;
            if (lh_scan_peek(scan) == (first == '{' ? '}' : ']')) {
                scan->at++;
            } else {
                uint64_t bit = UINT64_C(1) << (open % 64);
                if (first == '{')
                    objects[open / 64] = open % 64 == 0 ? bit : objects[open / 64] | bit;
                else
                    objects[open / 64] = open % 64 == 0 ? 0 : objects[open / 64] & ~bit;
                open++;
                if (first == '{' && !skip_name(scan, kept)) return false;
                continue;
            }
        }
        /* A value has ended: go on in what is open around it. */
        for (;;) {
            if (open == 0) return true;
            bool object = objects[(open - 1) / 64] >> ((open - 1) % 64) & 1;
            char next = lh_scan_peek(scan);
            if (next == ',') {
                scan->at++;
                if (object && !skip_name(scan, kept)) return false;
                break;
            }
            if (next != (object ? '}' : ']')) {
                if (scan->at == scan->end) return lh_scan_error(scan, "the text ends within the value");
                return lh_scan_error(scan, object ? "expected ',' or '}'" : "expected ',' or ']'");
            }
            scan->at++;
            open--;
        }
    }
}

bool lh_scan_skip(lh_scan *scan) { return skip(scan, false, OPEN_MAX); }

const char *lh_json_check(lh_arena *arena, lh_text text, unsigned depth_max)
{
    if (!lh_is_utf8(text.ptr, text.len)) return "the text is not UTF-8";
    lh_scan scan = {.start = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .arena = arena};
    if (skip(&scan, true, depth_max) && (lh_scan_peek(&scan), scan.at < scan.end))
        lh_scan_error(&scan, "text after the value");
    if (scan.why == NULL) return NULL;
    return lh_arena_format(arena, "%s at byte %zu", scan.why, (size_t)(scan.at - scan.start));
}

/* ---- Declared fields ---- */

static bool not_due(lh_scan *scan, const char *start, lh_kind kind)
{
    static const char *const DUE[] = {
        [LH_KIND_BOOLEAN] = "a boolean", [LH_KIND_INTEGER] = "an integer of 64 bits",
        [LH_KIND_REAL] = "a number",     [LH_KIND_DECIMAL] = "a decimal as text, or a whole number",
        [LH_KIND_TEXT] = "a text",       [LH_KIND_TIMESTAMP] = "an RFC 3339 timestamp",
        [LH_KIND_JSON] = "JSON",
    };
    lh_text found = {start, (size_t)(scan->at - start)};
    return lh_scan_error(scan, lh_arena_format(scan->arena, "found %s where %s is due",
                                               lh_shown(scan->arena, found, LH_SHOWN_CHARS), DUE[kind]));
}

static bool number_field(lh_scan *scan, lh_kind kind, lh_value *out)
{
    const char *start = scan->at;
    bool whole;
    if (!number(scan, false, &whole)) return false;
    lh_text text = {start, (size_t)(scan->at - start)};
    if (kind == LH_KIND_REAL) {
        *out = lh_of_real(strtod(lh_arena_copy(scan->arena, text.ptr, text.len), NULL));
        return isfinite(out->real) || lh_scan_error(scan, "a number out of range");
    }
    /* 0 with a sign is a real number. */
    lh_decimal exact;
    bool fits = whole && !lh_is(text, "-0") && text.len <= 20 && lh_decimal_parse(text, &exact);
    int64_t integer;
    if (kind == LH_KIND_INTEGER && fits && lh_decimal_mantissa(exact, &integer)) {
        *out = lh_of_int(integer);
        return true;
    }
    /* Up to what 64 bits hold, with a sign or without. */
    if (kind == LH_KIND_DECIMAL && fits && (exact.high == 0 || lh_decimal_mantissa(exact, &integer))) {
        *out = lh_of_decimal(exact);
        return true;
    }
    return not_due(scan, start, kind);
}

static bool text_field(lh_scan *scan, lh_kind kind, lh_value *out)
{
    const char *start = scan->at;
    lh_text text;
    if (!lh_scan_string(scan, &text)) return false;
    if (kind == LH_KIND_TEXT) {
        *out = lh_of_text(text);
        return true;
    }
    if (kind == LH_KIND_DECIMAL) {
        lh_decimal decimal;
        lh_decimal_error error = lh_decimal_read(text.ptr, text.len, &decimal);
        if (error != LH_DECIMAL_FINE)
            return lh_scan_error(scan, lh_decimal_why(scan->arena, error, text, lh_decimal_of(0), 0));
        *out = lh_of_decimal(decimal);
        return true;
    }
    if (kind == LH_KIND_TIMESTAMP) {
        lh_timestamp timestamp;
        if (!lh_timestamp_parse(text, &timestamp))
            return lh_scan_error(scan, lh_arena_format(scan->arena,
                                                       "'%s' is no RFC 3339 timestamp such as 2011-08-12T13:50:00Z",
                                                       lh_shown(scan->arena, text, LH_SHOWN_CHARS)));
        *out = lh_of_timestamp(timestamp);
        return true;
    }
    return not_due(scan, start, kind);
}

bool lh_scan_field(lh_scan *scan, lh_kind kind, lh_value *out)
{
    char first = lh_scan_peek(scan);
    const char *start = scan->at;
    *out = lh_null();
    if (first == 'n') return word(scan, "null");
    if (kind == LH_KIND_JSON) {
        if (!lh_scan_skip(scan)) return false;
        *out = lh_of_json((lh_text){start, (size_t)(scan->at - start)});
        return true;
    }
    if (first == '"') return text_field(scan, kind, out);
    if (first == '-' || is_digit(first)) return number_field(scan, kind, out);
    if (!lh_scan_skip(scan)) return false;
    if (kind == LH_KIND_BOOLEAN && (first == 't' || first == 'f')) {
        *out = lh_of_bool(first == 't');
        return true;
    }
    return not_due(scan, start, kind);
}

/* Declared fields: what a handler reads of its events' JSON, as values. The host takes them out; of an event that
 * comes whole they are taken out here, by the same rules. */
#include <stdio.h>

#include "lh_internal.h"

enum { FIELDS_MAX = 64, PATH_BYTES_MAX = 256 };

static const char *const KINDS[] = {
    [LH_KIND_BOOLEAN] = "boolean", [LH_KIND_INTEGER] = "integer", [LH_KIND_REAL] = "real",
    [LH_KIND_DECIMAL] = "decimal", [LH_KIND_TEXT] = "text",       [LH_KIND_TIMESTAMP] = "timestamp",
    [LH_KIND_JSON] = "json",
};

/* ---- Paths ---- */

/* Behind "/data" or "/metadata", at the next '/' or at the end; NULL where the path begins otherwise. */
static const char *behind(const char *path, const char *root)
{
    size_t len = strlen(root);
    return strncmp(path, root, len) == 0 && (path[len] == 0 || path[len] == '/') ? path + len : NULL;
}

/* The end of the step that begins with the '/' at `at`. */
static const char *step_end(const char *at)
{
    do at++;
    while (*at != 0 && *at != '/');
    return at;
}

/* Whether the step that begins with the '/' at `at` is this name: ~1 stands for '/', ~0 for '~'. */
static bool is_step(const char *at, lh_text name)
{
    const char *end = step_end(at);
    size_t i = 0;
    for (at++; at < end; at++, i++) {
        char c = *at;
        if (c == '~') c = *++at == '1' ? '/' : '~';
        if (i == name.len || name.ptr[i] != c) return false;
    }
    return i == name.len;
}

static const char *path_error(const char *path)
{
    if (strlen(path) > PATH_BYTES_MAX) return "is longer than 256 bytes";
    const char *at = behind(path, "/data");
    if (at == NULL) at = behind(path, "/metadata");
    if (at == NULL) return "begins neither with /data nor with /metadata";
    for (; *at != 0; at++)
        if (*at == '~' && at[1] != '0' && at[1] != '1') return "is no JSON Pointer: '~' is written ~0, and '/' ~1";
    return NULL;
}

const char *lh_fields_error(lh_arena *arena, const lh_field *fields, size_t count)
{
    if (count > FIELDS_MAX)
        return lh_arena_format(arena, "%zu fields are declared; at most %d are allowed", count, FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *path = fields[i].path;
        const char *shown = lh_shown(arena, lh_str(path), LH_SHOWN_CHARS), *error = path_error(path);
        if (error != NULL) return lh_arena_format(arena, "path '%s' %s", shown, error);
        for (size_t other = 0; other < count; other++) {
            /* One and the same spelling of a step, so that bytes tell. */
            if (other == i || behind(path, fields[other].path) == NULL) continue;
            return lh_arena_format(arena, "path '%s' lies within another one, or is named twice", shown);
        }
    }
    return NULL;
}

/* ---- Taking them out ---- */

typedef struct {
    lh_scan scan;
    const lh_field *fields;
    lh_value *values;
    /* Of each field: the rest of its path. */
    const char *at[FIELDS_MAX];
    uint64_t met;
} extraction;

static bool descend(extraction *x, uint64_t mask);

/* A value that the fields of `mask` lead to, or through. */
static bool reach(extraction *x, uint64_t mask)
{
    unsigned field = (unsigned)__builtin_ctzll(mask);
    /* None lies within another, so that the one that ends here is alone. */
    if (*x->at[field] != 0) return descend(x, mask);
    if (x->met >> field & 1) return lh_scan_error(&x->scan, "a declared field comes twice");
    x->met |= UINT64_C(1) << field;
    return lh_scan_field(&x->scan, x->fields[field].kind, &x->values[field]);
}

/* A member or an element of this name. */
static bool member(extraction *x, uint64_t mask, lh_text name)
{
    uint64_t inner = 0;
    for (uint64_t left = mask; left != 0; left &= left - 1) {
        unsigned field = (unsigned)__builtin_ctzll(left);
        if (is_step(x->at[field], name)) inner |= UINT64_C(1) << field;
    }
    if (inner == 0) return lh_scan_skip(&x->scan);
    const char *before[FIELDS_MAX];
    for (uint64_t left = inner; left != 0; left &= left - 1) {
        unsigned field = (unsigned)__builtin_ctzll(left);
        before[field] = x->at[field];
        x->at[field] = step_end(x->at[field]);
    }
    bool fine = reach(x, inner);
    for (uint64_t left = inner; left != 0; left &= left - 1) {
        unsigned field = (unsigned)__builtin_ctzll(left);
        x->at[field] = before[field];
    }
    return fine;
}

/* Goes through an object or an array that the fields of `mask` lead into. */
static bool descend(extraction *x, uint64_t mask)
{
    lh_scan *scan = &x->scan;
    char open = lh_scan_peek(scan);
    if (open == 'n') return lh_scan_skip(scan);
    if (open != '{' && open != '[') {
        const char *first = x->at[__builtin_ctzll(mask)];
        return lh_scan_error(scan, lh_arena_format(scan->arena, "expected an object with '%.*s'",
                                                   (int)(step_end(first) - first - 1), first + 1));
    }
    char close = open == '{' ? '}' : ']';
    scan->at++;
    if (lh_scan_peek(scan) == close) {
        scan->at++;
        return true;
    }
    for (size_t number = 0;; number++) {
        lh_text name;
        char digits[24];
        if (open == '[')
            name = (lh_text){digits, (size_t)snprintf(digits, sizeof digits, "%zu", number)};
        else if (!lh_scan_name(scan, &name))
            return false;
        if (!member(x, mask, name)) return false;
        char next = lh_scan_peek(scan);
        if (next != ',' && next != close)
            return lh_scan_error(scan, open == '{' ? "expected ',' or '}'" : "expected ',' or ']'");
        scan->at++;
        if (next == close) return true;
    }
}

static const char *extract_from(extraction *x, const lh_event *event, const char *name, lh_text text, uint64_t mask)
{
    if (mask == 0) return NULL;
    x->scan = (lh_scan){.start = text.ptr, .at = text.ptr, .end = text.ptr + text.len, .arena = x->scan.arena};
    if (reach(x, mask) && (lh_scan_peek(&x->scan), x->scan.at < x->scan.end))
        lh_scan_error(&x->scan, "text after the value");
    if (x->scan.why == NULL) return NULL;
    return lh_arena_format(x->scan.arena, "%s of " LH_S ": %s, at byte %zu", name, LH_A(event->event_type), x->scan.why,
                           (size_t)(x->scan.at - x->scan.start));
}

const char *lh_extract(lh_arena *arena, const lh_event *event, const lh_field *fields, size_t count, lh_value *values)
{
    extraction x = {.fields = fields, .values = values, .scan = {.arena = arena}};
    uint64_t data = 0, metadata = 0;
    if (count > FIELDS_MAX) return "more than 64 fields are declared";
    for (size_t i = 0; i < count; i++) {
        values[i] = lh_null();
        x.at[i] = behind(fields[i].path, "/data");
        if (x.at[i] != NULL) {
            data |= UINT64_C(1) << i;
            continue;
        }
        x.at[i] = behind(fields[i].path, "/metadata");
        if (x.at[i] == NULL) return lh_arena_format(arena, "field '%s' is no path", fields[i].path);
        metadata |= UINT64_C(1) << i;
    }
    const char *why = extract_from(&x, event, "data", event->data, data);
    return why != NULL ? why : extract_from(&x, event, "metadata", event->metadata, metadata);
}

/* ---- Handing them over ---- */

const char *lh_take_fields(lh_arena *arena, lh_event *event, lh_bytes packed, const lh_field *fields, size_t count,
                           const lh_field **missing)
{
    *missing = count > 0 ? &fields[0] : NULL;
    lh_value *values = lh_arena_alloc(arena, count * sizeof *values);
    event->fields = values;
    const char *why = NULL;
    if (packed.ptr != NULL) {
        lh_scope scope = {.arena = arena};
        lh_reader reader = lh_reader_of(&scope, packed.ptr, packed.len);
        for (size_t i = 0; i < count; i++) values[i] = lh_read_value(&reader);
        why = scope.why;
    } else {
        why = lh_extract(arena, event, fields, count, values);
    }
    /* What is declared may come with the rest or without, as suits the host: so nobody is to see the rest. */
    event->data = event->metadata = (lh_text){"", 0};
    if (why != NULL) return why;
    for (size_t i = 0; i < count; i++) {
        if (fields[i].optional || !lh_is_null(values[i])) continue;
        *missing = &fields[i];
        const char *part = behind(fields[i].path, "/metadata") != NULL ? "metadata" : "data";
        return lh_arena_format(arena, "%s of " LH_S ": missing field %s: null or not there, where %s %s is due", part,
                               LH_A(event->event_type), fields[i].path, fields[i].kind == LH_KIND_INTEGER ? "an" : "a",
                               KINDS[fields[i].kind]);
    }
    return NULL;
}

const char *lh_fields_option(lh_arena *arena, const lh_projector *projector)
{
    lh_buffer out = {.arena = arena};
    for (size_t h = 0; h < projector->handler_count; h++) {
        const lh_handler *handler = &projector->handlers[h];
        if (!handler->declares || handler->event_type == NULL) continue;
        /* Handlers of several schema versions may share one declaration. */
        bool told = false;
        for (size_t other = 0; other < h && !told; other++) {
            const lh_handler *before = &projector->handlers[other];
            told = before->declares && before->event_type != NULL && before->fields == handler->fields &&
                   strcmp(before->event_type, handler->event_type) == 0;
        }
        if (told) continue;
        lh_buffer_str(&out, out.len == 0 ? "[{\"event_type\":" : ",{\"event_type\":");
        lh_json_quote(&out, lh_str(handler->event_type));
        lh_buffer_str(&out, ",\"fields\":[");
        for (size_t i = 0; i < handler->field_count; i++) {
            lh_buffer_str(&out, i == 0 ? "{\"path\":" : ",{\"path\":");
            lh_json_quote(&out, lh_str(handler->fields[i].path));
            lh_buffer_str(&out, ",\"type\":\"");
            lh_buffer_str(&out, KINDS[handler->fields[i].kind]);
            lh_buffer_str(&out, "\"}");
        }
        lh_buffer_str(&out, "]}");
    }
    if (out.len == 0) return NULL;
    lh_buffer_add(&out, "]", 2);
    return (const char *)out.bytes;
}

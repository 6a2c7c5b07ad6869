/* Memory of a call: taken piece by piece, given back all at once. And texts in it. */
#include <stdio.h>
#include <stdlib.h>

#include "lh_internal.h"

#if defined(__SANITIZE_ADDRESS__)
#define LH_SINGLY 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LH_SINGLY 1
#endif
#endif
#ifndef LH_SINGLY
#define LH_SINGLY 0
#endif

enum { CHUNK_BYTES_MIN = 64 << 10, CHUNK_BYTES_MAX = 1 << 20, ALIGN = 16 };

struct lh_chunk {
    lh_chunk *before;
    size_t bytes;
};

/* Of a chunk: what its own fields take. */
enum { HEAD_BYTES = (sizeof(lh_chunk) + ALIGN - 1) / ALIGN * ALIGN };

static lh_chunk *chunk_of(size_t bytes, lh_chunk *before)
{
    if (bytes > SIZE_MAX - HEAD_BYTES) abort();
    lh_chunk *chunk = malloc(HEAD_BYTES + bytes);
    if (chunk == NULL) abort();
    chunk->before = before;
    chunk->bytes = bytes;
    return chunk;
}

void *lh_arena_alloc(lh_arena *arena, size_t bytes)
{
    if (LH_SINGLY) {
        /* Each by itself, so that the address sanitizer sees where it ends. */
        arena->last = chunk_of(bytes == 0 ? 1 : bytes, arena->last);
        return (char *)arena->last + HEAD_BYTES;
    }
    size_t rounded = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (LH_UNLIKELY(rounded < bytes)) abort();
    if (LH_UNLIKELY((size_t)(arena->end - arena->at) < rounded)) {
        size_t next = arena->last == NULL ? CHUNK_BYTES_MIN : arena->last->bytes * 2;
        if (next > CHUNK_BYTES_MAX) next = CHUNK_BYTES_MAX;
        if (next < rounded) next = rounded;
        arena->last = chunk_of(next, arena->last);
        arena->at = (char *)arena->last + HEAD_BYTES;
        arena->end = arena->at + next;
    }
    void *place = arena->at;
    arena->at += rounded;
    return place;
}

void lh_arena_free(lh_arena *arena)
{
    while (arena->last != NULL) {
        lh_chunk *before = arena->last->before;
        free(arena->last);
        arena->last = before;
    }
    arena->at = arena->end = NULL;
}

void lh_arena_reset(lh_arena *arena)
{
    lh_chunk *last = arena->last;
    if (LH_SINGLY || last == NULL) {
        lh_arena_free(arena);
        return;
    }
    arena->last = last->before;
    lh_arena_free(arena);
    last->before = NULL;
    arena->last = last;
    arena->at = (char *)last + HEAD_BYTES;
    arena->end = arena->at + last->bytes;
}

char *lh_arena_copy(lh_arena *arena, const void *bytes, size_t len)
{
    char *copy = lh_arena_alloc(arena, len + 1);
    if (len > 0) memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

char *lh_arena_vformat(lh_arena *arena, const char *format, va_list arguments)
{
    if (format == NULL) abort();
    va_list again;
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0) len = 0;
    char *text = lh_arena_alloc(arena, (size_t)len + 1);
    text[0] = 0;
    vsnprintf(text, (size_t)len + 1, format, arguments);
    return text;
}

char *lh_arena_format(lh_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = lh_arena_vformat(arena, format, arguments);
    va_end(arguments);
    return text;
}

void lh_buffer_grow(lh_buffer *buffer, size_t more)
{
    size_t room = buffer->room * 2;
    if (room < 256) room = 256;
    if (room < buffer->len + more) room = buffer->len + more;
    uint8_t *bytes = lh_arena_alloc(buffer->arena, room);
    if (buffer->len > 0) memcpy(bytes, buffer->bytes, buffer->len);
    buffer->bytes = bytes;
    buffer->room = room;
}

void lh_buffer_str(lh_buffer *buffer, const char *text) { lh_buffer_add(buffer, text, strlen(text)); }

bool lh_violate(lh_scope *scope, const char *format, ...)
{
    if (scope->why == NULL) {
        va_list arguments;
        va_start(arguments, format);
        scope->why = lh_arena_vformat(scope->arena, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* ---- What plugins see ---- */

void *lh_alloc(lh_call *call, size_t bytes) { return lh_arena_alloc(call->scope.arena, bytes); }

lh_text lh_str(const char *text) { return (lh_text){text, strlen(text)}; }

bool lh_same(lh_text one, lh_text other)
{
    return one.len == other.len && (one.len == 0 || memcmp(one.ptr, other.ptr, one.len) == 0);
}

bool lh_is(lh_text text, const char *other) { return lh_same(text, lh_str(other)); }

const char *lh_c_str(lh_call *call, lh_text text) { return lh_arena_copy(call->scope.arena, text.ptr, text.len); }

lh_text lh_format(lh_call *call, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = lh_arena_vformat(call->scope.arena, format, arguments);
    va_end(arguments);
    return lh_str(text);
}

lh_value lh_null(void) { return (lh_value){.kind = LH_KIND_NULL}; }
lh_value lh_of_bool(bool value) { return (lh_value){.kind = LH_KIND_BOOLEAN, .boolean = value}; }
lh_value lh_of_int(int64_t value) { return (lh_value){.kind = LH_KIND_INTEGER, .integer = value}; }
lh_value lh_of_real(double value) { return (lh_value){.kind = LH_KIND_REAL, .real = value}; }
lh_value lh_of_decimal(lh_decimal value) { return (lh_value){.kind = LH_KIND_DECIMAL, .decimal = value}; }
lh_value lh_of_text(lh_text value) { return (lh_value){.kind = LH_KIND_TEXT, .text = value}; }
lh_value lh_of_str(const char *value) { return lh_of_text(lh_str(value)); }
lh_value lh_of_timestamp(lh_timestamp value) { return (lh_value){.kind = LH_KIND_TIMESTAMP, .timestamp = value}; }
lh_value lh_of_json(lh_text value) { return (lh_value){.kind = LH_KIND_JSON, .json = value}; }
lh_value lh_of_bytes(const void *ptr, size_t len) { return (lh_value){.kind = LH_KIND_BYTES, .bytes = {ptr, len}}; }

lh_cell lh_set(uint32_t column, lh_value value) { return (lh_cell){.column = column, .value = value}; }
lh_cell lh_add(uint32_t column, lh_value value) { return (lh_cell){.column = column, .adds = true, .value = value}; }
lh_cell lh_add_int(uint32_t column, int64_t value) { return lh_add(column, lh_of_int(value)); }
lh_cell lh_add_decimal(uint32_t column, lh_decimal value) { return lh_add(column, lh_of_decimal(value)); }

/* ---- UTF-8 ---- */

/* The bytes of the character at `at`; 0 where there is none. */
static size_t character(const unsigned char *at, const unsigned char *end)
{
    unsigned char first = at[0];
    if (first < 0x80) return 1;
    size_t len = first >= 0xc2 && first < 0xe0   ? 2
                 : first >= 0xe0 && first < 0xf0 ? 3
                 : first >= 0xf0 && first < 0xf5 ? 4
                                                 : 0;
    if (len == 0 || (size_t)(end - at) < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    /* Longer than needed, a surrogate, or beyond the last character. */
    if ((first == 0xe0 && at[1] < 0xa0) || (first == 0xed && at[1] >= 0xa0) || (first == 0xf0 && at[1] < 0x90) ||
        (first == 0xf4 && at[1] >= 0x90))
        return 0;
    return len;
}

bool lh_is_utf8(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + len;
    while (at < end) {
        size_t bytes = character(at, end);
        if (bytes == 0) return false;
        at += bytes;
    }
    return true;
}

const char *lh_shown(lh_arena *arena, lh_text text, size_t chars_max)
{
    lh_buffer out = {.arena = arena};
    const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;
    for (size_t chars = 0; at < end; chars++) {
        if (chars == chars_max) {
            lh_buffer_str(&out, "\xe2\x80\xa6");
            break;
        }
        size_t bytes = character(at, end);
        bool control = at[0] < 0x20 || at[0] == 0x7f || (bytes == 2 && at[0] == 0xc2 && at[1] < 0xa0);
        if (bytes == 0 || control) {
            lh_buffer_str(&out, "\xef\xbf\xbd");
            at += bytes == 0 ? 1 : bytes;
            continue;
        }
        lh_buffer_add(&out, at, bytes);
        at += bytes;
    }
    lh_buffer_byte(&out, 0);
    return (const char *)out.bytes;
}

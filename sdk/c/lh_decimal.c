/* Exact decimals of 38 digits: mantissa / 10^scale, never rounded. */
#include "lh_internal.h"

static const uint64_t POWERS[] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

static lh_uint128 power(unsigned exponent)
{
    if (exponent < 20) return POWERS[exponent];
    return (lh_uint128)POWERS[19] * POWERS[exponent - 19];
}

static lh_decimal of_whole(lh_int128 mantissa, unsigned scale)
{
    return (lh_decimal){(int64_t)(mantissa >> 64), (uint64_t)mantissa, (uint8_t)scale};
}

lh_int128 lh_decimal_whole(lh_decimal number)
{
    return (lh_int128)(((lh_uint128)(uint64_t)number.high << 64) | number.low);
}

static lh_uint128 magnitude(lh_int128 number)
{
    return number < 0 ? (lh_uint128)0 - (lh_uint128)number : (lh_uint128)number;
}

static bool make(lh_int128 mantissa, unsigned scale, lh_decimal *out)
{
    if (scale > LH_DECIMAL_DIGITS_MAX || magnitude(mantissa) >= power(38)) return false;
    *out = of_whole(mantissa, scale);
    return true;
}

/* The mantissa where it fits one word, as nearly all do: arithmetic of two words is several times slower. */
static bool word(lh_decimal number, int64_t *out)
{
    *out = (int64_t)number.low;
    return number.high == *out >> 63;
}

static lh_decimal of_word(int64_t mantissa, unsigned scale)
{
    return (lh_decimal){mantissa >> 63, (uint64_t)mantissa, (uint8_t)scale};
}

lh_decimal lh_decimal_of(int64_t number) { return of_word(number, 0); }

bool lh_decimal_make(int64_t mantissa, unsigned scale, lh_decimal *out)
{
    if (scale > LH_DECIMAL_DIGITS_MAX) return false;
    *out = of_word(mantissa, scale);
    return true;
}

bool lh_decimal_mantissa(lh_decimal number, int64_t *out)
{
    int64_t mantissa;
    if (!word(number, &mantissa)) return false;
    *out = mantissa;
    return true;
}

lh_decimal_error lh_decimal_read(const char *text, size_t len, lh_decimal *out)
{
    const char *at = text, *end = text + len;
    bool negative = at < end && *at == '-';
    if (negative) at++;
    const char *digits = at, *point = NULL;
    uint64_t small = 0;
    lh_uint128 large = 0;
    bool overflow = false;
    for (; at < end; at++) {
        unsigned digit = (unsigned)(unsigned char)*at - '0';
        if (digit < 10) {
            /* The first 18 digits fit a word; most numbers are done with that. */
            if (at - digits < 18) {
                small = small * 10 + digit;
                large = small;
            } else {
                overflow = overflow || large > (power(38) - 1) / 10;
                if (!overflow) large = large * 10 + digit;
            }
        } else if (*at == '.' && point == NULL && at > digits) {
            point = at;
        } else {
            return LH_DECIMAL_SYNTAX;
        }
    }
    if (digits == end || (point != NULL && point + 1 == end)) return LH_DECIMAL_SYNTAX;
    size_t scale = point == NULL ? 0 : (size_t)(end - point - 1);
    if (overflow || large >= power(38) || scale > LH_DECIMAL_DIGITS_MAX) return LH_DECIMAL_OVERFLOW;
    *out = of_whole(negative ? -(lh_int128)large : (lh_int128)large, (unsigned)scale);
    return LH_DECIMAL_FINE;
}

bool lh_decimal_parse(lh_text text, lh_decimal *out)
{
    return lh_decimal_read(text.ptr, text.len, out) == LH_DECIMAL_FINE;
}

lh_decimal_error lh_decimal_scaled(lh_decimal number, unsigned scale, lh_decimal *out)
{
    if (scale == number.scale) {
        *out = number;
        return LH_DECIMAL_FINE;
    }
    if (scale > LH_DECIMAL_DIGITS_MAX) return LH_DECIMAL_OVERFLOW;
    if (scale > number.scale) {
        lh_uint128 times = power(scale - number.scale);
        int64_t mantissa;
        if (times <= INT32_MAX && word(number, &mantissa) && mantissa == (int32_t)mantissa) {
            *out = of_word(mantissa * (int64_t)times, scale);
            return LH_DECIMAL_FINE;
        }
        lh_int128 product;
        if (__builtin_mul_overflow(lh_decimal_whole(number), (lh_int128)times, &product)) return LH_DECIMAL_OVERFLOW;
        return make(product, scale, out) ? LH_DECIMAL_FINE : LH_DECIMAL_OVERFLOW;
    }
    lh_int128 divisor = (lh_int128)power(number.scale - scale), mantissa = lh_decimal_whole(number);
    if (mantissa % divisor != 0) return LH_DECIMAL_SCALE;
    *out = of_whole(mantissa / divisor, scale);
    return LH_DECIMAL_FINE;
}

bool lh_decimal_rescale(lh_decimal number, unsigned scale, lh_decimal *out)
{
    return lh_decimal_scaled(number, scale, out) == LH_DECIMAL_FINE;
}

bool lh_decimal_add(lh_decimal one, lh_decimal other, lh_decimal *out)
{
    int64_t left, right, sum;
    if (one.scale == other.scale && word(one, &left) && word(other, &right) &&
        !__builtin_add_overflow(left, right, &sum)) {
        *out = of_word(sum, one.scale);
        return true;
    }
    unsigned scale = one.scale > other.scale ? one.scale : other.scale;
    if (!lh_decimal_rescale(one, scale, &one) || !lh_decimal_rescale(other, scale, &other)) return false;
    lh_int128 whole;
    if (__builtin_add_overflow(lh_decimal_whole(one), lh_decimal_whole(other), &whole)) return false;
    return make(whole, scale, out);
}

lh_decimal lh_decimal_negate(lh_decimal number) { return of_whole(-lh_decimal_whole(number), number.scale); }

bool lh_decimal_sub(lh_decimal one, lh_decimal other, lh_decimal *out)
{
    return lh_decimal_add(one, lh_decimal_negate(other), out);
}

bool lh_decimal_times(lh_decimal number, int64_t times, lh_decimal *out)
{
    int64_t mantissa;
    if (word(number, &mantissa) && mantissa == (int32_t)mantissa && times == (int32_t)times) {
        *out = of_word(mantissa * times, number.scale);
        return true;
    }
    lh_int128 product;
    if (__builtin_mul_overflow(lh_decimal_whole(number), (lh_int128)times, &product)) return false;
    return make(product, number.scale, out);
}

int lh_decimal_compare(lh_decimal one, lh_decimal other)
{
    lh_int128 left = lh_decimal_whole(one), right = lh_decimal_whole(other);
    if (one.scale != other.scale) {
        /* Only one is scaled up; where that overflows, it is the larger in size. */
        bool left_up = one.scale < other.scale;
        lh_int128 *up = left_up ? &left : &right;
        unsigned more = left_up ? other.scale - one.scale : one.scale - other.scale;
        lh_int128 scaled;
        if (__builtin_mul_overflow(*up, (lh_int128)power(more), &scaled)) {
            int sign = *up > 0 ? 1 : -1;
            return left_up ? sign : -sign;
        }
        *up = scaled;
    }
    return left < right ? -1 : left > right;
}

size_t lh_decimal_text(lh_decimal number, char out[LH_DECIMAL_TEXT_MAX])
{
    char digits[LH_DECIMAL_TEXT_MAX];
    char *end = digits + sizeof digits, *at = end, *text = out;
    lh_int128 whole = lh_decimal_whole(number);
    lh_uint128 large = magnitude(whole);
    /* Dividing two words is slow; most numbers fit one. */
    while (large > UINT64_MAX) {
        *--at = (char)('0' + (unsigned)(large % 10));
        large /= 10;
    }
    uint64_t small = (uint64_t)large;
    /* At least one digit before the point. */
    while (small > 0 || end - at <= number.scale) {
        *--at = (char)('0' + (unsigned)(small % 10));
        small /= 10;
    }
    if (whole < 0) *text++ = '-';
    while (end - at > number.scale) *text++ = *at++;
    if (number.scale > 0) {
        *text++ = '.';
        while (at < end) *text++ = *at++;
    }
    *text = 0;
    return (size_t)(text - out);
}

const char *lh_decimal_why(lh_arena *arena, lh_decimal_error error, lh_text text, lh_decimal number, unsigned scale)
{
    if (error == LH_DECIMAL_SYNTAX)
        return lh_arena_format(arena, "'%s' is not a decimal of the form [-]digits[.digits]",
                               lh_shown(arena, text, LH_SHOWN_CHARS));
    if (error == LH_DECIMAL_OVERFLOW) return "more than 38 digits";
    lh_int128 mantissa = lh_decimal_whole(number);
    unsigned digits = number.scale;
    while (digits > 0 && mantissa % 10 == 0) {
        mantissa /= 10;
        digits--;
    }
    return lh_arena_format(arena, "%u digits after the point where %u are kept (nothing is rounded)", digits, scale);
}

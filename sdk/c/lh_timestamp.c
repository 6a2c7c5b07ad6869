/* Moments as text and as microseconds; and random numbers of an event. */
#include <stdio.h>

#include "lh_internal.h"

#define MICROS_PER_SECOND INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)

static int64_t floor_div(int64_t number, int64_t by)
{
    int64_t quotient = number / by;
    return number % by < 0 ? quotient - 1 : quotient;
}

/* Both after Howard Hinnant's "chrono-compatible low-level date algorithms": years from March, eras of 400 years. */
static lh_date of_days(int64_t days)
{
    days += 719468;
    int64_t era = floor_div(days, 146097);
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * of_year + 2) / 153;
    int64_t month = from_march < 10 ? from_march + 3 : from_march - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    return (lh_date){year, (uint8_t)month, (uint8_t)(of_year - (153 * from_march + 2) / 5 + 1)};
}

static int64_t days_of(lh_date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t era = floor_div(year, 400);
    int64_t year_of_era = year - era * 400;
    int64_t from_march = (date.month + 9) % 12;
    int64_t of_year = (153 * from_march + 2) / 5 + date.day - 1;
    int64_t of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    return era * 146097 + of_era - 719468;
}

/* The number of `count` digits at `at`; -1 where they are none. */
static int64_t digits(lh_text text, size_t at, size_t count)
{
    if (text.len < at + count) return -1;
    int64_t number = 0;
    for (size_t i = at; i < at + count; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return -1;
        number = number * 10 + (text.ptr[i] - '0');
    }
    return number;
}

static bool is_one_of(lh_text text, size_t at, const char *signs)
{
    return at < text.len && text.ptr[at] != 0 && strchr(signs, text.ptr[at]) != NULL;
}

bool lh_timestamp_parse(lh_text text, lh_timestamp *out)
{
    if (!(is_one_of(text, 4, "-") && is_one_of(text, 7, "-") && is_one_of(text, 10, "Tt ") &&
          is_one_of(text, 13, ":") && is_one_of(text, 16, ":")))
        return false;
    int64_t year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
    int64_t hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
    if (year < 0 || month < 0 || day < 0 || hour < 0 || minute < 0 || second < 0) return false;
    lh_date date = {year, (uint8_t)month, (uint8_t)day};
    int64_t days = days_of(date);
    lh_date back = of_days(days);
    /* A day that the month does not have comes back as another one. A leap second counts as the next second. */
    if (back.year != year || back.month != month || back.day != day || hour > 23 || minute > 59 || second > 60)
        return false;
    size_t at = 19;
    int64_t micros = 0;
    if (is_one_of(text, at, ".")) {
        size_t from = ++at;
        while (is_one_of(text, at, "0123456789")) at++;
        if (at == from) return false;
        size_t kept = at - from < 6 ? at - from : 6;
        micros = digits(text, from, kept);
        for (size_t i = kept; i < 6; i++) micros *= 10;
    }
    int64_t offset = 0;
    if (!(is_one_of(text, at, "Zz") && text.len == at + 1)) {
        if (!(is_one_of(text, at, "+-") && is_one_of(text, at + 3, ":") && text.len == at + 6)) return false;
        int64_t hours = digits(text, at + 1, 2), minutes = digits(text, at + 4, 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return false;
        offset = (hours * 60 + minutes) * (text.ptr[at] == '-' ? -60 : 60);
    }
    int64_t seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    out->micros = seconds * MICROS_PER_SECOND + micros;
    return true;
}

lh_date lh_timestamp_date(lh_timestamp timestamp)
{
    return of_days(floor_div(timestamp.micros, MICROS_PER_SECOND * SECONDS_PER_DAY));
}

size_t lh_timestamp_text(lh_timestamp timestamp, char out[LH_TIMESTAMP_TEXT_MAX])
{
    lh_date date = lh_timestamp_date(timestamp);
    int64_t all = floor_div(timestamp.micros, MICROS_PER_SECOND);
    int64_t micros = timestamp.micros - all * MICROS_PER_SECOND;
    int seconds = (int)(all - floor_div(all, SECONDS_PER_DAY) * SECONDS_PER_DAY);
    int len = snprintf(out, LH_TIMESTAMP_TEXT_MAX, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)date.year, date.month,
                       date.day, seconds / 3600, seconds / 60 % 60, seconds % 60);
    if (micros > 0)
        len += snprintf(out + len, LH_TIMESTAMP_TEXT_MAX - (size_t)len, ".%06dZ", (int)micros);
    else
        len += snprintf(out + len, LH_TIMESTAMP_TEXT_MAX - (size_t)len, "Z");
    return (size_t)len;
}

/* ---- Random numbers ---- */

lh_random lh_event_random(const lh_event *event)
{
    /* FNV-1a over the id and the part; the generator below mixes it well. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < event->id.len; i++)
        hash = (hash ^ (unsigned char)event->id.ptr[i]) * UINT64_C(0x100000001b3);
    for (int i = 0; i < 4; i++) hash = (hash ^ (event->part >> (8 * i) & 0xff)) * UINT64_C(0x100000001b3);
    return (lh_random){hash};
}

/* SplitMix64. */
uint64_t lh_random_next(lh_random *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t bits = random->state;
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

uint64_t lh_random_below(lh_random *random, uint64_t end)
{
    /* The upper half of a product: no bias worth speaking of for an `end` far below 2^64. */
    return (uint64_t)(((lh_uint128)lh_random_next(random) * end) >> 64);
}

double lh_random_fraction(lh_random *random)
{
    return (double)(lh_random_next(random) >> 11) / (double)(UINT64_C(1) << 53);
}

void lh_random_uuid(lh_random *random, char out[37])
{
    uint64_t high = lh_random_next(random), low = lh_random_next(random);
    high = (high & ~UINT64_C(0xf000)) | 0x4000;
    low = (low & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    snprintf(out, 37, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32), (unsigned)(high >> 16) & 0xffff,
             (unsigned)high & 0xffff, (unsigned)(low >> 48), (unsigned long long)(low & UINT64_C(0xffffffffffff)));
}

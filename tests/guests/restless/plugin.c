/* Writes what its clock and its random source say, fails, and breaks. */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lamphouse/lamphouse.h"

enum { READINGS };
enum { STREAM_ID, CLOCK, CHANCE };

static const lh_column READING_COLUMNS[] = {
    [STREAM_ID] = LH_TEXT("stream_id", LH_KEY),
    [CLOCK] = LH_TEXT("clock"),
    [CHANCE] = LH_TEXT("chance"),
};

static const lh_table TABLES[] = {
    [READINGS] = LH_TABLE("readings", LH_COLUMNS(READING_COLUMNS)),
};

static lh_result ticked(lh_call *call, const lh_event *event)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return lh_put(call, READINGS, LH_ROW(
        [STREAM_ID] = lh_of_text(event->stream_id),
        [CLOCK] = lh_of_text(lh_format(call, "%lld.%09ld", (long long)now.tv_sec, now.tv_nsec)),
        [CHANCE] = lh_of_text(lh_format(call, "%d", rand()))));
}

static lh_result erred(lh_call *call, const lh_event *event)
{
    return lh_fail(call, "the weather in " LH_S " is bad", LH_A(event->stream_id));
}

__attribute__((noinline)) static void deeper(size_t length)
{
    if (length < 1000000) abort();
}

static lh_result broke(lh_call *call, const lh_event *event)
{
    deeper(event->stream_id.len);
    return lh_fail(call, "abort() came back");
}

static const lh_handler HANDLERS[] = {
    LH_ON("Ticked", ticked),
    LH_ON("Erred", erred),
    LH_ON("Broke", broke),
};

const lh_projector RESTLESS = {
    .name = "restless",
    .version = "0.1.0",
    LH_TABLES(TABLES),
    LH_HANDLERS(HANDLERS),
};

LH_PROJECTOR(RESTLESS)

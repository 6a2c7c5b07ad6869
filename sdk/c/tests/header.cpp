// The header in C++: the same macros, arrays in the order of the columns.
#include "../lamphouse.h"

enum { COUNTERS };
enum { NAME, COUNT };

static const lh_column COLUMNS[] = {LH_TEXT("name", LH_KEY), LH_INTEGER("count", LH_INITIAL_INT(0))};
static const lh_index INDEXES[] = {LH_INDEX(COUNT)};
static const lh_table TABLES[] = {LH_TABLE("counters", LH_COLUMNS(COLUMNS), LH_INDEXES(INDEXES))};
static const lh_field FIELDS[] = {LH_FIELD_INTEGER("/data/n"), LH_FIELD_TEXT("/data/t", LH_OPTIONAL)};

static lh_result counted(lh_call *call, const lh_event *event)
{
    if (event->fields[0].integer < 0) return lh_fail(call, "below 0 in " LH_S, LH_A(event->stream_id));
    const lh_value *row = lh_get(call, COUNTERS, LH_VALUES(lh_of_str("a")));
    if (row == nullptr) lh_put(call, COUNTERS, LH_ROW(lh_of_str("a"), lh_of_int(0)));
    return lh_upsert(call, COUNTERS, LH_VALUES(lh_of_text(event->stream_id)),
                     LH_CELLS(lh_add(COUNT, event->fields[0])));
}

static const lh_handler HANDLERS[] = {LH_ON("Counted", counted, LH_FIELDS(FIELDS))};

extern const lh_projector counters;
const lh_projector counters = {.name = "counters", .version = "1.0.0", LH_TABLES(TABLES), LH_HANDLERS(HANDLERS)};
LH_PROJECTOR(counters)

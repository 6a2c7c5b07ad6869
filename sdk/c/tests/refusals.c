/* What the harness refuses ends a test: each in a process of its own, whose last words are read. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../lh_harness.h"
#include "tests.h"

/* That this ends its process with status 1, and says so. */
static void refused(void (*test)(void), const char *words)
{
    int ends[2];
    LH_CHECK(pipe(ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        test();
        _exit(0);
    }
    close(ends[1]);
    char said[4096];
    size_t len = 0;
    for (ssize_t more; (more = read(ends[0], said + len, sizeof said - 1 - len)) > 0;) len += (size_t)more;
    said[len] = 0;
    close(ends[0]);
    int status;
    LH_CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1 || strstr(said, words) == NULL) {
        fprintf(stderr, "not refused with '%s', but: %s\n", words, said);
        exit(1);
    }
}

enum { ID, COUNT };
static const lh_column COLUMNS[] = {[ID] = LH_TEXT("id", LH_KEY), [COUNT] = LH_INTEGER("count", LH_INITIAL_INT(0))};
static const lh_table TABLES[] = {LH_TABLE("things", LH_COLUMNS(COLUMNS))};

static lh_result nothing(lh_call *call, const lh_event *event)
{
    (void)call, (void)event;
    return LH_OK;
}

/* ---- State that is kept from event to event ---- */

static lh_result counts_in_a_variable(lh_call *call, const lh_event *event)
{
    static int64_t kept;
    return lh_put(call, 0, LH_ROW([ID] = lh_of_text(event->stream_id), [COUNT] = lh_of_int(++kept)));
}

static void keeps_state(void)
{
    static const lh_handler HANDLERS[] = {LH_ON_EVERY_EVENT(counts_in_a_variable)};
    static const lh_projector PROJECTOR = {.name = "keeps", .version = "1", LH_TABLES(TABLES), LH_HANDLERS(HANDLERS)};
    lh_harness *harness = lh_harness_new(&PROJECTOR);
    lh_given(harness, "s-1", "Any", "{}");
    lh_assert_same_at_any_batch_size(harness);
}

/* ---- Declarations ---- */

static void declares_wrongly(void)
{
    static const lh_field FIELDS[] = {LH_FIELD_TEXT("/dat/x")};
    static const lh_column BAD[] = {LH_JSON("Id", LH_KEY, LH_NULLABLE),
                                    LH_DECIMAL("price", 2, LH_INITIAL_DECIMAL("0.001"))};
    static const lh_table BAD_TABLES[] = {LH_TABLE("things", LH_COLUMNS(BAD))};
    static const lh_handler HANDLERS[] = {LH_ON("A", nothing, LH_FIELDS(FIELDS))};
    static const lh_projector PROJECTOR = {.name = "Bad", .version = "1", LH_TABLES(BAD_TABLES), LH_HANDLERS(HANDLERS)};
    lh_harness_new(&PROJECTOR);
}

static void declares_no_number(void)
{
    static const lh_column BAD[] = {LH_TEXT("id", LH_KEY), LH_DECIMAL("price", 2, LH_INITIAL_DECIMAL("1,5"))};
    static const lh_table BAD_TABLES[] = {LH_TABLE("things", LH_COLUMNS(BAD))};
    static const lh_handler HANDLERS[] = {LH_ON("A", nothing)};
    static const lh_projector PROJECTOR = {.name = "bad", .version = "1", LH_TABLES(BAD_TABLES), LH_HANDLERS(HANDLERS)};
    lh_harness_new(&PROJECTOR);
}

static void expects_another_value(void) { LH_EXPECT(lh_of_int(7), "8"); }

static void gives_no_json(void)
{
    static const lh_handler HANDLERS[] = {LH_ON("A", nothing)};
    static const lh_projector PROJECTOR = {.name = "good", .version = "1", LH_TABLES(TABLES), LH_HANDLERS(HANDLERS)};
    lh_given(lh_harness_new(&PROJECTOR), "s-1", "A", "{'a': 1}");
}

/* ---- Upcasters ---- */

static lh_result gives_another(lh_call *call, const lh_event *event) { return lh_give(call, "Other", 1, event->data); }
static lh_result gives_text(lh_call *call, const lh_event *event)
{
    (void)event;
    return lh_give_with_metadata(call, "New", 1, lh_str("1"), lh_str("2"));
}

static const lh_schema NEW[] = {{"New", 1}}, OLD[] = {{"Old", 1}};

static void gives_what_is_not_named(void)
{
    static const lh_rule RULES[] = {LH_RULE("Old", 1, LH_GIVES(NEW), LH_LIFT(gives_another))};
    static const lh_upcaster UPCASTER = {.name = "gives", .version = "1", LH_RULES(RULES)};
    lh_upcast_given(lh_upcaster_harness_new(&UPCASTER), "s-1", "Old", "{}");
}

static void gives_metadata_that_is_no_object(void)
{
    static const lh_rule RULES[] = {LH_RULE("Old", 1, LH_GIVES(NEW), LH_LIFT(gives_text))};
    static const lh_upcaster UPCASTER = {.name = "gives", .version = "1", LH_RULES(RULES)};
    lh_upcast_given(lh_upcaster_harness_new(&UPCASTER), "s-1", "Old", "{}");
}

static void goes_in_circles(void)
{
    static const lh_rule RULES[] = {LH_RULE("Old", 1, LH_GIVES(NEW)), LH_RULE("New", 1, LH_GIVES(OLD))};
    static const lh_upcaster UPCASTER = {.name = "circles", .version = "1", LH_RULES(RULES)};
    lh_upcast_given(lh_upcaster_harness_new(&UPCASTER), "s-1", "Old", "{}");
}

static void takes_twice(void)
{
    static const lh_rule RULES[] = {LH_RULE("Old", 1, LH_GIVES(NEW)), LH_DROPS("Old", 1)};
    static const lh_upcaster UPCASTER = {.name = "twice", .version = "1", LH_RULES(RULES)};
    lh_upcaster_harness_new(&UPCASTER);
}

void refusals_tests(void)
{
    refused(keeps_state, "table 'things' differs in batches of 1 and of 7: row text 's-1', column count");
    refused(declares_wrongly, "- plugin name 'Bad' must be lower-case");
    refused(declares_wrongly, "- the fields of 'A': path '/dat/x' begins neither with /data nor with /metadata");
    refused(declares_wrongly, "- table 'things': key column 'Id' is nullable");
    refused(declares_wrongly, "- initial value of things.price: 0.001 does not fit decimal(2)");
    refused(declares_no_number, "- initial value of things.price: '1,5' is no decimal");
    refused(expects_another_value, "expected 8, but it is 7");
    refused(gives_no_json, "the data of a test's A is not JSON: expected a name in quotes at byte 1");
    refused(gives_what_is_not_named, "Old 1 became Other 1, which its rule does not name");
    refused(gives_metadata_that_is_no_object, "the metadata of New 1 is no object");
    refused(goes_in_circles, "the rules form a cycle");
    refused(takes_twice, "- two rules take Old 1");
}

/* What the harnesses share; not for tests. */
#ifndef LH_HARNESS_INTERNAL_H
#define LH_HARNESS_INTERNAL_H

#include "lh_internal.h"
#include "lh_harness.h"

/* Prints why, and ends the process. */
_Noreturn void lh_test_ends(const char *format, ...) LH_PRINTF_(1, 2);
/* The event that a test gives; advances the clock. */
lh_event lh_event_of_test(lh_arena *arena, const lh_test_event *given, int64_t *clock);

#endif

/* What the tests of golden vectors share. */
#ifndef LH_TEST_GOLDEN_H
#define LH_TEST_GOLDEN_H

#include "json.h"

void golden_format(const char *folder);
void golden_rules(const char *folder);

/* The same value, in the same form. */
void same_value(lh_value one, lh_value other, const char *what);
lh_change change_of(lh_text json);
lh_result project_nothing(lh_call *call, const lh_event *event);

#endif

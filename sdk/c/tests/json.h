/* JSON of test files: every value is the text that it is written as. */
#ifndef LH_TEST_JSON_H
#define LH_TEST_JSON_H

#include "../lh_harness_internal.h"

/* Everything that the tests read lives until they end. */
extern lh_arena test_arena;

/* The text of a file. */
lh_text file_text(const char *folder, const char *name);
/* A member of an object, an element of an array; at NULL where there is none. */
lh_text member(lh_text object, const char *name);
lh_text element(lh_text array, size_t place);
size_t length(lh_text array);
/* The first member's name of an object. */
lh_text first_name(lh_text object);
bool is_null(lh_text json);
/* Of a JSON text. */
lh_text text_of(lh_text json);
char *c_str_of(lh_text json);
/* Of a number, or of a text that holds one. */
int64_t int_of(lh_text json);
double real_of(lh_text json);
/* Of hexadecimal digits in a JSON text. */
lh_bytes bytes_of(lh_text json);
/* A value as the golden files name it: {"type": "integer", "value": "1"}. */
lh_value value_of(lh_text json);
lh_value *values_of(lh_text json, size_t *count);
lh_kind kind_of(lh_text json);

#endif

#ifndef LH_TESTS_H
#define LH_TESTS_H

void rows_tests(void);
void fields_tests(void);
void upcaster_tests(void);
void refusals_tests(void);

#endif

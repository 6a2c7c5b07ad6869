/* Runs all tests of the SDK; the argument is the folder of the golden vectors. */
#include <stdio.h>

#include "golden.h"
#include "tests.h"

int main(int count, char **arguments)
{
    const char *folder = count > 1 ? arguments[1] : "../../wit/golden";
    golden_format(folder);
    golden_rules(folder);
    rows_tests();
    fields_tests();
    upcaster_tests();
    refusals_tests();
    lh_arena_free(&test_arena);
    puts("all tests of the C SDK passed");
    return 0;
}

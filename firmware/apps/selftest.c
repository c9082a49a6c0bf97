/* The emitted example (main.c, its main renamed by the build) as firmware: prints PASS or FAIL, and exits likewise. */
#include "eq_board.h"

int eq_selftest_main(void);

int main(void)
{
    const int failed = eq_selftest_main();
    eq_board_write(failed ? "FAIL\n" : "PASS\n", 5);
    return failed;
}

/* The emitted example (main.c, its main renamed by the build) as firmware: prints PASS or FAIL, and exits likewise. Built
 * with EQ_HOOK it first prints one of these for each step: its tensors' CRC-32, over all test vectors, against those that
 * the simulator gave. */
#include "eq_board.h"
#include "eq_crc.h"
#include "eq_description.h"
#include "eq_model.h"
#include "eq_step.h"
#include "faults.h"

int eq_selftest_main(void);

static int verdict(int failed)
{
    eq_board_write(failed ? "FAIL\n" : "PASS\n", 5);
    return failed;
}

#if defined EQ_HOOK && defined EQ_MODEL_CHECKS

static uint32_t delivered, steps;
static unsigned char wrong[EQ_MODEL_STEPS];

void eq_step(int32_t index, const void *output, int32_t bytes)
{
    if (delivered >= EQ_MODEL_CHECKS || eq_crc32(0, output, (uint32_t)bytes) != EQ_MODEL_CHECK[delivered]) {
        wrong[index] = 1;
    }
    if ((uint32_t)index >= steps) {
        steps = (uint32_t)index + 1u;
    }
    delivered++;
}

static int step_verdict(uint32_t index)
{
    char text[] = "step     0 ";
    for (uint32_t rest = index, at = sizeof text - 3u; rest != 0; rest /= 10u, at--) {
        text[at] = (char)('0' + rest % 10u);
    }
    eq_board_write(text, sizeof text - 1u);
    return verdict(wrong[index]);
}

static int steps_failed(void)
{
    int failed = delivered != EQ_MODEL_CHECKS;
    for (uint32_t i = 0; i < steps; i++) {
        failed |= step_verdict(i);
    }
    return failed;
}

#else

#ifdef EQ_HOOK
void eq_step(int32_t index, const void *output, int32_t bytes)
{
    (void)index;
    (void)output;
    (void)bytes;
}
#endif

static int steps_failed(void)
{
    return 0;
}

#endif

int main(void)
{
    if (EQ_WEIGHTS_IN_RAM) {
        eq_faults_clear();
    }
    const int failed = eq_selftest_main();
    const int bad = verdict(steps_failed() | failed);
    if (!bad) {
        eq_board_confirm();
    }
    return bad;
}

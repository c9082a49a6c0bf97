/* The host runner's side of the model: loops over vectors and collects every step's output.
 * Built with the emitted folder into a shared library that edgeq/run/host.py loads. */
#include <string.h>

#include "eq_model.h"
#include "eq_step.h"

static unsigned char *steps_out;

void eq_step(int32_t index, const void *output, int32_t bytes)
{
    (void)index;
    if (steps_out) {
        memcpy(steps_out, output, (size_t)bytes);
        steps_out += (bytes + 3) / 4 * 4;
    }
}

/* `steps` may be null; else it receives EQ_MODEL_STEP_BYTES per vector. */
void eq_host_run(int32_t vectors, void *arena, const unsigned char *in, unsigned char *out, unsigned char *steps)
{
    steps_out = steps;
#ifdef EQ_MODEL_STATE_BYTES
    eq_model_reset(arena);
#endif
    for (int32_t i = 0; i < vectors; i++) {
        eq_model_invoke(arena, in, out);
        in += EQ_MODEL_INPUT_BYTES;
        out += EQ_MODEL_OUTPUT_BYTES;
    }
}

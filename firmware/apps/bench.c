/* Runs the model on the vectors that lie at _vectors and sends, for each, what it computed and what that took.
 *
 * Vectors: "EQV1", their number, bytes of one, bytes of a fault map; the input blocks (eq_model.h); the fault map (faults.h), which
 * programs with their weights in RAM take.
 * Stream, in words: "EQR1", vectors, steps, output bytes, ticks of an empty measurement, ticks of an empty step; per
 * vector the steps (ticks, output block), then ticks since the last step or the beginning, stack bytes of the
 * inference and the output block; last "EQE1" and the CRC-32 of all before. Steps are sent by programs built with EQ_HOOK only, else their number is 0.
 * Sending is not counted: the clock stands for the model alone. */
#include "buffer.h"
#include "eq_board.h"
#include "eq_description.h"
#include "eq_model.h"
#include "eq_stack.h"
#include "eq_step.h"
#include "eq_stream.h"
#include "faults.h"

#ifdef EQ_HOOK
#define STEPS EQ_MODEL_STEPS
#else
#define STEPS 0
#endif

typedef void (*work_t)(void *arena, const unsigned char *in, unsigned char *out);

typedef struct {
    uint32_t tag, count, input_bytes, map_bytes;
    unsigned char data[];
} vectors_t;

extern const vectors_t _vectors;

EQ_BUFFER(arena, unsigned char, EQ_MODEL_ARENA_BYTES);
EQ_BUFFER(output, unsigned char, EQ_MODEL_OUTPUT_BYTES);

/* Called through here so that the model and nothing are measured by the same instructions. */
static volatile work_t work;
static uint32_t resumed;

static void nothing(void *memory, const unsigned char *in, unsigned char *out)
{
    (void)memory;
    (void)in;
    (void)out;
}

#ifdef EQ_HOOK
static uint32_t last_step;

static void two_steps(void *memory, const unsigned char *in, unsigned char *out)
{
    (void)in;
    (void)out;
    eq_step(-1, memory, 0);
    eq_step(-1, memory, 0);
}

void eq_step(int32_t index, const void *data, int32_t bytes)
{
    const uint32_t ticks = eq_board_clock() - resumed;
    last_step = ticks;
    if (index >= 0) {
        eq_stream_words(&ticks, 1);
        eq_stream_block(data, (uint32_t)bytes);
    }
    resumed = eq_board_clock();
}
#endif

static void measure(work_t what, const unsigned char *in, uint32_t *ticks, uint32_t *stack)
{
    work = what;
    const uint32_t pointer = eq_stack_paint();
    resumed = eq_board_clock();
    work(arena.bytes, in, output.bytes);
    *ticks = eq_board_clock() - resumed;
    *stack = eq_stack_used(pointer);
}

/* Whether the map, if there is one, could be applied. */
static int32_t damage(const unsigned char *map, uint32_t bytes)
{
    if (EQ_WEIGHTS_IN_RAM) {
        eq_faults_clear();
    }
    if (bytes == 0u) {
        return 1;
    }
    if (!EQ_WEIGHTS_IN_RAM || eq_faults_check(map, bytes) != EQ_FAULTS_FIT) {
        return 0;
    }
    eq_faults_apply(map);
    return 1;
}

int main(void)
{
    const vectors_t *const vectors = &_vectors;
    uint32_t ticks, stack, empty_step = 0;

    if (vectors->tag != EQ_TAG('E', 'Q', 'V', '1') || vectors->input_bytes != EQ_MODEL_INPUT_BYTES) {
        return 2;
    }
    if (!damage(vectors->data + vectors->count * EQ_MODEL_INPUT_BYTES, vectors->map_bytes)) {
        return 3;
    }
#ifdef EQ_HOOK
    measure(two_steps, vectors->data, &ticks, &stack);
    empty_step = last_step;
#endif
    measure(nothing, vectors->data, &ticks, &stack);
    const uint32_t header[] = { EQ_TAG('E', 'Q', 'R', '1'), vectors->count, STEPS, EQ_MODEL_OUTPUT_BYTES, ticks, empty_step };
    eq_stream_words(header, sizeof header / sizeof header[0]);

#ifdef EQ_MODEL_STATE_BYTES
    eq_model_reset(arena.bytes);
#endif
    for (uint32_t i = 0; i < vectors->count; i++) {
        measure(eq_model_invoke, vectors->data + i * EQ_MODEL_INPUT_BYTES, &ticks, &stack);
        const uint32_t record[] = { ticks, stack };
        eq_stream_words(record, 2);
        eq_stream_block(output.bytes, EQ_MODEL_OUTPUT_BYTES);
    }
    eq_stream_end();
    return 0;
}

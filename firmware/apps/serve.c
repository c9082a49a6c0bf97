/* Serves the model over the device link (protocol/eq_link.h, docs/link.md): a host describes, feeds, runs and examines it.
 * Built with EQ_HOOK: a host may stop an inference at each step and read what it computed. Time stands still meanwhile. */
#include <string.h>

#include "buffer.h"
#include "eq_board.h"
#include "eq_bytes.h"
#include "eq_crc.h"
#include "eq_description.h"
#include "eq_frame.h"
#include "eq_link.h"
#include "eq_model.h"
#include "eq_stack.h"
#include "eq_step.h"
#include "faults.h"

#define UNKNOWN 0xFFFFFFFFu

enum { STOP_AT_STEPS = 1, RESET_STATES = 2 }; /* flags of INVOKE */

enum { DONE = 0, AT_STEP = 1 }; /* phases of a result */

typedef struct {
    const unsigned char *data; /* what the host may read */
    unsigned char *target;     /* the same where it may write */
    uint32_t bytes;
} area_t;

typedef void (*work_t)(void *arena, const unsigned char *in, unsigned char *out);

EQ_BUFFER(arena, unsigned char, EQ_MODEL_ARENA_BYTES);
EQ_BUFFER(input, unsigned char, EQ_MODEL_INPUT_BYTES);
EQ_BUFFER(output, unsigned char, EQ_MODEL_OUTPUT_BYTES);

/* An inference. */
static eq_link_request asked;  /* INVOKE or RESUME, to be answered */
static uint32_t result[5];     /* its answer: phase, step, ticks, stack bytes, bytes of the step's tensor or of the outputs */
static uint32_t running, stopping, disturbed, resumed, ticks;
static area_t step;

/* Called through here so that the model and nothing are measured by the same instructions. */
static volatile work_t work;
static uint32_t empty, empty_step, inferences, deepest;

static uint32_t less(uint32_t a, uint32_t b)
{
    return a > b ? a - b : 0u;
}

static void send_result(const eq_link_request *request)
{
    eq_link_answer(request, result, sizeof result);
}

static void finish(uint32_t phase, uint32_t index, uint32_t time, uint32_t stack, uint32_t bytes)
{
    const uint32_t values[5] = { phase, index, time, stack, bytes };
    memcpy(result, values, sizeof result);
    send_result(&asked);
}

static area_t area_of(uint32_t index)
{
    static const unsigned char description[] = EQ_DESCRIPTION;
    const area_t areas[] = {
        { description, 0, sizeof description - 1u },
        { input.bytes, input.bytes, EQ_MODEL_INPUT_BYTES },
        { output.bytes, 0, EQ_MODEL_OUTPUT_BYTES },
        step,
#ifdef EQ_MODEL_STATE_BYTES
        { arena.bytes + EQ_MODEL_ARENA_BYTES - EQ_MODEL_STATE_BYTES, arena.bytes + EQ_MODEL_ARENA_BYTES - EQ_MODEL_STATE_BYTES,
          EQ_MODEL_STATE_BYTES },
#endif
    };
    const area_t none = { 0, 0, 0u };
    return index < sizeof areas / sizeof areas[0] ? areas[index] : none;
}

static void hello(const eq_link_request *request)
{
    if (request->bytes != 4u || eq_word_at(request->data) == 0u) {
        eq_link_refuse(request, EQ_LINK_MALFORMED, 4u);
        return;
    }
    const uint32_t facts[] = {
        eq_word_at(request->data), EQ_LINK_PAYLOAD, EQ_LINK_WINDOW, area_of(0u).bytes, EQ_MODEL_INPUT_BYTES, EQ_MODEL_OUTPUT_BYTES,
        EQ_MODEL_STEPS, eq_table_count, EQ_WEIGHTS_IN_RAM,
    };
    eq_link_answer(request, facts, sizeof facts);
}

/* READ and WRITE begin with a word: the area in its highest byte, an offset in the others. */
static void transfer(const eq_link_request *request)
{
    const uint32_t writes = request->command == EQ_LINK_WRITE;
    if (writes != 0u ? request->bytes < 4u : request->bytes != 6u) {
        eq_link_refuse(request, EQ_LINK_MALFORMED, 4u);
        return;
    }
    const uint32_t place = eq_word_at(request->data), offset = place & 0xFFFFFFu;
    const uint32_t bytes = writes != 0u ? request->bytes - 4u : eq_half_at(request->data + 4);
    const area_t area = area_of(place >> 24);
    if (bytes > EQ_LINK_PAYLOAD || offset > area.bytes || bytes > area.bytes - offset) {
        eq_link_refuse(request, EQ_LINK_OUT_OF_RANGE, area.bytes);
    } else if (writes == 0u) {
        eq_link_answer(request, area.data + offset, bytes);
    } else if (area.target == 0) {
        eq_link_refuse(request, EQ_LINK_READ_ONLY, 0u);
    } else {
        if (request->fresh != 0u) {
            memcpy(area.target + offset, request->data + 4, bytes);
        }
        eq_link_answer(request, 0, 0u);
    }
}

static void check(const eq_link_request *request)
{
    const uint32_t index = request->bytes == 2u ? eq_half_at(request->data) : eq_table_count;
    if (request->bytes != 2u || index >= eq_table_count) {
        eq_link_refuse(request, request->bytes != 2u ? EQ_LINK_MALFORMED : EQ_LINK_OUT_OF_RANGE, eq_table_count);
        return;
    }
    const uint32_t facts[] = { eq_crc32(0u, eq_tables[index].data, eq_tables[index].bytes), eq_tables[index].bytes };
    eq_link_answer(request, facts, sizeof facts);
}

static eq_faults_fit fitting(const eq_link_request *request)
{
    if (request->command == EQ_LINK_RESTORE) {
        return request->bytes == 0u ? EQ_FAULTS_FIT : EQ_FAULTS_NO_MAP;
    }
    return eq_faults_check(request->data, request->bytes);
}

/* FAULT flips bits of weights, all that its map says or none; RESTORE undoes it. */
static void damage(const eq_link_request *request)
{
    if (!EQ_WEIGHTS_IN_RAM) {
        eq_link_refuse(request, EQ_LINK_READ_ONLY, 0u);
        return;
    }
    const eq_faults_fit fit = fitting(request);
    if (fit != EQ_FAULTS_FIT) {
        const uint32_t outside = fit == EQ_FAULTS_OUTSIDE;
        eq_link_refuse(request, outside ? EQ_LINK_OUT_OF_RANGE : EQ_LINK_MALFORMED, outside ? eq_table_count : 4u);
        return;
    }
    if (request->fresh != 0u && request->command == EQ_LINK_RESTORE) {
        eq_faults_clear();
    } else if (request->fresh != 0u) {
        eq_faults_apply(request->data);
    }
    eq_link_answer(request, 0, 0u);
}

static void reset(const eq_link_request *request)
{
#ifdef EQ_MODEL_STATE_BYTES
    if (request->fresh != 0u) {
        eq_model_reset(arena.bytes);
    }
#endif
    eq_link_answer(request, 0, 0u);
}

extern unsigned char _stack_limit[], _stack_top[];

static void statistics(const eq_link_request *request)
{
    uint32_t touched = EQ_MODEL_ARENA_BYTES;
    while (touched > 0u && arena.bytes[touched - 1u] == 0u) {
        touched--;
    }
    const uint32_t facts[] = {
        eq_link_count.frames, eq_link_count.damaged, eq_link_count.repeated, eq_link_count.missing, inferences,
        deepest, (uint32_t)(_stack_top - _stack_limit), touched, EQ_MODEL_ARENA_BYTES,
    };
    eq_link_answer(request, facts, sizeof facts);
}

/* Into the bootloader, so that a programmer need not ask anybody to press a button. It asks outside of sessions. */
static void restart(const eq_link_request *request)
{
#ifdef EQ_RESTART
    if (request->bytes == 4u && eq_word_at(request->data) == EQ_LINK_RESTART_WORD) {
        eq_link_answer(request, 0, 0u);
        *(volatile uint32_t *)EQ_RESTART = EQ_RESTART_VALUE;
        for (;;) {
        }
    }
    eq_link_refuse(request, EQ_LINK_MALFORMED, 4u);
#else
    eq_link_refuse(request, EQ_LINK_UNKNOWN, EQ_LINK_VERSION);
#endif
}

/* All but what begins or resumes an inference. */
static void answer(const eq_link_request *request)
{
    switch (request->command) {
    case EQ_LINK_HELLO:
        hello(request);
        eq_board_confirm(); /* a host reaches it: it can be replaced again */
        break;
    case EQ_LINK_READ:
    case EQ_LINK_WRITE:
        transfer(request);
        break;
    case EQ_LINK_RESET:
        reset(request);
        break;
    case EQ_LINK_CHECK:
        check(request);
        break;
    case EQ_LINK_FAULT:
    case EQ_LINK_RESTORE:
        damage(request);
        break;
    case EQ_LINK_STATISTICS:
        statistics(request);
        break;
    case EQ_LINK_RESTART:
        restart(request);
        break;
    case EQ_LINK_INVOKE:
    case EQ_LINK_RESUME:
        if (request->fresh != 0u || request->number != asked.number || request->command != asked.command) {
            eq_link_refuse(request, EQ_LINK_NOT_NOW, running);
        } else {
            send_result(request);
        }
        break;
    default:
        eq_link_refuse(request, EQ_LINK_UNKNOWN, EQ_LINK_VERSION);
        break;
    }
}

/* Between steps of an inference that does not stop: whoever asks learns that it goes on. */
static void stay_alive(void)
{
    eq_link_request request;
    if (!eq_link_receive(&request, 0u)) {
        return;
    }
    if (request.command == EQ_LINK_RESTART) {
        restart(&request);
    } else {
        disturbed = 1u; /* the stack was used by more than the model */
        eq_link_busy(&request);
    }
}

/* At a step: serve the host until it resumes the inference, or forgets it and begins a new session. */
static void stop(void)
{
    eq_link_request request;
    disturbed = 1u;
    for (;;) {
        if (!eq_link_receive(&request, EQ_TICKS_PER_MS * 1000u)) {
            continue;
        }
        if (request.command == EQ_LINK_RESUME && request.fresh != 0u) {
            asked = request;
            return;
        }
        if (request.command == EQ_LINK_HELLO && request.fresh != 0u) {
            stopping = 0u;
            asked.command = EQ_LINK_BUSY;
            eq_link_busy(&request);
            return;
        }
        answer(&request);
    }
}

void eq_step(int32_t index, const void *data, int32_t bytes)
{
    const uint32_t own = eq_board_clock() - resumed;
    if (index < 0) {
        empty_step = own;
    } else {
        ticks += less(own, empty_step);
        if (stopping != 0u) {
            step.data = (const unsigned char *)data;
            step.bytes = (uint32_t)bytes;
            finish(AT_STEP, (uint32_t)index, less(own, empty_step), UNKNOWN, step.bytes);
            stop();
            step.bytes = 0u;
        } else {
            stay_alive();
        }
    }
    resumed = eq_board_clock();
}

static void nothing(void *memory, const unsigned char *in, unsigned char *out)
{
    (void)memory;
    (void)in;
    (void)out;
}

static void two_steps(void *memory, const unsigned char *in, unsigned char *out)
{
    (void)in;
    (void)out;
    eq_step(-1, memory, 0);
    eq_step(-1, memory, 0);
}

/* Returns the stack's high-water mark in bytes; `ticks` is what the work took. */
static uint32_t measure(work_t what)
{
    work = what;
    ticks = 0u;
    const uint32_t pointer = eq_stack_paint();
    resumed = eq_board_clock();
    work(arena.bytes, input.bytes, output.bytes);
    ticks += less(eq_board_clock() - resumed, empty);
    return eq_stack_used(pointer);
}

static void invoke(const eq_link_request *request)
{
    const uint32_t flags = request->bytes == 4u ? eq_word_at(request->data) : UNKNOWN;
    if (flags > (STOP_AT_STEPS | RESET_STATES)) {
        eq_link_refuse(request, EQ_LINK_MALFORMED, 4u);
        return;
    }
#ifdef EQ_MODEL_STATE_BYTES
    if ((flags & RESET_STATES) != 0u) {
        eq_model_reset(arena.bytes);
    }
#endif
    asked = *request;
    stopping = flags & STOP_AT_STEPS;
    disturbed = 0u;
    running = 1u;
    uint32_t stack = measure(eq_model_invoke);
    running = 0u;
    inferences++;
    if (disturbed != 0u) {
        stack = UNKNOWN;
    } else if (stack > deepest) {
        deepest = stack;
    }
    if (asked.command != EQ_LINK_BUSY) {
        finish(DONE, EQ_MODEL_STEPS, ticks, stack, EQ_MODEL_OUTPUT_BYTES);
    }
}

int main(void)
{
    eq_link_request request;
    if (EQ_WEIGHTS_IN_RAM) {
        eq_faults_clear();
    }
    (void)measure(two_steps);
    (void)measure(nothing);
    empty = ticks;
    for (;;) {
        if (!eq_link_receive(&request, EQ_TICKS_PER_MS * 1000u)) {
            continue;
        }
        if (request.command == EQ_LINK_INVOKE && request.fresh != 0u) {
            invoke(&request);
        } else {
            answer(&request);
        }
    }
}

/* Answers the serial commands of MLPerf Tiny's runner (EnergyRunner), performance mode; docs/link.md has the dialogue.
 *
 * A command is text that ends in '%'; every reply line ends in CR LF, and after each command comes "m-ready". The runner
 * loads an input as hexadecimal bytes, lets the model infer it N times, and reads the outputs as real numbers. */
#include <string.h>

#include "buffer.h"
#include "eq_board.h"
#include "eq_description.h"
#include "eq_mlperf.h"
#include "eq_model.h"
#include "faults.h"

#define COMMAND_BYTES 80u
#define END '%'

EQ_BUFFER(arena, unsigned char, EQ_MODEL_ARENA_BYTES);
EQ_BUFFER(input, unsigned char, EQ_MODEL_INPUT_BYTES);
EQ_BUFFER(output, signed char, EQ_MODEL_OUTPUT_BYTES);

static unsigned char loaded[EQ_MLPERF_BYTES]; /* as the runner sent it */
static uint32_t expected, received;           /* bytes of it */

static void say(const char *text)
{
    uint32_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    eq_board_write(text, length);
}

/* The decimal digits of a number, at least `least` of them. */
static void say_number(uint32_t number, uint32_t least)
{
    char digits[10];
    uint32_t i = sizeof digits;
    do {
        i--;
        digits[i] = (char)('0' + (char)(number % 10u));
        number /= 10u;
    } while (number != 0u || sizeof digits - i < least);
    eq_board_write(digits + i, (uint32_t)sizeof digits - i);
}

static void say_line(const char *before, uint32_t number, const char *after)
{
    say(before);
    say_number(number, 1u);
    say(after);
    say("\r\n");
}

/* With three decimals, to nearest. */
static void say_real(float value)
{
    const float size = value < 0.0f ? -value : value;
    const uint32_t milli = size < 4.0e6f ? (uint32_t)(size * 1000.0f + 0.5f) : 4000000000u;
    say(value < 0.0f && milli != 0u ? "-" : "");
    say_number(milli / 1000u, 1u);
    say(".");
    say_number(milli % 1000u, 3u);
}

/* Microseconds since the start, read more often than the clock wraps around. */
static uint32_t microseconds(void)
{
    static uint64_t ticks;
    static uint32_t last;
    const uint32_t now = eq_board_clock();
    ticks += now - last;
    last = now;
    return (uint32_t)(ticks * 1000u / EQ_TICKS_PER_MS);
}

static float real_input(uint32_t i)
{
    float x;
    memcpy(&x, loaded + i * sizeof x, sizeof x);
    return x;
}

/* A real number as the model's input stores it, by its rounding: times the factor and halves to even, or (tflm) divided by it and
 * halves away from zero. */
static unsigned char quantized(float x)
{
    const float steps = EQ_MLPERF_TFLM ? x / EQ_MLPERF_FACTOR : x * EQ_MLPERF_FACTOR;
    const float limited = !(steps > -1000.0f) ? -1000.0f : steps < 1000.0f ? steps : 1000.0f;
    int32_t q = (int32_t)limited;
    q -= limited < (float)q;
    const float rest = limited - (float)q;
    const int32_t up_from_half = EQ_MLPERF_TFLM ? limited > 0.0f : (q & 1) != 0;
    q += (rest > 0.5f || (rest >= 0.5f && up_from_half)) + EQ_MLPERF_INPUT_ZERO;
    return (unsigned char)(q < -128 ? -128 : q > 127 ? 127 : q);
}

static void fill_input(void)
{
    for (uint32_t i = 0; i < EQ_MLPERF_VALUES; i++) {
        if (EQ_MLPERF_CODING == EQ_MLPERF_REAL) {
            input.bytes[i] = quantized(real_input(i));
        } else { /* unsigned ones minus 128 */
            input.bytes[i] = EQ_MLPERF_CODING == EQ_MLPERF_UNSIGNED ? loaded[i] ^ 0x80u : loaded[i];
        }
    }
}

static float real_output(uint32_t i)
{
    return EQ_MLPERF_SCALE * (float)(output.bytes[i] - EQ_MLPERF_ZERO);
}

/* The outputs; of the autoencoder its mean squared error. */
static void results(void)
{
    float sum = 0.0f;
    say("m-results-[");
    for (uint32_t i = 0; i < EQ_MLPERF_OUTPUTS; i++) {
        if (EQ_MLPERF_CODING == EQ_MLPERF_REAL) {
            const float error = real_input(i) - real_output(i);
            sum += error * error;
        } else {
            say(i != 0u ? "," : "");
            say_real(real_output(i));
        }
    }
    if (EQ_MLPERF_CODING == EQ_MLPERF_REAL) {
        say_real(sum / (float)EQ_MLPERF_OUTPUTS);
    }
    say("]\r\n");
}

static void infer(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)microseconds();
        eq_model_invoke(arena.bytes, input.bytes, (unsigned char *)output.bytes);
    }
}

static void benchmark(uint32_t count, uint32_t warm_up)
{
    if (received != EQ_MLPERF_BYTES) {
        say_line("e-[Load all bytes of the input first: ", EQ_MLPERF_BYTES, "]");
        return;
    }
    fill_input();
    say_line("m-warmup-start-", warm_up, "");
    infer(warm_up);
    say("m-warmup-done\r\n");
    say_line("m-infer-start-", count, "");
    say_line("m-lap-us-", microseconds(), "");
    infer(count);
    say_line("m-lap-us-", microseconds(), "");
    say("m-infer-done\r\n");
    results();
}

/* The command, cut at spaces as it is read. */
static char command[COMMAND_BYTES];
static uint32_t length, at;

/* The next word; empty at the end. */
static const char *word(void)
{
    while (at < length && command[at] == ' ') {
        at++;
    }
    const uint32_t start = at;
    while (at < length && command[at] != ' ') {
        at++;
    }
    command[at] = 0;
    at += at < length;
    return command + start;
}

static uint32_t same(const char *a, const char *b)
{
    uint32_t i = 0;
    while (a[i] != 0 && a[i] == b[i]) {
        i++;
    }
    return a[i] == b[i];
}

/* A decimal number of at most `most`; `otherwise` where the word is empty; one more than `most` where it is none. */
static uint32_t number(const char *text, uint32_t most, uint32_t otherwise)
{
    uint32_t value = 0;
    if (text[0] == 0) {
        return otherwise;
    }
    for (uint32_t i = 0; text[i] != 0; i++) {
        const uint32_t digit = (uint32_t)(unsigned char)text[i] - '0';
        if (digit > 9u || value > (most - digit) / 10u) {
            return most + 1u;
        }
        value = value * 10u + digit;
    }
    return value;
}

static uint32_t nibble(char c)
{
    const uint32_t digit = (uint32_t)(unsigned char)c - '0', letter = ((uint32_t)(unsigned char)c | 0x20u) - 'a';
    return digit <= 9u ? digit : letter <= 5u ? letter + 10u : 16u;
}

/* Hexadecimal bytes of the input: all of them or, if one is none or too many come, nothing. */
static void load_bytes(const char *text)
{
    uint32_t digits = 0;
    while (text[digits] != 0 && nibble(text[digits]) < 16u) {
        digits++;
    }
    if (text[digits] != 0 || digits % 2u != 0u || digits == 0u) {
        say("e-[Not hexadecimal bytes]\r\n");
    } else if (digits / 2u > expected - received) {
        say("e-[More bytes than expected]\r\n");
    } else {
        for (uint32_t i = 0; i < digits; i += 2u) {
            loaded[received] = (unsigned char)(nibble(text[i]) << 4 | nibble(text[i + 1u]));
            received++;
        }
        if (received == expected) {
            say("m-load-done\r\n");
        }
    }
}

static void print_bytes(void)
{
    static const char digits[] = "0123456789ABCDEF";
    for (uint32_t i = 0; i < received; i++) {
        const char byte[2] = { digits[loaded[i] >> 4], digits[loaded[i] & 15u] };
        say(i % 16u == 0u ? "m-buffer-" : "");
        eq_board_write(byte, 2u);
        say(i % 16u == 15u || i + 1u == received ? "\r\n" : "-");
    }
}

static void buffer(void)
{
    const char *const what = word();
    if (same(what, "load")) {
        const uint32_t bytes = number(word(), EQ_MLPERF_BYTES, 0u);
        if (bytes == 0u || bytes > EQ_MLPERF_BYTES) {
            say_line("e-[The input has 1 to ", EQ_MLPERF_BYTES, " bytes]");
            return;
        }
        expected = bytes;
        received = 0u;
        say_line("m-[Expecting ", bytes, " bytes]");
    } else if (same(what, "print")) {
        print_bytes();
    } else {
        load_bytes(what);
    }
}

static void execute(void)
{
    const char *const what = word();
    if (same(what, "name")) {
        say("m-name-dut-[" EQ_MLPERF_NAME "]\r\n");
    } else if (same(what, "profile")) {
        say("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[" EQ_MLPERF_TASK "]\r\n");
    } else if (same(what, "timestamp")) {
        say_line("m-lap-us-", microseconds(), "");
    } else if (same(what, "db")) {
        buffer();
    } else if (same(what, "infer")) {
        const uint32_t count = number(word(), 1000000u, 1u), warm_up = number(word(), 1000000u, 0u);
        if (count == 0u || count > 1000000u || warm_up > 1000000u) {
            say("e-[Infer 1 to 1000000 times]\r\n");
        } else {
            benchmark(count, warm_up);
        }
    } else if (same(what, "results")) {
        results();
    } else if (same(what, "help")) {
        say("m-[name, profile, timestamp, db load N, db HEX, db print, infer N WARMUP, results, help]\r\n");
    } else {
        say("e-[Unknown command: ");
        say(what);
        say("]\r\n");
    }
}

int main(void)
{
    uint32_t overlong = 0;
    char byte;
    if (EQ_WEIGHTS_IN_RAM) {
        eq_faults_clear();
    }
    say("m-timestamp-mode-performance\r\nm-init-done\r\nm-ready\r\n");
    for (;;) {
        (void)microseconds();
        if (eq_board_read(&byte, 1u, EQ_TICKS_PER_MS * 1000u) == 0u || byte == '\r' || byte == '\n' || byte == 0) {
            continue;
        }
        if (byte != END) {
            if (length < COMMAND_BYTES - 1u) {
                command[length] = byte;
                length++;
            } else {
                overlong = 1u;
            }
            continue;
        }
        at = 0u;
        if (overlong != 0u) {
            say("e-[Command too long]\r\n");
        } else {
            execute();
        }
        length = overlong = 0u;
        say("m-ready\r\n");
        eq_board_confirm(); /* it answers */
    }
}

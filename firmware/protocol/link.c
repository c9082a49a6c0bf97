/* eq_link.h: headers, sessions, and the order of requests. */
#include "eq_link.h"

#include "eq_board.h"
#include "eq_bytes.h"
#include "eq_frame.h"

#define NUMBERS 0xFFu
#define OLD 128u /* a number so far ahead, or further, is one of the past */
#define ANSWER 0x20u
#define COMMANDS 0x1Fu

eq_link_counts eq_link_count;

static unsigned char frame[EQ_LINK_HEADER + EQ_LINK_PAYLOAD + EQ_FRAME_CRC];
static eq_frame_reader reader = { .data = frame, .capacity = sizeof frame };
static uint32_t session;  /* the nonce of the last HELLO, 0 before the first */
static uint32_t expected; /* the next request's number */
static uint32_t told;     /* `expected` was sent since it last changed */
static uint32_t served;   /* requests of this session, at most OLD */

void eq_link_begin(const eq_link_request *request, eq_link_command command, uint32_t bytes)
{
    const unsigned char header[EQ_LINK_HEADER] = {
        (unsigned char)(EQ_LINK_VERSION << 6 | ANSWER | (uint32_t)command), (unsigned char)request->number,
        (unsigned char)bytes, (unsigned char)(bytes >> 8),
    };
    eq_frame_begin();
    eq_frame_part(header, sizeof header);
}

void eq_link_answer(const eq_link_request *request, const void *payload, uint32_t bytes)
{
    eq_link_begin(request, request->command, bytes);
    eq_frame_part(payload, bytes);
    eq_frame_end();
}

void eq_link_refuse(const eq_link_request *request, eq_link_refusal why, uint32_t detail)
{
    const uint32_t words[2] = { (uint32_t)why, detail };
    eq_link_begin(request, EQ_LINK_REFUSED, sizeof words);
    eq_frame_part(words, sizeof words);
    eq_frame_end();
}

void eq_link_busy(const eq_link_request *request)
{
    if (request->fresh != 0u && request->command != EQ_LINK_HELLO) {
        expected = request->number;
        served -= served > 0u;
    }
    eq_link_begin(request, EQ_LINK_BUSY, 0u);
    eq_frame_end();
}

/* Say which request is missing: after every damaged frame, once where others overtook it. */
static void ask_again(void)
{
    const eq_link_request next = { .number = expected };
    if (session != 0u) {
        eq_link_refuse(&next, EQ_LINK_EXPECTED, expected);
        told = 1u;
    }
}

static void open_session(eq_link_request *request)
{
    const uint32_t nonce = request->bytes == 4u ? eq_word_at(request->data) : 0u;
    request->fresh = nonce != session;
    if (nonce != 0u && request->fresh != 0u) {
        session = nonce;
        expected = (request->number + 1u) & NUMBERS;
        told = 0u;
        served = 0u;
    }
}

/* Whether the request is one for the application. */
static int32_t in_order(eq_link_request *request)
{
    const uint32_t ahead = (request->number - expected) & NUMBERS;
    if (session == 0u) {
        eq_link_refuse(request, EQ_LINK_NO_SESSION, 0u);
        return 0;
    }
    request->fresh = ahead == 0u;
    if (ahead == 0u) {
        expected = (expected + 1u) & NUMBERS;
        told = 0u;
        served += served < OLD;
    } else if (ahead >= OLD && NUMBERS + 1u - ahead > served) { /* from before this session: a host that another one has replaced */
        eq_link_refuse(request, EQ_LINK_NO_SESSION, 0u);
        return 0;
    } else if (ahead >= OLD) {
        eq_link_count.repeated++;
    } else {
        eq_link_count.missing++;
        if (told == 0u) {
            ask_again();
        }
        return 0;
    }
    return 1;
}

/* Whether the frame in the reader is a request for the application, which is filled in. */
static int32_t accept(eq_link_request *request)
{
    if (reader.length < EQ_LINK_HEADER || eq_half_at(frame + 2) != reader.length - EQ_LINK_HEADER) {
        eq_link_count.damaged++;
        ask_again();
        return 0;
    }
    eq_link_count.frames++;
    request->command = (eq_link_command)(frame[0] & COMMANDS);
    request->number = frame[1];
    request->data = frame + EQ_LINK_HEADER;
    request->bytes = reader.length - EQ_LINK_HEADER;
    if ((frame[0] & ANSWER) != 0u) {
        return 0; /* an echo of our own */
    }
    if (frame[0] >> 6 != EQ_LINK_VERSION) {
        eq_link_refuse(request, EQ_LINK_UNKNOWN, EQ_LINK_VERSION);
        return 0;
    }
    if (request->command == EQ_LINK_HELLO) {
        open_session(request);
        return 1;
    }
    if (request->command == EQ_LINK_RESTART) {
        request->fresh = 1u;
        return 1;
    }
    return in_order(request);
}

int32_t eq_link_receive(eq_link_request *request, uint32_t ticks)
{
    unsigned char byte;
    while (eq_board_read(&byte, 1u, ticks) == 1u) {
        const eq_frame_state state = eq_frame_push(&reader, byte);
        if (state == EQ_FRAME_DAMAGED) {
            eq_link_count.damaged++;
            ask_again();
        } else if (state == EQ_FRAME_WHOLE && accept(request)) {
            return 1;
        }
    }
    return 0;
}

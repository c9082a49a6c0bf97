/* The device link: requests from a host, answers from the board, one frame each (eq_frame.h). docs/link.md is the
 * specification. Requests carry consecutive numbers: one that comes again is answered again and not executed again. */
#ifndef EQ_LINK_H
#define EQ_LINK_H

#include <stdint.h>

#define EQ_LINK_VERSION 1u
#define EQ_LINK_HEADER 4u /* version, answer, command; number; bytes of the payload, two */

#ifndef EQ_LINK_PAYLOAD
#define EQ_LINK_PAYLOAD 4096u /* bytes of the longest payload, either way; a board may define less */
#endif

#define EQ_LINK_RESTART_WORD 0x544F4F42u /* "BOOT", RESTART's payload */

#ifndef EQ_LINK_WINDOW
#define EQ_LINK_WINDOW 0u /* bytes that the board buffers or holds back while it works; 0: one request at a time */
#endif

typedef enum {
    EQ_LINK_HELLO = 1,
    EQ_LINK_READ = 2,
    EQ_LINK_WRITE = 3,
    EQ_LINK_INVOKE = 4,
    EQ_LINK_RESUME = 5,
    EQ_LINK_RESET = 6,
    EQ_LINK_CHECK = 7,
    EQ_LINK_FAULT = 8,
    EQ_LINK_RESTORE = 9,
    EQ_LINK_STATISTICS = 10,
    EQ_LINK_RESTART = 11,
    EQ_LINK_BUSY = 30,  /* answers only */
    EQ_LINK_REFUSED = 31 /* answers only */
} eq_link_command;

typedef enum {
    EQ_LINK_NO_SESSION = 1,   /* no HELLO since power-on: the board was restarted */
    EQ_LINK_EXPECTED = 2,     /* a request before this one did not arrive; detail: the number expected */
    EQ_LINK_UNKNOWN = 3,      /* no such command; or no such version, detail: the one spoken */
    EQ_LINK_MALFORMED = 4,    /* the payload has the wrong length */
    EQ_LINK_OUT_OF_RANGE = 5, /* no such area, table or offset */
    EQ_LINK_NOT_NOW = 6,      /* stopped at a step and asked for something else, or the other way round */
    EQ_LINK_READ_ONLY = 7     /* the area or the weights cannot be written */
} eq_link_refusal;

typedef struct {
    eq_link_command command;
    uint32_t number;
    uint32_t fresh; /* 0: answered before; answer again, change nothing */
    const unsigned char *data;
    uint32_t bytes;
} eq_link_request;

/* What came since power-on. */
typedef struct {
    uint32_t frames, damaged, repeated, missing;
} eq_link_counts;

extern eq_link_counts eq_link_count;

/* Take what has come, and wait up to `ticks` for the next byte. Returns 1 and fills `request`, which lasts until the next
 * call, or returns 0. Requests that are damaged, out of order or outside of a session are dealt with here. */
int32_t eq_link_receive(eq_link_request *request, uint32_t ticks);

/* Answer: begin with the payload's length, then its parts by eq_frame_part, then eq_frame_end. */
void eq_link_begin(const eq_link_request *request, eq_link_command command, uint32_t bytes);

void eq_link_answer(const eq_link_request *request, const void *payload, uint32_t bytes);
void eq_link_refuse(const eq_link_request *request, eq_link_refusal why, uint32_t detail);

/* An inference is under way: the request is not executed now, and may come again. */
void eq_link_busy(const eq_link_request *request);

#endif

/* Frames on a serial line: COBS between zero bytes, the last four bytes the CRC-32 of those before, little-endian. */
#ifndef EQ_FRAME_H
#define EQ_FRAME_H

#include <stdint.h>

#define EQ_FRAME_CRC 4u

typedef enum { EQ_FRAME_MORE, EQ_FRAME_WHOLE, EQ_FRAME_DAMAGED } eq_frame_state;

/* Takes bytes from the line. `data` and `capacity` are the owner's, who sets the rest to zero. */
typedef struct {
    unsigned char *data;
    uint32_t capacity; /* of `data`: a longer frame is dropped as damaged */
    uint32_t length;   /* bytes of the frame so far; of a whole one without its CRC */
    uint32_t left;     /* bytes of this COBS block to come */
    uint32_t zero;     /* the block ends in a zero, if another one follows */
    uint32_t ended;    /* the frame in `data` was reported: the next byte begins another */
    uint32_t damaged;
} eq_frame_reader;

/* Take one byte. An EQ_FRAME_WHOLE frame lies in `data` until the next call; empty frames are not reported. */
eq_frame_state eq_frame_push(eq_frame_reader *reader, unsigned char byte);

/* Send a frame: begin, any number of parts, end. */
void eq_frame_begin(void);
void eq_frame_part(const void *data, uint32_t bytes);
void eq_frame_end(void);

#endif

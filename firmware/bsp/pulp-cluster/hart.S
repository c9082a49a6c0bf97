/* The computing harts: they sleep at the barrier until there is work, do their parts of it, and meet there again. */
#include "hart.inc"

    hart_begin
    li s2, EQ_UNIT
1:  .insn i 0x0b, 3, x0, s2, 4      /* cv.elw: the barrier */
    lw s3, 0(s0)                    /* what to do, its argument, parts, cores */
    lw s4, 4(s0)
    lw s5, 8(s0)
    lw s6, 12(s0)
    hart_work
    .insn i 0x0b, 3, x0, s2, 4
    j 1b
    hart_end

/* Between blocks.c, loops.c, machine.c and run.c. */
#ifndef EQ_ISS_BLOCKS_H
#define EQ_ISS_BLOCKS_H

#include "iss.h"

uint8_t *eq_memory(const eq_machine *m, uint32_t at, uint32_t bytes);
uint32_t eq_fetch(const eq_machine *m, uint32_t pc, uint32_t *word);
void eq_flush(eq_machine *m);
eq_block *eq_block_at(eq_machine *m, uint32_t pc, const void *const *handlers);
int eq_seam(eq_machine *m, const eq_block *a, eq_block *b);

const char *eq_loop_write(eq_machine *m, const eq_op *op);
const char *eq_loop_check(eq_machine *m, uint32_t which);
const char *eq_loop_entered(const eq_machine *m, uint32_t from, uint32_t to);

#endif

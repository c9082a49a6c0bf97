/* The stack's high-water mark, from the start-up code of each architecture. */
#ifndef EQ_STACK_H
#define EQ_STACK_H

#include <stdint.h>

/* Fill the free stack with a pattern; returns the stack pointer of the caller. */
uint32_t eq_stack_paint(void);

/* Bytes between `pointer` and the deepest word overwritten since. */
uint32_t eq_stack_used(uint32_t pointer);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* The per-step hook, compiled out by default. With -DEQ_HOOK the program that contains the model
 * defines eq_step(), which is called after every step with the step's index and its output. */
#ifndef EQ_STEP_H
#define EQ_STEP_H

#include <stdint.h>

#ifdef EQ_HOOK
void eq_step(int32_t index, const void *output, int32_t bytes);
#define EQ_STEP(index, output, bytes) eq_step((index), (output), (bytes))
#else
#define EQ_STEP(index, output, bytes) ((void)0)
#endif

#endif

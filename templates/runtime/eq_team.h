/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Work for several cores. With -DEQ_TEAM the program that contains the model defines eq_fork(), which computes all parts, each once, on
 * whichever cores and in whichever order, and returns when all have been computed; else one core computes them in turn. */
#ifndef EQ_TEAM_H
#define EQ_TEAM_H

#include <stdint.h>

typedef void (*eq_work)(const void *what, int32_t part);

#ifdef EQ_TEAM
#ifdef __cplusplus
extern "C"
#endif
void eq_fork(eq_work work, const void *what, int32_t parts);
#else
static inline void eq_fork(eq_work work, const void *what, int32_t parts)
{
    for (int32_t part = 0; part < parts; part++) {
        work(what, part);
    }
}
#endif

#endif

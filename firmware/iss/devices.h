/* Devices: a UART, the end of a program, and the unit of a cluster. Part of run.c. */
#ifndef EQ_ISS_DEVICES_H
#define EQ_ISS_DEVICES_H

#include "cluster.h"

enum { UART_LINE = 3, UART_STATUS = 5, UART_EMPTY = 0x60 };

/* A device's register; 0 for what is not modelled: the interrupt controllers, which stay silent. */
static int device(const eq_machine *m, uint32_t at)
{
    if (m->cluster != NULL && at - m->cluster->unit < EQ_UNIT_BYTES) {
        return 1;
    }
    return (at - m->uart < 8u) || (at - m->test < 4u) || (at - 0x02000000u < 0x10000u) || (at - 0x0C000000u < 0x4000000u);
}

static uint32_t device_read(const eq_machine *m, uint32_t at)
{
    if (m->cluster != NULL && at - m->cluster->unit < EQ_UNIT_BYTES) {
        return eq_unit_read(m, at - m->cluster->unit);
    }
    return at == m->uart + UART_STATUS ? UART_EMPTY : 0;
}

/* Returns why the machine stops, or -1. */
static int device_write(eq_machine *hart, uint32_t at, uint32_t v)
{
    eq_machine *const m = hart->lead;
    if (m->cluster != NULL && at - m->cluster->unit < EQ_UNIT_BYTES) {
        return eq_unit_write(hart, at - m->cluster->unit, v);
    }
    if (at == m->uart + UART_LINE) {
        m->divisor_latch = (v & 0x80u) != 0; /* the data register is the divisor's then */
    }
    if (at == m->uart && !m->divisor_latch && m->sent_bytes < EQ_SENT) {
        m->sent[m->sent_bytes++] = (uint8_t)v;
        return m->sent_bytes == EQ_SENT ? EQ_SENT_FULL : -1;
    }
    if (at == m->test && ((v & 0xFFFFu) == 0x5555u || (v & 0xFFFFu) == 0x3333u)) {
        m->exit_code = (v & 0xFFFFu) == 0x5555u ? 0 : (int32_t)(v >> 16);
        return EQ_EXIT;
    }
    return -1;
}

#endif

/* Control and status registers. Part of run.c. */
#ifndef EQ_ISS_REGISTERS_H
#define EQ_ISS_REGISTERS_H

#include "cluster.h"

#include <stdlib.h>

enum { READS_MOST = 1 << 24 };

static uint64_t now(uint64_t counted, uint64_t offset, uint64_t held, uint32_t inhibited)
{
    return inhibited ? held : counted - offset;
}

static int note_read(eq_machine *m, uint64_t instructions, uint64_t cycles)
{
    if (m != m->lead) {
        return 1;
    }
    if (m->cluster != NULL) {
        instructions += eq_others_instructions(m->cluster);
    }
    if (m->reads_count + 2u > m->reads_room) {
        const uint32_t room = m->reads_room ? 2u * m->reads_room : 1024u;
        uint64_t *const more = room <= READS_MOST ? realloc(m->reads, room * sizeof *more) : NULL;
        if (more == NULL) {
            return 0;
        }
        m->reads = more;
        m->reads_room = room;
    }
    m->reads[m->reads_count++] = instructions;
    m->reads[m->reads_count++] = cycles;
    return 1;
}

static int csr_read(eq_machine *m, uint32_t n, uint64_t cycles, uint64_t instructions, uint32_t *v)
{
    const uint64_t c = now(cycles, m->cycle_offset, m->held_cycles, m->inhibit & 1u);
    const uint64_t i = now(instructions, m->instret_offset, m->held_instructions, m->inhibit & 4u);
    switch (n) {
    case 0x001: *v = eq_float_flags(); return 1;
    case 0x002: *v = m->frm; return 1;
    case 0x003: *v = m->frm << 5 | eq_float_flags(); return 1;
    case 0x300: *v = m->mstatus; return 1;
    case 0x301: *v = 0x40001104u; return 1;
    case 0x304: *v = m->mie; return 1;
    case 0x305: *v = m->mtvec; return 1;
    case 0x320: *v = m->inhibit; return 1;
    case 0x340: *v = m->mscratch; return 1;
    case 0x341: *v = m->mepc; return 1;
    case 0x342: *v = m->mcause; return 1;
    case 0x343: *v = m->mtval; return 1;
    case 0xB00: case 0xC00: *v = (uint32_t)c; return note_read(m, instructions, cycles);
    case 0xB80: case 0xC80: *v = (uint32_t)(c >> 32); return 1;
    case 0xB02: case 0xC02: *v = (uint32_t)i; return 1;
    case 0xB82: case 0xC82: *v = (uint32_t)(i >> 32); return 1;
    case 0xCC0: case 0xCC4: *v = m->loop[n >> 2 & 1u].start; return 1;
    case 0xCC1: case 0xCC5: *v = m->loop[n >> 2 & 1u].end; return 1;
    case 0xCC2: case 0xCC6: *v = m->loop[n >> 2 & 1u].count; return 1;
    case 0x344: case 0xF11: case 0xF12: case 0xF13: *v = 0; return 1;
    case 0xF14: *v = m->hart; return 1;
    default: *v = 0; return (n >= 0x323u && n <= 0x33Fu) || (n >= 0xB03u && n <= 0xB1Fu) || (n >= 0xB83u && n <= 0xB9Fu);
    }
}

static void inhibit(eq_machine *m, uint32_t v, uint64_t cycles, uint64_t instructions)
{
    if ((m->inhibit ^ v) & 1u) {
        m->held_cycles = now(cycles, m->cycle_offset, m->held_cycles, m->inhibit & 1u);
        m->cycle_offset = cycles - m->held_cycles;
    }
    if ((m->inhibit ^ v) & 4u) {
        m->held_instructions = now(instructions, m->instret_offset, m->held_instructions, m->inhibit & 4u);
        m->instret_offset = instructions - m->held_instructions;
    }
    m->inhibit = v & 5u;
}

static int csr_write(eq_machine *m, uint32_t n, uint32_t v, uint64_t cycles, uint64_t instructions)
{
    switch (n) {
    case 0x001: eq_float_set_flags(v & 31u); return 1;
    case 0x002: m->frm = v & 7u; return 1;
    case 0x003: m->frm = v >> 5 & 7u; eq_float_set_flags(v & 31u); return 1;
    case 0x300: m->mstatus = v; return 1;
    case 0x304: m->mie = v; return 1;
    case 0x305: m->mtvec = v & ~2u; return 1;
    case 0x320: inhibit(m, v, cycles, instructions); return 1;
    case 0x340: m->mscratch = v; return 1;
    case 0x341: m->mepc = v & ~1u; return 1;
    case 0x342: m->mcause = v; return 1;
    case 0x343: m->mtval = v; return 1;
    case 0xB00: m->cycle_offset = cycles - v; m->held_cycles = v; return 1;
    case 0xB02: m->instret_offset = instructions - v; m->held_instructions = v; return 1;
    default: return n == 0x301u || (n >= 0x323u && n <= 0x33Fu) || (n >= 0xB00u && n <= 0xB9Fu);
    }
}

/* Returns whether the register exists and may be written. */
static int csr(eq_machine *m, const eq_op *op, uint64_t cycles, uint64_t instructions)
{
    const uint32_t operand = op->x & 4u ? op->rs1 : m->x[op->rs1];
    const int writes = (op->x & 3u) == 1u || op->rs1 != 0;
    uint32_t old = 0;
    if (!csr_read(m, op->imm, cycles, instructions, &old) || (writes && op->imm >= 0xC00u)) {
        return 0;
    }
    if (writes) {
        const uint32_t v = (op->x & 3u) == 1u ? operand : (op->x & 3u) == 2u ? old | operand : old & ~operand;
        if (!csr_write(m, op->imm, v, cycles, instructions)) {
            return 0;
        }
    }
    m->x[op->rd] = old;
    return 1;
}

#endif

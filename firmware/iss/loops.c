/* Hardware loops. What the core's manual forbids is refused: what silicon does there is not specified. */
#include "blocks.h"

static int inside(const eq_loop *l, uint32_t pc)
{
    return pc - l->start < l->end - l->start;
}

static const char *body(const eq_machine *m, const eq_loop *l)
{
    if ((l->start | l->end) & 3u) {
        return "a hardware loop that is not aligned to 4 bytes";
    }
    if (l->end <= l->start || l->end - l->start < 12u) {
        return "a hardware loop of fewer than 3 instructions";
    }
    for (uint32_t pc = l->start; pc < l->end; pc += 4u) {
        uint32_t word;
        eq_op op;
        eq_timing timing;
        const uint32_t bytes = eq_fetch(m, pc, &word);
        if (bytes == 0) {
            return "a hardware loop outside of the code";
        }
        if (bytes != 4u) {
            return "a compressed instruction in a hardware loop";
        }
        eq_decode(word, pc, &op, &timing);
        if ((op.kind >= EQ_BEQ && op.kind <= EQ_JALR) || op.kind == EQ_MRET || op.kind == EQ_ECALL || (word & 0x7Fu) == 0x0Fu || word == 0x10500073u) {
            return "a jump, branch, fence or system instruction in a hardware loop";
        }
    }
    return NULL;
}

/* Why loop `which`, which is to be run, is illegal; NULL where it is not. */
const char *eq_loop_check(eq_machine *m, uint32_t which)
{
    eq_loop *const l = &m->loop[which];
    const eq_loop *const inner = &m->loop[0], *const outer = &m->loop[1];
    if (inner->count && outer->count && inner->start < outer->end && outer->start < inner->end) {
        if (inner->start < outer->start || outer->end < inner->end + 8u) {
            return "hardware loops that are nested wrongly: loop 0 lies inside, and ends 2 instructions before loop 1";
        }
    }
    if (!l->checked) {
        const char *const why = body(m, l);
        if (why != NULL) {
            return why;
        }
        l->checked = 1;
    }
    return NULL;
}

/* Why a jump between these places is illegal; NULL where it is not. */
const char *eq_loop_entered(const eq_machine *m, uint32_t from, uint32_t to)
{
    for (int i = 0; i < 2; i++) {
        const eq_loop *const l = &m->loop[i];
        if (l->count > 1u && inside(l, from) != inside(l, to)) {
            return "a jump into or out of a hardware loop";
        }
    }
    return NULL;
}

static void bound(eq_machine *m, uint32_t end)
{
    const uint32_t at = end - m->code_origin;
    if (at < m->code_bytes && !(m->marks[at / 2u] & EQ_MARK_BOUNDARY)) {
        m->marks[at / 2u] |= EQ_MARK_BOUNDARY;
        m->stale = 1;
    }
}

/* cv.start to cv.setup. Returns why it is illegal, or NULL. */
const char *eq_loop_write(eq_machine *m, const eq_op *op)
{
    const uint32_t which = op->x & 1u, what = op->x >> 1;
    eq_loop *const l = &m->loop[which];
    if (l->count && inside(l, op->pc)) {
        return "a hardware loop that is set up inside of itself";
    }
    const uint32_t old_end = l->end, old_start = l->start;
    switch (what) {
    case 0: l->start = op->pc + 4u * op->imm; break;
    case 1: l->start = m->x[op->rs1]; break;
    case 2: l->end = op->pc + 4u * op->imm; break;
    case 3: l->end = m->x[op->rs1]; break;
    case 4: l->count = op->imm; break;
    case 5: l->count = m->x[op->rs1]; break;
    default:
        l->start = op->pc + 4u;
        l->end = op->pc + 4u * (what == 6u ? op->rs1 : op->imm);
        l->count = what == 6u ? op->imm : m->x[op->rs1];
        break;
    }
    if (l->end != old_end || l->start != old_start) {
        l->checked = 0;
        bound(m, l->end);
    }
    return what >= 4u ? eq_loop_check(m, which) : NULL;
}

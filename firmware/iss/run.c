/* The interpreter's loop. Compiled twice: cluster_run.c makes of it the loop of a hart that shares memory with others, whose accesses take
 * their turns (EQ_SHARED). */
#include "arithmetic.h"
#include "blocks.h"
#include "cluster.h"
#include "devices.h"
#include "memory.h"
#include "registers.h"

enum { CAUSE_FETCH = 1, CAUSE_ILLEGAL = 2, CAUSE_BREAK = 3, CAUSE_LOAD = 5, CAUSE_STORE = 7, CAUSE_CALL = 11 };
enum { TRAP_CYCLES = 4, TAKEN = 2 };

#ifdef EQ_SHARED
#define EQ_RUN eq_hart_run
#define GOING (cycles < m->until)
#define TURN(at) do { const uint32_t wait = eq_wait_of(m, at, cycles - o->left); MORE(wait); } while (0)
#else
#define EQ_RUN eq_iss_run
#define GOING (instructions < m->limit)
#define TURN(at) do { } while (0)
#endif
#define MORE(n) (cycles += (uint64_t)(int64_t)(n), o->extra += (uint64_t)(int64_t)(n))
#define NEXT goto *(++o)->go
#define RD m->x[o->rd]
#define A m->x[o->rs1]
#define B m->x[o->rs2]
#define IMM o->imm
#define STOP(reason) do { result = (reason); goto stopped; } while (0)
#define TRAP(number, value) do { cause = (number); address = (value); goto trap; } while (0)
#define ALU_OP(name, value) do_##name: RD = (value); NEXT;
/* An access that crosses a word takes a second cycle, which the refill of a jump behind it hides. */
#define CROSSING(at, size)                                                              \
    if (__builtin_expect(((at) & 3u) + (size) > 4u, 0)) {                               \
        m->crossed = o;                                                                 \
        MORE(1);                                                                        \
        if (o->jump_next) {                                                             \
            cycles -= o->jump_next;                                                     \
            o[1].extra -= o->jump_next;                                                 \
        }                                                                               \
    }
#define LOAD(at_, size, type)                                                           \
    const uint32_t at = (at_);                                                          \
    const uint8_t *const p = place(m, at, size);                                        \
    type v;                                                                             \
    if (__builtin_expect(p == NULL, 0)) {                                               \
        if (!device(m, at)) TRAP(CAUSE_LOAD, at);                                       \
        v = (type)device_read(m, at);                                                   \
    } else {                                                                            \
        TURN(at);                                                                       \
        memcpy(&v, p, size);                                                            \
    }                                                                                   \
    CROSSING(at, size)
#define LOAD_OP(name, size, type) do_##name: { LOAD(A + IMM, size, type) RD = (uint32_t)(int32_t)v; NEXT; }
#define STORE(at_, size, value)                                                         \
    const uint32_t at = (at_), v = (value);                                             \
    uint8_t *const p = writable(m, at, size);                                           \
    if (__builtin_expect(p == NULL, 0)) {                                               \
        if (!device(m, at)) TRAP(CAUSE_STORE, at);                                      \
        m->cycles = cycles - o->left;                                                   \
        reason = device_write(m, at, v);                                                \
    } else {                                                                            \
        TURN(at);                                                                       \
        memcpy(p, &v, size);                                                            \
    }                                                                                   \
    CROSSING(at, size)
#define STORED if (__builtin_expect(reason >= 0, 0)) goto device_stop
#define STORE_OP(name, size) do_##name: { STORE(A + IMM, size, B) STORED; NEXT; }
#define ANY_LOAD(at_)                                                                   \
    const uint32_t at = (at_), size = 1u << (o->x & 3u);                                \
    const uint8_t *const p = place(m, at, size);                                        \
    if (__builtin_expect(p == NULL, 0)) TRAP(CAUSE_LOAD, at);                           \
    TURN(at);                                                                           \
    const uint32_t v = loaded(p, o->x);                                                 \
    CROSSING(at, size)
#define ANY_STORE(at_)                                                                  \
    const uint32_t at = (at_), size = 1u << o->x, v = B;                                \
    uint8_t *const p = writable(m, at, size);                                           \
    if (__builtin_expect(p == NULL, 0)) TRAP(CAUSE_STORE, at);                          \
    TURN(at);                                                                           \
    memcpy(p, &v, size);                                                                \
    CROSSING(at, size)
#define BRANCH_OP(name, condition) do_##name: if (condition) goto taken; goto fallen;

/* Run until something stops the machine or m->limit instructions have been executed; returns why. A hart runs until m->until. */
EQ_API int EQ_RUN(eq_machine *m)
{
#define X(name) &&do_##name,
    static const void *const handlers[] = { EQ_KINDS(X) };
#undef X
    uint64_t cycles = m->cycles, instructions = m->instructions;
    uint32_t pc = m->pc, cause = 0, address = 0;
    int result = EQ_LIMIT, reason = -1;
    eq_block *b = NULL;
    eq_op *o;

find:
    if (__builtin_expect(m->stale, 0)) {
        eq_flush(m);
    }
    if (!GOING) {
        STOP(EQ_LIMIT);
    }
    if (__builtin_expect(pc - m->code_origin >= m->code_bytes || pc & 1u, 0)) {
        STOP(EQ_STRAYED);
    }
    b = m->table[(pc - m->code_origin) / 2u];
    if (b == NULL) {
        b = eq_block_at(m, pc, handlers);
        if (b == NULL) {
            STOP(EQ_STRAYED);
        }
    }
enter:
    b->count++;
    instructions += b->n;
    cycles += b->cycles;
    if (m->fell != NULL) {
        const eq_block *const a = m->fell;
        if (a->last[0].load & b->first[0].need || b->jumpy) {
            cycles += (uint64_t)(int64_t)eq_seam(m, a, b);
        }
        m->fell = NULL;
    }
    o = b->ops;
    goto *o->go;

taken: /* by a branch, to o->imm */
    MORE(TAKEN);
jumped_known:
    pc = IMM;
    if (__builtin_expect((m->loop[0].count | m->loop[1].count) != 0, 0)) {
        if ((m->why = eq_loop_entered(m, o->pc, pc)) != NULL) STOP(EQ_BAD_LOOP);
    }
    {
        eq_block *const to = b->next[1];
        if (__builtin_expect(to != NULL && !m->stale && GOING, 1)) {
            MORE(to->late);
            b = to;
            goto enter;
        }
    }
    {
        eq_block *const from = m->stale ? NULL : b;
        if (m->stale) eq_flush(m);
        if (__builtin_expect(pc - m->code_origin >= m->code_bytes, 0)) STOP(EQ_STRAYED);
        eq_block *to = m->table[(pc - m->code_origin) / 2u];
        if (to == NULL) to = eq_block_at(m, pc, handlers);
        if (to == NULL) STOP(EQ_STRAYED);
        if (from != NULL) {
            MORE(to->late);
            from->next[1] = to;
        } else {
            cycles += to->late;
        }
        goto find;
    }
jumped: /* to `pc`, by a register */
    if (__builtin_expect((m->loop[0].count | m->loop[1].count) != 0, 0)) {
        if ((m->why = eq_loop_entered(m, o->pc, pc)) != NULL) STOP(EQ_BAD_LOOP);
    }
    if (__builtin_expect(pc - m->code_origin >= m->code_bytes, 0)) STOP(EQ_STRAYED);
    if (m->stale) { eq_flush(m); b = NULL; }
    {
        eq_block *to = m->table[(pc - m->code_origin) / 2u];
        if (to == NULL) to = eq_block_at(m, pc, handlers);
        if (to == NULL) STOP(EQ_STRAYED);
        cycles += to->late;
        if (b != NULL) o->extra += to->late;
        if (GOING) {
            b = to;
            goto enter;
        }
        goto find;
    }
do_END:
fallen:
    pc = b->end;
    m->fell = b;
    if (b->boundary) {
        for (uint32_t i = 0; i < 2u; i++) {
            eq_loop *const l = &m->loop[i];
            if (l->end == pc && l->count) {
                if (--l->count) {
                    if ((m->why = eq_loop_check(m, i)) != NULL) STOP(EQ_BAD_LOOP);
                    pc = l->start;
                    break;
                }
            }
        }
        goto find;
    }
    {
        eq_block *const to = b->next[0];
        if (__builtin_expect(to != NULL && !m->stale && GOING, 1)) {
            b = to;
            goto enter;
        }
        if (!m->stale && pc - m->code_origin < m->code_bytes) {
            b->next[0] = m->table[(pc - m->code_origin) / 2u];
        }
        goto find;
    }

    ALU_OP(LI, IMM)
    ALU_OP(ADDI, A + IMM)
    ALU_OP(SLTI, (int32_t)A < (int32_t)IMM)
    ALU_OP(SLTIU, A < IMM)
    ALU_OP(XORI, A ^ IMM)
    ALU_OP(ORI, A | IMM)
    ALU_OP(ANDI, A & IMM)
    ALU_OP(SLLI, A << IMM)
    ALU_OP(SRLI, A >> IMM)
    ALU_OP(SRAI, (uint32_t)((int32_t)A >> IMM))
    ALU_OP(ADD, A + B)
    ALU_OP(SUB, A - B)
    ALU_OP(SLL, A << (B & 31u))
    ALU_OP(SLT, (int32_t)A < (int32_t)B)
    ALU_OP(SLTU, A < B)
    ALU_OP(XOR, A ^ B)
    ALU_OP(SRL, A >> (B & 31u))
    ALU_OP(SRA, (uint32_t)((int32_t)A >> (B & 31u)))
    ALU_OP(OR, A | B)
    ALU_OP(AND, A & B)
    ALU_OP(MUL, A * B)
    ALU_OP(MULH, (uint32_t)((int64_t)(int32_t)A * (int32_t)B >> 32))
    ALU_OP(MULHSU, (uint32_t)((int64_t)(int32_t)A * (int64_t)B >> 32))
    ALU_OP(MULHU, (uint32_t)((uint64_t)A * B >> 32))
do_NOP: NEXT;
do_DIV: MORE(steps(B, 1)); RD = (uint32_t)quotient((int32_t)A, (int32_t)B); NEXT;
do_DIVU: MORE(steps(B, 0)); RD = B ? A / B : 0xFFFFFFFFu; NEXT;
do_REM: MORE(steps(B, 1)); RD = (uint32_t)remainder_of((int32_t)A, (int32_t)B); NEXT;
do_REMU: MORE(steps(B, 0)); RD = B ? A % B : A; NEXT;
    LOAD_OP(LB, 1, int8_t)
    LOAD_OP(LH, 2, int16_t)
    LOAD_OP(LW, 4, int32_t)
    LOAD_OP(LBU, 1, uint8_t)
    LOAD_OP(LHU, 2, uint16_t)
    STORE_OP(SB, 1)
    STORE_OP(SH, 2)
    STORE_OP(SW, 4)
    BRANCH_OP(BEQ, A == B)
    BRANCH_OP(BNE, A != B)
    BRANCH_OP(BLT, (int32_t)A < (int32_t)B)
    BRANCH_OP(BGE, (int32_t)A >= (int32_t)B)
    BRANCH_OP(BLTU, A < B)
    BRANCH_OP(BGEU, A >= B)
    BRANCH_OP(BEQIMM, A == (uint32_t)((int32_t)((uint32_t)o->x << 27) >> 27))
    BRANCH_OP(BNEIMM, A != (uint32_t)((int32_t)((uint32_t)o->x << 27) >> 27))
do_JAL: RD = b->end; goto jumped_known;
do_JALR: pc = (A + IMM) & ~1u; RD = b->end; goto jumped;
do_CSR:
    if (!csr(m, o, cycles - o->cycles, instructions - 1u)) TRAP(CAUSE_ILLEGAL, 0);
    goto fallen;
do_FENCEI: m->stale = 1; goto fallen;
do_MRET: pc = m->mepc; goto jumped;
do_ECALL: TRAP(CAUSE_CALL, 0);
do_EBREAK: TRAP(CAUSE_BREAK, o->pc);
do_ILLEGAL: TRAP(CAUSE_ILLEGAL, 0);
do_LOAD_POST: { const uint32_t base = A; ANY_LOAD(base) A = base + IMM; RD = v; m->x[0] = 0; NEXT; }
do_LOAD_POST_R: { const uint32_t base = A, step = B; ANY_LOAD(base) A = base + step; RD = v; m->x[0] = 0; NEXT; }
do_LOAD_R: { ANY_LOAD(A + B) RD = v; NEXT; }
do_STORE_POST: { ANY_STORE(A) A = at + IMM; m->x[0] = 0; NEXT; }
do_STORE_POST_R: { const uint32_t step = RD; ANY_STORE(A) A = at + step; m->x[0] = 0; NEXT; }
do_STORE_R: { ANY_STORE(A + RD) NEXT; }
    ALU_OP(MAC, RD + A * B)
    ALU_OP(MSU, RD - A * B)
    ALU_OP(SDOTSP_B, dot4(A, B, RD))
    ALU_OP(SDOTUSP_B, eq_simd(o->x, A, B, RD))
    ALU_OP(SDOTUP_B, eq_simd(o->x, A, B, RD))
    ALU_OP(SDOTSP_H, RD + (uint32_t)((int16_t)A * (int16_t)B) + (uint32_t)((int16_t)(A >> 16) * (int16_t)(B >> 16)))
    ALU_OP(ALU, eq_alu(o->x, A, B, RD))
    ALU_OP(ALU_I, eq_alu(o->x, A, IMM, RD))
    ALU_OP(MULN, eq_muln(o->x, IMM, A, B, RD))
    ALU_OP(SIMD, eq_simd(o->x, A, B, RD))
do_SIMD_SC: RD = eq_simd(o->x, A, o->x & 0x40u ? (B & 0xFFu) * 0x01010101u : (B & 0xFFFFu) * 0x00010001u, RD); NEXT;
    ALU_OP(SIMD_I, eq_simd(o->x, A, IMM, RD))
do_LOOP:
    if ((m->why = eq_loop_write(m, o)) != NULL) STOP(EQ_BAD_LOOP);
    goto fallen;
do_ELW: {
    const uint32_t at = A + IMM;
    if (m->cluster == NULL) TRAP(CAUSE_ILLEGAL, 0);
    if (at - m->cluster->unit >= EQ_UNIT_BYTES) TRAP(CAUSE_LOAD, at);
    m->cycles = cycles - o->left;
    if (eq_unit_wait(m, at - m->cluster->unit)) {
        RD = 0;
        m->x[0] = 0;
        pc = b->end;
        m->fell = b;
        STOP(EQ_ASLEEP);
    }
    RD = eq_unit_read(m, at - m->cluster->unit);
    goto fallen;
}
do_FLW: { LOAD(A + IMM, 4, uint32_t) m->f[o->rd] = v; NEXT; }
do_FSW: { STORE(A + IMM, 4, m->f[o->rs2]) STORED; NEXT; }
do_FLOAT: if (!eq_float(m, o)) TRAP(CAUSE_ILLEGAL, 0); NEXT;
do_FMA: if (!eq_fma(m, o)) TRAP(CAUSE_ILLEGAL, 0); NEXT;
do_FLH: { LOAD(A + IMM, 2, uint16_t) m->f[o->rd] = 0xFFFF0000u | v; NEXT; }
do_FSH: { STORE(A + IMM, 2, m->f[o->rs2]) STORED; NEXT; }
do_HALF: if (!eq_half(m, o)) TRAP(CAUSE_ILLEGAL, 0); NEXT;
do_LANES: if (!eq_half_lanes(m, o)) TRAP(CAUSE_ILLEGAL, 0); NEXT;

device_stop: /* behind the store: what of the block is left has not been executed */
    result = reason;
    o++;
    pc = o->pc;
    b->count--;
    for (eq_op *q = b->ops; q < b->ops + b->n; q++) {
        if (q < o) {
            uint64_t *const c = m->counted + 2u * ((q->pc - m->code_origin) / 2u);
            c[0]++;
            c[1] += q->cycles;
        } else {
            instructions--;
            cycles -= q->cycles;
        }
    }
    goto stopped;
trap:
    for (eq_op *q = o; q < b->ops + b->n; q++) {
        instructions--;
        cycles -= q->cycles;
    }
    m->fault_pc = o->pc;
    m->fault_cause = cause;
    m->fault_address = address;
    m->fell = NULL;
    pc = o->pc;
    if (m->mtvec == 0) STOP(EQ_TRAPPED);
    m->mepc = o->pc;
    m->mcause = cause;
    m->mtval = address;
    m->mstatus = (m->mstatus & ~0x1888u) | (m->mstatus & 8u) << 4 | 0x1800u;
    m->loop[0].count = m->loop[1].count = 0;
    cycles += TRAP_CYCLES;
    pc = m->mtvec & ~3u;
    goto find;
stopped:
    if (result == EQ_STRAYED || result == EQ_BAD_LOOP) m->fault_pc = result == EQ_STRAYED ? pc : o->pc;
    m->pc = pc;
    m->cycles = cycles;
    m->instructions = instructions;
    return result;
}

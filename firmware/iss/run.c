/* The machine: memory, devices, control registers, and the interpreter's loop. Compiled twice: cluster_run.c makes of it the loop of a hart
 * that shares memory with others, whose accesses take their turns (EQ_SHARED). */
#include "blocks.h"
#include "cluster.h"

#include <stdlib.h>
#include <string.h>

enum { CAUSE_FETCH = 1, CAUSE_ILLEGAL = 2, CAUSE_BREAK = 3, CAUSE_LOAD = 5, CAUSE_STORE = 7, CAUSE_CALL = 11 };
enum { UART_LINE = 3, UART_STATUS = 5, UART_EMPTY = 0x60, TRAP_CYCLES = 4, TAKEN = 2, READS_MOST = 1 << 24 };

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

static inline uint8_t *place(const eq_machine *m, uint32_t at, uint32_t bytes)
{
    const eq_region *const r = m->region;
    if (__builtin_expect(at - r->origin <= r->bytes - bytes, 1)) {
        return r->memory + (at - r->origin);
    }
    return eq_memory(m, at, bytes);
}

static inline uint8_t *writable(eq_machine *m, uint32_t at, uint32_t bytes)
{
    const eq_region *const r = m->region;
    const uint32_t code = at - m->code_origin;
    if (__builtin_expect(code < m->code_bytes, 0)) {
        const uint32_t last = (code + bytes - 1u < m->code_bytes ? code + bytes - 1u : code) / 2u;
        m->stale |= ((m->marks[code / 2u] | m->marks[last]) & EQ_MARK_DECODED) != 0;
    }
    if (__builtin_expect(r->writable && at - r->origin <= r->bytes - bytes, 1)) {
        return r->memory + (at - r->origin);
    }
    for (uint32_t i = 0; i < m->regions; i++) {
        const eq_region *const q = &m->region[i];
        if (q->writable && at - q->origin < q->bytes && q->bytes - (at - q->origin) >= bytes) {
            return q->memory + (at - q->origin);
        }
    }
    return NULL;
}

static uint32_t loaded(const uint8_t *p, uint32_t f3)
{
    uint16_t h;
    uint32_t w;
    switch (f3) {
    case 0: return (uint32_t)(int32_t)(int8_t)*p;
    case 4: return *p;
    case 1: memcpy(&h, p, 2); return (uint32_t)(int32_t)(int16_t)h;
    case 5: memcpy(&h, p, 2); return h;
    default: memcpy(&w, p, 4); return w;
    }
}

static int32_t quotient(int32_t a, int32_t b)
{
    return b == 0 ? -1 : a == INT32_MIN && b == -1 ? a : a / b;
}

static int32_t remainder_of(int32_t a, int32_t b)
{
    return b == 0 ? a : a == INT32_MIN && b == -1 ? 0 : a % b;
}

/* Steps of the serial divider beyond three: how far the divisor is shifted up. */
static uint32_t steps(uint32_t divisor, int is_signed)
{
    const uint32_t bits = is_signed && divisor >> 31 ? ~divisor : divisor;
    const uint32_t zeros = bits ? (uint32_t)__builtin_clz(bits) : 32u;
    return is_signed && divisor >> 31 ? zeros - 1u : zeros;
}

static uint32_t dot4(uint32_t a, uint32_t b, uint32_t c)
{
    return c + (uint32_t)((int8_t)a * (int8_t)b + (int8_t)(a >> 8) * (int8_t)(b >> 8) + (int8_t)(a >> 16) * (int8_t)(b >> 16) +
                          (int8_t)(a >> 24) * (int8_t)(b >> 24));
}

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

#ifndef EQ_SHARED
/* A machine with nothing in it; NULL where the host has no memory for tables of `code_bytes` bytes of code. */
EQ_API eq_machine *eq_iss_new(uint32_t code_origin, uint32_t code_bytes)
{
    const size_t halves = code_bytes / 2u + 1u;
    eq_machine *const m = calloc(1, sizeof *m);
    if (m == NULL) {
        return NULL;
    }
    m->code_origin = code_origin;
    m->code_bytes = code_bytes;
    m->table = calloc(halves, sizeof *m->table);
    m->marks = calloc(halves, 1);
    m->counted = calloc(2u * halves, sizeof *m->counted);
    m->sent = malloc(EQ_SENT);
    m->lead = m;
    eq_float_set_flags(0);
    return m;
}

EQ_API int eq_iss_ready(const eq_machine *m)
{
    return m->table && m->marks && m->counted && m->sent;
}

/* Memory that the machine owns: zeros. Returns where it lies on the host, NULL where there is none. */
EQ_API uint8_t *eq_iss_map(eq_machine *m, uint32_t origin, uint32_t bytes, int writable_)
{
    uint8_t *const memory = m->regions < EQ_REGIONS && bytes >= 16u ? calloc(bytes, 1) : NULL;
    if (memory != NULL) {
        const eq_region r = { origin, bytes, memory, writable_ };
        m->region[m->regions++] = r;
    }
    return memory;
}

/* Instructions and cycles per half-word of code so far, interleaved. */
EQ_API const uint64_t *eq_iss_counted(eq_machine *m)
{
    eq_flush(m);
    return m->counted;
}

EQ_API void eq_iss_free(eq_machine *m)
{
    if (m->table && m->marks && m->counted) {
        eq_flush(m);
    }
    for (uint32_t i = 0; i < m->regions; i++) {
        free(m->region[i].memory);
    }
    free(m->table);
    free(m->marks);
    free(m->counted);
    free(m->sent);
    free(m->reads);
    free(m);
}
#endif

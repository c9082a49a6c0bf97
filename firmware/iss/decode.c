/* Words to decoded instructions and what of them the pipeline looks at. */
#include "iss.h"

enum { LOAD_CYCLES = 1, MULH_CYCLES = 5, DIVIDE_CYCLES = 3, JUMP_CYCLES = 2, CSR_CYCLES = 4, ROOT_CYCLES = 12, DISCARD = 32 };

typedef struct {
    uint32_t op, f3, f7, rd, rs1, rs2;
    int32_t i, s;
} fields;

static uint32_t bit(uint32_t r)
{
    return r ? 1u << r : 0;
}

static fields split(uint32_t w)
{
    const fields f = { w & 0x7Fu, w >> 12 & 7u, w >> 25, w >> 7 & 31u, w >> 15 & 31u, w >> 20 & 31u, (int32_t)w >> 20,
                       ((int32_t)w >> 25 << 5) | (int32_t)(w >> 7 & 31u) };
    return f;
}

/* Result in rd by the ALU's port, from registers of the mask. */
static void alu(eq_op *o, eq_timing *t, const fields *f, eq_kind kind, uint32_t reads)
{
    o->kind = (uint8_t)kind;
    o->rd = (uint8_t)(f->rd ? f->rd : DISCARD);
    o->rs1 = (uint8_t)f->rs1;
    o->rs2 = (uint8_t)f->rs2;
    t->alu = bit(f->rd);
    t->need = reads | t->alu;
}

static void load(eq_op *o, eq_timing *t, const fields *f, eq_kind kind, uint32_t reads, uint32_t moved)
{
    alu(o, t, f, kind, 0);
    t->load = bit(f->rd);
    t->alu = moved;
    t->need = reads | moved;
}

static void store(eq_op *o, eq_timing *t, const fields *f, eq_kind kind, uint32_t reads, uint32_t moved)
{
    o->kind = (uint8_t)kind;
    o->rd = (uint8_t)f->rd; /* read: the index of some */
    o->rs1 = (uint8_t)f->rs1;
    o->rs2 = (uint8_t)f->rs2;
    t->alu = moved;
    t->need = reads | moved;
}

static void branch(eq_op *o, eq_timing *t, const fields *f, eq_kind kind, uint32_t w, uint32_t reads)
{
    store(o, t, f, kind, reads, 0);
    o->imm = o->pc + (uint32_t)((int32_t)(w & 0x80000000u) >> 19 | (int32_t)((w & 0x80u) << 4 | (w >> 20 & 0x7E0u) | (w >> 7 & 0x1Eu)));
}

static void op_imm(eq_op *o, eq_timing *t, const fields *f)
{
    static const eq_kind kinds[8] = { EQ_ADDI, EQ_SLLI, EQ_SLTI, EQ_SLTIU, EQ_XORI, EQ_SRLI, EQ_ORI, EQ_ANDI };
    eq_kind kind = kinds[f->f3];
    if (f->f3 == 1u && f->f7 != 0) {
        return;
    }
    if (f->f3 == 5u) {
        if (f->f7 != 0 && f->f7 != 0x20u) {
            return;
        }
        kind = f->f7 ? EQ_SRAI : EQ_SRLI;
    }
    alu(o, t, f, f->rd ? kind : EQ_NOP, bit(f->rs1));
    o->imm = f->f3 == 1u || f->f3 == 5u ? f->rs2 : (uint32_t)f->i;
}

static void op_register(eq_op *o, eq_timing *t, const fields *f)
{
    static const eq_kind base[8] = { EQ_ADD, EQ_SLL, EQ_SLT, EQ_SLTU, EQ_XOR, EQ_SRL, EQ_OR, EQ_AND };
    static const eq_kind product[8] = { EQ_MUL, EQ_MULH, EQ_MULHSU, EQ_MULHU, EQ_DIV, EQ_DIVU, EQ_REM, EQ_REMU };
    eq_kind kind = base[f->f3];
    if (f->f7 >= 0x40u) { /* lanes of halves, in registers of F */
        if (f->f3 == 2u || f->f3 == 6u) {
            store(o, t, f, EQ_LANES, 0, 0);
            o->x = (uint8_t)f->f7;
            o->imm = f->f3;
        }
        return;
    }
    if (f->f7 == 1u) {
        kind = product[f->f3];
        t->multi = f->f3 != 0;
        t->cycles = f->f3 == 0 ? 1 : f->f3 < 4u ? MULH_CYCLES : DIVIDE_CYCLES;
    } else if (f->f7 == 0x20u && (f->f3 == 0 || f->f3 == 5u)) {
        kind = f->f3 ? EQ_SRA : EQ_SUB;
    } else if (f->f7 != 0) {
        return;
    }
    alu(o, t, f, kind, bit(f->rs1) | bit(f->rs2));
}

static void system_instruction(eq_op *o, eq_timing *t, const fields *f, uint32_t w)
{
    if (f->f3 == 0) {
        o->kind = w == 0x73u ? EQ_ECALL : w == 0x100073u ? EQ_EBREAK : w == 0x30200073u ? EQ_MRET : w == 0x10500073u ? EQ_NOP : EQ_ILLEGAL;
        t->cycles = o->kind == EQ_NOP ? 1 : CSR_CYCLES;
        return;
    }
    if (f->f3 == 4u) {
        return;
    }
    alu(o, t, f, EQ_CSR, f->f3 < 4u ? bit(f->rs1) : 0);
    o->imm = (uint32_t)f->i & 0xFFFu;
    o->x = (uint8_t)f->f3;
    const uint32_t page = o->imm & 0xF00u;
    t->cycles = page == 0xB00u || page == 0xC00u ? CSR_CYCLES : 1;
}

static int loads(uint32_t f3)
{
    return f3 < 6u && f3 != 3u;
}

static void custom0(eq_op *o, eq_timing *t, const fields *f, uint32_t w)
{
    if (loads(f->f3)) {
        load(o, t, f, EQ_LOAD_POST, bit(f->rs1), bit(f->rs1));
        o->imm = (uint32_t)f->i;
        o->x = (uint8_t)f->f3;
    } else if (f->f3 == 3u) {
        load(o, t, f, EQ_ELW, bit(f->rs1), 0);
        o->imm = (uint32_t)f->i;
    } else if (f->f3 >= 6u) { /* with an immediate of 5 bits, kept in x */
        branch(o, t, f, f->f3 == 6u ? EQ_BEQIMM : EQ_BNEIMM, w, bit(f->rs1));
        o->x = (uint8_t)f->rs2;
    }
}

/* The register forms of loads and stores: bit 2 of funct7 says by index, without it the base moves. */
static void indexed(eq_op *o, eq_timing *t, const fields *f)
{
    const int post = !(f->f7 & 4u);
    if (f->f7 < 0x10u) {
        const uint32_t f3 = (f->f7 & 3u) | (f->f7 & 8u ? 4u : 0);
        if (loads(f3)) {
            load(o, t, f, post ? EQ_LOAD_POST_R : EQ_LOAD_R, bit(f->rs1) | bit(f->rs2), post ? bit(f->rs1) : 0);
            o->x = (uint8_t)f3;
        }
    } else if ((f->f7 & 3u) < 3u) {
        store(o, t, f, post ? EQ_STORE_POST_R : EQ_STORE_R, bit(f->rs1) | bit(f->rs2) | bit(f->rd), post ? bit(f->rs1) : 0);
        o->x = f->f7 & 3u;
    }
}

static void custom1_register(eq_op *o, eq_timing *t, const fields *f)
{
    static const uint8_t of_one[] = { 0x21, 0x22, 0x23, 0x24, 0x28, 0x30, 0x31, 0x32, 0x33 };
    static const uint8_t of_two[] = { 0x18, 0x19, 0x1A, 0x1C, 0x1D, 0x20, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2E, 0x3A, 0x3B,
                                      0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47 };
    if (f->f7 < 0x18u) {
        indexed(o, t, f);
        return;
    }
    const uint32_t two = bit(f->rs1) | bit(f->rs2);
    o->x = (uint8_t)f->f7;
    if (f->f7 == 0x48u || f->f7 == 0x49u) {
        alu(o, t, f, f->f7 == 0x48u ? EQ_MAC : EQ_MSU, two);
    } else if (f->f7 == 0x38u || f->f7 == 0x39u) {
        alu(o, t, f, EQ_ALU_I, bit(f->rs1));
        o->imm = f->rs2 ? (1u << (f->rs2 - 1u)) - 1u : 0;
    }
    for (size_t i = 0; i < sizeof of_one; i++) {
        if (of_one[i] == f->f7) {
            alu(o, t, f, EQ_ALU_I, bit(f->rs1));
        }
    }
    for (size_t i = 0; i < sizeof of_two; i++) {
        if (of_two[i] == f->f7) {
            alu(o, t, f, EQ_ALU, two);
        }
    }
}

static void custom1(eq_op *o, eq_timing *t, const fields *f)
{
    if (f->f3 < 3u) {
        store(o, t, f, EQ_STORE_POST, bit(f->rs1) | bit(f->rs2), bit(f->rs1));
        o->imm = (uint32_t)f->s;
        o->x = (uint8_t)f->f3;
    } else if (f->f3 == 3u) {
        custom1_register(o, t, f);
    } else if (f->f3 == 4u && f->rd < 16u) { /* rd: what << 1 | which loop */
        store(o, t, f, EQ_LOOP, f->rd & 2u ? bit(f->rs1) : 0, 0);
        o->x = (uint8_t)f->rd;
        o->imm = (uint32_t)f->i & 0xFFFu;
    }
}

static void custom2(eq_op *o, eq_timing *t, const fields *f)
{
    static const uint8_t fields_of[2][4] = { { 0x18, 0x19, 0x1A, 0 }, { 0x1C, 0x1D, 0, 0x80 } };
    const uint32_t f2 = f->f7 >> 5, width = f->f7 & 31u;
    if (f->f3 < 2u) {
        o->x = fields_of[f->f3][f2];
        if (o->x) {
            alu(o, t, f, EQ_ALU_I, bit(f->rs1));
            o->imm = width << 5 | f->rs2;
        }
        return;
    }
    alu(o, t, f, EQ_MULN, bit(f->rs1) | bit(f->rs2));
    o->x = (uint8_t)(f->f3 << 2 | f2);
    o->imm = width;
}

static uint32_t replicated(uint32_t v, int bytes)
{
    return bytes ? (v & 0xFFu) * 0x01010101u : (v & 0xFFFFu) * 0x00010001u;
}

/* cv.extract.h and the like: the index is an immediate. */
static void lane_move(eq_op *o, eq_timing *t, const fields *f, uint32_t imm)
{
    if (f->f3 < 6u) {
        alu(o, t, f, EQ_SIMD_I, bit(f->rs1));
        o->x = (uint8_t)(0x17u | (f->f3 & 1u ? 0x40u : 0));
        o->imm = imm | (f->f3 >> 1) << 8;
    }
}

static void shuffle_immediate(eq_op *o, eq_timing *t, const fields *f, uint32_t imm, uint32_t code)
{
    alu(o, t, f, EQ_SIMD_I, bit(f->rs1));
    o->x = (uint8_t)(0x18u | (f->f3 == 7u ? 0x40u : 0));
    o->imm = f->f3 == 7u ? (imm & 3u) | (imm >> 2 & 3u) << 8 | (imm >> 4 & 3u) << 16 | (code - 0x18u) << 24 : (imm & 1u) | (imm >> 1 & 1u) << 16;
}

static void complex_instruction(eq_op *o, eq_timing *t, const fields *f, uint32_t code)
{
    const uint32_t low = f->f7 & 1u;
    const uint32_t what = code == 10u ? low : code - 9u; /* mul.r, mul.i, conj, subrotmj, add, sub */
    if (code < 10u || code > 14u || f->f3 & 1u || (code != 10u && low) || (code == 11u && f->f3)) {
        return;
    }
    alu(o, t, f, EQ_SIMD, bit(f->rs1) | (code == 11u ? 0 : bit(f->rs2)));
    o->x = (uint8_t)(0x80u | f->f3 >> 1 << 4 | what);
}

static void custom3(eq_op *o, eq_timing *t, const fields *f)
{
    const uint32_t code = f->f7 >> 2, imm = f->rs2 << 1 | (f->f7 & 1u);
    const int bytes = f->f3 & 1u, zero_extended = code == 3u || code == 5u || code == 7u || code == 16u || code == 19u;
    const uint32_t two = bit(f->rs1) | bit(f->rs2), of_bytes = bytes ? 0x40u : 0;
    if (f->f7 & 2u) { /* F: comparisons and complex numbers */
        if (code > 9u || f->f3 == 2u || f->f3 == 3u) {
            complex_instruction(o, t, f, code);
            return;
        }
        o->x = (uint8_t)(0x20u | code | of_bytes);
    } else if (code == 0x17u) {
        lane_move(o, t, f, imm);
        return;
    } else if (code >= 0x18u && code < 0x1Cu && f->f3 >= 6u && (f->f3 == 7u || code == 0x18u)) {
        shuffle_immediate(o, t, f, imm, code);
        return;
    } else if (code == 0x18u || code == 0x1Cu || (code == 0x1Eu && !bytes) || (code == 0x1Fu && bytes)) {
        if (f->f3 < 2u) {
            alu(o, t, f, EQ_SIMD, two);
            o->x = (uint8_t)(code | of_bytes | (code >= 0x1Eu && f->f7 & 1u ? 0x20u : 0));
        }
        return;
    } else if (code < 15u || (code >= 16u && code < 22u)) {
        o->x = (uint8_t)(code | of_bytes);
    } else {
        return;
    }
    if (f->f3 >= 6u) {
        const int wide = zero_extended || (f->f7 & 2u && code >= 6u);
        alu(o, t, f, EQ_SIMD_I, bit(f->rs1));
        o->imm = replicated(wide ? imm : (uint32_t)((int32_t)(imm << 26) >> 26), bytes);
    } else if (f->f3 < 2u) {
        alu(o, t, f, EQ_SIMD, two);
        o->kind = o->x == 0x55u ? EQ_SDOTSP_B : o->x == 0x54u ? EQ_SDOTUSP_B : o->x == 0x53u ? EQ_SDOTUP_B : o->x == 0x15u ? EQ_SDOTSP_H : EQ_SIMD;
    } else if (f->f3 == 4u || f->f3 == 5u) {
        alu(o, t, f, EQ_SIMD_SC, two);
    }
}

static void float_instruction(eq_op *o, eq_timing *t, const fields *f, uint32_t w)
{
    const int is_half = (f->f7 & 3u) == 2u || (f->f7 == 0x20u && f->rs2 == 2u);
    if (f->op == 0x07u && (f->f3 == 2u || f->f3 == 1u)) {
        store(o, t, f, f->f3 == 2u ? EQ_FLW : EQ_FLH, bit(f->rs1), 0);
        o->imm = (uint32_t)f->i;
    } else if (f->op == 0x27u && (f->f3 == 2u || f->f3 == 1u)) {
        store(o, t, f, f->f3 == 2u ? EQ_FSW : EQ_FSH, bit(f->rs1), 0);
        o->imm = (uint32_t)f->s;
    } else if (f->op == 0x53u && is_half) {
        store(o, t, f, EQ_HALF, f->f7 == 0x7Au ? bit(f->rs1) : 0, f->f7 == 0x72u ? bit(f->rd) : 0);
        o->x = (uint8_t)f->f7;
        o->imm = f->f3;
    } else if (f->op == 0x53u) {
        const int to_integer = f->f7 == 0x50u || f->f7 == 0x60u || f->f7 == 0x70u, from = f->f7 == 0x68u || f->f7 == 0x78u;
        store(o, t, f, EQ_FLOAT, from ? bit(f->rs1) : 0, to_integer ? bit(f->rd) : 0);
        o->x = (uint8_t)f->f7;
        o->imm = f->f3;
        t->cycles = f->f7 == 0x0Cu || f->f7 == 0x2Cu ? ROOT_CYCLES : 1;
    } else if (f->op != 0x07u && f->op != 0x27u && (f->f7 & 3u) == 0) {
        store(o, t, f, EQ_FMA, 0, 0);
        o->x = (uint8_t)(f->op >> 2 & 3u);
        o->imm = w >> 27 << 3 | f->f3;
    }
}

static void decode_custom(eq_op *o, eq_timing *t, const fields *f, uint32_t w)
{
    switch (f->op) {
    case 0x0B: custom0(o, t, f, w); break;
    case 0x2B: custom1(o, t, f); break;
    case 0x5B: custom2(o, t, f); break;
    case 0x7B: custom3(o, t, f); break;
    case 0x07: case 0x27: case 0x43: case 0x47: case 0x4B: case 0x4F: case 0x53: float_instruction(o, t, f, w); break;
    default: break;
    }
}

static void jump(eq_op *o, eq_timing *t, const fields *f, uint32_t w)
{
    const int indirect = f->op == 0x67u;
    alu(o, t, f, indirect ? EQ_JALR : EQ_JAL, indirect ? bit(f->rs1) : 0);
    o->imm = indirect ? (uint32_t)f->i
                      : o->pc + (uint32_t)((int32_t)(w & 0x80000000u) >> 11 | (int32_t)((w & 0xFF000u) | (w >> 9 & 0x800u) | (w >> 20 & 0x7FEu)));
    t->need = indirect ? bit(f->rs1) : 0;
    t->jump = 1;
    t->jalr = (uint8_t)indirect;
    t->cycles = JUMP_CYCLES;
}

/* Decode the instruction `word` (expanded, if it has 16 bits) at `pc`; sets all of `op` but `go`. */
void eq_decode(uint32_t word, uint32_t pc, eq_op *op, eq_timing *timing)
{
    static const eq_kind store_kinds[3] = { EQ_SB, EQ_SH, EQ_SW }, load_kinds[6] = { EQ_LB, EQ_LH, EQ_LW, 0, EQ_LBU, EQ_LHU };
    static const eq_kind branches[8] = { EQ_BEQ, EQ_BNE, 0, 0, EQ_BLT, EQ_BGE, EQ_BLTU, EQ_BGEU };
    const fields f = split(word);
    const eq_op nothing = { .pc = pc, .kind = EQ_ILLEGAL };
    const eq_timing plain = { .cycles = 1, .rd = (uint8_t)f.rd, .rs1 = (uint8_t)f.rs1 };
    *op = nothing;
    *timing = plain;
    switch (f.op) {
    case 0x03:
        if (loads(f.f3)) {
            load(op, timing, &f, load_kinds[f.f3], bit(f.rs1), 0);
            op->imm = (uint32_t)f.i;
        }
        break;
    case 0x0F:
        op->kind = f.f3 == 1u ? EQ_FENCEI : f.f3 == 0 ? EQ_NOP : EQ_ILLEGAL;
        break;
    case 0x13: op_imm(op, timing, &f); break;
    case 0x17: case 0x37:
        alu(op, timing, &f, EQ_LI, 0);
        op->imm = (word & 0xFFFFF000u) + (f.op == 0x17u ? pc : 0);
        break;
    case 0x23:
        if (f.f3 < 3u) {
            store(op, timing, &f, store_kinds[f.f3], bit(f.rs1) | bit(f.rs2), 0);
            op->imm = (uint32_t)f.s;
        }
        break;
    case 0x33: op_register(op, timing, &f); break;
    case 0x63:
        if (branches[f.f3]) {
            branch(op, timing, &f, branches[f.f3], word, bit(f.rs1) | bit(f.rs2));
        }
        break;
    case 0x6F: jump(op, timing, &f, word); break;
    case 0x67:
        if (f.f3 == 0) {
            jump(op, timing, &f, word);
        }
        break;
    case 0x73: system_instruction(op, timing, &f, word); break;
    default: decode_custom(op, timing, &f, word); break;
    }
    op->cycles = timing->cycles;
}

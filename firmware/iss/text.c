/* Instructions as text, for profiles. */
#include "blocks.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const registers[32] = {
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
    "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
};
static const char *const simd[] = {
    "add", "sub", "avg", "avgu", "min", "minu", "max", "maxu", "srl", "sra", "sll", "or", "xor", "and", "abs", "",
    "dotup", "dotusp", "dotsp", "sdotup", "sdotusp", "sdotsp", "", "extract", "shuffle", "", "", "", "shuffle2", "", "pack", "packlo",
};
static const char *const comparisons[] = { "eq", "ne", "gt", "ge", "lt", "le", "gtu", "geu", "ltu", "leu" };
static const char *const loops[] = { "starti", "start", "endi", "end", "counti", "count", "setupi", "setup" };
static const char *const sizes[] = { "b", "h", "w", "", "bu", "hu" };

static const char *alu_name(uint32_t code)
{
    static const char *const low[] = { "extract", "extractu", "insert", "", "bclr", "bset", "", "", "ror", "ff1", "fl1", "clb", "cnt",
                                       "", "", "", "abs", "sle", "sleu", "min", "minu", "max", "maxu", "", "exths", "exthz", "extbs",
                                       "extbz", "", "", "", "", "clip", "clipu", "clipr", "clipur", "", "", "", "", "addnr", "addunr",
                                       "addrnr", "addurnr", "subnr", "subunr", "subrnr", "suburnr" };
    return code == 0x80u ? "bitrev" : code >= 0x18u && code < 0x48u ? low[code - 0x18u] : "?";
}

static const char *lanes_name(uint32_t code)
{
    static const char *const names[] = { "vfadd.h", "vfsub.h", "vfmul.h", "", "vfmin.h", "vfmax.h", "", "vfmac.h", "", "", "vfdotpex.s.h" };
    return code == 0x58u ? "vfcpka.h.s" : code >= 0x41u && code <= 0x4Bu ? names[code - 0x41u] : "?";
}

static void name_of(const eq_op *o, char *name, size_t room)
{
    static const char *const names[] = {
#define X(kind) #kind,
        EQ_KINDS(X)
#undef X
    };
    const uint32_t lane = o->x & 0x1Fu;
    switch (o->kind) {
    case EQ_LOAD_POST: case EQ_LOAD_POST_R: case EQ_LOAD_R: snprintf(name, room, "cv.l%s", sizes[o->x]); return;
    case EQ_STORE_POST: case EQ_STORE_POST_R: case EQ_STORE_R: snprintf(name, room, "cv.s%s", sizes[o->x]); return;
    case EQ_LANES: snprintf(name, room, "%s%s", lanes_name(o->x), o->imm == 6u ? ".r" : ""); return;
    case EQ_ELW: snprintf(name, room, "cv.elw"); return;
    case EQ_LOOP: snprintf(name, room, "cv.%s", loops[o->x >> 1]); return;
    case EQ_ALU: case EQ_ALU_I: snprintf(name, room, "cv.%s", alu_name(o->x)); return;
    case EQ_MAC: case EQ_MSU: snprintf(name, room, "cv.%s", o->kind == EQ_MAC ? "mac" : "msu"); return;
    case EQ_MULN: snprintf(name, room, o->x < 16u ? "cv.addN" : "cv.mulN"); return;
    case EQ_SDOTSP_B: case EQ_SDOTUSP_B: case EQ_SDOTUP_B: case EQ_SDOTSP_H: case EQ_SIMD: case EQ_SIMD_SC: case EQ_SIMD_I:
        if (o->x & 0x80u) {
            snprintf(name, room, "cv.cplx");
        } else if (o->x & 0x20u && lane < 10u) {
            snprintf(name, room, "cv.cmp%s%s", comparisons[lane], o->x & 0x40u ? ".b" : ".h");
        } else {
            snprintf(name, room, "cv.%s%s%s", simd[lane], o->kind == EQ_SIMD_SC ? ".sc" : o->kind == EQ_SIMD_I ? ".sci" : "", o->x & 0x40u ? ".b" : ".h");
        }
        return;
    default: break;
    }
    for (size_t i = 0; i + 1u < room; i++) {
        name[i] = (char)tolower((unsigned char)names[o->kind][i]);
        if (name[i] == 0) {
            return;
        }
    }
    name[room - 1u] = 0;
}

static void operands(const eq_op *o, const eq_timing *t, char *text, size_t room)
{
    const char *const rd = registers[t->rd & 31u], *const rs1 = registers[o->rs1 & 31u], *const rs2 = registers[o->rs2 & 31u];
    const int imm = (int)o->imm;
    const uint32_t k = o->kind;
    if (k == EQ_LI) {
        snprintf(text, room, "%s, %#x", rd, (unsigned)imm);
    } else if ((k >= EQ_ADDI && k <= EQ_SRAI) || k == EQ_ALU_I || k == EQ_SIMD_I) {
        snprintf(text, room, "%s, %s, %d", rd, rs1, imm);
    } else if ((k >= EQ_LB && k <= EQ_LHU) || k == EQ_FLW || k == EQ_FLH || k == EQ_JALR) {
        snprintf(text, room, "%s, %d(%s)", k == EQ_JALR || k < EQ_FLW ? rd : "f", imm, rs1);
    } else if ((k >= EQ_SB && k <= EQ_SW) || k == EQ_FSW || k == EQ_FSH) {
        snprintf(text, room, "%s, %d(%s)", k >= EQ_FSW ? "f" : rs2, imm, rs1);
    } else if (k >= EQ_BEQ && k <= EQ_BGEU) {
        snprintf(text, room, "%s, %s, %#x", rs1, rs2, (unsigned)imm);
    } else if (k == EQ_BEQIMM || k == EQ_BNEIMM || k == EQ_JAL) {
        snprintf(text, room, "%s, %#x", k == EQ_JAL ? rd : rs1, (unsigned)imm);
    } else if (k == EQ_LOAD_POST || k == EQ_STORE_POST) {
        snprintf(text, room, "%s, (%s), %d", k == EQ_LOAD_POST ? rd : rs2, rs1, imm);
    } else if (k == EQ_LOAD_POST_R || k == EQ_STORE_POST_R) {
        snprintf(text, room, "%s, (%s), %s", k == EQ_LOAD_POST_R ? rd : rs2, rs1, k == EQ_LOAD_POST_R ? rs2 : rd);
    } else if (k == EQ_LOOP) {
        snprintf(text, room, "%d, %s, %d", o->x & 1, rs1, imm);
    } else if (k == EQ_CSR) {
        snprintf(text, room, "%s, %#x, %s", rd, (unsigned)imm, rs1);
    } else if (k > EQ_END && k != EQ_NOP && !(k >= EQ_FENCEI && k <= EQ_MRET)) {
        snprintf(text, room, "%s, %s, %s", rd, rs1, rs2);
    } else {
        text[0] = 0;
    }
}

/* The instruction at `pc` as text of less than `room` characters; returns its bytes, 0 where there is none. */
EQ_API uint32_t eq_iss_text(const eq_machine *m, uint32_t pc, char *text, uint32_t room)
{
    uint32_t word;
    eq_op op;
    eq_timing timing;
    char name[24], rest[64];
    const uint32_t bytes = eq_fetch(m, pc, &word);
    if (bytes == 0) {
        return 0;
    }
    eq_decode(word, pc, &op, &timing);
    name_of(&op, name, sizeof name);
    operands(&op, &timing, rest, sizeof rest);
    snprintf(text, room, rest[0] ? "%-12s %s" : "%s", name, rest);
    return bytes;
}

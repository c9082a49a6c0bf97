/* An instruction-set simulator of RV32IMFC, Zicsr, XCV and smallFloat's halves with the timing of a CV32E40P core.
 * A host library that edgeq/run/iss.py loads; docs/iss.md says what is modelled. */
#ifndef EQ_ISS_H
#define EQ_ISS_H

#include <stddef.h>
#include <stdint.h>

/* What an instruction does. Operands are rd, rs1, rs2 and imm of eq_op; `x` chooses among variants of one kind. */
#define EQ_KINDS(X)                                                                                                     \
    X(ILLEGAL) X(END) X(NOP) X(LI) X(ADDI) X(SLTI) X(SLTIU) X(XORI) X(ORI) X(ANDI) X(SLLI) X(SRLI) X(SRAI)              \
    X(ADD) X(SUB) X(SLL) X(SLT) X(SLTU) X(XOR) X(SRL) X(SRA) X(OR) X(AND)                                               \
    X(MUL) X(MULH) X(MULHSU) X(MULHU) X(DIV) X(DIVU) X(REM) X(REMU)                                                     \
    X(LB) X(LH) X(LW) X(LBU) X(LHU) X(SB) X(SH) X(SW)                                                                   \
    X(BEQ) X(BNE) X(BLT) X(BGE) X(BLTU) X(BGEU) X(BEQIMM) X(BNEIMM) X(JAL) X(JALR)                                      \
    X(CSR) X(FENCEI) X(ECALL) X(EBREAK) X(MRET)                                                                         \
    X(LOAD_POST) X(LOAD_POST_R) X(LOAD_R) X(STORE_POST) X(STORE_POST_R) X(STORE_R)                                      \
    X(MAC) X(MSU) X(SDOTSP_B) X(SDOTUSP_B) X(SDOTUP_B) X(SDOTSP_H)                                                      \
    X(ALU) X(ALU_I) X(MULN) X(SIMD) X(SIMD_SC) X(SIMD_I) X(LOOP)                                                        \
    X(FLW) X(FSW) X(FLOAT) X(FMA) X(FLH) X(FSH) X(HALF) X(LANES) X(ELW)

typedef enum {
#define X(name) EQ_##name,
    EQ_KINDS(X)
#undef X
} eq_kind;

/* One decoded instruction; `extra` gathers the cycles beyond `cycles` that it has taken so far. */
typedef struct {
    const void *go;
    uint32_t imm, pc;
    uint8_t rd, rs1, rs2, x;
    uint8_t cycles, kind, bytes, jump_next;
    uint32_t left; /* cycles of the instructions behind it in its block */
    uint64_t extra;
} eq_op;

/* What decides on stalls: registers as bit masks. */
typedef struct {
    uint32_t need; /* read, or written through the ALU's port: waits for a load to it */
    uint32_t load; /* written by the load unit */
    uint32_t alu;  /* written by the ALU */
    uint8_t cycles, jump, jalr, multi, rd, rs1, stalled;
} eq_timing;

typedef struct {
    uint32_t start, end, count;
    int checked;
} eq_loop;

typedef struct eq_block {
    uint32_t pc, end, n, cycles;
    uint64_t count;
    struct eq_block *next[2]; /* fallen through, taken */
    struct eq_block *older;
    uint8_t boundary, late, jumpy;
    eq_timing first[2], last[2];
    eq_op ops[];
} eq_block;

typedef struct {
    uint32_t origin, bytes;
    uint8_t *memory;
    int writable;
} eq_region;

enum { EQ_REGIONS = 8, EQ_SENT = 65536 };

/* Why eq_iss_run has returned. */
enum { EQ_LIMIT, EQ_EXIT, EQ_SENT_FULL, EQ_STRAYED, EQ_TRAPPED, EQ_BAD_LOOP, EQ_NO_MEMORY, EQ_WATCHED, EQ_ASLEEP };

struct eq_cluster;

/* The first part, up to `sent`, is what edgeq/run/iss/machine.py reads and writes. */
typedef struct eq_machine {
    uint32_t x[33], f[32], pc; /* x[32] takes what is written to x0 */
    uint64_t cycles, instructions, limit;
    uint64_t *reads; /* of mcycle: instructions, cycles */
    const char *why;
    int32_t exit_code;
    uint32_t fault_pc, fault_cause, fault_address;
    uint32_t uart, test;
    uint32_t sent_bytes, reads_count;
    uint8_t *sent;
    uint32_t reads_room, regions;
    eq_region region[EQ_REGIONS];
    uint32_t code_origin, code_bytes;
    eq_block **table;  /* per half-word of code */
    uint8_t *marks;    /* per half-word of code: EQ_MARK_* */
    uint64_t *counted; /* per half-word of code: instructions, cycles */
    eq_block *blocks;
    const eq_block *fell; /* the block that execution has fallen out of; none after a jump */
    const eq_op *crossed; /* the access that last crossed a word */
    eq_loop loop[2];
    int stale, divisor_latch;
    uint32_t mstatus, mtvec, mepc, mcause, mtval, mscratch, mie, inhibit, frm;
    uint64_t cycle_offset, instret_offset, held_cycles, held_instructions;
    struct eq_cluster *cluster; /* whose hart this is; NULL of a single core */
    struct eq_machine *lead;    /* hart 0, which has the devices; itself of a single core */
    uint64_t until;             /* cycles at which another hart of the cluster has its turn */
    uint32_t hart, waits_for;   /* its number, and why it sleeps (cluster.h) */
} eq_machine;

enum { EQ_MARK_BOUNDARY = 1, EQ_MARK_DECODED = 2 };

#define EQ_API __attribute__((visibility("default")))

uint32_t eq_expand(uint32_t half);
void eq_decode(uint32_t word, uint32_t pc, eq_op *op, eq_timing *timing);
uint32_t eq_alu(uint32_t code, uint32_t a, uint32_t b, uint32_t c);
uint32_t eq_muln(uint32_t code, uint32_t shift, uint32_t a, uint32_t b, uint32_t c);
uint32_t eq_simd(uint32_t code, uint32_t a, uint32_t b, uint32_t c);
int eq_float(eq_machine *m, const eq_op *op);
int eq_fma(eq_machine *m, const eq_op *op);
int eq_half(eq_machine *m, const eq_op *op);
int eq_half_lanes(eq_machine *m, const eq_op *op);
uint32_t eq_float_flags(void);
void eq_float_set_flags(uint32_t flags);

#endif

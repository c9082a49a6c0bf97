/* SPDX-License-Identifier: Apache-2.0
 * Made by edgeq. What edgeq generates may be used, changed and shipped in any product, under any terms. */
/* Whether there are RISC-V vectors, and what assembly with them overwrites. */
#ifndef EQ_RVV_H
#define EQ_RVV_H

#if defined(__riscv_vector) && __riscv_xlen == 32
#define EQ_RVV 1
#else
#define EQ_RVV 0
#endif

/* GCC before 14 does not know the names of vector registers, nor does it use them. */
#if defined(__clang__) || __GNUC__ >= 14
#define EQ_RVV_CLOBBERED \
    "memory", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", \
    "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31"
#else
#define EQ_RVV_CLOBBERED "memory"
#endif

#endif

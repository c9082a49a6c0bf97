/* Memory faults in the model's tables: twin of edgeq/faults.py. The tables can be changed where they lie in RAM (EQ_WEIGHTS_IN_RAM). */
#ifndef EQ_FAULTS_H
#define EQ_FAULTS_H

#include <stdint.h>

/* A table of the model. */
typedef struct {
    const void *data;
    uint32_t bytes;
    uint32_t hit; /* 1: faults may hit it */
} eq_table_t;

extern const eq_table_t eq_tables[]; /* all, in the order of emission: an index is a table's place */
extern const uint32_t eq_table_count;

typedef enum { EQ_FAULTS_FIT, EQ_FAULTS_NO_MAP, EQ_FAULTS_OUTSIDE } eq_faults_fit;

/* Load the tables from flash, at the start, or again later. */
void eq_faults_clear(void);

/* Whether the bytes are a map (`faults.block`) and all that it lists lies in tables that faults may hit. */
eq_faults_fit eq_faults_check(const unsigned char *map, uint32_t bytes);

/* Flip what a map says that was checked. */
void eq_faults_apply(const unsigned char *map);

#endif

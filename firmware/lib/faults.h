/* Memory faults in the model's tables: twin of edgeq/faults.py. */
#ifndef EQ_FAULTS_H
#define EQ_FAULTS_H

#include <stdint.h>

/* A table that faults may hit, and its place in the order of emission. */
typedef struct {
    uint32_t place, bytes;
    unsigned char *data;
} eq_table_t;

extern const eq_table_t eq_tables[]; /* made by edgeq/build.py, with the tables in RAM */
extern const uint32_t eq_table_count;

/* Flip what a map (`faults.block`, `words` words) says. Twice is not at all. 0, or 1 for what is no map of this model. */
int32_t eq_faults_apply(const uint32_t *map, uint32_t words);

#endif

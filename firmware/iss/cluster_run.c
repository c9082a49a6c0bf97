/* The interpreter's loop for the harts of a cluster. */
#define EQ_SHARED 1
#include "run.c"

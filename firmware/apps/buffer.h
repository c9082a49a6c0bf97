/* Memory of an application, aligned for anything. */
#ifndef EQ_BUFFER_H
#define EQ_BUFFER_H

#include <stdint.h>

#define EQ_BUFFER(name, type, count) \
    static union {                   \
        uint64_t align;              \
        type bytes[count];           \
    } name

#endif

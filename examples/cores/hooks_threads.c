/* The hooks of eq_team.h and eq_copy.h on Pthreads: EQ_CORES threads compute the parts, one more copies. Build the emitted folder with it:
 *
 *     cc -DEQ_TEAM -DEQ_COPY -pthread -Iout out/main.c out/m*.c hooks_threads.c && ./a.out
 *
 * eq_bytes_copied counts the bytes that were copied. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "eq_copy.h"
#include "eq_team.h"

#ifndef EQ_CORES
#define EQ_CORES 8
#endif

enum { COPIES = 32 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct {
    eq_work work;
    const void *what;
    int32_t parts;
    unsigned round;
    int busy;
} job;

static struct {
    void *to;
    const void *from;
    uint32_t bytes;
} copy[COPIES];
static int copies, made;
unsigned long eq_bytes_copied;

static void *compute(void *number)
{
    unsigned seen = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (job.round == seen) {
            pthread_cond_wait(&begun, &lock);
        }
        seen = job.round;
        const eq_work work = job.work;
        const void *const what = job.what;
        const int32_t parts = job.parts;
        pthread_mutex_unlock(&lock);
        for (int32_t part = (int32_t)(intptr_t)number; part < parts; part += EQ_CORES) {
            work(what, part);
        }
        pthread_mutex_lock(&lock);
        job.busy--;
        pthread_cond_broadcast(&ended);
    }
}

static void *carry(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (made == copies) {
            pthread_cond_wait(&begun, &lock);
        }
        const int i = made;
        pthread_mutex_unlock(&lock);
        memcpy(copy[i].to, copy[i].from, copy[i].bytes);
        pthread_mutex_lock(&lock);
        eq_bytes_copied += copy[i].bytes;
        made++;
        pthread_cond_broadcast(&ended);
    }
}

static void start(void)
{
    pthread_t thread;
    for (intptr_t i = 0; i < EQ_CORES; i++) {
        if (pthread_create(&thread, NULL, compute, (void *)i) != 0) {
            abort();
        }
    }
    if (pthread_create(&thread, NULL, carry, NULL) != 0) {
        abort();
    }
}

void eq_fork(eq_work work, const void *what, int32_t parts)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    job.work = work;
    job.what = what;
    job.parts = parts;
    job.busy = EQ_CORES;
    job.round++;
    pthread_cond_broadcast(&begun);
    while (job.busy) {
        pthread_cond_wait(&ended, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void eq_copy_start(void *to, const void *from, uint32_t bytes)
{
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    if (copies == COPIES) { /* more than a step has tables */
        abort();
    }
    copy[copies].to = to;
    copy[copies].from = from;
    copy[copies].bytes = bytes;
    copies++;
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
}

void eq_copy_wait(void)
{
    pthread_mutex_lock(&lock);
    while (made != copies) {
        pthread_cond_wait(&ended, &lock);
    }
    copies = made = 0;
    pthread_mutex_unlock(&lock);
}

/* The hooks of eq_team.h and eq_copy.h on Pthreads: EQ_CORES threads compute the parts, one more copies. Build an emitted folder with it,
 * -DEQ_TEAM where the folder has eq_team.h (edgeq build --cores), -DEQ_COPY where it has eq_copy.h (--weights-stream):
 *
 *     cc -DEQ_TEAM -DEQ_COPY -pthread -Iout out/main.c out/model*.c hooks_threads.c && ./a.out
 *
 * eq_bytes_copied counts the bytes that were copied. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void create(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) != 0) {
        abort();
    }
}

#ifdef EQ_TEAM
#include "eq_team.h"

#ifndef EQ_CORES
#define EQ_CORES 8
#endif

static pthread_cond_t work_begun = PTHREAD_COND_INITIALIZER, work_ended = PTHREAD_COND_INITIALIZER;
static pthread_once_t team_once = PTHREAD_ONCE_INIT;

static struct {
    eq_work work;
    const void *what;
    int32_t parts;
    unsigned round;
    int busy; /* threads that have not ended this round */
} job;

static void *compute(void *number)
{
    unsigned seen = 0;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (job.round == seen) {
            pthread_cond_wait(&work_begun, &lock);
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
        pthread_cond_signal(&work_ended);
    }
}

static void start_team(void)
{
    for (intptr_t i = 0; i < EQ_CORES; i++) {
        create(compute, (void *)i);
    }
}

void eq_fork(eq_work work, const void *what, int32_t parts)
{
    pthread_once(&team_once, start_team);
    pthread_mutex_lock(&lock);
    job.work = work;
    job.what = what;
    job.parts = parts;
    job.busy = EQ_CORES;
    job.round++;
    pthread_cond_broadcast(&work_begun);
    while (job.busy) {
        pthread_cond_wait(&work_ended, &lock);
    }
    pthread_mutex_unlock(&lock);
}
#endif

#ifdef EQ_COPY
#include "eq_copy.h"

enum { COPIES = 32 }; /* at a time; a step has fewer tables */

static pthread_cond_t copy_begun = PTHREAD_COND_INITIALIZER, copy_ended = PTHREAD_COND_INITIALIZER;
static pthread_once_t copy_once = PTHREAD_ONCE_INIT;

static struct {
    void *to;
    const void *from;
    uint32_t bytes;
} copy[COPIES];
static int copies, made;
unsigned long eq_bytes_copied;

static void *carry(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (made == copies) {
            pthread_cond_wait(&copy_begun, &lock);
        }
        const int i = made;
        pthread_mutex_unlock(&lock);
        memcpy(copy[i].to, copy[i].from, copy[i].bytes);
        pthread_mutex_lock(&lock);
        eq_bytes_copied += copy[i].bytes;
        made++;
        pthread_cond_signal(&copy_ended);
    }
}

static void start_copier(void)
{
    create(carry, NULL);
}

void eq_copy_start(void *to, const void *from, uint32_t bytes)
{
    pthread_once(&copy_once, start_copier);
    pthread_mutex_lock(&lock);
    if (copies == COPIES) {
        abort();
    }
    copy[copies].to = to;
    copy[copies].from = from;
    copy[copies].bytes = bytes;
    copies++;
    pthread_cond_signal(&copy_begun);
    pthread_mutex_unlock(&lock);
}

void eq_copy_wait(void)
{
    pthread_mutex_lock(&lock);
    while (made != copies) {
        pthread_cond_wait(&copy_ended, &lock);
    }
    copies = made = 0;
    pthread_mutex_unlock(&lock);
}
#endif

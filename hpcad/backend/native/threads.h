/* The door of compiled code to the one thread pool of the process (threads.c).
 *
 * Every library has its own copy of the pointer; whoever loads the library points it at the pool.
 * A library that nobody connected runs on the calling thread alone.
 */
#ifndef HPCAD_THREADS_H
#define HPCAD_THREADS_H

/* A piece of work: elements begin <= i < end, by the worker of that number (0 <= worker). */
typedef void (*hp_body)(void *context, long begin, long end, int worker);

/* Runs `body` over 0 <= i < n in pieces, one per worker, and returns when all are done. Pieces
 * are whole multiples of `grain` (the last one excepted); no more workers take part than there are
 * grains. The pieces depend on n, grain and hp_threads() alone, also where they run one after the
 * other (nested calls), so that sums over pieces come out the same every time. */
typedef void (*hp_runner)(hp_body body, void *context, long n, long grain);
typedef int (*hp_counter)(void);

static void hp_run_alone(hp_body body, void *context, long n, long grain)
{
    (void)grain;
    if (n > 0)
        body(context, 0, n, 0);
}

static int hp_one(void)
{
    return 1;
}

static hp_runner hp_parallel_for = hp_run_alone;
static hp_counter hp_threads = hp_one; /* workers that may take part: the size of scratch arrays */

__attribute__((visibility("default"))) void hp_connect(hp_runner runner, hp_counter counter);
void hp_connect(hp_runner runner, hp_counter counter)
{
    hp_parallel_for = runner;
    hp_threads = counter;
}

#endif

/* One thread pool per process, for all compiled kernels and routines.
 *
 * Workers wait spinning for a few microseconds only and then sleep: threads that spin beside those
 * of a BLAS library take its cores (up to eight times slower steps were measured). Each worker has
 * a mailbox of its own, so that only those who take part are woken.
 */
#define _GNU_SOURCE /* sched_getcpu and its like */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#define MOST 256      /* workers, the caller included */
#define SPIN_NS 20000 /* about what waking a sleeping thread costs */

typedef void (*hp_body)(void *context, long begin, long end, int worker);

typedef struct {
    hp_body body;
    void *context;
    long n, grain;
    int parts;
    int core; /* on which the caller runs, or -1 */
} job_t;

typedef struct {
    _Alignas(64) atomic_uint ticket; /* counts jobs; a new number is the call to work */
    atomic_int asleep;
    pthread_mutex_t mutex;
    pthread_cond_t rung;
} mailbox_t;

static mailbox_t mailboxes[MOST]; /* [0] is the caller's, rung by the last worker to finish */
static job_t job;
static _Alignas(64) atomic_int pending; /* workers that have not finished the job */
static _Alignas(64) atomic_int busy;    /* the pool serves one caller at a time */
static int started = 1;                 /* threads that exist, the caller included */
static atomic_int wanted = 1;
static _Thread_local int inside; /* this thread is at work for the pool: nested calls run alone */

/* -- waiting ---------------------------------------------------------------------------------- */

static inline void pause_core(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* Return when the ticket is no longer `seen`. */
static void await(mailbox_t *box, unsigned seen)
{
    long deadline = now_ns() + SPIN_NS;
    do
        for (int i = 0; i < 32; i++) {
            if (atomic_load_explicit(&box->ticket, memory_order_acquire) != seen)
                return;
            pause_core();
        }
    while (now_ns() < deadline);
    /* `asleep` is set before the ticket is read again, and ring() reads it after it has changed
     * the ticket (both sequentially consistent), so one of the two sees the other. */
    pthread_mutex_lock(&box->mutex);
    atomic_store(&box->asleep, 1);
    while (atomic_load(&box->ticket) == seen)
        pthread_cond_wait(&box->rung, &box->mutex);
    atomic_store(&box->asleep, 0);
    pthread_mutex_unlock(&box->mutex);
}

static void ring(mailbox_t *box)
{
    atomic_fetch_add(&box->ticket, 1);
    if (atomic_load(&box->asleep)) {
        pthread_mutex_lock(&box->mutex);
        pthread_cond_signal(&box->rung);
        pthread_mutex_unlock(&box->mutex);
    }
}

/* -- pieces ----------------------------------------------------------------------------------- */

static void run_piece(const job_t *j, int worker)
{
    long grains = (j->n + j->grain - 1) / j->grain;
    long begin = grains * worker / j->parts * j->grain;
    long end = grains * (worker + 1) / j->parts * j->grain;
    j->body(j->context, begin, end < j->n ? end : j->n, worker);
}

static int this_core(void)
{
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

/* A thread that is woken often stands in the queue of the core of the one that woke it, until that
 * one has done its own piece: the pieces then run one after the other, job after job (twice the
 * time was measured). So it goes to another core, if the process has one. */
static void leave(int core)
{
#ifdef __linux__
    cpu_set_t cores;
    if (core < 0 || this_core() != core || sched_getaffinity(getpid(), sizeof cores, &cores) != 0)
        return;
    CPU_CLR(core, &cores);
    if (CPU_COUNT(&cores) > 0)
        sched_setaffinity(0, sizeof cores, &cores);
#else
    (void)core;
#endif
}

static void *work(void *number)
{
    int me = (int)(ptrdiff_t)number;
    mailbox_t *box = &mailboxes[me];
    inside = 1;
    for (unsigned seen = 0;; seen++) {
        await(box, seen);
        leave(job.core);
        run_piece(&job, me);
        if (atomic_fetch_sub(&pending, 1) == 1)
            ring(&mailboxes[0]);
    }
    return NULL;
}

/* -- beginnings and ends of threads ----------------------------------------------------------- */

static void prepare(mailbox_t *box)
{
    atomic_store(&box->ticket, 0);
    atomic_store(&box->asleep, 0);
    pthread_mutex_init(&box->mutex, NULL);
    pthread_cond_init(&box->rung, NULL);
}

/* A forked child has only the thread that forked, whatever the others held. */
static void forget_workers(void)
{
    started = 1;
    inside = 0;
    atomic_store(&busy, 0);
    prepare(&mailboxes[0]);
}

static void first_use(void)
{
    prepare(&mailboxes[0]);
    pthread_atfork(NULL, NULL, forget_workers);
}

/* Have `count` threads, if the system grants them; only the holder of `busy` comes here. */
static void have_threads(int count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, first_use);
    if (started >= count)
        return;
    sigset_t all, before; /* signals belong to Python's main thread */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < count; started++) {
        pthread_t thread;
        prepare(&mailboxes[started]);
        if (pthread_create(&thread, NULL, work, (void *)(ptrdiff_t)started) != 0)
            break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* -- what the library offers ------------------------------------------------------------------ */

void hp_set_threads(int count)
{
    atomic_store(&wanted, count < 1 ? 1 : count > MOST ? MOST : count);
}

int hp_get_threads(void)
{
    return atomic_load(&wanted);
}

void hp_parallel_for(hp_body body, void *context, long n, long grain)
{
    if (n <= 0)
        return;
    if (grain < 1)
        grain = 1;
    long grains = (n + grain - 1) / grain;
    int parts = hp_get_threads();
    if (parts > grains)
        parts = (int)grains;
    job_t mine = {body, context, n, grain, parts, this_core()};
    int helped = 1;
    if (parts > 1 && !inside && !atomic_exchange(&busy, 1)) {
        have_threads(parts);
        helped = started < parts ? started : parts;
        job = mine;
        atomic_store(&pending, helped - 1);
        unsigned seen = atomic_load(&mailboxes[0].ticket);
        for (int w = 1; w < helped; w++)
            ring(&mailboxes[w]);
        inside = 1;
        run_piece(&mine, 0);
        for (int w = helped; w < parts; w++) /* threads that the system refused */
            run_piece(&mine, w);
        inside = 0;
        if (helped > 1)
            await(&mailboxes[0], seen);
        atomic_store(&busy, 0);
        return;
    }
    for (int w = 0; w < parts; w++)
        run_piece(&mine, w);
}

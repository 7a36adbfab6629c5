/* A reduction of a few numbers among the ranks of a node, in one call.
 *
 * The protocol is that of board.py and node_request.py: state what is wanted, wait until all have
 * come, compare, read the numbers of all, say that one has finished. The numbers lie in slots of
 * shared memory; every rank computes the whole result by itself, in rank order. */
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "combine.h"

/* Of Python's stable ABI since 3.11 (docs.python.org/3/c-api/stable.html): declared here, because
 * its headers are seldom there where a library runs. */
typedef intptr_t ssize;
typedef struct object object;
struct view {
    void *buf;
    object *obj;
    ssize len, itemsize;
    int readonly, ndim;
    char *format;
    ssize *shape, *strides, *suboffsets;
    void *internal;
};
struct method {
    const char *name;
    object *(*function)(object *self, object *argument);
    int flags;
    const char *doc;
};
extern int PyObject_GetBuffer(object *exporter, struct view *view, int flags);
extern void PyBuffer_Release(struct view *view);
extern void PyErr_Clear(void);
extern object *PyLong_FromLong(long value);
extern object *PyCapsule_New(void *pointer, const char *name, void *destructor);
extern void *PyCapsule_GetPointer(object *capsule, const char *name);
extern object *PyCFunction_NewEx(struct method *method, object *self, object *module);
extern void Py_DecRef(object *o);
#define WRITABLE 1 /* and contiguous, in the order of C */
#define ONE_ARGUMENT 8

#define SPINS 400  /* looks before the core is offered to others, who may be the ones awaited */
#define LOOKS 2000 /* in all; then the caller goes on with what else is under way */

enum { ARRIVED = 0, FINISHED = 8, PRINTS = 16, AHEAD = 64 };
enum { DONE, NOT_YET, MISMATCH, REFUSED };

struct group {
    int64_t **board;
    char **slots;
    char *numbers; /* the result, before it is copied */
    long ranks, mine, slot_bytes;
    long number;   /* of the next call */
    long finished; /* so many calls, at least, have all ranks finished */
};

struct plan {
    struct group *group;
    int64_t print;
    long kind, count, bytes; /* `kind` below 0: only agree about the call */
};

static int64_t look(const int64_t *word)
{
    return atomic_load_explicit((const _Atomic int64_t *)word, memory_order_acquire);
}

static void set(int64_t *word, int64_t value)
{
    atomic_store_explicit((_Atomic int64_t *)word, value, memory_order_release);
}

/* Whether a word of every rank reaches a number soon. */
static int reached(const struct group *g, long place, int64_t number)
{
    long looks = 0;
    for (long k = 0; k < g->ranks; k++) {
        while (look(g->board[k] + place) < number) {
            if (++looks > LOOKS)
                return 0;
            if (looks > SPINS)
                sched_yield();
        }
    }
    return 1;
}

static long least(const struct group *g, long place)
{
    long found = look(g->board[0] + place);
    for (long k = 1; k < g->ranks; k++) {
        long other = look(g->board[k] + place);
        found = other < found ? other : found;
    }
    return found;
}

#define COMBINE(name, real, OP)                                                                    \
    static void name(const struct group *g, long offset, long count)                               \
    {                                                                                              \
        real *restrict to = (real *)g->numbers;                                                    \
        memcpy(to, g->slots[0] + offset, count * sizeof(real));                                    \
        for (long k = 1; k < g->ranks; k++) {                                                      \
            const real *from = (const real *)(g->slots[k] + offset);                               \
            for (long i = 0; i < count; i++)                                                       \
                to[i] = OP(to[i], from[i]);                                                        \
        }                                                                                          \
    }
#define COMBINE_ALL(type, real)                                                                    \
    COMBINE(sum_##type, real, HP_SUM)                                                                 \
    COMBINE(prod_##type, real, HP_PROD)                                                               \
    COMBINE(max_##type, real, HP_MAX)                                                                 \
    COMBINE(min_##type, real, HP_MIN)
#define NAMES(type) sum_##type, prod_##type, max_##type, min_##type

COMBINE_ALL(float32, float)
COMBINE_ALL(float64, double)
COMBINE_ALL(int32, int32_t)
COMBINE_ALL(int64, int64_t)

/* The order is that of KINDS in quick.py. */
static void (*const kinds[])(const struct group *, long, long)
    = {NAMES(float32), NAMES(float64), NAMES(int32), NAMES(int64)};

/* Take part in the next call. It is counted when it is done; until then it may be taken up by
 * others, who state the same again. */
static long take_part(const struct plan *p, void *array)
{
    struct group *g = p->group;
    long number = g->number;
    int64_t *mine = g->board[g->mine];
    if (g->finished < number - AHEAD + 1) { /* somebody may still read the slot */
        if (!reached(g, FINISHED, number - AHEAD + 1))
            return NOT_YET;
        g->finished = least(g, FINISHED);
    }
    long offset = number % AHEAD * g->slot_bytes;
    if (array)
        memcpy(g->slots[g->mine] + offset, array, p->bytes);
    mine[PRINTS + number % AHEAD] = p->print;
    set(mine + ARRIVED, number + 1);
    if (!reached(g, ARRIVED, number + 1))
        return NOT_YET;
    for (long k = 0; k < g->ranks; k++)
        if (g->board[k][PRINTS + number % AHEAD] != p->print)
            return MISMATCH;
    if (array) {
        kinds[p->kind](g, offset, p->count);
        memcpy(array, g->numbers, p->bytes); /* that may lie anywhere, unaligned */
    }
    set(mine + FINISHED, number + 1);
    g->number = number + 1;
    return DONE;
}

static object *run(object *self, object *array)
{
    const struct plan *p = PyCapsule_GetPointer(self, 0);
    if (p->kind < 0)
        return PyLong_FromLong(take_part(p, 0));
    struct view view;
    if (PyObject_GetBuffer(array, &view, WRITABLE)) {
        PyErr_Clear();
        return PyLong_FromLong(REFUSED);
    }
    long found = view.len == p->bytes ? take_part(p, view.buf) : REFUSED;
    PyBuffer_Release(&view);
    return PyLong_FromLong(found);
}

static struct method method = {"run", run, ONE_ARGUMENT, 0};

/* A function of Python that takes part in a plan's calls; its argument is the array, which a plan
 * that only agrees does not look at. (A call through ctypes takes three times as long.) */
object *hp_quick(struct plan *p)
{
    object *self = PyCapsule_New(p, 0, 0);
    object *function = self ? PyCFunction_NewEx(&method, self, 0) : 0;
    if (self)
        Py_DecRef(self);
    return function;
}

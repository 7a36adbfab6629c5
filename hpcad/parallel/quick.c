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

#define SPINS 400  /* looks before the core is offered to others, who may be the ones awaited */
#define LOOKS 2000 /* in all; then the caller goes on with what else is under way */

enum { ARRIVED = 0, FINISHED = 8, PRINTS = 16, AHEAD = 64 };
enum { DONE, NOT_YET, MISMATCH };

struct group {
    int64_t **board;
    char **slots;
    char *numbers; /* of this rank; then the result */
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
long hp_quick(const struct plan *p)
{
    struct group *g = p->group;
    long number = g->number, kind = p->kind;
    int64_t *mine = g->board[g->mine];
    if (g->finished < number - AHEAD + 1) { /* somebody may still read the slot */
        if (!reached(g, FINISHED, number - AHEAD + 1))
            return NOT_YET;
        g->finished = least(g, FINISHED);
    }
    long offset = number % AHEAD * g->slot_bytes;
    if (kind >= 0)
        memcpy(g->slots[g->mine] + offset, g->numbers, p->bytes);
    mine[PRINTS + number % AHEAD] = p->print;
    set(mine + ARRIVED, number + 1);
    if (!reached(g, ARRIVED, number + 1))
        return NOT_YET;
    for (long k = 0; k < g->ranks; k++)
        if (g->board[k][PRINTS + number % AHEAD] != p->print)
            return MISMATCH;
    if (kind >= 0)
        kinds[kind](g, offset, p->count);
    set(mine + FINISHED, number + 1);
    g->number = number + 1;
    return DONE;
}

/* Uniform random numbers by Philox4x32-10, for rows that have global numbers (backend/random.py).
 *
 * `real` is the type of the numbers (a typedef before this text). A block of the generator gives
 * four words, and of each the upper 24 bits, as a number in [0, 1).
 */
#include <stdint.h>

#include "threads.h"

typedef struct {
    const int64_t *ids; /* of the rows */
    const int64_t *step;
    real *target; /* (rows, width), contiguous */
    long rows, width;
    uint32_t key[2];
} hp_philox;

#define STRETCH 64  /* blocks at a time: their words stay in the first cache */
#define WORTH 65536 /* numbers that are worth waking another thread */

/* The words of `count` blocks, of which `first` is the first; words[k] are the k-th of each. */
static void blocks_of(const hp_philox *p, uint64_t first, long count, uint32_t words[4][STRETCH])
{
    uint64_t step = (uint64_t)*p->step;
    uint32_t *c0 = words[0], *c1 = words[1], *c2 = words[2], *c3 = words[3];
    for (long i = 0; i < count; i++) {
        c0[i] = (uint32_t)(first + (uint64_t)i);
        c1[i] = (uint32_t)((first + (uint64_t)i) >> 32);
        c2[i] = (uint32_t)step;
        c3[i] = (uint32_t)(step >> 32);
    }
#pragma omp simd
    for (long i = 0; i < count; i++) {
        uint32_t a = c0[i], b = c1[i], c = c2[i], d = c3[i];
        uint32_t k0 = p->key[0], k1 = p->key[1];
        for (int round = 0; round < 10; round++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * a, p1 = (uint64_t)0xCD9E8D57u * c;
            a = (uint32_t)(p1 >> 32) ^ b ^ k0;
            b = (uint32_t)p1;
            c = (uint32_t)(p0 >> 32) ^ d ^ k1;
            d = (uint32_t)p0;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        c0[i] = a;
        c1[i] = b;
        c2[i] = c;
        c3[i] = d;
    }
}

static real unit(uint32_t word)
{
    return (real)(int32_t)(word >> 8) * (real)0x1p-24; /* signed conversions are the quick ones */
}

static void rows_of(void *context, long begin, long end, int worker)
{
    const hp_philox *p = context;
    long blocks = (p->width + 3) / 4;
    uint32_t words[4][STRETCH];
    (void)worker;
    for (long row = begin; row < end; row++)
        for (long start = 0; start < blocks; start += STRETCH) {
            long count = blocks - start < STRETCH ? blocks - start : STRETCH;
            real *out = p->target + row * p->width + 4 * start;
            long whole = (p->width - 4 * start) / 4 < count ? (p->width - 4 * start) / 4 : count;
            blocks_of(p, (uint64_t)p->ids[row] * (uint64_t)blocks + (uint64_t)start, count, words);
            for (long i = 0; i < whole; i++)
                for (long k = 0; k < 4; k++)
                    out[4 * i + k] = unit(words[k][i]);
            for (long k = 0; whole < count && k < p->width % 4; k++)
                out[4 * whole + k] = unit(words[k][whole]);
        }
}

__attribute__((visibility("default"))) void hp_uniform_rows(hp_philox *p);
void hp_uniform_rows(hp_philox *p)
{
    hp_parallel_for(rows_of, p, p->rows, p->width >= WORTH ? 1 : WORTH / (p->width + 1) + 1);
}

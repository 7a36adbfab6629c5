/* Rows of a table by integer index, and their adjoint: sums of rows by index.
 *
 * `real` is the type of the elements (a typedef before this text). Negative indices count from the
 * end. Every routine looks at all indices first and returns the place of the first that is out of
 * bounds, or -1; then nothing has been written.
 */
#include <stdint.h>
#include <string.h>

#include "threads.h"

typedef struct {
    const void *index; /* int64_t where `wide`, else int32_t */
    const char *source;
    char *target;
    long wide;
    long count;         /* indices */
    long limit;         /* rows of the table */
    long width;         /* elements per row */
    long source_stride; /* elements between rows */
    long target_stride;
    long accumulate; /* add to what is in the table, instead of to 0 */
} hp_rows;

static inline int64_t index_at(const hp_rows *r, long i)
{
    return r->wide ? ((const int64_t *)r->index)[i] : ((const int32_t *)r->index)[i];
}

/* The row that an index in bounds means. */
static inline long row_at(const hp_rows *r, long i)
{
    int64_t row = index_at(r, i);
    return row < 0 ? row + r->limit : row;
}

/* Without an exit inside the loop, for SIMD; almost always all are in bounds. */
static int any_outside(const hp_rows *r)
{
    int64_t low = 0, high = -1, rows = r->limit;
    if (r->wide)
        for (long i = 0; i < r->count; i++) {
            int64_t row = ((const int64_t *)r->index)[i];
            low = row < low ? row : low;
            high = row > high ? row : high;
        }
    else
        for (long i = 0; i < r->count; i++) {
            int64_t row = ((const int32_t *)r->index)[i];
            low = row < low ? row : low;
            high = row > high ? row : high;
        }
    return low < -rows || high >= rows;
}

static long first_outside(const hp_rows *r)
{
    if (!any_outside(r))
        return -1;
    long i = 0;
    while (index_at(r, i) >= -r->limit && index_at(r, i) < r->limit)
        i++;
    return i;
}

/* Elements that are worth waking another thread. */
#define WORTH 262144

static long grain(long elements_each)
{
    return elements_each >= WORTH ? 1 : WORTH / (elements_each > 0 ? elements_each : 1);
}

/* -- target[i] = source[index[i]] ------------------------------------------------------------- */

static void gather(void *context, long begin, long end, int worker)
{
    (void)worker;
    const hp_rows *r = context;
    for (long i = begin; i < end; i++)
        memcpy((real *)r->target + i * r->target_stride,
               (const real *)r->source + row_at(r, i) * r->source_stride,
               (size_t)r->width * sizeof(real));
}

long hp_gather_rows(hp_rows *r)
{
    long outside = first_outside(r);
    if (outside < 0)
        hp_parallel_for(gather, r, r->count, grain(r->width));
    return outside;
}

/* -- target[index[i]] += source[i] ------------------------------------------------------------ */

static void clear(void *context, long begin, long end, int worker)
{
    (void)worker;
    const hp_rows *r = context;
    for (long i = begin; i < end; i++)
        memset((real *)r->target + i * r->target_stride, 0, (size_t)r->width * sizeof(real));
}

/* Each worker has some columns of all rows, so every sum is in the order of the batch, whatever the
 * number of workers. */
static void add_columns(void *context, long begin, long end, int worker)
{
    (void)worker;
    const hp_rows *r = context;
    long width = end - begin;
    for (long i = 0; i < r->count; i++) {
        const real *restrict from = (const real *)r->source + i * r->source_stride + begin;
        real *restrict to = (real *)r->target + row_at(r, i) * r->target_stride + begin;
        for (long k = 0; k < width; k++)
            to[k] += from[k];
    }
}

long hp_scatter_add_rows(hp_rows *r)
{
    long outside = first_outside(r);
    if (outside >= 0)
        return outside;
    if (!r->accumulate)
        hp_parallel_for(clear, r, r->limit, grain(r->width));
    long line = 128 / (long)sizeof(real); /* two workers do not share a pair of cache lines */
    hp_parallel_for(add_columns, r, r->width, (grain(r->count) + line - 1) / line * line);
    return outside;
}

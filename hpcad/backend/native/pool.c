/* Max pooling over windows of `size` x `size` that do not overlap, images in N,H,W,C order.
 *
 * Before this text, `real` is the type of the elements and `whole` an integer of the same size.
 * SIMD code wants all lanes equally wide, so winners (one byte in memory) are handled as `whole`
 * and converted in stretches. The winner of a window is the number of its part, row-major; the
 * first at ties; NaN beats numbers without becoming the winner.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "threads.h"

typedef struct {
    real *image;      /* (images, height, width, channels), strides below */
    real *pooled;     /* (images, height / size, width / size, channels), contiguous */
    int8_t *winner;   /* shape of `pooled` */
    const real *mask; /* shape of `pooled`: cotangents pass where it is positive; or NULL */
    long images, height, width, channels, size;
    long image_stride, row_stride, pixel_stride; /* of `image`, in elements */
    long relu;                                   /* pooled = max(0, maximum) */
} hp_pool;

#define INLINE static inline __attribute__((always_inline))
#define WORTH 262144 /* elements that are worth waking another thread */
#define STRETCH 1024 /* elements of `pooled` at a time: their scratch stays in the first cache */

/* Some windows of one row of `pooled`, or some channels of one window. */
typedef struct {
    real *x;  /* first pixel of the first window */
    long at;  /* place in `pooled` */
    long windows, channels;
} stretch_t;

typedef void (*on_stretch)(const hp_pool *p, stretch_t s);

/* Cut rows begin <= i < end of `pooled` into stretches. */
INLINE void each_stretch(const hp_pool *p, long begin, long end, on_stretch run)
{
    long rows = p->height / p->size, all = p->width / p->size;
    long channels = p->channels < STRETCH ? p->channels : STRETCH;
    long windows = channels > 0 ? STRETCH / channels : 1;
    for (long i = begin; i < end; i++) {
        real *top = p->image + i / rows * p->image_stride + i % rows * p->size * p->row_stride;
        for (long w = 0; w < all; w += windows)
            for (long c = 0; c < p->channels; c += channels)
                run(p, (stretch_t){.x = top + w * p->size * p->pixel_stride + c,
                                   .at = (i * all + w) * p->channels + c,
                                   .windows = all - w < windows ? all - w : windows,
                                   .channels = p->channels - c < channels ? p->channels - c
                                                                          : channels});
    }
}

/* Work is shared out by rows of `pooled`. */
static void over_rows(hp_body body, hp_pool *p)
{
    long row = p->width * p->size * p->channels;
    long rows = p->images * (p->height / p->size);
    hp_parallel_for(body, p, rows, row >= WORTH ? 1 : WORTH / (row > 0 ? row : 1));
}

/* -- forwards --------------------------------------------------------------------------------- */

/* One window of a size that is known here, so that the loop over parts unrolls. */
INLINE void small_window(const real *restrict x, long row, long pixel, long channels, long size,
                         real *restrict y, whole *restrict won)
{
    for (long c = 0; c < channels; c++) {
        real best = x[c];
        whole winner = 0;
        for (long part = 1; part < size * size; part++) {
            real other = x[part / size * row + part % size * pixel + c];
            int better = other > best;
            winner = better ? (whole)part : winner;
            best = better | (other != other) ? other : best;
        }
        y[c] = best;
        won[c] = winner;
    }
}

INLINE void one_part(const real *restrict x, whole part, long channels, real *restrict y,
                     whole *restrict won)
{
    for (long c = 0; c < channels; c++) {
        int better = x[c] > y[c];
        won[c] = better ? part : won[c];
        y[c] = better | (x[c] != x[c]) ? x[c] : y[c];
    }
}

static void large_window(const real *x, long row, long pixel, long channels, long size, real *y,
                         whole *won)
{
    memcpy(y, x, (size_t)channels * sizeof(real));
    memset(won, 0, (size_t)channels * sizeof(whole));
    for (long part = 1; part < size * size; part++)
        one_part(x + part / size * row + part % size * pixel, (whole)part, channels, y, won);
}

static void pool_stretch(const hp_pool *p, stretch_t s)
{
    real *restrict y = p->pooled + s.at;
    int8_t *restrict winner = p->winner + s.at;
    whole won[STRETCH];
    long row = p->row_stride, pixel = p->pixel_stride, count = s.windows * s.channels;
    for (long w = 0; w < s.windows; w++) {
        const real *x = s.x + w * p->size * pixel;
        long to = w * s.channels;
        if (p->size == 2)
            small_window(x, row, pixel, s.channels, 2, y + to, won + to);
        else if (p->size == 3)
            small_window(x, row, pixel, s.channels, 3, y + to, won + to);
        else
            large_window(x, row, pixel, s.channels, p->size, y + to, won + to);
    }
    for (long k = 0; k < count; k++)
        winner[k] = (int8_t)won[k];
    if (p->relu)
        for (long k = 0; k < count; k++)
            y[k] = y[k] <= 0 ? (real)0 : y[k];
}

static void pool_rows(void *context, long begin, long end, int worker)
{
    (void)worker;
    each_stretch(context, begin, end, pool_stretch);
}

void hp_max_pool(hp_pool *p)
{
    over_rows(pool_rows, p);
}

/* -- the adjoint: cotangents of `pooled` to the places of the winners, 0 elsewhere ------------- */

/* As a product with 0 and 1, like the NumPy value: infinite cotangents make the same NaN. */
INLINE void unpool_part(const real *restrict g, const whole *restrict won, whole part,
                        long channels, real *restrict out)
{
    for (long c = 0; c < channels; c++)
        out[c] = g[c] * (won[c] == part ? (real)1 : (real)0);
}

static void unpool_stretch(const hp_pool *p, stretch_t s)
{
    const real *restrict g = p->pooled + s.at;
    const int8_t *restrict winner = p->winner + s.at;
    whole won[STRETCH];
    real passed[STRETCH];
    long count = s.windows * s.channels;
    for (long k = 0; k < count; k++)
        won[k] = winner[k];
    if (p->mask) {
        const real *restrict mask = p->mask + s.at;
        for (long k = 0; k < count; k++)
            passed[k] = g[k] * (mask[k] > 0 ? (real)1 : (real)0);
        g = passed;
    }
    for (long h = 0; h < p->size; h++)
        for (long w = 0; w < s.windows; w++)
            for (long v = 0; v < p->size; v++)
                unpool_part(g + w * s.channels, won + w * s.channels, (whole)(h * p->size + v),
                            s.channels,
                            s.x + h * p->row_stride + (w * p->size + v) * p->pixel_stride);
}

static void clear_pixels(const hp_pool *p, real *out, long count)
{
    for (long i = 0; i < count; i++)
        memset(out + i * p->pixel_stride, 0, (size_t)p->channels * sizeof(real));
}

/* Columns and rows that belong to no window. */
static void clear_rest(const hp_pool *p, long i)
{
    long size = p->size, rows = p->height / size, covered = p->width / size * size;
    real *top = p->image + i / rows * p->image_stride + i % rows * size * p->row_stride;
    for (long h = 0; h < size; h++)
        clear_pixels(p, top + h * p->row_stride + covered * p->pixel_stride, p->width - covered);
    if (i % rows == rows - 1)
        for (long h = size; h < size + p->height - rows * size; h++)
            clear_pixels(p, top + h * p->row_stride, p->width);
}

static void unpool_rows(void *context, long begin, long end, int worker)
{
    (void)worker;
    each_stretch(context, begin, end, unpool_stretch);
    for (long i = begin; i < end; i++)
        clear_rest(context, i);
}

void hp_unpool(hp_pool *p)
{
    over_rows(unpool_rows, p);
}

/* -- the adjoint of that: the elements that won ------------------------------------------------ */

static void pick_stretch(const hp_pool *p, stretch_t s)
{
    for (long w = 0; w < s.windows; w++)
        for (long c = 0; c < s.channels; c++) {
            long at = s.at + w * s.channels + c, part = p->winner[at];
            long pixel = w * p->size + part % p->size;
            p->pooled[at] = s.x[part / p->size * p->row_stride + pixel * p->pixel_stride + c];
        }
}

static void pick_rows(void *context, long begin, long end, int worker)
{
    (void)worker;
    each_stretch(context, begin, end, pick_stretch);
}

void hp_pick(hp_pool *p)
{
    over_rows(pick_rows, p);
}

/* The product that every scheme ends in: rows found by address, times a packed panel.
 *
 *     out[r][0 .. width) = (add ? out[r][..] : 0) + sum over k of a[r][offset[k]] * b[k][..]
 *
 * Rows lie where they lie in the image, and `offset` says where the next factor of the sum is: a
 * table of taps and channels for a convolution, of pixels for the gradient of its weight. So no
 * column matrix (im2col) is ever written. What `out` holds is added last: a long sum that is made
 * in stretches has the rounding error of a stretch.
 */

INLINE void tile_of(const int rows, const int width, const real *const *a, const int32_t *offset,
                    long count, const real *b, long b_step, real *out, long out_step, int add)
{
    vec sum[ROWS][WIDTH];
    const real *row[ROWS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        row[r] = a[r];
        UNROLL
        for (int v = 0; v < width; v++)
            sum[r][v] = (vec){0};
    }
    for (long k = 0; k < count; k++, b += b_step) {
        long o = offset[k];
        vec right[WIDTH];
        UNROLL
        for (int v = 0; v < width; v++) {
            right[v] = load(b + v * LANES);
            KEEP_IN_REGISTER(right[v]);
        }
        UNROLL
        for (int r = 0; r < rows; r++)
            UNROLL
            for (int v = 0; v < width; v++)
                sum[r][v] += row[r][o] * right[v];
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < width; v++) {
            real *to = out + r * out_step + v * LANES;
            store(to, add ? load(to) + sum[r][v] : sum[r][v]);
        }
}

#define TILE(rows, width)                                                                       \
    case 8 * (width) + (rows)-1:                                                                \
        tile_of(rows, width, a, offset, count, b, b_step, out, out_step, add);                  \
        return;
#define LOW_TILES(width)                                                                        \
    TILE(1, width) TILE(2, width) TILE(3, width) TILE(4, width) TILE(5, width) TILE(6, width)

/* One tile of 1 to ROWS_OF(width) rows and 1 to WIDTH vectors; the steps count reals. */
static void tile(int rows, int width, const real *const *a, const int32_t *offset, long count,
                 const real *b, long b_step, real *out, long out_step, int add)
{
    switch (8 * width + rows - 1) {
        LOW_TILES(1)
        LOW_TILES(2)
#if ROWS == 8
        TILE(7, 1)
        TILE(8, 1)
        TILE(7, 2)
        TILE(8, 2)
#endif
#if WIDTH == 4
        LOW_TILES(3)
        LOW_TILES(4)
#endif
    }
}

/* A tile whose sums are made in stretches; of no factors at all it is zero. */
static void long_tile(int rows, int width, const real *const *a, const int32_t *offset,
                      long count, const real *b, long b_step, real *out, long out_step,
                      long stretch)
{
    tile(rows, width, a, offset, at_most(stretch, count), b, b_step, out, out_step, 0);
    for (long k = stretch; k < count; k += stretch)
        tile(rows, width, a, offset + k, at_most(stretch, count - k), b + k * b_step, b_step, out,
             out_step, 1);
}

/* Rows of the next tile when `left` are left: tiles of nearly equal height, because a tile of one
 * or two rows has too few sums under way to hide the latency of the additions. */
INLINE int next_rows(long left, int width, long multiple)
{
    (void)width; /* of no account where there are few registers */
    long most = ROWS_OF(width) / multiple * multiple;
    long tiles = (left + most - 1) / most;
    long even = (left + tiles - 1) / tiles;
    return (int)at_most(left, (even + multiple - 1) / multiple * multiple);
}

/* Vectors of the panel that starts at vector `first` of `vectors`. */
INLINE int panel_width(long first, long vectors)
{
    return (int)at_most(WIDTH, vectors - first);
}

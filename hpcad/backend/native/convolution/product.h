/* The product that every scheme ends in: rows found by address, times a packed panel.
 *
 *     out[r][0 .. width) = (add ? out[r][..] : 0) + sum over k of a[r][offset[k]] * b[k][..]
 *
 * Rows lie where they lie in the image, and `offset` says where the next factor of the sum is: a
 * table of taps and channels for a convolution, of pixels for the gradient of its weight. So no
 * column matrix (im2col) is ever written.
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
            sum[r][v] = add ? load(out + r * out_step + v * LANES) : (vec){0};
    }
    for (long k = 0; k < count; k++, b += b_step) {
        long o = offset[k];
        vec right[WIDTH];
        UNROLL
        for (int v = 0; v < width; v++)
            right[v] = load(b + v * LANES);
        UNROLL
        for (int r = 0; r < rows; r++)
            UNROLL
            for (int v = 0; v < width; v++)
                sum[r][v] += row[r][o] * right[v];
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < width; v++)
            store(out + r * out_step + v * LANES, sum[r][v]);
}

#define TILE(n)                                                                                 \
    case n:                                                                                     \
        if (width == 2)                                                                         \
            tile_of(n, 2, a, offset, count, b, b_step, out, out_step, add);                     \
        else                                                                                    \
            tile_of(n, 1, a, offset, count, b, b_step, out, out_step, add);                     \
        return;

/* One tile of 1 to ROWS rows and 1 or 2 vectors; `b_step` and `out_step` count reals. */
static void tile(int rows, int width, const real *const *a, const int32_t *offset, long count,
                 const real *b, long b_step, real *out, long out_step, int add)
{
    switch (rows) {
        TILE(1)
        TILE(2)
        TILE(3)
        TILE(4)
        TILE(5)
        TILE(6)
#if ROWS == 8
        TILE(7)
        TILE(8)
#endif
    }
}

/* Rows of the next tile when `left` are left: tiles of nearly equal height, because a tile of one
 * or two rows has too few sums under way to hide the latency of the additions. */
INLINE int next_rows(long left, long multiple)
{
    long most = ROWS / multiple * multiple;
    long tiles = (left + most - 1) / most;
    long even = (left + tiles - 1) / tiles;
    return (int)at_most(left, (even + multiple - 1) / multiple * multiple);
}

/* Vectors of the panel that starts at vector `first` of `vectors`. */
INLINE int panel_width(long first, long vectors)
{
    return (int)at_most(WIDTH, vectors - first);
}

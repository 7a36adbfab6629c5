/* Winograd's minimal filtering F(2 x 2, 3 x 3), for kernels of 3 x 3 at stride 1.
 *
 * Four outputs (2 x 2) from 16 products instead of 36:  Y = A^T [ (G w G^T) . (B^T d B) ] A  on
 * tiles d of 4 x 4 pixels, with
 *
 *     B^T = 1  0 -1  0    G = 1    0    0      A^T = 1 1  1  0
 *           0  1  1  0        1/2  1/2  1/2          0 1 -1 -1
 *           0 -1  1  0        1/2 -1/2  1/2
 *           0  1  0 -1        0    0    1
 *
 * Over the channels the 16 products are matrix products. Lavin and Gray, "Fast algorithms for
 * convolutional neural networks", 2015 (arXiv:1509.09308). The gradient of the weight is the
 * adjoint of the same formula:
 *
 *     dw = G^T [ sum over tiles of (B^T d B) . (A dY A^T) ] G.
 */

typedef struct {
    int64_t rows, last_rows, columns;     /* tiles of an image or band, of the last band */
    int64_t tile_step, product_step;      /* reals from tile to tile before and after the product */
    int64_t channels, vectors;            /* read; and vectors that hold them */
    int64_t row_step, column_step, channel_step; /* of the weight: taps, channels read */
    const int32_t *steps; /* from factor to factor: over channels; for the weight, over tiles */
} tiling_t;

#define FREQUENCIES 16
#define WINOGRAD_STRETCH 128 /* channels summed at a time */

INLINE void forward_1d(vec *d, int step) /* B^T d */
{
    vec a = d[0] - d[2 * step], b = d[step] + d[2 * step];
    vec c = d[2 * step] - d[step], e = d[step] - d[3 * step];
    d[0] = a;
    d[step] = b;
    d[2 * step] = c;
    d[3 * step] = e;
}

/* B^T d B of the tile whose first pixel is at `d`. */
INLINE void transform_tile(real *to, const real *d, long row, long pitch)
{
    for (long c = 0; c < pitch; c += LANES) {
        vec t[16];
        UNROLL
        for (int i = 0; i < 16; i++)
            t[i] = load(d + i / 4 * row + i % 4 * pitch + c);
        UNROLL
        for (int i = 0; i < 4; i++)
            forward_1d(t + i, 4);
        UNROLL
        for (int i = 0; i < 4; i++)
            forward_1d(t + 4 * i, 1);
        UNROLL
        for (int i = 0; i < 16; i++)
            store(to + i * pitch + c, t[i]);
    }
}

/* A dY A^T of a tile of 2 x 2. */
INLINE void transform_gradient(real *to, const real *d, long row, long pitch)
{
    for (long c = 0; c < pitch; c += LANES) {
        vec y[2][2], t[4][2];
        UNROLL
        for (int i = 0; i < 4; i++)
            y[i / 2][i % 2] = load(d + i / 2 * row + i % 2 * pitch + c);
        UNROLL
        for (int j = 0; j < 2; j++) {
            t[0][j] = y[0][j];
            t[1][j] = y[0][j] + y[1][j];
            t[2][j] = y[0][j] - y[1][j];
            t[3][j] = -y[1][j];
        }
        UNROLL
        for (int i = 0; i < 4; i++) {
            real *at = to + 4 * i * pitch + c;
            store(at, t[i][0]);
            store(at + pitch, t[i][0] + t[i][1]);
            store(at + 2 * pitch, t[i][0] - t[i][1]);
            store(at + 3 * pitch, -t[i][1]);
        }
    }
}

/* G w G^T, packed: for each frequency, panels of `channels` rows. */
static void winograd_pack(real *packed, const weight_t *w, const tiling_t *g, long begin,
                          long end)
{
    const vec half = (vec){0} + (real)0.5;
    for (long first = begin * WIDTH; first < at_most(end * WIDTH, w->vectors); first += WIDTH)
        for (long c = 0; c < g->channels; c++) {
            int width = panel_width(first, w->vectors);
            for (int v = 0; v < width; v++) {
                vec t[4][3];
                for (int j = 0; j < 3; j++) {
                    const real *row = w->data + j * g->column_step + c * g->channel_step;
                    vec w0 = weight_lanes(w, row, (first + v) * LANES);
                    vec w1 = weight_lanes(w, row + g->row_step, (first + v) * LANES);
                    vec w2 = weight_lanes(w, row + 2 * g->row_step, (first + v) * LANES);
                    t[0][j] = w0;
                    t[1][j] = half * (w0 + w2) + half * w1;
                    t[2][j] = half * (w0 + w2) - half * w1;
                    t[3][j] = w2;
                }
                real *to = packed + first * LANES * g->channels + (c * width + v) * LANES;
                long step = w->vectors * LANES * g->channels;
                for (int i = 0; i < 4; i++, to += 4 * step) {
                    store(to, t[i][0]);
                    store(to + step, half * (t[i][0] + t[i][2]) + half * t[i][1]);
                    store(to + 2 * step, half * (t[i][0] + t[i][2]) - half * t[i][1]);
                    store(to + 3 * step, t[i][2]);
                }
            }
        }
}

static void winograd_products(const real *tiles, long count, const real *packed,
                              const weight_t *w, const tiling_t *g, real *products)
{
    for (long f = 0; f < FREQUENCIES; f++)
        for (long first = 0; first < w->vectors; first += WIDTH) {
            int width = panel_width(first, w->vectors);
            const real *panel = packed + (f * w->vectors + first) * LANES * g->channels;
            for (long m = 0, rows; m < count; m += rows) {
                const real *a[ROWS];
                rows = next_rows(count - m, width, 1);
                for (long r = 0; r < rows; r++)
                    a[r] = tiles + (m + r) * g->tile_step + f * g->vectors * LANES;
                long_tile((int)rows, width, a, g->steps, g->channels, panel, width * LANES,
                          products + m * g->product_step + (f * w->vectors + first) * LANES,
                          g->product_step, WINOGRAD_STRETCH);
            }
        }
}

/* A^T m A of one tile and vector of channels: the pixels in row-major order. */
INLINE void back_to_pixels(vec pixel[4], const real *m, long step)
{
    vec t[2][4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        vec a = load(m + j * step), b = load(m + (4 + j) * step);
        vec c = load(m + (8 + j) * step), d = load(m + (12 + j) * step);
        t[0][j] = a + b + c;
        t[1][j] = b - c - d;
    }
    UNROLL
    for (int i = 0; i < 2; i++) {
        pixel[2 * i] = t[i][0] + t[i][1] + t[i][2];
        pixel[2 * i + 1] = t[i][1] - t[i][2] - t[i][3];
    }
}

/* The results of one tile, whose first pixel is (row, column) of a place in the result. */
INLINE void winograd_finish(const real *m, const weight_t *w, const result_t *res, long place,
                            long row, long column, long rows)
{
    for (long v = 0; v < w->vectors; v++) {
        long c = v * LANES, left = res->channels - c;
        vec bias = res->bias ? load_some(res->bias + c, left) : (vec){0};
        vec pixel[4];
        back_to_pixels(pixel, m + c, w->vectors * LANES);
        if (res->winner) {
            long at = (row / 2 * (res->width / 2) + column / 2) * res->channels;
            finish_window(res, place + at + c, pixel, bias, left);
            continue;
        }
        for (int i = 0; i < 4; i++)
            if (row + i / 2 < rows && column + i % 2 < res->width)
                finish(res, res->data + place + c +
                           ((row + i / 2) * res->width + column + i % 2) * res->channels,
                       pixel[i], bias, left);
    }
}

/* Transforms of all tiles of a unit; returns how many there are. */
static long transform_tiles(real *to, const real *pixels, const block_t *b, const tiling_t *g,
                            unit_t unit, int gradient)
{
    long rows = unit.last_band ? g->last_rows : g->rows, row = b->columns * b->pitch, count = 0;
    for (long i = 0; i < unit.images; i++, pixels += b->rows * row)
        for (long r = 0; r < rows; r++)
            for (long c = 0; c < g->columns; c++, count++) {
                const real *at = pixels + 2 * r * row + 2 * c * b->pitch;
                if (gradient)
                    transform_gradient(to + count * g->product_step, at, row, b->pitch);
                else
                    transform_tile(to + count * g->tile_step, at, row, b->pitch);
            }
    return count;
}

static void winograd_unit(const real *pixels, const block_t *b, const tiling_t *g,
                          const real *packed, const weight_t *w, const result_t *res, unit_t unit,
                          real *tiles, real *products)
{
    long count = transform_tiles(tiles, pixels, b, g, unit, 0);
    winograd_products(tiles, count, packed, w, g, products);
    long rows = unit.last_band ? g->last_rows : g->rows;
    long height = res->height - unit.band * res->row_step;
    long pool = res->winner ? 2 : 1;
    long image = (res->height / pool) * (res->width / pool) * res->channels;
    long place = result_at(res, unit);
    for (long i = 0; i < unit.images; i++, place += image)
        for (long r = 0; r < rows; r++)
            for (long c = 0; c < g->columns; c++, products += g->product_step)
                winograd_finish(products, w, res, place, 2 * r, 2 * c, height);
}

/* sums[f][c][k] (+)= sum over tiles of tiles[m][f][c] * gradients[m][f][k] */
static void winograd_weight_unit(const real *tiles, const real *gradients, long count,
                                 const tiling_t *g, long vectors, real *sums, int add)
{
    for (long f = 0; f < FREQUENCIES; f++)
        for (long c = 0, rows; c < g->channels; c += rows) {
            const real *a[ROWS];
            rows = next_rows(g->channels - c, (int)at_most(WIDTH, vectors), 1);
            for (long r = 0; r < rows; r++)
                a[r] = tiles + f * g->vectors * LANES + c + r;
            for (long first = 0; first < vectors; first += WIDTH)
                tile((int)rows, panel_width(first, vectors), a, g->steps, count,
                     gradients + (f * vectors + first) * LANES, g->product_step,
                     sums + ((f * g->channels + c) * vectors + first) * LANES, vectors * LANES,
                     add);
        }
}

/* G^T u G of channel `c`, vector `v`: nine rows of the gradient of the weight. */
INLINE void winograd_weight_back(vec w[9], const real *u, long step)
{
    const vec half = (vec){0} + (real)0.5;
    vec t[3][4];
    for (int j = 0; j < 4; j++) {
        vec a = load(u + j * step), b = load(u + (4 + j) * step);
        vec c = load(u + (8 + j) * step), d = load(u + (12 + j) * step);
        t[0][j] = a + half * (b + c);
        t[1][j] = half * (b - c);
        t[2][j] = half * (b + c) + d;
    }
    for (int i = 0; i < 3; i++) {
        w[3 * i] = t[i][0] + half * (t[i][1] + t[i][2]);
        w[3 * i + 1] = half * (t[i][1] - t[i][2]);
        w[3 * i + 2] = half * (t[i][1] + t[i][2]) + t[i][3];
    }
}

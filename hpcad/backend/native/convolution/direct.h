/* Direct schemes: products over the pixels where they lie. */

/* The outputs of one unit whose factors sit at the same relative places. There is one such phase,
 * but for the adjoint of a strided convolution: stride x stride of them. */
typedef struct {
    int64_t pixels, last_pixels; /* of a whole image or band, and of the last band */
    int64_t factors;             /* taps x channels read */
    const int32_t *origin;       /* where the pixels start in the block */
    const int32_t *place;        /* and go in the result; unused by pooling, which has them in
                                    the order of windows */
    const int32_t *factor;       /* where the factors of a pixel are, from its start */
    const int32_t *weight;       /* and those in the weight */
    int64_t packed;              /* where the phase's packed weight starts */
} phase_t;

typedef struct {
    const real *data;
    int64_t channel_step; /* reals from one output channel to the next */
    int64_t channels;     /* output channels */
    int64_t vectors;      /* vectors that hold them */
} weight_t;

/* Output channels `first` .. of one row of the weight; zeros behind the last channel. */
INLINE vec weight_lanes(const weight_t *w, const real *row, long first)
{
    long count = at_most(LANES, w->channels - first);
    if (w->channel_step == 1)
        return load_some(row + first, count);
    vec v = {0};
    for (long i = 0; i < count; i++)
        v[i] = row[(first + i) * w->channel_step];
    return v;
}

/* A panel: `factors` rows of `width` vectors. */
static void pack_panel(real *to, const weight_t *w, const phase_t *phase, long first)
{
    int width = panel_width(first, w->vectors);
    for (long q = 0; q < phase->factors; q++)
        for (int v = 0; v < width; v++, to += LANES)
            store(to, weight_lanes(w, w->data + phase->weight[q], (first + v) * LANES));
}

static void direct_pack(real *packed, const weight_t *w, const phase_t *phases, long count,
                        long begin, long end)
{
    for (long p = 0; p < count; p++)
        for (long first = begin * WIDTH; first < at_most(end * WIDTH, w->vectors); first += WIDTH)
            pack_panel(packed + phases[p].packed + first * LANES * phases[p].factors, w,
                       &phases[p], first);
}

/* Vectors `first` .. of the packed weight of a phase, of which a row takes `step` reals. */
typedef struct {
    const real *at;
    long first, step;
    int width;
} panel_t;

INLINE void direct_finish(const real *sums, int rows, const panel_t *panel, const phase_t *phase,
                          long at, const result_t *res, long place)
{
    long step = panel->width * LANES;
    for (int v = 0; v < panel->width; v++, sums += LANES) {
        long c = (panel->first + v) * LANES, left = res->channels - c;
        vec bias = res->bias ? load_some(res->bias + c, left) : (vec){0};
        if (res->winner)
            for (int r = 0; r < rows; r += 4) {
                vec window[4];
                for (int i = 0; i < 4; i++)
                    window[i] = load(sums + (r + i) * step);
                finish_window(res, place + (at + r) / 4 * res->channels + c, window, bias, left);
            }
        else
            for (int r = 0; r < rows; r++)
                finish(res, res->data + place + phase->place[at + r] + c, load(sums + r * step),
                       bias, left);
    }
}

#define DIRECT_STRETCH 384 /* factors summed at a time; about as many as BLAS libraries take */

static void direct_panel(const real *pixels, long count, const panel_t *panel,
                         const phase_t *phase, const result_t *res, long place)
{
    const real *a[ROWS];
    real sums[ROWS * WIDTH * LANES] __attribute__((aligned(HP_BYTES)));
    for (long at = 0, rows; at < count; at += rows) {
        rows = next_rows(count - at, panel->width, res->winner ? 4 : 1);
        for (int r = 0; r < rows; r++)
            a[r] = pixels + phase->origin[at + r];
        long_tile((int)rows, panel->width, a, phase->factor, phase->factors, panel->at,
                  panel->step, sums, panel->width * LANES, DIRECT_STRETCH);
        direct_finish(sums, (int)rows, panel, phase, at, res, place);
    }
}

static void direct_unit(const real *pixels, const phase_t *phases, long count, const real *packed,
                        const weight_t *w, const result_t *res, unit_t unit)
{
    long place = result_at(res, unit);
    /* Two windows of four pixels make a tile of 8 rows; only narrow ones are so high. */
    long most = res->winner ? 2 : WIDTH;
    for (const phase_t *phase = phases; phase < phases + count; phase++) {
        long pixel_count = unit.images * (unit.last_band ? phase->last_pixels : phase->pixels);
        for (long first = 0; first < w->vectors; first += WIDTH) {
            int width = panel_width(first, w->vectors);
            const real *start = packed + phase->packed + first * LANES * phase->factors;
            for (long v = 0; v < width; v += most) {
                panel_t panel = {start + v * LANES, first + v, width * LANES,
                                 (int)at_most(most, width - v)};
                direct_panel(pixels, pixel_count, &panel, phase, res, place);
            }
        }
    }
}

/* sums[q][k] (+)= sum over pixels of image[pixel + factor q] * g[pixel][k] */
static void direct_weight_unit(const real *image, const phase_t *phase, const real *g, long g_step,
                               long vectors, real *sums, unit_t unit, int add)
{
    long pixels = unit.images * (unit.last_band ? phase->last_pixels : phase->pixels);
    for (long q = 0, rows; q < phase->factors; q += rows) {
        const real *a[ROWS];
        rows = next_rows(phase->factors - q, (int)at_most(WIDTH, vectors), 1);
        for (long r = 0; r < rows; r++)
            a[r] = image + phase->factor[q + r];
        for (long first = 0; first < vectors; first += WIDTH)
            tile((int)rows, panel_width(first, vectors), a, phase->origin, pixels,
                 g + first * LANES, g_step, sums + q * vectors * LANES + first * LANES,
                 vectors * LANES, add);
    }
}

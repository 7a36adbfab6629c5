/* The two routines: images to images, and images to the gradient of the weight. */

typedef struct {
    source_t source;
    block_t block;
    units_t units;
    result_t result;
    weight_t weight;
    int64_t winograd; /* which of the next two counts */
    tiling_t tiling;
    const phase_t *phases;
    int64_t phase_count;
    int64_t workers;
    real *packed;           /* the weight */
    real *space;            /* of worker 0; the others' follow */
    int64_t space_step;     /* from worker to worker, */
    int64_t tiles, products; /* and where in it they start */
} images_job_t;

static void pack_piece(void *context, long begin, long end, int worker)
{
    const images_job_t *job = context;
    (void)worker;
    if (job->winograd)
        winograd_pack(job->packed, &job->weight, &job->tiling, begin, end);
    else
        direct_pack(job->packed, &job->weight, job->phases, job->phase_count, begin, end);
}

static void images_piece(void *context, long begin, long end, int worker)
{
    const images_job_t *job = context;
    real *space = job->space + worker * job->space_step;
    for (long u = begin; u < end; u++) {
        unit_t unit = unit_at(&job->units, u, job->source.images);
        const real *pixels = load_block(space, &job->source, &job->block, unit);
        if (job->winograd)
            winograd_unit(pixels, &job->block, &job->tiling, job->packed, &job->weight,
                          &job->result, unit, space + job->tiles, space + job->products);
        else
            direct_unit(pixels, job->phases, job->phase_count, job->packed, &job->weight,
                        &job->result, unit);
    }
}

/* Work of at least one grain for each worker that there is scratch space for. */
static void run(hp_body body, void *job, long count, long workers)
{
    hp_parallel_for(body, job, count, (count + workers - 1) / workers);
}

void hp_convolve(images_job_t *job)
{
    run(pack_piece, job, (job->weight.vectors + WIDTH - 1) / WIDTH, job->workers);
    run(images_piece, job, job->units.count, job->workers);
}

typedef struct {
    source_t image, gradient;
    block_t image_block, gradient_block;
    units_t units;
    int64_t winograd;
    tiling_t tiling;
    phase_t phase;
    int64_t rows;              /* of the sums of a worker */
    int64_t channels, vectors; /* of the gradient */
    int64_t workers;
    real *space; /* of worker 0; the others' follow */
    int64_t space_step;
    int64_t images, gradients, tiles, products, sums, bias_sums; /* where in it they start */
    real *out, *bias;      /* bias may be NULL */
    int64_t add, add_bias; /* to what they hold */
    uint8_t *taken_part;   /* by worker */
} weight_job_t;

/* sums[k] (+)= sum over pixels of g[pixel][k]; units are summed apart first, which keeps the
 * rounding error of long sums down. */
static void add_columns(real *sums, const real *g, long pixels, long pitch, long vectors, int add)
{
    for (long v = 0; v < vectors; v++) {
        vec even = {0}, odd = {0};
        const real *at = g + v * LANES;
        long p = 0;
        for (; p + 1 < pixels; p += 2, at += 2 * pitch) {
            even += load(at);
            odd += load(at + pitch);
        }
        if (p < pixels)
            even += load(at);
        vec sum = even + odd;
        store(sums + v * LANES, add ? load(sums + v * LANES) + sum : sum);
    }
}

static void weight_piece(void *context, long begin, long end, int worker)
{
    const weight_job_t *job = context;
    real *space = job->space + worker * job->space_step;
    job->taken_part[worker] = 1;
    for (long u = begin; u < end; u++) {
        unit_t unit = unit_at(&job->units, u, job->image.images);
        const block_t *b = &job->gradient_block;
        const real *x = load_block(space + job->images, &job->image, &job->image_block, unit);
        const real *g = load_block(space + job->gradients, &job->gradient, b, unit);
        long pixels;
        if (job->winograd) {
            const tiling_t *t = &job->tiling;
            pixels = unit.images * 2 * (unit.last_band ? t->last_rows : t->rows) * b->columns;
            real *tiles = space + job->tiles, *products = space + job->products;
            long count = transform_tiles(tiles, x, &job->image_block, t, unit, 0);
            transform_tiles(products, g, b, t, unit, 1);
            winograd_weight_unit(tiles, products, count, t, job->vectors,
                                 space + job->sums, u > begin);
        } else {
            pixels = unit.images * (unit.last_band ? job->phase.last_pixels : job->phase.pixels);
            direct_weight_unit(x, &job->phase, g, b->pitch, job->vectors, space + job->sums, unit,
                               u > begin);
        }
        if (job->bias)
            add_columns(space + job->bias_sums, g, pixels, b->pitch, job->vectors, u > begin);
    }
}

/* Add the sums of the other workers to those of worker 0, which always takes part. */
static void join_piece(void *context, long begin, long end, int worker)
{
    const weight_job_t *job = context;
    (void)worker;
    for (long other = 1; other < job->workers; other++) {
        if (!job->taken_part[other])
            continue;
        real *to = job->space + job->sums;
        const real *from = to + other * job->space_step;
        for (long i = begin * LANES; i < end * LANES; i += LANES)
            store(to + i, load(to + i) + load(from + i));
    }
}

INLINE void write_row(real *to, vec v, long left, int add)
{
    store_some(to, add ? load_some(to, at_most(left, LANES)) + v : v, left);
}

/* Rows begin <= c < end of the result: of channels read (winograd) or of factors. */
static void write_piece(void *context, long begin, long end, int worker)
{
    const weight_job_t *job = context;
    const real *sums = job->space + job->sums;
    long row = job->vectors * LANES;
    (void)worker;
    for (long c = begin; c < end; c++)
        for (long v = 0; v < job->vectors; v++) {
            long k = v * LANES, left = job->channels - k;
            const real *at = sums + c * row + k;
            if (!job->winograd) {
                write_row(job->out + c * job->channels + k, load(at), left, (int)job->add);
                continue;
            }
            vec w[9];
            winograd_weight_back(w, at, job->tiling.channels * row);
            for (int i = 0; i < 9; i++)
                write_row(job->out + (i * job->tiling.channels + c) * job->channels + k, w[i],
                          left, (int)job->add);
        }
}

static void write_bias(const weight_job_t *job)
{
    for (long k = 0; k < job->channels; k += LANES) {
        const real *at = job->space + job->bias_sums + k;
        vec sum = load(at);
        for (long other = 1; other < job->workers; other++)
            if (job->taken_part[other])
                sum += load(at + other * job->space_step);
        write_row(job->bias + k, sum, job->channels - k, (int)job->add_bias);
    }
}

void hp_convolve_weight(weight_job_t *job)
{
    memset(job->taken_part, 0, (size_t)job->workers);
    run(weight_piece, job, job->units.count, job->workers);
    if (job->workers > 1)
        run(join_piece, job, job->rows * job->vectors, job->workers);
    run(write_piece, job, job->winograd ? job->tiling.channels : job->rows, job->workers);
    if (job->bias)
        write_bias(job);
}

/* Reals in a vector: what the tables and the scratch space are laid out for. */
int hp_lanes(void)
{
    return (int)LANES;
}

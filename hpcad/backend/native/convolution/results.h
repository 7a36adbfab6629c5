/* Writing results: bias, ReLU and 2 x 2 max pooling on the way out of the registers. */

typedef struct {
    real *data;
    int8_t *winner;   /* or NULL: not pooled */
    const real *bias; /* or NULL */
    int64_t relu;
    int64_t height, width, channels; /* before pooling */
    int64_t row_step;                /* rows from one band to the next */
} result_t;

/* The place of a unit's first pixel, or of its first window. */
INLINE long result_at(const result_t *res, unit_t unit)
{
    long pool = res->winner ? 2 : 1;
    long height = res->height / pool, width = res->width / pool;
    return (unit.image * height + unit.band * res->row_step / pool) * width * res->channels;
}

INLINE vec relu(vec v)
{
    return (vec)((mask)v & ~(v < (vec){0})); /* NaN stays */
}

INLINE void finish(const result_t *res, real *to, vec v, vec bias, long left)
{
    v += bias;
    store_some(to, res->relu ? relu(v) : v, left);
}

/* The maximum of a window, pixels in row-major order, and which of them it is: the first at ties.
 * NaN wins, but does not change the winner, as in NumPy's np.maximum and `>`. */
INLINE void finish_window(const result_t *res, long at, const vec pixel[4], vec bias, long left)
{
    vec best = pixel[0] + bias;
    mask winner = {0};
    UNROLL
    for (int i = 1; i < 4; i++) {
        vec next = pixel[i] + bias;
        mask better = next > best;
        winner = (better & ((mask){0} + i)) | (~better & winner);
        best = choose(better | (next != next), next, best);
    }
    store_some(res->data + at, res->relu ? relu(best) : best, left);
    store_small(res->winner + at, winner, left);
}

/* Reading images: padding, un-pooling and the gradient of ReLU, in one pass into a small block.
 *
 * A block holds the pixels that one unit of work needs, with the padding around them, and stays in
 * the second-level cache. Where neither is wanted the images are used where they lie.
 */

typedef struct {
    const real *data;
    const real *positive; /* shaped like data, or NULL: data counts where this is positive */
    const int8_t *winner; /* or NULL: data is 2 x 2 pooled, and this pixel of a window won */
    int64_t images, height, width, channels; /* before pooling */
} source_t;

typedef struct {
    int64_t in_place;        /* used where they lie */
    int64_t row, column;     /* of the image, of the first pixel of the block; may be negative */
    int64_t row_step;        /* rows from one band to the next */
    int64_t rows, columns;   /* of the block, per image */
    int64_t pitch;           /* reals from pixel to pixel; those behind the channels are zero */
} block_t;

/* Work is cut into units: some whole images, or a band of rows of one image. */
typedef struct {
    int64_t images; /* per unit */
    int64_t bands;  /* per image; above 1, a unit is one band */
    int64_t count;
} units_t;

typedef struct {
    long image, images, band;
    int last_band;
} unit_t;

INLINE unit_t unit_at(const units_t *units, long u, long images)
{
    long image = u / units->bands * units->images, band = u % units->bands;
    return (unit_t){image, at_most(units->images, images - image), band,
                    band == units->bands - 1};
}

/* The two pixels of a window that lie in one row; NULL where a pixel is not wanted. */
INLINE void unpool_pair(real *left, real *right, const source_t *s, long at, int place, long pitch)
{
    for (long c = 0; c < pitch; c += LANES) {
        long count = at_most(LANES, s->channels - c);
        vec g = load_some(s->data + at + c, count);
        mask winner = load_small(s->winner + at + c, count);
        if (s->positive)
            g *= as_number(load_some(s->positive + at + c, count) > (vec){0});
        if (left)
            store_some(left + c, g * as_number(winner == ((mask){0} + place)), pitch - c);
        if (right)
            store_some(right + c, g * as_number(winner == ((mask){0} + place + 1)), pitch - c);
    }
}

INLINE void masked_pixel(real *to, const source_t *s, long at, long pitch)
{
    for (long c = 0; c < pitch; c += LANES) {
        long count = at_most(LANES, s->channels - c);
        vec g = load_some(s->data + at + c, count);
        g *= as_number(load_some(s->positive + at + c, count) > (vec){0});
        store_some(to + c, g, pitch - c);
    }
}

INLINE void zero(real *to, long count)
{
    if (to && count > 0)
        memset(to, 0, (size_t)count * sizeof(real));
}

/* Columns first <= column < last of row `r`, all inside the image. */
static void unpool_pixels(real *to, const source_t *s, long image, long r, long first, long last,
                          long pitch)
{
    long height = s->height / 2, width = s->width / 2;
    to -= first * pitch;
    for (long c = first & ~1L; c < last; c += 2) {
        real *left = c >= first ? to + c * pitch : NULL;
        real *right = c + 1 < last ? to + (c + 1) * pitch : NULL;
        if (r / 2 < height && c / 2 < width) {
            long at = ((image * height + r / 2) * width + c / 2) * s->channels;
            unpool_pair(left, right, s, at, (int)(r % 2 * 2), pitch);
        } else {
            zero(left, pitch); /* the row or column that no window holds */
            zero(right, pitch);
        }
    }
}

static void load_pixels(real *to, const source_t *s, long image, long r, long first, long last,
                        long pitch)
{
    long channels = s->channels, at = ((image * s->height + r) * s->width + first) * channels;
    if (s->winner) {
        unpool_pixels(to, s, image, r, first, last, pitch);
    } else if (s->positive) {
        for (long c = first; c < last; c++, to += pitch, at += channels)
            masked_pixel(to, s, at, pitch);
    } else if (pitch == channels) {
        memcpy(to, s->data + at, (size_t)((last - first) * channels) * sizeof(real));
    } else {
        for (long c = first; c < last; c++, to += pitch, at += channels) {
            memcpy(to, s->data + at, (size_t)channels * sizeof(real));
            zero(to + channels, pitch - channels);
        }
    }
}

static void load_row(real *to, const source_t *s, const block_t *b, long image, long r)
{
    if (r < 0 || r >= s->height) {
        zero(to, b->columns * b->pitch);
        return;
    }
    long first = at_most(at_least(0, -b->column), b->columns);
    long last = at_least(first, at_most(b->columns, s->width - b->column));
    zero(to, first * b->pitch);
    load_pixels(to + first * b->pitch, s, image, r, b->column + first, b->column + last, b->pitch);
    zero(to + last * b->pitch, (b->columns - last) * b->pitch);
}

/* The pixels of a unit: in `space`, or where they lie. */
static const real *load_block(real *space, const source_t *s, const block_t *b, unit_t unit)
{
    long top = b->row + unit.band * b->row_step;
    if (b->in_place)
        return s->data + ((unit.image * s->height + top) * s->width + b->column) * s->channels;
    real *to = space;
    for (long i = 0; i < unit.images; i++)
        for (long r = 0; r < b->rows; r++, to += b->columns * b->pitch)
            load_row(to, s, b, unit.image + i, top + r);
    return space;
}

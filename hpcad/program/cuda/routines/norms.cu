// Sums of squares in double precision, in a fixed order; what follows from a gradient's norm.

// The part of each block; large gradients do not overflow, and what is not finite makes the sum so.
template <int N, class T, class I>
HP_INLINE void hp_square_parts(const T *x, double *parts, I count)
{
    double sum = 0;
    for (I i = hp_first<I>() * N; i < count; i += hp_stride<I>() * N) {
        if (i + N <= count) {
            const hp_vector<T, N> some = hp_load<N>(x + i);
#pragma unroll
            for (int l = 0; l < N; ++l) {
                const double value = (double)hp_stored<T>::load(some.lane + l);
                sum += value * value;
            }
        } else {
            for (I k = i; k < count; ++k) {
                const double value = (double)hp_stored<T>::load(x + k);
                sum += value * value;
            }
        }
    }
    sum = hp_reduce<256>(sum, hp_add());
    if (threadIdx.x == 0)
        parts[blockIdx.x] = sum;
}

// Their sum, by one block.
HP_INLINE void hp_square_total(const double *parts, double *total, int blocks, bool accumulate)
{
    double sum = 0;
    for (int i = threadIdx.x; i < blocks; i += 256)
        sum += parts[i];
    sum = hp_reduce<256>(sum, hp_add());
    if (threadIdx.x == 0)
        *total = accumulate ? *total + sum : sum;
}

// By one thread: the norm of a gradient that may be scaled, the factor that brings it down to the
// limit (and takes the scale off), and whether there is something in it that is not finite. A norm
// that is NaN compares false, so that the gradient stays as it is.
HP_INLINE void hp_clip_factor(const double *squares, const float *scale, float *factor, float *norm,
                              int32_t *broken, double limit)
{
    const double off = scale ? 1.0 / (double)*scale : 1.0;
    const double length = sqrt(*squares) * off;
    *norm = (float)length;
    *factor = (float)((length > limit ? limit / length : 1.0) * off);
    if (broken)
        *broken = !(length - length == 0);
}

// By one thread: a broken step halves the scale; after `patience` good ones it is doubled.
HP_INLINE void hp_adapt_scale(const int32_t *broken, float *scale, int32_t *good, int patience,
                              float least, float largest)
{
    const bool grows = !*broken && *good + 1 >= patience;
    const float wanted = *broken ? *scale * 0.5f : grows ? *scale * 2.0f : *scale;
    *scale = wanted < least ? least : wanted > largest ? largest : wanted;
    *good = *broken || grows ? 0 : *good + 1;
}

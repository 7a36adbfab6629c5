// Adam and AdamW over flat arenas, in one visit: moments, master weights, and a copy of these in
// a short type. Numbers that change from step to step are read from the memory of the device.

struct hp_adam_numbers { // as Optimizer.numbers() has them, and the clipping last
    double rate, weight_decay, b1, rest1, b2, rest2, corrected_eps, corrected_rate, shrink, clip;
};

// Round up or down by chance, so that the mean is the number itself: add 16 random bits to those
// that are cut off. Infinities and NaN are rounded as ever.
HP_INLINE hp_bfloat16 hp_round_by_chance(float x, uint32_t word)
{
    const uint32_t bits = hp_bits(x);
    if ((bits & 0x7f800000u) == 0x7f800000u)
        return {hp_to_bfloat16(x)};
    return {(uint16_t)((bits + (word >> 16)) >> 16)};
}

template <class T> HP_INLINE void hp_keep_copy(T *to, float x, bool, uint32_t)
{
    hp_stored<T>::store(to, x);
}
HP_INLINE void hp_keep_copy(hp_bfloat16 *to, float x, bool by_chance, uint32_t word)
{
    if (by_chance)
        *to = hp_round_by_chance(x, word);
    else
        hp_stored<hp_bfloat16>::store(to, x);
}

// Null pointers: no factor, nothing that says to skip the step, no mask, no copy, no chance.
//   factor: scales gradients, beside the clipping among the numbers
//   mask:   for each `line` elements whether weights decay; without it, `decays` says so
//   step:   with the numbers of elements, which begin with `first`, the counter of random bits
template <int N, class G, class C, class I>
HP_INLINE void hp_adamw(float *p, const G *g, float *m, float *v, const double *given,
                        const float *factor, const int32_t *skip, const uint8_t *mask, I line,
                        bool decays, C *copy, const int64_t *step, int64_t first, uint32_t k0,
                        uint32_t k1, I count)
{
    if (skip && *skip)
        return;
    const hp_adam_numbers now = *(const hp_adam_numbers *)given;
    const float b1 = (float)now.b1, rest1 = (float)now.rest1;
    const float b2 = (float)now.b2, rest2 = (float)now.rest2;
    const float eps = (float)now.corrected_eps, rate = (float)now.corrected_rate;
    const float shrink = (float)now.shrink;
    const float clip = factor ? (float)now.clip * *factor : (float)now.clip;
    for (I i = hp_first<I>() * N; i < count; i += hp_stride<I>() * N) {
        hp_vector<float, N> ps = hp_load<N>(p + i), ms = hp_load<N>(m + i), vs = hp_load<N>(v + i);
        const hp_vector<G, N> gs = hp_load<N>(g + i);
        const bool decayed = mask ? mask[i / line] != 0 : decays;
        hp_vector<C, N> rounded;
        hp_words words = {};
#pragma unroll
        for (int l = 0; l < N; ++l) {
            const uint64_t element = (uint64_t)(first + i + l);
            if (step && (l == 0 || element % 4 == 0))
                words = hp_philox(element / 4, (uint64_t)*step, k0, k1);
            const float d = hp_stored<G>::load(gs.lane + l) * clip;
            const float x = decayed ? ps.lane[l] * shrink : ps.lane[l];
            ms.lane[l] = ms.lane[l] * b1 + d * rest1;
            vs.lane[l] = vs.lane[l] * b2 + d * d * rest2;
            ps.lane[l] = x - ms.lane[l] / (sqrtf(vs.lane[l]) + eps) * rate;
            if (copy)
                hp_keep_copy(rounded.lane + l, ps.lane[l], step != 0, words.word[element % 4]);
        }
        hp_store<N>(p + i, ps);
        hp_store<N>(m + i, ms);
        hp_store<N>(v + i, vs);
        if (copy)
            hp_store<N>(copy + i, rounded);
    }
}

// Uniform numbers of rows that have global numbers: out[i] of the row ids[i], four at a time.
template <class T, class I>
HP_INLINE void hp_uniform_rows(const int64_t *ids, const int64_t *step, T *out, I rows, I width,
                               uint32_t k0, uint32_t k1)
{
    typedef typename hp_stored<T>::computed A;
    const I blocks = (width + 3) / 4;
    const uint64_t when = (uint64_t)step[0];
    for (I g = hp_first<I>(); g < rows * blocks; g += hp_stride<I>()) {
        const I row = g / blocks, block = g % blocks;
        const uint64_t number = (uint64_t)ids[row] * (uint64_t)blocks + (uint64_t)block;
        const hp_words words = hp_philox(number, when, k0, k1);
#pragma unroll
        for (int k = 0; k < 4; ++k)
            if (4 * block + k < width)
                hp_stored<T>::store(out + row * width + 4 * block + k, (A)hp_unit(words.word[k]));
    }
}

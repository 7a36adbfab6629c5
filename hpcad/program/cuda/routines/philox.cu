// Random bits as a function: Philox4x32-10 (Salmon et al., doi:10.1145/2063384.2063405).

struct hp_words {
    uint32_t word[4];
};

HP_INLINE hp_words hp_philox(uint64_t low, uint64_t high, uint32_t k0, uint32_t k1)
{
    uint32_t a = (uint32_t)low, b = (uint32_t)(low >> 32);
    uint32_t c = (uint32_t)high, d = (uint32_t)(high >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * a, p1 = (uint64_t)0xCD9E8D57u * c;
        a = (uint32_t)(p1 >> 32) ^ b ^ k0;
        b = (uint32_t)p1;
        c = (uint32_t)(p0 >> 32) ^ d ^ k1;
        d = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{a, b, c, d}};
}

// In [0, 1), from the upper 24 bits.
HP_INLINE float hp_unit(uint32_t word) { return (float)(word >> 8) * 5.9604644775390625e-08f; }

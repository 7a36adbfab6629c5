/* The two byte-wise filters of HDF5 that Python has no fast routine for. */
#include <stdint.h>
#include <string.h>

/* Words summed between two reductions: 352 * 353 / 2 * 65535 < 2^32. */
#define BLOCK 352

/* The sums of Fletcher's checksum over 16-bit words in the order of this (little-endian) machine,
 * each modulo 65535 and in 1..65535, or 0 if all words are 0. HDF5 sums big-endian words; swapping
 * the bytes of a word is multiplying it by 256 modulo 65535, so the caller swaps the result. */
uint32_t hp_fletcher32(const uint8_t *data, uint64_t size)
{
    uint64_t sum = 0, sums = 0, words = size / 2;
    while (words) {
        uint32_t m = words < BLOCK ? (uint32_t)words : BLOCK, a = 0, b = 0;
        for (uint32_t i = 0; i < m; i++) {
            uint16_t word;
            memcpy(&word, data + 2 * i, 2);
            a += word;
            b += (m - i) * word;
        }
        sums = (sums + m * sum + b) % 65535;
        sum = (sum + a) % 65535;
        data += 2 * (uint64_t)m;
        words -= m;
    }
    if (size % 2) { /* the last byte is the first of a big-endian word: the low one of ours */
        sum = (sum + *data) % 65535;
        sums = (sums + sum) % 65535;
    }
    return (uint32_t)(sums << 16 | sum);
}

/* Bytes 0 of all numbers, then bytes 1, ...: put together again. With a size that the compiler
 * knows the inner loop is unrolled and works on many numbers at once. */
static inline void unshuffle(const uint8_t *restrict from, uint8_t *restrict to, uint64_t count,
                             uint64_t size)
{
    for (uint64_t i = 0; i < count; i++)
        for (uint64_t byte = 0; byte < size; byte++)
            to[i * size + byte] = from[byte * count + i];
}

void hp_unshuffle(const uint8_t *from, uint8_t *to, uint64_t count, uint64_t size)
{
    switch (size) {
    case 2: unshuffle(from, to, count, 2); break;
    case 4: unshuffle(from, to, count, 4); break;
    case 8: unshuffle(from, to, count, 8); break;
    default: unshuffle(from, to, count, size);
    }
}

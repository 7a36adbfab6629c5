/* Single to half precision and back, rounded to nearest, ties to even.
 *
 * bfloat16 is the upper half of a float32; float16 is IEEE 754's binary16. Bits are computed, not
 * converted by the processor, so that all processors agree, also those that flush subnormal
 * numbers to zero. Choices are made by masks: of conditions compilers make branches where several
 * stand in one loop, and then take one number at a time. */
#ifndef HP_HALF_H
#define HP_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t hp_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float hp_number(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* All bits where a < b, none elsewhere; of numbers below 2^31. */
static inline uint32_t hp_below(uint32_t a, uint32_t b) { return (uint32_t)((int32_t)(a - b) >> 31); }

static inline uint32_t hp_pick(uint32_t mask, uint32_t a, uint32_t b)
{
    return (a & mask) | (b & ~mask);
}

static inline uint16_t hp_to_bfloat16(float x)
{
    uint32_t bits = hp_bits(x), nan = hp_below(0x7f800000, bits & 0x7fffffff);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1); /* may carry into the exponent: inf */
    uint32_t quiet = bits | 0x400000;                    /* its payload must not become 0 */
    return (uint16_t)(hp_pick(nan, quiet, rounded) >> 16);
}

static inline float hp_from_bfloat16(uint16_t half) { return hp_number((uint32_t)half << 16); }

static inline uint16_t hp_to_float16(float x)
{
    uint32_t bits = hp_bits(x), size = bits & 0x7fffffff;
    uint32_t normal = (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13;
    /* The spacing of numbers from 0.5 to 1 is that of subnormal halves: the addition rounds. */
    uint32_t small = hp_bits(hp_number(size) + 0.5f) - hp_bits(0.5f);
    uint32_t half = hp_pick(hp_below(size, 0x38800000), small, normal); /* 2^-14 */
    half = hp_pick(hp_below(size, 0x477ff000), half, 0x7c00);           /* 65520: becomes 2^16 */
    half |= hp_below(0x7f800000, size) & 0x0200;                        /* NaN */
    return (uint16_t)(half | bits >> 16 & 0x8000);
}

static inline float hp_from_float16(uint16_t half)
{
    uint32_t size = half & 0x7fff, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t small = hp_bits(hp_number(hp_bits(0.5f) + size) - 0.5f);
    uint32_t bits = (size << 13) + (112u << 23);
    bits = hp_pick(hp_below(size, 0x400), small, bits);
    bits += hp_below(0x7bff, size) & 112u << 23; /* infinity, NaN */
    return hp_number(bits | sign);
}

#endif

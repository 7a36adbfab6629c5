/* Single to half precision and back, rounded to nearest, ties to even.
 *
 * bfloat16 is the upper half of a float32; float16 is IEEE 754's binary16. Bits are computed, not
 * converted by the processor, so that all processors agree, also those that flush subnormal
 * numbers to zero; there are no branches, so that the compiler takes many numbers at a time. */
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

static inline uint16_t hp_to_bfloat16(float x)
{
    uint32_t bits = hp_bits(x);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1); /* may carry into the exponent: inf */
    uint32_t nan = bits | 0x400000;                      /* its payload must not become 0 */
    return (uint16_t)(((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded) >> 16);
}

static inline float hp_from_bfloat16(uint16_t half) { return hp_number((uint32_t)half << 16); }

static inline uint16_t hp_to_float16(float x)
{
    uint32_t bits = hp_bits(x), size = bits & 0x7fffffff;
    uint32_t normal = (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13;
    /* The spacing of numbers from 0.5 to 1 is that of subnormal halves: the addition rounds. */
    uint32_t small = hp_bits(hp_number(size) + 0.5f) - hp_bits(0.5f);
    uint32_t half = size < 0x38800000 ? small : normal; /* 2^-14 */
    half = size >= 0x477ff000 ? 0x7c00 : half;          /* 65520, which rounds to 2^16 */
    half = size > 0x7f800000 ? 0x7e00 : half;
    return (uint16_t)(half | bits >> 16 & 0x8000);
}

static inline float hp_from_float16(uint16_t half)
{
    uint32_t size = half & 0x7fff, sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t small = hp_bits(hp_number(hp_bits(0.5f) + size) - 0.5f);
    uint32_t bits = (size << 13) + (112u << 23);
    bits = size < 0x400 ? small : bits;
    bits = size >= 0x7c00 ? bits + (112u << 23) : bits;
    return hp_number(bits | sign);
}

#endif

/* Numbers as bit patterns, fused multiply-add, powers of two. */
#ifndef HPCAD_MATH_BITS_H
#define HPCAD_MATH_BITS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* A call in a loop keeps it from becoming SIMD code, and compilers stop making what is used several
 * times part of its callers, unless they must. */
#ifndef HP_INLINE
#if defined(__GNUC__) || defined(__clang__)
#define HP_INLINE static inline __attribute__((always_inline))
#else
#define HP_INLINE static inline
#endif
#endif

HP_INLINE uint32_t hp_bits_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

HP_INLINE float hp_float_f32(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

HP_INLINE uint64_t hp_bits_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

HP_INLINE double hp_float_f64(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* a * b + c: one rounding where the processor has it, two elsewhere (fma() of the C library would
 * be exact and a hundred times slower). Nothing below relies on there being one. */
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__aarch64__)
#define HP_FUSED
#endif

HP_INLINE float hp_fma_f32(float a, float b, float c)
{
#ifdef HP_FUSED
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

HP_INLINE double hp_fma_f64(double a, double b, double c)
{
#ifdef HP_FUSED
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

/* What rounding took from p = a * b. Without fused multiply-add the factors are cut in halves
 * (T. J. Dekker, 1971); they must be below 2^115, 2^995. */
HP_INLINE float hp_product_rest_f32(float a, float b, float p)
{
#ifdef HP_FUSED
    return hp_fma_f32(a, b, -p);
#else
    float c = a * 4097.0f, d = b * 4097.0f;
    float a_high = c - (c - a), b_high = d - (d - b);
    float a_low = a - a_high, b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

HP_INLINE double hp_product_rest_f64(double a, double b, double p)
{
#ifdef HP_FUSED
    return hp_fma_f64(a, b, -p);
#else
    double c = a * 134217729.0, d = b * 134217729.0;
    double a_high = c - (c - a), b_high = d - (d - b);
    double a_low = a - a_high, b_low = b - b_high;
    return ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low;
#endif
}

/* c - a * b, where it is so small against c that all of it counts. */
HP_INLINE float hp_less_product_f32(float c, float a, float b)
{
#ifdef HP_FUSED
    return hp_fma_f32(-a, b, c);
#else
    float p = a * b;
    return (c - p) - hp_product_rest_f32(a, b, p);
#endif
}

HP_INLINE double hp_less_product_f64(double c, double a, double b)
{
#ifdef HP_FUSED
    return hp_fma_f64(-a, b, c);
#else
    double p = a * b;
    return (c - p) - hp_product_rest_f64(a, b, p);
#endif
}

/* Added and subtracted again, these round to the nearest integer; in between, the lowest bits of
 * the sum hold that integer in two's complement. */
#define HP_ROUND_F32 0x1.8p23f
#define HP_ROUND_F64 0x1.8p52

/* x * 2^n, n = the integer in the lowest bits of `shifted` (see above), -254 <= n <= 254. In two
 * factors, because 2^n itself may overflow or be subnormal where the product is neither; at most
 * the second multiplication rounds. */
HP_INLINE float hp_scale_f32(float x, float shifted)
{
    uint32_t n = hp_bits_f32(shifted) - hp_bits_f32(HP_ROUND_F32) + 2 * 127;
    uint32_t half = n >> 1;
    return x * hp_float_f32(half << 23) * hp_float_f32((n - half) << 23);
}

/* The same for -2046 <= n <= 2046. */
HP_INLINE double hp_scale_f64(double x, double shifted)
{
    uint64_t n = hp_bits_f64(shifted) - hp_bits_f64(HP_ROUND_F64) + 2 * 1023;
    uint64_t half = n >> 1;
    return x * hp_float_f64(half << 52) * hp_float_f64((n - half) << 52);
}

/* x * 2^n where 2^n is a normal number. */
HP_INLINE float hp_scale_normal_f32(float x, float shifted)
{
    return x * hp_float_f32((hp_bits_f32(shifted) - hp_bits_f32(HP_ROUND_F32) + 127) << 23);
}

#endif

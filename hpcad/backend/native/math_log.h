/* log, log2, log10, log1p.
 *
 * x = 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2). Minimax fits (Remez exchange in 50
 * digits) of the relative error of log(1 + f): float, as f - f^2/2 + f^3 p(f), below 2^-27; double,
 * as 2s + s^3 p(s^2) with s = f / (2 + f), below 2^-59.
 */
#ifndef HPCAD_MATH_LOG_H
#define HPCAD_MATH_LOG_H

#include "math_bits.h"
#include "math_exp.h"

/* log10(2) in two parts, like ln 2; integers of this range times the first are exact. */
#define HP_LOG10_2_HIGH_F32 0x1.344p-2f
#define HP_LOG10_2_LOW_F32 0x1.3509f8p-18f
#define HP_LOG10_2_HIGH_F64 0x1.34413509f78p-2
#define HP_LOG10_2_LOW_F64 0x1.fef311f12b358p-46
#define HP_LOG10_E_F32 0x1.bcb7b2p-2f
#define HP_LOG10_E_F64 0x1.bcb7b1526e50ep-2

/* -- float ------------------------------------------------------------------------------------ */

/* Split a positive number: the result is f, and *k the exponent. Of subnormal numbers the leading
 * bit is anywhere: they are multiplied by a power of two, whose exponent comes off again. (One
 * choice: where two hang on one condition, compilers compute everything twice.) */
HP_INLINE float hp_split_f32(float x, float *k)
{
    float scale = x < 0x1p-126f ? 0x1p23f : 1.0f;
    uint32_t bits = hp_bits_f32(x * scale) - hp_bits_f32(scale) + (0x3f800000u - 0x3f3504f3u);
    *k = (float)((int32_t)bits >> 23);
    return hp_float_f32((bits & 0x007fffffu) + 0x3f3504f3u) - 1.0f; /* 0x3f3504f3: sqrt(1/2) */
}

/* log(1 + f) - f, for sqrt(1/2) <= 1 + f <= sqrt(2). */
HP_INLINE float hp_log_rest_f32(float f)
{
    float p = -0x1.38b7fep-4f;
    p = hp_fma_f32(p, f, 0x1.055e92p-3f);
    p = hp_fma_f32(p, f, -0x1.0d8632p-3f);
    p = hp_fma_f32(p, f, 0x1.22d9b6p-3f);
    p = hp_fma_f32(p, f, -0x1.547224p-3f);
    p = hp_fma_f32(p, f, 0x1.99a00cp-3f);
    p = hp_fma_f32(p, f, -0x1.000228p-2f);
    p = hp_fma_f32(p, f, 0x1.555554p-2f);
    return f * f * hp_fma_f32(p, f, -0.5f);
}

/* `y` where x is positive and finite, else what the logarithm of x is. */
HP_INLINE float hp_log_ends_f32(float x, float y)
{
    float end = x == 0.0f ? -INFINITY : NAN;
    end = x > 0.0f ? x : end; /* infinite */
    return hp_bits_f32(x) - 1u < 0x7f7fffffu ? y : end; /* from the smallest to the largest */
}

HP_INLINE float hp_log_f32(float x)
{
    float k, f = hp_split_f32(x, &k);
    float rest = hp_fma_f32(k, HP_LN2_LOW_F32, hp_log_rest_f32(f));
    return hp_log_ends_f32(x, hp_fma_f32(k, HP_LN2_HIGH_F32, f + rest));
}

HP_INLINE float hp_log2_f32(float x)
{
    float k, f = hp_split_f32(x, &k);
    float rest = hp_log_rest_f32(f) * HP_LOG2_E_F32;
    return hp_log_ends_f32(x, k + hp_fma_f32(f, HP_LOG2_E_F32, rest));
}

HP_INLINE float hp_log10_f32(float x)
{
    float k, f = hp_split_f32(x, &k);
    float rest = hp_fma_f32(k, HP_LOG10_2_LOW_F32, hp_log_rest_f32(f) * HP_LOG10_E_F32);
    rest = hp_fma_f32(f, HP_LOG10_E_F32, rest);
    return hp_log_ends_f32(x, hp_fma_f32(k, HP_LOG10_2_HIGH_F32, rest));
}

/* Of a finite number above -1, 1 + x rounded is u = 2^k (1 + f); what rounding took, times 2^-k, is
 * put back into f. Near 0 that makes f the very x. */
HP_INLINE float hp_log1p_finite_f32(float x)
{
    float u = 1.0f + x;
    uint32_t bits = hp_bits_f32(u);
    int32_t exponent = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float k = (float)exponent;
    uint32_t inverse = exponent < 127 ? (uint32_t)(127 - exponent) : 0; /* for large u: 0 */
    float lost = (x - (u - 1.0f)) * hp_float_f32(inverse << 23);
    float f = hp_float_f32(bits - ((uint32_t)exponent << 23)) - 1.0f + lost;
    float rest = hp_fma_f32(k, HP_LN2_LOW_F32, hp_log_rest_f32(f));
    return hp_fma_f32(k, HP_LN2_HIGH_F32, f + rest);
}

HP_INLINE float hp_log1p_f32(float x)
{
    return copysignf(hp_log_ends_f32(1.0f + x, hp_log1p_finite_f32(x)), x);
}

/* -- double ----------------------------------------------------------------------------------- */

HP_INLINE double hp_split_f64(double x, double *k)
{
    double scale = x < 0x1p-1022 ? 0x1p52 : 1.0;
    /* Biased by 2048, so that a logical shift will do (AVX2 has no other on 64 bits); turned into
     * a number by way of the lowest bits of 2^52 (nor has it a conversion). */
    uint64_t root = 0x3fe6a09e667f3bcdu; /* sqrt(1/2) */
    uint64_t bits = hp_bits_f64(x * scale) - hp_bits_f64(scale) + (0xbff0000000000000u - root);
    *k = hp_float_f64(bits >> 52 | 0x4330000000000000u) - (0x1p52 + 2048.0);
    return hp_float_f64((bits & 0x000fffffffffffffu) + root) - 1.0;
}

HP_INLINE double hp_log_rest_f64(double f)
{
    double s = f / (2.0 + f), z = s * s, half_square = 0.5 * f * f;
    double p = 0x1.2f0d2612a13b2p-3;
    p = hp_fma_f64(p, z, 0x1.39a1005777b87p-3);
    p = hp_fma_f64(p, z, 0x1.746645b079717p-3);
    p = hp_fma_f64(p, z, 0x1.c71c51ea9b907p-3);
    p = hp_fma_f64(p, z, 0x1.2492494213ed8p-2);
    p = hp_fma_f64(p, z, 0x1.999999997fb8p-2);
    p = hp_fma_f64(p, z, 0x1.5555555555593p-1);
    /* 2s = f - s f, and s f = f^2/2 - s f^2/2: the leading terms are exact or small. */
    return s * hp_fma_f64(p, z, half_square) - half_square;
}

HP_INLINE double hp_log_ends_f64(double x, double y)
{
    double end = x == 0.0 ? -INFINITY : NAN;
    end = x > 0.0 ? x : end;
    return hp_bits_f64(x) - 1u < 0x7fefffffffffffffu ? y : end;
}

HP_INLINE double hp_log_f64(double x)
{
    double k, f = hp_split_f64(x, &k);
    double rest = hp_fma_f64(k, HP_LN2_LOW_F64, hp_log_rest_f64(f));
    return hp_log_ends_f64(x, hp_fma_f64(k, HP_LN2_HIGH_F64, f + rest));
}

HP_INLINE double hp_log2_f64(double x)
{
    double k, f = hp_split_f64(x, &k);
    double rest = hp_log_rest_f64(f) * HP_LOG2_E_F64;
    return hp_log_ends_f64(x, k + hp_fma_f64(f, HP_LOG2_E_F64, rest));
}

HP_INLINE double hp_log10_f64(double x)
{
    double k, f = hp_split_f64(x, &k);
    double rest = hp_fma_f64(k, HP_LOG10_2_LOW_F64, hp_log_rest_f64(f) * HP_LOG10_E_F64);
    rest = hp_fma_f64(f, HP_LOG10_E_F64, rest);
    return hp_log_ends_f64(x, hp_fma_f64(k, HP_LOG10_2_HIGH_F64, rest));
}

HP_INLINE double hp_log1p_finite_f64(double x)
{
    double u = 1.0 + x;
    uint64_t bits = hp_bits_f64(u);
    uint64_t exponent = (bits - 0x3fe6a09e667f3bcdu + 0x3ff0000000000000u) >> 52;
    double k = hp_float_f64(exponent | 0x4330000000000000u) - (0x1p52 + 1023.0);
    uint64_t inverse = exponent < 2046 ? 2046 - exponent : 0;
    double lost = (x - (u - 1.0)) * hp_float_f64(inverse << 52);
    double f = hp_float_f64(bits - ((exponent - 1023) << 52)) - 1.0 + lost;
    double rest = hp_fma_f64(k, HP_LN2_LOW_F64, hp_log_rest_f64(f));
    return hp_fma_f64(k, HP_LN2_HIGH_F64, f + rest);
}

HP_INLINE double hp_log1p_f64(double x)
{
    return copysign(hp_log_ends_f64(1.0 + x, hp_log1p_finite_f64(x)), x);
}

#endif

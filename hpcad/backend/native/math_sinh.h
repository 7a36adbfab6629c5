/* sinh, cosh, and the inverses of the hyperbolic functions.
 *
 * |x| = n ln 2 + r gives sinh(|x|) = cosh(r) sinh(n ln 2) + sinh(r) cosh(n ln 2), and cosh the same
 * with sinh(n ln 2) and cosh(n ln 2) exchanged; both of those are sums of two powers of two. With
 * |r| <= ln 2 / 2, sinh(r) = r + r^3 s(r^2) and cosh(r) = 1 + r^2 c(r^2): minimax fits (Remez
 * exchange in 50 digits), to 2^-26 and 2^-33 (float), 2^-61 and 2^-70 (double).
 */
#ifndef HPCAD_MATH_SINH_H
#define HPCAD_MATH_SINH_H

#include "math_bits.h"
#include "math_exp.h"
#include "math_log.h"

/* -- sinh and cosh ---------------------------------------------------------------------------- */

/* sinh(r), cosh(r) - 1, and half of sinh(n ln 2) and of cosh(n ln 2): the whole overflows before
 * the result does. A 2^-n that is not a normal number is too small to matter, and 0 here. */
typedef struct {
    float sinh_r, more_r, sinh_n, cosh_n;
} hp_hyperbolic_f32;

typedef struct {
    double sinh_r, more_r, sinh_n, cosh_n;
} hp_hyperbolic_f64;

HP_INLINE hp_hyperbolic_f32 hp_hyperbolic_parts_f32(float size)
{
    float shifted = hp_fma_f32(size, HP_LOG2_E_F32, HP_ROUND_F32);
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_LOW_F32, hp_fma_f32(n, -HP_LN2_HIGH_F32, size));
    float z = r * r;
    float s = hp_fma_f32(0x1.1227aep-7f, z, 0x1.5554bp-3f);
    float c = hp_fma_f32(0x1.6d4f14p-10f, z, 0x1.5554e6p-5f);
    c = hp_fma_f32(c, z, 0.5f);
    int32_t exponent = (int32_t)(hp_bits_f32(shifted) << 23), quarter = 125 << 23;
    int32_t below = quarter - exponent;
    float up = hp_float_f32((uint32_t)(quarter + exponent));
    float down = hp_float_f32((uint32_t)(below > 0 ? below : 0));
    return (hp_hyperbolic_f32){hp_fma_f32(s, r * z, r), c * z, up - down, up + down};
}

HP_INLINE hp_hyperbolic_f64 hp_hyperbolic_parts_f64(double size)
{
    double shifted = hp_fma_f64(size, HP_LOG2_E_F64, HP_ROUND_F64);
    double n = shifted - HP_ROUND_F64;
    double r = hp_fma_f64(n, -HP_LN2_LOW_F64, hp_fma_f64(n, -HP_LN2_HIGH_F64, size));
    double z = r * r;
    double s = 0x1.af5ff575614f2p-26;
    s = hp_fma_f64(s, z, 0x1.71ddf7af4fe99p-19);
    s = hp_fma_f64(s, z, 0x1.a01a01b020625p-13);
    s = hp_fma_f64(s, z, 0x1.111111110f62ap-7);
    s = hp_fma_f64(s, z, 0x1.5555555555559p-3);
    double c = 0x1.1f8bef27cbfd8p-29;
    c = hp_fma_f64(c, z, 0x1.27e4cc0906db8p-22);
    c = hp_fma_f64(c, z, 0x1.a01a01ad8104bp-16);
    c = hp_fma_f64(c, z, 0x1.6c16c16c14ffap-10);
    c = hp_fma_f64(c, z, 0x1.5555555555558p-5);
    c = hp_fma_f64(c, z, 0.5);
    int64_t exponent = (int64_t)(hp_bits_f64(shifted) << 52), quarter = (int64_t)1021 << 52;
    int64_t below = quarter - exponent;
    double up = hp_float_f64((uint64_t)(quarter + exponent));
    double down = hp_float_f64((uint64_t)(below > 0 ? below : 0));
    return (hp_hyperbolic_f64){hp_fma_f64(s, r * z, r), c * z, up - down, up + down};
}

HP_INLINE float hp_sinh_f32(float x)
{
    float size = fabsf(x);
    hp_hyperbolic_f32 h = hp_hyperbolic_parts_f32(size);
    float half = h.sinh_n + hp_fma_f32(h.sinh_n, h.more_r, h.cosh_n * h.sinh_r);
    float y = size < 0x1p-12f ? size : half + half; /* half may be subnormal */
    return copysignf(size > 89.5f ? INFINITY : y, x);
}

HP_INLINE double hp_sinh_f64(double x)
{
    double size = fabs(x);
    hp_hyperbolic_f64 h = hp_hyperbolic_parts_f64(size);
    double half = h.sinh_n + hp_fma_f64(h.sinh_n, h.more_r, h.cosh_n * h.sinh_r);
    double y = size < 0x1p-27 ? size : half + half;
    return copysign(size > 710.5 ? INFINITY : y, x);
}

HP_INLINE float hp_cosh_f32(float x)
{
    float size = fabsf(x);
    hp_hyperbolic_f32 h = hp_hyperbolic_parts_f32(size);
    float half = h.cosh_n + hp_fma_f32(h.cosh_n, h.more_r, h.sinh_n * h.sinh_r);
    return size > 89.5f ? INFINITY : half + half;
}

HP_INLINE double hp_cosh_f64(double x)
{
    double size = fabs(x);
    hp_hyperbolic_f64 h = hp_hyperbolic_parts_f64(size);
    double half = h.cosh_n + hp_fma_f64(h.cosh_n, h.more_r, h.sinh_n * h.sinh_r);
    return size > 710.5 ? INFINITY : half + half;
}

/* -- asinh, acosh, atanh: as log1p -------------------------------------------------------------
 *
 * From 2^12 (2^28) on the first two are log(2x), and x^2 would overflow at some time. */

HP_INLINE float hp_asinh_f32(float x)
{
    float size = fabsf(x), square = size * size;
    float more = size + square / (1.0f + sqrtf(1.0f + square)); /* exp(asinh(|x|)) - 1 */
    int large = size > 0x1p12f;
    float y = hp_log1p_finite_f32(large ? size - 1.0f : more);
    y = large ? y + 0x1.62e43p-1f : y;
    return copysignf(size < INFINITY ? y : size, x);
}

HP_INLINE double hp_asinh_f64(double x)
{
    double size = fabs(x), square = size * size;
    double more = size + square / (1.0 + sqrt(1.0 + square)); /* exp(asinh(|x|)) - 1 */
    int64_t large = size > 0x1p28;
    double y = hp_log1p_finite_f64(large ? size - 1.0 : more);
    y = large ? y + 0x1.62e42fefa39efp-1 : y;
    return copysign(size < INFINITY ? y : size, x);
}

HP_INLINE float hp_acosh_f32(float x)
{
    float above = x - 1.0f;
    float more = above + sqrtf(above * (above + 2.0f));
    int large = x > 0x1p12f;
    float y = hp_log1p_finite_f32(large ? above : more);
    y = large ? y + 0x1.62e43p-1f : y;
    y = x < INFINITY ? y : x;
    return x < 1.0f ? NAN : y;
}

HP_INLINE double hp_acosh_f64(double x)
{
    double above = x - 1.0;
    double more = above + sqrt(above * (above + 2.0));
    int64_t large = x > 0x1p28;
    double y = hp_log1p_finite_f64(large ? above : more);
    y = large ? y + 0x1.62e42fefa39efp-1 : y;
    y = x < INFINITY ? y : x;
    return x < 1.0 ? NAN : y;
}

HP_INLINE float hp_atanh_f32(float x)
{
    float size = fabsf(x);
    float y = 0.5f * hp_log1p_finite_f32((size + size) / (1.0f - size));
    float end = size == 1.0f ? INFINITY : NAN;
    return copysignf(size < 1.0f ? y : end, x);
}

HP_INLINE double hp_atanh_f64(double x)
{
    double size = fabs(x);
    double y = 0.5 * hp_log1p_finite_f64((size + size) / (1.0 - size));
    double end = size == 1.0 ? INFINITY : NAN;
    return copysign(size < 1.0 ? y : end, x);
}

#endif

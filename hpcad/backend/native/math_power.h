/* power.
 *
 * 2^(y log2 |x|), the logarithm with eight (double: twelve) bits more than the result has: a sum
 * of two numbers, k + s (d + z p(z)), where x = 2^k (1 + f) as in math_log.h, s = f / (2 + f) and
 * z = s^2. The outer parts are computed with what rounding takes from them; p is a minimax fit
 * (Remez exchange in 50 digits) to 2^-36 (float), 2^-73 (double) of the logarithm. For |r| <= 1/2,
 * 2^r = 1 + r q(r) to 2^-29, 2^-58. Powers of whole numbers that are numbers come out exact.
 */
#ifndef HPCAD_MATH_POWER_H
#define HPCAD_MATH_POWER_H

#include "math_bits.h"
#include "math_log.h"

/* -- float ------------------------------------------------------------------------------------ */

/* k + log2(1 + f), and *rest, what rounding took from it. */
HP_INLINE float hp_wide_log2_f32(float k, float f, float *rest)
{
    float d = 2.0f + f, s = f / d;
    float s_rest = hp_less_product_f32(f, s, d) - s * (f - (d - 2.0f));
    s_rest *= 0.5f - 0.5f * s; /* that is 1 / d */
    float z = s * s, z_rest = hp_product_rest_f32(s, s, z) + 2.0f * s * s_rest;
    float t = 0x1.58b48p-2f;
    t = hp_fma_f32(t, z, 0x1.a5cebcp-2f);
    t = hp_fma_f32(t, z, 0x1.2776e2p-1f);
    t = hp_fma_f32(t, z, 0x1.ec709ep-1f);
    float b1 = 0x1.715476p+1f, b2 = z * t, b = b1 + b2;
    float b_rest = hp_product_rest_f32(z, t, b2) + hp_fma_f32(z_rest, t, 0x1.4ae0cp-25f);
    b_rest += (b1 - b) + b2;
    float a = s * b, y = k + a;
    *rest = hp_product_rest_f32(s, b, a) + hp_fma_f32(s, b_rest, s_rest * b) + ((k - y) + a);
    return y;
}

HP_INLINE float hp_exp2_wide_f32(float t, float rest)
{
    float shifted = t + HP_ROUND_F32, r = (t - (shifted - HP_ROUND_F32)) + rest;
    float p = 0x1.448f9p-13f;
    p = hp_fma_f32(p, r, 0x1.5f47e4p-10f);
    p = hp_fma_f32(p, r, 0x1.3b29aap-7f);
    p = hp_fma_f32(p, r, 0x1.c6aedp-5f);
    p = hp_fma_f32(p, r, 0x1.ebfbep-3f);
    p = hp_fma_f32(p, r, 0x1.62e43p-1f);
    float power = hp_scale_f32(hp_fma_f32(p, r, 1.0f), shifted);
    power = t < -160.0f ? 0.0f : power;
    return t > 150.0f ? INFINITY : power;
}

/* `power` of |x|, made the power of x: its sign is that of x if y is an odd integer; a negative
 * number has no power with a fraction; and all is 1 to the power of 0, even NaN. */
HP_INLINE float hp_power_ends_f32(float x, float y, float power)
{
    int whole = rintf(y) == y, even = rintf(0.5f * y) == 0.5f * y;
    uint32_t sign = whole & !even ? 0x80000000u : 0;
    power = hp_float_f32(hp_bits_f32(power) ^ (hp_bits_f32(x) & sign));
    power = (x < 0.0f) & (x > -INFINITY) & !whole ? NAN : power;
    return (x == 1.0f) | (y == 0.0f) ? 1.0f : power;
}

HP_INLINE float hp_power_general_f32(float x, float y)
{
    float size = fabsf(x), k, f = hp_split_f32(size, &k), rest;
    k = size == 0.0f ? -INFINITY : k;
    k = size < INFINITY ? k : size;
    float log = hp_wide_log2_f32(k, f, &rest);
    float bounded = y < -0x1p40f ? -0x1p40f : y > 0x1p40f ? 0x1p40f : y; /* 1 to infinity is 1 */
    float t = bounded * log;
    rest = hp_product_rest_f32(bounded, log, t) + bounded * rest;
    return hp_power_ends_f32(x, y, hp_exp2_wide_f32(t, rest));
}

/* -- double ----------------------------------------------------------------------------------- */

/* k + log2(1 + f), and *rest, what rounding took from it. */
HP_INLINE double hp_wide_log2_f64(double k, double f, double *rest)
{
    double d = 2.0 + f, s = f / d;
    double s_rest = hp_less_product_f64(f, s, d) - s * (f - (d - 2.0));
    s_rest *= 0.5 - 0.5 * s; /* that is 1 / d */
    double z = s * s, z_rest = hp_product_rest_f64(s, s, z) + 2.0 * s * s_rest;
    double t = 0x1.6245b5f2f91a4p-3;
    t = hp_fma_f64(t, z, 0x1.58f1a8c71bd53p-3);
    t = hp_fma_f64(t, z, 0x1.8a0a5322b41a7p-3);
    t = hp_fma_f64(t, z, 0x1.c68ee4d8ee6b5p-3);
    t = hp_fma_f64(t, z, 0x1.0c9a8544a59ddp-2);
    t = hp_fma_f64(t, z, 0x1.484b13d6954aap-2);
    t = hp_fma_f64(t, z, 0x1.a61762a7aefbep-2);
    t = hp_fma_f64(t, z, 0x1.2776c50ef9bfcp-1);
    double c1 = 0x1.ec709dc3a03fdp-1, c2 = z * t, c = c1 + c2;
    double c_rest = (c1 - c) + c2 + hp_fma_f64(z_rest, t, 0x1.d27f05548af0cp-55);
    double b1 = 0x1.71547652b82fep+1, b2 = z * c, b = b1 + b2;
    double b_rest = hp_product_rest_f64(z, c, b2) + hp_fma_f64(z, c_rest, z_rest * c);
    b_rest += (b1 - b) + b2 + 0x1.777d0ffda0d24p-55;
    double a = s * b, y = k + a;
    *rest = hp_product_rest_f64(s, b, a) + hp_fma_f64(s, b_rest, s_rest * b) + ((k - y) + a);
    return y;
}

HP_INLINE double hp_exp2_wide_f64(double t, double rest)
{
    double shifted = t + HP_ROUND_F64, r = (t - (shifted - HP_ROUND_F64)) + rest;
    double p = 0x1.ea18e86e0267fp-32;
    p = hp_fma_f64(p, r, 0x1.e61ccc4cfd50cp-28);
    p = hp_fma_f64(p, r, 0x1.b524cd77ce382p-24);
    p = hp_fma_f64(p, r, 0x1.62bfc6b936058p-20);
    p = hp_fma_f64(p, r, 0x1.ffcbfc7c83127p-17);
    p = hp_fma_f64(p, r, 0x1.4309130f36af3p-13);
    p = hp_fma_f64(p, r, 0x1.5d87fe78a0d5p-10);
    p = hp_fma_f64(p, r, 0x1.3b2ab6fb9ff35p-7);
    p = hp_fma_f64(p, r, 0x1.c6b08d704a0d7p-5);
    p = hp_fma_f64(p, r, 0x1.ebfbdff82c5a5p-3);
    p = hp_fma_f64(p, r, 0x1.62e42fefa39efp-1);
    double power = hp_scale_f64(hp_fma_f64(p, r, 1.0), shifted);
    power = t < -1090.0 ? 0.0 : power;
    return t > 1030.0 ? INFINITY : power;
}

HP_INLINE double hp_power_ends_f64(double x, double y, double power)
{
    int64_t whole = rint(y) == y, even = rint(0.5 * y) == 0.5 * y;
    uint64_t sign = whole & !even ? 0x8000000000000000u : 0;
    power = hp_float_f64(hp_bits_f64(power) ^ (hp_bits_f64(x) & sign));
    power = (x < 0.0) & (x > -INFINITY) & !whole ? NAN : power;
    return (x == 1.0) | (y == 0.0) ? 1.0 : power;
}

HP_INLINE double hp_power_general_f64(double x, double y)
{
    double size = fabs(x), k, f = hp_split_f64(size, &k), rest;
    k = size == 0.0 ? -INFINITY : k;
    k = size < INFINITY ? k : size;
    double log = hp_wide_log2_f64(k, f, &rest);
    double bounded = y < -0x1p70 ? -0x1p70 : y > 0x1p70 ? 0x1p70 : y;
    double t = bounded * log;
    rest = hp_product_rest_f64(bounded, log, t) + bounded * rest;
    return hp_power_ends_f64(x, y, hp_exp2_wide_f64(t, rest));
}

/* -- exponents that the compiler knows -------------------------------------------------------- */

/* sqrt has another sign at -0, and no value at -infinity. */
HP_INLINE float hp_power_half_f32(float x)
{
    return x == -INFINITY ? INFINITY : sqrtf(x + 0.0f);
}

HP_INLINE double hp_power_half_f64(double x)
{
    return x == -INFINITY ? INFINITY : sqrt(x + 0.0);
}

#if defined(__GNUC__) || defined(__clang__)
#define HP_KNOWN(y) __builtin_constant_p(y)
#else
#define HP_KNOWN(y) 0
#endif

/* Some whole and half powers take a few multiplications, with errors below 2 units. */
#define HP_POWER(T, S, F)                                                                          \
    HP_INLINE T hp_power_##S(T x, T y)                                                             \
    {                                                                                              \
        const T size = fabs##F(x), half = hp_power_half_##S(x), inverse = (T)1 / x;                \
        const int known = HP_KNOWN(y);                                                             \
        return known && y == (T)-2     ? inverse * inverse                                         \
               : known && y == (T)-1   ? inverse                                                   \
               : known && y == (T)-0.5 ? (T)1 / half                                               \
               : known && y == (T)0.5  ? half                                                      \
               : known && y == (T)1    ? x                                                         \
               : known && y == (T)1.5  ? size * half                                               \
               : known && y == (T)2    ? x * x                                                     \
               : known && y == (T)2.5  ? size * size * half                                        \
               : known && y == (T)3    ? x * x * x                                                 \
               : known && y == (T)4    ? (x * x) * (x * x)                                         \
                                       : hp_power_general_##S(x, y);                               \
    }

HP_POWER(float, f32, f)
HP_POWER(double, f64, )

#undef HP_KNOWN
#undef HP_POWER
#endif

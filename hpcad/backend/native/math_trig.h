/* sin, cos, tan.
 *
 * x = n pi + r (tan: n pi / 2 + r) with an integer n and r of half that period at most, subtracted
 * in parts: the first leaves no rounding error, and together they hold pi to 2^-75 (float), 2^-159
 * (double). That does up to HP_NEAR_F32 and HP_NEAR_F64: hp_<name>_near_<type> are free of branches
 * and only for numbers that are not hp_far_<type>. hp_<name>_<type> leave those to the C library;
 * their branch keeps loops from becoming SIMD code, so that a loop should call the former, and be
 * repeated with the latter where one of its numbers was far.
 *
 * sin(r) = r + r^3 p(r^2), tan(r) = (r + r^3 p(r^2)) / (1 + r^2 q(r^2)): minimax fits of the
 * relative error (Remez exchange in 50 digits), below 2^-27 (float); 2^-61, 2^-55 (double).
 */
#ifndef HPCAD_MATH_TRIG_H
#define HPCAD_MATH_TRIG_H

#include "math_bits.h"

/* -- the rest after multiples ----------------------------------------------------------------- */

/* x - n unit pi / 2; a unit of 1 or 2 makes other constants of these. All parts are positive, so
 * that -0 stays what it is. */
#ifdef HP_FUSED /* the products are exact */
#define HP_NEAR_F32 0x1p17f
#define HP_NEAR_F64 0x1p28

HP_INLINE float hp_less_f32(float x, float n, float unit)
{
    float r = hp_fma_f32(n, -0x1.921fb4p+0f * unit, x);
    r = hp_fma_f32(n, -0x1.4442dp-24f * unit, r);
    return hp_fma_f32(n, -0x1.846988p-48f * unit, r);
}

HP_INLINE double hp_less_f64(double x, double n, double unit)
{
    double r = hp_fma_f64(n, -0x1.921fb54442d18p+0 * unit, x);
    r = hp_fma_f64(n, -0x1.1a62633145c06p-54 * unit, r);
    return hp_fma_f64(n, -0x1.c1cd129024e08p-107 * unit, r);
}
#else /* they are where the parts are short and n is small */
#define HP_NEAR_F32 0x1p9f
#define HP_NEAR_F64 0x1p21

HP_INLINE float hp_less_f32(float x, float n, float unit)
{
    float r = x - n * (0x1.921cp+0f * unit);
    r -= n * (0x1.daap-15f * unit);
    r -= n * (0x1.10b4p-30f * unit);
    return r - n * (0x1.846988p-48f * unit);
}

HP_INLINE double hp_less_f64(double x, double n, double unit)
{
    double r = x - n * (0x1.921fb544p+0 * unit);
    r -= n * (0x1.0b4611a6p-34 * unit);
    r -= n * (0x1.3198a2ep-69 * unit);
    return r - n * (0x1.b839a252049c1p-104 * unit);
}
#endif

/* Not for infinities and NaN: of those the near functions make NaN as well. */
HP_INLINE int32_t hp_far_f32(float x) { return fabsf(x) > HP_NEAR_F32; }
HP_INLINE int64_t hp_far_f64(double x) { return fabs(x) > HP_NEAR_F64; }

/* -- sin and cos ------------------------------------------------------------------------------ */

HP_INLINE float hp_sin_of_rest_f32(float r)
{
    float z = r * r;
    float p = 0x1.5db2dcp-19f;
    p = hp_fma_f32(p, z, -0x1.9f6fbap-13f);
    p = hp_fma_f32(p, z, 0x1.110ed6p-7f);
    p = hp_fma_f32(p, z, -0x1.55554cp-3f);
    return hp_fma_f32(p, r * z, r);
}

HP_INLINE double hp_sin_of_rest_f64(double r)
{
    double z = r * r;
    double p = 0x1.8823d7a7ffca3p-49;
    p = hp_fma_f64(p, z, -0x1.ae430017869acp-41);
    p = hp_fma_f64(p, z, 0x1.6123cb3043616p-33);
    p = hp_fma_f64(p, z, -0x1.ae6454cdd6f37p-26);
    p = hp_fma_f64(p, z, 0x1.71de3a52942e4p-19);
    p = hp_fma_f64(p, z, -0x1.a01a01a014bfcp-13);
    p = hp_fma_f64(p, z, 0x1.11111111110c7p-7);
    p = hp_fma_f64(p, z, -0x1.5555555555555p-3);
    return hp_fma_f64(p, r * z, r);
}

/* y, or -y where the integer in the lowest bits of `shifted` is odd. */
HP_INLINE float hp_alternate_f32(float y, float shifted)
{
    return hp_float_f32(hp_bits_f32(y) ^ hp_bits_f32(shifted) << 31);
}

HP_INLINE double hp_alternate_f64(double y, double shifted)
{
    return hp_float_f64(hp_bits_f64(y) ^ hp_bits_f64(shifted) << 63);
}

/* y, or -y where x is below 0 or -0. */
HP_INLINE float hp_times_sign_f32(float y, float x)
{
    return hp_float_f32(hp_bits_f32(y) ^ (hp_bits_f32(x) & 0x80000000u));
}

HP_INLINE double hp_times_sign_f64(double y, double x)
{
    return hp_float_f64(hp_bits_f64(y) ^ (hp_bits_f64(x) & 0x8000000000000000u));
}

HP_INLINE float hp_sin_near_f32(float x)
{
    float size = fabsf(x), shifted = hp_fma_f32(size, 0x1.45f306p-2f, HP_ROUND_F32);
    float r = hp_less_f32(size, shifted - HP_ROUND_F32, 2.0f);
    return hp_times_sign_f32(hp_alternate_f32(hp_sin_of_rest_f32(r), shifted), x);
}

HP_INLINE double hp_sin_near_f64(double x)
{
    double size = fabs(x), shifted = hp_fma_f64(size, 0x1.45f306dc9c883p-2, HP_ROUND_F64);
    double r = hp_less_f64(size, shifted - HP_ROUND_F64, 2.0);
    return hp_times_sign_f64(hp_alternate_f64(hp_sin_of_rest_f64(r), shifted), x);
}

/* |x| = (2n - 1) pi/2 + r. */
HP_INLINE float hp_cos_near_f32(float x)
{
    float size = fabsf(x);
    float shifted = hp_fma_f32(size, 0x1.45f306p-2f, 0.5f) + HP_ROUND_F32;
    float r = hp_less_f32(size, hp_fma_f32(shifted - HP_ROUND_F32, 2.0f, -1.0f), 1.0f);
    return hp_alternate_f32(hp_sin_of_rest_f32(r), shifted);
}

HP_INLINE double hp_cos_near_f64(double x)
{
    double size = fabs(x);
    double shifted = hp_fma_f64(size, 0x1.45f306dc9c883p-2, 0.5) + HP_ROUND_F64;
    double r = hp_less_f64(size, hp_fma_f64(shifted - HP_ROUND_F64, 2.0, -1.0), 1.0);
    return hp_alternate_f64(hp_sin_of_rest_f64(r), shifted);
}

/* -- tan: of odd n, -1 / tan(r) --------------------------------------------------------------- */

HP_INLINE float hp_tan_near_f32(float x)
{
    float size = fabsf(x), shifted = hp_fma_f32(size, 0x1.45f306p-1f, HP_ROUND_F32);
    float r = hp_less_f32(size, shifted - HP_ROUND_F32, 1.0f), z = r * r;
    float p = hp_fma_f32(0x1.19e42ap-10f, z, -0x1.c8259ap-4f);
    float q = hp_fma_f32(0x1.05b98ep-6f, z, -0x1.c75ebcp-2f);
    float cube = p * (r * z), above = r + cube, above_rest = (r - above) + cube;
#ifdef V2
    float part = q * z, below = 1.0f + part, below_rest = (1.0f - below) + part;
#else
    float below = hp_fma_f32(q, z, 1.0f), below_rest=0;
#endif
    int odd = hp_bits_f32(shifted) & 1;
    float a = odd ? below : above, a_rest = odd ? below_rest : above_rest;
    float b = odd ? above : below, b_rest = odd ? above_rest : below_rest;
    float inverse = 1.0f / b, y = a * inverse;
    float rest = hp_fma_f32(-y, b_rest, hp_fma_f32(-y, b, a) + a_rest);
    return hp_times_sign_f32(hp_alternate_f32(hp_fma_f32(rest, inverse, y), shifted), x);
}

HP_INLINE double hp_tan_near_f64(double x)
{
    double size = fabs(x), shifted = hp_fma_f64(size, 0x1.45f306dc9c883p-1, HP_ROUND_F64);
    double r = hp_less_f64(size, shifted - HP_ROUND_F64, 1.0), z = r * r;
    double p = hp_fma_f64(-0x1.f646968bd75f4p-18, z, 0x1.6fc9f75406233p-9);
    p = hp_fma_f64(p, z, -0x1.06b9e6b661c26p-3);
    double q = hp_fma_f64(-0x1.b52c84a4635d2p-13, z, 0x1.7e7ce4ba1425fp-6);
    q = hp_fma_f64(q, z, -0x1.d8b248b086332p-2);
    double cube = p * (r * z), above = r + cube, above_rest = (r - above) + cube;
    double part = q * z, below = 1.0 + part, below_rest = (1.0 - below) + part;
    int64_t odd = hp_bits_f64(shifted) & 1;
    double a = odd ? below : above, a_rest = odd ? below_rest : above_rest;
    double b = odd ? above : below, b_rest = odd ? above_rest : below_rest;
    double inverse = 1.0 / b, y = a * inverse;
    double rest = hp_fma_f64(-y, b_rest, hp_fma_f64(-y, b, a) + a_rest);
    return hp_times_sign_f64(hp_alternate_f64(hp_fma_f64(rest, inverse, y), shifted), x);
}

/* -- everywhere ------------------------------------------------------------------------------- */

#define HP_EVERYWHERE(name)                                                                        \
    HP_INLINE float hp_##name##_f32(float x)                                                       \
    {                                                                                              \
        return hp_far_f32(x) ? name##f(x) : hp_##name##_near_f32(x);                               \
    }                                                                                              \
    HP_INLINE double hp_##name##_f64(double x)                                                     \
    {                                                                                              \
        return hp_far_f64(x) ? name(x) : hp_##name##_near_f64(x);                                  \
    }

HP_EVERYWHERE(sin)
HP_EVERYWHERE(cos)
HP_EVERYWHERE(tan)

#undef HP_EVERYWHERE
#endif

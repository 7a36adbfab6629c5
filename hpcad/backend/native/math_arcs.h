/* atan, atan2, asin, acos.
 *
 * atan(t) = t + t^3 p(t^2) for 0 <= t <= 1; asin(s) = s + s^3 p(s^2) for 0 <= s <= 1/2: minimax
 * fits (Remez exchange in 50 digits) of the relative error, below 2^-28 and 2^-27 (float), 2^-54
 * and 2^-55 (double).
 */
#ifndef HPCAD_MATH_ARCS_H
#define HPCAD_MATH_ARCS_H

#include "math_bits.h"

/* pi/2 as a number, and what is missing in that as a fraction of it. */
#define HP_HALF_PI_F32 0x1.921fb6p+0f
#define HP_HALF_PI_REST_F32 -0x1.de12cap-26f
#define HP_HALF_PI_F64 0x1.921fb54442d18p+0
#define HP_HALF_PI_REST_F64 0x1.678afae35cdd1p-55

/* -- atan and atan2 --------------------------------------------------------------------------- */

/* p(z) t^3, z = t^2. */
HP_INLINE float hp_atan_rest_f32(float t)
{
    float z = t * t;
    float p = -0x1.d3304cp-10f;
    p = hp_fma_f32(p, z, 0x1.6411dp-7f);
    p = hp_fma_f32(p, z, -0x1.fd7034p-6f);
    p = hp_fma_f32(p, z, 0x1.da24e4p-5f);
    p = hp_fma_f32(p, z, -0x1.580816p-4f);
    p = hp_fma_f32(p, z, 0x1.c08c1ap-4f);
    p = hp_fma_f32(p, z, -0x1.242084p-3f);
    p = hp_fma_f32(p, z, 0x1.9991e4p-3f);
    p = hp_fma_f32(p, z, -0x1.55553ep-2f);
    return p * (z * t);
}

HP_INLINE double hp_atan_rest_f64(double t)
{
    double z = t * t;
    double p = -0x1.53e4574a7392bp-16;
    p = hp_fma_f64(p, z, 0x1.d3b97dc294356p-13);
    p = hp_fma_f64(p, z, -0x1.3129760485691p-10);
    p = hp_fma_f64(p, z, 0x1.f96bd4df8c321p-9);
    p = hp_fma_f64(p, z, -0x1.2cf70961f1d96p-7);
    p = hp_fma_f64(p, z, 0x1.162c046f55dbbp-6);
    p = hp_fma_f64(p, z, -0x1.a726787039ab1p-6);
    p = hp_fma_f64(p, z, 0x1.1715cb93840fdp-5);
    p = hp_fma_f64(p, z, -0x1.4f451a7a373f6p-5);
    p = hp_fma_f64(p, z, 0x1.7ee3f399c19fp-5);
    p = hp_fma_f64(p, z, -0x1.ad32b9a38ae6ap-5);
    p = hp_fma_f64(p, z, 0x1.e1781716149f9p-5);
    p = hp_fma_f64(p, z, -0x1.11089d00ce6efp-4);
    p = hp_fma_f64(p, z, 0x1.3b12b2e8b212fp-4);
    p = hp_fma_f64(p, z, -0x1.745d02310185dp-4);
    p = hp_fma_f64(p, z, 0x1.c71c709e19adp-4);
    p = hp_fma_f64(p, z, -0x1.2492491fa211p-3);
    p = hp_fma_f64(p, z, 0x1.999999998410fp-3);
    p = hp_fma_f64(p, z, -0x1.555555555544cp-2);
    return p * (z * t);
}

/* Above 1: pi/2 - atan(1/x). */
HP_INLINE float hp_atan_f32(float x)
{
    float size = fabsf(x);
    int large = size > 1.0f;
    float t = (large ? -1.0f : size) / (large ? size : 1.0f);
    float whole = large ? HP_HALF_PI_F32 : 0.0f;
    float rest = hp_fma_f32(whole, HP_HALF_PI_REST_F32, hp_atan_rest_f32(t));
    return copysignf(whole + (t + rest), x);
}

HP_INLINE double hp_atan_f64(double x)
{
    double size = fabs(x);
    int64_t large = size > 1.0;
    double t = (large ? -1.0 : size) / (large ? size : 1.0);
    double whole = large ? HP_HALF_PI_F64 : 0.0;
    double rest = hp_fma_f64(whole, HP_HALF_PI_REST_F64, hp_atan_rest_f64(t));
    return copysign(whole + (t + rest), x);
}

/* The angle between the x axis and (|x|, |y|) or, where that is smaller, between the y axis and it;
 * then mirrored. 0 / 0 is 0 here, and the quotient of two infinities 1. */
HP_INLINE float hp_atan2_f32(float y, float x)
{
    float up = fabsf(y), along = fabsf(x);
    float a = up <= along ? up : along, b = up <= along ? along : up;
    b = b == 0.0f ? 1.0f : b;
    float t = a == b ? 1.0f : a / b;
    float whole = up <= along ? 0.0f : HP_HALF_PI_F32;
    float left = copysignf(1.0f, x), sign = up <= along ? left : -left;
    whole = left < 0.0f ? 2.0f * HP_HALF_PI_F32 - whole : whole;
    float rest = hp_fma_f32(whole, HP_HALF_PI_REST_F32, sign * hp_atan_rest_f32(t));
    return copysignf(whole + hp_fma_f32(sign, t, rest), y);
}

HP_INLINE double hp_atan2_f64(double y, double x)
{
    double up = fabs(y), along = fabs(x);
    double a = up <= along ? up : along, b = up <= along ? along : up;
    b = b == 0.0 ? 1.0 : b;
    double t = a == b ? 1.0 : a / b;
    double whole = up <= along ? 0.0 : HP_HALF_PI_F64;
    double left = copysign(1.0, x), sign = up <= along ? left : -left;
    whole = left < 0.0 ? 2.0 * HP_HALF_PI_F64 - whole : whole;
    double rest = hp_fma_f64(whole, HP_HALF_PI_REST_F64, sign * hp_atan_rest_f64(t));
    return copysign(whole + hp_fma_f64(sign, t, rest), y);
}

/* -- asin and acos ---------------------------------------------------------------------------- */

HP_INLINE float hp_asin_rest_f32(float s, float z)
{
    float p = 0x1.59ddfp-5f;
    p = hp_fma_f32(p, z, 0x1.8ba42ep-6f);
    p = hp_fma_f32(p, z, 0x1.748b7cp-5f);
    p = hp_fma_f32(p, z, 0x1.330162p-4f);
    p = hp_fma_f32(p, z, 0x1.5555cap-3f);
    return p * (z * s);
}

HP_INLINE double hp_asin_rest_f64(double s, double z)
{
    double p = 0x1.05ffb4eb28be9p-5;
    p = hp_fma_f64(p, z, -0x1.0b82dc50419b7p-6);
    p = hp_fma_f64(p, z, 0x1.410b1c749ec7cp-6);
    p = hp_fma_f64(p, z, 0x1.aa3323f5c4dp-8);
    p = hp_fma_f64(p, z, 0x1.8ef34a13bfd25p-7);
    p = hp_fma_f64(p, z, 0x1.c6f64ba505799p-7);
    p = hp_fma_f64(p, z, 0x1.1c6c43c185cf9p-6);
    p = hp_fma_f64(p, z, 0x1.6e89eda5ca904p-6);
    p = hp_fma_f64(p, z, 0x1.f1c72c80858f8p-6);
    p = hp_fma_f64(p, z, 0x1.6db6db4199223p-5);
    p = hp_fma_f64(p, z, 0x1.333333336fe23p-4);
    p = hp_fma_f64(p, z, 0x1.5555555555384p-3);
    return p * (z * s);
}

/* Above 1/2: pi/2 - 2 asin(s), s = sqrt((1 - |x|) / 2). */
HP_INLINE float hp_asin_f32(float x)
{
    float size = fabsf(x);
    int large = size > 0.5f;
    float z = large ? 0.5f - 0.5f * size : x * x;
    float s = large ? -2.0f * sqrtf(z) : size, whole = large ? HP_HALF_PI_F32 : 0.0f;
    float rest = hp_fma_f32(whole, HP_HALF_PI_REST_F32, hp_asin_rest_f32(s, z));
    return copysignf(whole + (s + rest), x);
}

HP_INLINE double hp_asin_f64(double x)
{
    double size = fabs(x);
    int64_t large = size > 0.5;
    double z = large ? 0.5 - 0.5 * size : x * x;
    double s = large ? -2.0 * sqrt(z) : size, whole = large ? HP_HALF_PI_F64 : 0.0;
    double rest = hp_fma_f64(whole, HP_HALF_PI_REST_F64, hp_asin_rest_f64(s, z));
    return copysign(whole + (s + rest), x);
}

/* pi/2 - asin(x), and beyond 1/2 either 2 asin(s) or pi - 2 asin(s). */
HP_INLINE float hp_acos_f32(float x)
{
    float size = fabsf(x);
    int large = size > 0.5f;
    float z = large ? 0.5f - 0.5f * size : x * x;
    float s = copysignf(large ? 2.0f * sqrtf(z) : size, x);
    float whole = x < 0.0f ? 2.0f * HP_HALF_PI_F32 : 0.0f;
    s = large ? s : -s;
    whole = large ? whole : HP_HALF_PI_F32;
    float rest = hp_fma_f32(whole, HP_HALF_PI_REST_F32, hp_asin_rest_f32(s, z));
    return whole + (s + rest);
}

HP_INLINE double hp_acos_f64(double x)
{
    double size = fabs(x);
    int64_t large = size > 0.5;
    double z = large ? 0.5 - 0.5 * size : x * x;
    double s = copysign(large ? 2.0 * sqrt(z) : size, x);
    double whole = x < 0.0 ? 2.0 * HP_HALF_PI_F64 : 0.0;
    s = large ? s : -s;
    whole = large ? whole : HP_HALF_PI_F64;
    double rest = hp_fma_f64(whole, HP_HALF_PI_REST_F64, hp_asin_rest_f64(s, z));
    return whole + (s + rest);
}

#endif

/* tanh and the logistic function. */
#ifndef HPCAD_MATH_TANH_H
#define HPCAD_MATH_TANH_H

#include "math_bits.h"
#include "math_exp.h"

/* e / (e + 2) with e = expm1(2 |x|); from 9.02 (20) on it is 1. */
HP_INLINE float hp_tanh_f32(float x)
{
    float size = fabsf(x);
    size = size > 9.02f ? 9.02f : size;
    /* As hp_expm1_f32, without what only extreme arguments need. */
    float shifted = hp_fma_f32(size, 2.0f * HP_LOG2_E_F32, HP_ROUND_F32);
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_LOW_F32, hp_fma_f32(n, -HP_LN2_HIGH_F32, size + size));
    float q = 0x1.6d988cp-10f;
    q = hp_fma_f32(q, r, 0x1.12280ep-7f);
    q = hp_fma_f32(q, r, 0x1.555488p-5f);
    q = hp_fma_f32(q, r, 0x1.5554bp-3f);
    q = hp_fma_f32(q, r, 0.5f);
    float p = hp_fma_f32(q, r * r, r);
    float power = hp_scale_normal_f32(1.0f, shifted);
    float e = hp_fma_f32(power, p, power - 1.0f);
    return copysignf(e / (e + 2.0f), x);
}

HP_INLINE double hp_tanh_f64(double x)
{
    double size = fabs(x);
    double e = hp_expm1_f64(2.0 * (size > 20.0 ? 20.0 : size));
    return copysign(e / (e + 2.0), x);
}

/* 1 / (1 + exp(-x)), by an exponential that does not overflow, accurate also where it is small. */
HP_INLINE float hp_sigmoid_f32(float x)
{
    float e = hp_exp_f32(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

HP_INLINE double hp_sigmoid_f64(double x)
{
    double e = hp_exp_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

#endif

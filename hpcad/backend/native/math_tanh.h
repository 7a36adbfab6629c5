/* tanh and the logistic function. */
#ifndef HPCAD_MATH_TANH_H
#define HPCAD_MATH_TANH_H

#include "math_bits.h"
#include "math_exp.h"

/* x P(x^2) / Q(x^2): a minimax fit of the relative error, below 2^-29, for |x| <= 9.02, where the
 * result is 1. */
static inline float hp_tanh_f32(float x)
{
    x = x < -9.02f ? -9.02f : x;
    x = x > 9.02f ? 9.02f : x;
    float z = x * x;
    float p = -0x1.ad58f2p-37f;
    p = hp_fma_f32(p, z, 0x1.06b6fcp-25f);
    p = hp_fma_f32(p, z, 0x1.d5e138p-16f);
    p = hp_fma_f32(p, z, 0x1.fb06c6p-9f);
    p = hp_fma_f32(p, z, 0x1.182a0ep-3f);
    p = hp_fma_f32(p, z, 1.0f);
    float q = 0x1.599118p-20f;
    q = hp_fma_f32(q, z, 0x1.9cfdc2p-12f);
    q = hp_fma_f32(q, z, 0x1.be64fap-6f);
    q = hp_fma_f32(q, z, 0x1.e16a5cp-2f);
    q = hp_fma_f32(q, z, 1.0f);
    return x * p / q;
}

/* e / (e + 2) with e = expm1(2 |x|); from 20 on it is 1. */
static inline double hp_tanh_f64(double x)
{
    double size = fabs(x);
    double e = hp_expm1_f64(2.0 * (size > 20.0 ? 20.0 : size));
    return copysign(e / (e + 2.0), x);
}

/* 1 / (1 + exp(-x)), by an exponential that does not overflow, accurate also where it is small. */
static inline float hp_sigmoid_f32(float x)
{
    float e = hp_exp_f32(-fabsf(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

static inline double hp_sigmoid_f64(double x)
{
    double e = hp_exp_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

#endif

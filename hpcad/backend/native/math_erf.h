/* The error function. */
#ifndef HPCAD_MATH_ERF_H
#define HPCAD_MATH_ERF_H

#include "math_bits.h"
#include "math_exp.h"

/* x P(x^2) / Q(x^2): a minimax fit of the relative error, below 2^-29, for |x| <= 3.93, where the
 * result is 1. */
static inline float hp_erf_f32(float x)
{
    x = x < -3.93f ? -3.93f : x;
    x = x > 3.93f ? 3.93f : x;
    float z = x * x;
    float p = -0x1.b9dad2p-27f;
    p = hp_fma_f32(p, z, 0x1.3611d6p-18f);
    p = hp_fma_f32(p, z, 0x1.8b8056p-12f);
    p = hp_fma_f32(p, z, 0x1.f75ae4p-9f);
    p = hp_fma_f32(p, z, 0x1.bc74cap-5f);
    p = hp_fma_f32(p, z, 0x1.7b2e3cp-3f);
    p = hp_fma_f32(p, z, 0x1.20dd76p+0f);
    float q = 0x1.06293ep-14f;
    q = hp_fma_f32(q, z, 0x1.556c4ep-10f);
    q = hp_fma_f32(q, z, 0x1.f9c53p-7f);
    q = hp_fma_f32(q, z, 0x1.d27bp-4f);
    q = hp_fma_f32(q, z, 0x1.fd5a7ap-2f);
    q = hp_fma_f32(q, z, 1.0f);
    return x * p / q;
}

/* Below 1: x + x p(x^2). Above: 1 - exp(l(|x| - 1)), l a fit of log(erfc), which need not be more
 * accurate than 1 is against what is taken from it. Both errors are below 2^-62 of the result. */
static inline double hp_erf_small_f64(double x)
{
    double z = x * x;
    double p = 0x1.0579c82d906d2p-34;
    p = hp_fma_f64(p, z, -0x1.386acc0b650fep-30);
    p = hp_fma_f64(p, z, 0x1.f7a415f822e29p-27);
    p = hp_fma_f64(p, z, -0x1.5f1d372030de9p-23);
    p = hp_fma_f64(p, z, 0x1.b9def1a984bfcp-20);
    p = hp_fma_f64(p, z, -0x1.f4d1df3a3c98ap-17);
    p = hp_fma_f64(p, z, 0x1.f9a321a12ae84p-14);
    p = hp_fma_f64(p, z, -0x1.c02db3d8ed9b4p-11);
    p = hp_fma_f64(p, z, 0x1.565bcd0db030ep-8);
    p = hp_fma_f64(p, z, -0x1.b82ce3128499ep-6);
    p = hp_fma_f64(p, z, 0x1.ce2f21a042b2p-4);
    p = hp_fma_f64(p, z, -0x1.812746b0379e6p-2);
    p = hp_fma_f64(p, z, 0x1.06eba8214db69p-3);
    return hp_fma_f64(p, x, x);
}

static inline double hp_erf_large_f64(double size)
{
    double t = (size > 5.95 ? 5.95 : size) - 1.0;
    double l = -0x1.91b5950f638dbp-43;
    l = hp_fma_f64(l, t, 0x1.85d1c7c941687p-38);
    l = hp_fma_f64(l, t, -0x1.613ab428c6f2cp-34);
    l = hp_fma_f64(l, t, 0x1.8d34625a93cb8p-31);
    l = hp_fma_f64(l, t, -0x1.354f9d4bcdd78p-28);
    l = hp_fma_f64(l, t, 0x1.5c95e038a6ff7p-26);
    l = hp_fma_f64(l, t, -0x1.173bf73432a3bp-24);
    l = hp_fma_f64(l, t, 0x1.03bd305e68533p-23);
    l = hp_fma_f64(l, t, 0x1.dcee00f6d6f16p-24);
    l = hp_fma_f64(l, t, -0x1.10115a88aef46p-19);
    l = hp_fma_f64(l, t, 0x1.4192a98054b71p-17);
    l = hp_fma_f64(l, t, -0x1.c769086d42b0cp-16);
    l = hp_fma_f64(l, t, 0x1.b8c453b24ae7p-16);
    l = hp_fma_f64(l, t, 0x1.f1b485cc2f7a5p-13);
    l = hp_fma_f64(l, t, -0x1.033f68ef17656p-9);
    l = hp_fma_f64(l, t, 0x1.48c9d406e118ep-7);
    l = hp_fma_f64(l, t, -0x1.5477f09c90d27p-5);
    l = hp_fma_f64(l, t, -0x1.afabc11a29027p-1);
    l = hp_fma_f64(l, t, -0x1.51c9b0006c23cp+1);
    l = hp_fma_f64(l, t, -0x1.d97fbf27aa2a1p+0);
    return 1.0 - hp_exp_f64(l);
}

static inline double hp_erf_f64(double x)
{
    double size = fabs(x);
    return size < 1.0 ? hp_erf_small_f64(x) : copysign(hp_erf_large_f64(size), x);
}

#endif

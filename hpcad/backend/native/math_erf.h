/* The error function. */
#ifndef HPCAD_MATH_ERF_H
#define HPCAD_MATH_ERF_H

#include "math_bits.h"
#include "math_exp.h"

/* Below 1: x + x p(x^2). Above: 1 - exp(l(|x| - 1)), l a fit of log(erfc), which need not be more
 * accurate than 1 is against what is taken from it. Minimax fits: both errors are below 2^-29 of
 * the result (float), 2^-62 (double). */

HP_INLINE float hp_erf_small_f32(float x)
{
    float z = x * x;
    float p = 0x1.496a3ep-14f;
    p = hp_fma_f32(p, z, -0x1.a3f7p-11f);
    p = hp_fma_f32(p, z, 0x1.5405b2p-8f);
    p = hp_fma_f32(p, z, -0x1.b7f90cp-6f);
    p = hp_fma_f32(p, z, 0x1.ce2cf8p-4f);
    p = hp_fma_f32(p, z, -0x1.81273ep-2f);
    p = hp_fma_f32(p, z, 0x1.06eba8p-3f);
    return hp_fma_f32(p, x, x);
}

HP_INLINE float hp_erf_large_f32(float size)
{
    float t = (size > 3.95f ? 3.95f : size) - 1.0f;
    float l = 0x1.86d732p-13f;
    l = hp_fma_f32(l, t, -0x1.df8ce6p-10f);
    l = hp_fma_f32(l, t, 0x1.4440bp-7f);
    l = hp_fma_f32(l, t, -0x1.53ff16p-5f);
    l = hp_fma_f32(l, t, -0x1.afad1cp-1f);
    l = hp_fma_f32(l, t, -0x1.51c9aap+1f);
    l = hp_fma_f32(l, t, -0x1.d97fcp+0f);
    float shifted = hp_fma_f32(l, HP_LOG2_E_F32, HP_ROUND_F32); /* l > -18: no bounds to watch */
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_LOW_F32, hp_fma_f32(n, -HP_LN2_HIGH_F32, l));
    return 1.0f - hp_scale_normal_f32(hp_exp_near_0_f32(r), shifted);
}

HP_INLINE float hp_erf_f32(float x)
{
    float size = fabsf(x);
    float large = copysignf(hp_erf_large_f32(size), x);
    return size < 1.0f ? hp_erf_small_f32(x) : large;
}

HP_INLINE double hp_erf_small_f64(double x)
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

HP_INLINE double hp_erf_large_f64(double size)
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

HP_INLINE double hp_erf_f64(double x)
{
    double size = fabs(x);
    double large = copysign(hp_erf_large_f64(size), x);
    return size < 1.0 ? hp_erf_small_f64(x) : large;
}

#endif

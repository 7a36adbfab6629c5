/* The complement of the error function.
 *
 * erfc(a) = exp(-a^2) q(t) / (1 + 2a) for a >= 0, t = (a - c) / (a + c): q varies between 1 and 1.3
 * only, and is a minimax fit (Remez exchange in 40 digits) of relative error 2^-27 (float), 2^-56
 * (double) as far as the result is not 0. Of all c near the best the one is taken for which q(0) is
 * a number (to 2^-35, 2^-62): rounding it would cost more than all else. What rounding takes from
 * a^2 and from 1 + 2a is put back. Below 0.47, 1 - erf(a) is better still.
 */
#ifndef HPCAD_MATH_ERFC_H
#define HPCAD_MATH_ERFC_H

#include "math_bits.h"
#include "math_erf.h"
#include "math_exp.h"

HP_INLINE float hp_erfc_rest_f32(float t)
{
    float q = -0x1.e2f55ap-13f;
    q = hp_fma_f32(q, t, -0x1.15eae2p-12f);
    q = hp_fma_f32(q, t, 0x1.1bf5ep-9f);
    q = hp_fma_f32(q, t, -0x1.49f2dep-11f);
    q = hp_fma_f32(q, t, -0x1.1097dcp-6f);
    q = hp_fma_f32(q, t, 0x1.ee2f04p-5f);
    q = hp_fma_f32(q, t, -0x1.e1254ep-4f);
    q = hp_fma_f32(q, t, 0x1.1a84f2p-3f);
    q = hp_fma_f32(q, t, -0x1.e90c42p-5f);
    q = hp_fma_f32(q, t, -0x1.10c854p-3f);
    return q * t;
}

HP_INLINE float hp_erfc_f32(float x)
{
    float size = fabsf(x), a = size > 11.0f ? 11.0f : size; /* from there on it is 0 */
    float p = hp_erfc_rest_f32((a - 0x1.6fp+1f) / (a + 0x1.6fp+1f));
    float q = 0x1.418ca2p+0f + p, q_rest = (0x1.418ca2p+0f - q) + p;
    float below = 1.0f + 2.0f * a, below_rest = (1.0f - below) + 2.0f * a;
    float inverse = 1.0f / below;
    float y = q * inverse, y_rest = hp_product_rest_f32(q, inverse, y) + q_rest * inverse;
    float square = a * a, square_rest = hp_product_rest_f32(a, a, square);
    float shifted = hp_fma_f32(square, -HP_LOG2_E_F32, HP_ROUND_F32);
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_HIGH_F32, -square);
    r = hp_fma_f32(n, -HP_LN2_LOW_F32, r) - square_rest;
    /* 1 / (1 + 2a) is (1 + inverse_rest) times what is here its inverse. */
    float inverse_rest = hp_less_product_f32(1.0f, below, inverse) - below_rest * inverse;
    float more = hp_exp_less_1_f32(r) + inverse_rest;
    y = hp_scale_f32(y + hp_fma_f32(y, more, y_rest), shifted);
    y = x < 0.0f ? 2.0f - y : y;
    return size < 0.47f ? 1.0f - hp_erf_small_f32(x) : y;
}

HP_INLINE double hp_erfc_rest_f64(double t)
{
    double q = 0x1.77160355a8234p-30;
    q = hp_fma_f64(q, t, 0x1.9851ad2bb238bp-28);
    q = hp_fma_f64(q, t, -0x1.677eaaa9a4e77p-28);
    q = hp_fma_f64(q, t, -0x1.b1206b7ed5cb5p-25);
    q = hp_fma_f64(q, t, 0x1.6f2d02fe68455p-25);
    q = hp_fma_f64(q, t, 0x1.5829637d5dbfcp-22);
    q = hp_fma_f64(q, t, -0x1.44abfcdaf2f4p-21);
    q = hp_fma_f64(q, t, -0x1.a6da4042c9a03p-20);
    q = hp_fma_f64(q, t, 0x1.db1d5880132f9p-18);
    q = hp_fma_f64(q, t, -0x1.88e1051b2f503p-21);
    q = hp_fma_f64(q, t, -0x1.e2f21a4aa2ee5p-15);
    q = hp_fma_f64(q, t, 0x1.4e7b410a88aabp-13);
    q = hp_fma_f64(q, t, 0x1.026aec0aa71c2p-15);
    q = hp_fma_f64(q, t, -0x1.b9af35546b2a9p-10);
    q = hp_fma_f64(q, t, 0x1.d938bd045196fp-8);
    q = hp_fma_f64(q, t, -0x1.454956b1db911p-6);
    q = hp_fma_f64(q, t, 0x1.5445e9ffd35c9p-5);
    q = hp_fma_f64(q, t, -0x1.1cc68456d2254p-4);
    q = hp_fma_f64(q, t, 0x1.7f11ebc674f21p-4);
    q = hp_fma_f64(q, t, -0x1.8b3402eef61d9p-4);
    q = hp_fma_f64(q, t, 0x1.f349236fdb4bap-5);
    q = hp_fma_f64(q, t, 0x1.5656e51f04136p-6);
    q = hp_fma_f64(q, t, -0x1.1cb60cea360f4p-3);
    return q * t;
}

HP_INLINE double hp_erfc_f64(double x)
{
    double size = fabs(x), a = size > 28.0 ? 28.0 : size; /* from there on it is 0 */
    double p = hp_erfc_rest_f64((a - 0x1.08ap+2) / (a + 0x1.08ap+2));
    double q = 0x1.3b0e46c33d5edp+0 + p, q_rest = (0x1.3b0e46c33d5edp+0 - q) + p;
    double below = 1.0 + 2.0 * a, below_rest = (1.0 - below) + 2.0 * a;
    double inverse = 1.0 / below;
    double y = q * inverse, y_rest = hp_product_rest_f64(q, inverse, y) + q_rest * inverse;
    double square = a * a, square_rest = hp_product_rest_f64(a, a, square);
    double shifted = hp_fma_f64(square, -HP_LOG2_E_F64, HP_ROUND_F64);
    double n = shifted - HP_ROUND_F64;
    double r = hp_fma_f64(n, -HP_LN2_HIGH_F64, -square);
    r = hp_fma_f64(n, -HP_LN2_LOW_F64, r) - square_rest;
    /* 1 / (1 + 2a) is (1 + inverse_rest) times what is here its inverse. */
    double inverse_rest = hp_less_product_f64(1.0, below, inverse) - below_rest * inverse;
    double more = hp_exp_less_1_f64(r) + inverse_rest;
    y = hp_scale_f64(y + hp_fma_f64(y, more, y_rest), shifted);
    y = x < 0.0 ? 2.0 - y : y;
    return size < 0.47 ? 1.0 - hp_erf_small_f64(x) : y;
}

#endif

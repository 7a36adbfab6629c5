/* exp, exp2, expm1.
 *
 * x = n ln 2 + r with an integer n and |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 q(r). The polynomials
 * q are minimax fits (Remez exchange in 50 digits) of the relative error of the result, below 2^-28
 * (float), 2^-57 (double); of expm1 below 2^-31 and 2^-61.
 */
#ifndef HPCAD_MATH_EXP_H
#define HPCAD_MATH_EXP_H

#include "math_bits.h"

/* ln 2 in two parts; integers of this range times the first are exact. */
#define HP_LN2_HIGH_F32 0x1.62e4p-1f
#define HP_LN2_LOW_F32 0x1.7f7d1cp-20f
#define HP_LN2_HIGH_F64 0x1.62e42fefa3p-1
#define HP_LN2_LOW_F64 0x1.3de6af278ece6p-42
#define HP_LOG2_E_F32 0x1.715476p+0f
#define HP_LOG2_E_F64 0x1.71547652b82fep+0

/* -- exp(r) and exp(r) - 1 for |r| <= ln 2 / 2 ------------------------------------------------- */

HP_INLINE float hp_exp_less_1_f32(float r)
{
    float q = 0x1.6a23c4p-10f;
    q = hp_fma_f32(q, r, 0x1.1239f4p-7f);
    q = hp_fma_f32(q, r, 0x1.5558f2p-5f);
    q = hp_fma_f32(q, r, 0x1.555492p-3f);
    q = hp_fma_f32(q, r, 0x1.fffffcp-2f);
    return hp_fma_f32(q, r * r, r);
}

HP_INLINE float hp_exp_near_0_f32(float r) { return hp_exp_less_1_f32(r) + 1.0f; }

HP_INLINE double hp_exp_less_1_f64(double r)
{
    double q = 0x1.ad7f27203f702p-26;
    q = hp_fma_f64(q, r, 0x1.28ad7d0d1fcbbp-22);
    q = hp_fma_f64(q, r, 0x1.71df2591b92a3p-19);
    q = hp_fma_f64(q, r, 0x1.a0199a01e7f31p-16);
    q = hp_fma_f64(q, r, 0x1.a01a012a337f5p-13);
    q = hp_fma_f64(q, r, 0x1.6c16c1842dae3p-10);
    q = hp_fma_f64(q, r, 0x1.1111111127c66p-7);
    q = hp_fma_f64(q, r, 0x1.555555555086dp-5);
    q = hp_fma_f64(q, r, 0x1.55555555554fap-3);
    q = hp_fma_f64(q, r, 0x1.000000000000ap-1);
    return hp_fma_f64(q, r * r, r);
}

HP_INLINE double hp_exp_near_0_f64(double r) { return hp_exp_less_1_f64(r) + 1.0; }

/* -- exp -------------------------------------------------------------------------------------- */

/* Below the first bound the result is 0, and the argument is replaced by one whose 2^n is 0 itself
 * (see hp_scale_f32): a product that underflows takes ten times as long, and exp(-inf) is frequent
 * in masked scores. Above the second it is infinite, and what was computed is of no use. Said at
 * the two ends because compilers make one clumsy condition of two neighbours. NaN passes both. */
HP_INLINE float hp_exp_f32(float x)
{
    float a = x < -104.0f ? -176.0f : x;
    float shifted = hp_fma_f32(a, HP_LOG2_E_F32, HP_ROUND_F32);
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_LOW_F32, hp_fma_f32(n, -HP_LN2_HIGH_F32, a));
    float y = hp_scale_f32(hp_exp_near_0_f32(r), shifted);
    return x > 89.0f ? INFINITY : y;
}

HP_INLINE double hp_exp_f64(double x)
{
    double a = x < -746.0 ? -1418.0 : x;
    double shifted = hp_fma_f64(a, HP_LOG2_E_F64, HP_ROUND_F64);
    double n = shifted - HP_ROUND_F64;
    double r = hp_fma_f64(n, -HP_LN2_LOW_F64, hp_fma_f64(n, -HP_LN2_HIGH_F64, a));
    double y = hp_scale_f64(hp_exp_near_0_f64(r), shifted);
    return x > 710.0 ? INFINITY : y;
}

/* -- exp2 ------------------------------------------------------------------------------------- */

HP_INLINE float hp_exp2_f32(float x)
{
    float a = x < -151.0f ? -254.0f : x;
    float shifted = a + HP_ROUND_F32;
    float r = (a - (shifted - HP_ROUND_F32)) * 0x1.62e43p-1f;
    float y = hp_scale_f32(hp_exp_near_0_f32(r), shifted);
    return x > 129.0f ? INFINITY : y;
}

HP_INLINE double hp_exp2_f64(double x)
{
    double a = x < -1076.0 ? -2046.0 : x;
    double shifted = a + HP_ROUND_F64;
    double r = (a - (shifted - HP_ROUND_F64)) * 0x1.62e42fefa39efp-1;
    double y = hp_scale_f64(hp_exp_near_0_f64(r), shifted);
    return x > 1025.0 ? INFINITY : y;
}

/* -- expm1 ------------------------------------------------------------------------------------ */

/* 2^n expm1(r) + (2^n - 1), made of halves because 2^128 overflows where the result does not. Below
 * -30 (-60) the result is -1 already; tiny numbers keep their sign and their last bits. */
HP_INLINE float hp_expm1_f32(float x)
{
    float shifted = hp_fma_f32(x, HP_LOG2_E_F32, HP_ROUND_F32);
    float n = shifted - HP_ROUND_F32;
    float r = hp_fma_f32(n, -HP_LN2_LOW_F32, hp_fma_f32(n, -HP_LN2_HIGH_F32, x));
    float q = 0x1.a1a164p-13f;
    q = hp_fma_f32(q, r, 0x1.6d749cp-10f);
    q = hp_fma_f32(q, r, 0x1.11109p-7f);
    q = hp_fma_f32(q, r, 0x1.5554aep-5f);
    q = hp_fma_f32(q, r, 0x1.555556p-3f);
    q = hp_fma_f32(q, r, 0.5f);
    float p = hp_fma_f32(q, r * r, r);
    float half = hp_float_f32((hp_bits_f32(shifted) - hp_bits_f32(HP_ROUND_F32) + 126) << 23);
    float y = hp_fma_f32(half, p, half - 0.5f);
    y = fabsf(x) < 0x1p-26f ? x : y + y;
    y = x > 89.0f ? INFINITY : y;
    return x < -30.0f ? -1.0f : y;
}

HP_INLINE double hp_expm1_f64(double x)
{
    double shifted = hp_fma_f64(x, HP_LOG2_E_F64, HP_ROUND_F64);
    double n = shifted - HP_ROUND_F64;
    double r = hp_fma_f64(n, -HP_LN2_LOW_F64, hp_fma_f64(n, -HP_LN2_HIGH_F64, x));
    double q = 0x1.1f95807a6ce19p-29;
    q = hp_fma_f64(q, r, 0x1.af5ecd92d5ec2p-26);
    q = hp_fma_f64(q, r, 0x1.27e4c58be902ep-22);
    q = hp_fma_f64(q, r, 0x1.71ddf84be179dp-19);
    q = hp_fma_f64(q, r, 0x1.a01a01b0c1ef9p-16);
    q = hp_fma_f64(q, r, 0x1.a01a01afe7f4cp-13);
    q = hp_fma_f64(q, r, 0x1.6c16c16c14429p-10);
    q = hp_fma_f64(q, r, 0x1.111111110f6a8p-7);
    q = hp_fma_f64(q, r, 0x1.555555555555ap-5);
    q = hp_fma_f64(q, r, 0x1.5555555555559p-3);
    q = hp_fma_f64(q, r, 0.5);
    double p = hp_fma_f64(q, r * r, r);
    double half = hp_float_f64((hp_bits_f64(shifted) - hp_bits_f64(HP_ROUND_F64) + 1022) << 52);
    double y = hp_fma_f64(half, p, half - 0.5);
    y = fabs(x) < 0x1p-55 ? x : y + y;
    y = x > 710.0 ? INFINITY : y;
    return x < -60.0 ? -1.0 : y;
}

#endif

/* cbrt, hypot. */
#ifndef HPCAD_MATH_ROOTS_H
#define HPCAD_MATH_ROOTS_H

#include "math_bits.h"

/* -- cbrt -------------------------------------------------------------------------------------
 *
 * A third of the bits of x, taken from a constant, is 1 / cbrt(x) to 4 %, as the bits of a number
 * are nearly its logarithm. With h = 1 - x y^3, 1 / cbrt(x) = y (1 - h)^(-1/3): a minimax fit for
 * |h| < 0.1035 makes y good to 2^-14 (float), 2^-18 (double). For t = x y^2 and h = 1 - t y, now
 * tiny, cbrt(x) = t (1 - h)^(-2/3) = t (1 + 2h/3 + 5h^2/9 + 40h^3/81 + ...). Of subnormal numbers
 * the bits are no logarithm: they are multiplied by a power of two. */

HP_INLINE float hp_cbrt_f32(float x)
{
    float size = fabsf(x), scale = size < 0x1p-126f ? 0x1p24f : 1.0f;
    float a = size * scale;
    float bits = hp_fma_f32((float)(int32_t)hp_bits_f32(a), -0x1.555556p-2f, 0x54a20000p0f);
    float y = hp_float_f32((uint32_t)(int32_t)bits);
    float h = hp_fma_f32(-(a * y), y * y, 1.0f);
    float p = hp_fma_f32(hp_fma_f32(0x1.ca7498p-3f, h, 0x1.56c3dp-2f), h, 0x1.ffffacp-1f);
    y *= p;
    float t = a * (y * y);
    h = hp_fma_f32(-t, y, 1.0f);
    t = hp_fma_f32(t * h, hp_fma_f32(h, 0x1.1c71c8p-1f, 0x1.555556p-1f), t);
    /* 2^24 -> 2^-8 */
    t *= size < 0x1p-126f ? 0x1p-8f : 1.0f;
    return copysignf(size < INFINITY ? t : size, x);
}

/* The bits, without the last 20, as the lowest of 2^52, as AVX2 cannot convert such integers. */
HP_INLINE double hp_cbrt_f64(double x)
{
    double size = fabs(x), scale = size < 0x1p-1022 ? 0x1p54 : 1.0;
    double a = size * scale;
    double bits = hp_float_f64(hp_bits_f64(a) >> 20 | 0x4330000000000000u);
    bits = hp_fma_f64(bits, -0x1.5555555555555p-2, 0x1.55aa943ffffffp+52);
    double y = hp_float_f64(hp_bits_f64(bits) << 20);
    double h = hp_fma_f64(-(a * y), y * y, 1.0);
    double p = hp_fma_f64(0x1.65970c56b62e4p-3, h, 0x1.ca4bde14d2ae1p-3);
    p = hp_fma_f64(hp_fma_f64(p, h, 0x1.5553fb2571f3dp-2), h, 0x1.ffffb9e491f1p-1);
    y *= p;
    double t = a * (y * y);
    h = hp_fma_f64(-t, y, 1.0);
    p = hp_fma_f64(0x1.f9add3c0ca458p-2, h, 0x1.1c71c71c71c72p-1);
    p = hp_fma_f64(p, h, 0x1.5555555555555p-1);
    t = hp_fma_f64(t * h, p, t);
    t *= size < 0x1p-1022 ? 0x1p-18 : 1.0;
    return copysign(size < INFINITY ? t : size, x);
}

/* -- hypot ------------------------------------------------------------------------------------ */

HP_INLINE float hp_hypot_f32(float x, float y)
{
    double a = x, b = y;
    float h = (float)sqrt(a * a + b * b);
    return (fabsf(x) == INFINITY) | (fabsf(y) == INFINITY) ? INFINITY : h;
}

/* The squares must neither overflow nor lose bits. */
HP_INLINE double hp_hypot_f64(double x, double y)
{
    double a = fabs(x), b = fabs(y);
    double size = a > b ? a : b;
    double scale = size > 0x1p500 ? 0x1p-600 : size < 0x1p-400 ? 0x1p600 : 1.0;
    double back = hp_float_f64(0x7fe0000000000000u - hp_bits_f64(scale));
    double s = a * scale, t = b * scale;
    double h = sqrt(hp_fma_f64(s, s, t * t)) * back;
    return (a == INFINITY) | (b == INFINITY) ? INFINITY : h;
}

#endif

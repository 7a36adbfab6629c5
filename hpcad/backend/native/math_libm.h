/* Functions taken from the C library: accurate, but one element at a time. */
#ifndef HPCAD_MATH_LIBM_H
#define HPCAD_MATH_LIBM_H

#include <math.h>

#define HP_LIBM_1(name, function)                                                                  \
    static inline float hp_##name##_f32(float x) { return function##f(x); }                        \
    static inline double hp_##name##_f64(double x) { return function(x); }
#define HP_LIBM_2(name, function)                                                                  \
    static inline float hp_##name##_f32(float x, float y) { return function##f(x, y); }            \
    static inline double hp_##name##_f64(double x, double y) { return function(x, y); }

HP_LIBM_1(cbrt, cbrt)
HP_LIBM_1(erfc, erfc)
HP_LIBM_1(gamma, tgamma)
HP_LIBM_1(gammaln, lgamma)
HP_LIBM_1(asinh, asinh)
HP_LIBM_1(acosh, acosh)
HP_LIBM_1(atanh, atanh)
HP_LIBM_2(power, pow)
HP_LIBM_2(hypot, hypot)

#undef HP_LIBM_1
#undef HP_LIBM_2

#endif

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

HP_LIBM_1(gamma, tgamma)
HP_LIBM_1(gammaln, lgamma)
HP_LIBM_2(power, pow)

#undef HP_LIBM_1
#undef HP_LIBM_2

#endif

/* Functions taken from the C library: accurate, but one element at a time. */
#ifndef HPCAD_MATH_LIBM_H
#define HPCAD_MATH_LIBM_H

#include <math.h>

#define HP_LIBM_1(name, function)                                                                  \
    HP_INLINE float hp_##name##_f32(float x) { return function##f(x); }                            \
    HP_INLINE double hp_##name##_f64(double x) { return function(x); }
HP_LIBM_1(gamma, tgamma)
HP_LIBM_1(gammaln, lgamma)

#undef HP_LIBM_1

#endif

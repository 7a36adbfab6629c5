/* Scalar functions of kernels, written so that a compiler turns loops over them into SIMD code.
 *
 * hp_<name>_f32 and hp_<name>_f64. Results at 0, -0, infinities, NaN, subnormal numbers, overflow
 * and underflow are NumPy's. They are free of branches, tables and calls, so that nothing keeps a
 * compiler from doing a register full of elements at a time.
 *
 * Largest error measured, in units in the last place. f32: every number there is, against f64, and
 * twenty million pairs; f64: five million numbers of every exponent against long double, and 45 000
 * of erf against 40 digits.
 * tests/backend/native/test_vectormath.py holds these bounds, and 1.2 more where the processor has
 * no fused multiply-add:
 *
 *              f32    f64                     f32    f64                     f32    f64
 *   exp        1.1    1.1      sin        1.8    1.7      sinh       2.0    2.2
 *   exp2       1.1    1.2      cos        1.8    1.7      cosh       1.9    1.7
 *   expm1      1.6    1.8      tan        2.8    2.2      tanh       2.6    2.6
 *   log        1.0    1.0      asin       1.7    1.8      asinh      2.0    1.7
 *   log2       1.3    1.1      acos       1.2    1.2      acosh      2.5    2.5
 *   log10      1.3    1.0      atan       1.3    1.3      atanh      2.2    2.0
 *   log1p      1.6    1.6      atan2      1.6    1.6      sigmoid    2.5    2.5
 *   cbrt       1.0    1.0      hypot      0.6    1.2      erf        1.1    1.1
 *   power      1.1    1.0                                 erfc       2.5    2.2
 *
 * The others (math_libm.h) are the C library's, one element at a time, and so are sin, cos and tan
 * of large numbers (math_trig.h).
 */
#ifndef HPCAD_VECTORMATH_H
#define HPCAD_VECTORMATH_H

#include "math_arcs.h"
#include "math_bits.h"
#include "math_erf.h"
#include "math_erfc.h"
#include "math_exp.h"
#include "math_libm.h"
#include "math_log.h"
#include "math_power.h"
#include "math_roots.h"
#include "math_sinh.h"
#include "math_tanh.h"
#include "math_trig.h"

#endif

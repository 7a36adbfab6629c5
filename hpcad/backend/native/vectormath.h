/* Scalar functions of kernels, written so that a compiler turns loops over them into SIMD code.
 *
 * hp_<name>_f32 and hp_<name>_f64. Results at 0, -0, infinities, NaN, subnormal numbers, overflow
 * and underflow are NumPy's. They are free of branches, tables and calls, so that nothing keeps a
 * compiler from doing a register full of elements at a time.
 *
 * Largest error measured, in units in the last place. f32: every number there is, against f64; f64:
 * five million numbers of every exponent against long double, and 45 000 of erf against 40 digits.
 * tests/backend/native/test_vectormath.py holds these bounds, and 1 more where the processor has no
 * fused multiply-add:
 *
 *              f32    f64                     f32    f64
 *   exp        1.1    1.1      log            1.0    1.0
 *   exp2       1.1    1.2      log2           1.3    1.2
 *   expm1      1.6    1.8      log1p          1.6    1.6
 *   tanh       2.6    2.6      erf            1.1    1.1
 *   sigmoid    2.5    2.5
 *
 * The others (math_libm.h) are the C library's, one element at a time.
 */
#ifndef HPCAD_VECTORMATH_H
#define HPCAD_VECTORMATH_H

#include "math_bits.h"
#include "math_erf.h"
#include "math_exp.h"
#include "math_libm.h"
#include "math_log.h"
#include "math_tanh.h"

#endif

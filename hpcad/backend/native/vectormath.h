/* Scalar functions of kernels, written so that a compiler turns loops over them into SIMD code.
 *
 * hp_<name>_f32 and hp_<name>_f64; those of math_numbers.h exist for i32 and i64, too. Results at
 * 0, -0, infinities, NaN, subnormal numbers, overflow and underflow are NumPy's. They are free of
 * branches and tables; where the compiler would need -ffast-math, the code says it in another way.
 *
 * Largest error measured against 160-bit or long double arithmetic, in units in the last place
 * (tests/backend/native/test_vectormath.py holds them; f32 over every exponent):
 *
 *              f32    f64                     f32    f64
 *   exp        1.0    1.0      log            1.0    1.0
 *   exp2       1.5    1.5      log2           2.0    2.0
 *   expm1      2.0    2.0      log1p          2.0    2.0
 *   tanh       3.0    3.0      erf            3.0    3.0
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
#include "math_numbers.h"
#include "math_tanh.h"

#endif

/* Comparisons, roundings and remainders with NumPy's meaning, NaN and division by 0 included. */
#ifndef HPCAD_MATH_NUMBERS_H
#define HPCAD_MATH_NUMBERS_H

#include <math.h>
#include <stdint.h>

#include "math_bits.h"

/* -- floating point --------------------------------------------------------------------------- */

/* T: the type; S: its suffix here; F: its suffix in the C library. */
#define HP_FLOATING(T, S, F)                                                                       \
    /* maximum, minimum: NaN wins. */                                                              \
    static inline T hp_max_##S(T x, T y) { return (x > y) | (x != x) ? x : y; }                    \
    static inline T hp_min_##S(T x, T y) { return (x < y) | (x != x) ? x : y; }                    \
    /* fmax, fmin: NaN loses. */                                                                   \
    static inline T hp_fmax_##S(T x, T y) { return (x >= y) | (y != y) ? x : y; }                  \
    static inline T hp_fmin_##S(T x, T y) { return (x <= y) | (y != y) ? x : y; }                  \
    static inline T hp_relu_##S(T x) { return x <= 0 ? (T)0 : x; }                                 \
    static inline T hp_abs_##S(T x) { return fabs##F(x); }                                         \
    static inline T hp_copysign_##S(T x, T y) { return copysign##F(x, y); }                        \
    static inline T hp_sign_##S(T x) { return x > 0 ? (T)1 : x < 0 ? (T)-1 : x == 0 ? (T)0 : x; }  \
    static inline T hp_heaviside_##S(T x, T y)                                                     \
    {                                                                                              \
        T side = x > 0 ? (T)1 : x < 0 ? (T)0 : x;                                                  \
        return x == 0 ? y : side;                                                                  \
    }                                                                                              \
    static inline T hp_ceil_##S(T x) { return ceil##F(x); }                                        \
    static inline T hp_floor_##S(T x) { return floor##F(x); }                                      \
    static inline T hp_trunc_##S(T x) { return trunc##F(x); }                                      \
    static inline T hp_rint_##S(T x) { return rint##F(x); }                                        \
    static inline int hp_isnan_##S(T x) { return x != x; }                                         \
    static inline int hp_isinf_##S(T x) { return fabs##F(x) == (T)INFINITY; }                      \
    static inline int hp_isfinite_##S(T x) { return fabs##F(x) < (T)INFINITY; }                    \
    static inline int hp_signbit_##S(T x) { return hp_bits_##S(x) >> (8 * sizeof(T) - 1) != 0; }   \
    /* Products and quotients in which a 0 beats infinity and NaN. */                              \
    static inline T hp_masked_multiply_##S(T g, T y) { return g == 0 ? (T)0 : g * y; }             \
    static inline T hp_masked_divide_##S(T g, T y) { return g == 0 ? (T)0 : g / y; }               \
    static inline T hp_zero_multiply_##S(T x, T y) { return (x == 0) | (y == 0) ? (T)0 : x * y; }  \
    /* The remainder has the sign of the divisor. */                                               \
    static inline T hp_remainder_##S(T x, T y)                                                     \
    {                                                                                              \
        T rest = fmod##F(x, y);                                                                    \
        if (y == 0)                                                                                \
            return rest;                                                                           \
        if (rest == 0)                                                                             \
            return copysign##F((T)0, y);                                                           \
        return (y < 0) != (rest < 0) ? rest + y : rest;                                            \
    }                                                                                              \
    /* The quotient that goes with it; of and by infinities, the floor of the quotient. */         \
    static inline T hp_floor_divide_##S(T x, T y)                                                  \
    {                                                                                              \
        T ratio = x / y;                                                                           \
        if (y == 0)                                                                                \
            return ratio;                                                                          \
        if ((fabs##F(x) == (T)INFINITY) | (fabs##F(y) == (T)INFINITY))                             \
            return floor##F(ratio);                                                                \
        T rest = fmod##F(x, y), whole = (x - rest) / y;                                            \
        if (rest != 0 && (y < 0) != (rest < 0))                                                    \
            whole -= 1;                                                                            \
        if (whole == 0)                                                                            \
            return copysign##F((T)0, ratio);                                                       \
        T down = floor##F(whole);                                                                  \
        return whole - down > (T)0.5 ? down + 1 : down;                                            \
    }

HP_FLOATING(float, f32, f)
HP_FLOATING(double, f64, )
#undef HP_FLOATING

/* -- integers --------------------------------------------------------------------------------- */

/* T: the type; U: the same without sign, in which overflow wraps around; S: the suffix. */
#define HP_INTEGER(T, U, S)                                                                        \
    static inline T hp_max_##S(T x, T y) { return x > y ? x : y; }                                 \
    static inline T hp_min_##S(T x, T y) { return x < y ? x : y; }                                 \
    static inline T hp_relu_##S(T x) { return x > 0 ? x : 0; }                                     \
    static inline T hp_abs_##S(T x) { return x < 0 ? (T)(0 - (U)x) : x; }                          \
    static inline T hp_sign_##S(T x) { return (T)((x > 0) - (x < 0)); }                            \
    static inline T hp_remainder_##S(T x, T y)                                                     \
    {                                                                                              \
        if ((y == 0) | (y == -1)) /* by 0 NumPy says 0; the smallest by -1 would trap */           \
            return 0;                                                                              \
        T rest = x % y;                                                                            \
        return (rest != 0) & ((rest < 0) != (y < 0)) ? rest + y : rest;                            \
    }                                                                                              \
    static inline T hp_floor_divide_##S(T x, T y)                                                  \
    {                                                                                              \
        if (y == 0)                                                                                \
            return 0;                                                                              \
        if (y == -1)                                                                               \
            return (T)(0 - (U)x);                                                                  \
        return x / y - ((x % y != 0) & ((x < 0) != (y < 0)));                                      \
    }

HP_INTEGER(int32_t, uint32_t, i32)
HP_INTEGER(int64_t, uint64_t, i64)
#undef HP_INTEGER

#endif

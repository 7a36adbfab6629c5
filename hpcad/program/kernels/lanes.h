/* Reductions in 16 or 32 lanes, and from the lanes to one number.
 *
 * Compilers add the lanes of a vector one after the other unless they may reorder all arithmetic;
 * halving takes a quarter of the time. And the result does not depend on the width of vectors.
 */
#ifndef HPCAD_LANES_H
#define HPCAD_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* -- the larger and the smaller of two; NaN wins ------------------------------------------------ */

#define HP_FLOATING(T, S)                                                                          \
    static inline T hp_larger_##S(T a, T b) { return (a > b) | (a != a) ? a : b; }                 \
    static inline T hp_smaller_##S(T a, T b) { return (a < b) | (a != a) ? a : b; }
#define HP_INTEGER(T, S)                                                                           \
    static inline T hp_larger_##S(T a, T b) { return a > b ? a : b; }                              \
    static inline T hp_smaller_##S(T a, T b) { return a < b ? a : b; }

HP_FLOATING(float, f32)
HP_FLOATING(double, f64)
HP_INTEGER(int32_t, i32)
HP_INTEGER(int64_t, i64)
#undef HP_FLOATING
#undef HP_INTEGER

/* The reductions `max` and `min` that come with OpenMP do not see NaN, and begin with the largest
 * finite number (clang), which is no infinity. */
/* clang-format off */
#pragma omp declare reduction(hp_larger_f32 : float : omp_out = hp_larger_f32(omp_in, omp_out)) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(hp_larger_f64 : double : omp_out = hp_larger_f64(omp_in, omp_out)) initializer(omp_priv = -INFINITY)
#pragma omp declare reduction(hp_smaller_f32 : float : omp_out = hp_smaller_f32(omp_in, omp_out)) initializer(omp_priv = INFINITY)
#pragma omp declare reduction(hp_smaller_f64 : double : omp_out = hp_smaller_f64(omp_in, omp_out)) initializer(omp_priv = INFINITY)
/* clang-format on */

/* -- halving ------------------------------------------------------------------------------------ */

#define HP_HALVE(T, COUNT, EXPRESSION)                                                             \
    _Pragma("omp simd")                                                                            \
    for (int l = 0; l < (COUNT); l++) {                                                            \
        const T a = z[l], b = z[l + (COUNT)];                                                      \
        z[l] = (EXPRESSION);                                                                       \
    }

#define HP_PAIRWISE(NAME, T, EXPRESSION)                                                           \
    static inline T NAME(T *z, int lanes)                                                          \
    {                                                                                              \
        if (lanes == 32)                                                                           \
            HP_HALVE(T, 16, EXPRESSION)                                                            \
        HP_HALVE(T, 8, EXPRESSION)                                                                 \
        HP_HALVE(T, 4, EXPRESSION)                                                                 \
        HP_HALVE(T, 2, EXPRESSION)                                                                 \
        HP_HALVE(T, 1, EXPRESSION)                                                                 \
        return z[0];                                                                               \
    }

#define HP_REDUCTIONS(T, S)                                                                        \
    HP_PAIRWISE(hp_lanes_sum_##S, T, a + b)                                                        \
    HP_PAIRWISE(hp_lanes_max_##S, T, hp_larger_##S(a, b))                                          \
    HP_PAIRWISE(hp_lanes_min_##S, T, hp_smaller_##S(a, b))

HP_REDUCTIONS(float, f32)
HP_REDUCTIONS(double, f64)
HP_REDUCTIONS(int32_t, i32)
HP_REDUCTIONS(int64_t, i64)
HP_PAIRWISE(hp_lanes_any_i32, int32_t, a | b)
HP_PAIRWISE(hp_lanes_all_i32, int32_t, a & b)

#undef HP_HALVE
#undef HP_PAIRWISE
#undef HP_REDUCTIONS

/* -- numbers that the compiler is not to know ---------------------------------------------------- */

static inline float hp_unknown_f32(float x)
{
    volatile float hidden = x;
    return hidden;
}

static inline double hp_unknown_f64(double x)
{
    volatile double hidden = x;
    return hidden;
}

/* -- choices by a mask (all bits or none) ------------------------------------------------------- */

/* From conditions gcc would make branches, and then not vectorise. */
#define HP_CHOICE(T, B, S)                                                                         \
    static inline T hp_chosen_##S(int32_t mask, T x, T y)                                          \
    {                                                                                              \
        B a, b;                                                                                    \
        memcpy(&a, &x, sizeof a);                                                                  \
        memcpy(&b, &y, sizeof b);                                                                  \
        a = (a & (B)mask) | (b & ~(B)mask);                                                        \
        memcpy(&x, &a, sizeof x);                                                                  \
        return x;                                                                                  \
    }

HP_CHOICE(float, int32_t, f32)
HP_CHOICE(double, int64_t, f64)
HP_CHOICE(int32_t, int32_t, i32)
HP_CHOICE(int64_t, int64_t, i64)
HP_CHOICE(uint8_t, uint8_t, b)
HP_CHOICE(uint16_t, uint16_t, half)
#undef HP_CHOICE

#endif

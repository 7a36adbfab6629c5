/* Scalar functions of the table of elementwise primitives that are no single expression.
 *
 * Called hpk_<name>_<type>. They stand on those of vectormath.h (hp_exp_f32, hp_log1p_f64, ...)
 * and half.h, which come before. Written in what C and CUDA C++ have in common. Signs, zeros and NaN follow
 * NumPy and SciPy.
 */
#ifndef HPCAD_SCALARS_H
#define HPCAD_SCALARS_H

#include <math.h>
#include <stdint.h>

#ifndef HP_INLINE
#define HP_INLINE static inline
#endif

/* -- floating point: T the type, S its suffix here, F its suffix in the C library -------------- */

#define HP_FLOATING(T, S, F)                                                                       \
    HP_INLINE T hpk_clip_##S(T x, T low, T high)                                                   \
    {                                                                                              \
        T y = (x > low) | (x != x) ? x : low;                                                      \
        return (y < high) | (y != y) ? y : high;                                                   \
    }                                                                                              \
    HP_INLINE T hpk_fraction_##S(T x)                                                              \
    {                                                                                              \
        T rest = fabs##F(x) == (T)INFINITY ? (T)0 : x - trunc##F(x);                               \
        return copysign##F(rest, x);                                                               \
    }                                                                                              \
    HP_INLINE T hpk_heaviside_##S(T x, T at_zero)                                                  \
    {                                                                                              \
        T step = x > 0 ? (T)1 : x == 0 ? at_zero : (T)0;                                           \
        return x != x ? x : step;                                                                  \
    }                                                                                              \
    /* The remainder has the sign of the divisor. */                                               \
    HP_INLINE T hpk_remainder_##S(T x, T y)                                                        \
    {                                                                                              \
        T rest = fmod##F(x, y);                                                                    \
        if (y == 0 || rest != rest)                                                                \
            return rest;                                                                           \
        if (rest == 0)                                                                             \
            return copysign##F((T)0, y);                                                           \
        return (y < 0) != (rest < 0) ? rest + y : rest;                                            \
    }                                                                                              \
    /* The quotient that goes with it; of and by infinities, the floor of the quotient. */         \
    HP_INLINE T hpk_floor_divide_##S(T x, T y)                                                     \
    {                                                                                              \
        T ratio = x / y;                                                                           \
        if (y == 0)                                                                                \
            return ratio;                                                                          \
        if (fabs##F(x) == (T)INFINITY || fabs##F(y) == (T)INFINITY)                                \
            return floor##F(ratio);                                                                \
        T rest = fmod##F(x, y), whole = (x - rest) / y;                                            \
        if (rest != 0 && (y < 0) != (rest < 0))                                                    \
            whole -= (T)1;                                                                         \
        if (whole == 0)                                                                            \
            return copysign##F((T)0, ratio);                                                       \
        T down = floor##F(whole);                                                                  \
        return whole - down > (T)0.5 ? down + (T)1 : down;                                         \
    }                                                                                              \
    HP_INLINE T hpk_softplus_##S(T x)                                                              \
    {                                                                                              \
        return ((x > 0) | (x != x) ? x : (T)0) + hp_log1p_##S(hp_exp_##S(-fabs##F(x)));            \
    }                                                                                              \
    /* d gelu / dx = (1 + h) / 2 + x (1 - h^2) u' / 2, h = tanh(u), u = sqrt(2/pi) (x + c x^3) */  \
    HP_INLINE T hpk_gelu_slope_##S(T x)                                                            \
    {                                                                                              \
        const T scale = (T)0.7978845608028654;       /* sqrt(2 / pi) */                            \
        const T cubic = (T)0.035677408136300125;     /* c times that */                            \
        const T thrice = (T)0.10703222440890038;     /* 3 c times that */                          \
        T h = hp_tanh_##S((x * x * cubic + scale) * x);                                            \
        return ((x * x * thrice + scale) * x * ((T)1 - h * h) + h + (T)1) * (T)0.5;                \
    }                                                                                              \
    /* log(exp(x) + exp(y)); equal infinities have no difference. */                               \
    HP_INLINE T hpk_logaddexp_##S(T x, T y)                                                        \
    {                                                                                              \
        T d = x - y, larger = d > 0 ? x : y;                                                       \
        T sum = larger + hp_log1p_##S(hp_exp_##S(-fabs##F(d)));                                    \
        return x == y ? x + (T)0.6931471805599453 : d != d ? d : sum;                              \
    }                                                                                              \
    HP_INLINE T hpk_logaddexp2_##S(T x, T y)                                                       \
    {                                                                                              \
        T d = x - y, larger = d > 0 ? x : y;                                                       \
        T sum = larger + (T)1.4426950408889634 * hp_log1p_##S(hp_exp2_##S(-fabs##F(d)));           \
        return x == y ? x + (T)1 : d != d ? d : sum;                                               \
    }                                                                                              \
    HP_INLINE T hpk_xlogy_##S(T x, T y)                                                            \
    {                                                                                              \
        return (x == 0) & (y == y) ? (T)0 : x * hp_log_##S(y);                                     \
    }                                                                                              \
    HP_INLINE T hpk_xlog1py_##S(T x, T y)                                                          \
    {                                                                                              \
        return (x == 0) & (y == y) ? (T)0 : x * hp_log1p_##S(y);                                   \
    }

HP_FLOATING(float, f32, f)
HP_FLOATING(double, f64, )

/* -- integers: U the type without sign, in which overflow wraps around ------------------------- */

#define HP_INTEGER(T, U, S)                                                                        \
    HP_INLINE T hpk_clip_##S(T x, T low, T high)                                                   \
    {                                                                                              \
        T y = x > low ? x : low;                                                                   \
        return y < high ? y : high;                                                                \
    }                                                                                              \
    HP_INLINE T hpk_fmod_##S(T x, T y)                                                             \
    {                                                                                              \
        return (y == 0) | (y == -1) ? (T)0 : x % y; /* the smallest by -1 would trap */            \
    }                                                                                              \
    HP_INLINE T hpk_remainder_##S(T x, T y)                                                        \
    {                                                                                              \
        T rest = hpk_fmod_##S(x, y);                                                               \
        return (rest != 0) & ((rest < 0) != (y < 0)) ? rest + y : rest;                            \
    }                                                                                              \
    HP_INLINE T hpk_floor_divide_##S(T x, T y)                                                     \
    {                                                                                              \
        if (y == 0)                                                                                \
            return 0;                                                                              \
        if (y == -1)                                                                               \
            return (T)(0 - (U)x);                                                                  \
        return x / y - ((x % y != 0) & ((x < 0) != (y < 0)));                                      \
    }                                                                                              \
    HP_INLINE T hpk_power_##S(T x, T y)                                                            \
    {                                                                                              \
        U power = 1, base = (U)x;                                                                  \
        for (U rest = (U)y; rest != 0; rest >>= 1) {                                               \
            power = rest & 1 ? power * base : power;                                               \
            base *= base;                                                                          \
        }                                                                                          \
        return (T)power;                                                                           \
    }                                                                                              \
    HP_INLINE T hpk_shift_left_##S(T x, T y)                                                       \
    {                                                                                              \
        return (U)y < 8 * sizeof(T) ? (T)((U)x << y) : (T)0;                                       \
    }                                                                                              \
    HP_INLINE T hpk_shift_right_##S(T x, T y)                                                      \
    {                                                                                              \
        return (U)y < 8 * sizeof(T) ? (T)(x >> y) : (T)(x < 0 ? -1 : 0);                           \
    }

HP_INTEGER(int32_t, uint32_t, i32)
HP_INTEGER(int64_t, uint64_t, i64)

/* -- half precision: the number that is left of one that is rounded ----------------------------- */

HP_INLINE float hpk_round_bfloat16_f32(float x) { return hp_from_bfloat16(hp_to_bfloat16(x)); }
HP_INLINE float hpk_round_float16_f32(float x) { return hp_from_float16(hp_to_float16(x)); }

/* In one rounding: what float32 cannot hold is cut off, and leaves a last bit that is odd. */
HP_INLINE uint16_t hpk_to_float16_f64(double x)
{
    float near = (float)x;
    uint32_t inexact = (double)near != x && x == x;
    uint32_t beyond = fabs((double)near) > fabs(x);
    return hp_to_float16(hp_number((hp_bits(near) - (inexact & beyond)) | inexact));
}

HP_INLINE float hpk_round_float16_f64(double x) { return hp_from_float16(hpk_to_float16_f64(x)); }

#undef HP_FLOATING
#undef HP_INTEGER
#endif

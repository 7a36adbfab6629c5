/* Arrays in half precision: rounded, added up in single precision, and widened.
 *
 * Every number is multiplied by a power of two on the way, which is exact. */
#include "half.h"

#define HP_HALF(format, type, real)                                                                \
    void hp_round_##format##_##type(const real *from, uint16_t *to, long n, double scale)          \
    {                                                                                              \
        real factor = (real)scale;                                                                 \
        for (long i = 0; i < n; i++)                                                               \
            to[i] = hp_to_##format((float)(from[i] * factor));                                     \
    }                                                                                              \
    void hp_widen_##format##_##type(const uint16_t *from, real *to, long n, double scale)          \
    {                                                                                              \
        real factor = (real)scale;                                                                 \
        for (long i = 0; i < n; i++)                                                               \
            to[i] = hp_from_##format(from[i]) * factor;                                            \
    }

#define HP_ADD(format)                                                                             \
    void hp_add_##format(const uint16_t *from, float *total, long n, double scale)                 \
    {                                                                                              \
        float factor = (float)scale;                                                               \
        for (long i = 0; i < n; i++)                                                               \
            total[i] += hp_from_##format(from[i]) * factor;                                        \
    }

HP_HALF(bfloat16, float32, float)
HP_HALF(bfloat16, float64, double)
HP_HALF(float16, float32, float)
HP_HALF(float16, float64, double)
HP_ADD(bfloat16)
HP_ADD(float16)

/* The largest finite magnitude; 0 where there is none. Bits are compared: they are in the order of
 * the magnitudes, and the maximum of integers vectorizes. */
#define HP_LARGEST(type, real, bits_t, magnitude, infinity)                                        \
    double hp_largest_##type(const real *from, long n)                                             \
    {                                                                                              \
        bits_t largest = 0;                                                                        \
        for (long i = 0; i < n; i++) {                                                             \
            bits_t bits;                                                                           \
            memcpy(&bits, from + i, sizeof bits);                                                  \
            bits &= magnitude;                                                                     \
            bits = bits < infinity ? bits : 0;                                                     \
            largest = bits > largest ? bits : largest;                                             \
        }                                                                                          \
        real number;                                                                               \
        memcpy(&number, &largest, sizeof number);                                                  \
        return number;                                                                             \
    }

HP_LARGEST(float32, float, int32_t, 0x7fffffff, 0x7f800000)
HP_LARGEST(float64, double, int64_t, 0x7fffffffffffffff, 0x7ff0000000000000)

/* Elementwise reduction of several arrays of equal length, written into several.
 *
 * x_0 o x_1 o ... in this order, so that the result does not depend on who computes which slice.
 * One block at a time stays in the first-level cache: each array is read and written once. */
#include <stdint.h>
#include <string.h>

#include "combine.h"

#define BLOCK 4096 /* bytes */

#define HP_COMBINE(name, real, OP)                                                                 \
    void hp_combine_##name(char **arrays, long count, char **targets, long written, long first,    \
                           long stop)                                                              \
    {                                                                                              \
        enum { LENGTH = BLOCK / sizeof(real) };                                                    \
        real block[LENGTH];                                                                        \
        for (long start = first; start < stop; start += LENGTH) {                                  \
            long length = stop - start < LENGTH ? stop - start : LENGTH;                           \
            memcpy(block, (real *)arrays[0] + start, length * sizeof(real));                       \
            for (long k = 1; k < count; k++) {                                                     \
                const real *other = (const real *)arrays[k] + start;                               \
                for (long i = 0; i < length; i++)                                                  \
                    block[i] = OP(block[i], other[i]);                                             \
            }                                                                                      \
            for (long k = 0; k < written; k++)                                                     \
                memcpy((real *)targets[k] + start, block, length * sizeof(real));                  \
        }                                                                                          \
    }

#define HP_COMBINE_ALL(type, real)                                                                 \
    HP_COMBINE(sum_##type, real, HP_SUM)                                                           \
    HP_COMBINE(prod_##type, real, HP_PROD)                                                         \
    HP_COMBINE(max_##type, real, HP_MAX)                                                           \
    HP_COMBINE(min_##type, real, HP_MIN)

HP_COMBINE_ALL(float32, float)
HP_COMBINE_ALL(float64, double)
HP_COMBINE_ALL(int32, int32_t)
HP_COMBINE_ALL(int64, int64_t)

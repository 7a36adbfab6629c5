/* Vectors as wide as the processor's registers, of `real` (float or double: HP_REAL).
 *
 * GCC's vector extensions, which clang shares: one source for every instruction set.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Products are summed with fused multiply-adds: one rounding less, and twice as fast. */
#if defined(__clang__)
#pragma clang fp contract(fast)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=fast")
#endif

#if defined(__AVX512F__)
#define HP_BYTES 64
#elif defined(__AVX__)
#define HP_BYTES 32
#else
#define HP_BYTES 16
#endif

/* A register tile is at most WIDTH vectors wide and ROWS high, and less high where it is wide: it
 * leaves a few registers of 32 (of 16) for the factors. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define WIDTH 4
#define ROWS 8
#define ROWS_OF(width) ((width) > 2 ? 6 : 8)
#else
#define WIDTH 2
#define ROWS 6
#define ROWS_OF(width) 6
#endif

typedef HP_REAL real;
#define LANES ((long)(HP_BYTES / sizeof(real)))

typedef real vec __attribute__((vector_size(HP_BYTES)));
typedef real any_vec __attribute__((vector_size(HP_BYTES), aligned(sizeof(real)), may_alias));
#define VECTOR_OF(type) __attribute__((vector_size(HP_BYTES / sizeof(real) * sizeof(type))))
#if HP_DOUBLE
typedef int64_t mask VECTOR_OF(int64_t); /* all bits of a lane, or none */
#else
typedef int32_t mask VECTOR_OF(int32_t);
#endif
typedef int8_t small VECTOR_OF(int8_t);
typedef small any_small __attribute__((aligned(1), may_alias));

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

/* GCC folds a load into each product that uses it, where these are few; the loads then take longer
 * than the products. */
#if defined(__x86_64__) && !defined(__clang__)
#define KEEP_IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define KEEP_IN_REGISTER(v) (void)(v)
#endif

INLINE long at_most(long a, long b)
{
    return a < b ? a : b;
}

INLINE long at_least(long a, long b)
{
    return a > b ? a : b;
}

INLINE vec load(const real *p)
{
    return *(const any_vec *)p;
}

INLINE void store(real *p, vec v)
{
    *(any_vec *)p = v;
}

/* Parts of vectors; not inlined, for the memory they go through would slow whole ones, too. */
static __attribute__((noinline)) vec load_part(const real *p, long count)
{
    vec v = {0};
    memcpy(&v, p, (size_t)count * sizeof(real));
    return v;
}

static __attribute__((noinline)) void store_part(real *p, vec v, long count)
{
    memcpy(p, &v, (size_t)count * sizeof(real));
}

/* The first `count` lanes; zeros behind them. */
INLINE vec load_some(const real *p, long count)
{
    return count >= LANES ? load(p) : load_part(p, count);
}

INLINE void store_some(real *p, vec v, long count)
{
    if (count >= LANES)
        store(p, v);
    else
        store_part(p, v, count);
}

/* Between bytes and masks in steps: GCC makes scalar code of a conversion across several sizes. */
typedef int16_t by_two VECTOR_OF(int16_t);
typedef int32_t by_four VECTOR_OF(int32_t);

INLINE mask widen(small s)
{
    by_four four = __builtin_convertvector(__builtin_convertvector(s, by_two), by_four);
    return __builtin_convertvector(four, mask);
}

INLINE small narrow(mask m)
{
    by_two two = __builtin_convertvector(__builtin_convertvector(m, by_four), by_two);
    return __builtin_convertvector(two, small);
}

static __attribute__((noinline)) small load_small_part(const int8_t *p, long count)
{
    small s = {0};
    memcpy(&s, p, (size_t)count);
    return s;
}

static __attribute__((noinline)) void store_small_part(int8_t *p, small s, long count)
{
    memcpy(p, &s, (size_t)count);
}

INLINE mask load_small(const int8_t *p, long count)
{
    if (count >= LANES)
        return widen(*(const any_small *)p);
    return widen(load_small_part(p, count));
}

INLINE void store_small(int8_t *p, mask m, long count)
{
    if (count >= LANES)
        *(any_small *)p = narrow(m);
    else
        store_small_part(p, narrow(m), count);
}

INLINE vec choose(mask m, vec yes, vec no)
{
    return (vec)((m & (mask)yes) | (~m & (mask)no));
}

/* 1 where the mask is set, else 0: masks multiply, as NumPy's do, so that NaN stays NaN. */
INLINE vec as_number(mask m)
{
    return (vec)(m & (mask)((vec){0} + 1));
}

// What generated kernels stand on. Text that NVRTC compiles without any header, and that a C++
// compiler can compile, too, with threads and shuffles emulated.

#ifdef __CUDACC_RTC__
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

#define HP_INLINE static __device__ __forceinline__

// -- mathematical functions: CUDA's, whose errors in ulps the CUDA C++ Programming Guide lists ----

#define HP_FUNCTION(name, cuda)                                                                    \
    HP_INLINE float hp_##name##_f32(float x) { return cuda##f(x); }                                \
    HP_INLINE double hp_##name##_f64(double x) { return cuda(x); }

#define HP_FUNCTION_OF_TWO(name, cuda)                                                             \
    HP_INLINE float hp_##name##_f32(float x, float y) { return cuda##f(x, y); }                    \
    HP_INLINE double hp_##name##_f64(double x, double y) { return cuda(x, y); }

HP_FUNCTION(exp, exp)
HP_FUNCTION(exp2, exp2)
HP_FUNCTION(expm1, expm1)
HP_FUNCTION(log, log)
HP_FUNCTION(log2, log2)
HP_FUNCTION(log10, log10)
HP_FUNCTION(log1p, log1p)
HP_FUNCTION(cbrt, cbrt)
HP_FUNCTION(sin, sin)
HP_FUNCTION(cos, cos)
HP_FUNCTION(tan, tan)
HP_FUNCTION(asin, asin)
HP_FUNCTION(acos, acos)
HP_FUNCTION(atan, atan)
HP_FUNCTION(sinh, sinh)
HP_FUNCTION(cosh, cosh)
HP_FUNCTION(tanh, tanh)
HP_FUNCTION(asinh, asinh)
HP_FUNCTION(acosh, acosh)
HP_FUNCTION(atanh, atanh)
HP_FUNCTION(erf, erf)
HP_FUNCTION(erfc, erfc)
HP_FUNCTION(gamma, tgamma)
HP_FUNCTION(gammaln, lgamma)
HP_FUNCTION_OF_TWO(power, pow)
HP_FUNCTION_OF_TWO(hypot, hypot)
HP_FUNCTION_OF_TWO(atan2, atan2)

// 1 / (1 + exp(-x)) without overflow, also where the answer is tiny
template <class T> HP_INLINE T hp_sigmoid_of(T x, T e)
{
    return x < 0 ? e / (T(1) + e) : T(1) / (T(1) + e);
}
HP_INLINE float hp_sigmoid_f32(float x) { return hp_sigmoid_of(x, expf(-fabsf(x))); }
HP_INLINE double hp_sigmoid_f64(double x) { return hp_sigmoid_of(x, exp(-fabs(x))); }

#undef HP_FUNCTION
#undef HP_FUNCTION_OF_TWO

// -- half precision: rounded to nearest, ties to even; NaN stays NaN ------------------------------

#ifdef __CUDACC_RTC__
HP_INLINE uint32_t hp_bits(float x) { return __float_as_uint(x); }
HP_INLINE float hp_number(uint32_t bits) { return __uint_as_float(bits); }
HP_INLINE float hp_from_bfloat16(uint16_t half) { return hp_number((uint32_t)half << 16); }
HP_INLINE float hp_from_float16(uint16_t half)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(half));
    return x;
}
HP_INLINE uint16_t hp_to_float16(float x)
{
    uint16_t half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
}
HP_INLINE uint16_t hp_to_bfloat16(float x)
{
#if __CUDA_ARCH__ >= 800
    uint16_t half;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(half) : "f"(x));
    return half;
#else
    const uint32_t bits = hp_bits(x), rounded = bits + 0x7fff + (bits >> 16 & 1);
    return (uint16_t)((x != x ? bits | 0x400000 : rounded) >> 16);
#endif
}
#else
#include "half.h"
#endif

#include "scalars.h"

// -- neighbouring elements ------------------------------------------------------------------------

template <class T, int N> struct alignas(sizeof(T) * N) hp_vector {
    T lane[N];
};

template <int N, class T> HP_INLINE hp_vector<T, N> hp_load(const T *from)
{
    return *reinterpret_cast<const hp_vector<T, N> *>(from);
}

template <int N, class T> HP_INLINE void hp_store(T *to, const hp_vector<T, N> &elements)
{
    *reinterpret_cast<hp_vector<T, N> *>(to) = elements;
}

// -- reductions -----------------------------------------------------------------------------------

// Integers wrap, as NumPy's do; of bools the sum is "or". The largest and smallest of numbers of
// which one is NaN is NaN.

struct hp_add {
    HP_INLINE float sum(float a, float b) { return a + b; }
    HP_INLINE double sum(double a, double b) { return a + b; }
    HP_INLINE int32_t sum(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
    HP_INLINE int64_t sum(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
    HP_INLINE bool sum(bool a, bool b) { return a | b; }
    template <class T> __device__ T operator()(T a, T b) const { return sum(a, b); }
};

struct hp_maximum {
    template <class T> __device__ T operator()(T a, T b) const { return (a > b) | (a != a) ? a : b; }
};

struct hp_minimum {
    template <class T> __device__ T operator()(T a, T b) const { return (a < b) | (a != a) ? a : b; }
};

template <class T> HP_INLINE T hp_exchange(unsigned threads, T value, int distance)
{
    return __shfl_xor_sync(threads, value, distance);
}

HP_INLINE bool hp_exchange(unsigned threads, bool value, int distance)
{
    return __shfl_xor_sync(threads, (int)value, distance) != 0;
}

// The threads of a team that are in the same warp.
template <int TEAM> HP_INLINE unsigned hp_members()
{
    if (TEAM >= 32)
        return 0xffffffffu;
    return ((1u << (TEAM % 32)) - 1) << (threadIdx.x % 32 / TEAM * TEAM);
}

// Wait for the team: what it has loaded so far, others may overwrite now.
template <int TEAM> HP_INLINE void hp_meet()
{
    if (TEAM > 32)
        __syncthreads(); // such a team is a block
    else
        __syncwarp(hp_members<TEAM>());
}

// Combine the values of a team, a power of two of threads; all get the answer. The order is fixed.
template <int TEAM, class T, class Op> HP_INLINE T hp_reduce(T value, Op combine)
{
    const unsigned members = hp_members<TEAM>();
    for (int distance = (TEAM < 32 ? TEAM : 32) / 2; distance > 0; distance /= 2)
        value = combine(value, hp_exchange(members, value, distance));
    if (TEAM > 32) {
        const int warps = TEAM > 32 ? TEAM / 32 : 1;
        __shared__ T of_warp[warps];
        if (threadIdx.x % 32 == 0)
            of_warp[threadIdx.x / 32] = value;
        __syncthreads();
        value = of_warp[threadIdx.x % warps];
        for (int distance = warps / 2; distance > 0; distance /= 2)
            value = combine(value, hp_exchange(members, value, distance));
        __syncthreads(); // of_warp may be written again
    }
    return value;
}

// In a block of 256 threads: the sum of each of COLUMNS columns, in its first row of threads.
template <int COLUMNS, class T> HP_INLINE T hp_sum_columns(T value)
{
    if (COLUMNS == 256)
        return value;
    __shared__ T sums[256];
    sums[threadIdx.x] = value;
    __syncthreads();
    for (int half = 128; half >= COLUMNS; half /= 2) {
        if (threadIdx.x < half)
            sums[threadIdx.x] = hp_add()(sums[threadIdx.x], sums[threadIdx.x + half]);
        __syncthreads();
    }
    return sums[threadIdx.x];
}

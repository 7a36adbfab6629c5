// What several hand-written routines use. NVRTC has no <stdint.h>, and the prelude not all short types.

#ifdef __CUDACC_RTC__
typedef signed char int8_t;
typedef short int16_t;
#endif

// The first piece of work of this thread in a grid-stride loop, and the step.
template <class I> HP_INLINE I hp_first() { return (I)blockIdx.x * blockDim.x + threadIdx.x; }
template <class I> HP_INLINE I hp_stride() { return (I)gridDim.x * blockDim.x; }

// The row of a table that an index means, negative ones counting from the end; -1 if none.
template <class K> HP_INLINE int64_t hp_row(K index, int64_t rows)
{
    const int64_t row = index < 0 ? (int64_t)index + rows : (int64_t)index;
    return row >= 0 && row < rows ? row : -1;
}

// Remember the first place of something wrong; the number is `count - place`, 0 for nothing wrong.
HP_INLINE void hp_complain(uint64_t *fault, int64_t count, int64_t place)
{
    if (fault)
        atomicMax((unsigned long long *)fault, (unsigned long long)(count - place));
}

// A type in memory, and the one that is computed with.
template <class T> struct hp_stored {
    typedef T computed;
    HP_INLINE T load(const T *from) { return *from; }
    HP_INLINE void store(T *to, T value) { *to = value; }
};

struct hp_bfloat16 {
    uint16_t bits;
};
struct hp_float16 {
    uint16_t bits;
};
template <> struct hp_stored<hp_bfloat16> {
    typedef float computed;
    HP_INLINE float load(const hp_bfloat16 *from) { return hp_from_bfloat16(from->bits); }
    HP_INLINE void store(hp_bfloat16 *to, float value) { to->bits = hp_to_bfloat16(value); }
};
template <> struct hp_stored<hp_float16> {
    typedef float computed;
    HP_INLINE float load(const hp_float16 *from) { return hp_from_float16(from->bits); }
    HP_INLINE void store(hp_float16 *to, float value) { to->bits = hp_to_float16(value); }
};

// exp2 and exp where the result is rounded to a short type, or weighs what is: the relative error of
// exp is below 1e-5 for arguments from -80 to 0, a small part of a unit of rounding of short types.
HP_INLINE float hp_quick_exp2(float x)
{
#ifdef __CUDACC_RTC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return hp_exp2_f32(x);
#endif
}

HP_INLINE float hp_quick_exp(float x) { return hp_quick_exp2(x * 1.44269504f); }

HP_INLINE float hp_exp_of(float x) { return hp_exp_f32(x); }
HP_INLINE double hp_exp_of(double x) { return hp_exp_f64(x); }
HP_INLINE float hp_log_of(float x) { return hp_log_f32(x); }
HP_INLINE double hp_log_of(double x) { return hp_log_f64(x); }

// One rounding, also where the compiler is told not to contract.
HP_INLINE float hp_fma(float a, float b, float c) { return fmaf(a, b, c); }
HP_INLINE double hp_fma(double a, double b, double c) { return fma(a, b, c); }

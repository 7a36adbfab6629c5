// Products of small matrices by the tensor cores of sm_80 and later, as PTX has them. In a warp,
// lane = 4 g + t. Of a matrix A (16 x 16), B (16 x 8) and C (16 x 8), a lane holds
//
//     A: pairs at (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), two neighbours in a row;
//     B: pairs at (2t, g), (2t + 8, g), two neighbours in a column;
//     C: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
//
// So two neighbouring matrices C, rounded, are a matrix A.

typedef hp_vector<uint32_t, 4> hp_16_bytes;

#ifdef __CUDACC_RTC__
HP_INLINE uint32_t hp_shared_address(const void *place)
{
    uint32_t address;
    asm("{ .reg .u64 wide; cvta.to.shared.u64 wide, %1; cvt.u32.u64 %0, wide; }"
        : "=r"(address)
        : "l"(place));
    return address;
}

// C += A B
HP_INLINE void hp_mma_bfloat16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
HP_INLINE void hp_mma_float16(float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices of 8 x 8 from shared memory; lane 8 m + i gives the place of row i of matrix m. Of
// each matrix a lane gets the pair at (g, 2t); of turned ones, that at (2t, g) and (2t + 1, g).
HP_INLINE void hp_matrices(uint32_t *into, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(into[0]), "=r"(into[1]), "=r"(into[2]), "=r"(into[3])
                 : "r"(hp_shared_address(row))
                 : "memory");
}
HP_INLINE void hp_turned_matrices(uint32_t *into, const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(into[0]), "=r"(into[1]), "=r"(into[2]), "=r"(into[3])
                 : "r"(hp_shared_address(row))
                 : "memory");
}

// Copy 16 bytes to shared memory without waiting; zeros if there is nothing to copy.
HP_INLINE void hp_send_16(void *to, const void *from, bool there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(hp_shared_address(to)),
                 "l"(from), "r"(there ? 16 : 0)
                 : "memory");
}
HP_INLINE void hp_end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Wait for all groups of copies but the last, or for all.
HP_INLINE void hp_wait_but_one() { asm volatile("cp.async.wait_group 1;" ::: "memory"); }
HP_INLINE void hp_wait_for_all() { asm volatile("cp.async.wait_group 0;" ::: "memory"); }

HP_INLINE uint32_t hp_pair(hp_bfloat16, float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
HP_INLINE uint32_t hp_pair(hp_float16, float low, float high)
{
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
#else
template <class T> HP_INLINE uint32_t hp_pair(T, float low, float high)
{
    T halves[2];
    hp_stored<T>::store(halves, low);
    hp_stored<T>::store(halves + 1, high);
    return halves[0].bits | (uint32_t)halves[1].bits << 16;
}
#endif

HP_INLINE void hp_mma(hp_bfloat16, float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    hp_mma_bfloat16(c, a, b0, b1);
}
HP_INLINE void hp_mma(hp_float16, float *c, const uint32_t *a, uint32_t b0, uint32_t b1)
{
    hp_mma_float16(c, a, b0, b1);
}

// Two neighbouring matrices C as a matrix A.
template <class T> HP_INLINE void hp_as_factor(uint32_t *a, const float *left, const float *right)
{
    a[0] = hp_pair(T(), left[0], left[1]);
    a[1] = hp_pair(T(), left[2], left[3]);
    a[2] = hp_pair(T(), right[0], right[1]);
    a[3] = hp_pair(T(), right[2], right[3]);
}

// -- tiles of rows of D elements in shared memory, D a multiple of 16 -----------------------------

// In units of 16 bytes; an odd number, so that eight rows lie in different banks.
template <int D> struct hp_tile {
    static const int UNITS = D / 8 + 1;
};

// Begin to copy rows `first`... of a matrix that has `rows` of `dim` elements; zeros beyond.
template <int ROWS, int D, int THREADS, class T>
HP_INLINE void hp_send_tile(hp_16_bytes *tile, const T *from, int first, int rows, int64_t step,
                            int dim)
{
#pragma unroll
    for (int u = threadIdx.x; u < ROWS * (D / 8); u += THREADS) {
        const int row = u / (D / 8), part = u % (D / 8);
        const bool there = first + row < rows && part * 8 < dim;
        const T *const place = from + (there ? (first + row) * step + part * 8 : 0);
        hp_send_16(tile + row * hp_tile<D>::UNITS + part, place, there);
    }
}

// Rows `first`... of a matrix in global memory as matrices A, one for each 16 columns.
template <int D, class T>
HP_INLINE void hp_factors_of_rows(uint32_t (*a)[4], const T *from, int first, int rows,
                                  int64_t step, int dim)
{
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < D / 16; ++k)
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = first + g + part % 2 * 8, column = k * 16 + 2 * t + part / 2 * 8;
            const bool there = row < rows && column < dim;
            a[k][part] = there ? *(const uint32_t *)(from + row * step + column) : 0;
        }
}

// c[j] += A tile^T: products of rows of A with the COLUMNS rows of a tile.
template <int COLUMNS, int D, class T>
HP_INLINE void hp_times_rows(float (*c)[4], const uint32_t (*a)[4], const hp_16_bytes *tile)
{
    const int matrix = threadIdx.x % 32 / 8, i = threadIdx.x % 8;
#pragma unroll
    for (int n = 0; n < COLUMNS / 16; ++n)
#pragma unroll
        for (int k = 0; k < D / 16; ++k) {
            uint32_t b[4];
            const int row = n * 16 + matrix / 2 * 8 + i;
            hp_matrices(b, tile + row * hp_tile<D>::UNITS + k * 2 + matrix % 2);
            hp_mma(T(), c[2 * n], a[k], b[0], b[1]);
            hp_mma(T(), c[2 * n + 1], a[k], b[2], b[3]);
        }
}

// c[j] += P tile, where P has as many columns as the tile has rows.
template <int ROWS, int D, class T>
HP_INLINE void hp_times_tile(float (*c)[4], const uint32_t (*p)[4], const hp_16_bytes *tile)
{
    const int matrix = threadIdx.x % 32 / 8, i = threadIdx.x % 8;
#pragma unroll
    for (int k = 0; k < ROWS / 16; ++k)
#pragma unroll
        for (int n = 0; n < D / 16; ++n) {
            uint32_t b[4];
            const int row = k * 16 + matrix % 2 * 8 + i;
            hp_turned_matrices(b, tile + row * hp_tile<D>::UNITS + n * 2 + matrix / 2);
            hp_mma(T(), c[2 * n], p[k], b[0], b[1]);
            hp_mma(T(), c[2 * n + 1], p[k], b[2], b[3]);
        }
}

// Write a warp's rows, rounded, times a number for the upper and one for the lower eight rows.
template <int D, class T>
HP_INLINE void hp_write_rows(T *to, const float (*c)[4], float upper, float lower, int first,
                             int rows, int64_t step, int dim)
{
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < D / 8; ++n) {
        const int column = n * 8 + 2 * t;
        T *const place = to + column;
        if (column < dim && first + g < rows)
            *(uint32_t *)(place + (first + g) * step) =
                hp_pair(T(), c[n][0] * upper, c[n][1] * upper);
        if (column < dim && first + g + 8 < rows)
            *(uint32_t *)(place + (first + g + 8) * step) =
                hp_pair(T(), c[n][2] * lower, c[n][3] * lower);
    }
}

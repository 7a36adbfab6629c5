// Attention without tensor cores, in any floating type and with rows of any length up to D, a
// multiple of 16. Four threads share a row: of every 16 elements, each has four. A block of 128
// threads has 32 rows, and visits COLUMNS columns at a time, which lie in shared memory.

template <class A, int D> struct hp_share { // a thread's part of a row
    A x[D / 16][4];
};

template <int D, class A, class T>
HP_INLINE void hp_load_share(hp_share<A, D> &share, const T *row, bool there, int dim)
{
#pragma unroll
    for (int i = 0; i < D / 16; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int c = i * 16 + threadIdx.x % 4 * 4 + e;
            share.x[i][e] = there && c < dim ? (A)hp_stored<T>::load(row + c) : A(0);
        }
}

template <int D, class A, class T>
HP_INLINE void hp_store_share(T *row, const hp_share<A, D> &share, A factor, bool there, int dim)
{
#pragma unroll
    for (int i = 0; i < D / 16; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
            const int c = i * 16 + threadIdx.x % 4 * 4 + e;
            if (there && c < dim)
                hp_stored<T>::store(row + c, share.x[i][e] * factor);
        }
}

template <int D, int COLUMNS, class A, class T>
HP_INLINE void hp_load_columns(A (*tile)[D], const T *from, int first, int columns, int64_t step,
                               int dim)
{
    for (int u = threadIdx.x; u < COLUMNS * D; u += 128) {
        const int row = u / D, c = u % D;
        const bool there = first + row < columns && c < dim;
        tile[row][c] = there ? (A)hp_stored<T>::load(from + (first + row) * step + c) : A(0);
    }
}

// The product of a row with a column; all four threads get it.
template <int D, class A> HP_INLINE A hp_product(const hp_share<A, D> &share, const A *column)
{
    A sum = 0;
#pragma unroll
    for (int i = 0; i < D / 16; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
            sum = hp_fma(share.x[i][e], column[i * 16 + threadIdx.x % 4 * 4 + e], sum);
    sum += hp_exchange(0xffffffffu, sum, 1);
    return sum + hp_exchange(0xffffffffu, sum, 2);
}

template <int D, class A>
HP_INLINE void hp_add_column(hp_share<A, D> &share, A weight, const A *column)
{
#pragma unroll
    for (int i = 0; i < D / 16; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e)
            share.x[i][e] =
                hp_fma(weight, column[i * 16 + threadIdx.x % 4 * 4 + e], share.x[i][e]);
}

template <class T, class A, int D, int COLUMNS>
HP_INLINE void hp_attend_plainly(const T *q, const T *k, const T *v, T *out, A *log_sums,
                                 hp_steps qs, hp_steps ks, hp_steps vs, hp_steps os,
                                 hp_attention s)
{
    const int GROUP = 8; // keys whose scores are found before they are weighed
    __shared__ A k_tile[COLUMNS][D], v_tile[COLUMNS][D];
    const int all = s.batch * s.heads, number = blockIdx.x % all;
    const int tile = (s.queries + 31) / 32 - 1 - blockIdx.x / all; // those with most keys first
    const int query = tile * 32 + threadIdx.x / 4, shift = s.keys - s.queries;
    const bool there = query < s.queries;
    const T *const keys = hp_head(k, ks, number, s.heads);
    const T *const values = hp_head(v, vs, number, s.heads);
    hp_share<A, D> mine, sums = {};
    hp_load_share(mine, hp_head(q, qs, number, s.heads) + query * qs.row, there, s.dim);
    A top = -(A)INFINITY, total = 0;
    const int seen = tile * 32 + 32 + shift, limit = s.causal && seen < s.keys ? seen : s.keys;
    for (int start = 0; start < limit; start += COLUMNS) {
        __syncthreads(); // nobody reads the tiles any more
        hp_load_columns<D, COLUMNS>(k_tile, keys, start, s.keys, ks.row, s.dim);
        hp_load_columns<D, COLUMNS>(v_tile, values, start, s.keys, vs.row, s.dim);
        __syncthreads();
        for (int group = 0; group < COLUMNS; group += GROUP) {
            A score[GROUP], highest = top;
#pragma unroll
            for (int j = 0; j < GROUP; ++j) {
                const int key = start + group + j;
                score[j] = hp_product(mine, k_tile[group + j]) * (A)s.scale;
                if (key >= s.keys || (s.causal && key > query + shift))
                    score[j] = -(A)INFINITY;
                highest = hp_maximum()(highest, score[j]);
            }
            if (highest == -(A)INFINITY)
                continue; // none of these is seen, nor was one before
            const A shrink = hp_exp_of(top - highest);
            top = highest;
            total *= shrink;
#pragma unroll
            for (int i = 0; i < D / 16; ++i)
#pragma unroll
                for (int e = 0; e < 4; ++e)
                    sums.x[i][e] *= shrink;
#pragma unroll
            for (int j = 0; j < GROUP; ++j) {
                const A weight = hp_exp_of(score[j] - top);
                total += weight;
                hp_add_column(sums, weight, v_tile[group + j]);
            }
        }
    }
    hp_store_share(hp_head(out, os, number, s.heads) + query * os.row, sums, A(1) / total, there,
                   s.dim);
    if (there && threadIdx.x % 4 == 0)
        log_sums[(int64_t)number * s.queries + query] = top + hp_log_of(total);
}

// The way back; what rows and columns are is said in attention_tensor.cu.
template <bool KEYS, class T, class A, int D, int COLUMNS>
HP_INLINE void hp_attend_back_plainly(const T *r1, const T *r2, const T *c1, const T *c2, T *d1,
                                      T *d2, const A *log_sums, const A *dots, hp_steps r1s,
                                      hp_steps r2s, hp_steps c1s, hp_steps c2s, hp_steps d1s,
                                      hp_steps d2s, hp_attention s)
{
    __shared__ A tile1[COLUMNS][D], tile2[COLUMNS][D];
    const int rows = KEYS ? s.keys : s.queries, columns = KEYS ? s.queries : s.keys;
    const int all = s.batch * s.heads, number = blockIdx.x % all, blocks = (rows + 31) / 32;
    const int block = KEYS ? blockIdx.x / all : blocks - 1 - blockIdx.x / all;
    const int row = block * 32 + threadIdx.x / 4, shift = s.keys - s.queries;
    const bool there = row < rows;
    const T *const first = hp_head(c1, c1s, number, s.heads);
    const T *const second = hp_head(c2, c2s, number, s.heads);
    log_sums += (int64_t)number * s.queries;
    dots += (int64_t)number * s.queries;
    hp_share<A, D> a1, a2, sum1 = {}, sum2 = {};
    hp_load_share(a1, hp_head(r1, r1s, number, s.heads) + row * r1s.row, there, s.dim);
    hp_load_share(a2, hp_head(r2, r2s, number, s.heads) + row * r2s.row, there, s.dim);
    int begin = 0, end = columns;
    if (s.causal && KEYS)
        begin = block * 32 - shift > 0 ? block * 32 - shift : 0;
    else if (s.causal)
        end = block * 32 + 32 + shift < columns ? block * 32 + 32 + shift : columns;
    for (int start = begin; start < end; start += COLUMNS) {
        __syncthreads(); // nobody reads the tiles any more
        hp_load_columns<D, COLUMNS>(tile1, first, start, columns, c1s.row, s.dim);
        hp_load_columns<D, COLUMNS>(tile2, second, start, columns, c2s.row, s.dim);
        __syncthreads();
        for (int j = 0; j < COLUMNS; ++j) {
            const int key = KEYS ? row : start + j, query = KEYS ? start + j : row;
            const bool hidden =
                key >= s.keys || query >= s.queries || (s.causal && key > query + shift);
            const A score = hp_product(a1, tile1[j]) * (A)s.scale;
            const A slope = hp_product(a2, tile2[j]);
            const A p = hidden ? A(0) : hp_exp_of(score - log_sums[query]);
            hp_add_column(sum1, hidden ? A(0) : p * (slope - dots[query]), tile1[j]);
            if (KEYS)
                hp_add_column(sum2, p, tile2[j]);
        }
    }
    hp_store_share(hp_head(d1, d1s, number, s.heads) + row * d1s.row, sum1, (A)s.scale, there,
                   s.dim);
    if (KEYS)
        hp_store_share(hp_head(d2, d2s, number, s.heads) + row * d2s.row, sum2, A(1), there, s.dim);
}

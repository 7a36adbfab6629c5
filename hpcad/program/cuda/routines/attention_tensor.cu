// Attention by tensor cores, in bfloat16 or float16 with sums in float32: scores exist for a tile of
// queries and a tile of keys at a time (Dao, arXiv:2307.08691). D is the length of a row, a multiple
// of 16; elements from `dim` on are zeros that nobody stores.

HP_INLINE float hp_of_four(float x, bool largest) // the threads of a row of C
{
    for (int distance = 1; distance < 4; distance *= 2) {
        const float other = hp_exchange(0xffffffffu, x, distance);
        x = largest ? hp_maximum()(x, other) : x + other;
    }
    return x;
}

// A block of 128 threads has 64 queries of a head, 16 each warp; it visits COLUMNS keys at a time.
template <class T, int D, int COLUMNS>
HP_INLINE void hp_attend(const T *q, const T *k, const T *v, T *out, float *log_sums,
                         hp_steps qs, hp_steps ks, hp_steps vs, hp_steps os, hp_attention s)
{
    const int UNITS = hp_tile<D>::UNITS;
    __shared__ hp_16_bytes k_tile[2][COLUMNS * UNITS], v_tile[2][COLUMNS * UNITS];
    const int all = s.batch * s.heads, number = blockIdx.x % all;
    const int tile = (s.queries + 63) / 64 - 1 - blockIdx.x / all; // those with most keys first
    const int t = threadIdx.x % 4, row = tile * 64 + threadIdx.x / 32 * 16;
    const int upper = row + threadIdx.x % 32 / 4, shift = s.keys - s.queries;
    const T *const keys = hp_head(k, ks, number, s.heads);
    const T *const values = hp_head(v, vs, number, s.heads);
    uint32_t query[D / 16][4];
    hp_factors_of_rows<D>(query, hp_head(q, qs, number, s.heads), row, s.queries, qs.row, s.dim);
    float sums[D / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    const float unit = (float)s.scale * 1.44269504f; // exp(scale x) = exp2(unit x)
    const int seen = tile * 64 + 64 + shift, limit = s.causal && seen < s.keys ? seen : s.keys;
    const int tiles = (limit + COLUMNS - 1) / COLUMNS;
    hp_send_tile<COLUMNS, D, 128>(k_tile[0], keys, 0, s.keys, ks.row, s.dim);
    hp_send_tile<COLUMNS, D, 128>(v_tile[0], values, 0, s.keys, vs.row, s.dim);
    hp_end_group();
    for (int j = 0; j < tiles; ++j) {
        if (j + 1 < tiles) {
            const int next = (j + 1) * COLUMNS, place = (j + 1) % 2;
            hp_send_tile<COLUMNS, D, 128>(k_tile[place], keys, next, s.keys, ks.row, s.dim);
            hp_send_tile<COLUMNS, D, 128>(v_tile[place], values, next, s.keys, vs.row, s.dim);
            hp_end_group();
            hp_wait_but_one();
        } else {
            hp_wait_for_all();
        }
        __syncthreads();
        float score[COLUMNS / 8][4] = {};
        hp_times_rows<COLUMNS, D, T>(score, query, k_tile[j % 2]);
        float highest[2] = {top[0], top[1]};
        const bool whole = (j + 1) * COLUMNS <= s.keys &&
                           (!s.causal || (j + 1) * COLUMNS - 1 <= row + shift);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int key = j * COLUMNS + n * 8 + 2 * t + e % 2;
                const bool hidden =
                    !whole &&
                    (key >= s.keys || (s.causal && key > upper + e / 2 * 8 + shift));
                score[n][e] = hidden ? -INFINITY : score[n][e];
                highest[e / 2] = hp_maximum()(highest[e / 2], score[n][e]);
            }
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            highest[h] = hp_of_four(highest[h], true);
            const float shrink = hp_quick_exp2((top[h] - highest[h]) * unit);
            top[h] = highest[h];
            total[h] *= shrink;
#pragma unroll
            for (int n = 0; n < D / 8; ++n) {
                sums[n][2 * h] *= shrink;
                sums[n][2 * h + 1] *= shrink;
            }
        }
        uint32_t weights[COLUMNS / 16][4];
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                score[n][e] = hp_quick_exp2(hp_fma(score[n][e], unit, -top[e / 2] * unit));
                total[e / 2] += score[n][e];
            }
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; ++n)
            hp_as_factor<T>(weights[n], score[2 * n], score[2 * n + 1]);
        hp_times_tile<COLUMNS, D, T>(sums, weights, v_tile[j % 2]);
        __syncthreads(); // the tiles may be written again
    }
    total[0] = hp_of_four(total[0], false);
    total[1] = hp_of_four(total[1], false);
    hp_write_rows<D>(hp_head(out, os, number, s.heads), sums, 1.0f / total[0], 1.0f / total[1],
                     row, s.queries, os.row, s.dim);
#pragma unroll
    for (int h = 0; h < 2; ++h)
        if (t == 0 && upper + 8 * h < s.queries)
            log_sums[(int64_t)number * s.queries + upper + 8 * h] =
                top[h] * (float)s.scale + hp_log_f32(total[h]);
}

// The way back, with P = exp(scale Q K^T - log_sums) and dS = P (g V^T - dots), dots = <g, out>:
//
//     of keys:     dK = scale dS^T Q,  dV = P^T g;      rows are K and V, columns are Q and g
//     of queries:  dQ = scale dS K;                     rows are Q and g, columns are K and V
//
// A block of 128 threads has 64 rows, 16 each warp, and visits COLUMNS columns at a time.
template <bool KEYS, class T, int D, int COLUMNS>
HP_INLINE void hp_attend_back(const T *r1, const T *r2, const T *c1, const T *c2, T *d1, T *d2,
                              const float *log_sums, const float *dots, hp_steps r1s, hp_steps r2s,
                              hp_steps c1s, hp_steps c2s, hp_steps d1s, hp_steps d2s,
                              hp_attention s)
{
    const int UNITS = hp_tile<D>::UNITS;
    __shared__ hp_16_bytes tile1[2][COLUMNS * UNITS], tile2[2][COLUMNS * UNITS];
    __shared__ float column_sum[2][COLUMNS], column_dot[2][COLUMNS]; // of queries, if KEYS
    const int rows = KEYS ? s.keys : s.queries, columns = KEYS ? s.queries : s.keys;
    const int all = s.batch * s.heads, number = blockIdx.x % all, blocks = (rows + 63) / 64;
    const int block = KEYS ? blockIdx.x / all : blocks - 1 - blockIdx.x / all;
    const int t = threadIdx.x % 4, row = block * 64 + threadIdx.x / 32 * 16;
    const int upper = row + threadIdx.x % 32 / 4, shift = s.keys - s.queries;
    const T *const first = hp_head(c1, c1s, number, s.heads);
    const T *const second = hp_head(c2, c2s, number, s.heads);
    log_sums += (int64_t)number * s.queries;
    dots += (int64_t)number * s.queries;
    uint32_t a1[D / 16][4], a2[D / 16][4];
    hp_factors_of_rows<D>(a1, hp_head(r1, r1s, number, s.heads), row, rows, r1s.row, s.dim);
    hp_factors_of_rows<D>(a2, hp_head(r2, r2s, number, s.heads), row, rows, r2s.row, s.dim);
    float sum1[D / 8][4] = {}, sum2[KEYS ? D / 8 : 1][4] = {};
    float row_sum[2] = {}, row_dot[2] = {};
#pragma unroll
    for (int h = 0; h < 2 && !KEYS; ++h) {
        const bool there = upper + 8 * h < rows;
        row_sum[h] = there ? log_sums[upper + 8 * h] * 1.44269504f : INFINITY; // P = 0
        row_dot[h] = there ? dots[upper + 8 * h] : 0;
    }
    int begin = 0, end = (columns + COLUMNS - 1) / COLUMNS;
    if (s.causal && KEYS) { // the first query that sees some of these keys
        const int query = block * 64 - shift;
        begin = query > 0 ? query / COLUMNS : 0;
    } else if (s.causal) {
        const int seen = (block * 64 + 64 + shift + COLUMNS - 1) / COLUMNS;
        end = seen < end ? seen : end;
    }
    const float unit = (float)s.scale * 1.44269504f;
    for (int j = begin - 1; j < end; ++j) {
        if (j + 1 < end) { // the first time there is nothing to do but this
            const int next = (j + 1) * COLUMNS, place = (j + 1) % 2;
            hp_send_tile<COLUMNS, D, 128>(tile1[place], first, next, columns, c1s.row, s.dim);
            hp_send_tile<COLUMNS, D, 128>(tile2[place], second, next, columns, c2s.row, s.dim);
            hp_end_group();
            if (KEYS && threadIdx.x < COLUMNS) {
                const int query = next + threadIdx.x;
                const bool there = query < columns;
                column_sum[place][threadIdx.x] =
                    there ? log_sums[query] * 1.44269504f : INFINITY; // P = 0
                column_dot[place][threadIdx.x] = there ? dots[query] : 0;
            }
        }
        if (j < begin)
            continue;
        if (j + 1 < end)
            hp_wait_but_one();
        else
            hp_wait_for_all();
        __syncthreads();
        float p[COLUMNS / 8][4] = {}, d[COLUMNS / 8][4] = {};
        hp_times_rows<COLUMNS, D, T>(p, a1, tile1[j % 2]);
        hp_times_rows<COLUMNS, D, T>(d, a2, tile2[j % 2]);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e) {
                const int mine = n * 8 + 2 * t + e % 2, other = j * COLUMNS + mine;
                const int key = KEYS ? upper + e / 2 * 8 : other;
                const int query = KEYS ? other : upper + e / 2 * 8;
                const bool hidden = key >= s.keys || (s.causal && key > query + shift);
                const float log_sum = KEYS ? column_sum[j % 2][mine] : row_sum[e / 2];
                const float dot = KEYS ? column_dot[j % 2][mine] : row_dot[e / 2];
                p[n][e] = hidden ? 0.0f : hp_quick_exp2(hp_fma(p[n][e], unit, -log_sum));
                d[n][e] = p[n][e] * (d[n][e] - dot);
            }
        uint32_t factor[COLUMNS / 16][4];
#pragma unroll
        for (int n = 0; n < COLUMNS / 16; ++n)
            hp_as_factor<T>(factor[n], d[2 * n], d[2 * n + 1]);
        hp_times_tile<COLUMNS, D, T>(sum1, factor, tile1[j % 2]);
        if constexpr (KEYS) {
#pragma unroll
            for (int n = 0; n < COLUMNS / 16; ++n)
                hp_as_factor<T>(factor[n], p[2 * n], p[2 * n + 1]);
            hp_times_tile<COLUMNS, D, T>(sum2, factor, tile2[j % 2]);
        }
        __syncthreads(); // the tiles may be written again
    }
    const float scale = (float)s.scale;
    hp_write_rows<D>(hp_head(d1, d1s, number, s.heads), sum1, scale, scale, row, rows, d1s.row,
                     s.dim);
    if constexpr (KEYS)
        hp_write_rows<D>(hp_head(d2, d2s, number, s.heads), sum2, 1.0f, 1.0f, row, rows, d2s.row,
                         s.dim);
}

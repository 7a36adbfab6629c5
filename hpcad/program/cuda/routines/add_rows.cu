// Sums of rows by index, always in the same order and without atomic additions of real numbers.
//
// The places of the batch are sorted by the row they mean (radix sort, least significant digit
// first, stable). Of every row, its places then stand side by side in the order of the batch. They
// are summed in pieces of PIECE places; the sums of a row's pieces are added in order.
//
// In scratch memory: keys and places, twice each; counts; first and last of each row; partial sums.

const int HP_TILE = 2048;  // places that a block sorts
const int HP_DIGITS = 256; // per pass
const int HP_PIECE = 32;   // places that are summed one after the other

struct hp_sorting {
    uint32_t *keys[2];   // rows; `rows` itself for indices that mean none
    uint32_t *places[2]; // in the batch
    uint32_t *counts;    // [digit][tile], later where the places of a tile go
    uint32_t *first;     // of each row, in the sorted order
    uint32_t *past;      // its last, and one more
    unsigned char *sums; // partial sums
};

HP_INLINE int64_t hp_tiles(int64_t count)
{
    return count > 0 ? (count + HP_TILE - 1) / HP_TILE : 1;
}

HP_INLINE hp_sorting hp_sorting_in(unsigned char *scratch, int64_t count, int64_t rows)
{
    uint32_t *at = (uint32_t *)scratch;
    hp_sorting s;
    for (int i = 0; i < 2; ++i) {
        s.keys[i] = at + 2 * i * count;
        s.places[i] = at + (2 * i + 1) * count;
    }
    s.counts = at + 4 * count;
    s.first = s.counts + HP_DIGITS * hp_tiles(count);
    s.past = s.first + rows;
    s.sums = scratch + ((s.past + rows - at) * 4 + 255) / 256 * 256;
    return s;
}

HP_INLINE int hp_digit(uint32_t key, int pass) { return key >> (8 * pass) & (HP_DIGITS - 1); }

// The threads of a warp that hold the same digit, if they have one at all.
HP_INLINE unsigned hp_peers(int digit, bool valid)
{
    unsigned peers = __ballot_sync(0xffffffffu, valid);
    for (int bit = 0; bit < 8; ++bit) {
        const unsigned set = __ballot_sync(0xffffffffu, digit >> bit & 1);
        peers &= digit >> bit & 1 ? set : ~set;
    }
    return valid ? peers : 0;
}

// -- the launches of a pass of the sort, blocks of 256 threads ------------------------------------

// Count the digits of a tile; before the first pass, make the keys and forget all rows.
template <class K>
HP_INLINE void hp_count_digits(const K *index, uint64_t *fault, unsigned char *scratch,
                               int64_t count, int64_t rows, int pass)
{
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    __shared__ unsigned counts[HP_DIGITS];
    const unsigned tiles = gridDim.x;
    counts[threadIdx.x] = 0;
    __syncthreads();
    for (int k = threadIdx.x; k < HP_TILE; k += 256) {
        const int64_t i = (int64_t)blockIdx.x * HP_TILE + k;
        if (i < count) {
            if (pass == 0) {
                const int64_t row = hp_row(index[i], rows);
                if (row < 0)
                    hp_complain(fault, count, i);
                s.keys[0][i] = (uint32_t)(row < 0 ? rows : row);
                s.places[0][i] = (uint32_t)i;
            }
            atomicAdd(&counts[hp_digit(s.keys[pass % 2][i], pass)], 1u);
        }
    }
    __syncthreads();
    s.counts[threadIdx.x * tiles + blockIdx.x] = counts[threadIdx.x];
    for (int64_t r = hp_first<int64_t>(); pass == 0 && r < rows; r += hp_stride<int64_t>())
        s.first[r] = s.past[r] = 0;
}

// Where the places of each digit and tile go: running sums of the counts, by one block.
HP_INLINE void hp_sum_digits(unsigned char *scratch, int64_t count, int64_t rows)
{
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    const unsigned tiles = (unsigned)hp_tiles(count);
    __shared__ unsigned totals[HP_DIGITS];
    uint32_t *mine = s.counts + threadIdx.x * tiles; // of one digit
    unsigned total = 0;
    for (unsigned t = 0; t < tiles; ++t)
        total += mine[t];
    totals[threadIdx.x] = total;
    __syncthreads();
    unsigned before = 0;
    for (unsigned digit = 0; digit < threadIdx.x; ++digit)
        before += totals[digit];
    for (unsigned t = 0; t < tiles; ++t) {
        const unsigned here = mine[t];
        mine[t] = before;
        before += here;
    }
}

// Move the places of a tile; each of eight warps has an eighth of it, in order.
HP_INLINE void hp_move_places(unsigned char *scratch, int64_t count, int64_t rows, int pass)
{
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    __shared__ unsigned next[8][HP_DIGITS];
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t *keys = s.keys[pass % 2], *places = s.places[pass % 2];
    const int64_t start = (int64_t)blockIdx.x * HP_TILE + warp * (HP_TILE / 8) + lane;
    for (int w = 0; w < 8; ++w)
        next[w][threadIdx.x] = 0;
    __syncthreads();
    for (int k = 0; k < HP_TILE / 8; k += 32)
        if (start + k < count)
            atomicAdd(&next[warp][hp_digit(keys[start + k], pass)], 1u);
    __syncthreads();
    unsigned running = s.counts[threadIdx.x * gridDim.x + blockIdx.x];
    for (int w = 0; w < 8; ++w) {
        const unsigned here = next[w][threadIdx.x];
        next[w][threadIdx.x] = running;
        running += here;
    }
    __syncthreads();
    for (int k = 0; k < HP_TILE / 8; k += 32) {
        const bool valid = start + k < count;
        const uint32_t key = valid ? keys[start + k] : 0;
        const int digit = hp_digit(key, pass);
        const unsigned peers = hp_peers(digit, valid);
        const unsigned before = peers & ((1u << lane) - 1);
        const unsigned base = next[warp][digit];
        __syncwarp();
        if (valid) {
            const unsigned to = base + __popc(before);
            s.keys[1 - pass % 2][to] = key;
            s.places[1 - pass % 2][to] = places[start + k];
            if (before == 0)
                next[warp][digit] = base + __popc(peers);
        }
        __syncwarp();
    }
}

// Where each row begins and ends in the sorted order.
HP_INLINE void hp_find_rows(unsigned char *scratch, int64_t count, int64_t rows, int passes)
{
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    const uint32_t *keys = s.keys[passes % 2];
    for (int64_t p = hp_first<int64_t>(); p < count; p += hp_stride<int64_t>()) {
        const uint32_t key = keys[p];
        if (key < rows && (p == 0 || keys[p - 1] != key))
            s.first[key] = (uint32_t)p;
        if (key < rows && (p == count - 1 || keys[p + 1] != key))
            s.past[key] = (uint32_t)(p + 1);
    }
}

// -- the sums -------------------------------------------------------------------------------------

// Partial sums: of the first pieces of rows, and of the others, a row of A per piece.
template <class A>
HP_INLINE A *hp_partial(const hp_sorting &s, int64_t count, int64_t width, int64_t p, bool first)
{
    const int64_t pieces = (count + HP_PIECE - 1) / HP_PIECE;
    return (A *)s.sums + ((first ? 0 : pieces) + p / HP_PIECE) * width;
}

// Sum a piece, from the place p at which it begins on, in N columns; `p` begins no piece in most
// places. The sum of a row of one piece goes to the table at once.
template <int N, class T>
HP_INLINE void hp_sum_pieces(const T *g, T *table, unsigned char *scratch, int64_t count,
                             int64_t rows, int64_t width, int passes, bool accumulate)
{
    typedef typename hp_stored<T>::computed A;
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    const uint32_t *keys = s.keys[passes % 2], *places = s.places[passes % 2];
    const int64_t p = (int64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    const int64_t column = ((int64_t)blockIdx.y * 32 + threadIdx.x % 32) * N;
    if (p >= count || column >= width || keys[p] >= rows)
        return;
    const uint32_t row = keys[p], first = s.first[row], past = s.past[row];
    if ((p - first) % HP_PIECE != 0)
        return;
    const int here = past - p < HP_PIECE ? (int)(past - p) : HP_PIECE;
    T *const target = table + row * width + column;
    A sum[N];
    for (int l = 0; l < N; ++l)
        sum[l] = accumulate && p == first ? hp_stored<T>::load(target + l) : A(0);
#pragma unroll 8
    for (int k = 0; k < here; ++k) {
        const hp_vector<T, N> x = hp_load<N>(g + places[p + k] * width + column);
        for (int l = 0; l < N; ++l)
            sum[l] += hp_stored<T>::load(x.lane + l);
    }
    if (past - first <= HP_PIECE) {
        hp_vector<T, N> rounded;
        for (int l = 0; l < N; ++l)
            hp_stored<T>::store(rounded.lane + l, sum[l]);
        hp_store<N>(target, rounded);
    } else {
        A *const partial = hp_partial<A>(s, count, width, p, p == first) + column;
        for (int l = 0; l < N; ++l)
            partial[l] = sum[l];
    }
}

// Add the sums of the pieces of long rows; clear rows that nothing was added to.
template <class T>
HP_INLINE void hp_finish_rows(T *table, unsigned char *scratch, int64_t count, int64_t rows,
                              int64_t width, bool accumulate)
{
    typedef typename hp_stored<T>::computed A;
    const hp_sorting s = hp_sorting_in(scratch, count, rows);
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        const int64_t first = s.first[row], past = s.past[row];
        const bool clear = past == first && !accumulate;
        if (past - first <= HP_PIECE && !clear)
            continue;
        for (int64_t c = (int64_t)blockIdx.y * blockDim.x + threadIdx.x; c < width;
             c += (int64_t)gridDim.y * blockDim.x) {
            A sum = clear ? A(0) : hp_partial<A>(s, count, width, first, true)[c];
#pragma unroll 8
            for (int64_t p = first + HP_PIECE; p < past; p += HP_PIECE)
                sum += hp_partial<A>(s, count, width, p, false)[c];
            hp_stored<T>::store(table + row * width + c, sum);
        }
    }
}

// What both ways to compute attention have in common.

// Where rows lie: elements from one batch, head and row to the next.
struct hp_steps {
    int64_t batch, head, row;
};

struct hp_attention {
    int batch, heads, queries, keys, dim, causal;
    double scale;
};

template <class T> HP_INLINE T *hp_head(T *x, const hp_steps &s, int number, int heads)
{
    return x + number / heads * s.batch + number % heads * s.head;
}

// dots[number, query] = <g, out>: a warp per row.
template <class T, class A>
HP_INLINE void hp_attention_dots(const T *g, const T *out, A *dots, hp_steps gs, hp_steps os,
                                 hp_attention s)
{
    const int64_t row = (int64_t)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= (int64_t)s.batch * s.heads * s.queries)
        return; // a whole warp
    const int number = (int)(row / s.queries), query = (int)(row % s.queries);
    const T *const x = hp_head(g, gs, number, s.heads) + query * gs.row;
    const T *const y = hp_head(out, os, number, s.heads) + query * os.row;
    A sum = 0;
    for (int c = threadIdx.x % 32; c < s.dim; c += 32)
        sum += hp_stored<T>::load(x + c) * hp_stored<T>::load(y + c);
    sum = hp_reduce<32>(sum, hp_add());
    if (threadIdx.x % 32 == 0)
        dots[row] = sum;
}

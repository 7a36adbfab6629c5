// Moving elements between layouts. S is the type in the source, T in the target.

template <class S, class T> struct hp_converted {
    HP_INLINE T of(const S *from)
    {
        T to;
        hp_stored<T>::store(&to, (typename hp_stored<T>::computed)hp_stored<S>::load(from));
        return to;
    }
};
template <class T> struct hp_converted<T, T> {
    HP_INLINE T of(const T *from) { return *from; }
};

// What a place of the target gets: an element, or the sum of it with what stands there.
template <bool A, class T> struct hp_placed {
    HP_INLINE T of(T x, const T *) { return x; }
};
template <class T> struct hp_placed<true, T> {
    HP_INLINE T of(T x, const T *there)
    {
        T sum;
        hp_stored<T>::store(&sum, hp_stored<T>::load(there) + hp_stored<T>::load(&x));
        return sum;
    }
};

template <int N, bool A, class S, class T> HP_INLINE void hp_copy(const S *source, T *target)
{
    const hp_vector<S, N> x = hp_load<N>(source);
    hp_vector<T, N> y;
    if (A)
        y = hp_load<N>((const T *)target);
#pragma unroll
    for (int l = 0; l < N; ++l)
        y.lane[l] = hp_placed<A, T>::of(hp_converted<S, T>::of(x.lane + l), y.lane + l);
    hp_store<N>(target, y);
}

// target[a * ta + b] = source[a + b * sb], += where A is true, for the 32 x 32 of a from `a0` and of b
// from `b0` on that there are: through shared memory, so that neighbours are read and written
// together. Block of 256.
template <bool A, class S, class T, class I>
HP_INLINE void hp_turn_tile(const S *source, T *target, I a0, I b0, I as, I bs, I sb, I ta)
{
    __shared__ T tile[32][33];
    const int x = threadIdx.x % 32, y = threadIdx.x / 32;
    for (int k = y; k < 32; k += 8)
        if (a0 + x < as && b0 + k < bs)
            tile[k][x] = hp_converted<S, T>::of(source + a0 + x + (b0 + k) * sb);
    __syncthreads();
    for (int k = y; k < 32; k += 8)
        if (a0 + k < as && b0 + x < bs)
            target[(a0 + k) * ta + b0 + x] =
                hp_placed<A, T>::of(tile[x][k], target + (a0 + k) * ta + b0 + x);
    __syncthreads(); // the tile may be written again
}

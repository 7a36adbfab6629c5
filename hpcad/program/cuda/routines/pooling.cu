// Max pooling over windows of SIZE x SIZE that do not overlap, images in N,H,W,C order, N channels
// at a time. A window's winner is the number of its part, row-major; the first at ties; NaN beats
// numbers without becoming the winner.

struct hp_image {
    int height, width, channels, size;
};

template <int N, class T, class I>
HP_INLINE void hp_max_pool(const T *image, T *pooled, int8_t *winner, hp_image s, I images,
                           bool relu)
{
    typedef typename hp_stored<T>::computed A;
    const I rows = s.height / s.size, columns = s.width / s.size, groups = s.channels / N;
    for (I g = hp_first<I>(); g < images * rows * columns * groups; g += hp_stride<I>()) {
        const I c = g % groups * N, window = g / groups;
        const I column = window % columns, row = window / columns % rows;
        const I pixel = (window / columns / rows * s.height + row * s.size) * s.width;
        const T *const x = image + (pixel + column * s.size) * s.channels + c;
        A best[N];
        hp_vector<int8_t, N> won;
        for (int l = 0; l < N; ++l)
            won.lane[l] = 0;
        for (int part = 0; part < s.size * s.size; ++part) {
            const I place = (I)(part / s.size) * s.width + part % s.size;
            const hp_vector<T, N> other = hp_load<N>(x + place * s.channels);
#pragma unroll
            for (int l = 0; l < N; ++l) {
                const A value = hp_stored<T>::load(other.lane + l);
                const bool better = part > 0 && value > best[l];
                won.lane[l] = better ? (int8_t)part : won.lane[l];
                best[l] = part == 0 || better || value != value ? value : best[l];
            }
        }
        hp_vector<T, N> rounded;
#pragma unroll
        for (int l = 0; l < N; ++l)
            hp_stored<T>::store(rounded.lane + l, relu && best[l] <= 0 ? A(0) : best[l]);
        hp_store<N>(pooled + window * s.channels + c, rounded);
        hp_store<N>(winner + window * s.channels + c, won);
    }
}

// The adjoint, gathered: each pixel asks whether it has won its window. A product with 0 and 1, so
// that infinite cotangents make NaN as they do in NumPy. Pixels of no window become 0.
template <int N, class T, class I>
HP_INLINE void hp_unpool(const T *pooled, const int8_t *winner, T *image, hp_image s, I images)
{
    typedef typename hp_stored<T>::computed A;
    const I rows = s.height / s.size, columns = s.width / s.size, groups = s.channels / N;
    for (I g = hp_first<I>(); g < images * s.height * s.width * groups; g += hp_stride<I>()) {
        const I c = g % groups * N, pixel = g / groups;
        const I x = pixel % s.width, y = pixel / s.width % s.height;
        const I row = y / s.size, column = x / s.size;
        const int part = (int)(y % s.size * s.size + x % s.size);
        hp_vector<T, N> out;
        if (row < rows && column < columns) {
            const I window = (pixel / s.width / s.height * rows + row) * columns + column;
            const hp_vector<T, N> u = hp_load<N>(pooled + window * s.channels + c);
            const hp_vector<int8_t, N> won = hp_load<N>(winner + window * s.channels + c);
#pragma unroll
            for (int l = 0; l < N; ++l)
                hp_stored<T>::store(out.lane + l, hp_stored<T>::load(u.lane + l) *
                                                      (won.lane[l] == part ? A(1) : A(0)));
        } else {
#pragma unroll
            for (int l = 0; l < N; ++l)
                hp_stored<T>::store(out.lane + l, A(0));
        }
        hp_store<N>(image + pixel * s.channels + c, out);
    }
}

// The adjoint of that: the elements that have won.
template <int N, class T, class I>
HP_INLINE void hp_pick(const T *image, const int8_t *winner, T *picked, hp_image s, I images)
{
    const I rows = s.height / s.size, columns = s.width / s.size;
    for (I g = hp_first<I>(); g < images * rows * columns * s.channels; g += hp_stride<I>()) {
        const I c = g % s.channels, window = g / s.channels;
        const I column = window % columns, row = window / columns % rows;
        const int part = winner[g];
        const I y = row * s.size + part / s.size, x = column * s.size + part % s.size;
        const I pixel = (window / columns / rows * s.height + y) * s.width + x;
        picked[g] = image[pixel * s.channels + c];
    }
}

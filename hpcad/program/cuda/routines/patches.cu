// Patches of images in N,H,W,C order as the rows of a matrix, and their adjoint.

struct hp_patches {
    int height, width, channels;  // of the images
    int rows, columns;            // of what a convolution makes of them
    int kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
};

// matrix[(n, row, column), (i, j, c)] = image[n, row * sh + i - ph, column * sw + j - pw, c], 0
// outside of the image. Elements travel as bits, V at a time; `pieces` of V are all channels.
template <class V, class I>
HP_INLINE void hp_take_patches(const void *image, void *matrix, hp_patches p, I images, I pieces)
{
    const I across = (I)p.kernel_h * p.kernel_w * pieces;
    for (I g = hp_first<I>(); g < images * p.rows * p.columns * across; g += hp_stride<I>()) {
        const I at = g / across, c = g % pieces, tap = g % across / pieces;
        const I y = at / p.columns % p.rows * p.stride_h + tap / p.kernel_w - p.padding_h;
        const I x = at % p.columns * p.stride_w + tap % p.kernel_w - p.padding_w;
        const I n = at / p.columns / p.rows;
        V value;
        memset(&value, 0, sizeof(V));
        if (y >= 0 && y < p.height && x >= 0 && x < p.width)
            value = ((const V *)image)[((n * p.height + y) * p.width + x) * pieces + c];
        ((V *)matrix)[g] = value;
    }
}

// The adjoint, gathered: each pixel sums what the patches hold of it, in the order of the kernel.
template <int N, class T, class I>
HP_INLINE void hp_add_patches(const T *matrix, T *image, hp_patches p, I images)
{
    typedef typename hp_stored<T>::computed A;
    const I groups = p.channels / N, taps = (I)p.kernel_h * p.kernel_w;
    for (I g = hp_first<I>(); g < images * p.height * p.width * groups; g += hp_stride<I>()) {
        const I c = g % groups * N, pixel = g / groups;
        const int x = (int)(pixel % p.width), y = (int)(pixel / p.width % p.height);
        const I first = pixel / p.width / p.height * p.rows;
        A sum[N];
        for (int l = 0; l < N; ++l)
            sum[l] = 0;
        for (int i = 0; i < p.kernel_h; ++i) {
            const int below = y + p.padding_h - i, row = below / p.stride_h;
            if (below < 0 || below % p.stride_h != 0 || row >= p.rows)
                continue;
            for (int j = 0; j < p.kernel_w; ++j) {
                const int right = x + p.padding_w - j, column = right / p.stride_w;
                if (right < 0 || right % p.stride_w != 0 || column >= p.columns)
                    continue;
                const I at = ((first + row) * p.columns + column) * taps + i * p.kernel_w + j;
                const hp_vector<T, N> part = hp_load<N>(matrix + at * p.channels + c);
#pragma unroll
                for (int l = 0; l < N; ++l)
                    sum[l] += hp_stored<T>::load(part.lane + l);
            }
        }
        hp_vector<T, N> rounded;
#pragma unroll
        for (int l = 0; l < N; ++l)
            hp_stored<T>::store(rounded.lane + l, sum[l]);
        hp_store<N>(image + pixel * p.channels + c, rounded);
    }
}

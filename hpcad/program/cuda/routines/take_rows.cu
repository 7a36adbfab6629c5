// Rows of a table by index. Elements travel as bits, V at a time; `pieces` of V make a row.

template <class V> HP_INLINE V hp_all_ones()
{
    V ones;
    memset(&ones, 0xff, sizeof(V));
    return ones;
}

// out[i] = table[index[i]]; where an index means no row, all bits are set: NaN in floating point.
template <class V, class I, class K>
HP_INLINE void hp_take_rows(const void *table, const K *index, void *out, uint64_t *fault,
                            int64_t rows, I count, I pieces)
{
    const I work = count * pieces;
    for (I g = hp_first<I>(); g < work; g += hp_stride<I>()) {
        const I i = g / pieces, piece = g % pieces;
        const int64_t row = hp_row(index[i], rows);
        if (row < 0 && piece == 0)
            hp_complain(fault, count, i);
        ((V *)out)[g] = row < 0 ? hp_all_ones<V>() : ((const V *)table)[row * pieces + piece];
    }
}

// Cross-entropy with integer labels, over rows of logits: its value, its gradient, or both in one
// visit. The largest logit and the sum of exponentials are found together, in one pass over a row;
// probabilities are never written.

// Of the logits that a thread has seen: the largest, and the sum of exp(x - largest).
template <class A> struct hp_online {
    A top, sum;
};

HP_INLINE float hp_exp_for(float x, bool quick) { return quick ? hp_quick_exp(x) : hp_exp_f32(x); }
HP_INLINE double hp_exp_for(double x, bool) { return hp_exp_f64(x); }

// log(sum of exp) of a row; every thread of the team gets it. `step` elements lie between the
// beginnings of two rows, a multiple of N; what lies behind the classes is not looked at.
template <int TEAM, int N, class T>
HP_INLINE typename hp_stored<T>::computed hp_log_sum(const T *row, int classes)
{
    typedef typename hp_stored<T>::computed A;
    const bool quick = sizeof(T) == 2;
    const A least = -(A)INFINITY;
    hp_online<A> seen = {least, 0};
    for (int c = threadIdx.x % TEAM * N; c < classes; c += TEAM * N) {
        const hp_vector<T, N> x = hp_load<N>(row + c);
        A value[N], top = seen.top;
#pragma unroll
        for (int l = 0; l < N; ++l) {
            value[l] = c + l < classes ? hp_stored<T>::load(x.lane + l) : least;
            top = hp_maximum()(top, value[l]);
        }
        if (top != seen.top) { // also of NaN
            seen.sum *= hp_exp_for(seen.top - top, quick);
            seen.top = top;
        }
        if (top != least) {
#pragma unroll
            for (int l = 0; l < N; ++l)
                seen.sum += hp_exp_for(value[l] - top, quick);
        }
    }
    const A top = hp_reduce<TEAM>(seen.top, hp_maximum());
    const A part = seen.top == least ? A(0) : seen.sum * hp_exp_for(seen.top - top, quick);
    return hp_log_of(hp_reduce<TEAM>(part, hp_add())) + top;
}

// out[c] = (exp(row[c] - log_sum) - (c == label)) * scale; 0 behind the classes. `out` may be `row`.
template <int TEAM, int N, class T, class A>
HP_INLINE void hp_error(const T *row, T *out, int classes, int step, int64_t label, A log_sum,
                        A scale)
{
    const bool quick = sizeof(T) == 2;
    for (int c = threadIdx.x % TEAM * N; c < step; c += TEAM * N) {
        hp_vector<T, N> x = hp_load<N>(row + c);
#pragma unroll
        for (int l = 0; l < N; ++l) {
            const A p = hp_exp_for(hp_stored<T>::load(x.lane + l) - log_sum, quick);
            const A error = (c + l == label ? p - A(1) : p) * scale;
            hp_stored<T>::store(x.lane + l, c + l < classes ? error : A(0));
        }
        hp_store<N>(out + c, x);
    }
}

// A team per row. Labels that are no class make NaN and are reported.
//   loss:     where not null, written
//   log_sums: where `known`, read; else, where not null, written
//   scales:   where not null, the gradient is written to `out`, which may be `logits`; one for
//             each row, or one
template <int TEAM, int N, class T, class K, class A>
HP_INLINE void hp_cross_entropy(const T *logits, T *out, const K *labels, A *loss, A *log_sums, bool known,
                                const A *scales, bool each, uint64_t *fault, int64_t rows,
                                int classes, int step)
{
    const int64_t r = (int64_t)blockIdx.x * (blockDim.x / TEAM) + threadIdx.x / TEAM;
    if (r >= rows)
        return; // a whole team, so that nobody waits for it
    const T *const row = logits + r * step;
    const bool leads = threadIdx.x % TEAM == 0;
    const int64_t label = (int64_t)labels[r];
    const bool wrong = label < 0 || label >= classes;
    if (wrong && leads)
        hp_complain(fault, rows, r);
    A log_sum = known ? log_sums[r] : hp_log_sum<TEAM, N>(row, classes);
    if (leads && loss)
        loss[r] = wrong ? (A)NAN : log_sum - hp_stored<T>::load(row + label);
    if (leads && log_sums && !known)
        log_sums[r] = log_sum;
    if (scales) {
        hp_meet<TEAM>(); // the logit of the label has been read
        const A scale = wrong ? (A)NAN : scales[each ? r : 0];
        hp_error<TEAM, N>(row, out + r * step, classes, step, label, log_sum, scale);
    }
}

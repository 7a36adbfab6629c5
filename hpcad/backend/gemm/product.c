/* One matrix product, or a batch of them, through a BLAS library that is given as pointers.
 *
 * The loop over a batch runs here, not in Python; it, and single large products, can be spread over
 * the thread pool, each piece a call of BLAS with one thread. Matrices lie row by row.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "threads.h"

#define AXES 8
#define EXPORT __attribute__((visibility("default")))

enum { CBLAS_32, CBLAS_64, DNNL }; /* which arguments the library takes */
enum { FLIP_NONE, FLIP_A, FLIP_B };
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 }; /* as cblas.h numbers them */

typedef struct {
    void *gemm, *gemv;         /* gemv: NULL, or to be used where c is one row or one column */
    int (*get_threads)(void);  /* both NULL where the library has no such thing */
    void (*set_threads)(int);
    int32_t api, type;         /* type: float, double, complex float, complex double */
    int32_t per_thread;        /* the library keeps a number of threads for each calling thread */
    int32_t threads;           /* threads within a call; 0: as many as it uses anyway */
    int32_t spread;            /* pieces run on the pool, each with one thread */
    int32_t flip;              /* first copy that operand to the other layout */
    int32_t trans_a, trans_b;  /* memory holds the transposed operand */
    int32_t axes;              /* of the batch */
    int64_t m, n, k, lda, ldb, ldc;
    int64_t row_parts, column_parts; /* pieces into which c is cut */
    int64_t extents[AXES], step_a[AXES], step_b[AXES], step_c[AXES]; /* in elements */
    double alpha[2], beta[2];
} product_t;

typedef struct { /* what one call of BLAS is given */
    int64_t m, n, k, lda, ldb, ldc;
    int trans_a, trans_b;
    const char *a, *b;
    char *c;
} piece_t;

static const int64_t SIZES[] = {4, 8, 8, 16};

/* -- calls of BLAS ---------------------------------------------------------------------------- */

/* One function for each width of integers and each type. `REAL` is how a factor is passed: by value
 * or, where it is complex, by address. */
#define DEFINE_CALLS(suffix, INTEGER, REAL, FACTOR)                                               \
    static void gemm_##suffix(const product_t *p, const piece_t *x, const void *alpha,            \
                              const void *beta)                                                   \
    {                                                                                             \
        typedef void (*call)(int, int, int, INTEGER, INTEGER, INTEGER, REAL, const void *,        \
                             INTEGER, const void *, INTEGER, REAL, void *, INTEGER);              \
        ((call)p->gemm)(ROW_MAJOR, x->trans_a ? TRANSPOSED : PLAIN,                               \
                        x->trans_b ? TRANSPOSED : PLAIN, (INTEGER)x->m, (INTEGER)x->n,            \
                        (INTEGER)x->k, FACTOR(REAL, alpha), x->a, (INTEGER)x->lda, x->b,          \
                        (INTEGER)x->ldb, FACTOR(REAL, beta), x->c, (INTEGER)x->ldc);              \
    }                                                                                             \
    static void gemv_##suffix(const product_t *p, const piece_t *x, const void *alpha,            \
                              const void *beta)                                                   \
    {                                                                                             \
        typedef void (*call)(int, int, INTEGER, INTEGER, REAL, const void *, INTEGER,             \
                             const void *, INTEGER, REAL, void *, INTEGER);                       \
        int column = x->n == 1; /* c = op(a) b, else c^T = op(b)^T a^T */                         \
        int trans = column ? x->trans_a : !x->trans_b;                                            \
        INTEGER out = (INTEGER)(column ? x->m : x->n), in = (INTEGER)x->k;                        \
        int64_t step = column ? (x->trans_b ? 1 : x->ldb) : (x->trans_a ? x->lda : 1);            \
        ((call)p->gemv)(ROW_MAJOR, trans ? TRANSPOSED : PLAIN, trans ? in : out,                  \
                        trans ? out : in, FACTOR(REAL, alpha), column ? x->a : x->b,              \
                        (INTEGER)(column ? x->lda : x->ldb), column ? x->b : x->a,                \
                        (INTEGER)step, FACTOR(REAL, beta), x->c,                                  \
                        (INTEGER)(column ? x->ldc : 1));                                          \
    }
#define BY_VALUE(REAL, factor) (*(const REAL *)(factor))
#define BY_ADDRESS(REAL, factor) (factor)

DEFINE_CALLS(s32, int, float, BY_VALUE)
DEFINE_CALLS(d32, int, double, BY_VALUE)
DEFINE_CALLS(z32, int, const void *, BY_ADDRESS)
DEFINE_CALLS(s64, int64_t, float, BY_VALUE)
DEFINE_CALLS(d64, int64_t, double, BY_VALUE)
DEFINE_CALLS(z64, int64_t, const void *, BY_ADDRESS)

static void gemm_dnnl(const product_t *p, const piece_t *x, const void *alpha, const void *beta)
{
    typedef int (*call)(char, char, int64_t, int64_t, int64_t, float, const void *, int64_t,
                        const void *, int64_t, float, void *, int64_t);
    ((call)p->gemm)(x->trans_a ? 'T' : 'N', x->trans_b ? 'T' : 'N', x->m, x->n, x->k,
                    *(const float *)alpha, x->a, x->lda, x->b, x->ldb, *(const float *)beta, x->c,
                    x->ldc);
}

typedef void (*caller)(const product_t *, const piece_t *, const void *, const void *);

static void multiply(const product_t *p, const piece_t *x)
{
    static const caller gemms[3][4] = {{gemm_s32, gemm_d32, gemm_z32, gemm_z32},
                                       {gemm_s64, gemm_d64, gemm_z64, gemm_z64},
                                       {gemm_dnnl}};
    static const caller gemvs[2][4] = {{gemv_s32, gemv_d32, gemv_z32, gemv_z32},
                                       {gemv_s64, gemv_d64, gemv_z64, gemv_z64}};
    float alpha[2] = {(float)p->alpha[0], (float)p->alpha[1]};
    float beta[2] = {(float)p->beta[0], (float)p->beta[1]};
    int narrow = p->type == 0 || p->type == 2;
    int vector = p->gemv != NULL && (x->n == 1 || x->m == 1);
    caller call = vector ? gemvs[p->api][p->type] : gemms[p->api][p->type];
    call(p, x, narrow ? (void *)alpha : (void *)p->alpha, narrow ? (void *)beta : (void *)p->beta);
}

/* -- transposed copies ------------------------------------------------------------------------ */

typedef struct {
    const char *from;
    char *to;
    int64_t rows, columns, ld_from, ld_to, size;
} copy_t;

#define TILE 16 /* elements on a side: whole cache lines are read and written */

#define DEFINE_TRANSPOSE(name, TYPE)                                                              \
    static void name(const copy_t *x, long begin, long end)                                       \
    {                                                                                             \
        const TYPE *from = (const TYPE *)x->from;                                                 \
        TYPE *to = (TYPE *)x->to;                                                                 \
        for (int64_t j = begin; j < end; j += TILE)                                               \
            for (int64_t i = 0; i < x->rows; i += TILE) {                                         \
                int64_t wide = end - j < TILE ? end - j : TILE;                                   \
                int64_t high = x->rows - i < TILE ? x->rows - i : TILE;                           \
                if (wide == TILE && high == TILE) { /* bounds that the compiler knows: 4x faster */   \
                    TYPE tile[TILE][TILE];                                                        \
                    for (int r = 0; r < TILE; r++)                                                \
                        for (int s = 0; s < TILE; s++)                                            \
                            tile[s][r] = from[(i + r) * x->ld_from + j + s];                      \
                    for (int s = 0; s < TILE; s++)                                                \
                        memcpy(&to[(j + s) * x->ld_to + i], tile[s], sizeof tile[s]);             \
                    continue;                                                                     \
                }                                                                                 \
                for (int64_t s = 0; s < wide; s++)                                                \
                    for (int64_t r = 0; r < high; r++)                                            \
                        to[(j + s) * x->ld_to + i + r] = from[(i + r) * x->ld_from + j + s];      \
            }                                                                                     \
    }
typedef struct { double parts[2]; } pair_t;
DEFINE_TRANSPOSE(transpose_4, float)
DEFINE_TRANSPOSE(transpose_8, double)
DEFINE_TRANSPOSE(transpose_16, pair_t)

/* Columns begin <= j < end of the source become rows of the copy. */
static void transpose(void *context, long begin, long end, int worker)
{
    const copy_t *x = context;
    (void)worker;
    (x->size == 4 ? transpose_4 : x->size == 8 ? transpose_8 : transpose_16)(x, begin, end);
}

/* Memory of the calling thread, which grows to the largest copy asked for. */
static char *scratch(size_t size)
{
    static _Thread_local char *memory;
    static _Thread_local size_t held;
    if (held < size) {
        free(memory);
        size = (size + 63) / 64 * 64;
        memory = aligned_alloc(64, size);
        held = memory ? size : 0;
    }
    return memory;
}

/* Copy an operand, (rows, columns) in memory, to the other layout. Where memory is short it stays
 * as it is. */
static void flip(const char **operand, int *trans, int64_t *ld, int64_t rows, int64_t columns,
                 int64_t size)
{
    /* Rows that lie a multiple of 1 KiB apart fall into few sets of the caches. */
    int64_t ld_to = rows * size % 1024 ? rows : rows + TILE;
    char *to = scratch((size_t)(columns * ld_to * size));
    if (to == NULL)
        return;
    copy_t copy = {*operand, to, rows, columns, *ld, ld_to, size};
    hp_parallel_for(transpose, &copy, columns, 4 * TILE);
    *operand = to;
    *trans = !*trans;
    *ld = ld_to;
}

/* -- pieces ----------------------------------------------------------------------------------- */

typedef struct {
    const product_t *product;
    piece_t whole;
} work_t;

/* Rows (or columns) of part number `part` of `parts`: whole multiples of 16, what kernels like. */
static void cut(int64_t total, int64_t parts, int64_t part, int64_t *begin, int64_t *length)
{
    int64_t blocks = (total + 15) / 16;
    int64_t end = blocks * (part + 1) / parts * 16;
    *begin = blocks * part / parts * 16;
    *length = (end < total ? end : total) - *begin;
}

static void run_piece(const work_t *work, int64_t number)
{
    const product_t *p = work->product;
    int64_t size = SIZES[p->type];
    int64_t parts = p->row_parts * p->column_parts;
    int64_t item = number / parts, part = number % parts;
    piece_t x = work->whole;
    for (int axis = p->axes - 1; axis >= 0; axis--) {
        int64_t index = item % p->extents[axis];
        item /= p->extents[axis];
        x.a += index * p->step_a[axis] * size;
        x.b += index * p->step_b[axis] * size;
        x.c += index * p->step_c[axis] * size;
    }
    if (parts > 1) {
        int64_t row, column;
        cut(p->m, p->row_parts, part / p->column_parts, &row, &x.m);
        cut(p->n, p->column_parts, part % p->column_parts, &column, &x.n);
        x.a += (x.trans_a ? row : row * x.lda) * size;
        x.b += (x.trans_b ? column * x.ldb : column) * size;
        x.c += (row * x.ldc + column) * size;
    }
    if (x.m > 0 && x.n > 0)
        multiply(p, &x);
}

static void run_pieces(void *context, long begin, long end, int worker)
{
    const work_t *work = context;
    const product_t *p = work->product;
    (void)worker;
    int before = p->per_thread ? p->get_threads() : 1;
    if (before != 1)
        p->set_threads(1);
    for (int64_t number = begin; number < end; number++)
        run_piece(work, number);
    if (before != 1)
        p->set_threads(before);
}

static void run_in_order(const work_t *work, int64_t pieces)
{
    for (int64_t number = 0; number < pieces; number++)
        run_piece(work, number);
}

/* c = alpha op(a) op(b) + beta c */
EXPORT void hp_gemm(const product_t *p, const char *a, const char *b, char *c);
void hp_gemm(const product_t *p, const char *a, const char *b, char *c)
{
    int64_t size = SIZES[p->type];
    work_t work = {p, {p->m, p->n, p->k, p->lda, p->ldb, p->ldc, p->trans_a, p->trans_b, a, b, c}};
    int64_t pieces = p->row_parts * p->column_parts;
    for (int axis = 0; axis < p->axes; axis++)
        pieces *= p->extents[axis];
    if (pieces == 0)
        return;
    piece_t *x = &work.whole;
    if (p->flip == FLIP_A)
        flip(&x->a, &x->trans_a, &x->lda, p->trans_a ? p->k : p->m, p->trans_a ? p->m : p->k, size);
    if (p->flip == FLIP_B)
        flip(&x->b, &x->trans_b, &x->ldb, p->trans_b ? p->n : p->k, p->trans_b ? p->k : p->n, size);
    int wanted = p->spread ? 1 : p->threads;
    int before = wanted && p->get_threads && !(p->spread && p->per_thread) ? p->get_threads() : wanted;
    if (before != wanted)
        p->set_threads(wanted);
    if (p->spread)
        hp_parallel_for(run_pieces, &work, pieces, 1);
    else
        run_in_order(&work, pieces);
    if (before != wanted)
        p->set_threads(before);
}

/* -- for measurements ------------------------------------------------------------------------- */

static void add_ones(void *context, long begin, long end, int worker)
{
    double *x = context;
    (void)worker;
    for (long i = begin; i < end; i++)
        x[i] += 1.0;
}

/* What other instructions of a step do: they move data through the caches, on the pool. */
EXPORT void hp_stir(double *x, long n);
void hp_stir(double *x, long n)
{
    hp_parallel_for(add_ones, x, n, 4096);
}

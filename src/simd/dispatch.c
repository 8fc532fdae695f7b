/* ---- simd/dispatch.c: one kernel table per instruction set, chosen at run time ---------------- */

/* Elementwise functions of one argument; a and b are their constants. */
typedef enum itp_unary {
    ITP_RELU,
    ITP_LEAKY_RELU, /* a: slope below 0 */
    ITP_ELU,        /* a */
    ITP_SELU,
    ITP_SOFTPLUS,
    ITP_SIGMOID,
    ITP_TANH,
    ITP_SILU,
    ITP_GELU,
    ITP_GELU_TANH,
    ITP_HARD_SWISH,
    ITP_HARD_SIGMOID, /* clip(a x + b, 0, 1) */
    ITP_EXP,
    ITP_LOG,
    ITP_SQRT,
    ITP_ERF,
    ITP_NEG,
    ITP_ABS,
    ITP_RECIPROCAL,
    ITP_CLIP, /* to [a, b] */
    ITP_SQUARE,
    ITP_UNARY_COUNT
} itp_unary;

typedef enum itp_binary { ITP_ADD, ITP_SUB, ITP_MUL, ITP_DIV, ITP_BINARY_COUNT } itp_binary;

/* Constants of one optimiser step. */
typedef struct itp_update {
    float lr, weight_decay, momentum, beta1, beta2, epsilon;
    float correction1, correction2; /* 1 - beta^t */
    float grad_scale;               /* from clipping */
    bool nesterov, decoupled;
} itp_update;

/* c[m,n] = alpha a[m,k] b[k,n] + beta c + bias_row[m] + bias_column[n]; c is not read if beta is 0. */
typedef struct itp_gemm {
    int m, n, k;
    float alpha, beta;
    const float *a;
    ptrdiff_t a_rs, a_cs; /* element strides from row to row and column to column */
    const float *b;
    ptrdiff_t b_rs, b_cs;
    float *c;
    ptrdiff_t c_rs;                      /* columns of c are contiguous */
    const float *bias_row, *bias_column; /* NULL: none */
    const float *packed; /* NULL, or all of b by itp_gemm_pack, itp_gemm_packed floats */
    bool zeros;          /* a may have many: their products, 0 where b is finite, are left out */
} itp_gemm;

/* Sums to[r][c] = from[r][c] + sum of a[r] b[c] over outer * inner steps. Step (o, i) reads `rows` numbers
   a_rs apart at a + o a_outer + i a_step, and whole vectors of `columns` numbers at
   b + o b_outer + i b_step: also those past the last column must be readable. Rows that are not side by
   side take steps of one. With tables, a_at[i] and b_at[i] stand for i a_step and i b_step; a_rs is 1. */
typedef struct itp_tile {
    int rows,
        columns; /* 1..mr and 1..nr; up to ITP_LONG_ROWS rows also of ITP_LONG_VECTORS vectors */
    int outer, inner;
    const float *a, *b;
    ptrdiff_t a_rs, a_outer, b_outer, a_step, b_step;
    const ptrdiff_t *a_at, *b_at; /* [inner], both or none */
    ptrdiff_t ahead[2];           /* floats from a step's b to two lines that are asked for early */
    const float *from;            /* NULL: zeros */
    ptrdiff_t from_rs;
    float *to;
    ptrdiff_t to_rs;
} itp_tile;

/* Asks early for both vectors of b that many steps on. */
ITP_FN void itp_tile_ahead(itp_tile *t, int steps, int width)
{
    t->ahead[0] = steps * t->b_step;
    t->ahead[1] = t->ahead[0] + width;
}

/* The largest tile of any instruction set, in floats, and its columns. */
#define ITP_MOST_TILE (14 * 32)
#define ITP_MOST_NR   32
#define ITP_MOST_MR   14
/* The most columns whose products leave zeros out together. */
#define ITP_MOST_STRIPE 128

/* Tiles of few rows are longer: enough sums that do not wait for each other, in few registers. */
#define ITP_LONG_ROWS          3
#define ITP_LONG_VECTORS(rows) ((rows) == 3 ? 3 : 4)

#if defined(__GNUC__) || defined(__clang__)
#define ITP_PREFETCH(p)      __builtin_prefetch(p, 0, 2)
#define ITP_PREFETCH_NEAR(p) __builtin_prefetch(p, 0, 3) /* as near as can be */
#define ITP_LOWEST_BIT(bits) __builtin_ctzll(bits)
#else
#define ITP_PREFETCH(p)      ((void)(p))
#define ITP_PREFETCH_NEAR(p) ((void)(p))
#define ITP_LOWEST_BIT(bits) itp_lowest_bit(bits)
ITP_FN int itp_lowest_bit(uint64_t bits)
{
    int n = 0;
    for (; !(bits & 1); bits >>= 1) n++;
    return n;
}
#endif

/* Blocks of the product: a panel of b (KC x 2 vectors) and a block of a (MC x KC) stay in L2; a block of
   b (KC x NC) is read once for each block of a. A long KC reads c seldom, a wide NC packs a seldom. Blocks
   of a are the whole tiles within MC; NC is a multiple of every tile width. */
#define ITP_GEMM_KC 1024
#define ITP_GEMM_MC 126
#define ITP_GEMM_NC 1024

/* Rows of a block of a: those that are mostly zeros have a bit for each step, set where a number is not
   0; the others have none set. Rows above MC make room for whole vectors. */
typedef struct itp_sparse {
    int rows, words;
    uint64_t bits[ITP_GEMM_MC + 16][(ITP_GEMM_KC + 63) / 64];
    bool skip[ITP_GEMM_MC]; /* [row]: zeros are left out */
} itp_sparse;

/* Panels of rows with fewer numbers than this share leave zeros out. */
#define ITP_SPARSE 0.6

/* Blocks so small that packing an operand would not pay. */
#define ITP_GEMM_DIRECT_ROWS    256
#define ITP_GEMM_DIRECT_COLUMNS 128
/* Rows of b that are a multiple of this apart share few places of the first-level cache: b is read there
   only by tiles that are high enough to read it seldom, or if it is small. */
#define ITP_GEMM_SHARED        512
#define ITP_GEMM_SHARED_FLOATS (1 << 18)
#define ITP_GEMM_SHARED_TILE   12

/* Steps of a block of k: blocks are of nearly the same length. */
ITP_FN int itp_gemm_kc(int k)
{
    return k > ITP_GEMM_KC ? itp_div_up(k, itp_div_up(k, ITP_GEMM_KC)) : itp_max(k, 1);
}

/* Floats of a b [k,n] that is packed as a whole. */
ITP_FN size_t itp_gemm_packed(int k, int n, int nr)
{
    return itp_mul_size((size_t)k, itp_round_up((size_t)n, (size_t)nr));
}

/* Scratch of a packed block of a, and of both blocks, in floats. */
ITP_FN size_t itp_gemm_a_floats(int k, int rows)
{
    const size_t kc = (size_t)itp_max(1, itp_min(k, ITP_GEMM_KC));
    return itp_round_up(kc * (size_t)itp_min(rows, ITP_GEMM_MC), ITP_CACHE_LINE / sizeof(float));
}

ITP_FN size_t itp_gemm_floats(int k, int rows, int columns, int nr)
{
    const size_t kc = (size_t)itp_max(1, itp_min(k, ITP_GEMM_KC));
    const size_t n = itp_round_up((size_t)itp_min(columns, ITP_GEMM_NC), (size_t)nr);
    return itp_gemm_a_floats(k, rows) + kc * n;
}

/* out[k step + r] = x[r row_step + k number_step], where no step is 1. */
ITP_FN void itp_pack_apart(int rows, int n, const float *x, ptrdiff_t row_step,
                           ptrdiff_t number_step, float *out, ptrdiff_t step)
{
    for (int k = 0; k < n; k++)
        for (int r = 0; r < rows; r++) out[k * step + r] = x[r * row_step + k * number_step];
}

/* The most columns of a softmax across them. */
#define ITP_ACROSS 256

/* One plane under a sliding window. */
#define ITP_PLANE_TAPS 128 /* of a window at most, where the gradient of its weights is asked for */
typedef struct itp_plane {
    int height, width, rows, columns, taps_y, taps_x;
    int stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
} itp_plane;

/* ---- planes under a window, a number at a time: where vectors have nothing to gain */

/* The output columns lo..hi whose source column for this tap lies inside the plane. */
ITP_FN void itp_tap_range(int columns, int width, int stride, int offset, int *lo, int *hi)
{
    const int first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const int end = width > offset ? (width - offset + stride - 1) / stride : 0;
    *lo = first < columns ? first : columns;
    *hi = end < columns ? end : columns;
    if (*hi < *lo) *hi = *lo;
}

/* Runs the body for every output row `oy` and tap that has sources: `sy` source row, `lo`..`hi` output
   columns, `sx` source column of lo, `tap` its index. */
#define ITP_FOR_TAPS(g, ...)                                                                       \
    for (int oy = 0; oy < (g)->rows; oy++)                                                         \
        for (int ty = 0; ty < (g)->taps_y; ty++) {                                                 \
            const int sy = oy * (g)->stride_y + ty * (g)->dilation_y - (g)->pad_y;                 \
            if (sy < 0 || sy >= (g)->height) continue;                                             \
            for (int tx = 0; tx < (g)->taps_x; tx++) {                                             \
                int lo, hi;                                                                        \
                const int offset = tx * (g)->dilation_x - (g)->pad_x;                              \
                itp_tap_range((g)->columns, (g)->width, (g)->stride_x, offset, &lo, &hi);          \
                if (lo >= hi) continue;                                                            \
                const int sx = lo * (g)->stride_x + offset, tap = ty * (g)->taps_x + tx;           \
                const size_t count = (size_t)(hi - lo);                                            \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }

/* The first of this tap's sources inside of `size`, and how many follow it up to the last. */
ITP_FN int itp_taps_inside(int at, int taps, int dilation, int size, int *first)
{
    *first = at < 0 ? (-at + dilation - 1) / dilation : 0;
    const int end = at < size ? (size - 1 - at) / dilation + 1 : 0;
    return (end < taps ? end : taps) - *first;
}

/* dx += d at the first largest source of the window at (oy, ox) */
ITP_FN void itp_window_max_grad(const itp_plane *g, const float *x, int oy, int ox, float d,
                                float *dx)
{
    int ty, tx;
    const int y = oy * g->stride_y - g->pad_y, left = ox * g->stride_x - g->pad_x;
    const int down = itp_taps_inside(y, g->taps_y, g->dilation_y, g->height, &ty);
    const int along = itp_taps_inside(left, g->taps_x, g->dilation_x, g->width, &tx);
    if (down <= 0 || along <= 0) return;
    ptrdiff_t row = (ptrdiff_t)(y + ty * g->dilation_y) * g->width + left + tx * g->dilation_x;
    ptrdiff_t best = row;
    for (int i = 0; i < down; i++, row += (ptrdiff_t)g->dilation_y * g->width)
        for (int t = 0; t < along; t++)
            if (x[row + t * g->dilation_x] > x[best]) best = row + t * g->dilation_x;
    dx[best] += d;
}

/* A pool, see plane_pool, of windows wider than its scratch. */
ITP_FN void itp_pool_by_taps(const itp_plane *g, const float *x, const float *per_y,
                             const float *per_x, float *y)
{
    const bool average = per_y != NULL;
    for (int i = 0; i < g->rows * g->columns; i++) y[i] = average ? 0 : -(float)INFINITY;
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = x + (ptrdiff_t)sy * g->width + sx;
        float *to = y + (ptrdiff_t)oy * g->columns + lo;
        for (size_t i = 0; i < count; i++, from += g->stride_x)
            if (average) to[i] += *from * (per_y[oy] * per_x[(size_t)lo + i]);
            else if (*from > to[i] || *from != *from) to[i] = *from;
    })
}

/* The gradient of an average, likewise. */
ITP_FN void itp_pool_grad_by_taps(const itp_plane *g, const float *dy, const float *per_y,
                                  const float *per_x, float *dx, bool add)
{
    if (!add) memset(dx, 0, (size_t)g->height * (size_t)g->width * sizeof *dx);
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        for (size_t i = 0; i < count; i++, to += g->stride_x)
            *to += from[i] * (per_y[oy] * per_x[(size_t)lo + i]);
    })
}

/* Networks trained side by side: that many numbers at each place, one of each network. */
#define ITP_ABREAST 16

/* Windows over places: x of tap t of the window at (r, c) is at r row_step + c step + tap[t]. */
typedef struct itp_sliding {
    int rows, columns, row_step, step, taps;
} itp_sliding;

#define ITP_KERNEL_LIST(X)                                                                         \
    X(void, unary, (itp_unary op, size_t n, const float *x, float *y, float a, float b))           \
    X(void, binary,                                                                                \
      (itp_binary op, size_t n, const float *a, int a_step, const float *b, int b_step, float *y)) \
    X(void, scale_add, (size_t n, float alpha, const float *x, float beta, float *y))              \
    X(void, affine, (size_t n, float a, const float *x, float c, float *y))                        \
    X(void, affine2,                                                                               \
      (size_t n, float a, const float *x, float b, const float *y, float c, float *z, bool add))   \
    X(void, mul_add, (size_t n, const float *x, const float *y, float *z, bool add))               \
    X(void, every, (int n, const float *x, int step, float *y))                                    \
    X(double, sum, (size_t n, const float *x))                                                     \
    X(double, dot, (size_t n, const float *x, float a, const float *y, float b))                   \
    X(float, max, (size_t n, const float *x))                                                      \
    X(double, exp_sum, (size_t n, const float *x, float shift, float *y))                          \
    X(void, softmax_across, (size_t n, size_t m, size_t step, const float *x, float *y, bool log)) \
    X(void, normalise,                                                                             \
      (size_t n, const float *x, float mean, float rstd, const float *gamma, const float *beta,    \
       float *y))                                                                                  \
    X(void, tile, (const itp_tile *t))                                                             \
    X(void, pack_a, (const itp_gemm *g, int i0, int m, int k0, int kc, float *out))                \
    X(void, pack_b, (const itp_gemm *g, int k0, int kc, int j0, int n, float *out))                \
    X(void, sparse_bits, (const itp_gemm *g, int i0, int m, int k0, int kc, itp_sparse *s))        \
    X(void, sparse_sums,                                                                           \
      (const itp_sparse *s, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,        \
       ptrdiff_t b_panel, const float *start, float *c, ptrdiff_t c_rs, int n))                    \
    X(void, interleave,                                                                            \
      (int rows, int n, const float *src, ptrdiff_t row_step, const ptrdiff_t *row_at, float *out, \
       ptrdiff_t step))                                                                            \
    X(void, gather,                                                                                \
      (int outer, ptrdiff_t step, int inner, const ptrdiff_t *at, int runs, const ptrdiff_t *from, \
       const int *length, const float *x, float *out))                                             \
    X(void, spread, (int rows, int n, const float *tile, float *y, ptrdiff_t step, float beta))    \
    X(void, winograd_data,                                                                         \
      (int side, const itp_plane *g, int top, int pieces, int channels, const float *x,            \
       ptrdiff_t plane, float *rows, float *v, ptrdiff_t point_step, ptrdiff_t piece_step))        \
    X(void, winograd_sums,                                                                         \
      (int side, int pieces, const float *m, ptrdiff_t point_step, ptrdiff_t piece_step,           \
       float *rows))                                                                               \
    X(void, winograd_weights,                                                                      \
      (int side, int n, const float *w, bool turned, float *u, ptrdiff_t point_step))              \
    X(void, plane_conv,                                                                            \
      (const itp_plane *g, const float *x, const float *w, float bias, bool add, float *y))        \
    X(void, plane_pool,                                                                            \
      (const itp_plane *g, const float *x, const float *per_y, const float *per_x, float *y))

/* Those of backward passes and training, apart: a program that only infers links none of them. */
#define ITP_GRAD_KERNEL_LIST(X)                                                                    \
    X(void, winograd_pieces,                                                                       \
      (const itp_plane *g, int top, int pieces, int channels, const float *x, ptrdiff_t plane,     \
       float *rows, float *v, ptrdiff_t point_step, ptrdiff_t piece_step))                         \
    X(void, winograd_gradient, (int n, const float *u, ptrdiff_t point_step, float *w))            \
    X(void, unary_grad,                                                                            \
      (itp_unary op, size_t n, const float *x, const float *y, const float *dy, float *dx,         \
       float a, float b, bool add))                                                                \
    X(void, relu_delta,                                                                            \
      (size_t n, const float *x, const float *x0, const float *dy, bool add, float *dx))           \
    X(void, relu_guided,                                                                           \
      (size_t n, const float *x, float most, const float *dy, bool add, float *dx))                \
    X(void, sgd, (size_t n, float *p, const float *g, float *velocity, const itp_update *u))       \
    X(void, rmsprop,                                                                               \
      (size_t n, float *p, const float *g, float *square, float *velocity, const itp_update *u))   \
    X(void, adam,                                                                                  \
      (size_t n, float *p, const float *g, float *mean, float *square, const itp_update *u))       \
    X(void, plane_conv_data,                                                                       \
      (const itp_plane *g, const float *dy, const float *w, bool add, float *dx))                  \
    X(void, plane_conv_weights,                                                                    \
      (const itp_plane *g, int planes, bool together, const float *x, ptrdiff_t x_step,            \
       const float *dy, ptrdiff_t dy_step, float *dw))                                             \
    X(void, plane_max_grad,                                                                        \
      (const itp_plane *g, const float *x, const float *dy, float *dx, bool add))                  \
    X(void, plane_average_grad,                                                                    \
      (const itp_plane *g, const float *dy, const float *per_y, const float *per_x, float *dx,     \
       bool add))                                                                                  \
    X(void, abreast_sum,                                                                           \
      (const itp_sliding *g, const int *tap, const float *x, const float *w, const float *bias,    \
       ptrdiff_t bias_step, float *y))                                                             \
    X(void, abreast_weights,                                                                       \
      (const itp_sliding *g, const int *tap, const float *x, const float *dy, float *dw,           \
       float *dbias))                                                                              \
    X(void, abreast_spread,                                                                        \
      (const itp_sliding *g, const int *tap, const float *dy, const float *w, float *dx))          \
    X(void, abreast_max, (const itp_sliding *g, const int *tap, const float *x, float *y))         \
    X(void, abreast_max_grad,                                                                      \
      (const itp_sliding *g, const int *tap, const float *x, const float *y, const float *dy,      \
       float *dx))

#ifndef INTERP_NO_EMBED
/* How two rows are compared, beyond what a product of matrices can do. */
typedef enum itp_compare {
    ITP_COMPARE_L1,
    ITP_COMPARE_MAX,
    ITP_COMPARE_LP, /* sum of |x - y|^p, p in `p` */
    ITP_COMPARE_CANBERRA,
    ITP_COMPARE_BRAY_CURTIS,
    ITP_COMPARE_HAMMING,
    ITP_COMPARE_JACCARD,
    ITP_COMPARE_L2 /* squared */
} itp_compare;

/* A transform of length n, the product of its factors. */
typedef struct itp_fft {
    int n, stages;
    int factor[32];
    const float *twiddle; /* stage by stage, j by j, p by p: cos and -sin of 2 pi j p / length */
} itp_fft;

/* A convolution of the real [m+1, width] grid with an even kernel, wrapped at 2m = fft->n. */
typedef struct itp_grid {
    const itp_fft *fft;
    const int *place; /* [n]: where frequency k is after a forward transform */
    int m, width;     /* width is a multiple of 32, above m; numbers from column m on are 0 */
    int rows;         /* of the spectrum: n/2 + 1 rounded up to whole vectors */
    bool mirror;      /* the grid is a kernel: what lies beyond m is what lies before it */
    float *grid;      /* [m+1, width] */
    float *re, *im;   /* [rows, width] */
    float *kernel;    /* [rows / lanes, n, lanes] */
} itp_grid;

/* Weighted neighbours of points in the plane or in space. */
typedef struct itp_springs {
    const size_t *start;  /* [n+1] */
    const int32_t *index; /* and V_WIDTH more that may be read */
    const float *weight;  /* alike */
    const float *y[3];    /* [n] each; NULL beyond the dimensions */
    float *force[3];      /* [n] each */
    float stretch;        /* 1 / degrees of freedom */
} itp_springs;

/* One step of gradient descent with momentum and gains. */
typedef struct itp_descent {
    float *y[3], *velocity[3], *gain[3];
    const float *pull[3], *push[3];
    float pull_scale, push_scale; /* gradient = pull_scale pull - push_scale push */
    float rate, momentum, most;   /* most: the longest step */
} itp_descent;

/* What all vertices of an UMAP epoch share. */
typedef struct itp_attraction {
    int dims;
    float a, b, rate, repulsion;
    int negatives;   /* for each edge that is due */
    int both;        /* attractions of such an edge: 2, its own and its twin's; 1 in a transform */
    const float *at; /* [dims][stride]: where the others are */
    size_t stride;
    int others; /* their number */
    const float
        *shuffled; /* [1 + dims][shuffled_stride]: their numbers and places in a random order,
                              whole vectors from any of them on */
    size_t shuffled_stride;
    const float *density; /* NULL: no; [4][stride]: see umap.c */
    float density_scale;
} itp_attraction;

/* The most dimensions a UMAP embedding can have. */
#define ITP_UMAP_DIMS  16
#define ITP_MOST_LANES 16

/* Those of neighbours and embeddings, apart for the same reason. */
#define ITP_EMBED_KERNEL_LIST(X)                                                                   \
    X(int, below, (int n, const float *x, float limit, int32_t *at))                               \
    X(int, count_before, (int n, const float *x, float limit, int index))                          \
    X(void, compare,                                                                               \
      (itp_compare how, float p, int d, const float *x, const float *y, size_t ld,                 \
       const int32_t *at, int m, float *out))                                                      \
    X(void, fft, (const itp_fft *f, float *re, float *im, bool inverse))                           \
    X(void, grid_along, (const itp_grid *g, int block, bool inverse, float *scratch))              \
    X(void, grid_across, (const itp_grid *g, int block, float *scratch))                           \
    X(void, springs, (const itp_springs *s, int dims, int from, int to))                           \
    X(double, springs_cost, (const itp_springs *s, int dims, int from, int to))                    \
    X(double, repel, (const itp_springs *s, int dims, float power, int n, int from, int to))       \
    X(void, descend, (const itp_descent *g, int dims, int from, int to))                           \
    X(double, mesh_read,                                                                           \
      (int from, int to, const float *x, const float *y, const float *origin, float per_cell,      \
       const float *grid, int width, float scale, float *values, float *fx, float *fy))            \
    X(void, attract,                                                                               \
      (const itp_attraction *s, int steps, const int32_t *own, const int32_t *neighbour,           \
       const float *due, uint32_t *state, float *y))                                               \
    X(void, spread_rows,                                                                           \
      (int from, int to, const size_t *start, const int32_t *index, const float *weight,           \
       const float *x, int columns, float a, const float *old, float b, float *out))
#endif

struct itp_kernels {
    const char *name;
    int width, mr, nr; /* lanes; rows and columns of a gemm tile */
    int ahead;         /* steps by which a tile asks for its second operand early; 0: it does not */
    int pairs;         /* of vectors of a row whose products leave zeros out; 0: none do */
#define ITP_KERNEL(type, name, arguments) type(*name) arguments;
    ITP_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

typedef struct itp_grad_kernels {
#define ITP_KERNEL(type, name, arguments) type(*name) arguments;
    ITP_GRAD_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
} itp_grad_kernels;

#ifndef INTERP_NO_EMBED
typedef struct itp_embed_kernels {
#define ITP_KERNEL(type, name, arguments) type(*name) arguments;
    ITP_EMBED_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
} itp_embed_kernels;
#endif

#if !defined(INTERP_NO_SIMD) && (defined(__x86_64__) || defined(__i386__) || defined(_M_X64)) &&   \
    (defined(__GNUC__) || defined(__clang__) || defined(_MSC_VER))
#define ITP_X86 1
#ifdef __cplusplus
}
#endif
#include <immintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#ifdef __cplusplus
extern "C" {
#endif
#elif !defined(INTERP_NO_SIMD) && (defined(__aarch64__) || defined(_M_ARM64))
#define ITP_NEON 1
#ifdef __cplusplus
}
#endif
#include <arm_neon.h>
#ifdef __cplusplus
extern "C" {
#endif
#endif

/* The bodies are compiled by including this very header once per instruction set. A bare name, so
   that it is looked up beside this file; define INTERP_SELF when the header was renamed. */
#if !defined(INTERP_SELF)
#define INTERP_SELF "interp.h"
#endif
#if defined(__has_include)
#if !__has_include(INTERP_SELF)
#error "interp.h was renamed: define INTERP_SELF as its new name, in quotes"
#endif
#endif

#define ITP_TARGET_BEGIN
#define ITP_TARGET_END
#define ITP_KERNEL_PASS 1
#include INTERP_SELF
#undef ITP_KERNEL_PASS

#if defined(ITP_X86)
#undef ITP_TARGET_BEGIN
#undef ITP_TARGET_END
#define ITP_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define ITP_TARGET(isa)                                                                            \
    ITP_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define ITP_TARGET_END _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define ITP_TARGET(isa) _Pragma("GCC push_options") ITP_PRAGMA(GCC target isa)
#define ITP_TARGET_END  _Pragma("GCC pop_options")
/* g++ 12 warns of uninitialised values inside its own avx512fintrin.h; without optimisation gcc's
   intrinsics are macros, whose conversions it then sees in our lines. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#else
#define ITP_TARGET(isa)
#define ITP_TARGET_END
#endif
#if defined(__clang__)
#define ITP_TARGET_BEGIN ITP_TARGET(ITP_TARGET_GCC)
#else
#define ITP_TARGET_BEGIN ITP_TARGET((ITP_TARGET_GCC))
#endif
#define ITP_KERNEL_PASS 2
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#define ITP_KERNEL_PASS 3
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#elif defined(ITP_NEON)
#define ITP_KERNEL_PASS 4
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#endif
#undef ITP_TARGET_BEGIN
#undef ITP_TARGET_END

/* ---- what this machine has */

#if defined(ITP_X86)
ITP_FN void itp_cpuid(unsigned leaf, unsigned r[4])
{
#if defined(_MSC_VER)
    int t[4];
    __cpuidex(t, (int)leaf, 0);
    for (int i = 0; i < 4; i++) r[i] = (unsigned)t[i];
#else
    __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]);
#endif
}

/* The register state the operating system saves. */
ITP_FN unsigned itp_xgetbv(void)
{
#if defined(_MSC_VER)
    return (unsigned)_xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

ITP_FN bool itp_has_isa(int pass)
{
    unsigned r[4];
    itp_cpuid(0, r);
    if (r[0] < 7) return false;
    itp_cpuid(1, r);
    const bool osxsave = r[2] >> 27 & 1, avx = r[2] >> 28 & 1, fma = r[2] >> 12 & 1;
    if (!osxsave || !avx || !fma) return false;
    const unsigned state = itp_xgetbv();
    if ((state & 0x6u) != 0x6u) return false;
    itp_cpuid(7, r);
    if (!(r[1] >> 5 & 1)) return false; /* AVX2 */
    if (pass == 2) return true;
    const unsigned need = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    return (r[1] & need) == need && (state & 0xE6u) == 0xE6u;
}
#endif

/* The table called `isa`, or the best; NULL when that one is not there. NULL or "auto" as the name
   asks the environment first. */
ITP_FN const itp_kernels *itp_kernels_choose(const char *isa)
{
    const itp_kernels *found[4];
    int n = 0;
#if defined(ITP_X86)
    if (itp_has_isa(3)) found[n++] = &itp_kernels_avx512;
    if (itp_has_isa(2)) found[n++] = &itp_kernels_avx2;
#elif defined(ITP_NEON)
    found[n++] = &itp_kernels_neon;
#endif
    found[n++] = &itp_kernels_scalar;
#if !defined(INTERP_NO_STDIO)
    if (!isa || !isa[0] || !strcmp(isa, "auto")) isa = getenv("INTERP_ISA");
#endif
    if (!isa || !isa[0] || !strcmp(isa, "auto")) return found[0];
    for (int i = 0; i < n; i++)
        if (!strcmp(found[i]->name, isa)) return found[i];
    return NULL;
}

/* The gradients' kernels of the same instruction set. */
ITP_FN const itp_grad_kernels *itp_grads(const itp_kernels *k)
{
#if defined(ITP_X86)
    if (k == &itp_kernels_avx512) return &itp_grad_kernels_avx512;
    if (k == &itp_kernels_avx2) return &itp_grad_kernels_avx2;
#elif defined(ITP_NEON)
    if (k == &itp_kernels_neon) return &itp_grad_kernels_neon;
#endif
    (void)k;
    return &itp_grad_kernels_scalar;
}

/* y may be x. */
ITP_FN void itp_softmax(const itp_kernels *k, size_t n, const float *x, float *y)
{
    const double sum = k->exp_sum(n, x, k->max(n, x), y);
    k->scale_add(n, (float)(1 / sum), y, 0, y);
}

ITP_FN void itp_log_softmax(const itp_kernels *k, size_t n, const float *x, float *y,
                            float *scratch)
{
    const float top = k->max(n, x);
    const double sum = k->exp_sum(n, x, top, scratch);
    k->affine(n, 1, x, -(top + (float)log(sum)), y);
}

#ifndef INTERP_NO_EMBED
/* Those of embeddings. */
ITP_FN const itp_embed_kernels *itp_embeds(const itp_kernels *k)
{
#if defined(ITP_X86)
    if (k == &itp_kernels_avx512) return &itp_embed_kernels_avx512;
    if (k == &itp_kernels_avx2) return &itp_embed_kernels_avx2;
#elif defined(ITP_NEON)
    if (k == &itp_kernels_neon) return &itp_embed_kernels_neon;
#endif
    (void)k;
    return &itp_embed_kernels_scalar;
}
#endif

INTERP_API const char *interp_isa(const interp_ctx *ctx)
{
    return ctx->k->name;
}

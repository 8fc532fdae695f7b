/* Kernels: every instruction set against plain double-precision code over ragged sizes and
   misaligned pointers; elementary functions by their error in ulp. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};

/* A context of an instruction set, or NULL where the machine does not have it. */
static interp_ctx *open_isa(int i)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.isa = isas[i];
    d.threads = 2;
    return interp_open(&d);
}

#define FOR_ISAS(ctx)                                                                              \
    for (int isa_ = 0; isa_ < 4; isa_++)                                                           \
        for (interp_ctx *ctx = open_isa(isa_); ctx; interp_close(ctx), ctx = NULL)

static float rnd(uint64_t i)
{
    return interp_random_uniform(1, 2, i) * 2 - 1;
}

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_uniform(5, stream, i) * 2 - 1;
}

/* Error of got against want in units of the last place of want as a float. */
static double ulps(float got, double want)
{
    if ((double)got == want || (isnan(got) && isnan(want))) return 0;
    if (fabs(want) < (double)FLT_MIN) return fabs((double)got - want) < (double)FLT_MIN ? 0 : 1e9;
    if (fabs(want) > (double)FLT_MAX) return isinf(got) ? 0 : 1e9;
    const float w = (float)want;
    return fabs((double)got - want) / (double)fabsf(nextafterf(w, INFINITY) - w);
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));
}

/* Largest error of op over a sweep of floats from lo to hi. */
static double worst(interp_ctx *ctx, itp_unary op, double (*f)(double), double lo, double hi)
{
    enum { n = 4099 };
    float x[n], y[n];
    double bad = 0;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < n; i++) {
            const double t = (double)interp_random_uniform(3, (uint64_t)round, (uint64_t)i);
            x[i] = (float)(lo + (hi - lo) * t);
        }
        ctx->k->unary(op, n, x, y, 0, 0);
        for (int i = 0; i < n; i++) {
            const double e = ulps(y[i], f((double)x[i]));
            bad = e > bad ? e : bad;
        }
    }
    return bad;
}

TEST(elementary_functions_keep_their_stated_ulp)
{
    FOR_ISAS(ctx)
    {
        CHECK_NEAR(worst(ctx, ITP_EXP, exp, -87.3, 88.7), 0, 1.5);
        CHECK_NEAR(worst(ctx, ITP_EXP, exp, -1, 1), 0, 1.5);
        CHECK_NEAR(worst(ctx, ITP_LOG, log, 1e-30, 1e30), 0, 2);
        CHECK_NEAR(worst(ctx, ITP_LOG, log, 0.5, 2), 0, 2);
        CHECK_NEAR(worst(ctx, ITP_TANH, tanh, -10, 10), 0, 2.5);
        CHECK_NEAR(worst(ctx, ITP_TANH, tanh, -0.7, 0.7), 0, 2.5);
        CHECK_NEAR(worst(ctx, ITP_SIGMOID, sigmoid, -80, 40), 0, 2.5);
        CHECK_NEAR(worst(ctx, ITP_ERF, erf, -5, 5), 0, 2.5);
        CHECK_NEAR(worst(ctx, ITP_ERF, erf, -1.1, 1.1), 0, 2.5);
        CHECK_NEAR(worst(ctx, ITP_SOFTPLUS, softplus, -80, 80), 0, 2.5);
    }
}

TEST(elementary_functions_are_right_at_the_edges)
{
    const float x[8] = {INFINITY, -INFINITY, NAN, 0, 1000, -1000, 1e-40f, -1};
    float y[8];
    FOR_ISAS(ctx)
    {
        ctx->k->unary(ITP_EXP, 8, x, y, 0, 0);
        CHECK(isinf(y[0]) && y[1] == 0 && isnan(y[2]) && y[3] == 1 && isinf(y[4]) && y[5] == 0);
        ctx->k->unary(ITP_LOG, 8, x, y, 0, 0);
        CHECK(isinf(y[0]) && isnan(y[1]) && isnan(y[2]) && y[3] < -FLT_MAX && isnan(y[7]));
        ctx->k->unary(ITP_TANH, 8, x, y, 0, 0);
        CHECK(y[0] == 1 && y[1] == -1 && isnan(y[2]) && y[3] == 0 && y[4] == 1 && y[5] == -1);
        ctx->k->unary(ITP_SIGMOID, 8, x, y, 0, 0);
        CHECK(y[0] == 1 && y[1] == 0 && isnan(y[2]) && y[3] == 0.5f && y[4] == 1 && y[5] == 0);
        ctx->k->unary(ITP_ERF, 8, x, y, 0, 0);
        CHECK(y[0] == 1 && y[1] == -1 && isnan(y[2]) && y[3] == 0 && y[4] == 1 && y[5] == -1);
        ctx->k->unary(ITP_RELU, 8, x, y, 0, 0);
        CHECK(isnan(y[2]) && y[7] == 0 && y[4] == 1000);
    }
}

/* Every elementwise op of an ISA agrees with the scalar body, any length, any alignment. */
TEST(elementwise_kernels_agree_with_the_scalar_body)
{
    interp_ctx *scalar = open_isa(0);
    float x[80], dy[80], want[80], got[80];
    for (int i = 0; i < 80; i++) x[i] = 3 * rnd((uint64_t)i), dy[i] = rnd((uint64_t)i + 100);
    FOR_ISAS(ctx)
    for (int op = 0; op < ITP_UNARY_COUNT; op++)
        for (int n = 0; n <= 67; n++) {
            const int at = n % 5;
            const float a = op == ITP_CLIP ? -1.0f : 0.3f, b = op == ITP_CLIP ? 1.5f : 0.5f;
            memset(got, 0, sizeof got);
            scalar->k->unary((itp_unary)op, (size_t)n, x + at, want, a, b);
            ctx->k->unary((itp_unary)op, (size_t)n, x + at, got + at, a, b);
            for (int i = 0; i < n; i++)
                if (!isnan(want[i])) CHECK_NEAR(got[i + at], want[i], 1e-6 * (1 + fabsf(want[i])));
            CHECK(got[n + at] == 0);
            float g0[80], g1[80];
            for (int i = 0; i < 80; i++) g0[i] = g1[i] = x[i];
            itp_grads(scalar->k)->unary_grad((itp_unary)op, (size_t)n, x + at, want, dy, g0, a, b,
                                             n & 1);
            itp_grads(ctx->k)->unary_grad((itp_unary)op, (size_t)n, x + at, want, dy, g1, a, b,
                                          n & 1);
            for (int i = 0; i < 80; i++)
                if (!isnan(g0[i])) CHECK_NEAR(g1[i], g0[i], 3e-6 * (1 + fabsf(g0[i])));
        }
    interp_close(scalar);
}

TEST(reductions_agree_with_double_sums)
{
    static float x[5000], y[5000];
    fill(x, 5000, 1);
    fill(y, 5000, 2);
    FOR_ISAS(ctx)
    for (size_t n = 0; n < 5000; n = n < 70 ? n + 1 : n * 2 + 1) {
        double sum = 0, dot = 0;
        float top = -INFINITY;
        for (size_t i = 0; i < n; i++) {
            sum += (double)x[i];
            dot += ((double)x[i] - 0.25) * ((double)y[i] + 0.5);
            top = x[i] > top ? x[i] : top;
        }
        CHECK_NEAR(ctx->k->sum(n, x), sum, 1e-6 * (double)(n + 1)); /* float blocks */
        CHECK_NEAR(ctx->k->dot(n, x, 0.25f, y, -0.5f), dot, 1e-6 * (double)(n + 1));
        CHECK(ctx->k->max(n, x) == top);
    }
}

/* Products up to this size in the ragged tests. */
#define BIG 140

TEST(sgemm_matches_a_double_sum)
{
    static float a[BIG * BIG + 8], b[BIG * BIG + 8], c[BIG * BIG + 8], c0[BIG * BIG + 8];
    static const int sizes[][3] = {{1, 1, 1},    {1, 67, 5},   {67, 1, 33},    {5, 7, 0},
                                   {12, 32, 16}, {13, 33, 17}, {6, 16, 9},     {64, 10, 50},
                                   {48, 96, 64}, {31, 65, 67}, {130, 131, 67}, {3, 140, 140}};
    fill(a, BIG * BIG + 8, 1);
    fill(b, BIG * BIG + 8, 2);
    fill(c0, BIG * BIG + 8, 3);
    FOR_ISAS(ctx)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int flags = 0; flags < 16; flags++) {
            const int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2], at = flags % 3;
            const bool ta = flags & 1, tb = flags & 2;
            const float alpha = flags & 4 ? 0.5f : 1, beta = flags & 8 ? -0.25f : 0;
            const int lda = BIG, ldb = BIG, ldc = BIG;
            memcpy(c, c0, sizeof c);
            CHECK_OK(ctx, interp_sgemm(ctx, ta, tb, m, n, k, alpha, a + at, lda, b + at, ldb, beta,
                                       c + at, ldc));
            for (int i = 0; i < m; i++)
                for (int j = 0; j < n; j++) {
                    double sum = 0;
                    for (int t = 0; t < k; t++)
                        sum += (double)a[at + (ta ? t * lda + i : i * lda + t)] *
                               (double)b[at + (tb ? j * ldb + t : t * ldb + j)];
                    const double want =
                        (double)alpha * sum +
                        (beta != 0 ? (double)beta * (double)c0[at + i * ldc + j] : 0);
                    CHECK_NEAR(c[at + i * ldc + j], want, 1e-6 * (k + 4)); /* k roundings */
                }
            if (n < BIG && m > 0) CHECK(c[at + n] == c0[at + n]); /* nothing written beside */
        }
}

TEST(sgemm_reads_no_c_when_beta_is_zero)
{
    interp_ctx *ctx = interp_open(NULL);
    float a[4] = {1, 2, 3, 4}, b[4] = {1, 0, 0, 1}, c[4] = {NAN, NAN, NAN, NAN};
    CHECK_OK(ctx, interp_sgemm(ctx, false, false, 2, 2, 2, 1, a, 2, b, 2, 0, c, 2));
    CHECK(c[0] == 1 && c[1] == 2 && c[2] == 3 && c[3] == 4);
    CHECK(interp_sgemm(ctx, false, false, 2, 2, 2, 1, a, 1, b, 2, 0, c, 2) == INTERP_BAD_ARGUMENT);
    interp_close(ctx);
}

TEST(sgemm_is_bit_identical_at_any_thread_count)
{
    enum { m = 301, n = 517, k = 600 };
    float *a = (float *)malloc(sizeof(float) * m * k), *b = (float *)malloc(sizeof(float) * k * n);
    float *c[3];
    fill(a, m * k, 1);
    fill(b, k * n, 2);
    for (int t = 0; t < 3; t++) {
        interp_desc d;
        memset(&d, 0, sizeof d);
        d.threads = t + 1;
        interp_ctx *ctx = interp_open(&d);
        c[t] = (float *)malloc(sizeof(float) * m * n);
        CHECK_OK(ctx, interp_sgemm(ctx, false, false, m, n, k, 1, a, k, b, n, 0, c[t], n));
        if (t) CHECK(memcmp(c[0], c[t], sizeof(float) * m * n) == 0);
        interp_close(ctx);
    }
    for (int t = 0; t < 3; t++) free(c[t]);
    free(a);
    free(b);
}

/* y of a convolution, and its gradients, by the definition in double. */
typedef struct naive {
    double *y, *dx, *dw;
} naive;

static void naive_conv(const itp_conv *c, const float *x, const float *w, const float *dy, naive *o)
{
    const itp_plane *p = &c->plane;
    const int m = c->out_channels / c->groups, in = c->in_channels / c->groups;
    for (int b = 0; b < c->batch; b++)
        for (int f = 0; f < c->out_channels; f++)
            for (int r = 0; r < p->rows; r++)
                for (int q = 0; q < p->columns; q++) {
                    const size_t at =
                        (((size_t)b * (size_t)c->out_channels + (size_t)f) * (size_t)p->rows +
                         (size_t)r) *
                            (size_t)p->columns +
                        (size_t)q;
                    double sum = 0;
                    for (int i = 0; i < in; i++)
                        for (int ky = 0; ky < p->taps_y; ky++)
                            for (int kx = 0; kx < p->taps_x; kx++) {
                                const int sy = r * p->stride_y + ky * p->dilation_y - p->pad_y;
                                const int sx = q * p->stride_x + kx * p->dilation_x - p->pad_x;
                                if (sy < 0 || sx < 0 || sy >= p->height || sx >= p->width) continue;
                                const size_t xi = (((size_t)b * (size_t)c->in_channels +
                                                    (size_t)(f / m * in + i)) *
                                                       (size_t)p->height +
                                                   (size_t)sy) *
                                                      (size_t)p->width +
                                                  (size_t)sx;
                                const size_t wi =
                                    (((size_t)f * (size_t)in + (size_t)i) * (size_t)p->taps_y +
                                     (size_t)ky) *
                                        (size_t)p->taps_x +
                                    (size_t)kx;
                                sum += (double)x[xi] * (double)w[wi];
                                o->dx[xi] += (double)dy[at] * (double)w[wi];
                                o->dw[wi] += (double)dy[at] * (double)x[xi];
                            }
                    o->y[at] = sum;
                }
}

static void check_conv(interp_ctx *ctx, const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    const size_t nx = (size_t)c->batch * (size_t)c->in_channels * itp_conv_in(c);
    const size_t ny = (size_t)c->batch * (size_t)c->out_channels * itp_conv_out(c);
    const size_t nw = (size_t)c->out_channels * (size_t)(c->in_channels / c->groups) *
                      (size_t)(p->taps_y * p->taps_x);
    float *x = (float *)malloc((nx + ny + nw + 64) * 2 * sizeof(float));
    float *w = x + nx + 1, *dy = w + nw + 1, *y = dy + ny + 1, *dx = y + ny + 1, *dw = dx + nx + 1;
    naive o;
    o.y = (double *)calloc(nx + ny + nw, sizeof(double));
    o.dx = o.y + ny;
    o.dw = o.dx + nx;
    fill(x, nx + ny + nw + 3, 9);
    naive_conv(c, x, w, dy, &o);
    const itp_conv_need need = itp_conv_scratch(ctx, c, true, true, true);
    itp_scratch s;
    s.slot_floats = need.slot;
    s.base = (float *)interp_alloc(ctx, need.slot * (size_t)ctx->slots * sizeof(float));
    float *shared = (float *)interp_alloc(ctx, need.shared * sizeof(float));
    float *bias = (float *)malloc((size_t)c->out_channels * sizeof(float));
    fill(bias, (size_t)c->out_channels, 10);
    itp_conv_forward(ctx, c, x, w, NULL, bias, NULL, y, s, shared);
    for (size_t i = 0; i < ny; i++)
        o.y[i] += (double)bias[i / itp_conv_out(c) % (size_t)c->out_channels];
    free(bias);
    for (size_t i = 0; i < nx; i++) dx[i] = 1;
    itp_conv_data(ctx, c, dy, w, NULL, 1, dx, s, shared);
    itp_conv_weights(ctx, c, x, dy, 0, dw, s, shared);
    const double tol = 2e-6; /* per term of a sum of numbers below 1 */
    for (size_t i = 0; i < ny; i++)
        CHECK_NEAR(y[i], o.y[i], tol * c->in_channels * p->taps_y * p->taps_x);
    for (size_t i = 0; i < nx; i++)
        CHECK_NEAR(dx[i], o.dx[i] + 1, tol * c->out_channels * p->taps_y * p->taps_x);
    for (size_t i = 0; i < nw; i++)
        CHECK_NEAR(dw[i], o.dw[i],
                   tol * (8 + sqrt((double)c->batch * (double)itp_conv_out(c)) * 4));
    itp_conv_weights(ctx, c, x, dy, 1, dw, s, shared); /* adds to what is there */
    for (size_t i = 0; i < nw; i++)
        CHECK_NEAR(dw[i], 2 * o.dw[i],
                   2 * tol * (8 + sqrt((double)c->batch * (double)itp_conv_out(c)) * 4));
    interp_free(ctx, s.base);
    interp_free(ctx, shared);
    free(x);
    free(o.y);
}

TEST(convolutions_match_their_definition)
{
    /* batch, in, out, groups, height, width, taps y x, stride y x, pad t l b r, dilation y x */
    static const int cases[][16] = {
        {2, 3, 5, 1, 9, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {3, 1, 4, 1, 8, 8, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {2, 4, 6, 2, 11, 13, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {2, 2, 3, 1, 12, 10, 3, 2, 2, 3, 0, 1, 1, 0, 2, 1},
        {1, 6, 7, 1, 5, 6, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
        {9, 6, 7, 1, 5, 6, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1},
        {2, 5, 5, 5, 9, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {2, 5, 10, 5, 9, 41, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1},
        {1, 40, 33, 1, 20, 19, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {16, 8, 12, 1, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {8, 20, 40, 1, 14, 14, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {1, 3, 2, 1, 7, 7, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1},
        {2, 3, 8, 1, 17, 17, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1},
        {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
        {2, 3, 4, 1, 9, 9, 2, 2, 3, 3, 0, 0, 0, 0, 4, 4},
        /* planes taken in pieces, weights too many for parts, several blocks of rows, long rows */
        {1, 300, 2, 1, 3, 300, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 300, 34, 1, 3, 301, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {2, 70, 130, 1, 6, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {2, 33, 35, 1, 50, 48, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1},
        {1, 12, 20, 1, 100, 101, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
        {1, 1, 2, 1, 2, 5000, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 5, 3, 1, 8, 96, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1},
        {1, 2, 3, 1, 1, 2, 1, 1, 3, 4, 0, 0, 0, 0, 1, 1},     /* strides beyond the image */
        {1, 70000, 1, 1, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1}, /* more planes than a slab has room */
        /* rows too short for a tile, many outputs: also in pieces, strided, and of one column */
        {2, 9, 130, 1, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 160, 129, 1, 6, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 130, 140, 1, 13, 13, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {1, 3, 150, 1, 300, 1, 3, 1, 1, 1, 1, 0, 1, 0, 1, 1},
        /* depthwise: odd sizes, uneven padding, both strides, two outputs per plane, others */
        {2, 3, 3, 3, 20, 35, 3, 3, 2, 2, 0, 1, 1, 0, 1, 1},
        {1, 4, 8, 4, 15, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 3, 3, 3, 14, 14, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {1, 2, 2, 2, 7, 70, 5, 5, 2, 2, 2, 1, 2, 3, 1, 1},
        {1, 2, 2, 2, 3, 4, 5, 5, 1, 1, 4, 4, 4, 4, 1, 1},
        {1, 2, 4, 2, 9, 33, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1},
        {1, 2, 2, 2, 9, 18, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2},
        {1, 2, 2, 2, 9, 18, 7, 7, 1, 1, 3, 3, 3, 3, 1, 1},
        {1, 2, 2, 2, 9, 18, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1},
        {1, 2, 2, 2, 6, 6, 3, 3, 1, 1, 5, 5, 5, 5, 1, 1},
    };
    FOR_ISAS(ctx)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *v = cases[i];
        itp_conv c;
        c.batch = v[0], c.in_channels = v[1], c.out_channels = v[2], c.groups = v[3];
        c.direct = false;
        itp_plane *p = &c.plane;
        p->height = v[4], p->width = v[5], p->taps_y = v[6], p->taps_x = v[7];
        p->stride_y = v[8], p->stride_x = v[9], p->pad_y = v[10], p->pad_x = v[11];
        p->dilation_y = v[14], p->dilation_x = v[15];
        p->rows = (v[4] + v[10] + v[12] - v[14] * (v[6] - 1) - 1) / v[8] + 1;
        p->columns = (v[5] + v[11] + v[13] - v[15] * (v[7] - 1) - 1) / v[9] + 1;
        check_conv(ctx, &c);
    }
}

/* A convolution and its data gradient, packed beforehand or on the way. */
static void run_conv(interp_ctx *ctx, const itp_conv *c, bool keep, const float *x, const float *w,
                     const float *dy, float *y, float *dx)
{
    const itp_conv_need need = itp_conv_scratch(ctx, c, true, true, false);
    itp_scratch s;
    s.slot_floats = need.slot;
    s.base = (float *)interp_alloc(ctx, need.slot * (size_t)ctx->slots * sizeof(float));
    float *shared = (float *)interp_alloc(ctx, need.shared * sizeof(float)), *packed[2];
    for (int back = 0; back < 2; back++) {
        packed[back] =
            (float *)interp_alloc(ctx, itp_conv_packed_floats(ctx, c, back) * sizeof(float));
        itp_conv_pack(ctx, c, w, back, packed[back]);
    }
    itp_conv_forward(ctx, c, x, w, keep ? packed[0] : NULL, NULL, NULL, y, s, shared);
    itp_conv_data(ctx, c, dy, w, keep ? packed[1] : NULL, 0, dx, s, shared);
    interp_free(ctx, packed[0]), interp_free(ctx, packed[1]);
    interp_free(ctx, s.base), interp_free(ctx, shared);
}

/* Root of the mean squared error over that of the numbers. */
static double error_of(const float *got, const double *want, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    return sqrt(error / size);
}

/* Its points and constants cost a factor of 2 to 3 in numpy; 5 leaves room for other orders of sums. */
TEST(winograd_rounds_little_more_than_the_plain_order)
{
    enum { batch = 3, in = 96, out = 70, height = 21, width = 18 };
    const size_t pixels = height * width, nx = batch * in * pixels, ny = batch * out * pixels;
    const size_t nw = out * in * 9;
    float *x = (float *)malloc((4 * nx + 4 * ny + nw) * sizeof *x), *dy = x + nx, *w = dy + ny;
    float *y = w + nw, *y2 = y + ny, *dx = y2 + ny, *dx2 = dx + nx;
    naive o;
    o.y = (double *)calloc(nx + ny + nw, sizeof(double));
    o.dx = o.y + ny, o.dw = o.dx + nx;
    fill(x, nx, 21), fill(dy, ny, 22), fill(w, nw, 23);
    itp_conv c;
    const itp_plane plane = {height, width, height, width, 3, 3, 1, 1, 1, 1, 1, 1};
    c.batch = batch, c.in_channels = in, c.out_channels = out, c.groups = 1, c.plane = plane;
    naive_conv(&c, x, w, dy, &o);
    FOR_ISAS(ctx)
    {
        double error[2][2];
        for (int way = 0; way < 2; way++) {
            c.direct = !way;
            CHECK(itp_winograd_fits(&c) == (way == 1));
            run_conv(ctx, &c, true, x, w, dy, y, dx);
            error[way][0] = error_of(y, o.y, ny);
            error[way][1] = error_of(dx, o.dx, nx);
        }
        for (int d = 0; d < 2; d++) {
            CHECK(error[1][d] <= 5 * error[0][d] && error[1][d] <= 2e-6);
            CHECK(error[1][d] != error[0][d]); /* it is another order */
        }
        run_conv(ctx, &c, false, x, w, dy, y2, dx2); /* packed in parts */
        CHECK(!memcmp(y, y2, ny * sizeof *y) && !memcmp(dx, dx2, nx * sizeof *dx));
        c.batch = 1; /* each image by itself */
        for (int b = 0; b < batch; b++)
            run_conv(ctx, &c, true, x + b * nx / batch, w, dy + b * ny / batch, y2 + b * ny / batch,
                     dx2 + b * nx / batch);
        CHECK(!memcmp(y, y2, ny * sizeof *y) && !memcmp(dx, dx2, nx * sizeof *dx));
        c.batch = batch;
    }
    free(x);
    free(o.y);
}

TEST(a_nan_is_never_lost_by_a_maximum)
{
    const itp_plane p = {6, 37, 3, 18, 2, 2, 2, 2, 0, 0, 1, 1};
    const itp_plane q = {6, 37, 6, 37, 3, 3, 1, 1, 1, 1, 1, 1};
    float x[6 * 37], y[6 * 37];
    FOR_ISAS(ctx)
    for (int at = 0; at < 6 * 37; at++) {
        int got = 0;
        for (int i = 0; i < 6 * 37; i++) x[i] = rnd((uint64_t)i);
        x[at] = NAN;
        CHECK(isnan(ctx->k->max(6 * 37, x)));
        ctx->k->plane_pool(&p, x, NULL, NULL, y);
        for (int i = 0; i < 3 * 18; i++) got += isnan(y[i]);
        CHECK(got == (at % 37 < 36));
        ctx->k->plane_pool(&q, x, NULL, NULL, y);
        got = 0;
        for (int i = 0; i < 6 * 37; i++) got += isnan(y[i]);
        const int row = at / 37, column = at % 37;
        CHECK(got == (3 - (row == 0 || row == 5)) * (3 - (column == 0 || column == 36)));
    }
}

/* Pools of one plane and their gradients by the definition: the first largest number wins. */
static void check_pool(interp_ctx *ctx, const itp_plane *p)
{
    const size_t in = (size_t)p->height * (size_t)p->width;
    const size_t out = (size_t)p->rows * (size_t)p->columns;
    float *x = (float *)malloc(in * sizeof *x), *dx = (float *)malloc(in * sizeof *dx);
    float *y = (float *)malloc(out * sizeof *y), *dy = (float *)malloc(out * sizeof *dy);
    float *per_y = (float *)malloc((size_t)p->rows * sizeof *per_y);
    float *per_x = (float *)malloc((size_t)p->columns * sizeof *per_x);
    double *most = (double *)malloc(2 * (in + out) * sizeof *most), *mean = most + out;
    double *most_dx = mean + out, *mean_dx = most_dx + in;
    fill(x, in, 1);
    fill(dy, out, 2);
    fill(per_y, (size_t)p->rows, 3);
    fill(per_x, (size_t)p->columns, 4);
    for (size_t i = 0; i < in; i++) {
        x[i] = floorf(x[i] * 4); /* many are equal */
        most_dx[i] = mean_dx[i] = 0;
    }
    for (int r = 0; r < p->rows; r++)
        for (int c = 0; c < p->columns; c++) {
            const size_t at = (size_t)r * (size_t)p->columns + (size_t)c;
            const double scale = (double)per_y[r] * (double)per_x[c];
            size_t best = in;
            mean[at] = 0;
            for (int t = 0; t < p->taps_y * p->taps_x; t++) {
                const int sy = r * p->stride_y + t / p->taps_x * p->dilation_y - p->pad_y;
                const int sx = c * p->stride_x + t % p->taps_x * p->dilation_x - p->pad_x;
                if (sy < 0 || sx < 0 || sy >= p->height || sx >= p->width) continue;
                const size_t from = (size_t)sy * (size_t)p->width + (size_t)sx;
                if (best == in || x[from] > x[best]) best = from;
                mean[at] += (double)x[from] * scale;
                mean_dx[from] += (double)dy[at] * scale;
            }
            most[at] = best == in ? -(double)INFINITY : (double)x[best];
            if (best < in) most_dx[best] += (double)dy[at];
        }
    ctx->k->plane_pool(p, x, NULL, NULL, y);
    for (size_t i = 0; i < out; i++) CHECK((double)y[i] == most[i]);
    ctx->k->plane_pool(p, x, per_y, per_x, y);
    for (size_t i = 0; i < out; i++) CHECK_NEAR(y[i], mean[i], 4e-7 * 4 * p->taps_y * p->taps_x);
    for (int add = 0; add < 2; add++) {
        for (size_t i = 0; i < in; i++) dx[i] = add ? 1 : NAN;
        itp_grads(ctx->k)->plane_average_grad(p, dy, per_y, per_x, dx, add);
        for (size_t i = 0; i < in; i++)
            CHECK_NEAR(dx[i], mean_dx[i] + add, 4e-7 * p->taps_y * p->taps_x);
    }
    for (size_t i = 0; i < in; i++) dx[i] = 1;
    itp_grads(ctx->k)->plane_max_grad(p, x, dy, dx);
    for (size_t i = 0; i < in; i++) CHECK_NEAR(dx[i], most_dx[i] + 1, 4e-7 * p->taps_y * p->taps_x);
    free(x), free(dx), free(y), free(dy), free(per_y), free(per_x), free(most);
}

TEST(pools_match_their_definition)
{
    /* height, width, rows, columns, taps y x, stride y x, pad y x, dilation y x */
    static const itp_plane planes[] = {
        {8, 8, 4, 4, 2, 2, 2, 2, 0, 0, 1, 1},         {7, 7, 4, 4, 3, 3, 2, 2, 1, 1, 1, 1},
        {9, 67, 9, 67, 3, 3, 1, 1, 1, 1, 1, 1},       {9, 70, 5, 35, 3, 3, 2, 2, 1, 1, 1, 1},
        {12, 61, 4, 20, 3, 3, 3, 3, 0, 0, 1, 1},      {11, 50, 6, 17, 2, 5, 2, 3, 1, 2, 1, 1},
        {11, 40, 9, 36, 3, 3, 1, 1, 1, 0, 2, 2},      {13, 45, 6, 22, 2, 3, 2, 2, 1, 2, 3, 2},
        {3, 3, 2, 2, 3, 3, 2, 2, 1, 1, 1, 1},         {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1},
        {5, 6, 6, 7, 4, 4, 1, 1, 2, 2, 1, 1},         {3, 2050, 2, 1025, 2, 3, 2, 2, 0, 1, 1, 1},
        {3, 2050, 3, 2050, 3, 3, 1, 1, 1, 1, 1, 1},   {2, 3000, 1, 750, 2, 4, 2, 4, 0, 0, 1, 1},
        {2, 1500, 2, 301, 1, 1200, 1, 1, 0, 0, 1, 1}, {2, 2000, 2, 3, 2, 900, 1, 550, 1, 0, 1, 1},
        {4, 20, 6, 23, 1, 2, 1, 1, 1, 2, 1, 1},       {4, 5, 2, 2, 2, 2, 3, 3, 0, 0, 1, 1},
        {20, 20, 3, 3, 7, 7, 7, 7, 1, 1, 1, 1},       {6, 33, 3, 9, 2, 2, 2, 4, 0, 1, 1, 1},
    };
    FOR_ISAS(ctx)
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++) check_pool(ctx, &planes[i]);
}

TEST(softmax_across_columns_matches_the_softmax_of_rows)
{
    enum { n = 21, step = 300 };
    static float x[n * step], y[n * step];
    float row[n], want[n], scratch[n];
    fill(x, n * step, 1);
    FOR_ISAS(ctx)
    for (int log = 0; log < 2; log++)
        for (size_t m = 1; m <= ITP_ACROSS; m += m < 40 ? 1 : 31) {
            memcpy(y, x, sizeof y);
            ctx->k->softmax_across(n, m, step, y + 1, y + 1, log);
            for (size_t c = 0; c < m; c++) {
                for (size_t i = 0; i < n; i++) row[i] = x[i * step + 1 + c];
                if (log) ctx->k->log_softmax(n, row, want, scratch);
                else ctx->k->softmax(n, row, want);
                for (size_t i = 0; i < n; i++) CHECK_NEAR(y[i * step + 1 + c], want[i], 2e-6);
            }
            for (size_t i = 0; i < n; i++) /* nothing written beside */
                CHECK(y[i * step] == x[i * step] && y[i * step + 1 + m] == x[i * step + 1 + m]);
        }
}

TEST(philox_matches_the_published_vectors)
{
    /* Random123's known answers for philox4x32-10 */
    uint32_t r[4];
    itp_philox(0, 0, 0, r);
    CHECK(r[0] == 0x6627e8d5u && r[1] == 0xe169c58du && r[2] == 0xbc57ac4cu && r[3] == 0x9b00dbd8u);
    itp_philox(UINT64_MAX, UINT64_MAX, UINT64_MAX, r);
    CHECK(r[0] == 0x408f276du && r[1] == 0x41c83b0eu && r[2] == 0xa20bc7c6u && r[3] == 0x6d5451fdu);
}

TEST(draws_of_many_follow_the_same_stream)
{
    const uint64_t firsts[] = {0, 0xFFFFFFF8u}; /* a carry into the counter's high half */
    const uint32_t least = 5000000;
    uint8_t kept[300];
    for (int i = 0; i < 2; i++)
        for (size_t n = 0; n < 299; n += 13) {
            memset(kept, 7, sizeof kept);
            itp_draw(UINT64_MAX / 3, UINT64_MAX / 7, firsts[i], n, least, kept);
            for (size_t q = 0; q < n; q++) {
                uint32_t r[4];
                itp_philox(UINT64_MAX / 3, UINT64_MAX / 7, firsts[i] + q / 4, r);
                CHECK(kept[q] == (r[q % 4] >> 8 >= least));
            }
            CHECK(kept[n] == 7);
        }
}

TEST(normal_numbers_have_mean_zero_and_variance_one)
{
    double sum = 0, square = 0;
    const int n = 100000;
    for (int i = 0; i < n; i++) {
        const double v = (double)interp_random_normal(3, 4, (uint64_t)i);
        sum += v, square += v * v;
    }
    CHECK_NEAR(sum / n, 0, 0.015); /* 5 standard errors */
    CHECK_NEAR(square / n, 1, 0.025);
}

TEST(pca_finds_the_axes_of_a_rotated_cloud)
{
    interp_ctx *ctx = interp_open(NULL);
    enum { n = 500, d = 5 };
    static float x[n * d], scores[n * 2], components[2 * d], explained[2];
    for (int i = 0; i < n; i++) { /* long along (3,4,0,0,0)/5, shorter along (0,0,1,0,0) */
        const float u = 5 * interp_random_normal(1, 1, (uint64_t)i);
        const float v = 2 * interp_random_normal(1, 2, (uint64_t)i);
        for (int j = 0; j < d; j++)
            x[i * d + j] = 0.1f * interp_random_normal(1, 3, (uint64_t)(i * d + j));
        x[i * d] += 0.6f * u + 7, x[i * d + 1] += 0.8f * u, x[i * d + 2] += v;
    }
    CHECK_OK(ctx, interp_pca(ctx, x, n, d, NULL, scores, components, explained));
    CHECK_NEAR(components[0], 0.6, 0.01);
    CHECK_NEAR(components[1], 0.8, 0.01);
    CHECK_NEAR(components[d + 2], 1, 0.01);
    CHECK(explained[0] > 0.8f && explained[1] > 0.1f && explained[0] + explained[1] < 1.0001f);
    double mean = 0;
    for (int i = 0; i < n; i++) mean += (double)scores[2 * i];
    CHECK_NEAR(mean / n, 0, 1e-4);
    x[3] = NAN;
    CHECK(interp_pca(ctx, x, n, d, NULL, scores, NULL, NULL) == INTERP_NOT_FINITE);
    interp_close(ctx);
}

int main(int argc, char **argv)
{
    RUN(elementary_functions_keep_their_stated_ulp);
    RUN(elementary_functions_are_right_at_the_edges);
    RUN(elementwise_kernels_agree_with_the_scalar_body);
    RUN(reductions_agree_with_double_sums);
    RUN(sgemm_matches_a_double_sum);
    RUN(sgemm_reads_no_c_when_beta_is_zero);
    RUN(sgemm_is_bit_identical_at_any_thread_count);
    RUN(convolutions_match_their_definition);
    RUN(winograd_rounds_little_more_than_the_plain_order);
    RUN(a_nan_is_never_lost_by_a_maximum);
    RUN(pools_match_their_definition);
    RUN(softmax_across_columns_matches_the_softmax_of_rows);
    RUN(philox_matches_the_published_vectors);
    RUN(draws_of_many_follow_the_same_stream);
    RUN(normal_numbers_have_mean_zero_and_variance_one);
    RUN(pca_finds_the_axes_of_a_rotated_cloud);
    return test_end(argc, argv);
}

/* Kernels: every instruction set against plain double-precision code over ragged sizes and
   misaligned pointers; elementary functions by their error in ulp. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_DYNAMICS
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_ASSERT(c) ((c) ? (void)0 : abort())
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

TEST(rules_of_relu_are_what_their_formulas_say)
{
    float x[72], x0[72], y[72], y0[72], dy[72], want[72], got[72];
    for (int i = 0; i < 72; i++) {
        x[i] = rnd((uint64_t)i) - 0.5f, x0[i] = i % 9 ? rnd((uint64_t)i + 100) - 0.5f : x[i];
        y[i] = x[i] > 0 ? x[i] : 0, y0[i] = x0[i] > 0 ? x0[i] : 0;
        dy[i] = i % 7 ? rnd((uint64_t)i + 200) - 0.5f : 0;
    }
    FOR_ISAS(ctx)
    for (int n = 0; n <= 67; n++)
        for (int guided = 0; guided < 2; guided++) {
            const int at = n % 5;
            const float most = n & 2 ? 0.3f : (float)INFINITY;
            for (int i = 0; i < 72; i++) want[i] = got[i] = (float)i;
            for (int i = at; i < at + n; i++) {
                const bool up = x[i] > 0, same = up == (x0[i] > 0);
                const float slope = same ? (float)up : (y[i] - y0[i]) / (x[i] - x0[i]);
                const float part = !guided                          ? dy[i] * slope
                                   : dy[i] > 0 && up && x[i] < most ? dy[i]
                                                                    : 0;
                want[i] = (n & 1 ? want[i] : 0) + part;
            }
            const itp_grad_kernels *k = itp_grads(ctx->k);
            if (guided) k->relu_guided((size_t)n, x + at, most, dy + at, n & 1, got + at);
            else k->relu_delta((size_t)n, x + at, x0 + at, dy + at, n & 1, got + at);
            for (int i = 0; i < 72; i++) CHECK_NEAR(got[i], want[i], 1e-6 * fabsf(want[i]));
        }
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
    static const int sizes[][3] = {{1, 1, 1},     {1, 67, 5},   {67, 1, 33},    {5, 7, 0},
                                   {12, 32, 16},  {13, 33, 17}, {6, 16, 9},     {64, 10, 50},
                                   {48, 96, 64},  {31, 65, 67}, {130, 131, 67}, {3, 140, 140},
                                   {1, 140, 130}, {130, 1, 139}};
    fill(a, BIG * BIG + 8, 1);
    fill(b, BIG * BIG + 8, 2);
    fill(c0, BIG * BIG + 8, 3);
    FOR_ISAS(ctx)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int flags = 0; flags < 16; flags++) {
            const int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2], at = flags % 3;
            const bool ta = flags & 1, tb = flags & 2;
            const float alpha = flags & 4 ? 0.5f : 1, beta = flags & 8 ? -0.25f : 0;
            const bool tight = m == 1 || n == 1; /* vectors of numbers side by side */
            const int lda = tight ? (ta ? m : k) : BIG, ldb = tight ? (tb ? k : n) : BIG;
            const int ldc = BIG;
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
    float *c[3], *row[3];
    fill(a, m * k, 1);
    fill(b, k * n, 2);
    for (int t = 0; t < 3; t++) {
        interp_desc d;
        memset(&d, 0, sizeof d);
        d.threads = t + 1;
        interp_ctx *ctx = interp_open(&d);
        c[t] = (float *)malloc(sizeof(float) * m * n);
        row[t] = (float *)malloc(sizeof(float) * n);
        CHECK_OK(ctx, interp_sgemm(ctx, false, false, m, n, k, 1, a, k, b, n, 0, c[t], n));
        CHECK_OK(ctx, interp_sgemm(ctx, false, true, 1, n, k, 1, a, k, b, k, 0, row[t], n));
        if (t) CHECK(memcmp(c[0], c[t], sizeof(float) * m * n) == 0);
        if (t) CHECK(memcmp(row[0], row[t], sizeof(float) * n) == 0);
        interp_close(ctx);
    }
    for (int t = 0; t < 3; t++) free(c[t]), free(row[t]);
    free(a);
    free(b);
}

/* Rows of a that are mostly zeros beside rows that have none, either way round. */
TEST(products_leave_zeros_out_without_a_trace)
{
    enum { most_m = 190, most_n = 300, most_k = 300 };
    static const float beta[] = {0, 0, 1, 0.5f};
    static float a[most_m * most_k], b[most_n * most_k + 64], start[most_m * most_n];
    static float bias[most_n], got[2][most_m * most_n], packed[most_k * (most_n + 64)];
    static const int sizes[][3] = {{1, 97, 1},   {7, 100, 64},   {64, 100, 196}, {190, 130, 65},
                                   {50, 96, 33}, {13, 300, 300}, {20, 10, 40},   {169, 225, 256}};
    fill(b, most_n * most_k, 2);
    fill(start, most_m * most_n, 3);
    fill(bias, most_n, 4);
    FOR_ISAS(ctx)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int flags = 0; flags < 16; flags++) {
            const int m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            const bool turned = flags & 1;
            const int kind = flags / 2 % 4;
            itp_scratch scratch;
            itp_gemm g;
            memset(&g, 0, sizeof g);
            g.m = m, g.n = n, g.k = k, g.alpha = 1, g.beta = beta[kind];
            g.a = a, g.a_rs = turned ? 1 : k, g.a_cs = turned ? m : 1;
            g.b = b, g.b_rs = n, g.b_cs = 1, g.c_rs = n;
            g.bias_column = kind % 2 ? bias : NULL;
            for (int i = 0; i < m; i++)
                for (int t = 0; t < k; t++) {
                    const uint64_t at = (uint64_t)(i * k + t);
                    const bool dense = i / 16 % 3 == 1;
                    const bool some = interp_random_uniform(7, s, at) < 0.2f;
                    a[i * g.a_rs + t * g.a_cs] = dense || some ? rnd(at) : 0;
                }
            if (flags & 8) {
                itp_gemm_pack(ctx->k, &g, packed);
                g.packed = packed;
            }
            CHECK_OK(ctx, itp_ctx_scratch(ctx, itp_gemm_scratch(ctx, m, n, k), &scratch));
            for (int zeros = 0; zeros < 2; zeros++) {
                memcpy(got[zeros], start, sizeof start);
                g.c = got[zeros], g.zeros = zeros;
                itp_gemm_run(ctx, &g, scratch);
            }
            CHECK(memcmp(got[0], got[1], sizeof start) == 0);
            /* whole vectors, columns enough, sums that start from 0, a bias or what is there */
            const int nr = ctx->k->nr, enough = nr == 32 ? 2 * nr : 3 * nr;
            const bool left_out = ctx->k->width > 1 && n > enough && kind < 3;
            a[0] = 0, b[0] = INFINITY; /* their product is not a number */
            itp_gemm_run(ctx, &g, scratch);
            CHECK(g.packed || isnan(got[1][0]) == !left_out);
            fill(b, 1, 2);
        }
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

/* The images one by one: the same numbers. */
static void check_images(interp_ctx *ctx, const itp_conv *c, const float *x, const float *w,
                         const float *bias, const float *dy, const float *y, const float *dx)
{
    itp_conv one = *c;
    one.batch = 1;
    const size_t in = (size_t)c->in_channels * itp_conv_in(c);
    const size_t out = (size_t)c->out_channels * itp_conv_out(c);
    const itp_conv_need need = itp_conv_scratch(ctx, &one, true, true, false);
    itp_scratch s;
    s.slot_floats = need.slot;
    s.base = (float *)interp_alloc(ctx, need.slot * (size_t)ctx->slots * sizeof(float));
    float *shared = (float *)interp_alloc(ctx, need.shared * sizeof(float));
    float *got = (float *)malloc((in > out ? in : out) * sizeof(float));
    int differ = 0;
    for (int b = 0; b < c->batch; b++) {
        const size_t at = (size_t)b;
        itp_conv_forward(ctx, &one, x + at * in, w, NULL, bias, NULL, got, s, shared);
        differ += memcmp(got, y + at * out, out * sizeof(float)) != 0;
        itp_conv_data(ctx, &one, dy + at * out, w, NULL, 0, got, s, shared);
        differ += memcmp(got, dx + at * in, in * sizeof(float)) != 0;
    }
    CHECK(differ == 0);
    interp_free(ctx, s.base);
    interp_free(ctx, shared);
    free(got);
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
    for (size_t i = 0; i < nx; i++) dx[i] = (float)NAN;
    itp_conv_data(ctx, c, dy, w, NULL, 0, dx, s, shared);
    for (size_t i = 0; i < nx; i++)
        CHECK_NEAR(dx[i], o.dx[i], 2e-6 * c->out_channels * p->taps_y * p->taps_x);
    check_images(ctx, c, x, w, bias, dy, y, dx);
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
        /* few inputs and a stride: gradients of neighbouring pixels go together */
        {2, 3, 8, 1, 14, 20, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1},
        {1, 3, 5, 1, 9, 12, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1},
        {1, 1, 4, 1, 8, 8, 2, 2, 2, 2, 1, 1, 0, 0, 1, 1},
        {2, 2, 6, 2, 10, 16, 5, 4, 2, 2, 0, 2, 1, 1, 2, 1},
        {1, 1, 3, 1, 6, 8, 3, 1, 1, 4, 1, 0, 1, 0, 1, 1},
        {1, 2, 9, 1, 40, 64, 3, 5, 1, 2, 1, 4, 1, 4, 1, 1},
        /* rows too short for a tile, many outputs: also in pieces, strided, and of one column */
        {2, 9, 130, 1, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 160, 129, 1, 6, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 130, 140, 1, 13, 13, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {1, 3, 150, 1, 300, 1, 3, 1, 1, 1, 1, 0, 1, 0, 1, 1},
        /* long tiles: one, two and three planes, forward and back; few taps of many planes */
        {1, 3, 16, 1, 20, 130, 7, 7, 2, 2, 3, 3, 3, 3, 1, 1},
        {1, 1, 5, 1, 8, 140, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {1, 2, 3, 1, 6, 150, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {1, 64, 72, 1, 14, 14, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {1, 16, 80, 1, 14, 14, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1},
        /* pixels copied side by side: several shares of planes, blocks of rows and of columns */
        {1, 610, 70, 1, 16, 31, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1},
        {1, 70, 70, 1, 30, 29, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 40, 70, 1, 4, 300, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 40, 70, 1, 23, 260, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {1, 40, 3, 1, 9, 21, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        /* up to three planes to be made of others: plane by plane */
        {2, 7, 2, 1, 9, 21, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {1, 3, 6, 3, 12, 19, 3, 3, 1, 1, 0, 1, 1, 0, 1, 1},
        {2, 8, 6, 2, 7, 18, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {1, 2, 3, 1, 70, 21, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1}, /* in bands */
        {1, 3, 1, 1, 45, 18, 3, 3, 1, 1, 0, 2, 2, 0, 1, 1},
        /* few inputs and many taps side by side: the gradient of weights reads x as it lies */
        {3, 6, 16, 1, 14, 14, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1},
        {2, 3, 40, 1, 11, 13, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {1, 2, 37, 1, 12, 15, 3, 6, 2, 1, 1, 2, 1, 3, 2, 1},
        {1, 1, 5, 1, 1, 700, 1, 5, 1, 1, 0, 2, 0, 2, 1, 1},
        /* many small images, a lane for each: whole tiles of them and some more, rows in bands, both sides
           of tiles, groups, strides, dilations, pixels that no tap reaches */
        {64, 3, 5, 1, 7, 6, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1},
        {37, 6, 16, 1, 9, 9, 5, 5, 1, 1, 0, 0, 0, 0, 1, 1},
        {70, 2, 20, 1, 6, 5, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {17, 8, 40, 1, 7, 7, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {33, 6, 8, 2, 5, 6, 3, 2, 1, 2, 1, 0, 1, 1, 2, 1},
        {32, 24, 6, 1, 14, 15, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1},
        {19, 4, 4, 1, 4, 3, 3, 3, 1, 1, 4, 5, 4, 5, 1, 1},
        {16, 100, 20, 1, 12, 9, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1},
        {200, 8, 16, 1, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        {100, 16, 32, 1, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1},
        /* depthwise: odd sizes, uneven padding, both strides, two outputs per plane, others */
        {1, 2, 2, 2, 40, 250, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1}, /* more than a band has room for */
        {1, 2, 2, 2, 37, 251, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1},
        {1, 2, 2, 2, 6, 6, 5, 5, 2, 2, 7, 7, 7, 7, 1, 1},
        {1, 2, 2, 2, 2, 240, 3, 3, 2, 2, 6, 130, 6, 130, 1, 1},
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
        c.direct = c.many = false;
        itp_plane *p = &c.plane;
        p->height = v[4], p->width = v[5], p->taps_y = v[6], p->taps_x = v[7];
        p->stride_y = v[8], p->stride_x = v[9], p->pad_y = v[10], p->pad_x = v[11];
        p->dilation_y = v[14], p->dilation_x = v[15];
        p->rows = (v[4] + v[10] + v[12] - v[14] * (v[6] - 1) - 1) / v[8] + 1;
        p->columns = (v[5] + v[11] + v[13] - v[15] * (v[7] - 1) - 1) / v[9] + 1;
        check_conv(ctx, &c);
    }
}

/* Root of the mean squared error over that of the numbers. */
static double error_of(const float *got, const double *want, size_t n)
{
    double error = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        size += want[i] * want[i];
    }
    return error == 0 ? 0 : sqrt(error / size);
}

/* y, dx that is added to what is there, and dw, within the tolerance. */
static void check_depthwise(interp_ctx *ctx, const itp_conv *c, double tolerance)
{
    const itp_plane *p = &c->plane;
    const size_t nx = (size_t)(c->batch * c->in_channels) * itp_conv_in(c);
    const size_t ny = (size_t)(c->batch * c->out_channels) * itp_conv_out(c);
    const size_t nw = (size_t)(c->out_channels * itp_conv_taps(c));
    /* each ends where its memory does */
    float *x = (float *)malloc(nx * sizeof *x), *dx = (float *)malloc(nx * sizeof *dx);
    float *y = (float *)malloc(ny * sizeof *y), *dy = (float *)malloc(ny * sizeof *dy);
    float *w = (float *)malloc(nw * sizeof *w), *dw = (float *)malloc(nw * sizeof *dw);
    naive o;
    o.y = (double *)calloc(nx + ny + nw, sizeof(double));
    o.dx = o.y + ny, o.dw = o.dx + nx;
    fill(x, nx, 41), fill(dy, ny, 42), fill(w, nw, 43), fill(dx, nx, 44);
    naive_conv(c, x, w, dy, &o);
    for (size_t i = 0; i < nx; i++) o.dx[i] += (double)dx[i];
    const itp_scratch none = {NULL, 0};
    const itp_conv_need need = itp_conv_scratch(ctx, c, true, true, true);
    CHECK(need.slot == 0 && need.shared == 0);
    itp_conv_forward(ctx, c, x, w, NULL, NULL, NULL, y, none, NULL);
    itp_conv_data(ctx, c, dy, w, NULL, 1, dx, none, NULL);
    itp_conv_weights(ctx, c, x, dy, 0, dw, none, NULL);
    const double errors[3] = {error_of(y, o.y, ny), error_of(dx, o.dx, nx), error_of(dw, o.dw, nw)};
    for (int i = 0; i < 3; i++)
        if (!(errors[i] <= tolerance))
            test_fail(__FILE__, __LINE__, "%dx%d window %dx%d stride %d %d pad %d %d: %s %g",
                      p->height, p->width, p->taps_y, p->taps_x, p->stride_y, p->stride_x, p->pad_y,
                      p->pad_x,
                      i == 0   ? "y"
                      : i == 1 ? "dx"
                               : "dw",
                      errors[i]);
    free(x), free(dx), free(y), free(dy), free(w), free(dw);
    free(o.y);
}

TEST(depthwise_planes_of_any_size_match_their_definition)
{
    enum { most = 40, cases = 600 };
    FOR_ISAS(ctx)
    for (uint64_t i = 0, at = 0; i < cases; i++) {
#define DRAW(n) ((int)((rnd(at++) + 1) / 2 * (n)) % (n)) /* 0..n-1 */
        itp_conv c;
        memset(&c, 0, sizeof c);
        itp_plane *p = &c.plane;
        const bool common = DRAW(4) > 0; /* square windows of 3 or 5, else any */
        p->taps_y = common ? 3 + 2 * DRAW(2) : 1 + DRAW(7);
        p->taps_x = common ? p->taps_y : 1 + DRAW(7);
        p->stride_y = 1 + DRAW(2), p->stride_x = common ? p->stride_y : 1 + DRAW(2);
        p->dilation_y = p->dilation_x = 1;
        p->height = 1 + DRAW(most), p->width = 1 + DRAW(most);
        p->pad_y = DRAW(p->taps_y + 1), p->pad_x = DRAW(p->taps_x + 1);
        const int ends_y = p->height + p->pad_y + DRAW(p->taps_y) - p->taps_y;
        const int ends_x = p->width + p->pad_x + DRAW(p->taps_x) - p->taps_x;
        c.batch = DRAW(8) > 0 ? 1 + DRAW(3) : 14 + DRAW(8);
        c.in_channels = 2 + DRAW(c.batch == 1 ? 24 : 4);
        c.groups = c.in_channels, c.out_channels = c.in_channels * (1 + DRAW(2));
        if (ends_y < 0 || ends_x < 0) continue; /* no window fits */
        p->rows = ends_y / p->stride_y + 1, p->columns = ends_x / p->stride_x + 1;
#undef DRAW
        check_depthwise(ctx, &c, 1e-6); /* float32 rounds by 6e-8; up to 4800 terms */
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

TEST(planes_in_bands_are_the_same_at_any_thread_count)
{
    enum { in = 2, out = 3, height = 150, width = 37, taps = 3 };
    const itp_plane plane = {height, width, height, width, taps, taps, 1, 1, 1, 1, 1, 1};
    const size_t nx = in * height * width, ny = out * height * width, nw = in * out * taps * taps;
    float *x = (float *)malloc((3 * nx + 3 * ny + nw) * sizeof *x), *dy = x + nx, *w = dy + ny;
    float *y = w + nw, *y1 = y + ny, *dx = y1 + ny, *dx1 = dx + nx;
    itp_conv c;
    memset(&c, 0, sizeof c);
    c.batch = c.groups = 1, c.plane = plane, c.in_channels = in, c.out_channels = out;
    fill(x, nx, 41), fill(dy, ny, 42), fill(w, nw, 43);
    for (int isa = 0; isa < 4; isa++)
        for (int threads = 1; threads <= 8; threads = threads * 2 + 1) {
            interp_desc d;
            memset(&d, 0, sizeof d);
            d.isa = isas[isa], d.threads = threads;
            interp_ctx *ctx = interp_open(&d);
            if (!ctx) break; /* the machine does not have it */
            run_conv(ctx, &c, false, x, w, dy, threads == 1 ? y1 : y, threads == 1 ? dx1 : dx);
            CHECK(threads == 1 || !memcmp(y, y1, ny * sizeof *y));
            CHECK(threads == 1 || !memcmp(dx, dx1, nx * sizeof *dx));
            interp_close(ctx);
        }
    free(x);
}

TEST(weights_packed_on_the_way_change_no_result)
{
    /* in, out, side, taps, stride: a task of one image, of which some pack for themselves */
    static const int cases[][5] = {{40, 130, 7, 3, 1}, {160, 129, 6, 3, 1}, {40, 130, 14, 3, 2},
                                   {36, 70, 7, 1, 1},  {9, 20, 30, 5, 1},   {400, 70, 7, 1, 1},
                                   {70, 70, 20, 3, 1}};
    FOR_ISAS(ctx)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const int *v = cases[i], pad = v[3] / 2, out = (v[2] + 2 * pad - v[3]) / v[4] + 1;
        const itp_plane plane = {v[2], v[2], out, out, v[3], v[3], v[4], v[4], pad, pad, 1, 1};
        itp_conv c;
        memset(&c, 0, sizeof c);
        c.batch = c.groups = 1, c.direct = true, c.plane = plane;
        c.in_channels = v[0], c.out_channels = v[1];
        const size_t nx = (size_t)v[0] * itp_conv_in(&c), ny = (size_t)v[1] * itp_conv_out(&c);
        const size_t nw = (size_t)(v[0] * v[1] * v[3] * v[3]);
        float *x = (float *)malloc((3 * nx + 3 * ny + nw) * sizeof *x), *dy = x + nx, *w = dy + ny;
        float *y = w + nw, *y2 = y + ny, *dx = y2 + ny, *dx2 = dx + nx;
        fill(x, nx, 31), fill(dy, ny, 32), fill(w, nw, 33);
        run_conv(ctx, &c, true, x, w, dy, y, dx);
        run_conv(ctx, &c, false, x, w, dy, y2, dx2);
        CHECK(!memcmp(y, y2, ny * sizeof *y) && !memcmp(dx, dx2, nx * sizeof *dx));
        free(x);
    }
}

/* Its points and constants cost a factor of 2 to 3 in numpy; 5 leaves room for other orders of sums. */
/* Images of any size, or small ones of which there are many, by pieces of a side. */
static void check_winograd(int height, int width, bool many, int side)
{
    enum { batch = 3, in = 96, out = 70 };
    const size_t pixels = (size_t)height * (size_t)width;
    const size_t nx = batch * in * pixels, ny = batch * out * pixels, nw = out * in * 9;
    float *x = (float *)malloc((4 * nx + 4 * ny + nw) * sizeof *x), *dy = x + nx, *w = dy + ny;
    float *y = w + nw, *y2 = y + ny, *dx = y2 + ny, *dx2 = dx + nx;
    naive o;
    o.y = (double *)calloc(nx + ny + nw, sizeof(double));
    o.dx = o.y + ny, o.dw = o.dx + nx;
    fill(x, nx, 21), fill(dy, ny, 22), fill(w, nw, 23);
    itp_conv c;
    const itp_plane plane = {height, width, height, width, 3, 3, 1, 1, 1, 1, 1, 1};
    c.batch = batch, c.in_channels = in, c.out_channels = out, c.groups = 1, c.plane = plane;
    c.direct = false, c.many = many;
    CHECK(itp_winograd_side(&c) == side);
    naive_conv(&c, x, w, dy, &o);
    FOR_ISAS(ctx)
    {
        double error[2][2];
        for (int way = 0; way < 2; way++) {
            c.direct = !way;
            CHECK(itp_winograd_side(&c) == (way ? side : 0));
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
        for (int packed = 0; packed < 2; packed++) {
            for (int b = 0; b < batch; b++)
                run_conv(ctx, &c, packed, x + b * nx / batch, w, dy + b * ny / batch,
                         y2 + b * ny / batch, dx2 + b * nx / batch);
            CHECK(!memcmp(y, y2, ny * sizeof *y) && !memcmp(dx, dx2, nx * sizeof *dx));
        }
        c.batch = batch;
    }
    free(x);
    free(o.y);
}

TEST(winograd_rounds_little_more_than_the_plain_order)
{
    check_winograd(21, 18, false, 4);
    check_winograd(7, 7, true, 4);
    check_winograd(4, 8, true, 4);
    check_winograd(7, 7, false, 2);
    check_winograd(5, 9, false, 2);
}

/* Gradients of weights, in one chunk of pieces and in several, of channels that fill no vector. */
TEST(winograd_sums_weights_little_worse_than_the_plain_order)
{
    enum { batch = 3, in = 41, out = 70, nw = out * in * 9 };
    static const int sizes[][4] = {{21, 18, 1, 1}, {40, 37, 1, 1}, {19, 30, 0, 2}};
    float *dw[3];
    for (int k = 0; k < 3; k++) dw[k] = (float *)malloc(nw * sizeof(float));
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int *v = sizes[i], rows = v[0] + 2 * v[2] - 2, columns = v[1] + 2 * v[3] - 2;
        const itp_plane plane = {v[0], v[1], rows, columns, 3, 3, 1, 1, v[2], v[3], 1, 1};
        itp_conv c;
        naive o;
        memset(&c, 0, sizeof c);
        c.batch = batch, c.in_channels = in, c.out_channels = out, c.groups = 1, c.plane = plane;
        const size_t nx = batch * in * itp_conv_in(&c), ny = batch * out * itp_conv_out(&c);
        float *x = (float *)malloc((nx + ny + nw) * sizeof *x), *dy = x + nx, *w = dy + ny;
        o.y = (double *)calloc(nx + ny + nw, sizeof(double));
        o.dx = o.y + ny, o.dw = o.dx + nx;
        fill(x, nx, 41), fill(dy, ny, 42), fill(w, nw, 43);
        naive_conv(&c, x, w, dy, &o);
        FOR_ISAS(ctx)
        {
            double error[2];
            for (int way = 0; way < 2; way++) {
                c.direct = !way;
                const itp_winograd_sums s = itp_winograd_sums_of(ctx, &c);
                CHECK(way == (s.rows > 0) && (!way || (i > 0) == (s.rows < s.w.rows)));
                const itp_conv_need need = itp_conv_scratch(ctx, &c, false, false, true);
                itp_scratch scratch;
                scratch.slot_floats = need.slot;
                scratch.base =
                    (float *)interp_alloc(ctx, need.slot * (size_t)ctx->slots * sizeof(float));
                float *shared = (float *)interp_alloc(ctx, need.shared * sizeof(float));
                itp_conv_weights(ctx, &c, x, dy, 0, dw[way], scratch, shared);
                for (int k = 0; k < nw; k++) dw[2][k] = 8 * w[k];
                itp_conv_weights(ctx, &c, x, dy, 0.125f, dw[2], scratch, shared);
                for (int k = 0; k < nw; k++) CHECK(dw[2][k] == dw[way][k] + w[k]);
                interp_free(ctx, scratch.base), interp_free(ctx, shared);
                error[way] = error_of(dw[way], o.dw, nw);
            }
            CHECK(error[1] <= 5 * error[0] && error[1] <= 2e-6 && error[1] != error[0]);
        }
        free(x);
        free(o.y);
    }
    for (int k = 0; k < 3; k++) free(dw[k]);
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
        for (size_t i = 0; i < in; i++) dx[i] = add ? 1 : NAN;
        itp_grads(ctx->k)->plane_max_grad(p, x, dy, dx, add);
        for (size_t i = 0; i < in; i++)
            CHECK_NEAR(dx[i], most_dx[i] + add, 4e-7 * p->taps_y * p->taps_x);
    }
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
        {6, 64, 3, 32, 2, 2, 2, 2, 0, 0, 1, 1},       {7, 71, 3, 35, 2, 2, 2, 2, 0, 0, 1, 1},
        {28, 28, 14, 14, 2, 2, 2, 2, 0, 0, 1, 1},     {4, 10, 2, 5, 2, 2, 2, 2, 0, 0, 1, 1},
        {3, 8, 2, 4, 2, 2, 2, 2, 1, 0, 1, 1},         {2, 2, 1, 1, 2, 2, 2, 2, 0, 0, 1, 1},
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
                if (log) itp_log_softmax(ctx->k, n, row, want, scratch);
                else itp_softmax(ctx->k, n, row, want);
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

/* ---- neighbours and embeddings */

/* Sums of some hundred products in float32. */
#define SUM_TOLERANCE 2e-5
/* The power of UMAP's curve is a polynomial good to 1e-5, its gradients to a few of that. */
#define POWER_TOLERANCE 1e-4
/* A transform of some hundred numbers near 1, in float32. */
#define FOURIER_TOLERANCE 3e-5
/* The interpolated potential at a step of 0.4 beside the sum over all pairs, and its slopes, which are
   right to 1 or 2 % of their root mean square. */
#define MESH_TOLERANCE  1e-3
#define SLOPE_TOLERANCE 0.02

static void scatter(float *x, size_t n, uint64_t stream, float scale)
{
    for (size_t i = 0; i < n; i++) x[i] = scale * interp_random_normal(4, stream, i);
}

static bool near(double got, double want, double tolerance)
{
    return fabs(got - want) <= tolerance * (1 + fabs(want));
}

/* ---- selection and distances */

TEST(numbers_below_a_limit_are_found_in_order)
{
    float x[230];
    int32_t at[230];
    scatter(x, 230, 1, 1);
    x[40] = NAN, x[70] = INFINITY, x[100] = -INFINITY;
    FOR_ISAS(ctx)
    {
        const itp_embed_kernels *k = itp_embeds(ctx->k);
        for (int n = 0; n <= 220; n++) {
            const float *row = x + n % 5, limit = row[n / 2];
            const int found = k->below(n, row, limit, at);
            int want = 0, wrong = 0;
            for (int i = 0; i < n; i++)
                if (row[i] <= limit) wrong += want >= found || at[want] != i, want++;
            CHECK(found == want && wrong == 0);
        }
    }
}

TEST(places_in_an_order_are_counted)
{
    float x[200];
    for (int i = 0; i < 200; i++) x[i] = (float)(i * 7 % 13);
    FOR_ISAS(ctx)
    {
        const itp_embed_kernels *k = itp_embeds(ctx->k);
        for (int n = 1; n <= 190; n++) {
            const float *row = x + n % 3;
            const int at = n * 5 % n;
            int want = 0;
            for (int i = 0; i < n; i++) want += row[i] < row[at] || (row[i] <= row[at] && i < at);
            CHECK(k->count_before(n, row, row[at], at) == want);
        }
    }
}

TEST(comparisons_are_their_definitions)
{
    static const interp_metric metric[] = {INTERP_METRIC_MANHATTAN,   INTERP_METRIC_CHEBYSHEV,
                                           INTERP_METRIC_MINKOWSKI,   INTERP_METRIC_CANBERRA,
                                           INTERP_METRIC_BRAY_CURTIS, INTERP_METRIC_HAMMING,
                                           INTERP_METRIC_JACCARD,     INTERP_METRIC_SQEUCLIDEAN};
    float x[80], y[5 * 83];
    const int32_t at[4] = {3, 0, 4, 3};
    scatter(x, 80, 2, 1);
    scatter(y, 5 * 83, 3, 1);
    for (int i = 0; i < 80; i += 3) x[i] = y[i] = y[83 + i] = 0;
    for (int i = 1; i < 80; i += 6) x[i] = y[3 * 83 + i];
    FOR_ISAS(ctx)
    {
        for (int how = 0; how < 8; how++)
            for (int d = 1; d <= 77; d++) {
                float got[4];
                const float *from = x + d % 3;
                itp_embeds(ctx->k)->compare((itp_compare)how, 2.5f, d, from, y + 1, 83, at, 4, got);
                for (int r = 0; r < 4; r++) {
                    double want = interp_distance(from, y + 1 + 83 * at[r], d, metric[how], 2.5f);
                    if (how == ITP_COMPARE_LP) want = pow(want, 2.5);
                    CHECK_NEAR(got[r], want, SUM_TOLERANCE * (1 + want));
                }
            }
    }
}

/* ---- transforms and the grid */

TEST(transforms_are_sums_of_waves)
{
    static const int halves[] = {1, 2, 3, 5, 15, 32, 36, 50, 64};
    static float twiddle[1024], re[128 * ITP_MOST_LANES], im[128 * ITP_MOST_LANES];
    static float before[2][128 * ITP_MOST_LANES];
    int place[128], frequency[128];
    FOR_ISAS(ctx)
    {
        const size_t lanes = (size_t)ctx->k->width;
        for (size_t h = 0; h < sizeof halves / sizeof *halves; h++) {
            const int n = 2 * halves[h];
            itp_mesh mesh;
            memset(&mesh, 0, sizeof mesh);
            mesh.place = place, mesh.frequency = frequency, mesh.twiddle = twiddle;
            itp_mesh_transform(&mesh, halves[h]);
            scatter(re, (size_t)n * lanes, 5, 1);
            scatter(im, (size_t)n * lanes, 6, 1);
            memcpy(before[0], re, sizeof re);
            memcpy(before[1], im, sizeof im);
            itp_embeds(ctx->k)->fft(&mesh.fft, re, im, false);
            for (int k = 0; k < n; k++)
                for (size_t l = 0; l < lanes; l += lanes - 1 + (lanes == 1)) {
                    double sr = 0, si = 0;
                    for (int i = 0; i < n; i++) {
                        const double angle = -6.283185307179586 * ((double)i * k / n);
                        const double a = (double)before[0][(size_t)i * lanes + l];
                        const double b = (double)before[1][(size_t)i * lanes + l];
                        sr += a * cos(angle) - b * sin(angle);
                        si += a * sin(angle) + b * cos(angle);
                    }
                    const size_t at = (size_t)place[k] * lanes + l;
                    CHECK_NEAR(re[at], sr, FOURIER_TOLERANCE * sqrt((double)n));
                    CHECK_NEAR(im[at], si, FOURIER_TOLERANCE * sqrt((double)n));
                }
            itp_embeds(ctx->k)->fft(&mesh.fft, re, im, true);
            for (size_t i = 0; i < (size_t)n * lanes; i++) {
                CHECK_NEAR((double)re[i] / n, (double)before[0][i], FOURIER_TOLERANCE);
                CHECK_NEAR((double)im[i] / n, (double)before[1][i], FOURIER_TOLERANCE);
            }
        }
    }
}

/* Splines reproduce what is linear: values and slopes of a plane are exact wherever they are read. */
TEST(splines_read_planes_exactly)
{
    enum { m = 24, width = 32, n = 45 };
    static float grid[(m + 1) * width];
    const float origin[2] = {-3, 1};
    float x[n], y[n], value[n], fx[n], fy[n];
    for (int i = 0; i <= m; i++)
        for (int j = 0; j < width; j++)
            grid[i * width + j] = 2 + 0.5f * (float)i - 0.25f * (float)j;
    for (int i = 0; i < n; i++) {
        x[i] = origin[0] + 0.5f * (2 + 18 * interp_random_uniform(1, 7, (uint64_t)i));
        y[i] = origin[1] + 0.5f * (2 + 18 * interp_random_uniform(1, 8, (uint64_t)i));
    }
    FOR_ISAS(ctx)
    {
        for (int from = 0; from < 3; from++)
            for (int to = from; to <= n; to++) {
                double sum = 0;
                const double total = itp_embeds(ctx->k)->mesh_read(from, to, x, y, origin, 2, grid,
                                                                   width, -0.5f, value, fx, fy);
                for (int i = from; i < to; i++) {
                    const double u = 2 * ((double)x[i] - (double)origin[0]);
                    const double v = 2 * ((double)y[i] - (double)origin[1]);
                    sum += 2 + 0.5 * u - 0.25 * v;
                    CHECK_NEAR(value[i], 2 + 0.5 * u - 0.25 * v, SUM_TOLERANCE * 10);
                    CHECK_NEAR(fx[i], -0.5 * 2 * 0.5, SUM_TOLERANCE * 10);
                    CHECK_NEAR(fy[i], -0.5 * 2 * -0.25, SUM_TOLERANCE * 10);
                }
                CHECK_NEAR(total, sum, SUM_TOLERANCE * (1 + fabs(sum)));
            }
    }
}

/* Spreading, transforms along and across, and reading, together. */
TEST(the_grid_sums_all_pairs)
{
    enum { n = 150 };
    float x[n], y[n], fx[n], fy[n];
    double sums[1];
    scatter(x, n, 9, 6);
    scatter(y, n, 10, 3);
    FOR_ISAS(ctx)
    {
        const float low[2] = {-40, -40}, high[2] = {40, 40};
        itp_mesh mesh;
        itp_arena arena = {NULL, 0};
        itp_mesh_layout(&arena, &mesh, ctx, n, 0.4f, 1);
        arena.base = (char *)interp_alloc(ctx, arena.used);
        CHECK(arena.base != NULL);
        if (!arena.base) continue;
        arena.used = 0;
        itp_mesh_layout(&arena, &mesh, ctx, n, 0.4f, 1);
        const double total = itp_mesh_repel(ctx, &mesh, n, x, y, low, high, fx, fy, sums);
        double want = 0, off = 0, all = 0;
        for (int i = 0; i < n; i++) {
            double force[2] = {0, 0};
            for (int j = 0; j < n; j++) {
                const double gx = (double)x[i] - (double)x[j], gy = (double)y[i] - (double)y[j];
                const double q = 1 / (1 + gx * gx + gy * gy);
                want += i == j ? 0 : q;
                force[0] += q * q * gx;
                force[1] += q * q * gy;
            }
            const double gap[2] = {(double)fx[i] - force[0], (double)fy[i] - force[1]};
            off += gap[0] * gap[0] + gap[1] * gap[1];
            all += force[0] * force[0] + force[1] * force[1];
        }
        CHECK_NEAR(sqrt(off / all), 0, SLOPE_TOLERANCE);
        CHECK_NEAR(total, want, MESH_TOLERANCE * want);
        interp_free(ctx, arena.base);
    }
}

/* ---- t-SNE */

enum { POINTS = 37, EDGES = 400 };

/* A graph whose rows have 0 to 20 edges. */
typedef struct graph {
    size_t start[POINTS + 1];
    int32_t index[EDGES + ITP_MOST_LANES];
    float weight[EDGES + ITP_MOST_LANES];
    float y[3][POINTS], force[3][POINTS];
    itp_springs s;
} graph;

static void make_graph(graph *g, int dims)
{
    size_t at = 0;
    memset(g, 0, sizeof *g);
    for (int i = 0; i < POINTS; i++) {
        g->start[i] = at;
        for (int e = 0; e < i * 4 % 21; e++, at++) {
            g->index[at] = (i + 1 + 5 * e) % POINTS;
            g->weight[at] = 0.1f + interp_random_uniform(2, 11, at);
        }
    }
    g->start[POINTS] = at;
    g->s.start = g->start, g->s.index = g->index, g->s.weight = g->weight;
    g->s.stretch = 0.8f;
    for (int k = 0; k < dims; k++) {
        scatter(g->y[k], POINTS, 12 + (uint64_t)k, 2);
        g->s.y[k] = g->y[k];
        g->s.force[k] = g->force[k];
    }
}

static double gap_of(const graph *g, int dims, int i, int j, double *gap)
{
    double d2 = 0;
    for (int k = 0; k < dims; k++) {
        gap[k] = (double)g->y[k][i] - (double)g->y[k][j];
        d2 += gap[k] * gap[k];
    }
    return d2;
}

TEST(attraction_is_the_sum_over_edges)
{
    static graph g;
    FOR_ISAS(ctx)
    {
        for (int dims = 1; dims <= 3; dims++) {
            double cost = 0, gap[3];
            make_graph(&g, dims);
            itp_embeds(ctx->k)->springs(&g.s, dims, 3, POINTS);
            for (int i = 3; i < POINTS; i++) {
                double want[3] = {0, 0, 0};
                for (size_t e = g.start[i]; e < g.start[i + 1]; e++) {
                    const double t = 1 + 0.8 * gap_of(&g, dims, i, g.index[e], gap);
                    cost += (double)g.weight[e] * log(t);
                    for (int k = 0; k < dims; k++) want[k] += (double)g.weight[e] / t * gap[k];
                }
                for (int k = 0; k < dims; k++) CHECK_NEAR(g.force[k][i], want[k], SUM_TOLERANCE);
            }
            for (int k = 0; k < dims; k++) CHECK(g.force[k][2] == 0);
            CHECK_NEAR(itp_embeds(ctx->k)->springs_cost(&g.s, dims, 3, POINTS), cost,
                       SUM_TOLERANCE * cost);
        }
    }
}

TEST(repulsion_is_the_sum_over_points)
{
    static graph g;
    FOR_ISAS(ctx)
    {
        for (int dims = 1; dims <= 3; dims++)
            for (int power = 0; power < 2; power++) {
                const double p = power ? 1 : 1.125;
                double sum = 0, gap[3];
                make_graph(&g, dims);
                const double got =
                    itp_embeds(ctx->k)->repel(&g.s, dims, (float)p, POINTS, 2, POINTS - 1);
                for (int i = 2; i < POINTS - 1; i++) {
                    double want[3] = {0, 0, 0};
                    for (int j = 0; j < POINTS; j++) {
                        const double q = 1 / (1 + 0.8 * gap_of(&g, dims, i, j, gap));
                        sum += pow(q, p);
                        for (int k = 0; k < dims; k++) want[k] += pow(q, p + 1) * gap[k];
                    }
                    for (int k = 0; k < dims; k++)
                        CHECK_NEAR(g.force[k][i], want[k], SUM_TOLERANCE);
                }
                CHECK_NEAR(got, sum, SUM_TOLERANCE * sum);
            }
    }
}

TEST(steps_follow_gradients_momentum_and_gains)
{
    enum { n = 41 };
    float at[5][3][n], want[3][3][n];
    FOR_ISAS(ctx)
    {
        for (int dims = 1; dims <= 3; dims++) {
            itp_descent g;
            memset(&g, 0, sizeof g);
            g.pull_scale = 4, g.push_scale = 3, g.rate = 0.2f, g.momentum = 0.8f, g.most = 1;
            for (int k = 0; k < dims; k++) {
                for (int a = 0; a < 5; a++) scatter(at[a][k], n, 20 + (uint64_t)(5 * k + a), 0.5f);
                for (int i = 0; i < n; i++) at[2][k][i] = fabsf(at[2][k][i]) + 0.005f;
                g.y[k] = at[0][k], g.velocity[k] = at[1][k], g.gain[k] = at[2][k];
                g.pull[k] = at[3][k], g.push[k] = at[4][k];
            }
            for (int i = 0; i < n; i++) {
                double step[3], length = 0;
                for (int k = 0; k < dims; k++) {
                    const double d = 4 * (double)at[3][k][i] - 3 * (double)at[4][k][i];
                    const double v = (double)at[1][k][i], old = (double)at[2][k][i];
                    const double gain = v * d > 0 ? fmax(0.01, 0.8 * old) : old + 0.2;
                    want[2][k][i] = (float)gain;
                    step[k] = 0.8 * v - 0.2 * gain * d;
                    length += step[k] * step[k];
                }
                const double cut = length > 1 ? 1 / sqrt(length) : 1;
                for (int k = 0; k < dims; k++) {
                    want[1][k][i] = (float)(cut * step[k]);
                    want[0][k][i] = (float)((double)at[0][k][i] + cut * step[k]);
                }
            }
            itp_embeds(ctx->k)->descend(&g, dims, 0, n);
            int wrong = 0;
            for (int a = 0; a < 3; a++)
                for (int k = 0; k < dims; k++)
                    for (int i = 0; i < n; i++)
                        wrong += !near((double)at[a][k][i], (double)want[a][k][i], SUM_TOLERANCE);
            CHECK(wrong == 0);
        }
    }
}

/* ---- UMAP */

/* An epoch of one lane in double: edges in turn, each pulled once; then, for each edge, runs of the
   shuffled others push. */
static void move_lane(const itp_attraction *s, int steps, int lanes, int lane, const int32_t *own,
                      const int32_t *neighbour, const float *due, uint32_t random, double *at)
{
    const double a = (double)s->a, b = (double)s->b;
    for (int t = 0; t < steps; t++) {
        const double rate = due[t * lanes + lane] > 0 ? (double)s->rate : 0;
        for (int what = -s->both; what < s->negatives; what++) {
            double gap[ITP_UMAP_DIMS], d2 = 0, factor = 0;
            size_t run = 0;
            if (what >= 0) {
                random ^= random << 13, random ^= random >> 17, random ^= random << 5;
                run = (size_t)(((uint64_t)random * (uint32_t)s->others) >> 32) + (size_t)lane;
            }
            const size_t other =
                what < 0 ? (size_t)neighbour[t * lanes + lane] : (size_t)s->shuffled[run];
            for (int k = 0; k < s->dims; k++) {
                gap[k] = at[k] - (double)s->at[(size_t)k * s->stride + other];
                d2 += gap[k] * gap[k];
            }
            const double power = pow(d2, b);
            if (what < 0) factor = d2 > 0 ? -2 * a * b * power / d2 / (1 + a * power) : 0;
            else if (other != (size_t)own[lane])
                factor = 2 * (double)s->repulsion * b / ((0.001 + d2) * (1 + a * power));
            for (int k = 0; k < s->dims; k++) {
                const double go = factor * gap[k];
                at[k] += rate * (go > 4 ? 4 : go < -4 ? -4 : go);
            }
        }
    }
}

TEST(vertices_move_along_their_edges_and_away_from_others)
{
    enum { n = 64, steps = 5, room = n + ITP_MOST_LANES };
    static float at[4 * n], shuffled[5 * room], due[steps * ITP_MOST_LANES];
    static float y[4 * ITP_MOST_LANES];
    int32_t own[ITP_MOST_LANES], neighbour[steps * ITP_MOST_LANES];
    scatter(at, 4 * n, 40, 3);
    FOR_ISAS(ctx)
    {
        const int lanes = ctx->k->width;
        for (int dims = 1; dims <= 4; dims++) {
            itp_attraction s;
            memset(&s, 0, sizeof s);
            s.dims = dims;
            s.a = 1.5769435f, s.b = 0.8950609f, s.rate = 0.4f, s.repulsion = 1.2f;
            s.negatives = 3, s.both = 2;
            s.at = at, s.stride = n, s.others = n;
            for (int i = 0; i < room; i++) {
                const int of = i % n * 37 % n;
                shuffled[i] = (float)of;
                for (int k = 0; k < dims; k++) shuffled[(k + 1) * room + i] = at[k * n + of];
            }
            s.shuffled = shuffled, s.shuffled_stride = room;
            for (int l = 0; l < lanes; l++) {
                own[l] = 3 * l;
                for (int k = 0; k < dims; k++) y[k * lanes + l] = at[k * n + own[l]];
                for (int t = 0; t < steps; t++) {
                    neighbour[t * lanes + l] = (own[l] + 1 + 7 * t) % n;
                    due[t * lanes + l] = t > l % 5 ? 0.0f : 0.7f;
                }
            }
            double want[ITP_MOST_LANES][4];
            for (int l = 0; l < lanes; l++) {
                for (int k = 0; k < dims; k++) want[l][k] = (double)y[k * lanes + l];
                move_lane(&s, steps, lanes, l, own, neighbour, due, 12345, want[l]);
            }
            uint32_t state = 12345;
            itp_embeds(ctx->k)->attract(&s, steps, own, neighbour, due, &state, y);
            CHECK(state != 12345);
            for (int l = 0; l < lanes; l++)
                for (int k = 0; k < dims; k++)
                    CHECK_NEAR(y[k * lanes + l], want[l][k],
                               POWER_TOLERANCE * 10 * (1 + fabs(want[l][k])));
        }
    }
}

TEST(rows_spread_along_a_graph)
{
    static graph g;
    static float x[POINTS * 19], old[POINTS * 19], out[POINTS * 19];
    make_graph(&g, 1);
    scatter(x, POINTS * 19, 50, 1);
    scatter(old, POINTS * 19, 51, 1);
    FOR_ISAS(ctx)
    {
        for (int columns = 1; columns <= 19; columns++)
            for (int with = 0; with < 2; with++) {
                const float b = with ? -0.5f : 0;
                int wrong = 0;
                itp_embeds(ctx->k)->spread_rows(1, POINTS, g.start, g.index, g.weight, x, columns,
                                                2, old, b, out);
                for (int i = 1; i < POINTS; i++)
                    for (int c = 0; c < columns; c++) {
                        double want = (double)b * (double)old[i * columns + c];
                        for (size_t e = g.start[i]; e < g.start[i + 1]; e++)
                            want +=
                                2 * (double)g.weight[e] * (double)x[(int)g.index[e] * columns + c];
                        wrong += !near((double)out[i * columns + c], want, SUM_TOLERANCE);
                    }
                CHECK(wrong == 0);
            }
    }
}

int main(int argc, char **argv)
{
    RUN(elementary_functions_keep_their_stated_ulp);
    RUN(elementary_functions_are_right_at_the_edges);
    RUN(elementwise_kernels_agree_with_the_scalar_body);
    RUN(rules_of_relu_are_what_their_formulas_say);
    RUN(reductions_agree_with_double_sums);
    RUN(sgemm_matches_a_double_sum);
    RUN(sgemm_reads_no_c_when_beta_is_zero);
    RUN(sgemm_is_bit_identical_at_any_thread_count);
    RUN(products_leave_zeros_out_without_a_trace);
    RUN(convolutions_match_their_definition);
    RUN(depthwise_planes_of_any_size_match_their_definition);
    RUN(planes_in_bands_are_the_same_at_any_thread_count);
    RUN(weights_packed_on_the_way_change_no_result);
    RUN(winograd_rounds_little_more_than_the_plain_order);
    RUN(winograd_sums_weights_little_worse_than_the_plain_order);
    RUN(a_nan_is_never_lost_by_a_maximum);
    RUN(pools_match_their_definition);
    RUN(softmax_across_columns_matches_the_softmax_of_rows);
    RUN(philox_matches_the_published_vectors);
    RUN(draws_of_many_follow_the_same_stream);
    RUN(normal_numbers_have_mean_zero_and_variance_one);
    RUN(pca_finds_the_axes_of_a_rotated_cloud);
    RUN(numbers_below_a_limit_are_found_in_order);
    RUN(places_in_an_order_are_counted);
    RUN(comparisons_are_their_definitions);
    RUN(transforms_are_sums_of_waves);
    RUN(splines_read_planes_exactly);
    RUN(the_grid_sums_all_pairs);
    RUN(attraction_is_the_sum_over_edges);
    RUN(repulsion_is_the_sum_over_points);
    RUN(steps_follow_gradients_momentum_and_gains);
    RUN(vertices_move_along_their_edges_and_away_from_others);
    RUN(rows_spread_along_a_graph);
    return test_end(argc, argv);
}

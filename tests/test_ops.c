/* Single ops of the table: what they give for small inputs, worked out by hand or by plain loops. That
   gradients fit is shown by test_gradients; here are the cases where differences say nothing. */
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

#define MOST 4096 /* numbers of an output or a gradient that are kept */

static interp_ctx *ctx;

/* One node over parameters, run and differentiated with a seed of 1, 2, 3 ... */
typedef struct outcome {
    interp_status status;
    interp_shape shape;
    float y[MOST], dx[3][MOST]; /* dx: of the inputs that are parameters */
} outcome;

static outcome got;

typedef struct operand {
    interp_shape shape;
    const float *x;
    bool constant;
} operand;

static interp_shape dims(int rank, int a, int b, int c, int d)
{
    return itp_shape_of(rank, a, b, c, d);
}

static void keep_result(interp_net *net, const operand *in, int n, interp_tensor y,
                        const interp_tensor *t)
{
    interp_workspace_desc d;
    interp_workspace *w = NULL;
    static float seed[MOST];
    memset(&d, 0, sizeof d);
    d.param_grads = true;
    d.constant_weights = true; /* the other way is that of test_gradients */
    got.status = interp_net_build(net, 1);
    if (!got.status) got.status = interp_workspace_new(ctx, net, &d, &w);
    if (got.status) return;
    for (int i = 0; i < n; i++)
        if (!in[i].constant)
            memcpy(net->values[t[i] - 1].data, in[i].x,
                   interp_shape_size(&in[i].shape) * sizeof(float));
    const float zero = 0, *const dummy = &zero;
    got.status = interp_forward(w, &dummy);
    if (!got.status) got.status = interp_forward(w, &dummy); /* what was packed is used again */
    got.shape = w->shape[y - 1];
    const size_t size = interp_shape_size(&got.shape);
    memcpy(got.y, interp_workspace_target(w), size * sizeof(float));
    for (size_t i = 0; i < size; i++) seed[i] = (float)(i + 1);
    if (!got.status) got.status = interp_backward(w, seed);
    for (int i = 0; i < n; i++)
        if (!in[i].constant)
            memcpy(got.dx[i], interp_workspace_param_grad(w) + net->values[t[i] - 1].offset,
                   interp_shape_size(&in[i].shape) * sizeof(float));
    interp_workspace_free(w);
}

static void run(int op, const itp_attrs *a, int n, const operand *in)
{
    interp_net *net = interp_net_new(ctx, "one op");
    const interp_shape none = dims(0, 1, 1, 1, 1);
    interp_tensor t[4];
    memset(&got, 0, sizeof got);
    interp_input(net, NULL, &none);
    for (int i = 0; i < n; i++)
        t[i] = in[i].constant ? interp_constant(net, &in[i].shape, in[i].x)
                              : interp_parameter(net, NULL, &in[i].shape, INTERP_UNIFORM, 1, 1);
    const interp_tensor y = itp_plain(net, op, "op", n, t, a);
    interp_output(net, y, NULL);
    keep_result(net, in, n, y, t);
    interp_net_free(net);
}

static void run1(int op, const itp_attrs *a, interp_shape s, const float *x)
{
    const operand in[1] = {{s, x, false}};
    run(op, a, 1, in);
}

static void run2(int op, const itp_attrs *a, interp_shape s, const float *x, interp_shape t,
                 const float *z)
{
    const operand in[2] = {{s, x, false}, {t, z, false}};
    run(op, a, 2, in);
}

static itp_attrs attrs(void)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    return a;
}

/* Numbers are the same, NaN is NaN, and errors are below 1e-6 of the number: what is left of doing the
   work in double and rounding to float. */
static bool same(const float *x, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)want[i];
        if (a == b || (a != a && b != b)) continue;
        if (fabs(a - b) <= 1e-6 * fmax(1, fabs(b))) continue;
        printf("    number %zu is %.9g, want %.9g\n", i, a, b);
        return false;
    }
    return true;
}

#define NUMBERS(...) ((const float[]){__VA_ARGS__})
/* The op's output has these dimensions and numbers. */
#define CHECK_Y(rank, a, b, c, d, ...)                                                             \
    do {                                                                                           \
        const interp_shape want_ = dims(rank, a, b, c, d);                                         \
        CHECK_OK(ctx, got.status);                                                                 \
        CHECK(!memcmp(&got.shape, &want_, sizeof want_));                                          \
        CHECK(same(got.y, NUMBERS(__VA_ARGS__), sizeof NUMBERS(__VA_ARGS__) / sizeof(float)));     \
    } while (0)
#define CHECK_DX(i, ...)                                                                           \
    CHECK(same(got.dx[i], NUMBERS(__VA_ARGS__), sizeof NUMBERS(__VA_ARGS__) / sizeof(float)))
#define CHECK_FAILS(text)                                                                          \
    do {                                                                                           \
        CHECK(got.status == INTERP_BAD_SHAPE);                                                     \
        CHECK(strstr(interp_error(ctx), text) != NULL);                                            \
        interp_clear_error(ctx);                                                                   \
    } while (0)

/* ---- functions of one argument */

TEST(steps_and_tests_of_one_number)
{
    static const float x[] = {-INFINITY, -2.5f, -1.5f, -0.5f, 0, 0.5f, 1.5f, 2.3f, INFINITY, NAN};
    const interp_shape s = dims(1, 10, 1, 1, 1);
    itp_attrs a = attrs();
    run1(ITP_OP_CEIL, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, -INFINITY, -2, -1, 0, 0, 1, 2, 3, INFINITY, NAN);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    run1(ITP_OP_FLOOR, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, -INFINITY, -3, -2, -1, 0, 0, 1, 2, INFINITY, NAN);
    run1(ITP_OP_ROUND, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, -INFINITY, -2, -2, 0, 0, 0, 2, 2, INFINITY, NAN);
    run1(ITP_OP_TRUNC, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, -INFINITY, -2, -1, 0, 0, 0, 1, 2, INFINITY, NAN);
    run1(ITP_OP_SIGN, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, -1, -1, -1, -1, 0, 1, 1, 1, 1, NAN);
    run1(ITP_OP_NOT, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0);
    run1(ITP_OP_TO_BOOL, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1);
    run1(ITP_OP_IS_NAN, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
    a.alpha = 1;
    run1(ITP_OP_IS_INF, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    a.alpha = 0, a.beta = 1;
    run1(ITP_OP_IS_INF, &a, s, x);
    CHECK_Y(1, 10, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0);
}

TEST(curves_give_the_functions_they_are_named_after)
{
    static const struct {
        int op;
        double (*f)(double);
        double x[3];
    } rows[] = {{ITP_OP_SIN, sin, {-2, 0, 1}},        {ITP_OP_COS, cos, {-2, 0, 1}},
                {ITP_OP_TAN, tan, {-2, 0, 1}},        {ITP_OP_ASIN, asin, {-1, 0, 0.3}},
                {ITP_OP_ACOS, acos, {-1, 0, 0.3}},    {ITP_OP_ATAN, atan, {-9, 0, 1}},
                {ITP_OP_SINH, sinh, {-2, 0, 1}},      {ITP_OP_COSH, cosh, {-2, 0, 1}},
                {ITP_OP_ASINH, asinh, {-2, 0, 1}},    {ITP_OP_ACOSH, acosh, {1, 2, 9}},
                {ITP_OP_ATANH, atanh, {-0.5, 0, 0.9}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float x[3], y[3];
        for (int k = 0; k < 3; k++) {
            x[k] = (float)rows[i].x[k];
            y[k] = (float)rows[i].f((double)x[k]);
        }
        run1(rows[i].op, NULL, dims(2, 1, 3, 1, 1), x);
        CHECK_OK(ctx, got.status);
        CHECK(same(got.y, y, 3));
    }
    itp_attrs a = attrs();
    a.alpha = 2, a.beta = 0.5f;
    run1(ITP_OP_CELU, &a, dims(1, 3, 1, 1, 1), NUMBERS(-2, 0, 3)); /* 2 (e^-1 - 1) */
    CHECK_Y(1, 3, 1, 1, 1, -1.2642411f, 0, 3);
    run1(ITP_OP_SOFTSIGN, &a, dims(1, 3, 1, 1, 1), NUMBERS(-3, 0, 1));
    CHECK_Y(1, 3, 1, 1, 1, -0.75f, 0, 0.5f);
    run1(ITP_OP_THRESHOLDED_RELU, &a, dims(1, 4, 1, 1, 1), NUMBERS(-3, 2, 2.5f, NAN));
    CHECK_Y(1, 4, 1, 1, 1, 0, 0, 2.5f, NAN);
    CHECK_DX(0, 0, 0, 3, 0);
    run1(ITP_OP_MISH, &a, dims(1, 4, 1, 1, 1), NUMBERS(-1, 0, 1, 200));
    CHECK_Y(1, 4, 1, 1, 1, -0.30340147f, 0, 0.86509839f, 200);
    run1(ITP_OP_SHRINK, &a, dims(1, 5, 1, 1, 1), NUMBERS(-3, -2, 1, 2.5f, NAN));
    CHECK_Y(1, 5, 1, 1, 1, -2.5f, 0, 0, 2, NAN);
}

/* ---- functions of two arguments, and choice */

TEST(pairs_broadcast_and_keep_nan)
{
    itp_attrs a = attrs();
    const interp_shape row = dims(1, 3, 1, 1, 1), column = dims(2, 2, 1, 1, 1);
    const interp_shape six = dims(1, 6, 1, 1, 1), one = dims(0, 1, 1, 1, 1);
    run2(ITP_OP_MAX, NULL, row, NUMBERS(1, NAN, 3), column, NUMBERS(2, 3));
    CHECK_Y(2, 2, 3, 1, 1, 2, NAN, 3, 3, NAN, 3);
    CHECK_DX(0, 0, 7, 9); /* the first of equals */
    CHECK_DX(1, 1, 4);
    run2(ITP_OP_MIN, NULL, row, NUMBERS(1, 5, 3), column, NUMBERS(NAN, 3));
    CHECK_Y(2, 2, 3, 1, 1, NAN, NAN, NAN, 1, 3, 3);
    CHECK_DX(0, 4, 0, 6);
    CHECK_DX(1, 6, 5);
    run2(ITP_OP_POW, NULL, row, NUMBERS(-2, 0, 4), column, NUMBERS(2, 0.5f));
    CHECK_Y(2, 2, 3, 1, 1, 4, 0, 16, NAN, 0, 2);
    run2(ITP_OP_POW, NULL, row, NUMBERS(-2, 0, 4), one, NUMBERS(0));
    CHECK_Y(1, 3, 1, 1, 1, 1, 1, 1);
    CHECK_DX(0, 0, 0, 0);
    run2(ITP_OP_PRELU, NULL, dims(2, 2, 3, 1, 1), NUMBERS(-1, 2, -3, 4, -5, 0), row,
         NUMBERS(2, 3, 0.5f));
    CHECK_Y(2, 2, 3, 1, 1, -2, 2, -1.5f, 4, -15, 0);
    CHECK_DX(0, 2, 2, 1.5f, 4, 15, 3);
    CHECK_DX(1, -1, -25, -9);
    run2(ITP_OP_PRELU, NULL, row, NUMBERS(1, 1, 1), column, NUMBERS(1, 1));
    CHECK_FAILS("[2,1] does not broadcast to [3]");
    run2(ITP_OP_MOD, &a, six, NUMBERS(-7, 7, -7, 7, 6, -1.5f), six, NUMBERS(3, -3, -3, 3, 3, 1));
    CHECK_Y(1, 6, 1, 1, 1, 2, -2, -1, 1, 0, 0.5f);
    a.mode = 1;
    run2(ITP_OP_MOD, &a, six, NUMBERS(-7, 7, -7, 7, 6, -1.5f), six, NUMBERS(3, -3, -3, 3, 3, 1));
    CHECK_Y(1, 6, 1, 1, 1, -1, 1, -1, 1, 0, -0.5f);
    run2(ITP_OP_INT_DIV, &a, six, NUMBERS(-7, 7, -7, 7, 6, 5), six, NUMBERS(3, -3, -3, 3, 3, 0));
    CHECK_Y(1, 6, 1, 1, 1, -2, -2, 2, 2, 2, 0);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0);
}

TEST(comparisons_and_logic_give_0_and_1)
{
    const interp_shape s = dims(1, 4, 1, 1, 1);
    static const float x[] = {1, 2, 3, NAN}, z[] = {2, 2, 2, 2};
    static const float p[] = {0, 0, 2, -1}, q[] = {0, 3, 0, 1};
    static const struct {
        int op;
        float y[4];
    } rows[] = {{ITP_OP_EQUAL, {0, 1, 0, 0}},
                {ITP_OP_LESS, {1, 0, 0, 0}},
                {ITP_OP_GREATER, {0, 0, 1, 0}},
                {ITP_OP_LESS_EQUAL, {1, 1, 0, 0}},
                {ITP_OP_GREATER_EQUAL, {0, 1, 1, 0}},
                {ITP_OP_AND, {0, 0, 0, 1}},
                {ITP_OP_OR, {0, 1, 1, 1}},
                {ITP_OP_XOR, {0, 1, 1, 0}}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (i < 5) run2(rows[i].op, NULL, s, x, s, z);
        else run2(rows[i].op, NULL, s, p, s, q);
        CHECK_OK(ctx, got.status);
        CHECK(same(got.y, rows[i].y, 4));
        CHECK_DX(0, 0, 0, 0, 0);
    }
}

TEST(where_picks_across_three_shapes)
{
    const operand in[3] = {{dims(2, 2, 1, 1, 1), NUMBERS(1, 0), false},
                           {dims(1, 3, 1, 1, 1), NUMBERS(1, 2, 3), false},
                           {dims(3, 2, 1, 1, 1), NUMBERS(7, 8), false}};
    run(ITP_OP_WHERE, NULL, 3, in);
    CHECK_Y(3, 2, 2, 3, 1, 1, 2, 3, 7, 7, 7, 1, 2, 3, 8, 8, 8);
    CHECK_DX(0, 0, 0);
    CHECK_DX(1, 1 + 7, 2 + 8, 3 + 9);
    CHECK_DX(2, 4 + 5 + 6, 10 + 11 + 12);
    const operand bad[3] = {in[1], in[0], {dims(1, 4, 1, 1, 1), NUMBERS(1, 2, 3, 4), false}};
    run(ITP_OP_WHERE, NULL, 3, bad);
    CHECK_FAILS("do not broadcast");
}

/* ---- reductions */

/* Every set of axes of [2,3,1,4] against plain loops. */
TEST(reductions_match_plain_loops_over_all_sets_of_axes)
{
    static const int ops[] = {ITP_OP_REDUCE_SUM, ITP_OP_REDUCE_MEAN, ITP_OP_REDUCE_MAX,
                              ITP_OP_REDUCE_MIN, ITP_OP_REDUCE_PROD, ITP_OP_REDUCE_LOG_SUM_EXP};
    const interp_shape s = dims(4, 2, 3, 1, 4);
    float x[24];
    for (int i = 0; i < 24; i++) x[i] = interp_random_normal(3, 1, (uint64_t)i);
    for (int o = 0; o < 6; o++)
        for (unsigned axes = 1; axes < 16; axes++)
            for (int drop = 0; drop < 2; drop++) {
                double sum[24] = {0}, exps[24] = {0}, product[24], most[24], least[24];
                int n[24] = {0}, places = 1;
                float want[24];
                interp_shape out = dims(0, 1, 1, 1, 1);
                for (int d = 0; d < 4; d++) {
                    const bool kept = !(axes >> d & 1);
                    if (kept) places *= s.dim[d];
                    if (kept || !drop) out.dim[out.rank++] = kept ? s.dim[d] : 1;
                }
                for (int i = 0; i < 24; i++) product[i] = 1, most[i] = -1e9, least[i] = 1e9;
                for (int i = 0; i < 24; i++) {
                    const int at[4] = {i / 12, i / 4 % 3, 0, i % 4};
                    int to = 0;
                    for (int d = 0; d < 4; d++)
                        if (!(axes >> d & 1)) to = to * s.dim[d] + at[d];
                    const double v = (double)x[i];
                    sum[to] += v, exps[to] += exp(v), product[to] *= v, n[to]++;
                    most[to] = fmax(most[to], v), least[to] = fmin(least[to], v);
                }
                for (int i = 0; i < places; i++) {
                    const double all[] = {sum[i],   sum[i] / n[i], most[i],
                                          least[i], product[i],    log(exps[i])};
                    want[i] = (float)all[o];
                }
                itp_attrs a = attrs();
                a.axes = axes, a.drop = drop;
                run1(ops[o], &a, s, x);
                CHECK_OK(ctx, got.status);
                CHECK(!memcmp(&got.shape, &out, sizeof out));
                CHECK(same(got.y, want, (size_t)places));
            }
}

TEST(reductions_of_zeroes_ties_infinities_and_nothing)
{
    itp_attrs a = attrs();
    const interp_shape s = dims(2, 3, 3, 1, 1), none = dims(2, 2, 0, 1, 1),
                       one = dims(0, 1, 1, 1, 1);
    a.axes = 2;
    run1(ITP_OP_REDUCE_PROD, &a, s, NUMBERS(2, 0, 3, 0, 5, 0, 2, 3, 4));
    CHECK_Y(2, 3, 1, 1, 1, 0, 0, 24);
    CHECK_DX(0, 0, 6, 0, 0, 0, 0, 3 * 12, 3 * 8, 3 * 6);
    run1(ITP_OP_REDUCE_MAX, &a, s, NUMBERS(1, 4, 4, NAN, 5, NAN, -INFINITY, -INFINITY, -INFINITY));
    CHECK_Y(2, 3, 1, 1, 1, 4, NAN, -INFINITY);
    CHECK_DX(0, 0, 1, 0, 2, 0, 0, 3, 0, 0);
    run1(ITP_OP_REDUCE_LOG_SUM_EXP, &a, s,
         NUMBERS(1000, 1000, -INFINITY, -INFINITY, -INFINITY, -INFINITY, INFINITY, 0, 0));
    CHECK_Y(2, 3, 1, 1, 1, 1000 + 0.69314718f, -INFINITY, INFINITY);
    a.axes = 1;
    run1(ITP_OP_REDUCE_MIN, &a, s, NUMBERS(1, 4, 4, NAN, 5, 4, 1, 3, 4));
    CHECK_Y(2, 1, 3, 1, 1, NAN, 3, 4);
    CHECK_DX(0, 0, 0, 3, 1, 0, 0, 0, 2, 0);
    run1(ITP_OP_REDUCE_LOG_SUM_EXP, &a, s,
         NUMBERS(1000, -INFINITY, INFINITY, 1000, -INFINITY, 0, -INFINITY, -INFINITY, 0));
    CHECK_Y(2, 1, 3, 1, 1, 1000 + 0.69314718f, -INFINITY, INFINITY);
    a.axes = 2, a.drop = true;
    run1(ITP_OP_REDUCE_SUM, &a, none, NUMBERS(0));
    CHECK_Y(1, 2, 1, 1, 1, 0, 0);
    run1(ITP_OP_REDUCE_PROD, &a, none, NUMBERS(0));
    CHECK_Y(1, 2, 1, 1, 1, 1, 1);
    run1(ITP_OP_REDUCE_MAX, &a, none, NUMBERS(0));
    CHECK_Y(1, 2, 1, 1, 1, -INFINITY, -INFINITY);
    run1(ITP_OP_REDUCE_MEAN, &a, one, NUMBERS(7));
    CHECK_FAILS("beyond a tensor with 0 dimensions");
    a.axes = 0;
    run1(ITP_OP_REDUCE_MEAN, &a, one, NUMBERS(7));
    CHECK_Y(0, 1, 1, 1, 1, 7);
}

/* To 1e-5 of a sum of blocks of 2048 in float: added one by one, half a million equal numbers are off
   by 1e-3. */
TEST(long_sums_do_not_drift)
{
    enum { n = 1 << 20 };
    float *x = (float *)malloc(n * sizeof *x);
    for (int i = 0; i < n; i++) x[i] = 0.1f;
    for (int across = 0; across < 2; across++) {
        const operand in[1] = {
            {across ? dims(2, n / 2, 2, 1, 1) : dims(2, 2, n / 2, 1, 1), x, true}};
        itp_attrs a = attrs();
        a.axes = across ? 1 : 2, a.drop = true;
        run(ITP_OP_REDUCE_SUM, &a, 1, in);
        CHECK_OK(ctx, got.status);
        for (int i = 0; i < 2; i++) CHECK_NEAR(got.y[i], n / 2 * (double)0.1f, 1e-5 * n / 2 * 0.1);
    }
    free(x);
}

/* ---- indices */

/* An Index node over a table of `n` numbers; -1 is filled with 9. */
static void run_index(interp_shape s, const float *x, int n, const float *table)
{
    const operand in[2] = {{s, x, false}, {dims(1, n, 1, 1, 1), table, true}};
    itp_attrs a = attrs();
    a.alpha = 9;
    run(ITP_OP_INDEX, &a, 2, in);
}

TEST(index_picks_fills_and_repeats)
{
    const interp_shape s = dims(2, 2, 3, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6};
    run_index(s, x, 5, NUMBERS(-2, 3, 2, 1, 0));
    CHECK_Y(2, 2, 3, 1, 1, 3, 2, 1, 6, 5, 4);
    CHECK_DX(0, 3, 2, 1, 6, 5, 4);
    run_index(s, x, 10, NUMBERS(3, -1, 1, 0, 5, 0, 0, -1, 1, 2));
    CHECK_Y(2, 3, 5, 1, 1, 9, 9, 9, 9, 9, 4, 4, 9, 5, 6, 1, 1, 9, 2, 3);
    CHECK_DX(0, 11 + 12, 14, 15, 6 + 7, 9, 10);
    run_index(s, x, 3, NUMBERS(1, 1, -2));
    CHECK_Y(2, 1, 3, 1, 1, 4, 5, 6);
    CHECK_DX(0, 0, 0, 0, 1, 2, 3);
    run_index(s, x, 2, NUMBERS(-2, 0));
    CHECK_Y(2, 2, 0, 1, 1, 0);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0);
    run_index(s, x, 2, NUMBERS(-2, -2));
    CHECK_Y(2, 2, 3, 1, 1, 1, 2, 3, 4, 5, 6);
    run_index(dims(0, 1, 1, 1, 1), x, 0, x);
    CHECK_Y(0, 1, 1, 1, 1, 1);
}

TEST(index_tables_are_checked)
{
    const interp_shape s = dims(2, 2, 3, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6};
    run_index(s, x, 3, NUMBERS(-2, 1, 3));
    CHECK_FAILS("dimension 1 has 3 entries, but entry 3 is asked for");
    run_index(s, x, 3, NUMBERS(-2, 1, NAN));
    CHECK_FAILS("dimension 1 has 3 entries");
    run_index(s, x, 3, NUMBERS(-2, 1, 0.5f));
    CHECK_FAILS("dimension 1 has 3 entries");
    run_index(s, x, 3, NUMBERS(-2, 1, -2));
    CHECK_FAILS("dimension 1 has 3 entries");
    run_index(s, x, 3, NUMBERS(-2, 2, 0));
    CHECK_FAILS("at dimension 1 of 2");
    run_index(s, x, 1, NUMBERS(-2));
    CHECK_FAILS("at dimension 1 of 2");
    run_index(s, x, 2, NUMBERS(-2, -3));
    CHECK_FAILS("at dimension 1 of 2");
    run_index(s, x, 3, NUMBERS(-2, -2, 0));
    CHECK_FAILS("1 numbers more");
    const operand computed[2] = {{s, x, false}, {dims(1, 2, 1, 1, 1), NUMBERS(-2, -2), false}};
    run(ITP_OP_INDEX, NULL, 2, computed);
    CHECK_FAILS("must be a constant");
}

/* Random tables over eight dimensions against one loop over all numbers. */
TEST(index_matches_a_plain_loop_in_eight_dimensions)
{
    for (uint64_t trial = 0; trial < 40; trial++) {
        interp_shape s = {8, {1, 1, 1, 1, 1, 1, 1, 1}}, out = s;
        float table[64], x[MOST], want[MOST], grad[MOST] = {0};
        int source[8][4], at[8], n = 0;
        for (int d = 0; d < 8; d++) {
            const uint64_t draw = trial * 8 + (uint64_t)d;
            s.dim[d] = 1 + (int)(3 * interp_random_uniform(1, 1, draw));
            const bool all = interp_random_uniform(1, 2, draw) < 0.5f;
            out.dim[d] = all ? s.dim[d] : 1 + (int)(3 * interp_random_uniform(1, 3, draw));
            table[n++] = all ? -2 : (float)out.dim[d];
            for (int i = 0; i < out.dim[d]; i++) {
                const float r = interp_random_uniform(1, 4, draw * 4 + (uint64_t)i);
                source[d][i] = all ? i : (int)((float)(s.dim[d] + 1) * r) - 1;
                if (!all) table[n++] = (float)source[d][i];
            }
        }
        const size_t size = interp_shape_size(&s), numbers = interp_shape_size(&out);
        if (size > MOST || numbers > MOST) continue;
        for (size_t i = 0; i < size; i++) x[i] = (float)i;
        for (size_t i = 0; i < numbers; i++) {
            size_t rest = i, to = 0;
            bool filled = false;
            for (int d = 7; d >= 0; d--) {
                at[d] = (int)(rest % (size_t)out.dim[d]);
                rest /= (size_t)out.dim[d];
            }
            for (int d = 0; d < 8; d++) {
                filled |= source[d][at[d]] < 0;
                to = to * (size_t)s.dim[d] + (size_t)source[d][at[d]];
            }
            want[i] = filled ? 9 : x[to];
            if (!filled) grad[to] += (float)(i + 1);
        }
        run_index(s, x, n, table);
        CHECK_OK(ctx, got.status);
        CHECK(!memcmp(&got.shape, &out, sizeof out));
        CHECK(same(got.y, want, numbers));
        CHECK(same(got.dx[0], grad, size));
    }
}

TEST(gather_takes_as_numpy_does)
{
    const interp_shape s = dims(2, 3, 2, 1, 1), two = dims(2, 2, 2, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6};
    itp_attrs a = attrs();
    run2(ITP_OP_GATHER, &a, s, x, two, NUMBERS(0, 2, -1, 1));
    CHECK_Y(3, 2, 2, 2, 1, 1, 2, 5, 6, 5, 6, 3, 4);
    CHECK_DX(0, 1, 2, 7, 8, 3 + 5, 4 + 6);
    CHECK_DX(1, 0, 0, 0, 0);
    a.axis = -1;
    run2(ITP_OP_GATHER, &a, s, x, dims(1, 3, 1, 1, 1), NUMBERS(1, 0, 1));
    CHECK_Y(2, 3, 3, 1, 1, 2, 1, 2, 4, 3, 4, 6, 5, 6);
    CHECK_DX(0, 2, 1 + 3, 5, 4 + 6, 8, 7 + 9);
    run2(ITP_OP_GATHER, &a, s, x, dims(0, 1, 1, 1, 1), NUMBERS(1));
    CHECK_Y(1, 3, 1, 1, 1, 2, 4, 6);
    run2(ITP_OP_GATHER, &a, s, x, dims(1, 5, 1, 1, 1), NUMBERS(7, -9, NAN, INFINITY, -INFINITY));
    CHECK_Y(2, 3, 5, 1, 1, 2, 1, 1, 2, 1, 4, 3, 3, 4, 3, 6, 5, 5, 6, 5);
    run2(ITP_OP_GATHER, &a, dims(2, 3, 0, 1, 1), x, dims(1, 1, 1, 1, 1), x);
    CHECK_FAILS("dimension 1 has no entries");
    run2(ITP_OP_GATHER, &a, dims(0, 1, 1, 1, 1), x, two, x);
    CHECK_FAILS("axis -1 of a tensor with 0 dimensions");
}

TEST(elements_are_taken_along_an_axis)
{
    const interp_shape s = dims(2, 2, 3, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6};
    itp_attrs a = attrs();
    a.axis = 1;
    run2(ITP_OP_GATHER_ELEMENTS, &a, s, x, dims(2, 2, 4, 1, 1),
         NUMBERS(2, 0, -1, 9, 1, 1, NAN, -9));
    CHECK_Y(2, 2, 4, 1, 1, 3, 1, 3, 3, 5, 5, 4, 4);
    CHECK_DX(0, 2, 0, 1 + 3 + 4, 7 + 8, 5 + 6, 0);
    CHECK_DX(1, 0, 0, 0, 0, 0, 0, 0, 0);
    a.axis = 0;
    run2(ITP_OP_GATHER_ELEMENTS, &a, s, x, dims(2, 3, 2, 1, 1), NUMBERS(1, 0, 0, 1, 1, 1));
    CHECK_Y(2, 3, 2, 1, 1, 4, 2, 1, 5, 4, 5);
    CHECK_DX(0, 3, 2, 0, 1 + 5, 4 + 6, 0);
    run2(ITP_OP_GATHER_ELEMENTS, &a, s, x, dims(2, 2, 4, 1, 1), x);
    CHECK_FAILS("do not fit [2,3] along axis 0");
    run2(ITP_OP_GATHER_ELEMENTS, &a, s, x, dims(1, 2, 1, 1, 1), x);
    CHECK_FAILS("do not fit [2,3] along axis 0");
    run2(ITP_OP_GATHER_ELEMENTS, &a, dims(2, 0, 3, 1, 1), x, s, x);
    CHECK_FAILS("dimension 0 has no entries");
    run2(ITP_OP_GATHER_ELEMENTS, &a, s, x, dims(2, 2, 0, 1, 1), x);
    CHECK_Y(2, 2, 0, 1, 1, 0);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0);
}

TEST(slices_are_taken_by_several_indices)
{
    const interp_shape s = dims(3, 2, 2, 2, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    itp_attrs a = attrs();
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(2, 3, 2, 1, 1), NUMBERS(0, 1, 1, 0, -1, -9));
    CHECK_Y(2, 3, 2, 1, 1, 3, 4, 5, 6, 5, 6);
    CHECK_DX(0, 0, 0, 1, 2, 3 + 5, 4 + 6, 0, 0);
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(1, 3, 1, 1, 1), NUMBERS(1, 0, 1));
    CHECK_Y(0, 1, 1, 1, 1, 6);
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(2, 2, 0, 1, 1), x);
    CHECK_Y(4, 2, 2, 2, 2, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8);
    a.length = 1;
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(2, 2, 1, 1, 1), NUMBERS(1, 0));
    CHECK_Y(2, 2, 2, 1, 1, 3, 4, 5, 6);
    CHECK_DX(0, 0, 0, 1, 2, 3, 4, 0, 0);
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(2, 1, 1, 1, 1), x);
    CHECK_FAILS("do not fit [2,2,2] behind 1 dimensions");
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(2, 2, 3, 1, 1), x);
    CHECK_FAILS("do not fit [2,2,2] behind 1 dimensions");
    run2(ITP_OP_GATHER_ND, &a, s, x, dims(0, 1, 1, 1, 1), x);
    CHECK_FAILS("do not fit");
}

static void run_put(int op, int mode, int axis, interp_shape s, const float *x, interp_shape is,
                    const float *indices, interp_shape us, const float *updates)
{
    const operand in[3] = {{s, x, false}, {is, indices, false}, {us, updates, false}};
    itp_attrs a = attrs();
    a.mode = mode, a.axis = axis;
    run(op, &a, 3, in);
}

TEST(scattering_sets_adds_multiplies_and_compares)
{
    const interp_shape s = dims(2, 2, 3, 1, 1), is = dims(2, 2, 2, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6}, at[] = {0, -1, 1, 9}, u[] = {10, 20, -3, NAN};
    run_put(ITP_OP_SCATTER_ELEMENTS, 0, 1, s, x, is, at, is, u);
    CHECK_Y(2, 2, 3, 1, 1, 10, 2, 20, 4, -3, NAN);
    CHECK_DX(0, 0, 2, 0, 4, 0, 0);
    CHECK_DX(1, 0, 0, 0, 0);
    CHECK_DX(2, 1, 3, 5, 6);
    run_put(ITP_OP_SCATTER_ELEMENTS, 1, 0, s, x, is, NUMBERS(1, 1, 1, 0), is, u);
    CHECK_Y(2, 2, 3, 1, 1, 1, NAN, 3, 11, 25, 6);
    CHECK_DX(0, 1, 2, 3, 4, 5, 6);
    CHECK_DX(2, 4, 5, 4, 2);
    run_put(ITP_OP_SCATTER_ELEMENTS, 2, 1, s, x, is, at, is, u);
    CHECK_FAILS("mode 2");
    run_put(ITP_OP_SCATTER_ELEMENTS_FOLD, 2, 1, s, x, is, at, is, u);
    CHECK_Y(2, 2, 3, 1, 1, 10, 2, 60, 4, -15, NAN);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0);
    run_put(ITP_OP_SCATTER_ELEMENTS_FOLD, 3, 1, s, x, is, at, is, u);
    CHECK_Y(2, 2, 3, 1, 1, 10, 2, 20, 4, 5, NAN);
    run_put(ITP_OP_SCATTER_ELEMENTS_FOLD, 4, 1, s, x, is, at, is, u);
    CHECK_Y(2, 2, 3, 1, 1, 1, 2, 3, 4, -3, NAN);
    run_put(ITP_OP_SCATTER_ELEMENTS, 0, 1, s, x, is, at, s, x);
    CHECK_FAILS("updates are [2,3] but must be [2,2]");
    const interp_shape rows = dims(2, 2, 1, 1, 1);
    run_put(ITP_OP_SCATTER_ND, 0, 0, s, x, dims(2, 1, 1, 1, 1), NUMBERS(-1), dims(2, 1, 3, 1, 1),
            NUMBERS(7, 8, 9));
    CHECK_Y(2, 2, 3, 1, 1, 1, 2, 3, 7, 8, 9);
    CHECK_DX(0, 1, 2, 3, 0, 0, 0);
    CHECK_DX(2, 4, 5, 6);
    run_put(ITP_OP_SCATTER_ND, 1, 0, s, x, dims(2, 2, 2, 1, 1), NUMBERS(0, 2, 0, 2),
            dims(1, 2, 1, 1, 1), NUMBERS(10, 20));
    CHECK_Y(2, 2, 3, 1, 1, 1, 2, 33, 4, 5, 6);
    CHECK_DX(0, 1, 2, 3, 4, 5, 6);
    CHECK_DX(2, 3, 3);
    run_put(ITP_OP_SCATTER_ND_FOLD, 4, 0, s, x, rows, NUMBERS(0, 0), s, NUMBERS(3, 2, 1, 0, 9, 9));
    CHECK_Y(2, 2, 3, 1, 1, 0, 2, 1, 4, 5, 6);
    run_put(ITP_OP_SCATTER_ND, 0, 0, s, x, rows, at, rows, x);
    CHECK_FAILS("updates are [2,1] but must be [2,3]");
}

TEST(resizing_an_axis_is_a_weighted_sum)
{
    const operand in[2] = {{dims(2, 2, 3, 1, 1), NUMBERS(1, 2, 4, INFINITY, 3, 5), false},
                           {dims(2, 2, 4, 1, 1), NUMBERS(0, 1, 0.5f, 0.5f, 2, 0, 2, 0), true}};
    itp_attrs a = attrs();
    a.axis = 1, a.length = 2;
    run(ITP_OP_RESIZE_AXIS, &a, 2, in);
    CHECK_Y(2, 2, 2, 1, 1, 1.5f, 8, INFINITY, 10);
    CHECK_DX(0, 0.5f, 0.5f, 4, 1.5f, 1.5f, 8);
    a.axis = 0;
    run(ITP_OP_RESIZE_AXIS, &a, 2, in);
    CHECK_FAILS("dimension 0 has 2 entries, but entry 2 is asked for");
    a.axis = 1, a.length = 3;
    run(ITP_OP_RESIZE_AXIS, &a, 2, in);
    CHECK_FAILS("4 columns, for 3 taps");
}

/* ---- along an axis */

TEST(arg_max_and_min_take_the_first_or_the_last)
{
    const interp_shape s = dims(2, 2, 4, 1, 1);
    static const float x[] = {3, 1, 3, 1, 0, NAN, 5, NAN};
    itp_attrs a = attrs();
    a.axis = 1;
    run1(ITP_OP_ARG_MAX, &a, s, x);
    CHECK_Y(2, 2, 1, 1, 1, 0, 1);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0, 0, 0);
    run1(ITP_OP_ARG_MIN, &a, s, x);
    CHECK_Y(2, 2, 1, 1, 1, 1, 1);
    a.last = a.drop = true;
    run1(ITP_OP_ARG_MAX, &a, s, x);
    CHECK_Y(1, 2, 1, 1, 1, 2, 3);
    run1(ITP_OP_ARG_MIN, &a, s, x);
    CHECK_Y(1, 2, 1, 1, 1, 3, 3);
    a = attrs();
    a.axis = -2, a.drop = true;
    run1(ITP_OP_ARG_MAX, &a, s, x);
    CHECK_Y(1, 4, 1, 1, 1, 0, 1, 1, 1);
    a.axis = 0;
    run1(ITP_OP_ARG_MAX, &a, dims(1, 3, 1, 1, 1), x);
    CHECK_Y(0, 1, 1, 1, 1, 0);
    run1(ITP_OP_ARG_MAX, &a, dims(2, 0, 3, 1, 1), x);
    CHECK_FAILS("no entries to compare");
    a.axis = 1;
    run1(ITP_OP_HARDMAX, &a, s, x);
    CHECK_Y(2, 2, 4, 1, 1, 1, 0, 0, 0, 0, 1, 0, 0);
    a.axis = 0;
    run1(ITP_OP_HARDMAX, &a, s, x);
    CHECK_Y(2, 2, 4, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1);
}

TEST(running_sums_go_both_ways)
{
    const interp_shape s = dims(2, 2, 3, 1, 1);
    static const float x[] = {1, 2, 3, 4, 5, 6};
    itp_attrs a = attrs();
    a.axis = 1;
    run1(ITP_OP_CUM_SUM, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 1, 3, 6, 4, 9, 15);
    CHECK_DX(0, 6, 5, 3, 15, 11, 6);
    a.exclusive = true;
    run1(ITP_OP_CUM_SUM, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 0, 1, 3, 0, 4, 9);
    CHECK_DX(0, 5, 3, 0, 11, 6, 0);
    a.reverse = true;
    run1(ITP_OP_CUM_SUM, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 5, 3, 0, 11, 6, 0);
    a.exclusive = false, a.axis = -2;
    run1(ITP_OP_CUM_SUM, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 5, 7, 9, 4, 5, 6);
    CHECK_DX(0, 1, 2, 3, 1 + 4, 2 + 5, 3 + 6);
}

TEST(top_k_is_sorted_and_ties_go_to_the_first)
{
    const interp_shape s = dims(2, 2, 5, 1, 1);
    static const float x[] = {3, 1, 3, 2, 3, 0, NAN, 5, -INFINITY, 5};
    itp_attrs a = attrs();
    a.axis = 1, a.length = 3;
    run1(ITP_OP_TOP_K_VALUES, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 3, 3, 3, NAN, 5, 5);
    CHECK_DX(0, 1, 0, 2, 0, 3, 0, 4, 5, 0, 6);
    run1(ITP_OP_TOP_K_INDICES, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 0, 2, 4, 1, 2, 4);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    a.reverse = true;
    run1(ITP_OP_TOP_K_VALUES, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 1, 2, 3, -INFINITY, 0, 5);
    run1(ITP_OP_TOP_K_INDICES, &a, s, x);
    CHECK_Y(2, 2, 3, 1, 1, 1, 3, 0, 3, 0, 2);
    a.length = 6;
    run1(ITP_OP_TOP_K_INDICES, &a, s, x);
    CHECK_FAILS("the first 6 entries of 5");
    a.length = 0;
    run1(ITP_OP_TOP_K_VALUES, &a, s, x);
    CHECK_Y(2, 2, 0, 1, 1, 0);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

/* Against sorting by exchange, for every k and both orders, many of the numbers being equal. */
TEST(top_k_matches_sorting)
{
    enum { n = 37, inner = 3 };
    const interp_shape s = dims(3, 2, n, inner, 1);
    float x[2 * n * inner], want[2 * n * inner];
    for (int i = 0; i < 2 * n * inner; i++)
        x[i] = (float)(int)(9 * interp_random_uniform(5, 5, (uint64_t)i));
    for (int k = 1; k <= n; k++)
        for (int reverse = 0; reverse < 2; reverse++) {
            itp_attrs a = attrs();
            a.axis = 1, a.length = k, a.reverse = reverse;
            for (int lane = 0; lane < 2 * inner; lane++) {
                int order[n];
                const float *from = x + lane / inner * n * inner + lane % inner;
                for (int i = 0; i < n; i++) {
                    int at = i; /* into its place among those before */
                    while (at > 0) {
                        const float p = from[order[at - 1] * inner], q = from[i * inner];
                        if (reverse ? p <= q : p >= q) break;
                        order[at] = order[at - 1];
                        at--;
                    }
                    order[at] = i;
                }
                for (int i = 0; i < k; i++)
                    want[(lane / inner * k + i) * inner + lane % inner] = (float)order[i];
            }
            run1(ITP_OP_TOP_K_INDICES, &a, s, x);
            CHECK_OK(ctx, got.status);
            CHECK(same(got.y, want, (size_t)(2 * k * inner)));
        }
}

TEST(one_hot_and_fill_write_constants)
{
    itp_attrs a = attrs();
    a.axis = -1, a.length = 3, a.alpha = -1, a.beta = 5;
    run1(ITP_OP_ONE_HOT, &a, dims(1, 5, 1, 1, 1), NUMBERS(1, -1, 3, -4, NAN));
    CHECK_Y(2, 5, 3, 1, 1, -1, 5, -1, -1, -1, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    a.axis = 0;
    run1(ITP_OP_ONE_HOT, &a, dims(1, 2, 1, 1, 1), NUMBERS(2, 0));
    CHECK_Y(2, 3, 2, 1, 1, -1, 5, -1, -1, 5, -1);
    a.axis = 1;
    run1(ITP_OP_ONE_HOT, &a, dims(2, 2, 2, 1, 1), NUMBERS(2, 0, 1, 1));
    CHECK_Y(3, 2, 3, 2, 1, -1, 5, -1, -1, 5, -1, -1, -1, 5, 5, -1, -1);
    a.axis = 0;
    run1(ITP_OP_ONE_HOT, &a, dims(0, 1, 1, 1, 1), NUMBERS(2));
    CHECK_Y(1, 3, 1, 1, 1, -1, -1, 5);
    a.axis = 3;
    run1(ITP_OP_ONE_HOT, &a, dims(1, 2, 1, 1, 1), NUMBERS(2, 0));
    CHECK_FAILS("along axis 3 of 2 dimensions");
    a.alpha = 7;
    run1(ITP_OP_FILL, &a, dims(2, 2, 2, 1, 1), NUMBERS(2, 0, NAN, 1));
    CHECK_Y(2, 2, 2, 1, 1, 7, 7, 7, 7);
    CHECK_DX(0, 0, 0, 0, 0);
}

/* ---- transposed convolution */

/* Each number of x spreads over a window of y, by the definition. */
static void check_deconv(const itp_attrs *a, interp_shape xs, interp_shape ws, bool bias)
{
    static float x[MOST], v[MOST], b[64], want[MOST];
    const int channels = ws.dim[1] * a->groups, per = xs.dim[1] / a->groups;
    const operand in[3] = {{xs, x, false}, {ws, v, false}, {dims(1, channels, 1, 1, 1), b, false}};
    for (int i = 0; i < MOST; i++) x[i] = interp_random_normal(1, 1, (uint64_t)i);
    for (int i = 0; i < MOST; i++) v[i] = interp_random_normal(1, 2, (uint64_t)i);
    for (int i = 0; i < 64; i++) b[i] = interp_random_normal(1, 3, (uint64_t)i);
    run(ITP_OP_CONV_TRANSPOSE, a, bias ? 3 : 2, in);
    CHECK_OK(ctx, got.status);
    if (got.status) return;
    int size[2];
    for (int i = 0; i < 2; i++)
        size[i] = (xs.dim[2 + i] - 1) * a->stride[i] + (a->kernel[i] - 1) * a->dilation[i] + 1 -
                  a->pad[i] - a->pad[i + 2] + a->shape.dim[i];
    const interp_shape ys = dims(4, xs.dim[0], channels, size[0], size[1]);
    CHECK(!memcmp(&got.shape, &ys, sizeof ys));
    const int n = (int)interp_shape_size(&ys), plane = size[0] * size[1];
    for (int i = 0; i < n; i++) want[i] = bias ? b[i / plane % channels] : 0;
    for (int i = 0; i < (int)interp_shape_size(&xs); i++) {
        const int w = i % xs.dim[3], h = i / xs.dim[3] % xs.dim[2];
        const int c = i / (xs.dim[3] * xs.dim[2]) % xs.dim[1];
        const int image = i / (xs.dim[3] * xs.dim[2] * xs.dim[1]);
        for (int k = 0; k < ws.dim[1] * a->kernel[0] * a->kernel[1]; k++) {
            const int kx = k % a->kernel[1], ky = k / a->kernel[1] % a->kernel[0];
            const int out = k / (a->kernel[1] * a->kernel[0]);
            const int py = h * a->stride[0] + ky * a->dilation[0] - a->pad[0];
            const int px = w * a->stride[1] + kx * a->dilation[1] - a->pad[1];
            if (py < 0 || px < 0 || py >= size[0] || px >= size[1]) continue;
            const int to = c / per * ws.dim[1] + out;
            want[((image * channels + to) * size[0] + py) * size[1] + px] +=
                x[i] * v[c * ws.dim[1] * a->kernel[0] * a->kernel[1] + k];
        }
    }
    for (int i = 0; i < n; i++) CHECK_NEAR(got.y[i], want[i], 2e-5); /* sums of about 100 terms */
}

TEST(transposed_convolution_matches_its_definition)
{
    static const int rows[][20] = {
        /* kernel, stride, pads, dilation, groups, output padding, channels of x, of a group of y; H W */
        {3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 5, 4, 6, 5},
        {2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0, 0, 17, 9, 5, 5},
        {4, 4, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 6, 3, 7, 6},
        {3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 6, 3, 7, 6},
        {3, 2, 3, 4, 0, 0, 0, 0, 1, 1, 1, 2, 3, 2, 3, 4, 3},
        {3, 3, 2, 1, 0, 2, 3, 0, 2, 1, 2, 5, 0, 4, 3, 4, 7},
        {2, 2, 1, 1, 1, 1, 1, 1, 3, 3, 1, 0, 0, 3, 2, 5, 5},
        {3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6, 0, 0, 6, 1, 6, 5},
        {3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 6, 1, 1, 6, 1, 6, 5},
        {5, 5, 2, 2, 2, 2, 2, 2, 1, 1, 4, 1, 0, 8, 1, 9, 8},
        {2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 3, 0, 0, 3, 1, 9, 8},
        {3, 3, 3, 2, 2, 2, 0, 1, 1, 2, 4, 7, 3, 4, 1, 4, 5},
        {1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 9, 7, 6, 5},
        {1, 1, 2, 3, 0, 0, 0, 0, 1, 1, 1, 1, 2, 9, 7, 4, 3},
        {2, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 3, 2, 1, 1},
        {3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 1, 0, 0, 3, 2, 9, 9},
        {3, 3, 1, 1, 4, 4, 4, 4, 1, 1, 3, 0, 0, 3, 1, 9, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int batch = 1; batch < 4; batch += 2) {
            const int *v = rows[i];
            itp_attrs a = attrs();
            memcpy(a.kernel, v, sizeof a.kernel);
            memcpy(a.stride, v + 2, sizeof a.stride);
            memcpy(a.pad, v + 4, sizeof a.pad);
            memcpy(a.dilation, v + 8, sizeof a.dilation);
            a.groups = v[10];
            a.shape.dim[0] = v[11], a.shape.dim[1] = v[12];
            check_deconv(&a, dims(4, batch, v[13], v[15], v[16]),
                         dims(4, v[13], v[14], a.kernel[0], a.kernel[1]), i % 2);
        }
}

TEST(transposed_convolution_says_what_does_not_fit)
{
    static const float zeroes[MOST] = {0};
    itp_attrs a = attrs();
    a.groups = 1;
    for (int i = 0; i < 2; i++) a.kernel[i] = 2, a.stride[i] = a.dilation[i] = 1;
    run2(ITP_OP_CONV_TRANSPOSE, &a, dims(4, 1, 3, 4, 4), zeroes, dims(4, 2, 5, 2, 2), zeroes);
    CHECK_FAILS("expect 2 channels");
    run2(ITP_OP_CONV_TRANSPOSE, &a, dims(4, 1, 3, 4, 4), zeroes, dims(4, 3, 5, 3, 2), zeroes);
    CHECK_FAILS("the kernel is 2x2");
    run2(ITP_OP_CONV_TRANSPOSE, &a, dims(3, 1, 3, 4, 1), zeroes, dims(4, 3, 5, 2, 2), zeroes);
    CHECK_FAILS("must be [N,C,H,W]");
    a.pad[0] = a.pad[2] = 3;
    run2(ITP_OP_CONV_TRANSPOSE, &a, dims(4, 1, 3, 4, 4), zeroes, dims(4, 3, 5, 2, 2), zeroes);
    CHECK_FAILS("nothing is left");
    a.pad[0] = a.pad[2] = 0, a.groups = 2;
    run2(ITP_OP_CONV_TRANSPOSE, &a, dims(4, 1, 3, 4, 4), zeroes, dims(4, 3, 5, 2, 2), zeroes);
    CHECK_FAILS("2 groups do not divide 3 channels");
}

/* ---- pooling with places, local response norm */

TEST(pooling_tells_where_its_maxima_are)
{
    static const float x[] = {1, 5, 5, 2, 0, 3, NAN, 1, 9, 9, 9,  9, /* two planes of [4,3] */
                              0, 0, 0, 0, 7, 0, 1,   2, 3, 4, -1, -2};
    const interp_shape s = dims(4, 2, 1, 4, 3);
    itp_attrs a = attrs();
    for (int i = 0; i < 2; i++) a.kernel[i] = 2, a.stride[i] = 2, a.dilation[i] = 1;
    run1(ITP_OP_MAX_POOL_INDICES, &a, s, x);
    CHECK_Y(4, 2, 1, 2, 1, 1, 6, 16, 21);
    a.mode = 1;
    run1(ITP_OP_MAX_POOL_INDICES, &a, s, x);
    CHECK_Y(4, 2, 1, 2, 1, 4, 2, 12 + 5, 12 + 3);
    a.mode = 0;
    a.stride[1] = 1, a.pad[0] = a.pad[1] = a.pad[2] = a.pad[3] = 1;
    run1(ITP_OP_MAX_POOL_INDICES, &a, dims(4, 1, 1, 4, 3), x);
    CHECK_Y(4, 1, 1, 3, 4, 0, 1, 1, 2, 6, 6, 8, 8, 9, 9, 10, 11);
    CHECK_DX(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

TEST(unpooling_puts_numbers_back)
{
    const interp_shape s = dims(4, 1, 1, 2, 2);
    itp_attrs a = attrs();
    a.shape = dims(4, 0, 1, 3, 3);
    run2(ITP_OP_MAX_UNPOOL, &a, s, NUMBERS(1, 2, 3, 4), s, NUMBERS(0, 5, -1, 9));
    CHECK_Y(4, 1, 1, 3, 3, 1, 0, 0, 0, 0, 2, 0, 0, 0);
    CHECK_DX(0, 1, 6, 0, 0);
    run2(ITP_OP_MAX_UNPOOL, &a, s, NUMBERS(1, 2, 3, 4), s, NUMBERS(8, NAN, INFINITY, 4));
    CHECK_Y(4, 1, 1, 3, 3, 0, 0, 0, 0, 4, 0, 0, 0, 1);
    run2(ITP_OP_MAX_UNPOOL, &a, s, NUMBERS(1, 2, 3, 4), dims(1, 3, 1, 1, 1), NUMBERS(0, 5, 1));
    CHECK_FAILS("4 numbers, but 3 places");
}

/* Windows of every size, also beyond the channels, against the definition. */
TEST(local_response_norm_matches_its_definition)
{
    enum { images = 2, channels = 6, pixels = 70 };
    static float x[images * channels * pixels], want[images * channels * pixels];
    for (int i = 0; i < images * channels * pixels; i++)
        x[i] = interp_random_normal(2, 2, (uint64_t)i);
    for (int size = 1; size < 15; size++) {
        itp_attrs a = attrs();
        a.length = size, a.alpha = 0.7f, a.beta = size % 2 ? 0.75f : 0.5f, a.epsilon = 1.5f;
        for (int i = 0; i < images * channels * pixels; i++) {
            const int c = i / pixels % channels;
            double sum = 0;
            for (int k = c - (size - 1) / 2; k <= c + size / 2; k++)
                if (k >= 0 && k < channels)
                    sum += (double)x[i + (k - c) * pixels] * (double)x[i + (k - c) * pixels];
            want[i] =
                (float)((double)x[i] / pow(1.5 + (double)0.7f / size * sum, size % 2 ? 0.75 : 0.5));
        }
        run1(ITP_OP_LRN, &a, dims(3, images, channels, pixels, 1), x);
        CHECK_OK(ctx, got.status);
        CHECK(same(got.y, want, images * channels * pixels));
    }
    itp_attrs a = attrs();
    run1(ITP_OP_LRN, &a, dims(3, 1, 1, 4, 1), x);
    CHECK_FAILS("sums over 0 channels");
}

/* ---- many dimensions and none */

TEST(reshape_and_transpose_work_from_no_to_eight_dimensions)
{
    const interp_shape eight = {8, {2, 1, 3, 1, 2, 1, 2, 1}}, none = dims(0, 1, 1, 1, 1);
    float x[24], want[24];
    itp_attrs a = attrs();
    for (int i = 0; i < 24; i++) x[i] = (float)i;
    for (int d = 0; d < 8; d++) a.perm[d] = 7 - d;
    for (int i = 0; i < 24; i++) /* [2,3,2,2] turned round */
        want[i % 2 * 12 + i / 2 % 2 * 6 + i / 4 % 3 * 2 + i / 12] = (float)i;
    run1(ITP_OP_TRANSPOSE, &a, eight, x);
    CHECK_OK(ctx, got.status);
    CHECK(got.shape.rank == 8 && got.shape.dim[1] == 2 && got.shape.dim[5] == 3);
    CHECK(same(got.y, want, 24));
    a.shape = dims(0, 1, 1, 1, 1);
    run1(ITP_OP_TRANSPOSE, &a, none, x + 5);
    CHECK_Y(0, 1, 1, 1, 1, 5);
    CHECK_DX(0, 1);
    run1(ITP_OP_RESHAPE, &a, dims(3, 1, 1, 1, 1), x + 5);
    CHECK_Y(0, 1, 1, 1, 1, 5);
    a.shape = eight;
    run1(ITP_OP_RESHAPE, &a, dims(2, 4, 6, 1, 1), x);
    CHECK_OK(ctx, got.status);
    CHECK(!memcmp(&got.shape, &eight, sizeof eight));
    CHECK(same(got.y, x, 24));
    run2(ITP_OP_MAX, NULL, eight, x, none, NUMBERS(20));
    CHECK_OK(ctx, got.status);
    CHECK(got.shape.rank == 8 && got.y[3] == 20 && got.y[23] == 23);
    CHECK_DX(1, 20 * 21 / 2); /* of two equals the first counts, that of x */
}

/* ---- no gradient through what is not differentiable */

TEST(gradients_pass_beside_ops_that_have_none)
{
    /* y = x * (x > 1) + floor(x): only the factor x counts */
    interp_net *net = interp_net_new(ctx, "gate");
    const interp_shape s = dims(1, 4, 1, 1, 1), none = dims(0, 1, 1, 1, 1);
    const float one = 1;
    const interp_tensor x = interp_input(net, NULL, &s);
    const interp_tensor pair[2] = {x, interp_constant(net, &none, &one)};
    const interp_tensor gate = itp_plain(net, ITP_OP_GREATER, "op", 2, pair, NULL);
    const interp_tensor y =
        interp_add(net, interp_mul(net, x, gate), itp_plain(net, ITP_OP_FLOOR, "op", 1, &x, NULL));
    interp_output(net, y, NULL);
    interp_output(net, gate, "gate");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    d.input_grads = true;
    interp_workspace *w = NULL;
    REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &d, &w));
    const float in[4] = {0.5f, 1.5f, 2.5f, -1}, seed[4] = {1, 2, 3, 4}, *const p = in;
    CHECK_OK(ctx, interp_forward(w, &p));
    CHECK(same(interp_workspace_target(w), NUMBERS(0, 2.5f, 4.5f, -1), 4));
    CHECK_OK(ctx, interp_backward(w, seed));
    CHECK(same(interp_workspace_input_grad(w, 0), NUMBERS(0, 2, 3, 0), 4));
    interp_workspace_free(w);
    d.output = "gate"; /* nothing flows at all */
    w = NULL;
    REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &d, &w));
    CHECK_OK(ctx, interp_forward(w, &p));
    CHECK_OK(ctx, interp_backward(w, seed));
    CHECK(same(interp_workspace_input_grad(w, 0), NUMBERS(0, 0, 0, 0), 4));
    interp_workspace_free(w);
    interp_net_free(net);
}

/* y = clip(round(4 x), -2, 5) / 4, as quantised nets have it: straight through the rounding, and DeepLIFT
   takes its steps as they are. */
TEST(gradients_go_straight_through_roundings)
{
    enum { n = 6 };
    interp_net *net = interp_net_new(ctx, "quantised");
    const interp_shape s = dims(1, n, 1, 1, 1), none = dims(0, 1, 1, 1, 1);
    const float four = 4;
    const interp_tensor scale = interp_constant(net, &none, &four);
    interp_tensor x = interp_mul(net, interp_input(net, NULL, &s), scale);
    x = itp_plain(net, ITP_OP_ROUND, "op", 1, &x, NULL);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = -2, a.beta = 5;
    x = itp_plain(net, ITP_OP_CLIP, "clip", 1, &x, &a);
    interp_output(net, interp_div(net, x, scale), NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    const float in[n] = {0.1f, 0.2f, -0.3f, -2, 3, 0.9f};
    const float rounded[n] = {0, 0.25f, -0.25f, -0.5f, 1.25f, 1};
    float got[n];
    CHECK_OK(ctx, interp_predict(net, in, 1, got));
    CHECK(same(got, rounded, n));
    interp_attribute_desc how;
    interp_attribution report;
    memset(&how, 0, sizeof how);
    how.method = INTERP_SALIENCY, how.target_kind = INTERP_TARGET_SUM, how.keep_sign = true;
    CHECK_OK(ctx, interp_attribute(net, in, 1, &how, got, NULL));
    CHECK(same(got, NUMBERS(1, 1, 1, 0, 0, 1), n));
    how.method = INTERP_DEEP_LIFT;
    CHECK_OK(ctx, interp_attribute(net, in, 1, &how, got, &report));
    for (int i = 0; i < n; i++) CHECK(fabsf(got[i] - rounded[i]) < 1e-6f);
    CHECK(fabs(report.residual) < 1e-6);
    interp_net_free(net);
}

/* A node of the op on x [n,6,5] or on x and what is made of it, squared: every difference counts. */
static interp_net *bending_net(int op, int variant)
{
    const interp_shape s = dims(2, 6, 5, 1, 1), none = dims(0, 1, 1, 1, 1),
                       slope = dims(1, 5, 1, 1, 1);
    const float quarter = 0.25f, three = 3;
    interp_net *net = interp_net_new(ctx, "bending");
    itp_attrs a = attrs();
    const interp_tensor x = interp_input(net, NULL, &s);
    const interp_tensor level = interp_constant(net, &none, &quarter);
    const interp_tensor other = interp_activate(net, x, INTERP_TANH, 0);
    interp_tensor in[3] = {x, variant == 1 ? other : level, other};
    int n = 2;
    const interp_tensor pair[2] = {x, level};
    switch (op) {
    case ITP_OP_POW:
        in[0] = interp_activate(net, x, INTERP_SOFTPLUS, 0);
        if (variant == 0) in[1] = interp_constant(net, &none, &three);
        break;
    case ITP_OP_PRELU: in[1] = interp_constant(net, &slope, NUMBERS(0.1f, 0, -0.5f, 1, 2)); break;
    case ITP_OP_WHERE: /* by a test of the input */
    case ITP_OP_MUL:
        in[0] = itp_plain(net, ITP_OP_GREATER, "test", 2, pair, NULL);
        in[1] = x, in[2] = variant == 1 ? other : level;
        n = op == ITP_OP_WHERE ? 3 : 2;
        break;
    case ITP_OP_TOP_K_VALUES: a.axis = 1 + variant, a.length = 2, n = 1; break;
    case ITP_OP_LRN: a.length = 3, a.alpha = 5, a.beta = 0.75f, a.epsilon = 0.5f, n = 1; break;
    case ITP_OP_SOFTMAX:
    case ITP_OP_LOG_SOFTMAX: a.axis = 1 + variant, n = 1; break;
    case ITP_OP_MAX:
    case ITP_OP_MIN: break;
    default: a.axes = variant ? 2 : 4, n = 1; break; /* a reduction */
    }
    const interp_tensor y = itp_plain(net, op, "op", n, in, &a);
    interp_output(net, interp_mul(net, y, y), NULL);
    return interp_net_build(net, 1) ? NULL : net;
}

TEST(deep_lift_is_complete_where_functions_bend_and_step)
{
    enum { n = 4, size = 30 };
    static const int ops[] = {ITP_OP_POW,          ITP_OP_MAX,
                              ITP_OP_MIN,          ITP_OP_PRELU,
                              ITP_OP_WHERE,        ITP_OP_MUL,
                              ITP_OP_TOP_K_VALUES, ITP_OP_LRN,
                              ITP_OP_SOFTMAX,      ITP_OP_LOG_SOFTMAX,
                              ITP_OP_REDUCE_MAX,   ITP_OP_REDUCE_MIN,
                              ITP_OP_REDUCE_PROD,  ITP_OP_REDUCE_LOG_SUM_EXP};
    float x[n * size], base[n * size], out[n * size];
    interp_attribution report[n];
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_DEEP_LIFT, d.target_kind = INTERP_TARGET_SUM;
    d.baseline = base;
    for (int i = 0; i < n * size; i++) {
        x[i] = interp_random_normal(2, 3, (uint64_t)i);
        base[i] = i % 11 ? interp_random_normal(2, 4, (uint64_t)i) : x[i];
    }
    for (size_t k = 0; k < sizeof ops / sizeof *ops; k++)
        for (int variant = 0; variant < 2; variant++)
            for (int shared = 0; shared < 2; shared++) {
                interp_net *net = bending_net(ops[k], variant);
                REQUIRE(net);
                d.n_baselines = shared ? 1 : n;
                CHECK_OK(ctx, interp_attribute(net, x, n, &d, out, report));
                for (int i = 0; i < n; i++)
                    if (!(fabs(report[i].residual) <=
                          2e-6 * (1 + fabs(report[i].output) + fabs(report[i].baseline_output))))
                        test_fail(__FILE__, __LINE__,
                                  "op %d, variant %d, sample %d: %g of %g - %g is missing", ops[k],
                                  variant, i, report[i].residual, report[i].output,
                                  report[i].baseline_output);
                interp_net_free(net);
            }
}

/* Rows that are e^60 and more apart, or both far from 0: neither overflows, nor cancels. */
TEST(deep_lift_through_softmax_stays_small_however_far_the_logits_are_apart)
{
    enum { size = 5 };
    const float logits[size] = {3, -1, 2, 0.5f, -2};
    const interp_shape s = dims(1, size, 1, 1, 1);
    for (int kind = 0; kind < 2; kind++) {
        interp_net *net = interp_net_new(ctx, "far");
        const interp_tensor x = interp_input(net, NULL, &s);
        interp_output(net,
                      kind ? itp_plain(net, ITP_OP_LOG_SOFTMAX, "op", 1, &x, NULL)
                           : interp_softmax(net, x, -1),
                      NULL);
        REQUIRE_OK(ctx, interp_net_build(net, 1));
        for (int scale = 1; scale <= 10000; scale *= 10)
            for (int shift = -1000; shift <= 1000; shift += 1000) {
                float in[size], out[size];
                double apart = 0;
                interp_attribution r;
                interp_attribute_desc d;
                memset(&d, 0, sizeof d);
                d.method = INTERP_DEEP_LIFT;
                for (int i = 0; i < size; i++) {
                    in[i] = logits[i] * (float)scale + (float)shift;
                    apart = fmax(apart, fabs((double)in[i]));
                }
                CHECK_OK(ctx, interp_attribute(net, in, 1, &d, out, &r));
                CHECK(r.target == 0);
                CHECK(fabs(r.residual) <= 1e-6 * apart);
                for (int i = 0; i < size; i++) CHECK(fabs((double)out[i]) <= apart);
                for (int i = 0; i < size && !kind && !shift && scale > 1; i++)
                    CHECK(fabs((double)out[i]) <= 1); /* of a change of 0.8 */
            }
        interp_net_free(net);
    }
}

int main(int argc, char **argv)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    for (int i = 0; i < 4; i++) {
        interp_desc d;
        memset(&d, 0, sizeof d);
        d.isa = isas[i];
        d.threads = 2;
        ctx = interp_open(&d);
        if (!ctx) continue;
        RUN(steps_and_tests_of_one_number);
        RUN(curves_give_the_functions_they_are_named_after);
        RUN(pairs_broadcast_and_keep_nan);
        RUN(comparisons_and_logic_give_0_and_1);
        RUN(where_picks_across_three_shapes);
        RUN(reductions_match_plain_loops_over_all_sets_of_axes);
        RUN(reductions_of_zeroes_ties_infinities_and_nothing);
        RUN(long_sums_do_not_drift);
        RUN(index_picks_fills_and_repeats);
        RUN(index_tables_are_checked);
        RUN(index_matches_a_plain_loop_in_eight_dimensions);
        RUN(gather_takes_as_numpy_does);
        RUN(elements_are_taken_along_an_axis);
        RUN(slices_are_taken_by_several_indices);
        RUN(scattering_sets_adds_multiplies_and_compares);
        RUN(resizing_an_axis_is_a_weighted_sum);
        RUN(arg_max_and_min_take_the_first_or_the_last);
        RUN(running_sums_go_both_ways);
        RUN(top_k_is_sorted_and_ties_go_to_the_first);
        RUN(top_k_matches_sorting);
        RUN(one_hot_and_fill_write_constants);
        RUN(transposed_convolution_matches_its_definition);
        RUN(transposed_convolution_says_what_does_not_fit);
        RUN(pooling_tells_where_its_maxima_are);
        RUN(unpooling_puts_numbers_back);
        RUN(local_response_norm_matches_its_definition);
        RUN(reshape_and_transpose_work_from_no_to_eight_dimensions);
        RUN(gradients_pass_beside_ops_that_have_none);
        RUN(gradients_go_straight_through_roundings);
        RUN(deep_lift_is_complete_where_functions_bend_and_step);
        RUN(deep_lift_through_softmax_stays_small_however_far_the_logits_are_apart);
        interp_close(ctx);
    }
    return test_end(argc, argv);
}

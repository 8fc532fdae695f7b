/* Every op's backward pass against central differences of its forward pass. Built twice: in float32,
   and with -DINTERP_TEST_DOUBLE, where the same op code runs in double precision. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

/* Largest allowed error over the largest gradient of the array, and the step of the differences:
   in float32 the forward pass itself is only good to about 1e-6 of its size. */
#if defined(INTERP_TEST_DOUBLE)
#define TOLERANCE 1e-6
#define STEP      1e-5
#else
#define TOLERANCE 1e-3
#define STEP      16e-3
#endif

#define MOST 24 /* entries of an array that are checked, spread over it */

static interp_ctx *ctx;

typedef interp_tensor (*build_fn)(interp_net *net, interp_tensor x, const int *v);

/* Weighted sum of the target's numbers. */
static double value(interp_workspace *w, const float *x, const float *seed, size_t n)
{
    double sum = 0;
    w->step = 0; /* the same dropout each time */
    interp_forward(w, &x);
    const float *y = interp_workspace_target(w);
    for (size_t i = 0; i < n; i++) sum += (double)seed[i] * (double)y[i];
    return sum;
}

static double largest_of(const float *g, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)g[i]));
    return largest;
}

/* Compares gradient g[n] of the numbers at p with differences. `least`: the scale of errors where
   all of g is smaller, as for a bias before a batch norm, whose gradient is 0. */
static void compare(const char *what, interp_workspace *w, const float *x, const float *seed,
                    size_t outputs, float *p, const float *g, size_t n, double least)
{
    const double largest = fmax(least, largest_of(g, n));
    double worst = 0;
    const size_t step = n > MOST ? n / MOST : 1;
    size_t at = 0;
    for (size_t i = 0; i < n; i += step) {
        const float old = p[i];
        double slope[2]; /* over the step and half of it: together without third derivatives */
        for (int half = 0; half < 2; half++) {
            const double by = half ? STEP / 2 : STEP;
            p[i] = (float)((double)old + by);
            const double up = value(w, x, seed, outputs), high = (double)p[i];
            p[i] = (float)((double)old - by);
            slope[half] = (up - value(w, x, seed, outputs)) / (high - (double)p[i]);
            p[i] = old;
        }
        const double error = fabs((4 * slope[1] - slope[0]) / 3 - (double)g[i]) / largest;
        if (!(error <= worst)) worst = error, at = i;
    }
    if (!(worst <= TOLERANCE))
        test_fail(__FILE__, __LINE__, "%s: entry %zu of %zu is off by %.2g of the largest", what,
                  at, n, worst);
}

/* Builds a net on input `sample`, runs backward with a random seed, checks every gradient. lo, hi:
   range of inputs; gap: inputs keep this far from 0. */
static void check(const char *what, const interp_shape *sample, int batch, interp_mode mode,
                  build_fn build, const int *v, double lo, double hi, double gap)
{
    interp_net *net = interp_net_new(ctx, what);
    interp_tensor t = interp_input(net, NULL, sample);
    interp_output(net, build(net, t, v), NULL);
    if (interp_net_build(net, 3)) {
        test_fail(__FILE__, __LINE__, "%s: %s", what, interp_error(ctx));
        interp_net_free(net);
        return;
    }
    float *flat = interp_net_parameters(net);
    const size_t n_params = interp_net_describe(net).n_parameters;
    for (size_t i = 0; i < n_params; i++) /* also what starts at 0 or 1 */
        flat[i] += (float)(0.3 * (double)interp_random_normal(8, 1, i));
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    d.batch = batch, d.mode = mode, d.input_grads = d.param_grads = true;
    interp_workspace *w = NULL;
    if (interp_workspace_new(ctx, net, &d, &w)) {
        test_fail(__FILE__, __LINE__, "%s: %s", what, interp_error(ctx));
        interp_net_free(net);
        return;
    }
    const size_t n = interp_shape_size(sample) * (size_t)batch;
    const size_t outputs = interp_workspace_target_size(w) * (size_t)batch;
    float *x = (float *)malloc((n + outputs) * sizeof *x), *seed = x + n;
    for (size_t i = 0; i < n; i++) {
        double r = lo + (hi - lo) * (double)interp_random_uniform(9, 2, i);
        if (fabs(r) < gap) r = r < 0 ? r - gap : r + gap;
        x[i] = (float)r;
    }
    for (size_t i = 0; i < outputs; i++) seed[i] = interp_random_normal(9, 3, i);
    value(w, x, seed, outputs);
    interp_backward(w, seed);
    float *dx = (float *)malloc((n + n_params) * sizeof *dx), *dp = dx + n;
    memcpy(dx, interp_workspace_input_grad(w, 0), n * sizeof *dx);
    memcpy(dp, interp_workspace_param_grad(w), n_params * sizeof *dp);
    const double least = 0.1 * fmax(largest_of(dx, n), largest_of(dp, n_params));
    compare(what, w, x, seed, outputs, x, dx, n, least);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info p = interp_net_parameter(net, i);
        compare(p.name, w, x, seed, outputs, flat + p.offset, dp + p.offset,
                interp_shape_size(&p.shape), least);
    }
    free(dx);
    free(x);
    interp_workspace_free(w);
    interp_net_free(net);
}

static interp_shape shape(int rank, int a, int b, int c)
{
    return itp_shape_of(rank, a, b, c, 1);
}

/* ---- convolution: every stride, pad, dilation, group and odd size */

static interp_tensor build_conv(interp_net *net, interp_tensor x, const int *v)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = v[0], d.kernel[0] = v[1], d.kernel[1] = v[2], d.stride[0] = v[3],
    d.stride[1] = v[4];
    memcpy(d.pad, v + 5, sizeof d.pad);
    d.dilation[0] = v[9], d.dilation[1] = v[10], d.groups = v[11], d.same = v[12];
    return interp_conv2d(net, x, &d);
}

TEST(convolution_gradients_match_central_differences)
{
    static const int rows[][16] = {
        /* channels, kernel, stride, pad t l b r, dilation, groups, same; then input C H W */
        {3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 5, 7},
        {4, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 3, 7, 6},
        {3, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 1, 0, 1, 8, 8},
        {2, 2, 3, 3, 2, 0, 1, 1, 0, 1, 1, 1, 0, 2, 9, 8},
        {4, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0, 4, 7, 7},
        {6, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6, 0, 6, 6, 5},
        {6, 3, 3, 2, 2, 1, 0, 0, 1, 1, 1, 3, 0, 3, 7, 9},
        {5, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 4, 5, 3},
        {5, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0, 4, 5, 4},
        {3, 4, 4, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, 2, 7, 9},
        {8, 5, 3, 1, 2, 1, 0, 2, 3, 1, 2, 4, 0, 4, 6, 8},
        {4, 5, 5, 2, 2, 2, 2, 2, 2, 1, 1, 4, 0, 4, 9, 9},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int *v = rows[i];
        char name[32];
        const interp_shape s = shape(3, v[13], v[14], v[15]);
        snprintf(name, sizeof name, "conv %zu", i);
        check(name, &s, 1 + (int)(i % 3), INTERP_EVAL, build_conv, v, -1, 1, 0);
    }
}

/* A transposed convolution; with v[15] the sum of two of them. */
static interp_tensor build_deconv(interp_net *net, interp_tensor x, const int *v)
{
    const interp_shape *in = itp_tensor_shape(net, x);
    const interp_shape ws = itp_shape_of(4, in->dim[1], v[0], v[1], v[2]);
    const interp_shape bs = itp_shape_of(1, v[0] * v[11], 1, 1, 1);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.kernel[0] = v[1], a.kernel[1] = v[2], a.stride[0] = v[3], a.stride[1] = v[4];
    memcpy(a.pad, v + 5, sizeof a.pad);
    a.dilation[0] = v[9], a.dilation[1] = v[10], a.groups = v[11];
    a.shape.dim[0] = v[12], a.shape.dim[1] = v[13];
    interp_tensor y = 0;
    for (int i = 0; i <= v[15]; i++) {
        const interp_tensor p[3] = {
            x, interp_parameter(net, i ? "w2" : "w", &ws, INTERP_UNIFORM, 4, 4),
            v[14] ? interp_parameter(net, i ? "b2" : "b", &bs, INTERP_UNIFORM, 4, 4) : 0};
        const interp_tensor one =
            itp_plain(net, ITP_OP_CONV_TRANSPOSE, "deconv", v[14] ? 3 : 2, p, &a);
        y = i ? interp_add(net, y, one) : one;
    }
    return y;
}

TEST(transposed_convolution_gradients_match_central_differences)
{
    static const int rows[][19] = {
        /* channels of a group, kernel, stride, pad t l b r, dilation, groups, output padding, bias,
           twice; then input C H W */
        {3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 2, 5, 7},
        {4, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 3, 4, 3},
        {2, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 5},
        {2, 4, 3, 3, 2, 0, 1, 2, 0, 1, 2, 2, 2, 0, 1, 0, 4, 3, 4},
        {1, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 6, 0, 0, 1, 1, 6, 4, 5},
        {1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 5, 0, 0, 1, 0, 5, 4, 5},
        {1, 2, 2, 3, 3, 0, 0, 0, 0, 1, 1, 4, 2, 1, 0, 0, 8, 3, 2},
        {9, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 3, 6, 5},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int *v = rows[i];
        char name[32];
        const interp_shape s = shape(3, v[16], v[17], v[18]);
        snprintf(name, sizeof name, "deconv %zu", i);
        check(name, &s, 1 + (int)(i % 3), INTERP_EVAL, build_deconv, v, -1, 1, 0);
    }
}

static interp_tensor build_pool(interp_net *net, interp_tensor x, const int *v)
{
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = (interp_pool)v[0], d.kernel[0] = v[1], d.kernel[1] = v[2], d.stride[0] = v[3];
    d.stride[1] = v[4];
    memcpy(d.pad, v + 5, sizeof d.pad);
    d.ceil_mode = v[9], d.count_include_pad = v[10], d.same = v[11];
    return interp_pool2d(net, x, &d);
}

TEST(pooling_gradients_match_central_differences)
{
    static const int rows[][15] = {
        /* kind, kernel, stride, pad, ceil, include, same; C H W. Max over inputs spread out by a
           wide range, so that no two are nearer than the step */
        {0, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 2, 4, 6},
        {0, 3, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0, 2, 5, 6},
        {0, 3, 2, 1, 2, 0, 1, 1, 0, 1, 0, 0, 1, 5, 5},
        {0, 3, 3, 2, 2, 0, 0, 0, 0, 1, 0, 0, 1, 6, 6},
        {1, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 2, 4, 6},
        {1, 3, 3, 2, 2, 1, 1, 1, 1, 0, 0, 0, 2, 5, 6},
        {1, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 0, 2, 6, 6},
        {1, 3, 2, 1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 5, 5},
        {1, 3, 3, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 6, 5},
        {2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 5, 4},
        {3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 4},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int *v = rows[i];
        char name[32];
        const interp_shape s = shape(3, v[12], v[13], v[14]);
        snprintf(name, sizeof name, "pool %zu", i);
        check(name, &s, 2, INTERP_EVAL, build_pool, v, -20, 20, 0);
    }
}

static interp_tensor build_activation(interp_net *net, interp_tensor x, const int *v)
{
    return interp_activate(net, x, (interp_activation)v[0], v[1] ? 0.3f : 0);
}

TEST(activation_gradients_match_central_differences)
{
    for (int kind = INTERP_RELU; kind <= INTERP_RELU6; kind++)
        for (int alpha = 0; alpha < 2; alpha++) {
            const int v[2] = {kind, alpha && kind != INTERP_RELU6};
            char name[32];
            const interp_shape s = shape(1, 37, 1, 1);
            snprintf(name, sizeof name, "activation %d", kind);
            /* the kinks of hard swish and hard sigmoid (at 3, 2.5, 1.67) stay outside of the range */
            check(name, &s, 2, INTERP_EVAL, build_activation, v, -1.5, 1.5, 0.05);
        }
}

static interp_tensor build_unary(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = -1, a.beta = 9;
    return itp_plain(net, v[0], "op", 1, &x, &a);
}

TEST(elementwise_gradients_match_central_differences)
{
    static const int ops[] = {ITP_OP_EXP,        ITP_OP_LOG,  ITP_OP_SQRT,   ITP_OP_ERF, ITP_OP_NEG,
                              ITP_OP_RECIPROCAL, ITP_OP_CLIP, ITP_OP_SQUARE, ITP_OP_ABS};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        const interp_shape s = shape(2, 3, 7, 1);
        check(itp_op_row(ops[i])->name, &s, 2, INTERP_EVAL, build_unary, &ops[i], 0.5, 2, 0);
    }
}

typedef struct curve {
    int op;
    double alpha, beta, lo, hi; /* constants and range of inputs, inside of which it is smooth */
} curve;

static curve curve_now;

static interp_tensor build_curve(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = (float)curve_now.alpha, a.beta = (float)curve_now.beta;
    return itp_plain(net, v[0], "op", 1, &x, &a);
}

TEST(curve_gradients_match_central_differences)
{
    static const curve curves[] = {
        {ITP_OP_SIN, 0, 0, -3, 3},       {ITP_OP_COS, 0, 0, -3, 3},
        {ITP_OP_TAN, 0, 0, -1, 1},       {ITP_OP_ASIN, 0, 0, -0.8, 0.8},
        {ITP_OP_ACOS, 0, 0, -0.8, 0.8},  {ITP_OP_ATAN, 0, 0, -3, 3},
        {ITP_OP_SINH, 0, 0, -2, 2},      {ITP_OP_COSH, 0, 0, -2, 2},
        {ITP_OP_ASINH, 0, 0, -3, 3},     {ITP_OP_ACOSH, 0, 0, 1.5, 3},
        {ITP_OP_ATANH, 0, 0, -0.8, 0.8}, {ITP_OP_CELU, 0.7, 0, -2, 2},
        {ITP_OP_SOFTSIGN, 0, 0, -3, 3},  {ITP_OP_THRESHOLDED_RELU, -0.03, 0, -2, 2},
        {ITP_OP_MISH, 0, 0, -4, 4},      {ITP_OP_SHRINK, 0.02, 0.3, -2, 2}};
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        const interp_shape s = shape(2, 3, 7, 1);
        curve_now = curves[i];
        check(itp_op_row(curves[i].op)->name, &s, 2, INTERP_EVAL, build_curve, &curves[i].op,
              curves[i].lo, curves[i].hi, 0.05);
    }
}

/* ---- two arguments, with every kind of broadcasting */

static interp_tensor build_binary(interp_net *net, interp_tensor x, const int *v)
{
    const interp_shape s = itp_shape_of(v[1], v[2], v[3], v[4], v[5]);
    const interp_tensor p = interp_add(net, interp_parameter(net, "p", &s, INTERP_UNIFORM, 8, 8),
                                       interp_constant(net, &s, (const float[240]){0}));
    float two = 2; /* keeps divisors away from 0 */
    const interp_shape one = itp_shape_of(0, 1, 1, 1, 1);
    const interp_tensor q = interp_add(net, interp_activate(net, p, INTERP_SOFTPLUS, 0),
                                       interp_constant(net, &one, &two));
    const interp_tensor pair[2] = {v[6] ? q : x, v[6] ? x : q};
    return itp_plain(net, v[0], "op", 2, pair, NULL);
}

TEST(broadcast_gradients_match_central_differences)
{
    static const int ops[] = {ITP_OP_ADD, ITP_OP_SUB, ITP_OP_MUL, ITP_OP_DIV};
    static const int shapes[][5] = {{4, 2, 3, 4, 5}, {4, 1, 3, 1, 1}, {1, 5, 1, 1, 1},
                                    {0, 1, 1, 1, 1}, {3, 3, 4, 5, 1}, {4, 2, 1, 4, 1},
                                    {2, 4, 1, 1, 1}, {4, 1, 1, 1, 5}};
    for (size_t o = 0; o < 4; o++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int swap = 0; swap < 2; swap++) {
                int v[7] = {ops[o]};
                memcpy(v + 1, shapes[i], sizeof shapes[i]);
                v[6] = swap;
                const interp_shape s = shape(3, 3, 4, 5);
                char name[48];
                snprintf(name, sizeof name, "%s %zu", itp_op_row(ops[o])->name, i);
                check(name, &s, 2, INTERP_EVAL, build_binary, v, 1, 2, 0);
            }
}

TEST(pair_gradients_match_central_differences)
{
    static const int ops[] = {ITP_OP_POW, ITP_OP_MAX, ITP_OP_MIN, ITP_OP_PRELU};
    static const int shapes[][5] = {{4, 2, 3, 4, 5}, {4, 1, 3, 1, 1}, {1, 5, 1, 1, 1},
                                    {0, 1, 1, 1, 1}, {3, 3, 4, 5, 1}, {4, 2, 1, 4, 1},
                                    {2, 4, 1, 1, 1}, {4, 1, 1, 1, 5}};
    for (size_t o = 0; o < 4; o++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
            for (int swap = 0; swap < (ops[o] == ITP_OP_PRELU ? 1 : 2); swap++) {
                int v[7] = {ops[o]};
                memcpy(v + 1, shapes[i], sizeof shapes[i]);
                if (ops[o] == ITP_OP_PRELU && v[1] == 4) v[2] = 1; /* fits a batch of one too */
                v[6] = swap;
                const interp_shape s = shape(3, 3, 4, 5);
                char name[48];
                snprintf(name, sizeof name, "%s %zu", itp_op_row(ops[o])->name, i);
                const bool pow = ops[o] == ITP_OP_POW;
                check(name, &s, 2, INTERP_EVAL, build_binary, v, pow ? 0.5 : -8, pow ? 1.5 : 12,
                      pow ? 0 : 0.05);
            }
}

/* Where x is above 0.1: x or a parameter, the condition perhaps of fewer dimensions than both. */
static interp_tensor build_where(interp_net *net, interp_tensor x, const int *v)
{
    const interp_shape s = itp_shape_of(v[0], v[1], v[2], v[3], v[4]),
                       one = itp_shape_of(0, 1, 1, 1, 1);
    const interp_shape row = itp_shape_of(2, 4, 1, 1, 1);
    const float above = (float)0.1, mixed[4] = {1, 0, (float)0.5, 0};
    const interp_tensor pair[2] = {x, interp_constant(net, &one, &above)};
    const interp_tensor tested = itp_plain(net, ITP_OP_GREATER, "op", 2, pair, NULL);
    const interp_tensor p = interp_parameter(net, "p", &s, INTERP_UNIFORM, 8, 8);
    const interp_tensor condition = v[5] ? interp_constant(net, &row, mixed) : tested;
    const interp_tensor in[3] = {condition, v[6] ? p : x, v[6] ? x : p};
    return itp_plain(net, ITP_OP_WHERE, "op", 3, in, NULL);
}

TEST(where_gradients_match_central_differences)
{
    static const int shapes[][5] = {
        {4, 2, 3, 4, 5}, {1, 5, 1, 1, 1}, {0, 1, 1, 1, 1}, {4, 2, 1, 4, 1}, {4, 1, 3, 1, 5}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int kind = 0; kind < 4; kind++) {
            int v[7];
            memcpy(v, shapes[i], sizeof shapes[i]);
            v[5] = kind & 1, v[6] = kind >> 1;
            const interp_shape s = shape(3, 3, 4, 5);
            check("where", &s, 2, INTERP_EVAL, build_where, v, -9, 9, 0.12);
        }
}

/* A reduction of [N,3,4,5], or with v[3] what it is times x. */
static interp_tensor build_reduce(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axes = (unsigned)v[1], a.drop = v[2];
    const interp_tensor y = itp_plain(net, v[0], "op", 1, &x, &a);
    return v[3] ? interp_mul(net, x, y) : y;
}

TEST(reduction_gradients_match_central_differences)
{
    static const int ops[] = {ITP_OP_REDUCE_SUM, ITP_OP_REDUCE_MEAN, ITP_OP_REDUCE_MAX,
                              ITP_OP_REDUCE_MIN, ITP_OP_REDUCE_PROD, ITP_OP_REDUCE_LOG_SUM_EXP};
    static const int rows[][3] = {{0, 1, 1}, {0, 0, 1}, {8, 1, 0}, {12, 0, 0}, {14, 1, 0},
                                  {2, 1, 0}, {2, 0, 0}, {6, 1, 0}, {4, 0, 0},  {10, 1, 0},
                                  {1, 0, 1}, {5, 0, 1}, {9, 0, 1}, {7, 1, 1}};
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            const int v[4] = {ops[o], rows[i][0], rows[i][1], rows[i][2]};
            const bool extreme = ops[o] == ITP_OP_REDUCE_MAX || ops[o] == ITP_OP_REDUCE_MIN;
            const bool product = ops[o] == ITP_OP_REDUCE_PROD;
            const interp_shape s = shape(3, 3, 4, 5);
            char name[48];
            snprintf(name, sizeof name, "%s %zu", itp_op_row(ops[o])->name, i);
            check(name, &s, 2, INTERP_EVAL, build_reduce, v,
                  extreme   ? -20
                  : product ? 0.9
                            : -2,
                  extreme   ? 20
                  : product ? 1.1
                            : 2,
                  0);
        }
}

/* ---- dense and matrix product */

static interp_tensor build_gemm(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = 0.7f, a.beta = v[3] ? 1 : 0.5f, a.trans_b = v[0];
    const interp_shape w = v[0] ? itp_shape_of(2, 5, 6, 1, 1) : itp_shape_of(2, 6, 5, 1, 1);
    const interp_shape b = itp_shape_of(v[1], v[1] == 2 ? v[2] : 5, 5, 1, 1);
    const interp_tensor in[3] = {x, interp_parameter(net, "w", &w, INTERP_UNIFORM, 6, 5),
                                 interp_parameter(net, "b", &b, INTERP_UNIFORM, 6, 5)};
    return itp_plain(net, ITP_OP_GEMM, "gemm", v[1] < 0 ? 2 : 3, in, &a);
}

static interp_tensor build_dense(interp_net *net, interp_tensor x, const int *v)
{
    return interp_dense(net, x, v[0], NULL);
}

static interp_tensor build_matmul(interp_net *net, interp_tensor x, const int *v)
{
    const interp_shape s = itp_shape_of(v[0], v[1], v[2], v[3], v[4]);
    const interp_tensor p = interp_parameter(net, "p", &s, INTERP_UNIFORM, 5, 5);
    return v[5] ? interp_matmul(net, p, x) : interp_matmul(net, x, p);
}

TEST(product_gradients_match_central_differences)
{
    static const int gemm[][4] = {
        {0, 1, 0, 1}, {1, 1, 0, 1}, {0, 2, 1, 0}, {1, 2, 1, 1}, {1, 0, 0, 0}};
    for (size_t i = 0; i < sizeof gemm / sizeof *gemm; i++) {
        const interp_shape s = shape(1, 6, 1, 1);
        check("gemm", &s, 3, INTERP_EVAL, build_gemm, gemm[i], -1, 1, 0);
    }
    const int units = 7;
    const interp_shape image = shape(3, 2, 3, 4), rows = shape(2, 4, 6, 1);
    check("dense of an image", &image, 3, INTERP_EVAL, build_dense, &units, -1, 1, 0);
    check("dense of rows", &rows, 3, INTERP_EVAL, build_dense, &units, -1, 1, 0);
    /* x is [2,3,4,5]; the other operand and on which side it stands */
    static const int matmul[][6] = {{2, 5, 6, 1, 1, 0}, {4, 2, 3, 5, 6, 0}, {4, 1, 3, 5, 6, 0},
                                    {4, 2, 1, 5, 2, 0}, {3, 3, 5, 6, 1, 0}, {2, 6, 4, 1, 1, 1},
                                    {4, 2, 3, 6, 4, 1}, {3, 1, 6, 4, 1, 1}};
    for (size_t i = 0; i < sizeof matmul / sizeof *matmul; i++) {
        const interp_shape s = shape(3, 3, 4, 5);
        check("matmul", &s, 2, INTERP_EVAL, build_matmul, matmul[i], -1, 1, 0);
    }
}

/* ---- normalisation */

static interp_tensor build_norm(interp_net *net, interp_tensor x, const int *v)
{
    return v[0] == 0   ? interp_batch_norm(net, x, NULL)
           : v[0] == 1 ? interp_layer_norm(net, x, NULL)
           : v[0] == 2 ? interp_softmax(net, x, v[1])
                       : interp_log_softmax(net, x, v[1]);
}

TEST(normalisation_gradients_match_central_differences)
{
    const interp_shape image = shape(3, 3, 4, 5), row = shape(1, 7, 1, 1);
    const interp_shape wide = shape(1, 130, 1, 1);
    for (int mode = 0; mode < 3; mode += 2) { /* eval, batch statistics */
        const int v[2] = {0, 0};
        check("batch norm", &image, 4, (interp_mode)mode, build_norm, v, -2, 2, 0);
        check("batch norm of rows", &row, 6, (interp_mode)mode, build_norm, v, -2, 2, 0);
        check("batch norm of many rows", &wide, 70, (interp_mode)mode, build_norm, v, -2, 2, 0);
    }
    for (int kind = 1; kind < 4; kind++)
        for (int axis = 1; axis < 4; axis++) {
            const int v[2] = {kind, axis};
            check("norm", &image, 2, INTERP_EVAL, build_norm, v, -2, 2, 0);
        }
}

static interp_tensor build_lrn(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.length = v[0], a.alpha = (float)0.9, a.beta = (float)(v[1] ? 0.75 : 1.3), a.epsilon = 2;
    const interp_tensor y = itp_plain(net, ITP_OP_LRN, "op", 1, &x, &a);
    return v[1] ? interp_mul(net, x, y) : y;
}

/* Maxima put back where they were, over one half of the planes. */
static interp_tensor build_unpool(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    for (int i = 0; i < 2; i++) a.kernel[i] = 2, a.stride[i] = 2, a.dilation[i] = 1;
    interp_tensor in[2];
    in[0] = itp_plain(net, ITP_OP_MAX_POOL, "op", 1, &x, &a);
    in[1] = itp_plain(net, ITP_OP_MAX_POOL_INDICES, "op", 1, &x, &a);
    a.shape = itp_shape_of(4, 0, 3, 4, 6);
    const interp_tensor y = itp_plain(net, ITP_OP_MAX_UNPOOL, "op", 2, in, &a);
    return v[0] ? interp_mul(net, interp_activate(net, y, INTERP_TANH, 0), x) : y;
}

TEST(local_norm_and_unpooling_gradients_match_central_differences)
{
    const interp_shape s = shape(3, 7, 3, 25), image = shape(3, 3, 4, 6);
    for (int size = 1; size < 9; size++) {
        const int v[2] = {size, size % 2};
        check("LRN", &s, 2, INTERP_EVAL, build_lrn, v, -2, 2, 0);
    }
    for (int twice = 0; twice < 2; twice++)
        check("unpool", &image, 2, INTERP_EVAL, build_unpool, &twice, -9, 9, 0);
}

/* ---- moves */

static interp_tensor build_move(interp_net *net, interp_tensor x, const int *v)
{
    static const int perm[4] = {0, 3, 1, 2};
    const interp_shape s = itp_shape_of(3, 0, -1, 4, 1);
    const interp_tensor twice[3] = {x, interp_activate(net, x, INTERP_TANH, 0), x};
    switch (v[0]) {
    case 0: return interp_transpose(net, x, perm);
    case 1: return interp_reshape(net, interp_activate(net, x, INTERP_TANH, 0), &s);
    case 2: return interp_concat(net, 3, twice, 1);
    case 3: return interp_concat(net, 3, twice, -1);
    case 4: return interp_slice(net, x, 2, 1, 2, false);
    case 5: return interp_slice(net, x, 1, 2, 1, true);
    case 6: return interp_dropout(net, x, 0.4f);
    case 7: return interp_mul(net, x, x);
    default:
        return interp_flatten(
            net,
            interp_add(net, x,
                       interp_transpose(net, interp_transpose(net, x, (const int[]){0, 1, 3, 2}),
                                        (const int[]){0, 1, 3, 2})));
    }
}

TEST(move_gradients_match_central_differences)
{
    for (int kind = 0; kind < 9; kind++) {
        const interp_shape s = shape(3, 3, 4, 6);
        char name[32];
        snprintf(name, sizeof name, "move %d", kind);
        check(name, &s, 2, INTERP_TRAIN, build_move, &kind, -1, 1, 0);
    }
}

/* ---- indices */

static const struct pick_table {
    int n;
    float numbers[32];
} pick_tables[] = {
    /* of [N,3,4,5]: picked planes, pads, nearest upsampling, reversal, steps, three times the batch's
       first, tiles, and every dimension */
    {6, {-2, 2, 2, 0, -2, -2}},
    {16, {-2, -2, 6, -1, 0, 1, 2, 3, -1, 6, -1, 0, 1, 2, 3, 4}},
    {22, {-2, -2, 8, 0, 0, 1, 1, 2, 2, 3, 3, 10, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4}},
    {12, {-2, 3, 2, 1, 0, -2, 5, 4, 3, 2, 1, 0}},
    {7, {-2, -2, -2, 3, 0, 2, 4}},
    {7, {3, 0, 0, 0, -2, -2, -2}},
    {10, {-2, 6, 0, 1, 2, 0, 1, 2, -2, -2}},
    {11, {1, 0, 2, -1, 1, 2, 3, 1, 2, 1, 4}},
};

static interp_tensor build_index(interp_net *net, interp_tensor x, const int *v)
{
    const struct pick_table *t = &pick_tables[v[0]];
    const interp_shape s = itp_shape_of(1, t->n, 1, 1, 1);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = 3;
    const interp_tensor in[2] = {x, interp_constant(net, &s, t->numbers)};
    return itp_plain(net, ITP_OP_INDEX, "op", 2, in, &a);
}

/* Entries of axis v[0] of x by indices of rank v[1]. */
static interp_tensor build_gather(interp_net *net, interp_tensor x, const int *v)
{
    const float few[6] = {1, -1, 0, 1, 2, -2};
    const interp_shape s = itp_shape_of(v[1], v[1] == 1 ? 6 : 3, 2, 1, 1);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = v[0];
    const interp_tensor in[2] = {x, interp_constant(net, &s, few)};
    return itp_plain(net, ITP_OP_GATHER, "op", 2, in, &a);
}

/* Axis v[0] of x from 3 or more places to 4, two or three taps each. */
static interp_tensor build_resize(interp_net *net, interp_tensor x, const int *v)
{
    static const float two[16] = {0, 1, 0.25, 0.75, 1, 2, 0.5, 0.5, 2, 2, 1, 0, 0, 2, -0.25, 1.25};
    static const float three[24] = {0, 1, 2, 0.25, 0.5, 0.25, 1, 0, 0, 0.5, 0.25, 0.25,
                                    2, 1, 1, 1,    0,   0,    2, 2, 2, 0.3, 0.3,  0.4};
    const interp_shape s = itp_shape_of(2, 4, 2 * v[1], 1, 1);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = v[0], a.length = v[1];
    const interp_tensor in[2] = {x, interp_constant(net, &s, v[1] == 2 ? two : three)};
    return itp_plain(net, ITP_OP_RESIZE_AXIS, "op", 2, in, &a);
}

TEST(index_gradients_match_central_differences)
{
    const interp_shape s = shape(3, 3, 4, 5);
    for (int i = 0; i < (int)(sizeof pick_tables / sizeof *pick_tables); i++)
        check("index", &s, 2, INTERP_EVAL, build_index, &i, -1, 1, 0);
    for (int axis = 1; axis < 4; axis++)
        for (int rank = 1; rank < 3; rank++) {
            const int v[2] = {axis, rank};
            check("gather", &s, 2, INTERP_EVAL, build_gather, v, -1, 1, 0);
        }
    for (int axis = 1; axis < 4; axis++)
        for (int taps = 2; taps < 4; taps++) {
            const int v[2] = {axis, taps};
            check("resize", &s, 2, INTERP_EVAL, build_resize, v, -1, 1, 0);
        }
}

/* Op v[0] along axis v[1] of [1,3,4,5], or v[1] batch dimensions, with indices of shape v[3..] that
   are all different along the axis, unless they add; mode v[2]. */
static interp_tensor build_places(interp_net *net, interp_tensor x, const int *v)
{
    const bool slices = v[0] == ITP_OP_GATHER_ND || v[0] == ITP_OP_SCATTER_ND;
    const bool puts = v[0] == ITP_OP_SCATTER_ELEMENTS || v[0] == ITP_OP_SCATTER_ND;
    const interp_shape s = itp_shape_of(4, v[3], v[4], v[5], v[6]);
    float indices[64];
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.mode = v[2];
    if (slices) a.length = v[1];
    else a.axis = v[1];
    for (int i = 0; i < (int)interp_shape_size(&s); i++) {
        const int along[4] = {i / (v[4] * v[5] * v[6]) % v[3], i / (v[5] * v[6]) % v[4],
                              i / v[6] % v[5], i % v[6]};
        if (slices) indices[i] = i % v[6] == 0 ? 0 : (float)((i / v[6] + (v[2] ? 0 : i)) % 3);
        else indices[i] = v[2] ? (float)(i % 2) - 1 : (float)((along[v[1]] + i / 7) % 3);
        if (!slices && !v[2]) indices[i] = (float)along[v[1]] - (i % 2 ? 0 : (float)(v[1] + 2));
    }
    interp_tensor in[3] = {x, interp_constant(net, &s, indices), 0};
    interp_shape us = s;
    if (slices) us = itp_shape_of(3, v[3], v[4], v[5], 1); /* then what is left of [1,3,4,5] */
    for (int d = v[6]; d < 4 && slices; d++) us.dim[us.rank++] = 2 + d;
    if (puts) in[2] = interp_parameter(net, "u", &us, INTERP_UNIFORM, 3, 3);
    const interp_tensor y = itp_plain(net, v[0], "op", puts ? 3 : 2, in, &a);
    return v[7] ? interp_add(net, interp_mul(net, x, x), y) : y; /* x is used again */
}

TEST(place_gradients_match_central_differences)
{
    static const int rows[][8] = {{ITP_OP_GATHER_ELEMENTS, 1, 1, 1, 5, 4, 3, 0},
                                  {ITP_OP_GATHER_ELEMENTS, 2, 0, 1, 2, 4, 5, 0},
                                  {ITP_OP_GATHER_ELEMENTS, 3, 1, 1, 3, 2, 7, 0},
                                  {ITP_OP_GATHER_ELEMENTS, 3, 0, 1, 3, 4, 5, 1},
                                  {ITP_OP_GATHER_ND, 0, 1, 2, 2, 1, 2, 0},
                                  {ITP_OP_GATHER_ND, 0, 1, 1, 2, 2, 4, 0},
                                  {ITP_OP_GATHER_ND, 1, 1, 1, 2, 2, 2, 0},
                                  {ITP_OP_GATHER_ND, 0, 1, 2, 1, 1, 3, 0},
                                  {ITP_OP_SCATTER_ELEMENTS, 1, 0, 1, 2, 4, 3, 0},
                                  {ITP_OP_SCATTER_ELEMENTS, 3, 0, 1, 3, 2, 4, 1},
                                  {ITP_OP_SCATTER_ELEMENTS, 2, 1, 1, 3, 4, 5, 0},
                                  {ITP_OP_SCATTER_ELEMENTS, 3, 1, 1, 2, 2, 9, 1},
                                  {ITP_OP_SCATTER_ND, 0, 0, 1, 1, 1, 2, 0},
                                  {ITP_OP_SCATTER_ND, 0, 0, 1, 1, 1, 4, 1},
                                  {ITP_OP_SCATTER_ND, 0, 1, 1, 3, 2, 2, 0},
                                  {ITP_OP_SCATTER_ND, 0, 1, 2, 3, 2, 3, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const interp_shape s = shape(3, 3, 4, 5);
        char name[48];
        snprintf(name, sizeof name, "%s %zu", itp_op_row(rows[i][0])->name, i);
        check(name, &s, 1, INTERP_EVAL, build_places, rows[i], -1, 1, 0);
    }
}

/* Places that x itself names, many of them more than once; of slices of a table of [30,40,W]. */
static interp_tensor build_computed_places(interp_net *net, interp_tensor x, const int *v)
{
    const interp_shape one = itp_shape_of(0, 1, 1, 1, 1);
    const interp_shape s = itp_shape_of(3, 30, 40, itp_tensor_shape(net, x)->dim[3], 1);
    const float scale = 20;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = v[1], a.mode = 1;
    const interp_tensor scaled = interp_mul(net, x, interp_constant(net, &one, &scale));
    const interp_tensor at = itp_plain(net, ITP_OP_FLOOR, "op", 1, &scaled, NULL);
    interp_tensor in[3] = {x, at, x};
    if (v[0] == ITP_OP_GATHER_ND || v[0] == ITP_OP_SCATTER_ND) {
        in[0] = interp_parameter(net, "p", &s, INTERP_UNIFORM, 3, 3);
        in[1] = interp_slice(net, at, 3, 0, 2, false);
    }
    const bool puts = v[0] == ITP_OP_SCATTER_ELEMENTS || v[0] == ITP_OP_SCATTER_ND;
    return itp_plain(net, v[0], "op", puts ? 3 : 2, in, &a);
}

/* Along axis v[1]; a running sum, or the 3 first. */
static interp_tensor build_along(interp_net *net, interp_tensor x, const int *v)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = v[1], a.reverse = v[2], a.exclusive = v[3], a.length = 3;
    return itp_plain(net, v[0], "op", 1, &x, &a);
}

TEST(order_gradients_match_central_differences)
{
    const interp_shape s = shape(3, 3, 4, 5);
    for (int kind = 0; kind < 24; kind++) {
        const bool sum = kind < 12;
        const int v[4] = {sum ? ITP_OP_CUM_SUM : ITP_OP_TOP_K_VALUES, 1 + kind % 3, kind / 3 % 2,
                          kind / 6 % 2};
        check(itp_op_row(v[0])->name, &s, 2, INTERP_EVAL, build_along, v, sum ? -1 : -20,
              sum ? 1 : 20, 0);
    }
}

TEST(transposes_move_every_number_to_its_place)
{
    static const int cases[][8] = {
        /* shape after the batch of 2, then the permutation */
        {70, 130, 3, 0, 2, 1, 3}, {3, 70, 65, 0, 1, 3, 2}, {66, 5, 129, 0, 3, 2, 1},
        {4, 65, 66, 0, 2, 3, 1},  {4, 65, 66, 0, 3, 1, 2}, {9, 1, 70, 0, 3, 2, 1},
        {9, 8, 7, 1, 0, 2, 3},    {9, 8, 7, 3, 2, 1, 0},   {9, 8, 7, 0, 1, 2, 3},
    };
    static float from[2 * 70 * 130 * 8], to[2 * 70 * 130 * 8];
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) from[i] = (float)(i % 65521);
    for (size_t t = 0; t < sizeof cases / sizeof *cases; t++)
        for (int add = 0; add < 2; add++) {
            const int *v = cases[t], *perm = v + 3;
            const interp_shape x = itp_shape_of(4, 2, v[0], v[1], v[2]);
            const size_t n = interp_shape_size(&x);
            for (size_t i = 0; i < n; i++) to[i] = add ? 0.5f : -1;
            itp_transpose_run(ctx, &x, perm, from, to, add);
            size_t wrong = 0;
            for (size_t i = 0; i < n; i++) {
                size_t at[4], rest = i, y = 0;
                for (int d = 3; d >= 0; d--)
                    at[d] = rest % (size_t)x.dim[d], rest /= (size_t)x.dim[d];
                for (int d = 0; d < 4; d++) y = y * (size_t)x.dim[perm[d]] + at[perm[d]];
                wrong += to[y] != from[i] + (add ? 0.5f : 0);
            }
            CHECK(wrong == 0);
        }
}

/* ---- the same numbers whoever computes them */

typedef struct spread_case {
    const char *what;
    build_fn build;
    int v[16], batch, rank, shape[3];
    interp_mode mode;
} spread_case;

/* Output, gradient of the input and of the parameters, one after the other; freed by the caller. */
static float *run_case(const spread_case *c, const char *isa, int threads, size_t *n)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.isa = isa, d.threads = threads;
    interp_ctx *own = interp_open(&d);
    interp_net *net = interp_net_new(own, c->what);
    const interp_shape s = shape(c->rank, c->shape[0], c->shape[1], c->shape[2]);
    interp_output(net, c->build(net, interp_input(net, NULL, &s), c->v), NULL);
    CHECK_OK(own, interp_net_build(net, 3));
    interp_workspace_desc wd;
    memset(&wd, 0, sizeof wd);
    wd.batch = c->batch, wd.mode = c->mode, wd.input_grads = wd.param_grads = true;
    interp_workspace *w = NULL;
    CHECK_OK(own, interp_workspace_new(own, net, &wd, &w));
    const size_t nx = interp_shape_size(&s) * (size_t)c->batch;
    const size_t ny = interp_workspace_target_size(w) * (size_t)c->batch;
    const size_t np = interp_net_describe(net).n_parameters;
    float *x = (float *)malloc((nx + ny) * sizeof *x), *seed = x + nx;
    const float *const xs = x;
    for (size_t i = 0; i < nx + ny; i++) x[i] = interp_random_normal(4, 4, i);
    *n = nx + ny + np;
    float *all = (float *)malloc(*n * sizeof *all);
    CHECK_OK(own, interp_forward(w, &xs));
    memcpy(all, interp_workspace_target(w), ny * sizeof *all);
    CHECK_OK(own, interp_backward(w, seed));
    memcpy(all + ny, interp_workspace_input_grad(w, 0), nx * sizeof *all);
    if (np) memcpy(all + ny + nx, interp_workspace_param_grad(w), np * sizeof *all);
    free(x);
    interp_workspace_free(w);
    interp_net_free(net);
    interp_close(own);
    return all;
}

TEST(ops_are_bit_identical_at_any_thread_count)
{
    static const spread_case cases[] = {
        {"batch norm of rows", build_norm, {0, 0}, 200, 1, {700, 1, 1}, INTERP_BATCH_STATS},
        {"batch norm", build_norm, {0, 0}, 4, 3, {20, 50, 50}, INTERP_BATCH_STATS},
        {"batch norm, eval", build_norm, {0, 0}, 4, 3, {20, 50, 50}, INTERP_EVAL},
        {"layer norm", build_norm, {1, -1}, 900, 1, {300, 1, 1}, INTERP_EVAL},
        {"softmax", build_norm, {2, 1}, 4, 3, {20, 50, 53}, INTERP_EVAL},
        {"log softmax", build_norm, {3, 1}, 4, 3, {20, 50, 53}, INTERP_EVAL},
        {"softmax of rows", build_norm, {2, 3}, 4, 3, {20, 50, 53}, INTERP_EVAL},
        {"max pool", build_pool, {0, 3, 3, 2, 2, 1, 1, 1, 1}, 4, 3, {20, 50, 53}, INTERP_EVAL},
        {"average pool", build_pool, {1, 3, 3, 2, 2, 1, 1, 1, 1}, 4, 3, {20, 50, 53}, INTERP_EVAL},
        {"add", build_binary, {ITP_OP_ADD, 1, 5, 1, 1, 1}, 8, 3, {40, 200, 5}, INTERP_EVAL},
        {"mul", build_binary, {ITP_OP_MUL, 4, 1, 10, 1, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"div", build_binary, {ITP_OP_DIV, 4, 1, 10, 1, 1, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"moves", build_move, {8}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"transpose", build_move, {0}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"concat", build_move, {2}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"slice", build_move, {4}, 8, 3, {80, 30, 153}, INTERP_EVAL},
        {"max", build_binary, {ITP_OP_MAX, 4, 1, 10, 1, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"where", build_where, {4, 8, 1, 80, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"sum", build_reduce, {ITP_OP_REDUCE_SUM, 10, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"sum of all", build_reduce, {ITP_OP_REDUCE_SUM, 0, 0, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"product", build_reduce, {ITP_OP_REDUCE_PROD, 2, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"log sum exp",
         build_reduce,
         {ITP_OP_REDUCE_LOG_SUM_EXP, 12},
         8,
         3,
         {10, 80, 53},
         INTERP_EVAL},
        {"index", build_index, {1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"index of few rows", build_index, {0}, 1, 3, {3, 300, 253}, INTERP_EVAL},
        {"gather", build_gather, {1, 2}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"resize", build_resize, {2, 3}, 8, 3, {10, 80, 553}, INTERP_EVAL},
        {"resize of one", build_resize, {1, 3}, 1, 3, {10, 80, 553}, INTERP_EVAL},
        {"elements taken",
         build_computed_places,
         {ITP_OP_GATHER_ELEMENTS, 2},
         8,
         3,
         {10, 80, 53},
         INTERP_EVAL},
        {"elements put",
         build_computed_places,
         {ITP_OP_SCATTER_ELEMENTS, 2},
         8,
         3,
         {10, 80, 53},
         INTERP_EVAL},
        {"slices taken",
         build_computed_places,
         {ITP_OP_GATHER_ND},
         8,
         3,
         {10, 5, 453},
         INTERP_EVAL},
        {"slices put", build_computed_places, {ITP_OP_SCATTER_ND}, 8, 3, {10, 5, 453}, INTERP_EVAL},
        {"LRN", build_lrn, {5, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"unpool", build_unpool, {1}, 800, 3, {3, 4, 6}, INTERP_EVAL},
        {"running sum", build_along, {ITP_OP_CUM_SUM, 2}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"top", build_along, {ITP_OP_TOP_K_VALUES, 2, 1}, 8, 3, {10, 80, 53}, INTERP_EVAL},
        {"transposed convolution",
         build_deconv,
         {12, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
         3,
         3,
         {10, 40, 33},
         INTERP_EVAL},
        {"dropout", build_move, {6}, 8, 3, {10, 80, 53}, INTERP_TRAIN},
    };
    const char *isa = interp_isa(ctx);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0, same = 0;
        float *one = run_case(&cases[i], isa, 1, &n);
        for (int threads = 2; threads < 4; threads++) {
            float *more = run_case(&cases[i], isa, threads, &same);
            if (same != n || memcmp(one, more, n * sizeof *one))
                test_fail(__FILE__, __LINE__, "%s differs with %d threads", cases[i].what, threads);
            free(more);
        }
        free(one);
    }
}

/* ---- whole networks with smooth activations: branches, shared parameters, attention */

static interp_tensor build_whole(interp_net *net, interp_tensor x, const int *v)
{
    interp_conv2d_desc c;
    memset(&c, 0, sizeof c);
    c.channels = 4, c.same = true;
    if (v[0] == 0) { /* residual with squeeze and excite */
        interp_tensor y = interp_activate(
            net, interp_batch_norm(net, interp_conv2d(net, x, &c), NULL), INTERP_SILU, 0);
        const interp_pool2d_desc pool = {
            INTERP_POOL_GLOBAL_AVERAGE, {0}, {0}, {0}, false, false, false, NULL};
        interp_tensor g = interp_activate(
            net, itp_arch_conv(net, interp_pool2d(net, y, &pool), 4, 1, 1, 0, 1, true),
            INTERP_SIGMOID, 0);
        y = interp_mul(net, y, g); /* one layer after the other: their weights are drawn in turn */
        y = interp_add(net, y, itp_arch_conv(net, x, 4, 1, 1, 0, 1, true));
        return interp_dense(net, interp_activate(net, y, INTERP_GELU, 0), 3, NULL);
    }
    const interp_shape rows = itp_shape_of(3, 0, 4, 6, 1);
    interp_tensor t = interp_reshape(net, interp_slice(net, x, 1, 0, 1, false), &rows);
    t = interp_add(net, t, interp_self_attention(net, interp_layer_norm(net, t, NULL), 2));
    t = interp_activate(net, interp_dense(net, t, 5, NULL), INTERP_GELU_TANH, 0);
    return interp_dense(net, interp_flatten(net, t), 3, NULL);
}

TEST(whole_network_gradients_match_central_differences)
{
    for (int kind = 0; kind < 2; kind++)
        for (int mode = 0; mode < 3; mode += 2) {
            const interp_shape s = shape(3, 2, 4, 6);
            check(kind ? "attention" : "squeeze and excite", &s, 3, (interp_mode)mode, build_whole,
                  &kind, -1, 1, 0);
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
        RUN(convolution_gradients_match_central_differences);
        RUN(transposed_convolution_gradients_match_central_differences);
        RUN(pooling_gradients_match_central_differences);
        RUN(activation_gradients_match_central_differences);
        RUN(elementwise_gradients_match_central_differences);
        RUN(broadcast_gradients_match_central_differences);
        RUN(curve_gradients_match_central_differences);
        RUN(pair_gradients_match_central_differences);
        RUN(where_gradients_match_central_differences);
        RUN(reduction_gradients_match_central_differences);
        RUN(product_gradients_match_central_differences);
        RUN(normalisation_gradients_match_central_differences);
        RUN(move_gradients_match_central_differences);
        RUN(index_gradients_match_central_differences);
        RUN(local_norm_and_unpooling_gradients_match_central_differences);
        RUN(place_gradients_match_central_differences);
        RUN(order_gradients_match_central_differences);
        RUN(transposes_move_every_number_to_its_place);
        RUN(ops_are_bit_identical_at_any_thread_count);
        RUN(whole_network_gradients_match_central_differences);
        interp_close(ctx);
    }
    return test_end(argc, argv);
}

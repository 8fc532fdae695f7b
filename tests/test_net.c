/* Networks: building and its errors, memory plans, forward and backward passes, metrics. */
#define INTERP_NO_ATTR
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

/* Between a sample run alone and within a batch: the same sums in another order, relative to the
   largest output. */
#define BATCH_TOLERANCE 1e-6

static interp_ctx *ctx; /* of all tests that do not open their own */

static interp_ctx *open_ctx(int threads)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = threads;
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free;
    return interp_open(&d);
}

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

static size_t allocations(void)
{
    return interp_memory_read(ctx).allocations;
}

static interp_shape shape(int rank, int a, int b, int c)
{
    return itp_shape_of(rank, a, b, c, 1);
}

/* n normal numbers, to be freed. */
static float *normals(size_t n, uint64_t stream)
{
    float *x = (float *)malloc(sizeof *x * (n ? n : 1));
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(77, stream, i);
    return x;
}

/* Largest difference over the largest of `want`. */
static double worst(const float *got, const float *want, size_t n)
{
    double most = 1e-30, off = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)want[i]));
        const double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= off)) off = d;
    }
    return off / most;
}

static interp_net *arch(interp_ctx *c, const char *name, int a, int b, int d, int classes)
{
    interp_net *net = NULL;
    const interp_shape s = shape(b ? 3 : 1, a, b, d);
    if (interp_net_arch(c, name, &s, classes, 1, &net))
        test_fail(__FILE__, __LINE__, "%s: %s", name, interp_error(c));
    return net;
}

static interp_workspace *workspace(interp_ctx *c, const interp_net *net,
                                   const interp_workspace_desc *d)
{
    interp_workspace *w = NULL;
    if (interp_workspace_new(c, net, d, &w)) test_fail(__FILE__, __LINE__, "%s", interp_error(c));
    return w;
}

static interp_workspace_desc options(int batch, interp_mode mode, bool grads)
{
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    d.batch = batch, d.mode = mode, d.input_grads = d.param_grads = grads;
    return d;
}

/* ---- errors of builders */

static interp_tensor conv_of(interp_net *net, interp_tensor x, int channels, int kernel, int groups,
                             const char *name)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = channels, d.kernel[0] = kernel, d.groups = groups, d.name = name;
    if (kernel < 0) d.kernel[0] = 3, d.stride[0] = kernel;
    return interp_conv2d(net, x, &d);
}

static interp_tensor pool_of(interp_net *net, interp_tensor x, interp_pool kind, int height,
                             int width, const char *name)
{
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = kind, d.kernel[0] = height, d.kernel[1] = width, d.name = name;
    return interp_pool2d(net, x, &d);
}

static interp_tensor zeros(interp_net *net, int rank, int a, int b, int c)
{
    static const float none[1000] = {0};
    const interp_shape s = shape(rank, a, b, c);
    return interp_constant(net, &s, none);
}

static interp_tensor reshape_of(interp_net *net, interp_tensor x, int rank, int b, int c)
{
    interp_shape s = shape(3, 0, b, c);
    s.rank = rank;
    return interp_reshape(net, x, &s);
}

/* The mistakes of the table below, made on an input of [5,8,8]. */
static interp_tensor mistake(interp_net *net, interp_tensor x, int which)
{
    static const int perm[4] = {0, 1, 1, 3};
    const interp_shape three = shape(1, 3, 1, 1), none = shape(2, 3, 0, 1),
                       minus = shape(2, 3, -1, 1);
    interp_tensor many[70];
    for (int i = 0; i < 70; i++) many[i] = x;
    switch (which) {
    case 0: return conv_of(net, x, 4, 3, 2, NULL);
    case 1: return conv_of(net, x, 4, 9, 1, "stem");
    case 2: return conv_of(net, x, 4, -1, 1, NULL);
    case 3: return conv_of(net, interp_flatten(net, x), 4, 3, 1, NULL);
    case 4: return conv_of(net, x, 4, 70000, 1, NULL);
    case 5: return pool_of(net, x, INTERP_POOL_AVERAGE, 9, 2, NULL);
    case 6: return interp_add(net, x, zeros(net, 1, 7, 1, 1));
    case 7: return interp_matmul(net, x, zeros(net, 2, 7, 3, 1));
    case 8: many[1] = zeros(net, 3, 1, 5, 8); return interp_concat(net, 2, many, 1);
    case 9: return interp_concat(net, 0, many, 1);
    case 10: return reshape_of(net, x, 2, 7, 1);
    case 11: return reshape_of(net, x, INTERP_MAX_RANK + 1, 7, 1);
    case 12: return interp_softmax(net, x, 4);
    case 13: return interp_slice(net, x, 1, 3, 3, false);
    case 14: return interp_transpose(net, x, perm);
    case 15: return interp_dropout(net, x, 1);
    case 16: return interp_dense(net, x, 0, NULL);
    case 17: return interp_dense(net, zeros(net, 0, 1, 1, 1), 3, NULL);
    case 18: return interp_self_attention(net, reshape_of(net, x, 3, 5, 64), 5);
    case 19: return interp_relu(net, x + 98);
    case 20: return interp_activate(net, x, (interp_activation)15, 0);
    case 21: return conv_of(net, conv_of(net, x, 5, 3, 1, "same"), 5, 3, 1, "same");
    case 22: /* the value of the first gets another name in between */
        x = pool_of(net, x, INTERP_POOL_MAX, 2, 2, "p");
        interp_output(net, x, "other");
        return pool_of(net, x, INTERP_POOL_MAX, 2, 2, "p");
    case 23: interp_output(net, interp_relu(net, x), "input"); return 0;
    case 24: return interp_constant(net, &minus, NULL);
    case 25: return interp_input(net, NULL, &three);
    case 26: return interp_input(net, "b", &none);
    case 27: return interp_concat(net, 70, many, 1);
    default: return interp_mul(net, x, 0);
    }
}

TEST(builder_errors_are_kept_and_name_the_node)
{
    static const struct {
        interp_status status;
        const char *says;
    } rows[] = {
        {INTERP_BAD_SHAPE,
         "conv2d \"conv1\": input [1,5,8,8] does not go with 4 channels in 2 groups"},
        {INTERP_BAD_SHAPE,
         "Conv \"stem\": window 9x9 (dilation 1,1) is larger than the padded input [1,5,8,8]"},
        {INTERP_BAD_SHAPE,
         "Conv \"conv1\": kernel, stride and dilation must be at least 1, pads at least 0"},
        {INTERP_BAD_SHAPE,
         "conv2d \"conv1\": input [1,320] does not go with 4 channels in 1 groups"},
        {INTERP_BAD_SHAPE, "\"conv1.weight\" would have more than 2^31 numbers"},
        {INTERP_BAD_SHAPE, "AveragePool \"pool1\": window 9x2 (dilation 1,1) is larger than the "
                           "padded input [1,5,8,8]"},
        {INTERP_BAD_SHAPE, "Add \"add1\": [1,5,8,8] and [7] do not broadcast"},
        {INTERP_BAD_SHAPE,
         "MatMul \"matmul1\": [1,5,8,8] has rows of 8 but [7,3] has columns of 7"},
        {INTERP_BAD_SHAPE,
         "Concat \"concat1\": [1,5,8,8] and [1,5,8] cannot be joined along axis 1"},
        {INTERP_BAD_ARGUMENT, "concat: 0 tensors"},
        {INTERP_BAD_SHAPE, "Reshape \"reshape1\": [1,5,8,8] cannot become [0,7]"},
        {INTERP_BAD_SHAPE, "Reshape \"reshape1\": 9 dimensions are not supported"},
        {INTERP_BAD_SHAPE, "Softmax \"softmax1\": axis 4 of a tensor with 4 dimensions"},
        {INTERP_BAD_SHAPE, "Slice \"slice1\": 3 entries from entry 3 on, of a dimension of 5"},
        {INTERP_BAD_SHAPE,
         "Transpose \"transpose1\": the permutation does not name each of 4 dimensions once"},
        {INTERP_BAD_ARGUMENT, "dropout: probability 1 is not in [0, 1)"},
        {INTERP_BAD_ARGUMENT, "dense: 0 units"},
        {INTERP_BAD_SHAPE, "dense: input has 0 dimensions but needs [N,...]"},
        {INTERP_BAD_SHAPE, "self-attention: 5 heads do not divide input [1,5,64]"},
        {INTERP_BAD_ARGUMENT, "tensor 99 is not one of network \"bad\""},
        {INTERP_BAD_ARGUMENT, "activation 15 is not known"},
        {INTERP_BAD_ARGUMENT, "two parameters are named \"same.weight\""},
        {INTERP_BAD_ARGUMENT, "two nodes are named \"p\""},
        {INTERP_BAD_ARGUMENT, "two values are named \"input\""},
        {INTERP_BAD_SHAPE, "\"const1\" would have more than 2^31 numbers"},
        {INTERP_BAD_ARGUMENT, "two inputs are named \"input\""},
        {INTERP_BAD_SHAPE, "input: dimension 1 is 0"},
        {INTERP_UNSUPPORTED, "Concat \"concat1\" has 70 inputs; at most 64 are supported"},
        {INTERP_BAD_ARGUMENT, "tensor 0 is not one of network \"bad\""},
    };
    const interp_shape s = shape(3, 5, 8, 8);
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
        const size_t before = used();
        interp_net *net = interp_net_new(ctx, "bad");
        REQUIRE(net);
        const interp_tensor y = mistake(net, interp_input(net, NULL, &s), i);
        const interp_tensor z = interp_dense(net, y, 3, NULL); /* all that follows does nothing */
        CHECK(y == 0 && z == 0 && interp_relu(net, z) == 0 && interp_input(net, "c", &s) == 0);
        interp_output(net, z, "out");
        interp_fail(ctx, INTERP_IO, "something else went wrong in between");
        const interp_status status = interp_net_build(net, 1);
        if (status != rows[i].status || strcmp(interp_error(ctx), rows[i].says))
            test_fail(__FILE__, __LINE__, "row %d: %s \"%s\", want \"%s\"", i,
                      interp_status_name(status), interp_error(ctx), rows[i].says);
        CHECK(interp_last_status(ctx) == status);
        interp_net_free(net);
        CHECK(used() == before);
    }
}

TEST(a_network_needs_an_input_and_an_output)
{
    interp_net *net = interp_net_new(ctx, "empty");
    CHECK(interp_net_build(net, 1) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "network \"empty\" has no input or no output"));
    interp_workspace *w = NULL;
    CHECK(interp_workspace_new(ctx, net, NULL, &w) == INTERP_BAD_ARGUMENT && !w);
    float x = 0;
    CHECK(interp_predict(net, &x, 1, &x) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "not built"));
    interp_net_free(net);
    interp_net_free(NULL);
    net = interp_net_new(ctx, NULL); /* without interp_output the last node is the output */
    const interp_shape s = shape(1, 4, 1, 1);
    interp_dense(net, interp_input(net, NULL, &s), 3, NULL);
    CHECK_OK(ctx, interp_net_build(net, 1));
    CHECK(interp_net_output_shape(net, 0).dim[0] == 3);
    interp_net_free(net);
}

TEST(a_built_network_takes_nothing_more)
{
    interp_net *net = arch(ctx, "linear", 4, 0, 0, 3);
    REQUIRE(net);
    const interp_shape s = shape(1, 4, 1, 1);
    const interp_net_info before = interp_net_describe(net);
    CHECK(interp_dense(net, 1, 3, NULL) == 0 && interp_input(net, "b", &s) == 0);
    CHECK(interp_parameter(net, "p", &s, INTERP_UNIFORM, 1, 1) == 0);
    interp_output(net, 1, "more");
    const interp_net_info after = interp_net_describe(net);
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK(interp_net_build(net, 2) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "is built already"));
    float x[4] = {1, 2, 3, 4}, y[3];
    CHECK_OK(ctx, interp_predict(net, x, 1, y)); /* and works as before */
    interp_net_free(net);
}

/* ---- architectures */

typedef struct arch_row {
    const char *name;
    int sample[3], classes;
    size_t parameters; /* published, or counted by hand; 0: not checked */
} arch_row;

/* Builds, runs and, for small inputs, differentiates; everything has the right shape and is finite. */
static void try_arch(const arch_row *a)
{
    const interp_shape s = shape(a->sample[1] ? 3 : 1, a->sample[0], a->sample[1], a->sample[2]);
    interp_net *net = arch(ctx, a->name, a->sample[0], a->sample[1], a->sample[2], a->classes);
    if (!net) return;
    const interp_net_info info = interp_net_describe(net);
    const bool large = a->sample[1] > 64;
    const int batch = large ? 1 : 3;
    if (a->parameters && info.n_parameters != a->parameters)
        test_fail(__FILE__, __LINE__, "%s has %zu parameters, want %zu", a->name, info.n_parameters,
                  a->parameters);
    const interp_shape out = interp_net_output_shape(net, 0);
    CHECK(out.rank == 1 && out.dim[0] == a->classes && info.n_outputs == 1);
    CHECK_STR(interp_net_output_name(net, 0), "logits");
    CHECK_STR(interp_net_input_name(net, 0), "input");
    const interp_workspace_desc d = options(batch, large ? INTERP_EVAL : INTERP_TRAIN, !large);
    interp_workspace *w = workspace(ctx, net, &d);
    const size_t n = interp_shape_size(&s) * (size_t)batch, k = (size_t)a->classes * (size_t)batch;
    float *x = normals(n, 1), *seed = normals(k, 2);
    const float *in = x;
    if (w && !interp_forward(w, &in)) {
        const float *y = interp_workspace_output(w, 0);
        CHECK(itp_is_finite(y, k) && worst(y, seed, k) > 0);
        CHECK(interp_workspace_target_size(w) == (size_t)a->classes);
    }
    if (w && !large) {
        CHECK_OK(ctx, interp_backward(w, seed));
        const float *dx = interp_workspace_input_grad(w, 0), *dp = interp_workspace_param_grad(w);
        CHECK(itp_is_finite(dx, n) && itp_is_finite(dp, info.n_parameters));
        for (int i = 0; i < interp_net_parameter_count(net); i++) {
            const interp_parameter_info p = interp_net_parameter(net, i);
            float most = 0;
            for (size_t q = 0; q < interp_shape_size(&p.shape); q++)
                most = fmaxf(most, fabsf(dp[p.offset + q]));
            if (!(most > 0))
                test_fail(__FILE__, __LINE__, "%s: no gradient of %s", a->name, p.name);
        }
    }
    free(seed);
    free(x);
    interp_workspace_free(w);
    interp_net_free(net);
}

TEST(every_architecture_builds_runs_and_differentiates)
{
    static const arch_row rows[] = {
        {"linear", {13, 0, 0}, 3, 13 * 3 + 3},
        {"linear", {1, 8, 8}, 10, 650},
        {"mlp:784-100-50-10", {1, 28, 28}, 10, 84060},
        {"mlp:64-10", {1, 8, 8}, 10, 650},
        {"cnn", {1, 8, 8}, 10, 0},
        {"cnn", {1, 28, 28}, 10, 0},
        {"cnn", {3, 32, 32}, 10, 0},
        {"cnn", {2, 3, 5}, 2, 0}, /* too small to be halved */
        {"lenet", {1, 8, 8}, 10, 0},
        {"lenet", {1, 28, 28}, 10, 808970},
        {"lenet", {3, 32, 32}, 10, 0},
        {"allcnn", {1, 8, 8}, 10, 0},
        {"allcnn", {3, 32, 32}, 10, 1371658},
        {"resnet20", {1, 8, 8}, 10, 0},
        {"resnet20", {1, 28, 28}, 10, 0},
        {"resnet20", {3, 32, 32}, 10, 273066},
        {"resnet18", {1, 8, 8}, 10, 0},
        {"vgg-half", {3, 32, 32}, 10, 1918666},
        {"vgg-half", {1, 8, 8}, 10, 1524874}, /* its last pool is left out, as all on one pixel */
        {"vgg-half", {1, 1, 1}, 10, 0},
        {"lenet", {1, 2, 3}, 10, 0},
        {"mlp", {1, 8, 8}, 10, 4810},
        {"mlp", {4, 0, 0}, 3, 515},
        {"mobilenet-v2", {1, 8, 8}, 10, 0},
        {"efficientnet-b0", {1, 8, 8}, 10, 0},
        {"resnet18", {3, 224, 224}, 1000, 11689512},
        {"mobilenet-v2", {3, 224, 224}, 1000, 3504872},
        {"efficientnet-b0", {3, 224, 224}, 1000, 5288548},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!slow_here() || i == 0 || !strcmp(rows[i].name, "cnn")) try_arch(&rows[i]);
}

TEST(an_architecture_that_does_not_fit_says_why)
{
    static const struct {
        const char *name;
        int rank, sample[3], classes;
        interp_status status;
        const char *says;
    } rows[] = {
        {"resnet",
         3,
         {3, 8, 8},
         10,
         INTERP_BAD_ARGUMENT,
         "architecture \"resnet\" is not known: linear,"},
        {"mlp:64-10",
         3,
         {1, 9, 8},
         10,
         INTERP_BAD_ARGUMENT,
         "mlp:64-10: the data has 72 inputs and 10 classes, so the widths must begin with 72 and end "
         "with 10"},
        {"mlp:64-11", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "end with 10"},
        {"mlp:64", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "begin with 64"},
        {"mlp:", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths like 784-100-50-10"},
        {"mlp:64--10", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-10x", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-99999999-10", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-10",
         3,
         {1, 8, 8},
         10,
         INTERP_BAD_ARGUMENT,
         "give up to 32 widths"},
        {"cnn",
         1,
         {13, 1, 1},
         3,
         INTERP_BAD_SHAPE,
         "cnn needs images [C,H,W] but samples are [13]: use linear or mlp:..."},
        {"linear", 1, {4, 1, 1}, 0, INTERP_BAD_ARGUMENT, "a network for 0 classes"},
        {"linear", 1, {0, 1, 1}, 3, INTERP_BAD_SHAPE, "input: dimension 0 is 0"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t before = used();
        interp_net *net = NULL;
        const interp_shape s =
            shape(rows[i].rank, rows[i].sample[0], rows[i].sample[1], rows[i].sample[2]);
        const interp_status status =
            interp_net_arch(ctx, rows[i].name, &s, rows[i].classes, 0, &net);
        if (status != rows[i].status || !strstr(interp_error(ctx), rows[i].says))
            test_fail(__FILE__, __LINE__, "%s: %s \"%s\"", rows[i].name, interp_status_name(status),
                      interp_error(ctx));
        CHECK(!net && used() == before);
    }
}

TEST(a_network_describes_itself)
{
    interp_net *net = arch(ctx, "lenet", 1, 28, 28, 10);
    REQUIRE(net);
    const interp_net_info d = interp_net_describe(net);
    /* 28x28 x 20 x 25, 14x14 x 40 x 500, 1960 x 400, 400 x 10 */
    CHECK(d.macs == 392000.0 + 3920000.0 + 784000.0 + 4000.0);
    CHECK(d.n_inputs == 1 && d.n_outputs == 1 && d.n_buffers == 0);
    static const char *const ops[] = {"Conv",    "Relu",    "MaxPool", "Conv", "Relu",    "MaxPool",
                                      "Flatten", "Dropout", "Gemm",    "Relu", "Dropout", "Gemm"};
    REQUIRE(d.n_nodes == 12);
    for (int i = 0; i < 12; i++) CHECK_STR(interp_net_node_op(net, i), ops[i]);
    CHECK_STR(interp_net_node_name(net, 3), "conv2");
    const interp_shape s = interp_net_node_shape(net, 3), in = interp_net_input_shape(net, 0);
    CHECK(s.rank == 3 && s.dim[0] == 40 && s.dim[1] == 14 && s.dim[2] == 14);
    CHECK(in.rank == 3 && in.dim[0] == 1 && in.dim[2] == 28);
    CHECK(interp_net_fixed_batch(net) == 0);
    REQUIRE(interp_net_parameter_count(net) == 8);
    const interp_parameter_info p = interp_net_parameter(net, 2), q = interp_net_parameter(net, 3);
    CHECK_STR(p.name, "conv2.weight");
    CHECK(p.offset == 520 && p.shape.rank == 4 && p.shape.dim[0] == 40 && p.shape.dim[1] == 20);
    CHECK_STR(q.name, "conv2.bias");
    CHECK(q.offset == 520 + 20000 && interp_net_parameters(net)[q.offset] == 0);
    interp_net_free(net);
}

TEST(parameters_start_as_their_initialisation_says)
{
    const int fan_in = 150, fan_out = 100, n = fan_in * fan_out;
    static const struct {
        interp_init init;
        double sd, limit; /* limit 0: none */
    } rows[] = {
        {INTERP_INIT_DEFAULT, 0.11547, 0},
        {INTERP_HE_NORMAL, 0.11547, 0},
        {INTERP_HE_UNIFORM, 0.11547, 0.2},
        {INTERP_GLOROT_NORMAL, 0.0894427, 0},
        {INTERP_GLOROT_UNIFORM, 0.0894427, 0.154919},
        {INTERP_UNIFORM, 0.0471405, 0.0816497},
        {INTERP_TRUNCATED_NORMAL, 0.087963, 0.2}, /* 0.1 times the sd of a normal cut at 2 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (uint64_t seed = 1; seed < 3; seed++) {
            interp_net *net = interp_net_new(ctx, NULL);
            const interp_shape s = shape(1, fan_in, 1, 1);
            interp_dense_desc d;
            memset(&d, 0, sizeof d);
            d.init = rows[i].init;
            interp_dense(net, interp_input(net, NULL, &s), fan_out, &d);
            REQUIRE_OK(ctx, interp_net_build(net, seed));
            const float *w = interp_net_parameters(net);
            double sum = 0, square = 0, most = 0;
            for (int k = 0; k < n; k++) {
                sum += (double)w[k];
                square += (double)w[k] * (double)w[k];
                most = fmax(most, fabs((double)w[k]));
            }
            /* four standard errors of a mean and of a standard deviation */
            CHECK_NEAR(sum / n, 0, 4 * rows[i].sd / sqrt(n));
            CHECK_NEAR(sqrt(square / n), rows[i].sd, 4 * rows[i].sd / sqrt(2.0 * n));
            if (rows[i].limit > 0)
                CHECK(most <= rows[i].limit * 1.000001 && most > rows[i].limit * 0.98);
            for (int k = 0; k < fan_out; k++) CHECK(w[n + k] == 0); /* the bias */
            interp_net_free(net);
        }
    interp_net *a = arch(ctx, "cnn", 1, 8, 8, 10), *b = arch(ctx, "cnn", 1, 8, 8, 10), *c = NULL;
    const interp_shape s = shape(3, 1, 8, 8);
    REQUIRE(a && b && !interp_net_arch(ctx, "cnn", &s, 10, 2, &c));
    const size_t bytes = interp_net_describe(a).n_parameters * sizeof(float);
    CHECK(memcmp(interp_net_parameters(a), interp_net_parameters(b), bytes) == 0);
    CHECK(memcmp(interp_net_parameters(a), interp_net_parameters(c), bytes) != 0);
    interp_net_free(a), interp_net_free(b), interp_net_free(c);
}

/* ---- windows */

TEST(window_sizes_match_hand_values)
{
    static const struct {
        int size, kernel, stride, pad0, pad1, same, ceil_mode, out, first;
    } rows[] =
        {
            {5, 2, 2, 0, 0, 0, 0, 2, 0}, {5, 2, 2, 0, 0, 0, 1, 3, 0},
            {4, 3, 2, 1, 1, 0, 0, 2, 1}, {4, 3, 2, 1, 1, 0, 1, 3, 1},
            {3, 2, 2, 1, 1, 0, 1, 2, 1}, /* the last would begin in the pad */
            {6, 3, 2, 0, 0, 0, 1, 3, 0}, {7, 3, 2, 0, 0, 1, 0, 4, 1},
            {8, 3, 2, 0, 0, 1, 0, 4, 0}, {5, 4, 1, 0, 0, 1, 0, 5, 1},
            {5, 1, 3, 0, 0, 1, 0, 2, 0}, {2, 5, 1, 2, 2, 0, 0, 2, 2},
            {9, 9, 1, 0, 0, 0, 0, 1, 0}, {112, 3, 2, 1, 1, 0, 0, 56, 1},
            {7, 2, 3, 0, 1, 0, 0, 3, 0},
        };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        interp_net *net = interp_net_new(ctx, NULL);
        const interp_shape s = shape(3, 1, rows[i].size, rows[i].size + 1);
        interp_pool2d_desc d;
        memset(&d, 0, sizeof d);
        d.kernel[0] = rows[i].kernel, d.stride[0] = rows[i].stride;
        d.pad[0] = rows[i].pad0, d.pad[2] = rows[i].pad1, d.pad[1] = d.pad[3] = rows[i].kernel / 2;
        d.same = rows[i].same, d.ceil_mode = rows[i].ceil_mode;
        interp_pool2d(net, interp_input(net, NULL, &s), &d);
        CHECK_OK(ctx, interp_net_build(net, 0));
        const interp_shape y = interp_net_output_shape(net, 0);
        if (y.dim[1] != rows[i].out)
            test_fail(__FILE__, __LINE__, "row %zu: %d, want %d", i, y.dim[1], rows[i].out);
        int first = -1;
        itp_window_size(rows[i].size, rows[i].kernel, rows[i].stride, 1, rows[i].pad0, rows[i].pad1,
                        rows[i].same, rows[i].ceil_mode, &first);
        CHECK(first == rows[i].first);
        interp_net_free(net);
    }
}

/* A pool over one row of 6 numbers 1..6. */
static void row_pool(interp_pool kind, int pad, bool ceil_mode, bool include, bool same,
                     const float *want, int n)
{
    static const float x[6] = {1, 2, 3, 4, 5, 6};
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = shape(3, 1, 1, 6);
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = kind, d.kernel[0] = 1, d.kernel[1] = 3, d.stride[0] = 1, d.stride[1] = 2;
    d.pad[1] = pad, d.pad[3] = pad, d.ceil_mode = ceil_mode, d.count_include_pad = include;
    d.same = same;
    interp_pool2d(net, interp_input(net, NULL, &s), &d);
    CHECK_OK(ctx, interp_net_build(net, 0));
    float y[8];
    const interp_shape out = interp_net_output_shape(net, 0);
    CHECK(out.dim[2] == n);
    if (out.dim[2] == n && !interp_predict(net, x, 1, y))
        for (int i = 0; i < n; i++) CHECK_NEAR(y[i], want[i], 1e-6);
    interp_net_free(net);
}

TEST(pools_treat_their_edges_as_stated)
{
    static const float exclude[3] = {1.5f, 3, 5}, include[3] = {1, 3, 5};
    static const float overhang[3] = {2, 4, 5.5f}, most[3] = {3, 5, 6}, padded[3] = {2, 4, 6};
    row_pool(INTERP_POOL_AVERAGE, 1, false, false, false, exclude, 3);
    row_pool(INTERP_POOL_AVERAGE, 1, false, true, false, include, 3);
    row_pool(INTERP_POOL_AVERAGE, 0, true, false, false, overhang, 3);
    row_pool(INTERP_POOL_AVERAGE, 0, true, true, false, overhang,
             3); /* what overhangs never counts */
    row_pool(INTERP_POOL_AVERAGE, 0, false, false, true, overhang, 3); /* the extra is at the end */
    row_pool(INTERP_POOL_MAX, 0, true, false, false, most, 3);
    row_pool(INTERP_POOL_MAX, 1, false, false, false, padded, 3);
}

/* ---- memory plans: random graphs */

typedef struct graph {
    interp_net *net;
    interp_tensor t[48];
    int n;
    uint64_t seed, at;
} graph;

static int pick(graph *g, int below)
{
    return (int)(interp_random_u32(g->seed, 9, g->at++) % (uint32_t)below);
}

/* A recent tensor more often than an old one. */
static interp_tensor pick_tensor(graph *g)
{
    return g->t[pick(g, 3) && g->n > 3 ? g->n - 1 - pick(g, 3) : pick(g, g->n)];
}

static interp_tensor pick_like(graph *g, interp_tensor x)
{
    for (int tries = 0; tries < 8; tries++) {
        const interp_tensor y = g->t[pick(g, g->n)];
        if (itp_shape_equal(itp_tensor_shape(g->net, x), itp_tensor_shape(g->net, y))) return y;
    }
    return 0;
}

/* A parameter that broadcasts to x: each dimension its own or 1, the leading ones perhaps left out. */
static interp_tensor pick_parameter(graph *g, interp_tensor x)
{
    interp_shape s = *itp_tensor_shape(g->net, x);
    const int cut = 1 + pick(g, s.rank);
    interp_shape p = shape(s.rank - cut, 1, 1, 1);
    for (int i = 0; i < p.rank; i++) p.dim[i] = pick(g, 2) ? s.dim[i + cut] : 1;
    return interp_parameter(g->net, NULL, &p, INTERP_HE_UNIFORM, 1, 1);
}

static interp_tensor graph_window(graph *g, interp_tensor x, bool conv)
{
    const interp_shape *s = itp_tensor_shape(g->net, x);
    const int channels = s->dim[1], edge = itp_min(s->dim[2], s->dim[3]);
    if (conv) {
        interp_conv2d_desc d;
        memset(&d, 0, sizeof d);
        d.kernel[0] = 1 + pick(g, itp_min(3, edge)), d.stride[0] = 1 + pick(g, 2),
        d.same = pick(g, 2);
        d.groups = pick(g, 3) ? 1 : channels;
        d.channels = d.groups * (1 + pick(g, d.groups > 1 ? 2 : 5));
        d.no_bias = pick(g, 2);
        return interp_conv2d(g->net, x, &d);
    }
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = (interp_pool)pick(g, 4);
    d.kernel[0] = 1 + pick(g, itp_min(3, edge)), d.stride[0] = 1 + pick(g, 2), d.same = pick(g, 2);
    d.ceil_mode = pick(g, 2), d.count_include_pad = pick(g, 2);
    return interp_pool2d(g->net, x, &d);
}

static interp_tensor graph_move(graph *g, interp_tensor x)
{
    const interp_shape *s = itp_tensor_shape(g->net, x);
    const int axis = 1 + pick(g, s->rank - 1);
    int perm[INTERP_MAX_RANK];
    const interp_shape rows = shape(3, 0, s->dim[1], -1);
    interp_tensor like = pick_like(g, x);
    switch (pick(g, 6)) {
    case 0:
        if (s->rank < 3) return interp_flatten(g->net, x);
        for (int i = 0; i < s->rank; i++) perm[i] = i;
        perm[axis] = 1, perm[1] = axis;
        return interp_transpose(g->net, x, perm);
    case 1: return s->rank > 2 ? interp_reshape(g->net, x, &rows) : interp_relu(g->net, x);
    case 2: return interp_flatten(g->net, x);
    case 3:
        perm[0] = pick(g, s->dim[axis]);
        return interp_slice(g->net, x, axis, perm[0], 1 + pick(g, s->dim[axis] - perm[0]),
                            pick(g, 2) && s->rank > 2);
    default: {
        const interp_tensor both[3] = {x, like ? like : x, x};
        return interp_concat(g->net, 2 + pick(g, 2), both, pick(g, 2) ? axis : axis - s->rank);
    }
    }
}

static interp_tensor graph_pair(graph *g, interp_tensor x)
{
    const interp_tensor like = pick(g, 2) ? pick_like(g, x) : 0;
    const interp_tensor y = like ? like : pick_parameter(g, x);
    switch (pick(g, 5)) {
    case 0: return interp_sub(g->net, y, x);
    case 1: return interp_mul(g->net, x, interp_activate(g->net, y, INTERP_SIGMOID, 0));
    case 2: return interp_div(g->net, x, interp_activate(g->net, y, INTERP_SOFTPLUS, 0));
    default: return interp_add(g->net, x, y);
    }
}

static interp_tensor graph_rows(graph *g, interp_tensor x)
{
    const interp_shape *s = itp_tensor_shape(g->net, x);
    static const int swap[3] = {0, 2, 1};
    if (s->rank != 3) return interp_dense(g->net, x, 1 + pick(g, 9), NULL);
    const int heads = s->dim[2] % 2 ? 1 : 2;
    if (s->dim[1] * s->dim[2] < 200 && pick(g, 2)) return interp_self_attention(g->net, x, heads);
    return interp_matmul(g->net, x, interp_transpose(g->net, x, swap));
}

static interp_tensor graph_step(graph *g)
{
    const interp_tensor x = pick_tensor(g);
    const interp_shape *s = itp_tensor_shape(g->net, x);
    const int axis = 1 + pick(g, s->rank - 1);
    switch (pick(g, 14)) {
    case 0:
    case 1: return s->rank == 4 ? graph_window(g, x, true) : graph_rows(g, x);
    case 2: return s->rank == 4 ? graph_window(g, x, false) : graph_rows(g, x);
    case 3: return interp_batch_norm(g->net, x, NULL);
    case 4: return interp_layer_norm(g->net, x, NULL);
    case 5: return interp_softmax(g->net, x, axis);
    case 6: return interp_log_softmax(g->net, x, axis - s->rank);
    case 7: return interp_dropout(g->net, x, 0.3f);
    case 8:
    case 9: return graph_pair(g, x);
    case 10: return graph_move(g, x);
    default: return interp_activate(g->net, x, (interp_activation)pick(g, 13), 0);
    }
}

/* A random network: one or two inputs, up to 20 nodes and more, up to three outputs. */
static interp_net *random_net(uint64_t seed)
{
    graph g;
    memset(&g, 0, sizeof g);
    g.seed = seed;
    g.net = interp_net_new(ctx, "random");
    const interp_shape image = shape(3, 1 + pick(&g, 4), 1 + pick(&g, 7), 1 + pick(&g, 7));
    const interp_shape row = shape(1 + pick(&g, 2), 1 + pick(&g, 6), 1 + pick(&g, 5), 1);
    g.t[g.n++] = interp_input(g.net, "a", &image);
    if (pick(&g, 2)) g.t[g.n++] = interp_input(g.net, "b", pick(&g, 2) ? &row : &image);
    const int steps = 3 + pick(&g, 18);
    for (int i = 0; i < steps; i++) {
        const interp_tensor y = graph_step(&g);
        if (!y) break;
        if (interp_shape_size(itp_tensor_shape(g.net, y)) < 1500) g.t[g.n++] = y;
    }
    for (int i = 1 + pick(&g, 3), k = 1; i > 0; i--, k++)
        interp_output(g.net, g.t[g.n - itp_min(k, g.n)], NULL);
    if (interp_net_build(g.net, seed)) {
        test_fail(__FILE__, __LINE__, "graph %d: %s", (int)seed, interp_error(ctx));
        interp_net_free(g.net);
        return NULL;
    }
    return g.net;
}

/* Everything of a workspace behind its arrays becomes NaN, so that no pass can live on what it finds
   there. */
static void poison(interp_workspace *w)
{
    char *block = (char *)w - ITP_HEADER_BYTES;
    const itp_block *b = (const itp_block *)(const void *)block;
    for (float *at = (float *)(void *)w->block; (char *)at < block + b->bytes; at++)
        *at = (float)NAN;
}

static float *own_floats(void **list, int *n, size_t count)
{
    float *x = (float *)malloc(sizeof *x * (count ? count : 1));
    for (size_t i = 0; i < count; i++) x[i] = (float)NAN;
    list[(*n)++] = x;
    return x;
}

/* Gives every value, gradient, kept state and scratch memory of its own and of its exact size: the
   truth that planned memory is compared with, and where sanitizers see a step beyond the end. */
static int own_memory(interp_workspace *w, void **list)
{
    const interp_net *net = w->net;
    int n = 0;
    size_t shared = 0;
    for (int v = 0; v < net->n_values; v++) {
        const itp_value *value = &net->values[v];
        const int p = value->producer;
        if (p >= 0 && w->runs[p] && !itp_is_alias(w, p))
            w->data[v] = own_floats(list, &n, itp_count(&w->shape[v]));
        if (w->grad[v]) w->grad[v] = own_floats(list, &n, itp_count(&w->shape[v]));
    }
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (!row->need || !w->runs[i]) continue;
        const itp_need need = row->need(w, i);
        if (w->save[i]) w->save[i] = own_floats(list, &n, need.save);
        shared = itp_max_size(shared, need.shared);
    }
    w->shared = own_floats(list, &n, shared);
    w->scratch.base = own_floats(list, &n, w->scratch.slot_floats * (size_t)ctx->slots);
    return n;
}

/* What a forward and a backward pass gave, to be compared bit by bit. */
typedef struct snapshot {
    float *x;
    size_t n, outputs, inputs, params, kept,
        kept_grad; /* where each part begins; kept_grad: ends */
} snapshot;

static void put(snapshot *s, const float *x, size_t n)
{
    s->x = (float *)realloc(s->x, sizeof *x * (s->n + n + 1));
    if (!s->x) exit(1);
    if (x) memcpy(s->x + s->n, x, n * sizeof *x);
    else itp_fill(s->x + s->n, n, 0);
    s->n += n;
}

static snapshot run(interp_workspace *w, const float *const *inputs, const float *seed)
{
    const interp_net *net = w->net;
    const bool grads = w->desc.input_grads || w->desc.param_grads;
    snapshot s;
    memset(&s, 0, sizeof s);
    w->seed = 5, w->step = 3;
    CHECK_OK(ctx, interp_forward(w, inputs));
    for (int i = 0; i < net->n_outputs; i++)
        put(&s, interp_workspace_output(w, i), itp_count(&w->shape[net->outputs[i]]));
    put(&s, interp_workspace_target(w), itp_count(&w->shape[w->target]));
    if (grads) CHECK_OK(ctx, interp_backward(w, seed));
    s.outputs = s.n;
    for (int i = 0; i < net->n_inputs; i++)
        put(&s, w->desc.input_grads ? interp_workspace_input_grad(w, i) : NULL,
            itp_count(&w->shape[net->inputs[i]]));
    s.inputs = s.n;
    for (int i = 0; i < net->n_params;
         i++) { /* by array: the reference has each in a place of its own */
        const int v = net->params[i];
        put(&s, w->grad[v], itp_count(&w->shape[v]));
    }
    s.params = s.n;
    const interp_shape kept = interp_workspace_kept_shape(w);
    const size_t k = w->kept >= 0 ? interp_shape_size(&kept) : 0;
    put(&s, interp_workspace_kept(w), k);
    s.kept = s.n;
    put(&s, interp_workspace_kept_grad(w), k);
    s.kept_grad = s.n;
    return s;
}

static bool same(const snapshot *a, const snapshot *b, size_t from, size_t end)
{
    return memcmp(a->x + from, b->x + from, (end - from) * sizeof *a->x) == 0;
}

static const char *node_name(const interp_net *net, int i)
{
    return interp_net_node_name(net, i);
}

/* One random network under every kind of workspace. Returns whether all numbers were finite. */
static bool try_plans(uint64_t seed)
{
    interp_net *net = random_net(seed);
    if (!net) return true;
    graph g;
    memset(&g, 0, sizeof g);
    g.seed = seed + 1000000;
    const int nodes = interp_net_describe(net).n_nodes, batch = 1 + pick(&g, 5);
    interp_workspace_desc d = options(batch, (interp_mode)pick(&g, 3), true);
    if (pick(&g, 2)) d.output = node_name(net, pick(&g, nodes));
    const char *keep = pick(&g, 4) ? node_name(net, pick(&g, nodes)) : "a";
    float *x[2] = {NULL, NULL};
    for (int i = 0; i < net->n_inputs; i++) {
        const interp_shape in = interp_net_input_shape(net, i);
        x[i] = normals(interp_shape_size(&in) * (size_t)batch, (uint64_t)i);
    }
    const float *const inputs[2] = {x[0], x[1]};
    float *out_seed = NULL;
    snapshot truth;
    memset(&truth, 0, sizeof truth);
    static const char *const names[] = {"own memory",         "keep",         "reuse",
                                        "keep all",           "no gradients", "input gradients",
                                        "parameter gradients"};
    for (int kind = 0; kind < 7; kind++) {
        d.keep = kind < 2 ? keep : NULL;
        d.keep_all = kind == 0 || kind == 3;
        d.input_grads = kind != 4 && kind != 6, d.param_grads = kind != 4 && kind != 5;
        size_t bytes = 0;
        const size_t before = used();
        CHECK_OK(ctx, interp_workspace_bytes(ctx, net, &d, &bytes));
        CHECK(used() == before);
        interp_workspace *w = workspace(ctx, net, &d);
        if (!w) break;
        if (used() - before != bytes)
            test_fail(__FILE__, __LINE__, "graph %d: %s takes %zu bytes, not %zu", (int)seed,
                      names[kind], used() - before, bytes);
        void *list[400];
        int n_own = 0;
        poison(w);
        if (kind == 0) {
            n_own = own_memory(w, list);
            out_seed = normals(itp_count(&w->shape[w->target]), 5);
            truth = run(w, inputs, out_seed);
        } else
            for (int again = 0; again < 2; again++) {
                snapshot s = run(w, inputs, out_seed);
                bool ok = same(&s, &truth, 0, truth.outputs);
                if (d.input_grads) ok &= same(&s, &truth, truth.outputs, truth.inputs);
                if (d.param_grads) ok &= same(&s, &truth, truth.inputs, truth.params);
                if (d.keep) ok &= same(&s, &truth, truth.params, truth.kept_grad);
                if (!ok)
                    test_fail(__FILE__, __LINE__,
                              "graph %d, batch %d, mode %d: %s differs (run %d)", (int)seed, batch,
                              (int)d.mode, names[kind], again);
                free(s.x);
            }
        for (int i = 0; i < n_own; i++) free(list[i]);
        interp_workspace_free(w);
    }
    const bool ok = itp_is_finite(truth.x, truth.n);
    free(out_seed), free(truth.x), free(x[0]), free(x[1]);
    interp_net_free(net);
    return ok;
}

TEST(planned_memory_changes_no_result)
{
    const int graphs = slow_here() ? 100 : 1000;
    int odd = 0;
    for (int i = 0; i < graphs; i++) odd += !try_plans((uint64_t)i);
    CHECK(odd < graphs / 10); /* graphs that overflow compare NaN with NaN, which says little */
}

TEST(reusing_memory_takes_less_of_it)
{
    interp_net *net = arch(ctx, "resnet20", 3, 32, 32, 10);
    REQUIRE(net);
    size_t bytes[4];
    for (int i = 0; i < 4; i++) {
        interp_workspace_desc d = options(8, INTERP_TRAIN, i > 1);
        d.keep_all = i & 1;
        CHECK_OK(ctx, interp_workspace_bytes(ctx, net, &d, &bytes[i]));
    }
    CHECK(bytes[0] * 5 < bytes[1]); /* forward alone needs few of 70 values at a time */
    CHECK(bytes[2] < bytes[3]);
    interp_net_free(net);
}

/* ---- passes */

TEST(a_sample_gives_the_same_in_any_batch)
{
    static const char *const names[] = {"cnn", "lenet", "resnet20", "efficientnet-b0", "linear"};
    for (int a = slow_here() ? 4 : 0; a < 5; a++) {
        interp_net *net = arch(ctx, names[a], 1, 9, 7, 10);
        REQUIRE(net);
        float *x = normals(5 * 63, 3);
        float one[10];
        const interp_workspace_desc five = options(5, INTERP_EVAL, false);
        interp_workspace *w = workspace(ctx, net, &five), *v = workspace(ctx, net, NULL);
        const float *in = x;
        REQUIRE_OK(ctx, interp_forward(w, &in));
        for (int i = 0; i < 5; i++) {
            in = x + 63 * i;
            REQUIRE_OK(ctx, interp_forward(v, &in));
            memcpy(one, interp_workspace_output(v, 0), sizeof one);
            CHECK_NEAR(worst(interp_workspace_output(w, 0) + 10 * i, one, 10), 0, BATCH_TOLERANCE);
        }
        interp_workspace_free(w), interp_workspace_free(v);
        interp_net_free(net);
        free(x);
    }
}

TEST(evaluation_after_training_uses_the_running_statistics)
{
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = shape(1, 1, 1, 1);
    interp_batch_norm(net, interp_input(net, NULL, &s), NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 0));
    interp_net_parameters(net)[0] = 2;    /* gamma */
    interp_net_parameters(net)[1] = 0.5f; /* beta */
    interp_workspace_desc d = options(2, INTERP_BATCH_STATS, false);
    interp_workspace *stats = workspace(ctx, net, &d);
    d.mode = INTERP_TRAIN;
    interp_workspace *train = workspace(ctx, net, &d);
    d.mode = INTERP_EVAL;
    interp_workspace *eval = workspace(ctx, net, &d);
    const float x[2] = {1, 3}, *in = x; /* mean 2, variance 1, unbiased 2 */
    const double unit = 1 / sqrt(1 + 1e-5), before = 1 / sqrt(1 + 1e-5);
    REQUIRE(!interp_forward(stats, &in) && !interp_forward(eval, &in));
    CHECK_NEAR(interp_workspace_output(stats, 0)[0], 0.5 - 2 * unit, 1e-6);
    CHECK_NEAR(interp_workspace_output(eval, 0)[1], 0.5 + 2 * 3 * before,
               1e-5); /* mean 0, variance 1 */
    REQUIRE(!interp_forward(train, &in) && !interp_forward(eval, &in));
    CHECK_NEAR(interp_workspace_output(train, 0)[0], 0.5 - 2 * unit, 1e-6);
    CHECK_NEAR(interp_workspace_output(train, 0)[1], 0.5 + 2 * unit, 1e-6);
    /* running mean 0.9 0 + 0.1 2, variance 0.9 1 + 0.1 2 */
    const double after = 1 / sqrt(1.1 + 1e-5);
    CHECK_NEAR(interp_workspace_output(eval, 0)[0], 0.5 + 2 * (1 - 0.2) * after, 1e-6);
    CHECK_NEAR(interp_workspace_output(eval, 0)[1], 0.5 + 2 * (3 - 0.2) * after, 1e-6);
    const float bad[2] = {1, (float)NAN}; /* a step gone wrong leaves the statistics alone */
    in = bad;
    REQUIRE(!interp_forward(train, &in));
    in = x;
    REQUIRE(!interp_forward(eval, &in));
    CHECK_NEAR(interp_workspace_output(eval, 0)[0], 0.5 + 2 * (1 - 0.2) * after, 1e-6);
    interp_workspace_free(stats), interp_workspace_free(train), interp_workspace_free(eval);
    interp_net_free(net);
}

TEST(dropout_keeps_the_expectation_and_draws_anew_at_every_step)
{
    const int n = 20000;
    const double p = 0.3;
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = shape(1, n, 1, 1);
    interp_dropout(net, interp_input(net, NULL, &s), (float)p);
    REQUIRE_OK(ctx, interp_net_build(net, 0));
    const interp_workspace_desc d = options(1, INTERP_TRAIN, true);
    interp_workspace *w = workspace(ctx, net, &d), *e = workspace(ctx, net, NULL);
    float *x = (float *)malloc(sizeof *x * (size_t)n),
          *first = (float *)malloc(sizeof *x * (size_t)n);
    itp_fill(x, (size_t)n, 1);
    const float *in = x;
    for (int step = 0; step < 4; step++) { /* 1, 2, then another seed, then the first again */
        if (step > 1) w->step = 0;
        w->seed = step == 2;
        REQUIRE(!interp_forward(w, &in) && !interp_backward(w, x));
        const float *y = interp_workspace_output(w, 0), *dx = interp_workspace_input_grad(w, 0);
        int zeros_seen = 0, moved = 0;
        bool right = true;
        for (int i = 0; i < n; i++) {
            zeros_seen += y[i] == 0;
            right &= y[i] == 0 || fabs((double)y[i] - 1 / (1 - p)) < 1e-6;
            right &= dx[i] == y[i]; /* the same mask backward */
            moved += step && y[i] != first[i];
        }
        CHECK(right);
        CHECK_NEAR(zeros_seen, p * n, 5 * sqrt(n * p * (1 - p))); /* and so the mean is 1 */
        if (step == 0) memcpy(first, y, sizeof *x * (size_t)n);
        if (step == 1 || step == 2) CHECK_NEAR(moved, 2 * p * (1 - p) * n, 0.1 * n);
        if (step == 3) CHECK(moved == 0);
    }
    REQUIRE(!interp_forward(e, &in));
    CHECK(memcmp(interp_workspace_output(e, 0), x, sizeof *x * (size_t)n) == 0);
    interp_workspace_free(w), interp_workspace_free(e);
    interp_net_free(net);
    free(x), free(first);
}

TEST(a_parameter_used_twice_gets_the_sum_of_both_gradients)
{
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape in_shape = shape(1, 1, 1, 1), w_shape = shape(2, 1, 1, 1);
    const interp_tensor x = interp_input(net, NULL, &in_shape);
    const interp_tensor w = interp_parameter(net, "w", &w_shape, INTERP_UNIFORM, 1, 1);
    interp_output(net, interp_matmul(net, interp_matmul(net, x, w), w), "y"); /* x w w */
    REQUIRE_OK(ctx, interp_net_build(net, 0));
    CHECK(interp_net_describe(net).n_parameters == 1);
    interp_net_parameters(net)[0] = 3;
    const interp_workspace_desc d = options(2, INTERP_EVAL, true);
    interp_workspace *v = workspace(ctx, net, &d);
    const float xs[2] = {5, -2}, seed[2] = {1, 10}, *in = xs;
    REQUIRE(!interp_forward(v, &in) && !interp_backward(v, seed));
    CHECK(interp_workspace_output(v, 0)[0] == 45 && interp_workspace_output(v, 0)[1] == -18);
    CHECK(interp_workspace_param_grad(v)[0] == 2 * 3 * (5 * 1 + -2 * 10));
    CHECK(interp_workspace_input_grad(v, 0)[1] == 90);
    interp_workspace_free(v);
    interp_net_free(net);
}

/* Two inputs and two outputs; the first output does not look at the second input. */
static interp_net *two_in_two_out(void)
{
    interp_net *net = interp_net_new(ctx, "two");
    const interp_shape s = shape(1, 40, 1, 1);
    const interp_tensor a = interp_input(net, "a", &s), b = interp_input(net, "b", &s);
    interp_tensor x = a, y = b;
    for (int i = 0; i < 4; i++) {
        x = interp_activate(net, interp_dense(net, x, 40, NULL), INTERP_TANH, 0);
        y = interp_activate(net, interp_dense(net, y, 40, NULL), INTERP_SILU, 0);
    }
    interp_output(net, x, "first");
    interp_output(net, interp_add(net, x, y), "both");
    return interp_net_build(net, 4) ? NULL : net;
}

TEST(every_output_of_a_network_can_be_read_and_differentiated)
{
    interp_net *net = two_in_two_out();
    REQUIRE(net);
    float *x = normals(80, 1), *seed = normals(40, 2), *sum = normals(40, 3);
    const float *in[2] = {x, x + 40};
    interp_workspace_desc d = options(1, INTERP_EVAL, true);
    interp_workspace *w = workspace(ctx, net, &d);
    d.output = "both";
    interp_workspace *v = workspace(ctx, net, &d);
    REQUIRE(!interp_forward(w, in) && !interp_forward(v, in));
    CHECK(interp_workspace_target(w) == interp_workspace_output(w, 0));
    CHECK(interp_workspace_target(v) == interp_workspace_output(v, 1));
    CHECK(!interp_workspace_output(w, 2) && !interp_workspace_output(w, -1));
    for (int i = 0; i < 2; i++)
        CHECK(memcmp(interp_workspace_output(w, i), interp_workspace_output(v, i), 160) == 0);
    REQUIRE(!interp_backward(w, seed) && !interp_backward(v, seed));
    /* x reaches both outputs the same way */
    CHECK(memcmp(interp_workspace_input_grad(w, 0), interp_workspace_input_grad(v, 0), 160) == 0);
    itp_fill(sum, 40, 0);
    CHECK(memcmp(interp_workspace_input_grad(v, 1), sum, 160) != 0);
    CHECK(!interp_workspace_input_grad(v, 2) && !interp_workspace_kept(v));
    CHECK(interp_predict(net, x, 1, sum) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "network \"two\" has 2 inputs: use a workspace"));
    const float *const missing[2] = {x, NULL};
    CHECK(interp_forward(w, missing) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "input \"b\" was not given"));
    interp_workspace_free(w), interp_workspace_free(v);
    interp_net_free(net);
    free(x), free(seed), free(sum);
}

TEST(what_the_target_does_not_depend_on_gets_a_zero_gradient)
{
    interp_net *net = two_in_two_out();
    REQUIRE(net);
    float *x = normals(400, 1), *seed = normals(200, 2);
    const float *in[2] = {x, x + 200};
    interp_workspace_desc d = options(5, INTERP_EVAL, true);
    d.keep = "silu2"; /* on the way from the second input */
    interp_workspace *w = workspace(ctx, net, &d);
    for (int round = 0; round < 2; round++) {
        poison(w);
        REQUIRE(!interp_forward(w, in) && !interp_backward(w, seed));
        const float *db = interp_workspace_input_grad(w, 1), *dk = interp_workspace_kept_grad(w);
        bool zero = true, some = false;
        for (int i = 0; i < 200; i++) {
            zero &= db[i] == 0 && dk[i] == 0;
            some |= interp_workspace_input_grad(w, 0)[i] != 0;
        }
        CHECK(zero && some);
        for (int i = 0; i < interp_net_parameter_count(net); i++) {
            const interp_parameter_info p = interp_net_parameter(net, i);
            const bool on_path = p.name[5] % 2 == 1; /* dense1, dense3 ...: first input */
            bool none = true;
            for (size_t k = 0; k < interp_shape_size(&p.shape); k++)
                none &= interp_workspace_param_grad(w)[p.offset + k] == 0;
            CHECK(none == !on_path);
        }
    }
    interp_workspace_free(w);
    interp_net_free(net);
    free(x), free(seed);
}

/* y = dense(tanh(dense(x)) + nudge): the gradient of `nudge` is that of the layer it is added to. */
TEST(gradients_match_central_differences)
{
    enum { batch = 3, width = 7 };
    const double step = 1e-2, tolerance = 1e-3; /* differences of float32 sums of size 1 */
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = shape(1, 5, 1, 1), h = shape(1, width, 1, 1);
    interp_tensor x = interp_input(net, "x", &s), nudge = interp_input(net, "nudge", &h);
    x = interp_activate(net, interp_dense(net, x, width, NULL), INTERP_TANH, 0);
    x = interp_add(net, x, nudge); /* "add1" */
    x = interp_activate(net, interp_dense(net, x, 4, NULL), INTERP_TANH, 0);
    interp_dense(net, x, 6, NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 9));
    float *xs = normals(batch * 5, 1), *at = (float *)calloc(batch * width, sizeof *at);
    float *seed = normals(batch * 6, 2);
    const float *const in[2] = {xs, at};
    static const char *const targets[3] = {NULL, "tanh2", "add1"};
    for (int t = 0; t < 3; t++) {
        interp_workspace_desc d = options(batch, INTERP_EVAL, true);
        d.keep = "add1", d.output = targets[t];
        interp_workspace *w = workspace(ctx, net, &d);
        const size_t outputs = interp_workspace_target_size(w) * batch;
        REQUIRE(outputs <= batch * width);
        float *g = t == 2 ? normals(outputs, 3) : seed;
        REQUIRE(!interp_forward(w, in) && !interp_backward(w, g));
        float kept[batch * width];
        memcpy(kept, interp_workspace_kept_grad(w), sizeof kept);
        const interp_shape ks = interp_workspace_kept_shape(w);
        CHECK(ks.rank == 2 && ks.dim[0] == batch && ks.dim[1] == width);
        CHECK(memcmp(kept, interp_workspace_input_grad(w, 1), sizeof kept) == 0);
        for (int i = 0; i < batch * width; i++) {
            double sum[2] = {0, 0};
            for (int side = 0; side < 2; side++) {
                at[i] = (float)(side ? -step : step);
                REQUIRE(!interp_forward(w, in));
                const float *y = interp_workspace_target(w);
                for (size_t k = 0; k < outputs; k++) sum[side] += (double)g[k] * (double)y[k];
            }
            at[i] = 0;
            CHECK_NEAR(kept[i], (sum[0] - sum[1]) / (2 * step), tolerance);
        }
        if (t == 2) free(g);
        interp_workspace_free(w);
    }
    free(xs), free(at), free(seed);
    interp_net_free(net);
}

TEST(layers_are_kept_by_the_name_of_a_node_or_a_value)
{
    interp_net *net = arch(ctx, "lenet", 1, 8, 8, 10);
    REQUIRE(net);
    static const char *const good[] = {"conv2", "conv2:0", "relu1", "input", "logits", "flatten1"};
    static const char *const bad[] = {"conv9", "conv1.weight", ""};
    float *x = normals(128, 1), *seed = normals(20, 2);
    const float *in = x;
    for (int i = 0; i < 6; i++) {
        interp_workspace_desc d = options(2, INTERP_EVAL, true);
        d.keep = good[i];
        interp_workspace *w = workspace(ctx, net, &d);
        REQUIRE(w && !interp_forward(w, &in) && !interp_backward(w, seed));
        CHECK(interp_workspace_kept(w) && interp_workspace_kept_grad(w));
        const interp_shape s = interp_workspace_kept_shape(w);
        CHECK(s.dim[0] == 2 && itp_is_finite(interp_workspace_kept_grad(w), interp_shape_size(&s)));
        if (i == 4) CHECK(memcmp(interp_workspace_kept_grad(w), seed, 20 * sizeof *seed) == 0);
        if (i == 3) CHECK(interp_workspace_kept(w) == x);
        interp_workspace_free(w);
    }
    for (int i = 0; i < 3; i++) {
        interp_workspace *w = NULL;
        size_t bytes;
        interp_workspace_desc d = options(2, INTERP_EVAL, true);
        d.keep = bad[i];
        CHECK(interp_workspace_new(ctx, net, &d, &w) == INTERP_BAD_ARGUMENT && !w);
        CHECK(strstr(interp_error(ctx), "network \"lenet\" has no layer named \""));
        d.keep = NULL, d.output = bad[i];
        CHECK(interp_workspace_bytes(ctx, net, &d, &bytes) == INTERP_BAD_ARGUMENT);
        CHECK(strstr(interp_error(ctx), "network \"lenet\" has no value named \""));
    }
    interp_workspace_desc d = options(-1, INTERP_EVAL, false);
    interp_workspace *w = NULL;
    CHECK(interp_workspace_new(ctx, net, &d, &w) == INTERP_BAD_ARGUMENT);
    REQUIRE((w = workspace(ctx, net, NULL)) != NULL); /* one sample, no gradients */
    CHECK(interp_backward(w, seed) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "before forward"));
    REQUIRE(!interp_forward(w, &in));
    CHECK(interp_backward(w, seed) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "made without gradients"));
    interp_workspace_free(w);
    interp_workspace_free(NULL);
    interp_net_free(net);
    free(x), free(seed);
}

TEST(backward_wants_a_forward_pass_of_its_own)
{
    interp_net *net = arch(ctx, "cnn", 1, 8, 8, 10);
    REQUIRE(net);
    const interp_workspace_desc d = options(1, INTERP_EVAL, true);
    interp_workspace *w = workspace(ctx, net, &d);
    float *x = normals(64, 1), *seed = normals(10, 2);
    const float *in = x, *none = NULL;
    CHECK(interp_backward(w, seed) == INTERP_BAD_ARGUMENT);
    CHECK(!interp_forward(w, &in) && !interp_backward(w, seed));
    CHECK(interp_backward(w, seed) == INTERP_BAD_ARGUMENT); /* its numbers are overwritten */
    CHECK(strstr(interp_error(ctx), "twice") != NULL);
    CHECK(!interp_forward(w, &in) && interp_forward(w, &none) == INTERP_BAD_ARGUMENT);
    CHECK(interp_backward(w, seed) == INTERP_BAD_ARGUMENT);
    interp_workspace_free(w);
    interp_net_free(net);
    free(x), free(seed);
}

/* Nodes that a forward pass runs by themselves. */
static int steps_of(const interp_workspace *w)
{
    int n = 0;
    for (int i = 0; i < w->net->n_nodes; i++) n += w->runs[i] && !w->fused[i];
    return n;
}

static size_t workspace_bytes(interp_ctx *ctx, const interp_net *net,
                              const interp_workspace_desc *d)
{
    size_t bytes = 0;
    CHECK(!interp_workspace_bytes(ctx, net, d, &bytes));
    return bytes;
}

TEST(input_gradients_alone_take_less_memory)
{
    interp_net *net = arch(ctx, "efficientnet-b0", 3, 64, 64, 10);
    REQUIRE(net);
    interp_workspace_desc d = options(1, INTERP_EVAL, true);
    const size_t parameters = interp_net_describe(net).n_parameters * sizeof(float);
    const size_t both = workspace_bytes(ctx, net, &d) - parameters;
    d.param_grads = false;
    const size_t inputs = workspace_bytes(ctx, net, &d);
    CHECK(5 * inputs < 4 * both); /* of convolutions and batch norms no input is kept */
    d.keep_for_back = true;
    CHECK(workspace_bytes(ctx, net, &d) > 2 * inputs);
    interp_net_free(net);
}

TEST(small_images_go_by_winograd_on_request)
{
    interp_net *net = arch(ctx, "resnet20", 3, 28, 28, 10); /* 64 planes of 7x7 in the end */
    REQUIRE(net);
    float *x = normals(8 * 3 * 28 * 28, 1), outputs[3][10];
    interp_workspace_desc d = options(1, INTERP_EVAL, false);
    for (int way = 0; way < 3; way++) {
        d.small_winograd = way > 0, d.no_winograd = way == 2;
        interp_workspace *w = workspace(ctx, net, &d);
        const float *in = x;
        REQUIRE_OK(ctx, interp_forward(w, &in));
        memcpy(outputs[way], interp_workspace_output(w, 0), sizeof *outputs);
        interp_workspace_free(w);
    }
    CHECK(memcmp(outputs[0], outputs[1], sizeof *outputs)); /* it is another order */
    CHECK_NEAR(worst(outputs[0], outputs[1], 10), 0, 1e-5);
    d.no_winograd = false, d.small_winograd = true, d.batch = 8;
    interp_workspace *w = workspace(ctx, net, &d);
    const float *in = x;
    REQUIRE_OK(ctx, interp_forward(w, &in));
    CHECK_NEAR(worst(interp_workspace_output(w, 0), outputs[1], 10), 0, BATCH_TOLERANCE);
    interp_workspace_free(w);
    d.no_winograd = true, d.batch = 1; /* which goes before it */
    w = workspace(ctx, net, &d);
    d.small_winograd = false;
    interp_workspace *v = workspace(ctx, net, &d);
    CHECK(!interp_forward(w, &in) && !interp_forward(v, &in));
    CHECK(!memcmp(interp_workspace_output(w, 0), interp_workspace_output(v, 0), sizeof *outputs));
    CHECK(!memcmp(interp_workspace_output(w, 0), outputs[2], sizeof *outputs));
    interp_workspace_free(w), interp_workspace_free(v);
    interp_net_free(net);
    free(x);
}

TEST(constant_weights_change_no_result)
{
    const char *const archs[] = {"cnn", "resnet20", "efficientnet-b0"};
    for (int a = 0; a < 6; a++) { /* all of the weights laid out, or some */
        interp_net *net = arch(ctx, archs[a / 2], 3, 33, 35, 10);
        REQUIRE(net);
        interp_workspace_desc d = options(2, INTERP_EVAL, true);
        interp_workspace *plain = workspace(ctx, net, &d);
        const size_t before = workspace_bytes(ctx, net, &d);
        d.constant_weights = true;
        const size_t whole = workspace_bytes(ctx, net, &d);
        d.packed_bytes = a % 2 ? (whole - before) / 2 : 0;
        const size_t bytes = workspace_bytes(ctx, net, &d);
        CHECK(bytes > before && (a % 2 ? bytes < whole : bytes == whole));
        interp_workspace *packed = workspace(ctx, net, &d);
        float *x = normals(2 * 3 * 33 * 35, 1), *seed = normals(20, 2);
        const float *in = x;
        for (int pass = 0; pass < 2; pass++) {
            CHECK(!interp_forward(plain, &in) && !interp_forward(packed, &in));
            CHECK(!memcmp(interp_workspace_output(plain, 0), interp_workspace_output(packed, 0),
                          20 * sizeof(float)));
            CHECK(!interp_backward(plain, seed) && !interp_backward(packed, seed));
            CHECK(!memcmp(interp_workspace_input_grad(plain, 0),
                          interp_workspace_input_grad(packed, 0), 2 * 3 * 33 * 35 * sizeof(float)));
        }
        interp_workspace_free(packed);
        d.input_grads = d.param_grads =
            false; /* batch norm and activations join the convolutions */
        packed = workspace(ctx, net, &d);
        for (int pass = 0; pass < 2; pass++) {
            CHECK(!interp_forward(plain, &in) && !interp_forward(packed, &in));
            const float *want = interp_workspace_output(plain, 0);
            const float *got = interp_workspace_output(packed, 0);
            CHECK(!memcmp(got, want, 20 * sizeof *got));
        }
        CHECK(steps_of(packed) < steps_of(plain));
        interp_workspace_free(plain), interp_workspace_free(packed);
        interp_net_free(net);
        free(x), free(seed);
    }
}

TEST(passes_allocate_nothing)
{
    interp_net *net = arch(ctx, slow_here() ? "cnn" : "efficientnet-b0", 1, 8, 8, 10);
    REQUIRE(net);
    const interp_workspace_desc d = options(3, INTERP_TRAIN, true);
    interp_workspace *w = workspace(ctx, net, &d);
    float *x = normals(192, 1), *seed = normals(30, 2);
    const float *in = x;
    const size_t before = allocations();
    for (int i = 0; i < 3; i++) CHECK(!interp_forward(w, &in) && !interp_backward(w, seed));
    CHECK(allocations() == before);
    interp_workspace_free(w);
    interp_net_free(net);
    free(x), free(seed);
}

TEST(passes_are_bit_identical_at_any_thread_count)
{
    enum { batch = 6, inputs = 3 * 16 * 16 };
    float *x = normals(batch * inputs, 1), *seed = normals(batch * 10, 2);
    const float *in = x;
    static const char *const names[] = {"cnn", "mobilenet-v2", "lenet"};
    for (int a = 0; a < (slow_here() ? 1 : 3); a++) {
        float *want = NULL, *want_grad = NULL;
        for (int threads = 1; threads <= (slow_here() ? 2 : 4); threads++) {
            interp_ctx *c = open_ctx(threads);
            interp_net *net = arch(c, names[a], 3, 16, 16, 10);
            REQUIRE(net);
            const size_t n = interp_net_describe(net).n_parameters;
            const interp_workspace_desc d = options(batch, INTERP_TRAIN, true);
            interp_workspace *w = workspace(c, net, &d);
            REQUIRE(w && !interp_forward(w, &in) && !interp_backward(w, seed));
            if (threads == 1) {
                want = (float *)malloc(batch * 10 * sizeof *want);
                want_grad = (float *)malloc(n * sizeof *want);
                memcpy(want, interp_workspace_output(w, 0), batch * 10 * sizeof *want);
                memcpy(want_grad, interp_workspace_param_grad(w), n * sizeof *want);
            }
            CHECK(memcmp(want, interp_workspace_output(w, 0), batch * 10 * sizeof *want) == 0);
            CHECK(memcmp(want_grad, interp_workspace_param_grad(w), n * sizeof *want) == 0);
            interp_close(c);
        }
        free(want), free(want_grad);
    }
    free(x), free(seed);
}

/* ---- memory */

TEST(workspace_bytes_are_exact)
{
    static const struct {
        const char *name;
        int channels, size, batch;
        bool grads, keep_all;
    } rows[] = {{"linear", 4, 0, 1, false, false},      {"linear", 4, 0, 1, true, false},
                {"lenet", 1, 28, 1, false, false},      {"lenet", 1, 28, 7, true, false},
                {"cnn", 3, 16, 4, true, true},          {"resnet20", 1, 8, 2, true, false},
                {"mlp:64-32-10", 1, 8, 64, true, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int threads = 1; threads < 4; threads += 2) {
            interp_ctx *c = open_ctx(threads);
            interp_net *net =
                arch(c, rows[i].name, rows[i].channels, rows[i].size, rows[i].size, 10);
            REQUIRE(net);
            interp_workspace_desc d = options(rows[i].batch, INTERP_TRAIN, rows[i].grads);
            d.keep_all = rows[i].keep_all;
            size_t bytes = 0;
            const size_t base = interp_memory_read(c).used;
            REQUIRE_OK(c, interp_workspace_bytes(c, net, &d, &bytes));
            CHECK(interp_memory_read(c).used == base);
            interp_memory_set_limit(c, base + bytes - 1);
            interp_workspace *w = NULL;
            CHECK(interp_workspace_new(c, net, &d, &w) == INTERP_NO_MEMORY && !w);
            CHECK(interp_memory_read(c).used == base);
            interp_memory_set_limit(c, base + bytes);
            CHECK_OK(c, interp_workspace_new(c, net, &d, &w));
            CHECK(interp_memory_read(c).used == base + bytes);
            interp_workspace_free(w);
            CHECK(interp_memory_read(c).used == base);
            CHECK(interp_workspace_fit(c, net, &d, d.batch) == d.batch);
            interp_memory_set_limit(c, base + bytes - 1);
            CHECK(interp_workspace_fit(c, net, &d, d.batch) == (d.batch > 1 ? d.batch / 2 : 0));
            interp_close(c);
        }
}

/* The number behind `text` in the last error, 0 for none. */
static size_t number_after(const char *text)
{
    const char *at = strstr(interp_error(ctx), text);
    return at ? (size_t)strtoull(at + strlen(text), NULL, 10) : 0;
}

TEST(predict_splits_batches_to_keep_the_memory_limit)
{
    enum { n = 77, inputs = 144, k = 10 };
    interp_net *net = arch(ctx, "cnn", 1, 12, 12, k);
    REQUIRE(net);
    float *x = normals(n * inputs, 1), *want = normals(n * k, 2), *got = normals(n * k, 3);
    const size_t base = used();
    REQUIRE_OK(ctx, interp_predict(net, x, n, want));
    interp_memory_set_limit(ctx, base + 1);
    float *untouched = normals(n * k, 3);
    CHECK(interp_predict(net, x, n, got) == INTERP_NO_MEMORY);
    CHECK(memcmp(got, untouched, n * k * sizeof *got) == 0);
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    for (int batch = 64; batch > 0; batch /= 4) {
        interp_ctx *c = open_ctx(2);
        interp_net *other = arch(c, "cnn", 1, 12, 12, k);
        REQUIRE(other);
        size_t bytes, limit = interp_memory_read(c).used;
        d.batch = batch;
        REQUIRE_OK(c, interp_workspace_bytes(c, other, &d, &bytes));
        limit += bytes + itp_alloc_cost((size_t)batch * inputs * sizeof(float));
        limit =
            itp_max_size(limit, interp_memory_read(c).peak); /* building took more for a while */
        interp_memory_set_limit(c, limit);
        CHECK_OK(c, interp_predict(other, x, n, got));
        CHECK(interp_memory_read(c).peak <= limit);
        CHECK_NEAR(worst(got, want, n * k), 0, BATCH_TOLERANCE);
        interp_close(c);
    }
    interp_memory_set_limit(ctx, base + 40000); /* the error says what would be enough */
    CHECK(interp_predict(net, x, n, got) == INTERP_NO_MEMORY);
    const size_t need = number_after("the work needs at least ");
    CHECK(need > 40000 && number_after("but only ") == 40000);
    interp_memory_set_limit(ctx, base + need - 1);
    CHECK(interp_predict(net, x, n, got) == INTERP_NO_MEMORY);
    interp_memory_set_limit(ctx, base + need);
    CHECK_OK(ctx, interp_predict(net, x, n, got));
    interp_memory_set_limit(ctx, 0);
    CHECK(used() == base);
    CHECK(interp_predict(net, x, 0, got) == INTERP_BAD_ARGUMENT);
    x[70 * inputs + 3] = (float)NAN;
    CHECK(interp_predict(net, x, n, got) == INTERP_NOT_FINITE);
    CHECK(strstr(interp_error(ctx), "the output for samples 64 to 76 is NaN or infinite"));
    CHECK(used() == base);
    interp_net_free(net);
    free(x), free(want), free(got), free(untouched);
}

TEST(a_network_lives_and_runs_in_a_user_buffer)
{
    enum { n = 40, inputs = 64, k = 10 };
    interp_ctx *one = open_ctx(1);
    interp_net *net = arch(one, "lenet", 1, 8, 8, k);
    REQUIRE(net);
    float *x = normals(n * inputs, 1), *want = normals(n * k, 2), *got = normals(n * k, 3);
    REQUIRE_OK(one, interp_predict(net, x, n, want));
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.buffer_bytes = 6 * interp_net_describe(net).n_parameters * sizeof(float);
    d.buffer = malloc(d.buffer_bytes);
    interp_close(one);
    heap.fail_at = 1, heap.from_then_on = true, heap.calls = 0; /* no one asks the heap */
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free;
    interp_ctx *c = interp_open(&d);
    REQUIRE(c);
    net = arch(c, "lenet", 1, 8, 8, k);
    REQUIRE(net);
    const size_t before = interp_memory_read(c).used;
    CHECK_OK(c, interp_predict(net, x, n, got));
    CHECK_NEAR(worst(got, want, n * k), 0, BATCH_TOLERANCE);
    void *most = NULL; /* fill it up but for what a batch of 5 takes: the rest is cut to fit */
    size_t bytes, taken = d.buffer_bytes;
    interp_workspace_desc wd = options(5, INTERP_EVAL, false);
    REQUIRE_OK(c, interp_workspace_bytes(c, net, &wd, &bytes));
    while (!most) most = interp_alloc(c, taken -= 4096);
    interp_free(c, most);
    REQUIRE((most = interp_alloc(c, taken - bytes - 8192)) != NULL);
    const int fits = interp_workspace_fit(c, net, &wd, 40);
    CHECK(fits >= 5 && fits < 40);
    CHECK_OK(c, interp_predict(net, x, n, got));
    CHECK_NEAR(worst(got, want, n * k), 0, BATCH_TOLERANCE);
    interp_free(c, most);
    wd = options(1, INTERP_TRAIN, true);
    interp_workspace *w = workspace(c, net, &wd);
    const float *in = x;
    CHECK(w && !interp_forward(w, &in) && !interp_backward(w, x));
    interp_workspace_free(w);
    CHECK(interp_memory_read(c).used == before && heap.calls == 0);
    interp_close(c);
    heap.fail_at = 0;
    free(d.buffer);
    free(x), free(want), free(got);
}

#if !defined(INTERP_NO_THREADS)
typedef struct user {
    const interp_net *net;
    const float *x, *seed;
    float y[20], dx[128];
    bool ok;
} user;

/* A context and a workspace of its own on a net that others use at the same time. */
static void *use_net(void *arg)
{
    user *u = (user *)arg;
    interp_ctx *c = interp_open(NULL);
    interp_workspace *w = NULL;
    const interp_workspace_desc d = options(2, INTERP_EVAL, true);
    u->ok = c && !interp_workspace_new(c, u->net, &d, &w);
    for (int i = 0; u->ok && i < 30; i++)
        u->ok = !interp_forward(w, &u->x) && !interp_backward(w, u->seed);
    if (u->ok) {
        memcpy(u->y, interp_workspace_output(w, 0), sizeof u->y);
        memcpy(u->dx, interp_workspace_input_grad(w, 0), sizeof u->dx);
    }
    interp_close(c);
    return NULL;
}

TEST(one_network_serves_contexts_in_other_threads)
{
    static user users[3];
    interp_net *net = arch(ctx, "cnn", 1, 8, 8, 10);
    REQUIRE(net);
    float *x = normals(128, 1), *seed = normals(20, 2);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        users[i].net = net, users[i].x = x, users[i].seed = seed;
        if (i) REQUIRE(pthread_create(&threads[i], NULL, use_net, &users[i]) == 0);
    }
    for (int i = 1; i < 3; i++) pthread_join(threads[i], NULL);
    use_net(&users[0]);
    for (int i = 0; i < 3; i++) {
        CHECK(users[i].ok);
        CHECK(memcmp(users[i].y, users[0].y, sizeof users[0].y) == 0);
        CHECK(memcmp(users[i].dx, users[0].dx, sizeof users[0].dx) == 0);
    }
    interp_net_free(net);
    free(x), free(seed);
}
#endif

/* ---- metrics */

static const int32_t truth[10] = {0, 0, 0, 1, 1, 2, 2, 2, 2, 0};
static const int32_t guess[10] = {0, 1, 0, 1, 2, 2, 2, 0, 2, 0}; /* class 3 does not occur at all */

TEST(confusion_rows_are_truth_and_columns_predictions)
{
    static const int64_t counts[16] = {3, 1, 0, 0, 0, 1, 1, 0, 1, 0, 3, 0, 0, 0, 0, 0};
    static const double precision[4] = {0.75, 0.5, 0.75, 0}, recall[4] = {0.75, 0.5, 0.75, 0};
    const size_t before = used();
    interp_confusion c;
    REQUIRE_OK(ctx, interp_confusion_count(ctx, truth, guess, 10, 4, &c));
    CHECK(c.n_classes == 4 && memcmp(c.counts, counts, sizeof counts) == 0);
    CHECK_NEAR(c.accuracy, 0.7, 1e-15);
    static const int64_t support[4] = {4, 2, 4, 0};
    for (int i = 0; i < 4; i++) {
        CHECK(c.support[i] == support[i]);
        CHECK_NEAR(c.precision[i], precision[i], 1e-15);
        CHECK_NEAR(c.recall[i], recall[i], 1e-15);
        CHECK_NEAR(c.f1[i], precision[i], 1e-15); /* both are the same here */
    }
    for (int f = 0; f < 3; f++) {
        CHECK_NEAR(c.macro[f], 2.0 / 4, 1e-15);
        CHECK_NEAR(c.weighted[f], 0.7, 1e-15);
    }
    interp_free(ctx, c.counts);
    /* a case where precision and recall differ: class 1 twice predicted, once true */
    static const int32_t t[4] = {0, 0, 0, 1}, g[4] = {0, 0, 1, 1};
    REQUIRE_OK(ctx, interp_confusion_count(ctx, t, g, 4, 2, &c));
    CHECK(c.counts[1] == 1 && c.counts[2] == 0);
    CHECK_NEAR(c.precision[0], 1, 1e-15);
    CHECK_NEAR(c.recall[0], 2.0 / 3, 1e-15);
    CHECK_NEAR(c.f1[0], 0.8, 1e-15);
    CHECK_NEAR(c.precision[1], 0.5, 1e-15);
    CHECK_NEAR(c.recall[1], 1, 1e-15);
    CHECK_NEAR(c.f1[1], 2.0 / 3, 1e-15);
    CHECK_NEAR(c.weighted[2], 0.75 * 0.8 + 0.25 * 2 / 3, 1e-15);
    interp_free(ctx, c.counts);
    CHECK_OK(ctx, interp_confusion_count(ctx, t, g, 0, 2, &c)); /* 0/0 counts as 0 */
    CHECK(c.accuracy == 0 && c.f1[1] == 0 && c.weighted[0] == 0);
    interp_free(ctx, c.counts);
    CHECK(interp_confusion_count(ctx, t, g, 4, 1, &c) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "sample 2 is 0, predicted 1, but there are 1 classes"));
    CHECK(interp_confusion_count(ctx, t, g, 4, 0, &c) == INTERP_BAD_ARGUMENT);
    CHECK(interp_confusion_count(ctx, t, g, 4, -1, &c) == INTERP_BAD_ARGUMENT);
    CHECK(used() == before);
}

TEST(confusion_is_scaled_by_rows_columns_or_all)
{
    interp_confusion c;
    double out[16];
    REQUIRE_OK(ctx, interp_confusion_count(ctx, truth, guess, 10, 4, &c));
    interp_confusion_normalize(&c, INTERP_NORMALIZE_NONE, out);
    for (int i = 0; i < 16; i++) CHECK(out[i] == (double)c.counts[i]);
    static const double columns[4] = {4, 2, 4, 1}; /* how often each class is predicted; 1: never */
    for (int i = 0; i < 16; i++) {
        const double n = (double)c.counts[i], row = (double)c.support[i / 4];
        interp_confusion_normalize(&c, INTERP_NORMALIZE_TRUE, out);
        CHECK_NEAR(out[i], row > 0 ? n / row : 0, 1e-15);
        interp_confusion_normalize(&c, INTERP_NORMALIZE_PRED, out);
        CHECK_NEAR(out[i], n / columns[i % 4], 1e-15);
        interp_confusion_normalize(&c, INTERP_NORMALIZE_ALL, out);
        CHECK_NEAR(out[i], n / 10, 1e-15);
    }
    interp_free(ctx, c.counts);
}

#if !defined(INTERP_NO_STDIO)
static const char *csv_path(void)
{
    static char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.200s/interp_test_net_%p.csv", tmp ? tmp : "/tmp", (void *)ctx);
    return path;
}

#define CSV_MEANS "macro,,,4,0.75,0.8333333,0.73333333\nweighted,,,4,0.875,0.75,0.76666667\n"

TEST(confusion_is_written_as_csv)
{
    static const int32_t t[4] = {0, 0, 0, 1}, g[4] = {0, 0, 1, 1};
    static const struct {
        bool names;
        const char *want;
    } rows[] = {
        {false, "truth,0,1,support,precision,recall,f1\n0,2,1,3,1,0.6666667,0.8\n"
                "1,0,1,1,0.5,1,0.6666667\n" CSV_MEANS},
        {true,
         "truth,\"a \"\"cat\"\"\",\"b,c\",support,precision,recall,f1\n"
         "\"a \"\"cat\"\"\",2,1,3,1,0.6666667,0.8\n\"b,c\",0,1,1,0.5,1,0.6666667\n" CSV_MEANS}};
    char cat[] = "a \"cat\"", bc[] = "b,c", *names[2] = {cat, bc};
    interp_confusion c;
    REQUIRE_OK(ctx, interp_confusion_count(ctx, t, g, 4, 2, &c));
    const size_t before = used();
    for (int i = 0; i < 2; i++) {
        char *text;
        size_t n;
        REQUIRE_OK(ctx,
                   interp_confusion_write_csv(ctx, csv_path(), &c, rows[i].names ? names : NULL));
        REQUIRE_OK(ctx, itp_file_read(ctx, csv_path(), &text, &n));
        CHECK_STR(text, rows[i].want);
        interp_free(ctx, text);
    }
    remove(csv_path());
    CHECK(interp_confusion_write_csv(ctx, "/no/such/folder/x.csv", &c, NULL) == INTERP_IO);
    CHECK(used() == before);
    interp_free(ctx, c.counts);
}
#endif

TEST(argmax_takes_the_first_of_equals_and_no_nan)
{
    const float nan = (float)NAN;
    const float a[5] = {1, 3, 3, 2, 0}, b[4] = {nan, -2, nan, -1}, c[2] = {nan, nan};
    const float d[3] = {-(float)INFINITY, -(float)INFINITY, nan};
    CHECK(interp_argmax(a, 5) == 1 && interp_argmax(b, 4) == 3 && interp_argmax(c, 2) == -1);
    CHECK(interp_argmax(d, 3) == 0 && interp_argmax(a, 0) == -1);
}

/* ---- failing allocations */

/* Calls `act` with the n-th allocation failing, n = 1, 2, .. until it is not reached; twice: that
   one alone, and all from it on. Nothing may leak. */
static void starve(const char *name, interp_status (*act)(void *arg), void *arg)
{
    const size_t before = used();
    for (int mode = 0; mode < 2; mode++)
        for (long n = 1; n < 10000; n++) {
            heap.calls = 0, heap.fail_at = n, heap.from_then_on = mode;
            const interp_status status = act(arg);
            const bool reached = heap.calls >= n;
            heap.fail_at = 0;
            if (used() != before || status != (reached ? INTERP_NO_MEMORY : INTERP_OK)) {
                test_fail(__FILE__, __LINE__, "%s: allocation %ld: %s, %zu bytes left", name, n,
                          interp_status_name(status), used() - before);
                return;
            }
            if (!reached) break;
        }
}

static interp_status act_arch(void *arg)
{
    interp_net *net = NULL;
    const interp_shape s = shape(3, 1, 8, 8);
    const interp_status status = interp_net_arch(ctx, (const char *)arg, &s, 10, 1, &net);
    if (status) CHECK(!net);
    interp_net_free(net);
    return status;
}

static interp_status act_build(void *arg)
{
    (void)arg;
    interp_net *net = interp_net_new(ctx, "attention");
    const interp_shape s = shape(2, 6, 8, 1);
    if (!net) return INTERP_NO_MEMORY;
    interp_tensor x = interp_layer_norm(net, interp_input(net, NULL, &s), NULL);
    x = interp_add(net, x, interp_self_attention(net, x, 2));
    const interp_tensor both[2] = {x, interp_parameter(net, NULL, &s, INTERP_UNIFORM, 1, 1)};
    interp_output(net, interp_add(net, both[0], both[1]), "sum");
    const interp_status status = interp_net_build(net, 1);
    interp_net_free(net);
    return status;
}

static interp_status act_run(void *arg)
{
    interp_net *net = (interp_net *)arg;
    static float x[70 * 64], y[70 * 10];
    interp_workspace_desc d = options(3, INTERP_TRAIN, true);
    interp_workspace *w = NULL;
    size_t bytes;
    ITP_TRY(interp_workspace_bytes(ctx, net, &d, &bytes));
    ITP_TRY(interp_workspace_new(ctx, net, &d, &w));
    interp_workspace_free(w);
    return interp_predict(net, x, 70, y); /* one batch of 64, and one that is filled up */
}

static interp_status act_confusion(void *arg)
{
    (void)arg;
    interp_confusion c;
    interp_status status = interp_confusion_count(ctx, truth, guess, 10, 4, &c);
    if (status) return status;
#if !defined(INTERP_NO_STDIO)
    status = interp_confusion_write_csv(ctx, csv_path(), &c, NULL);
    remove(csv_path());
#endif
    interp_free(ctx, c.counts);
    return status;
}

TEST(every_failed_allocation_is_survived)
{
    static char names[][16] = {"cnn", "lenet", "mlp:64-20-10", "linear"};
    for (int i = 0; i < 4; i++) starve(names[i], act_arch, names[i]);
    starve("attention", act_build, NULL);
    starve("confusion", act_confusion, NULL);
    interp_net *net = arch(ctx, "lenet", 1, 8, 8, 10);
    REQUIRE(net);
    float x[64], before[10], after[10];
    for (int i = 0; i < 64; i++) x[i] = (float)i;
    CHECK_OK(ctx, interp_predict(net, x, 1, before));
    starve("running", act_run, net);
    CHECK_OK(ctx, interp_predict(net, x, 1, after));
    CHECK(memcmp(before, after, sizeof before) == 0);
    interp_net_free(net);
}

int main(int argc, char **argv)
{
    ctx = open_ctx(2);
    if (!ctx) return 1;
    RUN(builder_errors_are_kept_and_name_the_node);
    RUN(a_network_needs_an_input_and_an_output);
    RUN(a_built_network_takes_nothing_more);
    RUN(every_architecture_builds_runs_and_differentiates);
    RUN(an_architecture_that_does_not_fit_says_why);
    RUN(a_network_describes_itself);
    RUN(parameters_start_as_their_initialisation_says);
    RUN(window_sizes_match_hand_values);
    RUN(pools_treat_their_edges_as_stated);
    RUN(planned_memory_changes_no_result);
    RUN(reusing_memory_takes_less_of_it);
    RUN(a_sample_gives_the_same_in_any_batch);
    RUN(evaluation_after_training_uses_the_running_statistics);
    RUN(dropout_keeps_the_expectation_and_draws_anew_at_every_step);
    RUN(a_parameter_used_twice_gets_the_sum_of_both_gradients);
    RUN(every_output_of_a_network_can_be_read_and_differentiated);
    RUN(what_the_target_does_not_depend_on_gets_a_zero_gradient);
    RUN(gradients_match_central_differences);
    RUN(layers_are_kept_by_the_name_of_a_node_or_a_value);
    RUN(backward_wants_a_forward_pass_of_its_own);
    RUN(input_gradients_alone_take_less_memory);
    RUN(small_images_go_by_winograd_on_request);
    RUN(constant_weights_change_no_result);
    RUN(passes_allocate_nothing);
    RUN(passes_are_bit_identical_at_any_thread_count);
    RUN(workspace_bytes_are_exact);
    RUN(predict_splits_batches_to_keep_the_memory_limit);
    RUN(a_network_lives_and_runs_in_a_user_buffer);
#if !defined(INTERP_NO_THREADS)
    RUN(one_network_serves_contexts_in_other_threads);
#endif
    RUN(confusion_rows_are_truth_and_columns_predictions);
    RUN(confusion_is_scaled_by_rows_columns_or_all);
#if !defined(INTERP_NO_STDIO)
    RUN(confusion_is_written_as_csv);
#endif
    RUN(argmax_takes_the_first_of_equals_and_no_nan);
    RUN(every_failed_allocation_is_survived);
    interp_close(ctx);
    if (heap.held) printf("  FAILED: %zu bytes were never freed\n", heap.held), test_state.failed++;
    return test_end(argc, argv);
}

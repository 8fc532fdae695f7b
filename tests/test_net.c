/* Networks: building and its errors, memory plans, forward and backward passes, metrics. */
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

/* Between a sample run alone and within a batch: the same sums in another order, relative to the
   largest output. */
#define BATCH_TOLERANCE 1e-6

static interp_ctx *ctx; /* of all tests that do not open their own */

static struct {
    long calls, fail_at; /* 0: never fails */
    bool from_then_on;
    size_t held;
} heap;

static void *heap_alloc(size_t bytes, size_t align, void *user)
{
    (void)user;
    heap.calls++;
    if (heap.fail_at && (heap.from_then_on ? heap.calls >= heap.fail_at : heap.calls == heap.fail_at))
        return NULL;
    heap.held += bytes;
    return aligned_alloc(align, bytes);
}

static void heap_free(void *p, size_t bytes, void *user)
{
    (void)user;
    heap.held -= bytes;
    free(p);
}

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

static bool finite(const float *x, size_t n)
{
    return itp_is_finite(x, n);
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

typedef interp_tensor (*build_fn)(interp_net *net, interp_tensor x);

static interp_tensor conv_of(interp_net *net, interp_tensor x, int channels, int kernel, int groups,
                             const char *name)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = channels, d.kernel[0] = kernel, d.groups = groups, d.name = name;
    return interp_conv2d(net, x, &d);
}

static interp_tensor zeros(interp_net *net, int rank, int a, int b, int c)
{
    static const float none[1000] = {0};
    const interp_shape s = shape(rank, a, b, c);
    return interp_constant(net, &s, none);
}

static interp_tensor bad_groups(interp_net *net, interp_tensor x) { return conv_of(net, x, 4, 3, 2, NULL); }
static interp_tensor bad_window(interp_net *net, interp_tensor x) { return conv_of(net, x, 4, 9, 1, "stem"); }
static interp_tensor bad_stride(interp_net *net, interp_tensor x)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.stride[0] = -1;
    return interp_conv2d(net, x, &d);
}
static interp_tensor bad_rank(interp_net *net, interp_tensor x)
{
    return conv_of(net, interp_flatten(net, x), 4, 3, 1, NULL);
}
static interp_tensor huge_kernel(interp_net *net, interp_tensor x) { return conv_of(net, x, 4, 70000, 1, NULL); }
static interp_tensor bad_pool(interp_net *net, interp_tensor x)
{
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = INTERP_POOL_AVERAGE, d.kernel[0] = 9, d.kernel[1] = 2;
    return interp_pool2d(net, x, &d);
}
static interp_tensor bad_add(interp_net *net, interp_tensor x) { return interp_add(net, x, zeros(net, 1, 7, 1, 1)); }
static interp_tensor bad_matmul(interp_net *net, interp_tensor x) { return interp_matmul(net, x, zeros(net, 2, 7, 3, 1)); }
static interp_tensor bad_concat(interp_net *net, interp_tensor x)
{
    const interp_tensor both[2] = {x, zeros(net, 3, 1, 5, 8)};
    return interp_concat(net, 2, both, 1);
}
static interp_tensor no_concat(interp_net *net, interp_tensor x) { return interp_concat(net, 0, &x, 1); }
static interp_tensor bad_reshape(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape(2, 0, 7, 1);
    return interp_reshape(net, x, &s);
}
static interp_tensor bad_reshape_rank(interp_net *net, interp_tensor x)
{
    interp_shape s = shape(3, 0, 7, 1);
    s.rank = INTERP_MAX_RANK + 1;
    return interp_reshape(net, x, &s);
}
static interp_tensor bad_axis(interp_net *net, interp_tensor x) { return interp_softmax(net, x, 4); }
static interp_tensor bad_slice(interp_net *net, interp_tensor x) { return interp_slice(net, x, 1, 3, 3, false); }
static interp_tensor bad_perm(interp_net *net, interp_tensor x)
{
    static const int perm[4] = {0, 1, 1, 3};
    return interp_transpose(net, x, perm);
}
static interp_tensor bad_dropout(interp_net *net, interp_tensor x) { return interp_dropout(net, x, 1); }
static interp_tensor bad_units(interp_net *net, interp_tensor x) { return interp_dense(net, x, 0, NULL); }
static interp_tensor bad_dense(interp_net *net, interp_tensor x)
{
    (void)x;
    return interp_dense(net, zeros(net, 0, 1, 1, 1), 3, NULL);
}
static interp_tensor bad_heads(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape(3, 0, 5, 64);
    return interp_self_attention(net, interp_reshape(net, x, &s), 5);
}
static interp_tensor bad_tensor(interp_net *net, interp_tensor x) { return interp_relu(net, x + 98); }
static interp_tensor bad_activation(interp_net *net, interp_tensor x)
{
    return interp_activate(net, x, (interp_activation)99, 0);
}
static interp_tensor twice_named(interp_net *net, interp_tensor x)
{
    return conv_of(net, conv_of(net, x, 5, 3, 1, "same"), 5, 3, 1, "same");
}
static interp_tensor twice_named_node(interp_net *net, interp_tensor x)
{
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.name = "p";
    const interp_tensor y = interp_pool2d(net, x, &d);
    interp_output(net, y, "other"); /* its value has another name now */
    return interp_pool2d(net, y, &d);
}
static interp_tensor twice_named_output(interp_net *net, interp_tensor x)
{
    interp_output(net, interp_relu(net, x), "input");
    return x;
}
static interp_tensor bad_constant(interp_net *net, interp_tensor x)
{
    interp_shape s = shape(2, 3, 4, 1);
    (void)x;
    s.dim[1] = -1;
    return interp_constant(net, &s, NULL);
}
static interp_tensor second_input(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape(1, 3, 1, 1);
    (void)x;
    return interp_input(net, NULL, &s);
}
static interp_tensor empty_input(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape(2, 3, 0, 1);
    (void)x;
    return interp_input(net, "b", &s);
}
static interp_tensor too_many(interp_net *net, interp_tensor x)
{
    interp_tensor all[70];
    for (int i = 0; i < 70; i++) all[i] = x;
    return interp_concat(net, 70, all, 1);
}
static interp_tensor bad_gate(interp_net *net, interp_tensor x)
{
    return interp_mul(net, x, interp_batch_norm(net, 0, NULL)); /* 0: an error before, or none yet */
}

TEST(builder_errors_are_kept_and_name_the_node)
{
    static const struct {
        build_fn build;
        interp_status status;
        const char *says;
    } rows[] = {
        {bad_groups, INTERP_BAD_SHAPE,
         "conv2d \"conv1\": input [1,5,8,8] does not go with 4 channels in 2 groups"},
        {bad_window, INTERP_BAD_SHAPE,
         "Conv \"stem\": window 9x9 (dilation 1,1) is larger than the padded input [1,5,8,8]"},
        {bad_stride, INTERP_BAD_SHAPE,
         "Conv \"conv1\": kernel, stride and dilation must be at least 1, pads at least 0"},
        {bad_rank, INTERP_BAD_SHAPE, "conv2d \"conv1\": input [1,320] does not go with"},
        {huge_kernel, INTERP_BAD_SHAPE, "\"conv1.weight\" would have more than 2^31 numbers"},
        {bad_pool, INTERP_BAD_SHAPE,
         "AveragePool \"pool1\": window 9x2 (dilation 1,1) is larger than the padded input [1,5,8,8]"},
        {bad_add, INTERP_BAD_SHAPE, "Add \"add1\": [1,5,8,8] and [7] do not broadcast"},
        {bad_matmul, INTERP_BAD_SHAPE,
         "MatMul \"matmul1\": [1,5,8,8] has rows of 8 but [7,3] has columns of 7"},
        {bad_concat, INTERP_BAD_SHAPE,
         "Concat \"concat1\": [1,5,8,8] and [1,5,8] cannot be joined along axis 1"},
        {no_concat, INTERP_BAD_ARGUMENT, "concat: 0 tensors"},
        {bad_reshape, INTERP_BAD_SHAPE, "Reshape \"reshape1\": [1,5,8,8] cannot become [0,7]"},
        {bad_reshape_rank, INTERP_BAD_SHAPE,
         "Reshape \"reshape1\": 9 dimensions are not supported"},
        {bad_axis, INTERP_BAD_SHAPE, "Softmax \"softmax1\": axis 4 of a tensor with 4 dimensions"},
        {bad_slice, INTERP_BAD_SHAPE, "Slice \"slice1\": entries 3 to 5 of a dimension of 5"},
        {bad_perm, INTERP_BAD_SHAPE,
         "Transpose \"transpose1\": the permutation does not name each of 4 dimensions once"},
        {bad_dropout, INTERP_BAD_ARGUMENT, "dropout: probability 1 is not in [0, 1)"},
        {bad_units, INTERP_BAD_ARGUMENT, "dense: 0 units"},
        {bad_dense, INTERP_BAD_SHAPE, "dense: input has 0 dimensions but needs [N,...]"},
        {bad_heads, INTERP_BAD_SHAPE, "self-attention: 5 heads do not divide input [1,5,64]"},
        {bad_tensor, INTERP_BAD_ARGUMENT, "tensor 99 is not one of network \"bad\""},
        {bad_activation, INTERP_BAD_ARGUMENT, "activation 99 is not known"},
        {twice_named, INTERP_BAD_ARGUMENT, "two parameters are named \"same.weight\""},
        {twice_named_node, INTERP_BAD_ARGUMENT, "two nodes are named \"p\""},
        {twice_named_output, INTERP_BAD_ARGUMENT, "two values are named \"input\""},
        {bad_constant, INTERP_BAD_SHAPE, "\"const1\" would have more than 2^31 numbers"},
        {second_input, INTERP_BAD_ARGUMENT, "two inputs are named \"input\""},
        {empty_input, INTERP_BAD_SHAPE, "input: dimension 1 is 0"},
        {too_many, INTERP_UNSUPPORTED, "Concat \"concat1\" has 70 inputs; at most 64 are supported"},
        {bad_gate, INTERP_BAD_ARGUMENT, "tensor 0 is not one of network \"bad\""},
    };
    const interp_shape s = shape(3, 5, 8, 8);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const size_t before = used();
        interp_net *net = interp_net_new(ctx, "bad");
        REQUIRE(net);
        const interp_tensor y = rows[i].build(net, interp_input(net, NULL, &s));
        CHECK(i == 23 || y == 0);
        interp_tensor z = interp_dense(net, y, 3, NULL); /* all that follows does nothing */
        CHECK(z == 0 && interp_relu(net, z) == 0 && interp_input(net, "c", &s) == 0);
        interp_output(net, z, "out");
        interp_fail(ctx, INTERP_IO, "something else went wrong in between");
        const interp_status status = interp_net_build(net, 1);
        if (status != rows[i].status || !strstr(interp_error(ctx), rows[i].says))
            test_fail(__FILE__, __LINE__, "row %zu: %s \"%s\", want \"%s\"", i,
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
        CHECK(finite(y, k) && worst(y, seed, k) > 0);
        CHECK(interp_workspace_target_size(w) == (size_t)a->classes);
    }
    if (w && !large) {
        CHECK_OK(ctx, interp_backward(w, seed));
        const float *dx = interp_workspace_input_grad(w, 0), *dp = interp_workspace_param_grad(w);
        CHECK(finite(dx, n) && finite(dp, info.n_parameters));
        for (int i = 0; i < interp_net_parameter_count(net); i++) {
            const interp_parameter_info p = interp_net_parameter(net, i);
            float most = 0;
            for (size_t q = 0; q < interp_shape_size(&p.shape); q++)
                most = fmaxf(most, fabsf(dp[p.offset + q]));
            if (!(most > 0)) test_fail(__FILE__, __LINE__, "%s: no gradient of %s", a->name, p.name);
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
        {"mobilenet-v2", {1, 8, 8}, 10, 0},
        {"efficientnet-b0", {1, 8, 8}, 10, 0},
        {"resnet18", {3, 224, 224}, 1000, 11689512},
        {"mobilenet-v2", {3, 224, 224}, 1000, 3504872},
        {"efficientnet-b0", {3, 224, 224}, 1000, 5288548},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) try_arch(&rows[i]);
}

TEST(an_architecture_that_does_not_fit_says_why)
{
    static const struct {
        const char *name;
        int rank, sample[3], classes;
        interp_status status;
        const char *says;
    } rows[] = {
        {"resnet", 3, {3, 8, 8}, 10, INTERP_BAD_ARGUMENT, "architecture \"resnet\" is not known: linear,"},
        {"mlp:64-10", 3, {1, 9, 8}, 10, INTERP_BAD_ARGUMENT,
         "mlp:64-10: the data has 72 inputs and 10 classes, so the widths must begin with 72 and end "
         "with 10"},
        {"mlp:64-11", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "end with 10"},
        {"mlp:64", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "begin with 64"},
        {"mlp:", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths like 784-100-50-10"},
        {"mlp:64--10", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-10x", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-99999999-10", 3, {1, 8, 8}, 10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"mlp:64-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-10", 3, {1, 8, 8},
         10, INTERP_BAD_ARGUMENT, "give up to 32 widths"},
        {"cnn", 1, {13, 1, 1}, 3, INTERP_BAD_SHAPE,
         "cnn needs images [C,H,W] but samples are [13]: use linear or mlp:..."},
        {"vgg-half", 3, {1, 8, 8}, 10, INTERP_BAD_SHAPE, "MaxPool \"pool4\": window 2x2"},
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
    static const char *const ops[] = {"Conv", "Relu",    "MaxPool", "Conv",  "Relu", "MaxPool", "Flatten",
                                      "Dropout", "Gemm", "Relu",    "Dropout", "Gemm"};
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
    enum { fan_in = 150, fan_out = 100, n = fan_in * fan_out };
    static const struct {
        interp_init init;
        double sd, limit; /* limit 0: none */
    } rows[] = {
        {INTERP_INIT_DEFAULT, 0.11547, 0},       {INTERP_HE_NORMAL, 0.11547, 0},
        {INTERP_HE_UNIFORM, 0.11547, 0.2},       {INTERP_GLOROT_NORMAL, 0.0894427, 0},
        {INTERP_GLOROT_UNIFORM, 0.0894427, 0.154919}, {INTERP_UNIFORM, 0.0471405, 0.0816497},
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
            if (rows[i].limit > 0) CHECK(most <= rows[i].limit * 1.000001 && most > rows[i].limit * 0.98);
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
    } rows[] = {
        {5, 2, 2, 0, 0, 0, 0, 2, 0}, {5, 2, 2, 0, 0, 0, 1, 3, 0}, {4, 3, 2, 1, 1, 0, 0, 2, 1},
        {4, 3, 2, 1, 1, 0, 1, 3, 1}, {3, 2, 2, 1, 1, 0, 1, 2, 1}, /* the last would begin in the pad */
        {6, 3, 2, 0, 0, 0, 1, 3, 0}, {7, 3, 2, 0, 0, 1, 0, 4, 1}, {8, 3, 2, 0, 0, 1, 0, 4, 0},
        {5, 4, 1, 0, 0, 1, 0, 5, 1}, {5, 1, 3, 0, 0, 1, 0, 2, 0}, {2, 5, 1, 2, 2, 0, 0, 2, 2},
        {9, 9, 1, 0, 0, 0, 0, 1, 0}, {112, 3, 2, 1, 1, 0, 0, 56, 1}, {7, 2, 3, 0, 1, 0, 0, 3, 0},
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
    static const float last[4] = {1, 3, 5, 2}, last_real[4] = {1.5f, 3, 5, 6};
    row_pool(INTERP_POOL_AVERAGE, 1, false, false, false, exclude, 3);
    row_pool(INTERP_POOL_AVERAGE, 1, false, true, false, include, 3);
    row_pool(INTERP_POOL_AVERAGE, 0, true, false, false, overhang, 3);
    row_pool(INTERP_POOL_AVERAGE, 0, true, true, false, overhang, 3); /* what overhangs never counts */
    row_pool(INTERP_POOL_AVERAGE, 0, false, false, true, overhang, 3); /* the extra is at the end */
    row_pool(INTERP_POOL_MAX, 0, true, false, false, most, 3);
    row_pool(INTERP_POOL_MAX, 1, false, false, false, padded, 3);
    (void)last, (void)last_real;
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
        d.kernel[0] = 1 + pick(g, itp_min(3, edge)), d.stride[0] = 1 + pick(g, 2), d.same = pick(g, 2);
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
        return interp_slice(g->net, x, axis, perm[0], 1 + pick(g, s->dim[axis] - perm[0]), pick(g, 2) && s->rank > 2);
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
    case 2: return interp_div(g->net, x, interp_activate(g->net, interp_add(g->net, interp_activate(g->net, y, INTERP_SOFTPLUS, 0), y), INTERP_HARD_SIGMOID, 0.3f) ? interp_activate(g->net, y, INTERP_SOFTPLUS, 0) : x);
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
    for (float *at = (float *)(void *)w->block; (char *)at < block + b->bytes; at++) *at = (float)NAN;
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
        if (p >= 0 && w->runs[p] && !itp_is_alias(w, &net->nodes[p]))
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
    size_t n, outputs, inputs, params, kept, kept_grad; /* where each part begins; kept_grad: ends */
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
    for (int i = 0; i < net->n_params; i++) { /* by array: the reference has each in a place of its own */
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
    static const char *const names[] = {"own memory", "keep", "reuse", "keep all", "no gradients",
                                        "input gradients", "parameter gradients"};
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
                    test_fail(__FILE__, __LINE__, "graph %d, batch %d, mode %d: %s differs (run %d)",
                              (int)seed, batch, (int)d.mode, names[kind], again);
                free(s.x);
            }
        for (int i = 0; i < n_own; i++) free(list[i]);
        interp_workspace_free(w);
    }
    const bool ok = finite(truth.x, truth.n);
    free(out_seed), free(truth.x), free(x[0]), free(x[1]);
    interp_net_free(net);
    return ok;
}

TEST(planned_memory_changes_no_result)
{
    enum { graphs = 300 };
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


/* Models written, read and refused: every op's round trip, the reference models, version traps of
   ONNX, damaged and hostile input, weights by name. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

/* Reference logits are float64; float32 stays within this share of the largest. */
#define LOGITS_TOLERANCE 1e-5
/* ONNX Runtime's float32 outputs of deeper models, the bound the references came with. */
#define RUNTIME_TOLERANCE 1e-4
/* One op in float32 against the same numbers by hand. */
#define OP_TOLERANCE 1e-6

#define REFS "../shared/refs/"

/* ---- a context whose allocator can be told to fail */

static interp_ctx *ctx;
static char folder[256];

static const char *at(const char *name)
{
    static char path[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[0], "%s/%s", folder, name);
    return path[next];
}

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

/* ---- running networks */

static void fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(seed, 1, i);
}

/* Output 0 for a batch of random samples; the caller frees it. */
static float *outputs_of(interp_net *net, int batch, size_t *n)
{
    interp_workspace_desc d;
    interp_workspace *w = NULL;
    const float *inputs[ITP_MAX_INPUTS];
    float *x[ITP_MAX_INPUTS];
    memset(&d, 0, sizeof d);
    d.batch = batch;
    if (interp_workspace_new(ctx, net, &d, &w)) return NULL;
    for (int i = 0; i < net->n_inputs; i++) {
        const interp_shape s = interp_net_input_shape(net, i);
        const size_t size = interp_shape_size(&s) * (size_t)batch;
        x[i] = (float *)interp_alloc(ctx, size * sizeof(float));
        fill(x[i], size, 40 + (uint64_t)i);
        inputs[i] = x[i];
    }
    float *y = NULL;
    if (interp_forward(w, inputs) == INTERP_OK) {
        *n = interp_workspace_target_size(w) * (size_t)batch;
        y = (float *)interp_alloc(ctx, *n * sizeof *y);
        memcpy(y, interp_workspace_target(w), *n * sizeof *y);
    }
    interp_workspace_free(w);
    for (int i = 0; i < net->n_inputs; i++) interp_free(ctx, x[i]);
    return y;
}

static bool same_outputs(interp_net *a, interp_net *b, int batch)
{
    size_t n = 0, m = 1;
    float *x = outputs_of(a, batch, &n), *y = outputs_of(b, batch, &m);
    const bool same = x && y && n == m && !memcmp(x, y, n * sizeof *x);
    interp_free(ctx, x);
    interp_free(ctx, y);
    return same;
}

/* Random numbers where building leaves zeros and ones. */
static void shake(interp_net *net)
{
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        const size_t n = interp_shape_size(&v->shape);
        if (v->kind == ITP_BUFFER || (v->kind == ITP_PARAM && v->shape.rank == 1))
            for (size_t k = 0; k < n; k++)
                v->data[k] = 0.5f + interp_random_uniform(9, (uint64_t)i, k);
    }
}

/* Written, read, and the same: outputs, parameters and their order, and what is written again. */
static void check_round_trip(interp_net *net, int batch)
{
    void *bytes = NULL, *again = NULL;
    size_t n = 0, m = 0;
    interp_net *back = NULL;
    REQUIRE_OK(ctx, interp_onnx_serialize(net, &bytes, &n));
    REQUIRE_OK(ctx, interp_onnx_serialize(net, &again, &m));
    CHECK(n == m && !memcmp(bytes, again, n));
    interp_free(ctx, again);
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &back));
    CHECK(back->fixed_batch == net->fixed_batch);
    CHECK(same_outputs(net, back, batch));
    CHECK(back->n_nodes == net->n_nodes);
    CHECK(back->n_flat == net->n_flat && back->n_params == net->n_params);
    if (back->n_flat == net->n_flat)
        CHECK(!memcmp(back->flat, net->flat, net->n_flat * sizeof *net->flat));
    for (int i = 0; i < net->n_params && i < back->n_params; i++)
        CHECK_STR(interp_net_parameter(back, i).name, interp_net_parameter(net, i).name);
    for (int i = 0; i < net->n_nodes && i < back->n_nodes; i++) {
        CHECK_STR(interp_net_node_name(back, i), interp_net_node_name(net, i));
        CHECK_STR(interp_net_node_op(back, i), interp_net_node_op(net, i));
        CHECK_STR(back->values[back->nodes[i].out].name, net->values[net->nodes[i].out].name);
    }
    for (int i = 0; i < net->n_outputs; i++)
        CHECK_STR(interp_net_output_name(back, i), interp_net_output_name(net, i));
    REQUIRE_OK(ctx, interp_onnx_serialize(back, &again, &m));
    interp_net *third = NULL;
    CHECK_OK(ctx, interp_onnx_parse(ctx, again, m, NULL, &third));
    interp_free(ctx, bytes);
    CHECK_OK(ctx, interp_onnx_serialize(third, &bytes, &n));
    CHECK(n == m && !memcmp(bytes, again, n)); /* what was read is written as it was */
    interp_free(ctx, again);
    interp_free(ctx, bytes);
    interp_net_free(back);
    interp_net_free(third);
}

/* ---- every op */

static interp_shape shape_of(int rank, int a, int b, int c, int d)
{
    return itp_shape_of(rank, a, b, c, d);
}

static interp_tensor op_conv(interp_net *net, interp_tensor x)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = 4, d.kernel[0] = 3, d.kernel[1] = 2, d.stride[0] = 2, d.pad[0] = 1, d.pad[3] = 1;
    d.dilation[1] = 2;
    return interp_conv2d(net, x, &d);
}

static interp_tensor op_conv_same(interp_net *net, interp_tensor x)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.same = true, d.kernel[0] = 4, d.stride[0] = 3, d.no_bias = true;
    return interp_conv2d(net, x, &d);
}

static interp_tensor op_depthwise(interp_net *net, interp_tensor x)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.groups = 2, d.channels = 6, d.same = true;
    return interp_conv2d(net, x, &d);
}

static interp_tensor pool_of(interp_net *net, interp_tensor x, interp_pool kind, bool same,
                             bool ceil, bool pads)
{
    interp_pool2d_desc d;
    memset(&d, 0, sizeof d);
    d.kind = kind, d.same = same, d.ceil_mode = ceil, d.count_include_pad = pads;
    d.kernel[0] = 3, d.stride[0] = 2;
    if (pads && !same) d.pad[0] = d.pad[1] = d.pad[2] = 1;
    return interp_pool2d(net, x, &d);
}

static interp_tensor op_max_pool(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_MAX, false, true, false);
}

static interp_tensor op_max_pool_same(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_MAX, true, false, false);
}

static interp_tensor op_average_pool(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_AVERAGE, false, true, true);
}

static interp_tensor op_average_pool_same(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_AVERAGE, true, false, false);
}

static interp_tensor op_average_pool_same_pads(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_AVERAGE, true, false, true);
}

static interp_tensor op_global_average(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_GLOBAL_AVERAGE, false, false, false);
}

static interp_tensor op_global_max(interp_net *net, interp_tensor x)
{
    return pool_of(net, x, INTERP_POOL_GLOBAL_MAX, false, false, false);
}

static interp_tensor op_batch_norm(interp_net *net, interp_tensor x)
{
    interp_norm_desc d;
    memset(&d, 0, sizeof d);
    d.epsilon = 1e-3f, d.momentum = 0.75f;
    return interp_batch_norm(net, x, &d);
}

static interp_tensor op_layer_norm(interp_net *net, interp_tensor x)
{
    return interp_layer_norm(net, x, NULL);
}

static interp_tensor op_dense(interp_net *net, interp_tensor x)
{
    return interp_dense(net, x, 3, NULL);
}

static interp_tensor op_dense_rows(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape_of(3, 0, 4, 18, 1);
    return interp_dense(net, interp_reshape(net, x, &s), 3, NULL);
}

static interp_tensor op_softmax(interp_net *net, interp_tensor x)
{
    return interp_softmax(net, x, 1);
}

static interp_tensor op_log_softmax(interp_net *net, interp_tensor x)
{
    return interp_log_softmax(net, x, -1);
}

static interp_tensor op_arithmetic(interp_net *net, interp_tensor x)
{
    const float three = 3, weights[6] = {1, 2, 3, 4, 5, 6};
    const interp_shape scalar = shape_of(0, 1, 1, 1, 1), row = shape_of(1, 6, 1, 1, 1);
    interp_tensor y = interp_sub(net, x, interp_constant(net, &scalar, &three));
    y = interp_mul(net, y, interp_constant(net, &row, weights));
    y = interp_div(net, y,
                   interp_add(net, interp_mul(net, x, y), interp_constant(net, &scalar, &three)));
    return y;
}

static interp_tensor op_parameter(interp_net *net, interp_tensor x)
{
    const interp_shape row = shape_of(1, 6, 1, 1, 1);
    interp_tensor p = interp_parameter(net, "scale", &row, INTERP_HE_NORMAL, 6, 6);
    return interp_div(net, interp_add(net, interp_mul(net, x, p), p), p);
}

static interp_tensor op_concat(interp_net *net, interp_tensor x)
{
    const interp_tensor three[3] = {x, interp_relu(net, x), x};
    return interp_concat(net, 3, three, -2);
}

static interp_tensor op_transpose(interp_net *net, interp_tensor x)
{
    static const int perm[4] = {0, 2, 3, 1};
    return interp_transpose(net, x, perm);
}

static interp_tensor op_slice(interp_net *net, interp_tensor x)
{
    return interp_slice(net, x, -1, 1, 3, false);
}

static interp_tensor op_slice_drop(interp_net *net, interp_tensor x)
{
    return interp_slice(net, interp_slice(net, x, 1, 1, 1, true), 2, 4, 1, true);
}

static interp_tensor op_reshape(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape_of(3, -1, 4, 18, 1), t = shape_of(2, 0, -1, 1, 1);
    return interp_reshape(net, interp_relu(net, interp_reshape(net, x, &s)), &t);
}

static interp_tensor op_dropout(interp_net *net, interp_tensor x)
{
    return interp_dropout(net, interp_flatten(net, x), 0.3f);
}

static interp_tensor op_matmul(interp_net *net, interp_tensor x)
{
    static const int perm[4] = {0, 1, 3, 2};
    return interp_matmul(net, x, interp_transpose(net, x, perm));
}

static interp_tensor op_attention(interp_net *net, interp_tensor x)
{
    const interp_shape s = shape_of(3, 0, 6, 12, 1);
    return interp_self_attention(net, interp_reshape(net, x, &s), 3);
}

/* An op that has no builder of its own. */
static interp_tensor direct(interp_net *net, interp_tensor x, int op, float alpha, float beta)
{
    const int in = x - 1;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = alpha, a.beta = beta;
    return itp_add_named(net, op, NULL, "op", 1, &in, &a);
}

static interp_tensor op_unary_rest(interp_net *net, interp_tensor x)
{
    interp_tensor y = direct(net, x, ITP_OP_ABS, 0, 0);
    y = direct(net, direct(net, y, ITP_OP_CLIP, 0.5f, 2), ITP_OP_LOG, 0, 0);
    y = direct(net, direct(net, y, ITP_OP_ERF, 0, 0), ITP_OP_EXP, 0, 0);
    y = direct(net, direct(net, y, ITP_OP_SQUARE, 0, 0), ITP_OP_SQRT, 0, 0);
    y = direct(net, direct(net, y, ITP_OP_RECIPROCAL, 0, 0), ITP_OP_NEG, 0, 0);
    return direct(net, y, ITP_OP_IDENTITY, 0, 0);
}

static interp_tensor op_gemm(interp_net *net, interp_tensor x)
{
    const interp_shape ws = shape_of(2, 5, 72, 1, 1), bs = shape_of(2, 1, 1, 1, 1);
    const int in[3] = {interp_flatten(net, x) - 1,
                       interp_parameter(net, "w", &ws, INTERP_HE_NORMAL, 72, 5) - 1,
                       interp_parameter(net, "b", &bs, INTERP_HE_NORMAL, 1, 1) - 1};
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = 0.5f, a.beta = 2, a.trans_b = true;
    return itp_add_named(net, ITP_OP_GEMM, NULL, "gemm", 3, in, &a);
}

TEST(every_op_survives_the_round_trip)
{
    static const struct {
        const char *name;
        interp_tensor (*build)(interp_net *net, interp_tensor x);
    } ops[] = {{"conv", op_conv},
               {"conv same", op_conv_same},
               {"depthwise", op_depthwise},
               {"max pool", op_max_pool},
               {"max pool same", op_max_pool_same},
               {"average pool", op_average_pool},
               {"average pool same", op_average_pool_same},
               {"average pool same with pads", op_average_pool_same_pads},
               {"global average", op_global_average},
               {"global max", op_global_max},
               {"batch norm", op_batch_norm},
               {"layer norm", op_layer_norm},
               {"dense", op_dense},
               {"dense rows", op_dense_rows},
               {"softmax", op_softmax},
               {"log softmax", op_log_softmax},
               {"arithmetic", op_arithmetic},
               {"parameter", op_parameter},
               {"concat", op_concat},
               {"transpose", op_transpose},
               {"slice", op_slice},
               {"slice drop", op_slice_drop},
               {"reshape", op_reshape},
               {"dropout", op_dropout},
               {"matmul", op_matmul},
               {"attention", op_attention},
               {"unary", op_unary_rest},
               {"gemm", op_gemm}};
    const interp_shape sample = shape_of(3, 2, 6, 6, 1);
    const size_t before = used();
    for (size_t i = 0; i < sizeof ops / sizeof *ops + INTERP_RELU6 + 1; i++) {
        const size_t n = sizeof ops / sizeof *ops;
        const int bad = test_state.bad;
        interp_net *net = interp_net_new(ctx, i < n ? ops[i].name : "activation");
        const interp_tensor x = interp_input(net, NULL, &sample);
        interp_tensor y =
            i < n ? ops[i].build(net, x) : interp_activate(net, x, (interp_activation)(i - n), 0);
        interp_output(net, y, "y");
        REQUIRE_OK(ctx, interp_net_build(net, 3));
        shake(net);
        check_round_trip(net, 3);
        interp_net_free(net);
        if (test_state.bad > bad)
            printf("  (%s %d)\n", i < n ? ops[i].name : "activation", (int)(i - n));
    }
    CHECK(used() == before);
}

/* A network by name whose weights are quick to make; most of the time would go into drawing them. */
static interp_net *quick_arch(const char *name, const interp_shape *sample)
{
    interp_net *net = NULL;
    itp_arch row;
    if (!itp_arch_find(name, &row))
        return interp_net_arch(ctx, name, sample, 5, 1, &net) == INTERP_OK ? net : NULL;
    net = interp_net_new(ctx, name);
    interp_output(net, itp_arch_build(&row, net, interp_input(net, NULL, sample), 5), "logits");
    if (itp_net_finish(net)) return NULL;
    uint32_t state = 1;
    for (size_t i = 0; i < net->n_flat; i++) {
        state = state * 1664525u + 1013904223u;
        net->flat[i] = 0.1f * ((float)(state >> 8) / 8388608.0f - 1);
    }
    shake(net);
    return net;
}

TEST(architectures_survive_the_round_trip)
{
    static const struct {
        const char *name;
        int c, h, w;
    } archs[] = {{"linear", 1, 8, 8},       {"mlp:64-20-10-5", 1, 8, 8},
                 {"cnn", 1, 12, 12},        {"lenet", 1, 16, 16},
                 {"allcnn", 3, 10, 10},     {"resnet20", 3, 12, 12},
                 {"vgg-half", 1, 16, 16},   {"resnet18", 3, 8, 8},
                 {"mobilenet-v2", 3, 8, 8}, {"efficientnet-b0", 3, 8, 8}};
    const size_t before = used();
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        const interp_shape sample = shape_of(3, archs[i].c, archs[i].h, archs[i].w, 1);
        interp_net *net = quick_arch(archs[i].name, &sample);
        REQUIRE(net != NULL);
        check_round_trip(net, 2);
        interp_net_free(net);
    }
    CHECK(used() == before);
}

/* ---- models of others */

static bool have(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* Largest difference to the stored outputs, by the largest of them; -1 when something failed. */
static double error_against(interp_net *net, const char *inputs, const char *outputs)
{
    interp_array x = itp_array_none(), y = itp_array_none();
    double largest = 0, error = -1;
    if (interp_npy_read(ctx, inputs, &x) == INTERP_OK &&
        interp_npy_read(ctx, outputs, &y) == INTERP_OK &&
        interp_array_to_f32(ctx, &x) == INTERP_OK) {
        const size_t n = interp_shape_size(&y.shape);
        float *got = (float *)interp_alloc(ctx, n * sizeof *got);
        if (interp_predict(net, (const float *)x.data, x.shape.dim[0], got) == INTERP_OK) {
            error = 0;
            for (size_t i = 0; i < n; i++) {
                const double want = itp_array_at(&y, i);
                if (fabs((double)got[i] - want) > error) error = fabs((double)got[i] - want);
                if (fabs(want) > largest) largest = fabs(want);
            }
        }
        interp_free(ctx, got);
    }
    interp_array_free(ctx, &x);
    interp_array_free(ctx, &y);
    return error < 0 ? error : error / largest;
}

TEST(reference_models_give_their_outputs)
{
    static const struct {
        const char *model, *inputs, *outputs;
        double tolerance;
    } rows[] = {
#define LOGITS(name, file)                                                                         \
    {REFS "attribution/" name "/" file ".onnx", REFS "attribution/" name "/inputs.npy",            \
     REFS "attribution/" name "/logits.f64.npy", LOGITS_TOLERANCE}
#define RUNTIME(file, name)                                                                        \
    {                                                                                              \
        REFS "models/" file ".onnx", REFS "models/ref/" name ".in0.npy",                           \
            REFS "models/ref/" name ".out0.npy", RUNTIME_TOLERANCE                                 \
    }
        LOGITS("mlp", "model"),
        LOGITS("mlp_acts", "model"),
        LOGITS("lenet", "model"),
        LOGITS("resnet_mini_pool2", "model"),
        LOGITS("resnet_mini_pool2", "model_bnfused"),
        LOGITS("fish_effnet_mini", "model"),
        RUNTIME("mnist-8", "mnist-8"),
        RUNTIME("burn-mnist", "burn-mnist"),
        RUNTIME("mnistfc-256x4", "mnistfc-256x4"),
        RUNTIME("onnx2c-atmega-mnist", "onnx2c-atmega-mnist"),
        RUNTIME("cifar10-resnet_2b", "cifar10-resnet_2b"),
        RUNTIME("squeezenet-cifar10", "squeezenet-cifar10"),
        RUNTIME("super-resolution-10", "super-resolution-10"),
        RUNTIME("ultraface-slim-320-simplified", "ultraface-slim-320-simplified"),
        RUNTIME("synth-efficientnet-b0-op18", "synth-efficientnet-b0-op18"),
        RUNTIME("efficientnet-b0-ext", "synth-efficientnet-b0-op18"),
#undef LOGITS
#undef RUNTIME
    };
    if (!have(REFS "models/mnist-8.onnx")) SKIP(REFS " is not there");
    const size_t before = used();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        interp_net *net = NULL, *back = NULL;
        REQUIRE_OK(ctx, interp_onnx_load(ctx, rows[i].model, NULL, &net));
        const double error = error_against(net, rows[i].inputs, rows[i].outputs);
        if (!(error >= 0 && error < rows[i].tolerance))
            test_fail(__FILE__, __LINE__, "%s: error %g (%s)", rows[i].model, error,
                      interp_error(ctx));
        CHECK(interp_net_fixed_batch(net) == 0);
        REQUIRE_OK(ctx, interp_onnx_save(net, at("again.onnx")));
        REQUIRE_OK(ctx, interp_onnx_load(ctx, at("again.onnx"), NULL, &back));
        CHECK(net->n_flat == back->n_flat);
        CHECK(error_against(back, rows[i].inputs, rows[i].outputs) == error);
        interp_net_free(net);
        interp_net_free(back);
    }
    remove(at("again.onnx"));
    CHECK(used() == before);
}

TEST(a_real_photo_is_the_class_it_shows)
{
    static const struct {
        const char *photo;
        int label;
    } rows[] = {{REFS "models/ref/imagenet_dog_224.npy", 249},
                {REFS "models/ref/imagenet_eagle_224.npy", 22}};
    if (!have(rows[0].photo)) SKIP(REFS " is not there");
    interp_net *net = NULL;
    REQUIRE_OK(ctx, interp_onnx_load(ctx, REFS "models/mobilenetv2-dequant-op17.onnx", NULL, &net));
    for (int i = 0; i < 2; i++) {
        interp_array x = itp_array_none();
        float y[1000];
        REQUIRE_OK(ctx, interp_npy_read(ctx, rows[i].photo, &x));
        REQUIRE_OK(ctx, interp_array_to_f32(ctx, &x));
        CHECK_OK(ctx, interp_predict(net, (const float *)x.data, 1, y));
        CHECK(interp_argmax(y, 1000) == rows[i].label);
        interp_array_free(ctx, &x);
    }
    interp_net_free(net);
}

TEST(unsupported_models_are_named_with_node_op_and_opset)
{
    static const struct {
        const char *model, *sentence;
    } rows[] = {{REFS "models/silero_vad.onnx", "(opset 16): this op is not supported"},
                {REFS "models/superres-prepost-op18.onnx",
                 "DecodeImage \"pre_process_0\" (opset 18): ops of domain "
                 "\"com.microsoft.extensions\" are not supported"}};
    if (!have(rows[0].model)) SKIP(REFS " is not there");
    for (int i = 0; i < 2; i++) {
        interp_net *net = NULL;
        CHECK(interp_onnx_load(ctx, rows[i].model, NULL, &net) == INTERP_UNSUPPORTED);
        CHECK(strstr(interp_error(ctx), rows[i].sentence) != NULL);
        CHECK(!strncmp(interp_error(ctx), rows[i].model, strlen(rows[i].model)));
    }
}

/* ---- models made by hand, as any other writer might */

static struct {
    itp_buf graph, node, part, inner, model;
} made;

static void model_begin(void)
{
    itp_buf *all[] = {&made.graph, &made.node, &made.part, &made.inner, &made.model};
    for (int i = 0; i < 5; i++) *all[i] = itp_buf_new(ctx);
}

static void model_end(void)
{
    itp_buf *all[] = {&made.graph, &made.node, &made.part, &made.inner, &made.model};
    for (int i = 0; i < 5; i++) itp_buf_free(all[i]);
}

/* field 11: an input, 12: an output; dimension 0: "N". */
static void model_port(uint32_t field, const char *name, int type, int rank, const int *dims)
{
    for (int i = 0; i < rank; i++) {
        if (dims[i]) itp_pb_put_int(&made.part, 1, dims[i]);
        else itp_pb_put_text(&made.part, 2, "N");
        itp_pb_put_message(&made.inner, 1, &made.part);
    }
    itp_pb_put_int(&made.part, 1, type);
    itp_pb_put_message(&made.part, 2, &made.inner);
    itp_pb_put_message(&made.inner, 1, &made.part);
    itp_pb_put_text(&made.part, 1, name);
    itp_pb_put_message(&made.part, 2, &made.inner);
    itp_pb_put_message(&made.graph, field, &made.part);
}

static void model_input(const char *name, int rank, int a, int b, int c, int d)
{
    const int dims[4] = {a, b, c, d};
    model_port(11, name, ITP_ONNX_FLOAT, rank, dims);
}

static void model_output(const char *name)
{
    model_port(12, name, ITP_ONNX_FLOAT, 0, NULL);
}

/* Names apart by blanks; "-" is an input left out. Attributes follow until node_end. */
static void node_begin(const char *op, const char *name, const char *in, const char *out)
{
    const char *const lists[2] = {in, out};
    for (uint32_t k = 0; k < 2; k++)
        for (const char *s = lists[k]; *s;) {
            const size_t n = strcspn(s, " ");
            itp_pb_put_bytes(&made.node, k + 1, s, *s == '-' ? 0 : n);
            s += n;
            while (*s == ' ') s++;
        }
    itp_pb_put_text(&made.node, 3, name);
    itp_pb_put_text(&made.node, 4, op);
}

static void node_end(void)
{
    itp_pb_put_message(&made.graph, 1, &made.node);
}

static void node(const char *op, const char *in, const char *out)
{
    node_begin(op, "", in, out);
    node_end();
}

static void attr_int(const char *name, int64_t value)
{
    itp_pb_put_text(&made.part, 1, name);
    itp_pb_put_int(&made.part, 3, value);
    itp_pb_put_int(&made.part, 20, ITP_ATTR_INT);
    itp_pb_put_message(&made.node, 5, &made.part);
}

static void attr_float(const char *name, double value)
{
    itp_pb_put_text(&made.part, 1, name);
    itp_pb_put_float(&made.part, 2, value);
    itp_pb_put_int(&made.part, 20, ITP_ATTR_FLOAT);
    itp_pb_put_message(&made.node, 5, &made.part);
}

static void attr_text(const char *name, const char *value)
{
    itp_pb_put_text(&made.part, 1, name);
    itp_pb_put_text(&made.part, 4, value);
    itp_pb_put_int(&made.part, 20, ITP_ATTR_STRING);
    itp_pb_put_message(&made.node, 5, &made.part);
}

static void attr_ints(const char *name, int n, int a, int b, int c, int d)
{
    const int v[4] = {a, b, c, d};
    itp_pb_put_text(&made.part, 1, name);
    for (int i = 0; i < n; i++) itp_pb_put_int(&made.part, 8, v[i]);
    itp_pb_put_int(&made.part, 20, ITP_ATTR_INTS);
    itp_pb_put_message(&made.node, 5, &made.part);
}

static void init_head(const char *name, int type, int rank, const int *dims)
{
    for (int i = 0; i < rank; i++) itp_pb_put_int(&made.part, 1, dims[i]);
    itp_pb_put_int(&made.part, 2, type);
    itp_pb_put_text(&made.part, 8, name);
}

static void init_end(void)
{
    itp_pb_put_message(&made.graph, 5, &made.part);
}

/* A float initializer of 0.1, 0.2, ... */
static void init_floats(const char *name, int rank, int a, int b, int c, int d)
{
    const int dims[4] = {a, b, c, d};
    size_t n = 1;
    for (int i = 0; i < rank; i++) n *= (size_t)dims[i];
    init_head(name, ITP_ONNX_FLOAT, rank, dims);
    for (size_t i = 0; i < n; i++) itp_put_f32(&made.inner, 0.1 * (double)(i + 1));
    itp_pb_put_message(&made.part, 9, &made.inner);
    init_end();
}

static void init_ints(const char *name, int n, int a, int b, int c, int d)
{
    const int v[4] = {a, b, c, d};
    init_head(name, ITP_ONNX_INT64, 1, &n);
    for (int i = 0; i < n; i++) itp_pb_put_int(&made.part, 7, v[i]);
    init_end();
}

static void init_scalar(const char *name, double value)
{
    init_head(name, ITP_ONNX_FLOAT, 0, NULL);
    itp_pb_put_float(&made.part, 4, value);
    init_end();
}

static void model_finish(int opset)
{
    itp_pb_put_int(&made.model, 1, 7);
    itp_pb_put_message(&made.model, 7, &made.graph);
    itp_pb_put_int(&made.part, 2, opset);
    itp_pb_put_message(&made.model, 8, &made.part);
}

static interp_net *model_read(int opset)
{
    interp_net *net = NULL;
    model_finish(opset);
    if (interp_onnx_parse(ctx, made.model.data, made.model.n, NULL, &net) != INTERP_OK) net = NULL;
    model_end();
    return net;
}

/* Reads what was made and compares its output for one given input of a batch. */
static void check_model(int opset, int batch, const float *x, size_t n, const float *want)
{
    interp_net *net = model_read(opset);
    interp_workspace *w = NULL;
    interp_workspace_desc d;
    if (!net) test_fail(__FILE__, __LINE__, "%s", interp_error(ctx));
    REQUIRE(net != NULL);
    memset(&d, 0, sizeof d);
    d.batch = batch;
    REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &d, &w));
    CHECK_OK(ctx, interp_forward(w, &x));
    CHECK(interp_workspace_target_size(w) * (size_t)batch == n);
    for (size_t i = 0; i < n && i < interp_workspace_target_size(w) * (size_t)batch; i++)
        CHECK_NEAR(interp_workspace_target(w)[i], want[i], OP_TOLERANCE);
    interp_workspace_free(w);
    interp_net_free(net);
}

static void check_refused(int opset, interp_status status, const char *sentence)
{
    interp_net *net = NULL;
    const size_t before = used();
    model_finish(opset);
    const size_t extra = used() - before; /* the model itself may have grown */
    const interp_status got = interp_onnx_parse(ctx, made.model.data, made.model.n, NULL, &net);
    CHECK(got == status);
    CHECK(net == NULL);
    if (!strstr(interp_error(ctx), sentence))
        test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", interp_error(ctx), sentence);
    CHECK(used() == before + extra);
    model_end();
}

static void node_cast(const char *from, const char *to, int type)
{
    node_begin("Cast", "", from, to);
    attr_int("to", type);
    node_end();
}

/* An initializer of small numbers by their bytes, raw or in entries of a field. */
static void init_bytes(const char *name, int type, int n, const unsigned char *bytes, size_t size,
                       bool raw)
{
    init_head(name, type, 1, &n);
    if (raw) itp_pb_put_bytes(&made.part, 9, (const char *)bytes, size);
    for (size_t i = 0; i < size && !raw; i++) itp_pb_put_int(&made.part, 5, bytes[i]);
    init_end();
}

/* y = x + what the bytes stand for, [N,4]. */
static void check_bytes(int type, const unsigned char *bytes, size_t size, const float *want)
{
    const float x[4] = {0, 0, 0, 0};
    for (int raw = 0; raw < 2; raw++) {
        model_begin();
        model_input("x", 2, 0, 4, 1, 1);
        init_bytes("small", type, 4, bytes, size, raw == 1);
        node_cast("small", "numbers", ITP_ONNX_FLOAT);
        node("Add", "x numbers", "y");
        model_output("y");
        check_model(24, 1, x, 4, want);
    }
}

TEST(numbers_of_eight_and_four_bits_are_read)
{
    static const unsigned char halves[] = {0x81, 0x7F}; /* 1 8 15 7 */
    const struct {
        int type;
        unsigned char bytes[4];
        float want[4];
    } rows[] = {
        {17, {0x7E, 0x01, 0xB8, 0x08}, {448, 0.001953125f, -1, 0.015625f}},
        {18, {0x7F, 0x01, 0xC0, 0x00}, {240, 0.0009765625f, -1, 0}},
        {19, {0x7B, 0x01, 0xBC, 0x03}, {57344, 0.0000152587890625f, -1, 0.0000457763671875f}},
        {20, {0x7F, 0x01, 0xC0, 0x00}, {57344, 0.00000762939453125f, -1, 0}},
        {24, {127, 128, 126, 137}, {1, 2, 0.5f, 1024}},
    };
    const float whole[4] = {1, 8, 15, 7}, sign[4] = {1, -8, -1, 7}, fp4[4] = {0.5f, 0, -6, 6};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_bytes(rows[i].type, rows[i].bytes, 4, rows[i].want);
    check_bytes(ITP_ONNX_UINT4, halves, 2, whole);
    check_bytes(ITP_ONNX_INT4, halves, 2, sign);
    check_bytes(23, halves, 2, fp4);
    CHECK(isnan(itp_small_float_value(itp_small_float_of(17), 0x7F)));
    CHECK(isnan(itp_small_float_value(itp_small_float_of(18), 0x80)));
    CHECK(isinf(itp_small_float_value(itp_small_float_of(19), 0x7C)));
    CHECK(isnan(itp_small_float_value(itp_small_float_of(19), 0x7D)));
    CHECK(isnan(itp_small_float_value(itp_small_float_of(24), 255)));
    model_begin(); /* an odd one out: five numbers are in three bytes */
    model_input("x", 2, 0, 5, 1, 1);
    init_bytes("small", ITP_ONNX_INT4, 5, halves, 2, true);
    node("Add", "x small", "y");
    model_output("y");
    check_refused(24, INTERP_FORMAT, "does not hold 5 numbers");
}

/* Every number stays itself, halves between two go to the even one, and nothing is beyond the largest. */
TEST(casts_round_to_the_nearest_small_number)
{
    static const int types[] = {17, 18, 19, 20, 23};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const itp_small_float *f = itp_small_float_of(types[t]);
        double before = 0;
        for (unsigned bits = 1; bits < 1u << (f->bits - 1); bits++) {
            const double v = itp_small_float_value(f, bits);
            if (!(v <= f->most)) break; /* infinity and what is no number come last */
            CHECK(itp_round_to(v, f->id, 0) == v && itp_round_to(-v, f->id, 0) == -v);
            const double even = bits & 1 ? before : v, middle = (before + v) / 2;
            CHECK(v > before && itp_round_to(middle, f->id, 0) == even);
            CHECK(itp_round_to(middle * 1.0001, f->id, 0) == v);
            before = v;
        }
        CHECK(before == f->most);
        CHECK(itp_round_to(1e9, f->id, ITP_SATURATE) == f->most);
        CHECK(itp_round_to(-(double)INFINITY, f->id, ITP_SATURATE) == -f->most);
        const double beyond = itp_round_to(1e9, f->id, 0);
        CHECK(f->infinite ? isinf(beyond) : isnan(beyond));
        CHECK(f->bits == 4 || isnan(itp_round_to((double)NAN, f->id, ITP_SATURATE)));
    }
    CHECK(itp_round_to(3, 24, ITP_ROUND_UP) == 4 && itp_round_to(3, 24, ITP_ROUND_DOWN) == 2);
    CHECK(itp_round_to(2.9, 24, 0) == 2 && itp_round_to(3.1, 24, 0) == 4);
    const float x[4] = {0.3f, -500, 17.5f, 1e-9f}, want[4] = {0.3125f, -448, 18, 0};
    model_begin(); /* computed numbers too, and what is quantised */
    model_input("x", 2, 0, 4, 1, 1);
    node_cast("x", "small", 17);
    node_cast("small", "y", ITP_ONNX_FLOAT);
    model_output("y");
    check_model(19, 1, x, 4, want);
    const float far[4] = {-9.5f, 23, 8, -1}, around[4] = {7, 7, 8, 15};
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    node_cast("x", "small", ITP_ONNX_UINT4);
    node_cast("small", "y", ITP_ONNX_FLOAT);
    model_output("y");
    check_model(21, 1, far, 4, around);
    const float scaled[4] = {0.25f, -2, 1.75f, 0}; /* 1, -8, 7 and 0 */
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    init_scalar("scale", 0.25);
    node_begin("QuantizeLinear", "", "x scale", "q");
    attr_int("output_dtype", ITP_ONNX_INT4);
    node_end();
    node("DequantizeLinear", "q scale", "y");
    model_output("y");
    check_model(21, 1, x, 4, scaled);
}

/* One unary node over [N,4]. */
static void model_unary(const char *op, const char *inputs)
{
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    node_begin(op, "it", inputs, "y");
}

static const float four[4] = {-1, 0.5f, 2, 3};

TEST(clip_has_bounds_as_attributes_and_later_as_inputs)
{
    static const float want[4] = {0, 0.5f, 2, 2};
    static const float open[4] = {-1, 0.5f, 2, 2};
    model_unary("Clip", "x");
    attr_float("min", 0), attr_float("max", 2);
    node_end();
    check_model(10, 1, four, 4, want);
    model_unary("Clip", "x low high");
    node_end();
    init_scalar("low", 0), init_scalar("high", 2);
    check_model(11, 1, four, 4, want);
    model_unary("Clip", "x - high");
    node_end();
    init_scalar("high", 2);
    check_model(13, 1, four, 4, open);
    model_unary("Clip", "x");
    attr_float("max", 2);
    node_end();
    check_refused(13, INTERP_UNSUPPORTED, "Clip \"it\" (opset 13): attribute \"max\"");
}

TEST(dropout_does_nothing_in_every_version)
{
    model_unary("Dropout", "x");
    attr_float("ratio", 0.25);
    node_end();
    check_model(7, 1, four, 4, four);
    model_unary("Dropout", "x ratio");
    node_end();
    init_scalar("ratio", 0.75);
    interp_net *net = model_read(12);
    REQUIRE(net != NULL);
    CHECK_NEAR(net->nodes[0].attrs.alpha, 0.75, 0);
    interp_net_free(net);
    model_unary("Dropout", "x ratio training");
    node_end();
    init_scalar("ratio", 0.75), init_scalar("training", 1);
    check_refused(13, INTERP_UNSUPPORTED, "set to training");
}

TEST(softmax_summed_over_all_that_follows_before_opset_13)
{
    float want[2][8], x[8];
    double sum[2] = {0, 0};
    for (int i = 0; i < 8; i++) x[i] = 0.3f * (float)i;
    for (int i = 0; i < 8; i++) sum[0] += exp((double)x[i]);
    for (int i = 0; i < 8; i++) {
        want[0][i] = (float)(exp((double)x[i]) / sum[0]);
        want[1][i] = (float)(exp((double)x[i]) / (exp((double)x[i]) + exp((double)x[i ^ 2])));
    }
    for (int version = 0; version < 2; version++) {
        model_begin();
        model_input("x", 4, 0, 2, 2, 2);
        model_output("y");
        node_begin("Softmax", "", "x", "y");
        if (version) attr_int("axis", 2);
        node_end();
        check_model(version ? 13 : 12, 1, x, 8, want[version]);
    }
}

TEST(axes_are_attributes_and_later_inputs)
{
    for (int later = 0; later < 2; later++) {
        model_begin();
        model_input("x", 2, 0, 4, 1, 1);
        model_output("y");
        init_ints("two", 2, 1, -1, 0, 0);
        node_begin("Unsqueeze", "", later ? "x two" : "x", "a");
        if (!later) attr_ints("axes", 2, 1, 3, 0, 0);
        node_end();
        node_begin("Squeeze", "", later ? "a two" : "a", "b");
        if (!later) attr_ints("axes", 2, 1, 3, 0, 0);
        node_end();
        node("Relu", "b", "y");
        const float want[4] = {0, 0.5f, 2, 3};
        check_model(later ? 13 : 11, 1, four, 4, want);
    }
}

TEST(means_over_any_axes_but_the_batch)
{
    static const struct {
        int n_axes, axes[2], keep, rank;
        float want[8];
        int n;
    } rows[] = {{2, {2, 3}, 1, 4, {1.5f, 5.5f}, 2},
                {2, {-1, -2}, 0, 2, {1.5f, 5.5f}, 2},
                {1, {1, 0}, 0, 3, {2, 3, 4, 5}, 4},
                {2, {1, 3}, 1, 4, {2.5f, 4.5f}, 2}};
    float x[8];
    for (int i = 0; i < 8; i++) x[i] = (float)i;
    for (int opset = 13; opset <= 18; opset += 5)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            model_begin();
            model_input("x", 4, 0, 2, 2, 2);
            model_output("y");
            init_ints("axes", rows[i].n_axes, rows[i].axes[0], rows[i].axes[1], 0, 0);
            node_begin("ReduceMean", "", opset == 18 ? "x axes" : "x", "y");
            if (opset != 18)
                attr_ints("axes", rows[i].n_axes, rows[i].axes[0], rows[i].axes[1], 0, 0);
            attr_int("keepdims", rows[i].keep);
            node_end();
            check_model(opset, 1, x, (size_t)rows[i].n, rows[i].want);
        }
    static const float pairs[8] = {0.5f, 1, 2, 2, 1.5f, 3, 4, -2}, middle[4] = {1, 2, 3, 0};
    model_begin(); /* over the first dimension: then there is no batch */
    model_input("x", 2, 2, 4, 1, 1);
    model_output("y");
    node_begin("ReduceMean", "", "x", "y");
    attr_ints("axes", 1, 0, 0, 0, 0), attr_int("keepdims", 0);
    node_end();
    check_model(13, 1, pairs, 4, middle);
}

TEST(automatic_pads_put_the_odd_one_where_they_say)
{
    static const float upper[4] = {1, 3, 5, 3}, lower[4] = {0, 1, 3, 5}, valid[3] = {1, 3, 5};
    const float x[4] = {0, 1, 2, 3};
    static const char *const names[3] = {"SAME_UPPER", "SAME_LOWER", "VALID"};
    const float *const want[3] = {upper, lower, valid};
    for (int i = 0; i < 3; i++) {
        const int dims[4] = {1, 1, 1, 2};
        model_begin();
        model_input("x", 4, 0, 1, 1, 4);
        model_output("y");
        init_head("w", ITP_ONNX_FLOAT, 4, dims);
        itp_pb_put_float(&made.part, 4, 1), itp_pb_put_float(&made.part, 4, 1);
        init_end();
        node_begin("Conv", "", "x w", "y");
        attr_text("auto_pad", names[i]);
        node_end();
        check_model(9, 1, x, i == 2 ? 3 : 4, want[i]);
    }
}

TEST(slices_take_attributes_or_inputs_negative_ends_and_several_axes)
{
    float x[12], want[4] = {1, 2, 5, 6};
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    for (int later = 0; later < 2; later++) {
        model_begin();
        model_input("x", 3, 0, 3, 4, 1);
        model_output("y");
        init_ints("starts", 3, 0, -5, 1, 0), init_ints("ends", 3, INT_MAX, -1, -1, 0);
        init_ints("axes", 3, 0, 1, -1, 0), init_ints("steps", 3, 1, 1, 1, 0);
        node_begin("Slice", "", later ? "x starts ends axes steps" : "x", "y");
        if (!later) attr_ints("starts", 3, 0, -5, 1, 0), attr_ints("ends", 3, INT_MAX, -1, -1, 0);
        if (!later) attr_ints("axes", 3, 0, 1, -1, 0);
        node_end();
        check_model(later ? 11 : 9, 1, x, 4, want);
    }
    model_unary("Slice", "x starts ends axes steps");
    node_end();
    init_ints("starts", 1, 3, 0, 0, 0), init_ints("ends", 1, -9, 0, 0, 0);
    init_ints("axes", 1, 1, 0, 0, 0), init_ints("steps", 1, -1, 0, 0, 0);
    static const float backward[4] = {3, 2, 0.5f, -1};
    check_model(11, 1, four, 4, backward);
}

TEST(gather_takes_one_index_or_neighbours)
{
    float x[6] = {0, 1, 2, 3, 4, 5};
    const float one[2] = {4, 5}, two[4] = {2, 3, 4, 5};
    model_begin();
    model_input("x", 3, 0, 3, 2, 1);
    model_output("y");
    init_head("i", ITP_ONNX_INT64, 0, NULL);
    itp_pb_put_int(&made.part, 7, -1);
    init_end();
    node_begin("Gather", "", "x i", "y");
    attr_int("axis", 1);
    node_end();
    check_model(13, 1, x, 2, one);
    model_begin();
    model_input("x", 3, 0, 3, 2, 1);
    model_output("y");
    init_ints("i", 2, 1, 2, 0, 0);
    node_begin("Gather", "", "x i", "y");
    attr_int("axis", -2);
    node_end();
    check_model(13, 1, x, 4, two);
}

TEST(sums_and_powers_become_ops_of_ours)
{
    const float x[4] = {1, 4, 9, 16}, want[4] = {1 + 1 + 1, 16 + 4 + 2, 81 + 9 + 3, 256 + 16 + 4};
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    init_scalar("two", 2), init_scalar("half", 0.5);
    node("Pow", "x two", "a");
    node("Pow", "x half", "b");
    node("Sum", "a x b", "y");
    check_model(13, 1, x, 4, want);
    model_unary("Pow", "x n");
    node_end();
    init_scalar("n", 3);
    static const float cubes[4] = {-1, 0.125f, 8, 27};
    check_model(13, 1, four, 4, cubes);
}

TEST(newer_ops_and_attributes_need_their_opset)
{
    static const char *const names[3] = {"Gelu", "Gelu", "Swish"};
    const int ops[3] = {ITP_OP_GELU, ITP_OP_GELU_TANH, ITP_OP_SILU};
    for (int i = 0; i < 3; i++) {
        model_unary(names[i], "x");
        if (i == 1) attr_text("approximate", "tanh");
        node_end();
        interp_net *net = model_read(24);
        REQUIRE(net != NULL);
        CHECK(net->n_nodes == 1 && net->nodes[0].op == ops[i]);
        interp_net_free(net);
    }
    for (int opset = 17; opset <= 19; opset += 2) {
        model_begin();
        model_input("x", 4, 0, 1, 4, 4);
        model_output("y");
        node_begin("AveragePool", "pool", "x", "y");
        attr_ints("kernel_shape", 2, 2, 2, 0, 0), attr_ints("dilations", 2, 2, 2, 0, 0);
        node_end();
        if (opset < 19) check_refused(opset, INTERP_UNSUPPORTED, "attribute \"dilations\"");
    }
    interp_net *net = model_read(19);
    void *bytes = NULL;
    size_t n;
    REQUIRE(net != NULL);
    REQUIRE_OK(ctx, interp_onnx_serialize(net, &bytes, &n)); /* in the opset that has them */
    interp_net *back = NULL;
    CHECK_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &back));
    CHECK(back && back->nodes[0].attrs.dilation[0] == net->nodes[0].attrs.dilation[0]);
    interp_net_free(back);
    interp_free(ctx, bytes);
    interp_net_free(net);
    model_unary("Selu", "x");
    attr_float("alpha", 1.5);
    node_end();
    static const float bent[4] = {1.0507009873f * 1.5f * -0.6321205588f, 1.0507009873f * 0.5f,
                                  1.0507009873f * 2, 1.0507009873f * 3};
    check_model(13, 1, four, 4, bent);
}

TEST(filled_constants_are_bounded)
{
    const float want[4] = {-0.9f, 0.6f, 2.1f, 3.1f};
    for (int huge = 0; huge < 2; huge++) {
        model_begin();
        model_input("x", 2, 0, 4, 1, 1);
        model_output("y");
        init_ints("s", 2, huge ? 1 << 20 : 1, huge ? 1 << 10 : 4, 0, 0);
        node_begin("ConstantOfShape", "fill", "s", "c");
        itp_pb_put_int(&made.inner, 1, 1), itp_pb_put_int(&made.inner, 2, ITP_ONNX_FLOAT);
        itp_pb_put_float(&made.inner, 4, 0.1);
        itp_pb_put_text(&made.part, 1, "value");
        itp_pb_put_message(&made.part, 5, &made.inner);
        itp_pb_put_message(&made.node, 5, &made.part);
        node_end();
        node("Add", "x c", "y");
        if (huge) check_refused(13, INTERP_UNSUPPORTED, "ConstantOfShape \"fill\"");
        else check_model(13, 1, four, 4, want);
    }
}

TEST(chains_of_exporters_become_one_op)
{
    static const char *const text[2] = {"a half", "half a"};
    for (int i = 0; i < 2; i++) {
        model_begin();
        model_input("x", 2, 0, 4, 1, 1);
        model_output("y");
        init_scalar("root", 1.4142135381698608), init_scalar("one", 1), init_scalar("half", 0.5);
        node("Div", "x root", "d"), node("Erf", "d", "e");
        node("Add", i ? "one e" : "e one", "s");
        node("Mul", i ? "s x" : "x s", "a"), node("Mul", text[i], "y");
        interp_net *net = model_read(13);
        REQUIRE(net != NULL);
        CHECK(net->n_nodes == 1 && net->nodes[0].op == ITP_OP_GELU);
        CHECK(net->n_values == 2);
        interp_net_free(net);
    }
    /* x 1/2 (1 + erf(x 0.707...)), and a sigmoid that others use too */
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y"), model_output("s");
    init_scalar("root", 0.70710678), init_scalar("one", 1), init_scalar("half", 0.5);
    node("Mul", "x half", "h"), node("Mul", "x root", "d"), node("Erf", "d", "e");
    node("Add", "e one", "g"), node("Mul", "h g", "z");
    node("Sigmoid", "z", "s"), node("Mul", "z s", "y");
    interp_net *net = model_read(13);
    REQUIRE(net != NULL);
    CHECK(net->n_nodes == 3);
    CHECK(net->nodes[0].op == ITP_OP_GELU && net->nodes[2].op == ITP_OP_MUL);
    interp_net_free(net);
}

TEST(numbers_are_read_in_every_form)
{
    static const struct {
        int type;
        uint32_t field; /* 9: raw */
        int wire, size;
        uint64_t bits[2]; /* of 1.5 and -2, or 1 and 0 */
    } forms[] = {{1, 4, ITP_FIXED32, 4, {0x3FC00000u, 0xC0000000u}},
                 {1, 9, 0, 4, {0x3FC00000u, 0xC0000000u}},
                 {11, 10, ITP_FIXED64, 8, {0x3FF8000000000000u, 0xC000000000000000u}},
                 {11, 9, 0, 8, {0x3FF8000000000000u, 0xC000000000000000u}},
                 {10, 5, ITP_VARINT, 2, {0x3E00, 0xC000}},
                 {10, 9, 0, 2, {0x3E00, 0xC000}},
                 {16, 5, ITP_VARINT, 2, {0x3FC0, 0xC000}},
                 {16, 9, 0, 2, {0x3FC0, 0xC000}}};
    const float want[4] = {-1 + 1.5f, 0.5f - 2, 2 + 1.5f, 3 - 2};
    const int dims[2] = {1, 2};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        for (int packed = 0; packed < 2; packed++) {
            model_begin();
            model_input("x", 3, 0, 2, 2, 1);
            model_output("y");
            init_head("w", forms[i].type, 2, dims);
            itp_buf *to = packed || forms[i].field == 9 ? &made.inner : &made.part;
            for (int k = 0; k < 2; k++) {
                if (to == &made.part) itp_pb_put_key(to, forms[i].field, forms[i].wire);
                if (forms[i].wire == ITP_VARINT && forms[i].field != 9)
                    itp_pb_put_varint(to, forms[i].bits[k]);
                else itp_put_le(to, forms[i].bits[k], forms[i].size);
            }
            if (to == &made.inner) itp_pb_put_message(&made.part, forms[i].field, &made.inner);
            init_end();
            node("Add", "x w", "y");
            check_model(13, 1, four, 4, want);
        }
    /* whole numbers of every type that a shape may have */
    for (int form = 0; form < 4; form++) {
        const int three = 3, values[3] = {0, 2, -1};
        model_begin();
        model_input("x", 2, 0, 4, 1, 1);
        model_output("y");
        init_head("s", form & 1 ? 6 : 7, 1, &three);
        for (int k = 0; k < 3; k++) {
            if (form & 2) itp_put_le(&made.inner, (uint64_t)(int64_t)values[k], form & 1 ? 4 : 8);
            else itp_pb_put_int(&made.part, form & 1 ? 5 : 7, values[k]);
        }
        if (form & 2) itp_pb_put_message(&made.part, 9, &made.inner);
        init_end();
        node("Reshape", "x s", "y");
        check_model(13, 1, four, 4, four);
    }
}

TEST(nodes_may_stand_in_any_order)
{
    const float want[4] = {0, 0.25f, 4, 9};
    model_begin();
    model_output("y");
    node("Mul", "b b", "y");
    node("Mul", "unused never", "dead"); /* nothing needs it, so nobody minds what it lacks */
    node("Identity", "a", "b");
    node("Relu", "x", "a");
    model_input("x", 2, 0, 4, 1, 1);
    check_model(13, 1, four, 4, want);
}

TEST(initializers_among_the_inputs_are_no_inputs)
{
    model_begin();
    model_input("w", 2, 4, 2, 1, 1);
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    init_floats("w", 2, 4, 2, 1, 1);
    node("MatMul", "x w", "y");
    interp_net *net = model_read(8);
    REQUIRE(net != NULL);
    CHECK(net->n_inputs == 1);
    CHECK_STR(interp_net_input_name(net, 0), "x");
    CHECK_STR(interp_net_node_name(net, 0), "MatMul_0");
    CHECK(itp_find(net, "y") == itp_find(net, "MatMul_0"));
    interp_net_free(net);
}

TEST(parameters_follow_the_initializers)
{
    model_begin();
    model_input("x", 4, 0, 3, 4, 4);
    model_output("y");
    init_floats("shift", 4, 1, 3, 1, 1); /* before anything with weights: a constant */
    init_floats("mean", 1, 2, 1, 1, 1), init_floats("b", 3, 2, 1, 1, 1);
    init_floats("var", 1, 2, 1, 1, 1), init_floats("w", 4, 2, 3, 1, 1);
    init_floats("scale", 1, 2, 1, 1, 1), init_floats("never", 1, 2, 1, 1, 1);
    init_scalar("ten", 10);
    node("Sub", "x shift", "x1"), node("Add", "x1 shift", "x2");
    node("Conv", "x2 w", "c"), node("Add", "b c", "c1"), node("Mul", "c1 ten", "c2");
    node("BatchNormalization", "c2 scale scale mean var", "y");
    interp_net *net = model_read(13);
    REQUIRE(net != NULL);
    static const char *const names[3] = {"b", "w", "scale"};
    CHECK(interp_net_parameter_count(net) == 3);
    for (int i = 0; i < 3 && i < net->n_params; i++)
        CHECK_STR(interp_net_parameter(net, i).name, names[i]);
    CHECK(net->values[itp_find(net, "shift")].kind == ITP_CONST);
    CHECK(net->values[itp_find(net, "ten")].kind == ITP_CONST);
    CHECK(net->values[itp_find(net, "mean")].kind == ITP_BUFFER);
    CHECK(itp_find(net, "never") < 0);
    interp_net_free(net);
}

TEST(statistics_never_share_a_parameters_numbers)
{
    model_begin();
    model_input("x", 2, 0, 2, 1, 1);
    model_output("y");
    init_floats("ones", 1, 2, 1, 1, 1);
    node("BatchNormalization", "x ones ones ones ones", "y");
    interp_net *net = model_read(13);
    REQUIRE(net != NULL);
    const int *in = net->nodes[0].in;
    CHECK(net->values[in[1]].kind == ITP_PARAM && net->values[in[3]].kind == ITP_BUFFER);
    CHECK(net->values[in[1]].data != net->values[in[3]].data);
    CHECK_STR(net->values[in[3]].name, "ones/running");
    interp_net_free(net);
}

/* A reshape to [a,b] after a convolution of [first,1,2,2] to [first,3,2,2]. */
static interp_net *reshaped(int first, int a, int b)
{
    model_begin();
    model_input("x", 4, first, 1, 2, 2);
    model_output("y");
    init_floats("w", 4, 3, 1, 1, 1), init_ints("s", 2, a, b, 0, 0);
    node("Conv", "x w", "c"), node("Reshape", "c s", "y");
    return model_read(13);
}

TEST(a_batch_of_one_is_freed_where_that_means_the_same)
{
    static const struct {
        int first, a, b, fixed;
    } rows[] = {{1, 1, 12, 0}, {1, 1, -1, 0}, {1, -1, 12, 0}, {0, 1, 12, 0}, {0, 0, 12, 0},
                {1, 3, 4, 1},  {0, 3, 4, 1},  {1, -1, 4, 1},  {5, 5, 12, 5}, {5, -1, 12, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        interp_net *net = reshaped(rows[i].first, rows[i].a, rows[i].b);
        REQUIRE(net != NULL);
        CHECK(interp_net_fixed_batch(net) == rows[i].fixed);
        const interp_shape s = interp_net_input_shape(net, 0);
        const bool whole = interp_net_is_whole(net); /* 3 rows for one sample: there is no batch */
        CHECK(whole == (rows[i].a == 3 || rows[i].b == 4));
        CHECK(s.rank == 3 + whole && s.dim[whole] == 1 && s.dim[2] == 2);
        if (rows[i].fixed > 1) check_round_trip(net, rows[i].fixed);
        interp_net_free(net);
    }
    model_begin(); /* softmax over the samples of a batch */
    model_input("x", 2, 1, 4, 1, 1);
    model_output("y");
    node_begin("Softmax", "", "x", "y");
    attr_int("axis", 0);
    node_end();
    interp_net *net = model_read(13);
    REQUIRE(net != NULL);
    CHECK(interp_net_fixed_batch(net) == 1);
    interp_net_free(net);
}

/* Loads what was made with two arrays as its first inputs. */
static interp_net *model_read_given(int opset, interp_array *first, interp_array *second)
{
    interp_onnx_input given[2];
    interp_onnx_load_desc desc;
    memset(&desc, 0, sizeof desc);
    interp_net *net = NULL;
    memset(given, 0, sizeof given);
    given[0].array = first, given[1].array = second;
    desc.n_inputs = second ? 2 : 1, desc.inputs = given;
    model_finish(opset);
    if (interp_onnx_parse(ctx, made.model.data, made.model.n, &desc, &net) != INTERP_OK) net = NULL;
    model_end();
    return net;
}

static interp_array array_of(void *data, interp_dtype dtype, int rank, int a, int b, int c, int d)
{
    interp_array x;
    const int dims[4] = {a, b, c, d};
    x.data = data;
    x.dtype = dtype;
    x.shape = itp_shape_none();
    x.shape.rank = rank;
    for (int i = 0; i < rank; i++) x.shape.dim[i] = dims[i];
    return x;
}

TEST(sizes_left_open_are_those_of_what_is_given)
{
    interp_array x = array_of(NULL, INTERP_FLOAT32, 4, 5, 3, 6, 7);
    for (int pass = 0; pass < 2; pass++) {
        model_begin();
        model_input("x", 4, 0, 3, 0, 0);
        model_output("y");
        node("Relu", "x", "y");
        interp_net *net = pass ? model_read_given(13, &x, NULL) : model_read(13);
        CHECK((net != NULL) == pass); /* rows and columns are open as well as the batch */
        if (!net) continue;
        const interp_shape s = interp_net_input_shape(net, 0);
        CHECK(s.rank == 3 && s.dim[0] == 3 && s.dim[1] == 6 && s.dim[2] == 7);
        CHECK(interp_net_fixed_batch(net) == 0 && !interp_net_is_whole(net));
        interp_net_free(net);
    }
}

TEST(inputs_that_decide_about_shapes_become_known_numbers)
{
    static const int list[1] = {2}, cells[2] = {2, 3};
    int64_t want[2] = {3, 2};
    float six[6] = {1, 2, 3, 4, 5, 6};
    interp_array x = array_of(six, INTERP_FLOAT32, 2, 2, 3, 0, 0);
    interp_array sizes = array_of(want, INTERP_INT64, 1, 2, 0, 0, 0);
    for (int pass = 0; pass < 2; pass++) {
        model_begin();
        model_port(11, "x", ITP_ONNX_FLOAT, 2, cells);
        model_port(11, "sizes", ITP_ONNX_INT64, 1, list);
        model_output("y");
        node("Reshape", "x sizes", "y");
        interp_net *net = pass ? model_read_given(13, &x, &sizes) : model_read(13);
        CHECK((net != NULL) == pass);
        if (!pass) CHECK(strstr(interp_error(ctx), "\"sizes\"") != NULL);
        if (!net) continue;
        CHECK(interp_net_describe(net).n_inputs == 1 && interp_net_input_place(net, 0) == 0);
        CHECK(interp_net_is_whole(net)); /* 2 rows became 3 */
        const interp_shape s = interp_net_output_shape(net, 0);
        CHECK(s.rank == 2 && s.dim[0] == 3 && s.dim[1] == 2);
        interp_net_free(net);
    }
}

TEST(element_types_of_inputs_and_outputs_survive)
{
    static const int cells[2] = {2, 3};
    model_begin();
    model_port(11, "x", ITP_ONNX_INT64, 2, cells);
    model_port(12, "y", ITP_ONNX_BOOL, 2, cells);
    init_ints("two", 1, 2, 0, 0, 0);
    node("Greater", "x two", "y");
    interp_net *net = model_read(13), *back = NULL;
    void *bytes = NULL;
    size_t n = 0;
    REQUIRE(net != NULL);
    REQUIRE_OK(ctx, interp_onnx_serialize(net, &bytes, &n));
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &back));
    const float x[6] = {0, 1, 2, 3, -4, 5}, want[6] = {0, 0, 0, 1, 0, 1}, *in = x;
    for (int pass = 0; pass < 2; pass++) {
        const interp_net *of = pass ? back : net;
        interp_workspace *w = NULL;
        CHECK(interp_net_input_dtype(of, 0) == INTERP_INT64);
        CHECK(interp_net_output_dtype(of, 0) == INTERP_BOOL);
        REQUIRE_OK(ctx, interp_workspace_new(ctx, of, NULL, &w));
        CHECK_OK(ctx, interp_forward(w, &in));
        CHECK(!memcmp(interp_workspace_output(w, 0), want, sizeof want));
        interp_workspace_free(w);
    }
    interp_free(ctx, bytes);
    interp_net_free(net), interp_net_free(back);
}

TEST(layer_norm_in_single_steps_is_found_again)
{
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    init_scalar("two", 2), init_scalar("eps", 1e-5f);
    init_floats("gamma", 1, 4, 1, 1, 1), init_floats("beta", 1, 4, 1, 1, 1);
    node_begin("ReduceMean", "", "x", "m");
    attr_ints("axes", 1, -1, 0, 0, 0);
    node_end();
    node("Sub", "x m", "c"), node("Pow", "c two", "s");
    node_begin("ReduceMean", "", "s", "v");
    attr_ints("axes", 1, -1, 0, 0, 0);
    node_end();
    node("Add", "v eps", "e"), node("Sqrt", "e", "r"), node("Div", "c r", "n");
    node("Mul", "n gamma", "g"), node("Add", "g beta", "y");
    interp_net *net = model_read(13);
    REQUIRE(net != NULL);
    CHECK(interp_net_describe(net).n_nodes == 1);
    CHECK_STR(interp_net_node_op(net, 0), "LayerNormalization");
    CHECK(interp_net_describe(net).n_parameters == 8);
    interp_net_free(net);
}

TEST(refusals_say_what_is_wrong)
{
    const int any[2] = {0, 0};
    model_unary("NonSense", "x");
    node_end();
    check_refused(13, INTERP_UNSUPPORTED,
                  "ONNX: NonSense \"it\" (opset 13): this op is not supported");
    model_unary("Relu", "x");
    itp_pb_put_text(&made.node, 7, "my.domain");
    node_end();
    check_refused(13, INTERP_UNSUPPORTED, "Relu \"it\" (opset 13): ops of domain \"my.domain\"");
    model_unary("Relu", "x");
    node_end();
    check_refused(0, INTERP_UNSUPPORTED, "opset 0 is not supported, only 1 to");
    model_unary("Relu", "x");
    node_end();
    check_refused(99, INTERP_UNSUPPORTED, "opset 99");
    model_unary("Relu", "z");
    node_end();
    check_refused(13, INTERP_FORMAT, "nothing makes its input \"z\"");
    model_unary("Relu", "x");
    node_end();
    node("Tanh", "x", "y");
    check_refused(13, INTERP_FORMAT, "two nodes make the value \"y\"");
    model_unary("Add", "x b");
    node_end();
    node("Relu", "y", "b");
    check_refused(13, INTERP_FORMAT, "depends on its own output");
    model_unary("LeakyRelu", "x");
    attr_int("alpha", 1);
    node_end();
    check_refused(13, INTERP_FORMAT, "attribute \"alpha\" is not of the type");
    model_unary("Relu", "x");
    attr_int("beta", 1);
    node_end();
    check_refused(13, INTERP_UNSUPPORTED, "attribute \"beta\" is not supported");
    model_unary("BatchNormalization", "x s s s s");
    attr_int("spatial", 0);
    node_end();
    init_floats("s", 1, 4, 1, 1, 1);
    check_refused(8, INTERP_UNSUPPORTED, "spatial 0 is not supported, only 1");
    model_unary("Reshape", "x x");
    node_end();
    check_refused(14, INTERP_UNSUPPORTED, "\"x\" is computed, but must be a constant");
    model_unary("MatMul", "x w");
    node_end();
    init_floats("w", 2, 5, 2, 1, 1);
    check_refused(13, INTERP_BAD_SHAPE, "MatMul \"it\"");
    model_begin();
    model_input("x", 3, 0, 4, 0, 1);
    model_output("y");
    node("Relu", "x", "y");
    check_refused(13, INTERP_UNSUPPORTED, "dimension 2 of input \"x\" is not fixed");
    model_begin();
    model_port(11, "x", 8, 2, any); /* text */
    model_output("y");
    node("Relu", "x", "y");
    check_refused(13, INTERP_UNSUPPORTED,
                  "input \"x\" is of an element type that is not supported");
    model_begin();
    model_input("x", 2, 2, 4, 1, 1), model_input("z", 2, 3, 4, 1, 1);
    model_output("y");
    node("Add", "x z", "y");
    check_refused(13, INTERP_BAD_SHAPE, "[2,4] and [3,4] do not broadcast");
    model_begin();
    model_input("x", 4, 0, 1, 4, 4);
    model_output("more");
    node("Relu", "x", "y more");
    check_refused(13, INTERP_UNSUPPORTED, "Relu \"Relu_0\" (opset 13): its output 1 is used");
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    init_floats("w", 3, 1, 1, 2, 1);
    node("Conv", "x w", "y");
    check_refused(13, INTERP_UNSUPPORTED, "images of [1,4] are not supported");
    model_begin();
    model_output("y");
    check_refused(13, INTERP_FORMAT, "nothing makes the output \"y\"");
    interp_net *net = NULL;
    CHECK(interp_onnx_parse(ctx, "", 0, NULL, &net) == INTERP_FORMAT);
    CHECK(interp_onnx_parse(ctx, "not a model at all", 18, NULL, &net) == INTERP_FORMAT);
    CHECK(interp_onnx_load(ctx, at("none.onnx"), NULL, &net) == INTERP_IO);
    CHECK(!strncmp(interp_error(ctx), folder, strlen(folder)));
}

/* ---- damaged and hostile input */

/* A small model with most kinds of parts, written by us. */
static void *small_model(size_t *n)
{
    const interp_shape sample = shape_of(3, 1, 6, 6, 1);
    interp_net *net = interp_net_new(ctx, "small");
    interp_tensor x = interp_input(net, NULL, &sample);
    interp_conv2d_desc d;
    void *bytes = NULL;
    memset(&d, 0, sizeof d);
    d.channels = 2;
    x = interp_activate(net, interp_batch_norm(net, interp_conv2d(net, x, &d), NULL), INTERP_SILU,
                        0);
    x = interp_activate(net, pool_of(net, x, INTERP_POOL_AVERAGE, false, true, true), INTERP_RELU6,
                        0);
    x = interp_activate(net, interp_slice(net, x, 1, 0, 1, true), INTERP_GELU, 0);
    x = interp_dropout(net, interp_dense(net, interp_flatten(net, x), 2, NULL), 0.5f);
    interp_output(net, interp_softmax(net, x, -1), "y");
    if (interp_net_build(net, 1) || interp_onnx_serialize(net, &bytes, n)) exit(1);
    interp_net_free(net);
    return bytes;
}

/* Reads what may be damaged; whatever comes of it must run, and leave nothing. */
static void try_model(const void *bytes, size_t n)
{
    const size_t before = used();
    interp_net *net = NULL;
    if (interp_onnx_parse(ctx, bytes, n, NULL, &net) == INTERP_OK) {
        size_t count;
        if (net->n_flat < 100000)
            interp_free(ctx, outputs_of(net, itp_max(1, net->fixed_batch), &count));
        interp_net_free(net);
    } else {
        CHECK(net == NULL);
        CHECK(interp_last_status(ctx) == INTERP_FORMAT ||
              interp_last_status(ctx) == INTERP_UNSUPPORTED ||
              interp_last_status(ctx) == INTERP_BAD_SHAPE ||
              interp_last_status(ctx) == INTERP_NO_MEMORY);
        CHECK(!strncmp(interp_error(ctx), "ONNX: ", 6));
    }
    CHECK(used() == before);
}

TEST(damaged_models_are_refused_and_leak_nothing)
{
    static const unsigned char values[5] = {0, 1, 0x7f, 0x80, 0xff};
    size_t n;
    unsigned char *whole = (unsigned char *)small_model(&n);
    const size_t before = used();
    interp_memory_set_limit(ctx, before + ((size_t)16 << 20));
    for (size_t length = 0; length < n; length++) {
        unsigned char *cut = (unsigned char *)malloc(length ? length : 1); /* its end is guarded */
        memcpy(cut, whole, length);
        try_model(cut, length);
        free(cut);
    }
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 5; k++) {
            const unsigned char kept = whole[i];
            whole[i] = values[k];
            try_model(whole, n);
            whole[i] = kept;
        }
    interp_memory_set_limit(ctx, 0);
    interp_free(ctx, whole);
}

TEST(every_failed_allocation_is_reported_and_leaks_nothing)
{
    size_t n;
    void *bytes = small_model(&n);
    interp_net *net = NULL;
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &net));
    REQUIRE_OK(ctx, interp_weights_save(net, at("w.safetensors")));
    for (int what = 0; what < 6; what++) {
        const size_t before = used();
        interp_status status = INTERP_NO_MEMORY;
        long fail = 0;
        while (status && fail < 10000) {
            interp_net *got = NULL;
            void *written = NULL;
            size_t m;
            heap.calls = 0;
            heap.fail_at = ++fail;
            if (what == 0) status = interp_onnx_parse(ctx, bytes, n, NULL, &got);
            if (what == 1) status = interp_onnx_serialize(net, &written, &m);
            if (what == 2) status = interp_onnx_save(net, at("n.onnx"));
            if (what == 3) status = interp_onnx_load(ctx, at("n.onnx"), NULL, &got);
            if (what == 4) status = interp_weights_save(net, at("n.safetensors"));
            if (what == 5) status = interp_weights_load(net, at("w.safetensors"));
            heap.fail_at = 0;
            if (status) CHECK(status == INTERP_NO_MEMORY && !got && !written);
            interp_net_free(got);
            interp_free(ctx, written);
            CHECK(used() == before);
        }
        CHECK(status == INTERP_OK && fail > 2);
    }
    remove(at("n.onnx")), remove(at("n.safetensors")), remove(at("w.safetensors"));
    interp_net_free(net);
    interp_free(ctx, bytes);
}

/* y = x w with w [4,2] in another file */
static void external_model(const char *location, int offset, int length)
{
    char text[32];
    const int dims[2] = {4, 2};
    model_begin();
    model_input("x", 2, 0, 4, 1, 1);
    model_output("y");
    node("MatMul", "x w", "y");
    init_head("w", ITP_ONNX_FLOAT, 2, dims);
    for (int i = 0; i < 3; i++) {
        static const char *const keys[3] = {"location", "offset", "length"};
        snprintf(text, sizeof text, "%d", i == 1 ? offset : length);
        itp_pb_put_text(&made.inner, 1, keys[i]);
        itp_pb_put_text(&made.inner, 2, i ? text : location);
        itp_pb_put_message(&made.part, 13, &made.inner);
    }
    itp_pb_put_int(&made.part, 14, 1);
    init_end();
}

static interp_status external_load(interp_net **net)
{
    model_finish(13);
    if (itp_file_write(ctx, at("model/m.onnx"), made.model.data, made.model.n)) exit(1);
    model_end();
    return interp_onnx_load(ctx, at("model/m.onnx"), NULL, net);
}

TEST(external_data_stays_in_the_folder_of_the_model)
{
    static const char *const outside[] = {
        "../w.bin", "/etc/passwd", "sub/../../w.bin", "sub\\..\\w.bin", "c:w.bin",
        "",         "..",          "link.bin",        "out/w.bin"};
    float w[10];
    interp_net *net = NULL;
    const size_t before = used();
    for (int i = 0; i < 10; i++) w[i] = (float)i;
    mkdir(at("model"), 0700), mkdir(at("model/sub"), 0700);
    REQUIRE_OK(ctx, itp_file_write(ctx, at("w.bin"), w, sizeof w));
    REQUIRE_OK(ctx, itp_file_write(ctx, at("model/sub/w.bin"), w, sizeof w));
    CHECK(symlink("../w.bin", at("model/link.bin")) == 0 && symlink("..", at("model/out")) == 0);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        external_model(outside[i], 8, 32);
        CHECK(external_load(&net) == INTERP_FORMAT);
        CHECK(strstr(interp_error(ctx), "external data") != NULL);
        CHECK(!strncmp(interp_error(ctx), folder, strlen(folder)));
    }
    external_model("sub/w.bin", 8, 36);
    CHECK(external_load(&net) == INTERP_FORMAT); /* not as many as the shape says */
    external_model("sub/w.bin", 12, 32);
    CHECK(external_load(&net) == INTERP_FORMAT); /* beyond the end */
    external_model("sub/none.bin", 8, 32);
    CHECK(external_load(&net) == INTERP_IO);
    CHECK(net == NULL);
    external_model("sub/w.bin", 8, 32);
    check_refused(13, INTERP_UNSUPPORTED, "load the model from its file");
    external_model("sub/w.bin", 8, 32);
    REQUIRE_OK(ctx, external_load(&net));
    CHECK(net->n_flat == 8 && net->flat[0] == 2 && net->flat[7] == 9);
    interp_net_free(net);
    remove(at("model/link.bin")), remove(at("model/out")), remove(at("model/sub/w.bin"));
    remove(at("model/m.onnx")), remove(at("w.bin"));
    rmdir(at("model/sub")), rmdir(at("model"));
    CHECK(used() == before);
}

/* ---- weights */

/* ---- images with channels last */

/* A model of images [N,5,6,3]: turned at once, or after numbers were taken from it, or never. */
enum { TURNED_AT_ONCE, TURNED_LATER, TURNED_BY_TWO, NOT_TURNED, TURNINGS };

static void model_of_last(int how, int type)
{
    static const int dims[4] = {0, 5, 6, 3};
    model_begin();
    model_port(11, "x", type, 4, dims);
    model_output("y");
    init_floats("w", 4, 2, 3, 3, 3), init_floats("shift", 1, 3, 1, 1, 1);
    if (type != ITP_ONNX_FLOAT) node_cast("x", "f", ITP_ONNX_FLOAT);
    const char *x = type != ITP_ONNX_FLOAT ? "f" : "x";
    char both[16];
    snprintf(both, sizeof both, "%s shift", x);
    if (how == TURNED_LATER) node("Sub", both, "s");
    if (how == NOT_TURNED) {
        node_begin("ReduceSum", "", x, "y");
        attr_ints("axes", 3, 1, 2, 3, 0);
        node_end();
        return;
    }
    node_begin("Transpose", "", how == TURNED_LATER ? "s" : x, "c");
    attr_ints("perm", 4, 0, 3, 1, 2);
    node_end();
    node("Conv", "c w", how == TURNED_BY_TWO ? "m" : "y");
    if (how != TURNED_BY_TWO) return;
    node_begin("Transpose", "", x, "d");
    attr_ints("perm", 4, 0, 3, 1, 2);
    node_end();
    node("Conv", "d w", "n");
    node("Add", "m n", "y");
}

/* The output for one image, which the caller frees. */
static float *one_output(interp_net *net, const float *x, size_t *n)
{
    interp_workspace *w = NULL;
    float *y = NULL;
    if (interp_workspace_new(ctx, net, NULL, &w)) return NULL;
    if (!interp_forward(w, &x)) {
        *n = interp_workspace_target_size(w);
        y = (float *)interp_alloc(ctx, *n * sizeof *y);
        memcpy(y, interp_workspace_target(w), *n * sizeof *y);
    }
    interp_workspace_free(w);
    return y;
}

static void check_turned(int how, int type)
{
    float x[90], first[90];
    interp_net *as_is = NULL, *turned = NULL, *again = NULL;
    interp_onnx_load_desc d;
    void *bytes = NULL;
    size_t n = 0, m = 0, size = 0;
    for (int i = 0; i < 90; i++) x[i] = (float)(i * 7 % 31);
    memset(&d, 0, sizeof d);
    d.channels_first = true;
    model_of_last(how, type);
    model_finish(11);
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, made.model.data, made.model.n, NULL, &as_is));
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, made.model.data, made.model.n, &d, &turned));
    model_end();
    const interp_shape last = interp_net_input_shape(as_is, 0);
    const interp_shape now = interp_net_input_shape(turned, 0);
    CHECK(!interp_net_input_is_turned(as_is, 0) && interp_net_input_is_turned(turned, 0));
    CHECK(now.rank == 3 && now.dim[0] == 3 && now.dim[1] == 5 && now.dim[2] == 6);
    CHECK_STR(interp_net_input_name(turned, 0), "x");
    int moves = 0;
    for (int i = 0; i < turned->n_nodes; i++) moves += turned->nodes[i].op == ITP_OP_TRANSPOSE;
    static const int most[TURNINGS] = {0, 2, 0, 1};
    if (type == ITP_ONNX_FLOAT) CHECK(moves == most[how]);
    interp_channels_to_first(x, 1, &last, first);
    float *want = one_output(as_is, x, &n), *got = one_output(turned, first, &m);
    CHECK(want && got && n == m && !memcmp(want, got, n * sizeof *want));
    interp_free(ctx, got);
    /* written, it takes what its file took */
    REQUIRE_OK(ctx, interp_onnx_serialize(turned, &bytes, &size));
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, size, NULL, &again));
    const interp_shape back = interp_net_input_shape(again, 0);
    CHECK(back.dim[0] == 5 && back.dim[2] == 3);
    CHECK(interp_net_input_dtype(again, 0) == interp_net_input_dtype(as_is, 0));
    got = one_output(again, x, &m);
    CHECK(want && got && n == m && !memcmp(want, got, n * sizeof *want));
    interp_free(ctx, want);
    interp_free(ctx, got);
    interp_free(ctx, bytes);
    interp_net_free(as_is);
    interp_net_free(turned);
    interp_net_free(again);
}

TEST(models_of_images_with_channels_last_take_them_first)
{
    for (int how = 0; how < TURNINGS; how++) {
        check_turned(how, ITP_ONNX_FLOAT);
        check_turned(how, ITP_ONNX_UINT8);
    }
    interp_net *net = NULL;
    interp_onnx_load_desc d;
    memset(&d, 0, sizeof d);
    d.channels_first = true;
    model_begin(); /* no image with channels last */
    model_input("x", 4, 0, 3, 5, 4);
    model_output("y");
    node("Relu", "x", "y");
    model_finish(11);
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, made.model.data, made.model.n, &d, &net));
    model_end();
    CHECK(!interp_net_input_is_turned(net, 0));
    interp_net_free(net);
}

TEST(weights_survive_the_round_trip)
{
    const interp_shape sample = shape_of(3, 1, 8, 8, 1);
    interp_net *a = NULL, *b = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "cnn", &sample, 3, 1, &a));
    REQUIRE_OK(ctx, interp_net_arch(ctx, "cnn", &sample, 3, 2, &b));
    shake(a);
    CHECK(!same_outputs(a, b, 2));
    REQUIRE_OK(ctx, interp_weights_save(a, at("w.safetensors")));
    REQUIRE_OK(ctx, interp_weights_load(b, at("w.safetensors")));
    CHECK(same_outputs(a, b, 2));
    remove(at("w.safetensors"));
    interp_net_free(a);
    interp_net_free(b);
}

TEST(notes_survive_the_round_trip)
{
    const interp_shape sample = shape_of(1, 4, 1, 1, 1);
    interp_net *net = NULL, *back = NULL;
    void *bytes = NULL;
    size_t n = 0;
    char *text = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "linear", &sample, 3, 1, &net));
    const size_t before = used();
    REQUIRE_OK(ctx, interp_onnx_serialize(net, &bytes, &n));
    REQUIRE_OK(ctx, interp_onnx_note_find(ctx, bytes, n, "classes", &text));
    CHECK(!text);
    const size_t plain = n;
    REQUIRE_OK(ctx, interp_onnx_note_add(ctx, &bytes, &n, "classes", "[\"a\",\"\xC3\xA4\"]"));
    REQUIRE_OK(ctx, interp_onnx_note_add(ctx, &bytes, &n, "empty", ""));
    REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &back));
    CHECK(same_outputs(net, back, 2));
    interp_net_free(back);
    for (int i = 0; i < 3; i++) {
        static const char *const keys[] = {"classes", "empty", "class"};
        static const char *const want[] = {"[\"a\",\"\xC3\xA4\"]", "", NULL};
        REQUIRE_OK(ctx, interp_onnx_note_find(ctx, bytes, n, keys[i], &text));
        CHECK(want[i] ? text && !strcmp(text, want[i]) : !text);
        interp_free(ctx, text);
    }
    CHECK(interp_onnx_note_add(ctx, &bytes, &n, "bad", "\xFF") == INTERP_BAD_ARGUMENT);
    const size_t held = used();
    for (size_t cut = plain + 1; cut < n; cut++) { /* whole notes only, or damaged */
        text = NULL;
        if (interp_onnx_note_find(ctx, bytes, cut, "classes", &text))
            CHECK(interp_last_status(ctx) == INTERP_FORMAT && !text);
        else CHECK(text && !strcmp(text, "[\"a\",\"\xC3\xA4\"]"));
        interp_free(ctx, text);
        CHECK(used() == held);
    }
    for (int k = 1; k <= 2; k++) { /* an allocation that fails leaves the model as it was */
        void *const old = bytes;
        const size_t old_n = n;
        heap.calls = 0, heap.fail_at = k;
        CHECK(interp_onnx_note_add(ctx, &bytes, &n, "more", "text") == INTERP_NO_MEMORY);
        heap.fail_at = 0;
        CHECK(bytes == old && n == old_n && used() == held);
    }
    interp_free(ctx, bytes);
    CHECK(used() == before);
    interp_net_free(net);
}

TEST(weights_of_another_network_are_refused)
{
    static const struct {
        const char *arch, *sentence;
        interp_status status;
    } rows[] = {
        {"mlp:16-5-3", "\"dense1.weight\" is [16,4] but should be [16,5]", INTERP_BAD_SHAPE},
        {"mlp:16-4-3-3", "there is no \"dense3.weight\"", INTERP_BAD_ARGUMENT},
        {"linear", NULL, INTERP_BAD_SHAPE}};
    const interp_shape sample = shape_of(1, 16, 1, 1, 1);
    interp_net *from = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "mlp:16-4-3", &sample, 3, 1, &from));
    REQUIRE_OK(ctx, interp_weights_save(from, at("w.safetensors")));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        interp_net *to = NULL;
        REQUIRE_OK(ctx, interp_net_arch(ctx, rows[i].arch, &sample, 3, 2, &to));
        float *kept = (float *)interp_alloc(ctx, to->n_flat * sizeof *kept);
        memcpy(kept, to->flat, to->n_flat * sizeof *kept);
        CHECK(interp_weights_load(to, at("w.safetensors")) == rows[i].status);
        if (rows[i].sentence) CHECK(strstr(interp_error(ctx), rows[i].sentence) != NULL);
        CHECK(!memcmp(kept, to->flat, to->n_flat * sizeof *kept));
        interp_free(ctx, kept);
        interp_net_free(to);
    }
    /* more than the network has */
    interp_net *one = interp_net_new(ctx, "one");
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    d.name = "dense1";
    interp_output(one, interp_dense(one, interp_input(one, NULL, &sample), 4, &d), "y");
    REQUIRE_OK(ctx, interp_net_build(one, 1));
    CHECK(interp_weights_load(one, at("w.safetensors")) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "has no weights \"dense2.") != NULL);
    interp_net_free(one);
    interp_net_free(from);
    remove(at("w.safetensors"));
}

TEST(networks_that_cannot_be_written_are_refused)
{
    const interp_shape sample = shape_of(1, 4, 1, 1, 1);
    void *bytes = NULL;
    size_t n;
    interp_net *net = interp_net_new(ctx, "bad \xff name");
    interp_output(net, interp_relu(net, interp_input(net, NULL, &sample)), "y");
    CHECK(interp_onnx_serialize(net, &bytes, &n) == INTERP_BAD_ARGUMENT);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    CHECK(interp_onnx_serialize(net, &bytes, &n) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "UTF-8") != NULL && !bytes);
    interp_net_free(net);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    d.allocator.alloc = heap_alloc;
    d.allocator.free = heap_free;
    ctx = interp_open(&d);
    snprintf(folder, sizeof folder, "%.200s/interp_test_onnx_%d", tmp ? tmp : "/tmp",
             (int)getpid());
    if (!ctx || mkdir(folder, 0700)) return 1;
    RUN(every_op_survives_the_round_trip);
    RUN(architectures_survive_the_round_trip);
    RUN(reference_models_give_their_outputs);
    RUN(a_real_photo_is_the_class_it_shows);
    RUN(unsupported_models_are_named_with_node_op_and_opset);
    RUN(numbers_of_eight_and_four_bits_are_read);
    RUN(casts_round_to_the_nearest_small_number);
    RUN(clip_has_bounds_as_attributes_and_later_as_inputs);
    RUN(dropout_does_nothing_in_every_version);
    RUN(softmax_summed_over_all_that_follows_before_opset_13);
    RUN(axes_are_attributes_and_later_inputs);
    RUN(means_over_any_axes_but_the_batch);
    RUN(automatic_pads_put_the_odd_one_where_they_say);
    RUN(slices_take_attributes_or_inputs_negative_ends_and_several_axes);
    RUN(gather_takes_one_index_or_neighbours);
    RUN(sums_and_powers_become_ops_of_ours);
    RUN(newer_ops_and_attributes_need_their_opset);
    RUN(filled_constants_are_bounded);
    RUN(chains_of_exporters_become_one_op);
    RUN(numbers_are_read_in_every_form);
    RUN(nodes_may_stand_in_any_order);
    RUN(initializers_among_the_inputs_are_no_inputs);
    RUN(parameters_follow_the_initializers);
    RUN(statistics_never_share_a_parameters_numbers);
    RUN(a_batch_of_one_is_freed_where_that_means_the_same);
    RUN(sizes_left_open_are_those_of_what_is_given);
    RUN(inputs_that_decide_about_shapes_become_known_numbers);
    RUN(element_types_of_inputs_and_outputs_survive);
    RUN(layer_norm_in_single_steps_is_found_again);
    RUN(refusals_say_what_is_wrong);
    RUN(damaged_models_are_refused_and_leak_nothing);
    RUN(every_failed_allocation_is_reported_and_leaks_nothing);
    RUN(external_data_stays_in_the_folder_of_the_model);
    RUN(models_of_images_with_channels_last_take_them_first);
    RUN(weights_survive_the_round_trip);
    RUN(notes_survive_the_round_trip);
    RUN(weights_of_another_network_are_refused);
    RUN(networks_that_cannot_be_written_are_refused);
    rmdir(folder);
    interp_close(ctx);
    return test_end(argc, argv);
}

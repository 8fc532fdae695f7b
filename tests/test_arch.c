/* Networks by name: their published sizes, that they learn, that files keep them; parts of a network
   called again. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

static interp_ctx *ctx;

static interp_shape shape_of(int rank, int a, int b, int c, int d)
{
    return itp_shape_of(rank, a, b, c, d);
}

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

/* ---- sizes */

TEST(architectures_have_the_published_sizes)
{
    /* torchvision's counts for 1000 classes at 3 x 224 x 224, and those of DeiT-Tiny. */
    static const struct {
        const char *name;
        size_t parameters;
        double macs_low, macs_high; /* 1e9, published to two digits */
    } rows[] = {{"resnet18", 11689512, 1.80, 1.83},        {"resnet50", 25557032, 4.05, 4.15},
                {"mobilenet-v2", 3504872, 0.29, 0.32},     {"efficientnet-b0", 5288548, 0.37, 0.41},
                {"efficientnet-b1", 7794184, 0.55, 0.61},  {"efficientnet-b2", 9109994, 0.64, 0.70},
                {"efficientnet-b3", 12233232, 0.93, 1.02}, {"vit-tiny", 5717416, 1.05, 1.30}};
    const interp_shape s = shape_of(3, 3, 224, 224, 1);
    if (slow_here()) SKIP("too slow here");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        interp_net *net = NULL;
        REQUIRE_OK(ctx, interp_net_arch(ctx, rows[i].name, &s, 1000, 1, &net));
        const interp_net_info d = interp_net_describe(net);
        if (d.n_parameters != rows[i].parameters || d.macs < 1e9 * rows[i].macs_low ||
            d.macs > 1e9 * rows[i].macs_high)
            test_fail(__FILE__, __LINE__, "%s: %zu parameters, %.3f G multiply-adds", rows[i].name,
                      d.n_parameters, d.macs / 1e9);
        interp_net_free(net);
    }
}

/* The networks of Lan et al. 2019 by their code, as they are and with other widths. */
TEST(architectures_take_other_widths)
{
    static const struct {
        const char *name;
        int channels, side;
        size_t parameters;
    } rows[] = {
        {"lenet", 1, 28, 808970},
        {"lenet:20-40-400", 1, 28, 808970},
        {"lenet:10-20-200", 1, 28,
         10 * 25 + 10 + 20 * 10 * 25 + 20 + 20 * 49 * 200 + 200 + 200 * 10 + 10},
        {"allcnn", 3, 32, 1371658},
        {"resnet20", 3, 32, 273066},
        /* twice as wide in the middle of the last three blocks: two of 64 to 64, one of 32 to 64 */
        {"resnet20:16-32-64-16-32-128", 3, 32, 273066 + 9 * 64 * (32 + 5 * 64) + 3 * 3 * 64},
        {"vgg-half", 3, 32, 1918666}};
    static const char *const wrong[] = {
        "lenet:20-40",   "lenet:20-40-400-1",         "lenet:",    "cnn:32-64",
        "vgg-half:32-x", "resnet20:16-32-64-16-32-0", "resnet20-1"};
    interp_net *net = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const interp_shape s = shape_of(3, rows[i].channels, rows[i].side, rows[i].side, 1);
        REQUIRE_OK(ctx, interp_net_arch(ctx, rows[i].name, &s, 10, 1, &net));
        const size_t n = interp_net_describe(net).n_parameters;
        if (n != rows[i].parameters)
            test_fail(__FILE__, __LINE__, "%s: %zu parameters, want %zu", rows[i].name, n,
                      rows[i].parameters);
        interp_net_free(net);
    }
    const interp_shape s = shape_of(3, 1, 28, 28, 1);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(interp_net_arch(ctx, wrong[i], &s, 10, 1, &net) == INTERP_BAD_ARGUMENT);
}

/* Sums over nodes, and sources that are the tensors the nodes were made of. */
TEST(nodes_add_up_to_the_network)
{
    static const char *const names[] = {"lenet", "efficientnet-b0", "vit-tiny", "multiview:cnn"};
    for (int i = 0; i < 4; i++) {
        const interp_shape s = i < 3 ? shape_of(3, 3, 16, 16, 1) : shape_of(4, 2, 3, 8, 8);
        interp_net *net = NULL;
        REQUIRE_OK(ctx, interp_net_arch(ctx, names[i], &s, 10, 1, &net));
        const interp_net_info d = interp_net_describe(net);
        size_t parameters = 0;
        double macs = 0;
        for (int k = 0; k < d.n_nodes; k++) {
            const interp_node_info n = interp_net_node(net, k);
            parameters += n.n_parameters;
            macs += n.macs;
            CHECK_STR(n.name, interp_net_node_name(net, k));
            CHECK(n.n_sources > 0);
            for (int j = 0; j < n.n_sources; j++) {
                const int source = interp_net_node_source(net, k, j);
                CHECK(source < k && source >= -d.n_inputs);
            }
            CHECK(interp_net_node_source(net, k, n.n_sources) == d.n_nodes);
        }
        CHECK(parameters == d.n_parameters && macs == d.macs);
        CHECK(interp_net_node_source(net, 0, 0) == -1);
        CHECK(interp_net_output_source(net, 0) == d.n_nodes - 1);
        interp_net_free(net);
    }
    const interp_shape digit = shape_of(3, 1, 8, 8, 1);
    interp_net *net = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "resnet20", &digit, 10, 1, &net));
    const int add = net->values[itp_find(net, "add1")].producer;
    const interp_node_info n = interp_net_node(net, add);
    CHECK(n.n_sources == 2 && n.bytes == 16 * 64 * 4 && n.n_parameters == 0);
    CHECK(n.kernel[0] == 0 && n.groups == 0);
    const interp_node_info conv = interp_net_node(net, 0);
    CHECK(conv.kernel[0] == 3 && conv.kernel[1] == 3 && conv.stride[1] == 1 && conv.groups == 1);
    CHECK_STR(interp_net_node_name(net, interp_net_node_source(net, add, 0)), "relu1");
    CHECK_STR(interp_net_node_name(net, interp_net_node_source(net, add, 1)), "bn3");
    interp_net_free(net);
}

/* ---- learning and files */

enum { SAMPLES = 6, CLASSES = 3 };

/* Samples whose class is where they are bright, in noise. x: [SAMPLES, shape]. */
static void draw_samples(const interp_shape *shape, float *x, int32_t *y)
{
    const size_t n = interp_shape_size(shape);
    for (size_t i = 0; i < SAMPLES; i++) {
        y[i] = (int32_t)(i % CLASSES);
        for (size_t k = 0; k < n; k++) {
            const bool bright = k * CLASSES / n == (size_t)y[i];
            x[i * n + k] = (bright ? 1.0f : 0.0f) + 0.3f * interp_random_normal(5, i, k);
        }
    }
}

/* Whether a file of the network gives the same outputs: the largest difference by the largest
   output; -1 when something failed. */
static double file_error(interp_net *net, const float *x)
{
    void *bytes = NULL;
    size_t n = 0;
    interp_net *back = NULL;
    static float a[SAMPLES * CLASSES], b[SAMPLES * CLASSES];
    double error = -1, largest = 0;
    if (!interp_onnx_serialize(net, &bytes, &n) && !interp_onnx_parse(ctx, bytes, n, NULL, &back) &&
        interp_net_describe(back).n_parameters == interp_net_describe(net).n_parameters &&
        !interp_predict(net, x, SAMPLES, a) && !interp_predict(back, x, SAMPLES, b)) {
        error = 0;
        for (int i = 0; i < SAMPLES * CLASSES; i++) {
            error = fmax(error, fabs((double)a[i] - (double)b[i]));
            largest = fmax(largest, fabs((double)a[i]));
        }
        error /= largest;
    }
    interp_net_free(back);
    interp_free(ctx, bytes);
    return error;
}

/* Twelve steps on one batch bring the loss below three quarters; a file gives the same outputs. */
static void learn_and_save(const char *name, const interp_shape *s, float lr)
{
    const double same = 1e-5; /* other order of sums where chains become one op */
    float *x = (float *)malloc(interp_shape_size(s) * SAMPLES * sizeof *x);
    int32_t y[SAMPLES];
    interp_train_desc d;
    interp_net *net = NULL;
    interp_trainer *trainer = NULL;
    double first = 0, last = 0;
    memset(&d, 0, sizeof d);
    d.batch = SAMPLES;
    d.lr = lr;
    draw_samples(s, x, y);
    CHECK_OK(ctx, interp_net_arch(ctx, name, s, CLASSES, 3, &net));
    if (net) CHECK_OK(ctx, interp_trainer_new(net, &d, 0, &trainer));
    for (int step = 0; trainer && step < 12; step++) {
        CHECK_OK(ctx, interp_trainer_step(trainer, x, y, NULL, SAMPLES, &last, NULL));
        if (!step) first = last;
    }
    interp_trainer_free(trainer);
    const double error = net ? file_error(net, x) : -1;
    if (!(last < 0.75 * first) || !(error >= 0 && error <= same))
        test_fail(__FILE__, __LINE__, "%s: loss %.3f to %.3f, file off by %g: %s", name, first,
                  last, error, interp_error(ctx));
    interp_net_free(net);
    free(x);
}

TEST(architectures_learn_and_survive_the_round_trip)
{
    static const char *const names[] = {"linear",
                                        "mlp",
                                        "cnn",
                                        "lenet",
                                        "allcnn",
                                        "resnet20",
                                        "resnet18",
                                        "resnet50",
                                        "vgg-half",
                                        "mobilenet-v2",
                                        "vit-tiny",
                                        "efficientnet-b0",
                                        "efficientnet-b1",
                                        "efficientnet-b2",
                                        "efficientnet-b3"};
    const size_t before = used();
    const interp_shape digit = shape_of(3, 1, 8, 8, 1), colour = shape_of(3, 3, 28, 30, 1);
    const size_t n = slow_here() ? 3 : sizeof names / sizeof *names;
    for (size_t i = 0; i < n; i++) learn_and_save(names[i], &digit, 1e-3f);
    if (!slow_here())
        learn_and_save("vit-tiny", &colour, 1e-3f); /* patches of 4, the last column filled up */
    CHECK(used() == before);
}

TEST(views_learn_and_survive_the_round_trip)
{
    const size_t before = used();
    const interp_shape views = shape_of(4, 4, 3, 8, 9), rows = shape_of(2, 5, 6, 1, 1);
    if (!slow_here()) {
        learn_and_save("multiview:resnet18", &views, 1e-3f);
        learn_and_save("multiview:efficientnet-b0", &views, 1e-3f);
    }
    learn_and_save("multiview-concat:cnn", &views, 1e-3f);
    learn_and_save("multiview:mlp", &rows, 1e-2f);
    CHECK(used() == before);
}

/* ---- parts called again */

TEST(views_share_one_backbone)
{
    const interp_shape one = shape_of(3, 3, 16, 20, 1), four = shape_of(4, 4, 3, 16, 20);
    const size_t pixels = interp_shape_size(&one);
    interp_net *single = NULL, *net = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "resnet18", &one, 128, 1, &single));
    REQUIRE_OK(ctx, interp_net_arch(ctx, "multiview:resnet18", &four, 2, 1, &net));
    const interp_net_info a = interp_net_describe(single), b = interp_net_describe(net);
    CHECK(b.n_parameters == a.n_parameters + 128 * 2 + 2);
    CHECK(b.n_buffers == a.n_buffers + 1); /* the quarter of the mean */
    CHECK(b.macs > 4 * a.macs && b.macs < 4.01 * a.macs);
    /* The ReLU of the head is there four times, and turning the views round changes nothing. */
    int heads = 0;
    for (int i = 0; i < b.n_nodes; i++) {
        const interp_shape s = interp_net_node_shape(net, i);
        heads += !strcmp(interp_net_node_op(net, i), "Relu") && s.rank == 1;
    }
    CHECK(heads == 4);
    static float x[2 * 4 * 3 * 16 * 20], y[4];
    for (size_t v = 0; v < 4; v++)
        for (size_t i = 0; i < pixels; i++) {
            x[v * pixels + i] = interp_random_normal(1, v, i);
            x[4 * pixels + (3 - v) * pixels + i] = x[v * pixels + i];
        }
    REQUIRE_OK(ctx, interp_predict(net, x, 2, y));
    for (int k = 0; k < 2; k++) CHECK_NEAR(y[k], y[2 + k], 1e-5 * fabs((double)y[k]) + 1e-6);
    interp_net_free(single);
    interp_net_free(net);
}

/* y = f(f(x1)) + f(x2) with f(x) = tanh(x w) and w = 0.7. */
TEST(a_part_called_again_shares_its_parameters)
{
    const interp_shape s = shape_of(1, 2, 1, 1, 1), w = shape_of(0, 1, 1, 1, 1);
    const size_t before = used();
    interp_net *net = interp_net_new(ctx, "shared");
    const interp_tensor x = interp_input(net, NULL, &s),
                        p = interp_parameter(net, "w", &w, INTERP_UNIFORM, 1, 1);
    const interp_tensor x1 = interp_slice(net, x, 1, 0, 1, false);
    const interp_tensor x2 = interp_slice(net, x, 1, 1, 1, false);
    const interp_tensor f1 = interp_activate(net, interp_mul(net, x1, p), INTERP_TANH, 0);
    const interp_tensor ff = interp_reuse(net, x1, f1, f1), f2 = interp_reuse(net, x1, f1, x2);
    interp_output(net, interp_add(net, ff, f2), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    interp_net_parameters(net)[0] = 0.7f;
    CHECK(interp_net_describe(net).n_parameters == 1);
    CHECK(itp_find(net, "mul1@2") >= 0 && itp_find(net, "tanh1@3") >= 0);
    interp_workspace_desc d;
    interp_workspace *ws = NULL;
    memset(&d, 0, sizeof d);
    d.param_grads = d.input_grads = true;
    REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &d, &ws));
    const float in[2] = {0.4f, -1.1f}, seed = 1;
    const float *inputs = in;
    REQUIRE_OK(ctx, interp_forward(ws, &inputs));
    const double a = 0.4, b = -1.1, u = tanh(0.7 * a), v = tanh(0.7 * u), z = tanh(0.7 * b);
    CHECK_NEAR(interp_workspace_output(ws, 0)[0], v + z, 1e-6);
    REQUIRE_OK(ctx, interp_backward(ws, &seed));
    const double du = (1 - u * u), dv = (1 - v * v), dz = (1 - z * z);
    CHECK_NEAR(interp_workspace_param_grad(ws)[0], dv * (u + 0.7 * du * a) + dz * b, 1e-6);
    CHECK_NEAR(interp_workspace_input_grad(ws, 0)[0], dv * 0.7 * du * 0.7, 1e-6);
    CHECK_NEAR(interp_workspace_input_grad(ws, 0)[1], dz * 0.7, 1e-6);
    interp_workspace_free(ws);
    interp_net_free(net);
    CHECK(used() == before);
}

TEST(what_cannot_be_called_again_is_refused)
{
    const interp_shape s = shape_of(1, 4, 1, 1, 1), wide = shape_of(1, 5, 1, 1, 1);
    for (int i = 0; i < 3; i++) {
        interp_net *net = interp_net_new(ctx, "net");
        const interp_tensor x = interp_input(net, "x", &s), z = interp_input(net, "z", &wide);
        const interp_tensor y = interp_dense(net, x, 3, NULL);
        const interp_tensor got = interp_reuse(net, i ? x : z, y, i == 2 ? 99 : z);
        interp_output(net, y, NULL);
        CHECK(!got);
        CHECK(interp_net_build(net, 1) == (i == 1 ? INTERP_BAD_SHAPE : INTERP_BAD_ARGUMENT));
        if (!i) CHECK(strstr(interp_error(ctx), "\"dense1:0\" does not depend on \"z\""));
        interp_net_free(net);
    }
}

TEST(views_that_do_not_fit_are_refused)
{
    static const struct {
        const char *name;
        int rank, dim[4];
        interp_status status;
        const char *says;
    } rows[] = {
        {"multiview:resnet18", 3, {3, 8, 8, 1}, INTERP_BAD_SHAPE, "needs images [V,C,H,W]"},
        {"multiview:mlp", 1, {3, 1, 1, 1}, INTERP_BAD_SHAPE, "needs views [V,...]"},
        {"multiview:", 4, {2, 3, 8, 8}, INTERP_BAD_ARGUMENT, "is not known"},
        {"multiview:multiview:cnn", 4, {2, 3, 8, 8}, INTERP_BAD_ARGUMENT, "is not known"},
        {"multiview-concat:mlp", 2, {65, 3, 1, 1}, INTERP_UNSUPPORTED, "65 views; at most 64"},
        {"vit-tiny", 2, {8, 8, 1, 1}, INTERP_BAD_SHAPE, "needs images [C,H,W]"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const int *d = rows[i].dim;
        const interp_shape s = shape_of(rows[i].rank, d[0], d[1], d[2], d[3]);
        const size_t before = used();
        interp_net *net = NULL;
        CHECK(interp_net_arch(ctx, rows[i].name, &s, 2, 1, &net) == rows[i].status);
        if (!strstr(interp_error(ctx), rows[i].says))
            test_fail(__FILE__, __LINE__, "%s: %s", rows[i].name, interp_error(ctx));
        CHECK(!net && used() == before);
    }
}

/* Under every limit a network comes out whole or not at all, and nothing is left behind. */
TEST(building_survives_every_allocation_failing)
{
    static const char *const names[] = {"multiview:linear", "multiview-concat:mlp"};
    const interp_shape s = shape_of(2, 3, 4, 1, 1);
    for (int i = 0; i < 2; i++) {
        const size_t before = used();
        bool done = false;
        for (size_t limit = before; !done; limit += 512) {
            interp_net *net = NULL;
            interp_memory_set_limit(ctx, limit);
            const interp_status status = interp_net_arch(ctx, names[i], &s, 2, 1, &net);
            done = status == INTERP_OK;
            CHECK(done == (net != NULL) && (done || status == INTERP_NO_MEMORY));
            interp_net_free(net);
            CHECK(used() == before);
        }
        interp_memory_set_limit(ctx, 0);
    }
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    if (!ctx) return 1;
    RUN(architectures_have_the_published_sizes);
    RUN(architectures_take_other_widths);
    RUN(nodes_add_up_to_the_network);
    RUN(architectures_learn_and_survive_the_round_trip);
    RUN(views_learn_and_survive_the_round_trip);
    RUN(views_share_one_backbone);
    RUN(a_part_called_again_shares_its_parameters);
    RUN(what_cannot_be_called_again_is_refused);
    RUN(views_that_do_not_fit_are_refused);
    RUN(building_survives_every_allocation_failing);
    interp_close(ctx);
    return test_end(argc, argv);
}

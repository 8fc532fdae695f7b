/* Attribution: FullGrad, guided paths, TCAV, layers and neurons, averages, many targets, superpixels. */
#include "interp.h"
#include "heap.h"
#include "test.h"

#define REFS "../shared/refs/attribution/"

static interp_ctx *ctx;

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(17, stream, i);
}

/* Images [2,8,8]: convolutions with and without bias, batch norm, a residual sum, pools. Without
   `smooth` all pieces are linear. */
static interp_net *image_net(interp_ctx *c, bool smooth)
{
    const interp_activation act = smooth ? INTERP_SILU : INTERP_RELU;
    const interp_shape s = {3, {2, 8, 8, 1, 1, 1, 1, 1}}, one = {3, {6, 1, 1, 1, 1, 1, 1, 1}};
    static const float shift[6] = {0.1f, -0.2f, 0.3f, 0.4f, -0.5f, 0.6f};
    interp_net *net = interp_net_new(c, "image");
    interp_conv2d_desc conv;
    memset(&conv, 0, sizeof conv);
    conv.channels = 6, conv.same = true;
    interp_tensor x = interp_conv2d(net, interp_input(net, NULL, &s), &conv);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), act, 0);
    interp_pool2d_desc pool;
    memset(&pool, 0, sizeof pool);
    pool.kind = smooth ? INTERP_POOL_AVERAGE : INTERP_POOL_MAX;
    x = interp_pool2d(net, x, &pool);
    interp_tensor y = interp_conv2d(net, x, &conv);
    y = interp_sub(net, interp_add(net, y, interp_constant(net, &one, shift)),
                   interp_constant(net, &one, shift));
    y = interp_add(net, interp_constant(net, &one, shift), y);
    x = interp_activate(net, interp_add(net, x, y), act, 0);
    x = interp_activate(net, interp_dense(net, interp_flatten(net, x), 12, NULL), act, 0);
    interp_output(net, interp_dense(net, x, 4, NULL), "y");
    if (interp_net_build(net, 5)) return NULL;
    float *p = interp_net_parameters(net); /* biases, scales, shifts away from their start */
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape) && v.shape.rank == 1; k++)
            p[v.offset + k] += 0.3f * interp_random_normal(3, v.offset, k);
    }
    return net;
}

enum { SIZE = 128, MAP = 64 };

/* ---- FullGrad */

TEST(full_grad_of_linear_pieces_adds_up_to_the_output)
{
    enum { n = 5 };
    static float x[n * SIZE], out[n * MAP];
    interp_attribution report[n];
    interp_attribute_desc d;
    fill(x, n * SIZE, 1);
    memset(&d, 0, sizeof d);
    d.method = INTERP_FULL_GRAD;
    for (int smooth = 0; smooth < 2; smooth++) {
        interp_net *net = image_net(ctx, smooth);
        REQUIRE(net);
        double worst = 0;
        for (d.batch = 0; d.batch < 3; d.batch++) {
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, report));
            for (int i = 0; i < n; i++) worst = fmax(worst, fabs(report[i].residual));
        }
        if (smooth) CHECK(worst > 1e-2); /* what SiLU bends is not there */
        else CHECK_NEAR(worst, 0, 1e-5); /* rounding of float32 */
        interp_net_free(net);
    }
}

TEST(full_grad_maps_are_scaled_and_raw_ones_add_magnitudes)
{
    static float x[SIZE], map[MAP], raw[MAP], g[SIZE], more[MAP];
    interp_attribute_desc d;
    fill(x, SIZE, 2);
    interp_net *net = image_net(ctx, false);
    memset(&d, 0, sizeof d);
    d.method = INTERP_FULL_GRAD, d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, map, NULL));
    d.raw = true;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, raw, NULL));
    float low = map[0], high = map[0];
    for (int i = 0; i < MAP; i++) low = fminf(low, map[i]), high = fmaxf(high, map[i]);
    CHECK(low == 0 && fabsf(high - 1) < 1e-5f);
    d.method = INTERP_INPUT_X_GRADIENT;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, g, NULL));
    double biases = 0;
    for (int i = 0; i < MAP; i++) {
        const double own = fabs((double)g[i]) + fabs((double)g[i + MAP]);
        CHECK((double)raw[i] >= own - 1e-6); /* biases only add */
        biases += (double)raw[i] - own;
    }
    CHECK(biases > 1e-3);
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) { /* of layers, a little more */
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape) && strstr(v.name, "bias"); k++)
            p[v.offset + k] *= 1.001f;
    }
    d.method = INTERP_FULL_GRAD;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, more, NULL));
    CHECK(memcmp(more, raw, sizeof raw) != 0);
    const interp_shape flat = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *mlp;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "linear", &flat, 3, 1, &mlp));
    CHECK(interp_attribute(mlp, x, 1, &d, more, NULL) == INTERP_BAD_SHAPE);
    interp_net_free(mlp);
    interp_net_free(net);
}

/* An array of the references; false when it is not there. */
static bool read_ref(const char *model, const char *file, interp_array *to, bool floats)
{
    char path[256];
    memset(to, 0, sizeof *to);
    snprintf(path, sizeof path, REFS "%s/%s", model, file);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f && !interp_npy_read(ctx, path, to) && (!floats || !interp_array_to_f32(ctx, to));
}

/* Largest difference over the largest wanted. */
static double error_of(const float *got, const interp_array *want)
{
    double worst = 0, largest = 1e-30;
    for (size_t i = 0; i < interp_shape_size(&want->shape); i++) {
        const double w = (double)((const float *)want->data)[i];
        worst = fmax(worst, fabs((double)got[i] - w));
        largest = fmax(largest, fabs(w));
    }
    return worst / largest;
}

TEST(full_grad_matches_the_reference)
{
    static float out[4 * 28 * 28];
    interp_array x, want, labels;
    interp_attribute_desc d;
    interp_net *net;
    int32_t targets[4];
    if (!read_ref("lenet", "cam_FullGrad.map.f64.npy", &want, true)) SKIP("no references");
    REQUIRE(read_ref("lenet", "inputs.npy", &x, true));
    REQUIRE(read_ref("lenet", "targets.npy", &labels, false));
    REQUIRE_OK(ctx, interp_array_ints(ctx, &labels, targets));
    REQUIRE_OK(ctx, interp_onnx_load(ctx, REFS "lenet/model.onnx", NULL, &net));
    memset(&d, 0, sizeof d);
    d.method = INTERP_FULL_GRAD, d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    REQUIRE_OK(ctx, interp_attribute(net, (const float *)x.data, 4, &d, out, NULL));
    CHECK_NEAR(error_of(out, &want), 0, 1e-5);
    interp_array_free(ctx, &x), interp_array_free(ctx, &want), interp_array_free(ctx, &labels);
    interp_net_free(net);
}

/* ---- guided integrated gradients */

TEST(guided_ig_sums_to_the_output_difference)
{
    enum { n = 3 };
    static float x[n * SIZE], base[n * SIZE], out[n * SIZE];
    interp_attribution report[n];
    interp_attribute_desc d;
    fill(x, n * SIZE, 3), fill(base, n * SIZE, 4);
    memset(&d, 0, sizeof d);
    d.method = INTERP_GUIDED_IG;
    d.baseline = base, d.n_baselines = n;
    d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
    for (int smooth = 0; smooth < 2; smooth++) {
        interp_net *net = image_net(ctx, smooth);
        double before = 1e9;
        for (d.n_steps = 50; d.n_steps <= (slow_here() ? 400 : 3200); d.n_steps *= 8) {
            double worst = 0, largest = 0;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, report));
            for (int i = 0; i < n; i++) {
                const double change = report[i].output - report[i].baseline_output;
                double sum = 0;
                for (int k = 0; k < SIZE; k++) sum += (double)out[i * SIZE + k];
                CHECK_NEAR(sum - change, report[i].residual, 1e-5);
                worst = fmax(worst, fabs(report[i].residual));
                largest = fmax(largest, fabs(change));
                CHECK(report[i].passes == d.n_steps + 3);
            }
            /* A path of small gradients runs along kinks and over them again and again, with an error
               at each crossing; where there are none it falls with the square of the step. */
            if (smooth && d.n_steps < 3200) CHECK(worst < 0.05 * before);
            if (!smooth) CHECK(worst < 0.25 * largest);
            before = worst;
            if (smooth && d.n_steps == 3200)
                CHECK_NEAR(worst / largest, 0, 1e-4); /* rounding of steps */
        }
        interp_net_free(net);
    }
}

/* With all numbers moving at once it is integrated gradients by the trapezoid rule. */
TEST(guided_ig_of_all_numbers_is_the_straight_path)
{
    enum { n = 2 };
    static float x[n * SIZE], out[n * SIZE], want[n * SIZE];
    interp_attribute_desc d;
    fill(x, n * SIZE, 5);
    interp_net *net = image_net(ctx, true);
    memset(&d, 0, sizeof d);
    d.target_kind = INTERP_TARGET_CLASS;
    d.n_steps = 20, d.fraction = 1;
    d.method = INTERP_GUIDED_IG;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, NULL));
    d.method = INTERP_INTEGRATED_GRADIENTS, d.quadrature = INTERP_RIEMANN_TRAPEZOID;
    d.n_steps = 21;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, want, NULL));
    for (int i = 0; i < n * SIZE; i++) CHECK_NEAR(out[i], want[i], 1e-5);
    d.method = INTERP_GUIDED_IG, d.fraction = 2;
    CHECK(interp_attribute(net, x, n, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(guided_ig_moves_numbers_of_small_gradients_first)
{
    const interp_shape s = {1, {4, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "steep");
    const interp_tensor x = interp_dense(net, interp_input(net, NULL, &s), 2, NULL);
    const interp_tensor y = interp_mul(net, x, x);
    interp_output(net, interp_dense(net, y, 1, NULL), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    /* u = x0 + x1 / 8, v = x2 / 8 + x3 / 8; f = u^2 + v^2 + x-free bias */
    float *p = interp_net_parameters(net), in[4] = {1, 1, 1, 1}, out[4], straight[4];
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        const bool first = v.shape.rank == 2 && interp_shape_size(&v.shape) == 8;
        static const float u[4] = {1, 0.125f, 0, 0}, w[4] = {0, 0, 0.125f, 0.125f};
        const bool rows = v.shape.dim[0] == 2; /* weights [out, in] or [in, out] */
        for (int k = 0; k < 8 && first; k++)
            p[v.offset + (size_t)k] = rows ? (k < 4 ? u[k] : w[k - 4]) : (k % 2 ? w : u)[k / 2];
        for (size_t k = 0; k < interp_shape_size(&v.shape) && !first; k++)
            p[v.offset + k] = v.shape.rank == 1 ? 0 : 1;
    }
    interp_attribute_desc d;
    interp_attribution report;
    memset(&d, 0, sizeof d);
    d.method = INTERP_GUIDED_IG, d.n_steps = 4000;
    REQUIRE_OK(ctx, interp_attribute(net, in, 1, &d, out, &report));
    CHECK_NEAR(report.output, 1.265625 + 0.0625, 1e-6);
    CHECK_NEAR(report.residual, 0, 2e-3);
    d.method = INTERP_INTEGRATED_GRADIENTS, d.n_steps = 50;
    REQUIRE_OK(ctx, interp_attribute(net, in, 1, &d, straight, &report));
    /* the steep number goes last, when the one beside it is there: it gets all of their product */
    CHECK_NEAR(straight[0], 1.125, 1e-4);
    CHECK_NEAR(out[0], 1.25, 5e-3);
    CHECK_NEAR(out[1], 1 / 64.0, 5e-3);
    interp_net_free(net);
}

/* ---- concepts */

/* [8] numbers, a layer that hands them on, and three outputs: number 0, less number 0, number 5. */
static interp_net *concept_net(interp_ctx *c)
{
    const interp_shape s = {1, {8, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "concepts");
    interp_tensor x = interp_dense(net, interp_input(net, NULL, &s), 8, NULL);
    x = interp_dense(net, interp_activate(net, x, INTERP_TANH, 0), 3, NULL);
    interp_output(net, x, "y");
    if (interp_net_build(net, 1)) return NULL;
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        const size_t n = interp_shape_size(&v.shape);
        const bool by_out = v.shape.dim[0] == 3; /* [out, in], or [in, out] */
        memset(p + v.offset, 0, n * sizeof *p);
        for (size_t k = 0; k < 8 && n == 64; k++) p[v.offset + 9 * k] = 1;
        if (n != 24) continue;
        p[v.offset] = 1;
        p[v.offset + (by_out ? 8 : 1)] = -1;
        p[v.offset + (by_out ? 16 + 5 : 5 * 3 + 2)] = 1;
    }
    return net;
}

/* Area under Student's density beyond +-t, by Simpson's rule over t = tan. */
static double student_p(double t, double freedom)
{
    const int n = 20000;
    double in = 0, all = 0;
    for (int i = 0; i <= n; i++) {
        const double u = 3.14159265358979323846 / 2 * i / n,
                     weight = i == 0 || i == n ? 1 : 2 + i % 2 * 2;
        if (i == n) continue; /* the density is 0 there */
        const double x = tan(u),
                     density = pow(1 + x * x / freedom, -0.5 * (freedom + 1)) / (cos(u) * cos(u));
        all += weight * density;
        if (x >= t) in += weight * density;
    }
    return in / all;
}

enum { EXAMPLES = 24, RANDOM = 40, TESTED = 15 };

static void concept_data(float *x, float *examples, float *random)
{
    fill(x, TESTED * 8, 21), fill(examples, EXAMPLES * 8, 22), fill(random, RANDOM * 8, 23);
    for (int i = 0; i < EXAMPLES; i++) examples[i * 8] += 4;
}

TEST(tcav_tells_a_concept_from_chance)
{
    float x[TESTED * 8], examples[EXAMPLES * 8], random[RANDOM * 8], cav[8];
    interp_tcav_result r[3], again;
    interp_tcav_desc d;
    concept_data(x, examples, random);
    interp_net *net = concept_net(ctx);
    REQUIRE(net);
    memset(&d, 0, sizeof d);
    d.layer = "dense1", d.target_kind = INTERP_TARGET_CLASS;
    d.examples = examples, d.n_examples = EXAMPLES, d.random = random, d.n_random = RANDOM;
    for (d.target = 0; d.target < 3; d.target++)
        REQUIRE_OK(ctx, interp_tcav(net, x, TESTED, &d, &r[d.target], cav));
    CHECK(r[0].score == 1 && r[1].score == 0 && r[0].magnitude == 1 && r[1].magnitude == 0);
    CHECK(r[0].p < 1e-3 && r[1].p < 1e-3 && r[0].score_sd == 0);
    CHECK(r[2].score > 0.1 && r[2].score < 0.9 && r[2].p > 0.01); /* its sign is chance */
    for (int i = 0; i < 3; i++) CHECK(r[i].random_score > 0.1 && r[i].random_score < 0.9);
    CHECK(r[0].accuracy > 0.9);
    double size = 0;
    for (int i = 0; i < 8; i++) size += (double)cav[i] * (double)cav[i];
    CHECK_NEAR(size, 1, 1e-5);
    CHECK(cav[0] > 0.9f);
    d.target = 2;
    for (int threads = 1; threads < 4; threads++) { /* the same at any batch and thread count */
        interp_desc o;
        memset(&o, 0, sizeof o);
        o.threads = threads;
        interp_ctx *c = interp_open(&o);
        interp_net *copy = concept_net(c);
        d.batch = threads;
        CHECK_OK(c, interp_tcav(copy, x, TESTED, &d, &again, NULL));
        CHECK(memcmp(&again, &r[2], sizeof again) == 0);
        interp_close(c);
    }
    d.random = examples, d.n_random = EXAMPLES; /* no concept at all */
    REQUIRE_OK(ctx, interp_tcav(net, x, TESTED, &d, &again, NULL));
    CHECK(again.accuracy < 0.7);
    interp_net_free(net);
}

TEST(tcav_p_is_that_of_welchs_test)
{
    float x[TESTED * 8], examples[EXAMPLES * 8], random[RANDOM * 8];
    interp_tcav_result r;
    interp_tcav_desc d;
    concept_data(x, examples, random);
    for (int i = 0; i < EXAMPLES; i++) examples[i * 8 + 5] += 0.3f; /* hardly */
    interp_net *net = concept_net(ctx);
    memset(&d, 0, sizeof d);
    d.layer = "dense1", d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
    d.examples = examples, d.n_examples = EXAMPLES, d.random = random, d.n_random = RANDOM;
    for (d.splits = 3; d.splits < 60; d.splits += 7) {
        REQUIRE_OK(ctx, interp_tcav(net, x, TESTED, &d, &r, NULL));
        const double n = d.splits, u = r.score_sd * r.score_sd / n,
                     v = r.random_sd * r.random_sd / n;
        if (u + v == 0) continue;
        const double freedom = (u + v) * (u + v) / ((u * u + v * v) / (n - 1));
        const double t = fabs(r.score - r.random_score) / sqrt(u + v);
        CHECK_NEAR(r.p, student_p(t, freedom), 2e-3); /* of the test's sum */
    }
    interp_net_free(net);
}

TEST(tcav_refuses_what_is_not_enough)
{
    float x[TESTED * 8], examples[EXAMPLES * 8], random[RANDOM * 8], cav[8] = {7, 7};
    interp_tcav_result r;
    interp_tcav_desc d;
    concept_data(x, examples, random);
    interp_net *net = concept_net(ctx);
    memset(&d, 0, sizeof d), memset(&r, 0, sizeof r);
    d.examples = examples, d.n_examples = EXAMPLES, d.random = random, d.n_random = RANDOM;
    CHECK(interp_tcav(net, x, TESTED, &d, &r, cav) == INTERP_BAD_ARGUMENT); /* no layer */
    d.layer = "dense1", d.n_random = 3;
    CHECK(interp_tcav(net, x, TESTED, &d, &r, cav) == INTERP_BAD_ARGUMENT);
    d.n_random = RANDOM, d.n_examples = 1;
    CHECK(interp_tcav(net, x, TESTED, &d, &r, cav) == INTERP_BAD_ARGUMENT);
    d.n_examples = EXAMPLES, d.splits = 1;
    CHECK(interp_tcav(net, x, TESTED, &d, &r, cav) == INTERP_BAD_ARGUMENT);
    d.splits = 0, examples[3] = NAN;
    CHECK(interp_tcav(net, x, TESTED, &d, &r, cav) == INTERP_NOT_FINITE);
    CHECK(cav[0] == 7 && r.score == 0);
    interp_net_free(net);
}

/* ---- scopes: layers and neurons */

typedef struct scope_row {
    const char *model, *want;
    interp_method method;
    interp_scope scope;
    const char *layer;
    int target, neuron; /* target -1: those stored */
    bool no_baseline;
    double
        tolerance; /* 1e-5, but where one of 50 points lies next to a kink and falls on its other side */
} scope_row;

static void check_scope(const scope_row *r)
{
    static float out[65536];
    interp_array x, want, labels, base;
    interp_attribute_desc d;
    interp_net *net;
    interp_shape s;
    int32_t targets[8];
    char path[256];
    snprintf(path, sizeof path, REFS "%s/model.onnx", r->model);
    REQUIRE_OK(ctx, interp_onnx_load(ctx, path, NULL, &net));
    snprintf(path, sizeof path, "%s.f64.npy", r->want);
    REQUIRE(read_ref(r->model, path, &want, true));
    REQUIRE(read_ref(r->model, "inputs.npy", &x, true));
    REQUIRE(read_ref(r->model, "baselines.npy", &base, true));
    REQUIRE(read_ref(r->model, "targets.npy", &labels, false));
    REQUIRE_OK(ctx, interp_array_ints(ctx, &labels, targets));
    memset(&d, 0, sizeof d);
    if (r->method == INTERP_NEURON_CONDUCTANCE) /* captum's own default */
        d.quadrature = INTERP_RIEMANN_TRAPEZOID, d.captum = true;
    d.method = r->method, d.scope = r->scope, d.layer = r->layer, d.neuron = r->neuron;
    d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    if (r->target >= 0) d.target_kind = INTERP_TARGET_CLASS, d.target = r->target;
    d.baseline = (const float *)base.data, d.n_baselines = base.shape.dim[0];
    for (d.batch = 0; d.batch < 2; d.batch++) {
        REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, NULL));
        const size_t n = interp_shape_size(&s) * (size_t)x.shape.dim[0];
        REQUIRE(n == interp_shape_size(&want.shape) && n <= sizeof out / sizeof *out);
        REQUIRE_OK(ctx,
                   interp_attribute(net, (const float *)x.data, x.shape.dim[0], &d, out, NULL));
        const double error = error_of(out, &want);
        if (!(error <= r->tolerance))
            test_fail(__FILE__, __LINE__, "%s/%s: off by %.2g of the largest", r->model, r->want,
                      error);
    }
    interp_array_free(ctx, &x), interp_array_free(ctx, &want), interp_array_free(ctx, &labels);
    interp_array_free(ctx, &base);
    interp_net_free(net);
}

TEST(layer_and_neuron_versions_match_the_references)
{
#define LAYER(model, want, method, layer)                                                          \
    {                                                                                              \
        model, want, method, INTERP_SCOPE_LAYER, layer, -1, 0, false, 1e-5                         \
    }
#define NEURON(model, want, method, layer, neuron)                                                 \
    {                                                                                              \
        model, want, method, INTERP_SCOPE_NEURON, layer, neuron, 0, false, 1e-5                    \
    }
#define THROUGH(model, layer, neuron)                                                              \
    {                                                                                              \
        model, "neuron_conductance", INTERP_NEURON_CONDUCTANCE, INTERP_SCOPE_INPUT, layer, -1,     \
            neuron, false, 1e-5                                                                    \
    }
    static const scope_row rows[] = {
        LAYER("mlp", "layer_ig.net.1", INTERP_INTEGRATED_GRADIENTS, "/net/net.1/Relu"),
        LAYER("mlp", "layer_deeplift.net.1", INTERP_DEEP_LIFT, "/net/net.1/Relu"),
        LAYER("mlp_acts", "layer_ig.net.1", INTERP_INTEGRATED_GRADIENTS, "/net/net.1/Sigmoid"),
        LAYER("mlp_acts", "layer_deeplift.net.1", INTERP_DEEP_LIFT, "/net/net.1/Sigmoid"),
        LAYER("lenet", "layer_ig.pool1", INTERP_INTEGRATED_GRADIENTS, "/pool1/MaxPool"),
        LAYER("lenet", "layer_ig.relu3", INTERP_INTEGRATED_GRADIENTS, "/relu3/Relu"),
        LAYER("lenet", "layer_deeplift.relu3", INTERP_DEEP_LIFT, "/relu3/Relu"),
        LAYER("resnet_mini_pool2", "layer_ig.layer1", INTERP_INTEGRATED_GRADIENTS,
              "/layer1/relu_1/Relu"),
        LAYER("resnet_mini_pool2", "layer_deeplift.layer1", INTERP_DEEP_LIFT,
              "/layer1/relu_1/Relu"),
        LAYER("transformer_mini", "layer_ig.ln1", INTERP_INTEGRATED_GRADIENTS, "/ln1/Add_1"),
        NEURON("mlp", "neuron_ig", INTERP_INTEGRATED_GRADIENTS, "/net/net.2/Gemm", 3),
        NEURON("mlp_acts", "neuron_ig", INTERP_INTEGRATED_GRADIENTS, "/net/net.2/Gemm", 3),
        NEURON("lenet", "neuron_ig", INTERP_INTEGRATED_GRADIENTS, "/fc1/Gemm", 5),
        NEURON("resnet_mini_pool2", "neuron_ig", INTERP_INTEGRATED_GRADIENTS, "/layer1/relu_1/Relu",
               (2 * 10 + 4) * 10 + 4),
        THROUGH("mlp", "/net/net.2/Gemm", 3),
        THROUGH("mlp_acts", "/net/net.2/Gemm", 3),
        THROUGH("lenet", "/fc1/Gemm", 5),
        THROUGH("resnet_mini_pool2", "/layer1/relu_1/Relu", (2 * 10 + 4) * 10 + 4),
    };
#undef LAYER
#undef NEURON
#undef THROUGH
    FILE *f = fopen(REFS "README.md", "r");
    if (!f) SKIP("../shared is not there");
    fclose(f);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_scope(&rows[i]);
}

/* Two dense layers, as a whole, from the middle on and up to the middle, with the same parameters. */
static interp_net *piece(interp_ctx *c, bool head, bool tail)
{
    const interp_shape in = {1, {7, 1, 1, 1, 1, 1, 1, 1}}, mid = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "piece");
    interp_tensor x = interp_input(net, NULL, head ? &in : &mid);
    if (head) x = interp_relu(net, interp_dense(net, x, 9, NULL));
    if (tail) x = interp_dense(net, interp_activate(net, x, INTERP_SILU, 0), 4, NULL);
    interp_output(net, x, "y");
    if (interp_net_build(net, 1)) return NULL;
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        const size_t n = interp_shape_size(&v.shape);
        for (size_t k = 0; k < n; k++) p[v.offset + k] = 0.4f * interp_random_normal(31, n, k);
    }
    return net;
}

/* Methods that work on vectors and need nothing but samples, a baseline and a target. */
static bool of_vectors(int m)
{
    return m != INTERP_BLUR_IG && m != INTERP_RISE && m != INTERP_FULL_GRAD &&
           !(m >= INTERP_GRAD_CAM && m <= INTERP_NEURON_CONDUCTANCE);
}

TEST(a_method_at_a_layer_is_that_of_the_network_behind_it)
{
    enum { n = 3 };
    float x[n * 7], base[n * 7], mid[n * 9], mid_base[n * 9], got[n * 9], want[n * 9];
    interp_attribution r[n], q[n];
    fill(x, n * 7, 41), fill(base, n * 7, 42);
    for (int m = 0; m < INTERP_METHOD_COUNT; m++)
        for (int run = 0; run < 4 && of_vectors(m);
             run++) { /* batches, threads; zero, many baselines */
            interp_desc o;
            memset(&o, 0, sizeof o);
            o.threads = 1 + run;
            interp_ctx *c = interp_open(&o);
            interp_net *net = piece(c, true, true), *head = piece(c, true, false),
                       *tail = piece(c, false, true);
            interp_attribute_desc d;
            size_t bytes;
            memset(&d, 0, sizeof d);
            memset(mid_base, 0, sizeof mid_base);
            d.method = (interp_method)m, d.n_steps = 9, d.n_samples = 6, d.batch = run;
            d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
            REQUIRE_OK(c, interp_predict(head, x, n, mid));
            REQUIRE_OK(c, interp_predict(head, base, n, mid_base));
            d.baseline = mid_base, d.n_baselines = n;
            REQUIRE_OK(c, interp_attribute(tail, mid, n, &d, want, q));
            d.scope = INTERP_SCOPE_LAYER, d.layer = "relu1", d.baseline = base;
            REQUIRE_OK(c, interp_attribute_bytes(net, n, &d, &bytes));
            const size_t used = interp_memory_read(c).used;
            interp_memory_set_limit(c, used + bytes);
            REQUIRE_OK(c, interp_attribute(net, x, n, &d, got, r));
            CHECK(interp_memory_read(c).used == used);
            for (int i = 0; i < n * 9; i++) CHECK_NEAR(got[i], want[i], 1e-5);
            for (int i = 0; i < n; i++) {
                CHECK_NEAR(r[i].output, q[i].output, 1e-5);
                CHECK_NEAR(r[i].baseline_output, q[i].baseline_output, 1e-5);
                CHECK_NEAR(r[i].residual, q[i].residual, 1e-4);
            }
            interp_close(c);
        }
}

TEST(a_method_of_a_neuron_is_that_of_the_network_up_to_it)
{
    enum { n = 3 };
    float x[n * 7], base[n * 7], got[n * 7], want[n * 7];
    interp_net *net = piece(ctx, true, true), *head = piece(ctx, true, false);
    interp_attribute_desc d;
    fill(x, n * 7, 43), fill(base, n * 7, 44);
    memset(&d, 0, sizeof d);
    d.baseline = base, d.n_baselines = n, d.n_steps = 9, d.n_samples = 6;
    for (int m = 0; m < INTERP_METHOD_COUNT; m++) {
        if (!of_vectors(m)) continue;
        d.method = (interp_method)m, d.target_kind = INTERP_TARGET_CLASS, d.target = 8;
        d.scope = INTERP_SCOPE_INPUT, d.layer = NULL;
        REQUIRE_OK(ctx, interp_attribute(head, x, n, &d, want, NULL));
        d.scope = INTERP_SCOPE_NEURON, d.layer = "relu1";
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, NULL));
        CHECK(memcmp(got, want, sizeof got) == 0);
    }
    interp_net_free(net), interp_net_free(head);
}

/* What goes around the layer stays: y = relu(a(x)) + x all the same. */
TEST(layers_with_a_way_around_them_are_complete)
{
    enum { n = 3 };
    static float x[n * SIZE], base[n * SIZE], out[n * 6 * 16];
    interp_attribution r[n];
    interp_attribute_desc d;
    interp_net *net = image_net(ctx, false);
    fill(x, n * SIZE, 45), fill(base, n * SIZE, 46);
    memset(&d, 0, sizeof d);
    d.scope = INTERP_SCOPE_LAYER, d.layer = "conv2", d.baseline = base, d.n_baselines = n;
    static const interp_method methods[] = {INTERP_INTEGRATED_GRADIENTS, INTERP_DEEP_LIFT,
                                            INTERP_SHAPLEY_VALUE_SAMPLING, INTERP_DEEP_LIFT_SHAP};
    for (int m = 0; m < 4; m++)
        for (d.batch = 0; d.batch < 3; d.batch++) {
            d.method = methods[m], d.n_steps = 1000;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
            for (int i = 0; i < n; i++) {
                CHECK(fabs(r[i].output - r[i].baseline_output) > 0.05);
                CHECK_NEAR(r[i].residual, 0, m ? 2e-5 : 2e-3); /* kinks between points */
            }
        }
    if (slow_here()) { /* 96 paths of 400 steps */
        interp_net_free(net);
        return;
    }
    /* conductance of all its neurons is the path's flow through the layer, and no more */
    double sum = 0, through = 0;
    d.scope = INTERP_SCOPE_INPUT, d.batch = 0, d.n_steps = 400, d.n_baselines = 1;
    d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    for (d.neuron = 0; d.neuron < 96; d.neuron++) {
        d.method = INTERP_NEURON_CONDUCTANCE;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, r));
        for (int i = 0; i < SIZE; i++) sum += (double)out[i];
    }
    d.method = INTERP_LAYER_CONDUCTANCE;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, r));
    for (int i = 0; i < 96; i++) through += (double)out[i];
    CHECK_NEAR(sum / through, 1, 3e-2); /* sums over 400 steps with kinks */
    interp_net_free(net);
}

TEST(wrong_scopes_are_refused)
{
    float x[SIZE] = {0}, out[SIZE * 4];
    interp_attribute_desc d;
    interp_net *net = image_net(ctx, false);
    memset(&d, 0, sizeof d);
    d.method = INTERP_INTEGRATED_GRADIENTS, d.scope = INTERP_SCOPE_LAYER;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT); /* no layer */
    d.layer = "no such layer";
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.layer = interp_net_input_name(net, 0);
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "is the input itself") != NULL);
    d.layer = "relu1", d.method = INTERP_GRAD_CAM;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.method = INTERP_SALIENCY, d.scope = (interp_scope)7;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.scope = INTERP_SCOPE_INPUT, d.method = INTERP_NEURON_CONDUCTANCE, d.neuron = 100000;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* ---- RevealCancel */

/* Layers of 7, 9, 9 and 4 with a function between, dense ones as matrix products with biases added. */
static interp_net *function_net(interp_ctx *c, interp_activation act, bool products)
{
    const interp_shape s = {2, {3, 7, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "functions");
    interp_tensor x = interp_input(net, NULL, &s);
    for (int layer = 0; layer < 2; layer++) {
        const int from = layer ? 9 : 7;
        const interp_shape w = {2, {from, 9, 1, 1, 1, 1, 1, 1}}, b = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
        float numbers[81], bias[9];
        for (int i = 0; i < from * 9; i++)
            numbers[i] = 0.4f * interp_random_normal(51, (uint64_t)layer, (uint64_t)i);
        fill(bias, 9, 52);
        interp_tensor y = products ? interp_matmul(net, x, interp_constant(net, &w, numbers))
                                   : interp_dense(net, x, 9, NULL);
        if (products) y = interp_add(net, interp_constant(net, &b, bias), y);
        x = interp_activate(net, y, act, act == INTERP_RELU6 ? 0 : 0.3f);
    }
    interp_output(net, interp_dense(net, interp_flatten(net, x), 4, NULL), "y");
    return interp_net_build(net, 3) ? NULL : net;
}

TEST(reveal_cancel_is_complete_for_every_function)
{
    enum { n = 3, size = 21 };
    float x[n * size], base[n * size], rescale[n * size], out[n * size], first[n * size];
    interp_attribution r[n];
    interp_attribute_desc d;
    fill(x, n * size, 53), fill(base, n * size, 54);
    memset(&d, 0, sizeof d);
    d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    for (int act = INTERP_RELU; act <= INTERP_RELU6; act++)
        for (int kind = 0; kind < 6; kind++) {
            interp_net *net = function_net(ctx, (interp_activation)act, kind % 2);
            REQUIRE(net);
            d.method = kind / 2 == 2 ? INTERP_DEEP_LIFT_SHAP : INTERP_DEEP_LIFT;
            d.baseline = kind < 2 ? NULL : base, d.n_baselines = kind < 2 ? 1 : n;
            d.reveal_cancel = false;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, rescale, NULL));
            d.reveal_cancel = true;
            for (d.batch = 0; d.batch < 3; d.batch++) {
                REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, d.batch ? out : first, r));
                for (int i = 0; i < n; i++) CHECK_NEAR(r[i].residual, 0, 2e-5); /* rounding */
                if (d.batch) CHECK(memcmp(out, first, sizeof out) == 0);
            }
            CHECK(memcmp(out, rescale, sizeof out) != 0);
            d.batch = 0;
            interp_net_free(net);
        }
}

/* The example of Shrikumar et al. 2017, section 3.5.3: min(a, b) = a - relu(a - b), of which Rescale
   gives all to the smaller one. */
TEST(reveal_cancel_shares_a_minimum)
{
    const interp_shape s = {1, {2, 1, 1, 1, 1, 1, 1, 1}};
    static const float at[3][2] = {{3, 1}, {1, 5}, {2, 2}};
    interp_net *net = interp_net_new(ctx, "min");
    interp_tensor x = interp_relu(net, interp_dense(net, interp_input(net, NULL, &s), 2, NULL));
    interp_output(net, interp_dense(net, x, 1, NULL), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    float *p = interp_net_parameters(net), one[2] = {1, 0}, out[2];
    bool by_out = false;
    interp_attribute_desc d;
    interp_attribution r;
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        float *q = p + v.offset;
        const size_t size = interp_shape_size(&v.shape);
        memset(q, 0, size * sizeof *q);
        if (size == 4) q[0] = 1, q[1] = 1, q[2] = 0, q[3] = -1; /* [in, out]: a, a - b */
        if (size == 2 && v.shape.rank == 2) q[0] = 1, q[1] = -1;
    }
    REQUIRE_OK(ctx, interp_predict(net, one, 1, out));
    by_out = out[0] != 0; /* min(1, 0) is 0: else weights are stored [out, in] */
    for (int i = 0; i < interp_net_parameter_count(net) && by_out; i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        if (interp_shape_size(&v.shape) == 4) p[v.offset + 1] = 0, p[v.offset + 2] = 1;
    }
    memset(&d, 0, sizeof d);
    d.method = INTERP_DEEP_LIFT;
    for (int i = 0; i < 3; i++) {
        const float least = fminf(at[i][0], at[i][1]);
        d.reveal_cancel = false;
        REQUIRE_OK(ctx, interp_attribute(net, at[i], 1, &d, out, &r));
        CHECK_NEAR(r.output, least, 1e-6);
        if (at[i][0] != at[i][1]) CHECK_NEAR(fminf(out[0], out[1]), 0, 1e-6);
        d.reveal_cancel = true;
        REQUIRE_OK(ctx, interp_attribute(net, at[i], 1, &d, out, &r));
        CHECK_NEAR(out[0], 0.5f * least, 1e-6);
        CHECK_NEAR(out[1], 0.5f * least, 1e-6);
    }
    interp_net_free(net);
}

TEST(reveal_cancel_leaves_convolutions_to_rescale)
{
    enum { n = 2 };
    static float x[n * SIZE], out[n * SIZE], plain[n * SIZE];
    interp_attribution r[n];
    interp_attribute_desc d;
    fill(x, n * SIZE, 55);
    interp_net *net = image_net(ctx, true);
    memset(&d, 0, sizeof d);
    d.method = INTERP_DEEP_LIFT;
    for (int run = 0; run < 2; run++) { /* the dense layer's function, then nothing behind it */
        if (run) d.scope = INTERP_SCOPE_NEURON, d.layer = "flatten1";
        d.reveal_cancel = false;
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, plain, r));
        d.reveal_cancel = true;
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
        CHECK((memcmp(out, plain, sizeof out) == 0) == (run == 1));
        for (int i = 0; i < n; i++) CHECK_NEAR(r[i].residual, 0, 2e-5);
    }
    interp_net_free(net);
}

/* ---- averages of other methods, guided gradients of smooth functions */

TEST(averages_of_a_method_are_those_of_its_runs_on_noisy_copies)
{
    enum { n = 2, copies = 11, all = n * copies };
    static float x[n * SIZE], noise[all * SIZE], many[all * SIZE], base[n * SIZE];
    static float one[all * SIZE], got[n * SIZE];
    static const interp_method bases[] = {
        INTERP_INTEGRATED_GRADIENTS, INTERP_GUIDED_BACKPROP, INTERP_DEEP_LIFT, INTERP_LRP,
        INTERP_INPUT_X_GRADIENT,     INTERP_FEATURE_ABLATION};
    int32_t targets[all];
    interp_attribute_desc d;
    interp_attribution r[n];
    fill(x, n * SIZE, 61), fill(noise, all * SIZE, 62), fill(base, n * SIZE, 63);
    interp_net *net = image_net(ctx, false);
    for (int i = 0; i < all * SIZE; i++) {
        noise[i] *= 0.1f;
        many[i] = x[i / SIZE / copies * SIZE + i % SIZE] + noise[i];
    }
    for (int scope = 0; scope < 2; scope++)
        for (size_t b = 0; b < sizeof bases / sizeof *bases; b++) {
            interp_shape s;
            size_t bytes;
            memset(&d, 0, sizeof d);
            d.n_steps = 7, d.low = -5, d.high = 5;
            d.scope = (interp_scope)scope, d.layer = scope ? "conv2" : NULL;
            d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
            d.method = bases[b];
            for (int i = 0; i < all; i++) targets[i] = i / copies ? 3 : 1;
            REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, NULL));
            const size_t size = interp_shape_size(&s);
            for (int i = 0; i < n; i++) { /* each with its own baseline */
                d.baseline = base + i * SIZE, d.targets = targets + i * copies;
                REQUIRE_OK(ctx, interp_attribute(net, many + i * copies * SIZE, copies, &d,
                                                 one + (size_t)(i * copies) * size, NULL));
            }
            for (int i = 0; i < n; i++) targets[i] = i ? 3 : 1;
            d.targets = targets;
            d.base = bases[b], d.noise = noise, d.n_samples = copies;
            d.baseline = base, d.n_baselines = n;
            for (int m = INTERP_SMOOTH_GRAD; m <= INTERP_VAR_GRAD; m++) {
                d.method = (interp_method)m;
                REQUIRE_OK(ctx, interp_attribute_bytes(net, n, &d, &bytes));
                const size_t used = interp_memory_read(ctx).used;
                interp_memory_set_limit(ctx, used + bytes);
                REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, r));
                CHECK(interp_memory_read(ctx).used == used);
                interp_memory_set_limit(ctx, 0);
                for (size_t i = 0; i < n * size; i++) {
                    double mean = 0, square = 0;
                    for (int k = 0; k < copies; k++) {
                        const double v =
                            (double)one[(i / size * copies + (size_t)k) * size + i % size];
                        mean += v / copies, square += v * v / copies;
                    }
                    const double want = m == INTERP_SMOOTH_GRAD      ? mean
                                        : m == INTERP_SMOOTH_GRAD_SQ ? square
                                                                     : square - mean * mean;
                    CHECK_NEAR(got[i], want, 1e-6 * (1 + fabs(want)));
                }
                for (int i = 0; i < n; i++) CHECK(r[i].target == (i ? 3 : 1));
            }
        }
    d.base = INTERP_VAR_GRAD;
    CHECK(interp_attribute(net, x, n, &d, got, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(averages_do_not_depend_on_batch_or_threads)
{
    enum { n = 2 };
    static float x[n * SIZE], first[n * SIZE], out[n * SIZE];
    fill(x, n * SIZE, 64);
    for (int b = 0; b < INTERP_METHOD_COUNT; b++)
        for (int run = 0; run < 3; run++) {
            interp_desc o;
            memset(&o, 0, sizeof o);
            o.threads = 1 + run;
            interp_ctx *c = interp_open(&o);
            interp_net *net = image_net(c, true);
            interp_attribute_desc d;
            memset(&d, 0, sizeof d);
            memset(run ? out : first, 0, sizeof out);
            d.method = INTERP_SMOOTH_GRAD, d.base = (interp_method)b, d.n_samples = 9,
            d.n_steps = 3;
            d.batch = run, d.window[0] = 2, d.window[1] = d.window[2] = 4;
            d.stride[0] = 2, d.stride[1] = d.stride[2] = 4;
            if (b == INTERP_SMOOTH_GRAD || b == INTERP_SMOOTH_GRAD_SQ || b == INTERP_VAR_GRAD ||
                b == INTERP_FEATURE_PERMUTATION || b == INTERP_RISE || b == INTERP_ANCHORS ||
                b == INTERP_SHAPLEY_VALUE_EXACT || b == INTERP_SHAPLEY_VALUE_SAMPLING ||
                b == INTERP_PARTITION_SHAP ||
                (b >= INTERP_LAYER_GRADIENT_X_ACTIVATION && b <= INTERP_NEURON_CONDUCTANCE)) {
                interp_close(c); /* refused, of a layer, or slow */
                break;
            }
            CHECK_OK(c, interp_attribute(net, x, n, &d, run ? out : first, NULL));
            if (run) CHECK(memcmp(out, first, sizeof out) == 0);
            interp_close(c);
        }
}

TEST(guided_backprop_passes_positive_slopes_of_smooth_functions)
{
    enum { size = 21 };
    float x[size], out[size], want[size];
    interp_attribution r;
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.keep_sign = true, d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    fill(x, size, 65);
    for (int act = INTERP_RELU; act <= INTERP_RELU6; act++) {
        interp_net *net = function_net(ctx, (interp_activation)act, false);
        const bool relu = act == INTERP_RELU || act == INTERP_RELU6;
        const bool bounded =
            act == INTERP_SIGMOID || act == INTERP_TANH || act == INTERP_HARD_SIGMOID;
        d.method = INTERP_GUIDED_BACKPROP;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, want, &r));
        CHECK(r.nodes == (relu ? 2 : 0));
        d.method = INTERP_GUIDED_BACKPROP_SMOOTH;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
        CHECK(r.nodes == (bounded ? 0 : 2));
        CHECK((memcmp(out, want, sizeof out) == 0) == (relu || bounded));
        interp_net_free(net);
    }
    /* y = -a silu(u) + b silu(v): only b counts, times the slope of silu where it rises */
    const interp_shape s = {1, {2, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "two");
    interp_output(net,
                  interp_dense(net,
                               interp_activate(net, interp_input(net, NULL, &s), INTERP_SILU, 0), 1,
                               NULL),
                  "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    float *p = interp_net_parameters(net);
    p[0] = -2, p[1] = 3;
    d.target = 0;
    for (int i = 0; i < 9; i++) {
        const double v = i - 4, sigmoid = 1 / (1 + exp(-v)),
                     slope = sigmoid * (1 + v * (1 - sigmoid));
        x[0] = x[1] = (float)v;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
        CHECK(out[0] == 0);
        CHECK_NEAR(out[1], 3 * fmax(0, slope), 1e-6);
    }
    interp_net_free(net);
}

/* ReLU6 stops gradients above 6 as below 0. */
TEST(guided_backprop_knows_relu6)
{
    const interp_shape s = {1, {3, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "six");
    interp_output(net,
                  interp_dense(net,
                               interp_activate(net, interp_input(net, NULL, &s), INTERP_RELU6, 0),
                               1, NULL),
                  "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    float *p = interp_net_parameters(net), x[3] = {-1, 2, 8}, out[3];
    interp_attribute_desc d;
    interp_attribution r;
    memset(&d, 0, sizeof d);
    p[0] = p[1] = p[2] = 1;
    d.keep_sign = true, d.method = INTERP_GUIDED_BACKPROP;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
    CHECK(r.nodes == 1 && out[0] == 0 && out[1] == 1 && out[2] == 0);
    d.method = INTERP_DECONVOLUTION;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
    CHECK(r.nodes == 1 && out[0] == 1 && out[1] == 1 && out[2] == 1);
    interp_net_free(net);
}

/* ---- relevance: presets, deep Taylor, rules of single layers */

TEST(presets_are_their_rules_with_an_epsilon_of_a_tenth)
{
    enum { n = 2 };
    static const interp_lrp_rule pairs[4][2] = {
        {INTERP_LRP_PRESET_A, INTERP_LRP_EPSILON_PLUS},
        {INTERP_LRP_PRESET_A_FLAT, INTERP_LRP_EPSILON_PLUS_FLAT},
        {INTERP_LRP_PRESET_B, INTERP_LRP_EPSILON_ALPHA2_BETA1},
        {INTERP_LRP_PRESET_B_FLAT, INTERP_LRP_EPSILON_ALPHA2_BETA1_FLAT}};
    static float x[n * SIZE], got[n * SIZE], want[n * SIZE], other[n * SIZE];
    interp_attribute_desc d;
    interp_net *net = image_net(ctx, false);
    fill(x, n * SIZE, 71);
    for (int i = 0; i < 4; i++) {
        memset(&d, 0, sizeof d);
        d.method = INTERP_LRP, d.rule = pairs[i][0];
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, NULL));
        d.rule = pairs[i][1];
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, other, NULL));
        d.epsilon = 0.1f;
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, want, NULL));
        CHECK(memcmp(got, want, sizeof got) == 0 && memcmp(got, other, sizeof got) != 0);
    }
    interp_net_free(net);
}

/* Without biases nothing is lost, and what is positive stays so. */
TEST(deep_taylor_conserves_relevance_past_biases)
{
    enum { n = 4 };
    const interp_shape s = {3, {2, 8, 8, 1, 1, 1, 1, 1}};
    static float x[n * SIZE], out[n * SIZE];
    interp_attribution r[n];
    interp_attribute_desc d;
    interp_conv2d_desc conv;
    interp_net *net = interp_net_new(ctx, "positive");
    memset(&conv, 0, sizeof conv);
    conv.channels = 6, conv.same = true;
    interp_tensor y = interp_conv2d(net, interp_input(net, NULL, &s), &conv);
    y = interp_pool2d(net, interp_relu(net, interp_batch_norm(net, y, NULL)), NULL);
    y = interp_relu(net, interp_conv2d(net, y, &conv));
    interp_output(net, interp_relu(net, interp_dense(net, y, 4, NULL)), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 5));
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape); k++)
            if (v.shape.rank == 1) p[v.offset + k] += 0.3f * interp_random_normal(3, v.offset, k);
    }
    fill(x, n * SIZE, 72);
    memset(&d, 0, sizeof d);
    d.method = INTERP_LRP, d.rule = INTERP_LRP_DEEP_TAYLOR, d.low = -5, d.high = 5;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
    for (int i = 0; i < n; i++) {
        CHECK(r[i].output > 0.1);
        CHECK_NEAR(r[i].residual / r[i].output, 0, 1e-3); /* what keeps from dividing by 0 */
        for (int k = 0; k < SIZE; k++) CHECK(out[i * SIZE + k] >= -1e-6f);
    }
    d.rule = INTERP_LRP_Z_PLUS; /* biases take theirs */
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
    for (int i = 0; i < n; i++) CHECK(fabs(r[i].residual / r[i].output) > 1e-3);
    interp_net_free(net);
}

TEST(layers_can_have_rules_of_their_own)
{
    enum { n = 2 };
    static float x[n * SIZE], got[n * SIZE], want[n * SIZE];
    interp_attribute_desc d;
    interp_net *net = image_net(ctx, false);
    interp_lrp_layer rules[] = {{"conv1", INTERP_LRP_FLAT},
                                {"conv2", INTERP_LRP_Z_PLUS},
                                {"dense1:0", INTERP_LRP_EPSILON},
                                {"dense2", INTERP_LRP_EPSILON}};
    fill(x, n * SIZE, 73);
    memset(&d, 0, sizeof d);
    d.method = INTERP_LRP, d.rule = INTERP_LRP_EPSILON_PLUS_FLAT;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, want, NULL));
    d.rule = INTERP_LRP_GAMMA, d.layer_rules = rules, d.n_layer_rules = 4;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, NULL));
    CHECK(memcmp(got, want, sizeof got) == 0);
    d.n_layer_rules = 3; /* the last layer by gamma */
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, NULL));
    CHECK(memcmp(got, want, sizeof got) != 0);
    rules[1].layer = "relu1";
    CHECK(interp_attribute(net, x, n, &d, got, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "\"relu1\"") != NULL);
    rules[1].layer = "conv2", rules[1].rule = INTERP_LRP_EPSILON_PLUS;
    CHECK(interp_attribute(net, x, n, &d, got, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* ---- many targets */

TEST(many_targets_are_what_each_is_alone)
{
    enum { n = 3, classes = 4 };
    static float x[n * SIZE], base[n * SIZE], all[n * classes * 3 * SIZE], one[n * 3 * SIZE];
    static const int32_t some[3] = {3, 0, 3};
    static interp_attribution r[n * classes], alone[n];
    interp_attribute_desc d;
    fill(x, n * SIZE, 81), fill(base, n * SIZE, 82);
    interp_net *net = image_net(ctx, false);
    for (int m = 0; m < INTERP_METHOD_COUNT; m++)
        for (int run = 0; run < (slow_here() ? 2 : 3); run++) {
            interp_shape s;
            size_t bytes;
            memset(&d, 0, sizeof d);
            d.method = (interp_method)m, d.n_steps = 5, d.n_samples = 6, d.max_blur = 2;
            d.batch = run;
            if (m == INTERP_SHAPLEY_VALUE_EXACT || m == INTERP_SHAPLEY_VALUE_SAMPLING) continue;
            const bool layered =
                m >= INTERP_LAYER_GRADIENT_X_ACTIVATION && m <= INTERP_NEURON_CONDUCTANCE;
            if (layered) d.layer = m == INTERP_NEURON_GRADIENT ? "dense1" : "conv2";
            if (run == 1 && !layered && m < INTERP_GRAD_CAM && m != INTERP_BLUR_IG)
                d.scope = INTERP_SCOPE_LAYER, d.layer = "conv2";
            d.baseline = base, d.n_baselines = n;
            REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, NULL));
            const size_t size = interp_shape_size(&s);
            REQUIRE(size <= 3 * SIZE);
            d.targets = run == 2 ? some : NULL;
            d.n_targets = run == 2 ? 3 : classes;
            const int k = d.n_targets;
            REQUIRE_OK(ctx, interp_attribute_bytes(net, n, &d, &bytes));
            const size_t used = interp_memory_read(ctx).used;
            interp_memory_set_limit(ctx, used + bytes);
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, all, r));
            CHECK(interp_memory_read(ctx).used == used);
            interp_memory_set_limit(ctx, 0);
            d.n_targets = 0, d.targets = NULL, d.target_kind = INTERP_TARGET_CLASS;
            for (int j = 0; j < k; j++) {
                d.target = run == 2 ? some[j] : j;
                REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, one, alone));
                for (int i = 0; i < n; i++) {
                    const interp_attribution *got = &r[i * k + j];
                    CHECK(memcmp(one + (size_t)i * size, all + (size_t)(i * k + j) * size,
                                 size * sizeof *one) == 0);
                    CHECK(got->target == d.target && got->output == alone[i].output);
                    CHECK(got->baseline_output == alone[i].baseline_output);
                    CHECK(got->residual == alone[i].residual && got->passes == alone[i].passes);
                }
            }
        }
    memset(&d, 0, sizeof d);
    d.n_targets = 5;
    CHECK(interp_attribute(net, x, n, &d, all, r) == INTERP_BAD_ARGUMENT);
    static const int32_t wrong[2] = {0, 4};
    d.n_targets = 2, d.targets = wrong;
    CHECK(interp_attribute(net, x, n, &d, all, r) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(a_workspace_can_go_backward_many_times)
{
    enum { n = 2 };
    static float x[n * SIZE], seeds[4][n * 4], want[4][n * SIZE];
    interp_net *net = image_net(ctx, false);
    interp_workspace_desc d;
    interp_workspace *w;
    const float *in = x;
    fill(x, n * SIZE, 83), fill(seeds[0], 4 * n * 4, 84);
    memset(&d, 0, sizeof d);
    d.batch = n, d.input_grads = d.param_grads = true;
    for (int many = 0; many < 2; many++) {
        d.many_back = many;
        REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &d, &w));
        for (int j = 0; j < 4; j++) {
            if (!many || j == 0) REQUIRE_OK(ctx, interp_forward(w, &in));
            REQUIRE_OK(ctx, interp_backward(w, seeds[j]));
            if (!many) memcpy(want[j], interp_workspace_input_grad(w, 0), sizeof want[j]);
            else CHECK(memcmp(want[j], interp_workspace_input_grad(w, 0), sizeof want[j]) == 0);
        }
        if (!many) CHECK(interp_backward(w, seeds[0]) == INTERP_BAD_ARGUMENT);
        interp_workspace_free(w);
    }
    interp_net_free(net);
}

/* ---- superpixels and tiles */

enum { TALL = 24, WIDE = 30 };

/* An image of a disc on two halves, with some noise. */
static void scene(float *x, float noise)
{
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < TALL; y++)
            for (int c = 0; c < WIDE; c++) {
                const int dy = y - 12, dx = c - 14;
                const int what = dy * dy + dx * dx < 40 ? 2 : c > 20;
                x[(p * TALL + y) * WIDE + c] =
                    (float)(what == p) +
                    noise * interp_random_normal(91, (uint64_t)p, (uint64_t)(y * WIDE + c));
            }
}

static int part_size(const int32_t *ids, bool *seen, int y, int x, int32_t id)
{
    if (y < 0 || x < 0 || y == TALL || x == WIDE || seen[y * WIDE + x] || ids[y * WIDE + x] != id)
        return 0;
    seen[y * WIDE + x] = true;
    return 1 + part_size(ids, seen, y - 1, x, id) + part_size(ids, seen, y + 1, x, id) +
           part_size(ids, seen, y, x - 1, id) + part_size(ids, seen, y, x + 1, id);
}

TEST(superpixels_are_connected_and_follow_edges)
{
    const interp_shape s = {3, {3, TALL, WIDE, 1, 1, 1, 1, 1}};
    static float x[3 * TALL * WIDE];
    static int32_t ids[TALL * WIDE], again[TALL * WIDE];
    interp_slic_desc d;
    memset(&d, 0, sizeof d);
    for (int run = 0; run < 12; run++) {
        int count = 0, size[200] = {0};
        bool seen[TALL * WIDE] = {false};
        scene(x, run % 3 ? 0.3f * (float)(run % 3) : 0);
        d.segments = run < 6    ? 12 + 7 * run
                     : run == 6 ? 1
                                : run * 10,
        d.compactness = run % 2 ? 10 : 30;
        REQUIRE_OK(ctx, interp_slic(ctx, x, &s, &d, ids, &count));
        CHECK(count >= 1 && count <= d.segments && (run == 6 || 2 * count > d.segments));
        int next = 0;
        for (int i = 0; i < TALL * WIDE; i++) {
            REQUIRE(ids[i] >= 0 && ids[i] <= next && ids[i] < count);
            next += ids[i] == next;
            size[ids[i]]++;
        }
        CHECK(next == count);
        for (int i = 0; i < TALL * WIDE; i++)
            if (!seen[i]) CHECK(part_size(ids, seen, i / WIDE, i % WIDE, ids[i]) == size[ids[i]]);
        REQUIRE_OK(ctx, interp_slic(ctx, x, &s, &d, again, NULL));
        CHECK(memcmp(ids, again, sizeof ids) == 0);
    }
    scene(x, 0); /* without noise none lies on both sides of an edge */
    d.segments = 30, d.compactness = 5;
    REQUIRE_OK(ctx, interp_slic(ctx, x, &s, &d, ids, NULL));
    int wrong = 0;
    for (int i = 0; i < TALL * WIDE; i++)
        for (int k = 0; k < TALL * WIDE; k++)
            for (int p = 0; p < 3; p++)
                wrong += ids[i] == ids[k] && x[p * TALL * WIDE + i] != x[p * TALL * WIDE + k];
    CHECK(wrong == 0);
    x[5] = NAN;
    CHECK(interp_slic(ctx, x, &s, &d, ids, NULL) == INTERP_NOT_FINITE);
    d.segments = -1;
    CHECK(interp_slic(ctx, x, &s, &d, ids, NULL) == INTERP_BAD_ARGUMENT);
}

TEST(segments_and_grids_are_masks)
{
    enum { n = 3 };
    static const interp_method methods[] = {
        INTERP_FEATURE_ABLATION, INTERP_KERNEL_SHAP, INTERP_LIME,
        INTERP_PARTITION_SHAP,   INTERP_ANCHORS,     INTERP_SHAPLEY_VALUE_SAMPLING};
    const interp_shape s = {3, {2, 8, 8, 1, 1, 1, 1, 1}}, plane = {2, {8, 8, 1, 1, 1, 1, 1, 1}};
    static float x[n * SIZE], base[n * SIZE], got[n * SIZE], want[SIZE];
    int32_t mask[64], tiles[64];
    interp_attribution r[n], one;
    interp_slic_desc slic;
    fill(x, n * SIZE, 92), fill(base, n * SIZE, 93);
    interp_net *net = image_net(ctx, false);
    for (int i = 0; i < 64; i++) tiles[i] = i / 8 / 4 * 3 + i % 8 / 3;
    for (int m = 0; m < 6; m++) {
        interp_attribute_desc d;
        size_t bytes;
        memset(&d, 0, sizeof d), memset(&slic, 0, sizeof slic);
        d.method = methods[m], d.baseline = base, d.n_baselines = n, d.n_samples = 40;
        d.segments = slic.segments = 9;
        REQUIRE_OK(ctx, interp_attribute_bytes(net, n, &d, &bytes));
        const size_t used = interp_memory_read(ctx).used;
        interp_memory_set_limit(ctx, used + bytes);
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, got, r));
        CHECK(interp_memory_read(ctx).used == used);
        interp_memory_set_limit(ctx, 0);
        d.segments = 0, d.mask = mask, d.mask_shape = plane, d.n_baselines = 1;
        for (int i = 0; i < n; i++) {
            d.baseline = base + i * SIZE;
            REQUIRE_OK(ctx, interp_slic(ctx, x + i * SIZE, &s, &slic, mask, NULL));
            REQUIRE_OK(ctx, interp_attribute(net, x + i * SIZE, 1, &d, want, &one));
            CHECK(memcmp(want, got + i * SIZE, sizeof want) == 0);
            CHECK(r[i].output == one.output && r[i].residual == one.residual);
        }
        d.mask = tiles;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, want, &one));
        d.mask = NULL, d.grid[0] = 2, d.grid[1] = 3;
        int count;
        REQUIRE_OK(ctx, interp_attribute_features(net, &d, &count));
        CHECK(count == 6);
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, got, &one));
        CHECK(memcmp(want, got, sizeof want) == 0);
        d.scope = INTERP_SCOPE_LAYER, d.layer = "conv2", d.segments = 5;
        CHECK(interp_attribute(net, x, 1, &d, got, NULL) == INTERP_BAD_ARGUMENT);
        d.scope = INTERP_SCOPE_INPUT, d.n_targets = 4;
        static float all[4 * SIZE];
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, all, NULL)); /* segments of many targets */
        d.n_targets = 0, d.target = 2;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, want, NULL));
        CHECK(memcmp(want, all + 2 * SIZE, sizeof want) == 0);
    }
    interp_net_free(net);
}

/* ---- steps as they are needed */

TEST(steps_double_until_the_residual_is_small)
{
    enum { n = 6 };
    static float x[n * SIZE], out[n * SIZE], want[n * SIZE], first[n * SIZE];
    interp_attribution r[n], one;
    interp_attribute_desc d;
    size_t bytes;
    fill(x, n * SIZE, 95);
    for (int i = 0; i < SIZE; i++) x[i] *= 0.01f; /* hardly away from the baseline */
    interp_net *net = image_net(ctx, false);
    memset(&d, 0, sizeof d);
    d.method = INTERP_INTEGRATED_GRADIENTS, d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    d.n_steps = 4, d.tolerance = 2e-3f, d.max_steps = 3000;
    REQUIRE_OK(ctx, interp_attribute_bytes(net, n, &d, &bytes));
    const size_t used = interp_memory_read(ctx).used;
    interp_memory_set_limit(ctx, used + bytes);
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, first, r));
    CHECK(interp_memory_read(ctx).used == used);
    interp_memory_set_limit(ctx, 0);
    int least = r[0].steps, most = 0;
    for (int i = 0; i < n; i++) {
        const double change = fabs(r[i].output - r[i].baseline_output);
        int passes = 2;
        CHECK(fabs(r[i].residual) <= 2e-3 * change || r[i].steps == 3000);
        for (int s = 4; s < r[i].steps; s *= 2) passes += s;
        CHECK(r[i].passes == passes + r[i].steps);
        least = r[i].steps < least ? r[i].steps : least;
        most = r[i].steps > most ? r[i].steps : most;
        d.n_steps = r[i].steps, d.tolerance = 0; /* the same as with these steps at once */
        REQUIRE_OK(ctx, interp_attribute(net, x + i * SIZE, 1, &d, want, &one));
        CHECK(memcmp(want, first + i * SIZE, SIZE * sizeof *want) == 0);
        CHECK(one.residual == r[i].residual && one.steps == r[i].steps);
        if (r[i].steps == 3000 || r[i].steps == 4) continue;
        d.n_steps = r[i].steps / 2; /* and half as many were too few */
        REQUIRE_OK(ctx, interp_attribute(net, x + i * SIZE, 1, &d, want, &one));
        CHECK(fabs(one.residual) > 2e-3 * change);
    }
    CHECK(least < most); /* each sample has its own */
    d.n_steps = 4, d.tolerance = 2e-3f;
    for (d.batch = 1; d.batch < 4; d.batch++) {
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, NULL));
        CHECK(memcmp(out, first, sizeof out) == 0);
    }
    d.batch = 0, d.max_steps = 0, d.tolerance = 1e-9f; /* never */
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
    CHECK(r[1].steps == 128);
    d.max_steps = 3;
    CHECK(interp_attribute(net, x, n, &d, out, r) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* ---- what goes wrong on the way */

/* Calls that are made of calls, one after the other. */
static interp_status one_of_each(interp_net *net, const float *x, int which, float *out)
{
    interp_attribute_desc d;
    interp_tcav_desc t;
    interp_tcav_result r;
    memset(&d, 0, sizeof d), memset(&t, 0, sizeof t);
    d.n_steps = 3, d.n_samples = 3, d.segments = 4;
    switch (which) {
    case 0: d.method = INTERP_SMOOTH_GRAD, d.base = INTERP_DEEP_LIFT; break;
    case 1: d.method = INTERP_FEATURE_ABLATION, d.n_targets = 2; break; /* of segments */
    case 2: d.method = INTERP_INTEGRATED_GRADIENTS, d.n_targets = 2, d.tolerance = 1e-3f; break;
    case 3: d.method = INTERP_FULL_GRAD; break;
    case 4: d.method = INTERP_GUIDED_IG; break;
    case 5: d.method = INTERP_DEEP_LIFT, d.reveal_cancel = true; break;
    case 6:
        d.method = INTERP_KERNEL_SHAP, d.scope = INTERP_SCOPE_LAYER, d.layer = "dense1";
        d.segments = 0;
        break;
    default:
        t.layer = "dense1", t.examples = x, t.n_examples = 2, t.random = x, t.n_random = 4;
        return interp_tcav(net, x, 2, &t, &r, NULL);
    }
    return interp_attribute(net, x, 2, &d, out, NULL);
}

TEST(calls_made_of_calls_survive_every_failing_allocation)
{
    static float x[4 * SIZE], out[4 * SIZE], before[4 * SIZE];
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    desc.allocator.alloc = heap_alloc, desc.allocator.free = heap_free;
    fill(x, 4 * SIZE, 97), fill(before, 4 * SIZE, 98);
    for (int which = 0; which < 8; which++) {
        heap.fail_at = 0;
        interp_ctx *c = interp_open(&desc);
        interp_net *net = image_net(c, false);
        const size_t held = heap.held;
        bool done = false;
        for (int n = 0; n < 400 && !done; n++) {
            memcpy(out, before, sizeof out);
            heap_fail_after(n);
            const interp_status status = one_of_each(net, x, which, out);
            CHECK(status == INTERP_OK || status == INTERP_NO_MEMORY);
            if (status) CHECK(memcmp(out, before, sizeof out) == 0);
            CHECK(heap.held == held);
            done = !status;
        }
        CHECK(done);
        heap.fail_at = 0;
        interp_close(c);
    }
}

static int stop(const interp_progress *p, void *user)
{
    int *left = (int *)user;
    CHECK(p->done <= p->total * (1 + 1e-9));
    return --*left == 0;
}

TEST(calls_made_of_calls_can_be_cancelled)
{
    static float x[4 * SIZE], out[4 * SIZE], before[4 * SIZE];
    int left = 0;
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.progress = stop, desc.user = &left;
    interp_ctx *c = interp_open(&desc);
    interp_net *net = image_net(c, false);
    const size_t used = interp_memory_read(c).used;
    fill(x, 4 * SIZE, 97), fill(before, 4 * SIZE, 98);
    for (int which = 0; which < 8; which++)
        for (int at = 1; at < 1000; at++) {
            memcpy(out, before, sizeof out);
            left = at;
            const interp_status status = one_of_each(net, x, which, out);
            CHECK(interp_memory_read(c).used == used);
            if (!status) {
                CHECK(at > 3); /* there are places to stop at */
                break;
            }
            CHECK(status == INTERP_CANCELLED && memcmp(out, before, sizeof out) == 0);
        }
    interp_close(c);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(full_grad_of_linear_pieces_adds_up_to_the_output);
    RUN(full_grad_maps_are_scaled_and_raw_ones_add_magnitudes);
    RUN(full_grad_matches_the_reference);
    RUN(guided_ig_sums_to_the_output_difference);
    RUN(guided_ig_of_all_numbers_is_the_straight_path);
    RUN(guided_ig_moves_numbers_of_small_gradients_first);
    RUN(tcav_tells_a_concept_from_chance);
    RUN(tcav_p_is_that_of_welchs_test);
    RUN(tcav_refuses_what_is_not_enough);
    RUN(layer_and_neuron_versions_match_the_references);
    RUN(a_method_at_a_layer_is_that_of_the_network_behind_it);
    RUN(a_method_of_a_neuron_is_that_of_the_network_up_to_it);
    RUN(layers_with_a_way_around_them_are_complete);
    RUN(wrong_scopes_are_refused);
    RUN(reveal_cancel_is_complete_for_every_function);
    RUN(reveal_cancel_shares_a_minimum);
    RUN(reveal_cancel_leaves_convolutions_to_rescale);
    RUN(averages_of_a_method_are_those_of_its_runs_on_noisy_copies);
    RUN(averages_do_not_depend_on_batch_or_threads);
    RUN(guided_backprop_passes_positive_slopes_of_smooth_functions);
    RUN(guided_backprop_knows_relu6);
    RUN(presets_are_their_rules_with_an_epsilon_of_a_tenth);
    RUN(deep_taylor_conserves_relevance_past_biases);
    RUN(layers_can_have_rules_of_their_own);
    RUN(many_targets_are_what_each_is_alone);
    RUN(a_workspace_can_go_backward_many_times);
    RUN(superpixels_are_connected_and_follow_edges);
    RUN(segments_and_grids_are_masks);
    RUN(steps_double_until_the_residual_is_small);
    RUN(calls_made_of_calls_survive_every_failing_allocation);
    RUN(calls_made_of_calls_can_be_cancelled);
    interp_close(ctx);
    return test_end(argc, argv);
}

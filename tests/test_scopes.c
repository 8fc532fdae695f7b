/* Attribution at layers and of neurons, averages of methods, many targets, steps as needed. */
#include "attr_nets.h"
#include "heap.h"

/* ---- scopes: layers and neurons */

typedef struct scope_row {
    const char *model, *want;
    interp_method method;
    interp_scope scope;
    const char *layer;
    int target, neuron; /* target -1: those stored */
} scope_row;

/* best: the smallest error of the row on any instruction set so far. */
static void check_scope(interp_ctx *c, const scope_row *r, double *best)
{
    double worst = 0;
    static float out[65536];
    interp_array x, want, labels, base;
    interp_attribute_desc d;
    interp_net *net;
    interp_shape s;
    int32_t targets[8];
    char path[256];
    snprintf(path, sizeof path, REFS "%s/model.onnx", r->model);
    REQUIRE_OK(c, interp_onnx_load(c, path, NULL, &net));
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
        REQUIRE_OK(c, interp_attribute_shape(net, &d, &s, NULL));
        const size_t n = interp_shape_size(&s) * (size_t)x.shape.dim[0];
        REQUIRE(n == interp_shape_size(&want.shape) && n <= sizeof out / sizeof *out);
        REQUIRE_OK(c, interp_attribute(net, (const float *)x.data, x.shape.dim[0], &d, out, NULL));
        worst = fmax(worst, error_of(out, &want, 1));
    }
    interp_array_free(ctx, &x), interp_array_free(ctx, &want), interp_array_free(ctx, &labels);
    interp_array_free(ctx, &base);
    interp_net_free(net);
    if (!(worst <= (r->method == INTERP_DEEP_LIFT ? REFERENCE_TOLERANCE : KINK_TOLERANCE)))
        test_fail(__FILE__, __LINE__, "%s/%s: off by %.2g of the largest (%s)", r->model, r->want,
                  worst, interp_isa(c));
    *best = fmin(*best, worst);
}

/* Methods that add up to nothing say NAN. */
static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

TEST(layer_and_neuron_versions_match_the_references)
{
#define LAYER(model, want, method, layer)                                                          \
    {                                                                                              \
        model, want, method, INTERP_SCOPE_LAYER, layer, -1, 0                                      \
    }
#define NEURON(model, want, method, layer, neuron)                                                 \
    {                                                                                              \
        model, want, method, INTERP_SCOPE_NEURON, layer, neuron, 0                                 \
    }
#define THROUGH(model, layer, neuron)                                                              \
    {                                                                                              \
        model, "neuron_conductance", INTERP_NEURON_CONDUCTANCE, INTERP_SCOPE_INPUT, layer, -1,     \
            neuron                                                                                 \
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
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double best = 1;
        for (int k = 0; k < N_ISAS; k++) {
            interp_ctx *c = open_with(2, isas[k]);
            if (c) check_scope(c, &rows[i], &best);
            interp_close(c);
        }
        CHECK_NEAR(best, 0, REFERENCE_TOLERANCE);
    }
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
                if (!same(r[i].baseline_output, q[i].baseline_output))
                    CHECK_NEAR(r[i].baseline_output, q[i].baseline_output, 1e-5);
                if (!same(r[i].residual, q[i].residual))
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

/* ---- averages of other methods */

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
                    CHECK(same(got->baseline_output, alone[i].baseline_output));
                    CHECK(same(got->residual, alone[i].residual));
                    CHECK(got->passes == alone[i].passes);
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

/* ---- samples of several views */

enum { VIEWS = 3, SIDE = 8, OF_VIEW = SIDE * SIDE, PLANES = 6, FEW = 2 };
enum { ALONE, CALLED, FOLDED }; /* one view, a part called on each, all in the batch */

static interp_net *views_net(int how)
{
    const interp_shape all = {4, {VIEWS, 1, SIDE, SIDE, 1, 1, 1, 1}};
    const interp_shape one = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    const interp_shape rows = {4, {-1, 1, SIDE, SIDE, 1, 1, 1, 1}};
    const interp_shape back = {2, {-1, VIEWS * PLANES, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "views");
    interp_tensor y[VIEWS], first = 0, x = interp_input(net, NULL, how == ALONE ? &one : &all);
    for (int v = 0; v < (how == CALLED ? VIEWS : 1); v++) {
        interp_tensor of = how == CALLED   ? interp_slice(net, x, 1, v, 1, true)
                           : how == FOLDED ? interp_reshape(net, x, &rows)
                                           : x;
        if (v) {
            y[v] = interp_reuse(net, first, y[0], of);
            continue;
        }
        interp_conv2d_desc conv;
        memset(&conv, 0, sizeof conv);
        first = of;
        conv.channels = 4, conv.same = true, conv.name = "conv1";
        of = interp_relu(net, interp_conv2d(net, of, &conv));
        conv.channels = PLANES, conv.stride[0] = 2, conv.name = "conv2";
        of = interp_relu(net, interp_conv2d(net, of, &conv));
        interp_pool2d_desc pool;
        memset(&pool, 0, sizeof pool);
        pool.kind = INTERP_POOL_AVERAGE, pool.kernel[0] = SIDE / 2; /* all of it */
        y[0] = interp_flatten(net, interp_pool2d(net, of, &pool));
    }
    x = how == CALLED   ? interp_concat(net, VIEWS, y, 1)
        : how == FOLDED ? interp_reshape(net, y[0], &back)
                        : y[0];
    interp_output(net, interp_dense(net, x, 4, NULL), "y");
    return interp_net_build(net, 9) ? NULL : net;
}

/* Parameters of the network of all views in that of view v alone. */
static void take_view(interp_net *alone, interp_net *net, int v)
{
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info a = interp_net_parameter(alone, i),
                                    b = interp_net_parameter(net, i);
        float *to = interp_net_parameters(alone) + a.offset;
        const float *from = interp_net_parameters(net) + b.offset;
        const size_t n = interp_shape_size(&a.shape);
        const bool joint = interp_shape_size(&b.shape) != n; /* [4, VIEWS PLANES] or turned */
        const bool by_row = b.shape.dim[0] == 4;
        for (size_t k = 0; k < n; k++) {
            const size_t unit = by_row ? k / PLANES : k % 4, plane = by_row ? k % PLANES : k / 4;
            const size_t at = (size_t)v * PLANES + plane;
            to[k] = !joint   ? from[k]
                    : by_row ? from[unit * VIEWS * PLANES + at]
                             : from[at * 4 + unit];
        }
    }
}

static double largest_difference(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

TEST(views_have_maps_of_their_own)
{
    static const interp_method methods[] = {
        INTERP_GRAD_CAM,        INTERP_GRAD_CAM_PLUS_PLUS, INTERP_XGRAD_CAM,
        INTERP_LAYER_CAM,       INTERP_HIRES_CAM,          INTERP_EIGEN_CAM,
        INTERP_GUIDED_GRAD_CAM, INTERP_FULL_GRAD,          INTERP_LAYER_GRADIENT_X_ACTIVATION,
        INTERP_SCORE_CAM,       INTERP_ABLATION_CAM,       INTERP_RISE,
    };
    enum { by_view = 9 }; /* of these a view's raw map is that of the network of it alone */
    static float x[FEW * VIEWS * OF_VIEW], got[2][FEW * VIEWS * PLANES * OF_VIEW];
    static float own[FEW * OF_VIEW], want[FEW * PLANES * OF_VIEW];
    interp_net *nets[2] = {views_net(CALLED), views_net(FOLDED)}, *alone = views_net(ALONE);
    REQUIRE(nets[0] && nets[1] && alone);
    memcpy(interp_net_parameters(nets[1]), interp_net_parameters(nets[0]),
           interp_net_describe(nets[0]).n_parameters * sizeof(float));
    fill(x, FEW * VIEWS * OF_VIEW, 3);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        const bool layer = methods[m] == INTERP_LAYER_GRADIENT_X_ACTIVATION;
        interp_attribute_desc d;
        interp_shape shape[2], one;
        memset(&d, 0, sizeof d);
        d.method = methods[m], d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
        d.n_samples = methods[m] == INTERP_RISE ? 20 : 0, d.raw = true;
        for (int k = 0; k < 2; k++) {
            d.layer =
                layer ? "conv2" : NULL; /* of parts called again the first, else the last map */
            REQUIRE_OK(ctx, interp_attribute_shape(nets[k], &d, &shape[k], NULL));
            size_t bytes;
            REQUIRE_OK(ctx, interp_attribute_bytes(nets[k], FEW, &d, &bytes));
            const size_t used = interp_memory_read(ctx).used;
            interp_memory_set_limit(ctx, used + bytes);
            REQUIRE_OK(ctx, interp_attribute(nets[k], x, FEW, &d, got[k], NULL));
            interp_memory_set_limit(ctx, 0);
        }
        if (!layer) CHECK(shape[0].rank == shape[1].rank && shape[0].dim[0] == VIEWS);
        CHECK(shape[1].dim[0] == VIEWS);
        const size_t size = interp_shape_size(&shape[1]), part = size / VIEWS;
        if (!layer) CHECK(!memcmp(got[0], got[1], FEW * size * sizeof(float)));
        CHECK(memcmp(got[1], got[1] + part, part * sizeof(float)) != 0);
        for (int v = 0; v < VIEWS && m < by_view; v++) {
            take_view(alone, nets[1], v);
            for (int i = 0; i < FEW; i++)
                memcpy(own + i * OF_VIEW, x + (i * VIEWS + v) * OF_VIEW, sizeof *own * OF_VIEW);
            REQUIRE_OK(ctx, interp_attribute_shape(alone, &d, &one, NULL));
            CHECK(interp_shape_size(&one) == part);
            REQUIRE_OK(ctx, interp_attribute(alone, own, FEW, &d, want, NULL));
            for (size_t i = 0; i < FEW; i++)
                CHECK(largest_difference(want + i * part, got[1] + i * size + (size_t)v * part,
                                         part) < 1e-6);
        }
        if (methods[m] == INTERP_GUIDED_GRAD_CAM || layer || methods[m] == INTERP_RISE) continue;
        d.raw = false; /* scaled together: views compare */
        REQUIRE_OK(ctx, interp_attribute(nets[0], x, FEW, &d, got[0], NULL));
        for (int i = 0; i < FEW; i++) {
            float low = 1, high = 0;
            for (int k = 0; k < VIEWS * OF_VIEW; k++) {
                low = fminf(low, got[0][i * VIEWS * OF_VIEW + k]);
                high = fmaxf(high, got[0][i * VIEWS * OF_VIEW + k]);
            }
            CHECK(low == 0 && fabsf(high - 1) < 1e-5f);
        }
    }
    /* a layer named in one call stands for its like in the others */
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_GRAD_CAM, d.layer = "conv1", d.n_targets = 4;
    REQUIRE_OK(ctx, interp_attribute(nets[0], x, 1, &d, got[0], NULL));
    REQUIRE_OK(ctx, interp_attribute(nets[1], x, 1, &d, got[1], NULL));
    CHECK(!memcmp(got[0], got[1], 4 * VIEWS * OF_VIEW * sizeof(float)));
    d.layer = "conv1@3";
    REQUIRE_OK(ctx, interp_attribute(nets[0], x, 1, &d, got[0], NULL));
    CHECK(!memcmp(got[0], got[1], 4 * VIEWS * OF_VIEW * sizeof(float)));
    for (int k = 0; k < 2; k++) interp_net_free(nets[k]);
    interp_net_free(alone);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(layer_and_neuron_versions_match_the_references);
    RUN(a_method_at_a_layer_is_that_of_the_network_behind_it);
    RUN(a_method_of_a_neuron_is_that_of_the_network_up_to_it);
    RUN(layers_with_a_way_around_them_are_complete);
    RUN(wrong_scopes_are_refused);
    RUN(averages_of_a_method_are_those_of_its_runs_on_noisy_copies);
    RUN(averages_do_not_depend_on_batch_or_threads);
    RUN(many_targets_are_what_each_is_alone);
    RUN(a_workspace_can_go_backward_many_times);
    RUN(steps_double_until_the_residual_is_small);
    RUN(calls_made_of_calls_survive_every_failing_allocation);
    RUN(calls_made_of_calls_can_be_cancelled);
    RUN(views_have_maps_of_their_own);
    interp_close(ctx);
    return test_end(argc, argv);
}

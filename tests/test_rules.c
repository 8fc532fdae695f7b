/* Attribution by rules and of layers: DeepLIFT, LRP, guided backprop, class activation maps: axioms,
   and the stored results of independent software (captum, zennit, pytorch-grad-cam). */
#include "attr_nets.h"

/* ---- networks with something of everything */

/* Images [3,8,8]: overlapping pools, a shared layer, a gate, batch norm, smooth functions. */
static interp_net *mixed_net(interp_ctx *c, bool relu_only)
{
    const interp_shape s = {3, {3, 8, 8, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "image");
    interp_tensor x = interp_input(net, NULL, &s);
    interp_conv2d_desc conv;
    interp_pool2d_desc pool;
    memset(&conv, 0, sizeof conv);
    memset(&pool, 0, sizeof pool);
    conv.channels = 6, conv.same = true;
    x = interp_relu(net, interp_batch_norm(net, interp_conv2d(net, x, &conv), NULL));
    pool.kernel[0] = pool.kernel[1] = 3, pool.stride[0] = pool.stride[1] = 2, pool.same = true;
    x = interp_pool2d(net, x, &pool);
    if (!relu_only) {
        pool.kind = INTERP_POOL_GLOBAL_AVERAGE;
        interp_tensor gate = interp_dense(net, interp_pool2d(net, x, &pool), 6, NULL);
        const interp_shape each = {4, {0, 6, 1, 1, 1, 1, 1, 1}};
        gate = interp_reshape(net, interp_activate(net, gate, INTERP_SIGMOID, 0), &each);
        x = interp_activate(net, interp_mul(net, x, gate), INTERP_SILU, 0);
    }
    x = interp_add(net, x, interp_relu(net, interp_conv2d(net, x, &conv)));
    x = interp_relu(net, interp_dense(net, interp_flatten(net, x), 12, NULL));
    interp_output(net, interp_dense(net, x, 4, NULL), "y");
    if (interp_net_build(net, 5)) return NULL;
    float *p = interp_net_parameters(net); /* batch norm away from its start */
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape) && v.shape.rank == 1; k++)
            p[v.offset + k] += 0.3f * interp_random_normal(3, v.offset, k);
    }
    return net;
}

/* Tokens [5,8]: layer norm, attention, every smooth function in turn. */
static interp_net *token_net(interp_ctx *c, interp_activation act)
{
    const interp_shape s = {2, {5, 8, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "tokens");
    interp_norm_desc norm;
    memset(&norm, 0, sizeof norm);
    norm.epsilon = 0.1f; /* at a baseline of zeros 1 / sqrt(epsilon) takes digits from the sums */
    interp_tensor x = interp_layer_norm(net, interp_input(net, NULL, &s), &norm);
    x = interp_add(net, x, interp_self_attention(net, x, 2));
    x = interp_activate(net, interp_layer_norm(net, x, &norm), act, 0);
    const interp_shape none = {0, {1, 1, 1, 1, 1, 1, 1, 1}};
    const float one = 1;
    x = interp_div(net, x,
                   interp_add(net, interp_mul(net, x, x), interp_constant(net, &none, &one)));
    interp_output(net, interp_softmax(net, interp_dense(net, interp_flatten(net, x), 3, NULL), -1),
                  "y");
    return interp_net_build(net, 7) ? NULL : net;
}

/* ---- axioms */

/* The largest residual of a method over the largest difference it has to explain. */
static double residual_of(interp_net *net, const interp_attribute_desc *desc, const float *x, int n)
{
    static float out[4096];
    interp_attribution report[8];
    double worst = 0, largest = 1e-3;
    if (interp_attribute(net, x, n, desc, out, report)) {
        fprintf(stderr, "%s\n", interp_error(ctx));
        return INFINITY;
    }
    for (int i = 0; i < n; i++) {
        worst = fmax(worst, fabs(report[i].residual));
        largest = fmax(largest, fabs(report[i].output - report[i].baseline_output));
    }
    return worst / largest;
}

/* Rounding of float32 over a few hundred terms. */
#define COMPLETE 2e-5

TEST(deep_lift_is_complete_on_every_kind_of_op)
{
    enum { n = 3, size = 192 };
    static float x[n * size], base[n * size];
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    fill(x, n * size, 1), fill(base, n * size, 2);
    d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    for (int shap = 0; shap < 2; shap++)
        for (int kind = 0; kind < 3; kind++) { /* zero, one for each, close to the samples */
            d.method = shap ? INTERP_DEEP_LIFT_SHAP : INTERP_DEEP_LIFT;
            d.baseline = kind ? base : NULL, d.n_baselines = kind ? n : 1;
            for (int i = 0; i < n * size && kind == 2; i++)
                base[i] = x[i] + (i % 3 ? 0 : 1e-4f * (float)(i % 7));
            interp_net *net = mixed_net(ctx, false);
            const double residual = residual_of(net, &d, x, n);
            if (kind < 2) CHECK_NEAR(residual, 0, COMPLETE);
            else CHECK_NEAR(residual, 0, 2e-2); /* of a difference of rounding's size itself */
            interp_net_free(net);
            for (int act = INTERP_RELU; act <= INTERP_RELU6 && kind < 2; act++) {
                net = token_net(ctx, (interp_activation)act);
                REQUIRE(net);
                CHECK_NEAR(residual_of(net, &d, x, n), 0, COMPLETE);
                interp_net_free(net);
            }
        }
}

TEST(deep_lift_is_input_times_gradient_on_a_linear_net)
{
    const interp_shape s = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net;
    float x[18], a[18], b[18];
    interp_attribute_desc d;
    fill(x, 18, 3);
    REQUIRE_OK(ctx, interp_net_arch(ctx, "linear", &s, 3, 1, &net));
    memset(&d, 0, sizeof d);
    d.method = INTERP_DEEP_LIFT;
    CHECK_OK(ctx, interp_attribute(net, x, 2, &d, a, NULL));
    d.method = INTERP_INPUT_X_GRADIENT;
    CHECK_OK(ctx, interp_attribute(net, x, 2, &d, b, NULL));
    for (int i = 0; i < 18; i++) CHECK_NEAR(a[i], b[i], 1e-6);
    interp_net_free(net);
}

TEST(relevance_is_conserved_without_biases)
{
    enum { n = 3, size = 192 };
    static float x[n * size];
    fill(x, n * size, 4);
    interp_net *net = mixed_net(ctx, false);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        if (v.shape.rank == 1 && !strstr(v.name, "scale") && !strstr(v.name, "gamma"))
            memset(interp_net_parameters(net) + v.offset, 0,
                   interp_shape_size(&v.shape) *
                       sizeof(float)); /* biases and shifts take relevance */
    }
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_LRP;
    d.target_kind = INTERP_TARGET_CLASS;
    static float out[n * size];
    for (int rule = 0; rule < INTERP_LRP_RULE_COUNT; rule++)
        for (int gate = 0; gate < 2; gate++) {
            interp_attribution report[n];
            if (rule == INTERP_LRP_EXCITATION_BACKPROP) continue; /* its functions lose some */
            d.rule = (interp_lrp_rule)rule, d.gate = (interp_lrp_gate)gate;
            d.low = -4, d.high = 4;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, report));
            for (int i = 0; i < n; i++) /* but for what epsilon keeps */
                CHECK_NEAR(report[i].residual / (fabs(report[i].output) + 0.01), 0, 2e-2);
        }
    interp_net_free(net);
}

TEST(guided_backprop_counts_the_nodes_it_changes)
{
    enum { size = 192 };
    static float x[size], plain[size], out[size];
    interp_attribution report;
    interp_attribute_desc d;
    fill(x, size, 5);
    memset(&d, 0, sizeof d);
    d.target_kind = INTERP_TARGET_CLASS;
    d.keep_sign = true;
    for (int relu = 0; relu < 2; relu++) {
        interp_net *net = relu ? mixed_net(ctx, true) : token_net(ctx, INTERP_SILU);
        const int used = relu ? 192 : 40;
        d.method = INTERP_SALIENCY;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, plain, NULL));
        for (int m = INTERP_GUIDED_BACKPROP; m <= INTERP_DECONVOLUTION; m++) {
            d.method = (interp_method)m;
            REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &report));
            CHECK(report.nodes == (relu ? 3 : 0));
            CHECK((memcmp(out, plain, (size_t)used * sizeof *out) == 0) == !relu);
        }
        interp_net_free(net);
    }
}

TEST(layers_are_chosen_and_named)
{
    interp_net *net = mixed_net(ctx, false);
    interp_attribute_desc d;
    interp_shape s;
    const char *layer = NULL;
    memset(&d, 0, sizeof d);
    d.method = INTERP_GRAD_CAM;
    REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, &layer));
    CHECK(s.rank == 2 && s.dim[0] == 8 && s.dim[1] == 8);
    REQUIRE(layer);
    int node = interp_net_describe(net).n_nodes - 1;
    while (node >= 0 && strcmp(interp_net_node_name(net, node), layer) != 0) node--;
    REQUIRE(node >= 0);
    CHECK_STR(interp_net_node_op(net, node), "Add"); /* the last */
    d.raw = true;
    REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, NULL));
    CHECK(s.rank == 2 && s.dim[0] == 4 && s.dim[1] == 4);
    d.method = INTERP_LAYER_CONDUCTANCE;
    CHECK(interp_attribute_shape(net, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    d.layer = "nothing";
    CHECK(interp_attribute_shape(net, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "no layer named \"nothing\"") != NULL);
    d.layer = "dense2";
    d.method = INTERP_GRAD_CAM;
    CHECK(interp_attribute_shape(net, &d, &s, NULL) == INTERP_BAD_SHAPE);
    d.method = INTERP_SALIENCY;
    d.layer = NULL;
    REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, &layer));
    CHECK(s.rank == 3 && layer == NULL);
    interp_net_free(net);
}

/* Conductance of a layer sums to nearly the output's difference: what flows through is all there is. */
TEST(conductance_of_a_layer_that_all_goes_through_is_complete)
{
    enum { n = 2, size = 192 };
    static float x[n * size], out[n * 12];
    interp_attribution report[n];
    interp_attribute_desc d;
    fill(x, n * size, 6);
    interp_net *net = mixed_net(ctx, true);
    memset(&d, 0, sizeof d);
    d.method = INTERP_LAYER_CONDUCTANCE, d.n_steps = 1000;
    d.layer = "dense1";
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, report));
    for (int i = 0; i < n; i++)
        CHECK_NEAR(report[i].residual / (report[i].output - report[i].baseline_output), 0, 1e-2);
    interp_net_free(net);
}

/* Images [2,6,6] through a convolution and two dense layers; written: with its biases as sums behind
   layers of half the weights, which are then doubled. */
static interp_net *biased_net(bool written)
{
    const interp_shape s = {3, {2, 6, 6, 1, 1, 1, 1, 1}}, planes = {3, {4, 1, 1, 1, 1, 1, 1, 1}},
                       row = {1, {5, 1, 1, 1, 1, 1, 1, 1}}, none = {0, {1, 1, 1, 1, 1, 1, 1, 1}};
    const float of_planes[4] = {0.5f, -0.75f, 0.25f, 1}, of_row[5] = {-0.5f, 0.25f, 2, 0, -1};
    const float two = 2, less[5] = {0.5f, -0.25f, -2, 0, 1};
    interp_net *net = interp_net_new(ctx, "biased");
    interp_conv2d_desc conv;
    interp_dense_desc dense;
    memset(&conv, 0, sizeof conv), memset(&dense, 0, sizeof dense);
    conv.channels = 4, conv.same = true, conv.no_bias = dense.no_bias = written;
    interp_tensor x = interp_conv2d(net, interp_input(net, NULL, &s), &conv);
    if (written) {
        x = interp_mul(net, x, interp_constant(net, &none, &two));
        x = interp_add(net, interp_constant(net, &planes, of_planes), x);
    }
    x = interp_dense(net, interp_flatten(net, interp_relu(net, x)), 5, &dense);
    if (written) {
        x = interp_mul(net, interp_constant(net, &none, &two), x);
        x = interp_sub(net, x, interp_constant(net, &row, less));
    }
    interp_output(net, interp_dense(net, interp_relu(net, x), 3, NULL), "y");
    if (interp_net_build(net, 1)) return NULL;
    float *p = interp_net_parameters(net);
    for (int i = 0, layer = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        const size_t n = interp_shape_size(&v.shape);
        const bool bias = v.shape.rank == 1;
        const float half = written && layer < 2 && !bias ? 0.5f : 1;
        for (size_t k = 0; k < n && !bias; k++)
            p[v.offset + k] = half * 0.3f * interp_random_normal(8, (uint64_t)layer, k);
        for (size_t k = 0; k < n && bias; k++)
            p[v.offset + k] = n == 4 ? of_planes[k] : n == 5 ? of_row[k] : 0.1f;
        layer += !bias;
    }
    return net;
}

TEST(relevance_does_not_depend_on_how_biases_are_written)
{
    enum { n = 2, size = 72 };
    static float x[n * size], out[2][n * size];
    interp_attribution report[2][n];
    interp_attribute_desc d;
    fill(x, n * size, 12);
    memset(&d, 0, sizeof d);
    d.method = INTERP_LRP, d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    for (int rule = 0; rule < INTERP_LRP_RULE_COUNT; rule++) {
        float most = 0;
        d.rule = (interp_lrp_rule)rule;
        for (int k = 0; k < 2; k++) {
            interp_net *net = biased_net(k);
            REQUIRE(net);
            CHECK_OK(ctx, interp_attribute(net, x, n, &d, out[k], report[k]));
            interp_net_free(net);
        }
        for (int i = 0; i < n; i++) CHECK_NEAR(report[1][i].output, report[0][i].output, 1e-5);
        for (int i = 0; i < n * size; i++) most = fmaxf(most, fabsf(out[0][i]));
        CHECK(most > 0);
        for (int i = 0; i < n * size; i++) CHECK_NEAR(out[1][i], out[0][i], 1e-5f * most);
    }
}

/* Behind a layer norm each number gets what it adds while the deviation stays, so that transformers, of
   which the numbers nearly cancel, keep relevance of the output's size. */
TEST(layer_norm_shares_relevance_with_its_deviation_held)
{
    enum { n = 3, size = 6 };
    const interp_shape s = {1, {size, 1, 1, 1, 1, 1, 1, 1}};
    interp_norm_desc norm;
    interp_dense_desc dense;
    interp_attribute_desc d;
    float x[n * size], out[n * size];
    interp_attribution r[n];
    interp_net *net = interp_net_new(ctx, "norm");
    memset(&norm, 0, sizeof norm), memset(&dense, 0, sizeof dense), memset(&d, 0, sizeof d);
    norm.epsilon = 1e-3f, dense.no_bias = true;
    interp_tensor t = interp_layer_norm(net, interp_input(net, NULL, &s), &norm);
    interp_output(net, interp_dense(net, t, 1, &dense), NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    fill(x, n * size, 13);
    const float *w = NULL;
    float *gamma = NULL;
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        if (v.shape.rank == 2) w = interp_net_parameters(net) + v.offset;
        else if (!gamma) gamma = interp_net_parameters(net) + v.offset; /* then beta, of zeros */
    }
    REQUIRE(w && gamma);
    for (int i = 0; i < size; i++) gamma[i] = 0.5f + 0.2f * (float)i;
    d.method = INTERP_LRP, d.target_kind = INTERP_TARGET_SUM;
    CHECK_OK(ctx, interp_attribute(net, x, n, &d, out, r));
    for (int k = 0; k < n; k++) {
        const float *v = x + k * size;
        double mean = 0, square = 0, push = 0;
        for (int i = 0; i < size; i++) mean += (double)v[i] / size;
        for (int i = 0; i < size; i++) square += pow((double)v[i] - mean, 2) / size;
        for (int i = 0; i < size; i++) push += (double)gamma[i] * (double)w[i] / size;
        for (int i = 0; i < size; i++) {
            const double slope = ((double)gamma[i] * (double)w[i] - push) / sqrt(square + 1e-3);
            CHECK_NEAR(out[k * size + i], (double)v[i] * slope, 1e-4);
        }
        CHECK_NEAR(r[k].residual, 0, 1e-4);
    }
    interp_net_free(net);
}

TEST(wrong_settings_of_rules_are_refused)
{
    enum { size = 192 };
    static float x[size], out[size];
    interp_attribute_desc d;
    interp_net *net = mixed_net(ctx, false);
    memset(&d, 0, sizeof d);
    d.method = INTERP_LRP, d.rule = INTERP_LRP_RULE_COUNT;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.rule = INTERP_LRP_EPSILON, d.epsilon = -1;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.epsilon = 0, d.low = 2, d.high = 1;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* ---- references */

typedef struct reference {
    const char *model, *file, *want; /* NULL: model.onnx */
    interp_method method;
    const char *layer, *baseline;
    interp_lrp_rule rule;
    double tolerance; /* of the largest: rounding of float32 for one method and the next */
    float epsilon;
    int steps, target; /* target -1: those stored; else the neuron */
} reference;

#define EXACT 1e-5 /* gradients and DeepLIFT */
#define RULES 1e-4 /* relevances, divided by sums that may be small */

/* Of the z-box, the range of the numbers; and the layer that squares its weights. */
static struct {
    float low, high;
    interp_lrp_layer squared;
} first_layer;

static void check_reference(const reference *r)
{
    static interp_array x, base, want, labels, alphas, draws;
    static int32_t targets[64], indices[256];
    static float out[65536];
    char path[256];
    interp_net *net;
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    snprintf(path, sizeof path, REFS "%s/%s", r->model, r->file ? r->file : "model.onnx");
    REQUIRE_OK(ctx, interp_onnx_load(ctx, path, NULL, &net));
    REQUIRE(read_ref(r->model, "inputs.npy", &x, true));
    snprintf(path, sizeof path, "%s.f64.npy", r->want);
    REQUIRE(read_ref(r->model, path, &want, true));
    REQUIRE(read_ref(r->model, "targets.npy", &labels, false));
    REQUIRE_OK(ctx, interp_array_ints(ctx, &labels, targets));
    if (r->baseline) {
        snprintf(path, sizeof path, "%s.npy", r->baseline);
        REQUIRE(read_ref(r->model, path, &base, true));
        d.baseline = (const float *)base.data, d.n_baselines = base.shape.dim[0];
    }
    if (r->method == INTERP_GRADIENT_SHAP) {
        REQUIRE(read_ref(r->model, "gradient_shap.alpha.npy", &alphas, true));
        REQUIRE(read_ref(r->model, "gradient_shap.baseline_idx.npy", &draws, false));
        REQUIRE_OK(ctx, interp_array_ints(ctx, &draws, indices));
        d.alphas = (const float *)alphas.data, d.draws = indices;
        d.n_samples = (int)interp_shape_size(&alphas.shape) / x.shape.dim[0];
    }
    d.method = r->method, d.layer = r->layer, d.rule = r->rule, d.epsilon = r->epsilon;
    d.n_steps = r->steps, d.raw = true;
    d.low = first_layer.low, d.high = first_layer.high;
    d.layer_rules = &first_layer.squared, d.n_layer_rules = first_layer.squared.layer != NULL;
    d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    if (r->target >= 0) d.target_kind = INTERP_TARGET_CLASS, d.target = r->target;
    interp_shape s;
    REQUIRE_OK(ctx, interp_attribute_shape(net, &d, &s, NULL));
    const size_t n = interp_shape_size(&want.shape);
    REQUIRE(n == interp_shape_size(&s) * (size_t)x.shape.dim[0]);
    REQUIRE_OK(ctx, interp_attribute(net, (const float *)x.data, x.shape.dim[0], &d, out, NULL));
    double worst = 0, largest = 1e-30;
    const size_t one = n / (size_t)x.shape.dim[0];
    for (size_t at = 0; at < n; at += one) {
        double same = 0, other = 0;
        for (size_t i = at; i < at + one; i++) {
            const double w = (double)((const float *)want.data)[i];
            largest = fmax(largest, fabs(w));
            same = fmax(same, fabs((double)out[i] - w));
            other = fmax(other, fabs((double)out[i] + w));
        }
        if (r->method == INTERP_EIGEN_CAM) same = fmin(same, other); /* its sign means nothing */
        worst = fmax(worst, same);
    }
    if (!(worst <= r->tolerance * largest))
        test_fail(__FILE__, __LINE__, "%s/%s: off by %.2g of the largest", r->model, r->want,
                  worst / largest);
    interp_array_free(ctx, &x), interp_array_free(ctx, &want), interp_array_free(ctx, &labels);
    if (r->baseline) interp_array_free(ctx, &base);
    if (r->method == INTERP_GRADIENT_SHAP)
        interp_array_free(ctx, &alphas), interp_array_free(ctx, &draws);
    interp_net_free(net);
}

static bool has_refs(void)
{
    FILE *f = fopen(REFS "README.md", "r");
    if (f) fclose(f);
    return f != NULL;
}

TEST(deep_lift_and_shap_match_the_references)
{
    static const char *const each[] = {"mlp", "mlp_acts", "lenet", "resnet_mini_pool2",
                                       "fish_effnet_mini"};
    static const reference rows[] = {
        {"mlp", NULL, "deeplift", INTERP_DEEP_LIFT, NULL, "baselines", 0, EXACT, 0, 0, -1},
        {"mlp_acts", NULL, "deeplift", INTERP_DEEP_LIFT, NULL, "baselines", 0, EXACT, 0, 0, -1},
        {"lenet", NULL, "deeplift_rule", INTERP_DEEP_LIFT, NULL, "baselines", 0, EXACT, 0, 0, -1},
        {"lenet", NULL, "deeplift_textured_rule", INTERP_DEEP_LIFT, NULL, "baselines_textured", 0,
         EXACT, 0, 0, -1},
        {"resnet_mini_pool2", NULL, "deeplift_rule", INTERP_DEEP_LIFT, NULL, "baselines", 0, EXACT,
         0, 0, -1},
        {"resnet_mini_pool2", "model_bnfused.onnx", "deeplift_textured_rule", INTERP_DEEP_LIFT,
         NULL, "baselines_textured", 0, EXACT, 0, 0, -1},
        {"fish_effnet_mini", "model_logits.onnx", "deeplift_logits_complete", INTERP_DEEP_LIFT,
         NULL, "baselines", 0, EXACT, 0, 0, -1},
        {"transformer_mini", NULL, "deeplift_complete", INTERP_DEEP_LIFT, NULL, "baselines", 0,
         EXACT, 0, 0, -1},
        {"transformer_mini", "model_opset17.onnx", "deeplift_complete", INTERP_DEEP_LIFT, NULL,
         "baselines", 0, EXACT, 0, 0, -1},
        {"mlp", NULL, "deeplift_shap", INTERP_DEEP_LIFT_SHAP, NULL, "baseline_dist", 0, EXACT, 0, 0,
         -1},
        {"mlp_acts", NULL, "deeplift_shap", INTERP_DEEP_LIFT_SHAP, NULL, "baseline_dist", 0, EXACT,
         0, 0, -1},
    };
    if (!has_refs()) SKIP("../shared is not there");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_reference(&rows[i]);
    for (size_t i = 0; i < sizeof each / sizeof *each; i++) {
        const reference shap = {each[i],
                                NULL,
                                "gradient_shap",
                                INTERP_GRADIENT_SHAP,
                                NULL,
                                "baseline_dist",
                                0,
                                EXACT,
                                0,
                                0,
                                -1};
        check_reference(&shap);
    }
}

TEST(relevances_match_zennit)
{
    static const struct {
        const char *name;
        interp_lrp_rule rule;
        float epsilon;
    } rules[] = {{"epsilon_plus", INTERP_LRP_EPSILON_PLUS, 0},
                 {"epsilon_plus_flat", INTERP_LRP_EPSILON_PLUS_FLAT, 0},
                 {"epsilon_alpha2_beta1", INTERP_LRP_EPSILON_ALPHA2_BETA1, 0},
                 {"epsilon_alpha2_beta1_flat", INTERP_LRP_EPSILON_ALPHA2_BETA1_FLAT, 0},
                 {"excitation_backprop", INTERP_LRP_EXCITATION_BACKPROP, 0},
                 {"all_zplus", INTERP_LRP_Z_PLUS, 0},
                 {"all_gamma0.25", INTERP_LRP_GAMMA, 0},
                 {"all_epsilon0.25", INTERP_LRP_EPSILON, 0.25f}};
    static const char *const models[] = {"mlp", "lenet", "resnet_mini_pool2"};
    if (!has_refs()) SKIP("../shared is not there");
    for (int m = 0; m < 3; m++)
        for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
            char want[64];
            snprintf(want, sizeof want, "zennit_%s", rules[i].name);
            const reference r = {models[m], NULL,          want,  INTERP_LRP,       NULL,
                                 NULL,      rules[i].rule, RULES, rules[i].epsilon, 0,
                                 -1};
            check_reference(&r);
        }
}

/* The composites that do something else where the input comes in. */
TEST(relevances_of_first_layers_match_zennit)
{
    static const struct {
        const char *model, *first;
        float low, high;                          /* whole numbers around the inputs */
    } nets[] = {{"mlp", "/net/net.0/Gemm", 0, 1}, /* no convolution: no box */
                {"lenet", "/conv1/Conv", 0, 3},
                {"resnet_mini_pool2", "/conv1/Conv", -3, 3}};
    if (!has_refs()) SKIP("../shared is not there");
    for (int m = 0; m < 3; m++) {
        reference r = {nets[m].model,
                       NULL,
                       "zennit_epsilon_gamma_box",
                       INTERP_LRP,
                       NULL,
                       NULL,
                       INTERP_LRP_EPSILON_GAMMA_BOX,
                       RULES,
                       0,
                       0,
                       -1};
        first_layer.low = nets[m].low, first_layer.high = nets[m].high;
        check_reference(&r);
        memset(&first_layer, 0, sizeof first_layer);
        r.want = "zennit_wsquare_first", r.rule = INTERP_LRP_EPSILON_PLUS;
        first_layer.squared.layer = nets[m].first;
        first_layer.squared.rule = INTERP_LRP_W_SQUARE;
        check_reference(&r);
        memset(&first_layer, 0, sizeof first_layer);
    }
}

TEST(maps_and_guided_gradients_match_the_references)
{
    static const struct {
        const char *name;
        interp_method method;
        double tolerance;
    } cams[] = {{"cam_GradCAM.raw", INTERP_GRAD_CAM, EXACT},
                {"cam_GradCAMPlusPlus.raw", INTERP_GRAD_CAM_PLUS_PLUS, EXACT},
                {"cam_XGradCAM.raw", INTERP_XGRAD_CAM, EXACT},
                {"cam_LayerCAM.raw", INTERP_LAYER_CAM, EXACT},
                {"cam_HiResCAM.raw", INTERP_HIRES_CAM, EXACT},
                {"cam_EigenCAM.raw", INTERP_EIGEN_CAM, RULES}, /* an iteration ends */
                {"cam_ScoreCAM.raw", INTERP_SCORE_CAM, RULES},
                {"cam_AblationCAM.raw", INTERP_ABLATION_CAM, RULES}, /* differences of outputs */
                {"guided_gradcam", INTERP_GUIDED_GRAD_CAM, EXACT}};
    static const struct {
        const char *model, *layer;
    } models[] = {{"lenet", "/conv2/Conv"}, {"resnet_mini_pool2", "/layer2/relu_1/Relu"}};
    if (!has_refs()) SKIP("../shared is not there");
    for (int m = 0; m < 2; m++)
        for (size_t i = 0; i < sizeof cams / sizeof *cams; i++) {
            char path[256];
            snprintf(path, sizeof path, REFS "%s/%s.f64.npy", models[m].model, cams[i].name);
            FILE *f = fopen(path, "r");
            if (!f) continue; /* not stored for every model */
            fclose(f);
            const reference r = {models[m].model,
                                 NULL,
                                 cams[i].name,
                                 cams[i].method,
                                 models[m].layer,
                                 NULL,
                                 0,
                                 cams[i].tolerance,
                                 0,
                                 0,
                                 -1};
            check_reference(&r);
        }
    static const reference guided[] = {
        {"mlp", NULL, "guided_backprop", INTERP_GUIDED_BACKPROP, NULL, NULL, 0, EXACT, 0, 0, -1},
        {"lenet", NULL, "deconvolution", INTERP_DECONVOLUTION, NULL, NULL, 0, EXACT, 0, 0, -1},
        {"resnet_mini_pool2", NULL, "guided_backprop_distinct", INTERP_GUIDED_BACKPROP, NULL, NULL,
         0, EXACT, 0, 0, -1}};
    for (size_t i = 0; i < sizeof guided / sizeof *guided; i++) check_reference(&guided[i]);
}

TEST(layers_and_neurons_match_the_references)
{
    static const reference rows[] = {
        {"lenet", NULL, "layer_gradxact.pool1", INTERP_LAYER_GRADIENT_X_ACTIVATION,
         "/pool1/MaxPool", NULL, 0, EXACT, 0, 0, -1},
        {"lenet", NULL, "layer_conductance.relu3", INTERP_LAYER_CONDUCTANCE, "/relu3/Relu",
         "baselines", 0, RULES, 0, 50, -1},
        {"mlp", NULL, "layer_internal_influence.net.1", INTERP_INTERNAL_INFLUENCE,
         "/net/net.1/Relu", "baselines", 0, RULES, 0, 50, -1},
        {"mlp", NULL, "neuron_gradient", INTERP_NEURON_GRADIENT, "/net/net.2/Gemm", NULL, 0, EXACT,
         0, 0, 3},
        {"lenet", NULL, "neuron_gradient", INTERP_NEURON_GRADIENT, "/fc1/Gemm", NULL, 0, EXACT, 0,
         0, 5},
        {"resnet_mini_pool2", NULL, "neuron_gradient", INTERP_NEURON_GRADIENT,
         "/layer1/relu_1/Relu", NULL, 0, EXACT, 0, 0, (2 * 10 + 4) * 10 + 4}};
    if (!has_refs()) SKIP("../shared is not there");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) check_reference(&rows[i]);
}

/* ---- batches, threads, memory */

TEST(rules_do_not_depend_on_batch_or_threads)
{
    enum { n = 5, size = 192 };
    static float x[n * size], first[n * 512], out[n * 512];
    fill(x, n * size, 7);
    for (int m = 0; m <= INTERP_NEURON_GRADIENT; m++)
        for (int run = 0; run < 4; run++) {
            interp_ctx *c = open_with(1 + run % 3, NULL);
            interp_net *net = mixed_net(c, false);
            interp_attribute_desc d;
            interp_shape s;
            memset(&d, 0, sizeof d);
            memset(out, 0, sizeof out);
            d.method = (interp_method)m;
            d.n_steps = 5, d.n_samples = 4, d.max_blur = 2;
            d.layer = m >= INTERP_LAYER_GRADIENT_X_ACTIVATION ? "relu1" : NULL;
            d.batch = run;
            REQUIRE_OK(c, interp_attribute_shape(net, &d, &s, NULL));
            REQUIRE(interp_shape_size(&s) <= 512);
            CHECK_OK(c, interp_attribute(net, x, n, &d, run ? out : first, NULL));
            if (run) CHECK(memcmp(first, out, interp_shape_size(&s) * n * sizeof *out) == 0);
            interp_close(c);
        }
}

TEST(every_method_keeps_to_the_bytes_it_says)
{
    enum { n = 3, size = 192 };
    static float x[n * size], out[n * 512];
    fill(x, n * size, 8);
    for (int m = 0; m <= INTERP_NEURON_GRADIENT; m++) {
        interp_net *net = mixed_net(ctx, false);
        interp_attribute_desc d;
        size_t bytes;
        memset(&d, 0, sizeof d);
        d.method = (interp_method)m;
        d.n_steps = 3, d.n_samples = 3;
        d.layer = m >= INTERP_LAYER_GRADIENT_X_ACTIVATION ? "relu1" : NULL;
        REQUIRE_OK(ctx, interp_attribute_bytes(net, n, &d, &bytes));
        const size_t used = interp_memory_read(ctx).used;
        interp_memory_set_limit(ctx, used + bytes);
        CHECK_OK(ctx, interp_attribute(net, x, n, &d, out, NULL));
        CHECK(interp_memory_read(ctx).used == used);
        interp_memory_set_limit(ctx, used + 3000);
        CHECK(interp_attribute(net, x, n, &d, out, NULL) == INTERP_NO_MEMORY);
        CHECK(interp_memory_read(ctx).used == used);
        interp_memory_set_limit(ctx, 0);
        interp_net_free(net);
    }
}

/* Both calls on x[2][n * size]: the first, the second, numbers that are none, the first again. */
static void compare_attributor(interp_net *net, const float *x, int n, size_t size,
                               const interp_attribute_desc *d, bool twice)
{
    static float out[2][2 * 2 * 512], now[2 * 2 * 512], bad[2 * 192];
    interp_attribution report[2][4], r[4];
    interp_attributor *a = NULL;
    interp_shape s;
    size_t bytes;
    const int k = d->n_targets ? d->n_targets : 1;
    const size_t used = interp_memory_read(ctx).used;
    const interp_status status = interp_attribute(net, x, n, d, out[0], report[0]);
    if (status) { /* this method has none of that: now, or when it runs */
        interp_status again = interp_attributor_new(net, n, d, &a);
        if (!again) again = interp_attributor_run(a, x, now, r);
        CHECK(again == status);
        interp_attributor_free(a);
        return;
    }
    CHECK_OK(ctx, interp_attribute(net, x + (size_t)n * size, n, d, out[1], report[1]));
    REQUIRE_OK(ctx, interp_attribute_shape(net, d, &s, NULL));
    const size_t results = (size_t)(n * k) * interp_shape_size(&s);
    REQUIRE(results <= sizeof now / sizeof *now);
    REQUIRE_OK(ctx, interp_attributor_bytes(net, n, d, &bytes));
    interp_memory_set_limit(ctx, used + bytes);
    REQUIRE_OK(ctx, interp_attributor_new(net, n, d, &a));
    for (int run = 0; run < (twice ? 4 : 1); run++) {
        if (run == 2) {
            for (size_t i = 0; i < (size_t)n * size; i++) bad[i] = (float)INFINITY;
            CHECK(interp_attributor_run(a, bad, now, NULL) == INTERP_NOT_FINITE);
            continue;
        }
        memset(now, 0, sizeof now);
        CHECK_OK(ctx, interp_attributor_run(a, x + (size_t)(run % 3) * (size_t)n * size, now, r));
        CHECK(memcmp(now, out[run % 3], results * sizeof *now) == 0);
        for (int i = 0; i < n * k; i++) {
            const interp_attribution *e = &report[run % 3][i];
            CHECK(r[i].target == e->target && r[i].passes == e->passes && r[i].nodes == e->nodes);
            CHECK(memcmp(&r[i].output, &e->output, sizeof e->output) == 0);
            CHECK(memcmp(&r[i].residual, &e->residual, sizeof e->residual) == 0);
        }
    }
    interp_attributor_free(a);
    CHECK(interp_memory_read(ctx).used == used);
    interp_memory_set_limit(ctx, used + 200);
    CHECK(interp_attributor_new(net, n, d, &a) == INTERP_NO_MEMORY);
    interp_memory_set_limit(ctx, 0);
    CHECK(interp_memory_read(ctx).used == used);
}

TEST(attributors_say_what_attribute_says)
{
    enum { n = 2, size = 192 };
    static float x[2 * n * size];
    static const int32_t targets[2] = {1, 0};
    fill(x, 2 * n * size, 11);
    interp_net *net = mixed_net(ctx, false);
    for (int m = 0; m < INTERP_METHOD_COUNT; m++)
        for (int kind = 0; kind < 5; kind++) {
            interp_attribute_desc d;
            if (slow_here() && kind != m % 5) continue;
            memset(&d, 0, sizeof d);
            d.method = (interp_method)m;
            d.n_steps = 3, d.n_samples = 3, d.max_blur = 2, d.seed = 4;
            if (kind == 1) d.scope = INTERP_SCOPE_LAYER, d.layer = "relu1";
            if (kind == 2) d.scope = INTERP_SCOPE_NEURON, d.layer = "relu1";
            if (kind == 3) d.n_targets = 2, d.targets = targets;
            if (kind == 4) d.base = INTERP_DEEP_LIFT, d.segments = 5;
            if (m >= INTERP_LAYER_GRADIENT_X_ACTIVATION && m <= INTERP_NEURON_GRADIENT)
                d.layer = "relu1";
            compare_attributor(net, x, n, size, &d, true);
        }
    interp_net_free(net);
}

TEST(attributors_read_what_the_options_point_at_in_every_run)
{
    enum { n = 2, size = 192 };
    static float x[n * size], base[size], want[n * size], out[n * size];
    static int32_t mask[size];
    int32_t targets[n] = {0, 1};
    interp_attributor *a = NULL;
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_KERNEL_SHAP, d.n_samples = 20, d.seed = 5;
    d.mask = mask, d.baseline = base;
    d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    fill(x, n * size, 13);
    interp_net *net = mixed_net(ctx, false);
    for (int i = 0; i < size; i++) mask[i] = i / 32;
    REQUIRE_OK(ctx, interp_attributor_new(net, n, &d, &a));
    for (int run = 0; run < 3; run++) {
        CHECK_OK(ctx, interp_attribute(net, x, n, &d, want, NULL));
        CHECK_OK(ctx, interp_attributor_run(a, x, out, NULL));
        CHECK(memcmp(want, out, sizeof out) == 0);
        targets[run & 1] = run, base[7 * run] = 1;
        for (int i = 0; i < size; i++) mask[i] = (i + 5 * run) % 6; /* as many features */
    }
    mask[0] = 6;
    CHECK(interp_attributor_run(a, x, out, NULL) == INTERP_BAD_ARGUMENT);
    CHECK_STR(interp_error(ctx), "kernel_shap: the mask has other than the 6 features it had");
    mask[0] = -1;
    CHECK(interp_attributor_run(a, x, out, NULL) == INTERP_BAD_ARGUMENT);
    mask[0] = 0, targets[0] = 1000;
    CHECK(interp_attributor_run(a, x, out, NULL) == INTERP_BAD_ARGUMENT);
    interp_attributor_free(a);
    interp_net_free(net);
}

/* Those of kept weights, forward and backward, beside rules that put other weights in their place. */
TEST(attributors_keep_the_weights_of_images_as_the_kernels_read_them)
{
    const interp_shape s = {3, {3, 32, 32, 1, 1, 1, 1, 1}};
    const interp_method methods[] = {INTERP_SALIENCY, INTERP_DEEP_LIFT, INTERP_LRP,
                                     INTERP_GUIDED_BACKPROP, INTERP_FULL_GRAD};
    enum { size = 3 * 32 * 32 };
    static float x[size], plain[size], out[size];
    interp_net *net;
    fill(x, size, 12);
    REQUIRE_OK(ctx, interp_net_arch(ctx, "resnet18", &s, 10, 1, &net));
    for (int m = 0; m < 5; m++)
        for (int rule = 0; rule < (methods[m] == INTERP_LRP ? INTERP_LRP_RULE_COUNT : 1); rule++) {
            interp_attributor *a = NULL;
            interp_attribute_desc d;
            if (slow_here() && rule % 4) continue;
            memset(&d, 0, sizeof d);
            d.method = methods[m], d.rule = (interp_lrp_rule)rule;
            d.low = -3, d.high = 3;
            CHECK_OK(ctx, interp_attribute(net, x, 1, &d, plain, NULL));
            REQUIRE_OK(ctx, interp_attributor_new(net, 1, &d, &a));
            for (int run = 0; run < 2; run++) {
                CHECK_OK(ctx, interp_attributor_run(a, x, out, NULL));
                CHECK(memcmp(plain, out, sizeof out) == 0);
            }
            interp_attributor_free(a);
        }
    interp_net_free(net);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(attributors_say_what_attribute_says);
    RUN(attributors_read_what_the_options_point_at_in_every_run);
    RUN(attributors_keep_the_weights_of_images_as_the_kernels_read_them);
    RUN(deep_lift_is_complete_on_every_kind_of_op);
    RUN(deep_lift_is_input_times_gradient_on_a_linear_net);
    RUN(relevance_is_conserved_without_biases);
    RUN(guided_backprop_counts_the_nodes_it_changes);
    RUN(layers_are_chosen_and_named);
    RUN(conductance_of_a_layer_that_all_goes_through_is_complete);
    RUN(relevance_does_not_depend_on_how_biases_are_written);
    RUN(layer_norm_shares_relevance_with_its_deviation_held);
    RUN(wrong_settings_of_rules_are_refused);
    RUN(deep_lift_and_shap_match_the_references);
    RUN(relevances_match_zennit);
    RUN(relevances_of_first_layers_match_zennit);
    RUN(maps_and_guided_gradients_match_the_references);
    RUN(layers_and_neurons_match_the_references);
    RUN(rules_do_not_depend_on_batch_or_threads);
    RUN(every_method_keeps_to_the_bytes_it_says);
    interp_close(ctx);
    return test_end(argc, argv);
}

/* Attribution: FullGrad, guided paths, TCAV, RevealCancel, guided gradients, presets, superpixels. */
#include "attr_nets.h"

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
    CHECK_NEAR(error_of(out, &want, 1), 0, 1e-5);
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

/* ---- RevealCancel */

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

/* ---- guided gradients of smooth functions */

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
            CHECK(r[i].output == one.output &&
                  memcmp(&r[i].residual, &one.residual, sizeof one.residual) == 0);
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
    RUN(reveal_cancel_is_complete_for_every_function);
    RUN(reveal_cancel_shares_a_minimum);
    RUN(reveal_cancel_leaves_convolutions_to_rescale);
    RUN(guided_backprop_passes_positive_slopes_of_smooth_functions);
    RUN(guided_backprop_knows_relu6);
    RUN(presets_are_their_rules_with_an_epsilon_of_a_tenth);
    RUN(deep_taylor_conserves_relevance_past_biases);
    RUN(layers_can_have_rules_of_their_own);
    RUN(superpixels_are_connected_and_follow_edges);
    RUN(segments_and_grids_are_masks);
    interp_close(ctx);
    return test_end(argc, argv);
}

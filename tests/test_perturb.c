/* Attribution by perturbation: axioms, masks, memory, and the stored results of independent software. */
#include "interp.h"
#include "heap.h"
#include "test.h"

#define REFS "../shared/refs/attribution/"

/* Largest difference over the largest magnitude wanted: outputs are float32, and attributions are
   differences of them, smaller by up to a factor of a hundred. */
#define REFERENCE_TOLERANCE 1e-4

/* Sums of differences of float32 outputs of magnitude 1. */
#define SUM_TOLERANCE 2e-6

static interp_ctx *ctx;

static const interp_method perturbing[] = {INTERP_OCCLUSION,
                                           INTERP_FEATURE_ABLATION,
                                           INTERP_FEATURE_PERMUTATION,
                                           INTERP_SHAPLEY_VALUE_EXACT,
                                           INTERP_SHAPLEY_VALUE_SAMPLING,
                                           INTERP_KERNEL_SHAP,
                                           INTERP_LIME,
                                           INTERP_PARTITION_SHAP,
                                           INTERP_RISE,
                                           INTERP_ANCHORS};
enum { N_METHODS = sizeof perturbing / sizeof *perturbing };

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(12, stream, i);
}

/* A small net on [2,6,6] images. */
static interp_net *image_net(interp_ctx *c)
{
    const interp_shape s = {3, {2, 6, 6, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "images");
    interp_tensor x = interp_input(net, NULL, &s);
    interp_conv2d_desc conv;
    memset(&conv, 0, sizeof conv);
    conv.channels = 5, conv.same = true;
    x = interp_relu(net, interp_conv2d(net, x, &conv));
    x = interp_activate(net, interp_dense(net, x, 12, NULL), INTERP_SILU, 0);
    interp_output(net, interp_dense(net, x, 4, NULL), "y");
    return interp_net_build(net, 5) ? NULL : net;
}

/* A net on a list of numbers, with one hidden layer or linear. */
static interp_net *list_net(interp_ctx *c, int size, bool linear)
{
    const interp_shape s = {1, {size, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "list");
    interp_tensor x = interp_input(net, NULL, &s);
    if (!linear) x = interp_relu(net, interp_dense(net, x, 16, NULL));
    interp_output(net, interp_dense(net, x, 3, NULL), "y");
    return interp_net_build(net, 6) ? NULL : net;
}

static interp_attribute_desc desc_of(interp_method method)
{
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = method;
    d.target_kind = INTERP_TARGET_CLASS, d.target = 1;
    d.seed = 4;
    return d;
}

static double difference(const float *u, const float *v, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) { /* not by fmax: gcc 12 for aarch64 fails on it, unrolled */
        const double off = fabs((double)u[i] - (double)v[i]);
        if (off > most) most = off;
    }
    return most;
}

/* ---- axioms */

TEST(exact_shapley_values_sum_to_the_output_difference)
{
    enum { n = 3, size = 9 };
    float x[n * size], base[n * size], out[n * size];
    interp_attribution r[n];
    interp_net *net = list_net(ctx, size, false);
    interp_attribute_desc d = desc_of(INTERP_SHAPLEY_VALUE_EXACT);
    fill(x, n * size, 1);
    fill(base, n * size, 2);
    d.baseline = base, d.n_baselines = n;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int k = 0; k < size; k++) sum += (double)out[i * size + k];
        CHECK_NEAR(sum, r[i].output - r[i].baseline_output, SUM_TOLERANCE);
        CHECK_NEAR(r[i].residual, 0, 1e-12);
        CHECK(r[i].passes == (1 << size) + 2);
        CHECK(fabs(r[i].output - r[i].baseline_output) > 0.01);
    }
    interp_net_free(net);
}

/* On a linear net every method gives w (x - x0): Shapley values, regressions without a penalty, and
   removing one number at a time. */
TEST(a_linear_net_gives_weights_times_differences)
{
    enum { size = 8 };
    static const interp_method methods[] = {
        INTERP_OCCLUSION,           INTERP_FEATURE_ABLATION,
        INTERP_SHAPLEY_VALUE_EXACT, INTERP_SHAPLEY_VALUE_SAMPLING,
        INTERP_KERNEL_SHAP,         INTERP_PARTITION_SHAP};
    float x[size], base[size], out[size], grad[size];
    interp_net *net = list_net(ctx, size, true);
    interp_attribute_desc d = desc_of(INTERP_SALIENCY);
    fill(x, size, 1);
    fill(base, size, 2);
    d.keep_sign = true;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, grad, NULL));
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        d = desc_of(methods[m]);
        d.baseline = base;
        CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
        for (int k = 0; k < size; k++)
            CHECK_NEAR(out[k], (double)grad[k] * ((double)x[k] - (double)base[k]), SUM_TOLERANCE);
    }
    interp_net_free(net);
}

/* The definition: the mean gain over all orders, or over those in which halves stay together. */
static void plain_values(interp_net *net, const float *x, const float *base, bool halves,
                         double value[4])
{
    double f[16], orders = 0;
    for (int s = 0; s < 16; s++) {
        float in[4], y[3];
        for (int k = 0; k < 4; k++) in[k] = s >> k & 1 ? x[k] : base[k];
        CHECK_OK(ctx, interp_predict(net, in, 1, y));
        f[s] = (double)y[1];
    }
    for (int k = 0; k < 4; k++) value[k] = 0;
    for (int code = 0; code < 256; code++) {
        const int o[4] = {code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6 & 3};
        int seen = 0;
        for (int i = 0; i < 4; i++) seen |= 1 << o[i];
        if (seen != 15 || (halves && o[0] / 2 != o[1] / 2)) continue;
        orders++;
        for (int i = 0, s = 0; i < 4; s |= 1 << o[i++]) value[o[i]] += f[s | 1 << o[i]] - f[s];
    }
    for (int k = 0; k < 4; k++) value[k] /= orders;
}

TEST(shapley_and_owen_values_are_means_over_orders)
{
    float x[4], base[4], out[4];
    double want[4];
    interp_net *net = list_net(ctx, 4, false);
    fill(x, 4, 7);
    fill(base, 4, 8);
    for (int halves = 0; halves < 2; halves++) {
        interp_attribute_desc d =
            desc_of(halves ? INTERP_PARTITION_SHAP : INTERP_SHAPLEY_VALUE_EXACT);
        d.baseline = base;
        plain_values(net, x, base, halves, want);
        CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
        for (int k = 0; k < 4; k++) CHECK_NEAR(out[k], want[k], SUM_TOLERANCE);
    }
    interp_net_free(net);
}

TEST(kernel_shap_of_all_coalitions_equals_exact_shapley)
{
    enum { size = 8 };
    float x[size], exact[size], out[size];
    interp_attribution r;
    interp_net *net = list_net(ctx, size, false);
    fill(x, size, 3);
    interp_attribute_desc d = desc_of(INTERP_SHAPLEY_VALUE_EXACT);
    CHECK_OK(ctx, interp_attribute(net, x, 1, &d, exact, NULL));
    d.method = INTERP_KERNEL_SHAP, d.n_samples = 1 << size;
    CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
    CHECK_NEAR(difference(exact, out, size), 0, SUM_TOLERANCE);
    CHECK_NEAR(r.residual, 0, SUM_TOLERANCE);
    interp_net_free(net);
}

/* Errors of random estimates fall as one over the root of the number of draws. */
TEST(sampled_shapley_values_come_near_the_exact_ones)
{
    enum { size = 10 };
    static const interp_method methods[] = {INTERP_SHAPLEY_VALUE_SAMPLING, INTERP_KERNEL_SHAP};
    float x[size], exact[size], out[size];
    interp_net *net = list_net(ctx, size, false);
    fill(x, size, 3);
    interp_attribute_desc d = desc_of(INTERP_SHAPLEY_VALUE_EXACT);
    CHECK_OK(ctx, interp_attribute(net, x, 1, &d, exact, NULL));
    double largest = 0;
    for (int k = 0; k < size; k++) largest = fmax(largest, fabs((double)exact[k]));
    for (int m = 0; m < 2; m++) {
        double error[2] = {0, 0};
        d.method = methods[m];
        for (int many = 0; many < 2; many++)
            for (d.seed = 0; d.seed < 10; d.seed++) {
                d.n_samples = many ? 1000 : 40;
                CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
                error[many] += difference(exact, out, size) / 10;
            }
        CHECK(error[1] < 0.4 * error[0]); /* 0.2 is expected */
        CHECK(error[1] < 0.03 * largest);
    }
    interp_net_free(net);
}

TEST(occlusion_by_single_numbers_equals_ablation)
{
    enum { n = 2, size = 72 };
    static float x[n * size], base[size], one[n * size], two[n * size];
    interp_net *net = image_net(ctx);
    interp_attribute_desc d = desc_of(INTERP_OCCLUSION);
    fill(x, n * size, 1);
    fill(base, size, 2);
    d.baseline = base;
    for (int i = 0; i < 3; i++) d.window[i] = 1;
    CHECK_OK(ctx, interp_attribute(net, x, n, &d, one, NULL));
    d.method = INTERP_FEATURE_ABLATION;
    CHECK_OK(ctx, interp_attribute(net, x, n, &d, two, NULL));
    CHECK(memcmp(one, two, sizeof one) == 0);
    interp_net_free(net);
}

/* Windows of 3 by 2 over 6 are at 0, 2 and, cropped, at 4: number 5 is in the last alone, 2 in two. */
TEST(windows_are_cropped_at_the_edge)
{
    float x[6], out[6], y[3], in[6];
    double lost[3];
    interp_net *net = list_net(ctx, 6, false);
    interp_attribution r;
    interp_attribute_desc d = desc_of(INTERP_OCCLUSION);
    fill(x, 6, 5);
    d.window[0] = 3, d.stride[0] = 2;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
    CHECK(r.passes == 3 + 2);
    for (int w = 0; w < 3; w++) {
        for (int k = 0; k < 6; k++) in[k] = k >= 2 * w && k < 2 * w + 3 ? 0 : x[k];
        CHECK_OK(ctx, interp_predict(net, in, 1, y));
        lost[w] = r.output - (double)y[1];
    }
    CHECK_NEAR(out[0], lost[0], SUM_TOLERANCE);
    CHECK_NEAR(out[2], (lost[0] + lost[1]) / 2, SUM_TOLERANCE);
    CHECK_NEAR(out[3], lost[1], SUM_TOLERANCE);
    CHECK_NEAR(out[5], lost[2], SUM_TOLERANCE);
    interp_net_free(net);
}

TEST(partition_shap_is_complete_however_few_passes)
{
    enum { n = 2, size = 72 };
    static float x[n * size], base[size], out[n * size];
    interp_attribution r[n];
    interp_net *net = image_net(ctx);
    interp_attribute_desc d = desc_of(INTERP_PARTITION_SHAP);
    fill(x, n * size, 1);
    fill(base, size, 2);
    d.baseline = base;
    for (d.n_samples = 2; d.n_samples < 100000; d.n_samples *= 7) {
        REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, r));
        for (int i = 0; i < n; i++) {
            CHECK_NEAR(r[i].residual, 0, 1e-9);
            double sum = 0;
            for (int k = 0; k < size; k++) sum += (double)out[i * size + k];
            CHECK_NEAR(sum, r[i].output - r[i].baseline_output, SUM_TOLERANCE);
            CHECK(r[i].passes <= d.n_samples + 2);
        }
    }
    interp_net_free(net);
}

/* Where only one corner counts, every method that is given enough passes points at it. */
TEST(lime_and_rise_find_the_pixels_that_count)
{
    enum { size = 144 };
    float x[size], out[size];
    const interp_shape s = {3, {1, 12, 12, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "corner");
    interp_output(net, interp_dense(net, interp_input(net, NULL, &s), 1, NULL), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    float *w = interp_net_parameters(net);
    for (int k = 0; k < size; k++) w[k] = k / 12 < 4 && k % 12 < 4 ? 1.0f : 0, x[k] = 1;
    static const interp_method methods[] = {INTERP_LIME, INTERP_RISE};
    for (int m = 0; m < 2; m++) {
        double inside = 0, outside = 0;
        interp_attribute_desc d = desc_of(methods[m]);
        d.target_kind = INTERP_TARGET_SUM, d.target = 0;
        d.n_samples = 1000;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
        for (int k = 0; k < size; k++)
            *(k / 12 < 4 && k % 12 < 4 ? &inside : &outside) += (double)out[k];
        inside /= 16, outside /= size - 16;
        if (methods[m] == INTERP_RISE) CHECK(inside > 1.1 * outside && outside > 0);
        else CHECK(inside > 1 && fabs(outside) < 0.05 * inside);
    }
    interp_net_free(net);
}

/* Output 0 is the larger when at least `needed` of the numbers 2 and 5 are there. */
static interp_net *pair_net(int needed)
{
    const interp_shape s = {1, {8, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "pair");
    interp_output(net, interp_dense(net, interp_input(net, NULL, &s), 2, NULL), "y");
    if (interp_net_build(net, 1)) return NULL;
    float *w = interp_net_parameters(net), in[8], y[2];
    memset(w, 0, interp_net_describe(net).n_parameters * sizeof *w);
    memset(in, 0, sizeof in);
    for (int k = 2; k < 6; k += 3) { /* the weight that takes number k to output 0 */
        in[k] = 1;
        for (int i = 0; i < 16; i++) {
            w[i] += 1;
            CHECK_OK(ctx, interp_predict(net, in, 1, y));
            if (y[0] != 1) w[i] -= 1;
            else i = 16;
        }
        in[k] = 0;
    }
    w[17] = (float)needed - 0.5f; /* bias of output 1 */
    return net;
}

TEST(anchors_are_the_fewest_features_that_hold)
{
    float x[8], out[8];
    interp_attribution r;
    for (int k = 0; k < 8; k++) x[k] = 1;
    for (int needed = 0; needed <= 2; needed++) {
        interp_net *net = pair_net(needed);
        REQUIRE(net);
        interp_attribute_desc d = desc_of(INTERP_ANCHORS);
        d.target_kind = INTERP_TARGET_PREDICTED, d.target = 0;
        for (d.seed = 0; d.seed < 20; d.seed++) {
            int held = 0;
            REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
            CHECK(r.target == 0 && r.precision == 1);
            CHECK(r.coverage == ldexp(1, -needed));
            for (int k = 0; k < 8; k++) held += out[k] != 0;
            CHECK(held == needed && (needed < 2 || (out[2] == 1 && out[5] == 1)));
            CHECK(needed != 1 || out[2] + out[5] == 1);
            CHECK(isnan(r.residual) && r.passes < 3000);
        }
        interp_net_free(net);
    }
    interp_net *net = image_net(ctx); /* passes are not more than are allowed */
    static float image[72], map[72];
    interp_attribute_desc d = desc_of(INTERP_ANCHORS);
    fill(image, 72, 1);
    d.n_samples = 450, d.target_kind = INTERP_TARGET_PREDICTED, d.target = 0;
    CHECK_OK(ctx, interp_attribute(net, image, 1, &d, map, &r));
    CHECK(r.passes <= 452);
    interp_net_free(net);
}

/* The precision is that of new random copies, although old ones are counted again as the anchor grows. */
TEST(anchors_hold_as_often_as_they_say)
{
    enum { size = 72, pixels = 36, copies = 4000 };
    static float x[size], map[size], to[size];
    float y[4];
    interp_attribution r;
    interp_net *net = image_net(ctx);
    interp_attribute_desc d = desc_of(INTERP_ANCHORS);
    d.target_kind = INTERP_TARGET_PREDICTED, d.target = 0, d.threshold = 0.75f;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        int held = 0, features = 0;
        fill(x, size, seed);
        d.seed = seed;
        REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, map, &r));
        for (int i = 0; i < copies; i++) {
            for (int k = 0; k < size; k++) {
                const uint64_t at = (uint64_t)(i * pixels + k % pixels);
                to[k] = map[k] != 0 || (interp_random_u32(91, seed, at) & 1) ? x[k] : 0;
            }
            CHECK_OK(ctx, interp_predict(net, to, 1, y));
            held += interp_argmax(y, 4) == r.target;
        }
        for (int k = 0; k < pixels; k++) features += map[k] != 0;
        CHECK(r.precision > 0.75 && r.coverage == ldexp(1, -features));
        CHECK_NEAR((double)held / copies, r.precision, 0.05);
    }
    interp_net_free(net);
}

/* With one other sample to take from, the feature's new value is known. */
TEST(features_are_permuted_between_samples)
{
    enum { size = 5 };
    float x[2 * size], out[2 * size], in[size], y[3];
    interp_attribution r[2];
    interp_net *net = list_net(ctx, size, false);
    interp_attribute_desc d = desc_of(INTERP_FEATURE_PERMUTATION);
    fill(x, 2 * size, 1);
    REQUIRE_OK(ctx, interp_attribute(net, x, 2, &d, out, r));
    for (int k = 0; k < size; k++) {
        memcpy(in, x, sizeof in);
        in[k] = x[size + k];
        CHECK_OK(ctx, interp_predict(net, in, 1, y));
        CHECK_NEAR(out[k], r[0].output - (double)y[1], SUM_TOLERANCE);
    }
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "other samples") != NULL);
    interp_net_free(net);
}

/* ---- masks */

TEST(masks_broadcast_and_features_are_counted)
{
    enum { size = 72 };
    static float x[size], small[size], large[size];
    static int32_t whole[size];
    int32_t columns[6];
    int count = 0;
    interp_net *net = image_net(ctx);
    interp_attribute_desc d = desc_of(INTERP_SHAPLEY_VALUE_EXACT);
    fill(x, size, 1);
    for (int k = 0; k < 6; k++) columns[k] = k / 2 * 1000 + 3; /* ids need not follow each other */
    for (int k = 0; k < size; k++) whole[k] = k % 6 / 2;
    d.mask = columns, d.mask_shape.rank = 1, d.mask_shape.dim[0] = 6;
    CHECK_OK(ctx, interp_attribute_features(net, &d, &count));
    CHECK(count == 3);
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, small, NULL));
    d.mask = whole, d.mask_shape.rank = 0;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, large, NULL));
    CHECK(memcmp(small, large, sizeof small) == 0);
    CHECK(small[0] == small[36 + 7] && small[0] != small[2]);
    d = desc_of(INTERP_FEATURE_ABLATION);
    CHECK_OK(ctx, interp_attribute_features(net, &d, &count));
    CHECK(count == size);
    d.method = INTERP_KERNEL_SHAP; /* 8 tiles a side, of at least a pixel, shared by the channels */
    CHECK_OK(ctx, interp_attribute_features(net, &d, &count));
    CHECK(count == 36);
    d.method = INTERP_SALIENCY;
    CHECK_OK(ctx, interp_attribute_features(net, &d, &count));
    CHECK(count == 0);
    interp_net_free(net);
}

/* ---- engine */

TEST(perturbations_do_not_depend_on_batch_threads_or_memory)
{
    enum { n = 5, size = 72 };
    static float x[n * size], first[n * size], out[n * size];
    fill(x, n * size, 5);
    for (int m = 0; m < N_METHODS; m++)
        for (int run = 0; run < 7; run++) {
            interp_desc open;
            memset(&open, 0, sizeof open);
            open.threads = 1 + run % 3;
            interp_ctx *c = interp_open(&open);
            interp_net *net = image_net(c);
            interp_attribute_desc d = desc_of(perturbing[m]);
            d.n_samples = 38;
            d.batch = run < 3 ? 0 : 1 + 3 * (run - 3);
            if (run == 6) {
                size_t least;
                d.batch = 1;
                CHECK_OK(c, interp_attribute_bytes(net, n, &d, &least));
                d.batch = 0;
                interp_memory_set_limit(c, interp_memory_read(c).used + least);
            }
            CHECK_OK(c, interp_attribute(net, x, n, &d, run ? out : first, NULL));
            if (run) CHECK(memcmp(first, out, sizeof out) == 0);
            interp_close(c);
        }
}

/* More passes take no more memory, but for the open boxes of partition_shap. */
TEST(memory_does_not_grow_with_perturbations)
{
    static const interp_method methods[] = {
        INTERP_SHAPLEY_VALUE_SAMPLING, INTERP_KERNEL_SHAP, INTERP_LIME, INTERP_RISE, INTERP_ANCHORS,
        INTERP_PARTITION_SHAP};
    interp_net *net = image_net(ctx);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        interp_attribute_desc d = desc_of(methods[m]);
        size_t few, many;
        d.n_samples = 50;
        CHECK_OK(ctx, interp_attribute_bytes(net, 1, &d, &few));
        d.n_samples = 5000;
        CHECK_OK(ctx, interp_attribute_bytes(net, 1, &d, &many));
        if (methods[m] == INTERP_PARTITION_SHAP) CHECK(many > few && many - few <= 48 * 5000);
        else CHECK(many == few);
    }
    interp_net_free(net);
}

/* Where no copy keeps the target, the feature comes first that brings its output nearest. */
TEST(anchors_go_by_the_output_where_none_holds)
{
    enum { size = 8, strong = 5 };
    float x[size], out[size];
    interp_attribution r;
    const interp_shape s = {1, {size, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "hopeless");
    interp_output(net, interp_dense(net, interp_input(net, NULL, &s), 2, NULL), NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape); k++) p[v.offset + k] = 0;
        if (v.shape.rank == 1) p[v.offset] = 100; /* the other class, whatever the input */
        else p[v.offset + (v.shape.dim[0] == 2 ? size + strong : 2 * strong + 1)] = 1;
    }
    for (int i = 0; i < size; i++) x[i] = 1;
    interp_attribute_desc d = desc_of(INTERP_ANCHORS);
    d.n_samples = 1000;
    REQUIRE_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
    CHECK(r.target == 1 && r.precision == 0);
    CHECK(out[strong] == 1 && r.coverage > ldexp(1, -size));
    interp_net_free(net);
}

/* Of inputs [V,C,H,W] each view is an image of its own: where the network looks at one alone, the others
   get nothing, and a feature never reaches from view to view. */
TEST(views_have_windows_tiles_and_segments_of_their_own)
{
    enum { views = 3, view = 2 * 8 * 8, size = views * view };
    static const interp_method methods[] = {
        INTERP_OCCLUSION,           INTERP_FEATURE_ABLATION,
        INTERP_FEATURE_ABLATION,    INTERP_SHAPLEY_VALUE_SAMPLING,
        INTERP_SHAPLEY_VALUE_EXACT, INTERP_KERNEL_SHAP};
    static float x[size], out[size];
    const interp_shape s = {4, {views, 2, 8, 8, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "views");
    interp_dense_desc dense;
    memset(&dense, 0, sizeof dense);
    dense.no_bias = true;
    interp_tensor t = interp_flatten(net, interp_input(net, NULL, &s));
    interp_output(net, interp_dense(net, t, 1, &dense), NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    fill(x, size, 1);
    for (int i = 0; i < size; i++) {
        interp_net_parameters(net)[i] = i / view == 1 ? 1 + 0.01f * (float)i : 0;
        x[i] = 1 + 0.1f * x[i];
    }
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        interp_attribute_desc d = desc_of(methods[m]);
        d.target_kind = INTERP_TARGET_SUM;
        if (m == 1) d.grid[0] = d.grid[1] = 2;
        if (m == 2 || m == 3) d.segments = 12;
        if (m == 5) d.n_samples = 1000; /* that so many coalitions tell 48 features apart */
        CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, NULL));
        for (int i = 0; i < size; i++)
            if (i / view == 1) CHECK(out[i] > 0.01f);
            else CHECK_NEAR(out[i], 0, 2e-3); /* of 80 */
    }
    interp_net_free(net);
}

TEST(wrong_settings_of_perturbations_are_refused)
{
    enum { size = 72 };
    static float x[size], out[size];
    static int32_t mask[size], rows[2 * size];
    interp_net *net = image_net(ctx);
    fill(x, size, 7);
    out[0] = 42;
#define REFUSED(status, words)                                                                     \
    do {                                                                                           \
        CHECK(interp_attribute(net, x, 1, &d, out, NULL) == (status));                             \
        if (!strstr(interp_error(ctx), words))                                                     \
            test_fail(__FILE__, __LINE__, "says \"%s\"", interp_error(ctx));                       \
    } while (0)
    interp_attribute_desc d = desc_of(INTERP_OCCLUSION);
    d.window[0] = 3, d.window[1] = 1, d.window[2] = 1;
    REFUSED(INTERP_BAD_ARGUMENT, "window 3 by stride 1 along 2 numbers");
    d.window[0] = 2, d.stride[1] = 2; /* numbers between windows would never be tried */
    REFUSED(INTERP_BAD_ARGUMENT, "window 1 by stride 2");
    d.stride[1] = 0, d.window[2] = 0;
    REFUSED(INTERP_BAD_ARGUMENT, "window 0");
    d = desc_of(INTERP_SHAPLEY_VALUE_EXACT);
    for (int k = 0; k < size; k++) mask[k] = k % 21;
    d.mask = mask;
    REFUSED(INTERP_BAD_ARGUMENT, "21 features are more than 20");
    mask[5] = -1;
    REFUSED(INTERP_BAD_ARGUMENT, "ids that are not within 0");
    d.mask_shape.rank = 1, d.mask_shape.dim[0] = 5;
    REFUSED(INTERP_BAD_SHAPE, "the shape of the mask");
    d.mask_shape.rank = 9;
    REFUSED(INTERP_BAD_SHAPE, "the shape of the mask");
    d = desc_of(INTERP_KERNEL_SHAP);
    d.n_samples = 1;
    REFUSED(INTERP_BAD_ARGUMENT, "at least 2 coalitions");
    d.n_samples = 2, rows[1] = 7, d.coalitions = rows;
    REFUSED(INTERP_BAD_ARGUMENT, "coalitions hold 7");
    d = desc_of(INTERP_SHAPLEY_VALUE_SAMPLING);
    d.n_samples = 1, d.permutations = rows;
    REFUSED(INTERP_BAD_ARGUMENT, "row 0 is no permutation");
    d.permutations = NULL, d.n_samples = 2000000000;
    REFUSED(INTERP_BAD_ARGUMENT, "more than 2147483647 passes");
    d = desc_of(INTERP_LIME);
    d.penalty = -1;
    REFUSED(INTERP_BAD_ARGUMENT, "must not be negative");
    d.penalty = 0, d.kernel_width = 1e-6f;
    REFUSED(INTERP_BAD_ARGUMENT, "larger kernel_width");
    d = desc_of(INTERP_ANCHORS);
    d.target_kind = INTERP_TARGET_SUM;
    REFUSED(INTERP_BAD_ARGUMENT, "one of several outputs");
    CHECK(out[0] == 42);
    interp_net_free(net);
    net = list_net(ctx, 4, true);
    d = desc_of(INTERP_RISE);
    REFUSED(INTERP_BAD_SHAPE, "no image");
    interp_net_free(net);
#undef REFUSED
}

/* One feature, or one number: nothing to divide. */
TEST(one_feature_takes_all)
{
    enum { size = 72 };
    static float x[size], out[size];
    static const int32_t mask[1] = {7};
    static const interp_method methods[] = {INTERP_FEATURE_ABLATION, INTERP_SHAPLEY_VALUE_EXACT,
                                            INTERP_SHAPLEY_VALUE_SAMPLING, INTERP_KERNEL_SHAP,
                                            INTERP_PARTITION_SHAP};
    interp_net *net = image_net(ctx);
    interp_attribution r;
    fill(x, size, 7);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        interp_attribute_desc d = desc_of(methods[m]);
        d.mask = mask, d.mask_shape.rank = 1, d.mask_shape.dim[0] = 1;
        CHECK_OK(ctx, interp_attribute(net, x, 1, &d, out, &r));
        for (int k = 0; k < size; k++)
            CHECK_NEAR(out[k], r.output - r.baseline_output, SUM_TOLERANCE);
    }
    interp_net_free(net);
}

TEST(perturbations_survive_every_failing_allocation)
{
    enum { n = 2, size = 72 };
    static float x[n * size], out[n * size];
    interp_desc open;
    memset(&open, 0, sizeof open);
    open.threads = 1;
    open.allocator.alloc = heap_alloc, open.allocator.free = heap_free;
    fill(x, n * size, 8);
    for (int m = 0; m < N_METHODS; m++) {
        bool done = false;
        for (int i = 0; i < 400 && !done; i++) {
            heap.fail_at = 0;
            interp_ctx *c = interp_open(&open);
            interp_net *net = image_net(c);
            const size_t held = heap.held;
            interp_attribute_desc d = desc_of(perturbing[m]);
            d.n_samples = 4;
            heap_fail_after(i);
            const interp_status status = interp_attribute(net, x, n, &d, out, NULL);
            CHECK(status == INTERP_OK || status == INTERP_NO_MEMORY);
            CHECK(heap.held == held);
            done = !status;
            interp_close(c);
            CHECK(heap.held == 0);
        }
        CHECK(done);
    }
}

/* ---- stored references */

static bool read_array(const char *model, const char *file, interp_array *a)
{
    char path[256];
    snprintf(path, sizeof path, REFS "%s/%s", model, file);
    return !interp_npy_read(ctx, path, a);
}

static bool read_floats(const char *model, const char *file, interp_array *a)
{
    return read_array(model, file, a) && !interp_array_to_f32(ctx, a);
}

/* Whole numbers; NULL when the file is not there. rows: NULL or where the second last size goes. */
static int32_t *read_ints(const char *model, const char *file, int *rows)
{
    interp_array a;
    if (!read_array(model, file, &a)) return NULL;
    int32_t *to = (int32_t *)malloc((interp_shape_size(&a.shape) + 1) * sizeof *to);
    if (to) CHECK_OK(ctx, interp_array_ints(ctx, &a, to));
    if (rows) *rows = a.shape.dim[a.shape.rank - 2];
    interp_array_free(ctx, &a);
    return to;
}

typedef struct reference {
    const char *file, *draws;
    interp_method method;
    int window[4], stride[4];
    bool no_baseline;
} reference;

/* Whether a stored result is there and matched. */
static bool check_reference(interp_net *net, const char *model, const reference *ref)
{
    interp_array x, base, want;
    int rows = 0;
    if (!read_floats(model, ref->file, &want)) return false;
    interp_attribute_desc d = desc_of(ref->method);
    int32_t *draws = ref->draws ? read_ints(model, ref->draws, &rows) : NULL;
    int32_t *mask = read_ints(model, "feature_mask.npy", NULL);
    int32_t *targets = read_ints(model, "targets.npy", NULL);
    CHECK(read_floats(model, "inputs.npy", &x) && read_floats(model, "baselines.npy", &base));
    const size_t size = interp_shape_size(&x.shape);
    float *out = (float *)malloc(size * sizeof *out);
    d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    d.mask = mask;
    if (strstr(ref->file, "enum8")) d.mask = NULL;
    if (!ref->no_baseline) d.baseline = (const float *)base.data, d.n_baselines = x.shape.dim[0];
    for (int i = 0; i < 4; i++) d.window[i] = ref->window[i], d.stride[i] = ref->stride[i];
    if (ref->method == INTERP_SHAPLEY_VALUE_SAMPLING) d.permutations = draws;
    else d.coalitions = draws;
    d.n_samples = rows;
    CHECK_OK(ctx, interp_attribute(net, (const float *)x.data, x.shape.dim[0], &d, out, NULL));
    double largest = 1e-30; /* a Lasso may leave nothing */
    const float *w = (const float *)want.data;
    for (size_t i = 0; i < size; i++) largest = fmax(largest, fabs((double)w[i]));
    const double error = difference(out, w, size) / largest;
    if (!(error <= REFERENCE_TOLERANCE))
        test_fail(__FILE__, __LINE__, "%s/%s: off by %.2g of the largest", model, ref->file, error);
    free(out), free(draws), free(mask), free(targets);
    interp_array_free(ctx, &x), interp_array_free(ctx, &base), interp_array_free(ctx, &want);
    return true;
}

TEST(perturbations_match_the_references)
{
    static const char *const models[] = {
        "mlp",         "mlp_softmax",      "mlp_acts",        "lenet", "resnet_mini_pool2",
        "effnet_mini", "transformer_mini", "fish_effnet_mini"};
    static const reference rows[] = {
        {"feature_ablation.f64.npy", NULL, INTERP_FEATURE_ABLATION, {0}, {0}, false},
        {"feature_ablation_zero.f64.npy", NULL, INTERP_FEATURE_ABLATION, {0}, {0}, true},
        {"shapley_exact.f64.npy", NULL, INTERP_SHAPLEY_VALUE_EXACT, {0}, {0}, false},
        {"shapley_enum8.f64.npy", NULL, INTERP_SHAPLEY_VALUE_EXACT, {0}, {0}, false},
        {"shapley_sampling.f64.npy",
         "shapley_sampling.perms.npy",
         INTERP_SHAPLEY_VALUE_SAMPLING,
         {0},
         {0},
         false},
        {"kernel_shap.f64.npy", "kernel_shap.samples.npy", INTERP_KERNEL_SHAP, {0}, {0}, false},
        {"lime.f64.npy", "lime.samples.npy", INTERP_LIME, {0}, {0}, false}};
    static const struct {
        const char *model;
        reference row;
    } windows[] = {
        {"lenet", {"occlusion0.f64.npy", NULL, INTERP_OCCLUSION, {1, 7, 7}, {1, 3, 3}, true}},
        {"resnet_mini_pool2",
         {"occlusion0.f64.npy", NULL, INTERP_OCCLUSION, {3, 5, 5}, {3, 3, 3}, true}},
        {"transformer_mini", {"occlusion1.f64.npy", NULL, INTERP_OCCLUSION, {2, 5}, {1, 5}, true}},
        {"fish_effnet_mini",
         {"occlusion0.f64.npy", NULL, INTERP_OCCLUSION, {1, 3, 6, 15}, {1, 3, 6, 15}, true}}};
    FILE *f = fopen(REFS "README.md", "r");
    if (!f) SKIP("../shared is not there");
    fclose(f);
    int matched = 0;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        interp_net *net;
        char path[256];
        snprintf(path, sizeof path, REFS "%s/model.onnx", models[m]);
        if (interp_onnx_load(ctx, path, NULL, &net)) continue;
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            matched += check_reference(net, models[m], &rows[r]);
        for (size_t r = 0; r < sizeof windows / sizeof *windows; r++)
            if (!strcmp(windows[r].model, models[m]))
                matched += check_reference(net, models[m], &windows[r].row);
        interp_net_free(net);
    }
    CHECK(matched >= 30);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(exact_shapley_values_sum_to_the_output_difference);
    RUN(a_linear_net_gives_weights_times_differences);
    RUN(shapley_and_owen_values_are_means_over_orders);
    RUN(kernel_shap_of_all_coalitions_equals_exact_shapley);
    RUN(sampled_shapley_values_come_near_the_exact_ones);
    RUN(occlusion_by_single_numbers_equals_ablation);
    RUN(windows_are_cropped_at_the_edge);
    RUN(partition_shap_is_complete_however_few_passes);
    RUN(lime_and_rise_find_the_pixels_that_count);
    RUN(anchors_are_the_fewest_features_that_hold);
    RUN(features_are_permuted_between_samples);
    RUN(masks_broadcast_and_features_are_counted);
    RUN(perturbations_do_not_depend_on_batch_threads_or_memory);
    RUN(memory_does_not_grow_with_perturbations);
    RUN(anchors_hold_as_often_as_they_say);
    RUN(anchors_go_by_the_output_where_none_holds);
    RUN(views_have_windows_tiles_and_segments_of_their_own);
    RUN(wrong_settings_of_perturbations_are_refused);
    RUN(one_feature_takes_all);
    RUN(perturbations_survive_every_failing_allocation);
    RUN(perturbations_match_the_references);
    interp_close(ctx);
    return test_end(argc, argv);
}

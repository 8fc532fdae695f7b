/* Measures of attributions: closed forms, a bed where the truth is known, stored results of captum. */
#include "interp.h"
#include "test.h"

#define REFS "../shared/refs/attribution/"

static interp_ctx *ctx;

enum { SIDE = 8, PIXELS = SIDE * SIDE };

/* y0 = the sum over a quarter of the image times 2, y1 = 0.1 of the rest: what matters is known. */
static interp_net *quarter_net(interp_ctx *c)
{
    const interp_shape s = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_net *net;
    if (interp_net_arch(c, "linear", &s, 2, 1, &net)) return NULL;
    float *p = interp_net_parameters(net);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape); k++) {
            const size_t unit = v.shape.dim[0] == 2 ? k / PIXELS : k % 2;
            const size_t pixel = v.shape.dim[0] == 2 ? k % PIXELS : k / 2;
            const bool inside = pixel / SIDE < SIDE / 2 && pixel % SIDE < SIDE / 2;
            p[v.offset + k] = v.shape.rank < 2 ? 0
                              : unit == 0      ? (inside ? 2.0f : 0)
                                               : (inside ? 0 : 0.1f);
        }
    }
    return net;
}

static unsigned char quarter(int pixel)
{
    return pixel / SIDE < SIDE / 2 && pixel % SIDE < SIDE / 2;
}

TEST(scores_of_a_linear_network_have_closed_forms)
{
    float x[PIXELS], a[PIXELS], curves[2 * 5 + 2 * INTERP_ROAD_LEVELS];
    unsigned char mask[PIXELS];
    interp_scores s;
    interp_score_desc d;
    interp_net *net = quarter_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < PIXELS; i++) {
        x[i] = 1;
        mask[i] = quarter(i);
        a[i] = mask[i] ? 2.0f : 0;
    }
    memset(&d, 0, sizeof d);
    d.mask = mask, d.steps = 4;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, 1, a, &d, &s, curves));
    CHECK(s.target == 0);
    CHECK_NEAR(s.output, 32, 1e-4);
    CHECK_NEAR(s.completeness, 0, 1e-4);
    CHECK_NEAR(s.infidelity, 0, 1e-8); /* the gradient of a linear function is the truth */
    /* a quarter of the pixels is all there is: the output is gone after one of four steps */
    const float want[10] = {32, 0, 0, 0, 0, 0, 32, 32, 32, 32};
    for (int i = 0; i < 10; i++) CHECK_NEAR(curves[i], want[i], 1e-4);
    CHECK_NEAR(s.deletion, 32.0 / 8, 1e-4);
    CHECK_NEAR(s.insertion, 32 * 7.0 / 8, 1e-4);
    CHECK(s.pointing == 1 && s.mass == 1 && s.rank == 1);
    CHECK_NEAR(s.complexity, log(16), 1e-6);
    CHECK_NEAR(s.sparseness, 0.75, 1e-6); /* 16 of 64 equal, the rest nothing */
    CHECK(s.max_sensitivity != s.max_sensitivity && s.randomisation != s.randomisation);
    interp_net_free(net);
}

TEST(evaluation_tells_good_attributions_from_bad)
{
    enum { n = 6 };
    static float x[n * PIXELS], good[n * PIXELS], bad[n * PIXELS];
    static unsigned char mask[n * PIXELS];
    interp_scores s[n], t[n];
    interp_score_desc d;
    interp_net *net = quarter_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < n * PIXELS; i++) {
        mask[i] = quarter(i % PIXELS);
        x[i] = (mask[i] ? 1 : 0) + 0.5f * interp_random_uniform(3, 1, (uint64_t)i);
        good[i] = mask[i] ? 2 * x[i] : 0;
        bad[i] = interp_random_normal(4, 1, (uint64_t)i);
    }
    memset(&d, 0, sizeof d);
    d.mask = mask;
    d.target_kind = INTERP_TARGET_CLASS;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, n, good, &d, s, NULL));
    REQUIRE_OK(ctx, interp_attribution_score(net, x, n, bad, &d, t, NULL));
    for (int i = 0; i < n; i++) {
        CHECK(s[i].deletion < 0.5 * t[i].deletion && s[i].insertion > t[i].insertion);
        CHECK(s[i].road > t[i].road + 1);
        CHECK(s[i].flipping > t[i].flipping && s[i].irof > t[i].irof);
        CHECK(s[i].sensitivity_n > 0.99 && fabs(t[i].sensitivity_n) < 0.6);
        CHECK(s[i].rank == 1 && t[i].rank < 0.7 && s[i].mass > t[i].mass);
        CHECK(s[i].sparseness > t[i].sparseness && s[i].complexity < t[i].complexity);
        CHECK_NEAR(s[i].completeness, 0, 1e-4);
    }
    interp_net_free(net);
}

TEST(pictures_of_shapes_are_what_their_masks_say)
{
    enum { n = 40, W = 24, H = 20, area = W * H };
    static unsigned char masks[n * area];
    interp_shapes_desc d;
    interp_dataset all, again, few;
    memset(&d, 0, sizeof d);
    d.n = n, d.height = H, d.width = W, d.channels = 3, d.seed = 4;
    REQUIRE_OK(ctx, interp_dataset_shapes(ctx, &d, &all, masks));
    REQUIRE_OK(ctx, interp_dataset_shapes(ctx, &d, &again, NULL));
    d.n = 7;
    REQUIRE_OK(ctx, interp_dataset_shapes(ctx, &d, &few, NULL));
    const size_t bytes = 3 * area * sizeof(float);
    CHECK(all.n == n && all.n_classes == 4 && strcmp(all.class_names[3], "cross") == 0);
    CHECK(memcmp(all.x, again.x, n * bytes) == 0 && memcmp(all.x, few.x, 7 * bytes) == 0);
    for (int i = 0; i < n; i++) {
        const float *x = all.x + (size_t)i * 3 * area;
        int size = 0;
        double inside = 0, outside = 0, mean = 0;
        for (int k = 0; k < area; k++) {
            double v = 0;
            for (int c = 0; c < 3; c++) v += (double)x[c * area + k] / 3;
            size += masks[i * area + k];
            if (masks[i * area + k]) inside = fmax(inside, fabs(v));
            else outside = fmax(outside, fabs(v)), mean += v / area;
        }
        CHECK(all.y[i] == i % 4);
        CHECK(size > 20 && size < area / 3);
        CHECK(inside > 0.45 && outside > 0.45); /* a shape in the mask, and one that is not */
        CHECK(fabs(mean) < 0.25);               /* the background is grey */
    }
    d.seed = 5;
    interp_dataset_free(ctx, &few);
    REQUIRE_OK(ctx, interp_dataset_shapes(ctx, &d, &few, NULL));
    CHECK(memcmp(all.x, few.x, bytes) != 0);
    d.width = 15;
    CHECK(interp_dataset_shapes(ctx, &d, &few, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(few.n == 7);
    interp_dataset_free(ctx, &all);
    interp_dataset_free(ctx, &again);
    interp_dataset_free(ctx, &few);
}

TEST(segments_and_subsets_are_as_given)
{
    float x[PIXELS], a[PIXELS];
    int32_t segments[PIXELS];
    interp_scores s;
    interp_score_desc d;
    double inside = 0, mean = 0, low = 1, high = 0, lost = 0, flipping = 0;
    interp_net *net = quarter_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < PIXELS; i++) {
        x[i] = 0.1f + interp_random_uniform(8, 1, (uint64_t)i);
        a[i] = quarter(i) ? 2 * x[i] : 0;
        segments[i] = 2 * (i / SIDE < SIDE / 2) + (i % SIDE < SIDE / 2); /* 3: what matters */
        inside += quarter(i) ? (double)x[i] : 0;
        mean += (double)x[i] / PIXELS;
        low = fmin(low, (double)x[i]), high = fmax(high, (double)x[i]);
    }
    memset(&d, 0, sizeof d);
    d.target_kind = INTERP_TARGET_CLASS;
    d.segments = segments, d.subset = 7, d.steps = PIXELS;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, 1, a, &d, &s, NULL));
    CHECK_NEAR(s.sensitivity_n, 1, 1e-5); /* what is taken away is lost */
    CHECK_NEAR(s.irof, 2 * inside - 2 * 16 * mean, 1e-4);
    for (int step = 1; step <= PIXELS; step++) { /* the largest number left is mirrored */
        int next = -1;
        for (int i = 0; i < PIXELS; i++)
            if (quarter(i) && a[i] > 0 && (next < 0 || x[i] > x[next])) next = i;
        if (next >= 0) lost += 2 * (2 * (double)x[next] - low - high), a[next] = 0;
        flipping += lost / PIXELS;
    }
    CHECK_NEAR(s.flipping, flipping, 1e-4);
    segments[5] = PIXELS;
    CHECK(interp_attribution_score(net, x, 1, a, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    segments[5] = 0, d.subset = PIXELS + 1;
    CHECK(interp_attribution_score(net, x, 1, a, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(maps_are_judged_by_attributing_again)
{
    enum { n = 3, channels = 3, size = channels * PIXELS };
    static float x[n * size], map[n * PIXELS], a[n * size];
    interp_scores s[n];
    interp_score_desc d;
    interp_attribute_desc how;
    const interp_shape shape = {3, {channels, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_net *net;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "cnn", &shape, 3, 2, &net));
    for (int i = 0; i < n * size; i++) x[i] = interp_random_uniform(7, 1, (uint64_t)i);
    memset(&d, 0, sizeof d);
    memset(&how, 0, sizeof how);
    how.method = INTERP_GRAD_CAM_PLUS_PLUS;
    d.method = &how, d.radius = 1e-6f;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &how, map, NULL));
    for (int i = 0; i < n * size; i++) a[i] = map[i / size * PIXELS + i % PIXELS] / channels;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, n, a, &d, s, NULL));
    /* inputs next to each other have maps next to each other, if they are laid out alike */
    for (int i = 0; i < n; i++) CHECK(s[i].max_sensitivity < 1e-2);
    d.radius = -1;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, n, a, &d, s, NULL));
    for (int i = 0; i < n; i++) {
        CHECK(s[i].max_sensitivity != s[i].max_sensitivity);
        CHECK(fabs(s[i].randomisation) <= 1);
    }
    how.method = INTERP_LAYER_CONDUCTANCE;
    how.layer = "conv2";
    const size_t used = interp_memory_read(ctx).used;
    CHECK(interp_attribution_score(net, x, n, a, &d, s, NULL) == INTERP_BAD_SHAPE);
    CHECK(interp_memory_read(ctx).used == used);
    interp_net_free(net);
}

TEST(equal_relevance_is_shared_out)
{
    float x[PIXELS], a[PIXELS];
    unsigned char mask[PIXELS];
    interp_scores s;
    interp_score_desc d;
    interp_net *net = quarter_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < PIXELS; i++) {
        x[i] = 1;
        mask[i] = quarter(i);
        a[i] = i / SIDE < SIDE / 2; /* the upper half, of which the object is one half */
    }
    memset(&d, 0, sizeof d);
    d.mask = mask;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, 1, a, &d, &s, NULL));
    CHECK(s.pointing == 0.5 && s.mass == 0.5 && s.rank == 0.5);
    a[0] = 2; /* one pixel of the object above all others: 15 of 31 are left for 15 places */
    REQUIRE_OK(ctx, interp_attribution_score(net, x, 1, a, &d, &s, NULL));
    CHECK(s.pointing == 1);
    CHECK_NEAR(s.rank, (1 + 15 * 15.0 / 31) / 16, 1e-12);
    interp_net_free(net);
}

TEST(constants_that_a_bias_takes_away_change_gradients_nowhere)
{
    enum { n = 4 };
    static const char *const archs[] = {"mlp:64-20-10-3", "cnn", ""};
    static float x[n * PIXELS], a[n * PIXELS];
    const interp_shape shape = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    for (int i = 0; i < n * PIXELS; i++) x[i] = interp_random_uniform(9, 1, (uint64_t)i);
    for (int k = 0; k < 3; k++) {
        interp_scores s[n];
        interp_score_desc d;
        interp_attribute_desc how;
        interp_net *net;
        if (*archs[k]) {
            REQUIRE_OK(ctx, interp_net_arch(ctx, archs[k], &shape, 3, 2, &net));
        } else { /* a convolution without padding */
            net = interp_net_new(ctx, NULL);
            interp_tensor t = interp_conv2d(net, interp_input(net, NULL, &shape), NULL);
            interp_dense(net, interp_flatten(net, interp_relu(net, t)), 3, NULL);
            REQUIRE_OK(ctx, interp_net_build(net, 1));
        }
        const size_t bytes = interp_net_describe(net).n_parameters * sizeof(float);
        float *before = (float *)malloc(bytes);
        memcpy(before, interp_net_parameters(net), bytes);
        memset(&d, 0, sizeof d);
        memset(&how, 0, sizeof how);
        d.method = &how, d.shift = 0.5f;
        for (int m = 0; m < 2; m++) {
            how.method = m ? INTERP_INPUT_X_GRADIENT : INTERP_SALIENCY;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &how, a, NULL));
            REQUIRE_OK(ctx, interp_attribution_score(net, x, n, a, &d, s, NULL));
            for (int i = 0; i < n; i++) {
                const double v = s[i].invariance;
                if (k == 1) CHECK(v != v);               /* padding does not grow with the input */
                else if (m == 0) CHECK_NEAR(v, 0, 1e-4); /* float32 of the shifted sums */
                else CHECK(v > 0.1);
            }
        }
        CHECK(memcmp(before, interp_net_parameters(net), bytes) == 0);
        free(before);
        interp_net_free(net);
    }
}

TEST(methods_are_judged_by_attributing_again)
{
    enum { n = 4 };
    static float x[n * PIXELS], a[n * PIXELS];
    interp_scores s[n];
    interp_score_desc d;
    interp_attribute_desc how;
    const interp_shape shape = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_net *net;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "cnn", &shape, 3, 2, &net));
    const size_t bytes = interp_net_describe(net).n_parameters * sizeof(float);
    const size_t used = interp_memory_read(ctx).used;
    float *before = (float *)malloc(bytes);
    memcpy(before, interp_net_parameters(net), bytes);
    for (int i = 0; i < n * PIXELS; i++) x[i] = interp_random_uniform(5, 1, (uint64_t)i);
    memset(&d, 0, sizeof d);
    memset(&how, 0, sizeof how);
    how.method = INTERP_INTEGRATED_GRADIENTS, how.n_steps = 20;
    d.method = &how;
    REQUIRE_OK(ctx, interp_attribute(net, x, n, &how, a, NULL));
    REQUIRE_OK(ctx, interp_attribution_score(net, x, n, a, &d, s, NULL));
    CHECK(memcmp(before, interp_net_parameters(net), bytes) == 0);
    CHECK(interp_memory_read(ctx).used == used);
    for (int i = 0; i < n; i++) {
        CHECK(s[i].max_sensitivity > 0 && s[i].max_sensitivity < 1); /* not turned over */
        CHECK(fabs(s[i].randomisation) < 0.6);
    }
    free(before);
    interp_net_free(net);
}

TEST(infidelity_matches_the_reference)
{
    static const char *const models[] = {"mlp", "lenet"};
    FILE *f = fopen(REFS "README.md", "r");
    if (!f) SKIP("../shared is not there");
    fclose(f);
    for (int m = 0; m < 2; m++) {
        static const char *const files[] = {"inputs", "gradient.f64", "infidelity.perturbations",
                                            "infidelity.f64", "targets"};
        interp_array arrays[5];
        int32_t targets[16];
        interp_scores s[16];
        interp_score_desc d;
        interp_net *net;
        char path[256];
        memset(&d, 0, sizeof d);
        snprintf(path, sizeof path, REFS "%s/model.onnx", models[m]);
        REQUIRE_OK(ctx, interp_onnx_load(ctx, path, NULL, &net));
        for (int i = 0; i < 5; i++) {
            snprintf(path, sizeof path, REFS "%s/%s.npy", models[m], files[i]);
            REQUIRE_OK(ctx, interp_npy_read(ctx, path, &arrays[i]));
            if (i < 4) REQUIRE_OK(ctx, interp_array_to_f32(ctx, &arrays[i]));
        }
        REQUIRE_OK(ctx, interp_array_ints(ctx, &arrays[4], targets));
        const int n = arrays[0].shape.dim[0];
        d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
        d.perturbations = (const float *)arrays[2].data;
        d.n_perturbations =
            (int)(interp_shape_size(&arrays[2].shape) / interp_shape_size(&arrays[0].shape));
        REQUIRE_OK(ctx, interp_attribution_score(net, (const float *)arrays[0].data, n,
                                                 (const float *)arrays[1].data, &d, s, NULL));
        double worst = 0, largest = 0;
        for (int i = 0; i < n; i++) {
            const double want = (double)((const float *)arrays[3].data)[i];
            worst = fmax(worst, fabs(s[i].infidelity - want));
            largest = fmax(largest, want);
        }
        CHECK_NEAR(worst / largest, 0, 1e-3); /* squares of small differences of float32 outputs */
        for (int i = 0; i < 5; i++) interp_array_free(ctx, &arrays[i]);
        interp_net_free(net);
    }
}

TEST(scores_do_not_depend_on_batch_or_threads)
{
    enum { n = 3 };
    static float x[n * PIXELS], a[n * PIXELS];
    interp_scores first[n], s[n];
    for (int i = 0; i < n * PIXELS; i++) {
        x[i] = interp_random_uniform(6, 1, (uint64_t)i);
        a[i] = interp_random_normal(6, 2, (uint64_t)i);
    }
    for (int run = 0; run < 4; run++) {
        interp_desc desc;
        interp_score_desc d;
        interp_attribute_desc how;
        const interp_shape shape = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
        interp_net *net;
        memset(&desc, 0, sizeof desc);
        memset(&d, 0, sizeof d);
        memset(&how, 0, sizeof how);
        memset(s, 0, sizeof s);
        desc.threads = 1 + run % 2;
        interp_ctx *c = interp_open(&desc);
        REQUIRE_OK(c, interp_net_arch(c, "cnn", &shape, 3, 2, &net));
        d.batch = run * 5, d.method = &how;
        REQUIRE_OK(c, interp_attribution_score(net, x, n, a, &d, run ? s : first, NULL));
        for (int i = 0; i < n && run; i++) {
            CHECK(s[i].infidelity == first[i].infidelity && s[i].road == first[i].road);
            CHECK(s[i].deletion == first[i].deletion && s[i].insertion == first[i].insertion);
            CHECK(s[i].max_sensitivity == first[i].max_sensitivity);
            CHECK(s[i].flipping == first[i].flipping && s[i].irof == first[i].irof);
            CHECK(s[i].sensitivity_n == first[i].sensitivity_n);
            CHECK(s[i].randomisation == first[i].randomisation);
        }
        interp_net_free(net);
        interp_close(c);
    }
}

TEST(wrong_scores_are_refused)
{
    float x[PIXELS], a[PIXELS];
    interp_scores s;
    interp_score_desc d;
    interp_net *net = quarter_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < PIXELS; i++) x[i] = a[i] = 1;
    memset(&d, 0, sizeof d);
    d.steps = -1;
    CHECK(interp_attribution_score(net, x, 1, a, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    d.steps = 0, d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
    CHECK(interp_attribution_score(net, x, 1, a, &d, &s, NULL) == INTERP_BAD_ARGUMENT);
    a[3] = NAN;
    CHECK(interp_attribution_score(net, x, 1, a, NULL, &s, NULL) == INTERP_NOT_FINITE);
    interp_net_free(net);
}

static int stop(const interp_progress *p, void *user)
{
    int *left = (int *)user;
    (void)p;
    return (*left)-- == 0;
}

TEST(cancelled_scores_change_nothing)
{
    float x[PIXELS], a[PIXELS], curves[2 * 5 + 2 * INTERP_ROAD_LEVELS];
    interp_scores s, was;
    interp_score_desc d;
    interp_attribute_desc how;
    interp_desc desc;
    interp_status status = INTERP_CANCELLED;
    int left = 0;
    memset(&desc, 0, sizeof desc);
    memset(&d, 0, sizeof d);
    memset(&how, 0, sizeof how);
    desc.progress = stop, desc.user = &left;
    interp_ctx *c = interp_open(&desc);
    interp_net *net = quarter_net(c);
    REQUIRE(net);
    const interp_shape shape = interp_net_input_shape(net, 0);
    const size_t bytes = interp_net_describe(net).n_parameters * sizeof(float);
    float *before = (float *)malloc(bytes);
    memcpy(before, interp_net_parameters(net), bytes);
    for (int i = 0; i < PIXELS; i++) x[i] = a[i] = 1;
    CHECK(interp_shape_size(&shape) == PIXELS);
    d.method = &how, d.steps = 4, d.batch = 7;
    memset(&was, 1, sizeof was);
    int tries = 0;
    for (; status == INTERP_CANCELLED && tries < 1000; tries++) { /* at every point in turn */
        left = tries;
        s = was;
        curves[0] = -7;
        const size_t used = interp_memory_read(c).used;
        status = interp_attribution_score(net, x, 1, a, &d, &s, curves);
        CHECK(interp_memory_read(c).used == used);
        CHECK(memcmp(before, interp_net_parameters(net), bytes) == 0);
        if (status) CHECK(memcmp(&s, &was, sizeof s) == 0 && curves[0] == -7);
    }
    CHECK(status == INTERP_OK && tries > 10);
    CHECK(s.max_sensitivity == s.max_sensitivity && s.invariance == s.invariance);
    free(before);
    interp_net_free(net);
    interp_close(c);
}

/* ---- layers drawn anew */

enum { SAMPLES = 3, MOST_NODES = 16 };

TEST(layers_drawn_anew_change_attributions_of_what_they_have_learned)
{
    static const interp_cascade orders[3] = {INTERP_CASCADE_TOP_DOWN, INTERP_CASCADE_BOTTOM_UP,
                                             INTERP_CASCADE_INDEPENDENT};
    const interp_shape shape = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    float x[SAMPLES * PIXELS], a[SAMPLES * PIXELS];
    double r[3][MOST_NODES * SAMPLES];
    int layers[3][MOST_NODES], n[3] = {0, 0, 0};
    interp_attribute_desc how;
    interp_randomise_desc d;
    interp_score_desc score;
    interp_scores s[SAMPLES];
    interp_net *net;
    memset(&how, 0, sizeof how);
    memset(&d, 0, sizeof d);
    memset(&score, 0, sizeof score);
    REQUIRE_OK(ctx, interp_net_arch(ctx, "mlp:64-24-12-4", &shape, 4, 5, &net));
    REQUIRE(interp_net_describe(net).n_nodes <= MOST_NODES);
    for (int i = 0; i < SAMPLES * PIXELS; i++) x[i] = interp_random_normal(6, 1, (uint64_t)i);
    d.method = &how, d.seed = score.seed = 11;
    for (int k = 0; k < 3; k++) {
        d.order = orders[k];
        REQUIRE_OK(ctx, interp_attribution_randomise(net, x, SAMPLES, &d, &n[k], layers[k], r[k]));
        CHECK(n[k] == 3);
    }
    for (int l = 0; l < 3; l++) { /* the dense layers, from either end */
        CHECK(interp_net_node(net, layers[0][l]).n_parameters > 0);
        CHECK(layers[0][l] == layers[1][2 - l] && layers[1][l] == layers[2][l]);
    }
    REQUIRE_OK(ctx, interp_attribute(net, x, SAMPLES, &how, a, NULL));
    score.method = &how, score.radius = -1;
    REQUIRE_OK(ctx, interp_attribution_score(net, x, SAMPLES, a, &score, s, NULL));
    for (int i = 0; i < SAMPLES; i++) {
        CHECK(r[0][2 * SAMPLES + i] == r[1][2 * SAMPLES + i]); /* all of them, in either order */
        CHECK(r[0][2 * SAMPLES + i] == s[i].randomisation);
        CHECK(r[2][i] == r[1][i] && r[2][2 * SAMPLES + i] == r[0][i]); /* the first of each */
        CHECK(fabs(r[0][2 * SAMPLES + i]) < 0.5 && r[0][i] < 0.95 && r[2][i] < 0.95);
    }
    /* the first layer decides what input times gradient shows of pixels that are 0 */
    for (int i = 0; i < SAMPLES * PIXELS; i++) x[i] = i % PIXELS < PIXELS / 2 ? 0 : x[i];
    how.method = INTERP_INPUT_X_GRADIENT;
    REQUIRE_OK(ctx, interp_attribution_randomise(net, x, SAMPLES, &d, &n[2], layers[2], r[2]));
    for (int i = 0; i < 3 * SAMPLES; i++)
        CHECK(r[2][i] > 0.6); /* half of it is 0 whatever was learned */
    how.n_targets = 2;
    CHECK(interp_attribution_randomise(net, x, SAMPLES, &d, &n[2], layers[2], r[2]) ==
          INTERP_BAD_ARGUMENT);
    how.n_targets = 0, how.method = INTERP_GRAD_CAM;
    CHECK(interp_attribution_randomise(net, x, SAMPLES, &d, &n[2], layers[2], r[2]) != INTERP_OK);
    interp_net_free(net);
}

TEST(cancelled_randomisation_changes_nothing)
{
    float x[PIXELS];
    double r[MOST_NODES];
    int layers[MOST_NODES], n = -3, left = 0, tries = 0;
    interp_desc desc;
    interp_status status = INTERP_CANCELLED;
    memset(&desc, 0, sizeof desc);
    desc.progress = stop, desc.user = &left;
    interp_ctx *c = interp_open(&desc);
    interp_net *net = quarter_net(c);
    REQUIRE(net);
    const size_t bytes = interp_net_describe(net).n_parameters * sizeof(float);
    float *before = (float *)malloc(bytes);
    memcpy(before, interp_net_parameters(net), bytes);
    for (int i = 0; i < PIXELS; i++) x[i] = 1;
    for (; status == INTERP_CANCELLED && tries < 100; tries++) {
        left = tries;
        const size_t used = interp_memory_read(c).used;
        status = interp_attribution_randomise(net, x, 1, NULL, &n, layers, r);
        CHECK(interp_memory_read(c).used == used);
        CHECK(!memcmp(before, interp_net_parameters(net), bytes));
        CHECK(n == (status ? -3 : 1));
    }
    CHECK(status == INTERP_OK && tries > 2);
    free(before);
    interp_net_free(net);
    interp_close(c);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(scores_of_a_linear_network_have_closed_forms);
    RUN(evaluation_tells_good_attributions_from_bad);
    RUN(pictures_of_shapes_are_what_their_masks_say);
    RUN(segments_and_subsets_are_as_given);
    RUN(maps_are_judged_by_attributing_again);
    RUN(equal_relevance_is_shared_out);
    RUN(constants_that_a_bias_takes_away_change_gradients_nowhere);
    RUN(methods_are_judged_by_attributing_again);
    RUN(infidelity_matches_the_reference);
    RUN(scores_do_not_depend_on_batch_or_threads);
    RUN(wrong_scores_are_refused);
    RUN(cancelled_scores_change_nothing);
    RUN(layers_drawn_anew_change_attributions_of_what_they_have_learned);
    RUN(cancelled_randomisation_changes_nothing);
    interp_close(ctx);
    return test_end(argc, argv);
}

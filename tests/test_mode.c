/* MODE: measures, paired tests, diagnosis, feature models, heat maps, selection, rounds. */
#include "interp.h"

#include "heap.h"
#include "test.h"

/* Sums in double of a dozen numbers against SciPy's; printed with 17 digits. */
#define SCIPY_TOLERANCE 1e-9
/* Least squares by sums of products in float32. */
#define RIDGE_TOLERANCE 2e-3
/* Gradients by differences of float32 outputs. */
#define GRADIENT_TOLERANCE 2e-2

static interp_ctx *ctx;

static interp_shape shape_1(int d)
{
    const interp_shape s = {1, {d, 1, 1, 1, 1, 1, 1, 1}};
    return s;
}

static interp_shape shape_3(int c, int h, int w)
{
    const interp_shape s = {3, {c, h, w, 1, 1, 1, 1, 1}};
    return s;
}

static interp_dataset data_of(float *x, int32_t *y, int n, interp_shape shape, int n_classes)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.x = x, d.y = y, d.n = n, d.shape = shape, d.n_classes = n_classes;
    return d;
}

/* ---- measures */

enum { GOLDEN_D = 12 };

/* The rows of tools/golden/mode_scipy.py. */
static void golden_rows(int of, float *a, float *b)
{
    for (int i = 0; i < GOLDEN_D; i++) {
        a[i] = (float)((i * 37 + 11) % 23) / 8;
        b[i] = (float)((i * 53 + 5) % 19) / 8;
        if (of == 1 && i % 3 == 0) a[i] = b[i] = 0;
        if (of == 2) a[i] -= 1, b[i] -= 1.25f;
    }
}

TEST(metrics_match_scipy)
{
    static const double golden[3][INTERP_MODE_BRAY_CURTIS + 1] = {
        {19.078125, 0.23156830537440032, 10, 3.618528706532532, 2.7137105528440868, 1.875,
         0.37500000000000006, 4.9187668426552271, 0.33898305084745761},
        {14.5, 0.21712931282992354, 6.375, 2.912795049432761, 2.3315027805353035, 1.75,
         0.17708333333333331, 2.7633675686080403, 0.30177514792899407},
        {0.328125, 0.96009162075519972, 11.5, 4.0117016339703033, 2.9769647826605428, 2.125,
         0.62499999999999989, 8.961904761904762, 1}};
    const interp_shape s = shape_1(GOLDEN_D);
    float a[GOLDEN_D], b[GOLDEN_D], zero[GOLDEN_D] = {0};
    double got;
    for (int of = 0; of < 3; of++) {
        golden_rows(of, a, b);
        for (int m = 0; m <= INTERP_MODE_BRAY_CURTIS; m++) {
            REQUIRE_OK(ctx, interp_mode_compare(ctx, a, 1, &s, b, (interp_mode_metric)m, 3, &got));
            CHECK_NEAR(got, golden[of][m], SCIPY_TOLERANCE);
        }
    }
    for (int m = 0; m <= INTERP_MODE_BRAY_CURTIS; m++) { /* 0/0 */
        REQUIRE_OK(ctx,
                   interp_mode_compare(ctx, zero, 1, &s, zero, (interp_mode_metric)m, 0, &got));
        CHECK_NEAR(got, 0, 0);
    }
    CHECK(interp_mode_metric_find("wasserstein") == INTERP_MODE_EARTH_MOVER);
    CHECK(interp_mode_metric_find("l1") == INTERP_MODE_MANHATTAN);
    CHECK(interp_mode_metric_find("nothing") == INTERP_MODE_METRIC_COUNT);
    for (int m = 0; m < INTERP_MODE_METRIC_COUNT; m++)
        CHECK((int)interp_mode_metric_find(interp_mode_metric_name((interp_mode_metric)m)) == m);
    CHECK(interp_mode_compare(ctx, a, 1, &s, b, INTERP_MODE_RANDOM, 0, &got) ==
          INTERP_BAD_ARGUMENT);
    CHECK(interp_mode_compare(ctx, a, 1, &s, b, INTERP_MODE_MINKOWSKI, 0.5f, &got) ==
          INTERP_BAD_ARGUMENT);
    CHECK(interp_mode_compare(ctx, a, 1, &s, b, INTERP_MODE_EARTH_MOVER_2D, 0, &got) ==
          INTERP_BAD_SHAPE);
}

/* Among rows of one length the product, too, is largest for the same row. */
TEST(an_identical_sample_is_most_alike)
{
    enum { n = 40, side = 6, d = side * side };
    static float x[n * d];
    const interp_shape s = shape_3(1, side, side);
    double values[n];
    int order[n];
    for (int i = 0; i < n; i++) {
        double size = 0;
        for (int k = 0; k < d; k++) {
            x[i * d + k] = interp_random_uniform(1, (uint64_t)i, (uint64_t)k);
            size += (double)x[i * d + k] * (double)x[i * d + k];
        }
        for (int k = 0; k < d; k++) x[i * d + k] = (float)((double)x[i * d + k] / sqrt(size));
    }
    for (int m = 0; m < INTERP_MODE_RANDOM; m++) {
        const interp_mode_metric metric = (interp_mode_metric)m;
        REQUIRE_OK(ctx, interp_mode_compare(ctx, x, n, &s, x + 17 * d, metric, 0, values));
        REQUIRE_OK(ctx, interp_mode_order(ctx, metric, values, n, order));
        CHECK(order[0] == 17);
        int seen = 0;
        for (int i = 0; i < n; i++) seen += order[i] >= 0 && order[i] < n;
        CHECK(seen == n);
        for (int i = 1; i < n; i++) {
            const double up = values[order[i]] - values[order[i - 1]];
            CHECK(metric == INTERP_MODE_DOT ? up <= 0 : up >= 0);
        }
    }
    values[3] = (double)NAN;
    REQUIRE_OK(ctx, interp_mode_order(ctx, INTERP_MODE_MANHATTAN, values, n, order));
    CHECK(order[n - 1] == 3);
}

TEST(earth_moves_in_two_dimensions)
{
    enum { side = 5, d = side * side };
    float a[d] = {0}, b[d] = {0}, none[d] = {0}, x[d], y[d];
    double one, two;
    const interp_shape s = shape_3(1, side, side);
    a[0] = 1, b[d - 1] = 3;
    CHECK_NEAR(interp_earth_mover_2d(a, b, side, side), 2 * (side - 1), 1e-12);
    b[d - 1] = 0, b[1] = b[side] = 1;
    CHECK_NEAR(interp_earth_mover_2d(a, b, side, side), 1, 1e-12);
    CHECK_NEAR(interp_earth_mover_2d(b, a, side, side), 1, 1e-12);
    CHECK_NEAR(interp_earth_mover_2d(a, none, side, side), 2 * side, 0);
    CHECK_NEAR(interp_earth_mover_2d(none, none, side, side), 0, 0);
    CHECK(isnan(interp_earth_mover_2d(a, b, 17, 16)));
    /* the linear programme of tools/golden/mode_scipy.py */
    for (int i = 0; i < d; i++)
        x[i] = (float)((i * 37 + 11) % 23) / 8, y[i] = (float)((i * 53 + 5) % 19) / 8;
    CHECK_NEAR(interp_earth_mover_2d(x, y, 3, 4), 0.63029411764705878, SCIPY_TOLERANCE);
    CHECK_NEAR(interp_earth_mover_2d(x, y, 5, 5), 0.44312393887945656, SCIPY_TOLERANCE);
    /* pixels in another order: all one for the numbers alone */
    for (int i = 0; i < d; i++) y[i] = x[d - 1 - i];
    REQUIRE_OK(ctx, interp_mode_compare(ctx, x, 1, &s, y, INTERP_MODE_EARTH_MOVER, 0, &one));
    REQUIRE_OK(ctx, interp_mode_compare(ctx, x, 1, &s, y, INTERP_MODE_EARTH_MOVER_2D, 0, &two));
    CHECK_NEAR(one, 0, 0);
    CHECK(two > 0.1);
}

/* ---- statistics */

/* The pairs of tools/golden/mode_scipy.py. */
static void golden_pairs(int n, bool ties, double *a, double *b)
{
    for (int i = 0; i < n; i++) {
        a[i] = ((i * 29 + 3) % 31) / 10.0 + 0.4 + (ties ? 0 : i * 1e-3);
        b[i] = ((i * 17 + 9) % 31) / 10.0;
        if (ties) a[i] = nearbyint(a[i]), b[i] = nearbyint(b[i]);
    }
}

TEST(paired_tests_match_scipy)
{
    static const struct {
        int n, ties;
        double mean, sd, low, high, t, p_t, w, p_w;
    } golden[] = {
        {10, 0, 0.86449999999999982, 1.4100702307174475, -0.14420347742186301, 1.8732034774218627,
         1.9387609054228483, 0.084477111818714493, 10, 0.083984375},
        {10, 1, 0.69999999999999996, 1.636391694484477, -0.47060409949290238, 1.8706040994929023,
         1.3527289154417448, 0.20914542219471233, 6.5, 0.28125},
        {30, 0, 0.47449999999999998, 1.3128075665902261, -0.015710401747258351, 0.96471040174725831,
         1.9796835435008087, 0.057300481003948946, 139, 0.054921628907322884},
        {80, 1, 0.32500000000000001, 1.5075758057645334, -0.01049456113965308, 0.6604945611396531,
         1.9281871993664446, 0.057424889162556308, 708, 0.080769096912724284}};
    double a[80], b[80];
    interp_paired p;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        golden_pairs(golden[i].n, golden[i].ties, a, b);
        REQUIRE_OK(ctx, interp_paired_test(ctx, a, b, golden[i].n, &p));
        CHECK(p.n == golden[i].n);
        CHECK_NEAR(p.mean, golden[i].mean, SCIPY_TOLERANCE);
        CHECK_NEAR(p.sd, golden[i].sd, SCIPY_TOLERANCE);
        CHECK_NEAR(p.effect, golden[i].mean / golden[i].sd, SCIPY_TOLERANCE);
        CHECK_NEAR(p.ci_low, golden[i].low, SCIPY_TOLERANCE);
        CHECK_NEAR(p.ci_high, golden[i].high, SCIPY_TOLERANCE);
        CHECK_NEAR(p.t, golden[i].t, SCIPY_TOLERANCE);
        CHECK_NEAR(p.p_t, golden[i].p_t, SCIPY_TOLERANCE);
        CHECK_NEAR(p.w, golden[i].w, SCIPY_TOLERANCE);
        CHECK_NEAR(p.p_wilcoxon, golden[i].p_w, SCIPY_TOLERANCE);
    }
    CHECK_NEAR(interp_student_p(2.5, 3), 0.087706647008065547, SCIPY_TOLERANCE);
    CHECK_NEAR(interp_student_p(-0.1, 40), 0.92084385304528016, SCIPY_TOLERANCE);
    CHECK_NEAR(interp_student_p(0, 5), 1, 1e-12);
    CHECK(isnan(interp_student_p(1, 0)));
    REQUIRE_OK(ctx, interp_paired_test(ctx, a, a, 5, &p));
    CHECK(p.p_t == 1 && p.p_wilcoxon == 1 && p.mean == 0);
    CHECK(interp_paired_test(ctx, a, b, 1, &p) == INTERP_BAD_ARGUMENT);
    a[0] = (double)NAN;
    CHECK(interp_paired_test(ctx, a, b, 5, &p) == INTERP_NOT_FINITE);
}

/* All 2^n signs of ranks that have ties. */
TEST(exact_ranks_match_enumeration)
{
    enum { n = 9 };
    static const double d[n] = {1, -1, 2, 2, -3, 4, 4, 4, 0};
    static const double rank[n - 1] = {1.5, 1.5, 3.5, 3.5, 5, 7, 7, 7};
    double a[n], b[n] = {0}, low = 0, up = 0;
    int at_most = 0;
    interp_paired p;
    for (int i = 0; i < n; i++) a[i] = d[i];
    for (int i = 0; i < n - 1; i++) *(d[i] > 0 ? &up : &low) += rank[i];
    low = fmin(low, up);
    for (int signs = 0; signs < 1 << (n - 1); signs++) {
        double sum = 0;
        for (int i = 0; i < n - 1; i++)
            if (signs >> i & 1) sum += rank[i];
        at_most += sum <= low;
    }
    REQUIRE_OK(ctx, interp_paired_test(ctx, a, b, n, &p));
    CHECK_NEAR(p.w, low, 0);
    CHECK_NEAR(p.p_wilcoxon, 2.0 * at_most / (1 << (n - 1)), 1e-12);
}

TEST(holm_steps_down)
{
    const double p[6] = {0.01, 0.04, 0.03, 0.005, 0.03, (double)NAN};
    const double want[5] = {0.04, 0.09, 0.09, 0.025, 0.09};
    double got[6];
    interp_holm(p, 5, got);
    for (int i = 0; i < 5; i++) CHECK_NEAR(got[i], want[i], 1e-12);
    const double large[2] = {0.9, 0.8};
    interp_holm(large, 2, got);
    CHECK_NEAR(got[0], 1, 0);
    CHECK_NEAR(got[1], 1, 0);
}

/* ---- a network that takes the largest of its inputs for the class */

enum { K = 3, N = 12 };

static float toy_x[N * K];
static int32_t toy_y[N];

static interp_net *identity_net(interp_ctx *c)
{
    const interp_shape s = shape_1(K);
    interp_net *net = NULL;
    if (interp_net_arch(c, "linear", &s, K, 1, &net)) return NULL;
    float *p = interp_net_parameters(net);
    memset(p, 0, interp_net_describe(net).n_parameters * sizeof *p);
    for (int i = 0; i < K; i++) p[i * K + i] = 1;
    return net;
}

/* Truth and prediction: 0 is right 3 times and taken for 1 once, 1 is right 2 times and taken for 0
   and 2 once each, 2 is always right. */
static interp_dataset toy_data(void)
{
    static const int truth[N] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
    static const int taken[N] = {0, 0, 0, 1, 1, 1, 0, 2, 2, 2, 2, 2};
    for (int i = 0; i < N; i++) {
        toy_y[i] = truth[i];
        for (int k = 0; k < K; k++) toy_x[i * K + k] = (float)(i % 4) / 16;
        toy_x[i * K + taken[i]] += 1;
    }
    return data_of(toy_x, toy_y, N, shape_1(K), K);
}

TEST(labels_are_diagnosed_on_both_sets)
{
    interp_net *net = identity_net(ctx);
    const interp_dataset val = toy_data();
    interp_dataset train = val;
    float x[8 * K] = {0};
    int32_t y[8];
    interp_mode_diagnosis d;
    interp_mode_diagnose_desc how = {0.8, 0.3};
    for (int i = 0; i < 8; i++) { /* 0 does badly in training, 1 well, 2 is not there */
        y[i] = i < 4 ? 0 : 1;
        x[i * K + (i < 2 ? 1 : y[i])] = 1;
    }
    train.x = x, train.y = y, train.n = 8;
    REQUIRE_OK(ctx, interp_mode_diagnose(net, &train, &val, &how, &d));
    CHECK_NEAR(d.train_accuracy, 0.75, 1e-12);
    CHECK_NEAR(d.val_accuracy, 0.75, 1e-12);
    CHECK_NEAR(d.labels[0].train_accuracy, 0.5, 1e-12);
    CHECK_NEAR(d.labels[0].val_accuracy, 0.75, 1e-12);
    CHECK_NEAR(d.labels[1].val_accuracy, 0.5, 1e-12);
    CHECK(isnan(d.labels[2].train_accuracy) && d.labels[2].train_n == 0 && d.labels[2].val_n == 4);
    CHECK(d.labels[0].underfit && !d.labels[1].underfit && !d.labels[2].underfit);
    CHECK(!d.labels[0].overfit && d.labels[1].overfit && !d.labels[2].overfit);
    CHECK(d.underfit == 0 && d.overfit == 1);
    CHECK(d.val_counts[1 * K + 2] == 1 && d.val_counts[1 * K + 0] == 1 && d.val_counts[0] == 3);
    interp_mode_diagnosis_free(ctx, &d);
    REQUIRE_OK(ctx, interp_mode_diagnose(net, &val, &val, NULL, &d));
    CHECK(d.underfit == 1 && d.overfit == -1); /* the lowest of two; no gap */
    interp_mode_diagnosis_free(ctx, &d);
    train.y = NULL;
    CHECK(interp_mode_diagnose(net, &train, &val, NULL, &d) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(alpha_follows_the_share_of_errors)
{
    interp_net *net = identity_net(ctx);
    const interp_dataset val = toy_data();
    const interp_mode_diagnose_desc how = {0.7, 0};
    interp_mode_diagnosis d;
    REQUIRE_OK(ctx, interp_mode_diagnose(net, &val, &val, &how, &d));
    CHECK_NEAR(interp_mode_alpha(&d, 1), 0.75 * 2 / 3, 1e-12);  /* two of three */
    CHECK_NEAR(interp_mode_alpha(&d, 0), 1.0 / 3, 1e-12);       /* never less than its part */
    CHECK_NEAR(interp_mode_alpha(&d, -1), 0.75 * 2 / 3, 1e-12); /* 1 alone is below 0.7 */
    interp_mode_diagnosis_free(ctx, &d);
    REQUIRE_OK(ctx, interp_mode_diagnose(net, &val, &val, NULL, &d));
    CHECK_NEAR(interp_mode_alpha(&d, -1), 0.75, 1e-12);
    interp_mode_diagnosis_free(ctx, &d);
    interp_net_free(net);
}

TEST(heat_maps_follow_the_confusion_table)
{
    interp_net *net = identity_net(ctx);
    const interp_dataset val = toy_data();
    interp_mode_maps m, swapped;
    interp_mode_maps_desc how;
    float d[K], back[K];
    memset(&how, 0, sizeof how);
    REQUIRE_OK(ctx, interp_mode_heat_maps(net, &val, NULL, &m));
    CHECK(m.size == K && m.shape.rank == 1 && m.node == -1);
    CHECK(m.n_hci[0] == 3 && m.n_hci[1] == 2 && m.n_hci[2] == 4);
    CHECK(m.n_hmi[0] == 1 && m.n_hmi[1] == 1 && m.n_hmi[2] == 1); /* others mistaken for it */
    CHECK(m.n_hwi[0] == 1 && m.n_hwi[1] == 2 && m.n_hwi[2] == 0); /* it mistaken for others */
    for (int k = 0; k < K; k++) {
        double mean = 0;
        for (int i = 0; i < 3; i++) mean += (double)toy_x[i * K + k] / 3;
        CHECK_NEAR(m.hci[k], mean, 1e-6);
        CHECK_NEAR(m.hwi[k], toy_x[3 * K + k], 1e-6);
        CHECK_NEAR(m.hmi[k], toy_x[6 * K + k], 1e-6); /* 1 taken for 0 */
        CHECK_NEAR(m.dhwi[k], m.hwi[k] - m.hci[k], 1e-6);
        CHECK_NEAR(m.dhmi[k], m.hmi[k] - m.hci[k], 1e-6);
        CHECK_NEAR(m.hwi[2 * K + k], 0, 0);
        CHECK_NEAR(m.dhwi[2 * K + k], 0, 0);
    }
    interp_mode_dhci(&m, 0, 1, d);
    interp_mode_dhci(&m, 1, 0, back);
    for (int k = 0; k < K; k++) CHECK_NEAR(d[k], -back[k], 0);
    how.swapped = true;
    REQUIRE_OK(ctx, interp_mode_heat_maps(net, &val, &how, &swapped));
    for (int k = 0; k < K * K; k++) {
        CHECK_NEAR(swapped.hmi[k], m.hwi[k], 0);
        CHECK_NEAR(swapped.hwi[k], m.hmi[k], 0);
    }
    interp_mode_maps_free(ctx, &swapped);
    interp_mode_maps_free(ctx, &m);
    how.layer = "nowhere";
    CHECK(interp_mode_heat_maps(net, &val, &how, &m) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* ---- clouds of points around the corners of a cube */

enum { CLOUD_D = 6, CLOUD_N = 400 };

static interp_dataset clouds(interp_ctx *c, int n, uint64_t seed)
{
    const interp_shape s = shape_1(CLOUD_D);
    static float x[CLOUD_N * CLOUD_D];
    static int32_t y[CLOUD_N];
    interp_dataset d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < n; i++) {
        y[i] = i % K;
        for (int k = 0; k < CLOUD_D; k++)
            x[i * CLOUD_D + k] = interp_random_normal(seed, (uint64_t)i, (uint64_t)k) +
                                 (k % K == y[i] ? 1.5f : 0.0f);
    }
    if (interp_dataset_from_arrays(c, x, y, n, &s, K, NULL, &d)) memset(&d, 0, sizeof d);
    return d;
}

static interp_net *cloud_net(interp_ctx *c, bool trained, const interp_dataset *data)
{
    const interp_shape s = shape_1(CLOUD_D);
    interp_net *net = NULL;
    interp_train_desc how;
    memset(&how, 0, sizeof how);
    how.epochs = 12, how.batch = 16, how.lr = 5e-3f;
    if (interp_net_arch(c, "mlp:6-12-8-3", &s, K, 5, &net)) return NULL;
    if (trained && interp_train(net, data, &how, NULL)) return NULL;
    return net;
}

TEST(hellinger_distances_are_known)
{
    const float a[4] = {1, 0, 0.5f, 0.5f}, b[4] = {0, 1, 0.5f, 0.5f},
                even[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    CHECK_NEAR(interp_mode_hellinger(a, a, 2, 2), 0, 1e-12);
    CHECK_NEAR(interp_mode_hellinger(a, b, 2, 2), 0.5, 1e-12);
    CHECK_NEAR(interp_mode_hellinger(a, even, 2, 2), 0.5 * (1 - sqrt(0.5)), 1e-12);
}

TEST(saturation_selects_the_layer_before_an_identity)
{
    const interp_dataset data = clouds(ctx, 300, 3);
    const interp_shape s = shape_1(CLOUD_D);
    interp_net *net = interp_net_new(ctx, "saturated");
    interp_tensor x = interp_input(net, NULL, &s);
    const interp_dense_desc same = {"same", INTERP_INIT_DEFAULT, false};
    x = interp_relu(net, interp_dense(net, x, 16, NULL));
    x = interp_relu(net, interp_dense(net, x, 16, &same));
    interp_output(net, interp_dense(net, x, K, NULL), "y");
    REQUIRE_OK(ctx, interp_net_build(net, 3));
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info p = interp_net_parameter(net, i);
        float *w = interp_net_parameters(net) + p.offset;
        if (strncmp(p.name, "same", 4) || p.shape.rank != 2) continue;
        for (int k = 0; k < 256; k++) w[k] = k % 17 == 0 ? 1.0f : 0.0f;
    }
    interp_mode_layers l;
    interp_mode_layer_desc how;
    memset(&how, 0, sizeof how);
    REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, NULL, &l));
    CHECK(l.n == 3 && l.selected == 0);
    CHECK(isnan(l.layer[0].distance));
    CHECK_NEAR(l.layer[1].distance, 0, 1e-6);
    CHECK_STR(interp_net_node_op(net, l.layer[0].node), "Relu");
    CHECK_NEAR(l.layer[0].val_accuracy, l.layer[1].val_accuracy, 0);
    interp_mode_layers_free(ctx, &l);
    how.saturation = INTERP_MODE_BY_ACCURACY;
    REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, &how, &l));
    CHECK(l.selected == 0);
    interp_mode_layers_free(ctx, &l);
    how.saturation =
        INTERP_MODE_BY_DISTANCE; /* from the end: the last that adds to the one before */
    how.backward = true, how.threshold = 1e-9;
    REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, &how, &l));
    CHECK(l.selected == 2);
    interp_mode_layers_free(ctx, &l);
    how.threshold = 1;
    REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, &how, &l));
    CHECK(l.selected == 0);
    interp_mode_layers_free(ctx, &l);
    interp_net_free(net);
}

/* The weights make the gradient of the penalised squares vanish. */
TEST(feature_models_are_ridge_regressions)
{
    enum { n = 300, d = 12 };
    interp_dataset data = clouds(ctx, n, 3);
    interp_net *net = cloud_net(ctx, true, &data);
    interp_mode_layers l;
    interp_mode_layer_desc how;
    memset(&how, 0, sizeof how);
    how.threshold = 1, how.ridge = 0.01; /* the first layer */
    REQUIRE(net != NULL);
    REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, &how, &l));
    REQUIRE(l.selected == 0 && l.layer[0].features == d);
    interp_workspace_desc w;
    interp_workspace *work = NULL;
    memset(&w, 0, sizeof w);
    w.batch = n, w.keep = l.layer[0].name;
    REQUIRE_OK(ctx, interp_workspace_new(ctx, net, &w, &work));
    const float *from = data.x;
    REQUIRE_OK(ctx, interp_forward(work, &from));
    const float *f = interp_workspace_kept(work);
    double square = 0;
    for (int i = 0; i < n * d; i++) square += (double)f[i] * (double)f[i] / d;
    for (int j = 0; j <= d; j++)
        for (int c = 0; c < K; c++) {
            double gradient = j < d ? 0.01 * square * (double)l.weights[j * K + c] : 0;
            for (int i = 0; i < n; i++) {
                double out = (double)l.weights[d * K + c];
                for (int q = 0; q < d; q++)
                    out += (double)f[i * d + q] * (double)l.weights[q * K + c];
                gradient += (out - (data.y[i] == c)) * (j < d ? (double)f[i * d + j] : 1);
            }
            CHECK_NEAR(gradient, 0, RIDGE_TOLERANCE * n);
        }
    interp_workspace_free(work);
    interp_mode_layers_free(ctx, &l);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(convolutions_have_layers_too)
{
    static const char *const archs[] = {"lenet", "resnet20:4-8-8-4-8-8", "vit-tiny"};
    enum { n = 24, side = 16 };
    static float x[n * side * side];
    static int32_t y[n];
    const interp_shape s = shape_3(1, side, side);
    for (int i = 0; i < n; i++) {
        y[i] = i % K;
        for (int k = 0; k < side * side; k++)
            x[i * side * side + k] =
                interp_random_uniform(2, (uint64_t)i, (uint64_t)k) * (k % K == y[i] ? 2.0f : 1.0f);
    }
    const interp_dataset data = data_of(x, y, n, s, K);
    for (int a = 0; a < (slow_here() ? 1 : 3); a++) {
        interp_net *net = NULL;
        interp_mode_layers l;
        interp_mode_maps m;
        REQUIRE_OK(ctx, interp_net_arch(ctx, archs[a], &s, K, 1, &net));
        REQUIRE_OK(ctx, interp_mode_select_layer(net, &data, &data, NULL, &l));
        CHECK(l.n >= 4);
        for (int i = 0; i < l.n; i++) {
            CHECK(l.layer[i].features > 0 && l.layer[i].features <= 512);
            CHECK(strcmp(interp_net_node_op(net, l.layer[i].node), "Dropout"));
            CHECK(strcmp(interp_net_node_op(net, l.layer[i].node), "Flatten"));
            interp_mode_maps_desc how;
            memset(&how, 0, sizeof how);
            how.layer = l.layer[i].name;
            how.importance = INTERP_MODE_GRADIENT;
            if (i % 2) continue;
            REQUIRE_OK(ctx, interp_mode_heat_maps(net, &data, &how, &m));
            CHECK((int)m.size == l.layer[i].features);
            interp_mode_maps_free(ctx, &m);
        }
        CHECK(l.layer[l.n - 1].features == K);
        interp_mode_layers_free(ctx, &l);
        interp_net_free(net);
    }
}

TEST(gradient_maps_are_finite_differences)
{
    interp_dataset data = clouds(ctx, 60, 3);
    interp_net *net = cloud_net(ctx, true, &data);
    interp_mode_maps m;
    interp_mode_maps_desc how;
    memset(&how, 0, sizeof how);
    how.importance = INTERP_MODE_GRADIENT;
    REQUIRE(net != NULL);
    REQUIRE_OK(ctx, interp_mode_heat_maps(net, &data, &how, &m));
    double want[CLOUD_D] = {0};
    int count = 0;
    for (int i = 0; i < data.n; i++) {
        float x[CLOUD_D], y[K], up[K], down[K];
        memcpy(x, data.x + i * CLOUD_D, sizeof x);
        REQUIRE_OK(ctx, interp_predict(net, x, 1, y));
        if (data.y[i] != 1 || interp_argmax(y, K) != 1) continue;
        count++;
        for (int k = 0; k < CLOUD_D; k++) {
            const float at = x[k], step = 1e-2f;
            x[k] = at + step;
            REQUIRE_OK(ctx, interp_predict(net, x, 1, up));
            x[k] = at - step;
            REQUIRE_OK(ctx, interp_predict(net, x, 1, down));
            x[k] = at;
            want[k] += (double)at * ((double)up[1] - (double)down[1]) / (2 * (double)step);
        }
    }
    CHECK(count == m.n_hci[1] && count > 5);
    for (int k = 0; k < CLOUD_D; k++)
        CHECK_NEAR(m.hci[CLOUD_D + k], want[k] / count, GRADIENT_TOLERANCE);
    interp_mode_maps_free(ctx, &m);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

/* ---- selection */

TEST(selection_takes_the_most_alike)
{
    interp_net *net = identity_net(ctx);
    const interp_dataset val = toy_data();
    enum { n = 30 };
    float x[n * K] = {0};
    int32_t y[n];
    unsigned char used[n] = {0};
    interp_mode_maps m;
    interp_mode_select_desc how;
    int indices[n], targeted, got;
    double score[n], values[n];
    for (int i = 0; i < n; i++) {
        y[i] = i % K;
        for (int k = 0; k < K; k++) x[i * K + k] = (float)((i * 7 + k * 5) % 11) / 11;
    }
    const interp_dataset pool = data_of(x, y, n, shape_1(K), K);
    REQUIRE_OK(ctx, interp_mode_heat_maps(net, &val, NULL, &m));
    memset(&how, 0, sizeof how);
    how.samples = 4, how.alpha = 1, how.label = 1, how.metric = INTERP_MODE_MANHATTAN;
    how.choice = INTERP_MODE_TYPICAL;
    REQUIRE_OK(ctx, interp_mode_select_inputs(net, &pool, &m, &how, used, indices, score, &targeted,
                                              &got));
    CHECK(targeted == 4 && got == 4);
    REQUIRE_OK(ctx, interp_mode_compare(ctx, x, n, &m.shape, m.hci + K, how.metric, 0, values));
    for (int i = 0; i < got; i++) {
        CHECK(y[indices[i]] == 1 && used[indices[i]] == 1);
        CHECK_NEAR(score[i], -values[indices[i]], 1e-12);
    }
    for (int i = 0; i < n; i++) /* none that is left fits better */
        if (y[i] == 1 && !used[i]) CHECK(-values[i] <= score[got - 1]);
    memset(used, 0, sizeof used);
    how.choice = INTERP_MODE_MISTAKEN, how.metric = INTERP_MODE_DOT;
    REQUIRE_OK(ctx, interp_mode_select_inputs(net, &pool, &m, &how, used, indices, score, &targeted,
                                              &got));
    REQUIRE_OK(ctx, interp_mode_compare(ctx, x, n, &m.shape, m.dhmi + K, how.metric, 0, values));
    for (int i = 0; i < got; i++) {
        CHECK(y[indices[i]] != 1);
        CHECK_NEAR(score[i], values[indices[i]], 1e-6); /* the product with DHMI */
    }
    how.alpha = 1.5;
    CHECK(interp_mode_select_inputs(net, &pool, &m, &how, used, indices, score, &targeted, &got) ==
          INTERP_BAD_ARGUMENT);
    interp_mode_maps_free(ctx, &m);
    interp_net_free(net);
}

TEST(a_pool_gives_each_input_once)
{
    interp_net *net = identity_net(ctx);
    const interp_dataset val = toy_data();
    enum { n = 50 };
    float x[n * K];
    int32_t y[n];
    unsigned char used[n] = {0};
    interp_mode_maps m;
    interp_mode_select_desc how;
    int indices[n], seen[n] = {0}, targeted, got, all = 0;
    for (int i = 0; i < n; i++) {
        y[i] = i % K;
        for (int k = 0; k < K; k++)
            x[i * K + k] = interp_random_uniform(4, 0, (uint64_t)(i * K + k));
    }
    const interp_dataset pool = data_of(x, y, n, shape_1(K), K);
    REQUIRE_OK(ctx, interp_mode_heat_maps(net, &val, NULL, &m));
    memset(&how, 0, sizeof how);
    how.samples = 12, how.alpha = 0.5;
    for (int round = 0; round < 6; round++) {
        how.label = round % K, how.seed = (uint64_t)round;
        how.metric = (interp_mode_metric)(round * 2 % INTERP_MODE_EARTH_MOVER_2D);
        REQUIRE_OK(ctx, interp_mode_select_inputs(net, &pool, &m, &how, used, indices, NULL,
                                                  &targeted, &got));
        all += got;
        int left = 0;
        for (int i = 0; i < got; i++) seen[indices[i]]++;
        for (int i = 0; i < n; i++) left += !used[i];
        CHECK(left + all == n);
    }
    CHECK(all == n && got == 0);
    for (int i = 0; i < n; i++) CHECK(seen[i] == 1);
    interp_mode_maps_free(ctx, &m);
    interp_net_free(net);
}

TEST(augmented_pools_keep_labels)
{
    enum { n = 6, side = 8, d = side * side };
    float x[n * d];
    int32_t y[n];
    interp_dataset out;
    interp_augment_desc how;
    memset(&how, 0, sizeof how);
    how.shift = 1, how.rotate_deg = 10;
    for (int i = 0; i < n * d; i++) x[i] = interp_random_uniform(5, 0, (uint64_t)i);
    for (int i = 0; i < n; i++) y[i] = i % K;
    const interp_dataset pool = data_of(x, y, n, shape_3(1, side, side), K);
    REQUIRE_OK(ctx, interp_mode_augment_pool(ctx, &pool, &how, 2, 7, &out));
    CHECK(out.n == 3 * n && !memcmp(out.x, x, sizeof x));
    for (int i = 0; i < out.n; i++) CHECK(out.y[i] == y[i % n]);
    CHECK(memcmp(out.x + n * d, out.x + 2 * n * d, d * sizeof *x));
    interp_dataset_free(ctx, &out);
    CHECK(interp_mode_augment_pool(ctx, &pool, &how, -1, 7, &out) == INTERP_BAD_ARGUMENT);
}

/* ---- rounds */

/* Clouds of which one is all but left out of the training data. */
typedef struct scene {
    interp_dataset train, validation, pool, test;
    interp_mode_sets sets;
    interp_net *net;
} scene;

static bool scene_open(interp_ctx *c, scene *s)
{
    int rows[CLOUD_N], n = 0;
    memset(s, 0, sizeof *s);
    interp_dataset all = clouds(c, 240, 11);
    if (!all.x) return false;
    for (int i = 0; i < all.n; i++)
        if (all.y[i] != 2 || i < 12) rows[n++] = i;
    const interp_status status = interp_dataset_subset(c, &all, rows, n, &s->train);
    interp_dataset_free(c, &all);
    if (status) return false;
    s->validation = clouds(c, 150, 12);
    s->pool = clouds(c, 300, 13);
    s->test = clouds(c, 300, 14);
    s->net = cloud_net(c, true, &s->train);
    s->sets.train = &s->train, s->sets.validation = &s->validation;
    s->sets.pool = &s->pool, s->sets.test = &s->test;
    return s->validation.x && s->pool.x && s->test.x && s->net;
}

static void scene_close(interp_ctx *c, scene *s)
{
    interp_net_free(s->net);
    interp_dataset_free(c, &s->train), interp_dataset_free(c, &s->validation);
    interp_dataset_free(c, &s->pool), interp_dataset_free(c, &s->test);
}

static interp_mode_train_desc rounds_of(int rounds, const interp_mode_arm *arms, int n)
{
    interp_mode_train_desc d;
    memset(&d, 0, sizeof d);
    d.rounds = rounds, d.samples = 60, d.arms = arms, d.n_arms = n, d.seed = 3;
    d.train.epochs = 4, d.train.lr = 2e-3f;
    d.diagnose.theta = 0.99, d.replay = -1;
    return d;
}

TEST(rounds_keep_account_of_the_pool)
{
    scene s;
    interp_mode_result r;
    interp_mode_arm arms[2];
    memset(arms, 0, sizeof arms);
    arms[1].metric = INTERP_MODE_CANBERRA, arms[1].input = arms[1].one_label = true;
    interp_mode_train_desc how = rounds_of(7, arms, 2);
    REQUIRE(scene_open(ctx, &s));
    REQUIRE_OK(ctx, interp_mode_train(s.net, &s.sets, &how, &r));
    CHECK(r.n_arms == 2 && r.rounds == 7 && r.n_classes == K && r.run[0] == 7);
    for (int a = 0; a <= r.n_arms; a++) {
        int used = 0;
        for (int i = 0; i <= r.rounds; i++) {
            const interp_mode_round *q = &r.round[a * (r.rounds + 1) + i];
            if (i <= r.run[a]) used += q->selected;
            CHECK(q->arm == a - 1);
            CHECK(q->pool_used == used && q->pool_left == s.pool.n - used);
            CHECK(i == 0 || i > r.run[a] || q->selected == (i < 6 ? 60 : 0)); /* 300 in all */
            CHECK(q->targeted <= q->selected && q->accuracy > 0.2 && q->accuracy <= 1);
            if (a && i && i <= r.run[a]) CHECK(q->label >= 0);
            if (a == 2 && i && i <= r.run[a]) CHECK(q->layer == -1);
            if (a == 1 && i && i <= r.run[a]) CHECK(q->layer >= 0);
        }
        /* all start alike */
        CHECK(r.round[a * (r.rounds + 1)].accuracy == r.round[0].accuracy);
    }
    interp_mode_result_free(ctx, &r);
    scene_close(ctx, &s);
}

TEST(the_control_is_the_same_whatever_the_arms)
{
    interp_mode_arm arms[2];
    double control[4], mode[4];
    memset(arms, 0, sizeof arms);
    arms[0].metric = INTERP_MODE_EUCLIDEAN;
    arms[1].metric = INTERP_MODE_COSINE, arms[1].importance = INTERP_MODE_WEIGHT;
    for (int way = 0; way < 3; way++) { /* both arms, the second alone, and one thread */
        const interp_desc one = {.threads = way == 2 ? 1 : 2};
        interp_ctx *c = interp_open(&one);
        scene s;
        interp_mode_result r;
        REQUIRE(c != NULL && scene_open(c, &s));
        const int n = way == 1 ? 1 : 2;
        interp_mode_train_desc how = rounds_of(3, arms + 2 - n, n);
        REQUIRE_OK(c, interp_mode_train(s.net, &s.sets, &how, &r));
        for (int i = 0; i <= 3; i++) {
            const double of_control = r.round[i].accuracy, of_mode = r.round[n * 4 + i].accuracy;
            if (!way) control[i] = of_control, mode[i] = of_mode;
            CHECK(control[i] == of_control && mode[i] == of_mode);
        }
        interp_close(c);
    }
}

TEST(a_starved_label_is_mended)
{
    scene s;
    interp_mode_result r;
    interp_mode_train_desc how = rounds_of(4, NULL, 0);
    REQUIRE(scene_open(ctx, &s));
    REQUIRE_OK(ctx, interp_mode_train(s.net, &s.sets, &how, &r));
    const interp_mode_round *first = &r.round[5], *last = &r.round[5 + r.run[1]];
    CHECK(r.run[1] >= 1 && first[1].label == 2);
    CHECK(last->label_accuracy[2] > first->label_accuracy[2] + 0.2);
    CHECK(last->accuracy > first->accuracy);
    /* the network is left as the arm left it */
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    REQUIRE_OK(ctx, interp_evaluate(s.net, &s.test, INTERP_CROSS_ENTROPY, &e));
    CHECK_NEAR(e.accuracy, r.round[5 + 4].accuracy, 1e-12);
    interp_mode_result_free(ctx, &r);
    how.keep = 5;
    CHECK(interp_mode_train(s.net, &s.sets, &how, &r) == INTERP_BAD_ARGUMENT);
    scene_close(ctx, &s);
}

TEST(sets_that_do_not_fit_are_refused)
{
    scene s;
    interp_mode_result r;
    interp_mode_layers layers;
    const interp_mode_train_desc how = rounds_of(1, NULL, 0);
    REQUIRE(scene_open(ctx, &s));
    interp_mode_sets without = s.sets;
    without.pool = NULL;
    CHECK(interp_mode_train(s.net, &without, &how, &r) == INTERP_BAD_ARGUMENT);
    without = s.sets, without.train = NULL;
    CHECK(interp_mode_train(s.net, &without, &how, &r) == INTERP_BAD_ARGUMENT);
    interp_dataset fewer = s.validation;
    fewer.n_classes--;
    for (int i = 0; i < 3; i++) {
        interp_mode_sets sets = s.sets;
        const interp_dataset **set = i == 0 ? &sets.validation : i == 1 ? &sets.pool : &sets.test;
        *set = &fewer;
        CHECK(interp_mode_train(s.net, &sets, &how, &r) == INTERP_BAD_ARGUMENT);
    }
    CHECK(interp_mode_select_layer(s.net, s.sets.train, &fewer, NULL, &layers) ==
          INTERP_BAD_ARGUMENT);
    CHECK(interp_mode_select_layer(s.net, NULL, s.sets.validation, NULL, &layers) ==
          INTERP_BAD_ARGUMENT);
    scene_close(ctx, &s);
}

static int cancel_after;

static int cancel(const interp_progress *p, void *user)
{
    (void)p, (void)user;
    return cancel_after-- == 0;
}

TEST(rounds_that_fail_leave_the_network)
{
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.progress = cancel, desc.threads = 1;
    desc.allocator.alloc = heap_alloc, desc.allocator.free = heap_free;
    cancel_after = -1;
    interp_ctx *c = interp_open(&desc);
    scene s;
    interp_mode_result r;
    interp_mode_arm arm;
    memset(&arm, 0, sizeof arm);
    arm.importance = INTERP_MODE_WEIGHT;
    interp_mode_train_desc how = rounds_of(1, &arm, 1);
    how.replay = 20, how.train.epochs = 1;
    REQUIRE(c != NULL && scene_open(c, &s));
    const size_t n = interp_net_describe(s.net).n_parameters * sizeof(float);
    float *before = (float *)malloc(n);
    memcpy(before, interp_net_parameters(s.net), n);
    REQUIRE_OK(c, interp_mode_train(s.net, &s.sets, &how, &r)); /* scratch that the context keeps */
    interp_mode_result_free(c, &r);
    memcpy(interp_net_parameters(s.net), before, n);
    const size_t held = heap.held, blocks = heap.blocks;
    for (int at = 0; at < 200; at += slow_here() ? 37 : 7) {
        cancel_after = at;
        const interp_status status = interp_mode_train(s.net, &s.sets, &how, &r);
        if (!status) {
            interp_mode_result_free(c, &r);
            memcpy(interp_net_parameters(s.net), before, n);
            break;
        }
        CHECK(status == INTERP_CANCELLED);
        CHECK(!memcmp(before, interp_net_parameters(s.net), n));
        CHECK(heap.held == held && heap.blocks == blocks);
    }
    cancel_after = -1;
    for (long at = 0; at < 400; at += slow_here() ? 11 : 1) {
        heap_fail_after(at);
        const interp_status status = interp_mode_train(s.net, &s.sets, &how, &r);
        heap.fail_at = 0;
        if (!status) {
            interp_mode_result_free(c, &r);
            memcpy(interp_net_parameters(s.net), before, n);
            break;
        }
        CHECK(status == INTERP_NO_MEMORY);
        CHECK(!memcmp(before, interp_net_parameters(s.net), n));
        CHECK(heap.held == held && heap.blocks == blocks);
    }
    free(before);
    interp_close(c);
    CHECK(!heap.bad && heap.held == 0);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    if (!ctx) return 1;
    RUN(metrics_match_scipy);
    RUN(an_identical_sample_is_most_alike);
    RUN(earth_moves_in_two_dimensions);
    RUN(paired_tests_match_scipy);
    RUN(exact_ranks_match_enumeration);
    RUN(holm_steps_down);
    RUN(labels_are_diagnosed_on_both_sets);
    RUN(alpha_follows_the_share_of_errors);
    RUN(heat_maps_follow_the_confusion_table);
    RUN(hellinger_distances_are_known);
    RUN(saturation_selects_the_layer_before_an_identity);
    RUN(feature_models_are_ridge_regressions);
    RUN(convolutions_have_layers_too);
    RUN(gradient_maps_are_finite_differences);
    RUN(selection_takes_the_most_alike);
    RUN(a_pool_gives_each_input_once);
    RUN(augmented_pools_keep_labels);
    RUN(rounds_keep_account_of_the_pool);
    RUN(the_control_is_the_same_whatever_the_arms);
    RUN(a_starved_label_is_mended);
    RUN(sets_that_do_not_fit_are_refused);
    RUN(rounds_that_fail_leave_the_network);
    interp_close(ctx);
    return test_end(argc, argv);
}

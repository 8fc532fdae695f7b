/* Attribution: axioms, quadrature, memory, and the stored results of independent software. */
#include "attr_nets.h"
#include "heap.h"
#include <time.h>

/* A small net with smooth and kinked parts on [2,6,6] images. */
static interp_net *small_net(interp_ctx *c, bool softmax)
{
    const interp_shape s = {3, {2, 6, 6, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "small");
    interp_tensor x = interp_input(net, NULL, &s);
    interp_conv2d_desc conv;
    memset(&conv, 0, sizeof conv);
    conv.channels = 5, conv.same = true;
    x = interp_relu(net, interp_conv2d(net, x, &conv));
    x = interp_pool2d(net, x, NULL);
    x = interp_activate(net, interp_dense(net, x, 12, NULL), INTERP_SILU, 0);
    x = interp_dense(net, x, 4, NULL);
    if (softmax) x = interp_softmax(net, x, 1);
    interp_output(net, x, "y");
    return interp_net_build(net, 5) ? NULL : net;
}

TEST(quadrature_integrates_polynomials)
{
    double at[64], weight[64];
    for (int n = 1; n <= 64; n++) {
        CHECK_OK(ctx, interp_quadrature_rule(ctx, INTERP_GAUSS_LEGENDRE, n, at, weight));
        for (int power = 0; power < 2 * n && power < 40; power++) { /* exact up to degree 2n-1 */
            double sum = 0;
            for (int i = 0; i < n; i++) sum += weight[i] * pow(at[i], power);
            CHECK_NEAR(sum, 1.0 / (power + 1), 1e-13);
        }
        for (int i = 1; i < n; i++) CHECK(at[i] > at[i - 1]);
    }
    for (int rule = INTERP_RIEMANN_LEFT; rule <= INTERP_RIEMANN_TRAPEZOID; rule++) {
        double sum = 0, first = 0;
        CHECK_OK(ctx, interp_quadrature_rule(ctx, (interp_quadrature)rule, 10, at, weight));
        for (int i = 0; i < 10; i++) sum += weight[i], first += weight[i] * at[i];
        CHECK_NEAR(sum, 1, 1e-15);
        const double want = rule == INTERP_RIEMANN_LEFT    ? 0.45
                            : rule == INTERP_RIEMANN_RIGHT ? 0.55
                                                           : 0.5;
        CHECK_NEAR(first, want, 1e-15);
    }
    CHECK(interp_quadrature_rule(ctx, INTERP_GAUSS_LEGENDRE, 0, at, weight) == INTERP_BAD_ARGUMENT);
    CHECK(interp_quadrature_rule(ctx, INTERP_RIEMANN_TRAPEZOID, 1, at, weight) ==
          INTERP_BAD_ARGUMENT);
}

/* Root i of the Legendre polynomial in [-1,1] and its weight, from the textbook recurrence. */
static double plain_root(int n, int i, double *weight)
{
    double x = cos(3.14159265358979323846 * (i + 0.75) / (n + 0.5)), slope = 1;
    for (int round = 0; round < 8; round++) {
        double p = 1, before = 0;
        for (int k = 1; k <= n; k++) {
            const double next = ((2 * k - 1) * x * p - (k - 1) * before) / k;
            before = p;
            p = next;
        }
        slope = n * (x * p - before) / (x * x - 1);
        x -= p / slope;
    }
    *weight = 2 / ((1 - x * x) * slope * slope);
    return x;
}

/* Roots that take a fixed number of operations each; the recurrence itself loses digits at the ends,
   where x is almost 1. */
TEST(many_gauss_legendre_points_match_the_recurrence)
{
    static const int counts[] = {59, 60, 61, 62, 100, 101, 333, 1000, 2000};
    static double at[20000], weight[20000];
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const int n = counts[c];
        CHECK_OK(ctx, interp_quadrature_rule(ctx, INTERP_GAUSS_LEGENDRE, n, at, weight));
        for (int i = 0; i < n / 2; i += n < 333 ? 1 : 7) {
            double w;
            const double x = plain_root(n, i, &w);
            CHECK_NEAR(at[i], 0.5 * (1 - x), 1e-15);
            CHECK_NEAR(weight[i], 0.5 * w, 1e-10 * w);
            CHECK_NEAR(weight[i], 0.5 * w, 1e-14);
            CHECK(at[n - 1 - i] == 1 - at[i] || fabs(at[n - 1 - i] - (1 - at[i])) < 1e-15);
        }
    }
    const clock_t start = clock();
    CHECK_OK(ctx, interp_quadrature_rule(ctx, INTERP_GAUSS_LEGENDRE, 20000, at, weight));
    CHECK((double)(clock() - start) / CLOCKS_PER_SEC < 2); /* 0.01; by the recurrence alone 8 */
    double sum = 0, sine = 0;
    for (int i = 0; i < 20000; i++) sum += weight[i], sine += weight[i] * cos(at[i]);
    CHECK_NEAR(sum, 1, 1e-14);
    CHECK_NEAR(sine, sin(1.0), 1e-14);
}

TEST(integrated_gradients_sum_to_the_output_difference)
{
    enum { n = 3, size = 72 };
    static float x[n * size], base[n * size], out[n * size];
    interp_attribution report[n];
    interp_attribute_desc d;
    fill(x, n * size, 1);
    fill(base, n * size, 2);
    for (int softmax = 0; softmax < 2; softmax++) {
        interp_net *net = small_net(ctx, softmax);
        double before = 1e9;
        for (int steps = 8; steps <= 512; steps *= 4) {
            memset(&d, 0, sizeof d);
            d.method = INTERP_INTEGRATED_GRADIENTS;
            d.baseline = base, d.n_baselines = n;
            d.n_steps = steps;
            d.target_kind = INTERP_TARGET_CLASS, d.target = 2;
            REQUIRE_OK(ctx, interp_attribute(net, x, n, &d, out, report));
            double worst = 0;
            for (int i = 0; i < n; i++) {
                double sum = 0;
                for (int j = 0; j < size; j++) sum += (double)out[i * size + j];
                const double delta = report[i].output - report[i].baseline_output;
                CHECK_NEAR(sum - delta, report[i].residual, 1e-5 * (1 + fabs(delta)));
                worst = fmax(worst, fabs(report[i].residual));
                CHECK(report[i].target == 2 && report[i].passes == steps + 2);
            }
            CHECK(worst <=
                  before * 1.5); /* goes down with more steps, kinks allow for some noise */
            before = worst;
        }
        CHECK_NEAR(before, 0, 1e-2); /* about a kink's jump of a few units over 512 steps */
        interp_net_free(net);
    }
}

TEST(input_x_gradient_is_complete_on_a_linear_net)
{
    const interp_shape s = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net;
    float x[18], out[18], grad[18];
    interp_attribution report[2];
    interp_attribute_desc d;
    fill(x, 18, 3);
    REQUIRE_OK(ctx, interp_net_arch(ctx, "linear", &s, 3, 1, &net));
    memset(&d, 0, sizeof d);
    d.method = INTERP_INPUT_X_GRADIENT;
    CHECK_OK(ctx, interp_attribute(net, x, 2, &d, out, report));
    for (int i = 0; i < 2; i++) CHECK_NEAR(report[i].residual, 0, 1e-5);
    d.method = INTERP_SALIENCY, d.keep_sign = true;
    CHECK_OK(ctx, interp_attribute(net, x, 2, &d, grad, NULL));
    for (int i = 0; i < 18; i++) CHECK_NEAR(out[i], x[i] * grad[i], 1e-6);
    d.keep_sign = false;
    CHECK_OK(ctx, interp_attribute(net, x, 2, &d, out, NULL));
    for (int i = 0; i < 18; i++) CHECK(out[i] == fabsf(grad[i]));
    interp_net_free(net);
}

TEST(the_sum_of_outputs_is_the_sum_of_the_classes)
{
    enum { size = 72 };
    float x[size], sum[size], one[size], all[size];
    interp_net *net = small_net(ctx, false);
    interp_attribute_desc d;
    fill(x, size, 4);
    memset(&d, 0, sizeof d);
    memset(all, 0, sizeof all);
    d.keep_sign = true;
    d.target_kind = INTERP_TARGET_SUM;
    CHECK_OK(ctx, interp_attribute(net, x, 1, &d, sum, NULL));
    d.target_kind = INTERP_TARGET_CLASS;
    for (d.target = 0; d.target < 4; d.target++) {
        CHECK_OK(ctx, interp_attribute(net, x, 1, &d, one, NULL));
        for (int i = 0; i < size; i++) all[i] += one[i];
    }
    for (int i = 0; i < size; i++) CHECK_NEAR(sum[i], all[i], 1e-5);
    interp_net_free(net);
}

TEST(results_do_not_depend_on_batch_or_threads)
{
    enum { n = 5, size = 72 };
    static float x[n * size], first[n * size], out[n * size];
    fill(x, n * size, 5);
    for (int m = 0; m <= INTERP_VAR_GRAD; m++)
        for (int run = 0; run < 6; run++) {
            interp_ctx *c = open_with(1 + run % 3, NULL);
            interp_net *net = small_net(c, false);
            interp_attribute_desc d;
            memset(&d, 0, sizeof d);
            d.method = (interp_method)m;
            d.n_steps = 7, d.n_samples = 6, d.seed = 9;
            d.batch = run < 3 ? 0 : 1 + 3 * (run - 3);
            CHECK_OK(c, interp_attribute(net, x, n, &d, run ? out : first, NULL));
            if (run) CHECK(memcmp(first, out, sizeof out) == 0);
            interp_close(c);
        }
}

TEST(attribution_bytes_are_a_bound_independent_of_steps)
{
    enum { n = 4, size = 72 };
    static float x[n * size], out[n * size];
    fill(x, n * size, 6);
    interp_net *net = small_net(ctx, false);
    size_t few, many;
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_INTEGRATED_GRADIENTS;
    d.n_steps = 50;
    CHECK_OK(ctx, interp_attribute_bytes(net, n, &d, &few));
    d.n_steps = 5000;
    CHECK_OK(ctx, interp_attribute_bytes(net, n, &d, &many));
    CHECK(many - few < 16 * 5000); /* the rule's abscissae and weights, no more */
    d.n_steps = 50;
    const size_t used = interp_memory_read(ctx).used;
    interp_memory_set_limit(ctx, used + few);
    CHECK_OK(ctx, interp_attribute(net, x, n, &d, out, NULL));
    CHECK(interp_memory_read(ctx).used == used);
    interp_memory_set_limit(ctx, used + 2000);
    CHECK(interp_attribute(net, x, n, &d, out, NULL) == INTERP_NO_MEMORY);
    interp_memory_set_limit(ctx, 0);
    CHECK(interp_memory_read(ctx).used == used);
    interp_net_free(net);
}

TEST(memory_limits_are_kept_or_refused_beforehand)
{
    enum { n = 40, size = 72 };
    static float x[n * size], out[n * size], images[10 * size];
    fill(x, n * size, 6);
    for (int canonical = 0; canonical < 2; canonical++) {
        int ran = 0, refused = 0;
        for (size_t extra = 2000; extra < 400000; extra += 1000) {
            interp_ctx *c = interp_open(NULL);
            interp_net *net = small_net(c, false);
            interp_attribute_desc d;
            interp_canonical_desc e;
            memset(&d, 0, sizeof d);
            memset(&e, 0, sizeof e);
            d.method = INTERP_INTEGRATED_GRADIENTS, d.n_steps = 2;
            e.steps = 1;
            const interp_memory before = interp_memory_read(c);
            const size_t limit = before.used + extra;
            interp_memory_set_limit(c, limit);
            const interp_status status = canonical ? interp_canonical(net, &e, images, NULL)
                                                   : interp_attribute(net, x, n, &d, out, NULL);
            CHECK(status == INTERP_OK || status == INTERP_NO_MEMORY);
            if (status) CHECK(ran == 0); /* more memory never does worse */
            const size_t peak = interp_memory_read(c).peak;
            CHECK(peak <= limit || peak == before.peak);
            *(status ? &refused : &ran) += 1;
            interp_close(c);
        }
        CHECK(ran > 10 && refused > 1);
    }
}

TEST(baselines_are_what_they_say)
{
    const interp_shape s = {3, {1, 4, 4, 1, 1, 1, 1, 1}};
    float x[32], out[32];
    for (int i = 0; i < 32; i++) x[i] = (float)(i % 16);
    CHECK_OK(ctx, interp_baseline(ctx, INTERP_BASELINE_MEAN, x, 2, &s, 0, out));
    CHECK_NEAR(out[0], 7.5, 1e-6);
    CHECK_OK(ctx, interp_baseline(ctx, INTERP_BASELINE_MAX, x, 2, &s, 0, out));
    CHECK(out[31] == 15);
    CHECK_OK(ctx, interp_baseline(ctx, INTERP_BASELINE_MIN, x, 2, &s, 0, out));
    CHECK(out[3] == 0);
    CHECK_OK(ctx, interp_baseline(ctx, INTERP_BASELINE_BLUR, x, 2, &s, 0, out));
    double mean = 0;
    for (int i = 0; i < 16; i++) mean += (double)out[i] / 16;
    CHECK_NEAR(mean, 7.5, 1e-5); /* symmetric weights, repeated edges */
    CHECK(out[0] > 0 && out[15] < 15 && out[15] > out[0]);
    CHECK_OK(ctx, interp_baseline(ctx, INTERP_BASELINE_NOISE, x, 2, &s, 3, out));
    for (int i = 0; i < 32; i++) CHECK(out[i] >= 0 && out[i] <= 15);
}

TEST(wrong_calls_say_what_is_wrong)
{
    enum { size = 72 };
    float x[size], out[size];
    interp_net *net = small_net(ctx, false);
    interp_attribute_desc d;
    const int32_t bad[1] = {9};
    fill(x, size, 7);
    memset(&d, 0, sizeof d);
    out[0] = 42;
    d.target_kind = INTERP_TARGET_CLASS, d.target = 4;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "target 4 of sample 0") != NULL);
    d.target_kind = INTERP_TARGET_PREDICTED; /* a class is meant all the same */
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.target_kind = INTERP_TARGET_LABELS, d.targets = bad;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    d.targets = NULL;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    memset(&d, 0, sizeof d);
    d.n_baselines = 3, d.baseline = x;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_BAD_ARGUMENT);
    x[5] = NAN;
    memset(&d, 0, sizeof d);
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_NOT_FINITE);
    x[5] = 0;
    interp_net_parameters(net)[3] = INFINITY;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_NOT_FINITE);
    CHECK(out[0] == 42); /* errors leave results alone */
    interp_net_free(net);
}

TEST(attribution_survives_every_failing_allocation)
{
    enum { size = 72 };
    static float x[size], out[size], images[4 * size];
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    desc.allocator.alloc = heap_alloc, desc.allocator.free = heap_free;
    bool done = false;
    fill(x, size, 8);
    for (int n = 1; n < 400 && !done; n++) {
        heap.fail_at = 0;
        interp_ctx *c = interp_open(&desc);
        interp_net *net = small_net(c, false);
        const size_t held = heap.held;
        interp_attribute_desc d;
        interp_canonical_desc e;
        memset(&d, 0, sizeof d);
        memset(&e, 0, sizeof e);
        d.method = INTERP_INTEGRATED_GRADIENTS, d.n_steps = 3;
        e.steps = 2;
        heap_fail_after(n);
        const interp_status a = interp_attribute(net, x, 1, &d, out, NULL);
        const interp_status b = a ? a : interp_canonical(net, &e, images, NULL);
        CHECK(a == INTERP_OK || a == INTERP_NO_MEMORY);
        CHECK(b == INTERP_OK || b == INTERP_NO_MEMORY);
        CHECK(heap.held == held);
        done = !a && !b;
        interp_close(c);
        CHECK(heap.held == 0);
    }
    CHECK(done);
}

/* Three classes of 6x6 images, told apart by which corner is bright. */
static interp_net *corner_net(interp_ctx *c)
{
    enum { n = 150, size = 36 };
    static float x[n * size];
    static int32_t y[n];
    const interp_shape s = {3, {1, 6, 6, 1, 1, 1, 1, 1}};
    interp_dataset data;
    interp_net *net;
    interp_train_desc d;
    for (int i = 0; i < n; i++) {
        y[i] = i % 3;
        for (int j = 0; j < size; j++) {
            const int corner = (j / 6 > 2) * 2 + (j % 6 > 2);
            x[i * size + j] = 0.3f * interp_random_uniform(2, 1, (uint64_t)(i * size + j)) +
                              (corner == y[i] ? 0.6f : 0);
        }
    }
    memset(&d, 0, sizeof d);
    d.epochs = 60, d.batch = 16;
    if (interp_dataset_from_arrays(c, x, y, n, &s, 3, NULL, &data) ||
        interp_net_arch(c, "mlp:36-24-3", &s, 3, 1, &net) || interp_train(net, &data, &d, NULL))
        return NULL;
    interp_dataset_free(c, &data);
    return net;
}

TEST(canonical_inputs_reach_their_class)
{
    enum { size = 36 };
    float out[3 * size], p[3], y[3];
    interp_net *net = corner_net(ctx);
    REQUIRE(net);
    REQUIRE_OK(ctx, interp_canonical(net, NULL, out, p));
    for (int k = 0; k < 3; k++) {
        CHECK(p[k] > 0.99f);
        CHECK_OK(ctx, interp_predict(net, out + k * size, 1, y));
        CHECK(interp_argmax(y, 3) == k);
        double inside = 0, outside = 0; /* its corner is the bright one */
        for (int j = 0; j < size; j++) {
            const float v = out[k * size + j];
            CHECK(v >= 0 && v <= 1);
            *((j / 6 > 2) * 2 + (j % 6 > 2) == k ? &inside : &outside) += (double)v;
        }
        CHECK(inside / 9 > outside / 27);
    }
    interp_net_free(net);
}

/* Numbers that hardly vary in the data stay what they are there, whatever the gradient says. */
TEST(canonical_inputs_look_like_the_data)
{
    enum { n = 40, size = 36 };
    static float x[n * size];
    float plain[3 * size], like[3 * size], p[3];
    const interp_shape s = {3, {1, 6, 6, 1, 1, 1, 1, 1}};
    interp_dataset data;
    interp_canonical_desc d;
    interp_net *net = corner_net(ctx);
    REQUIRE(net);
    for (int i = 0; i < n * size; i++) /* the frame is always 0.2 */
        x[i] = i % size / 6 % 5 == 0 || i % 6 % 5 == 0 ? 0.2f
                                                       : interp_random_uniform(2, 5, (uint64_t)i);
    memset(&data, 0, sizeof data);
    data.x = x, data.n = n, data.shape = s;
    memset(&d, 0, sizeof d);
    REQUIRE_OK(ctx, interp_canonical(net, &d, plain, p));
    d.like = &data;
    REQUIRE_OK(ctx, interp_canonical(net, &d, like, p));
    double away[2] = {0, 0};
    for (int i = 0; i < 3 * size; i++)
        if (i % size / 6 % 5 == 0 || i % 6 % 5 == 0) {
            away[0] += fabs((double)plain[i] - 0.2);
            away[1] += fabs((double)like[i] - 0.2);
        }
    CHECK(away[1] < 0.5 * away[0]);
    for (int k = 0; k < 3; k++) CHECK(p[k] > 0.99f);
    data.shape.dim[1] = 5;
    CHECK(interp_canonical(net, &d, like, p) == INTERP_BAD_SHAPE);
    interp_net_free(net);
}

/* ---- stored references */

static int cancel(const interp_progress *p, void *user)
{
    (void)p;
    return ++*(int *)user > 2;
}

TEST(attribution_can_be_cancelled)
{
    enum { size = 72 };
    static float x[size], out[size];
    int calls = 0;
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.progress = cancel, desc.user = &calls;
    interp_ctx *c = interp_open(&desc);
    interp_net *net = small_net(c, false);
    const size_t used = interp_memory_read(c).used;
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_INTEGRATED_GRADIENTS, d.n_steps = 500;
    fill(x, size, 9);
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_CANCELLED);
    CHECK(interp_memory_read(c).used == used);
    d.n_steps = 1000000; /* in the middle of the rule, which would take half a second */
    calls = -40;
    CHECK(interp_attribute(net, x, 1, &d, out, NULL) == INTERP_CANCELLED);
    CHECK_STR(interp_error(c), "quadrature was cancelled");
    CHECK(interp_memory_read(c).used == used);
    interp_close(c);
}

typedef struct reference {
    const char *file;
    interp_method method;
    interp_quadrature rule;
    int steps;
    bool keep_sign, no_multiply, no_baseline, noise;
    double factor; /* captum's trapezoid weights sum to (n-1)/n */
} reference;

enum { N_ROWS = 12 };

/* best[row]: the smallest error on any instruction set so far. */
static void check_model(interp_ctx *c, const char *model, double best[N_ROWS])
{
    static const reference rows[N_ROWS] = {
        {"saliency.f64.npy", INTERP_SALIENCY, INTERP_GAUSS_LEGENDRE, 0, 0, 0, 0, 0, 1},
        {"gradient.f64.npy", INTERP_SALIENCY, INTERP_GAUSS_LEGENDRE, 0, 1, 0, 0, 0, 1},
        {"input_x_gradient.f64.npy", INTERP_INPUT_X_GRADIENT, INTERP_GAUSS_LEGENDRE, 0, 0, 0, 0, 0,
         1},
        {"ig_gausslegendre.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_GAUSS_LEGENDRE, 50, 0, 0,
         0, 0, 1},
        {"ig_local.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_GAUSS_LEGENDRE, 50, 0, 1, 0, 0, 1},
        {"ig_riemann_left.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_RIEMANN_LEFT, 50, 0, 0, 0,
         0, 1},
        {"ig_riemann_right.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_RIEMANN_RIGHT, 50, 0, 0, 0,
         0, 1},
        {"ig_riemann_middle.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_RIEMANN_MIDDLE, 50, 0, 0,
         0, 0, 1},
        {"ig_riemann_trapezoid.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_RIEMANN_TRAPEZOID, 50,
         0, 0, 0, 0, 50.0 / 49},
        {"ig_zero20.f64.npy", INTERP_INTEGRATED_GRADIENTS, INTERP_RIEMANN_TRAPEZOID, 20, 0, 0, 1, 0,
         20.0 / 19},
        {"nt_smoothgrad.f64.npy", INTERP_SMOOTH_GRAD, INTERP_GAUSS_LEGENDRE, 0, 0, 0, 0, 1, 1},
        {"nt_smoothgrad_sq.f64.npy", INTERP_SMOOTH_GRAD_SQ, INTERP_GAUSS_LEGENDRE, 0, 0, 0, 0, 1,
         1},
    };
    interp_net *net;
    interp_array x, base, noise, labels;
    int32_t targets[16];
    char path[256];
    snprintf(path, sizeof path, REFS "%s/model.onnx", model);
    REQUIRE_OK(c, interp_onnx_load(c, path, NULL, &net));
    REQUIRE(read_ref(model, "inputs.npy", &x, true));
    REQUIRE(read_ref(model, "baselines.npy", &base, true));
    REQUIRE(read_ref(model, "targets.npy", &labels, false));
    const bool noisy = read_ref(model, "nt_noise.f64.npy", &noise, true);
    REQUIRE_OK(c, interp_array_ints(c, &labels, targets));
    const int n = x.shape.dim[0];
    const size_t size = interp_shape_size(&x.shape);
    float *out = (float *)malloc(size * sizeof *out);
    for (int r = 0; r < N_ROWS; r++) {
        interp_array want;
        interp_attribute_desc d;
        if (rows[r].noise && !noisy) continue; /* not stored for every model */
        REQUIRE(read_ref(model, rows[r].file, &want, true));
        memset(&d, 0, sizeof d);
        d.method = rows[r].method;
        d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
        d.quadrature = rows[r].rule, d.n_steps = rows[r].steps;
        d.keep_sign = rows[r].keep_sign, d.no_multiply = rows[r].no_multiply;
        if (!rows[r].no_baseline)
            d.baseline = (const float *)base.data, d.n_baselines = base.shape.dim[0];
        if (rows[r].noise)
            d.noise = (const float *)noise.data, d.n_samples = noise.shape.dim[0] / n;
        CHECK_OK(c, interp_attribute(net, (const float *)x.data, n, &d, out, NULL));
        const double error = error_of(out, &want, rows[r].factor);
        const bool path = rows[r].method == INTERP_INTEGRATED_GRADIENTS;
        best[r] = fmin(best[r], error);
        if (!(error <= (path ? KINK_TOLERANCE : REFERENCE_TOLERANCE)))
            test_fail(__FILE__, __LINE__, "%s/%s: off by %.2g of the largest (%s)", model,
                      rows[r].file, error, interp_isa(c));
        interp_array_free(ctx, &want);
    }
    free(out);
    interp_array_free(ctx, &x), interp_array_free(ctx, &base), interp_array_free(ctx, &labels);
    if (noisy) interp_array_free(ctx, &noise);
}

TEST(gradient_methods_match_the_references)
{
    static const char *const models[] = {"mlp", "mlp_acts", "lenet", "resnet_mini_pool2",
                                         "fish_effnet_mini"};
    FILE *f = fopen(REFS "README.md", "r");
    if (!f) SKIP("../shared is not there");
    fclose(f);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        double best[N_ROWS];
        for (int r = 0; r < N_ROWS; r++) best[r] = 0;
        for (int i = 0, first = 1; i < N_ISAS; i++) {
            interp_ctx *c = open_with(2, isas[i]);
            if (!c) continue;
            for (int r = 0; r < N_ROWS && first; r++) best[r] = 1;
            first = 0;
            check_model(c, models[m], best);
            interp_close(c);
        }
        for (int r = 0; r < N_ROWS; r++) /* 1: not stored for this model */
            if (best[r] < 1) CHECK_NEAR(best[r], 0, REFERENCE_TOLERANCE);
    }
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(quadrature_integrates_polynomials);
    RUN(many_gauss_legendre_points_match_the_recurrence);
    RUN(integrated_gradients_sum_to_the_output_difference);
    RUN(input_x_gradient_is_complete_on_a_linear_net);
    RUN(the_sum_of_outputs_is_the_sum_of_the_classes);
    RUN(results_do_not_depend_on_batch_or_threads);
    RUN(attribution_bytes_are_a_bound_independent_of_steps);
    RUN(memory_limits_are_kept_or_refused_beforehand);
    RUN(baselines_are_what_they_say);
    RUN(wrong_calls_say_what_is_wrong);
    RUN(attribution_survives_every_failing_allocation);
    RUN(canonical_inputs_reach_their_class);
    RUN(canonical_inputs_look_like_the_data);
    RUN(attribution_can_be_cancelled);
    RUN(gradient_methods_match_the_references);
    interp_close(ctx);
    return test_end(argc, argv);
}

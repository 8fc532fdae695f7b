/* Loss change allocation: its sum, its quadratures, its groups, memory, and stored results. */
#include "interp.h"

#include "heap.h"
#include "test.h"

#define REFS "../shared/refs/lca/"

/* Gradients are float32: a share of 3e-7 of the loss change, over a few thousand roundings. */
#define SUM_TOLERANCE 2e-6
/* Against sums in double of gradients in double. */
#define REFERENCE_TOLERANCE 1e-4

static interp_ctx *ctx;

enum { N = 60, D = 6, K = 3 };

static float data_x[N * D];
static int32_t data_y[N];

/* Three clouds. */
static interp_dataset clouds(void)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < N; i++) {
        data_y[i] = i % K;
        for (int k = 0; k < D; k++)
            data_x[i * D + k] = interp_random_normal(7, (uint64_t)i, (uint64_t)k) +
                                (k % K == data_y[i] ? 2.0f : 0.0f);
    }
    d.x = data_x, d.y = data_y, d.n = N, d.n_classes = K;
    d.shape.rank = 1, d.shape.dim[0] = D;
    for (int i = 1; i < INTERP_MAX_RANK; i++) d.shape.dim[i] = 1;
    return d;
}

static interp_net *new_net(interp_ctx *c, const char *arch)
{
    const interp_shape s = {1, {D, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = NULL;
    return interp_net_arch(c, arch, &s, K, 3, &net) ? NULL : net;
}

/* Without kinks. */
static interp_net *smooth_net(interp_ctx *c)
{
    const interp_shape s = {1, {D, 1, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "smooth");
    interp_tensor x = interp_input(net, NULL, &s);
    x = interp_activate(net, interp_dense(net, x, 16, NULL), INTERP_TANH, 0);
    interp_output(net, interp_dense(net, x, K, NULL), "y");
    return interp_net_build(net, 3) ? NULL : net;
}

/* Parameters moved by a fixed amount in every direction. */
static void nudge(interp_net *net, float by, uint64_t seed)
{
    float *p = interp_net_parameters(net);
    const size_t n = interp_net_describe(net).n_parameters;
    for (size_t i = 0; i < n; i++) p[i] += by * interp_random_normal(seed, 1, i);
}

/* An allocation that has begun; NULL after an error, which is shown. */
static interp_lca *begun(interp_net *net, const interp_dataset *data, const interp_lca_desc *d)
{
    interp_lca *lca = NULL;
    CHECK_OK(ctx, interp_lca_new(net, data, d, &lca));
    if (lca) CHECK_OK(ctx, interp_lca_begin(lca));
    return lca;
}

/* One that has allocated a step, the parameters having been nudged and put back. */
static interp_lca *stepped(interp_net *net, const interp_dataset *data, const interp_lca_desc *d,
                           float by, uint64_t seed, interp_lca_step_info *info)
{
    interp_lca *lca = begun(net, data, d);
    const size_t n = interp_net_describe(net).n_parameters;
    float *kept = (float *)malloc(n * sizeof *kept);
    memset(info, 0, sizeof *info);
    memcpy(kept, interp_net_parameters(net), n * sizeof *kept);
    nudge(net, by, seed);
    if (lca) CHECK_OK(ctx, interp_lca_step(lca, info));
    memcpy(interp_net_parameters(net), kept, n * sizeof *kept);
    free(kept);
    return lca;
}

static double loss_of(interp_net *net, const interp_dataset *data, interp_loss loss)
{
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    CHECK_OK(ctx, interp_evaluate(net, data, loss, &e));
    return e.loss;
}

/* What a step was, with the sums of what it allocated. */
typedef struct seen {
    int steps, unresolved, most_splits;
    double worst, change, allocated;
} seen;

static interp_status look(const interp_lca_step_info *s, void *user)
{
    seen *v = (seen *)user;
    v->steps++;
    v->unresolved += !s->resolved;
    v->most_splits = s->splits > v->most_splits ? s->splits : v->most_splits;
    v->worst = fmax(v->worst, fabs(s->residual));
    v->change += s->loss_after - s->loss_before;
    v->allocated += s->allocated;
    return INTERP_OK;
}

TEST(allocations_add_up_to_the_loss_change)
{
    const interp_dataset data = clouds();
    static const char *const archs[] = {"linear", "mlp", "mlp:6-20-10-3"};
    for (int a = 0; a < 3; a++) {
        interp_net *net = new_net(ctx, archs[a]);
        const size_t n = interp_net_describe(net).n_parameters;
        interp_lca_desc d;
        interp_train_desc t;
        interp_lca *lca = NULL;
        seen s;
        memset(&d, 0, sizeof d), memset(&t, 0, sizeof t), memset(&s, 0, sizeof s);
        d.tolerance = 1e-4, d.max_splits = 256, d.on_step = look, d.user = &s;
        const double before = loss_of(net, &data, INTERP_CROSS_ENTROPY);
        REQUIRE_OK(ctx, interp_lca_new(net, &data, &d, &lca));
        t.epochs = 4, t.batch = 10, t.optimizer = INTERP_SGD, t.lr = 0.1f, t.momentum = 0.5f;
        t.on_step = interp_lca_on_step, t.on_step_user = lca;
        REQUIRE_OK(ctx, interp_train(net, &data, &t, NULL));
        const double after = loss_of(net, &data, INTERP_CROSS_ENTROPY);
        CHECK(s.steps == 4 * N / 10 && s.unresolved == 0);
        CHECK(s.worst <= 1e-4);
        CHECK_NEAR(s.change, after - before, SUM_TOLERANCE);
        CHECK_NEAR(s.allocated, after - before, s.steps * 1e-4);
        CHECK(before - after > 0.3); /* it learned */
        /* one more by hand: the sums of the step's array are what it says */
        interp_lca_step_info info;
        nudge(net, 0.01f, 5);
        REQUIRE_OK(ctx, interp_lca_step(lca, &info));
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += info.lca[i];
        CHECK_NEAR(sum, info.allocated, 1e-15);
        CHECK(info.step == 4 * N / 10 + 1 && isnan(info.val_before) && !info.val_lca);
        interp_lca_free(lca);
        interp_net_free(net);
    }
}

/* A linear net under squared error has a loss quadratic along every path: the trapezoid rule is exact
   already, and left and right ends are off by the same, to both sides. */
TEST(quadratic_losses_are_allocated_exactly)
{
    const interp_dataset data = clouds();
    double residual[5];
    for (int rule = 0; rule < 5; rule++) {
        interp_net *net = new_net(ctx, "linear");
        interp_lca_desc d;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d);
        d.loss = INTERP_MSE, d.rule = (interp_lca_rule)rule;
        interp_lca *lca = stepped(net, &data, &d, 0.3f, 9, &info);
        residual[rule] = info.residual;
        CHECK(fabs(info.loss_after - info.loss_before) > 0.1);
        CHECK(info.splits == (rule == INTERP_LCA_SIMPSON || rule == INTERP_LCA_GAUSS ? 2 : 1));
        interp_lca_free(lca);
        interp_net_free(net);
    }
    CHECK_NEAR(residual[INTERP_LCA_SIMPSON], 0, SUM_TOLERANCE);
    CHECK_NEAR(residual[INTERP_LCA_TRAPEZOID], 0, SUM_TOLERANCE);
    CHECK_NEAR(residual[INTERP_LCA_GAUSS], 0, SUM_TOLERANCE);
    CHECK(fabs(residual[INTERP_LCA_LEFT]) > 0.01);
    CHECK_NEAR(residual[INTERP_LCA_LEFT], -residual[INTERP_LCA_RIGHT], SUM_TOLERANCE);
}

/* The error of a composite rule falls with the fourth power of the splits. */
TEST(splits_are_doubled_until_the_tolerance_holds)
{
    const interp_dataset data = clouds();
    double before = 1;
    int splits = 0;
    for (double tolerance = 1e-2; tolerance > 5e-7; tolerance /= 10) {
        interp_net *net = smooth_net(ctx);
        interp_lca_desc d;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d);
        d.tolerance = tolerance, d.max_splits = 1024;
        interp_lca *lca = stepped(net, &data, &d, 0.5f, 2, &info);
        CHECK(info.resolved && fabs(info.residual) <= tolerance);
        CHECK(info.splits >= splits && fabs(info.residual) <= before);
        splits = info.splits, before = fabs(info.residual);
        d.max_splits = 2; /* too few are said to be */
        interp_lca_free(lca);
        lca = stepped(net, &data, &d, 0.5f, 2, &info);
        CHECK(info.splits == 2 && info.resolved == (fabs(info.residual) <= tolerance));
        if (tolerance < 1e-5) CHECK(!info.resolved);
        interp_lca_free(lca);
        interp_net_free(net);
    }
    CHECK(splits >= 8);
}

/* Through the training's hook and through calls of one's own; at one thread and at three; in one chunk
   and in nine, three at a time; offline from what the parameters were. */
TEST(a_loop_of_ones_own_allocates_the_same)
{
    const interp_dataset data = clouds();
    enum { STEPS = 6, P = D * 20 + 20 + 20 * 10 + 10 + 10 * K + K };
    static double hooked[STEPS][P], in_chunks[STEPS][P];
    static float path[STEPS + 1][P];
    for (int way = 0; way < 5; way++) { /* own loop, 1 and 3 threads; chunks, with both; offline */
        interp_desc open;
        memset(&open, 0, sizeof open);
        open.threads = way == 1 || way == 3 ? 3 : 1;
        interp_ctx *c = interp_open(&open);
        interp_net *net = new_net(c, "mlp:6-20-10-3");
        interp_train_desc t;
        interp_trainer *trainer = NULL;
        interp_lca *lca = NULL;
        interp_lca_desc d;
        interp_lca_step_info info;
        memset(&t, 0, sizeof t), memset(&d, 0, sizeof d);
        t.batch = 20, t.optimizer = INTERP_SGD, t.lr = 0.1f;
        d.chunk = way == 2 || way == 3 ? 7 : 0;
        REQUIRE(interp_net_describe(net).n_parameters == P);
        REQUIRE_OK(c, interp_trainer_new(net, &t, 0, &trainer));
        REQUIRE_OK(c, interp_lca_new(net, &data, &d, &lca));
        REQUIRE_OK(c, interp_lca_begin(lca));
        for (int s = 0; s < STEPS; s++) {
            const int at = s % 3 * 20;
            float *p = interp_net_parameters(net);
            if (way == 0) memcpy(path[s], p, sizeof path[s]);
            if (way < 4)
                REQUIRE_OK(c, interp_trainer_step(trainer, data.x + at * D, data.y + at, NULL, 20,
                                                  NULL, NULL));
            else memcpy(p, path[s + 1], sizeof path[0]);
            if (way == 0) memcpy(path[s + 1], p, sizeof path[0]);
            REQUIRE_OK(c, interp_lca_step(lca, &info));
            CHECK(!memcmp(p, path[s + 1], sizeof path[0])); /* the net is as it was */
            if (way == 0) memcpy(hooked[s], info.lca, sizeof hooked[s]);
            double most = 0, off = 0;
            for (int i = 0; i < P; i++) {
                most = fmax(most, fabs(hooked[s][i]));
                off = fmax(off, fabs(hooked[s][i] - info.lca[i]));
                CHECK((double)info.moved[i] == (double)(path[s + 1][i] - path[s][i]));
            }
            if (way != 2 && way != 3) CHECK(off == 0);
            if (way == 2) memcpy(in_chunks[s], info.lca, sizeof in_chunks[s]);
            if (way == 3) CHECK(!memcmp(in_chunks[s], info.lca, sizeof in_chunks[s]));
            CHECK(off <= SUM_TOLERANCE * most);
        }
        interp_lca_free(lca);
        interp_trainer_free(trainer);
        interp_net_free(net);
        interp_close(c);
    }
}

/* So wide that the samples of a chunk do not go through in one pass. */
TEST(threads_do_not_change_how_samples_are_cut)
{
    const interp_dataset data = clouds();
    static double first[6 * 6000 + 6000 + 6000 * K + K];
    for (int threads = 1; threads < 5; threads++) {
        interp_desc open;
        interp_lca_step_info info;
        memset(&open, 0, sizeof open);
        open.threads = threads;
        interp_ctx *c = interp_open(&open);
        interp_net *net = new_net(c, "mlp:6-6000-3");
        interp_lca *lca = stepped(net, &data, NULL, 0.01f, 4, &info);
        REQUIRE(lca && interp_net_describe(net).n_parameters * sizeof *first == sizeof first);
        if (threads == 1) memcpy(first, info.lca, sizeof first);
        CHECK(!memcmp(first, info.lca, sizeof first));
        CHECK(fabs(info.loss_after - info.loss_before) > 1e-4);
        interp_lca_free(lca);
        interp_close(c);
    }
}

TEST(classes_and_validation_have_sums_of_their_own)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "mlp");
    const size_t n = interp_net_describe(net).n_parameters;
    int32_t *layer = (int32_t *)malloc(n * sizeof *layer);
    int layers = 0;
    REQUIRE_OK(ctx, interp_net_groups(net, INTERP_BY_LAYER, layer, &layers, NULL));
    CHECK(layers == 2);
    interp_lca_desc d;
    interp_lca *lca = NULL;
    interp_lca_step_info info;
    memset(&d, 0, sizeof d);
    d.groups = layer, d.n_groups = layers, d.validation = &data, d.chunk = 8;
    REQUIRE_OK(ctx, interp_lca_new(net, &data, &d, &lca));
    REQUIRE_OK(ctx, interp_lca_begin(lca));
    for (int s = 0; s < 3; s++) {
        nudge(net, 0.1f, (uint64_t)s);
        REQUIRE_OK(ctx, interp_lca_step(lca, &info));
        double by_layer[2] = {0, 0}, parts[2] = {0, 0}, most = 0;
        for (size_t i = 0; i < n; i++) by_layer[layer[i]] += info.lca[i];
        for (int c = 0; c < K; c++)
            for (int k = 0; k < layers; k++) {
                parts[k] += info.parts[c * layers + k];
                most = fmax(most, fabs(info.parts[c * layers + k]));
            }
        CHECK(most > 1e-3);
        CHECK_NEAR(parts[0], by_layer[0], SUM_TOLERANCE);
        CHECK_NEAR(parts[1], by_layer[1], SUM_TOLERANCE);
        CHECK_NEAR(info.val_before, info.loss_before,
                   1e-6); /* the same samples, in another order */
        CHECK_NEAR(info.val_allocated, info.allocated, SUM_TOLERANCE);
        CHECK(fabs(info.val_residual) <= 1e-3);
    }
    interp_lca_free(lca);
    interp_net_free(net);
    free(layer);
}

/* The samples of a class, or only number `only` where that is not negative. */
static interp_dataset some_of(const interp_dataset *data, int label, int only)
{
    static float x[N * D];
    static int32_t y[N];
    interp_dataset some = *data;
    some.n = 0, some.x = x, some.y = y;
    for (int i = 0; i < data->n; i++)
        if (only < 0 ? data->y[i] == label : i == only) {
            memcpy(x + some.n * D, data->x + i * D, D * sizeof *x);
            y[some.n++] = data->y[i];
        }
    return some;
}

/* The loss of each class by itself, from data that has no others. */
TEST(sums_by_class_are_those_of_its_samples_alone)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "mlp");
    int32_t *all = (int32_t *)calloc(interp_net_describe(net).n_parameters, sizeof *all);
    interp_lca_desc d;
    interp_lca_step_info info, alone;
    memset(&d, 0, sizeof d);
    d.rule = INTERP_LCA_TRAPEZOID, d.groups = all, d.n_groups = 1;
    interp_lca *lca = stepped(net, &data, &d, 0.2f, 4, &info);
    d.groups = NULL, d.n_groups = 0;
    for (int c = 0; c < K && lca; c++) {
        const interp_dataset some = some_of(&data, c, -1);
        interp_lca_free(stepped(net, &some, &d, 0.2f, 4, &alone));
        CHECK_NEAR(info.parts[c], alone.allocated * some.n / N, SUM_TOLERANCE);
        CHECK_NEAR(info.part_change[c], (alone.loss_after - alone.loss_before) * some.n / N,
                   SUM_TOLERANCE);
    }
    interp_lca_free(lca);
    interp_net_free(net);
    free(all);
}

/* Each example by itself, of all examples and of some of them; by two layers. */
TEST(allocations_of_an_example_are_those_of_it_alone)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "mlp");
    const size_t n = interp_net_describe(net).n_parameters;
    int32_t *layer = (int32_t *)malloc(n * sizeof *layer), part[N];
    int layers = 0;
    REQUIRE_OK(ctx, interp_net_groups(net, INTERP_BY_LAYER, layer, &layers, NULL));
    for (int few = 0; few < 2; few++) { /* the context has two threads */
        const int n_parts = few ? 3 : N, jump = N / n_parts;
        interp_lca_desc d;
        interp_lca_step_info info, alone;
        memset(&d, 0, sizeof d);
        d.max_splits = 2, d.groups = layer, d.n_groups = layers, d.parts = part,
        d.n_parts = n_parts;
        for (int i = 0; i < N; i++) part[i] = i % jump ? -1 : i / jump;
        interp_lca *lca = stepped(net, &data, &d, 0.05f, 4, &info);
        double by_layer[2] = {0, 0}, sum[2] = {0, 0}, change = 0;
        REQUIRE(lca && layers == 2);
        for (size_t i = 0; i < n; i++) by_layer[layer[i]] += info.lca[i];
        for (int k = 0; k < n_parts; k++) {
            double own[2] = {0, 0};
            const interp_dataset one = some_of(&data, 0, k * jump);
            sum[0] += info.parts[2 * k], sum[1] += info.parts[2 * k + 1];
            change += info.part_change[k];
            if (k % 7) continue;
            interp_lca_desc plain;
            memset(&plain, 0, sizeof plain);
            plain.max_splits = 2;
            interp_lca *other = stepped(net, &one, &plain, 0.05f, 4, &alone);
            for (size_t i = 0; i < n; i++) own[layer[i]] += alone.lca[i] / N;
            CHECK_NEAR(info.parts[2 * k], own[0], SUM_TOLERANCE / N);
            CHECK_NEAR(info.parts[2 * k + 1], own[1], SUM_TOLERANCE / N);
            CHECK_NEAR(info.part_change[k], (alone.loss_after - alone.loss_before) / N,
                       SUM_TOLERANCE / N);
            interp_lca_free(other);
        }
        for (int k = 0; k < 2 && !few; k++) CHECK_NEAR(sum[k], by_layer[k], SUM_TOLERANCE);
        if (!few) CHECK_NEAR(change, info.loss_after - info.loss_before, SUM_TOLERANCE);
        interp_lca_free(lca);
    }
    interp_net_free(net);
    free(layer);
}

TEST(a_penalty_is_allocated_to_the_weights_it_is_about)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "linear");
    const size_t n = interp_net_describe(net).n_parameters;
    double *plain = (double *)malloc(n * sizeof *plain);
    for (int on = 0; on < 2; on++) {
        interp_lca_desc d;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d);
        d.rule = INTERP_LCA_TRAPEZOID, d.l2 = on ? 0.5 : 0;
        interp_lca *lca = stepped(net, &data, &d, 0.2f, 4, &info);
        const float *before = interp_net_parameters(net);
        float after[D * K + K];
        memcpy(after, before, sizeof after);
        nudge(net, 0.2f, 4);
        for (size_t i = 0; i < n; i++) {
            const double p = (double)before[i],
                         square = p * p - (double)after[i] * (double)after[i];
            if (!on) plain[i] = info.lca[i];
            else CHECK_NEAR(info.lca[i] - plain[i], i < D * K ? 0.5 * square : 0, 1e-12);
        }
        memcpy(interp_net_parameters(net), after, sizeof after);
        interp_lca_free(lca);
    }
    interp_net_free(net);
    free(plain);
}

/* A loss of half the samples, and how far the whole one may be from it: 95 of 100 times within. */
TEST(a_subsample_tells_how_sure_it_is)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "mlp");
    int inside = 0;
    enum { TRIES = 200 };
    interp_lca_desc d;
    interp_lca_step_info a, b;
    memset(&d, 0, sizeof d);
    d.rule = INTERP_LCA_LEFT;
    interp_lca *whole = begun(net, &data, &d);
    d.subsample = N / 2;
    interp_lca *part = begun(net, &data, &d);
    for (int i = 0; i < TRIES; i++) {
        nudge(net, 0.02f, (uint64_t)i);
        REQUIRE_OK(ctx, interp_lca_step(part, &a));
        REQUIRE_OK(ctx, interp_lca_step(whole, &b));
        CHECK(a.interval > 0 && b.interval == 0);
        inside +=
            fabs((a.loss_after - a.loss_before) - (b.loss_after - b.loss_before)) <= a.interval;
    }
    CHECK(inside >= 180 && inside <= 199); /* 190, give or take three standard deviations */
    interp_lca_free(part);
    interp_lca_free(whole);
    interp_net_free(net);
}

/* Two processes, each with every other chunk, as the hook of an MPI program would join them. */
typedef struct meeting {
    double *values; /* of the first half, then their sums */
    size_t n, at, room;
    bool second;
} meeting;

static void meet(double *values, size_t n, void *user)
{
    meeting *m = (meeting *)user;
    for (size_t i = 0; i < n; i++, m->at++) {
        if (m->at >= m->room) {
            CHECK(m->at < m->room);
            return;
        }
        if (m->second) values[i] += m->values[m->at];
        else m->values[m->at] = values[i];
        if (!m->second && m->at == 0) values[i] = N; /* how many samples all have */
    }
}

/* The parts run one after the other here, so the first does not see the sums: with a rule that needs
   both ends only, the second one's results are right all the same. */
TEST(parts_of_the_data_join_to_the_whole)
{
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "mlp");
    const size_t n = interp_net_describe(net).n_parameters;
    double *whole = (double *)malloc(n * sizeof *whole);
    float *start = (float *)malloc(n * sizeof *start);
    meeting m;
    memset(&m, 0, sizeof m);
    m.room = 8 * n + 64;
    m.values = (double *)malloc(m.room * sizeof *m.values);
    for (int part = 0; part < 3; part++) { /* all; the first half; the second, joined to it */
        interp_dataset some = data;
        interp_lca_desc d;
        interp_lca *lca = NULL;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d);
        d.rule = INTERP_LCA_TRAPEZOID, d.chunk = N / 2;
        if (part) {
            d.allreduce = meet, d.allreduce_user = &m;
            some.n = N / 2, m.at = 0, m.second = part == 2;
            some.x += part == 2 ? N / 2 * D : 0, some.y += part == 2 ? N / 2 : 0;
        }
        float *p = interp_net_parameters(net);
        if (!part) memcpy(start, p, n * sizeof *p);
        memcpy(p, start, n * sizeof *p);
        REQUIRE_OK(ctx, interp_lca_new(net, &some, &d, &lca));
        REQUIRE_OK(ctx, interp_lca_begin(lca));
        nudge(net, 0.2f, 4);
        REQUIRE_OK(ctx, interp_lca_step(lca, &info));
        double most = 0, off = 0;
        for (size_t i = 0; i < n; i++) {
            if (!part) whole[i] = info.lca[i];
            most = fmax(most, fabs(whole[i]));
            off = fmax(off, fabs(whole[i] - info.lca[i]));
        }
        if (part == 2) CHECK(off <= 1e-10 * most);
        interp_lca_free(lca);
    }
    interp_net_free(net);
    free(whole);
    free(start);
    free(m.values);
}

/* A linear net under squared error: the Hessian of each output's weights and bias is the same, that of
   the second moments of the inputs and a one, times 2 / outputs. */
TEST(curvature_of_a_quadratic_loss_is_known)
{
    enum { M = D + 1, P = D * K + K };
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "linear");
    static float v[(K + 1) * P], more[P];
    double h[M][M], values[K + 1], x[M], top = 0;
    interp_lca_desc d;
    memset(&d, 0, sizeof d), memset(h, 0, sizeof h);
    d.loss = INTERP_MSE;
    for (int i = 0; i < N; i++)
        for (int a = 0; a < M; a++)
            for (int b = 0; b < M; b++)
                h[a][b] += 2.0 / K / N * (a < D ? (double)data.x[i * D + a] : 1) *
                           (b < D ? (double)data.x[i * D + b] : 1);
    for (int a = 0; a < M; a++) x[a] = 1;
    for (int round = 0; round < 500; round++) { /* its largest eigenvalue by powers */
        double y[M] = {0}, norm = 0;
        for (int a = 0; a < M; a++)
            for (int b = 0; b < M; b++) y[a] += h[a][b] * x[b];
        for (int a = 0; a < M; a++) norm += y[a] * y[a];
        for (int a = 0; a < M; a++) x[a] = y[a] / sqrt(norm);
        top = sqrt(norm);
    }
    interp_lca *lca = begun(net, &data, &d);
    float before[P];
    memcpy(before, interp_net_parameters(net), sizeof before);
    /* differences of float32 gradients over a thousandth of the norm are good to 1e-3 */
    REQUIRE_OK(ctx, interp_lca_curvature(lca, 2, 6, NULL, 0, v, values));
    CHECK(!memcmp(before, interp_net_parameters(net), sizeof before));
    CHECK_NEAR(values[0], top, 2e-3 * top);
    CHECK(values[1] < values[0]);
    double dot = 0, off = 0; /* the vector is the same combination of inputs in each output */
    for (int i = 0; i < P; i++) dot += (double)v[i] * (double)v[P + i];
    CHECK_NEAR(dot, 0, 1e-5);
    for (int k = 0; k < K; k++) {
        double along = 0, square = 0;
        for (int a = 0; a < M; a++) {
            const double e = (double)(a < D ? v[a * K + k] : v[D * K + k]);
            along += e * x[a], square += e * e;
        }
        off += square - along * along;
    }
    CHECK_NEAR(off, 0, 1e-4);
    /* what is found next beside it is as curved: another output's */
    REQUIRE_OK(ctx, interp_lca_curvature(lca, 1, 6, v, 1, more, values));
    dot = 0;
    for (int i = 0; i < P; i++) dot += (double)v[i] * (double)more[i];
    CHECK_NEAR(dot, 0, 1e-5);
    CHECK_NEAR(values[0], top, 2e-3 * top);
    CHECK(interp_lca_curvature(lca, 0, 0, NULL, 0, v, values) == INTERP_BAD_ARGUMENT);
    CHECK(interp_lca_curvature(lca, 7, 6, NULL, 0, v, values) == INTERP_BAD_ARGUMENT);
    interp_lca_free(lca);
    interp_net_free(net);
}

/* Along all directions of a basis there is no rest; along single parameters they are what they were; and
   those of examples add up to them. */
TEST(allocations_along_directions_add_up)
{
    enum { P = D * K + K, FEW = 4 };
    const interp_dataset data = clouds();
    interp_net *net = new_net(ctx, "linear");
    static float v[P * P], top[FEW * P];
    static int32_t group[P], part[N];
    double values[FEW];
    interp_lca_desc d;
    interp_lca_step_info info;
    memset(&d, 0, sizeof d);
    interp_lca *lca = begun(net, &data, &d);
    REQUIRE_OK(ctx, interp_lca_curvature(lca, FEW, 0, NULL, 0, top, values));
    interp_lca_free(lca);
    for (int i = 0; i < P; i++) v[i * P + P - 1 - i] = 1;
    for (int i = 0; i < N; i++) part[i] = i;
    for (int way = 0; way < 2; way++) { /* every parameter, the last first; the most curved four */
        d.directions = way ? top : v, d.n_directions = way ? FEW : P;
        d.groups = group, d.n_groups = 1, d.parts = part, d.n_parts = N;
        lca = stepped(net, &data, &d, 0.1f, 4, &info);
        REQUIRE(lca);
        double sum = 0;
        for (int k = 0; k <= d.n_directions; k++) sum += info.directions[k];
        CHECK_NEAR(sum, info.allocated, 1e-12);
        if (!way) CHECK_NEAR(info.directions[P], 0, 1e-12);
        for (int i = 0; i < P && !way; i++)
            CHECK_NEAR(info.directions[i], info.lca[P - 1 - i], 1e-12);
        for (int k = 0; k < d.n_directions; k++) {
            double of_all = 0;
            for (int i = 0; i < N; i++) of_all += info.parts[i * (1 + d.n_directions) + 1 + k];
            CHECK_NEAR(of_all, info.directions[k], SUM_TOLERANCE);
        }
        interp_lca_free(lca);
    }
    for (int i = 0; i < P; i++) top[i] *= 2;
    lca = NULL;
    CHECK(interp_lca_new(net, &data, &d, &lca) == INTERP_BAD_ARGUMENT && !lca);
    CHECK(strstr(interp_error(ctx), "not orthonormal") != NULL);
    interp_net_free(net);
}

TEST(groups_cover_every_parameter_once)
{
    const interp_shape image = {3, {1, 8, 8, 1, 1, 1, 1, 1}};
    interp_net *net = NULL;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "resnet20", &image, 4, 1, &net));
    const size_t n = interp_net_describe(net).n_parameters;
    int32_t *id = (int32_t *)malloc(n * sizeof *id);
    for (int how = 0; how < 4; how++) {
        int count = 0;
        REQUIRE_OK(ctx, interp_net_groups(net, (interp_grouping)how, id, &count, NULL));
        int *seen_here = (int *)calloc((size_t)count, sizeof *seen_here);
        for (size_t i = 0; i < n; i++) {
            CHECK(id[i] >= 0 && id[i] < count);
            seen_here[id[i]]++;
        }
        for (int k = 0; k < count; k++) CHECK(seen_here[k] > 0 || how == INTERP_BY_KIND);
        free(seen_here);
        if (how == INTERP_BY_VARIABLE) CHECK(count == interp_net_parameter_count(net));
    }
    int count = 0;
    CHECK(interp_net_groups(net, INTERP_BY_INPUT, id, &count, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
    net = new_net(ctx, "mlp:6-20-10-3");
    REQUIRE_OK(ctx, interp_net_groups(net, INTERP_BY_NEURON, id, &count, NULL));
    CHECK(count == 33); /* a weight goes with the bias of the unit it leads to */
    CHECK(id[0] == 0 && id[1] == 1 && id[20] == 0 && id[6 * 20] == 0 && id[6 * 20 + 19] == 19);
    CHECK(id[6 * 20 + 20] == 20);
    REQUIRE_OK(ctx, interp_net_groups(net, INTERP_BY_INPUT, id, &count, NULL));
    CHECK(count == 7 && id[0] == 0 && id[19] == 0 && id[20] == 1 && id[6 * 20] == 6);
    interp_net_free(net);
    free(id);
}

TEST(groups_have_names)
{
    char name[64];
    interp_net *net = new_net(ctx, "mlp:6-20-10-3");
    interp_net_group_name(net, INTERP_BY_LAYER, 1, name, sizeof name);
    CHECK_STR(name, "dense2");
    interp_net_group_name(net, INTERP_BY_VARIABLE, 1, name, sizeof name);
    CHECK_STR(name, "dense1.bias");
    interp_net_group_name(net, INTERP_BY_KIND, 1, name, sizeof name);
    CHECK_STR(name, "biases");
    interp_net_group_name(net, INTERP_BY_NEURON, 23, name, sizeof name);
    CHECK_STR(name, "dense2 3");
    interp_net_group_name(net, INTERP_BY_INPUT, 6, name, sizeof name);
    CHECK_STR(name, "others");
    interp_net_group_name(net, INTERP_BY_LAYER, 3, name, sizeof name);
    CHECK_STR(name, "");
    interp_net_free(net);
}

TEST(groups_by_pattern_hold_what_matches_alike)
{
    interp_net *net = new_net(ctx, "mlp:6-20-10-3");
    int32_t id[D * 20 + 20 + 20 * 10 + 10 + 10 * K + K], of[6];
    int count = 0;
    REQUIRE_OK(ctx, interp_net_groups_match(net, "weight|bias", id, &count, of));
    CHECK(count == 2 && id[0] == 0 && id[D * 20] == 1 && id[D * 20 + 20] == 0);
    for (int i = 0; i < 6; i++) CHECK(of[i] == i % 2);
    REQUIRE_OK(ctx, interp_net_groups_match(net, "dense[13]", id, &count, of)); /* and the others */
    CHECK(count == 3 && id[0] == 0 && id[D * 20 + 20] == 2 && id[380] == 1);
    CHECK(of[0] == 0 && of[1] == 0 && of[2] == 2 && of[5] == 1);
    REQUIRE_OK(ctx, interp_net_groups_match(net, "^conv", NULL, &count, NULL));
    CHECK(count == 1);
    CHECK(interp_net_groups_match(net, "conv[", NULL, &count, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

TEST(bad_options_are_refused_with_a_sentence)
{
    interp_dataset data = clouds(), none = data;
    interp_net *net = new_net(ctx, "linear");
    interp_lca_desc d;
    interp_lca *lca = NULL;
    none.y = NULL, none.n_classes = 0;
    CHECK(interp_lca_new(net, &none, NULL, &lca) == INTERP_BAD_ARGUMENT);
    for (int i = 0; i < 9; i++) {
        static const int32_t wrong[D * K + K] = {5}, part[N] = {-1, 2};
        memset(&d, 0, sizeof d);
        if (i == 0) d.tolerance = -1;
        if (i == 1) d.max_splits = 1;
        if (i == 2) d.subsample = N + 1;
        if (i == 3) d.groups = wrong, d.n_groups = 5;
        if (i == 4) d.rule = (interp_lca_rule)9;
        if (i == 5) d.subsample = 10, d.groups = wrong, d.n_groups = 6;
        if (i == 6) d.parts = part, d.n_parts = 3;
        if (i > 6) d.parts = part, d.n_parts = 2, d.groups = wrong, d.n_groups = 6;
        if (i == 8) d.n_parts = 3, d.mode = INTERP_BATCH_STATS;
        CHECK(interp_lca_new(net, &data, &d, &lca) == INTERP_BAD_ARGUMENT && !lca);
        CHECK(strncmp(interp_error(ctx), "lca: ", 5) == 0);
    }
    REQUIRE_OK(ctx, interp_lca_new(net, &data, NULL, &lca));
    interp_lca_step_info info;
    CHECK(interp_lca_step(lca, &info) == INTERP_BAD_ARGUMENT); /* not begun */
    REQUIRE_OK(ctx, interp_lca_begin(lca));
    float *p = interp_net_parameters(net), kept = p[0];
    p[0] = NAN;
    CHECK(interp_lca_step(lca, &info) == INTERP_NOT_FINITE);
    p[0] = kept + 0.5f; /* and the path still starts where it did */
    REQUIRE_OK(ctx, interp_lca_step(lca, &info));
    CHECK(info.step == 1 && (double)info.moved[0] == (double)(p[0] - kept));
    CHECK(fabs(info.residual) < 1e-3 && info.lca[0] != 0 && info.lca[1] == 0);
    interp_lca_free(lca);
    interp_lca_free(NULL);
    interp_net_free(net);
}

TEST(allocation_survives_every_failing_allocation)
{
    const interp_dataset data = clouds();
    interp_desc open;
    memset(&open, 0, sizeof open);
    open.threads = 1;
    open.allocator.alloc = heap_alloc, open.allocator.free = heap_free;
    bool done = false;
    for (int i = 0; i < 200 && !done; i++) {
        heap.fail_at = 0;
        interp_ctx *c = interp_open(&open);
        interp_net *net = new_net(c, "linear");
        const size_t held = heap.held;
        static const int32_t groups[D * K + K];
        int32_t part[N];
        interp_lca_desc d;
        interp_lca *lca = NULL;
        memset(&d, 0, sizeof d);
        d.validation = &data, d.groups = groups, d.n_groups = 1, d.chunk = 20;
        d.parts = part, d.n_parts = 2; /* and a workspace of their own */
        for (int k = 0; k < N; k++) part[k] = k < 10 ? k % 2 : -1;
        heap_fail_after(i);
        interp_status s = interp_lca_new(net, &data, &d, &lca);
        CHECK(s == INTERP_OK || (s == INTERP_NO_MEMORY && !lca));
        const long calls = heap.calls;
        if (!s) s = interp_lca_begin(lca);
        nudge(net, 0.1f, 1);
        if (!s) s = interp_lca_step(lca, NULL);
        CHECK(heap.calls == calls || s); /* a step allocates nothing */
        interp_lca_free(lca);
        CHECK(heap.held == held);
        done = !s;
        interp_close(c);
        CHECK(heap.held == 0);
    }
    CHECK(done);
}

TEST(allocations_match_a_double_precision_path)
{
    static const char *const folders[] = {"iris_mlp", "digits_mlp"};
    for (int f = 0; f < 2; f++) {
        char path[256];
        interp_net *net = NULL;
        interp_array weights, x, y, want;
        interp_dataset data;
        memset(&data, 0, sizeof data);
        snprintf(path, sizeof path, REFS "%s/model.onnx", folders[f]);
        if (interp_onnx_load(ctx, path, NULL, &net)) SKIP("no " REFS);
        snprintf(path, sizeof path, REFS "%s/weights.npy", folders[f]);
        REQUIRE_OK(ctx, interp_npy_read(ctx, path, &weights));
        snprintf(path, sizeof path, REFS "%s/x.npy", folders[f]);
        REQUIRE_OK(ctx, interp_npy_read(ctx, path, &x));
        snprintf(path, sizeof path, REFS "%s/y.npy", folders[f]);
        REQUIRE_OK(ctx, interp_npy_read(ctx, path, &y));
        snprintf(path, sizeof path, REFS "%s/lca_simpson2.f64.npy", folders[f]);
        REQUIRE_OK(ctx, interp_npy_read(ctx, path, &want));
        REQUIRE_OK(ctx, interp_array_to_f32(ctx, &x));
        REQUIRE_OK(ctx, interp_array_to_f32(ctx, &weights));
        const int steps = weights.shape.dim[0] - 1, n = weights.shape.dim[1];
        data.y = (int32_t *)malloc((size_t)x.shape.dim[0] * sizeof *data.y);
        REQUIRE_OK(ctx, interp_array_ints(ctx, &y, data.y));
        data.x = (float *)x.data, data.n = x.shape.dim[0];
        data.shape = interp_net_input_shape(net, 0);
        const interp_shape out = interp_net_output_shape(net, 0);
        data.n_classes = out.dim[0];
        interp_lca_desc d;
        interp_lca *lca = NULL;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d);
        d.max_splits = 2;
        REQUIRE_OK(ctx, interp_lca_new(net, &data, &d, &lca));
        double most = 0, off = 0;
        for (int t = 0; t <= steps; t++) {
            memcpy(interp_net_parameters(net), (const float *)weights.data + (size_t)t * (size_t)n,
                   (size_t)n * sizeof(float));
            if (!t) REQUIRE_OK(ctx, interp_lca_begin(lca));
            else REQUIRE_OK(ctx, interp_lca_step(lca, &info));
            const double *row = (const double *)want.data + (size_t)(t - 1) * (size_t)n;
            for (int i = 0; t && i < n; i++) {
                most = fmax(most, fabs(row[i]));
                off = fmax(off, fabs(row[i] - info.lca[i]));
            }
        }
        CHECK(most > 0 && off <= REFERENCE_TOLERANCE * most);
        interp_lca_free(lca);
        interp_net_free(net);
        free(data.y);
        interp_array_free(ctx, &weights), interp_array_free(ctx, &x), interp_array_free(ctx, &y);
        interp_array_free(ctx, &want);
    }
}

/* ---- figures over a run */

enum { RUN_STEPS = 70, RUN_P = D * 20 + 20 + 20 * 10 + 10 + 10 * K + K, RUN_LAYERS = 3 };

static double run_lca[RUN_STEPS][RUN_P], run_val[RUN_STEPS][RUN_P];
static float run_moved[RUN_STEPS][RUN_P];

/* A run of random numbers, a fifth of them zero; the first steps small, so that bins must widen. */
static interp_lca_analysis *random_run(const interp_net *net, const interp_lca_analysis_desc *d)
{
    interp_lca_analysis *a = NULL;
    if (interp_lca_analysis_new(net, d, &a)) return NULL;
    for (int t = 0; t < RUN_STEPS; t++) {
        interp_lca_step_info info;
        memset(&info, 0, sizeof info);
        for (int i = 0; i < RUN_P; i++) {
            const uint64_t at = (uint64_t)(t * RUN_P + i);
            const double v = (double)interp_random_normal(1, 1, at) - 0.1;
            run_lca[t][i] = interp_random_u32(1, 2, at) % 5 ? v * (t < 5 ? 1e-3 : 1) : 0;
            run_val[t][i] = (double)interp_random_normal(1, 3, at);
            run_moved[t][i] = interp_random_normal(1, 4, at);
        }
        info.step = t + 1, info.lca = run_lca[t], info.val_lca = run_val[t];
        info.moved = run_moved[t], info.loss_after = t;
        CHECK_OK(ctx, interp_lca_analysis_step(&info, a));
    }
    return a;
}

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

/* Everything by its definition, from the whole array. */
TEST(figures_of_a_run_are_those_of_its_array)
{
    interp_net *net = new_net(ctx, "mlp:6-20-10-3");
    interp_lca_analysis_desc d;
    memset(&d, 0, sizeof d);
    d.validation = d.inputs = true, d.sample = 2000;
    interp_lca_analysis *a = random_run(net, &d);
    REQUIRE(a && interp_net_describe(net).n_parameters == RUN_P);
    const interp_lca_run r = interp_lca_analysis_run(a);
    CHECK(r.steps == RUN_STEPS && r.layers == RUN_LAYERS && r.neurons == 33 && r.inputs == 7);
    CHECK(r.step[3].step == 4 && r.step[3].lca == NULL && !r.part_layer);
    size_t counted = 0, not_zero = 0;
    for (int layer = -1; layer < RUN_LAYERS; layer++) {
        interp_lca_figures f;
        double n = 0, total = 0, val = 0, helped = 0, zero = 0, help = 0, size = 0, hurting = 0;
        double turns[4] = {0}, most = 0, bias = 0;
        REQUIRE_OK(ctx, interp_lca_analysis_figures(a, layer, &f));
        for (int t = 0; t < RUN_STEPS; t++) {
            double here = 0;
            for (int i = 0; i < RUN_P; i++) {
                if (layer >= 0 && r.layer_of[i] != layer) continue;
                const double v = run_lca[t][i], m = (double)run_moved[t][i];
                total += v, val += run_val[t][i], here += v < 0, zero += v == 0;
                help += v < 0 ? -v : 0, size += fabs(v);
                bias +=
                    (i >= D * 20 && i < D * 20 + 20) || (i >= 340 && i < 350) || i >= 380 ? v : 0;
                if (t < 1) continue;
                const double w = run_lca[t - 1][i], o = (double)run_moved[t - 1][i];
                turns[0] += sign(v) * sign(m) * sign(w) * sign(o) < 0;
                turns[1] += sign(m) * sign(o) < 0, turns[2] += sign(v) * sign(w) < 0;
                if (t > 1) turns[3] += sign(v - w) * sign(w - run_lca[t - 2][i]) < 0;
            }
            helped += here, most = fmax(most, here);
        }
        for (int i = 0; i < RUN_P; i++) {
            double sum = 0;
            uint32_t times = 0;
            for (int t = 0; t < RUN_STEPS; t++) sum += run_lca[t][i], times += run_lca[t][i] < 0;
            if (layer >= 0 && r.layer_of[i] != layer) continue;
            n++, hurting += sum > 0;
            CHECK_NEAR(r.total[i], sum, 1e-12);
            CHECK(r.times_helped[i] == times);
        }
        const double all = n * RUN_STEPS;
        CHECK(f.parameters == (size_t)n && f.most_helped == most / n);
        CHECK_NEAR(f.total, total, 1e-9);
        CHECK_NEAR(f.overfit, total - val, 1e-9);
        CHECK_NEAR(f.kind[1], bias, 1e-9);
        CHECK_NEAR(f.kind[0] + f.kind[1], total, 1e-9);
        CHECK_NEAR(f.helped, helped / all, 1e-12);
        CHECK_NEAR(f.zero, zero / all, 1e-12);
        CHECK_NEAR(f.helped_of_moved, helped / (all - zero), 1e-12);
        CHECK_NEAR(f.helped_of_size, help / size, 1e-9);
        CHECK_NEAR(f.hurting, hurting / n, 1e-12);
        CHECK_NEAR(f.gradient_flips, turns[0] / n, 1e-12);
        CHECK_NEAR(f.weight_turns, turns[1] / n, 1e-12);
        CHECK_NEAR(f.lca_flips, turns[2] / n, 1e-12);
        CHECK_NEAR(f.lca_turns, turns[3] / n, 1e-12);
    }
    for (int t = 0; t < RUN_STEPS; t += 23) {
        double layer[RUN_LAYERS] = {0}, unit = 0, input = 0;
        for (int i = 0; i < RUN_P; i++) {
            layer[r.layer_of[i]] += run_lca[t][i];
            unit += r.neuron_of[i] == 21 ? run_lca[t][i] : 0;
            input += i >= 2 * 20 && i < 3 * 20 ? run_lca[t][i] : 0; /* what reads input 2 */
        }
        for (int k = 0; k < RUN_LAYERS; k++)
            CHECK_NEAR(r.layer[t * RUN_LAYERS + k], layer[k], 1e-12);
        CHECK_NEAR(r.neuron[t * r.neurons + 21], unit, 1e-5);
        CHECK_NEAR(r.input[t * r.inputs + 2], input, 1e-5);
    }
    static uint64_t bins[2 * INTERP_LCA_BINS];
    for (int t = 0; t < RUN_STEPS; t++)
        for (int i = 0; i < RUN_P; i++) {
            const int k = (int)(fabs(run_lca[t][i]) / r.bin_width);
            if (run_lca[t][i] == 0) continue;
            bins[run_lca[t][i] > 0 ? INTERP_LCA_BINS + k : INTERP_LCA_BINS - 1 - k]++, not_zero++;
        }
    for (int k = 0; k < 2 * INTERP_LCA_BINS; k++) counted += r.bins[k];
    CHECK(counted == not_zero && !memcmp(bins, r.bins, sizeof bins));
    CHECK(r.n_sample > 500 && r.n_sample <= 2000);
    double mean = 0; /* the sample is of the run: its mean within four of its errors */
    for (size_t i = 0; i < r.n_sample; i++) mean += (double)r.sample[i] / (double)r.n_sample;
    CHECK_NEAR(mean, -0.08, 4 * 0.9 / sqrt((double)r.n_sample));
    interp_lca_analysis_free(a);
    interp_net_free(net);
}

/* Groups of one's own stand where layers do. */
TEST(an_analysis_is_by_any_groups)
{
    interp_net *net = new_net(ctx, "mlp:6-20-10-3");
    interp_lca_analysis_desc d;
    interp_lca_figures f;
    int32_t id[RUN_P];
    memset(&d, 0, sizeof d);
    REQUIRE_OK(ctx, interp_net_groups(net, INTERP_BY_NEURON, id, &d.n_groups, NULL));
    d.groups = id;
    interp_lca_analysis *a = random_run(net, &d);
    REQUIRE(a);
    memset(id, 0, sizeof id); /* they were copied */
    const interp_lca_run r = interp_lca_analysis_run(a);
    CHECK(r.layers == 33 && r.layers == r.neurons);
    REQUIRE_OK(ctx, interp_lca_analysis_figures(a, 21, &f));
    double total = 0, bias = 0;
    for (int t = 0; t < RUN_STEPS; t++) {
        double sum = 0;
        for (int i = 0; i < RUN_P; i++) sum += r.neuron_of[i] == 21 ? run_lca[t][i] : 0;
        CHECK_NEAR(r.layer[t * r.layers + 21], sum, 1e-12);
        total += sum, bias += run_lca[t][D * 20 + 20 + 20 * 10 + 1];
    }
    CHECK(f.parameters == 21);
    CHECK_NEAR(f.total, total, 1e-9);
    CHECK_NEAR(f.kind[1], bias, 1e-9);
    interp_lca_analysis_free(a);
    a = NULL;
    id[5] = 33;
    CHECK(interp_lca_analysis_new(net, &d, &a) == INTERP_BAD_ARGUMENT && !a);
    interp_net_free(net);
}

TEST(movement_is_analysed_as_a_control)
{
    interp_net *net = new_net(ctx, "mlp:6-20-10-3");
    interp_lca_analysis_desc d;
    interp_lca_figures f;
    double moved = 0;
    memset(&d, 0, sizeof d);
    d.movement = true, d.steps = RUN_STEPS;
    interp_lca_analysis *a = random_run(net, &d);
    REQUIRE(a);
    for (int t = 0; t < RUN_STEPS; t++)
        for (int i = 0; i < RUN_P; i++) moved += (double)run_moved[t][i];
    REQUIRE_OK(ctx, interp_lca_analysis_figures(a, -1, &f));
    CHECK_NEAR(f.total, moved, 1e-9);
    CHECK(f.zero == 0 && isnan(f.overfit));
    CHECK(interp_lca_analysis_figures(a, 3, &f) == INTERP_BAD_ARGUMENT);
    interp_lca_analysis_free(a);
    interp_lca_analysis_free(NULL);
    interp_net_free(net);
}

TEST(concentration_of_known_totals)
{
    enum { P = D * K + K };
    static double lca[P];
    static float moved[P];
    interp_net *net = new_net(ctx, "linear");
    interp_lca_analysis *a = NULL;
    interp_lca_figures f;
    interp_lca_step_info info;
    memset(&info, 0, sizeof info);
    info.lca = lca, info.moved = moved;
    for (int i = 0; i < 10; i++) lca[i] = -1; /* ten alike help, one of 1 and one of 3 hurt */
    lca[12] = 1, lca[20] = 3;
    REQUIRE_OK(ctx, interp_lca_analysis_new(net, NULL, &a));
    REQUIRE_OK(ctx, interp_lca_analysis_step(&info, a));
    REQUIRE_OK(ctx, interp_lca_analysis_figures(a, -1, &f));
    CHECK_NEAR(f.gini_help, 0, 1e-15);
    CHECK_NEAR(f.gini_hurt, 0.25, 1e-15);
    CHECK_NEAR(f.top_share, 0.1, 1e-15);
    CHECK_NEAR(f.needed, 0.9, 1e-15);
    CHECK_NEAR(f.hurting, 2.0 / P, 1e-15);
    lca[0] = -90; /* and with 91 more of the first it does nearly all */
    REQUIRE_OK(ctx, interp_lca_analysis_step(&info, a));
    REQUIRE_OK(ctx, interp_lca_analysis_figures(a, -1, &f));
    CHECK_NEAR(f.top_share, 91.0 / 109, 1e-15);
    CHECK_NEAR(f.needed, 0.5, 1e-15); /* 91 and four of 2: 99 of 109 */
    CHECK_NEAR(f.gini_help, 9.0 * (91 - 2) / (10 * 109), 1e-15);
    info.lca = NULL;
    CHECK(interp_lca_analysis_step(&info, a) == INTERP_BAD_ARGUMENT);
    CHECK(interp_lca_analysis_run(a).steps == 2);
    interp_lca_analysis_free(a);
    interp_net_free(net);
}

/* The error of the estimated shape is 0.78 c / sqrt(n). */
TEST(tails_are_found_again)
{
    enum { DRAWS = 20000 };
    static float x[DRAWS];
    static const double shapes[] = {0.53, 1, 2.5};
    interp_lca_tail t;
    for (int s = 0; s < 3; s++) {
        for (int i = 0; i < DRAWS; i++) {
            const double u = 1 - (double)interp_random_uniform(5, 1, (uint64_t)i);
            x[i] = (float)(3e-8 * pow(-log(u), 1 / shapes[s])) * (i % 2 ? 1.0f : -1.0f);
        }
        x[0] = INFINITY, x[1] = 0;
        REQUIRE_OK(ctx, interp_lca_tail_fit(ctx, x, DRAWS, &t));
        CHECK(t.n >= DRAWS - 4 && t.n <= DRAWS - 2);
        CHECK_NEAR(t.shape, shapes[s], 4 * 0.78 * shapes[s] / sqrt(DRAWS));
        CHECK_NEAR(t.scale, 3e-8, 3e-8 * 4 * 1.06 / shapes[s] / sqrt(DRAWS));
        CHECK(t.distance < 1.95 / sqrt(DRAWS)); /* one of a thousand samples is further off */
    }
    for (int i = 0; i < DRAWS; i++) x[i] = interp_random_uniform(5, 2, (uint64_t)i); /* no tail */
    REQUIRE_OK(ctx, interp_lca_tail_fit(ctx, x, DRAWS, &t));
    CHECK(t.distance > 1.95 / sqrt(DRAWS) && t.shape > 1.2);
    REQUIRE_OK(ctx, interp_lca_tail_fit(ctx, x, 1, &t));
    CHECK(isnan(t.shape) && t.n == 1);
}

TEST(synchrony_is_told_from_chance)
{
    enum { STEPS = 300, SERIES = 4, TOP = 3 };
    static double s[STEPS * SERIES];
    static const double known[] = {0,  0,  -1, -1, 0,  0, -5, 1, 0, 0,
                                   -2, -9, 0,  0,  -3, 2, 0,  0, 1, -1};
    int32_t peaks[2 * TOP];
    interp_lca_synchrony y;
    interp_lca_peaks_desc d;
    memset(&d, 0, sizeof d);
    d.top = TOP;
    REQUIRE_OK(ctx, interp_lca_peaks(ctx, known, 10, 2, &d, peaks, &y));
    /* the first series at 1, 3, 5, 7 the lowest three of which count; the second at 1, 5 */
    CHECK(peaks[0] == 3 && peaks[1] == 5 && peaks[2] == 7);
    CHECK(peaks[3] == 1 && peaks[4] == 5 && peaks[5] == -1);
    CHECK(y.peaks == 5 && y.coincident == 1);
    for (int together = 0; together < 2; together++) {
        for (int t = 0; t < STEPS; t++)
            for (int k = 0; k < SERIES; k++)
                s[t * SERIES + k] = (double)interp_random_normal(3, (uint64_t)k, (uint64_t)t) +
                                    4 * together * (double)interp_random_normal(3, 9, (uint64_t)t);
        REQUIRE_OK(ctx, interp_lca_peaks(ctx, s, STEPS, SERIES, NULL, NULL, &y));
        CHECK(y.peaks == 80);
        /* 6 pairs of series, 20 peaks each: 6 * 20 * 20 / 300 are expected */
        CHECK_NEAR(y.expected, 8, 0.5);
        if (together) CHECK(y.p_value == 0.001 && y.coincident > 40);
        else CHECK(y.p_value > 0.02 && y.coincident < 16);
    }
    /* waves that only grow and fade together: their peaks gather, but not at the same steps */
    for (int t = 0; t < STEPS; t++)
        for (int k = 0; k < SERIES; k++)
            s[t * SERIES + k] =
                exp(-t / 20.0) * (double)interp_random_normal(3, (uint64_t)k, (uint64_t)t);
    REQUIRE_OK(ctx, interp_lca_peaks(ctx, s, STEPS, SERIES, NULL, NULL, &y));
    CHECK(y.p_value < 0.01);
    memset(&d, 0, sizeof d);
    d.reach = 10;
    REQUIRE_OK(ctx, interp_lca_peaks(ctx, s, STEPS, SERIES, &d, NULL, &y));
    CHECK(y.p_value > 0.02);
    d.reach = STEPS / 2;
    CHECK(interp_lca_peaks(ctx, s, STEPS, SERIES, &d, NULL, &y) == INTERP_BAD_ARGUMENT);
    CHECK(interp_lca_peaks(ctx, s, 0, SERIES, NULL, NULL, &y) == INTERP_BAD_ARGUMENT);
}

TEST(an_analysis_survives_every_failing_allocation)
{
    interp_desc open;
    static double lca[D * K + K];
    static float moved[D * K + K];
    memset(&open, 0, sizeof open);
    open.threads = 1;
    open.allocator.alloc = heap_alloc, open.allocator.free = heap_free;
    bool done = false;
    for (int i = 0; i < 200 && !done; i++) {
        heap.fail_at = 0;
        interp_ctx *c = interp_open(&open);
        interp_net *net = new_net(c, "linear");
        const size_t held = heap.held;
        interp_lca_analysis_desc d;
        interp_lca_analysis *a = NULL;
        interp_lca_figures f;
        interp_lca_tail tail;
        interp_lca_synchrony y;
        interp_lca_step_info info;
        memset(&d, 0, sizeof d), memset(&info, 0, sizeof info);
        d.steps = 1, d.validation = true;
        info.lca = info.val_lca = lca, info.moved = moved;
        heap_fail_after(i);
        interp_status s = interp_lca_analysis_new(net, &d, &a);
        CHECK(s == INTERP_OK || (s == INTERP_NO_MEMORY && !a));
        for (int t = 0; t < 3 && !s; t++) {
            s = interp_lca_analysis_step(&info, a);
            CHECK(interp_lca_analysis_run(a).steps == t + !s);
        }
        if (!s) s = interp_lca_analysis_figures(a, -1, &f);
        if (!s) s = interp_lca_tail_fit(c, moved, 9, &tail);
        if (!s) s = interp_lca_peaks(c, lca, 9, 2, NULL, NULL, &y);
        CHECK(s == INTERP_OK || s == INTERP_NO_MEMORY);
        interp_lca_analysis_free(a);
        CHECK(heap.held == held);
        done = !s;
        interp_close(c);
        CHECK(heap.held == 0);
    }
    CHECK(done);
}

int main(int argc, char **argv)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 2;
    ctx = interp_open(&d);
    RUN(allocations_add_up_to_the_loss_change);
    RUN(quadratic_losses_are_allocated_exactly);
    RUN(splits_are_doubled_until_the_tolerance_holds);
    RUN(a_loop_of_ones_own_allocates_the_same);
    RUN(threads_do_not_change_how_samples_are_cut);
    RUN(classes_and_validation_have_sums_of_their_own);
    RUN(sums_by_class_are_those_of_its_samples_alone);
    RUN(allocations_of_an_example_are_those_of_it_alone);
    RUN(a_penalty_is_allocated_to_the_weights_it_is_about);
    RUN(a_subsample_tells_how_sure_it_is);
    RUN(parts_of_the_data_join_to_the_whole);
    RUN(curvature_of_a_quadratic_loss_is_known);
    RUN(allocations_along_directions_add_up);
    RUN(groups_cover_every_parameter_once);
    RUN(groups_have_names);
    RUN(groups_by_pattern_hold_what_matches_alike);
    RUN(bad_options_are_refused_with_a_sentence);
    RUN(allocation_survives_every_failing_allocation);
    RUN(allocations_match_a_double_precision_path);
    RUN(figures_of_a_run_are_those_of_its_array);
    RUN(an_analysis_is_by_any_groups);
    RUN(movement_is_analysed_as_a_control);
    RUN(concentration_of_known_totals);
    RUN(tails_are_found_again);
    RUN(synchrony_is_told_from_chance);
    RUN(an_analysis_survives_every_failing_allocation);
    const size_t used = interp_memory_read(ctx).used;
    interp_close(ctx);
    if (used > 100000) test_fail(__FILE__, __LINE__, "%zu bytes were never freed", used);
    return test_end(argc, argv);
}

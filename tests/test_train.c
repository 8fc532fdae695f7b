/* Losses, optimisers, the training loop, checkpoints, evaluation. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

static interp_ctx *ctx; /* of all tests that do not open their own */

static struct {
    int calls, cancel_at; /* 0: never */
} progress;

static int on_progress(const interp_progress *p, void *user)
{
    (void)user;
    if (!strcmp(p->stage, "evaluate")) return 0;
    CHECK_STR(p->stage, "train");
    CHECK(p->done >= 0 && p->done <= p->total);
    return ++progress.calls == progress.cancel_at;
}

static interp_ctx *open_ctx(int threads)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = threads;
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free;
    d.progress = on_progress;
    return interp_open(&d);
}

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

static const char *checkpoint_path(void)
{
    static char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.200s/interp_test_train_%p.safetensors", tmp ? tmp : "/tmp",
             (void *)&heap);
    return path;
}

/* ---- data and nets */

/* n noisy images of `classes` patterns, every class as often as the others. */
static interp_dataset images(interp_ctx *c, int n, int size, int classes, double noise,
                             uint64_t stream)
{
    const interp_shape s = itp_shape_of(3, 1, size, size, 1);
    const int pixels = size * size;
    float *x = (float *)malloc(sizeof *x * (size_t)(n * pixels));
    int32_t *y = (int32_t *)malloc(sizeof *y * (size_t)n);
    interp_dataset d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < n; i++) {
        y[i] = i % classes;
        for (int p = 0; p < pixels; p++)
            x[i * pixels + p] =
                interp_random_normal(3, (uint64_t)y[i], (uint64_t)p) +
                (float)noise * interp_random_normal(4, stream, (uint64_t)(i * pixels + p));
    }
    CHECK_OK(c, interp_dataset_from_arrays(c, x, y, n, &s, classes, NULL, &d));
    free(x), free(y);
    return d;
}

static interp_net *arch(interp_ctx *c, const char *name, int size, int classes)
{
    interp_net *net = NULL;
    const interp_shape s = itp_shape_of(size ? 3 : 1, size ? 1 : 2, size, size, 1);
    if (interp_net_arch(c, name, &s, classes, 1, &net))
        test_fail(__FILE__, __LINE__, "%s: %s", name, interp_error(c));
    return net;
}

/* Convolutions without batch norm and dropout: cutting a batch changes nothing but rounding. */
static interp_net *plain_net(interp_ctx *c, int size, int classes)
{
    interp_net *net = interp_net_new(c, "plain");
    const interp_shape s = itp_shape_of(3, 1, size, size, 1);
    interp_tensor x = interp_input(net, NULL, &s);
    x = interp_relu(net, itp_arch_conv(net, x, 8, 3, 1, -1, 1, true));
    x = interp_relu(net, itp_arch_conv(net, x, 8, 3, 2, -1, 1, true));
    interp_dense(net, x, classes, NULL);
    CHECK_OK(c, interp_net_build(net, 1));
    return net;
}

static interp_train_desc train_desc(int epochs, int batch, interp_optimizer optimizer, float lr)
{
    interp_train_desc d;
    memset(&d, 0, sizeof d);
    d.epochs = epochs, d.batch = batch, d.optimizer = optimizer, d.lr = lr;
    return d;
}

/* The workspace a trainer makes for `batch` samples. */
static interp_workspace_desc options_of(int batch)
{
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.batch = batch, w.mode = INTERP_TRAIN, w.param_grads = true;
    return w;
}

static size_t count(const interp_net *net)
{
    return interp_net_describe(net).n_parameters;
}

/* Parameters and running statistics, to be freed. */
static float *state_of(interp_net *net)
{
    float *state = (float *)malloc(sizeof *state * itp_net_state_size(net));
    itp_net_state(net, state, false);
    return state;
}

static bool same_state(interp_net *net, const float *state)
{
    float *now = state_of(net);
    const bool same = memcmp(now, state, sizeof *state * itp_net_state_size(net)) == 0;
    free(now);
    return same;
}

static double worst(const float *got, const float *want, size_t n)
{
    double most = 1e-30, off = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)want[i]));
        const double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= off)) off = d;
    }
    return off / most;
}

/* ---- losses */

/* One sample's loss and gradient from the definition, in double. */
static double loss_by_definition(interp_loss loss, const float *x, const double *t, int k,
                                 double *g)
{
    double sum = 0, total = 0, norm = 0, top = -1e300;
    for (int j = 0; j < k; j++) top = fmax(top, (double)x[j]);
    for (int j = 0; j < k; j++) norm += exp((double)x[j] - top), total += t[j];
    for (int j = 0; j < k; j++) {
        const double v = (double)x[j], p = 1 / (1 + exp(-v));
        if (loss == INTERP_CROSS_ENTROPY) {
            sum -= t[j] * (v - top - log(norm));
            g[j] = total * exp(v - top) / norm - t[j];
        } else if (loss == INTERP_MSE) {
            sum += (v - t[j]) * (v - t[j]) / k;
            g[j] = 2 * (v - t[j]) / k;
        } else { /* -t log p - (1 - t) log(1 - p), with log(1 - p) = log p - v */
            const double log_p = v > -700 ? -log1p(exp(-v)) : v;
            sum -= (log_p - (1 - t[j]) * v) / k;
            g[j] = (p - t[j]) / k;
        }
    }
    return sum;
}

/* All losses with labels, smoothed labels and soft labels on n x k logits of a given spread. */
static void try_losses(int n, int k, double spread)
{
    const double tolerance = 2e-6; /* exp in float32, sums in double */
    float *x = (float *)malloc(sizeof *x * (size_t)(n * k) * 3), *soft = x + n * k,
          *g = soft + n * k;
    double *t = (double *)malloc(sizeof *t * (size_t)(2 * k + n)), *want_g = t + k,
           *each = t + 2 * k;
    int32_t *y = (int32_t *)malloc(sizeof *y * (size_t)n);
    for (int i = 0; i < n * k; i++) {
        x[i] = (float)spread * interp_random_normal(6, 1, (uint64_t)i);
        soft[i] = interp_random_uniform(6, 2, (uint64_t)i);
    }
    for (int i = 0; i < n; i++)
        y[i] = (int32_t)(interp_random_u32(6, 3, (uint64_t)i) % (uint32_t)k);
    for (int loss = INTERP_CROSS_ENTROPY; loss <= INTERP_BCE; loss++)
        for (int kind = 0; kind < 3; kind++) {
            const float smoothing = kind == 1 ? 0.1f : 0;
            double total = 0;
            const double mean = interp_loss_grad(ctx, (interp_loss)loss, x, n, k, y,
                                                 kind == 2 ? soft : NULL, smoothing, g, each);
            for (int i = 0; i < n; i++) {
                for (int j = 0; j < k; j++)
                    t[j] = kind == 2
                               ? (double)soft[i * k + j]
                               : (y[i] == j) * (1 - (double)smoothing) + (double)smoothing / k;
                const double one = loss_by_definition((interp_loss)loss, x + i * k, t, k, want_g);
                CHECK_NEAR(each[i], one, tolerance * fmax(1, fabs(one)));
                for (int j = 0; j < k; j++)
                    CHECK_NEAR(g[i * k + j] * (float)n, want_g[j],
                               tolerance * fmax(1, fabs(want_g[j])));
                total += one;
            }
            CHECK_NEAR(mean, total / n, tolerance * fmax(1, fabs(mean)));
            CHECK(interp_loss_grad(ctx, (interp_loss)loss, x, n, k, y, kind == 2 ? soft : NULL,
                                   smoothing, NULL, NULL) == mean);
        }
    free(x), free(t), free(y);
}

TEST(losses_match_their_definitions)
{
    try_losses(1, 1, 1);
    try_losses(3, 2, 1);
    try_losses(5, 10, 3);
    try_losses(2, 300, 2); /* more than one piece of 256 */
    try_losses(4, 7, 200); /* far beyond what exp can hold */
    /* ln 2 and (1 - 0.5)^2: known without a computer */
    const float zero[2] = {0, 0}, half = 0.5f;
    const int32_t y = 1, first = 0;
    float g[2];
    CHECK_NEAR(interp_loss_grad(ctx, INTERP_CROSS_ENTROPY, zero, 1, 2, &y, NULL, 0, g, NULL),
               0.693147180559945, 1e-7);
    CHECK_NEAR(g[0], 0.5, 1e-7);
    CHECK_NEAR(g[1], -0.5, 1e-7);
    CHECK_NEAR(interp_loss_grad(ctx, INTERP_MSE, &half, 1, 1, &first, NULL, 0, g, NULL), 0.25,
               1e-15);
    CHECK_NEAR(g[0], -1, 1e-7);
    CHECK_NEAR(interp_loss_grad(ctx, INTERP_BCE, zero, 1, 2, &y, NULL, 0, g, NULL),
               0.693147180559945, 1e-15);
}

/* ---- optimisers */

/* The update of one weight as PyTorch 2 defines it, in double. */
typedef struct weight {
    double w, m, v;
} weight;

static void torch_step(weight *p, const interp_train_desc *d, double g, double decay, int t)
{
    const double b1 = d->beta1 > 0 ? (double)d->beta1 : 0.9, momentum = (double)d->momentum;
    const double b2 = d->beta2 > 0                     ? (double)d->beta2
                      : d->optimizer == INTERP_RMSPROP ? 0.99
                                                       : 0.999;
    const double eps = d->epsilon > 0 ? (double)d->epsilon : 1e-8, lr = (double)d->lr;
    if (d->optimizer == INTERP_ADAMW) p->w *= 1 - lr * decay;
    else g += decay * p->w;
    switch (d->optimizer) {
    case INTERP_SGD:
        p->m = momentum * p->m + g;
        p->w -= lr * (d->nesterov ? g + momentum * p->m : momentum > 0 ? p->m : g);
        break;
    case INTERP_RMSPROP:
        p->v = b2 * p->v + (1 - b2) * g * g;
        p->m = momentum * p->m + g / (sqrt(p->v) + eps);
        p->w -= lr * p->m;
        break;
    case INTERP_ADAM:
    case INTERP_ADAMW:
        p->m = b1 * p->m + (1 - b1) * g;
        p->v = b2 * p->v + (1 - b2) * g * g;
        p->w -= lr * (p->m / (1 - pow(b1, t))) / (sqrt(p->v / (1 - pow(b2, t))) + eps);
        break;
    }
}

enum { INPUTS = 21 };

/* y = sum w x + b of one sample. */
static interp_net *line_net(void)
{
    interp_net *net = interp_net_new(ctx, "line");
    const interp_shape s = itp_shape_of(1, INPUTS, 1, 1, 1);
    interp_dense(net, interp_input(net, NULL, &s), 1, NULL);
    CHECK_OK(ctx, interp_net_build(net, 5));
    return net;
}

TEST(optimisers_take_the_steps_of_pytorch)
{
    static const struct {
        interp_optimizer optimizer;
        float lr, momentum, decay;
        bool nesterov, decay_all, other_constants;
    } rows[] = {
        {INTERP_SGD, 0.01f, 0, 0, false, false, false},
        {INTERP_SGD, 0.01f, 0.9f, 0, false, false, false},
        {INTERP_SGD, 0.01f, 0.9f, 0, true, false, false},
        {INTERP_SGD, 0.01f, 0.8f, 0.3f, true, false, false},
        {INTERP_SGD, 0.01f, 0, 0.3f, false, true, false},
        {INTERP_RMSPROP, 0.01f, 0, 0, false, false, false},
        {INTERP_RMSPROP, 0.01f, 0.9f, 0.3f, false, false, true},
        {INTERP_ADAM, 0.01f, 0, 0, false, false, false},
        {INTERP_ADAM, 0.01f, 0, 0.3f, false, false, false},
        {INTERP_ADAM, 0.01f, 0, 0.3f, false, true, true},
        {INTERP_ADAMW, 0.01f, 0, 0.3f, false, false, false},
        {INTERP_ADAMW, 0.01f, 0, 0.3f, false, true, true},
    };
    const double tolerance = 2e-6; /* a few roundings of numbers below 2 */
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        interp_net *net = line_net();
        interp_train_desc d = train_desc(0, 1, rows[r].optimizer, rows[r].lr);
        d.loss = INTERP_MSE, d.momentum = rows[r].momentum, d.weight_decay = rows[r].decay;
        d.nesterov = rows[r].nesterov, d.decay_all = rows[r].decay_all;
        if (rows[r].other_constants) d.beta1 = 0.7f, d.beta2 = 0.95f, d.epsilon = 1e-2f;
        interp_trainer *t = NULL;
        REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
        float *w = interp_net_parameters(net);
        weight want[INPUTS + 1];
        memset(want, 0, sizeof want);
        for (int i = 0; i <= INPUTS; i++) want[i].w = (double)w[i];
        for (int step = 1; step <= 3; step++) {
            float x[INPUTS + 1];
            for (int i = 0; i < INPUTS; i++)
                x[i] = interp_random_normal(7, (uint64_t)step, (uint64_t)i);
            x[INPUTS] = 1; /* of the bias */
            const float goal = (float)step * 0.5f;
            double y = 0, loss;
            for (int i = 0; i <= INPUTS; i++) y += want[i].w * (double)x[i];
            CHECK_OK(ctx, interp_trainer_step(t, x, NULL, &goal, 1, &loss, NULL));
            const double off = y - (double)goal;
            CHECK_NEAR(loss, off * off, 1e-5 * fmax(1, loss));
            for (int i = 0; i <= INPUTS; i++) {
                const double decay = i < INPUTS || d.decay_all ? (double)d.weight_decay : 0;
                torch_step(&want[i], &d, 2 * off * (double)x[i], decay, step);
                if (!(fabs((double)w[i] - want[i].w) <= tolerance))
                    test_fail(__FILE__, __LINE__, "row %zu, step %d, weight %d: %.9g, want %.9g", r,
                              step, i, (double)w[i], want[i].w);
            }
        }
        interp_trainer_free(t);
        interp_net_free(net);
    }
}

/* One weight w, input 1, target 0: the gradient is 2 w. */
static void one_weight(interp_train_desc d, const double want[3])
{
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = itp_shape_of(1, 1, 1, 1, 1);
    interp_dense_desc dense;
    memset(&dense, 0, sizeof dense);
    dense.no_bias = true;
    interp_dense(net, interp_input(net, NULL, &s), 1, &dense);
    REQUIRE_OK(ctx, interp_net_build(net, 5));
    interp_net_parameters(net)[0] = 1;
    interp_trainer *t = NULL;
    d.loss = INTERP_MSE;
    REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
    const float one = 1, zero = 0;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(ctx, interp_trainer_step(t, &one, NULL, &zero, 1, NULL, NULL));
        CHECK_NEAR(interp_net_parameters(net)[0], want[i], 1e-6);
    }
    interp_trainer_free(t);
    interp_net_free(net);
}

TEST(first_steps_match_numbers_worked_by_hand)
{
    static const double sgd[3] = {0.8, 0.64, 0.512}, momentum[3] = {0.8, 0.46, 0.062};
    static const double nesterov[3] = {0.62, 0.2224, -0.108352},
                        adam[3] = {0.9, 0.8004122, 0.7015862};
    interp_train_desc d = train_desc(0, 1, INTERP_SGD, 0.1f);
    one_weight(d, sgd);
    d.momentum = 0.9f;
    one_weight(d, momentum);
    d.nesterov = true;
    one_weight(d, nesterov);
    one_weight(train_desc(0, 1, INTERP_ADAM, 0.1f), adam);
}

TEST(the_gradient_is_clipped_to_its_norm)
{
    for (int kind = 0; kind < 2; kind++) { /* cut, and short enough */
        interp_net *net = line_net();
        interp_train_desc d = train_desc(0, 1, INTERP_SGD, 1);
        d.loss = INTERP_MSE, d.clip_norm = kind ? 1e6f : 0.5f;
        interp_trainer *t = NULL;
        REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
        float x[INPUTS], before[INPUTS + 1];
        for (int i = 0; i < INPUTS; i++) x[i] = interp_random_normal(7, 1, (uint64_t)i);
        memcpy(before, interp_net_parameters(net), sizeof before);
        const float goal = 9;
        CHECK_OK(ctx, interp_trainer_step(t, x, NULL, &goal, 1, NULL, NULL));
        double square = 0, along = 0, gradient = 0;
        for (int i = 0; i <= INPUTS; i++) {
            const double moved = (double)before[i] - (double)interp_net_parameters(net)[i];
            const double g = (double)interp_workspace_param_grad(t->work[0])[i];
            square += moved * moved, along += moved * g, gradient += g * g;
        }
        CHECK_NEAR(sqrt(square), kind ? sqrt(gradient) : 0.5, 1e-5 * sqrt(gradient));
        CHECK_NEAR(along, sqrt(square * gradient), 1e-5 * gradient); /* the direction stays */
        interp_trainer_free(t);
        interp_net_free(net);
    }
}

/* ---- schedules and rules */

TEST(schedules_follow_their_formulas)
{
    enum { epochs = 5 };
    const int per_epoch = 2, total = epochs * per_epoch;
    interp_dataset data = images(ctx, 6, 4, 2, 0.5, 1);
    for (int schedule = INTERP_CONSTANT; schedule <= INTERP_LINEAR; schedule++)
        for (int warmup = 0; warmup < 4; warmup += 3) {
            interp_net *net = arch(ctx, "linear", 4, 2);
            REQUIRE(net);
            interp_epoch history[epochs];
            interp_train_desc d = train_desc(epochs, 4, INTERP_SGD, 0.5f);
            d.schedule = (interp_schedule)schedule, d.warmup_steps = warmup, d.history = history;
            d.milestones[0] = 2, d.milestones[1] = 4, d.decay = 0.25f;
            CHECK_OK(ctx, interp_train(net, &data, &d, NULL));
            for (int e = 1; e <= epochs; e++) {
                const int step = e * per_epoch - 1; /* the epoch's last, from 0 */
                double want = 0.5;
                if (schedule == INTERP_STEP_DECAY) want *= e > 4 ? 0.0625 : e > 2 ? 0.25 : 1;
                if (schedule == INTERP_COSINE)
                    want *= 0.5 * (1 + cos(3.141592653589793 * step / total));
                if (schedule == INTERP_LINEAR) want *= 1 - (double)step / total;
                if (step < warmup) want *= (step + 1) / 3.0;
                CHECK_NEAR(history[e - 1].learning_rate, want, 1e-7);
                CHECK(history[e - 1].epoch == e);
            }
            interp_net_free(net);
        }
    interp_dataset_free(ctx, &data);
    /* and the steps use it: with a rate halved by the schedule a weight moves half as far */
    interp_net *net = line_net();
    interp_train_desc d = train_desc(0, 1, INTERP_SGD, 1e-3f);
    d.loss = INTERP_MSE, d.schedule = INTERP_LINEAR;
    interp_trainer *t = NULL;
    REQUIRE_OK(ctx, interp_trainer_new(net, &d, 2, &t));
    float x[INPUTS] = {1};
    const float goal = 3;
    for (int step = 0; step < 3; step++) {
        const double before = (double)interp_net_parameters(net)[0];
        CHECK_OK(ctx, interp_trainer_step(t, x, NULL, &goal, 1, NULL, NULL));
        const double g = (double)interp_workspace_param_grad(t->work[0])[0];
        CHECK_NEAR(before - (double)interp_net_parameters(net)[0], 1e-3 * (1 - step * 0.5) * g,
                   3e-7);
    }
    interp_trainer_free(t);
    interp_net_free(net);
}

/* How far each parameter of "mlp:2-3-2" went in one step of SGD at rate 0.1 under a rule. */
typedef struct ruled {
    interp_net *net;
    interp_trainer *t;
    float before[17];
} ruled;

enum { RULED = 2 * 3 + 3 + 3 * 2 + 2, SECOND = 9 }; /* parameters, and where dense2 begins */

static bool ruled_open_as(ruled *r, const interp_train_desc *d)
{
    r->t = NULL;
    r->net = arch(ctx, "mlp:2-3-2", 0, 2);
    return r->net && !interp_trainer_new(r->net, d, 0, &r->t);
}

static bool ruled_open(ruled *r, const interp_layer_rule *rules, int n_rules, float momentum)
{
    interp_train_desc d = train_desc(0, 2, INTERP_SGD, 0.1f);
    d.rules = rules, d.n_rules = n_rules, d.momentum = momentum;
    return ruled_open_as(r, &d);
}

static void ruled_step(ruled *r)
{
    static const float x[4] = {1, 2, -1, 0.5f};
    static const int32_t y[2] = {0, 1};
    memcpy(r->before, interp_net_parameters(r->net), sizeof r->before);
    CHECK_OK(ctx, interp_trainer_step(r->t, x, y, NULL, 2, NULL, NULL));
}

static double ruled_moved(const ruled *r, int i)
{
    return (double)r->before[i] - (double)interp_net_parameters(r->net)[i];
}

static double ruled_grad(const ruled *r, int i)
{
    return (double)interp_workspace_param_grad(r->t->work[0])[i];
}

static void ruled_close(ruled *r)
{
    interp_trainer_free(r->t);
    interp_net_free(r->net);
}

TEST(rules_give_layers_their_own_rate_momentum_and_decay)
{
    interp_layer_rule rules[2];
    memset(rules, 0, sizeof rules);
    ruled r;
    rules[0].layer = "dense2", rules[0].lr = 0.02f, rules[0].weight_decay = 0.5f;
    rules[1].layer = "dense", rules[1].lr = 0.3f; /* the first rule that fits counts */
    REQUIRE(ruled_open(&r, rules, 2, 0));
    ruled_step(&r);
    for (int i = 0; i < RULED; i++) {
        const double decay = i < SECOND ? 0 : 0.5 * (double)r.before[i]; /* the bias begins at 0 */
        CHECK_NEAR(ruled_moved(&r, i), (i < SECOND ? 0.3 : 0.02) * (ruled_grad(&r, i) + decay),
                   1e-6);
    }
    ruled_close(&r);
    /* momentum 0.9 for all but dense1 */
    memset(rules, 0, sizeof rules);
    rules[0].layer = "dense1", rules[0].momentum = -1;
    REQUIRE(ruled_open(&r, rules, 1, 0.9f));
    ruled_step(&r);
    double first[RULED];
    for (int i = 0; i < RULED; i++) first[i] = ruled_grad(&r, i);
    ruled_step(&r);
    for (int i = 0; i < RULED; i++)
        CHECK_NEAR(ruled_moved(&r, i),
                   0.1 * (ruled_grad(&r, i) + (i < SECOND ? 0 : 0.9 * first[i])), 1e-6);
    ruled_close(&r);
    /* and momentum for one layer only */
    rules[0].momentum = 0.9f;
    REQUIRE(ruled_open(&r, rules, 1, 0));
    ruled_step(&r);
    for (int i = 0; i < RULED; i++) first[i] = ruled_grad(&r, i);
    ruled_step(&r);
    for (int i = 0; i < RULED; i++)
        CHECK_NEAR(ruled_moved(&r, i),
                   0.1 * (ruled_grad(&r, i) + (i < SECOND ? 0.9 * first[i] : 0)), 1e-6);
    ruled_close(&r);
    rules[0].layer = "dense9";
    const size_t before = used();
    CHECK(!ruled_open(&r, rules, 1, 0) && interp_last_status(ctx) == INTERP_BAD_ARGUMENT);
    CHECK_STR(interp_error(ctx), "train: no parameter's name begins with \"dense9\"");
    interp_net_free(r.net);
    CHECK(used() == before);
}

TEST(rules_are_about_names_by_pattern)
{
    interp_layer_rule rule;
    ruled r;
    memset(&rule, 0, sizeof rule);
    rule.layer = "dense[13][.](w|x)", rule.freeze_from = 1;
    REQUIRE(ruled_open(&r, &rule, 1, 0));
    ruled_step(&r);
    bool frozen = false, moved = false; /* six weights of dense1, all else */
    for (int i = 0; i < RULED; i++) *(i < 6 ? &frozen : &moved) |= ruled_moved(&r, i) != 0;
    CHECK(!frozen && moved);
    ruled_close(&r);
    rule.layer = "bias"; /* names hold it, but none begins with it */
    CHECK(!ruled_open(&r, &rule, 1, 0) && interp_last_status(ctx) == INTERP_BAD_ARGUMENT);
    interp_net_free(r.net);
    rule.layer = "dense[";
    CHECK(!ruled_open(&r, &rule, 1, 0) && interp_last_status(ctx) == INTERP_BAD_ARGUMENT);
    CHECK_STR(interp_error(ctx), "pattern \"dense[\": a ] is missing");
    interp_net_free(r.net);
}

/* Two steps of each optimiser by its formula: dense1 by one, dense2 by the other; the rate of dense1
   does not rise as the training's does. */
TEST(a_layer_learns_by_an_optimiser_of_its_own)
{
    static const interp_optimizer own[] = {INTERP_ADAM, INTERP_SGD, INTERP_RMSPROP, INTERP_SGD};
    static const interp_optimizer all[] = {INTERP_SGD, INTERP_ADAM, INTERP_SGD, INTERP_RMSPROP};
    for (int way = 0; way < 4; way++) {
        interp_train_desc d = train_desc(0, 2, all[way], 0.1f);
        interp_layer_rule rule;
        ruled r;
        double m[RULED] = {0}, v[RULED] = {0};
        memset(&rule, 0, sizeof rule);
        rule.layer = "dense1", rule.optimizer = &own[way], rule.lr = 0.02f;
        rule.constant_lr = true, d.warmup_steps = 4;
        d.rules = &rule, d.n_rules = 1;
        REQUIRE(ruled_open_as(&r, &d));
        for (int step = 1; step <= 2; step++) {
            ruled_step(&r);
            for (int i = 0; i < RULED; i++) {
                const interp_optimizer o = i < SECOND ? own[way] : all[way];
                const double lr = i < SECOND ? 0.02 : 0.1 * step / 4, g = ruled_grad(&r, i);
                const double beta2 = o == INTERP_ADAM ? 0.999 : 0.99;
                double want = lr * g;
                m[i] = 0.9 * m[i] + 0.1 * g, v[i] = beta2 * v[i] + (1 - beta2) * g * g;
                if (o == INTERP_ADAM)
                    want = lr * m[i] / (1 - pow(0.9, step)) /
                           (sqrt(v[i] / (1 - pow(beta2, step))) + 1e-8);
                if (o == INTERP_RMSPROP) want = lr * g / (sqrt(v[i]) + 1e-8);
                CHECK_NEAR(ruled_moved(&r, i), want, 1e-6);
            }
        }
        ruled_close(&r);
    }
}

/* Its gradients are those of another net that has its parameters, some steps late. */
TEST(a_delayed_layer_learns_from_the_past)
{
    enum { STEPS = 6, DELAY = 2 };
    interp_layer_rule rule;
    double grad[STEPS][RULED];
    ruled r, now;
    memset(&rule, 0, sizeof rule);
    rule.layer = "dense1", rule.delay = DELAY;
    REQUIRE(ruled_open(&r, &rule, 1, 0) && ruled_open(&now, NULL, 0, 0));
    for (int step = 0; step < STEPS; step++) {
        memcpy(interp_net_parameters(now.net), interp_net_parameters(r.net), RULED * sizeof(float));
        ruled_step(&now);
        ruled_step(&r);
        for (int i = 0; i < RULED; i++) {
            grad[step][i] = ruled_grad(&now, i);
            const int from = i < SECOND ? step - DELAY : step;
            CHECK_NEAR(ruled_moved(&r, i), from < 0 ? 0 : 0.1 * grad[from][i], 1e-6);
        }
    }
    CHECK(fabs(grad[3][0] - grad[1][0]) > 1e-4);
    ruled_close(&r);
    ruled_close(&now);
    rule.delay = -1;
    CHECK(!ruled_open(&r, &rule, 1, 0) && interp_last_status(ctx) == INTERP_BAD_ARGUMENT);
    interp_net_free(r.net);
}

TEST(a_step_shows_its_gradient)
{
    interp_dataset data = images(ctx, 8, 8, 3, 1, 1);
    float *gradient[2], *moved[2];
    size_t n = 0;
    for (int clipped = 0; clipped < 2; clipped++) {
        interp_train_desc d = train_desc(1, 8, INTERP_SGD, 0.1f);
        interp_trainer *t = NULL;
        interp_net *net = arch(ctx, "cnn", 8, 3);
        REQUIRE(net);
        n = interp_net_describe(net).n_parameters;
        gradient[clipped] = (float *)calloc(n, sizeof(float));
        moved[clipped] = (float *)malloc(n * sizeof(float));
        memcpy(moved[clipped], interp_net_parameters(net), n * sizeof(float));
        d.gradient = gradient[clipped];
        if (clipped) d.clip_norm = 1e-2f, d.weight_decay = 0.1f;
        REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
        CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL));
        for (size_t i = 0; i < n; i++) moved[clipped][i] -= interp_net_parameters(net)[i];
        interp_trainer_free(t);
        interp_net_free(net);
    }
    double most = 0, apart = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK_NEAR(moved[0][i], 0.1 * (double)gradient[0][i], 1e-6);
        most = fmax(most, fabs((double)gradient[0][i]));
        apart = fmax(apart, fabs((double)moved[1][i] - 0.1 * (double)gradient[1][i]));
    }
    CHECK(most > 0.01 && apart > 0.001);
    CHECK(memcmp(gradient[0], gradient[1], n * sizeof(float)) == 0); /* before both */
    for (int i = 0; i < 2; i++) free(gradient[i]), free(moved[i]);
    interp_dataset_free(ctx, &data);
}

TEST(a_frozen_layer_learns_nothing_from_its_step_on)
{
    for (int from = 1; from <= 3; from++) {
        interp_layer_rule rule;
        memset(&rule, 0, sizeof rule);
        rule.layer = "dense1", rule.freeze_from = from;
        ruled r;
        REQUIRE(ruled_open(&r, &rule, 1, 0.9f));
        for (int step = 1; step <= 5; step++) {
            ruled_step(&r);
            bool first = false, second = false;
            for (int i = 0; i < RULED; i++)
                *(i < SECOND ? &first : &second) |= ruled_moved(&r, i) != 0;
            CHECK(first == (step < from) && second);
        }
        ruled_close(&r);
    }
}

/* ---- the loop */

static interp_dataset xor_data(void)
{
    static const float x[8] = {0, 0, 0, 1, 1, 0, 1, 1};
    static const int32_t y[4] = {0, 1, 1, 0};
    const interp_shape s = itp_shape_of(1, 2, 1, 1, 1);
    interp_dataset d;
    memset(&d, 0, sizeof d);
    CHECK_OK(ctx, interp_dataset_from_arrays(ctx, x, y, 4, &s, 2, NULL, &d));
    return d;
}

TEST(training_learns_xor)
{
    interp_dataset data = xor_data();
    static const interp_optimizer optimizers[] = {INTERP_ADAM, INTERP_ADAMW, INTERP_SGD,
                                                  INTERP_RMSPROP};
    for (int o = 0; o < (slow_here() ? 1 : 4); o++)
        for (int loss = INTERP_CROSS_ENTROPY; loss <= INTERP_BCE; loss++) {
            interp_net *net = arch(ctx, "mlp:2-16-2", 0, 2);
            REQUIRE(net);
            interp_train_desc d =
                train_desc(400, 4, optimizers[o], optimizers[o] == INTERP_SGD ? 0.2f : 0.02f);
            d.loss = (interp_loss)loss;
            if (optimizers[o] == INTERP_SGD) d.momentum = 0.9f;
            interp_train_result result;
            CHECK_OK(ctx, interp_train(net, &data, &d, &result));
            CHECK(result.epochs == 400 && result.train_accuracy == 1 && result.train_loss < 0.05);
            interp_evaluation e;
            int32_t predicted[4];
            memset(&e, 0, sizeof e);
            e.predicted = predicted;
            CHECK_OK(ctx, interp_evaluate(net, &data, (interp_loss)loss, &e));
            CHECK(e.accuracy == 1 && memcmp(predicted, data.y, sizeof predicted) == 0);
            interp_net_free(net);
        }
    interp_dataset_free(ctx, &data);
}

TEST(every_sample_is_seen_once_in_an_epoch)
{
    interp_dataset data = images(ctx, 23, 4, 3, 1, 1);
    interp_net *net = arch(ctx, "linear", 4, 3);
    REQUIRE(net);
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    CHECK_OK(ctx, interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e));
    for (int batch = 1; batch < 40; batch += 6) { /* ragged ends and more than there are */
        interp_train_desc d =
            train_desc(2, batch, INTERP_SGD, 1e-30f); /* too small to change a weight */
        d.no_shuffle = batch % 4 == 1;
        interp_train_result result;
        CHECK_OK(ctx, interp_train(net, &data, &d, &result));
        CHECK_NEAR(result.train_loss, e.loss, 1e-9);
        CHECK_NEAR(result.train_accuracy, e.accuracy, 1e-12);
        CHECK(result.val_loss != result.val_loss && result.epochs == 2);
    }
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(soft_labels_of_one_class_are_labels)
{
    interp_dataset data = images(ctx, 8, 4, 3, 1, 1);
    interp_net *nets[2] = {arch(ctx, "linear", 4, 3), arch(ctx, "linear", 4, 3)};
    float soft[24] = {0};
    for (int i = 0; i < 8; i++) soft[3 * i + data.y[i]] = 1;
    for (int loss = INTERP_CROSS_ENTROPY; loss <= INTERP_BCE; loss++) {
        for (int k = 0; k < 2; k++) {
            interp_train_desc d = train_desc(0, 8, INTERP_ADAM, 0.1f);
            d.loss = (interp_loss)loss;
            interp_trainer *t = NULL;
            int right = -1;
            REQUIRE_OK(ctx, interp_trainer_new(nets[k], &d, 0, &t));
            CHECK_OK(ctx, interp_trainer_step(t, data.x, k ? NULL : data.y, k ? soft : NULL, 8,
                                              NULL, &right));
            CHECK(k ? right == 0 : right >= 0 && right <= 8);
            interp_trainer_free(t);
        }
        float *state = state_of(nets[0]);
        CHECK(same_state(nets[1], state));
        free(state);
    }
    interp_net_free(nets[0]), interp_net_free(nets[1]);
    interp_dataset_free(ctx, &data);
}

typedef struct watch {
    int epochs, best, stop_at, last_best;
    size_t allocations;
    bool allocated;
} watch;

static int on_epoch(const interp_epoch *e, bool is_best, void *user)
{
    watch *w = (watch *)user;
    const size_t now = interp_memory_read(ctx).allocations;
    if (w->epochs++ && now != w->allocations) w->allocated = true;
    w->allocations = now;
    CHECK(e->epoch == w->epochs || w->stop_at < 0);
    if (is_best) w->best++, w->last_best = e->epoch;
    return w->stop_at == e->epoch;
}

TEST(training_stops_early_and_restores_the_best)
{
    enum { epochs = 40 };
    interp_dataset data = images(ctx, 24, 6, 3, 2, 1), other = images(ctx, 24, 6, 3, 2, 2);
    for (int i = 0; i < 24; i += 3) /* a third of the labels wrong: what is learnt soon hurts */
        other.y[i] = (other.y[i] + 1) % 3;
    interp_net *net = arch(ctx, "mlp:36-30-3", 6, 3);
    REQUIRE(net);
    interp_epoch history[epochs];
    memset(history, 0, sizeof history);
    watch w;
    memset(&w, 0, sizeof w);
    interp_train_desc d = train_desc(epochs, 8, INTERP_ADAM, 1e-2f);
    d.validation = &other, d.history = history, d.patience = 4, d.restore_best = true;
    d.on_epoch = on_epoch, d.user = &w;
    interp_train_result result;
    REQUIRE_OK(ctx, interp_train(net, &data, &d, &result));
    CHECK(result.epochs == w.epochs && result.epochs < epochs);
    CHECK(result.epochs - result.best_epoch == 4 && result.best_epoch == w.last_best);
    for (int e = 0; e < result.epochs; e++)
        CHECK(history[e].val_loss >= history[result.best_epoch - 1].val_loss);
    CHECK(result.val_loss == history[result.epochs - 1].val_loss); /* of the last, not the best */
    interp_evaluation v;
    memset(&v, 0, sizeof v);
    CHECK_OK(ctx, interp_evaluate(net, &other, INTERP_CROSS_ENTROPY, &v));
    CHECK(v.loss == history[result.best_epoch - 1].val_loss);
    CHECK(v.accuracy == history[result.best_epoch - 1].val_accuracy);
    /* on_epoch ends it too; without restore_best the net is that of the last epoch */
    memset(&w, 0, sizeof w);
    w.stop_at = 2;
    d.patience = 0, d.restore_best = false;
    REQUIRE_OK(ctx, interp_train(net, &data, &d, &result));
    CHECK(result.epochs == 2 && w.epochs == 2);
    CHECK_OK(ctx, interp_evaluate(net, &other, INTERP_CROSS_ENTROPY, &v));
    CHECK(v.loss == history[1].val_loss && result.val_loss == v.loss);
    CHECK(history[1].seconds >= 0 && history[1].train_loss == result.train_loss);
    interp_net_free(net);
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &other);
}

TEST(training_steps_allocate_nothing)
{
    interp_dataset data = images(ctx, 29, 8, 3, 1, 1), other = images(ctx, 7, 8, 3, 1, 2);
    interp_net *net = arch(ctx, "cnn", 8, 3);
    REQUIRE(net);
    interp_augment_desc augment;
    memset(&augment, 0, sizeof augment);
    augment.flip_horizontal = true, augment.rotate_deg = 10;
    watch w;
    memset(&w, 0, sizeof w);
    interp_train_desc d = train_desc(4, 8, INTERP_ADAM, 1e-3f); /* the last batch has 5 samples */
    d.validation = &other, d.restore_best = true, d.augment = &augment;
    d.on_epoch = on_epoch, d.user = &w;
    CHECK_OK(ctx, interp_train(net, &data, &d, NULL));
    CHECK(w.epochs == 4 && !w.allocated);
    interp_trainer *t = NULL;
    REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
    const size_t before = interp_memory_read(ctx).allocations;
    for (int i = 0; i < 3; i++)
        CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL));
    CHECK(interp_memory_read(ctx).allocations == before);
    CHECK_OK(ctx,
             interp_trainer_step(t, data.x, data.y, NULL, 5, NULL, NULL)); /* another size: once */
    const size_t after = interp_memory_read(ctx).allocations;
    CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL));
    CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 5, NULL, NULL));
    CHECK(interp_memory_read(ctx).allocations == after);
    interp_trainer_free(t);
    interp_trainer_free(NULL);
    interp_net_free(net);
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &other);
}

/* Everything random at once: shuffling, augmentation, dropout; batch norm, a ragged last batch. */
static interp_train_desc busy_desc(interp_augment_desc *augment, const interp_dataset *validation,
                                   int epochs, interp_optimizer optimizer)
{
    interp_train_desc d = train_desc(epochs, 8, optimizer, optimizer == INTERP_SGD ? 0.01f : 1e-3f);
    memset(augment, 0, sizeof *augment);
    augment->flip_horizontal = true, augment->shift = 1, augment->rotate_deg = 15;
    d.augment = augment, d.validation = validation, d.seed = 42;
    d.momentum = optimizer == INTERP_ADAM || optimizer == INTERP_ADAMW ? 0 : 0.9f;
    d.schedule = INTERP_COSINE, d.warmup_steps = 2, d.clip_norm = 5, d.label_smoothing = 0.05f;
    return d;
}

TEST(training_is_bit_identical_at_any_thread_count)
{
    enum { epochs = 2 };
    float *want = NULL;
    interp_epoch first[epochs], history[epochs];
    for (int run = slow_here() ? 2 : 0; run < 5; run++) { /* 1, 1, 2, 3 threads; another seed */
        interp_ctx *c = open_ctx(run == 0 ? 1 : run == 4 ? 1 : run);
        REQUIRE(c);
        interp_dataset data = images(c, 21, 10, 3, 1, 1), other = images(c, 9, 10, 3, 1, 2);
        interp_net *net = arch(c, "cnn", 10, 3);
        REQUIRE(net);
        interp_augment_desc augment;
        interp_train_desc d = busy_desc(&augment, &other, epochs, INTERP_ADAM);
        d.history = history;
        if (run == 4) d.seed++;
        CHECK_OK(c, interp_train(net, &data, &d, NULL));
        if (!want) {
            want = state_of(net);
            memcpy(first, history, sizeof first);
        }
        CHECK(same_state(net, want) == (run < 4));
        for (int e = 0; e < epochs && run < 4; e++)
            CHECK(history[e].train_loss == first[e].train_loss &&
                  history[e].val_loss == first[e].val_loss &&
                  history[e].train_accuracy == first[e].train_accuracy);
        interp_close(c);
    }
    free(want);
}

/* ---- checkpoints */

#if !defined(INTERP_NO_STDIO)
TEST(training_resumes_bit_identically)
{
    enum { epochs = 5 };
    interp_dataset data = images(ctx, 21, 8, 3, 1, 1), other = images(ctx, 9, 8, 3, 1, 2);
    static const interp_optimizer optimizers[] = {INTERP_ADAM, INTERP_SGD, INTERP_RMSPROP};
    for (int o = 0; o < (slow_here() ? 1 : 3); o++)
        for (int best = 0; best < 2; best++) {
            interp_epoch history[3][epochs];
            interp_train_result result[3];
            float *want = NULL;
            interp_augment_desc augment;
            for (int run = 0; run < 3; run++) { /* in one go; with checkpoints; interrupted twice */
                interp_net *net = arch(ctx, o ? "cnn" : "lenet", 8, 3);
                REQUIRE(net);
                watch w;
                memset(&w, 0, sizeof w);
                w.stop_at = -1;
                interp_train_desc d = busy_desc(&augment, &other, epochs, optimizers[o]);
                d.history = history[run], d.on_epoch = on_epoch, d.user = &w, d.restore_best = best;
                if (run) d.checkpoint = checkpoint_path();
                remove(checkpoint_path());
                for (int stop = run < 2 ? 0 : 2; run == 2 && stop <= 3; stop++) {
                    memset(history[run], 0, sizeof history[run]);
                    w.stop_at = stop;
                    REQUIRE_OK(ctx, interp_train(net, &data, &d, &result[run]));
                    CHECK(result[run].epochs == stop);
                    interp_net_free(net); /* as if in a new process: nothing but the file stays */
                    REQUIRE((net = arch(ctx, o ? "cnn" : "lenet", 8, 3)) != NULL);
                    w.stop_at = -1;
                }
                REQUIRE_OK(ctx, interp_train(net, &data, &d, &result[run]));
                if (!want) want = state_of(net);
                CHECK(same_state(net, want));
                CHECK(result[run].epochs == epochs);
                CHECK(result[run].best_epoch == result[0].best_epoch);
                for (int e = 0; e < epochs; e++) {
                    CHECK(history[run][e].epoch == e + 1);
                    CHECK(history[run][e].train_loss == history[0][e].train_loss);
                    CHECK(history[run][e].val_loss == history[0][e].val_loss);
                    CHECK(history[run][e].val_accuracy == history[0][e].val_accuracy);
                    CHECK(history[run][e].learning_rate == history[0][e].learning_rate);
                }
                if (run) { /* a finished training is not taken further */
                    const int before = w.epochs;
                    REQUIRE_OK(ctx, interp_train(net, &data, &d, &result[run]));
                    CHECK(w.epochs == before && same_state(net, want));
                    CHECK(result[run].epochs == epochs);
                    CHECK(result[run].val_loss == history[0][epochs - 1].val_loss);
                }
                interp_net_free(net);
            }
            free(want);
        }
    remove(checkpoint_path());
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &other);
}

TEST(a_training_that_stopped_early_stays_stopped)
{
    interp_dataset data = images(ctx, 12, 4, 3, 1, 1), other = images(ctx, 12, 4, 3, 1, 2);
    for (int i = 0; i < 12; i++) other.y[i] = (other.y[i] + 1) % 3; /* all wrong: epoch 1 is best */
    interp_net *net = arch(ctx, "linear", 4, 3);
    REQUIRE(net);
    remove(checkpoint_path());
    interp_train_desc d = train_desc(20, 4, INTERP_ADAM, 0.05f);
    d.validation = &other, d.patience = 2, d.checkpoint = checkpoint_path();
    interp_train_result result;
    for (int run = 0; run < 3; run++) {
        REQUIRE_OK(ctx, interp_train(net, &data, &d, &result));
        CHECK(result.epochs == 3 && result.best_epoch == 1);
    }
    remove(checkpoint_path());
    interp_net_free(net);
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &other);
}

static void write_bytes(const char *bytes, size_t n)
{
    FILE *f = fopen(checkpoint_path(), "wb");
    CHECK(f && fwrite(bytes, 1, n, f) == n);
    if (f) fclose(f);
}

/* Training with the checkpoint that lies there is refused, and nothing has changed. */
static void refused(interp_net *net, const interp_dataset *data, const interp_train_desc *d,
                    const char *what)
{
    float *before = state_of(net);
    const size_t held = used();
    interp_epoch history[8];
    interp_train_desc own = *d;
    memset(history, 0x5A, sizeof history);
    own.history = history;
    const interp_status status = interp_train(net, data, &own, NULL);
    if (status != INTERP_FORMAT || !strstr(interp_error(ctx), checkpoint_path()))
        test_fail(__FILE__, __LINE__, "%s: %s \"%s\"", what, interp_status_name(status),
                  interp_error(ctx));
    CHECK(same_state(net, before) && used() == held);
    CHECK(((const unsigned char *)history)[0] == 0x5A);
    free(before);
}

TEST(a_foreign_or_damaged_checkpoint_changes_nothing)
{
    interp_dataset data = images(ctx, 12, 6, 3, 1, 1), more = images(ctx, 13, 6, 3, 1, 1);
    interp_net *net = arch(ctx, "mlp:36-5-3", 6, 3), *other = arch(ctx, "mlp:36-6-3", 6, 3);
    REQUIRE(net && other);
    interp_train_desc d = train_desc(2, 4, INTERP_ADAM, 1e-2f);
    d.checkpoint = checkpoint_path();
    remove(checkpoint_path());
    REQUIRE_OK(ctx, interp_train(net, &data, &d, NULL));
    char *bytes;
    size_t n;
    REQUIRE_OK(ctx, itp_file_read(ctx, checkpoint_path(), &bytes, &n));
    d.epochs = 4;
    refused(other, &data, &d, "another architecture");
    refused(net, &more, &d, "other data");
    interp_train_desc odd = d;
    odd.optimizer = INTERP_ADAMW;
    refused(net, &data, &odd, "another optimiser");
    odd.optimizer = INTERP_SGD;
    refused(net, &data, &odd, "an optimiser with less state");
    odd = d, odd.epochs = 1;
    refused(net, &data, &odd, "more epochs than asked for");
    odd = d, odd.restore_best = true;
    refused(net, &data, &odd, "no best state");
    odd = d, odd.seed = 1;
    refused(net, &data, &odd, "another seed");
    CHECK(strstr(interp_error(ctx), "a training with another seed") != NULL);
    for (int k = 0; k < 2; k++) { /* one number, one label */
        const float x = data.x[100];
        const int32_t y = data.y[11];
        if (k) data.y[11] = (y + 1) % 3;
        else data.x[100] = x + 1e-3f;
        refused(net, &data, &d, "one number of the data");
        CHECK(strstr(interp_error(ctx), "a training with other data") != NULL);
        data.x[100] = x, data.y[11] = y;
    }
    const size_t coarse = slow_here() ? 97 : 61, fine = slow_here() ? 97 : 1;
    for (size_t cut = 0; cut < n; cut += cut < 400 || n - cut < 10 ? fine : coarse) {
        write_bytes(bytes, cut);
        refused(net, &data, &d, "a cut file");
    }
    /* wrong numbers where the counts and the header are: refused, or taken without harm */
    float *start = state_of(net);
    const size_t held = used();
    for (size_t i = 0; i < 700 && i < n; i += slow_here() ? 71 : 3) {
        const char old = bytes[i];
        bytes[i] = (char)(i % 2 ? 0xFF : old ^ 1);
        write_bytes(bytes, n);
        if (interp_train(net, &data, &d, NULL) == INTERP_FORMAT) CHECK(same_state(net, start));
        itp_net_state(net, start, true);
        CHECK(used() == held);
        bytes[i] = old;
    }
    write_bytes(bytes, n);
    interp_train_result result;
    CHECK_OK(ctx, interp_train(net, &data, &d, &result)); /* the file itself is good */
    CHECK(result.epochs == 4);
    remove(checkpoint_path());
    d.checkpoint = "/no/such/folder/checkpoint"; /* starts, and says so when it cannot write */
    CHECK(interp_train(net, &data, &d, NULL) == INTERP_IO);
    CHECK(used() == held);
    free(start);
    interp_free(ctx, bytes);
    interp_net_free(net), interp_net_free(other);
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &more);
}
#endif

/* ---- memory limits */

TEST(micro_batches_give_the_gradient_of_the_whole_batch)
{
    enum { batch = 60 };
    const double tolerance = 1e-5; /* the same sums in another order */
    float *want = NULL;
    double want_loss = 0;
    int want_right = 0;
    for (int cut = 1; cut <= 20; cut = cut == 1 ? 2 : cut == 2 ? 5 : cut + 15) {
        interp_ctx *c = open_ctx(1);
        REQUIRE(c);
        interp_dataset data = images(c, batch, 12, 5, 1, 1);
        interp_net *net = plain_net(c, 12, 5);
        interp_train_desc d = train_desc(0, batch, INTERP_SGD, 0.1f);
        interp_workspace_desc w = options_of(batch / cut);
        size_t bytes;
        REQUIRE_OK(c, interp_workspace_bytes(c, net, &w, &bytes));
        /* besides the workspace: the trainer, its table of layers, the seed */
        const size_t limit = interp_memory_read(c).used + bytes + 3000;
        if (cut > 1) interp_memory_set_limit(c, limit);
        interp_trainer *t = NULL;
        REQUIRE_OK(c, interp_trainer_new(net, &d, 0, &t));
        CHECK(t->micro == batch / cut);
        double loss;
        int right;
        CHECK_OK(c, interp_trainer_step(t, data.x, data.y, NULL, batch, &loss, &right));
        CHECK_OK(c, interp_trainer_step(t, data.x, data.y, NULL, batch, &loss, &right));
        if (cut > 1) CHECK(interp_memory_read(c).peak <= limit);
        const float *g = interp_workspace_param_grad(t->work[0]);
        if (cut == 1) {
            want = (float *)malloc(sizeof *want * count(net));
            memcpy(want, g, sizeof *want * count(net));
            want_loss = loss, want_right = right;
        }
        CHECK_NEAR(worst(g, want, count(net)), 0, tolerance);
        CHECK_NEAR(loss, want_loss, tolerance);
        CHECK(right == want_right);
        interp_close(c);
    }
    free(want);
}

static int count_epochs(const interp_epoch *e, bool is_best, void *user)
{
    (void)e, (void)is_best;
    ++*(int *)user;
    return 0;
}

/* From far too little memory to enough: a training either refuses before it has changed anything or
   runs to its end within the limit, with the results it has without one. */
TEST(a_training_under_a_memory_limit_never_fails_late)
{
    const double tolerance = 1e-3; /* rounding, grown over 12 steps */
    float *want = NULL;
    int ran = 0, refused_ones = 0, smallest = 1000;
    for (size_t extra = 0; extra < 1200000; extra += extra < 200000 ? 20000 : 100000) {
        interp_ctx *c = open_ctx(1);
        REQUIRE(c);
        interp_dataset data = images(c, 53, 8, 5, 1, 1), other = images(c, 31, 8, 5, 1, 2);
        interp_net *net = plain_net(c, 8, 5);
        float *start = state_of(net);
        int epochs = 0;
        interp_train_desc d = train_desc(2, 24, INTERP_SGD, 0.05f);
        d.validation = &other, d.restore_best = true, d.on_epoch = count_epochs, d.user = &epochs;
#if !defined(INTERP_NO_STDIO)
        d.checkpoint = checkpoint_path();
        remove(checkpoint_path());
#endif
        const size_t base = interp_memory_read(c).used, limit = base + extra;
        if (want) interp_memory_set_limit(c, limit);
        else extra = 0; /* the first one shows what is right */
        const interp_status status = interp_train(net, &data, &d, NULL);
        const interp_memory m = interp_memory_read(c);
        CHECK(m.used == base);
        if (!want) {
            CHECK(status == INTERP_OK);
            want = state_of(net);
        } else if (status) {
            CHECK(status == INTERP_NO_MEMORY && epochs == 0 && same_state(net, start));
            CHECK(ran == 0); /* more memory never does worse */
            refused_ones++;
        } else {
            CHECK(epochs == 2 && m.peak <= limit);
            CHECK_NEAR(worst(interp_net_parameters(net), want, count(net)), 0, tolerance);
            ran++;
            smallest = itp_min(smallest, (int)(extra / 1000));
        }
        free(start);
        interp_close(c);
    }
    remove(checkpoint_path());
    CHECK(ran > 5 && refused_ones > 1 && smallest < 400);
    free(want);
}

TEST(batch_norm_refuses_to_have_its_batch_cut)
{
    interp_dataset data = images(ctx, 32, 8, 3, 1, 1);
    interp_net *net = arch(ctx, "cnn", 8, 3);
    REQUIRE(net);
    float *start = state_of(net);
    interp_train_desc d = train_desc(1, 32, INTERP_ADAM, 1e-3f);
    interp_workspace_desc w = options_of(16);
    size_t bytes;
    REQUIRE_OK(ctx, interp_workspace_bytes(ctx, net, &w, &bytes));
    const size_t base = used(), moments = 2 * count(net) * sizeof(float) + 20000;
    interp_memory_set_limit(ctx, base + bytes + moments);
    CHECK(interp_train(net, &data, &d, NULL) == INTERP_NO_MEMORY);
    const char *text = "and batch normalisation forbids cutting it: batches of up to ";
    const char *at = strstr(interp_error(ctx), text);
    CHECK(strstr(interp_error(ctx), "train: a batch of 32 needs ") && at);
    CHECK(same_state(net, start) && used() == base);
    d.batch = at ? (int)strtol(at + strlen(text), NULL, 10) : 0;
    CHECK(d.batch == 16);
    CHECK_OK(ctx, interp_train(net, &data, &d, NULL));
    interp_memory_set_limit(ctx, 0);
    free(start);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(training_runs_in_a_user_buffer)
{
    enum { size = 1 << 20 };
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.buffer = malloc(size), d.buffer_bytes = size;
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free;
    const long before = heap.calls;
    interp_ctx *c = interp_open(&d);
    REQUIRE(c);
    interp_dataset data = images(c, 90, 12, 3, 1, 1);
    interp_net *net = plain_net(c, 12, 3);
    const interp_train_desc t = train_desc(3, 90, INTERP_ADAM, 5e-3f); /* more than fits at once */
    interp_workspace_desc w = options_of(90);
    size_t bytes;
    REQUIRE_OK(c, interp_workspace_bytes(c, net, &w, &bytes));
    CHECK(bytes > size);
    interp_train_result result;
    CHECK_OK(c, interp_train(net, &data, &t, &result));
    CHECK(result.epochs == 3 && heap.calls == before);
    interp_close(c);
    free(d.buffer);
}

/* ---- what is refused */

TEST(settings_out_of_range_are_refused)
{
    interp_dataset data = images(ctx, 8, 4, 3, 1, 1);
    interp_net *net = arch(ctx, "linear", 4, 3);
    REQUIRE(net);
    float *start = state_of(net);
    const size_t before = used();
    for (int i = 0; i < 14; i++) {
        interp_train_desc d = train_desc(1, 4, INTERP_SGD, 0.1f);
        switch (i) {
        case 0: d.lr = -1; break;
        case 1: d.lr = (float)NAN; break;
        case 2: d.lr = (float)INFINITY; break;
        case 3: d.momentum = 1; break;
        case 4: d.momentum = -0.1f; break;
        case 5: d.beta1 = 1; break;
        case 6: d.beta2 = -0.5f; break;
        case 7: d.epsilon = -1; break;
        case 8: d.weight_decay = -1; break;
        case 9: d.clip_norm = (float)NAN; break;
        case 10: d.label_smoothing = 1; break;
        case 11: d.epochs = -1; break;
        case 12: d.batch = -4; break;
        default: d.momentum = (float)NAN; break;
        }
        if (interp_train(net, &data, &d, NULL) != INTERP_BAD_ARGUMENT)
            test_fail(__FILE__, __LINE__, "setting %d was taken", i);
        CHECK(strstr(interp_error(ctx), "train: "));
        CHECK(same_state(net, start) && used() == before);
    }
    free(start);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(data_that_does_not_fit_is_refused_before_anything_changes)
{
    interp_dataset data = images(ctx, 8, 4, 3, 1, 1);
    interp_net *net = arch(ctx, "linear", 4, 3);
    REQUIRE(net);
    float *start = state_of(net);
    const size_t before = used();
    const interp_train_desc d = train_desc(1, 4, INTERP_ADAM, 0.1f);
    static const struct {
        interp_status status;
        const char *says;
    } rows[] = {{INTERP_NOT_FINITE, NULL},
                {INTERP_BAD_ARGUMENT, NULL},
                {INTERP_BAD_ARGUMENT, "train: the data has no labels"},
                {INTERP_BAD_SHAPE, "the data has 4 classes but the network 3 outputs"},
                {INTERP_BAD_SHAPE, "samples are [1,4,3] but the network takes [1,4,4]"},
                {INTERP_BAD_ARGUMENT, "train: there are no samples"}};
    for (int i = 0; i < 6; i++)
        for (int validation = 0; validation < 2; validation++) {
            interp_dataset bad = data;
            const float x = data.x[50];
            const int32_t y = data.y[5];
            if (i == 0) data.x[50] = (float)NAN;
            if (i == 1) data.y[5] = 3;
            if (i == 2) bad.y = NULL, bad.n_classes = 0;
            if (i == 3) bad.n_classes = 4;
            if (i == 4) bad.shape.dim[2] = 3;
            if (i == 5) bad.n = 0;
            interp_train_desc v = d;
            interp_dataset good = images(ctx, 8, 4, 3, 1, 1);
            v.validation = validation ? &bad : NULL;
            const interp_status status = interp_train(net, validation ? &good : &bad, &v, NULL);
            data.x[50] = x, data.y[5] = y;
            interp_dataset_free(ctx, &good);
            const char *says = rows[i].says && !validation ? rows[i].says : "";
            if (status != (i == 5 && validation ? status : rows[i].status) || !status ||
                !strstr(interp_error(ctx), says))
                test_fail(__FILE__, __LINE__, "row %d, validation %d: %s \"%s\"", i, validation,
                          interp_status_name(status), interp_error(ctx));
            CHECK(same_state(net, start) && used() == before);
        }
    interp_net *open = interp_net_new(ctx, NULL); /* not built */
    interp_trainer *t = NULL;
    CHECK(interp_trainer_new(open, &d, 0, &t) == INTERP_BAD_ARGUMENT && !t);
    CHECK(interp_train(open, &data, &d, NULL) == INTERP_BAD_ARGUMENT);
    interp_net_free(open);
    free(start);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(a_step_that_goes_wrong_leaves_the_parameters_as_they_were)
{
    interp_dataset data = images(ctx, 8, 8, 3, 1, 1);
    interp_net *net = arch(ctx, "cnn", 8, 3);
    REQUIRE(net);
    const interp_train_desc d = train_desc(0, 8, INTERP_SGD, 1e-3f);
    interp_trainer *t = NULL;
    REQUIRE_OK(ctx, interp_trainer_new(net, &d, 0, &t));
    CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL));
    float *start = state_of(net);
    float x = data.x[9];
    data.x[9] = (float)NAN;
    CHECK(interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL) == INTERP_NOT_FINITE);
    CHECK(
        strstr(interp_error(ctx), "train: the loss or its gradient is NaN or infinite at step 2"));
    CHECK(memcmp(interp_net_parameters(net), start, count(net) * sizeof *start) == 0);
    float *now = state_of(net);
    CHECK(itp_is_finite(now, itp_net_state_size(net))); /* running statistics too */
    data.x[9] = x;
    CHECK_OK(ctx, interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL));
    CHECK(interp_trainer_step(t, data.x, data.y, NULL, 0, NULL, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(interp_trainer_step(t, data.x, data.y, NULL, 9, NULL, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(interp_trainer_step(t, data.x, NULL, NULL, 8, NULL, NULL) == INTERP_BAD_ARGUMENT);
    data.y[7] = 3;
    CHECK(interp_trainer_step(t, data.x, data.y, NULL, 8, NULL, NULL) == INTERP_BAD_ARGUMENT);
    CHECK_STR(interp_error(ctx), "train: label 3 but the network has 3 outputs");
    interp_trainer_free(t);
    free(start), free(now);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(a_training_that_diverges_ends_with_finite_parameters)
{
    interp_dataset data = images(ctx, 32, 6, 3, 1, 1);
    interp_net *net = arch(ctx, "mlp:36-20-3", 6, 3);
    REQUIRE(net);
    const size_t before = used();
    interp_train_desc d = train_desc(50, 8, INTERP_SGD, 1e5f);
    d.loss = INTERP_MSE;
    CHECK(interp_train(net, &data, &d, NULL) == INTERP_NOT_FINITE);
    CHECK(itp_is_finite(interp_net_parameters(net), count(net)) && used() == before);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(training_can_be_cancelled_before_and_after_any_step)
{
    interp_dataset data = images(ctx, 12, 6, 3, 1, 1);
    interp_net *net = arch(ctx, "linear", 6, 3);
    REQUIRE(net);
    const size_t before = used();
    float *start = state_of(net);
    const interp_train_desc d = train_desc(2, 4, INTERP_ADAM, 1e-2f);
    for (int at = 1; at <= 8; at++) { /* the start and 6 steps */
        progress.calls = 0, progress.cancel_at = at;
        const interp_status status = interp_train(net, &data, &d, NULL);
        CHECK(status == (at < 8 ? INTERP_CANCELLED : INTERP_OK));
        if (status) CHECK_STR(interp_error(ctx), "train was cancelled");
        if (at == 1) CHECK(same_state(net, start)); /* so a hook can ask whether memory suffices */
        CHECK(progress.calls == itp_min(at, 7) && used() == before);
    }
    progress.cancel_at = 0;
    free(start);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

/* ---- evaluation */

TEST(evaluation_gives_the_figures_of_the_outputs)
{
    enum { n = 300, k = 3 }; /* more than one batch of 256 */
    interp_dataset data = images(ctx, n, 6, k, 2, 1);
    interp_net *net = interp_net_new(ctx, NULL);
    const interp_shape s = itp_shape_of(3, 1, 6, 6, 1);
    interp_softmax(net, interp_dense(net, interp_input(net, NULL, &s), k, NULL), 1);
    REQUIRE_OK(ctx, interp_net_build(net, 3));
    const size_t before = used();
    static float outputs[n * k], probabilities[n * k];
    static int32_t predicted[n];
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    e.outputs = outputs, e.predicted = predicted;
    CHECK_OK(ctx, interp_predict(net, data.x, n, probabilities));
    for (int loss = INTERP_CROSS_ENTROPY; loss <= INTERP_BCE; loss++) {
        CHECK_OK(ctx, interp_evaluate(net, &data, (interp_loss)loss, &e));
        double sum = 0, g[k];
        int right = 0;
        for (int i = 0; i < n; i++) {
            double t[k] = {0}, norm = 0;
            t[data.y[i]] = 1;
            sum += loss_by_definition((interp_loss)loss, outputs + i * k, t, k, g);
            right += predicted[i] == data.y[i];
            CHECK(predicted[i] == interp_argmax(probabilities + i * k, k));
            for (int j = 0; j < k; j++) norm += exp((double)outputs[i * k + j]);
            for (int j = 0; j < k;
                 j++) /* logits for cross-entropy, the softmax itself for others */
                CHECK_NEAR(loss ? (double)outputs[i * k + j]
                                : exp((double)outputs[i * k + j]) / norm,
                           probabilities[i * k + j], 2e-6);
        }
        CHECK_NEAR(e.loss, sum / (int)n, 1e-6 * fmax(1, e.loss));
        CHECK_NEAR(e.accuracy, (double)right / (int)n, 1e-12);
    }
    interp_dataset unlabelled = data;
    unlabelled.y = NULL, unlabelled.n_classes = 0;
    memset(predicted, 0x7F, sizeof predicted);
    CHECK_OK(ctx, interp_evaluate(net, &unlabelled, INTERP_CROSS_ENTROPY, &e));
    CHECK(e.loss != e.loss && e.accuracy != e.accuracy);
    for (int i = 0; i < n; i++) CHECK(predicted[i] == interp_argmax(probabilities + i * k, k));
    /* under a limit it is cut, and gives the same */
    memset(&e, 0, sizeof e);
    CHECK_OK(ctx, interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e));
    const double whole = e.loss;
    interp_memory_set_limit(ctx, before + 20000);
    CHECK_OK(ctx, interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e));
    CHECK_NEAR(e.loss, whole, 1e-6);
    interp_memory_set_limit(ctx, before + 100);
    CHECK(interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e) == INTERP_NO_MEMORY);
    interp_memory_set_limit(ctx, 0);
    data.shape.dim[0] = 2;
    CHECK(interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e) == INTERP_BAD_SHAPE);
    data.shape.dim[0] = 1;
    CHECK(used() == before);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(networks_that_data_sets_do_not_suit_are_refused)
{
    interp_dataset data = images(ctx, 6, 3, 3, 1, 1);
    interp_net *net = interp_net_new(ctx, "two");
    const interp_shape s = itp_shape_of(3, 1, 3, 3, 1);
    const interp_tensor a = interp_input(net, "a", &s), b = interp_input(net, "b", &s);
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    CHECK(interp_evaluate(net, &data, INTERP_MSE, &e) == INTERP_BAD_ARGUMENT); /* not built yet */
    interp_dense(net, interp_add(net, a, b), 3, NULL);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    const interp_train_desc d = train_desc(1, 2, INTERP_ADAM, 0);
    CHECK(interp_evaluate(net, &data, INTERP_MSE, &e) == INTERP_UNSUPPORTED);
    CHECK(interp_train(net, &data, &d, NULL) == INTERP_UNSUPPORTED);
    CHECK_STR(interp_error(ctx), "train: network \"two\" has 2 inputs, not one");
    interp_net_free(net);
    net = interp_net_new(ctx, "mixed"); /* the batch ends up behind the outputs */
    static const int perm[2] = {1, 0};
    interp_transpose(net, interp_dense(net, interp_input(net, "a", &s), 3, NULL), perm);
    REQUIRE_OK(ctx, interp_net_build(net, 1));
    const size_t before = used();
    CHECK(interp_train(net, &data, &d, NULL) != INTERP_OK && used() == before);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

TEST(a_network_with_a_fixed_batch_keeps_to_it)
{
    interp_dataset data = images(ctx, 8, 3, 3, 1, 1);
    interp_net *net = arch(ctx, "linear", 3, 3);
    REQUIRE(net);
    float want[24], got[24];
    REQUIRE_OK(ctx, interp_predict(net, data.x, 8, want));
    net->fixed_batch = 4; /* as a file may say */
    const size_t before = used();
    CHECK_OK(ctx, interp_predict(net, data.x, 7, got)); /* the rest is filled up */
    CHECK(worst(got, want, 21) < 1e-6);
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    CHECK_OK(ctx, interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e));
    const interp_train_desc d = train_desc(1, 2, INTERP_ADAM, 0);
    CHECK_OK(ctx, interp_train(net, &data, &d, NULL));
    data.n = 7;
    CHECK(interp_evaluate(net, &data, INTERP_CROSS_ENTROPY, &e) == INTERP_BAD_SHAPE);
    CHECK(interp_train(net, &data, &d, NULL) == INTERP_BAD_SHAPE);
    CHECK(used() == before);
    interp_net_free(net);
    interp_dataset_free(ctx, &data);
}

/* ---- failing allocations */

typedef struct act {
    interp_net *net;
    const interp_dataset *data, *other;
} act;

static interp_status act_train(void *arg)
{
    act *a = (act *)arg;
    interp_train_desc d = train_desc(1, 8, INTERP_ADAM, 1e-4f);
    d.validation = a->other, d.restore_best = true;
#if !defined(INTERP_NO_STDIO)
    d.checkpoint = checkpoint_path();
    remove(checkpoint_path());
#endif
    ITP_TRY(interp_train(a->net, a->data, &d, NULL));
    d.epochs = 2;
    return interp_train(a->net, a->data, &d, NULL); /* and once more from the file */
}

static interp_status act_steps(void *arg)
{
    act *a = (act *)arg;
    interp_train_desc d = train_desc(1, 8, INTERP_RMSPROP, 1e-4f);
    interp_trainer *t = NULL;
    d.momentum = 0.5f;
    ITP_TRY(interp_trainer_new(a->net, &d, 0, &t));
    interp_status status = INTERP_OK;
    for (int n = 8; n > 5 && !status; n--) /* sizes that take a workspace of their own */
        status = interp_trainer_step(t, a->data->x, a->data->y, NULL, n, NULL, NULL);
    interp_trainer_free(t);
    return status;
}

static interp_status act_evaluate(void *arg)
{
    act *a = (act *)arg;
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    return interp_evaluate(a->net, a->data, INTERP_CROSS_ENTROPY, &e);
}

/* Fails the n-th allocation, n = 1, 2, .. until it is not reached; twice: that one alone, and all from
   it on. Nothing may leak. */
static void starve(const char *name, interp_status (*act_fn)(void *arg), void *arg)
{
    const size_t before = used();
    for (int mode = 0; mode < 2; mode++)
        for (long n = 1; n < 10000; n++) {
            heap.calls = 0, heap.fail_at = n, heap.from_then_on = mode;
            const interp_status status = act_fn(arg);
            const bool reached = heap.calls >= n;
            heap.fail_at = 0;
            if (used() != before || status != (reached ? INTERP_NO_MEMORY : INTERP_OK)) {
                test_fail(__FILE__, __LINE__, "%s: allocation %ld: %s, %zu bytes left", name, n,
                          interp_status_name(status), used() - before);
                return;
            }
            if (!reached) break;
        }
}

TEST(every_failed_allocation_is_survived)
{
    interp_dataset data = images(ctx, 12, 8, 3, 1, 1), other = images(ctx, 5, 8, 3, 1, 2);
    static const char *const names[] = {"mlp:64-9-3", "cnn"};
    for (int i = 0; i < (slow_here() ? 1 : 2); i++) {
        act a;
        a.net = arch(ctx, names[i], 8, 3), a.data = &data, a.other = &other;
        REQUIRE(a.net);
        starve("train", act_train, &a);
        starve("steps", act_steps, &a);
        starve("evaluate", act_evaluate, &a);
        float y[12 * 3];
        CHECK_OK(ctx, interp_predict(a.net, data.x, 12, y)); /* still usable */
        interp_net_free(a.net);
    }
    remove(checkpoint_path());
    interp_dataset_free(ctx, &data), interp_dataset_free(ctx, &other);
}

int main(int argc, char **argv)
{
    ctx = open_ctx(2);
    if (!ctx) return 1;
    RUN(losses_match_their_definitions);
    RUN(optimisers_take_the_steps_of_pytorch);
    RUN(first_steps_match_numbers_worked_by_hand);
    RUN(the_gradient_is_clipped_to_its_norm);
    RUN(schedules_follow_their_formulas);
    RUN(rules_give_layers_their_own_rate_momentum_and_decay);
    RUN(a_frozen_layer_learns_nothing_from_its_step_on);
    RUN(rules_are_about_names_by_pattern);
    RUN(a_layer_learns_by_an_optimiser_of_its_own);
    RUN(a_delayed_layer_learns_from_the_past);
    RUN(a_step_shows_its_gradient);
    RUN(training_learns_xor);
    RUN(every_sample_is_seen_once_in_an_epoch);
    RUN(soft_labels_of_one_class_are_labels);
    RUN(training_stops_early_and_restores_the_best);
    RUN(training_steps_allocate_nothing);
    RUN(training_is_bit_identical_at_any_thread_count);
#if !defined(INTERP_NO_STDIO)
    RUN(training_resumes_bit_identically);
    RUN(a_training_that_stopped_early_stays_stopped);
    RUN(a_foreign_or_damaged_checkpoint_changes_nothing);
#endif
    RUN(micro_batches_give_the_gradient_of_the_whole_batch);
    RUN(a_training_under_a_memory_limit_never_fails_late);
    RUN(batch_norm_refuses_to_have_its_batch_cut);
    RUN(training_runs_in_a_user_buffer);
    RUN(settings_out_of_range_are_refused);
    RUN(data_that_does_not_fit_is_refused_before_anything_changes);
    RUN(a_step_that_goes_wrong_leaves_the_parameters_as_they_were);
    RUN(a_training_that_diverges_ends_with_finite_parameters);
    RUN(training_can_be_cancelled_before_and_after_any_step);
    RUN(evaluation_gives_the_figures_of_the_outputs);
    RUN(networks_that_data_sets_do_not_suit_are_refused);
    RUN(a_network_with_a_fixed_batch_keeps_to_it);
    RUN(every_failed_allocation_is_survived);
    interp_close(ctx);
    if (heap.held) printf("  FAILED: %zu bytes were never freed\n", heap.held), test_state.failed++;
    return test_end(argc, argv);
}

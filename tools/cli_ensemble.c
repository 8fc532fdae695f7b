/* Many trainings of one network as commands make them, and what they come to. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- data */

/* Keeps two classes, as the original does with 0 and 1 of MNIST. */
static int keep_classes(cli *c, interp_dataset *d, const double *keep, int n)
{
    interp_dataset kept;
    int *at = (int *)interp_alloc(c->ctx, (size_t)d->n * sizeof *at), count = 0;
    if (!at) return cli_fail_ctx(c);
    for (int i = 0; i < d->n; i++)
        for (int k = 0; k < n; k++)
            if (d->y[i] == (int)keep[k]) at[count++] = i;
    if (!count) return cli_fail("--classes: the data has no samples of them");
    if (interp_dataset_subset(c->ctx, d, at, count, &kept)) return cli_fail_ctx(c);
    interp_free(c->ctx, at);
    interp_dataset_free(c->ctx, d);
    for (int i = 0; i < kept.n; i++)
        for (int k = n - 1; k >= 0; k--)
            if (kept.y[i] == (int)keep[k]) {
                kept.y[i] = k;
                break;
            }
    kept.n_classes = n, kept.class_names = NULL;
    *d = kept;
    return CLI_DONE;
}

/* Keeps some numbers of each sample of a table. */
static int keep_columns(interp_dataset *d, const double *keep, int n)
{
    const size_t had = interp_shape_size(&d->shape);
    for (int k = 0; k < n; k++)
        if (!(keep[k] >= 0 && keep[k] < (double)had && keep[k] == floor(keep[k])))
            return cli_usage("--columns: samples have columns 0 to %zu", had - 1);
    for (size_t i = 0; i < (size_t)d->n; i++)
        for (int k = 0; k < n; k++)
            d->x[i * (size_t)n + (size_t)k] = d->x[i * had + (size_t)keep[k]];
    memset(&d->shape, 0, sizeof d->shape);
    d->shape.rank = 1;
    for (int k = 0; k < INTERP_MAX_RANK; k++) d->shape.dim[k] = k ? 1 : n;
    return CLI_DONE;
}

/* Half of a small table to train on and half to test; the statistics are those of the first. */
static int divide(cli *c, cli_ensemble *e)
{
    const interp_dataset *a = &e->train, *b = &e->test;
    const size_t row = interp_shape_size(&a->shape), n = (size_t)a->n + (size_t)b->n;
    interp_dataset all, train, test;
    float *x = (float *)interp_alloc(c->ctx, n * row * sizeof *x);
    int32_t *y = (int32_t *)interp_alloc(c->ctx, n * sizeof *y);
    if (!x || !y) return cli_fail_ctx(c);
    memcpy(x, a->x, (size_t)a->n * row * sizeof *x);
    memcpy(x + (size_t)a->n * row, b->x, (size_t)b->n * row * sizeof *x);
    memcpy(y, a->y, (size_t)a->n * sizeof *y);
    memcpy(y + a->n, b->y, (size_t)b->n * sizeof *y);
    if (interp_dataset_from_arrays(c->ctx, x, y, (int)n, &a->shape, a->n_classes,
                                   (const char *const *)a->class_names, &all) ||
        interp_dataset_split(c->ctx, &all, 0.5, 2, &train, &test))
        return cli_fail_ctx(c);
    interp_free(c->ctx, x);
    interp_free(c->ctx, y);
    interp_dataset_free(c->ctx, &all);
    interp_dataset_free(c->ctx, &e->train);
    interp_dataset_free(c->ctx, &e->test);
    e->train = train, e->test = test;
    return CLI_DONE;
}

static int open_data(cli *c, cli_ensemble *e)
{
    const char *data = cli_get(c, "--data"), *classes = cli_get(c, "--classes");
    const char *columns = cli_get(c, "--columns");
    const bool iris = !strcmp(data, "iris");
    double v[64];
    float scale = 1, mean[1024], std[1024];
    int code = cli_data(c, data, &e->train, &e->test), n = 0;
    if (!code) code = cli_float(c, "--scale", 1e-9, 1e9, &scale);
    if (code) return code;
    if (!e->train.y) return cli_fail("%s: it has no labels to train on", data);
    if (classes && ((n = cli_numbers(classes, v, 64)) < 2))
        return cli_usage("--classes %s: give the numbers of two classes or more", classes);
    if (!code && classes) code = keep_classes(c, &e->train, v, n);
    if (!code && classes) code = keep_classes(c, &e->test, v, n);
    if (code || e->train.shape.rank == 3) {
        for (int half = 0; half < 2 && !code; half++) {
            interp_dataset *d = half ? &e->test : &e->train;
            const size_t all = (size_t)d->n * interp_shape_size(&d->shape);
            for (size_t i = 0; i < all; i++) d->x[i] *= scale;
        }
        return code;
    }
    if (!columns && iris) columns = "2,3"; /* petals, as the original */
    if (columns && strcmp(columns, "all") && (n = cli_numbers(columns, v, 64)) < 1)
        return cli_usage("--columns %s: give numbers from 0, or all", columns);
    if (columns && strcmp(columns, "all")) {
        code = keep_columns(&e->train, v, n);
        if (!code) code = keep_columns(&e->test, v, n);
    }
    if (!code && e->train.n + e->test.n < 1000) code = divide(c, e);
    if (code || e->train.shape.dim[0] > 1024) return code;
    interp_dataset_statistics(&e->train, mean, std, NULL, NULL);
    interp_dataset_normalise(&e->train, mean, std);
    interp_dataset_normalise(&e->test, mean, std);
    return CLI_DONE;
}

/* ---- networks */

/* First layers and those at the end start uniform in -2..2, others as Glorot's, biases at 0. */
static void start_weights(const cli_ensemble *e, interp_net *net, int model)
{
    float *p = interp_net_parameters(net);
    const int arrays = interp_net_parameter_count(net);
    int kernels = 0;
    for (int i = 0; i < arrays; i++) {
        const interp_parameter_info info = interp_net_parameter(net, i);
        const size_t n = interp_shape_size(&info.shape);
        const bool kernel = info.shape.rank > 1;
        const bool wide = kernel && (kernels == 0 || (e->tiny && i + 2 >= arrays));
        double fans = 0;
        if (info.shape.rank == 4) fans = 9.0 * (info.shape.dim[0] + info.shape.dim[1]);
        else if (kernel) fans = info.shape.dim[0] + info.shape.dim[1];
        const double reach = wide ? 2 : kernel ? sqrt(6 / fans) : 0;
        for (size_t k = 0; k < n; k++)
            p[info.offset + k] =
                (float)(reach * (2 * (double)interp_random_uniform(e->seed, (uint64_t)model,
                                                                   info.offset + k) -
                                 1));
        kernels += kernel;
    }
}

/* Dense layers with softmax between them, as the original's for iris. */
static interp_tensor softmax_layers(const cli_ensemble *e, interp_net *net, interp_tensor x)
{
    for (int l = 1; l < e->layers || (e->nodes && l == 1); l++) {
        x = interp_dense(net, x, e->nodes ? e->nodes : e->train.n_classes, NULL);
        x = interp_softmax(net, x, -1);
        if (e->nodes && l + 1 >= e->layers) break;
    }
    return interp_dense(net, x, e->train.n_classes, NULL);
}

/* Convolutions with 2 filters, one large pooling, dropout, a dense layer: the original's for MNIST. */
static interp_tensor tiny_layers(const cli_ensemble *e, interp_net *net, interp_tensor x)
{
    interp_conv2d_desc conv;
    interp_pool2d_desc pool;
    memset(&conv, 0, sizeof conv);
    memset(&pool, 0, sizeof pool);
    conv.channels = e->nodes ? e->nodes : 2;
    const int side = e->train.shape.dim[1] - 2 * e->layers;
    pool.kernel[0] = side >= 16 ? 7 : side >= 4 ? side / 2 : 1;
    for (int l = 0; l < e->layers; l++) x = interp_relu(net, interp_conv2d(net, x, &conv));
    x = interp_dropout(net, interp_pool2d(net, x, &pool), 0.25f);
    return interp_dense(net, interp_flatten(net, x), e->train.n_classes, NULL);
}

static interp_status build(interp_ctx *ctx, int model, interp_net **out, void *user)
{
    const cli_ensemble *e = (const cli_ensemble *)user;
    const bool linear = !strcmp(e->arch, "linear");
    if (!linear && !e->tiny)
        return interp_net_arch(ctx, e->arch, &e->train.shape, e->train.n_classes,
                               e->seed + 1000003u * (uint64_t)model, out);
    interp_net *net = interp_net_new(ctx, e->arch);
    if (!net) return INTERP_NO_MEMORY;
    interp_tensor x = interp_input(net, NULL, &e->train.shape);
    x = linear ? softmax_layers(e, net, x) : tiny_layers(e, net, x);
    interp_output(net, x, "logits");
    const interp_status status = interp_net_build(net, 0);
    if (status) {
        interp_net_free(net);
        return status;
    }
    start_weights(e, net, model);
    *out = net;
    return INTERP_OK;
}

/* ---- settings */

int cli_ensemble_open(cli *c, cli_ensemble *e)
{
    static const char *const which[] = {"largest", "smallest"};
    static const char *const optimizers[] = {"adam", "sgd", "rmsprop"};
    int optimizer = 0, choice = 0;
    const char *arch = cli_get(c, "--arch");
    interp_train_desc *t = &e->desc.train;
    memset(e, 0, sizeof *e);
    int code = open_data(c, e);
    if (code) return code;
    const bool images = e->train.shape.rank == 3;
    e->arch = arch ? arch : images ? "tiny" : "linear";
    e->tiny = !strcmp(e->arch, "tiny");
    e->seed = c->seed;
    if (e->tiny && !images) return cli_usage("--arch tiny needs images");
    e->desc.models = 100, e->early = 2, e->layers = 1, e->dims = 2;
    t->epochs = images ? 4 : 150, t->batch = images ? 128 : 5, t->epsilon = 1e-7f;
    code = cli_int(c, "--models", 2, 1000000, &e->desc.models);
    if (!code) code = cli_int(c, "--epochs", 2, 1000000, &t->epochs);
    if (!code) code = cli_int(c, "--batch", 1, 1000000, &t->batch);
    if (!code) code = cli_int(c, "--layers", 1, 64, &e->layers);
    if (!code) code = cli_int(c, "--nodes", 1, 4096, &e->nodes);
    if (!code) code = cli_int(c, "--early", 0, 1000000, &e->early);
    if (!code) code = cli_int(c, "--dims", 1, INTERP_MAP_DIMS, &e->dims);
    if (!code) code = cli_choice(c, "--weights", which, 2, &choice);
    if (!code) code = cli_choice(c, "--optimizer", optimizers, 3, &optimizer);
    if (!code) code = cli_float(c, "--lr", 1e-12, 1e6, &t->lr);
    t->optimizer = optimizer == 1 ? INTERP_SGD : optimizer == 2 ? INTERP_RMSPROP : INTERP_ADAM;
    t->seed = c->seed;
    e->smallest = choice == 1;
    e->positional = cli_has(c, "--positional-pairs");
    e->swapped = cli_has(c, "--swapped-accuracy");
    if (!code && e->early >= t->epochs)
        code = cli_usage("--early %d: it comes before the last of %d epochs", e->early, t->epochs);
    return code;
}

/* ---- training, resumed from what is in the folder */

static const char *const parts[] = {"key", "done", "weights", "probabilities", "loss"};

/* FNV-1a. */
static uint64_t hash(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (size_t i = 0; i < bytes; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* Trainings are the same when all of this is: settings, the architecture, the data. */
static void make_key(const cli_ensemble *e, double key[CLI_KEY])
{
    const interp_train_desc *t = &e->desc.train;
    uint64_t h = hash(14695981039346656037u, e->arch, strlen(e->arch));
    for (int half = 0; half < 2; half++) {
        const interp_dataset *d = half ? &e->test : &e->train;
        h = hash(h, d->x, (size_t)d->n * interp_shape_size(&d->shape) * sizeof *d->x);
        h = hash(h, d->y, (size_t)d->n * sizeof *d->y);
    }
    const double all[CLI_KEY] = {t->epochs,         t->batch,
                                 e->early,          e->layers,
                                 e->nodes,          t->lr,
                                 t->optimizer,      (double)(e->seed >> 32),
                                 (uint32_t)e->seed, (double)(h >> 32),
                                 (uint32_t)h};
    memcpy(key, all, sizeof all);
}

static int save_part(cli *c, const cli_ensemble *e, const interp_ensemble *done, const char *path)
{
    const int rows = done->models;
    interp_array a[5];
    double key[CLI_KEY];
    memcpy(key, e->key, sizeof key);
    memset(a, 0, sizeof a);
    for (int i = 0; i < 5; i++) {
        a[i].shape.rank = 2;
        for (int k = 0; k < INTERP_MAX_RANK; k++) a[i].shape.dim[k] = 1;
        a[i].shape.dim[0] = i ? rows : 1;
    }
    a[0].data = key, a[0].dtype = INTERP_FLOAT64, a[0].shape.dim[1] = CLI_KEY;
    a[1].data = done->done, a[1].dtype = INTERP_UINT8;
    a[2].data = done->weights, a[2].dtype = INTERP_FLOAT32;
    a[2].shape.dim[1] = (int)((size_t)done->n_snapshots * done->parameters);
    a[3].data = done->probabilities, a[3].dtype = INTERP_FLOAT32;
    a[3].shape.dim[1] = done->n_test * done->n_classes;
    a[4].data = done->test_loss, a[4].dtype = INTERP_FLOAT64;
    return interp_npz_write(c->ctx, path, 5, parts, a) ? CLI_FAILED : CLI_DONE;
}

static interp_status on_round(const interp_ensemble *so_far, void *user)
{
    cli_ensemble *e = (cli_ensemble *)user;
    if (cli_now() - e->saved < 10) return INTERP_OK;
    e->saved = cli_now();
    return save_part(e->c, e, so_far, e->part) ? interp_last_status(e->c->ctx) : INTERP_OK;
}

/* What an earlier run with the same settings has left. */
static bool load_part(cli *c, const cli_ensemble *e, interp_ensemble *from)
{
    interp_array a[5];
    memset(a, 0, sizeof a);
    memset(from, 0, sizeof *from);
    if (!cli_is_file(e->part)) return false;
    bool good = true;
    for (int i = 0; i < 5 && good; i++)
        good = !interp_npz_read(c->ctx, e->part, parts[i], &a[i]) && a[i].shape.rank == 2 &&
               a[i].dtype == (i == 1             ? INTERP_UINT8
                              : i == 2 || i == 3 ? INTERP_FLOAT32
                                                 : INTERP_FLOAT64);
    good = good && a[0].shape.dim[1] == CLI_KEY && !memcmp(a[0].data, e->key, sizeof e->key) &&
           a[1].shape.dim[0] == e->desc.models && a[2].shape.dim[0] == e->desc.models &&
           a[3].shape.dim[0] == e->desc.models && a[4].shape.dim[0] == e->desc.models &&
           a[2].shape.dim[1] % e->desc.n_snapshots == 0;
    if (good) {
        from->models = e->desc.models, from->n_snapshots = e->desc.n_snapshots;
        from->parameters = (size_t)(a[2].shape.dim[1] / e->desc.n_snapshots);
        from->n_test = e->test.n, from->n_classes = a[3].shape.dim[1] / e->test.n;
        from->done = (uint8_t *)a[1].data, from->weights = (float *)a[2].data;
        from->probabilities = (float *)a[3].data, from->test_loss = (double *)a[4].data;
        int done = 0;
        for (int i = 0; i < from->models; i++) done += from->done[i] != 0;
        cli_say(c, "resumed: %d of %d trainings are there", done, from->models);
    }
    interp_clear_error(c->ctx);
    return good;
}

int cli_ensemble_train(cli *c, cli_ensemble *e)
{
    interp_ensemble from;
    const int snapshots[2] = {e->early, e->desc.train.epochs};
    const double begin = cli_now();
    e->c = c;
    e->saved = begin;
    make_key(e, e->key);
    snprintf(e->part, sizeof e->part, "%.*s", (int)sizeof e->part - 1,
             cli_path(e->text, c->folder, "ensemble.part.npz"));
    e->desc.build = build, e->desc.user = e;
    e->desc.on_round = on_round;
    e->desc.snapshots = snapshots, e->desc.n_snapshots = 2;
    e->desc.test = &e->test;
    const bool resumed = load_part(c, e, &from);
    e->desc.resume = resumed ? &from : NULL;
    const interp_status status = interp_ensemble_train(c->ctx, &e->train, &e->desc, &e->all);
    if (resumed) interp_ensemble_free(c->ctx, &from);
    e->desc.resume = NULL;
    if (status) return cli_fail_ctx(c);
    e->seconds = cli_now() - begin;
    remove(e->part);
    return CLI_DONE;
}

/* ---- what they come to */

/* Kernel weights in order of their spread over models at the end; names like kernel_0_3. */
static int rank_weights(cli *c, cli_ensemble *e)
{
    interp_net *net = NULL;
    const size_t p = e->all.parameters;
    e->spread = (double *)interp_alloc(c->ctx, p * sizeof *e->spread);
    e->kernel = (int *)interp_alloc(c->ctx, p * sizeof *e->kernel);
    e->names = (char(*)[40])interp_alloc(c->ctx, p * sizeof *e->names);
    e->accuracy = (double *)interp_alloc(c->ctx, (size_t)e->all.models * sizeof *e->accuracy);
    e->entropy = (double *)interp_alloc(c->ctx, (size_t)e->all.n_test * sizeof *e->entropy);
    if (!e->spread || !e->kernel || !e->names || !e->accuracy || !e->entropy ||
        build(c->ctx, 0, &net, e))
        return cli_fail_ctx(c);
    interp_ensemble_statistics(&e->all, e->test.y, e->swapped, e->accuracy, e->entropy, e->spread);
    int layer = 0;
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info info = interp_net_parameter(net, i);
        if (info.shape.rank < 2) continue;
        for (size_t k = 0; k < interp_shape_size(&info.shape); k++) {
            snprintf(e->names[e->kernels], sizeof *e->names, "kernel_%d_%zu", layer, k);
            e->kernel[e->kernels++] = (int)(info.offset + k);
        }
        layer++;
    }
    interp_net_free(net);
    return CLI_DONE;
}

static void choose_weights(cli_ensemble *e)
{
    for (int i = 0; i < e->dims; i++) { /* the i-th from the end, or the beginning, of the order */
        int best = -1;
        for (int k = 0; k < e->kernels; k++) {
            bool had = false;
            for (int o = 0; o < i; o++) had |= e->chosen[o] == k;
            const double v = e->spread[e->kernel[k]];
            if (had || (best >= 0 && (e->smallest ? v >= e->spread[e->kernel[best]]
                                                  : v < e->spread[e->kernel[best]])))
                continue;
            best = k;
        }
        e->chosen[i] = best;
    }
    for (int i = 0; !e->smallest && i < e->dims / 2; i++) { /* rising */
        const int t = e->chosen[i];
        e->chosen[i] = e->chosen[e->dims - 1 - i];
        e->chosen[e->dims - 1 - i] = t;
    }
}

int cli_ensemble_pairs(cli *c, cli_ensemble *e, cli_dynamics *y)
{
    const size_t models = (size_t)e->all.models, d = (size_t)e->dims, p = e->all.parameters;
    int code = rank_weights(c, e);
    if (code) return code;
    if (e->kernels < e->dims)
        return cli_fail("--dims %d: the network has %d weights", e->dims, e->kernels);
    choose_weights(e);
    e->order = (int *)interp_alloc(c->ctx, models * sizeof *e->order);
    if (!e->order) return cli_fail_ctx(c);
    for (size_t m = 0; m < models; m++) {
        const size_t k =
            (size_t)(((uint64_t)interp_random_u32(e->seed, 0x0DE5, (uint64_t)m) * (m + 1)) >> 32);
        if (k != m) e->order[m] = e->order[k];
        e->order[k] = (int)m;
    }
    e->from = (double *)interp_alloc(c->ctx, models * d * sizeof *e->from);
    e->to = (double *)interp_alloc(c->ctx, models * d * sizeof *e->to);
    if (!e->from || !e->to) return cli_fail_ctx(c);
    for (size_t m = 0; m < models; m++)
        for (size_t k = 0; k < d; k++) {
            const size_t w = (size_t)e->kernel[e->chosen[k]];
            /* the original matches rows by where files are listed, which need not agree */
            const size_t image = e->positional ? (size_t)e->order[m] : m;
            e->from[m * d + k] = (double)e->all.weights[(2 * m) * p + w];
            e->to[m * d + k] = (double)e->all.weights[(2 * image + 1) * p + w];
        }
    for (size_t k = 0; k < d; k++) {
        double low = e->from[k], high = low;
        for (size_t i = k; i < models * d; i += d) {
            low = fmin(low, fmin(e->from[i], e->to[i]));
            high = fmax(high, fmax(e->from[i], e->to[i]));
        }
        y->lower[k] = low - 0.5, y->upper[k] = high + 0.5;
        y->axis[k] = e->names[e->chosen[k]];
    }
    return CLI_DONE;
}

double cli_ensemble_accuracy(const cli_ensemble *e)
{
    double sum = 0;
    for (int m = 0; m < e->all.models; m++) sum += e->accuracy[m] / e->all.models;
    return sum;
}

void cli_ensemble_free(cli *c, cli_ensemble *e)
{
    interp_ensemble_free(c->ctx, &e->all);
    interp_free(c->ctx, e->spread);
    interp_free(c->ctx, e->kernel);
    interp_free(c->ctx, e->names);
    interp_free(c->ctx, e->accuracy);
    interp_free(c->ctx, e->entropy);
    interp_free(c->ctx, e->from);
    interp_free(c->ctx, e->to);
    interp_free(c->ctx, e->order);
    memset(e, 0, sizeof *e);
}

void cli_ensemble_close(cli *c, cli_ensemble *e)
{
    interp_dataset_free(c->ctx, &e->train);
    interp_dataset_free(c->ctx, &e->test);
}

/* ---- tables and pictures */

static int draw_violins(cli *c, const char *title, const char *y_label, const float *values,
                        const int *counts, int n, const char *const *names,
                        const char *const *legend, const uint32_t *colours, const char *path)
{
    interp_violins v;
    interp_chart chart;
    interp_image image;
    memset(&v, 0, sizeof v);
    memset(&chart, 0, sizeof chart);
    v.values = values, v.counts = counts, v.n_groups = n, v.legend = legend;
    v.colours = colours;
    chart.title = title, chart.y_label = y_label;
    chart.x_names = names, chart.n_x_names = n;
    chart.width = n > 6 ? 900 : 160 + 120 * (n < 3 ? 3 : n), chart.height = 480;
    if (interp_chart_violins(c->ctx, &chart, &v, &image)) return cli_fail_ctx(c);
    return cli_write_image(c, &image, path);
}

static size_t add_values(float *to, const double *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i];
    return n;
}

int cli_ensemble_violins(cli *c, const cli_ensemble *e, int n, const char *const *names,
                         const char *folder)
{
    char path[CLI_PATH], text[CLI_SWEPT][48];
    const char *legend[CLI_SWEPT];
    int counts[3][CLI_SWEPT], code = CLI_DONE;
    size_t total[3] = {0, 0, 0};
    if (n > CLI_SWEPT) return cli_usage("a sweep has up to %d values", CLI_SWEPT);
    for (int g = 0; g < n; g++) {
        counts[0][g] = e[g].all.models, counts[1][g] = e[g].all.n_test;
        counts[2][g] = e[g].kernels;
        for (int k = 0; k < 3; k++) total[k] += (size_t)counts[k][g];
        snprintf(text[g], sizeof text[g], "%s: %.3f", names[g], cli_ensemble_accuracy(&e[g]));
        legend[g] = text[g];
    }
    for (int k = 0; k < 3 && !code; k++) {
        static const char *const titles[] = {"Balanced accuracy of the models",
                                             "Entropy of the mean prediction",
                                             "Spread of weights over the models"};
        static const char *const labels[] = {"balanced accuracy", "nats", "standard deviation"};
        static const char *const files[] = {"accuracy.png", "entropy.png", "weights.png"};
        float *v = (float *)interp_alloc(c->ctx, (total[k] + 1) * sizeof *v);
        size_t at = 0;
        if (!v) return cli_fail_ctx(c);
        for (int g = 0; g < n; g++) {
            if (k == 0) at += add_values(v + at, e[g].accuracy, (size_t)counts[k][g]);
            if (k == 1) at += add_values(v + at, e[g].entropy, (size_t)counts[k][g]);
            for (int w = 0; k == 2 && w < e[g].kernels; w++)
                v[at++] = (float)e[g].spread[e[g].kernel[w]];
        }
        code = draw_violins(c, titles[k], labels[k], v, counts[k], n, names, k ? NULL : legend,
                            NULL, cli_path(path, folder, files[k]));
        interp_free(c->ctx, v);
    }
    return code;
}

/* Models by the tile their early weights lie in: all, then tile by tile. */
static int split_by_tile(cli *c, const cli_ensemble *e, const cli_dynamics *y, const int32_t *tile,
                         const char *folder)
{
    char path[CLI_PATH], text[CLI_SWEPT][24];
    const char *names[CLI_SWEPT];
    uint32_t colours[CLI_SWEPT] = {0x909090u};
    int counts[CLI_SWEPT], n = 1;
    size_t at = (size_t)e->all.models;
    const int sets = interp_morse_count(y->morse);
    float *v = (float *)interp_alloc(c->ctx, 2 * at * sizeof *v);
    if (!v) return cli_fail_ctx(c);
    add_values(v, e->accuracy, at);
    counts[0] = e->all.models;
    snprintf(text[0], sizeof text[0], "all %d", e->all.models);
    for (int s = 0; s < sets && n < CLI_SWEPT; s++) {
        counts[n] = 0;
        for (int m = 0; m < e->all.models; m++)
            if (tile[m] == s) v[at++] = (float)e->accuracy[m], counts[n]++;
        if (!counts[n]) continue;
        colours[n] = interp_category_rgb(s);
        snprintf(text[n], sizeof text[n], "tile %d: %d", s, counts[n]);
        n++;
    }
    for (int g = 0; g < n; g++) names[g] = text[g];
    const int code = draw_violins(c, "Balanced accuracy by the tile that models begin in",
                                  "balanced accuracy", v, counts, n, names, NULL, colours,
                                  cli_path(path, folder, "accuracy_by_tile.png"));
    interp_free(c->ctx, v);
    return code;
}

int cli_ensemble_write(cli *c, const cli_ensemble *e, const cli_dynamics *y, const char *folder)
{
    cli_text t = {NULL, 0, 0, false};
    char path[CLI_PATH];
    const size_t d = (size_t)e->dims;
    const interp_shape w = {3, {e->all.models, 2, (int)e->all.parameters, 1, 1, 1, 1, 1}};
    const interp_shape q = {3, {e->all.models, e->all.n_test, e->all.n_classes, 1, 1, 1, 1, 1}};
    int32_t *tile = (int32_t *)interp_alloc(c->ctx, (size_t)e->all.models * sizeof *tile);
    if (!tile) return cli_fail_ctx(c);
    cli_add(&t, "model");
    for (int at = 0; at < 2; at++)
        for (size_t k = 0; k < d; k++)
            cli_add(&t, ",%s_epoch_%d", e->names[e->chosen[k]],
                    at ? e->desc.train.epochs : e->early);
    cli_add(&t, ",box,tile,accuracy,test_loss\n");
    for (size_t m = 0; m < (size_t)e->all.models; m++) {
        const uint32_t box = interp_morse_find(y->morse, e->from + m * d);
        tile[m] = box == UINT32_MAX || !y->retracted ? -1 : y->tiles.tile[box];
        cli_add(&t, "%zu", m);
        for (size_t k = 0; k < 2 * d; k++)
            cli_add(&t, ",%.9g", k < d ? e->from[m * d + k] : e->to[m * d + k - d]);
        cli_add(&t, ",%d,%d,%.6g,%.6g\n", (int)box, (int)tile[m], e->accuracy[m],
                e->all.test_loss[m]);
    }
    int code = cli_text_write(&t, cli_path(path, folder, "models.csv"));
    cli_add(&t, "sample,label,entropy\n");
    for (int i = 0; i < e->all.n_test; i++)
        cli_add(&t, "%d,%d,%.9g\n", i, (int)e->test.y[i], e->entropy[i]);
    if (!code) code = cli_text_write(&t, cli_path(path, folder, "entropy.csv"));
    cli_add(&t, "weight,spread\n");
    for (int k = 0; k < e->kernels; k++)
        cli_add(&t, "%s,%.9g\n", e->names[k], e->spread[e->kernel[k]]);
    if (!code) code = cli_text_write(&t, cli_path(path, folder, "weights.csv"));
    if (!code &&
        (interp_npy_write_f32(c->ctx, cli_path(path, folder, "weights.npy"), e->all.weights, &w) ||
         interp_npy_write_f32(c->ctx, cli_path(path, folder, "probabilities.npy"),
                              e->all.probabilities, &q)))
        code = cli_fail_ctx(c);
    if (!code && y->retracted) code = split_by_tile(c, e, y, tile, folder);
    interp_free(c->ctx, tile);
    return code;
}

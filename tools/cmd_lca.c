/* interp lca: which parameters lowered the loss at every step of a training. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    TRAINING_OPTIONS,
    {"--weights", "W.npy", "offline: parameters of --model before and after each step, [T+1, P]"},
    {"--rule", "RULE", "simpson (default), left, right, trapezoid, gauss"},
    {"--tolerance", "X", "part of a step's loss change that may stay unallocated (0.001)"},
    {"--max-splits", "N", "of a step's path, doubled from 2 until the tolerance holds (32)"},
    {"--subsample", "N", "samples of the loss, drawn anew for each step (all)"},
    {"--batch-stats", NULL, "batch norm by the statistics of each chunk of samples"},
    {"--chunk", "N", "samples of one pass (what fits 64 MB, at most 2048)"},
    {"--store", "WHAT", "layers (default), or full: lca.npy, [T, P]"},
    {NULL, NULL, NULL}};

/* One step, as the files keep it. */
typedef struct step_row {
    interp_lca_step_info info; /* without its arrays */
    double *layer;             /* [layers]: sums */
    double *val_layer;         /* [layers]; NULL: no validation */
    size_t *helped, *zero;     /* [layers] */
} step_row;

typedef struct job {
    cli *c;
    cli_training t;
    interp_array weights; /* offline; else none */
    interp_lca_desc desc;
    interp_lca *lca;
    int32_t *layer_of; /* [parameters] */
    int n_layers;
    size_t n; /* parameters */
    step_row *rows;
    int n_rows, room;
    float *stored; /* [rows, parameters] with --store full */
    bool full;
} job;

/* ---- settings */

static int parse(const cli *c, job *j)
{
    static const char *const rules[] = {"simpson", "left", "right", "trapezoid", "gauss"};
    static const char *const stores[] = {"layers", "full"};
    interp_lca_desc *d = &j->desc;
    int rule = 0, store = 0;
    float tolerance = 0;
    int code = cli_choice(c, "--rule", rules, 5, &rule);
    if (!code) code = cli_choice(c, "--store", stores, 2, &store);
    if (!code) code = cli_float(c, "--tolerance", 1e-12, 1e6, &tolerance);
    if (!code) code = cli_int(c, "--max-splits", 2, 1024, &d->max_splits);
    if (!code) code = cli_int(c, "--subsample", 2, 1 << 30, &d->subsample);
    if (!code) code = cli_int(c, "--chunk", 1, 1 << 30, &d->chunk);
    d->rule = (interp_lca_rule)rule;
    d->tolerance = (double)tolerance;
    d->mode = cli_has(c, "--batch-stats") ? INTERP_BATCH_STATS : INTERP_EVAL;
    d->seed = c->seed;
    j->full = store == 1;
    return code;
}

/* ---- a step */

static interp_status grow(job *j)
{
    interp_ctx *ctx = j->c->ctx;
    const int room = j->room ? 2 * j->room : 64;
    step_row *rows = (step_row *)interp_alloc(ctx, (size_t)room * sizeof *rows);
    float *stored = NULL;
    if (j->full) stored = (float *)interp_alloc(ctx, (size_t)room * j->n * sizeof *stored);
    if (!rows || (j->full && !stored)) return interp_last_status(ctx);
    if (j->n_rows) memcpy(rows, j->rows, (size_t)j->n_rows * sizeof *rows);
    if (j->n_rows && stored) memcpy(stored, j->stored, (size_t)j->n_rows * j->n * sizeof *stored);
    interp_free(ctx, j->rows);
    interp_free(ctx, j->stored);
    j->rows = rows, j->stored = stored, j->room = room;
    return INTERP_OK;
}

static interp_status on_step(const interp_lca_step_info *info, void *user)
{
    job *j = (job *)user;
    interp_ctx *ctx = j->c->ctx;
    const size_t k = (size_t)j->n_layers;
    if (j->n_rows == j->room && grow(j)) return interp_last_status(ctx);
    step_row *r = &j->rows[j->n_rows];
    memset(r, 0, sizeof *r);
    r->info = *info;
    r->layer = (double *)interp_alloc(ctx, k * (2 * sizeof(double) + 2 * sizeof(size_t)));
    if (!r->layer) return interp_last_status(ctx);
    r->val_layer = r->layer + k;
    r->helped = (size_t *)(void *)(r->val_layer + k), r->zero = r->helped + k;
    memset(r->layer, 0, k * (2 * sizeof(double) + 2 * sizeof(size_t)));
    for (size_t i = 0; i < j->n; i++) {
        const int at = j->layer_of[i];
        r->layer[at] += info->lca[i];
        if (info->val_lca) r->val_layer[at] += info->val_lca[i];
        r->helped[at] += info->lca[i] < 0;
        r->zero[at] += info->lca[i] == 0;
        if (j->full) j->stored[(size_t)j->n_rows * j->n + i] = (float)info->lca[i];
    }
    j->n_rows++;
    return INTERP_OK;
}

/* ---- the two ways */

/* All samples of DATA, as the model takes them. */
static int whole_data(cli *c, job *j)
{
    interp_dataset *a = &j->t.train, *b = &j->t.test;
    int code = cli_data(c, cli_get(c, "--data"), a, b);
    if (!code) code = cli_data_fit(c, cli_get(c, "--data"), &j->t.model, a, b);
    if (code || b->n == 0) return code;
    const size_t row = interp_shape_size(&a->shape);
    const size_t n = (size_t)a->n + (size_t)b->n;
    float *x = (float *)interp_alloc(c->ctx, n * row * sizeof *x);
    int32_t *y = (int32_t *)interp_alloc(c->ctx, n * sizeof *y);
    if (!x || !y) return cli_fail_ctx(c);
    if (!a->y || !b->y) return cli_fail("%s: it has no labels", cli_get(c, "--data"));
    memcpy(x, a->x, (size_t)a->n * row * sizeof *x);
    memcpy(x + (size_t)a->n * row, b->x, (size_t)b->n * row * sizeof *x);
    memcpy(y, a->y, (size_t)a->n * sizeof *y);
    memcpy(y + a->n, b->y, (size_t)b->n * sizeof *y);
    interp_free(c->ctx, a->x);
    interp_free(c->ctx, a->y);
    a->x = x, a->y = y, a->n = (int)n;
    return CLI_DONE;
}

static int open_offline(cli *c, job *j)
{
    const char *path = cli_get(c, "--weights");
    if (!cli_has(c, "--model")) return cli_usage("--weights needs --model FILE.onnx");
    int code = cli_model_load(c, cli_get(c, "--model"), NULL, &j->t.model);
    if (!code) code = whole_data(c, j);
    if (!code) code = cli_array(c, path, &j->weights);
    if (code) return code;
    const size_t n = interp_net_describe(j->t.model.net).n_parameters;
    const interp_shape *s = &j->weights.shape;
    if (s->rank != 2 || (size_t)s->dim[1] != n || s->dim[0] < 2)
        return cli_fail("%s: the shape of the array is not [steps + 1, %zu parameters]", path, n);
    return CLI_DONE;
}

/* The trajectory that was stored, row by row. */
static interp_status stage_offline(cli *c, void *user)
{
    job *j = (job *)user;
    const int rows = j->weights.shape.dim[0];
    interp_status status = interp_lca_new(j->t.model.net, &j->t.train, &j->desc, &j->lca);
    for (int i = 0; i < rows && !status; i++) {
        memcpy(interp_net_parameters(j->t.model.net),
               (const float *)j->weights.data + (size_t)i * j->n, j->n * sizeof(float));
        status = i ? interp_lca_step(j->lca, NULL) : interp_lca_begin(j->lca);
        if (!status) status = cli_progress(c, "lca", i, rows - 1);
    }
    interp_lca_free(j->lca);
    j->lca = NULL;
    return status;
}

static interp_status stage_online(cli *c, void *user)
{
    job *j = (job *)user;
    interp_status status = interp_lca_new(j->t.model.net, &j->t.train, &j->desc, &j->lca);
    (void)c;
    j->t.desc.on_step = interp_lca_on_step, j->t.desc.on_step_user = j->lca;
    if (!status) status = interp_train(j->t.model.net, &j->t.train, &j->t.desc, NULL);
    interp_lca_free(j->lca);
    j->lca = NULL;
    return status;
}

/* ---- files */

static int write_tables(cli *c, job *j, const char *folder)
{
    char path[CLI_PATH], name[256];
    cli_text layers = {NULL, 0, 0, false}, residual = {NULL, 0, 0, false};
    const bool validation = j->desc.validation != NULL;
    cli_add(&layers, "step,layer,lca,helped,zero,hurt%s\n", validation ? ",val_lca" : "");
    cli_add(&residual, "step,loss_before,loss_after,allocated,residual,splits,resolved%s%s\n",
            validation ? ",val_before,val_after,val_allocated,val_residual" : "",
            j->desc.subsample ? ",interval" : "");
    size_t *size = (size_t *)calloc((size_t)j->n_layers, sizeof *size);
    if (!size) return cli_fail("out of memory");
    for (size_t i = 0; i < j->n; i++) size[j->layer_of[i]]++;
    for (int t = 0; t < j->n_rows; t++) {
        const step_row *r = &j->rows[t];
        const interp_lca_step_info *s = &r->info;
        for (int k = 0; k < j->n_layers; k++) {
            interp_net_group_name(j->t.model.net, INTERP_BY_LAYER, k, name, sizeof name);
            cli_add(&layers, "%d,", (int)s->step), cli_add_csv(&layers, name);
            cli_add(&layers, ",%.9g,%zu,%zu,%zu", r->layer[k], r->helped[k], r->zero[k],
                    size[k] - r->helped[k] - r->zero[k]);
            if (validation) cli_add(&layers, ",%.9g", r->val_layer[k]);
            cli_add(&layers, "\n");
        }
        cli_add(&residual, "%d,%.9g,%.9g,%.9g,%.9g,%d,%d", (int)s->step, s->loss_before,
                s->loss_after, s->allocated, s->residual, s->splits, s->resolved);
        if (validation)
            cli_add(&residual, ",%.9g,%.9g,%.9g,%.9g", s->val_before, s->val_after,
                    s->val_allocated, s->val_residual);
        if (j->desc.subsample) cli_add(&residual, ",%.9g", s->interval);
        cli_add(&residual, "\n");
    }
    free(size);
    int code = cli_text_write(&layers, cli_path(path, folder, "lca_layers.csv"));
    if (!code) code = cli_text_write(&residual, cli_path(path, folder, "residual.csv"));
    if (code || !j->full) return code;
    const interp_shape shape = {2, {j->n_rows, (int)j->n, 1, 1, 1, 1, 1, 1}};
    return interp_npy_write_f32(c->ctx, cli_path(path, folder, "lca.npy"), j->stored, &shape)
               ? cli_fail_ctx(c)
               : CLI_DONE;
}

int lca_run(cli *c, const char *folder)
{
    static const cli_stage online[] = {stage_online}, offline[] = {stage_offline};
    job j;
    memset(&j, 0, sizeof j);
    j.c = c;
    const bool stored = cli_has(c, "--weights");
    int code = parse(c, &j);
    if (!code) code = stored ? open_offline(c, &j) : cli_training_open(c, &j.t);
    if (code) return code;
    interp_net *net = j.t.model.net;
    j.n = interp_net_describe(net).n_parameters;
    j.layer_of = (int32_t *)interp_alloc(c->ctx, j.n * sizeof *j.layer_of);
    if (!j.layer_of || interp_net_groups(net, INTERP_BY_LAYER, j.layer_of, &j.n_layers, NULL))
        return cli_fail_ctx(c);
    j.desc.loss = j.t.desc.loss;
    j.desc.validation = stored ? NULL : j.t.desc.validation;
    j.desc.on_step = on_step, j.desc.user = &j;
    if (cli_work(c, stored ? offline : online, 1, &j, " or a smaller --chunk"))
        return cli_fail_model(c, &j.t.model);
    return write_tables(c, &j, folder);
}

static int run(cli *c)
{
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = lca_run(c, c->out);
    if (!code) code = cli_commit(c, NULL);
    if (!code) cli_say(c, "written to %s", c->folder);
    return code;
}

const cli_command cmd_lca = {"lca",
                             "--data DATA (--arch ARCH | --model M.onnx [--weights W.npy]) -o DIR",
                             "shares every step's loss change out among the parameters",
                             0,
                             options,
                             run};

/* interp lca: which parameters lowered the loss at every step of a training. */
#include "cli.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    TRAINING_OPTIONS,
    {"--weights", "W.npy", "offline: parameters of --model before and after each step, [T+1, P]"},
    {"--samples", "WHAT", "offline: all (default), or train: those that a training would be given"},
    {"--rule", "RULE", "simpson (default), left, right, trapezoid, gauss"},
    {"--tolerance", "X", "part of a step's loss change that may stay unallocated (0.001)"},
    {"--max-splits", "N", "of a step's path, doubled from 2 until the tolerance holds (32)"},
    {"--subsample", "N", "samples of the loss, drawn anew for each step (all)"},
    {"--batch-stats", NULL,
     "batch norm by each chunk of samples; else by running statistics, whose drift is residual"},
    {"--chunk", "N",
     "samples whose gradients add up in float32, chunks do in double (2048; with --batch-stats what "
     "fits 64 MB)"},
    {"--by", "WHAT,...",
     "what sums are of: layer (default), variable, kind, neuron, input, regex:PATTERN (alike in the "
     "names of parameters), a file (.npy, or lines NAME PATTERN); and class, or example[:N], of N "
     "samples by themselves (100)"},
    {"--straight-path", NULL,
     "along the straight line from first to last parameters, as many steps"},
    {"--control", NULL, "look at how far parameters moved instead of what they allocated"},
    {"--directions", "K",
     "offline: along the K most curved directions at the start and at each quarter of the run, too"},
    {"--store", "WHAT",
     "layers (default), or full: lca.npy, [T, P]; of a training also weights.npy and gradients.npy, of "
     "each step's samples; pictures of single parameters"},
    {"--no-pictures", NULL, "tables and arrays only: no pictures, nothing for TensorBoard"},
    {NULL, NULL, NULL}};

typedef struct job {
    cli *c;
    const char *folder;
    cli_training t;
    interp_array weights; /* offline; else none */
    interp_lca_desc desc;
    interp_lca *lca;
    interp_lca_analysis *analysis;
    interp_lca_analysis_desc look;
    cli_lca view;
    interp_lca_figures all;
    interp_lca_tail tail;
    size_t n;          /* parameters */
    float *stored;     /* [rows, parameters] with --store full */
    int rows, n_rows;  /* there is room for, and stored */
    float *path;       /* [rows + 1, parameters]: of a training, with --store full */
    float *gradients;  /* [rows + 1, parameters]: of each step's samples, and of the last step;
                                   with `path` */
    float *first;      /* [parameters]: where the path begins */
    int steps;         /* of the training that a straight path replaces */
    char by[CLI_PATH]; /* what parameters are summed by */
    int examples;      /* looked at by themselves */
    int32_t *part_of, *example; /* [samples]: see interp_lca_desc.parts; [examples]: samples */
    int curved;                 /* directions of each checkpoint */
    float *basis;               /* [n_directions, parameters] */
    double *curvature;          /* [n_directions]: eigenvalues */
    float *along;               /* [rows, n_directions + 1] */
    float *polca;               /* [rows, examples, n_directions] */
    double *parts;              /* [n_parts, groups]: of a step, without the directions */
    bool full, straight, by_class, part, failed; /* failed: a message is out already */
} job;

/* ---- settings */

/* "class", "example", "example:N" and what parameters are summed by, with commas; what has a colon or
   is a file goes to the end. */
static int parse_by(const cli *c, job *j)
{
    const char *text = cli_get(c, "--by");
    snprintf(j->by, sizeof j->by, "layer");
    for (bool named = false; text && *text;) {
        const bool rest = !strncmp(text, "regex:", 6) || cli_is_file(text);
        const size_t n = rest ? strlen(text) : strcspn(text, ",");
        double examples = 100;
        if (n == 5 && !strncmp(text, "class", n)) j->by_class = true;
        else if (!strncmp(text, "example", 7) && (n == 7 || text[7] == ':')) {
            char number[16];
            snprintf(number, sizeof number, "%.*s", n > 8 && n < 22 ? (int)n - 8 : 0, text + 8);
            if (n > 7 &&
                (!cli_parse_double(number, &examples) || !(examples >= 1) || !(examples <= 100000)))
                return cli_usage("--by %s: give example:N, N from 1 to 100000", text);
            j->examples = (int)examples;
        } else {
            if (named || n >= sizeof j->by)
                return cli_usage("--by: sums are of one thing at a time; %.*s is one more",
                                 (int)(n < 60 ? n : 60), text);
            snprintf(j->by, sizeof j->by, "%.*s", (int)n, text);
            named = true;
        }
        text += n + (text[n] == ',');
    }
    if (j->by_class && j->examples) return cli_usage("--by: class and example exclude each other");
    if ((j->by_class || j->examples) && j->desc.subsample)
        return cli_usage("--by class and example need all samples: no --subsample");
    return CLI_DONE;
}

static int parse(const cli *c, job *j)
{
    static const char *const rules[] = {"simpson", "left", "right", "trapezoid", "gauss"};
    static const char *const stores[] = {"layers", "full"};
    interp_lca_desc *d = &j->desc;
    static const char *const parts[] = {"all", "train"};
    int rule = 0, store = 0, part = 0;
    float tolerance = 0;
    int code = cli_choice(c, "--rule", rules, 5, &rule);
    if (!code) code = cli_choice(c, "--store", stores, 2, &store);
    if (!code) code = cli_choice(c, "--samples", parts, 2, &part);
    if (!code) code = cli_float(c, "--tolerance", 1e-12, 1e6, &tolerance);
    if (!code) code = cli_int(c, "--max-splits", 2, 1024, &d->max_splits);
    if (!code) code = cli_int(c, "--subsample", 2, 1 << 30, &d->subsample);
    if (!code) code = cli_int(c, "--chunk", 1, 1 << 30, &d->chunk);
    if (!code) code = cli_int(c, "--directions", 1, 100, &j->curved);
    if (!code && j->curved && !cli_has(c, "--weights"))
        code = cli_usage("--directions needs the --weights of a run that is over");
    d->rule = (interp_lca_rule)rule;
    d->tolerance = (double)tolerance;
    d->mode = cli_has(c, "--batch-stats") ? INTERP_BATCH_STATS : INTERP_EVAL;
    d->seed = c->seed;
    j->full = store == 1;
    j->straight = cli_has(c, "--straight-path");
    j->look.movement = cli_has(c, "--control");
    j->look.seed = c->seed;
    j->part = part == 1;
    return code ? code : parse_by(c, j);
}

/* ---- a step */

/* Keeps what is along the directions, and takes it out of the parts. */
static void keep_directions(job *j, interp_lca_step_info *info)
{
    const size_t n = (size_t)j->desc.n_directions, groups = (size_t)j->view.groups.n;
    const size_t row = (size_t)j->view.run.steps, parts = (size_t)j->desc.n_parts;
    if (row >= (size_t)j->rows) return;
    for (size_t k = 0; k <= n; k++) j->along[row * (n + 1) + k] = (float)info->directions[k];
    for (size_t i = 0; i < parts; i++) {
        const double *from = info->parts + i * (groups + n);
        memcpy(j->parts + i * groups, from, groups * sizeof *from);
        for (size_t k = 0; k < n; k++)
            j->polca[(row * parts + i) * n + k] = (float)from[groups + k];
    }
    if (parts) info->parts = j->parts;
}

static interp_status on_step(const interp_lca_step_info *of_step, void *user)
{
    job *j = (job *)user;
    interp_lca_step_info copy = *of_step;
    const interp_lca_step_info *info = &copy;
    if (j->curved) keep_directions(j, &copy);
    const interp_status status = interp_lca_analysis_step(info, j->analysis);
    if (status) return status;
    j->view.run = interp_lca_analysis_run(j->analysis);
    j->failed = cli_lca_step(j->c, &j->view, info) != CLI_DONE;
    if (j->failed)
        return interp_last_status(j->c->ctx) ? interp_last_status(j->c->ctx) : INTERP_NO_MEMORY;
    if (!j->full) return INTERP_OK;
    if (j->n_rows == j->rows)
        return interp_fail(j->c->ctx, INTERP_NO_MEMORY, "more than %d steps", j->rows);
    float *row = j->stored + (size_t)j->n_rows++ * j->n;
    for (size_t i = 0; i < j->n; i++)
        row[i] = j->look.movement ? info->moved[i] : (float)info->lca[i];
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
    int code = j->part ? cli_training_open(c, &j->t)
                       : cli_model_load(c, cli_get(c, "--model"), NULL, &j->t.model);
    if (!code && !j->part) code = whole_data(c, j);
    if (!code) code = cli_array(c, path, &j->weights);
    if (code) return code;
    const size_t n = interp_net_describe(j->t.model.net).n_parameters;
    const interp_shape *s = &j->weights.shape;
    if (s->rank != 2 || (size_t)s->dim[1] != n || s->dim[0] < 2)
        return cli_fail("%s: the shape of the array is not [steps + 1, %zu parameters]", path, n);
    return CLI_DONE;
}

/* As many steps along the straight line from `first` to where the parameters are. */
static interp_status straight_path(cli *c, job *j)
{
    float *p = interp_net_parameters(j->t.model.net);
    float *last = (float *)interp_alloc(c->ctx, j->n * sizeof *last);
    if (!last) return interp_last_status(c->ctx);
    memcpy(last, p, j->n * sizeof *last);
    interp_status status = interp_lca_new(j->t.model.net, &j->t.train, &j->desc, &j->lca);
    for (int i = 0; i <= j->steps && !status; i++) {
        const double a = (double)i / j->steps;
        for (size_t k = 0; k < j->n; k++)
            p[k] = (float)((double)j->first[k] + a * ((double)last[k] - (double)j->first[k]));
        if (i == j->steps) memcpy(p, last, j->n * sizeof *last);
        status = i ? interp_lca_step(j->lca, NULL) : interp_lca_begin(j->lca);
        if (!status) status = cli_progress(c, "lca", i, j->steps);
    }
    interp_lca_free(j->lca);
    j->lca = NULL;
    interp_free(c->ctx, last);
    return status;
}

enum { CHECKPOINTS = 4 };

/* The directions, found one after the other beside those that are known. */
static interp_status find_directions(cli *c, job *j)
{
    const float *all = (const float *)j->weights.data;
    interp_lca_desc plain = j->desc;
    plain.groups = NULL, plain.parts = NULL, plain.n_groups = plain.n_parts = 0;
    plain.validation = NULL;
    plain.directions = NULL, plain.n_directions = 0;
    interp_lca *lca = NULL;
    interp_status status = interp_lca_new(j->t.model.net, &j->t.train, &plain, &lca);
    for (int i = 0; i < CHECKPOINTS && !status; i++) {
        const int row = (int)((int64_t)i * (j->weights.shape.dim[0] - 1) / CHECKPOINTS);
        const int n = i * j->curved;
        memcpy(interp_net_parameters(j->t.model.net), all + (size_t)row * j->n, j->n * sizeof *all);
        status = cli_progress(c, "curvature", i, CHECKPOINTS);
        if (!status)
            status = interp_lca_curvature(lca, j->curved, 0, j->basis, n,
                                          j->basis + (size_t)n * j->n, j->curvature + n);
    }
    interp_lca_free(lca);
    return status;
}

/* The trajectory that was stored, row by row. */
static interp_status stage_offline(cli *c, void *user)
{
    job *j = (job *)user;
    const int rows = j->weights.shape.dim[0];
    const float *all = (const float *)j->weights.data;
    memcpy(j->first, all, j->n * sizeof *all);
    if (j->curved) {
        const interp_status found = find_directions(c, j);
        if (found) return found;
        j->desc.directions = j->basis, j->desc.n_directions = CHECKPOINTS * j->curved;
    }
    if (j->straight) {
        j->steps = rows - 1;
        memcpy(interp_net_parameters(j->t.model.net), all + (size_t)j->steps * j->n,
               j->n * sizeof *all);
        return straight_path(c, j);
    }
    interp_status status = interp_lca_new(j->t.model.net, &j->t.train, &j->desc, &j->lca);
    for (int i = 0; i < rows && !status; i++) {
        memcpy(interp_net_parameters(j->t.model.net), all + (size_t)i * j->n, j->n * sizeof *all);
        status = i ? interp_lca_step(j->lca, NULL) : interp_lca_begin(j->lca);
        if (!status) status = cli_progress(c, "lca", i, rows - 1);
    }
    interp_lca_free(j->lca);
    j->lca = NULL;
    return status;
}

/* For a straight path: where the training begins, and how long it is. */
static interp_status count_step(interp_net *net, int64_t step, void *user)
{
    job *j = (job *)user;
    if (!step) memcpy(j->first, interp_net_parameters(net), j->n * sizeof *j->first);
    j->steps = (int)step;
    return INTERP_OK;
}

static interp_status train_step(interp_net *net, int64_t step, void *user)
{
    job *j = (job *)user;
    if (!step) memcpy(j->first, interp_net_parameters(net), j->n * sizeof *j->first);
    if (j->path && step <= j->rows)
        memcpy(j->path + (size_t)step * j->n, interp_net_parameters(net), j->n * sizeof *j->path);
    if (j->path && step && step <= j->rows)
        memcpy(j->gradients + (size_t)(step - 1) * j->n, j->t.desc.gradient,
               j->n * sizeof *j->gradients);
    return interp_lca_on_step(net, step, j->lca);
}

static interp_status stage_online(cli *c, void *user)
{
    job *j = (job *)user;
    interp_status status = INTERP_OK;
    if (j->straight) {
        j->t.desc.on_step = count_step, j->t.desc.on_step_user = j;
        status = interp_train(j->t.model.net, &j->t.train, &j->t.desc, NULL);
        return status ? status : straight_path(c, j);
    }
    status = interp_lca_new(j->t.model.net, &j->t.train, &j->desc, &j->lca);
    j->t.desc.on_step = train_step, j->t.desc.on_step_user = j;
    if (!status) status = interp_train(j->t.model.net, &j->t.train, &j->t.desc, NULL);
    interp_lca_free(j->lca);
    j->lca = NULL;
    return status;
}

/* ---- figures */

static int look_at_run(cli *c, job *j)
{
    cli_lca *v = &j->view;
    const int groups = v->groups.n;
    v->run = interp_lca_analysis_run(j->analysis);
    v->stored = j->stored, v->along = j->along, v->n_along = j->desc.n_directions + 1;
    if (!v->run.steps) return cli_fail("the training made no step");
    v->figures = (interp_lca_figures *)interp_alloc(c->ctx, (size_t)groups * sizeof *v->figures);
    v->peaks = (int32_t *)interp_alloc(c->ctx, (size_t)(groups * v->top) * sizeof *v->peaks);
    if (!v->figures || !v->peaks) return cli_fail_ctx(c);
    for (int k = 0; k < groups; k++)
        if (interp_lca_analysis_figures(j->analysis, k, &v->figures[k])) return cli_fail_ctx(c);
    interp_lca_peaks_desc peaks = {v->top, 0, 0, c->seed};
    if (interp_lca_analysis_figures(j->analysis, -1, &j->all) ||
        interp_lca_tail_fit(c->ctx, v->run.sample, v->run.n_sample, &j->tail) ||
        interp_lca_peaks(c->ctx, v->run.layer, v->run.steps, groups, &peaks, v->peaks,
                         &v->synchrony))
        return cli_fail_ctx(c);
    v->reach = peaks.reach = v->run.steps > 20 ? 10 : (v->run.steps - 1) / 2;
    if (interp_lca_peaks(c->ctx, v->run.layer, v->run.steps, groups, &peaks, NULL, &v->nearby))
        return cli_fail_ctx(c);
    const interp_lca_step_info *s = v->run.step;
    double residual = 0;
    for (int t = 0; t < v->run.steps; t++) residual += s[t].residual;
    v->relative_error = residual / (s[v->run.steps - 1].loss_after - s[0].loss_before);
    return CLI_DONE;
}

/* The columns of figures.csv behind the number of parameters, and the keys of the summary. */
static const struct {
    const char *name;
    size_t at; /* in interp_lca_figures */
} figures[] = {
#define FIGURE(name, field)                                                                        \
    {                                                                                              \
        name, offsetof(interp_lca_figures, field)                                                  \
    }
    FIGURE("total", total),
    FIGURE("validation_total", val_total),
    FIGURE("overfitting", overfit),
    FIGURE("weights", kind[0]),
    FIGURE("biases", kind[1]),
    FIGURE("normalisation", kind[2]),
    FIGURE("helped", helped),
    FIGURE("zero", zero),
    FIGURE("hurt", hurt),
    FIGURE("helped_of_moved", helped_of_moved),
    FIGURE("helped_of_size", helped_of_size),
    FIGURE("most_helped", most_helped),
    FIGURE("hurting", hurting),
    FIGURE("gini_help", gini_help),
    FIGURE("gini_hurt", gini_hurt),
    FIGURE("top_1_percent", top_share),
    FIGURE("needed_for_90_percent", needed),
    FIGURE("gradient_flips", gradient_flips),
    FIGURE("weight_turns", weight_turns),
    FIGURE("lca_flips", lca_flips),
    FIGURE("lca_turns", lca_turns)
#undef FIGURE
};

enum { FIGURES = sizeof figures / sizeof *figures };

/* Those of group k, behind the last one those of all, and its name. */
static const interp_lca_figures *figures_of(const job *j, int k, const char **name)
{
    const bool all = k == j->view.groups.n;
    *name = all ? "all" : j->view.groups.names[k];
    return all ? &j->all : &j->view.figures[k];
}

static double figure(const interp_lca_figures *f, int i)
{
    return *(const double *)(const void *)((const char *)f + figures[i].at);
}

/* ---- files */

static int write_steps(const job *j, const char *folder)
{
    char path[CLI_PATH];
    const interp_lca_run *r = &j->view.run;
    cli_text layers = {NULL, 0, 0, false}, residual = {NULL, 0, 0, false};
    const bool validation = j->desc.validation != NULL;
    cli_add(&layers, "step,layer,lca,helped,zero,hurt%s\n", validation ? ",val_lca" : "");
    cli_add(&residual, "step,loss_before,loss_after,allocated,residual,splits,resolved%s%s\n",
            validation ? ",val_before,val_after,val_allocated,val_residual" : "",
            j->desc.subsample ? ",interval" : "");
    for (int t = 0; t < r->steps; t++) {
        const interp_lca_step_info *s = &r->step[t];
        for (int k = 0; k < r->layers; k++) {
            const int at = t * r->layers + k;
            cli_add(&layers, "%d,", (int)s->step), cli_add_csv(&layers, j->view.groups.names[k]);
            cli_add(&layers, ",%.9g,%zu,%zu,%zu", r->layer[at], (size_t)r->helped[at],
                    (size_t)r->zero[at],
                    j->view.figures[k].parameters - r->helped[at] - r->zero[at]);
            if (validation) cli_add(&layers, ",%.9g", r->val_layer[at]);
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
    const int code = cli_text_write(&layers, cli_path(path, folder, "lca_layers.csv"));
    const int other = cli_text_write(&residual, cli_path(path, folder, "residual.csv"));
    return code ? code : other;
}

static int write_figures(const job *j, const char *folder)
{
    char path[CLI_PATH];
    cli_text table = {NULL, 0, 0, false}, peaks = {NULL, 0, 0, false};
    const cli_lca *v = &j->view;
    cli_add(&table, "layer,parameters"), cli_add(&peaks, "layer,step,lca\n");
    for (int i = 0; i < FIGURES; i++) cli_add(&table, ",%s", figures[i].name);
    for (int k = 0; k <= v->groups.n; k++) {
        const char *name;
        const interp_lca_figures *f = figures_of(j, k, &name);
        cli_add(&table, "\n"), cli_add_csv(&table, name), cli_add(&table, ",%zu", f->parameters);
        for (int i = 0; i < FIGURES; i++)
            cli_add(&table, ","), cli_add_number(&table, figure(f, i), false);
        for (int i = 0; k < v->groups.n && i < v->top; i++) {
            const int at = v->peaks[k * v->top + i];
            if (at < 0) break;
            cli_add_csv(&peaks, name);
            cli_add(&peaks, ",%d,%.9g\n", at + 1, v->run.layer[at * v->groups.n + k]);
        }
    }
    cli_add(&table, "\n");
    const int code = cli_text_write(&table, cli_path(path, folder, "figures.csv"));
    const int other = cli_text_write(&peaks, cli_path(path, folder, "peaks.csv"));
    return code ? code : other;
}

/* How many parameters helped in how many steps, how many allocations are how large, and the neurons. */
static int write_counts(const job *j, const char *folder)
{
    char path[CLI_PATH], name[256];
    const interp_lca_run *r = &j->view.run;
    cli_text times = {NULL, 0, 0, false}, bins = {NULL, 0, 0, false}, units = {NULL, 0, 0, false};
    size_t *count = (size_t *)calloc((size_t)r->steps + 1, sizeof *count);
    double *sum = (double *)calloc((size_t)r->neurons, sizeof *sum);
    cli_add(&times, "steps_helped,parameters\n"), cli_add(&bins, "from,to,count\n");
    cli_add(&units, "neuron,lca\n");
    if (count && sum) {
        for (size_t i = 0; i < r->parameters; i++) count[r->times_helped[i]]++;
        for (size_t i = 0; i < r->parameters; i++) sum[r->neuron_of[i]] += r->total[i];
        for (int t = 0; t <= r->steps; t++) cli_add(&times, "%d,%zu\n", t, count[t]);
        for (int k = 0; k < r->neurons; k++) {
            interp_net_group_name(j->view.net, INTERP_BY_NEURON, k, name, sizeof name);
            cli_add_csv(&units, name), cli_add(&units, ",%.9g\n", sum[k]);
        }
    }
    for (int k = 0; k < 2 * INTERP_LCA_BINS; k++)
        if (r->bins[k])
            cli_add(&bins, "%.9g,%.9g,%.0f\n", (k - INTERP_LCA_BINS) * r->bin_width,
                    (k + 1 - INTERP_LCA_BINS) * r->bin_width, (double)r->bins[k]);
    const bool done = count && sum;
    free(count), free(sum);
    int code = cli_text_write(&times, cli_path(path, folder, "times_helped.csv"));
    int other = cli_text_write(&bins, cli_path(path, folder, "histogram.csv"));
    if (!code) code = other;
    other = cli_text_write(&units, cli_path(path, folder, "neurons.csv"));
    if (!code) code = other;
    return code ? code : done ? CLI_DONE : cli_fail("out of memory");
}

static int write_classes(const job *j, const char *folder)
{
    char path[CLI_PATH];
    const interp_lca_run *r = &j->view.run;
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "step,class,layer,lca\n");
    for (int s = 0; s < r->steps; s++)
        for (int i = 0; i < r->n_parts * r->layers; i++) {
            const int k = i / r->layers;
            cli_add(&t, "%d,", (int)r->step[s].step);
            if (j->t.train.class_names) cli_add_csv(&t, j->t.train.class_names[k]);
            else cli_add(&t, "%d", k);
            cli_add(&t, ","), cli_add_csv(&t, j->view.groups.names[i % r->layers]);
            cli_add(&t, ",%.9g\n",
                    r->part_layer[(size_t)s * (size_t)(r->n_parts * r->layers) + (size_t)i]);
        }
    return cli_text_write(&t, cli_path(path, folder, "classes.csv"));
}

/* What each example's loss changed by and who did it, over the run; and by step in examples.npy. */
static int write_examples(cli *c, const job *j, const char *folder)
{
    char path[CLI_PATH];
    const interp_lca_run *r = &j->view.run;
    const size_t n = (size_t)r->n_parts, groups = (size_t)r->layers;
    const interp_shape shape = {3, {r->steps, r->n_parts, r->layers, 1, 1, 1, 1, 1}};
    float *all = (float *)malloc((size_t)r->steps * n * groups * sizeof *all);
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "sample,class,loss_change,allocated");
    for (int k = 0; k < r->layers; k++) cli_add(&t, ","), cli_add_csv(&t, j->view.groups.names[k]);
    for (size_t i = 0; i < n; i++) {
        double change = 0, sum = 0;
        for (int s = 0; s < r->steps; s++) {
            change += r->part_change[(size_t)s * n + i];
            for (size_t k = 0; k < groups; k++)
                sum += r->part_layer[((size_t)s * n + i) * groups + k];
        }
        cli_add(&t, "\n%d,%d,%.9g,%.9g", (int)j->example[i], (int)j->t.train.y[j->example[i]],
                change, sum);
        for (size_t k = 0; k < groups; k++) {
            double own = 0;
            for (int s = 0; s < r->steps; s++)
                own += r->part_layer[((size_t)s * n + i) * groups + k];
            cli_add(&t, ",%.9g", own);
        }
    }
    cli_add(&t, "\n");
    const int code = cli_text_write(&t, cli_path(path, folder, "examples.csv"));
    if (code || !all) {
        free(all);
        return code ? code : cli_fail("out of memory");
    }
    for (size_t i = 0; i < (size_t)r->steps * n * groups; i++) all[i] = (float)r->part_layer[i];
    const interp_status status =
        interp_npy_write_f32(c->ctx, cli_path(path, folder, "examples.npy"), all, &shape);
    free(all);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* Each direction's sum over the run, by step in directions.npy; of examples in polca.npy. */
static int write_directions(cli *c, const job *j, const char *folder)
{
    char path[CLI_PATH];
    const interp_lca_run *r = &j->view.run;
    const int n = j->desc.n_directions;
    const interp_shape shape = {2, {r->steps, n + 1, 1, 1, 1, 1, 1, 1}};
    const interp_shape of_parts = {3, {r->steps, j->desc.n_parts, n, 1, 1, 1, 1, 1}};
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "direction,step,eigenvalue,lca\n");
    for (int k = 0; k <= n; k++) {
        double sum = 0;
        for (int s = 0; s < r->steps; s++) sum += (double)j->along[s * (n + 1) + k];
        if (k == n) cli_add(&t, "rest,,,%.9g\n", sum);
        else
            cli_add(&t, "%d,%d,%.9g,%.9g\n", k,
                    (int)((int64_t)(k / j->curved) * (j->weights.shape.dim[0] - 1) / CHECKPOINTS),
                    j->curvature[k], sum);
    }
    const int code = cli_text_write(&t, cli_path(path, folder, "directions.csv"));
    if (code) return code;
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "directions.npy"), j->along, &shape) ||
        (j->desc.n_parts &&
         interp_npy_write_f32(c->ctx, cli_path(path, folder, "polca.npy"), j->polca, &of_parts)))
        return cli_fail_ctx(c);
    return CLI_DONE;
}

static int write_arrays(cli *c, const job *j, const char *folder)
{
    char path[CLI_PATH];
    const interp_lca_run *r = &j->view.run;
    const interp_shape neurons = {2, {r->steps, r->neurons, 1, 1, 1, 1, 1, 1}};
    const interp_shape shape = {2, {r->steps, (int)j->n, 1, 1, 1, 1, 1, 1}};
    const interp_shape weights = {2, {r->steps + 1, (int)j->n, 1, 1, 1, 1, 1, 1}};
    if (!j->weights.data) {
        const int code = cli_model_save(c, j->view.net, j->t.model.classes, j->t.model.n_classes,
                                        cli_path(path, folder, "model.onnx"));
        if (code) return code;
    }
    if ((j->path &&
         interp_npy_write_f32(c->ctx, cli_path(path, folder, "weights.npy"), j->path, &weights)) ||
        (j->path && interp_npy_write_f32(c->ctx, cli_path(path, folder, "gradients.npy"),
                                         j->gradients, &shape)) ||
        interp_npy_write_f32(c->ctx, cli_path(path, folder, "neurons.npy"), r->neuron, &neurons) ||
        (j->full &&
         interp_npy_write_f32(c->ctx, cli_path(path, folder, "lca.npy"), j->stored, &shape)))
        return cli_fail_ctx(c);
    return CLI_DONE;
}

static int write_all(cli *c, job *j, const char *folder)
{
    int code = write_steps(j, folder);
    if (!code) code = write_figures(j, folder);
    if (!code) code = write_counts(j, folder);
    if (!code && j->by_class) code = write_classes(j, folder);
    if (!code && j->examples) code = write_examples(c, j, folder);
    if (!code && j->curved) code = write_directions(c, j, folder);
    if (!code) code = write_arrays(c, j, folder);
    return code ? code : cli_lca_draw(c, &j->view, folder);
}

/* The summary: figures of the run and of each layer. */
static int print_json(const job *j, const cli_text *files)
{
    const cli_lca *v = &j->view;
    const interp_lca_step_info *s = v->run.step;
    const int last = v->run.steps - 1;
    int unresolved = 0;
    cli_text t = {NULL, 0, 0, false};
    for (int i = 0; i <= last; i++) unresolved += !s[i].resolved;
    const double values[] = {s[0].loss_before,      s[last].loss_after,   v->relative_error,
                             j->tail.shape,         j->tail.scale,        j->tail.distance,
                             v->synchrony.expected, v->synchrony.p_value, v->nearby.expected,
                             v->nearby.p_value};
    static const char *const keys[] = {
        "loss_before",          "loss_after",  "relative_error",
        "tail_shape",           "tail_scale",  "tail_distance",
        "coincident_by_chance", "synchrony_p", "coincident_by_chance_nearby",
        "synchrony_p_nearby"};

    cli_add(&t, "{\"steps\":%d,\"unresolved\":%d,\"coincident_peaks\":%d", v->run.steps, unresolved,
            v->synchrony.coincident);
    for (int i = 0; i < 10; i++)
        cli_add(&t, ",\"%s\":", keys[i]), cli_add_number(&t, values[i], true);
    cli_add(&t, ",\"layers\":[");
    for (int k = 0; k <= v->groups.n; k++) {
        const char *name;
        const interp_lca_figures *f = figures_of(j, k, &name);
        cli_add(&t, "%s{\"layer\":", k ? "," : "");
        cli_add_json(&t, name);
        cli_add(&t, ",\"parameters\":%zu", f->parameters);
        for (int i = 0; i < FIGURES; i++) {
            cli_add(&t, ",\"%s\":", figures[i].name);
            cli_add_number(&t, figure(f, i), true);
        }
        cli_add(&t, "}");
    }
    cli_add(&t, "],\"files\":%s}\n", files->data ? files->data : "[]");
    return cli_text_print(&t);
}

/* What sums are of: groups of parameters, parts of the samples. */
static int open_groups(cli *c, job *j)
{
    const interp_net *net = j->t.model.net;
    cli_lca *v = &j->view;
    interp_lca_desc *d = &j->desc;
    const int samples = j->t.train.n;
    int code = cli_groups_open(c, net, j->by, &v->groups);
    if (!code) code = cli_groups_open(c, net, "layer", &v->layers);
    if (code) return code;
    j->look.groups = v->groups.of, j->look.n_groups = v->groups.n;
    if (!j->by_class && !j->examples) return CLI_DONE;
    d->groups = v->groups.of, d->n_groups = v->groups.n;
    j->look.n_parts = j->t.train.n_classes;
    if (j->by_class) return CLI_DONE;
    if (j->examples > samples) j->examples = samples;
    j->part_of = (int32_t *)interp_alloc(c->ctx, (size_t)samples * sizeof *j->part_of);
    j->example = (int32_t *)interp_alloc(c->ctx, (size_t)j->examples * sizeof *j->example);
    if (!j->part_of || !j->example) return cli_fail_ctx(c);
    int left = j->examples; /* each as likely as any other, in their order */
    for (int i = 0; i < samples; i++) {
        const double u = (double)interp_random_u32(c->seed, 0x5400000, (uint64_t)i) / 4294967296.0;
        const bool chosen = u * (samples - i) < left;
        j->part_of[i] = chosen ? j->examples - left : -1;
        if (chosen) j->example[j->examples - left--] = i;
    }
    d->parts = j->part_of, d->n_parts = j->look.n_parts = j->examples;
    v->example = j->example;
    return CLI_DONE;
}

/* Room for the directions and what is along them. */
static int open_directions(cli *c, job *j)
{
    const size_t n = CHECKPOINTS * (size_t)j->curved, rows = (size_t)j->rows;
    if (!j->curved) return CLI_DONE;
    if (j->by_class) j->desc.parts = j->t.train.y, j->desc.n_parts = j->t.train.n_classes;
    const size_t parts = (size_t)j->desc.n_parts;
    j->basis = (float *)interp_alloc(c->ctx, n * j->n * sizeof *j->basis);
    j->curvature = (double *)interp_alloc(c->ctx, n * sizeof *j->curvature);
    j->along = (float *)interp_alloc(c->ctx, rows * (n + 1) * sizeof *j->along);
    j->polca = (float *)interp_alloc(c->ctx, rows * parts * n * sizeof *j->polca);
    j->parts = (double *)interp_alloc(c->ctx, parts * (size_t)j->view.groups.n * sizeof *j->parts);
    return j->basis && j->curvature && j->along && j->polca && j->parts ? CLI_DONE
                                                                        : cli_fail_ctx(c);
}

/* The object that looks at the steps, and room for all of them. */
static int open_analysis(cli *c, job *j)
{
    const interp_net *net = j->t.model.net;
    const int batch = j->t.desc.batch < j->t.train.n ? j->t.desc.batch : j->t.train.n;
    cli_lca *v = &j->view;
    int code = open_groups(c, j);
    if (code) return code;
    const double steps = j->weights.data
                             ? j->weights.shape.dim[0] - 1
                             : (double)j->t.desc.epochs * ((j->t.train.n + batch - 1) / batch);
    if (steps > 1e8) return cli_fail("%.0f steps are too many", steps);
    j->rows = j->look.steps = (int)steps;
    code = open_directions(c, j);
    if (code) return code;
    int inputs = 0;
    j->look.inputs = !interp_net_groups(net, INTERP_BY_INPUT, NULL, &inputs, NULL);
    interp_clear_error(c->ctx);
    j->look.validation = j->desc.validation != NULL;
    j->first = (float *)interp_alloc(c->ctx, j->n * sizeof *j->first);
    if (j->full)
        j->stored = (float *)interp_alloc(c->ctx, (size_t)j->rows * j->n * sizeof *j->stored);
    const bool path = j->full && !j->weights.data && !j->straight;
    const size_t rows = (size_t)j->rows + 1;
    if (path) {
        j->path = (float *)interp_alloc(c->ctx, rows * j->n * sizeof *j->path);
        j->gradients = (float *)interp_alloc(c->ctx, rows * j->n * sizeof *j->gradients);
        if (j->gradients) j->t.desc.gradient = j->gradients + (rows - 1) * j->n;
    }
    if (!j->first || (j->full && !j->stored) || (path && (!j->path || !j->gradients)) ||
        interp_lca_analysis_new(net, &j->look, &j->analysis))
        return cli_fail_ctx(c);
    v->net = net, v->data = &j->t.train, v->top = 20, v->steps = j->rows, v->first = j->first;
    v->unit = j->look.movement ? "movement" : "allocation";
    v->run = interp_lca_analysis_run(j->analysis);
    if (!cli_has(c, "--no-pictures")) code = cli_lca_open(c, v, j->folder);
    return code;
}

/* The body of the command; `outcome` keeps what the summary needs. */
static int allocate(cli *c, job *j, const char *folder)
{
    static const cli_stage online[] = {stage_online}, offline[] = {stage_offline};
    memset(j, 0, sizeof *j);
    j->c = c, j->folder = folder;
    const bool stored = cli_has(c, "--weights");
    int code = parse(c, j);
    if (!code) code = stored ? open_offline(c, j) : cli_training_open(c, &j->t);
    if (code) return code;
    j->n = interp_net_describe(j->t.model.net).n_parameters;
    j->desc.loss = j->t.desc.loss;
    j->desc.validation = j->t.desc.validation;
    j->desc.on_step = on_step, j->desc.user = j;
    code = open_analysis(c, j);
    if (code) return code;
    if (cli_work(c, stored ? offline : online, 1, j, " or a smaller --chunk"))
        return j->failed ? CLI_FAILED : cli_fail_model(c, &j->t.model);
    code = look_at_run(c, j);
    return code ? code : write_all(c, j, folder);
}

int lca_run(cli *c, const char *folder, lca_outcome *outcome)
{
    job j;
    const int code = allocate(c, &j, folder);
    if (code) return code;
    outcome->helped = j.all.helped, outcome->helped_of_moved = j.all.helped_of_moved;
    outcome->relative_error = j.view.relative_error;
    outcome->synchrony_p = j.view.synchrony.p_value;
    outcome->steps = j.view.run.steps;
    interp_lca_analysis_free(j.analysis);
    return CLI_DONE;
}

static int run(cli *c)
{
    static const char *const stale[] = {"weights.npy",   /* unless it may be what was read, */
                                        "gradients.npy", /* and what was written with it */
                                        "lca.npy",
                                        "classes.csv",
                                        "directions.*",
                                        "polca.npy",
                                        "examples.csv",
                                        "examples.npy",
                                        "inputs.gif",
                                        "weights.gif",
                                        "inputs.png",
                                        "examples*.png",
                                        "loss.png",
                                        "helped*.png",
                                        "histogram.png",
                                        "layers.png",
                                        "overfitting.png",
                                        "gini.png",
                                        "oscillation.png",
                                        "peaks.png",
                                        "trajectories_*.png",
                                        "neurons_*.png",
                                        "kernels_*.png",
                                        "classes.png",
                                        "tensorboard/events.out.tfevents.#.interp.#.#",
                                        NULL};
    job j;
    cli_text files = {NULL, 0, 0, false};
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = allocate(c, &j, c->out);
    if (code) return code;
    cli_add_files(&files, c);
    code = cli_commit(c, stale + 2 * cli_has(c, "--weights"));
    if (code) return code;
    cli_say(
        c,
        "%d steps, loss %.4f to %.4f, allocated to %.2g %%; %.2f %% of the parameters helped in a "
        "step (%.2f %% of those that did anything); written to %s",
        j.view.run.steps, j.view.run.step[0].loss_before,
        j.view.run.step[j.view.run.steps - 1].loss_after, 100 * fabs(j.view.relative_error),
        100 * j.all.helped, 100 * j.all.helped_of_moved, c->folder);
    if (c->json) code = print_json(&j, &files);
    free(files.data);
    interp_lca_analysis_free(j.analysis);
    return code;
}

const cli_command cmd_lca = {"lca",
                             "--data DATA (--arch ARCH | --model M.onnx [--weights W.npy]) -o DIR",
                             "shares every step's loss change out among the parameters",
                             0,
                             options,
                             run};

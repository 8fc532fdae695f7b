/* interp inspect: how good a model is on data, and what it looks at. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--data", "DATA", "data to look at; its test part is used"},
    {"--samples", "N", "columns of the saliency panel (10)"},
    {"--target", "WHAT", "pred (default), label, or sum: the output the panel explains"},
    {"--baseline", "B", "zero (default), mean, min, max, blur or noise"},
    {"--canonical-steps", "N", "steps of the canonical inputs (256)"},
    NORMALIZE_OPTION,
    {"--layer", "NODE", "layer whose output is embedded (what the last one with weights reads)"},
    EMBEDDING_OPTIONS,
    {NULL, NULL, NULL}};

/* ---- what is found out, all of it before anything is drawn */

typedef struct panel {
    int n; /* samples; 0: no panel */
    size_t size;
    float *x, *baseline, *rows[5]; /* [n, size] */
    int32_t *labels;
    interp_attribution *report;
    char (*captions)[48];
    int baseline_kind;
    interp_attribute_desc desc;
} panel;

typedef struct findings {
    const cli_model *model;
    interp_net *net;
    const interp_dataset *train, *test;
    interp_evaluation evaluation;
    confusion_figures figures;
    panel panel;
    interp_canonical_desc canonical;
    int classes;
    float *inputs, *probability; /* [classes, input], [classes]: canonical */
    int node;                    /* what is embedded, -1 for nothing */
    float *activations;
    cli_embedding embedding;
} findings;

/* ---- saliency panel: source, baseline, saliency, delta, overlay */

/* One sample of each class in turn, then the rest in order. */
static void choose_samples(const interp_dataset *d, int n, int *out)
{
    int filled = 0;
    for (int round = 0; filled < n && round < d->n; round++)
        for (int k = 0; filled < n && k < (d->y ? d->n_classes : 1); k++) {
            int seen = 0;
            for (int i = 0; i < d->n; i++)
                if ((!d->y || d->y[i] == k) && seen++ == round) {
                    out[filled++] = i;
                    break;
                }
        }
    while (filled < n) out[filled++] = 0;
}

static int panel_open(cli *c, panel *p, const interp_dataset *test)
{
    static const char *const kinds[] = {"zero", "mean", "min", "max", "blur", "noise"};
    static const char *const targets[] = {"pred", "label", "sum"};
    static const interp_target target_kinds[] = {INTERP_TARGET_PREDICTED, INTERP_TARGET_LABELS,
                                                 INTERP_TARGET_SUM};
    int target = 0;
    p->n = 10;
    int code = cli_int(c, "--samples", 1, 100, &p->n);
    if (!code) code = cli_choice(c, "--baseline", kinds, 6, &p->baseline_kind);
    if (!code) code = cli_choice(c, "--target", targets, 3, &target);
    if (code) return code;
    if (p->n > test->n) p->n = test->n;
    if (!cli_is_image(&test->shape)) p->n = 0;
    p->size = interp_shape_size(&test->shape);
    const size_t n = (size_t)p->n, bytes = n * p->size * sizeof(float);
    p->report = (interp_attribution *)interp_alloc(c->ctx, n * sizeof *p->report);
    p->x = (float *)interp_alloc(c->ctx, bytes);
    p->baseline = (float *)interp_alloc(c->ctx, bytes);
    p->labels = (int32_t *)interp_alloc(c->ctx, n * sizeof *p->labels);
    p->captions = (char(*)[48])interp_alloc(c->ctx, n * sizeof *p->captions);
    bool ok = p->report && p->x && p->baseline && p->labels && p->captions;
    for (int row = 0; row < 5; row++) {
        p->rows[row] = (float *)interp_alloc(c->ctx, bytes);
        ok = ok && p->rows[row];
    }
    p->desc.keep_sign = true;
    p->desc.target_kind = target_kinds[target];
    p->desc.targets = p->labels;
    return ok ? CLI_DONE : cli_fail_ctx(c);
}

/* Samples, labels, captions and baselines. */
static interp_status panel_fill(cli *c, panel *p, const interp_dataset *test,
                                const int32_t *predicted)
{
    int chosen[100];
    char *const *names = test->class_names;
    choose_samples(test, p->n, chosen);
    for (int i = 0; i < p->n; i++) {
        const int from = chosen[i], got = (int)predicted[from];
        memcpy(p->x + (size_t)i * p->size, test->x + (size_t)from * p->size,
               p->size * sizeof(float));
        p->labels[i] = test->y ? test->y[from] : got;
        if (names && got < test->n_classes)
            snprintf(p->captions[i], sizeof p->captions[i], "%.16s > %.16s", names[p->labels[i]],
                     names[got]);
        else snprintf(p->captions[i], sizeof p->captions[i], "%d > %d", (int)p->labels[i], got);
    }
    return interp_baseline(c->ctx, (interp_baseline_kind)p->baseline_kind, p->x, p->n, &test->shape,
                           c->seed, p->baseline);
}

/* |gradient| at the baseline and at the sample, their signed difference, and difference x source:
   of the same output at both ends. */
static interp_status panel_compute(interp_net *net, panel *p)
{
    interp_attribute_desc d = p->desc;
    const size_t all = (size_t)p->n * p->size;
    interp_status status = interp_attribute(net, p->x, p->n, &d, p->rows[2], p->report);
    if (status) return status;
    if (d.target_kind == INTERP_TARGET_PREDICTED) { /* the same class at the baseline */
        for (int i = 0; i < p->n; i++) p->labels[i] = p->report[i].target;
        d.target_kind = INTERP_TARGET_LABELS;
    }
    status = interp_attribute(net, p->baseline, p->n, &d, p->rows[1], NULL);
    for (size_t i = 0; i < all && !status; i++) {
        const float at_x = p->rows[2][i], at_baseline = p->rows[1][i];
        p->rows[0][i] = p->x[i];
        p->rows[3][i] = at_x - at_baseline;
        p->rows[4][i] = fabsf(at_x - at_baseline) * p->x[i];
        p->rows[1][i] = fabsf(at_baseline);
        p->rows[2][i] = fabsf(at_x);
    }
    return status;
}

static int panel_draw(cli *c, const interp_shape *s, const panel *p, const char *path)
{
    static const char *const names[5] = {"source", "|gradient| at baseline", "saliency |gradient|",
                                         "delta", "|delta| x source"};
    interp_panel_cell *cells =
        (interp_panel_cell *)interp_alloc(c->ctx, 5 * (size_t)p->n * sizeof *cells);
    interp_panel_desc d;
    interp_image image;
    if (!cells) return cli_fail_ctx(c);
    memset(cells, 0, 5 * (size_t)p->n * sizeof *cells);
    memset(&d, 0, sizeof d);
    for (int row = 0; row < 5; row++)
        for (int i = 0; i < p->n; i++) {
            interp_panel_cell *cell = &cells[row * p->n + i];
            cell->values = p->rows[row] + (size_t)i * p->size;
            cell->channels = s->dim[0], cell->height = s->dim[1], cell->width = s->dim[2];
            if (row == 1 || row == 2 || row == 4) cell->colormap = INTERP_COLORMAP_VIRIDIS;
            if (row == 3) cell->colormap = INTERP_COLORMAP_RD_WH_GN;
            if (row == 0) cell->caption = p->captions[i];
        }
    d.title = "What the answer depends on";
    d.cells = cells;
    d.rows = 5, d.cols = p->n;
    d.row_labels = names;
    d.range = INTERP_RANGE_CELL;
    const interp_status status = interp_panel_draw(c->ctx, &d, &image);
    interp_free(c->ctx, cells);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* ---- canonical inputs */

static int canonical_open(cli *c, findings *f)
{
    const interp_shape out = interp_net_output_shape(f->net, 0);
    const interp_dataset *data = f->train;
    interp_canonical_desc *d = &f->canonical;
    const size_t all = (size_t)data->n * interp_shape_size(&data->shape);
    f->classes = (int)interp_shape_size(&out);
    d->seed = c->seed;
    d->like = data;
    d->low = d->high = data->x[0];
    for (size_t i = 0; i < all; i++) {
        d->low = fminf(d->low, data->x[i]);
        d->high = fmaxf(d->high, data->x[i]);
    }
    f->inputs = (float *)interp_alloc(c->ctx, (size_t)f->classes * interp_shape_size(&data->shape) *
                                                  sizeof(float));
    f->probability = (float *)interp_alloc(c->ctx, (size_t)f->classes * sizeof(float));
    const int code = cli_int(c, "--canonical-steps", 1, 1000000, &d->steps);
    return code || (f->inputs && f->probability) ? code : cli_fail_ctx(c);
}

/* What class k is called: into `out` when it has no name. */
static const char *class_name(const findings *f, int k, char out[16])
{
    if (f->test->class_names && k < f->test->n_classes) return f->test->class_names[k];
    snprintf(out, 16, "%d", k);
    return out;
}

static int write_canonical(cli *c, const findings *f, const char *folder)
{
    char path[CLI_PATH], number[16];
    interp_panel_desc d;
    interp_image image;
    const interp_shape in = interp_net_input_shape(f->net, 0);
    const int classes = f->classes, cols = classes < 10 ? classes : 10;
    const int rows = (classes + cols - 1) / cols;
    interp_shape all = in;
    for (int i = in.rank; i > 0; i--) all.dim[i] = in.dim[i - 1];
    all.dim[0] = classes;
    all.rank++;
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "canonical.npy"), f->inputs, &all))
        return cli_fail_ctx(c);
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "class,probability\n");
    for (int k = 0; k < classes; k++) cli_add(&t, "%d,%.6g\n", k, (double)f->probability[k]);
    const int code = cli_text_write(&t, cli_path(path, folder, "canonical.csv"));
    if (code || !cli_is_image(&in) || classes > 1000) return code;
    const size_t cell_count = (size_t)rows * (size_t)cols, size = interp_shape_size(&in);
    char(*text)[48] = (char(*)[48])interp_alloc(c->ctx, cell_count * sizeof *text);
    interp_panel_cell *cells =
        (interp_panel_cell *)interp_alloc(c->ctx, cell_count * sizeof *cells);
    if (!text || !cells) return cli_fail_ctx(c);
    memset(cells, 0, cell_count * sizeof *cells);
    for (int k = 0; k < classes; k++) {
        interp_panel_cell *cell = &cells[k];
        snprintf(text[k], sizeof text[k], "%.24s  p=%.3f", class_name(f, k, number),
                 (double)f->probability[k]);
        cell->values = f->inputs + (size_t)k * size;
        cell->channels = in.dim[0], cell->height = in.dim[1], cell->width = in.dim[2];
        cell->min = f->canonical.low, cell->max = f->canonical.high;
        cell->caption = text[k];
    }
    memset(&d, 0, sizeof d);
    d.title = "Inputs the network takes for each class";
    d.cells = cells;
    d.cols = cols, d.rows = rows;
    const interp_status status = interp_panel_draw(c->ctx, &d, &image);
    interp_free(c->ctx, cells);
    interp_free(c->ctx, text);
    return status ? cli_fail_ctx(c)
                  : cli_write_image(c, &image, cli_path(path, folder, "canonical.png"));
}

/* ---- learned features: the first layer's filters */

static int write_features(cli *c, interp_net *net, const char *folder)
{
    enum { most = 64 };
    char path[CLI_PATH];
    interp_panel_cell cells[most];
    interp_panel_desc d;
    interp_image image;
    int at = 0;
    const int count = interp_net_parameter_count(net);
    while (at < count && interp_net_parameter(net, at).shape.rank != 4) at++;
    if (at == count) return CLI_DONE;
    const interp_parameter_info p = interp_net_parameter(net, at);
    const int *k = p.shape.dim;
    if (k[2] < 2 || k[3] < 2) return CLI_DONE;
    const size_t size = (size_t)k[1] * (size_t)k[2] * (size_t)k[3];
    const int n = k[0] < most ? k[0] : most;
    memset(cells, 0, sizeof cells);
    memset(&d, 0, sizeof d);
    for (int i = 0; i < n; i++) {
        cells[i].values = interp_net_parameters(net) + p.offset + (size_t)i * size;
        cells[i].channels = k[1], cells[i].height = k[2], cells[i].width = k[3];
        cells[i].colormap = k[1] == 3 ? INTERP_COLORMAP_AUTO : INTERP_COLORMAP_RD_WH_GN;
    }
    d.title = "Filters of the first convolution (red: negative, green: positive)";
    if (k[1] == 3) d.title = "Filters of the first convolution";
    d.cells = cells;
    d.cols = n < 8 ? n : 8;
    d.rows = n / d.cols;
    d.cell_size = 72;
    const interp_status status = interp_panel_draw(c->ctx, &d, &image);
    return status ? cli_fail_ctx(c)
                  : cli_write_image(c, &image, cli_path(path, folder, "features.png"));
}

/* ---- embedding: what goes into the last layer, and its principal components */

/* Which layer is embedded, and room for it. */
static int embedding_open(cli *c, findings *f)
{
    const char *name = cli_get(c, "--layer");
    cli_embedding *e = &f->embedding;
    int code = cli_embedding_options(c, "--method", e);
    if (code) return code;
    f->node = name ? cli_layer_find(f->net, name) : cli_layer_last(f->net);
    if (name && f->node < 0)
        return cli_usage("--layer %s: %s has no such layer; interp info lists them", name,
                         f->model->path);
    if (f->node < 0 || f->test->n < 3) return f->node = -1, CLI_DONE;
    const interp_shape s = interp_net_node_shape(f->net, f->node);
    const size_t width = interp_shape_size(&s), n = (size_t)f->test->n;
    if (!name && (width < 2 || width > 2048)) return f->node = -1, CLI_DONE;
    f->activations = (float *)interp_alloc(c->ctx, n * width * sizeof(float));
    if (!f->activations) return cli_fail_ctx(c);
    memset(f->activations, 0, n * width * sizeof(float));
    e->x = f->activations;
    e->n = f->test->n, e->d = (int)width;
    if (e->method == 2 && e->dims > e->d) e->dims = e->pca.n_components = e->d;
    e->classes = f->test->y;
    e->names = (const char *const *)f->test->class_names;
    e->n_names = f->test->n_classes;
    e->predicted = f->evaluation.predicted;
    e->predicted_names = f->classes <= f->test->n_classes ? e->names : NULL;
    if (cli_is_image(&f->test->shape)) {
        e->images = f->test->x;
        e->channels = f->test->shape.dim[0];
        e->height = f->test->shape.dim[1], e->width = f->test->shape.dim[2];
    }
    snprintf(e->title, sizeof e->title, "%s of layer \"%.60s\"", cli_embedding_name(e),
             interp_net_node_name(f->net, f->node));
    return cli_embedding_room(c, e);
}

/* ---- the stages that memory limits */

static interp_status stage_evaluate(cli *c, void *user)
{
    findings *f = (findings *)user;
    const interp_status status =
        interp_evaluate(f->net, f->test, INTERP_CROSS_ENTROPY, &f->evaluation);
    if (!status && f->test->y && !isfinite(f->evaluation.loss))
        return interp_fail(c->ctx, INTERP_NOT_FINITE,
                           "%s: its outputs are NaN or infinite: look for such or huge numbers in "
                           "its weights",
                           f->model->path);
    return status;
}

static interp_status stage_panel(cli *c, void *user)
{
    findings *f = (findings *)user;
    if (!f->panel.n) return INTERP_OK;
    const interp_status status = panel_fill(c, &f->panel, f->test, f->evaluation.predicted);
    return status ? status : panel_compute(f->net, &f->panel);
}

static interp_status stage_canonical(cli *c, void *user)
{
    findings *f = (findings *)user;
    (void)c;
    return interp_canonical(f->net, &f->canonical, f->inputs, f->probability);
}

static interp_status stage_embedding(cli *c, void *user)
{
    findings *f = (findings *)user;
    if (f->node < 0) return INTERP_OK;
    return cli_layer_run(c, f->net, f->node, f->test->x, f->test->n, f->activations);
}

static interp_status stage_points(cli *c, void *user)
{
    findings *f = (findings *)user;
    return f->node < 0 ? INTERP_OK : cli_embedding_stage(c, &f->embedding);
}

/* ---- all of it */

static int inspect_into(cli *c, findings *f, const char *folder)
{
    static const cli_stage stages[] = {stage_evaluate, stage_panel, stage_canonical,
                                       stage_embedding, stage_points};
    char path[CLI_PATH];
    const size_t bytes = (size_t)f->test->n * sizeof *f->evaluation.predicted;
    f->net = f->model->net;
    f->evaluation.predicted = (int32_t *)interp_alloc(c->ctx, bytes);
    if (!f->evaluation.predicted) return cli_fail_ctx(c);
    memset(f->evaluation.predicted, 0, bytes);
    int code = panel_open(c, &f->panel, f->test);
    if (!code) code = canonical_open(c, f);
    if (!code) code = embedding_open(c, f);
    if (!code && cli_work(c, stages, 5, f, "")) code = cli_fail_model(c, f->model);
    if (!code && f->test->y)
        code = write_confusion(c, f->test, f->evaluation.predicted, folder, &f->figures);
    if (!code && f->panel.n)
        code = panel_draw(c, &f->test->shape, &f->panel, cli_path(path, folder, "saliency.png"));
    if (!code) code = write_canonical(c, f, folder);
    if (!code) code = write_features(c, f->net, folder);
    if (!code && f->node >= 0) code = cli_embedding_judge(c, &f->embedding);
    if (!code && f->node >= 0) code = cli_embedding_write(c, &f->embedding, folder, "embedding");
    return code;
}

int inspect_run(cli *c, const cli_model *m, const interp_dataset *train, const interp_dataset *test,
                const char *folder)
{
    findings f;
    memset(&f, 0, sizeof f);
    f.model = m, f.train = train, f.test = test;
    return inspect_into(c, &f, folder);
}

/* The summary; before the results are moved, so that they can be listed. */
static void add_json(cli_text *t, const cli *c, const findings *f)
{
    static const char *const keys[] = {"precision", "recall", "f1"};
    char number[16];
    cli_add(t, "{\"samples\":%d", f->test->n);
    if (f->test->y) {
        cli_add(t, ",\"accuracy\":");
        cli_add_number(t, f->figures.accuracy, true);
        for (int row = 0; row < 2; row++)
            for (int i = 0; i < 3; i++) {
                cli_add(t, "%s\"%s\":",
                        i     ? ","
                        : row ? "},\"weighted\":{"
                              : ",\"macro\":{",
                        keys[i]);
                cli_add_number(t, (row ? f->figures.weighted : f->figures.macro)[i], true);
            }
        cli_add(t, "}");
    }
    cli_add(t, ",\"canonical\":[");
    for (int k = 0; k < f->classes; k++) {
        cli_add(t, "%s{\"class\":%d,\"name\":", k ? "," : "", k);
        cli_add_json(t, class_name(f, k, number));
        cli_add(t, ",\"probability\":");
        cli_add_number(t, (double)f->probability[k], true);
        cli_add(t, "}");
    }
    cli_add(t, "],\"files\":");
    cli_add_files(t, c);
    cli_add(t, "}\n");
}

static int run(cli *c)
{
    static const char *const stale[] = {"confusion.csv",
                                        "confusion.png",
                                        "confusion_normalized.csv",
                                        "saliency.png",
                                        "canonical.png",
                                        "features.png",
                                        "embedding.npy",
                                        "embedding.html",
                                        "embedding_quality.csv",
                                        "embedding.png",
                                        "projector/metadata.tsv",
                                        "projector/tensors.tsv",
                                        "projector/sprite.png",
                                        "projector/projector_config.pbtxt",
                                        NULL};
    cli_model model;
    interp_dataset train, test;
    findings f;
    cli_text summary = {NULL, 0, 0, false};
    const char *data = cli_get(c, "--data");
    memset(&f, 0, sizeof f);
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = cli_model_load(c, c->positional[0], NULL, &model);
    if (!code) code = cli_data(c, data, &train, &test);
    if (!code) code = cli_data_fit(c, data, &model, &train, &test);
    f.model = &model, f.train = &train, f.test = &test;
    if (!code) code = inspect_into(c, &f, c->out);
    if (!code && c->json) add_json(&summary, c, &f);
    if (!code) code = cli_commit(c, stale);
    if (!code && test.y)
        cli_say(c, "accuracy %.2f %% on %d samples; written to %s", 100 * f.figures.accuracy,
                test.n, c->folder);
    if (!code && c->json) return cli_text_print(&summary);
    free(summary.data);
    return code;
}

const cli_command cmd_inspect = {
    "inspect",
    "MODEL.onnx --data DATA -o DIR",
    "confusion, saliency panels, canonical inputs, features, embedding",
    1,
    options,
    run};

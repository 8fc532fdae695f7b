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
    {NULL, NULL, NULL}};

/* ---- confusion */

static int inspect_confusion(cli *c, interp_net *net, const interp_dataset *test,
                             const char *folder, int32_t *predicted, double *accuracy)
{
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    e.predicted = predicted;
    if (interp_evaluate(net, test, INTERP_CROSS_ENTROPY, &e)) return cli_fail_ctx(c);
    if (!test->y) return CLI_DONE;
    return write_confusion(c, test, predicted, folder, accuracy);
}

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

typedef struct panel {
    int n;
    size_t size;
    float *x, *baseline, *rows[5]; /* [n, size] */
    int32_t *labels;
    char (*captions)[48];
} panel;

static int panel_target(const cli *c, interp_attribute_desc *d, const panel *p)
{
    const char *text = cli_get(c, "--target");
    if (!text || !strcmp(text, "pred")) d->target_kind = INTERP_TARGET_PREDICTED;
    else if (!strcmp(text, "sum")) d->target_kind = INTERP_TARGET_SUM;
    else if (!strcmp(text, "label")) d->target_kind = INTERP_TARGET_LABELS, d->targets = p->labels;
    else return cli_usage("--target %s: give pred, label or sum", text);
    return CLI_DONE;
}

/* |gradient| at the baseline and at the sample, their signed difference, and difference x source:
   of the same output at both ends. */
static int panel_compute(cli *c, interp_net *net, panel *p, interp_attribution *report)
{
    interp_attribute_desc d;
    const size_t all = (size_t)p->n * p->size;
    memset(&d, 0, sizeof d);
    int code = panel_target(c, &d, p);
    if (code) return code;
    d.keep_sign = true;
    if (interp_attribute(net, p->x, p->n, &d, p->rows[2], report)) return cli_fail_ctx(c);
    if (d.target_kind == INTERP_TARGET_PREDICTED) { /* the same class at the baseline */
        for (int i = 0; i < p->n; i++) p->labels[i] = report[i].target;
        d.target_kind = INTERP_TARGET_LABELS;
        d.targets = p->labels;
    }
    if (interp_attribute(net, p->baseline, p->n, &d, p->rows[1], NULL)) return cli_fail_ctx(c);
    for (size_t i = 0; i < all; i++) {
        const float at_x = p->rows[2][i], at_baseline = p->rows[1][i];
        p->rows[0][i] = p->x[i];
        p->rows[3][i] = at_x - at_baseline;
        p->rows[4][i] = fabsf(at_x - at_baseline) * p->x[i];
        p->rows[1][i] = fabsf(at_baseline);
        p->rows[2][i] = fabsf(at_x);
    }
    return CLI_DONE;
}

static int panel_draw(cli *c, const interp_dataset *test, const panel *p, const char *path)
{
    static const char *const names[5] = {"source", "|gradient| at baseline", "saliency |gradient|",
                                         "delta", "|delta| x source"};
    const interp_shape *s = &test->shape;
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

static int inspect_saliency(cli *c, interp_net *net, const interp_dataset *test,
                            const int32_t *predicted, const char *folder)
{
    static const char *const kinds[] = {"zero", "mean", "min", "max", "blur", "noise"};
    char path[1024];
    panel p;
    int kind = 0;
    memset(&p, 0, sizeof p);
    p.n = 10;
    const char *baseline = cli_get(c, "--baseline");
    int code = cli_int(c, "--samples", 1, 100, &p.n);
    if (code) return code;
    if (p.n > test->n) p.n = test->n;
    while (baseline && kind < 6 && strcmp(kinds[kind], baseline)) kind++;
    if (kind == 6) return cli_usage("--baseline %s: there is no such baseline", baseline);
    p.size = interp_shape_size(&test->shape);
    const size_t bytes = (size_t)p.n * p.size * sizeof(float);
    int *chosen = (int *)interp_alloc(c->ctx, (size_t)p.n * sizeof *chosen);
    interp_attribution *report =
        (interp_attribution *)interp_alloc(c->ctx, (size_t)p.n * sizeof *report);
    p.x = (float *)interp_alloc(c->ctx, bytes);
    p.baseline = (float *)interp_alloc(c->ctx, bytes);
    p.labels = (int32_t *)interp_alloc(c->ctx, (size_t)p.n * sizeof *p.labels);
    p.captions = (char(*)[48])interp_alloc(c->ctx, (size_t)p.n * sizeof *p.captions);
    bool ok = chosen && report && p.x && p.baseline && p.labels && p.captions;
    for (int row = 0; row < 5; row++) {
        p.rows[row] = (float *)interp_alloc(c->ctx, bytes);
        ok = ok && p.rows[row];
    }
    if (!ok) return cli_fail_ctx(c);
    choose_samples(test, p.n, chosen);
    for (int i = 0; i < p.n; i++) {
        const int from = chosen[i], got = (int)predicted[from];
        memcpy(p.x + (size_t)i * p.size, test->x + (size_t)from * p.size, p.size * sizeof(float));
        p.labels[i] = test->y ? test->y[from] : got;
        char *const *names = test->class_names;
        if (names && got < test->n_classes)
            snprintf(p.captions[i], sizeof p.captions[i], "%.16s > %.16s", names[p.labels[i]],
                     names[got]);
        else snprintf(p.captions[i], sizeof p.captions[i], "%d > %d", (int)p.labels[i], got);
    }
    if (interp_baseline(c->ctx, (interp_baseline_kind)kind, p.x, p.n, &test->shape, c->seed,
                        p.baseline))
        return cli_fail_ctx(c);
    code = panel_compute(c, net, &p, report);
    if (!code) code = panel_draw(c, test, &p, cli_path(path, folder, "saliency.png"));
    return code;
}

/* ---- canonical inputs */

static int inspect_canonical(cli *c, interp_net *net, const interp_dataset *data,
                             const char *folder)
{
    char path[1024];
    interp_canonical_desc d;
    interp_image image;
    const interp_shape out = interp_net_output_shape(net, 0), in = interp_net_input_shape(net, 0);
    const int classes = (int)interp_shape_size(&out);
    const size_t size = interp_shape_size(&in);
    memset(&d, 0, sizeof d);
    d.seed = c->seed;
    int code = cli_int(c, "--canonical-steps", 1, 1000000, &d.steps);
    if (code) return code;
    d.low = d.high = data->x[0];
    for (size_t i = 0; i < (size_t)data->n * size; i++) {
        d.low = fminf(d.low, data->x[i]);
        d.high = fmaxf(d.high, data->x[i]);
    }
    float *x = (float *)interp_alloc(c->ctx, (size_t)classes * size * sizeof *x);
    float *p = (float *)interp_alloc(c->ctx, (size_t)classes * sizeof *p);
    char(*text)[48] = (char(*)[48])interp_alloc(c->ctx, (size_t)classes * sizeof *text);
    interp_panel_cell *cells =
        (interp_panel_cell *)interp_alloc(c->ctx, (size_t)classes * sizeof *cells);
    if (!x || !p || !text || !cells || interp_canonical(net, &d, x, p)) return cli_fail_ctx(c);
    const interp_shape all = {4, {classes, in.dim[0], in.dim[1], in.dim[2], 1, 1, 1, 1}};
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "canonical.npy"), x, &all))
        return cli_fail_ctx(c);
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "class,probability\n");
    memset(cells, 0, (size_t)classes * sizeof *cells);
    for (int k = 0; k < classes; k++) {
        const char *name = data->class_names && k < data->n_classes ? data->class_names[k] : NULL;
        cli_add(&t, "%d,%.6g\n", k, (double)p[k]);
        if (name) snprintf(text[k], sizeof text[k], "%.24s  p=%.3f", name, (double)p[k]);
        else snprintf(text[k], sizeof text[k], "%d  p=%.3f", k, (double)p[k]);
        cells[k].values = x + (size_t)k * size;
        cells[k].channels = in.dim[0], cells[k].height = in.dim[1], cells[k].width = in.dim[2];
        cells[k].min = d.low, cells[k].max = d.high;
        cells[k].caption = text[k];
    }
    code = cli_text_write(&t, cli_path(path, folder, "canonical.csv"));
    if (code || !cli_is_image(&in) || classes > 1000) return code;
    interp_panel_desc panel_desc;
    memset(&panel_desc, 0, sizeof panel_desc);
    panel_desc.title = "Inputs the network takes for each class";
    panel_desc.cells = cells;
    panel_desc.cols = classes < 10 ? classes : 10;
    panel_desc.rows = (classes + panel_desc.cols - 1) / panel_desc.cols;
    if (panel_desc.rows * panel_desc.cols != classes) panel_desc.rows = classes / panel_desc.cols;
    const interp_status status = interp_panel_draw(c->ctx, &panel_desc, &image);
    return status ? cli_fail_ctx(c)
                  : cli_write_image(c, &image, cli_path(path, folder, "canonical.png"));
}

/* ---- learned features: the first layer's filters */

static int inspect_features(cli *c, interp_net *net, const char *folder)
{
    enum { most = 64 };
    char path[1024];
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

/* ---- embedding: what goes into the last layer, by its principal components */

/* Node whose output the last layer with weights reads; -1 when there is none. */
static int embedding_node(const interp_net *net)
{
    for (int i = interp_net_describe(net).n_nodes - 1; i > 0; i--)
        if (!strcmp(interp_net_node_op(net, i), "Gemm") ||
            !strcmp(interp_net_node_op(net, i), "MatMul"))
            return i - 1;
    return -1;
}

/* Activations of node `at` for every sample: [n, d]. */
static int embedding(cli *c, interp_net *net, const interp_dataset *data, int at, float **out,
                     int *dims)
{
    interp_workspace_desc d;
    interp_workspace *w = NULL;
    memset(&d, 0, sizeof d);
    d.keep = interp_net_node_name(net, at);
    d.batch = interp_workspace_fit(c->ctx, net, &d, data->n < 64 ? data->n : 64);
    const interp_shape s = interp_net_node_shape(net, at);
    const size_t size = interp_shape_size(&data->shape), width = interp_shape_size(&s);
    float *y = (float *)interp_alloc(c->ctx, (size_t)data->n * width * sizeof *y);
    float *x = (float *)interp_alloc(c->ctx, (size_t)d.batch * size * sizeof *x);
    if (!d.batch || !y || !x || interp_workspace_new(c->ctx, net, &d, &w)) return cli_fail_ctx(c);
    for (int i = 0; i < data->n; i += d.batch) {
        const int some = data->n - i < d.batch ? data->n - i : d.batch;
        const float *from = x;
        memset(x, 0, (size_t)d.batch * size * sizeof *x);
        memcpy(x, data->x + (size_t)i * size, (size_t)some * size * sizeof *x);
        if (interp_forward(w, &from)) return cli_fail_ctx(c);
        memcpy(y + (size_t)i * width, interp_workspace_kept(w), (size_t)some * width * sizeof *y);
    }
    interp_workspace_free(w);
    interp_free(c->ctx, x);
    *out = y;
    *dims = (int)width;
    return CLI_DONE;
}

static int inspect_embedding(cli *c, interp_net *net, const interp_dataset *test,
                             const char *folder)
{
    char path[1024], title[160], x_label[64], y_label[64];
    float *y = NULL, explained[2];
    int dims = 0;
    const int at = embedding_node(net);
    if (at < 0 || test->n < 3) return CLI_DONE;
    const interp_shape node = interp_net_node_shape(net, at);
    if (interp_shape_size(&node) < 2 || interp_shape_size(&node) > 2048) return CLI_DONE;
    if (embedding(c, net, test, at, &y, &dims)) return CLI_FAILED;
    float *scores = (float *)interp_alloc(c->ctx, 2 * (size_t)test->n * sizeof *scores);
    if (!scores || interp_pca(c->ctx, y, test->n, dims, NULL, scores, NULL, explained))
        return cli_fail_ctx(c);
    const interp_shape s = {2, {test->n, 2, 1, 1, 1, 1, 1, 1}};
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "embedding.npy"), scores, &s))
        return cli_fail_ctx(c);
    interp_scatter scatter;
    interp_chart chart;
    interp_image image;
    memset(&scatter, 0, sizeof scatter);
    memset(&chart, 0, sizeof chart);
    snprintf(title, sizeof title, "Principal components of \"%.60s\" (%d numbers), by true class",
             interp_net_node_name(net, at), dims);
    snprintf(x_label, sizeof x_label, "component 1 (%.1f %% of the variance)",
             100 * (double)explained[0]);
    snprintf(y_label, sizeof y_label, "component 2 (%.1f %%)", 100 * (double)explained[1]);
    chart.title = title, chart.x_label = x_label, chart.y_label = y_label;
    scatter.points = scores;
    scatter.n = test->n;
    scatter.classes = test->y;
    scatter.n_classes = test->n_classes;
    scatter.class_names = (const char *const *)test->class_names;
    if (interp_chart_scatter(c->ctx, &chart, &scatter, &image)) return cli_fail_ctx(c);
    return cli_write_image(c, &image, cli_path(path, folder, "embedding.png"));
}

/* ---- all of it */

int inspect_run(cli *c, interp_net *net, const interp_dataset *train, const interp_dataset *test,
                const char *folder)
{
    double accuracy = 0;
    int32_t *predicted = (int32_t *)interp_alloc(c->ctx, (size_t)test->n * sizeof *predicted);
    if (!predicted) return cli_fail_ctx(c);
    int code = cli_make_folder(folder);
    if (!code) code = inspect_confusion(c, net, test, folder, predicted, &accuracy);
    if (!code && cli_is_image(&test->shape))
        code = inspect_saliency(c, net, test, predicted, folder);
    if (!code) code = inspect_canonical(c, net, train, folder);
    if (!code) code = inspect_features(c, net, folder);
    if (!code) code = inspect_embedding(c, net, test, folder);
    interp_free(c->ctx, predicted);
    if (!code && test->y)
        cli_say(c, "accuracy %.2f %% on %d samples; written to %s", 100 * accuracy, test->n,
                folder);
    return code;
}

static int run(cli *c)
{
    interp_net *net;
    interp_dataset train, test;
    const char *folder = cli_get(c, "-o");
    if (!folder) return cli_usage("inspect: -o DIR is missing: the folder for the results");
    if (interp_onnx_load(c->ctx, c->positional[0], &net)) return cli_fail_ctx(c);
    if (cli_data(c, cli_get(c, "--data"), &train, &test)) return CLI_FAILED;
    const interp_shape in = interp_net_input_shape(net, 0);
    if (interp_shape_size(&in) != interp_shape_size(&test.shape))
        return cli_fail("%s: its inputs have %zu numbers, but samples of %s have %zu",
                        c->positional[0], interp_shape_size(&in), cli_get(c, "--data"),
                        interp_shape_size(&test.shape));
    return inspect_run(c, net, &train, &test, folder);
}

const cli_command cmd_inspect = {
    "inspect",
    "MODEL.onnx --data DATA -o DIR",
    "confusion, saliency panels, canonical inputs, features, embedding",
    1,
    options,
    run};

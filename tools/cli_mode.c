/* Pictures of MODE: heat maps, the most and least alike, layers, rounds. */
#include "cli_mode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Name of class k. */
static const char *class_name(const cli_mode *m, int k, char out[24])
{
    if (m->t.model.classes && k < m->t.model.n_classes)
        snprintf(out, 24, "%s", m->t.model.classes[k]);
    else snprintf(out, 24, "%d", k);
    return out;
}

/* ---- heat maps */

/* Shape of a map as a picture: planes, or numbers in rows. */
static void map_size(const interp_mode_maps *maps, interp_panel_cell *cell)
{
    const interp_shape *s = &maps->shape;
    if (s->rank == 3) {
        cell->channels = s->dim[0], cell->height = s->dim[1], cell->width = s->dim[2];
        return;
    }
    int rows = (int)sqrt((double)maps->size);
    while (rows > 1 && maps->size % (size_t)rows) rows--;
    cell->channels = 1, cell->height = rows, cell->width = (int)maps->size / rows;
}

/* Maps [K, size] in two rows or more. counts: samples of each; NULL: not told. */
static int draw_grid(cli *c, const cli_mode *m, const interp_mode_maps *maps, const float *of,
                     const int *counts, const char *title, bool signs, const char *path)
{
    const int k = maps->n_classes < 100 ? maps->n_classes : 100, cols = k < 5 ? k : (k + 1) / 2;
    const int rows = (k + cols - 1) / cols;
    const size_t n = (size_t)(rows * cols);
    interp_panel_cell *cells = (interp_panel_cell *)calloc(n, sizeof *cells);
    char(*captions)[48] = (char(*)[48])calloc(n, sizeof *captions);
    interp_panel_desc d;
    interp_image image;
    char name[24];
    memset(&d, 0, sizeof d);
    if (!cells || !captions) {
        free(cells), free(captions);
        return cli_fail("out of memory");
    }
    for (int i = 0; i < k; i++) {
        if (counts) snprintf(captions[i], 48, "%.20s  (%d)", class_name(m, i, name), counts[i]);
        else snprintf(captions[i], 48, "%.20s", class_name(m, i, name));
        map_size(maps, &cells[i]);
        cells[i].values = of + (size_t)i * maps->size;
        cells[i].colormap = signs ? INTERP_COLORMAP_SEISMIC : INTERP_COLORMAP_VIRIDIS;
        cells[i].caption = captions[i];
    }
    d.title = title, d.cells = cells, d.rows = rows, d.cols = cols, d.cell_size = 112;
    d.range = INTERP_RANGE_ALL;
    const interp_status status = interp_panel_draw(c->ctx, &d, &image);
    free(cells), free(captions);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Arrays and pictures of all kinds of maps, as FOLDER/PREFIX_KIND. */
static int draw_kinds(cli *c, const cli_mode *m, const interp_mode_maps *maps, const char *prefix,
                      const char *where, const char *folder)
{
    static const char *const kinds[5] = {"hci", "hmi", "hwi", "dhmi", "dhwi"};
    static const char *const titles[5] = {
        "HCI: right inputs of each label", "HMI: others mistaken for it",
        "HWI: inputs of it mistaken for others", "DHMI: HMI - HCI", "DHWI: HWI - HCI"};
    const float *const of[5] = {maps->hci, maps->hmi, maps->hwi, maps->dhmi, maps->dhwi};
    const int *const counts[5] = {maps->n_hci, maps->n_hmi, maps->n_hwi, NULL, NULL};
    char path[CLI_PATH], file[96], title[160];
    interp_shape shape = {2, {maps->n_classes, (int)maps->size, 1, 1, 1, 1, 1, 1}};
    for (int k = 0; k < 5; k++) {
        snprintf(file, sizeof file, "%s_%s.npy", prefix, kinds[k]);
        if (interp_npy_write_f32(c->ctx, cli_path(path, folder, file), of[k], &shape))
            return cli_fail_ctx(c);
        snprintf(file, sizeof file, "%s_%s.png", prefix, kinds[k]);
        snprintf(title, sizeof title, "%s, %.80s", titles[k], where);
        const int code =
            draw_grid(c, m, maps, of[k], counts[k], title, k > 2, cli_path(path, folder, file));
        if (code) return code;
    }
    return CLI_DONE;
}

/* HCI of the label, of the one it is mixed up with most, and their difference. */
static int draw_dhci(cli *c, const cli_mode *m, const char *path)
{
    const interp_mode_maps *maps = &m->inputs;
    const interp_mode_diagnosis *d = &m->diagnosis;
    const int l = m->label[0], k = maps->n_classes;
    int rival = l ? 0 : 1;
    for (int j = 0; j < k; j++)
        if (j != l && d->val_counts[l * k + j] + d->val_counts[j * k + l] >
                          d->val_counts[l * k + rival] + d->val_counts[rival * k + l])
            rival = j;
    if (k < 2) return CLI_DONE;
    interp_panel_cell cells[3];
    char captions[3][64], a[24], b[24];
    interp_panel_desc panel;
    interp_image image;
    float *difference = (float *)malloc(maps->size * sizeof *difference);
    if (!difference) return cli_fail("out of memory");
    interp_mode_dhci(maps, l, rival, difference);
    memset(cells, 0, sizeof cells), memset(&panel, 0, sizeof panel);
    snprintf(captions[0], 64, "HCI of %.20s", class_name(m, l, a));
    snprintf(captions[1], 64, "HCI of %.20s", class_name(m, rival, b));
    snprintf(captions[2], 64, "DHCI: %.20s - %.20s", a, b);
    const float *const of[3] = {maps->hci + (size_t)l * maps->size,
                                maps->hci + (size_t)rival * maps->size, difference};
    for (int i = 0; i < 3; i++) {
        map_size(maps, &cells[i]);
        cells[i].values = of[i], cells[i].caption = captions[i];
        cells[i].colormap = i == 2 ? INTERP_COLORMAP_SEISMIC : INTERP_COLORMAP_VIRIDIS;
    }
    panel.title = "What is unique to the label", panel.cells = cells;
    panel.rows = 1, panel.cols = 3, panel.cell_size = 160;
    const interp_status status = interp_panel_draw(c->ctx, &panel, &image);
    free(difference);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Accuracies of the feature models, and how much each layer changes their outputs. */
static int draw_layers(cli *c, const cli_mode *m, const char *path)
{
    const interp_mode_layers *l = &m->layers;
    const size_t n = (size_t)l->n;
    float *y = (float *)malloc(4 * n * sizeof *y), at = (float)l->selected;
    const char **names = (const char **)malloc(n * sizeof *names);
    char label[64], name[24];
    interp_series series[4];
    interp_chart chart;
    interp_image image;
    memset(series, 0, sizeof series), memset(&chart, 0, sizeof chart);
    if (!y || !names) {
        free(y), free(names);
        return cli_fail("out of memory");
    }
    snprintf(label, sizeof label, "validation, label %.20s", class_name(m, m->label[0], name));
    const char *const titles[4] = {"training", "validation", label, "distance to the layer before"};
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)l->layer[i].train_accuracy, y[n + i] = (float)l->layer[i].val_accuracy;
        y[2 * n + i] = (float)l->label_accuracy[i * (size_t)l->n_classes + (size_t)m->label[0]];
        y[3 * n + i] = (float)l->layer[i].distance;
        names[i] = l->layer[i].name;
    }
    for (int k = 0; k < 4; k++) {
        series[k].name = titles[k], series[k].y = y + (size_t)k * n, series[k].n = l->n;
        series[k].style = INTERP_SERIES_LINE_POINTS;
        series[k].right = k == 3;
    }
    series[3].style = INTERP_SERIES_DASHED;
    chart.title = "What a linear model of each layer gets right (grey: the layer selected)";
    chart.y_label = "accuracy", chart.right_label = "squared Hellinger distance";
    chart.x_names = names, chart.n_x_names = l->n < 16 ? l->n : 0;
    chart.x_label = l->n < 16 ? "layer" : "layer number";
    chart.v_lines = &at, chart.n_v_lines = 1;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, 4, &image);
    free(y), free(names);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Weights of the selected layer's feature model. */
static int draw_weights(cli *c, const cli_mode *m, const char *path)
{
    const interp_mode_layers *l = &m->layers;
    const int rows = l->layer[l->selected].features, k = l->n_classes;
    interp_matrix matrix;
    interp_chart chart;
    interp_image image;
    float *w = (float *)malloc((size_t)rows * (size_t)k * sizeof *w);
    if (!w) return cli_fail("out of memory");
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < k; j++) w[j * rows + i] = l->weights[i * k + j];
    memset(&matrix, 0, sizeof matrix), memset(&chart, 0, sizeof chart);
    matrix.values = w, matrix.rows = k, matrix.cols = rows, matrix.symmetric = true;
    matrix.row_names = (const char *const *)m->t.model.classes;
    matrix.colormap = INTERP_COLORMAP_SEISMIC, matrix.bar_label = "weight";
    chart.title = "What the selected layer's features say of each label";
    chart.x_label = "feature", chart.y_label = "label";
    const interp_status status = interp_chart_matrix(c->ctx, &chart, &matrix, &image);
    free(w);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Validation samples that are mistaken: truth > prediction. */
static int draw_mistakes(cli *c, const cli_mode *m, const char *path)
{
    enum { cols = 10, most = 3 * cols };
    const interp_dataset *d = &m->t.validation;
    const size_t size = interp_shape_size(&d->shape);
    interp_panel_cell cells[most];
    char captions[most][56], a[24], b[24];
    interp_panel_desc panel;
    interp_image image;
    memset(cells, 0, sizeof cells), memset(&panel, 0, sizeof panel);
    int n = 0;
    for (int i = 0; i < d->n && n < most; i++) {
        if (m->predicted[i] == d->y[i]) continue;
        map_size(&m->inputs, &cells[n]);
        cells[n].values = d->x + (size_t)i * size;
        snprintf(captions[n], sizeof captions[n], "%.20s > %.20s", class_name(m, d->y[i], a),
                 class_name(m, m->predicted[i], b));
        cells[n].caption = captions[n];
        n++;
    }
    panel.title = "Mistaken in validation: truth > prediction", panel.cells = cells;
    panel.cols = n < cols ? n : cols, panel.rows = n ? (n + cols - 1) / cols : 0,
    panel.cell_size = 64;
    if (!n) return CLI_DONE;
    if (interp_panel_draw(c->ctx, &panel, &image)) return cli_fail_ctx(c);
    return cli_write_image(c, &image, path);
}

int mode_draw_maps(cli *c, const cli_mode *m, const char *folder)
{
    char path[CLI_PATH], maps[CLI_PATH], where[96];
    int code = cli_make_folder(cli_path(maps, folder, "heatmaps"));
    if (!code) code = draw_layers(c, m, cli_path(path, folder, "layers.png"));
    if (!code) code = draw_mistakes(c, m, cli_path(path, folder, "mistakes.png"));
    if (!code) code = draw_kinds(c, m, &m->inputs, "input", "inputs", maps);
    snprintf(where, sizeof where, "layer %.60s",
             interp_net_node_name(m->t.model.net, m->neurons.node));
    if (!code) code = draw_kinds(c, m, &m->neurons, "layer", where, maps);
    if (!code) code = draw_weights(c, m, cli_path(path, maps, "layer_weights.png"));
    return code ? code : draw_dhci(c, m, cli_path(path, maps, "input_dhci.png"));
}

/* ---- the most and the least alike */

/* Places in the pool that are most and least like each label's HCI, [K]. */
static int find_ends(cli *c, const cli_mode *m, interp_mode_metric metric, int *best, int *worst)
{
    const interp_dataset *pool = &m->pool;
    const size_t size = interp_shape_size(&pool->shape), n = (size_t)pool->n;
    float *x = (float *)malloc(n * size * sizeof *x);
    double *values = (double *)malloc(n * sizeof *values);
    int *rows = (int *)malloc(2 * n * sizeof *rows), *order = rows + n;
    interp_status status = x && values && rows ? INTERP_OK : INTERP_NO_MEMORY;
    for (int k = 0; k < m->inputs.n_classes && !status; k++) {
        int some = 0;
        for (int i = 0; i < pool->n; i++)
            if (pool->y[i] == k) {
                memcpy(x + (size_t)some * size, pool->x + (size_t)i * size, size * sizeof *x);
                rows[some++] = i;
            }
        best[k] = worst[k] = -1;
        if (!some) continue;
        status =
            interp_mode_compare(c->ctx, x, some, &pool->shape, m->inputs.hci + (size_t)k * size,
                                metric, m->arms[0].p, values);
        if (!status) status = interp_mode_order(c->ctx, metric, values, some, order);
        if (!status) best[k] = rows[order[0]], worst[k] = rows[order[some - 1]];
    }
    free(x), free(values), free(rows);
    return status == INTERP_NO_MEMORY ? cli_fail("out of memory")
           : status                   ? cli_fail_ctx(c)
                                      : CLI_DONE;
}

/* A row of samples of the pool. */
static void fill_row(const cli_mode *m, const int *rows, int k, interp_panel_cell *cells)
{
    const interp_shape *s = &m->pool.shape;
    const size_t size = interp_shape_size(s);
    for (int i = 0; i < k; i++) {
        if (rows[i] < 0) continue;
        map_size(&m->inputs, &cells[i]);
        cells[i].values = m->pool.x + (size_t)rows[i] * size;
    }
}

static int draw_panel(cli *c, const char *title, const interp_panel_cell *cells, int rows, int cols,
                      const char *const *row_labels, const char *path)
{
    interp_panel_desc d;
    interp_image image;
    memset(&d, 0, sizeof d);
    d.title = title, d.cells = cells, d.rows = rows, d.cols = cols, d.row_labels = row_labels;
    d.cell_size = 64;
    if (interp_panel_draw(c->ctx, &d, &image)) return cli_fail_ctx(c);
    return cli_write_image(c, &image, path);
}

int mode_draw_selection(cli *c, const cli_mode *m, const char *folder)
{
    enum { most = 20, metrics = INTERP_MODE_RANDOM };
    const interp_mode_maps *maps = &m->inputs;
    const int k = maps->n_classes < most ? maps->n_classes : most;
    interp_panel_cell(*cells)[(metrics + 1) * most] =
        (interp_panel_cell(*)[(metrics + 1) * most]) calloc(3, sizeof *cells);
    char path[CLI_PATH], file[96], title[96];
    const char *labels[metrics + 1];
    int ends[2][65536], rows = 1;
    if (!cells) return cli_fail("out of memory");
    if (maps->n_classes > 65535 || !cli_is_image(&m->pool.shape)) {
        free(cells);
        return CLI_DONE;
    }
    int code = cli_make_folder(cli_path(path, folder, "selection"));
    for (int i = 0; i < k; i++)
        for (int of = 0; of < 3; of++) {
            map_size(maps, &cells[of][i]);
            cells[of][i].values = maps->hci + (size_t)i * maps->size;
            cells[of][i].colormap = INTERP_COLORMAP_VIRIDIS;
        }
    labels[0] = "HCI";
    for (int metric = 0; metric < metrics && !code; metric++) {
        static const char *const three[3] = {"HCI", "most alike", "least alike"};
        const char *name = interp_mode_metric_name((interp_mode_metric)metric);
        code = find_ends(c, m, (interp_mode_metric)metric, ends[0], ends[1]);
        if (code) break;
        for (int of = 0; of < 2; of++) {
            fill_row(m, ends[of], k, &cells[of][rows * k]);
            fill_row(m, ends[of], k, &cells[2][(of + 1) * k]);
        }
        labels[rows++] = name;
        snprintf(file, sizeof file, "selection/%s.png", name);
        snprintf(title, sizeof title, "Pool samples by %s to each label's HCI", name);
        code = draw_panel(c, title, cells[2], 3, k, three, cli_path(path, folder, file));
    }
    if (!code)
        code = draw_panel(c, "Most like each label's HCI", cells[0], rows, k, labels,
                          cli_path(path, folder, "selection/best.png"));
    if (!code)
        code = draw_panel(c, "Least like each label's HCI", cells[1], rows, k, labels,
                          cli_path(path, folder, "selection/worst.png"));
    free(cells);
    return code;
}

/* ---- rounds */

enum { SHOWN_ARMS = 11 };

/* Mean and half a confidence interval over repeats. */
static void mean_of(cli *c, const cli_mode *m, int arm, int round, int measure, double *mean,
                    double *reach)
{
    interp_paired p;
    double *v = (double *)calloc(2 * (size_t)m->repeats, sizeof *v);
    *mean = *reach = NAN;
    if (!v) return;
    for (int r = 0; r < m->repeats; r++) v[r] = mode_measure(m, r, arm, round, measure);
    *mean = v[0], *reach = 0;
    if (m->repeats > 1 && !interp_paired_test(c->ctx, v, v + m->repeats, m->repeats, &p))
        *mean = p.mean, *reach = p.mean - p.ci_low;
    free(v);
}

/* The rounds as names below a chart, when they are few. */
static void name_rounds(const cli_mode *m, interp_chart *chart)
{
    static const char *const numbers[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"};
    if (m->desc.rounds > 10) return;
    chart->x_names = numbers, chart->n_x_names = m->desc.rounds + 1;
}

/* A measure over the rounds, every arm with its band. */
static int draw_measure(cli *c, const cli_mode *m, int measure, const char *title, const char *path)
{
    const int arms = m->desc.n_arms < SHOWN_ARMS ? m->desc.n_arms + 1 : SHOWN_ARMS;
    const size_t n = (size_t)m->desc.rounds + 1;
    interp_series series[3 * SHOWN_ARMS];
    interp_chart chart;
    interp_image image;
    float *y = (float *)malloc(3 * (size_t)arms * n * sizeof *y);
    if (!y) return cli_fail("out of memory");
    memset(series, 0, sizeof series), memset(&chart, 0, sizeof chart);
    int count = 0;
    for (int a = 0; a < arms; a++) {
        float *of = y + 3 * (size_t)a * n;
        for (size_t i = 0; i < n; i++) {
            double mean, reach;
            mean_of(c, m, a, (int)i, measure, &mean, &reach);
            of[i] = (float)mean, of[n + i] = (float)(mean - reach),
            of[2 * n + i] = (float)(mean + reach);
        }
        for (int k = 0; k < (m->repeats > 1 && arms < 5 ? 3 : 1); k++) {
            interp_series *s = &series[count++];
            s->y = of + (size_t)k * n, s->n = (int)n;
            s->rgb = a ? interp_category_rgb(a - 1) : 1;
            s->style = k ? INTERP_SERIES_DOTTED : INTERP_SERIES_LINE_POINTS;
            s->line_width = k ? 1.0f : a ? 2.0f : 3.0f;
            if (!k) s->name = a ? m->names[a - 1] : "control";
        }
    }
    chart.title = title, chart.x_label = "round", chart.y_label = "accuracy on the test data";
    name_rounds(m, &chart);
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, count, &image);
    free(y);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Differences from the control at the end, with confidence intervals. */
static int draw_differences(cli *c, const cli_mode *m, const char *path)
{
    const int arms = m->desc.n_arms;
    const size_t rows = (size_t)m->n_tests;
    float *xy = (float *)malloc((4 * rows + 2 * rows) * sizeof *xy), zero = 0;
    interp_series *series = (interp_series *)calloc(2 * rows, sizeof *series);
    const char **names = (const char **)malloc((size_t)arms * sizeof *names);
    interp_chart chart;
    interp_image image;
    int count = 0;
    memset(&chart, 0, sizeof chart);
    if (!xy || !series || !names) {
        free(xy), free(series), free(names);
        return cli_fail("out of memory");
    }
    for (int a = 0; a < arms; a++) names[a] = m->names[a];
    for (size_t i = 0; i < rows; i++) {
        const mode_test *t = &m->tests[i];
        float *p = xy + 6 * i;
        const float x = (float)t->arm + 0.2f * (float)(t->measure - 1);
        p[0] = p[1] = p[4] = x;
        p[2] = (float)t->paired.ci_low, p[3] = (float)t->paired.ci_high;
        p[5] = (float)t->paired.mean;
        for (int k = 0; k < 2; k++) {
            interp_series *s = &series[count++];
            s->x = p + 4 * k, s->y = k ? p + 5 : p + 2, s->n = k ? 1 : 2;
            s->rgb = interp_category_rgb(t->measure);
            s->style = k ? INTERP_SERIES_POINTS : INTERP_SERIES_LINE;
            if (k && !t->arm) s->name = mode_measures[t->measure];
        }
    }
    chart.title = "MODE less control after the last round, 95 % confidence intervals";
    chart.y_label = "difference of accuracy", chart.x_names = names, chart.n_x_names = arms;
    chart.x_min = -0.5f, chart.x_max = (float)arms - 0.5f;
    chart.h_lines = &zero, chart.n_h_lines = 1;
    chart.width = arms > 6 ? 1200 : 0;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, count, &image);
    free(xy), free(series), free(names);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* Where the pool of an arm went that was never out of labels to mend, if there is one. */
static int draw_pool(cli *c, const cli_mode *m, const char *path)
{
    const size_t n = (size_t)m->desc.rounds + 1;
    static const char *const names[3] = {"selected by likeness", "selected at random", "left"};
    interp_series series[3];
    interp_chart chart;
    interp_image image;
    float *y = (float *)malloc(3 * n * sizeof *y);
    if (!y) return cli_fail("out of memory");
    memset(series, 0, sizeof series), memset(&chart, 0, sizeof chart);
    char title[128];
    int repeat = 0, arm = 1;
    for (int r = m->repeats - 1; r >= 0; r--)
        for (int a = m->desc.n_arms; a > 0; a--)
            if (m->result[r].run[a] >= m->result[repeat].run[arm]) repeat = r, arm = a;
    float targeted = 0;
    for (size_t i = 0; i < n; i++) {
        const interp_mode_round *r = mode_round(m, repeat, arm, (int)i);
        if ((int)i <= m->result[repeat].run[arm]) targeted += (float)r->targeted;
        y[i] = targeted, y[n + i] = (float)r->pool_used - targeted,
        y[2 * n + i] = (float)r->pool_left;
    }
    for (int k = 0; k < 3; k++) {
        series[k].name = names[k], series[k].y = y + (size_t)k * n, series[k].n = (int)n;
        if (k == 2) series[k].rgb = 0xDDDDDD;
    }
    snprintf(title, sizeof title, "Where the pool of %s went, repeat %d", m->names[arm - 1],
             repeat + 1);
    chart.title = title, chart.x_label = "round", chart.y_label = "samples";
    name_rounds(m, &chart);
    const interp_status status = interp_chart_areas(c->ctx, &chart, series, 3, &image);
    free(y);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

int mode_draw_rounds(cli *c, const cli_mode *m, const char *folder)
{
    char path[CLI_PATH], name[24], title[128];
    char band[64] = "";
    if (m->repeats > 1)
        snprintf(band, sizeof band, ", means of %d; arms stop when nothing is at fault",
                 m->repeats);
    snprintf(title, sizeof title, "Accuracy after each round%s", band);
    int code = draw_measure(c, m, 0, title, cli_path(path, folder, "rounds.png"));
    snprintf(title, sizeof title, "Accuracy of the label at fault (%.24s in the first repeat)",
             class_name(m, m->label[0], name));
    if (!code) code = draw_measure(c, m, 1, title, cli_path(path, folder, "rounds_label.png"));
    if (!code) code = draw_pool(c, m, cli_path(path, folder, "pool.png"));
    if (!code && m->repeats > 1)
        code = draw_differences(c, m, cli_path(path, folder, "differences.png"));
    return code;
}

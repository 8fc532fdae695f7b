/* Embeddings as commands make and show them. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROJECTOR_NUMBERS = 20000000 }; /* more are not written as text */

static const char *const method_names[] = {"tsne", "umap", "pca"};

/* A number of the right kind into a desc, when the option is there. */
static int read_perplexities(const cli *c, cli_embedding *e)
{
    enum { most = sizeof e->scales / sizeof *e->scales };
    const char *text = cli_get(c, "--perplexity");
    int n = 0;
    while (text && *text) {
        char *end;
        const double x = strtod(text, &end);
        if (end == text || (*end && *end != ',') || !(x >= 1 && x <= 1e6) || n == most)
            return cli_usage("--perplexity %s: give up to %d numbers from 1 on",
                             cli_get(c, "--perplexity"), most);
        e->scales[n++] = (float)x;
        text = *end ? end + 1 : end;
    }
    if (n == 1) e->tsne.perplexity = e->scales[0];
    if (n > 1) e->tsne.perplexities = e->scales, e->tsne.n_perplexities = n;
    return CLI_DONE;
}

static int read_numbers(const cli *c, cli_embedding *e)
{
    interp_tsne_desc *t = &e->tsne;
    interp_umap_desc *u = &e->umap;
    float rate = 0;
    int code = read_perplexities(c, e);
    if (!code) code = cli_float(c, "--early-exaggeration", 1e-3, 1e6, &t->early_exaggeration);
    if (!code) code = cli_float(c, "--exaggeration", 1e-3, 1e6, &t->exaggeration);
    if (!code) code = cli_float(c, "--degrees-of-freedom", 1e-3, 1e6, &t->degrees_of_freedom);
    if (!code) code = cli_int(c, "--n-iter", 1, 1000000, &t->n_iter);
    if (!code) code = cli_int(c, "--n-neighbors", 2, 1000000, &u->n_neighbors);
    if (!code) code = cli_float(c, "--min-dist", 0, 1000, &u->min_dist);
    if (!code) code = cli_float(c, "--spread", 1e-6, 1000, &u->spread);
    if (!code) code = cli_int(c, "--n-epochs", 1, 1000000, &u->n_epochs);
    if (!code) code = cli_float(c, "--learning-rate", 1e-9, 1e9, &rate);
    t->learning_rate = u->learning_rate = rate;
    if (!code && cli_has(c, "--min-dist") && u->min_dist == 0) u->min_dist = -1;
    return code;
}

int cli_embedding_options(const cli *c, const char *option, cli_embedding *e)
{
    static const char *const inits[] = {"default", "pca", "random", "spectral"};
    static const char *const ways[] = {"auto", "exact", "tree", "descent"};
    const char *metrics[INTERP_METRIC_COUNT];
    int init = 0, metric = 0, way = 0;
    for (int m = 0; m < INTERP_METRIC_COUNT; m++) metrics[m] = interp_metric_name((interp_metric)m);
    memset(e, 0, sizeof *e);
    e->dims = 2;
    int code = cli_choice(c, option, method_names, 3, &e->method);
    if (!code) code = cli_int(c, "--n-components", 1, 16, &e->dims);
    if (!code) code = cli_choice(c, "--init", inits, 4, &init);
    if (!code) code = cli_choice(c, "--metric", metrics, INTERP_METRIC_COUNT, &metric);
    if (!code) code = cli_choice(c, "--knn", ways, 4, &way);
    if (!code) code = read_numbers(c, e);
    if (code) return code;
    if (e->method == 0 && e->dims > 3)
        return cli_usage("--n-components %d: t-SNE makes 1 to 3", e->dims);
    e->tsne.n_components = e->umap.n_components = e->pca.n_components = e->dims;
    e->tsne.init = e->umap.init = (interp_embed_init)init;
    e->metric = e->tsne.metric = e->umap.metric = (interp_metric)metric;
    e->tsne.knn = e->umap.knn = (interp_knn_method)way;
    e->umap.densmap = cli_has(c, "--densmap");
    e->judge = e->metric != INTERP_METRIC_PRECOMPUTED && !cli_has(c, "--no-quality");
    e->tsne.seed = e->umap.seed = e->pca.seed = c->seed;
    return CLI_DONE;
}

const char *cli_embedding_name(const cli_embedding *e)
{
    static const char *const names[] = {"t-SNE", "UMAP", "principal components"};
    return names[e->method];
}

int cli_embedding_room(cli *c, cli_embedding *e)
{
    const size_t n = (size_t)e->n;
    if (e->n < 2) return cli_fail("there are %d rows, too few to lay out", e->n);
    if (e->method == 2 && e->dims > e->d)
        return cli_usage("--n-components %d: rows have %d numbers only", e->dims, e->d);
    e->y = (float *)interp_alloc(c->ctx, n * (size_t)e->dims * sizeof *e->y);
    if (!e->y) return cli_fail_ctx(c);
    memset(e->y, 0, n * (size_t)e->dims * sizeof *e->y);
    /* matrix products have scratch that the context keeps: it must not come and go with a limit */
    if (c->memory) {
        enum { side = 512, deep = 256 };
        float *a = (float *)interp_alloc(c->ctx, (side + deep) * side * sizeof *a);
        if (!a) return cli_fail_ctx(c);
        memset(a, 0, (side + deep) * side * sizeof *a);
        const interp_status status = interp_sgemm(c->ctx, true, false, side, side, deep, 1, a, side,
                                                  a, side, 0, a + deep * side, side);
        interp_free(c->ctx, a);
        if (status) return cli_fail_ctx(c);
    }
    return CLI_DONE;
}

static interp_quality_desc quality_of(const cli *c, const cli_embedding *e)
{
    interp_quality_desc d;
    memset(&d, 0, sizeof d);
    d.metric = e->metric;
    d.classes = e->classes;
    d.seed = c->seed;
    return d;
}

interp_status cli_embedding_stage(cli *c, void *user)
{
    cli_embedding *e = (cli_embedding *)user;
    const interp_quality_desc d = quality_of(c, e);
    const size_t judging = interp_quality_bytes(c->ctx, e->n, e->d, e->dims, &d);
    const size_t bytes = e->method == 0   ? interp_tsne_bytes(c->ctx, e->n, e->d, &e->tsne)
                         : e->method == 1 ? interp_umap_bytes(c->ctx, e->n, e->d, &e->umap)
                                          : interp_pca_bytes(e->n, e->d, &e->pca);
    /* known beforehand, and asked for first */
    void *most = interp_alloc(c->ctx, e->judge && judging > bytes ? judging : bytes);
    interp_free(c->ctx, most);
    interp_tsne_info tsne;
    interp_umap_info umap;
    interp_status status = most ? cli_progress(c, "embedding", 0, 1) : INTERP_NO_MEMORY;
    if (status) return status;
    const double begin = cli_now();
    e->kl = e->recall = (double)NAN;
    if (e->method == 0) {
        status = interp_tsne(c->ctx, e->x, e->n, e->d, &e->tsne, e->y, &tsne);
        if (!status) e->kl = tsne.kl, e->recall = tsne.knn_recall;
    } else if (e->method == 1) {
        status = interp_umap(c->ctx, e->x, e->n, e->d, &e->umap, e->y, &umap);
        if (!status) e->recall = umap.knn_recall;
    } else {
        status = interp_pca(c->ctx, e->x, e->n, e->d, &e->pca, e->y, NULL, e->explained);
    }
    e->seconds = cli_now() - begin;
    return status;
}

int cli_embedding_judge(cli *c, cli_embedding *e)
{
    const interp_quality_desc d = quality_of(c, e);
    if (!e->judge) return CLI_DONE;
    for (int i = 0; i < e->n * e->dims; i++)
        if (!isfinite(e->y[i])) return CLI_DONE; /* isolated points: there is nothing to compare */
    if (interp_embed_quality(c->ctx, e->x, e->n, e->d, e->y, e->dims, &d, &e->quality))
        return cli_fail_ctx(c);
    e->judged = true;
    return CLI_DONE;
}

/* ---- results */

static int write_quality(cli *c, const cli_embedding *e, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    const interp_quality *q = &e->quality;
    const struct {
        const char *name;
        double value;
        bool known;
    } rows[] = {{"trustworthiness", q->trustworthiness, e->judged},
                {"continuity", q->continuity, e->judged},
                {"knn_preservation", q->preservation, e->judged},
                {"spearman", q->spearman, e->judged},
                {"knn_accuracy", q->knn_accuracy, e->judged},
                {"kl", e->kl, true},
                {"knn_recall", e->recall, true}};
    (void)c;
    cli_add(&t, "measure,value\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].known || !isfinite(rows[i].value)) continue;
        cli_add(&t, "%s,", rows[i].name);
        cli_add_number(&t, rows[i].value, false);
        cli_add(&t, "\n");
    }
    for (int k = 0; e->method == 2 && k < e->dims; k++) {
        cli_add(&t, "explained_variance_%d,", k + 1);
        cli_add_number(&t, (double)e->explained[k], false);
        cli_add(&t, "\n");
    }
    return cli_text_write(&t, path);
}

static int write_picture(cli *c, const cli_embedding *e, const char *path)
{
    interp_scatter s;
    interp_chart chart;
    interp_image image;
    float *points = (float *)e->y, *line = NULL;
    char x_label[64] = "", y_label[64] = "";
    memset(&s, 0, sizeof s);
    memset(&chart, 0, sizeof chart);
    if (e->dims == 1) { /* along a line */
        line = points = (float *)interp_alloc(c->ctx, 2 * (size_t)e->n * sizeof *line);
        if (!line) return cli_fail_ctx(c);
        for (int i = 0; i < e->n; i++) line[2 * i] = e->y[i], line[2 * i + 1] = 0;
    }
    s.points = points;
    s.n = e->n;
    s.stride = line ? 2 : e->dims;
    s.classes = e->classes;
    s.class_names = e->names;
    s.n_classes = e->names ? e->n_names : 0;
    s.values = e->classes ? NULL : e->values;
    s.equal = !line && e->method != 2;
    chart.title = e->title;
    if (e->method == 2) {
        snprintf(x_label, sizeof x_label, "component 1 (%.1f %% of the variance)",
                 100 * (double)e->explained[0]);
        if (e->dims > 1)
            snprintf(y_label, sizeof y_label, "component 2 (%.1f %%)",
                     100 * (double)e->explained[1]);
    }
    chart.x_label = x_label, chart.y_label = y_label;
    const interp_status status = interp_chart_scatter(c->ctx, &chart, &s, &image);
    interp_free(c->ctx, line);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

/* The columns of page and projector; right: [n], whether predictions are. Returns how many. */
static int fill_columns(const cli_embedding *e, int32_t *right, interp_projector_column *columns)
{
    static const char *const verdicts[] = {"wrong", "right"};
    int n = 0;
    memset(columns, 0, 4 * sizeof *columns);
    if (e->classes) {
        columns[n].name = e->predicted ? "true class" : "class";
        columns[n].classes = e->classes, columns[n++].class_names = e->names;
    } else if (e->values) {
        columns[n].name = "value", columns[n++].values = e->values;
    }
    if (e->predicted) {
        columns[n].name = "predicted class";
        columns[n].classes = e->predicted, columns[n++].class_names = e->predicted_names;
    }
    if (e->predicted && e->classes) {
        for (int i = 0; i < e->n; i++) right[i] = e->classes[i] == e->predicted[i];
        columns[n].name = "verdict";
        columns[n].classes = right, columns[n++].class_names = verdicts;
    }
    if (e->files) columns[n].name = "file", columns[n++].texts = (const char *const *)e->files;
    return n;
}

static interp_status write_page(cli *c, const cli_embedding *e,
                                const interp_projector_column *columns, int n_columns,
                                const uint8_t *wrong, const char *path)
{
    interp_points_desc d;
    char subtitle[160];
    size_t at = 0;
    memset(&d, 0, sizeof d);
    at = (size_t)snprintf(subtitle, sizeof subtitle, "%d points of %d numbers", e->n, e->d);
    if (e->judged && isfinite(e->quality.trustworthiness))
        at += (size_t)snprintf(subtitle + at, sizeof subtitle - at,
                               "; trustworthiness %.4f, neighbours kept %.1f %%",
                               e->quality.trustworthiness, 100 * e->quality.preservation);
    if (e->judged && isfinite(e->quality.knn_accuracy))
        snprintf(subtitle + at, sizeof subtitle - at, ", of the same class as the nearest %.1f %%",
                 100 * e->quality.knn_accuracy);
    d.title = e->title;
    d.subtitle = subtitle;
    d.xy = e->y;
    d.n = e->n, d.dims = e->dims;
    d.columns = columns, d.n_columns = n_columns;
    d.marked = wrong;
    d.images = e->images;
    d.channels = e->channels, d.height = e->height, d.width = e->width;
    return interp_points_write(c->ctx, &d, path);
}

static interp_status write_projector(cli *c, const cli_embedding *e,
                                     const interp_projector_column *columns, int n_columns,
                                     const char *folder)
{
    interp_projector_desc d;
    const bool all = (double)e->n * e->d <= PROJECTOR_NUMBERS;
    memset(&d, 0, sizeof d);
    d.name = e->title;
    d.x = all ? e->x : e->y;
    d.n = e->n, d.d = all ? e->d : e->dims;
    d.columns = columns, d.n_columns = n_columns;
    d.images = e->images;
    d.channels = e->channels, d.height = e->height, d.width = e->width;
    for (int i = 0; i < d.n * e->dims && !all; i++)
        if (!isfinite(e->y[i])) return INTERP_OK; /* TensorBoard takes none such */
    return interp_projector_write(c->ctx, folder, &d);
}

int cli_embedding_write(cli *c, const cli_embedding *e, const char *folder, const char *stem)
{
    char path[CLI_PATH], name[96];
    interp_projector_column columns[4];
    const interp_shape s = {2, {e->n, e->dims, 1, 1, 1, 1, 1, 1}};
    const size_t n = (size_t)e->n;
    const char *const quality = strcmp(stem, "scatter") ? "embedding_quality.csv" : "quality.csv";
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "embedding.npy"), e->y, &s))
        return cli_fail_ctx(c);
    int code = write_quality(c, e, cli_path(path, folder, quality));
    snprintf(name, sizeof name, "%s.png", stem);
    if (!code) code = write_picture(c, e, cli_path(path, folder, name));
    if (code) return code;
    int32_t *right = (int32_t *)interp_alloc(c->ctx, n * sizeof *right);
    uint8_t *wrong = (uint8_t *)interp_alloc(c->ctx, n);
    interp_status status = right && wrong ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        const int n_columns = fill_columns(e, right, columns);
        const bool judged = e->predicted && e->classes;
        for (size_t i = 0; i < n && judged; i++) wrong[i] = !right[i];
        status = write_page(c, e, columns, n_columns, judged ? wrong : NULL,
                            cli_path(path, folder, "embedding.html"));
        if (!status)
            status = write_projector(c, e, columns, n_columns, cli_path(path, folder, "projector"));
    }
    interp_free(c->ctx, right);
    interp_free(c->ctx, wrong);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* interp embed: rows of many numbers as points in the plane. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    EMBEDDING_OPTIONS,
    {"--labels", "Y", "class or value of each row (.npy, .csv), for colours and accuracy"},
    {"--predictions", "P", "predicted class of each row; those misclassified get a ring"},
    {"--images", "IMG", "pictures of the rows: an array [n,H,W] or [n,C,H,W]"},
    {"--image-size", "HxW", "rows themselves are pictures of that size"},
    {"--pca", "N", "reduce the rows to N principal components first"},
    {"--standardize", NULL, "give every column mean 0 and variance 1 first"},
    {"--supervised", NULL, "umap: classes pull their own together"},
    {"--model", "FILE.onnx", "embed what a layer of this model makes of the samples X"},
    {"--layer", "NODE", "that layer (what the last layer with weights reads)"},
    {"--no-quality", NULL, "leave the measures out"},
    {NULL, NULL, NULL}};

/* Everything one run reads and makes. */
typedef struct run_embed {
    cli_embedding e;
    interp_array x, images, labels, predictions;
    interp_dataset train, test;
    cli_model model;
    cli_samples samples;
    float *rows; /* when they are not those of the array */
    int32_t *classes, *predicted;
} run_embed;

/* ---- input */

/* All of a data set: what it trains on, then what it tests on. */
static int read_data(cli *c, const char *spec, run_embed *r)
{
    const int code = cli_data(c, spec, &r->train, &r->test);
    if (code) return code;
    const size_t size = interp_shape_size(&r->train.shape);
    const size_t a = (size_t)r->train.n, b = (size_t)r->test.n;
    r->rows = (float *)interp_alloc(c->ctx, (a + b) * size * sizeof *r->rows);
    r->classes = (int32_t *)interp_alloc(c->ctx, (a + b) * sizeof *r->classes);
    if (!r->rows || !r->classes) return cli_fail_ctx(c);
    memcpy(r->rows, r->train.x, a * size * sizeof *r->rows);
    memcpy(r->rows + a * size, r->test.x, b * size * sizeof *r->rows);
    for (size_t i = 0; i < a + b && r->train.y; i++)
        r->classes[i] = i < a ? r->train.y[i] : r->test.y[i - a];
    r->e.x = r->rows;
    r->e.n = (int)(a + b), r->e.d = (int)size;
    if (r->train.y) {
        r->e.classes = r->classes;
        r->e.names = (const char *const *)r->train.class_names;
        r->e.n_names = r->train.n_classes;
    }
    if (cli_is_image(&r->train.shape)) {
        r->e.images = r->rows;
        r->e.channels = r->train.shape.dim[0];
        r->e.height = r->train.shape.dim[1], r->e.width = r->train.shape.dim[2];
    }
    return CLI_DONE;
}

/* Pictures in an array: [n,H,W], or [n,C,H,W] with one or three channels. */
static bool find_pictures(cli_embedding *e, const interp_array *a)
{
    const interp_shape *s = &a->shape;
    const bool colour = s->rank == 4 && (s->dim[1] == 1 || s->dim[1] == 3);
    if ((s->rank != 3 && !colour) || s->dim[s->rank - 1] < 2 || s->dim[s->rank - 2] < 2)
        return false;
    e->images = (const float *)a->data;
    e->channels = colour ? s->dim[1] : 1;
    e->height = s->dim[s->rank - 2], e->width = s->dim[s->rank - 1];
    return true;
}

static int read_rows(cli *c, const char *spec, run_embed *r)
{
    if (cli_array(c, spec, &r->x)) return CLI_FAILED;
    const interp_shape *s = &r->x.shape;
    if (s->rank < 2 || s->dim[0] < 1)
        return cli_fail("%s: an array of rows is needed, but it has %d dimensions", spec, s->rank);
    r->e.x = (const float *)r->x.data;
    r->e.n = s->dim[0];
    r->e.d = (int)(interp_shape_size(s) / (size_t)s->dim[0]);
    find_pictures(&r->e, &r->x);
    return CLI_DONE;
}

/* What a layer of the model makes of X. */
static int read_layer(cli *c, const char *spec, const char *path, run_embed *r)
{
    if (cli_model_load(c, path, NULL, &r->model)) return CLI_FAILED;
    const interp_shape in = interp_net_input_shape(r->model.net, 0);
    const char *name = cli_get(c, "--layer");
    const int node = name ? cli_layer_find(r->model.net, name) : cli_layer_last(r->model.net);
    if (node < 0)
        return cli_fail("%s: it has no layer \"%s\"; interp info lists them", path,
                        name ? name : "with weights");
    const float *x;
    if (cli_is_file(spec) || !cli_is_array(spec)) {
        if (cli_samples_read(c, spec, r->model.net, 0, false, &r->samples)) return CLI_FAILED;
        x = (const float *)r->samples.x.data;
        r->e.n = r->samples.n;
        r->e.files = r->samples.files;
    } else {
        const int code = cli_data(c, spec, &r->train, &r->test);
        if (code) return code;
        if (cli_data_fit(c, spec, &r->model, &r->train, &r->test)) return CLI_FAILED;
        x = r->test.x;
        r->e.n = r->test.n;
        r->e.classes = r->test.y;
        r->e.names = (const char *const *)r->test.class_names;
        r->e.n_names = r->test.n_classes;
    }
    const interp_shape made = interp_net_node_shape(r->model.net, node);
    r->e.d = (int)interp_shape_size(&made);
    r->rows = (float *)interp_alloc(c->ctx, (size_t)r->e.n * (size_t)r->e.d * sizeof *r->rows);
    if (!r->rows) return cli_fail_ctx(c);
    if (cli_layer_run(c, r->model.net, node, x, r->e.n, r->rows)) return cli_fail_ctx(c);
    r->e.x = r->rows;
    if (cli_is_image(&in)) {
        r->e.images = x;
        r->e.channels = in.dim[0], r->e.height = in.dim[1], r->e.width = in.dim[2];
    }
    snprintf(r->e.title, sizeof r->e.title, "%s of layer \"%.60s\"", cli_embedding_name(&r->e),
             interp_net_node_name(r->model.net, node));
    return CLI_DONE;
}

/* Numbers for each row; *classes stays NULL when they are no classes. */
static int read_labels(cli *c, const char *option, int n, interp_array *a, int32_t **classes)
{
    const char *spec = cli_get(c, option);
    if (!spec) return CLI_DONE;
    if (cli_array(c, spec, a)) return CLI_FAILED;
    const float *v = (const float *)a->data;
    if (interp_shape_size(&a->shape) != (size_t)n)
        return cli_fail("%s %s: it holds %zu numbers for %d rows", option, spec,
                        interp_shape_size(&a->shape), n);
    for (int i = 0; i < n; i++)
        if (!(v[i] >= -1 && v[i] < 65535 && v[i] == floorf(v[i]))) return CLI_DONE;
    *classes = (int32_t *)interp_alloc(c->ctx, (size_t)n * sizeof **classes);
    if (!*classes) return cli_fail_ctx(c);
    for (int i = 0; i < n; i++) (*classes)[i] = (int32_t)v[i];
    return CLI_DONE;
}

static int read_extras(cli *c, run_embed *r)
{
    cli_embedding *e = &r->e;
    int32_t *classes = NULL, *predicted = NULL;
    const char *size = cli_get(c, "--image-size"), *pictures = cli_get(c, "--images");
    int height, width, end = 0;
    int code = read_labels(c, "--labels", e->n, &r->labels, &classes);
    if (!code) code = read_labels(c, "--predictions", e->n, &r->predictions, &predicted);
    if (code) return code;
    if (cli_has(c, "--labels")) {
        e->classes = classes, e->names = NULL;
        e->values = classes ? NULL : (const float *)r->labels.data;
    }
    if (cli_has(c, "--predictions") && !predicted)
        return cli_fail("--predictions: they are no classes, whole numbers from 0");
    e->predicted = predicted;
    e->predicted_names = e->names;
    if (size) {
        if (sscanf(size, "%dx%d%n", &height, &width, &end) < 2 || size[end] || height < 1 ||
            width < 1 || (e->d != height * width && e->d != 3 * height * width))
            return cli_usage("--image-size %s: rows have %d numbers", size, e->d);
        e->images = e->x, e->channels = e->d / (height * width);
        e->height = height, e->width = width;
    }
    if (pictures) {
        if (cli_array(c, pictures, &r->images)) return CLI_FAILED;
        if (r->images.shape.dim[0] != e->n || !find_pictures(e, &r->images))
            return cli_fail("--images %s: pictures are [%d,H,W] or [%d,C,H,W], C 1 or 3", pictures,
                            e->n, e->n);
    }
    if (cli_has(c, "--supervised") && !e->classes)
        return cli_usage("--supervised needs --labels that are classes");
    if (cli_has(c, "--supervised")) e->umap.y_class = e->classes;
    return CLI_DONE;
}

/* ---- what is done to the rows first */

static int standardize(cli *c, run_embed *r)
{
    cli_embedding *e = &r->e;
    const size_t d = (size_t)e->d, n = (size_t)e->n;
    float *rows = (float *)interp_alloc(c->ctx, n * d * sizeof *rows);
    if (!rows) return cli_fail_ctx(c);
    for (size_t k = 0; k < d; k++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < n; i++) mean += (double)e->x[i * d + k] / e->n;
        for (size_t i = 0; i < n; i++) {
            const double off = (double)e->x[i * d + k] - mean;
            square += off * off / e->n;
        }
        const double scale = square > 0 ? 1 / sqrt(square) : 0; /* a constant column says nothing */
        for (size_t i = 0; i < n; i++)
            rows[i * d + k] = (float)(scale * ((double)e->x[i * d + k] - mean));
    }
    e->x = rows;
    return CLI_DONE;
}

static int reduce(cli *c, run_embed *r, int most)
{
    cli_embedding *e = &r->e;
    interp_pca_desc d;
    if (most > e->d) return cli_usage("--pca %d: rows have %d numbers only", most, e->d);
    memset(&d, 0, sizeof d);
    d.n_components = most;
    d.seed = c->seed;
    float *rows = (float *)interp_alloc(c->ctx, (size_t)e->n * (size_t)most * sizeof *rows);
    if (!rows || interp_pca(c->ctx, e->x, e->n, e->d, &d, rows, NULL, NULL)) return cli_fail_ctx(c);
    e->x = rows;
    e->d = most;
    return CLI_DONE;
}

static void add_json(cli_text *t, const cli *c, const cli_embedding *e)
{
    const interp_quality *q = &e->quality;
    cli_add(t, "{\"method\":\"%s\",\"n\":%d,\"d\":%d,\"n_components\":%d,\"seconds\":",
            cli_embedding_name(e), e->n, e->d, e->dims);
    cli_add_number(t, e->seconds, true);
    cli_add(t, ",\"trustworthiness\":");
    cli_add_number(t, e->judged ? q->trustworthiness : (double)NAN, true);
    cli_add(t, ",\"continuity\":");
    cli_add_number(t, e->judged ? q->continuity : (double)NAN, true);
    cli_add(t, ",\"knn_preservation\":");
    cli_add_number(t, e->judged ? q->preservation : (double)NAN, true);
    cli_add(t, ",\"knn_accuracy\":");
    cli_add_number(t, e->judged ? q->knn_accuracy : (double)NAN, true);
    cli_add(t, ",\"kl\":");
    cli_add_number(t, e->kl, true);
    cli_add(t, ",\"knn_recall\":");
    cli_add_number(t, e->recall, true);
    cli_add(t, ",\"peak_bytes\":%zu,\"files\":", interp_memory_read(c->ctx).peak);
    cli_add_files(t, c);
    cli_add(t, "}\n");
}

static int run(cli *c)
{
    static const char *const stale[] = {"quality.csv",
                                        "embedding.html",
                                        "projector/metadata.tsv",
                                        "projector/tensors.tsv",
                                        "projector/sprite.png",
                                        "projector/projector_config.pbtxt",
                                        NULL};
    static const cli_stage stages[] = {cli_embedding_stage};
    const char *spec = c->positional[0], *model = cli_get(c, "--model");
    cli_text summary = {NULL, 0, 0, false};
    run_embed r;
    int components = 0;
    memset(&r, 0, sizeof r);
    int code = cli_embedding_options(c, "--method", &r.e);
    if (!code) code = cli_int(c, "--pca", 1, 100000, &components);
    if (!code) code = cli_begin(c, cli_get(c, "-o"));
    snprintf(r.e.title, sizeof r.e.title, "%s of %.60s", cli_embedding_name(&r.e), spec);
    if (!code)
        code = model                                    ? read_layer(c, spec, model, &r)
               : cli_is_file(spec) || strchr(spec, '.') ? read_rows(c, spec, &r)
                                                        : read_data(c, spec, &r);
    if (!code) code = read_extras(c, &r);
    if (!code && cli_has(c, "--standardize")) code = standardize(c, &r);
    if (!code && components) code = reduce(c, &r, components);
    if (!code) code = cli_embedding_room(c, &r.e);
    if (!code && cli_work(c, stages, 1, &r.e, "")) code = cli_fail_ctx(c);
    if (!code) code = cli_embedding_judge(c, &r.e);
    if (!code) code = cli_embedding_write(c, &r.e, c->out, "scatter");
    if (!code && c->json) add_json(&summary, c, &r.e);
    if (!code) code = cli_commit(c, stale);
    if (!code && r.e.judged)
        cli_say(c, "%s of %d points in %.2f s: trustworthiness %.4f, neighbours kept %.1f %%",
                cli_embedding_name(&r.e), r.e.n, r.e.seconds, r.e.quality.trustworthiness,
                100 * r.e.quality.preservation);
    if (!code) cli_say(c, "written to %s; open embedding.html", c->folder);
    if (!code && c->json) return cli_text_print(&summary);
    free(summary.data);
    return code;
}

const cli_command cmd_embed = {
    "embed", "X -o DIR", "rows of numbers as points: t-SNE, UMAP, PCA, with a page to explore",
    1,       options,    run};

/* The test bed of evaluate-attribution: pictures in which the pixels that decide are known, a network
   trained on them, and what every method says about it. */
#include "cli.h"

#include <math.h>
#include <string.h>

enum { TRAINED = 1200, TESTED = 400, SAMPLES = 12, DONORS = 16 };

/* ---- the network */

static interp_net *new_network(cli *c, const interp_dataset *data)
{
    static const int channels[3] = {8, 16, 32};
    interp_net *net = interp_net_new(c->ctx, "test bed");
    if (!net) return NULL;
    interp_tensor x = interp_input(net, "input", &data->shape);
    for (int b = 0; b < 3; b++) {
        interp_conv2d_desc conv;
        memset(&conv, 0, sizeof conv);
        conv.channels = channels[b];
        conv.kernel[0] = b ? 3 : 5;
        conv.same = b > 0; /* an input that is shifted as a whole is then taken back by the bias */
        x = interp_relu(net, interp_batch_norm(net, interp_conv2d(net, x, &conv), NULL));
        if (b < 2) x = interp_pool2d(net, x, NULL);
    }
    interp_pool2d_desc all;
    memset(&all, 0, sizeof all);
    all.kind = INTERP_POOL_GLOBAL_AVERAGE;
    x = interp_flatten(net, interp_pool2d(net, x, &all));
    interp_dense(net, x, data->n_classes, NULL);
    if (!interp_net_build(net, c->seed + 1)) return net;
    interp_net_free(net);
    return NULL;
}

typedef struct training {
    interp_net *net;
    interp_dataset train, test;
    interp_train_desc desc;
    interp_evaluation on_test;
} training;

static interp_status stage_train(cli *c, void *user)
{
    training *t = (training *)user;
    (void)c;
    return interp_train(t->net, &t->train, &t->desc, NULL);
}

static interp_status stage_test(cli *c, void *user)
{
    training *t = (training *)user;
    (void)c;
    return interp_evaluate(t->net, &t->test, INTERP_CROSS_ENTROPY, &t->on_test);
}

static int train(cli *c, training *t)
{
    static const cli_stage stages[] = {stage_train, stage_test};
    t->net = new_network(c, &t->train);
    t->on_test.predicted =
        (int32_t *)interp_alloc(c->ctx, (size_t)t->test.n * sizeof *t->on_test.predicted);
    if (!t->net || !t->on_test.predicted) return cli_fail_ctx(c);
    t->desc.epochs = 15;
    t->desc.batch = 32;
    t->desc.lr = 5e-3f;
    t->desc.schedule = INTERP_COSINE;
    t->desc.seed = c->seed;
    const double start = cli_now();
    if (cli_work(c, stages, 2, t, "")) return cli_fail_ctx(c);
    cli_say(c, "%d pictures of shapes; the network is right on %.1f %% of %d others, after %.1f s",
            t->train.n, 100 * t->on_test.accuracy, t->test.n, cli_now() - start);
    return CLI_DONE;
}

/* ---- what is explained */

/* The first test pictures that the network takes for what they are, with masks. */
static int choose(cli *c, cli_evaluation *e, const training *t, const unsigned char *masks,
                  const char *folder)
{
    char path[CLI_PATH];
    const size_t pixels = e->size / (size_t)e->channels;
    int n = SAMPLES, found = 0;
    const int code = cli_int(c, "--samples", 1, TESTED / 2, &n);
    if (code) return code;
    e->x = (float *)interp_alloc(c->ctx, (size_t)n * e->size * sizeof *e->x);
    e->mask = (unsigned char *)interp_alloc(c->ctx, (size_t)n * pixels);
    float *out = (float *)interp_alloc(c->ctx, (size_t)n * (pixels + 1) * sizeof *out);
    if (!e->x || !e->mask || !out) return cli_fail_ctx(c);
    for (int i = 0; i < t->test.n && found < n; i++) {
        if (t->on_test.predicted[i] != t->test.y[i]) continue;
        memcpy(e->x + (size_t)found * e->size, t->test.x + (size_t)i * e->size,
               e->size * sizeof *e->x);
        memcpy(e->mask + (size_t)found * pixels, masks + (size_t)i * pixels, pixels);
        out[(size_t)n * pixels + (size_t)found] = (float)t->test.y[i];
        found++;
    }
    if (found < n) return cli_fail("the test bed's network learned too little: use another --seed");
    for (size_t i = 0; i < (size_t)n * pixels; i++) out[i] = e->mask[i];
    const interp_shape x = {4, {n, e->channels, e->height, e->width, 1, 1, 1, 1}};
    const interp_shape m = {3, {n, e->height, e->width, 1, 1, 1, 1, 1}};
    const interp_shape y = {1, {n, 1, 1, 1, 1, 1, 1, 1}};
    if (interp_npy_write_f32(c->ctx, cli_path(path, folder, "inputs.npy"), e->x, &x) ||
        interp_npy_write_f32(c->ctx, cli_path(path, folder, "masks.npy"), out, &m) ||
        interp_npy_write_f32(c->ctx, cli_path(path, folder, "labels.npy"), out + n * (int)pixels,
                             &y))
        return cli_fail_ctx(c);
    interp_free(c->ctx, out);
    e->n = n;
    e->score.mask = e->mask;
    return CLI_DONE;
}

/* Square tiles as features. */
static const int32_t *tiles(cli *c, const cli_evaluation *e, int side)
{
    const int across = (e->width + side - 1) / side;
    int32_t *id = (int32_t *)interp_alloc(c->ctx, e->size * sizeof *id);
    for (int i = 0; id && i < e->height * e->width; i++)
        id[i] = i / e->width / side * across + i % e->width / side;
    return id;
}

/* What some methods need to be quick or fair: features of 4x4 or 8x8 pixels, fewer passes, and
   pictures of the training for those over a distribution of baselines. */
static int add_methods(cli *c, cli_evaluation *e, const training *t)
{
    const int32_t *small = tiles(c, e, 4), *large = tiles(c, e, 8);
    if (!small || !large) return cli_fail_ctx(c);
    const struct setting {
        interp_method method;
        int samples; /* 0: the method's default */
        bool donors;
        const int32_t *features;
    } settings[] = {{INTERP_EXPECTED_GRADIENTS, 0, true, NULL},
                    {INTERP_GRADIENT_SHAP, 25, true, NULL},
                    {INTERP_DEEP_LIFT_SHAP, 0, true, NULL},
                    {INTERP_FEATURE_ABLATION, 0, false, small},
                    {INTERP_FEATURE_PERMUTATION, 0, false, small},
                    {INTERP_SHAPLEY_VALUE_SAMPLING, 10, false, small},
                    {INTERP_KERNEL_SHAP, 256, false, small},
                    {INTERP_LIME, 256, false, small},
                    {INTERP_PARTITION_SHAP, 256, false, small},
                    {INTERP_RISE, 500, false, NULL},
                    {INTERP_ANCHORS, 8000, false, large}};
    cli_methods methods;
    memset(&methods, 0, sizeof methods);
    methods.all = true;
    for (int m = 0; m < INTERP_METHOD_COUNT; m++)
        cli_methods_add(&methods, interp_method_name((interp_method)m));
    int code = cli_int(c, "--n-steps", 1, 1000000, &e->desc.n_steps);
    if (!code && cli_has(c, "--method")) code = cli_methods_parse(c, &methods);
    for (int m = 0; m < methods.n && !code; m++) {
        interp_attribute_desc how = e->desc;
        how.method = methods.list[m], how.scope = methods.scope[m];
        how.seed = c->seed;
        for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
            const struct setting *s = &settings[i];
            if (s->method != how.method) continue;
            how.n_samples = s->samples;
            if (s->donors) how.baseline = t->train.x, how.n_baselines = DONORS;
            how.mask = s->features;
            if (s->features) how.mask_shape = e->sample;
        }
        code = cli_evaluation_method(c, e, &how, methods.all);
    }
    if (!code && !e->count) code = cli_fail("evaluate-attribution: no method is left to score");
    return code;
}

int test_bed_open(cli *c, cli_evaluation *e, const char *folder)
{
    char path[CLI_PATH], bed[CLI_PATH];
    interp_shapes_desc shapes;
    training *t = (training *)interp_alloc(c->ctx, sizeof *t);
    if (!t) return cli_fail_ctx(c);
    memset(t, 0, sizeof *t);
    memset(&shapes, 0, sizeof shapes);
    shapes.n = TRAINED;
    shapes.seed = 2 * c->seed;
    if (interp_dataset_shapes(c->ctx, &shapes, &t->train, NULL)) return cli_fail_ctx(c);
    const interp_shape *s = &t->train.shape;
    const size_t pixels = (size_t)s->dim[1] * (size_t)s->dim[2];
    unsigned char *masks = (unsigned char *)interp_alloc(c->ctx, TESTED * pixels);
    if (!masks) return cli_fail_ctx(c);
    shapes.n = TESTED;
    shapes.seed = 2 * c->seed + 1;
    if (interp_dataset_shapes(c->ctx, &shapes, &t->test, masks)) return cli_fail_ctx(c);
    int code = cli_make_folder(cli_path(bed, folder, "test_bed"));
    if (!code) code = train(c, t);
    if (code) return code;
    e->model.net = t->net;
    e->model.path = "test bed";
    e->model.classes = t->train.class_names;
    e->model.n_classes = t->train.n_classes;
    e->sample = *s;
    e->channels = s->dim[0], e->height = s->dim[1], e->width = s->dim[2];
    e->size = interp_shape_size(s);
    code = choose(c, e, t, masks, bed);
    if (!code) code = add_methods(c, e, t);
    interp_free(c->ctx, masks);
    return code ? code
                : cli_model_save(c, t->net, t->train.class_names, t->train.n_classes,
                                 cli_path(path, bed, "model.onnx"));
}

/* ---- the picture: a column for each method, the best first; a row for each sample */

enum { ROWS = 4, GAP = 4, MARGIN = 14, SIZE = 15, INK = 0x333333, EDGE = 0x1f4fd8 };

/* A line around the object, on a picture enlarged `scale` times. */
static void outline(interp_image *image, int x0, int y0, const unsigned char *mask, int height,
                    int width, int scale)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const unsigned char here = mask[y * width + x];
            if (x + 1 < width && mask[y * width + x + 1] != here)
                interp_image_rect(image, x0 + (x + 1) * scale - 1, y0 + y * scale, 2, scale, EDGE);
            if (y + 1 < height && mask[(y + 1) * width + x] != here)
                interp_image_rect(image, x0 + x * scale, y0 + (y + 1) * scale - 1, scale, 2, EDGE);
        }
}

/* One cell: a picture (attr NULL) or an attribution of it. */
static int draw_cell(cli *c, const cli_evaluation *e, int sample, const float *attr, int x, int y,
                     int scale, interp_image *image)
{
    interp_attribution_draw_desc d;
    interp_image cell;
    const size_t pixels = (size_t)e->height * (size_t)e->width;
    memset(&d, 0, sizeof d);
    d.attr = attr ? attr + (size_t)sample * e->size : NULL;
    d.image = e->x + (size_t)sample * e->size;
    d.method = attr ? INTERP_DRAW_HEAT_MAP : INTERP_DRAW_ORIGINAL;
    d.channels = e->channels, d.height = e->height, d.width = e->width;
    d.image_min = -1, d.image_max = 1;
    d.scale = scale;
    if (interp_attribution_draw(c->ctx, &d, &cell)) return cli_fail_ctx(c);
    interp_image_blit(image, x, y, cell.width, cell.height, &cell, INTERP_RESAMPLE_PIXELS);
    interp_image_free(c->ctx, &cell);
    outline(image, x, y, e->mask + (size_t)sample * pixels, e->height, e->width, scale);
    return CLI_DONE;
}

/* Methods first..first+n-1 in a band from y on. */
static int draw_band(cli *c, const cli_evaluation *e, int first, int n, int y, int names,
                     interp_image *image)
{
    char text[96];
    const int scale = 2, step_x = e->width * scale + GAP, step_y = e->height * scale + GAP;
    const int rows = e->n < ROWS ? e->n : ROWS, mass = cli_score("mass"), rank = cli_score("rank");
    const int below = y + names + rows * step_y + SIZE / 2 + 4, left = MARGIN + 56;
    int code = CLI_DONE;
    interp_image_text(image, MARGIN, below, SIZE - 1, 0, INK, "mass");
    interp_image_text(image, MARGIN, below + SIZE + 4, SIZE - 1, 0, INK, "rank");
    for (int k = -1; k < n && !code; k++) {
        const cli_scored *s = k < 0 ? NULL : &e->of[first + k];
        const int x = left + (k + 1) * step_x, middle = x + e->width * scale / 2;
        if (s) snprintf(text, sizeof text, "%d. %s", first + k + 1, s->name);
        else snprintf(text, sizeof text, "input");
        interp_image_text(image, middle, y + names - 8, SIZE, INTERP_TEXT_UP, INK, text);
        for (int i = 0; i < rows && !code; i++)
            code = draw_cell(c, e, i, s ? s->attribution : NULL, x, y + names + i * step_y, scale,
                             image);
        for (int line = 0; s && line < 2; line++) {
            snprintf(text, sizeof text, "%.2f", s->mean[line ? rank : mass]);
            interp_image_text(image, middle, below + line * (SIZE + 4), SIZE - 1,
                              INTERP_TEXT_CENTRE, INK, text);
        }
    }
    return code;
}

static int draw_methods(cli *c, const cli_evaluation *e, const char *path)
{
    interp_image image;
    const int columns = (e->count + 1) / 2, rows = e->n < ROWS ? e->n : ROWS;
    int names = 0;
    for (int m = 0; m < e->count; m++) {
        char text[96];
        if (!strcmp(e->of[m].name, interp_method_name(INTERP_RISE)))
            for (int i = 0; i < e->n; i++)
                cli_above_least(e->of[m].attribution + (size_t)i * e->size, e->size);
        snprintf(text, sizeof text, "%d. %s", m + 1, e->of[m].name);
        const int wide = interp_text_width(text, SIZE, 0) + 14;
        if (wide > names) names = wide;
    }
    const int band = names + rows * (2 * e->height + GAP) + 2 * (SIZE + 4) + 20;
    const int width = 2 * MARGIN + 56 + (columns + 1) * (2 * e->width + GAP);
    if (interp_image_new(c->ctx, width, 2 * band + 66, 0xffffff, &image)) return cli_fail_ctx(c);
    interp_image_text(&image, MARGIN, 20, SIZE + 2, INTERP_TEXT_BOLD, INK,
                      "Which methods find the shape that decides (outlined)? The best first.");
    interp_image_text(&image, MARGIN, 42, SIZE - 2, 0, INK,
                      "Green speaks for the class, red against it. mass: share of the positive "
                      "relevance inside; rank: share of the most relevant pixels inside; means "
                      "over all samples.");
    int code = draw_band(c, e, 0, columns, 58, names, &image);
    if (!code) code = draw_band(c, e, columns, e->count - columns, 58 + band, names, &image);
    return code ? code : cli_write_image(c, &image, path);
}

int test_bed_write(cli *c, const cli_evaluation *e, const char *folder)
{
    char path[CLI_PATH], attributions[CLI_PATH], name[96];
    const interp_shape whole = {4, {e->n, e->channels, e->height, e->width, 1, 1, 1, 1}};
    int code = cli_make_folder(cli_path(attributions, folder, "test_bed/attributions"));
    for (int m = 0; m < e->count && !code; m++) {
        snprintf(name, sizeof name, "%s.npy", e->of[m].name);
        if (interp_npy_write_f32(c->ctx, cli_path(path, attributions, name), e->of[m].attribution,
                                 &whole))
            code = cli_fail_ctx(c);
    }
    return code ? code : draw_methods(c, e, cli_path(path, folder, "methods.png"));
}

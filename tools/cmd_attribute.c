/* interp attribute: which inputs a model's output depends on. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--input", "X",
     "samples: .npy, .npz:KEY, .csv, .safetensors:KEY, image file or folder; results lie as these do"},
    {"--data", "D", "or the test samples of DATA, see interp help train, with their classes"},
    {"--samples", "N", "only the first N of them"},
    {"--labels", "Y.npy", "classes of the samples: the gallery then tells right from wrong"},
    {"--preprocess", "HOW",
     "inputs to what the model knows: imagenet, or MEAN:SD, numbers or one for each channel"},
    {"--target", "WHAT",
     "pred (default), true, sum, a class by number or name, labels Y.npy; or several for each"},
    {"", NULL, "sample, with results [n, K, ..]: 3,cat,5 or all"},
    {"--method", "M[,M..]",
     "methods, or all; all,-lime leaves one out; layer_M at --layer, neuron_M of its number --target"},
    {"--baseline", "B", "zero (default), mean, min, max, blur, noise, or B.npy"},
    {"--n-steps", "N", "points of methods that integrate (50)"},
    {"--layer", "NODE", "layer of the CAM, layer and neuron methods; a node or a value"},
    {"--mask", "M.npy", "ids of features, of the perturbation methods; broadcast to the input"},
    {"--set", "KEY=VALUE", "an option of the methods; may be repeated:"},
    {"  abs=0", NULL, "saliency keeps its sign"},
    {"  quadrature=RULE", NULL,
     "gausslegendre (default), riemann_left, _right, _middle, _trapezoid"},
    {"  captum=1", NULL, "weights of the trapezoid sum to (n-1)/n, as captum's do"},
    {"  tolerance=X", NULL, "doubles the steps until the residual is within X of the difference"},
    {"  max_steps=N", NULL, "but takes no more than that (32 times --n-steps)"},
    {"  multiply_by_inputs=0", NULL, "integrated gradients without the factor x - baseline"},
    {"  samples=N", NULL, "noisy copies (25), random points of gradient_shap (5), permutations of"},
    {"", NULL, "Shapley sampling (25), coalitions of kernel_shap and lime (50),"},
    {"", NULL, "passes of partition_shap (500), rise (1000) and anchors (20000)"},
    {"  stdev=X", NULL, "sd of their noise (0.15 of each sample's range)"},
    {"  base=METHOD", NULL, "what smooth_grad and its like average (the gradient)"},
    {"  noise=N.npy", NULL, "that noise, [n, samples, input], instead of drawing it"},
    {"  alphas=, draws=", NULL, "random points and baselines, [n, samples], instead of drawing"},
    {"  max_blur=X", NULL, "blur that blur_ig starts from, in pixels (50)"},
    {"  fraction=X", NULL, "share of numbers that guided_ig moves at once (0.25)"},
    {"  neuron=N", NULL, "number of the layer that neuron_conductance goes through, from 0"},
    {"  raw=1", NULL, "class activation maps as they are, not cut, scaled and enlarged"},
    {"  rule=RULE", NULL, "of lrp: epsilon (default), gamma, alpha_beta, z_plus, flat, w_square,"},
    {"", NULL, "z_box, epsilon_plus[_flat], epsilon_alpha2_beta1[_flat],"},
    {"", NULL, "epsilon_gamma_box, excitation_backprop, preset_a[_flat], preset_b[_flat],"},
    {"", NULL, "deep_taylor"},
    {"  rule_of=NODE:RULE", NULL, "another rule of lrp for one layer; may be repeated"},
    {"  reveal_cancel=1", NULL, "deep_lift by RevealCancel behind dense layers, else Rescale"},
    {"  epsilon=, gamma=, alpha=", NULL, "constants of lrp (1e-6, 0.25, 2)"},
    {"  low=, high=", NULL, "range of the input for lrp's z_box (that of the samples)"},
    {"  gate=half", NULL, "lrp hands half of a product to its gate (default: signal)"},
    {"  window=N[,N..]", NULL, "size of occlusion's window along each dimension of the input"},
    {"  stride=N[,N..]", NULL, "and its step (1)"},
    {"  segments=N", NULL, "features are about N superpixels of each image, instead of a mask"},
    {"  grid=HxW", NULL, "or tiles in H rows of W"},
    {"  perms=P.npy", NULL, "orders of features [samples, M] for Shapley sampling"},
    {"  coalitions=Z.npy", NULL, "features present [n, samples, M], for kernel_shap and lime"},
    {"  kernel_width=, penalty=", NULL, "of lime (1, 0.01)"},
    {"  threshold=X", NULL, "share of copies in which an anchor holds the prediction (0.95)"},
    {"  concept=C.npy, random=R.npy", NULL, "examples of tcav, which writes tcav.csv"},
    {"--embed", "HOW",
     "umap, tsne or pca: each method's attributions as points, with the samples' pictures on hover"},
    {"--draw", "HOW", "heat_map (default), blended, overlay, masked, alpha"},
    {"--alpha", "X", "strength of the colours of blended and overlay (0.5)"},
    {"--sign", "WHICH", "all (default), positive, negative, absolute"},
    {"--outlier-percent", "X", "share of the strongest drawn at full colour (2)"},
    {NULL, NULL, NULL}};

typedef struct job {
    cli_model model;
    interp_shape sample;
    cli_samples in;
    cli_picture picture; /* what samples are; without views: none */
    cli_draws given;
    interp_array mask;
    interp_attribute_desc desc;
    cli_methods methods;
    interp_tcav_result concepts;
    int32_t *predicted;              /* [n]; NULL: there are no classes */
    interp_gallery *gallery;         /* NULL: the samples are no pictures */
    float *attribution[CLI_METHODS]; /* [n, shape] */
    interp_shape shape[CLI_METHODS]; /* of one sample's */
    const char *layer[CLI_METHODS];
    interp_attribution *report[CLI_METHODS]; /* [n] */
    double seconds[CLI_METHODS];
    size_t peak[CLI_METHODS];
} job;

/* Results of each method: one for each sample, or for each of its targets. */
static int rows_of(const job *j)
{
    return j->in.n * (j->desc.n_targets ? j->desc.n_targets : 1);
}

/* What the call takes for method m. */
static interp_attribute_desc *desc_of(job *j, int m)
{
    j->desc.method = j->methods.list[m], j->desc.scope = j->methods.scope[m];
    return &j->desc;
}

/* Random draws that were given instead of drawing them: as many as there are samples and copies. */
static int check_draws(cli *c, job *j)
{
    const size_t copies = (size_t)(j->desc.n_samples ? j->desc.n_samples : 25), n = (size_t)j->in.n;
    const size_t size = interp_shape_size(&j->sample);
    if (j->desc.noise && interp_shape_size(&j->given.noise.shape) != n * copies * size)
        return cli_fail("--set noise: its size does not fit %zu samples with %zu noisy copies each",
                        n, copies);
    const size_t points = (size_t)(j->desc.n_samples ? j->desc.n_samples : 5) * n;
    if ((j->desc.alphas && interp_shape_size(&j->given.alphas.shape) != points) ||
        (j->given.draws.data && interp_shape_size(&j->given.draws.shape) != points))
        return cli_fail("--set alphas, draws: their sizes do not fit %zu samples: %zu numbers", n,
                        points);
    if (!j->given.draws.data) return CLI_DONE;
    int32_t *draws = (int32_t *)interp_alloc(c->ctx, points * sizeof *draws);
    if (!draws || interp_array_ints(c->ctx, &j->given.draws, draws)) return cli_fail_ctx(c);
    j->desc.draws = draws;
    return CLI_DONE;
}

/* Whole numbers of an array; NULL when there is no room or they are not whole. */
static int32_t *ints_of(cli *c, const interp_array *a)
{
    int32_t *to = (int32_t *)interp_alloc(c->ctx, interp_shape_size(&a->shape) * sizeof *to);
    return to && !interp_array_ints(c->ctx, a, to) ? to : NULL;
}

static int parse_mask(cli *c, job *j)
{
    const char *text = cli_get(c, "--mask");
    if (!text) return CLI_DONE;
    if (cli_array(c, text, &j->mask)) return CLI_FAILED;
    interp_shape *s = &j->desc.mask_shape;
    *s = j->mask.shape;
    if (j->in.last && s->rank >= 3) {
        if (cli_array_first(c, &j->mask, 1, s)) return CLI_FAILED;
        cli_turn(s->dim + s->rank - 3, false);
    }
    j->desc.mask = ints_of(c, &j->mask);
    return j->desc.mask ? CLI_DONE : cli_fail_ctx(c);
}

/* Arrays that were given in the layout of samples with channels last, in that of the network. */
static int turn_given(cli *c, job *j)
{
    interp_array *const given[] = {&j->given.noise, &j->given.concept, &j->given.random};
    bool last;
    for (int k = 0; k < 3; k++)
        if (given[k]->data && cli_channels_first(c, j->model.net, 0, given[k], &last))
            return CLI_FAILED;
    j->desc.noise = (const float *)j->given.noise.data;
    return CLI_DONE;
}

/* Permutations and coalitions that were given: their number is that of the samples, and each has all
   features of the methods that take them. */
static int check_coalitions(cli *c, job *j)
{
    for (int m = 0; m < j->methods.n; m++) {
        const bool order = j->methods.list[m] == INTERP_SHAPLEY_VALUE_SAMPLING;
        const bool some =
            j->methods.list[m] == INTERP_KERNEL_SHAP || j->methods.list[m] == INTERP_LIME;
        const interp_array *a = order ? &j->given.perms : &j->given.coalitions;
        const interp_shape *s = &a->shape;
        int count;
        if (!(order || some) || !a->data) continue;
        if (interp_attribute_features(j->model.net, desc_of(j, m), &count)) return cli_fail_ctx(c);
        if (s->rank != (order ? 2 : 3) || (!order && s->dim[0] != j->in.n) ||
            s->dim[s->rank - 1] != count)
            return cli_fail("--set %s: the shape of the array does not fit %d features%s",
                            order ? "perms" : "coalitions", count, order ? "" : " of all samples");
        if (j->desc.n_samples && j->desc.n_samples != s->dim[s->rank - 2])
            return cli_fail("--set %s: the array holds %d rows, but samples are %d",
                            order ? "perms" : "coalitions", s->dim[s->rank - 2], j->desc.n_samples);
        j->desc.n_samples = s->dim[s->rank - 2];
        const int32_t **to = order ? &j->desc.permutations : &j->desc.coalitions;
        if (!*to) *to = ints_of(c, a);
        if (!*to) return cli_fail_ctx(c);
    }
    return CLI_DONE;
}

/* TCAV of the layer; samples= is the number of splits. */
static interp_status concepts(job *j)
{
    const size_t size = interp_shape_size(&j->sample);
    interp_tcav_desc d;
    memset(&d, 0, sizeof d);
    d.layer = j->desc.layer, d.seed = j->desc.seed;
    d.target_kind = j->desc.target_kind, d.target = j->desc.target, d.targets = j->desc.targets;
    d.splits = j->desc.n_samples, d.penalty = j->desc.penalty;
    d.examples = (const float *)j->given.concept.data,
    d.random = (const float *)j->given.random.data;
    d.n_examples = (int)(interp_shape_size(&j->given.concept.shape) / size);
    d.n_random = (int)(interp_shape_size(&j->given.random.shape) / size);
    return interp_tcav(j->model.net, (const float *)j->in.x.data, j->in.n, &d, &j->concepts, NULL);
}

static bool of_neurons(const job *j, int m)
{
    return j->methods.scope[m] == INTERP_SCOPE_NEURON ||
           j->methods.list[m] == INTERP_NEURON_GRADIENT;
}

/* The examples of a concept must be samples. */
static int check_concepts(const job *j)
{
    const interp_array *sets[2] = {&j->given.concept, &j->given.random};
    bool neurons = false;
    for (int m = 0; m < j->methods.n; m++) neurons = neurons || of_neurons(j, m);
    if (j->desc.n_targets && (j->methods.tcav || (neurons && !j->methods.all)))
        return cli_usage("--target all is not for tcav and methods of neurons");
    for (int k = 0; j->methods.tcav && k < 2; k++)
        if (!sets[k]->data || interp_shape_size(&sets[k]->shape) % interp_shape_size(&j->sample))
            return cli_fail("tcav: --set %s=X.npy must give samples of the size the model takes",
                            k ? "random" : "concept");
    return CLI_DONE;
}

static int write_concepts(const job *j, const char *path)
{
    const interp_tcav_result *r = &j->concepts;
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "layer,samples,score,score_sd,random_score,random_sd,magnitude,accuracy,p\n");
    cli_add_csv(&t, j->desc.layer);
    cli_add(&t, ",%d,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g\n", j->in.n, r->score, r->score_sd,
            r->random_score, r->random_sd, r->magnitude, r->accuracy, r->p);
    return cli_text_write(&t, path);
}

/* The stage that memory limits: all methods, one after the other. When asked whether it fits, the
   methods are asked in turn, as each is cancelled at once. */
static interp_status attribute(cli *c, void *user)
{
    job *j = (job *)user;
    (void)c;
    interp_status status = INTERP_OK;
    for (int m = 0; m < j->methods.n && (!status || status == INTERP_CANCELLED); m++) {
        const double start = cli_now();
        const interp_status now =
            interp_attribute(j->model.net, (const float *)j->in.x.data, j->in.n, desc_of(j, m),
                             j->attribution[m], j->report[m]);
        if (!now) status = interp_attribute_bytes(j->model.net, j->in.n, &j->desc, &j->peak[m]);
        else status = now;
        j->seconds[m] = cli_now() - start;
    }
    if (j->methods.tcav && (!status || status == INTERP_CANCELLED)) status = concepts(j);
    return status;
}

/* ---- results */

static int parse_drawing(const cli *c, interp_attribution_draw_desc *d)
{
    static const char *const ways[] = {"heat_map", "blended", "overlay", "masked", "alpha"};
    static const char *const signs[] = {"all", "positive", "negative", "absolute"};
    int way = 0, sign = 0;
    memset(d, 0, sizeof *d);
    int code = cli_choice(c, "--draw", ways, 5, &way);
    if (!code) code = cli_choice(c, "--sign", signs, 4, &sign);
    if (!code) code = cli_float(c, "--outlier-percent", 0, 100, &d->outlier_percent);
    if (d->outlier_percent == 0 && cli_has(c, "--outlier-percent")) d->outlier_percent = -1;
    d->method = (interp_attribution_draw_method)way;
    d->sign = (interp_attribution_sign)sign;
    if (!code) code = cli_float(c, "--alpha", 0, 1, &d->alpha);
    if (!cli_has(c, "--sign") && way >= 3) d->sign = INTERP_SIGN_ABSOLUTE;
    d->colour_bar = true;
    return code;
}

/* The class that each sample is taken for; its memory is no part of the work. */
static int predict(cli *c, job *j)
{
    const interp_shape out = interp_net_output_shape(j->model.net, 0);
    const int k = (int)interp_shape_size(&out);
    const size_t limit = interp_memory_read(c->ctx).limit;
    if (k < 2) return CLI_DONE;
    interp_memory_set_limit(c->ctx, 0);
    float *y = (float *)interp_alloc(c->ctx, (size_t)j->in.n * (size_t)k * sizeof *y);
    j->predicted = (int32_t *)interp_alloc(c->ctx, (size_t)j->in.n * sizeof *j->predicted);
    if (!y || !j->predicted ||
        interp_predict(j->model.net, (const float *)j->in.x.data, j->in.n, y))
        return cli_fail_ctx(c);
    for (int i = 0; i < j->in.n; i++) j->predicted[i] = interp_argmax(y + (size_t)i * (size_t)k, k);
    interp_free(c->ctx, y);
    interp_memory_set_limit(c->ctx, limit);
    return CLI_DONE;
}

enum { BY_METHOD, BY_SAMPLE, BY_PREDICTED, BY_TRUE, BY_CORRECT, GALLERY_FIELDS };

static const char *class_text(const job *j, int k, char out[32])
{
    if (k >= 0 && k < j->model.n_classes && j->model.classes) return j->model.classes[k];
    snprintf(out, 32, "%d", k);
    return out;
}

/* The samples' classes, where they are known: labels to explain are taken for that. */
static const int32_t *truth_of(const job *j)
{
    if (j->in.labels) return j->in.labels;
    return j->desc.target_kind == INTERP_TARGET_LABELS ? j->desc.targets : NULL;
}

/* A picture of sample i. */
static void show(const job *j, int i, const char *method, const interp_image *image)
{
    char sample[32], predicted[32], truth[32], caption[CLI_PATH];
    const char *values[GALLERY_FIELDS] = {method};
    const bool labels = truth_of(j) && j->predicted;
    snprintf(sample, sizeof sample, "%d", i);
    values[BY_SAMPLE] = j->in.files ? j->in.files[i] : sample;
    if (j->predicted) values[BY_PREDICTED] = class_text(j, j->predicted[i], predicted);
    if (labels) values[BY_TRUE] = class_text(j, truth_of(j)[i], truth);
    if (labels) values[BY_CORRECT] = truth_of(j)[i] == j->predicted[i] ? "yes" : "no";
    snprintf(caption, sizeof caption, "%.200s, sample %.200s%s%.200s", method, values[BY_SAMPLE],
             j->predicted ? ", taken for " : "", j->predicted ? values[BY_PREDICTED] : "");
    interp_gallery_add(j->gallery, image, caption, values);
}

/* Whether a method's results are laid out as points too. */
static bool is_embedded(const cli *c, const job *j, int m)
{
    return cli_has(c, "--embed") && interp_shape_size(&j->shape[m]) >= 2;
}

/* The gallery, with the samples themselves as its first pictures. */
static int open_gallery(cli *c, job *j)
{
    static const char *const fields[GALLERY_FIELDS] = {"method", "sample", "predicted", "true",
                                                       "correct"};
    char subtitle[CLI_PATH];
    interp_gallery_desc g;
    interp_attribution_draw_desc d;
    char text[CLI_METHODS][128], path[CLI_METHODS][128];
    const char *links[2 * CLI_METHODS];
    const size_t size = interp_shape_size(&j->sample);
    int code = CLI_DONE;
    memset(&g, 0, sizeof g);
    for (int m = 0; m < j->methods.n; m++) {
        if (!is_embedded(c, j, m)) continue;
        snprintf(text[m], sizeof text[m], "%.79s as points", j->methods.names[m]);
        snprintf(path[m], sizeof path[m], "%.79s_points/embedding.html", j->methods.names[m]);
        links[2 * g.n_links] = text[m], links[2 * g.n_links++ + 1] = path[m];
    }
    g.links = links;
    memset(&d, 0, sizeof d);
    snprintf(subtitle, sizeof subtitle, "%d sample%s explained by %d method%s; model %.400s",
             j->in.n, j->in.n == 1 ? "" : "s", j->methods.n, j->methods.n == 1 ? "" : "s",
             j->model.path);
    g.title = "Attributions", g.subtitle = subtitle;
    g.fields = fields, g.n_fields = GALLERY_FIELDS;
    if (interp_gallery_begin(c->ctx, &g, &j->gallery)) return cli_fail_ctx(c);
    d.method = INTERP_DRAW_ORIGINAL;
    float *whole = (float *)interp_alloc(c->ctx, size * sizeof *whole);
    if (!whole) return cli_fail_ctx(c);
    d.channels = j->picture.channels;
    d.height = j->picture.whole_height, d.width = j->picture.whole_width;
    d.image = whole;
    for (int i = 0; i < j->in.n && !code; i++) {
        interp_image image;
        cli_picture_join(&j->picture, j->in.shown + (size_t)i * size, whole);
        if (interp_attribution_draw(c->ctx, &d, &image)) code = cli_fail_ctx(c);
        else show(j, i, "input", &image), interp_image_free(c->ctx, &image);
    }
    interp_free(c->ctx, whole);
    return code;
}

/* The class a method explains, -1 for none: neurons have no names. */
static int class_of(const job *j, int m, int target)
{
    return of_neurons(j, m) || target >= j->model.n_classes ? -1 : target;
}

/* A picture with what it shows below it. */
static int write_captioned(cli *c, const job *j, int m, int i, interp_image *image,
                           const char *path)
{
    enum { SIZE = 14, LINE = 24, INK = 0x333333, PAPER = 0xffffff };
    char text[2][CLI_PATH], number[32];
    interp_image page;
    const interp_attribution *r = &j->report[m][i];
    const int known = class_of(j, m, r->target);
    snprintf(text[0], sizeof text[0], "%s", j->methods.names[m]);
    if (r->target < 0) snprintf(text[1], sizeof text[1], "sum of the outputs: %.4g", r->output);
    else
        snprintf(text[1], sizeof text[1], "%s %.100s: %.4g", of_neurons(j, m) ? "number" : "class",
                 class_text(j, known < 0 ? r->target : known, number), r->output);
    int width = image->width;
    for (int k = 0; k < 2; k++) {
        const int wide = interp_text_width(text[k], SIZE, k ? 0 : INTERP_TEXT_BOLD) + 4;
        if (wide > width) width = wide;
    }
    if (interp_image_new(c->ctx, width, image->height + 2 * LINE, PAPER, &page))
        return cli_fail_ctx(c);
    interp_image_blit(&page, 0, 0, image->width, image->height, image, INTERP_RESAMPLE_PIXELS);
    for (int k = 0; k < 2; k++)
        interp_image_text(&page, 2, image->height + LINE * k + LINE / 2 + 2, SIZE,
                          k ? 0 : INTERP_TEXT_BOLD, INK, text[k]);
    return cli_write_image(c, &page, path);
}

/* Whether a result has the shape of the samples. */
static bool of_input(const job *j, int m)
{
    const interp_shape *s = &j->shape[m], *x = &j->sample;
    return s->rank == x->rank && !memcmp(s->dim, x->dim, (size_t)x->rank * sizeof *s->dim);
}

static int write_pictures(cli *c, job *j, int m, const char *folder, interp_attribution_draw_desc d)
{
    char path[CLI_PATH], name[96];
    interp_image image;
    int code = CLI_DONE;
    const cli_picture *p = &j->picture;
    const size_t size = interp_shape_size(&j->sample), view = size / (size_t)p->views;
    const bool map = !of_input(j, m); /* drawn as the first channel of each view */
    float *attr = (float *)calloc(3 * size, sizeof *attr), *joined = attr + size;
    if (!attr) return cli_fail("out of memory");
    d.channels = p->channels, d.height = p->whole_height, d.width = p->whole_width;
    d.attr = joined, d.image = joined + size;
    for (int i = 0; i < j->in.n && !code; i++) {
        const size_t whole = interp_shape_size(&j->shape[m]);
        const float *from = j->attribution[m] + (size_t)i * whole;
        const int maps = j->shape[m].rank == 2 ? 1 : p->views; /* one may be of every view */
        const size_t plane = map ? whole / (size_t)maps : whole;
        for (int v = 0; v < (map ? p->views : 1); v++) {
            float *to = attr + (size_t)v * view;
            memcpy(to, from + (maps > 1 ? (size_t)v * plane : 0), plane * sizeof *attr);
            if (map && j->methods.list[m] == INTERP_RISE) cli_above_least(to, plane);
        }
        cli_picture_join(p, attr, joined);
        cli_picture_join(p, j->in.shown + (size_t)i * size, joined + size);
        snprintf(name, sizeof name, "%s_%d.png", j->methods.names[m], i);
        if (interp_attribution_draw(c->ctx, &d, &image)) code = cli_fail_ctx(c);
        else {
            show(j, i, j->methods.names[m], &image);
            code = write_captioned(c, j, m, i, &image, cli_path(path, folder, name));
            interp_image_free(c->ctx, &image);
        }
    }
    free(attr);
    return code;
}

static bool takes_steps(const job *j, int m)
{
    return j->report[m][0].steps > 0;
}

static bool changes_nodes(const job *j, int m)
{
    const interp_method kind = j->methods.list[m];
    return kind == INTERP_GUIDED_BACKPROP || kind == INTERP_DECONVOLUTION ||
           kind == INTERP_GUIDED_BACKPROP_SMOOTH || kind == INTERP_GUIDED_GRAD_CAM;
}

/* What a reader of method m's results should know and no picture tells. */
static void say_notes(const cli *c, const job *j, int m)
{
    const char *name = j->methods.names[m];
    const interp_attribution *r = j->report[m];
    const int rows = rows_of(j);
    int few = 0, unsure = 0;
    for (int i = 0; i < rows; i++) {
        const double change = fabs(r[i].output - r[i].baseline_output);
        few += takes_steps(j, m) && j->desc.tolerance > 0 &&
               !(fabs(r[i].residual) <= (double)j->desc.tolerance * change);
        unsure += !(r[i].precision >= (j->desc.threshold > 0 ? (double)j->desc.threshold : 0.95));
    }
    if (j->layer[m] && !cli_has(c, "--layer"))
        cli_say(c, "%s: of layer \"%s\", as --layer was not given", name, j->layer[m]);
    if (changes_nodes(j, m) && r->nodes)
        cli_say(c, "%s: its rule changed %d nodes", name, r->nodes);
    else if (changes_nodes(j, m))
        cli_say(c, "%s: its rule changed no node, so this is the gradient%s", name,
                j->methods.list[m] == INTERP_GUIDED_BACKPROP_SMOOTH
                    ? ""
                    : ": guided_backprop_smooth is for networks without ReLU");
    if (few)
        cli_say(c,
                "%s: %d of %d residuals are over the tolerance after the most steps allowed: "
                "--set max_steps=N for more",
                name, few, rows);
    if (unsure && j->methods.list[m] == INTERP_ANCHORS)
        cli_say(c,
                "%s: %d of %d hold the prediction in less than the threshold's share of copies: "
                "see precision in summary.csv",
                name, unsure, rows);
}

static int write_summary(job *j, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    bool anchors = false;
    for (int m = 0; m < j->methods.n; m++)
        anchors = anchors || j->methods.list[m] == INTERP_ANCHORS;
    cli_add(
        &t,
        "sample,method,target,output,baseline_output,residual,passes,seconds,peak_bytes,layer,steps,"
        "nodes%s%s%s\n",
        anchors ? ",precision,coverage" : "", j->model.classes ? ",name" : "",
        j->in.files ? ",file" : "");
    for (int m = 0; m < j->methods.n; m++)
        for (int i = 0; i < rows_of(j); i++) {
            const interp_attribution *r = &j->report[m][i];
            const int sample = i / (rows_of(j) / j->in.n);
            cli_add(&t, "%d,%s,%d,%.9g,", sample, j->methods.names[m], r->target, r->output);
            cli_add_number(&t, r->baseline_output, false);
            cli_add(&t, ",");
            cli_add_number(&t, r->residual, false);
            cli_add(&t, ",%d,%.6g,%zu,", r->passes, j->seconds[m] / rows_of(j), j->peak[m]);
            if (j->layer[m]) cli_add_csv(&t, j->layer[m]);
            cli_add(&t, ",");
            if (takes_steps(j, m)) cli_add(&t, "%d", r->steps);
            cli_add(&t, ",");
            if (changes_nodes(j, m)) cli_add(&t, "%d", r->nodes);
            if (anchors) cli_add(&t, ",%.6g,%.6g", r->precision, r->coverage);
            if (j->model.classes)
                cli_add(&t, ","),
                    cli_add_csv(&t,
                                class_of(j, m, r->target) < 0 ? "" : j->model.classes[r->target]);
            if (j->in.files) cli_add(&t, ","), cli_add_csv(&t, j->in.files[sample]);
            cli_add(&t, "\n");
        }
    return cli_text_write(&t, path);
}

/* The shape of all samples' results: [n, ...]. */
static interp_shape with_samples(const interp_shape *one, int n)
{
    interp_shape s = *one;
    for (int d = s.rank; d > 0; d--) s.dim[d] = one->dim[d - 1];
    s.dim[0] = n;
    s.rank++;
    return s;
}

/* Whether a result lies over the image: as large as it, or one number for each pixel, of each view
   perhaps. */
static bool is_picture(const job *j, int m)
{
    const interp_shape *s = &j->shape[m];
    if (of_input(j, m)) return true;
    const bool of_views = s->rank == 3 && s->dim[0] == j->picture.views;
    return (s->rank == 2 || of_views) && s->dim[s->rank - 2] == j->picture.height &&
           s->dim[s->rank - 1] == j->picture.width;
}

enum { MOST_COLUMNS = 20, MOST_ROWS = 64 };

/* "three, true and predicted" */
static void column_name(const job *j, int i, int k, char out[96])
{
    char number[32];
    const bool truth = truth_of(j) && truth_of(j)[i] == k;
    const bool predicted = j->predicted && j->predicted[i] == k;
    snprintf(out, 96, "%.60s%s", class_text(j, k, number),
             truth && predicted ? ", true and predicted"
             : truth            ? ", true"
             : predicted        ? ", predicted"
                                : "");
}

/* The attributions of sample i for every class side by side, its views below each other. */
static int write_classes(cli *c, job *j, int m, int i, const char *folder,
                         interp_attribution_draw_desc d)
{
    char path[CLI_PATH], name[96], column[MOST_COLUMNS][96], row[MOST_ROWS][16];
    const char *columns[MOST_COLUMNS], *rows[MOST_ROWS];
    const int views = j->picture.views, k = j->desc.n_targets;
    const size_t size = interp_shape_size(&j->sample), view = size / (size_t)views;
    interp_image *image = (interp_image *)calloc((size_t)(views * k), sizeof *image), whole;
    interp_panel_cell *cell = (interp_panel_cell *)calloc((size_t)(views * k), sizeof *cell);
    interp_panel_desc p;
    int code = image && cell ? CLI_DONE : cli_fail("out of memory");
    d.channels = j->picture.channels, d.height = j->picture.height, d.width = j->picture.width;
    d.colour_bar = false;
    for (int at = 0; at < views * k && !code; at++) {
        d.image = j->in.shown + (size_t)i * size + (size_t)(at / k) * view;
        d.attr = j->attribution[m] + (size_t)(i * k + at % k) * size + (size_t)(at / k) * view;
        if (interp_attribution_draw(c->ctx, &d, &image[at])) code = cli_fail_ctx(c);
        cell[at].image = &image[at];
    }
    for (int v = 0; v < views; v++) snprintf(row[v], sizeof row[v], "view %d", v), rows[v] = row[v];
    for (int t = 0; t < k; t++) {
        column_name(j, i, j->desc.targets ? j->desc.targets[t] : t, column[t]);
        columns[t] = column[t];
    }
    memset(&p, 0, sizeof p);
    p.cells = cell, p.rows = views, p.cols = k, p.col_labels = columns;
    p.row_labels = views > 1 ? rows : NULL;
    p.cell_size = k > 5 ? 110 : 170;
    snprintf(name, sizeof name, "%s_classes_%d.png", j->methods.names[m], i);
    if (!code && interp_panel_draw(c->ctx, &p, &whole)) code = cli_fail_ctx(c);
    else if (!code) code = cli_write_image(c, &whole, cli_path(path, folder, name));
    for (int at = 0; image && at < views * k; at++) interp_image_free(c->ctx, &image[at]);
    free(image);
    free(cell);
    return code;
}

/* Attributions of a method as points, in a folder of their own. */
static int write_points(cli *c, job *j, int m, const char *folder)
{
    static const cli_stage stages[] = {cli_embedding_stage};
    char path[CLI_PATH], name[96];
    cli_embedding e;
    int code = cli_embedding_options(c, "--embed", &e);
    const int32_t *truth = truth_of(j);
    e.x = j->attribution[m];
    e.n = j->in.n, e.d = (int)interp_shape_size(&j->shape[m]);
    e.classes = truth ? truth : j->predicted;
    e.predicted = truth ? j->predicted : NULL;
    e.names = e.predicted_names = (const char *const *)j->model.classes;
    e.n_names = j->model.n_classes;
    e.files = j->in.files;
    if (cli_is_image(&j->sample)) {
        e.images = j->in.shown;
        e.channels = j->sample.dim[0], e.height = j->sample.dim[1], e.width = j->sample.dim[2];
    }
    snprintf(e.title, sizeof e.title, "%s of %.80s", cli_embedding_name(&e), j->methods.names[m]);
    snprintf(name, sizeof name, "%.80s_points", j->methods.names[m]);
    cli_path(path, folder, name);
    if (!code) code = cli_embedding_room(c, &e);
    if (!code && cli_work(c, stages, 1, &e, "")) code = cli_fail_ctx(c);
    if (!code) code = cli_embedding_judge(c, &e);
    if (!code) code = cli_make_folder(path);
    if (!code) code = cli_embedding_write(c, &e, path, "scatter");
    interp_free(c->ctx, e.y);
    return code;
}

/* The results of a method, in the layout that samples have in arrays. */
static int write_array(cli *c, const job *j, int m, const char *path)
{
    const interp_shape one = j->shape[m];
    interp_shape whole = one;
    const size_t rows = (size_t)rows_of(j), size = interp_shape_size(&one);
    const bool last = j->in.last && of_input(j, m) && one.rank >= 3;
    float *x = last ? (float *)interp_alloc(c->ctx, rows * size * sizeof *x) : j->attribution[m];
    if (!x) return cli_fail_ctx(c);
    if (last) {
        whole = cli_shape_last(one);
        interp_channels_to_last(j->attribution[m], rows, &one, x);
    }
    if (j->desc.n_targets) whole = with_samples(&whole, j->desc.n_targets);
    whole = with_samples(&whole, j->in.n);
    const interp_status status = interp_npy_write_f32(c->ctx, path, x, &whole);
    if (last) interp_free(c->ctx, x);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

static int write_results(cli *c, job *j, const char *folder,
                         const interp_attribution_draw_desc *drawing)
{
    char path[CLI_PATH], name[96];
    const bool drawn = j->picture.views > 0 && j->picture.views <= MOST_ROWS;
    const bool pictures = drawn && !j->desc.n_targets;
    const bool by_class = drawn && j->desc.n_targets > 0 && j->desc.n_targets <= MOST_COLUMNS;
    const bool points = cli_has(c, "--embed");
    int code = pictures || by_class || points ? predict(c, j) : CLI_DONE;
    if (!code && pictures) code = open_gallery(c, j);
    for (int m = 0; m < j->methods.n && !code; m++) {
        snprintf(name, sizeof name, "%s.npy", j->methods.names[m]);
        code = write_array(c, j, m, cli_path(path, folder, name));
        if (!code && pictures && is_picture(j, m)) code = write_pictures(c, j, m, folder, *drawing);
        for (int i = 0; i < j->in.n && !code && by_class && of_input(j, m); i++)
            code = write_classes(c, j, m, i, folder, *drawing);
        if (!code && is_embedded(c, j, m)) code = write_points(c, j, m, folder);
    }
    if (!code && pictures && interp_gallery_end(j->gallery, cli_path(path, folder, "gallery.html")))
        code = cli_fail_ctx(c);
    if (!code && j->methods.tcav) code = write_concepts(j, cli_path(path, folder, "tcav.csv"));
    return code ? code : write_summary(j, cli_path(path, folder, "summary.csv"));
}

static int print_json(const job *j)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "{\"samples\":%d,\"methods\":[", j->in.n);
    for (int m = 0; m < j->methods.n; m++) {
        double worst = (double)NAN; /* where there is none */
        for (int i = 0; i < rows_of(j); i++) worst = fmax(worst, fabs(j->report[m][i].residual));
        cli_add(&t,
                "%s{\"method\":\"%s\",\"seconds\":%.6g,\"peak_bytes\":%zu,\"largest_residual\":",
                m ? "," : "", j->methods.names[m], j->seconds[m], j->peak[m]);
        cli_add_number(&t, worst, true);
        cli_add(&t, "}");
    }
    cli_add(&t, "]}\n");
    return cli_text_print(&t);
}

/* Shapes and layers of the results. Of "all" methods those stay that this model and these settings
   allow. */
static int choose_methods(cli *c, job *j)
{
    int kept = 0;
    for (int m = 0; m < j->methods.n; m++) {
        if (j->methods.all && desc_of(j, m)->method == INTERP_FEATURE_PERMUTATION && j->in.n < 2) {
            cli_say(c, "feature_permutation is left out: it needs at least two samples");
            continue;
        }
        if (interp_attribute_shape(j->model.net, desc_of(j, m), &j->shape[kept], &j->layer[kept])) {
            if (!j->methods.all) return cli_fail_ctx(c);
            cli_say(c, "%s is left out: %s", j->methods.names[m], interp_error(c->ctx));
            continue;
        }
        j->methods.list[kept] = j->methods.list[m], j->methods.scope[kept] = j->methods.scope[m];
        memmove(j->methods.names[kept++], j->methods.names[m], sizeof j->methods.names[m]);
    }
    j->methods.n = kept;
    return CLI_DONE;
}

/* Model, samples, targets, baselines, and room for the results. */
static int open_job(cli *c, job *j)
{
    int code = cli_attribution_open(c, &j->model, &j->sample, &j->in, &j->desc);
    if (!code) code = cli_settings(c, &j->desc, &j->given);
    if (code) return code;
    cli_settings_turn(&j->in, &j->sample, &j->desc);
    code = turn_given(c, j);
    if (code) return code;
    cli_picture_of(&j->sample, &j->picture);
    const size_t n = (size_t)rows_of(j);
    code = check_draws(c, j);
    if (!code) code = parse_mask(c, j);
    if (!code) code = check_coalitions(c, j);
    if (!code) code = check_concepts(j);
    if (!code) code = choose_methods(c, j);
    if (!code && cli_has(c, "--embed") && (j->in.n < 3 || j->desc.n_targets))
        code = cli_usage("--embed: three samples or more with one target each are needed");
    if (code) return code;
    for (int m = 0; m < j->methods.n; m++) {
        const size_t size = interp_shape_size(&j->shape[m]);
        j->attribution[m] = (float *)interp_alloc(c->ctx, n * size * sizeof(float));
        j->report[m] = (interp_attribution *)interp_alloc(c->ctx, n * sizeof *j->report[m]);
        if (!j->attribution[m] || !j->report[m]) return cli_fail_ctx(c);
    }
    return CLI_DONE;
}

static int parse_job(cli *c, job *j, interp_attribution_draw_desc *drawing)
{
    memset(j, 0, sizeof *j);
    cli_embedding e;
    if (cli_has(c, "--input") == cli_has(c, "--data"))
        return cli_usage("attribute: %s", cli_has(c, "--data")
                                              ? "--input and --data exclude each other"
                                              : "--input X is missing, or --data D");
    if (cli_has(c, "--labels") && cli_has(c, "--data"))
        return cli_usage("attribute: --data knows the classes: --labels is for --input");
    if (cli_has(c, "--samples") && !cli_has(c, "--data"))
        return cli_usage("attribute: --samples is of --data");
    if (cli_has(c, "--embed") && cli_embedding_options(c, "--embed", &e)) return CLI_USAGE;
    int code = cli_methods_parse(c, &j->methods);
    if (!code) code = parse_drawing(c, drawing);
    if (!code) code = cli_int(c, "--n-steps", 1, 1000000, &j->desc.n_steps);
    j->desc.seed = c->seed;
    j->desc.layer = cli_get(c, "--layer");
    return code;
}

static int attribute_into(cli *c, job *j, const char *folder,
                          const interp_attribution_draw_desc *drawing)
{
    static const cli_stage stages[] = {attribute};
    int code = open_job(c, j);
    if (!code && cli_work(c, stages, 1, j, "")) code = cli_fail_model(c, &j->model);
    return code ? code : write_results(c, j, folder, drawing);
}

int attribute_run(cli *c, const char *folder)
{
    job j;
    interp_attribution_draw_desc drawing;
    const int code = parse_job(c, &j, &drawing);
    return code ? code : attribute_into(c, &j, folder, &drawing);
}

static int run(cli *c)
{
    job j;
    interp_attribution_draw_desc drawing;
    static const char *const kinds[] = {"%s_#.png", "%s_classes_#.png", "%s_points/*",
                                        "%s_points/projector/*"};
    enum { KINDS = 4 };
    char names[KINDS * CLI_METHODS][96];
    const char *stale[KINDS * CLI_METHODS + 2];
    int n = 0;
    int code = parse_job(c, &j, &drawing);
    if (!code) code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = attribute_into(c, &j, c->out, &drawing);
    if (code) return code;
    for (int m = 0; m < j.methods.n; m++)
        for (int k = 0; k < KINDS; k++, n++) {
            snprintf(names[n], sizeof names[n], kinds[k], j.methods.names[m]);
            stale[n] = names[n];
        }
    stale[n] = "gallery.html";
    stale[n + 1] = NULL;
    code = cli_commit(c, stale);
    if (code) return code;
    const int methods = j.methods.n + j.methods.tcav;
    for (int m = 0; m < j.methods.n; m++) say_notes(c, &j, m);
    if (j.picture.views && j.desc.n_targets > MOST_COLUMNS)
        cli_say(c,
                "no pictures: %d classes are more than go side by side; name some, as --target "
                "3,5",
                j.desc.n_targets);
    cli_say(c, "%d method%s on %d sample%s; written to %s", methods, methods > 1 ? "s" : "", j.in.n,
            j.in.n > 1 ? "s" : "", c->folder);
    return c->json ? print_json(&j) : CLI_DONE;
}

const cli_command cmd_attribute = {
    "attribute",
    "MODEL.onnx (--input X | --data D) --method M[,M..] [--target pred|sum|K|Y.npy] -o DIR",
    "attributes outputs to inputs; arrays, pictures and a summary",
    1,
    options,
    run};

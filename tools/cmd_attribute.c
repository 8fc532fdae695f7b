/* interp attribute: which inputs a model's output depends on. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--input", "X", "samples: .npy, .npz:KEY, .csv, .safetensors:KEY, image file or folder"},
    {"--target", "WHAT", "pred (default), sum, a class by number or name, or labels Y.npy"},
    {"--method", "M[,M..]", "methods, or all; all,-lime leaves one out"},
    {"--baseline", "B", "zero (default), mean, min, max, blur, noise, or B.npy"},
    {"--n-steps", "N", "points of methods that integrate (50)"},
    {"--layer", "NODE", "layer of the CAM, layer and neuron methods; a node or a value"},
    {"--mask", "M.npy", "ids of features, of the perturbation methods; broadcast to the input"},
    {"--set", "KEY=VALUE", "an option of the methods; may be repeated:"},
    {"  abs=0", NULL, "saliency keeps its sign"},
    {"  quadrature=RULE", NULL,
     "gausslegendre (default), riemann_left, _right, _middle, _trapezoid"},
    {"  multiply_by_inputs=0", NULL, "integrated gradients without the factor x - baseline"},
    {"  samples=N", NULL, "noisy copies (25), random points of gradient_shap (5), permutations of"},
    {"", NULL, "Shapley sampling (25), coalitions of kernel_shap and lime (50),"},
    {"", NULL, "passes of partition_shap (500), rise (1000) and anchors (20000)"},
    {"  stdev=X", NULL, "sd of their noise (0.15 of each sample's range)"},
    {"  noise=N.npy", NULL, "that noise, [n, samples, input], instead of drawing it"},
    {"  alphas=, draws=", NULL, "random points and baselines, [n, samples], instead of drawing"},
    {"  max_blur=X", NULL, "blur that blur_ig starts from, in pixels (50)"},
    {"  raw=1", NULL, "class activation maps as they are, not cut, scaled and enlarged"},
    {"  rule=RULE", NULL, "of lrp: epsilon (default), gamma, alpha_beta, z_plus, flat, w_square,"},
    {"", NULL, "z_box, epsilon_plus[_flat], epsilon_alpha2_beta1[_flat],"},
    {"", NULL, "epsilon_gamma_box, excitation_backprop"},
    {"  epsilon=, gamma=, alpha=", NULL, "constants of lrp (1e-6, 0.25, 2)"},
    {"  low=, high=", NULL, "range of the input for lrp's z_box (that of the samples)"},
    {"  gate=half", NULL, "lrp hands half of a product to its gate (default: signal)"},
    {"  window=N[,N..]", NULL, "size of occlusion's window along each dimension of the input"},
    {"  stride=N[,N..]", NULL, "and its step (1)"},
    {"  perms=P.npy", NULL, "orders of features [samples, M] for Shapley sampling"},
    {"  coalitions=Z.npy", NULL, "features present [n, samples, M], for kernel_shap and lime"},
    {"  kernel_width=, penalty=", NULL, "of lime (1, 0.01)"},
    {"  threshold=X", NULL, "share of copies in which an anchor holds the prediction (0.95)"},
    {"--draw", "HOW", "heat_map (default), blended, overlay, masked, alpha"},
    {"--sign", "WHICH", "all (default), positive, negative, absolute"},
    {"--outlier-percent", "X", "share of the strongest drawn at full colour (2)"},
    {NULL, NULL, NULL}};

typedef struct job {
    cli_model model;
    interp_shape sample;
    cli_samples in;
    cli_draws given;
    interp_array mask;
    interp_attribute_desc desc;
    cli_methods methods;
    float *attribution[CLI_METHODS]; /* [n, shape] */
    interp_shape shape[CLI_METHODS]; /* of one sample's */
    const char *layer[CLI_METHODS];
    interp_attribution *report[CLI_METHODS]; /* [n] */
    double seconds[CLI_METHODS];
    size_t peak[CLI_METHODS];
} job;

/* One option of the methods: a number, a choice, or an array from a file. */
typedef struct setting {
    const char *key;
    float *number;
    int *count, *choice;
    bool *flag, when; /* *flag becomes true when the value is `when` */
    const char *const *choices;
    interp_array *array;
    int *list;     /* [INTERP_MAX_RANK] */
    bool positive; /* numbers below or at 0 are refused */
} setting;

static int set_array(cli *c, const char *text, const char *value, interp_array *to)
{
    (void)text;
    return cli_array(c, value, to) ? CLI_FAILED : CLI_DONE;
}

/* Whole numbers with commas between. */
static bool set_list(const char *value, int *to)
{
    int n = 0;
    for (char *end; n < INTERP_MAX_RANK; value = end + 1) {
        const long v = strtol(value, &end, 10);
        if (end == value || v < 1 || v > 1000000000) return false;
        to[n++] = (int)v;
        if (!*end) return true;
        if (*end != ',') return false;
    }
    return false;
}

static int set_one(cli *c, const char *text, const char *value, const setting *s)
{
    double v = 0;
    const bool number = cli_parse_double(value, &v);
    if (s->array) return set_array(c, text, value, s->array);
    if (s->list && set_list(value, s->list)) return CLI_DONE;
    for (int k = 0; s->choices && s->choices[k]; k++)
        if (!strcmp(s->choices[k], value)) {
            *s->choice = k;
            return CLI_DONE;
        }
    if (s->flag && number && (v == 0 || v == 1)) {
        *s->flag = (v != 0) == s->when;
        return CLI_DONE;
    }
    if (s->count && number && v == floor(v) && v >= 1 && v <= 1e6) {
        *s->count = (int)v;
        return CLI_DONE;
    }
    if (s->number && number && fabs(v) < 1e30 && (!s->positive || v > 0)) {
        *s->number = (float)v;
        return CLI_DONE;
    }
    cli_text list = {NULL, 0, 0, false};
    for (int k = 0; s->choices && s->choices[k]; k++)
        cli_add(&list, "%s%s", k ? ", " : "; one of ", s->choices[k]);
    cli_usage("--set %s: the value is wrong%s", text, list.data ? list.data : "");
    free(list.data);
    return CLI_USAGE;
}

int cli_settings(cli *c, interp_attribute_desc *d, cli_draws *j)
{
    static const char *const quadratures[] = {"gausslegendre",     "riemann_left",
                                              "riemann_right",     "riemann_middle",
                                              "riemann_trapezoid", NULL};
    static const char *const rules[] = {"epsilon",
                                        "gamma",
                                        "alpha_beta",
                                        "z_plus",
                                        "flat",
                                        "w_square",
                                        "z_box",
                                        "epsilon_plus",
                                        "epsilon_plus_flat",
                                        "epsilon_alpha2_beta1",
                                        "epsilon_alpha2_beta1_flat",
                                        "epsilon_gamma_box",
                                        "excitation_backprop",
                                        NULL};
    static const char *const gates[] = {"signal", "half", NULL};
    int quadrature = 0, rule = 0, gate = 0;
    const setting settings[] = {
        {"abs", NULL, NULL, NULL, &d->keep_sign, false, NULL, NULL, NULL, false},
        {"multiply_by_inputs", NULL, NULL, NULL, &d->no_multiply, false, NULL, NULL, NULL, false},
        {"raw", NULL, NULL, NULL, &d->raw, true, NULL, NULL, NULL, false},
        {"samples", NULL, &d->n_samples, NULL, NULL, false, NULL, NULL, NULL, false},
        {"stdev", &d->noise_sd, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"max_blur", &d->max_blur, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"epsilon", &d->epsilon, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"gamma", &d->gamma, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"alpha", &d->alpha, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"low", &d->low, NULL, NULL, NULL, false, NULL, NULL, NULL, false},
        {"high", &d->high, NULL, NULL, NULL, false, NULL, NULL, NULL, false},
        {"quadrature", NULL, NULL, &quadrature, NULL, false, quadratures, NULL, NULL, false},
        {"rule", NULL, NULL, &rule, NULL, false, rules, NULL, NULL, false},
        {"gate", NULL, NULL, &gate, NULL, false, gates, NULL, NULL, false},
        {"noise", NULL, NULL, NULL, NULL, false, NULL, &j->noise, NULL, false},
        {"alphas", NULL, NULL, NULL, NULL, false, NULL, &j->alphas, NULL, false},
        {"draws", NULL, NULL, NULL, NULL, false, NULL, &j->draws, NULL, false},
        {"kernel_width", &d->kernel_width, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"threshold", &d->threshold, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"penalty", &d->penalty, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"window", NULL, NULL, NULL, NULL, false, NULL, NULL, d->window, false},
        {"stride", NULL, NULL, NULL, NULL, false, NULL, NULL, d->stride, false},
        {"perms", NULL, NULL, NULL, NULL, false, NULL, &j->perms, NULL, false},
        {"coalitions", NULL, NULL, NULL, NULL, false, NULL, &j->coalitions, NULL, false},
    };
    const char *text;
    for (int i = 0; (text = cli_get_nth(c, "--set", i)) != NULL; i++) {
        const char *value = strchr(text, '=');
        const size_t n = value ? (size_t)(value - text) : 0;
        const setting *s = NULL;
        if (!value) return cli_usage("--set %s: give KEY=VALUE", text);
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
            if (strlen(settings[k].key) == n && !strncmp(text, settings[k].key, n))
                s = &settings[k];
        if (!s) return cli_usage("--set %s: there is no such option", text);
        const int code = set_one(c, text, value + 1, s);
        if (code) return code;
    }
    d->quadrature = (interp_quadrature)quadrature;
    d->rule = (interp_lrp_rule)rule;
    d->gate = (interp_lrp_gate)gate;
    d->noise = (const float *)j->noise.data;
    d->alphas = (const float *)j->alphas.data;
    return CLI_DONE;
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
    j->desc.mask_shape = j->mask.shape;
    j->desc.mask = ints_of(c, &j->mask);
    return j->desc.mask ? CLI_DONE : cli_fail_ctx(c);
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
        j->desc.method = j->methods.list[m];
        if (interp_attribute_features(j->model.net, &j->desc, &count)) return cli_fail_ctx(c);
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

/* The stage that memory limits: all methods, one after the other. When asked whether it fits, the
   methods are asked in turn, as each is cancelled at once. */
static interp_status attribute(cli *c, void *user)
{
    job *j = (job *)user;
    (void)c;
    interp_status status = INTERP_OK;
    for (int m = 0; m < j->methods.n && (!status || status == INTERP_CANCELLED); m++) {
        const double start = cli_now();
        j->desc.method = j->methods.list[m];
        const interp_status now =
            interp_attribute(j->model.net, (const float *)j->in.x.data, j->in.n, &j->desc,
                             j->attribution[m], j->report[m]);
        if (!now) status = interp_attribute_bytes(j->model.net, j->in.n, &j->desc, &j->peak[m]);
        else status = now;
        j->seconds[m] = cli_now() - start;
    }
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
    if (!cli_has(c, "--sign") && way >= 3) d->sign = INTERP_SIGN_ABSOLUTE;
    d->colour_bar = true;
    return code;
}

static int write_pictures(cli *c, job *j, int m, const char *folder, interp_attribution_draw_desc d)
{
    char path[CLI_PATH], name[96];
    interp_image image;
    int code = CLI_DONE;
    const size_t size = interp_shape_size(&j->sample);
    const bool map = j->shape[m].rank == 2; /* of the image, drawn as its first channel */
    float *attr = map ? (float *)calloc(size, sizeof *attr) : NULL;
    if (map && !attr) return cli_fail("out of memory");
    d.channels = j->sample.dim[0], d.height = j->sample.dim[1], d.width = j->sample.dim[2];
    for (int i = 0; i < j->in.n && !code; i++) {
        d.attr = map ? attr : j->attribution[m] + (size_t)i * size;
        const size_t plane = interp_shape_size(&j->shape[m]);
        if (map) memcpy(attr, j->attribution[m] + (size_t)i * plane, plane * sizeof *attr);
        d.image = (const float *)j->in.x.data + (size_t)i * size;
        snprintf(name, sizeof name, "%s_%d.png", interp_method_name(j->methods.list[m]), i);
        code = interp_attribution_draw(c->ctx, &d, &image)                ? cli_fail_ctx(c)
               : cli_write_image(c, &image, cli_path(path, folder, name)) ? CLI_FAILED
                                                                          : CLI_DONE;
    }
    free(attr);
    return code;
}

static int write_summary(job *j, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    bool anchors = false;
    for (int m = 0; m < j->methods.n; m++)
        anchors = anchors || j->methods.list[m] == INTERP_ANCHORS;
    cli_add(
        &t,
        "sample,method,target,output,baseline_output,residual,passes,seconds,peak_bytes%s%s%s\n",
        anchors ? ",precision,coverage" : "", j->model.classes ? ",name" : "",
        j->in.files ? ",file" : "");
    for (int m = 0; m < j->methods.n; m++)
        for (int i = 0; i < j->in.n; i++) {
            const interp_attribution *r = &j->report[m][i];
            cli_add(&t, "%d,%s,%d,%.9g,%.9g,%.9g,%d,%.6g,%zu", i,
                    interp_method_name(j->methods.list[m]), r->target, r->output,
                    r->baseline_output, r->residual, r->passes, j->seconds[m] / j->in.n,
                    j->peak[m]);
            if (anchors) cli_add(&t, ",%.6g,%.6g", r->precision, r->coverage);
            if (j->model.classes)
                cli_add(&t, ","), cli_add_csv(&t, r->target < 0 ? "" : j->model.classes[r->target]);
            if (j->in.files) cli_add(&t, ","), cli_add_csv(&t, j->in.files[i]);
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

/* Whether a result lies over the image: as large as it, or one number for each pixel. */
static bool is_picture(const job *j, int m)
{
    const interp_shape *s = &j->shape[m], *x = &j->sample;
    if (s->rank == 2) return s->dim[0] == x->dim[1] && s->dim[1] == x->dim[2];
    return s->rank == 3 && !memcmp(s->dim, x->dim, 3 * sizeof *s->dim);
}

static int write_results(cli *c, job *j, const char *folder,
                         const interp_attribution_draw_desc *drawing)
{
    char path[CLI_PATH], name[96];
    int code = CLI_DONE;
    for (int m = 0; m < j->methods.n && !code; m++) {
        snprintf(name, sizeof name, "%s.npy", interp_method_name(j->methods.list[m]));
        const interp_shape whole = with_samples(&j->shape[m], j->in.n);
        if (interp_npy_write_f32(c->ctx, cli_path(path, folder, name), j->attribution[m], &whole))
            code = cli_fail_ctx(c);
        if (!code && cli_is_image(&j->sample) && is_picture(j, m))
            code = write_pictures(c, j, m, folder, *drawing);
    }
    return code ? code : write_summary(j, cli_path(path, folder, "summary.csv"));
}

static int print_json(const job *j)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "{\"samples\":%d,\"methods\":[", j->in.n);
    for (int m = 0; m < j->methods.n; m++) {
        double worst = 0;
        for (int i = 0; i < j->in.n; i++) worst = fmax(worst, fabs(j->report[m][i].residual));
        cli_add(&t,
                "%s{\"method\":\"%s\",\"seconds\":%.6g,\"peak_bytes\":%zu,\"largest_residual\":",
                m ? "," : "", interp_method_name(j->methods.list[m]), j->seconds[m], j->peak[m]);
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
        j->desc.method = j->methods.list[m];
        if (j->methods.all && j->desc.method == INTERP_FEATURE_PERMUTATION && j->in.n < 2) {
            cli_say(c, "feature_permutation is left out: it needs at least two samples");
            continue;
        }
        if (interp_attribute_shape(j->model.net, &j->desc, &j->shape[kept], &j->layer[kept])) {
            if (!j->methods.all) return cli_fail_ctx(c);
            cli_say(c, "%s is left out: %s", interp_method_name(j->methods.list[m]),
                    interp_error(c->ctx));
            continue;
        }
        j->methods.list[kept++] = j->methods.list[m];
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
    const size_t n = (size_t)j->in.n;
    code = check_draws(c, j);
    if (!code) code = parse_mask(c, j);
    if (!code) code = check_coalitions(c, j);
    if (!code) code = choose_methods(c, j);
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
    if (!cli_has(c, "--input")) return cli_usage("attribute: --input X is missing");
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
    char names[CLI_METHODS][64];
    const char *stale[CLI_METHODS + 1];
    int code = parse_job(c, &j, &drawing);
    if (!code) code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = attribute_into(c, &j, c->out, &drawing);
    if (code) return code;
    for (int m = 0; m < j.methods.n; m++) {
        snprintf(names[m], sizeof names[m], "%s_#.png", interp_method_name(j.methods.list[m]));
        stale[m] = names[m];
    }
    stale[j.methods.n] = NULL;
    code = cli_commit(c, stale);
    if (code) return code;
    cli_say(c, "%d method%s on %d sample%s; written to %s", j.methods.n, j.methods.n > 1 ? "s" : "",
            j.in.n, j.in.n > 1 ? "s" : "", c->folder);
    return c->json ? print_json(&j) : CLI_DONE;
}

const cli_command cmd_attribute = {
    "attribute",
    "MODEL.onnx --input X --method M[,M..] [--target pred|sum|K|Y.npy] -o DIR",
    "attributes outputs to inputs; arrays, pictures and a summary",
    1,
    options,
    run};

/* interp attribute: which inputs a model's output depends on. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const cli_option options[] = {
    {"--input", "X", "samples: .npy, .npz:KEY, .csv, .safetensors:KEY, image file or folder"},
    {"--target", "WHAT", "pred (default), sum, a class number, or labels Y.npy"},
    {"--method", "M[,M..]", "methods, or all"},
    {"--baseline", "B", "zero (default), mean, min, max, blur, noise, or B.npy"},
    {"--n-steps", "N", "points of integrated gradients (50)"},
    {"--set", "KEY=VALUE", "an option of the methods; may be repeated:"},
    {"  abs=0", NULL, "saliency keeps its sign"},
    {"  quadrature=RULE", NULL,
     "gausslegendre (default), riemann_left, _right, _middle, _trapezoid"},
    {"  multiply_by_inputs=0", NULL, "integrated gradients without the factor x - baseline"},
    {"  samples=N", NULL, "noisy copies of the smooth_grad family (25)"},
    {"  stdev=X", NULL, "sd of their noise (0.15 of each sample's range)"},
    {"  noise=N.npy", NULL, "that noise, [n, samples, input], instead of drawing it"},
    {"--draw", "HOW", "heat_map (default), blended, overlay, masked, alpha"},
    {"--sign", "WHICH", "all (default), positive, negative, absolute"},
    {"--outlier-percent", "X", "share of the strongest drawn at full colour (2)"},
    {NULL, NULL, NULL}};

enum { MOST_METHODS = 64 };

typedef struct job {
    interp_net *net;
    interp_shape sample, input_shape;
    interp_array x, baseline, noise;
    int n;
    int32_t *targets;
    interp_attribute_desc desc;
    interp_method methods[MOST_METHODS];
    int n_methods;
    float *attribution[MOST_METHODS];         /* [n, input] */
    interp_attribution *report[MOST_METHODS]; /* [n] */
    double seconds[MOST_METHODS];
    size_t peak[MOST_METHODS];
} job;

static int parse_methods(const cli *c, job *j)
{
    const char *text = cli_get(c, "--method");
    char name[64];
    if (!text) return cli_usage("--method is missing: one or more of the methods, or all");
    if (!strcmp(text, "all")) {
        for (int m = 0; m < INTERP_METHOD_COUNT; m++) j->methods[j->n_methods++] = (interp_method)m;
        return CLI_DONE;
    }
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, ",");
        snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60), at);
        const interp_method m = interp_method_from_name(name);
        if (m == INTERP_METHOD_COUNT || j->n_methods == MOST_METHODS) {
            cli_usage("--method %s: there is no such method; there are:", name);
            for (int k = 0; k < INTERP_METHOD_COUNT; k++)
                fprintf(stderr, "  %s\n", interp_method_name((interp_method)k));
            return CLI_USAGE;
        }
        j->methods[j->n_methods++] = m;
        at += n + (at[n] == ',');
    }
    return j->n_methods ? CLI_DONE : cli_usage("--method: no method was named");
}

static int parse_sets(cli *c, job *j)
{
    static const char *const rules[] = {"gausslegendre", "riemann_left", "riemann_right",
                                        "riemann_middle", "riemann_trapezoid"};
    const char *text;
    for (int i = 0; (text = cli_get_nth(c, "--set", i)) != NULL; i++) {
        const char *value = strchr(text, '=');
        const size_t n = value ? (size_t)(value - text) : 0;
        double v = 0;
        if (!value) return cli_usage("--set %s: give KEY=VALUE", text);
        const bool number = cli_parse_double(++value, &v);
        if (n == 3 && !strncmp(text, "abs", n) && number) j->desc.keep_sign = v == 0;
        else if (n == 18 && !strncmp(text, "multiply_by_inputs", n) && number)
            j->desc.no_multiply = v == 0;
        else if (n == 7 && !strncmp(text, "samples", n) && number && v >= 1 && v <= 1e6)
            j->desc.n_samples = (int)v;
        else if (n == 5 && !strncmp(text, "stdev", n) && number && v > 0)
            j->desc.noise_sd = (float)v;
        else if (n == 5 && !strncmp(text, "noise", n)) {
            if (cli_array(c, value, &j->noise)) return CLI_FAILED;
            j->desc.noise = (const float *)j->noise.data;
        } else if (n == 10 && !strncmp(text, "quadrature", n)) {
            int r = 0;
            while (r < 5 && strcmp(rules[r], value)) r++;
            if (r == 5) return cli_usage("--set %s: there is no such rule", text);
            j->desc.quadrature = (interp_quadrature)r;
        } else {
            return cli_usage("--set %s: there is no such option, or its value is wrong", text);
        }
    }
    return CLI_DONE;
}

static int parse_target(cli *c, job *j)
{
    const char *text = cli_get(c, "--target");
    interp_array labels;
    double v;
    if (!text || !strcmp(text, "pred")) return CLI_DONE;
    if (!strcmp(text, "sum")) {
        j->desc.target_kind = INTERP_TARGET_SUM;
        return CLI_DONE;
    }
    if (cli_parse_double(text, &v)) {
        if (v != floor(v) || v < 0 || v > 1e9)
            return cli_fail("--target %s: classes count from 0", text);
        j->desc.target_kind = INTERP_TARGET_CLASS;
        j->desc.target = (int)v;
        return CLI_DONE;
    }
    memset(&labels, 0, sizeof labels);
    if (interp_array_read(c->ctx, text, &labels)) return cli_fail_ctx(c);
    const size_t n = interp_shape_size(&labels.shape);
    if (n != (size_t)j->n)
        return cli_fail("--target %s: it holds %zu labels but there are %d samples", text, n, j->n);
    j->targets = (int32_t *)interp_alloc(c->ctx, n * sizeof *j->targets);
    if (!j->targets || interp_array_ints(c->ctx, &labels, j->targets)) return cli_fail_ctx(c);
    interp_array_free(c->ctx, &labels);
    j->desc.target_kind = INTERP_TARGET_LABELS;
    j->desc.targets = j->targets;
    return CLI_DONE;
}

static int parse_baseline(cli *c, job *j)
{
    static const char *const kinds[] = {"zero", "mean", "min", "max", "blur", "noise"};
    const char *text = cli_get(c, "--baseline");
    const size_t size = interp_shape_size(&j->sample);
    if (!text || !strcmp(text, "zero")) return CLI_DONE;
    for (int k = 0; k < 6; k++) {
        if (strcmp(text, kinds[k])) continue;
        float *b = (float *)interp_alloc(c->ctx, (size_t)j->n * size * sizeof *b);
        if (!b || interp_baseline(c->ctx, (interp_baseline_kind)k, (const float *)j->x.data, j->n,
                                  &j->sample, c->seed, b))
            return cli_fail_ctx(c);
        j->desc.baseline = b;
        j->desc.n_baselines = j->n;
        return CLI_DONE;
    }
    if (cli_array(c, text, &j->baseline)) return CLI_FAILED;
    const int rows = cli_samples(text, &j->baseline, &j->sample);
    if (rows < 0) return CLI_FAILED;
    if (rows != 1 && rows != j->n)
        return cli_fail("--baseline %s: %d baselines for %d samples; give one, or one for each",
                        text, rows, j->n);
    j->desc.baseline = (const float *)j->baseline.data;
    j->desc.n_baselines = rows;
    return CLI_DONE;
}

static double now(void)
{
    struct timespec t;
    return timespec_get(&t, TIME_UTC) ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

static int attribute(cli *c, job *j)
{
    const size_t size = interp_shape_size(&j->sample);
    for (int m = 0; m < j->n_methods; m++) {
        j->attribution[m] = (float *)interp_alloc(c->ctx, (size_t)j->n * size * sizeof(float));
        j->report[m] =
            (interp_attribution *)interp_alloc(c->ctx, (size_t)j->n * sizeof(interp_attribution));
        if (!j->attribution[m] || !j->report[m]) return cli_fail_ctx(c);
    }
    cli_limit_memory(c);
    for (int m = 0; m < j->n_methods; m++) {
        const double start = now();
        j->desc.method = j->methods[m];
        if (interp_attribute_bytes(j->net, j->n, &j->desc, &j->peak[m]) ||
            interp_attribute(j->net, (const float *)j->x.data, j->n, &j->desc, j->attribution[m],
                             j->report[m]))
            return cli_fail_ctx(c);
        j->seconds[m] = now() - start;
    }
    interp_memory_set_limit(c->ctx, 0);
    return CLI_DONE;
}

/* ---- results */

static int parse_word(const cli *c, const char *option, const char *const *words, int n, int *out)
{
    const char *text = cli_get(c, option);
    for (int i = 0; text && i < n; i++)
        if (!strcmp(text, words[i])) {
            *out = i;
            return CLI_DONE;
        }
    return text ? cli_usage("%s %s: there is no such way", option, text) : CLI_DONE;
}

static int parse_drawing(const cli *c, interp_attribution_draw_desc *d)
{
    static const char *const ways[] = {"heat_map", "blended", "overlay", "masked", "alpha"};
    static const char *const signs[] = {"all", "positive", "negative", "absolute"};
    int way = 0, sign = 0;
    memset(d, 0, sizeof *d);
    int code = parse_word(c, "--draw", ways, 5, &way);
    if (!code) code = parse_word(c, "--sign", signs, 4, &sign);
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
    char path[1024], name[96];
    interp_image image;
    const size_t size = interp_shape_size(&j->sample);
    d.channels = j->sample.dim[0], d.height = j->sample.dim[1], d.width = j->sample.dim[2];
    for (int i = 0; i < j->n; i++) {
        d.attr = j->attribution[m] + (size_t)i * size;
        d.image = (const float *)j->x.data + (size_t)i * size;
        snprintf(name, sizeof name, "%s_%d.png", interp_method_name(j->methods[m]), i);
        if (interp_attribution_draw(c->ctx, &d, &image)) return cli_fail_ctx(c);
        if (cli_write_image(c, &image, cli_path(path, folder, name))) return CLI_FAILED;
    }
    return CLI_DONE;
}

static int write_summary(job *j, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "sample,method,target,output,baseline_output,residual,passes,seconds,peak_bytes\n");
    for (int m = 0; m < j->n_methods; m++)
        for (int i = 0; i < j->n; i++) {
            const interp_attribution *r = &j->report[m][i];
            cli_add(&t, "%d,%s,%d,%.9g,%.9g,%.9g,%d,%.6g,%zu\n", i,
                    interp_method_name(j->methods[m]), r->target, r->output, r->baseline_output,
                    r->residual, r->passes, j->seconds[m] / j->n, j->peak[m]);
        }
    return cli_text_write(&t, path);
}

static int write_results(cli *c, job *j, const char *folder,
                         const interp_attribution_draw_desc *drawing)
{
    char path[1024], name[96];
    int code = cli_make_folder(folder);
    for (int m = 0; m < j->n_methods && !code; m++) {
        snprintf(name, sizeof name, "%s.npy", interp_method_name(j->methods[m]));
        if (interp_npy_write_f32(c->ctx, cli_path(path, folder, name), j->attribution[m],
                                 &j->input_shape))
            code = cli_fail_ctx(c);
        if (!code && cli_is_image(&j->sample)) code = write_pictures(c, j, m, folder, *drawing);
    }
    if (!code) code = write_summary(j, cli_path(path, folder, "summary.csv"));
    if (code || !c->json) return code;
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "{\"samples\":%d,\"methods\":[", j->n);
    for (int m = 0; m < j->n_methods; m++) {
        double worst = 0;
        for (int i = 0; i < j->n; i++) worst = fmax(worst, fabs(j->report[m][i].residual));
        cli_add(&t,
                "%s{\"method\":\"%s\",\"seconds\":%.6g,\"peak_bytes\":%zu,\"largest_residual\":",
                m ? "," : "", interp_method_name(j->methods[m]), j->seconds[m], j->peak[m]);
        cli_add_number(&t, worst, true);
        cli_add(&t, "}");
    }
    cli_add(&t, "]}\n");
    return cli_text_print(&t);
}

static int run(cli *c)
{
    job j;
    interp_attribution_draw_desc drawing;
    const char *folder = cli_get(c, "-o"), *input = cli_get(c, "--input");
    memset(&j, 0, sizeof j);
    if (!folder) return cli_usage("attribute: -o DIR is missing: the folder for the results");
    if (!input) return cli_usage("attribute: --input X is missing");
    int code = parse_methods(c, &j);
    if (!code) code = parse_drawing(c, &drawing);
    if (!code) code = cli_int(c, "--n-steps", 1, 1000000, &j.desc.n_steps);
    if (code) return code;
    j.desc.seed = c->seed;
    if (interp_onnx_load(c->ctx, c->positional[0], &j.net)) return cli_fail_ctx(c);
    if (interp_net_describe(j.net).n_inputs != 1)
        return cli_fail("%s: it has %d inputs, and attribution is of one", c->positional[0],
                        interp_net_describe(j.net).n_inputs);
    if (cli_array(c, input, &j.x)) return CLI_FAILED;
    j.sample = interp_net_input_shape(j.net, 0);
    j.input_shape = j.x.shape;
    j.n = cli_samples(input, &j.x, &j.sample);
    if (j.n < 0) return CLI_FAILED;
    code = parse_target(c, &j);
    if (!code) code = parse_sets(c, &j);
    if (!code) code = parse_baseline(c, &j);
    if (!code && j.desc.noise) {
        const size_t each = (size_t)(j.desc.n_samples ? j.desc.n_samples : 25);
        if (interp_shape_size(&j.noise.shape) != (size_t)j.n * each * interp_shape_size(&j.sample))
            code =
                cli_fail("--set noise: its size does not fit %d samples with %zu noisy copies each",
                         j.n, each);
    }
    if (!code) code = attribute(c, &j);
    if (!code) code = write_results(c, &j, folder, &drawing);
    if (!code)
        cli_say(c, "%d method%s on %d sample%s; written to %s", j.n_methods,
                j.n_methods > 1 ? "s" : "", j.n, j.n > 1 ? "s" : "", folder);
    return code;
}

const cli_command cmd_attribute = {
    "attribute",
    "MODEL.onnx --input X --method M[,M..] [--target pred|sum|K|Y.npy] -o DIR",
    "attributes outputs to inputs; arrays, pictures and a summary",
    1,
    options,
    run};

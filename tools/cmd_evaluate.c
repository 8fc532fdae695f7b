/* interp evaluate-attribution: how good attributions are. */
#include "cli.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const cli_option options[] = {
    {"--input", "X", "samples, as for attribute"},
    {"--preprocess", "HOW", "inputs to what the model knows, as for attribute"},
    {"--target", "WHAT", "pred (default), sum, a class by number or name, or labels Y.npy"},
    {"--attribution", "A[,B..]", "what is scored: .npy files, or the folder of attribute"},
    {"--method", "M[,M..]", "methods, or all, that attribute here; they are also tried on inputs"},
    {"", NULL, "nearby, on a network of random weights, and on shifted inputs"},
    {"--mask", "M.npy",
     "pixels of the object, not 0: [n,H,W] or [H,W]; gives pointing, mass, rank"},
    {"--baseline", "B",
     "what removed pixels become: zero (default), mean, min, max, blur, noise, B.npy"},
    {"--steps", "N", "parts of the deletion and insertion curves (32)"},
    {"--perturbations", "N", "of infidelity and max_sensitivity (10)"},
    {"--subsets", "N", "of random pixels, for sensitivity_n (50)"},
    {"--radius", "X", "of max_sensitivity's box (0.02)"},
    {"--cascade", "ORDER",
     "top_down, bottom_up or independent: what is left of each --method as layers are drawn anew"},
    {"--n-steps", "N", "points of methods that integrate (50)"},
    {"--layer", "NODE", "layer of the CAM methods; a node or a value"},
    {"--set", "KEY=VALUE", "an option of the methods, see attribute; may be repeated"},
    {"--test-bed", NULL, "instead of all that: pictures of shapes in which the pixels that decide"},
    {"", NULL, "are known, a network trained on them, every --method that explains it"},
    {"--samples", "N", "pictures of the test bed that are explained (12)"},
    {NULL, NULL, NULL}};

/* ---- what is scored */

/* Room for one more of that name. */
static cli_scored *add(cli *c, cli_evaluation *e, const char *name)
{
    for (int i = 0; i < e->count; i++)
        if (!strcmp(e->of[i].name, name)) {
            cli_usage("evaluate-attribution: two attributions are called %s", name);
            return NULL;
        }
    if (e->count == e->room) {
        const int room = e->room ? 2 * e->room : 16;
        cli_scored *more = (cli_scored *)interp_alloc(c->ctx, (size_t)room * sizeof *more);
        if (!more) {
            cli_fail_ctx(c);
            return NULL;
        }
        if (e->count) memcpy(more, e->of, (size_t)e->count * sizeof *more);
        interp_free(c->ctx, e->of);
        e->of = more;
        e->room = room;
    }
    cli_scored *s = &e->of[e->count];
    const size_t n = (size_t)e->n;
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    const size_t points = 2 * (size_t)(e->score.steps + 1) + 2 * INTERP_ROAD_LEVELS;
    s->attribution = (float *)interp_alloc(c->ctx, n * e->size * sizeof(float));
    s->scores = (interp_scores *)interp_alloc(c->ctx, n * sizeof *s->scores);
    s->curves = (float *)interp_alloc(c->ctx, n * points * sizeof(float));
    if (!s->attribution || !s->scores || !s->curves) {
        cli_fail_ctx(c);
        return NULL;
    }
    memset(s->attribution, 0, n * e->size * sizeof(float));
    e->count++;
    return s;
}

int cli_evaluation_method(cli *c, cli_evaluation *e, const interp_attribute_desc *how,
                          bool leave_out)
{
    const char *name = interp_method_name(how->method);
    interp_shape shape;
    const bool single = how->method == INTERP_FEATURE_PERMUTATION && e->n < 2;
    const bool known = !single && !interp_attribute_shape(e->model.net, how, &shape, NULL);
    const size_t got = known ? interp_shape_size(&shape) : 0;
    if (known && (got == e->size || got == e->size / (size_t)e->channels)) {
        cli_scored *s = add(c, e, name);
        if (!s) return CLI_USAGE;
        s->made = true;
        s->how = *how;
        return CLI_DONE;
    }
    const char *why = single  ? "it needs at least two samples"
                      : known ? "it attributes to a layer, not to the input"
                              : interp_error(c->ctx);
    if (!leave_out) return cli_fail("%s cannot be scored: %s", name, why);
    cli_say(c, "%s is left out: %s", name, why);
    return CLI_DONE;
}

/* A file; from a folder (`some`) those of another shape are left out. */
static int add_file(cli *c, cli_evaluation *e, const char *path, bool some)
{
    char name[64], have[128], want[128];
    interp_array a;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const size_t length = strlen(base);
    memset(&a, 0, sizeof a);
    bool last;
    if (cli_array(c, path, &a) || cli_channels_first(c, e->model.net, 0, &a, &last))
        return CLI_FAILED;
    const size_t all = interp_shape_size(&a.shape), n = (size_t)e->n;
    const size_t pixels = e->size / (size_t)e->channels;
    const bool whole = all == n * e->size, map = all == n * pixels;
    cli_shape(&a.shape, have);
    cli_shape(&e->sample, want);
    if ((!whole && !map) || (n > 1 && a.shape.dim[0] != e->n)) {
        interp_array_free(c->ctx, &a);
        if (!some)
            return cli_fail("%s: its shape is %s but there are %d sample%s of %s", path, have, e->n,
                            e->n > 1 ? "s" : "", want);
        cli_say(c, "%s is left out: its shape is %s", path, have);
        return CLI_DONE;
    }
    for (size_t i = 0; i < all; i++)
        if (!isfinite(((const float *)a.data)[i]))
            return cli_fail("%s: the attribution of sample %zu holds NaN or infinite numbers", path,
                            i / (all / n));
    const size_t cut = length > 4 && !strcmp(base + length - 4, ".npy") ? length - 4 : length;
    snprintf(name, sizeof name, "%.*s", (int)(cut < 60 ? cut : 60), base);
    cli_scored *s = add(c, e, name);
    if (!s) return CLI_USAGE;
    memcpy(s->attribution, a.data, all * sizeof(float));
    if (!whole) cli_spread(e, s->attribution);
    interp_array_free(c->ctx, &a);
    return CLI_DONE;
}

static int is_npy(const struct dirent *d)
{
    const size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 4 && !strcmp(d->d_name + n - 4, ".npy");
}

static int add_folder(cli *c, cli_evaluation *e, const char *folder)
{
    char path[CLI_PATH];
    struct dirent **entries;
    int code = CLI_DONE;
    const int before = e->count, n = scandir(folder, &entries, is_npy, alphasort);
    for (int i = 0; i < n; i++) {
        if (!code) code = add_file(c, e, cli_path(path, folder, entries[i]->d_name), true);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    if (!code && e->count == before)
        return cli_fail("--attribution %s: no .npy file in it fits the samples", folder);
    return code;
}

/* What the attributions of a folder explain, from the summary that attribute writes beside them, unless
   --target says it: scored by another output, they would be judged for what they do not say. */
static int read_targets(cli *c, cli_evaluation *e, const char *folder)
{
    char path[CLI_PATH], line[4096], method[128];
    FILE *f = cli_has(c, "--target") ? NULL : fopen(cli_path(path, folder, "summary.csv"), "r");
    if (!f) return CLI_DONE;
    int32_t *targets = (int32_t *)interp_alloc(c->ctx, (size_t)e->n * sizeof *targets);
    bool alike = targets != NULL, sum = false;
    int sample, target, found = 0;
    for (int i = 0; i < e->n && targets; i++) targets[i] = INT32_MIN;
    while (alike && fgets(line, sizeof line, f)) {
        if (sscanf(line, "%d,%127[^,],%d", &sample, method, &target) != 3) continue;
        if (!strncmp(method, "neuron_", 7) || sample < 0 || sample >= e->n) continue;
        found += targets[sample] == INT32_MIN;
        alike = targets[sample] == INT32_MIN || targets[sample] == target;
        targets[sample] = target;
        sum = sum || target < 0;
    }
    fclose(f);
    if (!targets) return cli_fail_ctx(c);
    if (!alike)
        return cli_fail("%s: it has several targets for a sample: say by --target which is to be "
                        "scored",
                        path);
    if (found < e->n) return CLI_DONE;
    e->desc.target_kind = sum ? INTERP_TARGET_SUM : INTERP_TARGET_LABELS;
    e->desc.targets = sum ? NULL : targets;
    return CLI_DONE;
}

static int add_files(cli *c, cli_evaluation *e)
{
    char path[CLI_PATH];
    struct stat info;
    const char *text;
    int code = CLI_DONE;
    for (int i = 0; (text = cli_get_nth(c, "--attribution", i)) != NULL; i++)
        for (const char *at = text; *at && !code;) {
            const size_t n = strcspn(at, ",");
            snprintf(path, sizeof path, "%.*s", (int)(n < CLI_PATH ? n : 0), at);
            const bool folder = !stat(path, &info) && S_ISDIR(info.st_mode);
            code = folder ? add_folder(c, e, path) : add_file(c, e, path, false);
            if (!code && folder) code = read_targets(c, e, path);
            at += n + (at[n] == ',');
        }
    return code;
}

static int add_methods(cli *c, cli_evaluation *e, const cli_samples *in)
{
    cli_draws *draws = &e->given;
    cli_methods methods;
    int code = CLI_DONE;
    if (!cli_has(c, "--method")) {
        if (cli_has(c, "--set")) return cli_usage("--set is an option of --method");
        return CLI_DONE;
    }
    e->desc.layer = cli_get(c, "--layer");
    e->desc.seed = c->seed;
    code = cli_methods_parse(c, &methods);
    if (!code) code = cli_int(c, "--n-steps", 1, 1000000, &e->desc.n_steps);
    if (!code) code = cli_settings(c, &e->desc, draws);
    cli_settings_turn(in, &e->sample, &e->desc);
    if (!code && (draws->noise.data || draws->alphas.data || draws->draws.data ||
                  draws->perms.data || draws->coalitions.data))
        return cli_usage("--set: draws are given to attribute; here they are drawn");
    if (!code && methods.tcav) return cli_usage("tcav gives nothing that could be scored here");
    for (int m = 0; m < methods.n && !code; m++) {
        e->desc.method = methods.list[m], e->desc.scope = methods.scope[m];
        code = cli_evaluation_method(c, e, &e->desc, methods.all);
    }
    return code;
}

/* One mask for all samples, or one for each. */
static int read_mask(cli *c, cli_evaluation *e)
{
    const char *text = cli_get(c, "--mask");
    const size_t pixels = e->size / (size_t)e->channels, n = (size_t)e->n;
    char have[128];
    interp_array a;
    if (!text) return CLI_DONE;
    memset(&a, 0, sizeof a);
    if (cli_array(c, text, &a)) return CLI_FAILED;
    const size_t all = interp_shape_size(&a.shape);
    if (all != pixels && all != n * pixels)
        return cli_fail("%s: its shape is %s; give a number for each of %d x %d pixels, of all "
                        "samples or of each of the %d",
                        text, cli_shape(&a.shape, have), e->height, e->width, e->n);
    e->mask = (unsigned char *)interp_alloc(c->ctx, n * pixels);
    if (!e->mask) return cli_fail_ctx(c);
    for (size_t s = 0; s < n; s++) {
        size_t size = 0;
        for (size_t i = 0; i < pixels; i++) {
            const float v = ((const float *)a.data)[(all == pixels ? 0 : s * pixels) + i];
            e->mask[s * pixels + i] = v != 0 && v == v;
            size += e->mask[s * pixels + i];
        }
        if (size == 0) return cli_fail("%s: no pixel of sample %zu is on the object", text, s);
    }
    interp_array_free(c->ctx, &a);
    e->score.mask = e->mask;
    return CLI_DONE;
}

static int open_evaluation(cli *c, cli_evaluation *e)
{
    cli_samples in;
    int code = cli_attribution_open(c, &e->model, &e->sample, &in, &e->desc);
    if (code) return code;
    const interp_shape *s = &e->sample;
    e->n = in.n;
    e->x = (float *)in.x.data;
    e->size = interp_shape_size(s);
    e->channels = s->rank == 3 ? s->dim[0] : 1;
    e->height = s->rank == 3 ? s->dim[1] : 1;
    e->width = (int)(e->size / (size_t)e->channels / (size_t)e->height);
    if (e->desc.n_targets)
        return cli_usage("--target: one output of each sample is scored, not several");
    code = read_mask(c, e);
    if (!code) code = add_files(c, e);
    if (!code) code = add_methods(c, e, &in);
    if (!code && !e->count)
        return cli_fail("evaluate-attribution: no attribution is left to score");
    return code;
}

/* ---- the command */

static int parse_scores(const cli *c, cli_evaluation *e)
{
    const bool bed = cli_has(c, "--test-bed");
    static const char *const others[] = {"--input", "--target", "--attribution", "--mask",
                                         "--layer", "--set",    "--baseline"};
    memset(e, 0, sizeof *e);
    e->score.steps = 32;
    e->score.seed = c->seed;
    if (bed && c->n_positional)
        return cli_usage("evaluate-attribution: --test-bed trains a model of its own");
    for (size_t i = 0; bed && i < sizeof others / sizeof *others; i++)
        if (cli_has(c, others[i]))
            return cli_usage("evaluate-attribution: %s and --test-bed exclude each other",
                             others[i]);
    if (!bed && !c->n_positional)
        return cli_usage("evaluate-attribution: MODEL.onnx is missing; or give --test-bed");
    if (!bed && !cli_has(c, "--input"))
        return cli_usage("evaluate-attribution: --input X is missing");
    if (!bed && !cli_has(c, "--method") && cli_has(c, "--cascade"))
        return cli_usage("--cascade is of --method");
    if (!bed && !cli_has(c, "--attribution") && !cli_has(c, "--method"))
        return cli_usage("evaluate-attribution: give --attribution A.npy, a folder of them, or "
                         "--method M");
    int code = cli_int(c, "--steps", 1, 100000, &e->score.steps);
    if (!code) code = cli_int(c, "--perturbations", 1, 100000, &e->score.n_perturbations);
    if (!code) code = cli_int(c, "--subsets", 1, 100000, &e->score.n_subsets);
    if (!code) code = cli_float(c, "--radius", 1e-30, 1e30, &e->score.radius);
    if (!code) code = cli_cascade(c, e);
    return code;
}

int evaluate_run(cli *c, cli_evaluation *e, const char *folder)
{
    const bool bed = cli_has(c, "--test-bed");
    int code = parse_scores(c, e);
    if (!code) code = bed ? test_bed_open(c, e, folder) : open_evaluation(c, e);
    if (!code) code = cli_evaluation_run(c, e, folder);
    if (!code && bed) code = test_bed_write(c, e, folder);
    return code;
}

static int run(cli *c)
{
    static const char *const stale[] = {"agreement.csv", "randomisation.csv", "randomisation.png",
                                        NULL};
    cli_evaluation e;
    cli_text summary = {NULL, 0, 0, false};
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = evaluate_run(c, &e, c->out);
    if (!code && c->json) cli_add_scores(&summary, c, &e);
    if (!code) code = cli_commit(c, stale);
    if (!code)
        cli_say(c, "%d attribution%s of %d sample%s scored; the best is %s; written to %s", e.count,
                e.count > 1 ? "s" : "", e.n, e.n > 1 ? "s" : "", e.of[0].name, c->folder);
    if (!code && c->json) return cli_text_print(&summary);
    free(summary.data);
    return code;
}

const cli_command cmd_evaluate = {
    "evaluate-attribution",
    "MODEL.onnx --input X (--attribution A.npy[,B..] | --method M[,M..]) [--mask M.npy] -o DIR, "
    "or --test-bed -o DIR",
    "scores attributions; has a test bed in which the truth is known",
    -1,
    options,
    run};

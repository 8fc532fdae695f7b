/* interp evaluate-attribution: how good attributions are. */
#include "cli.h"

#include <dirent.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const cli_option options[] = {
    {"--input", "X", "samples, as for attribute"},
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
    {"--radius", "X", "of max_sensitivity's box (0.02)"},
    {"--n-steps", "N", "points of methods that integrate (50)"},
    {"--layer", "NODE", "layer of the CAM methods; a node or a value"},
    {"--set", "KEY=VALUE", "an option of the methods, see attribute; may be repeated"},
    {"--test-bed", NULL, "instead of all that: pictures of shapes in which the pixels that decide"},
    {"", NULL, "are known, a network trained on them, every --method that explains it"},
    {"--samples", "N", "pictures of the test bed that are explained (12)"},
    {NULL, NULL, NULL}};

/* ---- measures */

typedef enum better { LARGE, SMALL, NEAR_ZERO } better;

static const struct measure {
    const char *name;
    size_t offset; /* in interp_scores */
    better better;
    int truth; /* 1: part of the place when there is a mask, -1: when there is none */
} measures[] = {{"completeness", offsetof(interp_scores, completeness), NEAR_ZERO, 0},
                {"infidelity", offsetof(interp_scores, infidelity), SMALL, 0},
                {"max_sensitivity", offsetof(interp_scores, max_sensitivity), SMALL, 0},
                {"deletion", offsetof(interp_scores, deletion), SMALL, -1},
                {"insertion", offsetof(interp_scores, insertion), LARGE, -1},
                {"road", offsetof(interp_scores, road), LARGE, -1},
                {"flipping", offsetof(interp_scores, flipping), LARGE, 0},
                {"irof", offsetof(interp_scores, irof), LARGE, 0},
                {"sensitivity_n", offsetof(interp_scores, sensitivity_n), LARGE, 0},
                {"sparseness", offsetof(interp_scores, sparseness), LARGE, 0},
                {"complexity", offsetof(interp_scores, complexity), SMALL, 0},
                {"pointing", offsetof(interp_scores, pointing), LARGE, 1},
                {"mass", offsetof(interp_scores, mass), LARGE, 1},
                {"rank", offsetof(interp_scores, rank), LARGE, 1},
                {"randomisation", offsetof(interp_scores, randomisation), NEAR_ZERO, 0},
                {"invariance", offsetof(interp_scores, invariance), NEAR_ZERO, 0}};

enum { MEASURES = sizeof measures / sizeof *measures };

static double score_of(const interp_scores *s, int k)
{
    return *(const double *)(const void *)((const char *)s + measures[k].offset);
}

int cli_score(const char *name)
{
    int k = 0;
    while (k < MEASURES && strcmp(measures[k].name, name)) k++;
    return k;
}

/* Means over samples with their standard errors; of what should be near 0, those of magnitudes. */
static void average(const cli_evaluation *e, cli_scored *s)
{
    for (int k = 0; k < MEASURES; k++) {
        const bool size = measures[k].better == NEAR_ZERO;
        double sum = 0, square = 0;
        for (int i = 0; i < e->n; i++) {
            const double v = score_of(&s->scores[i], k);
            sum += size ? fabs(v) : v;
        }
        s->mean[k] = sum / e->n;
        for (int i = 0; i < e->n; i++) {
            const double v = score_of(&s->scores[i], k), d = (size ? fabs(v) : v) - s->mean[k];
            square += d * d;
        }
        s->error[k] = e->n > 1 ? sqrt(square / (e->n - 1) / e->n) : (double)NAN;
    }
}

/* Equal means share a rank; what was not measured has none. */
static void rank(cli_evaluation *e)
{
    for (int a = 0; a < e->count; a++) {
        int parts = 0;
        e->of[a].mean_rank = 0;
        for (int k = 0; k < MEASURES; k++) {
            const double mine = e->of[a].mean[k];
            double place = 1;
            for (int b = 0; b < e->count; b++) {
                const double other = e->of[b].mean[k];
                const bool ahead = measures[k].better == LARGE ? other > mine : other < mine;
                place += ahead ? 1 : other == mine && b != a ? 0.5 : 0;
            }
            e->of[a].rank[k] = mine == mine ? place : (double)NAN;
            if (measures[k].truth == (e->mask ? 1 : -1)) e->of[a].mean_rank += place, parts++;
        }
        e->of[a].mean_rank /= parts;
    }
}

/* By the place; those of equal place stay in their order. */
static void sort(cli_evaluation *e)
{
    for (int i = 1; i < e->count; i++)
        for (int k = i; k > 0 && e->of[k].mean_rank < e->of[k - 1].mean_rank; k--) {
            const cli_scored swap = e->of[k];
            e->of[k] = e->of[k - 1];
            e->of[k - 1] = swap;
        }
}

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

/* Maps [n,H,W] in the first numbers of [n,C,H,W] go to all channels alike. */
static void spread(const cli_evaluation *e, float *a)
{
    const size_t pixels = e->size / (size_t)e->channels;
    for (size_t s = (size_t)e->n; e->channels > 1 && s-- > 0;)
        for (size_t c = (size_t)e->channels; c-- > 0;)
            for (size_t i = 0; i < pixels; i++)
                a[s * e->size + c * pixels + i] = a[s * pixels + i] / (float)e->channels;
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
    if (cli_array(c, path, &a)) return CLI_FAILED;
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
    if (!whole) spread(e, s->attribution);
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
            at += n + (at[n] == ',');
        }
    return code;
}

static int add_methods(cli *c, cli_evaluation *e)
{
    cli_draws draws;
    cli_methods methods;
    int code = CLI_DONE;
    if (!cli_has(c, "--method")) {
        if (cli_has(c, "--set")) return cli_usage("--set is an option of --method");
        return CLI_DONE;
    }
    memset(&draws, 0, sizeof draws);
    e->desc.layer = cli_get(c, "--layer");
    e->desc.seed = c->seed;
    code = cli_methods_parse(c, &methods);
    if (!code) code = cli_int(c, "--n-steps", 1, 1000000, &e->desc.n_steps);
    if (!code) code = cli_settings(c, &e->desc, &draws);
    if (!code && (draws.noise.data || draws.alphas.data || draws.draws.data || draws.perms.data ||
                  draws.coalitions.data))
        return cli_usage("--set: draws are given to attribute; here they are drawn");
    for (int m = 0; m < methods.n && !code; m++) {
        e->desc.method = methods.list[m];
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
    code = read_mask(c, e);
    if (!code) code = add_files(c, e);
    if (!code) code = add_methods(c, e);
    if (!code && !e->count)
        return cli_fail("evaluate-attribution: no attribution is left to score");
    return code;
}

/* ---- the work */

/* The stage that memory limits. When asked whether it fits, all are asked in turn, as each is
   cancelled at once; and the methods once more with what the measures hold that attribute anew. */
static interp_status score(cli *c, void *user)
{
    cli_evaluation *e = (cli_evaluation *)user;
    interp_net *net = e->model.net;
    const size_t all = (size_t)e->n * e->size;
    const size_t reserve =
        (2 * all + 4 * e->size + interp_net_describe(net).n_parameters + 1024) * sizeof(float);
    interp_status status = INTERP_OK;
    for (int m = 0; m < e->count && (!status || status == INTERP_CANCELLED); m++) {
        cli_scored *s = &e->of[m];
        interp_score_desc d = e->score;
        interp_status now = INTERP_OK;
        if (s->made) {
            void *held = interp_alloc(c->ctx, reserve);
            now = held ? interp_attribute(net, e->x, e->n, &s->how, s->attribution, NULL)
                       : INTERP_NO_MEMORY;
            interp_free(c->ctx, held);
            interp_shape shape;
            if (!now) now = interp_attribute_shape(net, &s->how, &shape, NULL);
            if (!now && interp_shape_size(&shape) < e->size) spread(e, s->attribution);
            d.method = &s->how;
        }
        if (!now || now == INTERP_CANCELLED) {
            const interp_status then =
                interp_attribution_score(net, e->x, e->n, s->attribution, &d, s->scores, s->curves);
            if (!now || then) now = then;
        }
        if (now) status = now;
    }
    return status;
}

/* ---- tables */

static void add_cell(cli_text *t, double v)
{
    cli_add(t, ",");
    if (v == v) cli_add_number(t, v, false);
}

static int write_scores(const cli_evaluation *e, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "sample,attribution,target,output");
    for (int k = 0; k < MEASURES; k++) cli_add(&t, ",%s", measures[k].name);
    cli_add(&t, "\n");
    for (int m = 0; m < e->count; m++)
        for (int i = 0; i < e->n; i++) {
            const interp_scores *s = &e->of[m].scores[i];
            cli_add(&t, "%d,", i);
            cli_add_csv(&t, e->of[m].name);
            cli_add(&t, ",%d", s->target);
            add_cell(&t, s->output);
            for (int k = 0; k < MEASURES; k++) add_cell(&t, score_of(s, k));
            cli_add(&t, "\n");
        }
    return cli_text_write(&t, path);
}

static int write_ranking(const cli_evaluation *e, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "attribution,mean_rank");
    for (int k = 0; k < MEASURES; k++)
        cli_add(&t, ",%s,%s_se,%s_rank", measures[k].name, measures[k].name, measures[k].name);
    cli_add(&t, "\n");
    for (int m = 0; m < e->count; m++) {
        const cli_scored *s = &e->of[m];
        cli_add_csv(&t, s->name);
        add_cell(&t, s->mean_rank);
        for (int k = 0; k < MEASURES; k++) {
            add_cell(&t, s->mean[k]);
            add_cell(&t, s->mean[k] == s->mean[k] ? s->error[k] : (double)NAN);
            add_cell(&t, s->rank[k]);
        }
        cli_add(&t, "\n");
    }
    return cli_text_write(&t, path);
}

/* The mean over samples of point i of the curves. */
static float mean_curve(const cli_evaluation *e, const cli_scored *s, int i)
{
    const int points = 2 * (e->score.steps + 1) + 2 * INTERP_ROAD_LEVELS;
    double sum = 0;
    for (int k = 0; k < e->n; k++) sum += (double)s->curves[(size_t)k * (size_t)points + (size_t)i];
    return (float)(sum / e->n);
}

/* The four curves one after the other: where curve k begins, and its points. */
static int curve_points(const cli_evaluation *e, int k, int *first)
{
    const int steps = e->score.steps + 1;
    *first = k < 2 ? k * steps : 2 * steps + (k - 2) * INTERP_ROAD_LEVELS;
    return k < 2 ? steps : INTERP_ROAD_LEVELS;
}

static double fraction(const cli_evaluation *e, int k, int i)
{
    return k < 2 ? (double)i / e->score.steps : (i + 1.0) / (INTERP_ROAD_LEVELS + 1);
}

static int write_curves(const cli_evaluation *e, const char *path)
{
    static const char *const names[4] = {"deletion", "insertion", "road_most_first",
                                         "road_least_first"};
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "attribution,curve,fraction,mean_output\n");
    for (int m = 0; m < e->count; m++)
        for (int k = 0; k < 4; k++) {
            int first;
            const int n = curve_points(e, k, &first);
            for (int i = 0; i < n; i++) {
                cli_add_csv(&t, e->of[m].name);
                cli_add(&t, ",%s,%.6g", names[k], fraction(e, k, i));
                add_cell(&t, (double)mean_curve(e, &e->of[m], first + i));
                cli_add(&t, "\n");
            }
        }
    return cli_text_write(&t, path);
}

/* ---- curves as charts */

enum { SHOWN = 10, CHART_W = 640, CHART_H = 460, KEY_H = 28 };

/* Deletion, insertion, or both of ROAD (2) of the first `shown`. */
static interp_status draw_chart(cli *c, const cli_evaluation *e, int which, int shown,
                                interp_image *image)
{
    static const char *const titles[3] = {"Deletion: most relevant pixels removed first",
                                          "Insertion: most relevant pixels put in first",
                                          "ROAD: most (lines) and least (dashes) relevant first"};
    static const char *const labels[3] = {"share removed (a low curve is good)",
                                          "share put in (a high curve is good)",
                                          "share removed (lines low and dashes high are good)"};
    interp_series series[2 * SHOWN];
    interp_chart chart;
    const int curves = which == 2 ? 2 : 1;
    int first, used = 0;
    const int n = curve_points(e, which, &first);
    float *xy = (float *)interp_alloc(c->ctx, (size_t)(n * (2 * SHOWN + 1)) * sizeof *xy);
    if (!xy) return INTERP_NO_MEMORY;
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    for (int i = 0; i < n; i++) xy[i] = (float)fraction(e, which, i);
    for (int m = 0; m < shown; m++)
        for (int k = 0; k < curves; k++, used++) {
            float *y = xy + (size_t)n * (size_t)(used + 1);
            for (int i = 0; i < n; i++)
                y[i] = mean_curve(e, &e->of[m], first + k * INTERP_ROAD_LEVELS + i);
            series[used].x = xy, series[used].y = y, series[used].n = n;
            series[used].rgb = interp_category_rgb(m);
            series[used].style = k ? INTERP_SERIES_DASHED : INTERP_SERIES_LINE;
        }
    chart.title = titles[which], chart.x_label = labels[which], chart.y_label = "mean output";
    chart.x_min = 0, chart.x_max = 1;
    chart.width = CHART_W, chart.height = CHART_H;
    chart.no_legend = true;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, used, image);
    interp_free(c->ctx, xy);
    return status;
}

/* The three charts side by side, below them the names, the best first. */
static int draw_curves(cli *c, const cli_evaluation *e, const char *path)
{
    interp_image image, part;
    char text[96];
    const int shown = e->count < SHOWN ? e->count : SHOWN, columns = 5, left = 70;
    const int rows = (shown + columns - 1) / columns, top = CHART_H + 34;
    const int wide = (3 * CHART_W - left) / columns;
    if (interp_image_new(c->ctx, 3 * CHART_W, top + rows * KEY_H + 8, 0xffffff, &image))
        return cli_fail_ctx(c);
    for (int k = 0; k < 3; k++) {
        if (draw_chart(c, e, k, shown, &part)) return cli_fail_ctx(c);
        interp_image_blit(&image, k * CHART_W, 0, CHART_W, CHART_H, &part, INTERP_RESAMPLE_PIXELS);
        interp_image_free(c->ctx, &part);
    }
    if (shown < e->count) snprintf(text, sizeof text, "The best %d of %d by ", shown, e->count);
    else snprintf(text, sizeof text, "The best first, by ");
    strcat(text, e->mask ? "the truth:" : "deletion, insertion and ROAD:");
    interp_image_text(&image, left, CHART_H + 14, 15, INTERP_TEXT_BOLD, 0x333333, text);
    for (int m = 0; m < shown; m++) {
        const int x = left + m % columns * wide, y = top + m / columns * KEY_H + KEY_H / 2;
        interp_image_line(&image, x, y, x + 30, y, 4, interp_category_rgb(m));
        snprintf(text, sizeof text, "%d. %s", m + 1, e->of[m].name);
        interp_image_text(&image, x + 40, y, 15, 0, 0x333333, text);
    }
    return cli_write_image(c, &image, path);
}

/* ---- the command */

int cli_evaluation_run(cli *c, cli_evaluation *e, const char *folder)
{
    static const cli_stage stages[] = {score};
    char path[CLI_PATH];
    e->score.target_kind = e->desc.target_kind, e->score.target = e->desc.target;
    e->score.targets = e->desc.targets;
    e->score.baseline = e->desc.baseline, e->score.n_baselines = e->desc.n_baselines;
    if (cli_work(c, stages, 1, e, "")) return cli_fail_model(c, &e->model);
    for (int m = 0; m < e->count; m++) average(e, &e->of[m]);
    rank(e);
    sort(e);
    int code = write_scores(e, cli_path(path, folder, "scores.csv"));
    if (!code) code = write_ranking(e, cli_path(path, folder, "ranking.csv"));
    if (!code) code = write_curves(e, cli_path(path, folder, "curves.csv"));
    if (!code) code = draw_curves(c, e, cli_path(path, folder, "curves.png"));
    return code;
}

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
    if (!bed && !cli_has(c, "--attribution") && !cli_has(c, "--method"))
        return cli_usage("evaluate-attribution: give --attribution A.npy, a folder of them, or "
                         "--method M");
    int code = cli_int(c, "--steps", 1, 100000, &e->score.steps);
    if (!code) code = cli_int(c, "--perturbations", 1, 100000, &e->score.n_perturbations);
    if (!code) code = cli_float(c, "--radius", 1e-30, 1e30, &e->score.radius);
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

static void add_json(cli_text *t, const cli *c, const cli_evaluation *e)
{
    cli_add(t, "{\"samples\":%d,\"attributions\":[", e->n);
    for (int m = 0; m < e->count; m++) {
        cli_add(t, "%s{\"name\":", m ? "," : "");
        cli_add_json(t, e->of[m].name);
        cli_add(t, ",\"mean_rank\":");
        cli_add_number(t, e->of[m].mean_rank, true);
        for (int k = 0; k < MEASURES; k++) {
            cli_add(t, ",\"%s\":", measures[k].name);
            cli_add_number(t, e->of[m].mean[k], true);
        }
        cli_add(t, "}");
    }
    cli_add(t, "],\"files\":");
    cli_add_files(t, c);
    cli_add(t, "}\n");
}

static int run(cli *c)
{
    cli_evaluation e;
    cli_text summary = {NULL, 0, 0, false};
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = evaluate_run(c, &e, c->out);
    if (!code && c->json) add_json(&summary, c, &e);
    if (!code) code = cli_commit(c, NULL);
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
    "scores attributions by perturbation, by masks, by random weights; a test bed with truth",
    -1,
    options,
    run};

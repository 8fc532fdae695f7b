/* interp dynamics: what a map, or training itself, does in the long run. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--pairs", "X,FX",
     "points and their images: two arrays [n,d], or one table with 2 d columns, images last"},
    {"--surrogate", "NAME",
     "the map made of pairs: data (default for --pairs), gp: a Gaussian process (default for "
     "--data)"},
    {"--empty", "HOW", "data: boxes without points grow (default), go outside, or fail"},
    {"--no-neighbours", NULL, "data: only the points of a box itself, not of those beside it"},
    {"--kernel", "NAME", "gp: rbf (default), matern52"},
    {"--length", "X[,MIN,MAX]", "gp: length scale the search starts with, and its bounds"},
    {"--noise", "X[,MIN,MAX]", "gp: variance of the noise over that of the images, likewise"},
    {"--deviations", "X", "gp: images are so many standard deviations wider (0)"},
    ENSEMBLE_OPTIONS,
    DYNAMICS_OPTIONS,
    {NULL, NULL, NULL}};

typedef struct job {
    cli_dynamics y;
    double *x, *fx; /* [n,d] */
    int n, d;
} job;

/* ---- pairs */

static int read_doubles(cli *c, const char *spec, interp_array *a)
{
    if (interp_array_read(c->ctx, spec, a) || interp_array_cast(c->ctx, a, INTERP_FLOAT64))
        return cli_fail_ctx(c);
    if (a->shape.rank == 1) a->shape.rank = 2, a->shape.dim[1] = 1;
    if (a->shape.rank != 2 || a->shape.dim[0] < 1)
        return cli_fail("%s: pairs are rows of numbers, but it has %d dimensions", spec,
                        a->shape.rank);
    return CLI_DONE;
}

static int read_pairs(cli *c, const char *spec, job *j)
{
    char first[CLI_PATH];
    interp_array a, b;
    const char *comma = cli_is_file(spec) ? NULL : strchr(spec, ',');
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    snprintf(first, sizeof first, "%.*s", comma ? (int)(comma - spec) : (int)strlen(spec), spec);
    int code = read_doubles(c, first, &a);
    if (!code && comma) code = read_doubles(c, comma + 1, &b);
    if (code) return code;
    const size_t columns = (size_t)a.shape.dim[1], n = (size_t)a.shape.dim[0];
    if (comma && (b.shape.dim[0] != a.shape.dim[0] || b.shape.dim[1] != a.shape.dim[1]))
        return cli_fail("--pairs %s: %d points of %d numbers, but %d images of %d", spec,
                        a.shape.dim[0], a.shape.dim[1], b.shape.dim[0], b.shape.dim[1]);
    if (!comma && columns % 2)
        return cli_fail("--pairs %s: it has %d columns; points and images are as many each", spec,
                        a.shape.dim[1]);
    const size_t d = comma ? columns : columns / 2;
    if (d > INTERP_MAP_DIMS)
        return cli_fail("--pairs %s: %zu dimensions; up to %d are looked at", spec, d,
                        INTERP_MAP_DIMS);
    j->x = (double *)interp_alloc(c->ctx, n * d * sizeof *j->x);
    j->fx = (double *)interp_alloc(c->ctx, n * d * sizeof *j->fx);
    if (!j->x || !j->fx) return cli_fail_ctx(c);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < d; k++) {
            j->x[i * d + k] = ((const double *)a.data)[i * columns + k];
            j->fx[i * d + k] = comma ? ((const double *)b.data)[i * columns + k]
                                     : ((const double *)a.data)[i * columns + d + k];
        }
    j->n = (int)n, j->d = (int)d;
    for (size_t i = 0; i < n * d; i++)
        if (!isfinite(j->x[i]) || !isfinite(j->fx[i]))
            return cli_fail("--pairs %s: row %zu holds a number that is not finite", spec, i / d);
    interp_array_free(c->ctx, &a);
    interp_array_free(c->ctx, &b);
    return CLI_DONE;
}

/* The domain when none is given: where points and images are, and a twentieth more. */
static void default_domain(job *j)
{
    for (int k = 0; k < j->d; k++) {
        double low = j->x[k], high = low;
        for (size_t i = (size_t)k; i < (size_t)j->n * (size_t)j->d; i += (size_t)j->d) {
            low = fmin(low, fmin(j->x[i], j->fx[i]));
            high = fmax(high, fmax(j->x[i], j->fx[i]));
        }
        j->y.lower[k] = low - (high - low) / 20;
        j->y.upper[k] = high + (high - low) / 20;
    }
}

/* "X[,MIN,MAX]" */
static int read_range(const cli *c, const char *name, double *at, double *low, double *high)
{
    const char *text = cli_get(c, name);
    double v[3];
    if (!text) return CLI_DONE;
    const int n = cli_numbers(text, v, 3);
    if ((n != 1 && n != 3) || !(v[0] > 0) || (n == 3 && !(v[1] > 0 && v[1] <= v[2])))
        return cli_usage("%s %s: give a positive number, or it and its bounds", name, text);
    *at = v[0];
    if (n == 3) *low = v[1], *high = v[2];
    return CLI_DONE;
}

/* A Gaussian process on the scale of the pairs. */
static int gp_settings(cli *c, const job *j, interp_gp_desc *g)
{
    static const char *const kernels[] = {"rbf", "matern52"};
    double extent = 0;
    int kernel = 0;
    memset(g, 0, sizeof *g);
    for (int k = 0; k < j->d; k++) extent = fmax(extent, j->y.upper[k] - j->y.lower[k]);
    g->length = extent / 10, g->length_min = extent / 1000, g->length_max = 2 * extent;
    g->noise = 0.01, g->noise_min = 1e-8, g->noise_max = 10;
    g->normalize = true;
    int code = cli_choice(c, "--kernel", kernels, 2, &kernel);
    if (!code) code = read_range(c, "--length", &g->length, &g->length_min, &g->length_max);
    if (!code) code = read_range(c, "--noise", &g->noise, &g->noise_min, &g->noise_max);
    g->kernel = (interp_gp_kernel)kernel;
    g->jitter = 1e-10;
    return code;
}

static interp_status dynamics_stage(cli *c, void *user)
{
    return cli_dynamics_stage(c, (cli_dynamics *)user);
}

static int pairs_run(cli *c, const char *spec, job *j)
{
    static const char *const names[] = {"data", "gp"};
    static const char *const empties[] = {"grow", "outside", "fail"};
    static const cli_stage stages[] = {dynamics_stage};
    interp_pairs_desc p;
    interp_gp_desc g;
    int surrogate = 0, empty = 0;
    memset(&p, 0, sizeof p);
    int code = cli_choice(c, "--surrogate", names, 2, &surrogate);
    if (!code) code = cli_choice(c, "--empty", empties, 3, &empty);
    if (!code) code = read_pairs(c, spec, j);
    if (code) return code;
    default_domain(j);
    code = cli_dynamics_options(c, j->d, &j->y);
    if (!code && surrogate) code = gp_settings(c, j, &g);
    if (code) return code;
    p.empty = (interp_pairs_empty)empty;
    p.no_neighbours = cli_has(c, "--no-neighbours");
    if (surrogate) {
        if (cli_dynamics_gp(c, &j->y, j->x, j->fx, j->n, &g)) return cli_fail_ctx(c);
        cli_say(c, "gaussian process: length %.4g, noise %.4g, log likelihood %.4f",
                j->y.fitted.length, j->y.fitted.noise, j->y.fitted.lml);
    } else {
        if (interp_pairs_new(c->ctx, j->x, j->fx, j->n, j->d, &p, &j->y.pairs))
            return cli_fail_ctx(c);
        j->y.map.boxes = interp_pairs_map;
        j->y.map.user = j->y.pairs;
        j->y.map.concurrent = p.empty != INTERP_PAIRS_FAIL;
    }
    code = cli_dynamics_check(&j->y);
    if (!code && cli_work(c, stages, 1, &j->y, " or a coarser --subdivide")) code = cli_fail_ctx(c);
    return code;
}

/* ---- training as a map of weights */

/* The Gaussian process of the original: on weights as they are, with its bounds. */
static int ensemble_surrogate(cli *c, cli_ensemble *e, cli_dynamics *y)
{
    static const char *const names[] = {"gp", "data"}, *const kernels[] = {"rbf", "matern52"};
    interp_gp_desc g;
    int surrogate = 0, kernel = 0;
    memset(&g, 0, sizeof g);
    g.length = 0.5, g.length_min = 0.01, g.length_max = 2;
    g.noise = 1, g.noise_min = 1e-5, g.noise_max = 1e5, g.jitter = 1e-10;
    int code = cli_choice(c, "--surrogate", names, 2, &surrogate);
    if (!code) code = cli_choice(c, "--kernel", kernels, 2, &kernel);
    if (!code) code = read_range(c, "--length", &g.length, &g.length_min, &g.length_max);
    if (!code) code = read_range(c, "--noise", &g.noise, &g.noise_min, &g.noise_max);
    if (code) return code;
    g.kernel = (interp_gp_kernel)kernel;
    if (!surrogate && cli_dynamics_gp(c, y, e->from, e->to, e->all.models, &g))
        return cli_fail_ctx(c);
    if (surrogate) {
        if (interp_pairs_new(c->ctx, e->from, e->to, e->all.models, e->dims, NULL, &y->pairs))
            return cli_fail_ctx(c);
        y->map.boxes = interp_pairs_map, y->map.user = y->pairs, y->map.concurrent = true;
    }
    return CLI_DONE;
}

/* One ensemble: trained, mapped, written. */
static int ensemble_run(cli *c, cli_ensemble *e, cli_dynamics *y, const char *folder)
{
    static const cli_stage stages[] = {dynamics_stage};
    interp_series over[2];
    float *at[4];
    const size_t n = (size_t)e->desc.models;
    char early[32], last[32];
    memset(over, 0, sizeof over);
    y->map.padding = true;
    int code = cli_ensemble_train(c, e);
    if (!code) code = cli_ensemble_pairs(c, e, y);
    if (!code) code = cli_dynamics_options(c, e->dims, y);
    if (!code && !cli_has(c, "--subdivide")) y->grid.min = 15;
    if (!code) code = ensemble_surrogate(c, e, y);
    if (!code) code = cli_dynamics_check(y);
    if (!code && cli_work(c, stages, 1, y, " or a coarser --subdivide")) code = cli_fail_ctx(c);
    if (code) return code;
    for (int k = 0; k < 4; k++) {
        at[k] = (float *)interp_alloc(c->ctx, n * sizeof **at);
        if (!at[k]) return cli_fail_ctx(c);
        for (size_t m = 0; m < n; m++)
            at[k][m] = e->dims > 1 || !(k & 1)
                           ? (float)(k < 2 ? e->from : e->to)[m * (size_t)e->dims + (size_t)(k & 1)]
                           : 0.5f;
    }
    snprintf(early, sizeof early, "after epoch %d", e->early);
    snprintf(last, sizeof last, "after epoch %d", e->desc.train.epochs);
    for (int s = 0; s < 2; s++) {
        over[s].name = s ? last : early;
        over[s].x = at[2 * s], over[s].y = at[2 * s + 1], over[s].n = (int)n;
        over[s].rgb = s ? 0x101010u : 0x8a2be2u;
        over[s].style = INTERP_SERIES_POINTS, over[s].line_width = 2;
    }
    code = cli_dynamics_write(c, y, folder, over, 2);
    if (!code) code = cli_ensemble_write(c, e, y, folder);
    for (int k = 0; k < 4; k++) interp_free(c->ctx, at[k]);
    if (!code)
        cli_say(c,
                "%d trainings in %.2f s, balanced accuracy %.4f; %s and %s; %d Morse sets in %u "
                "boxes, %.3f s",
                e->all.models, e->seconds, cli_ensemble_accuracy(e), y->axis[0],
                e->dims > 1 ? y->axis[1] : "no other", interp_morse_count(y->morse),
                (unsigned)interp_morse_boxes(y->morse), y->seconds);
    return code;
}

/* Ensembles that differ in one setting. */
static const char *const sweeps[] = {"epochs", "batch", "layers", "nodes"};

typedef struct sweep {
    int of; /* place in sweeps; -1: one ensemble, as the options have it */
    int n, value[CLI_SWEPT];
    char name[CLI_SWEPT][24]; /* "epochs 100" */
} sweep;

static int read_sweep(const cli *c, sweep *s)
{
    const char *text = cli_get(c, "--sweep"), *equals = text ? strchr(text, '=') : NULL;
    double v[CLI_SWEPT] = {0};
    memset(s, 0, sizeof *s);
    s->of = -1, s->n = 1;
    if (!text) return CLI_DONE;
    for (int k = 0; k < 4 && equals; k++)
        if (strlen(sweeps[k]) == (size_t)(equals - text) &&
            !strncmp(text, sweeps[k], (size_t)(equals - text)))
            s->of = k;
    s->n = s->of < 0 ? 0 : cli_numbers(equals + 1, v, CLI_SWEPT);
    bool good = s->n > 0;
    for (int i = 0; i < s->n; i++) {
        good &= v[i] >= 1 && v[i] < 1e6 && v[i] == floor(v[i]);
        s->value[i] = good ? (int)v[i] : 0;
        snprintf(s->name[i], sizeof s->name[i], "%s %d", sweeps[s->of], s->value[i]);
    }
    if (good) return CLI_DONE;
    return cli_usage("--sweep %s: give epochs=, batch=, layers= or nodes= and up to %d values",
                     text, CLI_SWEPT);
}

/* Ensemble i of a sweep: in a folder of its own. */
static int swept_run(cli *c, const sweep *s, int i, cli_ensemble *e, const char *folder,
                     cli_text *summary, dynamics_outcome *outcome)
{
    cli_dynamics y;
    char inner[sizeof s->name[0]], path[CLI_PATH];
    int code = CLI_DONE;
    memset(&y, 0, sizeof y);
    snprintf(path, sizeof path, "%s", folder);
    if (s->of >= 0) {
        int *const of[] = {&e->desc.train.epochs, &e->desc.train.batch, &e->layers, &e->nodes};
        *of[s->of] = s->value[i];
        if (e->early >= e->desc.train.epochs)
            return cli_usage("--sweep: %s ends before the early epoch %d", s->name[i], e->early);
        snprintf(inner, sizeof inner, "%s", s->name[i]);
        *strchr(inner, ' ') = '_';
        code = cli_make_folder(cli_path(path, folder, inner));
    }
    if (!code) code = ensemble_run(c, e, &y, path);
    if (!code) {
        if (i) cli_add(summary, ",");
        cli_dynamics_json(summary, &y);
        outcome->models = e->all.models, outcome->seconds = e->seconds + y.seconds;
        outcome->accuracy = cli_ensemble_accuracy(e);
        outcome->sets = interp_morse_count(y.morse);
        outcome->boxes = interp_morse_boxes(y.morse);
    }
    cli_dynamics_free(c, &y);
    return code;
}

static int ensembles_run(cli *c, const char *folder, cli_text *summary, dynamics_outcome *outcome)
{
    sweep s;
    cli_ensemble base, e[CLI_SWEPT];
    const char *name[CLI_SWEPT];
    int code = read_sweep(c, &s);
    if (!code) code = cli_ensemble_open(c, &base);
    if (code) return code;
    if (s.of < 0) snprintf(s.name[0], sizeof s.name[0], "epochs %d", base.desc.train.epochs);
    if (s.of >= 0) cli_add(summary, "[");
    for (int i = 0; i < s.n; i++) e[i] = base, name[i] = s.name[i];
    for (int i = 0; i < s.n && !code; i++)
        code = swept_run(c, &s, i, &e[i], folder, summary, outcome);
    if (s.of >= 0) cli_add(summary, "]");
    cli_add(summary, "\n");
    if (!code) code = cli_ensemble_violins(c, e, s.n, name, folder);
    for (int i = 0; i < s.n; i++) cli_ensemble_free(c, &e[i]);
    cli_ensemble_close(c, &base);
    return code;
}

int dynamics_run(cli *c, const char *folder, dynamics_outcome *outcome)
{
    cli_text summary = {NULL, 0, 0, false};
    const int code = ensembles_run(c, folder, &summary, outcome);
    free(summary.data);
    return code;
}

static int run(cli *c)
{
    static const char *const stale[] = {"morse_graph.png",
                                        "morse_sets.png",
                                        "retraction.npy",
                                        "retraction.png",
                                        "CMGDB_mvmap.txt",
                                        "CMGDB_retract.txt",
                                        "CMGDB_morse_sets.csv",
                                        "accuracy.png",
                                        "accuracy_by_tile.png",
                                        "entropy.png",
                                        "weights.png",
                                        "models.csv",
                                        "entropy.csv",
                                        "weights.csv",
                                        "weights.npy",
                                        "probabilities.npy",
                                        NULL};
    static const char *const numbers[INTERP_MAP_DIMS] = {"x0", "x1", "x2", "x3",
                                                         "x4", "x5", "x6", "x7"};
    const char *pairs = cli_get(c, "--pairs");
    cli_text summary = {NULL, 0, 0, false};
    dynamics_outcome outcome;
    job j;
    memset(&j, 0, sizeof j);
    for (int k = 0; k < INTERP_MAP_DIMS; k++) j.y.axis[k] = numbers[k];
    if (!pairs == !cli_has(c, "--data"))
        return cli_usage("dynamics needs --pairs X,FX, or --data D to train on");
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code && !pairs) code = ensembles_run(c, c->out, &summary, &outcome);
    if (!code && pairs) {
        code = pairs_run(c, pairs, &j);
        if (!code) code = cli_dynamics_write(c, &j.y, c->out, NULL, 0);
        if (!code) cli_dynamics_json(&summary, &j.y);
        cli_add(&summary, "\n");
        if (!code)
            cli_say(c, "%d Morse set%s in %u boxes, %.3f s", interp_morse_count(j.y.morse),
                    interp_morse_count(j.y.morse) == 1 ? "" : "s",
                    (unsigned)interp_morse_boxes(j.y.morse), j.y.seconds);
    }
    if (!code) code = cli_commit(c, stale);
    if (!code) cli_say(c, "written to %s", c->folder);
    if (code != CLI_DONE || !c->json) {
        free(summary.data);
        return code;
    }
    return cli_text_print(&summary);
}

const cli_command cmd_dynamics = {
    "dynamics",
    "--pairs X,FX | --data D --arch A -o DIR",
    "what a map or training does in the long run: Morse graph, Conley index, basins",
    0,
    options,
    run};

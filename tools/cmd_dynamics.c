/* interp dynamics: what a map, or training itself, does in the long run. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--pairs", "X,FX",
     "points and their images: two arrays [n,d], or one table with 2 d columns, images last"},
    {"--surrogate", "NAME", "the map made of pairs: data (default), gp (Gaussian process)"},
    {"--empty", "HOW", "data: boxes without points grow (default), go outside, or fail"},
    {"--no-neighbours", NULL, "data: only the points of a box itself, not of those beside it"},
    {"--kernel", "NAME", "gp: rbf (default), matern52"},
    {"--length", "X[,MIN,MAX]", "gp: length scale the search starts with, and its bounds"},
    {"--noise", "X[,MIN,MAX]", "gp: variance of the noise, likewise"},
    {"--deviations", "X", "gp: images are so many standard deviations wider (0)"},
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
    double extent = 0, square = 0;
    int kernel = 0;
    memset(g, 0, sizeof *g);
    for (int k = 0; k < j->d; k++) extent = fmax(extent, j->y.upper[k] - j->y.lower[k]);
    for (size_t i = 0; i < (size_t)j->n * (size_t)j->d; i++)
        square += j->fx[i] * j->fx[i] / ((double)j->n * j->d);
    if (!(square > 0)) square = 1;
    g->length = extent / 10, g->length_min = extent / 1000, g->length_max = 2 * extent;
    g->noise = square / 100, g->noise_min = square * 1e-9, g->noise_max = 10 * square;
    int code = cli_choice(c, "--kernel", kernels, 2, &kernel);
    if (!code) code = read_range(c, "--length", &g->length, &g->length_min, &g->length_max);
    if (!code) code = read_range(c, "--noise", &g->noise, &g->noise_min, &g->noise_max);
    g->kernel = (interp_gp_kernel)kernel;
    g->jitter = 1e-10;
    return code;
}

static interp_status pairs_stage(cli *c, void *user)
{
    return cli_dynamics_stage(c, &((job *)user)->y);
}

static int pairs_run(cli *c, const char *spec, job *j)
{
    static const char *const names[] = {"data", "gp"};
    static const char *const empties[] = {"grow", "outside", "fail"};
    static const cli_stage stages[] = {pairs_stage};
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
    return cli_work(c, stages, 1, j, " or a coarser --subdivide") ? cli_fail_ctx(c) : CLI_DONE;
}

static int run(cli *c)
{
    static const char *const stale[] = {"morse_graph.png",  "morse_sets.png",
                                        "retraction.npy",   "retraction.png",
                                        "CMGDB_mvmap.txt",  "CMGDB_retract.txt",
                                        "CMGDB_morse_sets.csv", NULL};
    const char *pairs = cli_get(c, "--pairs");
    cli_text summary = {NULL, 0, 0, false};
    job j;
    memset(&j, 0, sizeof j);
    j.y.axis[0] = "x0", j.y.axis[1] = "x1";
    if (!pairs) return cli_usage("dynamics needs --pairs X,FX");
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = pairs_run(c, pairs, &j);
    if (!code) code = cli_dynamics_write(c, &j.y, c->out, NULL, 0);
    if (!code && c->json) {
        cli_dynamics_json(&summary, &j.y);
        cli_add(&summary, "\n");
    }
    if (!code) code = cli_commit(c, stale);
    if (!code)
        cli_say(c, "%d Morse sets in %u boxes, %.3f s; written to %s",
                interp_morse_count(j.y.morse), (unsigned)interp_morse_boxes(j.y.morse),
                j.y.seconds, c->folder);
    if (code != CLI_DONE || !c->json) {
        free(summary.data);
        return code;
    }
    return cli_text_print(&summary);
}

const cli_command cmd_dynamics = {
    "dynamics", "--pairs X,FX | --data D --arch A -o DIR",
    "what a map or training does in the long run: Morse graph, Conley index, basins",
    0,          options,
    run};

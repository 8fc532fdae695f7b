/* Scores of attributions: measures, means and ranks, tables, curves. */
#include "cli.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

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

/* Maps [n,H,W] in the first numbers of [n,C,H,W] go to all channels alike. */
void cli_spread(const cli_evaluation *e, float *a)
{
    const size_t pixels = e->size / (size_t)e->channels;
    for (size_t s = (size_t)e->n; e->channels > 1 && s-- > 0;)
        for (size_t c = (size_t)e->channels; c-- > 0;)
            for (size_t i = 0; i < pixels; i++)
                a[s * e->size + c * pixels + i] = a[s * pixels + i] / (float)e->channels;
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
            if (!now && interp_shape_size(&shape) < e->size) cli_spread(e, s->attribution);
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

/* Rank correlation of two sets of ranks. */
static double correlation(const double *a, const double *b, int n)
{
    const double mean = (n + 1) / 2.0; /* of ranks from 1 on */
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        ab += (a[i] - mean) * (b[i] - mean);
        aa += (a[i] - mean) * (a[i] - mean), bb += (b[i] - mean) * (b[i] - mean);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

/* How far the order by each score is that by the truth, for those that do not know it. */
static int write_agreement(cli *c, const cli_evaluation *e, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    const int n = e->count;
    double *truth = (double *)interp_alloc(c->ctx, 2 * (size_t)n * sizeof *truth), *by = truth + n;
    if (!truth) return cli_fail_ctx(c);
    for (int a = 0; a < n; a++) {
        truth[a] = 1;
        for (int b = 0; b < n; b++)
            if (b != a && e->of[b].mean_rank <= e->of[a].mean_rank)
                truth[a] += e->of[b].mean_rank < e->of[a].mean_rank ? 1 : 0.5;
    }
    cli_add(&t, "score,rank_correlation_with_truth\n");
    for (int k = 0; k < MEASURES; k++) {
        bool all = measures[k].truth < 1;
        for (int a = 0; a < n; a++) by[a] = e->of[a].rank[k], all = all && by[a] == by[a];
        if (!all) continue;
        cli_add(&t, "%s", measures[k].name);
        add_cell(&t, correlation(truth, by, n));
        cli_add(&t, "\n");
    }
    interp_free(c->ctx, truth);
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

/* ---- layers drawn anew */

static const char *const cascades[] = {"top_down", "bottom_up", "independent"};

int cli_cascade(const cli *c, cli_evaluation *e)
{
    int order = 0;
    e->cascades = cli_has(c, "--cascade");
    const int code = cli_choice(c, "--cascade", cascades, 3, &order);
    e->cascade = (interp_cascade)order;
    return code;
}

/* The stage of all methods, one after the other. */
static interp_status randomise(cli *c, void *user)
{
    cli_evaluation *e = (cli_evaluation *)user;
    interp_randomise_desc d;
    interp_status status = INTERP_OK;
    (void)c;
    memset(&d, 0, sizeof d);
    d.order = e->cascade, d.seed = e->score.seed;
    for (int m = 0; m < e->count && (!status || status == INTERP_CANCELLED); m++) {
        cli_scored *s = &e->of[m];
        d.method = &s->how;
        if (s->left)
            status = interp_attribution_randomise(e->model.net, e->x, e->n, &d, &e->n_layers,
                                                  e->layers, s->left);
    }
    return status;
}

/* Mean over the samples behind layer l, and its standard error. */
static double mean_left(const cli_evaluation *e, const cli_scored *s, int l, double *error)
{
    const double *r = s->left + (size_t)l * (size_t)e->n;
    double sum = 0, square = 0;
    for (int i = 0; i < e->n; i++) sum += r[i] / e->n;
    for (int i = 0; i < e->n; i++) square += (r[i] - sum) * (r[i] - sum);
    *error = e->n > 1 ? sqrt(square / (e->n - 1) / e->n) : (double)NAN;
    return sum;
}

static int write_randomisation(const cli_evaluation *e, const char *path)
{
    cli_text t = {NULL, 0, 0, false};
    double error;
    cli_add(&t, "attribution,order,step,layer,correlation,correlation_se\n");
    for (int m = 0; m < e->count; m++)
        for (int l = 0; l < e->n_layers && e->of[m].left; l++) {
            cli_add_csv(&t, e->of[m].name);
            cli_add(&t, ",%s,%d,", cascades[e->cascade], l + 1);
            cli_add_csv(&t, interp_net_node_name(e->model.net, e->layers[l]));
            add_cell(&t, mean_left(e, &e->of[m], l, &error));
            add_cell(&t, error);
            cli_add(&t, "\n");
        }
    return cli_text_write(&t, path);
}

static int draw_randomisation(cli *c, const cli_evaluation *e, const char *path)
{
    static const char *const titles[3] = {
        "What is left of attributions as layers are drawn anew, from the output down",
        "What is left of attributions as layers are drawn anew, from the input up",
        "What is left of attributions as one layer is drawn anew"};
    const int points = e->n_layers + 1;
    interp_series series[SHOWN];
    interp_chart chart;
    interp_image image;
    double error;
    int used = 0;
    float *y = (float *)interp_alloc(c->ctx, (size_t)(SHOWN * points) * sizeof *y);
    const char **names = (const char **)interp_alloc(c->ctx, (size_t)points * sizeof *names);
    if (!y || !names) return cli_fail_ctx(c);
    memset(series, 0, sizeof series);
    memset(&chart, 0, sizeof chart);
    names[0] = "as trained";
    for (int l = 0; l < e->n_layers; l++)
        names[l + 1] = interp_net_node_name(e->model.net, e->layers[l]);
    for (int m = 0; m < e->count && used < SHOWN; m++) {
        if (!e->of[m].left) continue;
        float *to = y + used * points;
        to[0] = 1;
        for (int l = 0; l < e->n_layers; l++) to[l + 1] = (float)mean_left(e, &e->of[m], l, &error);
        series[used].name = e->of[m].name, series[used].y = to, series[used].n = points;
        series[used++].style = INTERP_SERIES_LINE_POINTS;
    }
    chart.title = titles[e->cascade], chart.y_label = "rank correlation of magnitudes";
    chart.x_label = e->cascade == INTERP_CASCADE_INDEPENDENT ? "the layer" : "the layer reached";
    if (points <= 12) chart.x_names = names, chart.n_x_names = points;
    else chart.x_label = "number of layers, in the order of randomisation.csv";
    chart.y_min = -0.2f, chart.y_max = 1.02f;
    chart.width = 1000;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, used, &image);
    interp_free(c->ctx, y);
    interp_free(c->ctx, names);
    return status ? cli_fail_ctx(c) : cli_write_image(c, &image, path);
}

static int run_cascade(cli *c, cli_evaluation *e, const char *folder)
{
    static const cli_stage stages[] = {randomise};
    char path[CLI_PATH];
    const size_t nodes = (size_t)interp_net_describe(e->model.net).n_nodes;
    e->layers = (int *)interp_alloc(c->ctx, nodes * sizeof *e->layers);
    if (!e->layers) return cli_fail_ctx(c);
    for (int m = 0; m < e->count; m++) {
        cli_scored *s = &e->of[m];
        if (!s->made) continue;
        s->left = (double *)interp_alloc(c->ctx, nodes * (size_t)e->n * sizeof *s->left);
        if (!s->left) return cli_fail_ctx(c);
    }
    if (cli_work(c, stages, 1, e, "")) return cli_fail_model(c, &e->model);
    const int code = write_randomisation(e, cli_path(path, folder, "randomisation.csv"));
    return code ? code : draw_randomisation(c, e, cli_path(path, folder, "randomisation.png"));
}

/* ---- all of it */

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
    if (!code && e->mask && e->count > 2)
        code = write_agreement(c, e, cli_path(path, folder, "agreement.csv"));
    if (!code) code = write_curves(e, cli_path(path, folder, "curves.csv"));
    if (!code) code = draw_curves(c, e, cli_path(path, folder, "curves.png"));
    return code || !e->cascades ? code : run_cascade(c, e, folder);
}

void cli_add_scores(cli_text *t, const cli *c, const cli_evaluation *e)
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

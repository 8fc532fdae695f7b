/* Pictures of a run of allocations, and the same for TensorBoard. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CURVES = 50, FRAMES = 48, SMOOTH = 5 };

#define HELPS 0x2a8c3cu
#define HURTS 0xd43a2fu

/* What is drawn, and the numbers it takes, which are freed together. */
typedef struct drawing {
    cli *c;
    const cli_lca *l;
    interp_lca_run r;
    const char *folder;
    interp_tensorboard *tb;
    char **names; /* [layers] */
    float *steps; /* [steps]: 1, 2, ... */
    void *blocks; /* each begins with the one before */
} drawing;

/* Zeroed room that lives as long as the drawing; NULL when there is none. */
static void *take(drawing *d, size_t n, size_t size)
{
    void **block = (void **)calloc(1, n * size + 64);
    if (!block) return NULL;
    *block = d->blocks;
    d->blocks = block;
    return (char *)block + 64;
}

static float *take_floats(drawing *d, size_t n)
{
    return (float *)take(d, n, sizeof(float));
}

static int no_memory(void)
{
    return cli_fail("out of memory");
}

static interp_chart chart_of(const char *title, const char *x, const char *y)
{
    interp_chart chart;
    memset(&chart, 0, sizeof chart);
    chart.title = title, chart.x_label = x, chart.y_label = y;
    return chart;
}

static interp_series line_of(const drawing *d, const char *name, const float *y)
{
    interp_series s;
    memset(&s, 0, sizeof s);
    s.name = name, s.x = d->steps, s.y = y, s.n = d->r.steps;
    s.line_width = d->r.steps > 300 ? 1.5f : 2;
    return s;
}

/* A name as a part of a file's. */
static const char *file_name(char out[96], const char *before, const char *name, const char *after)
{
    snprintf(out, 96, "%s%.60s%s", before, name, after);
    for (char *p = out; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-", *p)) *p = '_';
    return out;
}

/* Writes a picture, to TensorBoard too, and frees it. */
static int keep(drawing *d, interp_image *image, const char *name, const char *tag)
{
    char path[CLI_PATH];
    if (interp_tensorboard_image(d->tb, tag, d->r.steps, image, 1)) return cli_fail_ctx(d->c);
    return cli_write_image(d->c, image, cli_path(path, d->folder, name));
}

/* Two pictures beside each other, in place of the first. */
static interp_status beside(drawing *d, interp_image *a, interp_image *b)
{
    interp_image both;
    const int height = a->height > b->height ? a->height : b->height;
    const interp_status status =
        interp_image_new(d->c->ctx, a->width + b->width, height, 0xffffff, &both);
    if (!status) {
        interp_image_blit(&both, 0, 0, a->width, a->height, a, INTERP_RESAMPLE_PIXELS);
        interp_image_blit(&both, a->width, 0, b->width, b->height, b, INTERP_RESAMPLE_PIXELS);
    }
    interp_image_free(d->c->ctx, a);
    interp_image_free(d->c->ctx, b);
    if (!status) *a = both;
    return status;
}

/* ---- of the whole run */

static int draw_loss(drawing *d)
{
    const int n = d->r.steps;
    float *y = take_floats(d, 3 * (size_t)n);
    interp_chart chart = chart_of("Loss, and what the allocations add up to", "step", "loss");
    interp_series s[3];
    interp_image image;
    char title[160];
    if (!y) return no_memory();
    double sum = d->r.step[0].loss_before;
    for (int t = 0; t < n; t++) {
        sum += d->r.step[t].allocated;
        y[t] = (float)d->r.step[t].loss_after, y[n + t] = (float)sum;
        y[2 * n + t] = (float)d->r.step[t].residual;
    }
    snprintf(title, sizeof title, "%s: %.2g %% apart over the run", chart.title,
             100 * fabs(d->l->relative_error));
    chart.title = title, chart.right_label = "residual of each step";
    s[0] = line_of(d, "loss", y), s[1] = line_of(d, "reconstructed", y + n);
    s[2] = line_of(d, "residual (right)", y + 2 * n);
    s[1].style = INTERP_SERIES_DASHED;
    s[2].right = true, s[2].rgb = 0xa0a0a0, s[2].line_width = 1;
    if (interp_chart_lines(d->c->ctx, &chart, s, 3, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "loss.png", "comparison/loss");
}

/* Mean of up to SMOOTH steps round each. */
static void smooth(const float *x, int n, float *out)
{
    for (int t = 0; t < n; t++) {
        double sum = 0;
        int count = 0;
        for (int k = t - SMOOTH / 2; k <= t + SMOOTH / 2; k++)
            if (k >= 0 && k < n) sum += (double)x[k], count++;
        out[t] = (float)(sum / count);
    }
}

static int draw_helped(drawing *d)
{
    static const char *const names[] = {"helped", "zero", "hurt"};
    static const uint32_t colours[] = {0x4dbf4d, 0xf0f0f0, 0xe64040};
    static const float half = 50;
    const int n = d->r.steps;
    float *y = take_floats(d, 5 * (size_t)n);
    interp_chart chart =
        chart_of("Parameters that helped, and hurt, in each step", "step", "% of parameters");
    interp_series s[4];
    interp_image image;
    if (!y) return no_memory();
    for (int k = 0; k < 2; k++) {
        for (int t = 0; t < n; t++) {
            double count = 0;
            for (int i = 0; i < d->r.layers; i++)
                count += (k ? d->r.zero : d->r.helped)[t * d->r.layers + i];
            y[4 * n + t] = (float)(100 * count / (double)d->r.parameters);
        }
        smooth(y + 4 * n, n, y + k * n);
    }
    for (int t = 0; t < n; t++) {
        y[2 * n + t] = 100 - y[t] - y[n + t];
        y[3 * n + t] = (float)d->r.step[t].loss_after;
    }
    for (int k = 0; k < 4; k++) s[k] = line_of(d, k < 3 ? names[k] : "loss (right)", y + k * n);
    for (int k = 0; k < 3; k++) s[k].rgb = colours[k];
    s[3].right = true, s[3].rgb = 1;
    chart.right_label = "loss", chart.y_min = 0, chart.y_max = 100;
    chart.h_lines = &half, chart.n_h_lines = 1;
    if (interp_chart_areas(d->c->ctx, &chart, s, 4, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "helped.png", "comparison/helped");
}

/* Both ways: parameters of each step, steps of each parameter. */
static int draw_helped_histograms(drawing *d)
{
    const int n = d->r.steps;
    float *of_step = take_floats(d, (size_t)n), *of_parameter = take_floats(d, d->r.parameters);
    interp_chart chart = chart_of("Parameters that helped in a step", "% of parameters", "steps");
    interp_histogram h;
    interp_image a, b;
    static const float half = 50;
    if (!of_step || !of_parameter) return no_memory();
    for (int t = 0; t < n; t++) {
        double count = 0;
        for (int i = 0; i < d->r.layers; i++) count += d->r.helped[t * d->r.layers + i];
        of_step[t] = (float)(100 * count / (double)d->r.parameters);
    }
    for (size_t i = 0; i < d->r.parameters; i++)
        of_parameter[i] = 100 * (float)d->r.times_helped[i] / (float)n;
    memset(&h, 0, sizeof h);
    h.values = of_step, h.n = (size_t)n, h.bins = n < 50 ? 10 : 50, h.mean_line = true;
    h.rgb = HELPS;
    chart.width = 700;
    chart.v_lines = &half, chart.n_v_lines = 1;
    if (interp_chart_histogram(d->c->ctx, &chart, &h, &a)) return cli_fail_ctx(d->c);
    chart = chart_of("Steps in which a parameter helped", "% of steps", "parameters");
    chart.width = 700;
    chart.v_lines = &half, chart.n_v_lines = 1;
    h.values = of_parameter, h.n = d->r.parameters, h.bins = n < 50 ? n + 1 : 50;
    if (interp_chart_histogram(d->c->ctx, &chart, &h, &b) || beside(d, &a, &b))
        return cli_fail_ctx(d->c);
    return keep(d, &a, "helped_histograms.png", "comparison/helped_histograms");
}

/* All allocations, in bins that meet at zero: counted on a log scale out to the ends, and the middle
   99 % by itself. */
static int draw_histogram(drawing *d)
{
    enum { shown = 40 };
    const int most = 2 * INTERP_LCA_BINS;
    double all = 0, inside = 0;
    int reach = 0, far = 0, ways[2];
    interp_image image[2];
    for (int k = 0; k < most; k++) all += (double)d->r.bins[k];
    for (; reach < INTERP_LCA_BINS && inside < 0.99 * all; reach++)
        inside +=
            (double)(d->r.bins[INTERP_LCA_BINS + reach] + d->r.bins[INTERP_LCA_BINS - 1 - reach]);
    for (int k = 0; k < INTERP_LCA_BINS; k++)
        if (d->r.bins[INTERP_LCA_BINS + k] || d->r.bins[INTERP_LCA_BINS - 1 - k]) far = k + 1;
    ways[0] = (far + shown / 2 - 1) / (shown / 2), ways[1] = (reach + shown / 2 - 1) / (shown / 2);
    for (int way = 0; way < 2; way++) {
        const int step = ways[way] > 0 ? ways[way] : 1; /* bins that are drawn as one */
        float *x = take_floats(d, shown);
        double *count = (double *)take(d, shown, sizeof *count);
        interp_histogram h;
        interp_chart chart = chart_of(way ? "The middle 99 % of them" : "All allocations but zeros",
                                      d->l->unit, way ? "how often" : "how often (log)");
        if (!x || !count) return no_memory();
        for (int k = 0; k < shown; k++) {
            const int from = INTERP_LCA_BINS + (k - shown / 2) * step;
            x[k] = (float)((k - shown / 2 + 0.5) * step * d->r.bin_width);
            for (int i = from; i < from + step; i++)
                if (i >= 0 && i < most) count[k] += (double)d->r.bins[i];
        }
        memset(&h, 0, sizeof h);
        h.values = x, h.weights = count, h.n = shown, h.bins = shown, h.align_zero = true;
        chart.log_y = !way, chart.width = 700;
        if (interp_chart_histogram(d->c->ctx, &chart, &h, &image[way])) return cli_fail_ctx(d->c);
    }
    if (beside(d, &image[0], &image[1])) return cli_fail_ctx(d->c);
    return keep(d, &image[0], "histogram.png", "comparison/histogram");
}

/* ---- of layers */

static int draw_bars(drawing *d, const char *title, const char *unit, const float *values,
                     const char *const *series, const uint32_t *colours, int n_series,
                     const char *name)
{
    interp_bars bars;
    interp_chart chart = chart_of(title, NULL, unit);
    interp_image image;
    char tag[96];
    memset(&bars, 0, sizeof bars);
    bars.values = values, bars.n_series = n_series, bars.n_groups = d->r.layers;
    bars.group_names = (const char *const *)d->names, bars.series_names = series;
    bars.colours = colours, bars.horizontal = d->r.layers > 12;
    bars.show_values = d->r.layers * n_series <= 24;
    if (bars.horizontal) chart.height = 160 + 14 * n_series * d->r.layers;
    if (interp_chart_bars(d->c->ctx, &chart, &bars, &image)) return cli_fail_ctx(d->c);
    snprintf(tag, sizeof tag, "comparison/%.*s", (int)strcspn(name, "."), name);
    return keep(d, &image, name, tag);
}

static int draw_layer_bars(drawing *d)
{
    static const char *const totals[] = {"weights", "all parameters"};
    static const char *const parts[] = {"training", "validation", "training - validation"};
    static const char *const shares[] = {"helped", "of those that moved the loss", "by size"};
    static const char *const ginis[] = {"Gini of helping", "Gini of hurting", "top 1 % of helping",
                                        "share that does 90 % of helping"};
    static const char *const turns[] = {"sign of the gradient", "direction of the weight",
                                        "sign of the allocation", "turns of the allocation"};
    const int n = d->r.layers;
    float *v = take_floats(d, 16 * (size_t)n);
    if (!v) return no_memory();
    for (int k = 0; k < n; k++) {
        const interp_lca_figures *f = &d->l->figures[k];
        const double row[] = {f->kind[0],
                              f->total,
                              f->total,
                              f->val_total,
                              f->overfit,
                              100 * f->helped,
                              100 * f->helped_of_moved,
                              100 * f->helped_of_size,
                              f->gini_help,
                              f->gini_hurt,
                              f->top_share,
                              f->needed,
                              f->gradient_flips,
                              f->weight_turns,
                              f->lca_flips,
                              f->lca_turns};
        for (int i = 0; i < 16; i++)
            v[i * n + k] = (float)(i < 12 ? row[i] : 100 * row[i] / d->r.steps);
    }
    int code = draw_bars(d, "Sum over the run by layer; below zero it helped", d->l->unit, v,
                         totals, NULL, 2, "layers.png");
    if (!code && d->r.val_layer)
        code = draw_bars(d, "Training and validation; the difference is overfitting", d->l->unit,
                         v + 2 * n, parts, NULL, 3, "overfitting.png");
    if (!code)
        code = draw_bars(d, "How much of each layer helped, mean of all steps", "%", v + 5 * n,
                         shares, NULL, 3, "helped_layers.png");
    if (!code)
        code = draw_bars(d, "How few parameters do how much", "share", v + 8 * n, ginis, NULL, 4,
                         "gini.png");
    if (!code)
        code = draw_bars(d, "How often it goes the other way than a step before", "% of steps",
                         v + 12 * n, turns, NULL, 4, "oscillation.png");
    return code;
}

/* Cumulative sums of the layers; those of validation dotted. */
static int draw_layer_curves(drawing *d)
{
    const int n = d->r.steps, layers = d->r.layers, sets = d->r.val_layer ? 2 : 1;
    float *y = take_floats(d, (size_t)(sets * layers) * (size_t)n);
    interp_series *s = (interp_series *)take(d, (size_t)(sets * layers), sizeof *s);
    interp_chart chart = chart_of("What each layer has done so far", "step", d->l->unit);
    static const float zero = 0;
    interp_image image;
    if (!y || !s) return no_memory();
    if (sets == 2) chart.title = "What each layer has done so far (dotted: validation)";
    for (int v = 0; v < sets; v++)
        for (int k = 0; k < layers; k++) {
            float *to = y + (size_t)(v * layers + k) * (size_t)n;
            double sum = 0;
            for (int t = 0; t < n; t++) {
                sum += (v ? d->r.val_layer : d->r.layer)[t * layers + k];
                to[t] = (float)sum;
            }
            s[v * layers + k] = line_of(d, v ? NULL : d->names[k], to);
            s[v * layers + k].rgb = interp_category_rgb(k);
            if (v) s[v * layers + k].style = INTERP_SERIES_DOTTED;
        }
    chart.h_lines = &zero, chart.n_h_lines = 1;
    if (interp_chart_lines(d->c->ctx, &chart, s, sets * layers, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "trajectories_layers.png", "comparison/trajectories_layers");
}

/* Peaks of each layer as dots, above the smoothed sums divided by the lowest of each. */
static int draw_peaks(drawing *d)
{
    const int n = d->r.steps, layers = d->r.layers, top = d->l->top;
    float *x = take_floats(d, (size_t)(layers * top)), *y = take_floats(d, (size_t)(layers * top));
    float *raw = take_floats(d, (size_t)n), *curve = take_floats(d, (size_t)layers * (size_t)n);
    interp_series *s = (interp_series *)take(d, (size_t)layers, sizeof *s);
    interp_chart chart = chart_of(NULL, "step", "sum of the step / lowest");
    char title[240];
    interp_image a, b;
    if (!x || !y || !s || !raw || !curve) return no_memory();
    for (int k = 0; k < layers; k++) {
        double lowest = 0;
        for (int t = 0; t < n; t++) raw[t] = (float)d->r.layer[t * layers + k];
        smooth(raw, n, curve + (size_t)k * (size_t)n);
        for (int t = 0; t < n; t++)
            lowest = fmin(lowest, (double)curve[(size_t)k * (size_t)n + (size_t)t]);
        for (int t = 0; t < n && lowest < 0; t++)
            curve[(size_t)k * (size_t)n + (size_t)t] /= (float)-lowest;
        s[k] = line_of(d, d->names[k], curve + (size_t)k * (size_t)n);
    }
    chart.title = "Layers over time, mean of 5 steps, the lowest at -1";
    chart.width = 1200, chart.height = 420;
    if (interp_chart_lines(d->c->ctx, &chart, s, layers, &a)) return cli_fail_ctx(d->c);
    for (int k = 0; k < layers; k++) {
        int m = 0;
        for (int i = 0; i < top; i++)
            if (d->l->peaks[k * top + i] >= 0) {
                x[k * top + m] = (float)(d->l->peaks[k * top + i] + 1);
                y[k * top + m++] = (float)(k + 1);
            }
        memset(&s[k], 0, sizeof s[k]);
        s[k].name = d->names[k], s[k].x = x + k * top, s[k].y = y + k * top, s[k].n = m;
        s[k].style = INTERP_SERIES_POINTS, s[k].line_width = 5;
    }
    chart = chart_of(title, "step", "number of the layer");
    snprintf(
        title, sizeof title,
        "The %d peaks of each layer: %d pairs at one step; by chance %.1f (p = %.3g), within %d "
        "steps %.1f (p = %.3g)",
        top, d->l->synchrony.coincident, d->l->synchrony.expected, d->l->synchrony.p_value,
        d->l->reach, d->l->nearby.expected, d->l->nearby.p_value);
    chart.width = 1200, chart.height = 200 + 24 * layers;
    chart.x_min = 0, chart.x_max = (float)n, chart.y_min = 0.4f, chart.y_max = (float)layers + 0.6f;
    if (interp_chart_lines(d->c->ctx, &chart, s, layers, &b)) return cli_fail_ctx(d->c);
    interp_image both;
    if (interp_image_new(d->c->ctx, a.width, a.height + b.height, 0xffffff, &both))
        return cli_fail_ctx(d->c);
    interp_image_blit(&both, 0, 0, a.width, a.height, &a, INTERP_RESAMPLE_PIXELS);
    interp_image_blit(&both, 0, a.height, b.width, b.height, &b, INTERP_RESAMPLE_PIXELS);
    interp_image_free(d->c->ctx, &a), interp_image_free(d->c->ctx, &b);
    return keep(d, &both, "peaks.png", "comparison/peaks");
}

/* ---- of neurons, parameters, kernels */

typedef struct ranked {
    double total;
    int at;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    const ranked *x = (const ranked *)a, *y = (const ranked *)b;
    return x->total != y->total ? (x->total > y->total) - (x->total < y->total)
                                : (x->at > y->at) - (x->at < y->at);
}

/* Cumulative curves of the best of n columns of x[steps, n], and of random ones. */
static int draw_best(drawing *d, const char *what, const float *x, size_t n, int curves,
                     const char *name, const char *tag)
{
    ranked *order = (ranked *)take(d, n, sizeof *order);
    interp_series *s = (interp_series *)take(d, (size_t)curves, sizeof *s);
    static const float zero = 0;
    interp_image image[2];
    char title[2][96];
    if (!order || !s) return no_memory();
    if ((size_t)curves > n) curves = (int)n;
    for (size_t i = 0; i < n; i++) order[i].at = (int)i;
    for (int t = 0; t < d->r.steps; t++)
        for (size_t i = 0; i < n; i++) order[i].total += (double)x[(size_t)t * n + i];
    qsort(order, n, sizeof *order, compare_ranked);
    for (int way = 0; way < 2; way++) {
        interp_chart chart = chart_of(title[way], "step", d->l->unit);
        snprintf(title[way], 96, "%s %d %s: what they have done so far",
                 way ? "Random" : "The best", curves, what);
        for (int i = 0; i < curves; i++) {
            const size_t at = way ? interp_random_u32(d->c->seed, 0x5300000, (uint64_t)i) % n
                                  : (size_t)order[i].at;
            float *y = take_floats(d, (size_t)d->r.steps);
            double sum = 0;
            if (!y) return no_memory();
            for (int t = 0; t < d->r.steps; t++)
                y[t] = (float)(sum += (double)x[(size_t)t * n + at]);
            s[i] = line_of(d, NULL, y);
            s[i].line_width = 1.2f;
        }
        chart.width = 700, chart.h_lines = &zero, chart.n_h_lines = 1;
        if (interp_chart_lines(d->c->ctx, &chart, s, curves, &image[way]))
            return cli_fail_ctx(d->c);
    }
    if (beside(d, &image[0], &image[1])) return cli_fail_ctx(d->c);
    return keep(d, &image[0], name, tag);
}

/* Neurons by steps of each layer: green helps, red hurts. */
static int draw_neurons(drawing *d)
{
    const int n = d->r.steps, neurons = d->r.neurons;
    int *layer = (int *)take(d, (size_t)neurons, sizeof *layer);
    if (!layer) return no_memory();
    for (size_t i = 0; i < d->r.parameters; i++) layer[d->r.neuron_of[i]] = d->r.layer_of[i];
    for (int k = 0; k < d->r.layers; k++) {
        int count = 0;
        for (int i = 0; i < neurons; i++) count += layer[i] == k;
        float *v = (float *)malloc((size_t)count * (size_t)n * sizeof *v);
        interp_matrix m;
        interp_image image;
        char title[160], name[96], tag[96];
        if (!v) return no_memory();
        for (int i = 0, row = 0; i < neurons; i++) {
            if (layer[i] != k) continue;
            for (int t = 0; t < n; t++)
                v[(size_t)row * (size_t)n + (size_t)t] =
                    -d->r.neuron[(size_t)t * (size_t)neurons + (size_t)i];
            row++;
        }
        interp_chart chart = chart_of(title, "step", "neuron");
        snprintf(title, sizeof title, "%.60s: neurons that help (green) and hurt (red)",
                 d->names[k]);
        memset(&m, 0, sizeof m);
        m.values = v, m.rows = count, m.cols = n, m.symmetric = true, m.percentile = 99;
        m.colormap = INTERP_COLORMAP_RD_WH_GN, m.bar_label = "- allocation of the step";
        chart.width = 1200, chart.height = 200 + 6 * count;
        if (chart.height > 1200) chart.height = 1200;
        chart.x_min = 1, chart.x_max = (float)n;
        const interp_status status = interp_chart_matrix(d->c->ctx, &chart, &m, &image);
        free(v);
        if (status) return cli_fail_ctx(d->c);
        snprintf(tag, sizeof tag, "%.60s/neurons_by_step", d->names[k]);
        const int code = keep(d, &image, file_name(name, "neurons_", d->names[k], ".png"), tag);
        if (code) return code;
    }
    return CLI_DONE;
}

static int compare_sizes(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sums over the run of each number of the kernels of convolutions; the colours of a layer end at the
   99th percentile of all of them. */
static int draw_kernels(drawing *d)
{
    enum { most = 16 };
    const interp_net *net = d->l->net;
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info p = interp_net_parameter(net, i);
        const int *k = p.shape.dim;
        if (p.shape.rank != 4 || k[2] * k[3] < 2) continue;
        const int rows = k[0] < most || k[1] == 1 ? (k[0] < 64 ? k[0] : 64) : most,
                  cols = k[1] < most ? k[1] : most;
        const int side = cols == 1 && rows > 8 ? 8 : cols == 1 ? rows : cols;
        const int down = cols == 1 ? (rows + side - 1) / side : rows;
        interp_panel_cell *cells =
            (interp_panel_cell *)take(d, (size_t)(side * down), sizeof *cells);
        const size_t size = (size_t)k[2] * (size_t)k[3];
        float *v = take_floats(d, interp_shape_size(&p.shape));
        double *sorted = (double *)take(d, interp_shape_size(&p.shape), sizeof *sorted);
        interp_panel_desc desc;
        interp_image image;
        char title[200], name[96], tag[96];
        if (!cells || !v || !sorted) return no_memory();
        for (size_t j = 0; j < interp_shape_size(&p.shape); j++) {
            v[j] = (float)-d->r.total[p.offset + j];
            sorted[j] = fabs((double)v[j]);
        }
        qsort(sorted, interp_shape_size(&p.shape), sizeof *sorted, compare_sizes);
        const double end = sorted[(interp_shape_size(&p.shape) - 1) * 99 / 100];
        for (int o = 0; o < rows; o++)
            for (int c = 0; c < cols; c++) {
                interp_panel_cell *cell = &cells[cols == 1 ? o : o * side + c];
                cell->values = v + ((size_t)o * (size_t)k[1] + (size_t)c) * size;
                cell->height = k[2], cell->width = k[3], cell->colormap = INTERP_COLORMAP_RD_WH_GN;
                cell->min = (float)-end, cell->max = (float)end;
            }
        memset(&desc, 0, sizeof desc);
        snprintf(title, sizeof title, "%.60s: green helped, red hurt%s", p.name,
                 rows < k[0] || cols < k[1] ? " (the first of them)"
                 : cols == 1                ? ""
                                            : "; rows are output channels, columns input channels");
        desc.title = title, desc.cells = cells, desc.rows = down, desc.cols = side;
        desc.cell_size = cols == 1 ? 72 : 40;
        if (interp_panel_draw(d->c->ctx, &desc, &image)) return cli_fail_ctx(d->c);
        snprintf(tag, sizeof tag, "%.60s/kernels", d->names[d->r.layer_of[p.offset]]);
        const int code = keep(d, &image, file_name(name, "kernels_", p.name, ".png"), tag);
        if (code) return code;
    }
    return CLI_DONE;
}

/* What the weights of each input pixel did, as time goes by. */
static int draw_inputs(drawing *d)
{
    const interp_shape *in = &d->l->sample;
    const int frames = d->r.steps < FRAMES ? d->r.steps : FRAMES;
    const int channels = in->dim[0], pixels = in->dim[1] * in->dim[2];
    if (!d->r.input || !cli_is_image(in) || channels * pixels != d->r.inputs - 1) return CLI_DONE;
    float *v = take_floats(d, (size_t)frames * (size_t)pixels);
    interp_image image[FRAMES];
    char path[CLI_PATH], title[96];
    uint8_t *gif = NULL;
    size_t bytes = 0;
    interp_status status = INTERP_OK;
    if (!v) return no_memory();
    memset(image, 0, sizeof image);
    for (int t = 0; t < d->r.steps; t++)
        for (int i = 0; i < channels * pixels; i++)
            v[(size_t)((int64_t)t * frames / d->r.steps) * (size_t)pixels + (size_t)(i % pixels)] -=
                d->r.input[(size_t)t * (size_t)d->r.inputs + (size_t)i];
    for (int f = 0; f < frames && !status; f++) {
        double most = 0;
        interp_matrix m;
        interp_chart chart = chart_of(title, NULL, NULL);
        snprintf(title, sizeof title, "%s%d-%d", "Input pixels, steps ",
                 (int)(((int64_t)f * d->r.steps + frames - 1) / frames) + 1,
                 (int)(((int64_t)(f + 1) * d->r.steps + frames - 1) / frames));
        memset(&m, 0, sizeof m);
        m.values = v + (size_t)f * (size_t)pixels, m.rows = in->dim[1], m.cols = in->dim[2];
        m.colormap = INTERP_COLORMAP_RD_WH_GN, m.min = -1, m.max = 1;
        m.bar_label = "- allocation / the frame's largest";
        for (int i = 0; i < pixels; i++) most = fmax(most, fabs((double)m.values[i]));
        for (int i = 0; i < pixels && most > 0; i++) v[f * pixels + i] /= (float)most;
        chart.width = 460, chart.height = 400;
        status = interp_chart_matrix(d->c->ctx, &chart, &m, &image[f]);
    }
    if (!status) status = interp_image_gif(d->c->ctx, image, frames, 120, &gif, &bytes);
    for (int f = 0; f < frames; f++) interp_image_free(d->c->ctx, &image[f]);
    if (status) return cli_fail_ctx(d->c);
    const int code = cli_write(cli_path(path, d->folder, "inputs.gif"), gif, bytes);
    interp_free(d->c->ctx, gif);
    return code;
}

/* Sums by class and layer. */
static int draw_classes(drawing *d)
{
    const int classes = d->r.n_classes, layers = d->r.layers;
    float *v = take_floats(d, (size_t)(classes * layers));
    interp_matrix m;
    interp_image image;
    interp_chart chart = chart_of("Sum over the run by class and layer (green helped)", NULL, NULL);
    if (!classes) return CLI_DONE;
    if (!v) return no_memory();
    for (int t = 0; t < d->r.steps; t++)
        for (int i = 0; i < classes * layers; i++)
            v[i] -= (float)d->r.class_layer[t * classes * layers + i];
    memset(&m, 0, sizeof m);
    m.values = v, m.rows = classes, m.cols = layers, m.symmetric = true, m.show_values = true;
    m.row_names = d->l->classes, m.col_names = (const char *const *)d->names;
    m.bar_label = "- allocation";
    if (interp_chart_matrix(d->c->ctx, &chart, &m, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "classes.png", "comparison/classes");
}

/* ---- TensorBoard */

static interp_status scalar(drawing *d, const char *layer, const char *what, int step, double x)
{
    char tag[128];
    snprintf(tag, sizeof tag, "%.90s/%s", layer, what);
    return interp_tensorboard_scalar(d->tb, tag, step, (float)x);
}

/* Curves of every layer for every step; distributions of its neurons, at most 50 of them. */
static int write_events(drawing *d)
{
    const int layers = d->r.layers, every = (d->r.steps + 49) / 50;
    float *v = take_floats(d, d->r.parameters + (size_t)d->r.neurons);
    int *layer = (int *)take(d, (size_t)d->r.neurons, sizeof *layer);
    size_t *size = (size_t *)take(d, (size_t)layers, sizeof *size);
    interp_status s = INTERP_OK;
    char tag[128];
    if (!v || !layer || !size) return no_memory();
    for (size_t i = 0; i < d->r.parameters; i++) {
        layer[d->r.neuron_of[i]] = d->r.layer_of[i];
        size[d->r.layer_of[i]]++;
    }
    for (int t = 0; t < d->r.steps && !s; t++) {
        const interp_lca_step_info *info = &d->r.step[t];
        s = scalar(d, "all", "loss", t + 1, info->loss_after);
        if (!s) s = scalar(d, "all", "residual", t + 1, info->residual);
        if (!s && d->r.val_layer) s = scalar(d, "all", "validation_loss", t + 1, info->val_after);
        for (int k = 0; k < layers && !s; k++) {
            const int at = t * layers + k;
            s = scalar(d, d->names[k], "lca", t + 1, d->r.layer[at]);
            if (!s && d->r.val_layer)
                s = scalar(d, d->names[k], "validation_lca", t + 1, d->r.val_layer[at]);
            if (!s)
                s = scalar(d, d->names[k], "helped", t + 1,
                           (double)d->r.helped[at] / (double)size[k]);
            size_t n = 0;
            for (int i = 0; i < d->r.neurons && t % every == 0; i++)
                if (layer[i] == k)
                    v[n++] = d->r.neuron[(size_t)t * (size_t)d->r.neurons + (size_t)i];
            snprintf(tag, sizeof tag, "%.90s/neurons", d->names[k]);
            if (n && !s) s = interp_tensorboard_histogram(d->tb, tag, t + 1, v, n, 0);
        }
    }
    for (int k = 0; k < layers && !s; k++) {
        size_t n = 0;
        for (size_t i = 0; i < d->r.parameters; i++)
            if (d->r.layer_of[i] == k) v[n++] = (float)d->r.total[i];
        snprintf(tag, sizeof tag, "%.90s/parameters", d->names[k]);
        s = interp_tensorboard_histogram(d->tb, tag, d->r.steps, v, n, 60);
    }
    return s ? cli_fail_ctx(d->c) : CLI_DONE;
}

static int draw_all(drawing *d)
{
    int code = write_events(d);
    if (!code) code = draw_loss(d);
    if (!code) code = draw_helped(d);
    if (!code) code = draw_helped_histograms(d);
    if (!code) code = draw_histogram(d);
    if (!code) code = draw_layer_bars(d);
    if (!code) code = draw_layer_curves(d);
    if (!code) code = draw_peaks(d);
    if (!code) code = draw_neurons(d);
    if (!code)
        code = draw_best(d, "neurons", d->r.neuron, (size_t)d->r.neurons, 20,
                         "trajectories_neurons.png", "comparison/trajectories_neurons");
    if (!code && d->l->stored)
        code = draw_best(d, "parameters", d->l->stored, d->r.parameters, CURVES,
                         "trajectories_parameters.png", "comparison/trajectories_parameters");
    if (!code) code = draw_kernels(d);
    if (!code) code = draw_classes(d);
    if (!code) code = draw_inputs(d);
    return code;
}

int cli_lca_draw(cli *c, const cli_lca *l, const char *folder)
{
    char path[CLI_PATH];
    drawing d;
    memset(&d, 0, sizeof d);
    d.c = c, d.l = l, d.r = l->run, d.folder = folder, d.names = l->names;
    d.steps = take_floats(&d, (size_t)d.r.steps);
    if (!d.steps) return no_memory();
    for (int t = 0; t < d.r.steps; t++) d.steps[t] = (float)(t + 1);
    int code = cli_make_folder(cli_path(path, folder, "tensorboard"));
    if (!code && interp_tensorboard_open(c->ctx, path, NULL, &d.tb)) code = cli_fail_ctx(c);
    if (!code) code = draw_all(&d);
    interp_tensorboard_close(d.tb);
    while (d.blocks) {
        void *before = *(void **)d.blocks;
        free(d.blocks);
        d.blocks = before;
    }
    return code;
}

/* Pictures of a run of allocations, and the same for TensorBoard. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Curves of single parameters; steps of a mean; groups that fit into a picture; while training,
   histograms and moments with pictures. */
enum { CURVES = 50, SMOOTH = 5, MOST_GROUPS = 64, HISTOGRAMS = 50, MOMENTS = 8 };

#define HELPS 0x2a8c3cu

/* What is drawn, and the numbers it takes, which are freed together. */
typedef struct drawing {
    cli *c;
    const cli_lca *l;
    interp_lca_run r;
    const char *folder; /* NULL: for TensorBoard alone, the run is not over */
    char **names;       /* [groups] */
    float *steps;       /* [steps]: 1, 2, ... */
    int *layer;         /* [neurons]: layer of each */
    void *blocks;       /* each begins with the one before */
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

/* Writes a picture to TensorBoard, at the end as a file too, and frees it. */
static int keep(drawing *d, interp_image *image, const char *name, const char *tag)
{
    char path[CLI_PATH];
    if (interp_tensorboard_image(d->l->tb, tag, d->r.step[d->r.steps - 1].step, image, 1))
        return cli_fail_ctx(d->c);
    if (d->folder) return cli_write_image(d->c, image, cli_path(path, d->folder, name));
    interp_image_free(d->c->ctx, image);
    return CLI_DONE;
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
#define AT(field) offsetof(interp_lca_figures, field)
    static const size_t shown[] = {
        AT(kind[0]),        AT(total),        AT(total),           AT(val_total),
        AT(overfit),        AT(helped),       AT(helped_of_moved), AT(helped_of_size),
        AT(gini_help),      AT(gini_hurt),    AT(top_share),       AT(needed),
        AT(gradient_flips), AT(weight_turns), AT(lca_flips),       AT(lca_turns)};
#undef AT
    float *v = take_floats(d, 16 * (size_t)n);
    if (!v) return no_memory();
    for (int k = 0; k < n; k++)
        for (int i = 0; i < 16; i++) { /* shares as percentages; turns as those of all steps */
            const char *f = (const char *)&d->l->figures[k];
            const double scale = i >= 12 ? 100.0 / d->r.steps : i >= 5 && i < 8 ? 100 : 1;
            v[i * n + k] = (float)(scale * *(const double *)(const void *)(f + shown[i]));
        }
    int code = draw_bars(d, "Sum over the run; below zero it helped", d->l->unit, v, totals, NULL,
                         2, "layers.png");
    if (!code && d->r.val_layer)
        code = draw_bars(d, "Training and validation; the difference is overfitting", d->l->unit,
                         v + 2 * n, parts, NULL, 3, "overfitting.png");
    if (!code)
        code = draw_bars(d, "How much of each helped, mean of all steps", "%", v + 5 * n, shares,
                         NULL, 3, "helped_layers.png");
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
    interp_chart chart = chart_of("What each has done so far", "step", d->l->unit);
    static const float zero = 0;
    interp_image image;
    if (!y || !s) return no_memory();
    if (sets == 2) chart.title = "What each has done so far (dotted: validation)";
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
    chart.title = "Sums over time, mean of 5 steps, the lowest at -1";
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
    chart = chart_of(title, "step", "number of the curve");
    snprintf(title, sizeof title,
             "The %d peaks of each: %d pairs at one step; by chance %.1f (p = %.3g), within %d "
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
    for (int k = 0; k < d->l->layers.n; k++) {
        const char *layer = d->l->layers.names[k];
        int count = 0;
        for (int i = 0; i < neurons; i++) count += d->layer[i] == k;
        float *v = (float *)malloc((size_t)count * (size_t)n * sizeof *v);
        interp_matrix m;
        interp_image image;
        char title[160], name[96], tag[96];
        if (!v) return no_memory();
        for (int i = 0, row = 0; i < neurons; i++) {
            if (d->layer[i] != k) continue;
            for (int t = 0; t < n; t++)
                v[(size_t)row * (size_t)n + (size_t)t] =
                    -d->r.neuron[(size_t)t * (size_t)neurons + (size_t)i];
            row++;
        }
        interp_chart chart = chart_of(title, "step", "neuron");
        snprintf(title, sizeof title, "%.60s: neurons that help (green) and hurt (red)", layer);
        memset(&m, 0, sizeof m);
        m.values = v, m.rows = count, m.cols = n, m.symmetric = true, m.percentile = 99;
        m.colormap = INTERP_COLORMAP_RD_WH_GN, m.bar_label = "- allocation of the step";
        chart.width = 1200, chart.height = 200 + 6 * count;
        if (chart.height > 1200) chart.height = 1200;
        chart.x_min = 1, chart.x_max = (float)n;
        const interp_status status = interp_chart_matrix(d->c->ctx, &chart, &m, &image);
        free(v);
        if (status) return cli_fail_ctx(d->c);
        snprintf(tag, sizeof tag, "%.60s/neurons_by_step", layer);
        const int code = keep(d, &image, file_name(name, "neurons_", layer, ".png"), tag);
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
        snprintf(tag, sizeof tag, "%.60s/kernels", d->l->layers.names[d->l->layers.of[p.offset]]);
        const int code = keep(d, &image, file_name(name, "kernels_", p.name, ".png"), tag);
        if (code) return code;
    }
    return CLI_DONE;
}

/* ---- of input pixels */

/* Whether the inputs that a dense layer reads are the pixels of a picture. */
static bool reads_pixels(const cli_lca *l)
{
    const interp_shape *in = &l->data->shape;
    return l->run.inputs > 0 && cli_is_image(in) && l->run.inputs - 1 == (int)interp_shape_size(in);
}

/* Sums over the channels of a picture: in [channels, pixels] of every `stride` numbers. */
static void add_channels(const interp_shape *s, const float *in, float sign, float *out)
{
    const int pixels = s->dim[1] * s->dim[2];
    for (int i = 0; i < s->dim[0] * pixels; i++) out[i % pixels] += sign * in[i];
}

static double largest(const float *v, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)v[i]));
    return most;
}

/* Values of pixels over `most` as a heat map: from -1 to 1 for signed ones, else from 0. */
static interp_status draw_pixels(drawing *d, float *v, double most, bool is_signed,
                                 const char *title, const char *label, interp_image *image)
{
    const interp_shape *s = &d->l->data->shape;
    const int pixels = s->dim[1] * s->dim[2];
    interp_matrix m;
    interp_chart chart = chart_of(title, NULL, NULL);
    for (int i = 0; i < pixels && most > 0; i++) v[i] /= (float)most;
    memset(&m, 0, sizeof m);
    m.values = v, m.rows = s->dim[1], m.cols = s->dim[2], m.bar_label = label;
    m.colormap = is_signed ? INTERP_COLORMAP_RD_WH_GN : INTERP_COLORMAP_VIRIDIS;
    m.min = is_signed ? -1.0f : 0, m.max = 1;
    chart.width = 460, chart.height = 400;
    return interp_chart_matrix(d->c->ctx, &chart, &m, image);
}

/* Frames v [frames, pixels] as an animation; signed ones scaled each by itself. */
static int animate(drawing *d, float *v, int frames, bool is_signed, const char *what,
                   const char *label, const char *name)
{
    const size_t pixels = (size_t)d->l->data->shape.dim[1] * (size_t)d->l->data->shape.dim[2];
    interp_image image[CLI_FRAMES];
    char path[CLI_PATH], title[96];
    uint8_t *gif = NULL;
    size_t bytes = 0;
    interp_status status = INTERP_OK;
    const double most = largest(v, (size_t)frames * pixels);
    memset(image, 0, sizeof image);
    for (int f = 0; f < frames && !status; f++) {
        const int first = (int)(((int64_t)f * d->r.steps + frames - 1) / frames) + 1;
        const int last = (int)(((int64_t)(f + 1) * d->r.steps + frames - 1) / frames);
        if (is_signed) snprintf(title, sizeof title, "%s, steps %d-%d", what, first, last);
        else snprintf(title, sizeof title, "%s, step %d", what, last);
        float *at = v + (size_t)f * pixels;
        status = draw_pixels(d, at, is_signed ? largest(at, pixels) : most, is_signed, title, label,
                             &image[f]);
    }
    if (!status) status = interp_image_gif(d->c->ctx, image, frames, 120, &gif, &bytes);
    for (int f = 0; f < frames; f++) interp_image_free(d->c->ctx, &image[f]);
    if (status) return cli_fail_ctx(d->c);
    const int code = cli_write(cli_path(path, d->folder, name), gif, bytes);
    interp_free(d->c->ctx, gif);
    return code;
}

/* What the weights of each input pixel did, and how far they moved, as time goes by. */
static int draw_inputs(drawing *d)
{
    const interp_shape *in = &d->l->data->shape;
    const int frames = d->r.steps < CLI_FRAMES ? d->r.steps : CLI_FRAMES;
    if (!reads_pixels(d->l)) return CLI_DONE;
    const size_t pixels = (size_t)in->dim[1] * (size_t)in->dim[2], inputs = (size_t)d->r.inputs;
    float *v = take_floats(d, (size_t)frames * pixels), *w = take_floats(d, CLI_FRAMES * pixels);
    if (!v || !w) return no_memory();
    for (int t = 0; t < d->r.steps; t++)
        add_channels(in, d->r.input + (size_t)t * inputs, -1,
                     v + (size_t)((int64_t)t * frames / d->r.steps) * pixels);
    const int code = animate(d, v, frames, true, "Input pixels",
                             "- allocation / the frame's largest", "inputs.gif");
    const int moved = d->r.steps < d->l->steps ? 0 : frames; /* a training that stopped early */
    for (int f = 0; f < moved; f++)
        add_channels(in, d->l->weights + (size_t)f * inputs, 1, w + (size_t)f * pixels);
    if (code || !moved) return code;
    return animate(d, w, moved, false, "Weights by pixel", "distance moved / the largest",
                   "weights.gif");
}

/* The sums so far, for TensorBoard. */
static int draw_inputs_now(drawing *d)
{
    const interp_shape *in = &d->l->data->shape;
    interp_image image;
    if (!reads_pixels(d->l)) return CLI_DONE;
    float *v = take_floats(d, (size_t)in->dim[1] * (size_t)in->dim[2]);
    if (!v) return no_memory();
    for (int t = 0; t < d->r.steps; t++)
        add_channels(in, d->r.input + (size_t)t * (size_t)d->r.inputs, -1, v);
    const double most = largest(v, (size_t)in->dim[1] * (size_t)in->dim[2]);
    if (draw_pixels(d, v, most, true, "Input pixels so far", "- allocation / the largest", &image))
        return cli_fail_ctx(d->c);
    return keep(d, &image, "inputs.png", "input/pixels");
}

/* ---- of parts of the samples */

/* Sums by class and group. */
static int draw_classes(drawing *d)
{
    const int classes = d->r.n_parts, groups = d->r.layers;
    float *v = take_floats(d, (size_t)(classes * groups));
    interp_matrix m;
    interp_image image;
    interp_chart chart = chart_of("Sum over the run by class (green helped)", NULL, NULL);
    if (!v) return no_memory();
    for (int t = 0; t < d->r.steps; t++)
        for (int i = 0; i < classes * groups; i++)
            v[i] -= (float)d->r.part_layer[(size_t)t * (size_t)(classes * groups) + (size_t)i];
    memset(&m, 0, sizeof m);
    m.values = v, m.rows = classes, m.cols = groups, m.symmetric = true, m.show_values = true;
    m.row_names = (const char *const *)d->l->data->class_names;
    m.col_names = (const char *const *)d->names;
    m.bar_label = "- allocation";
    if (interp_chart_matrix(d->c->ctx, &chart, &m, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "classes.png", "comparison/classes");
}

/* What the loss of part i changed by in a step. */
static float part_change(const drawing *d, int t, int i)
{
    return (float)d->r.part_change[(size_t)t * (size_t)d->r.n_parts + (size_t)i];
}

typedef struct ranked_example {
    int label, at;
    float total;
} ranked_example;

static int compare_examples(const void *a, const void *b)
{
    const ranked_example *x = (const ranked_example *)a, *y = (const ranked_example *)b;
    if (x->label != y->label) return (x->label > y->label) - (x->label < y->label);
    return (x->total > y->total) - (x->total < y->total);
}

/* The loss of each example over time, by class, and in it by what it gained. */
static int draw_examples(drawing *d)
{
    const int n = d->r.n_parts, steps = d->r.steps;
    ranked_example *order = (ranked_example *)take(d, (size_t)n, sizeof *order);
    float *v = take_floats(d, (size_t)n * (size_t)steps);
    const char **names = (const char **)take(d, (size_t)n, sizeof *names + 16);
    interp_matrix m;
    interp_image image;
    interp_chart chart =
        chart_of("Loss of single examples: falls (green), rises (red)", "step", "example by class");
    if (!order || !v || !names) return no_memory();
    for (int i = 0; i < n; i++) {
        order[i].at = i, order[i].label = d->l->data->y[d->l->example[i]];
        for (int t = 0; t < steps; t++) order[i].total += part_change(d, t, i);
    }
    qsort(order, (size_t)n, sizeof *order, compare_examples);
    for (int i = 0; i < n; i++) {
        char *name = (char *)(names + n) + 16 * i;
        if (!d->l->data->class_names) snprintf(name, 16, "%d", order[i].label);
        else snprintf(name, 16, "%.15s", d->l->data->class_names[order[i].label]);
        names[i] = name;
        for (int t = 0; t < steps; t++)
            v[(size_t)i * (size_t)steps + (size_t)t] = -part_change(d, t, order[i].at);
    }
    memset(&m, 0, sizeof m);
    m.values = v, m.rows = n, m.cols = steps, m.symmetric = true, m.percentile = 98;
    m.row_names = names, m.colormap = INTERP_COLORMAP_RD_WH_GN;
    m.bar_label = "- share of the loss change";
    chart.width = 1200, chart.height = 200 + 6 * n;
    if (chart.height > 1200) chart.height = 1200;
    chart.x_min = 1, chart.x_max = (float)steps;
    if (interp_chart_matrix(d->c->ctx, &chart, &m, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "examples.png", "comparison/examples");
}

static int compare_totals(const void *a, const void *b)
{
    const ranked_example *x = (const ranked_example *)a, *y = (const ranked_example *)b;
    return x->total != y->total ? (x->total > y->total) - (x->total < y->total)
                                : (x->at > y->at) - (x->at < y->at);
}

/* The pictures whose loss fell most, and those it fell least for, or rose. */
static int draw_extremes(drawing *d)
{
    enum { cols = 10 };
    static const char *const rows[] = {"gained most", "gained least"};
    const interp_shape *s = &d->l->data->shape;
    const int n = d->r.n_parts;
    interp_panel_cell cells[2 * cols];
    char captions[2 * cols][32];
    interp_panel_desc desc;
    interp_image image;
    ranked_example *order = (ranked_example *)take(d, (size_t)n, sizeof *order);
    if (!order) return no_memory();
    if (!cli_is_image(s) || n < 2 * cols) return CLI_DONE;
    for (int i = 0; i < n; i++) {
        order[i].at = d->l->example[i], order[i].label = d->l->data->y[order[i].at];
        for (int t = 0; t < d->r.steps; t++) order[i].total += part_change(d, t, i);
    }
    qsort(order, (size_t)n, sizeof *order, compare_totals);
    memset(cells, 0, sizeof cells);
    memset(&desc, 0, sizeof desc);
    for (int i = 0; i < 2 * cols; i++) {
        const ranked_example *e = &order[i < cols ? i : n - 1 - (i - cols)];
        snprintf(captions[i], sizeof captions[i], "%d: %.2g", e->label,
                 (double)e->total * d->l->data->n);
        cells[i].values = d->l->data->x + (size_t)e->at * interp_shape_size(s);
        cells[i].channels = s->dim[0], cells[i].height = s->dim[1], cells[i].width = s->dim[2];
        cells[i].caption = captions[i];
    }
    desc.title = "Class and change of the loss of single examples over the run";
    desc.cells = cells, desc.rows = 2, desc.cols = cols, desc.row_labels = rows;
    if (interp_panel_draw(d->c->ctx, &desc, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "examples_extreme.png", "comparison/examples_extreme");
}

/* Cumulative sums along the directions; the rest goes far beyond them. */
static int draw_directions(drawing *d)
{
    const int n = d->l->n_along, steps = d->r.steps;
    if (!d->l->along || n > MOST_GROUPS) return CLI_DONE;
    float *y = take_floats(d, (size_t)n * (size_t)steps);
    interp_series *s = (interp_series *)take(d, (size_t)n, sizeof *s);
    char(*names)[24] = (char(*)[24])take(d, (size_t)n, sizeof *names);
    char title[120];
    interp_chart chart = chart_of(title, "step", d->l->unit);
    static const float zero = 0;
    interp_image image;
    if (!y || !s || !names) return no_memory();
    for (int k = 0; k < n; k++) {
        double sum = 0;
        for (int t = 0; t < steps; t++)
            y[k * steps + t] = (float)(sum += (double)d->l->along[t * n + k]);
        snprintf(names[k], sizeof names[k], "direction %d", k);
        s[k] = line_of(d, names[k], y + k * steps);
    }
    snprintf(title, sizeof title, "Along %d directions of most curvature; along the rest %.3g",
             n - 1, (double)y[n * steps - 1]);
    chart.h_lines = &zero, chart.n_h_lines = 1;
    if (interp_chart_lines(d->c->ctx, &chart, s, n - 1, &image)) return cli_fail_ctx(d->c);
    return keep(d, &image, "directions.png", "comparison/directions");
}

static int draw_parts(drawing *d)
{
    if (!d->r.n_parts) return CLI_DONE;
    if (!d->l->example) return d->r.layers > MOST_GROUPS ? CLI_DONE : draw_classes(d);
    const int code = draw_examples(d);
    return code ? code : draw_extremes(d);
}

/* ---- TensorBoard */

static interp_status scalar(const cli_lca *l, const char *group, const char *what, int64_t step,
                            double x)
{
    char tag[128];
    snprintf(tag, sizeof tag, "%.90s/%s", group, what);
    return interp_tensorboard_scalar(l->tb, tag, step, (float)x);
}

/* Curves of every group. */
static interp_status write_scalars(const cli_lca *l, const interp_lca_step_info *info)
{
    const interp_lca_run *r = &l->run;
    const int64_t t = info->step;
    double helped = 0;
    interp_status s = scalar(l, "all", "loss", t, info->loss_after);
    if (!s) s = scalar(l, "all", "residual", t, info->residual);
    if (!s) s = scalar(l, "all", "splits", t, info->splits);
    if (!s && r->val_layer) s = scalar(l, "all", "validation_loss", t, info->val_after);
    for (int k = 0; k < r->layers; k++) {
        const int at = (r->steps - 1) * r->layers + k;
        helped += r->helped[at];
        if (s || r->layers > MOST_GROUPS) continue;
        s = scalar(l, l->groups.names[k], "lca", t, r->layer[at]);
        if (!s && r->val_layer)
            s = scalar(l, l->groups.names[k], "validation_lca", t, r->val_layer[at]);
        if (!s)
            s = scalar(l, l->groups.names[k], "helped", t,
                       (double)r->helped[at] / (double)l->groups.size[k]);
    }
    return s ? s : scalar(l, "all", "helped", t, helped / (double)r->parameters);
}

/* Distributions of every layer: of the step's allocations, and of its neurons'; at the end of what
   each parameter did in all. step: NULL at the end. */
static int write_histograms(drawing *d, const interp_lca_step_info *step)
{
    const cli_groups *layers = &d->l->layers;
    const int64_t t = d->r.step[d->r.steps - 1].step;
    const float *neuron = d->r.neuron + (size_t)(d->r.steps - 1) * (size_t)d->r.neurons;
    float *v = take_floats(d, d->r.parameters + (size_t)d->r.neurons);
    interp_status s = INTERP_OK;
    char tag[128];
    if (!v) return no_memory();
    for (int k = 0; k < layers->n && !s; k++) {
        size_t n = 0;
        for (size_t i = 0; i < d->r.parameters; i++)
            if (layers->of[i] == k) v[n++] = (float)(!step ? d->r.total[i] : step->lca[i]);
        snprintf(tag, sizeof tag, "%.90s/%s", layers->names[k],
                 step ? "allocations" : "parameters");
        s = interp_tensorboard_histogram(d->l->tb, tag, t, v, n, 60);
        n = 0;
        for (int i = 0; i < d->r.neurons; i++)
            if (d->layer[i] == k) v[n++] = neuron[i];
        snprintf(tag, sizeof tag, "%.90s/neurons", layers->names[k]);
        if (n && !s && step) s = interp_tensorboard_histogram(d->l->tb, tag, t, v, n, 0);
    }
    return s ? cli_fail_ctx(d->c) : CLI_DONE;
}

/* ---- the whole */

static int draw_layers(drawing *d)
{
    if (d->r.layers > MOST_GROUPS) return CLI_DONE;
    int code = draw_layer_bars(d);
    if (!code) code = draw_layer_curves(d);
    return code ? code : draw_peaks(d);
}

static int draw_all(drawing *d)
{
    int code = write_histograms(d, NULL);
    if (!code) code = draw_loss(d);
    if (!code) code = draw_helped(d);
    if (!code) code = draw_helped_histograms(d);
    if (!code) code = draw_histogram(d);
    if (!code) code = draw_layers(d);
    if (!code) code = draw_neurons(d);
    if (!code)
        code = draw_best(d, "neurons", d->r.neuron, (size_t)d->r.neurons, 20,
                         "trajectories_neurons.png", "comparison/trajectories_neurons");
    if (!code && d->l->stored)
        code = draw_best(d, "parameters", d->l->stored, d->r.parameters, CURVES,
                         "trajectories_parameters.png", "comparison/trajectories_parameters");
    if (!code) code = draw_kernels(d);
    if (!code) code = draw_parts(d);
    if (!code) code = draw_directions(d);
    if (!code) code = draw_inputs_now(d);
    return code ? code : draw_inputs(d);
}

/* What is worth a look before the end. */
static int draw_now(drawing *d)
{
    int code = d->r.layers > MOST_GROUPS ? CLI_DONE : draw_layer_curves(d);
    if (!code) code = draw_neurons(d);
    if (!code) code = draw_kernels(d);
    return code ? code : draw_inputs_now(d);
}

static int begin(drawing *d, cli *c, const cli_lca *l, const char *folder)
{
    memset(d, 0, sizeof *d);
    d->c = c, d->l = l, d->r = l->run, d->folder = folder, d->names = l->groups.names;
    d->steps = take_floats(d, (size_t)d->r.steps);
    d->layer = (int *)take(d, (size_t)d->r.neurons, sizeof *d->layer);
    if (!d->steps || !d->layer) return no_memory();
    for (int t = 0; t < d->r.steps; t++) d->steps[t] = (float)(t + 1);
    for (size_t i = 0; i < d->r.parameters; i++) d->layer[d->r.neuron_of[i]] = l->layers.of[i];
    return CLI_DONE;
}

static void end(drawing *d)
{
    while (d->blocks) {
        void *before = *(void **)d->blocks;
        free(d->blocks);
        d->blocks = before;
    }
}

int cli_lca_open(cli *c, cli_lca *l, const char *folder)
{
    char path[CLI_PATH];
    const size_t inputs = (size_t)l->run.inputs;
    const int code = cli_make_folder(cli_path(path, folder, "tensorboard"));
    if (code) return code;
    if (interp_tensorboard_open(c->ctx, path, NULL, &l->tb)) return cli_fail_ctx(c);
    if (!reads_pixels(l)) return CLI_DONE;
    l->weights = (float *)interp_alloc(c->ctx, CLI_FRAMES * inputs * sizeof *l->weights);
    return l->weights ? cli_groups_open(c, l->net, "input", &l->inputs) : cli_fail_ctx(c);
}

/* Distance that the weights of each input have moved, at the last step of each frame. */
static void keep_weights(const cli_lca *l, int t)
{
    const int frames = l->steps < CLI_FRAMES ? l->steps : CLI_FRAMES;
    const int f = (int)((int64_t)(t - 1) * frames / l->steps);
    if (!l->weights || t > l->steps || (int64_t)t * frames / l->steps == f) return;
    const float *p = interp_net_parameters((interp_net *)(uintptr_t)l->net);
    float *w = l->weights + (size_t)f * (size_t)l->run.inputs;
    memset(w, 0, (size_t)l->run.inputs * sizeof *w);
    for (size_t i = 0; i < l->run.parameters; i++)
        w[l->inputs.of[i]] += (p[i] - l->first[i]) * (p[i] - l->first[i]);
    for (int i = 0; i < l->run.inputs; i++) w[i] = (float)sqrt((double)w[i]);
}

int cli_lca_step(cli *c, cli_lca *l, const interp_lca_step_info *step)
{
    const int t = l->run.steps;
    const bool histograms = (t - 1) % ((l->steps + HISTOGRAMS - 1) / HISTOGRAMS) == 0;
    const bool pictures = t < l->steps && t % ((l->steps + MOMENTS - 1) / MOMENTS) == 0;
    drawing d;
    if (!l->tb) return CLI_DONE;
    const size_t limit = interp_memory_read(c->ctx).limit; /* of the work, not of what is drawn */
    interp_memory_set_limit(c->ctx, 0);
    keep_weights(l, t);
    int code = write_scalars(l, step) ? cli_fail_ctx(c) : CLI_DONE;
    if (!code && (histograms || pictures)) {
        code = begin(&d, c, l, NULL);
        if (!code && histograms) code = write_histograms(&d, step);
        if (!code && pictures) code = draw_now(&d);
        end(&d);
    }
    interp_memory_set_limit(c->ctx, limit);
    return code;
}

int cli_lca_draw(cli *c, cli_lca *l, const char *folder)
{
    drawing d;
    if (!l->tb) return CLI_DONE;
    int code = begin(&d, c, l, folder);
    if (!code) code = draw_all(&d);
    end(&d);
    interp_tensorboard_close(l->tb);
    l->tb = NULL;
    return code;
}

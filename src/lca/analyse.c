/* ---- lca/analyse.c: figures over a run of allocations --------------------------------------------- */

/* What is kept of every step, in the order of itp_lca_rows. */
enum {
    ITP_LCA_INFO,
    ITP_LCA_LAYER,
    ITP_LCA_VAL,
    ITP_LCA_HELP,
    ITP_LCA_HELPED,
    ITP_LCA_ZERO,
    ITP_LCA_PART,
    ITP_LCA_CHANGE,
    ITP_LCA_NEURON,
    ITP_LCA_INPUT,
    ITP_LCA_SERIES
};

enum { ITP_LCA_TURNS = 4, ITP_LCA_DRAWS = 512 };
#define ITP_LCA_SAMPLE_STREAM 0x5100000u
#define ITP_LCA_SHIFT_STREAM  0x5200000u

struct interp_lca_analysis {
    interp_ctx *ctx;
    const interp_net *net;
    interp_lca_analysis_desc d;
    interp_lca_run r; /* what callers see */
    int32_t *layer_of, *neuron_of, *input_of;
    double *total, *val_total, *last;
    uint32_t *times_helped, *times_zero;
    signed char *sign[3]; /* [P]: of the last change, of A's last change, of the last gradient */
    uint64_t *turns;      /* [layers, TURNS]: gradient flips, weight turns, flips and turns of A */
    uint64_t *bins;
    float *sample;
    int draws, room;              /* numbers sampled of a step; steps there is room for */
    void *series[ITP_LCA_SERIES]; /* NULL: not kept */
    size_t row[ITP_LCA_SERIES];   /* bytes of a step */
    double *sums;                 /* [3, layers] and [neurons + inputs]: of this step */
    uint32_t *counts;             /* [2, layers] */
};

/* ---- memory */

ITP_FN interp_status itp_lca_reserve(interp_lca_analysis *a, int steps)
{
    void *bigger[ITP_LCA_SERIES];
    bool all = true;
    memset(bigger, 0, sizeof bigger);
    for (int i = 0; i < ITP_LCA_SERIES && all; i++)
        if (a->row[i]) {
            bigger[i] = interp_alloc(a->ctx, itp_mul_size((size_t)steps, a->row[i]));
            all = bigger[i] != NULL;
        }
    for (int i = 0; i < ITP_LCA_SERIES; i++) {
        if (all && a->row[i] && a->r.steps)
            memcpy(bigger[i], a->series[i], (size_t)a->r.steps * a->row[i]);
        interp_free(a->ctx, all ? a->series[i] : bigger[i]);
        if (all) a->series[i] = bigger[i];
    }
    if (all) a->room = steps;
    return all ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN interp_status itp_lca_arrays(interp_lca_analysis *a)
{
    interp_ctx *ctx = a->ctx;
    const size_t n = a->r.parameters, layers = (size_t)a->r.layers;
    const size_t units = (size_t)a->r.neurons + (size_t)a->r.inputs;
    a->total = (double *)itp_calloc(ctx, n, sizeof(double));
    a->last = (double *)itp_calloc(ctx, n, sizeof(double));
    a->times_helped = (uint32_t *)itp_calloc(ctx, n, sizeof(uint32_t));
    a->times_zero = (uint32_t *)itp_calloc(ctx, n, sizeof(uint32_t));
    a->sign[0] = (signed char *)itp_calloc(ctx, n, 3);
    a->turns = (uint64_t *)itp_calloc(ctx, layers, ITP_LCA_TURNS * sizeof(uint64_t));
    a->bins = (uint64_t *)itp_calloc(ctx, 2 * INTERP_LCA_BINS, sizeof(uint64_t));
    a->sample = (float *)interp_alloc(ctx, (size_t)a->d.sample * sizeof(float));
    a->sums = (double *)interp_alloc(ctx, (3 * layers + units) * sizeof(double));
    a->counts = (uint32_t *)interp_alloc(ctx, 2 * layers * sizeof(uint32_t));
    if (!a->total || !a->last || !a->times_helped || !a->times_zero || !a->sign[0] || !a->turns ||
        !a->bins || !a->sample || !a->sums || !a->counts)
        return INTERP_NO_MEMORY;
    a->sign[1] = a->sign[0] + n, a->sign[2] = a->sign[1] + n;
    if (!a->d.validation) return INTERP_OK;
    a->val_total = (double *)itp_calloc(ctx, n, sizeof(double));
    return a->val_total ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN interp_status itp_lca_grouped(interp_lca_analysis *a, interp_grouping how, int32_t **ids,
                                     int *count)
{
    *ids = (int32_t *)interp_alloc(a->ctx, itp_mul_size(a->r.parameters, sizeof **ids));
    if (!*ids) return INTERP_NO_MEMORY;
    return interp_net_groups(a->net, how, *ids, count, NULL);
}

ITP_FN interp_status itp_lca_analysis_make(interp_lca_analysis *a)
{
    interp_lca_analysis_desc *d = &a->d;
    if (!d->sample) d->sample = 65536;
    if (d->steps < 0 || d->n_parts < 0 || d->sample < 64 || (d->groups && d->n_groups < 1))
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "lca: %d steps, %d parts, a sample of %d, %d groups: must be from 0, 0, 64 and 1",
            d->steps, d->n_parts, d->sample, d->n_groups);
    a->r.parameters = a->net->n_flat, a->r.n_parts = d->n_parts;
    ITP_TRY(itp_lca_grouped(a, INTERP_BY_LAYER, &a->layer_of, &a->r.layers));
    for (size_t i = 0; d->groups && i < a->r.parameters; i++) {
        if (d->groups[i] < 0 || d->groups[i] >= d->n_groups)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "lca: parameter %zu is of group %d, of %d groups", i, (int)d->groups[i],
                            d->n_groups);
        a->layer_of[i] = d->groups[i];
    }
    if (d->groups) a->r.layers = d->n_groups;
    d->groups = NULL;
    ITP_TRY(itp_lca_grouped(a, INTERP_BY_NEURON, &a->neuron_of, &a->r.neurons));
    if (d->inputs) ITP_TRY(itp_lca_grouped(a, INTERP_BY_INPUT, &a->input_of, &a->r.inputs));
    ITP_TRY(itp_lca_arrays(a));
    const size_t layers = (size_t)a->r.layers;
    a->row[ITP_LCA_INFO] = sizeof(interp_lca_step_info);
    a->row[ITP_LCA_LAYER] = a->row[ITP_LCA_HELP] = layers * sizeof(double);
    a->row[ITP_LCA_VAL] = d->validation ? layers * sizeof(double) : 0;
    a->row[ITP_LCA_HELPED] = a->row[ITP_LCA_ZERO] = layers * sizeof(uint32_t);
    a->row[ITP_LCA_PART] = layers * (size_t)d->n_parts * sizeof(double);
    a->row[ITP_LCA_CHANGE] = (size_t)d->n_parts * sizeof(double);
    a->row[ITP_LCA_NEURON] = (size_t)a->r.neurons * sizeof(float);
    a->row[ITP_LCA_INPUT] = (size_t)a->r.inputs * sizeof(float);
    a->draws = itp_min(ITP_LCA_DRAWS, d->sample / 4);
    return itp_lca_reserve(a, d->steps ? d->steps : 64);
}

INTERP_API interp_status interp_lca_analysis_new(const interp_net *net,
                                                 const interp_lca_analysis_desc *desc,
                                                 interp_lca_analysis **out)
{
    interp_ctx *ctx = net->ctx;
    if (!net->built || !net->n_flat)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "lca: the network has no parameters");
    interp_lca_analysis *a = (interp_lca_analysis *)itp_calloc(ctx, 1, sizeof *a);
    if (!a) return INTERP_NO_MEMORY;
    a->ctx = ctx, a->net = net;
    if (desc) a->d = *desc;
    const interp_status status = itp_lca_analysis_make(a);
    if (status) interp_lca_analysis_free(a);
    else *out = a;
    return status;
}

INTERP_API void interp_lca_analysis_free(interp_lca_analysis *a)
{
    if (!a) return;
    interp_ctx *ctx = a->ctx;
    interp_free(ctx, a->layer_of), interp_free(ctx, a->neuron_of), interp_free(ctx, a->input_of);
    interp_free(ctx, a->total), interp_free(ctx, a->val_total), interp_free(ctx, a->last);
    interp_free(ctx, a->times_helped), interp_free(ctx, a->times_zero);
    interp_free(ctx, a->sign[0]), interp_free(ctx, a->turns), interp_free(ctx, a->bins);
    interp_free(ctx, a->sample), interp_free(ctx, a->sums), interp_free(ctx, a->counts);
    for (int i = 0; i < ITP_LCA_SERIES; i++) interp_free(ctx, a->series[i]);
    interp_free(ctx, a);
}

/* ---- a step */

ITP_FN int itp_lca_sign(double x)
{
    return (x > 0) - (x < 0);
}

ITP_FN double itp_lca_value(const interp_lca_analysis *a, const interp_lca_step_info *s, size_t i)
{
    return a->d.movement ? (double)s->moved[i] : s->lca[i];
}

/* Signs that are the other way round than a step before; they count for the parameter's layer. */
ITP_FN void itp_lca_turn(interp_lca_analysis *a, const interp_lca_step_info *s, size_t i, double v)
{
    uint64_t *turns = a->turns + (size_t)a->layer_of[i] * ITP_LCA_TURNS;
    const int moved = itp_lca_sign((double)s->moved[i]);
    const int gradient = itp_lca_sign(s->lca[i]) * moved;
    turns[0] += gradient * a->sign[2][i] < 0;
    turns[1] += moved * a->sign[0][i] < 0;
    a->sign[0][i] = (signed char)moved, a->sign[2][i] = (signed char)gradient;
    if (a->r.steps) {
        const int change = itp_lca_sign(v - a->last[i]);
        turns[2] += itp_lca_sign(v) * itp_lca_sign(a->last[i]) < 0;
        turns[3] += change * a->sign[1][i] < 0;
        a->sign[1][i] = (signed char)change;
    }
    a->last[i] = v;
}

/* Bins as wide as the largest magnitude needs: doubled, two into one. */
ITP_FN void itp_lca_widen(interp_lca_analysis *a, double most)
{
    uint64_t *up = a->bins + INTERP_LCA_BINS, *down = up - 1;
    if (a->r.bin_width == 0) a->r.bin_width = most / (INTERP_LCA_BINS / 2);
    while (most / a->r.bin_width >= INTERP_LCA_BINS) {
        for (int i = 0; i < INTERP_LCA_BINS; i++) {
            const int k = 2 * i;
            up[i] = k < INTERP_LCA_BINS ? up[k] + up[k + 1] : 0;
            down[-i] = k < INTERP_LCA_BINS ? down[-k] + down[-k - 1] : 0;
        }
        a->r.bin_width *= 2;
    }
}

ITP_FN void itp_lca_bin(interp_lca_analysis *a, const interp_lca_step_info *s)
{
    double most = 0;
    for (size_t i = 0; i < a->r.parameters; i++) most = fmax(most, fabs(itp_lca_value(a, s, i)));
    if (most < DBL_MIN * INTERP_LCA_BINS) return; /* no width to speak of */
    itp_lca_widen(a, most);
    for (size_t i = 0; i < a->r.parameters; i++) {
        const double v = itp_lca_value(a, s, i);
        const int k = (int)(fabs(v) / a->r.bin_width);
        if (v != 0) a->bins[v > 0 ? INTERP_LCA_BINS + k : INTERP_LCA_BINS - 1 - k]++;
    }
}

/* As many of each step; half of all go when there is no room for more. */
ITP_FN void itp_lca_sample(interp_lca_analysis *a, const interp_lca_step_info *s)
{
    const uint32_t n = (uint32_t)itp_min_size(a->r.parameters, UINT32_MAX);
    if (a->r.n_sample + (size_t)a->draws > (size_t)a->d.sample) {
        for (size_t i = 0; 2 * i < a->r.n_sample; i++) a->sample[i] = a->sample[2 * i];
        a->r.n_sample = (a->r.n_sample + 1) / 2;
        if (a->draws > 1) a->draws /= 2;
    }
    for (int i = 0; i < a->draws; i++) {
        const uint64_t stream = ITP_LCA_SAMPLE_STREAM + (uint64_t)a->r.steps;
        const uint32_t k = itp_random_below(a->d.seed, stream, (uint64_t)i, n);
        a->sample[a->r.n_sample++] = (float)itp_lca_value(a, s, k);
    }
}

/* The pass over the parameters: sums of this step, and what is kept of each. */
ITP_FN void itp_lca_gather_step(interp_lca_analysis *a, const interp_lca_step_info *s)
{
    const size_t layers = (size_t)a->r.layers, units = (size_t)(a->r.neurons + a->r.inputs);
    double *sum = a->sums, *help = sum + layers, *val = help + layers, *neuron = val + layers;
    double *input = neuron + a->r.neurons;
    uint32_t *helped = a->counts, *zero = helped + layers;
    memset(a->sums, 0, (3 * layers + units) * sizeof *a->sums);
    memset(a->counts, 0, 2 * layers * sizeof *a->counts);
    for (size_t i = 0; i < a->r.parameters; i++) {
        const double v = itp_lca_value(a, s, i);
        const int32_t k = a->layer_of[i];
        sum[k] += v, neuron[a->neuron_of[i]] += v, a->total[i] += v;
        if (a->input_of) input[a->input_of[i]] += v;
        if (v < 0) help[k] += v, helped[k]++, a->times_helped[i]++;
        else if (v == 0) zero[k]++, a->times_zero[i]++;
        if (a->val_total) val[k] += s->val_lca[i], a->val_total[i] += s->val_lca[i];
        itp_lca_turn(a, s, i, v);
    }
}

ITP_FN void *itp_lca_row(const interp_lca_analysis *a, int which)
{
    return (char *)a->series[which] + (size_t)a->r.steps * a->row[which];
}

INTERP_API interp_status interp_lca_analysis_step(const interp_lca_step_info *s, void *analysis)
{
    interp_lca_analysis *a = (interp_lca_analysis *)analysis;
    const size_t layers = (size_t)a->r.layers;
    if (!s->lca || !s->moved || (a->val_total && !s->val_lca) || (a->d.n_parts && !s->parts))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "lca: the step has no allocations%s%s",
                        a->val_total ? ", of validation" : "", a->d.n_parts ? ", by part" : "");
    if (a->r.steps == a->room) {
        if (a->room > INT_MAX / 2) return itp_fail(a->ctx, INTERP_NO_MEMORY, "lca: too many steps");
        ITP_TRY(itp_lca_reserve(a, 2 * a->room));
    }
    itp_lca_gather_step(a, s);
    itp_lca_bin(a, s);
    itp_lca_sample(a, s);
    interp_lca_step_info *info = (interp_lca_step_info *)itp_lca_row(a, ITP_LCA_INFO);
    *info = *s;
    info->lca = info->val_lca = info->parts = info->part_change = NULL, info->moved = NULL;
    memcpy(itp_lca_row(a, ITP_LCA_LAYER), a->sums, layers * sizeof(double));
    memcpy(itp_lca_row(a, ITP_LCA_HELP), a->sums + layers, layers * sizeof(double));
    if (a->val_total)
        memcpy(itp_lca_row(a, ITP_LCA_VAL), a->sums + 2 * layers, layers * sizeof(double));
    memcpy(itp_lca_row(a, ITP_LCA_HELPED), a->counts, layers * sizeof(uint32_t));
    memcpy(itp_lca_row(a, ITP_LCA_ZERO), a->counts + layers, layers * sizeof(uint32_t));
    if (a->d.n_parts) {
        memcpy(itp_lca_row(a, ITP_LCA_PART), s->parts, a->row[ITP_LCA_PART]);
        memcpy(itp_lca_row(a, ITP_LCA_CHANGE), s->part_change, a->row[ITP_LCA_CHANGE]);
    }
    float *neuron = (float *)itp_lca_row(a, ITP_LCA_NEURON);
    for (int i = 0; i < a->r.neurons; i++) neuron[i] = (float)a->sums[3 * layers + (size_t)i];
    float *input = a->r.inputs ? (float *)itp_lca_row(a, ITP_LCA_INPUT) : NULL;
    const double *inputs = a->sums + 3 * layers + a->r.neurons;
    for (int i = 0; i < a->r.inputs; i++) input[i] = (float)inputs[i];
    a->r.steps++;
    return INTERP_OK;
}

INTERP_API interp_lca_run interp_lca_analysis_run(const interp_lca_analysis *a)
{
    interp_lca_run r = a->r;
    r.layer_of = a->layer_of, r.neuron_of = a->neuron_of;
    r.step = (const interp_lca_step_info *)a->series[ITP_LCA_INFO];
    r.layer = (const double *)a->series[ITP_LCA_LAYER];
    r.val_layer = (const double *)a->series[ITP_LCA_VAL];
    r.help = (const double *)a->series[ITP_LCA_HELP];
    r.helped = (const uint32_t *)a->series[ITP_LCA_HELPED];
    r.zero = (const uint32_t *)a->series[ITP_LCA_ZERO];
    r.part_layer = (const double *)a->series[ITP_LCA_PART];
    r.part_change = (const double *)a->series[ITP_LCA_CHANGE];
    r.neuron = (const float *)a->series[ITP_LCA_NEURON];
    r.input = (const float *)a->series[ITP_LCA_INPUT];
    r.total = a->total, r.val_total = a->val_total;
    r.times_helped = a->times_helped, r.times_zero = a->times_zero;
    r.sample = a->sample, r.bins = a->bins;
    return r;
}

/* ---- figures */

ITP_FN int itp_lca_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Gini's coefficient of x[n], sorted upwards. */
ITP_FN double itp_lca_gini(const double *x, size_t n)
{
    double sum = 0, weighted = 0;
    for (size_t k = 0; k < n; k++) {
        sum += x[k];
        weighted += (2 * (double)k + 1 - (double)n) * x[k];
    }
    return weighted / ((double)n * sum);
}

/* The totals of a layer on one side of zero as magnitudes, sorted upwards. */
ITP_FN size_t itp_lca_side(const interp_lca_analysis *a, int layer, double side, double *x)
{
    size_t n = 0;
    for (size_t i = 0; i < a->r.parameters; i++)
        if ((layer < 0 || a->layer_of[i] == layer) && side * a->total[i] > 0)
            x[n++] = side * a->total[i];
    itp_sort(x, n, sizeof *x, itp_lca_compare);
    return n;
}

ITP_FN void itp_lca_concentration(const interp_lca_analysis *a, int layer, double *x,
                                  interp_lca_figures *f)
{
    size_t n = itp_lca_side(a, layer, 1, x);
    f->hurting = (double)n / (double)f->parameters;
    f->gini_hurt = itp_lca_gini(x, n);
    n = itp_lca_side(a, layer, -1, x);
    f->gini_help = itp_lca_gini(x, n);
    double sum = 0, part = 0;
    size_t top = (n + 99) / 100, needed = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    for (size_t i = 0; i < top; i++) part += x[n - 1 - i];
    f->top_share = part / sum;
    for (part = 0; needed < n && part < 0.9 * sum; needed++) part += x[n - 1 - needed];
    f->needed = (double)needed / (double)n;
}

/* Shares over all steps, and turns. */
ITP_FN void itp_lca_shares(const interp_lca_analysis *a, int layer, interp_lca_figures *f)
{
    const interp_lca_run r = interp_lca_analysis_run(a);
    const double n = (double)f->parameters, all = n * r.steps;
    double helped = 0, zero = 0, help = 0, sum = 0, turns[ITP_LCA_TURNS] = {0};
    for (int t = 0; t < r.steps; t++) {
        double here = 0;
        for (int k = 0; k < r.layers; k++) {
            const size_t at = (size_t)t * (size_t)r.layers + (size_t)k;
            if (layer >= 0 && k != layer) continue;
            here += r.helped[at], zero += r.zero[at], help -= r.help[at], sum += r.layer[at];
        }
        helped += here;
        f->most_helped = fmax(f->most_helped, here / n);
    }
    for (int k = 0; k < r.layers; k++)
        for (int i = 0; i < ITP_LCA_TURNS && (layer < 0 || k == layer); i++)
            turns[i] += (double)a->turns[k * ITP_LCA_TURNS + i] / n;
    f->helped = helped / all, f->zero = zero / all, f->hurt = (all - helped - zero) / all;
    f->helped_of_moved = helped / (all - zero);
    f->helped_of_size = help / (2 * help + sum); /* sum = hurt - help */
    f->gradient_flips = turns[0], f->weight_turns = turns[1];
    f->lca_flips = turns[2], f->lca_turns = turns[3];
}

INTERP_API interp_status interp_lca_analysis_figures(const interp_lca_analysis *a, int layer,
                                                     interp_lca_figures *figures)
{
    interp_lca_figures f;
    memset(&f, 0, sizeof f);
    if (layer < -1 || layer >= a->r.layers)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "lca: layer %d of %d", layer, a->r.layers);
    double *x = (double *)interp_alloc(a->ctx, itp_mul_size(a->r.parameters, sizeof *x));
    if (!x) return INTERP_NO_MEMORY;
    for (int i = 0; i < a->net->n_params; i++) {
        const interp_parameter_info p = interp_net_parameter(a->net, i);
        const size_t n = interp_shape_size(&p.shape);
        const int kind = itp_kind_of(a->net, a->net->params[i]);
        for (size_t k = p.offset; k < p.offset + n; k++) {
            if (layer >= 0 && a->layer_of[k] != layer) continue;
            f.parameters++;
            f.kind[kind] += a->total[k];
            if (a->val_total) f.val_total += a->val_total[k];
        }
    }
    f.total = f.kind[0] + f.kind[1] + f.kind[2];
    if (!a->val_total) f.val_total = (double)NAN;
    f.overfit = f.total - f.val_total;
    itp_lca_concentration(a, layer, x, &f);
    itp_lca_shares(a, layer, &f);
    interp_free(a->ctx, x);
    *figures = f;
    return INTERP_OK;
}

/* ---- tails */

/* sum |x|^c log|x| / sum |x|^c - 1/c - mean log|x|, which grows with c; log[n]: of |x| over its largest. */
ITP_FN double itp_lca_score(const double *log_x, size_t n, double c, double *mean_power)
{
    double sum = 0, power = 0, weighted = 0;
    for (size_t i = 0; i < n; i++) {
        const double p = exp(c * log_x[i]);
        sum += log_x[i], power += p, weighted += p * log_x[i];
    }
    *mean_power = power / (double)n;
    return weighted / power - 1 / c - sum / (double)n;
}

INTERP_API interp_status interp_lca_tail_fit(interp_ctx *ctx, const float *values, size_t n,
                                             interp_lca_tail *tail)
{
    interp_lca_tail t;
    double low = 1e-3, high = 100, power = 0, largest = 0;
    memset(&t, 0, sizeof t);
    t.shape = t.scale = t.distance = (double)NAN;
    double *x = (double *)interp_alloc(ctx, itp_mul_size(n + 1, sizeof *x));
    if (!x) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        const double v = fabs((double)values[i]);
        if (v > 0 && v - v == 0) x[t.n++] = log(v);
    }
    itp_sort(x, t.n, sizeof *x, itp_lca_compare);
    if (t.n) largest = x[t.n - 1];
    for (size_t i = 0; i < t.n; i++) x[i] -= largest;
    if (t.n > 1) {
        while (high / low > 1 + 1e-10) {
            const double c = sqrt(low * high);
            if (itp_lca_score(x, t.n, c, &power) < 0) low = c;
            else high = c;
        }
        t.shape = sqrt(low * high);
        itp_lca_score(x, t.n, t.shape, &power);
        t.scale = exp(largest + log(power) / t.shape);
        t.distance = 0;
        for (size_t i = 0; i < t.n; i++) {
            const double f = -expm1(-exp(t.shape * x[i]) / power), m = (double)t.n;
            t.distance =
                fmax(t.distance, fmax(fabs(f - (double)i / m), fabs((double)(i + 1) / m - f)));
        }
    }
    interp_free(ctx, x);
    *tail = t;
    return INTERP_OK;
}

/* ---- peaks */

/* The lowest `top` local minima below zero of one series, in time's order; -1 fills what is left. */
ITP_FN int itp_lca_peaks_of(const double *series, int steps, int n_series, int top, int32_t *peaks)
{
    int n = 0;
    for (int t = 1; t + 1 < steps; t++) {
        const double v = series[(size_t)t * (size_t)n_series];
        if (!(v < 0 && v < series[(size_t)(t - 1) * (size_t)n_series] &&
              v < series[(size_t)(t + 1) * (size_t)n_series]))
            continue;
        int at = n; /* the place of the new one; a full list drops its highest */
        if (n == top) {
            int highest = 0;
            for (int i = 1; i < top; i++)
                if (series[(size_t)peaks[i] * (size_t)n_series] >
                    series[(size_t)peaks[highest] * (size_t)n_series])
                    highest = i;
            if (!(v < series[(size_t)peaks[highest] * (size_t)n_series])) continue;
            memmove(peaks + highest, peaks + highest + 1,
                    (size_t)(top - 1 - highest) * sizeof *peaks);
            at = --n;
        }
        peaks[at] = t, n++;
    }
    for (int i = n; i < top; i++) peaks[i] = -1;
    return n;
}

/* Pairs of peaks at one step, each series shifted by shift[series]; count[steps] is zero before and
   after. */
ITP_FN int itp_lca_pairs(const int32_t *peaks, int n_series, int top, int steps, const int *shift,
                         int *count)
{
    int pairs = 0;
    for (int k = 0; k < n_series; k++)
        for (int i = 0; i < top && peaks[k * top + i] >= 0; i++)
            pairs += count[(peaks[k * top + i] + shift[k]) % steps]++;
    for (int k = 0; k < n_series; k++)
        for (int i = 0; i < top && peaks[k * top + i] >= 0; i++)
            count[(peaks[k * top + i] + shift[k]) % steps] = 0;
    return pairs;
}

INTERP_API interp_status interp_lca_peaks(interp_ctx *ctx, const double *series, int steps,
                                          int n_series, const interp_lca_peaks_desc *desc,
                                          int32_t *peaks, interp_lca_synchrony *synchrony)
{
    interp_lca_synchrony s;
    const int top = desc && desc->top ? desc->top : 20;
    const int shifts = desc && desc->shifts ? desc->shifts : 999;
    const int reach = desc ? desc->reach : 0;
    double sum = 0, as_many = 0;
    memset(&s, 0, sizeof s);
    if (steps < 1 || n_series < 1 || n_series > 100000 || top < 1 || top > 10000 || shifts < 1 ||
        reach < 0 || 2 * reach >= steps)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "lca peaks: %d steps of %d series, the top %d, %d shifts of up to %d (0: any)", steps,
            n_series, top, shifts, reach);
    const size_t m = (size_t)n_series * (size_t)top;
    int32_t *of = (int32_t *)interp_alloc(ctx, m * sizeof *of);
    int *shift = (int *)itp_calloc(ctx, (size_t)n_series, sizeof *shift);
    int *count = (int *)itp_calloc(ctx, (size_t)steps, sizeof *count);
    if (of && shift && count) {
        for (int k = 0; k < n_series; k++)
            s.peaks +=
                itp_lca_peaks_of(series + k, steps, n_series, top, of + (size_t)k * (size_t)top);
        s.coincident = itp_lca_pairs(of, n_series, top, steps, shift, count);
        for (int i = 0; i < shifts; i++) {
            for (int k = 0; k < n_series; k++) {
                const int by =
                    (int)itp_random_below(desc ? desc->seed : 0, ITP_LCA_SHIFT_STREAM + (uint64_t)i,
                                          (uint64_t)k, (uint32_t)(reach ? 2 * reach + 1 : steps));
                shift[k] = reach ? (by - reach + steps) % steps : by;
            }
            const int pairs = itp_lca_pairs(of, n_series, top, steps, shift, count);
            sum += pairs, as_many += pairs >= s.coincident;
        }
        s.expected = sum / shifts, s.p_value = (1 + as_many) / (1.0 + shifts);
        if (peaks) memcpy(peaks, of, m * sizeof *peaks);
        *synchrony = s;
    }
    const bool done = of && shift && count;
    interp_free(ctx, of), interp_free(ctx, shift), interp_free(ctx, count);
    return done ? INTERP_OK : INTERP_NO_MEMORY;
}

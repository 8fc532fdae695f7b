/* ---- attr/evaluate.c: how good an attribution is ------------------------------------------------- */

#define ITP_ROAD_LEVELS 9 /* shares of 10 to 90 % that are removed */

typedef struct itp_evaluate {
    interp_score_desc d; /* defaults filled in */
    const float *attribution;
    interp_scores *out;
    float *curves;
    int channels, height, width; /* a pixel is a number of each channel */
    size_t pixels;
    int rows; /* forward passes of each sample */
} itp_evaluate;

/* Where the rows of the parts begin: perturbations, curves, levels of ROAD. */
ITP_FN int itp_evaluate_curves(const itp_evaluate *e)
{
    return e->d.n_perturbations;
}

ITP_FN int itp_evaluate_road(const itp_evaluate *e)
{
    return e->d.n_perturbations + 2 * (e->d.steps + 1);
}

/* ---- order of pixels, the most relevant first */

ITP_FN bool itp_pixel_after(const float *key, int a, int b)
{
    return key[a] != key[b] ? key[a] < key[b] : a > b;
}

ITP_FN void itp_pixel_sift(const float *key, int *order, size_t at, size_t n)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && itp_pixel_after(key, order[child + 1], order[child])) child++;
        if (!itp_pixel_after(key, order[child], order[at])) return;
        const int t = order[at];
        order[at] = order[child];
        order[child] = t;
        at = child;
    }
}

/* Heap sort: the C library's may allocate. */
ITP_FN void itp_pixel_sort(const float *key, int *order, size_t n)
{
    for (size_t i = 0; i < n; i++) order[i] = (int)i;
    for (size_t i = n / 2; i-- > 0;) itp_pixel_sift(key, order, i, n);
    for (size_t end = n; end-- > 1;) {
        const int t = order[0];
        order[0] = order[end];
        order[end] = t;
        itp_pixel_sift(key, order, 0, end);
    }
}

/* Sum of a sample's attribution over the channels of each pixel. */
ITP_FN void itp_pixel_sums(const itp_evaluate *e, const float *a, float *sum)
{
    memset(sum, 0, e->pixels * sizeof *sum);
    for (int c = 0; c < e->channels; c++)
        for (size_t i = 0; i < e->pixels; i++) sum[i] += a[(size_t)c * e->pixels + i];
}

/* ---- removed pixels by those around them (Rong et al. 2022) */

/* Weighted mean of the eight neighbours: 1/6 for those beside, 1/12 for those at corners. */
ITP_FN double itp_road_mean(const itp_evaluate *e, const float *x, int y0, int x0)
{
    double sum = 0, weights = 0;
    for (int dy = -1; dy <= 1; dy++)
        for (int dx = -1; dx <= 1; dx++) {
            const int y = y0 + dy, k = x0 + dx;
            const double w = dy && dx ? 1.0 / 12 : 1.0 / 6;
            if ((!dy && !dx) || y < 0 || y >= e->height || k < 0 || k >= e->width) continue;
            sum += w * (double)x[y * e->width + k];
            weights += w;
        }
    return weights > 0 ? sum / weights : 0;
}

/* Replaces the first or last `count` pixels of the order by the solution of the linear system that
   makes each the mean of its neighbours, and a little noise. */
ITP_FN void itp_road_fill(const itp_evaluate *e, const int *order, size_t count, bool last,
                          uint64_t stream, float *x)
{
    const int *from = order + (last ? e->pixels - count : 0);
    for (int c = 0; c < e->channels; c++) {
        float *plane = x + (size_t)c * e->pixels;
        double mean = 0, low = (double)plane[0], high = low;
        for (size_t i = 0; i < e->pixels; i++) {
            mean += (double)plane[i] / (double)e->pixels;
            low = fmin(low, (double)plane[i]), high = fmax(high, (double)plane[i]);
        }
        for (size_t i = 0; i < count; i++) plane[from[i]] = (float)mean;
        for (int sweep = 0; sweep < 200; sweep++) { /* successive over-relaxation */
            double moved = 0;
            for (size_t i = 0; i < count; i++) {
                const int at = from[i];
                const double step = 1.7 * (itp_road_mean(e, plane, at / e->width, at % e->width) -
                                           (double)plane[at]);
                plane[at] += (float)step;
                moved = fmax(moved, fabs(step));
            }
            if (moved <= 1e-4 * (high - low)) break;
        }
        for (size_t i = 0; i < count; i++)
            plane[from[i]] +=
                (float)(0.01 * (high - low)) *
                interp_random_normal(e->d.seed, 0x3600000u + stream, (uint64_t)c * e->pixels + i);
    }
}

/* ---- rows */

ITP_FN float itp_evaluate_noise(const itp_evaluate *e, int sample, int k, size_t i, size_t size)
{
    const size_t row = (size_t)sample * (size_t)e->d.n_perturbations + (size_t)k;
    if (e->d.perturbations) return e->d.perturbations[row * size + i];
    return e->d.perturbation_sd * interp_random_normal(e->d.seed, 0x3500000u, row * size + i);
}

/* Numbers of the first or last `count` pixels of the order from elsewhere, or zeros. */
ITP_FN void itp_evaluate_swap(const itp_evaluate *e, const int *order, size_t count,
                              const float *from, float *to)
{
    for (int c = 0; c < e->channels; c++)
        for (size_t i = 0; i < count; i++) {
            const size_t at = (size_t)c * e->pixels + (size_t)order[i];
            to[at] = from ? from[at] : 0;
        }
}

/* Row r of a sample, into a slot. */
ITP_FN void itp_evaluate_row(const itp_attr *a, const itp_evaluate *e, int sample, int r,
                             const int *order, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    const int curve = r - itp_evaluate_curves(e), level = r - itp_evaluate_road(e);
    memcpy(to, x, a->size * sizeof *to);
    if (curve < 0) {
        for (size_t i = 0; i < a->size; i++) to[i] -= itp_evaluate_noise(e, sample, r, i, a->size);
    } else if (level < 0) { /* deletion takes away from x, insertion adds to the baseline */
        const bool insertion = curve > e->d.steps;
        const int step = insertion ? curve - e->d.steps - 1 : curve;
        const size_t count = (size_t)((double)e->pixels * step / e->d.steps + 0.5);
        if (insertion) itp_attr_put(a, x0, to);
        itp_evaluate_swap(e, order, count, insertion ? x : x0, to);
    } else {
        const size_t count =
            (size_t)((double)e->pixels * (level % ITP_ROAD_LEVELS + 1) / (ITP_ROAD_LEVELS + 1) +
                     0.5);
        itp_road_fill(e, order, count, level >= ITP_ROAD_LEVELS, (uint64_t)level, to);
    }
}

/* ---- scores */

/* Of the attribution alone: inequality and entropy of magnitudes. */
ITP_FN void itp_evaluate_shape(const itp_evaluate *e, const float *sums, const int *order,
                               interp_scores *out)
{
    double total = 0, weighted = 0, entropy = 0;
    const double n = (double)e->pixels;
    for (size_t i = 0; i < e->pixels; i++) total += fabs((double)sums[i]);
    for (size_t i = 0; i < e->pixels && total > 0; i++) {
        const double v = fabs((double)sums[order[i]]), p = v / total; /* falling */
        weighted += v / total * (n - (double)i - 0.5) / n;
        if (p > 0) entropy -= p * log(p);
    }
    out->sparseness = total > 0 ? 2 * weighted - 1 : 0;
    out->complexity = entropy;
}

/* Against the pixels where the object is. */
ITP_FN void itp_evaluate_mask(const itp_evaluate *e, const unsigned char *mask, const float *sums,
                              const int *order, interp_scores *out)
{
    double inside = 0, all = 0;
    size_t size = 0, hits = 0;
    for (size_t i = 0; i < e->pixels; i++) {
        const double v = fmax(0, (double)sums[i]);
        size += mask[i] != 0;
        all += v;
        if (mask[i]) inside += v;
    }
    for (size_t i = 0; i < size; i++) hits += mask[order[i]] != 0;
    out->pointing = mask[order[0]] != 0;
    out->mass = all > 0 ? inside / all : 0;
    out->rank = size ? (double)hits / (double)size : 0;
}

/* The scores of a sample from the outputs of its rows. */
ITP_FN void itp_evaluate_finish(const itp_attr *a, const itp_evaluate *e, int sample,
                                const double *y)
{
    const float *attr = e->attribution + (size_t)sample * a->size;
    interp_scores *out = &e->out[sample];
    const interp_attribution *r = &a->report[sample];
    const int steps = e->d.steps, curves = itp_evaluate_curves(e), road = itp_evaluate_road(e);
    double total = 0, square = 0;
    for (size_t i = 0; i < a->size; i++) total += (double)attr[i];
    out->completeness = total - (r->output - r->baseline_output);
    for (int k = 0; k < curves; k++) {
        double dot = 0;
        for (size_t i = 0; i < a->size; i++)
            dot += (double)itp_evaluate_noise(e, sample, k, i, a->size) * (double)attr[i];
        const double d = dot - (r->output - y[k]);
        square += d * d / curves;
    }
    out->infidelity = square;
    double *area[2] = {&out->deletion, &out->insertion};
    for (int c = 0; c < 2; c++) {
        const double *from = y + curves + c * (steps + 1);
        *area[c] = 0;
        for (int i = 0; i < steps; i++) *area[c] += 0.5 * (from[i] + from[i + 1]) / steps;
        for (int i = 0; i <= steps && e->curves; i++)
            e->curves[((size_t)sample * 2 + (size_t)c) * (size_t)(steps + 1) + (size_t)i] =
                (float)from[i];
    }
    out->road = 0;
    for (int i = 0; i < ITP_ROAD_LEVELS; i++)
        out->road += 0.5 * (y[road + ITP_ROAD_LEVELS + i] - y[road + i]) / ITP_ROAD_LEVELS;
}

ITP_FN interp_status itp_evaluate_run(itp_attr *a)
{
    const itp_evaluate *e = (const itp_evaluate *)a->user;
    float *sums = a->scratch;
    int *order = (int *)(void *)a->sum;
    for (int s = 0; s < a->n; s++) {
        interp_scores *out = &e->out[s];
        itp_pixel_sums(e, e->attribution + (size_t)s * a->size, sums);
        if (e->d.mask) {
            itp_pixel_sort(sums, order, e->pixels);
            itp_evaluate_mask(e, e->d.mask + (size_t)s * e->pixels, sums, order, out);
        }
        float *size = sums + itp_round_up(e->pixels, 16);
        for (size_t i = 0; i < e->pixels; i++) size[i] = fabsf(sums[i]);
        itp_pixel_sort(size, order, e->pixels);
        itp_evaluate_shape(e, sums, order, out);
        itp_pixel_sort(sums, order, e->pixels);
        for (int r = 0; r < e->rows; r += a->filled) {
            a->filled = itp_min(a->batch, e->rows - r);
            for (int i = 0; i < a->filled; i++)
                itp_evaluate_row(a, e, s, r + i, order, a->in + (size_t)i * a->size);
            ITP_TRY(itp_attr_forward(a));
            for (int i = 0; i < a->filled; i++)
                a->square[r + i] = itp_attr_output(
                    a, interp_workspace_target(a->w) + (size_t)i * (size_t)a->outputs,
                    a->report[s].target);
            ITP_TRY(itp_attr_tick(a, a->filled));
        }
        itp_evaluate_finish(a, e, s, a->square);
        out->output = a->report[s].output;
        out->target = a->report[s].target;
    }
    return INTERP_OK;
}

ITP_FN void itp_evaluate_layout(itp_arena *m, itp_attr *a)
{
    const itp_evaluate *e = (const itp_evaluate *)a->user;
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(e->pixels, sizeof(int)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size((size_t)e->rows, sizeof(double)));
}

ITP_FN size_t itp_evaluate_scratch(const itp_attr *a, int batch)
{
    (void)batch;
    return 2 * itp_round_up(((const itp_evaluate *)a->user)->pixels, 16);
}

ITP_FN interp_status itp_evaluate_settle(itp_attr *a)
{
    itp_evaluate *e = (itp_evaluate *)a->user;
    const interp_shape *s = &a->result_shape;
    interp_score_desc *d = &e->d;
    if (!d->steps) d->steps = 32;
    if (!d->n_perturbations) d->n_perturbations = 10;
    if (d->perturbation_sd == 0) d->perturbation_sd = 0.03f;
    if (d->radius == 0) d->radius = 0.02f;
    if (d->steps < 1 || d->n_perturbations < 1 || !(d->perturbation_sd > 0) || !(d->radius > 0) ||
        d->steps > 1000000 || d->n_perturbations > 1000000)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "evaluation: a setting is out of range");
    e->channels = s->rank == 3 ? s->dim[0] : 1;
    e->height = s->rank == 3 ? s->dim[1] : 1;
    e->pixels = a->size / itp_max_size(1, (size_t)e->channels);
    e->width = (int)(e->pixels / itp_max_size(1, (size_t)e->height));
    e->rows = itp_evaluate_road(e) + 2 * ITP_ROAD_LEVELS;
    a->points = e->rows;
    a->result_shape = itp_shape_none();
    a->result_shape.rank = 1;
    a->result_shape.dim[0] = 0;
    return INTERP_OK;
}

/* ---- measures that attribute anew */

/* Largest change of the attribution, relative to its size, over inputs a little away. */
ITP_FN interp_status itp_evaluate_sensitivity(interp_net *net, const float *x, int n, size_t size,
                                              const itp_evaluate *e, const interp_attribute_desc *m,
                                              float *near, float *changed)
{
    for (int i = 0; i < n; i++) e->out[i].max_sensitivity = 0;
    for (int k = 0; k < e->d.n_perturbations; k++) {
        const size_t all = (size_t)n * size;
        for (size_t i = 0; i < all; i++)
            near[i] =
                x[i] + e->d.radius *
                           (2 * interp_random_uniform(e->d.seed, 0x3700000u + (uint64_t)k, i) - 1);
        ITP_TRY(interp_attribute(net, near, n, m, changed, NULL));
        for (int s = 0; s < n; s++) {
            double d = 0, norm = 0;
            for (size_t i = (size_t)s * size; i < (size_t)(s + 1) * size; i++) {
                const double was = (double)e->attribution[i], now = (double)changed[i];
                d += (now - was) * (now - was), norm += was * was;
            }
            const double change = norm > 0 ? sqrt(d / norm) : 0;
            e->out[s].max_sensitivity = fmax(e->out[s].max_sensitivity, change);
        }
    }
    return INTERP_OK;
}

/* Rank correlation of magnitudes. ranks: two arrays of n; order: [n]. */
ITP_FN double itp_rank_correlation(const float *a, const float *b, size_t n, float *key,
                                   float *ranks, int *order)
{
    double sum = 0;
    const double mean = ((double)n - 1) / 2;
    for (int k = 0; k < 2; k++) {
        for (size_t i = 0; i < n; i++) key[i] = fabsf((k ? b : a)[i]);
        itp_pixel_sort(key, order, n);
        for (size_t i = 0; i < n;) { /* equal numbers share their mean rank */
            size_t end = i + 1;
            while (end < n && key[order[end]] == key[order[i]]) end++;
            for (size_t j = i; j < end; j++)
                ranks[(size_t)k * n + (size_t)order[j]] =
                    (float)(((double)i + (double)end - 1) / 2);
            i = end;
        }
    }
    double va = 0, vb = 0;
    for (size_t i = 0; i < n; i++) {
        const double p = (double)ranks[i] - mean, q = (double)ranks[n + i] - mean;
        sum += p * q, va += p * p, vb += q * q;
    }
    return va > 0 && vb > 0 ? sum / sqrt(va * vb) : 0;
}

/* How much of the attribution's order is left when all parameters are drawn anew, each from a normal
   distribution of its own mean and deviation. */
ITP_FN interp_status itp_evaluate_randomised(interp_net *net, const float *x, int n, size_t size,
                                             const itp_evaluate *e, const interp_attribute_desc *m,
                                             float *changed, float *room)
{
    interp_ctx *ctx = net->ctx;
    const size_t all = net->n_flat;
    float *kept = (float *)interp_alloc(ctx, itp_mul_size(itp_max_size(1, all), sizeof *kept));
    if (!kept) return INTERP_NO_MEMORY;
    memcpy(kept, net->flat, all * sizeof *kept);
    for (int p = 0; p < net->n_params; p++) {
        const itp_value *v = &net->values[net->params[p]];
        const size_t count = interp_shape_size(&v->shape);
        double mean = 0, square = 0;
        for (size_t i = 0; i < count; i++) mean += (double)kept[v->offset + i] / (double)count;
        for (size_t i = 0; i < count; i++) {
            const double d = (double)kept[v->offset + i] - mean;
            square += d * d / (double)count;
        }
        for (size_t i = 0; i < count; i++)
            net->flat[v->offset + i] =
                (float)(mean + sqrt(square) * (double)interp_random_normal(e->d.seed, 0x3800000u,
                                                                           v->offset + i));
    }
    const interp_status status = interp_attribute(net, x, n, m, changed, NULL);
    memcpy(net->flat, kept, all * sizeof *kept);
    interp_free(ctx, kept);
    for (int s = 0; s < n && !status; s++)
        e->out[s].randomisation =
            itp_rank_correlation(e->attribution + (size_t)s * size, changed + (size_t)s * size,
                                 size, room, room + size, (int *)(void *)(room + 3 * size));
    return status;
}

/* ---- the call */

ITP_FN interp_status itp_evaluate_again(interp_net *net, const float *x, int n,
                                        const itp_evaluate *e)
{
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t size = interp_shape_size(&in), all = itp_mul_size((size_t)n, size);
    interp_attribute_desc m = *e->d.method;
    int32_t *targets = (int32_t *)interp_alloc(net->ctx, (size_t)n * sizeof *targets);
    float *room = (float *)interp_alloc(
        net->ctx, itp_mul_size(itp_add_size(2 * all, 4 * size), sizeof *room));
    interp_status status = targets && room ? INTERP_OK : INTERP_NO_MEMORY;
    for (int i = 0; i < n && targets; i++) targets[i] = e->out[i].target;
    m.target_kind = e->out[0].target < 0 ? INTERP_TARGET_SUM : INTERP_TARGET_LABELS;
    m.targets = targets, m.n_targets = 0;
    if (!status) status = itp_evaluate_sensitivity(net, x, n, size, e, &m, room, room + all);
    if (!status && net->flat && !net->read_only)
        status = itp_evaluate_randomised(net, x, n, size, e, &m, room, room + all);
    interp_free(net->ctx, targets);
    interp_free(net->ctx, room);
    return status;
}

INTERP_API interp_status interp_attribution_score(interp_net *net, const float *x, int n,
                                                  const float *attribution,
                                                  const interp_score_desc *desc, interp_scores *out,
                                                  float *curves)
{
    static const itp_attr_row row = {
        "evaluation",    0, 0, itp_evaluate_settle, itp_evaluate_layout, itp_evaluate_scratch,
        itp_evaluate_run};
    itp_attr a;
    itp_evaluate e;
    interp_attribute_desc how;
    memset(&e, 0, sizeof e);
    memset(&how, 0, sizeof how);
    if (desc) e.d = *desc;
    e.attribution = attribution, e.out = out, e.curves = curves;
    how.target_kind = e.d.target_kind, how.target = e.d.target, how.targets = e.d.targets;
    how.baseline = e.d.baseline, how.n_baselines = e.d.n_baselines, how.batch = e.d.batch;
    ITP_TRY(itp_attr_settle(&a, net, n, &how, &row, &e));
    if (!itp_is_finite(attribution, itp_mul_size((size_t)n, a.size)))
        return itp_fail(a.ctx, INTERP_NOT_FINITE,
                        "evaluation: the attribution holds NaN or infinite numbers");
    interp_shape shape = a.in_shape;
    if (e.d.method) ITP_TRY(interp_attribute_shape(net, e.d.method, &shape, NULL));
    if (interp_shape_size(&shape) != a.size)
        return itp_fail(a.ctx, INTERP_BAD_SHAPE,
                        "evaluation: %s gives %zu numbers, but the input has %zu",
                        interp_method_name(e.d.method->method), interp_shape_size(&shape), a.size);
    for (int i = 0; i < n; i++) {
        memset(&out[i], 0, sizeof out[i]);
        out[i].max_sensitivity = out[i].randomisation = (double)NAN;
        out[i].pointing = out[i].mass = out[i].rank = (double)NAN;
    }
    ITP_TRY(itp_attr_execute(&a, x, NULL, NULL));
    return e.d.method ? itp_evaluate_again(net, x, n, &e) : INTERP_OK;
}

/* ---- attr/evaluate.c: how good an attribution is ------------------------------------------------- */

typedef struct itp_evaluate {
    interp_score_desc d; /* defaults filled in */
    const float *attribution;
    interp_scores *out;
    float *curves;
    int channels, height, width; /* a pixel is a number of each channel */
    size_t pixels;
    int segments; /* of IROF */
    /* forward passes of each sample: perturbations from row 0 on, then the parts that begin here */
    int curve, road, flip, subset, segment, rows;
    bool map;         /* the method gives one number for each pixel, not for each channel */
    int32_t *targets; /* [n]: what the measures that attribute anew explain */
    float *room;      /* inputs and attributions [n, size] of theirs, four of [size], parameters */
    double *drawn;    /* [n_subsets]: sums of the attribution over the subsets */
} itp_evaluate;

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
    const int w0 = e->width;
    double sum = 0, weights = 0;
    if (y0 > 0 && x0 > 0 && y0 + 1 < e->height && x0 + 1 < w0) { /* the same, where all are there */
        const float *p = x + y0 * w0 + x0;
        const double beside = (double)p[-1] + (double)p[1] + (double)p[-w0] + (double)p[w0];
        const double corner =
            (double)p[-w0 - 1] + (double)p[-w0 + 1] + (double)p[w0 - 1] + (double)p[w0 + 1];
        return beside / 6 + corner / 12;
    }
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

/* The first `count` pixels of the order mirrored at the middle of the sample's range. */
ITP_FN void itp_evaluate_mirror(const itp_evaluate *e, const int *order, size_t count, float *to)
{
    float low = to[0], high = to[0];
    const size_t size = e->pixels * (size_t)e->channels;
    for (size_t i = 1; i < size; i++) {
        low = to[i] < low ? to[i] : low;
        high = to[i] > high ? to[i] : high;
    }
    for (int c = 0; c < e->channels; c++)
        for (size_t i = 0; i < count; i++) {
            float *v = &to[(size_t)c * e->pixels + (size_t)order[i]];
            *v = low + high - *v;
        }
}

/* Segment of a pixel: as given, or tiles of images, 8 a side, else 64 runs. */
ITP_FN int itp_evaluate_segment(const itp_evaluate *e, size_t pixel)
{
    const size_t w = (size_t)e->width, y = pixel / w, x = pixel % w;
    if (e->d.segments) return (int)e->d.segments[pixel];
    if (e->height == 1) return (int)(x * (size_t)e->segments / w);
    const size_t down = (size_t)itp_div_up(e->height, 8), across = (size_t)itp_div_up(e->width, 8);
    return (int)(y / down * (size_t)itp_div_up(e->width, (int)across) + x / across);
}

/* Pixels of the first `count` segments get the mean of their channel. */
ITP_FN void itp_evaluate_blank(const itp_evaluate *e, const int *place, int count, float *to)
{
    for (int c = 0; c < e->channels; c++) {
        float *plane = to + (size_t)c * e->pixels;
        double mean = 0;
        for (size_t i = 0; i < e->pixels; i++) mean += (double)plane[i] / (double)e->pixels;
        for (size_t i = 0; i < e->pixels; i++)
            if (place[itp_evaluate_segment(e, i)] < count) plane[i] = (float)mean;
    }
}

/* Random subset k of the pixels of a sample, in the first numbers of `draw`. */
ITP_FN void itp_evaluate_subset(const itp_evaluate *e, int sample, int k, int *draw)
{
    for (size_t i = 0; i < e->pixels; i++) draw[i] = (int)i;
    itp_shuffle(draw, (int)e->pixels, e->d.seed,
                ((uint64_t)0x39 << 40) + (uint64_t)sample * (uint64_t)e->d.n_subsets + (uint64_t)k);
}

/* What the rows of a sample are made from. */
typedef struct itp_evaluate_orders {
    const float *sums; /* [pixels] of the attribution */
    const int *order;  /* [pixels], the most relevant first */
    int *place;        /* [segments]: how many are more relevant in the mean */
    int *draw;         /* [pixels] */
} itp_evaluate_orders;

/* Row r of a sample, into a slot. */
ITP_FN void itp_evaluate_row(const itp_attr *a, const itp_evaluate *e, int sample, int r,
                             const itp_evaluate_orders *o, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    memcpy(to, x, a->size * sizeof *to);
    if (r < e->curve) {
        for (size_t i = 0; i < a->size; i++) to[i] -= itp_evaluate_noise(e, sample, r, i, a->size);
    } else if (r < e->road) { /* deletion takes away from x, insertion adds to the baseline */
        const bool insertion = r - e->curve > e->d.steps;
        const int step = r - e->curve - (insertion ? e->d.steps + 1 : 0);
        const size_t count = (size_t)((double)e->pixels * step / e->d.steps + 0.5);
        if (insertion) itp_attr_put(a, x0, to);
        itp_evaluate_swap(e, o->order, count, insertion ? x : x0, to);
    } else if (r < e->flip) {
        const int level = r - e->road, part = level % INTERP_ROAD_LEVELS + 1;
        const size_t count = (size_t)((double)e->pixels * part / (INTERP_ROAD_LEVELS + 1) + 0.5);
        itp_road_fill(e, o->order, count, level >= INTERP_ROAD_LEVELS, (uint64_t)level, to);
    } else if (r < e->subset) {
        const double step = r - e->flip + 1;
        itp_evaluate_mirror(e, o->order, (size_t)((double)e->pixels * step / e->d.steps + 0.5), to);
    } else if (r < e->segment) {
        itp_evaluate_subset(e, sample, r - e->subset, o->draw);
        e->drawn[r - e->subset] = 0;
        for (int i = 0; i < e->d.subset; i++)
            e->drawn[r - e->subset] += (double)o->sums[o->draw[i]];
        itp_evaluate_swap(e, o->draw, (size_t)e->d.subset, x0, to);
    } else {
        itp_evaluate_blank(e, o->place, r - e->segment + 1, to);
    }
}

/* How many segments have a larger mean than each, those without pixels last. key: [segments]. */
ITP_FN void itp_evaluate_segments(const itp_evaluate *e, const float *sums, float *key, int *order,
                                  int *place)
{
    for (int k = 0; k < e->segments; k++) key[k] = 0, place[k] = 0;
    for (size_t i = 0; i < e->pixels; i++) {
        const int k = itp_evaluate_segment(e, i);
        place[k]++;
        key[k] += (sums[i] - key[k]) / (float)place[k];
    }
    for (int k = 0; k < e->segments; k++)
        if (!place[k]) key[k] = -FLT_MAX;
    itp_pixel_sort(key, order, (size_t)e->segments);
    for (int k = 0; k < e->segments; k++) place[order[k]] = k;
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

/* How many of the first `count` pixels of the order are in the mask; of pixels that are equally
   relevant, of which some would be first, the share that is. */
ITP_FN double itp_evaluate_hits(const unsigned char *mask, const float *sums, const int *order,
                                size_t n, size_t count)
{
    const float least = sums[order[count - 1]];
    size_t above = 0, hits = 0, equal = 0, equal_hits = 0;
    for (size_t i = 0; i < n; i++) {
        const bool hit = mask[order[i]] != 0;
        const float v = sums[order[i]];
        if (v > least) above++, hits += hit;
        else if (v == least) equal++, equal_hits += hit;
    }
    return (double)hits + (double)(count - above) * (double)equal_hits / (double)equal;
}

/* Against the pixels where the object is. */
ITP_FN void itp_evaluate_mask(const itp_evaluate *e, const unsigned char *mask, const float *sums,
                              const int *order, interp_scores *out)
{
    double inside = 0, all = 0;
    size_t size = 0;
    for (size_t i = 0; i < e->pixels; i++) {
        const double v = fmax(0, (double)sums[i]);
        size += mask[i] != 0;
        all += v;
        if (mask[i]) inside += v;
    }
    out->pointing = itp_evaluate_hits(mask, sums, order, e->pixels, 1);
    out->mass = all > 0 ? inside / all : 0;
    out->rank = size ? itp_evaluate_hits(mask, sums, order, e->pixels, size) / (double)size : 0;
}

/* What the output loses in the mean of n rows. */
ITP_FN double itp_evaluate_loss(double output, const double *y, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (output - y[i]) / n;
    return sum;
}

/* Correlation of what was taken away with what is lost, so that rising outputs count as falling. */
ITP_FN double itp_pearson(const double *taken, const double *y, int n)
{
    double mt = 0, my = 0, ty = 0, tt = 0, yy = 0;
    for (int i = 0; i < n; i++) mt += taken[i] / n, my += y[i] / n;
    for (int i = 0; i < n; i++) {
        const double t = taken[i] - mt, d = my - y[i];
        ty += t * d, tt += t * t, yy += d * d;
    }
    return tt > 0 && yy > 0 ? ty / sqrt(tt * yy) : 0;
}

/* The scores of a sample from the outputs of its rows. */
ITP_FN void itp_evaluate_finish(const itp_attr *a, const itp_evaluate *e, int sample,
                                const double *y)
{
    const float *attr = e->attribution + (size_t)sample * a->size;
    interp_scores *out = &e->out[sample];
    const interp_attribution *r = &a->report[sample];
    const int steps = e->d.steps, curves = e->curve, road = e->road;
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
    }
    for (int i = curves; i < e->flip && e->curves; i++)
        e->curves[(size_t)sample * (size_t)(e->flip - curves) + (size_t)(i - curves)] = (float)y[i];
    out->road = 0;
    const int levels = INTERP_ROAD_LEVELS;
    for (int i = 0; i < levels; i++)
        out->road += 0.5 * (y[road + levels + i] - y[road + i]) / levels;
    out->flipping = itp_evaluate_loss(r->output, y + e->flip, e->subset - e->flip);
    out->irof = itp_evaluate_loss(r->output, y + e->segment, e->rows - e->segment);
    out->sensitivity_n = itp_pearson(e->drawn, y + e->subset, e->d.n_subsets);
}

ITP_FN interp_status itp_evaluate_run(itp_attr *a)
{
    const itp_evaluate *e = (const itp_evaluate *)a->user;
    float *sums = a->scratch, *key = sums + itp_round_up(e->pixels, 16);
    int *order = (int *)(void *)a->sum;
    const itp_evaluate_orders o = {sums, order, order + e->pixels, order + 2 * e->pixels};
    for (int s = 0; s < a->n; s++) {
        interp_scores *out = &e->out[s];
        itp_pixel_sums(e, e->attribution + (size_t)s * a->size, sums);
        if (e->d.mask) {
            itp_pixel_sort(sums, order, e->pixels);
            itp_evaluate_mask(e, e->d.mask + (size_t)s * e->pixels, sums, order, out);
        }
        for (size_t i = 0; i < e->pixels; i++) key[i] = fabsf(sums[i]);
        itp_pixel_sort(key, order, e->pixels);
        itp_evaluate_shape(e, sums, order, out);
        itp_evaluate_segments(e, sums, key, order, o.place);
        itp_pixel_sort(sums, order, e->pixels);
        for (int r = 0; r < e->rows; r += a->filled) {
            a->filled = itp_min(a->batch, e->rows - r);
            for (int i = 0; i < a->filled; i++)
                itp_evaluate_row(a, e, s, r + i, &o, a->in + (size_t)i * a->size);
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
    itp_evaluate *e = (itp_evaluate *)a->user;
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(e->pixels, 3 * sizeof(int)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size((size_t)e->rows, sizeof(double)));
    e->drawn = (double *)itp_arena_alloc(m, itp_mul_size((size_t)e->d.n_subsets, sizeof(double)));
}

ITP_FN size_t itp_evaluate_scratch(const itp_attr *a, int batch)
{
    (void)batch;
    return 2 * itp_round_up(((const itp_evaluate *)a->user)->pixels, 16);
}

/* Where the parts begin, and how many segments there are. */
ITP_FN interp_status itp_evaluate_parts(const itp_attr *a, itp_evaluate *e)
{
    const interp_score_desc *d = &e->d;
    e->segments = (int)itp_min_size(e->pixels, 64);
    if (e->height > 1 && !d->segments)
        e->segments = itp_div_up(e->height, itp_div_up(e->height, 8)) *
                      itp_div_up(e->width, itp_div_up(e->width, 8));
    for (size_t i = 0; i < e->pixels && d->segments; i++) {
        if (d->segments[i] < 0 || (size_t)d->segments[i] >= e->pixels)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "evaluation: pixel %zu is of segment %d; they are numbered from 0, and "
                            "there are no more than pixels",
                            i, (int)d->segments[i]);
        if (i == 0 || d->segments[i] >= e->segments) e->segments = d->segments[i] + 1;
    }
    e->curve = d->n_perturbations;
    e->road = e->curve + 2 * (d->steps + 1);
    e->flip = e->road + 2 * INTERP_ROAD_LEVELS;
    e->subset = e->flip + d->steps;
    e->segment = e->subset + d->n_subsets;
    e->rows = e->segment + e->segments;
    return INTERP_OK;
}

ITP_FN interp_status itp_evaluate_settle(itp_attr *a)
{
    itp_evaluate *e = (itp_evaluate *)a->user;
    const interp_shape *s = &a->result_shape;
    interp_score_desc *d = &e->d;
    e->channels = s->rank == 3 ? s->dim[0] : 1;
    e->height = s->rank == 3 ? s->dim[1] : 1;
    e->pixels = a->size / itp_max_size(1, (size_t)e->channels);
    e->width = (int)(e->pixels / itp_max_size(1, (size_t)e->height));
    if (!d->steps) d->steps = 32;
    if (!d->n_perturbations) d->n_perturbations = 10;
    if (d->perturbation_sd == 0) d->perturbation_sd = 0.03f;
    if (d->radius == 0) d->radius = 0.02f;
    if (d->shift == 0) d->shift = 1;
    if (!d->n_subsets) d->n_subsets = 50;
    if (!d->subset) d->subset = (int)itp_max_size(1, e->pixels / 10);
    if (d->steps < 1 || d->n_perturbations < 1 || !(d->perturbation_sd > 0) ||
        d->radius != d->radius || !(fabsf(d->shift) <= FLT_MAX) || d->steps > 1000000 ||
        d->n_perturbations > 1000000 || d->n_subsets < 1 || d->n_subsets > 1000000 ||
        d->subset < 1 || (size_t)d->subset > e->pixels)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "evaluation: a setting is out of range");
    ITP_TRY(itp_evaluate_parts(a, e));
    a->points = e->rows;
    a->result_shape = itp_shape_none();
    a->result_shape.rank = 1;
    a->result_shape.dim[0] = 0;
    return INTERP_OK;
}

/* ---- measures that attribute anew */

/* Attributes; a map [H,W] of a method goes to all channels alike, so that it is their sum. */
ITP_FN interp_status itp_evaluate_attribute(interp_net *net, const float *x, int n, size_t size,
                                            const itp_evaluate *e, const interp_attribute_desc *m,
                                            float *to)
{
    const size_t channels = (size_t)e->channels;
    ITP_TRY(interp_attribute(net, x, n, m, to, NULL));
    for (int s = n; e->map && s-- > 0;) /* from the end, as it grows in place */
        for (size_t c = channels; c-- > 0;)
            for (size_t i = 0; i < e->pixels; i++)
                to[(size_t)s * size + c * e->pixels + i] =
                    to[(size_t)s * e->pixels + i] / (float)e->channels;
    return INTERP_OK;
}

/* Norm of a difference relative to what was. */
ITP_FN double itp_evaluate_change(const float *was, const float *now, size_t size)
{
    double square = 0, norm = 0;
    for (size_t i = 0; i < size; i++) {
        const double d = (double)now[i] - (double)was[i];
        square += d * d, norm += (double)was[i] * (double)was[i];
    }
    return norm > 0 ? sqrt(square / norm) : 0;
}

/* Largest change of the attribution, relative to its size, over inputs a little away. */
ITP_FN interp_status itp_evaluate_sensitivity(interp_net *net, const float *x, int n, size_t size,
                                              const itp_evaluate *e, const interp_attribute_desc *m,
                                              float *near, float *changed)
{
    if (e->d.radius < 0) return INTERP_OK;
    for (int i = 0; i < n; i++) e->out[i].max_sensitivity = 0;
    for (int k = 0; k < e->d.n_perturbations; k++) {
        const size_t all = (size_t)n * size;
        for (size_t i = 0; i < all; i++)
            near[i] =
                x[i] + e->d.radius *
                           (2 * interp_random_uniform(e->d.seed, 0x3700000u + (uint64_t)k, i) - 1);
        ITP_TRY(itp_evaluate_attribute(net, near, n, size, e, m, changed));
        for (int s = 0; s < n; s++) {
            const double change = itp_evaluate_change(e->attribution + (size_t)s * size,
                                                      changed + (size_t)s * size, size);
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

/* Draws a parameter anew, from a normal distribution of its mean and deviation. kept: all parameters. */
ITP_FN void itp_evaluate_redraw(interp_net *net, const float *kept, int value, uint64_t seed)
{
    const itp_value *v = &net->values[value];
    const size_t count = interp_shape_size(&v->shape);
    double mean = 0, square = 0;
    for (size_t i = 0; i < count; i++) mean += (double)kept[v->offset + i] / (double)count;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)kept[v->offset + i] - mean;
        square += d * d / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        net->flat[v->offset + i] =
            (float)(mean +
                    sqrt(square) * (double)interp_random_normal(seed, 0x3800000u, v->offset + i));
}

/* How much of the attribution's order is left when all parameters are drawn anew. */
ITP_FN interp_status itp_evaluate_randomised(interp_net *net, const float *x, int n, size_t size,
                                             const itp_evaluate *e, const interp_attribute_desc *m,
                                             float *room, float *changed)
{
    const size_t all = net->n_flat;
    float *kept = room + 4 * size;
    memcpy(kept, net->flat, all * sizeof *kept);
    for (int p = 0; p < net->n_params; p++)
        itp_evaluate_redraw(net, kept, net->params[p], e->d.seed);
    const interp_status status = itp_evaluate_attribute(net, x, n, size, e, m, changed);
    memcpy(net->flat, kept, all * sizeof *kept);
    for (int s = 0; s < n && !status; s++)
        e->out[s].randomisation =
            itp_rank_correlation(e->attribution + (size_t)s * size, changed + (size_t)s * size,
                                 size, room, room + size, (int *)(void *)(room + 3 * size));
    return status;
}

/* ---- the call */

/* The bias of the one layer that reads the input, as it is or flattened; *node is the layer. -1: there
   is none, or something else reads one of them. */
ITP_FN int itp_evaluate_bias(const interp_net *net, int *node)
{
    int value = net->inputs[0], bias = -1, uses = 0;
    for (;;) {
        int readers = 0;
        for (int i = 0; i < net->n_nodes; i++)
            for (int k = 0; k < net->nodes[i].n_in; k++)
                if (net->nodes[i].in[k] == value) readers++, *node = i;
        if (readers != 1) return -1;
        if (net->nodes[*node].op != ITP_OP_FLATTEN) break;
        value = net->nodes[*node].out;
    }
    const itp_node *layer = &net->nodes[*node];
    if ((layer->op != ITP_OP_GEMM && layer->op != ITP_OP_CONV) || layer->n_in < 3 ||
        layer->in[0] != value || net->values[layer->in[2]].kind != ITP_PARAM)
        return -1;
    bias = layer->in[2];
    for (int i = 0; i < net->n_nodes; i++)
        for (int k = 0; k < net->nodes[i].n_in; k++) uses += net->nodes[i].in[k] == bias;
    return uses == 1 ? bias : -1;
}

/* Takes from the bias what a constant more in the input adds to the layer's output. *absorbed: whether
   that is the same everywhere, which it is not behind padding. */
ITP_FN interp_status itp_evaluate_absorb(interp_net *net, const itp_evaluate *e, int bias, int node,
                                         size_t size, float *x, bool *absorbed)
{
    const size_t units = interp_shape_size(&net->values[bias].shape);
    const interp_shape shape = net->values[net->nodes[node].out].shape;
    const size_t all = interp_shape_size(&shape) / (size_t)shape.dim[0], each = all / units;
    const bool gemm = net->nodes[node].op == ITP_OP_GEMM;
    const float beta = gemm ? net->nodes[node].attrs.beta : 1;
    float *to = net->flat + net->values[bias].offset;
    const float *from = x, *y[2] = {NULL, NULL};
    interp_workspace *w[2] = {NULL, NULL};
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    d.keep = net->values[net->nodes[node].out].name;
    interp_status status = INTERP_OK;
    *absorbed = each * units == all && beta != 0;
    for (int k = 0; k < 2 && !status && *absorbed; k++) {
        for (size_t i = 0; i < size; i++) x[i] = k ? e->d.shift : 0;
        status = interp_workspace_new(net->ctx, net, &d, &w[k]);
        if (!status) status = interp_forward(w[k], &from);
        if (!status) y[k] = interp_workspace_kept(w[k]);
    }
    for (size_t i = 0; i < all && !status && *absorbed; i++) {
        const size_t first = i / each * each;
        const float here = y[1][i] - y[0][i], there = y[1][first] - y[0][first];
        *absorbed = fabsf(here - there) <= 1e-4f * (fabsf(there) + fabsf(e->d.shift));
    }
    for (size_t u = 0; u < units && !status && *absorbed; u++)
        to[u] -= (y[1][u * each] - y[0][u * each]) / beta;
    interp_workspace_free(w[0]);
    interp_workspace_free(w[1]);
    return status;
}

/* How much the attribution changes, relative to its size, when all inputs are larger by a constant that
   the first layer's bias takes away again. */
ITP_FN interp_status itp_evaluate_invariance(interp_net *net, const float *x, int n, size_t size,
                                             const itp_evaluate *e, const interp_attribute_desc *m,
                                             float *room, float *near, float *changed)
{
    int node = -1;
    bool absorbed = false;
    const size_t all = (size_t)n * size;
    const int bias = itp_evaluate_bias(net, &node);
    if (bias < 0 || net->fixed_batch > 1 || net->whole) return INTERP_OK;
    memcpy(room, net->flat, net->n_flat * sizeof *room);
    interp_status status = itp_evaluate_absorb(net, e, bias, node, size, near, &absorbed);
    for (size_t i = 0; i < all; i++) near[i] = x[i] + e->d.shift;
    if (!status && absorbed) status = itp_evaluate_attribute(net, near, n, size, e, m, changed);
    memcpy(net->flat, room, net->n_flat * sizeof *room);
    for (int s = 0; s < n && !status && absorbed; s++)
        e->out[s].invariance = itp_evaluate_change(e->attribution + (size_t)s * size,
                                                   changed + (size_t)s * size, size);
    return status;
}

/* What the measures that attribute anew take, before any work. */
ITP_FN interp_status itp_evaluate_room(const itp_attr *a, itp_evaluate *e)
{
    interp_shape s;
    const size_t all = itp_mul_size((size_t)a->n, a->size);
    ITP_TRY(interp_attribute_shape(a->net, e->d.method, &s, NULL));
    const size_t size = interp_shape_size(&s);
    e->map = size != a->size && size == e->pixels;
    if ((size != a->size && !e->map) || e->d.method->scope != INTERP_SCOPE_INPUT)
        return itp_fail(a->ctx, INTERP_BAD_SHAPE,
                        "evaluation: %s gives %zu numbers for the %zu of a sample: only what "
                        "attributes to the input can be measured",
                        interp_method_name(e->d.method->method), size, a->size);
    e->targets = (int32_t *)interp_alloc(a->ctx, (size_t)a->n * sizeof *e->targets);
    e->room = (float *)interp_alloc(
        a->ctx, itp_mul_size(itp_add_size(itp_add_size(2 * all, 4 * a->size), a->net->n_flat),
                             sizeof *e->room));
    return e->targets && e->room ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN interp_status itp_evaluate_again(const itp_attr *a, const itp_evaluate *e)
{
    const size_t all = (size_t)a->n * a->size;
    interp_net *net = a->net;
    interp_attribute_desc m = *e->d.method;
    for (int i = 0; i < a->n; i++) e->targets[i] = e->out[i].target;
    m.target = 0, m.n_targets = 0;
    m.target_kind = e->out[0].target < 0 ? INTERP_TARGET_SUM : INTERP_TARGET_LABELS;
    m.targets = e->targets;
    ITP_TRY(itp_evaluate_sensitivity(net, a->x, a->n, a->size, e, &m, e->room, e->room + all));
    if (!net->flat || net->read_only) return INTERP_OK;
    ITP_TRY(itp_evaluate_randomised(net, a->x, a->n, a->size, e, &m, e->room + 2 * all, e->room));
    return itp_evaluate_invariance(net, a->x, a->n, a->size, e, &m, e->room + 2 * all + 4 * a->size,
                                   e->room, e->room + all);
}

/* Where scores and curves are until all of them are known. */
ITP_FN interp_status itp_evaluate_results(const itp_attr *a, itp_evaluate *e, size_t points)
{
    e->out = (interp_scores *)interp_alloc(a->ctx, itp_mul_size((size_t)a->n, sizeof *e->out));
    if (points) e->curves = (float *)interp_alloc(a->ctx, itp_mul_size(points, sizeof *e->curves));
    if (!e->out || (points && !e->curves)) return INTERP_NO_MEMORY;
    for (int i = 0; i < a->n; i++) {
        interp_scores *s = &e->out[i];
        memset(s, 0, sizeof *s);
        s->max_sensitivity = s->randomisation = s->invariance = (double)NAN;
        s->pointing = s->mass = s->rank = (double)NAN;
    }
    return INTERP_OK;
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
    e.attribution = attribution;
    how.target_kind = e.d.target_kind, how.target = e.d.target, how.targets = e.d.targets;
    how.baseline = e.d.baseline, how.n_baselines = e.d.n_baselines, how.batch = e.d.batch;
    ITP_TRY(itp_attr_settle(&a, net, n, &how, &row, &e));
    if (!itp_is_finite(attribution, itp_mul_size((size_t)n, a.size)))
        return itp_fail(a.ctx, INTERP_NOT_FINITE,
                        "evaluation: the attribution holds NaN or infinite numbers");
    const size_t points = curves ? itp_mul_size((size_t)n, (size_t)(e.flip - e.curve)) : 0;
    interp_status status = itp_evaluate_results(&a, &e, points);
    if (!status && e.d.method) status = itp_evaluate_room(&a, &e);
    if (!status) status = itp_attr_execute(&a, x, NULL, NULL);
    if (!status && e.d.method) status = itp_evaluate_again(&a, &e);
    if (!status) memcpy(out, e.out, (size_t)n * sizeof *out);
    if (!status && curves) memcpy(curves, e.curves, points * sizeof *curves);
    interp_free(net->ctx, e.out);
    interp_free(net->ctx, e.curves);
    interp_free(net->ctx, e.targets);
    interp_free(net->ctx, e.room);
    return status;
}

/* ---- attr/perturb.c: methods that change the input and look at the output ------------------------- */

enum { ITP_RISE_GRID = 7, ITP_MOST_EXACT = 20, ITP_MOST_REGRESSED = 4096 };

/* ---- settings */

ITP_FN bool itp_perturb_regresses(const itp_attr *a)
{
    return a->row->kind == ITP_P_KERNEL || a->row->kind == ITP_P_LIME;
}

ITP_FN interp_status itp_perturb_points(itp_attr *a, int64_t points)
{
    if (points > INT_MAX)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "%s: more than %d passes for each sample: give fewer features or samples",
                        a->row->name, INT_MAX);
    a->points = (int)points;
    return INTERP_OK;
}

/* Positions of the window along each axis: the last is cropped at the edge. */
ITP_FN interp_status itp_perturb_windows(itp_attr *a)
{
    const interp_shape *in = &a->result_shape;
    itp_perturb *p = &a->p;
    int64_t points = 1;
    bool given = false;
    for (int i = 0; i < in->rank; i++) given = given || a->d.window[i];
    for (int i = 0; i < in->rank; i++) {
        const bool image = in->rank >= 3, plane = i == in->rank - 3, view = i < in->rank - 3;
        const int dim = in->dim[i];
        int window = a->d.window[i], stride = a->d.stride[i];
        if (!given) window = !image || view ? 1 : plane ? dim : itp_max(1, dim / 8);
        if (!stride) stride = !given && image ? itp_max(1, plane ? dim : window / 2) : 1;
        if (window < 1 || window > dim || stride < 1 || stride > window)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "occlusion: window %d by stride %d along %d numbers: give a window of "
                            "1 to %d and a stride of 1 to the window",
                            window, stride, dim, dim);
        p->window[i] = window, p->stride[i] = stride;
        p->steps[i] = itp_div_up(dim - window, stride) + 1;
        points *= p->steps[i];
        if (points > INT_MAX) break;
    }
    return itp_perturb_points(a, points);
}

/* Tiles in a row of images for which no mask was given; 0: each number is a feature. */
ITP_FN int itp_perturb_grid(const itp_attr *a)
{
    const bool views = itp_views(&a->in_shape) > 1;
    switch (a->row->kind) {
    case ITP_P_EXACT: return views ? 2 : 3;
    case ITP_P_KERNEL:
    case ITP_P_ANCHORS:
    case ITP_P_LIME: return views ? 4 : 8;
    case ITP_P_PARTITION: return 0;
    default: return a->size > 4096 ? 16 : 0;
    }
}

/* Whether each sample has features of its own. */
ITP_FN bool itp_attr_by_segments(const itp_attr *a)
{
    return a->d.segments > 0 && !a->d.mask && itp_attr_needs(a, ITP_ATTR_FEATURES);
}

/* How many features there are, from the mask or as the method groups numbers itself. */
ITP_FN interp_status itp_perturb_features(itp_attr *a)
{
    const interp_shape in = a->in_shape;
    itp_perturb *p = &a->p;
    const int grid = itp_perturb_grid(a);
    const bool segments = a->d.segments && itp_attr_needs(a, ITP_ATTR_FEATURES);
    const bool given = a->d.grid[0] || a->d.grid[1];
    if (a->size > INT_MAX)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "%s: the input is too large", a->row->name);
    p->count = (int)a->size;
    if (a->d.mask) {
        if (!a->d.mask_shape.rank) a->d.mask_shape = in;
        if (!itp_mask_fits(&a->d.mask_shape, &in))
            return itp_fail(a->ctx, INTERP_BAD_SHAPE,
                            "%s: the shape of the mask does not fit that of the input",
                            a->row->name);
        p->count = itp_mask_count(a->d.mask, interp_shape_size(&a->d.mask_shape));
        if (p->count < 0)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "%s: the mask holds ids that are not within 0 to %d", a->row->name,
                            ITP_MASK_IDS - 1);
    } else if (segments) {
        if (in.rank < 2 || a->inside || a->d.coalitions || a->d.permutations || a->d.segments < 0)
            return itp_fail(
                a->ctx, INTERP_BAD_ARGUMENT,
                "%s: segments are of images, which the input must be, and their number is "
                "not known to draws that are given",
                a->row->name);
        p->count = itp_segments_most(&in, a->d.segments);
    } else if ((in.rank >= 3 && grid) || given) {
        if (given && (in.rank < 2 || a->d.grid[0] < 1 || a->d.grid[1] < 1))
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "%s: a grid is of images, in at least one row and column",
                            a->row->name);
        const int height = in.dim[in.rank - 2], width = in.dim[in.rank - 1];
        p->tile_rows = itp_div_up(height, given ? a->d.grid[0] : grid);
        p->tile_columns = itp_div_up(width, given ? a->d.grid[1] : grid);
        p->grid = itp_div_up(width, p->tile_columns);
        p->tiles = p->grid * itp_div_up(height, p->tile_rows);
        p->count = p->tiles * itp_views(&in);
    }
    if (a->row->kind == ITP_P_EXACT && p->count > ITP_MOST_EXACT)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "shapley_value_exact: %d features are more than %d, for which 2^%d passes "
                        "are needed: give a mask of fewer, or take kernel_shap",
                        p->count, ITP_MOST_EXACT, ITP_MOST_EXACT);
    if (itp_perturb_regresses(a) && p->count > ITP_MOST_REGRESSED)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "%s: %d features are more than %d: give a mask of fewer", a->row->name,
                        p->count, ITP_MOST_REGRESSED);
    return INTERP_OK;
}

/* Passes of the methods that are given a number of them. */
ITP_FN interp_status itp_perturb_passes(itp_attr *a)
{
    itp_perturb *p = &a->p;
    int *n = &a->d.n_samples;
    int64_t points = 1;
    switch (a->row->kind) {
    case ITP_P_ABLATION: points = p->count; break;
    case ITP_P_PERMUTATION:
        if (!*n) *n = 1;
        points = (int64_t)*n * p->count;
        break;
    case ITP_P_EXACT: points = (int64_t)1 << p->count; break;
    case ITP_P_SAMPLING:
        if (!*n) *n = 25;
        points = (int64_t)*n * itp_max(1, p->count - 1);
        break;
    case ITP_P_KERNEL:
        if (!*n) *n = itp_max(50, 2 * p->count);
        p->all = !a->d.coalitions && p->count <= ITP_MOST_EXACT && *n >= 1 << p->count;
        points = p->all ? 1 << p->count : *n;
        if (*n < 2)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "kernel_shap: needs at least 2 coalitions: set n_samples");
        break;
    case ITP_P_LIME:
        points = *n ? *n : 50;
        if (!(a->d.kernel_width >= 0 && a->d.penalty >= 0))
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "lime: the kernel's width and the penalty must not be negative");
        break;
    case ITP_P_PARTITION: {
        const interp_shape *in = &a->result_shape;
        const bool image = in->rank >= 3 && !a->d.mask && p->count == (int)a->size;
        memset(&p->root, 0, sizeof p->root);
        p->root.hi[1] = image ? in->dim[in->rank - 2] : 1;
        p->root.hi[2] = image ? in->dim[in->rank - 1] : p->count;
        p->root.hi[0] = p->count / (p->root.hi[1] * p->root.hi[2]);
        points =
            itp_max(1, 2 * itp_box_splits(&p->root, itp_min(INT_MAX / 8, *n ? (*n + 1) / 2 : 250)));
        break;
    }
    case ITP_P_ANCHORS:
        points = *n ? *n : 20000;
        if (a->outputs < 2 || a->d.target_kind == INTERP_TARGET_SUM ||
            !(a->d.threshold >= 0 && a->d.threshold < 1))
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "anchors: needs one of several outputs as target, and a threshold of "
                            "0 to below 1");
        break;
    default: points = *n ? *n : 1000; break;
    }
    return itp_perturb_points(a, points);
}

ITP_FN interp_status itp_attr_settle_perturb(itp_attr *a)
{
    const interp_shape in = a->result_shape;
    if (a->row->kind == ITP_P_OCCLUSION) return itp_perturb_windows(a);
    if (a->row->kind != ITP_P_RISE) {
        ITP_TRY(itp_perturb_features(a));
        return itp_perturb_passes(a);
    }
    if (in.rank < 2) return itp_fail(a->ctx, INTERP_BAD_SHAPE, "rise: the input is no image");
    a->result_shape = itp_attr_map_shape(&in);
    return itp_perturb_passes(a);
}

ITP_FN void itp_attr_layout_perturb(itp_arena *m, itp_attr *a)
{
    itp_perturb *p = &a->p;
    const bool by_number = a->row->kind == ITP_P_OCCLUSION || a->row->kind == ITP_P_RISE;
    const size_t n = by_number ? a->result_size : (size_t)p->count;
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(n, sizeof(double)));
    if (by_number) {
        a->square = (double *)itp_arena_alloc(m, itp_mul_size(n, sizeof(double)));
        return;
    }
    if (a->d.mask || p->tile_rows || itp_attr_by_segments(a))
        p->id = (int32_t *)itp_arena_alloc(m, itp_mul_size(a->size, sizeof *p->id));
    p->on = (uint8_t *)itp_arena_alloc(m, n);
    p->order = (int *)itp_arena_alloc(m, itp_mul_size(n, sizeof *p->order));
    if (itp_perturb_regresses(a)) {
        p->matrix = (double *)itp_arena_alloc(m, itp_mul_size((n + 1) * (n + 2), sizeof(double)));
        p->row = (double *)itp_arena_alloc(m, itp_mul_size(2 * n + 2, sizeof(double)));
    }
    if (a->row->kind == ITP_P_ANCHORS) {
        p->row =
            (double *)itp_arena_alloc(m, itp_mul_size(ITP_ANCHOR_COUNTS * (n + 1), sizeof(double)));
        p->inside = (int *)itp_arena_alloc(m, itp_mul_size(n, sizeof *p->inside));
        p->copies = (itp_anchor_copy *)itp_arena_alloc(m, ITP_ANCHOR_KEPT * sizeof *p->copies);
    }
    if (a->row->kind == ITP_P_PARTITION) /* a split takes one node and gives four */
        p->queue = (itp_owen_node *)itp_arena_alloc(
            m, itp_mul_size(2 + 3 * (size_t)(a->points / 2), sizeof *p->queue));
}

ITP_FN size_t itp_attr_scratch_perturb(const itp_attr *a, int batch)
{
    (void)batch;
    return a->row->kind == ITP_P_RISE ? interp_shape_size(&a->result_shape) : 0;
}

INTERP_API interp_status interp_attribute_features(interp_net *net,
                                                   const interp_attribute_desc *desc, int *count)
{
    itp_attr a;
    ITP_TRY(itp_attr_settle(&a, net, desc ? itp_max(1, desc->n_baselines) : 1, desc, NULL, NULL));
    *count = a.p.count;
    return INTERP_OK;
}

/* ---- copies of the input */

/* x with one feature from elsewhere. */
ITP_FN void itp_perturb_one(const itp_attr *a, int sample, int feature, const float *from,
                            float *to)
{
    memcpy(to, a->x + (size_t)sample * a->size, a->size * sizeof *to);
    if (!a->p.id) to[feature] = from ? from[feature] : 0;
    for (size_t k = 0; a->p.id && k < a->size; k++)
        if (a->p.id[k] == feature) to[k] = from ? from[k] : 0;
}

/* The sample that a feature is taken from. */
ITP_FN const float *itp_perturb_donor(const itp_attr *a, int sample, int index)
{
    const uint64_t draw = (uint64_t)sample * (uint64_t)a->points + (uint64_t)index;
    const int by =
        1 + (int)itp_random_below(a->d.seed, ITP_PERTURB_STREAM, draw, (uint32_t)a->n - 1);
    return a->x + (size_t)((sample + by) % a->n) * a->size;
}

/* Place in the input of number `at` of a window, of `count`. */
typedef struct itp_span {
    size_t first, count, extent[INTERP_MAX_RANK], step[INTERP_MAX_RANK];
} itp_span;

ITP_FN itp_span itp_window_span(const itp_attr *a, int index)
{
    const itp_perturb *p = &a->p;
    itp_span s;
    size_t step = 1;
    s.first = 0, s.count = 1;
    for (int i = a->result_shape.rank - 1; i >= 0; i--) {
        const int dim = a->result_shape.dim[i], at = index % p->steps[i] * p->stride[i];
        s.step[i] = step;
        s.extent[i] = (size_t)itp_min(p->window[i], dim - at);
        s.first += (size_t)at * step;
        s.count *= s.extent[i];
        step *= (size_t)dim;
        index /= p->steps[i];
    }
    return s;
}

ITP_FN size_t itp_span_at(const itp_span *s, int rank, size_t at)
{
    size_t place = s->first;
    for (int i = rank - 1; i >= 0; i--) {
        place += at % s->extent[i] * s->step[i];
        at /= s->extent[i];
    }
    return place;
}

/* A mask of rise for one view: a coarse grid of 0 and 1, bilinearly enlarged past the image's size and
   shifted. */
ITP_FN void itp_rise_view(const itp_attr *a, int index, int view, float *mask)
{
    const interp_shape *s = &a->result_shape;
    const int height = s->dim[s->rank - 2], width = s->dim[s->rank - 1], g = ITP_RISE_GRID;
    const uint64_t drawn = (uint64_t)view * (ITP_RISE_GRID * ITP_RISE_GRID + 2);
    const int tall = itp_div_up(height, g), wide = itp_div_up(width, g);
    const uint64_t seed = a->d.seed, stream = ITP_PERTURB_STREAM + (uint64_t)index;
    float grid[ITP_RISE_GRID * ITP_RISE_GRID];
    for (int i = 0; i < g * g; i++)
        grid[i] = (float)(interp_random_u32(seed, stream, drawn + (uint64_t)i) & 1);
    const int dy =
        (int)itp_random_below(seed, stream, drawn + ITP_RISE_GRID * ITP_RISE_GRID, (uint32_t)tall);
    const int dx = (int)itp_random_below(seed, stream, drawn + ITP_RISE_GRID * ITP_RISE_GRID + 1,
                                         (uint32_t)wide);
    for (int y = 0; y < height; y++) {
        const double sy = fmin(fmax((y + dy + 0.5) * g / ((g + 1.0) * tall) - 0.5, 0), g - 1);
        const int y0 = (int)sy, y1 = itp_min(y0 + 1, g - 1);
        for (int x = 0; x < width; x++) {
            const double sx = fmin(fmax((x + dx + 0.5) * g / ((g + 1.0) * wide) - 0.5, 0), g - 1);
            const int x0 = (int)sx, x1 = itp_min(x0 + 1, g - 1);
            const double fy = sy - y0, fx = sx - x0;
            *mask++ = (float)((1 - fy) * ((1 - fx) * (double)grid[y0 * g + x0] +
                                          fx * (double)grid[y0 * g + x1]) +
                              fy * ((1 - fx) * (double)grid[y1 * g + x0] +
                                    fx * (double)grid[y1 * g + x1]));
        }
    }
}

ITP_FN void itp_rise_mask(const itp_attr *a, int index, float *mask)
{
    const int views = itp_views(&a->in_shape);
    for (int v = 0; v < views; v++)
        itp_rise_view(a, index, v, mask + a->result_size / (size_t)views * (size_t)v);
}

/* Copy `index` of a sample. */
ITP_FN void itp_perturb_make(itp_attr *a, int sample, int index, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    const size_t views = (size_t)itp_views(&a->in_shape), view = a->size / views;
    const size_t area = a->result_size / views; /* of a map */
    switch (a->row->kind) {
    case ITP_P_OCCLUSION: {
        const itp_span s = itp_window_span(a, index);
        memcpy(to, x, a->size * sizeof *to);
        for (size_t i = 0; i < s.count; i++) {
            const size_t k = itp_span_at(&s, a->result_shape.rank, i);
            to[k] = x0 ? x0[k] : 0;
        }
        return;
    }
    case ITP_P_ABLATION: itp_perturb_one(a, sample, index, x0, to); return;
    case ITP_P_PERMUTATION:
        itp_perturb_one(a, sample, index / a->d.n_samples, itp_perturb_donor(a, sample, index), to);
        return;
    case ITP_P_RISE:
        itp_rise_mask(a, index, a->scratch);
        for (size_t k = 0; k < a->size; k++) {
            const float m = a->scratch[k / view * area + k % area];
            to[k] = m * x[k] + (x0 ? (1 - m) * x0[k] : 0);
        }
        return;
    default: break;
    }
    itp_coalition(a, sample, index);
    itp_coalition_apply(a, sample, to);
}

/* ---- what the outputs say */

/* Shapley values as a sum over all coalitions S: a feature i in S gets f(S) (s-1)! (M-s)! / M!, one
   outside loses f(S) s! (M-s-1)! / M!. */
ITP_FN void itp_take_exact(itp_attr *a, int index, double f)
{
    const int m = a->p.count, s = itp_bits((uint32_t)index);
    double ways = 1; /* M choose s */
    for (int i = 1; i <= s; i++) ways = ways * (m - s + i) / i;
    for (int i = 0; i < m; i++)
        a->sum[i] += index >> i & 1 ? f / (ways * s) : -f / (ways * (m - s));
}

ITP_FN void itp_take_step(itp_attr *a, int sample, int index, double f)
{
    itp_perturb *p = &a->p;
    const interp_attribution *r = &a->report[sample];
    const int steps = itp_max(1, p->count - 1), step = index % steps;
    const int *order = itp_coalition_order(a, sample, index / steps);
    if (step == 0) p->before = r->baseline_output;
    a->sum[order[step]] += (f - p->before) / a->d.n_samples;
    p->before = f;
    if (step == p->count - 2) a->sum[order[step + 1]] += (r->output - f) / a->d.n_samples;
}

/* The output f of copy `index` of a sample; in: that copy. */
ITP_FN void itp_perturb_take(itp_attr *a, int sample, int index, const float *in, double f)
{
    const double lost = a->report[sample].output - f;
    switch (a->row->kind) {
    case ITP_P_OCCLUSION: {
        const itp_span s = itp_window_span(a, index);
        for (size_t i = 0; i < s.count; i++) {
            const size_t k = itp_span_at(&s, a->result_shape.rank, i);
            a->sum[k] += lost, a->square[k]++;
        }
        break;
    }
    case ITP_P_ABLATION: a->sum[index] = lost; break;
    case ITP_P_PERMUTATION: a->sum[index / a->d.n_samples] += lost / a->d.n_samples; break;
    case ITP_P_EXACT: itp_take_exact(a, index, f - a->report[sample].baseline_output); break;
    case ITP_P_SAMPLING: itp_take_step(a, sample, index, f); break;
    case ITP_P_RISE:
        itp_rise_mask(a, index, a->scratch);
        for (size_t k = 0; k < a->result_size; k++) {
            a->sum[k] += f * (double)a->scratch[k];
            a->square[k] += (double)a->scratch[k];
        }
        break;
    default: itp_surrogate_take(a, sample, index, in, f - a->report[sample].baseline_output); break;
    }
}

/* Whether the features' values are shares of the output's difference: those of Shapley. */
ITP_FN bool itp_perturb_adds_up(const itp_attr *a)
{
    const int kind = a->row->kind;
    return kind == ITP_P_EXACT || kind == ITP_P_SAMPLING || kind == ITP_P_KERNEL ||
           kind == ITP_P_PARTITION;
}

/* The sums of a sample to its attribution. */
ITP_FN interp_status itp_perturb_finish(itp_attr *a, int sample)
{
    float *out = a->result + (size_t)sample * a->result_size;
    interp_attribution *r = &a->report[sample];
    double total = 0;
    if (a->row->kind == ITP_P_OCCLUSION || a->row->kind == ITP_P_RISE) {
        for (size_t k = 0; k < a->result_size; k++) {
            const double mean = a->square[k] > 0 ? a->sum[k] / a->square[k] : 0;
            out[k] = (float)mean;
            total += mean;
        }
    } else {
        if (itp_perturb_regresses(a)) ITP_TRY(itp_surrogate_solve(a));
        for (int i = 0; i < a->p.count; i++) total += a->sum[i];
        for (size_t k = 0; k < a->result_size; k++) out[k] = (float)a->sum[itp_feature(a, k)];
    }
    r->residual = itp_perturb_adds_up(a) ? total - (r->output - r->baseline_output) : (double)NAN;
    return INTERP_OK;
}

ITP_FN void itp_perturb_start(itp_attr *a)
{
    const bool by_number = a->row->kind == ITP_P_OCCLUSION || a->row->kind == ITP_P_RISE;
    const size_t n = by_number ? a->result_size : (size_t)a->p.count;
    memset(a->sum, 0, n * sizeof *a->sum);
    if (by_number) memset(a->square, 0, n * sizeof *a->square);
    if (itp_perturb_regresses(a)) itp_surrogate_start(a);
}

/* ---- the stream: copies of all samples go through the network batch by batch */

/* Draws that were given must be what they should be, and a mask what it was when features were counted. */
ITP_FN interp_status itp_perturb_check(itp_attr *a)
{
    itp_perturb *p = &a->p;
    const size_t m = (size_t)p->count;
    if (a->row->kind == ITP_P_PERMUTATION && a->n < 2)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "feature_permutation takes features from other samples: give at least 2");
    if (p->id && a->d.mask &&
        itp_mask_count(a->d.mask, interp_shape_size(&a->d.mask_shape)) != p->count)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "%s: the mask has other than the %d features it had", a->row->name,
                        p->count);
    for (int i = 0; a->d.permutations && a->row->kind == ITP_P_SAMPLING && i < a->d.n_samples;
         i++) {
        const int32_t *order = a->d.permutations + (size_t)i * m;
        memset(p->on, 0, m);
        for (int k = 0; k < p->count; k++) {
            if (order[k] < 0 || order[k] >= p->count || p->on[order[k]])
                return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                                "%s: row %d is no permutation of features 0 to %d", a->row->name, i,
                                p->count - 1);
            p->on[order[k]] = 1;
        }
    }
    const size_t all = (size_t)a->n * (size_t)a->points * m;
    for (size_t i = 0; a->d.coalitions && itp_perturb_regresses(a) && i < all; i++)
        if (a->d.coalitions[i] != 0 && a->d.coalitions[i] != 1)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "%s: coalitions hold %d, not 0 or 1",
                            a->row->name, (int)a->d.coalitions[i]);
    return INTERP_OK;
}

/* The feature of each number. */
ITP_FN void itp_perturb_ids(itp_attr *a)
{
    const interp_shape in = a->in_shape;
    itp_perturb *p = &a->p;
    p->order_of = -1;
    if (!p->id) return;
    if (a->d.mask) {
        itp_mask_fill(a->d.mask, &a->d.mask_shape, &in, p->id);
        return;
    }
    const size_t height = (size_t)in.dim[in.rank - 2], width = (size_t)in.dim[in.rank - 1];
    const size_t view = a->size / (size_t)itp_views(&in);
    for (size_t k = 0; k < a->size; k++)
        p->id[k] = (int32_t)(k / view) * p->tiles +
                   (int32_t)(k / width % height) / p->tile_rows * p->grid +
                   (int32_t)(k % width) / p->tile_columns;
}

ITP_FN interp_status itp_cone_run(itp_attr *a);

ITP_FN interp_status itp_attr_run_perturb(itp_attr *a)
{
    const int all = a->n * a->points;
    const bool owen = a->row->kind == ITP_P_PARTITION;
    const bool stream = !owen && a->row->kind != ITP_P_ANCHORS;
    ITP_TRY(itp_perturb_check(a));
    itp_perturb_ids(a);
    if (a->cone) return itp_cone_run(a);
    for (int i = 0; !stream && i < a->n; i++) {
        ITP_TRY(owen ? itp_owen_sample(a, i) : itp_anchor_sample(a, i));
        ITP_TRY(itp_perturb_finish(a, i));
    }
    for (int at = 0; stream && at < all; at += a->filled) {
        a->filled = itp_min(a->batch, all - at);
        for (int i = 0; i < a->filled; i++)
            itp_perturb_make(a, (at + i) / a->points, (at + i) % a->points,
                             itp_attr_slot(a, i, (at + i) / a->points));
        ITP_TRY(itp_attr_forward(a));
        const float *y = interp_workspace_target(a->w);
        for (int i = 0; i < a->filled; i++) {
            const int sample = (at + i) / a->points, index = (at + i) % a->points;
            if (index == 0) itp_perturb_start(a);
            itp_perturb_take(
                a, sample, index, a->in + (size_t)i * a->size,
                itp_attr_output(a, y + (size_t)i * (size_t)a->outputs, a->report[sample].target));
            if (index == a->points - 1) ITP_TRY(itp_perturb_finish(a, sample));
        }
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

/* ---- attr/gradient.c: methods made of gradients at many points, streamed -------------------------- */

enum {
    ITP_G_SALIENCY,
    ITP_G_PRODUCT,
    ITP_G_PATH,
    ITP_G_SMOOTH,
    ITP_G_SQUARE,
    ITP_G_VARIANCE,
    ITP_G_EXPECTED,      /* between random baselines and the input, or a noisy copy of it */
    ITP_G_BLUR,          /* from blurred to sharp */
    ITP_G_GUIDED,        /* ReLU passes what is positive both ways */
    ITP_G_GUIDED_SMOOTH, /* any activation passes positive gradients where it rises */
    ITP_G_DECONV,        /* ReLU passes what is positive on the way back */
    ITP_G_GRADIENT,      /* of a neuron */
    ITP_G_LAYER,         /* activation times gradient */
    ITP_G_CONDUCTANCE,   /* gradient times the change of the activation along the path */
    ITP_G_THROUGH,       /* as the path, but only what goes through one neuron of the layer */
    ITP_G_INFLUENCE      /* mean gradient of the layer along the path */
};

ITP_FN bool itp_attr_on_path(const itp_attr *a)
{
    const int k = a->row->kind;
    return k == ITP_G_PATH || k == ITP_G_THROUGH || k == ITP_G_CONDUCTANCE || k == ITP_G_INFLUENCE;
}

ITP_FN bool itp_attr_smooth(const itp_attr *a)
{
    return a->row->kind >= ITP_G_SMOOTH && a->row->kind <= ITP_G_VARIANCE;
}

ITP_FN interp_status itp_smooth_settle(itp_attr *a); /* in smooth.c, which uses this file */
ITP_FN interp_status itp_smooth_run(itp_attr *a);

enum { ITP_SMOOTH_COPIES = 8 }; /* at once: always as many, so that draws do not depend on memory */

/* Whether steps are doubled until the residual is small. */
ITP_FN bool itp_attr_adapts(const itp_attr *a)
{
    return a->row->kind == ITP_G_PATH && a->d.tolerance > 0;
}

ITP_FN interp_status itp_attr_settle_gradient(itp_attr *a)
{
    const int kind = a->row->kind;
    const interp_shape *s = &a->result_shape;
    if (!a->d.n_samples) a->d.n_samples = a->row->kind == ITP_G_EXPECTED ? 5 : 25;
    if (itp_attr_on_path(a)) a->points = a->d.n_steps + (kind == ITP_G_CONDUCTANCE);
    if (!a->d.max_steps) a->d.max_steps = a->d.n_steps > 31250 ? 1000000 : 32 * a->d.n_steps;
    if (itp_attr_adapts(a) && (a->d.max_steps < a->d.n_steps || a->d.max_steps > 1000000 ||
                               (int64_t)a->n * a->d.max_steps > INT_MAX || a->d.no_multiply))
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "%s: at most %d of %d steps, or a residual of what is not multiplied by the "
            "difference",
            a->row->name, a->d.max_steps, a->d.n_steps);
    if (itp_attr_smooth(a) || kind == ITP_G_EXPECTED) a->points = a->d.n_samples;
    if (kind == ITP_G_BLUR) a->points = a->d.n_steps;
    if (itp_attr_averages(a)) return itp_smooth_settle(a);
    if (kind == ITP_G_THROUGH) {
        const interp_shape layer = itp_attr_layer_shape(a);
        const int neurons = (int)interp_shape_size(&layer);
        if (a->d.neuron < 0 || a->d.neuron >= neurons)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "%s: neuron %d, but layer \"%s\" has 0 to %d", a->row->name,
                            a->d.neuron, a->net->values[a->layer].name, neurons - 1);
    }
    if (kind == ITP_G_BLUR && s->rank < 3)
        return itp_fail(a->ctx, INTERP_BAD_SHAPE, "blur_ig needs images [..,C,H,W]");
    return INTERP_OK;
}

ITP_FN void itp_attr_layout_gradient(itp_arena *m, itp_attr *a)
{
    const size_t points = (size_t)(itp_attr_adapts(a) ? a->d.max_steps : a->points);
    a->at = (double *)itp_arena_alloc(m, points * sizeof(double));
    a->weight = (double *)itp_arena_alloc(m, points * sizeof(double));
    if (itp_attr_adapts(a)) a->open = (int *)itp_arena_alloc(m, (size_t)a->n * sizeof(int));
    const size_t n = itp_mul_size((size_t)a->k, a->result_size);
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(n, sizeof(double)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size(n, sizeof(double)));
    if (itp_attr_averages(a))
        a->copies = itp_arena_floats(m, itp_mul_size(ITP_SMOOTH_COPIES, a->size));
}

/* ---- points */

/* Which baseline a random point starts from, and how far along it lies. */
ITP_FN const float *itp_attr_draw(const itp_attr *a, size_t row, double *alpha)
{
    int k = 0;
    if (a->d.n_baselines > 1)
        k = a->d.draws ? a->d.draws[row]
                       : (int)(interp_random_uniform(a->d.seed, 0x3200000u, row) *
                               (float)a->d.n_baselines);
    k = itp_max(0, itp_min(k, a->d.n_baselines - 1));
    *alpha = (double)(a->d.alphas ? a->d.alphas[row]
                                  : interp_random_uniform(a->d.seed, 0x3400000u, row));
    return a->d.baseline ? a->d.baseline + (size_t)k * a->size : NULL;
}

ITP_FN float itp_attr_noise(const itp_attr *a, int sample, size_t at)
{
    if (a->d.noise) return a->d.noise[at];
    const float sd = a->d.noise_sd > 0                ? a->d.noise_sd
                     : a->row->kind == ITP_G_EXPECTED ? 0
                                                      : (float)a->report[sample * a->k].residual;
    return sd == 0 ? 0 : sd * interp_random_normal(a->d.seed, 0x3000000u, at);
}

ITP_FN double itp_attr_max_blur(const itp_attr *a)
{
    return a->d.max_blur > 0 ? (double)a->d.max_blur : 50;
}

/* A sample under a Gaussian blur of standard deviation sd. */
ITP_FN void itp_attr_blurred(const itp_attr *a, const float *x, double sd, float *to)
{
    const int height = a->in_shape.dim[a->in_shape.rank - 2];
    const int width = a->in_shape.dim[a->in_shape.rank - 1];
    if (sd > 0.05)
        itp_blur(a->ctx, x, itp_planes(&a->in_shape), height, width, sd, a->scratch + 2 * a->size,
                 to);
    else memcpy(to, x, a->size * sizeof *to);
}

/* Blur of a point of blur_ig's path: from max_blur down to none, evenly. */
ITP_FN double itp_attr_blur_of(const itp_attr *a, double point)
{
    return itp_attr_max_blur(a) * (1 - point / a->points);
}

/* The point of a sample's path, or a noisy copy of it. */
ITP_FN void itp_attr_point(const itp_attr *a, int sample, int point, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    const size_t row = (size_t)sample * (size_t)a->points + (size_t)point, at = row * a->size;
    double alpha = 1;
    if (a->row->kind == ITP_G_BLUR) {
        itp_attr_blurred(a, x, itp_attr_blur_of(a, point + 0.5), to);
        return;
    }
    memcpy(to, x, a->size * sizeof *to);
    if (itp_attr_smooth(a) || a->row->kind == ITP_G_EXPECTED)
        for (size_t i = 0; i < a->size; i++) to[i] += itp_attr_noise(a, sample, at + i);
    if (a->row->kind == ITP_G_EXPECTED) x0 = itp_attr_draw(a, row, &alpha);
    else if (itp_attr_on_path(a)) alpha = a->at[point];
    else return;
    for (size_t i = 0; i < a->size; i++) {
        const double from = x0 ? (double)x0[i] : 0;
        to[i] = (float)(from + alpha * ((double)to[i] - from));
    }
}

/* ---- what becomes of gradients */

/* Adds a point's gradient of target j, multiplied by what the method wants. `activation`: the layer's
   numbers. */
ITP_FN void itp_attr_add(itp_attr *a, int sample, int point, int j, const float *g,
                         const float *activation)
{
    const float *x = a->x + (size_t)sample * a->size;
    const size_t row = (size_t)sample * (size_t)a->points + (size_t)point, n = a->result_size;
    const double w = itp_attr_on_path(a) ? a->weight[point] : 1;
    double alpha, *sum = a->sum + (size_t)j * n, *square = a->square + (size_t)j * n;
    float *before = a->scratch + (size_t)j * n; /* of conductance */
    const float *x0;
    switch (a->row->kind) {
    case ITP_G_EXPECTED:
        x0 = itp_attr_draw(a, row, &alpha);
        for (size_t i = 0; i < n; i++)
            sum[i] += ((double)x[i] + (double)itp_attr_noise(a, sample, row * n + i) -
                       (x0 ? (double)x0[i] : 0)) *
                      (double)g[i];
        break;
    case ITP_G_BLUR: /* the change of the image on this part of the path */
        itp_attr_blurred(a, x, itp_attr_blur_of(a, point), a->scratch);
        itp_attr_blurred(a, x, itp_attr_blur_of(a, point + 1), a->scratch + n);
        for (size_t i = 0; i < n; i++)
            sum[i] += ((double)a->scratch[n + i] - (double)a->scratch[i]) * (double)g[i];
        break;
    case ITP_G_LAYER:
        for (size_t i = 0; i < n; i++) sum[i] += (double)activation[i] * (double)g[i];
        break;
    case ITP_G_CONDUCTANCE: /* gradient of the point before times what the activation changed since */
        for (size_t i = 0; i < n; i++) {
            if (point) sum[i] += (double)before[i] * ((double)activation[i] - square[i]);
            square[i] = (double)activation[i];
        }
        memcpy(before, g, n * sizeof *g);
        break;
    default:
        for (size_t i = 0; i < n; i++) sum[i] += w * (double)g[i];
    }
    if (a->row->kind == ITP_G_SQUARE || a->row->kind == ITP_G_VARIANCE)
        for (size_t i = 0; i < n; i++) square[i] += (double)g[i] * (double)g[i];
}

ITP_FN size_t itp_attr_scratch_gradient(const itp_attr *a, int batch)
{
    const interp_shape s = a->in_shape;
    if (itp_attr_averages(a))
        return itp_mul_size(ITP_SMOOTH_COPIES, interp_shape_size(&a->result_shape));
    if (a->row->kind == ITP_G_GUIDED_SMOOTH) return itp_rule_most(a->net, batch, 0, 2);
    if (a->row->kind == ITP_G_CONDUCTANCE)
        return itp_mul_size((size_t)a->k, interp_shape_size(&a->result_shape));
    if (a->row->kind != ITP_G_BLUR) return 0;
    return itp_add_size(2 * a->size, itp_blur_floats(itp_planes(&s), s.dim[s.rank - 2],
                                                     s.dim[s.rank - 1], itp_attr_max_blur(a)));
}

/* A sample whose points are all in: its attribution for target j, and residual. */
ITP_FN void itp_attr_finish(itp_attr *a, int sample, int j)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    const size_t row = (size_t)sample * (size_t)a->k + (size_t)j;
    const double *sum = a->sum + (size_t)j * a->result_size;
    const double *square = a->square + (size_t)j * a->result_size;
    float *out = a->result + row * a->result_size;
    interp_attribution *r = &a->report[row];
    double total = 0;
    for (size_t i = 0; i < a->result_size; i++) {
        const double mean = sum[i] / a->points;
        double v = sum[i];
        switch (a->row->kind) {
        case ITP_G_SALIENCY: v = a->d.keep_sign ? v : fabs(v); break;
        case ITP_G_PRODUCT: v *= (double)x[i]; break;
        case ITP_G_THROUGH:
        case ITP_G_PATH:
            if (!a->d.no_multiply) v *= (double)x[i] - (x0 ? (double)x0[i] : 0);
            break;
        case ITP_G_SMOOTH:
        case ITP_G_EXPECTED: v = mean; break;
        case ITP_G_SQUARE: v = square[i] / a->points; break;
        case ITP_G_VARIANCE: v = square[i] / a->points - mean * mean; break;
        default: break;
        }
        out[i] = (float)v;
        total += v;
    }
    const bool mean = a->row->kind == ITP_G_SMOOTH || a->row->kind == ITP_G_SQUARE ||
                      a->row->kind == ITP_G_VARIANCE; /* of gradients, which add up to nothing */
    r->residual = mean ? (double)NAN : total - (r->output - r->baseline_output);
    r->nodes = a->touched;
    if (a->open) r->passes += a->points - (r->steps ? 0 : a->d.n_steps);
    r->steps = itp_attr_on_path(a) || a->row->kind == ITP_G_BLUR ? a->points : 0;
}

ITP_FN int itp_guided_way(const itp_attr *a)
{
    const int k = a->row->kind;
    return k == ITP_G_GUIDED ? ITP_WAY_GUIDED : k == ITP_G_DECONV ? ITP_WAY_BACK : ITP_WAY_SMOOTH;
}

ITP_FN void itp_guided_rule(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    itp_guided_node(w, node, itp_guided_way(a), a->scratch);
}

/* ---- one neuron: what goes around it is cut off */

/* Whether a node after this one has written the gradient of a value made before it. */
ITP_FN bool itp_through_written(const interp_workspace *w, int node, int value)
{
    for (int m = node + 1; m < w->net->n_nodes; m++)
        for (int k = 0; w->runs_back[m] && k < itp_at(w, m)->n_in; k++)
            if (itp_at(w, m)->in[k] == value && itp_passes_grad(itp_at(w, m), k)) return true;
    return false;
}

/* At the node that makes the layer all gradients but that of the neuron become 0: those of its other
   numbers, and of what reaches the output without it. */
ITP_FN void itp_through_rule(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    const interp_net *net = a->net;
    if (node == net->values[a->layer].producer) {
        for (int v = 0; v < net->n_values; v++)
            if (v != a->layer && w->grad[v] && net->values[v].producer < node &&
                itp_through_written(w, node, v))
                memset(w->grad[v], 0, itp_count(&w->shape[v]) * sizeof(float));
        const size_t size = itp_count(&w->shape[a->layer]) / (size_t)a->batch;
        for (size_t i = 0; i < size * (size_t)a->batch; i++)
            if (i % size != (size_t)a->d.neuron) w->grad[a->layer][i] = 0;
    }
    itp_op_backward(w, node);
}

/* The sample of point number `at` of the stream. */
ITP_FN int itp_attr_sample(const itp_attr *a, int at)
{
    return a->open ? a->open[at / a->points] : at / a->points;
}

/* ---- the stream: points (sample, step) go through the network batch by batch */

ITP_FN interp_status itp_attr_flush(itp_attr *a)
{
    if (!a->filled) return INTERP_OK;
    ITP_TRY(itp_attr_forward(a));
    const float *kept = interp_workspace_kept(a->w);
    for (int j = 0; j < a->k; j++) {
        memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
        for (int i = 0; i < a->filled; i++)
            itp_attr_seed(a, i, a->report[itp_attr_sample(a, a->first + i) * a->k + j].target, 1);
        ITP_TRY(interp_backward(a->w, a->seed));
        const float *grad = itp_attr_grad(a);
        for (int i = 0; i < a->filled; i++) {
            const int sample = itp_attr_sample(a, a->first + i);
            const int point = (a->first + i) % a->points;
            const size_t at = (size_t)i * a->result_size, sums = (size_t)j * a->result_size;
            if (point == 0) {
                memset(a->sum + sums, 0, a->result_size * sizeof *a->sum);
                memset(a->square + sums, 0, a->result_size * sizeof *a->square);
            }
            itp_attr_add(a, sample, point, j, grad + at, kept ? kept + at : NULL);
            if (point == a->points - 1) itp_attr_finish(a, sample, j);
        }
    }
    a->first += a->filled;
    const int done = a->filled;
    a->filled = 0;
    return itp_attr_tick(a, done);
}

/* 0.15 of each sample's range, kept in its residual until it is done. */
ITP_FN void itp_attr_ranges(itp_attr *a)
{
    for (int s = 0; s < a->n; s++) {
        const float *x = a->x + (size_t)s * a->size;
        float low = x[0], high = x[0];
        for (size_t i = 1; i < a->size; i++) {
            low = x[i] < low ? x[i] : low;
            high = x[i] > high ? x[i] : high;
        }
        a->report[s * a->k].residual = 0.15 * ((double)high - (double)low);
    }
}

/* All points of the samples at hand. */
ITP_FN interp_status itp_attr_stream(itp_attr *a)
{
    const int n = a->open ? a->n_open : a->n;
    if (itp_attr_on_path(a))
        ITP_TRY(interp_quadrature_rule(a->ctx, a->d.quadrature, a->points, a->at, a->weight));
    for (int p = 0; p < a->points && a->d.captum; p++)
        if (a->d.quadrature == INTERP_RIEMANN_TRAPEZOID)
            a->weight[p] *= (a->points - 1.0) / a->points;
    a->first = 0;
    for (int s = 0; s < n; s++)
        for (int p = 0; p < a->points; p++) {
            const int sample = a->open ? a->open[s] : s;
            itp_attr_point(a, sample, p, itp_attr_slot(a, a->filled++, sample));
            if (a->filled == a->batch) ITP_TRY(itp_attr_flush(a));
        }
    return itp_attr_flush(a);
}

/* Drops the samples whose residuals are small enough; how many are left. */
ITP_FN int itp_attr_close(itp_attr *a)
{
    int left = 0;
    for (int s = 0; s < a->n_open; s++) {
        bool small = true;
        for (int j = 0; j < a->k; j++) {
            const interp_attribution *r = &a->report[a->open[s] * a->k + j];
            small = small && fabs(r->residual) <=
                                 (double)a->d.tolerance * fabs(r->output - r->baseline_output);
        }
        if (!small) a->open[left++] = a->open[s];
    }
    return a->n_open = left;
}

ITP_FN interp_status itp_attr_run_gradient(itp_attr *a)
{
    if (itp_attr_smooth(a)) itp_attr_ranges(a);
    if (itp_attr_averages(a)) return itp_smooth_run(a);
    if (a->row->kind >= ITP_G_GUIDED && a->row->kind <= ITP_G_DECONV) {
        a->w->rule = itp_guided_rule, a->w->rule_user = a;
        a->touched = itp_guided_nodes(a, itp_guided_way(a));
    }
    if (a->row->kind == ITP_G_THROUGH) {
        const int made = a->net->values[a->layer].producer;
        if (made < 0 || !a->w->runs_back[made])
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "%s: layer \"%s\" does not lie between input and output", a->row->name,
                            a->net->values[a->layer].name);
        a->w->rule = itp_through_rule, a->w->rule_user = a;
    }
    a->n_open = a->n;
    for (int s = 0; a->open && s < a->n; s++) a->open[s] = s;
    ITP_TRY(itp_attr_stream(a));
    while (a->open && itp_attr_close(a) && a->points < a->d.max_steps) {
        a->points = itp_min(a->d.max_steps, 2 * a->points);
        a->total += (double)a->n_open * a->points;
        ITP_TRY(itp_attr_stream(a));
    }
    return INTERP_OK;
}

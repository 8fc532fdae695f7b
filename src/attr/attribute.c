/* ---- attr/attribute.c: gradient methods, streamed ------------------------------------------------- */

INTERP_API const char *interp_method_name(interp_method method)
{
    static const char *const names[] = {"saliency",    "input_x_gradient", "integrated_gradients",
                                        "smooth_grad", "smooth_grad_sq",   "var_grad"};
    return (unsigned)method < INTERP_METHOD_COUNT ? names[method] : "?";
}

INTERP_API interp_method interp_method_from_name(const char *name)
{
    int m = 0;
    while (m < INTERP_METHOD_COUNT && strcmp(interp_method_name((interp_method)m), name)) m++;
    return (interp_method)m;
}

/* ---- integration rules */

/* P_n(cos t) and its derivative by t, from Bonnet's recurrence: n steps. It adds up differences, so
   that nothing is lost where cos t is almost 1. */
ITP_FN double itp_legendre(int n, double t, double *slope)
{
    const double half = sin(0.5 * t), u = 2 * half * half; /* 1 - cos t */
    double p = 1, step = 0;                                /* P_k and P_k - P_{k-1} */
    for (int k = 0; k < n; k++) {
        step = (k * step - (2 * k + 1) * u * p) / (k + 1);
        p += step;
    }
    *slope = n * (step - u * p) / sin(t);
    return p;
}

/* The factor 2 Gamma(n+1) / (sqrt(pi) Gamma(n+3/2)) of the expansion below, by Stirling's series. */
ITP_FN double itp_legendre_factor(int n)
{
    const double a = n + 1.0, b = n + 1.5, a2 = a * a, b2 = b * b;
    const double series = (1 / 12.0 - 1 / (360 * a2) + 1 / (1260 * a2 * a2)) / a -
                          (1 / 12.0 - 1 / (360 * b2) + 1 / (1260 * b2 * b2)) / b;
    const double shrink = exp(0.5 + series - (n + 0.5) * log1p(0.5 / a));
    return 2 * shrink / sqrt(3.14159265358979323846 * b);
}

/* The same by Stieltjes' expansion in cos((n+m+1/2)t - (m+1/2)pi/2) / (2 sin t)^(m+1/2), which takes
   about ten terms from the ITP_LEGENDRE_EDGE-th root on (Hale and Townsend 2013, eq. 3.3). */
ITP_FN double itp_legendre_far(int n, double factor, double t, double *slope)
{
    const double s = sin(t), cot = cos(t) / s;
    double h = factor / sqrt(2 * s), p = 0, d = 0;
    for (int m = 0; m < 60 && h > 1e-18 * factor; m++) {
        const double order = m + 0.5;
        const double phase = (n + order) * t - order * (0.5 * 3.14159265358979323846);
        const double c = h * cos(phase);
        p += c;
        d -= (n + order) * h * sin(phase) + order * cot * c;
        h *= order * order / ((m + 1) * (n + order + 1) * 2 * s);
    }
    *slope = d;
    return p;
}

enum { ITP_LEGENDRE_EDGE = 30 }; /* roots at each end that are found by the recurrence */

/* Roots cos(t) of the Legendre polynomial by Newton's method from Tricomi's estimate: a fixed number
   of operations each, but for those at the ends. */
ITP_FN interp_status itp_gauss_legendre(interp_ctx *ctx, int n, double *at, double *weight)
{
    const int half = (n + 1) / 2;
    const double factor = itp_legendre_factor(n), m = n;
    for (int i = 0; i < half; i++) {
        const double guess = 3.14159265358979323846 * (i + 0.75) / (m + 0.5);
        double t = guess + (m - 1) / (8 * m * m * m) * cos(guess) / sin(guess), slope = 1;
        bool near = false; /* once a step was small, the next one ends below rounding */
        for (int round = 0; round < 20; round++) {
            const double p = i < ITP_LEGENDRE_EDGE ? itp_legendre(n, t, &slope)
                                                   : itp_legendre_far(n, factor, t, &slope);
            const double step = p / slope;
            t -= step;
            if (near) break;
            near = m * fabs(step) < 1e-6;
        }
        const double low = sin(0.5 * t), high = cos(0.5 * t);
        at[i] = low * low, at[n - 1 - i] = high * high;
        weight[i] = weight[n - 1 - i] = 1 / (slope * slope);
        if (i < ITP_LEGENDRE_EDGE || i % 1024 == 0)
            ITP_TRY(itp_progress(ctx, "quadrature", i, half, (double)NAN));
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight)
{
    if (n < 1 || (rule == INTERP_RIEMANN_TRAPEZOID && n < 2) || n > 1000000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%d steps are too few or too many for the rule",
                        n);
    if (rule == INTERP_GAUSS_LEGENDRE) return itp_gauss_legendre(ctx, n, at, weight);
    for (int i = 0; i < n; i++) {
        weight[i] = 1.0 / n;
        switch (rule) {
        case INTERP_RIEMANN_LEFT: at[i] = (double)i / n; break;
        case INTERP_RIEMANN_RIGHT: at[i] = (double)(i + 1) / n; break;
        case INTERP_RIEMANN_MIDDLE: at[i] = (i + 0.5) / n; break;
        case INTERP_RIEMANN_TRAPEZOID:
            at[i] = (double)i / (n - 1);
            weight[i] = (i == 0 || i == n - 1 ? 0.5 : 1.0) / (n - 1);
            break;
        default: return itp_fail(ctx, INTERP_BAD_ARGUMENT, "quadrature %d is not known", (int)rule);
        }
    }
    return INTERP_OK;
}

/* ---- one run: points (sample, step) go through the network batch by batch */

typedef struct itp_attr {
    interp_ctx *ctx;
    interp_net *net;
    interp_attribute_desc d; /* defaults filled in */
    const float *x;
    int n, points; /* samples, and points of each */
    size_t size;   /* numbers of one input */
    int outputs, batch;
    interp_workspace *w;
    double *at, *weight;  /* [points] of integrated gradients */
    float *in, *seed;     /* [batch, size], [batch, outputs] */
    double *sum, *square; /* [size]: of the sample at hand */
    float *result;        /* [n, size] */
    interp_attribution *report;
    int filled;  /* points waiting in `in` */
    int first;   /* number of the first of them, counted over all samples */
    double done; /* passes, for the progress hook */
} itp_attr;

ITP_FN bool itp_attr_smooth(const itp_attr *a)
{
    return a->d.method >= INTERP_SMOOTH_GRAD;
}

ITP_FN void itp_attr_layout(itp_arena *m, itp_attr *a)
{
    const size_t b = (size_t)a->batch, n = (size_t)a->n;
    a->at = (double *)itp_arena_alloc(m, (size_t)a->points * sizeof(double));
    a->weight = (double *)itp_arena_alloc(m, (size_t)a->points * sizeof(double));
    a->in = itp_arena_floats(m, itp_mul_size(b, a->size));
    a->seed = itp_arena_floats(m, itp_mul_size(b, (size_t)a->outputs));
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(a->size, sizeof(double)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size(a->size, sizeof(double)));
    a->result = itp_arena_floats(m, itp_mul_size(n, a->size));
    a->report = (interp_attribution *)itp_arena_alloc(m, itp_mul_size(n, sizeof *a->report));
}

ITP_FN const float *itp_attr_baseline(const itp_attr *a, int sample)
{
    if (!a->d.baseline) return NULL;
    return a->d.baseline + (a->d.n_baselines > 1 ? (size_t)sample * a->size : 0);
}

/* The output of a slot that is explained. */
ITP_FN double itp_attr_output(const itp_attr *a, const float *y, int target)
{
    double sum = 0;
    if (target >= 0) return (double)y[target];
    for (int k = 0; k < a->outputs; k++) sum += (double)y[k];
    return sum;
}

/* Fills up a batch that must have its size: a fixed one, or the last. */
ITP_FN void itp_attr_pad(itp_attr *a)
{
    for (int i = a->filled; i < a->batch; i++)
        memcpy(a->in + (size_t)i * a->size, a->in, a->size * sizeof *a->in);
}

ITP_FN interp_status itp_attr_forward(itp_attr *a)
{
    const float *in = a->in;
    itp_attr_pad(a);
    ITP_TRY(interp_forward(a->w, &in));
    const float *y = interp_workspace_target(a->w);
    if (!itp_is_finite(y, (size_t)a->filled * (size_t)a->outputs))
        return itp_fail(
            a->ctx, INTERP_NOT_FINITE,
            "attribution: the network's output is NaN or infinite: look for such numbers "
            "in its weights");
    return INTERP_OK;
}

/* Outputs at the inputs (which = 0) or at the baselines (which = 1), and the targets. */
ITP_FN interp_status itp_attr_outputs(itp_attr *a, int which)
{
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        for (int i = 0; i < a->filled; i++) {
            float *to = a->in + (size_t)i * a->size;
            const float *x0 = itp_attr_baseline(a, at + i);
            if (!which) memcpy(to, a->x + (size_t)(at + i) * a->size, a->size * sizeof *to);
            else if (x0) memcpy(to, x0, a->size * sizeof *to);
            else memset(to, 0, a->size * sizeof *to);
        }
        ITP_TRY(itp_attr_forward(a));
        for (int i = 0; i < a->filled; i++) {
            const float *y = interp_workspace_target(a->w) + (size_t)i * (size_t)a->outputs;
            interp_attribution *r = &a->report[at + i];
            if (!which && a->d.target_kind == INTERP_TARGET_PREDICTED)
                r->target = interp_argmax(y, a->outputs);
            *(which ? &r->baseline_output : &r->output) = itp_attr_output(a, y, r->target);
        }
        a->done += a->filled;
        ITP_TRY(itp_progress(a->ctx, interp_method_name(a->d.method), a->done,
                             (double)a->n * (a->points + 2), (double)NAN));
    }
    a->filled = 0;
    return INTERP_OK;
}

/* The point of a sample's path, or a noisy copy of it. */
ITP_FN void itp_attr_point(const itp_attr *a, int sample, int point, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    if (a->d.method == INTERP_INTEGRATED_GRADIENTS) {
        for (size_t i = 0; i < a->size; i++) {
            const double from = x0 ? (double)x0[i] : 0;
            to[i] = (float)(from + a->at[point] * ((double)x[i] - from));
        }
    } else if (itp_attr_smooth(a)) {
        const size_t row = ((size_t)sample * (size_t)a->points + (size_t)point) * a->size;
        const float sd = a->d.noise_sd > 0 ? a->d.noise_sd : (float)a->report[sample].residual;
        for (size_t i = 0; i < a->size; i++)
            to[i] = x[i] + (a->d.noise ? a->d.noise[row + i]
                                       : sd * interp_random_normal(a->d.seed, 0x3000000u, row + i));
    } else {
        memcpy(to, x, a->size * sizeof *to);
    }
}

/* A sample whose points are all in: its attribution and residual. */
ITP_FN void itp_attr_finish(itp_attr *a, int sample)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    float *out = a->result + (size_t)sample * a->size;
    interp_attribution *r = &a->report[sample];
    double total = 0;
    for (size_t i = 0; i < a->size; i++) {
        const double mean = a->sum[i] / a->points;
        double v = a->sum[i];
        switch (a->d.method) {
        case INTERP_SALIENCY: v = a->d.keep_sign ? v : fabs(v); break;
        case INTERP_INPUT_X_GRADIENT: v *= (double)x[i]; break;
        case INTERP_INTEGRATED_GRADIENTS:
            if (!a->d.no_multiply) v *= (double)x[i] - (x0 ? (double)x0[i] : 0);
            break;
        case INTERP_SMOOTH_GRAD: v = mean; break;
        case INTERP_SMOOTH_GRAD_SQ: v = a->square[i] / a->points; break;
        case INTERP_VAR_GRAD: v = a->square[i] / a->points - mean * mean; break;
        case INTERP_METHOD_COUNT: break;
        }
        out[i] = (float)v;
        total += v;
    }
    r->residual = total - (r->output - r->baseline_output);
    r->passes = a->points + 2;
}

/* Runs the points that wait and adds up their gradients, sample after sample. */
ITP_FN interp_status itp_attr_flush(itp_attr *a)
{
    if (!a->filled) return INTERP_OK;
    ITP_TRY(itp_attr_forward(a));
    memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
    for (int i = 0; i < a->filled; i++) {
        const int target = a->report[(a->first + i) / a->points].target;
        float *seed = a->seed + (size_t)i * (size_t)a->outputs;
        if (target >= 0) seed[target] = 1;
        else itp_fill(seed, (size_t)a->outputs, 1);
    }
    ITP_TRY(interp_backward(a->w, a->seed));
    const float *grad = interp_workspace_input_grad(a->w, 0);
    for (int i = 0; i < a->filled; i++, grad += a->size) {
        const int sample = (a->first + i) / a->points, point = (a->first + i) % a->points;
        if (point == 0) {
            memset(a->sum, 0, a->size * sizeof *a->sum);
            memset(a->square, 0, a->size * sizeof *a->square);
        }
        const double w = a->d.method == INTERP_INTEGRATED_GRADIENTS ? a->weight[point] : 1;
        for (size_t j = 0; j < a->size; j++) a->sum[j] += w * (double)grad[j];
        if (a->d.method == INTERP_SMOOTH_GRAD_SQ || a->d.method == INTERP_VAR_GRAD)
            for (size_t j = 0; j < a->size; j++) a->square[j] += (double)grad[j] * (double)grad[j];
        if (point == a->points - 1) itp_attr_finish(a, sample);
    }
    a->first += a->filled;
    a->done += a->filled;
    a->filled = 0;
    return itp_progress(a->ctx, interp_method_name(a->d.method), a->done,
                        (double)a->n * (a->points + 2), (double)NAN);
}

ITP_FN interp_status itp_attr_defaults(itp_attr *a, interp_net *net, int n,
                                       const interp_attribute_desc *desc)
{
    memset(a, 0, sizeof *a);
    a->ctx = net->ctx;
    a->net = net;
    a->n = n;
    if (desc) a->d = *desc;
    interp_attribute_desc *d = &a->d;
    if (d->target && d->target_kind == INTERP_TARGET_PREDICTED)
        d->target_kind = INTERP_TARGET_CLASS;
    if (!d->n_steps) d->n_steps = 50;
    if (!d->n_samples) d->n_samples = 25;
    if (!d->n_baselines) d->n_baselines = 1;
    a->points = d->method == INTERP_INTEGRATED_GRADIENTS ? d->n_steps
                : itp_attr_smooth(a)                     ? d->n_samples
                                                         : 1;
    if (net->n_inputs != 1)
        return itp_fail(a->ctx, INTERP_UNSUPPORTED,
                        "attribution: network \"%s\" has %d inputs, not one", net->name,
                        net->n_inputs);
    if ((unsigned)d->method >= INTERP_METHOD_COUNT || n < 1 || a->points < 1 || d->batch < 0 ||
        !(d->noise_sd >= 0) || (int64_t)n * a->points > INT_MAX)
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "attribution: a setting is out of range: %d samples, %d steps, %d noisy copies", n,
            d->n_steps, d->n_samples);
    if (d->n_baselines != 1 && d->n_baselines != n)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: %d baselines for %d samples: give one, or one for each",
                        d->n_baselines, n);
    const interp_shape in = interp_net_input_shape(net, 0), out = interp_net_output_shape(net, 0);
    a->size = interp_shape_size(&in);
    a->outputs = (int)interp_shape_size(&out);
    return INTERP_OK;
}

/* The workspace the passes run in, the batch as large as wanted and as memory allows. bytes: all that
   the run takes, rounding included. */
ITP_FN interp_status itp_attr_batch(itp_attr *a, interp_workspace_desc *w, size_t *bytes)
{
    const int64_t all = (int64_t)a->n * a->points;
    const int want = a->d.batch ? a->d.batch : 32;
    itp_arena fixed = {NULL, 0};
    itp_fit fit;
    memset(w, 0, sizeof *w);
    w->input_grads = true;
    a->batch = 0;
    itp_attr_layout(&fixed, a); /* what there must be whatever the batch */
    memset(&fit, 0, sizeof fit);
    fit.work = *w;
    fit.most = all < want ? (int)all : want;
    fit.floats = a->size + (size_t)a->outputs;
    fit.reserve = itp_add_size(fixed.used, 2 * ITP_CACHE_LINE); /* two arrays of them, rounded up */
    a->batch = itp_fit_most(a->ctx, a->net, &fit);
    if (!a->batch) return a->ctx->status;
    if (all > a->batch) ITP_TRY(itp_fit_pack(a->ctx, a->net, &fit, a->batch));
    *w = fit.work;
    w->batch = a->batch;
    return itp_fit_bytes(a->ctx, a->net, &fit, a->batch, bytes);
}

ITP_FN interp_status itp_attr_targets(itp_attr *a)
{
    const interp_attribute_desc *d = &a->d;
    if (d->target_kind == INTERP_TARGET_LABELS && !d->targets)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: the labels to explain were not given: set targets");
    for (int i = 0; i < a->n; i++) {
        int t = -1;
        if (d->target_kind == INTERP_TARGET_CLASS) t = d->target;
        if (d->target_kind == INTERP_TARGET_LABELS) t = d->targets[i];
        if ((d->target_kind == INTERP_TARGET_CLASS || d->target_kind == INTERP_TARGET_LABELS) &&
            (t < 0 || t >= a->outputs))
            return itp_fail(
                a->ctx, INTERP_BAD_ARGUMENT,
                "attribution: target %d of sample %d, but the network has outputs 0 to %d", t, i,
                a->outputs - 1);
        a->report[i].target = t;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_run(itp_attr *a)
{
    ITP_TRY(itp_attr_targets(a));
    ITP_TRY(itp_progress(a->ctx, interp_method_name(a->d.method), 0, (double)a->n * (a->points + 2),
                         (double)NAN));
    if (a->d.method == INTERP_INTEGRATED_GRADIENTS)
        ITP_TRY(interp_quadrature_rule(a->ctx, a->d.quadrature, a->points, a->at, a->weight));
    ITP_TRY(itp_attr_outputs(a, 0));
    ITP_TRY(itp_attr_outputs(a, 1));
    for (int s = 0; itp_attr_smooth(a) && s < a->n; s++) { /* sd of each sample, until it is done */
        const float *x = a->x + (size_t)s * a->size;
        float low = x[0], high = x[0];
        for (size_t i = 1; i < a->size; i++) {
            low = x[i] < low ? x[i] : low;
            high = x[i] > high ? x[i] : high;
        }
        a->report[s].residual = 0.15 * ((double)high - (double)low);
    }
    for (int s = 0; s < a->n; s++)
        for (int p = 0; p < a->points; p++) {
            itp_attr_point(a, s, p, a->in + (size_t)a->filled++ * a->size);
            if (a->filled == a->batch) ITP_TRY(itp_attr_flush(a));
        }
    return itp_attr_flush(a);
}

INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes)
{
    itp_attr a;
    interp_workspace_desc w;
    ITP_TRY(itp_attr_defaults(&a, net, n, desc));
    return itp_attr_batch(&a, &w, bytes);
}

INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report)
{
    itp_attr a;
    interp_workspace_desc w;
    itp_arena arena = {NULL, 0};
    size_t bytes;
    ITP_TRY(itp_attr_defaults(&a, net, n, desc));
    a.x = x;
    const size_t size = (size_t)n * a.size;
    if (!itp_is_finite(x, size) ||
        (a.d.baseline && !itp_is_finite(a.d.baseline, (size_t)a.d.n_baselines * a.size)))
        return itp_fail(a.ctx, INTERP_NOT_FINITE,
                        "attribution: the input or the baseline holds NaN or infinite numbers");
    ITP_TRY(itp_attr_batch(&a, &w, &bytes));
    itp_attr_layout(&arena, &a);
    char *block = (char *)interp_alloc(a.ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block, arena.used = 0;
    itp_attr_layout(&arena, &a);
    memset(a.report, 0, (size_t)n * sizeof *a.report);
    interp_status status = interp_workspace_new(a.ctx, net, &w, &a.w);
    if (!status) status = itp_attr_run(&a);
    if (!status) {
        memcpy(out, a.result, size * sizeof *out);
        if (report) memcpy(report, a.report, (size_t)n * sizeof *report);
    }
    interp_workspace_free(a.w);
    interp_free(a.ctx, block);
    return status;
}

/* ---- baselines */

/* Gaussian blur of one plane along one axis, edges repeated; weights[0..radius]. */
ITP_FN void itp_blur_axis(const float *from, float *to, int height, int width, bool rows,
                          const float *weights, int radius)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double sum = 0;
            for (int t = -radius; t <= radius; t++) {
                const int sy = rows ? y : itp_min(itp_max(y + t, 0), height - 1);
                const int sx = rows ? itp_min(itp_max(x + t, 0), width - 1) : x;
                sum += (double)weights[t < 0 ? -t : t] *
                       (double)from[(size_t)sy * (size_t)width + (size_t)sx];
            }
            to[(size_t)y * (size_t)width + (size_t)x] = (float)sum;
        }
}

ITP_FN interp_status itp_baseline_blur(interp_ctx *ctx, const float *x, size_t planes, int height,
                                       int width, float *out)
{
    float weights[65];
    const double sd = fmax(1, height / 8.0);
    const int radius = itp_min(64, (int)(3 * sd));
    double sum = 0;
    for (int t = 0; t <= radius; t++) {
        weights[t] = (float)exp(-0.5 * t * t / (sd * sd));
        sum += (double)weights[t] * (t ? 2 : 1);
    }
    for (int t = 0; t <= radius; t++) weights[t] = (float)((double)weights[t] / sum);
    const size_t area = (size_t)height * (size_t)width;
    float *half = (float *)interp_alloc(ctx, area * sizeof *half);
    if (!half) return INTERP_NO_MEMORY;
    for (size_t p = 0; p < planes; p++) {
        itp_blur_axis(x + p * area, half, height, width, true, weights, radius);
        itp_blur_axis(half, out + p * area, height, width, false, weights, radius);
    }
    interp_free(ctx, half);
    return INTERP_OK;
}

INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out)
{
    const size_t size = interp_shape_size(sample), all = (size_t)n * size;
    const size_t channels = sample->rank == 3 ? (size_t)sample->dim[0] : 1;
    const size_t area = size / itp_max_size(1, channels);
    float low = all ? x[0] : 0, high = low;
    for (size_t i = 0; i < all; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    switch (kind) {
    case INTERP_BASELINE_ZERO: itp_fill(out, all, 0); return INTERP_OK;
    case INTERP_BASELINE_MIN: itp_fill(out, all, low); return INTERP_OK;
    case INTERP_BASELINE_MAX: itp_fill(out, all, high); return INTERP_OK;
    case INTERP_BASELINE_MEAN:
        for (size_t p = 0; p < all; p += area)
            itp_fill(out + p, area, (float)(ctx->k->sum(area, x + p) / (double)area));
        return INTERP_OK;
    case INTERP_BASELINE_NOISE:
        for (size_t i = 0; i < all; i++)
            out[i] = low + (high - low) * interp_random_uniform(seed, 0x3100000u, i);
        return INTERP_OK;
    case INTERP_BASELINE_BLUR:
        if (sample->rank != 3)
            return itp_fail(ctx, INTERP_BAD_SHAPE, "a blurred baseline needs images [C,H,W]");
        return itp_baseline_blur(ctx, x, (size_t)n * channels, sample->dim[1], sample->dim[2], out);
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "baseline %d is not known", (int)kind);
}

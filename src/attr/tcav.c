/* ---- attr/tcav.c: whether an output grows along a concept ----------------------------------------

   A concept's direction in a layer is the normal w of a ridge classifier of its examples against
   random ones. As w is a sum of examples, w = sum beta_i a_i, all is done by their products: K = a_i . a_j
   for the classifiers, g . a_i for the derivatives along all of them at once. */

enum { ITP_MOST_EXAMPLES = 4096 };

typedef struct itp_tcav {
    interp_tcav_desc d; /* defaults filled in */
    int m;              /* examples: the concept's, then the random ones */
    size_t size;        /* numbers of the layer */
    float *acts;        /* [m, size] */
    double *gram;       /* [m, m] */
    double *beta;       /* [2 splits, m]: a direction of the concept, then one of random examples */
    double *matrix;     /* [m, m]: of the classifier at hand */
    double *part;       /* [m]: g . a_i */
    int *order;         /* [m] */
    double *grows;      /* [2 splits]: samples whose output grows along it */
    double *up, *all;   /* [2 splits]: sums of derivatives, the positive ones and all sizes */
    double right, tried; /* held-out examples */
    interp_tcav_result *out;
    float *cav; /* NULL, or [size] */
    const float *g;
} itp_tcav;

/* ---- Student's t */

/* Two-sided p of Welch's test that two samples of n each have one mean. */
ITP_FN double itp_welch(double mean0, double var0, double mean1, double var1, int n)
{
    const double u = var0 / n, v = var1 / n, d = mean0 - mean1;
    if (u + v <= 1e-30) return d == 0;
    const double freedom = (u + v) * (u + v) / ((u * u + v * v) / (n - 1));
    return itp_incomplete_beta(freedom / 2, 0.5, freedom / (freedom + d * d / (u + v)));
}

/* ---- classifiers */

/* Examples order[0 .. n) of which the first `ones` are +1 and the others -1: beta of their direction;
   the sum of beta is 0. */
ITP_FN void itp_tcav_fit(itp_tcav *t, int n, int ones, double *beta)
{
    double *c = t->matrix, *rhs = t->part, trace = 0, sum = 0;
    const size_t wide = (size_t)t->m;
    for (int i = 0; i < n; i++) { /* means of rows, then the middle: K of centred examples */
        rhs[i] = 0;
        for (int j = 0; j < n; j++) {
            const double k = t->gram[(size_t)t->order[i] * wide + (size_t)t->order[j]];
            c[(size_t)i * wide + (size_t)j] = k;
            rhs[i] += k / n;
        }
        sum += rhs[i] / n;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) c[(size_t)i * wide + (size_t)j] += sum - rhs[i] - rhs[j];
    for (int i = 0; i < n; i++) trace += c[(size_t)i * (wide + 1)] / n;
    const double ridge = fmax((double)t->d.penalty * trace, 1e-30), mean = (2.0 * ones - n) / n;
    for (int i = 0; i < n; i++) {
        c[(size_t)i * (wide + 1)] += ridge;
        rhs[i] = (i < ones ? 1 : -1) - mean;
    }
    itp_cholesky_solve(c, n, wide, rhs, 1);
    sum = 0;
    for (int i = 0; i < n; i++) sum += rhs[i] / n;
    memset(beta, 0, wide * sizeof *beta);
    for (int i = 0; i < n; i++) beta[t->order[i]] = rhs[i] - sum;
}

/* Counts how many of the examples that a direction has not seen lie on their own side of its middle. */
ITP_FN void itp_tcav_hold_out(itp_tcav *t, const double *beta)
{
    double middle = 0, sides[2] = {0, 0};
    for (int which = 0; which < 2; which++) {
        const int from = which ? t->d.n_examples : 0, to = which ? t->m : t->d.n_examples;
        double n = 0;
        for (int i = from; i < to; i++)
            for (int j = 0; j < t->m && beta[i] != 0; j++)
                sides[which] += beta[j] * t->gram[(size_t)i * (size_t)t->m + (size_t)j];
        for (int i = from; i < to; i++) n += beta[i] != 0;
        middle += 0.5 * sides[which] / fmax(1, n);
    }
    for (int i = 0; i < t->m; i++) {
        double at = 0;
        if (beta[i] != 0) continue;
        for (int j = 0; j < t->m; j++)
            at += beta[j] * t->gram[(size_t)i * (size_t)t->m + (size_t)j];
        t->right += (at > middle) == (i < t->d.n_examples);
        t->tried++;
    }
}

/* Directions of all splits: half of the concept against half of the random examples, and one half of
   these against the other. */
ITP_FN void itp_tcav_directions(itp_tcav *t)
{
    const int nc = t->d.n_examples, nr = t->d.n_random, half = nc / 2, some = nr / 2;
    for (int s = 0; s < t->d.splits; s++) {
        double *beta = t->beta + 2 * (size_t)s * (size_t)t->m;
        int *order = t->order, *random = order + half;
        for (int i = 0; i < nc; i++) order[i] = i;
        itp_shuffle(order, nc, t->d.seed, 0x3800000u + 2 * (uint64_t)s);
        for (int i = 0; i < nr; i++) random[i] = nc + i; /* over the concept's other half */
        itp_shuffle(random, nr, t->d.seed, 0x3800001u + 2 * (uint64_t)s);
        itp_tcav_fit(t, half + some, half, beta);
        itp_tcav_hold_out(t, beta);
        memmove(order, random, (size_t)nr * sizeof *order);
        itp_tcav_fit(t, nr, some, beta + t->m);
    }
}

/* The direction of the whole concept against all random examples, of length 1. */
ITP_FN void itp_tcav_whole(itp_tcav *t)
{
    double size = 0, *beta = t->beta;
    for (int i = 0; i < t->m; i++) t->order[i] = i;
    itp_tcav_fit(t, t->m, t->d.n_examples, beta);
    for (size_t k = 0; k < t->size; k++) {
        double w = 0;
        for (int i = 0; i < t->m; i++) w += beta[i] * (double)t->acts[(size_t)i * t->size + k];
        t->cav[k] = (float)w;
        size += w * w;
    }
    for (size_t k = 0; k < t->size && size > 0; k++)
        t->cav[k] = (float)((double)t->cav[k] / sqrt(size));
}

/* ---- passes */

ITP_FN void itp_tcav_gram_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_attr *a = (const itp_attr *)arg;
    const itp_tcav *t = (const itp_tcav *)a->user;
    const float *x = t->acts + (size_t)task * t->size;
    for (int j = 0; j <= task; j++) {
        const double k = a->ctx->k->dot(t->size, x, 0, t->acts + (size_t)j * t->size, 0);
        t->gram[(size_t)task * (size_t)t->m + (size_t)j] = k;
        t->gram[(size_t)j * (size_t)t->m + (size_t)task] = k;
    }
}

ITP_FN void itp_tcav_part_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_attr *a = (const itp_attr *)arg;
    const itp_tcav *t = (const itp_tcav *)a->user;
    t->part[task] = a->ctx->k->dot(t->size, t->g, 0, t->acts + (size_t)task * t->size, 0);
}

/* The layer's numbers for all examples. */
ITP_FN interp_status itp_tcav_activations(itp_attr *a, itp_tcav *t)
{
    for (int at = 0; at < t->m; at += a->batch) {
        a->filled = itp_min(a->batch, t->m - at);
        for (int i = 0; i < a->filled; i++) {
            const int of = at + i - t->d.n_examples;
            itp_attr_put(a,
                         of < 0 ? t->d.examples + (size_t)(at + i) * a->size
                                : t->d.random + (size_t)of * a->size,
                         a->in + (size_t)i * a->size);
        }
        ITP_TRY(itp_attr_forward(a));
        const size_t n = (size_t)a->filled * t->size;
        memcpy(t->acts + (size_t)at * t->size, interp_workspace_kept(a->w), n * sizeof *t->acts);
        if (!itp_is_finite(t->acts + (size_t)at * t->size, n))
            return itp_fail(a->ctx, INTERP_NOT_FINITE,
                            "tcav: the layer gives NaN or infinite numbers for an example");
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

/* Derivatives of one sample along all directions. */
ITP_FN void itp_tcav_sample(itp_attr *a, itp_tcav *t, const float *g)
{
    t->g = g;
    itp_parallel(a->ctx, t->m, 2.0 * t->m * (double)t->size, itp_tcav_part_task, a);
    for (int r = 0; r < 2 * t->d.splits; r++) {
        const double *beta = t->beta + (size_t)r * (size_t)t->m;
        double along = 0;
        for (int i = 0; i < t->m; i++) along += beta[i] * t->part[i];
        t->grows[r] += along > 0;
        t->up[r] += fmax(0, along);
        t->all[r] += fabs(along);
    }
}

ITP_FN void itp_tcav_result_of(const itp_attr *a, const itp_tcav *t)
{
    interp_tcav_result r;
    const int n = t->d.splits;
    double mean[2] = {0, 0}, var[2] = {0, 0};
    memset(&r, 0, sizeof r);
    for (int s = 0; s < 2 * n; s++) mean[s % 2] += t->grows[s];
    for (int k = 0; k < 2; k++) mean[k] /= (double)n * a->n;
    for (int s = 0; s < 2 * n; s++) {
        const double d = t->grows[s] / a->n - mean[s % 2];
        var[s % 2] += d * d / (n - 1);
        if (s % 2 == 0) r.magnitude += t->all[s] > 0 ? t->up[s] / t->all[s] : 0;
    }
    r.magnitude /= n;
    r.score = mean[0], r.random_score = mean[1];
    r.score_sd = sqrt(var[0]), r.random_sd = sqrt(var[1]);
    r.accuracy = t->right / fmax(1, t->tried);
    r.p = itp_welch(mean[0], var[0], mean[1], var[1], n);
    *t->out = r;
}

ITP_FN interp_status itp_tcav_run(itp_attr *a)
{
    itp_tcav *t = (itp_tcav *)a->user;
    a->total = 3.0 * a->n + t->m;
    ITP_TRY(itp_tcav_activations(a, t));
    itp_parallel(a->ctx, t->m, (double)t->m * t->m * (double)t->size, itp_tcav_gram_task, a);
    itp_tcav_directions(t);
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        memcpy(a->in, a->x + (size_t)at * a->size, (size_t)a->filled * a->size * sizeof *a->in);
        ITP_TRY(itp_attr_forward(a));
        memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
        for (int i = 0; i < a->filled; i++) itp_attr_seed(a, i, a->report[at + i].target, 1);
        ITP_TRY(interp_backward(a->w, a->seed));
        for (int i = 0; i < a->filled; i++)
            itp_tcav_sample(a, t, itp_attr_grad(a) + (size_t)i * t->size);
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    itp_tcav_result_of(a, t);
    if (t->cav) itp_tcav_whole(t);
    return INTERP_OK;
}

/* ---- the call */

ITP_FN interp_status itp_tcav_settle(itp_attr *a)
{
    itp_tcav *t = (itp_tcav *)a->user;
    interp_tcav_desc *d = &t->d;
    if (!d->splits) d->splits = 20;
    if (d->penalty == 0) d->penalty = 0.01f;
    if (!d->examples || !d->random || d->n_examples < 2 || d->n_random < 4 || d->splits < 2 ||
        d->splits > 10000 || !(d->penalty > 0) || d->n_examples > ITP_MOST_EXAMPLES ||
        d->n_random > ITP_MOST_EXAMPLES)
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "tcav: needs 2 to %d examples of the concept, 4 to %d random ones, at least "
            "2 splits and a positive penalty, but there are %d, %d and %d",
            ITP_MOST_EXAMPLES, ITP_MOST_EXAMPLES, d->n_examples, d->n_random, d->splits);
    if (!itp_is_finite(d->examples, (size_t)d->n_examples * a->size) ||
        !itp_is_finite(d->random, (size_t)d->n_random * a->size))
        return itp_fail(a->ctx, INTERP_NOT_FINITE,
                        "tcav: an example holds NaN or infinite numbers");
    t->m = d->n_examples + d->n_random;
    t->size = interp_shape_size(&a->result_shape);
    a->result_shape = itp_shape_none();
    return INTERP_OK;
}

ITP_FN void itp_tcav_layout(itp_arena *m, itp_attr *a)
{
    itp_tcav *t = (itp_tcav *)a->user;
    const size_t n = (size_t)t->m, lines = 2 * (size_t)t->d.splits;
    t->acts = itp_arena_floats(m, itp_mul_size(n, t->size));
    t->gram = (double *)itp_arena_alloc(m, n * n * sizeof(double));
    t->matrix = (double *)itp_arena_alloc(m, n * n * sizeof(double));
    t->beta = (double *)itp_arena_alloc(m, itp_mul_size(lines, n * sizeof(double)));
    t->part = (double *)itp_arena_alloc(m, n * sizeof(double));
    t->order = (int *)itp_arena_alloc(m, n * sizeof(int));
    t->grows = (double *)itp_arena_alloc(m, lines * sizeof(double));
    t->up = (double *)itp_arena_alloc(m, lines * sizeof(double));
    t->all = (double *)itp_arena_alloc(m, lines * sizeof(double));
}

INTERP_API interp_status interp_tcav(interp_net *net, const float *x, int n,
                                     const interp_tcav_desc *desc, interp_tcav_result *out,
                                     float *cav)
{
    static const itp_attr_row row = {
        "tcav", 0,           ITP_ATTR_LAYER | ITP_ATTR_LAYER_GRAD, itp_tcav_settle, itp_tcav_layout,
        NULL,   itp_tcav_run};
    itp_attr a;
    itp_tcav t;
    interp_attribute_desc how;
    memset(&t, 0, sizeof t);
    memset(&how, 0, sizeof how);
    if (desc) t.d = *desc;
    t.out = out, t.cav = cav;
    how.target_kind = t.d.target_kind, how.target = t.d.target, how.targets = t.d.targets;
    how.layer = t.d.layer, how.batch = t.d.batch;
    ITP_TRY(itp_attr_settle(&a, net, n, &how, &row, &t));
    return itp_attr_execute(&a, x, NULL, NULL);
}

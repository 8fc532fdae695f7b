/* ---- net/op_reduce.c: sums, extremes and products over dimensions --------------------------------- */

enum { ITP_TOTAL, ITP_MEAN, ITP_MOST, ITP_LEAST, ITP_PRODUCT, ITP_LOG_SUM_EXP };

#define ITP_COLUMNS 256 /* the most groups that are worked on side by side */

/* The numbers of x as groups, each of which becomes one of y. Dimensions of size 1 are left out and
   neighbours of one sort merged; the last is a run. If the run is reduced, a unit is one group: some
   runs; else it is `chunk` columns, each a group of its own. */
typedef struct itp_reduce_job {
    const itp_kernels *kernels;
    int kind;
    int n_kept, n_reduced; /* dimensions besides the run, innermost first */
    size_t kept_dim[INTERP_MAX_RANK], kept_step[INTERP_MAX_RANK];
    size_t dim[INTERP_MAX_RANK], step[INTERP_MAX_RANK];
    size_t rows, run; /* runs of a group */
    bool across;      /* the run is kept */
    size_t units, chunk, chunks, per_task;
    const float *x, *y, *dy;
    float *to;
    double share; /* of means: one over the numbers of a group */
    bool add;
} itp_reduce_job;

ITP_FN itp_reduce_job itp_reduce_at(const interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    const unsigned axes = o->attrs.axes ? o->attrs.axes : ~0u;
    size_t dim[INTERP_MAX_RANK + 1] = {1}, step[INTERP_MAX_RANK + 1] = {1}, at = 1;
    bool reduced[INTERP_MAX_RANK + 1] = {false};
    int n = 0; /* merged dimensions, innermost first */
    for (int i = s->rank - 1; i >= 0; i--) {
        const bool r = axes >> i & 1;
        if (s->dim[i] == 1) continue;
        if (n && reduced[n - 1] == r) dim[n - 1] *= (size_t)s->dim[i];
        else dim[n] = (size_t)s->dim[i], step[n] = at, reduced[n] = r, n++;
        at *= (size_t)s->dim[i];
    }
    itp_reduce_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.kind = itp_op_row(o->op)->kind;
    j.x = itp_x(w, node, 0);
    j.run = dim[0], j.across = !reduced[0];
    j.rows = j.units = 1;
    for (int i = 1; i < n; i++)
        if (reduced[i]) {
            j.dim[j.n_reduced] = dim[i], j.step[j.n_reduced++] = step[i];
            j.rows *= dim[i];
        } else {
            j.kept_dim[j.n_kept] = dim[i], j.kept_step[j.n_kept++] = step[i];
            j.units *= dim[i];
        }
    j.chunk = j.across ? itp_min_size(j.run, ITP_COLUMNS) : 1;
    j.chunks = j.across ? (j.run + ITP_COLUMNS - 1) / ITP_COLUMNS : 1;
    j.units *= j.chunks;
    const size_t terms = j.rows * (j.across ? j.chunk : j.run);
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, terms));
    j.share = 1 / (double)(j.across ? j.rows : j.rows * j.run);
    return j;
}

ITP_FN size_t itp_reduce_spot(int n, const size_t *dim, const size_t *step, size_t index)
{
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        at += index % dim[i] * step[i];
        index /= dim[i];
    }
    return at;
}

/* Where unit `unit` begins in x and y, and how many groups it is. */
ITP_FN size_t itp_reduce_unit(const itp_reduce_job *j, size_t unit, size_t *x, size_t *y)
{
    const size_t column = unit % j->chunks * j->chunk;
    unit /= j->chunks;
    *x = itp_reduce_spot(j->n_kept, j->kept_dim, j->kept_step, unit) + column;
    *y = unit * (j->across ? j->run : 1) + column;
    return j->across ? itp_min_size(j->chunk, j->run - column) : 1;
}

ITP_FN double itp_larger(double a, double b)
{
    return b > a || b != b ? b : a;
}

ITP_FN double itp_smaller(double a, double b)
{
    return b < a || b != b ? b : a;
}

/* Smallest of a run. */
ITP_FN double itp_least(const itp_kernels *k, size_t n, const float *x)
{
    float t[ITP_COLUMNS];
    double least = (double)INFINITY;
    for (size_t at = 0; at < n; at += ITP_COLUMNS) {
        const size_t m = itp_min_size(ITP_COLUMNS, n - at);
        k->unary(ITP_NEG, m, x + at, t, 0, 0);
        least = itp_smaller(least, -(double)k->max(m, t));
    }
    return least;
}

/* Folds one row of x into n groups: a number into each, or the whole run into one. A NaN stays. */
ITP_FN void itp_reduce_row(const itp_reduce_job *j, int kind, size_t n, const float *x, double *to)
{
    const size_t run = j->across ? n : j->run, step = j->across;
    switch (kind) {
    case ITP_MOST:
        if (!j->across) *to = itp_larger(*to, (double)j->kernels->max(run, x));
        for (size_t i = 0; i < run && j->across; i++) to[i] = itp_larger(to[i], (double)x[i]);
        break;
    case ITP_LEAST:
        if (!j->across) *to = itp_smaller(*to, itp_least(j->kernels, run, x));
        for (size_t i = 0; i < run && j->across; i++) to[i] = itp_smaller(to[i], (double)x[i]);
        break;
    case ITP_PRODUCT:
        for (size_t i = 0; i < run; i++) to[i * step] *= (double)x[i];
        break;
    default:
        if (!j->across) *to += j->kernels->sum(run, x);
        for (size_t i = 0; i < run && j->across; i++) to[i] += (double)x[i];
    }
}

/* Adds exp(x - top) of one row to the groups. */
ITP_FN void itp_reduce_exp(const itp_reduce_job *j, size_t n, const float *x, const double *top,
                           double *to)
{
    float t[ITP_COLUMNS];
    if (!j->across) {
        for (size_t at = 0; at < j->run; at += ITP_COLUMNS)
            *to +=
                j->kernels->exp_sum(itp_min_size(ITP_COLUMNS, j->run - at), x + at, (float)*top, t);
        return;
    }
    for (size_t c = 0; c < n; c++) t[c] = x[c] - (float)top[c];
    j->kernels->unary(ITP_EXP, n, t, t, 0, 0);
    for (size_t c = 0; c < n; c++) to[c] += (double)t[c];
}

ITP_FN void itp_reduce_groups(const itp_reduce_job *j, size_t n, const float *x, float *y)
{
    const double start[] = {0, 0, -(double)INFINITY, (double)INFINITY, 1, -(double)INFINITY};
    double to[ITP_COLUMNS], top[ITP_COLUMNS];
    const bool lse = j->kind == ITP_LOG_SUM_EXP;
    for (size_t c = 0; c < n; c++) to[c] = start[j->kind];
    for (size_t r = 0; r < j->rows; r++)
        itp_reduce_row(j, lse ? ITP_MOST : j->kind, n,
                       x + itp_reduce_spot(j->n_reduced, j->dim, j->step, r), to);
    if (j->kind == ITP_MEAN)
        for (size_t c = 0; c < n; c++) to[c] *= j->share;
    for (size_t c = 0; c < n && lse; c++) top[c] = to[c], to[c] = 0;
    for (size_t r = 0; r < j->rows && lse; r++)
        itp_reduce_exp(j, n, x + itp_reduce_spot(j->n_reduced, j->dim, j->step, r), top, to);
    for (size_t c = 0; c < n && lse; c++) /* an infinite extreme is the result */
        to[c] = top[c] - top[c] == 0 ? log(to[c]) + top[c] : top[c];
    for (size_t c = 0; c < n; c++) y[c] = (float)to[c];
}

/* What the gradients of n groups need of all their numbers: the product of those that are not zero,
   and how many zeroes there are; of extremes, how many were met. */
typedef struct itp_reduce_state {
    double product[ITP_COLUMNS];
    int count[ITP_COLUMNS];
} itp_reduce_state;

/* What is to be multiplied with dy for the number v of group c, whose result is y. */
ITP_FN double itp_reduce_slope(const itp_reduce_job *j, itp_reduce_state *s, size_t c, double v,
                               double y)
{
    switch (j->kind) {
    case ITP_MEAN: return j->share;
    case ITP_MOST:
    case ITP_LEAST: return (v == y || v != v) && s->count[c]++ == 0;
    case ITP_PRODUCT:
        if (s->count[c] == 0) return s->product[c] / v;
        return s->count[c] == 1 && v == 0 ? s->product[c] : 0;
    case ITP_LOG_SUM_EXP: return exp(v - (y - y == 0 ? y : 0));
    default: return 1;
    }
}

ITP_FN void itp_reduce_groups_grad(const itp_reduce_job *j, size_t n, size_t at_x, size_t at_y)
{
    const size_t run = j->across ? n : j->run, step = j->across;
    const float *y = j->y + at_y, *dy = j->dy + at_y;
    itp_reduce_state s;
    for (size_t c = 0; c < n; c++) s.product[c] = 1, s.count[c] = 0;
    for (size_t r = 0; r < j->rows && j->kind == ITP_PRODUCT; r++) {
        const float *x = j->x + at_x + itp_reduce_spot(j->n_reduced, j->dim, j->step, r);
        for (size_t i = 0; i < run; i++) {
            if (x[i] != 0) s.product[i * step] *= (double)x[i];
            else s.count[i * step]++;
        }
    }
    const bool reads = j->kind != ITP_TOTAL && j->kind != ITP_MEAN;
    for (size_t r = 0; r < j->rows; r++) {
        const size_t at = at_x + itp_reduce_spot(j->n_reduced, j->dim, j->step, r);
        float *to = j->to + at;
        for (size_t i = 0; i < run; i++) {
            const size_t c = i * step;
            const double slope =
                reads ? itp_reduce_slope(j, &s, c, (double)j->x[at + i], (double)y[c]) : j->share;
            const float d = (float)((double)dy[c] * slope);
            to[i] = j->add ? to[i] + d : d;
        }
    }
}

ITP_FN void itp_reduce_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_reduce_job *j = (const itp_reduce_job *)arg;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->units, first + j->per_task);
    for (size_t u = first; u < end; u++) {
        size_t x, y;
        const size_t n = itp_reduce_unit(j, u, &x, &y);
        if (j->dy) itp_reduce_groups_grad(j, n, x, y);
        else itp_reduce_groups(j, n, j->x + x, j->to + y);
    }
}

ITP_FN void itp_reduce_run(interp_workspace *w, int node, itp_reduce_job *j)
{
    itp_parallel(w->ctx, (int)((j->units + j->per_task - 1) / j->per_task),
                 (double)itp_count(itp_shape_in(w, node, 0)) * 4, itp_reduce_task, j);
}

ITP_FN void itp_forward_reduce(interp_workspace *w, int node)
{
    itp_reduce_job j = itp_reduce_at(w, node);
    j.to = itp_y(w, node);
    itp_reduce_run(w, node, &j);
}

ITP_FN void itp_backward_reduce(interp_workspace *w, int node)
{
    itp_reduce_job j = itp_reduce_at(w, node);
    if (j.kind == ITP_TOTAL) j.share = 1;
    j.y = itp_y(w, node), j.dy = itp_dy(w, node), j.to = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_reduce_run(w, node, &j);
}

/* ---- attr/deeplift.c: DeepLIFT, complete for every op that has a gradient -----------------------

   Multipliers instead of gradients: what a node's output differs from that of the baseline is shared
   among its inputs' differences so that nothing is lost. Linear ops: the gradient. Functions of one
   number: the quotient of differences (Rescale). Products: each factor by the mean of the other, which
   is Shapley's share of two players. Max pools: to the places of both maxima. Softmax and layer norm:
   as exponentials, sums, reciprocals and products. What bends in several numbers: attr/pairs.c. Any other
   op: the mean gradient between baseline and input, and of what that misses the smallest correction. */

/* A node's numbers at the input and at the baseline; those of a shared baseline repeat. */
typedef struct itp_delta {
    interp_ctx *ctx;
    const itp_node *node;
    int kind;
    bool is_math, add;
    bool kinks_at_0, kinks, grows; /* the derivative: jumps at 0 alone, elsewhere, has no bound */
    bool rounds;                   /* steps */
    size_t n, n0;                  /* numbers, and those after which the baseline's repeat */
    const float *x, *x0, *y, *y0, *dy;
    float *dx;
    size_t rows, row, inner; /* softmax, layer norm: rows of `row` numbers, `inner` apart */
    const float *gamma;
    double epsilon;
    itp_plane plane;
} itp_delta;

ITP_FN itp_delta itp_delta_at(const itp_attr *a, int node)
{
    interp_workspace *w = a->w;
    const itp_node *o = itp_at(w, node);
    itp_delta j;
    memset(&j, 0, sizeof j);
    j.ctx = a->ctx;
    j.node = o;
    j.kind = itp_op_row(o->op)->kind;
    j.is_math = itp_op_row(o->op)->forward == itp_forward_math;
    if (j.is_math) {
        j.kinks_at_0 = j.kind == ITP_F_CELU || j.kind == ITP_F_SOFTSIGN;
        j.kinks = j.kind == ITP_F_THRESHOLDED_RELU || j.kind == ITP_F_SHRINK;
        j.grows = j.kind == ITP_F_TAN || j.kind == ITP_F_ASIN || j.kind == ITP_F_ACOS ||
                  j.kind == ITP_F_ACOSH || j.kind == ITP_F_ATANH;
    } else {
        j.kinks_at_0 = j.kind == ITP_RELU || j.kind == ITP_LEAKY_RELU || j.kind == ITP_ELU ||
                       j.kind == ITP_SELU || j.kind == ITP_ABS;
        j.kinks = j.kind == ITP_CLIP || j.kind == ITP_HARD_SIGMOID || j.kind == ITP_HARD_SWISH;
        j.grows = j.kind == ITP_LOG || j.kind == ITP_SQRT || j.kind == ITP_RECIPROCAL;
    }
    j.rounds = o->op == ITP_OP_ROUND || o->op == ITP_OP_ROUND_TO;
    j.n = itp_count(itp_shape_in(w, node, 0));
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node), j.dy = itp_dy(w, node);
    j.x0 = itp_delta_base(a, o->in[0], &j.n0);
    size_t same;
    j.y0 = itp_delta_base(a, o->out, &same);
    j.dx = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    return j;
}

ITP_FN void itp_delta_put(const itp_delta *j, size_t i, double number)
{
    j->dx[i] = (float)(number + (j->add ? (double)j->dx[i] : 0));
}

/* ---- functions of one number */

/* Differences below this are taken for none: the derivative between both ends is then nearer than
   the quotient of two rounded differences. */
ITP_FN double itp_delta_least(const itp_delta *j, double x, double x0)
{
    const double a = fabs(x), b = fabs(x0);
    if (j->rounds) return 0;
    if (j->kinks_at_0) return (x > 0) == (x0 > 0) ? 0.01 : 0;
    if (j->kinks) return 1e-6 * (a > b ? a : b);
    if (j->grows) return 0.01 * (a < b ? a : b);
    return 0.01;
}

#define ITP_DELTA_SOME 64

/* Up to ITP_DELTA_SOME numbers. */
ITP_FN void itp_delta_some(const itp_delta *j, size_t n, const float *x, const float *x0,
                           const float *y, const float *y0, const float *dy, float *dx)
{
    float middle[ITP_DELTA_SOME], f[ITP_DELTA_SOME], one[ITP_DELTA_SOME], slope[ITP_DELTA_SOME];
    const itp_kernels *k = j->ctx->k;
    const double a = (double)j->node->attrs.alpha, b = (double)j->node->attrs.beta;
    bool near[ITP_DELTA_SOME], any = false;
    for (size_t i = 0; i < n; i++) {
        const double xi = (double)x[i], xi0 = (double)x0[i];
        middle[i] = (float)(0.5 * (xi + xi0));
        one[i] = 1;
        near[i] = fabs(xi - xi0) <= itp_delta_least(j, xi, xi0);
        any = any || near[i];
    }
    if (j->rounds) memcpy(slope, one, n * sizeof *slope);
    else if (any && j->is_math) itp_math_unary_grad(j->kind, n, middle, one, a, b, false, slope);
    else if (any) {
        k->unary((itp_unary)j->kind, n, middle, f, (float)a, (float)b);
        itp_grads(k)->unary_grad((itp_unary)j->kind, n, middle, f, one, slope, (float)a, (float)b,
                                 false);
    }
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)x0[i], rise = (double)y[i] - (double)y0[i];
        const double m = (double)dy[i] * (near[i] ? (double)slope[i] : rise / d);
        dx[i] = (float)(m + (j->add ? (double)dx[i] : 0));
    }
}

ITP_FN void itp_delta_unary_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_delta *j = (const itp_delta *)arg;
    const size_t end = itp_min_size(j->n, ((size_t)task + 1) * ITP_CHUNK);
    const bool relu = !j->is_math && j->kind == ITP_RELU;
    for (size_t at = (size_t)task * ITP_CHUNK, run; at < end; at += run) {
        const size_t at0 = at % j->n0;
        const float *x = j->x + at, *x0 = j->x0 + at0, *y = j->y + at, *y0 = j->y0 + at0;
        run = itp_min_size(end - at, j->n0 - at0);
        if (relu) itp_grads(j->ctx->k)->relu_delta(run, x, x0, j->dy + at, j->add, j->dx + at);
        else {
            run = itp_min_size(run, ITP_DELTA_SOME);
            itp_delta_some(j, run, x, x0, y, y0, j->dy + at, j->dx + at);
        }
    }
}

/* ---- softmax: exp times one over their sum; exp of log-softmax where the sums are far apart */

/* Between logarithms of sums, beyond which 1 / sum would have terms that cancel. */
#define ITP_DELTA_FAR 6.0

/* (exp(a) - exp(b)) / (a - b), the logarithmic mean of both exponentials: between them. */
ITP_FN double itp_delta_exp(double a, double b)
{
    const double d = fabs(a - b), top = exp(fmax(a, b));
    return d > 0 ? top * (-expm1(-d) / d) : top;
}

/* Log-softmax is x - log(sum), each exp(x) having its share of log(sum) - log(sum0): never more than 1
   in all, so that nothing grows however far the rows are apart. */
ITP_FN void itp_delta_softmax_row(const itp_delta *j, size_t row)
{
    const size_t at = row / j->inner * j->row * j->inner + row % j->inner, step = j->inner;
    double top = -DBL_MAX, top0 = -DBL_MAX, sum = 0, sum0 = 0, product = 0, total = 0;
#define ITP_X(i)  ((double)j->x[at + (i)*step])
#define ITP_X0(i) ((double)j->x0[(at + (i)*step) % j->n0])
    for (size_t i = 0; i < j->row; i++) top = fmax(top, ITP_X(i)), top0 = fmax(top0, ITP_X0(i));
    for (size_t i = 0; i < j->row; i++) sum += exp(ITP_X(i) - top), sum0 += exp(ITP_X0(i) - top0);
    const double log_sum = top + log(sum), log_sum0 = top0 + log(sum0);
    const double origin = fmax(log_sum, log_sum0); /* of all that follows: no exponential over 1 */
    const double s = exp(log_sum - origin), s0 = exp(log_sum0 - origin);
    const double both = itp_delta_exp(log_sum - origin, log_sum0 - origin);
    const bool is_log = j->kind != 0;
    const bool near = !is_log && fabs(log_sum - log_sum0) <= ITP_DELTA_FAR;
#define ITP_G(i) /* of log-softmax: as it is, or through the exponential behind it */              \
    ((double)j->dy[at + (i)*step] *                                                                \
     (is_log || near ? 1 : itp_delta_exp(ITP_X(i) - log_sum, ITP_X0(i) - log_sum0)))
    for (size_t i = 0; i < j->row; i++) {
        const double g = ITP_G(i);
        total += g;
        if (near) product += g * 0.5 * (exp(ITP_X(i) - origin) + exp(ITP_X0(i) - origin));
    }
    for (size_t i = 0; i < j->row; i++) {
        const double g = ITP_G(i), e = itp_delta_exp(ITP_X(i) - origin, ITP_X0(i) - origin);
        itp_delta_put(j, at + i * step,
                      near ? e * (g * 0.5 * (1 / s + 1 / s0) - product / (s * s0))
                           : g - e / both * total);
    }
#undef ITP_G
#undef ITP_X
#undef ITP_X0
}

ITP_FN void itp_delta_softmax_task(void *arg, int task, int slot)
{
    (void)slot;
    itp_delta_softmax_row((const itp_delta *)arg, (size_t)task);
}

/* ---- layer norm: centred numbers times one over their standard deviation */

ITP_FN void itp_delta_norm_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_delta *j = (const itp_delta *)arg;
    const size_t at = (size_t)task * j->row, n = j->row;
    const float *x = j->x + at, *x0 = j->x0 + at % j->n0, *dy = j->dy + at;
    double mean = 0, mean0 = 0, square = 0, square0 = 0, product = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i] / (double)n, mean0 += (double)x0[i] / (double)n;
    for (size_t i = 0; i < n; i++) {
        const double c = (double)x[i] - mean, c0 = (double)x0[i] - mean0;
        square += c * c / (double)n, square0 += c0 * c0 / (double)n;
        product += (double)dy[i] * (double)j->gamma[i] * 0.5 * (c + c0);
    }
    const double v = square + j->epsilon, v0 = square0 + j->epsilon;
    const double r = 1 / sqrt(v), r0 = 1 / sqrt(v0);
    const double slope = -r * r * r0 * r0 / (r + r0); /* (r - r0) / (v - v0) */
    for (size_t i = 0; i < n; i++) {                  /* of the centred numbers, then of x */
        const double c = (double)x[i] - mean, c0 = (double)x0[i] - mean0;
        sum += (double)dy[i] * (double)j->gamma[i] * 0.5 * (r + r0) +
               product * slope * (c + c0) / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        const double c = (double)x[i] - mean, c0 = (double)x0[i] - mean0;
        itp_delta_put(j, at + i,
                      (double)dy[i] * (double)j->gamma[i] * 0.5 * (r + r0) +
                          product * slope * (c + c0) / (double)n - sum / (double)n);
    }
}

/* ---- max pools */

/* Places along an axis, of those that a window reads, which are inside: from *lo in steps of a dilation,
   below *hi. */
ITP_FN void itp_delta_reach(int first, int taps, int dilation, int size, int *lo, int *hi)
{
    *lo = first < 0 ? first + itp_div_up(-first, dilation) * dilation : first;
    *hi = itp_min(first + (taps - 1) * dilation + 1, size);
}

/* The place of the largest number under a window, of equal ones the first; -1: there is none. */
ITP_FN int itp_delta_max(const itp_plane *p, const float *x, int row, int column)
{
    int y, x0, end_y, end_x;
    itp_delta_reach(row * p->stride_y - p->pad_y, p->taps_y, p->dilation_y, p->height, &y, &end_y);
    itp_delta_reach(column * p->stride_x - p->pad_x, p->taps_x, p->dilation_x, p->width, &x0,
                    &end_x);
    if (y >= end_y || x0 >= end_x) return -1;
    int best = y * p->width + x0;
    float top = x[best];
    for (; y < end_y; y += p->dilation_y)
        for (int at = y * p->width + x0; at < y * p->width + end_x; at += p->dilation_x) {
            const float number = x[at];
            best = number > top ? at : best;
            top = number > top ? number : top;
        }
    return best;
}

ITP_FN void itp_delta_pool_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_delta *j = (const itp_delta *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width,
                 out = (size_t)p->rows * (size_t)p->columns;
    const size_t at = (size_t)task * in;
    const float *x = j->x + at, *x0 = j->x0 + at % j->n0, *dy = j->dy + (size_t)task * out;
    float *dx = j->dx + at;
    if (!j->add) memset(dx, 0, in * sizeof *dx);
    for (int row = 0; row < p->rows; row++)
        for (int column = 0; column < p->columns; column++, dy++) {
            if (*dy == 0) continue;
            const int i = itp_delta_max(p, x, row, column), k = itp_delta_max(p, x0, row, column);
            if (i < 0) continue;
            const double y = (double)x[i], y0 = (double)x0[k], top = fmax(y, y0);
            const double di = y - (double)x0[i], dk = (double)x[k] - y0;
            const bool same = i == k || (di == 0 && dk == 0);
            if (same) dx[i] += *dy;
            if (!same && di != 0) dx[i] += (float)((double)*dy * (top - y0) / di);
            if (!same && dk != 0) dx[k] += (float)((double)*dy * (y - top) / dk);
        }
}

/* ---- products, quotients and what else there is: gradients between baseline and input */

/* Whether a value's first dimension is that of the samples: the one that grows with them. */
ITP_FN bool itp_delta_is_by_sample(const itp_attr *a, int value)
{
    const interp_shape *s = &a->w->shape[value], *one = &a->net->values[value].shape;
    const int samples = a->net->fixed_batch ? a->net->fixed_batch : 1;
    if (s->rank < 1 || s->rank != one->rank || one->dim[0] != samples || s->dim[0] != a->batch)
        return false;
    for (int i = 1; i < s->rank; i++)
        if (s->dim[i] != one->dim[i]) return false;
    return true;
}

/* Of the multipliers times differences of a node's inputs, sums for each sample, less what its output
   should give: into own, or taken off what is there. Where samples do not come first: nothing. */
ITP_FN bool itp_delta_sums(const itp_attr *a, int node, float *const *dx, bool before, double *own)
{
    const interp_workspace *w = a->w;
    const itp_node *o = itp_at(w, node);
    const int batch = a->batch;
    for (int k = -1; k < o->n_in; k++)
        if ((k < 0 || dx[k]) && !itp_delta_is_by_sample(a, k < 0 ? o->out : o->in[k])) return false;
    for (int b = 0; b < batch; b++) {
        double sum = 0;
        for (int k = -1; k < o->n_in; k++) {
            const int value = k < 0 ? o->out : o->in[k];
            const size_t n = itp_count(&w->shape[value]) / (size_t)batch, first = (size_t)b * n;
            const float *x = w->data[value], *m = k < 0 ? itp_dy(w, node) : dx[k];
            size_t n0;
            const float *x0 = itp_delta_base(a, value, &n0);
            if (!m || (k < 0 && before)) continue;
            for (size_t i = first; i < first + n; i++)
                sum += (k < 0 ? -1.0 : 1.0) * (double)m[i] * ((double)x[i] - (double)x0[i % n0]);
        }
        own[b] = before ? sum : sum - own[b];
    }
    return true;
}

/* What is still missing of each sample, to its inputs by their differences: of all corrections that make
   the multipliers complete, the smallest. */
ITP_FN void itp_delta_complete(const itp_attr *a, int node, float *const *dx, const double *over)
{
    const interp_workspace *w = a->w;
    const itp_node *o = itp_at(w, node);
    for (int b = 0; b < a->batch; b++) {
        double square = 0;
        for (int round = 0; round < 2; round++)
            for (int k = 0; k < o->n_in; k++) {
                const size_t n = itp_count(itp_shape_in(w, node, k)) / (size_t)a->batch;
                size_t n0;
                const float *x = itp_x(w, node, k), *x0 = itp_delta_base(a, o->in[k], &n0);
                for (size_t i = (size_t)b * n; dx[k] && i < ((size_t)b + 1) * n; i++) {
                    const double d = (double)x[i] - (double)x0[i % n0];
                    if (round == 0) square += d * d;
                    else if (square > 0) dx[k][i] -= (float)(over[b] * d / square);
                }
            }
    }
}

enum { ITP_DELTA_POINTS = 16 };

/* The mean gradient between both, by Gauss' and Legendre's points; one is exact for products. What bends
   more than they follow, as TopK does, is completed. */
ITP_FN void itp_delta_path(const itp_attr *a, int node, int points)
{
    static const double spot[] = {0.0950125098376374, 0.2816035507792589, 0.4580167776572274,
                                  0.6178762444026438, 0.7554044083550030, 0.8656312023878318,
                                  0.9445750230732326, 0.9894009349916499};
    static const double weight[] = {0.1894506104550685, 0.1826034150449236, 0.1691565193950025,
                                    0.1495959888165767, 0.1246289712555339, 0.0951585116824928,
                                    0.0622535239386479, 0.0271524594117541};
    interp_workspace *w = a->w;
    const size_t n = itp_count(itp_shape_out(w, node));
    const float *in[ITP_MAX_INPUTS];
    float *dx[ITP_MAX_INPUTS];
    itp_delta_clear(a, node);
    itp_delta_targets(a, node, dx);
    const bool sums = points > 1 && itp_delta_sums(a, node, dx, true, a->over);
    for (int p = 0; p < points; p++) {
        float *scratch = a->scratch;
        const double at = points == 1 ? 0.5 : 0.5 + (p & 1 ? 0.5 : -0.5) * spot[p / 2];
        const double share = points == 1 ? 1 : 0.5 * weight[p / 2];
        itp_delta_between(a, node, at, in, &scratch);
        float *y = itp_take(&scratch, n), *dy = itp_take(&scratch, n);
        const float *g = itp_dy(w, node);
        for (size_t i = 0; i < n; i++) dy[i] = (float)((double)g[i] * share);
        itp_node_forward(w, node, in, y);
        itp_node_backward(w, node, in, y, dy, dx, true);
    }
    if (sums && itp_delta_sums(a, node, dx, false, a->over))
        itp_delta_complete(a, node, dx, a->over);
}

/* a / b as a times 1 / b: a by the mean of both reciprocals, b by the mean of both a. */
ITP_FN void itp_delta_div(const itp_attr *a, int node)
{
    interp_workspace *w = a->w;
    const size_t n = itp_count(itp_shape_out(w, node)), nb = itp_count(itp_shape_in(w, node, 1));
    const float *in[ITP_MAX_INPUTS], *b = itp_x(w, node, 1);
    float *dx[ITP_MAX_INPUTS], *scratch = a->scratch;
    size_t n0;
    const float *b0 = itp_delta_base(a, itp_at(w, node)->in[1], &n0);
    bool same_sign = true;
    for (size_t i = 0; i < nb; i++) same_sign = same_sign && (b[i] > 0) == (b0[i % n0] > 0);
    if (!itp_rule_moves(w, node, 1) || !same_sign) {
        itp_delta_path(a, node, itp_rule_moves(w, node, 1) ? ITP_DELTA_POINTS : 1);
        return;
    }
    itp_delta_clear(a, node);
    itp_delta_targets(a, node, dx);
    itp_delta_between(a, node, 0.5, in, &scratch);
    float *y = itp_take(&scratch, n), *other = itp_take(&scratch, nb);
    float *only[2][ITP_MAX_INPUTS];
    memset(only, 0, sizeof only);
    only[0][0] = dx[0], only[1][1] = dx[1];
    in[1] = other;
    for (size_t i = 0; i < nb; i++) /* 2 / (1/b + 1/b0) */
        other[i] =
            (float)(2 * (double)b[i] * (double)b0[i % n0] / ((double)b[i] + (double)b0[i % n0]));
    itp_node_forward(w, node, in, y);
    if (dx[0]) itp_node_backward(w, node, in, y, itp_dy_of(w, node), only[0], true);
    for (size_t i = 0; i < nb; i++)
        other[i] = (float)((b[i] > 0 ? 1 : -1) * sqrt((double)b[i] * (double)b0[i % n0]));
    itp_node_forward(w, node, in, y);
    itp_node_backward(w, node, in, y, itp_dy_of(w, node), only[1], true);
}

/* ---- the rule */

ITP_FN void itp_delta_run(itp_delta *j, size_t tasks, double work, itp_task_fn task)
{
    itp_parallel(j->ctx, (int)tasks, work * (double)j->n, task, j);
}

ITP_FN void itp_deeplift_rule(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    const itp_node *o = itp_at(w, node);
    const itp_op *row = itp_op_row(o->op);
    const bool first = itp_rule_moves(w, node, 0) && itp_rule_count(w, node) == 1;
    if (a->d.reveal_cancel && itp_reveal_rule(a, w, node)) return;
    itp_delta j = itp_delta_at(a, node);
    if (first && (row->forward == itp_forward_unary || row->forward == itp_forward_math)) {
        itp_delta_run(&j, (j.n + ITP_CHUNK - 1) / ITP_CHUNK, 12, itp_delta_unary_task);
        return;
    }
    switch (o->op) {
    case ITP_OP_CONV:
    case ITP_OP_GEMM:
    case ITP_OP_MATMUL:
    case ITP_OP_CONV_TRANSPOSE:
    case ITP_OP_MUL:
        if (itp_rule_count(w, node) > 1) itp_delta_path(a, node, 1);
        else if (o->op == ITP_OP_MUL && itp_delta_changes(a, node)) itp_delta_elementwise(a, node);
        else itp_op_backward(w, node);
        return;
    case ITP_OP_SOFTMAX:
    case ITP_OP_LOG_SOFTMAX:
        j.row = (size_t)itp_shape_in(w, node, 0)
                    ->dim[itp_axis(o->attrs.axis, itp_shape_in(w, node, 0)->rank)];
        j.inner = 1;
        for (int i = itp_axis(o->attrs.axis, itp_shape_in(w, node, 0)->rank) + 1;
             i < itp_shape_in(w, node, 0)->rank; i++)
            j.inner *= (size_t)itp_shape_in(w, node, 0)->dim[i];
        itp_delta_run(&j, j.n / itp_max_size(1, j.row), 60, itp_delta_softmax_task);
        return;
    case ITP_OP_LAYER_NORM:
        if (!first) break;
        j.gamma = itp_x(w, node, 1);
        j.row = itp_count(itp_shape_in(w, node, 1));
        j.epsilon = (double)o->attrs.epsilon;
        itp_delta_run(&j, j.n / itp_max_size(1, j.row), 20, itp_delta_norm_task);
        return;
    case ITP_OP_MAX_POOL:
        j.plane = itp_plane_of(&o->attrs, itp_shape_in(w, node, 0));
        itp_delta_run(&j, j.n / itp_max_size(1, (size_t)j.plane.height * (size_t)j.plane.width), 20,
                      itp_delta_pool_task);
        return;
    case ITP_OP_GLOBAL_MAX_POOL: {
        const interp_shape *s = itp_shape_in(w, node, 0);
        memset(&j.plane, 0, sizeof j.plane);
        j.plane.width = (int)(j.n / itp_max_size(1, (size_t)s->dim[0] * (size_t)s->dim[1]));
        j.plane.taps_x = j.plane.width;
        j.plane.height = j.plane.taps_y = j.plane.rows = j.plane.columns = 1;
        j.plane.stride_y = j.plane.stride_x = j.plane.dilation_y = j.plane.dilation_x = 1;
        itp_delta_run(&j, j.n / itp_max_size(1, (size_t)j.plane.width), 20, itp_delta_pool_task);
        return;
    }
    case ITP_OP_DIV: itp_delta_div(a, node); return;
    case ITP_OP_BATCH_NORM:
        if (first) itp_op_backward(w, node);
        else itp_delta_path(a, node, ITP_DELTA_POINTS);
        return;
    case ITP_OP_POW:
    case ITP_OP_MAX:
    case ITP_OP_MIN:
    case ITP_OP_PRELU:
    case ITP_OP_WHERE: itp_delta_elementwise(a, node); return;
    case ITP_OP_REDUCE_MAX:
    case ITP_OP_REDUCE_MIN: itp_delta_extreme(a, node); return;
    default: break;
    }
    if (itp_op_is_linear(o->op)) itp_op_backward(w, node);
    else itp_delta_path(a, node, ITP_DELTA_POINTS);
}

/* ---- the method */

ITP_FN interp_status itp_attr_settle_deeplift(itp_attr *a)
{
    if (a->row->kind) a->points = a->d.n_baselines;
    return INTERP_OK;
}

ITP_FN size_t itp_attr_scratch_deeplift(const itp_attr *a, int batch)
{
    const bool reveal = a->d.reveal_cancel;
    return itp_add_size(itp_rule_most(a->net, batch, reveal ? ITP_REVEAL_INPUTS : 2,
                                      reveal ? ITP_REVEAL_OUTPUTS : 2),
                        256);
}

ITP_FN void itp_attr_layout_deeplift(itp_arena *m, itp_attr *a)
{
    if (a->row->kind)
        a->sum = (double *)itp_arena_alloc(
            m, itp_mul_size(itp_mul_size((size_t)a->k, a->result_size), sizeof(double)));
    a->over = (double *)itp_arena_alloc(m, itp_mul_size((size_t)a->batch, sizeof(double)));
}

/* Multipliers of slot i for target j, times the difference. */
ITP_FN void itp_deeplift_take(itp_attr *a, int i, int j)
{
    const int sample = (a->first + i) / a->points, point = (a->first + i) % a->points;
    const float *m = itp_attr_grad(a) + (size_t)i * a->size, *x = a->in + (size_t)i * a->size;
    const float *x0 = a->in0 + (a->batch0 > 1 ? (size_t)i * a->size : 0);
    const size_t row = (size_t)sample * (size_t)a->k + (size_t)j;
    float *out = a->result + row * a->size;
    double total = 0, *sum = a->sum ? a->sum + (size_t)j * a->size : NULL;
    interp_attribution *r = &a->report[row];
    for (size_t k = 0; k < a->size; k++) {
        const double v = (double)m[k] * ((double)x[k] - (double)x0[k]);
        total += v;
        if (a->points == 1) out[k] = (float)v;
        else sum[k] = v + (point ? sum[k] : 0);
    }
    r->residual += total / a->points;
    if (point < a->points - 1) return;
    for (size_t k = 0; k < a->size && a->points > 1; k++) out[k] = (float)(sum[k] / a->points);
    r->residual -= r->output - r->baseline_output;
}

/* The pairs of sample and baseline in the slots: forward both, back by the rule. */
ITP_FN interp_status itp_deeplift_flush(itp_attr *a)
{
    if (!a->filled) return INTERP_OK;
    const bool shared = a->d.n_baselines == 1 && !a->inside; /* one pass serves all samples */
    if (!shared || a->net->fixed_batch || !a->first) ITP_TRY(itp_attr_beside(a));
    ITP_TRY(itp_attr_forward(a));
    for (int j = 0; j < a->k; j++) {
        memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
        for (int i = 0; i < a->filled; i++)
            itp_attr_seed(a, i, a->report[(a->first + i) / a->points * a->k + j].target, 1);
        ITP_TRY(interp_backward(a->w, a->seed));
        for (int i = 0; i < a->filled; i++) itp_deeplift_take(a, i, j);
    }
    a->first += a->filled;
    const int done = a->filled;
    a->filled = 0;
    return itp_attr_tick(a, done);
}

ITP_FN interp_status itp_attr_run_deeplift(itp_attr *a)
{
    a->w->rule = itp_deeplift_rule, a->w->rule_user = a;
    for (int s = 0; s < a->n; s++)
        for (int p = 0; p < a->points; p++) {
            const float *x0 = a->d.baseline;
            if (x0 && a->d.n_baselines > 1) x0 += (size_t)(a->row->kind ? p : s) * a->size;
            itp_attr_put(a, a->x + (size_t)s * a->size, itp_attr_slot(a, a->filled, s));
            if (a->batch0 > 1 || !a->filled)
                itp_attr_put(a, x0, a->in0 + (a->batch0 > 1 ? (size_t)a->filled * a->size : 0));
            if (++a->filled == a->batch) ITP_TRY(itp_deeplift_flush(a));
        }
    return itp_deeplift_flush(a);
}

/* ---- attr/pairs.c: DeepLIFT for functions of several numbers each, and for extremes ----------------- */

/* Shares of one output's difference among the operands that move, however those bend in between: each
   operand by Shapley's mean over both orders, or, where but one moves, by the quotient of differences.
   Operands that change without a gradient (a mask that is compared with the input) count for those that
   have one. */

enum { ITP_DELTA_OPERANDS = 3 };

typedef struct itp_delta_op {
    const interp_shape *shape;
    const float *x, *x0;
    size_t n0;
    float *dx; /* NULL: does not move */
} itp_delta_op;

typedef struct itp_delta_pairs {
    const interp_shape *out;
    int op, kind, n_in;
    itp_delta_op in[ITP_DELTA_OPERANDS];
} itp_delta_pairs;

/* Where number `at` of the output reads an operand that is broadcast to it. */
ITP_FN size_t itp_delta_spot(const interp_shape *out, const interp_shape *in, size_t at)
{
    size_t spot = 0, step = 1;
    for (int i = out->rank - 1, k = in->rank - 1; k >= 0; i--, k--) {
        const size_t size = (size_t)out->dim[i], here = at % size;
        at /= size;
        if (in->dim[k] != 1) spot += here * step, step *= size;
    }
    return spot;
}

ITP_FN double itp_delta_pair(const itp_delta_pairs *p, float a, float b)
{
    float y = 0;
    itp_math_pair(p->kind, 1, &a, 0, &b, 0, &y);
    return (double)y;
}

/* The slope of the only operand that moves, between two of its numbers that are as good as equal. */
ITP_FN double itp_delta_slope(const itp_delta_pairs *p, int k, const float *x, const float *x0)
{
    const float one = 1, middle = 0.5f * x[k] + 0.5f * x0[k];
    float slope = 0;
    if (p->op == ITP_OP_WHERE) return (x[0] != 0) == (k == 1);
    if (p->op == ITP_OP_MUL) return (double)x[1 - k];
    itp_math_pair_grad(p->kind, k == 1, 1, &one, k ? &x[0] : &middle, 0, k ? &middle : &x[1], 0,
                       &slope);
    return (double)slope;
}

/* Multipliers m of one output that rises by `rise`. */
ITP_FN void itp_delta_shares(const itp_delta_pairs *p, const float *x, const float *x0, double rise,
                             double *m)
{
    double d[ITP_DELTA_OPERANDS] = {0}, square = 0, size = 0;
    int moving = 0, last = 0;
    bool changes = false; /* without a gradient */
    for (int k = 0; k < p->n_in; k++) {
        m[k] = 0;
        if (!p->in[k].dx) {
            changes = changes || x[k] != x0[k];
            continue;
        }
        d[k] = (double)x[k] - (double)x0[k];
        square += d[k] * d[k];
        size += (double)x[k] * (double)x[k] + (double)x0[k] * (double)x0[k];
        moving++, last = k;
    }
    if (moving == 1 && !changes) {
        const double a = fabs((double)x[last]), b = fabs((double)x0[last]);
        const double least = p->op == ITP_OP_POW ? 0.01 * fmin(a, b) : 1e-6 * fmax(a, b);
        const bool straight = p->op == ITP_OP_MUL || !(fabs(d[last]) > least);
        m[last] = straight ? itp_delta_slope(p, last, x, x0) : rise / d[last];
        return;
    }
    if (!(square > 1e-12 * size)) return; /* none of them moves: what a mask decides is lost */
    if (moving == 2 && p->op == ITP_OP_WHERE) {
        m[1] = 0.5 * ((x[0] != 0) + (x0[0] != 0));
        m[2] = 1 - m[1];
    } else if (moving == 2) {
        const double y = itp_delta_pair(p, x[0], x[1]), y0 = itp_delta_pair(p, x0[0], x0[1]);
        const double first = itp_delta_pair(p, x[0], x0[1]),
                     second = itp_delta_pair(p, x0[0], x[1]);
        if (d[0] != 0) m[0] = 0.5 * (first - y0 + y - second) / d[0];
        if (d[1] != 0) m[1] = 0.5 * (second - y0 + y - first) / d[1];
        if (m[0] - m[0] != 0 || m[1] - m[1] != 0) m[0] = m[1] = 0; /* as of a root of less than 0 */
    }
    for (int k = 0; k < p->n_in; k++) rise -= m[k] * d[k];
    for (int k = 0; k < p->n_in; k++) m[k] += rise * d[k] / square; /* what masks decide */
}

/* Whether an operand changes from the baseline to the input, but has no gradient. */
ITP_FN bool itp_delta_changes(const itp_attr *a, int node)
{
    const itp_node *o = itp_at(a->w, node);
    for (int k = 0; k < o->n_in; k++) {
        const size_t n = itp_count(itp_shape_in(a->w, node, k));
        size_t n0;
        const float *x = itp_x(a->w, node, k), *x0 = itp_delta_base(a, o->in[k], &n0);
        if (itp_rule_moves(a->w, node, k) || x == x0) continue;
        for (size_t i = 0; i < n; i++)
            if (x[i] != x0[i % n0]) return true;
    }
    return false;
}

ITP_FN void itp_delta_elementwise(const itp_attr *a, int node)
{
    interp_workspace *w = a->w;
    const itp_node *o = itp_at(w, node);
    const float *y = itp_y(w, node), *dy = itp_dy(w, node);
    const size_t n = itp_count(itp_shape_out(w, node));
    size_t n0;
    const float *y0 = itp_delta_base(a, o->out, &n0);
    float *dx[ITP_MAX_INPUTS];
    itp_delta_pairs p;
    memset(&p, 0, sizeof p);
    itp_delta_clear(a, node);
    itp_delta_targets(a, node, dx);
    p.out = itp_shape_out(w, node), p.op = o->op, p.kind = itp_op_row(o->op)->kind;
    p.n_in = itp_min(o->n_in, ITP_DELTA_OPERANDS);
    for (int k = 0; k < p.n_in; k++) {
        p.in[k].shape = itp_shape_in(w, node, k), p.in[k].dx = dx[k];
        p.in[k].x = itp_x(w, node, k), p.in[k].x0 = itp_delta_base(a, o->in[k], &p.in[k].n0);
    }
    for (size_t i = 0; i < n; i++) {
        float x[ITP_DELTA_OPERANDS] = {0}, x0[ITP_DELTA_OPERANDS] = {0};
        size_t at[ITP_DELTA_OPERANDS];
        double m[ITP_DELTA_OPERANDS];
        if (dy[i] == 0) continue;
        for (int k = 0; k < p.n_in; k++) {
            at[k] = itp_delta_spot(p.out, p.in[k].shape, i);
            x[k] = p.in[k].x[at[k]], x0[k] = p.in[k].x0[at[k] % p.in[k].n0];
        }
        itp_delta_shares(&p, x, x0, (double)y[i] - (double)y0[i % n0], m);
        for (int k = 0; k < p.n_in; k++)
            if (dx[k]) dx[k][at[k]] += (float)((double)dy[i] * m[k]);
    }
}

/* ---- the largest or smallest of many */

/* To the place of the input's extreme where that is beyond the baseline's, else to the place of the
   baseline's: the quotients are then at most 1. Both by the gradients of the node there. */
ITP_FN void itp_delta_extreme(const itp_attr *a, int node)
{
    interp_workspace *w = a->w;
    const itp_node *o = itp_at(w, node);
    const size_t n = itp_count(itp_shape_out(w, node)), nx = itp_count(itp_shape_in(w, node, 0));
    const float *in[ITP_MAX_INPUTS], *x = itp_x(w, node, 0), *y = itp_y(w, node);
    const float *g = itp_dy(w, node);
    const double sign = o->op == ITP_OP_REDUCE_MIN ? -1 : 1;
    size_t nx0, n0;
    const float *x0 = itp_delta_base(a, o->in[0], &nx0), *y0 = itp_delta_base(a, o->out, &n0);
    float *scratch = a->scratch, *dx[ITP_MAX_INPUTS], *to[ITP_MAX_INPUTS];
    itp_delta_clear(a, node);
    itp_delta_targets(a, node, dx);
    itp_delta_between(a, node, 0, in, &scratch);
    float *base = itp_take(&scratch, n), *dy = itp_take(&scratch, n), *m = itp_take(&scratch, nx);
    memset(to, 0, sizeof to);
    to[0] = m;
    enum { AT_INPUT, AT_BASELINE, UNMOVED };
    for (int which = AT_INPUT; which <= UNMOVED; which++) {
        for (size_t i = 0; i < n; i++) {
            const double rise = (double)y[i] - (double)y0[i % n0];
            const bool here = which == UNMOVED || (rise * sign >= 0) == (which == AT_INPUT);
            base[i] = y0[i % n0];
            dy[i] = here ? (float)((double)g[i] * (which == UNMOVED ? 1 : rise)) : 0;
        }
        const float *none[ITP_MAX_INPUTS];
        memset(none, 0, sizeof none);
        itp_node_backward(w, node, which == AT_BASELINE ? in : none,
                          which == AT_BASELINE ? base : NULL, dy, to, false);
        for (size_t i = 0; i < nx; i++) {
            const double d = (double)x[i] - (double)x0[i % nx0];
            if (m[i] != 0 && (d == 0) == (which == UNMOVED))
                dx[0][i] += which == UNMOVED ? m[i] : (float)((double)m[i] / d);
        }
    }
}

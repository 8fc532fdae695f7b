/* ---- attr/reveal.c: DeepLIFT's RevealCancel -------------------------------------------------------

   A function h of a dense layer's output: what reaches it splits into a positive part p and a negative
   part n, sums of w d over inputs that differ by d. Each part's share of the change is its mean effect
   before and after the other one (Shrikumar et al. 2017, section 3.5.3), so that parts which cancel
   each other still count. */

ITP_FN bool itp_reveal_is_function(const interp_workspace *w, int node)
{
    const itp_op *row = itp_op_row(itp_at(w, node)->op);
    return (row->forward == itp_forward_unary || row->forward == itp_forward_math) &&
           itp_rule_moves(w, node, 0);
}

/* The function behind a dense layer with constant weights, and behind a bias added to it; -1: none. */
ITP_FN int itp_reveal_function(const interp_workspace *w, int dense)
{
    const itp_node *o = itp_at(w, dense);
    if ((o->op != ITP_OP_GEMM && o->op != ITP_OP_MATMUL) || itp_rule_count(w, dense) != 1 ||
        !w->runs_back[dense])
        return -1;
    for (int at = itp_rule_reader(w, o->out); at >= 0;
         at = itp_rule_reader(w, itp_at(w, at)->out)) {
        if (itp_count(itp_shape_out(w, at)) != itp_count(itp_shape_out(w, dense))) return -1;
        if (itp_reveal_is_function(w, at)) return w->runs_back[at] ? at : -1;
        if (itp_at(w, at)->op != ITP_OP_ADD || itp_rule_count(w, at) != 1) return -1;
    }
    return -1;
}

/* The dense layer whose function a node is; -1: none. */
ITP_FN int itp_reveal_dense(const interp_workspace *w, int node)
{
    for (int at = w->net->values[itp_at(w, node)->in[0]].producer; at >= 0;) {
        if (itp_reveal_function(w, at) == node) return at;
        if (itp_at(w, at)->op != ITP_OP_ADD || itp_rule_count(w, at) != 1) return -1;
        at = w->net->values[itp_at(w, at)->in[itp_rule_moves(w, at, 0) ? 0 : 1]].producer;
    }
    return -1;
}

/* A dense layer whose inputs and weights are split by sign. */
typedef struct itp_reveal {
    interp_workspace *w;
    int node, function, x_in; /* x_in: which input is not the weights */
    size_t nx, nw, ny;
    float *x[2], *weights[2]; /* differences and weights: positive, negative */
    float *part[2];           /* [ny]: p and n, then their multipliers */
    float *bias;              /* zeros */
} itp_reveal;

/* out = in x weights without bias; added to what is there. */
ITP_FN void itp_reveal_forward(const itp_reveal *r, int x, int weights, float *product, float *out)
{
    const float *in[ITP_MAX_INPUTS];
    memset(in, 0, sizeof in);
    in[r->x_in] = r->x[x], in[1 - r->x_in] = r->weights[weights];
    if (itp_at(r->w, r->node)->n_in > 2) in[2] = r->bias;
    itp_node_forward(r->w, r->node, in, product);
    for (size_t i = 0; i < r->ny; i++) out[i] += product[i];
}

ITP_FN void itp_reveal_backward(const itp_reveal *r, int weights, int part, float *dx)
{
    const float *in[ITP_MAX_INPUTS];
    float *to[ITP_MAX_INPUTS];
    memset(in, 0, sizeof in), memset(to, 0, sizeof to);
    in[1 - r->x_in] = r->weights[weights], to[r->x_in] = dx;
    itp_node_backward(r->w, r->node, in, NULL, r->part[part], to, true);
}

/* The multipliers of p and n in place of these. */
ITP_FN void itp_reveal_multipliers(const itp_attr *a, const itp_reveal *r, float *scratch)
{
    const float *m = itp_dy(r->w, r->node), *in[ITP_MAX_INPUTS];
    float *u = itp_take(&scratch, r->ny), *h[4]; /* h at x0, x0 + p, x0 + n, x0 + p + n */
    size_t n0;
    const float *x0 = itp_delta_base(a, itp_at(r->w, r->function)->in[0], &n0);
    memset(in, 0, sizeof in);
    in[0] = u;
    for (int k = 0; k < 4; k++) {
        h[k] = itp_take(&scratch, r->ny);
        for (size_t i = 0; i < r->ny; i++)
            u[i] = (float)((double)x0[i % n0] + (k & 1 ? (double)r->part[0][i] : 0) +
                           (k & 2 ? (double)r->part[1][i] : 0));
        itp_node_forward(r->w, r->function, in, h[k]);
    }
    for (size_t i = 0; i < r->ny; i++) {
        const double none = (double)h[0][i], p = (double)h[1][i], n = (double)h[2][i],
                     both = (double)h[3][i];
        const double up = 0.5 * (p - none + both - n), down = 0.5 * (n - none + both - p);
        const double dp = (double)r->part[0][i], dn = (double)r->part[1][i];
        r->part[0][i] = dp != 0 ? (float)((double)m[i] * up / dp) : 0;
        r->part[1][i] = dn != 0 ? (float)((double)m[i] * down / dn) : 0;
    }
}

/* Numbers of scratch, in inputs and in outputs of a node. */
enum { ITP_REVEAL_INPUTS = 5, ITP_REVEAL_OUTPUTS = 8 };

ITP_FN void itp_reveal_layer(const itp_attr *a, interp_workspace *w, int node, int function)
{
    float *scratch = a->scratch, *back[2];
    itp_reveal r;
    memset(&r, 0, sizeof r);
    r.w = w, r.node = node, r.function = function, r.x_in = itp_rule_moves(w, node, 0) ? 0 : 1;
    r.nx = itp_count(itp_shape_in(w, node, r.x_in));
    r.nw = itp_count(itp_shape_in(w, node, 1 - r.x_in));
    r.ny = itp_count(itp_shape_out(w, node));
    size_t n0;
    const float *x = itp_x(w, node, r.x_in), *weights = itp_x(w, node, 1 - r.x_in),
                *x0 = itp_delta_base(a, itp_at(w, node)->in[r.x_in], &n0);
    for (int k = 0; k < 2; k++) {
        r.x[k] = itp_take(&scratch, r.nx), back[k] = itp_take(&scratch, r.nx);
        r.weights[k] = itp_take(&scratch, r.nw), r.part[k] = itp_take(&scratch, r.ny);
        memset(back[k], 0, r.nx * sizeof *x), memset(r.part[k], 0, r.ny * sizeof *x);
        for (size_t i = 0; i < r.nx; i++) {
            const float d = (float)((double)x[i] - (double)x0[i % n0]);
            r.x[k][i] = (d < 0) == k ? d : 0;
        }
        for (size_t i = 0; i < r.nw; i++) r.weights[k][i] = (weights[i] < 0) == k ? weights[i] : 0;
    }
    if (itp_at(w, node)->n_in > 2) {
        const size_t nb = itp_count(itp_shape_in(w, node, 2));
        r.bias = itp_take(&scratch, nb);
        memset(r.bias, 0, nb * sizeof *r.bias);
    }
    for (int k = 0; k < 4; k++)
        itp_reveal_forward(&r, k & 1, k >> 1, scratch, r.part[(k & 1) != k >> 1]);
    itp_reveal_multipliers(a, &r, scratch);
    /* a positive difference adds to p by positive weights and to n by negative ones; a negative one the
       other way round; one of 0 counts as half of each */
    for (int k = 0; k < 4; k++) itp_reveal_backward(&r, k >> 1, (k & 1) != k >> 1, back[k & 1]);
    float *dx = itp_dx(w, node, r.x_in);
    const bool add = itp_beta(w, node, r.x_in) != 0;
    for (size_t i = 0; i < r.nx; i++) {
        const float up = back[0][i], down = back[1][i];
        const float m = r.x[0][i] > 0 ? up : r.x[1][i] < 0 ? down : 0.5f * (up + down);
        dx[i] = add ? dx[i] + m : m;
    }
}

/* Whether a node was done: a function hands its multipliers to its dense layer, which does both. */
ITP_FN bool itp_reveal_rule(const itp_attr *a, interp_workspace *w, int node)
{
    const int function = itp_reveal_function(w, node);
    if (function >= 0) itp_reveal_layer(a, w, node, function);
    else if (itp_reveal_is_function(w, node) && itp_reveal_dense(w, node) >= 0)
        itp_move(w->ctx, itp_dy(w, node), 0, itp_dx(w, node, 0), 0, 1,
                 itp_count(itp_shape_out(w, node)), false);
    else return false;
    return true;
}

/* ---- attr/rules.c: a node run with other numbers than its own, for rules that go backward ---------- */

/* Whether input i of a node depends on the network's input. */
ITP_FN bool itp_rule_moves(const interp_workspace *w, int node, int i)
{
    return i < itp_at(w, node)->n_in && w->needs_grad[itp_at(w, node)->in[i]] &&
           itp_passes_grad(itp_at(w, node), i);
}

/* How many of a node's inputs do. */
ITP_FN int itp_rule_count(const interp_workspace *w, int node)
{
    int n = 0;
    for (int i = 0; i < itp_at(w, node)->n_in; i++) n += itp_rule_moves(w, node, i);
    return n;
}

/* The node that alone reads a value, by any of its inputs; -1: none. */
ITP_FN int itp_rule_reader(const interp_workspace *w, int value)
{
    const interp_net *net = w->net;
    int reader = -1;
    if (value == w->target || value == w->kept) return -1;
    for (int n = 0; n < net->n_nodes; n++)
        for (int i = 0; w->runs[n] && i < net->nodes[n].n_in; i++) {
            if (net->nodes[n].in[i] != value) continue;
            if (reader >= 0) return -1;
            reader = n;
        }
    return reader;
}

/* Numbers of a value at the baseline, which begin again after *n of them. */
ITP_FN const float *itp_delta_base(const itp_attr *a, int value, size_t *n)
{
    *n = itp_max_size(1, itp_count(&a->w0->shape[value]));
    return a->w0->data[value];
}

/* What a node reads and writes, put elsewhere for a while. */
typedef struct itp_swap {
    const float *data[ITP_MAX_INPUTS], *y;
    float *grad[ITP_MAX_INPUTS], *dy;
    bool adds[ITP_MAX_INPUTS], packs;
} itp_swap;

/* in[i] instead of input i where it is not NULL; y instead of the output. */
ITP_FN void itp_swap_in(itp_swap *s, interp_workspace *w, int node, const float *const *in,
                        const float *y)
{
    const itp_node *o = itp_at(w, node);
    s->y = w->data[o->out];
    s->packs = w->packs[node];
    for (int i = 0; i < o->n_in; i++) s->data[i] = w->data[o->in[i]];
    for (int i = 0; i < o->n_in; i++) {
        if (!in[i]) continue;
        w->data[o->in[i]] = in[i];
        if (itp_is_constant(w, o->in[i])) w->packs[node] = false; /* those were laid out */
    }
    if (y) w->data[o->out] = y;
}

ITP_FN void itp_swap_out(const itp_swap *s, interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    for (int i = 0; i < o->n_in; i++) w->data[o->in[i]] = s->data[i];
    w->data[o->out] = s->y;
    w->packs[node] = s->packs;
}

/* Forward into y, of other inputs where those are given. */
ITP_FN void itp_node_forward(interp_workspace *w, int node, const float *const *in, float *y)
{
    itp_swap s;
    itp_swap_in(&s, w, node, in, y);
    itp_op_row(itp_at(w, node)->op)->forward(w, node);
    itp_swap_out(&s, w, node);
}

/* Gradients at other inputs, and output y where it is given, of seed dy, into dx[i] where those are
   given; add: to what is there. */
ITP_FN void itp_node_backward(interp_workspace *w, int node, const float *const *in, const float *y,
                              float *dy, float *const *dx, bool add)
{
    const itp_node *o = itp_at(w, node);
    itp_swap s;
    itp_swap_in(&s, w, node, in, y);
    s.dy = w->grad[o->out];
    for (int i = 0; i < o->n_in; i++) s.grad[i] = w->grad[o->in[i]], s.adds[i] = w->adds[node][i];
    for (int i = 0; i < o->n_in; i++) w->grad[o->in[i]] = NULL;
    for (int i = 0; i < o->n_in; i++) {
        if (dx[i]) w->grad[o->in[i]] = dx[i];
        w->adds[node][i] = add;
        for (int k = 0; k < i; k++) w->adds[node][i] |= o->in[k] == o->in[i];
    }
    w->grad[o->out] = dy;
    itp_op_backward(w, node);
    for (int i = 0; i < o->n_in; i++) w->grad[o->in[i]] = s.grad[i], w->adds[node][i] = s.adds[i];
    w->grad[o->out] = s.dy;
    itp_swap_out(&s, w, node);
}

/* The gradient of a node, for a buffer that its output's gradient lies in, to be written. */
ITP_FN float *itp_dy_of(const interp_workspace *w, int node)
{
    return w->grad[itp_at(w, node)->out];
}

/* Numbers of a value for a batch; constants do not grow with it. */
ITP_FN size_t itp_rule_floats(const interp_net *net, int value, int batch)
{
    const itp_value *v = &net->values[value];
    const size_t n = itp_round_up(interp_shape_size(&v->shape), 16);
    const bool grows = v->kind == ITP_INPUT || v->kind == ITP_ACTIVATION;
    return itp_mul_size(n, grows ? (size_t)batch : 1);
}

/* The most numbers that `copies` of all inputs and `outputs` of the output of one node are. */
ITP_FN size_t itp_rule_most(const interp_net *net, int batch, size_t copies, size_t outputs)
{
    size_t most = 0;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *o = &net->nodes[i];
        size_t n = itp_mul_size(outputs, itp_rule_floats(net, o->out, batch));
        for (int k = 0; k < o->n_in; k++)
            n = itp_add_size(n, itp_mul_size(copies, itp_rule_floats(net, o->in[k], batch)));
        most = itp_max_size(most, n);
    }
    return most;
}

/* Takes n floats off a scratch. */
ITP_FN float *itp_take(float **scratch, size_t n)
{
    float *at = *scratch;
    *scratch += itp_round_up(n, 16);
    return at;
}

/* (1 - t) x0 + t x for every input that moves, into the scratch. */
ITP_FN void itp_delta_between(const itp_attr *a, int node, double t, const float **in,
                              float **scratch)
{
    const itp_node *o = itp_at(a->w, node);
    memset(in, 0, ITP_MAX_INPUTS * sizeof *in);
    for (int k = 0; k < o->n_in; k++) {
        const size_t n = itp_count(itp_shape_in(a->w, node, k));
        size_t n0;
        const float *x = itp_x(a->w, node, k), *x0 = itp_delta_base(a, o->in[k], &n0);
        if (!itp_rule_moves(a->w, node, k)) continue;
        float *to = itp_take(scratch, n);
        for (size_t i = 0; i < n; i++)
            to[i] = (float)((1 - t) * (double)x0[i % n0] + t * (double)x[i]);
        in[k] = to;
    }
}

/* Where the inputs' multipliers go. */
ITP_FN void itp_delta_targets(const itp_attr *a, int node, float **dx)
{
    memset(dx, 0, ITP_MAX_INPUTS * sizeof *dx);
    for (int k = 0; k < itp_at(a->w, node)->n_in; k++)
        if (itp_rule_moves(a->w, node, k)) dx[k] = itp_dx(a->w, node, k);
}

/* Writes zeroes where a multiplier is the first, so that all that follow may add. */
ITP_FN void itp_delta_clear(const itp_attr *a, int node)
{
    for (int k = 0; k < itp_at(a->w, node)->n_in; k++) {
        float *dx = itp_rule_moves(a->w, node, k) ? itp_dx(a->w, node, k) : NULL;
        if (dx && itp_beta(a->w, node, k) == 0)
            memset(dx, 0, itp_count(itp_shape_in(a->w, node, k)) * sizeof *dx);
    }
}

/* Whether an op is linear in whatever of its inputs moves, and its gradient thus says everything. */
ITP_FN bool itp_op_is_linear(int op)
{
    switch (op) {
    case ITP_OP_ADD:
    case ITP_OP_SUB:
    case ITP_OP_CONCAT:
    case ITP_OP_RESHAPE:
    case ITP_OP_FLATTEN:
    case ITP_OP_IDENTITY:
    case ITP_OP_TRANSPOSE:
    case ITP_OP_DROPOUT:
    case ITP_OP_SLICE:
    case ITP_OP_INDEX:
    case ITP_OP_REDUCE_SUM:
    case ITP_OP_REDUCE_MEAN:
    case ITP_OP_AVERAGE_POOL:
    case ITP_OP_GLOBAL_AVERAGE_POOL:
    case ITP_OP_CUM_SUM:
    case ITP_OP_GATHER:
    case ITP_OP_GATHER_ELEMENTS:
    case ITP_OP_GATHER_ND:
    case ITP_OP_SCATTER_ELEMENTS:
    case ITP_OP_SCATTER_ND:
    case ITP_OP_MAX_UNPOOL:
    case ITP_OP_RESIZE_AXIS: return true;
    default: return false;
    }
}

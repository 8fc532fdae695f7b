/* ---- attr/guided.c: functions that go backward otherwise than by their gradient ------------------- */

enum {
    ITP_WAY_GUIDED, /* ReLU passes what is positive both ways */
    ITP_WAY_BACK,   /* ReLU passes what is positive on the way back */
    ITP_WAY_SMOOTH /* any activation passes a positive gradient times its derivative, if positive */
};

/* ReLU, and a clip from 0 up as ReLU6 is one. */
ITP_FN bool itp_guided_is_relu(const itp_node *o)
{
    return o->op == ITP_OP_RELU ||
           (o->op == ITP_OP_CLIP && o->attrs.alpha == 0 && o->attrs.beta > 0);
}

ITP_FN bool itp_guided_is(const itp_node *o, int way)
{
    if (itp_guided_is_relu(o)) return true;
    if (way != ITP_WAY_SMOOTH) return false;
    switch (o->op) {
    case ITP_OP_LEAKY_RELU:
    case ITP_OP_ELU:
    case ITP_OP_SELU:
    case ITP_OP_CELU:
    case ITP_OP_SOFTPLUS:
    case ITP_OP_SILU:
    case ITP_OP_GELU:
    case ITP_OP_GELU_TANH:
    case ITP_OP_HARD_SWISH:
    case ITP_OP_MISH: return true;
    default: return false;
    }
}

typedef struct itp_guided_job {
    const itp_grad_kernels *kernels;
    const float *dy, *x; /* x: what must lie between 0 and `most` */
    float *dx;
    float most;
    bool add;
    size_t n;
} itp_guided_job;

ITP_FN void itp_guided_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_guided_job *j = (const itp_guided_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, end = itp_min_size(j->n, at + ITP_CHUNK);
    j->kernels->relu_guided(end - at, j->x + at, j->most, j->dy + at, j->add, j->dx + at);
}

ITP_FN void itp_guided_run(interp_ctx *ctx, itp_guided_job *j)
{
    itp_parallel(ctx, (int)((j->n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j->n, itp_guided_task, j);
}

/* One node on the way back; scratch: two of its outputs, for ITP_WAY_SMOOTH. */
ITP_FN void itp_guided_node(interp_workspace *w, int node, int way, float *scratch)
{
    const itp_node *o = itp_at(w, node);
    itp_guided_job j;
    if (!itp_guided_is(o, way)) {
        itp_op_backward(w, node);
        return;
    }
    memset(&j, 0, sizeof j);
    j.kernels = itp_grads(w->ctx->k);
    j.n = itp_count(itp_shape_out(w, node));
    j.x = j.dy = itp_dy(w, node), j.dx = itp_dx(w, node, 0);
    j.most = INFINITY;
    j.add = itp_beta(w, node, 0) != 0;
    if (way == ITP_WAY_SMOOTH) {
        const float *in[ITP_MAX_INPUTS];
        float *to[ITP_MAX_INPUTS], *seed = itp_take(&scratch, j.n), *back = itp_take(&scratch, j.n);
        itp_guided_job positive = j;
        memset(in, 0, sizeof in), memset(to, 0, sizeof to);
        positive.dx = seed, positive.add = false, to[0] = back;
        itp_guided_run(w->ctx, &positive);
        itp_node_backward(w, node, in, NULL, seed, to, false);
        j.x = j.dy = back;
    } else if (way == ITP_WAY_GUIDED) { /* what each keeps for its gradient: ReLU its output */
        if (o->op != ITP_OP_RELU) j.most = o->attrs.beta;
        j.x = o->op == ITP_OP_RELU ? itp_y(w, node) : itp_x(w, node, 0);
    }
    itp_guided_run(w->ctx, &j);
}

/* How many nodes that changes. */
ITP_FN int itp_guided_nodes(const itp_attr *a, int way)
{
    int n = 0;
    for (int i = 0; i < a->net->n_nodes; i++)
        n += a->w->runs_back[i] && itp_guided_is(&a->net->nodes[i], way);
    return n;
}

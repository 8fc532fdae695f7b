/* ---- net/op_linear.c: convolution, dense layer, matrix product --------------------------------- */

ITP_FN itp_conv itp_conv_of(const itp_attrs *a, const interp_shape *x, const interp_shape *weights)
{
    itp_conv c;
    c.batch = x->dim[0];
    c.in_channels = x->dim[1];
    c.out_channels = weights->dim[0];
    c.groups = a->groups;
    c.direct = c.many = false;
    c.plane = itp_plane_of(a, x);
    return c;
}

ITP_FN itp_conv itp_conv_at(const interp_workspace *w, int node)
{
    itp_conv c =
        itp_conv_of(&itp_at(w, node)->attrs, itp_shape_in(w, node, 0), itp_shape_in(w, node, 1));
    c.direct = w->desc.no_winograd || node < w->desc.plain_nodes;
    c.many = w->desc.small_winograd;
    return c;
}

/* Neither an input nor computed. */
ITP_FN bool itp_is_constant(const interp_workspace *w, int value)
{
    const itp_kind kind = w->net->values[value].kind;
    return kind != ITP_INPUT && kind != ITP_ACTIVATION;
}

ITP_FN bool itp_weights_constant(const interp_workspace *w, int node)
{
    return w->packs[node] && itp_is_constant(w, itp_at(w, node)->in[1]);
}

/* Scales and shifts of a batch norm, before the packed weights. */
ITP_FN size_t itp_conv_norm_floats(const interp_workspace *w, int node, const itp_conv *c)
{
    return w->fused_norm[node] < 0 ? 0 : itp_round_up(2 * (size_t)c->out_channels, 16);
}

/* The packed weights of one direction that are kept. */
ITP_FN size_t itp_conv_kept_floats(const interp_workspace *w, int node, const itp_conv *c,
                                   bool backward)
{
    const unsigned bit = backward ? ITP_PACKED_BACKWARD : ITP_PACKED_FORWARD;
    return w->packs[node] & bit && itp_weights_constant(w, node)
               ? itp_conv_packed_floats(w->ctx, c, backward)
               : 0;
}

ITP_FN itp_need itp_need_conv(const interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const int *in = itp_at(w, node)->in;
    const bool data = w->runs_back[node] && w->needs_grad[in[0]];
    const itp_conv_need n =
        itp_conv_scratch(w->ctx, &c, true, data, w->runs_back[node] && w->needs_grad[in[1]]);
    itp_need need = {n.slot, n.shared, 0, itp_conv_norm_floats(w, node, &c)};
    if (data) need.packed += itp_conv_kept_floats(w, node, &c, true);
    need.packed += itp_conv_kept_floats(w, node, &c, false);
    return need;
}

/* Packed weights of one direction, NULL where they are not kept. */
ITP_FN const float *itp_conv_packed(interp_workspace *w, int node, const itp_conv *c, bool backward)
{
    const unsigned bit = backward ? ITP_PACKED_BACKWARD : ITP_PACKED_FORWARD;
    float *at = w->packed[node];
    if (!itp_conv_kept_floats(w, node, c, backward)) return NULL;
    at += itp_conv_norm_floats(w, node, c);
    if (backward) at += itp_conv_kept_floats(w, node, c, false);
    if (!(w->is_packed[node] & bit)) itp_conv_pack(w->ctx, c, itp_x(w, node, 1), backward, at);
    w->is_packed[node] = (unsigned char)(w->is_packed[node] | bit);
    return at;
}

/* Scales of all channels, then shifts, of the batch norm behind a convolution. */
ITP_FN const float *itp_conv_norm(interp_workspace *w, int node, int channels)
{
    float *scale = w->packed[node];
    if (!(w->is_packed[node] & ITP_PACKED_NORM))
        itp_bn_scales(w, w->fused_norm[node], scale, scale + channels);
    if (w->desc.constant_weights)
        w->is_packed[node] = (unsigned char)(w->is_packed[node] | ITP_PACKED_NORM);
    return scale;
}

ITP_FN void itp_forward_conv(interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const float *packed = itp_conv_packed(w, node, &c, false);
    const float *bias = itp_at(w, node)->n_in > 2 ? itp_x(w, node, 2) : NULL;
    itp_after after;
    memset(&after, 0, sizeof after);
    after.unary = w->fused_act[node] >= 0;
    if (w->fused_norm[node] >= 0) {
        after.scale = itp_conv_norm(w, node, c.out_channels);
        after.shift = after.scale + c.out_channels;
    }
    if (after.unary) {
        const itp_node *act = itp_at(w, w->fused_act[node]);
        after.kind = (itp_unary)itp_op_row(act->op)->kind;
        after.a = act->attrs.alpha, after.b = act->attrs.beta;
    }
    itp_conv_forward(w->ctx, &c, itp_x(w, node, 0), itp_x(w, node, 1), packed, bias,
                     after.unary || after.scale ? &after : NULL, itp_y(w, node), w->scratch,
                     w->shared);
}

ITP_FN void itp_backward_conv(interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *dw = itp_dx(w, node, 1), *db = itp_dx(w, node, 2);
    if (dx)
        itp_conv_data(w->ctx, &c, dy, itp_x(w, node, 1), itp_conv_packed(w, node, &c, true),
                      itp_beta(w, node, 0), dx, w->scratch, w->shared);
    if (dw)
        itp_conv_weights(w->ctx, &c, itp_x(w, node, 0), dy, itp_beta(w, node, 1), dw, w->scratch,
                         w->shared);
    if (db) itp_conv_bias(w->ctx, &c, dy, itp_beta(w, node, 2), db);
}

ITP_FN double itp_macs_conv(const interp_net *net, const itp_node *node)
{
    const interp_shape *weights = &net->values[node->in[1]].shape;
    const interp_shape *y = &net->values[node->out].shape;
    return (double)itp_count(y) * weights->dim[1] * weights->dim[2] * weights->dim[3];
}

/* ---- transposed convolution: the gradient of a convolution that leads from y to x */

ITP_FN itp_conv itp_deconv_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *x = itp_shape_in(w, node, 0), *y = itp_shape_out(w, node);
    itp_conv c;
    c.batch = x->dim[0];
    c.in_channels = y->dim[1];
    c.out_channels = x->dim[1];
    c.groups = a->groups;
    c.direct = w->desc.no_winograd || node < w->desc.plain_nodes;
    c.many = w->desc.small_winograd;
    c.plane = itp_plane_of(a, y);
    c.plane.rows = x->dim[2], c.plane.columns = x->dim[3];
    c.plane.pad_y = a->pad[0], c.plane.pad_x = a->pad[1];
    return c;
}

ITP_FN itp_need itp_need_deconv(const interp_workspace *w, int node)
{
    const itp_conv c = itp_deconv_at(w, node);
    const int *in = itp_at(w, node)->in;
    const bool data = w->runs_back[node] && w->needs_grad[in[0]];
    const itp_conv_need n =
        itp_conv_scratch(w->ctx, &c, data, true, w->runs_back[node] && w->needs_grad[in[1]]);
    itp_need need = {n.slot, n.shared, 0, 0};
    if (itp_weights_constant(w, node)) need.packed = itp_conv_packed_floats(w->ctx, &c, true);
    /* the gradient of x is written, not added: it may have to go elsewhere first */
    if (data) need.shared = itp_round_up(n.shared, 16) + itp_count(itp_shape_in(w, node, 0));
    return need;
}

/* y has the bias already when the sums are added to it. */
ITP_FN void itp_forward_deconv(interp_workspace *w, int node)
{
    const itp_conv c = itp_deconv_at(w, node);
    const size_t plane = itp_conv_in(&c);
    const float *weights = itp_x(w, node, 1), *packed = NULL;
    float *y = itp_y(w, node);
    if (itp_weights_constant(w, node) && !itp_conv_by_planes(w->ctx, &c, true)) {
        if (!w->is_packed[node]) itp_conv_pack(w->ctx, &c, weights, true, w->packed[node]);
        w->is_packed[node] = ITP_PACKED_BACKWARD;
        packed = w->packed[node];
    }
    const bool bias = itp_at(w, node)->n_in > 2;
    for (int i = 0; bias && i < c.batch * c.in_channels; i++)
        itp_fill(y + (size_t)i * plane, plane, itp_x(w, node, 2)[i % c.in_channels]);
    itp_conv_data(w->ctx, &c, itp_x(w, node, 0), weights, packed, bias ? 1 : 0, y, w->scratch,
                  w->shared);
}

ITP_FN void itp_backward_deconv(interp_workspace *w, int node)
{
    const itp_conv c = itp_deconv_at(w, node);
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *dw = itp_dx(w, node, 1), *db = itp_dx(w, node, 2);
    if (dx) {
        const size_t n = itp_count(itp_shape_in(w, node, 0));
        const itp_conv_need need = itp_conv_scratch(w->ctx, &c, true, true, dw != NULL);
        const bool add = itp_beta(w, node, 0) != 0;
        float *to = add ? w->shared + itp_round_up(need.shared, 16) : dx;
        itp_conv_forward(w->ctx, &c, dy, itp_x(w, node, 1), NULL, NULL, NULL, to, w->scratch,
                         w->shared);
        if (add) itp_move(w->ctx, to, 0, dx, 0, 1, n, true);
    }
    if (dw)
        itp_conv_weights(w->ctx, &c, dy, itp_x(w, node, 0), itp_beta(w, node, 1), dw, w->scratch,
                         w->shared);
    if (db) { /* of dy as of the result of a convolution with as many planes */
        itp_conv sums = c;
        sums.out_channels = c.in_channels;
        sums.plane.rows = c.plane.height, sums.plane.columns = c.plane.width;
        itp_conv_bias(w->ctx, &sums, dy, itp_beta(w, node, 2), db);
    }
}

ITP_FN double itp_macs_deconv(const interp_net *net, const itp_node *node)
{
    const interp_shape *weights = &net->values[node->in[1]].shape;
    const interp_shape *x = &net->values[node->in[0]].shape;
    return (double)itp_count(x) * weights->dim[1] * weights->dim[2] * weights->dim[3];
}

/* ---- dense: y[M,N] = alpha x[M,K] w[K,N] + beta b, ONNX's Gemm */

typedef struct itp_mat {
    int m, n, k;
    ptrdiff_t x_rs, x_cs, w_rs, w_cs;
} itp_mat;

ITP_FN itp_mat itp_dense_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *x = itp_shape_in(w, node, 0), *v = itp_shape_in(w, node, 1);
    itp_mat d;
    d.m = x->dim[a->trans_a], d.k = x->dim[!a->trans_a], d.n = v->dim[!a->trans_b];
    d.x_rs = a->trans_a ? 1 : d.k, d.x_cs = a->trans_a ? d.m : 1;
    d.w_rs = a->trans_b ? 1 : d.n, d.w_cs = a->trans_b ? d.k : 1;
    return d;
}

ITP_FN itp_need itp_need_dense(const interp_workspace *w, int node)
{
    const itp_mat d = itp_dense_at(w, node);
    itp_need need = {itp_gemm_scratch(w->ctx, d.m, d.n, d.k), 0, 0, 0};
    if (itp_weights_constant(w, node))
        need.packed = itp_round_up(itp_gemm_packed(d.k, d.n, w->ctx->k->nr), 16);
    if (w->runs_back[node]) {
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.m, d.k, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.m, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.n, d.m));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.n, d.k, d.m));
    }
    return need;
}

/* Weights learn from what is not differentiated: data, which may be mostly zeros. */
ITP_FN bool itp_is_data(const interp_workspace *w, int node)
{
    const int *in = itp_at(w, node)->in;
    return w->runs_back[node] && w->needs_grad[in[1]] && !w->needs_grad[in[0]];
}

ITP_FN void itp_forward_dense(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_mat d = itp_dense_at(w, node);
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = d.m, g.n = d.n, g.k = d.k, g.alpha = o->attrs.alpha;
    g.a = itp_x(w, node, 0), g.a_rs = d.x_rs, g.a_cs = d.x_cs;
    g.b = itp_x(w, node, 1), g.b_rs = d.w_rs, g.b_cs = d.w_cs;
    g.c = itp_y(w, node), g.c_rs = d.n;
    g.zeros = itp_is_data(w, node);
    if (itp_weights_constant(w, node)) {
        if (!w->is_packed[node]) itp_gemm_pack(w->ctx->k, &g, w->packed[node]);
        w->is_packed[node] = ITP_PACKED_FORWARD;
        g.packed = w->packed[node];
    }
    if (o->n_in > 2) {
        const float *b = itp_x(w, node, 2);
        const interp_shape *s = itp_shape_in(w, node, 2);
        const bool row = s->rank > 0 && itp_count(s) == (size_t)d.n && s->dim[s->rank - 1] == d.n;
        if (row && o->attrs.beta == 1) g.bias_column = b;
        else { /* any other bias goes into y first */
            const itp_pairing p = itp_pair(s, s, itp_shape_out(w, node));
            const size_t run = p.dim[p.rank - 1];
            for (size_t r = 0; r < p.rows; r++) {
                size_t at, same;
                itp_pair_at(&p, r, &at, &same);
                const int step = (int)p.a_step[p.rank - 1];
                for (size_t i = 0; i < run; i++)
                    g.c[r * run + i] = o->attrs.beta * b[at + i * (size_t)step];
            }
            g.beta = 1;
        }
    }
    itp_gemm_run(w->ctx, &g, w->scratch);
}

/* d[rows, columns] = alpha a b (+ beta d), where d may be stored transposed. */
ITP_FN void itp_dense_product(interp_workspace *w, int rows, int columns, int k, float alpha,
                              const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                              ptrdiff_t b_rs, ptrdiff_t b_cs, float beta, float *d, bool transposed,
                              bool zeros)
{
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.alpha = alpha, g.beta = beta, g.k = k;
    g.c = d;
    if (transposed) {
        g.m = columns, g.n = rows, g.c_rs = rows;
        g.a = b, g.a_rs = b_cs, g.a_cs = b_rs;
        g.b = a, g.b_rs = a_cs, g.b_cs = a_rs;
    } else {
        g.m = rows, g.n = columns, g.c_rs = columns;
        g.zeros = zeros;
        g.a = a, g.a_rs = a_rs, g.a_cs = a_cs;
        g.b = b, g.b_rs = b_rs, g.b_cs = b_cs;
    }
    itp_gemm_run(w->ctx, &g, w->scratch);
}

ITP_FN void itp_backward_dense(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_mat d = itp_dense_at(w, node);
    const itp_kernels *k = w->ctx->k;
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *dw = itp_dx(w, node, 1), *db = itp_dx(w, node, 2);
    if (dx)
        itp_dense_product(w, d.m, d.k, d.n, o->attrs.alpha, dy, d.n, 1, itp_x(w, node, 1), d.w_cs,
                          d.w_rs, itp_beta(w, node, 0), dx, o->attrs.trans_a, false);
    if (dw)
        itp_dense_product(w, d.k, d.n, d.m, o->attrs.alpha, itp_x(w, node, 0), d.x_cs, d.x_rs, dy,
                          d.n, 1, itp_beta(w, node, 1), dw, o->attrs.trans_b, itp_is_data(w, node));
    if (db) {
        const interp_shape *s = itp_shape_in(w, node, 2), *out = itp_shape_out(w, node);
        const itp_pairing p = itp_pair(s, s, out);
        const size_t n = itp_count(s), run = p.dim[p.rank - 1];
        if (itp_beta(w, node, 2) == 0) memset(db, 0, n * sizeof *db);
        for (size_t r = 0; r < p.rows; r++) {
            size_t at, same;
            itp_pair_at(&p, r, &at, &same);
            if (p.a_step[p.rank - 1]) k->scale_add(run, o->attrs.beta, dy + r * run, 1, db + at);
            else db[at] += o->attrs.beta * (float)k->sum(run, dy + r * run);
        }
    }
}

ITP_FN double itp_macs_dense(const interp_net *net, const itp_node *node)
{
    const itp_attrs *a = &node->attrs;
    return (double)itp_count(&net->values[node->out].shape) *
           net->values[node->in[0]].shape.dim[!a->trans_a];
}

/* ---- matmul: [.., M, K] x [.., K, N] with broadcasting outer dimensions */

typedef struct itp_matmul {
    int m, n, k, count;
    bool a_spread, b_spread; /* an operand is used by more than one product */
} itp_matmul;

ITP_FN itp_matmul itp_matmul_at(const interp_workspace *w, int node)
{
    const interp_shape *a = itp_shape_in(w, node, 0), *b = itp_shape_in(w, node, 1);
    const interp_shape *y = itp_shape_out(w, node);
    itp_matmul d;
    d.m = y->dim[y->rank - 2], d.n = y->dim[y->rank - 1], d.k = a->dim[a->rank - 1];
    const size_t products = itp_count(y) / itp_max_size(1, (size_t)d.m * (size_t)d.n);
    const size_t as = itp_count(a) / itp_max_size(1, (size_t)d.m * (size_t)d.k);
    const size_t bs = itp_count(b) / itp_max_size(1, (size_t)d.k * (size_t)d.n);
    d.count = (int)products;
    d.a_spread = as < products, d.b_spread = bs < products;
    if (bs == 1 && as == products) { /* one matrix on the right: all rows are one product */
        d.m *= d.count;
        d.count = 1;
        d.a_spread = d.b_spread = false;
    }
    return d;
}

/* Offsets of both operands of every product, in numbers. */
ITP_FN void itp_matmul_offsets(const interp_workspace *w, int node, const itp_matmul *d,
                               ptrdiff_t *a_offset, ptrdiff_t *b_offset)
{
    interp_shape a = *itp_shape_in(w, node, 0), b = *itp_shape_in(w, node, 1);
    interp_shape y = *itp_shape_out(w, node);
    if (d->count == 1) {
        a_offset[0] = b_offset[0] = 0;
        return;
    }
    a.rank -= 2, b.rank -= 2, y.rank -= 2;
    for (int t = 0; t < d->count; t++) {
        ptrdiff_t at_a = 0, at_b = 0, step_a = (ptrdiff_t)d->m * d->k,
                  step_b = (ptrdiff_t)d->k * d->n;
        int rest = t;
        for (int i = y.rank - 1; i >= 0; i--) {
            const int at = rest % y.dim[i], ia = i - (y.rank - a.rank), ib = i - (y.rank - b.rank);
            rest /= y.dim[i];
            if (ia >= 0 && a.dim[ia] > 1) at_a += at * step_a;
            if (ib >= 0 && b.dim[ib] > 1) at_b += at * step_b;
            if (ia >= 0) step_a *= a.dim[ia];
            if (ib >= 0) step_b *= b.dim[ib];
        }
        a_offset[t] = at_a;
        b_offset[t] = at_b;
    }
}

/* The products' offsets live in the shared scratch: four arrays of `count`. */
ITP_FN itp_need itp_need_matmul(const interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    itp_need need = {itp_gemm_scratch(w->ctx, d.m, d.n, d.k), 0, 0, 0};
    if (w->runs_back[node]) {
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.m, d.k, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.n, d.m));
    }
    need.shared = 3 * itp_round_up((size_t)d.count, 16) * (sizeof(ptrdiff_t) / sizeof(float) + 1);
    return need;
}

typedef struct itp_offsets {
    ptrdiff_t *a, *b, *y;
} itp_offsets;

ITP_FN itp_offsets itp_matmul_prepare(interp_workspace *w, int node, const itp_matmul *d)
{
    itp_offsets o;
    const size_t n = itp_round_up((size_t)d->count, 16);
    o.a = (ptrdiff_t *)(void *)w->shared;
    o.b = o.a + n;
    o.y = o.b + n;
    itp_matmul_offsets(w, node, d, o.a, o.b);
    for (int t = 0; t < d->count; t++) o.y[t] = (ptrdiff_t)t * d->m * d->n;
    return o;
}

ITP_FN void itp_forward_matmul(interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    const itp_offsets o = itp_matmul_prepare(w, node, &d);
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = d.m, g.n = d.n, g.k = d.k, g.alpha = 1;
    g.a = itp_x(w, node, 0), g.a_rs = d.k, g.a_cs = 1;
    g.b = itp_x(w, node, 1), g.b_rs = d.n, g.b_cs = 1;
    g.c = itp_y(w, node), g.c_rs = d.n;
    itp_gemm_batch(w->ctx, &g, d.count, o.a, o.b, (ptrdiff_t)d.m * d.n, w->scratch);
}

/* Products whose results land at `to`; those that share a place are added one after the other. */
ITP_FN void itp_matmul_grad(interp_workspace *w, itp_gemm *g, int count, const ptrdiff_t *a,
                            const ptrdiff_t *b, const ptrdiff_t *to, bool spread, size_t size,
                            float beta)
{
    float *c = g->c;
    g->alpha = 1, g->beta = beta;
    if (!spread) {
        itp_gemm_batch(w->ctx, g, count, a, b, (ptrdiff_t)g->m * g->n, w->scratch);
        return;
    }
    if (beta == 0) memset(c, 0, size * sizeof *c);
    g->beta = 1;
    for (int t = 0; t < count; t++) {
        itp_gemm one = *g;
        one.a += a[t];
        one.b += b[t];
        one.c = c + to[t];
        itp_gemm_run(w->ctx, &one, w->scratch);
    }
}

ITP_FN void itp_backward_matmul(interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    const itp_offsets o = itp_matmul_prepare(w, node, &d);
    float *da = itp_dx(w, node, 0), *db = itp_dx(w, node, 1);
    itp_gemm g;
    if (da) { /* dy b^T */
        memset(&g, 0, sizeof g);
        g.m = d.m, g.n = d.k, g.k = d.n;
        g.a = itp_dy(w, node), g.a_rs = d.n, g.a_cs = 1;
        g.b = itp_x(w, node, 1), g.b_rs = 1, g.b_cs = d.n;
        g.c = da, g.c_rs = d.k;
        itp_matmul_grad(w, &g, d.count, o.y, o.b, o.a, d.a_spread,
                        itp_count(itp_shape_in(w, node, 0)), itp_beta(w, node, 0));
    }
    if (db) { /* a^T dy */
        memset(&g, 0, sizeof g);
        g.m = d.k, g.n = d.n, g.k = d.m;
        g.a = itp_x(w, node, 0), g.a_rs = 1, g.a_cs = d.k;
        g.b = itp_dy(w, node), g.b_rs = d.n, g.b_cs = 1;
        g.c = db, g.c_rs = d.n;
        itp_matmul_grad(w, &g, d.count, o.a, o.y, o.b, d.b_spread,
                        itp_count(itp_shape_in(w, node, 1)), itp_beta(w, node, 1));
    }
}

ITP_FN double itp_macs_matmul(const interp_net *net, const itp_node *node)
{
    const interp_shape *a = &net->values[node->in[0]].shape;
    return (double)itp_count(&net->values[node->out].shape) * a->dim[a->rank - 1];
}

/* ---- onnx/read_recurrent.c: RNN, GRU and LSTM, one step after the other ------------------------ */

#define ITP_ONNX_STEPS 2048 /* longest sequence that is laid out step by step */

typedef struct itp_recurrent {
    int kind; /* gates: 1 RNN, 3 GRU, 4 LSTM */
    int steps, batch, size;
    int act[3]; /* ops of its activations */
    double alpha[3], beta[3], clip;
    bool before_reset, coupled;
    int product;          /* x W^T + biases of all steps: [steps, batch, gates size] */
    int r, rh, rest_bias; /* R^T; GRU: that of the candidate; its bias, -1 */
    int peep[3], masks;   /* input, output, forget; [steps, batch, 1] of which samples go on, -1 */
} itp_recurrent;

/* Activation k of direction d: by name, with its own constants where the node has some. */
ITP_FN void itp_cell_activation(itp_make *m, itp_recurrent *c, int k, itp_slice name,
                                const float *alpha, int n_alpha, const float *beta, int n_beta,
                                int *at)
{
    static const struct {
        const char *name;
        int op;
        double alpha, beta;
        int constants; /* how many the lists hold for it */
    } rows[] = {{"Sigmoid", ITP_OP_SIGMOID, 0, 0, 0},
                {"Tanh", ITP_OP_TANH, 0, 0, 0},
                {"Relu", ITP_OP_RELU, 0, 0, 0},
                {"Affine", -1, 1, 0, 2},
                {"LeakyRelu", ITP_OP_LEAKY_RELU, 0.01, 0, 1},
                {"ThresholdedRelu", ITP_OP_THRESHOLDED_RELU, 1, 0, 1},
                {"ScaledTanh", -2, 1, 1, 2},
                {"HardSigmoid", ITP_OP_HARD_SIGMOID, 0.2, 0.5, 2},
                {"Elu", ITP_OP_ELU, 1, 0, 1},
                {"Softsign", ITP_OP_SOFTSIGN, 0, 0, 0},
                {"Softplus", ITP_OP_SOFTPLUS, 0, 0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!itp_slice_is(name, rows[i].name)) continue;
        c->act[k] = rows[i].op;
        c->alpha[k] = rows[i].alpha, c->beta[k] = rows[i].beta;
        if (rows[i].constants > 0 && at[0] < n_alpha) c->alpha[k] = (double)alpha[at[0]++];
        if (rows[i].constants > 1 && at[1] < n_beta) c->beta[k] = (double)beta[at[1]++];
        return;
    }
    itp_make_fail(m, INTERP_UNSUPPORTED, "activation \"%.*s\" is not supported", ITP_SHOW(name));
}

/* The activations of direction d. */
ITP_FN void itp_cell_activations(itp_make *m, itp_recurrent *c, int d)
{
    const int each = c->kind == 1 ? 1 : c->kind == 3 ? 2 : 3;
    const itp_onnx_attr *a = itp_onnx_attr_of(m->r, m->n, "activations");
    float alpha[6], beta[6];
    int at[2] = {0, 0}, k = 0;
    const int n_alpha = itp_make_floats(m, "activation_alpha", alpha, 6);
    const int n_beta = itp_make_floats(m, "activation_beta", beta, 6);
    for (int i = 0; i < each && !a; i++)
        itp_cell_activation(m, c, i, itp_slice_of(i || each == 1 ? "Tanh" : "Sigmoid"), alpha, 0,
                            beta, 0, at);
    if (!a) return;
    itp_pb p = itp_pb_of(a->message);
    itp_pb_field f;
    itp_recurrent unused = *c;
    while (itp_pb_next(&p, &f) && !m->status) {
        if (f.number != 9 || f.wire != ITP_BYTES) continue;
        const bool own = k >= d * each && k < (d + 1) * each;
        itp_cell_activation(m, own ? c : &unused, own ? k - d * each : 0, f.bytes, alpha, n_alpha,
                            beta, n_beta, at);
        k++;
    }
    if (p.bad || k < (d + 1) * each) itp_make_fail(m, INTERP_FORMAT, "it has too few activations");
}

ITP_FN int itp_cell_apply(itp_make *m, const itp_recurrent *c, int k, int x)
{
    if (c->act[k] == -1) /* Affine */
        return itp_make_by(m, ITP_OP_ADD, itp_make_by(m, ITP_OP_MUL, x, c->alpha[k]), c->beta[k]);
    if (c->act[k] == -2) { /* ScaledTanh */
        x = itp_make_one(m, ITP_OP_TANH, itp_make_by(m, ITP_OP_MUL, x, c->beta[k]));
        return itp_make_by(m, ITP_OP_MUL, x, c->alpha[k]);
    }
    return itp_make_with(m, c->act[k], x, c->alpha[k], c->beta[k]);
}

ITP_FN int itp_cell_clip(itp_make *m, const itp_recurrent *c, int x)
{
    return c->clip > 0 ? itp_make_with(m, ITP_OP_CLIP, x, -c->clip, c->clip) : x;
}

/* Gate g of [batch, gates size]. */
ITP_FN int itp_cell_gate(itp_make *m, const itp_recurrent *c, int x, int g)
{
    return c->kind == 1 ? x : itp_make_cut(m, x, 1, g * c->size, c->size, false);
}

ITP_FN int itp_cell_sum(itp_make *m, int x, int y)
{
    return y < 0 ? x : itp_make_two(m, ITP_OP_ADD, x, y);
}

/* The state after one step; x: product of the step. */
ITP_FN int itp_cell_step(itp_make *m, const itp_recurrent *c, int x, int h, int *cell)
{
    const int all = itp_make_two(m, ITP_OP_MATMUL, h, c->r);
    if (c->kind == 1)
        return itp_cell_apply(m, c, 0, itp_cell_clip(m, c, itp_make_two(m, ITP_OP_ADD, x, all)));
    if (c->kind == 3) {
        const int zr = itp_make_two(m, ITP_OP_ADD, itp_make_cut(m, x, 1, 0, 2 * c->size, false),
                                    itp_make_cut(m, all, 1, 0, 2 * c->size, false));
        const int gates = itp_cell_apply(m, c, 0, itp_cell_clip(m, c, zr));
        const int z = itp_make_cut(m, gates, 1, 0, c->size, false);
        const int r = itp_make_cut(m, gates, 1, c->size, c->size, false);
        int n;
        if (c->before_reset) {
            n = itp_cell_sum(m, itp_cell_gate(m, c, all, 2), c->rest_bias);
            n = itp_make_two(m, ITP_OP_MUL, r, n);
        } else {
            n = itp_make_two(m, ITP_OP_MATMUL, itp_make_two(m, ITP_OP_MUL, r, h), c->rh);
            n = itp_cell_sum(m, n, c->rest_bias);
        }
        n = itp_cell_clip(m, c, itp_make_two(m, ITP_OP_ADD, itp_cell_gate(m, c, x, 2), n));
        n = itp_cell_apply(m, c, 1, n);
        const int change = itp_make_two(m, ITP_OP_SUB, h, n); /* n + z (h - n) */
        return itp_make_two(m, ITP_OP_ADD, n, itp_make_two(m, ITP_OP_MUL, z, change));
    }
    const int sum = itp_make_two(m, ITP_OP_ADD, x, all);
    int gate[4]; /* input, output, forget, cell */
    for (int g = 0; g < 4; g++) {
        gate[g] = itp_cell_gate(m, c, sum, g);
        if (g != 1 && g != 3 && c->peep[g] >= 0)
            gate[g] = itp_make_two(m, ITP_OP_ADD, gate[g],
                                   itp_make_two(m, ITP_OP_MUL, c->peep[g], *cell));
        if (g != 1) gate[g] = itp_cell_apply(m, c, g == 3, itp_cell_clip(m, c, gate[g]));
    }
    if (c->coupled) gate[2] = itp_make_by(m, ITP_OP_ADD, itp_make_one(m, ITP_OP_NEG, gate[0]), 1);
    *cell = itp_make_two(m, ITP_OP_ADD, itp_make_two(m, ITP_OP_MUL, gate[2], *cell),
                         itp_make_two(m, ITP_OP_MUL, gate[0], gate[3]));
    if (c->peep[1] >= 0)
        gate[1] =
            itp_make_two(m, ITP_OP_ADD, gate[1], itp_make_two(m, ITP_OP_MUL, c->peep[1], *cell));
    gate[1] = itp_cell_apply(m, c, 0, itp_cell_clip(m, c, gate[1]));
    return itp_make_two(m, ITP_OP_MUL, gate[1], itp_cell_apply(m, c, 2, *cell));
}

/* Direction d of [dirs, ...], or of an input that is left out: -1. */
ITP_FN int itp_cell_part(itp_make *m, int i, int d)
{
    const int v = itp_make_in(m, i);
    return v < 0 ? -1 : itp_make_cut(m, v, 0, d, 1, true);
}

/* Entries from..from+n of a vector. */
ITP_FN int itp_cell_piece(itp_make *m, int v, int from, int n)
{
    return v < 0 ? -1 : itp_make_cut(m, v, 0, from, n, false);
}

/* What all steps of direction d share. x: [steps, batch, inputs]. */
ITP_FN void itp_cell_prepare(itp_make *m, itp_recurrent *c, int x, int d)
{
    static const int turn[] = {1, 0};
    const int gates = c->kind * c->size;
    const int w = itp_make_transpose(m, itp_cell_part(m, 1, d), turn);
    const int r = itp_cell_part(m, 2, d), b = itp_cell_part(m, 3, d);
    const int wb = itp_cell_piece(m, b, 0, gates);
    c->product = itp_cell_sum(m, itp_make_two(m, ITP_OP_MATMUL, x, w), wb);
    c->r = itp_make_transpose(m, r, turn);
    c->rh = c->rest_bias = -1;
    for (int i = 0; i < 3; i++) c->peep[i] = -1;
    if (c->kind == 3) {
        c->rh = itp_make_transpose(m, itp_make_cut(m, r, 0, 2 * c->size, c->size, false), turn);
        c->rest_bias = itp_cell_piece(m, b, gates + 2 * c->size, c->size);
        if (b >= 0) { /* the rest of R's bias goes with the product */
            int rest[2] = {itp_cell_piece(m, b, gates, 2 * c->size),
                           itp_make_by(m, ITP_OP_MUL, c->rest_bias, 0)};
            c->product = itp_make_two(m, ITP_OP_ADD, c->product, itp_make_join(m, 2, rest, 0));
        }
    } else c->product = itp_cell_sum(m, c->product, itp_cell_piece(m, b, gates, gates));
    if (c->kind == 4 && itp_make_has(m, 7)) {
        const int p = itp_cell_part(m, 7, d);
        for (int i = 0; i < 3; i++) c->peep[i] = itp_cell_piece(m, p, i * c->size, c->size);
    }
    itp_cell_activations(m, c, d);
}

/* Joins many parts along an axis, some at a time. */
ITP_FN int itp_make_join_all(itp_make *m, int n, int *x, int axis)
{
    while (n > 1 && !m->status) {
        int to = 0;
        for (int i = 0; i < n; i += ITP_MAX_INPUTS)
            x[to++] = itp_make_join(m, itp_min(ITP_MAX_INPUTS, n - i), x + i, axis);
        n = to;
    }
    return x[0];
}

/* 1 for samples whose sequence has not ended at step t. */
ITP_FN int itp_cell_mask(itp_make *m, const itp_recurrent *c, const double *length, int t)
{
    interp_shape s = itp_shape_none();
    s.rank = 2;
    s.dim[0] = c->batch;
    float *on = (float *)interp_alloc(m->r->ctx, itp_mul_size((size_t)c->batch + 1, sizeof *on));
    if (!on) m->status = INTERP_NO_MEMORY;
    for (int b = 0; on && b < c->batch; b++) on[b] = t < length[b] ? 1 : 0;
    const int v = itp_make_const(m, &s, on);
    interp_free(m->r->ctx, on);
    return v;
}

/* The state's first numbers: input i, or zeros. */
ITP_FN int itp_cell_start(itp_make *m, const itp_recurrent *c, int i, int d, bool by_sample)
{
    interp_shape s = itp_shape_none();
    if (itp_make_has(m, i)) return itp_make_cut(m, itp_make_in(m, i), by_sample, d, 1, true);
    s.rank = 2;
    s.dim[0] = c->batch, s.dim[1] = c->size;
    float *zeros = (float *)itp_calloc(m->r->ctx, interp_shape_size(&s) + 1, sizeof *zeros);
    if (!zeros) m->status = INTERP_NO_MEMORY;
    const int v = m->status ? -1 : itp_make_const(m, &s, zeros);
    interp_free(m->r->ctx, zeros);
    return v;
}

/* All steps of direction d, into y[steps] of [batch, size]. */
ITP_FN void itp_cell_run(itp_make *m, const itp_recurrent *c, bool backward, const double *length,
                         int h, int cell, int *y, int *last_h, int *last_c)
{
    for (int k = 0; k < c->steps && !m->status; k++) {
        const int t = backward ? c->steps - 1 - k : k;
        int next_c = cell;
        const int x = itp_make_cut(m, c->product, 0, t, 1, true);
        int next = itp_cell_step(m, c, x, h, &next_c);
        bool ends = false;
        for (int b = 0; length && b < c->batch; b++) ends = ends || t >= length[b];
        if (ends) {
            const int on = itp_cell_mask(m, c, length, t);
            const int keep[3] = {on, next, h}, keep_c[3] = {on, next_c, cell};
            y[t] = itp_make_two(m, ITP_OP_MUL, next, on);
            h = itp_make_node(m, ITP_OP_WHERE, 3, keep, NULL);
            if (cell >= 0) cell = itp_make_node(m, ITP_OP_WHERE, 3, keep_c, NULL);
        } else y[t] = h = next, cell = next_c;
    }
    *last_h = h, *last_c = cell;
}

ITP_FN void itp_read_recurrent(itp_make *m)
{
    static const int swap[] = {1, 0, 2}, by_sample[] = {2, 0, 1, 3};
    itp_recurrent c;
    memset(&c, 0, sizeof c);
    c.kind = itp_make_is(m, "LSTM") ? 4 : itp_make_is(m, "GRU") ? 3 : 1;
    c.clip = itp_make_float(m, "clip", 0);
    c.before_reset = itp_make_int(m, "linear_before_reset", 0) != 0;
    c.coupled = itp_make_int(m, "input_forget", 0) != 0;
    const bool layout = itp_make_int(m, "layout", 0) != 0;
    const bool both = itp_make_says(m, "direction", "bidirectional", false);
    const bool backward = itp_make_says(m, "direction", "reverse", false);
    int x = itp_make_in(m, 0), last[3][2], dirs = both ? 2 : 1;
    if (layout) x = itp_make_transpose(m, x, swap);
    const interp_shape s = itp_make_shape(m, x), r = itp_make_shape(m, itp_make_in(m, 2));
    if (m->status) return;
    if (s.rank != 3 || r.rank != 3 || r.dim[0] != dirs || r.dim[1] != c.kind * r.dim[2]) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "its input or weights have wrong shapes");
        return;
    }
    c.steps = s.dim[0], c.batch = s.dim[1], c.size = r.dim[2];
    if (c.steps > ITP_ONNX_STEPS || c.steps < 1) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "sequences of %d steps; 1 to %d do", c.steps,
                      ITP_ONNX_STEPS);
        return;
    }
    itp_numbers length;
    length.x = NULL;
    if (itp_make_has(m, 4) && itp_make_numbers(m, 4, &length) && length.n != (size_t)c.batch)
        itp_make_fail(m, INTERP_BAD_SHAPE, "%zu lengths for %d sequences", length.n, c.batch);
    int *y = (int *)interp_alloc(m->r->ctx, 2 * (size_t)c.steps * sizeof *y);
    if (!y) m->status = INTERP_NO_MEMORY;
    for (int d = 0; d < dirs && !m->status; d++) {
        itp_cell_prepare(m, &c, x, d);
        const int h = itp_cell_start(m, &c, 5, d, layout);
        const int cell = c.kind == 4 ? itp_cell_start(m, &c, 6, d, layout) : -1;
        itp_cell_run(m, &c, d || backward, length.x, h, cell, y + d * c.steps, &last[1][d],
                     &last[2][d]);
    }
    if (itp_make_wants(m, 0) && m->r->links[m->n->out] >= 0 && !m->status) {
        for (int i = 0; i < dirs * c.steps; i++)
            y[i] = itp_make_as(m, y[i], 4, 1, 1, c.batch, c.size, 0);
        for (int d = 0; d < dirs; d++)
            last[0][d] = itp_make_join_all(m, c.steps, y + d * c.steps, 0);
        int all = itp_make_join(m, dirs, last[0], 1);
        if (layout) all = itp_make_transpose(m, all, by_sample);
        itp_make_end(m, 0, all);
    }
    for (int i = 1; i < 3 && !m->status; i++) {
        if (!itp_make_wants(m, i)) continue;
        for (int d = 0; d < dirs; d++)
            last[i][d] = itp_make_as(m, last[i][d], 3, layout ? c.batch : 1, layout ? 1 : c.batch,
                                     c.size, 0, 0);
        itp_make_end(m, i, itp_make_join(m, dirs, last[i], layout));
    }
    interp_free(m->r->ctx, y);
}

/* ---- onnx/read_norm.c: normalisation, softmax, matrix products, attention --------------------- */

/* Training mode draws; a model exported for use does not say so. */
ITP_FN void itp_read_dropout(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    double ratio = itp_make_float(m, "ratio", 0.5), training = 0;
    if (m->r->opset >= 12) {
        ratio = itp_make_number_in(m, 1, 0.5);
        training = itp_make_number_in(m, 2, 0);
    }
    if (training != 0 && ratio != 0)
        itp_make_fail(m, INTERP_UNSUPPORTED,
                      "it is set to training: export the model for inference");
    if (!(ratio >= 0 && ratio < 1))
        itp_make_fail(m, INTERP_UNSUPPORTED, "its ratio %g is not in [0, 1)", ratio);
    itp_make_end(m, 0, itp_make_with(m, ITP_OP_DROPOUT, x, ratio, 0));
    if (!itp_make_wants(m, 1)) return;
    m->type = ITP_ONNX_BOOL; /* nothing is dropped */
    itp_make_end(m, 1, itp_make_with(m, ITP_OP_FILL, x, 1, 0));
}

/* Before opset 13 the sum ran over all dimensions from the axis on. */
ITP_FN void itp_read_softmax(itp_make *m)
{
    int x = itp_make_in(m, 0), many = 0, last = 0;
    const interp_shape s = itp_make_shape(m, x);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_axis(m, itp_make_int(m, "axis", m->r->opset < 13 ? 1 : -1), s.rank);
    for (int i = a.axis; i < s.rank; i++)
        if (s.dim[i] != 1) last = i, many++;
    if (m->r->opset < 13 && many == 1) a.axis = last;
    if (m->r->opset >= 13 || many <= 1) {
        itp_make_end(m, 0, itp_make_node(m, m->n->row->op, 1, &x, &a));
        return;
    }
    interp_shape flat = itp_shape_none(), back = s;
    flat.rank = a.axis + 1;
    for (int i = 0; i < a.axis; i++) flat.dim[i] = 0;
    flat.dim[a.axis] = -1;
    back.dim[0] = a.axis ? 0 : -1;
    x = itp_make_reshape(m, x, &flat);
    x = itp_make_node(m, m->n->row->op, 1, &x, &a);
    itp_make_end(m, 0, itp_make_reshape(m, x, &back));
}

/* With the statistics of the batch at hand, as training does; then outputs 1 and 2 are running ones. */
ITP_FN void itp_read_batch_norm_training(itp_make *m, const int *in, double epsilon, double keep)
{
    const int rank = itp_make_shape(m, in[0]).rank;
    const unsigned axes = ((1u << rank) - 1) & ~2u;
    const int mean = itp_make_reduce(m, ITP_OP_REDUCE_MEAN, in[0], axes, true);
    const int centred = itp_make_two(m, ITP_OP_SUB, in[0], mean);
    const int square = itp_make_one(m, ITP_OP_SQUARE, centred);
    const int variance = itp_make_reduce(m, ITP_OP_REDUCE_MEAN, square, axes, true);
    int y = itp_make_one(m, ITP_OP_SQRT, itp_make_by(m, ITP_OP_ADD, variance, epsilon));
    y = itp_make_two(m, ITP_OP_DIV, centred, y);
    y = itp_make_two(m, ITP_OP_MUL, y, itp_make_per_channel(m, in[1], rank));
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_ADD, y, itp_make_per_channel(m, in[2], rank)));
    for (int i = 1; i < 3; i++) {
        if (!itp_make_wants(m, i)) continue;
        const int now = itp_make_as(m, i == 1 ? mean : variance, 1, -1, 0, 0, 0, 0);
        itp_make_end(m, i,
                     itp_make_two(m, ITP_OP_ADD, itp_make_by(m, ITP_OP_MUL, in[2 + i], keep),
                                  itp_make_by(m, ITP_OP_MUL, now, 1 - keep)));
    }
}

ITP_FN void itp_read_batch_norm(itp_make *m)
{
    int in[5];
    itp_attrs a;
    bool known = true;
    for (int i = 0; i < 5; i++) {
        const bool statistics = i > 2 && !itp_make_known(m, i);
        known = known && !statistics;
        if (statistics) {
            in[i] = -1;
            const int symbol = itp_onnx_in(m->r, m->n, i);
            itp_make_try(m, itp_onnx_symbol_value(m->r, symbol, &in[i]));
        } else in[i] = itp_make_in(m, i);
    }
    itp_make_try(m, itp_onnx_attrs(m->r, m->n, itp_make_shape(m, in[0]).rank, &a));
    const bool training =
        m->r->opset >= 14 ? itp_make_int(m, "training_mode", 0) != 0
                          : m->r->opset < 7 && !itp_make_int(m, "is_test", 0) && m->n->n_out > 1;
    if (m->status) return;
    if (training) {
        itp_read_batch_norm_training(m, in, (double)a.epsilon, (double)a.momentum);
        return;
    }
    if (known) {
        itp_make_end(m, 0, itp_make_node(m, ITP_OP_BATCH_NORM, 5, in, &a));
        return;
    }
    const int rank = itp_make_shape(m, in[0]).rank; /* statistics that are computed */
    int sd = itp_make_by(m, ITP_OP_ADD, in[4], (double)a.epsilon);
    sd = itp_make_per_channel(m, itp_make_one(m, ITP_OP_SQRT, sd), rank);
    int y = itp_make_two(m, ITP_OP_SUB, in[0], itp_make_per_channel(m, in[3], rank));
    y = itp_make_two(m, ITP_OP_MUL, itp_make_two(m, ITP_OP_DIV, y, sd),
                     itp_make_per_channel(m, in[1], rank));
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_ADD, y, itp_make_per_channel(m, in[2], rank)));
}

/* Layer norm of rows without scale and shift, by the op with constants of 1 and 0. */
ITP_FN int itp_make_layer_norm(itp_make *m, int x, int axis, double epsilon)
{
    const interp_shape s = itp_make_shape(m, x);
    interp_shape row = itp_shape_none();
    itp_attrs a;
    row.rank = 1;
    for (int i = axis; i < s.rank; i++) row.dim[0] *= s.dim[i];
    if (m->status) return -1;
    memset(&a, 0, sizeof a);
    a.axis = axis, a.epsilon = (float)epsilon;
    float *ones = (float *)interp_alloc(m->r->ctx,
                                        itp_mul_size((size_t)itp_max(1, row.dim[0]), sizeof *ones));
    if (!ones) m->status = INTERP_NO_MEMORY;
    for (int i = 0; ones && i < row.dim[0]; i++) ones[i] = 1;
    const int in[2] = {x, itp_make_const(m, &row, ones)};
    interp_free(m->r->ctx, ones);
    return itp_make_node(m, ITP_OP_LAYER_NORM, 2, in, &a);
}

/* Each channel of each sample by itself. */
ITP_FN void itp_read_instance_norm(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    interp_shape back = s;
    if (s.rank < 3) itp_make_fail(m, INTERP_BAD_SHAPE, "its input is not [N,C,...]");
    x = itp_make_as(m, x, 3, 0, s.dim[1], -1, 0, 0);
    x = itp_make_layer_norm(m, x, 2, itp_make_float(m, "epsilon", 1e-5));
    back.dim[0] = 0;
    x = itp_make_reshape(m, x, &back);
    x = itp_make_two(m, ITP_OP_MUL, x, itp_make_per_channel(m, itp_make_in(m, 1), s.rank));
    itp_make_end(
        m, 0, itp_make_two(m, ITP_OP_ADD, x, itp_make_per_channel(m, itp_make_in(m, 2), s.rank)));
}

ITP_FN void itp_read_group_norm(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    interp_shape back = s;
    const int groups = itp_make_int(m, "num_groups", 0);
    if (s.rank < 2 || groups < 1 || s.dim[1] % groups)
        itp_make_fail(m, INTERP_BAD_SHAPE, "%d groups do not divide its channels", groups);
    if (m->status) return;
    x = itp_make_as(m, x, 3, 0, groups, -1, 0, 0);
    x = itp_make_layer_norm(m, x, 2, itp_make_float(m, "epsilon", 1e-5));
    const bool by_group = m->r->opset < 21; /* scale and bias of each group */
    interp_shape wide = itp_shape_none();
    wide.rank = 2;
    wide.dim[0] = groups, wide.dim[1] = 1;
    for (int i = 1; i < 3 && by_group; i++)
        x = itp_make_two(m, i == 1 ? ITP_OP_MUL : ITP_OP_ADD, x,
                         itp_make_reshape(m, itp_make_in(m, i), &wide));
    back.dim[0] = 0;
    x = itp_make_reshape(m, x, &back);
    for (int i = 1; i < 3 && !by_group; i++)
        x = itp_make_two(m, i == 1 ? ITP_OP_MUL : ITP_OP_ADD, x,
                         itp_make_per_channel(m, itp_make_in(m, i), s.rank));
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_layer_norm(itp_make *m)
{
    const int in[3] = {itp_make_in(m, 0), itp_make_in(m, 1), itp_make_in(m, 2)};
    const int rank = itp_make_shape(m, in[0]).rank;
    itp_attrs a;
    itp_make_try(m, itp_onnx_attrs(m->r, m->n, rank, &a));
    const int axis = itp_make_axis(m, m->status ? 0 : a.axis, rank);
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_LAYER_NORM, in[2] < 0 ? 2 : 3, in, &a));
    if (m->status || (!itp_make_wants(m, 1) && !itp_make_wants(m, 2))) return;
    const unsigned axes = ((1u << rank) - 1) & ~((1u << axis) - 1);
    const int mean = itp_make_reduce(m, ITP_OP_REDUCE_MEAN, in[0], axes, true);
    int v = itp_make_one(m, ITP_OP_SQUARE, itp_make_two(m, ITP_OP_SUB, in[0], mean));
    v = itp_make_by(m, ITP_OP_ADD, itp_make_reduce(m, ITP_OP_REDUCE_MEAN, v, axes, true),
                    (double)a.epsilon);
    if (itp_make_wants(m, 1)) itp_make_end(m, 1, mean);
    if (itp_make_wants(m, 2))
        itp_make_end(m, 2, itp_make_one(m, ITP_OP_RECIPROCAL, itp_make_one(m, ITP_OP_SQRT, v)));
}

ITP_FN void itp_read_rms_norm(itp_make *m)
{
    const int x = itp_make_in(m, 0), rank = itp_make_shape(m, x).rank;
    const int axis = itp_make_axis(m, itp_make_int(m, "axis", -1), rank);
    const unsigned axes = ((1u << rank) - 1) & ~((1u << axis) - 1);
    int v = itp_make_reduce(m, ITP_OP_REDUCE_MEAN, itp_make_one(m, ITP_OP_SQUARE, x), axes, true);
    v = itp_make_by(m, ITP_OP_ADD, v, itp_make_float(m, "epsilon", 1e-5));
    v = itp_make_two(m, ITP_OP_DIV, x, itp_make_one(m, ITP_OP_SQRT, v));
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_MUL, v, itp_make_in(m, 1)));
}

ITP_FN void itp_read_mean_variance(itp_make *m)
{
    int64_t list[INTERP_MAX_RANK] = {0, 2, 3};
    const int x = itp_make_in(m, 0), rank = itp_make_shape(m, x).rank;
    int count = itp_make_ints(m, "axes", list, INTERP_MAX_RANK);
    unsigned axes = 0;
    if (count < 0) count = 3, list[0] = 0, list[1] = 2, list[2] = 3;
    for (int i = 0; i < count; i++) axes |= 1u << itp_make_axis(m, list[i], rank);
    const int centred =
        itp_make_two(m, ITP_OP_SUB, x, itp_make_reduce(m, ITP_OP_REDUCE_MEAN, x, axes, true));
    int v =
        itp_make_reduce(m, ITP_OP_REDUCE_MEAN, itp_make_one(m, ITP_OP_SQUARE, centred), axes, true);
    v = itp_make_by(m, ITP_OP_ADD, itp_make_one(m, ITP_OP_SQRT, v), 1e-9);
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_DIV, centred, v));
}

ITP_FN void itp_read_lp_norm(itp_make *m)
{
    const int x = itp_make_in(m, 0), p = itp_make_int(m, "p", 2);
    const unsigned axes =
        1u << itp_make_axis(m, itp_make_int(m, "axis", -1), itp_make_shape(m, x).rank);
    if (p != 1 && p != 2) itp_make_fail(m, INTERP_UNSUPPORTED, "p = %d is not supported", p);
    int v = itp_make_one(m, p == 1 ? ITP_OP_ABS : ITP_OP_SQUARE, x);
    v = itp_make_reduce(m, ITP_OP_REDUCE_SUM, v, axes, true);
    if (p == 2) v = itp_make_one(m, ITP_OP_SQRT, v);
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_DIV, x, v));
}

/* ---- products */

ITP_FN void itp_read_gemm(itp_make *m)
{
    const int in[3] = {itp_make_in(m, 0), itp_make_in(m, 1), itp_make_in(m, 2)};
    itp_attrs a;
    itp_make_try(m, itp_onnx_attrs(m->r, m->n, itp_make_shape(m, in[0]).rank, &a));
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_GEMM, in[2] < 0 ? 2 : 3, in, &a));
}

/* As NumPy has it: an operand of one dimension is a row or a column, which then goes. */
ITP_FN int itp_make_matmul(itp_make *m, int x, int y)
{
    const interp_shape a = itp_make_shape(m, x), b = itp_make_shape(m, y);
    if (m->status) return -1;
    if (a.rank == 1) x = itp_make_as(m, x, 2, 1, a.dim[0], 0, 0, 0);
    if (b.rank == 1) y = itp_make_as(m, y, 2, b.dim[0], 1, 0, 0, 0);
    int z = itp_make_two(m, ITP_OP_MATMUL, x, y);
    if (a.rank != 1 && b.rank != 1) return z;
    const interp_shape full = itp_make_shape(m, z);
    interp_shape s = itp_shape_none();
    for (int i = 0; i < full.rank; i++) {
        if ((a.rank == 1 && i == full.rank - 2) || (b.rank == 1 && i == full.rank - 1)) continue;
        s.dim[s.rank] = s.rank == i && i == 0 && full.rank > 2 ? 0 : full.dim[i];
        s.rank++;
    }
    return itp_make_reshape(m, z, &s);
}

ITP_FN void itp_read_matmul(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_make_end(m, 0, itp_make_matmul(m, x, itp_make_in(m, 1)));
}

/* ---- einsum: every operand as [both, its own, summed], by transposing, summing and joining */

typedef struct itp_einsum {
    char term[3][INTERP_MAX_RANK + 1]; /* operands and result; dots become capitals */
    int n_terms;
    int size[128]; /* of letters; 0: not seen */
} itp_einsum;

ITP_FN bool itp_einsum_parse(itp_make *m, itp_einsum *e)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(m->r, m->n, "equation");
    memset(e, 0, sizeof *e);
    if (!a || a->s.n > 200) return false;
    int term = 0, at = 0, arrow = -1;
    for (size_t i = 0; i < a->s.n; i++) {
        const char c = a->s.at[i];
        if (c == ' ') continue;
        if (c == ',') {
            if (++term >= m->n->n_in || arrow >= 0) return false;
            at = 0;
        } else if (c == '-') {
            if (i + 1 >= a->s.n || a->s.at[++i] != '>' || arrow >= 0) return false;
            arrow = ++term, at = 0;
        } else if (c == '.') {
            if (i + 2 >= a->s.n || a->s.at[i + 1] != '.' || a->s.at[i + 2] != '.') return false;
            i += 2;
            e->term[term][at++] = '.';
        } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            if (at >= INTERP_MAX_RANK) return false;
            e->term[term][at++] = c;
        } else return false;
    }
    e->n_terms = (arrow >= 0 ? arrow : term + 1);
    if (e->n_terms != m->n->n_in) return false;
    if (arrow < 0) { /* letters that occur once, in order, behind the dots */
        char *out = e->term[e->n_terms];
        int count[128] = {0}, n = 0;
        bool dots = false;
        for (int t = 0; t < e->n_terms; t++)
            for (const char *p = e->term[t]; *p; p++) {
                if (*p == '.') dots = true;
                count[(int)*p]++;
            }
        if (dots) out[n++] = '.';
        for (int c = 'A'; c <= 'z'; c++)
            if (count[c] == 1 && n < INTERP_MAX_RANK) out[n++] = (char)c;
    }
    return true;
}

/* Dots as letters of their own ('0' the last dimension), the same in all terms. */
ITP_FN bool itp_einsum_dots(itp_make *m, itp_einsum *e, const int *x)
{
    int most = 0;
    for (int t = 0; t <= e->n_terms; t++) {
        char *dots = strchr(e->term[t], '.'), full[3 * INTERP_MAX_RANK];
        if (!dots) continue;
        const int letters = (int)strlen(e->term[t]) - 1;
        const int n = t < e->n_terms ? itp_make_shape(m, x[t]).rank - letters : most;
        if (n < 0 || n + letters > INTERP_MAX_RANK) return false;
        most = itp_max(most, n);
        const size_t head = (size_t)(dots - e->term[t]);
        memcpy(full, e->term[t], head);
        for (int i = 0; i < n; i++) full[head + (size_t)i] = (char)('0' + n - 1 - i);
        strcpy(full + head + n, dots + 1);
        strcpy(e->term[t], full);
    }
    return true;
}

/* The letters of `t` without those that occur twice: their diagonal; and without those nobody else
   has: their sum. `keep`: letters of the other terms. */
ITP_FN int itp_einsum_operand(itp_make *m, int x, char *t, const char *keep)
{
    for (int i = 0; t[i]; i++) {
        const char *again = strchr(t + i + 1, t[i]);
        if (!again) continue;
        const int j = (int)(again - t), n = itp_make_shape(m, x).dim[i];
        const interp_shape s = itp_make_shape(m, x);
        interp_shape wide = itp_shape_none();
        const int eye = itp_make_mask(m, n, n, 0, 0);
        wide.rank = s.rank;
        for (int d = 0; d < s.rank; d++) wide.dim[d] = d == i || d == j ? n : 1;
        x = itp_make_two(m, ITP_OP_MUL, x, itp_make_reshape(m, eye, &wide));
        x = itp_make_reduce(m, ITP_OP_REDUCE_SUM, x, 1u << j, false);
        memmove(t + j, t + j + 1, strlen(t + j));
        i--;
    }
    for (int i = 0; t[i]; i++) {
        if (strchr(keep, t[i])) continue;
        x = itp_make_reduce(m, ITP_OP_REDUCE_SUM, x, 1u << i, false);
        memmove(t + i, t + i + 1, strlen(t + i));
        i--;
    }
    return x;
}

/* x with letters `from` in the order `to`; letters it has not are of size 1. */
ITP_FN int itp_einsum_order(itp_make *m, int x, const char *from, const char *to)
{
    int perm[INTERP_MAX_RANK], n = 0;
    interp_shape s = itp_shape_none();
    const interp_shape old = itp_make_shape(m, x);
    bool same = true;
    for (const char *p = to; *p; p++) {
        const char *at = strchr(from, *p);
        s.dim[s.rank++] = at ? old.dim[at - from] : 1;
        if (!at) continue;
        same = same && perm[n] == n;
        perm[n] = (int)(at - from);
        n++;
    }
    (void)same;
    if (n > 1) x = itp_make_transpose(m, x, perm);
    return n == s.rank ? x : itp_make_reshape(m, x, &s);
}

ITP_FN void itp_read_einsum(itp_make *m)
{
    itp_einsum e;
    int x[2] = {itp_make_in(m, 0), m->n->n_in > 1 ? itp_make_in(m, 1) : -1};
    if (m->status) return;
    bool good = itp_einsum_parse(m, &e) && itp_einsum_dots(m, &e, x);
    const char *out = e.term[e.n_terms];
    for (int t = 0; t < e.n_terms && good; t++) {
        char keep[2 * INTERP_MAX_RANK + 2];
        good = (int)strlen(e.term[t]) == itp_make_shape(m, x[t]).rank;
        snprintf(keep, sizeof keep, "%s%s", out, e.n_terms > 1 ? e.term[1 - t] : "");
        if (good) x[t] = itp_einsum_operand(m, x[t], e.term[t], keep);
    }
    if (!good) itp_make_fail(m, INTERP_UNSUPPORTED, "its equation is not supported");
    if (m->status) return;
    if (e.n_terms == 1) {
        itp_make_end(m, 0, itp_einsum_order(m, x[0], e.term[0], out));
        return;
    }
    /* [batch, own, summed] of both, a matrix product, and the result's own order */
    char batch[INTERP_MAX_RANK + 1] = "", sum[INTERP_MAX_RANK + 1] = "";
    char own[2][INTERP_MAX_RANK + 1] = {"", ""};
    for (int t = 0; t < 2; t++)
        for (const char *p = e.term[t]; *p; p++) {
            const bool shared = strchr(e.term[1 - t], *p) != NULL, stays = strchr(out, *p) != NULL;
            char *to = !shared ? own[t] : stays ? batch : sum;
            if (!strchr(to, *p)) to[strlen(to) + 1] = 0, to[strlen(to)] = *p;
        }
    interp_shape full = itp_shape_none();
    for (int t = 0; t < 2; t++) {
        char order[3 * INTERP_MAX_RANK + 1];
        snprintf(order, sizeof order, "%s%s%s", batch, t ? sum : own[0], t ? own[1] : sum);
        const interp_shape before = itp_make_shape(m, x[t]);
        for (const char *p = e.term[t]; *p; p++)
            e.size[(int)*p] = itp_max(e.size[(int)*p], before.dim[p - e.term[t]]);
        x[t] = itp_einsum_order(m, x[t], e.term[t], order);
        const interp_shape s = itp_make_shape(m, x[t]);
        interp_shape flat = itp_shape_none();
        const int n_batch = (int)strlen(batch), n_left = (int)strlen(t ? sum : own[0]);
        flat.rank = n_batch + 2;
        for (int d = 0; d < s.rank; d++)
            if (d < n_batch) flat.dim[d] = s.dim[d];
            else flat.dim[n_batch + (d >= n_batch + n_left)] *= s.dim[d];
        x[t] = itp_make_reshape(m, x[t], &flat);
    }
    int y = itp_make_two(m, ITP_OP_MATMUL, x[0], x[1]);
    char made[3 * INTERP_MAX_RANK + 1];
    snprintf(made, sizeof made, "%s%s%s", batch, own[0], own[1]);
    for (const char *p = made; *p && full.rank < INTERP_MAX_RANK; p++)
        full.dim[full.rank++] = e.size[(int)*p];
    y = itp_make_reshape(m, y, &full);
    itp_make_end(m, 0, itp_einsum_order(m, y, made, out));
}

/* ---- attention of opset 23 */

/* [B,T,heads*d] as [B,heads,T,d]; what has four dimensions already stays. */
ITP_FN int itp_make_heads(itp_make *m, int x, int heads)
{
    static const int order[] = {0, 2, 1, 3};
    const interp_shape s = itp_make_shape(m, x);
    if (s.rank == 4) return x;
    if (s.rank != 3 || heads < 1 || s.dim[2] % heads) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "%d heads do not divide its rows", heads);
        return -1;
    }
    x = itp_make_as(m, x, 4, 0, s.dim[1], heads, s.dim[2] / heads, 0);
    return itp_make_transpose(m, x, order);
}

/* Every head `times` times in a row. */
ITP_FN int itp_make_repeat_heads(itp_make *m, int x, int times)
{
    const interp_shape s = itp_make_shape(m, x);
    double at[1024];
    if (times <= 1 || m->status) return x;
    if (times > 1024 / itp_max(1, s.dim[1])) itp_make_fail(m, INTERP_UNSUPPORTED, "too many heads");
    for (int i = 0; i < s.dim[1] * times && !m->status; i++) at[i] = i / times;
    return itp_make_take(m, x, 1, s.dim[1] * times, at);
}

ITP_FN void itp_read_attention(itp_make *m)
{
    static const int swap[] = {0, 1, 3, 2}, back[] = {0, 2, 1, 3};
    const int heads = itp_make_int(m, "q_num_heads", 0),
              shared = itp_make_int(m, "kv_num_heads", 0);
    const int mode = itp_make_int(m, "qk_matmul_output_mode", 0);
    const double cap = itp_make_float(m, "softcap", 0);
    int x = itp_make_in(m, 0);
    const bool rows = itp_make_shape(m, x).rank == 3;
    int q = itp_make_heads(m, x, heads);
    int k = itp_make_heads(m, itp_make_in(m, 1), shared);
    int v = itp_make_heads(m, itp_make_in(m, 2), shared);
    for (int i = 0; i < 2; i++) {
        if (!itp_make_has(m, 4 + i)) continue;
        const int both[2] = {itp_make_in(m, 4 + i), i ? v : k};
        *(i ? &v : &k) = itp_make_join(m, 2, both, 2);
    }
    if (itp_make_wants(m, 1)) itp_make_end(m, 1, k);
    if (itp_make_wants(m, 2)) itp_make_end(m, 2, v);
    const interp_shape sq = itp_make_shape(m, q), sk = itp_make_shape(m, k);
    if (m->status || sq.rank != 4 || sk.rank != 4 || sk.dim[1] < 1) return;
    k = itp_make_repeat_heads(m, k, sq.dim[1] / sk.dim[1]);
    v = itp_make_repeat_heads(m, v, sq.dim[1] / sk.dim[1]);
    const double root = sqrt(itp_make_float(m, "scale", 1 / sqrt((double)sq.dim[3])));
    q = itp_make_by(m, ITP_OP_MUL, q, root);
    k = itp_make_by(m, ITP_OP_MUL, itp_make_transpose(m, k, swap), root);
    int s = itp_make_two(m, ITP_OP_MATMUL, q, k);
    if (itp_make_wants(m, 3) && mode == 0) itp_make_end(m, 3, s);
    int mask = -1;
    if (itp_make_int(m, "is_causal", 0)) { /* a query sees the keys up to its own place */
        const int before = itp_make_has(m, 4) ? sk.dim[2] - sq.dim[2] : 0;
        const int in[3] = {itp_make_mask(m, sq.dim[2], sk.dim[2], -INT_MAX, before),
                           itp_make_scalar(m, 0), itp_make_scalar(m, -(double)INFINITY)};
        mask = itp_make_node(m, ITP_OP_WHERE, 3, in, NULL);
    }
    if (itp_make_has(m, 3)) {
        int own = itp_make_in(m, 3);
        const bool truth = itp_make_type(m, 3) == ITP_ONNX_BOOL;
        const interp_shape so = itp_make_shape(m, own);
        if (so.rank && so.dim[so.rank - 1] < sk.dim[2]) { /* keys it does not name are not seen */
            itp_place_table p = itp_places_new(m);
            for (int d = 0; d < so.rank - 1; d++) itp_places_pass(&p);
            itp_places_list(&p, sk.dim[2]);
            for (int i = 0; i < sk.dim[2]; i++)
                itp_places_add(&p, i < so.dim[so.rank - 1] ? i : -1);
            own = itp_make_places(m, own, &p, truth ? 0 : -(double)INFINITY);
        }
        if (truth) {
            const int in[3] = {own, itp_make_scalar(m, 0), itp_make_scalar(m, -(double)INFINITY)};
            own = itp_make_node(m, ITP_OP_WHERE, 3, in, NULL);
        }
        mask = mask < 0 ? own : itp_make_two(m, ITP_OP_ADD, mask, own);
    }
    if (itp_make_has(m, 6)) { /* how many keys of each sample are none of the padding */
        interp_shape row = itp_shape_none();
        row.rank = 1, row.dim[0] = sk.dim[2];
        float *places =
            (float *)interp_alloc(m->r->ctx, itp_mul_size((size_t)sk.dim[2] + 1, sizeof *places));
        if (!places) m->status = INTERP_NO_MEMORY;
        for (int i = 0; places && i < sk.dim[2]; i++) places[i] = (float)i;
        const int used = itp_make_as(m, itp_make_in(m, 6), 4, -1, 1, 1, 1, 0);
        const int in[3] = {itp_make_two(m, ITP_OP_LESS, itp_make_const(m, &row, places), used),
                           itp_make_scalar(m, 0), itp_make_scalar(m, -(double)INFINITY)};
        interp_free(m->r->ctx, places);
        const int own = itp_make_node(m, ITP_OP_WHERE, 3, in, NULL);
        mask = mask < 0 ? own : itp_make_two(m, ITP_OP_ADD, mask, own);
    }
    if (mask >= 0) s = itp_make_two(m, ITP_OP_ADD, s, mask);
    if (itp_make_wants(m, 3) && mode == 1) itp_make_end(m, 3, s);
    if (cap != 0) {
        s = itp_make_one(m, ITP_OP_TANH, itp_make_by(m, ITP_OP_MUL, s, 1 / cap));
        s = itp_make_by(m, ITP_OP_MUL, s, cap);
    }
    if (itp_make_wants(m, 3) && mode == 2) itp_make_end(m, 3, s);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = 3;
    s = itp_make_node(m, ITP_OP_SOFTMAX, 1, &s, &a);
    if (itp_make_wants(m, 3) && mode == 3) itp_make_end(m, 3, s);
    int y = itp_make_two(m, ITP_OP_MATMUL, s, v);
    if (rows) {
        const interp_shape sy = itp_make_shape(m, y);
        y = itp_make_as(m, itp_make_transpose(m, y, back), 3, 0, sy.dim[2],
                        itp_make_times(m, sy.dim[1], sy.dim[3]), 0, 0);
    }
    itp_make_end(m, 0, y);
}

/* Pairs of each row turned by angles: halves, or neighbours when interleaved. */
ITP_FN void itp_read_rotary(itp_make *m)
{
    static const int back[] = {0, 2, 1, 3};
    int x = itp_make_in(m, 0), cosine = itp_make_in(m, 1), sine = itp_make_in(m, 2);
    const interp_shape whole = itp_make_shape(m, x);
    x = itp_make_heads(m, x, itp_make_int(m, "num_heads", 0));
    const interp_shape s = itp_make_shape(m, x);
    if (m->status) return;
    const int dim = itp_make_int(m, "rotary_embedding_dim", 0), n = dim ? dim : s.dim[3];
    const bool by_pairs = itp_make_int(m, "interleaved", 0) != 0;
    if (n % 2 || n > s.dim[3] || n > 1024) itp_make_fail(m, INTERP_BAD_SHAPE, "rows of %d", n);
    if (m->status) return;
    int *const angles[2] = {&cosine, &sine};
    for (int i = 0; i < 2; i++) {
        if (itp_make_has(m, 3)) { /* rows of a table */
            const int in[2] = {*angles[i], itp_make_in(m, 3)};
            itp_attrs a;
            memset(&a, 0, sizeof a);
            *angles[i] = itp_make_node(m, ITP_OP_GATHER, 2, in, &a);
        }
        const interp_shape t = itp_make_shape(m, *angles[i]);
        if (t.rank > 1 && t.dim[t.rank - 1] > n / 2) /* of a table made for whole rows */
            *angles[i] = itp_make_cut(m, *angles[i], t.rank - 1, 0, n / 2, false);
        *angles[i] = itp_make_as(m, *angles[i], 4, 0, 1, s.dim[2], -1, 0);
    }
    double place[2][512], order[1024];
    for (int i = 0; i < n / 2; i++) {
        place[0][i] = by_pairs ? 2 * i : i;
        place[1][i] = by_pairs ? 2 * i + 1 : n / 2 + i;
        order[(int)place[0][i]] = i, order[(int)place[1][i]] = n / 2 + i;
    }
    const int a = itp_make_take(m, x, 3, n / 2, place[0]),
              b = itp_make_take(m, x, 3, n / 2, place[1]);
    int part[3] = {itp_make_two(m, ITP_OP_SUB, itp_make_two(m, ITP_OP_MUL, cosine, a),
                                itp_make_two(m, ITP_OP_MUL, sine, b)),
                   itp_make_two(m, ITP_OP_ADD, itp_make_two(m, ITP_OP_MUL, sine, a),
                                itp_make_two(m, ITP_OP_MUL, cosine, b)),
                   -1};
    int y = itp_make_join(m, 2, part, 3);
    if (by_pairs) y = itp_make_take(m, y, 3, n, order);
    if (n < s.dim[3]) {
        part[0] = y, part[1] = itp_make_cut(m, x, 3, n, s.dim[3] - n, false);
        y = itp_make_join(m, 2, part, 3);
    }
    if (whole.rank == 3)
        y = itp_make_as(m, itp_make_transpose(m, y, back), 3, 0, whole.dim[1], whole.dim[2], 0, 0);
    itp_make_end(m, 0, y);
}

/* ---- net/op_shape.c: shape rules -------------------------------------------------------------- */

/* An error sentence that begins with op and node. */
#define itp_shape_fail(s, ...)                                                                     \
    itp_shape_fail_at((s)->ctx, itp_op_row((s)->node->op)->name, (s)->node->name, __VA_ARGS__)

ITP_FN interp_status itp_shape_fail_at(interp_ctx *ctx, const char *op, const char *node,
                                       const char *format, ...) INTERP_PRINTF(4, 5);
ITP_FN interp_status itp_shape_fail_at(interp_ctx *ctx, const char *op, const char *node,
                                       const char *format, ...)
{
    char text[ITP_ERROR_BYTES / 2];
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format, args);
    va_end(args);
    return itp_fail(ctx, INTERP_BAD_SHAPE, "%s \"%.100s\": %s", op, node, text);
}

ITP_FN interp_status itp_shape_same(itp_infer *s)
{
    *s->out = *s->in[0];
    return INTERP_OK;
}

/* Negative axes count from the end. */
ITP_FN int itp_axis(int axis, int rank)
{
    return axis < 0 ? axis + rank : axis;
}

ITP_FN interp_status itp_shape_axis(itp_infer *s)
{
    const int rank = s->in[0]->rank, axis = itp_axis(s->node->attrs.axis, rank);
    if (axis < 0 || axis >= rank)
        return itp_shape_fail(s, "axis %d of a tensor with %d dimensions", s->node->attrs.axis,
                              rank);
    *s->out = *s->in[0];
    return INTERP_OK;
}

/* The pads, both ends together, that make the output of a sliding window size / stride. */
ITP_FN int64_t itp_same_pads(int size, int kernel, int stride, int dilation)
{
    const int64_t span = (int64_t)dilation * (kernel - 1) + 1;
    const int64_t total = (int64_t)(itp_div_up(size, stride) - 1) * stride + span - size;
    return total > 0 ? total : 0;
}

/* Output size and first pad along one axis of a sliding window; 0 when it does not fit. */
ITP_FN int itp_window_size(int size, int kernel, int stride, int dilation, int pad0, int pad1,
                           bool same, bool ceil_mode, int *first)
{
    const int64_t span = (int64_t)dilation * (kernel - 1) + 1;
    if (same) {
        *first = (int)(itp_same_pads(size, kernel, stride, dilation) / 2);
        return itp_div_up(size, stride);
    }
    *first = pad0;
    const int64_t room = (int64_t)size + pad0 + pad1 - span;
    if (room < 0 || room > INT_MAX) return 0;
    int out = (int)(room / stride) + 1;
    /* a window that hangs over counts only if it starts inside of the input or the first pad */
    if (ceil_mode && room % stride && (int64_t)out * stride < (int64_t)size + pad0) out++;
    return out;
}

/* The geometry of a window over [.., .., H, W]; rows is 0 when it does not fit. */
ITP_FN itp_plane itp_plane_of(const itp_attrs *a, const interp_shape *x)
{
    itp_plane p;
    p.height = x->dim[2], p.width = x->dim[3];
    p.taps_y = a->kernel[0], p.taps_x = a->kernel[1];
    p.stride_y = a->stride[0], p.stride_x = a->stride[1];
    p.dilation_y = a->dilation[0], p.dilation_x = a->dilation[1];
    p.rows = itp_window_size(p.height, p.taps_y, p.stride_y, p.dilation_y, a->pad[0], a->pad[2],
                             a->same, a->ceil_mode, &p.pad_y);
    p.columns = itp_window_size(p.width, p.taps_x, p.stride_x, p.dilation_x, a->pad[1], a->pad[3],
                                a->same, a->ceil_mode, &p.pad_x);
    if (p.rows == 0 || p.columns == 0) p.rows = p.columns = 0;
    return p;
}

ITP_FN interp_status itp_shape_window_attrs(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    for (int i = 0; i < 2; i++)
        if (a->kernel[i] < 1 || a->stride[i] < 1 || a->dilation[i] < 1 || a->pad[i] < 0 ||
            a->pad[i + 2] < 0 || a->pad[i] > 1 << 20 || a->pad[i + 2] > 1 << 20)
            return itp_shape_fail(
                s, "kernel, stride and dilation must be at least 1, pads at least 0");
    return INTERP_OK;
}

/* Checks a window's constants and sets the output's last two dimensions. */
ITP_FN interp_status itp_shape_window(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    char text[96];
    if (s->in[0]->rank != 4)
        return itp_shape_fail(s, "input is %s but must be [N,C,H,W]",
                              itp_shape_text(s->in[0], text, sizeof text));
    ITP_TRY(itp_shape_window_attrs(s));
    const itp_plane p = itp_plane_of(a, s->in[0]);
    if (p.rows == 0)
        return itp_shape_fail(s, "window %dx%d (dilation %d,%d) is larger than the padded input %s",
                              p.taps_y, p.taps_x, p.dilation_y, p.dilation_x,
                              itp_shape_text(s->in[0], text, sizeof text));
    *s->out = *s->in[0];
    s->out->dim[2] = p.rows;
    s->out->dim[3] = p.columns;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_conv(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    const interp_shape *w = s->in[1];
    char x_text[96], w_text[96];
    ITP_TRY(itp_shape_window(s));
    itp_shape_text(s->in[0], x_text, sizeof x_text);
    itp_shape_text(w, w_text, sizeof w_text);
    if (w->rank != 4 || w->dim[2] != a->kernel[0] || w->dim[3] != a->kernel[1])
        return itp_shape_fail(s, "weights are %s but the kernel is %dx%d", w_text, a->kernel[0],
                              a->kernel[1]);
    if (a->groups < 1 || s->in[0]->dim[1] % a->groups || w->dim[0] % a->groups || w->dim[0] < 1)
        return itp_shape_fail(s, "%d groups do not divide %d input and %d output channels",
                              a->groups, s->in[0]->dim[1], w->dim[0]);
    if (w->dim[1] * a->groups != s->in[0]->dim[1])
        return itp_shape_fail(s, "input is %s but weights %s expect %d channels", x_text, w_text,
                              w->dim[1] * a->groups);
    if (s->node->n_in > 2 && (s->in[2]->rank != 1 || s->in[2]->dim[0] != w->dim[0]))
        return itp_shape_fail(s, "bias has %zu numbers but there are %d output channels",
                              itp_count(s->in[2]), w->dim[0]);
    s->out->dim[1] = w->dim[0];
    return INTERP_OK;
}

/* Output size of a transposed convolution along axis i of two, 0 when nothing is left. */
ITP_FN int itp_deconv_size(const itp_attrs *a, int i, int size)
{
    const int64_t out = (int64_t)(size - 1) * a->stride[i] +
                        (int64_t)(a->kernel[i] - 1) * a->dilation[i] + 1 - a->pad[i] -
                        a->pad[i + 2] + a->shape.dim[i];
    return size < 1 || out < 1 || out > INT_MAX ? 0 : (int)out;
}

/* Weights are [input channels, output channels / groups, height, width]. */
ITP_FN interp_status itp_shape_deconv(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    const interp_shape *x = s->in[0], *w = s->in[1];
    char x_text[96], w_text[96];
    itp_shape_text(x, x_text, sizeof x_text);
    itp_shape_text(w, w_text, sizeof w_text);
    if (x->rank != 4) return itp_shape_fail(s, "input is %s but must be [N,C,H,W]", x_text);
    ITP_TRY(itp_shape_window_attrs(s));
    if (a->shape.dim[0] < 0 || a->shape.dim[1] < 0)
        return itp_shape_fail(s, "output padding must be at least 0");
    if (w->rank != 4 || w->dim[2] != a->kernel[0] || w->dim[3] != a->kernel[1])
        return itp_shape_fail(s, "weights are %s but the kernel is %dx%d", w_text, a->kernel[0],
                              a->kernel[1]);
    if (w->dim[0] != x->dim[1])
        return itp_shape_fail(s, "input is %s but weights %s expect %d channels", x_text, w_text,
                              w->dim[0]);
    if (a->groups < 1 || x->dim[1] % a->groups || w->dim[1] < 1 || w->dim[1] > INT_MAX / a->groups)
        return itp_shape_fail(s, "%d groups do not divide %d channels", a->groups, x->dim[1]);
    const int channels = w->dim[1] * a->groups;
    if (s->node->n_in > 2 && (s->in[2]->rank != 1 || s->in[2]->dim[0] != channels))
        return itp_shape_fail(s, "bias has %zu numbers but there are %d output channels",
                              itp_count(s->in[2]), channels);
    *s->out = *x;
    s->out->dim[1] = channels;
    for (int i = 0; i < 2; i++) {
        s->out->dim[2 + i] = itp_deconv_size(a, i, x->dim[2 + i]);
        if (s->out->dim[2 + i] == 0)
            return itp_shape_fail(s, "nothing is left of %s between the pads", x_text);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_global_pool(itp_infer *s)
{
    if (s->in[0]->rank < 3)
        return itp_shape_fail(s, "input has %d dimensions but must be [N,C,H,W]", s->in[0]->rank);
    *s->out = *s->in[0];
    for (int i = 2; i < s->out->rank; i++) s->out->dim[i] = 1;
    return INTERP_OK;
}

/* [M,K] and [K,N], each perhaps stored transposed; the bias broadcasts to [M,N]. */
ITP_FN interp_status itp_shape_dense(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    char x_text[96], w_text[96];
    itp_shape_text(s->in[0], x_text, sizeof x_text);
    itp_shape_text(s->in[1], w_text, sizeof w_text);
    if (s->in[0]->rank != 2 || s->in[1]->rank != 2)
        return itp_shape_fail(s, "operands are %s and %s but must have two dimensions", x_text,
                              w_text);
    const int m = s->in[0]->dim[a->trans_a], k = s->in[0]->dim[!a->trans_a];
    const int k2 = s->in[1]->dim[a->trans_b], n = s->in[1]->dim[!a->trans_b];
    if (k != k2)
        return itp_shape_fail(s, "input is %s but weights %s expect %d columns", x_text, w_text,
                              k2);
    if (s->node->n_in > 2) {
        const interp_shape *b = s->in[2];
        const int rows = b->rank > 1 ? b->dim[b->rank - 2] : 1;
        const int columns = b->rank > 0 ? b->dim[b->rank - 1] : 1;
        if (b->rank > 2 || (rows != 1 && rows != m) || (columns != 1 && columns != n))
            return itp_shape_fail(s, "bias %s does not fit an output of [%d,%d]",
                                  itp_shape_text(b, x_text, sizeof x_text), m, n);
    }
    s->out->rank = 2;
    s->out->dim[0] = m;
    s->out->dim[1] = n;
    return INTERP_OK;
}

/* Broadcasts a and b from the right into out; false when they do not fit. */
ITP_FN bool itp_broadcast(const interp_shape *a, const interp_shape *b, interp_shape *out)
{
    out->rank = itp_max(a->rank, b->rank);
    for (int i = 0; i < out->rank; i++) {
        const int p = i - (out->rank - a->rank) >= 0 ? a->dim[i - (out->rank - a->rank)] : 1;
        const int q = i - (out->rank - b->rank) >= 0 ? b->dim[i - (out->rank - b->rank)] : 1;
        if (p != q && p != 1 && q != 1) return false;
        out->dim[i] = p == 1 ? q : p;
    }
    return true;
}

ITP_FN interp_status itp_shape_binary(itp_infer *s)
{
    char a[96], b[96];
    if (!itp_broadcast(s->in[0], s->in[1], s->out))
        return itp_shape_fail(s, "%s and %s do not broadcast",
                              itp_shape_text(s->in[0], a, sizeof a),
                              itp_shape_text(s->in[1], b, sizeof b));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_matmul(itp_infer *s)
{
    char a[96], b[96];
    const interp_shape *x = s->in[0], *y = s->in[1];
    itp_shape_text(x, a, sizeof a);
    itp_shape_text(y, b, sizeof b);
    if (x->rank < 2 || y->rank < 2)
        return itp_shape_fail(s, "operands are %s and %s but need two dimensions or more", a, b);
    if (x->dim[x->rank - 1] != y->dim[y->rank - 2])
        return itp_shape_fail(s, "%s has rows of %d but %s has columns of %d", a,
                              x->dim[x->rank - 1], b, y->dim[y->rank - 2]);
    interp_shape p = *x, q = *y;
    p.rank -= 2, q.rank -= 2;
    if (!itp_broadcast(&p, &q, s->out))
        return itp_shape_fail(s, "the outer dimensions of %s and %s do not broadcast", a, b);
    s->out->dim[s->out->rank++] = x->dim[x->rank - 2];
    s->out->dim[s->out->rank++] = y->dim[y->rank - 1];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_batch_norm(itp_infer *s)
{
    if (s->in[0]->rank < 2)
        return itp_shape_fail(s, "input has %d dimensions but needs [N,C,...]", s->in[0]->rank);
    for (int i = 1; i < s->node->n_in; i++)
        if (itp_count(s->in[i]) != (size_t)s->in[0]->dim[1])
            return itp_shape_fail(s, "operand %d has %zu numbers but the input has %d channels", i,
                                  itp_count(s->in[i]), s->in[0]->dim[1]);
    *s->out = *s->in[0];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_layer_norm(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    size_t row = 1;
    for (int i = itp_axis(s->node->attrs.axis, s->in[0]->rank); i < s->in[0]->rank; i++)
        row *= (size_t)s->in[0]->dim[i];
    for (int i = 1; i < s->node->n_in; i++)
        if (itp_count(s->in[i]) != row)
            return itp_shape_fail(s, "operand %d has %zu numbers but rows have %zu", i,
                                  itp_count(s->in[i]), row);
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_concat(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank);
    int64_t total = 0;
    char a[96], b[96];
    for (int i = 0; i < s->node->n_in; i++) {
        bool fits = s->in[i]->rank == s->in[0]->rank;
        for (int d = 0; fits && d < s->in[0]->rank; d++)
            fits = d == axis || s->in[i]->dim[d] == s->in[0]->dim[d];
        if (!fits)
            return itp_shape_fail(s, "%s and %s cannot be joined along axis %d",
                                  itp_shape_text(s->in[0], a, sizeof a),
                                  itp_shape_text(s->in[i], b, sizeof b), axis);
        total += s->in[i]->dim[axis];
    }
    if (total > INT_MAX) return itp_shape_fail(s, "the result is too large");
    s->out->dim[axis] = (int)total;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_reshape(itp_infer *s)
{
    const interp_shape *want = &s->node->attrs.shape;
    const size_t n = itp_count(s->in[0]);
    size_t known = 1;
    int infer = -1;
    char a[96], b[96];
    if (want->rank < 0 || want->rank > INTERP_MAX_RANK)
        return itp_shape_fail(s, "%d dimensions are not supported", want->rank);
    s->out->rank = want->rank;
    for (int i = 0; i < want->rank; i++) {
        int d = want->dim[i];
        if (d == 0) d = i < s->in[0]->rank ? s->in[0]->dim[i] : -2;
        if (want->dim[i] == ITP_NO_ENTRIES) d = 0;
        if (d == -1 && infer < 0) infer = i;
        else if (d < 0) return itp_shape_fail(s, "dimension %d of the new shape is wrong", i);
        else known = itp_mul_size(known, (size_t)d);
        s->out->dim[i] = d;
    }
    if (infer >= 0 && known && n % known == 0 && n / known <= (size_t)INT_MAX) {
        s->out->dim[infer] = (int)(n / known);
        known = n;
    }
    if (known != n || (infer >= 0 && s->out->dim[infer] < 0))
        return itp_shape_fail(s, "%s cannot become %s", itp_shape_text(s->in[0], a, sizeof a),
                              itp_shape_text(want, b, sizeof b));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_flatten(itp_infer *s)
{
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank);
    if (axis < 0 || axis > s->in[0]->rank)
        return itp_shape_fail(s, "axis %d of a tensor with %d dimensions", s->node->attrs.axis,
                              s->in[0]->rank);
    s->out->rank = 2;
    s->out->dim[0] = s->out->dim[1] = 1;
    for (int i = 0; i < s->in[0]->rank; i++) s->out->dim[i >= axis] *= s->in[0]->dim[i];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_transpose(itp_infer *s)
{
    const int rank = s->in[0]->rank;
    unsigned seen = 0;
    s->out->rank = rank;
    for (int i = 0; i < rank; i++) {
        const int from = s->node->attrs.perm[i];
        if (from < 0 || from >= rank || (seen >> from & 1))
            return itp_shape_fail(s, "the permutation does not name each of %d dimensions once",
                                  rank);
        seen |= 1u << from;
        s->out->dim[i] = s->in[0]->dim[from];
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_slice(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(a->axis, s->in[0]->rank), size = s->in[0]->dim[axis];
    if (a->start < 0 || a->length < 1 || a->start > size - a->length)
        return itp_shape_fail(s, "%d entries from entry %d on, of a dimension of %d", a->length,
                              a->start, size);
    s->out->dim[axis] = a->length;
    if (a->drop && a->length == 1) {
        for (int i = axis; i + 1 < s->out->rank; i++) s->out->dim[i] = s->out->dim[i + 1];
        s->out->dim[--s->out->rank] = 1;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_reduce(itp_infer *s)
{
    const interp_shape *x = s->in[0];
    const unsigned all = (1u << x->rank) - 1, axes = s->node->attrs.axes;
    if (axes & ~all)
        return itp_shape_fail(s, "an axis beyond a tensor with %d dimensions", x->rank);
    for (int i = 0; i < x->rank; i++) {
        const bool reduced = (axes ? axes : all) >> i & 1;
        if (!reduced || !s->node->attrs.drop) s->out->dim[s->out->rank++] = reduced ? 1 : x->dim[i];
    }
    return INTERP_OK;
}

/* Boxes of images, the whole images and where the boxes lie give patches of the images. */
ITP_FN interp_status itp_shape_patch(itp_infer *s)
{
    *s->out = *s->in[0];
    s->out->dim[2] = s->node->attrs.shape.dim[0], s->out->dim[3] = s->node->attrs.shape.dim[1];
    return INTERP_OK;
}

/* The second operand broadcasts to the first. */
ITP_FN interp_status itp_shape_onto(itp_infer *s)
{
    char a[96], b[96];
    ITP_TRY(itp_shape_binary(s));
    for (int i = 0; i < s->out->rank; i++)
        if (s->out->rank != s->in[0]->rank || s->out->dim[i] != s->in[0]->dim[i])
            return itp_shape_fail(s, "%s does not broadcast to %s",
                                  itp_shape_text(s->in[1], b, sizeof b),
                                  itp_shape_text(s->in[0], a, sizeof a));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_where(itp_infer *s)
{
    char a[96], b[96], c[96];
    interp_shape both = *s->out;
    if (!itp_broadcast(s->in[1], s->in[2], &both) || !itp_broadcast(s->in[0], &both, s->out))
        return itp_shape_fail(
            s, "%s, %s and %s do not broadcast", itp_shape_text(s->in[0], a, sizeof a),
            itp_shape_text(s->in[1], b, sizeof b), itp_shape_text(s->in[2], c, sizeof c));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_arg(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank);
    if (s->in[0]->dim[axis] < 1)
        return itp_shape_fail(s, "dimension %d has no entries to compare", axis);
    s->out->dim[axis] = 1;
    if (s->node->attrs.drop) {
        for (int i = axis; i + 1 < s->out->rank; i++) s->out->dim[i] = s->out->dim[i + 1];
        s->out->dim[--s->out->rank] = 1;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_top(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank), k = s->node->attrs.length;
    if (k < 0 || k > s->in[0]->dim[axis])
        return itp_shape_fail(s, "the first %d entries of %d", k, s->in[0]->dim[axis]);
    s->out->dim[axis] = k;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_one_hot(itp_infer *s)
{
    const interp_shape *x = s->in[0];
    const int rank = x->rank + 1, axis = itp_axis(s->node->attrs.axis, rank);
    if (rank > INTERP_MAX_RANK || axis < 0 || axis >= rank || s->node->attrs.length < 0)
        return itp_shape_fail(s, "%d entries along axis %d of %d dimensions", s->node->attrs.length,
                              s->node->attrs.axis, rank);
    for (int i = 0; i < rank; i++)
        s->out->dim[i] = i == axis ? s->node->attrs.length : x->dim[i - (i > axis)];
    s->out->rank = rank;
    return INTERP_OK;
}

/* The numbers of a table, which must be a constant with `rank` dimensions. */
ITP_FN interp_status itp_shape_table(itp_infer *s, int i, int rank, const float **table)
{
    const itp_value *v = &s->net->values[s->node->in[i]];
    if (v->kind != ITP_CONST || s->in[i]->rank != rank)
        return itp_shape_fail(s, "\"%.100s\" must be a constant with %d dimension(s)", v->name,
                              rank);
    *table = v->data;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_index(itp_infer *s)
{
    const interp_shape *x = s->in[0];
    const float *table = NULL;
    ITP_TRY(itp_shape_table(s, 1, 1, &table));
    const size_t size = itp_count(s->in[1]);
    size_t at = 0;
    s->out->rank = x->rank;
    for (int d = 0; d < x->rank; d++) {
        s->out->dim[d] = x->dim[d];
        if (at < size && table[at] == -2) {
            at++;
            continue;
        }
        const double n = at < size ? (double)table[at++] : -1;
        if (!(n >= 0) || n > (double)(size - at) || n != floor(n))
            return itp_shape_fail(s, "the table ends, or is damaged, at dimension %d of %d", d,
                                  x->rank);
        for (const size_t end = at + (size_t)n; at < end; at++)
            if (!(table[at] >= -1) || !((double)table[at] < x->dim[d]) ||
                table[at] != (float)(int)table[at])
                return itp_shape_fail(s, "dimension %d has %d entries, but entry %g is asked for",
                                      d, x->dim[d], (double)table[at]);
        s->out->dim[d] = (int)n;
    }
    if (at != size)
        return itp_shape_fail(s, "the table has %zu numbers more than %d dimensions need",
                              size - at, x->rank);
    return INTERP_OK;
}

/* Something is picked from a dimension that has entries. */
ITP_FN interp_status itp_shape_pickable(itp_infer *s, int dim)
{
    if (s->in[0]->dim[dim] == 0 && itp_count(s->in[1]) > 0)
        return itp_shape_fail(s, "dimension %d has no entries to pick from", dim);
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_gather(itp_infer *s)
{
    const interp_shape *x = s->in[0], *indices = s->in[1];
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, x->rank), rank = x->rank - 1 + indices->rank;
    ITP_TRY(itp_shape_pickable(s, axis));
    if (rank > INTERP_MAX_RANK) return itp_shape_fail(s, "%d dimensions are not supported", rank);
    for (int i = 0; i < rank; i++)
        s->out->dim[i] = i < axis                   ? x->dim[i]
                         : i < axis + indices->rank ? indices->dim[i - axis]
                                                    : x->dim[i - indices->rank + 1];
    for (int i = rank; i < INTERP_MAX_RANK; i++) s->out->dim[i] = 1;
    s->out->rank = rank;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_resize_axis(itp_infer *s)
{
    const int taps = s->node->attrs.length;
    const float *table = NULL;
    ITP_TRY(itp_shape_axis(s));
    ITP_TRY(itp_shape_table(s, 1, 2, &table));
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank), size = s->in[0]->dim[axis];
    const interp_shape *t = s->in[1];
    if (taps < 1 || t->dim[1] != 2 * taps)
        return itp_shape_fail(s, "a table with %d columns, for %d taps", t->dim[1], taps);
    for (int row = 0; row < t->dim[0]; row++)
        for (int k = 0; k < taps; k++) {
            const float source = table[(size_t)row * 2 * (size_t)taps + (size_t)k];
            if (!(source >= 0) || !((double)source < size))
                return itp_shape_fail(s, "dimension %d has %d entries, but entry %g is asked for",
                                      axis, size, (double)source);
        }
    s->out->dim[axis] = t->dim[0];
    return INTERP_OK;
}

/* Indices of as many dimensions as x, none longer but along the axis. */
ITP_FN interp_status itp_shape_elements(itp_infer *s)
{
    const interp_shape *x = s->in[0], *indices = s->in[1];
    char a[96], b[96];
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, x->rank);
    bool fits = x->rank == indices->rank;
    for (int d = 0; d < x->rank && fits; d++) fits = d == axis || indices->dim[d] <= x->dim[d];
    if (!fits)
        return itp_shape_fail(s, "indices %s do not fit %s along axis %d",
                              itp_shape_text(indices, b, sizeof b), itp_shape_text(x, a, sizeof a),
                              axis);
    ITP_TRY(itp_shape_pickable(s, axis));
    *s->out = *indices;
    return INTERP_OK;
}

/* Indices [.., q] of slices of x behind `length` dimensions that both have: [.., the rest of x]. */
ITP_FN interp_status itp_shape_slices(itp_infer *s)
{
    const interp_shape *x = s->in[0], *indices = s->in[1];
    const int batch = s->node->attrs.length, rank = indices->rank - 1;
    const int q = rank < 0 ? 0 : indices->dim[rank];
    char a[96], b[96];
    bool fits = batch >= 0 && batch <= rank && q <= x->rank - batch;
    for (int d = 0; d < batch && fits; d++) fits = x->dim[d] == indices->dim[d];
    if (!fits || rank + x->rank - batch - q > INTERP_MAX_RANK)
        return itp_shape_fail(s, "indices %s do not fit %s behind %d dimensions",
                              itp_shape_text(indices, b, sizeof b), itp_shape_text(x, a, sizeof a),
                              batch);
    for (int d = batch; d < batch + q; d++) ITP_TRY(itp_shape_pickable(s, d));
    for (int d = 0; d < rank; d++) s->out->dim[s->out->rank++] = indices->dim[d];
    for (int d = batch + q; d < x->rank; d++) s->out->dim[s->out->rank++] = x->dim[d];
    return INTERP_OK;
}

/* What is put has the shape of what would be taken. */
ITP_FN interp_status itp_shape_put(itp_infer *s)
{
    const bool folds = itp_op_row(s->node->op)->flags & ITP_NO_GRAD;
    const int mode = s->node->attrs.mode;
    char a[96], b[96];
    if (mode < 0 || mode > (folds ? 4 : 1)) return itp_shape_fail(s, "mode %d", mode);
    if (itp_op_row(s->node->op)->kind) ITP_TRY(itp_shape_slices(s));
    else ITP_TRY(itp_shape_elements(s));
    if (!itp_shape_equal(s->out, s->in[2]))
        return itp_shape_fail(s, "updates are %s but must be %s",
                              itp_shape_text(s->in[2], b, sizeof b),
                              itp_shape_text(s->out, a, sizeof a));
    *s->out = *s->in[0];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_unpool(itp_infer *s)
{
    const interp_shape *x = s->in[0], *want = &s->node->attrs.shape;
    if (itp_count(x) != itp_count(s->in[1]))
        return itp_shape_fail(s, "%zu numbers, but %zu places", itp_count(x), itp_count(s->in[1]));
    if (want->rank < 0 || want->rank > INTERP_MAX_RANK)
        return itp_shape_fail(s, "%d dimensions are not supported", want->rank);
    s->out->rank = want->rank;
    for (int i = 0; i < want->rank; i++) {
        s->out->dim[i] = want->dim[i] == 0 && i < x->rank ? x->dim[i] : want->dim[i];
        if (s->out->dim[i] < 0) return itp_shape_fail(s, "dimension %d is negative", i);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_lrn(itp_infer *s)
{
    if (s->in[0]->rank < 2)
        return itp_shape_fail(s, "input has %d dimensions but needs [N,C,...]", s->in[0]->rank);
    if (s->node->attrs.length < 1)
        return itp_shape_fail(s, "sums over %d channels", s->node->attrs.length);
    return itp_shape_same(s);
}

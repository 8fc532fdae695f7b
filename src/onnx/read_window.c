/* ---- onnx/read_window.c: convolution and pooling over one, two or three dimensions ------------ */

typedef struct itp_window {
    int n; /* spatial dimensions */
    int kernel[3], stride[3], dilation[3], before[3], after[3];
} itp_window;

ITP_FN void itp_window_list(itp_make *m, const char *name, int n, int otherwise, int *out)
{
    int64_t list[6];
    const int count = itp_make_ints(m, name, list, 6);
    if (count >= 0 && count != n)
        itp_make_fail(m, INTERP_UNSUPPORTED, "%s has %d numbers instead of %d", name, count, n);
    for (int i = 0; i < n && !m->status; i++) {
        if (count > 0 && (list[i] < 0 || list[i] > 1 << 24))
            itp_make_fail(m, INTERP_UNSUPPORTED, "%s has %lld in it", name, (long long)list[i]);
        out[i] = count < 0 ? otherwise : (int)list[i];
    }
}

/* Pads by auto_pad; without it those of the attribute. */
ITP_FN void itp_window_pads(itp_make *m, itp_window *w, const interp_shape *x)
{
    int pads[6];
    const bool upper = itp_make_says(m, "auto_pad", "SAME_UPPER", false);
    const bool lower = itp_make_says(m, "auto_pad", "SAME_LOWER", false);
    const bool valid = itp_make_says(m, "auto_pad", "VALID", false);
    if (!upper && !lower && !valid && !itp_make_says(m, "auto_pad", "NOTSET", true) &&
        !itp_make_says(m, "auto_pad", "", true))
        itp_make_fail(m, INTERP_FORMAT, "its auto_pad is not known");
    memset(pads, 0, sizeof pads);
    if (!upper && !lower && !valid) itp_window_list(m, "pads", 2 * w->n, 0, pads);
    for (int i = 0; i < w->n; i++) {
        int64_t total =
            itp_same_pads(x->dim[2 + i], w->kernel[i], itp_max(1, w->stride[i]), w->dilation[i]);
        if (total > 1 << 21) total = 1 << 21; /* refused by the shape rule */
        const int less = (int)(total / 2), more = (int)(total - total / 2);
        w->before[i] = upper ? less : lower ? more : pads[i];
        w->after[i] = upper ? more : lower ? less : pads[i + w->n];
    }
}

/* The window's constants for x of [N,C,..]; kernel: NULL: that of the attribute alone. */
ITP_FN itp_window itp_window_of(itp_make *m, const interp_shape *x, const interp_shape *kernel)
{
    itp_window w;
    memset(&w, 0, sizeof w);
    w.n = x->rank - 2;
    if (w.n < 1 || w.n > 3) {
        char text[96];
        itp_make_fail(m, INTERP_UNSUPPORTED,
                      "images of %s are not supported, only [N,C,...] of 1 "
                      "to 3 further dimensions",
                      itp_shape_text(x, text, sizeof text));
        w.n = 0;
        return w;
    }
    itp_window_list(m, "kernel_shape", w.n, 0, w.kernel);
    for (int i = 0; i < w.n && kernel; i++)
        if (!w.kernel[i] && kernel->rank == x->rank) w.kernel[i] = kernel->dim[2 + i];
    itp_window_list(m, "strides", w.n, 1, w.stride);
    itp_window_list(m, "dilations", w.n, 1, w.dilation);
    itp_window_pads(m, &w, x);
    return w;
}

/* Dimensions `from` and the next of the window as constants of an op over images; one that is not
   there is a window of 1. */
ITP_FN void itp_window_attrs(const itp_window *w, int from, int to, itp_attrs *a)
{
    for (int k = 0; k < 2; k++) {
        const int i = to - from == 2 ? from + k : k ? from : -1;
        a->kernel[k] = i < 0 ? 1 : w->kernel[i];
        a->stride[k] = i < 0 ? 1 : w->stride[i];
        a->dilation[k] = i < 0 ? 1 : w->dilation[i];
        a->pad[k] = i < 0 ? 0 : w->before[i];
        a->pad[k + 2] = i < 0 ? 0 : w->after[i];
    }
}

/* [N,C,L] as images of one row, and back. */
ITP_FN int itp_make_rows(itp_make *m, int x)
{
    const interp_shape s = itp_make_shape(m, x);
    return itp_make_as(m, x, 4, 0, s.dim[1], 1, s.dim[2], 0);
}

ITP_FN int itp_make_no_rows(itp_make *m, int x)
{
    const interp_shape s = itp_make_shape(m, x);
    return itp_make_as(m, x, 3, 0, s.dim[1], s.dim[3], 0, 0);
}

/* Weights of [O,I,..] with further ones for a dimension of 1. */
ITP_FN int itp_make_weight_rows(itp_make *m, int w)
{
    const interp_shape s = itp_make_shape(m, w);
    return itp_make_as(m, w, 4, s.dim[0], s.dim[1], 1, s.dim[2], 0);
}

/* Planes of the result of a window's first dimension; 0 when it does not fit. */
ITP_FN int itp_window_planes(const itp_window *w, int size)
{
    const int64_t span = (int64_t)w->dilation[0] * (w->kernel[0] - 1) + 1;
    const int64_t room = (int64_t)size + w->before[0] + w->after[0] - span;
    if (room < 0 || w->kernel[0] < 1 || w->stride[0] < 1 || room > 1 << 24) return 0;
    return (int)(room / w->stride[0]) + 1;
}

/* The plane that tap k of plane `at` of the result reads; -1: none. */
ITP_FN int itp_window_plane(const itp_window *w, bool transposed, int at, int k, int size)
{
    int from = at * w->stride[0] + k * w->dilation[0] - w->before[0];
    if (transposed) {
        from = at + w->before[0] - k * w->dilation[0];
        if (from % w->stride[0]) return -1;
        from /= w->stride[0];
    }
    return from >= 0 && from < size ? from : -1;
}

/* Three dimensions by two: the planes that each of `planes` planes of the result sees become channels.
   x of [N,C,D,H,W] to [N planes, C K, H, W]. */
ITP_FN int itp_make_depth(itp_make *m, int x, const itp_window *w, bool transposed, int planes)
{
    static const int order[] = {0, 2, 1, 3, 4, 5};
    const interp_shape s = itp_make_shape(m, x);
    if (planes < 1 || w->kernel[0] < 1 || w->stride[0] < 1 ||
        (int64_t)planes * w->kernel[0] > (int64_t)ITP_ONNX_EVAL)
        itp_make_fail(m, INTERP_BAD_SHAPE, "its window does not fit");
    if (m->status) return -1;
    itp_place_table p = itp_places_new(m);
    for (int d = 0; d < 5; d++) {
        if (d != 2) {
            itp_places_pass(&p);
            continue;
        }
        itp_places_list(&p, planes * w->kernel[0]);
        for (int i = 0; i < planes; i++)
            for (int k = 0; k < w->kernel[0]; k++)
                itp_places_add(&p, itp_window_plane(w, transposed, i, k, s.dim[2]));
    }
    x = itp_make_places(m, x, &p, 0);
    interp_shape six = itp_shape_none();
    const int dim[6] = {0, s.dim[1], planes, w->kernel[0], s.dim[3], s.dim[4]};
    six.rank = 6;
    memcpy(six.dim, dim, sizeof dim);
    x = itp_make_transpose(m, itp_make_reshape(m, x, &six), order);
    return itp_make_as(m, x, 4, -1, itp_make_times(m, s.dim[1], w->kernel[0]), s.dim[3], s.dim[4],
                       0);
}

/* [N D, C, H, W] back to [N,C,D,H,W]. */
ITP_FN int itp_make_no_depth(itp_make *m, int x, int planes)
{
    static const int order[] = {0, 2, 1, 3, 4};
    const interp_shape s = itp_make_shape(m, x);
    x = itp_make_as(m, x, 5, -1, planes, s.dim[1], s.dim[2], s.dim[3]);
    return itp_make_transpose(m, x, order);
}

/* Convolution of x with v, plus a bias where there is one (-1: none). */
ITP_FN int itp_make_conv(itp_make *m, int x, int v, int bias)
{
    const interp_shape s = itp_make_shape(m, x), k = itp_make_shape(m, v);
    const itp_window w = itp_window_of(m, &s, &k);
    const int planes = w.n == 3 ? itp_window_planes(&w, s.dim[2]) : 0;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.groups = itp_make_int(m, "group", 1);
    if (m->status) return -1;
    if (k.rank != s.rank) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "its weights have %d dimensions, its input %d", k.rank,
                      s.rank);
        return -1;
    }
    itp_window_attrs(&w, w.n == 3, w.n, &a);
    if (w.n == 1) x = itp_make_rows(m, x), v = itp_make_weight_rows(m, v);
    if (w.n == 3) {
        x = itp_make_depth(m, x, &w, false, planes);
        v = itp_make_as(m, v, 4, k.dim[0], -1, k.dim[3], k.dim[4], 0);
    }
    const int in[3] = {x, v, bias};
    int y = itp_make_node(m, ITP_OP_CONV, bias < 0 ? 2 : 3, in, &a);
    if (w.n == 1) y = itp_make_no_rows(m, y);
    if (w.n == 3) y = itp_make_no_depth(m, y, planes);
    return y;
}

ITP_FN void itp_read_conv(itp_make *m)
{
    const int x = itp_make_in(m, 0), v = itp_make_in(m, 1);
    itp_make_end(m, 0, itp_make_conv(m, x, v, itp_make_in(m, 2)));
}

ITP_FN void itp_read_conv_transpose(itp_make *m)
{
    int x = itp_make_in(m, 0), v = itp_make_in(m, 1), extra[3] = {0}, want[3] = {0};
    const interp_shape s = itp_make_shape(m, x), k = itp_make_shape(m, v);
    itp_window w = itp_window_of(m, &s, &k);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.groups = itp_make_int(m, "group", 1);
    itp_window_list(m, "output_padding", w.n, 0, extra);
    const bool sized = itp_onnx_attr_of(m->r, m->n, "output_shape") != NULL;
    if (sized) itp_window_list(m, "output_shape", w.n, 0, want);
    const bool upper = itp_make_says(m, "auto_pad", "SAME_UPPER", false);
    const bool same = upper || itp_make_says(m, "auto_pad", "SAME_LOWER", false);
    if (k.rank != s.rank) itp_make_fail(m, INTERP_BAD_SHAPE, "its weights do not fit its input");
    for (int i = 0; i < w.n && !m->status && (sized || same); i++) {
        const int64_t reach = (int64_t)w.stride[i] * (s.dim[2 + i] - 1) + extra[i] +
                              (int64_t)(w.kernel[i] - 1) * w.dilation[i] + 1;
        const int64_t size = sized ? want[i] : (int64_t)s.dim[2 + i] * w.stride[i];
        const int64_t total = reach - size;
        if (total < -(1 << 24) || total > 1 << 24) {
            itp_make_fail(m, INTERP_BAD_SHAPE, "pads of %lld", (long long)total);
            return;
        }
        if (total < 0) extra[i] -= (int)total; /* larger than the windows reach */
        const int pads = itp_max(0, (int)total), less = pads / 2, more = pads - less;
        w.before[i] = upper ? less : more; /* SAME_LOWER, and what older files mean by NOTSET */
        w.after[i] = upper ? more : less;
    }
    if (m->status) return;
    itp_window_attrs(&w, w.n == 3, w.n, &a);
    a.shape.rank = 2;
    a.shape.dim[0] = w.n == 1 ? 0 : extra[w.n - 2], a.shape.dim[1] = extra[w.n - 1];
    int planes = 0;
    if (w.n == 1) x = itp_make_rows(m, x), v = itp_make_weight_rows(m, v);
    if (w.n == 3) { /* the taps of the first dimension become channels */
        static const int order[] = {0, 2, 1, 3, 4};
        const int64_t most = (int64_t)(s.dim[2] - 1) * w.stride[0] + extra[0] +
                             (int64_t)w.dilation[0] * (w.kernel[0] - 1) + 1 - w.before[0] -
                             w.after[0];
        planes = most > 0 && most < 1 << 24 ? (int)most : 0;
        x = itp_make_depth(m, x, &w, true, planes);
        v = itp_make_transpose(m, v, order);
        v = itp_make_as(m, v, 4, -1, k.dim[1], k.dim[3], k.dim[4], 0);
    }
    const int in[3] = {x, v, itp_make_in(m, 2)};
    int y = itp_make_node(m, ITP_OP_CONV_TRANSPOSE, in[2] < 0 ? 2 : 3, in, &a);
    if (w.n == 1) y = itp_make_no_rows(m, y);
    itp_make_end(m, 0, w.n == 3 ? itp_make_no_depth(m, y, planes) : y);
}

/* A pool over all dimensions of the window: over the last two, then over the one before. */
ITP_FN int itp_make_pool(itp_make *m, int op, int x, const itp_window *w, itp_attrs *a)
{
    const interp_shape s = itp_make_shape(m, x);
    if (m->status) return -1;
    itp_window_attrs(w, w->n == 3, w->n, a);
    if (w->n == 1)
        return itp_make_no_rows(m, itp_make_node(m, op, 1, (x = itp_make_rows(m, x), &x), a));
    if (w->n == 2) return itp_make_node(m, op, 1, &x, a);
    x = itp_make_as(m, x, 4, 0, itp_make_times(m, s.dim[1], s.dim[2]), s.dim[3], s.dim[4], 0);
    x = itp_make_node(m, op, 1, &x, a);
    const interp_shape flat = itp_make_shape(m, x);
    x = itp_make_as(m, x, 4, 0, s.dim[1], s.dim[2], itp_make_times(m, flat.dim[2], flat.dim[3]), 0);
    itp_window_attrs(w, 0, 1, a);
    for (int i = 0; i < 4; i += 2) { /* one dimension, down the columns */
        const int t = a->pad[i];
        a->pad[i] = a->pad[i + 1], a->pad[i + 1] = t;
    }
    const int kernel = a->kernel[0], stride = a->stride[0], dilation = a->dilation[0];
    a->kernel[0] = a->kernel[1], a->kernel[1] = kernel;
    a->stride[0] = a->stride[1], a->stride[1] = stride;
    a->dilation[0] = a->dilation[1], a->dilation[1] = dilation;
    x = itp_make_node(m, op, 1, &x, a);
    const interp_shape deep = itp_make_shape(m, x);
    return itp_make_as(m, x, 5, 0, s.dim[1], deep.dim[2], flat.dim[2], flat.dim[3]);
}

ITP_FN void itp_read_max_pool(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const itp_window w = itp_window_of(m, &s, NULL);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.ceil_mode = itp_make_int(m, "ceil_mode", 0) != 0;
    const int storage = itp_make_int(m, "storage_order", 0);
    if (itp_make_wants(m, 0)) itp_make_end(m, 0, itp_make_pool(m, ITP_OP_MAX_POOL, x, &w, &a));
    if (!itp_make_wants(m, 1)) return;
    if (w.n == 3) itp_make_fail(m, INTERP_UNSUPPORTED, "indices of three dimensions");
    a.mode = storage;
    m->type = ITP_ONNX_INT64;
    itp_make_end(m, 1, itp_make_pool(m, ITP_OP_MAX_POOL_INDICES, x, &w, &a));
}

ITP_FN void itp_read_average_pool(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const itp_window w = itp_window_of(m, &s, NULL);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.ceil_mode = itp_make_int(m, "ceil_mode", 0) != 0;
    a.count_include_pad = itp_make_int(m, "count_include_pad", 0) != 0;
    itp_make_end(m, 0, itp_make_pool(m, ITP_OP_AVERAGE_POOL, x, &w, &a));
}

/* (sum of |x|^p)^(1/p) over windows: the average times their size, pads being 0. */
ITP_FN void itp_read_lp_pool(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const itp_window w = itp_window_of(m, &s, NULL);
    const double p = m->r->opset < 2 ? itp_make_float(m, "p", 2) : itp_make_int(m, "p", 2);
    itp_attrs a;
    double size = 1;
    memset(&a, 0, sizeof a);
    a.ceil_mode = itp_make_int(m, "ceil_mode", 0) != 0;
    a.count_include_pad = true;
    for (int i = 0; i < w.n; i++) size *= w.kernel[i];
    if (a.ceil_mode) itp_make_fail(m, INTERP_UNSUPPORTED, "ceil_mode is not supported");
    x = itp_make_by(m, ITP_OP_POW, itp_make_one(m, ITP_OP_ABS, x), p);
    x = itp_make_by(m, ITP_OP_MUL, itp_make_pool(m, ITP_OP_AVERAGE_POOL, x, &w, &a), size);
    itp_make_end(m, 0, itp_make_by(m, ITP_OP_POW, x, 1 / p));
}

ITP_FN void itp_read_global_pool(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const int op = m->n->row->op, rank = itp_make_shape(m, x).rank;
    const unsigned axes = (1u << rank) - 4;
    if (op >= 0) x = itp_make_one(m, op, x);
    else {
        const double p = m->r->opset < 2 ? itp_make_float(m, "p", 2) : itp_make_int(m, "p", 2);
        x = itp_make_by(m, ITP_OP_POW, itp_make_one(m, ITP_OP_ABS, x), p);
        x = itp_make_by(m, ITP_OP_POW, itp_make_reduce(m, ITP_OP_REDUCE_SUM, x, axes, true), 1 / p);
    }
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_max_unpool(itp_make *m)
{
    const int in[2] = {itp_make_in(m, 0), itp_make_in(m, 1)};
    const interp_shape s = itp_make_shape(m, in[0]);
    const itp_window w = itp_window_of(m, &s, NULL);
    int64_t want[INTERP_MAX_RANK];
    itp_attrs a;
    memset(&a, 0, sizeof a);
    const int count = itp_make_list(m, 2, want, INTERP_MAX_RANK);
    a.shape = s;
    a.shape.dim[0] = 0;
    if (count >= 0 && count != s.rank) itp_make_fail(m, INTERP_BAD_SHAPE, "%d sizes", count);
    for (int i = 0; i < w.n && !m->status; i++) {
        const int64_t size =
            (int64_t)(s.dim[2 + i] - 1) * w.stride[i] + w.kernel[i] - w.before[i] - w.after[i];
        if (size < 1 || size > 1 << 28 ||
            (count > 0 && (want[2 + i] < size || want[2 + i] > 1 << 24)))
            itp_make_fail(m, INTERP_BAD_SHAPE, "sizes of %lld and %lld", (long long)size,
                          (long long)(count > 0 ? want[2 + i] : 0));
        a.shape.dim[2 + i] = (int)size;
    }
    int y = itp_make_node(m, ITP_OP_MAX_UNPOOL, 2, in, &a);
    itp_place_table p = itp_places_new(m); /* a larger output has more at the ends */
    for (int d = 0; d < s.rank && !m->status; d++) {
        if (count < 0 || d < 2 || want[d] == a.shape.dim[d]) {
            itp_places_pass(&p);
            continue;
        }
        itp_places_list(&p, (int)want[d]);
        for (int i = 0; i < (int)want[d]; i++) itp_places_add(&p, i < a.shape.dim[d] ? i : -1);
    }
    y = itp_make_places(m, y, &p, 0);
    itp_make_end(m, 0, y);
}

ITP_FN void itp_read_lrn(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_attrs a;
    itp_make_try(m, itp_onnx_attrs(m->r, m->n, itp_make_shape(m, x).rank, &a));
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_LRN, 1, &x, &a));
}

/* ---- onnx/read_move.c: shapes, parts, indices, resizing --------------------------------------- */

/* ---- new shapes. Dimension 0, perhaps the batch, is kept by name and not by number. */

ITP_FN interp_shape itp_onnx_view_reshape(itp_make *m, const interp_shape *in)
{
    int64_t list[INTERP_MAX_RANK];
    interp_shape want = itp_shape_none();
    const int count = itp_make_list(m, 1, list, INTERP_MAX_RANK);
    const bool literal = itp_make_int(m, "allowzero", 0) != 0;
    for (int i = 0; i < count; i++) {
        if (list[i] < -1 || list[i] > INT_MAX)
            itp_make_fail(m, INTERP_BAD_SHAPE, "dimension %d of the new shape is %lld", i,
                          (long long)list[i]);
        want.dim[want.rank++] = literal && list[i] == 0 ? ITP_NO_ENTRIES : (int)list[i];
    }
    if (want.rank && in->rank && want.dim[0] == in->dim[0]) want.dim[0] = 0;
    return want;
}

ITP_FN interp_shape itp_onnx_view_flatten(itp_make *m, const interp_shape *in)
{
    const int given = itp_make_int(m, "axis", 1), axis = itp_axis(given, in->rank);
    interp_shape want = itp_shape_none();
    size_t rows = 1;
    want.rank = 2;
    if (axis < 0 || axis > in->rank)
        itp_make_fail(m, INTERP_BAD_SHAPE, "axis %d of %d dimensions", given, in->rank);
    for (int i = 0; i < axis && !m->status; i++) rows = itp_mul_size(rows, (size_t)in->dim[i]);
    if (rows > (size_t)INT_MAX)
        itp_make_fail(m, INTERP_BAD_SHAPE, "its input has too many numbers");
    want.dim[0] = m->status ? 1 : (int)rows;
    want.dim[1] = -1;
    return want;
}

/* The order of dimensions in which channels that were last are first, or the other way round. */
ITP_FN void itp_onnx_turn_order(int rank, bool first, int *perm)
{
    for (int i = 0; i < rank - 3; i++) perm[i] = i;
    perm[rank - 3] = first ? rank - 1 : rank - 2;
    perm[rank - 2] = first ? rank - 3 : rank - 1;
    perm[rank - 1] = first ? rank - 2 : rank - 3;
}

/* An input whose channels the network takes first needs no turning to that. */
ITP_FN void itp_read_transpose(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_attrs a;
    if (m->status || !itp_make_try(m, itp_onnx_attrs(m->r, m->n, itp_make_shape(m, x).rank, &a)))
        return;
    itp_make_end(m, 0,
                 m->r->symbols[itp_onnx_in(m->r, m->n, 0)].turned
                     ? x
                     : itp_make_node(m, ITP_OP_TRANSPOSE, 1, &x, &a));
}

ITP_FN interp_shape itp_onnx_view_same(itp_make *m, const interp_shape *in)
{
    (void)m;
    return *in;
}

ITP_FN interp_shape itp_onnx_view_squeeze(itp_make *m, const interp_shape *in)
{
    bool given;
    const unsigned axes = itp_make_axes(m, 12, in->rank, &given);
    interp_shape want = itp_shape_none();
    for (int i = 0; i < in->rank; i++) {
        const bool goes = given ? axes >> i & 1 : in->dim[i] == 1;
        if (!goes) want.dim[want.rank++] = i ? in->dim[i] : 0;
        else if (in->dim[i] != 1)
            itp_make_fail(m, INTERP_BAD_SHAPE, "dimension %d is %d and cannot go", i, in->dim[i]);
    }
    return want;
}

ITP_FN interp_shape itp_onnx_view_unsqueeze(itp_make *m, const interp_shape *in)
{
    int64_t list[INTERP_MAX_RANK];
    int from = 0;
    bool given;
    interp_shape want = itp_shape_none();
    const int count = itp_make_either(m, "axes", 12, 1, list, INTERP_MAX_RANK);
    if (count < 0) itp_make_fail(m, INTERP_FORMAT, "it has no axes");
    else if (in->rank + count > INTERP_MAX_RANK)
        itp_make_fail(m, INTERP_UNSUPPORTED, "more than %d dimensions", INTERP_MAX_RANK);
    if (m->status) return want;
    want.rank = in->rank + count;
    const unsigned added = itp_make_axes(m, 12, want.rank, &given);
    for (int i = 0; i < want.rank; i++) {
        if (added >> i & 1) continue;
        want.dim[i] = from ? in->dim[from] : i ? -1 : 0;
        from++;
    }
    return want;
}

ITP_FN void itp_read_view(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    if (m->status) return;
    const interp_shape want = m->n->row->view(m, &s);
    itp_make_end(m, 0, itp_make_reshape(m, x, &want));
}

/* ---- tables of source places, one for each dimension, as ITP_OP_INDEX takes them */

#define ITP_PLACES (1 << 24) /* most entries of one dimension */

typedef struct itp_place_table {
    itp_buf buf; /* of floats */
    bool moves;  /* not every dimension passes through */
} itp_place_table;

ITP_FN void itp_places_add(itp_place_table *p, double x)
{
    const float f = (float)x;
    itp_buf_add(&p->buf, &f, sizeof f);
}

/* A dimension that passes through, whatever its size. */
ITP_FN void itp_places_pass(itp_place_table *p)
{
    itp_places_add(p, -2);
}

/* A dimension of n entries, whose places follow by itp_places_add; -1: filled. */
ITP_FN void itp_places_list(itp_place_table *p, int n)
{
    p->moves = true;
    itp_places_add(p, n);
}

/* The op; frees the table. */
ITP_FN int itp_make_places(itp_make *m, int x, itp_place_table *p, double fill)
{
    interp_shape s = itp_shape_none();
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = (float)fill;
    s.rank = 1;
    s.dim[0] = (int)(p->buf.n / sizeof(float));
    itp_make_try(m, p->buf.status);
    if (p->moves && !m->status) {
        const int in[2] = {x, itp_make_const(m, &s, (const float *)(const void *)p->buf.data)};
        x = itp_make_node(m, ITP_OP_INDEX, 2, in, &a);
    }
    itp_buf_free(&p->buf);
    return x;
}

ITP_FN itp_place_table itp_places_new(itp_make *m)
{
    itp_place_table p;
    p.buf = itp_buf_new(m->r->ctx);
    p.moves = false;
    return p;
}

/* One dimension by a list, the rest as they are. */
ITP_FN int itp_make_take(itp_make *m, int x, int axis, int n, const double *places)
{
    itp_place_table p = itp_places_new(m);
    const int rank = itp_make_shape(m, x).rank;
    for (int d = 0; d < rank; d++) {
        if (d != axis) {
            itp_places_pass(&p);
            continue;
        }
        itp_places_list(&p, n);
        for (int i = 0; i < n; i++) itp_places_add(&p, places[i]);
    }
    return itp_make_places(m, x, &p, 0);
}

/* ---- parts */

ITP_FN void itp_read_slice(itp_make *m)
{
    int64_t start[INTERP_MAX_RANK], end[INTERP_MAX_RANK], axes[INTERP_MAX_RANK];
    int64_t step[INTERP_MAX_RANK];
    const int x = itp_make_in(m, 0), most = INTERP_MAX_RANK;
    const interp_shape s = itp_make_shape(m, x);
    const int count = itp_make_either(m, "starts", 9, 1, start, most);
    const int n_end = itp_make_either(m, "ends", 9, 2, end, most);
    const int n_axes = itp_make_either(m, "axes", 9, 3, axes, most);
    const int n_step = m->r->opset > 9 ? itp_make_list(m, 4, step, most) : -1;
    if (count < 0 || n_end != count || (n_axes >= 0 && n_axes != count) ||
        (n_step >= 0 && n_step != count) || count > s.rank)
        itp_make_fail(m, INTERP_FORMAT, "starts, ends, axes and steps differ in number");
    int of[INTERP_MAX_RANK], cuts = 0, only = -1;
    for (int d = 0; d < s.rank; d++) of[d] = -1;
    for (int i = 0; i < count && !m->status; i++) {
        const int axis = n_axes < 0 ? i : itp_make_axis(m, axes[i], s.rank);
        const int64_t size = s.dim[axis], by = n_step < 0 ? 1 : step[i];
        if (by == 0) itp_make_fail(m, INTERP_FORMAT, "a step of 0");
        if (of[axis] >= 0) itp_make_fail(m, INTERP_FORMAT, "axis %d is cut twice", axis);
        const bool to_end = by == 1 && end[i] >= INT_MAX; /* "all", also of any batch */
        const int64_t low = by < 0 ? -1 : 0, high = by < 0 ? size - 1 : size;
        if (start[i] < 0) start[i] = start[i] < -size ? -1 : start[i] + size;
        if (end[i] < 0) end[i] = end[i] < -size ? -1 : end[i] + size;
        start[i] = start[i] < (by < 0 ? 0 : low) ? (by < 0 && start[i] < 0 ? -1 : 0)
                   : start[i] > high             ? high
                                                 : start[i];
        end[i] = end[i] < low ? low : end[i] > size ? size : end[i];
        if (n_step < 0) step[i] = 1;
        of[axis] = i;
        if (start[i] || by != 1 || (axis ? end[i] != size : !to_end)) cuts++, only = axis;
        else of[axis] = -1;
    }
    if (m->status) return;
    if (cuts == 1 && step[of[only]] == 1 && end[of[only]] > start[of[only]]) {
        const int i = of[only];
        itp_make_end(m, 0,
                     itp_make_cut(m, x, only, (int)start[i], (int)(end[i] - start[i]), false));
        return;
    }
    itp_place_table p = itp_places_new(m);
    for (int d = 0; d < s.rank; d++) {
        const int i = of[d];
        if (i < 0) {
            itp_places_pass(&p);
            continue;
        }
        const int64_t by = step[i], room = by > 0 ? end[i] - start[i] : start[i] - end[i];
        const int64_t size = by > 0 ? by : by == INT64_MIN ? INT64_MAX : -by;
        const int n = room > 0 ? (int)((room - 1) / size + 1) : 0;
        itp_places_list(&p, n);
        for (int k = 0; k < n; k++) itp_places_add(&p, (double)start[i] + (double)by * k);
    }
    itp_make_end(m, 0, itp_make_places(m, x, &p, 0));
}

ITP_FN void itp_read_split(itp_make *m)
{
    int64_t size[ITP_MAX_INPUTS];
    const int x = itp_make_in(m, 0), n = m->n->n_out;
    const interp_shape s = itp_make_shape(m, x);
    const int axis = itp_make_axis(m, itp_make_int(m, "axis", 0), s.rank);
    const int count = itp_make_either(m, "split", 12, 1, size, ITP_MAX_INPUTS);
    int64_t at = 0;
    const int each = itp_div_up(s.dim[axis], itp_max(1, n));
    if (m->status) return;
    if (n > ITP_MAX_INPUTS || (count >= 0 && count != n)) {
        itp_make_fail(m, INTERP_FORMAT, "%d sizes for %d outputs", count, n);
        return;
    }
    for (int i = 0; i < n; i++) {
        if (count < 0) size[i] = itp_min(each, (int)(s.dim[axis] - at));
        if (size[i] < 0 || size[i] > s.dim[axis] - at) {
            itp_make_fail(m, INTERP_BAD_SHAPE, "a dimension of %d cannot be cut so", s.dim[axis]);
            return;
        }
        if (itp_make_wants(m, i)) {
            if (size[i]) itp_make_end(m, i, itp_make_cut(m, x, axis, (int)at, (int)size[i], false));
            else itp_make_end(m, i, itp_make_take(m, x, axis, 0, NULL));
        }
        at += size[i];
    }
}

/* ---- by indices */

/* Known indices become places; a row of neighbours a slice. */
ITP_FN void itp_read_gather(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const int axis = itp_make_axis(m, itp_make_int(m, "axis", 0), s.rank);
    itp_numbers k;
    itp_attrs a;
    if (m->status) return;
    if (!itp_make_known(m, 1)) {
        const int in[2] = {x, itp_make_in(m, 1)};
        memset(&a, 0, sizeof a);
        a.axis = axis;
        itp_make_end(m, 0, itp_make_node(m, ITP_OP_GATHER, 2, in, &a));
        return;
    }
    if (!itp_make_numbers(m, 1, &k)) return;
    bool row = k.n > 0;
    double *at = (double *)interp_alloc(m->r->ctx, itp_mul_size(itp_max_size(k.n, 1), sizeof *at));
    if (!at) {
        m->status = INTERP_NO_MEMORY;
        return;
    }
    for (size_t i = 0; i < k.n; i++) {
        at[i] = k.x[i] < 0 ? k.x[i] + s.dim[axis] : k.x[i];
        if (!(at[i] >= 0 && at[i] < s.dim[axis]))
            itp_make_fail(m, INTERP_BAD_SHAPE, "index %g is not within %d", k.x[i], s.dim[axis]);
        row = row && (!i || at[i] == at[i - 1] + 1);
    }
    if (!m->status && row && k.shape.rank < 2) {
        itp_make_end(m, 0, itp_make_cut(m, x, axis, (int)at[0], (int)k.n, k.shape.rank == 0));
    } else if (!m->status) {
        int y = itp_make_take(m, x, axis, (int)k.n, at);
        if (k.shape.rank != 1) {
            interp_shape want = itp_shape_none();
            if (s.rank + k.shape.rank - 1 > INTERP_MAX_RANK)
                itp_make_fail(m, INTERP_UNSUPPORTED, "more than %d dimensions", INTERP_MAX_RANK);
            for (int i = 0; i < axis && !m->status; i++) want.dim[want.rank++] = i ? s.dim[i] : 0;
            for (int i = 0; i < k.shape.rank && !m->status; i++)
                want.dim[want.rank++] = k.shape.dim[i];
            for (int i = axis + 1; i < s.rank && !m->status; i++) want.dim[want.rank++] = s.dim[i];
            y = itp_make_reshape(m, y, &want);
        }
        itp_make_end(m, 0, y);
    }
    interp_free(m->r->ctx, at);
}

/* GatherElements and GatherND: what one has not is 0. */
ITP_FN void itp_read_take(itp_make *m)
{
    const int in[2] = {itp_make_in(m, 0), itp_make_in(m, 1)};
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int(m, "axis", 0);
    a.length = itp_make_int(m, "batch_dims", 0);
    itp_make_end(m, 0, itp_make_node(m, m->n->row->op, 2, in, &a));
}

ITP_FN void itp_make_scatter(itp_make *m, int plain, int fold)
{
    static const char *const modes[] = {"none", "add", "mul", "max", "min"};
    const int in[3] = {itp_make_in(m, 0), itp_make_in(m, 1), itp_make_in(m, 2)};
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int(m, "axis", 0);
    a.mode = -1;
    for (int i = 0; i < 5; i++)
        if (itp_make_says(m, "reduction", modes[i], i == 0)) a.mode = i;
    if (a.mode < 0) itp_make_fail(m, INTERP_UNSUPPORTED, "its reduction is not known");
    itp_make_end(m, 0, itp_make_node(m, a.mode < 2 ? plain : fold, 3, in, &a));
}

ITP_FN void itp_read_scatter(itp_make *m)
{
    itp_make_scatter(m, ITP_OP_SCATTER_ELEMENTS, ITP_OP_SCATTER_ELEMENTS_FOLD);
}

ITP_FN void itp_read_scatter_nd(itp_make *m)
{
    itp_make_scatter(m, ITP_OP_SCATTER_ND, ITP_OP_SCATTER_ND_FOLD);
}

/* ---- repeating */

/* Zeros of [N, 1, ...] in `rank` dimensions, N being the batch: how a constant is repeated for each
   sample of it. */
ITP_FN int itp_make_batch_zeros(itp_make *m, int rank)
{
    const interp_net *net = m->r->net;
    int x = -1;
    for (int i = 0; i < net->n_inputs && x < 0; i++)
        if (net->values[net->inputs[i]].shape.rank > 0) x = net->inputs[i];
    if (x < 0) return itp_make_scalar(m, 0);
    const int from = itp_make_shape(m, x).rank;
    x = itp_make_with(m, ITP_OP_FILL, x, 0, 0);
    if (from > 1) x = itp_make_reduce(m, ITP_OP_REDUCE_SUM, x, (1u << from) - 2, false);
    interp_shape s = itp_shape_none();
    s.rank = rank;
    for (int i = 0; i < rank; i++) s.dim[i] = i ? 1 : -1;
    return itp_make_reshape(m, x, &s);
}

ITP_FN void itp_read_expand(itp_make *m)
{
    int x = itp_make_in(m, 0);
    interp_shape s = itp_make_shape(m, x);
    itp_numbers k;
    if (!itp_make_numbers(m, 1, &k)) return;
    const int rank = itp_max(s.rank, (int)k.n);
    if (k.shape.rank != 1 || rank > INTERP_MAX_RANK) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "to %zu dimensions", k.n);
        return;
    }
    if (s.rank < rank) {
        interp_shape want = itp_shape_none();
        want.rank = rank;
        for (int d = 0; d < rank; d++)
            want.dim[d] = d < rank - s.rank ? 1 : s.dim[d - (rank - s.rank)];
        x = itp_make_reshape(m, x, &want);
        s = want;
    }
    itp_place_table p = itp_places_new(m);
    bool batch = false;
    for (int d = 0; d < rank; d++) {
        const int i = d - (rank - (int)k.n);
        const double want = i < 0 ? 1 : k.x[i];
        if (d == 0 && i == 0 && k.batch && k.batch[0] && s.dim[0] == 1) batch = true;
        if (s.dim[d] != 1 || want == 1) {
            if (want != 1 && want != s.dim[d])
                itp_make_fail(m, INTERP_BAD_SHAPE, "a dimension of %d cannot become %g", s.dim[d],
                              want);
            itp_places_pass(&p);
            continue;
        }
        if (!(want >= 0 && want <= ITP_PLACES)) {
            itp_make_fail(m, INTERP_BAD_SHAPE, "a dimension of %g", want);
            break;
        }
        itp_places_list(&p, (int)want);
        for (int j = 0; j < (int)want; j++) itp_places_add(&p, 0);
    }
    x = itp_make_places(m, x, &p, 0);
    if (batch) x = itp_make_two(m, ITP_OP_ADD, x, itp_make_batch_zeros(m, rank));
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_tile(itp_make *m)
{
    int64_t times[INTERP_MAX_RANK];
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    if (m->r->opset < 6) { /* one axis, as two inputs */
        const int tiles = itp_make_int_of(itp_make_number_in(m, 1, 1));
        const int axis = itp_make_axis(m, itp_make_int_of(itp_make_number_in(m, 2, 0)), s.rank);
        for (int d = 0; d < s.rank; d++) times[d] = d == axis ? tiles : 1;
    } else if (itp_make_list(m, 1, times, INTERP_MAX_RANK) != s.rank)
        itp_make_fail(m, INTERP_BAD_SHAPE, "its repeats are not one for each of %d dimensions",
                      s.rank);
    itp_place_table p = itp_places_new(m);
    for (int d = 0; d < s.rank && !m->status; d++) {
        if (times[d] < 0 || times[d] > ITP_PLACES / itp_max(1, s.dim[d]))
            itp_make_fail(m, INTERP_BAD_SHAPE, "%lld repeats", (long long)times[d]);
        if (times[d] == 1) itp_places_pass(&p);
        else if (!m->status) {
            itp_places_list(&p, (int)times[d] * s.dim[d]);
            for (int64_t t = 0; t < times[d]; t++)
                for (int i = 0; i < s.dim[d]; i++) itp_places_add(&p, i);
        }
    }
    itp_make_end(m, 0, itp_make_places(m, x, &p, 0));
}

/* Where place i of a padded dimension comes from. */
ITP_FN int itp_pad_place(int i, int size, int mode)
{
    if (i >= 0 && i < size) return i;
    if (mode == 0 || size == 0) return -1;
    if (mode == 2) return i < 0 ? 0 : size - 1;
    if (mode == 3) return ((i % size) + size) % size;
    const int period = size > 1 ? 2 * size - 2 : 1;
    const int at = ((i % period) + period) % period;
    return at < size ? at : period - at;
}

ITP_FN void itp_read_pad(itp_make *m)
{
    static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
    int64_t pads[2 * INTERP_MAX_RANK], axes[INTERP_MAX_RANK];
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    int mode = -1, count;
    for (int i = 0; i < 4; i++)
        if (itp_make_says(m, "mode", modes[i], i == 0)) mode = i;
    if (mode < 0) itp_make_fail(m, INTERP_UNSUPPORTED, "its mode is not known");
    double fill = itp_make_float(m, "value", 0);
    if (m->r->opset < 2) count = itp_make_ints(m, "paddings", pads, 2 * INTERP_MAX_RANK);
    else count = itp_make_either(m, "pads", 10, 1, pads, 2 * INTERP_MAX_RANK);
    if (m->r->opset > 10) fill = itp_make_number_in(m, 2, 0);
    const int n_axes = m->r->opset > 10 ? itp_make_list(m, 3, axes, INTERP_MAX_RANK) : -1;
    const int n = n_axes < 0 ? s.rank : n_axes;
    if (count != 2 * n) itp_make_fail(m, INTERP_BAD_SHAPE, "%d pads for %d dimensions", count, n);
    int before[INTERP_MAX_RANK] = {0}, after[INTERP_MAX_RANK] = {0};
    for (int i = 0; i < n && !m->status; i++) {
        const int d = n_axes < 0 ? i : itp_make_axis(m, axes[i], s.rank);
        if (pads[i] < -(1 << 24) || pads[i] > 1 << 24 || pads[i + n] < -(1 << 24) ||
            pads[i + n] > 1 << 24 || s.dim[d] + pads[i] + pads[i + n] < 0)
            itp_make_fail(m, INTERP_BAD_SHAPE, "pads of %lld and %lld", (long long)pads[i],
                          (long long)pads[i + n]);
        before[d] = (int)pads[i], after[d] = (int)pads[i + n];
    }
    itp_place_table p = itp_places_new(m);
    for (int d = 0; d < s.rank && !m->status; d++) {
        if (!before[d] && !after[d]) {
            itp_places_pass(&p);
            continue;
        }
        itp_places_list(&p, s.dim[d] + before[d] + after[d]);
        for (int i = -before[d]; i < s.dim[d] + after[d]; i++)
            itp_places_add(&p, itp_pad_place(i, s.dim[d], mode));
    }
    itp_make_end(m, 0, itp_make_places(m, x, &p, fill));
}

/* Blocks of pixels into channels, or channels into blocks of pixels. */
ITP_FN void itp_read_depth_space(itp_make *m)
{
    static const int deep[] = {0, 3, 4, 1, 5, 2}, columns_first[] = {0, 1, 4, 2, 5, 3};
    static const int flat[] = {0, 3, 5, 1, 2, 4};
    const int b = itp_make_int(m, "blocksize", 0);
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const bool spread = itp_make_is(m, "DepthToSpace");
    const bool crd = itp_make_says(m, "mode", "CRD", false);
    if (s.rank != 4 || b < 1 || b > 1 << 14 ||
        (spread ? s.dim[1] % (b * b) : s.dim[2] % b || s.dim[3] % b))
        itp_make_fail(m, INTERP_BAD_SHAPE, "blocks of %d do not fit", b);
    if (m->status) return;
    interp_shape six = itp_shape_none();
    six.rank = 6;
    if (spread) {
        const int c = s.dim[1] / (b * b);
        const int dim[6] = {0, crd ? c : b, b, crd ? b : c, s.dim[2], s.dim[3]};
        memcpy(six.dim, dim, sizeof dim);
        x = itp_make_transpose(m, itp_make_reshape(m, x, &six), crd ? columns_first : deep);
        x = itp_make_as(m, x, 4, 0, c, itp_make_times(m, s.dim[2], b),
                        itp_make_times(m, s.dim[3], b), 0);
    } else {
        const int dim[6] = {0, s.dim[1], s.dim[2] / b, b, s.dim[3] / b, b};
        memcpy(six.dim, dim, sizeof dim);
        x = itp_make_transpose(m, itp_make_reshape(m, x, &six), flat);
        x = itp_make_as(m, x, 4, 0, itp_make_times(m, s.dim[1], b * b), s.dim[2] / b, s.dim[3] / b,
                        0);
    }
    itp_make_end(m, 0, x);
}

/* Every sequence its own number of steps back: by places in a flat list. */
ITP_FN void itp_read_reverse_sequence(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const int batch = itp_make_axis(m, itp_make_int(m, "batch_axis", 1), s.rank);
    const int time = itp_make_axis(m, itp_make_int(m, "time_axis", 0), s.rank);
    itp_numbers length;
    if (!itp_make_numbers(m, 1, &length)) return;
    if (batch + time != 1 || length.n != (size_t)s.dim[batch]) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "%zu lengths for sequences along dimensions %d and %d",
                      length.n, batch, time);
        return;
    }
    const int n = itp_make_times(m, s.dim[0], s.dim[1]);
    double *at = (double *)interp_alloc(m->r->ctx, itp_mul_size((size_t)n + 1, sizeof *at));
    if (!at) m->status = INTERP_NO_MEMORY;
    for (int i = 0; at && i < n; i++) {
        int place[2] = {i / s.dim[1], i % s.dim[1]};
        const int many = itp_min(itp_max(0, itp_make_int_of(length.x[place[batch]])), s.dim[time]);
        if (place[time] < many) place[time] = many - 1 - place[time];
        at[i] = place[0] * s.dim[1] + place[1];
    }
    interp_shape flat = itp_shape_none();
    flat.rank = s.rank - 1;
    flat.dim[0] = n;
    for (int d = 2; d < s.rank; d++) flat.dim[d - 1] = s.dim[d];
    x = itp_make_take(m, itp_make_reshape(m, x, &flat), 0, n, at);
    interp_free(m->r->ctx, at);
    itp_make_end(m, 0, itp_make_reshape(m, x, &s));
}

/* ---- resizing, one axis at a time */

typedef struct itp_resize {
    int mode; /* 0 nearest, 1 linear, 2 cubic */
    int coordinates;
    int nearest; /* round_prefer_floor, round_prefer_ceil, floor, ceil */
    bool antialias, exclude;
    double cubic, outside;
    double roi[2]; /* of this axis */
} itp_resize;

enum {
    ITP_HALF_PIXEL,
    ITP_ASYMMETRIC,
    ITP_ALIGN_CORNERS,
    ITP_PYTORCH_HALF,
    ITP_CROP,
    ITP_HALF_SYMMETRIC,
    ITP_NEAREST_HALF
};

/* Where the middle of output entry i lies among `size` entries. */
ITP_FN double itp_resize_at(const itp_resize *z, int i, double scale, int size, int out)
{
    const double length = scale * size; /* of the result, before it was rounded */
    switch (z->coordinates) {
    case ITP_ASYMMETRIC: return i / scale;
    case ITP_ALIGN_CORNERS: return out > 1 ? i * (size - 1) / (length - 1) : 0;
    case ITP_PYTORCH_HALF: return out > 1 ? (i + 0.5) / scale - 0.5 : 0;
    case ITP_CROP:
        if (out > 1)
            return z->roi[0] * (size - 1) + i * (z->roi[1] - z->roi[0]) * (size - 1) / (length - 1);
        return 0.5 * (z->roi[0] + z->roi[1]) * (size - 1);
    case ITP_HALF_SYMMETRIC: return size / 2.0 * (1 - out / length) + (i + 0.5) / scale - 0.5;
    case ITP_NEAREST_HALF: return (i + 0.5) / scale;
    default: return (i + 0.5) / scale - 0.5;
    }
}

ITP_FN double itp_resize_kernel(const itp_resize *z, double d)
{
    const double a = z->cubic;
    d = fabs(d);
    if (z->mode == 1) return d < 1 ? 1 - d : 0;
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

ITP_FN int itp_resize_nearest(const itp_resize *z, double at)
{
    switch (z->nearest) {
    case 1: return itp_make_int_of(floor(at + 0.5));
    case 2: return itp_make_int_of(floor(at));
    case 3: return itp_make_int_of(ceil(at));
    default: return itp_make_int_of(ceil(at - 0.5));
    }
}

/* One axis of `size` entries to `out`; scale: how much larger it becomes. */
ITP_FN int itp_make_resize_axis(itp_make *m, const itp_resize *z, int x, int axis, int out,
                                double scale)
{
    const int size = itp_make_shape(m, x).dim[axis];
    const double wide = z->antialias && scale < 1 ? 1 / scale : 1; /* of the kernel */
    const int reach = itp_make_int_of(fmin(1e6, ceil((z->mode == 2 ? 2 : 1) * wide))),
              taps = z->mode ? 2 * reach : 1;
    interp_shape s = itp_shape_none();
    s.rank = 2;
    s.dim[0] = out, s.dim[1] = 2 * taps;
    if ((double)out * taps > (double)ITP_ONNX_EVAL)
        itp_make_fail(m, INTERP_UNSUPPORTED, "to %d entries", out);
    if (m->status) return -1;
    float *table = (float *)interp_alloc(
        m->r->ctx, itp_mul_size((size_t)out * (size_t)taps + 1, 2 * sizeof *table));
    if (!table) {
        m->status = INTERP_NO_MEMORY;
        return -1;
    }
    for (int i = 0; i < out; i++) {
        float *place = table + (size_t)i * 2 * (size_t)taps, *weight = place + taps;
        const double at = itp_resize_at(z, i, scale, size, out);
        const int first = itp_make_int_of(floor(at)) - reach + 1;
        double sum = 0;
        if (z->mode == 0) {
            place[0] = (float)itp_max(0, itp_min(size - 1, itp_resize_nearest(z, at)));
            weight[0] = 1;
        }
        for (int t = 0; t < taps && z->mode; t++) {
            const int from = first + t;
            const bool inside = from >= 0 && from < size;
            double v = itp_resize_kernel(z, (at - from) / wide);
            if (!inside && z->exclude) v = 0;
            place[t] = (float)itp_max(0, itp_min(size - 1, from));
            weight[t] = (float)v;
            sum += v;
        }
        for (int t = 0; t < taps && z->mode && (z->exclude || z->antialias); t++)
            weight[t] = (float)((double)weight[t] / sum);
        if (z->coordinates == ITP_CROP && (at < 0 || at > size - 1))
            for (int t = 0; t < taps; t++) weight[t] = 0;
    }
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis, a.length = taps;
    const int in[2] = {x, itp_make_const(m, &s, table)};
    interp_free(m->r->ctx, table);
    return itp_make_node(m, ITP_OP_RESIZE_AXIS, 2, in, &a);
}

/* 1 inside and 0 outside of what a crop reads, along one axis. */
ITP_FN int itp_make_resize_inside(itp_make *m, const itp_resize *z, int size, int axis, int rank,
                                  int out, double scale)
{
    interp_shape s = itp_shape_none();
    s.rank = rank;
    for (int d = 0; d < rank; d++) s.dim[d] = d == axis ? out : 1;
    float *inside = (float *)interp_alloc(m->r->ctx, itp_mul_size((size_t)out + 1, sizeof *inside));
    if (!inside) m->status = INTERP_NO_MEMORY;
    for (int i = 0; inside && i < out; i++) {
        const double at = itp_resize_at(z, i, scale, size, out);
        inside[i] = at >= 0 && at <= size - 1 ? 1 : 0;
    }
    const int v = itp_make_const(m, &s, inside);
    interp_free(m->r->ctx, inside);
    return v;
}

ITP_FN itp_resize itp_resize_of(itp_make *m)
{
    static const char *const modes[] = {"nearest", "linear", "cubic", "bilinear"};
    static const char *const kinds[] = {
        "half_pixel",         "asymmetric",           "align_corners",       "pytorch_half_pixel",
        "tf_crop_and_resize", "half_pixel_symmetric", "tf_half_pixel_for_nn"};
    static const char *const nears[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    itp_resize z;
    memset(&z, 0, sizeof z);
    z.mode = z.coordinates = z.nearest = -1;
    for (int i = 0; i < 4; i++)
        if (itp_make_says(m, "mode", modes[i], i == 0)) z.mode = i == 3 ? 1 : i;
    for (int i = 0; i < 7; i++)
        if (itp_make_says(m, "coordinate_transformation_mode", kinds[i], i == 0)) z.coordinates = i;
    for (int i = 0; i < 4; i++)
        if (itp_make_says(m, "nearest_mode", nears[i], i == 0)) z.nearest = i;
    if (m->r->opset < 11) z.coordinates = ITP_ASYMMETRIC, z.nearest = 2;
    z.antialias = itp_make_int(m, "antialias", 0) != 0;
    z.exclude = itp_make_int(m, "exclude_outside", 0) != 0;
    z.cubic = itp_make_float(m, "cubic_coeff_a", -0.75);
    z.outside = itp_make_float(m, "extrapolation_value", 0);
    if (z.mode < 0 || z.coordinates < 0 || z.nearest < 0)
        itp_make_fail(m, INTERP_UNSUPPORTED, "its mode is not known");
    return z;
}

/* The scales of all axes and the sizes they lead to. */
ITP_FN void itp_resize_sizes(itp_make *m, const interp_shape *s, double *scale, int *size)
{
    int64_t axes[INTERP_MAX_RANK];
    itp_numbers k;
    const bool old = m->r->opset < 11;
    const int at_scales = old ? 1 : 2;
    int n = itp_make_ints(m, "axes", axes, INTERP_MAX_RANK);
    for (int d = 0; d < s->rank; d++) scale[d] = 1, size[d] = s->dim[d];
    if (n < 0)
        for (n = 0; n < s->rank; n++) axes[n] = n;
    const bool by_size = m->r->opset >= 11 && itp_make_has(m, 3);
    if (m->r->opset < 9 && itp_make_is(m, "Upsample")) {
        float list[INTERP_MAX_RANK];
        int count = itp_make_floats(m, "scales", list, INTERP_MAX_RANK);
        if (count < 0 && s->rank == 4) {
            count = 4, list[0] = list[1] = 1;
            list[2] = (float)itp_make_float(m, "height_scale", 1);
            list[3] = (float)itp_make_float(m, "width_scale", 1);
        }
        if (count != s->rank) itp_make_fail(m, INTERP_BAD_SHAPE, "%d scales", count);
        for (int d = 0; d < s->rank && !m->status; d++) scale[d] = (double)list[d];
        n = m->status ? 0 : s->rank;
    } else {
        if (!itp_make_numbers(m, by_size ? 3 : at_scales, &k)) return;
        if (k.n != (size_t)n)
            itp_make_fail(m, INTERP_BAD_SHAPE, "%zu numbers for %d dimensions", k.n, n);
        const bool larger = itp_make_says(m, "keep_aspect_ratio_policy", "not_smaller", false);
        const bool smaller = itp_make_says(m, "keep_aspect_ratio_policy", "not_larger", false);
        double common = 0;
        for (int i = 0; i < n && !m->status; i++) {
            const int d = itp_make_axis(m, axes[i], s->rank);
            const double r = by_size ? k.x[i] / itp_max(1, s->dim[d]) : k.x[i];
            scale[d] = r;
            if (by_size) size[d] = itp_make_int_of(k.x[i]);
            if (!i || (larger ? r > common : r < common)) common = r;
        }
        for (int i = 0; i < n && !m->status && by_size && (larger || smaller); i++) {
            const int d = itp_make_axis(m, axes[i], s->rank);
            scale[d] = common;
            size[d] = itp_make_int_of(floor(common * s->dim[d] + 0.5));
        }
    }
    for (int d = 0; d < s->rank && !m->status; d++) {
        if (!(scale[d] > 0 && scale[d] * s->dim[d] < 1e8))
            itp_make_fail(m, INTERP_BAD_SHAPE, "dimension %d is scaled by %g", d, scale[d]);
        else if (!by_size) size[d] = (int)floor(scale[d] * s->dim[d]);
    }
}

ITP_FN void itp_read_resize(itp_make *m)
{
    int x = itp_make_in(m, 0), size[INTERP_MAX_RANK], inside = -1;
    const interp_shape s = itp_make_shape(m, x);
    double scale[INTERP_MAX_RANK];
    itp_resize z = itp_resize_of(m);
    itp_numbers roi;
    memset(&roi, 0, sizeof roi);
    itp_resize_sizes(m, &s, scale, size);
    if (z.coordinates == ITP_CROP && itp_make_numbers(m, 1, &roi) && roi.n % 2)
        itp_make_fail(m, INTERP_BAD_SHAPE, "its region has %zu numbers", roi.n);
    int64_t axes[INTERP_MAX_RANK];
    int n = itp_make_ints(m, "axes", axes, INTERP_MAX_RANK);
    if (n < 0)
        for (n = 0; n < s.rank; n++) axes[n] = n;
    for (int i = 0; i < n && !m->status; i++) {
        const int d = itp_make_axis(m, axes[i], s.rank);
        z.roi[0] = 0, z.roi[1] = 1;
        if (roi.n == 2 * (size_t)n) z.roi[0] = roi.x[i], z.roi[1] = roi.x[i + n];
        const bool crop = z.coordinates == ITP_CROP && (z.roi[0] != 0 || z.roi[1] != 1);
        if (size[d] == s.dim[d] && !crop && (scale[d] == 1 || z.mode == 0)) continue;
        x = itp_make_resize_axis(m, &z, x, d, size[d], scale[d]);
        if (!crop) continue;
        const int part = itp_make_resize_inside(m, &z, s.dim[d], d, s.rank, size[d], scale[d]);
        inside = inside < 0 ? part : itp_make_two(m, ITP_OP_MUL, inside, part);
    }
    if (inside >= 0) {
        const int in[3] = {inside, x, itp_make_scalar(m, z.outside)};
        x = itp_make_node(m, ITP_OP_WHERE, 3, in, NULL);
    }
    itp_make_end(m, 0, x);
}

/* ---- onnx/known.c: nodes whose numbers are known while loading: arithmetic of shapes ----------- */

/* ---- elementwise, in double */

ITP_FN double itp_known_two(int op, double a, double b, bool whole)
{
    switch (op) {
    case ITP_OP_ADD: return a + b;
    case ITP_OP_SUB: return a - b;
    case ITP_OP_MUL: return a * b;
    case ITP_OP_DIV: return !whole ? a / b : b != 0 ? trunc(a / b) : 0;
    case ITP_OP_MOD: return b != 0 ? a - b * floor(a / b) : 0;
    case ITP_OP_MAX: return a > b || a != a ? a : b;
    case ITP_OP_MIN: return a < b || a != a ? a : b;
    case ITP_OP_EQUAL: return a == b;
    case ITP_OP_LESS: return a < b;
    case ITP_OP_GREATER: return a > b;
    case ITP_OP_LESS_EQUAL: return a <= b;
    case ITP_OP_GREATER_EQUAL: return a >= b;
    case ITP_OP_AND: return a != 0 && b != 0;
    default: return a != 0 || b != 0; /* ITP_OP_OR */
    }
}

/* Where number i of `out` lies in a broadcast operand. */
ITP_FN size_t itp_known_at(const interp_shape *s, const interp_shape *out, size_t i)
{
    size_t at = 0, step = 1;
    for (int d = out->rank - 1; d >= 0; d--) {
        const size_t place = i % (size_t)out->dim[d];
        const int k = d - (out->rank - s->rank);
        i /= (size_t)out->dim[d];
        if (k < 0) continue;
        if (s->dim[k] != 1) at += place * step;
        step *= (size_t)s->dim[k];
    }
    return at;
}

ITP_FN void itp_known_binary(itp_make *m, int op)
{
    itp_numbers a, b;
    interp_shape out;
    if (!itp_make_numbers(m, 0, &a) || !itp_make_numbers(m, 1, &b)) return;
    if (!itp_broadcast(&a.shape, &b.shape, &out)) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "its operands do not broadcast");
        return;
    }
    const bool truth = op >= ITP_OP_EQUAL && op <= ITP_OP_OR;
    unsigned char *batch;
    double *y = itp_make_result(m, 0, truth ? ITP_ONNX_BOOL : a.type, &out, &batch);
    const size_t n = y ? interp_shape_size(&out) : 0;
    for (size_t i = 0; i < n; i++) {
        const size_t p = itp_known_at(&a.shape, &out, i), q = itp_known_at(&b.shape, &out, i);
        const bool one = op == ITP_OP_MUL || op == ITP_OP_DIV;
        y[i] = itp_known_two(op, a.x[p], b.x[q], itp_onnx_type_is_whole(a.type));
        batch[i] = one && ((a.batch && a.batch[p] && b.x[q] == 1) ||
                           (op == ITP_OP_MUL && b.batch && b.batch[q] && a.x[p] == 1));
    }
}

ITP_FN void itp_known_where(itp_make *m)
{
    itp_numbers c, a, b;
    interp_shape both, out;
    if (!itp_make_numbers(m, 0, &c) || !itp_make_numbers(m, 1, &a) || !itp_make_numbers(m, 2, &b))
        return;
    if (!itp_broadcast(&a.shape, &b.shape, &both) || !itp_broadcast(&c.shape, &both, &out)) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "its operands do not broadcast");
        return;
    }
    unsigned char *batch;
    double *y = itp_make_result(m, 0, a.type, &out, &batch);
    const size_t n = y ? interp_shape_size(&out) : 0;
    for (size_t i = 0; i < n; i++) {
        const itp_numbers *from = c.x[itp_known_at(&c.shape, &out, i)] != 0 ? &a : &b;
        const size_t at = itp_known_at(&from->shape, &out, i);
        y[i] = from->x[at];
        batch[i] = from->batch && from->batch[at];
    }
}

ITP_FN void itp_known_cast(itp_make *m)
{
    itp_numbers k;
    const int to = itp_make_int(m, "to", 0), how = itp_make_rounding(m, to);
    if (!itp_make_numbers(m, 0, &k)) return;
    if (!itp_onnx_type_row(to)) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "casts to element type %d are not supported", to);
        return;
    }
    unsigned char *batch;
    double *y = itp_make_result(m, 0, to, &k.shape, &batch);
    for (size_t i = 0; y && i < k.n; i++) {
        const double low = to == ITP_ONNX_INT4 ? 8 : 0; /* numbers of four bits go round */
        y[i] = to == ITP_ONNX_BOOL ? k.x[i] != 0
               : to == ITP_ONNX_INT4 || to == ITP_ONNX_UINT4
                   ? itp_floor_mod(trunc(k.x[i]) + low, 16) - low
               : itp_onnx_type_is_whole(to) ? trunc(k.x[i])
               : itp_small_float_of(to)     ? itp_round_to(k.x[i], to, how)
                                            : k.x[i];
        batch[i] = k.batch && k.batch[i];
    }
}

/* ---- moving */

ITP_FN void itp_known_gather(itp_make *m)
{
    itp_numbers x, at;
    if (!itp_make_numbers(m, 0, &x) || !itp_make_numbers(m, 1, &at)) return;
    const int axis = itp_make_axis(m, itp_make_int(m, "axis", 0), x.shape.rank);
    interp_shape out = itp_shape_none();
    if (x.shape.rank + at.shape.rank - 1 > INTERP_MAX_RANK || m->status) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "it makes too many dimensions");
        return;
    }
    size_t outer = 1, inner = 1;
    const size_t size = (size_t)x.shape.dim[axis];
    for (int i = 0; i < axis; i++) outer *= (size_t)(out.dim[out.rank++] = x.shape.dim[i]);
    for (int i = 0; i < at.shape.rank; i++) out.dim[out.rank++] = at.shape.dim[i];
    for (int i = axis + 1; i < x.shape.rank; i++)
        inner *= (size_t)(out.dim[out.rank++] = x.shape.dim[i]);
    unsigned char *batch;
    double *y = itp_make_result(m, 0, x.type, &out, &batch);
    for (size_t o = 0; y && o < outer; o++)
        for (size_t j = 0; j < at.n; j++) {
            const double index = at.x[j] < 0 ? at.x[j] + (double)size : at.x[j];
            if (!(index >= 0 && index < (double)size)) {
                itp_make_fail(m, INTERP_BAD_SHAPE, "index %g is not within %zu", at.x[j], size);
                return;
            }
            for (size_t i = 0; i < inner; i++) {
                const size_t from = (o * size + (size_t)index) * inner + i;
                const size_t to = (o * at.n + j) * inner + i;
                y[to] = x.x[from];
                batch[to] = x.batch && x.batch[from];
            }
        }
}

ITP_FN void itp_known_concat(itp_make *m)
{
    itp_numbers k;
    if (!itp_make_numbers(m, 0, &k)) return;
    const int axis = itp_make_axis(m, itp_make_int(m, "axis", 1), k.shape.rank);
    interp_shape out = k.shape;
    int64_t total = 0;
    const int type = k.type;
    for (int i = 0; i < m->n->n_in; i++) {
        if (!itp_make_numbers(m, i, &k)) return;
        bool fits = k.shape.rank == out.rank;
        for (int d = 0; fits && d < out.rank; d++) fits = d == axis || k.shape.dim[d] == out.dim[d];
        if (!fits) itp_make_fail(m, INTERP_BAD_SHAPE, "its inputs cannot be joined");
        total += k.shape.dim[axis];
    }
    if (total > INT_MAX) itp_make_fail(m, INTERP_BAD_SHAPE, "its result is too large");
    out.dim[axis] = (int)total;
    unsigned char *batch;
    double *y = itp_make_result(m, 0, type, &out, &batch);
    size_t outer = 1, inner = 1, done = 0;
    for (int i = 0; i < axis; i++) outer *= (size_t)out.dim[i];
    for (int i = axis + 1; i < out.rank; i++) inner *= (size_t)out.dim[i];
    for (int i = 0; y && i < m->n->n_in && itp_make_numbers(m, i, &k); i++) {
        const size_t run = (size_t)k.shape.dim[axis] * inner;
        for (size_t o = 0; o < outer; o++)
            for (size_t j = 0; j < run; j++) {
                const size_t to = o * (size_t)total * inner + done + j;
                y[to] = k.x[o * run + j];
                batch[to] = k.batch && k.batch[o * run + j];
            }
        done += run;
    }
}

/* Lists only; the rest goes by way of a network. */
ITP_FN bool itp_known_slice(itp_make *m)
{
    itp_numbers k;
    int64_t start[1], end[1], step[1] = {1};
    if (!itp_make_numbers(m, 0, &k) || k.shape.rank != 1) return false;
    if (itp_make_either(m, "starts", 9, 1, start, 1) != 1 ||
        itp_make_either(m, "ends", 9, 2, end, 1) != 1)
        return false;
    if (m->r->opset > 9 && itp_make_has(m, 4)) (void)itp_make_list(m, 4, step, 1);
    const int64_t size = k.shape.dim[0];
    if (m->status || step[0] != 1) return false;
    if (start[0] < 0) start[0] = start[0] < -size ? 0 : start[0] + size;
    if (end[0] < 0) end[0] = end[0] < -size ? 0 : end[0] + size;
    if (end[0] > size) end[0] = size;
    if (start[0] > end[0]) start[0] = end[0];
    interp_shape out = k.shape;
    out.dim[0] = (int)(end[0] - start[0]);
    unsigned char *batch;
    double *y = itp_make_result(m, 0, k.type, &out, &batch);
    for (int i = 0; y && i < out.dim[0]; i++) {
        y[i] = k.x[start[0] + i];
        batch[i] = k.batch && k.batch[start[0] + i];
    }
    return true;
}

/* The same numbers under another shape. */
ITP_FN void itp_known_view(itp_make *m)
{
    itp_numbers k;
    unsigned char *batch;
    if (!itp_make_numbers(m, 0, &k)) return;
    const interp_shape shape = itp_make_view(m, &k.shape);
    double *y = itp_make_result(m, 0, k.type, &shape, &batch);
    if (!y) return;
    if (k.n) memcpy(y, k.x, k.n * sizeof *y);
    if (k.batch) memcpy(batch, k.batch, k.n);
}

/* ---- shapes themselves */

/* Of input 0, known or not; whether its first dimension is the batch. */
ITP_FN interp_shape itp_make_shape_in(itp_make *m, bool *batched)
{
    const int symbol = itp_onnx_in(m->r, m->n, 0);
    const itp_symbol *s = &m->r->symbols[symbol];
    *batched = s->tensor < 0;
    if (s->tensor >= 0) return s->shape;
    return s->value < 0 ? itp_shape_none() : m->r->net->values[s->value].shape;
}

ITP_FN void itp_known_shape(itp_make *m)
{
    bool batched;
    const interp_shape s = itp_make_shape_in(m, &batched);
    int start = itp_make_int(m, "start", 0), end = itp_make_int(m, "end", s.rank);
    if (start < 0) start = itp_max(0, start + s.rank);
    if (end < 0) end += s.rank;
    end = itp_min(end, s.rank);
    interp_shape out = itp_shape_none();
    out.rank = 1;
    out.dim[0] = itp_max(0, end - start);
    unsigned char *batch;
    double *y = itp_make_result(m, 0, ITP_ONNX_INT64, &out, &batch);
    for (int i = 0; y && i < out.dim[0]; i++) {
        y[i] = s.dim[start + i];
        batch[i] = batched && start + i == 0 && m->r->any_batch && s.dim[0] == 1;
    }
}

ITP_FN void itp_known_size(itp_make *m)
{
    bool batched;
    const interp_shape s = itp_make_shape_in(m, &batched), none = itp_shape_none();
    double *y = itp_make_result(m, 0, ITP_ONNX_INT64, &none, NULL);
    if (y) *y = (double)interp_shape_size(&s);
}

ITP_FN void itp_known_range(itp_make *m)
{
    itp_numbers k;
    if (!itp_make_numbers(m, 0, &k)) return;
    const double start = itp_make_number_in(m, 0, 0), limit = itp_make_number_in(m, 1, 0);
    const double step = itp_make_number_in(m, 2, 1), count = ceil((limit - start) / step);
    if (!(step != 0 && count < (double)ITP_ONNX_EVAL)) {
        itp_make_fail(m, INTERP_BAD_SHAPE, "from %g to %g by %g", start, limit, step);
        return;
    }
    interp_shape out = itp_shape_none();
    out.rank = 1;
    out.dim[0] = count > 0 ? (int)count : 0;
    double *y = itp_make_result(m, 0, k.type, &out, NULL);
    for (int i = 0; y && i < out.dim[0]; i++) y[i] = start + i * step;
}

ITP_FN void itp_known_non_zero(itp_make *m)
{
    itp_numbers k;
    int count = 0;
    if (!itp_make_numbers(m, 0, &k)) return;
    for (size_t i = 0; i < k.n; i++) count += k.x[i] != 0;
    interp_shape out = itp_shape_none();
    out.rank = 2;
    out.dim[0] = k.shape.rank, out.dim[1] = count;
    double *y = itp_make_result(m, 0, ITP_ONNX_INT64, &out, NULL);
    size_t at = 0;
    for (size_t i = 0; y && i < k.n; i++) {
        size_t rest = i;
        if (k.x[i] == 0) continue;
        for (int d = k.shape.rank - 1; d >= 0; d--) {
            y[(size_t)d * (size_t)count + at] = (double)(rest % (size_t)k.shape.dim[d]);
            rest /= (size_t)k.shape.dim[d];
        }
        at++;
    }
}

/* Filled with one number, each element stored once. */
ITP_FN void itp_known_filled(itp_make *m)
{
    static const char zero[4] = {0, 0, 0, 0};
    itp_numbers dims;
    itp_onnx_tensor t;
    itp_slice name;
    if (!itp_make_numbers(m, 0, &dims)) return;
    const itp_onnx_attr *a = itp_onnx_attr_of(m->r, m->n, "value");
    if (a) {
        if (!itp_make_try(m, itp_onnx_want(m->r, m->n, a, ITP_ATTR_TENSOR, a->t.at != NULL)) ||
            !itp_make_try(m, itp_onnx_read_tensor(m->r, a->t, &name, &t)))
            return;
        if (interp_shape_size(&t.shape) != 1 || t.external || !itp_onnx_type_row(t.type)) {
            itp_make_fail(m, INTERP_FORMAT, "its value is not one number");
            return;
        }
    } else {
        memset(&t, 0, sizeof t);
        t.type = ITP_ONNX_FLOAT;
        t.raw.at = zero;
        t.raw.n = sizeof zero;
    }
    t.repeats = true;
    t.shape = itp_shape_none();
    if (dims.shape.rank > 1 || dims.n > INTERP_MAX_RANK) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "more than %d dimensions", INTERP_MAX_RANK);
        return;
    }
    t.shape.rank = (int)dims.n;
    for (int i = 0; i < t.shape.rank; i++) {
        if (!(dims.x[i] >= 0 && dims.x[i] <= INT_MAX)) {
            itp_make_fail(m, INTERP_BAD_SHAPE, "dimension %d is %g", i, dims.x[i]);
            return;
        }
        t.shape.dim[i] = (int)dims.x[i];
    }
    if (interp_shape_size(&t.shape) > ITP_ONNX_FILL) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "it makes more than %zu numbers", ITP_ONNX_FILL);
        return;
    }
    itp_make_try(m, itp_onnx_add_tensor(m->r, &t, m->r->links[m->n->out]));
}

/* ---- one node */

/* Evaluates a node all of whose inputs are known, when it is one of these ops. */
ITP_FN bool itp_known_exactly(itp_make *m)
{
    static const int pairs[] = {
        ITP_OP_ADD,           ITP_OP_SUB,   ITP_OP_MUL,  ITP_OP_DIV,     ITP_OP_MAX,
        ITP_OP_MIN,           ITP_OP_EQUAL, ITP_OP_LESS, ITP_OP_GREATER, ITP_OP_LESS_EQUAL,
        ITP_OP_GREATER_EQUAL, ITP_OP_AND,   ITP_OP_OR};
    const int op = m->n->row->op;
    const bool old = itp_onnx_attr_of(m->r, m->n, "broadcast") != NULL;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && m->n->n_in == 2 && !old; i++)
        if (op == pairs[i]) {
            itp_known_binary(m, op);
            return true;
        }
    if (itp_make_is(m, "ConstantOfShape")) itp_known_filled(m);
    else if (itp_make_is(m, "Range")) itp_known_range(m);
    else if (itp_make_is(m, "NonZero")) itp_known_non_zero(m);
    else if (itp_make_is(m, "Where")) itp_known_where(m);
    else if (itp_make_is(m, "Cast")) itp_known_cast(m);
    else if (itp_make_is(m, "Gather")) itp_known_gather(m);
    else if (itp_make_is(m, "Concat")) itp_known_concat(m);
    else if (itp_make_is(m, "Slice")) return itp_known_slice(m);
    else if (m->n->row->view) itp_known_view(m);
    else return false;
    return true;
}

/* ---- onnx/make.c: one ONNX node as nodes of the network, and numbers known while loading ------- */

#define ITP_ONNX_FILL ((size_t)1 << 28) /* most numbers that a few bytes of a file may ask for */
#define ITP_ONNX_EVAL                                                                              \
    ((size_t)1 << 24) /* most numbers of a result that is computed while loading */

/* A node being made. After the first error every call does nothing, and gives value -1. */
struct itp_make {
    itp_onnx *r;
    const itp_onnx_node *n;
    interp_status status;
    int type;       /* TensorProto.DataType of the outputs to come */
    int made;       /* values on the way, for their names */
    int first_node; /* of the network, that this one made */
};

ITP_FN interp_status itp_onnx_value(itp_onnx *r, const itp_onnx_node *n, int i, int *value);
ITP_FN interp_status itp_onnx_symbol_value(itp_onnx *r, int symbol, int *value);
ITP_FN interp_status itp_onnx_unknown(const itp_onnx *r, const itp_onnx_node *n, int symbol);
ITP_FN const char *itp_onnx_derived(itp_onnx *r, itp_buf *b, itp_slice s, const char *suffix);
ITP_FN const char *itp_onnx_text(itp_buf *b, itp_slice s);

/* An error of the node, kept when it is the first. */
#define itp_make_fail(m, code, ...)                                                                \
    ((m)->status ? (m)->status : ((m)->status = itp_onnx_fail((m)->r, code, (m)->n, __VA_ARGS__)))

ITP_FN bool itp_make_try(itp_make *m, interp_status status)
{
    if (!m->status) m->status = status;
    return !m->status;
}

/* ---- what the node is given */

ITP_FN bool itp_make_is(const itp_make *m, const char *op)
{
    return itp_slice_is(m->n->op, op);
}

ITP_FN bool itp_make_has(const itp_make *m, int i)
{
    return itp_onnx_in(m->r, m->n, i) >= 0;
}

/* Whether output i is there and used by anybody. */
ITP_FN bool itp_make_wants(const itp_make *m, int i)
{
    if (i >= m->n->n_out) return false;
    const int symbol = m->r->links[m->n->out + i];
    return symbol >= 0 && (m->r->symbols[symbol].uses > 0 || i == 0);
}

/* Input i as a value of the network, -1 when it is left out. */
ITP_FN int itp_make_in(itp_make *m, int i)
{
    int value = -1;
    if (m->status || !itp_make_has(m, i)) return -1;
    return itp_make_try(m, itp_onnx_value(m->r, m->n, i, &value)) ? value : -1;
}

ITP_FN interp_shape itp_make_shape(const itp_make *m, int value)
{
    return value < 0 ? itp_shape_none() : m->r->net->values[value].shape;
}

ITP_FN int itp_onnx_symbol_type(const itp_onnx *r, int symbol)
{
    if (symbol < 0) return 0;
    const itp_symbol *s = &r->symbols[symbol];
    return s->tensor >= 0 ? r->tensors[s->tensor].type : s->type;
}

/* TensorProto.DataType of input i. */
ITP_FN int itp_make_type(const itp_make *m, int i)
{
    return itp_onnx_symbol_type(m->r, itp_onnx_in(m->r, m->n, i));
}

/* Whole numbers or truth values. */
ITP_FN bool itp_onnx_type_is_whole(int type)
{
    const itp_onnx_type *row = itp_onnx_type_row(type);
    return row && row->dtype > INTERP_BFLOAT16;
}

ITP_FN int itp_make_int(itp_make *m, const char *name, int otherwise)
{
    if (!m->status) itp_make_try(m, itp_onnx_int(m->r, m->n, name, &otherwise));
    return otherwise;
}

ITP_FN double itp_make_float(itp_make *m, const char *name, double otherwise)
{
    if (!m->status) itp_make_try(m, itp_onnx_float(m->r, m->n, name, &otherwise));
    return otherwise;
}

/* Up to `most` whole numbers of an attribute; -1 when there is no such attribute. */
ITP_FN int itp_make_ints(itp_make *m, const char *name, int64_t *out, int most)
{
    int count = -1;
    if (!m->status) itp_make_try(m, itp_onnx_ints(m->r, m->n, name, out, most, &count));
    return m->status ? -1 : count;
}

/* Up to `most` floats of an attribute; -1 when there is no such attribute. */
ITP_FN int itp_make_floats(itp_make *m, const char *name, float *out, int most)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(m->r, m->n, name);
    int count = 0;
    uint64_t bits;
    if (m->status || !a) return -1;
    if (!itp_make_try(m, itp_onnx_want(m->r, m->n, a, ITP_ATTR_FLOATS, true))) return -1;
    itp_pb_numbers it = itp_pb_numbers_of(a->message, 7, ITP_FIXED32);
    while (count < most && itp_pb_number(&it, &bits))
        out[count++] = itp_f32_of_bits((uint32_t)bits);
    if (it.message.bad) itp_make_fail(m, INTERP_FORMAT, "\"%s\" is damaged", name);
    return count;
}

/* Whether a text attribute is `text`; when it is missing, whether the text is the default. */
ITP_FN bool itp_make_says(itp_make *m, const char *name, const char *text, bool is_default)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(m->r, m->n, name);
    if (m->status || !a) return is_default;
    if (!itp_make_try(m, itp_onnx_want(m->r, m->n, a, ITP_ATTR_STRING, true))) return false;
    return itp_slice_is(a->s, text);
}

/* How a cast to floats of 8 or 4 bits rounds: "round_mode" is of powers of two alone. */
ITP_FN int itp_make_rounding(itp_make *m, int to)
{
    const int saturate = itp_make_int(m, "saturate", 1) ? ITP_SATURATE : 0;
    if (to != ITP_POWERS_OF_2) return saturate;
    if (itp_make_says(m, "round_mode", "up", true)) return saturate | ITP_ROUND_UP;
    return saturate | (itp_make_says(m, "round_mode", "down", false) ? ITP_ROUND_DOWN : 0);
}

/* ---- known numbers */

/* The shape that known numbers of shape `in` take by the row's view. */
ITP_FN interp_shape itp_make_view(itp_make *m, const interp_shape *in)
{
    itp_node node;
    char label[256];
    interp_shape out = itp_shape_none();
    memset(&node, 0, sizeof node);
    node.op = ITP_OP_RESHAPE;
    node.name = label;
    node.n_in = 1;
    node.attrs.shape = m->n->row->view(m, in);
    (void)itp_onnx_label(m->n, label);
    if (!m->status) itp_make_try(m, itp_node_shape(m->r->ctx, NULL, &node, in, &out));
    return out;
}

/* The numbers of a known symbol, NULL with the error set when memory ran out. */
ITP_FN const double *itp_onnx_numbers(itp_onnx *r, int symbol)
{
    itp_onnx_tensor *t = &r->tensors[r->symbols[symbol].tensor];
    const size_t n = interp_shape_size(&t->shape);
    if (t->values) return t->values;
    double *x = (double *)interp_alloc(r->ctx, itp_mul_size(itp_max_size(n, 1), sizeof *x));
    if (!x) return NULL;
    itp_onnx_reals(t, x);
    t->values = x;
    return x;
}

ITP_FN bool itp_make_known(const itp_make *m, int i)
{
    const int symbol = itp_onnx_in(m->r, m->n, i);
    return symbol >= 0 && m->r->symbols[symbol].tensor >= 0;
}

typedef struct itp_numbers {
    int type;
    interp_shape shape;
    size_t n;
    const double *x;
    const unsigned char *batch; /* NULL: none of them is the batch */
} itp_numbers;

/* Input i, which must be known. */
ITP_FN bool itp_make_numbers(itp_make *m, int i, itp_numbers *out)
{
    const int symbol = itp_onnx_in(m->r, m->n, i);
    if (m->status) return false;
    if (symbol < 0) {
        itp_make_fail(m, INTERP_FORMAT, "its input %d is left out", i);
        return false;
    }
    const itp_symbol *s = &m->r->symbols[symbol];
    if (s->tensor < 0) return itp_make_try(m, itp_onnx_unknown(m->r, m->n, symbol));
    if (!itp_onnx_type_row(m->r->tensors[s->tensor].type)) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "its input %d does not hold numbers", i);
        return false;
    }
    out->x = itp_onnx_numbers(m->r, symbol);
    if (!out->x) return itp_make_try(m, INTERP_NO_MEMORY);
    out->type = m->r->tensors[s->tensor].type;
    out->batch = m->r->tensors[s->tensor].batch;
    out->shape = s->shape;
    out->n = interp_shape_size(&s->shape);
    return true;
}

/* Up to `most` whole numbers of input i; -1 when it is left out. */
ITP_FN int itp_make_list(itp_make *m, int i, int64_t *out, int most)
{
    itp_numbers k;
    if (!itp_make_has(m, i) || !itp_make_numbers(m, i, &k)) return -1;
    if (k.shape.rank > 1 || k.n > (size_t)most)
        itp_make_fail(m, INTERP_UNSUPPORTED, "its input %d has %zu numbers; at most %d do", i, k.n,
                      most);
    if (!itp_onnx_type_is_whole(k.type))
        itp_make_fail(m, INTERP_FORMAT, "its input %d does not hold whole numbers", i);
    if (m->status) return -1;
    for (size_t j = 0; j < k.n; j++) out[j] = itp_whole(k.x[j]);
    return (int)k.n;
}

/* A list that was an attribute up to opset `until` and is input i since. */
ITP_FN int itp_make_either(itp_make *m, const char *name, int until, int i, int64_t *out, int most)
{
    if (m->r->opset <= until) return itp_make_ints(m, name, out, most);
    return itp_make_list(m, i, out, most);
}

/* The one number of input i, or `otherwise` when it is left out. */
ITP_FN double itp_make_number_in(itp_make *m, int i, double otherwise)
{
    itp_numbers k;
    if (!itp_make_has(m, i) || !itp_make_numbers(m, i, &k)) return otherwise;
    if (k.n == 1) return k.x[0];
    itp_make_fail(m, INTERP_UNSUPPORTED, "its input %d has %zu numbers instead of one", i, k.n);
    return otherwise;
}

/* Room for output i as known numbers; NULL after an error. `batch`, where asked for, is zero. */
ITP_FN double *itp_make_result(itp_make *m, int i, int type, const interp_shape *shape,
                               unsigned char **batch)
{
    const size_t n = interp_shape_size(shape), room = itp_max_size(n, 1);
    itp_onnx_tensor t;
    if (m->status) return NULL;
    if (n > ITP_ONNX_EVAL) {
        itp_make_fail(m, INTERP_UNSUPPORTED, "it makes more than %zu numbers", ITP_ONNX_EVAL);
        return NULL;
    }
    memset(&t, 0, sizeof t);
    t.type = type;
    t.shape = *shape;
    t.values = (double *)interp_alloc(m->r->ctx, itp_mul_size(room, sizeof *t.values));
    if (batch) t.batch = (unsigned char *)itp_calloc(m->r->ctx, room, 1);
    if (!t.values || (batch && !t.batch)) m->status = INTERP_NO_MEMORY;
    if (!m->status) m->status = itp_onnx_add_tensor(m->r, &t, m->r->links[m->n->out + i]);
    if (m->status) {
        interp_free(m->r->ctx, t.values);
        interp_free(m->r->ctx, t.batch);
        return NULL;
    }
    if (batch) *batch = t.batch;
    return t.values;
}

/* ---- what the node makes */

/* The name that those of values on the way begin with. */
ITP_FN itp_slice itp_make_stem(const itp_make *m)
{
    int i = 0;
    while (i + 1 < m->n->n_out && m->r->links[m->n->out + i] < 0) i++;
    const int symbol = m->r->links[m->n->out + i];
    return symbol < 0 ? m->n->op : m->r->symbols[symbol].name;
}

/* A node of ours on the way to the outputs, under the node's own name: what is refused is refused by
   that. itp_make_names tells them apart afterwards. */
ITP_FN int itp_make_node(itp_make *m, int op, int n_in, const int *in, const itp_attrs *a)
{
    itp_onnx *r = m->r;
    char suffix[16];
    if (m->status) return -1;
    for (int i = 0; i < n_in; i++)
        if (in[i] < 0) {
            itp_make_fail(m, INTERP_FORMAT, "an input it needs is left out");
            return -1;
        }
    snprintf(suffix, sizeof suffix, "%d", ++m->made);
    itp_buf *b = &r->node_name;
    b->n = 0;
    if (m->n->name.n) itp_buf_add(b, m->n->name.at, m->n->name.n);
    else itp_buf_printf(b, "%.*s_%d", ITP_SHOW(m->n->op), m->n->index);
    const char *name = itp_onnx_derived(r, &r->value_name, itp_make_stem(m), suffix);
    if (!itp_make_try(m, b->status) || !itp_make_try(m, r->value_name.status)) return -1;
    const interp_tensor y = itp_add_node(r->net, op, b->data, name, n_in, in, a);
    if (!y) m->status = r->net->status;
    return y - 1;
}

ITP_FN int itp_make_one(itp_make *m, int op, int x)
{
    return itp_make_node(m, op, 1, &x, NULL);
}

/* One argument and the constants alpha and beta. */
ITP_FN int itp_make_with(itp_make *m, int op, int x, double alpha, double beta)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = (float)alpha, a.beta = (float)beta;
    return itp_make_node(m, op, 1, &x, &a);
}

ITP_FN int itp_make_two(itp_make *m, int op, int x, int y)
{
    const int in[2] = {x, y};
    return itp_make_node(m, op, 2, in, NULL);
}

/* Constant numbers, copied. */
ITP_FN int itp_make_const(itp_make *m, const interp_shape *shape, const float *x)
{
    itp_onnx *r = m->r;
    char suffix[16];
    if (m->status) return -1;
    snprintf(suffix, sizeof suffix, "%d", ++m->made);
    const char *name = itp_onnx_derived(r, &r->value_name, itp_make_stem(m), suffix);
    if (!itp_make_try(m, r->value_name.status)) return -1;
    const size_t n = interp_shape_size(shape);
    const int v = itp_add_value(r->net, name, ITP_CONST, shape);
    float *data =
        v < 0 ? NULL
              : (float *)interp_alloc(r->ctx, itp_mul_size(itp_max_size(n, 1), sizeof *data));
    if (!data) {
        m->status = INTERP_NO_MEMORY;
        return -1;
    }
    if (n) memcpy(data, x, n * sizeof *x);
    r->net->values[v].data = data;
    return v;
}

ITP_FN int itp_make_scalar(itp_make *m, double x)
{
    const interp_shape none = itp_shape_none();
    const float number = (float)x;
    return itp_make_const(m, &none, &number);
}

/* x op number */
ITP_FN int itp_make_by(itp_make *m, int op, int x, double number)
{
    return itp_make_two(m, op, x, itp_make_scalar(m, number));
}

ITP_FN int itp_make_reshape(itp_make *m, int x, const interp_shape *want)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *want;
    return itp_make_node(m, ITP_OP_RESHAPE, 1, &x, &a);
}

/* Up to five dimensions: 0 keeps, -1 infers. */
ITP_FN int itp_make_as(itp_make *m, int x, int rank, int a, int b, int c, int d, int e)
{
    const int dim[5] = {a, b, c, d, e};
    interp_shape s = itp_shape_none();
    s.rank = rank;
    for (int i = 0; i < rank; i++) s.dim[i] = dim[i];
    return itp_make_reshape(m, x, &s);
}

ITP_FN int itp_make_transpose(itp_make *m, int x, const int *perm)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    memcpy(a.perm, perm, (size_t)itp_make_shape(m, x).rank * sizeof *perm);
    return itp_make_node(m, ITP_OP_TRANSPOSE, 1, &x, &a);
}

ITP_FN int itp_make_reduce(itp_make *m, int op, int x, unsigned axes, bool keep)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axes = axes, a.drop = !keep;
    return itp_make_node(m, op, 1, &x, &a);
}

/* Entries start.. of one dimension. */
ITP_FN int itp_make_cut(itp_make *m, int x, int axis, int start, int length, bool drop)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis, a.start = start, a.length = length, a.drop = drop;
    return itp_make_node(m, ITP_OP_SLICE, 1, &x, &a);
}

ITP_FN int itp_make_join(itp_make *m, int n, const int *x, int axis)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis;
    return n == 1 ? x[0] : itp_make_node(m, ITP_OP_CONCAT, n, x, &a);
}

/* A double as an int, the nearest there is within a billion. */
ITP_FN int itp_make_int_of(double x)
{
    return !(x > -1e9) ? (x == x ? -1000000000 : 0) : x < 1e9 ? (int)x : 1000000000;
}

/* The product of two sizes. */
ITP_FN int itp_make_times(itp_make *m, int a, int b)
{
    if (a == 0 || (int64_t)a * b <= INT_MAX) return a * b;
    itp_make_fail(m, INTERP_BAD_SHAPE, "a dimension of %d times %d", a, b);
    return 1;
}

/* An axis given by an attribute or an input, from 0 to rank - 1. */
ITP_FN int itp_make_axis(itp_make *m, int64_t axis, int rank)
{
    const int64_t at = axis < 0 ? axis + rank : axis;
    if (at >= 0 && at < rank) return (int)at;
    itp_make_fail(m, INTERP_BAD_SHAPE, "axis %lld of %d dimensions", (long long)axis, rank);
    return 0;
}

/* Axes of an attribute up to opset `until`, of input 1 since, as a set of bits among `rank`. */
ITP_FN unsigned itp_make_axes(itp_make *m, int until, int rank, bool *given)
{
    int64_t list[INTERP_MAX_RANK];
    unsigned set = 0;
    const int count = itp_make_either(m, "axes", until, 1, list, INTERP_MAX_RANK);
    for (int i = 0; i < count && !m->status; i++) {
        const int axis = itp_make_axis(m, list[i], rank);
        if (set >> axis & 1) itp_make_fail(m, INTERP_BAD_SHAPE, "axis %d is named twice", axis);
        set |= 1u << axis;
    }
    *given = count >= 0;
    return set;
}

/* Renames in place; false when memory ran out. */
ITP_FN bool itp_make_rename(itp_make *m, char **name, const char *to)
{
    char *copy = itp_strdup(m->r->ctx, to);
    if (!copy) return itp_make_try(m, INTERP_NO_MEMORY);
    interp_free(m->r->ctx, *name);
    *name = copy;
    return true;
}

/* [C] as [C,1,..], to go with [N,C,..]. */
ITP_FN int itp_make_per_channel(itp_make *m, int v, int rank)
{
    interp_shape s = itp_shape_none();
    s.rank = itp_max(1, rank - 1);
    s.dim[0] = -1;
    return itp_make_reshape(m, v, &s);
}

/* Makes a value output i of the node. */
ITP_FN void itp_make_end(itp_make *m, int i, int value)
{
    itp_onnx *r = m->r;
    if (m->status || i >= m->n->n_out) return;
    const int out = r->links[m->n->out + i];
    if (out < 0 || value < 0) return;
    const itp_value *v = &r->net->values[value];
    bool taken = v->kind != ITP_ACTIVATION || v->producer < m->first_node;
    for (int k = 0; k < i && !taken; k++) {
        const int other = r->links[m->n->out + k];
        taken = other >= 0 && r->symbols[other].value == value;
    }
    if (taken) value = itp_make_one(m, ITP_OP_IDENTITY, value);
    const char *name = itp_onnx_text(&r->value_name, r->symbols[out].name);
    if (m->status || !itp_make_try(m, r->value_name.status)) return;
    if (!itp_make_rename(m, &r->net->values[value].name, name)) return;
    r->symbols[out].value = value;
    r->symbols[out].type = m->type;
}

/* The node that makes the first output keeps the name; the others get a number behind it. */
ITP_FN void itp_make_names(itp_make *m)
{
    itp_onnx *r = m->r;
    const int out = m->n->n_out ? r->links[m->n->out] : -1;
    const int value = out < 0 ? -1 : r->symbols[out].value;
    const int last = value < 0 ? r->net->n_nodes - 1 : r->net->values[value].producer;
    for (int i = m->first_node, k = 1; i < r->net->n_nodes && !m->status; i++) {
        itp_buf *b = &r->node_name;
        if (i == last) continue;
        b->n = 0;
        itp_buf_printf(b, "%s/%d", r->net->nodes[i].name, k++);
        if (itp_make_try(m, b->status)) itp_make_rename(m, &r->net->nodes[i].name, b->data);
    }
}

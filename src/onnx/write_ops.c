/* ---- onnx/write_ops.c: ops whose ONNX form has other types, more nodes, or lists ----------------

   All our values are floats. Where ONNX wants whole numbers or truth values, casts stand around the
   node, so that every value of the file is of floats again. */

/* What an op's inputs and output are to ONNX: f floats, s smaller ones, i whole numbers, b truth values. */
typedef struct itp_onnx_typed {
    int op;
    const char *name, *in;
    char out;
} itp_onnx_typed;

ITP_FN const itp_onnx_typed *itp_onnx_typed_of(int op)
{
    static const itp_onnx_typed rows[] = {
        {ITP_OP_EQUAL, "Equal", "ff", 'b'},
        {ITP_OP_LESS, "Less", "ff", 'b'},
        {ITP_OP_GREATER, "Greater", "ff", 'b'},
        {ITP_OP_LESS_EQUAL, "LessOrEqual", "ff", 'b'},
        {ITP_OP_GREATER_EQUAL, "GreaterOrEqual", "ff", 'b'},
        {ITP_OP_AND, "And", "bb", 'b'},
        {ITP_OP_OR, "Or", "bb", 'b'},
        {ITP_OP_XOR, "Xor", "bb", 'b'},
        {ITP_OP_NOT, "Not", "b", 'b'},
        {ITP_OP_IS_NAN, "IsNaN", "f", 'b'},
        {ITP_OP_IS_INF, "IsInf", "f", 'b'},
        {ITP_OP_WHERE, "Where", "bff", 'f'},
        {ITP_OP_TO_BOOL, "Identity", "b", 'b'},
        {ITP_OP_TRUNC, "Identity", "i", 'i'},
        {ITP_OP_ROUND_TO, "Cast", "f", 's'},
        {ITP_OP_INT_DIV, "Div", "ii", 'i'},
        {ITP_OP_ARG_MAX, "ArgMax", "f", 'i'},
        {ITP_OP_ARG_MIN, "ArgMin", "f", 'i'},
        {ITP_OP_ONE_HOT, "OneHot", "i", 'f'},
        {ITP_OP_GATHER, "Gather", "fi", 'f'},
        {ITP_OP_GATHER_ELEMENTS, "GatherElements", "fi", 'f'},
        {ITP_OP_GATHER_ND, "GatherND", "fi", 'f'},
        {ITP_OP_SCATTER_ELEMENTS, "ScatterElements", "fif", 'f'},
        {ITP_OP_SCATTER_ELEMENTS_FOLD, "ScatterElements", "fif", 'f'},
        {ITP_OP_SCATTER_ND, "ScatterND", "fif", 'f'},
        {ITP_OP_SCATTER_ND_FOLD, "ScatterND", "fif", 'f'},
        {ITP_OP_MAX_UNPOOL, "MaxUnpool", "fi", 'f'},
        {ITP_OP_REDUCE_SUM, "ReduceSum", "f", 'f'},
        {ITP_OP_REDUCE_MEAN, "ReduceMean", "f", 'f'},
        {ITP_OP_REDUCE_MAX, "ReduceMax", "f", 'f'},
        {ITP_OP_REDUCE_MIN, "ReduceMin", "f", 'f'},
        {ITP_OP_REDUCE_PROD, "ReduceProd", "f", 'f'},
        {ITP_OP_REDUCE_LOG_SUM_EXP, "ReduceLogSumExp", "f", 'f'},
        {ITP_OP_CUM_SUM, "CumSum", "f", 'f'}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].op == op) return &rows[i];
    return NULL;
}

ITP_FN int itp_onnx_type_letter(char letter)
{
    return letter == 'i' ? ITP_ONNX_INT64 : letter == 'b' ? ITP_ONNX_BOOL : ITP_ONNX_FLOAT;
}

ITP_FN void itp_onnx_put_string(itp_onnx_writer *w, const char *name, const char *text)
{
    itp_pb_put_text(&w->part, 1, name);
    itp_pb_put_text(&w->part, 4, text);
    itp_onnx_end_attr(w, ITP_ATTR_STRING);
}

/* A cast of a value by its name (value >= 0) or of one on the way. */
ITP_FN void itp_onnx_put_cast(itp_onnx_writer *w, const itp_node *node, int value, const char *from,
                              const char *to, int type)
{
    if (value >= 0) itp_onnx_put_input(w, value);
    else itp_onnx_put_inner(w, node, from);
    itp_onnx_put_op(w, node, "Cast", to);
    itp_onnx_put_int(w, "to", type);
    itp_onnx_end_node(w);
}

/* The axes of a reduction, as an input or as an attribute: sums have them as an input since opset 13,
   other reductions since 18. */
ITP_FN void itp_onnx_put_axes(itp_onnx_writer *w, const itp_node *node, bool as_input)
{
    const int rank = w->net->values[node->in[0]].shape.rank;
    const bool is_input = node->op == ITP_OP_REDUCE_SUM || w->opset > 17;
    int axes[INTERP_MAX_RANK], n = 0;
    for (int d = 0; d < rank; d++)
        if (node->attrs.axes >> d & 1) axes[n++] = d;
    if (!n || is_input != as_input) return;
    if (as_input) itp_onnx_put_list(w, node, "axes", axes, 1, n);
    else itp_onnx_put_ints(w, "axes", axes, n);
}

/* What the typed ops have besides their inputs. */
ITP_FN void itp_onnx_put_own_attrs(itp_onnx_writer *w, const itp_node *node)
{
    static const char *const reductions[] = {"none", "add", "mul", "max", "min"};
    const itp_attrs *a = &node->attrs;
    const interp_shape *x = &w->net->values[node->in[0]].shape;
    int axes[INTERP_MAX_RANK], n = 0;
    switch (node->op) {
    case ITP_OP_IS_INF:
        itp_onnx_put_int(w, "detect_negative", a->alpha != 0);
        itp_onnx_put_int(w, "detect_positive", a->beta != 0);
        break;
    case ITP_OP_ROUND_TO:
        itp_onnx_put_int(w, "to", (int)a->alpha);
        itp_onnx_put_int(w, "saturate", (int)a->beta & ITP_SATURATE);
        if ((int)a->alpha == ITP_POWERS_OF_2)
            itp_onnx_put_string(w, "round_mode",
                                (int)a->beta & ITP_ROUND_UP     ? "up"
                                : (int)a->beta & ITP_ROUND_DOWN ? "down"
                                                                : "nearest");
        break;
    case ITP_OP_ARG_MAX:
    case ITP_OP_ARG_MIN:
        itp_onnx_put_int(w, "axis", a->axis);
        itp_onnx_put_int(w, "keepdims", !a->drop);
        itp_onnx_put_int(w, "select_last_index", a->last);
        break;
    case ITP_OP_ONE_HOT:
    case ITP_OP_GATHER:
    case ITP_OP_GATHER_ELEMENTS: itp_onnx_put_int(w, "axis", a->axis); break;
    case ITP_OP_GATHER_ND: itp_onnx_put_int(w, "batch_dims", a->length); break;
    case ITP_OP_SCATTER_ELEMENTS:
    case ITP_OP_SCATTER_ELEMENTS_FOLD: itp_onnx_put_int(w, "axis", a->axis); /* fall through */
    case ITP_OP_SCATTER_ND:
    case ITP_OP_SCATTER_ND_FOLD:
        if (a->mode) itp_onnx_put_string(w, "reduction", reductions[a->mode]);
        break;
    case ITP_OP_MAX_UNPOOL:
        for (int d = 2; d < x->rank; d++) axes[n++] = a->shape.dim[d] - x->dim[d] + 1;
        itp_onnx_put_ints(w, "kernel_shape", axes, n); /* which says the size, the stride being 1 */
        break;
    case ITP_OP_CUM_SUM:
        itp_onnx_put_int(w, "exclusive", a->exclusive);
        itp_onnx_put_int(w, "reverse", a->reverse);
        break;
    default:
        if (!itp_is_reduction(node->op)) break;
        itp_onnx_put_axes(w, node, false);
        itp_onnx_put_int(w, "keepdims", !a->drop);
    }
}

/* Inputs that are lists of our attributes. */
ITP_FN void itp_onnx_put_own_inputs(itp_onnx_writer *w, const itp_node *node)
{
    const itp_attrs *a = &node->attrs;
    switch (node->op) {
    case ITP_OP_CUM_SUM: itp_onnx_put_list(w, node, "axis", &a->axis, 0, 1); break;
    case ITP_OP_ONE_HOT: {
        const float values[2] = {a->alpha, a->beta};
        itp_onnx_put_list(w, node, "depth", &a->length, 0, 1);
        itp_onnx_put_floats(w, node, "values", values, 1, 2);
        break;
    }
    default:
        if (itp_is_reduction(node->op)) itp_onnx_put_axes(w, node, true);
    }
}

/* The node of a typed op with the casts around it. */
ITP_FN void itp_onnx_write_typed(itp_onnx_writer *w, const itp_node *node)
{
    static const char *const casts[] = {"in0", "in1", "in2"};
    const itp_onnx_typed *t = itp_onnx_typed_of(node->op);
    for (int i = 0; i < node->n_in; i++)
        if (t->in[i] != 'f')
            itp_onnx_put_cast(w, node, node->in[i], NULL, casts[i], itp_onnx_type_letter(t->in[i]));
    for (int i = 0; i < node->n_in; i++)
        if (t->in[i] != 'f') itp_onnx_put_inner(w, node, casts[i]);
        else itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_own_inputs(w, node);
    itp_onnx_put_op(w, node, t->name, t->out == 'f' ? NULL : "typed");
    itp_onnx_put_own_attrs(w, node);
    itp_onnx_end_node(w);
    if (t->out != 'f') itp_onnx_put_cast(w, node, -1, "typed", NULL, ITP_ONNX_FLOAT);
}

/* x - y floor(x / y), which ONNX has for whole numbers only; else C's fmod. */
ITP_FN void itp_onnx_write_mod(itp_onnx_writer *w, const itp_node *node)
{
    if (node->attrs.mode) {
        for (int i = 0; i < 2; i++) itp_onnx_put_input(w, node->in[i]);
        itp_onnx_put_op(w, node, "Mod", NULL);
        itp_onnx_put_int(w, "fmod", 1);
        itp_onnx_end_node(w);
        return;
    }
    for (int i = 0; i < 2; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, "Div", "quotient");
    itp_onnx_end_node(w);
    itp_onnx_chain(w, node, "Floor", "quotient", NULL, "whole");
    itp_onnx_put_input(w, node->in[1]);
    itp_onnx_put_inner(w, node, "whole");
    itp_onnx_put_op(w, node, "Mul", "part");
    itp_onnx_end_node(w);
    itp_onnx_chain(w, node, "Sub", "", "part", NULL);
}

ITP_FN void itp_onnx_write_mish(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain(w, node, "Softplus", "", NULL, "soft");
    itp_onnx_chain(w, node, "Tanh", "soft", NULL, "gate");
    itp_onnx_chain(w, node, "Mul", "", "gate", NULL);
}

/* A constant in the shape of x, whatever that is. */
ITP_FN void itp_onnx_write_fill(itp_onnx_writer *w, const itp_node *node)
{
    interp_shape one = itp_shape_none();
    one.rank = 1;
    itp_onnx_chain(w, node, "Shape", "", NULL, "shape");
    itp_onnx_put_inner(w, node, "shape");
    itp_onnx_put_op(w, node, "ConstantOfShape", NULL);
    itp_onnx_end_constant(w, &one, &node->attrs.alpha);
}

/* Both of TopK's outputs belong to a node each of ours. */
ITP_FN void itp_onnx_write_top_k(itp_onnx_writer *w, const itp_node *node)
{
    const bool places = node->op == ITP_OP_TOP_K_INDICES;
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_list(w, node, "k", &node->attrs.length, 1, 1);
    if (places) itp_pb_put_text(&w->node, 2, itp_onnx_inner_name(w, node, "values"));
    itp_onnx_put_op(w, node, "TopK", places ? "places" : NULL);
    if (!places) itp_pb_put_text(&w->node, 2, itp_onnx_inner_name(w, node, "places"));
    itp_onnx_put_int(w, "axis", node->attrs.axis);
    itp_onnx_put_int(w, "largest", !node->attrs.reverse);
    itp_onnx_end_node(w);
    if (places) itp_onnx_put_cast(w, node, -1, "places", NULL, ITP_ONNX_FLOAT);
}

ITP_FN void itp_onnx_write_max_places(itp_onnx_writer *w, const itp_node *node)
{
    itp_attrs a = node->attrs;
    itp_onnx_fix_pads(&a, &w->net->values[node->in[0]].shape);
    itp_onnx_put_input(w, node->in[0]);
    itp_pb_put_text(&w->node, 2, itp_onnx_inner_name(w, node, "values"));
    itp_onnx_put_op(w, node, "MaxPool", "places");
    itp_onnx_put_fields(w, node, &a, itp_onnx_row_of(ITP_OP_MAX_POOL)->fields);
    itp_onnx_put_int(w, "storage_order", a.mode);
    itp_onnx_end_node(w);
    itp_onnx_put_cast(w, node, -1, "places", NULL, ITP_ONNX_FLOAT);
}

ITP_FN void itp_onnx_write_conv_transpose(itp_onnx_writer *w, const itp_node *node)
{
    for (int i = 0; i < node->n_in; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, "ConvTranspose", NULL);
    itp_onnx_put_attrs(w, node, &node->attrs);
    if (node->attrs.shape.rank == 2)
        itp_onnx_put_ints(w, "output_padding", node->attrs.shape.dim, 2);
    itp_onnx_end_node(w);
}

/* The places of one dimension of a table; *n -1: the dimension passes through. */
ITP_FN const float *itp_onnx_next_places(const float *table, int *n)
{
    *n = *table == -2.0f ? -1 : (int)*table;
    return table + 1 + itp_max(0, *n);
}

/* One Gather for each dimension that does not pass through, behind a Pad where places are filled: the
   pad is one entry at the end of those dimensions. */
ITP_FN void itp_onnx_write_index(itp_onnx_writer *w, const itp_node *node)
{
    const float *table = w->net->values[node->in[1]].data, *at = table;
    const interp_shape *x = &w->net->values[node->in[0]].shape;
    int pads[2 * INTERP_MAX_RANK] = {0}, n, left = 0;
    char step[2][24] = {"", ""};
    bool padded = false;
    for (int d = 0; d < x->rank; d++) {
        const float *places = at + 1;
        at = itp_onnx_next_places(at, &n);
        left += n >= 0;
        for (int i = 0; i < n; i++)
            if (places[i] < 0) pads[x->rank + d] = 1, padded = true;
    }
    if (padded) {
        itp_onnx_put_input(w, node->in[0]);
        itp_onnx_put_list(w, node, "pads", pads, 1, 2 * x->rank);
        itp_onnx_put_scalar(w, node, "fill", (double)node->attrs.alpha);
        snprintf(step[0], sizeof step[0], "padded");
        itp_onnx_put_op(w, node, "Pad", left ? step[0] : NULL);
        itp_onnx_end_node(w);
    }
    if (!left && !padded) itp_onnx_chain(w, node, "Identity", "", NULL, NULL);
    for (int grows = 0; grows < 2; grows++) { /* what shrinks first: nothing on the way is larger */
        at = table;
        for (int d = 0; d < x->rank; d++) {
            const float *places = at + 1;
            at = itp_onnx_next_places(at, &n);
            if (n < 0 || (n > x->dim[d]) != grows) continue;
            if (step[0][0]) itp_onnx_put_inner(w, node, step[0]);
            else itp_onnx_put_input(w, node->in[0]);
            snprintf(step[1], sizeof step[1], "places%d", d);
            itp_onnx_put_places(w, node, step[1], places, n, x->dim[d]);
            snprintf(step[0], sizeof step[0], "axis%d", d);
            itp_onnx_put_op(w, node, "Gather", --left ? step[0] : NULL);
            itp_onnx_put_int(w, "axis", d);
            itp_onnx_end_node(w);
        }
    }
}

/* Tap by tap: the entries it reads, times its weights, added up. */
ITP_FN void itp_onnx_write_resize(itp_onnx_writer *w, const itp_node *node)
{
    const itp_value *table = &w->net->values[node->in[1]];
    const interp_shape *x = &w->net->values[node->in[0]].shape;
    const int out = table->shape.dim[0], taps = node->attrs.length;
    const int axis = itp_axis(node->attrs.axis, x->rank);
    float *list = (float *)interp_alloc(w->net->ctx, itp_mul_size((size_t)out + 1, sizeof *list));
    if (!list) {
        w->status = INTERP_NO_MEMORY;
        return;
    }
    char name[4][40];
    for (int t = 0; t < taps; t++) {
        snprintf(name[0], sizeof name[0], "places%d", t);
        snprintf(name[1], sizeof name[1], "taken%d", t);
        snprintf(name[2], sizeof name[2], "weights%d", t);
        for (int i = 0; i < out; i++)
            list[i] = table->data[(size_t)i * 2 * (size_t)taps + (size_t)t];
        itp_onnx_put_input(w, node->in[0]);
        itp_onnx_put_places(w, node, name[0], list, out, x->dim[axis]);
        itp_onnx_put_op(w, node, "Gather", name[1]);
        itp_onnx_put_int(w, "axis", axis);
        itp_onnx_end_node(w);
        for (int i = 0; i < out; i++)
            list[i] = table->data[((size_t)i * 2 + 1) * (size_t)taps + (size_t)t];
        interp_shape s = itp_shape_none();
        s.rank = x->rank - axis;
        s.dim[0] = out;
        itp_onnx_put_op(w, node, "Constant", name[2]);
        itp_onnx_end_constant(w, &s, list);
        itp_onnx_put_inner(w, node, name[1]);
        itp_onnx_put_inner(w, node, name[2]);
        snprintf(name[3], sizeof name[3], "part%d", t);
        itp_onnx_put_op(w, node, "Mul", taps > 1 ? name[3] : NULL);
        itp_onnx_end_node(w);
        if (!t) continue;
        snprintf(name[0], sizeof name[0], "%s%d", t == 1 ? "part" : "sum", t - 1);
        itp_onnx_put_inner(w, node, name[0]);
        itp_onnx_put_inner(w, node, name[3]);
        snprintf(name[1], sizeof name[1], "sum%d", t);
        itp_onnx_put_op(w, node, "Add", t + 1 < taps ? name[1] : NULL);
        itp_onnx_end_node(w);
    }
    interp_free(w->net->ctx, list);
}

/* ---- which op is written by what; those not listed are one node with the attributes of their row */

ITP_FN itp_onnx_write_fn itp_onnx_writer_of(int op)
{
    static const struct {
        int op;
        itp_onnx_write_fn write;
    } rows[] = {{ITP_OP_CONV, itp_onnx_write_window},
                {ITP_OP_SILU, itp_onnx_write_silu},
                {ITP_OP_GELU, itp_onnx_write_gelu},
                {ITP_OP_GELU_TANH, itp_onnx_write_gelu_tanh},
                {ITP_OP_FILL, itp_onnx_write_fill},
                {ITP_OP_INDEX, itp_onnx_write_index},
                {ITP_OP_CLIP, itp_onnx_write_clip},
                {ITP_OP_SQUARE, itp_onnx_write_square},
                {ITP_OP_MAX_POOL, itp_onnx_write_window},
                {ITP_OP_AVERAGE_POOL, itp_onnx_write_window},
                {ITP_OP_RESHAPE, itp_onnx_write_reshape},
                {ITP_OP_DROPOUT, itp_onnx_write_dropout},
                {ITP_OP_SLICE, itp_onnx_write_slice},
                {ITP_OP_CONV_TRANSPOSE, itp_onnx_write_conv_transpose},
                {ITP_OP_MISH, itp_onnx_write_mish},
                {ITP_OP_TOP_K_INDICES, itp_onnx_write_top_k},
                {ITP_OP_MAX_POOL_INDICES, itp_onnx_write_max_places},
                {ITP_OP_RESIZE_AXIS, itp_onnx_write_resize},
                {ITP_OP_MOD, itp_onnx_write_mod},
                {ITP_OP_TOP_K_VALUES, itp_onnx_write_top_k}};
    if (itp_onnx_typed_of(op)) return itp_onnx_write_typed;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].op == op) return rows[i].write;
    return NULL;
}

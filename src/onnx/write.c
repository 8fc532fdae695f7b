/* ---- onnx/write.c: from a network to an ONNX graph; notes; weights by name ------------------- */

#define ITP_ONNX_WRITES 17 /* opset; later ones only for what it cannot say */
#define ITP_ONNX_LATER  19

/* A model being written: fields of its graph, and messages being put together. */
typedef struct itp_onnx_writer {
    const interp_net *net;
    interp_onnx_save_desc desc;
    int opset;
    float *scales;               /* of one weight in int8 */
    itp_buf nodes, extra, ports; /* nodes; initializers made here; inputs and outputs */
    itp_buf node, part, inner, name, alias;
    interp_status status;
} itp_onnx_writer;

/* The first error of the writer or one of its buffers. */
ITP_FN interp_status itp_onnx_writer_status(const itp_onnx_writer *w)
{
    const itp_buf *all[] = {&w->nodes, &w->extra, &w->ports, &w->node,
                            &w->part,  &w->inner, &w->name,  &w->alias};
    if (w->status) return w->status;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->status) return all[i]->status;
    return INTERP_OK;
}

/* ---- names */

/* The name of a value with a suffix that no value has. */
ITP_FN const char *itp_onnx_alias(itp_onnx_writer *w, int value, const char *suffix)
{
    itp_buf *b = &w->alias;
    b->n = 0;
    itp_buf_printf(b, "%s/%s", w->net->values[value].name, suffix);
    while (!b->status && itp_find_value(w->net, b->data) >= 0) itp_buf_byte(b, '_');
    return b->status ? "" : b->data;
}

/* The name of a value before it is cast: its own, but for inputs that are turned. */
ITP_FN const char *itp_onnx_typed_name(itp_onnx_writer *w, int value)
{
    const itp_value *v = &w->net->values[value];
    return v->turned ? itp_onnx_alias(w, value, "first") : v->name;
}

/* The name of a value's floats: its own, but for inputs that are turned, and inputs and outputs of other
   types, which are cast. */
ITP_FN const char *itp_onnx_value_name(itp_onnx_writer *w, int value)
{
    const bool cast = w->net->values[value].dtype != INTERP_FLOAT32;
    return cast ? itp_onnx_alias(w, value, "float") : itp_onnx_typed_name(w, value);
}

/* The name of a value on the way to what `node` makes: one that no value has. */
ITP_FN const char *itp_onnx_inner_name(itp_onnx_writer *w, const itp_node *node, const char *suffix)
{
    itp_buf *b = &w->name;
    b->n = 0;
    itp_buf_printf(b, "%s/%s", w->net->values[node->out].name, suffix);
    while (!b->status && itp_find_value(w->net, b->data) >= 0) itp_buf_byte(b, '_');
    return b->status ? "" : b->data;
}

/* ---- NodeProto: input=1, output=2, name=3, op_type=4, attribute=5. Inputs first, then the node,
   then its attributes. */

ITP_FN void itp_onnx_put_input(itp_onnx_writer *w, int value)
{
    itp_pb_put_text(&w->node, 1, itp_onnx_value_name(w, value));
}

ITP_FN void itp_onnx_put_inner(itp_onnx_writer *w, const itp_node *node, const char *suffix)
{
    itp_pb_put_text(&w->node, 1, itp_onnx_inner_name(w, node, suffix));
}

/* suffix NULL: the node that makes the value; else one on the way to it. */
ITP_FN void itp_onnx_put_op(itp_onnx_writer *w, const itp_node *node, const char *op,
                            const char *suffix)
{
    itp_pb_put_text(&w->node, 2,
                    suffix ? itp_onnx_inner_name(w, node, suffix)
                           : itp_onnx_value_name(w, node->out));
    w->name.n = 0;
    itp_buf_printf(&w->name, suffix ? "%s/%s" : "%s", node->name, suffix ? suffix : "");
    itp_pb_put_text(&w->node, 3, w->name.status ? "" : w->name.data);
    itp_pb_put_text(&w->node, 4, op);
}

ITP_FN void itp_onnx_end_node(itp_onnx_writer *w)
{
    itp_pb_put_message(&w->nodes, 1, &w->node);
}

/* AttributeProto: name=1, f=2, i=3, t=5, ints=8, type=20 */
ITP_FN void itp_onnx_end_attr(itp_onnx_writer *w, int type)
{
    itp_pb_put_int(&w->part, 20, type);
    itp_pb_put_message(&w->node, 5, &w->part);
}

ITP_FN void itp_onnx_put_int(itp_onnx_writer *w, const char *name, int value)
{
    itp_pb_put_text(&w->part, 1, name);
    itp_pb_put_int(&w->part, 3, value);
    itp_onnx_end_attr(w, ITP_ATTR_INT);
}

ITP_FN void itp_onnx_put_ints(itp_onnx_writer *w, const char *name, const int *values, int n)
{
    itp_pb_put_text(&w->part, 1, name);
    for (int i = 0; i < n; i++) itp_pb_put_int(&w->part, 8, values[i]);
    itp_onnx_end_attr(w, ITP_ATTR_INTS);
}

ITP_FN void itp_onnx_put_float(itp_onnx_writer *w, const char *name, double value)
{
    itp_pb_put_text(&w->part, 1, name);
    itp_pb_put_float(&w->part, 2, value);
    itp_onnx_end_attr(w, ITP_ATTR_FLOAT);
}

/* Attributes by a table of fields. */
ITP_FN void itp_onnx_put_fields(itp_onnx_writer *w, const itp_node *node, const itp_attrs *attrs,
                                const itp_onnx_field *fields)
{
    itp_attrs a = *attrs;
    const int rank = w->net->values[node->in[0]].shape.rank;
    for (const itp_onnx_field *f = fields; f->name; f++) {
        const void *from = itp_onnx_place(&a, f);
        const int n = itp_onnx_field_ints(f, rank);
        if (f->since > w->opset) continue;
        if (f->kind == ITP_A_INT) itp_onnx_put_int(w, f->name, *(const int *)from);
        else if (f->kind == ITP_A_BOOL) itp_onnx_put_int(w, f->name, *(const bool *)from);
        else if (f->kind == ITP_A_FLOAT)
            itp_onnx_put_float(w, f->name, (double)*(const float *)from);
        else if (n) itp_onnx_put_ints(w, f->name, (const int *)from, n);
    }
}

/* All attributes of the op's row. */
ITP_FN void itp_onnx_put_attrs(itp_onnx_writer *w, const itp_node *node, const itp_attrs *attrs)
{
    itp_onnx_put_fields(w, node, attrs, itp_onnx_row_of(node->op)->fields);
}

/* ---- TensorProto: dims=1, data_type=2, name=8, raw_data=9 */

/* All but the bytes themselves. */
ITP_FN void itp_onnx_put_tensor(itp_buf *b, const char *name, int type, const interp_shape *shape,
                                size_t bytes)
{
    for (int i = 0; i < shape->rank; i++) itp_pb_put_int(b, 1, shape->dim[i]);
    itp_pb_put_int(b, 2, type);
    if (name) itp_pb_put_text(b, 8, name);
    itp_pb_put_key(b, 9, ITP_BYTES);
    itp_pb_put_varint(b, bytes);
}

ITP_FN void itp_onnx_put_numbers(itp_buf *b, const float *x, size_t n)
{
    if (sizeof *x == 4 && itp_host_is_little()) itp_buf_add(b, x, n * sizeof *x);
    else
        for (size_t i = 0; i < n; i++) itp_put_f32(b, (double)x[i]);
}

/* An input of `node` beside it: n numbers in a list, or one of rank 0. Their bytes are then put into
   w->part, and itp_onnx_end_side_input ends it. */
ITP_FN void itp_onnx_put_side_input(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                    int type, int rank, int n)
{
    interp_shape shape = itp_shape_none();
    shape.rank = rank;
    shape.dim[0] = n;
    itp_onnx_put_inner(w, node, suffix);
    itp_onnx_put_tensor(&w->part, itp_onnx_inner_name(w, node, suffix), type, &shape,
                        (size_t)n * (type == ITP_ONNX_INT64 ? 8 : 4));
}

ITP_FN void itp_onnx_end_side_input(itp_onnx_writer *w)
{
    itp_pb_put_message(&w->extra, 5, &w->part);
}

ITP_FN void itp_onnx_put_list(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                              const int *values, int rank, int n)
{
    itp_onnx_put_side_input(w, node, suffix, ITP_ONNX_INT64, rank, n);
    for (int i = 0; i < n; i++) itp_put_le(&w->part, (uint64_t)(int64_t)values[i], 8);
    itp_onnx_end_side_input(w);
}

ITP_FN void itp_onnx_put_floats(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                const float *values, int rank, int n)
{
    itp_onnx_put_side_input(w, node, suffix, ITP_ONNX_FLOAT, rank, n);
    itp_onnx_put_numbers(&w->part, values, (size_t)n);
    itp_onnx_end_side_input(w);
}

/* n places of a dimension of `size`; -1 is the place behind the last. */
ITP_FN void itp_onnx_put_places(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                const float *places, int n, int size)
{
    itp_onnx_put_side_input(w, node, suffix, ITP_ONNX_INT64, 1, n);
    for (int i = 0; i < n; i++)
        itp_put_le(&w->part, (uint64_t)(places[i] < 0 ? size : (int64_t)places[i]), 8);
    itp_onnx_end_side_input(w);
}

ITP_FN void itp_onnx_put_scalar(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                double value)
{
    const float x = (float)value;
    itp_onnx_put_floats(w, node, suffix, &x, 0, 1);
}

/* The attribute "value" of a node Constant, which is then complete. */
ITP_FN void itp_onnx_end_constant(itp_onnx_writer *w, const interp_shape *shape, const float *x)
{
    const size_t n = interp_shape_size(shape);
    itp_onnx_put_tensor(&w->inner, NULL, ITP_ONNX_FLOAT, shape, n * 4);
    itp_onnx_put_numbers(&w->inner, x, n);
    itp_pb_put_text(&w->part, 1, "value");
    itp_pb_put_message(&w->part, 5, &w->inner);
    itp_onnx_end_attr(w, ITP_ATTR_TENSOR);
    itp_onnx_end_node(w);
}

/* ---- ops of more than one ONNX node */

/* One number of a chain, by its suffix. */
ITP_FN void itp_onnx_chain_number(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                  double value)
{
    const interp_shape shape = itp_shape_none();
    const float x = (float)value;
    itp_onnx_put_op(w, node, "Constant", suffix);
    itp_onnx_end_constant(w, &shape, &x);
}

/* One step of a chain. a and b: suffixes of what came before, "" the input of the node; b NULL: an
   op of one argument. out NULL: the last step. */
ITP_FN void itp_onnx_chain(itp_onnx_writer *w, const itp_node *node, const char *op, const char *a,
                           const char *b, const char *out)
{
    const char *const in[2] = {a, b};
    for (int i = 0; i < 2 && in[i]; i++) {
        if (*in[i]) itp_onnx_put_inner(w, node, in[i]);
        else itp_onnx_put_input(w, node->in[0]);
    }
    itp_onnx_put_op(w, node, op, out);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_silu(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain(w, node, "Sigmoid", "", NULL, "sigmoid");
    itp_onnx_chain(w, node, "Mul", "", "sigmoid", NULL);
}

/* x (1 + gate) / 2, where "gate" is there. */
ITP_FN void itp_onnx_write_gelu_end(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "one", 1);
    itp_onnx_chain_number(w, node, "half", 0.5);
    itp_onnx_chain(w, node, "Add", "gate", "one", "sum");
    itp_onnx_chain(w, node, "Mul", "", "sum", "product");
    itp_onnx_chain(w, node, "Mul", "product", "half", NULL);
}

ITP_FN void itp_onnx_write_gelu(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "root", ITP_ONNX_SQRT_2);
    itp_onnx_chain(w, node, "Div", "", "root", "scaled");
    itp_onnx_chain(w, node, "Erf", "scaled", NULL, "gate");
    itp_onnx_write_gelu_end(w, node);
}

ITP_FN void itp_onnx_write_gelu_tanh(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "share", ITP_ONNX_GELU_CUBE);
    itp_onnx_chain_number(w, node, "root", ITP_ONNX_SQRT_2_BY_PI);
    itp_onnx_chain(w, node, "Mul", "", "", "square");
    itp_onnx_chain(w, node, "Mul", "square", "", "cube");
    itp_onnx_chain(w, node, "Mul", "cube", "share", "bend");
    itp_onnx_chain(w, node, "Add", "", "bend", "bent");
    itp_onnx_chain(w, node, "Mul", "bent", "root", "scaled");
    itp_onnx_chain(w, node, "Tanh", "scaled", NULL, "gate");
    itp_onnx_write_gelu_end(w, node);
}

ITP_FN void itp_onnx_write_square(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain(w, node, "Mul", "", "", NULL);
}

/* ---- ops with inputs or attributes of their own */

/* Pads as numbers where ours are "same", the odd one at the end. */
ITP_FN void itp_onnx_fix_pads(itp_attrs *a, const interp_shape *x)
{
    for (int i = 0; i < 2 && a->same; i++) {
        const int total =
            (int)itp_same_pads(x->dim[2 + i], a->kernel[i], a->stride[i], a->dilation[i]);
        a->pad[i] = total / 2;
        a->pad[i + 2] = total - total / 2;
    }
}

ITP_FN void itp_onnx_write_window(itp_onnx_writer *w, const itp_node *node)
{
    itp_attrs a = node->attrs;
    const interp_shape *x = &w->net->values[node->in[0]].shape;
    itp_onnx_fix_pads(&a, x);
    if (a.same) a.ceil_mode = false;
    for (int i = 0; i < node->n_in; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, itp_op_row(node->op)->name, NULL);
    itp_onnx_put_attrs(w, node, &a);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_clip(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_scalar(w, node, "min", (double)node->attrs.alpha);
    itp_onnx_put_scalar(w, node, "max", (double)node->attrs.beta);
    itp_onnx_put_op(w, node, "Clip", NULL);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_dropout(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_scalar(w, node, "ratio", (double)node->attrs.alpha);
    itp_onnx_put_op(w, node, "Dropout", NULL);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_reshape(itp_onnx_writer *w, const itp_node *node)
{
    const interp_shape *want = &node->attrs.shape;
    bool empty = false; /* then all sizes are literal */
    for (int i = 0; i < want->rank; i++) empty = empty || want->dim[i] == ITP_NO_ENTRIES;
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_list(w, node, "shape", empty ? w->net->values[node->out].shape.dim : want->dim, 1,
                      want->rank);
    itp_onnx_put_op(w, node, "Reshape", NULL);
    if (empty) itp_onnx_put_int(w, "allowzero", 1);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_slice(itp_onnx_writer *w, const itp_node *node)
{
    const itp_attrs *a = &node->attrs;
    const bool drop = a->drop && a->length == 1;
    const int end = a->start + a->length;
    itp_onnx_put_input(w, node->in[0]);
    if (drop) { /* one index without dimensions takes its axis away */
        itp_onnx_put_list(w, node, "index", &a->start, 0, 1);
        itp_onnx_put_op(w, node, "Gather", NULL);
        itp_onnx_put_int(w, "axis", a->axis);
    } else {
        itp_onnx_put_list(w, node, "starts", &a->start, 1, 1);
        itp_onnx_put_list(w, node, "ends", &end, 1, 1);
        itp_onnx_put_list(w, node, "axes", &a->axis, 1, 1);
        itp_onnx_put_op(w, node, "Slice", NULL);
    }
    itp_onnx_end_node(w);
}

typedef void (*itp_onnx_write_fn)(itp_onnx_writer *w, const itp_node *node);
ITP_FN itp_onnx_write_fn itp_onnx_writer_of(int op); /* NULL: one node, by its row */
ITP_FN void itp_onnx_write_typed(itp_onnx_writer *w, const itp_node *node);

ITP_FN void itp_onnx_write_node(itp_onnx_writer *w, const itp_node *node)
{
    const itp_onnx_write_fn write = itp_onnx_writer_of(node->op);
    const itp_onnx_row *row = itp_onnx_row_of(node->op);
    if (write) {
        write(w, node);
        return;
    }
    if (!row) {
        if (!w->status)
            w->status =
                itp_fail(w->net->ctx, INTERP_UNSUPPORTED, "%s \"%.100s\" has no form in ONNX",
                         itp_op_row(node->op)->name, node->name);
        return;
    }
    for (int i = 0; i < node->n_in; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, row->name, NULL);
    itp_onnx_put_attrs(w, node, &node->attrs);
    itp_onnx_end_node(w);
}

/* ---- the graph around the nodes */

/* ValueInfoProto. Dimensions that follow the batch are "N", those that change in another way have
   no size. */
ITP_FN void itp_onnx_put_port(itp_onnx_writer *w, uint32_t field, int value,
                              const interp_shape *other, int other_batch)
{
    const itp_value *v = &w->net->values[value];
    const interp_shape *s = &v->shape;
    int order[INTERP_MAX_RANK];
    for (int i = 0; i < s->rank; i++) order[i] = i;
    if (v->turned) itp_onnx_turn_order(s->rank, false, order);
    for (int k = 0; k < s->rank; k++) { /* TensorShapeProto.dim=1 {dim_value=1, dim_param=2} */
        const int i = order[k];
        if (other->rank != s->rank) continue;
        if (other->dim[i] == s->dim[i]) itp_pb_put_int(&w->part, 1, s->dim[i]);
        else if (other->dim[i] == s->dim[i] * other_batch) itp_pb_put_text(&w->part, 2, "N");
        itp_pb_put_message(&w->inner, 1, &w->part);
    }
    itp_pb_put_int(&w->part, 1, itp_onnx_type_id(v->dtype));
    itp_pb_put_message(&w->part, 2, &w->inner);
    itp_pb_put_message(&w->inner, 1, &w->part); /* TypeProto: tensor_type=1 */
    itp_pb_put_text(&w->part, 1, v->name);
    itp_pb_put_message(&w->part, 2, &w->inner);
    itp_pb_put_message(&w->ports, field, &w->part);
}

ITP_FN interp_status itp_onnx_put_ports(itp_onnx_writer *w)
{
    const interp_net *net = w->net;
    const int batch = net->fixed_batch ? net->fixed_batch : 2;
    interp_shape *shapes =
        (interp_shape *)interp_alloc(net->ctx, itp_mul_size((size_t)net->n_values, sizeof *shapes));
    if (!shapes) return INTERP_NO_MEMORY;
    if (!itp_onnx_shapes(net, batch, shapes)) /* works for the batch it was built with only */
        for (int i = 0; i < net->n_values; i++) shapes[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++)
        itp_onnx_put_port(w, 11, net->inputs[i], &shapes[net->inputs[i]], batch);
    for (int i = 0; i < net->n_outputs; i++)
        itp_onnx_put_port(w, 12, net->outputs[i], &shapes[net->outputs[i]], batch);
    interp_free(net->ctx, shapes);
    return INTERP_OK;
}

/* Images with channels last get them first at the start. */
ITP_FN void itp_onnx_put_turn(itp_onnx_writer *w, int value)
{
    const itp_value *v = &w->net->values[value];
    int perm[INTERP_MAX_RANK];
    if (!v->turned) return;
    itp_onnx_turn_order(v->shape.rank, true, perm);
    itp_pb_put_text(&w->node, 1, v->name);
    itp_pb_put_text(&w->node, 2, itp_onnx_typed_name(w, value));
    itp_pb_put_text(&w->node, 3, itp_onnx_typed_name(w, value));
    itp_pb_put_text(&w->node, 4, "Transpose");
    itp_onnx_put_ints(w, "perm", perm, v->shape.rank);
    itp_onnx_end_node(w);
}

/* Inputs of other types become floats at the start, and outputs become what they were at the end. */
ITP_FN void itp_onnx_put_port_cast(itp_onnx_writer *w, int value, bool input)
{
    const itp_value *v = &w->net->values[value];
    if (v->dtype == INTERP_FLOAT32) return;
    itp_pb_put_text(&w->node, 1,
                    input ? itp_onnx_typed_name(w, value) : itp_onnx_value_name(w, value));
    itp_pb_put_text(&w->node, 2, input ? itp_onnx_value_name(w, value) : v->name);
    itp_pb_put_text(&w->node, 3, itp_onnx_value_name(w, value));
    itp_pb_put_text(&w->node, 4, "Cast");
    itp_onnx_put_int(w, "to", input ? ITP_ONNX_FLOAT : itp_onnx_type_id(v->dtype));
    itp_onnx_end_node(w);
}

/* Whether a node reads a value, or it is an output. */
ITP_FN bool itp_onnx_is_used(const interp_net *net, int value)
{
    for (int i = 0; i < net->n_outputs; i++)
        if (net->outputs[i] == value) return true;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *node = &net->nodes[i];
        const bool table = node->op == ITP_OP_INDEX || node->op == ITP_OP_RESIZE_AXIS;
        for (int k = 0; k < (table ? 1 : node->n_in); k++)
            if (node->in[k] == value) return true;
    }
    return false;
}

/* Constants become nodes, so that a reader can tell them from parameters. */
ITP_FN void itp_onnx_put_constants(itp_onnx_writer *w)
{
    const interp_net *net = w->net;
    for (int v = 0; v < net->n_values; v++) {
        const itp_value *value = &net->values[v];
        if (value->kind != ITP_CONST) continue;
        if (value->dtype == INTERP_FLOAT32 && !itp_onnx_is_used(net, v)) continue;
        itp_pb_put_text(&w->node, 2, itp_onnx_value_name(w, v));
        itp_pb_put_text(&w->node, 3, value->name);
        itp_pb_put_text(&w->node, 4, "Constant");
        itp_onnx_end_constant(w, &value->shape, value->data);
    }
}

/* The name of a weight as it is kept: one that no value has. */
ITP_FN const char *itp_onnx_packed_name(itp_onnx_writer *w, const itp_value *v, const char *suffix)
{
    itp_buf *b = &w->name;
    b->n = 0;
    itp_buf_printf(b, "%s/%s", v->name, suffix);
    while (!b->status && itp_find_value(w->net, b->data) >= 0) itp_buf_byte(b, '_');
    return b->status ? "" : b->data;
}

/* Weights in fewer bytes become float32 again in nodes of their own. */
ITP_FN void itp_onnx_put_unpacking(itp_onnx_writer *w)
{
    for (int i = 0; i < w->net->n_values; i++) {
        const itp_value *v = &w->net->values[i];
        const itp_storage_row *row = itp_storage_row_of(w->net, i, w->desc.storage);
        const bool int8 = row->bytes == 1;
        if (!row->suffix) continue;
        const int axis = itp_storage_axis(w->net, i);
        itp_pb_put_text(&w->node, 1, itp_onnx_packed_name(w, v, row->suffix));
        if (int8) {
            interp_shape one = itp_shape_none();
            one.rank = 1;
            one.dim[0] = v->shape.dim[axis];
            itp_int8_scales(v, axis, w->scales);
            itp_onnx_put_tensor(&w->part, itp_onnx_packed_name(w, v, "scale"), ITP_ONNX_FLOAT, &one,
                                (size_t)one.dim[0] * 4);
            itp_onnx_put_numbers(&w->part, w->scales, (size_t)one.dim[0]);
            itp_pb_put_message(&w->extra, 5, &w->part);
            itp_pb_put_text(&w->node, 1, itp_onnx_packed_name(w, v, "scale"));
        }
        itp_pb_put_text(&w->node, 2, v->name);
        itp_pb_put_text(&w->node, 3, itp_onnx_packed_name(w, v, "unpacked"));
        itp_pb_put_text(&w->node, 4, int8 ? "DequantizeLinear" : "Cast");
        itp_onnx_put_int(w, int8 ? "axis" : "to", int8 ? axis : ITP_ONNX_FLOAT);
        itp_onnx_end_node(w);
    }
}

/* The opset that has all the network needs. */
ITP_FN int itp_onnx_opset_for(const interp_net *net)
{
    int most = ITP_ONNX_WRITES;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_attrs *a = &net->nodes[i].attrs;
        const int op = net->nodes[i].op;
        int needs = 0;
        if (op == ITP_OP_AVERAGE_POOL && (a->dilation[0] > 1 || a->dilation[1] > 1))
            needs = ITP_ONNX_LATER;
        if ((op == ITP_OP_SCATTER_ELEMENTS_FOLD || op == ITP_OP_SCATTER_ND_FOLD) && a->mode > 2)
            needs = ITP_ONNX_LATER;
        if (op == ITP_OP_ROUND_TO) /* types 23 and 24 came with the opsets of these numbers */
            needs = a->alpha < 23 ? ITP_ONNX_LATER : (int)a->alpha;
        most = itp_max(most, needs);
    }
    return most;
}

ITP_FN interp_status itp_onnx_check_names(const interp_net *net)
{
    bool good = itp_is_utf8(net->name, strlen(net->name));
    for (int i = 0; i < net->n_values && good; i++)
        good = itp_is_utf8(net->values[i].name, strlen(net->values[i].name));
    for (int i = 0; i < net->n_nodes && good; i++)
        good = itp_is_utf8(net->nodes[i].name, strlen(net->nodes[i].name));
    if (good) return INTERP_OK;
    return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                    "network \"%.100s\": a name is not UTF-8, as ONNX wants it", net->name);
}

ITP_FN bool itp_is_initializer(const itp_value *v)
{
    return v->kind == ITP_PARAM || v->kind == ITP_BUFFER;
}

ITP_FN size_t itp_varint_size(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7) n++;
    return n;
}

/* The head of an initializer in `part`, up to its numbers; gives the bytes of those. pad: bytes to
   be wasted on a description, 0 or from 2 on. */
ITP_FN size_t itp_onnx_initializer_head(itp_onnx_writer *w, int value, size_t pad)
{
    enum { description = 12 };
    const itp_value *v = &w->net->values[value];
    const itp_storage_row *row = itp_storage_row_of(w->net, value, w->desc.storage);
    const size_t bytes = itp_mul_size(interp_shape_size(&v->shape), row->bytes);
    const char *name = row->suffix ? itp_onnx_packed_name(w, v, row->suffix) : v->name;
    w->part.n = 0;
    if (pad) {
        itp_pb_put_key(&w->part, description, ITP_BYTES);
        itp_pb_put_varint(&w->part, pad - 2);
        for (size_t i = 2; i < pad; i++) itp_buf_byte(&w->part, ' ');
    }
    itp_onnx_put_tensor(&w->part, name, row->type, &v->shape, bytes);
    return bytes;
}

/* The same, such that the numbers of a message that begins at `at` begin where they should. Gives the
   length of the message. */
ITP_FN size_t itp_onnx_initializer_at(itp_onnx_writer *w, int value, size_t at)
{
    for (size_t pad = 0;; pad += pad ? 1 : 2) { /* the length may grow by a byte on the way */
        const size_t bytes = itp_onnx_initializer_head(w, value, pad);
        const size_t length = itp_add_size(w->part.n, bytes);
        const size_t start = at + 1 + itp_varint_size(length) + w->part.n;
        if (!w->desc.align || start % 64 == 0 || pad > 129 || w->part.status) return length;
    }
}

ITP_FN void itp_onnx_put_packed(const itp_onnx_writer *w, itp_buf *out, int value)
{
    const itp_value *v = &w->net->values[value];
    const size_t n = interp_shape_size(&v->shape);
    const int axis = itp_storage_axis(w->net, value);
    switch (itp_storage_of(w->net, value, w->desc.storage)) {
    case INTERP_STORE_FLOAT32: itp_onnx_put_numbers(out, v->data, n); break;
    case INTERP_STORE_FLOAT16:
        for (size_t i = 0; i < n; i++) itp_put_le(out, itp_half_of(v->data[i]), 2);
        break;
    case INTERP_STORE_INT8:
        itp_int8_scales(v, axis, w->scales);
        for (size_t i = 0; i < n; i++)
            itp_buf_byte(out,
                         itp_int8_of(v->data[i], w->scales[itp_channel_of(&v->shape, axis, i)]));
        break;
    }
}

/* All initializers, the first at byte `at` of the file; gives the byte behind them. out NULL: only
   counts. Weights, which are most of a model, are copied only once. */
ITP_FN size_t itp_onnx_put_initializers(itp_onnx_writer *w, size_t at, itp_buf *out)
{
    for (int i = 0; i < w->net->n_values; i++) {
        if (!itp_is_initializer(&w->net->values[i])) continue;
        const size_t length = itp_onnx_initializer_at(w, i, at);
        at = itp_add_size(at, itp_add_size(length, 1 + itp_varint_size(length)));
        if (!out) continue;
        itp_pb_put_key(out, 5, ITP_BYTES);
        itp_pb_put_varint(out, length);
        itp_buf_add(out, w->part.data, w->part.n);
        itp_onnx_put_packed(w, out, i);
    }
    return at;
}

/* Everything in its place. */
ITP_FN interp_status itp_onnx_assemble(itp_onnx_writer *w, itp_buf *out)
{
    const interp_net *net = w->net;
    itp_buf title = itp_buf_new(net->ctx);
    const int ir = w->opset == ITP_ONNX_WRITES ? 8 : w->opset == ITP_ONNX_LATER ? 9 : w->opset - 12;
    itp_pb_put_int(out, 1, ir); /* ModelProto: ir_version */
    itp_pb_put_text(out, 2, "interp.h");
    itp_pb_put_text(out, 3, interp_version());
    itp_pb_put_key(out, 7, ITP_BYTES);
    itp_pb_put_text(&title, 2, net->name);
    /* where things lie depends on how many bytes tell the length, which tells where they lie */
    const size_t before = w->nodes.n + title.n, after = w->extra.n + w->ports.n;
    size_t digits = 0, graph;
    do {
        digits++;
        const size_t at = out->n + digits + before;
        graph = itp_add_size(itp_onnx_put_initializers(w, at, NULL) - at + before, after);
    } while (itp_varint_size(graph) > digits);
    interp_status status = title.status ? title.status : itp_onnx_writer_status(w);
    if (!status && graph > (size_t)INT_MAX - 1024)
        status = itp_fail(net->ctx, INTERP_UNSUPPORTED,
                          "network \"%.100s\" takes more than the 2 GiB that an ONNX file may have",
                          net->name);
    if (!status) {
        (void)itp_buf_reserve(out, graph + 128);
        for (size_t i = 0; i < digits; i++) /* as many as were counted on */
            itp_buf_byte(out, (int)(graph >> 7 * i & 127) | (i + 1 < digits ? 128 : 0));
        itp_buf_add(out, w->nodes.data, w->nodes.n); /* GraphProto */
        itp_buf_add(out, title.data, title.n);
        itp_onnx_put_initializers(w, out->n, out);
        itp_buf_add(out, w->extra.data, w->extra.n);
        itp_buf_add(out, w->ports.data, w->ports.n);
        w->part.n = 0;
        itp_pb_put_text(&w->part, 1, ""); /* OperatorSetIdProto */
        itp_pb_put_int(&w->part, 2, w->opset);
        itp_pb_put_message(out, 8, &w->part);
        status = itp_onnx_writer_status(w);
    }
    itp_buf_free(&title);
    return status ? status : out->status;
}

ITP_FN interp_status itp_onnx_write(const interp_net *net, const interp_onnx_save_desc *desc,
                                    itp_buf *out)
{
    interp_ctx *ctx = net->ctx;
    itp_onnx_writer w;
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    ITP_TRY(itp_onnx_check_names(net));
    memset(&w, 0, sizeof w);
    w.net = net;
    w.opset = itp_onnx_opset_for(net);
    if (desc) w.desc = *desc;
    if ((unsigned)w.desc.storage > INTERP_STORE_INT8)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "ONNX: storage %d is not known",
                        (int)w.desc.storage);
    w.scales = (float *)interp_alloc(ctx, itp_mul_size(itp_storage_channels(net), sizeof(float)));
    if (!w.scales) return INTERP_NO_MEMORY;
    itp_buf *all[] = {&w.nodes, &w.extra, &w.ports, &w.node, &w.part, &w.inner, &w.name, &w.alias};
    const size_t n = sizeof all / sizeof *all;
    for (size_t i = 0; i < n; i++) *all[i] = itp_buf_new(ctx);
    itp_onnx_put_constants(&w);
    itp_onnx_put_unpacking(&w);
    for (int i = 0; i < net->n_inputs; i++) {
        itp_onnx_put_turn(&w, net->inputs[i]);
        itp_onnx_put_port_cast(&w, net->inputs[i], true);
    }
    for (int i = 0; i < net->n_nodes; i++) itp_onnx_write_node(&w, &net->nodes[i]);
    for (int i = 0; i < net->n_outputs; i++) {
        bool done = net->values[net->outputs[i]].kind == ITP_INPUT;
        for (int k = 0; k < i; k++) done = done || net->outputs[k] == net->outputs[i];
        if (!done) itp_onnx_put_port_cast(&w, net->outputs[i], false);
    }
    interp_status status = itp_onnx_put_ports(&w);
    if (!status) status = itp_onnx_writer_status(&w);
    if (!status) status = itp_onnx_assemble(&w, out);
    for (size_t i = 0; i < n; i++) itp_buf_free(all[i]);
    interp_free(ctx, w.scales);
    return status;
}

INTERP_API interp_status interp_onnx_serialize(const interp_net *net, void **bytes, size_t *n)
{
    return interp_onnx_serialize_as(net, NULL, bytes, n);
}

INTERP_API interp_status interp_onnx_serialize_as(const interp_net *net,
                                                  const interp_onnx_save_desc *desc, void **bytes,
                                                  size_t *n)
{
    if (!net) return INTERP_NO_MEMORY;
    itp_buf out = itp_buf_new(net->ctx);
    const interp_status status = itp_onnx_write(net, desc, &out);
    if (status) {
        itp_buf_free(&out);
        return status;
    }
    *bytes = out.data;
    *n = out.n;
    return INTERP_OK;
}

/* ---- notes */

/* ModelProto: metadata_props=14, StringStringEntryProto {key=1, value=2}. Fields may stand in any
   order, so that a note goes behind everything else. */
INTERP_API interp_status interp_onnx_note_add(interp_ctx *ctx, void **bytes, size_t *n,
                                              const char *key, const char *text)
{
    if (!itp_is_utf8(key, strlen(key)) || !itp_is_utf8(text, strlen(text)))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "note \"%.60s\": it is not UTF-8, as ONNX wants it", key);
    itp_buf out = itp_buf_new(ctx), entry = itp_buf_new(ctx);
    (void)itp_buf_reserve(&out, itp_add_size(*n, strlen(key) + strlen(text) + 32));
    itp_buf_add(&out, *bytes, *n);
    itp_pb_put_text(&entry, 1, key);
    itp_pb_put_text(&entry, 2, text);
    const interp_status status = entry.status;
    itp_pb_put_message(&out, 14, &entry);
    itp_buf_free(&entry);
    if (status || out.status) {
        itp_buf_free(&out);
        return INTERP_NO_MEMORY;
    }
    interp_free(ctx, *bytes);
    *bytes = out.data;
    *n = out.n;
    return INTERP_OK;
}

INTERP_API interp_status interp_onnx_note_find(interp_ctx *ctx, const void *bytes, size_t n,
                                               const char *key, char **text)
{
    itp_slice all, found = {NULL, 0};
    all.at = (const char *)bytes;
    all.n = n;
    itp_pb p = itp_pb_of(all);
    itp_pb_field f, part;
    while (itp_pb_next(&p, &f)) { /* ModelProto: metadata_props=14 {key=1, value=2} */
        itp_slice name = {NULL, 0}, value = {NULL, 0};
        if (f.number != 14) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        itp_pb entry = itp_pb_of(f.bytes);
        while (itp_pb_next(&entry, &part)) {
            if (part.number != 1 && part.number != 2) continue;
            if (!itp_pb_wire(&entry, &part, ITP_BYTES)) break;
            *(part.number == 1 ? &name : &value) = part.bytes;
        }
        p.bad = p.bad || entry.bad;
        if (!entry.bad && itp_slice_is(name, key)) found = value.at ? value : itp_slice_of("");
    }
    if (p.bad) return itp_fail(ctx, INTERP_FORMAT, "ONNX: the model is damaged at its notes");
    char *copy = found.at ? (char *)interp_alloc(ctx, found.n + 1) : NULL;
    if (found.at && !copy) return INTERP_NO_MEMORY;
    if (copy) {
        memcpy(copy, found.at, found.n);
        copy[found.n] = 0;
    }
    *text = copy;
    return INTERP_OK;
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_onnx_note_read(interp_ctx *ctx, const char *path, const char *key,
                                               char **text)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = interp_onnx_note_find(ctx, bytes, n, key, text);
    interp_free(ctx, bytes);
    return status;
}

INTERP_API interp_status interp_onnx_save(const interp_net *net, const char *path)
{
    void *bytes = NULL;
    size_t n = 0;
    ITP_TRY(interp_onnx_serialize(net, &bytes, &n));
    const interp_status status = itp_file_write(net->ctx, path, bytes, n);
    interp_free(net->ctx, bytes);
    return status;
}

/* ---- weights */

INTERP_API interp_status interp_weights_save(const interp_net *net, const char *path)
{
    if (!net) return INTERP_NO_MEMORY;
    interp_ctx *ctx = net->ctx;
    interp_named_arrays all;
    memset(&all, 0, sizeof all);
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    all.items = (interp_named_array *)interp_alloc(
        ctx, itp_mul_size((size_t)net->n_values, sizeof *all.items));
    if (!all.items) return INTERP_NO_MEMORY;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (!itp_is_initializer(v)) continue;
        interp_named_array *item = &all.items[all.n++];
        item->name = v->name;
        item->array.data = v->data;
        item->array.dtype = ITP_FLOAT_DTYPE;
        item->array.shape = v->shape;
    }
    const interp_status status = itp_ends_with(path, ".npz")
                                     ? itp_npz_write_all(ctx, path, &all)
                                     : interp_safetensors_write(ctx, path, &all);
    interp_free(ctx, all.items);
    return status;
}

ITP_FN const interp_named_array *itp_weights_find(const interp_named_arrays *all, const char *name)
{
    for (int i = 0; i < all->n; i++)
        if (!strcmp(all->items[i].name, name)) return &all->items[i];
    return NULL;
}

/* Whether a file has what the network wants and nothing else. */
ITP_FN interp_status itp_weights_check(const interp_net *net, const char *path,
                                       const interp_named_arrays *all)
{
    char want[96], have[96];
    int found = 0;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (!itp_is_initializer(v)) continue;
        const interp_named_array *item = itp_weights_find(all, v->name);
        if (!item)
            return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                            "%s: there is no \"%.100s\", which network \"%.100s\" has", path,
                            v->name, net->name);
        if (!itp_shape_equal(&item->array.shape, &v->shape))
            return itp_fail(net->ctx, INTERP_BAD_SHAPE, "%s: \"%.100s\" is %s but should be %s",
                            path, v->name, itp_shape_text(&item->array.shape, have, sizeof have),
                            itp_shape_text(&v->shape, want, sizeof want));
        found++;
    }
    for (int i = 0; i < all->n && found < all->n; i++) {
        const int v = itp_find_value(net, all->items[i].name);
        if (v < 0 || !itp_is_initializer(&net->values[v]))
            return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                            "%s: network \"%.100s\" has no weights \"%.100s\"", path, net->name,
                            all->items[i].name);
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_weights_load(interp_net *net, const char *path)
{
    if (!net) return INTERP_NO_MEMORY;
    interp_named_arrays all;
    if (!net->built)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    ITP_TRY(itp_net_writable(net->ctx, net));
    ITP_TRY(itp_ends_with(path, ".npz") ? itp_npz_read_all(net->ctx, path, &all)
                                        : interp_safetensors_read(net->ctx, path, &all));
    const interp_status status = itp_weights_check(net, path, &all);
    for (int i = 0; i < net->n_values && !status; i++) {
        const itp_value *v = &net->values[i];
        if (itp_is_initializer(v))
            interp_array_floats(&itp_weights_find(&all, v->name)->array, v->data);
    }
    interp_named_arrays_free(net->ctx, &all);
    return status;
}

#endif

/* ---- onnx/map.c: ONNX's ops and attributes against ours, for reading and for writing --------- */

/* What one attribute is to us. */
typedef enum itp_onnx_kind {
    ITP_A_INT,
    ITP_A_BOOL,
    ITP_A_FLOAT,
    ITP_A_PAIR, /* two sizes, height and width */
    ITP_A_PADS, /* four: top, left, bottom, right */
    ITP_A_PERM,
    ITP_A_MUST, /* supported only with this one value */
    ITP_A_OWN,  /* the row's own functions deal with it */
    ITP_A_SKIP  /* without meaning for the first output in use */
} itp_onnx_kind;

typedef struct itp_onnx_field {
    const char *name;
    itp_onnx_kind kind;
    size_t offset;    /* in itp_attrs */
    double value;     /* default, or the only one */
    int since, until; /* first and last opset that have it, 0: no such end */
} itp_onnx_field;

typedef struct itp_onnx_writer itp_onnx_writer;
typedef interp_status (*itp_onnx_read_fn)(itp_onnx *r, const itp_onnx_node *n);
typedef interp_status (*itp_onnx_view_fn)(itp_onnx *r, const itp_onnx_node *n,
                                          const interp_shape *in, interp_shape *want);
typedef void (*itp_onnx_write_fn)(itp_onnx_writer *w, const itp_node *node);

/* Inputs are told apart by a letter each, the last of which stands for all that follow:
   x a value; w one that is trained when it is an initialiser; o one that is trained when it is an
   initialiser with dimensions behind a weighted op; s running statistics; k not a value of the
   network: the row's own functions read it while loading. */
struct itp_onnx_row {
    const char *name; /* op_type; "" for those of ours that are only written */
    int op;           /* row of our table; -1: read as others */
    const char *inputs;
    int least, most; /* number of inputs */
    const itp_onnx_field *fields;
    itp_onnx_read_fn read;   /* NULL: one node of `op` with the attributes of `fields` */
    itp_onnx_view_fn view;   /* new shape, where the numbers stay as they are; else NULL */
    itp_onnx_write_fn write; /* NULL: likewise */
    bool weighted;           /* what follows is behind a weighted op */
};

/* Rows with readers and writers of their own; those are in read.c and write.c. */
ITP_FN interp_status itp_onnx_read_window(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_softmax(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_clip(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_dropout(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_view(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_slice(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_gather(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_mul(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_pow(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_sum(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_mean(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_gelu(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_view_reshape(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_flatten(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_squeeze(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_unsqueeze(itp_onnx *r, const itp_onnx_node *n,
                                             const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_same(itp_onnx *r, const itp_onnx_node *n, const interp_shape *in,
                                        interp_shape *want);
ITP_FN void itp_onnx_write_window(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_clip(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_dropout(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_reshape(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_slice(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_silu(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_gelu(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_gelu_tanh(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_square(itp_onnx_writer *w, const itp_node *node);

/* The constants of gelu's chains, and of Selu, which ONNX states to this precision. */
#define ITP_ONNX_SQRT_2       1.41421356237309505
#define ITP_ONNX_SQRT_2_BY_PI 0.79788456080286536
#define ITP_ONNX_GELU_CUBE    0.044715
#define ITP_ONNX_SELU_ALPHA   1.67326324235437728
#define ITP_ONNX_SELU_GAMMA   1.05070098735548049

#define ITP_TO(field) offsetof(itp_attrs, field)
#define ITP_NO_FIELD                                                                               \
    {                                                                                              \
        NULL, ITP_A_SKIP, 0, 0, 0, 0                                                               \
    }

static const itp_onnx_field itp_fields_none[] = {ITP_NO_FIELD};
static const itp_onnx_field itp_fields_conv[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 0, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"group", ITP_A_INT, ITP_TO(groups), 1, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_max_pool[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 0, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    {"storage_order", ITP_A_SKIP, 0, 0, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_average_pool[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 19, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    {"count_include_pad", ITP_A_BOOL, ITP_TO(count_include_pad), 0, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gemm[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0},
                                                 {"beta", ITP_A_FLOAT, ITP_TO(beta), 1, 0, 0},
                                                 {"transA", ITP_A_BOOL, ITP_TO(trans_a), 0, 0, 0},
                                                 {"transB", ITP_A_BOOL, ITP_TO(trans_b), 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_batch_norm[] = {
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"momentum", ITP_A_FLOAT, ITP_TO(momentum), 0.9, 0, 0},
    {"spatial", ITP_A_MUST, 0, 1, 0, 0},
    {"training_mode", ITP_A_MUST, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_layer_norm[] = {
    {"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"stash_type", ITP_A_SKIP, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_leaky[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.01, 0, 0},
                                                  ITP_NO_FIELD};
static const itp_onnx_field itp_fields_elu[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0},
                                                ITP_NO_FIELD};
static const itp_onnx_field itp_fields_selu[] = {
    {"alpha", ITP_A_MUST, 0, ITP_ONNX_SELU_ALPHA, 0, 0},
    {"gamma", ITP_A_MUST, 0, ITP_ONNX_SELU_GAMMA, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_swish[] = {{"alpha", ITP_A_MUST, 0, 1, 0, 0}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_hard_sigmoid[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.2, 0, 0},
    {"beta", ITP_A_FLOAT, ITP_TO(beta), 0.5, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gelu[] = {{"approximate", ITP_A_OWN, 0, 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_clip[] = {
    {"min", ITP_A_OWN, 0, 0, 0, 10}, {"max", ITP_A_OWN, 0, 0, 0, 10}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_softmax[] = {{"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_concat[] = {{"axis", ITP_A_INT, ITP_TO(axis), 0, 0, 0},
                                                   ITP_NO_FIELD};
static const itp_onnx_field itp_fields_flatten[] = {{"axis", ITP_A_INT, ITP_TO(axis), 1, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gather[] = {{"axis", ITP_A_INT, ITP_TO(axis), 0, 0, 0},
                                                   ITP_NO_FIELD};
static const itp_onnx_field itp_fields_reshape[] = {{"allowzero", ITP_A_OWN, 0, 0, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_axes[] = {{"axes", ITP_A_OWN, 0, 0, 0, 12}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_transpose[] = {{"perm", ITP_A_PERM, ITP_TO(perm), 0, 0, 0},
                                                      ITP_NO_FIELD};
static const itp_onnx_field itp_fields_dropout[] = {
    {"ratio", ITP_A_OWN, 0, 0, 0, 11}, {"seed", ITP_A_SKIP, 0, 0, 0, 0}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_slice[] = {{"starts", ITP_A_OWN, 0, 0, 0, 9},
                                                  {"ends", ITP_A_OWN, 0, 0, 0, 9},
                                                  {"axes", ITP_A_OWN, 0, 0, 0, 9},
                                                  ITP_NO_FIELD};
static const itp_onnx_field itp_fields_mean[] = {{"axes", ITP_A_OWN, 0, 0, 0, 17},
                                                 {"keepdims", ITP_A_OWN, 0, 0, 0, 0},
                                                 {"noop_with_empty_axes", ITP_A_OWN, 0, 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_constant[] = {
    {"value", ITP_A_OWN, 0, 0, 0, 0},        {"value_float", ITP_A_OWN, 0, 0, 0, 0},
    {"value_floats", ITP_A_OWN, 0, 0, 0, 0}, {"value_int", ITP_A_OWN, 0, 0, 0, 0},
    {"value_ints", ITP_A_OWN, 0, 0, 0, 0},   ITP_NO_FIELD};
#define ITP_PLAIN(name, id, inputs, n, fields)                                                     \
    {                                                                                              \
        name, ITP_OP_##id, inputs, n, n, fields, NULL, NULL, NULL, false                           \
    }
static const itp_onnx_row itp_onnx_rows[] = {
    {"Conv", ITP_OP_CONV, "xww", 2, 3, itp_fields_conv, itp_onnx_read_window, NULL,
     itp_onnx_write_window, true},
    {"Gemm", ITP_OP_GEMM, "www", 2, 3, itp_fields_gemm, NULL, NULL, NULL, true},
    {"MatMul", ITP_OP_MATMUL, "ww", 2, 2, itp_fields_none, NULL, NULL, NULL, true},
    {"BatchNormalization", ITP_OP_BATCH_NORM, "xwwss", 5, 5, itp_fields_batch_norm, NULL, NULL,
     NULL, true},
    {"LayerNormalization", ITP_OP_LAYER_NORM, "xww", 2, 3, itp_fields_layer_norm, NULL, NULL, NULL,
     true},
    ITP_PLAIN("Relu", RELU, "x", 1, itp_fields_none),
    ITP_PLAIN("LeakyRelu", LEAKY_RELU, "x", 1, itp_fields_leaky),
    ITP_PLAIN("Elu", ELU, "x", 1, itp_fields_elu),
    ITP_PLAIN("Selu", SELU, "x", 1, itp_fields_selu),
    ITP_PLAIN("Softplus", SOFTPLUS, "x", 1, itp_fields_none),
    ITP_PLAIN("Sigmoid", SIGMOID, "x", 1, itp_fields_none),
    ITP_PLAIN("Tanh", TANH, "x", 1, itp_fields_none),
    {"Swish", ITP_OP_SILU, "x", 1, 1, itp_fields_swish, NULL, NULL, itp_onnx_write_silu, false},
    {"Gelu", ITP_OP_GELU, "x", 1, 1, itp_fields_gelu, itp_onnx_read_gelu, NULL, itp_onnx_write_gelu,
     false},
    {"", ITP_OP_GELU_TANH, "x", 1, 1, itp_fields_none, NULL, NULL, itp_onnx_write_gelu_tanh, false},
    ITP_PLAIN("HardSwish", HARD_SWISH, "x", 1, itp_fields_none),
    ITP_PLAIN("HardSigmoid", HARD_SIGMOID, "x", 1, itp_fields_hard_sigmoid),
    ITP_PLAIN("Exp", EXP, "x", 1, itp_fields_none),
    ITP_PLAIN("Log", LOG, "x", 1, itp_fields_none),
    ITP_PLAIN("Sqrt", SQRT, "x", 1, itp_fields_none),
    ITP_PLAIN("Erf", ERF, "x", 1, itp_fields_none),
    ITP_PLAIN("Neg", NEG, "x", 1, itp_fields_none),
    ITP_PLAIN("Abs", ABS, "x", 1, itp_fields_none),
    ITP_PLAIN("Reciprocal", RECIPROCAL, "x", 1, itp_fields_none),
    {"Clip", ITP_OP_CLIP, "xk", 1, 3, itp_fields_clip, itp_onnx_read_clip, NULL,
     itp_onnx_write_clip, false},
    {"", ITP_OP_SQUARE, "x", 1, 1, itp_fields_none, NULL, NULL, itp_onnx_write_square, false},
    {"Softmax", ITP_OP_SOFTMAX, "x", 1, 1, itp_fields_softmax, itp_onnx_read_softmax, NULL, NULL,
     false},
    {"LogSoftmax", ITP_OP_LOG_SOFTMAX, "x", 1, 1, itp_fields_softmax, itp_onnx_read_softmax, NULL,
     NULL, false},
    {"MaxPool", ITP_OP_MAX_POOL, "x", 1, 1, itp_fields_max_pool, itp_onnx_read_window, NULL,
     itp_onnx_write_window, false},
    {"AveragePool", ITP_OP_AVERAGE_POOL, "x", 1, 1, itp_fields_average_pool, itp_onnx_read_window,
     NULL, itp_onnx_write_window, false},
    ITP_PLAIN("GlobalAveragePool", GLOBAL_AVERAGE_POOL, "x", 1, itp_fields_none),
    ITP_PLAIN("GlobalMaxPool", GLOBAL_MAX_POOL, "x", 1, itp_fields_none),
    {"Add", ITP_OP_ADD, "oo", 2, 2, itp_fields_none, NULL, NULL, NULL, false},
    ITP_PLAIN("Sub", SUB, "xx", 2, itp_fields_none),
    {"Mul", ITP_OP_MUL, "oo", 2, 2, itp_fields_none, itp_onnx_read_mul, NULL, NULL, false},
    ITP_PLAIN("Div", DIV, "xx", 2, itp_fields_none),
    {"Concat", ITP_OP_CONCAT, "x", 1, ITP_MAX_INPUTS, itp_fields_concat, NULL, NULL, NULL, false},
    {"Reshape", ITP_OP_RESHAPE, "xk", 2, 2, itp_fields_reshape, itp_onnx_read_view,
     itp_onnx_view_reshape, itp_onnx_write_reshape, false},
    {"Flatten", ITP_OP_FLATTEN, "x", 1, 1, itp_fields_flatten, NULL, itp_onnx_view_flatten, NULL,
     false},
    {"Identity", ITP_OP_IDENTITY, "x", 1, 1, itp_fields_none, NULL, itp_onnx_view_same, NULL,
     false},
    ITP_PLAIN("Transpose", TRANSPOSE, "x", 1, itp_fields_transpose),
    {"Dropout", ITP_OP_DROPOUT, "xk", 1, 3, itp_fields_dropout, itp_onnx_read_dropout, NULL,
     itp_onnx_write_dropout, false},
    {"Slice", ITP_OP_SLICE, "xk", 1, 5, itp_fields_slice, itp_onnx_read_slice, NULL,
     itp_onnx_write_slice, false},
    {"Gather", -1, "xk", 2, 2, itp_fields_gather, itp_onnx_read_gather, NULL, NULL, false},
    {"Squeeze", -1, "xk", 1, 2, itp_fields_axes, itp_onnx_read_view, itp_onnx_view_squeeze, NULL,
     false},
    {"Unsqueeze", -1, "xk", 1, 2, itp_fields_axes, itp_onnx_read_view, itp_onnx_view_unsqueeze,
     NULL, false},
    {"Sum", -1, "x", 1, ITP_MAX_INPUTS, itp_fields_none, itp_onnx_read_sum, NULL, NULL, false},
    {"Pow", -1, "xk", 2, 2, itp_fields_none, itp_onnx_read_pow, NULL, NULL, false},
    {"ReduceMean", -1, "xk", 1, 2, itp_fields_mean, itp_onnx_read_mean, NULL, NULL, false},
    {"Constant", -1, "k", 0, 0, itp_fields_constant, NULL, NULL, NULL, false},
    {"ConstantOfShape", -1, "k", 1, 1, itp_fields_constant, NULL, NULL, NULL, false},
    {NULL, -1, NULL, 0, 0, NULL, NULL, NULL, NULL, false}};
#undef ITP_PLAIN

#undef ITP_TO
#undef ITP_NO_FIELD

/* The row of an op_type, NULL for none. */
ITP_FN const itp_onnx_row *itp_onnx_row_named(itp_slice op)
{
    if (!op.n) return NULL;
    for (const itp_onnx_row *row = itp_onnx_rows; row->name; row++)
        if (itp_slice_is(op, row->name)) return row;
    return NULL;
}

/* The row that writes an op of ours. */
ITP_FN const itp_onnx_row *itp_onnx_row_of(int op)
{
    const itp_onnx_row *row = itp_onnx_rows;
    while (row->name && row->op != op) row++;
    return row->name ? row : NULL;
}

ITP_FN char itp_onnx_input_kind(const itp_onnx_row *row, int i)
{
    const int last = (int)strlen(row->inputs) - 1;
    return row->inputs[itp_min(i, last)];
}

/* ---- where attributes lie in itp_attrs */

ITP_FN void *itp_onnx_place(itp_attrs *a, const itp_onnx_field *f)
{
    return (char *)a + f->offset;
}

/* How many whole numbers a field holds; 0 for those that hold none. */
ITP_FN int itp_onnx_field_ints(const itp_onnx_field *f, int rank)
{
    switch (f->kind) {
    case ITP_A_INT: return 1;
    case ITP_A_PAIR: return 2;
    case ITP_A_PADS: return 4;
    case ITP_A_PERM: return rank;
    default: return 0;
    }
}

ITP_FN void itp_onnx_set_default(itp_attrs *a, const itp_onnx_field *f)
{
    void *to = itp_onnx_place(a, f);
    const int n = f->kind == ITP_A_PERM ? 0 : itp_onnx_field_ints(f, 0);
    for (int i = 0; i < n; i++) ((int *)to)[i] = (int)f->value;
    if (f->kind == ITP_A_BOOL) *(bool *)to = f->value != 0;
    if (f->kind == ITP_A_FLOAT) *(float *)to = (float)f->value;
}

/* Shapes of all values at another batch size, into an array of n_values; false when they do not
   fit, which is an answer and no error. */
ITP_FN bool itp_onnx_shapes(const interp_net *net, int batch, interp_shape *shapes)
{
    char error[ITP_ERROR_BYTES];
    const interp_status before = net->ctx->status;
    memcpy(error, net->ctx->error, sizeof error);
    bool fits = true;
    for (int i = 0; i < net->n_values; i++) shapes[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++) {
        interp_shape *s = &shapes[net->inputs[i]];
        s->dim[0] = batch;
        fits = fits && interp_shape_size(s) <= (size_t)INT_MAX;
    }
    for (int i = 0; i < net->n_nodes && fits; i++)
        fits = !itp_node_shape(net->ctx, net, &net->nodes[i], shapes, &shapes[net->nodes[i].out]);
    net->ctx->status = before;
    memcpy(net->ctx->error, error, sizeof error);
    return fits;
}

/* ---- sentences */

/* "Conv \"conv1\"", or "Conv \"Conv_3\"" for the fourth node without a name. */
ITP_FN const char *itp_onnx_label(const itp_onnx_node *n, char out[256])
{
    if (n->name.n) snprintf(out, 256, "%.*s \"%.*s\"", ITP_SHOW(n->op), ITP_SHOW(n->name));
    else snprintf(out, 256, "%.*s \"%.*s_%d\"", ITP_SHOW(n->op), ITP_SHOW(n->op), n->index);
    return out;
}

ITP_FN interp_status itp_onnx_fail(const itp_onnx *r, interp_status status, const itp_onnx_node *n,
                                   const char *format, ...) INTERP_PRINTF(4, 5);
ITP_FN interp_status itp_onnx_fail(const itp_onnx *r, interp_status status, const itp_onnx_node *n,
                                   const char *format, ...)
{
    char label[256], text[ITP_ERROR_BYTES / 2];
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format, args);
    va_end(args);
    return itp_fail(r->ctx, status, "%s (opset %lld): %s", itp_onnx_label(n, label),
                    (long long)r->opset, text);
}

/* ---- attributes */

enum { /* AttributeProto.AttributeType */
       ITP_ATTR_FLOAT = 1,
       ITP_ATTR_INT = 2,
       ITP_ATTR_STRING = 3,
       ITP_ATTR_TENSOR = 4,
       ITP_ATTR_FLOATS = 6,
       ITP_ATTR_INTS = 7
};

ITP_FN const itp_onnx_attr *itp_onnx_attr_of(const itp_onnx *r, const itp_onnx_node *n,
                                             const char *name)
{
    for (int i = n->attr; i < n->attr + n->n_attr; i++)
        if (itp_slice_is(r->attrs[i].name, name)) return &r->attrs[i];
    return NULL;
}

ITP_FN interp_status itp_onnx_want(const itp_onnx *r, const itp_onnx_node *n,
                                   const itp_onnx_attr *a, int type, bool there)
{
    if (there && (a->type == type || a->type == 0)) return INTERP_OK;
    return itp_onnx_fail(r, INTERP_FORMAT, n, "attribute \"%.*s\" is not of the type it must have",
                         ITP_SHOW(a->name));
}

/* A whole number; *out stays when there is none. */
ITP_FN interp_status itp_onnx_int(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                  int *out)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_INT, a->has_i));
    if (a->i > INT_MAX || a->i < INT_MIN)
        return itp_onnx_fail(r, INTERP_FORMAT, n, "attribute \"%s\" is %lld", name,
                             (long long)a->i);
    *out = (int)a->i;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_float(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                    double *out)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_FLOAT, a->has_f));
    *out = (double)itp_f32_of_bits(a->f);
    return INTERP_OK;
}

/* Up to `most` whole numbers; *count is -1 when there is no such attribute. */
ITP_FN interp_status itp_onnx_ints(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                   int64_t *out, int most, int *count)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    *count = -1;
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_INTS, true));
    itp_pb_numbers it = itp_pb_numbers_of(a->message, 8, ITP_VARINT);
    uint64_t bits;
    for (*count = 0; itp_pb_number(&it, &bits); ++*count) {
        if (*count == most)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                                 "attribute \"%s\" has more than %d numbers", name, most);
        out[*count] = (int64_t)bits;
    }
    if (it.message.bad) return itp_onnx_fail(r, INTERP_FORMAT, n, "\"%s\" is damaged", name);
    return INTERP_OK;
}

/* One attribute of the file into its place. */
ITP_FN interp_status itp_onnx_attr_set(const itp_onnx *r, const itp_onnx_node *n,
                                       const itp_onnx_field *f, int rank, itp_attrs *a)
{
    void *to = itp_onnx_place(a, f);
    const int want = itp_onnx_field_ints(f, rank);
    int64_t list[INTERP_MAX_RANK];
    double real = f->value;
    int count = 1, whole = 0;
    const itp_onnx_attr *from = itp_onnx_attr_of(r, n, f->name);
    switch (f->kind) {
    case ITP_A_INT: return itp_onnx_int(r, n, f->name, (int *)to);
    case ITP_A_BOOL:
        ITP_TRY(itp_onnx_int(r, n, f->name, &whole));
        *(bool *)to = whole != 0;
        return INTERP_OK;
    case ITP_A_FLOAT:
        ITP_TRY(itp_onnx_float(r, n, f->name, &real));
        *(float *)to = (float)real;
        return INTERP_OK;
    case ITP_A_MUST:
        if (from->has_i) real = (double)from->i;
        else ITP_TRY(itp_onnx_float(r, n, f->name, &real));
        if (fabs(real - f->value) <= 1e-6) return INTERP_OK;
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s %g is not supported, only %g", f->name,
                             real, f->value);
    case ITP_A_PAIR:
    case ITP_A_PADS:
    case ITP_A_PERM: break;
    case ITP_A_OWN:
    case ITP_A_SKIP: return INTERP_OK;
    }
    ITP_TRY(itp_onnx_ints(r, n, f->name, list, INTERP_MAX_RANK, &count));
    if (count != want)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s has %d numbers; only %d are supported",
                             f->name, count, want);
    for (int i = 0; i < count; i++) {
        if (list[i] < 0 || list[i] > INT_MAX)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s has %lld in it", f->name,
                                 (long long)list[i]);
        ((int *)to)[i] = (int)list[i];
    }
    return INTERP_OK;
}

/* All attributes as the row wants them; `rank` is that of the first input. */
ITP_FN interp_status itp_onnx_attrs(const itp_onnx *r, const itp_onnx_node *n, int rank,
                                    itp_attrs *a)
{
    memset(a, 0, sizeof *a);
    for (const itp_onnx_field *f = n->row->fields; f->name; f++) itp_onnx_set_default(a, f);
    for (int i = 0; i < rank; i++) a->perm[i] = rank - 1 - i;
    for (const itp_onnx_field *f = n->row->fields; f->name; f++)
        if (itp_onnx_attr_of(r, n, f->name)) ITP_TRY(itp_onnx_attr_set(r, n, f, rank, a));
    return INTERP_OK;
}

/* ---- numbers known while loading */

/* The symbol of input i, -1 when it is left out. */
ITP_FN int itp_onnx_in(const itp_onnx *r, const itp_onnx_node *n, int i)
{
    return i < n->n_in ? r->links[n->in + i] : -1;
}

ITP_FN bool itp_onnx_is_whole(const itp_onnx *r, int symbol)
{
    const int type = r->tensors[r->symbols[symbol].tensor].type;
    return type == ITP_ONNX_INT64 || type == 6;
}

ITP_FN bool itp_onnx_is_float(const itp_onnx *r, int symbol)
{
    const itp_onnx_type *type = itp_onnx_type_row(r->tensors[r->symbols[symbol].tensor].type);
    return type && type->dtype <= INTERP_BFLOAT16;
}

ITP_FN interp_status itp_onnx_unknown(const itp_onnx *r, const itp_onnx_node *n, int symbol)
{
    return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                         "\"%.*s\" is computed, but must be a constant of the right type",
                         ITP_SHOW(r->symbols[symbol].name));
}

/* The whole numbers of input i, at most `most`; *count is -1 when it is left out. */
ITP_FN interp_status itp_onnx_list(const itp_onnx *r, const itp_onnx_node *n, int i, int64_t *out,
                                   int most, int *count)
{
    const int symbol = itp_onnx_in(r, n, i);
    *count = -1;
    if (symbol < 0) return INTERP_OK;
    const itp_symbol *s = &r->symbols[symbol];
    if (s->tensor < 0 || !itp_onnx_is_whole(r, symbol)) return itp_onnx_unknown(r, n, symbol);
    const size_t size = interp_shape_size(&s->shape);
    if (s->shape.rank > 1 || size > (size_t)most)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "\"%.*s\" has %zu numbers; at most %d do",
                             ITP_SHOW(s->name), size, most);
    *count = (int)size;
    itp_onnx_whole(&r->tensors[s->tensor], out, size);
    return INTERP_OK;
}

/* A list that was an attribute up to opset `until` and is input i since. */
ITP_FN interp_status itp_onnx_either(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                     int until, int i, int64_t *out, int *count)
{
    if (r->opset <= until) return itp_onnx_ints(r, n, name, out, INTERP_MAX_RANK, count);
    return itp_onnx_list(r, n, i, out, INTERP_MAX_RANK, count);
}

/* The one number of a known symbol; false when there is another number of them. */
ITP_FN bool itp_onnx_scalar(const itp_onnx *r, int symbol, double *out)
{
    const itp_symbol *s = &r->symbols[symbol];
    float x;
    if (s->tensor < 0 || interp_shape_size(&s->shape) != 1) return false;
    if (!itp_onnx_type_row(r->tensors[s->tensor].type)) return false;
    itp_onnx_floats(&r->tensors[s->tensor], &x);
    *out = (double)x;
    return true;
}

/* The one number of input i; *out stays when it is left out. */
ITP_FN interp_status itp_onnx_scalar_in(const itp_onnx *r, const itp_onnx_node *n, int i,
                                        double *out)
{
    const int symbol = itp_onnx_in(r, n, i);
    if (symbol < 0 || itp_onnx_scalar(r, symbol, out)) return INTERP_OK;
    return itp_onnx_unknown(r, n, symbol);
}

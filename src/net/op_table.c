/* ---- net/op_table.c: every op, one row each ---------------------------------------------------- */

/* Id, ONNX name, shape, forward, backward, need, macs, kind, flags. An elementwise row's kind is its
   kernel; for pools and softmax it tells average from max, and the logarithm from the plain one. */
#define ITP_X  ITP_NEEDS_X
#define ITP_Y  ITP_NEEDS_Y
#define ITP_IP ITP_IN_PLACE
#define ITP_UNARY_ROW(X, id, name, flags)                                                          \
    X(id, name, itp_shape_same, itp_forward_unary, itp_backward_unary, NULL, NULL, ITP_##id, flags)

#define ITP_OPS(X)                                                                                 \
    X(CONV, "Conv", itp_shape_conv, itp_forward_conv, itp_backward_conv, itp_need_conv,            \
      itp_macs_conv, 0, ITP_X)                                                                     \
    X(GEMM, "Gemm", itp_shape_dense, itp_forward_dense, itp_backward_dense, itp_need_dense,        \
      itp_macs_dense, 0, ITP_X)                                                                    \
    X(MATMUL, "MatMul", itp_shape_matmul, itp_forward_matmul, itp_backward_matmul,                 \
      itp_need_matmul, itp_macs_matmul, 0, ITP_X)                                                  \
    X(BATCH_NORM, "BatchNormalization", itp_shape_batch_norm, itp_forward_bn, itp_backward_bn,     \
      itp_need_bn, NULL, 0, ITP_X)                                                                 \
    X(LAYER_NORM, "LayerNormalization", itp_shape_layer_norm, itp_forward_ln, itp_backward_ln,     \
      itp_need_ln, NULL, 0, ITP_X)                                                                 \
    ITP_UNARY_ROW(X, RELU, "Relu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, LEAKY_RELU, "LeakyRelu", ITP_X)                                               \
    ITP_UNARY_ROW(X, ELU, "Elu", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, SELU, "Selu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SOFTPLUS, "Softplus", ITP_X)                                                  \
    ITP_UNARY_ROW(X, SIGMOID, "Sigmoid", ITP_Y | ITP_IP)                                           \
    ITP_UNARY_ROW(X, TANH, "Tanh", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SILU, "Swish", ITP_X)                                                         \
    ITP_UNARY_ROW(X, GELU, "Gelu", ITP_X)                                                          \
    ITP_UNARY_ROW(X, GELU_TANH, "GeluTanh", ITP_X)                                                 \
    ITP_UNARY_ROW(X, HARD_SWISH, "HardSwish", ITP_X)                                               \
    ITP_UNARY_ROW(X, HARD_SIGMOID, "HardSigmoid", ITP_Y | ITP_IP)                                  \
    ITP_UNARY_ROW(X, EXP, "Exp", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, LOG, "Log", ITP_X)                                                            \
    ITP_UNARY_ROW(X, SQRT, "Sqrt", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, ERF, "Erf", ITP_X)                                                            \
    ITP_UNARY_ROW(X, NEG, "Neg", ITP_IP)                                                           \
    ITP_UNARY_ROW(X, ABS, "Abs", ITP_X)                                                            \
    ITP_UNARY_ROW(X, RECIPROCAL, "Reciprocal", ITP_Y | ITP_IP)                                     \
    ITP_UNARY_ROW(X, CLIP, "Clip", ITP_X)                                                          \
    ITP_UNARY_ROW(X, SQUARE, "Square", ITP_X)                                                      \
    X(SOFTMAX, "Softmax", itp_shape_axis, itp_forward_softmax, itp_backward_softmax,               \
      itp_need_softmax, NULL, 0, ITP_Y | ITP_IP)                                                   \
    X(LOG_SOFTMAX, "LogSoftmax", itp_shape_axis, itp_forward_softmax, itp_backward_softmax,        \
      itp_need_softmax, NULL, 1, ITP_Y | ITP_IP)                                                   \
    X(MAX_POOL, "MaxPool", itp_shape_window, itp_forward_pool, itp_backward_pool, itp_need_pool,   \
      NULL, 0, ITP_X)                                                                              \
    X(AVERAGE_POOL, "AveragePool", itp_shape_window, itp_forward_pool, itp_backward_pool,          \
      itp_need_pool, NULL, 1, 0)                                                                   \
    X(GLOBAL_AVERAGE_POOL, "GlobalAveragePool", itp_shape_global_pool, itp_forward_global,         \
      itp_backward_global, NULL, NULL, 1, 0)                                                       \
    X(GLOBAL_MAX_POOL, "GlobalMaxPool", itp_shape_global_pool, itp_forward_global,                 \
      itp_backward_global, NULL, NULL, 0, ITP_X)                                                   \
    X(ADD, "Add", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_ADD,  \
      0)                                                                                           \
    X(SUB, "Sub", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_SUB,  \
      0)                                                                                           \
    X(MUL, "Mul", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_MUL,  \
      ITP_X)                                                                                       \
    X(DIV, "Div", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_DIV,  \
      ITP_X | ITP_Y)                                                                               \
    X(CONCAT, "Concat", itp_shape_concat, itp_forward_concat, itp_backward_concat, NULL, NULL, 0,  \
      0)                                                                                           \
    X(RESHAPE, "Reshape", itp_shape_reshape, itp_forward_alias, itp_backward_alias, NULL, NULL, 0, \
      ITP_ALIAS)                                                                                   \
    X(FLATTEN, "Flatten", itp_shape_flatten, itp_forward_alias, itp_backward_alias, NULL, NULL, 0, \
      ITP_ALIAS)                                                                                   \
    X(IDENTITY, "Identity", itp_shape_same, itp_forward_alias, itp_backward_alias, NULL, NULL, 0,  \
      ITP_ALIAS)                                                                                   \
    X(TRANSPOSE, "Transpose", itp_shape_transpose, itp_forward_transpose, itp_backward_transpose,  \
      NULL, NULL, 0, 0)                                                                            \
    X(DROPOUT, "Dropout", itp_shape_same, itp_forward_dropout, itp_backward_dropout,               \
      itp_need_dropout, NULL, 0, ITP_ALIAS_IN_EVAL)                                                \
    X(SLICE, "Slice", itp_shape_slice, itp_forward_slice, itp_backward_slice, NULL, NULL, 0, 0)

enum {
#define ITP_OP_ID(id, name, shape, forward, backward, need, macs, kind, flags) ITP_OP_##id,
    ITP_OPS(ITP_OP_ID)
#undef ITP_OP_ID
        ITP_OP_COUNT
};

static const itp_op itp_op_table[] = {
#define ITP_OP_ROW(id, name, shape, forward, backward, need, macs, kind, flags)                    \
    {name, shape, forward, need, macs, kind, flags},
    ITP_OPS(ITP_OP_ROW)
#undef ITP_OP_ROW
};

/* Apart from the rows: a program that never calls interp_backward then links none of them. */
static void (*const itp_backward_table[])(interp_workspace *w, int node) = {
#define ITP_OP_BACKWARD(id, name, shape, forward, backward, need, macs, kind, flags) backward,
    ITP_OPS(ITP_OP_BACKWARD)
#undef ITP_OP_BACKWARD
};

#undef ITP_X
#undef ITP_Y
#undef ITP_IP

ITP_FN const itp_op *itp_op_row(int op)
{
    return &itp_op_table[op];
}

ITP_FN void itp_op_backward(interp_workspace *w, int node)
{
    itp_backward_table[w->net->nodes[node].op](w, node);
}

/* ---- net/op_table.c: every op, one row each ---------------------------------------------------- */

/* Id, ONNX name, shape, forward, backward, need, macs, kind, flags. An elementwise row's kind is its
   kernel; for pools and softmax it tells average from max, and the logarithm from the plain one. */
#define ITP_X  ITP_NEEDS_X
#define ITP_Y  ITP_NEEDS_Y
#define ITP_IP ITP_IN_PLACE
#define ITP_UNARY_ROW(X, id, name, flags)                                                          \
    X(id, name, itp_shape_same, itp_forward_unary, itp_backward_unary, NULL, NULL, ITP_##id, flags)
#define ITP_STEP_ROW(X, id, name)                                                                  \
    X(id, name, itp_shape_same, itp_forward_math, NULL, NULL, NULL, ITP_F_##id,                    \
      ITP_NO_GRAD | ITP_IP)
#define ITP_ROUND_ROW(X, id,                                                                       \
                      name) /* gradients go straight through, as where nets are quantised */       \
    X(id, name, itp_shape_same, itp_forward_math, itp_backward_alias, NULL, NULL, ITP_F_##id,      \
      ITP_IP)
#define ITP_CURVE_ROW(X, id, name)                                                                 \
    X(id, name, itp_shape_same, itp_forward_math, itp_backward_math, NULL, NULL, ITP_F_##id, ITP_X)
#define ITP_PAIR_ROW(X, id, name)                                                                  \
    X(id, name, itp_shape_binary, itp_forward_math_pair, itp_backward_math_pair, NULL, NULL,       \
      ITP_F_##id, ITP_X)
#define ITP_TEST_ROW(X, id, name)                                                                  \
    X(id, name, itp_shape_binary, itp_forward_math_pair, NULL, NULL, NULL, ITP_F_##id, ITP_NO_GRAD)
#define ITP_REDUCE_ROW(X, id, name, kind, flags)                                                   \
    X(id, name, itp_shape_reduce, itp_forward_reduce, itp_backward_reduce, NULL, NULL, kind, flags)

/* What networks built here and most others are made of. */
#define ITP_USUAL_OPS(X)                                                                           \
    X(CONV, "Conv", itp_shape_conv, itp_forward_conv, itp_backward_conv, itp_need_conv,            \
      itp_macs_conv, 0, ITP_X | ITP_BACK_OTHERS)                                                   \
    X(GEMM, "Gemm", itp_shape_dense, itp_forward_dense, itp_backward_dense, itp_need_dense,        \
      itp_macs_dense, 0, ITP_X | ITP_BACK_OTHERS)                                                  \
    X(MATMUL, "MatMul", itp_shape_matmul, itp_forward_matmul, itp_backward_matmul,                 \
      itp_need_matmul, itp_macs_matmul, 0, ITP_X | ITP_BACK_OTHERS)                                \
    X(BATCH_NORM, "BatchNormalization", itp_shape_batch_norm, itp_forward_bn, itp_backward_bn,     \
      itp_need_bn, NULL, 0, ITP_X | ITP_BACK_OTHERS_IN_EVAL)                                       \
    X(LAYER_NORM, "LayerNormalization", itp_shape_layer_norm, itp_forward_ln, itp_backward_ln,     \
      itp_need_ln, NULL, 0, ITP_X)                                                                 \
    ITP_UNARY_ROW(X, RELU, "Relu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, LEAKY_RELU, "LeakyRelu", ITP_X | ITP_IP)                                      \
    ITP_UNARY_ROW(X, ELU, "Elu", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, SELU, "Selu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SOFTPLUS, "Softplus", ITP_X | ITP_IP)                                         \
    ITP_UNARY_ROW(X, SIGMOID, "Sigmoid", ITP_Y | ITP_IP)                                           \
    ITP_UNARY_ROW(X, TANH, "Tanh", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SILU, "Swish", ITP_X | ITP_IP)                                                \
    ITP_UNARY_ROW(X, GELU, "Gelu", ITP_X | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, GELU_TANH, "GeluTanh", ITP_X | ITP_IP)                                        \
    ITP_UNARY_ROW(X, HARD_SWISH, "HardSwish", ITP_X | ITP_IP)                                      \
    ITP_UNARY_ROW(X, HARD_SIGMOID, "HardSigmoid", ITP_Y | ITP_IP)                                  \
    ITP_UNARY_ROW(X, EXP, "Exp", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, LOG, "Log", ITP_X | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, SQRT, "Sqrt", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, ERF, "Erf", ITP_X | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, NEG, "Neg", ITP_IP)                                                           \
    ITP_UNARY_ROW(X, ABS, "Abs", ITP_X | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, RECIPROCAL, "Reciprocal", ITP_Y | ITP_IP)                                     \
    ITP_UNARY_ROW(X, CLIP, "Clip", ITP_X | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SQUARE, "Square", ITP_X | ITP_IP)                                             \
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
      ITP_X | ITP_BACK_OTHERS)                                                                     \
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
    X(SLICE, "Slice", itp_shape_slice, itp_forward_slice, itp_backward_slice, NULL, NULL, 0, 0)    \
    ITP_REDUCE_ROW(X, REDUCE_SUM, "ReduceSum", ITP_TOTAL, 0)                                       \
    ITP_REDUCE_ROW(X, REDUCE_MEAN, "ReduceMean", ITP_MEAN, 0)                                      \
    X(FILL, "ConstantOfShape", itp_shape_same, itp_forward_fill, NULL, NULL, NULL, 0,              \
      ITP_NO_GRAD | ITP_IP)                                                                        \
    X(INDEX, "Index", itp_shape_index, itp_forward_pick, itp_backward_pick, NULL, NULL, 0,         \
      ITP_NO_GRAD_1)                                                                               \
    X(PATCH, "Patch", itp_shape_patch, itp_forward_patch, NULL, NULL, NULL, 0, ITP_NO_GRAD)

/* What INTERP_NO_RARE_OPS leaves out. */
#define ITP_RARE_OPS(X)                                                                            \
    ITP_STEP_ROW(X, CEIL, "Ceil")                                                                  \
    ITP_STEP_ROW(X, FLOOR, "Floor")                                                                \
    ITP_ROUND_ROW(X, ROUND, "Round")                                                               \
    ITP_STEP_ROW(X, TRUNC, "Trunc")                                                                \
    ITP_STEP_ROW(X, SIGN, "Sign")                                                                  \
    ITP_STEP_ROW(X, NOT, "Not")                                                                    \
    ITP_STEP_ROW(X, TO_BOOL, "ToBool")                                                             \
    ITP_ROUND_ROW(X, ROUND_TO, "RoundTo")                                                          \
    ITP_STEP_ROW(X, IS_NAN, "IsNaN")                                                               \
    ITP_STEP_ROW(X, IS_INF, "IsInf")                                                               \
    ITP_CURVE_ROW(X, SIN, "Sin")                                                                   \
    ITP_CURVE_ROW(X, COS, "Cos")                                                                   \
    ITP_CURVE_ROW(X, TAN, "Tan")                                                                   \
    ITP_CURVE_ROW(X, ASIN, "Asin")                                                                 \
    ITP_CURVE_ROW(X, ACOS, "Acos")                                                                 \
    ITP_CURVE_ROW(X, ATAN, "Atan")                                                                 \
    ITP_CURVE_ROW(X, SINH, "Sinh")                                                                 \
    ITP_CURVE_ROW(X, COSH, "Cosh")                                                                 \
    ITP_CURVE_ROW(X, ASINH, "Asinh")                                                               \
    ITP_CURVE_ROW(X, ACOSH, "Acosh")                                                               \
    ITP_CURVE_ROW(X, ATANH, "Atanh")                                                               \
    ITP_CURVE_ROW(X, CELU, "Celu")                                                                 \
    ITP_CURVE_ROW(X, SOFTSIGN, "Softsign")                                                         \
    ITP_CURVE_ROW(X, THRESHOLDED_RELU, "ThresholdedRelu")                                          \
    ITP_CURVE_ROW(X, MISH, "Mish")                                                                 \
    ITP_CURVE_ROW(X, SHRINK, "Shrink")                                                             \
    ITP_PAIR_ROW(X, POW, "Pow")                                                                    \
    ITP_PAIR_ROW(X, MAX, "Max")                                                                    \
    ITP_PAIR_ROW(X, MIN, "Min")                                                                    \
    X(PRELU, "PRelu", itp_shape_onto, itp_forward_math_pair, itp_backward_math_pair, NULL, NULL,   \
      ITP_F_PRELU, ITP_X)                                                                          \
    ITP_TEST_ROW(X, MOD, "Mod")                                                                    \
    ITP_TEST_ROW(X, INT_DIV, "IntDiv")                                                             \
    ITP_TEST_ROW(X, EQUAL, "Equal")                                                                \
    ITP_TEST_ROW(X, LESS, "Less")                                                                  \
    ITP_TEST_ROW(X, GREATER, "Greater")                                                            \
    ITP_TEST_ROW(X, LESS_EQUAL, "LessOrEqual")                                                     \
    ITP_TEST_ROW(X, GREATER_EQUAL, "GreaterOrEqual")                                               \
    ITP_TEST_ROW(X, AND, "And")                                                                    \
    ITP_TEST_ROW(X, OR, "Or")                                                                      \
    ITP_TEST_ROW(X, XOR, "Xor")                                                                    \
    X(WHERE, "Where", itp_shape_where, itp_forward_where, itp_backward_where, NULL, NULL, 0,       \
      ITP_X | ITP_NO_GRAD_0)                                                                       \
    ITP_REDUCE_ROW(X, REDUCE_MAX, "ReduceMax", ITP_MOST, ITP_X | ITP_Y)                            \
    ITP_REDUCE_ROW(X, REDUCE_MIN, "ReduceMin", ITP_LEAST, ITP_X | ITP_Y)                           \
    ITP_REDUCE_ROW(X, REDUCE_PROD, "ReduceProd", ITP_PRODUCT, ITP_X)                               \
    ITP_REDUCE_ROW(X, REDUCE_LOG_SUM_EXP, "ReduceLogSumExp", ITP_LOG_SUM_EXP, ITP_X | ITP_Y)       \
    X(CONV_TRANSPOSE, "ConvTranspose", itp_shape_deconv, itp_forward_deconv, itp_backward_deconv,  \
      itp_need_deconv, itp_macs_deconv, 0, ITP_X | ITP_BACK_OTHERS)                                \
    X(LRN, "LRN", itp_shape_lrn, itp_forward_lrn, itp_backward_lrn, itp_need_lrn, NULL, 0, ITP_X)  \
    X(MAX_POOL_INDICES, "MaxPoolIndices", itp_shape_window, itp_forward_pool_indices, NULL, NULL,  \
      NULL, 0, ITP_NO_GRAD)                                                                        \
    X(MAX_UNPOOL, "MaxUnpool", itp_shape_unpool, itp_forward_unpool, itp_backward_unpool, NULL,    \
      NULL, 0, ITP_X | ITP_NO_GRAD_1)                                                              \
    X(ARG_MAX, "ArgMax", itp_shape_arg, itp_forward_arg, NULL, NULL, NULL, ITP_ARG_MAX,            \
      ITP_NO_GRAD)                                                                                 \
    X(ARG_MIN, "ArgMin", itp_shape_arg, itp_forward_arg, NULL, NULL, NULL, ITP_ARG_MIN,            \
      ITP_NO_GRAD)                                                                                 \
    X(HARDMAX, "Hardmax", itp_shape_axis, itp_forward_arg, NULL, NULL, NULL, ITP_HARD_MAX,         \
      ITP_NO_GRAD)                                                                                 \
    X(CUM_SUM, "CumSum", itp_shape_axis, itp_forward_cum_sum, itp_backward_cum_sum, NULL, NULL, 0, \
      0)                                                                                           \
    X(TOP_K_VALUES, "TopK", itp_shape_top, itp_forward_top, itp_backward_top, itp_need_top, NULL,  \
      ITP_TOP_VALUES, ITP_X)                                                                       \
    X(TOP_K_INDICES, "TopKIndices", itp_shape_top, itp_forward_top, NULL, itp_need_top, NULL,      \
      ITP_TOP_INDICES, ITP_NO_GRAD)                                                                \
    X(ONE_HOT, "OneHot", itp_shape_one_hot, itp_forward_one_hot, NULL, NULL, NULL, 0, ITP_NO_GRAD) \
    X(GATHER, "Gather", itp_shape_gather, itp_forward_pick, itp_backward_pick, NULL, NULL, 1,      \
      ITP_X | ITP_NO_GRAD_1)                                                                       \
    X(GATHER_ELEMENTS, "GatherElements", itp_shape_elements, itp_forward_take, itp_backward_take,  \
      NULL, NULL, 0, ITP_X | ITP_NO_GRAD_1)                                                        \
    X(GATHER_ND, "GatherND", itp_shape_slices, itp_forward_take, itp_backward_take, NULL, NULL, 1, \
      ITP_X | ITP_NO_GRAD_1)                                                                       \
    X(SCATTER_ELEMENTS, "ScatterElements", itp_shape_put, itp_forward_put, itp_backward_put,       \
      itp_need_put, NULL, 0, ITP_X | ITP_NO_GRAD_1)                                                \
    X(SCATTER_ND, "ScatterND", itp_shape_put, itp_forward_put, itp_backward_put, itp_need_put,     \
      NULL, 1, ITP_X | ITP_NO_GRAD_1)                                                              \
    X(SCATTER_ELEMENTS_FOLD, "ScatterElements", itp_shape_put, itp_forward_put, NULL, NULL, NULL,  \
      0, ITP_NO_GRAD)                                                                              \
    X(SCATTER_ND_FOLD, "ScatterND", itp_shape_put, itp_forward_put, NULL, NULL, NULL, 1,           \
      ITP_NO_GRAD)                                                                                 \
    X(RESIZE_AXIS, "Resize", itp_shape_resize_axis, itp_forward_resize_axis,                       \
      itp_backward_resize_axis, NULL, NULL, 0, ITP_NO_GRAD_1)

#define ITP_OPS(X)                                                                                 \
    ITP_USUAL_OPS(X)                                                                               \
    ITP_RARE_OPS(X)

enum {
#define ITP_OP_ID(id, name, shape, forward, backward, need, macs, kind, flags) ITP_OP_##id,
    ITP_OPS(ITP_OP_ID)
#undef ITP_OP_ID
        ITP_OP_COUNT
};

#if defined(                                                                                       \
    INTERP_NO_RARE_OPS) /* they come last, so that rows are found by their number all the same */
#define ITP_LINKED_OPS(X) ITP_USUAL_OPS(X)
#else
#define ITP_LINKED_OPS(X) ITP_OPS(X)
#endif

static const itp_op itp_op_table[] = {
#define ITP_OP_ROW(id, name, shape, forward, backward, need, macs, kind, flags)                    \
    {name, shape, forward, need, macs, kind, flags},
    ITP_LINKED_OPS(ITP_OP_ROW)
#undef ITP_OP_ROW
};

/* Apart from the rows: a program that never calls interp_backward then links none of them. */
static void (*const itp_backward_table[])(interp_workspace *w, int node) = {
#define ITP_OP_BACKWARD(id, name, shape, forward, backward, need, macs, kind, flags) backward,
    ITP_LINKED_OPS(ITP_OP_BACKWARD)
#undef ITP_OP_BACKWARD
};

#undef ITP_X
#undef ITP_Y
#undef ITP_IP

ITP_FN bool itp_op_is_linked(int op)
{
    return (size_t)op < sizeof itp_op_table / sizeof *itp_op_table;
}

ITP_FN const itp_op *itp_op_row(int op)
{
    return &itp_op_table[op];
}

ITP_FN bool itp_is_reduction(int op)
{
    return itp_op_row(op)->shape == itp_shape_reduce;
}

ITP_FN void itp_op_backward(interp_workspace *w, int node)
{
    itp_backward_table[w->net->nodes[node].op](w, node);
}

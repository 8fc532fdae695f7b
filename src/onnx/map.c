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

typedef struct itp_make itp_make;
typedef void (*itp_make_fn)(itp_make *m);
typedef interp_shape (*itp_onnx_view_fn)(itp_make *m, const interp_shape *in);

/* Inputs are told apart by a letter each, the last of which stands for all that follow:
   x a value; w one that is trained when it is an initialiser; o one that is trained when it is an
   initialiser with dimensions behind a weighted op; c one that never is; s running statistics; k numbers that must be
   known while loading, since shapes depend on them. */
struct itp_onnx_row {
    const char *name; /* op_type */
    int op;           /* row of our table; -1: read as others */
    const char *inputs;
    int least, most, outputs; /* number of inputs; most outputs */
    const itp_onnx_field *fields;
    itp_make_fn read;      /* NULL: one node of `op` with the attributes of `fields` */
    itp_onnx_view_fn view; /* new shape, where the numbers stay as they are; else NULL */
    bool weighted;         /* what follows is behind a weighted op */
};

/* The constants of gelu's chains, and of Selu, which ONNX states to this precision. */
#define ITP_ONNX_SQRT_2       1.41421356237309505
#define ITP_ONNX_SQRT_2_BY_PI 0.79788456080286536
#define ITP_ONNX_GELU_CUBE    0.044715
#define ITP_ONNX_SELU_ALPHA   1.67326324235437728
#define ITP_ONNX_SELU_GAMMA   1.05070098735548049

/* Rows with readers and writers of their own; those are in the other files of this room. */
ITP_FN void itp_read_binary(itp_make *m);
ITP_FN void itp_read_div(itp_make *m);
ITP_FN void itp_read_prelu(itp_make *m);
ITP_FN void itp_read_mod(itp_make *m);
ITP_FN void itp_read_pow(itp_make *m);
ITP_FN void itp_read_mul(itp_make *m);
ITP_FN void itp_read_fold(itp_make *m);
ITP_FN void itp_read_compare(itp_make *m);
ITP_FN void itp_read_selu(itp_make *m);
ITP_FN void itp_read_swish(itp_make *m);
ITP_FN void itp_read_gelu(itp_make *m);
ITP_FN void itp_read_is_inf(itp_make *m);
ITP_FN void itp_read_clip(itp_make *m);
ITP_FN void itp_read_where(itp_make *m);
ITP_FN void itp_read_cast(itp_make *m);
ITP_FN void itp_read_cast_like(itp_make *m);
ITP_FN void itp_read_reduce(itp_make *m);
ITP_FN void itp_read_arg(itp_make *m);
ITP_FN void itp_read_top_k(itp_make *m);
ITP_FN void itp_read_cum_sum(itp_make *m);
ITP_FN void itp_read_one_hot(itp_make *m);
ITP_FN void itp_read_trilu(itp_make *m);
ITP_FN void itp_read_eye_like(itp_make *m);
ITP_FN void itp_read_known(itp_make *m);
ITP_FN void itp_read_view(itp_make *m);
ITP_FN void itp_read_split(itp_make *m);
ITP_FN void itp_read_slice(itp_make *m);
ITP_FN void itp_read_gather(itp_make *m);
ITP_FN void itp_read_take(itp_make *m);
ITP_FN void itp_read_scatter(itp_make *m);
ITP_FN void itp_read_scatter_nd(itp_make *m);
ITP_FN void itp_read_expand(itp_make *m);
ITP_FN void itp_read_transpose(itp_make *m);
ITP_FN void itp_read_tile(itp_make *m);
ITP_FN void itp_read_pad(itp_make *m);
ITP_FN void itp_read_depth_space(itp_make *m);
ITP_FN void itp_read_reverse_sequence(itp_make *m);
ITP_FN void itp_read_resize(itp_make *m);
ITP_FN void itp_read_conv(itp_make *m);
ITP_FN void itp_read_conv_transpose(itp_make *m);
ITP_FN void itp_read_max_pool(itp_make *m);
ITP_FN void itp_read_average_pool(itp_make *m);
ITP_FN void itp_read_lp_pool(itp_make *m);
ITP_FN void itp_read_global_pool(itp_make *m);
ITP_FN void itp_read_max_unpool(itp_make *m);
ITP_FN void itp_read_lrn(itp_make *m);
ITP_FN void itp_read_dropout(itp_make *m);
ITP_FN void itp_read_softmax(itp_make *m);
ITP_FN void itp_read_batch_norm(itp_make *m);
ITP_FN void itp_read_instance_norm(itp_make *m);
ITP_FN void itp_read_layer_norm(itp_make *m);
ITP_FN void itp_read_group_norm(itp_make *m);
ITP_FN void itp_read_rms_norm(itp_make *m);
ITP_FN void itp_read_mean_variance(itp_make *m);
ITP_FN void itp_read_lp_norm(itp_make *m);
ITP_FN void itp_read_gemm(itp_make *m);
ITP_FN void itp_read_matmul(itp_make *m);
ITP_FN void itp_read_einsum(itp_make *m);
ITP_FN void itp_read_attention(itp_make *m);
ITP_FN void itp_read_rotary(itp_make *m);
ITP_FN void itp_read_matmul_integer(itp_make *m);
ITP_FN void itp_read_conv_integer(itp_make *m);
ITP_FN void itp_read_qlinear_conv(itp_make *m);
ITP_FN void itp_read_qlinear_matmul(itp_make *m);
ITP_FN void itp_read_quantize(itp_make *m);
ITP_FN void itp_read_dequantize(itp_make *m);
ITP_FN void itp_read_dynamic_quantize(itp_make *m);
ITP_FN void itp_read_recurrent(itp_make *m);
ITP_FN interp_shape itp_onnx_view_reshape(itp_make *m, const interp_shape *in);
ITP_FN interp_shape itp_onnx_view_flatten(itp_make *m, const interp_shape *in);
ITP_FN interp_shape itp_onnx_view_squeeze(itp_make *m, const interp_shape *in);
ITP_FN interp_shape itp_onnx_view_unsqueeze(itp_make *m, const interp_shape *in);
ITP_FN interp_shape itp_onnx_view_same(itp_make *m, const interp_shape *in);

#define ITP_TO(field) offsetof(itp_attrs, field)
#define ITP_OWN(name)                                                                              \
    {                                                                                              \
        name, ITP_A_OWN, 0, 0, 0, 0                                                                \
    }
#define ITP_UNTIL(name, last)                                                                      \
    {                                                                                              \
        name, ITP_A_OWN, 0, 0, 0, last                                                             \
    }
#define ITP_NO_FIELD                                                                               \
    {                                                                                              \
        NULL, ITP_A_SKIP, 0, 0, 0, 0                                                               \
    }
/* Attributes read by the row's own functions. */
#define ITP_OWN1(id, a)                                                                            \
    ITP_STATIC const itp_onnx_field itp_fields_##id[] = {ITP_OWN(a), ITP_NO_FIELD}
#define ITP_OWN2(id, a, b)                                                                         \
    ITP_STATIC const itp_onnx_field itp_fields_##id[] = {ITP_OWN(a), ITP_OWN(b), ITP_NO_FIELD}
#define ITP_OWN3(id, a, b, c)                                                                      \
    ITP_STATIC const itp_onnx_field itp_fields_##id[] = {ITP_OWN(a), ITP_OWN(b), ITP_OWN(c),       \
                                                         ITP_NO_FIELD}
#define ITP_OWN4(id, a, b, c, d)                                                                   \
    ITP_STATIC const itp_onnx_field itp_fields_##id[] = {ITP_OWN(a), ITP_OWN(b), ITP_OWN(c),       \
                                                         ITP_OWN(d), ITP_NO_FIELD}

/* A window, with dilations since an opset. */
#define ITP_WINDOW_FIELDS(dilated)                                                                 \
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},                                         \
        {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},                                          \
        {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, dilated, 0},                                \
        {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0}, ITP_OWN("auto_pad")

ITP_STATIC const itp_onnx_field itp_fields_none[] = {ITP_NO_FIELD};
ITP_OWN2(broadcast, "axis", "broadcast");
ITP_OWN1(axis, "axis");
ITP_STATIC const itp_onnx_field itp_fields_conv[] = {
    ITP_WINDOW_FIELDS(0), {"group", ITP_A_INT, ITP_TO(groups), 1, 0, 0}, ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_conv_transpose[] = {
    ITP_WINDOW_FIELDS(0),
    {"group", ITP_A_INT, ITP_TO(groups), 1, 0, 0},
    ITP_OWN("output_padding"),
    ITP_OWN("output_shape"),
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_max_pool[] = {
    ITP_WINDOW_FIELDS(0),
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    ITP_OWN("storage_order"),
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_average_pool[] = {
    ITP_WINDOW_FIELDS(19),
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    {"count_include_pad", ITP_A_BOOL, ITP_TO(count_include_pad), 0, 0, 0},
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_lp_pool[] = {
    ITP_OWN("kernel_shape"), ITP_OWN("strides"), ITP_OWN("dilations"), ITP_OWN("pads"),
    ITP_OWN("auto_pad"),     ITP_OWN("p"),       ITP_OWN("ceil_mode"), ITP_NO_FIELD};
ITP_OWN3(unpool, "kernel_shape", "strides", "pads");
ITP_STATIC const itp_onnx_field itp_fields_lrn[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1e-4, 0, 0},
    {"beta", ITP_A_FLOAT, ITP_TO(beta), 0.75, 0, 0},
    {"bias", ITP_A_FLOAT, ITP_TO(epsilon), 1, 0, 0},
    {"size", ITP_A_INT, ITP_TO(length), 1, 0, 0},
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_gemm[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0},
    {"beta", ITP_A_FLOAT, ITP_TO(beta), 1, 0, 0},
    {"transA", ITP_A_BOOL, ITP_TO(trans_a), 0, 0, 0},
    {"transB", ITP_A_BOOL, ITP_TO(trans_b), 0, 0, 0},
    ITP_UNTIL("broadcast", 6),
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_batch_norm[] = {
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"momentum", ITP_A_FLOAT, ITP_TO(momentum), 0.9, 0, 0},
    {"spatial", ITP_A_MUST, 0, 1, 0, 0},
    ITP_UNTIL("is_test", 6),
    ITP_OWN("training_mode"),
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_layer_norm[] = {
    {"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"stash_type", ITP_A_SKIP, 0, 0, 0, 0},
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_group_norm[] = {ITP_OWN("epsilon"),
                                                           ITP_OWN("num_groups"),
                                                           {"stash_type", ITP_A_SKIP, 0, 0, 0, 0},
                                                           ITP_NO_FIELD};
ITP_OWN1(epsilon, "epsilon");
ITP_OWN1(axes_list, "axes");
ITP_OWN2(lp_norm, "axis", "p");
ITP_OWN1(lp_global, "p");
ITP_STATIC const itp_onnx_field itp_fields_leaky[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.01, 0, 0}, ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_alpha1[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0}, ITP_NO_FIELD};
ITP_OWN2(selu, "alpha", "gamma");
ITP_OWN1(swish, "alpha");
ITP_STATIC const itp_onnx_field itp_fields_hard_sigmoid[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.2, 0, 0},
    {"beta", ITP_A_FLOAT, ITP_TO(beta), 0.5, 0, 0},
    ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_shrink[] = {
    {"lambd", ITP_A_FLOAT, ITP_TO(alpha), 0.5, 0, 0},
    {"bias", ITP_A_FLOAT, ITP_TO(beta), 0, 0, 0},
    ITP_NO_FIELD};
ITP_OWN2(is_inf, "detect_negative", "detect_positive");
ITP_OWN1(gelu, "approximate");
ITP_STATIC const itp_onnx_field itp_fields_clip[] = {ITP_UNTIL("min", 10), ITP_UNTIL("max", 10),
                                                     ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_softmax[] = {{"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
                                                        ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_concat[] = {{"axis", ITP_A_INT, ITP_TO(axis), 1, 0, 0},
                                                       ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_flatten[] = {{"axis", ITP_A_INT, ITP_TO(axis), 1, 0, 0},
                                                        ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_reshape[] = {ITP_OWN("allowzero"), ITP_UNTIL("shape", 4),
                                                        ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_axes[] = {ITP_UNTIL("axes", 12), ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_transpose[] = {
    {"perm", ITP_A_PERM, ITP_TO(perm), 0, 0, 0}, ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_dropout[] = {ITP_UNTIL("ratio", 11),
                                                        {"seed", ITP_A_SKIP, 0, 0, 0, 0},
                                                        ITP_UNTIL("is_test", 6),
                                                        ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_slice[] = {ITP_UNTIL("starts", 9), ITP_UNTIL("ends", 9),
                                                      ITP_UNTIL("axes", 9), ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_reduce[] = {
    ITP_OWN("axes"), ITP_OWN("keepdims"), ITP_OWN("noop_with_empty_axes"), ITP_NO_FIELD};
ITP_OWN3(arg, "axis", "keepdims", "select_last_index");
ITP_OWN4(top_k, "axis", "k", "largest", "sorted");
ITP_OWN3(cum_sum, "axis", "exclusive", "reverse");
ITP_OWN1(upper, "upper");
ITP_OWN2(eye, "dtype", "k");
ITP_OWN1(fmod, "fmod");
ITP_OWN4(cast, "to", "saturate", "round_mode", "axis");
ITP_OWN2(shape, "start", "end");
ITP_OWN3(split, "axis", "split", "num_outputs");
ITP_OWN4(tile, "tiles", "axis", "repeats", "value");
ITP_OWN4(pad, "mode", "pads", "value", "paddings");
ITP_OWN2(depth_space, "blocksize", "mode");
ITP_OWN2(reverse_sequence, "batch_axis", "time_axis");
ITP_OWN2(scatter, "axis", "reduction");
ITP_OWN1(reduction, "reduction");
ITP_OWN1(batch_dims, "batch_dims");
ITP_STATIC const itp_onnx_field itp_fields_resize[] = {ITP_OWN("mode"),
                                                       ITP_OWN("scales"),
                                                       ITP_OWN("coordinate_transformation_mode"),
                                                       ITP_OWN("cubic_coeff_a"),
                                                       ITP_OWN("exclude_outside"),
                                                       ITP_OWN("extrapolation_value"),
                                                       ITP_OWN("nearest_mode"),
                                                       ITP_OWN("antialias"),
                                                       ITP_OWN("axes"),
                                                       ITP_OWN("keep_aspect_ratio_policy"),
                                                       ITP_UNTIL("height_scale", 6),
                                                       ITP_UNTIL("width_scale", 6),
                                                       ITP_NO_FIELD};
ITP_OWN1(equation, "equation");
ITP_STATIC const itp_onnx_field itp_fields_attention[] = {
    ITP_OWN("is_causal"),
    ITP_OWN("kv_num_heads"),
    ITP_OWN("q_num_heads"),
    ITP_OWN("scale"),
    ITP_OWN("softcap"),
    ITP_OWN("qk_matmul_output_mode"),
    {"softmax_precision", ITP_A_SKIP, 0, 0, 0, 0},
    ITP_NO_FIELD};
ITP_OWN3(rotary, "interleaved", "num_heads", "rotary_embedding_dim");
ITP_STATIC const itp_onnx_field itp_fields_rms_norm[] = {
    ITP_OWN("axis"), ITP_OWN("epsilon"), {"stash_type", ITP_A_SKIP, 0, 0, 0, 0}, ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_quantize[] = {ITP_OWN("axis"),
                                                         ITP_OWN("output_dtype"),
                                                         {"saturate", ITP_A_SKIP, 0, 0, 0, 0},
                                                         {"precision", ITP_A_SKIP, 0, 0, 0, 0},
                                                         ITP_OWN("block_size"),
                                                         ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_recurrent[] = {ITP_OWN("activation_alpha"),
                                                          ITP_OWN("activation_beta"),
                                                          ITP_OWN("activations"),
                                                          ITP_OWN("clip"),
                                                          ITP_OWN("direction"),
                                                          ITP_OWN("hidden_size"),
                                                          ITP_OWN("layout"),
                                                          ITP_OWN("input_forget"),
                                                          ITP_OWN("linear_before_reset"),
                                                          ITP_UNTIL("output_sequence", 6),
                                                          ITP_NO_FIELD};
ITP_STATIC const itp_onnx_field itp_fields_constant[] = {
    ITP_OWN("value"),     ITP_OWN("value_float"), ITP_OWN("value_floats"),
    ITP_OWN("value_int"), ITP_OWN("value_ints"),  ITP_NO_FIELD};

/* One node of ours with its attributes; read by a function; read and written by functions. */
#define ITP_PLAIN(name, id, inputs, n, fields)                                                     \
    {                                                                                              \
        name, ITP_OP_##id, inputs, n, n, 1, itp_fields_##fields, NULL, NULL, false                 \
    }
#define ITP_READ(name, op, inputs, least, most, outputs, fields, read)                             \
    {                                                                                              \
        name, op, inputs, least, most, outputs, itp_fields_##fields, itp_read_##read, NULL, false  \
    }
#define ITP_MANY ITP_MAX_INPUTS
static const itp_onnx_row itp_onnx_rows[] = {
    {"Conv", ITP_OP_CONV, "xww", 2, 3, 1, itp_fields_conv, itp_read_conv, NULL, true},
    {"Gemm", ITP_OP_GEMM, "www", 2, 3, 1, itp_fields_gemm, itp_read_gemm, NULL, true},
    {"MatMul", ITP_OP_MATMUL, "ww", 2, 2, 1, itp_fields_none, itp_read_matmul, NULL, true},
    {"BatchNormalization", ITP_OP_BATCH_NORM, "xwwss", 5, 5, 3, itp_fields_batch_norm,
     itp_read_batch_norm, NULL, true},
    {"LayerNormalization", ITP_OP_LAYER_NORM, "xww", 2, 3, 3, itp_fields_layer_norm,
     itp_read_layer_norm, NULL, true},
    ITP_PLAIN("Relu", RELU, "x", 1, none),
    ITP_PLAIN("LeakyRelu", LEAKY_RELU, "x", 1, leaky),
    ITP_PLAIN("Elu", ELU, "x", 1, alpha1),
    {"Selu", ITP_OP_SELU, "x", 1, 1, 1, itp_fields_selu, itp_read_selu, NULL, false},
    ITP_PLAIN("Softplus", SOFTPLUS, "x", 1, none),
    ITP_PLAIN("Sigmoid", SIGMOID, "x", 1, none),
    ITP_PLAIN("Tanh", TANH, "x", 1, none),
    {"Swish", ITP_OP_SILU, "x", 1, 1, 1, itp_fields_swish, itp_read_swish, NULL, false},
    {"Gelu", ITP_OP_GELU, "x", 1, 1, 1, itp_fields_gelu, itp_read_gelu, NULL, false},
    ITP_PLAIN("HardSwish", HARD_SWISH, "x", 1, none),
    ITP_PLAIN("HardSigmoid", HARD_SIGMOID, "x", 1, hard_sigmoid),
    ITP_PLAIN("Exp", EXP, "x", 1, none),
    ITP_PLAIN("Log", LOG, "x", 1, none),
    ITP_PLAIN("Sqrt", SQRT, "x", 1, none),
    ITP_PLAIN("Erf", ERF, "x", 1, none),
    ITP_PLAIN("Neg", NEG, "x", 1, none),
    ITP_PLAIN("Abs", ABS, "x", 1, none),
    ITP_PLAIN("Reciprocal", RECIPROCAL, "x", 1, none),
    {"Clip", ITP_OP_CLIP, "xcc", 1, 3, 1, itp_fields_clip, itp_read_clip, NULL, false},
    {"Softmax", ITP_OP_SOFTMAX, "x", 1, 1, 1, itp_fields_softmax, itp_read_softmax, NULL, false},
    {"LogSoftmax", ITP_OP_LOG_SOFTMAX, "x", 1, 1, 1, itp_fields_softmax, itp_read_softmax, NULL,
     false},
    {"MaxPool", ITP_OP_MAX_POOL, "x", 1, 1, 2, itp_fields_max_pool, itp_read_max_pool, NULL, false},
    {"AveragePool", ITP_OP_AVERAGE_POOL, "x", 1, 1, 1, itp_fields_average_pool,
     itp_read_average_pool, NULL, false},
    ITP_READ("GlobalAveragePool", ITP_OP_GLOBAL_AVERAGE_POOL, "x", 1, 1, 1, none, global_pool),
    ITP_READ("GlobalMaxPool", ITP_OP_GLOBAL_MAX_POOL, "x", 1, 1, 1, none, global_pool),
    {"Add", ITP_OP_ADD, "oo", 2, 2, 1, itp_fields_broadcast, itp_read_binary, NULL, false},
    ITP_READ("Sub", ITP_OP_SUB, "xx", 2, 2, 1, broadcast, binary),
    {"Mul", ITP_OP_MUL, "oo", 2, 2, 1, itp_fields_broadcast, itp_read_mul, NULL, false},
    ITP_READ("Div", ITP_OP_DIV, "xx", 2, 2, 1, broadcast, div),
    ITP_READ("Pow", ITP_OP_POW, "xx", 2, 2, 1, broadcast, pow),
    ITP_READ("Equal", ITP_OP_EQUAL, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("Less", ITP_OP_LESS, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("Greater", ITP_OP_GREATER, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("LessOrEqual", ITP_OP_LESS_EQUAL, "xx", 2, 2, 1, none, compare),
    ITP_READ("GreaterOrEqual", ITP_OP_GREATER_EQUAL, "xx", 2, 2, 1, none, compare),
    ITP_READ("And", ITP_OP_AND, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("Or", ITP_OP_OR, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("Max", ITP_OP_MAX, "x", 1, ITP_MANY, 1, none, fold),
    ITP_READ("Min", ITP_OP_MIN, "x", 1, ITP_MANY, 1, none, fold),
    ITP_READ("Sum", -1, "x", 1, ITP_MANY, 1, none, fold),
    ITP_READ("Where", ITP_OP_WHERE, "x", 3, 3, 1, none, where),
    ITP_READ("Cast", -1, "x", 1, 1, 1, cast, cast),
    ITP_READ("CastLike", -1, "xx", 2, 2, 1, cast, cast_like),
    ITP_READ("ReduceSum", ITP_OP_REDUCE_SUM, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceMean", ITP_OP_REDUCE_MEAN, "xk", 1, 2, 1, reduce, reduce),
    {"Concat", ITP_OP_CONCAT, "x", 1, ITP_MANY, 1, itp_fields_concat, NULL, NULL, false},
    {"Reshape", ITP_OP_RESHAPE, "xk", 1, 2, 1, itp_fields_reshape, itp_read_view,
     itp_onnx_view_reshape, false},
    {"Flatten", ITP_OP_FLATTEN, "x", 1, 1, 1, itp_fields_flatten, NULL, itp_onnx_view_flatten,
     false},
    {"Identity", ITP_OP_IDENTITY, "x", 1, 1, 1, itp_fields_none, NULL, itp_onnx_view_same, false},
    {"Squeeze", -1, "xk", 1, 2, 1, itp_fields_axes, itp_read_view, itp_onnx_view_squeeze, false},
    {"Unsqueeze", -1, "xk", 1, 2, 1, itp_fields_axes, itp_read_view, itp_onnx_view_unsqueeze,
     false},
    ITP_READ("Transpose", ITP_OP_TRANSPOSE, "x", 1, 1, 1, transpose, transpose),
    {"Dropout", ITP_OP_DROPOUT, "xkk", 1, 3, 2, itp_fields_dropout, itp_read_dropout, NULL, false},
    {"Slice", ITP_OP_SLICE, "xk", 1, 5, 1, itp_fields_slice, itp_read_slice, NULL, false},
    ITP_READ("Split", -1, "xk", 1, 2, ITP_MANY, split, split),
    ITP_READ("Gather", ITP_OP_GATHER, "xx", 2, 2, 1, axis, gather),
    ITP_READ("Expand", -1, "xk", 2, 2, 1, none, expand),
    ITP_READ("Tile", -1, "xk", 1, 3, 1, tile, tile),
    ITP_READ("Pad", -1, "xk", 1, 4, 1, pad, pad),
    ITP_READ("Shape", -1, "x", 1, 1, 1, shape, known),
    ITP_READ("Size", -1, "x", 1, 1, 1, none, known),
    ITP_READ("NonZero", -1, "k", 1, 1, 1, none, known),
    ITP_READ("Range", -1, "k", 3, 3, 1, none, known),
    ITP_READ("Constant", -1, "k", 0, 0, 1, constant, known),
    ITP_READ("ConstantOfShape", -1, "k", 1, 1, 1, constant, known),
#if !defined(INTERP_NO_RARE_OPS)
    {"ConvTranspose", ITP_OP_CONV_TRANSPOSE, "xww", 2, 3, 1, itp_fields_conv_transpose,
     itp_read_conv_transpose, NULL, true},
    {"InstanceNormalization", -1, "xww", 3, 3, 1, itp_fields_epsilon, itp_read_instance_norm, NULL,
     true},
    {"GroupNormalization", -1, "xww", 3, 3, 1, itp_fields_group_norm, itp_read_group_norm, NULL,
     true},
    {"RMSNormalization", -1, "xw", 2, 2, 1, itp_fields_rms_norm, itp_read_rms_norm, NULL, true},
    ITP_READ("MeanVarianceNormalization", -1, "x", 1, 1, 1, axes_list, mean_variance),
    ITP_READ("LpNormalization", -1, "x", 1, 1, 1, lp_norm, lp_norm),
    ITP_PLAIN("Ceil", CEIL, "x", 1, none),
    ITP_PLAIN("Floor", FLOOR, "x", 1, none),
    ITP_PLAIN("Round", ROUND, "x", 1, none),
    ITP_PLAIN("Sign", SIGN, "x", 1, none),
    ITP_PLAIN("Sin", SIN, "x", 1, none),
    ITP_PLAIN("Cos", COS, "x", 1, none),
    ITP_PLAIN("Tan", TAN, "x", 1, none),
    ITP_PLAIN("Asin", ASIN, "x", 1, none),
    ITP_PLAIN("Acos", ACOS, "x", 1, none),
    ITP_PLAIN("Atan", ATAN, "x", 1, none),
    ITP_PLAIN("Sinh", SINH, "x", 1, none),
    ITP_PLAIN("Cosh", COSH, "x", 1, none),
    ITP_PLAIN("Asinh", ASINH, "x", 1, none),
    ITP_PLAIN("Acosh", ACOSH, "x", 1, none),
    ITP_PLAIN("Atanh", ATANH, "x", 1, none),
    ITP_PLAIN("Celu", CELU, "x", 1, alpha1),
    ITP_PLAIN("Softsign", SOFTSIGN, "x", 1, none),
    ITP_PLAIN("ThresholdedRelu", THRESHOLDED_RELU, "x", 1, alpha1),
    {"Mish", ITP_OP_MISH, "x", 1, 1, 1, itp_fields_none, NULL, NULL, false},
    ITP_PLAIN("Shrink", SHRINK, "x", 1, shrink),
    ITP_PLAIN("Not", NOT, "x", 1, none),
    ITP_READ("IsNaN", ITP_OP_IS_NAN, "x", 1, 1, 1, none, compare),
    ITP_READ("IsInf", ITP_OP_IS_INF, "x", 1, 1, 1, is_inf, is_inf),
    {"Hardmax", ITP_OP_HARDMAX, "x", 1, 1, 1, itp_fields_softmax, itp_read_softmax, NULL, false},
    ITP_READ("LpPool", -1, "x", 1, 1, 1, lp_pool, lp_pool),
    ITP_READ("GlobalLpPool", -1, "x", 1, 1, 1, lp_global, global_pool),
    ITP_READ("MaxUnpool", ITP_OP_MAX_UNPOOL, "xxk", 2, 3, 1, unpool, max_unpool),
    {"LRN", ITP_OP_LRN, "x", 1, 1, 1, itp_fields_lrn, itp_read_lrn, NULL, false},
    {"Mod", ITP_OP_MOD, "xx", 2, 2, 1, itp_fields_fmod, itp_read_mod, NULL, false},
    ITP_READ("PRelu", ITP_OP_PRELU, "xw", 2, 2, 1, none, prelu),
    ITP_READ("Xor", ITP_OP_XOR, "xx", 2, 2, 1, broadcast, compare),
    ITP_READ("Mean", -1, "x", 1, ITP_MANY, 1, none, fold),
    ITP_READ("ReduceMax", ITP_OP_REDUCE_MAX, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceMin", ITP_OP_REDUCE_MIN, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceProd", ITP_OP_REDUCE_PROD, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceL1", -1, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceL2", -1, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceLogSum", -1, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceLogSumExp", ITP_OP_REDUCE_LOG_SUM_EXP, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ReduceSumSquare", -1, "xk", 1, 2, 1, reduce, reduce),
    ITP_READ("ArgMax", ITP_OP_ARG_MAX, "x", 1, 1, 1, arg, arg),
    ITP_READ("ArgMin", ITP_OP_ARG_MIN, "x", 1, 1, 1, arg, arg),
    {"TopK", ITP_OP_TOP_K_VALUES, "xk", 1, 2, 2, itp_fields_top_k, itp_read_top_k, NULL, false},
    ITP_READ("CumSum", ITP_OP_CUM_SUM, "xk", 2, 2, 1, cum_sum, cum_sum),
    ITP_READ("OneHot", ITP_OP_ONE_HOT, "xkk", 3, 3, 1, axis, one_hot),
    ITP_READ("Trilu", -1, "xk", 1, 2, 1, upper, trilu),
    ITP_READ("EyeLike", -1, "x", 1, 1, 1, eye, eye_like),
    ITP_READ("GatherElements", ITP_OP_GATHER_ELEMENTS, "xx", 2, 2, 1, axis, take),
    ITP_READ("GatherND", ITP_OP_GATHER_ND, "xx", 2, 2, 1, batch_dims, take),
    ITP_READ("Scatter", ITP_OP_SCATTER_ELEMENTS, "x", 3, 3, 1, scatter, scatter),
    ITP_READ("ScatterElements", ITP_OP_SCATTER_ELEMENTS, "x", 3, 3, 1, scatter, scatter),
    ITP_READ("ScatterND", ITP_OP_SCATTER_ND, "x", 3, 3, 1, reduction, scatter_nd),
    ITP_READ("DepthToSpace", -1, "x", 1, 1, 1, depth_space, depth_space),
    ITP_READ("SpaceToDepth", -1, "x", 1, 1, 1, depth_space, depth_space),
    ITP_READ("ReverseSequence", -1, "xk", 2, 2, 1, reverse_sequence, reverse_sequence),
    ITP_READ("Resize", -1, "xk", 1, 4, 1, resize, resize),
    ITP_READ("Upsample", -1, "xk", 1, 2, 1, resize, resize),
    ITP_READ("Einsum", -1, "x", 1, 2, 1, equation, einsum),
    ITP_READ("Attention", -1, "x", 3, 7, 4, attention, attention),
    ITP_READ("RotaryEmbedding", -1, "x", 3, 4, 1, rotary, rotary),
    ITP_READ("MatMulInteger", -1, "x", 2, 4, 1, none, matmul_integer),
    ITP_READ("ConvInteger", -1, "x", 2, 4, 1, conv, conv_integer),
    ITP_READ("QLinearConv", -1, "x", 8, 9, 1, conv, qlinear_conv),
    ITP_READ("QLinearMatMul", -1, "x", 8, 8, 1, none, qlinear_matmul),
    ITP_READ("QuantizeLinear", -1, "x", 2, 3, 1, quantize, quantize),
    ITP_READ("DequantizeLinear", -1, "x", 2, 3, 1, quantize, dequantize),
    ITP_READ("DynamicQuantizeLinear", -1, "x", 1, 1, 3, none, dynamic_quantize),
    {"RNN", -1, "xwwwkx", 3, 6, 2, itp_fields_recurrent, itp_read_recurrent, NULL, true},
    {"GRU", -1, "xwwwkx", 3, 6, 2, itp_fields_recurrent, itp_read_recurrent, NULL, true},
    {"LSTM", -1, "xwwwkxxw", 3, 8, 3, itp_fields_recurrent, itp_read_recurrent, NULL, true},
#endif
    {NULL, -1, NULL, 0, 0, 0, NULL, NULL, NULL, false}};
#undef ITP_PLAIN
#undef ITP_READ
#undef ITP_MANY
#undef ITP_WINDOW_FIELDS
#undef ITP_TO
#undef ITP_OWN
#undef ITP_OWN1
#undef ITP_OWN2
#undef ITP_OWN3
#undef ITP_OWN4
#undef ITP_UNTIL
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
        if (!net->whole) s->dim[0] = batch;
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

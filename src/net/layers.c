/* ---- net/layers.c: the builders users call ------------------------------------------------------ */

INTERP_API interp_tensor interp_input(interp_net *net, const char *name, const interp_shape *sample)
{
    if (!itp_net_open(net)) return 0;
    if (sample->rank < 0 || sample->rank >= INTERP_MAX_RANK) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "input: %d dimensions are not supported", sample->rank);
        return 0;
    }
    if (net->n_inputs == ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "more than %d inputs", ITP_MAX_INPUTS);
        return 0;
    }
    interp_shape s;
    memset(&s, 0, sizeof s);
    s.rank = sample->rank + 1;
    s.dim[0] = 1;
    for (int i = 0; i < sample->rank; i++) {
        s.dim[i + 1] = sample->dim[i];
        if (sample->dim[i] < 1) {
            itp_net_fail(net, INTERP_BAD_SHAPE, "input: dimension %d is %d", i, sample->dim[i]);
            return 0;
        }
    }
    if (interp_shape_size(&s) > (size_t)INT_MAX) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "input: more than 2^31 numbers per sample");
        return 0;
    }
    if (!name) name = "input";
    if (itp_find(net, name) >= 0) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two inputs are named \"%s\"", name);
        return 0;
    }
    const int v = itp_add_value(net, name, ITP_INPUT, &s);
    if (v < 0) return 0;
    net->inputs[net->n_inputs++] = v;
    return v + 1;
}

/* A parameter array "layer.what"; fan_in 0 starts it at the constant `start`. -1 on error. */
ITP_FN int itp_add_param(interp_net *net, const char *layer, const char *what, itp_kind kind,
                         const interp_shape *shape, interp_init init, int fan_in, int fan_out,
                         float start)
{
    char name[96];
    snprintf(name, sizeof name, "%.64s%s%s", layer, what ? "." : "", what ? what : "");
    if (itp_find_value(net, name) >= 0) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two parameters are named \"%s\"", name);
        return -1;
    }
    if (shape->rank < 0 || shape->rank > INTERP_MAX_RANK) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "\"%s\": %d dimensions are not supported", name,
                     shape->rank);
        return -1;
    }
    const size_t n = interp_shape_size(shape);
    if (n > (size_t)INT_MAX) { /* or a negative dimension */
        itp_net_fail(net, INTERP_BAD_SHAPE, "\"%s\" would have more than 2^31 numbers", name);
        return -1;
    }
    const int v = itp_add_value(net, name, kind, shape);
    if (v < 0) return -1;
    itp_value *value = &net->values[v];
    value->data = (float *)itp_calloc(net->ctx, n, sizeof(float));
    if (!value->data) {
        itp_net_error(net);
        return -1;
    }
    value->init = init;
    value->fan_in = fan_in, value->fan_out = fan_out;
    value->start = start;
    return v;
}

ITP_FN interp_shape itp_shape_of(int rank, int a, int b, int c, int d)
{
    interp_shape s;
    s.rank = rank;
    s.dim[0] = a, s.dim[1] = b, s.dim[2] = c, s.dim[3] = d;
    for (int i = 4; i < INTERP_MAX_RANK; i++) s.dim[i] = 1;
    return s;
}

INTERP_API interp_tensor interp_dense(interp_net *net, interp_tensor x, int units,
                                      const interp_dense_desc *desc)
{
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    if (units < 1) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "dense: %d units", units);
        return 0;
    }
    if (itp_tensor_shape(net, x)->rank > 3) x = interp_flatten(net, x);
    if (!x) return 0;
    if (itp_tensor_shape(net, x)->rank < 2) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "dense: input has %d dimensions but needs [N,...]",
                     itp_tensor_shape(net, x)->rank);
        return 0;
    }
    char own[64];
    itp_auto_name(net, "dense", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *s = itp_tensor_shape(net, x);
    const int k = s->dim[s->rank - 1], rank = s->rank;
    const interp_shape ws = itp_shape_of(2, k, units, 1, 1), bs = itp_shape_of(1, units, 1, 1, 1);
    int in[3] = {x - 1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &ws, d.init, k, units, 0);
    if (in[1] >= 0 && !d.no_bias)
        in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &bs, INTERP_INIT_DEFAULT, 0, 0, 0);
    if (net->status) return 0;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = a.beta = 1;
    if (rank == 2) return itp_add_named(net, ITP_OP_GEMM, name, "dense", d.no_bias ? 2 : 3, in, &a);
    const interp_tensor y = itp_add_named(net, ITP_OP_MATMUL, name, "dense", 2, in, NULL);
    return d.no_bias ? y : interp_add(net, y, in[2] + 1);
}

/* Connections of one number of a convolution. */
ITP_FN int itp_fan(size_t taps, int channels)
{
    return (int)itp_min_size(INT_MAX, itp_mul_size(taps, (size_t)itp_max(1, channels)));
}

/* 0 in a pair of sizes: `fallback`, and the second takes the first. */
ITP_FN void itp_pair_default(const int from[2], int fallback, int to[2])
{
    to[0] = from[0] ? from[0] : fallback;
    to[1] = from[1] ? from[1] : to[0];
}

INTERP_API interp_tensor interp_conv2d(interp_net *net, interp_tensor x,
                                       const interp_conv2d_desc *desc)
{
    interp_conv2d_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "conv", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *s = itp_tensor_shape(net, x);
    const int in_channels = s->dim[1], channels = d.channels ? d.channels : in_channels;
    itp_pair_default(d.kernel, 3, a.kernel);
    itp_pair_default(d.stride, 1, a.stride);
    itp_pair_default(d.dilation, 1, a.dilation);
    memcpy(a.pad, d.pad, sizeof a.pad);
    a.same = d.same;
    a.groups = d.groups ? d.groups : 1;
    if (s->rank != 4 || channels < 1 || a.groups < 1 || in_channels % a.groups || a.kernel[0] < 1 ||
        a.kernel[1] < 1) {
        char text[96];
        itp_net_fail(net, INTERP_BAD_SHAPE,
                     "conv2d \"%s\": input %s does not go with %d channels in %d groups", name,
                     itp_shape_text(s, text, sizeof text), channels, a.groups);
        return 0;
    }
    const interp_shape ws =
        itp_shape_of(4, channels, in_channels / a.groups, a.kernel[0], a.kernel[1]);
    const interp_shape bs = itp_shape_of(1, channels, 1, 1, 1);
    const size_t taps = itp_mul_size((size_t)a.kernel[0], (size_t)a.kernel[1]);
    int in[3] = {x - 1, -1, -1};
    in[1] =
        itp_add_param(net, name, "weight", ITP_PARAM, &ws, d.init,
                      itp_fan(taps, in_channels / a.groups), itp_fan(taps, channels / a.groups), 0);
    if (in[1] >= 0 && !d.no_bias)
        in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &bs, INTERP_INIT_DEFAULT, 0, 0, 0);
    return itp_add_named(net, ITP_OP_CONV, name, "conv", d.no_bias ? 2 : 3, in, &a);
}

INTERP_API interp_tensor interp_pool2d(interp_net *net, interp_tensor x,
                                       const interp_pool2d_desc *desc)
{
    interp_pool2d_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    const int in = x - 1;
    if (d.kind == INTERP_POOL_GLOBAL_AVERAGE || d.kind == INTERP_POOL_GLOBAL_MAX)
        return itp_add_named(net,
                             d.kind == INTERP_POOL_GLOBAL_MAX ? ITP_OP_GLOBAL_MAX_POOL
                                                              : ITP_OP_GLOBAL_AVERAGE_POOL,
                             d.name, "pool", 1, &in, &a);
    itp_pair_default(d.kernel, 2, a.kernel);
    a.stride[0] = d.stride[0] ? d.stride[0] : a.kernel[0];
    a.stride[1] = d.stride[1] ? d.stride[1] : d.stride[0] ? d.stride[0] : a.kernel[1];
    a.dilation[0] = a.dilation[1] = 1;
    memcpy(a.pad, d.pad, sizeof a.pad);
    a.same = d.same;
    a.ceil_mode = d.ceil_mode;
    a.count_include_pad = d.count_include_pad;
    return itp_add_named(net, d.kind == INTERP_POOL_AVERAGE ? ITP_OP_AVERAGE_POOL : ITP_OP_MAX_POOL,
                         d.name, "pool", 1, &in, &a);
}

INTERP_API interp_tensor interp_activate(interp_net *net, interp_tensor x, interp_activation kind,
                                         float alpha)
{
    static const struct {
        int op;
        const char *stem;
        float alpha, beta;
    } rows[] = {{ITP_OP_RELU, "relu", 0, 0},
                {ITP_OP_LEAKY_RELU, "leaky", 0.01f, 0},
                {ITP_OP_ELU, "elu", 1, 0},
                {ITP_OP_SELU, "selu", 0, 0},
                {ITP_OP_SOFTPLUS, "softplus", 0, 0},
                {ITP_OP_SIGMOID, "sigmoid", 0, 0},
                {ITP_OP_TANH, "tanh", 0, 0},
                {ITP_OP_SILU, "silu", 0, 0},
                {ITP_OP_GELU, "gelu", 0, 0},
                {ITP_OP_GELU_TANH, "gelu", 0, 0},
                {ITP_OP_HARD_SWISH, "hardswish", 0, 0},
                {ITP_OP_HARD_SIGMOID, "hardsigmoid", 0.2f, 0.5f},
                {ITP_OP_CLIP, "relu6", 0, 6}};
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    if ((unsigned)kind >= sizeof rows / sizeof *rows) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "activation %d is not known", (int)kind);
        return 0;
    }
    const int in = x - 1;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = alpha != 0 ? alpha : rows[kind].alpha;
    a.beta = rows[kind].beta;
    return itp_add_named(net, rows[kind].op, NULL, rows[kind].stem, 1, &in, &a);
}

INTERP_API interp_tensor interp_relu(interp_net *net, interp_tensor x)
{
    return interp_activate(net, x, INTERP_RELU, 0);
}

INTERP_API interp_tensor interp_batch_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc)
{
    interp_norm_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "bn", own);
    const char *name = d.name ? d.name : own;
    const interp_shape c = itp_shape_of(1, itp_tensor_shape(net, x)->dim[1], 1, 1, 1);
    int in[5] = {x - 1, -1, -1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &c, INTERP_INIT_DEFAULT, 0, 0, 1);
    in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &c, INTERP_INIT_DEFAULT, 0, 0, 0);
    in[3] = itp_add_param(net, name, "running_mean", ITP_BUFFER, &c, INTERP_INIT_DEFAULT, 0, 0, 0);
    in[4] = itp_add_param(net, name, "running_var", ITP_BUFFER, &c, INTERP_INIT_DEFAULT, 0, 0, 1);
    a.epsilon = d.epsilon > 0 ? d.epsilon : 1e-5f;
    a.momentum = d.momentum > 0 ? d.momentum : 0.9f;
    return itp_add_named(net, ITP_OP_BATCH_NORM, name, "bn", 5, in, &a);
}

INTERP_API interp_tensor interp_layer_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc)
{
    interp_norm_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "ln", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *xs = itp_tensor_shape(net, x);
    const interp_shape s = itp_shape_of(1, xs->rank ? xs->dim[xs->rank - 1] : 1, 1, 1, 1);
    int in[3] = {x - 1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &s, INTERP_INIT_DEFAULT, 0, 0, 1);
    in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &s, INTERP_INIT_DEFAULT, 0, 0, 0);
    a.epsilon = d.epsilon > 0 ? d.epsilon : 1e-5f;
    a.axis = -1;
    return itp_add_named(net, ITP_OP_LAYER_NORM, name, "ln", 3, in, &a);
}

/* A node without parameters over n tensors. */
ITP_FN interp_tensor itp_plain(interp_net *net, int op, const char *stem, int n,
                               const interp_tensor *x, const itp_attrs *a)
{
    int in[ITP_MAX_INPUTS];
    if (!itp_tensors_ok(net, itp_min(n, ITP_MAX_INPUTS), x)) return 0;
    for (int i = 0; i < n && i < ITP_MAX_INPUTS; i++) in[i] = x[i] - 1;
    return itp_add_named(net, op, NULL, stem, n, in, a);
}

ITP_FN interp_tensor itp_with_axis(interp_net *net, int op, const char *stem, int n,
                                   const interp_tensor *x, int axis)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis;
    return itp_plain(net, op, stem, n, x, &a);
}

INTERP_API interp_tensor interp_softmax(interp_net *net, interp_tensor x, int axis)
{
    return itp_with_axis(net, ITP_OP_SOFTMAX, "softmax", 1, &x, axis);
}

INTERP_API interp_tensor interp_log_softmax(interp_net *net, interp_tensor x, int axis)
{
    return itp_with_axis(net, ITP_OP_LOG_SOFTMAX, "logsoftmax", 1, &x, axis);
}

INTERP_API interp_tensor interp_add(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_ADD, "add", 2, x, NULL);
}

INTERP_API interp_tensor interp_sub(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_SUB, "sub", 2, x, NULL);
}

INTERP_API interp_tensor interp_mul(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_MUL, "mul", 2, x, NULL);
}

INTERP_API interp_tensor interp_div(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_DIV, "div", 2, x, NULL);
}

INTERP_API interp_tensor interp_constant(interp_net *net, const interp_shape *shape, const float *x)
{
    if (!itp_net_open(net)) return 0;
    char name[64];
    itp_auto_name(net, "const", name);
    const int v = itp_add_param(net, name, NULL, ITP_CONST, shape, INTERP_INIT_DEFAULT, 0, 0, 0);
    if (v < 0) return 0;
    memcpy(net->values[v].data, x, interp_shape_size(shape) * sizeof *x);
    return v + 1;
}

INTERP_API interp_tensor interp_parameter(interp_net *net, const char *name,
                                          const interp_shape *shape, interp_init init, int fan_in,
                                          int fan_out)
{
    if (!itp_net_open(net)) return 0;
    char own[64];
    itp_auto_name(net, "param", own);
    return itp_add_param(net, name ? name : own, NULL, ITP_PARAM, shape, init, itp_max(1, fan_in),
                         itp_max(1, fan_out), 0) +
           1;
}

INTERP_API interp_tensor interp_concat(interp_net *net, int n, const interp_tensor *x, int axis)
{
    if (net && n < 1) itp_net_fail(net, INTERP_BAD_ARGUMENT, "concat: %d tensors", n);
    return itp_with_axis(net, ITP_OP_CONCAT, "concat", n, x, axis);
}

INTERP_API interp_tensor interp_reshape(interp_net *net, interp_tensor x, const interp_shape *shape)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *shape;
    return itp_plain(net, ITP_OP_RESHAPE, "reshape", 1, &x, &a);
}

INTERP_API interp_tensor interp_flatten(interp_net *net, interp_tensor x)
{
    return itp_with_axis(net, ITP_OP_FLATTEN, "flatten", 1, &x, 1);
}

INTERP_API interp_tensor interp_transpose(interp_net *net, interp_tensor x, const int *perm)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    memcpy(a.perm, perm, (size_t)itp_tensor_shape(net, x)->rank * sizeof *perm);
    return itp_plain(net, ITP_OP_TRANSPOSE, "transpose", 1, &x, &a);
}

INTERP_API interp_tensor interp_slice(interp_net *net, interp_tensor x, int axis, int start,
                                      int length, bool drop)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis, a.start = start, a.length = length, a.drop = drop;
    return itp_plain(net, ITP_OP_SLICE, "slice", 1, &x, &a);
}

INTERP_API interp_tensor interp_dropout(interp_net *net, interp_tensor x, float p)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = p;
    if (net && !(p >= 0 && p < 1))
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "dropout: probability %g is not in [0, 1)",
                     (double)p);
    return itp_plain(net, ITP_OP_DROPOUT, "dropout", 1, &x, &a);
}

INTERP_API interp_tensor interp_matmul(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_MATMUL, "matmul", 2, x, NULL);
}

/* [N,T,D] to [N,heads,T,D/heads] */
ITP_FN interp_tensor itp_split_heads(interp_net *net, interp_tensor x, int heads, const int *perm)
{
    const interp_shape *s = itp_tensor_shape(net, x);
    interp_shape split = itp_shape_of(4, 0, s->dim[1], heads, s->dim[2] / heads);
    return interp_transpose(net, interp_reshape(net, x, &split), perm);
}

INTERP_API interp_tensor interp_self_attention(interp_net *net, interp_tensor x, int heads)
{
    static const int perm_rows[4] = {0, 2, 1, 3}, perm_columns[4] = {0, 2, 3, 1};
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    const interp_shape s = *itp_tensor_shape(net, x);
    if (s.rank != 3 || heads < 1 || s.dim[2] % heads) {
        char text[96];
        itp_net_fail(net, INTERP_BAD_SHAPE, "self-attention: %d heads do not divide input %s",
                     heads, itp_shape_text(&s, text, sizeof text));
        return 0;
    }
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    d.init = INTERP_GLOROT_UNIFORM;
    interp_tensor q = interp_dense(net, x, s.dim[2], &d), k = interp_dense(net, x, s.dim[2], &d);
    interp_tensor v = interp_dense(net, x, s.dim[2], &d);
    if (!v) return 0;
    q = itp_split_heads(net, q, heads, perm_rows);
    k = itp_split_heads(net, k, heads, perm_columns);
    v = itp_split_heads(net, v, heads, perm_rows);
    const interp_shape one = itp_shape_of(0, 1, 1, 1, 1);
    const float scale = (float)(1 / sqrt((double)s.dim[2] / heads));
    interp_tensor score =
        interp_mul(net, interp_matmul(net, q, k), interp_constant(net, &one, &scale));
    interp_tensor y = interp_matmul(net, interp_softmax(net, score, -1), v);
    const interp_shape joined = itp_shape_of(3, 0, s.dim[1], s.dim[2], 1);
    y = interp_reshape(net, interp_transpose(net, y, perm_rows), &joined);
    return interp_dense(net, y, s.dim[2], &d);
}

/* ---- parts of a network again */

/* Bits of values between two others. */
enum { ITP_BEHIND = 1, ITP_BEFORE = 2 };

/* Which values `to` needs that come from `from`: both bits. */
ITP_FN void itp_mark_between(const interp_net *net, int from, int to, unsigned char *marks)
{
    memset(marks, 0, (size_t)net->n_values);
    marks[from] = ITP_BEHIND;
    for (int i = 0; i < net->n_nodes; i++)
        for (int k = 0; k < net->nodes[i].n_in; k++)
            marks[net->nodes[i].out] |= marks[net->nodes[i].in[k]] & ITP_BEHIND;
    marks[to] |= ITP_BEFORE;
    for (int i = net->n_nodes - 1; i >= 0; i--)
        for (int k = 0; k < net->nodes[i].n_in && marks[net->nodes[i].out] & ITP_BEFORE; k++)
            marks[net->nodes[i].in[k]] |= ITP_BEFORE;
}

/* The node again, on the stand-ins of its inputs. Returns its output + 1. */
ITP_FN interp_tensor itp_node_again(interp_net *net, int index, const int *stand_in)
{
    const itp_node node = net->nodes[index]; /* the array may move */
    int in[ITP_MAX_INPUTS];
    char name[64];
    for (int k = 0; k < node.n_in; k++) in[k] = stand_in[node.in[k]];
    for (int i = 2;; i++) {
        snprintf(name, sizeof name, "%.40s@%d", node.name, i);
        if (itp_find(net, name) < 0) break;
    }
    return itp_add_named(net, node.op, name, NULL, node.n_in, in, &node.attrs);
}

INTERP_API interp_tensor interp_reuse(interp_net *net, interp_tensor from, interp_tensor to,
                                      interp_tensor x)
{
    const interp_tensor all[3] = {from, to, x};
    if (!itp_tensors_ok(net, 3, all)) return 0;
    const int n_nodes = net->n_nodes, n_values = net->n_values;
    unsigned char *marks = (unsigned char *)interp_alloc(net->ctx, (size_t)n_values);
    int *stand_in = (int *)interp_alloc(net->ctx, itp_mul_size((size_t)n_values, sizeof *stand_in));
    if (!marks || !stand_in) itp_net_error(net);
    if (!net->status) {
        itp_mark_between(net, from - 1, to - 1, marks);
        if (!(marks[to - 1] & ITP_BEHIND))
            itp_net_fail(net, INTERP_BAD_ARGUMENT, "reuse: \"%s\" does not depend on \"%s\"",
                         net->values[to - 1].name, net->values[from - 1].name);
    }
    interp_tensor y = x;
    if (!net->status) {
        for (int v = 0; v < n_values; v++) stand_in[v] = v;
        stand_in[from - 1] = x - 1;
    }
    for (int i = 0; i < n_nodes && !net->status; i++) {
        const int out = net->nodes[i].out;
        if (marks[out] != (ITP_BEHIND | ITP_BEFORE) || out == from - 1) continue;
        y = itp_node_again(net, i, stand_in);
        stand_in[out] = y - 1;
    }
    interp_free(net->ctx, marks);
    interp_free(net->ctx, stand_in);
    return net->status ? 0 : y;
}

INTERP_API void interp_output(interp_net *net, interp_tensor x, const char *name)
{
    if (!itp_tensors_ok(net, 1, &x)) return;
    if (net->n_outputs == ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "more than %d outputs", ITP_MAX_INPUTS);
        return;
    }
    if (name) {
        const int other = itp_find_value(net, name);
        if (other >= 0 && other != x - 1) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT, "two values are named \"%s\"", name);
            return;
        }
        char *copy = itp_strdup(net->ctx, name);
        if (!copy) {
            itp_net_error(net);
            return;
        }
        interp_free(net->ctx, net->values[x - 1].name);
        net->values[x - 1].name = copy;
    }
    net->outputs[net->n_outputs++] = x - 1;
}

/* ---- the end of construction */

ITP_FN void itp_init_value(const itp_value *v, int index, uint64_t seed, float *out)
{
    const size_t n = interp_shape_size(&v->shape);
    const double fan_in = itp_max(1, v->fan_in), fan = fan_in + itp_max(1, v->fan_out);
    double sd = 0, limit = 0;
    if (!v->fan_in) {
        itp_fill(out, n, v->start);
        return;
    }
    switch (v->init) {
    case INTERP_INIT_DEFAULT:
    case INTERP_HE_NORMAL: sd = sqrt(2 / fan_in); break;
    case INTERP_HE_UNIFORM: limit = sqrt(6 / fan_in); break;
    case INTERP_GLOROT_NORMAL: sd = sqrt(2 / fan); break;
    case INTERP_GLOROT_UNIFORM: limit = sqrt(6 / fan); break;
    case INTERP_UNIFORM: limit = sqrt(1 / fan_in); break;
    case INTERP_TRUNCATED_NORMAL: sd = 0.1; break;
    }
    const uint64_t stream = 0x1000000u + (uint64_t)index; /* apart from those of training */
    for (size_t i = 0; i < n; i++) {
        if (sd > 0) {
            float z = interp_random_normal(seed, stream, i);
            for (uint64_t draw = 1; v->init == INTERP_TRUNCATED_NORMAL && (z > 2 || z < -2); draw++)
                z = interp_random_normal(seed, stream + draw * 0x100000000u, i);
            out[i] = (float)sd * z;
        } else {
            out[i] = (float)limit * (2 * interp_random_uniform(seed, stream, i) - 1);
        }
    }
}

/* Moves the trained parameters into one flat array, unless some of them must stay where they are. */
ITP_FN interp_status itp_net_flatten(interp_net *net)
{
    size_t n = 0;
    int count = 0;
    for (int i = 0; i < net->n_values; i++)
        if (net->values[i].kind == ITP_PARAM) {
            n += interp_shape_size(&net->values[i].shape);
            count++;
        }
    float *flat =
        net->read_only ? NULL : (float *)interp_alloc(net->ctx, itp_mul_size(n, sizeof *flat));
    int *params = (int *)interp_alloc(net->ctx, (size_t)count * sizeof *params);
    if ((!flat && !net->read_only) || !params) {
        interp_free(net->ctx, flat);
        interp_free(net->ctx, params);
        return INTERP_NO_MEMORY;
    }
    net->n_flat = 0;
    net->n_params = 0;
    for (int i = 0; i < net->n_values; i++) {
        itp_value *v = &net->values[i];
        if (v->kind != ITP_PARAM) continue;
        const size_t size = interp_shape_size(&v->shape);
        v->offset = net->n_flat;
        if (flat) {
            memcpy(flat + v->offset, v->data, size * sizeof *flat);
            interp_free(net->ctx, v->data);
            v->data = flat + v->offset;
        }
        net->n_flat += size;
        params[net->n_params++] = i;
    }
    net->flat = flat;
    net->params = params;
    return INTERP_OK;
}

/* Checks the graph and takes parameters as they are. */
ITP_FN interp_status itp_net_finish(interp_net *net)
{
    if (net->status) return itp_fail(net->ctx, net->status, "%s", net->error);
    if (!itp_net_open(net)) return net->status;
    if (!net->n_outputs && net->n_nodes)
        net->outputs[net->n_outputs++] = net->nodes[net->n_nodes - 1].out;
    if ((!net->n_inputs && !net->whole) || !net->n_outputs)
        return itp_net_fail(net, INTERP_BAD_ARGUMENT, "network \"%s\" has no input or no output",
                            net->name);
    ITP_TRY(itp_net_flatten(net));
    net->built = true;
    return INTERP_OK;
}

/* Whether the numbers of a network may be written. */
ITP_FN interp_status itp_net_writable(interp_ctx *ctx, const interp_net *net)
{
    if (!net->read_only) return INTERP_OK;
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "network \"%.100s\" is read-only, as its numbers are borrowed: load it with "
                    "interp_onnx_load_desc.in_place unset to train it",
                    net->name);
}

INTERP_API interp_status interp_net_build(interp_net *net, uint64_t seed)
{
    if (!net) return INTERP_NO_MEMORY;
    ITP_TRY(itp_net_finish(net));
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (v->kind == ITP_PARAM || v->kind == ITP_BUFFER) itp_init_value(v, i, seed, v->data);
    }
    return INTERP_OK;
}

/* ---- description */

INTERP_API interp_net_info interp_net_describe(const interp_net *net)
{
    interp_net_info d;
    memset(&d, 0, sizeof d);
    d.n_nodes = net->n_nodes, d.n_inputs = net->n_inputs, d.n_outputs = net->n_outputs;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        const size_t n = interp_shape_size(&v->shape);
        if (v->kind == ITP_PARAM) d.n_parameters += n;
        if (v->kind == ITP_BUFFER || v->kind == ITP_CONST) d.n_buffers += n;
    }
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (row->macs) d.macs += row->macs(net, &net->nodes[i]) / itp_max(1, net->fixed_batch);
    }
    return d;
}

/* A value's shape without the batch, where there is one. */
ITP_FN interp_shape itp_sample_shape(const interp_net *net, int value)
{
    interp_shape s = net->values[value].shape;
    if (net->whole) return s;
    for (int i = 0; i + 1 < s.rank; i++) s.dim[i] = s.dim[i + 1];
    if (s.rank) s.dim[--s.rank] = 1;
    return s;
}

INTERP_API interp_shape interp_net_input_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->inputs[i]);
}

INTERP_API interp_shape interp_net_output_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->outputs[i]);
}

INTERP_API const char *interp_net_input_name(const interp_net *net, int i)
{
    return net->values[net->inputs[i]].name;
}

INTERP_API const char *interp_net_output_name(const interp_net *net, int i)
{
    return net->values[net->outputs[i]].name;
}

INTERP_API const char *interp_net_node_name(const interp_net *net, int i)
{
    return net->nodes[i].name;
}

INTERP_API const char *interp_net_node_op(const interp_net *net, int i)
{
    return itp_op_row(net->nodes[i].op)->name;
}

INTERP_API interp_shape interp_net_node_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->nodes[i].out);
}

INTERP_API interp_dtype interp_net_input_dtype(const interp_net *net, int i)
{
    return net->values[net->inputs[i]].dtype;
}

INTERP_API interp_dtype interp_net_output_dtype(const interp_net *net, int i)
{
    return net->values[net->outputs[i]].dtype;
}

INTERP_API int interp_net_input_place(const interp_net *net, int i)
{
    return net->input_place[i];
}

INTERP_API bool interp_net_input_is_turned(const interp_net *net, int i)
{
    return net->values[net->inputs[i]].turned;
}

INTERP_API bool interp_net_is_whole(const interp_net *net)
{
    return net->whole;
}

/* The node or input behind a value; n_nodes for numbers that are there from the start. */
ITP_FN int itp_value_source(const interp_net *net, int value)
{
    for (int i = 0; i < net->n_inputs; i++)
        if (net->inputs[i] == value) return -1 - i;
    return net->values[value].kind == ITP_ACTIVATION ? net->values[value].producer : net->n_nodes;
}

/* Whether an input of a node is a parameter that no earlier input reads. */
ITP_FN bool itp_reads_first(const interp_net *net, int node, int k)
{
    const int value = net->nodes[node].in[k];
    if (net->values[value].kind != ITP_PARAM) return false;
    for (int i = 0; i <= node; i++)
        for (int j = 0; j < (i < node ? net->nodes[i].n_in : k); j++)
            if (net->nodes[i].in[j] == value) return false;
    return true;
}

INTERP_API interp_node_info interp_net_node(const interp_net *net, int i)
{
    const itp_node *node = &net->nodes[i];
    const itp_op *row = itp_op_row(node->op);
    interp_node_info d;
    memset(&d, 0, sizeof d);
    d.name = node->name;
    d.op = row->name;
    d.shape = itp_sample_shape(net, node->out);
    if (row->macs) d.macs = row->macs(net, node) / itp_max(1, net->fixed_batch);
    memcpy(d.kernel, node->attrs.kernel, sizeof d.kernel);
    memcpy(d.stride, node->attrs.stride, sizeof d.stride);
    d.groups = node->attrs.groups;
    if (!(row->flags & (ITP_ALIAS | ITP_ALIAS_IN_EVAL)))
        d.bytes = interp_shape_size(&d.shape) * sizeof(float);
    for (int k = 0; k < node->n_in; k++) {
        if (itp_value_source(net, node->in[k]) < net->n_nodes) d.n_sources++;
        if (itp_reads_first(net, i, k))
            d.n_parameters += interp_shape_size(&net->values[node->in[k]].shape);
    }
    return d;
}

INTERP_API int interp_net_node_source(const interp_net *net, int i, int k)
{
    const itp_node *node = &net->nodes[i];
    for (int at = 0; at < node->n_in; at++) {
        const int source = itp_value_source(net, node->in[at]);
        if (source < net->n_nodes && k-- == 0) return source;
    }
    return net->n_nodes;
}

INTERP_API int interp_net_output_source(const interp_net *net, int i)
{
    return itp_value_source(net, net->outputs[i]);
}

INTERP_API int interp_net_fixed_batch(const interp_net *net)
{
    return net->fixed_batch;
}

INTERP_API float *interp_net_parameters(interp_net *net)
{
    return net->flat;
}

INTERP_API int interp_net_parameter_count(const interp_net *net)
{
    return net->n_params;
}

INTERP_API interp_parameter_info interp_net_parameter(const interp_net *net, int i)
{
    const itp_value *v = &net->values[net->params[i]];
    interp_parameter_info p;
    p.name = v->name;
    p.shape = v->shape;
    p.offset = v->offset;
    return p;
}

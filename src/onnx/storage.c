/* ---- onnx/storage.c: weights in fewer bytes, and what that loses ------------------------------- */

#define ITP_HALF_MAX 65504.0f

/* The dimension of output channels of a weight, by the first node that reads it as one; -1: none. */
ITP_FN int itp_storage_axis(const interp_net *net, int value)
{
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *node = &net->nodes[i];
        if (node->n_in < 2 || node->in[1] != value) continue;
        if (node->op == ITP_OP_CONV) return 0;
        if (node->op == ITP_OP_GEMM) return node->attrs.trans_b ? 0 : 1;
        if (node->op == ITP_OP_MATMUL && net->values[value].shape.rank == 2) return 1;
    }
    return -1;
}

/* How a value is kept when `want` is asked for: arrays that it would spoil stay as they are. */
ITP_FN interp_storage itp_storage_of(const interp_net *net, int value, interp_storage want)
{
    const itp_value *v = &net->values[value];
    const size_t n = interp_shape_size(&v->shape);
    if (!want || v->kind != ITP_PARAM || v->shape.rank < 2 || !itp_is_finite(v->data, n))
        return INTERP_STORE_FLOAT32;
    if (want == INTERP_STORE_INT8 && itp_storage_axis(net, value) < 0) return INTERP_STORE_FLOAT32;
    for (size_t i = 0; i < n && want == INTERP_STORE_FLOAT16; i++)
        if (!(fabsf((itp_f32)v->data[i]) <= ITP_HALF_MAX)) return INTERP_STORE_FLOAT32;
    return want;
}

/* What files call the forms. */
typedef struct itp_storage_row {
    size_t bytes;       /* of one number */
    int type;           /* TensorProto.DataType */
    const char *suffix; /* of the names of arrays; NULL: none */
} itp_storage_row;

ITP_FN const itp_storage_row *itp_storage_row_of(const interp_net *net, int value,
                                                 interp_storage want)
{
    static const itp_storage_row rows[] = {
        {4, ITP_ONNX_FLOAT, NULL}, {2, 10, "float16"}, {1, 3, "int8"}};
    return &rows[itp_storage_of(net, value, want)];
}

/* Channel of element i of an array along `axis`. */
ITP_FN size_t itp_channel_of(const interp_shape *s, int axis, size_t i)
{
    size_t inner = 1;
    for (int k = axis + 1; k < s->rank; k++) inner *= (size_t)s->dim[k];
    return i / inner % (size_t)s->dim[axis];
}

/* The step of each channel, its largest weight by 127; 1 where all are 0. */
ITP_FN void itp_int8_scales(const itp_value *v, int axis, float *scales)
{
    const size_t n = interp_shape_size(&v->shape), channels = (size_t)v->shape.dim[axis];
    itp_fill(scales, channels, 0);
    for (size_t i = 0; i < n; i++) {
        float *most = &scales[itp_channel_of(&v->shape, axis, i)];
        *most = (float)fmax((double)*most, fabs((double)v->data[i]));
    }
    for (size_t c = 0; c < channels; c++) {
        scales[c] = (float)(itp_f32)(scales[c] / 127);
        if (!(scales[c] > 0)) scales[c] = 1;
    }
}

ITP_FN int itp_int8_of(float x, float scale)
{
    const double q = floor((double)x / (double)scale + .5);
    return (int)fmax(-127, fmin(127, q));
}

/* Element i as it comes back from a file. */
ITP_FN float itp_rounded(const itp_value *v, interp_storage storage, int axis, const float *scales,
                         size_t i)
{
    if (storage == INTERP_STORE_FLOAT16) return (float)itp_f32_of_half(itp_half_of(v->data[i]));
    const float scale = scales[itp_channel_of(&v->shape, axis, i)];
    return (float)(itp_f32)((float)itp_int8_of(v->data[i], scale) * scale);
}

/* The most channels of any weight kept in int8. */
ITP_FN size_t itp_storage_channels(const interp_net *net)
{
    size_t most = 1;
    for (int v = 0; v < net->n_values; v++) {
        const int axis = net->values[v].kind == ITP_PARAM ? itp_storage_axis(net, v) : -1;
        if (axis >= 0) most = itp_max_size(most, (size_t)net->values[v].shape.dim[axis]);
    }
    return most;
}

INTERP_API interp_status interp_weights_round(interp_net *net, interp_storage storage,
                                              interp_storage_report *report)
{
    if (!net) return INTERP_NO_MEMORY;
    interp_storage_report r;
    double lost = 0, all = 0;
    memset(&r, 0, sizeof r);
    if (!net->built || (unsigned)storage > INTERP_STORE_INT8)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                        net->built ? "weights: storage %d is not known"
                                   : "the network is not built: call interp_net_build",
                        (int)storage);
    ITP_TRY(itp_net_writable(net->ctx, net));
    float *scales =
        (float *)interp_alloc(net->ctx, itp_mul_size(itp_storage_channels(net), sizeof *scales));
    if (!scales) return INTERP_NO_MEMORY;
    for (int k = 0; k < net->n_params && storage; k++) {
        const int index = net->params[k];
        const itp_value *v = &net->values[index];
        const size_t n = interp_shape_size(&v->shape);
        const int axis = itp_storage_axis(net, index);
        double worst = 0, most = 0;
        if (itp_storage_of(net, index, storage) != storage) continue;
        if (storage == INTERP_STORE_INT8) itp_int8_scales(v, axis, scales);
        for (size_t i = 0; i < n; i++) {
            const double x = (double)v->data[i];
            v->data[i] = itp_rounded(v, storage, axis, scales, i);
            const double off = (double)v->data[i] - x;
            worst = fmax(worst, fabs(off));
            most = fmax(most, fabs(x));
            lost += off * off;
            all += x * x;
        }
        r.n_arrays++;
        r.n_weights += n;
        if (most > 0) r.largest = fmax(r.largest, worst / most);
    }
    if (all > 0) r.rms = sqrt(lost / all);
    interp_free(net->ctx, scales);
    if (report) *report = r;
    return INTERP_OK;
}

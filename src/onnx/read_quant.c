/* ---- onnx/read_quant.c: quantised ops, as the float arithmetic they stand for ------------------ */

/* Smallest and largest number of an element type that is quantised to. */
ITP_FN void itp_make_range(itp_make *m, int type, double *low, double *high)
{
    *low = *high = 0;
    switch (type) {
    case 2: *high = 255; break;
    case 3: *low = -128, *high = 127; break;
    case 4: *high = 65535; break;
    case 5: *low = -32768, *high = 32767; break;
    case ITP_ONNX_UINT4: *high = 15; break;
    case ITP_ONNX_INT4: *low = -8, *high = 7; break;
    default:
        itp_make_fail(m, INTERP_UNSUPPORTED, "quantisation to element type %d is not supported",
                      type);
    }
}

/* A scale or zero point: one number, or one for each entry of `axis` of something of `rank`. */
ITP_FN int itp_make_along(itp_make *m, int v, int rank, int axis)
{
    const interp_shape s = itp_make_shape(m, v);
    interp_shape wide = itp_shape_none();
    if (v < 0 || s.rank != 1) return v;
    wide.rank = s.dim[0] == 1 ? 0 : rank;
    if (wide.rank) wide.dim[axis] = s.dim[0];
    return itp_make_reshape(m, v, &wide);
}

/* x - zero point, where there is one. */
ITP_FN int itp_make_shifted(itp_make *m, int x, int zero)
{
    return zero < 0 ? x : itp_make_two(m, ITP_OP_SUB, x, zero);
}

/* round(x) + zero point, held to the range of the type; as the type has it where that is of floats. */
ITP_FN int itp_make_saturated(itp_make *m, int x, int zero, int type)
{
    double low, high;
    if (itp_small_float_of(type)) {
        if (zero >= 0) x = itp_make_two(m, ITP_OP_ADD, x, zero);
        m->type = type;
        return itp_make_with(m, ITP_OP_ROUND_TO, x, type, itp_make_rounding(m, type));
    }
    itp_make_range(m, type, &low, &high);
    x = itp_make_one(m, ITP_OP_ROUND, x);
    if (zero >= 0) x = itp_make_two(m, ITP_OP_ADD, x, zero);
    m->type = type;
    return itp_make_with(m, ITP_OP_CLIP, x, low, high);
}

/* The same for x: also one for each block of entries along the axis. */
ITP_FN int itp_make_blocks(itp_make *m, int v, const interp_shape *x, int axis)
{
    const interp_shape s = itp_make_shape(m, v);
    const int block = itp_make_int(m, "block_size", 0);
    if (v < 0 || !block || s.rank != x->rank) return itp_make_along(m, v, x->rank, axis);
    if (block < 0 || x->dim[axis] > 1 << 20 || (x->dim[axis] - 1) / block >= s.dim[axis])
        itp_make_fail(m, INTERP_BAD_SHAPE, "blocks of %d do not fit", block);
    if (m->status) return -1;
    const int n = x->dim[axis];
    double *at = (double *)interp_alloc(m->r->ctx, itp_mul_size((size_t)n + 1, sizeof *at));
    if (!at) m->status = INTERP_NO_MEMORY;
    for (int i = 0; at && i < n; i++) at[i] = i / block;
    const int y = m->status ? -1 : itp_make_take(m, v, axis, n, at);
    interp_free(m->r->ctx, at);
    return y;
}

ITP_FN int itp_make_quant_axis(itp_make *m, int rank)
{
    const int axis = itp_axis(itp_make_int(m, "axis", 1), rank);
    return axis >= 0 && axis < rank ? axis : 0;
}

ITP_FN void itp_read_quantize(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const int axis = itp_make_quant_axis(m, s.rank);
    const int scale = itp_make_blocks(m, itp_make_in(m, 1), &s, axis);
    const int zero = itp_make_blocks(m, itp_make_in(m, 2), &s, axis);
    int type = itp_make_int(m, "output_dtype", 0);
    if (itp_make_has(m, 2)) type = itp_make_type(m, 2);
    x = itp_make_two(m, ITP_OP_DIV, x, scale);
    itp_make_end(m, 0, itp_make_saturated(m, x, zero, type ? type : ITP_ONNX_UINT8));
}

ITP_FN void itp_read_dequantize(itp_make *m)
{
    int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const int axis = itp_make_quant_axis(m, s.rank);
    const int scale = itp_make_blocks(m, itp_make_in(m, 1), &s, axis);
    x = itp_make_shifted(m, x, itp_make_blocks(m, itp_make_in(m, 2), &s, axis));
    m->type = itp_make_type(m, 1);
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_MUL, x, scale));
}

/* By the range of x itself, widened to hold 0. */
ITP_FN void itp_read_dynamic_quantize(itp_make *m)
{
    const int x = itp_make_in(m, 0), nothing = itp_make_scalar(m, 0);
    const int top =
        itp_make_two(m, ITP_OP_MAX, itp_make_reduce(m, ITP_OP_REDUCE_MAX, x, 0, false), nothing);
    const int low =
        itp_make_two(m, ITP_OP_MIN, itp_make_reduce(m, ITP_OP_REDUCE_MIN, x, 0, false), nothing);
    const int scale = itp_make_by(m, ITP_OP_DIV, itp_make_two(m, ITP_OP_SUB, top, low), 255);
    int zero = itp_make_one(m, ITP_OP_NEG, itp_make_two(m, ITP_OP_DIV, low, scale));
    zero = itp_make_one(m, ITP_OP_ROUND, itp_make_with(m, ITP_OP_CLIP, zero, 0, 255));
    const int y = itp_make_two(m, ITP_OP_DIV, x, scale);
    itp_make_end(m, 0, itp_make_saturated(m, y, zero, ITP_ONNX_UINT8));
    itp_make_end(m, 2, zero);
    m->type = ITP_ONNX_FLOAT;
    itp_make_end(m, 1, scale);
}

ITP_FN void itp_read_matmul_integer(itp_make *m)
{
    int a = itp_make_in(m, 0), b = itp_make_in(m, 1);
    const int rank = itp_make_shape(m, a).rank;
    a = itp_make_shifted(m, a, itp_make_along(m, itp_make_in(m, 2), rank, itp_max(0, rank - 2)));
    b = itp_make_shifted(m, b, itp_make_in(m, 3));
    m->type = ITP_ONNX_INT32;
    itp_make_end(m, 0, itp_make_matmul(m, a, b));
}

ITP_FN void itp_read_conv_integer(itp_make *m)
{
    int x = itp_make_in(m, 0), v = itp_make_in(m, 1);
    x = itp_make_shifted(m, x, itp_make_along(m, itp_make_in(m, 2), 1, 0));
    v = itp_make_shifted(m, v, itp_make_along(m, itp_make_in(m, 3), itp_make_shape(m, v).rank, 0));
    m->type = ITP_ONNX_INT32;
    itp_make_end(m, 0, itp_make_conv(m, x, v, -1));
}

/* Inputs x, its scale and zero point, the same of w, scale and zero point of y, bias. */
ITP_FN void itp_read_qlinear_conv(itp_make *m)
{
    int x = itp_make_in(m, 0), v = itp_make_in(m, 3);
    const int rank = itp_make_shape(m, x).rank;
    x = itp_make_shifted(m, x, itp_make_along(m, itp_make_in(m, 2), rank, 1));
    v = itp_make_shifted(m, v, itp_make_along(m, itp_make_in(m, 5), rank, 0));
    int y = itp_make_conv(m, x, v, itp_make_in(m, 8));
    int scale = itp_make_two(m, ITP_OP_MUL, itp_make_in(m, 1), itp_make_in(m, 4));
    scale = itp_make_two(m, ITP_OP_DIV, scale, itp_make_in(m, 6));
    y = itp_make_two(m, ITP_OP_MUL, y, itp_make_along(m, scale, rank, 1));
    const int zero = itp_make_along(m, itp_make_in(m, 7), rank, 1);
    itp_make_end(m, 0, itp_make_saturated(m, y, zero, itp_make_type(m, 7)));
}

ITP_FN void itp_read_qlinear_matmul(itp_make *m)
{
    int a = itp_make_in(m, 0), b = itp_make_in(m, 3);
    const int rank = itp_make_shape(m, a).rank, row = itp_max(0, rank - 2);
    a = itp_make_shifted(m, a, itp_make_along(m, itp_make_in(m, 2), rank, row));
    b = itp_make_shifted(m, b, itp_make_in(m, 5));
    int y = itp_make_matmul(m, a, b);
    y = itp_make_two(m, ITP_OP_MUL, y, itp_make_along(m, itp_make_in(m, 1), rank, row));
    y = itp_make_two(m, ITP_OP_MUL, y, itp_make_in(m, 4));
    y = itp_make_two(m, ITP_OP_DIV, y, itp_make_along(m, itp_make_in(m, 6), rank, row));
    const int zero = itp_make_along(m, itp_make_in(m, 7), rank, row);
    itp_make_end(m, 0, itp_make_saturated(m, y, zero, itp_make_type(m, 7)));
}

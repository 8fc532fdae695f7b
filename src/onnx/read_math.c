/* ---- onnx/read_math.c: elementwise functions, reductions, searches ---------------------------- */

/* Before opset 7 operands broadcast only where "broadcast" says so, b along a from "axis" on. */
ITP_FN int itp_make_second(itp_make *m, int x)
{
    const int y = itp_make_in(m, 1);
    if (m->r->opset >= 7 || !itp_make_int(m, "broadcast", 0)) return y;
    const interp_shape a = itp_make_shape(m, x), b = itp_make_shape(m, y);
    const int axis = itp_make_int(m, "axis", a.rank - b.rank);
    const int behind = a.rank - itp_axis(axis, a.rank) - b.rank;
    interp_shape s = b;
    if (behind <= 0 || b.rank + behind > INTERP_MAX_RANK) return y;
    for (int i = 0; i < behind; i++) s.dim[s.rank++] = 1;
    return itp_make_reshape(m, y, &s);
}

ITP_FN void itp_read_binary(itp_make *m)
{
    const int x = itp_make_in(m, 0), y = itp_make_second(m, x);
    itp_make_end(m, 0, itp_make_two(m, m->n->row->op, x, y));
}

/* Before opset 7 one slope for each channel. */
ITP_FN void itp_read_prelu(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    int slope = itp_make_in(m, 1);
    const bool old = m->r->opset < 7 && itp_make_shape(m, slope).rank == 1;
    if (old) slope = itp_make_per_channel(m, slope, itp_make_shape(m, x).rank);
    itp_make_end(m, 0, itp_make_two(m, ITP_OP_PRELU, x, slope));
}

ITP_FN void itp_read_div(itp_make *m)
{
    const int x = itp_make_in(m, 0), y = itp_make_second(m, x);
    const int op = itp_onnx_type_is_whole(m->type) ? ITP_OP_INT_DIV : ITP_OP_DIV;
    itp_make_end(m, 0, itp_make_two(m, op, x, y));
}

ITP_FN void itp_read_mod(itp_make *m)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.mode = itp_make_int(m, "fmod", 0);
    const int in[2] = {itp_make_in(m, 0), itp_make_in(m, 1)};
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_MOD, 2, in, &a));
}

ITP_FN void itp_read_mul(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    if (itp_onnx_in(m->r, m->n, 0) == itp_onnx_in(m->r, m->n, 1))
        itp_make_end(m, 0, itp_make_one(m, ITP_OP_SQUARE, x));
    else itp_make_end(m, 0, itp_make_two(m, ITP_OP_MUL, x, itp_make_second(m, x)));
}

/* The powers that have an op of their own by that. */
ITP_FN void itp_read_pow(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    double power = 0;
    const int symbol = itp_onnx_in(m->r, m->n, 1);
    if (!itp_onnx_scalar(m->r, symbol, &power)) power = 0;
    if (m->r->symbols[symbol].shape.rank > itp_make_shape(m, x).rank) power = 0;
    const int op = power == 2     ? ITP_OP_SQUARE
                   : power == 0.5 ? ITP_OP_SQRT
                   : power == -1  ? ITP_OP_RECIPROCAL
                                  : ITP_OP_POW;
    if (power == 1) itp_make_end(m, 0, x);
    else if (op != ITP_OP_POW) itp_make_end(m, 0, itp_make_one(m, op, x));
    else itp_make_end(m, 0, itp_make_two(m, op, x, itp_make_second(m, x)));
}

/* Any number of operands. */
ITP_FN void itp_read_fold(itp_make *m)
{
    const bool mean = itp_make_is(m, "Mean");
    const int op = itp_make_is(m, "Max")   ? ITP_OP_MAX
                   : itp_make_is(m, "Min") ? ITP_OP_MIN
                                           : ITP_OP_ADD;
    int y = itp_make_in(m, 0);
    for (int i = 1; i < m->n->n_in; i++) y = itp_make_two(m, op, y, itp_make_in(m, i));
    if (mean && m->n->n_in > 1) y = itp_make_by(m, ITP_OP_MUL, y, 1.0 / m->n->n_in);
    itp_make_end(m, 0, y);
}

ITP_FN void itp_read_compare(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    const bool one = m->n->n_in == 1;
    const int y = one ? itp_make_one(m, m->n->row->op, x)
                      : itp_make_two(m, m->n->row->op, x, itp_make_second(m, x));
    m->type = ITP_ONNX_BOOL;
    itp_make_end(m, 0, y);
}

ITP_FN void itp_read_is_inf(itp_make *m)
{
    const int y =
        itp_make_with(m, ITP_OP_IS_INF, itp_make_in(m, 0), itp_make_int(m, "detect_negative", 1),
                      itp_make_int(m, "detect_positive", 1));
    m->type = ITP_ONNX_BOOL;
    itp_make_end(m, 0, y);
}

/* gamma (x, or alpha (e^x - 1)) */
ITP_FN void itp_read_selu(itp_make *m)
{
    const double alpha = itp_make_float(m, "alpha", ITP_ONNX_SELU_ALPHA);
    const double gamma = itp_make_float(m, "gamma", ITP_ONNX_SELU_GAMMA);
    int x = itp_make_in(m, 0);
    if (fabs(alpha - ITP_ONNX_SELU_ALPHA) + fabs(gamma - ITP_ONNX_SELU_GAMMA) < 1e-6)
        x = itp_make_one(m, ITP_OP_SELU, x);
    else x = itp_make_by(m, ITP_OP_MUL, itp_make_with(m, ITP_OP_ELU, x, alpha, 0), gamma);
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_swish(itp_make *m)
{
    const double alpha = itp_make_float(m, "alpha", 1);
    const int x = itp_make_in(m, 0);
    if (alpha == 1) itp_make_end(m, 0, itp_make_one(m, ITP_OP_SILU, x));
    else
        itp_make_end(m, 0,
                     itp_make_by(m, ITP_OP_MUL,
                                 itp_make_one(m, ITP_OP_SILU, itp_make_by(m, ITP_OP_MUL, x, alpha)),
                                 1 / alpha));
}

ITP_FN void itp_read_gelu(itp_make *m)
{
    const bool near_to = itp_make_says(m, "approximate", "tanh", false);
    if (!near_to && !itp_make_says(m, "approximate", "none", true))
        itp_make_fail(m, INTERP_FORMAT, "its \"approximate\" is not known");
    const int op = near_to ? ITP_OP_GELU_TANH : ITP_OP_GELU;
    itp_make_end(m, 0, itp_make_one(m, op, itp_make_in(m, 0)));
}

/* Bounds that are known become constants of the op. */
ITP_FN void itp_read_clip(itp_make *m)
{
    double bound[2] = {-(double)FLT_MAX, (double)FLT_MAX};
    int x = itp_make_in(m, 0);
    if (m->r->opset < 11) {
        bound[0] = itp_make_float(m, "min", bound[0]);
        bound[1] = itp_make_float(m, "max", bound[1]);
    }
    const bool inputs = m->r->opset >= 11;
    bool fixed = true;
    for (int i = 0; i < 2 && inputs; i++)
        fixed = fixed && (!itp_make_has(m, 1 + i) || itp_make_known(m, 1 + i));
    for (int i = 0; i < 2 && inputs && fixed; i++)
        bound[i] = itp_make_number_in(m, 1 + i, bound[i]);
    if (fixed) x = itp_make_with(m, ITP_OP_CLIP, x, bound[0], bound[1]);
    for (int i = 0; i < 2 && !fixed; i++)
        if (itp_make_has(m, 1 + i))
            x = itp_make_two(m, i ? ITP_OP_MIN : ITP_OP_MAX, x, itp_make_in(m, 1 + i));
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_where(itp_make *m)
{
    const int in[3] = {itp_make_in(m, 0), itp_make_in(m, 1), itp_make_in(m, 2)};
    m->type = itp_make_type(m, 1);
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_WHERE, 3, in, NULL));
}

/* To an element type: floats to whole numbers lose what is behind the point. */
ITP_FN void itp_make_cast(itp_make *m, int to)
{
    int x = itp_make_in(m, 0);
    if (!itp_onnx_type_row(to))
        itp_make_fail(m, INTERP_UNSUPPORTED, "casts to element type %d are not supported", to);
    if (to == ITP_ONNX_BOOL && m->type != to) x = itp_make_one(m, ITP_OP_TO_BOOL, x);
    else if (itp_small_float_of(to) && m->type != to)
        x = itp_make_with(m, ITP_OP_ROUND_TO, x, to, itp_make_rounding(m, to));
    else if (itp_onnx_type_is_whole(to) && !itp_onnx_type_is_whole(m->type))
        x = itp_make_one(m, ITP_OP_TRUNC, x);
    const int low = to == ITP_ONNX_INT4 ? 8 : 0; /* numbers of four bits go round */
    if ((to == ITP_ONNX_INT4 || to == ITP_ONNX_UINT4) && m->type != to)
        x = itp_make_by(m, ITP_OP_SUB,
                        itp_make_by(m, ITP_OP_MOD, itp_make_by(m, ITP_OP_ADD, x, low), 16), low);
    m->type = to;
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_cast(itp_make *m)
{
    itp_make_cast(m, itp_make_int(m, "to", 0));
}

ITP_FN void itp_read_cast_like(itp_make *m)
{
    itp_make_cast(m, itp_make_type(m, 1));
}

ITP_FN void itp_read_reduce(itp_make *m)
{
    int x = itp_make_in(m, 0), op = m->n->row->op;
    const int rank = itp_make_shape(m, x).rank;
    const bool keep = itp_make_int(m, "keepdims", 1) != 0;
    bool given;
    const unsigned axes = itp_make_axes(m, itp_make_is(m, "ReduceSum") ? 12 : 17, rank, &given);
    if (itp_make_is(m, "ReduceL1")) x = itp_make_one(m, ITP_OP_ABS, x);
    if (itp_make_is(m, "ReduceL2") || itp_make_is(m, "ReduceSumSquare"))
        x = itp_make_one(m, ITP_OP_SQUARE, x);
    if (op < 0) op = ITP_OP_REDUCE_SUM;
    const bool images = op == ITP_OP_REDUCE_MEAN && keep && rank > 2 && axes == (1u << rank) - 4;
    if (!axes && itp_make_int(m, "noop_with_empty_axes", 0)) op = -1;
    if (images) x = itp_make_one(m, ITP_OP_GLOBAL_AVERAGE_POOL, x);
    else if (op >= 0) x = itp_make_reduce(m, op, x, axes, keep);
    if (itp_make_is(m, "ReduceL2")) x = itp_make_one(m, ITP_OP_SQRT, x);
    if (itp_make_is(m, "ReduceLogSum")) x = itp_make_one(m, ITP_OP_LOG, x);
    itp_make_end(m, 0, x);
}

ITP_FN void itp_read_arg(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int(m, "axis", 0);
    a.drop = !itp_make_int(m, "keepdims", 1);
    a.last = itp_make_int(m, "select_last_index", 0) != 0;
    m->type = ITP_ONNX_INT64;
    itp_make_end(m, 0, itp_make_node(m, m->n->row->op, 1, &x, &a));
}

ITP_FN void itp_read_top_k(itp_make *m)
{
    const int x = itp_make_in(m, 0), type = m->type;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int(m, "axis", -1);
    a.reverse = !itp_make_int(m, "largest", 1);
    a.length =
        m->r->opset < 10 ? itp_make_int(m, "k", 0) : itp_make_int_of(itp_make_number_in(m, 1, 0));
    if (itp_make_wants(m, 0)) itp_make_end(m, 0, itp_make_node(m, ITP_OP_TOP_K_VALUES, 1, &x, &a));
    m->type = ITP_ONNX_INT64;
    if (itp_make_wants(m, 1)) itp_make_end(m, 1, itp_make_node(m, ITP_OP_TOP_K_INDICES, 1, &x, &a));
    m->type = type;
}

ITP_FN void itp_read_cum_sum(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int_of(itp_make_number_in(m, 1, 0));
    a.exclusive = itp_make_int(m, "exclusive", 0) != 0;
    a.reverse = itp_make_int(m, "reverse", 0) != 0;
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_CUM_SUM, 1, &x, &a));
}

ITP_FN void itp_read_one_hot(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    itp_numbers values;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = itp_make_int(m, "axis", -1);
    a.length = itp_make_int_of(itp_make_number_in(m, 1, 0));
    if (itp_make_numbers(m, 2, &values) && values.n == 2)
        a.alpha = (float)values.x[0], a.beta = (float)values.x[1];
    else itp_make_fail(m, INTERP_FORMAT, "it needs two values");
    m->type = itp_make_type(m, 2);
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_ONE_HOT, 1, &x, &a));
}

/* A constant of rows x columns, 1 where `keep` says so. */
ITP_FN int itp_make_mask(itp_make *m, int rows, int columns, int from, int to)
{
    interp_shape s = itp_shape_none();
    s.rank = 2;
    s.dim[0] = rows, s.dim[1] = columns;
    const size_t n = interp_shape_size(&s);
    if (n > ITP_ONNX_EVAL) itp_make_fail(m, INTERP_UNSUPPORTED, "its matrices are too large");
    if (m->status) return -1;
    float *x = (float *)interp_alloc(m->r->ctx, itp_mul_size(itp_max_size(n, 1), sizeof *x));
    if (!x) m->status = INTERP_NO_MEMORY;
    for (int i = 0; x && i < rows; i++) /* diagonals from..to */
        for (int j = 0; j < columns; j++)
            x[(size_t)i * (size_t)columns + (size_t)j] = j - i >= from && j - i <= to ? 1 : 0;
    const int v = itp_make_const(m, &s, x);
    interp_free(m->r->ctx, x);
    return v;
}

ITP_FN void itp_read_trilu(itp_make *m)
{
    const int x = itp_make_in(m, 0);
    const interp_shape s = itp_make_shape(m, x);
    const int k = itp_make_int_of(itp_make_number_in(m, 1, 0));
    const bool upper = itp_make_int(m, "upper", 1) != 0;
    if (s.rank < 2) itp_make_fail(m, INTERP_BAD_SHAPE, "its input is no matrix");
    if (m->status) return;
    const int mask = itp_make_mask(m, s.dim[s.rank - 2], s.dim[s.rank - 1], upper ? k : -INT_MAX,
                                   upper ? INT_MAX : k);
    const int in[3] = {mask, x, itp_make_scalar(m, 0)};
    itp_make_end(m, 0, itp_make_node(m, ITP_OP_WHERE, 3, in, NULL));
}

ITP_FN void itp_read_eye_like(itp_make *m)
{
    bool batched;
    const interp_shape s = itp_make_shape_in(m, &batched);
    const int k = itp_make_int(m, "k", 0);
    m->type = itp_make_int(m, "dtype", m->type);
    if (s.rank != 2) itp_make_fail(m, INTERP_BAD_SHAPE, "its input is no matrix");
    else itp_make_end(m, 0, itp_make_mask(m, s.dim[0], s.dim[1], k, k));
}

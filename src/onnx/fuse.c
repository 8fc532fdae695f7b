/* ---- onnx/fuse.c: chains that stand for one op of ours ----------------------------------------

   All but the last node must be used by nobody outside of the chain. */

/* The node that makes a symbol for one user only, when it is of that op. */
ITP_FN itp_onnx_node *itp_onnx_maker(const itp_onnx *r, int symbol, const char *op)
{
    if (symbol < 0) return NULL;
    const itp_symbol *s = &r->symbols[symbol];
    if (s->maker < 0 || s->uses != 1 || s->tensor >= 0) return NULL;
    itp_onnx_node *n = &r->nodes[s->maker];
    return itp_slice_is(n->op, op) && !n->skipped && n->fused < 0 ? n : NULL;
}

/* The other input of a node that has the number `want` as one of its two; -1 when it has not. */
ITP_FN int itp_onnx_beside(const itp_onnx *r, const itp_onnx_node *n, double want, bool second_only)
{
    for (int i = second_only ? 1 : 0; i < 2; i++) {
        double x = 0;
        const int symbol = itp_onnx_in(r, n, i);
        if (r->symbols[symbol].shape.rank < 2 && itp_onnx_scalar(r, symbol, &x) &&
            fabs(x - want) <= 1e-6 * fabs(want))
            return itp_onnx_in(r, n, 1 - i);
    }
    return -1;
}

/* What a product multiplies with `symbol`; -1 when that is no factor. */
ITP_FN int itp_onnx_other(const itp_onnx *r, const itp_onnx_node *n, int symbol)
{
    for (int i = 0; i < 2; i++)
        if (itp_onnx_in(r, n, i) == symbol) return itp_onnx_in(r, n, 1 - i);
    return -1;
}

/* x + 0.044715 x^3, of which all but x are added to `chain`. */
ITP_FN bool itp_onnx_match_cubic(const itp_onnx *r, int symbol, int x, itp_onnx_node **chain,
                                 int *n_chain)
{
    itp_onnx_node *add = itp_onnx_maker(r, symbol, "Add");
    if (!add) return false;
    itp_onnx_node *scaled = itp_onnx_maker(r, itp_onnx_other(r, add, x), "Mul");
    if (!scaled) return false;
    const int cube = itp_onnx_beside(r, scaled, ITP_ONNX_GELU_CUBE, false);
    itp_onnx_node *power = itp_onnx_maker(r, cube, "Pow"), *mul = itp_onnx_maker(r, cube, "Mul");
    chain[(*n_chain)++] = add;
    chain[(*n_chain)++] = scaled;
    if (power) {
        chain[(*n_chain)++] = power;
        return itp_onnx_beside(r, power, 3, true) == x;
    }
    itp_onnx_node *square = mul ? itp_onnx_maker(r, itp_onnx_other(r, mul, x), "Mul") : NULL;
    if (!square) return false;
    chain[(*n_chain)++] = mul;
    chain[(*n_chain)++] = square;
    return itp_onnx_in(r, square, 0) == x && itp_onnx_in(r, square, 1) == x;
}

/* Whether `symbol` is 1 + erf(x / sqrt 2), or 1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)). */
ITP_FN int itp_onnx_match_gate(const itp_onnx *r, int symbol, int x, itp_onnx_node **chain,
                               int *n_chain)
{
    itp_onnx_node *add = itp_onnx_maker(r, symbol, "Add");
    if (!add) return -1;
    const int inner = itp_onnx_beside(r, add, 1, false);
    itp_onnx_node *erf = itp_onnx_maker(r, inner, "Erf"),
                  *tanh_node = itp_onnx_maker(r, inner, "Tanh");
    itp_onnx_node *end = erf ? erf : tanh_node;
    if (!end) return -1;
    const int argument = itp_onnx_in(r, end, 0);
    itp_onnx_node *div = itp_onnx_maker(r, argument, "Div"),
                  *mul = itp_onnx_maker(r, argument, "Mul");
    chain[(*n_chain)++] = add;
    chain[(*n_chain)++] = end;
    if (!div && !mul) return -1;
    chain[(*n_chain)++] = div ? div : mul;
    if (erf && div) return itp_onnx_beside(r, div, ITP_ONNX_SQRT_2, true) == x ? ITP_OP_GELU : -1;
    if (erf) return itp_onnx_beside(r, mul, 1 / ITP_ONNX_SQRT_2, false) == x ? ITP_OP_GELU : -1;
    if (!mul) return -1;
    const int cubic = itp_onnx_beside(r, mul, ITP_ONNX_SQRT_2_BY_PI, false);
    return itp_onnx_match_cubic(r, cubic, x, chain, n_chain) ? ITP_OP_GELU_TANH : -1;
}

/* A product of x, 1/2 and a gate, in any order. */
ITP_FN bool itp_onnx_fuse_gelu(const itp_onnx *r, itp_onnx_node *n)
{
    for (int side = 0; side < 2; side++) {
        itp_onnx_node *inner = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Mul");
        if (!inner) continue;
        const int factors[3] = {itp_onnx_in(r, n, 1 - side), itp_onnx_in(r, inner, 0),
                                itp_onnx_in(r, inner, 1)};
        for (int half = 0; half < 3; half++) {
            double c = 0;
            if (!itp_onnx_scalar(r, factors[half], &c) || fabs(c - 0.5) > 1e-6) continue;
            if (r->symbols[factors[half]].shape.rank > 1) continue;
            for (int swap = 0; swap < 2; swap++) {
                const int x = factors[(half + 1 + swap) % 3], gate = factors[(half + 2 - swap) % 3];
                itp_onnx_node *chain[8];
                int n_chain = 0;
                const int op = itp_onnx_match_gate(r, gate, x, chain, &n_chain);
                if (op < 0) continue;
                n->fused = op;
                n->fused_in[0] = x;
                inner->skipped = true;
                for (int i = 0; i < n_chain; i++) chain[i]->skipped = true;
                return true;
            }
        }
    }
    return false;
}

/* The node that makes a symbol, when it is of that op and `uses` inputs are made of it. */
ITP_FN itp_onnx_node *itp_onnx_maker_of(const itp_onnx *r, int symbol, const char *op, int uses)
{
    if (symbol < 0) return NULL;
    const itp_symbol *s = &r->symbols[symbol];
    if (s->maker < 0 || s->uses != uses || s->tensor >= 0) return NULL;
    itp_onnx_node *n = &r->nodes[s->maker];
    return itp_slice_is(n->op, op) && !n->skipped && n->fused < 0 ? n : NULL;
}

/* A mean over the last dimension alone, which stays as 1. */
ITP_FN bool itp_onnx_is_row_mean(const itp_onnx *r, const itp_onnx_node *n)
{
    int64_t axis[1];
    int count = 0, keep = 1;
    const int list = itp_onnx_in(r, n, 1);
    if (itp_onnx_int(r, n, "keepdims", &keep) || keep != 1) return false;
    if (list >= 0) {
        double x = 0;
        return itp_onnx_scalar(r, list, &x) && x == -1;
    }
    return !itp_onnx_ints(r, n, "axes", axis, 1, &count) && count == 1 && axis[0] == -1;
}

/* Add(Mul(Div(x - mean, sqrt(mean of squares + epsilon)), gamma), beta), as layer norm was exported
   before opset 17. */
ITP_FN bool itp_onnx_fuse_layer_norm(const itp_onnx *r, itp_onnx_node *n)
{
    double epsilon = 0;
    itp_onnx_node *chain[8];
    for (int side = 0; side < 2; side++) {
        itp_onnx_node *mul = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Mul");
        const int beta = itp_onnx_in(r, n, 1 - side);
        for (int other = 0; mul && other < 2; other++) {
            itp_onnx_node *div = itp_onnx_maker(r, itp_onnx_in(r, mul, other), "Div");
            const int gamma = itp_onnx_in(r, mul, 1 - other);
            if (!div || r->symbols[gamma].tensor < 0 || r->symbols[beta].tensor < 0) continue;
            if (r->symbols[gamma].shape.rank != 1 || r->symbols[beta].shape.rank != 1) continue;
            itp_onnx_node *root = itp_onnx_maker(r, itp_onnx_in(r, div, 1), "Sqrt");
            itp_onnx_node *add = root ? itp_onnx_maker(r, itp_onnx_in(r, root, 0), "Add") : NULL;
            if (!add || !itp_onnx_scalar(r, itp_onnx_in(r, add, 1), &epsilon)) continue;
            itp_onnx_node *mean2 = itp_onnx_maker(r, itp_onnx_in(r, add, 0), "ReduceMean");
            itp_onnx_node *power =
                mean2 ? itp_onnx_maker(r, itp_onnx_in(r, mean2, 0), "Pow") : NULL;
            if (!power || itp_onnx_beside(r, power, 2, true) < 0) continue;
            const int centred = itp_onnx_in(r, power, 0);
            itp_onnx_node *sub = itp_onnx_maker_of(r, centred, "Sub", 2);
            if (!sub || itp_onnx_in(r, div, 0) != centred) continue;
            itp_onnx_node *mean = itp_onnx_maker(r, itp_onnx_in(r, sub, 1), "ReduceMean");
            const int x = itp_onnx_in(r, sub, 0);
            if (!mean || itp_onnx_in(r, mean, 0) != x || !itp_onnx_is_row_mean(r, mean) ||
                !itp_onnx_is_row_mean(r, mean2))
                continue;
            chain[0] = mul, chain[1] = div, chain[2] = root, chain[3] = add;
            chain[4] = mean2, chain[5] = power, chain[6] = sub, chain[7] = mean;
            for (int i = 0; i < 8; i++) chain[i]->skipped = true;
            n->fused = ITP_OP_LAYER_NORM;
            n->fused_in[0] = x, n->fused_in[1] = gamma, n->fused_in[2] = beta;
            n->fused_number = epsilon;
            return true;
        }
    }
    return false;
}

ITP_FN void itp_onnx_fuse(itp_onnx *r)
{
    for (int i = 0; i < r->n_order; i++) {
        itp_onnx_node *n = &r->nodes[r->order[i]];
        if (!n->skipped && itp_slice_is(n->op, "Add") && itp_onnx_fuse_layer_norm(r, n)) continue;
        if (n->skipped || !itp_slice_is(n->op, "Mul") || itp_onnx_fuse_gelu(r, n)) continue;
        for (int side = 0; side < 2 && n->fused < 0; side++) {
            itp_onnx_node *gate = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Sigmoid");
            const int x = itp_onnx_in(r, n, 1 - side);
            if (!gate || itp_onnx_in(r, gate, 0) != x) continue;
            n->fused = ITP_OP_SILU;
            n->fused_in[0] = x;
            gate->skipped = true;
        }
    }
}

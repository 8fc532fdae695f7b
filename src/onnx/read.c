/* ---- onnx/read.c: from an ONNX graph to a network -------------------------------------------- */

#define ITP_ONNX_OLDEST 7
#define ITP_ONNX_NEWEST 25
#define ITP_ONNX_LIST   64                /* most indices of one Gather */
#define ITP_ONNX_FILL   ((size_t)1 << 28) /* most numbers that a few bytes of a file may ask for */

/* ---- checks before anything is built */

/* What the outputs need, and how often each value is used. */
ITP_FN interp_status itp_onnx_mark(itp_onnx *r)
{
    int *stack = (int *)interp_alloc(r->ctx, itp_mul_size((size_t)r->n_nodes, sizeof *stack));
    int top = 0;
    if (!stack) return INTERP_NO_MEMORY;
    for (int o = 0; o < r->n_outputs; o++) {
        r->symbols[r->outputs[o]].uses++;
        const int maker = r->symbols[r->outputs[o]].maker;
        if (maker < 0 || r->nodes[maker].needed) continue;
        r->nodes[maker].needed = true;
        stack[top++] = maker;
        while (top > 0) {
            const itp_onnx_node *n = &r->nodes[stack[--top]];
            for (int i = 0; i < n->n_in; i++) {
                const int symbol = itp_onnx_in(r, n, i);
                if (symbol < 0) continue;
                r->symbols[symbol].uses++;
                const int from = r->symbols[symbol].maker;
                if (from < 0 || r->nodes[from].needed) continue;
                r->nodes[from].needed = true; /* each node is put here once */
                stack[top++] = from;
            }
        }
    }
    interp_free(r->ctx, stack);
    return INTERP_OK;
}

/* An attribute that this op did not have at this opset, or that we do not know, changes what the
   op means in a way we would miss. */
ITP_FN interp_status itp_onnx_check_attrs(const itp_onnx *r, const itp_onnx_node *n)
{
    for (int i = n->attr; i < n->attr + n->n_attr; i++) {
        const itp_onnx_field *f = n->row->fields;
        while (f->name && !itp_slice_is(r->attrs[i].name, f->name)) f++;
        if (!f->name || r->opset < f->since || (f->until && r->opset > f->until))
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "attribute \"%.*s\" is not supported",
                                 ITP_SHOW(r->attrs[i].name));
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_check_node(const itp_onnx *r, itp_onnx_node *n)
{
    if (n->domain.n && !itp_slice_is(n->domain, "ai.onnx"))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "ops of domain \"%.*s\" are not supported",
                             ITP_SHOW(n->domain));
    n->row = itp_onnx_row_named(n->op);
    if (!n->row) return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "this op is not supported");
    ITP_TRY(itp_onnx_check_attrs(r, n));
    if (n->n_in < n->row->least || n->n_in > n->row->most)
        return itp_onnx_fail(r, INTERP_FORMAT, n, "it has %d inputs", n->n_in);
    for (int i = 0; i < n->n_in; i++) {
        const int symbol = itp_onnx_in(r, n, i);
        if (symbol < 0 && (i < n->row->least || itp_onnx_input_kind(n->row, i) != 'k'))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its input %d is left out", i);
        if (symbol < 0) continue;
        const itp_symbol *s = &r->symbols[symbol];
        if (s->maker < 0 && s->tensor < 0 && s->input < 0)
            return itp_onnx_fail(r, INTERP_FORMAT, n, "nothing makes its input \"%.*s\"",
                                 ITP_SHOW(s->name));
    }
    for (int i = 0; i < n->n_out; i++) {
        const int symbol = r->links[n->out + i];
        if (symbol < 0) continue;
        const itp_symbol *s = &r->symbols[symbol];
        if (s->tensor >= 0 || s->input >= 0)
            return itp_onnx_fail(r, INTERP_FORMAT, n,
                                 "\"%.*s\" is its output, and an input or initializer too",
                                 ITP_SHOW(s->name));
        if (i > 0 && s->uses)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "its output %d is used", i);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_check(itp_onnx *r)
{
    if (!r->n_outputs) return itp_fail(r->ctx, INTERP_FORMAT, "the graph has no output");
    ITP_TRY(itp_onnx_mark(r));
    for (int i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].needed) ITP_TRY(itp_onnx_check_node(r, &r->nodes[i]));
    if (r->opset < ITP_ONNX_OLDEST || r->opset > ITP_ONNX_NEWEST)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "opset %lld is not supported, only %d to %d: convert the model",
                        (long long)r->opset, ITP_ONNX_OLDEST, ITP_ONNX_NEWEST);
    for (int i = 0; i < r->n_outputs; i++) {
        const itp_symbol *s = &r->symbols[r->outputs[i]];
        if (s->maker < 0 && s->tensor < 0 && s->input < 0)
            return itp_fail(r->ctx, INTERP_FORMAT, "nothing makes the output \"%.*s\"",
                            ITP_SHOW(s->name));
    }
    return INTERP_OK;
}

/* Makers before users; the order of the file where it is that already. */
ITP_FN interp_status itp_onnx_sort(itp_onnx *r)
{
    const size_t size = itp_mul_size((size_t)r->n_nodes, sizeof(int));
    r->order = (int *)interp_alloc(r->ctx, size);
    int *stack = (int *)interp_alloc(r->ctx, size), *next = (int *)interp_alloc(r->ctx, size);
    interp_status status = r->order && stack && next ? INTERP_OK : INTERP_NO_MEMORY;
    for (int first = 0; first < r->n_nodes && !status; first++) {
        int top = 0;
        if (!r->nodes[first].needed || r->nodes[first].state) continue;
        stack[0] = first, next[0] = 0;
        r->nodes[first].state = 1;
        while (top >= 0 && !status) {
            itp_onnx_node *n = &r->nodes[stack[top]];
            if (next[top] == n->n_in) {
                n->state = 2;
                r->order[r->n_order++] = stack[top--];
                continue;
            }
            const int symbol = itp_onnx_in(r, n, next[top]++);
            const int maker = symbol < 0 ? -1 : r->symbols[symbol].maker;
            if (maker < 0 || r->nodes[maker].state == 2) continue;
            if (r->nodes[maker].state == 1) {
                status = itp_onnx_fail(r, INTERP_FORMAT, n, "it depends on its own output");
                break;
            }
            r->nodes[maker].state = 1;
            stack[++top] = maker;
            next[top] = 0;
        }
    }
    interp_free(r->ctx, stack);
    interp_free(r->ctx, next);
    return status;
}

/* ---- folding: numbers that are known without running anything */

/* The shape that `in` takes when it becomes `want`, with its 0 and -1. */
ITP_FN interp_status itp_onnx_resolve(const itp_onnx *r, const itp_onnx_node *n,
                                      const interp_shape *in, const interp_shape *want,
                                      interp_shape *out)
{
    itp_node node;
    char label[256];
    memset(&node, 0, sizeof node);
    node.op = ITP_OP_RESHAPE;
    node.name = label;
    node.n_in = 1;
    node.attrs.shape = *want;
    (void)itp_onnx_label(n, label);
    return itp_node_shape(r->ctx, NULL, &node, in, out);
}

/* Constant: one of five attributes. */
ITP_FN interp_status itp_onnx_fold_constant(itp_onnx *r, const itp_onnx_node *n)
{
    static const struct {
        const char *name;
        int type, element;
        uint32_t field;
        int wire, rank;
    } forms[] = {{"value_float", ITP_ATTR_FLOAT, ITP_ONNX_FLOAT, 2, ITP_FIXED32, 0},
                 {"value_floats", ITP_ATTR_FLOATS, ITP_ONNX_FLOAT, 7, ITP_FIXED32, 1},
                 {"value_int", ITP_ATTR_INT, ITP_ONNX_INT64, 3, ITP_VARINT, 0},
                 {"value_ints", ITP_ATTR_INTS, ITP_ONNX_INT64, 8, ITP_VARINT, 1}};
    const int symbol = r->links[n->out];
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, "value");
    itp_onnx_tensor t;
    itp_slice name;
    if (a) {
        ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_TENSOR, a->t.at != NULL));
        ITP_TRY(itp_onnx_read_tensor(r, a->t, &name, &t));
        ITP_TRY(itp_onnx_add_tensor(r, &t, symbol));
        return itp_onnx_load_external(r, symbol);
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        a = itp_onnx_attr_of(r, n, forms[i].name);
        if (!a) continue;
        const bool there = forms[i].field == 2 ? a->has_f : forms[i].field == 3 ? a->has_i : true;
        ITP_TRY(itp_onnx_want(r, n, a, forms[i].type, there));
        memset(&t, 0, sizeof t);
        t.type = forms[i].element;
        t.message = a->message;
        t.field = forms[i].field;
        t.wire = forms[i].wire;
        t.shape = itp_shape_none();
        itp_pb_numbers it = itp_pb_numbers_of(t.message, t.field, t.wire);
        uint64_t bits;
        int count = 0;
        while (count < INT_MAX && itp_pb_number(&it, &bits)) count++;
        if (it.message.bad || (!forms[i].rank && count != 1))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its \"%s\" is damaged", forms[i].name);
        t.shape.rank = forms[i].rank;
        if (t.shape.rank) t.shape.dim[0] = count;
        return itp_onnx_add_tensor(r, &t, symbol);
    }
    return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "it has no value of a kind that is supported");
}

ITP_FN interp_status itp_onnx_fold_filled(itp_onnx *r, const itp_onnx_node *n)
{
    static const char zero[4] = {0, 0, 0, 0};
    int64_t dims[INTERP_MAX_RANK];
    int rank;
    itp_onnx_tensor t;
    itp_slice name;
    ITP_TRY(itp_onnx_list(r, n, 0, dims, INTERP_MAX_RANK, &rank));
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, "value");
    if (a) {
        ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_TENSOR, a->t.at != NULL));
        ITP_TRY(itp_onnx_read_tensor(r, a->t, &name, &t));
        if (interp_shape_size(&t.shape) != 1 || t.external)
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its value is not one number");
    } else {
        memset(&t, 0, sizeof t);
        t.type = ITP_ONNX_FLOAT;
        t.raw.at = zero;
        t.raw.n = sizeof zero;
    }
    t.repeats = true;
    t.shape = itp_shape_none();
    t.shape.rank = rank;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1 || dims[i] > INT_MAX)
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d is %lld", i,
                                 (long long)dims[i]);
        t.shape.dim[i] = (int)dims[i];
    }
    if (interp_shape_size(&t.shape) > ITP_ONNX_FILL)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "it makes more than %zu numbers",
                             ITP_ONNX_FILL);
    return itp_onnx_add_tensor(r, &t, r->links[n->out]);
}

/* Known numbers under another shape. Those that others use as they are stay apart. */
ITP_FN interp_status itp_onnx_fold_view(itp_onnx *r, itp_onnx_node *n)
{
    const int from = itp_onnx_in(r, n, 0);
    interp_shape want, shape;
    if (r->symbols[from].tensor < 0) return INTERP_OK;
    if (r->symbols[from].uses > 1 && !itp_onnx_is_whole(r, from)) return INTERP_OK;
    ITP_TRY(n->row->view(r, n, &r->symbols[from].shape, &want));
    ITP_TRY(itp_onnx_resolve(r, n, &r->symbols[from].shape, &want, &shape));
    itp_symbol *to = &r->symbols[r->links[n->out]];
    to->tensor = r->symbols[from].tensor;
    to->root = r->symbols[from].root;
    to->shape = shape;
    n->skipped = true;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_fold(itp_onnx *r)
{
    for (int i = 0; i < r->n_initializers; i++)
        ITP_TRY(itp_onnx_load_external(r, r->initializers[i]));
    for (int i = 0; i < r->n_order; i++) {
        itp_onnx_node *n = &r->nodes[r->order[i]];
        const bool constant = itp_slice_is(n->op, "Constant");
        const bool filled = itp_slice_is(n->op, "ConstantOfShape");
        if (constant) ITP_TRY(itp_onnx_fold_constant(r, n));
        if (filled) ITP_TRY(itp_onnx_fold_filled(r, n));
        n->skipped = constant || filled;
        if (n->row->view) ITP_TRY(itp_onnx_fold_view(r, n));
    }
    return INTERP_OK;
}

/* ---- fusing: chains that stand for one op of ours. All but the last node must be used by nobody
   else. */

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
                n->fused_x = x;
                inner->skipped = true;
                for (int i = 0; i < n_chain; i++) chain[i]->skipped = true;
                return true;
            }
        }
    }
    return false;
}

ITP_FN void itp_onnx_fuse(itp_onnx *r)
{
    for (int i = 0; i < r->n_order; i++) {
        itp_onnx_node *n = &r->nodes[r->order[i]];
        if (n->skipped || !itp_slice_is(n->op, "Mul") || itp_onnx_fuse_gelu(r, n)) continue;
        for (int side = 0; side < 2 && n->fused < 0; side++) {
            itp_onnx_node *gate = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Sigmoid");
            const int x = itp_onnx_in(r, n, 1 - side);
            if (!gate || itp_onnx_in(r, gate, 0) != x) continue;
            n->fused = ITP_OP_SILU;
            n->fused_x = x;
            gate->skipped = true;
        }
    }
}

/* ---- what becomes of known numbers */

ITP_FN interp_status itp_onnx_mark_role(itp_onnx *r, const itp_onnx_node *n, int symbol, char kind,
                                        bool behind)
{
    const itp_symbol *s = &r->symbols[symbol];
    itp_symbol *root = &r->symbols[s->root];
    const bool initializer = root->maker < 0, trained = r->own || (behind && s->shape.rank > 0);
    if (s->tensor < 0 || kind == 'k') return INTERP_OK;
    if (!itp_onnx_is_float(r, symbol))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "\"%.*s\" does not hold floats, and nothing else can be computed with",
                             ITP_SHOW(s->name));
    unsigned role = ITP_AS_CONST;
    if (kind == 's') role = ITP_AS_BUFFER;
    else if (initializer && (kind == 'w' || (kind == 'o' && trained) || r->own))
        role = ITP_AS_PARAM;
    root->role |= role;
    root->shape = s->shape;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_mark_roles(itp_onnx *r)
{
    for (int k = 0; k < r->n_order; k++) {
        const itp_onnx_node *n = &r->nodes[r->order[k]];
        bool behind = false;
        if (n->skipped) continue;
        for (int i = 0; i < n->n_in && n->fused < 0; i++) {
            const int symbol = itp_onnx_in(r, n, i);
            behind = behind || (symbol >= 0 && r->symbols[symbol].trained);
        }
        if (n->fused >= 0) {
            behind = r->symbols[n->fused_x].trained;
            ITP_TRY(itp_onnx_mark_role(r, n, n->fused_x, 'x', behind));
        }
        for (int i = 0; i < n->n_in && n->fused < 0; i++) {
            const int symbol = itp_onnx_in(r, n, i);
            if (symbol < 0) continue;
            ITP_TRY(itp_onnx_mark_role(r, n, symbol, itp_onnx_input_kind(n->row, i), behind));
        }
        for (int i = 0; i < n->n_out; i++) {
            const int symbol = r->links[n->out + i];
            if (symbol >= 0) r->symbols[symbol].trained = n->row->weighted || behind;
        }
    }
    for (int i = 0; i < r->n_outputs; i++) {
        const itp_symbol *s = &r->symbols[r->outputs[i]];
        if (s->tensor < 0) continue;
        r->symbols[s->root].role |= ITP_AS_CONST;
        r->symbols[s->root].shape = s->shape;
    }
    return INTERP_OK;
}

/* A name ended by 0, in one of the reader's two buffers. */
ITP_FN const char *itp_onnx_text(itp_buf *b, itp_slice s)
{
    b->n = 0;
    itp_buf_add(b, s.at, s.n);
    return b->status ? "" : b->data;
}

/* The name of `s` with "/suffix" that no other value has. */
ITP_FN const char *itp_onnx_derived(itp_onnx *r, itp_buf *b, itp_slice s, const char *suffix)
{
    itp_slice made;
    (void)itp_onnx_text(b, s);
    itp_buf_byte(b, '/');
    itp_buf_str(b, suffix);
    for (; !b->status; itp_buf_byte(b, '_')) {
        made.at = b->data;
        made.n = b->n;
        if (itp_symbol_find(r, made) < 0) return b->data;
    }
    return "";
}

/* The numbers of a root symbol as a value of the network. */
ITP_FN interp_status itp_onnx_add_numbers(itp_onnx *r, int root, itp_kind kind, const char *name,
                                          int *value)
{
    const itp_symbol *s = &r->symbols[root];
    const itp_onnx_tensor *t = &r->tensors[s->tensor];
    const size_t n = interp_shape_size(&s->shape);
    char text[96];
    if (!itp_onnx_is_float(r, root))
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" does not hold floats",
                        ITP_SHOW(s->name));
    if (n < 1 || n > (size_t)INT_MAX)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" of shape %s has too %s numbers",
                        ITP_SHOW(s->name), itp_shape_text(&s->shape, text, sizeof text),
                        n ? "many" : "few");
    const int v = itp_add_value(r->net, name, kind, &s->shape);
    if (v < 0) return INTERP_NO_MEMORY;
    float *data = (float *)interp_alloc(r->ctx, itp_mul_size(n, sizeof *data));
    if (!data) return INTERP_NO_MEMORY;
    r->net->values[v].data = data;
    itp_onnx_floats(t, data);
    *value = v;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_add_root(itp_onnx *r, int root)
{
    itp_symbol *s = &r->symbols[root];
    if (s->value >= 0) return INTERP_OK;
    const itp_kind kind = s->role & ITP_AS_PARAM    ? ITP_PARAM
                          : s->role & ITP_AS_BUFFER ? ITP_BUFFER
                                                    : ITP_CONST;
    const char *name = itp_onnx_text(&r->value_name, s->name);
    ITP_TRY(r->value_name.status);
    return itp_onnx_add_numbers(r, root, kind, name, &s->value);
}

/* The value of the network that a symbol stands for. */
ITP_FN interp_status itp_onnx_symbol_value(itp_onnx *r, int symbol, int *value)
{
    const itp_symbol *s = &r->symbols[symbol];
    if (s->tensor >= 0) {
        ITP_TRY(itp_onnx_add_root(r, s->root));
        *value = r->symbols[s->root].value;
    } else {
        *value = s->value;
    }
    return INTERP_OK;
}

/* Running statistics, which training writes: never a parameter's own numbers. */
ITP_FN interp_status itp_onnx_buffer_value(itp_onnx *r, const itp_onnx_node *n, int symbol,
                                           int *value)
{
    const int root = r->symbols[symbol].root;
    if (r->symbols[symbol].tensor < 0) return itp_onnx_unknown(r, n, symbol);
    ITP_TRY(itp_onnx_symbol_value(r, symbol, value));
    if (r->net->values[*value].kind == ITP_BUFFER) return INTERP_OK;
    itp_symbol *s = &r->symbols[root];
    if (s->buffer < 0) {
        const char *name = itp_onnx_derived(r, &r->value_name, s->name, "running");
        ITP_TRY(r->value_name.status);
        ITP_TRY(itp_onnx_add_numbers(r, root, ITP_BUFFER, name, &s->buffer));
    }
    *value = s->buffer;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_value(itp_onnx *r, const itp_onnx_node *n, int i, int *value)
{
    const int symbol = itp_onnx_in(r, n, i);
    if (itp_onnx_input_kind(n->row, i) == 's') return itp_onnx_buffer_value(r, n, symbol, value);
    return itp_onnx_symbol_value(r, symbol, value);
}

/* ---- nodes */

/* Adds a node of ours. suffix NULL: the one that makes the first output of `n`; else one on the way
   to it. Gives the value it makes. */
ITP_FN interp_status itp_onnx_emit(itp_onnx *r, const itp_onnx_node *n, const char *suffix, int op,
                                   int n_in, const int *in, const itp_attrs *a, int *value)
{
    const int out = r->links[n->out];
    const itp_slice made = r->symbols[out].name;
    itp_buf *b = &r->node_name;
    b->n = 0;
    if (n->name.n) itp_buf_add(b, n->name.at, n->name.n);
    else itp_buf_printf(b, "%.*s_%d", ITP_SHOW(n->op), n->index);
    if (suffix) itp_buf_printf(b, "/%s", suffix);
    const char *name = suffix ? itp_onnx_derived(r, &r->value_name, made, suffix)
                              : itp_onnx_text(&r->value_name, made);
    ITP_TRY(b->status);
    ITP_TRY(r->value_name.status);
    const interp_tensor y = itp_add_node(r->net, op, b->data, name, n_in, in, a);
    if (!y) return r->net->status;
    if (!suffix) r->symbols[out].value = y - 1;
    if (value) *value = y - 1;
    return INTERP_OK;
}

ITP_FN const interp_shape *itp_onnx_shape(const itp_onnx *r, int value)
{
    return &r->net->values[value].shape;
}

/* The first input and the attributes. */
ITP_FN interp_status itp_onnx_begin(itp_onnx *r, const itp_onnx_node *n, int *x, itp_attrs *a)
{
    ITP_TRY(itp_onnx_value(r, n, 0, x));
    return itp_onnx_attrs(r, n, itp_onnx_shape(r, *x)->rank, a);
}

ITP_FN interp_status itp_onnx_emit_shape(itp_onnx *r, const itp_onnx_node *n, const char *suffix,
                                         int x, const interp_shape *want, int *value)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *want;
    return itp_onnx_emit(r, n, suffix, ITP_OP_RESHAPE, 1, &x, &a, value);
}

ITP_FN interp_status itp_onnx_read_plain(itp_onnx *r, const itp_onnx_node *n, int op,
                                         const itp_attrs *a)
{
    int in[ITP_MAX_INPUTS];
    for (int i = 0; i < n->n_in; i++) ITP_TRY(itp_onnx_value(r, n, i, &in[i]));
    return itp_onnx_emit(r, n, NULL, op, n->n_in, in, a, NULL);
}

/* Pads that ONNX leaves to us: output is input / stride; the odd one at the end or the start. */
ITP_FN void itp_onnx_same_pads(itp_attrs *a, const interp_shape *x, bool at_end)
{
    for (int i = 0; i < 2; i++) {
        const int64_t size = x->dim[2 + i], stride = itp_max(1, a->stride[i]);
        const int64_t span = (int64_t)a->dilation[i] * (a->kernel[i] - 1) + 1;
        int64_t total = ((size + stride - 1) / stride - 1) * stride + span - size;
        if (total < 0) total = 0;
        if (total > 1 << 21) total = 1 << 21; /* refused by the shape rule */
        const int less = (int)(total / 2), more = (int)(total - total / 2);
        a->pad[i] = at_end ? less : more;
        a->pad[i + 2] = at_end ? more : less;
    }
}

/* Convolution and pooling. */
ITP_FN interp_status itp_onnx_read_window(itp_onnx *r, const itp_onnx_node *n)
{
    itp_attrs a;
    int x, w;
    char text[96];
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (s.rank != 4)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "only images [N,C,H,W] are supported, not %s",
                             itp_shape_text(&s, text, sizeof text));
    ITP_TRY(itp_onnx_attrs(r, n, s.rank, &a));
    if (n->row->op == ITP_OP_CONV && !a.kernel[0]) {
        ITP_TRY(itp_onnx_value(r, n, 1, &w));
        a.kernel[0] = itp_onnx_shape(r, w)->dim[2];
        a.kernel[1] = itp_onnx_shape(r, w)->dim[3];
    }
    const itp_onnx_attr *pad = itp_onnx_attr_of(r, n, "auto_pad");
    if (pad) {
        ITP_TRY(itp_onnx_want(r, n, pad, ITP_ATTR_STRING, true));
        const bool upper = itp_slice_is(pad->s, "SAME_UPPER");
        if (upper || itp_slice_is(pad->s, "SAME_LOWER")) itp_onnx_same_pads(&a, &s, upper);
        else if (itp_slice_is(pad->s, "VALID")) memset(a.pad, 0, sizeof a.pad);
        else if (pad->s.n && !itp_slice_is(pad->s, "NOTSET"))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "auto_pad \"%.*s\" is not known",
                                 ITP_SHOW(pad->s));
    }
    return itp_onnx_read_plain(r, n, n->row->op, &a);
}

/* Before opset 13 the sum ran over all dimensions from the axis on. */
ITP_FN interp_status itp_onnx_read_softmax(itp_onnx *r, const itp_onnx_node *n)
{
    itp_attrs a;
    int x, many = 0, last = 0;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (r->opset < 13 && !itp_onnx_attr_of(r, n, "axis")) a.axis = 1;
    const int axis = itp_axis(a.axis, s.rank);
    if (r->opset >= 13 || axis < 0 || axis >= s.rank)
        return itp_onnx_emit(r, n, NULL, n->row->op, 1, &x, &a, NULL);
    a.axis = axis;
    for (int i = axis; i < s.rank; i++)
        if (s.dim[i] != 1) last = i, many++;
    if (many == 1) a.axis = last;
    if (many <= 1) return itp_onnx_emit(r, n, NULL, n->row->op, 1, &x, &a, NULL);
    interp_shape flat = itp_shape_none(), back = s;
    flat.rank = axis + 1;
    for (int i = 0; i < axis; i++) flat.dim[i] = 0;
    flat.dim[axis] = -1;
    back.dim[0] = axis ? 0 : -1;
    ITP_TRY(itp_onnx_emit_shape(r, n, "flat", x, &flat, &x));
    ITP_TRY(itp_onnx_emit(r, n, "rows", n->row->op, 1, &x, &a, &x));
    return itp_onnx_emit_shape(r, n, NULL, x, &back, NULL);
}

ITP_FN interp_status itp_onnx_read_clip(itp_onnx *r, const itp_onnx_node *n)
{
    double low = -(double)FLT_MAX, high = (double)FLT_MAX;
    itp_attrs a;
    int x;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    if (r->opset < 11) {
        ITP_TRY(itp_onnx_float(r, n, "min", &low));
        ITP_TRY(itp_onnx_float(r, n, "max", &high));
    } else {
        ITP_TRY(itp_onnx_scalar_in(r, n, 1, &low));
        ITP_TRY(itp_onnx_scalar_in(r, n, 2, &high));
    }
    a.alpha = (float)low, a.beta = (float)high;
    return itp_onnx_emit(r, n, NULL, ITP_OP_CLIP, 1, &x, &a, NULL);
}

ITP_FN interp_status itp_onnx_read_dropout(itp_onnx *r, const itp_onnx_node *n)
{
    double ratio = 0.5, training = 0;
    itp_attrs a;
    int x;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_float(r, n, "ratio", &ratio));
    if (r->opset >= 12) {
        ITP_TRY(itp_onnx_scalar_in(r, n, 1, &ratio));
        ITP_TRY(itp_onnx_scalar_in(r, n, 2, &training));
    }
    if (training != 0)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "it is set to training: export the model for inference");
    if (!(ratio >= 0 && ratio < 1))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "its ratio %g is not in [0, 1)", ratio);
    a.alpha = (float)ratio;
    return itp_onnx_emit(r, n, NULL, ITP_OP_DROPOUT, 1, &x, &a, NULL);
}

/* ---- new shapes. Dimension 0, perhaps the batch, is kept by name and not by number. */

ITP_FN interp_status itp_onnx_view_reshape(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count, literal = 0;
    ITP_TRY(itp_onnx_list(r, n, 1, list, INTERP_MAX_RANK, &count));
    ITP_TRY(itp_onnx_int(r, n, "allowzero", &literal));
    *want = itp_shape_none();
    want->rank = count;
    for (int i = 0; i < count; i++) {
        if (list[i] < -1 || list[i] > INT_MAX || (literal && list[i] == 0))
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d of the new shape is %lld", i,
                                 (long long)list[i]);
        want->dim[i] = (int)list[i];
    }
    if (count && in->rank && want->dim[0] == in->dim[0]) want->dim[0] = 0;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_flatten(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    itp_attrs a;
    ITP_TRY(itp_onnx_attrs(r, n, in->rank, &a));
    const int axis = itp_axis(a.axis, in->rank);
    *want = itp_shape_none();
    want->rank = 2;
    if (axis < 0 || axis > in->rank)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "axis %d of %d dimensions", a.axis, in->rank);
    size_t rows = 1;
    for (int i = 0; i < axis; i++) rows = itp_mul_size(rows, (size_t)in->dim[i]);
    if (rows > (size_t)INT_MAX)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "its input has too many numbers");
    want->dim[0] = (int)rows;
    want->dim[1] = -1;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_same(itp_onnx *r, const itp_onnx_node *n, const interp_shape *in,
                                        interp_shape *want)
{
    (void)r, (void)n;
    *want = *in;
    return INTERP_OK;
}

/* Axes as a set of bits among `rank` dimensions. */
ITP_FN interp_status itp_onnx_axes(const itp_onnx *r, const itp_onnx_node *n, const int64_t *list,
                                   int count, int rank, unsigned *set)
{
    *set = 0;
    for (int i = 0; i < count; i++) {
        const int64_t axis = list[i] < 0 ? list[i] + rank : list[i];
        if (axis < 0 || axis >= rank || (*set >> axis & 1))
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "axis %lld among %d dimensions",
                                 (long long)list[i], rank);
        *set |= 1u << axis;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_squeeze(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count;
    unsigned gone = 0;
    ITP_TRY(itp_onnx_either(r, n, "axes", 12, 1, list, &count));
    if (count >= 0) ITP_TRY(itp_onnx_axes(r, n, list, count, in->rank, &gone));
    *want = itp_shape_none();
    for (int i = 0; i < in->rank; i++) {
        if (count < 0 && in->dim[i] == 1) gone |= 1u << i;
        if (!(gone >> i & 1)) want->dim[want->rank++] = i ? in->dim[i] : 0;
        else if (in->dim[i] != 1)
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d is %d and cannot go", i,
                                 in->dim[i]);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_unsqueeze(itp_onnx *r, const itp_onnx_node *n,
                                             const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count, from = 0;
    unsigned added;
    ITP_TRY(itp_onnx_either(r, n, "axes", 12, 1, list, &count));
    if (count < 0) return itp_onnx_fail(r, INTERP_FORMAT, n, "it has no axes");
    if (in->rank + count > INTERP_MAX_RANK)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "more than %d dimensions", INTERP_MAX_RANK);
    ITP_TRY(itp_onnx_axes(r, n, list, count, in->rank + count, &added));
    *want = itp_shape_none();
    want->rank = in->rank + count;
    for (int i = 0; i < want->rank; i++) {
        if (added >> i & 1) continue;
        want->dim[i] = from ? in->dim[from] : i ? -1 : 0;
        from++;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_view(itp_onnx *r, const itp_onnx_node *n)
{
    interp_shape want;
    int x;
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    const interp_shape s = *itp_onnx_shape(r, x);
    ITP_TRY(n->row->view(r, n, &s, &want));
    return itp_onnx_emit_shape(r, n, NULL, x, &want, NULL);
}

/* ---- ops that become others */

/* One of our slices for each axis that is not taken whole. */
ITP_FN interp_status itp_onnx_read_slice(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t start[INTERP_MAX_RANK], end[INTERP_MAX_RANK], axes[INTERP_MAX_RANK];
    int64_t steps[INTERP_MAX_RANK];
    int count, n_end, n_axes, n_steps = -1, x;
    unsigned set;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    const int rank = itp_onnx_shape(r, x)->rank;
    ITP_TRY(itp_onnx_either(r, n, "starts", 9, 1, start, &count));
    ITP_TRY(itp_onnx_either(r, n, "ends", 9, 2, end, &n_end));
    ITP_TRY(itp_onnx_either(r, n, "axes", 9, 3, axes, &n_axes));
    if (r->opset > 9) ITP_TRY(itp_onnx_list(r, n, 4, steps, INTERP_MAX_RANK, &n_steps));
    if (count < 0 || n_end != count || (n_axes >= 0 && n_axes != count) ||
        (n_steps >= 0 && n_steps != count))
        return itp_onnx_fail(r, INTERP_FORMAT, n, "starts, ends, axes and steps differ in number");
    for (int i = 0; i < count && n_axes < 0; i++) axes[i] = i;
    ITP_TRY(itp_onnx_axes(r, n, axes, count, rank, &set));
    int last = -1, cut[INTERP_MAX_RANK]; /* 1: this axis is not taken whole */
    for (int i = 0; i < count; i++) {
        const int axis = (int)(axes[i] < 0 ? axes[i] + rank : axes[i]);
        const int64_t size = itp_onnx_shape(r, x)->dim[axis];
        if (n_steps >= 0 && steps[i] != 1)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "a step of %lld is not supported",
                                 (long long)steps[i]);
        const bool to_end = end[i] >= INT_MAX; /* how exporters say "all", also of any batch */
        if (start[i] < 0) start[i] = start[i] < -size ? 0 : start[i] + size;
        if (end[i] < 0) end[i] = end[i] < -size ? 0 : end[i] + size;
        if (end[i] > size) end[i] = size;
        if (start[i] > size) start[i] = size;
        cut[i] = start[i] != 0 || (axis ? end[i] != size : !to_end);
        axes[i] = axis;
        if (cut[i]) last = i;
    }
    if (last < 0) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, &x, NULL, NULL);
    for (int i = 0; i <= last; i++) {
        char suffix[16];
        if (!cut[i]) continue;
        snprintf(suffix, sizeof suffix, "axis%d", (int)axes[i]);
        a.axis = (int)axes[i], a.start = (int)start[i];
        a.length = (int)(end[i] > start[i] ? end[i] - start[i] : 0);
        ITP_TRY(itp_onnx_emit(r, n, i == last ? NULL : suffix, ITP_OP_SLICE, 1, &x, &a, &x));
    }
    return INTERP_OK;
}

/* With one index, or with several in a row. */
ITP_FN interp_status itp_onnx_read_gather(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t index[ITP_ONNX_LIST];
    int count, x;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_list(r, n, 1, index, ITP_ONNX_LIST, &count));
    const interp_shape *s = itp_onnx_shape(r, x);
    const int axis = itp_axis(a.axis, s->rank);
    if (axis < 0 || axis >= s->rank || count < 1)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "%d indices along axis %d of %d dimensions",
                             count, a.axis, s->rank);
    for (int i = 0; i < count; i++) {
        if (index[i] < 0) index[i] += s->dim[axis];
        if (index[i] < 0 || index[i] >= s->dim[axis])
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "an index is not within %d", s->dim[axis]);
        if (i && index[i] != index[i - 1] + 1)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                                 "only neighbouring indices are supported");
    }
    a.start = (int)index[0];
    a.length = count;
    a.drop = r->symbols[itp_onnx_in(r, n, 1)].shape.rank == 0;
    return itp_onnx_emit(r, n, NULL, ITP_OP_SLICE, 1, &x, &a, NULL);
}

ITP_FN interp_status itp_onnx_read_mul(itp_onnx *r, const itp_onnx_node *n)
{
    int x;
    if (n->fused >= 0) {
        ITP_TRY(itp_onnx_symbol_value(r, n->fused_x, &x));
        return itp_onnx_emit(r, n, NULL, n->fused, 1, &x, NULL, NULL);
    }
    if (itp_onnx_in(r, n, 0) != itp_onnx_in(r, n, 1))
        return itp_onnx_read_plain(r, n, ITP_OP_MUL, NULL);
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    return itp_onnx_emit(r, n, NULL, ITP_OP_SQUARE, 1, &x, NULL, NULL);
}

ITP_FN interp_status itp_onnx_read_pow(itp_onnx *r, const itp_onnx_node *n)
{
    double power = 0;
    int x, op = -1;
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    ITP_TRY(itp_onnx_scalar_in(r, n, 1, &power));
    if (power == 2) op = ITP_OP_SQUARE;
    if (power == 1) op = ITP_OP_IDENTITY;
    if (power == 0.5) op = ITP_OP_SQRT;
    if (power == -1) op = ITP_OP_RECIPROCAL;
    if (op < 0) return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "power %g is not supported", power);
    return itp_onnx_emit(r, n, NULL, op, 1, &x, NULL, NULL);
}

ITP_FN interp_status itp_onnx_read_sum(itp_onnx *r, const itp_onnx_node *n)
{
    int in[2];
    ITP_TRY(itp_onnx_value(r, n, 0, &in[0]));
    if (n->n_in == 1) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, in, NULL, NULL);
    for (int i = 1; i < n->n_in; i++) {
        char suffix[16];
        snprintf(suffix, sizeof suffix, "part%d", i);
        ITP_TRY(itp_onnx_value(r, n, i, &in[1]));
        ITP_TRY(
            itp_onnx_emit(r, n, i + 1 < n->n_in ? suffix : NULL, ITP_OP_ADD, 2, in, NULL, &in[0]));
    }
    return INTERP_OK;
}

/* As global average pooling of [N, kept, reduced], which most of them are already. */
ITP_FN interp_status itp_onnx_read_mean(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t list[INTERP_MAX_RANK];
    int count, keep = 1, noop = 0, x;
    unsigned gone;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_int(r, n, "keepdims", &keep));
    ITP_TRY(itp_onnx_int(r, n, "noop_with_empty_axes", &noop));
    ITP_TRY(itp_onnx_either(r, n, "axes", 17, 1, list, &count));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (count < 1 && noop) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, &x, NULL, NULL);
    for (int i = 0; i < s.rank && count < 1; i++) list[i] = i;
    ITP_TRY(itp_onnx_axes(r, n, list, count < 1 ? s.rank : count, s.rank, &gone));
    if (s.rank < 2 || (gone & 1))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "a mean over the batch is not supported");
    interp_shape rows = itp_shape_none(), out = itp_shape_none();
    int at = 0;
    bool moves = false;
    rows.rank = 3;
    rows.dim[0] = 0;
    memset(&a, 0, sizeof a);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < s.rank; i++) {
            if ((int)(gone >> i & 1) != pass) continue;
            moves = moves || i != at;
            a.perm[at++] = i;
            if (i) rows.dim[1 + pass] *= s.dim[i]; /* no more numbers than s has */
        }
    for (int i = 0; i < s.rank; i++)
        if (keep || !(gone >> i & 1)) out.dim[out.rank++] = !i ? 0 : gone >> i & 1 ? 1 : s.dim[i];
    const bool ready = s.rank > 2 && gone == (1u << s.rank) - 4;
    if (ready && keep)
        return itp_onnx_emit(r, n, NULL, ITP_OP_GLOBAL_AVERAGE_POOL, 1, &x, NULL, NULL);
    if (moves) ITP_TRY(itp_onnx_emit(r, n, "moved", ITP_OP_TRANSPOSE, 1, &x, &a, &x));
    if (!ready) ITP_TRY(itp_onnx_emit_shape(r, n, "rows", x, &rows, &x));
    ITP_TRY(itp_onnx_emit(r, n, "mean", ITP_OP_GLOBAL_AVERAGE_POOL, 1, &x, NULL, &x));
    return itp_onnx_emit_shape(r, n, NULL, x, &out, NULL);
}

ITP_FN interp_status itp_onnx_read_gelu(itp_onnx *r, const itp_onnx_node *n)
{
    const itp_onnx_attr *how = itp_onnx_attr_of(r, n, "approximate");
    int op = ITP_OP_GELU;
    if (how) ITP_TRY(itp_onnx_want(r, n, how, ITP_ATTR_STRING, true));
    if (how && itp_slice_is(how->s, "tanh")) op = ITP_OP_GELU_TANH;
    else if (how && !itp_slice_is(how->s, "none"))
        return itp_onnx_fail(r, INTERP_FORMAT, n, "approximate \"%.*s\" is not known",
                             ITP_SHOW(how->s));
    return itp_onnx_read_plain(r, n, op, NULL);
}

/* ---- inputs, outputs and the batch */

ITP_FN interp_status itp_onnx_check_input(const itp_onnx *r, const itp_onnx_port *p)
{
    const itp_slice name = r->symbols[p->symbol].name;
    const itp_onnx_type *type = itp_onnx_type_row(p->type);
    if (p->type != ITP_ONNX_FLOAT)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" is of type %s; only float32 is supported", ITP_SHOW(name),
                        type ? interp_dtype_name(type->dtype) : "unknown");
    if (!p->has_shape || p->rank < 1 || p->rank > INTERP_MAX_RANK)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" has no fixed number of dimensions from 1 to %d",
                        ITP_SHOW(name), INTERP_MAX_RANK);
    for (int i = 1; i < p->rank; i++)
        if (p->dim[i] < 1)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "dimension %d of input \"%.*s\" is not fixed; only the first one, the "
                            "batch, may be: export the model with fixed sizes",
                            i, ITP_SHOW(name));
    return INTERP_OK;
}

/* Adds the inputs. *batch: what they were exported with, or 1; *fixed: whether they say so. */
ITP_FN interp_status itp_onnx_add_inputs(itp_onnx *r, int *batch, bool *fixed)
{
    *batch = 1;
    *fixed = false;
    for (int i = 0; i < r->n_inputs; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        if (r->symbols[p->symbol].tensor >= 0) continue; /* an initializer listed as an input */
        ITP_TRY(itp_onnx_check_input(r, p));
        if (p->dim[0] < 1) continue;
        if (*fixed && *batch != p->dim[0])
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "the first dimensions of the inputs differ: %d and %d", *batch,
                            p->dim[0]);
        *fixed = true;
        *batch = p->dim[0];
    }
    for (int i = 0; i < r->n_inputs; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        itp_symbol *symbol = &r->symbols[p->symbol];
        if (symbol->tensor >= 0) continue;
        interp_shape s = itp_shape_none();
        s.rank = p->rank;
        for (int d = 0; d < p->rank; d++) s.dim[d] = d ? p->dim[d] : *batch;
        if (r->net->n_inputs == ITP_MAX_INPUTS || interp_shape_size(&s) > (size_t)INT_MAX)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "there are too many or too large inputs");
        const char *name = itp_onnx_text(&r->value_name, symbol->name);
        ITP_TRY(r->value_name.status);
        symbol->value = itp_add_value(r->net, name, ITP_INPUT, &s);
        if (symbol->value < 0) return INTERP_NO_MEMORY;
        r->net->inputs[r->net->n_inputs++] = symbol->value;
    }
    return INTERP_OK;
}

/* Whether the network means the same for `batch` samples as for each of them alone. strict: no
   value may hold samples in another way than one after the other. */
ITP_FN bool itp_onnx_takes(const interp_net *net, int batch, bool strict, interp_shape *shapes,
                           bool *moves)
{
    if (!itp_onnx_shapes(net, batch, shapes)) return false;
    for (int i = 0; i < net->n_values; i++) moves[i] = net->values[i].kind == ITP_INPUT;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *node = &net->nodes[i];
        for (int k = 0; k < node->n_in; k++) moves[node->out] |= moves[node->in[k]];
        const bool softmax = node->op == ITP_OP_SOFTMAX || node->op == ITP_OP_LOG_SOFTMAX;
        if (strict && softmax && itp_axis(node->attrs.axis, shapes[node->in[0]].rank) == 0)
            return false;
    }
    for (int i = 0; i < net->n_values; i++) {
        bool asked = strict && moves[i];
        for (int k = 0; k < net->n_outputs; k++) asked = asked || net->outputs[k] == i;
        const size_t one = interp_shape_size(&net->values[i].shape);
        if (asked && (!shapes[i].rank || shapes[i].dim[0] != batch ||
                      interp_shape_size(&shapes[i]) != itp_mul_size(one, (size_t)batch)))
            return false;
    }
    return true;
}

/* A model made for batches of one may take any, and one that says it does may not. */
ITP_FN interp_status itp_onnx_find_batch(itp_onnx *r, int batch, bool fixed)
{
    interp_net *net = r->net;
    interp_ctx *ctx = r->ctx;
    const size_t n = (size_t)net->n_values;
    if (batch > 1) {
        net->fixed_batch = batch;
        return INTERP_OK;
    }
    interp_shape *shapes = (interp_shape *)interp_alloc(ctx, itp_mul_size(n, sizeof *shapes));
    bool *moves = (bool *)interp_alloc(ctx, itp_mul_size(n, sizeof *moves));
    const bool memory = shapes && moves;
    const bool takes = memory && itp_onnx_takes(net, 2, fixed, shapes, moves) &&
                       itp_onnx_takes(net, 7, fixed, shapes, moves);
    interp_free(ctx, shapes);
    interp_free(ctx, moves);
    if (!memory) return INTERP_NO_MEMORY;
    net->fixed_batch = takes ? 0 : 1;
    return INTERP_OK;
}

/* ---- the whole model */

ITP_FN interp_status itp_onnx_build(itp_onnx *r)
{
    int batch = 1;
    bool fixed = false;
    ITP_TRY(itp_onnx_check(r));
    ITP_TRY(itp_onnx_sort(r));
    ITP_TRY(itp_onnx_fold(r));
    itp_onnx_fuse(r);
    ITP_TRY(itp_onnx_mark_roles(r));
    const char *name = r->name.n && !memchr(r->name.at, 0, r->name.n)
                           ? itp_onnx_text(&r->value_name, r->name)
                           : "net";
    ITP_TRY(r->value_name.status);
    r->net = interp_net_new(r->ctx, name);
    if (!r->net) return INTERP_NO_MEMORY;
    ITP_TRY(itp_onnx_add_inputs(r, &batch, &fixed));
    for (int i = 0; i < r->n_initializers; i++)
        if (r->symbols[r->initializers[i]].role) ITP_TRY(itp_onnx_add_root(r, r->initializers[i]));
    for (int i = 0; i < r->n_order; i++) {
        const itp_onnx_node *n = &r->nodes[r->order[i]];
        itp_attrs a;
        int x;
        if (n->skipped) continue;
        if (n->row->read) {
            ITP_TRY(n->row->read(r, n));
            continue;
        }
        ITP_TRY(itp_onnx_begin(r, n, &x, &a));
        ITP_TRY(itp_onnx_read_plain(r, n, n->row->op, &a));
    }
    for (int i = 0; i < r->n_outputs; i++) {
        int value;
        if (i == ITP_MAX_INPUTS)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "more than %d outputs", ITP_MAX_INPUTS);
        ITP_TRY(itp_onnx_symbol_value(r, r->outputs[i], &value));
        r->net->outputs[r->net->n_outputs++] = value;
    }
    ITP_TRY(itp_net_finish(r->net));
    return itp_onnx_find_batch(r, batch, fixed);
}

ITP_FN interp_status itp_onnx_read(interp_ctx *ctx, const char *path, const void *bytes, size_t n,
                                   interp_net **net)
{
    itp_onnx r;
    itp_slice all;
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.path = path;
    r.node_name = itp_buf_new(ctx);
    r.value_name = itp_buf_new(ctx);
    all.at = (const char *)bytes;
    all.n = n;
    interp_status status = itp_onnx_read_model(&r, all);
    r.own = itp_slice_is(r.producer, "interp.h");
    if (!status) status = itp_onnx_build(&r);
    if (status) interp_net_free(r.net);
    else *net = r.net;
    itp_onnx_free(&r);
    if (status) return itp_fail(ctx, status, "%s: %s", path ? path : "ONNX", ctx->error);
    return INTERP_OK;
}

INTERP_API interp_status interp_onnx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                           interp_net **net)
{
    return itp_onnx_read(ctx, NULL, bytes, n, net);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_onnx_load(interp_ctx *ctx, const char *path, interp_net **net)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_onnx_read(ctx, path, bytes, n, net);
    interp_free(ctx, bytes);
    return status;
}

#endif

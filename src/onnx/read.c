/* ---- onnx/read.c: from an ONNX graph to a network -------------------------------------------- */

#define ITP_ONNX_OLDEST 1
#define ITP_ONNX_NEWEST 25

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
        if (!f->name && r->opset < 6 && itp_slice_is(r->attrs[i].name, "consumed_inputs")) continue;
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
        if (symbol < 0 && i < n->row->least)
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
        if (i >= n->row->outputs && s->uses)
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

ITP_FN itp_make itp_make_begin(itp_onnx *r, const itp_onnx_node *n)
{
    itp_make m;
    memset(&m, 0, sizeof m);
    m.r = r, m.n = n;
    m.first_node = r->net ? r->net->n_nodes : 0;
    m.type = itp_onnx_symbol_type(r, itp_onnx_in(r, n, 0));
    if (!m.type) m.type = ITP_ONNX_FLOAT;
    return m;
}

/* Known numbers under another shape. Those that others use as they are stay apart. */
ITP_FN interp_status itp_onnx_fold_view(itp_onnx *r, itp_onnx_node *n)
{
    const int from = itp_onnx_in(r, n, 0);
    if (r->symbols[from].tensor < 0) return INTERP_OK;
    if (r->symbols[from].uses > 1 && itp_onnx_is_float(r, from)) return INTERP_OK;
    for (int i = 1; i < n->n_in; i++) {
        const int symbol = itp_onnx_in(r, n, i);
        if (symbol >= 0 && r->symbols[symbol].tensor < 0) return INTERP_OK;
    }
    itp_make m = itp_make_begin(r, n);
    const interp_shape shape = itp_make_view(&m, &r->symbols[from].shape);
    if (m.status) return m.status;
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
        if (constant) ITP_TRY(itp_onnx_fold_constant(r, n));
        n->skipped = constant;
        if (n->row->view) ITP_TRY(itp_onnx_fold_view(r, n));
    }
    return INTERP_OK;
}

/* ---- what becomes of known numbers */

ITP_FN interp_status itp_onnx_mark_role(itp_onnx *r, const itp_onnx_node *n, int symbol, char kind,
                                        bool behind)
{
    const itp_symbol *s = &r->symbols[symbol];
    itp_symbol *root = &r->symbols[s->root];
    const bool initializer = root->maker < 0, trained = r->own || (behind && s->shape.rank > 0);
    if (s->tensor < 0 || kind == 'k') return INTERP_OK;
    unsigned role = ITP_AS_CONST;
    if (!itp_onnx_type_row(r->tensors[s->tensor].type))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "\"%.*s\" does not hold numbers",
                             ITP_SHOW(s->name));
    if (kind == 's') role = ITP_AS_BUFFER;
    else if (initializer && kind != 'c' && itp_onnx_is_float(r, symbol) &&
             (kind == 'w' || (kind == 'o' && trained) || r->own))
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
        for (int i = 0; i < 3 && n->fused >= 0 && n->fused_in[i] >= 0; i++) {
            behind = behind || r->symbols[n->fused_in[i]].trained;
            ITP_TRY(itp_onnx_mark_role(r, n, n->fused_in[i], i ? 'w' : 'x', behind));
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

/* Numbers that are there as the kernels want them become the value's own. */
ITP_FN bool itp_onnx_borrow(const itp_onnx *r, const itp_onnx_tensor *t, itp_value *v)
{
    const uintptr_t at = (uintptr_t)t->raw.at, begin = (uintptr_t)r->place.at;
    const size_t n = interp_shape_size(&v->shape), bytes = itp_mul_size(n, sizeof(float));
    const bool floats = t->type == ITP_ONNX_FLOAT && sizeof(float) == 4 && itp_host_is_little();
    if (!r->place.at || !floats || t->field || t->repeats || !n || at % sizeof(float)) return false;
    if (at < begin || at - begin > r->place.n || bytes > r->place.n - (at - begin)) return false;
    memcpy(&v->data, &t->raw.at,
           sizeof v->data); /* nothing writes to it: the network is read-only */
    v->borrowed = r->net->read_only = true;
    return true;
}

/* The numbers of a root symbol as a value of the network. */
ITP_FN interp_status itp_onnx_add_numbers(itp_onnx *r, int root, itp_kind kind, const char *name,
                                          int *value)
{
    const itp_symbol *s = &r->symbols[root];
    const itp_onnx_tensor *t = &r->tensors[s->tensor];
    const size_t n = interp_shape_size(&s->shape);
    char text[96];
    if (!itp_onnx_type_row(t->type))
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" does not hold numbers",
                        ITP_SHOW(s->name));
    if (n > (size_t)INT_MAX)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" of shape %s has too many numbers",
                        ITP_SHOW(s->name), itp_shape_text(&s->shape, text, sizeof text));
    const int v = itp_add_value(r->net, name, kind, &s->shape);
    if (v < 0) return INTERP_NO_MEMORY;
    *value = v;
    if (itp_onnx_borrow(r, t, &r->net->values[v])) return INTERP_OK;
    float *data = (float *)interp_alloc(r->ctx, itp_mul_size(itp_max_size(n, 1), sizeof *data));
    if (!data) return INTERP_NO_MEMORY;
    r->net->values[v].data = data;
    itp_onnx_floats(t, data);
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

/* ---- inputs whose numbers decide about shapes */

/* Marks the inputs of the graph that a symbol is computed from; shapes need no numbers. */
ITP_FN interp_status itp_onnx_want_known(itp_onnx *r, int symbol, int *stack, bool *seen)
{
    int top = 0;
    stack[top++] = symbol;
    while (top > 0) {
        const itp_symbol *s = &r->symbols[stack[--top]];
        if (s->tensor >= 0) continue;
        if (s->input >= 0) r->inputs[s->input].wanted = true;
        if (s->maker < 0 || seen[s->maker]) continue;
        const itp_onnx_node *n = &r->nodes[s->maker];
        seen[s->maker] = true;
        if (itp_slice_is(n->op, "Shape") || itp_slice_is(n->op, "Size")) continue;
        for (int i = 0; i < n->n_in; i++)
            if (itp_onnx_in(r, n, i) >= 0) stack[top++] = itp_onnx_in(r, n, i);
    }
    return INTERP_OK;
}

/* Inputs that shapes depend on become known numbers, where the caller gave them. */
ITP_FN interp_status itp_onnx_bind(itp_onnx *r)
{
    int *stack = (int *)interp_alloc(r->ctx, itp_mul_size((size_t)r->n_links + 1, sizeof *stack));
    bool *seen = (bool *)itp_calloc(r->ctx, (size_t)r->n_nodes + 1, sizeof *seen);
    interp_status status = stack && seen ? INTERP_OK : INTERP_NO_MEMORY;
    for (int k = 0; k < r->n_order && !status; k++) {
        const itp_onnx_node *n = &r->nodes[r->order[k]];
        for (int i = 0; i < n->n_in && !status; i++) {
            const int symbol = itp_onnx_in(r, n, i);
            if (symbol < 0 || itp_onnx_input_kind(n->row, i) != 'k') continue;
            status = itp_onnx_want_known(r, symbol, stack, seen);
        }
    }
    interp_free(r->ctx, stack);
    interp_free(r->ctx, seen);
    for (int i = 0; i < r->n_inputs && !status; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        itp_onnx_tensor t;
        if (!p->wanted || !p->values || !p->values->data || r->symbols[p->symbol].tensor >= 0)
            continue;
        const size_t n = interp_shape_size(&p->values->shape);
        memset(&t, 0, sizeof t);
        t.type = p->type;
        t.shape = p->values->shape;
        t.values =
            (double *)interp_alloc(r->ctx, itp_mul_size(itp_max_size(n, 1), sizeof *t.values));
        status = t.values ? itp_onnx_add_tensor(r, &t, p->symbol) : INTERP_NO_MEMORY;
        if (status) interp_free(r->ctx, t.values);
        for (size_t j = 0; j < n && !status; j++) t.values[j] = itp_array_at(p->values, j);
    }
    return status;
}

/* ---- one node after the other */

/* As nodes of the network. */
ITP_FN interp_status itp_onnx_emit(itp_onnx *r, const itp_onnx_node *n)
{
    itp_make m = itp_make_begin(r, n);
    if (n->fused >= 0) {
        itp_attrs a;
        int in[3], n_in = 0;
        memset(&a, 0, sizeof a);
        a.axis = -1, a.epsilon = (float)n->fused_number;
        for (; n_in < 3 && n->fused_in[n_in] >= 0; n_in++)
            ITP_TRY(itp_onnx_symbol_value(r, n->fused_in[n_in], &in[n_in]));
        itp_make_end(&m, 0, itp_make_node(&m, n->fused, n_in, in, &a));
    } else if (n->row->read) {
        n->row->read(&m);
    } else {
        itp_attrs a;
        int in[ITP_MAX_INPUTS];
        for (int i = 0; i < n->n_in; i++) in[i] = itp_make_in(&m, i);
        itp_make_try(&m, itp_onnx_attrs(r, n, itp_make_shape(&m, in[0]).rank, &a));
        itp_make_end(&m, 0, itp_make_node(&m, n->row->op, n->n_in, in, &a));
    }
    for (int i = 0; i < n->n_out && !m.status; i++) {
        const itp_symbol *s = &r->symbols[itp_max(0, r->links[n->out + i])];
        if (itp_make_wants(&m, i) && s->value < 0 && s->tensor < 0)
            itp_make_fail(&m, INTERP_UNSUPPORTED, "its output %d is not supported", i);
    }
    itp_make_names(&m);
    return m.status;
}

/* Whether a node's numbers are known, and none of them are to be trained. */
ITP_FN bool itp_onnx_evaluates(const itp_onnx *r, const itp_onnx_node *n)
{
    if (!n->n_in || n->fused >= 0) return false;
    const bool whole = itp_slice_is(n->op, "DequantizeLinear");
    for (int i = 0; i < n->n_in; i++) {
        const int symbol = itp_onnx_in(r, n, i);
        if (symbol < 0) continue;
        const itp_symbol *s = &r->symbols[symbol];
        if (s->tensor < 0) return false;
        const size_t size = interp_shape_size(&s->shape);
        if (size > ITP_ONNX_EVAL / 2) return false;
        if (!whole && size > 1 && itp_onnx_is_float(r, symbol) && r->symbols[s->root].maker < 0 &&
            r->symbols[s->root].input < 0)
            return false;
    }
    return true;
}

/* Numbers of the outputs of a network that was made of one node. */
ITP_FN interp_status itp_onnx_take_outputs(itp_make *m, interp_net *net)
{
    itp_onnx *r = m->r;
    interp_workspace *w = NULL;
    const float *none = NULL;
    for (int i = 0; i < m->n->n_out; i++) {
        const int symbol = r->links[m->n->out + i];
        if (symbol >= 0 && r->symbols[symbol].value >= 0)
            net->outputs[net->n_outputs++] = r->symbols[symbol].value;
    }
    net->whole = true;
    ITP_TRY(itp_net_finish(net));
    ITP_TRY(interp_workspace_new(r->ctx, net, NULL, &w));
    m->status = interp_forward(w, &none);
    for (int i = 0, k = 0; i < m->n->n_out; i++) {
        const int symbol = r->links[m->n->out + i];
        if (symbol < 0 || r->symbols[symbol].value < 0) continue;
        const int value = net->outputs[k];
        const float *x = interp_workspace_output(w, k++);
        const interp_shape shape = w->shape[value];
        const size_t n = interp_shape_size(&shape);
        double *y = itp_make_result(m, i, r->symbols[symbol].type, &shape, NULL);
        for (size_t j = 0; y && j < n; j++) y[j] = (double)x[j];
    }
    interp_workspace_free(w);
    return m->status;
}

/* Evaluates a node by running it alone. */
ITP_FN interp_status itp_onnx_run_alone(itp_onnx *r, const itp_onnx_node *n)
{
    int value[ITP_MAX_INPUTS], root[ITP_MAX_INPUTS];
    interp_net *net = r->net;
    r->net = interp_net_new(r->ctx, "numbers");
    interp_status status = r->net ? INTERP_OK : INTERP_NO_MEMORY;
    for (int i = 0; i < n->n_in; i++) {
        root[i] = itp_onnx_in(r, n, i);
        if (root[i] < 0) continue;
        root[i] = r->symbols[root[i]].root;
        value[i] = r->symbols[root[i]].value;
        r->symbols[root[i]].value = -1;
    }
    if (!status) status = itp_onnx_emit(r, n);
    itp_make m = itp_make_begin(r, n);
    if (!status) status = itp_onnx_take_outputs(&m, r->net);
    for (int i = n->n_in - 1; i >= 0; i--)
        if (root[i] >= 0) r->symbols[root[i]].value = value[i];
    for (int i = 0; i < n->n_out; i++) {
        const int symbol = r->links[n->out + i];
        if (symbol >= 0) r->symbols[symbol].value = -1;
    }
    if (r->net) interp_net_free(r->net);
    r->net = net;
    return status;
}

ITP_FN interp_status itp_onnx_evaluate(itp_onnx *r, const itp_onnx_node *n)
{
    itp_make m = itp_make_begin(r, n);
    if (n->row->read == itp_read_known) return itp_onnx_emit(r, n);
    const bool exact = itp_known_exactly(&m);
    if (m.status || exact) return m.status;
    ITP_TRY(itp_onnx_run_alone(r, n));
    const int out = r->links[n->out];
    if (itp_slice_is(n->op, "DequantizeLinear") && out >= 0 && r->symbols[out].shape.rank > 1)
        r->symbols[out].role |= ITP_AS_PARAM; /* weights that were stored in fewer bits */
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_step(itp_onnx *r, const itp_onnx_node *n)
{
    if (n->skipped) return INTERP_OK;
    return itp_onnx_evaluates(r, n) ? itp_onnx_evaluate(r, n) : itp_onnx_emit(r, n);
}

/* Shape, Size, and what must be known. */
ITP_FN void itp_read_known(itp_make *m)
{
    if (itp_make_is(m, "Shape")) itp_known_shape(m);
    else if (itp_make_is(m, "Size")) itp_known_size(m);
    else (void)itp_known_exactly(m);
}

/* ---- inputs, outputs and the batch */

/* Shape of an input: of the file, of the numbers the caller gave where it leaves sizes open. */
ITP_FN interp_status itp_onnx_input_shape(const itp_onnx *r, const itp_onnx_port *p,
                                          interp_shape *s)
{
    const itp_slice name = r->symbols[p->symbol].name;
    const interp_shape *given = p->values ? &p->values->shape : NULL;
    *s = itp_shape_none();
    if (!itp_onnx_type_row(p->type))
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" is of an element type that is "
                        "not supported; numbers and truth values are",
                        ITP_SHOW(name));
    if (!p->has_shape && !given)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" has no shape: give one when loading", ITP_SHOW(name));
    if (p->has_shape && p->rank > INTERP_MAX_RANK)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "input \"%.*s\" has more than %d dimensions",
                        ITP_SHOW(name), INTERP_MAX_RANK);
    bool fits = given != NULL; /* else it may be samples in another layout */
    if (fits && p->has_shape) fits = given->rank == p->rank;
    for (int i = 1; fits && p->has_shape && i < p->rank; i++)
        fits = p->dim[i] < 0 || p->dim[i] == given->dim[i];
    if (!fits) given = NULL;
    s->rank = p->has_shape ? p->rank : given->rank;
    for (int i = 0; i < s->rank; i++) {
        const int size = p->has_shape ? p->dim[i] : -1;
        const bool batch = i == 0 && !r->literal;
        s->dim[i] = size >= 0 ? size : batch ? 1 : given ? given->dim[i] : -1;
        if (s->dim[i] < 0 && i == 0) s->dim[i] = 1;
        if (s->dim[i] < 0)
            return itp_fail(
                r->ctx, INTERP_UNSUPPORTED,
                "dimension %d of input \"%.*s\" is not fixed: give a shape when loading, or "
                "export the model with fixed sizes",
                i, ITP_SHOW(name));
    }
    return INTERP_OK;
}

/* Whether all that reads an input [N,..,H,W,C] turns it to [N,..,C,H,W]. */
ITP_FN bool itp_onnx_is_turned_back(const itp_onnx *r, int symbol, int rank)
{
    int perm[INTERP_MAX_RANK], uses = 0;
    itp_onnx_turn_order(rank, true, perm);
    for (int k = 0; k < r->n_order; k++) {
        const itp_onnx_node *n = &r->nodes[r->order[k]];
        itp_attrs a;
        if (n->fused >= 0 || !itp_slice_is(n->op, "Transpose") || itp_onnx_in(r, n, 0) != symbol)
            continue;
        if (itp_onnx_attrs(r, n, rank, &a) || memcmp(a.perm, perm, (size_t)rank * sizeof *perm))
            return false;
        uses++;
    }
    return uses == r->symbols[symbol].uses;
}

/* Turns an input that is an image with channels last: the network takes them first, and what reads it
   gets them last, from a node of ours. */
ITP_FN interp_status itp_onnx_turn_input(itp_onnx *r, itp_symbol *symbol)
{
    itp_value *v = &r->net->values[symbol->value];
    const interp_shape sample = itp_sample_shape(r->net, symbol->value);
    const int input = symbol->value, rank = v->shape.rank;
    itp_attrs a;
    if (!r->channels_first || r->literal || !interp_channels_are_last(&sample)) return INTERP_OK;
    itp_onnx_turn_order(rank, true, a.perm);
    const interp_shape last = v->shape;
    for (int i = 0; i < rank; i++) v->shape.dim[i] = last.dim[a.perm[i]];
    v->turned = true;
    symbol->turned = itp_onnx_is_turned_back(r, (int)(symbol - r->symbols), rank);
    if (symbol->turned) return INTERP_OK;
    memset(&a, 0, sizeof a);
    itp_onnx_turn_order(rank, false, a.perm);
    const char *name = itp_onnx_derived(r, &r->value_name, symbol->name, "last");
    ITP_TRY(r->value_name.status);
    const interp_tensor y = itp_add_node(r->net, ITP_OP_TRANSPOSE, name, name, 1, &input, &a);
    if (!y) return r->net->status;
    symbol->value = y - 1;
    return INTERP_OK;
}

/* Adds the inputs. *open: whether the batch of one of them may be any. */
ITP_FN interp_status itp_onnx_add_inputs(itp_onnx *r, bool *open)
{
    int place = 0;
    *open = false;
    for (int i = 0; i < r->n_inputs; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        itp_symbol *symbol = &r->symbols[p->symbol];
        interp_shape s;
        if (symbol->tensor < 0 || p->values) place++; /* no initializer listed as an input */
        if (symbol->tensor >= 0) continue;
        ITP_TRY(itp_onnx_input_shape(r, p, &s));
        if (r->net->n_inputs == ITP_MAX_INPUTS || interp_shape_size(&s) > (size_t)INT_MAX)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "there are too many or too large inputs");
        if (s.rank && (!p->has_shape || p->dim[0] < 0) && !r->literal) *open = true;
        const char *name = itp_onnx_text(&r->value_name, symbol->name);
        ITP_TRY(r->value_name.status);
        symbol->value = itp_add_value(r->net, name, ITP_INPUT, &s);
        if (symbol->value < 0) return INTERP_NO_MEMORY;
        symbol->type = p->type;
        r->net->values[symbol->value].dtype = itp_onnx_type_row(p->type)->dtype;
        r->net->input_place[r->net->n_inputs] = place - 1;
        r->net->inputs[r->net->n_inputs++] = symbol->value;
        ITP_TRY(itp_onnx_turn_input(r, symbol));
    }
    r->any_batch = *open;
    return INTERP_OK;
}

/* Whether a node computes along the first dimension of what it is given. */
ITP_FN bool itp_onnx_along_batch(const itp_node *node, int rank)
{
    switch (node->op) {
    case ITP_OP_SOFTMAX:
    case ITP_OP_LOG_SOFTMAX:
    case ITP_OP_HARDMAX:
    case ITP_OP_ARG_MAX:
    case ITP_OP_ARG_MIN:
    case ITP_OP_TOP_K_VALUES:
    case ITP_OP_TOP_K_INDICES:
    case ITP_OP_CUM_SUM: return itp_axis(node->attrs.axis, rank) == 0;
    default: return itp_is_reduction(node->op) && (!node->attrs.axes || (node->attrs.axes & 1));
    }
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
        if (moves[node->in[0]] && itp_onnx_along_batch(node, shapes[node->in[0]].rank))
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

/* Whether all inputs and outputs have the same first dimension, which is then the batch; 0: not. */
ITP_FN int itp_onnx_common_batch(const interp_net *net)
{
    int batch = 0;
    for (int i = 0; i < net->n_inputs + net->n_outputs; i++) {
        const interp_shape *s =
            &net->values[i < net->n_inputs ? net->inputs[i] : net->outputs[i - net->n_inputs]]
                 .shape;
        if (!s->rank || !interp_shape_size(s) || (batch && s->dim[0] != batch)) return 0;
        batch = s->dim[0];
    }
    return net->n_inputs ? batch : 0;
}

/* A model made for batches of one may take any, and one that says it does may not. */
ITP_FN interp_status itp_onnx_find_batch(itp_onnx *r, bool open)
{
    interp_net *net = r->net;
    interp_ctx *ctx = r->ctx;
    const size_t n = (size_t)net->n_values;
    const int batch = itp_onnx_common_batch(net);
    net->whole = !batch;
    net->fixed_batch = itp_max(1, batch);
    if (batch != 1) return INTERP_OK;
    interp_shape *shapes = (interp_shape *)interp_alloc(ctx, itp_mul_size(n, sizeof *shapes));
    bool *moves = (bool *)interp_alloc(ctx, itp_mul_size(n, sizeof *moves));
    const bool memory = shapes && moves;
    const bool takes = memory && itp_onnx_takes(net, 2, !open, shapes, moves) &&
                       itp_onnx_takes(net, 7, !open, shapes, moves);
    interp_free(ctx, shapes);
    interp_free(ctx, moves);
    if (!memory) return INTERP_NO_MEMORY;
    net->fixed_batch = takes ? 0 : 1;
    return INTERP_OK;
}

/* Tells the caller's inputs to those of the file. */
ITP_FN interp_status itp_onnx_give(itp_onnx *r, const interp_onnx_load_desc *desc)
{
    int place = 0;
    for (int k = 0; desc && k < desc->n_inputs; k++) {
        const interp_onnx_input *given = &desc->inputs[k];
        int at = -1;
        for (int i = 0; i < r->n_inputs; i++) {
            if (r->symbols[r->inputs[i].symbol].tensor >= 0) continue;
            if (given->name ? itp_slice_is(r->symbols[r->inputs[i].symbol].name, given->name)
                            : !r->inputs[i].values && at < 0)
                at = i;
        }
        place++;
        if (at < 0) {
            char names[ITP_ERROR_BYTES / 2] = "";
            size_t used = 0;
            for (int i = 0; i < r->n_inputs && used + 110 < sizeof names; i++) {
                const itp_slice name = r->symbols[r->inputs[i].symbol].name;
                if (r->symbols[r->inputs[i].symbol].tensor >= 0) continue;
                used += (size_t)snprintf(names + used, sizeof names - used, "%s\"%.*s\"",
                                         used ? ", " : "", (int)itp_min_size(name.n, 100), name.at);
            }
            if (given->name)
                return itp_fail(r->ctx, INTERP_BAD_ARGUMENT,
                                "the model has no input of the name \"%s\"; its inputs are %s",
                                given->name, names);
            return itp_fail(r->ctx, INTERP_BAD_ARGUMENT,
                            "input %d was given, but the inputs are %s", place, names);
        }
        r->inputs[at].values = given->array;
    }
    return INTERP_OK;
}

/* ---- the whole model */

ITP_FN interp_status itp_onnx_add_outputs(itp_onnx *r)
{
    for (int i = 0; i < r->n_outputs; i++) {
        const itp_symbol *s = &r->symbols[r->outputs[i]];
        int value;
        if (i == ITP_MAX_INPUTS)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "more than %d outputs", ITP_MAX_INPUTS);
        ITP_TRY(itp_onnx_symbol_value(r, r->outputs[i], &value));
        const itp_onnx_type *type =
            itp_onnx_type_row(s->declared ? s->declared : itp_onnx_symbol_type(r, r->outputs[i]));
        r->net->outputs[r->net->n_outputs++] = value;
        if (type) r->net->values[value].dtype = type->dtype;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_build(itp_onnx *r)
{
    bool open = false;
    ITP_TRY(itp_onnx_check(r));
    ITP_TRY(itp_onnx_sort(r));
    ITP_TRY(itp_onnx_bind(r));
    ITP_TRY(itp_onnx_fold(r));
    itp_onnx_fuse(r);
    ITP_TRY(itp_onnx_mark_roles(r));
    const char *name = r->name.n && !memchr(r->name.at, 0, r->name.n)
                           ? itp_onnx_text(&r->value_name, r->name)
                           : "net";
    ITP_TRY(r->value_name.status);
    r->net = interp_net_new(r->ctx, name);
    if (!r->net) return INTERP_NO_MEMORY;
    ITP_TRY(itp_onnx_add_inputs(r, &open));
    for (int i = 0; i < r->n_initializers; i++)
        if (r->symbols[r->initializers[i]].role & (ITP_AS_PARAM | ITP_AS_BUFFER))
            ITP_TRY(itp_onnx_add_root(r, r->initializers[i]));
    for (int i = 0; i < r->n_order; i++) ITP_TRY(itp_onnx_step(r, &r->nodes[r->order[i]]));
    ITP_TRY(itp_onnx_add_outputs(r));
    r->net->whole = !r->net->n_inputs;
    ITP_TRY(itp_net_finish(r->net));
    return itp_onnx_find_batch(r, open);
}

/* literal: first dimensions that are open are what the caller gave, and no batch. */
ITP_FN interp_status itp_onnx_read(interp_ctx *ctx, const char *path, const void *bytes, size_t n,
                                   const interp_onnx_load_desc *desc, bool literal,
                                   interp_net **net)
{
    itp_onnx r;
    itp_slice all;
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.path = path;
    r.literal = literal;
    r.channels_first = desc && desc->channels_first;
    r.node_name = itp_buf_new(ctx);
    r.value_name = itp_buf_new(ctx);
    all.at = (const char *)bytes;
    all.n = n;
    if (desc && desc->in_place && !path) r.place = all;
    interp_status status = itp_onnx_read_model(&r, all);
    r.own = itp_slice_is(r.producer, "interp.h");
    if (!status) status = itp_onnx_give(&r, desc);
    if (!status) status = itp_onnx_build(&r);
    bool again = !literal && desc && r.any_batch && (status || r.net->fixed_batch || r.net->whole);
    if (status || again) interp_net_free(r.net);
    else *net = r.net;
    itp_onnx_free(&r);
    if (again) return itp_onnx_read(ctx, path, bytes, n, desc, true, net);
    if (status) return itp_fail(ctx, status, "%s: %s", path ? path : "ONNX", ctx->error);
    return INTERP_OK;
}

INTERP_API interp_status interp_onnx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                           const interp_onnx_load_desc *desc, interp_net **net)
{
    return itp_onnx_read(ctx, NULL, bytes, n, desc, false, net);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_onnx_load(interp_ctx *ctx, const char *path,
                                          const interp_onnx_load_desc *desc, interp_net **net)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_onnx_read(ctx, path, bytes, n, desc, false, net);
    interp_free(ctx, bytes);
    return status;
}

#endif

/* ---- net/plan.c: workspaces: what runs, what lives when, where it lies -------------------------- */

/* Time runs over forward nodes 0..n-1, then backward from n-1 (time n) to 0 (time 2n-1). */
typedef struct itp_item {
    size_t bytes, offset;
    int begin, end;  /* first and last moment it is in use */
    int value, node; /* whose numbers, gradient or saved state; -1: not that */
    bool gradient, packed;
} itp_item;

typedef struct itp_plan {
    interp_workspace *w;
    int *root;  /* [n_values]: the value whose memory this one uses */
    int *first; /* [n_values]: when a root is first written */
    int *last;  /* [n_values]: when a root is last read */
    int *order; /* [n_items]: by falling size */
    itp_item *items;
    int n_items;
    size_t block; /* bytes of all items */
} itp_plan;

ITP_FN bool itp_is_alias(const interp_workspace *w, int node)
{
    const unsigned flags = itp_op_row(w->net->nodes[node].op)->flags;
    return w->fused[node] || (flags & ITP_ALIAS) ||
           ((flags & ITP_ALIAS_IN_EVAL) && w->desc.mode != INTERP_TRAIN);
}

/* Whether a gradient may flow from a node's output to its input i. */
ITP_FN bool itp_passes_grad(const itp_node *node, int i)
{
    const unsigned flags = itp_op_row(node->op)->flags;
    return !(flags & ITP_NO_GRAD) && (i > 1 || !(flags & (i ? ITP_NO_GRAD_1 : ITP_NO_GRAD_0)));
}

/* Shapes of all values for the batch size asked for. */
ITP_FN interp_status itp_plan_shapes(interp_workspace *w)
{
    const interp_net *net = w->net;
    for (int i = 0; i < net->n_values; i++) w->shape[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++) {
        interp_shape *s = &w->shape[net->inputs[i]];
        if (!net->whole) s->dim[0] = w->desc.batch;
        if (interp_shape_size(s) > (size_t)INT_MAX)
            return itp_fail(w->ctx, INTERP_BAD_SHAPE,
                            "input \"%.100s\" has more than 2^31 numbers for a batch of %d",
                            net->values[net->inputs[i]].name, w->desc.batch);
    }
    for (int i = 0; i < net->n_nodes; i++)
        ITP_TRY(
            itp_node_shape(w->ctx, net, &net->nodes[i], w->shape, &w->shape[net->nodes[i].out]));
    return INTERP_OK;
}

ITP_FN bool itp_wants_grads(const interp_workspace *w)
{
    return w->desc.param_grads || w->desc.input_grads || (w->kept >= 0 && w->desc.keep_grad);
}

/* Which nodes run, and which run backward. */
ITP_FN void itp_plan_runs(interp_workspace *w)
{
    const interp_net *net = w->net;
    bool *wanted = w->needs_grad; /* used for values wanted first, refilled below */
    memset(wanted, 0, (size_t)net->n_values * sizeof *wanted);
    for (int i = 0; i < net->n_outputs; i++) wanted[net->outputs[i]] = true;
    wanted[w->target] = true;
    if (w->kept >= 0) wanted[w->kept] = true;
    for (int n = net->n_nodes - 1; n >= 0; n--) {
        w->runs[n] = w->desc.keep_all || wanted[net->nodes[n].out];
        for (int i = 0; w->runs[n] && i < net->nodes[n].n_in; i++)
            wanted[net->nodes[n].in[i]] = true;
    }
    /* gradients flow from the inputs and parameters asked for ... */
    for (int i = 0; i < net->n_values; i++)
        w->needs_grad[i] = (net->values[i].kind == ITP_PARAM && w->desc.param_grads) ||
                           (net->values[i].kind == ITP_INPUT && w->desc.input_grads);
    const bool any = itp_wants_grads(w);
    if (w->kept >= 0 && any) w->needs_grad[w->kept] = true;
    for (int n = 0; n < net->n_nodes; n++)
        for (int i = 0; i < net->nodes[n].n_in; i++)
            if (w->runs[n] && w->needs_grad[net->nodes[n].in[i]] &&
                itp_passes_grad(&net->nodes[n], i))
                w->needs_grad[net->nodes[n].out] = true;
    /* ... to the value that is differentiated, and nowhere else */
    for (int n = net->n_nodes - 1; n >= 0; n--) {
        const itp_node *node = &net->nodes[n];
        bool used = node->out == w->target;
        for (int m = n + 1; m < net->n_nodes && !used; m++)
            for (int i = 0; i < net->nodes[m].n_in && !used; i++)
                used = w->runs_back[m] && net->nodes[m].in[i] == node->out &&
                       itp_passes_grad(&net->nodes[m], i);
        w->runs_back[n] = any && used && w->runs[n] && w->needs_grad[node->out];
        if (!w->runs_back[n]) continue;
        bool deeper = false;
        for (int i = 0; i < node->n_in; i++)
            deeper |= w->needs_grad[node->in[i]] && itp_passes_grad(node, i);
        w->runs_back[n] = deeper;
    }
    /* the first consumer met backward writes an input's gradient, the others add */
    for (int v = 0; v < net->n_values; v++) w->unwritten[v] = v != w->target;
    for (int n = net->n_nodes - 1; n >= 0; n--)
        for (int i = 0; i < net->nodes[n].n_in; i++) {
            const int v = net->nodes[n].in[i];
            w->adds[n][i] = !w->unwritten[v];
            if (w->runs_back[n] && itp_passes_grad(&net->nodes[n], i)) w->unwritten[v] = false;
        }
    for (int v = 0; v < net->n_values; v++) /* parameters always have a gradient, 0 if unused */
        if (w->unwritten[v] && net->values[v].kind == ITP_ACTIVATION && v != w->kept)
            w->needs_grad[v] = false;
}

/* The node that alone reads a value which nobody else asks for, -1 when there is none. */
ITP_FN int itp_only_reader(const interp_workspace *w, int value)
{
    const interp_net *net = w->net;
    int reader = -1;
    if (value == w->target || value == w->kept) return -1;
    for (int i = 0; i < net->n_outputs; i++)
        if (net->outputs[i] == value) return -1;
    for (int n = 0; n < net->n_nodes; n++)
        for (int i = 0; w->runs[n] && i < net->nodes[n].n_in; i++)
            if (net->nodes[n].in[i] == value) {
                if (reader >= 0 || i > 0) return -1;
                reader = n;
            }
    return reader;
}

/* A convolution applies the batch norm behind it, and the elementwise function behind that, to what it has
   just written, where no gradient asks for the numbers between: the same results with less memory
   traffic. */
ITP_FN void itp_plan_fuse(interp_workspace *w)
{
    const interp_net *net = w->net;
    for (int n = 0; n < net->n_nodes; n++) w->fused_norm[n] = w->fused_act[n] = -1;
    if (w->desc.param_grads || w->desc.keep_for_back || w->desc.keep_all ||
        w->desc.mode != INTERP_EVAL)
        return;
    for (int n = 0; n < net->n_nodes; n++) {
        if (!w->runs[n] || net->nodes[n].op != ITP_OP_CONV) continue;
        int next = itp_only_reader(w, net->nodes[n].out);
        if (next >= 0 && net->nodes[next].op == ITP_OP_BATCH_NORM &&
            itp_is_constant(w, net->nodes[next].in[1]) &&
            itp_is_constant(w, net->nodes[next].in[2])) {
            w->fused_norm[n] = next;
            w->fused[next] = true;
            next = itp_only_reader(w, net->nodes[next].out);
        }
        const itp_op *row = next < 0 ? NULL : itp_op_row(net->nodes[next].op);
        if (row && row->forward == itp_forward_unary &&
            !(w->runs_back[next] && row->flags & ITP_NEEDS_X)) {
            w->fused_act[n] = next;
            w->fused[next] = true;
        }
    }
}

ITP_FN void itp_use(itp_plan *p, int value, int time)
{
    int *last = &p->last[p->root[value]];
    if (time > *last) *last = time;
}

/* Whether the backward pass of a node that needs its inputs reads this one. */
ITP_FN bool itp_reads_back(const interp_workspace *w, const itp_node *node, int k)
{
    const unsigned others =
        ITP_BACK_OTHERS | (w->desc.mode == INTERP_EVAL ? ITP_BACK_OTHERS_IN_EVAL : 0);
    if (!(itp_op_row(node->op)->flags & others)) return true;
    for (int i = 0; i < node->n_in; i++)
        if (i != k && w->needs_grad[node->in[i]]) return true;
    return false;
}

/* Aliases, outputs that may overwrite an input, and lifetimes of numbers. */
ITP_FN void itp_plan_lifetimes(itp_plan *p)
{
    interp_workspace *w = p->w;
    const interp_net *net = w->net;
    const int n = net->n_nodes, end = 2 * n;
    for (int v = 0; v < net->n_values; v++) {
        p->root[v] = v;
        p->first[v] = p->last[v] = -1;
    }
    for (int i = 0; i < n; i++) {
        const itp_node *node = &net->nodes[i];
        if (!w->runs[i]) continue;
        p->first[node->out] = i;
        if (itp_is_alias(w, i)) p->root[node->out] = p->root[node->in[0]];
    }
    for (int i = 0; i < n; i++) {
        const itp_node *node = &net->nodes[i];
        if (!w->runs[i]) continue;
        itp_use(p, node->out, i);
        for (int k = 0; k < node->n_in; k++) itp_use(p, node->in[k], i);
        unsigned flags = itp_op_row(node->op)->flags;
        if (!w->runs_back[i]) continue;
        const int back = w->desc.many_back ? end : end - 1 - i;
        if (w->desc.keep_for_back) flags |= ITP_NEEDS_X | ITP_NEEDS_Y;
        if (flags & ITP_NEEDS_Y) itp_use(p, node->out, back);
        for (int k = 0; k < node->n_in && (flags & ITP_NEEDS_X); k++)
            if (w->desc.keep_for_back || itp_reads_back(w, node, k)) itp_use(p, node->in[k], back);
    }
    for (int i = 0; i < net->n_outputs; i++) itp_use(p, net->outputs[i], end);
    itp_use(p, w->target, end);
    if (w->kept >= 0) itp_use(p, w->kept, end);
    for (int v = 0; w->desc.keep_all && v < net->n_values; v++) itp_use(p, v, end);
    for (int i = 0; i < n; i++) { /* in place: nobody reads the input afterwards */
        const itp_node *node = &net->nodes[i];
        const int in = p->root[node->in[0]], out = node->out;
        if (!w->runs[i] || !(itp_op_row(node->op)->flags & ITP_IN_PLACE)) continue;
        if (net->values[in].kind != ITP_ACTIVATION || p->root[out] != out || p->last[in] > i)
            continue;
        for (int v = 0; v < net->n_values; v++)
            if (p->root[v] == out) p->root[v] = in;
        p->last[in] = p->last[out];
    }
}

ITP_FN void itp_plan_add(itp_plan *p, size_t floats, int begin, int end, int value, int node,
                         bool gradient)
{
    itp_item *item = &p->items[p->n_items++];
    item->bytes = itp_round_up(itp_mul_size(floats, sizeof(float)), ITP_CACHE_LINE);
    item->offset = 0;
    item->begin = begin, item->end = end;
    item->value = value, item->node = node;
    item->gradient = gradient;
    item->packed = false;
}

/* The weights that are laid out once, within the bytes there are for them: node after node, but first for
   the backward direction, which reads them across, so that it takes twice as long to lay them out. */
ITP_FN void itp_plan_packs(interp_workspace *w)
{
    static const unsigned char order[] = {ITP_PACKED_BACKWARD, ITP_PACKED_FORWARD};
    const size_t most = w->desc.packed_bytes ? w->desc.packed_bytes : SIZE_MAX;
    size_t bytes = 0;
    memset(w->packs, 0, (size_t)w->net->n_nodes * sizeof *w->packs);
    if (!w->desc.constant_weights) return;
    for (int i = 0; i < 2; i++)
        for (int n = 0; n < w->net->n_nodes; n++) {
            const itp_op *row = itp_op_row(w->net->nodes[n].op);
            if (!w->runs[n] || w->fused[n] || !row->need) continue;
            const unsigned char before = w->packs[n];
            const size_t had = before ? row->need(w, n).packed : 0;
            w->packs[n] = (unsigned char)(before | order[i]);
            const size_t more = itp_mul_size(row->need(w, n).packed - had, sizeof(float));
            if (more <= most - bytes) bytes += more;
            else w->packs[n] = before;
        }
}

/* Everything that needs memory, with its lifetime. */
ITP_FN void itp_plan_items(itp_plan *p)
{
    interp_workspace *w = p->w;
    const interp_net *net = w->net;
    const int n = net->n_nodes, end = 2 * n;
    p->n_items = 0;
    for (int v = 0; v < net->n_values; v++)
        if (net->values[v].kind == ITP_ACTIVATION && p->root[v] == v && p->first[v] >= 0)
            itp_plan_add(p, itp_count(&w->shape[v]), p->first[v], p->last[v], v, -1, false);
    for (int v = 0; v < net->n_values; v++) {
        if (!w->needs_grad[v] || net->values[v].kind == ITP_PARAM) continue;
        /* from the last consumer's step on; seeds and zeroes are written before the first */
        int begin = v == w->target || w->unwritten[v] ? n : end, last = end;
        for (int i = n - 1; i >= 0; i--)
            for (int k = 0; w->runs_back[i] && k < net->nodes[i].n_in; k++)
                if (net->nodes[i].in[k] == v && itp_passes_grad(&net->nodes[i], k) &&
                    end - 1 - i < begin)
                    begin = end - 1 - i;
        if (net->values[v].producer >= 0 && v != w->kept) last = end - 1 - net->values[v].producer;
        itp_plan_add(p, itp_count(&w->shape[v]), begin, last, v, -1, true);
    }
    for (int i = 0; i < n; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (!w->runs[i] || w->fused[i] || !row->need) continue;
        const itp_need need = row->need(w, i);
        if (need.save)
            itp_plan_add(p, need.save, i,
                         !w->runs_back[i]    ? i
                         : w->desc.many_back ? end
                                             : end - 1 - i,
                         -1, i, false);
        if (need.packed) {
            itp_plan_add(p, need.packed, 0, end, -1, i, false);
            p->items[p->n_items - 1].packed = true;
        }
    }
}

ITP_FN bool itp_item_before(const itp_plan *p, int a, int b)
{
    const size_t x = p->items[a].bytes, y = p->items[b].bytes;
    return x != y ? x > y : a < b;
}

/* Heap sort of `order`; the C library's qsort may allocate. */
ITP_FN void itp_plan_sift(itp_plan *p, int at, int n)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && itp_item_before(p, p->order[child], p->order[child + 1])) child++;
        if (!itp_item_before(p, p->order[at], p->order[child])) return;
        const int t = p->order[at];
        p->order[at] = p->order[child];
        p->order[child] = t;
        at = child;
    }
}

ITP_FN void itp_plan_sort(itp_plan *p)
{
    for (int i = 0; i < p->n_items; i++) p->order[i] = i;
    for (int i = p->n_items / 2 - 1; i >= 0; i--) itp_plan_sift(p, i, p->n_items);
    for (int n = p->n_items - 1; n > 0; n--) {
        const int t = p->order[0];
        p->order[0] = p->order[n];
        p->order[n] = t;
        itp_plan_sift(p, 0, n);
    }
}

/* Largest first, each at the lowest place free during its whole life. */
ITP_FN void itp_plan_place(itp_plan *p)
{
    p->block = 0;
    for (int i = 0; i < p->n_items; i++) {
        itp_item *item = &p->items[p->order[i]];
        size_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const itp_item *o = &p->items[p->order[j]];
                if (o->end < item->begin || o->begin > item->end) continue;
                if (at < o->offset + o->bytes && o->offset < at + item->bytes) {
                    at = o->offset + o->bytes;
                    moved = true;
                }
            }
        }
        item->offset = at;
        p->block = itp_max_size(p->block, itp_add_size(at, item->bytes));
    }
}

/* The workspace's own arrays, in the arena. */
ITP_FN interp_workspace *itp_workspace_layout(itp_arena *a, interp_workspace *w,
                                              const interp_net *net)
{
    const size_t v = (size_t)net->n_values, n = (size_t)net->n_nodes;
    interp_workspace *placed = (interp_workspace *)itp_arena_alloc(a, sizeof *w);
    w->shape = (interp_shape *)itp_arena_alloc(a, v * sizeof *w->shape);
    w->data = (const float **)itp_arena_alloc(a, v * sizeof *w->data);
    w->grad = (float **)itp_arena_alloc(a, v * sizeof *w->grad);
    w->needs_grad = (bool *)itp_arena_alloc(a, v * sizeof *w->needs_grad);
    w->unwritten = (bool *)itp_arena_alloc(a, v * sizeof *w->unwritten);
    w->save = (float **)itp_arena_alloc(a, n * sizeof *w->save);
    w->packed = (float **)itp_arena_alloc(a, n * sizeof *w->packed);
    w->is_packed = (unsigned char *)itp_arena_alloc(a, n * sizeof *w->is_packed);
    w->packs = (unsigned char *)itp_arena_alloc(a, n * sizeof *w->packs);
    w->fused = (bool *)itp_arena_alloc(a, n * sizeof *w->fused);
    w->fused_norm = (int *)itp_arena_alloc(a, n * sizeof *w->fused_norm);
    w->fused_act = (int *)itp_arena_alloc(a, n * sizeof *w->fused_act);
    w->runs = (bool *)itp_arena_alloc(a, n * sizeof *w->runs);
    w->runs_back = (bool *)itp_arena_alloc(a, n * sizeof *w->runs_back);
    w->adds = (bool(*)[ITP_MAX_INPUTS])itp_arena_alloc(a, n * sizeof *w->adds);
    return placed;
}

/* What follows the arrays: items, parameter gradients, scratch. */
ITP_FN void itp_workspace_memory(itp_arena *a, interp_workspace *w, const itp_plan *p)
{
    const interp_net *net = w->net;
    itp_need most = {0, 0, 0, 0};
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (!w->runs[i] || w->fused[i] || !row->need) continue;
        const itp_need need = row->need(w, i);
        most.slot = itp_max_size(most.slot, need.slot);
        most.shared = itp_max_size(most.shared, need.shared);
    }
    w->block = (char *)itp_arena_alloc(a, p->block);
    if (w->desc.param_grads) w->param_grad = itp_arena_floats(a, net->n_flat);
    w->scratch.slot_floats = itp_round_up(most.slot, 16);
    w->scratch.base =
        itp_arena_floats(a, itp_mul_size(w->scratch.slot_floats, (size_t)w->ctx->slots));
    w->shared = itp_arena_floats(a, most.shared);
}

/* Pointers of values, gradients and saved state into the block. */
ITP_FN void itp_workspace_point(interp_workspace *w, const itp_plan *p)
{
    const interp_net *net = w->net;
    for (int i = 0; i < p->n_items; i++) {
        const itp_item *item = &p->items[i];
        float *at = (float *)(void *)(w->block + item->offset);
        if (item->packed) w->packed[item->node] = at;
        else if (item->value < 0) w->save[item->node] = at;
        else if (item->gradient) w->grad[item->value] = at;
        else w->data[item->value] = at;
    }
    for (int v = 0; v < net->n_values; v++) {
        const itp_value *value = &net->values[v];
        if (value->kind == ITP_ACTIVATION) w->data[v] = w->data[p->root[v]];
        else if (value->kind != ITP_INPUT) w->data[v] = value->data;
        if (value->kind == ITP_PARAM && w->desc.param_grads)
            w->grad[v] = w->param_grad + value->offset;
    }
}

/* The plan's own arrays, in the arena. */
ITP_FN void itp_plan_layout(itp_arena *a, itp_plan *p, const interp_net *net)
{
    const size_t v = (size_t)net->n_values, most = 2 * (v + (size_t)net->n_nodes);
    p->root = (int *)itp_arena_alloc(a, v * sizeof *p->root);
    p->first = (int *)itp_arena_alloc(a, v * sizeof *p->first);
    p->last = (int *)itp_arena_alloc(a, v * sizeof *p->last);
    p->items = (itp_item *)itp_arena_alloc(a, most * sizeof *p->items);
    p->order = (int *)itp_arena_alloc(a, most * sizeof *p->order);
}

/* Makes the plan of a workspace whose arrays, like the plan's, are there and zero. */
ITP_FN interp_status itp_plan_make(interp_workspace *w, itp_plan *p)
{
    p->w = w;
    ITP_TRY(itp_plan_shapes(w));
    itp_plan_runs(w);
    itp_plan_fuse(w);
    itp_plan_lifetimes(p);
    itp_plan_packs(w);
    itp_plan_items(p);
    itp_plan_sort(p);
    itp_plan_place(p);
    return INTERP_OK;
}

/* An input or what a node makes, by name; parameters and constants have no numbers per sample. */
ITP_FN int itp_find_numbers(const interp_net *net, const char *name)
{
    const int v = itp_find(net, name);
    if (v < 0) return -1;
    return net->values[v].kind == ITP_INPUT || net->values[v].kind == ITP_ACTIVATION ? v : -1;
}

ITP_FN interp_status itp_workspace_check(interp_ctx *ctx, const interp_net *net,
                                         const interp_workspace_desc *desc, interp_workspace *w)
{
    memset(w, 0, sizeof *w);
    w->ctx = ctx;
    w->net = net;
    if (desc) w->desc = *desc;
    w->desc.no_winograd = w->desc.no_winograd || ctx->desc.no_winograd;
    if (!net || !net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    if (w->desc.mode == INTERP_TRAIN && net->read_only)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "network \"%.100s\" is read-only, as its numbers are borrowed: a pass of "
                        "training would change its running statistics",
                        net->name);
    if (!w->desc.batch) w->desc.batch = net->fixed_batch ? net->fixed_batch : 1;
    if (w->desc.batch < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "a batch of %d samples", w->desc.batch);
    if (net->fixed_batch && w->desc.batch != net->fixed_batch)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "network \"%s\" was exported for batches of %d, not %d", net->name,
                        net->fixed_batch, w->desc.batch);
    w->target = net->outputs[0];
    w->kept = w->after_node = -1;
    w->seed = w->desc.seed;
    if (w->desc.output && (w->target = itp_find_numbers(net, w->desc.output)) < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has no value named \"%s\"",
                        net->name, w->desc.output);
    if (w->desc.keep && (w->kept = itp_find_numbers(net, w->desc.keep)) < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has no layer named \"%s\"",
                        net->name, w->desc.keep);
    return INTERP_OK;
}

/* Bytes of a workspace's arrays, and with those of its plan behind them. */
ITP_FN size_t itp_plan_bytes(interp_workspace *w, itp_plan *p, size_t *arrays)
{
    itp_arena a = {NULL, 0};
    itp_workspace_layout(&a, w, w->net);
    *arrays = a.used;
    itp_plan_layout(&a, p, w->net);
    return a.used;
}

/* The whole layout in one block: the arrays, behind them the plan, and over the plan, which is needed
   only until everything has its place, what running takes. A block of *bytes gets the workspace;
   with `block` NULL the bytes are found by planning in memory of its own, which is never more. */
ITP_FN interp_status itp_workspace_plan(interp_workspace *w, char *block, size_t *bytes)
{
    itp_plan plan;
    size_t arrays;
    const size_t least = itp_plan_bytes(w, &plan, &arrays);
    char *own = block ? NULL : (char *)interp_alloc(w->ctx, least);
    itp_arena a = {block ? block : own, 0};
    if (!a.base) return INTERP_NO_MEMORY;
    memset(a.base, 0, least);
    interp_workspace *placed = itp_workspace_layout(&a, w, w->net);
    itp_plan_layout(&a, &plan, w->net);
    const interp_status status = itp_plan_make(w, &plan);
    if (!status) {
        itp_arena run = {block, arrays};
        itp_workspace_memory(&run, w, &plan);
        *bytes = itp_max_size(least, run.used);
    }
    if (!status && block) {
        itp_workspace_point(w, &plan);
        *placed = *w;
    }
    interp_free(w->ctx, own);
    return status;
}

INTERP_API interp_status interp_workspace_bytes(interp_ctx *ctx, const interp_net *net,
                                                const interp_workspace_desc *desc, size_t *bytes)
{
    interp_workspace w;
    size_t block;
    ITP_TRY(itp_workspace_check(ctx, net, desc, &w));
    ITP_TRY(itp_workspace_plan(&w, NULL, &block));
    *bytes = itp_alloc_cost(block);
    return INTERP_OK;
}

INTERP_API interp_status interp_workspace_new(interp_ctx *ctx, const interp_net *net,
                                              const interp_workspace_desc *desc,
                                              interp_workspace **workspace)
{
    interp_workspace w;
    size_t bytes;
    ITP_TRY(itp_workspace_check(ctx, net, desc, &w));
    ITP_TRY(itp_workspace_plan(&w, NULL, &bytes));
    char *block = (char *)interp_alloc(ctx, bytes);
    if (!block) return INTERP_NO_MEMORY;
    const interp_status status = itp_workspace_plan(&w, block, &bytes);
    if (status) interp_free(ctx, block);
    else *workspace = (interp_workspace *)(void *)block;
    return status;
}

INTERP_API void interp_workspace_free(interp_workspace *workspace)
{
    if (workspace) interp_free(workspace->ctx, workspace);
}

/* ---- lca/groups.c: which layer, kind, unit or input a parameter belongs to ------------------------ */

/* The first node that reads a value, and at which of its inputs; -1 for none. */
ITP_FN int itp_reader_of(const interp_net *net, int value, int *place)
{
    for (int i = 0; i < net->n_nodes; i++)
        for (int k = 0; k < net->nodes[i].n_in; k++)
            if (net->nodes[i].in[k] == value) {
                *place = k;
                return i;
            }
    return -1;
}

/* The name of the layer a parameter belongs to, of *n bytes. */
ITP_FN const char *itp_layer_of(const interp_net *net, int value, size_t *n)
{
    const char *name = net->values[value].name, *end = name + strlen(name);
    int place;
    while (end > name && *end != '.' && *end != '/') end--;
    if (end > name) {
        *n = (size_t)(end - name);
        return name;
    }
    const int node = itp_reader_of(net, value, &place);
    if (node >= 0) name = net->nodes[node].name;
    *n = strlen(name);
    return name;
}

/* 0: weights; 1: biases; 2: normalisation */
ITP_FN int itp_kind_of(const interp_net *net, int value)
{
    int place;
    const int node = itp_reader_of(net, value, &place);
    const int op = node < 0 ? -1 : net->nodes[node].op;
    if (op == ITP_OP_BATCH_NORM || op == ITP_OP_LAYER_NORM) return 2;
    return net->values[value].shape.rank < 2;
}

/* Which dimension of a weight counts output units, and which its inputs. */
ITP_FN void itp_unit_axes(const interp_net *net, int value, int *unit, int *input)
{
    int place;
    const int node = itp_reader_of(net, value, &place), rank = net->values[value].shape.rank;
    const itp_node *o = node < 0 ? NULL : &net->nodes[node];
    const bool product = o && (o->op == ITP_OP_GEMM || o->op == ITP_OP_MATMUL);
    const bool turned = (o && o->op == ITP_OP_CONV_TRANSPOSE) ||
                        (product && !(o->op == ITP_OP_GEMM && o->attrs.trans_b));
    *unit = turned && rank > 1 ? (product ? rank - 1 : 1) : 0;
    *input = product && rank == 2 ? 1 - *unit : -1;
}

/* Whether a weight multiplies the network's input itself, or it seen under another shape. */
ITP_FN bool itp_reads_input(const interp_net *net, int value)
{
    int place;
    const int node = itp_reader_of(net, value, &place);
    if (node < 0 || place != 1) return false;
    int from = net->nodes[node].in[0];
    while (from >= 0 && net->values[from].producer >= 0) {
        const itp_node *o = &net->nodes[net->values[from].producer];
        if (o->op != ITP_OP_FLATTEN && o->op != ITP_OP_RESHAPE && o->op != ITP_OP_IDENTITY)
            return false;
        from = o->in[0];
    }
    return from >= 0 && net->values[from].kind == ITP_INPUT;
}

/* Units of a parameter array: output units of a weight, all numbers of a vector. */
ITP_FN int itp_units_of(const interp_net *net, int value)
{
    const interp_shape *s = &net->values[value].shape;
    int unit, input;
    itp_unit_axes(net, value, &unit, &input);
    return s->rank < 2 ? (int)interp_shape_size(s) : s->dim[unit];
}

/* Index along one dimension of number k. */
ITP_FN int itp_axis_index(const interp_shape *s, int axis, size_t k)
{
    for (int d = s->rank - 1; d > axis; d--) k /= (size_t)s->dim[d];
    return (int)(k % (size_t)s->dim[axis]);
}

/* Groups that array i takes up. */
ITP_FN int itp_groups_of(const interp_net *net, interp_grouping how, int i)
{
    return how == INTERP_BY_NEURON ? itp_units_of(net, net->params[i]) : 1;
}

/* The earlier array whose groups array i shares, -1 for none. */
ITP_FN int itp_group_mate(const interp_net *net, interp_grouping how, int i)
{
    size_t n, m;
    const char *layer = itp_layer_of(net, net->params[i], &n);
    for (int k = 0; k < i && how != INTERP_BY_VARIABLE; k++) {
        const char *other = itp_layer_of(net, net->params[k], &m);
        if (m == n && !memcmp(layer, other, n) &&
            itp_groups_of(net, how, i) == itp_groups_of(net, how, k))
            return k;
    }
    return -1;
}

ITP_FN void itp_group_ids(const interp_net *net, interp_grouping how, int i, int first,
                          int32_t *ids)
{
    const int value = net->params[i];
    const itp_value *v = &net->values[value];
    int unit, input;
    itp_unit_axes(net, value, &unit, &input);
    const int axis = how == INTERP_BY_NEURON ? (v->shape.rank < 2 ? 0 : unit)
                     : how == INTERP_BY_INPUT && itp_reads_input(net, value) ? input
                                                                             : -1;
    for (size_t k = 0; k < interp_shape_size(&v->shape); k++)
        ids[v->offset + k] = first + (axis < 0 ? 0 : itp_axis_index(&v->shape, axis, k));
}

/* Inputs of the dense layers that read the network's input; 0: there are none. */
ITP_FN int itp_input_groups(const interp_net *net)
{
    int most = 0;
    for (int i = 0; i < net->n_params; i++) {
        int unit, input;
        itp_unit_axes(net, net->params[i], &unit, &input);
        if (input >= 0 && itp_reads_input(net, net->params[i]))
            most = itp_max(most, net->values[net->params[i]].shape.dim[input]);
    }
    return most;
}

INTERP_API interp_status interp_net_groups(const interp_net *net, interp_grouping how, int32_t *ids,
                                           int *count, int32_t *of_variable)
{
    interp_ctx *ctx = net->ctx;
    int total = 0;
    const int inputs = how == INTERP_BY_INPUT ? itp_input_groups(net) : 0;
    if (!net->built || !net->n_params)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "groups: the network has no parameters");
    if (how == INTERP_BY_INPUT && !inputs)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "groups: no dense layer reads the network's input");
    int32_t *of = (int32_t *)interp_alloc(ctx, (size_t)net->n_params * sizeof *of);
    if (!of) return INTERP_NO_MEMORY;
    for (int i = 0; i < net->n_params; i++) {
        const int value = net->params[i], mate = itp_group_mate(net, how, i);
        of[i] = how == INTERP_BY_KIND    ? itp_kind_of(net, value)
                : how == INTERP_BY_INPUT ? (itp_reads_input(net, value) ? 0 : inputs)
                : mate >= 0              ? of[mate]
                                         : total;
        total = itp_max(total, of[i] + itp_groups_of(net, how, i));
        if (ids) itp_group_ids(net, how, i, of[i], ids);
    }
    if (how == INTERP_BY_KIND) total = 3;
    if (how == INTERP_BY_INPUT) total = inputs + 1;
    if (of_variable) memcpy(of_variable, of, (size_t)net->n_params * sizeof *of);
    *count = total;
    interp_free(ctx, of);
    return INTERP_OK;
}

/* What is found in the name of an array. */
typedef struct itp_group_match {
    bool found;
    size_t from, n;
    int32_t group;
} itp_group_match;

INTERP_API interp_status interp_net_groups_match(const interp_net *net, const char *pattern,
                                                 int32_t *ids, int *count, int32_t *of_variable)
{
    interp_ctx *ctx = net->ctx;
    int32_t total = 0;
    bool others = false;
    interp_status status = INTERP_OK;
    if (!net->built || !net->n_params)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "groups: the network has no parameters");
    itp_group_match *m = (itp_group_match *)itp_calloc(ctx, (size_t)net->n_params, sizeof *m);
    if (!m) return INTERP_NO_MEMORY;
    for (int i = 0; i < net->n_params && !status; i++) {
        const char *name = net->values[net->params[i]].name;
        status = interp_pattern_find(ctx, pattern, name, &m[i].found, &m[i].from, &m[i].n);
        others |= !m[i].found;
        m[i].group = total;
        for (int k = 0; k < i && m[i].found; k++)
            if (m[k].found && m[k].n == m[i].n &&
                !memcmp(net->values[net->params[k]].name + m[k].from, name + m[i].from, m[i].n))
                m[i].group = m[k].group;
        total += m[i].found && m[i].group == total;
    }
    for (int i = 0; i < net->n_params && !status; i++) {
        const itp_value *v = &net->values[net->params[i]];
        const int32_t group = m[i].found ? m[i].group : total;
        if (of_variable) of_variable[i] = group;
        for (size_t k = 0; ids && k < interp_shape_size(&v->shape); k++) ids[v->offset + k] = group;
    }
    if (!status) *count = total + others;
    interp_free(ctx, m);
    return status;
}

INTERP_API void interp_net_group_name(const interp_net *net, interp_grouping how, int group,
                                      char *name, size_t size)
{
    static const char *const kinds[] = {"weights", "biases", "normalisation"};
    int32_t first = 0;
    if (!size) return;
    name[0] = 0;
    if (how == INTERP_BY_KIND && group >= 0 && group < 3) snprintf(name, size, "%s", kinds[group]);
    if (how == INTERP_BY_INPUT) {
        const int inputs = itp_input_groups(net);
        if (group >= 0 && group < inputs) snprintf(name, size, "input %d", group);
        else if (group == inputs) snprintf(name, size, "others");
    }
    if (how == INTERP_BY_KIND || how == INTERP_BY_INPUT) return;
    for (int i = 0; i < net->n_params; i++) { /* groups are numbered as they come */
        size_t n;
        const char *layer = itp_layer_of(net, net->params[i], &n);
        const int groups = itp_groups_of(net, how, i);
        if (itp_group_mate(net, how, i) >= 0) continue;
        if (group >= first && group < first + groups) {
            if (how == INTERP_BY_VARIABLE)
                snprintf(name, size, "%s", net->values[net->params[i]].name);
            else if (how == INTERP_BY_LAYER) snprintf(name, size, "%.*s", (int)n, layer);
            else snprintf(name, size, "%.*s %d", (int)n, layer, group - first);
        }
        first += groups;
    }
}

/* ---- attr/randomise.c: attributions as one layer after the other is drawn anew -------------------- */

typedef struct itp_cascade {
    float *kept;         /* the network's parameters */
    float *was, *now;    /* [n, result] */
    float *key, *ranks;  /* [result], [2, result] */
    int *order;          /* [result] */
    int *layers;         /* [nodes] */
    double *correlation; /* [nodes, n] */
    int32_t *targets;    /* [n] */
    interp_attribution *report;
} itp_cascade;

ITP_FN size_t itp_cascade_layout(itp_cascade *c, char *block, const interp_net *net, size_t n,
                                 size_t size)
{
    itp_arena m = {block, 0};
    const size_t nodes = (size_t)net->n_nodes, all = itp_mul_size(n, size);
    c->kept = itp_arena_floats(&m, net->n_flat);
    c->was = itp_arena_floats(&m, all);
    c->now = itp_arena_floats(&m, all);
    c->key = itp_arena_floats(&m, size);
    c->ranks = itp_arena_floats(&m, itp_mul_size(2, size));
    c->order = (int *)itp_arena_alloc(&m, itp_mul_size(size, sizeof *c->order));
    c->layers = (int *)itp_arena_alloc(&m, itp_mul_size(nodes, sizeof *c->layers));
    c->correlation =
        (double *)itp_arena_alloc(&m, itp_mul_size(itp_mul_size(nodes, n), sizeof *c->correlation));
    c->targets = (int32_t *)itp_arena_alloc(&m, itp_mul_size(n, sizeof *c->targets));
    c->report = (interp_attribution *)itp_arena_alloc(&m, itp_mul_size(n, sizeof *c->report));
    return m.used;
}

/* Layers in the order they are drawn in; how many. */
ITP_FN int itp_cascade_layers(const interp_net *net, interp_cascade order, int *layers)
{
    int n = 0;
    for (int i = 0; i < net->n_nodes; i++) {
        const int node = order == INTERP_CASCADE_TOP_DOWN ? net->n_nodes - 1 - i : i;
        bool first = false;
        for (int k = 0; k < net->nodes[node].n_in; k++)
            first = first || itp_reads_first(net, node, k);
        if (first) layers[n++] = node;
    }
    return n;
}

/* The attribution of the network as it is, whose targets are kept, and then after each layer. */
ITP_FN interp_status itp_cascade_run(interp_net *net, const float *x, int n, size_t size,
                                     const interp_randomise_desc *d, itp_cascade *c, int layers)
{
    interp_attribute_desc m;
    memset(&m, 0, sizeof m);
    if (d->method) m = *d->method;
    ITP_TRY(interp_attribute(net, x, n, &m, c->was, c->report));
    if (m.scope != INTERP_SCOPE_NEURON && m.method != INTERP_NEURON_GRADIENT &&
        c->report[0].target >= 0) {
        for (int i = 0; i < n; i++) c->targets[i] = c->report[i].target;
        m.target = 0, m.target_kind = INTERP_TARGET_LABELS, m.targets = c->targets;
    }
    for (int l = 0; l < layers; l++) {
        const itp_node *node = &net->nodes[c->layers[l]];
        if (d->order == INTERP_CASCADE_INDEPENDENT)
            memcpy(net->flat, c->kept, net->n_flat * sizeof *net->flat);
        for (int k = 0; k < node->n_in; k++)
            if (itp_reads_first(net, c->layers[l], k))
                itp_evaluate_redraw(net, c->kept, node->in[k], d->seed);
        ITP_TRY(interp_attribute(net, x, n, &m, c->now, NULL));
        for (int s = 0; s < n; s++)
            c->correlation[(size_t)l * (size_t)n + (size_t)s] =
                itp_rank_correlation(c->was + (size_t)s * size, c->now + (size_t)s * size, size,
                                     c->key, c->ranks, c->order);
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_attribution_randomise(interp_net *net, const float *x, int n,
                                                      const interp_randomise_desc *desc,
                                                      int *n_layers, int *layers,
                                                      double *correlation)
{
    interp_randomise_desc d;
    interp_shape shape;
    itp_cascade c;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!net->flat || net->read_only)
        return itp_fail(net->ctx, INTERP_UNSUPPORTED,
                        "randomisation: the network has no parameters that can be drawn anew");
    if (n < 1 || (unsigned)d.order > INTERP_CASCADE_INDEPENDENT ||
        (d.method && d.method->n_targets))
        return itp_fail(
            net->ctx, INTERP_BAD_ARGUMENT,
            "randomisation: needs samples, one target for each, and an order that there "
            "is");
    ITP_TRY(interp_attribute_shape(net, d.method, &shape, NULL));
    const size_t size = interp_shape_size(&shape);
    char *block =
        (char *)interp_alloc(net->ctx, itp_cascade_layout(&c, NULL, net, (size_t)n, size));
    if (!block) return INTERP_NO_MEMORY;
    itp_cascade_layout(&c, block, net, (size_t)n, size);
    memcpy(c.kept, net->flat, net->n_flat * sizeof *c.kept);
    const int count = itp_cascade_layers(net, d.order, c.layers);
    const interp_status status = itp_cascade_run(net, x, n, size, &d, &c, count);
    memcpy(net->flat, c.kept, net->n_flat * sizeof *c.kept);
    if (!status) {
        *n_layers = count;
        memcpy(layers, c.layers, (size_t)count * sizeof *layers);
        memcpy(correlation, c.correlation, (size_t)count * (size_t)n * sizeof *correlation);
    }
    interp_free(net->ctx, block);
    return status;
}

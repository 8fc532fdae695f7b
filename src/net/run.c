/* ---- net/run.c: forward, backward, prediction in pieces ----------------------------------------- */

INTERP_API interp_status interp_forward(interp_workspace *w, const float *const *inputs)
{
    const interp_net *net = w->net;
    w->forward_done = false;
    w->step++;
    for (int i = 0; i < net->n_inputs; i++) {
        if (!inputs[i])
            return itp_fail(w->ctx, INTERP_BAD_ARGUMENT, "input \"%s\" was not given",
                            net->values[net->inputs[i]].name);
        w->data[net->inputs[i]] = inputs[i];
    }
    for (int v = 0; v < net->n_values; v++) { /* views of inputs under another shape */
        const int p = net->values[v].producer;
        if (p >= 0 && w->runs[p] && itp_is_alias(w, p)) w->data[v] = w->data[net->nodes[p].in[0]];
    }
    for (int n = 0; n < net->n_nodes; n++) {
        if (w->runs[n] && !w->fused[n] && itp_count(itp_shape_out(w, n)))
            itp_op_row(net->nodes[n].op)->forward(w, n);
        if (n == w->after_node || w->after_node == ITP_EVERY_NODE) w->after(w->after_user, w, n);
    }
    w->forward_done = true;
    return INTERP_OK;
}

/* What flows back from an output without numbers. */
ITP_FN void itp_backward_nothing(interp_workspace *w, int node)
{
    for (int i = 0; i < itp_at(w, node)->n_in; i++) {
        float *dx = itp_dx(w, node, i);
        if (dx && itp_beta(w, node, i) == 0)
            memset(dx, 0, itp_count(itp_shape_in(w, node, i)) * sizeof *dx);
    }
}

INTERP_API interp_status interp_backward(interp_workspace *w, const float *seed)
{
    const interp_net *net = w->net;
    float *target = w->grad[w->target];
    if (!w->forward_done)
        return itp_fail(w->ctx, INTERP_BAD_ARGUMENT,
                        "backward was called before forward, or twice after one: it reuses the "
                        "memory of what forward left");
    if (!itp_wants_grads(w))
        return itp_fail(w->ctx, INTERP_BAD_ARGUMENT,
                        "the workspace was made without gradients: set input_grads or param_grads");
    w->forward_done = w->desc.many_back;
    if (target) memcpy(target, seed, itp_count(&w->shape[w->target]) * sizeof *seed);
    for (int v = 0; v < net->n_values; v++) /* what the target does not depend on */
        if (w->grad[v] && w->unwritten[v] && !(w->accumulate && net->values[v].kind == ITP_PARAM))
            memset(w->grad[v], 0, itp_count(&w->shape[v]) * sizeof *seed);
    for (int n = net->n_nodes - 1; n >= 0; n--)
        if (!w->runs_back[n]) continue;
        else if (!itp_count(itp_shape_out(w, n))) itp_backward_nothing(w, n);
        else if (w->rule) w->rule(w->rule_user, w, n);
        else itp_op_backward(w, n);
    return INTERP_OK;
}

INTERP_API const float *interp_workspace_output(const interp_workspace *w, int i)
{
    return i >= 0 && i < w->net->n_outputs ? w->data[w->net->outputs[i]] : NULL;
}

INTERP_API const float *interp_workspace_target(const interp_workspace *w)
{
    return w->data[w->target];
}

INTERP_API size_t interp_workspace_target_size(const interp_workspace *w)
{
    return itp_count(&w->shape[w->target]) / (size_t)w->desc.batch;
}

INTERP_API const float *interp_workspace_input_grad(const interp_workspace *w, int i)
{
    return i >= 0 && i < w->net->n_inputs ? w->grad[w->net->inputs[i]] : NULL;
}

INTERP_API float *interp_workspace_param_grad(const interp_workspace *w)
{
    return w->param_grad;
}

INTERP_API const float *interp_workspace_kept(const interp_workspace *w)
{
    return w->kept >= 0 ? w->data[w->kept] : NULL;
}

INTERP_API const float *interp_workspace_kept_grad(const interp_workspace *w)
{
    return w->kept >= 0 ? w->grad[w->kept] : NULL;
}

INTERP_API interp_shape interp_workspace_kept_shape(const interp_workspace *w)
{
    interp_shape none;
    memset(&none, 0, sizeof none);
    return w->kept >= 0 ? w->shape[w->kept] : none;
}

/* What a run over many samples takes. */
typedef struct itp_fit {
    interp_workspace_desc work; /* its batch is what is looked for */
    int n;         /* samples in all; those left over after whole batches get a workspace too */
    int most;      /* largest batch */
    bool divides;  /* batches must divide `most`, and what n leaves over that comes in pieces too */
    size_t floats; /* further numbers per sample of a batch */
    size_t reserve; /* further bytes */
} itp_fit;

/* Samples left over when batches of `batch` are taken out of all of them. */
ITP_FN int itp_fit_rest(const itp_fit *f, int batch)
{
    return (f->divides ? f->n % f->most : f->n) % batch;
}

ITP_FN interp_status itp_fit_bytes(interp_ctx *ctx, const interp_net *net, const itp_fit *f,
                                   int batch, size_t *bytes)
{
    interp_workspace_desc w = f->work;
    const int rest = itp_fit_rest(f, batch);
    size_t more = 0;
    w.batch = batch;
    ITP_TRY(interp_workspace_bytes(ctx, net, &w, bytes));
    w.batch = rest;
    if (rest) ITP_TRY(interp_workspace_bytes(ctx, net, &w, &more));
    *bytes = itp_add_size(itp_add_size(*bytes, more), f->reserve);
    if (f->floats)
        more = itp_alloc_cost(itp_mul_size(itp_mul_size(f->floats, (size_t)batch), sizeof(float)));
    if (f->floats) *bytes = itp_add_size(*bytes, more);
    return INTERP_OK;
}

/* The largest batch with which all of it fits what memory is left; 0 with the error set when not even
   one sample does. A fixed batch is all or nothing. */
ITP_FN int itp_fit_most(interp_ctx *ctx, const interp_net *net, const itp_fit *f)
{
    size_t least = SIZE_MAX; /* one sample can need more than two: by another kernel */
    for (int batch = net->fixed_batch ? net->fixed_batch : f->most, k = 1;;) {
        size_t bytes = 0;
        if (itp_fit_bytes(ctx, net, f, batch, &bytes)) return 0;
        if (bytes <= itp_memory_left(ctx)) return batch;
        least = itp_min_size(least, bytes);
        if (batch == 1 || net->fixed_batch) {
            itp_fail(ctx, INTERP_NO_MEMORY,
                     "the work needs at least %zu bytes, but only %zu are left", least,
                     itp_memory_left(ctx));
            return 0;
        }
        do k++;
        while (f->divides && f->most % k);
        batch = f->divides ? f->most / k : batch / 2;
    }
}

/* The weights have changed. NULL is allowed. */
ITP_FN void itp_workspace_repack(interp_workspace *w)
{
    if (w) memset(w->is_packed, 0, (size_t)w->net->n_nodes);
}

/* For work of several passes: weights are packed once if there is memory for them twice. */
ITP_FN interp_status itp_fit_pack(interp_ctx *ctx, const interp_net *net, itp_fit *f, int batch)
{
    size_t bytes = 0;
    f->work.constant_weights = true;
    ITP_TRY(itp_fit_bytes(ctx, net, f, batch, &bytes));
    f->work.constant_weights = bytes <= itp_memory_left(ctx);
    return INTERP_OK;
}

INTERP_API int interp_workspace_fit(interp_ctx *ctx, const interp_net *net,
                                    const interp_workspace_desc *desc, int most)
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    if (desc) fit.work = *desc;
    fit.most = itp_max(1, most);
    return itp_fit_most(ctx, net, &fit);
}

/* Workspaces for whole batches and for what is left over, [1] NULL when nothing is. */
ITP_FN interp_status itp_fit_open(interp_ctx *ctx, const interp_net *net, const itp_fit *f,
                                  int batch, interp_workspace *work[2])
{
    interp_workspace_desc w = f->work;
    w.batch = batch;
    ITP_TRY(interp_workspace_new(ctx, net, &w, &work[0]));
    w.batch = itp_fit_rest(f, batch);
    return w.batch ? interp_workspace_new(ctx, net, &w, &work[1]) : INTERP_OK;
}

INTERP_API interp_status interp_predict(interp_net *net, const float *x, int n, float *y)
{
    interp_ctx *ctx = net->ctx;
    itp_fit fit;
    interp_workspace *w = NULL;
    float *last = NULL; /* a batch filled up with repeats of the last sample */
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has %d inputs: use a workspace",
                        net->name, net->n_inputs);
    if (n < 1) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%d samples to predict", n);
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t row = interp_shape_size(&in);
    memset(&fit, 0, sizeof fit);
    fit.most = itp_min(n, 64);
    fit.floats = row;
    const int batch = fit.work.batch = itp_fit_most(ctx, net, &fit);
    if (!batch) return ctx->status;
    if (n > batch) ITP_TRY(itp_fit_pack(ctx, net, &fit, batch));
    interp_status status = interp_workspace_new(ctx, net, &fit.work, &w);
    if (!status && n % batch) {
        last = (float *)interp_alloc(ctx, itp_mul_size((size_t)batch * row, sizeof *last));
        if (!last) status = INTERP_NO_MEMORY;
    }
    for (int at = 0; at < n && !status; at += batch) {
        const int some = itp_min(batch, n - at);
        const float *from = x + (size_t)at * row;
        for (int i = 0; some < batch && i < batch; i++)
            memcpy(last + (size_t)i * row, from + (size_t)itp_min(i, some - 1) * row,
                   row * sizeof *last);
        if (some < batch) from = last;
        status = interp_forward(w, &from);
        if (status) break;
        const size_t out = interp_workspace_target_size(w);
        const float *got = interp_workspace_target(w);
        if (!itp_is_finite(got, (size_t)some * out))
            status = itp_fail(ctx, INTERP_NOT_FINITE,
                              "the output for samples %d to %d is NaN or infinite: look for such "
                              "numbers in the input and the weights",
                              at, at + some - 1);
        else memcpy(y + (size_t)at * out, got, (size_t)some * out * sizeof *y);
    }
    interp_free(ctx, last);
    interp_workspace_free(w);
    return status;
}

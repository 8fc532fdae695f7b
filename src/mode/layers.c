/* ---- mode/layers.c: feature models of all layers, and the one to look at -------------------- */

/* How many nodes read a value; reader: one of them. */
ITP_FN int itp_mode_readers(const interp_net *net, int value, int *reader)
{
    int n = 0;
    for (int i = 0; i < net->n_nodes; i++)
        for (int k = 0; k < net->nodes[i].n_in; k++)
            if (net->nodes[i].in[k] == value) n++, *reader = i;
    return n;
}

ITP_FN bool itp_mode_is_activation(int op)
{
    return itp_op_row(op)->forward == itp_forward_unary;
}

/* Whether a node ends a layer. */
ITP_FN bool itp_mode_is_layer(const interp_net *net, int node)
{
    const itp_node *n = &net->nodes[node];
    bool made = itp_mode_is_activation(n->op), sum = n->op == ITP_OP_ADD;
    int reader = -1;
    for (int k = 0; k < n->n_in; k++) {
        made |= net->values[n->in[k]].kind == ITP_PARAM;
        sum &= net->values[n->in[k]].kind == ITP_ACTIVATION;
    }
    switch (n->op) {
    case ITP_OP_CONV: /* also with weights that are constants of a file */
    case ITP_OP_GEMM:
    case ITP_OP_MAX_POOL:
    case ITP_OP_AVERAGE_POOL:
    case ITP_OP_GLOBAL_AVERAGE_POOL:
    case ITP_OP_GLOBAL_MAX_POOL: made = true; break;
    default: break;
    }
    if (!made && !sum) return false;
    if (itp_mode_readers(net, n->out, &reader) != 1) return true;
    const int next = net->nodes[reader].op;
    return next != ITP_OP_BATCH_NORM && next != ITP_OP_LAYER_NORM && next != ITP_OP_ADD &&
           !itp_mode_is_activation(next);
}

/* Feature models being made. */
typedef struct itp_mode_probes {
    interp_ctx *ctx;
    interp_net *net;
    int n, k; /* layers, classes */
    itp_mode_view *view;
    float **gram, **right; /* [features + 1, features + 1]; [features + 1, K], then the weights */
    float *rows, *target;  /* [batch, features + 1]; [batch, K] */
    float *score;          /* [2, batch, K]: of this layer and the one before */
    float *planes;
    double *a, *b;        /* the equations in double */
    double *distance;     /* [n]: sums */
    int64_t *right_of;    /* [n, K]: samples classified right */
    int *samples, *count; /* [max]: of the training data; [K] */
} itp_mode_probes;

/* Everything they take, carved out of one block. */
ITP_FN void itp_mode_probes_layout(itp_arena *a, itp_mode_probes *p, int most)
{
    const size_t k = (size_t)p->k, n = (size_t)p->n;
    size_t widest = 0, planes = 0;
    p->gram = (float **)itp_arena_alloc(a, n * sizeof *p->gram);
    p->right = (float **)itp_arena_alloc(a, n * sizeof *p->right);
    for (int i = 0; i < p->n; i++) {
        const size_t d = (size_t)p->view[i].features + 1;
        float *gram = itp_arena_floats(a, itp_mul_size(d, d));
        float *right = itp_arena_floats(a, itp_mul_size(d, k));
        if (a->base) p->gram[i] = gram, p->right[i] = right;
        widest = itp_max_size(widest, d);
        planes = itp_max_size(planes, itp_mode_features_room(p->ctx, &p->view[i]));
    }
    p->rows = itp_arena_floats(a, itp_mul_size(widest, ITP_MODE_BATCH));
    p->target = itp_arena_floats(a, itp_mul_size(k, ITP_MODE_BATCH));
    p->score = itp_arena_floats(a, itp_mul_size(k, 2 * ITP_MODE_BATCH));
    p->planes = itp_arena_floats(a, planes);
    p->a = (double *)itp_arena_alloc(a, itp_mul_size(itp_mul_size(widest, widest), sizeof *p->a));
    p->b = (double *)itp_arena_alloc(a, itp_mul_size(itp_mul_size(widest, k), sizeof *p->b));
    p->distance = (double *)itp_arena_alloc(a, n * sizeof *p->distance);
    p->right_of = (int64_t *)itp_arena_alloc(a, itp_mul_size(n * k, sizeof *p->right_of));
    p->count = (int *)itp_arena_alloc(a, k * sizeof *p->count);
    p->samples = (int *)itp_arena_alloc(a, (size_t)most * sizeof *p->samples);
}

/* Features of layer i with a constant behind them, of the batch that has just run. */
ITP_FN void itp_mode_probe_rows(itp_mode_probes *p, const itp_mode_pass *pass, int i)
{
    const size_t d = (size_t)p->view[i].features + 1;
    itp_mode_features(pass, &p->view[i], false, p->planes, p->rows, d);
    for (int r = 0; r < pass->count; r++) p->rows[(size_t)r * d + d - 1] = 1;
}

/* Sums of products of features, and of features and labels, over the chosen samples. */
ITP_FN interp_status itp_mode_probes_sum(itp_mode_probes *p, itp_mode_pass *pass,
                                         const interp_dataset *data, int n)
{
    const size_t k = (size_t)p->k;
    for (int at = 0; at < n; at += pass->batch) {
        ITP_TRY(itp_progress(p->ctx, "feature models", at, n, (double)NAN));
        ITP_TRY(itp_mode_pass_run(pass, data, p->samples, at, n));
        memset(p->target, 0, (size_t)pass->count * k * sizeof *p->target);
        for (int r = 0; r < pass->count; r++)
            p->target[(size_t)r * k + (size_t)data->y[p->samples[at + r]]] = 1;
        for (int i = 0; i < p->n; i++) {
            const int d = p->view[i].features + 1;
            const float beta = at ? 1 : 0;
            itp_mode_probe_rows(p, pass, i);
            ITP_TRY(interp_sgemm(p->ctx, true, false, d, d, pass->count, 1, p->rows, d, p->rows, d,
                                 beta, p->gram[i], d));
            ITP_TRY(interp_sgemm(p->ctx, true, false, d, p->k, pass->count, 1, p->rows, d,
                                 p->target, p->k, beta, p->right[i], p->k));
        }
    }
    return INTERP_OK;
}

/* Ridge regression of the labels, the constant unpenalised. */
ITP_FN interp_status itp_mode_probe_solve(itp_mode_probes *p, int i, double ridge, int n)
{
    const size_t d = (size_t)p->view[i].features + 1, k = (size_t)p->k;
    double trace = 0;
    for (size_t j = 0; j < d * d; j++) p->a[j] = (double)p->gram[i][j];
    for (size_t j = 0; j < d * k; j++) p->b[j] = (double)p->right[i][j];
    for (size_t j = 0; j + 1 < d; j++) trace += p->a[j * d + j];
    /* features that are all 0 must not make the equations singular */
    const double penalty = ridge * trace / (double)(d - 1) + 1e-9 * n;
    for (size_t j = 0; j + 1 < d; j++) p->a[j * d + j] += penalty;
    itp_cholesky_solve(p->a, (int)d, d, p->b, p->k);
    for (size_t j = 0; j < d * k; j++) p->right[i][j] = (float)p->b[j];
    if (itp_is_finite(p->right[i], d * k)) return INTERP_OK;
    return itp_fail(p->ctx, INTERP_NOT_FINITE,
                    "mode: the features of layer \"%s\" are not finite, or too large",
                    interp_net_node_name(p->net, p->view[i].node));
}

/* Least squares estimate probabilities that may leave 0..1: what is below 0 counts as 0. */
ITP_FN void itp_mode_probability(float *p, int k)
{
    double sum = 0;
    for (int j = 0; j < k; j++) {
        p[j] = p[j] > 0 ? p[j] : 0;
        sum += (double)p[j];
    }
    for (int j = 0; j < k; j++) p[j] = sum > 0 ? (float)((double)p[j] / sum) : 1.0f / (float)k;
}

ITP_FN double itp_mode_hellinger_sum(const float *a, const float *b, int n, int k)
{
    double all = 0;
    for (int i = 0; i < n; i++) {
        double s = 0;
        for (int j = 0; j < k; j++) {
            const size_t at = (size_t)i * (size_t)k + (size_t)j;
            if (a[at] > 0 && b[at] > 0) s += sqrt((double)a[at] * (double)b[at]);
        }
        all += s < 1 ? 1 - s : 0;
    }
    return all;
}

INTERP_API double interp_mode_hellinger(const float *a, const float *b, int n, int k)
{
    return itp_mode_hellinger_sum(a, b, n, k) / n;
}

/* What the models make of samples: how many of each label are right, and distances of their
   outputs. */
ITP_FN interp_status itp_mode_probes_run(itp_mode_probes *p, itp_mode_pass *pass,
                                         const interp_dataset *data, const int *rows, int n)
{
    const size_t k = (size_t)p->k;
    memset(p->distance, 0, (size_t)p->n * sizeof *p->distance);
    memset(p->right_of, 0, (size_t)p->n * k * sizeof *p->right_of);
    memset(p->count, 0, k * sizeof *p->count);
    for (int at = 0; at < n; at += pass->batch) {
        ITP_TRY(itp_mode_pass_run(pass, data, rows, at, n));
        for (int i = 0; i < p->n; i++) {
            const int d = p->view[i].features + 1;
            float *now = p->score + (size_t)(i % 2) * ITP_MODE_BATCH * k;
            const float *before = p->score + (size_t)((i + 1) % 2) * ITP_MODE_BATCH * k;
            itp_mode_probe_rows(p, pass, i);
            ITP_TRY(interp_sgemm(p->ctx, false, false, pass->count, p->k, d, 1, p->rows, d,
                                 p->right[i], p->k, 0, now, p->k));
            for (int r = 0; r < pass->count; r++) {
                const int32_t y = data->y[rows ? rows[at + r] : at + r];
                p->count[y] += !i;
                p->right_of[(size_t)i * k + (size_t)y] +=
                    interp_argmax(now + (size_t)r * k, p->k) == y;
                itp_mode_probability(now + (size_t)r * k, p->k);
            }
            if (i) p->distance[i] += itp_mode_hellinger_sum(now, before, pass->count, p->k);
        }
    }
    return INTERP_OK;
}

/* The layers' accuracies: of all labels, and of each where `labels` [n, K] is not NULL. */
ITP_FN void itp_mode_probes_accuracy(const itp_mode_probes *p, int i, int n, double *all,
                                     double *labels)
{
    double right = 0;
    for (int l = 0; l < p->k; l++) {
        const double hits = (double)p->right_of[i * p->k + l];
        right += hits;
        if (labels) labels[i * p->k + l] = p->count[l] ? hits / p->count[l] : (double)NAN;
    }
    *all = right / n;
}

ITP_FN int itp_mode_saturated(const interp_mode_layers *l, const interp_mode_layer_desc *d)
{
    const double threshold = d->threshold;
    int i = d->backward ? l->n - 1 : 0;
    for (; d->backward ? i > 0 : i + 1 < l->n; i += d->backward ? -1 : 1) {
        const interp_mode_layer *later = &l->layer[d->backward ? i : i + 1];
        const bool still = d->saturation == INTERP_MODE_BY_ACCURACY
                               ? later->val_accuracy - later[-1].val_accuracy <= threshold
                               : later->distance <= threshold;
        if (still != d->backward) break;
    }
    return i;
}

ITP_FN interp_status itp_mode_probes_make(itp_mode_probes *p, const interp_dataset *train,
                                          const interp_dataset *validation,
                                          const interp_mode_layer_desc *d, int n,
                                          interp_mode_layers *out)
{
    itp_mode_pass pass;
    ITP_TRY(itp_mode_pass_open(&pass, p->net, ITP_EVERY_NODE, false, itp_max(n, validation->n)));
    interp_status status = itp_mode_probes_sum(p, &pass, train, n);
    for (int i = 0; i < p->n && !status; i++) status = itp_mode_probe_solve(p, i, d->ridge, n);
    if (!status) status = itp_mode_probes_run(p, &pass, train, p->samples, n);
    for (int i = 0; i < p->n && !status; i++)
        itp_mode_probes_accuracy(p, i, n, &out->layer[i].train_accuracy, NULL);
    if (!status) status = itp_mode_probes_run(p, &pass, validation, NULL, validation->n);
    itp_mode_pass_close(&pass);
    if (status) return status;
    for (int i = 0; i < p->n; i++) {
        interp_mode_layer *l = &out->layer[i];
        l->node = p->view[i].node;
        l->name = interp_net_node_name(p->net, l->node);
        l->features = p->view[i].features;
        l->distance = i ? p->distance[i] / validation->n : (double)NAN;
        itp_mode_probes_accuracy(p, i, validation->n, &l->val_accuracy, out->label_accuracy);
    }
    out->selected = itp_mode_saturated(out, d);
    const size_t of = (size_t)(out->layer[out->selected].features + 1) * (size_t)p->k;
    memcpy(out->weights, p->right[out->selected], of * sizeof *out->weights);
    return INTERP_OK;
}

INTERP_API void interp_mode_layers_free(interp_ctx *ctx, interp_mode_layers *l)
{
    interp_free(ctx, l->layer);
    memset(l, 0, sizeof *l);
}

/* Room for the results, in one block. */
ITP_FN interp_status itp_mode_layers_new(interp_ctx *ctx, int n, int k, int features,
                                         interp_mode_layers *r)
{
    const size_t rows = itp_mul_size((size_t)n, (size_t)k);
    memset(r, 0, sizeof *r);
    r->n = n, r->n_classes = k;
    r->layer = (interp_mode_layer *)itp_calloc(
        ctx, 1,
        (size_t)n * sizeof *r->layer + itp_mul_size(rows, sizeof *r->label_accuracy) +
            itp_mul_size(itp_mul_size((size_t)features + 1, (size_t)k), sizeof *r->weights));
    if (!r->layer) return INTERP_NO_MEMORY;
    r->label_accuracy = (double *)(void *)(r->layer + n);
    r->weights = (float *)(void *)(r->label_accuracy + rows);
    return INTERP_OK;
}

ITP_FN interp_status itp_mode_layer_defaults(interp_ctx *ctx, const interp_mode_layer_desc *desc,
                                             interp_mode_layer_desc *d)
{
    memset(d, 0, sizeof *d);
    if (desc) *d = *desc;
    if (d->threshold == 0) d->threshold = 0.01;
    if (d->ridge == 0) d->ridge = 1e-3;
    if (!d->max_features) d->max_features = ITP_MODE_FEATURES;
    if (!d->max_samples) d->max_samples = 10000;
    if (d->threshold >= 0 && d->ridge > 0 && d->max_features > 0 && d->max_features <= 4096 &&
        d->max_samples > 0)
        return INTERP_OK;
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "mode: an option is out of range: threshold %g, ridge %g, %d features of up to "
                    "4096, %d samples",
                    d->threshold, d->ridge, d->max_features, d->max_samples);
}

INTERP_API interp_status interp_mode_select_layer(interp_net *net, const interp_dataset *train,
                                                  const interp_dataset *validation,
                                                  const interp_mode_layer_desc *desc,
                                                  interp_mode_layers *out)
{
    interp_ctx *ctx = net->ctx;
    interp_mode_layer_desc d;
    interp_mode_layers r;
    itp_mode_probes p;
    itp_arena arena = {NULL, 0};
    int features = 0;
    ITP_TRY(itp_mode_layer_defaults(ctx, desc, &d));
    const interp_mode_sets sets = {train, validation, NULL, NULL};
    ITP_TRY(itp_mode_sets_fit(net, &sets));
    memset(&p, 0, sizeof p);
    p.ctx = ctx, p.net = net, p.k = train->n_classes;
    p.view = (itp_mode_view *)interp_alloc(ctx, (size_t)net->n_nodes * sizeof *p.view);
    if (!p.view) return INTERP_NO_MEMORY;
    for (int i = 0; i < net->n_nodes; i++)
        if (itp_mode_is_layer(net, i)) {
            p.view[p.n++] = itp_mode_view_of(net, i, d.max_features);
            features = itp_max(features, p.view[p.n - 1].features);
        }
    interp_status status =
        p.n ? itp_mode_layers_new(ctx, p.n, p.k, features, &r)
            : itp_fail(ctx, INTERP_UNSUPPORTED, "mode: network \"%s\" has no layers", net->name);
    const int n = itp_min(train->n, d.max_samples);
    char *block = NULL;
    if (!status) {
        itp_mode_probes_layout(&arena, &p, train->n);
        block = (char *)interp_alloc(ctx, arena.used);
        status = block ? INTERP_OK : INTERP_NO_MEMORY;
        if (!block) interp_mode_layers_free(ctx, &r);
    }
    if (!status) {
        arena.base = block, arena.used = 0;
        itp_mode_probes_layout(&arena, &p, train->n);
        for (int i = 0; i < train->n; i++) p.samples[i] = i;
        if (n < train->n) itp_shuffle(p.samples, train->n, d.seed, ITP_STREAM_MODE + 1);
        status = itp_mode_probes_make(&p, train, validation, &d, n, &r);
        if (status) interp_mode_layers_free(ctx, &r);
    }
    interp_free(ctx, block);
    interp_free(ctx, p.view);
    if (!status) *out = r;
    return status;
}

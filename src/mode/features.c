/* ---- mode/features.c: passes over samples, and what layers make of them --------------------- */

#define ITP_STREAM_MODE 0x4D4F4445u /* "MODE": random numbers no one else uses, and up */

enum {
    ITP_MODE_FEATURES = 512,
    ITP_MODE_BATCH = 256,
    ITP_MODE_ROOM = 128 << 20 /* bytes of a pass, while more than one sample is in it */
};

/* How the numbers of a value become features. */
typedef struct itp_mode_view {
    int node, value;             /* node -1: the input */
    int channels, height, width; /* planes; vectors are channels of 1x1 */
    int grid[2];                 /* they are averaged over */
    bool tokens;                 /* [T,D], averaged over T */
    int size;                    /* numbers of one sample */
    int features;
    bool folded; /* what is left by the grid is still more than these */
} itp_mode_view;

ITP_FN itp_mode_view itp_mode_view_of(const interp_net *net, int node, int most)
{
    itp_mode_view v;
    memset(&v, 0, sizeof v);
    v.node = node, v.value = node < 0 ? net->inputs[0] : net->nodes[node].out;
    const interp_shape s = itp_sample_shape(net, v.value);
    v.size = (int)interp_shape_size(&s);
    v.channels = v.size, v.height = v.width = 1;
    if (s.rank == 3) v.channels = s.dim[0], v.height = s.dim[1], v.width = s.dim[2];
    if (s.rank == 2 && node >= 0) v.tokens = true, v.height = s.dim[0], v.channels = s.dim[1];
    v.grid[0] = v.height, v.grid[1] = v.width;
    for (int g = itp_max(v.height, v.width); node >= 0 && g > 0; g--) {
        v.grid[0] = itp_min(v.height, v.tokens ? 1 : g), v.grid[1] = itp_min(v.width, g);
        if (v.channels <= most / (v.grid[0] * v.grid[1])) break;
    }
    v.features = v.channels * v.grid[0] * v.grid[1];
    v.folded = node >= 0 && v.features > most;
    if (v.folded) v.features = most;
    return v;
}

/* Features of one sample. planes: as many numbers as are there before they are folded. */
ITP_FN void itp_mode_features_of(const itp_mode_view *v, const float *x, float *planes, float *out)
{
    const bool whole = v->grid[0] == v->height && v->grid[1] == v->width;
    const int n = v->channels * v->grid[0] * v->grid[1];
    float *to = v->folded ? planes : out;
    if (v->tokens) {
        for (int c = 0; c < v->channels; c++) {
            double s = 0;
            for (int t = 0; t < v->height; t++) s += (double)x[t * v->channels + c];
            to[c] = (float)(s / v->height);
        }
    } else if (whole) {
        memcpy(to, x, (size_t)n * sizeof *to);
    } else {
        interp_planes_resize(x, v->channels, v->height, v->width, to, v->grid[0], v->grid[1]);
    }
    if (!v->folded) return;
    memset(out, 0, (size_t)v->features * sizeof *out);
    for (int i = 0; i < n; i++) {
        const uint32_t r = interp_random_u32(0, ITP_STREAM_MODE, (uint64_t)i);
        out[(r >> 1) % (uint32_t)v->features] += r & 1 ? planes[i] : -planes[i];
    }
}

/* A pass over samples in batches, the last one filled up. */
typedef struct itp_mode_pass {
    const interp_net *net;
    interp_workspace *w;
    float *x; /* [batch, row] */
    int batch, outputs, count;
    size_t row;
} itp_mode_pass;

ITP_FN void itp_mode_pass_close(itp_mode_pass *p)
{
    interp_free(p->net->ctx, p->x);
    interp_workspace_free(p->w);
    p->x = NULL, p->w = NULL;
}

/* node: whose numbers (with `grad` their gradients too) stay; -1: none; ITP_EVERY_NODE: all. */
ITP_FN interp_status itp_mode_pass_open(itp_mode_pass *p, const interp_net *net, int node,
                                        bool grad, int n)
{
    interp_ctx *ctx = net->ctx;
    const interp_shape in = interp_net_input_shape(net, 0);
    const int logits = itp_logits_value(net, INTERP_CROSS_ENTROPY);
    const interp_shape out = itp_sample_shape(net, logits);
    size_t bytes = 0;
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    memset(p, 0, sizeof *p);
    p->net = net, p->row = interp_shape_size(&in), p->outputs = (int)interp_shape_size(&out);
    fit.work.output = net->values[logits].name;
    fit.work.keep_all = node == ITP_EVERY_NODE;
    if (node >= 0) fit.work.keep = net->values[net->nodes[node].out].name;
    fit.work.keep_grad = node >= 0 && grad;
    fit.work.input_grads = node == -1 && grad;
    fit.floats = p->row;
    fit.most = itp_min(itp_max(n, 1), ITP_MODE_BATCH);
    while (fit.most > 1 && !net->fixed_batch) {
        ITP_TRY(itp_fit_bytes(ctx, net, &fit, fit.most, &bytes));
        if (bytes < (size_t)ITP_MODE_ROOM) break;
        fit.most = itp_div_up(fit.most, 2);
    }
    p->batch = fit.work.batch = itp_fit_most(ctx, net, &fit);
    if (!p->batch) return ctx->status;
    interp_status status = interp_workspace_new(ctx, net, &fit.work, &p->w);
    if (!status) {
        p->x = (float *)interp_alloc(ctx, itp_mul_size((size_t)p->batch * p->row, sizeof(float)));
        status = p->x ? INTERP_OK : INTERP_NO_MEMORY;
    }
    if (status) itp_mode_pass_close(p);
    return status;
}

/* Runs samples rows[at..] (NULL: at..) of n in all; `count` says how many. */
ITP_FN interp_status itp_mode_pass_run(itp_mode_pass *p, const interp_dataset *data,
                                       const int *rows, int at, int n)
{
    const float *from = p->x;
    p->count = itp_min(p->batch, n - at);
    for (int i = 0; i < p->batch; i++) {
        const int r = at + itp_min(i, p->count - 1);
        memcpy(p->x + (size_t)i * p->row, data->x + (size_t)(rows ? rows[r] : r) * p->row,
               p->row * sizeof(float));
    }
    ITP_TRY(interp_forward(p->w, &from));
    if (itp_is_finite(interp_workspace_target(p->w), (size_t)p->count * (size_t)p->outputs))
        return INTERP_OK;
    return itp_fail(p->net->ctx, INTERP_NOT_FINITE,
                    "mode: outputs for samples %d to %d are NaN or infinite", at,
                    at + p->count - 1);
}

/* Features of a view for the samples of a batch: numbers or their gradients. */
typedef struct itp_mode_features_job {
    const itp_mode_view *v;
    const float *x;
    float *planes, *out; /* planes: [slots, numbers before they are folded] */
    size_t stride, room;
} itp_mode_features_job;

ITP_FN void itp_mode_features_task(void *arg, int task, int slot)
{
    const itp_mode_features_job *j = (const itp_mode_features_job *)arg;
    itp_mode_features_of(j->v, j->x + (size_t)task * (size_t)j->v->size,
                         j->planes + (size_t)slot * j->room, j->out + (size_t)task * j->stride);
}

/* Numbers of scratch for the views. */
ITP_FN size_t itp_mode_features_room(const interp_ctx *ctx, const itp_mode_view *v)
{
    const size_t n = (size_t)v->channels * (size_t)v->grid[0] * (size_t)v->grid[1];
    return v->folded ? itp_mul_size(n, (size_t)ctx->slots) : 0;
}

/* out: [count, stride] from its first number on. */
ITP_FN void itp_mode_features(const itp_mode_pass *p, const itp_mode_view *v, bool gradient,
                              float *planes, float *out, size_t stride)
{
    itp_mode_features_job j;
    j.v = v, j.out = out, j.stride = stride, j.planes = planes;
    j.room = (size_t)v->channels * (size_t)v->grid[0] * (size_t)v->grid[1];
    j.x = gradient ? p->w->grad[v->value] : p->w->data[v->value];
    itp_parallel(p->net->ctx, p->count, 2.0 * v->size * p->count, itp_mode_features_task, &j);
}

/* Whether a data set goes with a network. */
ITP_FN interp_status itp_mode_fits(interp_net *net, const interp_dataset *data, const char *what)
{
    if (!net->built || !net->n_inputs || !net->n_outputs)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT, "mode: the network is not built");
    const interp_shape out = itp_sample_shape(net, itp_logits_value(net, INTERP_CROSS_ENTROPY));
    if (!data || !data->y || data->n < 1)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT, "mode: %s needs labelled samples", what);
    return itp_data_fits(net->ctx, net, data, (int)interp_shape_size(&out));
}

/* Whether all sets that are given go with a network and with each other. */
ITP_FN interp_status itp_mode_sets_fit(interp_net *net, const interp_mode_sets *s)
{
    static const char *const names[] = {"training data", "validation data", "the pool",
                                        "test data"};
    const interp_dataset *const sets[] = {s->train, s->validation, s->pool, s->test};
    for (int i = 0; i < 4; i++) {
        if (i > 1 && !sets[i]) continue; /* not every call has them */
        ITP_TRY(itp_mode_fits(net, sets[i], names[i]));
        if (sets[i]->n_classes != s->train->n_classes)
            return itp_fail(net->ctx, INTERP_BAD_ARGUMENT, "mode: %s has %d classes, %s %d",
                            names[i], sets[i]->n_classes, names[0], s->train->n_classes);
    }
    return INTERP_OK;
}

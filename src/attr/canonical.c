/* ---- attr/canonical.c: what the network takes for each class -------------------------------------- */

typedef struct itp_canonical {
    interp_ctx *ctx;
    interp_net *net;
    interp_canonical_desc d; /* defaults filled in */
    int classes, batch;
    size_t size;
    interp_shape shape;
    interp_workspace *w;
    float *x, *shown;             /* [batch, size]: the inputs, and as shifted for this step */
    float *grad, *first, *second; /* [batch, size] */
    float *seed;                  /* [batch, classes] */
    float *centre, *pull;         /* [size]: where l2 pulls to, and how strongly */
    float *tame;                  /* [batch]: how much smoothness and plausibility count */
    int32_t *labels;              /* [batch] */
} itp_canonical;

ITP_FN void itp_canonical_layout(itp_arena *m, itp_canonical *c)
{
    const size_t n = (size_t)c->batch * c->size;
    float **const arrays[] = {&c->x, &c->shown, &c->grad, &c->first, &c->second};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = itp_arena_floats(m, n);
    c->seed = itp_arena_floats(m, (size_t)c->batch * (size_t)c->classes);
    c->tame = itp_arena_floats(m, (size_t)c->batch);
    c->centre = itp_arena_floats(m, c->size);
    c->pull = itp_arena_floats(m, c->size);
    c->labels = (int32_t *)itp_arena_alloc(m, (size_t)c->batch * sizeof(int32_t));
}

/* Copies every image moved by (dy, dx), edges repeated; adds back the other way round. */
ITP_FN void itp_canonical_shift(const itp_canonical *c, const float *from, float *to, int dy,
                                int dx, bool back)
{
    const int channels = c->shape.dim[0], h = c->shape.dim[1], w = c->shape.dim[2];
    const size_t planes = (size_t)c->batch * (size_t)channels, area = (size_t)h * (size_t)w;
    if (back) memset(to, 0, planes * area * sizeof *to);
    for (size_t p = 0; p < planes; p++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const int sy = itp_min(itp_max(y + dy, 0), h - 1),
                          sx = itp_min(itp_max(x + dx, 0), w - 1);
                const size_t a = p * area + (size_t)y * (size_t)w + (size_t)x;
                const size_t b = p * area + (size_t)sy * (size_t)w + (size_t)sx;
                if (back) to[b] += from[a];
                else to[a] = from[b];
            }
}

/* Gradient of total variation, by squares of differences of neighbours. */
ITP_FN void itp_canonical_smooth(const itp_canonical *c)
{
    if (c->shape.rank != 3 || c->d.tv <= 0) return;
    const int h = c->shape.dim[1], w = c->shape.dim[2];
    const size_t channels = (size_t)c->shape.dim[0], area = (size_t)h * (size_t)w;
    const double range = (double)c->d.high - (double)c->d.low;
    const float scale = (float)(2 * (double)c->d.tv / (range * range));
    for (size_t p = 0; p < (size_t)c->batch * channels; p++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const size_t at = p * area + (size_t)y * (size_t)w + (size_t)x;
                const size_t next[2] = {at + 1, at + (size_t)w};
                for (int k = 0; k < 2; k++) {
                    if (k ? y + 1 == h : x + 1 == w) continue;
                    const float d = scale * c->tame[p / channels] * (c->x[at] - c->x[next[k]]);
                    c->grad[at] += d;
                    c->grad[next[k]] -= d;
                }
            }
}

/* Gradient of minus the margin z_k - log sum exp(the others), which unlike the log-probability does
   not fade once the class has won. What keeps the image plausible fades instead while the margin is
   below about 6, a probability of 0.998. */
ITP_FN void itp_canonical_seed(const itp_canonical *c, const float *logits)
{
    for (int i = 0; i < c->batch; i++) {
        const float *z = logits + (size_t)i * (size_t)c->classes;
        float *g = c->seed + (size_t)i * (size_t)c->classes;
        const int k = c->labels[i];
        double most = -HUGE_VAL, sum = 0;
        for (int j = 0; j < c->classes; j++)
            if (j != k) most = fmax(most, (double)z[j]);
        for (int j = 0; j < c->classes; j++)
            if (j != k) sum += exp((double)z[j] - most);
        for (int j = 0; j < c->classes; j++) g[j] = (float)(exp((double)z[j] - most) / sum);
        g[k] = -1;
        const double margin = (double)z[k] - most - log(sum);
        c->tame[i] = c->classes > 1 ? (float)(1 / (1 + exp(2 * (6 - margin)))) : 1;
    }
}

/* Mean and one over the variance of each number in the data; a number that hardly varies counts as if
   it did by a tenth of the range. */
ITP_FN void itp_canonical_prior(const itp_canonical *c)
{
    const interp_dataset *like = c->d.like;
    const double least = 0.1 * ((double)c->d.high - (double)c->d.low);
    for (size_t i = 0; i < c->size; i++) {
        double mean = 0, square = 0;
        for (int r = 0; like && r < like->n; r++) mean += (double)like->x[(size_t)r * c->size + i];
        if (like) mean /= like->n;
        for (int r = 0; like && r < like->n; r++) {
            const double d = (double)like->x[(size_t)r * c->size + i] - mean;
            square += d * d;
        }
        c->centre[i] = like ? (float)mean : c->d.low;
        c->pull[i] = like ? (float)(1 / fmax(square / like->n, least * least)) : 1;
    }
}

ITP_FN interp_status itp_canonical_step(itp_canonical *c, int step, int first_class)
{
    const size_t n = (size_t)c->batch * c->size;
    const bool image = c->shape.rank == 3 && c->d.jitter > 0;
    int dy = 0, dx = 0;
    if (image) {
        const uint32_t span = 2 * (uint32_t)c->d.jitter + 1;
        const uint64_t stream = 0x3200000u + (uint64_t)first_class, at = 2 * (uint64_t)step;
        dy = (int)itp_random_below(c->d.seed, stream, at, span) - c->d.jitter;
        dx = (int)itp_random_below(c->d.seed, stream, at + 1, span) - c->d.jitter;
    }
    if (image) itp_canonical_shift(c, c->x, c->shown, dy, dx, false);
    else memcpy(c->shown, c->x, n * sizeof *c->x);
    const float *in = c->shown;
    ITP_TRY(interp_forward(c->w, &in));
    itp_canonical_seed(c, interp_workspace_target(c->w));
    ITP_TRY(interp_backward(c->w, c->seed));
    const float *g = interp_workspace_input_grad(c->w, 0);
    if (!itp_is_finite(g, n))
        return itp_fail(
            c->ctx, INTERP_NOT_FINITE,
            "canonical: a gradient is NaN or infinite: look for such numbers in the weights");
    if (image) itp_canonical_shift(c, g, c->grad, dy, dx, true);
    else memcpy(c->grad, g, n * sizeof *g);
    itp_canonical_smooth(c);
    itp_update u;
    memset(&u, 0, sizeof u);
    u.lr = c->d.lr * (1 - 0.9f * (float)step / (float)c->d.steps);
    u.beta1 = 0.9f, u.beta2 = 0.999f, u.epsilon = 1e-8f, u.grad_scale = 1;
    u.correction1 = (float)(1 - pow((double)u.beta1, step + 1));
    u.correction2 = (float)(1 - pow((double)u.beta2, step + 1));
    for (size_t i = 0; i < n && c->d.l2 > 0; i++)
        c->grad[i] += 2 * c->d.l2 * c->tame[i / c->size] * c->pull[i % c->size] *
                      (c->x[i] - c->centre[i % c->size]);
    itp_grads(c->ctx->k)->adam(n, c->x, c->grad, c->first, c->second, &u);
    c->ctx->k->unary(ITP_CLIP, n, c->x, c->x, c->d.low, c->d.high);
    return INTERP_OK;
}

/* Images of classes first .. first + batch. */
ITP_FN interp_status itp_canonical_run(itp_canonical *c, int first, float *out, float *probability)
{
    const size_t n = (size_t)c->batch * c->size;
    const int some = itp_min(c->batch, c->classes - first);
    memset(c->first, 0, n * sizeof *c->first);
    memset(c->second, 0, n * sizeof *c->second);
    for (int i = 0; i < c->batch; i++) c->labels[i] = itp_min(first + i, c->classes - 1);
    for (size_t i = 0; i < n; i++) /* noise over the lower half of the range */
        c->x[i] = c->d.low + 0.5f * (c->d.high - c->d.low) *
                                 interp_random_uniform(c->d.seed, 0x3300000u + (uint64_t)first, i);
    for (int step = 0; step < c->d.steps; step++) {
        ITP_TRY(itp_canonical_step(c, step, first));
        ITP_TRY(itp_progress(c->ctx, "canonical inputs",
                             (double)first / c->batch * c->d.steps + step + 1,
                             (double)itp_div_up(c->classes, c->batch) * c->d.steps, (double)NAN));
    }
    const float *in = c->x;
    ITP_TRY(interp_forward(c->w, &in));
    const float *y = interp_workspace_target(c->w);
    for (int i = 0; i < some; i++) {
        float *p = c->seed + (size_t)i * (size_t)c->classes;
        itp_softmax(c->ctx->k, (size_t)c->classes, y + (size_t)i * (size_t)c->classes, p);
        probability[first + i] = p[first + i];
    }
    memcpy(out + (size_t)first * c->size, c->x, (size_t)some * c->size * sizeof *out);
    return INTERP_OK;
}

/* How many classes at once; `fixed`: bytes there must be besides. */
ITP_FN interp_status itp_canonical_batch(itp_canonical *c, interp_workspace_desc *w, size_t fixed)
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    fit.work = *w;
    fit.most = itp_min(c->classes, 32);
    fit.floats = itp_add_size(itp_mul_size(5, c->size), (size_t)c->classes + 2);
    fit.reserve = itp_add_size(fixed, 8 * ITP_CACHE_LINE); /* so many arrays, rounded up */
    c->batch = w->batch = itp_fit_most(c->ctx, c->net, &fit);
    return c->batch ? INTERP_OK : c->ctx->status;
}

INTERP_API interp_status interp_canonical(interp_net *net, const interp_canonical_desc *desc,
                                          float *out, float *probability)
{
    interp_ctx *ctx = net->ctx;
    itp_canonical c;
    memset(&c, 0, sizeof c);
    c.ctx = ctx;
    c.net = net;
    if (desc) c.d = *desc;
    if (c.d.low == 0 && c.d.high == 0) c.d.high = 1;
    if (!c.d.steps) c.d.steps = 256;
    if (c.d.lr == 0) c.d.lr = 0.05f * (c.d.high - c.d.low);
    if (c.d.tv == 0) c.d.tv = 0.3f;
    if (c.d.l2 == 0) c.d.l2 = c.d.like ? 0.1f : 0.01f;
    if (c.d.jitter == 0) c.d.jitter = 1;
    if (net->n_inputs != 1 || c.d.steps < 1 || !(c.d.high > c.d.low) || !(c.d.lr > 0))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "canonical: one input, at least one step, and low below high are needed");
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.input_grads = true;
    const int logits = itp_logits_value(net, INTERP_CROSS_ENTROPY);
    const interp_shape k = itp_sample_shape(net, logits);
    w.output = net->values[logits].name;
    c.classes = (int)interp_shape_size(&k);
    c.shape = interp_net_input_shape(net, 0);
    c.size = interp_shape_size(&c.shape);
    if (c.d.like && (c.d.like->n < 1 || interp_shape_size(&c.d.like->shape) != c.size))
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "canonical: the data to look like has %d samples of %zu numbers, but the "
                        "network takes %zu",
                        c.d.like->n, interp_shape_size(&c.d.like->shape), c.size);
    /* results apart, so that an error leaves the caller's arrays as they were; measured without a
       batch, then with one, then laid out */
    const size_t size = (size_t)c.classes * c.size;
    float *images = NULL, *reached = NULL;
    char *block = NULL;
    for (int pass = 0; pass < 3; pass++) {
        itp_arena arena = {block, 0};
        itp_canonical_layout(&arena, &c);
        images = itp_arena_floats(&arena, size);
        reached = itp_arena_floats(&arena, (size_t)c.classes);
        if (pass == 0) ITP_TRY(itp_canonical_batch(&c, &w, arena.used));
        if (pass == 1 && !(block = (char *)interp_alloc(ctx, arena.used))) return INTERP_NO_MEMORY;
    }
    interp_status status = interp_workspace_new(ctx, net, &w, &c.w);
    if (!status) status = itp_progress(ctx, "canonical inputs", 0, c.d.steps, (double)NAN);
    if (!status) itp_canonical_prior(&c);
    for (int first = 0; first < c.classes && !status; first += c.batch)
        status = itp_canonical_run(&c, first, images, reached);
    if (!status) {
        memcpy(out, images, size * sizeof *out);
        if (probability) memcpy(probability, reached, (size_t)c.classes * sizeof *reached);
    }
    interp_workspace_free(c.w);
    interp_free(ctx, block);
    return status;
}

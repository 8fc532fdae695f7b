/* ---- math/winograd.c: 3x3 convolutions of stride 1 and their data gradients by Winograd ---------

   Pieces of 4x4 pixels become 36 points for each input plane; for each point one product of
   [pieces, inputs] by [inputs, outputs]; the sums at 36 points become 4x4 pixels of each output.
   Every sum runs over all inputs in one go: results depend neither on the batch nor on threads. */

#define ITP_WINOGRAD_POINTS 36
#define ITP_WINOGRAD_PLANES 32 /* fewer are not worth the way to the points and back */
#define ITP_WINOGRAD_SIDE   12 /* smaller images: weights at the points outweigh the pixels of few */
#define ITP_WINOGRAD_FILL   8  /* pixels of a piece of 16: with fewer, half the gain is lost */
#define ITP_WINOGRAD_FLOATS 262144 /* at the points that are worked on at a time */
#define ITP_WINOGRAD_PIECES 28     /* at least as many are, that weights are read few times */

typedef struct itp_winograd {
    int batch, inputs, outputs;
    itp_plane plane; /* from x to y in this direction */
    int across;      /* pieces in a row of them */
    int rows, some;  /* rows of pieces of all images; of one task */
    int panels;      /* of all outputs */
    size_t in, out;  /* floats between the pieces of a point: inputs, outputs with their pads */
    size_t buffer;   /* floats of a row of pieces on its way */
} itp_winograd;

ITP_FN bool itp_winograd_fits(const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    const double pieces = (double)itp_div_up(p->rows, 4) * itp_div_up(p->columns, 4);
    const bool large = itp_min(p->rows, p->columns) >= ITP_WINOGRAD_SIDE;
    const bool full = (double)p->rows * p->columns >= ITP_WINOGRAD_FILL * pieces;
    return !c->direct && c->groups == 1 && p->taps_y == 3 && p->taps_x == 3 && p->stride_y == 1 &&
           p->stride_x == 1 && p->dilation_y == 1 && p->dilation_x == 1 && p->pad_y >= 0 &&
           p->pad_y <= 2 && p->pad_x >= 0 && p->pad_x <= 2 &&
           itp_min(c->in_channels, c->out_channels) >= ITP_WINOGRAD_PLANES &&
           (large || (c->many && full));
}

ITP_FN itp_winograd itp_winograd_of(const interp_ctx *ctx, const itp_conv *c, bool backward)
{
    itp_winograd w;
    itp_plane *p = &w.plane;
    const size_t width = (size_t)ctx->k->width, nr = (size_t)ctx->k->nr;
    w.batch = c->batch, w.plane = c->plane;
    w.inputs = backward ? c->out_channels : c->in_channels;
    w.outputs = backward ? c->in_channels : c->out_channels;
    if (backward) {
        p->height = c->plane.rows, p->width = c->plane.columns;
        p->rows = c->plane.height, p->columns = c->plane.width;
        p->pad_y = 2 - c->plane.pad_y, p->pad_x = 2 - c->plane.pad_x;
    }
    w.across = itp_div_up(p->columns, 4);
    w.rows = w.batch * itp_div_up(p->rows, 4);
    w.panels = itp_div_up(w.outputs, ctx->k->nr);
    /* an odd number of cache lines, so that neighbours do not fall on each other in the cache */
    w.in = itp_round_up((size_t)w.inputs, 16) | 16;
    w.out = (size_t)w.panels * nr | 16;
    const size_t pieces = itp_max_size(ITP_WINOGRAD_PIECES,
                                       ITP_WINOGRAD_FLOATS / ITP_WINOGRAD_POINTS / (w.in + w.out));
    w.some = itp_max(1, (int)pieces / w.across);
    if (ctx->slots > 1) w.some = itp_min(w.some, itp_div_up(w.rows, 4 * ctx->slots));
    w.some = itp_min(w.some, w.rows);
    w.buffer = (size_t)w.across * 4 * itp_max_size(6 * width, 4 * nr) + 12 * width;
    w.buffer = itp_round_up(w.buffer, 16);
    return w;
}

/* Floats of a slot's scratch. */
ITP_FN size_t itp_winograd_slot(const itp_winograd *w)
{
    const size_t pieces = (size_t)w->some * (size_t)w->across;
    return w->buffer + ITP_WINOGRAD_POINTS * pieces * (w->in + w->out);
}

/* ---- weights: u[panel][point][input][nr] */

/* Floats from point to point of a panel: an odd number of cache lines. */
ITP_FN size_t itp_winograd_step(int inputs, int nr)
{
    return itp_round_up((size_t)inputs * (size_t)nr, 32) + 16;
}

typedef struct itp_winograd_job {
    const itp_kernels *kernels;
    const itp_winograd *w;
    const float *from, *packed, *bias; /* weights, or images; bias: of all outputs */
    const itp_after *after;
    float *to, beta;
    int first, count; /* outputs */
    bool backward;
    itp_scratch scratch;
} itp_winograd_job;

#define ITP_WINOGRAD_INPUTS 32 /* whose taps are turned at a time */

ITP_FN void itp_winograd_pack_task(void *arg, int panel, int slot)
{
    (void)slot;
    float taps[ITP_WINOGRAD_INPUTS * 9 * ITP_MOST_NR];
    const itp_winograd_job *j = (const itp_winograd_job *)arg;
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const int o0 = j->first + panel * k->nr;
    const int planes = itp_min(k->nr, j->first + j->count - o0);
    const ptrdiff_t step = (ptrdiff_t)itp_winograd_step(w->inputs, k->nr);
    if (planes < k->nr) memset(taps, 0, sizeof taps);
    for (int i = 0; i < w->inputs; i += ITP_WINOGRAD_INPUTS) {
        const int n = itp_min(ITP_WINOGRAD_INPUTS, w->inputs - i);
        if (j->backward)
            for (int t = 0; t < n; t++) {
                const float *from = j->from + ((ptrdiff_t)(i + t) * w->outputs + o0) * 9;
                if (i + t + ITP_FETCH_AHEAD < w->inputs)
                    itp_fetch(from + (ptrdiff_t)ITP_FETCH_AHEAD * w->outputs * 9, planes * 9);
                k->interleave(planes, 9, from, 9, NULL, taps + t * 9 * k->nr, k->nr);
            }
        else
            k->interleave(planes, n * 9, j->from + ((ptrdiff_t)o0 * w->inputs + i) * 9,
                          (ptrdiff_t)w->inputs * 9, NULL, taps, k->nr);
        k->winograd_weights(n, taps, j->backward,
                            j->to + panel * ITP_WINOGRAD_POINTS * step + i * k->nr, step);
    }
}

/* w[out][in][9], of the forward direction, to the points of this one, for some of its outputs. */
ITP_FN void itp_winograd_pack(interp_ctx *ctx, const itp_conv *c, const float *weights,
                              bool backward, int first, int count, float *packed)
{
    const itp_winograd w = itp_winograd_of(ctx, c, backward);
    itp_winograd_job j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k, j.w = &w, j.from = weights, j.to = packed, j.backward = backward;
    j.first = first, j.count = count;
    itp_parallel(ctx, itp_div_up(count, ctx->k->nr), ITP_WINOGRAD_POINTS * (double)w.inputs * count,
                 itp_winograd_pack_task, &j);
}

/* ---- images */

/* All products of `pieces` at the points: sums[point][piece][output]. */
ITP_FN void itp_winograd_products(const itp_winograd_job *j, int pieces, const float *points,
                                  float *sums)
{
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const int rows = itp_div_up(pieces, k->mr), panels = itp_div_up(j->count, k->nr);
    const ptrdiff_t one = (ptrdiff_t)itp_winograd_step(w->inputs, k->nr);
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = 1, t.inner = w->inputs;
    t.a_rs = (ptrdiff_t)w->in, t.a_step = 1, t.b_step = k->nr;
    t.to_rs = (ptrdiff_t)w->out;
    for (int point = 0; point < ITP_WINOGRAD_POINTS; point++)
        for (int q = 0; q < panels; q++) {
            t.b = j->packed + (q * ITP_WINOGRAD_POINTS + point) * one;
            t.columns = j->count - q * k->nr <= k->width ? k->width : k->nr;
            for (int p = 0; p < rows; p++) {
                const int first = pieces * p / rows;
                t.rows = pieces * (p + 1) / rows - first;
                const ptrdiff_t row = (ptrdiff_t)point * pieces + first;
                t.a = points + row * t.a_rs;
                t.to = sums + row * t.to_rs + q * k->nr;
                k->tile(&t);
            }
        }
}

/* The sums of a row of pieces to the planes. */
ITP_FN void itp_winograd_put(const itp_winograd_job *j, int row, const float *sums,
                             ptrdiff_t point_step, float *buffer)
{
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const itp_plane *g = &w->plane;
    const int down = itp_div_up(g->rows, 4), top = row % down * 4;
    const int run = itp_min(4, g->rows - top) * g->columns, pitch = 4 * w->across;
    const int step = pitch == g->columns ? run : g->columns; /* numbers of a plane at a time */
    const ptrdiff_t plane = (ptrdiff_t)g->rows * g->columns;
    for (int o = 0; o < j->count; o += k->nr) {
        const int planes = itp_min(k->nr, j->count - o), channel = j->first + o;
        float *y = j->to + ((ptrdiff_t)(row / down) * w->outputs + channel) * plane +
                   (ptrdiff_t)top * g->columns;
        k->winograd_sums(w->across, sums + o, point_step, (ptrdiff_t)w->out, buffer);
        for (int p = 0; p < run; p += step)
            k->spread(planes, step, buffer + (ptrdiff_t)(p / g->columns) * pitch * k->nr, y + p,
                      plane, j->beta);
        for (int i = 0; i < planes; i++, y += plane) {
            if (j->bias) k->affine((size_t)run, 1, y, j->bias[channel + i], y);
            if (j->after) itp_after_run(k, j->after, channel + i, (size_t)run, y);
        }
    }
}

ITP_FN void itp_winograd_task(void *arg, int task, int slot)
{
    const itp_winograd_job *j = (const itp_winograd_job *)arg;
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const itp_plane *g = &w->plane;
    const int first = task * w->some, n = itp_min(w->some, w->rows - first);
    const int down = itp_div_up(g->rows, 4), pieces = n * w->across;
    const ptrdiff_t plane = (ptrdiff_t)g->height * g->width;
    const ptrdiff_t in = pieces * (ptrdiff_t)w->in, out = pieces * (ptrdiff_t)w->out;
    float *buffer = itp_scratch_slot(&j->scratch, slot), *points = buffer + w->buffer;
    float *sums = points + ITP_WINOGRAD_POINTS * in;
    for (int u = 0; u < n; u++)
        for (int c = 0; c < w->inputs; c += k->width)
            k->winograd_data(g, (first + u) % down * 4, w->across, itp_min(k->width, w->inputs - c),
                             j->from + ((ptrdiff_t)((first + u) / down) * w->inputs + c) * plane,
                             plane, buffer, points + (size_t)(u * w->across) * w->in + c, in,
                             (ptrdiff_t)w->in);
    itp_winograd_products(j, pieces, points, sums);
    for (int u = 0; u < n; u++)
        itp_winograd_put(j, first + u, sums + (size_t)(u * w->across) * w->out, out, buffer);
}

/* Outputs first..first+count of y = after(conv + bias) + beta y; bias, after: with beta 0 only. */
ITP_FN void itp_winograd_run(interp_ctx *ctx, const itp_conv *c, bool backward, int first,
                             int count, const float *x, const float *packed, const float *bias,
                             const itp_after *after, float beta, float *y, itp_scratch scratch)
{
    const itp_winograd w = itp_winograd_of(ctx, c, backward);
    itp_winograd_job j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k, j.w = &w, j.from = x, j.packed = packed, j.bias = bias, j.after = after;
    j.to = y, j.beta = beta, j.first = first, j.count = count, j.scratch = scratch;
    itp_parallel(ctx, itp_div_up(w.rows, w.some),
                 (double)w.rows * w.across * ITP_WINOGRAD_POINTS * w.inputs * count,
                 itp_winograd_task, &j);
}

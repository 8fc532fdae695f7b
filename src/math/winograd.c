/* ---- math/winograd.c: 3x3 convolutions of stride 1 and their gradients by Winograd ---------------

   Pieces of side x side pixels become (side + 2)^2 points for each input plane; for each point one
   product of [pieces, inputs] by [inputs, outputs]; the sums at the points become the pixels of each
   output. Every sum runs over all inputs in one order: results depend neither on the batch nor on
   threads. */

#define ITP_WINOGRAD_PLANES 32 /* fewer are not worth the way to the points and back */
#define ITP_WINOGRAD_SIDE   12 /* smaller images: weights at 36 points outweigh the pixels of few */
#define ITP_WINOGRAD_FILL   8  /* pixels of a piece of 16: with fewer, half the gain is lost */
#define ITP_WINOGRAD_SMALL                                                                         \
    12 /* 2x2 pieces of an image: of fewer the weights at 16 points outweigh */
#define ITP_WINOGRAD_FLOATS 262144 /* at the points that are worked on at a time */
#define ITP_WINOGRAD_PIECES 48     /* at least as many are, that weights are read few times */
#define ITP_WINOGRAD_INPUTS 32     /* whose taps are turned at a time */

typedef struct itp_winograd {
    int batch, inputs, outputs;
    int side, points; /* of a piece */
    itp_plane plane;  /* from x to y in this direction */
    int across;       /* pieces in a row of them */
    int rows, some;   /* rows of pieces of all images; of one task */
    int panels;       /* of all outputs */
    size_t in, out;   /* floats between the pieces of a point: inputs, outputs with their pads */
    size_t buffer;    /* floats of a row of pieces on its way */
} itp_winograd;

/* Pixels of a side of the pieces: 4, or 2 in small images; 0: not by Winograd. */
ITP_FN int itp_winograd_side(const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    const double pieces = (double)itp_div_up(p->rows, 4) * itp_div_up(p->columns, 4);
    const double small = (double)itp_div_up(p->rows, 2) * itp_div_up(p->columns, 2);
    const bool large = itp_min(p->rows, p->columns) >= ITP_WINOGRAD_SIDE;
    const bool full = (double)p->rows * p->columns >= ITP_WINOGRAD_FILL * pieces;
    if (c->direct || c->groups != 1 || p->taps_y != 3 || p->taps_x != 3 || p->stride_y != 1 ||
        p->stride_x != 1 || p->dilation_y != 1 || p->dilation_x != 1 || p->pad_y < 0 ||
        p->pad_y > 2 || p->pad_x < 0 || p->pad_x > 2 ||
        itp_min(c->in_channels, c->out_channels) < ITP_WINOGRAD_PLANES)
        return 0;
    if (large || (c->many && full)) return 4;
    return small >= ITP_WINOGRAD_SMALL ? 2 : 0;
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
    w.side = itp_winograd_side(c), w.points = (w.side + 2) * (w.side + 2);
    w.across = itp_div_up(p->columns, w.side);
    w.rows = w.batch * itp_div_up(p->rows, w.side);
    w.panels = itp_div_up(w.outputs, ctx->k->nr);
    /* an odd number of cache lines, so that neighbours do not fall on each other in the cache */
    w.in = itp_round_up((size_t)w.inputs, 16) | 16;
    w.out = (size_t)w.panels * nr | 16;
    const size_t pieces =
        itp_max_size(ITP_WINOGRAD_PIECES, ITP_WINOGRAD_FLOATS / (size_t)w.points / (w.in + w.out));
    w.some = itp_max(1, (int)pieces / w.across);
    /* each task reads all weights: where they outweigh the pieces, no more tasks than threads */
    const int64_t all = (int64_t)w.rows * w.across;
    const bool heavy = (int64_t)w.inputs * w.outputs > all * (w.inputs + w.outputs);
    if (ctx->slots > 1) w.some = itp_min(w.some, itp_div_up(w.rows, (heavy ? 1 : 4) * ctx->slots));
    w.some = itp_div_up(w.rows, itp_div_up(w.rows, w.some));
    const size_t side = (size_t)w.side, row = side * (size_t)w.across;
    w.buffer = itp_max_size((side + 2) * (row + 2) * width, side * row * nr);
    w.buffer = itp_round_up(w.buffer, 16);
    return w;
}

/* Where one task does all pieces it brings weights that are not kept to the points itself, some inputs
   of a panel at a time, while they are in its cache. */
ITP_FN bool itp_winograd_fresh(const itp_winograd *w)
{
    return w->some == w->rows;
}

/* Floats from point to point of a panel: an odd number of cache lines. */
ITP_FN size_t itp_winograd_step(int inputs, int nr)
{
    return itp_round_up((size_t)inputs * (size_t)nr, 32) + 16;
}

/* Floats of a slot's scratch. */
ITP_FN size_t itp_winograd_slot(const itp_winograd *w, int nr)
{
    const size_t pieces = (size_t)w->some * (size_t)w->across, points = (size_t)w->points;
    return w->buffer + points * pieces * (w->in + w->out) +
           (itp_winograd_fresh(w) ? points * itp_winograd_step(ITP_WINOGRAD_INPUTS, nr) : 0);
}

/* ---- weights: u[panel][point][input][nr] */

typedef struct itp_winograd_job {
    const itp_kernels *kernels;
    const itp_winograd *w;
    const float *from, *x, *packed, *bias; /* weights as they lie, images, weights at the points or
                                              NULL; bias: of all outputs */
    const itp_after *after;
    float *to, beta;
    int first, count; /* outputs */
    bool backward;
    itp_scratch scratch;
} itp_winograd_job;

/* Some inputs, as many as are turned at a time or fewer, of a panel; `step` floats from point to point. */
ITP_FN void itp_winograd_pack_inputs(const itp_winograd_job *j, int panel, int i, int n, float *to,
                                     ptrdiff_t step)
{
    float taps[ITP_WINOGRAD_INPUTS * 9 * ITP_MOST_NR];
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const int o0 = j->first + panel * k->nr;
    const int planes = itp_min(k->nr, j->first + j->count - o0);
    if (planes < k->nr) memset(taps, 0, sizeof taps);
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
    k->winograd_weights(w->side, n, taps, j->backward, to, step);
}

ITP_FN void itp_winograd_pack_task(void *arg, int panel, int slot)
{
    (void)slot;
    const itp_winograd_job *j = (const itp_winograd_job *)arg;
    const itp_winograd *w = j->w;
    const int nr = j->kernels->nr;
    const ptrdiff_t step = (ptrdiff_t)itp_winograd_step(w->inputs, nr);
    for (int i = 0; i < w->inputs; i += ITP_WINOGRAD_INPUTS)
        itp_winograd_pack_inputs(j, panel, i, itp_min(ITP_WINOGRAD_INPUTS, w->inputs - i),
                                 j->to + panel * w->points * step + i * nr, step);
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
    itp_parallel(ctx, itp_div_up(count, ctx->k->nr), (double)w.points * w.inputs * count,
                 itp_winograd_pack_task, &j);
}

/* ---- images */

/* Products of `pieces` at the points with some inputs' weights u of some panels, `step` floats from point
   to point; sums[point][piece][output], to which inputs but the first are added. */
ITP_FN void itp_winograd_products(const itp_winograd_job *j, int pieces, int q0, int q1, int input,
                                  int inputs, const float *u, ptrdiff_t step, const float *points,
                                  float *sums)
{
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const int rows = itp_div_up(pieces, k->mr);
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = 1, t.inner = inputs;
    t.a_rs = (ptrdiff_t)w->in, t.a_step = 1, t.b_step = k->nr;
    itp_tile_ahead(&t, k->ahead, k->width);
    t.from_rs = t.to_rs = (ptrdiff_t)w->out;
    for (int point = 0; point < w->points; point++)
        for (int q = q0; q < q1; q++) {
            t.b = u + ((q - q0) * w->points + point) * step;
            /* The weights of the next products come from memory: tiles ask for them in turns. */
            const ptrdiff_t next = (q + 1 < q1 ? w->points : 1 - (q - q0) * w->points) * step;
            t.columns = j->count - q * k->nr <= k->width ? k->width : k->nr;
            for (int p = 0; p < rows; p++) {
                const int first = pieces * p / rows;
                t.rows = pieces * (p + 1) / rows - first;
                if (rows > 1) t.ahead[0] = t.ahead[1] = next + (p % 2) * k->width;
                const ptrdiff_t row = (ptrdiff_t)point * pieces + first;
                t.a = points + row * t.a_rs + input;
                t.to = sums + row * t.to_rs + q * k->nr;
                t.from = input ? t.to : NULL;
                k->tile(&t);
            }
        }
}

/* All products of `pieces`; u: room for the weights of one go where they are not there yet. */
ITP_FN void itp_winograd_multiply(const itp_winograd_job *j, int pieces, const float *points,
                                  float *sums, float *u)
{
    const int inputs = j->w->inputs, nr = j->kernels->nr, panels = itp_div_up(j->count, nr);
    const ptrdiff_t step =
        (ptrdiff_t)itp_winograd_step(j->packed ? inputs : ITP_WINOGRAD_INPUTS, nr);
    if (j->packed)
        itp_winograd_products(j, pieces, 0, panels, 0, inputs, j->packed, step, points, sums);
    for (int q = 0; q < panels && !j->packed; q++)
        for (int i = 0; i < inputs; i += ITP_WINOGRAD_INPUTS) {
            const int n = itp_min(ITP_WINOGRAD_INPUTS, inputs - i);
            itp_winograd_pack_inputs(j, q, i, n, u, step);
            itp_winograd_products(j, pieces, q, q + 1, i, n, u, step, points, sums);
        }
}

/* The sums of a row of pieces to the planes. */
ITP_FN void itp_winograd_put(const itp_winograd_job *j, int row, const float *sums,
                             ptrdiff_t point_step, float *buffer)
{
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const itp_plane *g = &w->plane;
    const int down = itp_div_up(g->rows, w->side), top = row % down * w->side;
    const int run = itp_min(w->side, g->rows - top) * g->columns, pitch = w->side * w->across;
    const int step = pitch == g->columns ? run : g->columns; /* numbers of a plane at a time */
    const ptrdiff_t plane = (ptrdiff_t)g->rows * g->columns;
    for (int o = 0; o < j->count; o += k->nr) {
        const int planes = itp_min(k->nr, j->count - o), channel = j->first + o;
        float *y = j->to + ((ptrdiff_t)(row / down) * w->outputs + channel) * plane +
                   (ptrdiff_t)top * g->columns;
        k->winograd_sums(w->side, w->across, sums + o, point_step, (ptrdiff_t)w->out, buffer);
        for (int p = 0; p < run; p += step)
            k->spread(planes, step, buffer + (ptrdiff_t)(p / g->columns) * pitch * k->nr, y + p,
                      plane, j->beta);
        for (int i = 0; j->bias && i < planes; i++)
            k->affine((size_t)run, 1, y + i * plane, j->bias[channel + i], y + i * plane);
        if (j->after) itp_after_run(k, j->after, channel, planes, (size_t)run, y, plane);
    }
}

ITP_FN void itp_winograd_task(void *arg, int task, int slot)
{
    const itp_winograd_job *j = (const itp_winograd_job *)arg;
    const itp_winograd *w = j->w;
    const itp_kernels *k = j->kernels;
    const itp_plane *g = &w->plane;
    const int first = task * w->some, n = itp_min(w->some, w->rows - first);
    const int down = itp_div_up(g->rows, w->side), pieces = n * w->across;
    const ptrdiff_t plane = (ptrdiff_t)g->height * g->width;
    const ptrdiff_t in = pieces * (ptrdiff_t)w->in, out = pieces * (ptrdiff_t)w->out;
    float *buffer = itp_scratch_slot(&j->scratch, slot), *points = buffer + w->buffer;
    float *sums = points + w->points * in;
    for (int u = 0; u < n; u++)
        for (int c = 0; c < w->inputs; c += k->width)
            k->winograd_data(w->side, g, (first + u) % down * w->side, w->across,
                             itp_min(k->width, w->inputs - c),
                             j->x + ((ptrdiff_t)((first + u) / down) * w->inputs + c) * plane,
                             plane, buffer, points + (size_t)(u * w->across) * w->in + c, in,
                             (ptrdiff_t)w->in);
    itp_winograd_multiply(j, pieces, points, sums, sums + w->points * out);
    for (int u = 0; u < n; u++)
        itp_winograd_put(j, first + u, sums + (size_t)(u * w->across) * w->out, out, buffer);
}

/* Outputs first..first+count of y = after(conv + bias) + beta y; bias, after: with beta 0 only. packed: the
   weights of these outputs, or NULL where one task does all. */
ITP_FN void itp_winograd_run(interp_ctx *ctx, const itp_conv *c, bool backward, int first,
                             int count, const float *x, const float *weights, const float *packed,
                             const float *bias, const itp_after *after, float beta, float *y,
                             itp_scratch scratch)
{
    const itp_winograd w = itp_winograd_of(ctx, c, backward);
    itp_winograd_job j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k, j.w = &w, j.x = x, j.packed = packed, j.bias = bias, j.after = after;
    j.from = weights, j.backward = backward;
    j.to = y, j.beta = beta, j.first = first, j.count = count, j.scratch = scratch;
    itp_parallel(ctx, itp_div_up(w.rows, w.some),
                 (double)w.rows * w.across * w.points * w.inputs * count, itp_winograd_task, &j);
}

/* ---- gradients of weights: at each point the sums over all pieces of x times dy, and from there to the
   taps. Both are brought to the points some rows of pieces at a time; the sums of some outputs' panels stay
   in the cache while these are all rows. */

#define ITP_WINOGRAD_LEAST 48 /* pieces: the way back from the points costs as much for fewer */
#define ITP_WINOGRAD_FEW   64 /* pieces of a chunk, at least */
#define ITP_WINOGRAD_CHUNK ((size_t)1 << 18) /* floats of one of both at the points, at least */
#define ITP_WINOGRAD_SUMS  ((size_t)1 << 22) /* floats of sums at a time, at most */

typedef struct itp_winograd_sums {
    itp_winograd w;
    int rows;              /* of pieces of a chunk */
    int panels;            /* of outputs whose sums are there at a time */
    size_t x, dy, at, all; /* floats: of both at the points, of a panel's sums, of all */
} itp_winograd_sums;

/* panels 0: not by Winograd. */
ITP_FN itp_winograd_sums itp_winograd_sums_of(const interp_ctx *ctx, const itp_conv *c)
{
    itp_winograd_sums s;
    memset(&s, 0, sizeof s);
    if (itp_winograd_side(c) != 4) return s;
    s.w = itp_winograd_of(ctx, c, false);
    const itp_winograd *w = &s.w;
    if ((int64_t)w->rows * w->across < ITP_WINOGRAD_LEAST) return s;
    const size_t points = (size_t)w->points, row = points * (size_t)w->across * (w->in + w->out);
    s.at = points * (size_t)w->inputs * (size_t)ctx->k->nr;
    /* A chunk outweighs the sums, which are read and written for it. */
    const size_t sums = s.at * (size_t)w->panels;
    const size_t half = itp_max_size(ITP_WINOGRAD_CHUNK, itp_min_size(sums, ITP_WINOGRAD_SUMS));
    s.rows = itp_max(itp_div_up(ITP_WINOGRAD_FEW, w->across), (int)(2 * half / row));
    s.rows = itp_min(s.rows, w->rows);
    s.panels = itp_min(w->panels, (int)(ITP_WINOGRAD_SUMS / s.at));
    if (s.rows < w->rows && s.panels < w->panels) s.panels = 0;
    s.x = itp_round_up(points * (size_t)(s.rows * w->across) * w->in, 16);
    s.dy = itp_round_up(points * (size_t)(s.rows * w->across) * w->out, 16);
    s.all = s.x + s.dy + s.at * (size_t)s.panels;
    return s;
}

ITP_FN size_t itp_winograd_sums_slot(const itp_winograd_sums *s, int nr)
{
    return itp_max_size(s->w.buffer, 2 * ITP_WINOGRAD_INPUTS * 9 * (size_t)nr);
}

typedef struct itp_winograd_back {
    const itp_kernels *kernels;
    const itp_winograd_sums *s;
    itp_plane images; /* of dy */
    const float *x, *dy;
    float *points_x, *points_dy, *sums, *dw, beta;
    int first, rows;   /* of the chunk at hand */
    int panel, panels; /* of outputs */
    itp_scratch scratch;
} itp_winograd_back;

/* A row of pieces of x, or of dy, to the points. */
ITP_FN void itp_winograd_bring_task(void *arg, int task, int slot)
{
    const itp_winograd_back *j = (const itp_winograd_back *)arg;
    const itp_winograd *w = &j->s->w;
    const itp_kernels *k = j->kernels;
    const bool apart = task >= j->rows;
    const int u = task % j->rows, down = itp_div_up(w->plane.rows, w->side);
    const itp_plane *g = apart ? &j->images : &w->plane;
    const int planes = apart ? w->outputs : w->inputs;
    const ptrdiff_t plane = (ptrdiff_t)g->height * g->width;
    const ptrdiff_t pitch = (ptrdiff_t)(apart ? w->out : w->in);
    const float *from =
        (apart ? j->dy : j->x) + (ptrdiff_t)((j->first + u) / down) * planes * plane;
    float *to = (apart ? j->points_dy : j->points_x) + u * w->across * pitch;
    const int top = (j->first + u) % down * w->side;
    float *buffer = itp_scratch_slot(&j->scratch, slot);
    for (int c = 0; c < planes; c += k->width) {
        const int n = itp_min(k->width, planes - c);
        if (apart)
            itp_grads(k)->winograd_pieces(g, top, w->across, n, from + c * plane, plane, buffer,
                                          to + c, j->rows * w->across * pitch, pitch);
        else
            k->winograd_data(w->side, g, top, w->across, n, from + c * plane, plane, buffer, to + c,
                             j->rows * w->across * pitch, pitch);
    }
}

/* The sums of a panel of outputs at a point over the chunk. */
ITP_FN void itp_winograd_sum_task(void *arg, int task, int slot)
{
    const itp_winograd_back *j = (const itp_winograd_back *)arg;
    const itp_winograd *w = &j->s->w;
    const itp_kernels *k = j->kernels;
    const int q = task % j->panels, point = task / j->panels, o0 = (j->panel + q) * k->nr;
    const int pieces = j->rows * w->across, heights = itp_div_up(w->inputs, k->mr);
    itp_tile t;
    (void)slot;
    memset(&t, 0, sizeof t);
    t.outer = 1, t.inner = pieces;
    t.a_rs = 1, t.a_step = (ptrdiff_t)w->in, t.b_step = (ptrdiff_t)w->out;
    itp_tile_ahead(&t, k->ahead, k->width);
    t.from_rs = t.to_rs = k->nr;
    t.columns = w->outputs - o0 <= k->width ? k->width : k->nr;
    t.b = j->points_dy + (ptrdiff_t)point * pieces * t.b_step + o0;
    for (int p = 0; p < heights; p++) {
        const int i = w->inputs * p / heights;
        t.rows = w->inputs * (p + 1) / heights - i;
        t.a = j->points_x + (ptrdiff_t)point * pieces * t.a_step + i;
        t.to = j->sums + (((ptrdiff_t)q * w->points + point) * w->inputs + i) * k->nr;
        t.from = j->first ? t.to : NULL;
        k->tile(&t);
    }
}

/* The sums of a panel of outputs to dw[out][in][9]. */
ITP_FN void itp_winograd_take_task(void *arg, int q, int slot)
{
    const itp_winograd_back *j = (const itp_winograd_back *)arg;
    const itp_winograd *w = &j->s->w;
    const itp_kernels *k = j->kernels;
    const int nr = k->nr, o0 = (j->panel + q) * nr, planes = itp_min(nr, w->outputs - o0);
    const ptrdiff_t point = (ptrdiff_t)w->inputs * nr, row = (ptrdiff_t)w->inputs * 9;
    float *taps = itp_scratch_slot(&j->scratch, slot);
    float *turned = taps + ITP_WINOGRAD_INPUTS * 9 * nr;
    for (int i = 0; i < w->inputs; i += ITP_WINOGRAD_INPUTS) {
        const int n = itp_min(ITP_WINOGRAD_INPUTS, w->inputs - i), step = 9 * n;
        float *to = j->dw + o0 * row + 9 * i;
        itp_grads(k)->winograd_gradient(n, j->sums + q * w->points * point + i * nr, point, taps);
        if (j->beta == 0) {
            k->interleave(step, planes, taps, nr, NULL, to, row);
            continue;
        }
        k->interleave(step, planes, taps, nr, NULL, turned, step);
        for (int o = 0; o < planes; o++)
            k->scale_add((size_t)step, 1, turned + o * step, j->beta, to + o * row);
    }
}

/* dw = gradient + beta dw; shared: as many floats as s->all. */
ITP_FN void itp_winograd_weights_run(interp_ctx *ctx, const itp_winograd_sums *s, const float *x,
                                     const float *dy, float beta, float *dw, itp_scratch scratch,
                                     float *shared)
{
    const itp_winograd *w = &s->w;
    itp_winograd_back j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k, j.s = s, j.x = x, j.dy = dy, j.dw = dw, j.beta = beta;
    j.scratch = scratch;
    j.images = w->plane;
    j.images.height = w->plane.rows, j.images.width = w->plane.columns;
    j.images.pad_y = j.images.pad_x = 0;
    j.points_x = shared, j.points_dy = j.points_x + s->x, j.sums = j.points_dy + s->dy;
    const double pieces = (double)w->across * w->points;
    for (j.first = 0; j.first < w->rows; j.first += s->rows) {
        j.rows = itp_min(s->rows, w->rows - j.first);
        itp_parallel(ctx, 2 * j.rows, 8.0 * j.rows * pieces * (w->inputs + w->outputs),
                     itp_winograd_bring_task, &j);
        for (j.panel = 0; j.panel < w->panels; j.panel += s->panels) {
            j.panels = itp_min(s->panels, w->panels - j.panel);
            itp_parallel(ctx, j.panels * w->points,
                         j.rows * pieces * w->inputs * j.panels * ctx->k->nr, itp_winograd_sum_task,
                         &j);
            if (j.first + j.rows < w->rows) continue;
            itp_parallel(ctx, j.panels, 4.0 * w->points * w->inputs * j.panels * ctx->k->nr,
                         itp_winograd_take_task, &j);
        }
    }
}

/* ---- math/windows.c: sums over windows of images, straight from where they lie ------------------ */

/* Shape of a convolution; weights are [out_channels, in_channels / groups, taps_y, taps_x]. */
typedef struct itp_conv {
    int batch, in_channels, out_channels, groups;
    bool direct;     /* sums run in the plain order, whatever the image's size */
    bool many;       /* of small images there are many */
    itp_plane plane; /* input height and width, output rows and columns, window */
} itp_conv;

/* What is done to the numbers a convolution has just written, while they are in the cache. */
typedef struct itp_after {
    const float *scale, *shift; /* [out_channels]: y = scale y + shift; NULL: not */
    bool unary;                 /* then y = kind(y) */
    itp_unary kind;
    float a, b;
} itp_after;

#define ITP_SPLIT_PARTS     8     /* most parts the pixel sum of a weight gradient is cut into */
#define ITP_SPLIT_WEIGHTS   65536 /* more weights are not summed in parts */
#define ITP_SLAB            65536 /* floats of an image that are worked on at a time */
#define ITP_MOST_COLUMNS    4096  /* of them, columns */
#define ITP_GATHER_OUTPUTS  2     /* panels of output planes that pay for copying pixels */
#define ITP_GATHER_PRODUCTS 10    /* of a step of a tile: with fewer it is longer than they are */
#define ITP_GATHER_PIXELS   224   /* copied at a time */
#define ITP_MOST_PIXELS     448 /* that are the rows of tiles at a time, where they are not copied */
#define ITP_GROUP_TAPS      8   /* as many steps are taken without a jump to the next plane */
#define ITP_SHARE_STEPS     288    /* of a tile, whose weights all tiles read one after the other */
#define ITP_HEAVY_WEIGHTS   262144 /* threads share outputs rather than read all of them */
#define ITP_MANY_PLANES     64   /* lines of more do not stay in the cache, if they share a set: */
#define ITP_SAME_SET        1024 /* numbers apart */

ITP_FN size_t itp_conv_in(const itp_conv *c)
{
    return (size_t)c->plane.height * (size_t)c->plane.width;
}

ITP_FN size_t itp_conv_out(const itp_conv *c)
{
    return (size_t)c->plane.rows * (size_t)c->plane.columns;
}

ITP_FN int itp_conv_taps(const itp_conv *c)
{
    return c->plane.taps_y * c->plane.taps_x;
}

/* One input channel per group: planes by themselves, no product. */
ITP_FN bool itp_conv_depthwise(const itp_conv *c)
{
    return c->groups == c->in_channels && c->groups > 1 && itp_conv_taps(c) <= ITP_PLANE_TAPS;
}

/* Square windows of 3 or 5 at each pixel. */
ITP_FN bool itp_conv_common(const itp_conv *c)
{
    const itp_plane *g = &c->plane;
    return (g->taps_y == 3 || g->taps_y == 5) && g->taps_x == g->taps_y && g->stride_y == 1 &&
           g->stride_x == 1 && g->dilation_y == 1 && g->dilation_x == 1;
}

#define ITP_PLANES_OUT 3 /* planes to be made of others: of more, tiles have sums enough */

/* Whether planes are made one by one, each from all it depends on, window by window. */
ITP_FN bool itp_conv_by_planes(const interp_ctx *ctx, const itp_conv *c, bool backward)
{
    const int made = (backward ? c->in_channels : c->out_channels) / c->groups;
    return itp_conv_depthwise(c) ||
           (itp_conv_common(c) && made <= ITP_PLANES_OUT && ctx->k->width > 1);
}

ITP_FN bool itp_conv_pointwise(const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    return itp_conv_taps(c) == 1 && p->stride_y == 1 && p->stride_x == 1 && p->pad_y == 0 &&
           p->pad_x == 0 && p->rows == p->height && p->columns == p->width;
}

ITP_FN void itp_after_norm(const itp_kernels *k, const itp_after *after, int channel, size_t n,
                           float *y)
{
    if (after->scale) k->affine(n, after->scale[channel], y, after->shift[channel], y);
}

ITP_FN void itp_after_act(const itp_kernels *k, const itp_after *after, size_t n, float *y)
{
    if (after->unary) k->unary(after->kind, n, y, y, after->a, after->b);
}

/* n numbers of each of some planes, `plane` apart, the first of them that of `channel`. */
ITP_FN void itp_after_run(const itp_kernels *k, const itp_after *after, int channel, int planes,
                          size_t n, float *y, ptrdiff_t plane)
{
    for (int i = 0; i < planes; i++) itp_after_norm(k, after, channel + i, n, y + i * plane);
    if (n == (size_t)plane) n *= (size_t)planes, planes = 1; /* they lie side by side */
    for (int i = 0; i < planes; i++) itp_after_act(k, after, n, y + i * plane);
}

ITP_FN double itp_conv_work(const itp_conv *c)
{
    return (double)c->batch * c->out_channels * (double)itp_conv_out(c) * itp_conv_taps(c) *
           (c->in_channels / c->groups);
}

/* ---- taps of a window along an axis */

typedef struct itp_tap_axis {
    int count;        /* those that are summed */
    int offset, step; /* of the first tap, and from one to the next */
    int tap, period;  /* which of the window's taps they are */
} itp_tap_axis;

/* Taps that reach input pixels `at` modulo the stride, as offsets in the output. */
ITP_FN itp_tap_axis itp_tap_axis_backward(int taps, int at, int stride, int pad, int dilation)
{
    itp_tap_axis a = {0, 0, 0, 0, 0};
    for (int t = 0; t < taps; t++) {
        if ((at + pad - t * dilation) % stride) continue;
        const int offset = (at + pad - t * dilation) / stride;
        if (!a.count) a.tap = t, a.offset = offset;
        else if (a.count == 1) a.period = t - a.tap, a.step = offset - a.offset;
        a.count++;
    }
    return a;
}

/* A strided gradient has a phase for each pair of rests of pixels modulo the strides: a convolution with
   some of the taps. */
ITP_FN int itp_conv_phases_y(const itp_conv *c)
{
    return itp_min(c->plane.stride_y, c->plane.height);
}

ITP_FN int itp_conv_phases_x(const itp_conv *c)
{
    return itp_min(c->plane.stride_x, c->plane.width);
}

ITP_FN itp_tap_axis itp_conv_taps_y(const itp_conv *c, int oy)
{
    const itp_plane *g = &c->plane;
    return itp_tap_axis_backward(g->taps_y, oy, g->stride_y, g->pad_y, g->dilation_y);
}

ITP_FN itp_tap_axis itp_conv_taps_x(const itp_conv *c, int ox)
{
    const itp_plane *g = &c->plane;
    return itp_tap_axis_backward(g->taps_x, ox, g->stride_x, g->pad_x, g->dilation_x);
}

/* Taps of all phases along x together, as offsets in the output: how many, and the first. Offset `first - i`
   is tap ox + pad - (first - i) stride of phase ox, where that is one. */
ITP_FN int itp_conv_merged_taps(const itp_conv *c, int *first)
{
    const itp_plane *g = &c->plane;
    *first = (g->stride_x - 1 + g->pad_x) / g->stride_x;
    int last = *first;
    while ((last - 1) * g->stride_x >= g->pad_x - g->taps_x + 1) last--;
    return *first - last + 1;
}

/* ---- packed weights: panels of nr output planes, or of up to mr, as the tiles read them */

#define ITP_LINE        16 /* floats of a line of the cache */
#define ITP_FETCH_AHEAD 4  /* of runs that are read one after the other, so many are on their way */

ITP_FN void itp_fetch(const float *p, int n)
{
    for (int i = 0; i < n; i += ITP_LINE) ITP_PREFETCH(p + i);
}

/* Weights of a group as they lie: [outputs][inputs][taps], or turned [inputs][outputs][taps]. */
typedef struct itp_raw {
    const float *w;
    int taps, inputs, outputs;
    bool turned;
} itp_raw;

/* Those of some outputs and inputs: out[input][tap][width]. */
ITP_FN void itp_pack_panel(const itp_kernels *k, const itp_raw *raw, int first, int outputs, int c0,
                           int inputs, int width, float *out)
{
    const int taps = raw->taps;
    const ptrdiff_t all = (ptrdiff_t)raw->inputs * taps, step = (ptrdiff_t)raw->outputs * taps;
    if (outputs < width)
        memset(out, 0, (size_t)inputs * (size_t)taps * (size_t)width * sizeof *out);
    if (!raw->turned) {
        k->interleave(outputs, inputs * taps, raw->w + first * all + c0 * taps, all, NULL, out,
                      width);
        return;
    }
    const float *from = raw->w + c0 * step + (ptrdiff_t)first * taps;
    for (int c = 0; c < inputs; c++, from += step, out += taps * width) {
        if (c + ITP_FETCH_AHEAD < inputs) itp_fetch(from + ITP_FETCH_AHEAD * step, outputs * taps);
        if (taps == 1) memcpy(out, from, (size_t)outputs * sizeof *out);
        else k->interleave(outputs, taps, from, taps, NULL, out, width);
    }
}

#define ITP_PACK_TAPS 32 /* turned at a time */

/* All inputs, of a strided gradient: out[phase][input][tap][width]. */
ITP_FN void itp_pack_phases(const itp_kernels *k, const itp_conv *c, const itp_raw *raw, int first,
                            int outputs, int width, float *out)
{
    const int taps = raw->taps;
    const ptrdiff_t step = (ptrdiff_t)raw->outputs * taps;
    float turned[ITP_PACK_TAPS * ITP_MOST_NR];
    memset(out, 0, (size_t)raw->inputs * (size_t)taps * (size_t)width * sizeof *out);
    for (int t0 = 0, n; t0 < taps; t0 += n) {
        int at[ITP_PACK_TAPS], count[ITP_PACK_TAPS], before = 0; /* in out, from input to input */
        n = itp_min(ITP_PACK_TAPS, taps - t0);
        for (int t = 0; t < n; t++) at[t] = -1; /* pixels of its phase are none */
        for (int oy = 0; oy < itp_conv_phases_y(c); oy++)
            for (int ox = 0; ox < itp_conv_phases_x(c); ox++) {
                const itp_tap_axis y = itp_conv_taps_y(c, oy), x = itp_conv_taps_x(c, ox);
                for (int s = 0; s < y.count * x.count; s++) {
                    const int t = (y.tap + s / x.count * y.period) * c->plane.taps_x + x.tap +
                                  s % x.count * x.period - t0;
                    if (t < 0 || t >= n) continue;
                    at[t] = before * raw->inputs + s, count[t] = y.count * x.count;
                }
                before += y.count * x.count;
            }
        const float *from = raw->w + (ptrdiff_t)first * taps + t0;
        for (int i = 0; i < raw->inputs; i++, from += step) {
            if (i + ITP_FETCH_AHEAD < raw->inputs)
                itp_fetch(from + ITP_FETCH_AHEAD * step, outputs * taps - t0);
            k->interleave(outputs, n, from, taps, NULL, turned, width);
            for (int t = 0; t < n; t++)
                if (at[t] >= 0)
                    memcpy(out + (at[t] + (ptrdiff_t)i * count[t]) * width, turned + t * width,
                           (size_t)outputs * sizeof *out);
        }
    }
}

/* All inputs, of a strided gradient whose phases along x are outputs side by side:
   out[phase along y][input][tap][width]. */
ITP_FN void itp_pack_merged(const itp_conv *c, const itp_raw *raw, int width, float *out)
{
    const itp_plane *g = &c->plane;
    int end;
    const int count = itp_conv_merged_taps(c, &end), outputs = raw->outputs * g->stride_x;
    for (int oy = 0; oy < itp_conv_phases_y(c); oy++) {
        const itp_tap_axis y = itp_conv_taps_y(c, oy);
        for (int i = 0; i < raw->inputs; i++)
            for (int s = 0; s < y.count * count; s++, out += width) {
                const int ty = y.tap + s / count * y.period;
                for (int r = 0; r < width; r++) {
                    const int o = r / g->stride_x;
                    const int tx = r % g->stride_x + g->pad_x - (end - s % count) * g->stride_x;
                    const bool is = r < outputs && tx >= 0 && tx < g->taps_x;
                    out[r] = !is ? 0
                                 : raw->w[(((ptrdiff_t)i * raw->outputs + o) * g->taps_y + ty) *
                                              g->taps_x +
                                          tx];
                }
            }
    }
}

/* Outputs of a panel. */
ITP_FN int itp_pack_side(const itp_kernels *k, bool pixels)
{
    return pixels ? k->nr : k->mr;
}

/* Those of panel p of `outputs`: the first, and the first of the next. */
ITP_FN int itp_pack_first(const itp_kernels *k, bool pixels, int outputs, int p, int *end)
{
    const int panels = itp_div_up(outputs, itp_pack_side(k, pixels));
    *end = pixels ? itp_min((p + 1) * k->nr, outputs) : (int)((int64_t)outputs * (p + 1) / panels);
    return pixels ? p * k->nr : (int)((int64_t)outputs * p / panels);
}

typedef struct itp_pack_job {
    const itp_kernels *kernels;
    itp_raw raw;
    const itp_conv *phases; /* NULL: one */
    float *packed;
    int first, count; /* outputs that are packed */
    bool pixels;
} itp_pack_job;

ITP_FN void itp_pack_task(void *arg, int panel, int slot)
{
    (void)slot;
    const itp_pack_job *j = (const itp_pack_job *)arg;
    const int width = itp_pack_side(j->kernels, j->pixels);
    int k1;
    const int k0 = itp_pack_first(j->kernels, j->pixels, j->count, panel, &k1);
    float *out = j->packed + (ptrdiff_t)panel * j->raw.inputs * j->raw.taps * width;
    if (j->phases)
        itp_pack_phases(j->kernels, j->phases, &j->raw, j->first + k0, k1 - k0, width, out);
    else itp_pack_panel(j->kernels, &j->raw, j->first + k0, k1 - k0, 0, j->raw.inputs, width, out);
}

/* Outputs first..first+count into `packed`. */
ITP_FN void itp_pack_weights(interp_ctx *ctx, const itp_conv *c, const itp_raw *raw, bool pixels,
                             int first, int count, float *packed)
{
    itp_pack_job j;
    j.kernels = ctx->k, j.raw = *raw, j.packed = packed;
    j.phases = raw->turned && (c->plane.stride_y > 1 || c->plane.stride_x > 1) ? c : NULL;
    j.first = first, j.count = count;
    j.pixels = pixels;
    itp_parallel(ctx, itp_div_up(count, itp_pack_side(ctx->k, pixels)),
                 (double)raw->inputs * count * raw->taps, itp_pack_task, &j);
}

/* ---- sums over windows of planes

   y(k, oy, ox) = bias(k) + sum over c and taps of w(k, c, tap) x(c, oy mul_y + tap_y, ox mul_x + tap_x),
   x being 0 outside of its planes: a convolution, or one phase of the gradient of a strided one, or its
   phases along a row together, which are outputs by themselves then.
   A tile has pixels as rows and output planes as columns, or the other way round; either way it
   reads one operand straight from the image (from a padded copy of a part of it, the slab, where
   there is padding or a stride) and the other from packed weights. */
typedef struct itp_windows {
    int batch, inputs, outputs; /* planes */
    int merged; /* neighbouring columns of y that are outputs of their own, side by side; else 1 */
    int all_outputs;   /* those of the other calls for the same x with them */
    int height, width; /* of x */
    int rows, columns; /* of y */
    int mul_y, mul_x;
    itp_tap_axis tap_y, tap_x;
    int taps;        /* those summed here */
    int panel_taps;  /* those of a panel of packed weights */
    int panel_first; /* and where ours begin among them */
    const float *x, *bias;
    const float *packed;    /* weights as the tiles read them, or NULL: */
    const itp_raw *raw;     /* as they lie: a task packs a panel at a time for itself */
    const itp_after *after; /* NULL: none */
    int channel;            /* of the net, that is plane 0 here */
    ptrdiff_t x_image;
    float *y, beta;
    ptrdiff_t y_image, y_plane, y_row, y_step; /* strides of y */
    bool pixels;                               /* pixels are the rows of tiles */
} itp_windows;

/* How a call is cut: `rows` x `columns` of y at a time, `inputs` planes of x at a time. */
typedef struct itp_cut {
    int rows, columns, inputs;
    int min_y, min_x, span_y, span_x; /* of the taps */
    int phases;                       /* columns of x are sorted by their rest modulo mul_x */
    ptrdiff_t pitch, row, plane;      /* of the slab: phase, row, plane */
    bool in_place;                    /* the image is read where it lies */
    bool gather;                      /* what a tile of pixels reads is copied side by side */
    size_t slab, gathered, kept; /* floats; kept: sums of tiles from some planes of x to the next */
} itp_cut;

typedef struct itp_windows_job {
    const itp_kernels *kernels;
    const itp_windows *w;
    itp_cut cut;
    itp_scratch scratch;
    const ptrdiff_t *x_at, *w_at; /* [group * taps] */
    int group;                    /* planes of x that a tile takes in one outer step */
    int row_parts, column_parts, output_parts;
} itp_windows_job;

/* The extent of the taps, and whether the image can be read where it lies. */
ITP_FN itp_cut itp_cut_taps(const itp_windows *w, int vector)
{
    itp_cut c;
    memset(&c, 0, sizeof c);
    const int end_y = w->tap_y.offset + (w->tap_y.count - 1) * w->tap_y.step;
    const int end_x = w->tap_x.offset + (w->tap_x.count - 1) * w->tap_x.step;
    const int max_y = itp_max(w->tap_y.offset, end_y), max_x = itp_max(w->tap_x.offset, end_x);
    c.min_y = itp_min(w->tap_y.offset, end_y);
    c.min_x = itp_min(w->tap_x.offset, end_x);
    c.span_y = max_y - c.min_y + 1;
    c.span_x = max_x - c.min_x + 1;
    c.phases = itp_min(w->mul_x, c.span_x);
    c.in_place = w->mul_x == 1 && c.min_y >= 0 && c.min_x >= 0 &&
                 (w->rows - 1) * w->mul_y + max_y < w->height &&
                 w->columns - 1 + max_x < w->width && w->columns % vector == 0;
    return c;
}

/* Cuts into pieces of rows x columns of y and `inputs` planes of x. `slack`: floats past the slab's
   end that may be read. */
ITP_FN void itp_cut_size(itp_cut *c, const itp_windows *w, int rows, int columns, int inputs,
                         int slack)
{
    c->rows = rows, c->columns = columns, c->inputs = inputs;
    if (c->in_place) {
        c->inputs = w->pixels ? inputs : w->inputs;
        c->row = w->width;
        c->plane = (ptrdiff_t)w->height * w->width;
        return;
    }
    c->pitch = columns + (c->span_x - 1) / w->mul_x;
    if (c->pitch == columns) /* no shifts: rows start where vectors do */
        c->pitch = (ptrdiff_t)itp_round_up((size_t)columns, 16);
    c->row = c->phases * c->pitch;
    c->plane = ((rows - 1) * w->mul_y + c->span_y) * c->row;
    c->slab = itp_round_up((size_t)c->plane * (size_t)inputs + (size_t)slack, 16);
}

/* Whether what a tile of pixels reads is copied side by side, so that rows of any length fill tiles: where
   tiles of one short row would have too few products to a step, and enough outputs read the copies. */
ITP_FN bool itp_windows_gathered(const interp_ctx *ctx, const itp_windows *w)
{
    const int tiles = itp_div_up(w->columns, ctx->k->mr), vectors = ctx->k->nr / ctx->k->width;
    return w->taps && w->all_outputs >= ITP_GATHER_OUTPUTS * ctx->k->nr &&
           w->columns * vectors < ITP_GATHER_PRODUCTS * tiles;
}

/* Whether weights are so many that threads share the outputs rather than the pixels, for each of which all
   would be read. */
ITP_FN bool itp_windows_heavy(const itp_windows *w)
{
    return w->pixels && (double)w->inputs * w->taps * w->all_outputs >= ITP_HEAVY_WEIGHTS;
}

/* Planes of x that pixels take at a time: so many that the weights for a panel of outputs stay in the
   cache next to the core for all tiles. */
ITP_FN int itp_windows_share(const itp_windows *w)
{
    const int taps = itp_max(1, w->taps), most = itp_max(1, ITP_SHARE_STEPS / taps);
    const int share = itp_div_up(w->inputs, itp_div_up(w->inputs, most));
    const int unit = taps < ITP_GROUP_TAPS ? ITP_GROUP_TAPS : 1; /* whole groups */
    return itp_min(w->inputs, itp_div_up(share, unit) * unit);
}

/* Whether the lines that a tile of output planes reads, one of each plane, are so many in the same set of
   the cache that they drive each other out: not where lines are taken whole. */
ITP_FN bool itp_windows_crowded(const interp_ctx *ctx, const itp_windows *w)
{
    return !w->pixels && w->rows == 1 && w->inputs > ITP_MANY_PLANES && ctx->k->nr <= ITP_LINE &&
           w->width % ITP_SAME_SET == 0;
}

ITP_FN itp_cut itp_cut_of(const interp_ctx *ctx, const itp_windows *w, int slots)
{
    const int unit = w->pixels ? ctx->k->mr : ctx->k->nr;
    itp_cut c = itp_cut_taps(w, w->pixels ? 1 : ctx->k->width);
    c.in_place = c.in_place && !itp_windows_crowded(ctx, w);
    c.gather = w->pixels && itp_windows_gathered(ctx, w);
    int inputs = w->pixels ? itp_windows_share(w) : w->inputs;
    const int most = c.gather ? ITP_GATHER_PIXELS : w->pixels ? ITP_MOST_PIXELS : ITP_MOST_COLUMNS;
    int columns = itp_min(w->columns, most);
    if (w->rows == 1) columns = itp_min(columns, itp_max(1, ITP_SLAB / inputs));
    columns = itp_div_up(w->columns, itp_div_up(w->columns, columns)); /* nearly even pieces */
    columns = itp_min(w->columns, itp_div_up(columns, unit) * unit);
    const double row = (double)c.phases * (columns + (c.span_x - 1) / w->mul_x);
    inputs = itp_max(1, (int)itp_min_double(inputs, 4 * ITP_SLAB / (row * c.span_y)));
    int rows = (int)((ITP_SLAB / (row * inputs) - c.span_y) / w->mul_y) + 1;
    if (w->pixels) rows = itp_min(rows, most / columns);
    rows = itp_max(1, itp_min(rows, w->rows));
    rows = itp_div_up(w->rows, itp_div_up(w->rows, rows));
    if (c.gather) {
        const size_t pixels = (size_t)(itp_div_up(rows * columns, unit) * unit);
        c.gathered =
            itp_round_up((size_t)inputs * (size_t)w->taps * pixels + 2 * (size_t)ctx->k->nr, 16);
    } else if (slots > 1 && !itp_windows_heavy(w)) {
        rows = itp_max(1, itp_min(rows, (int)((double)w->rows * w->batch / (4 * slots))));
        if (w->rows == 1)
            columns = itp_min(columns, itp_div_up(w->columns, 4 * slots * unit) * unit);
    }
    itp_cut_size(&c, w, rows, columns, inputs, 2 * ctx->k->nr);
    if (w->pixels && c.inputs < w->inputs) {
        const size_t tiles = c.gather ? (size_t)itp_div_up(c.rows * c.columns, unit)
                                      : (size_t)c.rows * (size_t)itp_div_up(c.columns, unit);
        const int panels = itp_div_up(w->all_outputs, ctx->k->nr);
        c.kept = itp_mul_size(tiles * (size_t)panels, (size_t)(unit * ctx->k->nr));
    }
    return c;
}

/* Copies what rows y0.. and columns x0.. of the output read of planes c0..c0+n into the slab. */
ITP_FN void itp_slab_fill(const itp_kernels *k, const itp_windows *w, const itp_cut *c,
                          const float *image, int y0, int rows, int x0, int columns, int c0, int n,
                          float *slab)
{
    const int rows_in = (rows - 1) * w->mul_y + c->span_y, step = w->mul_x;
    const int most = columns + (int)c->pitch - c->columns;
    for (int i = 0; i < n; i++)
        for (int p = 0; p < c->phases; p++) {
            const int first = x0 * step + c->min_x + p; /* source column of to[0] */
            int lo = first < 0 ? (-first + step - 1) / step : 0;
            int hi = w->width > first ? (w->width - first + step - 1) / step : 0;
            lo = itp_min(lo, most), hi = itp_max(lo, itp_min(hi, most));
            float *to = slab + i * c->plane + p * c->pitch;
            for (int r = 0; r < rows_in; r++, to += c->row) {
                const int sy = y0 * w->mul_y + c->min_y + r;
                const bool inside = sy >= 0 && sy < w->height;
                const ptrdiff_t row = (ptrdiff_t)(c0 + i) * w->height + (inside ? sy : 0);
                const float *from = image + row * w->width + first + lo * step;
                const int end = inside ? hi : 0;
                for (int q = 0; q < itp_min(lo, end); q++) to[q] = 0;
                if (step > 1 && inside) k->every(hi - lo, from, step, to + lo);
                else if (inside) memcpy(to + lo, from, (size_t)(hi - lo) * sizeof *to);
                memset(to + end, 0, (size_t)(c->pitch - end) * sizeof *to);
            }
        }
}

/* Where output k begins. */
ITP_FN float *itp_windows_plane(const itp_windows *w, float *y, int k)
{
    return y + k / w->merged * w->y_plane + k % w->merged;
}

/* A tile of sums, outputs x pixels in rows of `from_step`, into y. */
ITP_FN void itp_windows_put(const itp_windows *w, float *y, int k0, int outputs, int pixels,
                            const float *from, ptrdiff_t from_step, float beta)
{
    for (int k = 0; k < outputs; k++, from += from_step) {
        float *to = itp_windows_plane(w, y, k0 + k);
        for (int p = 0; p < pixels; p++, to += w->y_step)
            *to = from[p] + (beta == 0 ? 0 : beta * *to);
    }
}

/* Copies the pixels of every tile side by side: gathered[tile][input][tap][mr]. */
ITP_FN void itp_windows_gather(const itp_windows_job *j, const float *x, int rows, int columns,
                               int inputs, float *gathered)
{
    const itp_windows *w = j->w;
    const int mr = j->kernels->mr, n = rows * columns, tiles = itp_div_up(n, mr);
    for (int q = 0; q < tiles; q++) {
        const int first = n * q / tiles, end = n * (q + 1) / tiles;
        ptrdiff_t from[ITP_MOST_MR];
        int length[ITP_MOST_MR], runs = 0;
        for (int p = first; p < end; p += length[runs++]) {
            from[runs] = p / columns * w->mul_y * j->cut.row + p % columns;
            length[runs] = itp_min(columns - p % columns, end - p);
        }
        j->kernels->gather(inputs, j->cut.plane, w->taps, j->x_at, runs, from, length, x,
                           gathered + (ptrdiff_t)q * inputs * w->taps * mr);
    }
}

/* Weights that are needed next: `runs` of `lines` of the cache, `step` numbers apart. */
typedef struct itp_ahead {
    const float *from;
    ptrdiff_t step;
    int runs, lines, run, line; /* and those that are on their way */
} itp_ahead;

/* Packed weights of a panel of `side` outputs, for planes c0.. of x. */
ITP_FN const float *itp_windows_packed(const itp_windows *w, int panel, int side, int c0)
{
    const ptrdiff_t first = (ptrdiff_t)panel * w->panel_taps + w->panel_first;
    return w->packed + (first * w->inputs + (ptrdiff_t)c0 * w->taps) * side;
}

/* Those of the panel of outputs that begins at k0, for planes c0.. of x. */
ITP_FN itp_ahead itp_windows_ahead(const itp_windows_job *j, int k0, int c0, int inputs)
{
    const itp_windows *w = j->w;
    const int nr = j->kernels->nr, taps = w->taps;
    const ptrdiff_t all = (ptrdiff_t)w->inputs * taps;
    itp_ahead a = {NULL, 0, 1, itp_div_up(inputs * taps * nr, ITP_LINE), 0, 0};
    if (!w->raw && j->kernels->ahead) /* the tile asks for the others itself */
        a.lines = itp_min(a.lines, j->kernels->ahead * nr / ITP_LINE);
    if (!w->raw) a.from = itp_windows_packed(w, k0 / nr, nr, c0);
    else if (w->raw->turned) {
        a.from = w->raw->w + ((ptrdiff_t)c0 * w->outputs + k0) * taps;
        a.runs = inputs, a.step = (ptrdiff_t)w->outputs * taps;
        a.lines = itp_div_up(nr * taps, ITP_LINE);
    } else {
        a.from = w->raw->w + k0 * all + (ptrdiff_t)c0 * taps;
        a.runs = nr, a.step = all;
        a.lines = itp_div_up(inputs * taps, ITP_LINE);
    }
    return a;
}

/* Sends for n lines more. */
ITP_FN void itp_ahead_fetch(itp_ahead *a, int n)
{
    for (; n > 0 && a->run < a->runs; n--) {
        ITP_PREFETCH(a->from + a->line * ITP_LINE);
        if (++a->line < a->lines) continue;
        a->line = 0, a->run++, a->from += a->step;
    }
}

/* A tile of finished sums, from pixel p of row r, into the planes of y. */
ITP_FN void itp_windows_finish(const itp_windows_job *j, float *y, int planes, int r, int p, int n,
                               int columns, const float *sums)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float turned[ITP_MOST_TILE];
    for (int end = p + n, run; p < end; p += run, sums += run * k->nr) {
        float *to = y + (r + p / columns) * w->y_row + p % columns * w->y_step;
        run = itp_min(columns - p % columns, end - p); /* gathered pixels may lie in several rows */
        if (w->y_step == 1) k->spread(planes, run, sums, to, w->y_plane, w->beta);
        else {
            k->spread(planes, run, sums, turned, k->mr, 0);
            itp_windows_put(w, to, 0, planes, run, turned, k->mr, w->beta);
        }
    }
}

/* What is done to finished planes k0..k1, while they are in the cache. */
ITP_FN void itp_windows_after(const itp_windows_job *j, float *y, int rows, int columns, int k0,
                              int k1)
{
    const itp_windows *w = j->w;
    const int runs = columns == w->y_row ? 1 : rows; /* whole rows lie side by side */
    for (int r = 0; w->after && r < runs; r++)
        itp_after_run(j->kernels, w->after, w->channel + k0, k1 - k0,
                      (size_t)(rows / runs * columns), y + k0 * w->y_plane + r * w->y_row,
                      w->y_plane);
}

/* A tile's steps through planes of x: all in one run, or with tables groups of planes by their taps. */
ITP_FN itp_tile itp_windows_tile(const itp_windows_job *j, int inputs, bool tables)
{
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = tables ? inputs / j->group : 1;
    t.inner = (tables ? j->group : inputs) * j->w->taps;
    t.a_rs = 1;
    return t;
}

/* Taps along an axis that reach one of `size` pixels, from where tap 0 is a->offset away: how many, and the
   first. */
ITP_FN int itp_taps_reach(const itp_tap_axis *a, int at, int size, int *first)
{
    int from = 0, end = a->count;
    at += a->offset;
    while (end > from && (at + from * a->step < 0 || at + from * a->step >= size)) from++;
    while (end > from && (at + (end - 1) * a->step < 0 || at + (end - 1) * a->step >= size)) end--;
    *first = from;
    return end - from;
}

/* Pixels as rows, y0.. of y: for each panel of output planes k0..k1, all tiles of pixels, for planes c0.. of
   x. kept: the sums of all tiles from some planes of x to the next; own: room for the weights of a panel. */
ITP_FN void itp_windows_pixels(const itp_windows_job *j, const float *x, float *y, int y0, int rows,
                               int columns, int c0, int inputs, int k0, int k1, float *kept,
                               float *own)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float sums[ITP_MOST_TILE], start[ITP_MOST_NR];
    const bool gather = j->cut.gather, ends = c0 + inputs == w->inputs;
    const int across = columns, down = rows;
    if (gather) columns *= rows, rows = 1; /* all pixels are one row */
    const int tiles = itp_div_up(columns, k->mr);
    const bool tables = w->taps > 1 && !gather;
    itp_tile t = itp_windows_tile(j, inputs, tables);
    if (tables) t.a_at = j->x_at, t.b_at = j->w_at;
    t.a_outer = j->group * j->cut.plane, t.b_outer = (ptrdiff_t)j->group * w->taps * k->nr;
    t.a_step = gather ? k->mr : j->cut.plane, t.b_step = k->nr;
    itp_tile_ahead(&t, k->ahead, k->width);
    t.from = !c0 && w->bias ? start : NULL, t.from_rs = c0 ? k->nr : 0;
    t.to = sums, t.to_rs = k->nr;
    for (; k0 < k1; k0 += k->nr) {
        const int planes = itp_min(k->nr, k1 - k0);
        for (int i = 0; t.from == start && i < k->nr; i++)
            start[i] = i < planes ? w->bias[k0 + i] : 0;
        t.columns = planes <= k->width ? k->width : k->nr;
        if (w->raw) {
            itp_pack_panel(k, w->raw, k0, planes, c0, inputs, k->nr, own);
            t.b = own;
        } else t.b = itp_windows_packed(w, k0 / k->nr, k->nr, c0);
        itp_ahead ahead = {NULL, 0, 0, 0, 0, 0};
        if (k0 + k->nr < k1) ahead = itp_windows_ahead(j, k0 + k->nr, c0, inputs);
        const int lines = itp_div_up(ahead.runs * ahead.lines, rows * tiles); /* for each tile */
        for (int r = 0; r < rows; r++) {
            if (tables && j->group == 1) { /* nothing is gained from pixels beside the image */
                int first;
                t.inner = itp_taps_reach(&w->tap_y, (y0 + r) * w->mul_y, w->height, &first) *
                          w->tap_x.count;
                t.a_at = j->x_at + first * w->tap_x.count;
                t.b_at = j->w_at + first * w->tap_x.count;
            }
            for (int q = 0, p = 0; q < tiles; q++, p += t.rows, kept += k->mr * k->nr) {
                t.rows = columns * (q + 1) / tiles - p; /* tiles of nearly the same height */
                t.a = gather ? x + (ptrdiff_t)q * inputs * w->taps * k->mr
                             : x + r * w->mul_y * j->cut.row + p;
                if (c0) t.from = kept;
                if (!ends) t.to = kept;
                itp_ahead_fetch(&ahead, lines);
                k->tile(&t);
                if (ends)
                    itp_windows_finish(j, y + k0 * w->y_plane, planes, r, p, t.rows, across, sums);
            }
        }
        if (ends) itp_windows_after(j, y, down, across, k0, k0 + planes);
    }
}

/* Columns of a tile with all these planes as rows. */
ITP_FN int itp_long_columns(const itp_kernels *k, int planes)
{
    return planes > ITP_LONG_ROWS ? k->nr : ITP_LONG_VECTORS(planes) * k->width;
}

/* Output planes as rows: for each row of pixels, all panels of output planes. */
ITP_FN void itp_windows_planes(const itp_windows_job *j, const float *x, float *y, int rows,
                               int columns, int c0, int inputs)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float sums[ITP_MOST_TILE], start[ITP_MOST_TILE];
    const int panels = itp_div_up(w->outputs, k->mr);
    const int step = itp_long_columns(k, w->outputs);
    const float beta = c0 ? 1 : w->beta;
    itp_tile t = itp_windows_tile(j, inputs, w->taps > 1);
    if (w->taps > 1) t.a_at = j->w_at, t.b_at = j->x_at;
    t.a_outer = (ptrdiff_t)j->group * w->taps * k->mr, t.b_outer = j->group * j->cut.plane;
    t.a_step = k->mr, t.b_step = j->cut.plane;
    itp_tile_ahead(&t, k->ahead, k->width);
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) {
            int k1;
            const int k0 = itp_pack_first(k, false, w->outputs, p, &k1);
            t.rows = k1 - k0;
            t.a = itp_windows_packed(w, p, k->mr, c0);
            const bool biased = w->bias && !c0;
            for (int i = 0; biased && i < t.rows; i++)
                for (int q = 0; q < step; q++) start[i * step + q] = w->bias[k0 + i];
            for (int q = 0; q < columns; q += t.columns) {
                float *row = y + r * w->y_row + q * w->y_step;
                t.columns = columns - q >= step ? step : itp_min(k->nr, columns - q);
                t.b = x + r * w->mul_y * j->cut.row + q;
                const bool straight = w->y_step == 1 && (beta == 0 || (beta == 1 && !biased));
                t.from = biased ? start : NULL, t.from_rs = step;
                t.to = sums, t.to_rs = step;
                if (straight) {
                    t.to = row + k0 * w->y_plane, t.to_rs = w->y_plane;
                    if (beta != 0) t.from = t.to, t.from_rs = w->y_plane;
                }
                k->tile(&t);
                if (!straight) itp_windows_put(w, row, k0, t.rows, t.columns, sums, step, beta);
            }
        }
}

ITP_FN void itp_windows_task(void *arg, int task, int slot)
{
    const itp_windows_job *j = (const itp_windows_job *)arg;
    const itp_windows *w = j->w;
    const itp_cut *c = &j->cut;
    const int part = task % j->output_parts; /* of the output planes */
    task /= j->output_parts;
    const int x0 = task % j->column_parts * c->columns;
    const int y0 = task / j->column_parts % j->row_parts * c->rows;
    const int image = task / j->column_parts / j->row_parts;
    const int rows = itp_min(c->rows, w->rows - y0), columns = itp_min(c->columns, w->columns - x0);
    const int panels = itp_div_up(w->outputs, j->kernels->nr);
    const int k0 = panels * part / j->output_parts * j->kernels->nr;
    const int k1 = itp_min(panels * (part + 1) / j->output_parts * j->kernels->nr, w->outputs);
    const float *from = w->x + image * w->x_image;
    float *y = w->y + image * w->y_image + y0 * w->y_row + x0 * w->y_step;
    float *slab = itp_scratch_slot(&j->scratch, slot);
    float *kept = slab + c->slab + c->gathered, *own = kept + c->kept;
    for (int c0 = 0; c0 < w->inputs; c0 += c->inputs) {
        const int n = itp_min(c->inputs, w->inputs - c0);
        const float *x = slab;
        if (c->in_place) x = from + c0 * c->plane + (ptrdiff_t)y0 * w->mul_y * c->row + x0;
        else itp_slab_fill(j->kernels, w, c, from, y0, rows, x0, columns, c0, n, slab);
        if (c->gather) {
            itp_windows_gather(j, x, rows, columns, n, slab + c->slab);
            x = slab + c->slab;
        } else if (w->taps == 1) x += j->x_at[0]; /* which needs no tables */
        if (w->pixels) itp_windows_pixels(j, x, y, y0, rows, columns, c0, n, k0, k1, kept, own);
        else itp_windows_planes(j, x, y, rows, columns, c0, n);
    }
    if (!w->pixels) itp_windows_after(j, y, rows, columns, 0, w->outputs);
}

/* Where each tap of a window lies in the slab, or in the image. */
ITP_FN void itp_windows_offsets(const itp_windows *w, const itp_cut *c, ptrdiff_t *at)
{
    for (int i = 0; i < w->tap_y.count; i++)
        for (int j = 0; j < w->tap_x.count; j++) {
            const int y = w->tap_y.offset + i * w->tap_y.step;
            const int x = w->tap_x.offset + j * w->tap_x.step, u = x - c->min_x;
            *at++ = c->in_place ? (ptrdiff_t)y * w->width + x
                                : (y - c->min_y) * c->row + u % w->mul_x * c->pitch + u / w->mul_x;
        }
}

/* Planes whose taps are taken together. */
ITP_FN int itp_windows_group(const itp_windows *w, const itp_cut *c)
{
    int group = 1;
    while (w->taps && group * w->taps < ITP_GROUP_TAPS && w->inputs % (2 * group) == 0 &&
           c->inputs % (2 * group) == 0)
        group *= 2;
    return group;
}

/* Offsets in the tables of a way: of the window, with those that merged phases have not all. */
ITP_FN size_t itp_windows_offsets_most(const itp_conv *c)
{
    return 2 * itp_max_size(itp_mul_size((size_t)c->plane.taps_y, (size_t)c->plane.taps_x + 1),
                            2 * ITP_GROUP_TAPS);
}

ITP_FN double itp_windows_work(const itp_windows *w)
{
    return (double)w->batch * w->outputs * w->rows * w->columns * w->inputs * itp_max(1, w->taps);
}

/* tables: itp_windows_offsets_most. */
ITP_FN void itp_windows_run(interp_ctx *ctx, const itp_windows *w, itp_scratch scratch,
                            ptrdiff_t *tables)
{
    itp_windows_job j;
    j.kernels = ctx->k;
    j.w = w;
    j.cut = itp_cut_of(ctx, w, ctx->slots);
    j.scratch = scratch;
    j.group = itp_windows_group(w, &j.cut);
    const int side = itp_pack_side(ctx->k, w->pixels), steps = j.group * w->taps;
    ptrdiff_t *w_at = tables + steps;
    itp_windows_offsets(w, &j.cut, tables);
    for (int s = 0; s < steps; s++) {
        w_at[s] = (ptrdiff_t)s * side;
        tables[s] = tables[s % w->taps] + s / w->taps * j.cut.plane;
    }
    j.x_at = tables, j.w_at = w_at;
    j.row_parts = itp_div_up(w->rows, j.cut.rows);
    j.column_parts = itp_div_up(w->columns, j.cut.columns);
    const int tasks = w->batch * j.row_parts * j.column_parts;
    j.output_parts = 1; /* few tasks are shared by output planes */
    const int wanted = (j.cut.gather || itp_windows_heavy(w) ? 2 : 4) * ctx->slots;
    if (ctx->slots > 1 && w->pixels && tasks < wanted)
        j.output_parts = itp_min(itp_div_up(w->outputs, ctx->k->nr), wanted / tasks);
    itp_parallel(ctx, tasks * j.output_parts, itp_windows_work(w), itp_windows_task, &j);
}

/* Cycles of a step of a tile: bound by its products, its loads, or the products that must wait for each
   other. */
ITP_FN double itp_step_cycles(double rows, double vectors)
{
    double step = rows * vectors / 2;
    if (step < (rows + vectors) / 2) step = (rows + vectors) / 2;
    return step < 4 ? 4 : step; /* latency of a product */
}

/* Those of an image, with pixels as rows of tiles or output planes. */
ITP_FN double itp_windows_cycles(const interp_ctx *ctx, const itp_windows *w, bool pixels)
{
    const double k = (double)w->inputs * itp_max(1, w->taps), nr = ctx->k->nr;
    const bool all = pixels && itp_windows_gathered(ctx, w); /* pixels of all rows fill tiles */
    const int long_side = !pixels ? w->all_outputs : all ? w->rows * w->columns : w->columns;
    const int wide_side = pixels ? w->all_outputs : w->columns;
    const int tiles = itp_div_up(long_side, ctx->k->mr);
    const double rows = (double)long_side / tiles;
    const int most = (pixels ? ctx->k->nr : itp_long_columns(ctx->k, long_side)) / ctx->k->width;
    double sum = 0;
    for (int left = itp_div_up(wide_side, ctx->k->width); left > 0; left -= most) {
        const double v = itp_min(most, left);
        sum += k * itp_step_cycles(rows, v) + rows * v * 2 + (pixels ? nr * 4 : 0);
    }
    return sum * tiles * (all ? 1 : w->rows);
}

/* Whether pixels make better rows of tiles than output planes. */
ITP_FN bool itp_windows_by_pixels(const interp_ctx *ctx, const itp_windows *w)
{
    return itp_windows_cycles(ctx, w, true) < itp_windows_cycles(ctx, w, false);
}

/* ---- the three convolutions as sums over windows */

/* One long row instead of many short ones. */
ITP_FN void itp_windows_unroll(itp_windows *w, const itp_plane *g)
{
    w->width = w->columns = g->height * g->width;
    w->height = w->rows = 1;
}

ITP_FN itp_windows itp_windows_forward(const interp_ctx *ctx, const itp_conv *c)
{
    const itp_plane *g = &c->plane;
    itp_windows w;
    memset(&w, 0, sizeof w);
    w.batch = c->batch;
    w.inputs = c->in_channels / c->groups;
    w.outputs = w.all_outputs = c->out_channels / c->groups;
    w.merged = 1;
    w.height = g->height, w.width = g->width, w.rows = g->rows, w.columns = g->columns;
    w.mul_y = g->stride_y, w.mul_x = g->stride_x;
    w.taps = w.panel_taps = itp_conv_taps(c);
    const itp_tap_axis y = {g->taps_y, -g->pad_y, g->dilation_y, 0, 1};
    const itp_tap_axis x = {g->taps_x, -g->pad_x, g->dilation_x, 0, 1};
    w.tap_y = y, w.tap_x = x;
    w.x_image = (ptrdiff_t)c->in_channels * (ptrdiff_t)itp_conv_in(c);
    w.y_plane = (ptrdiff_t)itp_conv_out(c);
    w.y_image = c->out_channels * w.y_plane;
    w.y_row = g->columns, w.y_step = 1;
    if (itp_conv_pointwise(c)) itp_windows_unroll(&w, g);
    w.pixels = itp_windows_by_pixels(ctx, &w);
    return w;
}

/* The phase of the gradient whose pixels are (oy, ox) modulo the strides: x is dy, y is dx. Its taps follow
   those of the phases before it: panel_first is left to the caller, who counts them. */
ITP_FN itp_windows itp_windows_backward(const itp_conv *c, int oy, int ox)
{
    const itp_plane *g = &c->plane;
    itp_windows w;
    memset(&w, 0, sizeof w);
    w.batch = c->batch;
    w.inputs = c->out_channels / c->groups;
    w.outputs = w.all_outputs = c->in_channels / c->groups;
    w.merged = 1;
    w.height = g->rows, w.width = g->columns;
    w.rows = itp_div_up(g->height - oy, g->stride_y);
    w.columns = itp_div_up(g->width - ox, g->stride_x);
    w.mul_y = w.mul_x = 1;
    w.tap_y = itp_conv_taps_y(c, oy), w.tap_x = itp_conv_taps_x(c, ox);
    w.taps = w.tap_y.count * w.tap_x.count;
    w.panel_taps = itp_conv_taps(c);
    w.x_image = (ptrdiff_t)c->out_channels * (ptrdiff_t)itp_conv_out(c);
    w.y_plane = (ptrdiff_t)itp_conv_in(c);
    w.y_image = c->in_channels * w.y_plane;
    w.y_row = (ptrdiff_t)g->width * g->stride_y, w.y_step = g->stride_x;
    if (itp_conv_pointwise(c)) itp_windows_unroll(&w, g);
    return w;
}

/* The phases of a row of pixels together: each is an output by itself. */
ITP_FN void itp_windows_merge(itp_windows *w, const itp_conv *c)
{
    w->merged = c->plane.stride_x;
    w->outputs *= w->merged, w->all_outputs *= w->merged;
    w->tap_x.count = itp_conv_merged_taps(c, &w->tap_x.offset), w->tap_x.step = -1;
    w->taps = w->tap_y.count * w->tap_x.count;
    w->panel_taps = c->plane.taps_y * w->tap_x.count;
}

/* Which side the pixels are on is one decision for all phases: they share the packed weights. */
ITP_FN bool itp_backward_by_pixels(const interp_ctx *ctx, const itp_conv *c)
{
    const itp_windows w = itp_windows_backward(c, 0, 0);
    return itp_windows_by_pixels(ctx, &w);
}

/* ---- gradient of the weights: sums over pixels

   dw(o, i, tap) = sum over images and pixels of dy(o, pixel) x(i, pixel + tap). Steps of a tile are
   pixels and its columns output planes; its rows are input planes for one tap at a time (shifted),
   or, where input planes are few, planes and taps. Both operands are turned first, so that what
   belongs to a pixel lies side by side. */
typedef struct itp_sums {
    itp_windows w; /* the forward convolution */
    itp_cut cut;   /* one block: some rows and columns of one image */
    bool shifted;  /* x is turned, pixel by pixel, and taps are shifts in it */
    bool runs;     /* x stays as it is: rows are taps side by side; else each pixel's are copied */
    int rows, panels; /* of tiles: all rows, panels of them */
    int column_blocks, row_blocks, blocks;
    int parts;              /* that the blocks are summed in; each has sums of its own */
    int out_panels, groups; /* panels of output planes; groups of them that are tasks */
    size_t slab, turned_x, turned_dy, part; /* floats */
} itp_sums;

#define ITP_FEW_PLANES 8 /* fewer input planes go together with their taps */
#define ITP_LEAST_RUN  5 /* taps side by side from which on x need not be turned */
#define ITP_BUSY       8 /* vectors of sums that do not wait for each other */

/* Whether so many taps side by side make rows of a tile. */
ITP_FN bool itp_sums_run(const interp_ctx *ctx, int taps)
{
    return taps >= ITP_LEAST_RUN && taps <= ctx->k->mr;
}

ITP_FN itp_sums itp_sums_of(const interp_ctx *ctx, const itp_conv *c)
{
    itp_sums s;
    const int mr = ctx->k->mr, nr = ctx->k->nr;
    s.w = itp_windows_forward(ctx, c);
    const itp_windows *w = &s.w;
    s.shifted = w->taps > 1 && w->inputs >= ITP_FEW_PLANES;
    s.runs = !s.shifted && w->mul_x == 1 && w->tap_x.step == 1 && itp_sums_run(ctx, w->tap_x.count);
    s.rows = w->inputs * (s.shifted ? 1 : w->taps);
    s.panels = s.runs ? w->inputs * w->tap_y.count : itp_div_up(s.rows, mr);
    s.out_panels = itp_div_up(w->outputs, nr);
    const double pixels = 2.0 * ITP_SLAB / (w->inputs + s.rows + w->outputs);
    int columns = w->columns, rows = (int)(pixels / columns);
    if (w->rows == 1) columns = itp_min(columns, itp_max(64, (int)pixels));
    rows = itp_max(1, itp_min(rows, w->rows));
    rows = itp_div_up(w->rows, itp_div_up(w->rows, rows));
    s.cut = itp_cut_taps(w, 1);
    itp_cut_size(&s.cut, w, rows, columns, w->inputs, 0);
    s.column_blocks = itp_div_up(w->columns, columns);
    s.row_blocks = itp_div_up(w->rows, rows);
    s.blocks = w->batch * s.row_blocks * s.column_blocks;
    s.part = (size_t)w->inputs * (size_t)w->taps * (size_t)(s.out_panels * nr);
    s.parts = s.part > ITP_SPLIT_WEIGHTS || itp_conv_work(c) < 1e6
                  ? 1
                  : itp_min(s.blocks, ITP_SPLIT_PARTS);
    s.groups = itp_min(s.out_panels, s.parts > 1 ? 1 : 2 * ctx->slots);
    const size_t reach = (size_t)(((rows - 1) * w->mul_y + s.cut.span_y) * s.cut.row);
    const size_t steps = s.shifted ? reach : (size_t)rows * (size_t)columns;
    s.slab = s.cut.slab;
    s.turned_x = s.runs ? 0 : itp_round_up(steps * (size_t)(s.panels * mr), 16);
    s.turned_dy = (size_t)rows * (size_t)columns * (size_t)nr;
    return s;
}

typedef struct itp_sums_job {
    const itp_kernels *kernels;
    const itp_sums *s;
    itp_scratch scratch;
    const ptrdiff_t *x_at;   /* [taps]: in the image or the slab */
    const ptrdiff_t *row_at; /* [rows]: where a row of tiles starts, not shifted */
    const float *dy;
    ptrdiff_t dy_image;
    float *sums; /* [parts][out_panels][inputs][taps][nr] */
} itp_sums_job;

/* One block into the sums at `sums`, for output panels p0..p1; `first`: there are none yet. */
ITP_FN void itp_sums_block(const itp_sums_job *j, int block, int p0, int p1, bool first,
                           float *sums, float *slab)
{
    const itp_sums *s = j->s;
    const itp_windows *w = &s->w;
    const itp_cut *c = &s->cut;
    const itp_kernels *k = j->kernels;
    const int x0 = block % s->column_blocks * c->columns;
    const int y0 = block / s->column_blocks % s->row_blocks * c->rows;
    const int image = block / s->column_blocks / s->row_blocks;
    const int rows = itp_min(c->rows, w->rows - y0), columns = itp_min(c->columns, w->columns - x0);
    const int taps = s->shifted ? w->taps : 1;
    const float *x = w->x + image * w->x_image;
    float *turned_x = slab + s->slab, *turned_dy = turned_x + s->turned_x;
    if (c->in_place) x += (ptrdiff_t)y0 * w->mul_y * c->row + x0;
    else {
        itp_slab_fill(k, w, c, x, y0, rows, x0, columns, 0, w->inputs, slab);
        x = slab;
    }
    const int reach = (int)(((rows - 1) * w->mul_y + c->span_y) * c->row);
    const ptrdiff_t steps = s->shifted ? reach : rows * columns;
    for (int p = 0; p < s->panels && !s->runs; p++) {
        const int r0 = (int)((int64_t)s->rows * p / s->panels);
        const int m = (int)((int64_t)s->rows * (p + 1) / s->panels) - r0;
        float *out = turned_x + p * steps * k->mr;
        if (s->shifted) /* an image that is read where it lies may end within the last row */
            k->interleave(m, c->in_place ? reach - w->width + columns + c->span_x - 1 : reach,
                          x + r0 * c->plane, c->plane, NULL, out, k->mr);
        else
            for (int r = 0; r < rows; r++)
                k->interleave(m, columns, x + r * w->mul_y * c->row, 0, j->row_at + r0,
                              out + (ptrdiff_t)r * columns * k->mr, k->mr);
    }
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = rows, t.inner = columns;
    t.a_step = s->runs ? 1 : k->mr, t.b_step = k->nr;
    t.a_outer = (s->shifted || s->runs ? w->mul_y * c->row : columns) * t.a_step;
    t.b_outer = (ptrdiff_t)columns * k->nr;
    t.a_rs = 1;
    itp_tile_ahead(&t, k->ahead, k->width);
    t.b = turned_dy;
    t.from_rs = t.to_rs = (ptrdiff_t)taps * k->nr;
    for (int q = p0; q < p1; q++) {
        const int o0 = q * k->nr, planes = itp_min(k->nr, w->outputs - o0);
        const float *dy = j->dy + image * j->dy_image + o0 * w->y_plane + y0 * w->y_row + x0;
        t.columns = planes <= k->width ? k->width : k->nr;
        if (planes < t.columns)
            memset(turned_dy, 0, (size_t)(rows * columns * k->nr) * sizeof *turned_dy);
        if (columns == w->y_row)
            k->interleave(planes, rows * columns, dy, w->y_plane, NULL, turned_dy, k->nr);
        else
            for (int r = 0; r < rows; r++)
                k->interleave(planes, columns, dy + r * w->y_row, w->y_plane, NULL,
                              turned_dy + (ptrdiff_t)r * columns * k->nr, k->nr);
        for (int p = 0; p < s->panels; p++) {
            const int r0 = (int)((int64_t)s->rows * p / s->panels);
            t.rows = (int)((int64_t)s->rows * (p + 1) / s->panels) - r0;
            for (int tap = 0; tap < taps; tap++) {
                if (s->runs)
                    t.a = x + p / w->tap_y.count * c->plane +
                          j->x_at[p % w->tap_y.count * w->tap_x.count];
                else t.a = turned_x + p * steps * k->mr + (s->shifted ? j->x_at[tap] * k->mr : 0);
                t.to = sums + (((ptrdiff_t)q * s->rows + r0) * taps + tap) * k->nr;
                t.from = first ? NULL : t.to;
                k->tile(&t);
            }
        }
    }
}

ITP_FN void itp_sums_task(void *arg, int task, int slot)
{
    const itp_sums_job *j = (const itp_sums_job *)arg;
    const itp_sums *s = j->s;
    const int part = task / s->groups, group = task % s->groups;
    const int first = (int)((int64_t)s->blocks * part / s->parts);
    const int end = (int)((int64_t)s->blocks * (part + 1) / s->parts);
    for (int b = first; b < end; b++)
        itp_sums_block(j, b, (int)((int64_t)s->out_panels * group / s->groups),
                       (int)((int64_t)s->out_panels * (group + 1) / s->groups), b == first,
                       j->sums + (size_t)part * s->part, itp_scratch_slot(&j->scratch, slot));
}

typedef struct itp_turn_job {
    const itp_kernels *kernels;
    const itp_sums *s;
    const float *sums;
    itp_scratch scratch;
    float *dw, beta;
} itp_turn_job;

/* The sums of one panel of output planes, all parts in order, into dw[out][in][taps]. */
ITP_FN void itp_turn_task(void *arg, int panel, int slot)
{
    const itp_turn_job *j = (const itp_turn_job *)arg;
    const itp_sums *s = j->s;
    const itp_kernels *k = j->kernels;
    const int taps = s->w.taps, inputs = s->w.inputs, nr = k->nr;
    const int o0 = panel * nr, planes = itp_min(nr, s->w.outputs - o0);
    const size_t count = (size_t)inputs * (size_t)taps * (size_t)nr;
    float *total = itp_scratch_slot(&j->scratch, slot);
    const float *sums = j->sums + (size_t)panel * count;
    if (s->parts > 1) {
        memcpy(total, sums, count * sizeof *total);
        for (int p = 1; p < s->parts; p++)
            k->scale_add(count, 1, sums + (size_t)p * s->part, 1, total);
        sums = total;
    }
    const int step = inputs * taps;
    float *to = j->dw + (ptrdiff_t)o0 * step;
    if (j->beta == 0) {
        k->interleave(step, planes, sums, nr, NULL, to, step);
        return;
    }
    float *turned = total + (s->parts > 1 ? count : 0);
    k->interleave(step, planes, sums, nr, NULL, turned, step);
    k->scale_add((size_t)(planes * step), 1, turned, j->beta, to);
}

/* ---- math/conv.c: convolution and its two gradients, by whichever way suits the shape ------------ */

/* ---- planes by themselves */

/* The part of a task list that is the same for all plane jobs. */
typedef struct itp_plane_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *x, *w, *bias, *dy;
    const itp_after *after; /* NULL: none */
    float *y, *dx, *dw;
    float beta;
    int bands;    /* of a plane, each a task's: where there are few planes */
    int n, share; /* bands of planes, or windows, and those of a task */
    void (*run)(const struct itp_plane_job *j, int first, int end);
} itp_plane_job;

/* The first of a band's rows of a plane of `rows`, and their number. */
ITP_FN int itp_band(const itp_plane_job *j, int at, int rows, int *count)
{
    const int band = at % j->bands, first = (int)((int64_t)rows * band / j->bands);
    *count = (int)((int64_t)rows * (band + 1) / j->bands) - first;
    return first;
}

/* Bands first..end of the output planes of all images, which lie side by side. */
ITP_FN void itp_planes_forward(const itp_plane_job *j, int first, int end)
{
    const itp_conv *c = j->c;
    const int inputs = c->in_channels / c->groups, taps = itp_conv_taps(c);
    const size_t in = itp_conv_in(c), out = itp_conv_out(c);
    float *made = NULL;
    size_t count = 0;
    for (int at = first; at < end; at++) {
        const int p = at / j->bands, o = p % c->out_channels, image = p / c->out_channels;
        itp_plane g = c->plane;
        const int r0 = itp_band(j, at, c->plane.rows, &g.rows);
        const int i0 = o / (c->out_channels / c->groups) * inputs;
        const float *x = j->x + ((size_t)image * (size_t)c->in_channels + (size_t)i0) * in;
        const float *w = j->w + (size_t)o * (size_t)(inputs * taps);
        g.pad_y -= r0;
        float *y = j->y + (size_t)p * out + (size_t)r0 * (size_t)g.columns;
        for (int i = 0; i < inputs; i++, x += in, w += taps)
            j->kernels->plane_conv(&g, x, w, j->bias && !i ? j->bias[o] : 0, i > 0, y);
        const size_t n = (size_t)g.rows * (size_t)g.columns;
        if (j->after) itp_after_norm(j->kernels, j->after, o, n, y);
        if (at == first) made = y;
        count += n;
    }
    if (j->after) itp_after_act(j->kernels, j->after, count, made);
}

/* Bands first..end of the input planes of all images. */
ITP_FN void itp_planes_data(const itp_plane_job *j, int first, int end)
{
    const itp_conv *c = j->c;
    const int inputs = c->in_channels / c->groups, outputs = c->out_channels / c->groups;
    const int taps = itp_conv_taps(c);
    const size_t in = itp_conv_in(c), out = itp_conv_out(c);
    for (int at = first; at < end; at++) {
        itp_plane g = c->plane;
        const int p = at / j->bands, r0 = itp_band(j, at, c->plane.height, &g.height);
        const int i = p % c->in_channels, image = p / c->in_channels, o0 = i / inputs * outputs;
        const float *dy = j->dy + ((size_t)image * (size_t)c->out_channels + (size_t)o0) * out;
        const float *w = j->w + (size_t)(o0 * inputs + i % inputs) * (size_t)taps;
        g.pad_y += r0;
        float *dx = j->dx + (size_t)p * in + (size_t)r0 * (size_t)g.width;
        for (int o = 0; o < outputs; o++, dy += out, w += inputs * taps)
            itp_grads(j->kernels)->plane_conv_data(&g, dy, w, j->beta != 0 || o > 0, dx);
    }
}

#define ITP_PLANE_IMAGES 16 /* whose gradients are added as floats */

/* One window of weights, of output plane o and one input plane of its group, over all images. */
ITP_FN void itp_plane_window(const itp_plane_job *j, int window)
{
    const itp_conv *c = j->c;
    const int inputs = c->in_channels / c->groups, o = window / inputs;
    const int i = o / (c->out_channels / c->groups) * inputs + window % inputs;
    const int taps = itp_conv_taps(c);
    const size_t in = itp_conv_in(c), out = itp_conv_out(c);
    const size_t x_image = (size_t)c->in_channels * in, dy_image = (size_t)c->out_channels * out;
    const float *x = j->x + (size_t)i * in, *dy = j->dy + (size_t)o * out;
    float *dw = j->dw + (size_t)window * (size_t)taps, some[ITP_PLANE_TAPS];
    double sum[ITP_PLANE_TAPS] = {0};
    for (int b = 0; b < c->batch; b += ITP_PLANE_IMAGES) {
        itp_grads(j->kernels)
            ->plane_conv_weights(&c->plane, itp_min(c->batch - b, ITP_PLANE_IMAGES), true,
                                 x + (size_t)b * x_image, (ptrdiff_t)x_image,
                                 dy + (size_t)b * dy_image, (ptrdiff_t)dy_image, some);
        for (int t = 0; t < taps; t++) sum[t] += (double)some[t];
    }
    for (int t = 0; t < taps; t++) dw[t] = (float)sum[t] + (j->beta == 0 ? 0 : dw[t]);
}

/* Windows of weights. */
ITP_FN void itp_planes_weights(const itp_plane_job *j, int first, int end)
{
    const itp_conv *c = j->c;
    const size_t in = itp_conv_in(c), out = itp_conv_out(c);
    const bool apart = c->groups == c->in_channels && c->groups == c->out_channels;
    if (c->batch > 1 || j->beta != 0 || !apart) {
        for (int window = first; window < end; window++) itp_plane_window(j, window);
        return;
    }
    itp_grads(j->kernels)
        ->plane_conv_weights(&c->plane, end - first, false, j->x + (size_t)first * in,
                             (ptrdiff_t)in, j->dy + (size_t)first * out, (ptrdiff_t)out,
                             j->dw + (size_t)first * (size_t)itp_conv_taps(c));
}

ITP_FN void itp_planes_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const int end = itp_min(j->n, (task + 1) * j->share);
    j->run(j, task * j->share, end);
}

/* Products of a task: small planes go together, as to take the next task waits for what is stored. */
#define ITP_PLANE_WORK 32768
#define ITP_BAND_ROWS  16 /* of a plane that is cut, at least */

/* planes: of `rows` each; rows 0: windows, which are not cut. */
ITP_FN void itp_planes_run(interp_ctx *ctx, itp_plane_job *j, int planes, int rows,
                           void (*run)(const itp_plane_job *j, int first, int end))
{
    const int few = ctx->slots > 1 && itp_conv_common(j->c) ? 4 * ctx->slots : 1;
    j->bands = itp_max(1, itp_min(itp_div_up(few, planes), rows / ITP_BAND_ROWS));
    const int n = planes * j->bands;
    const double work = itp_conv_work(j->c), one = work / n;
    j->n = n, j->run = run;
    j->share = one < ITP_PLANE_WORK ? (int)(ITP_PLANE_WORK / (one > 1 ? one : 1)) : 1;
    j->share = itp_min(j->share, itp_div_up(n, ctx->slots));
    itp_parallel(ctx, itp_div_up(n, j->share), work, itp_planes_task, j);
}

/* Whether the gradient of the weights goes plane by plane: where a pixel has so few products that to turn
   it for tiles would cost more than they do (measured: twice to sixteen times). Against tiles that take x
   as it lies it is the share of lanes and sums that do something: outputs there, columns and rows here. */
ITP_FN bool itp_weights_by_planes(const interp_ctx *ctx, const itp_conv *c)
{
    const itp_plane *g = &c->plane;
    const int inputs = c->in_channels / c->groups, outputs = c->out_channels / c->groups;
    const int width = ctx->k->width;
    if (itp_conv_depthwise(c)) return true;
    if (!itp_conv_common(c) || outputs > (inputs < ITP_FEW_PLANES ? 2 * ITP_FEW_PLANES : 4))
        return false;
    if (inputs >= ITP_FEW_PLANES || !itp_sums_run(ctx, g->taps_x)) return true;
    const int vectors = itp_div_up(outputs, width), stripes = itp_div_up(g->columns, width);
    const int64_t sums = itp_min(vectors * g->taps_x, ITP_BUSY);
    return (int64_t)g->columns * g->rows * vectors * ITP_BUSY >=
           outputs * sums * stripes * (g->rows + g->taps_y - 1);
}

/* The gradient of the weights of windows of one pixel is a product, of each group and image: dy x^T, over
   its pixels; where these have one each, over the images. */
ITP_FN itp_gemm itp_pointwise_product(const itp_conv *c, float beta)
{
    itp_gemm g;
    memset(&g, 0, sizeof g);
    const int pixels = (int)itp_conv_out(c);
    g.m = c->out_channels / c->groups, g.n = c->in_channels / c->groups;
    g.k = pixels == 1 ? c->batch : pixels;
    g.a_rs = g.b_cs = pixels;
    g.a_cs = pixels == 1 ? c->out_channels : 1, g.b_rs = pixels == 1 ? c->in_channels : 1;
    g.c_rs = g.n;
    g.alpha = 1, g.beta = beta;
    return g;
}

ITP_FN void itp_pointwise_weights(interp_ctx *ctx, const itp_conv *c, const float *x,
                                  const float *dy, float beta, float *dw, itp_scratch scratch)
{
    itp_gemm g = itp_pointwise_product(c, beta);
    const ptrdiff_t pixels = (ptrdiff_t)itp_conv_out(c);
    for (int b = 0; b < (pixels == 1 ? 1 : c->batch); b++, g.beta = 1)
        for (int group = 0; group < c->groups; group++) {
            g.a = dy + ((ptrdiff_t)b * c->out_channels + group * g.m) * pixels;
            g.b = x + ((ptrdiff_t)b * c->in_channels + group * g.n) * pixels;
            g.c = dw + (ptrdiff_t)group * g.m * g.n;
            itp_gemm_run(ctx, &g, scratch);
        }
}

ITP_FN itp_plane_job itp_plane_job_new(interp_ctx *ctx, const itp_conv *c, float beta)
{
    itp_plane_job j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k;
    j.c = c;
    j.beta = beta;
    return j;
}

/* ---- what the ops call */

/* One direction of a convolution: the forward pass, or the gradient of x. */
typedef struct itp_conv_way {
    bool backward, pixels;
    int winograd;        /* side of its pieces; 0: windows */
    bool merged;         /* phases along x are outputs side by side: where planes are few */
    bool fresh;          /* weights that are not kept are packed by the task that reads them */
    int inputs, outputs; /* planes of a group */
    int unit;            /* outputs of a panel of packed weights */
    size_t panel;        /* its floats */
} itp_conv_way;

/* The windows of one phase: there are as many as strides, forward one. */
ITP_FN itp_windows itp_conv_way_windows(const interp_ctx *ctx, const itp_conv *c,
                                        const itp_conv_way *v, int oy, int ox)
{
    itp_windows w = v->backward ? itp_windows_backward(c, oy, ox) : itp_windows_forward(ctx, c);
    w.pixels = v->pixels;
    if (v->merged) itp_windows_merge(&w, c);
    return w;
}

ITP_FN int itp_conv_way_rows(const itp_conv *c, const itp_conv_way *v)
{
    return v->backward ? itp_conv_phases_y(c) : 1;
}

ITP_FN int itp_conv_way_columns(const itp_conv *c, const itp_conv_way *v)
{
    return v->backward && !v->merged ? itp_conv_phases_x(c) : 1;
}

/* Where one task does all pixels it packs weights that are not kept itself, while they are in its cache. */
ITP_FN bool itp_conv_way_fresh(const interp_ctx *ctx, const itp_conv *c, const itp_conv_way *v)
{
    const itp_plane *g = &c->plane;
    if (v->winograd) {
        const itp_winograd w = itp_winograd_of(ctx, c, v->backward);
        return itp_winograd_fresh(&w);
    }
    if (!v->pixels || c->batch > 1 || (v->backward && (g->stride_y > 1 || g->stride_x > 1)))
        return false;
    const itp_windows w = itp_conv_way_windows(ctx, c, v, 0, 0);
    const itp_cut cut = itp_cut_of(ctx, &w, ctx->slots);
    return cut.rows == w.rows && cut.columns == w.columns;
}

ITP_FN itp_conv_way itp_conv_way_of(const interp_ctx *ctx, const itp_conv *c, bool backward)
{
    itp_conv_way v;
    const int in = c->in_channels / c->groups, out = c->out_channels / c->groups;
    v.backward = backward;
    v.inputs = backward ? out : in, v.outputs = backward ? in : out;
    v.winograd = itp_winograd_side(c);
    v.pixels = backward ? itp_backward_by_pixels(ctx, c) : itp_windows_forward(ctx, c).pixels;
    v.unit = v.winograd || v.pixels ? ctx->k->nr : ctx->k->mr;
    const itp_plane *g = &c->plane;
    int first, taps = itp_conv_taps(c);
    v.merged = backward && !v.pixels && g->stride_x > 1 && g->dilation_x == 1 &&
               g->width % g->stride_x == 0 && v.outputs * (int64_t)g->stride_x <= ctx->k->mr;
    if (v.merged) taps = g->taps_y * itp_conv_merged_taps(c, &first);
    const size_t points = (size_t)(v.winograd + 2) * (size_t)(v.winograd + 2);
    if (v.winograd) v.panel = points * itp_winograd_step(v.inputs, v.unit);
    else v.panel = itp_mul_size((size_t)v.inputs * (size_t)v.unit, (size_t)taps);
    v.fresh = itp_conv_way_fresh(ctx, c, &v);
    return v;
}

/* Floats of the packed weights of some outputs of a group. */
ITP_FN size_t itp_conv_way_floats(const itp_conv_way *v, int outputs)
{
    return itp_mul_size(v->panel, (size_t)itp_div_up(outputs, v->unit));
}

/* Floats of weights that are packed at a time where they are not kept: they stay in the cache, so that
   memory is read once and not written. */
#define ITP_PACKED_ONCE ((size_t)1 << 21)

/* Outputs whose weights are packed at a time. */
ITP_FN int itp_conv_way_share(const itp_conv_way *v)
{
    const size_t panels = itp_max_size(1, ITP_PACKED_ONCE / itp_max_size(1, v->panel));
    return panels < (size_t)itp_div_up(v->outputs, v->unit) ? (int)panels * v->unit : v->outputs;
}

/* Those of group g. */
ITP_FN itp_raw itp_conv_way_raw(const itp_conv *c, const itp_conv_way *v, int g, const float *w)
{
    itp_raw raw;
    raw.w = w + (ptrdiff_t)g * v->inputs * v->outputs * itp_conv_taps(c);
    raw.taps = itp_conv_taps(c), raw.inputs = v->inputs, raw.outputs = v->outputs;
    raw.turned = v->backward;
    return raw;
}

/* Outputs first..first+count of a group. */
ITP_FN void itp_conv_way_pack(interp_ctx *ctx, const itp_conv *c, const itp_conv_way *v,
                              const itp_raw *raw, int first, int count, float *packed)
{
    if (v->winograd) itp_winograd_pack(ctx, c, raw->w, v->backward, first, count, packed);
    else if (v->merged) itp_pack_merged(c, raw, v->unit, packed);
    else itp_pack_weights(ctx, c, raw, v->pixels, first, count, packed);
}

/* Packed weights of all groups in floats. */
ITP_FN size_t itp_conv_packed_floats(const interp_ctx *ctx, const itp_conv *c, bool backward)
{
    if (itp_conv_by_planes(ctx, c, backward)) return 0;
    const itp_conv_way v = itp_conv_way_of(ctx, c, backward);
    return itp_round_up(itp_mul_size((size_t)c->groups, itp_conv_way_floats(&v, v.outputs)), 16);
}

ITP_FN void itp_conv_pack(interp_ctx *ctx, const itp_conv *c, const float *w, bool backward,
                          float *packed)
{
    if (itp_conv_by_planes(ctx, c, backward)) return; /* reads its weights as they are */
    const itp_conv_way v = itp_conv_way_of(ctx, c, backward);
    for (int g = 0; g < c->groups; g++) {
        const itp_raw raw = itp_conv_way_raw(c, &v, g, w);
        itp_conv_way_pack(ctx, c, &v, &raw, 0, v.outputs,
                          packed + (size_t)g * itp_conv_way_floats(&v, v.outputs));
    }
}

/* Scratch of one slot, and scratch shared by all, in floats; for whichever of the three is asked. */
typedef struct itp_conv_need {
    size_t slot, shared;
} itp_conv_need;

/* Tables of offsets, in the shared scratch. */
ITP_FN size_t itp_conv_offset_floats(size_t offsets)
{
    return itp_round_up(offsets * sizeof(ptrdiff_t) / sizeof(float) + 1, 16);
}

ITP_FN size_t itp_conv_way_slot(const interp_ctx *ctx, const itp_conv *c, const itp_conv_way *v)
{
    size_t most = 0;
    if (v->winograd) {
        const itp_winograd w = itp_winograd_of(ctx, c, v->backward);
        return itp_winograd_slot(&w, v->unit);
    }
    for (int oy = 0; oy < itp_conv_way_rows(c, v); oy++)
        for (int ox = 0; ox < itp_conv_way_columns(c, v); ox++) {
            itp_windows w = itp_conv_way_windows(ctx, c, v, oy, ox);
            most = itp_max_size(most, itp_stack_most(ctx, &w));
            const itp_cut cut = itp_cut_of(ctx, &w, ctx->slots);
            const size_t panel = itp_mul_size((size_t)cut.inputs * (size_t)v->unit,
                                              v->fresh ? (size_t)itp_conv_taps(c) : 0);
            most = itp_max_size(
                most, itp_add_size(cut.slab + cut.gathered, itp_add_size(cut.kept, panel)));
        }
    return most;
}

ITP_FN itp_conv_need itp_conv_scratch(const interp_ctx *ctx, const itp_conv *c, bool forward,
                                      bool data, bool weights)
{
    itp_conv_need need = {0, 0};
    const int taps = itp_conv_taps(c);
    for (int backward = 0; backward < 2; backward++) {
        if (!(backward ? data : forward) || itp_conv_by_planes(ctx, c, backward)) continue;
        const itp_conv_way v = itp_conv_way_of(ctx, c, backward);
        need.slot = itp_max_size(need.slot, itp_conv_way_slot(ctx, c, &v));
        const size_t own = v.fresh ? 0 : itp_conv_way_floats(&v, itp_conv_way_share(&v));
        need.shared =
            itp_max_size(need.shared, itp_conv_offset_floats(itp_windows_offsets_most(c)) + own);
    }
    if (!weights) return need;
    if (itp_conv_pointwise(c) && !itp_weights_by_planes(ctx, c)) {
        const itp_gemm g = itp_pointwise_product(c, 0);
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(ctx, g.m, g.n, g.k));
        return need;
    }
    const itp_winograd_sums points = itp_winograd_sums_of(ctx, c);
    if (points.panels) {
        need.slot = itp_max_size(need.slot, itp_winograd_sums_slot(&points, ctx->k->nr));
        need.shared = itp_max_size(need.shared, points.all);
    } else if (!itp_weights_by_planes(ctx, c)) {
        const itp_sums s = itp_sums_of(ctx, c);
        need.slot = itp_max_size(need.slot, s.slab + s.turned_x + s.turned_dy);
        need.slot = itp_max_size(need.slot, 2 * s.part / (size_t)s.out_panels);
        need.shared =
            itp_max_size(need.shared, itp_conv_offset_floats((size_t)taps + (size_t)s.rows) +
                                          (size_t)s.parts * s.part);
    }
    return need;
}

/* Outputs first..first+count of all groups' g, from weights packed for them. */
ITP_FN void itp_conv_way_run(interp_ctx *ctx, const itp_conv *c, const itp_conv_way *v, int g,
                             int first, int count, const float *x, const float *packed,
                             const itp_raw *raw, const float *bias, const itp_after *after,
                             float beta, float *y, itp_scratch scratch, float *shared)
{
    const int channel = g * v->outputs + first;
    if (v->winograd) {
        itp_winograd_run(ctx, c, v->backward, first, count, x, raw ? raw->w : NULL,
                         raw ? NULL : packed, bias, after, beta, y, scratch);
        return;
    }
    int taps = 0;
    for (int oy = 0; oy < itp_conv_way_rows(c, v); oy++)
        for (int ox = 0; ox < itp_conv_way_columns(c, v); ox++) {
            itp_windows d = itp_conv_way_windows(ctx, c, v, oy, ox);
            if (!d.taps) continue;
            d.panel_first = taps;
            taps += d.taps;
            d.outputs = count * d.merged;
            d.packed = packed, d.raw = raw, d.after = after, d.beta = beta;
            d.x = x + (size_t)(g * v->inputs) * (v->backward ? itp_conv_out(c) : itp_conv_in(c));
            d.y = y + channel * d.y_plane + (ptrdiff_t)oy * c->plane.width + ox;
            d.channel = channel;
            d.bias = bias ? bias + channel : NULL;
            itp_windows_images(ctx, &d, scratch, (ptrdiff_t *)(void *)shared);
        }
}

/* y = after(way(x, w) + bias) + beta y */
ITP_FN void itp_conv_images(interp_ctx *ctx, const itp_conv *c, bool backward, const float *x,
                            const float *w, const float *packed, const float *bias,
                            const itp_after *after, float beta, float *y, itp_scratch scratch,
                            float *shared)
{
    const itp_conv_way v = itp_conv_way_of(ctx, c, backward);
    const size_t whole = itp_conv_way_floats(&v, v.outputs);
    const bool fresh = !packed && v.fresh;
    float *own = shared + itp_conv_offset_floats(itp_windows_offsets_most(c));
    const int share = packed || fresh ? v.outputs : itp_conv_way_share(&v);
    for (int g = 0; g < c->groups; g++)
        for (int first = 0; first < v.outputs; first += share) {
            const int count = itp_min(share, v.outputs - first);
            const itp_raw raw = itp_conv_way_raw(c, &v, g, w);
            if (!packed && !fresh) itp_conv_way_pack(ctx, c, &v, &raw, first, count, own);
            itp_conv_way_run(ctx, c, &v, g, first, count, x,
                             packed ? packed + (size_t)g * whole : own, fresh ? &raw : NULL, bias,
                             after, beta, y, scratch, shared);
        }
}

/* y = after(conv(x, w) + bias). packed: by itp_conv_pack, NULL: done here; shared: see itp_conv_scratch. */
ITP_FN void itp_conv_forward(interp_ctx *ctx, const itp_conv *c, const float *x, const float *w,
                             const float *packed, const float *bias, const itp_after *after,
                             float *y, itp_scratch scratch, float *shared)
{
    if (!itp_conv_by_planes(ctx, c, false)) {
        itp_conv_images(ctx, c, false, x, w, packed, bias, after, 0, y, scratch, shared);
        return;
    }
    itp_plane_job j = itp_plane_job_new(ctx, c, 0);
    j.x = x, j.w = w, j.bias = bias, j.after = after, j.y = y;
    itp_planes_run(ctx, &j, c->batch * c->out_channels, c->plane.rows, itp_planes_forward);
}

/* Pixels of dx that no tap reaches, before the others; returns what is left to do for beta. */
ITP_FN float itp_conv_unreached(const interp_ctx *ctx, const itp_conv *c, float beta, float *dx)
{
    const size_t n = (size_t)c->batch * (size_t)c->in_channels * itp_conv_in(c);
    bool all = true;
    for (int oy = 0; oy < itp_conv_phases_y(c); oy++) all = all && itp_conv_taps_y(c, oy).count;
    for (int ox = 0; ox < itp_conv_phases_x(c); ox++) all = all && itp_conv_taps_x(c, ox).count;
    if (all || beta == 1) return beta;
    if (beta == 0) memset(dx, 0, n * sizeof *dx);
    else ctx->k->scale_add(n, beta, dx, 0, dx);
    return beta == 0 ? 0 : 1;
}

/* dx = gradient (+ beta dx) */
ITP_FN void itp_conv_data(interp_ctx *ctx, const itp_conv *c, const float *dy, const float *w,
                          const float *packed, float beta, float *dx, itp_scratch scratch,
                          float *shared)
{
    if (!itp_conv_by_planes(ctx, c, true)) {
        beta = itp_conv_unreached(ctx, c, beta, dx);
        itp_conv_images(ctx, c, true, dy, w, packed, NULL, NULL, beta, dx, scratch, shared);
        return;
    }
    itp_plane_job j = itp_plane_job_new(ctx, c, beta);
    j.dy = dy, j.w = w, j.dx = dx;
    itp_planes_run(ctx, &j, c->batch * c->in_channels, c->plane.height, itp_planes_data);
}

/* dw = gradient (+ beta dw) */
ITP_FN void itp_conv_weights(interp_ctx *ctx, const itp_conv *c, const float *x, const float *dy,
                             float beta, float *dw, itp_scratch scratch, float *shared)
{
    if (itp_weights_by_planes(ctx, c)) {
        const int windows = c->out_channels * (c->in_channels / c->groups);
        itp_plane_job j = itp_plane_job_new(ctx, c, beta);
        j.x = x, j.dy = dy, j.dw = dw;
        itp_planes_run(ctx, &j, windows, 0, itp_planes_weights);
        return;
    }
    if (itp_conv_pointwise(c)) {
        itp_pointwise_weights(ctx, c, x, dy, beta, dw, scratch);
        return;
    }
    const itp_winograd_sums points = itp_winograd_sums_of(ctx, c);
    if (points.panels) {
        itp_winograd_weights_run(ctx, &points, x, dy, beta, dw, scratch, shared);
        return;
    }
    itp_sums s = itp_sums_of(ctx, c);
    const int taps = s.w.taps;
    ptrdiff_t *x_at = (ptrdiff_t *)(void *)shared;
    ptrdiff_t *row_at = x_at + taps;
    itp_windows_offsets(&s.w, &s.cut, x_at);
    for (int r = 0; r < s.rows && !s.shifted; r++)
        row_at[r] = r / taps * s.cut.plane + x_at[r % taps];
    itp_sums_job j;
    j.kernels = ctx->k, j.s = &s, j.scratch = scratch;
    j.x_at = x_at, j.row_at = row_at;
    j.dy_image = s.w.y_image;
    j.sums = shared + itp_conv_offset_floats((size_t)taps + (size_t)s.rows);
    itp_turn_job turn;
    turn.kernels = ctx->k, turn.s = &s, turn.sums = j.sums, turn.scratch = scratch;
    turn.beta = beta;
    for (int g = 0; g < c->groups; g++) {
        s.w.x = x + (size_t)(g * s.w.inputs) * itp_conv_in(c);
        j.dy = dy + g * s.w.outputs * s.w.y_plane;
        turn.dw = dw + (ptrdiff_t)g * s.w.outputs * s.w.inputs * taps;
        itp_parallel(ctx, s.parts * s.groups, itp_conv_work(c), itp_sums_task, &j);
        itp_parallel(ctx, s.out_panels, (double)s.parts * (double)s.part, itp_turn_task, &turn);
    }
}

/* db[o] = sum of dy over images and pixels (+ beta db) */
typedef struct itp_bias_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *dy;
    float *db, beta;
} itp_bias_job;

ITP_FN void itp_conv_bias_task(void *arg, int o, int slot)
{
    (void)slot;
    const itp_bias_job *j = (const itp_bias_job *)arg;
    const size_t pixels = itp_conv_out(j->c);
    double sum = 0;
    for (int b = 0; b < j->c->batch; b++)
        sum += j->kernels->sum(
            pixels, j->dy + ((size_t)b * (size_t)j->c->out_channels + (size_t)o) * pixels);
    j->db[o] = (float)sum + (j->beta == 0 ? 0 : j->db[o]);
}

ITP_FN void itp_conv_bias(interp_ctx *ctx, const itp_conv *c, const float *dy, float beta,
                          float *db)
{
    itp_bias_job j;
    j.kernels = ctx->k, j.c = c, j.dy = dy, j.db = db, j.beta = beta;
    itp_parallel(ctx, c->out_channels, (double)c->batch * c->out_channels * (double)itp_conv_out(c),
                 itp_conv_bias_task, &j);
}

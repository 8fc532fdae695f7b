/* ---- math/conv.c: convolution and its two gradients, lowered to the matrix product ------------ */

/* Shape of a convolution; weights are [out_channels, in_channels / groups, taps_y, taps_x]. */
typedef struct itp_conv {
    int batch, in_channels, out_channels, groups;
    itp_plane plane; /* input height and width, output rows and columns, window */
} itp_conv;

#define ITP_DEPTHWISE_TAPS 128 /* larger windows take the general path */
#define ITP_SPLIT_PARTS    8   /* most parts the pixel sum of a weight gradient is cut into */

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
    return c->groups == c->in_channels && c->groups > 1 && itp_conv_taps(c) <= ITP_DEPTHWISE_TAPS;
}

ITP_FN bool itp_conv_pointwise(const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    return itp_conv_taps(c) == 1 && p->stride_y == 1 && p->stride_x == 1 && p->pad_y == 0 &&
           p->pad_x == 0 && p->rows == p->height && p->columns == p->width;
}

/* The part of a task list that is the same for all plane jobs. */
typedef struct itp_plane_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *x, *w, *bias, *dy;
    float *y, *dx, *dw;
    float beta;
} itp_plane_job;

ITP_FN void itp_depthwise_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const int o = task % c->out_channels, image = task / c->out_channels;
    const int i = o / (c->out_channels / c->groups);
    const size_t out = itp_conv_out(c);
    float *y = j->y + (size_t)task * out;
    itp_fill(y, out, j->bias ? j->bias[o] : 0);
    j->kernels->plane_conv(
        &c->plane, j->x + ((size_t)image * (size_t)c->in_channels + (size_t)i) * itp_conv_in(c),
        j->w + (size_t)o * (size_t)itp_conv_taps(c), y);
}

ITP_FN void itp_depthwise_data_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const int i = task % c->in_channels, image = task / c->in_channels;
    const int multiplier = c->out_channels / c->groups;
    const size_t in = itp_conv_in(c);
    float *dx = j->dx + (size_t)task * in;
    if (j->beta == 0) memset(dx, 0, in * sizeof *dx);
    for (int o = i * multiplier; o < (i + 1) * multiplier; o++)
        j->kernels->plane_conv_data(&c->plane,
                                    j->dy + ((size_t)image * (size_t)c->out_channels + (size_t)o) *
                                                itp_conv_out(c),
                                    j->w + (size_t)o * (size_t)itp_conv_taps(c), dx);
}

ITP_FN void itp_depthwise_weights_task(void *arg, int o, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const size_t i = (size_t)(o / (c->out_channels / c->groups));
    const int taps = itp_conv_taps(c);
    double sum[ITP_DEPTHWISE_TAPS] = {0};
    for (int b = 0; b < c->batch; b++)
        j->kernels->plane_conv_weights(
            &c->plane, j->x + ((size_t)b * (size_t)c->in_channels + i) * itp_conv_in(c),
            j->dy + ((size_t)b * (size_t)c->out_channels + (size_t)o) * itp_conv_out(c), sum);
    float *dw = j->dw + (size_t)o * (size_t)taps;
    for (int t = 0; t < taps; t++) dw[t] = (float)sum[t] + (j->beta == 0 ? 0 : dw[t]);
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

ITP_FN double itp_conv_work(const itp_conv *c)
{
    return (double)c->batch * c->out_channels * (double)itp_conv_out(c) * itp_conv_taps(c) *
           (c->in_channels / c->groups);
}

/* Patches of x as a convolution reads them. */
ITP_FN itp_patch itp_patch_forward(const itp_conv *c, const float *x)
{
    const itp_plane *g = &c->plane;
    itp_patch p;
    p.x = x;
    p.channel_stride = (ptrdiff_t)itp_conv_in(c);
    p.image_stride = c->in_channels * p.channel_stride;
    p.height = g->height, p.width = g->width, p.rows = g->rows, p.columns = g->columns;
    p.taps_y = g->taps_y, p.taps_x = g->taps_x;
    p.mul_y = g->stride_y, p.mul_x = g->stride_x, p.div_y = p.div_x = 1;
    p.base_y = -g->pad_y, p.base_x = -g->pad_x;
    p.step_y = g->dilation_y, p.step_x = g->dilation_x;
    if (itp_conv_pointwise(c)) { /* one long row instead of many short ones */
        p.width = p.columns = g->height * g->width;
        p.height = p.rows = 1;
    }
    return p;
}

/* Patches of dy as the gradient of the input reads them. */
ITP_FN itp_patch itp_patch_backward(const itp_conv *c, const float *dy)
{
    const itp_plane *g = &c->plane;
    itp_patch p;
    p.x = dy;
    p.channel_stride = (ptrdiff_t)itp_conv_out(c);
    p.image_stride = c->out_channels * p.channel_stride;
    p.height = g->rows, p.width = g->columns, p.rows = g->height, p.columns = g->width;
    p.taps_y = g->taps_y, p.taps_x = g->taps_x;
    p.mul_y = p.mul_x = 1, p.div_y = g->stride_y, p.div_x = g->stride_x;
    p.base_y = g->pad_y, p.base_x = g->pad_x;
    p.step_y = -g->dilation_y, p.step_x = -g->dilation_x;
    if (itp_conv_pointwise(c)) {
        p.width = p.columns = g->height * g->width;
        p.height = p.rows = 1;
    }
    return p;
}

/* How many parts the sum over images of a weight gradient is cut into: many when the matrix of
   weights is too small to be shared among threads. A function of the shape alone. */
ITP_FN int itp_conv_parts(const itp_conv *c)
{
    const double weights =
        (double)(c->out_channels / c->groups) * (c->in_channels / c->groups) * itp_conv_taps(c);
    return weights > 32768 || itp_conv_work(c) < 1e6 ? 1 : itp_min(c->batch, ITP_SPLIT_PARTS);
}

/* Scratch of one slot, and scratch shared by all, in floats; for whichever of the three is asked. */
typedef struct itp_conv_need {
    size_t slot, shared;
} itp_conv_need;

ITP_FN itp_conv_need itp_conv_scratch(const interp_ctx *ctx, const itp_conv *c, bool forward,
                                      bool data, bool weights)
{
    itp_conv_need need = {0, 0};
    if (itp_conv_depthwise(c)) return need;
    const int m = c->out_channels / c->groups, in = c->in_channels / c->groups;
    const int taps = itp_conv_taps(c);
    const int out_pixels = (int)((size_t)c->batch * itp_conv_out(c));
    const int in_pixels = (int)((size_t)c->batch * itp_conv_in(c));
    if (forward) need.slot = itp_gemm_scratch(ctx, m, out_pixels, in * taps);
    if (data) {
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(ctx, in, in_pixels, m * taps));
        need.shared = (size_t)in * (size_t)m * (size_t)taps;
    }
    if (weights) {
        const int parts = itp_conv_parts(c);
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(ctx, m, in * taps, out_pixels));
        if (parts > 1)
            need.shared =
                itp_max_size(need.shared, (size_t)parts * (size_t)m * (size_t)in * (size_t)taps);
    }
    return need;
}

/* y = conv(x, w) + bias */
ITP_FN void itp_conv_forward(interp_ctx *ctx, const itp_conv *c, const float *x, const float *w,
                             const float *bias, float *y, itp_scratch scratch)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, 0);
        j.x = x, j.w = w, j.bias = bias, j.y = y;
        itp_parallel(ctx, c->batch * c->out_channels, itp_conv_work(c), itp_depthwise_task, &j);
        return;
    }
    const int m = c->out_channels / c->groups, in = c->in_channels / c->groups;
    const ptrdiff_t pixels = (ptrdiff_t)itp_conv_out(c);
    for (int group = 0; group < c->groups; group++) {
        const itp_patch patch = itp_patch_forward(c, x + (size_t)(group * in) * itp_conv_in(c));
        itp_gemm g;
        memset(&g, 0, sizeof g);
        g.m = m, g.n = c->batch * (int)pixels, g.k = in * itp_conv_taps(c);
        g.alpha = 1;
        g.a = w + (size_t)group * (size_t)m * (size_t)g.k, g.a_rs = g.k, g.a_cs = 1;
        g.patch = &patch;
        g.c = y + (ptrdiff_t)(group * m) * pixels, g.c_rs = pixels;
        g.c_segment = (int)pixels, g.c_segment_stride = c->out_channels * pixels;
        g.bias_row = bias ? bias + group * m : NULL;
        itp_gemm_run(ctx, &g, scratch);
    }
}

/* dx = gradient (+ beta dx); shared: see itp_conv_scratch. */
ITP_FN void itp_conv_data(interp_ctx *ctx, const itp_conv *c, const float *dy, const float *w,
                          float beta, float *dx, itp_scratch scratch, float *shared)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, beta);
        j.dy = dy, j.w = w, j.dx = dx;
        itp_parallel(ctx, c->batch * c->in_channels, itp_conv_work(c), itp_depthwise_data_task, &j);
        return;
    }
    const int out = c->out_channels / c->groups, m = c->in_channels / c->groups;
    const int taps = itp_conv_taps(c);
    const ptrdiff_t pixels = (ptrdiff_t)itp_conv_in(c);
    for (int group = 0; group < c->groups; group++) {
        const float *from = w + (size_t)group * (size_t)out * (size_t)m * (size_t)taps;
        for (int o = 0; o < out; o++) /* [out][in][taps] to [in][out][taps] */
            for (int i = 0; i < m; i++)
                memcpy(shared + ((size_t)i * (size_t)out + (size_t)o) * (size_t)taps,
                       from + ((size_t)o * (size_t)m + (size_t)i) * (size_t)taps,
                       (size_t)taps * sizeof *shared);
        const itp_patch patch = itp_patch_backward(c, dy + (size_t)(group * out) * itp_conv_out(c));
        itp_gemm g;
        memset(&g, 0, sizeof g);
        g.m = m, g.n = c->batch * (int)pixels, g.k = out * taps;
        g.alpha = 1, g.beta = beta;
        g.a = shared, g.a_rs = g.k, g.a_cs = 1;
        g.patch = &patch;
        g.c = dx + (ptrdiff_t)(group * m) * pixels, g.c_rs = pixels;
        g.c_segment = (int)pixels, g.c_segment_stride = c->in_channels * pixels;
        itp_gemm_run(ctx, &g, scratch);
    }
}

/* One part of the images of a weight gradient that is summed in parts. */
typedef struct itp_part_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const itp_gemm *g;
    const itp_patch *patch;
    itp_scratch scratch;
    int parts;
    float *sums;
} itp_part_job;

ITP_FN void itp_part_task(void *arg, int task, int slot)
{
    const itp_part_job *j = (const itp_part_job *)arg;
    const int first = (int)((int64_t)j->c->batch * task / j->parts);
    const int end = (int)((int64_t)j->c->batch * (task + 1) / j->parts);
    itp_patch patch = *j->patch;
    itp_gemm g = *j->g;
    patch.x += first * patch.image_stride;
    g.patch = &patch;
    g.a += first * g.a_segment_stride;
    g.k = (end - first) * g.a_segment;
    g.beta = 0;
    g.c = j->sums + (size_t)task * (size_t)g.m * (size_t)g.n;
    g.c_rs = g.n;
    j->kernels->gemm_block(&g, 0, g.m, 0, g.n, itp_scratch_slot(&j->scratch, slot));
}

/* dw = gradient (+ beta dw) */
ITP_FN void itp_conv_weights(interp_ctx *ctx, const itp_conv *c, const float *x, const float *dy,
                             float beta, float *dw, itp_scratch scratch, float *shared)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, beta);
        j.x = x, j.dy = dy, j.dw = dw;
        itp_parallel(ctx, c->out_channels, itp_conv_work(c), itp_depthwise_weights_task, &j);
        return;
    }
    const int m = c->out_channels / c->groups, in = c->in_channels / c->groups;
    const ptrdiff_t pixels = (ptrdiff_t)itp_conv_out(c);
    const int parts = itp_conv_parts(c);
    for (int group = 0; group < c->groups; group++) {
        const itp_patch patch = itp_patch_forward(c, x + (size_t)(group * in) * itp_conv_in(c));
        itp_gemm g;
        memset(&g, 0, sizeof g);
        g.m = m, g.n = in * itp_conv_taps(c), g.k = c->batch * (int)pixels;
        g.alpha = 1, g.beta = beta;
        g.a = dy + (ptrdiff_t)(group * m) * pixels, g.a_rs = pixels, g.a_cs = 1;
        g.a_segment = (int)pixels, g.a_segment_stride = c->out_channels * pixels;
        g.patch = &patch, g.patch_transposed = true;
        g.c = dw + (size_t)group * (size_t)m * (size_t)g.n, g.c_rs = g.n;
        if (parts == 1) {
            itp_gemm_run(ctx, &g, scratch);
            continue;
        }
        itp_part_job job;
        job.kernels = ctx->k, job.c = c, job.g = &g, job.patch = &patch;
        job.scratch = scratch, job.parts = parts, job.sums = shared;
        itp_parallel(ctx, parts, itp_conv_work(c), itp_part_task, &job);
        const size_t count = (size_t)m * (size_t)g.n;
        for (int p = 0; p < parts; p++)
            ctx->k->scale_add(count, 1, shared + (size_t)p * count, p ? 1 : beta, g.c);
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

/* ---- attr/baseline.c: inputs that stand for nothing --------------------------------------------- */

/* How many planes [H,W] a sample is, of all channels and views; 1 for what is no image. */
ITP_FN size_t itp_planes(const interp_shape *sample)
{
    size_t n = 1;
    for (int i = 0; i < sample->rank - 2 && sample->rank > 2; i++) n *= (size_t)sample->dim[i];
    return n;
}

typedef struct itp_blur_job {
    const itp_kernels *kernels;
    const float *x, *weights;
    float *half, *out; /* half: [planes, height, width] between both axes */
    int height, width, radius;
} itp_blur_job;

/* One plane, edges repeated: rows are added to rows, and then each row on its own is a sum of itself
   shifted. weights[0..radius] */
ITP_FN void itp_blur_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_blur_job *j = (const itp_blur_job *)arg;
    const int h = j->height, w = j->width;
    const size_t row = (size_t)w, at = (size_t)task * (size_t)h * row;
    const float *x = j->x + at;
    float *half = j->half + at, *out = j->out + at;
    memset(half, 0, (size_t)h * row * sizeof *half);
    memset(out, 0, (size_t)h * row * sizeof *out);
    for (int y = 0; y < h; y++)
        for (int t = -j->radius; t <= j->radius; t++)
            j->kernels->scale_add(row, j->weights[t < 0 ? -t : t],
                                  x + (size_t)itp_min(itp_max(y + t, 0), h - 1) * row, 1,
                                  half + (size_t)y * row);
    for (int y = 0; y < h; y++) {
        const float *from = half + (size_t)y * row;
        float *to = out + (size_t)y * row;
        for (int t = -j->radius; t <= j->radius; t++) {
            const float weight = j->weights[t < 0 ? -t : t];
            const int low = itp_min(w, itp_max(0, -t)), high = itp_max(0, itp_min(w, w - t));
            for (int i = 0; i < low; i++) to[i] += weight * from[0];
            if (high > low)
                j->kernels->scale_add((size_t)(high - low), weight, from + low + t, 1, to + low);
            for (int i = itp_max(low, high); i < w; i++) to[i] += weight * from[w - 1];
        }
    }
}

ITP_FN int itp_blur_radius(int height, int width, double sd)
{
    return itp_max(1, itp_min(itp_max(height, width), (int)fmin(1e6, 3 * sd)));
}

/* Numbers that a blur takes besides. */
ITP_FN size_t itp_blur_floats(size_t planes, int height, int width, double sd)
{
    const size_t all = itp_mul_size(planes, itp_mul_size((size_t)height, (size_t)width));
    return itp_add_size(all, (size_t)itp_blur_radius(height, width, sd) + 1);
}

/* Planes under a Gaussian of standard deviation sd, cut off at three of them. */
ITP_FN void itp_blur(interp_ctx *ctx, const float *x, size_t planes, int height, int width,
                     double sd, float *scratch, float *out)
{
    const int radius = itp_blur_radius(height, width, sd);
    const size_t all = planes * (size_t)height * (size_t)width;
    float *weights = scratch + all;
    double sum = 0;
    itp_blur_job j;
    for (int t = 0; t <= radius; t++) {
        weights[t] = (float)exp(-0.5 * t * t / (sd * sd));
        sum += (double)weights[t] * (t ? 2 : 1);
    }
    for (int t = 0; t <= radius; t++) weights[t] = (float)((double)weights[t] / sum);
    j.kernels = ctx->k;
    j.x = x, j.out = out, j.half = scratch, j.weights = weights;
    j.height = height, j.width = width, j.radius = radius;
    itp_parallel(ctx, (int)planes, (double)all * 4 * radius, itp_blur_task, &j);
}

/* Each image under a Gaussian of an eighth of its height. */
ITP_FN interp_status itp_baseline_blur(interp_ctx *ctx, const float *x, size_t planes, int height,
                                       int width, float *out)
{
    const double sd = fmax(1, height / 8.0);
    float *scratch = (float *)interp_alloc(
        ctx, itp_mul_size(itp_blur_floats(planes, height, width, sd), sizeof *scratch));
    if (!scratch) return INTERP_NO_MEMORY;
    itp_blur(ctx, x, planes, height, width, sd, scratch, out);
    interp_free(ctx, scratch);
    return INTERP_OK;
}

INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out)
{
    const size_t size = interp_shape_size(sample), all = (size_t)n * size;
    const size_t channels = itp_planes(sample);
    const size_t area = size / itp_max_size(1, channels);
    float low = all ? x[0] : 0, high = low;
    for (size_t i = 0; i < all; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    switch (kind) {
    case INTERP_BASELINE_ZERO: itp_fill(out, all, 0); return INTERP_OK;
    case INTERP_BASELINE_MIN: itp_fill(out, all, low); return INTERP_OK;
    case INTERP_BASELINE_MAX: itp_fill(out, all, high); return INTERP_OK;
    case INTERP_BASELINE_MEAN:
        for (size_t p = 0; p < all; p += area)
            itp_fill(out + p, area, (float)(ctx->k->sum(area, x + p) / (double)area));
        return INTERP_OK;
    case INTERP_BASELINE_NOISE:
        for (size_t i = 0; i < all; i++)
            out[i] = low + (high - low) * interp_random_uniform(seed, 0x3100000u, i);
        return INTERP_OK;
    case INTERP_BASELINE_BLUR:
        if (sample->rank < 3)
            return itp_fail(ctx, INTERP_BAD_SHAPE, "a blurred baseline needs images [..,C,H,W]");
        return itp_baseline_blur(ctx, x, (size_t)n * channels, sample->dim[sample->rank - 2],
                                 sample->dim[sample->rank - 1], out);
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "baseline %d is not known", (int)kind);
}

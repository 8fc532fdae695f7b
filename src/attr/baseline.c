/* ---- attr/baseline.c: inputs that stand for nothing --------------------------------------------- */

/* Gaussian blur of one plane along one axis, edges repeated; weights[0..radius]. */
ITP_FN void itp_blur_axis(const float *from, float *to, int height, int width, bool rows,
                          const float *weights, int radius)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double sum = 0;
            for (int t = -radius; t <= radius; t++) {
                const int sy = rows ? y : itp_min(itp_max(y + t, 0), height - 1);
                const int sx = rows ? itp_min(itp_max(x + t, 0), width - 1) : x;
                sum += (double)weights[t < 0 ? -t : t] *
                       (double)from[(size_t)sy * (size_t)width + (size_t)sx];
            }
            to[(size_t)y * (size_t)width + (size_t)x] = (float)sum;
        }
}

/* Planes under a Gaussian of standard deviation sd, cut off at three of them. */
ITP_FN interp_status itp_blur(interp_ctx *ctx, const float *x, size_t planes, int height, int width,
                              double sd, float *out)
{
    const int radius = itp_max(1, itp_min(itp_max(height, width), (int)(3 * sd)));
    const size_t area = (size_t)height * (size_t)width;
    double sum = 0;
    float *half = (float *)interp_alloc(
        ctx, itp_mul_size(itp_add_size(area, (size_t)radius + 1), sizeof *half));
    if (!half) return INTERP_NO_MEMORY;
    float *weights = half + area;
    for (int t = 0; t <= radius; t++) {
        weights[t] = (float)exp(-0.5 * t * t / (sd * sd));
        sum += (double)weights[t] * (t ? 2 : 1);
    }
    for (int t = 0; t <= radius; t++) weights[t] = (float)((double)weights[t] / sum);
    for (size_t p = 0; p < planes; p++) {
        itp_blur_axis(x + p * area, half, height, width, true, weights, radius);
        itp_blur_axis(half, out + p * area, height, width, false, weights, radius);
    }
    interp_free(ctx, half);
    return INTERP_OK;
}

INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out)
{
    const size_t size = interp_shape_size(sample), all = (size_t)n * size;
    const size_t channels = sample->rank == 3 ? (size_t)sample->dim[0] : 1;
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
        if (sample->rank != 3)
            return itp_fail(ctx, INTERP_BAD_SHAPE, "a blurred baseline needs images [C,H,W]");
        return itp_blur(ctx, x, (size_t)n * channels, sample->dim[1], sample->dim[2],
                        fmax(1, sample->dim[1] / 8.0), out);
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "baseline %d is not known", (int)kind);
}

/* ---- net/loss.c: losses and their gradients ------------------------------------------------------ */
#if !defined(INTERP_NO_TRAIN)

/* Target of output j of sample i. */
ITP_FN double itp_loss_target(const int32_t *y, const float *soft, float smoothing, int i, int j,
                              int k)
{
    if (soft) return (double)soft[(size_t)i * (size_t)k + (size_t)j];
    const double hot = y[i] == j ? 1 : 0;
    return smoothing > 0 ? hot * (1 - (double)smoothing) + (double)smoothing / k : hot;
}

/* Loss of one sample; g: NULL or its gradient. */
ITP_FN double itp_loss_sample(const itp_kernels *kernels, interp_loss loss, const float *x, int i,
                              int k, const int32_t *y, const float *soft, float smoothing, float *g)
{
    double sum = 0;
    if (loss == INTERP_CROSS_ENTROPY) { /* sum_j t_j (log sum exp(x) - x_j) */
        double total = 0, norm = 0;
        const float top = kernels->max((size_t)k, x);
        float part[256];
        for (int at = 0; at < k; at += 256)
            norm += kernels->exp_sum((size_t)itp_min(256, k - at), x + at, top, g ? g + at : part);
        const double lse = (double)top + log(norm);
        if (!soft && !(smoothing > 0)) { /* the most common case: one target */
            const double of_norm = 1 / norm, right = g ? (double)g[y[i]] : 0;
            for (int j = 0; g && j < k; j++) g[j] = (float)((double)g[j] * of_norm);
            if (g) g[y[i]] = (float)(right * of_norm - 1); /* not rounded before */
            return lse - (double)x[y[i]];
        }
        for (int j = 0; j < k; j++) {
            const double t = itp_loss_target(y, soft, smoothing, i, j, k);
            total += t;
            if (t != 0) sum += t * (lse - (double)x[j]);
        }
        for (int j = 0; g && j < k; j++)
            g[j] =
                (float)(total * (double)g[j] / norm - itp_loss_target(y, soft, smoothing, i, j, k));
        return sum;
    }
    for (int j = 0; j < k; j++) {
        const double t = itp_loss_target(y, soft, smoothing, i, j, k), v = (double)x[j];
        if (loss == INTERP_MSE) {
            sum += (v - t) * (v - t) / k;
            if (g) g[j] = (float)(2 * (v - t) / k);
        } else { /* max(v,0) - v t + log(1 + exp(-|v|)) */
            const double e = exp(-fabs(v));
            sum += ((v > 0 ? v : 0) - v * t + log1p(e)) / k;
            if (g) g[j] = (float)(((v >= 0 ? 1 / (1 + e) : e / (1 + e)) - t) / k);
        }
    }
    return sum;
}

INTERP_API double interp_loss_grad(interp_ctx *ctx, interp_loss loss, const float *logits, int n,
                                   int k, const int32_t *y, const float *soft, float smoothing,
                                   float *grad, double *per_sample)
{
    double total = 0;
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * (size_t)k;
        const double one = itp_loss_sample(ctx->k, loss, logits + at, i, k, y, soft, smoothing,
                                           grad ? grad + at : NULL);
        if (per_sample) per_sample[i] = one;
        total += one;
    }
    if (grad) ctx->k->scale_add((size_t)n * (size_t)k, 1 / (float)n, grad, 0, grad);
    return total / n;
}
#endif

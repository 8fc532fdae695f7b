/* ---- dynamics/pairs.c: pairs of points as a map of boxes ---------------------------------------- */

struct interp_pairs {
    interp_ctx *ctx;
    interp_pairs_desc desc;
    int n, d;
    double *x, *y;   /* [n,d], sorted by bin */
    uint32_t *first; /* [bins + 1] */
    int bins[INTERP_MAP_DIMS];
    double low[INTERP_MAP_DIMS], width[INTERP_MAP_DIMS]; /* of the first bin */
};

ITP_INLINE int itp_pairs_bin(const interp_pairs *p, int axis, double x)
{
    const double b = floor((x - p->low[axis]) / p->width[axis]);
    return b > 0 ? (b < p->bins[axis] - 1 ? (int)b : p->bins[axis] - 1) : 0;
}

ITP_FN uint32_t itp_pairs_place(const interp_pairs *p, const double *x)
{
    uint32_t at = 0;
    for (int j = 0; j < p->d; j++)
        at = at * (uint32_t)p->bins[j] + (uint32_t)itp_pairs_bin(p, j, x[j]);
    return at;
}

/* About eight points of a bin. */
ITP_FN void itp_pairs_bins(interp_pairs *p, const double *x)
{
    const int each = itp_max(1, (int)(pow(p->n / 8.0, 1.0 / p->d) + 0.5));
    for (int j = 0; j < p->d; j++) {
        double low = x[j], high = x[j];
        for (int i = 1; i < p->n; i++) {
            const double v = x[(size_t)i * (size_t)p->d + (size_t)j];
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
        p->bins[j] = each;
        p->low[j] = low;
        p->width[j] = high > low ? (high - low) / each : 1;
    }
}

INTERP_API interp_status interp_pairs_new(interp_ctx *ctx, const double *x, const double *y, int n,
                                          int d, const interp_pairs_desc *desc, interp_pairs **out)
{
    if (!x || !y || n < 1 || d < 1 || d > INTERP_MAP_DIMS)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "pairs: %d pairs of %d numbers; give 1 to %d", n,
                        d, INTERP_MAP_DIMS);
    const size_t size = (size_t)n * (size_t)d;
    for (size_t i = 0; i < size; i++)
        if (!(fabs(x[i]) <= 1e300) || !(fabs(y[i]) <= 1e300))
            return itp_fail(ctx, INTERP_NOT_FINITE, "pairs: number %zu of pair %zu is not finite",
                            i % (size_t)d, i / (size_t)d);
    interp_pairs *p = (interp_pairs *)itp_calloc(ctx, 1, sizeof *p);
    if (!p) return INTERP_NO_MEMORY;
    uint32_t bins = 1;
    p->ctx = ctx, p->n = n, p->d = d;
    if (desc) p->desc = *desc;
    itp_pairs_bins(p, x);
    for (int j = 0; j < d; j++) bins *= (uint32_t)p->bins[j];
    p->x = (double *)interp_alloc(ctx, size * sizeof *x);
    p->y = (double *)interp_alloc(ctx, size * sizeof *y);
    p->first = (uint32_t *)itp_calloc(ctx, (size_t)bins + 2, sizeof *p->first);
    if (!p->x || !p->y || !p->first) {
        interp_pairs_free(p);
        return INTERP_NO_MEMORY;
    }
    for (int i = 0; i < n; i++) p->first[itp_pairs_place(p, x + (size_t)i * (size_t)d) + 2]++;
    for (uint32_t b = 0; b < bins; b++) p->first[b + 2] += p->first[b + 1];
    for (size_t i = 0; i < (size_t)n; i++) {
        const size_t to = p->first[itp_pairs_place(p, x + i * (size_t)d) + 1]++;
        memcpy(p->x + to * (size_t)d, x + i * (size_t)d, (size_t)d * sizeof *x);
        memcpy(p->y + to * (size_t)d, y + i * (size_t)d, (size_t)d * sizeof *y);
    }
    *out = p;
    return INTERP_OK;
}

INTERP_API void interp_pairs_free(interp_pairs *p)
{
    if (!p) return;
    interp_ctx *ctx = p->ctx;
    interp_free(ctx, p->x);
    interp_free(ctx, p->y);
    interp_free(ctx, p->first);
    interp_free(ctx, p);
}

/* What the images of the points in a closed box span; returns how many there are. */
ITP_FN uint32_t itp_pairs_span(const interp_pairs *p, const double *lower, const double *upper,
                               double *from, double *to)
{
    int low[INTERP_MAP_DIMS], high[INTERP_MAP_DIMS], at[INTERP_MAP_DIMS];
    const size_t d = (size_t)p->d;
    uint32_t found = 0;
    for (int j = 0; j < p->d; j++) {
        low[j] = at[j] = itp_pairs_bin(p, j, lower[j]);
        high[j] = itp_pairs_bin(p, j, upper[j]);
    }
    for (;;) {
        uint32_t bin = 0;
        for (int j = 0; j < p->d; j++) bin = bin * (uint32_t)p->bins[j] + (uint32_t)at[j];
        const uint32_t last = p->first[bin + (uint32_t)(high[d - 1] - at[d - 1]) + 1];
        for (size_t i = p->first[bin]; i < last; i++) { /* a row of bins */
            bool in = true;
            for (size_t j = 0; j < d; j++)
                in &= p->x[i * d + j] >= lower[j] && p->x[i * d + j] <= upper[j];
            for (size_t j = 0; in && j < d; j++) {
                const double y = p->y[i * d + j];
                if (!found || y < from[j]) from[j] = y;
                if (!found || y > to[j]) to[j] = y;
            }
            found += in;
        }
        int j = p->d - 2;
        while (j >= 0 && at[j] == high[j]) at[j] = low[j], j--;
        if (j < 0) return found;
        at[j]++;
    }
}

INTERP_API interp_status interp_pairs_map(const double *boxes, double *images, size_t n, void *user)
{
    const interp_pairs *p = (const interp_pairs *)user;
    const int d = p->d;
    for (size_t i = 0; i < n; i++) {
        const double *lower = boxes + i * 2 * (size_t)d, *upper = lower + d;
        double *from = images + i * 2 * (size_t)d, *to = from + d;
        double a[INTERP_MAP_DIMS], b[INTERP_MAP_DIMS];
        uint32_t found = 0;
        const bool strict = p->desc.empty != INTERP_PAIRS_GROW;
        if (strict || p->desc.no_neighbours) found = itp_pairs_span(p, lower, upper, from, to);
        if (!found && strict) {
            if (p->desc.empty == INTERP_PAIRS_FAIL)
                return itp_fail(p->ctx, INTERP_BAD_ARGUMENT,
                                "pairs: no point lies in the box at %g, %g wide on the first axis",
                                lower[0], upper[0] - lower[0]);
            for (int j = 0; j < d; j++) from[j] = to[j] = (double)INFINITY;
            continue;
        }
        if (!p->desc.no_neighbours) {
            for (int j = 0; j < d; j++) {
                a[j] = lower[j] - (upper[j] - lower[j]);
                b[j] = upper[j] + (upper[j] - lower[j]);
            }
            found = itp_pairs_span(p, a, b, from, to);
        }
        for (int j = 0; j < d; j++) a[j] = lower[j], b[j] = upper[j];
        while (!found) {
            for (int j = 0; j < d; j++) {
                const double half = (b[j] - a[j]) / 2;
                a[j] -= half;
                b[j] += half;
            }
            found = itp_pairs_span(p, a, b, from, to);
        }
    }
    return INTERP_OK;
}

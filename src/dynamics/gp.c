/* ---- dynamics/gp.c: Gaussian processes as maps ------------------------------------------------- */

struct interp_gp {
    interp_ctx *ctx;
    interp_gp_desc desc;
    int n, d, m;
    double length, noise;
    double *x, *y;        /* [n,d], [n,m] */
    double *square;       /* [n,n]: squared distances, lower triangle */
    double *factor;       /* [n,n]: Cholesky's L of K + noise, lower triangle */
    double *inverse;      /* [n,n]: of K + noise, lower triangle */
    double *weights;      /* [n,m] */
    double *row;          /* [n]: kernel of a new point */
    double *mean, *scale; /* [m]: of the outputs */
    int evaluations;
};

/* The kernel and its slope by the logarithm of the length, for a squared distance over length^2. */
ITP_INLINE double itp_gp_kernel(interp_gp_kernel kernel, double square, double *slope)
{
    if (kernel == INTERP_GP_RBF) {
        const double k = exp(-square / 2);
        *slope = k * square;
        return k;
    }
    const double r = sqrt(5 * square), e = exp(-r);
    *slope = square * 5 / 3 * (1 + r) * e;
    return (1 + r + square * 5 / 3) * e;
}

/* L of a = L L', both lower triangles [n,n]; false when a is not positive. */
ITP_FN bool itp_cholesky(int n, double *a)
{
    for (int i = 0; i < n; i++) {
        double *row = a + (size_t)i * (size_t)n;
        for (int j = 0; j <= i; j++) {
            const double *other = a + (size_t)j * (size_t)n;
            double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            int k = 0;
            for (; k + 4 <= j; k += 4) {
                s0 += row[k] * other[k], s1 += row[k + 1] * other[k + 1];
                s2 += row[k + 2] * other[k + 2], s3 += row[k + 3] * other[k + 3];
            }
            for (; k < j; k++) s0 += row[k] * other[k];
            const double rest = row[j] - ((s0 + s1) + (s2 + s3));
            if (j < i) row[j] = rest / other[j];
            else if (!(rest > 0)) return false;
            else row[i] = sqrt(rest);
        }
    }
    return true;
}

/* Lower triangle of (L L')^-1. */
ITP_FN void itp_cholesky_inverse(int n, const double *l, double *inverse)
{
#define ITP_AT(a, i, j) (a)[(size_t)(i) * (size_t)n + (size_t)(j)]
    for (int j = 0; j < n; j++) { /* columns of L^-1, kept as rows of the upper triangle's mirror */
        ITP_AT(inverse, j, j) = 1 / ITP_AT(l, j, j);
        for (int i = j + 1; i < n; i++) {
            double sum = 0;
            for (int k = j; k < i; k++) sum += ITP_AT(l, i, k) * ITP_AT(inverse, k, j);
            ITP_AT(inverse, i, j) = -sum / ITP_AT(l, i, i);
        }
    }
    for (int j = 0; j < n; j++) /* times its transpose, a column at a time from the left */
        for (int i = j; i < n; i++) {
            double sum = 0;
            for (int k = i; k < n; k++) sum += ITP_AT(inverse, k, i) * ITP_AT(inverse, k, j);
            ITP_AT(inverse, i, j) = sum;
        }
}

/* K + noise at a length, factored, and the weights; false when it is not positive. */
ITP_FN bool itp_gp_factor(interp_gp *gp, double length, double noise)
{
    const int n = gp->n, m = gp->m;
    const double *l = gp->factor;
    double slope;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++)
            ITP_AT(gp->factor, i, j) = itp_gp_kernel(
                gp->desc.kernel, ITP_AT(gp->square, i, j) / (length * length), &slope);
        ITP_AT(gp->factor, i, i) = 1 + noise + gp->desc.jitter;
    }
    if (!itp_cholesky(n, gp->factor)) return false;
    memcpy(gp->weights, gp->y, (size_t)n * (size_t)m * sizeof *gp->y);
    for (int o = 0; o < m; o++) {
        double *w = gp->weights + o;
        for (int i = 0; i < n; i++) {
            double sum = w[(size_t)i * (size_t)m];
            for (int k = 0; k < i; k++) sum -= ITP_AT(l, i, k) * w[(size_t)k * (size_t)m];
            w[(size_t)i * (size_t)m] = sum / ITP_AT(l, i, i);
        }
        for (int i = n - 1; i >= 0; i--) {
            double sum = w[(size_t)i * (size_t)m];
            for (int k = i + 1; k < n; k++) sum -= ITP_AT(l, k, i) * w[(size_t)k * (size_t)m];
            w[(size_t)i * (size_t)m] = sum / ITP_AT(l, i, i);
        }
    }
    return true;
}

/* Half the trace of (a a' - m K^-1) dK, by the logarithms of length and noise. */
ITP_FN void itp_gp_slope(interp_gp *gp, double length, double noise, double *slope)
{
    const int n = gp->n, m = gp->m;
    itp_cholesky_inverse(n, gp->factor, gp->inverse);
    slope[0] = slope[1] = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double both = -m * ITP_AT(gp->inverse, i, j), by = 0;
            for (int o = 0; o < m; o++)
                both += gp->weights[(size_t)i * (size_t)m + (size_t)o] *
                        gp->weights[(size_t)j * (size_t)m + (size_t)o];
            if (i == j) {
                slope[1] += both * noise / 2;
                continue;
            }
            itp_gp_kernel(gp->desc.kernel, ITP_AT(gp->square, i, j) / (length * length), &by);
            slope[0] += both * by; /* both halves of the symmetric sum */
        }
}

INTERP_API double interp_gp_likelihood(interp_gp *gp, double length, double noise, double *slope)
{
    const int n = gp->n, m = gp->m;
    double sum = 0;
    gp->evaluations++;
    if (slope) slope[0] = slope[1] = 0;
    if (!(length > 0) || !(noise >= 0) || !itp_gp_factor(gp, length, noise))
        return -(double)INFINITY;
    for (int i = 0; i < n; i++) {
        for (int o = 0; o < m; o++)
            sum -= gp->y[(size_t)i * (size_t)m + (size_t)o] *
                   gp->weights[(size_t)i * (size_t)m + (size_t)o] / 2;
        sum -= m * (log(ITP_AT(gp->factor, i, i)) + 0.91893853320467274); /* log(2 pi) / 2 */
    }
    if (slope) itp_gp_slope(gp, length, noise, slope);
    return sum;
#undef ITP_AT
}

/* ---- the search: Broyden, Fletcher, Goldfarb and Shanno's in two logarithms, on a box: those at a bound
   that the slope holds there stay, steps are cut to the bounds (as L-BFGS-B of Byrd et al. 1995) */

typedef struct itp_search {
    interp_gp *gp;
    double low[2], high[2], at[2], slope[2], value; /* of -likelihood */
    double inverse[2][2];                           /* of its second derivatives */
} itp_search;

ITP_FN double itp_search_value(itp_search *s, const double *at, double *slope)
{
    const double v = -interp_gp_likelihood(s->gp, exp(at[0]), exp(at[1]), slope);
    slope[0] = -slope[0], slope[1] = -slope[1];
    return v;
}

/* Which may move, and how steep it is there. */
ITP_FN double itp_search_free(const itp_search *s, bool *may)
{
    double steep = 0;
    for (int i = 0; i < 2; i++) {
        may[i] = !(s->at[i] <= s->low[i] && s->slope[i] > 0) &&
                 !(s->at[i] >= s->high[i] && s->slope[i] < 0);
        if (may[i] && fabs(s->slope[i]) > steep) steep = fabs(s->slope[i]);
    }
    return steep;
}

ITP_FN void itp_search_learn(itp_search *s, const double *step, const double *change)
{
    const double sy = step[0] * change[0] + step[1] * change[1];
    double hy[2], yhy;
    if (!(sy > 1e-14)) return;
    for (int i = 0; i < 2; i++) hy[i] = s->inverse[i][0] * change[0] + s->inverse[i][1] * change[1];
    yhy = change[0] * hy[0] + change[1] * hy[1];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            s->inverse[i][j] +=
                (1 + yhy / sy) * step[i] * step[j] / sy - (hy[i] * step[j] + step[i] * hy[j]) / sy;
}

/* One step downhill; false when none is found. */
ITP_FN bool itp_search_step(itp_search *s, const bool *may)
{
    double way[2], step[2], to[2], slope[2];
    for (int i = 0; i < 2; i++) {
        way[i] = 0;
        if (may[i] && may[1 - i])
            way[i] = -s->inverse[i][0] * s->slope[0] - s->inverse[i][1] * s->slope[1];
        else if (may[i]) way[i] = -s->inverse[i][i] * s->slope[i];
    }
    for (double length = 1; length > 1e-12; length /= 2) {
        double fall = 0, change[2];
        for (int i = 0; i < 2; i++) {
            to[i] = s->at[i] + length * way[i];
            to[i] = to[i] < s->low[i] ? s->low[i] : to[i] > s->high[i] ? s->high[i] : to[i];
            step[i] = to[i] - s->at[i];
            fall += step[i] * s->slope[i];
        }
        const double value = itp_search_value(s, to, slope);
        if (!(value <= s->value + 1e-4 * fall) || !(fall < 0)) continue;
        for (int i = 0; i < 2; i++) change[i] = slope[i] - s->slope[i];
        itp_search_learn(s, step, change);
        memcpy(s->at, to, sizeof to);
        memcpy(s->slope, slope, sizeof slope);
        s->value = value;
        return true;
    }
    return false;
}

ITP_FN void itp_search_reset(itp_search *s, double steep)
{
    s->inverse[0][0] = s->inverse[1][1] = steep > 1 ? 1 / steep : 1;
    s->inverse[0][1] = s->inverse[1][0] = 0;
}

ITP_FN interp_status itp_gp_search(interp_gp *gp)
{
    const interp_gp_desc *o = &gp->desc;
    itp_search s;
    bool may[2], fresh = true;
    s.gp = gp;
    s.low[0] = log(o->length_min), s.high[0] = log(o->length_max);
    s.low[1] = log(o->noise_min), s.high[1] = log(o->noise_max);
    s.at[0] = log(o->length), s.at[1] = log(o->noise);
    for (int i = 0; i < 2; i++)
        s.at[i] = s.at[i] < s.low[i] ? s.low[i] : s.at[i] > s.high[i] ? s.high[i] : s.at[i];
    s.value = itp_search_value(&s, s.at, s.slope);
    itp_search_reset(&s, itp_search_free(&s, may));
    for (int round = 0; round < 200; round++) {
        const double steep = itp_search_free(&s, may);
        if (!(steep > 1e-7 * (1 + fabs(s.value)))) break;
        ITP_TRY(itp_progress(gp->ctx, "gaussian process", round, 0, -s.value));
        if (itp_search_step(&s, may)) {
            fresh = false;
            continue;
        }
        if (fresh) break;
        itp_search_reset(&s, steep);
        fresh = true;
    }
    for (int i = 0; i < 2; i++) /* bounds exactly, not through logarithms */
        s.at[i] = s.at[i] == s.high[i]  ? (i ? o->noise_max : o->length_max)
                  : s.at[i] == s.low[i] ? (i ? o->noise_min : o->length_min)
                                        : exp(s.at[i]);
    gp->length = s.at[0], gp->noise = s.at[1];
    return INTERP_OK;
}

/* ---- public */

/* Mean and spread of each output, taken off and out when they are to be normalised. */
ITP_FN void itp_gp_outputs(interp_gp *gp)
{
    const size_t n = (size_t)gp->n, m = (size_t)gp->m;
    for (size_t o = 0; o < m; o++) {
        double mean = 0, square = 0;
        gp->mean[o] = 0, gp->scale[o] = 1;
        if (!gp->desc.normalize) continue;
        for (size_t i = 0; i < n; i++) mean += gp->y[i * m + o] / (double)n;
        for (size_t i = 0; i < n; i++)
            square += (gp->y[i * m + o] - mean) * (gp->y[i * m + o] - mean) / (double)n;
        gp->mean[o] = mean, gp->scale[o] = square > 0 ? sqrt(square) : 1;
        for (size_t i = 0; i < n; i++) gp->y[i * m + o] = (gp->y[i * m + o] - mean) / gp->scale[o];
    }
}

ITP_FN interp_status itp_gp_check(interp_ctx *ctx, const double *x, const double *y, int n, int d,
                                  int m, interp_gp_desc *o)
{
    if (!x || !y || n < 1 || d < 1 || m < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "gp: %d pairs of %d and %d numbers", n, d, m);
    for (size_t i = 0; i < (size_t)n * (size_t)itp_max(d, m); i++)
        if ((i < (size_t)n * (size_t)d && !(fabs(x[i]) <= 1e150)) ||
            (i < (size_t)n * (size_t)m && !(fabs(y[i]) <= 1e150)))
            return itp_fail(ctx, INTERP_NOT_FINITE, "gp: a number of the pairs is not finite");
    if (o->length == 0) o->length = 0.5;
    if (o->noise == 0 && !o->fixed) o->noise = 1;
    if (o->length_min == 0) o->length_min = 0.01;
    if (o->length_max == 0) o->length_max = 2;
    if (o->noise_min == 0) o->noise_min = 1e-5;
    if (o->noise_max == 0) o->noise_max = 1e5;
    if (o->jitter == 0) o->jitter = 1e-10;
    if (!(o->length > 0) || !(o->noise >= 0) || !(o->length_min > 0) || !(o->noise_min > 0) ||
        !(o->length_max >= o->length_min) || !(o->noise_max >= o->noise_min) || !(o->jitter >= 0))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "gp: length %g in %g..%g and noise %g in %g..%g must be positive and rise",
                        o->length, o->length_min, o->length_max, o->noise, o->noise_min,
                        o->noise_max);
    return INTERP_OK;
}

/* Squared distances; returns the largest distance. */
ITP_FN double itp_gp_distances(interp_gp *gp)
{
    double most = 0;
    for (int i = 0; i < gp->n; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int k = 0; k < gp->d; k++) {
                const double off = gp->x[(size_t)i * (size_t)gp->d + (size_t)k] -
                                   gp->x[(size_t)j * (size_t)gp->d + (size_t)k];
                sum += off * off;
            }
            gp->square[(size_t)i * (size_t)gp->n + (size_t)j] = sum;
            if (sum > most) most = sum;
        }
    return sqrt(most);
}

INTERP_API interp_status interp_gp_new(interp_ctx *ctx, const double *x, const double *y, int n,
                                       int d, int m, const interp_gp_desc *desc, interp_gp **out,
                                       interp_gp_info *info)
{
    interp_gp_desc o;
    memset(&o, 0, sizeof o);
    if (desc) o = *desc;
    const bool far = o.length_max < 0;
    if (far) o.length_max = 1e300;
    ITP_TRY(itp_gp_check(ctx, x, y, n, d, m, &o));
    const size_t points = (size_t)n, square = itp_mul_size(points, points * sizeof(double));
    interp_gp *gp = (interp_gp *)itp_calloc(ctx, 1, sizeof *gp);
    if (!gp) return INTERP_NO_MEMORY;
    gp->ctx = ctx, gp->desc = o, gp->n = n, gp->d = d, gp->m = m;
    gp->x = (double *)interp_alloc(ctx, points * (size_t)d * sizeof *gp->x);
    gp->y = (double *)interp_alloc(ctx, points * (size_t)m * sizeof *gp->y);
    gp->square = (double *)interp_alloc(ctx, square);
    gp->factor = (double *)interp_alloc(ctx, square);
    gp->inverse = (double *)interp_alloc(ctx, square);
    gp->weights = (double *)interp_alloc(ctx, points * (size_t)m * sizeof *gp->y);
    gp->row = (double *)interp_alloc(ctx, points * sizeof *gp->row);
    gp->mean = (double *)interp_alloc(ctx, 2 * (size_t)m * sizeof *gp->mean);
    interp_status status = gp->x && gp->y && gp->square && gp->factor && gp->inverse &&
                                   gp->weights && gp->row && gp->mean
                               ? INTERP_OK
                               : INTERP_NO_MEMORY;
    if (!status) {
        memcpy(gp->x, x, points * (size_t)d * sizeof *x);
        memcpy(gp->y, y, points * (size_t)m * sizeof *y);
        gp->scale = gp->mean + m;
        itp_gp_outputs(gp);
        const double widest = itp_gp_distances(gp);
        if (far) gp->desc.length_max = widest > o.length_min ? widest : o.length_min;
        gp->length = o.length, gp->noise = o.noise;
        if (!o.fixed) status = itp_gp_search(gp);
    }
    const double lml = status ? 0 : interp_gp_likelihood(gp, gp->length, gp->noise, NULL);
    if (!status && !(lml > -DBL_MAX))
        status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                          "gp: the matrix of %d points is not positive at length %g and noise %g; "
                          "give more noise",
                          n, gp->length, gp->noise);
    if (status) {
        interp_gp_free(gp);
        return status;
    }
    itp_cholesky_inverse(n, gp->factor, gp->inverse);
    if (info) {
        info->length = gp->length, info->noise = gp->noise, info->lml = lml;
        info->evaluations = gp->evaluations;
    }
    *out = gp;
    return INTERP_OK;
}

INTERP_API void interp_gp_free(interp_gp *gp)
{
    if (!gp) return;
    interp_ctx *ctx = gp->ctx;
    interp_free(ctx, gp->x);
    interp_free(ctx, gp->y);
    interp_free(ctx, gp->square);
    interp_free(ctx, gp->factor);
    interp_free(ctx, gp->inverse);
    interp_free(ctx, gp->weights);
    interp_free(ctx, gp->row);
    interp_free(ctx, gp->mean);
    interp_free(ctx, gp);
}

INTERP_API const double *interp_gp_weights(const interp_gp *gp)
{
    return gp->weights;
}

ITP_INLINE double itp_gp_between(const interp_gp *gp, const double *x, size_t k)
{
    const size_t d = (size_t)gp->d;
    double sum = 0, slope;
    for (size_t j = 0; j < d; j++) {
        const double off = x[j] - gp->x[k * d + j];
        sum += off * off;
    }
    return itp_gp_kernel(gp->desc.kernel, sum / (gp->length * gp->length), &slope);
}

INTERP_API interp_status interp_gp_mean(const double *x, double *y, size_t n, void *user)
{
    const interp_gp *gp = (const interp_gp *)user;
    const size_t d = (size_t)gp->d, m = (size_t)gp->m;
    for (size_t i = 0; i < n; i++) {
        for (size_t o = 0; o < m; o++) y[i * m + o] = 0;
        for (size_t k = 0; k < (size_t)gp->n; k++) {
            const double v = itp_gp_between(gp, x + i * d, k);
            for (size_t o = 0; o < m; o++) y[i * m + o] += v * gp->weights[k * m + o];
        }
        for (size_t o = 0; o < m; o++) y[i * m + o] = y[i * m + o] * gp->scale[o] + gp->mean[o];
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_gp_deviation(const double *x, double *y, size_t n, void *user)
{
    interp_gp *gp = (interp_gp *)user;
    const size_t d = (size_t)gp->d, m = (size_t)gp->m, points = (size_t)gp->n;
    for (size_t i = 0; i < n; i++) {
        double variance = 1;
        for (size_t k = 0; k < points; k++) gp->row[k] = itp_gp_between(gp, x + i * d, k);
        for (size_t k = 0; k < points; k++) {
            const double *row = gp->inverse + k * points;
            double sum = row[k] * gp->row[k] / 2;
            for (size_t j = 0; j < k; j++) sum += row[j] * gp->row[j];
            variance -= 2 * sum * gp->row[k];
        }
        for (size_t o = 0; o < m; o++)
            y[i * m + o] = variance > 0 ? sqrt(variance) * gp->scale[o] : 0;
    }
    return INTERP_OK;
}

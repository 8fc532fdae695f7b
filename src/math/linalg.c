/* ---- math/linalg.c: symmetric eigenvectors, principal components ------------------------------ */

/* Householder reduction of the symmetric a[n,n] (row-major) to tridiagonal form: d the diagonal, e
   the part below it (e[0] unused). On return a holds the orthogonal matrix, columns its vectors. */
ITP_FN void itp_tridiagonal(int n, double *a, double *d, double *e)
{
#define ITP_A(i, j) a[(size_t)(i) * (size_t)n + (size_t)(j)]
    for (int i = n - 1; i > 0; i--) {
        double scale = 0, h = 0;
        for (int k = 0; k < i; k++) scale += fabs(ITP_A(i, k));
        if (i == 1 || scale == 0) {
            e[i] = ITP_A(i, i - 1);
            d[i] = 0;
            continue;
        }
        for (int k = 0; k < i; k++) {
            ITP_A(i, k) /= scale;
            h += ITP_A(i, k) * ITP_A(i, k);
        }
        const double f = ITP_A(i, i - 1), g = f > 0 ? -sqrt(h) : sqrt(h);
        e[i] = scale * g;
        h -= f * g;
        ITP_A(i, i - 1) = f - g;
        double sum = 0;
        for (int j = 0; j < i; j++) { /* e = A u / h, and u is kept in column i */
            ITP_A(j, i) = ITP_A(i, j) / h;
            double t = 0;
            for (int k = 0; k <= j; k++) t += ITP_A(j, k) * ITP_A(i, k);
            for (int k = j + 1; k < i; k++) t += ITP_A(k, j) * ITP_A(i, k);
            e[j] = t / h;
            sum += e[j] * ITP_A(i, j);
        }
        const double half = sum / (h + h);
        for (int j = 0; j < i; j++) {
            const double u = ITP_A(i, j);
            e[j] -= half * u;
            for (int k = 0; k <= j; k++) ITP_A(j, k) -= u * e[k] + e[j] * ITP_A(i, k);
        }
        d[i] = h;
    }
    d[0] = e[0] = 0;
    for (int i = 0; i < n; i++) { /* gather the reflections */
        if (d[i] != 0)
            for (int j = 0; j < i; j++) {
                double g = 0;
                for (int k = 0; k < i; k++) g += ITP_A(i, k) * ITP_A(k, j);
                for (int k = 0; k < i; k++) ITP_A(k, j) -= g * ITP_A(k, i);
            }
        d[i] = ITP_A(i, i);
        ITP_A(i, i) = 1;
        for (int j = 0; j < i; j++) ITP_A(j, i) = ITP_A(i, j) = 0;
    }
}

/* Implicit QL on the tridiagonal form; eigenvalues in d, vectors in the columns of a. */
ITP_FN bool itp_tridiagonal_ql(int n, double *a, double *d, double *e)
{
    for (int i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    for (int l = 0; l < n; l++) {
        for (int round = 0;; round++) {
            int m = l;
            for (; m < n - 1; m++) {
                const double size = fabs(d[m]) + fabs(d[m + 1]);
                if (fabs(e[m]) <= DBL_EPSILON * size) break;
            }
            if (m == l) break;
            if (round == 60) return false;
            double g = (d[l + 1] - d[l]) / (2 * e[l]);
            double r = sqrt(g * g + 1);
            g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
            double s = 1, c = 1, p = 0;
            int i = m - 1;
            for (; i >= l; i--) {
                const double f = s * e[i], b = c * e[i];
                r = sqrt(f * f + g * g);
                e[i + 1] = r;
                if (r == 0) {
                    d[i + 1] -= p;
                    e[m] = 0;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                const double t = (d[i] - g) * s + 2 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                for (int k = 0; k < n; k++) {
                    const double v = ITP_A(k, i + 1);
                    ITP_A(k, i + 1) = s * ITP_A(k, i) + c * v;
                    ITP_A(k, i) = c * ITP_A(k, i) - s * v;
                }
            }
            if (r == 0 && i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    return true;
#undef ITP_A
}

/* The scratch of a principal component analysis. */
typedef struct itp_pca {
    double *covariance, *values, *off, *mean;
    int *order;
    float *centred;
} itp_pca;

ITP_FN void itp_pca_layout(itp_arena *arena, itp_pca *p, int n, int d)
{
    const size_t s = (size_t)d;
    p->covariance = (double *)itp_arena_alloc(arena, s * s * sizeof(double));
    p->values = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->off = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->mean = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->order = (int *)itp_arena_alloc(arena, s * sizeof(int));
    p->centred = itp_arena_floats(arena, itp_mul_size((size_t)n, s) + s * s);
}

/* Covariance of the centred rows, in blocks of rows so that sums over many rows stay exact. */
ITP_FN interp_status itp_pca_covariance(interp_ctx *ctx, itp_pca *p, int n, int d)
{
    float *block = p->centred + (size_t)n * (size_t)d;
    memset(p->covariance, 0, (size_t)d * (size_t)d * sizeof(double));
    for (int at = 0; at < n; at += 1024) {
        const int rows = itp_min(1024, n - at);
        const float *x = p->centred + (size_t)at * (size_t)d;
        ITP_TRY(interp_sgemm(ctx, true, false, d, d, rows, 1, x, d, x, d, 0, block, d));
        for (size_t i = 0; i < (size_t)d * (size_t)d; i++) p->covariance[i] += (double)block[i];
    }
    for (size_t i = 0; i < (size_t)d * (size_t)d; i++) p->covariance[i] /= n - 1;
    return INTERP_OK;
}

ITP_FN void itp_pca_scores(const itp_pca *p, int n, int d, int k, bool whiten, float *scores,
                           float *components, float *explained)
{
    double total = 0;
    for (int i = 0; i < d; i++) total += p->values[i] > 0 ? p->values[i] : 0;
    for (int c = 0; c < k; c++) {
        const int column = p->order[c];
        const double value = p->values[column] > 0 ? p->values[column] : 0;
        double largest = 0;
        for (int i = 0; i < d; i++) {
            const double v = p->covariance[(size_t)i * (size_t)d + (size_t)column];
            if (fabs(v) > fabs(largest)) largest = v;
        }
        const double sign = largest < 0 ? -1 : 1;
        const double scale = whiten ? (value > 0 ? sign / sqrt(value) : 0) : sign;
        for (int r = 0; r < n; r++) {
            double s = 0;
            for (int i = 0; i < d; i++)
                s += (double)p->centred[(size_t)r * (size_t)d + (size_t)i] *
                     p->covariance[(size_t)i * (size_t)d + (size_t)column];
            scores[(size_t)r * (size_t)k + (size_t)c] = (float)(scale * s);
        }
        for (int i = 0; i < d && components; i++)
            components[(size_t)c * (size_t)d + (size_t)i] =
                (float)(sign * p->covariance[(size_t)i * (size_t)d + (size_t)column]);
        if (explained) explained[c] = (float)(total > 0 ? value / total : 0);
    }
}

INTERP_API interp_status interp_pca(interp_ctx *ctx, const float *x, int n, int d,
                                    const interp_pca_desc *desc, float *scores, float *components,
                                    float *explained)
{
    const int k = desc && desc->n_components ? desc->n_components : 2;
    if (n < 2 || d < 1 || k < 1 || k > d)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "pca: %d components of %d samples with %d columns cannot be found", k, n,
                        d);
    if (!itp_is_finite(x, (size_t)n * (size_t)d))
        return itp_fail(ctx, INTERP_NOT_FINITE, "pca: the samples hold NaN or infinite numbers");
    itp_pca p;
    itp_arena arena = {NULL, 0};
    itp_pca_layout(&arena, &p, n, d);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_pca_layout(&arena, &p, n, d);
    for (int i = 0; i < d; i++) {
        double s = 0;
        for (int r = 0; r < n; r++) s += (double)x[(size_t)r * (size_t)d + (size_t)i];
        p.mean[i] = s / n;
    }
    for (int r = 0; r < n; r++)
        for (int i = 0; i < d; i++) {
            const size_t at = (size_t)r * (size_t)d + (size_t)i;
            p.centred[at] = (float)((double)x[at] - p.mean[i]);
        }
    interp_status status = itp_pca_covariance(ctx, &p, n, d);
    if (!status) {
        itp_tridiagonal(d, p.covariance, p.values, p.off);
        if (!itp_tridiagonal_ql(d, p.covariance, p.values, p.off))
            status = itp_fail(ctx, INTERP_NOT_FINITE, "pca: the eigenvalues did not converge");
    }
    if (!status) {
        for (int i = 0; i < d; i++) p.order[i] = i;
        for (int i = 1; i < d; i++) { /* by falling eigenvalue */
            const int t = p.order[i];
            int j = i;
            for (; j > 0 && p.values[p.order[j - 1]] < p.values[t]; j--)
                p.order[j] = p.order[j - 1];
            p.order[j] = t;
        }
        itp_pca_scores(&p, n, d, k, desc && desc->whiten, scores, components, explained);
    }
    interp_free(ctx, block);
    return status;
}

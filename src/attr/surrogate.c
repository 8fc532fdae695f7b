/* ---- attr/surrogate.c: linear models fitted to the outputs of coalitions --------------------------- */

#define ITP_KERNEL_ENDS 1e6  /* weight of the coalitions of none and of all, as in captum */
#define ITP_KERNEL_ALL  1e9  /* the same where all coalitions are taken */
#define ITP_KERNEL_TINY 1e-5 /* first diagonal of the factor: settles what the rows leave open */
#define ITP_LASSO_CLOSE 1e-12
enum { ITP_LASSO_ROUNDS = 100000 };

ITP_FN double itp_kernel_weight(const itp_attr *a)
{
    const int m = a->p.count;
    int k = 0;
    double ways = 1;
    for (int i = 0; i < m; i++) k += a->p.on[i];
    if (k == 0 || k == m) return a->p.all ? ITP_KERNEL_ALL : ITP_KERNEL_ENDS;
    if (!a->p.all) return 1;
    for (int i = 1; i <= k; i++) ways = ways * (m - k + i) / i;
    return m * (m - 1.0) / (ways * k * (m - k)); /* Shapley kernel, 1 for single features */
}

/* Adds a row to a triangular factor of [z, 1 | f] by Givens rotations. */
ITP_FN void itp_kernel_row(itp_attr *a, double f)
{
    const size_t n = (size_t)a->p.count + 1, wide = n + 1;
    double *v = a->p.row;
    const double root = sqrt(itp_kernel_weight(a));
    for (size_t i = 0; i + 1 < n; i++) v[i] = root * a->p.on[i];
    v[n - 1] = root, v[n] = root * f;
    for (size_t i = 0; i < n; i++) {
        double *r = a->p.matrix + i * wide;
        if (v[i] == 0) continue;
        const double length = sqrt(r[i] * r[i] + v[i] * v[i]), c = r[i] / length, s = v[i] / length;
        for (size_t j = i; j <= n; j++) {
            const double t = c * r[j] + s * v[j];
            v[j] = c * v[j] - s * r[j];
            r[j] = t;
        }
    }
}

/* The weighted sums of lime: z z' and z f with weights exp(-D^2 / 2 w^2), D: 1 - cos(x, copy). */
ITP_FN void itp_lime_row(itp_attr *a, int sample, const float *in, double f)
{
    const float *x = a->x + (size_t)sample * a->size;
    const size_t m = (size_t)a->p.count;
    const double width = a->d.kernel_width > 0 ? (double)a->d.kernel_width : 1;
    double xx = 0, xy = 0, yy = 0;
    for (size_t k = 0; k < a->size; k++) {
        const double u = (double)x[k], v = (double)in[k];
        xx += u * u, xy += u * v, yy += v * v;
    }
    const double far = 1 - (xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0);
    const double w = exp(-far * far / (2 * width * width));
    double *zf = a->p.row;
    a->p.weights += w, a->p.weighted += w * f;
    for (size_t i = 0; i < m; i++) {
        if (!a->p.on[i]) continue;
        zf[i] += w * f;
        for (size_t j = 0; j < m; j++)
            if (a->p.on[j]) a->p.matrix[i * m + j] += w;
    }
}

ITP_FN void itp_surrogate_start(itp_attr *a)
{
    const size_t n = (size_t)a->p.count + 1;
    memset(a->p.matrix, 0, n * (n + 1) * sizeof *a->p.matrix);
    memset(a->p.row, 0, 2 * n * sizeof *a->p.row);
    a->p.weights = a->p.weighted = 0;
    for (size_t i = 0; i < n && a->row->kind == ITP_P_KERNEL; i++)
        a->p.matrix[i * (n + 2)] = ITP_KERNEL_TINY;
}

/* f: the output of copy `index` less that of the baseline; in: the copy. */
ITP_FN void itp_surrogate_take(itp_attr *a, int sample, int index, const float *in, double f)
{
    itp_coalition(a, sample, index);
    if (a->row->kind == ITP_P_KERNEL) itp_kernel_row(a, f);
    else itp_lime_row(a, sample, in, f);
}

ITP_FN void itp_kernel_solve(itp_attr *a)
{
    const size_t n = (size_t)a->p.count + 1, wide = n + 1;
    double *v = a->p.row;
    for (size_t i = n; i-- > 0;) {
        const double *r = a->p.matrix + i * wide;
        v[i] = r[n];
        for (size_t j = i + 1; j < n; j++) v[i] -= r[j] * v[j];
        v[i] /= r[i];
    }
    memcpy(a->sum, v, (n - 1) * sizeof *v);
}

/* Minimum over b of sum w (f - z b)^2 / (2 sum w) + penalty |b|_1, z and f less their weighted means,
   by coordinate descent. */
ITP_FN void itp_lasso_solve(itp_attr *a)
{
    const size_t m = (size_t)a->p.count;
    const double all = a->p.weights, penalty = a->d.penalty > 0 ? (double)a->d.penalty : 0.01;
    double *c = a->p.matrix, *zf = a->p.row, *mean = a->p.row + m, *b = a->sum;
    for (size_t i = 0; i < m; i++) mean[i] = c[i * m + i] / all; /* z z = z */
    for (size_t i = 0; i < m; i++) {
        zf[i] = zf[i] / all - mean[i] * (a->p.weighted / all);
        for (size_t j = 0; j < m; j++) c[i * m + j] = c[i * m + j] / all - mean[i] * mean[j];
    }
    for (int round = 0; round < ITP_LASSO_ROUNDS; round++) {
        double moved = 0, largest = 0;
        for (size_t i = 0; i < m; i++) {
            double pull = zf[i];
            for (size_t j = 0; j < m; j++)
                if (j != i) pull -= c[i * m + j] * b[j];
            const double size = fmax(0, fabs(pull) - penalty);
            const double now =
                c[i * m + i] > ITP_LASSO_CLOSE ? (pull < 0 ? -size : size) / c[i * m + i] : 0;
            moved = fmax(moved, fabs(now - b[i]));
            largest = fmax(largest, fabs(now));
            b[i] = now;
        }
        if (moved <= 1e-10 * largest) break;
    }
}

ITP_FN interp_status itp_surrogate_solve(itp_attr *a)
{
    if (a->row->kind == ITP_P_LIME && !(a->p.weights > 0))
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "lime: no copy is near enough to have any weight: set a larger kernel_width");
    if (a->row->kind == ITP_P_KERNEL) itp_kernel_solve(a);
    else itp_lasso_solve(a);
    return INTERP_OK;
}

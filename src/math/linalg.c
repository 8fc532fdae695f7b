/* ---- math/linalg.c: symmetric eigenvectors, orthonormal bases, equations -------------------- */

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

/* Makes the columns of x[n,q] orthonormal, and orthogonal to `against` (NULL: nothing), each
   against those before it, twice: once loses digits where they are nearly parallel. Columns that
   depend on others become 0. dot: [q+1] of scratch. */
ITP_FN void itp_orthonormal(float *x, int n, int q, const float *against, double *dot)
{
    double whole = 0;
    for (int i = 0; against && i < n; i++) whole += (double)against[i] * (double)against[i];
    for (int c = 0; c < q; c++) {
        double size = 0, start = 0;
        for (int twice = 0; twice < 2; twice++) {
            for (int o = 0; o <= q; o++) dot[o] = 0;
            for (int i = 0; i < n; i++) {
                const float *row = x + (size_t)i * (size_t)q;
                const double v = (double)row[c];
                for (int o = 0; o < c; o++) dot[o] += (double)row[o] * v;
                if (against) dot[q] += (double)against[i] * v;
                if (!twice) start += v * v;
            }
            if (whole > 0) dot[q] /= whole;
            size = 0;
            for (int i = 0; i < n; i++) {
                float *row = x + (size_t)i * (size_t)q;
                double v = (double)row[c] - (against ? dot[q] * (double)against[i] : 0);
                for (int o = 0; o < c; o++) v -= dot[o] * (double)row[o];
                row[c] = (float)v;
                size += v * v;
            }
        }
        const float scale = (float)(size > 1e-12 * start && size > 0 ? 1 / sqrt(size) : 0);
        for (int i = 0; i < n; i++) x[(size_t)i * (size_t)q + (size_t)c] *= scale;
    }
}

/* Solves a x = b for the symmetric positive definite a[n,n], rows `wide` apart, of which the lower
   half is read and becomes its Cholesky factor; b[n,k] becomes x. Where a is not positive definite
   but for rounding, x is large. */
ITP_FN void itp_cholesky_solve(double *a, int n, size_t wide, double *b, int k)
{
    const size_t rows = (size_t)n, cols = (size_t)k;
    for (size_t i = 0; i < rows; i++) {
        double *row = a + i * wide;
        for (size_t j = 0; j <= i; j++) {
            const double *other = a + j * wide;
            double s[4] = {row[j], 0, 0, 0};
            size_t m = 0;
            for (; m + 4 <= j; m += 4)
                for (size_t q = 0; q < 4; q++) s[q] -= row[m + q] * other[m + q];
            for (; m < j; m++) s[0] -= row[m] * other[m];
            const double sum = (s[0] + s[1]) + (s[2] + s[3]);
            row[j] = i == j ? sqrt(sum > 1e-300 ? sum : 1e-300) : sum / other[j];
        }
    }
    for (size_t i = 0; i < rows; i++) /* L y = b */
        for (size_t c = 0; c < cols; c++) {
            for (size_t m = 0; m < i; m++) b[i * cols + c] -= a[i * wide + m] * b[m * cols + c];
            b[i * cols + c] /= a[i * wide + i];
        }
    for (size_t i = rows; i-- > 0;) /* L' x = y */
        for (size_t c = 0; c < cols; c++) {
            b[i * cols + c] /= a[i * wide + i];
            for (size_t m = 0; m < i; m++) b[m * cols + c] -= a[i * wide + m] * b[i * cols + c];
        }
}

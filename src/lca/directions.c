/* ---- lca/directions.c: the directions in which a loss is most curved ------------------------------ */

ITP_FN double itp_lca_dot(const float *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* x without its part along each of n unit rows; twice, so that rounding leaves none of it. */
ITP_FN void itp_lca_reject(const float *rows, int n, double *x, size_t size)
{
    for (int round = 0; round < 2; round++)
        for (int k = 0; k < n; k++) {
            const float *row = rows + (size_t)k * size;
            const double along = itp_lca_dot(row, x, size);
            for (size_t i = 0; i < size; i++) x[i] -= along * (double)row[i];
        }
}

/* out = x over its norm, which is returned. */
ITP_FN double itp_lca_unit(const double *x, float *out, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) square += x[i] * x[i];
    const double norm = sqrt(square);
    for (size_t i = 0; i < n; i++) out[i] = (float)(x[i] / norm);
    return norm;
}

/* Hessian at p times the unit vector v, as the difference of gradients at both sides: in fine of the
   training set. */
ITP_FN interp_status itp_lca_hessian(interp_lca *l, const float *p, double reach, const float *v)
{
    static const double at[2] = {0, 1};
    const double weight[2] = {-0.5 / reach, 0.5 / reach};
    itp_lca_losses losses = {0, NULL, NULL};
    float *end = l->net->flat;
    for (size_t i = 0; i < l->net->n_flat; i++) {
        l->start[i] = (float)((double)p[i] - reach * (double)v[i]);
        end[i] = (float)((double)p[i] + reach * (double)v[i]);
    }
    return itp_lca_points(l, l->set, 2, at, weight, &losses);
}

/* Lanczos' vectors q [most + 1, parameters] and the tridiagonal matrix a [most, most] of the Hessian
   among them, both orthogonal to the basis; n: how many it took. */
ITP_FN interp_status itp_lca_lanczos(interp_lca *l, const float *p, const float *basis, int n_basis,
                                     int most, float *q, double *a, int *n)
{
    const size_t size = l->net->n_flat;
    double *w = l->set[0].fine, square = 0, largest = 0;
    for (size_t i = 0; i < size; i++) square += (double)p[i] * (double)p[i];
    const double reach = 1e-3 * sqrt(square > 0 ? square : 1);
    /* another beginning beside every basis: beside what one has found it would be flat there */
    for (size_t i = 0; i < size; i++)
        w[i] = (double)interp_random_normal(l->d.seed, ITP_LCA_STREAM - 1,
                                            (uint64_t)n_basis * size + i);
    itp_lca_reject(basis, n_basis, w, size);
    itp_lca_unit(w, q, size);
    for (*n = 0; *n < most;) {
        const int j = *n;
        ITP_TRY(itp_lca_hessian(l, p, reach, q + (size_t)j * size));
        w = l->set[0].fine;
        itp_lca_reject(basis, n_basis, w, size);
        a[j * most + j] = itp_lca_dot(q + (size_t)j * size, w, size);
        itp_lca_reject(q, j + 1, w, size);
        ++*n;
        const double off = itp_lca_unit(w, q + (size_t)*n * size, size);
        largest = fmax(largest, fmax(off, fabs(a[j * most + j])));
        if (!(off > 1e-5 * largest)) break; /* all there is, to the precision of gradients */
        if (*n < most) a[j * most + *n] = a[*n * most + j] = off;
    }
    return INTERP_OK;
}

/* The k largest eigenvalues of the first n rows and columns of a, and their vectors made of q. */
ITP_FN interp_status itp_lca_ritz(interp_lca *l, const double *a, int most, int n, const float *q,
                                  int k, float *vectors, double *values)
{
    interp_ctx *ctx = l->ctx;
    const size_t m = (size_t)n, size = l->net->n_flat;
    double *t = (double *)interp_alloc(ctx, (m * m + 2 * m) * sizeof *t);
    if (!t) return INTERP_NO_MEMORY;
    double *d = t + m * m, *e = d + m, *sum = l->set[0].fine;
    for (size_t i = 0; i < m * m; i++) t[i] = a[i / m * (size_t)most + i % m];
    itp_tridiagonal(n, t, d, e);
    interp_status status = INTERP_OK;
    if (!itp_tridiagonal_ql(n, t, d, e))
        status =
            itp_fail(ctx, INTERP_NOT_FINITE, "lca: the curvature's eigenvalues did not converge");
    for (int i = 0; i < k && !status; i++) {
        int best = 0;
        for (int j = 1; j < n; j++)
            if (d[j] > d[best]) best = j;
        memset(sum, 0, size * sizeof *sum);
        for (int j = 0; j < n; j++) {
            const double share = t[j * n + best];
            for (size_t x = 0; x < size; x++) sum[x] += share * (double)q[(size_t)j * size + x];
        }
        itp_lca_unit(sum, vectors + (size_t)i * size, size);
        values[i] = d[best];
        d[best] = -HUGE_VAL;
    }
    interp_free(ctx, t);
    return status;
}

INTERP_API interp_status interp_lca_curvature(interp_lca *l, int k, int iterations,
                                              const float *basis, int n_basis, float *vectors,
                                              double *values)
{
    interp_ctx *ctx = l->ctx;
    const size_t size = l->net->n_flat, free_size = size - itp_min_size(size, (size_t)n_basis);
    const int most =
        (int)itp_min_size(iterations ? (size_t)iterations : (size_t)(2 * k + 20), free_size);
    int n = 0;
    if (k < 1 || n_basis < 0 || iterations < 0 || iterations > 10000 || k > most || k > 1000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "lca: %d directions of curvature by %d steps, beside %d that are known", k,
                        most, n_basis);
    const size_t vector = itp_mul_size(size, sizeof(float));
    float *p = (float *)interp_alloc(ctx, 2 * vector);
    float *q = (float *)interp_alloc(ctx, itp_mul_size((size_t)most + 1, vector));
    double *a = (double *)itp_calloc(ctx, (size_t)most * (size_t)most, sizeof *a);
    double *parts = l->part_fine;
    interp_status status = p && q && a ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        memcpy(p, l->net->flat, vector), memcpy(p + size, l->start, vector);
        if (l->d.subsample) itp_lca_draw(l);
        l->part_fine = NULL; /* of all samples */
        status = itp_lca_lanczos(l, p, basis, n_basis, most, q, a, &n);
        l->part_fine = parts;
        memcpy(l->net->flat, p, vector), memcpy(l->start, p + size, vector);
        if (!status && n < k)
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "lca: the loss is curved in %d directions, not %d", n, k);
        if (!status) status = itp_lca_ritz(l, a, most, n, q, k, vectors, values);
    }
    interp_free(ctx, p), interp_free(ctx, q), interp_free(ctx, a);
    return status;
}

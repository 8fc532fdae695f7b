/* ---- math/pca.c: principal components ---------------------------------------------------------- */

/* Scratch of an analysis: of all eigenvectors of the covariance, or of `q` vectors only. */
typedef struct itp_pca {
    int n, d, k, q;          /* q 0: exact */
    float *centred;          /* [n,d] */
    double *mean, *variance; /* [d], of all columns' sums: [d or q] */
    double *matrix, *off;    /* [m,m] and [m], m = d or q */
    int *order;              /* [m] */
    float *block;            /* exact: [d,d] */
    float *basis, *image;    /* randomised: [d,q], [n,q] */
    float *components;       /* [k,d] */
} itp_pca;

ITP_FN void itp_pca_plan(itp_pca *p, int n, int d, const interp_pca_desc *desc)
{
    const interp_pca_solver solver = desc ? desc->solver : INTERP_PCA_AUTO;
    const int spare = desc && desc->n_oversamples > 0 ? desc->n_oversamples : 10;
    memset(p, 0, sizeof *p);
    p->n = n;
    p->d = d;
    p->k = desc && desc->n_components ? desc->n_components : 2;
    const bool few = p->k <= d / 10 && d > 256;
    if (solver == INTERP_PCA_RANDOMIZED || (solver == INTERP_PCA_AUTO && few))
        p->q = itp_min(p->k + spare, itp_min(n, d));
    if (p->q < p->k) p->q = 0;
}

ITP_FN void itp_pca_layout(itp_arena *arena, itp_pca *p)
{
    const size_t n = (size_t)p->n, d = (size_t)p->d, q = (size_t)p->q, m = q ? q : d;
    p->centred = itp_arena_floats(arena, itp_mul_size(n, d));
    p->mean = (double *)itp_arena_alloc(arena, d * sizeof(double));
    p->variance = (double *)itp_arena_alloc(arena, (m + 1) * sizeof(double));
    p->matrix = (double *)itp_arena_alloc(arena, itp_mul_size(m * sizeof(double), m));
    p->off = (double *)itp_arena_alloc(arena, (m + 1) * sizeof(double));
    p->order = (int *)itp_arena_alloc(arena, m * sizeof(int));
    p->block = itp_arena_floats(arena, q ? q * q : itp_mul_size(d, d));
    p->basis = itp_arena_floats(arena, itp_mul_size(d, q));
    p->image = itp_arena_floats(arena, itp_mul_size(n, q));
    p->components = itp_arena_floats(arena, itp_mul_size((size_t)p->k, d));
}

INTERP_API size_t interp_pca_bytes(int n, int d, const interp_pca_desc *desc)
{
    itp_pca p;
    itp_arena arena = {NULL, 0};
    itp_pca_plan(&p, n, d, desc);
    itp_pca_layout(&arena, &p);
    return itp_alloc_cost(arena.used);
}

/* Takes the means off; returns the total variance. */
ITP_FN double itp_pca_centre(itp_pca *p, const float *x)
{
    const size_t d = (size_t)p->d;
    double total = 0;
    memset(p->mean, 0, d * sizeof *p->mean);
    for (size_t r = 0; r < (size_t)p->n; r++)
        for (size_t i = 0; i < d; i++) p->mean[i] += (double)x[r * d + i];
    for (size_t i = 0; i < d; i++) p->mean[i] /= p->n;
    for (size_t at = 0; at < (size_t)p->n * d; at++) {
        const double v = (double)x[at] - p->mean[at % d];
        p->centred[at] = (float)v;
        total += v * v;
    }
    return total / (p->n - 1);
}

/* matrix = a' a / (n - 1) of a[n,m], in blocks of rows so that sums over many rows stay exact. */
ITP_FN interp_status itp_pca_gram(interp_ctx *ctx, itp_pca *p, const float *a, int m)
{
    const size_t all = (size_t)m * (size_t)m;
    memset(p->matrix, 0, all * sizeof *p->matrix);
    for (int at = 0; at < p->n; at += 1024) {
        const int rows = itp_min(1024, p->n - at);
        const float *x = a + (size_t)at * (size_t)m;
        ITP_TRY(interp_sgemm(ctx, true, false, m, m, rows, 1, x, m, x, m, 0, p->block, m));
        for (size_t i = 0; i < all; i++) p->matrix[i] += (double)p->block[i];
    }
    for (size_t i = 0; i < all; i++) p->matrix[i] /= p->n - 1;
    return INTERP_OK;
}

/* Eigenvectors of the matrix, in its columns, their order by falling value. */
ITP_FN interp_status itp_pca_eigen(interp_ctx *ctx, itp_pca *p, int m)
{
    itp_tridiagonal(m, p->matrix, p->variance, p->off);
    if (!itp_tridiagonal_ql(m, p->matrix, p->variance, p->off))
        return itp_fail(ctx, INTERP_NOT_FINITE, "pca: the eigenvalues did not converge");
    for (int i = 0; i < m; i++) {
        int j = i;
        for (; j > 0 && p->variance[p->order[j - 1]] < p->variance[i]; j--)
            p->order[j] = p->order[j - 1];
        p->order[j] = i;
    }
    return INTERP_OK;
}

/* The basis of the leading vectors: X' X applied to random ones, made orthonormal each time. */
ITP_FN interp_status itp_pca_iterate(interp_ctx *ctx, itp_pca *p, int rounds, uint64_t seed)
{
    const int n = p->n, d = p->d, q = p->q;
    for (size_t i = 0; i < (size_t)d * (size_t)q; i++)
        p->basis[i] = interp_random_normal(seed, 0x9CA, i);
    for (int round = 0; round < rounds; round++) {
        ITP_TRY(itp_progress(ctx, "pca", round, rounds, (double)NAN));
        ITP_TRY(interp_sgemm(ctx, false, false, n, q, d, 1, p->centred, d, p->basis, q, 0, p->image,
                             q));
        ITP_TRY(
            interp_sgemm(ctx, true, false, d, q, n, 1, p->centred, d, p->image, q, 0, p->basis, q));
        itp_orthonormal(p->basis, d, q, NULL, p->off);
    }
    ITP_TRY(
        interp_sgemm(ctx, false, false, n, q, d, 1, p->centred, d, p->basis, q, 0, p->image, q));
    ITP_TRY(itp_pca_gram(ctx, p, p->image, q));
    return itp_pca_eigen(ctx, p, q);
}

/* Components as unit rows whose largest entry is positive. */
ITP_FN void itp_pca_components(itp_pca *p)
{
    const size_t d = (size_t)p->d, q = (size_t)p->q, m = q ? q : d;
    for (int c = 0; c < p->k; c++) {
        float *row = p->components + (size_t)c * d;
        const size_t column = (size_t)p->order[c];
        double largest = 0;
        for (size_t i = 0; i < d; i++) {
            double v = q ? 0 : p->matrix[i * m + column];
            for (size_t j = 0; j < q; j++)
                v += (double)p->basis[i * q + j] * p->matrix[j * m + column];
            row[i] = (float)v;
            if (fabs(v) > fabs(largest)) largest = v;
        }
        for (size_t i = 0; i < d && largest < 0; i++) row[i] = -row[i];
    }
}

/* Writes what the caller asked for. */
ITP_FN interp_status itp_pca_write(interp_ctx *ctx, itp_pca *p, const interp_pca_desc *desc,
                                   double total, float *scores, float *components, float *explained)
{
    const int n = p->n, d = p->d, k = p->k;
    itp_pca_components(p);
    if (scores)
        ITP_TRY(interp_sgemm(ctx, false, true, n, k, d, 1, p->centred, d, p->components, d, 0,
                             scores, k));
    for (int c = 0; c < k; c++) {
        const double found = p->variance[p->order[c]], value = found > 0 ? found : 0;
        if (explained) explained[c] = (float)(total > 0 ? value / total : 0);
        if (desc && desc->variance) desc->variance[c] = (float)value;
        if (!scores || !desc || !desc->whiten) continue;
        /* what is left of a constant column is rounding */
        const float scale = value > 1e-12 * total ? (float)(1 / sqrt(value)) : 0;
        for (int r = 0; r < n; r++) scores[(size_t)r * (size_t)k + (size_t)c] *= scale;
    }
    if (components) memcpy(components, p->components, (size_t)k * (size_t)d * sizeof *components);
    for (int i = 0; i < d && desc && desc->mean; i++) desc->mean[i] = (float)p->mean[i];
    return INTERP_OK;
}

INTERP_API interp_status interp_pca(interp_ctx *ctx, const float *x, int n, int d,
                                    const interp_pca_desc *desc, float *scores, float *components,
                                    float *explained)
{
    itp_pca p;
    itp_pca_plan(&p, n, d, desc);
    if (n < 2 || d < 1 || p.k < 1 || p.k > d)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "pca: %d components of %d samples with %d columns cannot be found", p.k, n,
                        d);
    if (!itp_is_finite(x, (size_t)n * (size_t)d))
        return itp_fail(ctx, INTERP_NOT_FINITE, "pca: the samples hold NaN or infinite numbers");
    itp_arena arena = {NULL, 0};
    itp_pca_layout(&arena, &p);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_pca_layout(&arena, &p);
    const double total = itp_pca_centre(&p, x);
    interp_status status = INTERP_OK;
    if (p.q) {
        status = itp_pca_iterate(ctx, &p, desc && desc->n_iter > 0 ? desc->n_iter : 8,
                                 desc ? desc->seed : 0);
    } else {
        status = itp_pca_gram(ctx, &p, p.centred, d);
        if (!status) status = itp_pca_eigen(ctx, &p, d);
    }
    if (!status) status = itp_pca_write(ctx, &p, desc, total, scores, components, explained);
    interp_free(ctx, block);
    return status;
}

INTERP_API interp_status interp_pca_transform(interp_ctx *ctx, const float *x, int n, int d,
                                              const float *mean, const float *components,
                                              int n_components, const float *variance,
                                              float *scores)
{
    const int k = n_components;
    if (n < 0 || d < 1 || k < 1 || k > d || !mean || !components)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "pca: %d samples with %d columns cannot get scores of %d components", n, d,
                        k);
    float *shift = (float *)interp_alloc(ctx, (size_t)k * sizeof *shift);
    if (!shift) return INTERP_NO_MEMORY;
    for (int c = 0; c < k; c++)
        shift[c] = (float)ctx->k->dot((size_t)d, mean, 0, components + (size_t)c * (size_t)d, 0);
    const interp_status status =
        interp_sgemm(ctx, false, true, n, k, d, 1, x, d, components, d, 0, scores, k);
    for (int r = 0; r < n && !status; r++)
        for (int c = 0; c < k; c++) {
            float *v = scores + (size_t)r * (size_t)k + (size_t)c;
            *v -= shift[c];
            if (variance) *v = variance[c] > 0 ? *v / sqrtf(variance[c]) : 0;
        }
    interp_free(ctx, shift);
    return status;
}

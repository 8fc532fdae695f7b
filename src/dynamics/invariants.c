/* ---- dynamics/invariants.c: what of a matrix over Z/p does not die out -------------------------- */

/* Gauss and Jordan on the columns of a[rows, columns]: independent columns come first, each with a 1 in a
   row of its own, pivot[i], where the others have 0. Returns the rank. */
ITP_FN int itp_columns_reduce(uint8_t *a, int rows, int columns, int *pivot, uint32_t p)
{
#define ITP_M(i, j) a[(size_t)(i) * (size_t)columns + (size_t)(j)]
    int rank = 0;
    for (int r = 0; r < rows && rank < columns; r++) {
        int c = rank;
        while (c < columns && !ITP_M(r, c)) c++;
        if (c == columns) continue;
        const uint32_t scale = itp_inverse_mod(ITP_M(r, c), p);
        for (int i = 0; i < rows; i++) {
            const uint8_t v = ITP_M(i, c);
            ITP_M(i, c) = ITP_M(i, rank);
            ITP_M(i, rank) = (uint8_t)(v * scale % p);
        }
        for (int k = 0; k < columns; k++) {
            const uint32_t factor = k == rank ? 0 : p - ITP_M(r, k);
            if (!factor || factor == p) continue;
            for (int i = 0; i < rows; i++)
                ITP_M(i, k) = (uint8_t)((ITP_M(i, k) + factor * ITP_M(i, rank)) % p);
        }
        pivot[rank++] = r;
    }
    return rank;
#undef ITP_M
}

/* c[n,k] = a[n,n] b[n,k] */
ITP_FN void itp_multiply_mod(const uint8_t *a, const uint8_t *b, int n, int k, uint8_t *c,
                             uint32_t p)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++) {
            uint32_t sum = 0;
            for (int o = 0; o < n; o++) sum = (sum + (uint32_t)a[i * n + o] * b[o * k + j]) % p;
            c[i * k + j] = (uint8_t)sum;
        }
}

/* Restricts m[n,n] to what its powers never lose, where it is invertible: m becomes [r,r], returns r. */
ITP_FN int itp_matrix_core(uint8_t *m, int n, uint8_t *basis, uint8_t *work, int *pivot, uint32_t p)
{
    int rank = n;
    for (int i = 0; i < n * n; i++) basis[i] = i / n == i % n;
    for (int i = 0; i < n; i++) pivot[i] = i;
    for (;;) {
        itp_multiply_mod(m, basis, n, rank, work, p);
        const int before = rank;
        if (!rank) return 0;
        uint8_t *t = basis; /* the new basis is in work; keep the product for the last round */
        memcpy(t, work, (size_t)n * (size_t)rank);
        rank = itp_columns_reduce(t, n, before, pivot, p);
        if (rank == before) break;
        for (int i = 0; i < n; i++) memmove(basis + i * rank, basis + i * before, (size_t)rank);
    }
    itp_multiply_mod(m, basis, n, rank, work, p);
    for (int i = 0; i < rank; i++)
        for (int j = 0; j < rank; j++) m[i * rank + j] = work[pivot[i] * rank + j];
    return rank;
}

/* A vector, its images, theirs ... until they depend on each other. */
typedef struct itp_krylov {
    uint32_t p;
    uint8_t *row;        /* [n+1,n]: reduced, row k is 0 where the rows before have their pivots */
    uint8_t *how;        /* [n+1,n+1]: in powers of the matrix */
    uint8_t *now, *next; /* [n] */
    int *pivot;          /* [n+1] */
} itp_krylov;

/* Their number k; row k of `how` then takes v to 0: a monic polynomial of degree k. */
ITP_FN int itp_krylov_run(itp_krylov *s, const uint8_t *m, int n, const uint8_t *v)
{
    const size_t width = (size_t)n + 1;
    memcpy(s->now, v, (size_t)n);
    for (int k = 0;; k++) {
        uint8_t *r = s->row + (size_t)k * (size_t)n, *h = s->how + (size_t)k * width;
        memcpy(r, s->now, (size_t)n);
        memset(h, 0, width);
        h[k] = 1;
        for (int o = 0; o < k; o++) {
            const uint32_t factor = (s->p - r[s->pivot[o]]) % s->p;
            itp_column_add(r, s->row + (size_t)o * (size_t)n, (size_t)n, factor, s->p);
            itp_column_add(h, s->how + (size_t)o * width, width, factor, s->p);
        }
        int at = 0;
        while (at < n && !r[at]) at++;
        if (at == n) return k;
        const uint32_t scale = itp_inverse_mod(r[at], s->p);
        for (int i = 0; i < n; i++) r[i] = (uint8_t)(r[i] * scale % s->p);
        for (size_t i = 0; i < width; i++) h[i] = (uint8_t)(h[i] * scale % s->p);
        s->pivot[k] = at;
        itp_multiply_mod(m, s->now, n, 1, s->next, s->p);
        memcpy(s->now, s->next, (size_t)n);
    }
}

/* A polynomial of degree k as CMGDB writes it: from the highest power down, coefficients about 0. */
ITP_FN void itp_polynomial_text(const uint8_t *a, int k, int p, itp_buf *text)
{
    for (int i = k; i >= 0; i--) {
        const int v = a[i] > p / 2 ? a[i] - p : a[i];
        if (!v) continue;
        if (i < k && v > 0) itp_buf_str(text, "+");
        if (v == -1) itp_buf_str(text, "-");
        else if (v != 1) itp_buf_printf(text, "%d", v);
        if (i > 1) itp_buf_printf(text, "x^%d", i);
        else if (i == 1) itp_buf_str(text, "x");
        else if (v == 1 || v == -1) itp_buf_str(text, "1");
    }
}

/* m modulo the space of k rows: a matrix of what is at the other places, whose number is returned. */
ITP_FN int itp_matrix_quotient(const itp_krylov *s, uint8_t *m, int n, int k, uint8_t *work)
{
    int kept[256], count = 0;
    for (int i = 0; i < n; i++) {
        bool own = true;
        for (int o = 0; o < k; o++) own &= s->pivot[o] != i;
        if (own) kept[count++] = i;
    }
    for (int j = 0; j < count; j++) {
        uint8_t *column = s->now;
        for (int i = 0; i < n; i++) column[i] = m[i * n + kept[j]];
        for (int o = 0; o < k; o++)
            itp_column_add(column, s->row + (size_t)o * (size_t)n, (size_t)n,
                           (s->p - column[s->pivot[o]]) % s->p, s->p);
        for (int i = 0; i < count; i++) work[i * count + j] = column[kept[i]];
    }
    memcpy(m, work, (size_t)count * (size_t)count);
    return count;
}

/* Invariant factors of an invertible matrix, n up to 255, the one that divides the others first: the
   vector with most independent images has the last factor, the others are those of the quotient. */
ITP_FN interp_status itp_factors_text(interp_ctx *ctx, uint8_t *m, int n, int p, itp_buf *text)
{
    enum { tries = 64 };
    const size_t size = (size_t)n + 1;
    itp_krylov s;
    uint8_t *block = (uint8_t *)interp_alloc(ctx, 3 * size * size + 8 * size);
    s.p = (uint32_t)p;
    s.pivot = (int *)interp_alloc(ctx, size * sizeof *s.pivot);
    if (!block || !s.pivot) {
        interp_free(ctx, block);
        interp_free(ctx, s.pivot);
        return INTERP_NO_MEMORY;
    }
    s.row = block, s.how = s.row + size * size, s.now = s.how + size * size, s.next = s.now + size;
    uint8_t *v = s.next + size, *best = v + size, *factor = best + size; /* [2 n]: one by one */
    uint8_t *work = factor + 2 * size;
    int factors = 0, degree[256], used = 0;
    for (int left = n; left > 0;) {
        int most = 0;
        for (int t = 0; t < tries && most < left; t++) {
            for (int i = 0; i < left; i++)
                v[i] = t < left && t < tries / 2
                           ? i == t
                           : (uint8_t)itp_random_below(1, (uint64_t)t, (uint64_t)i, s.p);
            const int k = itp_krylov_run(&s, m, left, v);
            if (k > most) most = k, memcpy(best, v, (size_t)left);
        }
        itp_krylov_run(&s, m, left, best);
        memcpy(factor + used, s.how + (size_t)most * ((size_t)left + 1), (size_t)most + 1);
        used += most + 1;
        degree[factors++] = most;
        left = itp_matrix_quotient(&s, m, left, most, work);
    }
    while (factors-- > 0) {
        used -= degree[factors] + 1;
        itp_polynomial_text(factor + used, degree[factors], p, text);
    }
    interp_free(ctx, block);
    interp_free(ctx, s.pivot);
    return INTERP_OK;
}

/* Invariant factors of m[n,n] without their powers of x; "0" when there are none. m is overwritten. */
ITP_FN interp_status itp_invariants_text(interp_ctx *ctx, uint8_t *m, int n, int p, itp_buf *text)
{
    uint8_t *basis = (uint8_t *)interp_alloc(ctx, itp_mul_size(2, (size_t)n * (size_t)n) + 1);
    int *pivot = (int *)interp_alloc(ctx, ((size_t)n + 1) * sizeof *pivot);
    interp_status status = basis && pivot ? INTERP_OK : INTERP_NO_MEMORY;
    int rank = 0;
    if (!status)
        rank = itp_matrix_core(m, n, basis, basis + (size_t)n * (size_t)n, pivot, (uint32_t)p);
    interp_free(ctx, basis);
    interp_free(ctx, pivot);
    if (rank > 255)
        status = itp_fail(ctx, INTERP_UNSUPPORTED,
                          "conley: %d generators never die out; at most 255 are told apart", rank);
    if (!status && rank) status = itp_factors_text(ctx, m, rank, p, text);
    if (!status && !rank) itp_buf_str(text, "0");
    return status;
}

/* ---- math/gemm.c: the matrix product: blocks of it, over threads ----------------------------- */

/* Scratch memory with one part for each slot of a parallel job. */
typedef struct itp_scratch {
    float *base;
    size_t slot_floats;
} itp_scratch;

ITP_FN float *itp_scratch_slot(const itp_scratch *s, int slot)
{
    return s->base + s->slot_floats * (size_t)slot;
}

/* All of b: out[block of k][panel][k][column]. */
ITP_FN void itp_gemm_pack(const itp_kernels *kernels, const itp_gemm *g, float *out)
{
    const size_t columns = itp_round_up((size_t)g->n, (size_t)kernels->nr);
    for (int k0 = 0, step = itp_gemm_kc(g->k); k0 < g->k; k0 += step)
        kernels->pack_b(g, k0, itp_min(step, g->k - k0), 0, g->n, out + (size_t)k0 * columns);
}

/* What the sums of m rows from i0 and n columns from j0 of c start from. */
ITP_FN void itp_gemm_start(const itp_kernels *k, const itp_gemm *g, int i0, int m, int j0, int n,
                           float *start, int step)
{
    static const float nothing[ITP_MOST_NR] = {0};
    const float *column = g->bias_column ? g->bias_column + j0 : nothing;
    for (int i = i0; i < i0 + m; i++, start += step) {
        k->affine((size_t)n, 1, column, g->bias_row ? g->bias_row[i] : 0, start);
        if (g->beta != 0) k->scale_add((size_t)n, g->beta, g->c + i * g->c_rs + j0, 1, start);
    }
}

/* Says which panels of rows, `higher` of them one row higher than the others, leave zeros out; whether any
   do. */
ITP_FN bool itp_sparse_panels(itp_sparse *s, int height, int higher, int kc)
{
    bool any = false;
    for (int from = 0, rows; from < s->rows; from += rows, higher--) {
        rows = height + (higher > 0);
        const double most = ITP_SPARSE * kc * rows;
        int count = 0;
        for (int i = from; i < from + rows; i++)
            for (int w = 0; w < s->words; w++) count += itp_bit_count(s->bits[i][w]);
        memset(s->skip + from, count < most, (size_t)rows);
        if (count >= most) memset(s->bits[from], 0, (size_t)rows * sizeof *s->bits);
        any = any || count < most;
    }
    return any;
}

/* Rows i0..i1 and columns j0..j1 of c, over all of k. Every number of c is summed in the same order
   whatever the block, so results do not depend on how c is cut. An operand that already lies as the
   tile reads it, and is read few times, is not packed. */
ITP_FN void itp_gemm_block(const itp_kernels *kernels, const itp_gemm *g, int i0, int i1, int j0,
                           int j1, float *scratch)
{
    const int mr = kernels->mr, nr = kernels->nr, stripe = kernels->pairs * nr;
    const int step = itp_gemm_kc(g->k), most = ITP_GEMM_MC / mr * mr; /* whole tiles */
    float *pa = scratch, *pb = scratch + itp_gemm_a_floats(g->k, i1 - i0);
    const bool a_direct =
        g->alpha == 1 && (g->a_rs == 1 || g->a_cs == 1) && j1 - j0 <= ITP_GEMM_DIRECT_COLUMNS;
    const bool as_it_is = g->beta == 1 && !g->bias_row && !g->bias_column;
    const bool bias_only = g->beta == 0 && !g->bias_row;
    bool zeros = stripe && g->zeros && g->alpha == 1 && g->k > 0 && j1 - j0 > stripe / 2 &&
                 (g->a_rs == 1 || g->a_cs == 1) && (as_it_is || bias_only);
    const bool b_apart = mr >= ITP_GEMM_SHARED_TILE || g->b_rs % ITP_GEMM_SHARED != 0 ||
                         (double)step * (double)g->b_rs <= ITP_GEMM_SHARED_FLOATS;
    const bool b_direct =
        g->b_cs == 1 && i1 - i0 <= ITP_GEMM_DIRECT_ROWS && b_apart && !g->packed && !zeros;
    static const float nothing[ITP_MOST_STRIPE] = {0};
    itp_sparse sparse;
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = 1;
    for (int k0 = 0; k0 < g->k || k0 == 0; k0 += step) {
        const int kc = t.inner = itp_min(step, g->k - k0);
        for (int jb = j0; jb < j1; jb += ITP_GEMM_NC) {
            const int nb = itp_min(ITP_GEMM_NC, j1 - jb);
            const int there = b_direct ? nb & -nr : 0; /* columns left where they are */
            const float *b = pb;
            if (g->packed) b = g->packed + itp_gemm_packed(k0, g->n, nr) + (size_t)jb * (size_t)kc;
            else kernels->pack_b(g, k0, kc, jb + there, nb - there, pb);
            for (int ib = i0; ib < i1; ib += most) {
                const int mb = itp_min(most, i1 - ib);
                const int panels = itp_div_up(mb, mr), height = mb / panels, higher = mb % panels;
                /* a block without zeros says that others have none */
                if (zeros) kernels->sparse_bits(g, ib, mb, k0, kc, &sparse);
                zeros = zeros && itp_sparse_panels(&sparse, height, higher, kc);
                const int rest = zeros ? nb % stripe : 0;
                const int sparse_columns = !zeros ? 0 : rest > stripe / 2 ? nb : nb - rest;
                for (int p = 0, i = 0, m; p < panels && !a_direct; p++, i += m) {
                    m = height + (p < higher);
                    if (sparse_columns == nb && sparse.skip[i]) continue;
                    kernels->pack_a(g, ib + i, m, k0, kc, pa + (size_t)i * (size_t)kc);
                }
                for (int jr = 0; jr < nb; jr += nr) {
                    t.columns = itp_min(nr, nb - jr);
                    if (jr < there) {
                        t.b = g->b + (ptrdiff_t)k0 * g->b_rs + jb + jr;
                        t.b_step = g->b_rs;
                    } else {
                        t.b = b + (size_t)(jr - there) * (size_t)kc;
                        t.b_step = nr;
                    }
                    if (kernels->ahead) itp_tile_ahead(&t, kernels->ahead, kernels->width);
                    for (int p = 0, i = 0; p < panels; p++, i += t.rows) {
                        t.rows = height + (p < higher);
                        if (jr < sparse_columns && sparse.skip[i]) continue;
                        if (a_direct) {
                            t.a = g->a + (ib + i) * g->a_rs + (ptrdiff_t)k0 * g->a_cs;
                            t.a_rs = g->a_rs, t.a_step = g->a_cs;
                        } else {
                            t.a = pa + (size_t)i * (size_t)kc;
                            t.a_rs = 1, t.a_step = t.rows;
                        }
                        t.to = g->c + (ptrdiff_t)(ib + i) * g->c_rs + jb + jr;
                        t.to_rs = g->c_rs;
                        float start[ITP_MOST_TILE];
                        if (k0 || as_it_is) {
                            t.from = t.to, t.from_rs = t.to_rs;
                        } else if (bias_only) {
                            t.from = g->bias_column ? g->bias_column + jb + jr : NULL;
                            t.from_rs = 0;
                        } else {
                            itp_gemm_start(kernels, g, ib + i, t.rows, jb + jr, t.columns, start,
                                           nr);
                            t.from = start, t.from_rs = nr;
                        }
                        kernels->tile(&t);
                    }
                }
                for (int j = 0; j < sparse_columns; j += stripe) {
                    const float *from = k0 || as_it_is   ? NULL
                                        : g->bias_column ? g->bias_column + jb + j
                                                         : nothing;
                    kernels->sparse_sums(&sparse, g->a + ib * g->a_rs + k0 * g->a_cs, g->a_rs,
                                         g->a_cs, b + (ptrdiff_t)j * kc, (ptrdiff_t)kc * nr, from,
                                         g->c + ib * g->c_rs + jb + j, g->c_rs,
                                         itp_min(stripe, nb - j));
                }
            }
        }
    }
}

typedef struct itp_gemm_job {
    const itp_kernels *kernels;
    const itp_gemm *g;
    itp_scratch scratch;
    int step_m, step_n; /* block of one task */
    int tasks_n;
} itp_gemm_job;

ITP_FN void itp_gemm_task(void *arg, int task, int slot)
{
    const itp_gemm_job *job = (const itp_gemm_job *)arg;
    const int i = task / job->tasks_n * job->step_m, j = task % job->tasks_n * job->step_n;
    itp_gemm_block(job->kernels, job->g, i, itp_min(i + job->step_m, job->g->m), j,
                   itp_min(j + job->step_n, job->g->n), itp_scratch_slot(&job->scratch, slot));
}

ITP_FN size_t itp_gemm_scratch(const interp_ctx *ctx, int m, int n, int k)
{
    return itp_round_up(itp_gemm_floats(k, m, n, ctx->k->nr), 16);
}

/* Scratch slots must hold itp_gemm_scratch(m, n, k) floats each. */
ITP_FN void itp_gemm_run(interp_ctx *ctx, const itp_gemm *g, itp_scratch scratch)
{
    if (g->m <= 0 || g->n <= 0) return;
    itp_gemm_job job;
    job.kernels = ctx->k;
    job.g = g;
    job.scratch = scratch;
    job.step_m = g->m;
    job.step_n = g->n;
    /* Cut the longer side, which repeats less packing; results do not depend on the cut. */
    if (ctx->slots > 1) {
        if (g->n / ctx->k->nr >= g->m / ctx->k->mr) {
            const int parts = itp_min(2 * ctx->slots, itp_div_up(g->n, 4 * ctx->k->nr));
            job.step_n = (int)itp_round_up((size_t)itp_div_up(g->n, parts), (size_t)ctx->k->nr);
        } else {
            const int parts = itp_min(2 * ctx->slots, itp_div_up(g->m, 4 * ctx->k->mr));
            job.step_m = (int)itp_round_up((size_t)itp_div_up(g->m, parts), (size_t)ctx->k->mr);
        }
    }
    job.tasks_n = itp_div_up(g->n, job.step_n);
    const int tasks = job.tasks_n * itp_div_up(g->m, job.step_m);
    itp_parallel(ctx, tasks, (double)g->m * g->n * itp_max(g->k, 1), itp_gemm_task, &job);
}

/* ---- many products of one shape */

typedef struct itp_batch_job {
    const itp_kernels *kernels;
    const itp_gemm *g;
    const ptrdiff_t *a_offset, *b_offset; /* per product, in floats */
    ptrdiff_t c_stride;
    itp_scratch scratch;
} itp_batch_job;

ITP_FN void itp_batch_task(void *arg, int task, int slot)
{
    const itp_batch_job *job = (const itp_batch_job *)arg;
    itp_gemm g = *job->g;
    g.a += job->a_offset[task];
    g.b += job->b_offset[task];
    g.c += task * job->c_stride;
    itp_gemm_block(job->kernels, &g, 0, g.m, 0, g.n, itp_scratch_slot(&job->scratch, slot));
}

/* c[t] = a[t] b[t] for t < count; each operand's start is given per product. */
ITP_FN void itp_gemm_batch(interp_ctx *ctx, const itp_gemm *g, int count, const ptrdiff_t *a_offset,
                           const ptrdiff_t *b_offset, ptrdiff_t c_stride, itp_scratch scratch)
{
    itp_batch_job job;
    if (g->m <= 0 || g->n <= 0 || count <= 0) return;
    job.kernels = ctx->k;
    job.g = g;
    job.a_offset = a_offset;
    job.b_offset = b_offset;
    job.c_stride = c_stride;
    job.scratch = scratch;
    if (count == 1) {
        itp_gemm one = *g;
        one.a += a_offset[0];
        one.b += b_offset[0];
        itp_gemm_run(ctx, &one, scratch);
    } else {
        itp_parallel(ctx, count, (double)count * g->m * g->n * itp_max(g->k, 1), itp_batch_task,
                     &job);
    }
}

/* Scratch kept by the context for calls that have no workspace; grows, never shrinks. */
ITP_FN interp_status itp_ctx_scratch(interp_ctx *ctx, size_t slot_floats, itp_scratch *out)
{
    if (slot_floats > ctx->scratch_floats) {
        interp_free(ctx, ctx->scratch);
        ctx->scratch_floats = 0;
        ctx->scratch = (float *)interp_alloc(
            ctx, itp_mul_size(itp_mul_size(slot_floats, (size_t)ctx->slots), sizeof(float)));
        if (!ctx->scratch) return INTERP_NO_MEMORY;
        ctx->scratch_floats = slot_floats;
    }
    out->base = ctx->scratch;
    out->slot_floats = ctx->scratch_floats;
    return INTERP_OK;
}

/* ---- a matrix by a vector */

typedef struct itp_gemv_job {
    const itp_kernels *kernels;
    int rows, k, step;       /* step: rows of one task */
    const float *matrix, *x; /* [rows, k] row_step apart, [k] */
    ptrdiff_t row_step, y_step;
    float alpha, beta, *y;
} itp_gemv_job;

ITP_FN void itp_gemv_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_gemv_job *j = (const itp_gemv_job *)arg;
    const int end = itp_min(j->rows, (task + 1) * j->step);
    for (int i = task * j->step; i < end; i++) {
        const float *row = j->matrix + i * j->row_step;
        const double sum = (double)j->alpha * j->kernels->dot((size_t)j->k, row, 0, j->x, 0);
        float *y = j->y + i * j->y_step;
        *y = (float)(j->beta != 0 ? sum + (double)j->beta * (double)*y : sum);
    }
}

/* y = alpha matrix x + beta y, each row of the matrix read once, where it lies. */
ITP_FN void itp_gemv_run(interp_ctx *ctx, itp_gemv_job *job)
{
    job->kernels = ctx->k;
    job->step = ctx->slots > 1 ? itp_div_up(job->rows, 2 * ctx->slots) : job->rows;
    itp_parallel(ctx, itp_div_up(job->rows, job->step), (double)job->rows * job->k, itp_gemv_task,
                 job);
}

INTERP_API interp_status interp_sgemm(interp_ctx *ctx, bool trans_a, bool trans_b, int m, int n,
                                      int k, float alpha, const float *a, int lda, const float *b,
                                      int ldb, float beta, float *c, int ldc)
{
    if (m < 0 || n < 0 || k < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "sgemm: a size is negative: m %d, n %d, k %d", m,
                        n, k);
    if (lda < itp_max(1, trans_a ? m : k) || ldb < itp_max(1, trans_b ? k : n) ||
        ldc < itp_max(1, n))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "sgemm: a row is shorter than it must be: lda %d, ldb %d, ldc %d for m %d, "
                        "n %d, k %d",
                        lda, ldb, ldc, m, n, k);
    const bool a_vector = m == 1 && trans_b && (!trans_a || lda == 1);
    const bool b_vector = n == 1 && !trans_a && (trans_b || ldb == 1);
    if ((a_vector || b_vector) && m > 0 && n > 0) {
        itp_gemv_job job;
        memset(&job, 0, sizeof job);
        job.rows = a_vector ? n : m, job.k = k;
        job.matrix = a_vector ? b : a, job.x = a_vector ? a : b;
        job.row_step = a_vector ? ldb : lda, job.y_step = a_vector ? 1 : ldc;
        job.alpha = alpha, job.beta = beta, job.y = c;
        itp_gemv_run(ctx, &job);
        return INTERP_OK;
    }
    itp_scratch scratch;
    ITP_TRY(itp_ctx_scratch(ctx, itp_gemm_scratch(ctx, m, n, k), &scratch));
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = m, g.n = n, g.k = k;
    g.alpha = alpha, g.beta = beta;
    g.a = a, g.a_rs = trans_a ? 1 : lda, g.a_cs = trans_a ? lda : 1;
    g.b = b, g.b_rs = trans_b ? 1 : ldb, g.b_cs = trans_b ? ldb : 1;
    g.c = c, g.c_rs = ldc;
    itp_gemm_run(ctx, &g, scratch);
    return INTERP_OK;
}

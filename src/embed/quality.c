/* ---- embed/quality.c: how good an embedding is -------------------------------------------------- */

/* Neighbours of the points that are judged in both spaces, and where each space has the other's. */
typedef struct itp_quality_job {
    const interp_ctx *ctx;
    const itp_near *space[2]; /* x and y */
    int n, m, k;              /* m points are judged */
    const int32_t *judged;    /* [m] */
    const int32_t *near[2];   /* [m, k] */
    float *row;               /* [slots][2][n] */
    double *sums;             /* [blocks][4] */
    int trust, preserved, vote;
    const int32_t *classes;
    int first;
} itp_quality_job;

enum { ITP_JUDGED = 32 };

/* How many points are nearer to a than b is, a not among them: b's rank from 0. */
ITP_FN int itp_rank(const itp_quality_job *job, const float *row, int a, int b)
{
    const int before = itp_embeds(job->ctx->k)->count_before(job->n, row, row[b], b);
    return before - (row[a] < row[b] || (row[a] == row[b] && a < b) ? 1 : 0);
}

ITP_FN bool itp_among(const int32_t *list, int k, int32_t i)
{
    for (int j = 0; j < k; j++)
        if (list[j] == i) return true;
    return false;
}

/* The class most of k neighbours have; the nearest decides between equals. */
ITP_FN int32_t itp_vote(const int32_t *near, const int32_t *classes, int k)
{
    int32_t best = classes[near[0]];
    int most = 0;
    for (int j = 0; j < k; j++) {
        int votes = 0;
        for (int o = 0; o < k; o++) votes += classes[near[o]] == classes[near[j]];
        if (votes > most) most = votes, best = classes[near[j]];
    }
    return best;
}

ITP_FN void itp_quality_task(void *arg, int task, int slot)
{
    const itp_quality_job *job = (const itp_quality_job *)arg;
    const size_t n = (size_t)job->n, k = (size_t)job->k;
    float *rows[2];
    rows[0] = job->row + (size_t)slot * 2 * n;
    rows[1] = rows[0] + n;
    task += job->first;
    double *sums = job->sums + 4 * (size_t)task;
    const int end = itp_min(job->m, (task + 1) * ITP_JUDGED);
    for (int t = 0; t < 4; t++) sums[t] = 0;
    for (int p = task * ITP_JUDGED; p < end; p++) {
        const int i = job->judged[p];
        const int32_t *near[2];
        for (int s = 0; s < 2; s++) {
            near[s] = job->near[s] + (size_t)p * k;
            itp_near_compare(job->ctx, job->space[s], i, NULL, 0, job->n, rows[s]);
        }
        for (int s = 0; s < 2; s++) /* intruders: near in one space, far in the other */
            for (int j = 0; j < job->trust; j++)
                if (!itp_among(near[1 - s], job->trust, near[s][j]))
                    sums[s] += itp_rank(job, rows[1 - s], i, near[s][j]) + 1 - job->trust;
        for (int j = 0; j < job->preserved; j++)
            sums[2] += itp_among(near[0], job->preserved, near[1][j]);
        if (job->classes) sums[3] += itp_vote(near[1], job->classes, job->vote) == job->classes[i];
    }
}

/* Ranks from 0 of m numbers, ties sharing the mean of theirs. keys: [m] of scratch. */
ITP_FN void itp_ranks(const float *x, int m, uint64_t *keys, double *rank)
{
    for (int i = 0; i < m; i++) keys[i] = itp_key(x[i], i);
    itp_keys_sort(keys, m);
    for (int i = 0; i < m;) {
        int j = i;
        while (j < m && keys[j] >> 32 == keys[i] >> 32) j++;
        for (int t = i; t < j; t++) rank[itp_key_index(keys[t])] = (i + j - 1) / 2.0;
        i = j;
    }
}

ITP_FN double itp_correlation(const double *a, const double *b, int m)
{
    double ma = 0, mb = 0, aa = 0, bb = 0, ab = 0;
    for (int i = 0; i < m; i++) ma += a[i] / m, mb += b[i] / m;
    for (int i = 0; i < m; i++) {
        aa += (a[i] - ma) * (a[i] - ma);
        bb += (b[i] - mb) * (b[i] - mb);
        ab += (a[i] - ma) * (b[i] - mb);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

/* Everything a judgement holds besides the rows made ready. */
typedef struct itp_quality_space {
    interp_quality_desc desc;
    interp_knn_desc how[2]; /* of x, of y */
    itp_near space[2];
    int pairs;
    int32_t *judged, *near[2];
    float *row, *distances; /* [slots][2 n]; [pairs] */
    double *sums, *rank_x, *rank_y;
    uint64_t *keys;
} itp_quality_space;

ITP_FN void itp_quality_layout(itp_arena *arena, itp_quality_space *q, const interp_ctx *ctx,
                               const itp_quality_job *job)
{
    const size_t m = (size_t)job->m, p = (size_t)q->pairs;
    const size_t blocks = (size_t)itp_div_up(job->m, ITP_JUDGED);
    q->judged = (int32_t *)itp_arena_alloc(arena, m * sizeof(int32_t));
    for (int s = 0; s < 2; s++) {
        itp_near_layout(arena, &q->space[s], false);
        q->near[s] = (int32_t *)itp_arena_alloc(arena, m * (size_t)job->k * sizeof(int32_t));
    }
    q->row = itp_arena_floats(arena, 2 * (size_t)job->n * (size_t)ctx->slots);
    q->sums = (double *)itp_arena_alloc(arena, 4 * blocks * sizeof(double));
    q->distances = itp_arena_floats(arena, p);
    q->rank_x = (double *)itp_arena_alloc(arena, p * sizeof(double));
    q->rank_y = (double *)itp_arena_alloc(arena, p * sizeof(double));
    q->keys = (uint64_t *)itp_arena_alloc(arena, p * sizeof(uint64_t));
}

ITP_FN double itp_quality_spearman(interp_ctx *ctx, itp_quality_space *q)
{
    const uint32_t n = (uint32_t)q->space[0].n;
    const uint64_t seed = q->desc.seed;
    for (int s = 0; s < 2; s++) {
        for (int p = 0; p < q->pairs; p++) {
            const int32_t a = (int32_t)itp_random_below(seed, 0x9A1, (uint64_t)p, n);
            int32_t b = (int32_t)itp_random_below(seed, 0x9A2, (uint64_t)p, n - 1);
            b += b >= a;
            itp_near_compare(ctx, &q->space[s], a, &b, 0, 1, q->distances + p);
        }
        itp_ranks(q->distances, q->pairs, q->keys, s ? q->rank_y : q->rank_x);
    }
    return itp_correlation(q->rank_x, q->rank_y, q->pairs);
}

/* The neighbours of the points judged: exact, looked for among all. */
ITP_FN interp_status itp_quality_near(interp_ctx *ctx, const float *x, int n, int d,
                                      const interp_knn_desc *how, const int32_t *judged, int m,
                                      int k, int32_t *near)
{
    if (m == n) return interp_knn(ctx, x, n, d, k, how, near, NULL, NULL);
    interp_knn_desc h = *how;
    float *rows = (float *)interp_alloc(ctx, (size_t)m * (size_t)d * sizeof *rows);
    int32_t *more = (int32_t *)interp_alloc(ctx, (size_t)m * (size_t)(k + 1) * sizeof *more);
    interp_status status = rows && more ? INTERP_OK : INTERP_NO_MEMORY;
    for (int p = 0; p < m && !status; p++)
        memcpy(rows + (size_t)p * (size_t)d, x + (size_t)judged[p] * (size_t)d,
               (size_t)d * sizeof *rows);
    h.queries = rows;
    h.n_queries = m;
    if (!status) status = interp_knn(ctx, x, n, d, k + 1, &h, more, NULL, NULL);
    for (int p = 0; p < m && !status; p++) /* without the point itself, wherever it is */
        for (int j = 0, to = 0; j < k + 1 && to < k; j++)
            if (more[(size_t)p * (size_t)(k + 1) + (size_t)j] != judged[p])
                near[(size_t)p * (size_t)k + (size_t)to++] =
                    more[(size_t)p * (size_t)(k + 1) + (size_t)j];
    interp_free(ctx, rows);
    interp_free(ctx, more);
    return status;
}

ITP_FN interp_status itp_quality_judge(interp_ctx *ctx, itp_quality_space *q, itp_quality_job *job,
                                       interp_quality *out)
{
    const int m = job->m, blocks = itp_div_up(m, ITP_JUDGED);
    const double n = job->n, t = job->trust;
    ITP_TRY(itp_parallel_lots(ctx, "quality", blocks, itp_max(4, 2 * ctx->slots),
                              (double)ITP_JUDGED * n * (q->space[0].width + 20), itp_quality_task,
                              job, &job->first));
    double sums[4] = {0, 0, 0, 0};
    for (int b = 0; b < blocks; b++)
        for (int s = 0; s < 4; s++) sums[s] += job->sums[4 * b + s];
    /* the sum over all points and neighbours at its worst, Venna and Kaski 2001 */
    const double worst = m * t * (2 * n - 3 * t - 1) / 2;
    const bool fits = job->trust > 0 && worst > 0 && 2 * job->trust < job->n;
    out->trustworthiness = fits ? 1 - sums[1] / worst : (double)NAN;
    out->continuity = fits ? 1 - sums[0] / worst : (double)NAN;
    out->preservation = job->preserved > 0 ? sums[2] / ((double)m * job->preserved) : (double)NAN;
    out->knn_accuracy = job->classes ? sums[3] / m : (double)NAN;
    return INTERP_OK;
}

/* What follows from shapes and options. */
ITP_FN void itp_quality_plan(itp_quality_space *q, itp_quality_job *job, int n, int d, int dims,
                             const interp_quality_desc *desc)
{
    memset(q, 0, sizeof *q);
    memset(job, 0, sizeof *job);
    if (desc) q->desc = *desc;
    const interp_quality_desc *o = &q->desc;
    q->how[0].metric = o->metric, q->how[0].p = o->metric_p;
    q->pairs = o->pairs > 0 ? o->pairs : 100000;
    job->n = n;
    job->m = itp_min(n, o->samples > 0 ? o->samples : 10000);
    job->trust = itp_min(n - 1, o->k_trust > 0 ? o->k_trust : 12);
    job->preserved = itp_min(n - 1, o->k_preserved > 0 ? o->k_preserved : 10);
    job->vote = itp_min(n - 1, o->k_accuracy > 0 ? o->k_accuracy : 1);
    job->k = itp_max(job->trust, itp_max(job->preserved, job->vote));
    job->classes = o->classes;
    for (int s = 0; s < 2; s++) {
        itp_near_plan(&q->space[s], n, s ? dims : d, &q->how[s]);
        if (itp_knn_method(&q->space[s], job->k, &q->how[s]) == INTERP_KNN_DESCENT)
            q->how[s].method = INTERP_KNN_EXACT; /* a measure guesses nothing */
        job->space[s] = &q->space[s];
    }
}

INTERP_API size_t interp_quality_bytes(const interp_ctx *ctx, int n, int d, int dims,
                                       const interp_quality_desc *desc)
{
    itp_quality_space q;
    itp_quality_job job;
    itp_arena arena = {NULL, 0};
    const float some = 0; /* queries are only counted */
    if (n < 2 || d < 1 || dims < 1) return 0;
    itp_quality_plan(&q, &job, n, d, dims, desc);
    itp_quality_layout(&arena, &q, ctx, &job);
    size_t more = itp_max_size(itp_alloc_cost((size_t)n * sizeof(int)),
                               itp_alloc_cost((size_t)itp_max(d, dims) * sizeof(double)));
    for (int s = 0; s < 2; s++) {
        const size_t m = (size_t)job.m, width = (size_t)(s ? dims : d);
        interp_knn_desc how = q.how[s];
        size_t search = 0;
        if (job.m < n) {
            how.queries = &some, how.n_queries = job.m;
            search = itp_alloc_cost(itp_mul_size(m, width * sizeof(float))) +
                     itp_alloc_cost(m * (size_t)(job.k + 1) * sizeof(int32_t));
        }
        search += interp_knn_bytes(ctx, n, (int)width, job.m < n ? job.k + 1 : job.k, &how);
        more = itp_max_size(more, search);
    }
    return itp_add_size(itp_alloc_cost(arena.used), more);
}

/* The points that are judged: all, or some at random. */
ITP_FN interp_status itp_quality_draw(interp_ctx *ctx, const itp_quality_space *q,
                                      const itp_quality_job *job)
{
    int *all = (int *)interp_alloc(ctx, (size_t)job->n * sizeof *all);
    if (!all) return INTERP_NO_MEMORY;
    for (int i = 0; i < job->n; i++) all[i] = i;
    if (job->m < job->n) itp_shuffle(all, job->n, q->desc.seed, 0x9A0);
    for (int i = 0; i < job->m; i++) q->judged[i] = all[i];
    interp_free(ctx, all);
    return INTERP_OK;
}

ITP_FN interp_status itp_quality_run(interp_ctx *ctx, itp_quality_space *q, itp_quality_job *job,
                                     const float *const x[2], interp_quality *out)
{
    for (int s = 0; s < 2; s++) ITP_TRY(itp_near_fill(ctx, &q->space[s], x[s], NULL));
    ITP_TRY(itp_quality_draw(ctx, q, job));
    for (int s = 0; s < 2; s++)
        ITP_TRY(itp_quality_near(ctx, x[s], job->n, q->space[s].d, &q->how[s], q->judged, job->m,
                                 job->k, q->near[s]));
    job->ctx = ctx;
    job->judged = q->judged;
    job->near[0] = q->near[0], job->near[1] = q->near[1];
    job->row = q->row, job->sums = q->sums;
    ITP_TRY(itp_quality_judge(ctx, q, job, out));
    out->spearman = job->n > 2 ? itp_quality_spearman(ctx, q) : (double)NAN;
    return INTERP_OK;
}

INTERP_API interp_status interp_embed_quality(interp_ctx *ctx, const float *x, int n, int d,
                                              const float *y, int dims,
                                              const interp_quality_desc *desc,
                                              interp_quality *quality)
{
    itp_quality_space q;
    itp_quality_job job;
    itp_arena arena = {NULL, 0};
    const float *const spaces[2] = {x, y};
    interp_quality found;
    if (n < 2 || d < 1 || dims < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "quality: %d points of %d and %d numbers cannot be compared", n, d, dims);
    itp_quality_plan(&q, &job, n, d, dims, desc);
    itp_quality_layout(&arena, &q, ctx, &job);
    arena.base = (char *)interp_alloc(ctx, arena.used);
    if (!arena.base) return INTERP_NO_MEMORY;
    arena.used = 0;
    itp_quality_layout(&arena, &q, ctx, &job);
    memset(&found, 0, sizeof found);
    const interp_status status = itp_quality_run(ctx, &q, &job, spaces, &found);
    if (!status) *quality = found;
    interp_free(ctx, arena.base);
    return status;
}

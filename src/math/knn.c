/* ---- math/knn.c: nearest neighbours, by whichever way ------------------------------------------ */

ITP_FN interp_status itp_knn_check(interp_ctx *ctx, int n, int d, int k,
                                   const interp_knn_desc *desc)
{
    const interp_metric metric = desc ? desc->metric : INTERP_METRIC_EUCLIDEAN;
    const bool queries = desc && desc->queries;
    if ((unsigned)metric >= INTERP_METRIC_COUNT || n < 1 || d < 1 ||
        (queries && desc->n_queries < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "neighbours: %d rows of %d numbers and %d queries by metric %d cannot be "
                        "compared",
                        n, d, queries ? desc->n_queries : n, (int)metric);
    if (k < 1 || k > n - (queries ? 0 : 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "neighbours: each row has %d others, so k may be 1 to that, but it is %d",
                        n - (queries ? 0 : 1), k);
    if (metric == INTERP_METRIC_PRECOMPUTED && d != n)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "neighbours: precomputed distances are [n,n] or [queries,n], but rows have "
                        "%d numbers for %d points",
                        d, n);
    if (desc && desc->p != 0 && !(desc->p >= 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "neighbours: p of minkowski is %g, below 1",
                        (double)desc->p);
    if (desc && desc->method == INTERP_KNN_TREE && !itp_vantage_suits(metric))
        return itp_fail(
            ctx, INTERP_UNSUPPORTED,
            "neighbours: %s does not keep the triangle inequality, which the tree needs",
            interp_metric_name(metric));
    if (desc && desc->method == INTERP_KNN_DESCENT &&
        (queries || metric == INTERP_METRIC_PRECOMPUTED))
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "neighbours: the descent looks among the rows themselves, not for %s",
                        queries ? "queries" : "precomputed distances");
    if (desc && desc->max_candidates < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "neighbours: max_candidates is %d",
                        desc->max_candidates);
    return INTERP_OK;
}

/* Points above which AUTO is content with nearly all neighbours, and of each neighbour that is wanted:
   there the descent begins to be faster. */
enum { ITP_KNN_ALL = 100000, ITP_KNN_ALL_OF_K = 2500 };

/* The method that AUTO stands for. */
ITP_FN interp_knn_method itp_knn_method(const itp_near *s, int k, const interp_knn_desc *desc)
{
    if (desc && desc->method != INTERP_KNN_AUTO) return desc->method;
    if (s->n > 20000 && s->d <= 3 && itp_vantage_suits(s->metric)) return INTERP_KNN_TREE;
    const bool among = !(desc && desc->queries) && s->metric != INTERP_METRIC_PRECOMPUTED;
    const bool many = s->n > ITP_KNN_ALL && s->n / ITP_KNN_ALL_OF_K > k;
    return many && among ? INTERP_KNN_DESCENT : INTERP_KNN_EXACT;
}

INTERP_API interp_status interp_knn(interp_ctx *ctx, const float *x, int n, int d, int k,
                                    const interp_knn_desc *desc, int32_t *index, float *distance,
                                    interp_knn_info *info)
{
    ITP_TRY(itp_knn_check(ctx, n, d, k, desc));
    itp_near s;
    itp_near_plan(&s, n, d, desc);
    itp_arena arena = {NULL, 0};
    interp_knn_info done;
    memset(&done, 0, sizeof done);
    done.method = itp_knn_method(&s, k, desc);
    done.recall = 1;
    const bool self = !(desc && desc->queries), exact = done.method == INTERP_KNN_EXACT;
    itp_near_layout(&arena, &s, exact);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_near_layout(&arena, &s, exact);
    interp_status status = itp_near_fill(ctx, &s, x, desc ? desc->queries : NULL);
    if (!status && exact) status = itp_near_exact(ctx, &s, k, self, index, distance);
    else if (!status && done.method == INTERP_KNN_TREE)
        status = itp_near_tree(ctx, &s, k, self, index, distance);
    else if (!status) status = itp_near_descent(ctx, &s, k, desc, index, distance, &done);
    interp_free(ctx, block);
    if (info && !status) *info = done;
    return status;
}

INTERP_API size_t interp_knn_bytes(const interp_ctx *ctx, int n, int d, int k,
                                   const interp_knn_desc *desc)
{
    itp_near s;
    itp_arena arena = {NULL, 0}, more = {NULL, 0};
    if (n < 1 || d < 1) return 0;
    itp_near_plan(&s, n, d, desc);
    const interp_knn_method way = itp_knn_method(&s, k, desc);
    itp_near_layout(&arena, &s, way == INTERP_KNN_EXACT);
    if (way == INTERP_KNN_TREE) {
        itp_vantage t;
        itp_vantage_job find;
        itp_vantage_job_layout(&more, &t, &find, ctx, n, k);
    } else if (way == INTERP_KNN_DESCENT) {
        itp_nnd find;
        itp_nnd_plan(&find, ctx, &s, k, desc);
        itp_nnd_layout(&more, &find);
    } else {
        itp_near_job job;
        itp_near_job_plan(&job, ctx, &s, k, !(desc && desc->queries));
        more.used = itp_mul_size(job.slot_bytes, (size_t)ctx->slots);
    }
    const size_t mean = itp_alloc_cost((size_t)d * sizeof(double));
    return itp_add_size(itp_alloc_cost(arena.used), itp_max_size(mean, itp_alloc_cost(more.used)));
}

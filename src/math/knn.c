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
    return INTERP_OK;
}

INTERP_API interp_status interp_knn(interp_ctx *ctx, const float *x, int n, int d, int k,
                                    const interp_knn_desc *desc, int32_t *index, float *distance,
                                    interp_knn_info *info)
{
    ITP_TRY(itp_knn_check(ctx, n, d, k, desc));
    itp_near s;
    itp_near_plan(&s, n, d, desc);
    itp_arena arena = {NULL, 0};
    itp_near_layout(&arena, &s, true);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_near_layout(&arena, &s, true);
    interp_status status = itp_near_fill(ctx, &s, x, desc ? desc->queries : NULL);
    if (!status) status = itp_near_exact(ctx, &s, k, !(desc && desc->queries), index, distance);
    interp_free(ctx, block);
    if (info && !status) info->method = INTERP_KNN_EXACT, info->recall = 1;
    return status;
}

INTERP_API size_t interp_knn_bytes(const interp_ctx *ctx, int n, int d, int k,
                                   const interp_knn_desc *desc)
{
    itp_near s;
    itp_near_job job;
    itp_arena arena = {NULL, 0};
    if (n < 1 || d < 1) return 0;
    itp_near_plan(&s, n, d, desc);
    itp_near_layout(&arena, &s, true);
    itp_near_job_plan(&job, ctx, &s, k, !(desc && desc->queries));
    const size_t mean = itp_alloc_cost((size_t)d * sizeof(double));
    const size_t scan = itp_alloc_cost(itp_mul_size(job.slot_bytes, (size_t)ctx->slots));
    return itp_add_size(itp_alloc_cost(arena.used), itp_max_size(mean, scan));
}

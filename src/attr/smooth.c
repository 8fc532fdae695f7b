/* ---- attr/smooth.c: averages over noisy copies of what another method says ------------------------ */

/* The call for copies of sample s, whose targets are known. */
ITP_FN interp_attribute_desc itp_smooth_desc(const itp_attr *a, int s, int32_t *targets)
{
    interp_attribute_desc d = a->d;
    d.method = a->d.base, d.base = INTERP_SALIENCY;
    d.keep_sign = true;
    d.n_targets = 0;
    d.batch = a->base_batch;
    d.n_samples = 0, d.noise = NULL, d.alphas = NULL, d.draws = NULL;
    d.permutations = d.coalitions = NULL;
    const bool many = (itp_attr_row_of(d.method)->needs & ITP_ATTR_ANY_BASELINES) != 0;
    if (d.baseline && d.n_baselines > 1 && !many)
        d.baseline += (size_t)s * a->given, d.n_baselines = 1;
    const int target = targets && a->report ? a->report[s].target : a->d.target;
    for (int i = 0; targets && i < ITP_SMOOTH_COPIES; i++) targets[i] = target;
    if (targets && target >= 0) d.target_kind = INTERP_TARGET_LABELS, d.targets = targets;
    else if (targets) d.target_kind = INTERP_TARGET_SUM;
    return d;
}

ITP_FN interp_status itp_smooth_settle(itp_attr *a)
{
    itp_attr sub;
    if ((unsigned)a->d.base >= INTERP_METHOD_COUNT ||
        a->d.base == INTERP_FEATURE_PERMUTATION || /* of other samples */
        (itp_attr_row_of(a->d.base)->needs & ITP_ATTR_AVERAGES))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "%s: base is no method that can be averaged",
                        a->row->name);
    a->base_batch = a->d.batch;
    a->d.batch = 1; /* of the outputs, which is all that is done here */
    const interp_attribute_desc d = itp_smooth_desc(a, 0, NULL);
    ITP_TRY(itp_attr_settle(&sub, a->net, ITP_SMOOTH_COPIES, &d, NULL, NULL));
    a->result_shape = sub.result_shape;
    a->base_points = sub.points;
    return INTERP_OK;
}

/* What a run of the other method takes at most. */
ITP_FN interp_status itp_smooth_bytes(const itp_attr *a, size_t *bytes)
{
    const interp_attribute_desc d = itp_smooth_desc(a, 0, NULL);
    return interp_attribute_bytes(a->net, itp_min(ITP_SMOOTH_COPIES, a->points), &d, bytes);
}

ITP_FN interp_status itp_attr_dispatch(itp_attr *a, const float *x, float *out,
                                       interp_attribution *report); /* in many.c */

ITP_FN interp_status itp_smooth_run(itp_attr *a)
{
    const size_t n = a->result_size;
    a->total = 2.0 * a->n + (double)a->n * a->points * (a->base_points + 2);
    for (int s = 0; s < a->n; s++) {
        memset(a->sum, 0, n * sizeof *a->sum);
        memset(a->square, 0, n * sizeof *a->square);
        for (int at = 0, some; at < a->points; at += some) {
            int32_t targets[ITP_SMOOTH_COPIES];
            const interp_attribute_desc d = itp_smooth_desc(a, s, targets);
            itp_attr sub;
            some = itp_min(ITP_SMOOTH_COPIES, a->points - at);
            for (int i = 0; i < some; i++)
                itp_attr_point(a, s, at + i, a->copies + (size_t)i * a->size);
            ITP_TRY(itp_attr_settle(&sub, a->net, some, &d, NULL, NULL));
            sub.done = a->done, sub.total = a->total;
            ITP_TRY(itp_attr_dispatch(&sub, a->copies, a->scratch, NULL));
            a->done = sub.done;
            for (size_t k = 0; k < n * (size_t)some; k++) {
                const double v = (double)a->scratch[k];
                a->sum[k % n] += v, a->square[k % n] += v * v;
            }
        }
        itp_attr_finish(a, s, 0);
        a->report[s].passes = a->points * (a->base_points + 2) + 2;
    }
    return INTERP_OK;
}

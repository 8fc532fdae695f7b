/* ---- attr/guided_ig.c: integrated gradients along a path of small gradients -----------------------

   Each step goes the same part of the L1 distance to the input, and moves only those numbers whose
   gradient is among the smallest: high gradients that lie off the way to the input are gone around
   (Kapishnikov et al. 2021, algorithm 1, without anchors). A step counts by the mean of the gradients
   at both its ends: as the path seeks places where gradients jump, that at its start alone, which it
   was chosen by, says too little. */

ITP_FN interp_status itp_attr_settle_guided_ig(itp_attr *a)
{
    if (!(a->d.fraction >= 0 && a->d.fraction <= 1))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "guided_ig: the fraction must be in 0 to 1");
    if (a->d.fraction == 0) a->d.fraction = 0.25f;
    a->points = a->d.n_steps + 1;
    return INTERP_OK;
}

ITP_FN size_t itp_attr_scratch_guided_ig(const itp_attr *a, int batch)
{
    (void)batch;
    return a->size;
}

ITP_FN void itp_attr_layout_guided_ig(itp_arena *m, itp_attr *a)
{
    const size_t n = itp_mul_size((size_t)a->batch, a->size);
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(n, sizeof(double)));
    a->moved = itp_arena_floats(m, n);
}

/* The number that would be at `place` if n numbers were sorted; moves them about. */
ITP_FN float itp_around_nth(float *x, size_t n, size_t place)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i >= j) break;
            const float t = x[i];
            x[i++] = x[j], x[j--] = t;
        }
        if (place <= j) high = j;
        else low = j + 1;
    }
    return x[place];
}

ITP_FN double itp_around_left(const float *x, const float *at, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabs((double)x[i] - (double)at[i]);
    return sum;
}

/* Moves `at` until no more than `target` is left of the distance to x. Of the numbers that have not
   arrived, those with gradients up to the quantile go all the way, and the last ones a part of it. */
ITP_FN void itp_around_step(const itp_attr *a, const float *x, const float *g, double target,
                            float *at)
{
    const size_t n = a->size, place = (size_t)((double)(n - 1) * (double)a->d.fraction);
    float *keys = a->scratch;
    for (double left = itp_around_left(x, at, n); left > target;) {
        double some = 0;
        for (size_t i = 0; i < n; i++) keys[i] = at[i] == x[i] ? INFINITY : fabsf(g[i]);
        const float most = itp_around_nth(keys, n, place);
        for (size_t i = 0; i < n; i++)
            if (at[i] != x[i] && fabsf(g[i]) <= most) some += fabs((double)x[i] - (double)at[i]);
        if (some <= 0) return;
        const double part = fmin(1, (left - target) / some);
        for (size_t i = 0; i < n; i++) {
            if (at[i] == x[i] || fabsf(g[i]) > most) continue;
            const double from = (double)at[i];
            at[i] = part >= 1 ? x[i] : (float)(from + part * ((double)x[i] - from));
        }
        if (part < 1) return;
        left = itp_around_left(x, at, n);
    }
}

/* Half of the gradient at either end of the step that was made. */
ITP_FN void itp_around_count(const itp_attr *a, const float *g, const float *moved, double *sum)
{
    for (size_t k = 0; k < a->size; k++) sum[k] += 0.5 * (double)moved[k] * (double)g[k];
}

/* The next step of slot i. */
ITP_FN void itp_around_move(const itp_attr *a, int i, int sample, int step, const float *g)
{
    const size_t k = (size_t)i * a->size;
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    float *at = a->in + k, *moved = a->moved + k;
    double all = 0;
    for (size_t j = 0; j < a->size; j++) all += fabs((double)x[j] - (x0 ? (double)x0[j] : 0));
    memcpy(moved, at, a->size * sizeof *at);
    itp_around_step(a, x, g, all * (1 - (step + 1.0) / a->d.n_steps), at);
    for (size_t j = 0; j < a->size; j++) moved[j] = at[j] - moved[j];
}

/* Samples at .. at + filled take all their steps side by side. */
ITP_FN interp_status itp_around_paths(itp_attr *a, int at)
{
    for (int i = 0; i < a->filled; i++)
        itp_attr_put(a, itp_attr_baseline(a, at + i), itp_attr_slot(a, i, at + i));
    memset(a->sum, 0, (size_t)a->filled * a->size * sizeof *a->sum);
    for (int step = 0; step <= a->d.n_steps; step++) {
        ITP_TRY(itp_attr_forward(a));
        memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
        for (int i = 0; i < a->filled; i++) itp_attr_seed(a, i, a->report[at + i].target, 1);
        ITP_TRY(interp_backward(a->w, a->seed));
        for (int i = 0; i < a->filled; i++) {
            const size_t k = (size_t)i * a->size;
            const float *g = itp_attr_grad(a) + k;
            if (step) itp_around_count(a, g, a->moved + k, a->sum + k);
            if (step == a->d.n_steps) continue;
            itp_around_move(a, i, at + i, step, g);
            itp_around_count(a, g, a->moved + k, a->sum + k);
        }
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_run_guided_ig(itp_attr *a)
{
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        ITP_TRY(itp_around_paths(a, at));
        for (int i = 0; i < a->filled; i++) {
            interp_attribution *r = &a->report[at + i];
            float *out = a->result + (size_t)(at + i) * a->size;
            const double *sum = a->sum + (size_t)i * a->size;
            double total = 0;
            for (size_t k = 0; k < a->size; k++) out[k] = (float)sum[k], total += sum[k];
            r->residual = total - (r->output - r->baseline_output);
        }
    }
    return INTERP_OK;
}

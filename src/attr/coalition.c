/* ---- attr/coalition.c: which features are present: every subset, permutations, random draws -------- */

enum {
    ITP_P_OCCLUSION,
    ITP_P_ABLATION,
    ITP_P_PERMUTATION,
    ITP_P_EXACT,
    ITP_P_SAMPLING,
    ITP_P_KERNEL,
    ITP_P_LIME,
    ITP_P_PARTITION,
    ITP_P_RISE,
    ITP_P_ANCHORS
};

#define ITP_PERTURB_STREAM ((uint64_t)0x36 << 32) /* and up: one stream for each draw */

ITP_FN int itp_feature(const itp_attr *a, size_t k)
{
    return a->p.id ? a->p.id[k] : (int)k;
}

/* Features that are on as in x, all others as in the baseline. */
ITP_FN void itp_coalition_apply(const itp_attr *a, int sample, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    for (size_t k = 0; k < a->size; k++) to[k] = a->p.on[itp_feature(a, k)] ? x[k] : x0 ? x0[k] : 0;
}

/* Draw number `of` of an order of all features. */
ITP_FN void itp_coalition_shuffle(itp_attr *a, int of)
{
    itp_perturb *p = &a->p;
    if (p->order_of == of) return;
    for (int i = 0; i < p->count; i++) p->order[i] = i;
    itp_shuffle(p->order, p->count, a->d.seed, ITP_PERTURB_STREAM + (uint64_t)of);
    p->order_of = of;
}

/* The order in which a sampled permutation adds features. */
ITP_FN const int *itp_coalition_order(itp_attr *a, int sample, int permutation)
{
    if (a->d.permutations) return a->d.permutations + (size_t)permutation * (size_t)a->p.count;
    itp_coalition_shuffle(a, sample * a->d.n_samples + permutation);
    return a->p.order;
}

/* Of kernel_shap: all, none, then pairs of a random coalition and what it leaves out; its size k of M
   has probability ~ (M-1) / (k (M-k)). */
ITP_FN void itp_coalition_kernel(itp_attr *a, int sample, int index)
{
    itp_perturb *p = &a->p;
    const int m = p->count, of = sample * a->points + index / 2;
    if (index < 2) {
        memset(p->on, index == 0, (size_t)m);
        return;
    }
    double total = 0, sum = 0;
    int k = 0;
    for (int i = 1; i < m; i++) total += 1 / ((double)i * (m - i));
    const double draw = total * (double)interp_random_uniform(
                                    a->d.seed, ITP_PERTURB_STREAM + (uint64_t)of, (uint64_t)m);
    for (k = 1; k < m - 1; k++) {
        sum += 1 / ((double)k * (m - k));
        if (draw < sum) break;
    }
    itp_coalition_shuffle(a, of);
    for (int i = 0; i < m; i++) p->on[p->order[i]] = (i < k) != (index & 1);
}

/* Sets which features are on in copy `index` of a sample. */
ITP_FN void itp_coalition(itp_attr *a, int sample, int index)
{
    itp_perturb *p = &a->p;
    const int m = p->count, kind = a->row->kind;
    const int64_t row = (int64_t)sample * a->points + index;
    if (kind == ITP_P_SAMPLING) {
        const int steps = itp_max(1, m - 1);
        const int *order = itp_coalition_order(a, sample, index / steps);
        memset(p->on, 0, (size_t)m);
        for (int i = 0; i <= index % steps; i++) p->on[order[i]] = 1;
    } else if (kind == ITP_P_EXACT || p->all) {
        for (int i = 0; i < m; i++) p->on[i] = index >> i & 1;
    } else if (a->d.coalitions) {
        const int32_t *given = a->d.coalitions + (size_t)row * (size_t)m;
        for (int i = 0; i < m; i++) p->on[i] = given[i] != 0;
    } else if (kind == ITP_P_KERNEL) {
        itp_coalition_kernel(a, sample, index);
    } else {
        for (int i = 0; i < m; i++)
            p->on[i] =
                interp_random_u32(a->d.seed, ITP_PERTURB_STREAM + (uint64_t)row, (uint64_t)i) & 1;
    }
}

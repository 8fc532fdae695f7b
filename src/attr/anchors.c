/* ---- attr/anchors.c: the fewest features that hold the prediction, by KL-LUCB ----------------------- */

/* Constants of Ribeiro et al. 2018 and of alibi, which follows them. */
#define ITP_ANCHOR_DELTA 0.1  /* how often a bound may be wrong */
#define ITP_ANCHOR_TAU   0.15 /* candidates nearer than this are alike */
enum { ITP_ANCHOR_DRAWS = 100, ITP_ANCHOR_CHECKS = 20, ITP_ANCHOR_RIVALS = 3 };

/* Of each arm: its copies, how many of them keep the target largest, and the sum of their outputs. */
enum { ITP_ANCHOR_COUNTS = 3 };

/* An arm: the anchor so far and one feature more; arm `count` is the anchor alone. */
ITP_FN double *itp_anchor_drawn(const itp_attr *a, int arm)
{
    return a->p.row + ITP_ANCHOR_COUNTS * (size_t)arm;
}

ITP_FN double itp_anchor_mean(const itp_attr *a, int arm)
{
    const double *t = itp_anchor_drawn(a, arm);
    return t[0] > 0 ? t[1] / t[0] : 0;
}

/* Whether an arm keeps the target more often than another, or, where both do as often, with a larger
   output: of a thousand classes hardly any copy keeps the target at first. */
ITP_FN bool itp_anchor_beats(const itp_attr *a, int arm, int other)
{
    const double *t = itp_anchor_drawn(a, arm), *o = itp_anchor_drawn(a, other);
    const double mean = itp_anchor_mean(a, arm), than = itp_anchor_mean(a, other);
    return mean > than || (mean == than && t[2] * o[0] > o[2] * t[0]);
}

/* Divergence of Bernoulli distributions of means p and q. */
ITP_FN double itp_bernoulli_kl(double p, double q)
{
    const double tiny = 1e-12, u = fmin(1 - tiny, fmax(tiny, q));
    return (p > 0 ? p * log(p / u) : 0) + (p < 1 ? (1 - p) * log((1 - p) / (1 - u)) : 0);
}

/* The farthest mean above or below that of an arm whose divergence is at most beta over its draws. */
ITP_FN double itp_anchor_bound(const itp_attr *a, int arm, double beta, bool upper)
{
    const double n = itp_anchor_drawn(a, arm)[0], mean = itp_anchor_mean(a, arm);
    double near = mean, far = upper ? 1 : 0;
    if (n == 0) return far;
    for (int i = 0; i < 17; i++) {
        const double middle = (near + far) / 2;
        if (itp_bernoulli_kl(mean, middle) > beta / n) far = middle;
        else near = middle;
    }
    return far;
}

/* Copy i, one of the latest that are kept. */
ITP_FN itp_anchor_copy *itp_anchor_at(const itp_attr *a, int i)
{
    return &a->p.copies[i % ITP_ANCHOR_KEPT];
}

/* Whether random copy i of a sample has feature k by chance: every second does. */
ITP_FN bool itp_anchor_chance(const itp_attr *a, int sample, int i, int k)
{
    const uint64_t of = (uint64_t)sample * (uint64_t)a->points + (uint64_t)i;
    return interp_random_u32(a->d.seed, ITP_PERTURB_STREAM + of, (uint64_t)k) & 1;
}

/* Counts copy i for an arm; one of the anchor alone for every arm, too, whose feature it has by chance, as
   it is a random copy of that as well. */
ITP_FN void itp_anchor_count(const itp_attr *a, int sample, int i, int arm)
{
    const itp_anchor_copy *c = itp_anchor_at(a, i);
    for (int k = arm == a->p.count ? 0 : arm; k <= arm; k++) {
        double *t = itp_anchor_drawn(a, k);
        if (k < arm && (a->p.inside[k] || !itp_anchor_chance(a, sample, i, k))) continue;
        t[0]++, t[1] += c->keeps, t[2] += (double)c->f;
    }
}

/* Whether copy i, drawn when the anchor was smaller, is a random copy of the anchor as it is. */
ITP_FN bool itp_anchor_serves(const itp_attr *a, int sample, int i)
{
    const itp_anchor_copy *c = itp_anchor_at(a, i);
    if (c->arm < a->p.count && !a->p.inside[c->arm]) return false;
    for (int k = 0; k < a->p.count; k++)
        if (a->p.inside[k] > c->size && k != c->arm && !itp_anchor_chance(a, sample, i, k))
            return false;
    return true;
}

/* Forgets all counts but those of copies that serve an anchor that has grown. */
ITP_FN void itp_anchor_recount(const itp_attr *a, int sample)
{
    memset(a->p.row, 0, ITP_ANCHOR_COUNTS * ((size_t)a->p.count + 1) * sizeof *a->p.row);
    for (int i = itp_max(0, a->p.spent - ITP_ANCHOR_KEPT); i < a->p.spent; i++)
        if (itp_anchor_serves(a, sample, i)) itp_anchor_count(a, sample, i, a->p.count);
}

/* `each` random copies for every arm of a list, with the features of the arm present, of the others
   every second; counts how many keep the target largest. Stops where the passes are spent. */
ITP_FN interp_status itp_anchor_draw(itp_attr *a, int sample, const int *arms, int n_arms, int each)
{
    itp_perturb *p = &a->p;
    const int all = (int)itp_min_double((double)n_arms * each, a->points - p->spent);
    int size = 0;
    for (int k = 0; k < p->count; k++) size += p->inside[k] > 0;
    for (int at = 0; at < all; at += a->filled) {
        a->filled = itp_min(a->batch, all - at);
        for (int i = 0; i < a->filled; i++) {
            itp_anchor_copy *c = itp_anchor_at(a, p->spent + i);
            c->arm = arms[(at + i) / each], c->size = size;
            for (int k = 0; k < p->count; k++)
                p->on[k] =
                    p->inside[k] || k == c->arm || itp_anchor_chance(a, sample, p->spent + i, k);
            itp_coalition_apply(a, sample, itp_attr_slot(a, i, sample));
        }
        ITP_TRY(itp_attr_forward(a));
        const float *y = interp_workspace_target(a->w);
        for (int i = 0; i < a->filled; i++, y += a->outputs, p->spent++) {
            itp_anchor_copy *c = itp_anchor_at(a, p->spent);
            c->keeps = interp_argmax(y, a->outputs) == a->report[sample].target;
            c->f = (float)itp_attr_output(a, y, a->report[sample].target);
            itp_anchor_count(a, sample, p->spent, c->arm);
        }
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

/* Whether an arm's precision is above the threshold, as surely as delta asks for. */
ITP_FN interp_status itp_anchor_check(itp_attr *a, int sample, int arm, bool *holds)
{
    const double want = a->d.threshold > 0 ? (double)a->d.threshold : 0.95;
    const double beta = log(1 / ITP_ANCHOR_DELTA);
    *holds = false;
    for (int i = 0; i < ITP_ANCHOR_CHECKS; i++) {
        *holds = itp_anchor_bound(a, arm, beta, false) > want;
        if (*holds || itp_anchor_bound(a, arm, beta, true) < want || a->p.spent >= a->points) break;
        ITP_TRY(itp_anchor_draw(a, sample, &arm, 1, ITP_ANCHOR_DRAWS));
    }
    return INTERP_OK;
}

/* The arm with the highest precision: KL-LUCB draws for the best and for its strongest rival until
   their bounds are no more than tau apart; as long as there are more rivals, copies of the anchor alone are
   drawn instead, each of which counts for every second arm. Half of the passes that are left may go
   there; then the arm with the highest lower bound is taken. */
ITP_FN interp_status itp_anchor_best(itp_attr *a, int sample, const int *arms, int n, int *best)
{
    const int until = a->p.spent + (a->points - a->p.spent) / 2;
    const int alone = a->p.count;
    for (int t = 1;; t++) {
        const double level = log(405.5 * n * pow(t, 1.1) / ITP_ANCHOR_DELTA);
        const double beta = level + log(level);
        int pair[2] = {arms[0], -1};
        double high = -1, surest = -1;
        int rivals = 0;
        for (int i = 1; i < n; i++)
            if (itp_anchor_beats(a, arms[i], pair[0])) pair[0] = arms[i];
        for (int i = 0; i < n; i++) {
            const double bound = itp_anchor_bound(a, arms[i], beta, true);
            if (arms[i] == pair[0]) continue;
            if (bound > high || (bound == high && itp_anchor_beats(a, arms[i], pair[1])))
                high = bound, pair[1] = arms[i];
        }
        *best = pair[0];
        const double near = itp_anchor_bound(a, pair[0], beta, false) + ITP_ANCHOR_TAU;
        if (pair[1] < 0 || high <= near) return INTERP_OK;
        for (int i = 0; i < n; i++)
            rivals += arms[i] != pair[0] && itp_anchor_bound(a, arms[i], beta, true) > near;
        for (int i = 0; i < n && a->p.spent >= until; i++) {
            const double bound = itp_anchor_bound(a, arms[i], beta, false);
            if (bound > surest || (bound == surest && itp_anchor_beats(a, arms[i], *best)))
                surest = bound, *best = arms[i];
        }
        if (a->p.spent >= until) return INTERP_OK;
        const bool many = rivals > ITP_ANCHOR_RIVALS;
        ITP_TRY(itp_anchor_draw(a, sample, many ? &alone : pair, many ? 1 : 2, ITP_ANCHOR_DRAWS));
    }
}

/* Grows an anchor feature by feature until it holds. Random copies have each feature with probability
   1/2, so that 2^-k of them contain an anchor of k features. */
ITP_FN interp_status itp_anchor_sample(itp_attr *a, int sample)
{
    itp_perturb *p = &a->p;
    interp_attribution *r = &a->report[sample];
    int size = 0, arm = p->count;
    bool holds = false;
    memset(p->inside, 0, (size_t)p->count * sizeof *p->inside);
    memset(p->row, 0, ITP_ANCHOR_COUNTS * ((size_t)p->count + 1) * sizeof *p->row);
    memset(a->sum, 0, (size_t)p->count * sizeof *a->sum);
    p->spent = 0;
    ITP_TRY(itp_anchor_draw(a, sample, &arm, 1, ITP_ANCHOR_DRAWS));
    ITP_TRY(itp_anchor_check(a, sample, arm, &holds));
    r->precision = itp_anchor_mean(a, arm);
    while (!holds && size < p->count && p->spent < a->points) {
        int n = 0;
        for (int k = 0; k < p->count; k++)
            if (!p->inside[k]) p->order[n++] = k;
        ITP_TRY(itp_anchor_best(a, sample, p->order, n, &arm));
        ITP_TRY(itp_anchor_check(a, sample, arm, &holds));
        if (itp_anchor_drawn(a, arm)[0] < (double)ITP_ANCHOR_DRAWS / 2 && !holds)
            break; /* hardly tried */
        r->precision = itp_anchor_mean(a, arm);
        p->inside[arm] = ++size;
        a->sum[arm] = 1;
        itp_anchor_recount(a, sample);
    }
    r->coverage = pow(0.5, size);
    r->passes = p->spent + 2;
    return itp_attr_tick(a, a->points - p->spent);
}

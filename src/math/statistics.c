/* ---- math/statistics.c: paired tests -------------------------------------------------------- */

/* log Gamma(z) for z > 0, by Stirling's series from 8 on. */
ITP_FN double itp_log_gamma(double z)
{
    double less = 0;
    for (; z < 8; z++) less += log(z);
    const double r = 1 / (z * z);
    return (z - 0.5) * log(z) - z + 0.91893853320467274178 +
           (1 / 12.0 - r * (1 / 360.0 - r * (1 / 1260.0 - r / 1680))) / z - less;
}

/* Regularised incomplete beta function by its continued fraction (Lentz's method). */
ITP_FN double itp_incomplete_beta(double a, double b, double x)
{
    if (x <= 0 || x >= 1) return x > 0;
    if (x > (a + 1) / (a + b + 2)) return 1 - itp_incomplete_beta(b, a, 1 - x);
    const double front = exp(itp_log_gamma(a + b) - itp_log_gamma(a) - itp_log_gamma(b) +
                             a * log(x) + b * log1p(-x)) /
                         a;
    double c = 1, d = 1 / fmax(1e-300, 1 - (a + b) * x / (a + 1)), f = d;
    for (int i = 1; i < 500; i++) {
        double step = 1;
        for (int odd = 0; odd < 2; odd++) {
            const double t = odd ? -(a + i) * (a + b + i) * x / ((a + 2 * i) * (a + 2 * i + 1))
                                 : i * (b - i) * x / ((a + 2 * i - 1) * (a + 2 * i));
            d = 1 + t * d, c = 1 + t / c;
            d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
            if (fabs(c) < 1e-300) c = 1e-300;
            f *= step = c * d;
        }
        if (fabs(step - 1) < 1e-15) break;
    }
    return front * f;
}

INTERP_API double interp_student_p(double t, double freedom)
{
    if (t != t || !(freedom > 0)) return (double)NAN;
    return itp_incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t));
}

/* The t that is exceeded either way with probability p. */
ITP_FN double itp_student_t(double p, double freedom)
{
    double low = 0, high = 1;
    while (interp_student_p(high, freedom) > p && high < 1e12) high *= 2;
    for (int i = 0; i < 200 && high - low > 1e-14 * high; i++) {
        const double middle = 0.5 * (low + high);
        *(interp_student_p(middle, freedom) > p ? &low : &high) = middle;
    }
    return 0.5 * (low + high);
}

ITP_FN int itp_by_size(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* Twice the ranks of |d|[n], sorted upwards, equals sharing their mean; the sum of (t^3 - t) over
   groups of t equals. */
ITP_FN double itp_double_ranks(const double *d, int n, int *rank)
{
    double ties = 0;
    for (int i = 0; i < n;) {
        int end = i;
        while (end < n && fabs(d[end]) <= fabs(d[i])) end++;
        for (int k = i; k < end; k++) rank[k] = i + 1 + end;
        const double t = end - i;
        ties += t * t * t - t;
        i = end;
    }
    return ties;
}

/* Both tails of the sum of the ranks whose sign is drawn: twice the probability that it is at most
   `low`. share: [sum of ranks + 1] of scratch: the probability of each sum. */
ITP_FN double itp_signed_rank_exact(const int *rank, int n, int low, double *share)
{
    int most = 0;
    share[0] = 1;
    for (int i = 0; i < n; i++) {
        for (int s = most + 1; s <= most + rank[i]; s++) share[s] = 0;
        most += rank[i];
        for (int s = most; s >= 0; s--)
            share[s] = (share[s] + (s >= rank[i] ? share[s - rank[i]] : 0)) / 2;
    }
    double sum = 0;
    for (int s = 0; s <= low; s++) sum += share[s];
    return itp_min_double(1, 2 * sum);
}

enum { ITP_EXACT_PAIRS = 50 };

/* d[n]: differences, none of them 0; they are sorted. */
ITP_FN interp_status itp_signed_rank(interp_ctx *ctx, double *d, int n, double *w, double *p)
{
    *w = 0, *p = 1;
    if (!n) return INTERP_OK;
    const size_t sum = (size_t)n * ((size_t)n + 1); /* of twice the ranks */
    const size_t room = n <= ITP_EXACT_PAIRS ? sum + 1 : 0;
    double *block = (double *)interp_alloc(ctx, room * sizeof(double) + (size_t)n * sizeof(int));
    if (!block) return INTERP_NO_MEMORY;
    int *rank = (int *)(void *)(block + room);
    qsort(d, (size_t)n, sizeof *d, itp_by_size);
    const double ties = itp_double_ranks(d, n, rank);
    double up = 0;
    for (int i = 0; i < n; i++) up += d[i] > 0 ? rank[i] : 0;
    const double low = itp_min_double(up, (double)sum - up);
    *w = low / 2;
    if (room) {
        *p = itp_signed_rank_exact(rank, n, (int)low, block);
    } else {
        const double k = n, spread = sqrt((k * (k + 1) * (2 * k + 1) - ties / 2) / 24);
        *p = erfc(((double)sum / 4 - *w) / spread / sqrt(2.0));
    }
    interp_free(ctx, block);
    return INTERP_OK;
}

INTERP_API interp_status interp_paired_test(interp_ctx *ctx, const double *a, const double *b,
                                            int n, interp_paired *out)
{
    interp_paired r;
    memset(&r, 0, sizeof r);
    if (n < 2) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "a paired test of %d pairs", n);
    double *d = (double *)interp_alloc(ctx, (size_t)n * sizeof *d), square = 0;
    if (!d) return INTERP_NO_MEMORY;
    int some = 0;
    for (int i = 0; i < n; i++) r.mean += (a[i] - b[i]) / n;
    for (int i = 0; i < n; i++) square += (a[i] - b[i] - r.mean) * (a[i] - b[i] - r.mean);
    for (int i = 0; i < n; i++)
        if (a[i] != b[i]) d[some++] = a[i] - b[i];
    interp_status status = INTERP_OK;
    if (!(r.mean - r.mean == 0))
        status = itp_fail(ctx, INTERP_NOT_FINITE, "a paired test of numbers that are not finite");
    if (!status) status = itp_signed_rank(ctx, d, some, &r.w, &r.p_wilcoxon);
    interp_free(ctx, d);
    if (status) return status;
    r.n = n;
    r.sd = sqrt(square / (n - 1));
    const double error = r.sd / sqrt((double)n), reach = error * itp_student_t(0.05, n - 1);
    r.ci_low = r.mean - reach, r.ci_high = r.mean + reach;
    r.effect = r.mean / r.sd;
    r.t = r.mean / error;
    r.p_t = some ? interp_student_p(r.t, n - 1) : 1;
    *out = r;
    return INTERP_OK;
}

INTERP_API void interp_holm(const double *p, int n, double *adjusted)
{
    for (int i = 0; i < n; i++) {
        /* the largest of those at most as large, each times how many are not smaller */
        double most = 0;
        for (int j = 0; j < n; j++) {
            int before = 0;
            if (!(p[j] < p[i]) && j != i && !(p[j] <= p[i] && j < i)) continue;
            for (int k = 0; k < n; k++) before += p[k] < p[j] || (p[k] <= p[j] && k < j);
            const double scaled = p[j] * (n - before);
            most = scaled > most ? scaled : most;
        }
        adjusted[i] = p[i] == p[i] ? itp_min_double(1, most) : p[i];
    }
}

/* ---- math/distance.c: single distances ------------------------------------------------------ */

INTERP_API const char *interp_metric_name(interp_metric metric)
{
    static const char *const names[] = {
#define ITP_METRIC_NAME(name, text) text,
        INTERP_METRIC_LIST(ITP_METRIC_NAME)
#undef ITP_METRIC_NAME
    };
    return (unsigned)metric < INTERP_METRIC_COUNT ? names[metric] : NULL;
}

/* ---- single distances, in double: what the kernels are held to */

ITP_FN double itp_row_sum(const float *a, int d, double mean, int power)
{
    double s = 0;
    for (int i = 0; i < d; i++) {
        const double v = (double)a[i] - mean;
        s += power == 2 ? v * v : v;
    }
    return s;
}

/* 1 - cosine of rows less the given means. */
ITP_FN double itp_cosine_distance(const float *a, const float *b, int d, double ma, double mb)
{
    double na = 0, nb = 0, dot = 0;
    for (int i = 0; i < d; i++) {
        const double u = (double)a[i] - ma, v = (double)b[i] - mb;
        na += u * u, nb += v * v, dot += u * v;
    }
    if (na <= 0 || nb <= 0) return na <= 0 && nb <= 0 ? 0 : 1;
    return 1 - dot / sqrt(na * nb);
}

ITP_FN double itp_mass_distance(const float *a, const float *b, int d, bool mover)
{
    const double sa = itp_row_sum(a, d, 0, 1), sb = itp_row_sum(b, d, 0, 1);
    double s = 0, run = 0;
    for (int i = 0; i < d; i++) {
        const double u = sa > 0 ? (double)a[i] / sa : 0, v = sb > 0 ? (double)b[i] / sb : 0;
        run += u - v;
        s += mover ? fabs(run) : u > 0 && v > 0 ? sqrt(u * v) : 0;
    }
    if (mover) return s;
    if (sa <= 0 || sb <= 0) return sa <= 0 && sb <= 0 ? 0 : 1;
    return s < 1 ? sqrt(1 - s) : 0;
}

/* Runs a statement over pairs u, v of numbers and their distance `gap`, for four sums at once: one
   alone would wait for each addition. */
#define ITP_PAIRS(statement)                                                                       \
    do {                                                                                           \
        int i = 0, q = 0;                                                                          \
        for (; i + 4 <= d; i += 4)                                                                 \
            for (q = 0; q < 4; q++) {                                                              \
                const double u = (double)a[i + q], v = (double)b[i + q], gap = fabs(u - v);        \
                statement;                                                                         \
            }                                                                                      \
        for (q = 0; i < d; i++) {                                                                  \
            const double u = (double)a[i], v = (double)b[i], gap = fabs(u - v);                    \
            statement;                                                                             \
        }                                                                                          \
    } while (0)

ITP_FN double itp_double_dot(const float *a, const float *b, int d)
{
    double s[4] = {0, 0, 0, 0};
    ITP_PAIRS((void)gap; s[q] += u * v);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* Sum of gaps to the power of p. */
ITP_FN double itp_power_sum(const float *a, const float *b, int d, double p)
{
    double s[4] = {0, 0, 0, 0};
    const int whole = p <= 8 && p - floor(p) <= 0 ? (int)p : 0;
    if (!whole) ITP_PAIRS(s[q] += pow(gap, p));
    else ITP_PAIRS(double x = gap; for (int k = 1; k < whole; k++) x *= gap; s[q] += x);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

INTERP_API double interp_distance(const float *a, const float *b, int d, interp_metric metric,
                                  float p)
{
    double s[4] = {0, 0, 0, 0}, t[4] = {0, 0, 0, 0};
    const double power = p > 0 ? (double)p : 3;
    switch (metric) {
    case INTERP_METRIC_EUCLIDEAN: return sqrt(itp_power_sum(a, b, d, 2));
    case INTERP_METRIC_SQEUCLIDEAN: return itp_power_sum(a, b, d, 2);
    case INTERP_METRIC_MANHATTAN: return itp_power_sum(a, b, d, 1);
    case INTERP_METRIC_MINKOWSKI: return pow(itp_power_sum(a, b, d, power), 1 / power);
    case INTERP_METRIC_COSINE: return itp_cosine_distance(a, b, d, 0, 0);
    case INTERP_METRIC_CORRELATION:
        return itp_cosine_distance(a, b, d, itp_row_sum(a, d, 0, 1) / d,
                                   itp_row_sum(b, d, 0, 1) / d);
    case INTERP_METRIC_HELLINGER: return itp_mass_distance(a, b, d, false);
    case INTERP_METRIC_EARTH_MOVER: return itp_mass_distance(a, b, d, true);
    case INTERP_METRIC_CHEBYSHEV: ITP_PAIRS(s[q] = gap > s[q] ? gap : s[q]); break;
    case INTERP_METRIC_CANBERRA: ITP_PAIRS(s[q] += gap > 0 ? gap / (fabs(u) + fabs(v)) : 0); break;
    case INTERP_METRIC_BRAY_CURTIS: ITP_PAIRS(s[q] += gap; t[q] += fabs(u + v)); break;
    case INTERP_METRIC_HAMMING: ITP_PAIRS(s[q] += gap > 0); break;
    case INTERP_METRIC_JACCARD:
        ITP_PAIRS((void)gap; s[q] += u != 0 && v != 0; t[q] += u != 0 || v != 0);
        break;
    case INTERP_METRIC_PRECOMPUTED:
    case INTERP_METRIC_COUNT: return (double)NAN;
    }
    const double one = (s[0] + s[1]) + (s[2] + s[3]), other = (t[0] + t[1]) + (t[2] + t[3]);
    switch (metric) {
    case INTERP_METRIC_CHEBYSHEV: return fmax(fmax(s[0], s[1]), fmax(s[2], s[3]));
    case INTERP_METRIC_BRAY_CURTIS: return other > 0 ? one / other : 0;
    case INTERP_METRIC_HAMMING: return one / d;
    case INTERP_METRIC_JACCARD: return other > 0 ? 1 - one / other : 0;
    default: return one;
    }
}
#undef ITP_PAIRS

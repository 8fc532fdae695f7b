/* ---- math/distance.c: single distances ---------------------------------------------------------- */

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
    const double na = itp_row_sum(a, d, ma, 2), nb = itp_row_sum(b, d, mb, 2);
    double dot = 0;
    if (na <= 0 || nb <= 0) return na <= 0 && nb <= 0 ? 0 : 1;
    for (int i = 0; i < d; i++) dot += ((double)a[i] - ma) * ((double)b[i] - mb);
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

INTERP_API double interp_distance(const float *a, const float *b, int d, interp_metric metric,
                                  float p)
{
    double s = 0, t = 0;
    const double power = p > 0 ? (double)p : 3;
    for (int i = 0; i < d; i++) {
        const double u = (double)a[i], v = (double)b[i], gap = fabs(u - v);
        switch (metric) {
        case INTERP_METRIC_EUCLIDEAN:
        case INTERP_METRIC_SQEUCLIDEAN: s += gap * gap; break;
        case INTERP_METRIC_MANHATTAN: s += gap; break;
        case INTERP_METRIC_CHEBYSHEV: s = gap > s ? gap : s; break;
        case INTERP_METRIC_MINKOWSKI: s += pow(gap, power); break;
        case INTERP_METRIC_CANBERRA: s += gap > 0 ? gap / (fabs(u) + fabs(v)) : 0; break;
        case INTERP_METRIC_BRAY_CURTIS: s += gap, t += fabs(u + v); break;
        case INTERP_METRIC_HAMMING: s += gap > 0; break;
        case INTERP_METRIC_JACCARD: s += u != 0 && v != 0, t += u != 0 || v != 0; break;
        default: break;
        }
    }
    switch (metric) {
    case INTERP_METRIC_EUCLIDEAN: return sqrt(s);
    case INTERP_METRIC_COSINE: return itp_cosine_distance(a, b, d, 0, 0);
    case INTERP_METRIC_CORRELATION:
        return itp_cosine_distance(a, b, d, itp_row_sum(a, d, 0, 1) / d,
                                   itp_row_sum(b, d, 0, 1) / d);
    case INTERP_METRIC_MINKOWSKI: return pow(s, 1 / power);
    case INTERP_METRIC_BRAY_CURTIS: return t > 0 ? s / t : 0;
    case INTERP_METRIC_HAMMING: return s / d;
    case INTERP_METRIC_JACCARD: return t > 0 ? 1 - s / t : 0;
    case INTERP_METRIC_HELLINGER: return itp_mass_distance(a, b, d, false);
    case INTERP_METRIC_EARTH_MOVER: return itp_mass_distance(a, b, d, true);
    case INTERP_METRIC_PRECOMPUTED:
    case INTERP_METRIC_COUNT: return (double)NAN;
    default: return s;
    }
}

/* ---- math/quadrature.c: points and weights of integrals over [0,1] ------------------------------- */

/* P_n(cos t) and its derivative by t, from Bonnet's recurrence: n steps. It adds up differences, so
   that nothing is lost where cos t is almost 1. */
ITP_FN double itp_legendre(int n, double t, double *slope)
{
    const double half = sin(0.5 * t), u = 2 * half * half; /* 1 - cos t */
    double p = 1, step = 0;                                /* P_k and P_k - P_{k-1} */
    for (int k = 0; k < n; k++) {
        step = (k * step - (2 * k + 1) * u * p) / (k + 1);
        p += step;
    }
    *slope = n * (step - u * p) / sin(t);
    return p;
}

/* The factor 2 Gamma(n+1) / (sqrt(pi) Gamma(n+3/2)) of the expansion below, by Stirling's series. */
ITP_FN double itp_legendre_factor(int n)
{
    const double a = n + 1.0, b = n + 1.5, a2 = a * a, b2 = b * b;
    const double series = (1 / 12.0 - 1 / (360 * a2) + 1 / (1260 * a2 * a2)) / a -
                          (1 / 12.0 - 1 / (360 * b2) + 1 / (1260 * b2 * b2)) / b;
    const double shrink = exp(0.5 + series - (n + 0.5) * log1p(0.5 / a));
    return 2 * shrink / sqrt(3.14159265358979323846 * b);
}

/* The same by Stieltjes' expansion in cos((n+m+1/2)t - (m+1/2)pi/2) / (2 sin t)^(m+1/2), which takes
   about ten terms from the ITP_LEGENDRE_EDGE-th root on (Hale and Townsend 2013, eq. 3.3). */
ITP_FN double itp_legendre_far(int n, double factor, double t, double *slope)
{
    const double s = sin(t), cot = cos(t) / s;
    double h = factor / sqrt(2 * s), p = 0, d = 0;
    for (int m = 0; m < 60 && h > 1e-18 * factor; m++) {
        const double order = m + 0.5;
        const double phase = (n + order) * t - order * (0.5 * 3.14159265358979323846);
        const double c = h * cos(phase);
        p += c;
        d -= (n + order) * h * sin(phase) + order * cot * c;
        h *= order * order / ((m + 1) * (n + order + 1) * 2 * s);
    }
    *slope = d;
    return p;
}

enum { ITP_LEGENDRE_EDGE = 30 }; /* roots at each end that are found by the recurrence */

/* Roots cos(t) of the Legendre polynomial by Newton's method from Tricomi's estimate: a fixed number
   of operations each, but for those at the ends. */
ITP_FN interp_status itp_gauss_legendre(interp_ctx *ctx, int n, double *at, double *weight)
{
    const int half = (n + 1) / 2;
    const double factor = itp_legendre_factor(n), m = n;
    for (int i = 0; i < half; i++) {
        const double guess = 3.14159265358979323846 * (i + 0.75) / (m + 0.5);
        double t = guess + (m - 1) / (8 * m * m * m) * cos(guess) / sin(guess), slope = 1;
        bool near = false; /* once a step was small, the next one ends below rounding */
        for (int round = 0; round < 20; round++) {
            const double p = i < ITP_LEGENDRE_EDGE ? itp_legendre(n, t, &slope)
                                                   : itp_legendre_far(n, factor, t, &slope);
            const double step = p / slope;
            t -= step;
            if (near) break;
            near = m * fabs(step) < 1e-6;
        }
        const double low = sin(0.5 * t), high = cos(0.5 * t);
        at[i] = low * low, at[n - 1 - i] = high * high;
        weight[i] = weight[n - 1 - i] = 1 / (slope * slope);
        if (i < ITP_LEGENDRE_EDGE || i % 1024 == 0)
            ITP_TRY(itp_progress(ctx, "quadrature", i, half, (double)NAN));
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight)
{
    if (n < 1 || (rule == INTERP_RIEMANN_TRAPEZOID && n < 2) || n > 1000000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%d steps are too few or too many for the rule",
                        n);
    if (rule == INTERP_GAUSS_LEGENDRE) return itp_gauss_legendre(ctx, n, at, weight);
    for (int i = 0; i < n; i++) {
        weight[i] = 1.0 / n;
        switch (rule) {
        case INTERP_RIEMANN_LEFT: at[i] = (double)i / n; break;
        case INTERP_RIEMANN_RIGHT: at[i] = (double)(i + 1) / n; break;
        case INTERP_RIEMANN_MIDDLE: at[i] = (i + 0.5) / n; break;
        case INTERP_RIEMANN_TRAPEZOID:
            at[i] = (double)i / (n - 1);
            weight[i] = (i == 0 || i == n - 1 ? 0.5 : 1.0) / (n - 1);
            break;
        default: return itp_fail(ctx, INTERP_BAD_ARGUMENT, "quadrature %d is not known", (int)rule);
        }
    }
    return INTERP_OK;
}

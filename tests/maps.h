/* Maps that CMGDB's results are of, for interp_map.points; user points to settings. After interp.h. */
#ifndef MAPS_H
#define MAPS_H

#include <math.h>

typedef struct settings {
    int d;    /* dimensions */
    double r; /* of the logistic map */
} settings;

static interp_status leslie(const double *x, double *y, size_t n, void *user)
{
    static const double theta[4] = {19.6, 23.68, 19.6, 23.68};
    const int d = ((const settings *)user)->d;
    for (size_t i = 0; i < n; i++, x += d, y += d) {
        double sum = 0, all = 0;
        for (int j = 0; j < d; j++) sum += theta[j] * x[j], all += x[j];
        y[0] = sum * exp(-0.1 * all);
        for (int j = 1; j < d; j++) y[j] = 0.7 * x[j - 1];
    }
    return INTERP_OK;
}

static interp_status logistic(const double *x, double *y, size_t n, void *user)
{
    for (size_t i = 0; i < n; i++) y[i] = ((const settings *)user)->r * x[i] * (1 - x[i]);
    return INTERP_OK;
}

static interp_status henon(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++, x += 2, y += 2) {
        y[0] = 1 - 1.4 * x[0] * x[0] + x[1];
        y[1] = 0.3 * x[0];
    }
    return INTERP_OK;
}

static interp_status product(const double *x, double *y, size_t n, void *user)
{
    const size_t all = n * (size_t)((const settings *)user)->d;
    for (size_t i = 0; i < all; i++) y[i] = x[i] / (2 - x[i]);
    return INTERP_OK;
}

#endif

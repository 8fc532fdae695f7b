/* Basins of attraction: where Newton's method for z^3 = 1, with half its steps, ends.

     cc -O2 -I. examples/28_basins.c -o basins -lm -pthread && ./basins

   Prints, in half a second:

     262144 boxes, 30 Morse sets
     30.2 % lead to the set of 1 boxes at (-0.50, -0.87) only
     29.7 % lead to the set of 1 boxes at (-0.50, 0.86) only
     32.5 % lead to the set of 1 boxes at (1.00, -0.00) only
     4.2 % may lead to several

   and writes out/28_basins/basins.png. Nothing is simulated: every box of the grid is mapped once. */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"

enum { DEPTH = 18 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    return 1;
}

/* z - (z^3 - 1) / (6 z^2) */
static interp_status newton(const double *z, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++, z += 2, y += 2) {
        const double a = z[0], b = z[1], s = a * a + b * b + 1e-12;
        y[0] = a - (a - (a * a - b * b) / (s * s)) / 6;
        y[1] = b - (b + 2 * a * b / (s * s)) / 6;
    }
    return INTERP_OK;
}

int main(void)
{
    static float ends[1 << DEPTH][4];
    const double lower[2] = {-2.01, -2.03}, upper[2] = {2, 2};
    const interp_map map = {.dims = 2, .points = newton};
    const interp_morse_desc grid = {.lower = lower, .upper = upper, .min = DEPTH};
    interp_ctx *ctx = interp_open(NULL);
    interp_morse *morse;
    interp_basins basins;
    if (!ctx || interp_morse_new(ctx, &map, &grid, &morse) || interp_morse_basins(morse, &basins))
        return die(ctx);
    const uint32_t n = interp_morse_boxes(morse);
    printf("%u boxes, %d Morse sets\n", (unsigned)n, interp_morse_count(morse));
    for (int s = 0; s < interp_morse_count(morse); s++) {
        double l[2], u[2];
        uint32_t size, to = 0;
        const uint32_t *set = interp_morse_set(morse, s, &size);
        for (uint32_t b = 0; b < n; b++) to += basins.attractor[b] == s;
        interp_morse_box(morse, set[size / 2], l, u);
        if (to)
            printf("%.1f %% lead to the set of %u boxes at (%.2f, %.2f) only\n", 100.0 * to / n,
                   (unsigned)size, (l[0] + u[0]) / 2, (l[1] + u[1]) / 2);
    }
    printf("%.1f %% may lead to several\n", 100.0 * basins.several / n);

    for (uint32_t b = 0; b < n; b++) {
        double l[2], u[2];
        interp_morse_box(morse, b, l, u);
        for (int k = 0; k < 2; k++) ends[b][k] = (float)l[k], ends[b][2 + k] = (float)u[k];
    }
    const interp_boxes boxes = {.ends = ends[0], .classes = basins.attractor, .n = (int)n};
    interp_image image;
    mkdir("out", 0777);
    mkdir("out/28_basins", 0777);
    if (interp_chart_boxes(ctx, &(interp_chart){.title = "Basins of three roots", .height = 860},
                           &boxes, &image) ||
        interp_image_write(ctx, &image, "out/28_basins/basins.png"))
        return die(ctx);
    interp_close(ctx);
    return 0;
}

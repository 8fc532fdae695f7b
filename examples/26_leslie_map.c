/* What a population of two ages does in the long run, in numbers that are any at first.

     cc -O2 -I. examples/26_leslie_map.c -o leslie -lm -pthread && ./leslie

   Prints, in a tenth of a second:

     104822 boxes, 4 Morse sets
     0:   1261 boxes, index x^3-1 0 0
     1:  64417 boxes, index x-1 0 0, leads to 0
     2:    427 boxes, index 0 x^3-1 0, leads to 1
     3:      1 boxes, index 0 0 0, leads to 2

   A cycle of three years attracts; so does, on the way there, a larger set around a fixed point. */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"

/* Young ones by the number of both ages, fewer in a crowd; 70 % grow old. */
static interp_status leslie(const double *x, double *y, size_t n, void *user)
{
    (void)user;
    for (size_t i = 0; i < n; i++, x += 2, y += 2) {
        y[0] = (19.6 * x[0] + 23.68 * x[1]) * exp(-0.1 * (x[0] + x[1]));
        y[1] = 0.7 * x[0];
    }
    return INTERP_OK;
}

int main(void)
{
    const double lower[2] = {-0.001, -0.001}, upper[2] = {90, 70};
    const interp_map map = {.dims = 2, .points = leslie, .padding = true};
    const interp_morse_desc grid = {.lower = lower, .upper = upper, .min = 20, .max = 30};
    interp_ctx *ctx = interp_open(NULL);
    interp_morse *morse;
    if (!ctx || interp_morse_new(ctx, &map, &grid, &morse))
        return fprintf(stderr, "%s\n", interp_error(ctx)), 1;
    const int sets = interp_morse_count(morse);
    printf("%u boxes, %d Morse sets\n", (unsigned)interp_morse_boxes(morse), sets);
    for (int s = 0; s < sets; s++) {
        interp_conley index;
        uint32_t boxes;
        interp_morse_set(morse, s, &boxes);
        if (interp_morse_conley(morse, s, 0, &index))
            return fprintf(stderr, "%s\n", interp_error(ctx)), 1;
        printf("%d: %6u boxes, index %s %s %s", s, (unsigned)boxes, index.text[0], index.text[1],
               index.text[2]);
        for (int t = 0; t < s; t++)
            if (interp_morse_edge(morse, s, t)) printf(", leads to %d", t);
        printf("\n");
    }
    interp_close(ctx);
    return 0;
}

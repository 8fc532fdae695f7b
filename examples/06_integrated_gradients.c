/* Integrated gradients: what each pixel adds to the score, by five rules of integration.

     cc -O2 -I. examples/06_integrated_gradients.c -o ig -lm -pthread && ./ig

   Needs the model that 02_train_digits saves. Exact attributions sum to the score of the digit minus
   that of the empty picture. Prints how far off each rule is in the mean of ten digits, and that a
   thousand steps need hardly more memory than ten; writes the attributions as heat maps to
   out/06_integrated_gradients/heat_maps.png:

     mean |residual| with        5      20      50     200  steps
     trapezoid             0.9148  0.1581  0.0517  0.0143
     ... */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"
#define OUT   "out/06_integrated_gradients"

enum { K = 10, SIDE = 8, PIXELS = SIDE * SIDE, RULES = 5, COUNTS = 4 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    static const char *const names[RULES] = {"gauss-legendre", "left", "right", "middle",
                                             "trapezoid"}; /* as enum interp_quadrature */
    static const int steps[COUNTS] = {5, 20, 50, 200};
    static float heat[K][PIXELS]; /* [K,1,8,8]: attributions */
    static interp_panel_cell cells[2][K];
    interp_attribution report[K];
    interp_image maps[K], picture;
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test, ten; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL;
    int first[K];
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx); /* as in 02 */
    for (int i = test.n - 1; i >= 0; i--) first[test.y[i]] = i;
    if (interp_dataset_subset(ctx, &test, first, K, &ten)) return die(ctx);
    if (interp_onnx_load(ctx, MODEL, NULL, &net)) return die(ctx);

    interp_attribute_desc how = {.method = INTERP_INTEGRATED_GRADIENTS}; /* from black to x */
    printf("mean |residual| with %7d %7d %7d %7d  steps\n", steps[0], steps[1], steps[2], steps[3]);
    for (int rule = RULES - 1; rule >= 0; rule--) {
        printf("%-20s", names[rule]);
        for (int s = 0; s < COUNTS; s++) {
            double off = 0;
            how.quadrature = (interp_quadrature)rule;
            how.n_steps = steps[s];
            if (interp_attribute(net, ten.x, K, &how, heat[0], report)) return die(ctx);
            for (int k = 0; k < K; k++) off += fabs(report[k].residual) / K;
            printf(" %7.4f", off);
        }
        printf("\n");
    }

    static const int few_or_many[2] = {10, 1000};
    for (int i = 0; i < 2; i++) {
        size_t bytes;
        how.n_steps = few_or_many[i];
        if (interp_attribute_bytes(net, K, &how, &bytes)) return die(ctx);
        printf("%4d steps take %zu bytes\n", how.n_steps, bytes);
    }

    for (int k = 0; k < K; k++) { /* `heat` is now that of Gauss-Legendre with 200 steps */
        const interp_attribution_draw_desc drawing = {
            .attr = heat[k], .height = SIDE, .width = SIDE, .scale = 12};
        if (interp_attribution_draw(ctx, &drawing, &maps[k])) return die(ctx);
        cells[0][k] =
            (interp_panel_cell){.values = ten.x + k * PIXELS, .height = SIDE, .width = SIDE};
        cells[1][k] = (interp_panel_cell){.image = &maps[k]};
    }
    const interp_panel_desc panel = {
        .title = "Integrated gradients: green speaks for the predicted class, red against it",
        .cells = cells[0],
        .rows = 2,
        .cols = K,
        .cell_size = 96};
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/heat_maps.png"))
        return die(ctx);
    printf("wrote " OUT "/heat_maps.png\n");
    interp_close(ctx);
    return 0;
}

/* Which pixels the score of the true class depends on, for one digit of each class.

     cc -O2 -I. examples/05_saliency.c -o saliency -lm -pthread && ./saliency

   Needs the model that 02_train_digits saves. Writes the picture out/05_saliency/saliency.png with
   the rows
     source    the digit x
     baseline  |gradient| at the empty picture x0
     saliency  |gradient| at x
     delta     gradient at x minus gradient at x0
     overlay   delta times x: what the ink of this digit does for or against its class */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"
#define OUT   "out/05_saliency"

enum { K = 10, SIDE = 8, PIXELS = SIDE * SIDE, ROWS = 5 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    static const char *const names[ROWS] = {"source", "baseline", "saliency", "delta", "overlay"};
    static const interp_colormap maps[ROWS] = {INTERP_COLORMAP_GRAY, INTERP_COLORMAP_VIRIDIS,
                                               INTERP_COLORMAP_VIRIDIS, INTERP_COLORMAP_SEISMIC,
                                               INTERP_COLORMAP_SEISMIC};
    static const float empty[K][PIXELS];                    /* x0: no ink at all */
    static float at_source[K][PIXELS], at_empty[K][PIXELS]; /* [K,pixels]: gradients */
    static float row[ROWS][K][PIXELS];                      /* what is drawn */
    static interp_panel_cell cells[ROWS][K];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test, ten; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL;
    interp_image picture;
    int first[K];
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx); /* as in 02 */
    for (int i = test.n - 1; i >= 0; i--) first[test.y[i]] = i;
    if (interp_dataset_subset(ctx, &test, first, K, &ten)) return die(ctx);
    if (interp_onnx_load(ctx, MODEL, NULL, &net)) return die(ctx);

    const interp_attribute_desc gradient = {
        .method = INTERP_SALIENCY,
        .keep_sign = true,
        .target_kind = INTERP_TARGET_LABELS,
        .targets = ten.y,
    };
    if (interp_attribute(net, ten.x, K, &gradient, at_source[0], NULL) ||
        interp_attribute(net, empty[0], K, &gradient, at_empty[0], NULL))
        return die(ctx);

    for (int k = 0; k < K; k++)
        for (int i = 0; i < PIXELS; i++) {
            const float x = ten.x[k * PIXELS + i], g = at_source[k][i], g0 = at_empty[k][i];
            row[0][k][i] = x;
            row[1][k][i] = fabsf(g0);
            row[2][k][i] = fabsf(g);
            row[3][k][i] = g - g0;
            row[4][k][i] = (g - g0) * x;
        }
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < K; k++)
            cells[r][k] = (interp_panel_cell){
                .values = row[r][k], .height = SIDE, .width = SIDE, .colormap = maps[r]};
    const interp_panel_desc panel = {
        .title = "Gradient of the score of each digit's own class",
        .cells = cells[0],
        .rows = ROWS,
        .cols = K,
        .row_labels = names,
        .col_labels = (const char *const *)ten.class_names,
        .range = INTERP_RANGE_ROW,
        .colour_bars = true,
    };
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/saliency.png"))
        return die(ctx);
    printf("wrote " OUT "/saliency.png\n");
    interp_close(ctx);
    return 0;
}

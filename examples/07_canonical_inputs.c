/* What the network would like each digit to look like: inputs that drive up one class each.

     cc -O2 -I. examples/07_canonical_inputs.c -o canonical -lm -pthread && ./canonical

   Needs the model that 02_train_digits saves. Writes out/07_canonical_inputs/canonical.png, ten
   pictures with the probability reached, and prints the smallest (rounded):

     every class reached a probability of at least 1.000 */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"
#define OUT   "out/07_canonical_inputs"

enum { K = 10, SIDE = 8, PIXELS = SIDE * SIDE };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    static const char *const digits[K] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
    static float x[K][PIXELS]; /* [K,1,8,8] in 0..1 */
    static char captions[K][16];
    float probability[K], smallest = 1;
    interp_panel_cell cells[K];
    interp_image picture;
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = NULL;
    interp_dataset all; /* x [n,1,8,8] in 0..1 */
    if (!ctx || digits_open(ctx, &all) || interp_onnx_load(ctx, MODEL, NULL, &net)) return die(ctx);
    const interp_canonical_desc how = {.like = &all}; /* stay near what digits look like */
    if (interp_canonical(net, &how, x[0], probability)) return die(ctx);

    for (int k = 0; k < K; k++) {
        snprintf(captions[k], sizeof captions[k], "p = %.3f", probability[k]);
        smallest = fminf(smallest, probability[k]);
        cells[k] = (interp_panel_cell){
            .values = x[k], .height = SIDE, .width = SIDE, .caption = captions[k]};
    }
    const interp_panel_desc panel = {
        .title = "What the network takes for each digit",
        .cells = cells,
        .rows = 1,
        .cols = K,
        .col_labels = digits,
        .cell_size = 96,
    };
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/canonical.png"))
        return die(ctx);
    printf("every class reached a probability of at least %.3f\n", smallest);
    interp_close(ctx);
    return 0;
}

/* Layer-wise relevance propagation by every rule and composite of rules, on the same six digits.

     cc -O2 -I. examples/14_lrp_composites.c -o lrp -lm -pthread && ./lrp

   Loads what 02_train_digits saved. Writes out/14_lrp_composites/rules.png, and how much of the output
   each rule hands down to the pixels (biases keep the rest):

     epsilon                        0.64
     ... */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/14_lrp_composites"

enum { N = 6, PIXELS = 64 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    static const struct {
        interp_lrp_rule rule;
        const char *name;
    } rules[] = {{INTERP_LRP_EPSILON, "epsilon"},
                 {INTERP_LRP_GAMMA, "gamma"},
                 {INTERP_LRP_ALPHA_BETA, "alpha-beta"},
                 {INTERP_LRP_Z_PLUS, "z-plus"},
                 {INTERP_LRP_EPSILON_PLUS, "epsilon plus"},
                 {INTERP_LRP_EPSILON_PLUS_FLAT, "epsilon plus flat"},
                 {INTERP_LRP_EPSILON_ALPHA2_BETA1, "epsilon alpha 2 beta 1"},
                 {INTERP_LRP_EPSILON_GAMMA_BOX, "epsilon gamma box"},
                 {INTERP_LRP_EXCITATION_BACKPROP, "excitation backprop"}};
    enum { RULES = sizeof rules / sizeof *rules };
    static float relevance[RULES][N * PIXELS];
    static interp_image maps[RULES][N];
    static interp_panel_cell cells[RULES + 1][N];
    const char *labels[RULES + 1] = {"input"};
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = NULL;
    interp_dataset digits; /* x [n,1,8,8] in 0..1 */
    interp_attribution r[N];
    interp_image picture;
    if (!ctx || interp_onnx_load(ctx, "out/02_train_digits/digits.onnx", NULL, &net))
        return die(ctx);
    if (digits_open(ctx, &digits)) return die(ctx);
    for (int k = 0; k < RULES; k++) {
        const interp_attribute_desc how = {
            .method = INTERP_LRP, .rule = rules[k].rule, .low = 0, .high = 1};
        if (interp_attribute(net, digits.x, N, &how, relevance[k], r)) return die(ctx);
        double share = 0;
        for (int i = 0; i < N; i++) {
            double sum = 0;
            for (int p = 0; p < PIXELS; p++) sum += (double)relevance[k][i * PIXELS + p];
            share += sum / r[i].output / N;
            const interp_attribution_draw_desc drawing = {
                .attr = relevance[k] + i * PIXELS, .height = 8, .width = 8, .scale = 10};
            if (interp_attribution_draw(ctx, &drawing, &maps[k][i])) return die(ctx);
            cells[k + 1][i] = (interp_panel_cell){.image = &maps[k][i]};
            cells[0][i] = (interp_panel_cell){
                .values = digits.x + i * PIXELS, .height = 8, .width = 8, .max = 1};
        }
        labels[k + 1] = rules[k].name;
        printf("%-24s %10.2f\n", rules[k].name, share);
    }
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    const interp_panel_desc panel = {.title = "Relevance of pixels by rule",
                                     .cells = cells[0],
                                     .rows = RULES + 1,
                                     .cols = N,
                                     .row_labels = labels,
                                     .cell_size = 80};
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/rules.png"))
        return die(ctx);
    printf("wrote " OUT "/rules.png\n");
    interp_close(ctx);
    return 0;
}

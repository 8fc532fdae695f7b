/* Which layers lowered the loss, at every step of a training: loss change allocation.

     cc -O2 -I. examples/17_lca_digits.c -o lca -lm -pthread && ./lca

   The loss change of every step is shared out among the parameters; what is below zero helped. Prints,
   in a second (the last digits depend on the CPU):

     120 steps, the loss went from 2.3439 to 0.0797, the allocations add up to it within 0.048 %
     layer    sum      of its parameters helped   Gini   turns round in
     dense1  -1.0899                    48.9 %   0.72   9.9 % of steps
     ...
     32 pairs of peaks of layers fall on one step, 9.9 would by chance: p = 0.001

   and writes out/17_lca_digits/layers.png: what each layer has done so far. */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/17_lca_digits"

enum { LAYERS = 3, MOST = 400 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* Cumulative sums of the layers. */
static int draw(interp_ctx *ctx, const interp_lca_run *run)
{
    static float y[LAYERS][MOST];
    static const char *const names[LAYERS] = {"dense1", "dense2", "dense3"};
    interp_series series[LAYERS] = {{0}};
    const interp_chart chart = {
        .title = "What each layer has done so far", .x_label = "step", .y_label = "loss change"};
    interp_image image;
    for (int k = 0; k < LAYERS; k++) {
        double sum = 0;
        for (int t = 0; t < run->steps; t++) y[k][t] = (float)(sum += run->layer[t * LAYERS + k]);
        series[k] = (interp_series){.name = names[k], .y = y[k], .n = run->steps};
    }
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    return interp_chart_lines(ctx, &chart, series, LAYERS, &image) ||
           interp_image_write(ctx, &image, OUT "/layers.png");
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits; /* x [n,1,8,8], y [n] */
    interp_net *net = NULL;
    interp_lca *lca = NULL;
    interp_lca_analysis *analysis = NULL;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_net_arch(ctx, "mlp:64-32-16-10", &digits.shape, 10, 1, &net)) return die(ctx);

    /* the allocation tells the analysis of each step, and the training the allocation */
    if (interp_lca_analysis_new(net, NULL, &analysis)) return die(ctx);
    const interp_lca_desc what = {.on_step = interp_lca_analysis_step, .user = analysis};
    if (interp_lca_new(net, &digits, &what, &lca)) return die(ctx);
    const interp_train_desc how = {.epochs = 4,
                                   .batch = 60,
                                   .optimizer = INTERP_SGD,
                                   .lr = 0.1f,
                                   .momentum = 0.9f,
                                   .on_step = interp_lca_on_step,
                                   .on_step_user = lca};
    if (interp_train(net, &digits, &how, NULL)) return die(ctx);

    const interp_lca_run run = interp_lca_analysis_run(analysis);
    const double before = run.step[0].loss_before, after = run.step[run.steps - 1].loss_after;
    double sum = 0;
    for (int t = 0; t < run.steps; t++) sum += run.step[t].allocated;
    printf(
        "%d steps, the loss went from %.4f to %.4f, the allocations add up to it within %.2g %%\n",
        run.steps, before, after, 100 * fabs(1 - sum / (after - before)));
    printf("layer    sum      of its parameters helped   Gini   turns round in\n");
    for (int k = 0; k < LAYERS; k++) {
        interp_lca_figures f;
        if (interp_lca_analysis_figures(analysis, k, &f)) return die(ctx);
        printf("dense%d  %7.4f                   %5.1f %%  %5.2f   %.1f %% of steps\n", k + 1,
               f.total, 100 * f.helped, f.gini_help, 100 * f.weight_turns / run.steps);
    }
    interp_lca_synchrony s;
    if (interp_lca_peaks(ctx, run.layer, run.steps, run.layers, NULL, NULL, &s)) return die(ctx);
    printf("%d pairs of peaks of layers fall on one step, %.1f would by chance: p = %.3g\n",
           s.coincident, s.expected, s.p_value);
    if (draw(ctx, &run)) return die(ctx);
    printf("wrote " OUT "/layers.png\n");
    interp_close(ctx);
    return 0;
}

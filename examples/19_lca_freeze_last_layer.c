/* Does a layer that hurts have to learn? Loss change allocation with the last layer frozen, delayed, and
   with less momentum.

     cc -O2 -I. examples/19_lca_freeze_last_layer.c -o freeze -lm -pthread && ./freeze

   The experiments of Lan et al. (2019) on a small network: the same training five times, the last layer
   treated otherwise each time. Prints what each layer allocated in all, in two seconds (the last
   digits depend on the CPU):

     last layer      dense1   dense2   dense3      sum   loss after
     as the others  -1.0391  -0.5568  -0.6301  -2.2260       0.1177
     frozen         -1.1735  -0.8388   0.0000  -2.0123       0.3306
     from step 60   -1.0512  -0.5807  -0.5663  -2.1982       0.1453
     no momentum    -0.9261  -0.5718  -0.6447  -2.1426       0.2016
     2 steps late   -3.0724  -1.5537   2.4902  -2.1359       0.2095 */
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

enum { LAYERS = 3 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    static const char *const names[] = {"as the others", "frozen", "from step 60", "no momentum",
                                        "2 steps late"};
    static const interp_layer_rule last[] = {{.layer = "dense3"},
                                             {.layer = "dense3", .freeze_from = 1},
                                             {.layer = "dense3", .freeze_from = 60},
                                             {.layer = "dense3", .momentum = -1},
                                             {.layer = "dense3", .delay = 2}};
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    printf("last layer      dense1   dense2   dense3      sum   loss after\n");
    for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
        interp_net *net = NULL;
        interp_lca *lca = NULL;
        interp_lca_analysis *analysis = NULL;
        interp_lca_figures f[LAYERS], all;
        if (interp_net_arch(ctx, "mlp:64-32-16-10", &digits.shape, 10, 1, &net)) return die(ctx);
        if (interp_lca_analysis_new(net, NULL, &analysis)) return die(ctx);
        const interp_lca_desc what = {.on_step = interp_lca_analysis_step, .user = analysis};
        if (interp_lca_new(net, &digits, &what, &lca)) return die(ctx);
        const interp_train_desc how = {.epochs = 4,
                                       .batch = 60,
                                       .optimizer = INTERP_SGD,
                                       .lr = 0.05f,
                                       .momentum = 0.9f,
                                       .rules = &last[i],
                                       .n_rules = 1,
                                       .on_step = interp_lca_on_step,
                                       .on_step_user = lca};
        if (interp_train(net, &digits, &how, NULL)) return die(ctx);
        for (int k = 0; k < LAYERS; k++)
            if (interp_lca_analysis_figures(analysis, k, &f[k])) return die(ctx);
        if (interp_lca_analysis_figures(analysis, -1, &all)) return die(ctx);
        const interp_lca_run run = interp_lca_analysis_run(analysis);
        printf("%-13s  %7.4f  %7.4f  %7.4f  %7.4f  %11.4f\n", names[i], f[0].total, f[1].total,
               f[2].total, all.total, run.step[run.steps - 1].loss_after);
        interp_lca_free(lca);
        interp_lca_analysis_free(analysis);
        interp_net_free(net);
    }
    interp_close(ctx);
    return 0;
}

/* What single examples gained from a training, from which layers, and which were unlearned on the way: loss
   change allocation by example.

     cc -O2 -I. examples/20_lca_examples.c -o examples_lca -lm -pthread && ./examples_lca

   A hundred digits are looked at by themselves; weights and biases are told apart by a pattern of their
   names. Prints, in a second (the last digits depend on the CPU):

     of 100 digits 99 have a lower loss after 60 steps
     digit   class   loss change   weights    biases   steps in which it rose
      1598       0        -3.318    -2.860    -0.427                       26
     ...
       238       4         0.667     1.116    -0.640                       34
     their changes sum to what was allocated to them within 0.26 % */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

enum { EXAMPLES = 100, EVERY = 17, GROUPS = 2, SHOWN = 3 };

/* Sums over the run. */
typedef struct example {
    int digit, rose; /* steps in which its loss went up */
    double change, by[GROUPS];
} example;

static example seen[EXAMPLES];

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* After each step: parts [examples, groups] and part_change [examples] are shares of the loss of all. */
static interp_status add_step(const interp_lca_step_info *s, void *user)
{
    const double n = *(const int *)user;
    for (int i = 0; i < EXAMPLES; i++) {
        seen[i].change += n * s->part_change[i];
        seen[i].rose += s->part_change[i] > 0;
        for (int k = 0; k < GROUPS; k++) seen[i].by[k] += n * s->parts[i * GROUPS + k];
    }
    return INTERP_OK;
}

static int by_change(const void *a, const void *b)
{
    const double x = ((const example *)a)->change, y = ((const example *)b)->change;
    return (x > y) - (x < y);
}

int main(void)
{
    static int32_t part[DIGITS_COUNT];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits;
    interp_net *net = NULL;
    interp_lca *lca = NULL;
    int groups = 0;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_net_arch(ctx, "mlp:64-32-16-10", &digits.shape, 10, 1, &net)) return die(ctx);
    int32_t *of = interp_alloc(ctx, interp_net_describe(net).n_parameters * sizeof *of);
    if (!of || interp_net_groups_match(net, "weight|bias", of, &groups, NULL)) return die(ctx);
    for (int i = 0; i < digits.n; i++) { /* every 17th is a part of its own, the rest of none */
        const bool own = i % EVERY == 0 && i / EVERY < EXAMPLES;
        part[i] = own ? i / EVERY : -1;
        if (own) seen[i / EVERY].digit = i;
    }
    const interp_lca_desc what = {.groups = of,
                                  .n_groups = groups,
                                  .parts = part,
                                  .n_parts = EXAMPLES,
                                  .on_step = add_step,
                                  .user = &digits.n};
    if (interp_lca_new(net, &digits, &what, &lca)) return die(ctx);
    const interp_train_desc how = {.epochs = 2,
                                   .batch = 60,
                                   .optimizer = INTERP_SGD,
                                   .lr = 0.1f,
                                   .momentum = 0.9f,
                                   .on_step = interp_lca_on_step,
                                   .on_step_user = lca};
    if (interp_train(net, &digits, &how, NULL)) return die(ctx);

    double change = 0, allocated = 0;
    int better = 0;
    for (int i = 0; i < EXAMPLES; i++) {
        change += seen[i].change, allocated += seen[i].by[0] + seen[i].by[1];
        better += seen[i].change < 0;
    }
    qsort(seen, EXAMPLES, sizeof *seen, by_change);
    printf("of %d digits %d have a lower loss after 60 steps\n", EXAMPLES, better);
    printf("digit   class   loss change   weights    biases   steps in which it rose\n");
    for (int i = 0; i < 2 * SHOWN; i++) { /* those that gained most, and least */
        const example *e = &seen[i < SHOWN ? i : EXAMPLES - 2 * SHOWN + i];
        printf("%5d   %5d       %7.3f   %7.3f   %7.3f   %22d\n", e->digit, digits.y[e->digit],
               e->change, e->by[0], e->by[1], e->rose);
    }
    printf("their changes sum to what was allocated to them within %.2g %%\n",
           100 * fabs(1 - allocated / change));
    interp_close(ctx);
    return 0;
}

/* Learns XOR: a network put together by hand and a training loop of one's own.

     cc -O2 -I. examples/01_xor.c -o xor -lm -pthread && ./xor

   Prints the falling loss, then the truth table (the last digits depend on the CPU):

     0 xor 0 = 0.001
     0 xor 1 = 0.999
     1 xor 0 = 0.999
     1 xor 1 = 0.001 */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"

enum { N = 4, HIDDEN = 8, STEPS = 500 };

static const float x[N * 2] = {0, 0, 0, 1, 1, 0, 1, 1}; /* [N,2] */
static const float wanted[N] = {0, 1, 1, 0};            /* [N,1] */

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    const interp_shape sample = {1, {2}};
    const interp_train_desc how = {.batch = N, .loss = INTERP_BCE, .lr = 0.05f};
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = ctx ? interp_net_new(ctx, "xor") : NULL;
    interp_trainer *trainer = NULL;
    if (!net) return die(ctx);

    interp_tensor t = interp_input(net, "bits", &sample); /* [N,2] */
    t = interp_dense(net, t, HIDDEN, NULL);               /* [N,HIDDEN] */
    t = interp_activate(net, t, INTERP_TANH, 0);
    t = interp_dense(net, t, 1, NULL); /* [N,1]: a logit, the loss takes its sigmoid */
    interp_output(net, t, "logit");
    if (interp_net_build(net, 1) || interp_trainer_new(net, &how, 0, &trainer)) return die(ctx);

    for (int step = 1; step <= STEPS; step++) {
        double loss;
        if (interp_trainer_step(trainer, x, NULL, wanted, N, &loss, NULL)) return die(ctx);
        if (step % 100 == 0) printf("step %d  loss %.4f\n", step, loss);
    }

    float logit[N]; /* [N,1] */
    if (interp_predict(net, x, N, logit)) return die(ctx);
    for (int i = 0; i < N; i++)
        printf("%g xor %g = %.4f\n", x[2 * i], x[2 * i + 1], 1 / (1 + exp(-logit[i])));
    interp_close(ctx); /* frees the network and the trainer as well */
    return 0;
}

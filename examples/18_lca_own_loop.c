/* Loss change allocation of a training loop of one's own: whatever moves the parameters.

     cc -O2 -I. examples/18_lca_own_loop.c -o own_loop -lm -pthread && ./own_loop

   The parameters are moved by hand, here by plain gradient descent and then by a step far too long. The
   allocation only sees where they were and where they are. Prints, in a second:

     step  loss before    after  allocated   residual  splits
        1       2.6734   2.2085    -0.4653    3.8e-04       2
     ...
       11       1.2219   4.3308     3.1090   -6.2e-05      32
     what hurt most in it is number 163 of dense2.weight: +0.5400 by moving +1.7628 */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

enum { STEPS = 10, CLASSES = 10 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* The gradient of the mean loss of all digits; logits and seed: [n,10]. */
static interp_status gradient(interp_ctx *ctx, interp_workspace *work, const interp_dataset *data,
                              float *seed)
{
    const float *x = data->x;
    interp_status status = interp_forward(work, &x);
    if (status) return status;
    const float *logits = interp_workspace_target(work);
    for (int i = 0; i < data->n; i++) { /* softmax minus truth */
        double sum = 0;
        for (int k = 0; k < CLASSES; k++) sum += exp((double)logits[i * CLASSES + k]);
        for (int k = 0; k < CLASSES; k++)
            seed[i * CLASSES + k] =
                (float)((exp((double)logits[i * CLASSES + k]) / sum - (data->y[i] == k)) / data->n);
    }
    (void)ctx;
    return interp_backward(work, seed);
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits;
    interp_net *net = NULL;
    interp_workspace *work = NULL;
    interp_lca *lca = NULL;
    interp_lca_step_info info;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_net_arch(ctx, "mlp:64-32-10", &digits.shape, CLASSES, 1, &net)) return die(ctx);
    const interp_workspace_desc all = {.batch = digits.n, .param_grads = true};
    float *seed = interp_alloc(ctx, (size_t)digits.n * CLASSES * sizeof *seed);
    if (!seed || interp_workspace_new(ctx, net, &all, &work)) return die(ctx);

    const size_t n = interp_net_describe(net).n_parameters;
    float *p = interp_net_parameters(net); /* [n] */
    if (interp_lca_new(net, &digits, NULL, &lca) || interp_lca_begin(lca)) return die(ctx);
    printf("step  loss before    after  allocated   residual  splits\n");
    for (int step = 1; step <= STEPS + 1; step++) {
        const float rate = step <= STEPS ? 0.5f : 50;
        if (gradient(ctx, work, &digits, seed)) return die(ctx);
        for (size_t i = 0; i < n; i++) p[i] -= rate * interp_workspace_param_grad(work)[i];
        if (interp_lca_step(lca, &info)) return die(ctx);
        printf("%4d  %11.4f  %7.4f  %9.4f  %9.1e  %6d%s\n", step, info.loss_before, info.loss_after,
               info.allocated, info.residual, info.splits, info.resolved ? "" : " were not enough");
    }
    size_t worst = 0; /* parameters that hurt most in the step that was too long */
    for (size_t i = 0; i < n; i++)
        if (info.lca[i] > info.lca[worst]) worst = i;
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        if (worst >= v.offset && worst < v.offset + interp_shape_size(&v.shape))
            printf("what hurt most in it is number %zu of %s: %+.4f by moving %+.4f\n",
                   worst - v.offset, v.name, info.lca[worst], info.moved[worst]);
    }
    interp_close(ctx);
    return 0;
}

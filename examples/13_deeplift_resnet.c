/* DeepLIFT through residual blocks that use one ReLU twice, which hooks on modules cannot do.

     cc -O2 -I. examples/13_deeplift_resnet.c -o deeplift -lm -pthread && ./deeplift

   A ResNet-20 learns digits; then every pixel's part in the predicted class against four baselines. The
   parts add up to the difference of outputs to the last digits of a float, for DeepLIFT by two forward
   passes and one back; integrated gradients need many to come near. Takes some seconds:

     baseline    f(x)-f(x0)   residual of DeepLIFT   of 20 gradients   of 100
     zeros            6.778              -0.000005         -1.210876 -0.179250
     ... */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

enum { N = 32, PIXELS = 64, BASELINES = 4 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* The residual of largest magnitude. */
static double worst(const interp_attribution *r)
{
    double most = 0;
    for (int i = 0; i < N; i++)
        if (fabs(r[i].residual) > fabs(most)) most = r[i].residual;
    return most;
}

int main(void)
{
    static const interp_baseline_kind kinds[BASELINES] = {
        INTERP_BASELINE_ZERO, INTERP_BASELINE_MEAN, INTERP_BASELINE_MAX, INTERP_BASELINE_BLUR};
    static const char *const names[BASELINES] = {"zeros", "mean", "maximum", "blurred"};
    static float baseline[N * PIXELS], parts[N * PIXELS];
    interp_attribution lifted[N], few[N], many[N];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test; /* x [n,1,8,8] */
    interp_net *net = NULL;
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx);
    if (interp_net_arch(ctx, "resnet20", &train.shape, 10, 1, &net)) return die(ctx);
    const interp_train_desc how = {.epochs = 3, .schedule = INTERP_COSINE};
    if (interp_train(net, &train, &how, NULL)) return die(ctx);
    printf("baseline    f(x)-f(x0)   residual of DeepLIFT   of 20 gradients   of 100\n");
    for (int b = 0; b < BASELINES; b++) {
        if (interp_baseline(ctx, kinds[b], test.x, N, &test.shape, 1, baseline)) return die(ctx);
        interp_attribute_desc d = {
            .method = INTERP_DEEP_LIFT, .baseline = baseline, .n_baselines = N};
        if (interp_attribute(net, test.x, N, &d, parts, lifted)) return die(ctx);
        d.method = INTERP_INTEGRATED_GRADIENTS, d.n_steps = 20;
        if (interp_attribute(net, test.x, N, &d, parts, few)) return die(ctx);
        d.n_steps = 100;
        if (interp_attribute(net, test.x, N, &d, parts, many)) return die(ctx);
        double difference = 0;
        for (int i = 0; i < N; i++)
            difference += (lifted[i].output - lifted[i].baseline_output) / N;
        printf("%-10s %11.3f %22.6f %17.6f %9.6f\n", names[b], difference, worst(lifted),
               worst(few), worst(many));
    }
    interp_close(ctx);
    return 0;
}

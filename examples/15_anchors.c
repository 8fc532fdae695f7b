/* Anchors: the fewest features that hold a prediction, whatever the others are; of a table and of images.

     cc -O2 -I. examples/15_anchors.c -o anchors -lm -pthread && ./anchors

   Irises by the mean of all flowers as background; digits in tiles of 2 x 2 pixels, blank where hidden.
   precision: share of changed copies that keep the class; coverage: share of copies the rule is about.
   Takes some seconds:

     setosa       petal length                                   precision 1.00  coverage 0.50
     virginica    petal length, petal width                      precision 1.00  coverage 0.25
     ... */
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"
#include "data/iris.h"

enum { TILE = 2, SIDE = 8, PIXELS = SIDE * SIDE };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

static interp_status irises(interp_ctx *ctx)
{
    static const char *const names[] = {"sepal length", "sepal width", "petal length",
                                        "petal width"};
    interp_dataset all; /* x [150,4] */
    interp_net *net = NULL;
    float mean[4] = {0}, out[4];
    interp_attribution r;
    if (iris_open(ctx, &all)) return interp_last_status(ctx);
    for (int i = 0; i < 4 * all.n; i++) mean[i % 4] += all.x[i] / (float)all.n;
    const interp_train_desc how = {.epochs = 60, .batch = 16, .lr = 1e-2f};
    if (interp_net_arch(ctx, "mlp", &all.shape, 3, 1, &net) || interp_train(net, &all, &how, NULL))
        return interp_last_status(ctx);
    interp_attributor *anchors; /* for one flower after the other */
    const interp_attribute_desc d = {.method = INTERP_ANCHORS, .baseline = mean};
    if (interp_attributor_new(net, 1, &d, &anchors)) return interp_last_status(ctx);
    for (int i = 20; i < all.n; i += 50) {
        char rule[128];
        int n = 0;
        if (interp_attributor_run(anchors, all.x + 4 * i, out, &r)) return interp_last_status(ctx);
        rule[0] = 0;
        for (int k = 0; k < 4; k++)
            if (out[k] > 0)
                n += snprintf(rule + n, sizeof rule - (size_t)n, "%s%s", n ? ", " : "", names[k]);
        printf("%-12s %-46s precision %.2f  coverage %.2f\n", all.class_names[r.target],
               n ? rule : "(whatever it is)", r.precision, r.coverage);
    }
    interp_attributor_free(anchors);
    return INTERP_OK;
}

static interp_status digits(interp_ctx *ctx)
{
    interp_dataset all; /* x [n,1,8,8] in 0..1 */
    interp_net *net = NULL;
    int32_t tile[PIXELS];
    float out[PIXELS];
    interp_attribution r;
    if (digits_open(ctx, &all) ||
        interp_onnx_load(ctx, "out/02_train_digits/digits.onnx", NULL, &net))
        return interp_last_status(ctx);
    for (int p = 0; p < PIXELS; p++) tile[p] = p / SIDE / TILE * (SIDE / TILE) + p % SIDE / TILE;
    for (int i = 0; i < 3; i++) {
        const interp_attribute_desc d = {.method = INTERP_ANCHORS, .mask = tile};
        if (interp_attribute(net, all.x + i * PIXELS, 1, &d, out, &r))
            return interp_last_status(ctx);
        printf("\n%s: precision %.2f  coverage %.2f\n", all.class_names[r.target], r.precision,
               r.coverage);
        for (int p = 0; p < PIXELS; p++) /* what holds it; dark pixels of the digit are letters */
            printf("%c%s",
                   out[p] > 0 ? (all.x[i * PIXELS + p] > 0.5f ? '#' : '+')
                              : (all.x[i * PIXELS + p] > 0.5f ? 'o' : '.'),
                   p % SIDE == SIDE - 1 ? "\n" : " ");
    }
    printf("# + : in the anchor; o . : hidden at will; # o : ink\n");
    return INTERP_OK;
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    if (!ctx || irises(ctx) || digits(ctx)) return die(ctx);
    interp_close(ctx);
    return 0;
}

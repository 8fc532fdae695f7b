/* Loads the network that 02_train_digits saved and predicts ten digits it was not trained on.

     cc -O2 -I. examples/03_load_and_predict.c -o predict -lm -pthread && ./predict

   Prints a drawing of the first digit and a table:

     truth  predicted  probability
         2          2      1.000
         ... */
#include <math.h>
#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"

enum { N = 10, K = 10, SIDE = 8 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* Softmax probability of class i of logits[K]. */
static double probability(const float *logits, int i)
{
    double sum = 0;
    for (int k = 0; k < K; k++) sum += exp(logits[k] - logits[i]);
    return 1 / sum;
}

/* x: [SIDE,SIDE] in 0..1; two letters a pixel make it square. */
static void draw(const float *x)
{
    static const char ink[] = " .:-=+*#%@";
    for (int i = 0; i < SIDE * SIDE; i++) {
        const char c = ink[(int)(x[i] * 9.99f)];
        printf("%c%c%s", c, c, i % SIDE == SIDE - 1 ? "\n" : "");
    }
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL;
    float logits[N * K]; /* [N,K] */
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx); /* as in 02 */
    if (interp_onnx_load(ctx, MODEL, NULL, &net)) {
        fprintf(stderr, "run 02_train_digits first, it writes the model\n");
        return die(ctx);
    }
    if (interp_predict(net, test.x, N, logits)) return die(ctx);

    draw(test.x);
    printf("truth  predicted  probability\n");
    for (int i = 0; i < N; i++) {
        const float *row = logits + i * K;
        const int k = interp_argmax(row, K);
        printf("%5d %10d %12.3f\n", (int)test.y[i], k, probability(row, k));
    }
    interp_close(ctx);
    return 0;
}

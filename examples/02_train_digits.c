/* Trains a small convolutional network on 1797 handwritten digits and saves it as ONNX.

     cc -O2 -I. examples/02_train_digits.c -o train -lm -pthread && ./train

   Writes out/02_train_digits/digits.onnx, which the examples after this one use, and prints a line
   for each epoch, at the end (a few samples more or less on another CPU):

     15   train 99.4 %   test 99.4 %   0.9 s
     saved out/02_train_digits/digits.onnx */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/02_train_digits"

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

static int show(const interp_epoch *e, bool is_best, void *user)
{
    (void)user;
    printf("%2d   train %.1f %%   test %.1f %%   %.1f s%s\n", e->epoch, 100 * e->train_accuracy,
           100 * e->val_accuracy, e->seconds, is_best ? "   best so far" : "");
    fflush(stdout);
    return 0; /* anything else ends the training */
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL;
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx);
    if (interp_net_arch(ctx, "cnn", &train.shape, train.n_classes, 1, &net)) return die(ctx);
    printf("%d training and %d test samples, %zu parameters\n", train.n, test.n,
           interp_net_describe(net).n_parameters);

    const interp_augment_desc gentle = {.shift = 0.5f, .rotate_deg = 8};
    const interp_train_desc how = {
        .epochs = 15,
        .batch = 32,
        .lr = 2e-3f,
        .schedule = INTERP_COSINE,
        .augment = &gentle,
        .validation = &test,
        .on_epoch = show,
    };
    if (interp_train(net, &train, &how, NULL)) return die(ctx);

    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_onnx_save(net, OUT "/digits.onnx")) return die(ctx);
    printf("saved " OUT "/digits.onnx\n");
    interp_close(ctx);
    return 0;
}

/* Trains an architecture by name and writes it in every form: ONNX for other runtimes, weights in
   half and a quarter of the bytes, arrays for NumPy; then loads one of them back.

     cc -O2 -I. examples/10_train_and_export.c -o export -lm -pthread && ./export

   Results are under out/10_train_and_export/. It prints

     resnet20, 272778 parameters, right on 97.8 % of the test digits
     float32    1106932 bytes   97.8 %
     float16     567645 bytes   97.8 %
     int8        301489 bytes   97.2 %
     loaded back: the same 359 answers */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/10_train_and_export"

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* Rounds the weights as the storage does, measures, and writes FOLDER/NAME.onnx. */
static interp_status export_as(interp_ctx *ctx, interp_net *net, const interp_dataset *test,
                               interp_storage storage, const char *name)
{
    const interp_onnx_save_desc form = {.storage = storage};
    interp_evaluation result = {.predicted = NULL};
    char path[64];
    void *bytes = NULL;
    size_t n = 0;
    if (interp_weights_round(net, storage, NULL) ||
        interp_evaluate(net, test, INTERP_CROSS_ENTROPY, &result) ||
        interp_onnx_serialize_as(net, &form, &bytes, &n))
        return interp_last_status(ctx);
    printf("%-8s %9zu bytes   %.1f %%\n", name, n, 100 * result.accuracy);
    snprintf(path, sizeof path, OUT "/%s.onnx", name);
    FILE *f = fopen(path, "wb");
    const bool written = f && fwrite(bytes, 1, n, f) == n;
    if (f) fclose(f);
    interp_free(ctx, bytes);
    return written ? INTERP_OK : interp_fail(ctx, INTERP_IO, "%s could not be written", path);
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL, *back = NULL;
    static int32_t before[2000], after[2000];
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx);
    if (interp_net_arch(ctx, "resnet20", &train.shape, train.n_classes, 1, &net)) return die(ctx);
    const interp_train_desc how = {.epochs = 6, .lr = 2e-3f, .schedule = INTERP_COSINE};
    interp_evaluation result = {.predicted = before};
    if (interp_train(net, &train, &how, NULL)) return die(ctx);
    if (interp_evaluate(net, &test, INTERP_CROSS_ENTROPY, &result)) return die(ctx);
    printf("resnet20, %zu parameters, right on %.1f %% of the test digits\n",
           interp_net_describe(net).n_parameters, 100 * result.accuracy);

    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_weights_save(net, OUT "/weights.npz")) return die(ctx);
    if (export_as(ctx, net, &test, INTERP_STORE_FLOAT32, "float32") ||
        export_as(ctx, net, &test, INTERP_STORE_FLOAT16, "float16") ||
        export_as(ctx, net, &test, INTERP_STORE_INT8, "int8"))
        return die(ctx);

    result.predicted = after;
    if (interp_onnx_load(ctx, OUT "/float32.onnx", NULL, &back)) return die(ctx);
    if (interp_evaluate(back, &test, INTERP_CROSS_ENTROPY, &result)) return die(ctx);
    printf("loaded back: %s %d answers\n",
           memcmp(before, after, (size_t)test.n * sizeof *after) ? "other" : "the same", test.n);
    interp_close(ctx);
    return 0;
}

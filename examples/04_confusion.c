/* What the network takes for what: confusion matrix, precision, recall and F1 of the test digits.

     cc -O2 -I. examples/04_confusion.c -o confusion -lm -pthread && ./confusion

   Needs the model that 02_train_digits saves. Writes out/04_confusion/confusion.csv and .png, and
   prints the figures of each class and their means:

     class  precision  recall     f1  support
         0      1.000   1.000  1.000       36
         ...
     accuracy 99.4 %, macro f1 0.994 */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"
#define OUT   "out/04_confusion"

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset all, train, test; /* x [n,1,8,8] in 0..1, y [n] in 0..9 */
    interp_net *net = NULL;
    interp_confusion confusion;
    interp_image picture;
    if (!ctx || digits_open(ctx, &all)) return die(ctx);
    if (interp_dataset_split(ctx, &all, 0.2, 0, &train, &test)) return die(ctx); /* as in 02 */
    if (interp_onnx_load(ctx, MODEL, NULL, &net)) return die(ctx);

    int32_t *predicted = interp_alloc(ctx, (size_t)test.n * sizeof *predicted); /* [n] */
    interp_evaluation evaluation = {.predicted = predicted};
    if (!predicted || interp_evaluate(net, &test, INTERP_CROSS_ENTROPY, &evaluation) ||
        interp_confusion_count(ctx, test.y, predicted, test.n, test.n_classes, &confusion))
        return die(ctx);

    printf("class  precision  recall     f1  support\n");
    for (int k = 0; k < confusion.n_classes; k++)
        printf("%5s %10.3f %7.3f %6.3f %8d\n", test.class_names[k], confusion.precision[k],
               confusion.recall[k], confusion.f1[k], (int)confusion.support[k]);
    printf("accuracy %.1f %%, macro f1 %.3f\n", 100 * confusion.accuracy, confusion.macro[2]);

    const interp_confusion_draw_desc drawing = {
        .title = "Handwritten digits, test set",
        .counts = confusion.counts, /* [K,K]: row truth, column prediction */
        .n_classes = confusion.n_classes,
    };
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_confusion_write_csv(ctx, OUT "/confusion.csv", &confusion, test.class_names) ||
        interp_confusion_draw(ctx, &drawing, &picture) ||
        interp_image_write(ctx, &picture, OUT "/confusion.png"))
        return die(ctx);
    interp_close(ctx);
    return 0;
}

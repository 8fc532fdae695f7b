/* A TensorBoard run written without TensorBoard: curves, a histogram, pictures, text and an embedding
   with its pictures for the projector.

     cc -O2 -I. examples/23_tensorboard_run.c -o run -lm -pthread && ./run
     tensorboard --logdir out/23_tensorboard_run

   Prints, in a second:

     wrote out/23_tensorboard_run: 20 epochs, 1797 embedded digits */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/23_tensorboard_run"

enum { N = DIGITS_COUNT, D = 64, EPOCHS = 20 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* After every epoch: its loss and accuracy. Non-zero would end the training. */
static int log_epoch(const interp_epoch *epoch, bool is_best, void *user)
{
    interp_tensorboard *tb = user;
    (void)is_best;
    return interp_tensorboard_scalar(tb, "loss/train", epoch->epoch, (float)epoch->train_loss) ||
           interp_tensorboard_scalar(tb, "accuracy/train", epoch->epoch,
                                     (float)epoch->train_accuracy);
}

int main(void)
{
    static float y[N * 3];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits; /* x [n,1,8,8], y [n] */
    interp_net *net = NULL;
    interp_tensorboard *tb = NULL;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    mkdir("out", 0777);
    if (interp_tensorboard_open(ctx, OUT, NULL, &tb)) return die(ctx);

    if (interp_net_arch(ctx, "mlp:64-32-10", &digits.shape, 10, 0, &net)) return die(ctx);
    const interp_train_desc train = {.epochs = EPOCHS, .on_epoch = log_epoch, .user = tb};
    if (interp_train(net, &digits, &train, NULL)) return die(ctx);
    const interp_parameter_info weights = interp_net_parameter(net, 0);
    if (interp_tensorboard_histogram(tb, weights.name, EPOCHS,
                                     interp_net_parameters(net) + weights.offset,
                                     interp_shape_size(&weights.shape), 0))
        return die(ctx);

    /* t-SNE in space: the picture shows it from above, the projector turns it. */
    const interp_tsne_desc space = {.n_components = 3};
    if (interp_tsne(ctx, digits.x, N, D, &space, y, NULL)) return die(ctx);
    const interp_scatter points = {.points = y, .n = N, .stride = 3, .classes = digits.y};
    const interp_chart chart = {.title = "t-SNE in three dimensions, from above"};
    interp_image image;
    if (interp_chart_scatter(ctx, &chart, &points, &image) ||
        interp_tensorboard_image(tb, "t-SNE", EPOCHS, &image, 1) ||
        interp_tensorboard_text(tb, "about", 0, "1797 **handwritten digits** of 8x8 pixels"))
        return die(ctx);
    const interp_projector_column column = {.name = "digit", .classes = digits.y};
    const interp_projector_desc projector = {.name = "t-SNE of the digits",
                                             .x = y,
                                             .n = N,
                                             .d = 3,
                                             .columns = &column,
                                             .n_columns = 1,
                                             .images = digits.x,
                                             .height = 8,
                                             .width = 8};
    if (interp_projector_write(ctx, OUT, &projector)) return die(ctx);
    interp_tensorboard_close(tb);
    printf("wrote %s: %d epochs, %d embedded digits\n", OUT, EPOCHS, N);
    interp_close(ctx);
    return 0;
}

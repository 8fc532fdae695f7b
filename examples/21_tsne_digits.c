/* 1797 handwritten digits in the plane: t-SNE, how faithful it is, and a page to explore it.

     cc -O2 -I. examples/21_tsne_digits.c -o tsne -lm -pthread && ./tsne

   Prints, in a second (the last digits depend on the CPU):

     divergence 0.744 after 750 iterations
     trustworthiness 0.992, neighbours kept 58.8 %, nearest of the same digit 98.8 %
     and new digits land among their kind: 96 of 100

   and writes out/21_tsne_digits/points.png and points.html, which shows the digit under the pointer. */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/21_tsne_digits"

enum { N = DIGITS_COUNT, D = 64, NEW = 100 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

static interp_status show(interp_ctx *ctx, const interp_dataset *digits, const float *y)
{
    const interp_scatter points = {.points = y, .n = N, .classes = digits->y, .equal = true};
    const interp_chart chart = {.title = "t-SNE of the digits"};
    const interp_projector_column column = {.name = "digit", .classes = digits->y};
    const interp_points_desc page = {.title = "t-SNE of the digits",
                                     .xy = y,
                                     .n = N,
                                     .dims = 2,
                                     .columns = &column,
                                     .n_columns = 1,
                                     .images = digits->x,
                                     .height = 8,
                                     .width = 8};
    interp_image image;
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    interp_status status = interp_chart_scatter(ctx, &chart, &points, &image);
    if (!status) status = interp_image_write(ctx, &image, OUT "/points.png");
    return status ? status : interp_points_write(ctx, &page, OUT "/points.html");
}

int main(void)
{
    static float y[N * 2], fresh[NEW * 2];
    static int32_t nearest[NEW];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits; /* x [n,1,8,8], y [n] */
    interp_tsne_info info;
    interp_quality quality;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);

    if (interp_tsne(ctx, digits.x, N, D, NULL, y, &info)) return die(ctx);
    printf("divergence %.3f after %d iterations\n", info.kl, info.iterations);
    const interp_quality_desc judge = {.classes = digits.y};
    if (interp_embed_quality(ctx, digits.x, N, D, y, 2, &judge, &quality)) return die(ctx);
    printf("trustworthiness %.3f, neighbours kept %.1f %%, nearest of the same digit %.1f %%\n",
           quality.trustworthiness, 100 * quality.preservation, 100 * quality.knn_accuracy);
    if (show(ctx, &digits, y)) return die(ctx);

    /* The last hundred as new points among the others. */
    const int old = N - NEW;
    if (interp_tsne(ctx, digits.x, old, D, NULL, y, NULL) ||
        interp_tsne_transform(ctx, digits.x, y, old, D, digits.x + old * D, NEW, NULL, fresh))
        return die(ctx);
    const interp_knn_desc among = {.queries = fresh, .n_queries = NEW};
    if (interp_knn(ctx, y, old, 2, 1, &among, nearest, NULL, NULL)) return die(ctx);
    int right = 0;
    for (int i = 0; i < NEW; i++) right += digits.y[nearest[i]] == digits.y[old + i];
    printf("and new digits land among their kind: %d of %d\n", right, NEW);
    interp_close(ctx);
    return 0;
}

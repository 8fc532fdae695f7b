/* What a network does to its data, layer by layer: UMAP of the digits as pixels and as what each layer
   makes of them.

     cc -O2 -I. examples/22_umap_layers.c -o layers -lm -pthread && ./layers

   Trains a small network and prints, in ten seconds (the last digits depend on the CPU):

     layer        numbers  nearest of the same digit
     pixels            64                      98.7 %
     ...
     dense1            10                      99.7 %

   and writes a picture of each to out/22_umap_layers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/22_umap_layers"

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* Lays x[n,d] out, draws it, and says how well digits stay together. */
static interp_status embed(interp_ctx *ctx, const char *name, const float *x, int d,
                           const interp_dataset *digits)
{
    static float y[DIGITS_COUNT * 2];
    char title[80], path[120];
    interp_quality quality;
    interp_image image;
    if (interp_umap(ctx, x, digits->n, d, NULL, y, NULL)) return interp_last_status(ctx);
    const interp_quality_desc judge = {.classes = digits->y};
    if (interp_embed_quality(ctx, x, digits->n, d, y, 2, &judge, &quality))
        return interp_last_status(ctx);
    printf("%-12s %7d %25.1f %%\n", name, d, 100 * quality.knn_accuracy);
    snprintf(title, sizeof title, "UMAP of %s", name);
    snprintf(path, sizeof path, OUT "/%s.png", name);
    const interp_scatter points = {
        .points = y, .n = digits->n, .classes = digits->y, .equal = true};
    const interp_chart chart = {.title = title};
    const interp_status status = interp_chart_scatter(ctx, &chart, &points, &image);
    return status ? status : interp_image_write(ctx, &image, path);
}

/* What node `node` makes of all samples, batch by batch. */
static interp_status layer(interp_ctx *ctx, interp_net *net, int node, const interp_dataset *data,
                           int width, float *out)
{
    enum { BATCH = 64 };
    static float batch[BATCH * 64];
    const float *in = batch;
    interp_workspace *w = NULL;
    const interp_workspace_desc how = {.batch = BATCH, .keep = interp_net_node_name(net, node)};
    interp_status status = interp_workspace_new(ctx, net, &how, &w);
    for (int i = 0; i < data->n && !status; i += BATCH) {
        const int some = data->n - i < BATCH ? data->n - i : BATCH;
        memcpy(batch, data->x + i * 64, (size_t)some * 64 * sizeof *batch);
        status = interp_forward(w, &in);
        if (!status)
            memcpy(out + (size_t)i * (size_t)width, interp_workspace_kept(w),
                   (size_t)some * (size_t)width * sizeof *out);
    }
    interp_workspace_free(w);
    return status;
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits; /* x [n,1,8,8], y [n] */
    interp_net *net = NULL;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_net_arch(ctx, "cnn", &digits.shape, 10, 0, &net)) return die(ctx);
    const interp_train_desc train = {.epochs = 4};
    if (interp_train(net, &digits, &train, NULL)) return die(ctx);
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    printf("layer        numbers  nearest of the same digit\n");
    if (embed(ctx, "pixels", digits.x, 64, &digits)) return die(ctx);
    for (int i = 0; i < interp_net_describe(net).n_nodes; i++) {
        const char *op = interp_net_node_op(net, i);
        if (strcmp(op, "Relu") && strcmp(op, "Gemm")) continue;
        const interp_shape s = interp_net_node_shape(net, i);
        const int width = (int)interp_shape_size(&s);
        float *x = malloc((size_t)digits.n * (size_t)width * sizeof *x);
        if (!x || layer(ctx, net, i, &digits, width, x) ||
            embed(ctx, interp_net_node_name(net, i), x, width, &digits))
            return die(ctx);
        free(x);
    }
    interp_close(ctx);
    return 0;
}

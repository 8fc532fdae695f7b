/* Which attribution method to believe: six of them where the truth is known.

     cc -O2 -I. examples/11_compare_methods.c -o compare -lm -pthread && ./compare

   Trains a small network on pictures whose class is that of one shape, beside another that says nothing
   about it, and scores what each method says of twelve others: how much of the relevance is on the shape
   that decides (mass, rank), and what becomes of the output as the most relevant pixels go first
   (deletion: low is good) or last (ROAD: high is good). Takes a few seconds; writes scores.csv and
   methods.png into out/11_compare_methods:

     98.5 % of 400 pictures are right
                           mass  rank  deletion  road
     saliency              0.25  0.36      0.16  1.27
     ...
     grad_cam              0.53  0.81     -0.38  2.76
     occlusion             0.73  0.81     -1.11  4.00 */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"

#define OUT "out/11_compare_methods"

enum { N = 12, SIDE = 32, PIXELS = SIDE * SIDE, TESTED = 400, METHODS = 6, SHOWN = 6 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* Three convolutions and the mean over all places. */
static interp_net *new_network(interp_ctx *ctx, const interp_shape *in, int n_classes)
{
    interp_net *net = interp_net_new(ctx, "shapes");
    interp_tensor x = interp_input(net, NULL, in);
    for (int i = 0; i < 3; i++) {
        const interp_conv2d_desc conv = {
            .channels = 8 << i, .kernel = {i ? 3 : 5}, .same = true}; /* 8, 16, 32 */
        x = interp_relu(net, interp_batch_norm(net, interp_conv2d(net, x, &conv), NULL));
        if (i < 2) x = interp_pool2d(net, x, NULL);
    }
    const interp_pool2d_desc everywhere = {.kind = INTERP_POOL_GLOBAL_AVERAGE};
    interp_dense(net, interp_flatten(net, interp_pool2d(net, x, &everywhere)), n_classes, NULL);
    return interp_net_build(net, 1) ? NULL : net;
}

int main(void)
{
    static const interp_method methods[METHODS] = {
        INTERP_SALIENCY, INTERP_SMOOTH_GRAD, INTERP_GUIDED_BACKPROP, INTERP_INTEGRATED_GRADIENTS,
        INTERP_GRAD_CAM, INTERP_OCCLUSION};
    static unsigned char masks[TESTED * PIXELS]; /* [n,32,32]: 1 where the shape is that decides */
    static float heat[METHODS][N * PIXELS];
    static interp_image maps[METHODS][SHOWN];
    static interp_panel_cell cells[METHODS + 1][SHOWN];
    const char *names[METHODS + 1] = {"input"};
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset train, test; /* x [n,1,32,32] in -1..1 */
    interp_evaluation on_test = {0};
    interp_scores s[N];
    interp_image picture;
    const interp_shapes_desc seen = {.n = 1200}, unseen = {.n = TESTED, .seed = 1};
    if (!ctx || interp_dataset_shapes(ctx, &seen, &train, NULL)) return die(ctx);
    if (interp_dataset_shapes(ctx, &unseen, &test, masks)) return die(ctx);
    interp_net *net = new_network(ctx, &train.shape, train.n_classes);
    const interp_train_desc how = {
        .epochs = 15, .batch = 32, .lr = 5e-3f, .schedule = INTERP_COSINE};
    if (!net || interp_train(net, &train, &how, NULL)) return die(ctx);
    if (interp_evaluate(net, &test, INTERP_CROSS_ENTROPY, &on_test)) return die(ctx);
    printf("%.1f %% of %d pictures are right\n%-21s mass  rank  deletion  road\n",
           100 * on_test.accuracy, test.n, "");

    mkdir("out", 0777);
    mkdir(OUT, 0777);
    FILE *csv = fopen(OUT "/scores.csv", "w");
    if (csv) fprintf(csv, "method,sample,mass,rank,deletion,road\n");
    for (int m = 0; m < METHODS; m++) {
        const interp_attribute_desc asked = {
            .method = methods[m], .target_kind = INTERP_TARGET_LABELS, .targets = test.y};
        const interp_score_desc score = {
            .target_kind = INTERP_TARGET_LABELS, .targets = test.y, .mask = masks};
        double mass = 0, rank = 0, deletion = 0, road = 0;
        names[m + 1] = interp_method_name(methods[m]);
        if (interp_attribute(net, test.x, N, &asked, heat[m], NULL)) return die(ctx);
        if (interp_attribution_score(net, test.x, N, heat[m], &score, s, NULL)) return die(ctx);
        for (int i = 0; i < N; i++) {
            mass += s[i].mass / N, rank += s[i].rank / N;
            deletion += s[i].deletion / N, road += s[i].road / N;
            if (csv)
                fprintf(csv, "%s,%d,%.6g,%.6g,%.6g,%.6g\n", names[m + 1], i, s[i].mass, s[i].rank,
                        s[i].deletion, s[i].road);
        }
        printf("%-21s %4.2f  %4.2f  %8.2f  %4.2f\n", names[m + 1], mass, rank, deletion, road);
        for (int i = 0; i < SHOWN; i++) {
            const interp_attribution_draw_desc drawing = {
                .attr = heat[m] + i * PIXELS, .height = SIDE, .width = SIDE, .scale = 3};
            if (interp_attribution_draw(ctx, &drawing, &maps[m][i])) return die(ctx);
            cells[m + 1][i] = (interp_panel_cell){.image = &maps[m][i]};
            cells[0][i] = (interp_panel_cell){
                .values = test.x + i * PIXELS, .height = SIDE, .width = SIDE, .min = -1, .max = 1};
        }
    }
    if (!csv || fclose(csv)) return fprintf(stderr, OUT "/scores.csv cannot be written\n"), 1;
    const interp_panel_desc panel = {.title = "One shape decides, the other does not",
                                     .cells = cells[0],
                                     .rows = METHODS + 1,
                                     .cols = SHOWN,
                                     .row_labels = names,
                                     .cell_size = 96};
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/methods.png"))
        return die(ctx);
    printf("wrote " OUT "/scores.csv and methods.png\n");
    interp_close(ctx);
    return 0;
}

/* One network called on four views of a thing, explained view by view.

     cc -O2 -I. examples/16_multi_view.c -o views -lm -pthread && ./views

   Samples are four digits below four, the class is the largest of them. "multiview-concat:cnn" calls one
   small network on each view and classifies what it says of all: its layers, ReLUs among them, run four
   times on different numbers, and every use is attributed by itself. Then which view decides, by
   integrated gradients and by leaving views out; where two views hold the largest digit, either could.
   Writes out/16_multi_view/views.png:

     test accuracy 97.5 %
     the view with the most relevance is the largest digit in 74 % (integrated gradients), 74 % (ablation)
   */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/16_multi_view"

enum {
    VIEWS = 4,
    CLASSES = 4,
    PIXELS = 64,
    SAMPLE = VIEWS * PIXELS,
    TRAIN = 4000,
    TEST = 400,
    SHOWN = 5
};

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* n rows of four digits below 4; of each, which view holds the largest. */
static void compose(const interp_dataset *digits, const int *small, int n_small, uint64_t seed,
                    int n, float *x, int32_t *y, int *largest)
{
    for (int i = 0; i < n; i++) {
        y[i] = -1;
        for (int v = 0; v < VIEWS; v++) {
            const int k =
                small[interp_random_u32(seed, (uint64_t)i, (uint64_t)v) % (uint32_t)n_small];
            for (int p = 0; p < PIXELS; p++)
                x[(i * VIEWS + v) * PIXELS + p] = digits->x[k * PIXELS + p];
            if (digits->y[k] > y[i]) y[i] = digits->y[k], largest[i] = v;
        }
    }
}

/* Share of samples whose view of most relevance is the one that decides. */
static double found(const float *parts, const int *largest)
{
    int right = 0;
    for (int i = 0; i < TEST; i++) {
        int best = 0;
        float most = -1e30f;
        for (int v = 0; v < VIEWS; v++) {
            float sum = 0;
            for (int p = 0; p < PIXELS; p++) sum += parts[(i * VIEWS + v) * PIXELS + p];
            if (sum > most) most = sum, best = v;
        }
        right += best == largest[i];
    }
    return 100.0 * right / TEST;
}

int main(void)
{
    static float x[TRAIN * SAMPLE], test_x[TEST * SAMPLE], gradients[TEST * SAMPLE],
        left_out[TEST * SAMPLE];
    static int32_t y[TRAIN], test_y[TEST], view[SAMPLE];
    static int largest[TRAIN], test_largest[TEST], small[2000];
    static interp_panel_cell cells[VIEWS][2 * SHOWN];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits, train = {0}, test = {0};
    interp_net *net = NULL;
    interp_evaluation e = {0};
    interp_image picture;
    int n_small = 0;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    for (int i = 0; i < digits.n; i++)
        if (digits.y[i] < CLASSES) small[n_small++] = i;
    const int half = n_small / 2; /* digits of the test are not those of the training */
    compose(&digits, small, half, 1, TRAIN, x, y, largest);
    compose(&digits, small + half, n_small - half, 2, TEST, test_x, test_y, test_largest);
    train.shape = test.shape = (interp_shape){4, {VIEWS, 1, 8, 8, 1, 1, 1, 1}};
    train.x = x, train.y = y, train.n = TRAIN, train.n_classes = CLASSES;
    test.x = test_x, test.y = test_y, test.n = TEST, test.n_classes = CLASSES;
    const interp_train_desc how = {.epochs = 12, .lr = 2e-3f, .schedule = INTERP_COSINE};
    if (interp_net_arch(ctx, "multiview-concat:cnn", &train.shape, CLASSES, 1, &net) ||
        interp_train(net, &train, &how, NULL) ||
        interp_evaluate(net, &test, INTERP_CROSS_ENTROPY, &e))
        return die(ctx);
    printf("test accuracy %.1f %%\n", 100 * e.accuracy);

    for (int i = 0; i < SAMPLE; i++) view[i] = i / PIXELS;
    const interp_attribute_desc ig = {.method = INTERP_INTEGRATED_GRADIENTS};
    const interp_attribute_desc out = {.method = INTERP_FEATURE_ABLATION, .mask = view};
    if (interp_attribute(net, test_x, TEST, &ig, gradients, NULL) ||
        interp_attribute(net, test_x, TEST, &out, left_out, NULL))
        return die(ctx);
    printf(
        "the view with the most relevance is the largest digit in %.0f %% (integrated gradients), "
        "%.0f %% (ablation)\n",
        found(gradients, test_largest), found(left_out, test_largest));

    for (int i = 0; i < SHOWN;
         i++) { /* of each sample its views, and their relevance on one scale */
        const float *parts = gradients + i * SAMPLE;
        float most = 0;
        for (int p = 0; p < SAMPLE; p++) most = fmaxf(most, fabsf(parts[p]));
        for (int v = 0; v < VIEWS; v++) {
            cells[v][2 * i] = (interp_panel_cell){
                .values = test_x + i * SAMPLE + v * PIXELS, .height = 8, .width = 8, .max = 1};
            cells[v][2 * i + 1] = (interp_panel_cell){.values = parts + v * PIXELS,
                                                      .height = 8,
                                                      .width = 8,
                                                      .colormap = INTERP_COLORMAP_RD_WH_GN,
                                                      .min = -most,
                                                      .max = most};
        }
    }
    static const char *const rows[VIEWS] = {"view 1", "view 2", "view 3", "view 4"};
    const interp_panel_desc panel = {.title = "Which of four digits decides",
                                     .cells = cells[0],
                                     .rows = VIEWS,
                                     .cols = 2 * SHOWN,
                                     .row_labels = rows,
                                     .cell_size = 72};
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/views.png"))
        return die(ctx);
    printf("wrote " OUT "/views.png\n");
    interp_close(ctx);
    return 0;
}

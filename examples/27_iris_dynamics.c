/* Training as a dynamical system: 100 small networks learn the irises; where do their weights go?

     cc -O2 -I. examples/27_iris_dynamics.c -o iris -lm -pthread && ./iris

   Prints, in a second (figures depend on the CPU's last digits):

     100 networks, balanced accuracy 0.963 on average
     gaussian process of two weights: length 2.00, noise 0.063
     32768 boxes, 6 Morse sets: 433 and 1 and 2 and 2 and 3 and 2 boxes

   and writes out/27_iris_dynamics/tiles.png: which Morse set each place goes to, and where networks began
   and ended. As Fernandez et al. 2021 (DOODL3), but with ends joined to their own beginnings. */
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/iris.h"

enum { MODELS = 100, EPOCHS = 300, WEIGHTS = 9, FIRST = 0, SECOND = 3 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    return 1;
}

/* Two numbers of a flower to three classes; weights uniform in -2..2, biases 0. */
static interp_status build(interp_ctx *ctx, int model, interp_net **net, void *user)
{
    const interp_status status =
        interp_net_arch(ctx, "linear", (const interp_shape *)user, 3, 0, net);
    for (int i = 0; !status && i < WEIGHTS; i++)
        interp_net_parameters(*net)[i] =
            i < 6 ? 4 * interp_random_uniform(1, (uint64_t)model, (uint64_t)i) - 2 : 0;
    return status;
}

int main(void)
{
    static double from[MODELS][2], to[MODELS][2], accuracy[MODELS];
    static float dots[4][MODELS], ends[1 << 15][4];
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset iris;
    if (!ctx || iris_open(ctx, &iris)) return die(ctx);
    for (int i = 0; i < 150; i++) /* petals only */
        iris.x[2 * i] = iris.x[4 * i + 2] - 3.76f, iris.x[2 * i + 1] = iris.x[4 * i + 3] - 1.2f;
    iris.shape.dim[0] = 2;

    const int snapshots[2] = {2, EPOCHS};
    const interp_ensemble_desc many = {.models = MODELS,
                                       .build = build,
                                       .user = &iris.shape,
                                       .train = {.epochs = EPOCHS, .batch = 10},
                                       .snapshots = snapshots,
                                       .n_snapshots = 2,
                                       .test = &iris};
    interp_ensemble all;
    double mean = 0;
    if (interp_ensemble_train(ctx, &iris, &many, &all)) return die(ctx);
    interp_ensemble_statistics(&all, iris.y, false, accuracy, NULL, NULL);
    for (int m = 0; m < MODELS; m++) {
        const float *w = all.weights + m * 2 * WEIGHTS;
        from[m][0] = dots[0][m] = w[FIRST], from[m][1] = dots[1][m] = w[SECOND];
        to[m][0] = dots[2][m] = w[WEIGHTS + FIRST], to[m][1] = dots[3][m] = w[WEIGHTS + SECOND];
        mean += accuracy[m] / MODELS;
    }
    printf("%d networks, balanced accuracy %.3f on average\n", MODELS, mean);

    interp_gp *gp;
    interp_gp_info fit;
    if (interp_gp_new(ctx, from[0], to[0], MODELS, 2, 2, NULL, &gp, &fit)) return die(ctx);
    printf("gaussian process of two weights: length %.2f, noise %.3f\n", fit.length, fit.noise);

    const double lower[2] = {-5, -5}, upper[2] = {3, 3};
    const interp_map map = {
        .dims = 2, .points = interp_gp_mean, .user = gp, .padding = true, .concurrent = true};
    const interp_morse_desc grid = {.lower = lower, .upper = upper, .min = 15};
    interp_morse *morse;
    interp_retraction tiles;
    if (interp_morse_new(ctx, &map, &grid, &morse) || interp_morse_retract(morse, &tiles))
        return die(ctx);
    printf("%u boxes, %d Morse sets:", (unsigned)interp_morse_boxes(morse),
           interp_morse_count(morse));
    for (int s = 0; s < interp_morse_count(morse); s++) {
        uint32_t n;
        interp_morse_set(morse, s, &n);
        printf("%s%u", s ? " and " : " ", (unsigned)n);
    }
    printf(" boxes\n");

    for (uint32_t b = 0; b < interp_morse_boxes(morse); b++) {
        double l[2], u[2];
        interp_morse_box(morse, b, l, u);
        for (int k = 0; k < 2; k++) ends[b][k] = (float)l[k], ends[b][2 + k] = (float)u[k];
    }
    const interp_series over[2] = {{.name = "after 2 epochs",
                                    .x = dots[0],
                                    .y = dots[1],
                                    .n = MODELS,
                                    .rgb = 0x8a2be2,
                                    .style = INTERP_SERIES_POINTS},
                                   {.name = "at the end",
                                    .x = dots[2],
                                    .y = dots[3],
                                    .n = MODELS,
                                    .rgb = 0x101010,
                                    .style = INTERP_SERIES_POINTS}};
    const interp_boxes boxes = {
        .ends = ends[0], .classes = tiles.tile, .n = 1 << 15, .over = over, .n_over = 2};
    interp_image image;
    mkdir("out", 0777);
    mkdir("out/27_iris_dynamics", 0777);
    if (interp_chart_boxes(ctx, &(interp_chart){.title = "Where training goes", .height = 860},
                           &boxes, &image) ||
        interp_image_write(ctx, &image, "out/27_iris_dynamics/tiles.png"))
        return die(ctx);
    interp_close(ctx);
    return 0;
}

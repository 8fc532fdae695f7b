/* Which label a network gets wrong, and in which layer: MODE's diagnosis, its feature models,
   its heat maps.

   cc -O2 -I. examples/24_mode_digits.c -o mode -lm -pthread && ./mode

   A small network is trained for a moment. Its labels are judged on training and validation
   data, a linear model of each layer's numbers says where labels are told apart, and heat maps
   compare inputs that are right with those that are mistaken. Prints, in a second (the last
   digits depend on the CPU):

   label training validation 0 97.2 % 95.8 % 1 82.6 % 79.5 % under-fitted ... layer features
   validation distance to the layer before relu1 24 88.5 % 0.0000 relu2 16 85.3 % 0.0524 dense3
   10 85.7 % 0.0311 selected label 8: 48 right, 22 mistaken for others, 11 others mistaken for
   it

   and writes out/24_mode_digits/maps.png: the label's right inputs, those mistaken for others,
   others mistaken for it, and the differences. */
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/24_mode_digits"

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* HCI, HWI, HMI, DHWI and DHMI of a label. */
static int draw(interp_ctx *ctx, const interp_mode_maps *m, int label)
{
    static const char *const names[5] = {"HCI: right", "HWI: mistaken", "HMI: others for it",
                                         "HWI - HCI", "HMI - HCI"};
    const float *const maps[5] = {m->hci, m->hwi, m->hmi, m->dhwi, m->dhmi};
    interp_panel_cell cells[5] = {{0}};
    interp_image image;
    for (int i = 0; i < 5; i++)
        cells[i] = (interp_panel_cell){.values = maps[i] + (size_t)label * m->size,
                                       .height = 8,
                                       .width = 8,
                                       .colormap = i > 2 ? INTERP_COLORMAP_SEISMIC
                                                         : INTERP_COLORMAP_VIRIDIS,
                                       .caption = names[i]};
    const interp_panel_desc panel = {
        .title = "Heat maps of the label at fault", .cells = cells, .rows = 1, .cols = 5};
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    return interp_panel_draw(ctx, &panel, &image) ||
           interp_image_write(ctx, &image, OUT "/maps.png");
}

int main(void)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_dataset digits, train, validation;
    interp_net *net = NULL;
    if (!ctx || digits_open(ctx, &digits)) return die(ctx);
    if (interp_dataset_split(ctx, &digits, 0.4, 1, &train, &validation)) return die(ctx);
    if (interp_net_arch(ctx, "mlp:64-24-16-10", &digits.shape, 10, 1, &net)) return die(ctx);
    const interp_train_desc how = {.epochs = 5, .batch = 32, .lr = 2e-3f};
    if (interp_train(net, &train, &how, NULL)) return die(ctx);

    interp_mode_diagnosis d;
    if (interp_mode_diagnose(net, &train, &validation, NULL, &d)) return die(ctx);
    printf("label  training  validation\n");
    for (int l = 0; l < 10; l++)
        printf("%5d  %6.1f %%    %6.1f %%%s%s\n", l, 100 * d.labels[l].train_accuracy,
               100 * d.labels[l].val_accuracy, d.labels[l].underfit ? "   under-fitted" : "",
               d.labels[l].overfit ? "   over-fitted" : "");
    const int label = d.underfit >= 0 ? d.underfit : 0;
    printf("MODE would give label %d %.0f %% of the next inputs\n", label,
           100 * interp_mode_alpha(&d, label));

    interp_mode_layers l;
    if (interp_mode_select_layer(net, &train, &validation, NULL, &l)) return die(ctx);
    printf("layer    features  validation  distance to the layer before\n");
    for (int i = 0; i < l.n; i++)
        printf("%-8s %8d    %6.1f %%  %8.4f%s\n", l.layer[i].name, l.layer[i].features,
               100 * l.layer[i].val_accuracy, i ? l.layer[i].distance : 0.0,
               i == l.selected ? "   selected" : "");

    interp_mode_maps m;
    if (interp_mode_heat_maps(net, &validation, NULL, &m)) return die(ctx);
    printf("label %d: %d right, %d mistaken for others, %d others mistaken for it\n", label,
           m.n_hci[label], m.n_hwi[label], m.n_hmi[label]);
    if (draw(ctx, &m, label)) return die(ctx);
    printf("wrote " OUT "/maps.png\n");
    interp_close(ctx);
    return 0;
}

/* What in a photo a network looks at: any ONNX classifier, a PNG or JPEG, eight methods side by side.

     cc -O2 -I. examples/12_explain_photo.c -o explain -lm -pthread
     ./explain MODEL.onnx PHOTO.jpg

   The photo is resized to the model's input and, for three channels, normalised as ImageNet's are. Maps
   are blended with it; the predicted class is explained. Without arguments it takes the model of digits
   that 02_train_digits saves, and a three. Needs stb_image.h (`make deps`).
   Writes out/12_explain_photo/explained.png:

     class 3 with 13.49
     saliency                    2 passes
     integrated_gradients       52 passes, residual -0.2084
     ... */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/12_explain_photo"

enum { METHODS = 8, COLUMNS = 3, SHOWN = 3 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* x[C,H,W]: what the network sees; shown[C,H,W]: what people see. */
static interp_status read_photo(interp_ctx *ctx, const char *path, const interp_shape *in, float *x,
                                float *shown)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, sd[3] = {0.229f, 0.224f, 0.225f};
    const int pixels = in->dim[1] * in->dim[2], channels = in->dim[0];
    interp_array photo; /* [C,h,w] in 0..1 */
    const interp_status status = interp_image_file_read(ctx, path, channels, &photo);
    if (status) return status;
    interp_planes_resize(photo.data, channels, photo.shape.dim[1], photo.shape.dim[2], shown,
                         in->dim[1], in->dim[2]);
    for (int i = 0; i < channels * pixels; i++)
        x[i] = channels == 3 ? (shown[i] - mean[i / pixels]) / sd[i / pixels] : shown[i];
    interp_array_free(ctx, &photo);
    return INTERP_OK;
}

int main(int argc, char **argv)
{
    static const interp_method methods[METHODS] = {
        INTERP_SALIENCY, INTERP_INTEGRATED_GRADIENTS, INTERP_SMOOTH_GRAD, INTERP_DEEP_LIFT,
        INTERP_LRP,      INTERP_GUIDED_BACKPROP,      INTERP_GRAD_CAM,    INTERP_OCCLUSION};
    static interp_panel_cell cells[COLUMNS * COLUMNS];
    static interp_image maps[METHODS];
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = NULL;
    interp_dataset digits;
    interp_image picture;
    const char *model = argc < 3 ? "out/02_train_digits/digits.onnx" : argv[1];
    if (!ctx || interp_onnx_load(ctx, model, NULL, &net)) return die(ctx);
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t size = interp_shape_size(&in);
    float *x = malloc(3 * size * sizeof *x), *shown = x + size, *heat = shown + size;
    if (!x || in.rank != 3) return fprintf(stderr, "the model takes no images\n"), 1;
    if (argc < 3) {
        if (digits_open(ctx, &digits)) return die(ctx);
        for (size_t i = 0; i < size; i++) x[i] = shown[i] = digits.x[SHOWN * size + i];
    } else if (read_photo(ctx, argv[2], &in, x, shown)) return die(ctx);

    cells[0] = (interp_panel_cell){.values = shown,
                                   .channels = in.dim[0],
                                   .height = in.dim[1],
                                   .width = in.dim[2],
                                   .caption = "input"};
    for (int m = 0; m < METHODS; m++) {
        const interp_attribute_desc how = {.method = methods[m],
                                           .rule = INTERP_LRP_EPSILON_PLUS_FLAT};
        const bool map = methods[m] == INTERP_GRAD_CAM; /* [H,W] */
        interp_attribution r;
        if (interp_attribute(net, x, 1, &how, heat, &r)) return die(ctx);
        if (!m) printf("class %d with %.2f\n", r.target, r.output);
        printf("%-22s %6d passes", interp_method_name(methods[m]), r.passes);
        if (r.residual == r.residual) printf(", residual %7.4f", r.residual); /* parts add up */
        printf("\n");
        const interp_attribution_draw_desc drawing = {.attr = heat,
                                                      .image = shown,
                                                      .channels = map ? 1 : in.dim[0],
                                                      .image_channels = in.dim[0],
                                                      .height = in.dim[1],
                                                      .width = in.dim[2],
                                                      .method = INTERP_DRAW_BLENDED,
                                                      .alpha = 0.7f,
                                                      .smooth = true};
        if (interp_attribution_draw(ctx, &drawing, &maps[m])) return die(ctx);
        cells[m + 1] =
            (interp_panel_cell){.image = &maps[m], .caption = interp_method_name(methods[m])};
    }
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    const interp_panel_desc panel = {
        .cells = cells, .rows = COLUMNS, .cols = COLUMNS, .cell_size = 230};
    if (interp_panel_draw(ctx, &panel, &picture) ||
        interp_image_write(ctx, &picture, OUT "/explained.png"))
        return die(ctx);
    printf("wrote " OUT "/explained.png\n");
    free(x);
    interp_close(ctx);
    return 0;
}

/* What is in a photo: any ONNX classifier, a PNG or JPEG, the five likeliest classes.

     cc -O2 -I. examples/09_onnx_classify.c -o classify -lm -pthread
     ./classify MODEL.onnx PHOTO.jpg NAMES.txt

   NAMES.txt holds one class a line. The photo is resized to the model's input and, for three channels,
   normalised as ImageNet's are. Needs stb_image.h (`make deps`).
   Without arguments it looks at a digit with the model that 02_train_digits saves:

     100.0 %  three
       0.0 %  nine
       ... */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define OUT "out/09_onnx_classify"

enum { TOP = 5, LINE = 128, SHOWN = 3 };

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

/* A photo of a digit and the names of the ten, for a start. */
static interp_status prepare(interp_ctx *ctx)
{
    interp_dataset all;
    interp_image photo;
    mkdir("out", 0777);
    mkdir(OUT, 0777);
    FILE *f = fopen(OUT "/names.txt", "w");
    if (!f) return interp_fail(ctx, INTERP_IO, OUT "/names.txt could not be written");
    fputs("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n", f);
    fclose(f);
    if (digits_open(ctx, &all) || interp_image_new(ctx, 120, 120, 0, &photo))
        return interp_last_status(ctx);
    for (int i = 0; i < 64; i++) { /* squares of 15 pixels */
        const uint32_t grey = (uint32_t)(255 * all.x[SHOWN * 64 + i]);
        interp_image_rect(&photo, i % 8 * 15, i / 8 * 15, 15, 15, grey * 0x010101u);
    }
    return interp_image_write(ctx, &photo, OUT "/photo.png");
}

/* A photo [C,h,w] as x[C,H,W]. */
static void fit(const interp_array *photo, const interp_shape *in, float *x)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, sd[3] = {0.229f, 0.224f, 0.225f};
    const int pixels = in->dim[1] * in->dim[2];
    interp_planes_resize(photo->data, in->dim[0], photo->shape.dim[1], photo->shape.dim[2], x,
                         in->dim[1], in->dim[2]);
    for (int i = 0; in->dim[0] == 3 && i < 3 * pixels; i++)
        x[i] = (x[i] - mean[i / pixels]) / sd[i / pixels];
}

/* Line k of a file, or the number. */
static const char *class_name(const char *path, int k, char line[LINE])
{
    FILE *f = fopen(path, "r");
    int i = 0;
    while (f && i <= k && fgets(line, LINE, f)) i++;
    if (i <= k) snprintf(line, LINE, "class %d", k);
    if (f) fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    return line;
}

int main(int argc, char **argv)
{
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = NULL;
    interp_array photo; /* [C,h,w] in 0..1 */
    if (!ctx || (argc < 4 && prepare(ctx))) return die(ctx);
    const char *model = argc < 4 ? "out/02_train_digits/digits.onnx" : argv[1];
    if (interp_onnx_load(ctx, model, NULL, &net)) return die(ctx);
    const interp_shape in = interp_net_input_shape(net, 0), out = interp_net_output_shape(net, 0);
    const int n_classes = (int)interp_shape_size(&out);
    if (in.rank != 3 ||
        interp_image_file_read(ctx, argc < 4 ? OUT "/photo.png" : argv[2], in.dim[0], &photo))
        return die(ctx);
    float *x = malloc(sizeof(float) * interp_shape_size(&in));
    float *y = malloc(sizeof(float) * (size_t)n_classes), sum = 0;
    if (!x || !y) return 1;
    fit(&photo, &in, x);
    if (interp_predict(net, x, 1, y)) return die(ctx);
    const float most = y[interp_argmax(y, n_classes)];
    for (int k = 0; k < n_classes; k++) sum += y[k] = expf(y[k] - most); /* softmax of logits */
    for (int i = 0; i < TOP && i < n_classes; i++) {
        char line[LINE];
        const int k = interp_argmax(y, n_classes);
        const char *names = argc < 4 ? OUT "/names.txt" : argv[3];
        printf("%5.1f %%  %s\n", (double)(100 * y[k] / sum), class_name(names, k, line));
        y[k] = -1;
    }
    free(x);
    free(y);
    interp_close(ctx);
    return 0;
}

/* Inference as on a device without heap, threads and files: all memory is one static array.

     cc -O2 -I. examples/08_static_buffer.c -o device -lm && ./device

   Needs the model that 02_train_digits saves; on a device its bytes would be an array in flash.
   Prints the exact bytes that each part takes from the array, and the digits predicted:

     workspace  127104 bytes, as interp_workspace_bytes foretold
     ...
     truth     0123456789
     predicted 0123456789
     0 allocations while predicting */
#define INTERP_NO_MALLOC
#define INTERP_NO_THREADS
#define INTERP_NO_STDIO
#define INTERP_NO_TRAIN

#include <stdio.h>

#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "data/digits.h"

#define MODEL "out/02_train_digits/digits.onnx"

enum { N = 10, PIXELS = 64, K = 10 };

static unsigned char memory[1 << 20]; /* everything the library will ever have */
static unsigned char model[1 << 19];  /* the bytes of the file */

static int die(interp_ctx *ctx)
{
    fprintf(stderr, "%s\n", interp_error(ctx));
    interp_close(ctx);
    return 1;
}

int main(void)
{
    interp_ctx *ctx = interp_open(&(interp_desc){.buffer = memory, .buffer_bytes = sizeof memory});
    interp_net *net = NULL;
    interp_workspace *work = NULL;
    FILE *f = fopen(MODEL, "rb");
    const size_t n = f ? fread(model, 1, sizeof model, f) : 0;
    size_t foretold = 0, context, network, workspace;
    if (f) fclose(f);
    else fprintf(stderr, "run 02_train_digits first, it writes the model\n");
    if (!ctx) return die(ctx);

    context = interp_memory_read(ctx).used;
    if (interp_onnx_parse(ctx, model, n, NULL, &net)) return die(ctx);
    network = interp_memory_read(ctx).used - context;
    if (interp_workspace_bytes(ctx, net, NULL, &foretold) ||
        interp_workspace_new(ctx, net, NULL, &work)) /* NULL: batches of one, inference only */
        return die(ctx);
    workspace = interp_memory_read(ctx).used - context - network;
    printf("context   %7zu bytes\nnetwork   %7zu bytes\nworkspace %7zu bytes, %s\n", context,
           network, workspace,
           workspace == foretold ? "as interp_workspace_bytes foretold" : "not as foretold!");
    printf("peak      %7zu bytes, while the model was read\n", interp_memory_read(ctx).peak);

    const size_t allocations = interp_memory_read(ctx).allocations;
    char truth[N + 1] = "", predicted[N + 1] = "";
    for (int i = 0; i < N; i++) {
        float pixels[PIXELS]; /* [1,1,8,8] in 0..1 */
        const float *inputs[1] = {pixels};
        for (int k = 0; k < PIXELS; k++) pixels[k] = (float)(digits_rows[i][k] - 'A') / 16;
        if (interp_forward(work, inputs)) return die(ctx);
        const float *logits = interp_workspace_output(work, 0); /* [1,K] */
        truth[i] = digits_rows[i][PIXELS];
        predicted[i] = (char)('0' + interp_argmax(logits, K));
    }
    printf("truth     %s\npredicted %s\n", truth, predicted);
    printf("%zu allocations while predicting\n", interp_memory_read(ctx).allocations - allocations);
    interp_close(ctx);
    return 0;
}

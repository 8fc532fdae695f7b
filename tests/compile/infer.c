/* A program that loads a network and uses it, and nothing else: how long it takes to compile, and how
   large it is. */
#define INTERP_IMPLEMENTATION
#include "interp.h"

int main(int argc, char **argv)
{
    static float x[1 << 12], y[1 << 10];
    interp_ctx *ctx = interp_open(NULL);
    interp_net *net = NULL;
    return argc < 2 || interp_onnx_load(ctx, argv[1], NULL, &net) || interp_predict(net, x, 1, y);
}

/* What tests of attribution share: networks, numbers, the stored references. */
#ifndef ATTR_NETS_H
#define ATTR_NETS_H

#include "interp.h"
#include "test.h"

#define REFS        "../shared/refs/attribution/"
#define ATTR_HELPER static __attribute__((unused))

/* Largest difference over the largest magnitude wanted: float32 gradients are good to about 2e-6. On
   an instruction set that rounds otherwise, one of the 50 points of an integral may fall on the other
   side of a kink (ReLU, max pool), which moves the integral by a part of 1/50: then the best
   instruction set must still agree. */
#define REFERENCE_TOLERANCE 1e-5
#define KINK_TOLERANCE      5e-4

static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
enum { N_ISAS = sizeof isas / sizeof *isas };

static interp_ctx *ctx;

/* NULL on a CPU without the instruction set; isa NULL: the best one. */
ATTR_HELPER interp_ctx *open_with(int threads, const char *isa)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = threads, d.isa = isa;
    return interp_open(&d);
}

ATTR_HELPER void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(17, stream, i);
}

/* Images [2,8,8]: convolutions with and without bias, batch norm, a residual sum, pools. Without
   `smooth` all pieces are linear. */
ATTR_HELPER interp_net *image_net(interp_ctx *c, bool smooth)
{
    const interp_activation act = smooth ? INTERP_SILU : INTERP_RELU;
    const interp_shape s = {3, {2, 8, 8, 1, 1, 1, 1, 1}}, one = {3, {6, 1, 1, 1, 1, 1, 1, 1}};
    static const float shift[6] = {0.1f, -0.2f, 0.3f, 0.4f, -0.5f, 0.6f};
    interp_net *net = interp_net_new(c, "image");
    interp_conv2d_desc conv;
    memset(&conv, 0, sizeof conv);
    conv.channels = 6, conv.same = true;
    interp_tensor x = interp_conv2d(net, interp_input(net, NULL, &s), &conv);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), act, 0);
    interp_pool2d_desc pool;
    memset(&pool, 0, sizeof pool);
    pool.kind = smooth ? INTERP_POOL_AVERAGE : INTERP_POOL_MAX;
    x = interp_pool2d(net, x, &pool);
    interp_tensor y = interp_conv2d(net, x, &conv);
    y = interp_sub(net, interp_add(net, y, interp_constant(net, &one, shift)),
                   interp_constant(net, &one, shift));
    y = interp_add(net, interp_constant(net, &one, shift), y);
    x = interp_activate(net, interp_add(net, x, y), act, 0);
    x = interp_activate(net, interp_dense(net, interp_flatten(net, x), 12, NULL), act, 0);
    interp_output(net, interp_dense(net, x, 4, NULL), "y");
    if (interp_net_build(net, 5)) return NULL;
    float *p = interp_net_parameters(net); /* biases, scales, shifts away from their start */
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info v = interp_net_parameter(net, i);
        for (size_t k = 0; k < interp_shape_size(&v.shape) && v.shape.rank == 1; k++)
            p[v.offset + k] += 0.3f * interp_random_normal(3, v.offset, k);
    }
    return net;
}

enum { SIZE = 128, MAP = 64 };

/* An array of the references; false when it is not there. */
ATTR_HELPER bool read_ref(const char *model, const char *file, interp_array *to, bool floats)
{
    char path[256];
    memset(to, 0, sizeof *to);
    snprintf(path, sizeof path, REFS "%s/%s", model, file);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f && !interp_npy_read(ctx, path, to) && (!floats || !interp_array_to_f32(ctx, to));
}

/* Largest difference from what is wanted times factor, over the largest of that. */
ATTR_HELPER double error_of(const float *got, const interp_array *want, double factor)
{
    double worst = 0, largest = 1e-30;
    for (size_t i = 0; i < interp_shape_size(&want->shape); i++) {
        const double w = factor * (double)((const float *)want->data)[i];
        worst = fmax(worst, fabs((double)got[i] - w));
        largest = fmax(largest, fabs(w));
    }
    return worst / largest;
}

/* Layers of 7, 9, 9 and 4 with a function between, dense ones as matrix products with biases added. */
ATTR_HELPER interp_net *function_net(interp_ctx *c, interp_activation act, bool products)
{
    const interp_shape s = {2, {3, 7, 1, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "functions");
    interp_tensor x = interp_input(net, NULL, &s);
    for (int layer = 0; layer < 2; layer++) {
        const int from = layer ? 9 : 7;
        const interp_shape w = {2, {from, 9, 1, 1, 1, 1, 1, 1}}, b = {1, {9, 1, 1, 1, 1, 1, 1, 1}};
        float numbers[81], bias[9];
        for (int i = 0; i < from * 9; i++)
            numbers[i] = 0.4f * interp_random_normal(51, (uint64_t)layer, (uint64_t)i);
        fill(bias, 9, 52);
        interp_tensor y = products ? interp_matmul(net, x, interp_constant(net, &w, numbers))
                                   : interp_dense(net, x, 9, NULL);
        if (products) y = interp_add(net, interp_constant(net, &b, bias), y);
        x = interp_activate(net, y, act, act == INTERP_RELU6 ? 0 : 0.3f);
    }
    interp_output(net, interp_dense(net, interp_flatten(net, x), 4, NULL), "y");
    return interp_net_build(net, 3) ? NULL : net;
}

#endif

/* Windows of images: what they do not reach is not run again, and nobody can tell from the results. */
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

static interp_ctx *ctx;

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(12, stream, i);
}

static interp_attribute_desc windows_of(int window, int stride)
{
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_OCCLUSION;
    d.window[0] = d.stride[0] = 1;
    for (int i = 1; i < 3; i++) d.window[i] = window, d.stride[i] = stride;
    return d;
}

/* Attributes with the cone and without; both results must be the same to the bit. Gives the cost of a
   copy as a share of a whole pass, 1 when there is no cone. */
static double check_same(interp_net *net, int n, const interp_attribute_desc *d)
{
    const interp_shape s = interp_net_input_shape(net, 0);
    const size_t size = interp_shape_size(&s) * (size_t)n;
    float *x = (float *)calloc(3 * size, sizeof *x), *out = x + size, *whole = out + size;
    interp_attribution *report = (interp_attribution *)calloc(2 * (size_t)n, sizeof *report);
    double share = 1;
    itp_attr a;
    fill(x, size, 3);
    CHECK_OK(net->ctx, itp_attr_settle(&a, net, n, d, NULL, NULL));
    a.x = x;
    CHECK_OK(net->ctx, itp_attr_go(&a, whole, report));
    CHECK_OK(net->ctx, itp_attr_settle(&a, net, n, d, NULL, NULL));
    itp_cone_open(&a);
    if (a.cone) {
        const double pass = itp_cone_cost(net, a.cone->needed);
        share = itp_cone_all(&a, pass) / (pass * a.points);
    }
    itp_cone_close(&a);
    CHECK_OK(net->ctx, interp_attribute(net, x, n, d, out, report + n));
    size_t different = 0;
    for (size_t i = 0; i < size; i++) different += memcmp(&out[i], &whole[i], sizeof *out) != 0;
    CHECK(different == 0);
    CHECK(memcmp(report, report + n, (size_t)n * sizeof *report) == 0);
    free(x);
    free(report);
    return share;
}

TEST(every_architecture_of_images_gives_the_same_with_less_work)
{
    static const struct {
        const char *name;
        int side;
        double most; /* share of the cost of a whole pass */
    } rows[] = {{"cnn", 32, 0.7},      {"lenet", 32, 0.7},           {"allcnn", 32, 0.7},
                {"vgg-half", 32, 0.7}, {"resnet20", 32, 0.7},        {"resnet18", 64, 0.7},
                {"resnet50", 64, 0.8}, {"mobilenet-v2", 96, 0.8},    {"efficientnet-b0", 64, 1},
                {"vit-tiny", 64, 1},   {"multiview:resnet18", 32, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bool views = !strncmp(rows[i].name, "multiview", 9);
        const interp_shape one = {3, {3, rows[i].side, rows[i].side, 1, 1, 1, 1, 1}};
        const interp_shape two = {4, {2, 3, rows[i].side, rows[i].side, 1, 1, 1, 1}};
        interp_net *net;
        CHECK_OK(ctx, interp_net_arch(ctx, rows[i].name, views ? &two : &one, 10, 1, &net));
        interp_attribute_desc d = windows_of(rows[i].side / 8, rows[i].side / 8);
        if (views) memset(d.window, 0, sizeof d.window), memset(d.stride, 0, sizeof d.stride);
        const double share = check_same(net, 1, &d);
        printf("  %s %.3f\n", rows[i].name, share);
        CHECK(share <= rows[i].most);
        interp_net_free(net);
    }
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(every_architecture_of_images_gives_the_same_with_less_work);
    interp_close(ctx);
    return test_end(argc, argv);
}

/* Windows of images: what they do not reach is not run again, and nobody can tell from the results. */
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

static interp_ctx *ctx;

static void fill(float *x, size_t n, uint64_t stream)
{
    for (size_t i = 0; i < n; i++) x[i] = interp_random_normal(12, stream, i);
}

static interp_attribute_desc windows_of(int planes, int window, int stride)
{
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_OCCLUSION;
    d.window[0] = d.stride[0] = planes;
    for (int i = 1; i < 3; i++) d.window[i] = window, d.stride[i] = stride;
    return d;
}

/* Attributes with what is saved and without: the same to the bit. Gives the cost of a copy as a share of
   that of a whole pass without Winograd; plain: NULL or the nodes that do without it. */
static double check_same(interp_net *net, int n, const interp_attribute_desc *d, int *plain)
{
    const interp_shape s = interp_net_input_shape(net, 0);
    const size_t size = interp_shape_size(&s) * (size_t)n;
    float *x = (float *)calloc(3 * size, sizeof *x), *out = x + size, *whole = out + size;
    interp_attribution *report = (interp_attribution *)calloc(2 * (size_t)n, sizeof *report);
    itp_attr a;
    fill(x, size, 3);
    CHECK_OK(net->ctx, itp_attr_settle(&a, net, n, d, NULL, NULL));
    itp_cone_open(&a);
    const bool *needed = a.cone ? a.cone->needed : NULL;
    const double pass = itp_cone_cost(&a, net, needed, 0);
    const double all = a.cone ? itp_cone_all(&a, pass) : pass * a.points;
    const double share = all / (itp_cone_cost(&a, net, needed, INT_MAX) * a.points);
    itp_cone_close(&a);
    if (plain) *plain = a.plain_nodes;
    a.x = x;
    CHECK_OK(net->ctx, itp_attr_acquire(&a));
    CHECK_OK(net->ctx, itp_attr_go(&a, whole, report));
    itp_attr_release(&a);
    CHECK_OK(net->ctx, interp_attribute(net, x, n, d, out, report + n));
    size_t different = 0;
    for (size_t i = 0; i < size; i++) different += memcmp(&out[i], &whole[i], sizeof *out) != 0;
    CHECK(different == 0);
    for (int i = 0; i < n; i++)
        CHECK(report[i].output == report[n + i].output &&
              report[i].passes == report[n + i].passes &&
              memcmp(&report[i].residual, &report[n + i].residual, sizeof report[i].residual) == 0);
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
    } rows[] = {{"cnn", 32, 0.3},      {"lenet", 32, 0.6},        {"allcnn", 32, 0.4},
                {"vgg-half", 32, 0.8}, {"resnet20", 32, 0.8},     {"resnet18", 24, 0.9},
                {"resnet50", 24, 0.9}, {"mobilenet-v2", 48, 0.8}, {"efficientnet-b0", 32, 1},
                {"vit-tiny", 32, 1},   {"multiview:lenet", 16, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const bool views = !strncmp(rows[i].name, "multiview", 9);
        const interp_shape one = {3, {3, rows[i].side, rows[i].side, 1, 1, 1, 1, 1}};
        const interp_shape two = {4, {2, 3, rows[i].side, rows[i].side, 1, 1, 1, 1}};
        interp_net *net;
        if (slow_here() && i != 4) continue;
        REQUIRE_OK(ctx, interp_net_arch(ctx, rows[i].name, views ? &two : &one, 10, 1, &net));
        interp_attribute_desc d = windows_of(3, rows[i].side / 8, rows[i].side / 8);
        if (views) memset(d.window, 0, sizeof d.window), memset(d.stride, 0, sizeof d.stride);
        const double share = check_same(net, 1, &d, NULL);
        if (share > rows[i].most) test_fail(__FILE__, __LINE__, "%s: %g", rows[i].name, share);
        interp_net_free(net);
    }
}

/* Boxes go through the first nodes, which do without Winograd; images are whole, and go by it, behind. */
TEST(boxes_end_where_winograd_gains_more)
{
    const interp_shape s = {3, {3, 96, 96, 1, 1, 1, 1, 1}};
    const interp_attribute_desc d = windows_of(3, 12, 12);
    interp_net *net;
    int plain;
    if (slow_here()) return;
    REQUIRE_OK(ctx, interp_net_arch(ctx, "resnet18", &s, 10, 1, &net));
    CHECK(check_same(net, 1, &d, &plain) < 0.5);
    CHECK(plain > 0 && plain < net->n_nodes);
    interp_net_free(net);
}

/* ---- random nets */

static uint64_t drawn;

static int draw(int below)
{
    return (int)itp_random_below(77, 1, drawn++, (uint32_t)below);
}

static interp_tensor random_conv(interp_net *net, interp_tensor x, bool keep)
{
    const interp_shape s = *itp_tensor_shape(net, x);
    interp_conv2d_desc c;
    memset(&c, 0, sizeof c);
    const int taps = 1 + 2 * draw(3), most = itp_min(s.dim[2], s.dim[3]);
    c.kernel[0] = taps, c.kernel[1] = keep ? taps : 1 + draw(4);
    c.dilation[0] = c.dilation[1] = taps < 5 ? 1 + draw(2) : 1;
    c.stride[0] = keep ? 1 : 1 + draw(2), c.stride[1] = keep ? 1 : 1 + draw(2);
    c.channels = keep ? s.dim[1] : 4 * (1 + draw(3));
    c.groups = draw(3) == 0 ? 4 : 1;
    if (s.dim[1] % 4) c.groups = 1;
    else if (draw(4) == 0) c.groups = c.channels = s.dim[1];
    c.same = keep || most < 12 || draw(2);
    if (!c.same)
        for (int i = 0; i < 4; i++) c.pad[i] = draw(3);
    c.no_bias = draw(2);
    x = interp_conv2d(net, x, &c);
    if (draw(2)) x = interp_batch_norm(net, x, NULL);
    return draw(2) ? interp_activate(net, x, draw(2) ? INTERP_RELU : INTERP_SILU, 0) : x;
}

static interp_tensor random_pool(interp_net *net, interp_tensor x)
{
    interp_pool2d_desc p;
    memset(&p, 0, sizeof p);
    p.kind = draw(2) ? INTERP_POOL_AVERAGE : INTERP_POOL_MAX;
    p.kernel[0] = 1 + draw(3), p.kernel[1] = 2;
    p.stride[0] = p.stride[1] = 1 + draw(2);
    p.ceil_mode = draw(2);
    if (draw(2)) p.pad[0] = p.pad[1] = p.kernel[0] / 2;
    return interp_pool2d(net, x, &p);
}

/* Layers of all kinds that a box can go through, some that it cannot, dense ones or a map at the end. */
static interp_net *random_net(interp_ctx *c, int seed, bool map)
{
    drawn = 1000 * (uint64_t)seed;
    const interp_shape s = {3, {1 + 2 * draw(2), 20 + draw(12), 24 + draw(9), 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "random");
    interp_tensor x = random_conv(net, interp_input(net, NULL, &s), false);
    for (int i = 2 + draw(5); i > 0 && !net->status; i--) {
        const interp_shape at = *itp_tensor_shape(net, x);
        const interp_tensor before = x;
        const int kind = draw(8);
        if (kind == 0 && at.dim[2] > 8 && at.dim[3] > 8) x = random_pool(net, x);
        else if (kind == 1) x = interp_add(net, random_conv(net, x, true), before);
        else if (kind == 2)
            x = interp_sub(net, random_conv(net, random_conv(net, x, true), true), before);
        else if (kind == 3) x = interp_mul(net, interp_activate(net, x, INTERP_SIGMOID, 0), before);
        else if (kind == 4) {
            const interp_tensor both[3] = {random_conv(net, x, true), x, random_conv(net, x, true)};
            x = interp_concat(net, 3, both, 1);
        } else if (kind == 5 && i == 1) {
            interp_pool2d_desc all;
            memset(&all, 0, sizeof all);
            all.kind = INTERP_POOL_GLOBAL_AVERAGE;
            x = interp_mul(net, x,
                           interp_activate(net, interp_pool2d(net, x, &all), INTERP_SIGMOID, 0));
        } else x = random_conv(net, x, false);
    }
    interp_output(net, map ? x : interp_dense(net, x, 4, NULL), "y");
    return interp_net_build(net, (uint64_t)seed) ? NULL : net;
}

/* The methods whose copies differ in a window or a feature, in turn. */
static interp_attribute_desc random_desc(const interp_net *net, int seed, int32_t *mask,
                                         const float *base, int n)
{
    const interp_shape s = interp_net_input_shape(net, 0);
    interp_attribute_desc d = windows_of(draw(2) ? 1 : s.dim[0], 2 + draw(5), 1 + seed % 2);
    if (seed % 4 == 1) d.method = INTERP_FEATURE_ABLATION;
    if (seed % 4 == 2) d.method = INTERP_FEATURE_PERMUTATION, d.n_samples = 2;
    if (d.method != INTERP_OCCLUSION) { /* spots, ids with gaps */
        d.mask = mask, d.mask_shape = s, d.mask_shape.dim[0] = 1;
        for (int i = 0; i < s.dim[1]; i++)
            for (int k = 0; k < s.dim[2]; k++)
                mask[i * s.dim[2] + k] = 3 * (i / 4 * 100 + (k + i % 3) / 5);
    }
    if (seed % 3) d.baseline = base, d.n_baselines = seed % 3 == 1 ? 1 : n;
    d.target_kind = seed % 5 ? INTERP_TARGET_PREDICTED : INTERP_TARGET_SUM;
    return d;
}

TEST(random_nets_give_the_same_with_less_work)
{
    enum { n = 2, nets = 60 };
    static int32_t mask[32 * 32];
    static float base[n * 3 * 32 * 32];
    int saving = 0, made = 0;
    fill(base, sizeof base / sizeof *base, 9);
    for (int seed = 0; seed < (slow_here() ? 8 : nets); seed++) {
        interp_net *net = random_net(ctx, seed, seed % 7 == 6);
        REQUIRE(net);
        const interp_attribute_desc d = random_desc(net, seed, mask, base, n);
        const double share = check_same(net, n, &d, NULL);
        if (test_state.bad) printf("  seed %d\n", seed);
        saving += share < 1, made++;
        interp_net_free(net);
    }
    CHECK(2 * saving > made);
}

/* ---- what does not depend on how it is run */

enum { SIDE = 46 };

static interp_net *plain_net(interp_ctx *c)
{
    const interp_shape s = {3, {2, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(c, "plain");
    interp_tensor x = interp_input(net, NULL, &s);
    interp_conv2d_desc conv;
    memset(&conv, 0, sizeof conv);
    conv.channels = 8, conv.same = true;
    for (int i = 0; i < 3; i++) {
        x = interp_relu(net, interp_conv2d(net, x, &conv));
        conv.stride[0] = 2, conv.channels = 16;
    }
    interp_output(net, interp_dense(net, x, 5, NULL), "y");
    return interp_net_build(net, 5) ? NULL : net;
}

TEST(features_without_a_mask_give_the_same_with_less_work)
{
    interp_net *tiles = plain_net(ctx), *numbers = random_net(ctx, 2, false);
    interp_attribute_desc d;
    memset(&d, 0, sizeof d);
    d.method = INTERP_FEATURE_ABLATION;
    CHECK(check_same(tiles, 1, &d, NULL) < 0.5);
    if (!slow_here()) CHECK(check_same(numbers, 1, &d, NULL) < 0.9);
    d.method = INTERP_FEATURE_PERMUTATION;
    CHECK(check_same(tiles, 3, &d, NULL) < 0.5);
    interp_net_free(tiles);
    interp_net_free(numbers);
}

/* What the run takes stays within what was told, and within every limit; memory that does not suffice for
   the boxes leaves whole passes, with the same results. */
TEST(results_do_not_depend_on_batch_threads_or_memory)
{
    enum { n = 2, size = n * 2 * SIDE * SIDE, runs = 16 };
    static float x[size], first[size], out[size];
    size_t whole = 0;
    int saving = 0;
    fill(x, size, 5);
    for (int run = 0; run < runs; run++) {
        interp_desc open;
        memset(&open, 0, sizeof open);
        open.threads = 1 + run % 3;
        interp_ctx *c = interp_open(&open);
        interp_net *net = plain_net(c);
        interp_attribute_desc d = windows_of(2, 5, 3);
        const interp_memory before = interp_memory_read(c);
        size_t bytes;
        d.batch = run < 7 ? run : 0;
        if (run == 7) { /* the least that whole passes take */
            itp_attr a;
            interp_workspace_desc w;
            d.batch = 1;
            CHECK_OK(c, itp_attr_settle(&a, net, n, &d, NULL, NULL));
            CHECK_OK(c, itp_attr_fit(&a, &w, &whole));
            d.batch = 0;
        }
        if (run >= 7)
            interp_memory_set_limit(c, before.used + whole + (size_t)(run - 7) * whole / 8);
        CHECK_OK(c, interp_attribute_bytes(net, n, &d, &bytes));
        itp_attr a;
        CHECK_OK(c, itp_attr_settle(&a, net, n, &d, NULL, NULL));
        itp_cone_open(&a);
        saving += a.cone != NULL;
        itp_cone_close(&a);
        CHECK_OK(c, interp_attribute(net, x, n, &d, run ? out : first, NULL));
        if (run) CHECK(memcmp(first, out, sizeof out) == 0);
        const interp_memory after = interp_memory_read(c);
        CHECK(after.used == before.used);
        CHECK(after.peak <= before.used + bytes || after.peak == before.peak);
        interp_close(c);
    }
    CHECK(saving >= 7);
}

typedef struct cancel {
    int calls, at;
    double last;
    bool back;
} cancel;

static int count_ticks(const interp_progress *p, void *user)
{
    cancel *c = (cancel *)user;
    c->back |= p->done < c->last;
    c->last = p->done;
    return c->calls++ == c->at;
}

TEST(windows_can_be_cancelled_and_every_allocation_may_fail)
{
    enum { size = 2 * SIDE * SIDE };
    static float x[size], out[size];
    interp_desc open;
    cancel c = {0, -1, 0, false};
    memset(&open, 0, sizeof open);
    open.threads = 1;
    open.allocator.alloc = heap_alloc, open.allocator.free = heap_free;
    fill(x, size, 8);
    const interp_attribute_desc d = windows_of(2, 5, 5);
    for (int stop = -1; stop < 6; stop++) {
        open.progress = count_ticks, open.user = &c;
        interp_ctx *ctx2 = interp_open(&open);
        interp_net *net = plain_net(ctx2);
        const size_t held = heap.held;
        c.calls = 0, c.at = stop, c.last = 0;
        CHECK(interp_attribute(net, x, 1, &d, out, NULL) ==
              (stop < 0 || stop >= c.calls ? INTERP_OK : INTERP_CANCELLED));
        CHECK(heap.held == held && !c.back);
        interp_close(ctx2);
    }
    open.progress = NULL;
    bool done = false;
    for (int i = 0; i < 400 && !done; i++) {
        heap.fail_at = 0;
        interp_ctx *ctx2 = interp_open(&open);
        interp_net *net = plain_net(ctx2);
        const size_t held = heap.held;
        heap.calls = 0, heap.fail_at = i + 1, heap.from_then_on = false;
        const interp_status status = interp_attribute(net, x, 1, &d, out, NULL);
        CHECK(status == INTERP_OK || status == INTERP_NO_MEMORY);
        CHECK(heap.held == held);
        done = heap.calls <= i;
        interp_close(ctx2);
        CHECK(heap.held == 0);
    }
    CHECK(done);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    RUN(boxes_end_where_winograd_gains_more);
    RUN(every_architecture_of_images_gives_the_same_with_less_work);
    RUN(random_nets_give_the_same_with_less_work);
    RUN(features_without_a_mask_give_the_same_with_less_work);
    RUN(results_do_not_depend_on_batch_threads_or_memory);
    RUN(windows_can_be_cancelled_and_every_allocation_may_fail);
    interp_close(ctx);
    return test_end(argc, argv);
}

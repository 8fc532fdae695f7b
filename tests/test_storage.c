/* Models in other forms: weights in fewer bytes, numbers at multiples of 64 bytes, NPZ. */
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "test.h"

#include <unistd.h>

static interp_ctx *ctx;

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

static interp_net *arch(const char *name, uint64_t seed)
{
    const interp_shape s = itp_shape_of(3, 1, 8, 8, 1);
    interp_net *net = NULL;
    if (interp_net_arch(ctx, name, &s, 5, seed, &net)) return NULL;
    for (int i = 0; i < net->n_values; i++) { /* batch norms that do something */
        const itp_value *v = &net->values[i];
        for (size_t k = 0; v->kind == ITP_BUFFER && k < itp_count(&v->shape); k++)
            v->data[k] += 0.2f * interp_random_uniform(seed, (uint64_t)i, k);
    }
    return net;
}

static float single_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Every float16 stays, what lies half way goes to the even one, what lies beside it to the nearer. */
TEST(halves_round_to_the_nearest_and_then_to_even)
{
    for (unsigned h = 0; h < 0x7C00; h++) {
        const float x = itp_f32_of_half(h);
        CHECK(itp_half_of(x) == h && itp_half_of(-x) == (h | 0x8000u));
        if (h == 0x7BFF) break; /* the largest */
        const float next = itp_f32_of_half(h + 1), middle = (x + next) / 2;
        CHECK(itp_half_of(middle) == (h & 1 ? h + 1 : h));
        CHECK(itp_half_of(single_of(bits_of(middle) - 1)) == h);
        CHECK(itp_half_of(single_of(bits_of(middle) + 1)) == h + 1);
    }
    CHECK(itp_half_of(single_of(1)) == 0 && itp_half_of(1e-30f) == 0);
}

/* Largest difference of two networks' outputs by the largest output. */
static double difference(interp_net *a, interp_net *b)
{
    enum { n = 6, k = 5 };
    static float x[n * 64], y[n * k], z[n * k];
    double off = 0, most = 0;
    for (int i = 0; i < n * 64; i++) x[i] = interp_random_normal(9, 0, (uint64_t)i);
    if (interp_predict(a, x, n, y) || interp_predict(b, x, n, z)) return 1e9;
    for (int i = 0; i < n * k; i++) {
        off = fmax(off, fabs((double)y[i] - (double)z[i]));
        most = fmax(most, fabs((double)y[i]));
    }
    return off / most;
}

TEST(weights_in_fewer_bytes_come_back_rounded)
{
    static const char *const names[] = {"cnn", "mlp", "resnet20", "vit-tiny", "efficientnet-b0"};
    /* Half a step: of 11 bits, of 127ths; a little more for the rounding of the scale. */
    static const double most[] = {0, 1.0 / 2048, 0.5 / 127 * 1.0001};
    const double same = 1e-5; /* sums in another order where chains become one op */
    bool read = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int k = INTERP_STORE_FLOAT32; k <= INTERP_STORE_INT8; k++) {
            interp_onnx_save_desc d;
            interp_storage_report r;
            interp_net *net = arch(names[i], 3), *rounded = arch(names[i], 3), *back = NULL;
            void *bytes = NULL, *again = NULL, *plain = NULL;
            size_t n = 0, n_again = 0, n_plain = 0;
            REQUIRE(net && rounded);
            memset(&d, 0, sizeof d);
            d.storage = (interp_storage)k;
            REQUIRE_OK(ctx, interp_weights_round(rounded, d.storage, &r));
            REQUIRE_OK(ctx, interp_onnx_serialize_as(net, &d, &bytes, &n));
            REQUIRE_OK(ctx, interp_onnx_serialize_as(rounded, &d, &again, &n_again));
            REQUIRE_OK(ctx, interp_onnx_serialize(net, &plain, &n_plain));
            CHECK(n == n_again && r.largest <= most[k] && r.rms <= 2.5 * most[k]);
            CHECK(k ? r.n_arrays > 0 && r.largest > 0 : r.n_arrays == 0 && n == n_plain);
            if (k == INTERP_STORE_FLOAT16) CHECK(!memcmp(bytes, again, n));
            const size_t saved = r.n_weights * (size_t)(k == 1 ? 2 : 3);
            if (k) CHECK(n + saved > n_plain && n < n_plain - saved / 2);
            const interp_status status = interp_onnx_parse(ctx, bytes, n, NULL, &back);
            if (!status) CHECK_NEAR(difference(rounded, back), 0, same);
            else read = read && status != INTERP_UNSUPPORTED;
            interp_free(ctx, bytes);
            interp_free(ctx, again);
            interp_free(ctx, plain);
            interp_net_free(net);
            interp_net_free(rounded);
            interp_net_free(back);
        }
    if (!read) SKIP("the reader does not know Cast and DequantizeLinear");
}

TEST(weights_that_would_be_spoiled_stay_as_they_are)
{
    interp_net *net = arch("cnn", 1);
    interp_storage_report r;
    REQUIRE(net);
    interp_net_parameters(net)[3] = 65504; /* conv1.weight */
    REQUIRE_OK(ctx, interp_weights_round(net, INTERP_STORE_FLOAT16, &r));
    CHECK(r.n_arrays == 5 && interp_net_parameters(net)[3] == 65504);
    interp_net_parameters(net)[3] = 65505;
    REQUIRE_OK(ctx, interp_weights_round(net, INTERP_STORE_FLOAT16, &r));
    CHECK(r.n_arrays == 4 && interp_net_parameters(net)[3] == 65505);
    interp_net_parameters(net)[3] = (float)NAN;
    REQUIRE_OK(ctx, interp_weights_round(net, INTERP_STORE_INT8, &r));
    CHECK(r.n_arrays == 4 && isnan(interp_net_parameters(net)[3]));
    interp_net_free(net);
    /* Channels of zeroes stay zero. */
    net = arch("linear", 1);
    REQUIRE(net);
    for (int i = 0; i < 64; i++) interp_net_parameters(net)[5 * i + 2] = 0;
    REQUIRE_OK(ctx, interp_weights_round(net, INTERP_STORE_INT8, &r));
    for (int i = 0; i < 64; i++) CHECK(interp_net_parameters(net)[5 * i + 2] == 0);
    CHECK(r.n_arrays == 1 && r.n_weights == 320);
    CHECK(interp_weights_round(net, (interp_storage)3, &r) == INTERP_BAD_ARGUMENT);
    interp_net_free(net);
}

/* Whether `n` bytes occur at a multiple of 64 in `all`. */
static bool lies_aligned(const char *all, size_t size, const void *data, size_t n)
{
    for (size_t at = 0; at + n <= size; at += 64)
        if (!memcmp(all + at, data, n)) return true;
    return false;
}

TEST(aligned_models_begin_numbers_at_64_bytes)
{
    static const char *const names[] = {"linear", "cnn", "resnet20", "vit-tiny"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        interp_onnx_save_desc d;
        interp_net *net = arch(names[i], 2), *back = NULL;
        void *bytes = NULL, *plain = NULL;
        size_t n = 0, n_plain = 0;
        REQUIRE(net);
        memset(&d, 0, sizeof d);
        d.align = true;
        REQUIRE_OK(ctx, interp_onnx_serialize_as(net, &d, &bytes, &n));
        REQUIRE_OK(ctx, interp_onnx_serialize(net, &plain, &n_plain));
        int arrays = 0;
        for (int v = 0; v < net->n_values; v++) {
            const itp_value *value = &net->values[v];
            if (!itp_is_initializer(value)) continue;
            arrays++;
            if (!lies_aligned((const char *)bytes, n, value->data, itp_count(&value->shape) * 4))
                test_fail(__FILE__, __LINE__, "%s: %s is not aligned", names[i], value->name);
        }
        CHECK(n >= n_plain && n <= n_plain + 68 * (size_t)arrays + 8);
        REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, NULL, &back));
        const interp_net_info a = interp_net_describe(net), b = interp_net_describe(back);
        CHECK(a.n_parameters == b.n_parameters && a.n_nodes == b.n_nodes);
        CHECK(!memcmp(interp_net_parameters(net), interp_net_parameters(back),
                      a.n_parameters * sizeof(float)));
        interp_free(ctx, bytes);
        interp_free(ctx, plain);
        interp_net_free(net);
        interp_net_free(back);
    }
}

TEST(models_in_place_take_no_memory_for_weights)
{
    static const char *const names[] = {"mlp", "cnn", "resnet20", "vit-tiny"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        interp_onnx_save_desc d;
        interp_onnx_load_desc how;
        interp_net *net = arch(names[i], 2), *back = NULL;
        void *bytes = NULL;
        size_t n = 0;
        REQUIRE(net);
        memset(&d, 0, sizeof d);
        memset(&how, 0, sizeof how);
        how.in_place = true;
        d.align = true;
        REQUIRE_OK(ctx, interp_onnx_serialize_as(net, &d, &bytes, &n));
        char *copy = (char *)interp_alloc(ctx, n);
        memcpy(copy, bytes, n);
        const size_t before = used();
        REQUIRE_OK(ctx, interp_onnx_parse(ctx, bytes, n, &how, &back));
        const size_t graph = sizeof *back + (size_t)back->nodes_capacity * sizeof(itp_node) +
                             (size_t)back->values_capacity * sizeof(itp_value);
        const size_t names_at_most = 256 * (size_t)(back->n_values + back->n_nodes);
        CHECK(used() - before < graph + names_at_most);
        for (int v = 0; v < back->n_values; v++) {
            const itp_value *value = &back->values[v];
            const char *at = (const char *)value->data;
            if (itp_is_initializer(value))
                CHECK(value->borrowed && at > (char *)bytes && at < (char *)bytes + n);
        }
        CHECK(difference(net, back) <= 1e-5);
        CHECK(!interp_net_parameters(back));
        interp_trainer *trainer = NULL;
        interp_workspace *w = NULL;
        interp_workspace_desc train;
        memset(&train, 0, sizeof train);
        train.mode = INTERP_TRAIN;
        CHECK(interp_trainer_new(back, NULL, 0, &trainer) == INTERP_BAD_ARGUMENT);
        CHECK(interp_workspace_new(ctx, back, &train, &w) == INTERP_BAD_ARGUMENT);
        CHECK(interp_weights_round(back, INTERP_STORE_INT8, NULL) == INTERP_BAD_ARGUMENT);
        CHECK(interp_weights_load(back, "x.npz") == INTERP_BAD_ARGUMENT);
        CHECK(strstr(interp_error(ctx), "is read-only") != NULL);
        /* Gradients go to arrays of their own. */
        train.mode = INTERP_EVAL;
        train.param_grads = train.input_grads = true;
        const float seed[5] = {1, 0, 0, 0, 0};
        static float x[64];
        const float *in = x;
        REQUIRE_OK(ctx, interp_workspace_new(ctx, back, &train, &w));
        CHECK_OK(ctx, interp_forward(w, &in));
        CHECK_OK(ctx, interp_backward(w, seed));
        interp_workspace_free(w);
        CHECK(!memcmp(copy, bytes, n));
        interp_net_free(back);
        CHECK(used() == before);
        interp_free(ctx, copy);
        interp_free(ctx, bytes);
        interp_net_free(net);
    }
}

TEST(writing_survives_every_allocation_failing)
{
    interp_net *net = arch("mlp", 1);
    REQUIRE(net);
    const size_t before = used();
    for (int k = 0; k < 6; k++) {
        bool done = false;
        for (size_t limit = before; !done; limit += slow_here() ? 1792 : 256) {
            interp_onnx_save_desc d;
            void *bytes = NULL;
            size_t n = 0;
            memset(&d, 0, sizeof d);
            d.storage = (interp_storage)(k % 3);
            d.align = k > 2;
            interp_memory_set_limit(ctx, limit);
            const interp_status status = interp_onnx_serialize_as(net, &d, &bytes, &n);
            done = status == INTERP_OK;
            CHECK((done || status == INTERP_NO_MEMORY) && done == (bytes != NULL));
            interp_free(ctx, bytes);
            CHECK(used() == before);
        }
    }
    interp_memory_set_limit(ctx, 0);
    interp_onnx_save_desc wrong;
    void *bytes = NULL;
    size_t n = 0;
    memset(&wrong, 0, sizeof wrong);
    wrong.storage = (interp_storage)7;
    CHECK(interp_onnx_serialize_as(net, &wrong, &bytes, &n) == INTERP_BAD_ARGUMENT && !bytes);
    interp_net_free(net);
}

TEST(weights_survive_npz)
{
    char path[64];
    snprintf(path, sizeof path, "/tmp/interp_storage_%ld.npz", (long)getpid());
    interp_net *a = arch("cnn", 1), *b = arch("cnn", 2), *other = arch("mlp", 1);
    REQUIRE(a && b && other);
    const size_t before = used();
    CHECK(difference(a, b) > 0.01);
    REQUIRE_OK(ctx, interp_weights_save(a, path));
    CHECK_OK(ctx, interp_weights_load(b, path));
    CHECK(difference(a, b) == 0);
    CHECK(interp_weights_load(other, path) == INTERP_BAD_SHAPE);
    interp_array one;
    REQUIRE_OK(ctx, interp_npz_read(ctx, path, "conv1.weight", &one));
    CHECK(one.shape.rank == 4 && one.dtype == INTERP_FLOAT32);
    interp_array_free(ctx, &one);
    CHECK(used() == before);
    /* A bit flipped anywhere is found, and nothing changes. */
    char *bytes;
    size_t n;
    REQUIRE_OK(ctx, itp_file_read(ctx, path, &bytes, &n));
    for (size_t at = 40; at < n; at += n / 15) {
        interp_net *c = arch("cnn", 3), *d = arch("cnn", 3);
        REQUIRE(c && d);
        bytes[at] = (char)(bytes[at] ^ 16);
        REQUIRE_OK(ctx, itp_file_write(ctx, path, bytes, n));
        if (interp_weights_load(c, path)) CHECK(difference(c, d) == 0);
        bytes[at] = (char)(bytes[at] ^ 16);
        interp_net_free(c);
        interp_net_free(d);
    }
    interp_free(ctx, bytes);
    CHECK(used() == before);
    bool done = false;
    REQUIRE_OK(ctx, interp_weights_save(a, path));
    for (size_t limit = before; !done; limit += 16384) {
        interp_memory_set_limit(ctx, limit);
        const interp_status status = interp_weights_load(b, path);
        done = status == INTERP_OK;
        CHECK(done || status == INTERP_NO_MEMORY);
        CHECK(used() == before);
    }
    interp_memory_set_limit(ctx, 0);
    remove(path);
    interp_net_free(a);
    interp_net_free(b);
    interp_net_free(other);
}

int main(int argc, char **argv)
{
    ctx = interp_open(NULL);
    if (!ctx) return 1;
    RUN(halves_round_to_the_nearest_and_then_to_even);
    RUN(weights_in_fewer_bytes_come_back_rounded);
    RUN(weights_that_would_be_spoiled_stay_as_they_are);
    RUN(aligned_models_begin_numbers_at_64_bytes);
    RUN(models_in_place_take_no_memory_for_weights);
    RUN(writing_survives_every_allocation_failing);
    RUN(weights_survive_npz);
    interp_close(ctx);
    return test_end(argc, argv);
}

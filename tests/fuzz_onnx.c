/* Fuzzes the reader of ONNX models, then runs, differentiates and writes again what it took.

     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I. \
         tests/fuzz_onnx.c -o build/fuzz_onnx -lm -lpthread
     mkdir -p build/corpus && build/fuzz_onnx -max_len=4096 -max_total_time=300 build/corpus

   An input that begins with 8, as ONNX files do, is a model. Any other is a list of changes to one
   of the models below, so that no corpus is needed to get past the outermost messages. A run that
   ends without a report is good: no crash, no leak, no byte left allocated. With FUZZ_LOAD_ONLY in the
   environment models are read and no more. */
#define INTERP_NO_ATTR
#define INTERP_NO_LCA
#define INTERP_NO_EMBED
#define INTERP_NO_VIEW
#define INTERP_NO_MODE
#define INTERP_NO_DYNAMICS
#define INTERP_IMPLEMENTATION
#include "interp.h"

#define MEMORY_LIMIT ((size_t)64 << 20)
#define MOST_WEIGHTS 1000000
#define MOST_MACS    1e7
#define MOST_NUMBERS (1 << 20) /* of one value */
#define CHANGE_BYTES 4
#define MOST_MODEL   16384

static interp_tensor image_net(interp_net *net)
{
    const interp_shape sample = itp_shape_of(3, 2, 6, 6, 1);
    interp_conv2d_desc c;
    interp_pool2d_desc p;
    memset(&c, 0, sizeof c);
    memset(&p, 0, sizeof p);
    c.channels = 4, c.groups = 2, c.pad[0] = 1;
    p.kind = INTERP_POOL_AVERAGE, p.ceil_mode = true, p.count_include_pad = true;
    interp_tensor x = interp_conv2d(net, interp_input(net, NULL, &sample), &c);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), INTERP_SILU, 0);
    x = interp_activate(net, interp_pool2d(net, x, &p), INTERP_RELU6, 0);
    p.kind = INTERP_POOL_MAX, p.same = true;
    x = interp_activate(net, interp_pool2d(net, x, &p), INTERP_GELU, 0);
    p.kind = INTERP_POOL_GLOBAL_AVERAGE;
    const interp_tensor gate = interp_pool2d(net, x, &p);
    x = interp_mul(net, x, interp_activate(net, gate, INTERP_HARD_SIGMOID, 0));
    x = interp_dropout(net, interp_dense(net, x, 3, NULL), 0.5f);
    return interp_log_softmax(net, x, -1);
}

static interp_tensor sequence_net(interp_net *net)
{
    const interp_shape sample = itp_shape_of(2, 3, 4, 1, 1), out = itp_shape_of(2, 0, -1, 1, 1);
    const float half = 0.5f;
    const interp_shape scalar = itp_shape_of(0, 1, 1, 1, 1), row = itp_shape_of(1, 4, 1, 1, 1);
    interp_tensor x = interp_layer_norm(net, interp_input(net, NULL, &sample), NULL);
    x = interp_add(net, x, interp_parameter(net, NULL, &row, INTERP_HE_NORMAL, 4, 4));
    x = interp_add(net, x, interp_self_attention(net, x, 2));
    x = interp_activate(net, x, INTERP_GELU_TANH, 0);
    const interp_tensor two[2] = {x, interp_div(net, x, interp_constant(net, &scalar, &half))};
    x = interp_slice(net, interp_concat(net, 2, two, 1), 1, 1, 4, false);
    x = interp_slice(net, interp_activate(net, x, INTERP_ELU, 0), 1, 2, 1, true);
    return interp_dense(net, interp_reshape(net, x, &out), 2, NULL);
}

/* Models as others write them, of ops that ours never have. */
typedef struct foreign {
    itp_buf graph, node, part, inner, model;
} foreign;

static void foreign_node(foreign *m, const char *op, const char *in, const char *in2,
                         const char *out)
{
    itp_pb_put_text(&m->node, 1, in);
    if (in2) itp_pb_put_text(&m->node, 1, in2);
    itp_pb_put_text(&m->node, 2, out);
    itp_pb_put_text(&m->node, 4, op);
    itp_pb_put_message(&m->graph, 1, &m->node);
}

/* An attribute of the next node: two whole numbers, or one when b is negative. */
static void foreign_attr(foreign *m, const char *name, int a, int b)
{
    itp_pb_put_text(&m->part, 1, name);
    itp_pb_put_int(&m->part, b < 0 ? 3 : 8, a);
    if (b >= 0) itp_pb_put_int(&m->part, 8, b);
    itp_pb_put_int(&m->part, 20, b < 0 ? ITP_ATTR_INT : ITP_ATTR_INTS);
    itp_pb_put_message(&m->node, 5, &m->part);
}

/* An initializer of rank 0 or 1. */
static void foreign_numbers(foreign *m, const char *name, bool whole, int rank, int n, int first)
{
    if (rank) itp_pb_put_int(&m->part, 1, n);
    itp_pb_put_int(&m->part, 2, whole ? ITP_ONNX_INT64 : ITP_ONNX_FLOAT);
    for (int i = 0; i < n; i++) {
        if (whole) itp_pb_put_int(&m->part, 7, first + i);
        else itp_pb_put_float(&m->part, 4, first + i);
    }
    itp_pb_put_text(&m->part, 8, name);
    itp_pb_put_message(&m->graph, 5, &m->part);
}

static void foreign_port(foreign *m, uint32_t field, const char *name)
{
    for (int i = 2; i < 6 && field == 11; i++) { /* [2,3,4,5] */
        itp_pb_put_int(&m->part, 1, i);
        itp_pb_put_message(&m->inner, 1, &m->part);
    }
    itp_pb_put_int(&m->part, 1, ITP_ONNX_FLOAT);
    itp_pb_put_message(&m->part, 2, &m->inner);
    itp_pb_put_message(&m->inner, 1, &m->part);
    itp_pb_put_text(&m->part, 1, name);
    itp_pb_put_message(&m->part, 2, &m->inner);
    itp_pb_put_message(&m->graph, field, &m->part);
}

static void foreign_model(foreign *m)
{
    foreign_port(m, 11, "x");
    foreign_port(m, 12, "y");
    foreign_numbers(m, "two", false, 0, 1, 2), foreign_numbers(m, "five", false, 1, 5, 1);
    foreign_numbers(m, "shape", true, 1, 1, 5), foreign_numbers(m, "index", true, 1, 2, 1);
    foreign_node(m, "Pow", "x", "two", "a"), foreign_node(m, "Gelu", "a", NULL, "b");
    foreign_node(m, "ConstantOfShape", "shape", NULL, "zeros");
    foreign_node(m, "Sum", "b", "zeros", "c");
    foreign_attr(m, "axes", 0, 2);
    foreign_node(m, "Unsqueeze", "five", NULL, "row"); /* [1,5,1] */
    foreign_node(m, "Flatten", "row", NULL, "flat");   /* [1,5] */
    foreign_node(m, "Identity", "flat", NULL, "same"), foreign_node(m, "Mul", "c", "same", "d");
    foreign_attr(m, "axis", 3, -1);
    foreign_node(m, "Gather", "d", "index", "e"); /* [2,3,4,2] */
    foreign_attr(m, "axis", 2, -1);
    foreign_node(m, "Softmax", "e", NULL, "f");
    foreign_attr(m, "axes", 1, 3), foreign_attr(m, "keepdims", 1, -1);
    foreign_node(m, "ReduceMean", "f", NULL, "g"); /* [2,1,4,1] */
    foreign_attr(m, "axes", 1, 3);
    foreign_node(m, "Squeeze", "g", NULL, "y");
    itp_pb_put_int(&m->model, 1, 7);
    itp_pb_put_message(&m->model, 7, &m->graph);
    itp_pb_put_int(&m->part, 2, 12);
    itp_pb_put_message(&m->model, 8, &m->part);
}

#define MODELS 3

static struct {
    unsigned char bytes[MOST_MODEL];
    size_t n;
} models[MODELS];

static void keep_model(int i, const void *bytes, size_t n)
{
    if (n > MOST_MODEL) abort();
    memcpy(models[i].bytes, bytes, n);
    models[i].n = n;
}

static void make_models(interp_ctx *ctx)
{
    for (int i = 0; i < 2; i++) {
        interp_net *net = interp_net_new(ctx, "fuzz");
        void *bytes = NULL;
        size_t n;
        interp_output(net, i ? sequence_net(net) : image_net(net), "y");
        if (interp_net_build(net, 1) || interp_onnx_serialize(net, &bytes, &n)) abort();
        keep_model(i, bytes, n);
        interp_free(ctx, bytes);
        interp_net_free(net);
    }
    foreign m;
    interp_net *net = NULL;
    itp_buf *all[] = {&m.graph, &m.node, &m.part, &m.inner, &m.model};
    for (int i = 0; i < 5; i++) *all[i] = itp_buf_new(ctx);
    foreign_model(&m);
    if (interp_onnx_parse(ctx, m.model.data, m.model.n, NULL, &net)) {
        fprintf(stderr, "%s\n", interp_error(ctx));
        abort();
    }
    interp_net_free(net);
    keep_model(2, m.model.data, m.model.n);
    for (int i = 0; i < 5; i++) itp_buf_free(all[i]);
}

/* Changes of four bytes: what and where (two bytes), how far, value. */
static size_t change(unsigned char *model, size_t n, const uint8_t *data, size_t size)
{
    for (; size >= CHANGE_BYTES; data += CHANGE_BYTES, size -= CHANGE_BYTES) {
        const size_t place = (size_t)data[0] << 8 | data[1];
        const size_t at = n ? (place & 0x3FFF) % n : 0, far = itp_min_size(data[2], n - at);
        switch (place >> 14) {
        case 0:
        case 1: /* another byte */
            if (n) model[at] = data[3];
            break;
        case 2: /* some bytes less */
            memmove(model + at, model + at + far, n - at - far);
            n -= far;
            break;
        default: /* some bytes twice */
            if (n + far > MOST_MODEL) break;
            memmove(model + at + far, model + at, n - at);
            n += far;
            break;
        }
    }
    return n;
}

/* Forward and backward, if that is little work. */
static void run(interp_ctx *ctx, interp_net *net)
{
    const interp_net_info info = interp_net_describe(net);
    if (info.n_parameters > MOST_WEIGHTS || info.macs > MOST_MACS) return;
    for (int i = 0; i < net->n_values; i++)
        if (interp_shape_size(&net->values[i].shape) > MOST_NUMBERS) return;
    for (int grads = 0; grads < 2; grads++) {
        interp_workspace_desc d;
        interp_workspace *w = NULL;
        const float *inputs[ITP_MAX_INPUTS];
        size_t most = 1;
        memset(&d, 0, sizeof d);
        d.batch = net->fixed_batch ? net->fixed_batch : 2;
        d.input_grads = d.param_grads = grads == 1;
        if (grads) d.mode = INTERP_BATCH_STATS;
        if (interp_workspace_new(ctx, net, &d, &w)) continue;
        for (int i = 0; i < net->n_inputs; i++) {
            const interp_shape s = interp_net_input_shape(net, i);
            most = itp_max_size(most, interp_shape_size(&s) * (size_t)d.batch);
        }
        most = itp_max_size(most, interp_workspace_target_size(w) * (size_t)d.batch);
        float *x = (float *)itp_calloc(ctx, most, sizeof *x);
        for (int i = 0; i < net->n_inputs; i++) inputs[i] = x;
        if (x && interp_forward(w, inputs) == INTERP_OK && grads) (void)interp_backward(w, x);
        interp_free(ctx, x);
        interp_workspace_free(w);
    }
}

/* What was read can be written, unless opset 17 or UTF-8 stand in the way, and read again. */
static void write_again(interp_ctx *ctx, const interp_net *net)
{
    void *bytes = NULL;
    size_t n;
    interp_net *back = NULL;
    const interp_status status = interp_onnx_serialize(net, &bytes, &n);
    if (status == INTERP_BAD_ARGUMENT || status == INTERP_UNSUPPORTED || status == INTERP_NO_MEMORY)
        return;
    if (status) abort();
    const interp_status again = interp_onnx_parse(ctx, bytes, n, NULL, &back);
    if (again && again != INTERP_NO_MEMORY) {
        fprintf(stderr, "written but not read: %s\n", interp_error(ctx));
        abort();
    }
    interp_net_free(back);
    interp_free(ctx, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char model[MOST_MODEL];
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx || size == 0) {
        interp_close(ctx);
        return 0;
    }
    if (!models[0].n) make_models(ctx);
    interp_memory_set_limit(ctx, MEMORY_LIMIT);
    const size_t before = interp_memory_read(ctx).used;
    interp_net *net = NULL;
    if (data[0] != 8) {
        const int which = data[0] % MODELS;
        memcpy(model, models[which].bytes, models[which].n);
        size = change(model, models[which].n, data + 1, size - 1);
        data = model;
    }
    if (interp_onnx_parse(ctx, data, size, NULL, &net) == INTERP_OK) {
        if (!getenv("FUZZ_LOAD_ONLY")) {
            run(ctx, net);
            write_again(ctx, net);
        }
        interp_net_free(net);
    }
    if (interp_memory_read(ctx).used != before) abort();
    interp_close(ctx);
    return 0;
}

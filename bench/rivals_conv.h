/* Convolutions: ours and ONNX Runtime's; those of oneDNN are in rivals_onednn.h. Needs rivals.h. */

typedef enum direction { FORWARD, DATA, WEIGHTS, DIRECTIONS } direction;

static const char *const direction_names[DIRECTIONS] = {"fwd", "bwdD", "bwdW"};

/* One square layer. */
typedef struct layer {
    const char *name;
    int batch, in, out, size, kernel, stride, pad, groups;
} layer;

/* A layer with numbers in it: x [N,C,H,W], w [O,C/groups,k,k], dy [N,O,OH,OW]. */
typedef struct conv_data {
    interp_ctx *ctx;
    layer l;
    int out_size;
    size_t x_count, w_count, y_count;
    const float *x, *w, *dy;
} conv_data;

static conv_data conv_data_new(interp_ctx *ctx, const layer *l)
{
    conv_data d;
    const size_t kernel = (size_t)(l->kernel * l->kernel);
    memset(&d, 0, sizeof d);
    d.ctx = ctx;
    d.l = *l;
    d.out_size = (l->size + 2 * l->pad - l->kernel) / l->stride + 1;
    d.x_count = (size_t)l->batch * (size_t)l->in * (size_t)l->size * (size_t)l->size;
    d.w_count = (size_t)l->out * (size_t)(l->in / l->groups) * kernel;
    d.y_count = (size_t)l->batch * (size_t)l->out * (size_t)d.out_size * (size_t)d.out_size;
    d.x = bench_random(ctx, d.x_count, 1);
    d.w = bench_random(ctx, d.w_count, 2);
    d.dy = bench_random(ctx, d.y_count, 3);
    return d;
}

static void conv_data_free(conv_data *d)
{
    interp_free(d->ctx, (void *)d->x);
    interp_free(d->ctx, (void *)d->w);
    interp_free(d->ctx, (void *)d->dy);
}

/* Of a direct convolution, the same in all three directions. */
static double conv_flops(const conv_data *d)
{
    return 2.0 * (double)d->y_count * (d->l.in / d->l.groups) * d->l.kernel * d->l.kernel;
}

static size_t conv_result_count(const conv_data *d, direction way)
{
    return way == FORWARD ? d->y_count : way == DATA ? d->x_count : d->w_count;
}

/* ---- ours */

typedef struct conv_interp {
    const conv_data *d;
    direction way;
    itp_conv c;
    itp_scratch scratch;
    float *shared, *out;
    float *packed; /* weights as the kernels read them, laid out beforehand as the rivals' are */
} conv_interp;

/* Every call to the library's convolutions is here: out NULL asks for the scratch memory. */
static itp_conv_need conv_call_interp(const conv_interp *s, float *out)
{
    interp_ctx *ctx = s->d->ctx;
    const float *x = s->d->x, *w = s->d->w, *dy = s->d->dy;
    const itp_conv_need none = {0, 0};
    if (!out)
        return itp_conv_scratch(ctx, &s->c, s->way == FORWARD, s->way == DATA, s->way == WEIGHTS);
    if (s->way == FORWARD)
        itp_conv_forward(ctx, &s->c, x, w, s->packed, NULL, NULL, out, s->scratch, s->shared);
    if (s->way == DATA) itp_conv_data(ctx, &s->c, dy, w, s->packed, 0, out, s->scratch, s->shared);
    if (s->way == WEIGHTS) itp_conv_weights(ctx, &s->c, x, dy, 0, out, s->scratch, s->shared);
    return none;
}

static void conv_run_interp(void *state)
{
    const conv_interp *s = (const conv_interp *)state;
    conv_call_interp(s, s->out);
}

static void conv_result_interp(void *state, float *out)
{
    const conv_interp *s = (const conv_interp *)state;
    memcpy(out, s->out, conv_result_count(s->d, s->way) * sizeof *out);
}

static void conv_release_interp(void *state)
{
    conv_interp *s = (conv_interp *)state;
    interp_ctx *ctx = s->d->ctx;
    interp_free(ctx, s->scratch.base);
    interp_free(ctx, s->shared);
    interp_free(ctx, s->packed);
    interp_free(ctx, s->out);
    interp_free(ctx, s);
}

static side conv_side_interp(const conv_data *d, direction way, bool winograd)
{
    interp_ctx *ctx = d->ctx;
    conv_interp *s = (conv_interp *)bench_need(ctx, interp_alloc(ctx, sizeof *s));
    const layer *l = &d->l;
    const itp_plane plane = {l->size,   l->size,   d->out_size, d->out_size, l->kernel, l->kernel,
                             l->stride, l->stride, l->pad,      l->pad,      1,         1};
    memset(s, 0, sizeof *s);
    s->d = d, s->way = way;
    s->c.batch = l->batch, s->c.in_channels = l->in, s->c.out_channels = l->out;
    s->c.groups = l->groups, s->c.plane = plane, s->c.direct = !winograd;
    const itp_conv_need need = conv_call_interp(s, NULL);
    const size_t slots = (size_t)interp_threads(ctx);
    s->scratch.slot_floats = need.slot;
    s->scratch.base =
        (float *)bench_need(ctx, interp_alloc(ctx, need.slot * slots * sizeof(float)));
    s->shared = (float *)bench_need(ctx, interp_alloc(ctx, need.shared * sizeof(float)));
    s->out = (float *)bench_need(ctx, interp_alloc(ctx, conv_result_count(d, way) * sizeof(float)));
    if (way != WEIGHTS) {
        const size_t packed = itp_conv_packed_floats(ctx, &s->c, way == DATA);
        s->packed = (float *)bench_need(ctx, interp_alloc(ctx, (packed + 1) * sizeof(float)));
        itp_conv_pack(ctx, &s->c, d->w, way == DATA, s->packed);
    }
    const side out = {"interp.h", conv_run_interp, conv_result_interp, conv_release_interp, s};
    return out;
}

/* ---- ONNX Runtime: forward only, on a model of one node that we write ourselves */

/* Places in its table of functions, which never change (onnxruntime_c_api.h, version 1). */
enum {
    ORT_CREATE_ENV = 3,
    ORT_CREATE_SESSION_FROM_ARRAY = 8,
    ORT_RUN = 9,
    ORT_CREATE_SESSION_OPTIONS = 10,
    ORT_SET_INTRA_OP_THREADS = 24,
    ORT_CREATE_TENSOR_WITH_DATA = 49,
    ORT_CREATE_CPU_MEMORY_INFO = 69,
    ORT_RELEASE_SESSION = 95,
    ORT_RELEASE_VALUE = 96
};

typedef struct ort_base {
    void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} ort_base;

typedef struct conv_ort {
    interp_ctx *ctx;
    void *const *api;
    void *session, *x_value, *y_value;
    float *y;
    size_t y_count;
} conv_ort;

/* One function of the table as the type F. */
#define ORT(F, i) ((F)(api[i]))
typedef void *(*ort_create_env_fn)(int level, const char *name, void **env);
typedef void *(*ort_create_options_fn)(void **options);
typedef void *(*ort_set_int_fn)(void *options, int value);
typedef void *(*ort_create_session_fn)(void *env, const void *bytes, size_t n, void *options,
                                       void **session);
typedef void *(*ort_memory_info_fn)(int allocator, int kind, void **info);
typedef void *(*ort_tensor_fn)(void *info, void *data, size_t bytes, const int64_t *dims, size_t n,
                               int type, void **value);
typedef void *(*ort_run_fn)(void *session, void *options, const char *const *in_names,
                            void *const *in, size_t n_in, const char *const *out_names,
                            size_t n_out, void **out);
typedef void (*ort_release_fn)(void *object);

static void conv_run_ort(void *state)
{
    const conv_ort *s = (const conv_ort *)state;
    void *const *api = s->api;
    static const char *const in[] = {"input"}, *const out[] = {"y"};
    void *y = s->y_value;
    ORT(ort_run_fn, ORT_RUN)(s->session, NULL, in, &s->x_value, 1, out, 1, &y);
}

static void conv_result_ort(void *state, float *out)
{
    const conv_ort *s = (const conv_ort *)state;
    memcpy(out, s->y, s->y_count * sizeof *out);
}

static void conv_release_ort(void *state)
{
    conv_ort *s = (conv_ort *)state;
    void *const *api = s->api;
    if (s->x_value) ORT(ort_release_fn, ORT_RELEASE_VALUE)(s->x_value);
    if (s->y_value) ORT(ort_release_fn, ORT_RELEASE_VALUE)(s->y_value);
    if (s->session) ORT(ort_release_fn, ORT_RELEASE_SESSION)(s->session);
    interp_free(s->ctx, s->y);
    interp_free(s->ctx, s);
}

/* The layer as an ONNX file in memory. */
static void *conv_model(const conv_data *d, size_t *bytes)
{
    interp_net *net = interp_net_new(d->ctx, "conv");
    const layer *l = &d->l;
    const interp_shape sample = {3, {l->in, l->size, l->size, 1, 1, 1, 1, 1}};
    interp_conv2d_desc c;
    void *model = NULL;
    memset(&c, 0, sizeof c);
    c.channels = l->out, c.groups = l->groups, c.no_bias = true;
    c.kernel[0] = l->kernel, c.stride[0] = l->stride;
    for (int i = 0; i < 4; i++) c.pad[i] = l->pad;
    bench_need(d->ctx, net);
    interp_output(net, interp_conv2d(net, interp_input(net, "input", &sample), &c), "y");
    if (!interp_net_build(net, 0)) {
        memcpy(interp_net_parameters(net), d->w, d->w_count * sizeof(float));
        if (interp_onnx_serialize(net, &model, bytes)) model = NULL;
    }
    interp_net_free(net);
    return bench_need(d->ctx, model);
}

/* True when there is a session for this layer. */
static bool conv_side_ort(void *library, const conv_data *d, side *out)
{
    const ort_base *(*get_base)(void);
    if (!rival_symbol(library, "OrtGetApiBase", &get_base)) return false;
    void *const *api = get_base()->get_api(11);
    if (!api) return false;
    void *env = NULL, *options = NULL, *info = NULL;
    enum { warning = 2, arena = 1, default_memory = 0, float32 = 1 };
    conv_ort *s = (conv_ort *)bench_need(d->ctx, interp_alloc(d->ctx, sizeof *s));
    size_t bytes = 0;
    void *model = conv_model(d, &bytes);
    const int64_t x_dims[] = {d->l.batch, d->l.in, d->l.size, d->l.size};
    const int64_t y_dims[] = {d->l.batch, d->l.out, d->out_size, d->out_size};
    memset(s, 0, sizeof *s);
    s->ctx = d->ctx, s->api = api, s->y_count = d->y_count;
    s->y = (float *)bench_need(d->ctx, interp_alloc(d->ctx, d->y_count * sizeof(float)));
    const bool failed =
        ORT(ort_create_env_fn, ORT_CREATE_ENV)(warning, "bench", &env) ||
        ORT(ort_create_options_fn, ORT_CREATE_SESSION_OPTIONS)(&options) ||
        ORT(ort_set_int_fn, ORT_SET_INTRA_OP_THREADS)(options, interp_threads(d->ctx)) ||
        ORT(ort_create_session_fn, ORT_CREATE_SESSION_FROM_ARRAY)(env, model, bytes, options,
                                                                  &s->session) ||
        ORT(ort_memory_info_fn, ORT_CREATE_CPU_MEMORY_INFO)(arena, default_memory, &info) ||
        ORT(ort_tensor_fn, ORT_CREATE_TENSOR_WITH_DATA)(
            info, (void *)d->x, d->x_count * sizeof(float), x_dims, 4, float32, &s->x_value) ||
        ORT(ort_tensor_fn, ORT_CREATE_TENSOR_WITH_DATA)(info, s->y, d->y_count * sizeof(float),
                                                        y_dims, 4, float32, &s->y_value);
    interp_free(d->ctx, model);
    if (failed) conv_release_ort(s);
    *out = (side){"ONNX Runtime", conv_run_ort, conv_result_ort, conv_release_ort, s};
    return !failed;
}

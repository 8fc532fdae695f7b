/* Convolutions of oneDNN 2 through its C functions: in layouts of its own choice with the tensors
   already in them, on plain NCHW, and by its Winograd algorithm. Needs rivals_conv.h. */

#if defined(__has_include)
#if __has_include(<dnnl.h>)
#include <dnnl.h>
#endif
#endif

#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2
#define BENCH_ONEDNN 1

#define DNNL_FUNCTIONS(X)                                                                          \
    X(engine_create)                                                                               \
    X(stream_create)                                                                               \
    X(stream_wait)                                                                                 \
    X(memory_desc_init_by_tag)                                                                     \
    X(memory_create)                                                                               \
    X(memory_destroy)                                                                              \
    X(memory_get_memory_desc)                                                                      \
    X(convolution_forward_desc_init)                                                               \
    X(convolution_backward_data_desc_init)                                                         \
    X(convolution_backward_weights_desc_init)                                                      \
    X(primitive_desc_create)                                                                       \
    X(primitive_desc_destroy)                                                                      \
    X(primitive_desc_query_md)                                                                     \
    X(reorder_primitive_desc_create)                                                               \
    X(primitive_create)                                                                            \
    X(primitive_execute)                                                                           \
    X(primitive_destroy)

/* Its functions, one engine and one stream. */
typedef struct onednn {
#define DNNL_FIELD(name) __typeof__(dnnl_##name) *name;
    DNNL_FUNCTIONS(DNNL_FIELD)
#undef DNNL_FIELD
    dnnl_engine_t engine;
    dnnl_stream_t stream;
} onednn;

typedef struct conv_dnnl {
    const onednn *lib;
    interp_ctx *ctx;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[3]; /* the last is the result */
    dnnl_memory_desc_t plain_result;
} conv_dnnl;

/* False when the library is not there. */
static bool onednn_open(void *library, onednn *d)
{
    bool found = true;
#define DNNL_LOAD(name) found = rival_symbol(library, "dnnl_" #name, &d->name) && found;
    DNNL_FUNCTIONS(DNNL_LOAD)
#undef DNNL_LOAD
    return found && !d->engine_create(&d->engine, dnnl_cpu, 0) &&
           !d->stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
}

/* Copies between layouts. */
static void onednn_reorder(const onednn *d, dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_memory_desc_t *from_desc, *to_desc;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    d->memory_get_memory_desc(from, &from_desc);
    d->memory_get_memory_desc(to, &to_desc);
    if (d->reorder_primitive_desc_create(&desc, from_desc, d->engine, to_desc, d->engine, NULL))
        return;
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    if (!d->primitive_create(&reorder, desc)) {
        d->primitive_execute(reorder, d->stream, 2, args);
        d->stream_wait(d->stream);
        d->primitive_destroy(reorder);
    }
    d->primitive_desc_destroy(desc);
}

/* Memory as `desc` says, filled from plain numbers when there are any. */
static dnnl_memory_t onednn_memory(const onednn *d, const dnnl_memory_desc_t *desc,
                                   const dnnl_memory_desc_t *plain, const float *numbers)
{
    dnnl_memory_t memory = NULL, source = NULL;
    if (d->memory_create(&memory, desc, d->engine, DNNL_MEMORY_ALLOCATE)) return NULL;
    if (numbers && !d->memory_create(&source, plain, d->engine, (void *)numbers)) {
        onednn_reorder(d, source, memory);
        d->memory_destroy(source);
    }
    return memory;
}

static void conv_run_dnnl(void *state)
{
    const conv_dnnl *s = (const conv_dnnl *)state;
    s->lib->primitive_execute(s->primitive, s->lib->stream, 3, s->args);
    s->lib->stream_wait(s->lib->stream);
}

static void conv_result_dnnl(void *state, float *out)
{
    const conv_dnnl *s = (const conv_dnnl *)state;
    dnnl_memory_t plain;
    if (s->lib->memory_create(&plain, &s->plain_result, s->lib->engine, out)) return;
    onednn_reorder(s->lib, s->args[2].memory, plain);
    s->lib->memory_destroy(plain);
}

static void conv_release_dnnl(void *state)
{
    conv_dnnl *s = (conv_dnnl *)state;
    s->lib->primitive_destroy(s->primitive);
    for (int i = 0; i < 3; i++) s->lib->memory_destroy(s->args[i].memory);
    interp_free(s->ctx, s);
}

/* Descriptions of x, w and y: plain, and as asked of the library. */
typedef struct onednn_shapes {
    dnnl_memory_desc_t plain[3], wanted[3];
    dnnl_dims_t strides, pads;
} onednn_shapes;

static onednn_shapes onednn_describe(const onednn *d, const conv_data *c, bool nchw)
{
    onednn_shapes s;
    const layer *l = &c->l;
    const int g = l->groups, grouped = g > 1;
    const dnnl_dims_t x = {l->batch, l->in, l->size, l->size};
    const dnnl_dims_t y = {l->batch, l->out, c->out_size, c->out_size};
    const dnnl_dims_t w = {l->out, l->in, l->kernel, l->kernel};
    const dnnl_dims_t wg = {g, l->out / g, l->in / g, l->kernel, l->kernel};
    const dnnl_format_tag_t any = dnnl_format_tag_any, layout = nchw ? dnnl_nchw : any;
    memset(&s, 0, sizeof s);
    s.strides[0] = s.strides[1] = l->stride;
    s.pads[0] = s.pads[1] = l->pad;
    for (int pass = 0; pass < 2; pass++) {
        dnnl_memory_desc_t *out = pass ? s.wanted : s.plain;
        d->memory_desc_init_by_tag(&out[0], 4, x, dnnl_f32, pass ? layout : dnnl_nchw);
        d->memory_desc_init_by_tag(&out[1], 4 + grouped, grouped ? wg : w, dnnl_f32,
                                   pass      ? any
                                   : grouped ? dnnl_goihw
                                             : dnnl_oihw);
        d->memory_desc_init_by_tag(&out[2], 4, y, dnnl_f32, pass ? layout : dnnl_nchw);
    }
    return s;
}

/* NULL when the library has no such convolution. */
static dnnl_primitive_desc_t onednn_convolution(const onednn *d, const onednn_shapes *s,
                                                direction way, dnnl_alg_kind_t algorithm)
{
    const dnnl_memory_desc_t *x = &s->wanted[0], *w = &s->wanted[1], *y = &s->wanted[2];
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t forward = NULL, backward = NULL;
    const dnnl_prop_kind_t kind = way == FORWARD ? dnnl_forward_inference : dnnl_forward_training;
    if (d->convolution_forward_desc_init(&desc, kind, algorithm, x, w, NULL, y, s->strides, s->pads,
                                         s->pads) ||
        d->primitive_desc_create(&forward, &desc, NULL, d->engine, NULL))
        return NULL;
    if (way == FORWARD) return forward;
    if (way == DATA)
        d->convolution_backward_data_desc_init(&desc, algorithm, x, w, y, s->strides, s->pads,
                                               s->pads);
    else
        d->convolution_backward_weights_desc_init(&desc, algorithm, x, w, NULL, y, s->strides,
                                                  s->pads, s->pads);
    if (d->primitive_desc_create(&backward, &desc, NULL, d->engine, forward)) backward = NULL;
    d->primitive_desc_destroy(forward);
    return backward;
}

/* True when there is a primitive for this layer, direction and way of working. */
static bool conv_side_dnnl(const onednn *d, const char *name, const conv_data *c, direction way,
                           bool nchw, bool winograd, side *out)
{
    static const struct {
        int which[3], query[3], arg[3]; /* inputs and result among x, w, y */
    } roles[DIRECTIONS] = {{{0, 1, 2},
                            {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md},
                            {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}},
                           {{2, 1, 0},
                            {dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md},
                            {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC}},
                           {{0, 2, 1},
                            {dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md},
                            {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}}};
    const float *const numbers[] = {c->x, c->w, c->dy};
    const onednn_shapes shapes = onednn_describe(d, c, nchw);
    dnnl_primitive_desc_t desc = onednn_convolution(
        d, &shapes, way, winograd ? dnnl_convolution_winograd : dnnl_convolution_direct);
    if (!desc) return false;
    conv_dnnl *s = (conv_dnnl *)bench_need(c->ctx, interp_alloc(c->ctx, sizeof *s));
    memset(s, 0, sizeof *s);
    s->lib = d, s->ctx = c->ctx;
    bool failed = d->primitive_create(&s->primitive, desc) != dnnl_success;
    for (int i = 0; i < 3; i++) {
        const int which = roles[way].which[i];
        const dnnl_memory_desc_t *plain = &shapes.plain[which];
        s->args[i].arg = roles[way].arg[i];
        s->args[i].memory =
            onednn_memory(d, d->primitive_desc_query_md(desc, (dnnl_query_t)roles[way].query[i], 0),
                          plain, i < 2 ? numbers[which] : NULL);
        s->plain_result = *plain;
        failed = failed || !s->args[i].memory;
    }
    d->primitive_desc_destroy(desc);
    if (failed) conv_release_dnnl(s);
    *out = (side){name, conv_run_dnnl, conv_result_dnnl, conv_release_dnnl, s};
    return !failed;
}
#endif

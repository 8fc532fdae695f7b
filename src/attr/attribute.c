/* ---- attr/attribute.c: what all methods share: settings, memory, targets, passes ----------------- */

typedef struct itp_attr itp_attr;
typedef struct itp_cone itp_cone;

/* A method: one row of the table in methods.c. */
typedef struct itp_attr_row {
    const char *name;
    int kind; /* which of its family */
    unsigned needs;
    interp_status (*settle)(itp_attr *a);            /* checks and fills in settings; NULL: none */
    void (*layout)(itp_arena *m, itp_attr *a);       /* memory of its own; NULL: none */
    size_t (*scratch)(const itp_attr *a, int batch); /* floats of it that grow with the batch */
    interp_status (*run)(itp_attr *a);
} itp_attr_row;

enum {
    ITP_ATTR_INPUT_GRAD = 1,      /* gradients of the input */
    ITP_ATTR_LAYER = 2,           /* numbers of a layer */
    ITP_ATTR_LAYER_GRAD = 4,      /* and their gradient */
    ITP_ATTR_MAP = 8,             /* that layer must be images; chosen when it is not named */
    ITP_ATTR_NEURON = 16,         /* explains a neuron of the layer instead of an output */
    ITP_ATTR_RULES = 32,          /* goes backward by rules of its own */
    ITP_ATTR_BASELINES = 64,      /* runs baselines beside the samples */
    ITP_ATTR_ANY_BASELINES = 128, /* takes any number of baselines, a distribution */
    ITP_ATTR_TOGETHER = 256,      /* the points of a sample come one after the other */
    ITP_ATTR_THROUGH = 512,       /* explains an output through a neuron of the layer */
    ITP_ATTR_AVERAGES = 1024,     /* takes the mean over noisy copies, of another method perhaps */
    ITP_ATTR_MANY_TARGETS = 2048, /* goes backward once for each target after one forward pass */
    ITP_ATTR_FEATURES = 4096,     /* perturbs features, which a mask may say */
    ITP_ATTR_ALONE = 8192,        /* adds up to nothing: the output at the baseline is not asked */
    ITP_ATTR_LOCAL = 16384 /* copies may differ from x in a small box, which may run by itself:
                                     to the same bits, if sums have one order in images of any size */
};

struct itp_attr {
    interp_ctx *ctx;
    interp_net *net;
    const itp_attr_row *row;
    unsigned needs;          /* the row's, or what the scope makes of them */
    interp_attribute_desc d; /* defaults filled in */
    const float *x;
    int k;                 /* targets of each sample; more than 1: results are [n, k, ..] */
    int n, points;         /* samples, and passes for each besides those for its outputs */
    interp_shape in_shape; /* of what takes the place of the input */
    size_t size;           /* its numbers */
    int outputs, batch, batch0;
    int layer;                 /* a value of the network; -1: none */
    int maps;                  /* more than 1: each view's is a call of its own */
    int view;                  /* of such a call; -1: none */
    interp_shape result_shape; /* of one sample's attribution */
    size_t result_size;
    interp_workspace *w, *w0; /* w0: for the baselines */
    float *in, *seed;         /* [batch, size], [batch, outputs] */
    float *in0;               /* [batch0, size] */
    /* scope of a layer: its numbers are put in place of what the network makes of x */
    bool inside;
    const float *given_x;  /* [n, given] */
    size_t given;          /* numbers of one input of the network, in every scope */
    float *inner, *inner0; /* [n, size], [n_baselines, size] */
    float *real;           /* [batch, given] */
    int *owner;            /* [batch]: sample of each slot */
    float *scratch;
    size_t scratch_floats;
    float *result;              /* [n, k, result_size] */
    interp_attribution *report; /* [n, k] */
    int filled;                 /* slots of `in` in use */
    bool held;                  /* the last pass of w was of all samples, and no backward since */
    bool held0;                 /* that of w0 was of the baselines of the first slots of a run */
    double done, total;         /* passes, for the progress hook */
    /* gradient methods */
    double *at, *weight;         /* [points] */
    double *sum, *square;        /* [k, result_size]: of the sample at hand */
    int first;                   /* number of the first point in `in`, counted over all samples */
    float *copies;               /* [8, size]: noisy ones, for another method */
    int base_batch, base_points; /* of that method */
    int *open;                   /* [n]: samples whose residual is too large; NULL: all, once */
    int n_open;
    int touched;                  /* nodes that a rule changed */
    double *over;                 /* [batch] of DeepLIFT: what a node gives a sample too much */
    void *user;                   /* of a run that is no method */
    float *moved;                 /* [batch, size] of guided_ig: the step at hand */
    float *bias;                  /* of full_grad: those of a batch norm */
    int *view_of;                 /* [n_values] of full_grad, as by itp_views_find */
    bool *mark;                   /* [n_values] of LRP: behind a layer with weights */
    bool *merged;                 /* [n_values] of LRP: made by what was merged into a layer */
    itp_perturb p;                /* of the perturbation methods */
    itp_cone *cone;               /* that runs their copies; NULL: none */
    size_t cone_bytes, cone_peak; /* it holds, and took while it was made */
    bool whole_passes;            /* there must be none */
    int plain_nodes;              /* so many of the first may run on boxes, or could */
    bool again;                   /* other samples will follow */
    char *block;                  /* what itp_attr_layout shares out */
    size_t block_bytes;
};

ITP_FN const itp_attr_row *itp_attr_row_of(interp_method method);

ITP_FN void itp_cone_open(itp_attr *a);
ITP_FN void itp_cone_close(itp_attr *a);
ITP_FN void itp_cone_layout(itp_arena *m, itp_attr *a);
ITP_FN interp_status itp_cone_bytes(itp_attr *a, int batch, size_t packed, size_t *bytes);
ITP_FN double itp_cone_cost(const itp_attr *a, const interp_net *net, const bool *needed,
                            int plain);

/* ---- memory */

ITP_FN bool itp_attr_needs(const itp_attr *a, unsigned what)
{
    return (a->needs & what) != 0;
}

/* Whether the method is left to another one, on noisy copies of the samples. */
ITP_FN bool itp_attr_averages(const itp_attr *a)
{
    return a->d.base != INTERP_SALIENCY && (a->row->needs & ITP_ATTR_AVERAGES);
}

ITP_FN interp_status itp_smooth_bytes(const itp_attr *a, size_t *bytes);

ITP_FN void itp_attr_layout(itp_arena *m, itp_attr *a)
{
    const size_t b = (size_t)a->batch, n = (size_t)a->n, results = itp_mul_size(n, (size_t)a->k);
    a->in = itp_arena_floats(m, itp_mul_size(b, a->size));
    a->seed = itp_arena_floats(m, itp_mul_size(b, (size_t)a->outputs));
    a->in0 = itp_arena_floats(m, itp_mul_size((size_t)a->batch0, a->size));
    a->scratch = itp_arena_floats(m, a->scratch_floats);
    a->result = itp_arena_floats(m, itp_mul_size(results, a->result_size));
    a->report = (interp_attribution *)itp_arena_alloc(m, itp_mul_size(results, sizeof *a->report));
    if (a->inside) {
        a->inner = itp_arena_floats(m, itp_mul_size(n, a->size));
        a->inner0 = itp_arena_floats(m, itp_mul_size((size_t)a->d.n_baselines, a->size));
        a->real = itp_arena_floats(m, itp_mul_size(b, a->given));
        a->owner = (int *)itp_arena_alloc(m, itp_mul_size(b, sizeof *a->owner));
    }
    if (a->row->layout) a->row->layout(m, a);
    if (a->cone) itp_cone_layout(m, a);
}

#define ITP_ATTR_MANY 32 /* passes for a sample, of which there are then several at a time */

ITP_FN interp_workspace_desc itp_attr_work(const itp_attr *a)
{
    interp_workspace_desc d;
    const char *layer = a->layer < 0 ? NULL : a->net->values[a->layer].name;
    memset(&d, 0, sizeof d);
    d.batch = a->batch;
    d.input_grads = itp_attr_needs(a, ITP_ATTR_INPUT_GRAD);
    d.keep_grad = itp_attr_needs(a, ITP_ATTR_LAYER_GRAD);
    d.keep_for_back = itp_attr_needs(a, ITP_ATTR_RULES);
    d.many_back = a->k > 1;
    d.plain_nodes = a->plain_nodes;
    d.small_winograd = !d.input_grads && a->points >= ITP_ATTR_MANY; /* whatever the batch */
    if (itp_attr_needs(a, ITP_ATTR_NEURON)) d.output = layer;
    else if (itp_attr_needs(a, ITP_ATTR_LAYER)) d.keep = layer;
    return d;
}

/* All that a run takes from the context at a batch, with so many bytes of weights laid out once. */
ITP_FN interp_status itp_attr_bytes_at(itp_attr *a, int batch, size_t packed, size_t *bytes)
{
    interp_workspace_desc d;
    itp_arena m = {NULL, 0};
    size_t more = 0;
    if (a->cone) ITP_TRY(itp_cone_bytes(a, batch, packed, &more));
    if (a->cone) batch = 1, packed = 0;
    a->batch = batch;
    a->batch0 = itp_attr_needs(a, ITP_ATTR_BASELINES)
                    ? (a->d.n_baselines > 1 || a->net->fixed_batch || a->inside ? batch : 1)
                    : 0;
    a->scratch_floats = a->row->scratch ? a->row->scratch(a, batch) : 0;
    itp_attr_layout(&m, a);
    d = itp_attr_work(a);
    d.constant_weights = packed > 0, d.packed_bytes = packed;
    ITP_TRY(interp_workspace_bytes(a->ctx, a->net, &d, bytes));
    d.batch = a->batch0;
    if (a->batch0) ITP_TRY(interp_workspace_bytes(a->ctx, a->net, &d, &more));
    *bytes = itp_add_size(itp_add_size(*bytes, more), itp_alloc_cost(m.used));
    if (itp_attr_averages(a)) ITP_TRY(itp_smooth_bytes(a, &more));
    if (itp_attr_averages(a)) *bytes = itp_add_size(*bytes, more);
    return INTERP_OK;
}

/* A batch that was not asked for takes no more than this, for many passes forward or any, besides weights
   that are laid out once for several passes. */
#define ITP_ATTR_ENOUGH(many) ((size_t)((many) ? 48 : 24) << 20)
#define ITP_ATTR_PACKED       ((size_t)64 << 20)
#define ITP_ATTR_BATCH        32
#define ITP_ATTR_PASSES       50 /* the usual steps; of more, the last batch may be part full */
#define ITP_ATTR_LAY          20 /* cost of laying out a weight, in products, as measured */
#define ITP_ATTR_READ         4  /* of reading one that is laid out: few of them stay in a cache */

#define ITP_ATTR_NEAR ((size_t)48 << 20) /* bytes that caches help with */
/* What a pass costs more for each time that its batch takes as much again. */
#define ITP_ATTR_FAR 0.1

/* The batch, up to `largest`, with which so many passes cost least within `most` bytes: each batch reads
   the weights and lays out those that there is no room for, but large ones are far from the caches. */
ITP_FN interp_status itp_attr_choose(itp_attr *a, int64_t passes, int largest, size_t most,
                                     int *batch)
{
    const double pass =
        itp_cone_cost(a, a->net, NULL, 0) * (itp_attr_needs(a, ITP_ATTR_INPUT_GRAD) ? 2 : 1);
    double least = (double)INFINITY;
    *batch = 1;
    passes = passes < ITP_ATTR_PASSES ? passes : ITP_ATTR_PASSES;
    for (int b = 1;; b = b < 8 ? b + 1 : itp_min(2 * b, largest)) {
        size_t bytes, with, whole;
        ITP_TRY(itp_attr_bytes_at(a, b, 0, &bytes));
        if (bytes > most) break;
        const size_t packed = b < passes ? itp_min_size(most - bytes, a->d.packed_bytes) : 0;
        ITP_TRY(itp_attr_bytes_at(a, b, packed, &with));
        ITP_TRY(itp_attr_bytes_at(a, b, SIZE_MAX, &whole));
        const double batches = (double)((passes + b - 1) / b);
        const double kept = (double)(with - bytes) / sizeof(float);
        const double fresh = (double)(whole - with) / sizeof(float);
        const size_t beyond = bytes > ITP_ATTR_NEAR ? bytes - ITP_ATTR_NEAR : 0;
        const double far = (double)beyond / (double)ITP_ATTR_NEAR;
        const double one = b * pass * (1 + ITP_ATTR_FAR * far);
        const double cost =
            batches * (one + ITP_ATTR_LAY * fresh + ITP_ATTR_READ * kept) + ITP_ATTR_LAY * kept;
        if (cost < least) least = cost, *batch = b;
        if (b == largest) break;
    }
    return INTERP_OK;
}

/* The batch and, of its workspace, the description and bytes. */
ITP_FN interp_status itp_attr_fit(itp_attr *a, interp_workspace_desc *d, size_t *bytes)
{
    const int64_t all =
        (int64_t)a->n * (itp_attr_needs(a, ITP_ATTR_TOGETHER) ? 1 : itp_max(1, a->points));
    const size_t left = itp_memory_left(a->ctx);
    const bool many = itp_attr_work(a).small_winograd;
    const size_t most = itp_add_size(ITP_ATTR_ENOUGH(many), a->cone ? 0 : a->d.packed_bytes);
    const size_t enough = a->d.batch ? left : itp_min_size(left, most);
    int batch = a->d.batch ? a->d.batch : ITP_ATTR_BATCH;
    if (all < batch) batch = (int)all;
    if (a->cone) batch = itp_min(batch, a->points);
    else if (!a->d.batch && !a->net->fixed_batch && batch > 1)
        ITP_TRY(itp_attr_choose(a, all, batch, enough, &batch));
    if (a->net->fixed_batch) batch = a->net->fixed_batch;
    for (;; batch /= 2) {
        ITP_TRY(itp_attr_bytes_at(a, batch, 0, bytes));
        if (*bytes <= enough) break;
        if (batch > 1 && !a->net->fixed_batch) continue;
        if (*bytes <= left) break;
        if (a->cone) { /* whole passes may take less */
            itp_cone_close(a);
            return itp_attr_fit(a, d, bytes);
        }
        return itp_fail(a->ctx, INTERP_NO_MEMORY,
                        "%s needs at least %zu bytes, but only %zu are left", a->row->name, *bytes,
                        left);
    }
    size_t packed = 0, with = 0;
    if (all > batch || a->again) {
        packed = itp_min_size(left - *bytes, a->d.packed_bytes);
        if (!a->again && !a->cone && *bytes < enough)
            packed = itp_min_size(packed, enough - *bytes);
        if (packed) ITP_TRY(itp_attr_bytes_at(a, batch, packed, &with));
        if (packed && with <= left) *bytes = with;
        else if (packed) ITP_TRY(itp_attr_bytes_at(a, batch, packed = 0, bytes));
    }
    *d = itp_attr_work(a);
    d->constant_weights = packed && !a->cone, d->packed_bytes = packed;
    return INTERP_OK;
}

/* ---- passes */

ITP_FN const float *itp_attr_baseline(const itp_attr *a, int sample)
{
    if (!a->d.baseline) return NULL;
    return a->d.baseline + (a->d.n_baselines > 1 ? (size_t)sample * a->size : 0);
}

/* A baseline, or zeros, into one row. */
ITP_FN void itp_attr_put(const itp_attr *a, const float *x, float *to)
{
    if (x) memcpy(to, x, a->size * sizeof *to);
    else memset(to, 0, a->size * sizeof *to);
}

/* The number of a slot's outputs that is explained. */
ITP_FN double itp_attr_output(const itp_attr *a, const float *y, int target)
{
    double sum = 0;
    if (target >= 0) return (double)y[target];
    for (int k = 0; k < a->outputs; k++) sum += (double)y[k];
    return sum;
}

ITP_FN interp_status itp_attr_tick(itp_attr *a, double passes)
{
    a->done += passes;
    return itp_progress(a->ctx, a->row->name, a->done, a->total, (double)NAN);
}

/* Slot i, in which a point of a sample goes. */
ITP_FN float *itp_attr_slot(const itp_attr *a, int i, int sample)
{
    if (a->inside) a->owner[i] = sample;
    return a->in + (size_t)i * a->size;
}

/* Puts the layer's numbers from the slots over those that the network has made. */
ITP_FN void itp_attr_inject(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    memcpy(itp_y(w, node), w == a->w0 ? a->in0 : a->in, (size_t)a->batch * a->size * sizeof *a->in);
}

/* A pass of either workspace over its slots, all of which hold something. */
ITP_FN interp_status itp_attr_pass(itp_attr *a, interp_workspace *w)
{
    const float *in = w == a->w0 ? a->in0 : a->in;
    if (w == a->w) {
        const bool again = a->held && w->after_node == -1 && a->filled == a->n &&
                           !memcmp(a->in, a->x, (size_t)a->n * a->size * sizeof *a->in);
        a->held = false;
        if (again) return INTERP_OK; /* all of it is still there */
    }
    if (!a->inside) return interp_forward(w, &in);
    for (int i = 0; i < a->batch; i++)
        memcpy(a->real + (size_t)i * a->given,
               a->given_x + (size_t)a->owner[i < a->filled ? i : 0] * a->given,
               a->given * sizeof *a->real);
    in = a->real;
    w->after_node = a->net->values[a->layer].producer;
    w->after = itp_attr_inject, w->after_user = a;
    return interp_forward(w, &in);
}

ITP_FN interp_status itp_attr_check(const itp_attr *a, const float *y, int samples)
{
    if (itp_is_finite(y, (size_t)samples * (size_t)a->outputs)) return INTERP_OK;
    return itp_fail(a->ctx, INTERP_NOT_FINITE,
                    "attribution: the network's output is NaN or infinite: look for such numbers "
                    "in its weights");
}

/* Forward over the slots in use; a batch that must have its size is filled up with the first. */
ITP_FN interp_status itp_attr_forward(itp_attr *a)
{
    for (int i = a->filled; i < a->batch; i++)
        memcpy(a->in + (size_t)i * a->size, a->in, a->size * sizeof *a->in);
    ITP_TRY(itp_attr_pass(a, a->w));
    return itp_attr_check(a, interp_workspace_target(a->w), a->filled);
}

/* Backward from the targets of the slots in use, whose first sample is sample_of(0).. */
ITP_FN void itp_attr_seed(itp_attr *a, int slot, int target, float number)
{
    float *seed = a->seed + (size_t)slot * (size_t)a->outputs;
    memset(seed, 0, (size_t)a->outputs * sizeof *seed);
    if (target >= 0) seed[target] = number;
    else itp_fill(seed, (size_t)a->outputs, number);
}

/* The gradient that the method reads, of slot 0. */
ITP_FN const float *itp_attr_grad(const itp_attr *a)
{
    return itp_attr_needs(a, ITP_ATTR_LAYER_GRAD) ? interp_workspace_kept_grad(a->w)
                                                  : interp_workspace_input_grad(a->w, 0);
}

/* A pass of w0 over its slots; what it finds there already is not run again. */
ITP_FN interp_status itp_attr_beside(itp_attr *a)
{
    const bool held = a->held0;
    a->held0 = false;
    if (held) return INTERP_OK;
    for (int i = itp_min(a->filled, a->batch0); i < a->batch0; i++)
        memcpy(a->in0 + (size_t)i * a->size, a->in0, a->size * sizeof *a->in0);
    ITP_TRY(itp_attr_pass(a, a->w0));
    return itp_attr_check(a, interp_workspace_target(a->w0), itp_min(a->filled, a->batch0));
}

/* What the network gave for an input, row < n, or for the baseline of one, n <= row; and the targets. */
ITP_FN void itp_attr_tell(itp_attr *a, int row, const float *y)
{
    for (int j = 0; j < a->k; j++) {
        interp_attribution *r = &a->report[(size_t)(row % a->n) * (size_t)a->k + (size_t)j];
        if (row < a->n && a->k == 1 && a->d.target_kind == INTERP_TARGET_PREDICTED)
            r->target = interp_argmax(y, a->outputs);
        *(row < a->n ? &r->output : &r->baseline_output) = itp_attr_output(a, y, r->target);
    }
}

/* Outputs of so many rows, from the first on. */
ITP_FN interp_status itp_attr_outputs(itp_attr *a, int rows)
{
    for (int at = 0; at < rows; at += a->batch) {
        a->filled = itp_min(a->batch, rows - at);
        for (int i = 0; i < a->filled; i++) {
            const int sample = (at + i) % a->n;
            float *to = itp_attr_slot(a, i, sample);
            if (at + i >= a->n) itp_attr_put(a, itp_attr_baseline(a, sample), to);
            else memcpy(to, a->x + (size_t)sample * a->size, a->size * sizeof *to);
        }
        ITP_TRY(itp_attr_forward(a));
        for (int i = 0; i < a->filled; i++)
            itp_attr_tell(a, at + i,
                          interp_workspace_target(a->w) + (size_t)i * (size_t)a->outputs);
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    a->held = rows == a->n && a->n <= a->batch && !a->inside;
    a->filled = 0;
    return INTERP_OK;
}

/* Those of the baselines from w0, as the rules go on from what it makes of them. */
ITP_FN interp_status itp_attr_outputs_beside(itp_attr *a)
{
    const bool shared = a->d.n_baselines == 1; /* one for all samples */
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        for (int i = 0; i < itp_min(a->batch0, a->filled); i++)
            itp_attr_put(a, itp_attr_baseline(a, at + i), a->in0 + (size_t)i * a->size);
        if (!shared || at == 0) ITP_TRY(itp_attr_beside(a));
        for (int i = 0; i < a->filled; i++)
            itp_attr_tell(a, a->n + at + i,
                          interp_workspace_target(a->w0) +
                              (size_t)itp_min(a->batch0 - 1, i) * (size_t)a->outputs);
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    a->held0 = shared || a->n <= a->batch;
    a->filled = 0;
    return INTERP_OK;
}

/* ---- settings */

ITP_FN interp_status itp_attr_targets(itp_attr *a)
{
    const interp_attribute_desc *d = &a->d;
    for (int i = 0; i < a->n * a->k && a->d.n_targets; i++) {
        const int t = d->targets ? d->targets[i % a->k] : i % a->k;
        if (t < 0 || t >= a->outputs)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "attribution: target %d of many, but there are outputs 0 to %d", t,
                            a->outputs - 1);
        a->report[i].target = t;
    }
    if (d->n_targets) return INTERP_OK;
    if (d->target_kind == INTERP_TARGET_LABELS && !d->targets)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: the labels to explain were not given: set targets");
    for (int i = 0; i < a->n; i++) {
        int t = -1;
        if (d->target_kind == INTERP_TARGET_CLASS) t = d->target;
        if (d->target_kind == INTERP_TARGET_LABELS) t = d->targets[i];
        if ((d->target_kind == INTERP_TARGET_CLASS || d->target_kind == INTERP_TARGET_LABELS) &&
            (t < 0 || t >= a->outputs))
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "attribution: target %d of sample %d, but there are outputs 0 to %d", t,
                            i, a->outputs - 1);
        a->report[i].target = t;
    }
    return INTERP_OK;
}

/* Whether a value is images of more than one pixel, and depends on the input. */
ITP_FN bool itp_attr_is_map(const interp_net *net, int value)
{
    const itp_value *v = &net->values[value];
    return v->kind == ITP_ACTIVATION && v->shape.rank == 4 && v->shape.dim[2] * v->shape.dim[3] > 1;
}

#define ITP_ATTR_SIDE 4 /* pixels, below which a map says little */

/* The layer that is asked for, or the last one whose output is images of some size. */
ITP_FN interp_status itp_attr_find_layer(itp_attr *a)
{
    const interp_net *net = a->net;
    a->layer = -1;
    if (!itp_attr_needs(a, ITP_ATTR_LAYER | ITP_ATTR_NEURON | ITP_ATTR_THROUGH)) return INTERP_OK;
    if (a->d.layer) {
        a->layer = itp_find_numbers(net, a->d.layer);
        if (a->layer < 0)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has no layer named \"%s\"",
                            net->name, a->d.layer);
    } else if (itp_attr_needs(a, ITP_ATTR_MAP)) {
        int side = 0; /* shorter one, of the layer at hand */
        for (int i = 0; i < net->n_nodes; i++) {
            const int out = net->nodes[i].out;
            if (!itp_attr_is_map(net, out)) continue;
            const int here = itp_min(net->values[out].shape.dim[2], net->values[out].shape.dim[3]);
            if (a->layer >= 0 && here < ITP_ATTR_SIDE && side >= ITP_ATTR_SIDE) continue;
            a->layer = out, side = here;
        }
    }
    if (a->layer < 0)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "%s needs the name of a layer: set layer",
                        a->row->name);
    if (itp_attr_needs(a, ITP_ATTR_MAP) && !itp_attr_is_map(net, a->layer))
        return itp_fail(a->ctx, INTERP_BAD_SHAPE, "%s: layer \"%s\" does not give images [C,H,W]",
                        a->row->name, net->values[a->layer].name);
    return INTERP_OK;
}

/* What a scope asks for instead of the input's gradients. */
ITP_FN interp_status itp_attr_scope(itp_attr *a)
{
    const unsigned own = ITP_ATTR_LAYER | ITP_ATTR_NEURON | ITP_ATTR_THROUGH;
    a->needs = a->row->needs;
    if (itp_attr_averages(a)) { /* here only outputs are looked at */
        a->needs = a->d.scope == INTERP_SCOPE_NEURON ? ITP_ATTR_NEURON : 0;
        return INTERP_OK;
    }
    if (a->d.scope == INTERP_SCOPE_INPUT) return INTERP_OK;
    if ((unsigned)a->d.scope > INTERP_SCOPE_NEURON || itp_attr_needs(a, own))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "%s has no other scope: it is of a layer or of a neuron itself",
                        a->row->name);
    if (a->d.scope == INTERP_SCOPE_NEURON) {
        a->needs |= ITP_ATTR_NEURON;
        return INTERP_OK;
    }
    a->inside = true;
    if (itp_attr_needs(a, ITP_ATTR_INPUT_GRAD)) a->needs |= ITP_ATTR_LAYER_GRAD;
    a->needs = (a->needs | ITP_ATTR_LAYER) & ~(unsigned)ITP_ATTR_INPUT_GRAD;
    return INTERP_OK;
}

/* What the layer has for one sample: with a row for each view, their number comes first. */
ITP_FN interp_shape itp_attr_layer_shape(const itp_attr *a)
{
    interp_shape s = itp_sample_shape(a->net, a->layer);
    const int rows = itp_value_rows(a->net, a->layer);
    if (rows < 2) return s;
    for (int i = s.rank++; i > 0; i--) s.dim[i] = s.dim[i - 1];
    s.dim[0] = rows;
    return s;
}

/* A layer's numbers can be replaced only where no other value lies in the same memory and is read
   afterwards: not in what is only another shape of them. */
ITP_FN interp_status itp_attr_replaceable(const itp_attr *a)
{
    const interp_net *net = a->net;
    const int made = net->values[a->layer].producer;
    for (int v = a->layer, p = made;; p = net->values[v].producer) {
        if (p < 0)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "layer \"%s\" is the input itself: take the method of the input",
                            net->values[a->layer].name);
        const unsigned flags = itp_op_row(net->nodes[p].op)->flags;
        if (!(flags & (ITP_ALIAS | ITP_ALIAS_IN_EVAL))) return INTERP_OK;
        v = net->nodes[p].in[0];
        for (int m = made + 1; m < net->n_nodes; m++)
            for (int k = 0; k < net->nodes[m].n_in; k++)
                if (net->nodes[m].in[k] == v)
                    return itp_fail(
                        a->ctx, INTERP_UNSUPPORTED,
                        "layer \"%s\" is another shape of \"%s\", which is used as well: "
                        "take that",
                        net->values[a->layer].name, net->values[v].name);
    }
}

/* row NULL: that of the method; else a run that is none, with what it needs. */
ITP_FN interp_status itp_attr_settle(itp_attr *a, interp_net *net, int n,
                                     const interp_attribute_desc *desc, const itp_attr_row *row,
                                     void *user)
{
    memset(a, 0, sizeof *a);
    a->ctx = net->ctx;
    a->net = net;
    a->n = n;
    if (desc) a->d = *desc;
    interp_attribute_desc *d = &a->d;
    if (d->target && d->target_kind == INTERP_TARGET_PREDICTED)
        d->target_kind = INTERP_TARGET_CLASS;
    if (!d->n_steps) d->n_steps = 50;
    if (!d->n_baselines) d->n_baselines = 1;
    if (!d->packed_bytes) d->packed_bytes = ITP_ATTR_PACKED;
    if (!net->built)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    if (net->n_inputs != 1)
        return itp_fail(a->ctx, INTERP_UNSUPPORTED,
                        "attribution: network \"%s\" has %d inputs, not one", net->name,
                        net->n_inputs);
    if ((unsigned)d->method >= INTERP_METHOD_COUNT || n < 1 || d->batch < 0 || d->n_steps < 1 ||
        d->n_samples < 0 || d->n_baselines < 1 || d->n_targets < 0 || !(d->noise_sd >= 0))
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "attribution: a setting is out of range: method %d, %d samples, %d steps, %d copies",
            (int)d->method, n, d->n_steps, d->n_samples);
    a->row = row ? row : itp_attr_row_of(d->method);
    a->user = user;
    a->k = itp_max(1, d->n_targets);
    ITP_TRY(itp_attr_scope(a));
    if (d->n_baselines != 1 && d->n_baselines != n && !itp_attr_needs(a, ITP_ATTR_ANY_BASELINES))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: %d baselines for %d samples: give one, or one for each",
                        d->n_baselines, n);
    ITP_TRY(itp_attr_find_layer(a));
    interp_shape out = interp_net_output_shape(net, 0);
    a->in_shape = a->result_shape = interp_net_input_shape(net, 0);
    a->given = interp_shape_size(&a->in_shape);
    if (a->layer >= 0) {
        const interp_shape s = itp_attr_layer_shape(a);
        if (itp_attr_needs(a, ITP_ATTR_NEURON)) out = s;
        else if (!itp_attr_needs(a, ITP_ATTR_THROUGH)) a->result_shape = s;
    }
    if (a->inside) {
        ITP_TRY(itp_attr_replaceable(a));
        a->in_shape = a->result_shape;
    }
    a->size = interp_shape_size(&a->in_shape);
    a->outputs = (int)interp_shape_size(&out);
    if (d->n_targets > a->outputs || (int64_t)n * a->k > INT_MAX)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "attribution: %d targets of %d outputs",
                        d->n_targets, a->outputs);
    a->points = a->maps = 1, a->view = -1;
    if (a->row->settle) ITP_TRY(a->row->settle(a));
    a->result_size = interp_shape_size(&a->result_shape);
    if (a->points < 1 || (int64_t)n * a->points > INT_MAX)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "%s: %d passes for each of %d samples",
                        a->row->name, a->points, n);
    a->total = (double)n * (a->points + 2);
    return INTERP_OK;
}

/* ---- the calls */

/* Bytes of a run, the cone's with it. */
ITP_FN interp_status itp_attr_bytes(itp_attr *a, size_t *bytes)
{
    interp_workspace_desc w;
    itp_cone_open(a);
    const interp_status status = itp_attr_fit(a, &w, bytes);
    if (!status && a->cone) *bytes = itp_add_size(*bytes, a->cone_bytes);
    if (!status) *bytes = itp_max_size(*bytes, a->cone_peak);
    itp_cone_close(a);
    return status;
}

INTERP_API interp_status interp_attribute_shape(interp_net *net, const interp_attribute_desc *desc,
                                                interp_shape *shape, const char **layer)
{
    itp_attr a;
    ITP_TRY(itp_attr_settle(&a, net, desc ? itp_max(1, desc->n_baselines) : 1, desc, NULL, NULL));
    *shape = a.result_shape;
    if (layer) {
        const itp_value *v = a.layer < 0 ? NULL : &net->values[a.layer];
        const itp_node *from = v && v->producer >= 0 ? &net->nodes[v->producer] : NULL;
        *layer = !v ? NULL : from && from->out == a.layer ? from->name : v->name;
    }
    return INTERP_OK;
}

/* Mean output over a distribution of baselines, for the targets of samples first .. last. */
ITP_FN interp_status itp_attr_mean_output(itp_attr *a, int first, int last)
{
    for (int at = 0; at < a->d.n_baselines; at += a->batch) {
        a->filled = itp_min(a->batch, a->d.n_baselines - at);
        for (int i = 0; i < a->filled; i++)
            itp_attr_put(a, a->d.baseline ? a->d.baseline + (size_t)(at + i) * a->size : NULL,
                         itp_attr_slot(a, i, first));
        ITP_TRY(itp_attr_forward(a));
        const float *y = interp_workspace_target(a->w);
        for (int i = 0; i < a->filled; i++, y += a->outputs)
            for (int s = first * a->k; s < (last + 1) * a->k; s++)
                a->report[s].baseline_output +=
                    itp_attr_output(a, y, a->report[s].target) / a->d.n_baselines;
    }
    a->filled = 0;
    return itp_attr_tick(a, last - first + 1);
}

/* The layer's numbers at the samples and at the baselines, which stand for them from here on. */
ITP_FN interp_status itp_attr_enter(itp_attr *a)
{
    const interp_attribute_desc *d = &a->d;
    for (int which = 0; which < 2; which++) {
        const float *x = which ? d->baseline : a->x;
        float *to = which ? a->inner0 : a->inner;
        const int n = which ? d->n_baselines : a->n;
        for (int at = 0; at < n; at += a->batch) {
            const int some = itp_min(a->batch, n - at);
            const float *in = a->real;
            for (int i = 0; i < a->batch; i++) {
                float *row = a->real + (size_t)i * a->given;
                const size_t from = (size_t)(at + itp_min(i, some - 1)) * a->given;
                if (x) memcpy(row, x + from, a->given * sizeof *row);
                else memset(row, 0, a->given * sizeof *row);
            }
            ITP_TRY(interp_forward(a->w, &in));
            memcpy(to + (size_t)at * a->size, interp_workspace_kept(a->w),
                   (size_t)some * a->size * sizeof *to);
        }
    }
    a->given_x = a->x, a->x = a->inner, a->d.baseline = a->inner0;
    if (itp_is_finite(a->x, (size_t)a->n * a->size) &&
        itp_is_finite(a->d.baseline, (size_t)a->d.n_baselines * a->size))
        return INTERP_OK;
    return itp_fail(a->ctx, INTERP_NOT_FINITE,
                    "attribution: layer \"%s\" gives NaN or infinite numbers",
                    a->net->values[a->layer].name);
}

ITP_FN interp_status itp_attr_run(itp_attr *a)
{
    ITP_TRY(itp_attr_targets(a));
    ITP_TRY(itp_attr_tick(a, 0));
    if (a->inside) ITP_TRY(itp_attr_enter(a));
    const bool many = itp_attr_needs(a, ITP_ATTR_ANY_BASELINES);
    const bool alone = itp_attr_needs(a, ITP_ATTR_ALONE), beside = a->w0 && !a->inside;
    ITP_TRY(itp_attr_outputs(a, many || alone || beside ? a->n : 2 * a->n));
    if (many && !a->inside) ITP_TRY(itp_attr_mean_output(a, 0, a->n - 1));
    for (int i = 0; many && a->inside && i < a->n; i++) /* what goes around the layer is of i */
        ITP_TRY(itp_attr_mean_output(a, i, i));
    if (!many && !alone && beside) ITP_TRY(itp_attr_outputs_beside(a));
    const int passes = a->points + (a->held ? 0 : 1) + !alone;
    for (int i = 0; i < a->n * a->k; i++) {
        a->report[i].passes = passes;
        if (alone) a->report[i].baseline_output = a->report[i].residual = (double)NAN;
    }
    return a->row->run(a);
}

/* Memory and workspaces of what was settled and, where that is, of the cone made for it. */
ITP_FN interp_status itp_attr_acquire(itp_attr *a)
{
    interp_workspace_desc d;
    itp_arena arena = {NULL, 0};
    size_t bytes;
    ITP_TRY(itp_attr_fit(a, &d, &bytes));
    itp_attr_layout(&arena, a);
    a->block_bytes = arena.used;
    a->block = (char *)interp_alloc(a->ctx, a->block_bytes);
    if (!a->block) return INTERP_NO_MEMORY;
    arena.base = a->block, arena.used = 0;
    itp_attr_layout(&arena, a);
    ITP_TRY(interp_workspace_new(a->ctx, a->net, &d, &a->w));
    d.batch = a->batch0;
    return a->batch0 ? interp_workspace_new(a->ctx, a->net, &d, &a->w0) : INTERP_OK;
}

ITP_FN void itp_attr_release(itp_attr *a)
{
    interp_workspace_free(a->w);
    interp_workspace_free(a->w0);
    interp_free(a->ctx, a->block);
}

ITP_FN interp_status itp_attr_check_given(const itp_attr *a, const float *x)
{
    if (itp_is_finite(x, (size_t)a->n * a->given) &&
        (!a->d.baseline || itp_is_finite(a->d.baseline, (size_t)a->d.n_baselines * a->given)))
        return INTERP_OK;
    return itp_fail(a->ctx, INTERP_NOT_FINITE,
                    "attribution: the input or the baseline holds NaN or infinite numbers");
}

/* The samples a->x, by what was opened. out, report: NULL or where results go. */
ITP_FN interp_status itp_attr_go(itp_attr *a, float *out, interp_attribution *report)
{
    const size_t results = (size_t)a->n * (size_t)a->k;
    memset(a->block, 0, a->block_bytes);
    ITP_TRY(itp_attr_run(a));
    if (!itp_is_finite(a->result, results * a->result_size))
        return itp_fail(a->ctx, INTERP_NOT_FINITE,
                        "%s: the attribution is NaN or infinite: its numbers leave the range of a "
                        "float on the way back through the network",
                        a->row->name);
    if (out) memcpy(out, a->result, results * a->result_size * sizeof *out);
    if (report) memcpy(report, a->report, results * sizeof *report);
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_execute(itp_attr *a, const float *x, float *out,
                                      interp_attribution *report)
{
    ITP_TRY(itp_attr_check_given(a, x));
    a->x = x;
    itp_cone_open(a);
    interp_status status = itp_attr_acquire(a);
    if (!status) status = itp_attr_go(a, out, report);
    itp_attr_release(a);
    itp_cone_close(a);
    return status;
}

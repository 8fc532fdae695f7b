/* ---- net/abreast.c: small networks trained side by side, one in each lane of the vectors ----------- */

/* Networks that differ in their numbers only: each parameter, activation and gradient is ITP_ABREAST
   numbers, one of each network, so that any layer, however small, is made of whole vectors. One sample
   of each network goes forward and backward at a time. No lane sees another: what becomes of a network
   does not depend on which ones are beside it. */

enum {
    ITP_ABREAST_OPS = 64,
    ITP_ABREAST_TAPS = 4096,
    ITP_ABREAST_PARAMETERS = 1024, /* beyond, products of matrices are faster */
    ITP_ABREAST_VALUES = 1 << 15   /* beyond, they do not stay in the cache */
};

typedef enum itp_lane_kind {
    ITP_LANE_DENSE,
    ITP_LANE_CONV,
    ITP_LANE_MAX,
    ITP_LANE_AVERAGE,
    ITP_LANE_PAD,
    ITP_LANE_UNARY,
    ITP_LANE_SOFTMAX,
    ITP_LANE_ADD,
    ITP_LANE_DROPOUT
} itp_lane_kind;

/* A node as it is run. Places count numbers of one network. */
typedef struct itp_lane_op {
    itp_lane_kind kind;
    int node; /* of the network */
    int x, y; /* places of values */
    int also; /* the second operand, or the factors of an average or a dropout */
    int n;    /* numbers of y */
    int w, b; /* places of parameters; b -1: no bias */
    int planes, x_planes, groups;
    int height, width; /* of the planes of x */
    int top, left;     /* where a pad puts these in its own, [at.rows, at.columns] */
    itp_sliding at;    /* windows */
    int tap;           /* the first of theirs */
    itp_unary unary;
    float alpha, beta; /* of a unary op; a pad's filling; a dropout's probability */
    bool x_grad;       /* somebody asks for the gradient of x */
} itp_lane_op;

/* What is the same in all networks; without pointers, so that two can be compared. */
typedef struct itp_abreast_plan {
    itp_lane_op op[ITP_ABREAST_OPS];
    int n_ops, tap[ITP_ABREAST_TAPS], n_taps;
    int input, logits, classes, values; /* places and numbers */
    int dropouts;                       /* numbers of one sample that may be dropped */
    int parameters;
} itp_abreast_plan;

/* ---- reading a network */

typedef struct itp_lane_reader {
    const interp_net *net;
    itp_abreast_plan *p;
    int *place, *uses; /* [n_values]: where a value is, -1: nowhere yet; how many nodes read it */
    bool *depends;     /* [n_values]: on parameters */
} itp_lane_reader;

ITP_FN int itp_lane_size(const itp_lane_reader *r, int value)
{
    const interp_shape s = itp_sample_shape(r->net, value);
    const size_t n = interp_shape_size(&s);
    return n < ITP_ABREAST_VALUES ? (int)n : ITP_ABREAST_VALUES;
}

ITP_FN int itp_lane_room(itp_lane_reader *r, int n)
{
    const int at = r->p->values;
    r->p->values = itp_min(at + n, ITP_ABREAST_VALUES); /* more is refused */
    return at;
}

/* Another op, that makes n numbers of value x. NULL when there are too many. */
ITP_FN itp_lane_op *itp_lane_add(itp_lane_reader *r, itp_lane_kind kind, int node, int x, int n)
{
    if (r->p->n_ops == ITP_ABREAST_OPS) return NULL;
    itp_lane_op *o = &r->p->op[r->p->n_ops++];
    o->kind = kind, o->node = node, o->b = -1;
    o->x = r->place[x], o->x_grad = r->depends[x];
    o->n = n;
    return o;
}

/* The place of a trained array, -1 when it is not one of the shape asked for. */
ITP_FN int itp_lane_parameter(const itp_lane_reader *r, int value, int n)
{
    const itp_value *v = &r->net->values[value];
    return v->kind == ITP_PARAM && interp_shape_size(&v->shape) == (size_t)n ? (int)v->offset : -1;
}

ITP_FN bool itp_lane_dense(itp_lane_reader *r, int node)
{
    const itp_node *o = &r->net->nodes[node];
    const interp_shape *w = &r->net->values[o->in[1]].shape;
    const int k = itp_lane_size(r, o->in[0]), units = itp_lane_size(r, o->out);
    itp_lane_op *d = itp_lane_add(r, ITP_LANE_DENSE, node, o->in[0], units);
    if (!d || o->attrs.trans_a || o->attrs.alpha != 1 || o->attrs.beta != 1 || w->rank != 2 ||
        k > ITP_ABREAST_TAPS - r->p->n_taps)
        return false;
    d->w = itp_lane_parameter(r, o->in[1], k * units);
    if (o->n_in > 2) d->b = itp_lane_parameter(r, o->in[2], units);
    if (d->w < 0 || (o->n_in > 2 && d->b < 0)) return false;
    d->at.rows = 1, d->at.columns = units, d->at.taps = k;
    d->at.step = o->attrs.trans_b ? k : 1;
    d->tap = r->p->n_taps;
    for (int t = 0; t < k; t++) r->p->tap[r->p->n_taps++] = o->attrs.trans_b ? t : t * units;
    d->y = itp_lane_room(r, units);
    return true;
}

/* A copy of the planes of x where windows hang over, with g changed to fit; true unless there is no
   room for it. */
ITP_FN bool itp_lane_pad(itp_lane_reader *r, int node, float fill, itp_plane *g, int planes, int *x,
                         bool *padded)
{
    const int height = (g->rows - 1) * g->stride_y + (g->taps_y - 1) * g->dilation_y + 1;
    const int width = (g->columns - 1) * g->stride_x + (g->taps_x - 1) * g->dilation_x + 1;
    const int value = r->net->nodes[node].in[0];
    *x = r->place[value];
    *padded = g->pad_y || g->pad_x || height > g->height || width > g->width;
    if (!*padded) return true;
    if ((int64_t)height * width * planes >= ITP_ABREAST_VALUES) return false;
    itp_lane_op *o = itp_lane_add(r, ITP_LANE_PAD, node, value, planes * height * width);
    if (!o) return false;
    o->planes = planes;
    o->height = g->height, o->width = g->width, o->top = g->pad_y, o->left = g->pad_x;
    o->at.rows = height, o->at.columns = width;
    o->alpha = fill;
    *x = o->y = itp_lane_room(r, o->n);
    g->height = height, g->width = width, g->pad_y = g->pad_x = 0;
    return true;
}

/* Windows of `planes` planes each. */
ITP_FN bool itp_lane_taps(itp_lane_reader *r, itp_lane_op *o, const itp_plane *g, int planes)
{
    const int64_t taps = (int64_t)planes * g->taps_y * g->taps_x;
    if (taps > ITP_ABREAST_TAPS - r->p->n_taps) return false;
    o->height = g->height, o->width = g->width;
    o->at.rows = g->rows, o->at.columns = g->columns;
    o->at.row_step = g->stride_y * g->width, o->at.step = g->stride_x;
    o->at.taps = (int)taps;
    o->tap = r->p->n_taps;
    for (int c = 0; c < planes; c++)
        for (int y = 0; y < g->taps_y; y++)
            for (int x = 0; x < g->taps_x; x++)
                r->p->tap[r->p->n_taps++] =
                    (c * g->height + y * g->dilation_y) * g->width + x * g->dilation_x;
    return true;
}

/* Convolutions and pooling. */
ITP_FN bool itp_lane_window(itp_lane_reader *r, int node, itp_lane_kind kind)
{
    const itp_node *n = &r->net->nodes[node];
    const interp_shape *from = &r->net->values[n->in[0]].shape;
    const interp_shape *to = &r->net->values[n->out].shape;
    if (from->rank != 4) return false;
    itp_plane g;
    memset(&g, 0, sizeof g);
    if (n->op != ITP_OP_GLOBAL_AVERAGE_POOL) g = itp_plane_of(&n->attrs, from);
    else {
        g.height = g.taps_y = from->dim[2], g.width = g.taps_x = from->dim[3];
        g.rows = g.columns = g.stride_y = g.stride_x = g.dilation_y = g.dilation_x = 1;
    }
    int x;
    bool padded;
    const float fill = kind == ITP_LANE_MAX ? -(float)INFINITY : 0;
    if (!itp_lane_pad(r, node, fill, &g, from->dim[1], &x, &padded)) return false;
    if (padded && kind == ITP_LANE_AVERAGE) return false; /* its windows differ in their numbers */
    itp_lane_op *o = itp_lane_add(r, kind, node, n->in[0], itp_lane_size(r, n->out));
    if (!o) return false;
    o->x = x;
    o->planes = to->dim[1], o->x_planes = from->dim[1];
    o->groups = kind == ITP_LANE_CONV ? n->attrs.groups : o->planes;
    if (!itp_lane_taps(r, o, &g, o->x_planes / o->groups)) return false;
    if (kind == ITP_LANE_CONV) {
        o->w = itp_lane_parameter(r, n->in[1], o->planes * o->at.taps);
        if (n->n_in > 2) o->b = itp_lane_parameter(r, n->in[2], o->planes);
        if (o->w < 0 || (n->n_in > 2 && o->b < 0)) return false;
    }
    if (kind == ITP_LANE_AVERAGE) o->also = itp_lane_room(r, o->at.taps);
    o->y = itp_lane_room(r, o->n);
    return true;
}

/* Its sums are read by nobody else, and their gradient does not need them. */
ITP_FN bool itp_lane_may_overwrite(const itp_lane_reader *r, int value)
{
    const int producer = r->net->values[value].producer;
    if (r->uses[value] != 1 || producer < 0) return false;
    const int op = r->net->nodes[producer].op;
    return op == ITP_OP_CONV || op == ITP_OP_GEMM;
}

/* Functions of one number, softmax, sums, dropout: those that keep the shape. */
ITP_FN bool itp_lane_same(itp_lane_reader *r, int node, itp_lane_kind kind)
{
    const itp_node *n = &r->net->nodes[node];
    const itp_op *row = itp_op_row(n->op);
    const int size = itp_lane_size(r, n->out);
    itp_lane_op *o = itp_lane_add(r, kind, node, n->in[0], size);
    if (!o) return false;
    o->alpha = n->attrs.alpha, o->beta = n->attrs.beta;
    const interp_shape *s = &r->net->values[n->out].shape;
    if (kind == ITP_LANE_SOFTMAX && (s->rank != 2 || itp_axis(n->attrs.axis, 2) != 1)) return false;
    if (kind == ITP_LANE_ADD) {
        o->also = r->place[n->in[1]];
        if (itp_lane_size(r, n->in[0]) != size || itp_lane_size(r, n->in[1]) != size) return false;
    }
    if (kind == ITP_LANE_DROPOUT) o->also = itp_lane_room(r, size), r->p->dropouts += size;
    if (kind == ITP_LANE_UNARY) o->unary = (itp_unary)row->kind;
    const bool in_place = (kind == ITP_LANE_UNARY || kind == ITP_LANE_SOFTMAX) &&
                          (row->flags & ITP_IN_PLACE) && itp_lane_may_overwrite(r, n->in[0]);
    o->y = in_place ? o->x : itp_lane_room(r, size);
    return true;
}

/* False when there is no such op for lanes. */
ITP_FN bool itp_lane_node(itp_lane_reader *r, int node)
{
    const itp_node *n = &r->net->nodes[node];
    const itp_op *row = itp_op_row(n->op);
    const int x = n->in[0], second = n->n_in > 1 && n->op == ITP_OP_ADD ? n->in[1] : x;
    if (r->place[x] < 0 || r->place[second] < 0) return false;
    if (r->p->values + itp_lane_size(r, n->out) >= ITP_ABREAST_VALUES) return false;
    r->depends[n->out] =
        r->depends[x] || r->depends[second] || n->op == ITP_OP_GEMM || n->op == ITP_OP_CONV;
    if (row->flags & ITP_ALIAS) {
        r->place[n->out] = r->place[x];
        return itp_lane_size(r, x) == itp_lane_size(r, n->out);
    }
    bool good;
    if (n->op == ITP_OP_GEMM) good = itp_lane_dense(r, node);
    else if (n->op == ITP_OP_CONV) good = itp_lane_window(r, node, ITP_LANE_CONV);
    else if (n->op == ITP_OP_MAX_POOL) good = itp_lane_window(r, node, ITP_LANE_MAX);
    else if (n->op == ITP_OP_AVERAGE_POOL || n->op == ITP_OP_GLOBAL_AVERAGE_POOL)
        good = itp_lane_window(r, node, ITP_LANE_AVERAGE);
    else if (n->op == ITP_OP_SOFTMAX) good = itp_lane_same(r, node, ITP_LANE_SOFTMAX);
    else if (n->op == ITP_OP_ADD) good = itp_lane_same(r, node, ITP_LANE_ADD);
    else if (n->op == ITP_OP_DROPOUT) good = itp_lane_same(r, node, ITP_LANE_DROPOUT);
    else good = row->forward == itp_forward_unary && itp_lane_same(r, node, ITP_LANE_UNARY);
    if (good) r->place[n->out] = r->p->op[r->p->n_ops - 1].y;
    return good;
}

/* Whether the network can be trained in a lane, and how; logits: its value that the loss is of. */
ITP_FN bool itp_abreast_read(const interp_net *net, int logits, itp_lane_reader *r)
{
    itp_abreast_plan *p = r->p;
    if (net->n_inputs != 1 || net->whole || net->fixed_batch || net->n_flat == 0 ||
        net->n_flat > ITP_ABREAST_PARAMETERS)
        return false;
    for (int v = 0; v < net->n_values; v++) {
        r->place[v] = -1;
        if (net->values[v].kind == ITP_BUFFER) return false; /* batch statistics */
    }
    for (int i = 0; i < net->n_nodes; i++)
        for (int k = 0; k < net->nodes[i].n_in; k++) r->uses[net->nodes[i].in[k]]++;
    p->parameters = (int)net->n_flat;
    p->input = r->place[net->inputs[0]] = itp_lane_room(r, itp_lane_size(r, net->inputs[0]));
    for (int i = 0; i < net->n_nodes && r->place[logits] < 0; i++)
        if (!itp_lane_node(r, i)) return false;
    p->logits = r->place[logits], p->classes = itp_lane_size(r, logits);
    return p->logits > 0 && p->values < ITP_ABREAST_VALUES;
}

/* Settings that act on one network at a time are not for lanes. */
ITP_FN bool itp_abreast_suit(const interp_train_desc *d)
{
    bool delays = false;
    for (int i = 0; i < d->n_rules; i++) delays |= d->rules[i].delay != 0;
    return d->loss == INTERP_CROSS_ENTROPY && !d->augment && !(d->label_smoothing > 0) &&
           !(d->clip_norm > 0) && !d->validation && d->patience <= 0 && !d->restore_best &&
           !d->on_step && !delays;
}

/* Fills *p where the network is for lanes. */
ITP_FN interp_status itp_abreast_plan_of(interp_ctx *ctx, const interp_net *net,
                                         const interp_train_desc *d, itp_abreast_plan *p,
                                         bool *suits)
{
    const size_t n = (size_t)net->n_values;
    itp_lane_reader r;
    r.net = net, r.p = p;
    memset(p, 0, sizeof *p);
    *suits = false;
    if (!itp_abreast_suit(d)) return INTERP_OK;
    r.place = (int *)interp_alloc(ctx, n * sizeof *r.place);
    r.uses = (int *)itp_calloc(ctx, n, sizeof *r.uses);
    r.depends = (bool *)itp_calloc(ctx, n, sizeof *r.depends);
    const bool room = r.place && r.uses && r.depends;
    *suits = room && itp_abreast_read(net, itp_logits_value(net, d->loss), &r);
    interp_free(ctx, r.place);
    interp_free(ctx, r.uses);
    interp_free(ctx, r.depends);
    return room ? INTERP_OK : INTERP_NO_MEMORY;
}

/* ---- training */

typedef struct itp_abreast_run {
    const itp_abreast_plan *plan;
    interp_trainer *t; /* settings and the step; of one of the networks */
    const interp_dataset *data;
    uint64_t seed[ITP_ABREAST];
    float *value, *grad;                /* [values, lanes] */
    float *p, *p_grad, *first, *second; /* [parameters, lanes]; moments NULL where there are none */
    int *order;                         /* [lanes, samples] */
    uint8_t *kept;                      /* of a batch; see itp_abreast_drop */
} itp_abreast_run;

ITP_FN float *itp_lane_at(float *numbers, int place)
{
    return numbers + (size_t)place * ITP_ABREAST;
}

ITP_FN void itp_abreast_close(itp_abreast_run *r)
{
    interp_ctx *ctx = r->t ? r->t->ctx : NULL;
    if (!ctx) return;
    interp_free(ctx, r->value);
    interp_free(ctx, r->grad);
    interp_free(ctx, r->p);
    interp_free(ctx, r->p_grad);
    interp_free(ctx, r->first);
    interp_free(ctx, r->second);
    interp_free(ctx, r->order);
    interp_free(ctx, r->kept);
    interp_trainer_free(r->t);
    r->t = NULL;
}

/* Numbers that never change: what is around planes, and the factors of averages. */
ITP_FN void itp_abreast_fill(itp_abreast_run *r)
{
    for (int i = 0; i < r->plan->n_ops; i++) {
        const itp_lane_op *o = &r->plan->op[i];
        const bool average = o->kind == ITP_LANE_AVERAGE;
        if (average || o->kind == ITP_LANE_PAD)
            itp_fill(itp_lane_at(r->value, average ? o->also : o->y),
                     (size_t)(average ? o->at.taps : o->n) * ITP_ABREAST,
                     average ? 1 / (float)o->at.taps : o->alpha);
    }
}

/* Room for networks like `net`, whose parameters itp_abreast_put brings. */
ITP_FN interp_status itp_abreast_open(interp_net *net, const itp_abreast_plan *plan,
                                      const interp_dataset *data, const interp_train_desc *desc,
                                      itp_abreast_run *r)
{
    interp_ctx *ctx = net->ctx;
    interp_train_desc d;
    memset(r, 0, sizeof *r);
    r->plan = plan, r->data = data;
    ITP_TRY(itp_train_defaults(ctx, desc, &d));
    ITP_TRY(itp_train_samples(ctx, data));
    ITP_TRY(itp_data_fits(ctx, net, data, plan->classes));
    d.batch = itp_min(d.batch, data->n);
    const int64_t steps = d.epochs * itp_steps_per_epoch(data->n, d.batch);
    ITP_TRY(itp_trainer_begin(net, &d, steps, &r->t));
    const size_t values = itp_mul_size((size_t)plan->values * ITP_ABREAST, sizeof(float));
    const size_t parameters = (size_t)plan->parameters * ITP_ABREAST * sizeof(float);
    const size_t kept = itp_mul_size((size_t)plan->dropouts * ITP_ABREAST, (size_t)d.batch);
    r->value = (float *)itp_calloc(ctx, 1, values);
    r->grad = (float *)itp_calloc(ctx, 1, values);
    r->p = (float *)interp_alloc(ctx, parameters);
    r->p_grad = (float *)interp_alloc(ctx, parameters);
    r->order = (int *)itp_calloc(ctx, itp_mul_size((size_t)data->n, ITP_ABREAST), sizeof(int));
    if (kept) r->kept = (uint8_t *)interp_alloc(ctx, kept);
    if (r->t->first) r->first = (float *)itp_calloc(ctx, 1, parameters);
    if (r->t->second) r->second = (float *)itp_calloc(ctx, 1, parameters);
    if (!r->value || !r->grad || !r->p || !r->p_grad || !r->order || (kept && !r->kept) ||
        (r->t->first && !r->first) || (r->t->second && !r->second)) {
        itp_abreast_close(r);
        return INTERP_NO_MEMORY;
    }
    itp_abreast_fill(r);
    return INTERP_OK;
}

ITP_FN void itp_abreast_put(itp_abreast_run *r, int lane, const float *parameters, uint64_t seed)
{
    for (int i = 0; i < r->plan->parameters; i++) r->p[i * ITP_ABREAST + lane] = parameters[i];
    r->seed[lane] = seed;
}

ITP_FN void itp_abreast_get(const itp_abreast_run *r, int lane, float *parameters)
{
    for (int i = 0; i < r->plan->parameters; i++) parameters[i] = r->p[i * ITP_ABREAST + lane];
}

/* The planes of x into the middle of those of y, or their gradient back. */
ITP_FN void itp_abreast_pad(const itp_abreast_run *r, const itp_lane_op *o, bool back)
{
    const itp_kernels *k = r->t->ctx->k;
    const int rows = itp_min(o->height, o->at.rows - o->top);
    const size_t run = (size_t)itp_min(o->width, o->at.columns - o->left) * ITP_ABREAST;
    for (int c = 0; c < o->planes; c++)
        for (int y = 0; y < rows; y++) {
            const int x_at = o->x + (c * o->height + y) * o->width;
            const int y_at = o->y + (c * o->at.rows + y + o->top) * o->at.columns + o->left;
            if (back)
                k->scale_add(run, 1, itp_lane_at(r->grad, y_at), 1, itp_lane_at(r->grad, x_at));
            else
                memcpy(itp_lane_at(r->value, y_at), itp_lane_at(r->value, x_at),
                       run * sizeof(float));
        }
}

/* Which numbers of a batch are kept, as each network alone would draw them: of every dropout, of every
   lane, of every sample. */
ITP_FN void itp_abreast_draw(const itp_abreast_run *r, int n)
{
    uint8_t *to = r->kept;
    for (int i = 0; i < r->plan->n_ops; i++) {
        const itp_lane_op *o = &r->plan->op[i];
        if (o->kind != ITP_LANE_DROPOUT) continue;
        const uint64_t stream = itp_dropout_stream((uint64_t)r->t->step * 4096 + 1, o->node);
        const size_t all = (size_t)o->n * (size_t)n;
        for (int l = 0; l < ITP_ABREAST; l++, to += all)
            itp_draw(r->seed[l], stream, 0, all, (uint32_t)(o->alpha * 16777216.0f), to);
    }
}

/* The factors of sample i of n of a dropout, whose numbers begin at `kept`. */
ITP_FN void itp_abreast_drop(const itp_abreast_run *r, const itp_lane_op *o, const uint8_t *kept,
                             int i, int n)
{
    const float factor[2] = {0, 1 / (1 - o->alpha)};
    float *to = itp_lane_at(r->value, o->also);
    for (int l = 0; l < ITP_ABREAST; l++) {
        const uint8_t *own = kept + ((size_t)l * (size_t)n + (size_t)i) * (size_t)o->n;
        for (int e = 0; e < o->n; e++) to[e * ITP_ABREAST + l] = factor[own[e]];
    }
}

/* Where the numbers of the group begin that plane c of y is of. */
ITP_FN int itp_lane_group(const itp_lane_op *o, int c)
{
    const int of = o->x_planes / o->groups;
    return o->x + c / (o->planes / o->groups) * of * o->height * o->width;
}

/* Sample i of n. */
ITP_FN void itp_abreast_forward(const itp_abreast_run *r, int i, int n)
{
    static const float zeros[ITP_ABREAST] = {0};
    const itp_kernels *k = r->t->ctx->k;
    const itp_grad_kernels *g = itp_grads(k);
    const uint8_t *kept = r->kept;
    for (int at = 0; at < r->plan->n_ops; at++) {
        const itp_lane_op *o = &r->plan->op[at];
        const int *tap = r->plan->tap + o->tap;
        const size_t all = (size_t)o->n * ITP_ABREAST;
        const int window = o->at.rows * o->at.columns;
        const float *x = itp_lane_at(r->value, o->x), *w = itp_lane_at(r->p, o->w);
        const float *b = o->b < 0 ? zeros : itp_lane_at(r->p, o->b);
        const float *also = itp_lane_at(r->value, o->also);
        float *y = itp_lane_at(r->value, o->y);
        switch (o->kind) {
        case ITP_LANE_DENSE: /* windows over the weights */
            g->abreast_sum(&o->at, tap, w, x, b, o->b < 0 ? 0 : ITP_ABREAST, y);
            break;
        case ITP_LANE_CONV:
            for (int c = 0; c < o->planes; c++)
                g->abreast_sum(&o->at, tap, itp_lane_at(r->value, itp_lane_group(o, c)),
                               w + (size_t)(c * o->at.taps) * ITP_ABREAST,
                               b + (o->b < 0 ? 0 : c * ITP_ABREAST), 0, itp_lane_at(y, c * window));
            break;
        case ITP_LANE_MAX:
        case ITP_LANE_AVERAGE:
            for (int c = 0; c < o->planes; c++) {
                const float *from = itp_lane_at(r->value, itp_lane_group(o, c));
                float *to = itp_lane_at(y, c * window);
                if (o->kind == ITP_LANE_MAX) g->abreast_max(&o->at, tap, from, to);
                else g->abreast_sum(&o->at, tap, from, also, zeros, 0, to);
            }
            break;
        case ITP_LANE_PAD: itp_abreast_pad(r, o, false); break;
        case ITP_LANE_UNARY: k->unary(o->unary, all, x, y, o->alpha, o->beta); break;
        case ITP_LANE_SOFTMAX:
            k->softmax_across((size_t)o->n, ITP_ABREAST, ITP_ABREAST, x, y, false);
            break;
        case ITP_LANE_DROPOUT:
            itp_abreast_drop(r, o, kept, i, n);
            kept += all * (size_t)n;
            k->binary(ITP_MUL, all, x, 1, also, 1, y);
            break;
        case ITP_LANE_ADD: k->binary(ITP_ADD, all, x, 1, also, 1, y); break;
        }
    }
}

/* dx += y (dy - sum of y dy), in each lane; dx is dy where y took the place of x. */
ITP_FN void itp_abreast_softmax_grad(int n, const float *y, const float *dy, float *dx)
{
    float sum[ITP_ABREAST] = {0};
    for (int i = 0; i < n * ITP_ABREAST; i++) sum[i % ITP_ABREAST] += y[i] * dy[i];
    for (int i = 0; i < n * ITP_ABREAST; i++)
        dx[i] = (dx == dy ? 0 : dx[i]) + y[i] * (dy[i] - sum[i % ITP_ABREAST]);
}

ITP_FN void itp_abreast_windows_grad(const itp_abreast_run *r, const itp_lane_op *o)
{
    const itp_grad_kernels *g = itp_grads(r->t->ctx->k);
    const int *tap = r->plan->tap + o->tap;
    for (int c = 0; c < o->planes; c++) {
        const int group = itp_lane_group(o, c), to = o->y + c * o->at.rows * o->at.columns;
        const float *x = itp_lane_at(r->value, group), *dy = itp_lane_at(r->grad, to);
        float *dx = itp_lane_at(r->grad, group);
        const int w = o->w + c * o->at.taps;
        if (o->kind == ITP_LANE_MAX && o->x_grad)
            g->abreast_max_grad(&o->at, tap, x, itp_lane_at(r->value, to), dy, dx);
        if (o->kind == ITP_LANE_AVERAGE && o->x_grad)
            g->abreast_spread(&o->at, tap, dy, itp_lane_at(r->value, o->also), dx);
        if (o->kind != ITP_LANE_CONV) continue;
        g->abreast_weights(&o->at, tap, x, dy, itp_lane_at(r->p_grad, w),
                           o->b < 0 ? NULL : itp_lane_at(r->p_grad, o->b + c));
        if (o->x_grad) g->abreast_spread(&o->at, tap, dy, itp_lane_at(r->p, w), dx);
    }
}

/* Adds to the gradients of the parameters what the sample of the last forward pass has. */
ITP_FN void itp_abreast_backward(const itp_abreast_run *r)
{
    const itp_kernels *k = r->t->ctx->k;
    const itp_grad_kernels *g = itp_grads(k);
    for (int at = r->plan->n_ops - 1; at >= 0; at--) {
        const itp_lane_op *o = &r->plan->op[at];
        const int *tap = r->plan->tap + o->tap;
        const size_t all = (size_t)o->n * ITP_ABREAST;
        const float *x = itp_lane_at(r->value, o->x), *y = itp_lane_at(r->value, o->y);
        const float *dy = itp_lane_at(r->grad, o->y);
        float *dx = itp_lane_at(r->grad, o->x);
        switch (o->kind) {
        case ITP_LANE_DENSE:
            g->abreast_spread(&o->at, tap, dy, x, itp_lane_at(r->p_grad, o->w));
            if (o->b >= 0) k->scale_add(all, 1, dy, 1, itp_lane_at(r->p_grad, o->b));
            if (o->x_grad) g->abreast_weights(&o->at, tap, itp_lane_at(r->p, o->w), dy, dx, NULL);
            break;
        case ITP_LANE_CONV:
        case ITP_LANE_MAX:
        case ITP_LANE_AVERAGE: itp_abreast_windows_grad(r, o); break;
        case ITP_LANE_PAD:
            if (o->x_grad) itp_abreast_pad(r, o, true);
            break;
        case ITP_LANE_UNARY:
            if (!o->x_grad) break;
            g->unary_grad(o->unary, all, x, y, dy, dx, o->alpha, o->beta, dx != dy);
            break;
        case ITP_LANE_SOFTMAX:
            if (o->x_grad) itp_abreast_softmax_grad(o->n, y, dy, dx);
            break;
        case ITP_LANE_DROPOUT:
            if (o->x_grad) k->mul_add(all, dy, itp_lane_at(r->value, o->also), dx, true);
            break;
        case ITP_LANE_ADD:
            k->scale_add(all, 1, dy, 1, dx);
            k->scale_add(all, 1, dy, 1, itp_lane_at(r->grad, o->also));
            break;
        }
    }
}

/* The gradient of the loss of one sample each, into that of the logits. */
ITP_FN void itp_abreast_loss(const itp_abreast_run *r, const int *sample)
{
    const itp_abreast_plan *p = r->plan;
    float *g = itp_lane_at(r->grad, p->logits);
    memset(r->grad, 0, (size_t)p->values * ITP_ABREAST * sizeof *g);
    r->t->ctx->k->softmax_across((size_t)p->classes, ITP_ABREAST, ITP_ABREAST,
                                 itp_lane_at(r->value, p->logits), g, false);
    for (int l = 0; l < ITP_ABREAST; l++) g[r->data->y[sample[l]] * ITP_ABREAST + l] -= 1;
}

ITP_FN interp_status itp_abreast_update(itp_abreast_run *r, int n, double factor)
{
    interp_trainer *t = r->t;
    const itp_kernels *k = t->ctx->k;
    double square = 0;
    for (int i = 0; i < t->net->n_params; i++) {
        const size_t at = t->learn[i].offset * ITP_ABREAST, all = t->learn[i].n * ITP_ABREAST;
        if (!itp_is_frozen(t, &t->learn[i]))
            square += k->dot(all, r->p_grad + at, 0, r->p_grad + at, 0);
    }
    if (!(square - square == 0)) return itp_train_diverged(t->ctx, t->step + 1);
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        const size_t at = l->offset * ITP_ABREAST;
        if (itp_is_frozen(t, l)) continue;
        const itp_update u = itp_trainer_next(t, l, factor, 1 / (float)n);
        itp_update_numbers(k, l, &u, l->n * ITP_ABREAST, r->p + at, r->p_grad + at,
                           r->first ? r->first + at : NULL, r->second ? r->second + at : NULL);
    }
    t->step++;
    return itp_progress(t->ctx, "train", (double)t->step, (double)t->total_steps, (double)NAN);
}

/* Epoch `epoch`, from 1, of every lane. */
ITP_FN interp_status itp_abreast_epoch(itp_abreast_run *r, int epoch)
{
    interp_trainer *t = r->t;
    const interp_train_desc *d = &t->desc;
    const interp_shape *s = &r->data->shape;
    const int n = r->data->n, row = (int)interp_shape_size(s);
    const size_t parameters = (size_t)r->plan->parameters * ITP_ABREAST * sizeof(float);
    for (int l = 0; l < ITP_ABREAST; l++)
        itp_train_order(d, r->seed[l], epoch, n, r->order + (size_t)l * (size_t)n);
    for (int at = 0; at < n; at += d->batch) {
        const int some = itp_min(d->batch, n - at);
        memset(r->p_grad, 0, parameters);
        itp_abreast_draw(r, some);
        for (int i = 0; i < some; i++) {
            int sample[ITP_ABREAST];
            ptrdiff_t from[ITP_ABREAST];
            for (int l = 0; l < ITP_ABREAST; l++) {
                sample[l] = r->order[(size_t)l * (size_t)n + (size_t)(at + i)];
                from[l] = (ptrdiff_t)sample[l] * row;
            }
            t->ctx->k->interleave(ITP_ABREAST, row, r->data->x, 0, from,
                                  itp_lane_at(r->value, r->plan->input), ITP_ABREAST);
            itp_abreast_forward(r, i, some);
            itp_abreast_loss(r, sample);
            itp_abreast_backward(r);
        }
        ITP_TRY(itp_abreast_update(r, some, itp_schedule(d, t->step, t->total_steps, epoch)));
    }
    return INTERP_OK;
}

/* ---- net/graph.c: values, nodes, the op table's types ----------------------------------------- */

#define ITP_MAX_INPUTS 64 /* of one node */
#define ITP_NO_ENTRIES (-3)
#define ITP_EVERY_NODE (-2)

typedef enum itp_kind {
    ITP_INPUT,
    ITP_PARAM,     /* trained */
    ITP_BUFFER,    /* kept with the parameters, not trained by gradients */
    ITP_CONST,     /* numbers of the graph itself */
    ITP_ACTIVATION /* made by a node */
} itp_kind;

/* A value of the graph. Shapes of activations are for a batch of one until a workspace is made. */
typedef struct itp_value {
    char *name;
    itp_kind kind;
    interp_shape shape;
    interp_dtype dtype; /* what the numbers, always floats here, stand for */
    bool turned;        /* an input [..,H,W,C] of its file, [..,C,H,W] here */
    int producer;       /* node index, -1 for none */
    float *data;        /* parameters, buffers, constants */
    bool borrowed;      /* `data` lies in the user's memory and is never written or freed */
    size_t offset;      /* parameters: into the flat array */
    interp_init init;
    int fan_in, fan_out; /* of weights; 0: starts at the constant `start` */
    float start;
} itp_value;

/* Constants of a node; each op reads those it knows. */
typedef struct itp_attrs {
    int kernel[2], stride[2], dilation[2], pad[4]; /* pad: top, left, bottom, right */
    int groups, axis, start, length;
    bool same, ceil_mode, count_include_pad, trans_a, trans_b, drop;
    bool exclusive, reverse, last; /* cumulative sums, and orders; the last of equal extremes */
    unsigned axes;                 /* bit i: dimension i */
    int mode;                      /* which of an op's variants */
    float alpha, beta, epsilon, momentum;
    int perm[INTERP_MAX_RANK];
    interp_shape shape; /* reshape: 0 keeps, -1 infers, ITP_NO_ENTRIES is 0 itself */
} itp_attrs;

typedef struct itp_node {
    int op; /* row of the op table */
    char *name;
    int n_in, in[ITP_MAX_INPUTS]; /* value indices */
    int out;
    itp_attrs attrs;
} itp_node;

struct interp_net {
    interp_ctx *ctx;
    char *name;
    itp_value *values;
    int n_values, values_capacity;
    itp_node *nodes;
    int n_nodes, nodes_capacity;
    int inputs[ITP_MAX_INPUTS], n_inputs;
    int outputs[ITP_MAX_INPUTS], n_outputs;
    int *params, n_params; /* value indices of trained parameters */
    float *flat;           /* all trained parameters */
    size_t n_flat;
    int input_place[ITP_MAX_INPUTS]; /* among the inputs of the file it was read from */
    int fixed_batch;
    bool whole; /* no dimension is the batch: shapes are taken as they are */
    bool built;
    bool read_only;              /* some numbers are borrowed */
    interp_status status;        /* first error made while building */
    char error[ITP_ERROR_BYTES]; /* and its sentence */
};

/* ---- the op table's row */

/* What a shape rule sees: shapes of a node's inputs, and where the output's goes. */
typedef struct itp_infer {
    interp_ctx *ctx;
    const interp_net *net;
    const itp_node *node;
    const interp_shape *in[ITP_MAX_INPUTS];
    interp_shape *out;
} itp_infer;

/* Numbers of scratch and of state kept from forward to backward, in floats. */
typedef struct itp_need {
    size_t slot;   /* scratch of each thread */
    size_t shared; /* scratch of all */
    size_t save;   /* kept */
    size_t packed; /* constant weights as the kernels read them */
} itp_need;

typedef struct itp_op {
    const char *name; /* as ONNX has it */
    interp_status (*shape)(itp_infer *s);
    void (*forward)(interp_workspace *w, int node);
    itp_need (*need)(const interp_workspace *w, int node);       /* NULL: none */
    double (*macs)(const interp_net *net, const itp_node *node); /* NULL: 0; for a batch of one */
    int kind;       /* itp_unary or itp_binary of the elementwise rows */
    unsigned flags; /* ITP_NEEDS_X and so on */
} itp_op;

enum {
    ITP_NEEDS_X = 1,              /* backward reads the inputs */
    ITP_NEEDS_Y = 2,              /* backward reads the output */
    ITP_IN_PLACE = 4,             /* output may overwrite the first input */
    ITP_ALIAS = 8,                /* output is the first input under another shape */
    ITP_ALIAS_IN_EVAL = 16,       /* an alias too, outside of training */
    ITP_NO_GRAD = 32,             /* not differentiable: there is no backward pass */
    ITP_NO_GRAD_0 = 64,           /* nor is it in its first input, a condition */
    ITP_NO_GRAD_1 = 128,          /* nor in its second, indices or a table */
    ITP_BACK_OTHERS = 256,        /* backward reads an input for the gradients of the others only */
    ITP_BACK_OTHERS_IN_EVAL = 512 /* outside of training */
};

/* Constant weights as the kernels read them, and the scales of the batch norm behind them. */
enum { ITP_PACKED_FORWARD = 1, ITP_PACKED_BACKWARD = 2, ITP_PACKED_NORM = 4 };

typedef void (*itp_rule_fn)(void *user, interp_workspace *w, int node);

struct interp_workspace {
    interp_ctx *ctx;
    const interp_net *net;
    interp_workspace_desc desc;
    int target, kept;            /* values; kept -1: none */
    interp_shape *shape;         /* [n_values] */
    const float **data;          /* [n_values] */
    float **grad;                /* [n_values]; NULL where not asked for */
    float **save;                /* [n_nodes] */
    float **packed;              /* [n_nodes]: constant weights as the kernels read them, or NULL */
    unsigned char *packs;        /* [n_nodes]: ITP_PACKED_ bits of what is laid out once */
    unsigned char *is_packed;    /* [n_nodes]: of these, what is there already */
    bool *needs_grad;            /* [n_values] */
    bool *unwritten;             /* [n_values]: a gradient that no backward step writes: zero */
    bool *runs, *runs_back;      /* [n_nodes] */
    bool *fused;                 /* [n_nodes]: done by the convolution before it */
    int *fused_norm, *fused_act; /* [n_nodes]: what a convolution does besides; -1: nothing */
    bool (*adds)[ITP_MAX_INPUTS]; /* [n_nodes]: this input's gradient was written by a later node */
    float *param_grad;
    char *block; /* activations, gradients, scratch */
    itp_scratch scratch;
    float *shared;
    uint64_t seed, step; /* of dropout */
    bool accumulate;     /* add to the parameters' gradients instead of replacing them */
    bool forward_done;
    itp_rule_fn rule; /* what runs a node backward; NULL: its gradient */
    void *rule_user;
    itp_rule_fn after; /* what changes the numbers of a node that has just run */
    int after_node;    /* -1: none; ITP_EVERY_NODE */
    void *after_user;
};

/* ---- what ops use */

ITP_FN const itp_node *itp_at(const interp_workspace *w, int node)
{
    return &w->net->nodes[node];
}

ITP_FN const float *itp_x(const interp_workspace *w, int node, int i)
{
    return w->data[w->net->nodes[node].in[i]];
}

/* The output of a node, to be written. */
ITP_FN float *itp_y(const interp_workspace *w, int node)
{
    union {
        const float *from;
        float *to;
    } p; /* activations live in the workspace's own block */
    p.from = w->data[w->net->nodes[node].out];
    return p.to;
}

ITP_FN const interp_shape *itp_shape_in(const interp_workspace *w, int node, int i)
{
    return &w->shape[w->net->nodes[node].in[i]];
}

ITP_FN const interp_shape *itp_shape_out(const interp_workspace *w, int node)
{
    return &w->shape[w->net->nodes[node].out];
}

/* Gradient of input i, NULL when nobody asks for it. */
ITP_FN float *itp_dx(const interp_workspace *w, int node, int i)
{
    return i < w->net->nodes[node].n_in ? w->grad[w->net->nodes[node].in[i]] : NULL;
}

ITP_FN const float *itp_dy(const interp_workspace *w, int node)
{
    return w->grad[w->net->nodes[node].out];
}

/* 1 when the gradient of input i must be added to what is there, 0 when it is the first. */
ITP_FN float itp_beta(const interp_workspace *w, int node, int i)
{
    if (w->adds[node][i]) return 1;
    return w->accumulate && w->net->values[w->net->nodes[node].in[i]].kind == ITP_PARAM ? 1 : 0;
}

ITP_FN size_t itp_count(const interp_shape *s)
{
    return interp_shape_size(s);
}

/* ---- building */

/* Keeps the context's error when it is the first. */
ITP_FN interp_status itp_net_error(interp_net *net)
{
    if (!net->status) {
        net->status = net->ctx->status;
        memcpy(net->error, net->ctx->error, sizeof net->error);
    }
    return net->status;
}

/* An error of a builder call, kept when it is the first. */
#define itp_net_fail(net, ...)                                                                     \
    ((net)->status ? (net)->status : (itp_fail((net)->ctx, __VA_ARGS__), itp_net_error(net)))

/* Whether something may still be added to the net. */
ITP_FN bool itp_net_open(interp_net *net)
{
    if (!net || net->status) return false;
    if (net->built)
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "network \"%s\" is built already", net->name);
    return !net->built;
}

INTERP_API interp_net *interp_net_new(interp_ctx *ctx, const char *name)
{
    interp_net *net = (interp_net *)itp_calloc(ctx, 1, sizeof *net);
    if (!net) return NULL;
    net->ctx = ctx;
    net->name = itp_strdup(ctx, name ? name : "net");
    if (!net->name) {
        interp_free(ctx, net);
        return NULL;
    }
    return net;
}

INTERP_API void interp_net_free(interp_net *net)
{
    if (!net) return;
    interp_ctx *ctx = net->ctx;
    for (int i = 0; i < net->n_values; i++) {
        itp_value *v = &net->values[i];
        interp_free(ctx, v->name);
        if (v->borrowed) continue;
        if (v->kind == ITP_BUFFER || v->kind == ITP_CONST || (v->kind == ITP_PARAM && !net->flat))
            interp_free(ctx, v->data);
    }
    for (int i = 0; i < net->n_nodes; i++) interp_free(ctx, net->nodes[i].name);
    interp_free(ctx, net->values);
    interp_free(ctx, net->nodes);
    interp_free(ctx, net->params);
    interp_free(ctx, net->flat);
    interp_free(ctx, net->name);
    interp_free(ctx, net);
}

/* Adds a value; -1 with the net's error set when memory ran out. */
ITP_FN int itp_add_value(interp_net *net, const char *name, itp_kind kind,
                         const interp_shape *shape)
{
    if (itp_grow(net->ctx, &net->values, net->n_values, &net->values_capacity,
                 sizeof *net->values)) {
        itp_net_error(net);
        return -1;
    }
    itp_value *v = &net->values[net->n_values];
    memset(v, 0, sizeof *v);
    v->name = itp_strdup(net->ctx, name);
    if (!v->name) {
        itp_net_error(net);
        return -1;
    }
    v->kind = kind;
    v->producer = -1;
    if (shape) v->shape = *shape;
    for (int i = v->shape.rank; i < INTERP_MAX_RANK; i++) v->shape.dim[i] = 1;
    return net->n_values++;
}

ITP_FN int itp_find_value(const interp_net *net, const char *name)
{
    for (int i = 0; i < net->n_values; i++)
        if (!strcmp(net->values[i].name, name)) return i;
    return -1;
}

/* A value by its own name or by that of the node that makes it, -1 for none. */
ITP_FN int itp_find(const interp_net *net, const char *name)
{
    const int value = itp_find_value(net, name);
    if (value >= 0) return value;
    for (int i = 0; i < net->n_nodes; i++)
        if (!strcmp(net->nodes[i].name, name)) return net->nodes[i].out;
    return -1;
}

ITP_FN bool itp_op_is_linked(int op);
ITP_FN const itp_op *itp_op_row(int op);
ITP_FN void itp_op_backward(interp_workspace *w, int node);

/* "conv1 ... conv9": the first number not taken by a node. */
ITP_FN void itp_auto_name(const interp_net *net, const char *stem, char out[64])
{
    for (int i = 1;; i++) {
        bool taken = false;
        snprintf(out, 64, "%.40s%d", stem, i);
        for (int n = 0; n < net->n_nodes && !taken; n++) taken = !strcmp(net->nodes[n].name, out);
        for (int v = 0; v < net->n_values && !taken; v++) taken = !strcmp(net->values[v].name, out);
        if (!taken) return;
    }
}

/* Checks a node's inputs and gives its output shape for a batch of one. */
ITP_FN interp_status itp_node_shape(interp_ctx *ctx, const interp_net *net, const itp_node *node,
                                    const interp_shape *shapes, interp_shape *out)
{
    itp_infer s;
    memset(&s, 0, sizeof s);
    s.ctx = ctx;
    s.net = net;
    s.node = node;
    for (int i = 0; i < node->n_in; i++)
        s.in[i] = shapes ? &shapes[node->in[i]] : &net->values[node->in[i]].shape;
    for (int i = 0; i < INTERP_MAX_RANK; i++) out->dim[i] = 1;
    out->rank = 0;
    s.out = out;
    ITP_TRY(itp_op_row(node->op)->shape(&s));
    interp_shape full =
        *out; /* also what has no numbers may not be large in its other dimensions */
    for (int i = 0; i < full.rank; i++) full.dim[i] = itp_max(1, full.dim[i]);
    if (interp_shape_size(&full) > (size_t)INT_MAX)
        return itp_fail(ctx, INTERP_BAD_SHAPE, "%s \"%s\": its output has more than 2^31 numbers",
                        itp_op_row(node->op)->name, node->name);
    return INTERP_OK;
}

/* Adds a node over value indices `in`; `name` is used as it is. Returns the output value + 1. */
ITP_FN interp_tensor itp_add_node(interp_net *net, int op, const char *name, const char *out_name,
                                  int n_in, const int *in, const itp_attrs *attrs)
{
    if (net->status) return 0;
    if (!itp_op_is_linked(op)) {
        itp_net_fail(net, INTERP_UNSUPPORTED,
                     "\"%.100s\": its op was left out by INTERP_NO_RARE_OPS", name);
        return 0;
    }
    if (n_in > ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "%s \"%s\" has %d inputs; at most %d are supported",
                     itp_op_row(op)->name, name, n_in, ITP_MAX_INPUTS);
        return 0;
    }
    if (itp_grow(net->ctx, &net->nodes, net->n_nodes, &net->nodes_capacity, sizeof *net->nodes)) {
        itp_net_error(net);
        return 0;
    }
    itp_node *node = &net->nodes[net->n_nodes];
    memset(node, 0, sizeof *node);
    node->op = op;
    node->n_in = n_in;
    memcpy(node->in, in, (size_t)n_in * sizeof *in);
    if (attrs) node->attrs = *attrs;
    node->name = itp_strdup(net->ctx, name);
    interp_shape shape;
    if (!node->name || itp_node_shape(net->ctx, net, node, NULL, &shape)) {
        interp_free(net->ctx, node->name);
        itp_net_error(net);
        return 0;
    }
    const int out = itp_add_value(net, out_name, ITP_ACTIVATION, &shape);
    if (out < 0) {
        interp_free(net->ctx, node->name);
        return 0;
    }
    node->out = out;
    net->values[out].producer = net->n_nodes++;
    return out + 1;
}

/* A node named automatically or by the user, over tensors. */
ITP_FN interp_tensor itp_add_named(interp_net *net, int op, const char *name, const char *stem,
                                   int n_in, const int *in, const itp_attrs *attrs)
{
    if (!itp_net_open(net)) return 0;
    char own[64], out[80];
    if (!name) {
        itp_auto_name(net, stem, own);
        name = own;
    }
    snprintf(out, sizeof out, "%.64s:0", name);
    bool taken = itp_find_value(net, out) >= 0;
    for (int i = 0; i < net->n_nodes && !taken; i++) taken = !strcmp(net->nodes[i].name, name);
    if (taken) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two nodes are named \"%s\"", name);
        return 0;
    }
    return itp_add_node(net, op, name, out, n_in, in, attrs);
}

/* Whether every tensor is one of the net's. */
ITP_FN bool itp_tensors_ok(interp_net *net, int n, const interp_tensor *x)
{
    if (!itp_net_open(net)) return false;
    for (int i = 0; i < n; i++)
        if (x[i] < 1 || x[i] > net->n_values) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT, "tensor %d is not one of network \"%s\"", x[i],
                         net->name);
            return false;
        }
    return true;
}

ITP_FN const interp_shape *itp_tensor_shape(const interp_net *net, interp_tensor x)
{
    return &net->values[x - 1].shape;
}

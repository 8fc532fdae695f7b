/* ---- attr/lrp.c: layer-wise relevance propagation -------------------------------------------------

   Dense layers and convolutions by rules; what they share is a sum of parts, each a layer with other
   inputs and other weights: relevance over the sum of the parts' outputs goes back through each part and
   is multiplied with its inputs. Batch norms and constants that each channel is multiplied with or that
   are added to it right behind such a layer are merged into its weights and bias, however the model's
   writer put them. */

typedef enum itp_lrp_x {
    ITP_LRP_X,
    ITP_LRP_X_PLUS,
    ITP_LRP_X_MINUS,
    ITP_LRP_ONE,
    ITP_LRP_LOW,
    ITP_LRP_HIGH
} itp_lrp_x;
typedef enum itp_lrp_w {
    ITP_LRP_W,
    ITP_LRP_W_PLUS,
    ITP_LRP_W_MINUS,
    ITP_LRP_W_ONE,
    ITP_LRP_W_SQUARED,
    ITP_LRP_W_MORE,      /* w + gamma w+ */
    ITP_LRP_W_LESS,      /* w + gamma w- */
    ITP_LRP_W_NOT_PLUS,  /* -w+ */
    ITP_LRP_W_NOT_MINUS, /* -w- */
    ITP_LRP_W_NONE
} itp_lrp_w;

typedef struct itp_lrp_part {
    int x, w, bias; /* bias as a weight; ITP_LRP_W_NONE: without */
} itp_lrp_part;

/* Parts that share one denominator. */
typedef struct itp_lrp_group {
    int n;
    itp_lrp_part part[3];
    double factor;
    int sign; /* 1, -1: only where the layer's own output is so; 0: everywhere */
} itp_lrp_group;

/* A layer on its way back. */
typedef struct itp_lrp_layer {
    const itp_attr *a;
    interp_workspace *w;
    int node, weights_in; /* which input the weights are; the other one is x */
    size_t nx, nw, nb, ny;
    float *weights, *bias;  /* the layer's own, what follows merged */
    float *w_part, *b_part; /* a part's */
    float *x_part, *back;   /* [nx] */
    float *z, *out, *seed;  /* [ny] */
    double *box;            /* low, high */
} itp_lrp_layer;

ITP_FN interp_lrp_rule itp_lrp_rule_of(const itp_attr *a, bool dense, bool first)
{
    switch (a->d.rule) {
    case INTERP_LRP_PRESET_A:
    case INTERP_LRP_EPSILON_PLUS: return dense ? INTERP_LRP_EPSILON : INTERP_LRP_Z_PLUS;
    case INTERP_LRP_PRESET_A_FLAT:
    case INTERP_LRP_EPSILON_PLUS_FLAT:
        return first ? INTERP_LRP_FLAT : dense ? INTERP_LRP_EPSILON : INTERP_LRP_Z_PLUS;
    case INTERP_LRP_PRESET_B:
    case INTERP_LRP_EPSILON_ALPHA2_BETA1: return dense ? INTERP_LRP_EPSILON : INTERP_LRP_ALPHA_BETA;
    case INTERP_LRP_PRESET_B_FLAT:
    case INTERP_LRP_EPSILON_ALPHA2_BETA1_FLAT:
        return first ? INTERP_LRP_FLAT : dense ? INTERP_LRP_EPSILON : INTERP_LRP_ALPHA_BETA;
    case INTERP_LRP_EPSILON_GAMMA_BOX:
        return first && !dense ? INTERP_LRP_Z_BOX : dense ? INTERP_LRP_EPSILON : INTERP_LRP_GAMMA;
    case INTERP_LRP_EXCITATION_BACKPROP: return INTERP_LRP_Z_PLUS;
    case INTERP_LRP_DEEP_TAYLOR: return first ? INTERP_LRP_Z_BOX : INTERP_LRP_Z_PLUS;
    default: return a->d.rule;
    }
}

ITP_FN bool itp_lrp_is_layer(const itp_node *o)
{
    return o->op == ITP_OP_CONV || o->op == ITP_OP_GEMM || o->op == ITP_OP_MATMUL ||
           o->op == ITP_OP_CONV_TRANSPOSE;
}

ITP_FN bool itp_lrp_is_named(const interp_net *net, const itp_node *o, const char *name)
{
    return !strcmp(o->name, name) || !strcmp(net->values[o->out].name, name);
}

/* The rule a layer was given by name, or the one of its kind. */
ITP_FN interp_lrp_rule itp_lrp_rule_at(const itp_attr *a, const itp_node *o, bool first)
{
    for (int k = 0; k < a->d.n_layer_rules; k++)
        if (itp_lrp_is_named(a->net, o, a->d.layer_rules[k].layer)) return a->d.layer_rules[k].rule;
    return itp_lrp_rule_of(a, o->op == ITP_OP_GEMM || o->op == ITP_OP_MATMUL, first);
}

ITP_FN interp_status itp_lrp_check_layers(const itp_attr *a)
{
    for (int k = 0; k < a->d.n_layer_rules; k++) {
        const interp_lrp_layer *r = &a->d.layer_rules[k];
        bool found = false;
        for (int i = 0; r->layer && i < a->net->n_nodes && !found; i++)
            found = itp_lrp_is_layer(&a->net->nodes[i]) &&
                    itp_lrp_is_named(a->net, &a->net->nodes[i], r->layer);
        if (!found)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "lrp: no dense layer or convolution is named \"%s\"",
                            r->layer ? r->layer : "");
        if ((unsigned)r->rule > INTERP_LRP_Z_BOX)
            return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                            "lrp: the rule of layer \"%s\" is a composite, or none", r->layer);
    }
    return INTERP_OK;
}

/* The groups of a rule; how many. */
ITP_FN int itp_lrp_groups(const itp_attr *a, interp_lrp_rule rule, itp_lrp_group g[2])
{
    static const itp_lrp_group plain = {1, {{ITP_LRP_X, ITP_LRP_W, ITP_LRP_W}}, 1, 0};
    static const itp_lrp_group flat = {1, {{ITP_LRP_ONE, ITP_LRP_W_ONE, ITP_LRP_W_NONE}}, 1, 0};
    static const itp_lrp_group square = {
        1, {{ITP_LRP_ONE, ITP_LRP_W_SQUARED, ITP_LRP_W_SQUARED}}, 1, 0};
    static const itp_lrp_group plus = {2,
                                       {{ITP_LRP_X_PLUS, ITP_LRP_W_PLUS, ITP_LRP_W_PLUS},
                                        {ITP_LRP_X_MINUS, ITP_LRP_W_MINUS, ITP_LRP_W_NONE}},
                                       1,
                                       0};
    static const itp_lrp_group minus = {2,
                                        {{ITP_LRP_X_PLUS, ITP_LRP_W_MINUS, ITP_LRP_W_MINUS},
                                         {ITP_LRP_X_MINUS, ITP_LRP_W_PLUS, ITP_LRP_W_NONE}},
                                        1,
                                        0};
    static const itp_lrp_group more = {2,
                                       {{ITP_LRP_X_PLUS, ITP_LRP_W_MORE, ITP_LRP_W_MORE},
                                        {ITP_LRP_X_MINUS, ITP_LRP_W_LESS, ITP_LRP_W_NONE}},
                                       1,
                                       1};
    static const itp_lrp_group less = {2,
                                       {{ITP_LRP_X_PLUS, ITP_LRP_W_LESS, ITP_LRP_W_LESS},
                                        {ITP_LRP_X_MINUS, ITP_LRP_W_MORE, ITP_LRP_W_NONE}},
                                       1,
                                       -1};
    static const itp_lrp_group box = {3,
                                      {{ITP_LRP_X, ITP_LRP_W, ITP_LRP_W},
                                       {ITP_LRP_LOW, ITP_LRP_W_NOT_PLUS, ITP_LRP_W_NOT_PLUS},
                                       {ITP_LRP_HIGH, ITP_LRP_W_NOT_MINUS, ITP_LRP_W_NOT_MINUS}},
                                      1,
                                      0};
    switch (rule) {
    case INTERP_LRP_GAMMA: g[0] = more, g[1] = less; return 2;
    case INTERP_LRP_ALPHA_BETA:
        g[0] = plus, g[1] = minus;
        g[0].factor = (double)a->d.alpha, g[1].factor = 1 - (double)a->d.alpha;
        return 2;
    case INTERP_LRP_Z_PLUS: g[0] = plus; return 1;
    case INTERP_LRP_FLAT: g[0] = flat; return 1;
    case INTERP_LRP_W_SQUARE: g[0] = square; return 1;
    case INTERP_LRP_Z_BOX: g[0] = box; return 1;
    default: g[0] = plain; return 1;
    }
}

/* What relevance is divided by. The rule's epsilon belongs to the epsilon rule; all else has one that
   only keeps it from dividing by 0. */
ITP_FN double itp_lrp_stable(double epsilon, double z)
{
    return z >= 0 ? z + epsilon : z - epsilon;
}

#define ITP_LRP_TINY 1e-6

/* Weights or biases of a part. */
ITP_FN void itp_lrp_weights(int kind, double gamma, const float *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++) {
        const float v = from[i], plus = v > 0 ? v : 0, minus = v < 0 ? v : 0;
        switch (kind) {
        case ITP_LRP_W: to[i] = v; break;
        case ITP_LRP_W_PLUS: to[i] = plus; break;
        case ITP_LRP_W_MINUS: to[i] = minus; break;
        case ITP_LRP_W_ONE: to[i] = 1; break;
        case ITP_LRP_W_SQUARED: to[i] = v * v; break;
        case ITP_LRP_W_MORE: to[i] = v + (float)gamma * plus; break;
        case ITP_LRP_W_LESS: to[i] = v + (float)gamma * minus; break;
        case ITP_LRP_W_NOT_PLUS: to[i] = -plus; break;
        case ITP_LRP_W_NOT_MINUS: to[i] = -minus; break;
        default: to[i] = 0;
        }
    }
}

ITP_FN void itp_lrp_inputs(const itp_lrp_layer *l, int kind)
{
    const float *x = itp_x(l->w, l->node, 1 - l->weights_in);
    for (size_t i = 0; i < l->nx; i++) switch (kind) {
        case ITP_LRP_X: l->x_part[i] = x[i]; break;
        case ITP_LRP_X_PLUS: l->x_part[i] = x[i] > 0 ? x[i] : 0; break;
        case ITP_LRP_X_MINUS: l->x_part[i] = x[i] < 0 ? x[i] : 0; break;
        case ITP_LRP_LOW: l->x_part[i] = l->a->d.low; break;
        case ITP_LRP_HIGH: l->x_part[i] = l->a->d.high; break;
        default: l->x_part[i] = 1;
        }
}

/* The inputs of a part, put together for the node. */
ITP_FN void itp_lrp_part_in(const itp_lrp_layer *l, const itp_lrp_part *p, const float **in)
{
    memset(in, 0, ITP_MAX_INPUTS * sizeof *in);
    itp_lrp_inputs(l, p->x);
    itp_lrp_weights(p->w, (double)l->a->d.gamma, l->weights, l->nw, l->w_part);
    itp_lrp_weights(p->bias, (double)l->a->d.gamma, l->bias, l->nb, l->b_part);
    in[1 - l->weights_in] = l->x_part;
    in[l->weights_in] = l->w_part;
    if (itp_at(l->w, l->node)->n_in > 2) in[2] = l->b_part;
}

/* Dimensions behind that of a layer's channels: those of images. */
ITP_FN int itp_lrp_behind(const itp_node *o)
{
    return o->op == ITP_OP_CONV || o->op == ITP_OP_CONV_TRANSPOSE ? 2 : 0;
}

ITP_FN size_t itp_lrp_channels(const interp_workspace *w, int layer)
{
    const interp_shape *y = itp_shape_out(w, layer);
    return (size_t)y->dim[y->rank - 1 - itp_lrp_behind(itp_at(w, layer))];
}

/* Which channel of the output a number of it belongs to. */
ITP_FN size_t itp_lrp_channel(const itp_lrp_layer *l, size_t i)
{
    const interp_shape *y = itp_shape_out(l->w, l->node);
    size_t inner = 1;
    for (int d = 1; d <= itp_lrp_behind(itp_at(l->w, l->node)); d++)
        inner *= (size_t)y->dim[y->rank - d];
    return i / inner % itp_lrp_channels(l->w, l->node);
}

/* Output of a part into `out`. Where the node has no input for the merged bias, it is added here. */
ITP_FN void itp_lrp_forward(const itp_lrp_layer *l, const itp_lrp_part *p)
{
    const float *in[ITP_MAX_INPUTS];
    itp_lrp_part_in(l, p, in);
    itp_node_forward(l->w, l->node, in, l->out);
    if (itp_at(l->w, l->node)->n_in > 2 || !l->nb) return;
    for (size_t i = 0; i < l->ny; i++) l->out[i] += l->b_part[itp_lrp_channel(l, i)];
}

/* Whether a constant is one number, or one for each channel of the layer's output. */
ITP_FN bool itp_lrp_by_channel(const interp_workspace *w, int layer, const interp_shape *s)
{
    const int behind = itp_lrp_behind(itp_at(w, layer)), rank = itp_shape_out(w, layer)->rank;
    const size_t n = itp_count(s);
    if (n == 1) return s->rank <= rank;
    return s->rank > behind && s->rank <= rank && n == itp_lrp_channels(w, layer) &&
           (size_t)s->dim[s->rank - 1 - behind] == n;
}

/* The node that alone reads a layer's output, or what was made of it, and gives each channel times a
   constant plus a constant: a batch norm, or arithmetic; -1: none. */
ITP_FN int itp_lrp_next(const interp_workspace *w, int layer, int value)
{
    const int next = itp_rule_reader(w, value);
    if (next < 0 || itp_rule_count(w, next) != 1) return -1;
    const itp_node *o = itp_at(w, next);
    if (o->op == ITP_OP_BATCH_NORM)
        return o->in[0] == value && itp_is_constant(w, o->in[1]) && itp_is_constant(w, o->in[2])
                   ? next
                   : -1;
    if (o->op != ITP_OP_ADD && o->op != ITP_OP_SUB && o->op != ITP_OP_MUL && o->op != ITP_OP_DIV)
        return -1;
    const int other = o->in[0] == value;
    if (o->op == ITP_OP_DIV && !other) return -1;
    return itp_is_constant(w, o->in[other]) &&
                   itp_count(itp_shape_out(w, next)) == itp_count(itp_shape_out(w, layer)) &&
                   itp_lrp_by_channel(w, layer, itp_shape_in(w, next, other))
               ? next
               : -1;
}

/* What it multiplies each channel with, and then adds. */
ITP_FN void itp_lrp_scales(interp_workspace *w, int node, size_t channels, float *scale,
                           float *shift)
{
    const itp_node *o = itp_at(w, node);
    if (o->op == ITP_OP_BATCH_NORM) {
        itp_bn_scales(w, node, scale, shift);
        return;
    }
    const int other = itp_rule_moves(w, node, 0) ? 1 : 0;
    const float *v = itp_x(w, node, other);
    const size_t n = itp_count(itp_shape_in(w, node, other));
    for (size_t c = 0; c < channels; c++) {
        const float here = v[c % n];
        scale[c] = o->op == ITP_OP_MUL                 ? here
                   : o->op == ITP_OP_DIV               ? 1 / here
                   : o->op == ITP_OP_SUB && other == 0 ? -1
                                                       : 1;
        shift[c] = o->op == ITP_OP_ADD || (o->op == ITP_OP_SUB && other == 0) ? here
                   : o->op == ITP_OP_SUB                                      ? -here
                                                                              : 0;
    }
}

/* Channel of the output that weight i belongs to. */
ITP_FN size_t itp_lrp_weight_channel(const itp_lrp_layer *l, size_t i)
{
    const itp_node *o = itp_at(l->w, l->node);
    const interp_shape *s = itp_shape_in(l->w, l->node, l->weights_in);
    if (o->op == ITP_OP_CONV || (o->op == ITP_OP_GEMM && o->attrs.trans_b))
        return i / itp_max_size(1, l->nw / (size_t)s->dim[0]);
    if (o->op == ITP_OP_CONV_TRANSPOSE) { /* [I, O/groups, h, w] */
        const size_t taps = (size_t)s->dim[2] * (size_t)s->dim[3], per = (size_t)s->dim[1];
        const size_t group = i / (taps * per) / ((size_t)s->dim[0] / (size_t)o->attrs.groups);
        return group * per + i / taps % per;
    }
    return i % (size_t)s->dim[s->rank - 1];
}

/* The layer's weights and biases, with what follows; whether anything did. */
ITP_FN bool itp_lrp_merge(itp_lrp_layer *l)
{
    const itp_node *o = itp_at(l->w, l->node);
    bool merged = false;
    memcpy(l->weights, itp_x(l->w, l->node, l->weights_in), l->nw * sizeof *l->weights);
    memset(l->bias, 0, l->nb * sizeof *l->bias);
    if (o->n_in > 2) {
        const size_t n = itp_count(itp_shape_in(l->w, l->node, 2));
        for (size_t i = 0; i < l->nb; i++) l->bias[i] = itp_x(l->w, l->node, 2)[n ? i % n : 0];
    }
    float *scale = l->w_part, *shift = l->b_part; /* free until the first part */
    for (int at = itp_lrp_next(l->w, l->node, o->out); at >= 0;
         at = itp_lrp_next(l->w, l->node, itp_at(l->w, at)->out)) {
        itp_lrp_scales(l->w, at, l->nb, scale, shift);
        for (size_t i = 0; i < l->nw; i++) l->weights[i] *= scale[itp_lrp_weight_channel(l, i)];
        for (size_t c = 0; c < l->nb; c++) l->bias[c] = l->bias[c] * scale[c] + shift[c];
        merged = true;
    }
    return merged;
}

/* Relevance of a layer with constant weights. */
ITP_FN void itp_lrp_layer_rule(const itp_attr *a, interp_workspace *w, int node, int weights_in,
                               interp_lrp_rule rule)
{
    const float *r = itp_dy(w, node);
    float *scratch = a->scratch, *dx = itp_dx(w, node, 1 - weights_in);
    itp_lrp_group groups[2];
    const int n_groups = itp_lrp_groups(a, rule, groups);
    const double epsilon = rule == INTERP_LRP_EPSILON ? (double)a->d.epsilon : ITP_LRP_TINY;
    const bool add = itp_beta(w, node, 1 - weights_in) != 0;
    itp_lrp_layer l;
    memset(&l, 0, sizeof l);
    l.a = a, l.w = w, l.node = node, l.weights_in = weights_in;
    l.nx = itp_count(itp_shape_in(w, node, 1 - weights_in));
    l.nw = itp_count(itp_shape_in(w, node, weights_in));
    l.ny = itp_count(itp_shape_out(w, node));
    l.nb = itp_lrp_channels(w, node);
    l.weights = itp_take(&scratch, l.nw), l.w_part = itp_take(&scratch, itp_max_size(l.nw, l.nb));
    l.bias = itp_take(&scratch, l.nb), l.b_part = itp_take(&scratch, l.nb);
    l.x_part = itp_take(&scratch, l.nx), l.back = itp_take(&scratch, l.nx);
    l.z = itp_take(&scratch, l.ny), l.out = itp_take(&scratch, l.ny);
    l.seed = itp_take(&scratch, l.ny);
    const bool merged = itp_lrp_merge(&l);
    if (a->d.rule == INTERP_LRP_DEEP_TAYLOR) memset(l.bias, 0, l.nb * sizeof *l.bias);
    const float *own = itp_y(w, node);
    if (n_groups > 1 && merged) { /* that of what follows may be gone */
        static const itp_lrp_part plain = {ITP_LRP_X, ITP_LRP_W, ITP_LRP_W};
        itp_lrp_forward(&l, &plain);
        float *copy = itp_take(&scratch, l.ny);
        memcpy(copy, l.out, l.ny * sizeof *copy);
        own = copy;
    }
    if (!add) memset(dx, 0, l.nx * sizeof *dx);
    for (int g = 0; g < n_groups; g++) {
        memset(l.z, 0, l.ny * sizeof *l.z);
        for (int p = 0; p < groups[g].n; p++) {
            itp_lrp_forward(&l, &groups[g].part[p]);
            for (size_t i = 0; i < l.ny; i++) l.z[i] += l.out[i];
        }
        for (size_t i = 0; i < l.ny; i++) {
            const bool counts = groups[g].sign == 0 || (float)groups[g].sign * own[i] > 0;
            l.seed[i] = counts ? (float)(groups[g].factor * (double)r[i] /
                                         itp_lrp_stable(epsilon, (double)l.z[i]))
                               : 0;
        }
        for (int p = 0; p < groups[g].n; p++) {
            const float *in[ITP_MAX_INPUTS];
            float *to[ITP_MAX_INPUTS];
            memset(to, 0, sizeof to);
            to[1 - weights_in] = l.back;
            itp_lrp_part_in(&l, &groups[g].part[p], in);
            itp_node_backward(w, node, in, NULL, l.seed, to, false);
            for (size_t i = 0; i < l.nx; i++) dx[i] += l.x_part[i] * l.back[i];
        }
    }
}

/* Sums and their like: each input by what it adds, x times the gradient of R / z. share: of R. */
ITP_FN void itp_lrp_share(const itp_attr *a, interp_workspace *w, int node, double share)
{
    const itp_node *o = itp_at(w, node);
    const size_t n = itp_count(itp_shape_out(w, node));
    const float *r = itp_dy(w, node), *y = itp_y(w, node), *in[ITP_MAX_INPUTS];
    float *scratch = a->scratch, *seed = itp_take(&scratch, n), *to[ITP_MAX_INPUTS];
    memset(in, 0, sizeof in);
    for (size_t i = 0; i < n; i++)
        seed[i] = (float)(share * (double)r[i] / itp_lrp_stable(ITP_LRP_TINY, (double)y[i]));
    for (int k = 0; k < o->n_in; k++) {
        if (!itp_rule_moves(w, node, k)) continue;
        const size_t nx = itp_count(itp_shape_in(w, node, k));
        const float *x = itp_x(w, node, k);
        float *back = itp_take(&scratch, nx), *dx = itp_dx(w, node, k);
        memset(to, 0, sizeof to);
        to[k] = back;
        itp_node_backward(w, node, in, NULL, seed, to, false);
        for (size_t i = 0; i < nx; i++)
            dx[i] = x[i] * back[i] + (itp_beta(w, node, k) != 0 ? dx[i] : 0);
    }
}

/* Relevance handed on as it is, to input k; nothing to the others. */
ITP_FN void itp_lrp_pass(interp_workspace *w, int node, int k)
{
    for (int i = 0; i < itp_at(w, node)->n_in; i++) {
        if (!itp_rule_moves(w, node, i)) continue;
        const size_t n = itp_count(itp_shape_in(w, node, i));
        float *dx = itp_dx(w, node, i);
        const bool add = itp_beta(w, node, i) != 0;
        if (i == k) itp_move(w->ctx, itp_dy(w, node), 0, dx, 0, 1, n, add);
        else if (!add) memset(dx, 0, n * sizeof *dx);
    }
}

/* Which factor of a product is the gate: the one made by a function with values of 0 to 1, or the
   smaller one; -1: neither. */
ITP_FN int itp_lrp_gate(const interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    for (int k = 0; k < 2; k++) {
        const int maker = w->net->values[o->in[k]].producer;
        const int op = maker < 0 ? -1 : itp_at(w, maker)->op;
        if (op == ITP_OP_SIGMOID || op == ITP_OP_HARD_SIGMOID || op == ITP_OP_SOFTMAX) return k;
    }
    const size_t a = itp_count(itp_shape_in(w, node, 0)), b = itp_count(itp_shape_in(w, node, 1));
    return a == b ? -1 : a < b ? 0 : 1;
}

/* Softmax by its first-order expansion (Achtibat et al. 2024): x (R - y sum of R). */
ITP_FN void itp_lrp_softmax(interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(itp_at(w, node)->attrs.axis, s->rank);
    const float *x = itp_x(w, node, 0), *y = itp_y(w, node), *r = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0);
    const bool add = itp_beta(w, node, 0) != 0;
    size_t inner = 1;
    const size_t n = (size_t)s->dim[axis], all = itp_count(s);
    for (int d = axis + 1; d < s->rank; d++) inner *= (size_t)s->dim[d];
    for (size_t row = 0; row < all / itp_max_size(1, n); row++) {
        const size_t at = row / inner * n * inner + row % inner;
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)r[at + i * inner];
        for (size_t i = 0; i < n; i++) {
            const size_t k = at + i * inner;
            const double v = (double)x[k] * ((double)r[k] - (double)y[k] * sum);
            dx[k] = (float)(v + (add ? (double)dx[k] : 0));
        }
    }
}

/* Layer norm as the linear function that it is while its deviation stays: centring, weights and bias, by
   what each number adds (Ali et al. 2022; Achtibat et al. 2024). */
ITP_FN void itp_lrp_layer_norm(interp_workspace *w, int node)
{
    const size_t n = itp_count(itp_shape_in(w, node, 1)), all = itp_count(itp_shape_in(w, node, 0));
    const float *x = itp_x(w, node, 0), *gamma = itp_x(w, node, 1), *y = itp_y(w, node);
    const float *r = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0);
    const bool add = itp_beta(w, node, 0) != 0;
    for (size_t at = 0; at < all; at += n) {
        double mean = 0, square = 0, sum = 0;
        for (size_t i = 0; i < n; i++) mean += (double)x[at + i] / (double)n;
        for (size_t i = 0; i < n; i++) {
            const double c = (double)x[at + i] - mean;
            square += c * c / (double)n;
        }
        const double scale = 1 / sqrt(square + (double)itp_at(w, node)->attrs.epsilon);
        for (int round = 0; round < 2; round++)
            for (size_t i = 0; i < n; i++) {
                const double s =
                    (double)r[at + i] / itp_lrp_stable(ITP_LRP_TINY, (double)y[at + i]);
                const double g = s * (double)gamma[i] * scale;
                if (round == 0) sum += g / (double)n;
                else
                    dx[at + i] =
                        (float)((double)x[at + i] * (g - sum) + (add ? (double)dx[at + i] : 0));
            }
    }
}

ITP_FN void itp_lrp_rule(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    const itp_node *o = itp_at(w, node);
    const itp_op *row = itp_op_row(o->op);
    const int moves = itp_rule_count(w, node);
    if (row->forward == itp_forward_unary || row->forward == itp_forward_math) {
        if (a->d.rule == INTERP_LRP_EXCITATION_BACKPROP) itp_op_backward(w, node);
        else itp_lrp_pass(w, node, 0);
        return;
    }
    if (a->merged[o->out]) {
        itp_lrp_pass(w, node, itp_rule_moves(w, node, 0) ? 0 : 1);
        return;
    }
    switch (o->op) {
    case ITP_OP_CONV:
    case ITP_OP_CONV_TRANSPOSE:
    case ITP_OP_GEMM:
    case ITP_OP_MATMUL: {
        const int weights = itp_rule_moves(w, node, 0) ? 1 : 0;
        if (moves > 1) itp_lrp_share(a, w, node, 0.5);
        else
            itp_lrp_layer_rule(a, w, node, weights,
                               itp_lrp_rule_at(a, o, !a->mark[o->in[1 - weights]]));
        return;
    }
    case ITP_OP_LAYER_NORM:
        if (moves == 1 && itp_rule_moves(w, node, 0)) itp_lrp_layer_norm(w, node);
        else itp_lrp_pass(w, node, 0);
        return;
    case ITP_OP_BATCH_NORM:
    case ITP_OP_LRN: itp_lrp_pass(w, node, 0); return;
    case ITP_OP_DIV: itp_lrp_pass(w, node, itp_rule_moves(w, node, 0) ? 0 : 1); return;
    case ITP_OP_MUL:
        if (moves < 2) itp_lrp_pass(w, node, itp_rule_moves(w, node, 0) ? 0 : 1);
        else if (a->d.gate == INTERP_LRP_SIGNAL_TAKES_ALL && itp_lrp_gate(w, node) >= 0)
            itp_lrp_pass(w, node, 1 - itp_lrp_gate(w, node));
        else itp_lrp_share(a, w, node, 0.5);
        return;
    case ITP_OP_ADD:
    case ITP_OP_SUB:
    case ITP_OP_AVERAGE_POOL:
    case ITP_OP_GLOBAL_AVERAGE_POOL:
    case ITP_OP_REDUCE_SUM:
    case ITP_OP_REDUCE_MEAN:
    case ITP_OP_RESIZE_AXIS: itp_lrp_share(a, w, node, 1); return;
    case ITP_OP_SOFTMAX: itp_lrp_softmax(w, node); return;
    default: itp_op_backward(w, node);
    }
}

/* ---- the method */

ITP_FN interp_status itp_attr_settle_lrp(itp_attr *a)
{
    interp_attribute_desc *d = &a->d;
    if ((unsigned)d->rule >= INTERP_LRP_RULE_COUNT || (unsigned)d->gate > INTERP_LRP_HALF ||
        !(d->epsilon >= 0) || !(d->gamma >= 0) || !(d->alpha >= 0) || !(d->low <= d->high))
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT, "lrp: a rule or a constant of it is wrong");
    const bool preset =
        d->rule >= INTERP_LRP_PRESET_A && d->rule <= INTERP_LRP_PRESET_B_FLAT; /* iNNvestigate's */
    if (d->epsilon == 0) d->epsilon = preset ? 0.1f : 1e-6f;
    if (d->gamma == 0) d->gamma = 0.25f;
    if (d->alpha == 0) d->alpha = 2;
    return itp_lrp_check_layers(a);
}

ITP_FN size_t itp_attr_scratch_lrp(const itp_attr *a, int batch)
{
    return itp_add_size(itp_rule_most(a->net, batch, 3, 6), 256);
}

ITP_FN void itp_attr_layout_lrp(itp_arena *m, itp_attr *a)
{
    a->mark = (bool *)itp_arena_alloc(m, (size_t)a->net->n_values);
    a->merged = (bool *)itp_arena_alloc(m, (size_t)a->net->n_values);
}

/* Relevance of target j of the samples in the slots. */
ITP_FN interp_status itp_lrp_back(itp_attr *a, int first, int j)
{
    const size_t k = (size_t)a->k, n = (size_t)a->outputs;
    memset(a->seed, 0, (size_t)a->batch * n * sizeof *a->seed);
    for (int i = 0; i < a->filled; i++) {
        const int target = a->report[(size_t)(first + i) * k + (size_t)j].target;
        const float *y = interp_workspace_target(a->w) + (size_t)i * n;
        float *seed = a->seed + (size_t)i * n;
        if (target >= 0) seed[target] = y[target];
        else memcpy(seed, y, n * sizeof *y);
    }
    ITP_TRY(interp_backward(a->w, a->seed));
    for (int i = 0; i < a->filled; i++) {
        const size_t row = (size_t)(first + i) * k + (size_t)j;
        const float *r = itp_attr_grad(a) + (size_t)i * a->size;
        double total = 0;
        for (size_t m = 0; m < a->size; m++) total += (double)r[m];
        memcpy(a->result + row * a->size, r, a->size * sizeof *r);
        a->report[row].residual = total - a->report[row].output;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_run_lrp(itp_attr *a)
{
    const interp_net *net = a->net;
    for (int i = 0; i < net->n_nodes; i++) { /* what lies behind a layer with weights */
        const itp_node *o = &net->nodes[i];
        bool behind = itp_lrp_is_layer(o);
        for (int k = 0; k < o->n_in; k++) behind = behind || a->mark[o->in[k]];
        a->mark[o->out] = behind;
        if (!itp_lrp_is_layer(o) || itp_rule_count(a->w, i) != 1) continue;
        for (int at = itp_lrp_next(a->w, i, o->out); at >= 0;
             at = itp_lrp_next(a->w, i, net->nodes[at].out))
            a->merged[net->nodes[at].out] = true;
    }
    if (a->d.low == 0 && a->d.high == 0) {
        a->d.low = a->d.high = a->x[0];
        for (size_t i = 0; i < (size_t)a->n * a->size; i++) {
            a->d.low = a->x[i] < a->d.low ? a->x[i] : a->d.low;
            a->d.high = a->x[i] > a->d.high ? a->x[i] : a->d.high;
        }
    }
    a->w->rule = itp_lrp_rule, a->w->rule_user = a;
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        for (int i = 0; i < a->filled; i++)
            itp_attr_put(a, a->x + (size_t)(at + i) * a->size, itp_attr_slot(a, i, at + i));
        ITP_TRY(itp_attr_forward(a));
        for (int j = 0; j < a->k; j++) ITP_TRY(itp_lrp_back(a, at, j));
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

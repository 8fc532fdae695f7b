/* ---- attr/cone.c: copies that differ from x within a box: only what it reaches is run anew -------

   Where a value of the network is images, a box of the input reaches a box of it. A network of
   boxes, of the original's nodes and weights, runs on these alone for as long as they are small:
   before a node that reads around its pixels, a patch is cut out of the value's numbers at x and the
   box is laid over it (op Patch). Sums run in the order of whole images, to the same bits: the first
   nodes, which boxes go through, do without Winograd in all passes, also where they run whole. */

#define ITP_CONE_LARGE  0.9 /* share of the image beyond which a box is not worth its patches */
#define ITP_CONE_GAIN   0.8 /* share of the cost of whole passes beyond which they run */
#define ITP_CONE_NUMBER 8   /* cost of moving a number, in products */
#define ITP_CONE_WINOGRAD                                                                          \
    0.55 /* of a product where images are whole and go by Winograd, as measured */

/* Boxes are grouped by their distance from the edges, beyond which all is cut off: at most CLASSES
   along an axis, and at least MEMBERS boxes in a group on average. */
enum {
    ITP_CONE_CLASSES = 3,
    ITP_CONE_GROUPS = ITP_CONE_CLASSES * ITP_CONE_CLASSES,
    ITP_CONE_MEMBERS = 32
};

/* How the boxes of a value follow from those of other places: what a window over `of` reaches or,
   with >= 0, what lies around the boxes of both. Rows, then columns. */
typedef struct itp_cone_place {
    int of, with;
    int stride[2], pad[2], reach[2]; /* of the window */
    int size[2];                     /* of the images */
    int most[2];                     /* of the group's largest box; all are given its size */
    bool as_of, as_with;             /* every box of the group is that of the other place */
} itp_cone_place;

typedef struct itp_cone_group {
    interp_net *net; /* of boxes and of where they lie; NULL: no members */
    int (*most)[2];  /* [n_places] */
    int members;     /* boxes of the input */
    int plain;       /* its first nodes, those of the original's */
} itp_cone_group;

struct itp_cone {
    bool *needed; /* [n_nodes] of the whole network, as all that follows: for output 0 */
    bool *moves;  /* [n_values]: depends on the input */
    int *traced;  /* [n_values]: place of its boxes; -1: none */
    size_t *base; /* [n_values]: where in `numbers` it is at x; SIZE_MAX: nobody asks */
    /* [n_values], while a group's net is made: as `traced`; in that net, as boxes and whole; -1 */
    int *place, *made, *full;
    itp_cone_place *places;
    int n_places;
    int (*lo)[2], (*hi)[2]; /* [n_places]: of one copy */
    itp_box *boxes;         /* [features], NULL where boxes follow from their number */
    int n_boxes, classes;
    double *costs; /* [n_nodes + 1]: of all copies when boxes go no further than the nodes before */
    int plain;     /* how far they go */
    itp_cone_group group[ITP_CONE_GROUPS];
    interp_workspace_desc work;
    interp_workspace *w;
    int open;                 /* the group it is of; -1: none */
    float *in, *at, *numbers; /* boxes of the input; where all boxes lie; values at x */
    size_t floats;            /* of `numbers` */
    int *index;               /* [batch]: which copies */
    double *output; /* [points]: windows overlap and are taken in their order; else NULL */
};

/* ---- boxes of the input */

ITP_FN itp_box itp_cone_box(const itp_attr *a, int index)
{
    itp_box b;
    if (a->cone->boxes) return a->cone->boxes[index];
    for (int i = 2; i >= 0; i--) {
        const int dim = a->result_shape.dim[i], window = a->p.window[i];
        const bool windows = a->row->kind == ITP_P_OCCLUSION;
        const int steps = windows ? a->p.steps[i] : dim, at = index % steps;
        b.lo[i] = windows ? at * a->p.stride[i] : at;
        b.hi[i] = windows ? itp_min(dim, b.lo[i] + window) : at + 1;
        index /= steps;
    }
    return b;
}

ITP_FN int itp_cone_group_of(const itp_attr *a, int index)
{
    const int classes = a->cone->classes;
    const itp_box b = itp_cone_box(a, index);
    int group = 0;
    for (int i = 1; i < 3; i++) {
        const int dim = a->result_shape.dim[i], edge = itp_min(b.lo[i], dim - b.hi[i]);
        group = group * classes + (int)((int64_t)edge * 2 * classes / (dim + 1));
    }
    return group;
}

/* Boxes around features. */
ITP_FN interp_status itp_cone_bound(itp_attr *a)
{
    itp_box *boxes = a->cone->boxes;
    const int height = a->result_shape.dim[1], width = a->result_shape.dim[2];
    if (!boxes) return INTERP_OK;
    a->p.id = (int32_t *)interp_alloc(a->ctx, itp_mul_size(a->size, sizeof *a->p.id));
    if (!a->p.id) return INTERP_NO_MEMORY;
    itp_perturb_ids(a);
    for (int k = 0; k < (int)a->size; k++) {
        itp_box *b = &boxes[a->p.id[k]];
        const int at[3] = {k / width / height, k / width % height, k % width};
        for (int i = 0; i < 3; i++) { /* a box without extent has not been met yet */
            b->lo[i] = b->hi[i] ? itp_min(b->lo[i], at[i]) : at[i];
            b->hi[i] = itp_max(b->hi[i], at[i] + 1);
        }
    }
    interp_free(a->ctx, a->p.id);
    a->p.id = NULL;
    return INTERP_OK;
}

/* Where the boxes of all values lie for one of the input. */
ITP_FN void itp_cone_lay(const itp_attr *a, int index)
{
    const itp_cone *c = a->cone;
    const itp_box in = itp_cone_box(a, index);
    for (int p = 0; p < c->n_places; p++)
        for (int i = 0; i < 2; i++) {
            const itp_cone_place *o = &c->places[p];
            int lo = in.lo[i + 1], hi = in.hi[i + 1];
            if (p && o->with >= 0) {
                lo = itp_min(c->lo[o->of][i], c->lo[o->with][i]);
                hi = itp_max(c->hi[o->of][i], c->hi[o->with][i]);
            } else if (p) { /* nothing may be reached at all: then any pixel will do */
                const int first = itp_max(0, c->lo[o->of][i] + o->pad[i] - o->reach[i]);
                lo = itp_min(itp_div_up(first, o->stride[i]), o->size[i] - 1);
                hi = (c->hi[o->of][i] - 1 + o->pad[i]) / o->stride[i] + 1;
                hi = itp_max(lo + 1, itp_min(hi, o->size[i]));
            }
            c->lo[p][i] = lo, c->hi[p][i] = hi;
        }
}

/* ---- which values are boxes, and where */

ITP_FN int itp_cone_add(itp_cone *c, int of, int with, const interp_shape *images)
{
    itp_cone_place *p = &c->places[c->n_places];
    memset(p, 0, sizeof *p);
    p->of = of, p->with = with;
    p->size[0] = images->dim[2], p->size[1] = images->dim[3];
    return c->n_places++;
}

ITP_FN bool itp_same_sides(const interp_shape *a, const interp_shape *b)
{
    return a->rank == 4 && b->rank == 4 && a->dim[2] == b->dim[2] && a->dim[3] == b->dim[3];
}

/* Whether a node gives each pixel from the same pixels of its inputs, of which those that do not
   move are the same for all pixels. */
ITP_FN bool itp_cone_by_pixel(const interp_net *net, const itp_node *node, const bool *moves)
{
    const itp_op *row = itp_op_row(node->op);
    const bool pairs = row->shape == itp_shape_binary || row->shape == itp_shape_onto;
    const bool concat = node->op == ITP_OP_CONCAT && itp_axis(node->attrs.axis, 4) == 1;
    for (int i = 0; i < node->n_in; i++) {
        const interp_shape *x = &net->values[node->in[i]].shape;
        if (moves[node->in[i]] ? !itp_same_sides(x, &net->values[node->out].shape) : concat)
            return false;
        for (int d = 1; d <= 2 && d <= x->rank && pairs && !moves[node->in[i]]; d++)
            if (x->dim[x->rank - d] != 1) return false;
    }
    return pairs || concat || row->forward == itp_forward_unary ||
           row->forward == itp_forward_math || node->op == ITP_OP_BATCH_NORM ||
           node->op == ITP_OP_IDENTITY || node->op == ITP_OP_DROPOUT;
}

/* Whether it is a window whose results do not depend on where it lies. */
ITP_FN bool itp_cone_window(const itp_node *node)
{
    const int *pad = node->attrs.pad;
    const bool pads =
        pad[0] || pad[1] || pad[2] || pad[3] || node->attrs.same || node->attrs.ceil_mode;
    return node->op == ITP_OP_CONV || node->op == ITP_OP_MAX_POOL ||
           (node->op == ITP_OP_AVERAGE_POOL && !pads);
}

/* The place of a node's output, -1 when it is none of boxes. */
ITP_FN int itp_cone_reach(itp_cone *c, const interp_net *net, const itp_node *node)
{
    const interp_shape *y = &net->values[node->out].shape;
    const bool window = itp_cone_window(node);
    int at = -1;
    if (y->rank != 4 || !(window || itp_cone_by_pixel(net, node, c->moves))) return -1;
    for (int i = 0; i < node->n_in; i++) {
        const int here = c->traced[node->in[i]];
        if (!c->moves[node->in[i]]) continue;
        if (here < 0 || (window && i)) return -1;
        at = at < 0 || at == here ? here : itp_cone_add(c, at, here, y);
    }
    if (!window || at < 0) return at;
    const itp_plane g = itp_plane_of(&node->attrs, &net->values[node->in[0]].shape);
    at = itp_cone_add(c, at, -1, y);
    itp_cone_place *p = &c->places[at];
    p->stride[0] = g.stride_y, p->stride[1] = g.stride_x;
    p->pad[0] = g.pad_y, p->pad[1] = g.pad_x;
    p->reach[0] = (g.taps_y - 1) * g.dilation_y, p->reach[1] = (g.taps_x - 1) * g.dilation_x;
    return at;
}

ITP_FN void itp_cone_trace(itp_cone *c, const interp_net *net)
{
    const int in = net->inputs[0];
    bool *wanted = c->moves; /* used for values wanted first */
    wanted[net->outputs[0]] = true;
    for (int n = net->n_nodes - 1; n >= 0; n--) {
        c->needed[n] = wanted[net->nodes[n].out];
        for (int i = 0; c->needed[n] && i < net->nodes[n].n_in; i++)
            wanted[net->nodes[n].in[i]] = true;
    }
    for (int v = 0; v < net->n_values; v++)
        c->moves[v] = false, c->traced[v] = -1, c->base[v] = SIZE_MAX;
    c->moves[in] = true;
    c->traced[in] = itp_cone_add(c, -1, -1, &net->values[in].shape);
    for (int n = 0; n < net->n_nodes; n++) {
        const itp_node *node = &net->nodes[n];
        for (int i = 0; i < node->n_in; i++)
            c->moves[node->out] = c->moves[node->out] || c->moves[node->in[i]];
        if (c->needed[n]) c->traced[node->out] = itp_cone_reach(c, net, node);
    }
}

/* The sizes of a group's boxes, and which places are the same for it. */
ITP_FN void itp_cone_measure(const itp_attr *a, int group)
{
    const itp_cone *c = a->cone;
    a->cone->group[group].members = 0;
    for (int p = 0; p < c->n_places; p++) {
        itp_cone_place *o = &c->places[p];
        o->most[0] = o->most[1] = 1;
        o->as_of = o->as_with = o->with >= 0;
    }
    for (int k = 0; k < c->n_boxes; k++) {
        if (itp_cone_group_of(a, k) != group) continue;
        a->cone->group[group].members++;
        itp_cone_lay(a, k);
        for (int p = 0; p < c->n_places; p++)
            for (int i = 0; i < 2; i++) {
                itp_cone_place *o = &c->places[p];
                o->most[i] = itp_max(o->most[i], c->hi[p][i] - c->lo[p][i]);
                for (int other = 0; other < 2 && o->with >= 0; other++) {
                    const int q = other ? o->with : o->of;
                    if (c->lo[p][i] != c->lo[q][i] || c->hi[p][i] != c->hi[q][i])
                        *(other ? &o->as_with : &o->as_of) = false;
                }
            }
    }
    for (int p = 0; p < c->n_places; p++)
        memcpy(c->group[group].most[p], c->places[p].most, sizeof c->places[p].most);
}

/* The largest box, of the image. */
ITP_FN double itp_cone_share(const itp_cone_place *p)
{
    return (double)p->most[0] / p->size[0] * ((double)p->most[1] / p->size[1]);
}

/* Values that are better run whole lose their place. A node that only changes pixels stays with its
   input, so that it can be fused with what came before. */
ITP_FN void itp_cone_choose(itp_cone *c, const interp_net *net)
{
    for (int v = 0; v < net->n_values; v++) {
        c->place[v] = c->traced[v];
        c->made[v] = c->full[v] = -1;
    }
    for (int n = 0; n < net->n_nodes; n++) {
        const itp_node *node = &net->nodes[n];
        int *at = &c->place[node->out], moving = 0;
        bool boxes = true;
        if (*at < 0) continue;
        for (int i = 0; i < node->n_in; i++) {
            moving += c->moves[node->in[i]];
            boxes = boxes && (!c->moves[node->in[i]] || c->place[node->in[i]] >= 0);
        }
        while (c->places[*at].as_of || c->places[*at].as_with)
            *at = c->places[*at].as_of ? c->places[*at].of : c->places[*at].with;
        const itp_cone_place *p = &c->places[*at];
        const bool large = n >= c->plain || itp_cone_share(p) > ITP_CONE_LARGE;
        if (!boxes || (large && (moving > 1 || itp_cone_window(node)))) *at = -1;
    }
}

/* ---- the net of boxes; -1 with the net's error set when memory ran out */

ITP_FN int itp_cone_constant(interp_net *to, const itp_value *from, itp_kind kind)
{
    const int v = itp_add_value(to, "", kind, &from->shape);
    if (v < 0) return -1;
    to->values[v].dtype = from->dtype;
    to->values[v].data = kind == from->kind ? from->data : NULL;
    to->values[v].borrowed = true;
    return v;
}

/* What a node reads of a value: the patch for boxes at a place, or with place -1 all of it. window:
   the node is the one that leads to the place. */
ITP_FN int itp_cone_patch(itp_cone *c, interp_net *to, const interp_net *net, int value, int place,
                          bool window, float outside)
{
    const itp_value *v = &net->values[value];
    itp_attrs attrs;
    memset(&attrs, 0, sizeof attrs);
    attrs.start = 2 * c->place[value], attrs.length = place < 0 ? -1 : 2 * place;
    attrs.alpha = outside;
    for (int i = 0; i < 2; i++) {
        const itp_cone_place *p = &c->places[itp_max(0, place)];
        attrs.stride[i] = window ? p->stride[i] : 1, attrs.pad[i] = window ? p->pad[i] : 0;
        attrs.shape.dim[i] = place < 0 ? v->shape.dim[2 + i]
                             : window  ? (p->most[i] - 1) * p->stride[i] + p->reach[i] + 1
                                       : p->most[i];
    }
    if (c->base[value] == SIZE_MAX) {
        c->base[value] = c->floats;
        c->floats += itp_round_up(itp_count(&v->shape), 16);
    }
    const int base = itp_cone_constant(to, v, ITP_BUFFER);
    if (base < 0) return -1;
    to->values[base].offset = c->base[value];
    const int in[3] = {c->made[value], base, to->inputs[1]};
    return itp_add_node(to, ITP_OP_PATCH, "patch", "", 3, in, &attrs) - 1;
}

/* A whole value, or one that does not move. */
ITP_FN int itp_cone_whole(itp_cone *c, interp_net *to, const interp_net *net, int value)
{
    if (c->place[value] < 0) {
        if (c->made[value] < 0)
            c->made[value] = itp_cone_constant(to, &net->values[value], net->values[value].kind);
        return c->made[value];
    }
    if (c->full[value] < 0) c->full[value] = itp_cone_patch(c, to, net, value, -1, false, 0);
    return c->full[value];
}

ITP_FN void itp_cone_node(itp_cone *c, interp_net *to, const interp_net *net, const itp_node *node)
{
    const int place = c->place[node->out];
    const bool window = place >= 0 && itp_cone_window(node);
    const float outside = node->op == ITP_OP_MAX_POOL ? -(float)INFINITY : 0;
    itp_attrs attrs = node->attrs;
    int in[ITP_MAX_INPUTS];
    for (int i = 0; i < node->n_in && !to->status; i++) {
        const int v = node->in[i];
        if (place < 0 || !c->moves[v]) in[i] = itp_cone_whole(c, to, net, v);
        else if (c->place[v] == place && !window) in[i] = c->made[v];
        else in[i] = itp_cone_patch(c, to, net, v, place, window, outside);
    }
    if (window) {
        memset(attrs.pad, 0, sizeof attrs.pad);
        attrs.same = attrs.ceil_mode = false;
    }
    c->made[node->out] = itp_add_node(to, node->op, node->name, "", node->n_in, in, &attrs) - 1;
}

ITP_FN interp_status itp_cone_build(itp_cone *c, const interp_net *net, itp_cone_group *group)
{
    interp_shape box = net->values[net->inputs[0]].shape;
    const interp_shape at = itp_shape_of(2, 1, 2 * c->n_places, 1, 1);
    interp_net *to = group->net = interp_net_new(net->ctx, net->name);
    if (!to) return INTERP_NO_MEMORY;
    for (int i = 0; i < 2; i++) box.dim[2 + i] = c->places[0].most[i];
    to->n_inputs = 2;
    to->inputs[0] = c->made[net->inputs[0]] = itp_add_value(to, "boxes", ITP_INPUT, &box);
    to->inputs[1] = itp_add_value(to, "places", ITP_INPUT, &at);
    for (int n = 0; n < net->n_nodes && !to->status; n++) {
        if (c->needed[n]) itp_cone_node(c, to, net, &net->nodes[n]);
        if (n < c->plain) group->plain = to->n_nodes;
    }
    if (!to->status) to->outputs[0] = itp_cone_whole(c, to, net, net->outputs[0]);
    to->n_outputs = 1;
    to->built = true;
    return to->status;
}

/* Whether a node is a convolution that goes by Winograd where it may. */
ITP_FN bool itp_cone_winograd(const interp_net *net, int node, bool many)
{
    const itp_node *o = &net->nodes[node];
    if (o->op != ITP_OP_CONV || net->ctx->desc.no_winograd) return false;
    itp_conv c = itp_conv_of(&o->attrs, &net->values[o->in[0]].shape, &net->values[o->in[1]].shape);
    c.many = many;
    return itp_winograd_side(&c) > 0;
}

/* A node in products. plain: without Winograd. */
ITP_FN double itp_cone_node_cost(const itp_attr *a, const interp_net *net, int n, bool plain)
{
    const itp_node *node = &net->nodes[n];
    const itp_op *row = itp_op_row(node->op);
    const double numbers = ITP_CONE_NUMBER * (double)itp_count(&net->values[node->out].shape);
    const bool fast = !plain && itp_cone_winograd(net, n, itp_attr_work(a).small_winograd);
    return numbers + (row->macs ? row->macs(net, node) : 0) * (fast ? ITP_CONE_WINOGRAD : 1);
}

/* In products; needed: NULL or the nodes that count; the first `plain` are without Winograd. */
ITP_FN double itp_cone_cost(const itp_attr *a, const interp_net *net, const bool *needed, int plain)
{
    double cost = 0;
    for (int n = 0; n < net->n_nodes; n++)
        if (!needed || needed[n]) cost += itp_cone_node_cost(a, net, n, n < plain);
    return cost;
}

/* In products, of a sample: all copies, two whole passes, and packing the weights of each group. */
ITP_FN double itp_cone_all(const itp_attr *a, double whole)
{
    const itp_cone *c = a->cone;
    double cost = 2 * whole;
    for (int g = 0; g < ITP_CONE_GROUPS; g++) {
        const interp_net *net = c->group[g].net;
        if (!net) continue;
        cost += itp_cone_cost(a, net, NULL, c->group[g].plain) * c->group[g].members *
                (a->points / c->n_boxes);
        for (int v = 0; v < net->n_values && c->classes > 1; v++)
            if (net->values[v].kind == ITP_PARAM)
                cost += ITP_CONE_NUMBER * (double)itp_count(&net->values[v].shape);
    }
    return cost;
}

/* Adds what the copies of a group cost, for each node that may be the first whose images are whole. */
ITP_FN void itp_cone_add_costs(const itp_attr *a, int members)
{
    itp_cone *c = a->cone;
    const interp_net *net = a->net;
    for (int cut = 0; cut <= net->n_nodes; cut++) {
        if (!isfinite(c->costs[cut])) continue;
        c->plain = cut;
        itp_cone_choose(c, net);
        for (int n = 0; n < net->n_nodes; n++) {
            const int at = c->place[net->nodes[n].out];
            if (c->needed[n])
                c->costs[cut] += members * itp_cone_node_cost(a, net, n, n < cut) *
                                 (at < 0 ? 1 : itp_cone_share(&c->places[at]));
        }
    }
}

/* Where images are whole for all: before a convolution that then goes by Winograd, or nowhere. */
ITP_FN void itp_cone_cut(const itp_attr *a)
{
    itp_cone *c = a->cone;
    const interp_net *net = a->net;
    const bool many = itp_attr_work(a).small_winograd;
    for (int n = 0; n < net->n_nodes; n++)
        c->costs[n] = c->needed[n] && itp_cone_winograd(net, n, many) ? 0 : (double)INFINITY;
    c->costs[net->n_nodes] = 0;
    for (int g = 0; g < ITP_CONE_GROUPS; g++) {
        itp_cone_measure(a, g);
        if (c->group[g].members) itp_cone_add_costs(a, c->group[g].members);
    }
    c->plain = net->n_nodes;
    for (int n = net->n_nodes - 1; n >= 0; n--)
        if (c->costs[n] < c->costs[c->plain]) c->plain = n;
}

/* ---- its life */

ITP_FN itp_cone *itp_cone_arrays(itp_arena *m, itp_cone *c, const interp_net *net, int boxes)
{
    const size_t v = (size_t)net->n_values, n = (size_t)net->n_nodes;
    size_t places = 1;
    for (int i = 0; i < net->n_nodes; i++) places += (size_t)net->nodes[i].n_in;
    itp_cone *placed = (itp_cone *)itp_arena_alloc(m, sizeof *c);
    c->needed = (bool *)itp_arena_alloc(m, n * sizeof *c->needed);
    c->moves = (bool *)itp_arena_alloc(m, v * sizeof *c->moves);
    c->traced = (int *)itp_arena_alloc(m, v * sizeof *c->traced);
    c->base = (size_t *)itp_arena_alloc(m, v * sizeof *c->base);
    c->place = (int *)itp_arena_alloc(m, v * sizeof *c->place);
    c->made = (int *)itp_arena_alloc(m, v * sizeof *c->made);
    c->full = (int *)itp_arena_alloc(m, v * sizeof *c->full);
    c->costs = (double *)itp_arena_alloc(m, (n + 1) * sizeof *c->costs);
    c->places = (itp_cone_place *)itp_arena_alloc(m, places * sizeof *c->places);
    c->lo = (int(*)[2])itp_arena_alloc(m, places * sizeof *c->lo);
    c->hi = (int(*)[2])itp_arena_alloc(m, places * sizeof *c->hi);
    for (int g = 0; g < ITP_CONE_GROUPS; g++)
        c->group[g].most = (int(*)[2])itp_arena_alloc(m, places * sizeof *c->lo);
    if (boxes) c->boxes = (itp_box *)itp_arena_alloc(m, (size_t)boxes * sizeof *c->boxes);
    return placed;
}

ITP_FN void itp_cone_close(itp_attr *a)
{
    itp_cone *c = a->cone;
    if (!c) return;
    interp_workspace_free(c->w);
    for (int g = 0; g < ITP_CONE_GROUPS; g++) interp_net_free(c->group[g].net);
    interp_free(a->ctx, c);
    a->cone = NULL;
}

/* Makes a->cone. tiles: features whose boxes must be looked for. */
ITP_FN interp_status itp_cone_make(itp_attr *a, int tiles, int boxes)
{
    itp_arena m = {NULL, 0};
    itp_cone c;
    memset(&c, 0, sizeof c);
    c.n_boxes = boxes, c.open = -1;
    for (c.classes = ITP_CONE_CLASSES; c.classes > 1; c.classes--)
        if (boxes / (c.classes * c.classes) >= ITP_CONE_MEMBERS) break;
    itp_cone_arrays(&m, &c, a->net, tiles);
    m.base = (char *)itp_calloc(a->ctx, 1, m.used);
    if (!m.base) return INTERP_NO_MEMORY;
    m.used = 0;
    a->cone = itp_cone_arrays(&m, &c, a->net, tiles);
    *a->cone = c;
    itp_cone_trace(a->cone, a->net);
    ITP_TRY(itp_cone_bound(a));
    itp_cone_cut(a);
    for (int g = 0; g < ITP_CONE_GROUPS; g++) {
        itp_cone_measure(a, g);
        if (!a->cone->group[g].members) continue; /* no box lies there */
        itp_cone_choose(a->cone, a->net);
        ITP_TRY(itp_cone_build(a->cone, a->net, &a->cone->group[g]));
    }
    return INTERP_OK;
}

/* Makes a->cone where small boxes tell copies from x and it saves work. Where memory does not
   suffice there is none: whole passes take less. */
ITP_FN void itp_cone_open(itp_attr *a)
{
    const interp_net *net = a->net;
    interp_memory *memory = &a->ctx->memory;
    const size_t used = memory->used, peak = memory->peak;
    const bool windows = a->row->kind == ITP_P_OCCLUSION, features = !windows;
    const int tiles = features && (a->d.mask || a->p.tile_rows) ? a->p.count : 0;
    if (a->inside || a->whole_passes || !itp_attr_needs(a, ITP_ATTR_LOCAL) || net->whole ||
        net->fixed_batch || net->values[net->inputs[0]].shape.rank != 4)
        return;
    memory->peak = used;
    bool gains = !itp_cone_make(a, tiles, windows ? a->points : a->p.count);
    if (gains) {
        const double whole = itp_cone_cost(a, net, a->cone->needed, 0);
        gains = itp_cone_all(a, whole) <= ITP_CONE_GAIN * whole * a->points;
    }
    a->plain_nodes = gains ? a->cone->plain : 0;
    a->cone_bytes = memory->used - used, a->cone_peak = memory->peak - used;
    memory->peak = itp_max_size(peak, memory->peak);
    if (!gains) itp_cone_close(a);
}

ITP_FN void itp_cone_layout(itp_arena *m, itp_attr *a)
{
    itp_cone *c = a->cone;
    const size_t b = (size_t)c->work.batch;
    size_t most = 0;
    for (int g = 0; g < ITP_CONE_GROUPS; g++) {
        const interp_net *net = c->group[g].net;
        if (net) most = itp_max_size(most, itp_count(&net->values[net->inputs[0]].shape));
    }
    c->in = itp_arena_floats(m, itp_mul_size(b, most));
    c->at = itp_arena_floats(m, itp_mul_size(b, 2 * (size_t)c->n_places));
    c->numbers = itp_arena_floats(m, c->floats);
    c->index = (int *)itp_arena_alloc(m, itp_mul_size(b, sizeof *c->index));
    if (a->row->kind == ITP_P_OCCLUSION)
        c->output =
            (double *)itp_arena_alloc(m, itp_mul_size((size_t)a->points, sizeof *c->output));
}

/* The workspace of a group: batches of nearly the same size. */
ITP_FN interp_workspace_desc itp_cone_work(const itp_attr *a, int group)
{
    const itp_cone *c = a->cone;
    interp_workspace_desc d = c->work;
    d.plain_nodes = c->group[group].plain;
    d.small_winograd = itp_attr_work(a).small_winograd;
    const int copies = c->group[group].members * (a->points / c->n_boxes);
    d.batch = itp_div_up(copies, itp_div_up(copies, d.batch));
    return d;
}

/* All it takes at a batch but for the arena: one workspace at a time. */
ITP_FN interp_status itp_cone_bytes(itp_attr *a, int batch, size_t packed, size_t *bytes)
{
    itp_cone *c = a->cone;
    c->work.batch = batch, c->work.constant_weights = packed > 0, c->work.packed_bytes = packed;
    for (int g = 0; g < ITP_CONE_GROUPS; g++) {
        size_t here;
        if (!c->group[g].net) continue;
        const interp_workspace_desc d = itp_cone_work(a, g);
        ITP_TRY(interp_workspace_bytes(a->ctx, c->group[g].net, &d, &here));
        *bytes = itp_max_size(*bytes, here);
    }
    return INTERP_OK;
}

/* ---- passes */

/* The numbers of a value at x, where they are needed. */
ITP_FN void itp_cone_keep(void *user, interp_workspace *w, int node)
{
    const itp_cone *c = (const itp_cone *)user;
    const int out = w->net->nodes[node].out;
    if (c->base[out] == SIZE_MAX) return;
    memcpy(c->numbers + c->base[out], w->data[out], itp_count(&w->shape[out]) * sizeof(float));
}

/* All values at a sample. */
ITP_FN interp_status itp_cone_start(itp_attr *a, int sample)
{
    const itp_cone *c = a->cone;
    const size_t in = c->base[a->net->inputs[0]];
    const float *x = a->x + (size_t)sample * a->size;
    memcpy(a->in, x, a->size * sizeof *x);
    if (in != SIZE_MAX) memcpy(c->numbers + in, x, a->size * sizeof *x);
    a->w->after = itp_cone_keep, a->w->after_user = a->cone;
    a->w->after_node = ITP_EVERY_NODE;
    a->filled = 1;
    const interp_status status = itp_attr_forward(a);
    a->w->after_node = -1;
    return status;
}

/* Copy `index` of a sample: its box of the input, and where its boxes lie. */
ITP_FN void itp_cone_put(const itp_attr *a, int sample, int index, int slot)
{
    const itp_cone *c = a->cone;
    const bool donors = a->row->kind == ITP_P_PERMUTATION;
    const int feature = donors ? index / a->d.n_samples : index;
    const itp_box box = itp_cone_box(a, feature);
    const int(*most)[2] = (const int(*)[2])c->group[c->open].most;
    const int height = a->result_shape.dim[1], width = a->result_shape.dim[2];
    const int channels = a->result_shape.dim[0];
    const float *x = a->x + (size_t)sample * a->size;
    const float *from = donors ? itp_perturb_donor(a, sample, index) : itp_attr_baseline(a, sample);
    float *at = c->at + (size_t)slot * 2 * (size_t)c->n_places;
    float *to = c->in + (size_t)slot * (size_t)(channels * most[0][0] * most[0][1]);
    itp_cone_lay(a, feature);
    for (int p = 0; p < c->n_places; p++)
        for (int i = 0; i < 2; i++)
            at[2 * p + i] = (float)itp_min(c->lo[p][i], c->places[p].size[i] - most[p][i]);
    const int top = (int)at[0], left = (int)at[1];
    for (int plane = 0; plane < channels; plane++)
        for (int r = top; r < top + most[0][0]; r++)
            for (int q = left; q < left + most[0][1]; q++) {
                const size_t k = (size_t)((plane * height + r) * width + q);
                const bool changed = plane >= box.lo[0] && plane < box.hi[0] && r >= box.lo[1] &&
                                     r < box.hi[1] && q >= box.lo[2] && q < box.hi[2] &&
                                     (!a->p.id || a->p.id[k] == feature);
                *to++ = !changed ? x[k] : from ? from[k] : 0;
            }
}

/* Copies c->index[0..some] of a sample; a batch that has room is filled up with the last. */
ITP_FN interp_status itp_cone_pass(itp_attr *a, int sample, int some)
{
    const itp_cone *c = a->cone;
    const float *in[2] = {c->in, c->at};
    for (int i = 0; i < c->w->desc.batch; i++)
        itp_cone_put(a, sample, c->index[itp_min(i, some - 1)], i);
    ITP_TRY(interp_forward(c->w, in));
    const float *y = interp_workspace_target(c->w);
    ITP_TRY(itp_attr_check(a, y, some));
    for (int i = 0; i < some; i++, y += a->outputs) {
        const double f = itp_attr_output(a, y, a->report[sample].target);
        if (c->output) c->output[c->index[i]] = f;
        else itp_perturb_take(a, sample, c->index[i], NULL, f);
    }
    return itp_attr_tick(a, some);
}

/* All copies of a sample whose boxes are in a group. */
ITP_FN interp_status itp_cone_group_run(itp_attr *a, int sample, int group)
{
    itp_cone *c = a->cone;
    interp_net *net = c->group[group].net;
    const int each = a->points / c->n_boxes;
    int some = 0, left = c->group[group].members * each;
    if (c->open != group) {
        const interp_workspace_desc d = itp_cone_work(a, group);
        interp_workspace_free(c->w);
        c->w = NULL;
        for (int v = 0; v < net->n_values; v++)
            if (net->values[v].kind == ITP_BUFFER && !net->values[v].data)
                net->values[v].data = c->numbers + net->values[v].offset;
        ITP_TRY(interp_workspace_new(a->ctx, net, &d, &c->w));
        c->open = group;
    }
    for (int i = 0; left; i++) {
        if (itp_cone_group_of(a, i / each) != group) continue;
        c->index[some++] = i, left--;
        if (some < c->w->desc.batch && left) continue;
        ITP_TRY(itp_cone_pass(a, sample, some));
        some = 0;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_cone_run(itp_attr *a)
{
    const itp_cone *c = a->cone;
    for (int s = 0; s < a->n; s++) {
        ITP_TRY(itp_cone_start(a, s));
        itp_perturb_start(a);
        for (int g = 0; g < ITP_CONE_GROUPS; g++)
            if (c->group[g].net) ITP_TRY(itp_cone_group_run(a, s, g));
        for (int i = 0; i < a->points && c->output; i++)
            itp_perturb_take(a, s, i, NULL, c->output[i]);
        ITP_TRY(itp_perturb_finish(a, s));
    }
    return INTERP_OK;
}

/* ---- attr/views.c: samples [V,C,H,W]: which view a value of the network is of --------------------- */

enum { ITP_VIEW_NONE = -1, ITP_VIEW_MIXED = -2, ITP_VIEW_WHOLE = -3 };

/* How many images [C,H,W] an input is: of [V,C,H,W] V, each with features and maps of its own. */
ITP_FN int itp_views(const interp_shape *in)
{
    int n = 1;
    for (int i = 0; i < in->rank - 3; i++) n *= in->dim[i];
    return itp_max(1, n);
}

/* The view that a slice takes from the input. */
ITP_FN int itp_view_slice(const interp_net *net, const itp_node *o)
{
    const interp_shape *in = &net->values[o->in[0]].shape;
    const bool one =
        in->rank == 5 && itp_axis(o->attrs.axis, in->rank) == 1 && o->attrs.length == 1;
    if (!one) return ITP_VIEW_MIXED;
    return o->attrs.start;
}

/* Whether an op makes number for number of one of its inputs. */
ITP_FN bool itp_view_stays(const interp_net *net, const itp_node *o)
{
    const interp_shape *in = &net->values[o->in[0]].shape, *out = &net->values[o->out].shape;
    const bool plain = o->op == ITP_OP_IDENTITY || o->op == ITP_OP_ADD || o->op == ITP_OP_SUB ||
                       o->op == ITP_OP_MUL || o->op == ITP_OP_DIV;
    return plain && in->rank == out->rank &&
           !memcmp(in->dim, out->dim, (size_t)in->rank * sizeof *in->dim);
}

/* view[values]: the one view a value depends on, the input itself, several, or none. */
ITP_FN void itp_views_find(const interp_net *net, int *view)
{
    for (int i = 0; i < net->n_values; i++)
        view[i] = net->values[i].kind == ITP_INPUT ? ITP_VIEW_WHOLE : ITP_VIEW_NONE;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *o = &net->nodes[i];
        int all = ITP_VIEW_NONE;
        for (int k = 0; k < o->n_in; k++) {
            const int of = view[o->in[k]];
            if (of == ITP_VIEW_NONE || of == all) continue;
            all = all == ITP_VIEW_NONE ? of : ITP_VIEW_MIXED;
        }
        if (all == ITP_VIEW_WHOLE && o->op == ITP_OP_SLICE) all = itp_view_slice(net, o);
        else if (all == ITP_VIEW_WHOLE && !itp_view_stays(net, o)) all = ITP_VIEW_MIXED;
        view[o->out] = all;
    }
}

/* The value that is for view v what `layer` is for its own: the same number among those of the view, as
   where one part of a network is called on each; -1 when there is none. */
ITP_FN int itp_view_layer(const interp_net *net, const int *view, int layer, int v)
{
    const interp_shape *want = &net->values[layer].shape;
    int at = 0, found = 0;
    for (int i = 0; net->nodes[i].out != layer; i++) at += view[net->nodes[i].out] == view[layer];
    for (int i = 0; i < net->n_nodes; i++) {
        const int out = net->nodes[i].out;
        const interp_shape *s = &net->values[out].shape;
        if (view[out] != v || found++ < at) continue;
        const bool same = s->rank == want->rank &&
                          !memcmp(s->dim, want->dim, (size_t)s->rank * sizeof *s->dim) &&
                          net->nodes[i].op == net->nodes[net->values[layer].producer].op;
        return same ? out : -1;
    }
    return -1;
}

/* Rows that a value has for each sample: V where the views lie one after the other in its batch. */
ITP_FN int itp_value_rows(const interp_net *net, int value)
{
    const interp_shape *s = &net->values[value].shape;
    return s->rank && !net->whole ? s->dim[0] / itp_max(1, net->fixed_batch) : 1;
}

/* The shape of maps over images [..,C,H,W]: [H,W], or [V,H,W] of several views. */
ITP_FN interp_shape itp_attr_map_shape(const interp_shape *in)
{
    interp_shape s = itp_shape_none();
    const int views = itp_views(in);
    if (views > 1) s.dim[s.rank++] = views;
    s.dim[s.rank++] = in->dim[in->rank - 2];
    s.dim[s.rank++] = in->dim[in->rank - 1];
    return s;
}

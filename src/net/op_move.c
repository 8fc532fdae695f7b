/* ---- net/op_move.c: ops that only move numbers ------------------------------------------------- */

ITP_FN void itp_forward_alias(interp_workspace *w, int node)
{
    (void)w, (void)node; /* the output is the input's own memory */
}

ITP_FN void itp_backward_alias(interp_workspace *w, int node)
{
    itp_copy_or_add(w->ctx->k, itp_dy(w, node), itp_beta(w, node, 0), itp_dx(w, node, 0),
                    itp_count(itp_shape_out(w, node)));
}

/* Copies x to y with dimension i of y being dimension perm[i] of x; `back` runs the other way, from
   a gradient of y to one of x, adding when `add`. */
ITP_FN void itp_transpose_run(const interp_shape *x, const int *perm, const float *from, float *to,
                              bool back, bool add)
{
    size_t stride[INTERP_MAX_RANK], step[INTERP_MAX_RANK];
    size_t at = 1, n = itp_count(x);
    int dim[INTERP_MAX_RANK], index[INTERP_MAX_RANK] = {0};
    const int rank = x->rank;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = at;
        at *= (size_t)x->dim[i];
    }
    for (int i = 0; i < rank; i++) {
        step[i] = stride[perm[i]];
        dim[i] = x->dim[perm[i]];
    }
    if (n == 0) return;
    if (rank == 0) {
        *to = *from + (add ? *to : 0);
        return;
    }
    const size_t run = (size_t)dim[rank - 1], inner = step[rank - 1];
    size_t offset = 0; /* in x, of the row at hand */
    for (size_t row = 0; row < n; row += run) {
        for (size_t i = 0; i < run; i++) {
            const size_t xi = offset + i * inner;
            if (!back) to[row + i] = from[xi];
            else to[xi] = from[row + i] + (add ? to[xi] : 0);
        }
        for (int d = rank - 2; d >= 0; d--) {
            offset += step[d];
            if (++index[d] < dim[d]) break;
            offset -= step[d] * (size_t)dim[d];
            index[d] = 0;
        }
    }
}

ITP_FN void itp_forward_transpose(interp_workspace *w, int node)
{
    itp_transpose_run(itp_shape_in(w, node, 0), itp_at(w, node)->attrs.perm, itp_x(w, node, 0),
                      itp_y(w, node), false, false);
}

ITP_FN void itp_backward_transpose(interp_workspace *w, int node)
{
    itp_transpose_run(itp_shape_in(w, node, 0), itp_at(w, node)->attrs.perm, itp_dy(w, node),
                      itp_dx(w, node, 0), true, itp_beta(w, node, 0) != 0);
}

/* Numbers before an axis, and from it on. */
ITP_FN void itp_axis_split(const interp_shape *s, int axis, size_t *outer, size_t *run)
{
    *outer = *run = 1;
    for (int i = 0; i < s->rank; i++) *(i < axis ? outer : run) *= (size_t)s->dim[i];
}

ITP_FN void itp_forward_concat(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *out = itp_shape_out(w, node);
    const int axis = itp_axis(o->attrs.axis, out->rank);
    size_t outer, row, at = 0;
    itp_axis_split(out, axis, &outer, &row);
    float *y = itp_y(w, node);
    for (int i = 0; i < o->n_in; i++) {
        size_t same, run;
        itp_axis_split(itp_shape_in(w, node, i), axis, &same, &run);
        const float *x = itp_x(w, node, i);
        for (size_t r = 0; r < outer; r++) memcpy(y + r * row + at, x + r * run, run * sizeof *y);
        at += run;
    }
}

ITP_FN void itp_backward_concat(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *out = itp_shape_out(w, node);
    const int axis = itp_axis(o->attrs.axis, out->rank);
    size_t outer, row, at = 0;
    itp_axis_split(out, axis, &outer, &row);
    const float *dy = itp_dy(w, node);
    for (int i = 0; i < o->n_in; i++) {
        size_t same, run;
        itp_axis_split(itp_shape_in(w, node, i), axis, &same, &run);
        float *dx = itp_dx(w, node, i);
        for (size_t r = 0; dx && r < outer; r++)
            itp_copy_or_add(w->ctx->k, dy + r * row + at, itp_beta(w, node, i), dx + r * run, run);
        at += run;
    }
}

ITP_FN void itp_forward_slice(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, s->rank);
    size_t outer, row;
    itp_axis_split(s, axis, &outer, &row);
    const size_t unit = row / (size_t)s->dim[axis], run = unit * (size_t)a->length;
    const float *x = itp_x(w, node, 0) + unit * (size_t)a->start;
    float *y = itp_y(w, node);
    for (size_t r = 0; r < outer; r++) memcpy(y + r * run, x + r * row, run * sizeof *y);
}

ITP_FN void itp_backward_slice(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, s->rank);
    size_t outer, row;
    itp_axis_split(s, axis, &outer, &row);
    const size_t unit = row / (size_t)s->dim[axis], run = unit * (size_t)a->length;
    float *dx = itp_dx(w, node, 0);
    if (itp_beta(w, node, 0) == 0) memset(dx, 0, outer * row * sizeof *dx);
    dx += unit * (size_t)a->start;
    const float *dy = itp_dy(w, node);
    for (size_t r = 0; r < outer; r++) w->ctx->k->scale_add(run, 1, dy + r * run, 1, dx + r * row);
}

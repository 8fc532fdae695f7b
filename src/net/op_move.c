/* ---- net/op_move.c: ops that only move numbers ------------------------------------------------- */

ITP_FN void itp_forward_alias(interp_workspace *w, int node)
{
    (void)w, (void)node; /* the output is the input's own memory */
}

ITP_FN void itp_backward_alias(interp_workspace *w, int node)
{
    itp_move(w->ctx, itp_dy(w, node), 0, itp_dx(w, node, 0), 0, 1,
             itp_count(itp_shape_out(w, node)), itp_beta(w, node, 0) != 0);
}

/* A transpose as tiles of rows of x, which become columns of y: dimensions of size 1 left out, those
   that stay side by side merged. */
typedef struct itp_transpose {
    const itp_kernels *kernels;
    const float *from;
    float *to;
    bool add;
    int rank;                    /* of the dimensions left besides the tile's two */
    size_t dim[INTERP_MAX_RANK]; /* outermost first */
    size_t from_step[INTERP_MAX_RANK], to_step[INTERP_MAX_RANK];
    size_t rows, row_step, n,
        column_step; /* of the tile: row r is n numbers at r * row_step, and goes
                                              to r + i * column_step */
    size_t row_tiles, column_tiles;
} itp_transpose;

#define ITP_TRANSPOSE 64 /* rows and columns of a tile */

ITP_FN void itp_transpose_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_transpose *t = (const itp_transpose *)arg;
    size_t at = (size_t)task, from = 0, to = 0;
    const size_t n0 = at % t->column_tiles * ITP_TRANSPOSE;
    at /= t->column_tiles;
    const size_t r0 = at % t->row_tiles * ITP_TRANSPOSE;
    at /= t->row_tiles;
    for (int i = t->rank - 1; i >= 0; i--) {
        from += at % t->dim[i] * t->from_step[i], to += at % t->dim[i] * t->to_step[i];
        at /= t->dim[i];
    }
    const int rows = (int)itp_min_size(ITP_TRANSPOSE, t->rows - r0);
    const int n = (int)itp_min_size(ITP_TRANSPOSE, t->n - n0);
    const float *x = t->from + from + r0 * t->row_step + n0;
    float *y = t->to + to + n0 * t->column_step + r0;
    float tile[ITP_TRANSPOSE * ITP_TRANSPOSE];
    t->kernels->interleave(rows, n, x, (ptrdiff_t)t->row_step, NULL, t->add ? tile : y,
                           t->add ? ITP_TRANSPOSE : (ptrdiff_t)t->column_step);
    for (int i = 0; i < n && t->add; i++)
        t->kernels->scale_add((size_t)rows, 1, tile + i * ITP_TRANSPOSE, 1,
                              y + (size_t)i * t->column_step);
}

/* Whole rows where the last dimension stays last. */
ITP_FN void itp_transpose_rows_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_transpose *t = (const itp_transpose *)arg;
    const size_t per_task = t->column_tiles;
    const size_t first = (size_t)task * per_task, end = itp_min_size(t->rows, first + per_task);
    for (size_t r = first; r < end; r++) {
        size_t at = r, from = 0, to = 0;
        for (int i = t->rank - 1; i >= 0; i--) {
            from += at % t->dim[i] * t->from_step[i], to += at % t->dim[i] * t->to_step[i];
            at /= t->dim[i];
        }
        if (t->add) t->kernels->scale_add(t->n, 1, t->from + from, 1, t->to + to);
        else memcpy(t->to + to, t->from + from, t->n * sizeof *t->to);
    }
}

/* The dimensions of y, each with its steps in x and y, but for those of size 1 and merged where
   neighbours stay neighbours. */
ITP_FN void itp_transpose_merge(itp_transpose *t, const interp_shape *x, const int *perm)
{
    size_t step[INTERP_MAX_RANK], at = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        step[i] = at;
        at *= (size_t)x->dim[i];
    }
    for (int i = 0; i < x->rank; i++) {
        const size_t d = (size_t)x->dim[perm[i]], s = step[perm[i]];
        if (d == 1) continue;
        if (t->rank && t->from_step[t->rank - 1] == s * d) {
            t->dim[t->rank - 1] *= d, t->from_step[t->rank - 1] = s;
            continue;
        }
        t->dim[t->rank] = d, t->from_step[t->rank] = s;
        t->rank++;
    }
    if (t->rank == 0) t->dim[0] = t->from_step[0] = 1, t->rank = 1;
    at = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        t->to_step[i] = at;
        at *= t->dim[i];
    }
}

ITP_FN void itp_transpose_drop(itp_transpose *t, int d)
{
    t->rank--;
    for (int i = d; i < t->rank; i++)
        t->dim[i] = t->dim[i + 1], t->from_step[i] = t->from_step[i + 1],
        t->to_step[i] = t->to_step[i + 1];
}

/* to (+)= from with dimension i of the result being dimension perm[i] of x. */
ITP_FN void itp_transpose_run(interp_ctx *ctx, const interp_shape *x, const int *perm,
                              const float *from, float *to, bool add)
{
    itp_transpose t;
    memset(&t, 0, sizeof t);
    const size_t n = itp_count(x);
    if (n == 0) return;
    t.kernels = ctx->k;
    t.from = from, t.to = to, t.add = add;
    itp_transpose_merge(&t, x, perm);
    const int last = t.rank - 1;
    if (t.from_step[last] == 1) {
        t.n = t.dim[last], t.rows = n / t.n;
        itp_transpose_drop(&t, last);
        t.column_tiles = itp_max_size(1, ITP_CHUNK / t.n);
        itp_parallel(ctx, (int)((t.rows + t.column_tiles - 1) / t.column_tiles), (double)n,
                     itp_transpose_rows_task, &t);
        return;
    }
    int inner = 0; /* the last dimension of x */
    while (t.from_step[inner] != 1) inner++;
    t.rows = t.dim[last], t.row_step = t.from_step[last];
    t.n = t.dim[inner], t.column_step = t.to_step[inner];
    itp_transpose_drop(&t, last);
    itp_transpose_drop(&t, inner);
    t.row_tiles = (t.rows + ITP_TRANSPOSE - 1) / ITP_TRANSPOSE;
    t.column_tiles = (t.n + ITP_TRANSPOSE - 1) / ITP_TRANSPOSE;
    const size_t tiles = n / (t.rows * t.n) * t.row_tiles * t.column_tiles;
    itp_parallel(ctx, (int)tiles, (double)n, itp_transpose_task, &t);
}

ITP_FN void itp_forward_transpose(interp_workspace *w, int node)
{
    itp_transpose_run(w->ctx, itp_shape_in(w, node, 0), itp_at(w, node)->attrs.perm,
                      itp_x(w, node, 0), itp_y(w, node), false);
}

ITP_FN void itp_backward_transpose(interp_workspace *w, int node)
{
    const interp_shape *y = itp_shape_out(w, node);
    int back[INTERP_MAX_RANK] = {0};
    for (int i = 0; i < y->rank; i++) back[itp_at(w, node)->attrs.perm[i]] = i;
    itp_transpose_run(w->ctx, y, back, itp_dy(w, node), itp_dx(w, node, 0),
                      itp_beta(w, node, 0) != 0);
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
        itp_move(w->ctx, itp_x(w, node, i), run, y + at, row, outer, run, false);
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
        if (dx) itp_move(w->ctx, dy + at, row, dx, run, outer, run, itp_beta(w, node, i) != 0);
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
    itp_move(w->ctx, itp_x(w, node, 0) + unit * (size_t)a->start, row, itp_y(w, node), run, outer,
             run, false);
}

ITP_FN void itp_backward_slice(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, s->rank);
    size_t outer, row;
    itp_axis_split(s, axis, &outer, &row);
    const size_t unit = row / (size_t)s->dim[axis], run = unit * (size_t)a->length;
    itp_move_job j;
    memset(&j, 0, sizeof j);
    const size_t before = unit * (size_t)a->start;
    j.from = itp_dy(w, node), j.to = itp_dx(w, node, 0) + before;
    j.from_step = j.run = run, j.to_step = row, j.rows = outer;
    j.add = itp_beta(w, node, 0) != 0;
    if (!j.add) j.before = before, j.after = row - before - run;
    itp_move_run(w->ctx, &j);
}

/* ---- patches: boxes laid over an image, and what is around them cut out with them

   x[N, C, h, w] lies in images[1, C, H, W] at places[n, start..], row and column; y[N, C, ..] is what a
   window op reads there that makes a box at places[n, length..], or all of it with length -1. Outside
   of the images everything is alpha. */
typedef struct itp_patch_job {
    const itp_attrs *attrs;
    const float *x, *images, *places;
    int channels, height, width, box_height, box_width, n_places;
    float *y;
} itp_patch_job;

ITP_FN void itp_patch_task(void *arg, int image, int slot)
{
    const itp_patch_job *j = (const itp_patch_job *)arg;
    const itp_attrs *a = j->attrs;
    const float *at = j->places + (size_t)image * (size_t)j->n_places;
    const int rows = a->shape.dim[0], columns = a->shape.dim[1];
    const int y0 = a->length < 0 ? 0 : (int)at[a->length] * a->stride[0] - a->pad[0];
    const int x0 = a->length < 0 ? 0 : (int)at[a->length + 1] * a->stride[1] - a->pad[1];
    const int top = (int)at[a->start] - y0, left = (int)at[a->start + 1] - x0;
    const int lo = itp_min(columns, itp_max(0, -x0)), hi = itp_min(columns, j->width - x0);
    const int from = itp_max(0, left), to = itp_min(columns, left + j->box_width);
    const size_t planes = (size_t)image * (size_t)j->channels;
    (void)slot;
    float *y = j->y + planes * (size_t)(rows * columns);
    for (int c = 0; c < j->channels; c++)
        for (int r = 0; r < rows; r++, y += columns) {
            const bool inside = y0 + r >= 0 && y0 + r < j->height;
            const int begin = inside ? lo : columns, end = inside ? itp_max(lo, hi) : columns;
            const ptrdiff_t under = ((ptrdiff_t)c * j->height + y0 + r) * j->width + x0;
            for (int i = 0; i < begin; i++) y[i] = a->alpha;
            for (int i = begin; i < end; i++) y[i] = j->images[under + i];
            for (int i = end; i < columns; i++) y[i] = a->alpha;
            if (r < top || r >= top + j->box_height) continue;
            const ptrdiff_t over =
                (((ptrdiff_t)planes + c) * j->box_height + r - top) * j->box_width - left;
            for (int i = from; i < to; i++) y[i] = j->x[over + i];
        }
}

ITP_FN void itp_forward_patch(interp_workspace *w, int node)
{
    const interp_shape *x = itp_shape_in(w, node, 0), *images = itp_shape_in(w, node, 1);
    itp_patch_job j;
    j.attrs = &itp_at(w, node)->attrs;
    j.x = itp_x(w, node, 0), j.images = itp_x(w, node, 1), j.places = itp_x(w, node, 2);
    j.channels = x->dim[1], j.box_height = x->dim[2], j.box_width = x->dim[3];
    j.height = images->dim[2], j.width = images->dim[3];
    j.n_places = itp_shape_in(w, node, 2)->dim[1];
    j.y = itp_y(w, node);
    itp_parallel(w->ctx, x->dim[0], (double)itp_count(itp_shape_out(w, node)) * 2, itp_patch_task,
                 &j);
}

/* ---- net/op_scatter.c: numbers and slices at places that are computed ----------------------------- */

/* What happens at a place: `to` gets the number, or another of the two wins. */
enum { ITP_PUT_SET, ITP_PUT_ADD, ITP_PUT_MUL, ITP_PUT_MAX, ITP_PUT_MIN, ITP_PUT_ZERO, ITP_TAKE };

ITP_FN void itp_put(int kind, float *to, float number)
{
    switch (kind) {
    case ITP_PUT_ADD: *to += number; break;
    case ITP_PUT_MUL: *to *= number; break;
    case ITP_PUT_MAX: *to = number > *to || number != number ? number : *to; break;
    case ITP_PUT_MIN: *to = number < *to || number != number ? number : *to; break;
    case ITP_PUT_ZERO: *to = 0; break;
    default: *to = number;
    }
}

/* A list of numbers, in the order of the indices, and an array that has places. ITP_TAKE: list[i] (+)=
   array[place i]; else array[place i] is put list[i]. */
typedef struct itp_places {
    const itp_kernels *kernels;
    int kind;
    const float *indices, *list, *array;
    float *to; /* the one that is written */
    bool add;
    int axis, rank;
    interp_shape shape;           /* of the indices; slices: of the array */
    size_t step[INTERP_MAX_RANK]; /* of the array */
    size_t size, outer, rows, n, inner;
    size_t row_chunk, row_chunks, piece, pieces, per_task;
} itp_places;

/* For the indices of a node into its first input. */
ITP_FN itp_places itp_places_of(const interp_workspace *w, int node, int kind)
{
    const interp_shape *x = itp_shape_in(w, node, 0);
    itp_places p;
    size_t step = 1;
    memset(&p, 0, sizeof p);
    p.kind = kind;
    p.indices = itp_x(w, node, 1);
    p.outer = p.rows = p.inner = p.size = 1;
    for (int d = x->rank - 1; d >= 0; d--) {
        p.step[d] = step;
        step *= (size_t)x->dim[d];
    }
    return p;
}

/* ---- one index for each number, along an axis: lanes along it share nothing */

ITP_FN void itp_elements_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_places *p = (const itp_places *)arg;
    const size_t first = (size_t)task * p->per_task;
    const size_t end = itp_min_size(p->outer * p->rows, first + p->per_task);
    for (size_t unit = first; unit < end; unit++) { /* all dimensions but the axis and the last */
        size_t rest = unit, at = 0;
        for (int d = p->rank - 1; d >= 0; d--) {
            const size_t dim = (size_t)p->shape.dim[d];
            if (d == p->axis || d == p->rank - 1) continue;
            at += rest % dim * p->step[d];
            rest /= dim;
        }
        for (size_t t = 0; t < p->n; t++) {
            const size_t from = ((unit / p->rows * p->n + t) * p->rows + unit % p->rows) * p->inner;
            for (size_t i = 0; i < p->inner; i++) {
                const size_t place =
                    at + i + itp_index_of(p->indices[from + i], p->size) * p->step[p->axis];
                if (p->kind != ITP_TAKE) itp_put(p->kind, p->to + place, p->list[from + i]);
                else p->to[from + i] = p->array[place] + (p->add ? p->to[from + i] : 0);
            }
        }
    }
}

ITP_FN void itp_elements_run(interp_ctx *ctx, itp_places *p)
{
    itp_parallel(ctx, (int)((p->outer * p->rows + p->per_task - 1) / p->per_task),
                 (double)(p->outer * p->rows * p->n * p->inner) * 4, itp_elements_task, p);
}

ITP_FN itp_places itp_elements_at(const interp_workspace *w, int node, int kind)
{
    const interp_shape *x = itp_shape_in(w, node, 0), *s = itp_shape_in(w, node, 1);
    itp_places p = itp_places_of(w, node, kind);
    p.shape = *s;
    p.rank = s->rank;
    p.axis = itp_axis(itp_at(w, node)->attrs.axis, s->rank);
    p.size = (size_t)x->dim[p.axis];
    p.n = (size_t)s->dim[p.axis];
    for (int d = 0; d < s->rank; d++) {
        if (d < p.axis) p.outer *= (size_t)s->dim[d];
        else if (d > p.axis && d < s->rank - 1) p.rows *= (size_t)s->dim[d];
        else if (d > p.axis) p.inner = (size_t)s->dim[d];
    }
    p.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, p.n * p.inner));
    return p;
}

/* ---- slices at places of several indices each */

/* Rows of `inner` numbers; the last dimension of the indices has rank - axis of them, for the
   dimensions of the array behind the first `axis`, which both have. */
ITP_FN void itp_slices_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_places *p = (const itp_places *)arg;
    const size_t first = (size_t)task * p->per_task;
    const size_t end = itp_min_size(p->outer * p->row_chunks * p->pieces, first + p->per_task);
    const size_t indices = (size_t)(p->rank - p->axis);
    for (size_t unit = first; unit < end; unit++) {
        const size_t column = unit % p->pieces * p->piece;
        const size_t n = itp_min_size(p->piece, p->inner - column);
        const size_t chunk = unit / p->pieces, outer = chunk / p->row_chunks;
        const size_t r0 = chunk % p->row_chunks * p->row_chunk;
        const size_t r1 = itp_min_size(p->rows, r0 + p->row_chunk);
        for (size_t row = outer * p->rows + r0; row < outer * p->rows + r1; row++) {
            size_t at = outer * p->size + column;
            const size_t from = row * p->inner + column;
            for (size_t k = 0; k < indices; k++) {
                const size_t d = (size_t)p->axis + k;
                at += itp_index_of(p->indices[row * indices + k], (size_t)p->shape.dim[d]) *
                      p->step[d];
            }
            if (p->kind == ITP_TAKE)
                p->kernels->scale_add(n, 1, p->array + at, p->add ? 1 : 0, p->to + from);
            else
                for (size_t i = 0; i < n; i++) itp_put(p->kind, p->to + at + i, p->list[from + i]);
        }
    }
}

/* Slices that are taken are cut into rows, those that are put, which may meet, into columns. */
ITP_FN void itp_slices_run(interp_ctx *ctx, itp_places *p)
{
    const bool take = p->kind == ITP_TAKE;
    const size_t inner = itp_max_size(1, p->inner);
    p->kernels = ctx->k;
    p->row_chunk = take ? itp_max_size(1, ITP_CHUNK / inner) : itp_max_size(1, p->rows);
    p->row_chunks = (p->rows + p->row_chunk - 1) / p->row_chunk;
    p->pieces = take || p->outer >= 16 || p->inner < 128 ? 1 : itp_min_size(16, p->inner / 64);
    p->piece = (p->inner + p->pieces - 1) / p->pieces;
    p->per_task = itp_max_size(1, ITP_CHUNK / (p->row_chunk * itp_max_size(1, p->piece)));
    const size_t units = p->outer * p->row_chunks * p->pieces;
    itp_parallel(ctx, (int)((units + p->per_task - 1) / p->per_task),
                 (double)(p->outer * p->rows * p->inner) * 4, itp_slices_task, p);
}

/* Behind `batch` dimensions of both. */
ITP_FN itp_places itp_slices_at(const interp_workspace *w, int node, int kind, int batch)
{
    const interp_shape *x = itp_shape_in(w, node, 0), *s = itp_shape_in(w, node, 1);
    itp_places p = itp_places_of(w, node, kind);
    p.shape = *x;
    p.axis = batch;
    p.rank = batch + s->dim[s->rank - 1];
    for (int d = 0; d < x->rank; d++) {
        if (d < batch) p.outer *= (size_t)x->dim[d];
        else p.size *= (size_t)x->dim[d];
        if (d >= p.rank) p.inner *= (size_t)x->dim[d];
    }
    for (int d = batch; d < s->rank - 1; d++) p.rows *= (size_t)s->dim[d];
    return p;
}

/* ---- the ops */

ITP_FN bool itp_is_slices(const interp_workspace *w, int node)
{
    return itp_op_row(itp_at(w, node)->op)->kind != 0;
}

/* The places of a node, of elements or of slices. */
ITP_FN itp_places itp_places_at(const interp_workspace *w, int node, int kind, int batch)
{
    return itp_is_slices(w, node) ? itp_slices_at(w, node, kind, batch)
                                  : itp_elements_at(w, node, kind);
}

ITP_FN void itp_places_run(interp_workspace *w, int node, itp_places *p)
{
    if (itp_is_slices(w, node)) itp_slices_run(w->ctx, p);
    else itp_elements_run(w->ctx, p);
}

ITP_FN void itp_forward_take(interp_workspace *w, int node)
{
    itp_places p = itp_places_at(w, node, ITP_TAKE, itp_at(w, node)->attrs.length);
    p.array = itp_x(w, node, 0), p.to = itp_y(w, node);
    itp_places_run(w, node, &p);
}

ITP_FN void itp_backward_take(interp_workspace *w, int node)
{
    itp_places p = itp_places_at(w, node, ITP_PUT_ADD, itp_at(w, node)->attrs.length);
    p.list = itp_dy(w, node), p.to = itp_dx(w, node, 0);
    if (itp_beta(w, node, 0) == 0)
        memset(p.to, 0, itp_count(itp_shape_in(w, node, 0)) * sizeof *p.to);
    itp_places_run(w, node, &p);
}

ITP_FN void itp_forward_put(interp_workspace *w, int node)
{
    itp_places p = itp_places_at(w, node, itp_at(w, node)->attrs.mode, 0);
    p.list = itp_x(w, node, 2), p.to = itp_y(w, node);
    itp_move(w->ctx, itp_x(w, node, 0), 0, p.to, 0, 1, itp_count(itp_shape_out(w, node)), false);
    itp_places_run(w, node, &p);
}

/* A copy of dy, for what x gets of it. */
ITP_FN itp_need itp_need_put(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->runs_back[node]) need.shared = itp_count(itp_shape_in(w, node, 0));
    return need;
}

/* What was put gets dy where it went; x gets dy, but for where it was replaced. */
ITP_FN void itp_backward_put(interp_workspace *w, int node)
{
    const size_t n = itp_count(itp_shape_in(w, node, 0));
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *updates = itp_dx(w, node, 2);
    if (dx && itp_at(w, node)->attrs.mode == ITP_PUT_SET) {
        itp_places p = itp_places_at(w, node, ITP_PUT_ZERO, 0);
        p.list = itp_x(w, node, 2), p.to = w->shared;
        memcpy(p.to, dy, n * sizeof *dy);
        itp_places_run(w, node, &p);
        itp_move(w->ctx, p.to, 0, dx, 0, 1, n, itp_beta(w, node, 0) != 0);
    } else if (dx) {
        itp_move(w->ctx, dy, 0, dx, 0, 1, n, itp_beta(w, node, 0) != 0);
    }
    if (updates) {
        itp_places p = itp_places_at(w, node, ITP_TAKE, 0);
        p.array = dy, p.to = updates;
        p.add = itp_beta(w, node, 2) != 0;
        itp_places_run(w, node, &p);
    }
}

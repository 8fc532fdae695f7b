/* ---- net/op_axis.c: extremes, orders and running sums along an axis -------------------------------- */

/* x as [outer, n, inner]; a unit is up to ITP_COLUMNS inner numbers side by side, each with n numbers
   of x behind it, `inner` apart. */
typedef struct itp_lanes itp_lanes;
struct itp_lanes {
    void (*unit)(const itp_lanes *j, size_t outer, size_t column, size_t columns, int slot);
    const itp_attrs *attrs;
    int kind;
    size_t outer, n, inner, chunks, per_task;
    size_t length; /* of the axis of y */
    const float *x, *dy;
    float *y;
    bool reverse, add;
    itp_scratch scratch;
};

ITP_FN void itp_lanes_task(void *arg, int task, int slot)
{
    const itp_lanes *j = (const itp_lanes *)arg;
    const size_t first = (size_t)task * j->per_task;
    const size_t end = itp_min_size(j->outer * j->chunks, first + j->per_task);
    for (size_t u = first; u < end; u++) {
        const size_t column = u % j->chunks * ITP_COLUMNS;
        j->unit(j, u / j->chunks, column, itp_min_size(ITP_COLUMNS, j->inner - column), slot);
    }
}

ITP_FN itp_lanes itp_lanes_at(const interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(o->attrs.axis, s->rank);
    itp_lanes j;
    memset(&j, 0, sizeof j);
    j.attrs = &o->attrs;
    j.kind = itp_op_row(o->op)->kind;
    itp_axis_split(s, axis, &j.outer, &j.inner);
    j.n = (size_t)s->dim[axis];
    j.inner /= itp_max_size(1, j.n);
    j.length = j.n;
    j.x = itp_x(w, node, 0);
    j.scratch = w->scratch;
    return j;
}

/* `work`: operations for each number of x or y. */
ITP_FN void itp_lanes_run(interp_ctx *ctx, itp_lanes *j, double work)
{
    const size_t side = itp_min_size(j->inner, ITP_COLUMNS), n = itp_max_size(j->n, j->length);
    j->chunks = (j->inner + ITP_COLUMNS - 1) / ITP_COLUMNS;
    j->per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, n * side));
    itp_parallel(ctx, (int)((j->outer * j->chunks + j->per_task - 1) / j->per_task),
                 (double)(j->outer * n * j->inner) * work, itp_lanes_task, j);
}

/* ---- arg max and min, and hard max; NaN is the most extreme */

enum { ITP_ARG_MAX, ITP_ARG_MIN, ITP_HARD_MAX };

ITP_FN bool itp_more_extreme(bool least, float a, float b)
{
    return (least ? a < b : a > b) || (a != a && b == b);
}

ITP_FN void itp_arg_columns(const itp_lanes *j, size_t outer, size_t column, size_t columns,
                            int *at)
{
    const bool least = j->kind == ITP_ARG_MIN, last = j->attrs->last;
    float best[ITP_COLUMNS];
    for (size_t i = 0; i < j->n; i++) {
        const float *x = j->x + (outer * j->n + i) * j->inner + column;
        for (size_t c = 0; c < columns; c++)
            if (i == 0 || itp_more_extreme(least, x[c], best[c]) ||
                (last && !itp_more_extreme(least, best[c], x[c])))
                best[c] = x[c], at[c] = (int)i;
    }
}

ITP_FN void itp_arg_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns, int slot)
{
    (void)slot;
    int at[ITP_COLUMNS];
    itp_arg_columns(j, outer, column, columns, at);
    for (size_t c = 0; c < columns; c++) j->y[outer * j->inner + column + c] = (float)at[c];
}

ITP_FN void itp_hardmax_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns,
                             int slot)
{
    (void)slot;
    int at[ITP_COLUMNS];
    float *y = j->y + outer * j->n * j->inner + column;
    itp_arg_columns(j, outer, column, columns, at);
    for (size_t i = 0; i < j->n; i++) memset(y + i * j->inner, 0, columns * sizeof *y);
    for (size_t c = 0; c < columns && j->n; c++) y[(size_t)at[c] * j->inner + c] = 1;
}

ITP_FN void itp_forward_arg(interp_workspace *w, int node)
{
    itp_lanes j = itp_lanes_at(w, node);
    j.y = itp_y(w, node);
    j.unit = j.kind == ITP_HARD_MAX ? itp_hardmax_unit : itp_arg_unit;
    itp_lanes_run(w->ctx, &j, 2);
}

/* ---- running sums */

ITP_FN void itp_cum_sum_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns,
                             int slot)
{
    (void)slot;
    double sum[ITP_COLUMNS] = {0};
    for (size_t i = 0; i < j->n; i++) {
        const size_t row = j->reverse ? j->n - 1 - i : i;
        const size_t at = (outer * j->n + row) * j->inner + column;
        for (size_t c = 0; c < columns; c++) {
            const double before = sum[c];
            sum[c] += (double)j->x[at + c];
            j->y[at + c] =
                (float)(j->attrs->exclusive ? before : sum[c]) + (j->add ? j->y[at + c] : 0);
        }
    }
}

ITP_FN void itp_forward_cum_sum(interp_workspace *w, int node)
{
    itp_lanes j = itp_lanes_at(w, node);
    j.y = itp_y(w, node);
    j.reverse = j.attrs->reverse;
    j.unit = itp_cum_sum_unit;
    itp_lanes_run(w->ctx, &j, 2);
}

ITP_FN void itp_backward_cum_sum(interp_workspace *w, int node)
{
    itp_lanes j = itp_lanes_at(w, node);
    j.x = itp_dy(w, node), j.y = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    j.reverse = !j.attrs->reverse;
    j.unit = itp_cum_sum_unit;
    itp_lanes_run(w->ctx, &j, 2);
}

/* ---- the k first of an order */

enum { ITP_TOP_VALUES, ITP_TOP_INDICES };

/* Whether number a of a column comes before number b: the larger one, or with `reverse` the smaller
   one, NaN being the largest of all; of equals the first. */
ITP_FN bool itp_top_before(const itp_lanes *j, const float *x, int a, int b)
{
    const float p = x[(size_t)a * j->inner], q = x[(size_t)b * j->inner];
    const bool above = p > q || (p != p && q == q), below = q > p || (q != q && p == p);
    if (above || below) return j->reverse ? below : above;
    return a < b;
}

/* A heap with the last of the order on top. */
ITP_FN void itp_top_sift(const itp_lanes *j, const float *x, int *heap, int at, int n)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && itp_top_before(j, x, heap[child], heap[child + 1])) child++;
        if (!itp_top_before(j, x, heap[at], heap[child])) return;
        const int t = heap[at];
        heap[at] = heap[child];
        heap[child] = t;
        at = child;
    }
}

/* The k first of a column, in order. */
ITP_FN void itp_top_column(const itp_lanes *j, const float *x, int *heap)
{
    const int k = (int)j->length, n = (int)j->n;
    for (int i = 0; i < k; i++) heap[i] = i;
    for (int i = k / 2 - 1; i >= 0; i--) itp_top_sift(j, x, heap, i, k);
    for (int i = k; i < n && k > 0; i++)
        if (itp_top_before(j, x, i, heap[0])) {
            heap[0] = i;
            itp_top_sift(j, x, heap, 0, k);
        }
    for (int end = k - 1; end > 0; end--) {
        const int t = heap[0];
        heap[0] = heap[end];
        heap[end] = t;
        itp_top_sift(j, x, heap, 0, end);
    }
}

ITP_FN void itp_top_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns, int slot)
{
    int *heap = (int *)(void *)itp_scratch_slot(&j->scratch, slot);
    for (size_t c = column; c < column + columns; c++) {
        const float *x = j->x + outer * j->n * j->inner + c;
        float *y = j->y + outer * j->length * j->inner + c;
        itp_top_column(j, x, heap);
        for (size_t i = 0; i < j->length; i++)
            y[i * j->inner] =
                j->kind == ITP_TOP_INDICES ? (float)heap[i] : x[(size_t)heap[i] * j->inner];
    }
}

/* dy goes back to where its numbers were. */
ITP_FN void itp_top_grad_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns,
                              int slot)
{
    int *heap = (int *)(void *)itp_scratch_slot(&j->scratch, slot);
    for (size_t c = column; c < column + columns; c++) {
        const size_t at = outer * j->n * j->inner + c;
        const float *dy = j->dy + outer * j->length * j->inner + c;
        itp_top_column(j, j->x + at, heap);
        for (size_t i = 0; i < j->n && !j->add; i++) j->y[at + i * j->inner] = 0;
        for (size_t i = 0; i < j->length; i++)
            j->y[at + (size_t)heap[i] * j->inner] += dy[i * j->inner];
    }
}

ITP_FN itp_need itp_need_top(const interp_workspace *w, int node)
{
    itp_need need = {(size_t)itp_at(w, node)->attrs.length, 0, 0, 0};
    return need;
}

ITP_FN itp_lanes itp_top_at(const interp_workspace *w, int node)
{
    itp_lanes j = itp_lanes_at(w, node);
    j.length = (size_t)j.attrs->length;
    j.reverse = j.attrs->reverse;
    return j;
}

ITP_FN void itp_forward_top(interp_workspace *w, int node)
{
    itp_lanes j = itp_top_at(w, node);
    j.y = itp_y(w, node);
    j.unit = itp_top_unit;
    itp_lanes_run(w->ctx, &j, 8);
}

ITP_FN void itp_backward_top(interp_workspace *w, int node)
{
    itp_lanes j = itp_top_at(w, node);
    j.dy = itp_dy(w, node), j.y = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    j.unit = itp_top_grad_unit;
    itp_lanes_run(w->ctx, &j, 8);
}

/* ---- one hot, and one number everywhere */

/* x is [outer, inner] here, and y [outer, length, inner]. */
ITP_FN void itp_one_hot_unit(const itp_lanes *j, size_t outer, size_t column, size_t columns,
                             int slot)
{
    (void)slot;
    const float *x = j->x + outer * j->inner + column;
    float *y = j->y + outer * j->length * j->inner + column;
    const double depth = (double)j->length;
    for (size_t i = 0; i < j->length; i++) itp_fill(y + i * j->inner, columns, j->attrs->alpha);
    for (size_t c = 0; c < columns; c++) {
        const double at = (double)x[c] < 0 ? (double)x[c] + depth : (double)x[c];
        if (at >= 0 && at < depth) y[(size_t)at * j->inner + c] = j->attrs->beta;
    }
}

ITP_FN void itp_forward_one_hot(interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_lanes j;
    memset(&j, 0, sizeof j);
    j.attrs = &itp_at(w, node)->attrs;
    itp_axis_split(s, itp_axis(j.attrs->axis, s->rank + 1), &j.outer, &j.inner);
    j.length = (size_t)j.attrs->length;
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    j.unit = itp_one_hot_unit;
    itp_lanes_run(w->ctx, &j, 1);
}

ITP_FN void itp_forward_fill(interp_workspace *w, int node)
{
    itp_fill(itp_y(w, node), itp_count(itp_shape_out(w, node)), itp_at(w, node)->attrs.alpha);
}

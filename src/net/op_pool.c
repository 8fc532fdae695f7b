/* ---- net/op_pool.c: pooling -------------------------------------------------------------------- */

typedef struct itp_pool_job {
    const itp_kernels *kernels;
    itp_plane plane;
    const float *per_y, *per_x; /* of averages: one over a window's numbers down and along */
    const float *x, *dy;
    float *y, *dx;
    bool add, by_columns;
} itp_pool_job;

/* How many numbers the average of a window divides by, along one axis: real pixels, or also those of
   the pads, but never what hangs over beyond them. */
ITP_FN int itp_window_count(int at, int taps, int stride, int dilation, int first, int size,
                            int end_pad, bool pads)
{
    int n = 0;
    for (int t = 0; t < taps; t++) {
        const int s = at * stride + t * dilation - first;
        n += pads ? s < size + end_pad : s >= 0 && s < size;
    }
    return n > 0 ? n : 1;
}

ITP_FN void itp_pool_task(void *arg, int task, int slot)
{
    const itp_pool_job *j = (const itp_pool_job *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width,
                 out = (size_t)p->rows * (size_t)p->columns;
    (void)slot;
    j->kernels->plane_pool(p, j->x + (size_t)task * in, j->per_y, j->per_x,
                           j->y + (size_t)task * out);
}

/* Brings n floats into the cache by reading them one after the other, for work that reads them in an
   order no processor foresees. */
ITP_FN void itp_touch(const float *p, size_t n)
{
    const volatile float *numbers = p;
    for (size_t i = 0; i < n; i += ITP_LINE) (void)numbers[i];
}

ITP_FN void itp_pool_grad_task(void *arg, int task, int slot)
{
    const itp_pool_job *j = (const itp_pool_job *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width,
                 out = (size_t)p->rows * (size_t)p->columns;
    const float *dy = j->dy + (size_t)task * out;
    float *dx = j->dx + (size_t)task * in;
    (void)slot;
    if (j->per_y) {
        itp_grads(j->kernels)->plane_average_grad(p, dy, j->per_y, j->per_x, dx, j->add);
        return;
    }
    itp_touch(j->x + (size_t)task * in, itp_min_size(in, ITP_SLAB));
    itp_grads(j->kernels)->plane_max_grad(p, j->x + (size_t)task * in, dy, dx, j->add);
}

ITP_FN itp_pool_job itp_pool_at(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    itp_pool_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.plane = itp_plane_of(a, itp_shape_in(w, node, 0));
    if (itp_op_row(itp_at(w, node)->op)->kind == 0) return j;
    const itp_plane *p = &j.plane;
    float *per_y = w->shared, *per_x = per_y + itp_round_up((size_t)p->rows, 16);
    int below = a->pad[2], right = a->pad[3];
    if (a->same) { /* nothing hangs over: the last window ends where the pads do */
        below = (p->rows - 1) * p->stride_y + p->dilation_y * (p->taps_y - 1) + 1 - p->height -
                p->pad_y;
        right = (p->columns - 1) * p->stride_x + p->dilation_x * (p->taps_x - 1) + 1 - p->width -
                p->pad_x;
    }
    for (int y = 0; y < p->rows; y++)
        per_y[y] = 1 / (float)itp_window_count(y, p->taps_y, p->stride_y, p->dilation_y, p->pad_y,
                                               p->height, below, a->count_include_pad);
    for (int x = 0; x < p->columns; x++)
        per_x[x] = 1 / (float)itp_window_count(x, p->taps_x, p->stride_x, p->dilation_x, p->pad_x,
                                               p->width, right, a->count_include_pad);
    j.per_y = per_y, j.per_x = per_x;
    return j;
}

ITP_FN void itp_pool_run(interp_workspace *w, int node, itp_pool_job *j, itp_task_fn task)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_parallel(w->ctx, s->dim[0] * s->dim[1],
                 (double)itp_count(itp_shape_out(w, node)) * j->plane.taps_y * j->plane.taps_x * 2,
                 task, j);
}

ITP_FN itp_need itp_need_pool(const interp_workspace *w, int node)
{
    const interp_shape *y = itp_shape_out(w, node);
    itp_need need = {0, itp_round_up((size_t)y->dim[2], 16) + (size_t)y->dim[3], 0, 0};
    return need;
}

ITP_FN void itp_forward_pool(interp_workspace *w, int node)
{
    itp_pool_job j = itp_pool_at(w, node);
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    itp_pool_run(w, node, &j, itp_pool_task);
}

ITP_FN void itp_backward_pool(interp_workspace *w, int node)
{
    itp_pool_job j = itp_pool_at(w, node);
    if (!j.per_y) j.x = itp_x(w, node, 0);
    j.dy = itp_dy(w, node), j.dx = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_pool_run(w, node, &j, itp_pool_grad_task);
}

/* ---- global pooling: whole planes */

typedef struct itp_global_job {
    const itp_kernels *kernels;
    size_t pixels, planes;
    const float *x, *dy;
    float *y, *dx;
    bool average, add;
} itp_global_job;

#define ITP_PLANES 16 /* of one task */

ITP_FN void itp_global_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_global_job *j = (const itp_global_job *)arg;
    const size_t first = (size_t)task * ITP_PLANES,
                 end = itp_min_size(j->planes, first + ITP_PLANES);
    for (size_t i = first; i < end; i++) {
        const float *x = j->x + i * j->pixels;
        if (!j->dy) {
            j->y[i] = j->average ? (float)(j->kernels->sum(j->pixels, x) / (double)j->pixels)
                                 : j->kernels->max(j->pixels, x);
            continue;
        }
        float *dx = j->dx + i * j->pixels;
        if (j->average) {
            const float share = j->dy[i] / (float)j->pixels;
            if (j->add) j->kernels->affine(j->pixels, 1, dx, share, dx);
            else itp_fill(dx, j->pixels, share);
            continue;
        }
        if (!j->add) memset(dx, 0, j->pixels * sizeof *dx);
        dx[itp_max(0, interp_argmax(x, (int)j->pixels))] += j->dy[i];
    }
}

ITP_FN void itp_global_run(interp_workspace *w, int node, bool backward)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_global_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.planes = (size_t)s->dim[0] * (size_t)s->dim[1];
    j.pixels = itp_count(s) / itp_max_size(1, j.planes);
    j.average = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.x = itp_x(w, node, 0);
    if (backward) {
        j.dy = itp_dy(w, node), j.dx = itp_dx(w, node, 0);
        j.add = itp_beta(w, node, 0) != 0;
    } else {
        j.y = itp_y(w, node);
    }
    itp_parallel(w->ctx, (int)((j.planes + ITP_PLANES - 1) / ITP_PLANES), (double)itp_count(s) * 2,
                 itp_global_task, &j);
}

ITP_FN void itp_forward_global(interp_workspace *w, int node)
{
    itp_global_run(w, node, false);
}

ITP_FN void itp_backward_global(interp_workspace *w, int node)
{
    itp_global_run(w, node, true);
}

/* ---- where the maxima of windows are, and putting them back */

/* The place of the first maximum of every window of a plane, NaN being one, in an array of all
   planes; with mode 1 of planes stored by columns. */
ITP_FN void itp_pool_indices_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_pool_job *j = (const itp_pool_job *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width;
    const float *x = j->x + (size_t)task * in;
    float *y = j->y + (size_t)task * (size_t)p->rows * (size_t)p->columns;
    for (int row = 0; row < p->rows; row++)
        for (int column = 0; column < p->columns; column++) {
            int best_y = 0, best_x = 0;
            bool found = false;
            for (int ty = 0; ty < p->taps_y; ty++) {
                const int sy = row * p->stride_y - p->pad_y + ty * p->dilation_y;
                if (sy < 0 || sy >= p->height) continue;
                for (int tx = 0; tx < p->taps_x; tx++) {
                    const int sx = column * p->stride_x - p->pad_x + tx * p->dilation_x;
                    if (sx < 0 || sx >= p->width) continue;
                    const float v = x[sy * p->width + sx], best = x[best_y * p->width + best_x];
                    if (!found || v > best || (v != v && best == best)) best_y = sy, best_x = sx;
                    found = true;
                }
            }
            const int at = j->by_columns ? best_x * p->height + best_y : best_y * p->width + best_x;
            *y++ = (float)((double)task * (double)in + at);
        }
}

ITP_FN void itp_forward_pool_indices(interp_workspace *w, int node)
{
    itp_pool_job j = itp_pool_at(w, node);
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    j.by_columns = itp_at(w, node)->attrs.mode == 1;
    itp_pool_run(w, node, &j, itp_pool_indices_task);
}

/* Places outside of y are left out. */
ITP_FN void itp_forward_unpool(interp_workspace *w, int node)
{
    const float *x = itp_x(w, node, 0), *at = itp_x(w, node, 1);
    const size_t n = itp_count(itp_shape_in(w, node, 0)), all = itp_count(itp_shape_out(w, node));
    float *y = itp_y(w, node);
    memset(y, 0, all * sizeof *y);
    for (size_t i = 0; i < n; i++)
        if (at[i] >= 0 && (double)at[i] < (double)all) y[(size_t)at[i]] = x[i];
}

ITP_FN void itp_backward_unpool(interp_workspace *w, int node)
{
    const float *dy = itp_dy(w, node), *at = itp_x(w, node, 1);
    const size_t n = itp_count(itp_shape_in(w, node, 0)), all = itp_count(itp_shape_out(w, node));
    const bool add = itp_beta(w, node, 0) != 0;
    float *dx = itp_dx(w, node, 0);
    for (size_t i = 0; i < n; i++) {
        const bool inside = at[i] >= 0 && (double)at[i] < (double)all;
        dx[i] = (inside ? dy[(size_t)at[i]] : 0) + (add ? dx[i] : 0);
    }
}

/* ---- net/op_index.c: numbers picked by lists of indices, or mixed along an axis -------------------- */

/* Any number as an index below `size`: negative ones count from the end, and what is still out of
   range becomes the nearest that is not. */
ITP_FN size_t itp_index_of(float number, size_t size)
{
    double i = (double)number;
    if (i < 0) i += (double)size;
    if (!(i > 0)) return 0;
    return i < (double)size ? (size_t)i : size - 1;
}

/* y[i0, i1 .. r] = x[s0(i0), s1(i1) .. r]: dimensions whose sources are on a list, or are all of x's in
   order, and the run, which is what follows the last list. Neighbours without lists are merged. */
typedef struct itp_pick {
    const itp_kernels *kernels;
    int rank;                                        /* besides the run, 1 at least */
    size_t n[INTERP_MAX_RANK + 1];                   /* entries of y */
    size_t size[INTERP_MAX_RANK + 1];                /* and of x */
    size_t step[INTERP_MAX_RANK + 1];                /* numbers of x from entry to entry */
    const float *list[INTERP_MAX_RANK + 1];          /* NULL: in order */
    size_t run, rows;                                /* rows: of entries of the last dimension */
    bool wrap;                                       /* indices of any value; else -1 is filled */
    bool in_order;                                   /* the last list's sources are neighbours */
    size_t chunk, chunks, per_task;                  /* a row is cut into chunks of entries */
    size_t blocks, block_rows, block, pieces, piece; /* backward: of x, and of the run */
    const float *from;
    float *to, fill;
    bool add;
} itp_pick;

ITP_FN ptrdiff_t itp_pick_source(const itp_pick *p, int d, size_t i)
{
    if (!p->list[d]) return (ptrdiff_t)i;
    if (p->wrap) return (ptrdiff_t)itp_index_of(p->list[d][i], p->size[d]);
    return (ptrdiff_t)p->list[d][i];
}

/* Appends a dimension, the next inner one. */
ITP_FN void itp_pick_add(itp_pick *p, size_t n, size_t size, const float *list)
{
    if (!list && p->rank && !p->list[p->rank - 1]) {
        p->n[p->rank - 1] *= n, p->size[p->rank - 1] *= n;
        return;
    }
    p->n[p->rank] = n, p->size[p->rank] = size, p->list[p->rank] = list;
    p->rank++;
}

/* What follows from the dimensions. */
ITP_FN void itp_pick_finish(itp_pick *p)
{
    p->run = p->rows = 1;
    if (p->rank && !p->list[p->rank - 1]) p->run = p->n[--p->rank];
    if (p->rank == 0) itp_pick_add(p, 1, 1, NULL);
    const int last = p->rank - 1;
    size_t step = p->run;
    for (int d = last; d >= 0; d--) {
        p->step[d] = step;
        step *= p->size[d];
        if (d < last) p->rows *= p->n[d];
    }
    p->in_order = p->n[last] > 0 && itp_pick_source(p, last, 0) >= 0;
    for (size_t i = 1; i < p->n[last] && p->in_order; i++)
        p->in_order = itp_pick_source(p, last, i) == itp_pick_source(p, last, i - 1) + 1;
    p->chunk = itp_max_size(1, ITP_CHUNK / itp_max_size(1, p->run));
    p->chunk = itp_max_size(1, itp_min_size(p->chunk, p->n[last]));
    p->chunks = (p->n[last] + p->chunk - 1) / p->chunk;
    p->per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, p->chunk * p->run));
    /* two blocks of x share nothing, nor do two pieces of the run */
    p->blocks = p->rank > 1 && !p->list[0] ? p->n[0] : 1;
    p->block = step / itp_max_size(1, p->blocks);
    p->block_rows = p->rows / itp_max_size(1, p->blocks);
    p->pieces = p->blocks >= 16 || p->run < 128 ? 1 : itp_min_size(16, p->run / 64);
    p->piece = (p->run + p->pieces - 1) / p->pieces;
}

/* Where a row begins in x; false when it is filled. */
ITP_FN bool itp_pick_row(const itp_pick *p, size_t row, size_t *at)
{
    *at = 0;
    for (int d = p->rank - 2; d >= 0; d--) {
        const ptrdiff_t source = itp_pick_source(p, d, row % p->n[d]);
        row /= p->n[d];
        if (source < 0) return false;
        *at += (size_t)source * p->step[d];
    }
    return true;
}

ITP_FN void itp_pick_entries(const itp_pick *p, size_t row, size_t first, size_t n, float *y)
{
    const int last = p->rank - 1;
    size_t at;
    if (!itp_pick_row(p, row, &at)) {
        itp_fill(y, n * p->run, p->fill);
        return;
    }
    const float *x = p->from + at;
    if (p->in_order) {
        memcpy(y, x + (size_t)itp_pick_source(p, last, first) * p->run, n * p->run * sizeof *y);
        return;
    }
    for (size_t i = 0; i < n; i++, y += p->run) {
        const ptrdiff_t source = itp_pick_source(p, last, first + i);
        if (source < 0) itp_fill(y, p->run, p->fill);
        else if (p->run == 1) *y = x[source];
        else memcpy(y, x + (size_t)source * p->run, p->run * sizeof *y);
    }
}

ITP_FN void itp_pick_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_pick *p = (const itp_pick *)arg;
    const size_t entries = p->n[p->rank - 1], first = (size_t)task * p->per_task;
    const size_t end = itp_min_size(p->rows * p->chunks, first + p->per_task);
    for (size_t t = first; t < end; t++) {
        const size_t row = t / p->chunks, at = t % p->chunks * p->chunk;
        itp_pick_entries(p, row, at, itp_min_size(p->chunk, entries - at),
                         p->to + (row * entries + at) * p->run);
    }
}

ITP_FN void itp_pick_run(interp_ctx *ctx, itp_pick *p)
{
    const size_t units = p->rows * p->chunks;
    itp_parallel(ctx, (int)((units + p->per_task - 1) / p->per_task),
                 (double)(p->rows * p->n[p->rank - 1] * p->run) * 2, itp_pick_task, p);
}

/* One block of x, one piece of the run: what y got from a number comes back to it in the order of y. */
ITP_FN void itp_pick_grad_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_pick *p = (const itp_pick *)arg;
    const size_t block = (size_t)task / p->pieces, column = (size_t)task % p->pieces * p->piece;
    const size_t n = itp_min_size(p->piece, p->run - column), entries = p->n[p->rank - 1];
    const int last = p->rank - 1;
    float *dx = p->to + column;
    for (size_t i = 0; i < p->block && !p->add; i += p->run)
        memset(dx + block * p->block + i, 0, n * sizeof *dx);
    for (size_t row = block * p->block_rows; row < (block + 1) * p->block_rows; row++) {
        const float *dy = p->from + row * entries * p->run + column;
        size_t at;
        if (!itp_pick_row(p, row, &at)) continue;
        if (p->in_order && p->pieces == 1) {
            p->kernels->scale_add(entries * p->run, 1, dy, 1,
                                  dx + at + (size_t)itp_pick_source(p, last, 0) * p->run);
            continue;
        }
        for (size_t i = 0; i < entries; i++, dy += p->run) {
            const ptrdiff_t source = itp_pick_source(p, last, i);
            if (source < 0) continue;
            float *to = dx + at + (size_t)source * p->run;
            if (n == 1) *to += *dy;
            else p->kernels->scale_add(n, 1, dy, 1, to);
        }
    }
}

ITP_FN void itp_pick_grad(interp_ctx *ctx, itp_pick *p)
{
    if (p->block == 0) return;
    itp_parallel(ctx, (int)(p->blocks * p->pieces),
                 (double)(p->blocks * p->block + p->rows * p->n[p->rank - 1] * p->run) * 2,
                 itp_pick_grad_task, p);
}

/* ---- by a table: for every dimension of y -2, all of it, or how many and which; -1 is filled */

ITP_FN itp_pick itp_index_at(const interp_workspace *w, int node)
{
    const interp_shape *x = itp_shape_in(w, node, 0);
    const float *table = itp_x(w, node, 1);
    itp_pick p;
    memset(&p, 0, sizeof p);
    p.kernels = w->ctx->k;
    p.fill = itp_at(w, node)->attrs.alpha;
    for (int d = 0; d < x->rank; d++) {
        const size_t size = (size_t)x->dim[d], n = *table < 0 ? 0 : (size_t)*table;
        if (*table++ < 0) {
            itp_pick_add(&p, size, size, NULL);
            continue;
        }
        itp_pick_add(&p, n, size, table);
        table += n;
    }
    itp_pick_finish(&p);
    return p;
}

/* ---- whole entries of one dimension */

ITP_FN itp_pick itp_gather_at(const interp_workspace *w, int node)
{
    const interp_shape *x = itp_shape_in(w, node, 0), *indices = itp_shape_in(w, node, 1);
    const int axis = itp_axis(itp_at(w, node)->attrs.axis, x->rank);
    const size_t size = (size_t)x->dim[axis];
    size_t outer, row;
    itp_pick p;
    memset(&p, 0, sizeof p);
    p.kernels = w->ctx->k;
    p.wrap = true;
    itp_axis_split(x, axis, &outer, &row);
    row /= itp_max_size(1, size);
    itp_pick_add(&p, outer, outer, NULL);
    itp_pick_add(&p, itp_count(indices), size, itp_x(w, node, 1));
    itp_pick_add(&p, row, row, NULL);
    itp_pick_finish(&p);
    return p;
}

/* ---- the ops of both kinds */

ITP_FN itp_pick itp_pick_at(const interp_workspace *w, int node)
{
    return itp_op_row(itp_at(w, node)->op)->kind ? itp_gather_at(w, node) : itp_index_at(w, node);
}

ITP_FN void itp_forward_pick(interp_workspace *w, int node)
{
    itp_pick p = itp_pick_at(w, node);
    p.from = itp_x(w, node, 0), p.to = itp_y(w, node);
    itp_pick_run(w->ctx, &p);
}

ITP_FN void itp_backward_pick(interp_workspace *w, int node)
{
    itp_pick p = itp_pick_at(w, node);
    p.from = itp_dy(w, node), p.to = itp_dx(w, node, 0);
    p.add = itp_beta(w, node, 0) != 0;
    itp_pick_grad(w->ctx, &p);
}

/* ---- weighted sums along an axis: y[o, t, i] = sum over k of weight[t, k] x[o, source[t, k], i] */

typedef struct itp_mix_job {
    const itp_kernels *kernels;
    size_t outer, n, size, inner; /* n: places along the axis of y, size: of x */
    int taps;
    const float *table; /* [n, 2 taps]: sources, then weights */
    const float *from;
    float *to;
    size_t per_task, pieces, piece; /* rows of y; backward: of the inner numbers */
    bool add;
} itp_mix_job;

ITP_FN itp_mix_job itp_mix_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *x = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, x->rank);
    itp_mix_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    itp_axis_split(x, axis, &j.outer, &j.inner);
    j.size = (size_t)x->dim[axis];
    j.inner /= itp_max_size(1, j.size);
    j.n = (size_t)itp_shape_out(w, node)->dim[axis];
    j.taps = a->length;
    j.table = itp_x(w, node, 1);
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, j.inner * (size_t)j.taps));
    j.pieces = j.outer >= 16 || j.inner < 128 ? 1 : itp_min_size(16, j.inner / 64);
    j.piece = (j.inner + j.pieces - 1) / j.pieces;
    return j;
}

/* One row of the table applied to numbers side by side. */
ITP_FN float itp_mix_number(const float *source, int taps, const float *x)
{
    float sum = 0;
    for (int k = 0; k < taps; k++)
        if (source[taps + k] != 0) sum += source[taps + k] * x[(int)source[k]];
    return sum;
}

ITP_FN void itp_mix_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_mix_job *j = (const itp_mix_job *)arg;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->outer * j->n, first + j->per_task);
    size_t t = first % j->n;
    const float *x = j->from + first / j->n * j->size * j->inner;
    for (size_t row = first; row < end; row++, t++) {
        if (t == j->n) t = 0, x += j->size * j->inner;
        const float *source = j->table + t * 2 * (size_t)j->taps;
        float *y = j->to + row * j->inner;
        float beta = 0;
        if (j->inner == 1) {
            *y = itp_mix_number(source, j->taps, x);
            continue;
        }
        for (int k = 0; k < j->taps; k++) {
            const float weight = source[j->taps + k];
            const float *term = x + (size_t)source[k] * j->inner;
            if (weight == 0) continue; /* padding of the table */
            j->kernels->scale_add(j->inner, weight, term, beta, y);
            beta = 1;
        }
        if (beta == 0) memset(y, 0, j->inner * sizeof *y);
    }
}

ITP_FN void itp_mix_grad_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_mix_job *j = (const itp_mix_job *)arg;
    const size_t outer = (size_t)task / j->pieces, column = (size_t)task % j->pieces * j->piece;
    const size_t n = itp_min_size(j->piece, j->inner - column);
    const float *dy = j->from + outer * j->n * j->inner + column;
    float *dx = j->to + outer * j->size * j->inner + column;
    for (size_t s = 0; s < j->size && !j->add; s++) memset(dx + s * j->inner, 0, n * sizeof *dx);
    for (size_t t = 0; t < j->n; t++, dy += j->inner) {
        const float *source = j->table + t * 2 * (size_t)j->taps;
        for (int k = 0; k < j->taps; k++) {
            const float weight = source[j->taps + k];
            float *to = dx + (size_t)source[k] * j->inner;
            if (weight == 0) continue;
            if (n > 1) j->kernels->scale_add(n, weight, dy, 1, to);
            else *to += weight * *dy;
        }
    }
}

ITP_FN void itp_forward_resize_axis(interp_workspace *w, int node)
{
    itp_mix_job j = itp_mix_at(w, node);
    j.from = itp_x(w, node, 0), j.to = itp_y(w, node);
    itp_parallel(w->ctx, (int)((j.outer * j.n + j.per_task - 1) / j.per_task),
                 (double)(j.outer * j.n * j.inner) * j.taps * 2, itp_mix_task, &j);
}

ITP_FN void itp_backward_resize_axis(interp_workspace *w, int node)
{
    itp_mix_job j = itp_mix_at(w, node);
    j.from = itp_dy(w, node), j.to = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    if (j.inner == 0) return;
    itp_parallel(w->ctx, (int)(j.outer * j.pieces), (double)(j.outer * j.n * j.inner) * j.taps * 2,
                 itp_mix_grad_task, &j);
}

/* ---- net/op_elementwise.c: functions of one and of two arguments ------------------------------ */

#define ITP_CHUNK 8192 /* numbers of one task */

typedef struct itp_unary_job {
    const itp_kernels *kernels;
    itp_unary kind;
    size_t n;
    const float *x, *y, *dy;
    float *out, a, b;
    bool add;
} itp_unary_job;

ITP_FN void itp_unary_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_unary_job *j = (const itp_unary_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    j->kernels->unary(j->kind, n, j->x + at, j->out + at, j->a, j->b);
}

ITP_FN void itp_unary_grad_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_unary_job *j = (const itp_unary_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    itp_grads(j->kernels)
        ->unary_grad(j->kind, n, j->x + at, j->y + at, j->dy + at, j->out + at, j->a, j->b, j->add);
}

ITP_FN void itp_unary_run(interp_ctx *ctx, itp_unary_job *j, itp_task_fn task)
{
    j->kernels = ctx->k;
    itp_parallel(ctx, (int)((j->n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j->n * 8, task, j);
}

ITP_FN void itp_forward_unary(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    itp_unary_job j;
    memset(&j, 0, sizeof j);
    j.kind = (itp_unary)itp_op_row(o->op)->kind;
    j.n = itp_count(itp_shape_out(w, node));
    j.x = itp_x(w, node, 0);
    j.out = itp_y(w, node);
    j.a = o->attrs.alpha, j.b = o->attrs.beta;
    itp_unary_run(w->ctx, &j, itp_unary_task);
}

ITP_FN void itp_backward_unary(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_op *row = itp_op_row(o->op);
    itp_unary_job j;
    memset(&j, 0, sizeof j);
    j.kind = (itp_unary)row->kind;
    j.n = itp_count(itp_shape_out(w, node));
    j.x = itp_x(w, node, 0);
    j.y = itp_y(w, node);
    if (!(row->flags & ITP_NEEDS_X)) j.x = j.y; /* the numbers of x may be gone */
    if (!(row->flags & ITP_NEEDS_Y)) j.y = j.x;
    j.dy = itp_dy(w, node);
    j.out = itp_dx(w, node, 0);
    j.a = o->attrs.alpha, j.b = o->attrs.beta;
    j.add = itp_beta(w, node, 0) != 0;
    itp_unary_run(w->ctx, &j, itp_unary_grad_task);
}

/* ---- two arguments with broadcasting */

/* Dimensions merged where both operands run the same way; the last is a contiguous run in which
   each operand moves by 1 or stays. */
typedef struct itp_pairing {
    int rank;
    size_t dim[INTERP_MAX_RANK];
    size_t a_step[INTERP_MAX_RANK], b_step[INTERP_MAX_RANK]; /* in numbers */
    size_t rows; /* product of all but the last dimension */
} itp_pairing;

ITP_FN itp_pairing itp_pair(const interp_shape *a, const interp_shape *b, const interp_shape *out)
{
    itp_pairing p;
    memset(&p, 0, sizeof p);
    size_t a_at = 1, b_at = 1;
    size_t dim[INTERP_MAX_RANK], sa[INTERP_MAX_RANK], sb[INTERP_MAX_RANK];
    int n = 0; /* merged dimensions, innermost first */
    for (int i = out->rank - 1; i >= 0; i--) {
        const int ia = i - (out->rank - a->rank), ib = i - (out->rank - b->rank);
        const size_t d = (size_t)out->dim[i];
        const bool a_moves = ia >= 0 && a->dim[ia] != 1, b_moves = ib >= 0 && b->dim[ib] != 1;
        if (d == 1) continue;
        const size_t ta = a_moves ? a_at : 0, tb = b_moves ? b_at : 0;
        if (a_moves) a_at *= d;
        if (b_moves) b_at *= d;
        if (n && (sa[n - 1] != 0) == a_moves && (sb[n - 1] != 0) == b_moves) {
            dim[n - 1] *= d;
            continue;
        }
        dim[n] = d, sa[n] = ta, sb[n] = tb;
        n++;
    }
    if (n == 0) dim[0] = 1, sa[0] = sb[0] = 1, n = 1;
    p.rank = n;
    p.rows = 1;
    for (int i = 0; i < n; i++) {
        p.dim[i] = dim[n - 1 - i], p.a_step[i] = sa[n - 1 - i], p.b_step[i] = sb[n - 1 - i];
        if (i < n - 1) p.rows *= p.dim[i];
    }
    return p;
}

/* Where row `row` begins in both operands. */
ITP_FN void itp_pair_at(const itp_pairing *p, size_t row, size_t *a, size_t *b)
{
    *a = *b = 0;
    for (int i = p->rank - 2; i >= 0; i--) {
        const size_t at = row % p->dim[i];
        row /= p->dim[i];
        *a += at * p->a_step[i];
        *b += at * p->b_step[i];
    }
}

typedef struct itp_binary_job {
    const itp_kernels *kernels;
    itp_pairing p;
    itp_binary kind;
    size_t chunk, chunks; /* a row is cut into chunks */
    size_t per_task;      /* row chunks of one task */
    const float *a, *b;
    float *y;
} itp_binary_job;

ITP_FN void itp_binary_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_binary_job *j = (const itp_binary_job *)arg;
    const int last = j->p.rank - 1;
    const size_t row_size = j->p.dim[last], all = j->p.rows * j->chunks;
    const size_t first = (size_t)task * j->per_task, end = itp_min_size(all, first + j->per_task);
    for (size_t t = first; t < end; t++) {
        size_t a, b;
        const size_t row = t / j->chunks, at = t % j->chunks * j->chunk;
        itp_pair_at(&j->p, row, &a, &b);
        j->kernels->binary(j->kind, itp_min_size(j->chunk, row_size - at),
                           j->a + a + at * j->p.a_step[last], (int)j->p.a_step[last],
                           j->b + b + at * j->p.b_step[last], (int)j->p.b_step[last],
                           j->y + row * row_size + at);
    }
}

ITP_FN void itp_forward_binary(interp_workspace *w, int node)
{
    itp_binary_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.p = itp_pair(itp_shape_in(w, node, 0), itp_shape_in(w, node, 1), itp_shape_out(w, node));
    j.kind = (itp_binary)itp_op_row(itp_at(w, node)->op)->kind;
    j.a = itp_x(w, node, 0), j.b = itp_x(w, node, 1), j.y = itp_y(w, node);
    const size_t row = j.p.dim[j.p.rank - 1];
    j.chunk = itp_min_size(row, ITP_CHUNK);
    j.chunks = row ? (row + j.chunk - 1) / j.chunk : 0;
    j.per_task = row ? (ITP_CHUNK + j.chunk - 1) / j.chunk : 1;
    const size_t all = j.p.rows * j.chunks;
    itp_parallel(w->ctx, (int)((all + j.per_task - 1) / j.per_task), (double)(row * j.p.rows) * 2,
                 itp_binary_task, &j);
}

/* d (+)= sum over what was broadcast of g(dy, other), for one operand; g by `kind`:
   ADD: dy; SUB: -dy; MUL: dy other; DIV: dy / other. */
ITP_FN void itp_pair_reduce(const itp_kernels *k, const itp_pairing *p, bool second,
                            itp_binary kind, const float *dy, const float *other, float *d)
{
    const int last = p->rank - 1;
    const size_t n = p->dim[last];
    const bool moves = (second ? p->b_step[last] : p->a_step[last]) != 0;
    const bool other_moves = (second ? p->a_step[last] : p->b_step[last]) != 0;
    for (size_t row = 0; row < p->rows; row++) {
        size_t a, b;
        itp_pair_at(p, row, &a, &b);
        const float *g = dy + row * n;
        float *to = d + (second ? b : a);
        const float *o = other ? other + (second ? a : b) : NULL;
        const float factor = kind == ITP_SUB ? -1 : kind == ITP_MUL && !other_moves ? *o : 1;
        const bool product = kind == ITP_MUL && other_moves;
        if (moves && product) k->mul_add(n, g, o, to, true);
        else if (moves) k->scale_add(n, factor, g, 1, to);
        else if (product) *to += (float)k->dot(n, g, 0, o, 0);
        else *to += factor * (float)k->sum(n, g);
    }
}

ITP_FN void itp_backward_binary(interp_workspace *w, int node)
{
    const itp_kernels *k = w->ctx->k;
    const itp_pairing p =
        itp_pair(itp_shape_in(w, node, 0), itp_shape_in(w, node, 1), itp_shape_out(w, node));
    const itp_binary kind = (itp_binary)itp_op_row(itp_at(w, node)->op)->kind;
    const float *dy = itp_dy(w, node);
    for (int i = 0; i < 2; i++) {
        float *d = itp_dx(w, node, i);
        if (!d) continue;
        const size_t n = itp_count(itp_shape_in(w, node, i));
        if (itp_beta(w, node, i) == 0) memset(d, 0, n * sizeof *d);
        if (kind == ITP_ADD || (kind == ITP_SUB && i == 0))
            itp_pair_reduce(k, &p, i, ITP_ADD, dy, NULL, d);
        else if (kind == ITP_SUB) itp_pair_reduce(k, &p, true, ITP_SUB, dy, NULL, d);
        else if (kind == ITP_MUL) itp_pair_reduce(k, &p, i, ITP_MUL, dy, itp_x(w, node, 1 - i), d);
        else {
            /* a/b: da = dy (1/b); db = -dy y (1/b), with 1/b and the products in scratch */
            const interp_shape *bs = itp_shape_in(w, node, 1);
            const size_t nb = itp_count(bs), ny = itp_count(itp_shape_out(w, node));
            float *inverse = w->shared, *g = w->shared + itp_round_up(nb, 16);
            k->unary(ITP_RECIPROCAL, nb, itp_x(w, node, 1), inverse, 0, 0);
            if (i == 0) {
                itp_pair_reduce(k, &p, false, ITP_MUL, dy, inverse, d);
                continue;
            }
            /* pair dy y with 1/b by the same broadcasting, then sum over what b was spread over */
            k->binary(ITP_MUL, ny, dy, 1, itp_y(w, node), 1, g);
            const size_t row = p.dim[p.rank - 1];
            for (size_t r = 0; r < p.rows; r++) {
                size_t a, b;
                itp_pair_at(&p, r, &a, &b);
                k->binary(ITP_MUL, row, g + r * row, 1, inverse + b, (int)p.b_step[p.rank - 1],
                          g + r * row);
            }
            itp_pair_reduce(k, &p, true, ITP_SUB, g, NULL, d);
        }
    }
}

ITP_FN itp_need itp_need_div(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.input_grads || w->desc.param_grads)
        need.shared = itp_round_up(itp_count(itp_shape_in(w, node, 1)), 16) +
                      itp_count(itp_shape_out(w, node));
    return need;
}

/* ---- dropout */

typedef struct itp_dropout_job {
    const float *x;
    float *y, p;
    uint8_t *kept; /* one byte for each number: drawn forward, used again backward */
    size_t n;
    uint64_t seed, stream;
} itp_dropout_job;

ITP_FN void itp_dropout_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_dropout_job *j = (const itp_dropout_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, end = itp_min_size(j->n, at + ITP_CHUNK);
    const float scale = 1 / (1 - j->p);
    const uint32_t least = (uint32_t)(j->p * 16777216.0f); /* of 24 random bits */
    for (size_t i = at; i < end; i += 4) {                 /* chunks are multiples of 4 */
        uint32_t r[4];
        itp_philox(j->seed, j->stream, i >> 2, r);
        for (size_t q = i; q < i + 4 && q < end; q++) j->kept[q] = (r[q - i] >> 8) >= least;
    }
    for (size_t i = at; i < end; i++) j->y[i] = j->kept[i] ? j->x[i] * scale : 0;
}

ITP_FN itp_need itp_need_dropout(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.mode == INTERP_TRAIN)
        need.save = itp_count(itp_shape_out(w, node)) / sizeof(float) + 1;
    return need;
}

ITP_FN void itp_forward_dropout(interp_workspace *w, int node)
{
    if (w->desc.mode != INTERP_TRAIN) return; /* then the output is the input's memory */
    itp_dropout_job j;
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    j.p = itp_at(w, node)->attrs.alpha;
    j.kept = (uint8_t *)(void *)w->save[node];
    j.n = itp_count(itp_shape_out(w, node));
    j.seed = w->seed;
    j.stream = w->step * 65536 + (uint64_t)node;
    itp_parallel(w->ctx, (int)((j.n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j.n * 16,
                 itp_dropout_task, &j);
}

ITP_FN void itp_copy_or_add(const itp_kernels *k, const float *from, float beta, float *to,
                            size_t n)
{
    if (beta != 0) k->scale_add(n, 1, from, 1, to);
    else memcpy(to, from, n * sizeof *to);
}

ITP_FN void itp_backward_dropout(interp_workspace *w, int node)
{
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0);
    const float beta = itp_beta(w, node, 0);
    const size_t n = itp_count(itp_shape_out(w, node));
    if (w->desc.mode != INTERP_TRAIN) {
        itp_copy_or_add(w->ctx->k, dy, beta, dx, n);
        return;
    }
    const uint8_t *kept = (const uint8_t *)(const void *)w->save[node];
    const float scale = 1 / (1 - itp_at(w, node)->attrs.alpha);
    for (size_t i = 0; i < n; i++) dx[i] = (kept[i] ? dy[i] * scale : 0) + (beta != 0 ? dx[i] : 0);
}

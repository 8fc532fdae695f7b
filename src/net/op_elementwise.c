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

/* y[i] = kind(a[i], b[i]), as the kernels' `binary` does it. */
typedef void (*itp_pair_fn)(int kind, size_t n, const float *a, size_t a_step, const float *b,
                            size_t b_step, float *y);

typedef struct itp_binary_job {
    const itp_kernels *kernels;
    itp_pairing p;
    itp_pair_fn fn; /* NULL: a kernel */
    int kind;
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
        const size_t a_step = j->p.a_step[last], b_step = j->p.b_step[last];
        const size_t n = itp_min_size(j->chunk, row_size - at);
        const float *from_a = j->a + a + at * a_step, *from_b = j->b + b + at * b_step;
        float *y = j->y + row * row_size + at;
        if (j->fn) j->fn(j->kind, n, from_a, a_step, from_b, b_step, y);
        else
            j->kernels->binary((itp_binary)j->kind, n, from_a, (int)a_step, from_b, (int)b_step, y);
    }
}

/* y = kind(a, b) for inputs a and b. */
ITP_FN void itp_pair_run(interp_workspace *w, int node, itp_pair_fn fn, int kind, int a, int b)
{
    itp_binary_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.p = itp_pair(itp_shape_in(w, node, a), itp_shape_in(w, node, b), itp_shape_out(w, node));
    j.fn = fn, j.kind = kind;
    j.a = itp_x(w, node, a), j.b = itp_x(w, node, b), j.y = itp_y(w, node);
    const size_t row = j.p.dim[j.p.rank - 1];
    j.chunk = itp_min_size(row, ITP_CHUNK);
    j.chunks = row ? (row + j.chunk - 1) / j.chunk : 0;
    j.per_task = row ? (ITP_CHUNK + j.chunk - 1) / j.chunk : 1;
    const size_t all = j.p.rows * j.chunks;
    itp_parallel(w->ctx, (int)((all + j.per_task - 1) / j.per_task), (double)(row * j.p.rows) * 2,
                 itp_binary_task, &j);
}

ITP_FN void itp_forward_binary(interp_workspace *w, int node)
{
    itp_pair_run(w, node, NULL, itp_op_row(itp_at(w, node)->op)->kind, 0, 1);
}

/* t[i] = g[i] times the derivative of kind(a, b) in a, or in b where `second` is set. */
typedef void (*itp_pair_grad_fn)(int kind, bool second, size_t n, const float *g, const float *a,
                                 size_t a_step, const float *b, size_t b_step, float *t);

/* d (+)= sum over what was broadcast of a term of dy and both operands, for one of them, its own; a
   task takes whole sums: rows of d, or of one row some columns. */
typedef struct itp_pair_job {
    const itp_kernels *kernels;
    itp_pairing p;       /* of its own and the other operand */
    itp_pair_grad_fn fn; /* NULL: one of the kernels' kinds */
    int kind;
    bool second;                  /* of the operands */
    bool add, moves, other_moves; /* along the last dimension */
    const float *dy, *y, *own, *other;
    float *d;
    size_t sums, spread;  /* rows of d; rows of dy that are added up in each */
    size_t chunk, chunks; /* columns of one task */
    size_t per_task;
} itp_pair_job;

#define ITP_PAIR_TERMS 1024 /* the most columns of a chunk */

/* Row `spread` of those added up in row `sum` of d: which row of dy it is, and where the operands
   begin. */
ITP_FN void itp_pair_spot(const itp_pairing *p, size_t sum, size_t spread, size_t *row, size_t *own,
                          size_t *other)
{
    size_t rows = 1;
    *row = *own = *other = 0;
    for (int i = p->rank - 2; i >= 0; i--) {
        size_t *from = p->a_step[i] ? &sum : &spread;
        const size_t at = *from % p->dim[i];
        *from /= p->dim[i];
        *row += at * rows;
        *own += at * p->a_step[i];
        *other += at * p->b_step[i];
        rows *= p->dim[i];
    }
}

/* The term of n numbers, with c and d for the operand that is asked for and the other: a + b: g;
   a - b: g or -g; a b: g d; a / b: g / d or -g y / c. It is added to `to`; or its sum is returned, where
   the operand does not move. */
ITP_FN double itp_pair_term(const itp_pair_job *j, size_t n, const float *g, const float *y,
                            const float *c, const float *d, bool add, float *to)
{
    const itp_kernels *k = j->kernels;
    float t[ITP_PAIR_TERMS], factor = 1;
    const float *times = NULL;
    if (j->fn) {
        const float *a = j->second ? d : c, *b = j->second ? c : d;
        const bool a_moves = j->second ? j->other_moves : j->moves;
        j->fn(j->kind, j->second, n, g, a, a_moves, b, j->second ? j->moves : j->other_moves, t);
        g = t;
    } else if (j->kind == ITP_SUB && j->second) {
        factor = -1;
    } else if (j->kind == ITP_MUL && j->other_moves) {
        times = d;
    } else if (j->kind == ITP_MUL) {
        factor = *d;
    } else if (j->kind == ITP_DIV && j->second) {
        k->binary(ITP_MUL, n, g, 1, y, 1, t);
        if (j->moves) k->binary(ITP_DIV, n, t, 1, c, 1, t);
        factor = j->moves ? -1 : -1 / *c;
        g = t;
    } else if (j->kind == ITP_DIV) {
        k->binary(ITP_DIV, n, g, 1, d, j->other_moves, t);
        g = t;
    }
    if (!j->moves) return (double)factor * (times ? k->dot(n, g, 0, times, 0) : k->sum(n, g));
    if (times) k->mul_add(n, g, times, to, add);
    else k->scale_add(n, factor, g, add ? 1 : 0, to);
    return 0;
}

ITP_FN void itp_pair_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_pair_job *j = (const itp_pair_job *)arg;
    const size_t columns = j->p.dim[j->p.rank - 1], all = j->sums * j->chunks;
    const size_t first = (size_t)task * j->per_task, end = itp_min_size(all, first + j->per_task);
    for (size_t t = first; t < end; t++) {
        const size_t begin = t % j->chunks * j->chunk;
        const size_t stop = j->moves ? itp_min_size(columns, begin + j->chunk) : columns;
        double total = 0;
        size_t row, own = 0, other;
        for (size_t r = 0; r < j->spread; r++) {
            itp_pair_spot(&j->p, t / j->chunks, r, &row, &own, &other);
            for (size_t at = begin; at < stop; at += ITP_PAIR_TERMS) {
                const size_t here = own + (j->moves ? at : 0), i = row * columns + at;
                total += itp_pair_term(
                    j, itp_min_size(ITP_PAIR_TERMS, stop - at), j->dy + i, j->y + i, j->own + here,
                    j->other + other + (j->other_moves ? at : 0), j->add || r > 0, j->d + here);
            }
        }
        if (!j->moves) j->d[own] = (float)total + (j->add ? j->d[own] : 0);
    }
}

/* The gradient of input `own`, whose terms are of itself and of input `other`. */
ITP_FN void itp_pair_grad(interp_workspace *w, int node, itp_pair_grad_fn fn, int kind, int own,
                          int other)
{
    itp_pair_job j;
    memset(&j, 0, sizeof j);
    j.d = itp_dx(w, node, own);
    if (!j.d) return;
    j.kernels = w->ctx->k;
    j.p =
        itp_pair(itp_shape_in(w, node, own), itp_shape_in(w, node, other), itp_shape_out(w, node));
    j.fn = fn, j.kind = kind;
    j.second = own > other;
    j.add = itp_beta(w, node, own) != 0;
    j.dy = itp_dy(w, node), j.y = itp_y(w, node);
    j.own = itp_x(w, node, own), j.other = itp_x(w, node, other);
    const int last = j.p.rank - 1;
    const size_t columns = j.p.dim[last];
    if (columns * j.p.rows == 0) { /* no terms at all */
        if (!j.add) itp_fill(j.d, itp_count(itp_shape_in(w, node, own)), 0);
        return;
    }
    j.moves = j.p.a_step[last] != 0, j.other_moves = j.p.b_step[last] != 0;
    j.sums = j.spread = 1;
    for (int r = 0; r < last; r++) *(j.p.a_step[r] ? &j.sums : &j.spread) *= j.p.dim[r];
    /* few columns where many rows come together, so that there are tasks enough */
    j.chunk = itp_min_size(columns, j.spread > 1 ? 256 : ITP_PAIR_TERMS);
    j.chunks = j.moves ? (columns + j.chunk - 1) / j.chunk : 1;
    const size_t one = j.spread * (j.moves ? j.chunk : columns);
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, one));
    itp_parallel(w->ctx, (int)((j.sums * j.chunks + j.per_task - 1) / j.per_task),
                 (double)(columns * j.p.rows) * 2, itp_pair_task, &j);
}

ITP_FN void itp_backward_binary(interp_workspace *w, int node)
{
    const int kind = itp_op_row(itp_at(w, node)->op)->kind;
    for (int i = 0; i < 2; i++) itp_pair_grad(w, node, NULL, kind, i, 1 - i);
}

/* ---- rows of numbers that move as they are */

typedef struct itp_move_job {
    const itp_kernels *kernels;
    const float *from;
    float *to;
    size_t from_step, to_step, rows, run; /* numbers from row to row, and of a row */
    size_t before, after;                 /* numbers beside each row that become 0 */
    size_t chunk, chunks, per_task;       /* a row is cut into chunks; those of one task */
    bool add;
} itp_move_job;

ITP_FN void itp_move_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_move_job *j = (const itp_move_job *)arg;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->rows * j->chunks, first + j->per_task);
    for (size_t t = first; t < end; t++) {
        const size_t row = t / j->chunks, at = t % j->chunks * j->chunk;
        const size_t n = itp_min_size(j->chunk, j->run - at);
        float *to = j->to + row * j->to_step + at;
        if (j->before && at == 0) memset(to - j->before, 0, j->before * sizeof *to);
        if (j->after && at + n == j->run) memset(to + n, 0, j->after * sizeof *to);
        if (j->add) j->kernels->scale_add(n, 1, j->from + row * j->from_step + at, 1, to);
        else memcpy(to, j->from + row * j->from_step + at, n * sizeof *to);
    }
}

ITP_FN void itp_move_run(interp_ctx *ctx, itp_move_job *j)
{
    if (j->rows == 0 || j->run == 0) return;
    j->kernels = ctx->k;
    j->chunk = itp_min_size(j->run, ITP_CHUNK);
    j->chunks = (j->run + j->chunk - 1) / j->chunk;
    j->per_task = ITP_CHUNK / j->chunk;
    itp_parallel(ctx, (int)((j->rows * j->chunks + j->per_task - 1) / j->per_task),
                 (double)(j->rows * (j->before + j->run + j->after)), itp_move_task, j);
}

/* to[r][i] (+)= from[r][i] for r < rows and i < run. */
ITP_FN void itp_move(interp_ctx *ctx, const float *from, size_t from_step, float *to,
                     size_t to_step, size_t rows, size_t run, bool add)
{
    itp_move_job j;
    memset(&j, 0, sizeof j);
    j.from = from, j.to = to, j.from_step = from_step, j.to_step = to_step;
    j.rows = rows, j.run = run, j.add = add;
    itp_move_run(ctx, &j);
}

/* ---- dropout */

/* kept[i] = 1 where the 24 high bits of a number of the stream are at least `least`, from number
   4 `block` on. Blocks of Philox side by side, since the rounds of one wait for each other. */
ITP_FN void itp_draw(uint64_t seed, uint64_t stream, uint64_t block, size_t n, uint32_t least,
                     uint8_t *kept)
{
    enum { wide = 16 };
    for (size_t at = 0; at < n; at += 4 * wide, block += wide) {
        uint32_t c0[wide], c1[wide], c2[wide], c3[wide];
        uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
        uint8_t out[4 * wide];
        for (int l = 0; l < wide; l++) {
            const uint64_t b = block + (uint64_t)l;
            c0[l] = (uint32_t)b, c1[l] = (uint32_t)(b >> 32);
            c2[l] = (uint32_t)stream, c3[l] = (uint32_t)(stream >> 32);
        }
        for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
            for (int l = 0; l < wide; l++) {
                const uint64_t p0 = (uint64_t)0xD2511F53u * c0[l];
                const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2[l];
                c0[l] = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0;
                c1[l] = (uint32_t)p1;
                c2[l] = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
                c3[l] = (uint32_t)p0;
            }
        for (int l = 0; l < wide; l++) {
            out[4 * l] = c0[l] >> 8 >= least, out[4 * l + 1] = c1[l] >> 8 >= least;
            out[4 * l + 2] = c2[l] >> 8 >= least, out[4 * l + 3] = c3[l] >> 8 >= least;
        }
        memcpy(kept + at, out, n - at < sizeof out ? n - at : sizeof out);
    }
}

/* Random numbers of a node in one forward pass; passes of a workspace count from 1. */
ITP_INLINE uint64_t itp_dropout_stream(uint64_t pass, int node)
{
    return pass * 65536 + (uint64_t)node;
}

typedef struct itp_dropout_job {
    const float *x;
    float *y, p;
    uint8_t *kept; /* one byte for each number: drawn forward, used again backward */
    bool draw, add;
    size_t n;
    uint64_t seed, stream;
} itp_dropout_job;

ITP_FN void itp_dropout_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_dropout_job *j = (const itp_dropout_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, end = itp_min_size(j->n, at + ITP_CHUNK);
    const float factor[2] = {0, 1 / (1 - j->p)};
    const uint32_t least = (uint32_t)(j->p * 16777216.0f); /* of 24 random bits */
    if (j->draw)                                           /* chunks are multiples of 4 */
        itp_draw(j->seed, j->stream, at / 4, end - at, least, j->kept + at);
    if (j->add)
        for (size_t i = at; i < end; i++) j->y[i] += j->x[i] * factor[j->kept[i]];
    else
        for (size_t i = at; i < end; i++) j->y[i] = j->x[i] * factor[j->kept[i]];
}

ITP_FN itp_need itp_need_dropout(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.mode == INTERP_TRAIN)
        need.save = itp_count(itp_shape_out(w, node)) / sizeof(float) + 1;
    return need;
}

ITP_FN void itp_dropout_run(interp_workspace *w, int node, itp_dropout_job *j)
{
    j->p = itp_at(w, node)->attrs.alpha;
    j->kept = (uint8_t *)(void *)w->save[node];
    j->n = itp_count(itp_shape_out(w, node));
    j->seed = w->seed;
    j->stream = itp_dropout_stream(w->step, node);
    itp_parallel(w->ctx, (int)((j->n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j->n * 16,
                 itp_dropout_task, j);
}

ITP_FN void itp_forward_dropout(interp_workspace *w, int node)
{
    itp_dropout_job j;
    if (w->desc.mode != INTERP_TRAIN) return; /* then the output is the input's memory */
    memset(&j, 0, sizeof j);
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    j.draw = true;
    itp_dropout_run(w, node, &j);
}

ITP_FN void itp_backward_dropout(interp_workspace *w, int node)
{
    itp_dropout_job j;
    memset(&j, 0, sizeof j);
    j.x = itp_dy(w, node), j.y = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    if (w->desc.mode == INTERP_TRAIN) itp_dropout_run(w, node, &j);
    else itp_move(w->ctx, j.x, 0, j.y, 0, 1, itp_count(itp_shape_out(w, node)), j.add);
}

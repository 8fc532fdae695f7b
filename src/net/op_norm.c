/* ---- net/op_norm.c: batch norm, layer norm, softmax -------------------------------------------- */

/* Batch norm's inputs: x, gamma, beta, running mean, running variance; all but x of [C]. */
typedef struct itp_bn {
    const itp_kernels *kernels;
    int n, channels, per_task;
    size_t pixels;
    const float *x, *dy, *gamma, *beta;
    float *mean, *variance; /* running; written in training */
    float *save; /* mean and 1/sd of each channel of the batch; in evaluation there is none */
    float *y, *dx, *dgamma, *dbeta;
    float add_x, add_gamma, add_beta;
    float epsilon, momentum;
    interp_mode mode;
} itp_bn;

ITP_FN itp_bn itp_bn_at(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_bn b;
    memset(&b, 0, sizeof b);
    b.kernels = w->ctx->k;
    b.n = s->dim[0], b.channels = s->dim[1];
    b.pixels = itp_count(s) / itp_max_size(1, (size_t)b.n * (size_t)b.channels);
    b.x = itp_x(w, node, 0), b.gamma = itp_x(w, node, 1), b.beta = itp_x(w, node, 2);
    b.mean = w->net->values[o->in[3]].data, b.variance = w->net->values[o->in[4]].data;
    b.save = w->save[node];
    b.epsilon = o->attrs.epsilon, b.momentum = o->attrs.momentum;
    b.mode = w->desc.mode;
    return b;
}

ITP_FN itp_need itp_need_bn(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.mode != INTERP_EVAL) need.save = 2 * (size_t)itp_shape_in(w, node, 0)->dim[1];
    return need;
}

ITP_FN const float *itp_bn_plane(const itp_bn *b, const float *x, int image, int channel)
{
    return x + ((size_t)image * (size_t)b->channels + (size_t)channel) * b->pixels;
}

/* How many numbers of all channels a batch has, each. */
ITP_FN double itp_bn_count(const itp_bn *b)
{
    return (double)b->n * (double)b->pixels;
}

ITP_FN void itp_bn_statistics(const itp_bn *b, int c, double *mean, double *variance)
{
    double sum = 0, square = 0;
    for (int i = 0; i < b->n; i++) sum += b->kernels->sum(b->pixels, itp_bn_plane(b, b->x, i, c));
    *mean = sum / itp_bn_count(b);
    const float m = (float)*mean;
    for (int i = 0; i < b->n; i++) {
        const float *x = itp_bn_plane(b, b->x, i, c);
        square += b->kernels->dot(b->pixels, x, m, x, m);
    }
    *variance = square / itp_bn_count(b);
}

/* After a dense layer there is one number per channel and image: vectors then go across channels, these
   many to a task, summing in float over a few images and in double over those. */
#define ITP_BN_ACROSS 128
#define ITP_BN_IMAGES 64

/* Adds the sums of some images to those of all, at the last of these images. */
ITP_FN void itp_bn_fold(const itp_bn *b, int image, int n, const float *part, double *sum)
{
    if ((image + 1) % ITP_BN_IMAGES && image + 1 < b->n) return;
    for (int c = 0; c < n; c++) sum[c] += (double)part[c];
}

ITP_FN void itp_bn_statistics_across(const itp_bn *b, int c0, int n, double *mean, double *variance)
{
    float part[ITP_BN_ACROSS], m[ITP_BN_ACROSS], t[ITP_BN_ACROSS];
    const size_t some = (size_t)n;
    for (int c = 0; c < n; c++) mean[c] = variance[c] = 0;
    for (int i = 0; i < b->n; i++) {
        b->kernels->scale_add(some, 1, itp_bn_plane(b, b->x, i, c0), i % ITP_BN_IMAGES ? 1 : 0,
                              part);
        itp_bn_fold(b, i, n, part, mean);
    }
    for (int c = 0; c < n; c++) mean[c] /= (double)b->n, m[c] = (float)mean[c];
    for (int i = 0; i < b->n; i++) {
        b->kernels->binary(ITP_SUB, some, itp_bn_plane(b, b->x, i, c0), 1, m, 1, t);
        b->kernels->mul_add(some, t, t, part, i % ITP_BN_IMAGES != 0);
        itp_bn_fold(b, i, n, part, variance);
    }
    for (int c = 0; c < n; c++) variance[c] /= (double)b->n;
}

/* Batch norm with these statistics is y = scale x + shift. */
ITP_FN void itp_bn_scale(const itp_bn *b, int c, double mean, double variance, float *scale,
                         float *shift)
{
    const double factor = (double)b->gamma[c] / sqrt(variance + (double)b->epsilon);
    *scale = (float)factor;
    *shift = (float)((double)b->beta[c] - mean * factor);
}

/* The same for all channels with the running statistics. */
ITP_FN void itp_bn_scales(interp_workspace *w, int node, float *scale, float *shift)
{
    const itp_bn b = itp_bn_at(w, node);
    for (int c = 0; c < b.channels; c++)
        itp_bn_scale(&b, c, (double)b.mean[c], (double)b.variance[c], &scale[c], &shift[c]);
}

/* Keeps the statistics of a channel, and gives scale and shift. */
ITP_FN void itp_bn_settle(const itp_bn *b, int c, double mean, double variance, float *scale,
                          float *shift)
{
    if (b->mode == INTERP_TRAIN &&
        variance - variance == 0) { /* a step gone wrong leaves no trace */
        const double count = itp_bn_count(b), keep = (double)b->momentum;
        const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
        b->mean[c] = (float)(keep * (double)b->mean[c] + (1 - keep) * mean);
        b->variance[c] = (float)(keep * (double)b->variance[c] + (1 - keep) * unbiased);
    }
    if (b->save) {
        b->save[c] = (float)mean;
        b->save[b->channels + c] = (float)(1 / sqrt(variance + (double)b->epsilon));
    }
    itp_bn_scale(b, c, mean, variance, scale, shift);
}

ITP_FN void itp_bn_forward_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const int first = task * b->per_task, end = itp_min(b->channels, first + b->per_task);
    for (int c = first; c < end; c++) {
        double mean = (double)b->mean[c], variance = (double)b->variance[c];
        float scale, shift;
        if (b->mode != INTERP_EVAL) itp_bn_statistics(b, c, &mean, &variance);
        itp_bn_settle(b, c, mean, variance, &scale, &shift);
        for (int i = 0; i < b->n; i++) {
            const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
            b->kernels->affine(b->pixels, scale, b->x + at, shift, b->y + at);
        }
    }
}

ITP_FN void itp_bn_forward_across_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const int first = task * b->per_task, n = itp_min(b->per_task, b->channels - first);
    double mean[ITP_BN_ACROSS], variance[ITP_BN_ACROSS];
    float scale[ITP_BN_ACROSS], shift[ITP_BN_ACROSS];
    for (int c = 0; c < n; c++)
        mean[c] = (double)b->mean[first + c], variance[c] = (double)b->variance[first + c];
    if (b->mode != INTERP_EVAL) itp_bn_statistics_across(b, first, n, mean, variance);
    for (int c = 0; c < n; c++)
        itp_bn_settle(b, first + c, mean[c], variance[c], &scale[c], &shift[c]);
    for (int i = 0; i < b->n; i++) {
        const size_t at = (size_t)i * (size_t)b->channels + (size_t)first;
        memcpy(b->y + at, shift, (size_t)n * sizeof *shift);
        b->kernels->mul_add((size_t)n, b->x + at, scale, b->y + at, true);
    }
}

ITP_FN void itp_bn_run(interp_workspace *w, itp_bn *b, double work, itp_task_fn task,
                       itp_task_fn across)
{
    const double one = itp_bn_count(b);
    b->per_task = b->pixels == 1 ? ITP_BN_ACROSS
                                 : (int)itp_max_size(1, ITP_CHUNK / itp_max_size(1, (size_t)one));
    itp_parallel(w->ctx, (b->channels + b->per_task - 1) / b->per_task, work * one * b->channels,
                 b->pixels == 1 ? across : task, b);
}

ITP_FN void itp_forward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.y = itp_y(w, node);
    itp_bn_run(w, &b, 4, itp_bn_forward_task, itp_bn_forward_across_task);
}

/* What the forward pass has used of each channel. */
ITP_FN const float *itp_bn_means(const itp_bn *b)
{
    return b->mode == INTERP_EVAL ? b->mean : b->save;
}

ITP_FN double itp_bn_rstd(const itp_bn *b, int c)
{
    return b->mode == INTERP_EVAL ? 1 / sqrt((double)b->variance[c] + (double)b->epsilon)
                                  : (double)b->save[b->channels + c];
}

/* With u = (x - mean) rstd: dbeta = sum dy, dgamma = sum dy u, and with batch statistics
   dx = gamma rstd (dy - dbeta/count - u dgamma/count), which is scale dy + p x + q. Keeps the sums,
   of dy and of dy (x - mean), and finds these three. */
ITP_FN void itp_bn_grads(const itp_bn *b, int c, double sum, double product, float *scale, float *p,
                         float *q)
{
    const double rstd = itp_bn_rstd(b, c), mean = (double)itp_bn_means(b)[c];
    product *= rstd;
    if (b->dgamma) b->dgamma[c] = (float)product + (b->add_gamma != 0 ? b->dgamma[c] : 0);
    if (b->dbeta) b->dbeta[c] = (float)sum + (b->add_beta != 0 ? b->dbeta[c] : 0);
    const double s = (double)b->gamma[c] * rstd;
    const double slope = b->mode == INTERP_EVAL ? 0 : -s * product / itp_bn_count(b) * rstd;
    *scale = (float)s;
    *p = (float)slope;
    *q = b->mode == INTERP_EVAL ? 0 : (float)(-s * sum / itp_bn_count(b) - slope * mean);
}

ITP_FN bool itp_bn_needs_sums(const itp_bn *b)
{
    return b->mode != INTERP_EVAL || b->dgamma || b->dbeta;
}

ITP_FN void itp_bn_backward_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const int first = task * b->per_task, end = itp_min(b->channels, first + b->per_task);
    for (int c = first; c < end; c++) {
        const float mean = itp_bn_means(b)[c];
        double sum = 0, product = 0;
        float scale, p, q;
        for (int i = 0; i < b->n && itp_bn_needs_sums(b); i++) {
            const float *dy = itp_bn_plane(b, b->dy, i, c);
            sum += b->kernels->sum(b->pixels, dy);
            product += b->kernels->dot(b->pixels, dy, 0, itp_bn_plane(b, b->x, i, c), mean);
        }
        itp_bn_grads(b, c, sum, product, &scale, &p, &q);
        for (int i = 0; i < b->n && b->dx; i++) {
            const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
            if (b->mode == INTERP_EVAL) /* x may be gone */
                b->kernels->scale_add(b->pixels, scale, b->dy + at, b->add_x, b->dx + at);
            else
                b->kernels->affine2(b->pixels, scale, b->dy + at, p, b->x + at, q, b->dx + at,
                                    b->add_x != 0);
        }
    }
}

ITP_FN void itp_bn_backward_across_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const itp_kernels *k = b->kernels;
    const int first = task * b->per_task, n = itp_min(b->per_task, b->channels - first);
    const size_t some = (size_t)n;
    double sum[ITP_BN_ACROSS] = {0}, product[ITP_BN_ACROSS] = {0};
    float scale[ITP_BN_ACROSS], p[ITP_BN_ACROSS], q[ITP_BN_ACROSS];
    for (int i = 0; i < b->n && itp_bn_needs_sums(b); i++) { /* p, q and scale serve as scratch */
        const float *dy = itp_bn_plane(b, b->dy, i, first);
        const bool add = i % ITP_BN_IMAGES != 0;
        k->scale_add(some, 1, dy, add ? 1 : 0, p);
        k->binary(ITP_SUB, some, itp_bn_plane(b, b->x, i, first), 1, itp_bn_means(b) + first, 1,
                  scale);
        k->mul_add(some, dy, scale, q, add);
        itp_bn_fold(b, i, n, p, sum);
        itp_bn_fold(b, i, n, q, product);
    }
    for (int c = 0; c < n; c++)
        itp_bn_grads(b, first + c, sum[c], product[c], &scale[c], &p[c], &q[c]);
    for (int i = 0; i < b->n && b->dx; i++) {
        const size_t at = (size_t)i * (size_t)b->channels + (size_t)first;
        if (b->add_x != 0) k->scale_add(some, 1, q, 1, b->dx + at);
        else memcpy(b->dx + at, q, some * sizeof *q);
        k->mul_add(some, b->dy + at, scale, b->dx + at, true);
        if (b->mode != INTERP_EVAL) k->mul_add(some, b->x + at, p, b->dx + at, true);
    }
}

ITP_FN void itp_backward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.dy = itp_dy(w, node);
    b.dx = itp_dx(w, node, 0), b.dgamma = itp_dx(w, node, 1), b.dbeta = itp_dx(w, node, 2);
    b.add_x = itp_beta(w, node, 0), b.add_gamma = itp_beta(w, node, 1);
    b.add_beta = itp_beta(w, node, 2);
    itp_bn_run(w, &b, 6, itp_bn_backward_task, itp_bn_backward_across_task);
}

/* ---- layer norm over the dimensions from `axis` on; inputs x, gamma, perhaps beta */

typedef struct itp_ln {
    const itp_kernels *kernels;
    size_t rows, n, per_task;
    const float *x, *dy, *gamma, *beta;
    float *save; /* mean and 1/sd of each row */
    float *y, *dx;
    float *sums; /* of each task, n each: of dgamma's terms and of dbeta's; NULL: not asked for */
    float epsilon, add_x;
    itp_scratch scratch;
} itp_ln;

/* The most tasks of a backward pass, each of which sums dgamma and dbeta apart. */
#define ITP_LN_PARTS 32

ITP_FN size_t itp_ln_per_part(size_t rows, size_t n)
{
    const size_t least = itp_max_size(1, 4 * ITP_CHUNK / itp_max_size(1, n));
    return itp_max_size(least, (rows + ITP_LN_PARTS - 1) / ITP_LN_PARTS);
}

ITP_FN itp_ln itp_ln_at(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_ln l;
    memset(&l, 0, sizeof l);
    l.kernels = w->ctx->k;
    l.n = itp_count(itp_shape_in(w, node, 1));
    l.rows = itp_count(s) / itp_max_size(1, l.n);
    l.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, l.n));
    l.x = itp_x(w, node, 0), l.gamma = itp_x(w, node, 1);
    l.beta = o->n_in > 2 ? itp_x(w, node, 2) : NULL;
    l.save = w->save[node];
    l.epsilon = o->attrs.epsilon;
    l.scratch = w->scratch;
    return l;
}

ITP_FN itp_need itp_need_ln(const interp_workspace *w, int node)
{
    const size_t n = itp_count(itp_shape_in(w, node, 1));
    const size_t rows = itp_count(itp_shape_in(w, node, 0)) / itp_max_size(1, n);
    const size_t per_part = itp_ln_per_part(rows, n);
    itp_need need = {n, 0, 2 * rows, 0};
    if (w->runs_back[node])
        need.shared = (rows + per_part - 1) / per_part * 2 * itp_round_up(n, 16);
    return need;
}

ITP_FN void itp_ln_forward_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_ln *l = (const itp_ln *)arg;
    const size_t first = (size_t)task * l->per_task,
                 end = itp_min_size(l->rows, first + l->per_task);
    for (size_t r = first; r < end; r++) {
        const float *x = l->x + r * l->n;
        const float mean = (float)(l->kernels->sum(l->n, x) / (double)l->n);
        const double variance = l->kernels->dot(l->n, x, mean, x, mean) / (double)l->n;
        const float rstd = (float)(1 / sqrt(variance + (double)l->epsilon));
        l->save[2 * r] = mean;
        l->save[2 * r + 1] = rstd;
        l->kernels->normalise(l->n, x, mean, rstd, l->gamma, l->beta, l->y + r * l->n);
    }
}

ITP_FN void itp_forward_ln(interp_workspace *w, int node)
{
    itp_ln l = itp_ln_at(w, node);
    l.y = itp_y(w, node);
    itp_parallel(w->ctx, (int)((l.rows + l.per_task - 1) / l.per_task),
                 6.0 * (double)(l.rows * l.n), itp_ln_forward_task, &l);
}

/* With g = dy gamma and u = (x - mean) rstd: dx = rstd (g - mean(g) - u mean(g u)). */
ITP_FN void itp_ln_backward_row(const itp_ln *l, size_t r, float *g)
{
    const float *x = l->x + r * l->n;
    const float mean = l->save[2 * r], rstd = l->save[2 * r + 1];
    l->kernels->mul_add(l->n, l->dy + r * l->n, l->gamma, g, false);
    const double a = l->kernels->sum(l->n, g) / (double)l->n;
    const double b = l->kernels->dot(l->n, g, 0, x, mean) * (double)rstd / (double)l->n;
    const double slope = -(double)rstd * b * (double)rstd;
    l->kernels->affine2(l->n, rstd, g, (float)slope, x,
                        (float)(-(double)rstd * a - slope * (double)mean), l->dx + r * l->n,
                        l->add_x != 0);
}

/* dgamma = sum dy u and dbeta = sum dy, over the rows of this task. */
ITP_FN void itp_ln_backward_task(void *arg, int task, int slot)
{
    const itp_ln *l = (const itp_ln *)arg;
    float *g = itp_scratch_slot(&l->scratch, slot);
    const size_t first = (size_t)task * l->per_task,
                 end = itp_min_size(l->rows, first + l->per_task);
    float *dgamma = NULL, *dbeta = NULL;
    if (l->sums) dgamma = l->sums + 2 * (size_t)task * itp_round_up(l->n, 16);
    if (l->sums) dbeta = dgamma + itp_round_up(l->n, 16);
    for (size_t r = first; r < end; r++) {
        const float *dy = l->dy + r * l->n;
        if (l->dx) itp_ln_backward_row(l, r, g);
        if (!l->sums) continue;
        l->kernels->scale_add(l->n, 1, dy, r > first ? 1 : 0, dbeta);
        l->kernels->normalise(l->n, l->x + r * l->n, l->save[2 * r], l->save[2 * r + 1], NULL, NULL,
                              g);
        l->kernels->mul_add(l->n, dy, g, dgamma, r > first);
    }
}

ITP_FN void itp_backward_ln(interp_workspace *w, int node)
{
    itp_ln l = itp_ln_at(w, node);
    float *grads[2];
    grads[0] = itp_dx(w, node, 1), grads[1] = l.beta ? itp_dx(w, node, 2) : NULL;
    l.dy = itp_dy(w, node);
    l.dx = itp_dx(w, node, 0);
    l.add_x = itp_beta(w, node, 0);
    if (grads[0] || grads[1]) l.sums = w->shared;
    l.per_task = itp_ln_per_part(l.rows, l.n);
    const size_t parts = (l.rows + l.per_task - 1) / l.per_task;
    itp_parallel(w->ctx, (int)parts, 8.0 * (double)(l.rows * l.n), itp_ln_backward_task, &l);
    for (size_t p = 0; p < 2 * parts && l.sums; p++) {
        float *to = grads[p % 2];
        const bool add = p > 1 || itp_beta(w, node, 1 + (int)(p % 2)) != 0;
        if (to) l.kernels->scale_add(l.n, 1, l.sums + p * itp_round_up(l.n, 16), add ? 1 : 0, to);
    }
}

/* ---- softmax and its logarithm along an axis */

typedef struct itp_softmax_job {
    const itp_kernels *kernels;
    size_t n, inner, rows;          /* rows: outer x inner */
    size_t pieces, units, per_task; /* of the inner numbers; rows or pieces in all, and of a task */
    const float *x, *y, *dy;
    float *out;
    bool log, add;
    itp_scratch scratch;
} itp_softmax_job;

ITP_FN itp_softmax_job itp_softmax_at(interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(itp_at(w, node)->attrs.axis, s->rank);
    itp_softmax_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.n = (size_t)s->dim[axis];
    j.inner = 1;
    for (int i = axis + 1; i < s->rank; i++) j.inner *= (size_t)s->dim[i];
    j.rows = itp_count(s) / itp_max_size(1, j.n);
    const size_t side = itp_min_size(j.inner, ITP_ACROSS);
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, j.n * side));
    j.pieces = (j.inner + ITP_ACROSS - 1) / ITP_ACROSS;
    j.units = j.rows / itp_max_size(1, j.inner) * j.pieces;
    j.log = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.scratch = w->scratch;
    return j;
}

/* A row of results, or a piece of one and its sums. */
ITP_FN itp_need itp_need_softmax(const interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    const size_t n = (size_t)s->dim[itp_axis(itp_at(w, node)->attrs.axis, s->rank)];
    itp_need need = {itp_max_size(n, 2 * ITP_ACROSS), 0, 0, 0};
    return need;
}

/* `rows` takes rows where the axis is the last one; else `across` takes pieces of numbers that lie side
   by side, each of a row of its own. */
ITP_FN void itp_softmax_run(interp_workspace *w, itp_softmax_job *j, itp_task_fn rows,
                            itp_task_fn across)
{
    itp_parallel(w->ctx, (int)((j->units + j->per_task - 1) / j->per_task),
                 8.0 * (double)(j->rows * j->n), j->inner == 1 ? rows : across, j);
}

/* Where a piece begins, and its width. */
ITP_FN size_t itp_softmax_piece(const itp_softmax_job *j, size_t piece, size_t *width)
{
    const size_t at = piece % j->pieces * ITP_ACROSS;
    *width = itp_min_size(ITP_ACROSS, j->inner - at);
    return piece / j->pieces * j->n * j->inner + at;
}

ITP_FN void itp_softmax_forward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->units, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const float *x = j->x + r * j->n;
        float *y = j->out + r * j->n;
        if (j->log) itp_log_softmax(j->kernels, j->n, x, y, itp_scratch_slot(&j->scratch, slot));
        else itp_softmax(j->kernels, j->n, x, y);
    }
}

ITP_FN void itp_softmax_across_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->units, first + j->per_task);
    (void)slot;
    for (size_t i = first; i < end; i++) {
        size_t width;
        const size_t at = itp_softmax_piece(j, i, &width);
        j->kernels->softmax_across(j->n, width, j->inner, j->x + at, j->out + at, j->log);
    }
}

ITP_FN void itp_forward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.x = itp_x(w, node, 0), j.out = itp_y(w, node);
    itp_softmax_run(w, &j, itp_softmax_forward_task, itp_softmax_across_task);
}

/* softmax: dx = y (dy - sum dy y); its logarithm: dx = dy - exp(y) sum dy */
ITP_FN void itp_softmax_backward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    const itp_kernels *k = j->kernels;
    float *t = itp_scratch_slot(&j->scratch, slot);
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->units, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const float *y = j->y + r * j->n, *dy = j->dy + r * j->n;
        float *dx = j->out + r * j->n;
        if (j->log) {
            k->unary(ITP_EXP, j->n, y, t, 0, 0);
            k->affine2(j->n, 1, dy, -(float)k->sum(j->n, dy), t, 0, dx, j->add);
        } else {
            k->affine(j->n, 1, dy, -(float)k->dot(j->n, y, 0, dy, 0), t);
            k->mul_add(j->n, y, t, dx, j->add);
        }
    }
}

/* One piece; t and sum are scratch. */
ITP_FN void itp_softmax_backward_piece(const itp_softmax_job *j, size_t piece, float *t, float *sum)
{
    const itp_kernels *k = j->kernels;
    size_t m;
    const size_t at = itp_softmax_piece(j, piece, &m), end = at + j->n * j->inner;
    memset(sum, 0, m * sizeof *sum);
    for (size_t i = at; i < end; i += j->inner)
        if (j->log) k->scale_add(m, -1, j->dy + i, 1, sum);
        else k->mul_add(m, j->dy + i, j->y + i, sum, true);
    for (size_t i = at; i < end; i += j->inner) {
        float *dx = j->out + i;
        if (j->log) {
            k->unary(ITP_EXP, m, j->y + i, t, 0, 0);
            if (j->add) k->scale_add(m, 1, j->dy + i, 1, dx);
            else memcpy(dx, j->dy + i, m * sizeof *dx);
            k->mul_add(m, t, sum, dx, true);
        } else {
            k->binary(ITP_SUB, m, j->dy + i, 1, sum, 1, t);
            k->mul_add(m, j->y + i, t, dx, j->add);
        }
    }
}

ITP_FN void itp_softmax_backward_across_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    float *t = itp_scratch_slot(&j->scratch, slot);
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->units, first + j->per_task);
    for (size_t i = first; i < end; i++) itp_softmax_backward_piece(j, i, t, t + ITP_ACROSS);
}

ITP_FN void itp_backward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.y = itp_y(w, node), j.dy = itp_dy(w, node), j.out = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_softmax_run(w, &j, itp_softmax_backward_task, itp_softmax_backward_across_task);
}

/* ---- local response norm: y = x / d^beta, d = bias + alpha / n (sum of x^2 over n channels)
   (Krizhevsky et al. 2012) */

enum { ITP_LRN_PIXELS = 64 }; /* of one task */

typedef struct itp_lrn_job {
    size_t channels, pixels, pieces;
    size_t before, after; /* channels summed before and behind one's own */
    double scale, bias, beta;
    const float *x, *dy;
    float *to;
    bool add;
    itp_scratch scratch;
} itp_lrn_job;

ITP_FN itp_lrn_job itp_lrn_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_lrn_job j;
    memset(&j, 0, sizeof j);
    j.channels = (size_t)s->dim[1];
    j.pixels = itp_count(s) / itp_max_size(1, (size_t)s->dim[0] * j.channels);
    j.pieces = (j.pixels + ITP_LRN_PIXELS - 1) / ITP_LRN_PIXELS;
    j.before = (size_t)(a->length - 1) / 2, j.after = (size_t)a->length - 1 - j.before;
    j.scale = (double)a->alpha / a->length, j.bias = (double)a->epsilon;
    j.beta = (double)a->beta;
    j.x = itp_x(w, node, 0);
    j.scratch = w->scratch;
    return j;
}

/* d of n pixels of a channel. */
ITP_FN void itp_lrn_sums(const itp_lrn_job *j, const float *x, size_t channel, size_t n, double *d)
{
    const size_t first = channel > j->before ? channel - j->before : 0;
    const size_t end = itp_min_size(j->channels, channel + j->after + 1);
    for (size_t i = 0; i < n; i++) d[i] = 0;
    for (size_t c = first; c < end; c++)
        for (size_t i = 0; i < n; i++)
            d[i] += (double)x[c * j->pixels + i] * (double)x[c * j->pixels + i];
    for (size_t i = 0; i < n; i++) d[i] = j->bias + j->scale * d[i];
}

ITP_FN double itp_lrn_factor(const itp_lrn_job *j, double d)
{
    return j->beta == 0.75 ? 1 / (sqrt(d) * sqrt(sqrt(d))) : pow(d, -j->beta);
}

ITP_FN void itp_lrn_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_lrn_job *j = (const itp_lrn_job *)arg;
    const size_t p0 = (size_t)task % j->pieces * ITP_LRN_PIXELS;
    const size_t at = (size_t)task / j->pieces * j->channels * j->pixels + p0;
    const size_t n = itp_min_size(ITP_LRN_PIXELS, j->pixels - p0);
    double d[ITP_LRN_PIXELS];
    for (size_t c = 0; c < j->channels; c++) {
        const size_t row = at + c * j->pixels;
        itp_lrn_sums(j, j->x + at, c, n, d);
        for (size_t i = 0; i < n; i++)
            j->to[row + i] = (float)((double)j->x[row + i] * itp_lrn_factor(j, d[i]));
    }
}

/* dx = dy / d^beta - 2 scale beta x (sum of dy x / d^(beta + 1) over those that x was summed for). */
ITP_FN void itp_lrn_grad_task(void *arg, int task, int slot)
{
    const itp_lrn_job *j = (const itp_lrn_job *)arg;
    const size_t p0 = (size_t)task % j->pieces * ITP_LRN_PIXELS;
    const size_t at = (size_t)task / j->pieces * j->channels * j->pixels + p0;
    const size_t n = itp_min_size(ITP_LRN_PIXELS, j->pixels - p0);
    float *direct = itp_scratch_slot(&j->scratch, slot);
    float *terms = direct + j->channels * ITP_LRN_PIXELS;
    double d[ITP_LRN_PIXELS];
    for (size_t c = 0; c < j->channels; c++) {
        const size_t row = at + c * j->pixels, to = c * ITP_LRN_PIXELS;
        itp_lrn_sums(j, j->x + at, c, n, d);
        for (size_t i = 0; i < n; i++) {
            const double first = (double)j->dy[row + i] * itp_lrn_factor(j, d[i]);
            direct[to + i] = (float)first;
            terms[to + i] = (float)(first * (double)j->x[row + i] / d[i]);
        }
    }
    for (size_t c = 0; c < j->channels; c++) {
        const size_t row = at + c * j->pixels, first = c > j->after ? c - j->after : 0;
        const size_t end = itp_min_size(j->channels, c + j->before + 1);
        for (size_t i = 0; i < n; i++) d[i] = 0;
        for (size_t k = first; k < end; k++)
            for (size_t i = 0; i < n; i++) d[i] += (double)terms[k * ITP_LRN_PIXELS + i];
        for (size_t i = 0; i < n; i++) {
            const double through = 2 * j->scale * j->beta * (double)j->x[row + i] * d[i];
            const float g = (float)((double)direct[c * ITP_LRN_PIXELS + i] - through);
            j->to[row + i] = j->add ? j->to[row + i] + g : g;
        }
    }
}

ITP_FN itp_need itp_need_lrn(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->runs_back[node])
        need.slot = 2 * ITP_LRN_PIXELS * (size_t)itp_shape_in(w, node, 0)->dim[1];
    return need;
}

ITP_FN void itp_lrn_run(interp_workspace *w, int node, itp_lrn_job *j, itp_task_fn task)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_parallel(w->ctx, s->dim[0] * (int)j->pieces,
                 (double)itp_count(s) * (16 + (double)(j->before + j->after)), task, j);
}

ITP_FN void itp_forward_lrn(interp_workspace *w, int node)
{
    itp_lrn_job j = itp_lrn_at(w, node);
    j.to = itp_y(w, node);
    itp_lrn_run(w, node, &j, itp_lrn_task);
}

ITP_FN void itp_backward_lrn(interp_workspace *w, int node)
{
    itp_lrn_job j = itp_lrn_at(w, node);
    j.dy = itp_dy(w, node), j.to = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_lrn_run(w, node, &j, itp_lrn_grad_task);
}

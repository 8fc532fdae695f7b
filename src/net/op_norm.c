/* ---- net/op_norm.c: batch norm, layer norm, softmax -------------------------------------------- */

/* Batch norm's inputs: x, gamma, beta, running mean, running variance; all but x of [C]. */
typedef struct itp_bn {
    const itp_kernels *kernels;
    int n, channels;
    size_t pixels;
    const float *x, *dy, *gamma, *beta;
    float *mean, *variance; /* running; written in training */
    float *save;            /* mean and 1/sd of each channel, as used */
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
    itp_need need = {0, 0, 2 * (size_t)itp_shape_in(w, node, 0)->dim[1], 0};
    return need;
}

ITP_FN const float *itp_bn_plane(const itp_bn *b, const float *x, int image, int channel)
{
    return x + ((size_t)image * (size_t)b->channels + (size_t)channel) * b->pixels;
}

/* Batch norm after a dense layer: one number per channel and image, so that it pays to go along
   channels instead. Sums over the batch run in double. */
ITP_FN void itp_bn_statistics(const itp_bn *b, int c, double *mean, double *variance)
{
    const double count = (double)b->n * (double)b->pixels;
    double sum = 0, square = 0;
    for (int i = 0; i < b->n; i++)
        sum += b->pixels == 1 ? (double)*itp_bn_plane(b, b->x, i, c)
                              : b->kernels->sum(b->pixels, itp_bn_plane(b, b->x, i, c));
    *mean = sum / count;
    const float m = (float)*mean;
    for (int i = 0; i < b->n; i++) {
        const float *x = itp_bn_plane(b, b->x, i, c);
        square +=
            b->pixels == 1 ? (double)((*x - m) * (*x - m)) : b->kernels->dot(b->pixels, x, m, x, m);
    }
    *variance = square / count;
}

ITP_FN void itp_bn_forward_task(void *arg, int c, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    double mean = (double)b->mean[c], variance = (double)b->variance[c];
    if (b->mode != INTERP_EVAL) itp_bn_statistics(b, c, &mean, &variance);
    if (b->mode == INTERP_TRAIN &&
        variance - variance == 0) { /* a step gone wrong leaves no trace */
        const double count = (double)b->n * (double)b->pixels;
        const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
        const double keep = (double)b->momentum;
        b->mean[c] = (float)(keep * (double)b->mean[c] + (1 - keep) * mean);
        b->variance[c] = (float)(keep * (double)b->variance[c] + (1 - keep) * unbiased);
    }
    const double rstd = 1 / sqrt(variance + (double)b->epsilon);
    b->save[c] = (float)mean;
    b->save[b->channels + c] = (float)rstd;
    const float scale = (float)((double)b->gamma[c] * rstd);
    const float shift = (float)((double)b->beta[c] - mean * (double)b->gamma[c] * rstd);
    for (int i = 0; i < b->n; i++) {
        const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
        if (b->pixels == 1) b->y[at] = scale * b->x[at] + shift;
        else b->kernels->affine(b->pixels, scale, b->x + at, shift, b->y + at);
    }
}

ITP_FN void itp_forward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.y = itp_y(w, node);
    itp_parallel(w->ctx, b.channels, 4.0 * (double)b.n * (double)b.pixels * b.channels,
                 itp_bn_forward_task, &b);
}

/* With u = (x - mean) rstd: dbeta = sum dy, dgamma = sum dy u, and with batch statistics
   dx = gamma rstd (dy - dbeta/count - u dgamma/count). */
ITP_FN void itp_bn_backward_task(void *arg, int c, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const float mean = b->save[c], rstd = b->save[b->channels + c];
    const double count = (double)b->n * (double)b->pixels;
    const bool batch = b->mode != INTERP_EVAL;
    double sum = 0, product = 0;
    if (batch || b->dgamma || b->dbeta)
        for (int i = 0; i < b->n; i++) {
            const float *x = itp_bn_plane(b, b->x, i, c), *dy = itp_bn_plane(b, b->dy, i, c);
            if (b->pixels == 1) {
                sum += (double)*dy;
                product += (double)*dy * (double)(*x - mean);
            } else {
                sum += b->kernels->sum(b->pixels, dy);
                product += b->kernels->dot(b->pixels, dy, 0, x, mean);
            }
        }
    product *= (double)rstd;
    if (b->dgamma) b->dgamma[c] = (float)product + (b->add_gamma != 0 ? b->dgamma[c] : 0);
    if (b->dbeta) b->dbeta[c] = (float)sum + (b->add_beta != 0 ? b->dbeta[c] : 0);
    if (!b->dx) return;
    const double scale = (double)b->gamma[c] * (double)rstd;
    const double p = batch ? -scale * product / count * (double)rstd : 0;
    const double q = batch ? -scale * sum / count - p * (double)mean : 0;
    for (int i = 0; i < b->n; i++) {
        const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
        if (b->pixels == 1) {
            const double v = scale * (double)b->dy[at] + p * (double)b->x[at] + q;
            b->dx[at] = (float)v + (b->add_x != 0 ? b->dx[at] : 0);
        } else {
            b->kernels->affine2(b->pixels, (float)scale, b->dy + at, (float)p, b->x + at, (float)q,
                                b->dx + at, b->add_x != 0);
        }
    }
}

ITP_FN void itp_backward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.dy = itp_dy(w, node);
    b.dx = itp_dx(w, node, 0), b.dgamma = itp_dx(w, node, 1), b.dbeta = itp_dx(w, node, 2);
    b.add_x = itp_beta(w, node, 0), b.add_gamma = itp_beta(w, node, 1);
    b.add_beta = itp_beta(w, node, 2);
    itp_parallel(w->ctx, b.channels, 6.0 * (double)b.n * (double)b.pixels * b.channels,
                 itp_bn_backward_task, &b);
}

/* ---- layer norm over the dimensions from `axis` on; inputs x, gamma, perhaps beta */

typedef struct itp_ln {
    const itp_kernels *kernels;
    size_t rows, n, per_task;
    const float *x, *dy, *gamma, *beta;
    float *save; /* mean and 1/sd of each row */
    float *y, *dx;
    float epsilon, add_x;
    itp_scratch scratch;
} itp_ln;

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
    itp_need need = {n, 0, 2 * itp_count(itp_shape_in(w, node, 0)) / itp_max_size(1, n), 0};
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
ITP_FN void itp_ln_backward_task(void *arg, int task, int slot)
{
    const itp_ln *l = (const itp_ln *)arg;
    float *g = itp_scratch_slot(&l->scratch, slot);
    const size_t first = (size_t)task * l->per_task,
                 end = itp_min_size(l->rows, first + l->per_task);
    for (size_t r = first; r < end; r++) {
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
}

ITP_FN void itp_backward_ln(interp_workspace *w, int node)
{
    itp_ln l = itp_ln_at(w, node);
    float *dgamma = itp_dx(w, node, 1), *dbeta = itp_dx(w, node, 2);
    l.dy = itp_dy(w, node);
    l.dx = itp_dx(w, node, 0);
    l.add_x = itp_beta(w, node, 0);
    if (l.dx)
        itp_parallel(w->ctx, (int)((l.rows + l.per_task - 1) / l.per_task),
                     8.0 * (double)(l.rows * l.n), itp_ln_backward_task, &l);
    if (dgamma && itp_beta(w, node, 1) == 0) memset(dgamma, 0, l.n * sizeof *dgamma);
    if (dbeta && itp_beta(w, node, 2) == 0) memset(dbeta, 0, l.n * sizeof *dbeta);
    float *u = itp_scratch_slot(&l.scratch, 0);
    for (size_t r = 0; r < l.rows && (dgamma || dbeta); r++) {
        const float *dy = l.dy + r * l.n;
        if (dbeta) l.kernels->scale_add(l.n, 1, dy, 1, dbeta);
        if (!dgamma) continue;
        l.kernels->normalise(l.n, l.x + r * l.n, l.save[2 * r], l.save[2 * r + 1], NULL, NULL, u);
        l.kernels->mul_add(l.n, dy, u, dgamma, true);
    }
}

/* ---- softmax and its logarithm along an axis */

typedef struct itp_softmax_job {
    const itp_kernels *kernels;
    size_t n, inner, rows, per_task; /* rows: outer x inner */
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
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, j.n));
    j.log = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.scratch = w->scratch;
    return j;
}

/* Three rows: of x or y, of dy, and of results. */
ITP_FN itp_need itp_need_softmax(const interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_need need = {
        3 * itp_round_up((size_t)s->dim[itp_axis(itp_at(w, node)->attrs.axis, s->rank)], 16), 0, 0,
        0};
    return need;
}

ITP_FN void itp_softmax_forward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    float *a = itp_scratch_slot(&j->scratch, slot), *b = a + itp_round_up(j->n, 16);
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->rows, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const size_t at = r / j->inner * j->inner * j->n + r % j->inner;
        const float *x = j->x + at;
        float *y = j->out + at;
        if (j->inner > 1) { /* gather, work on a row, scatter */
            for (size_t i = 0; i < j->n; i++) a[i] = x[i * j->inner];
            x = y = a;
        }
        if (j->log) j->kernels->log_softmax(j->n, x, y, b);
        else j->kernels->softmax(j->n, x, y);
        for (size_t i = 0; j->inner > 1 && i < j->n; i++) j->out[at + i * j->inner] = a[i];
    }
}

ITP_FN void itp_forward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.x = itp_x(w, node, 0), j.out = itp_y(w, node);
    itp_parallel(w->ctx, (int)((j.rows + j.per_task - 1) / j.per_task),
                 8.0 * (double)(j.rows * j.n), itp_softmax_forward_task, &j);
}

/* softmax: dx = y (dy - sum dy y); its logarithm: dx = dy - exp(y) sum dy */
ITP_FN void itp_softmax_backward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    const size_t step = itp_round_up(j->n, 16);
    float *a = itp_scratch_slot(&j->scratch, slot), *b = a + step, *c = b + step;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->rows, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const size_t at = r / j->inner * j->inner * j->n + r % j->inner;
        for (size_t i = 0; i < j->n; i++) {
            a[i] = j->y[at + i * j->inner];
            b[i] = j->dy[at + i * j->inner];
        }
        if (j->log) {
            j->kernels->unary(ITP_EXP, j->n, a, c, 0, 0);
            j->kernels->scale_add(j->n, 1, b, -(float)j->kernels->sum(j->n, b), c);
        } else {
            j->kernels->affine(j->n, 1, b, -(float)j->kernels->dot(j->n, a, 0, b, 0), c);
            j->kernels->mul_add(j->n, a, c, c, false);
        }
        for (size_t i = 0; i < j->n; i++) {
            float *to = j->out + at + i * j->inner;
            *to = c[i] + (j->add ? *to : 0);
        }
    }
}

ITP_FN void itp_backward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.y = itp_y(w, node), j.dy = itp_dy(w, node), j.out = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_parallel(w->ctx, (int)((j.rows + j.per_task - 1) / j.per_task),
                 8.0 * (double)(j.rows * j.n), itp_softmax_backward_task, &j);
}

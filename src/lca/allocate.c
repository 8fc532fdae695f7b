/* ---- lca/allocate.c: the loss change of a step, shared out among parameters ----------------------- */

/* What is known of one data set. g: gradient where the path starts. coarse, fine: mean gradients with
   half the splits and with all of them; coarse becomes the allocation. */
typedef struct itp_lca_set {
    const interp_dataset *data;
    double *g;
    double *coarse, *fine;
    double count; /* samples of the loss, those of other processes included */
    double before, after, allocated;
} itp_lca_set;

/* Samples whose gradients add up in float32, several passes. Chunks are computed at the same time, each
   by one thread in a lane of its own, and added up in their order: that is the same with any threads. */
typedef struct itp_lca_lane {
    interp_workspace *w[2]; /* for all samples; for parts that were given, NULL: none were */
    const float *grad;
    float *x, *seed; /* [pass, input], [pass, outputs] */
    int32_t *y;
    double *per;                       /* [pass]: losses */
    int first, count, part, from, end; /* the chunk, and the run of one part that it is of */
    double sum;                        /* of its losses */
    interp_status status;
} itp_lca_lane;

/* Losses at a point of the path: the mean; of each sample, and of each part of them, where asked for. */
typedef struct itp_lca_losses {
    double mean, *samples, *parts;
} itp_lca_losses;

struct interp_lca {
    interp_ctx *ctx;
    interp_net *net;
    interp_lca_desc d; /* defaults filled in */
    int64_t step;
    bool begun, g_known; /* g is that of `start` */
    itp_lca_set set[2];  /* training, validation */
    int n_sets, outputs;
    int chunk[2], pass[2]; /* of lanes' workspaces */
    itp_lca_lane *lane;    /* [n_lanes] */
    int n_lanes, n_busy;   /* those that have a chunk */
    float *start,
        *at;    /* [P]: parameters before the step; at a point of the path, in the end the change */
    int *order; /* of the training samples: by part, or drawn; NULL: as they lie */
    double *sample;                  /* [2, subsample]: losses before and after; NULL: none */
    double *pieces;                  /* sums of pieces of the parameters */
    double *part_coarse, *part_fine; /* [parts, groups + directions]; NULL: none */
    double *part_loss;               /* [2, parts]: their share of the loss before and after */
    size_t n_part;                   /* parts times groups and directions */
    double *along;                   /* [2, directions + 1]: moved, and allocated; NULL: none */
    double chunks, all_chunks;       /* of this step, for the progress hook */
};

enum { ITP_LCA_PIECE = 8192, ITP_LCA_ROOM = 64 << 20, ITP_LCA_MOST = 2048, ITP_LCA_SPLITS = 1024 };
/* What a pass should take, that its numbers stay in the second-level cache; and its fewest samples. */
enum { ITP_LCA_CACHE = 1 << 20, ITP_LCA_PASS = 64, ITP_LCA_LANES = 16 };
#define ITP_LCA_STREAM 0x5000000u

/* ---- loops over all parameters */

typedef struct itp_lca_loop itp_lca_loop;
struct itp_lca_loop {
    interp_lca *l;
    itp_lca_set *s;
    double a, b;
    double (*run)(const itp_lca_loop *p, size_t from, size_t to);
};

ITP_FN void itp_lca_piece(void *arg, int task, int slot)
{
    const itp_lca_loop *p = (const itp_lca_loop *)arg;
    const size_t from = (size_t)task * ITP_LCA_PIECE;
    (void)slot;
    p->l->pieces[task] = p->run(p, from, itp_min_size(from + ITP_LCA_PIECE, p->l->net->n_flat));
}

/* The sum of what the pieces give, in their order. */
ITP_FN double itp_lca_over(interp_lca *l, itp_lca_set *s, double a, double b,
                           double (*run)(const itp_lca_loop *, size_t, size_t))
{
    itp_lca_loop p = {l, s, a, b, run};
    const int n = (int)((l->net->n_flat + ITP_LCA_PIECE - 1) / ITP_LCA_PIECE);
    double total = 0;
    itp_parallel(l->ctx, n, (double)l->net->n_flat * 4, itp_lca_piece, &p);
    for (int i = 0; i < n; i++) total += l->pieces[i];
    return total;
}

/* at = the point a of the path */
ITP_FN double itp_lca_go(const itp_lca_loop *p, size_t from, size_t to)
{
    const float *start = p->l->start, *end = p->l->net->flat;
    float *at = p->l->at;
    const double a = p->a;
    for (size_t i = from; i < to; i++)
        at[i] = (float)((double)start[i] + a * ((double)end[i] - (double)start[i]));
    if (a == 1) memcpy(at + from, end + from, (to - from) * sizeof *at);
    return 0;
}

/* fine += a count gradient of each chunk */
ITP_FN double itp_lca_add(const itp_lca_loop *p, size_t from, size_t to)
{
    double *fine = p->s->fine;
    for (int k = 0; k < p->l->n_busy; k++) {
        const itp_lca_lane *lane = &p->l->lane[k];
        const float *g = lane->grad;
        const double a = p->a * lane->count;
        for (size_t i = from; i < to; i++) fine[i] += a * (double)g[i];
    }
    return 0;
}

ITP_FN double itp_lca_zero(const itp_lca_loop *p, size_t from, size_t to)
{
    memset(p->s->fine + from, 0, (to - from) * sizeof *p->s->fine);
    return 0;
}

/* fine += a coarse */
ITP_FN double itp_lca_mix(const itp_lca_loop *p, size_t from, size_t to)
{
    const double *coarse = p->s->coarse, a = p->a;
    double *fine = p->s->fine;
    for (size_t i = from; i < to; i++) fine[i] += a * coarse[i];
    return 0;
}

/* coarse = a g + b fine, and g = fine: the gradient at the end of the path is the next one's start */
ITP_FN double itp_lca_ends(const itp_lca_loop *p, size_t from, size_t to)
{
    double *g = p->s->g;
    const double *fine = p->s->fine;
    for (size_t i = from; i < to; i++) {
        p->s->coarse[i] = p->a * g[i] + p->b * fine[i];
        g[i] = fine[i];
    }
    return 0;
}

/* Sum over parameters of the change times a fine + b coarse. */
ITP_FN double itp_lca_sum(const itp_lca_loop *p, size_t from, size_t to)
{
    const float *start = p->l->start, *end = p->l->net->flat;
    const double *fine = p->s->fine, *coarse = p->s->coarse;
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += ((double)end[i] - (double)start[i]) * (p->a * fine[i] + p->b * coarse[i]);
    return sum;
}

/* coarse = that product */
ITP_FN double itp_lca_settle(const itp_lca_loop *p, size_t from, size_t to)
{
    const float *start = p->l->start, *end = p->l->net->flat;
    const double *fine = p->s->fine;
    double *coarse = p->s->coarse;
    for (size_t i = from; i < to; i++)
        coarse[i] = ((double)end[i] - (double)start[i]) * (p->a * fine[i] + p->b * coarse[i]);
    return 0;
}

/* The step is over: at = the change, start = where it led. */
ITP_FN double itp_lca_move(const itp_lca_loop *p, size_t from, size_t to)
{
    float *start = p->l->start, *at = p->l->at;
    const float *end = p->l->net->flat;
    for (size_t i = from; i < to; i++) {
        at[i] = end[i] - start[i];
        start[i] = end[i];
    }
    return 0;
}

/* ---- one sweep over the samples */

/* Change times gradient of a chunk, summed by group, for the part of the samples that it is of. */
ITP_FN void itp_lca_part_sums(interp_lca *l, const itp_lca_lane *lane, double scale)
{
    const float *g = lane->grad, *end = l->net->flat;
    const size_t n = l->net->n_flat, columns = (size_t)l->d.n_groups + (size_t)l->d.n_directions;
    double *row = l->part_fine + (size_t)lane->part * columns;
    for (size_t i = 0; i < n; i++)
        row[l->d.groups[i]] += scale * (double)g[i] * ((double)end[i] - (double)l->start[i]);
    for (int k = 0; k < l->d.n_directions; k++) {
        const float *v = l->d.directions + (size_t)k * n;
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)v[i] * (double)g[i];
        row[l->d.n_groups + k] += scale * sum * l->along[k];
    }
}

/* Samples first..first+some of the order, filled up to a pass with others of the chunk's run. */
ITP_FN const float *itp_lca_gather(const interp_lca *l, itp_lca_lane *lane, const itp_lca_set *s,
                                   int pass, int first, int some)
{
    const interp_dataset *data = s->data;
    const size_t row = interp_shape_size(&data->shape);
    const int *order = s == l->set ? l->order : NULL;
    if (!order && some == pass) {
        memcpy(lane->y, data->y + first, (size_t)some * sizeof *lane->y);
        return data->x + (size_t)first * row;
    }
    for (int i = 0; i < pass; i++) {
        const int at =
            i < some ? first + i : lane->from + (first - lane->from + i) % (lane->end - lane->from);
        const int k = order ? order[at] : at;
        memcpy(lane->x + (size_t)i * row, data->x + (size_t)k * row, row * sizeof *lane->x);
        lane->y[i] = data->y[k];
    }
    return lane->x;
}

/* Samples that the loss of this process is of. */
ITP_FN int itp_lca_used(const interp_lca *l, const itp_lca_set *s)
{
    return s == l->set && l->d.subsample ? l->d.subsample : s->data->n;
}

/* Where the samples of the order that are of one part with number `from` end; *part: -1 for none. */
ITP_FN int itp_lca_run_end(const interp_lca *l, const itp_lca_set *s, int from, int *part)
{
    const int n = itp_lca_used(l, s);
    const int32_t *of = l->d.parts ? l->d.parts : s->data->y;
    *part = -1;
    if (s != l->set || !l->part_fine) return n;
    *part = of[l->order[from]];
    while (from < n && of[l->order[from]] == *part) from++;
    return from;
}

/* Which of a lane's workspaces is for samples of a part. */
ITP_FN int itp_lca_which(const interp_lca *l, int part)
{
    return part >= 0 && l->lane[0].w[1];
}

/* Gives as many lanes as there are the next chunks from sample `at` on; returns where they end. */
ITP_FN int itp_lca_deal(interp_lca *l, const itp_lca_set *s, int at)
{
    const int used = itp_lca_used(l, s);
    const itp_lca_lane *last = &l->lane[l->n_lanes - 1];
    int from = at ? last->from : 0, end = at ? last->end : 0, part = at ? last->part : -1;
    l->n_busy = 0;
    while (l->n_busy < l->n_lanes && at < used) {
        itp_lca_lane *lane = &l->lane[l->n_busy++];
        if (at == end) from = at, end = itp_lca_run_end(l, s, at, &part);
        lane->from = from, lane->end = end, lane->part = part, lane->first = at;
        lane->count = itp_min(l->chunk[itp_lca_which(l, part)], end - at);
        at += lane->count;
    }
    return at;
}

/* What the lanes are to do. */
typedef struct itp_lca_sweep {
    interp_lca *l;
    const itp_lca_set *s;
    bool gradient;
    double *samples; /* NULL, or where their losses go */
} itp_lca_sweep;

/* Losses of a lane's chunk and, in the workspace, the gradient of their mean. */
ITP_FN interp_status itp_lca_chunk(const itp_lca_sweep *p, itp_lca_lane *lane)
{
    interp_lca *l = p->l;
    const int which = itp_lca_which(l, lane->part), pass = l->pass[which];
    interp_workspace *w = lane->w[which];
    const size_t k = (size_t)l->outputs;
    lane->sum = 0, lane->grad = w->param_grad;
    for (int at = 0; at < lane->count; at += pass) {
        const int some = itp_min(pass, lane->count - at);
        const size_t used = (size_t)some * k;
        const float *x = itp_lca_gather(l, lane, p->s, pass, lane->first + at, some);
        ITP_TRY(interp_forward(w, &x));
        lane->sum += some * interp_loss_grad(l->ctx, l->d.loss, interp_workspace_target(w), some,
                                             l->outputs, lane->y, NULL, l->d.label_smoothing,
                                             p->gradient ? lane->seed : NULL, lane->per);
        if (p->samples)
            memcpy(p->samples + lane->first + at, lane->per, (size_t)some * sizeof *lane->per);
        if (!p->gradient) continue;
        if (some < lane->count)
            l->ctx->k->scale_add(used, (float)some / (float)lane->count, lane->seed, 0, lane->seed);
        memset(lane->seed + used, 0, ((size_t)pass * k - used) * sizeof *lane->seed);
        w->accumulate = at > 0;
        ITP_TRY(interp_backward(w, lane->seed));
    }
    return INTERP_OK;
}

ITP_FN void itp_lca_task(void *arg, int task, int slot)
{
    const itp_lca_sweep *p = (const itp_lca_sweep *)arg;
    (void)slot;
    p->l->lane[task].status = itp_lca_chunk(p, &p->l->lane[task]);
}

/* Losses at the parameters in `at`; fine += scale gradient, part_fine += scale times its sums by
   part: with scale 0 there are only losses. */
ITP_FN interp_status itp_lca_over_samples(interp_lca *l, itp_lca_set *s, double scale,
                                          itp_lca_losses *losses)
{
    itp_lca_sweep p = {l, s, scale != 0, losses->samples};
    double total = 0;
    for (int i = 0; i < 2 * l->n_lanes; i++) itp_workspace_repack(l->lane[i / 2].w[i % 2]);
    for (int at = 0; at < itp_lca_used(l, s);) {
        at = itp_lca_deal(l, s, at);
        itp_parallel_alone(l->ctx, l->n_busy, itp_lca_task, &p);
        for (int i = 0; i < l->n_busy; i++) {
            const itp_lca_lane *lane = &l->lane[i];
            ITP_TRY(lane->status);
            total += lane->sum;
            if (losses->parts && lane->part >= 0) losses->parts[lane->part] += lane->sum / s->count;
            if (scale != 0 && lane->part >= 0)
                itp_lca_part_sums(l, lane, scale * lane->count / s->count);
        }
        if (scale != 0) itp_lca_over(l, s, scale / s->count, 0, itp_lca_add);
        l->chunks += l->n_busy;
        ITP_TRY(itp_progress(l->ctx, "lca", l->chunks, l->all_chunks, (double)NAN));
    }
    if (l->d.allreduce) l->d.allreduce(&total, 1, l->d.allreduce_user);
    losses->mean = total / s->count;
    return INTERP_OK;
}

/* Chunks of a set. */
ITP_FN double itp_lca_chunks(interp_lca *l, const itp_lca_set *s)
{
    double chunks = 0;
    for (int at = 0; at < itp_lca_used(l, s); chunks += l->n_busy) at = itp_lca_deal(l, s, at);
    return chunks;
}

/* fine = the sum over points of weight times gradient, the parts' sums of it in part_fine; a weight
   of 0 asks for the losses alone. losses: of the last point. */
ITP_FN interp_status itp_lca_points(interp_lca *l, itp_lca_set *s, int n, const double *at,
                                    const double *weight, itp_lca_losses *losses)
{
    double *parts = s == l->set ? l->part_fine : NULL;
    const size_t n_parts = (size_t)l->d.n_parts;
    bool any = false;
    itp_lca_over(l, s, 0, 0, itp_lca_zero);
    if (parts) memset(parts, 0, l->n_part * sizeof *parts);
    for (int i = 0; i < n; i++) {
        itp_lca_over(l, s, at[i], 0, itp_lca_go);
        if (losses->parts) memset(losses->parts, 0, n_parts * sizeof *losses->parts);
        ITP_TRY(itp_lca_over_samples(l, s, weight[i], losses));
        any = any || weight[i] != 0;
    }
    if (!l->d.allreduce) return INTERP_OK;
    if (losses->parts) l->d.allreduce(losses->parts, n_parts, l->d.allreduce_user);
    if (any) l->d.allreduce(s->fine, l->net->n_flat, l->d.allreduce_user);
    if (any && parts) l->d.allreduce(parts, l->n_part, l->d.allreduce_user);
    return INTERP_OK;
}

/* ---- a step */

/* Sum of squares of what weight decay is about, times l2. */
ITP_FN double itp_lca_penalty(const interp_lca *l, const float *p)
{
    double sum = 0;
    for (int i = 0; l->d.l2 != 0 && i < interp_net_parameter_count(l->net); i++) {
        const interp_parameter_info v = interp_net_parameter(l->net, i);
        if (v.shape.rank < 2) continue;
        const size_t n = interp_shape_size(&v.shape);
        for (size_t k = 0; k < n; k++) sum += (double)p[v.offset + k] * (double)p[v.offset + k];
    }
    return l->d.l2 * sum;
}

/* The penalty's change is its own exact allocation. */
ITP_FN void itp_lca_penalise(interp_lca *l, double *lca)
{
    const float *start = l->start, *end = l->net->flat;
    for (int i = 0; l->d.l2 != 0 && i < interp_net_parameter_count(l->net); i++) {
        const interp_parameter_info v = interp_net_parameter(l->net, i);
        if (v.shape.rank < 2) continue;
        const size_t last = v.offset + interp_shape_size(&v.shape);
        for (size_t k = v.offset; k < last; k++)
            lca[k] +=
                l->d.l2 * ((double)end[k] - (double)start[k]) * ((double)end[k] + (double)start[k]);
    }
}

/* Shares of the gradients at both ends in the rule's first mean. */
ITP_FN const double *itp_lca_end_weights(const interp_lca *l)
{
    static const double weights[][2] = {{0.5, 0.5}, {1, 0}, {0, 1}, {0.5, 0.5}, {0, 0}};
    return weights[l->d.rule];
}

/* The losses of the training set to be kept at the path's start, or at its end. */
ITP_FN itp_lca_losses itp_lca_kept(const interp_lca *l, const itp_lca_set *s, bool end)
{
    itp_lca_losses k = {0, NULL, NULL};
    if (s == l->set && l->sample) k.samples = l->sample + (end ? l->d.subsample : 0);
    if (s == l->set && l->part_loss) k.parts = l->part_loss + (end ? l->d.n_parts : 0);
    return k;
}

/* Loss and gradient, where the rule asks for it, at the start of the path. */
ITP_FN interp_status itp_lca_start(interp_lca *l, itp_lca_set *s)
{
    const double zero = 0, one = itp_lca_end_weights(l)[0] != 0;
    itp_lca_losses losses = itp_lca_kept(l, s, false);
    ITP_TRY(itp_lca_points(l, s, 1, &zero, &one, &losses));
    s->before = losses.mean;
    itp_lca_over(l, s, 0, 1, itp_lca_ends);
    return INTERP_OK;
}

/* coarse = what both ends say by the rule; the gradient at the end becomes g. */
ITP_FN interp_status itp_lca_ends_of(interp_lca *l, itp_lca_set *s)
{
    const double *weight = itp_lca_end_weights(l), zero = 0, one = 1;
    const double start = weight[0] != 0, end = l->d.rule != INTERP_LCA_GAUSS;
    const size_t n = s == l->set ? l->n_part : 0;
    itp_lca_losses losses = itp_lca_kept(l, s, false);
    if (n) { /* those of g were of another change */
        ITP_TRY(itp_lca_points(l, s, 1, &zero, &start, &losses));
        for (size_t i = 0; i < n; i++) l->part_coarse[i] = weight[0] * l->part_fine[i];
    }
    losses = itp_lca_kept(l, s, true);
    ITP_TRY(itp_lca_points(l, s, 1, &one, &end, &losses));
    s->after = losses.mean;
    for (size_t i = 0; i < n; i++) l->part_coarse[i] += weight[1] * l->part_fine[i];
    itp_lca_over(l, s, weight[0], weight[1], itp_lca_ends);
    return INTERP_OK;
}

/* fine = the mean gradient by n splits, from that by half of them; or by n points of Gauss. */
ITP_FN interp_status itp_lca_refine(interp_lca *l, itp_lca_set *s, int n)
{
    double at[ITP_LCA_SPLITS], weight[ITP_LCA_SPLITS];
    const size_t n_part = s == l->set ? l->n_part : 0;
    itp_lca_losses losses = {0, NULL, NULL};
    if (l->d.rule == INTERP_LCA_GAUSS) {
        ITP_TRY(interp_quadrature_rule(l->ctx, INTERP_GAUSS_LEGENDRE, n, at, weight));
        return itp_lca_points(l, s, n, at, weight, &losses);
    }
    if (n > 2) { /* what was fine is coarse now */
        double *const fine = s->fine, *const part_fine = l->part_fine;
        s->fine = s->coarse, s->coarse = fine;
        if (n_part) l->part_fine = l->part_coarse, l->part_coarse = part_fine;
    }
    for (int i = 0; i < n / 2; i++) at[i] = (2 * i + 1.0) / n, weight[i] = 1.0 / n;
    ITP_TRY(itp_lca_points(l, s, n / 2, at, weight, &losses));
    itp_lca_over(l, s, 0.5, 0, itp_lca_mix);
    for (size_t i = 0; i < n_part; i++) l->part_fine[i] += 0.5 * l->part_coarse[i];
    return INTERP_OK;
}

/* How fine and coarse make the mean gradient: Simpson's rule is (4 T(n) - T(n/2)) / 3 of the trapezoid
   rule T. */
ITP_FN void itp_lca_weights(const interp_lca *l, double *fine, double *coarse)
{
    const bool simpson = l->d.rule == INTERP_LCA_SIMPSON, gauss = l->d.rule == INTERP_LCA_GAUSS;
    *fine = simpson ? 4.0 / 3 : gauss ? 1 : 0;
    *coarse = simpson ? -1.0 / 3 : gauss ? 0 : 1;
}

/* The loss change that is not allocated yet, with the means as they are; whether that is borne. */
ITP_FN bool itp_lca_is_resolved(interp_lca *l)
{
    double fine, coarse;
    bool all = true;
    itp_lca_weights(l, &fine, &coarse);
    for (int i = 0; i < l->n_sets; i++) {
        itp_lca_set *s = &l->set[i];
        const double change = s->after - s->before;
        s->allocated = itp_lca_over(l, s, fine, coarse, itp_lca_sum);
        all &= fabs(change - s->allocated) <= fmax(l->d.tolerance, l->d.relative * fabs(change));
    }
    return all;
}

/* Half the 95 % confidence interval of the mean change of the loss, of all samples. */
ITP_FN double itp_lca_interval(const interp_lca *l)
{
    const double m = l->d.subsample, n = l->set[0].data->n;
    const double *before = l->sample, *after = before + l->d.subsample;
    double mean = 0, square = 0;
    for (int i = 0; i < l->d.subsample; i++) mean += (after[i] - before[i]) / m;
    for (int i = 0; i < l->d.subsample; i++)
        square += (after[i] - before[i] - mean) * (after[i] - before[i] - mean) / (m - 1);
    return 1.96 * sqrt(square / m * (1 - m / n));
}

/* Draws the samples of this step's loss. */
ITP_FN void itp_lca_draw(interp_lca *l)
{
    for (int i = 0; i < l->set[0].data->n; i++) l->order[i] = i;
    itp_shuffle(l->order, l->set[0].data->n, l->d.seed, ITP_LCA_STREAM + (uint64_t)l->step);
}

/* How far the step goes along each direction. */
ITP_FN void itp_lca_aim(interp_lca *l)
{
    const size_t n = l->net->n_flat;
    for (int k = 0; k < l->d.n_directions; k++) {
        const float *v = l->d.directions + (size_t)k * n;
        l->along[k] = 0;
        for (size_t i = 0; i < n; i++)
            l->along[k] += (double)v[i] * ((double)l->net->flat[i] - (double)l->start[i]);
    }
}

/* Allocations along the directions, and the rest: of the mean gradient a fine + b coarse. */
ITP_FN void itp_lca_directions(interp_lca *l, double a, double b)
{
    const size_t n = l->net->n_flat;
    const itp_lca_set *s = l->set;
    double *out = l->along + l->d.n_directions + 1, rest = s->allocated;
    for (int k = 0; k < l->d.n_directions; k++) {
        const float *v = l->d.directions + (size_t)k * n;
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)v[i] * (a * s->fine[i] + b * s->coarse[i]);
        out[k] = sum * l->along[k];
        rest -= out[k];
    }
    out[l->d.n_directions] = rest;
}

/* Both ends, then splits doubled until the loss change is allocated. */
ITP_FN interp_status itp_lca_integrate(interp_lca *l, int *splits, bool *resolved)
{
    const bool refines = l->d.rule == INTERP_LCA_SIMPSON || l->d.rule == INTERP_LCA_GAUSS;
    double used = 0;
    for (int i = 0; i < l->n_sets; i++) used += itp_lca_chunks(l, &l->set[i]);
    l->chunks = 0, l->all_chunks = used * (refines ? 2 : 1);
    if (l->d.subsample) itp_lca_draw(l);
    itp_lca_aim(l);
    for (int i = 0; i < l->n_sets; i++) {
        itp_lca_set *s = &l->set[i];
        if (!l->g_known || (i == 0 && l->d.subsample)) ITP_TRY(itp_lca_start(l, s));
    }
    l->g_known = false; /* until the step is whole */
    for (int i = 0; i < l->n_sets; i++) ITP_TRY(itp_lca_ends_of(l, &l->set[i]));
    *splits = 1, *resolved = true;
    if (!refines) itp_lca_is_resolved(l); /* for its sums: the rule has no choice */
    for (int n = 2; refines && n <= l->d.max_splits; n *= 2) {
        l->all_chunks = l->chunks + used * (l->d.rule == INTERP_LCA_GAUSS ? n : n / 2);
        for (int i = 0; i < l->n_sets; i++) ITP_TRY(itp_lca_refine(l, &l->set[i], n));
        *splits = n, *resolved = itp_lca_is_resolved(l);
        if (*resolved) break;
    }
    return INTERP_OK;
}

/* coarse = the allocations, part_coarse = those of the parts, at = the change, start = the end. */
ITP_FN void itp_lca_close(interp_lca *l)
{
    double fine, coarse;
    itp_lca_weights(l, &fine, &coarse);
    if (l->along) itp_lca_directions(l, fine, coarse);
    for (int i = 0; i < l->n_sets; i++) itp_lca_over(l, &l->set[i], fine, coarse, itp_lca_settle);
    for (size_t i = 0; i < l->n_part; i++)
        l->part_coarse[i] = fine * l->part_fine[i] + coarse * l->part_coarse[i];
    for (int i = 0; l->part_loss && i < l->d.n_parts; i++)
        l->part_loss[i] = l->part_loss[l->d.n_parts + i] - l->part_loss[i];
    itp_lca_penalise(l, l->set[0].coarse);
    itp_lca_over(l, l->set, 0, 0, itp_lca_move);
    l->g_known = true;
    l->step++;
}

INTERP_API interp_status interp_lca_step(interp_lca *l, interp_lca_step_info *info)
{
    interp_lca_step_info r;
    itp_lca_set *s = l->set, *v = l->set + 1;
    memset(&r, 0, sizeof r);
    if (!l->begun)
        return itp_fail(l->ctx, INTERP_BAD_ARGUMENT, "lca: interp_lca_begin was not called");
    ITP_TRY(itp_lca_integrate(l, &r.splits, &r.resolved));
    const double before = itp_lca_penalty(l, l->start), after = itp_lca_penalty(l, l->net->flat);
    r.loss_before = s->before + before, r.loss_after = s->after + after;
    r.allocated = s->allocated + after - before;
    r.residual = r.loss_after - r.loss_before - r.allocated;
    if (!(r.loss_after - r.loss_after == 0) || !(r.allocated - r.allocated == 0))
        return itp_fail(l->ctx, INTERP_NOT_FINITE,
                        "lca: the loss or its gradient is NaN or infinite at step %lld",
                        (long long)l->step + 1);
    r.val_before = r.val_after = r.val_allocated = r.val_residual = (double)NAN;
    if (l->n_sets > 1) {
        r.val_before = v->before, r.val_after = v->after, r.val_allocated = v->allocated;
        r.val_residual = v->after - v->before - v->allocated;
    }
    if (l->sample) r.interval = itp_lca_interval(l);
    itp_lca_close(l);
    for (int i = 0; i < l->n_sets; i++) l->set[i].before = l->set[i].after;
    r.step = l->step;
    r.lca = s->coarse, r.val_lca = l->n_sets > 1 ? v->coarse : NULL;
    r.moved = l->at, r.parts = l->part_coarse, r.part_change = l->part_loss;
    r.directions = l->along ? l->along + l->d.n_directions + 1 : NULL;
    if (info) *info = r;
    return l->d.on_step ? l->d.on_step(&r, l->d.user) : INTERP_OK;
}

INTERP_API interp_status interp_lca_begin(interp_lca *l)
{
    memcpy(l->start, l->net->flat, l->net->n_flat * sizeof *l->start);
    l->begun = true, l->g_known = false;
    l->step = 0;
    return INTERP_OK;
}

INTERP_API interp_status interp_lca_on_step(interp_net *net, int64_t step, void *user)
{
    interp_lca *l = (interp_lca *)user;
    if (net != l->net)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT, "lca: it was made for another network");
    if (l->begun) return interp_lca_step(l, NULL);
    ITP_TRY(interp_lca_begin(l));
    l->step = step; /* a training that is resumed */
    return INTERP_OK;
}

/* ---- making one */

ITP_FN interp_status itp_lca_defaults(interp_lca *l, const interp_dataset *data,
                                      const interp_lca_desc *desc)
{
    interp_lca_desc *d = &l->d;
    if (desc) *d = *desc;
    if (d->tolerance == 0) d->tolerance = 1e-3;
    if (!d->max_splits) d->max_splits = 32;
    if (!(d->tolerance > 0) || !(d->relative >= 0) || d->max_splits < 2 ||
        d->max_splits > ITP_LCA_SPLITS || d->chunk < 0 || d->subsample < 0 || d->subsample == 1 ||
        d->subsample > data->n || (int)d->rule < 0 || d->rule > INTERP_LCA_GAUSS || !(d->l2 >= 0))
        return itp_fail(l->ctx, INTERP_BAD_ARGUMENT,
                        "lca: an option is out of range: tolerance %g must be above 0, max_splits "
                        "%d within 2 to %d, subsample %d not 1 nor more than the %d samples",
                        d->tolerance, d->max_splits, ITP_LCA_SPLITS, d->subsample, data->n);
    if (!d->parts) d->n_parts = d->groups ? data->n_classes : 0;
    if ((d->subsample && (d->allreduce || d->groups)) || (d->groups && d->n_groups < 1))
        return itp_fail(l->ctx, INTERP_BAD_ARGUMENT,
                        "lca: sums by part and several processes need all samples, and groups "
                        "their number");
    if (d->parts && (!d->groups || d->n_parts < 1 || d->mode == INTERP_BATCH_STATS))
        return itp_fail(l->ctx, INTERP_BAD_ARGUMENT,
                        "lca: %d parts of the samples need groups of the parameters, and "
                        "normalisation that does not depend on the batch",
                        d->n_parts);
    for (int i = 0; d->parts && i < data->n; i++)
        if (d->parts[i] < -1 || d->parts[i] >= d->n_parts)
            return itp_fail(l->ctx, INTERP_BAD_ARGUMENT, "lca: sample %d is of part %d, of %d", i,
                            (int)d->parts[i], d->n_parts);
    for (size_t i = 0; d->groups && i < l->net->n_flat; i++)
        if (d->groups[i] < 0 || d->groups[i] >= d->n_groups)
            return itp_fail(l->ctx, INTERP_BAD_ARGUMENT,
                            "lca: parameter %zu is of group %d, of %d groups", i, (int)d->groups[i],
                            d->n_groups);
    return INTERP_OK;
}

/* Directions have to be unit vectors at right angles. */
ITP_FN interp_status itp_lca_check_directions(const interp_lca *l)
{
    const size_t n = l->net->n_flat;
    const interp_lca_desc *d = &l->d;
    if (d->n_directions < 0 || (d->n_directions && !d->directions))
        return itp_fail(l->ctx, INTERP_BAD_ARGUMENT, "lca: %d directions", d->n_directions);
    for (int j = 0; j < d->n_directions; j++)
        for (int k = 0; k <= j; k++) {
            double dot = j == k ? -1 : 0;
            for (size_t i = 0; i < n; i++)
                dot += (double)d->directions[(size_t)j * n + i] *
                       (double)d->directions[(size_t)k * n + i];
            if (!(fabs(dot) < 1e-3))
                return itp_fail(l->ctx, INTERP_BAD_ARGUMENT,
                                "lca: directions %d and %d are not orthonormal: off by %g", k, j,
                                dot);
        }
    return INTERP_OK;
}

ITP_FN interp_status itp_lca_set_new(interp_lca *l, const interp_dataset *data)
{
    const size_t n = l->net->n_flat;
    itp_lca_set *s = &l->set[l->n_sets++];
    if (!data->y) return itp_fail(l->ctx, INTERP_BAD_ARGUMENT, "lca: the data has no labels");
    ITP_TRY(itp_data_fits(l->ctx, l->net, data, l->outputs));
    s->data = data;
    s->count = itp_lca_used(l, s);
    if (l->d.allreduce) l->d.allreduce(&s->count, 1, l->d.allreduce_user);
    s->g = (double *)interp_alloc(l->ctx, itp_mul_size(n, sizeof *s->g));
    s->coarse = (double *)interp_alloc(l->ctx, itp_mul_size(n, sizeof *s->coarse));
    s->fine = (double *)interp_alloc(l->ctx, itp_mul_size(n, sizeof *s->fine));
    return s->g && s->coarse && s->fine ? INTERP_OK : INTERP_NO_MEMORY;
}

/* Samples sorted by part, those of none first, each part in its order. */
ITP_FN interp_status itp_lca_by_part(interp_lca *l, const interp_dataset *data, int *largest)
{
    const int32_t *part = l->d.parts ? l->d.parts : data->y;
    int *at = (int *)itp_calloc(l->ctx, (size_t)l->d.n_parts + 2, sizeof *at);
    if (!at) return INTERP_NO_MEMORY;
    for (int i = 0; i < data->n; i++) at[part[i] + 2]++;
    *largest = 1;
    for (int k = 2; k < l->d.n_parts + 2; k++) *largest = itp_max(*largest, at[k]);
    for (int k = 1; k < l->d.n_parts + 2; k++) at[k] += at[k - 1];
    for (int i = 0; i < data->n; i++) l->order[at[part[i] + 1]++] = i;
    interp_free(l->ctx, at);
    return INTERP_OK;
}

/* Bytes of a pass by one thread beside the gradient: how samples are cut does not depend on threads. */
ITP_FN interp_status itp_lca_bytes(const interp_lca *l, itp_fit *fit, int n, size_t *bytes)
{
    interp_ctx *ctx = l->ctx;
    const int slots = ctx->slots;
    ctx->slots = 1;
    const interp_status status = itp_fit_bytes(ctx, l->net, fit, n, bytes);
    ctx->slots = slots;
    if (!status) *bytes -= itp_min_size(*bytes, itp_mul_size(l->net->n_flat, sizeof(float)));
    return status;
}

/* What a lane's workspace of number `which` is made by: for chunks of up to `most` samples. Statistics of
   batches need a chunk in one pass. */
ITP_FN interp_status itp_lca_fit(interp_lca *l, const interp_dataset *data, int most, int which,
                                 itp_fit *fit)
{
    interp_ctx *ctx = l->ctx;
    const interp_net *net = l->net;
    const bool batch_stats = l->d.mode == INTERP_BATCH_STATS;
    const bool whole = batch_stats || net->fixed_batch, given = whole && l->d.chunk;
    const size_t room = (size_t)(whole ? (int)ITP_LCA_ROOM : (int)ITP_LCA_CACHE);
    int pass = net->fixed_batch ? net->fixed_batch : most;
    memset(fit, 0, sizeof *fit);
    fit->work.param_grads = true;
    fit->work.mode = l->d.mode;
    fit->work.output = net->values[itp_logits_value(net, l->d.loss)].name;
    fit->floats = interp_shape_size(&data->shape) + (size_t)l->outputs + 4;
    while (!net->fixed_batch && !given && pass > (whole ? 1 : ITP_LCA_PASS)) {
        size_t bytes;
        fit->n = pass;
        ITP_TRY(itp_lca_bytes(l, fit, pass, &bytes));
        if (bytes < room) break;
        pass = itp_div_up(pass, 2);
    }
    fit->n = fit->most = pass;
    /* weights are laid out once a sweep where that is of many passes */
    if (pass <= itp_lca_used(l, l->set) / 8) ITP_TRY(itp_fit_pack(ctx, net, fit, pass));
    const int fits = itp_fit_most(ctx, net, fit);
    if (!fits) return ctx->status;
    if (batch_stats && fits < pass)
        return itp_fail(ctx, INTERP_NO_MEMORY,
                        "lca: chunks of %d samples do not fit, and with batch statistics the loss "
                        "depends on them: chunks of up to %d do",
                        pass, fits);
    l->pass[which] = fit->work.batch = fits;
    l->chunk[which] = whole ? fits : most;
    return INTERP_OK;
}

/* A workspace with the parameters in `at`. */
ITP_FN interp_status itp_lca_workspace(interp_lca *l, const itp_fit *fit, interp_workspace **w)
{
    const interp_net *net = l->net;
    ITP_TRY(interp_workspace_new(l->ctx, net, &fit->work, w));
    for (int i = 0; i < net->n_params; i++)
        (*w)->data[net->params[i]] = l->at + net->values[net->params[i]].offset;
    return INTERP_OK;
}

/* One more lane. few: NULL, or what its second workspace is made by. */
ITP_FN interp_status itp_lca_lane_new(interp_lca *l, const interp_dataset *data, const itp_fit *all,
                                      const itp_fit *few)
{
    interp_ctx *ctx = l->ctx;
    itp_lca_lane *lane = &l->lane[l->n_lanes++];
    const size_t pass = (size_t)l->pass[0], row = interp_shape_size(&data->shape);
    ITP_TRY(itp_lca_workspace(l, all, &lane->w[0]));
    if (few) ITP_TRY(itp_lca_workspace(l, few, &lane->w[1]));
    lane->x = (float *)interp_alloc(ctx, itp_mul_size(pass * row, sizeof *lane->x));
    lane->seed =
        (float *)interp_alloc(ctx, itp_mul_size(pass * (size_t)l->outputs, sizeof *lane->seed));
    lane->y = (int32_t *)interp_alloc(ctx, pass * sizeof *lane->y);
    lane->per = (double *)interp_alloc(ctx, pass * sizeof *lane->per);
    return lane->x && lane->seed && lane->y && lane->per ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN void itp_lca_lane_free(interp_ctx *ctx, itp_lca_lane *lane)
{
    interp_workspace_free(lane->w[0]), interp_workspace_free(lane->w[1]);
    interp_free(ctx, lane->x), interp_free(ctx, lane->seed), interp_free(ctx, lane->y);
    interp_free(ctx, lane->per);
    memset(lane, 0, sizeof *lane);
}

/* The lanes: one has to be there, and as many as threads and chunks can make use of if they fit. */
ITP_FN interp_status itp_lca_lanes(interp_lca *l, const interp_dataset *data, int largest)
{
    interp_ctx *ctx = l->ctx;
    const int used = itp_lca_used(l, l->set);
    itp_fit all, few;
    ITP_TRY(itp_lca_fit(l, data, itp_min(l->d.chunk ? l->d.chunk : ITP_LCA_MOST, used), 0, &all));
    const bool parts = l->d.parts && !l->net->fixed_batch && largest < l->pass[0];
    if (parts) ITP_TRY(itp_lca_fit(l, data, largest, 1, &few));
    const int chunks = parts ? ITP_LCA_LANES : itp_div_up(used, l->chunk[0]);
    const int lanes = itp_min(itp_min(ctx->slots, chunks), ITP_LCA_LANES);
    l->lane = (itp_lca_lane *)itp_calloc(ctx, (size_t)lanes, sizeof *l->lane);
    if (!l->lane) return INTERP_NO_MEMORY;
    for (int i = 0; i < lanes; i++) {
        const interp_status status = itp_lca_lane_new(l, data, &all, parts ? &few : NULL);
        if (!status) continue;
        if (!i || status != INTERP_NO_MEMORY) return status;
        itp_lca_lane_free(ctx, &l->lane[--l->n_lanes]);
        interp_clear_error(ctx);
        break;
    }
    return INTERP_OK;
}

/* Sums by group and part. */
ITP_FN interp_status itp_lca_open_parts(interp_lca *l)
{
    l->n_part =
        itp_mul_size((size_t)l->d.n_parts, (size_t)l->d.n_groups + (size_t)l->d.n_directions);
    l->part_coarse = (double *)itp_calloc(l->ctx, l->n_part, sizeof(double));
    l->part_fine = (double *)itp_calloc(l->ctx, l->n_part, sizeof(double));
    l->part_loss = (double *)itp_calloc(l->ctx, 2 * (size_t)l->d.n_parts, sizeof(double));
    return l->part_coarse && l->part_fine && l->part_loss ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN interp_status itp_lca_make(interp_lca *l, const interp_dataset *data,
                                  const interp_lca_desc *desc)
{
    interp_ctx *ctx = l->ctx;
    const size_t n = l->net->n_flat, m = (size_t)data->n;
    const interp_shape out = itp_sample_shape(
        l->net, itp_logits_value(l->net, desc ? desc->loss : INTERP_CROSS_ENTROPY));
    int largest = 0;
    l->outputs = (int)interp_shape_size(&out);
    ITP_TRY(itp_lca_defaults(l, data, desc));
    ITP_TRY(itp_lca_set_new(l, data));
    if (l->d.validation) ITP_TRY(itp_lca_set_new(l, l->d.validation));
    l->start = (float *)interp_alloc(ctx, itp_mul_size(n, sizeof *l->start));
    l->at = (float *)interp_alloc(ctx, itp_mul_size(n, sizeof *l->at));
    l->pieces = (double *)interp_alloc(ctx, (n / ITP_LCA_PIECE + 1) * sizeof *l->pieces);
    if (!l->start || !l->at || !l->pieces) return INTERP_NO_MEMORY;
    if (l->d.subsample || l->d.groups) {
        l->order = (int *)interp_alloc(ctx, m * sizeof *l->order);
        if (!l->order) return INTERP_NO_MEMORY;
    }
    if (l->d.subsample) {
        l->sample = (double *)interp_alloc(ctx, 2 * (size_t)l->d.subsample * sizeof *l->sample);
        if (!l->sample) return INTERP_NO_MEMORY;
    }
    ITP_TRY(itp_lca_check_directions(l));
    if (l->d.n_directions) {
        l->along = (double *)itp_calloc(ctx, 2 * ((size_t)l->d.n_directions + 1), sizeof(double));
        if (!l->along) return INTERP_NO_MEMORY;
    }
    if (l->d.groups) ITP_TRY(itp_lca_by_part(l, data, &largest));
    if (l->d.groups) ITP_TRY(itp_lca_open_parts(l));
    return itp_lca_lanes(l, data, largest);
}

INTERP_API interp_status interp_lca_new(interp_net *net, const interp_dataset *data,
                                        const interp_lca_desc *desc, interp_lca **out)
{
    interp_ctx *ctx = net->ctx;
    if (!net->built || net->n_inputs != 1 || !net->n_flat)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "lca: the network must be built, with one input and parameters");
    ITP_TRY(itp_net_writable(ctx, net));
    interp_lca *l = (interp_lca *)itp_calloc(ctx, 1, sizeof *l);
    if (!l) return INTERP_NO_MEMORY;
    l->ctx = ctx, l->net = net;
    const interp_status status = itp_lca_make(l, data, desc);
    if (status) interp_lca_free(l);
    else *out = l;
    return status;
}

INTERP_API void interp_lca_free(interp_lca *l)
{
    if (!l) return;
    interp_ctx *ctx = l->ctx;
    for (int i = 0; i < 2; i++) {
        interp_free(ctx, l->set[i].g);
        interp_free(ctx, l->set[i].coarse);
        interp_free(ctx, l->set[i].fine);
    }
    interp_free(ctx, l->start), interp_free(ctx, l->at), interp_free(ctx, l->pieces);
    for (int i = 0; i < l->n_lanes; i++) itp_lca_lane_free(ctx, &l->lane[i]);
    interp_free(ctx, l->lane);
    interp_free(ctx, l->order), interp_free(ctx, l->sample);
    interp_free(ctx, l->part_coarse), interp_free(ctx, l->part_fine);
    interp_free(ctx, l->part_loss), interp_free(ctx, l->along);
    interp_free(ctx, l);
}

/* ---- embed/umap.c: UMAP ------------------------------------------------------------------------- */

/* ---- the curve */

/* Half the gradient and the Gauss-Newton matrix of the squared error at (a, b); returns the error. */
ITP_FN double itp_curve_error(double a, double b, double spread, double min_dist, double *g,
                              double *h)
{
    enum { points = 300 };
    double error = 0;
    g[0] = g[1] = h[0] = h[1] = h[2] = 0;
    for (int i = 0; i < points; i++) {
        const double x = 3 * spread * i / (points - 1);
        const double want = x < min_dist ? 1 : exp(-(x - min_dist) / spread);
        const double power = x > 0 ? pow(x, 2 * b) : 0, f = 1 / (1 + a * power), off = f - want;
        const double da = -f * f * power, db = x > 0 ? 2 * a * da * log(x) : 0;
        error += off * off;
        g[0] += da * off, g[1] += db * off;
        h[0] += da * da, h[1] += da * db, h[2] += db * db;
    }
    return error;
}

/* Levenberg and Marquardt's method from (1, 1). */
INTERP_API interp_status interp_umap_curve(interp_ctx *ctx, double spread, double min_dist,
                                           double *a, double *b)
{
    double u = 1, v = 1, damping = 1e-3, g[2], h[3];
    if (!(spread > 0) || !(min_dist >= 0) || min_dist > spread)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "umap: min_dist is %g and spread %g, but 0 <= min_dist <= spread is needed",
                        min_dist, spread);
    double error = itp_curve_error(u, v, spread, min_dist, g, h);
    for (int round = 0; round < 200 && damping < 1e12; round++) {
        const double p = h[0] * (1 + damping), r = h[2] * (1 + damping);
        const double det = p * r - h[1] * h[1];
        const double du = (r * g[0] - h[1] * g[1]) / det, dv = (p * g[1] - h[1] * g[0]) / det;
        double next_g[2], next_h[3], next = (double)INFINITY;
        if (det > 0 && u > du && v > dv)
            next = itp_curve_error(u - du, v - dv, spread, min_dist, next_g, next_h);
        if (next < error) {
            u -= du, v -= dv, error = next, damping *= 0.3;
            memcpy(g, next_g, sizeof g);
            memcpy(h, next_h, sizeof h);
        } else {
            damping *= 4;
        }
    }
    *a = u;
    *b = v;
    return INTERP_OK;
}

/* ---- plan */

/* A desc with its defaults filled in, and what follows from it. */
typedef struct itp_umap {
    interp_ctx *ctx;
    interp_umap_desc desc;
    int n, d, dims, k, epochs, lanes;
    double a, b;
    itp_graph graph;
    float *y, *next; /* [dims][stride] */
    size_t stride;
    float *flat;     /* [n, dims] */
    int32_t *order;  /* [n]: vertices by their number of edges */
    int32_t *random; /* [others]: a random order of those that push */
    float *shuffled; /* [1 + dims][shuffled_stride]: their numbers and places in it */
    size_t shuffled_stride;
    int others;
    uint64_t *keys;     /* [n] */
    int packs;          /* of V_WIDTH vertices */
    int32_t *neighbour; /* [slots][ITP_UMAP_STEPS][lanes]: those due */
    float *due;         /* likewise */
    float *density;     /* [4][stride], the last is the radius wanted; NULL: no */
    float weight_max;
    int isolated;
} itp_umap;

enum { ITP_UMAP_STEPS = 64 };

ITP_FN void itp_umap_others(itp_umap *u, int n)
{
    u->others = n;
    u->shuffled_stride = itp_round_up((size_t)n + ITP_MOST_LANES, ITP_MOST_LANES);
}

ITP_FN void itp_umap_plan(itp_umap *u, const interp_ctx *ctx, int n, int d,
                          const interp_umap_desc *desc)
{
    memset(u, 0, sizeof *u);
    if (desc) u->desc = *desc;
    interp_umap_desc *o = &u->desc;
    u->n = n;
    u->d = d;
    if (!o->n_components) o->n_components = 2;
    if (!o->n_neighbors) o->n_neighbors = 15;
    u->dims = o->n_components;
    u->k = itp_min(o->n_neighbors, n) - 1;
    o->min_dist = o->min_dist < 0 ? 0 : itp_or(o->min_dist, 0.1f);
    o->spread = itp_or(o->spread, 1);
    u->epochs = o->n_epochs ? o->n_epochs : n <= 10000 ? 500 : 200;
    o->learning_rate = itp_or(o->learning_rate, 1);
    if (!o->negative_sample_rate) o->negative_sample_rate = 5;
    o->repulsion_strength = itp_or(o->repulsion_strength, 1);
    o->set_op_mix_ratio = itp_or(o->set_op_mix_ratio, 1);
    if (!o->local_connectivity) o->local_connectivity = 1;
    o->target_weight = itp_or(o->target_weight, 0.5f);
    o->dens_lambda = itp_or(o->dens_lambda, 2);
    o->dens_frac = itp_or(o->dens_frac, 0.3f);
    o->dens_var_shift = itp_or(o->dens_var_shift, 0.1f);
    u->lanes = ctx->k->width;
    u->stride = itp_round_up((size_t)n, ITP_MOST_LANES);
    u->packs = itp_div_up(n, u->lanes);
    itp_umap_others(u, n);
    u->a = (double)o->a;
    u->b = (double)o->b;
}

ITP_FN interp_status itp_umap_check(interp_ctx *ctx, itp_umap *u)
{
    const interp_umap_desc *o = &u->desc;
    if (u->n < 2 || u->d < 1 || u->dims < 1 || u->dims > ITP_UMAP_DIMS || o->n_neighbors < 2)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "umap: %d points of %d numbers with %d neighbours cannot become points of "
                        "%d (1 to %d)",
                        u->n, u->d, o->n_neighbors, u->dims, ITP_UMAP_DIMS);
    if (u->epochs < 1 || !(o->learning_rate > 0) || o->negative_sample_rate < 0 ||
        !(o->repulsion_strength >= 0) || !(o->set_op_mix_ratio >= 0 && o->set_op_mix_ratio <= 1) ||
        o->local_connectivity < 1 || !(o->disconnection_distance >= 0) ||
        !(o->target_weight >= 0 && o->target_weight <= 1) || !(o->dens_frac <= 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "umap: epochs, rates and connectivity are positive, ratios and weights up "
                        "to 1");
    if (o->init == INTERP_EMBED_GIVEN && !o->init_y)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "umap: init_y is NULL");
    if (u->a > 0 && u->b > 0) return INTERP_OK;
    return interp_umap_curve(ctx, (double)o->spread, (double)o->min_dist, &u->a, &u->b);
}

ITP_FN void itp_umap_layout(itp_arena *arena, itp_umap *u, const interp_ctx *ctx, size_t edges)
{
    const size_t n = (size_t)u->n, dims = (size_t)u->dims;
    const size_t due = (size_t)ctx->slots * (size_t)u->lanes * ITP_UMAP_STEPS;
    itp_graph_layout(arena, &u->graph, u->n, edges);
    u->keys = (uint64_t *)itp_arena_alloc(arena, n * sizeof(uint64_t));
    u->y = itp_arena_floats(arena, itp_mul_size(dims, u->stride));
    u->next = itp_arena_floats(arena, itp_mul_size(dims, u->stride));
    u->flat = itp_arena_floats(arena, itp_mul_size(dims, n));
    u->order = (int32_t *)itp_arena_alloc(arena, n * sizeof(int32_t));
    u->random = (int32_t *)itp_arena_alloc(arena, (size_t)u->others * sizeof(int32_t));
    u->shuffled = itp_arena_floats(arena, itp_mul_size(dims + 1, u->shuffled_stride));
    u->neighbour = (int32_t *)itp_arena_alloc(arena, itp_mul_size(due, sizeof(int32_t)));
    u->due = itp_arena_floats(arena, due);
    if (u->desc.densmap) u->density = itp_arena_floats(arena, 4 * u->stride);
}

/* ---- the fuzzy graph */

typedef struct itp_fuzzy_job {
    itp_near_lists *l;
    float connectivity; /* local */
    float disconnection;
    double mean; /* of all distances */
    int neighbours;
} itp_fuzzy_job;

/* Distances of one point, nearest first, become memberships: 1 up to rho, the local_connectivity-th
   distance above 0, then falling by sigma so that they sum to log2 of the number of neighbours. */
ITP_FN void itp_fuzzy_row(const itp_fuzzy_job *job, float *value, int k)
{
    double low = 0, high = (double)INFINITY, sigma = 1, rho = 0, mean = 0;
    const double want = log((double)job->neighbours) / 0.69314718055994531;
    int positive = 0;
    for (int j = 0; j < k; j++) {
        mean += (double)value[j] / (k + 1); /* the point itself is one of them */
        if (!(value[j] > 0)) continue;
        positive++;
        if (positive <= (int)job->connectivity || rho == 0) rho = (double)value[j];
    }
    if (job->connectivity < 1) rho = 0;
    for (int round = 0; round < 64; round++) {
        double sum = 0;
        for (int j = 0; j < k; j++) {
            const double gap = (double)value[j] - rho;
            sum += gap > 0 ? exp(-gap / sigma) : 1;
        }
        if (fabs(sum - want) < 1e-5) break;
        if (sum > want) high = sigma;
        else low = sigma;
        sigma = high < (double)INFINITY ? (low + high) / 2 : sigma * 2;
    }
    const double least = 1e-3 * (rho > 0 ? mean : job->mean);
    if (sigma < least) sigma = least;
    for (int j = 0; j < k; j++) {
        const double gap = (double)value[j] - rho;
        if (job->disconnection > 0 && value[j] >= job->disconnection) value[j] = 0;
        else value[j] = gap <= 0 || sigma <= 0 ? 1.0f : (float)exp(-gap / sigma);
    }
}

ITP_FN void itp_fuzzy_task(void *arg, int task, int slot)
{
    const itp_fuzzy_job *job = (const itp_fuzzy_job *)arg;
    const int end = itp_min(job->l->n, (task + 1) * ITP_POINTS), k = job->l->k;
    (void)slot;
    for (int i = task * ITP_POINTS; i < end; i++)
        itp_fuzzy_row(job, job->l->value + (size_t)i * (size_t)k, k);
}

ITP_FN void itp_fuzzy(interp_ctx *ctx, const interp_umap_desc *o, itp_near_lists *l,
                      float connectivity, int neighbours)
{
    const size_t all = (size_t)l->n * (size_t)l->k;
    itp_fuzzy_job job;
    job.l = l;
    job.connectivity = connectivity;
    job.disconnection = o->disconnection_distance;
    job.neighbours = neighbours;
    job.mean = all ? ctx->k->sum(all, l->value) / ((double)l->n * (l->k + 1)) : 0;
    itp_parallel(ctx, itp_point_blocks(l->n), 1000.0 * l->n * l->k, itp_fuzzy_task, &job);
}

/* Edges between classes lose weight; then each vertex is tied to its nearest again. scale: [n]. */
ITP_FN void itp_umap_supervise(itp_umap *u, float *scale)
{
    const itp_graph *g = &u->graph;
    const double tw = (double)u->desc.target_weight;
    const float far = (float)exp(-(tw < 1 ? 2.5 / (1 - tw) : 1e12)), unknown = (float)exp(-1.0);
    const int32_t *y = u->desc.y_class;
    for (int i = 0; i < g->n; i++) {
        scale[i] = 0;
        for (size_t e = g->start[i]; e < g->start[i + 1]; e++) {
            const int32_t p = y[i], q = y[g->index[e]];
            if (p < 0 || q < 0) g->weight[e] *= unknown;
            else if (p != q) g->weight[e] *= far;
            if (g->weight[e] > scale[i]) scale[i] = g->weight[e];
        }
    }
    for (int i = 0; i < g->n; i++)
        for (size_t e = g->start[i]; e < g->start[i + 1]; e++) {
            const float w = g->weight[e], q = scale[g->index[e]];
            const float a = scale[i] > 0 ? w / scale[i] : 0, b = q > 0 ? w / q : 0;
            g->weight[e] = a + b - a * b;
        }
}

/* Drops edges that would not be due once, finds the heaviest, and counts. */
ITP_FN void itp_umap_prune(itp_umap *u)
{
    itp_graph *g = &u->graph;
    size_t to = 0;
    u->weight_max = 0;
    u->isolated = 0;
    for (size_t e = 0; e < g->start[g->n]; e++)
        if (g->weight[e] > u->weight_max) u->weight_max = g->weight[e];
    const float least = u->weight_max / (float)u->epochs;
    for (int i = 0; i < g->n; i++) {
        const size_t from = g->start[i], end = g->start[i + 1];
        g->start[i] = to;
        for (size_t e = from; e < end; e++) {
            if (g->weight[e] < least) continue;
            g->index[to] = g->index[e];
            g->weight[to++] = g->weight[e];
        }
        u->isolated += to == g->start[i];
    }
    g->start[g->n] = to;
}

/* Vertices by falling number of edges, so that those of a pack take equally long. */
ITP_FN void itp_umap_order(itp_umap *u)
{
    const itp_graph *g = &u->graph;
    for (int i = 0; i < g->n; i++)
        u->keys[i] = (uint64_t)(UINT32_MAX - (g->start[i + 1] - g->start[i])) << 32 | (uint32_t)i;
    itp_keys_sort(u->keys, g->n);
    for (int i = 0; i < g->n; i++) u->order[i] = (int32_t)(uint32_t)u->keys[i];
}

/* ---- epochs */

typedef struct itp_epoch_job {
    const interp_ctx *ctx;
    const itp_umap *u;
    itp_attraction s;
    int epoch, group, groups;
    bool self; /* the others are the vertices themselves */
} itp_epoch_job;

ITP_FN uint32_t itp_umap_state(uint64_t seed, int epoch, int vertex)
{
    uint64_t z =
        seed + 0x9E3779B97F4A7C15u * (((uint64_t)(uint32_t)epoch << 32) + (uint32_t)vertex + 1);
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u; /* splitmix64, Steele et al. 2014 */
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (uint32_t)z | 1u;
}

/* The next edges of a pack that are due, lane by lane, each from where `at` says; returns how many the
   longest lane has, at most ITP_UMAP_STEPS. */
ITP_FN int itp_epoch_due(const itp_epoch_job *job, const int32_t *own, int count, size_t *at,
                         int32_t *neighbour, float *due)
{
    const itp_umap *u = job->u;
    const itp_graph *g = &u->graph;
    const int lanes = u->lanes;
    const float now = (float)(job->epoch + 1) / u->weight_max;
    const float before = (float)job->epoch / u->weight_max;
    int steps = 0, length[ITP_MOST_LANES];
    for (int l = 0; l < count; l++) {
        const size_t end = g->start[own[l] + 1];
        int n = 0;
        size_t e = at[l];
        for (; e < end && n < ITP_UMAP_STEPS; e++) {
            const float w = g->weight[e];
            neighbour[n * lanes + l] = g->index[e]; /* stays if it is due */
            due[n * lanes + l] = w;
            n += (int)(w * now) != (int)(w * before);
        }
        at[l] = e;
        length[l] = n;
        if (n > steps) steps = n;
    }
    for (int l = 0; l < lanes; l++)
        for (int n = l < count ? length[l] : 0; n < steps; n++) {
            neighbour[n * lanes + l] = 0;
            due[n * lanes + l] = 0;
        }
    return steps;
}

ITP_FN void itp_epoch_task(void *arg, int task, int slot)
{
    const itp_epoch_job *job = (const itp_epoch_job *)arg;
    const itp_umap *u = job->u;
    const int lanes = u->lanes, first = (task * job->groups + job->group) * lanes;
    const int count = itp_min(lanes, u->n - first);
    const size_t room = (size_t)slot * ITP_UMAP_STEPS * (size_t)lanes;
    int32_t *neighbour = u->neighbour + room;
    float *due = u->due + room, at[ITP_UMAP_DIMS * ITP_MOST_LANES];
    int32_t own[ITP_MOST_LANES], self[ITP_MOST_LANES];
    uint32_t state = itp_umap_state(u->desc.seed, job->epoch, first);
    size_t edge[ITP_MOST_LANES];
    for (int l = 0; l < lanes; l++) {
        const int32_t v = u->order[first + (l < count ? l : 0)];
        own[l] = v;
        self[l] = job->self ? v : -1; /* nobody's number */
        edge[l] = u->graph.start[v];
        for (int k = 0; k < u->dims; k++)
            at[k * lanes + l] = u->y[(size_t)k * u->stride + (size_t)v];
    }
    for (;;) {
        const int steps = itp_epoch_due(job, own, count, edge, neighbour, due);
        if (!steps) break;
        itp_embeds(job->ctx->k)->attract(&job->s, steps, self, neighbour, due, &state, at);
    }
    for (int l = 0; l < count; l++)
        for (int k = 0; k < u->dims; k++)
            u->next[(size_t)k * u->stride + (size_t)own[l]] = at[k * lanes + l];
}

/* The group's vertices take the places found for them. */
ITP_FN void itp_epoch_commit(const itp_epoch_job *job)
{
    const itp_umap *u = job->u;
    for (int pack = job->group; pack < u->packs; pack += job->groups) {
        const int first = pack * u->lanes, end = itp_min(u->n, first + u->lanes);
        for (int k = 0; k < u->dims; k++) {
            float *y = u->y + (size_t)k * u->stride;
            const float *next = u->next + (size_t)k * u->stride;
            for (int i = first; i < end; i++) y[u->order[i]] = next[u->order[i]];
        }
    }
}

typedef struct itp_shuffle_job {
    const itp_umap *u;
    const float *at;
    size_t stride;
} itp_shuffle_job;

/* Those that push, where they are now, in their random order; round the end it begins again. */
ITP_FN void itp_shuffle_task(void *arg, int task, int slot)
{
    const itp_shuffle_job *job = (const itp_shuffle_job *)arg;
    const itp_umap *u = job->u;
    const int last = u->others + ITP_MOST_LANES, end = itp_min(last, (task + 1) * 4096);
    (void)slot;
    for (int i = task * 4096; i < end; i++) {
        const int32_t v = u->random[i % u->others];
        u->shuffled[i] = (float)v;
        for (int k = 0; k < u->dims; k++)
            u->shuffled[(size_t)(k + 1) * u->shuffled_stride + (size_t)i] =
                job->at[(size_t)k * job->stride + (size_t)v];
    }
}

/* ---- densMAP */

/* Sums over the edges of each vertex. */
ITP_FN void itp_density_task(void *arg, int task, int slot)
{
    const itp_umap *u = (const itp_umap *)arg;
    const itp_graph *g = &u->graph;
    const int end = itp_min(u->n, (task + 1) * ITP_POINTS);
    (void)slot;
    for (int i = task * ITP_POINTS; i < end; i++) {
        double radius = 0, sum = 0;
        for (size_t e = g->start[i]; e < g->start[i + 1]; e++) {
            double d2 = 0;
            for (int k = 0; k < u->dims; k++) {
                const float *y = u->y + (size_t)k * u->stride;
                const double gap = (double)y[i] - (double)y[g->index[e]];
                d2 += gap * gap;
            }
            const double phi = 1 / (1 + u->a * pow(d2, u->b));
            radius += phi * d2;
            sum += phi;
        }
        u->density[i] = sum > 0 ? (float)(1 / (2 * sum)) : 0; /* every edge counts at both ends */
        u->density[u->stride + (size_t)i] = (float)log(1e-8 + (sum > 0 ? radius / sum : 0));
    }
}

/* What the kernel needs of every vertex this epoch. */
ITP_FN float itp_umap_density(itp_umap *u, interp_ctx *ctx)
{
    const size_t n = (size_t)u->n;
    float *radius = u->density + u->stride, *want = radius + u->stride;
    const float *original = want + u->stride;
    const double work = 100.0 * (double)u->graph.start[u->n];
    itp_parallel(ctx, itp_point_blocks(u->n), work, itp_density_task, u);
    double mean = 0, variance = 0, covariance = 0, total = 0;
    for (size_t i = 0; i < n; i++) mean += (double)radius[i] / u->n;
    for (size_t i = 0; i < n; i++) {
        const double off = (double)radius[i] - mean;
        variance += off * off / u->n;
        covariance += (double)radius[i] * (double)original[i] / (u->n - 1);
    }
    variance += (double)u->desc.dens_var_shift;
    for (size_t i = 0; i < n; i++) {
        want[i] = (float)((double)original[i] - covariance * ((double)radius[i] - mean) / variance);
        radius[i] = (float)exp(-(double)radius[i]);
    }
    for (size_t e = 0; e < u->graph.start[n]; e++) total += (double)u->graph.weight[e];
    return (float)((double)u->desc.dens_lambda * total / 2 / (sqrt(variance) * u->n));
}

/* Logarithms of the local radii of the original points, standardised. `x` are rows made ready. */
ITP_FN void itp_umap_radii(itp_umap *u, const float *x)
{
    const itp_graph *g = &u->graph;
    float *original = u->density + 3 * u->stride;
    double mean = 0, variance = 0;
    for (int i = 0; i < u->n; i++) {
        double sum = 0, radius = 0;
        for (size_t e = g->start[i]; e < g->start[i + 1]; e++) {
            const double d = interp_distance(x + (size_t)i * (size_t)u->d,
                                             x + (size_t)g->index[e] * (size_t)u->d, u->d,
                                             u->desc.metric, u->desc.metric_p);
            sum += (double)g->weight[e];
            radius += (double)g->weight[e] * d * d;
        }
        original[i] = (float)log(1e-8 + (sum > 0 ? radius / sum : 0));
        mean += (double)original[i] / u->n;
    }
    for (int i = 0; i < u->n; i++) {
        const double off = (double)original[i] - mean;
        variance += off * off / u->n;
    }
    const double scale = variance > 0 ? 1 / sqrt(variance) : 0;
    for (int i = 0; i < u->n; i++) original[i] = (float)(scale * ((double)original[i] - mean));
}

/* ---- optimisation */

ITP_FN void itp_umap_flatten(const itp_umap *u, float *y)
{
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < u->dims; k++)
            y[(size_t)i * (size_t)u->dims + (size_t)k] = u->y[(size_t)k * u->stride + (size_t)i];
}

/* others: planes of points that stay, [dims][others_stride]; NULL: the vertices themselves. */
ITP_FN interp_status itp_umap_epochs(itp_umap *u, const float *others, size_t others_stride,
                                     float rate)
{
    interp_ctx *ctx = u->ctx;
    itp_epoch_job job;
    memset(&job, 0, sizeof job);
    job.ctx = ctx;
    job.u = u;
    job.self = !others;
    /* groups move one after the other, and those of a group see each other where they were: the more
       groups, the fresher the places, as long as each fills the threads */
    job.groups = others ? 1 : itp_min(u->packs, itp_max(4, itp_min(32, u->packs / 40)));
    job.s.dims = u->dims;
    job.s.a = (float)u->a, job.s.b = (float)u->b;
    job.s.repulsion = u->desc.repulsion_strength;
    job.s.negatives = u->others < 3 ? 0 : u->desc.negative_sample_rate;
    job.s.both = others ? 1 : 2;
    job.s.at = others ? others : u->y;
    job.s.stride = others ? others_stride : u->stride;
    job.s.others = u->others;
    job.s.shuffled = u->shuffled;
    job.s.shuffled_stride = u->shuffled_stride;
    itp_shuffle_job shuffle;
    shuffle.u = u;
    shuffle.at = job.s.at;
    shuffle.stride = job.s.stride;
    const int runs = itp_div_up(u->others + ITP_MOST_LANES, 4096);
    for (int i = 0; i < u->others; i++) u->random[i] = i;
    itp_shuffle(u->random, u->others, u->desc.seed, 0x0B1);
    const double work = 300.0 * (double)u->graph.start[u->n] / job.groups;
    for (int epoch = 0; epoch < u->epochs; epoch++) {
        if (epoch % 10 == 0) ITP_TRY(itp_progress(ctx, "umap", epoch, u->epochs, (double)NAN));
        job.epoch = epoch;
        job.s.rate = rate * (1 - (float)epoch / (float)u->epochs);
        const bool dense = u->density && job.self &&
                           (float)(epoch + 1) > (1 - u->desc.dens_frac) * (float)u->epochs;
        if (dense) job.s.density_scale = itp_umap_density(u, ctx);
        job.s.density = dense ? u->density : NULL;
        if (job.self || epoch == 0)
            itp_parallel(ctx, runs, 4.0 * u->others * u->dims, itp_shuffle_task, &shuffle);
        for (job.group = 0; job.group < job.groups; job.group++) {
            const int tasks = (u->packs - job.group + job.groups - 1) / job.groups;
            itp_parallel(ctx, tasks, work, itp_epoch_task, &job);
            itp_epoch_commit(&job);
        }
        if (u->desc.on_epoch && u->desc.report_every && (epoch + 1) % u->desc.report_every == 0) {
            itp_umap_flatten(u, u->flat);
            ITP_TRY(u->desc.on_epoch(epoch + 1, u->flat, u->desc.user));
        }
    }
    return itp_progress(ctx, "umap", u->epochs, u->epochs, (double)NAN);
}

/* Into [0,10] in every dimension, a little noise parting equal points. */
ITP_FN interp_status itp_umap_scale(itp_umap *u)
{
    for (int k = 0; k < u->dims; k++) {
        float *y = u->y + (size_t)k * u->stride;
        double low = (double)INFINITY, high = -(double)INFINITY, most = 0;
        for (int i = 0; i < u->n; i++)
            most = fmax(most, fabs((double)u->flat[(size_t)i * (size_t)u->dims + (size_t)k]));
        if (!(most < (double)INFINITY))
            return itp_fail(u->ctx, INTERP_NOT_FINITE, "umap: init_y holds NaN or infinity");
        for (int i = 0; i < u->n; i++) {
            const size_t at = (size_t)i * (size_t)u->dims + (size_t)k;
            const double v = most > 0 ? 10 * (double)u->flat[at] / most : 0;
            y[i] = (float)(v + 1e-4 * (double)interp_random_normal(u->desc.seed, 0x0AF, at));
            low = itp_min_double(low, (double)y[i]);
            high = fmax(high, (double)y[i]);
        }
        for (int i = 0; i < u->n; i++)
            y[i] = (float)(high > low ? 10 * ((double)y[i] - low) / (high - low) : 5);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_umap_begin(itp_umap *u, const float *x, int *pieces)
{
    const interp_umap_desc *o = &u->desc;
    interp_ctx *ctx = u->ctx;
    const size_t all = (size_t)u->n * (size_t)u->dims;
    itp_spectral s;
    itp_arena arena = {NULL, 0};
    itp_spectral_layout(&arena, &s, u->n, u->graph.start[u->n], u->dims);
    arena.base = (char *)interp_alloc(ctx, arena.used);
    if (!arena.base) return INTERP_NO_MEMORY;
    arena.used = 0;
    itp_spectral_layout(&arena, &s, u->n, u->graph.start[u->n], u->dims);
    itp_spectral_matrix(&s, &u->graph);
    *pieces = s.pieces;
    interp_status status = INTERP_OK;
    const bool spectral = o->init == INTERP_EMBED_DEFAULT || o->init == INTERP_EMBED_SPECTRAL;
    if (spectral) {
        status = itp_spectral_solve(ctx, &s, o->seed);
        if (!status) itp_spectral_place(&s, u->flat);
    }
    interp_free(ctx, arena.base);
    if (status) return status;
    if (o->init == INTERP_EMBED_GIVEN) {
        memcpy(u->flat, o->init_y, all * sizeof *u->flat);
    } else if (o->init == INTERP_EMBED_PCA && u->d >= u->dims &&
               o->metric != INTERP_METRIC_PRECOMPUTED) {
        interp_pca_desc d;
        memset(&d, 0, sizeof d);
        d.n_components = u->dims;
        d.seed = o->seed;
        ITP_TRY(interp_pca(ctx, x, u->n, u->d, &d, u->flat, NULL, NULL));
    } else if (!spectral) {
        for (size_t i = 0; i < all; i++)
            u->flat[i] = 2 * interp_random_uniform(o->seed, 0x0B0, i) - 1;
    }
    return itp_umap_scale(u);
}

/* ---- all of it */

ITP_FN interp_knn_desc itp_umap_knn(const itp_umap *u)
{
    interp_knn_desc d;
    memset(&d, 0, sizeof d);
    d.metric = u->desc.metric;
    d.p = u->desc.metric_p;
    d.method = u->desc.knn;
    d.seed = u->desc.seed;
    return d;
}

/* The weighted graph from the lists' distances. */
ITP_FN void itp_umap_graph(itp_umap *u, itp_near_lists *l)
{
    itp_lists_job job;
    memset(&job, 0, sizeof job);
    job.ctx = u->ctx;
    job.l = l;
    job.g = &u->graph;
    job.mix = u->desc.set_op_mix_ratio;
    itp_fuzzy(u->ctx, &u->desc, l, (float)u->desc.local_connectivity, u->k + 1);
    itp_lists_symmetric(u->ctx, &job);
    if (u->desc.y_class) itp_umap_supervise(u, l->weight); /* which is free by now */
    itp_umap_prune(u);
}

ITP_FN interp_status itp_umap_run(itp_umap *u, const float *x, itp_near_lists *l,
                                  interp_umap_info *info)
{
    const interp_umap_desc *o = &u->desc;
    const interp_knn_desc how = itp_umap_knn(u);
    int pieces = 0;
    double recall;
    ITP_TRY(
        itp_lists_fill(u->ctx, l, x, u->d, &how, o->knn_index, o->knn_distance, o->knn_k, &recall));
    itp_umap_graph(u, l);
    itp_lists_close(u->ctx, l);
    ITP_TRY(itp_umap_begin(u, x, &pieces));
    itp_umap_order(u);
    if (u->density) itp_umap_radii(u, x);
    ITP_TRY(itp_umap_epochs(u, NULL, 0, o->learning_rate));
    if (info) {
        info->a = (float)u->a, info->b = (float)u->b;
        info->epochs = u->epochs;
        info->components = pieces - u->isolated;
        info->isolated = u->isolated;
        info->edges = u->graph.start[u->n] / 2;
        info->knn_recall = recall;
    }
    return INTERP_OK;
}

ITP_FN void itp_umap_write(const itp_umap *u, float *y)
{
    itp_umap_flatten(u, y);
    for (int i = 0; i < u->n; i++)
        for (int k = 0; k < u->dims && u->graph.start[i] == u->graph.start[i + 1]; k++)
            y[(size_t)i * (size_t)u->dims + (size_t)k] = NAN;
}

INTERP_API interp_status interp_umap(interp_ctx *ctx, const float *x, int n, int d,
                                     const interp_umap_desc *desc, float *y, interp_umap_info *info)
{
    itp_umap u;
    itp_near_lists l;
    itp_umap_plan(&u, ctx, n, d, desc);
    u.ctx = ctx;
    ITP_TRY(itp_umap_check(ctx, &u));
    ITP_TRY(itp_lists_open(ctx, &l, n, u.k));
    const size_t edges = 2 * itp_mul_size((size_t)n, (size_t)u.k);
    itp_arena rest = {NULL, 0};
    itp_umap_layout(&rest, &u, ctx, edges);
    rest.base = (char *)interp_alloc(ctx, rest.used);
    interp_status status = rest.base ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        const size_t bytes = rest.used;
        rest.used = 0;
        itp_umap_layout(&rest, &u, ctx, edges);
        memset(rest.base, 0, bytes);
        status = itp_umap_run(&u, x, &l, info);
    }
    if (!status) itp_umap_write(&u, y);
    interp_free(ctx, rest.base);
    itp_lists_close(ctx, &l);
    return status;
}

INTERP_API size_t interp_umap_bytes(const interp_ctx *ctx, int n, int d,
                                    const interp_umap_desc *desc)
{
    itp_umap u;
    itp_spectral s;
    itp_arena rest = {NULL, 0}, begin = {NULL, 0};
    if (n < 2 || d < 1) return 0;
    itp_umap_plan(&u, ctx, n, d, desc);
    const size_t edges = 2 * itp_mul_size((size_t)n, (size_t)u.k);
    const interp_knn_desc how = itp_umap_knn(&u);
    itp_umap_layout(&rest, &u, ctx, edges);
    itp_spectral_layout(&begin, &s, n, edges, u.dims);
    size_t more = itp_alloc_cost(begin.used);
    if (u.desc.init == INTERP_EMBED_PCA) {
        interp_pca_desc pca;
        memset(&pca, 0, sizeof pca);
        pca.n_components = u.dims;
        more = itp_max_size(more, interp_pca_bytes(n, d, &pca));
    }
    more = itp_max_size(more, itp_lists_bytes(ctx, n, d, u.k, &how, u.desc.knn_index != NULL));
    return itp_add_size(itp_alloc_cost(rest.used), more);
}

/* ---- new points */

/* Their edges to the points that stay, and where these pull them to at once. */
ITP_FN void itp_umap_arrive(itp_umap *u, const itp_near_lists *l, const float *y)
{
    itp_graph *g = &u->graph;
    const size_t k = (size_t)l->k, dims = (size_t)u->dims;
    for (int i = 0; i < u->n; i++) {
        double sum = 0, at[ITP_UMAP_DIMS] = {0};
        g->start[i] = (size_t)i * k;
        for (size_t e = (size_t)i * k; e < (size_t)(i + 1) * k; e++) {
            const float w = l->value[e];
            g->index[e] = l->index[e];
            g->weight[e] = w;
            sum += (double)w;
            for (size_t c = 0; c < dims; c++)
                at[c] += (double)w * (double)y[(size_t)l->index[e] * dims + c];
        }
        for (size_t c = 0; c < dims; c++)
            u->y[c * u->stride + (size_t)i] = (float)(sum > 0 ? at[c] / sum : 0);
    }
    g->start[u->n] = (size_t)u->n * k;
    memset(g->index + g->start[u->n], 0, ITP_MOST_LANES * sizeof *g->index);
    memset(g->weight + g->start[u->n], 0, ITP_MOST_LANES * sizeof *g->weight);
    itp_umap_prune(u);
}

INTERP_API interp_status interp_umap_transform(interp_ctx *ctx, const float *x, const float *y,
                                               int n, int d, const float *x_new, int n_new,
                                               const interp_umap_desc *desc, float *y_new)
{
    itp_umap u;
    itp_near_lists l;
    if (n < 2 || n_new < 1 || !x_new)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "umap: %d new points beside %d", n_new, n);
    itp_umap_plan(&u, ctx, n_new, d, desc);
    u.ctx = ctx;
    u.desc.densmap = false;
    u.k = itp_min(u.desc.n_neighbors, n);
    u.epochs = u.desc.n_epochs ? itp_max(1, u.desc.n_epochs / 3) : n_new <= 10000 ? 100 : 30;
    itp_umap_others(&u, n);
    u.n = itp_max(2, n_new);
    ITP_TRY(itp_umap_check(ctx, &u));
    u.n = n_new;
    const size_t dims = (size_t)u.dims, stride = itp_round_up((size_t)n, ITP_MOST_LANES);
    const size_t edges = itp_mul_size((size_t)n_new, (size_t)u.k);
    for (size_t i = 0; i < (size_t)n * dims; i++)
        if (!(fabs((double)y[i]) < 1e15))
            return itp_fail(ctx, INTERP_NOT_FINITE,
                            "umap: place %zu of the embedding is not finite", i / dims);
    float *others = NULL;
    itp_arena arena = {NULL, 0};
    for (int pass = 0; pass < 2; pass++) {
        if (pass) arena.base = (char *)interp_alloc(ctx, arena.used);
        if (pass && !arena.base) return INTERP_NO_MEMORY;
        if (pass) memset(arena.base, 0, arena.used);
        arena.used = 0;
        itp_lists_layout(&arena, &l, ctx, n_new, u.k);
        itp_umap_layout(&arena, &u, ctx, edges);
        others = itp_arena_floats(&arena, dims * stride);
    }
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t c = 0; c < dims; c++) others[c * stride + i] = y[i * dims + c];
    interp_knn_desc how = itp_umap_knn(&u);
    how.method = INTERP_KNN_AUTO;
    how.queries = x_new;
    how.n_queries = n_new;
    interp_status status = interp_knn(ctx, x, n, d, u.k, &how, l.index, l.value, NULL);
    if (!status) {
        const float less = (float)(u.desc.local_connectivity - 1);
        itp_fuzzy(ctx, &u.desc, &l, less, u.k);
        itp_umap_arrive(&u, &l, y);
        itp_umap_order(&u);
        status = itp_umap_epochs(&u, others, stride, u.desc.learning_rate / 4);
    }
    if (!status) itp_umap_write(&u, y_new);
    interp_free(ctx, arena.base);
    return status;
}

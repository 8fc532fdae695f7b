/* ---- embed/tsne.c: t-SNE ------------------------------------------------------------------------ */

/* A desc with its defaults filled in, and what follows from it. */
typedef struct itp_tsne {
    interp_ctx *ctx;
    interp_tsne_desc desc;
    int n, d, dims, k, padded;
    float perplexity; /* when there is one */
    double dof;
    itp_graph graph;
    float *y[3], *velocity[3], *gain[3], *pull[3], *push[3];
    float *flat;   /* [n, dims], for callers */
    double *sums;  /* [blocks, 4] */
    float *bounds; /* [blocks, 6] */
    float low[3], high[3];
    itp_mesh mesh;
    itp_tree tree;
    double plogp, z;
    float rate, momentum, pull_scale;
    double recall; /* of the neighbours looked for */
} itp_tsne;

ITP_FN float itp_or(float value, float otherwise)
{
    return value != 0 ? value : otherwise;
}

ITP_FN void itp_tsne_plan(itp_tsne *t, const interp_ctx *ctx, int n, int d,
                          const interp_tsne_desc *desc)
{
    memset(t, 0, sizeof *t);
    if (desc) t->desc = *desc;
    interp_tsne_desc *o = &t->desc;
    t->n = n;
    t->d = d;
    t->padded = (int)itp_round_up((size_t)n, ITP_MOST_LANES);
    if (!o->n_components) o->n_components = 2;
    t->dims = o->n_components;
    o->early_exaggeration = itp_or(o->early_exaggeration, 12);
    if (!o->early_exaggeration_iter) o->early_exaggeration_iter = 250;
    if (o->early_exaggeration_iter < 0) o->early_exaggeration_iter = 0;
    o->exaggeration = itp_or(o->exaggeration, 1);
    if (!o->n_iter) o->n_iter = 500;
    o->momentum = itp_or(o->momentum, 0.8f);
    o->angle = itp_or(o->angle, 0.5f);
    o->grid_step = itp_or(o->grid_step, 0.4f);
    if (!o->report_every) o->report_every = 50;
    t->dof = (double)itp_or(o->degrees_of_freedom, 1);
    float most = itp_or(o->perplexity, 30);
    for (int i = 0; o->perplexities && i < o->n_perplexities; i++)
        most = i == 0 || o->perplexities[i] > most ? o->perplexities[i] : most;
    t->k = itp_max(1, itp_min(n - 1, (int)ceil(3 * (double)most)));
    t->perplexity = (float)itp_min_double((double)most, t->k / 3.0);
    if (t->perplexity < 1) t->perplexity = 1;
    if (o->method == INTERP_TSNE_AUTO)
        o->method = t->dims == 2 ? INTERP_TSNE_FFT
                    : n < 3000   ? INTERP_TSNE_EXACT
                                 : INTERP_TSNE_BARNES_HUT;
    (void)ctx;
}

ITP_FN interp_status itp_tsne_check(interp_ctx *ctx, const itp_tsne *t)
{
    const interp_tsne_desc *o = &t->desc;
    if (t->n < 2 || t->d < 1 || t->dims < 1 || t->dims > 3)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "t-sne: %d points of %d numbers cannot become points of %d (1 to 3)", t->n,
                        t->d, t->dims);
    if ((double)t->n * t->k * 2 > 4e18 / 16 || t->n > INT_MAX / 4)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "t-sne: %d points are too many", t->n);
    if (o->method == INTERP_TSNE_FFT && t->dims != 2)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "t-sne: the Fourier grid is for 2 dimensions, not %d", t->dims);
    if (!(o->momentum >= 0 && o->momentum < 1) || !(t->dof > 0) || !(o->early_exaggeration > 0) ||
        !(o->exaggeration > 0) || !(o->learning_rate >= 0) || o->n_iter < 0 ||
        !(o->grid_step > 0 && o->grid_step <= 2) || !(o->angle > 0))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "t-sne: momentum is in [0,1), the grid's step up to 2, all else positive");
    if (!(itp_or(o->perplexity, 30) >= 1) || (o->perplexities && o->n_perplexities < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "t-sne: a perplexity is below 1");
    for (int i = 0; o->perplexities && i < o->n_perplexities; i++)
        if (!(o->perplexities[i] >= 1))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "t-sne: a perplexity is below 1");
    if (o->init == INTERP_EMBED_GIVEN && !o->init_y)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "t-sne: init_y is NULL");
    return INTERP_OK;
}

ITP_FN void itp_tsne_layout(itp_arena *arena, itp_tsne *t, const interp_ctx *ctx)
{
    const size_t n = (size_t)t->padded, blocks = (size_t)itp_point_blocks(t->n);
    itp_graph_layout(arena, &t->graph, t->n, 2 * itp_mul_size((size_t)t->n, (size_t)t->k));
    for (int k = 0; k < t->dims; k++) {
        t->y[k] = itp_arena_floats(arena, n);
        t->velocity[k] = itp_arena_floats(arena, n);
        t->gain[k] = itp_arena_floats(arena, n);
        t->pull[k] = itp_arena_floats(arena, n);
        t->push[k] = itp_arena_floats(arena, n);
    }
    t->flat = itp_arena_floats(arena, n * (size_t)t->dims);
    t->sums = (double *)itp_arena_alloc(arena, 4 * blocks * sizeof(double));
    t->bounds = itp_arena_floats(arena, 6 * blocks);
    if (t->desc.method == INTERP_TSNE_FFT)
        itp_mesh_layout(arena, &t->mesh, ctx, t->n, t->desc.grid_step, t->dof);
    if (t->desc.method == INTERP_TSNE_BARNES_HUT) itp_tree_layout(arena, &t->tree, t->n, t->dims);
}

/* ---- attraction: neighbours and perplexity */

ITP_FN interp_knn_desc itp_tsne_knn(const itp_tsne *t)
{
    interp_knn_desc d;
    memset(&d, 0, sizeof d);
    d.metric = t->desc.metric;
    d.p = t->desc.metric_p;
    d.method = t->desc.knn;
    d.seed = t->desc.seed;
    return d;
}

/* Weights of all edges, which sum to 1. Rows whose distances differ by less than float32 can tell are
   uniform. */
ITP_FN interp_status itp_tsne_graph(itp_tsne *t, const float *x, itp_near_lists *l)
{
    interp_ctx *ctx = t->ctx;
    const interp_knn_desc how = itp_tsne_knn(t);
    float few[16];
    itp_lists_job job;
    ITP_TRY(itp_lists_fill(ctx, l, x, t->d, &how, t->desc.knn_index, t->desc.knn_distance,
                           t->desc.knn_k, &t->recall));
    memset(&job, 0, sizeof job);
    job.ctx = ctx;
    job.l = l;
    job.g = &t->graph;
    job.perplexities = few;
    job.n_perplexities = t->desc.perplexities ? itp_min(16, t->desc.n_perplexities) : 1;
    for (int i = 0; i < job.n_perplexities; i++) {
        few[i] = t->desc.perplexities ? t->desc.perplexities[i] : t->perplexity;
        if (few[i] > t->perplexity) few[i] = t->perplexity;
    }
    itp_parallel(ctx, itp_point_blocks(t->n), 300.0 * t->n * t->k, itp_perplexity_task, &job);
    job.mix = -1;
    job.scale = 0.5f / (float)t->n;
    itp_lists_symmetric(ctx, &job);
    const size_t edges = t->graph.start[t->n];
    double sum = 0;
    for (size_t e = 0; e < edges; e++) sum += (double)t->graph.weight[e];
    ctx->k->scale_add(edges, (float)(1 / sum), t->graph.weight, 0, t->graph.weight);
    t->plogp = 0;
    for (size_t e = 0; e < edges; e++) {
        const double p = (double)t->graph.weight[e];
        if (p > 0) t->plogp += p * log(p);
    }
    return INTERP_OK;
}

/* ---- one iteration */

ITP_FN itp_springs itp_tsne_springs(const itp_tsne *t, bool push)
{
    itp_springs s;
    memset(&s, 0, sizeof s);
    s.start = t->graph.start;
    s.index = t->graph.index;
    s.weight = t->graph.weight;
    s.stretch = (float)(1 / t->dof);
    for (int k = 0; k < t->dims; k++) {
        s.y[k] = t->y[k];
        s.force[k] = push ? t->push[k] : t->pull[k];
    }
    return s;
}

ITP_FN void itp_tsne_pull_task(void *arg, int task, int slot)
{
    const itp_tsne *t = (const itp_tsne *)arg;
    const itp_springs s = itp_tsne_springs(t, false);
    (void)slot;
    itp_embeds(t->ctx->k)->springs(&s, t->dims, task * ITP_POINTS,
                                   itp_min(t->n, (task + 1) * ITP_POINTS));
}

ITP_FN void itp_tsne_cost_task(void *arg, int task, int slot)
{
    const itp_tsne *t = (const itp_tsne *)arg;
    const itp_springs s = itp_tsne_springs(t, false);
    (void)slot;
    t->sums[task] = itp_embeds(t->ctx->k)->springs_cost(&s, t->dims, task * ITP_POINTS,
                                                        itp_min(t->n, (task + 1) * ITP_POINTS));
}

ITP_FN void itp_tsne_exact_task(void *arg, int task, int slot)
{
    const itp_tsne *t = (const itp_tsne *)arg;
    const itp_springs s = itp_tsne_springs(t, true);
    (void)slot;
    t->sums[task] =
        itp_embeds(t->ctx->k)->repel(&s, t->dims, (float)((t->dof + 1) / 2), t->n,
                                     task * ITP_POINTS, itp_min(t->n, (task + 1) * ITP_POINTS));
}

/* Repulsion and its normalisation. */
ITP_FN void itp_tsne_push(itp_tsne *t)
{
    interp_ctx *ctx = t->ctx;
    const int blocks = itp_point_blocks(t->n);
    if (t->desc.method == INTERP_TSNE_FFT) {
        t->z = itp_mesh_repel(ctx, &t->mesh, t->n, t->y[0], t->y[1], t->low, t->high, t->push[0],
                              t->push[1], t->sums);
    } else if (t->desc.method == INTERP_TSNE_BARNES_HUT) {
        t->tree.angle2 = t->desc.angle * t->desc.angle;
        t->tree.stretch = (float)(1 / t->dof);
        t->tree.power = (float)((t->dof + 1) / 2);
        t->z = itp_tree_repel(ctx, &t->tree, t->y, t->low, t->high, t->push, t->sums);
    } else {
        itp_parallel(ctx, blocks, 5.0 * t->n * t->n, itp_tsne_exact_task, t);
        t->z = -t->n;
        for (int b = 0; b < blocks; b++) t->z += t->sums[b];
    }
    if (!(t->z > 1e-30)) t->z = 1e-30;
}

/* Divergence of the places for which z is known. */
ITP_FN double itp_tsne_kl(itp_tsne *t)
{
    const int blocks = itp_point_blocks(t->n);
    double s = 0;
    itp_parallel(t->ctx, blocks, 100.0 * t->n * t->k, itp_tsne_cost_task, t);
    for (int b = 0; b < blocks; b++) s += t->sums[b];
    return t->plogp + (t->dof + 1) / 2 * s + log(t->z);
}

ITP_FN void itp_tsne_move_task(void *arg, int task, int slot)
{
    const itp_tsne *t = (const itp_tsne *)arg;
    const int from = task * ITP_POINTS, to = itp_min(t->n, from + ITP_POINTS);
    const double scale = 2 * (t->dof + 1) / t->dof;
    itp_descent g;
    memset(&g, 0, sizeof g);
    for (int k = 0; k < t->dims; k++) {
        g.y[k] = t->y[k], g.velocity[k] = t->velocity[k], g.gain[k] = t->gain[k];
        g.pull[k] = t->pull[k], g.push[k] = t->push[k];
    }
    g.pull_scale = (float)(scale * (double)t->pull_scale);
    g.push_scale = (float)(scale / t->z);
    g.rate = t->rate;
    g.momentum = t->momentum;
    g.most = 5; /* openTSNE's max_step_norm */
    (void)slot;
    itp_embeds(t->ctx->k)->descend(&g, t->dims, from, to);
    for (int k = 0; k < t->dims; k++)
        t->sums[4 * task + k] = t->ctx->k->sum((size_t)(to - from), t->y[k] + from);
}

/* Takes the mean off, and finds the bounds. */
ITP_FN void itp_tsne_centre_task(void *arg, int task, int slot)
{
    const itp_tsne *t = (const itp_tsne *)arg;
    const int from = task * ITP_POINTS, to = itp_min(t->n, from + ITP_POINTS);
    (void)slot;
    for (int k = 0; k < t->dims; k++) {
        const float mean = t->low[k];
        float low = INFINITY, high = -INFINITY;
        for (int i = from; i < to; i++) {
            const float v = t->y[k][i] - mean;
            t->y[k][i] = v;
            if (v < low) low = v;
            if (v > high) high = v;
        }
        t->bounds[6 * task + 2 * k] = low;
        t->bounds[6 * task + 2 * k + 1] = high;
    }
}

/* `low` holds the means to be taken off; then it and `high` are the bounds. */
ITP_FN void itp_tsne_centre(itp_tsne *t)
{
    const int blocks = itp_point_blocks(t->n);
    itp_parallel(t->ctx, blocks, 5.0 * t->n, itp_tsne_centre_task, t);
    for (int k = 0; k < t->dims; k++) {
        t->low[k] = INFINITY, t->high[k] = -INFINITY;
        for (int b = 0; b < blocks; b++) {
            const float *of = t->bounds + 6 * b + 2 * k;
            if (of[0] < t->low[k]) t->low[k] = of[0];
            if (of[1] > t->high[k]) t->high[k] = of[1];
        }
    }
}

ITP_FN void itp_tsne_move(itp_tsne *t)
{
    const int blocks = itp_point_blocks(t->n);
    itp_parallel(t->ctx, blocks, 20.0 * t->n, itp_tsne_move_task, t);
    for (int k = 0; k < t->dims; k++) {
        double s = 0;
        for (int b = 0; b < blocks; b++) s += t->sums[4 * b + k];
        t->low[k] = (float)(s / t->n);
    }
    itp_tsne_centre(t);
}

ITP_FN void itp_tsne_flatten(const itp_tsne *t, float *y)
{
    for (int i = 0; i < t->n; i++)
        for (int k = 0; k < t->dims; k++) y[(size_t)i * (size_t)t->dims + (size_t)k] = t->y[k][i];
}

ITP_FN interp_status itp_tsne_report(itp_tsne *t, int iter, int total)
{
    const bool due = iter % t->desc.report_every == 0 && (t->ctx->desc.progress || t->desc.on_iter);
    const double kl = due ? itp_tsne_kl(t) : (double)NAN;
    if (due && t->desc.on_iter) {
        itp_tsne_flatten(t, t->flat);
        ITP_TRY(t->desc.on_iter(iter, kl, t->flat, t->desc.user));
    }
    return due || iter % 10 == 0 ? itp_progress(t->ctx, "t-sne", iter, total, kl) : INTERP_OK;
}

/* Both phases. Afterwards z belongs to the places. */
ITP_FN interp_status itp_tsne_descend(itp_tsne *t)
{
    const interp_tsne_desc *o = &t->desc;
    const int early = o->early_exaggeration_iter, total = early + o->n_iter;
    const int blocks = itp_point_blocks(t->n);
    for (int iter = 0; iter < total; iter++) {
        const float exaggeration = iter < early ? o->early_exaggeration : o->exaggeration;
        if (iter == 0 || iter == early)
            for (int k = 0; k < t->dims; k++)
                for (int i = 0; i < t->padded; i++) t->gain[k][i] = 1, t->velocity[k][i] = 0;
        t->momentum = o->momentum;
        t->pull_scale = exaggeration;
        t->rate = o->learning_rate > 0 ? o->learning_rate : (float)t->n / exaggeration;
        itp_parallel(t->ctx, blocks, 10.0 * t->n * t->k, itp_tsne_pull_task, t);
        itp_tsne_push(t);
        ITP_TRY(itp_tsne_report(t, iter, total));
        itp_tsne_move(t);
    }
    itp_tsne_push(t);
    return itp_progress(t->ctx, "t-sne", total, total, (double)NAN);
}

/* ---- where it starts */

ITP_FN interp_status itp_tsne_begin(itp_tsne *t, const float *x)
{
    const interp_tsne_desc *o = &t->desc;
    const size_t dims = (size_t)t->dims;
    const bool pca = (o->init == INTERP_EMBED_DEFAULT || o->init == INTERP_EMBED_PCA) &&
                     t->d >= t->dims && o->metric != INTERP_METRIC_PRECOMPUTED;
    if (pca) {
        interp_pca_desc d;
        memset(&d, 0, sizeof d);
        d.n_components = t->dims;
        d.seed = o->seed;
        ITP_TRY(interp_pca(t->ctx, x, t->n, t->d, &d, t->flat, NULL, NULL));
    }
    for (int k = 0; k < t->dims; k++) {
        double mean = 0, square = 0;
        for (int i = 0; i < t->n; i++) {
            const size_t at = (size_t)i * dims + (size_t)k;
            t->y[k][i] = pca                             ? t->flat[at]
                         : o->init == INTERP_EMBED_GIVEN ? o->init_y[at]
                                                         : interp_random_normal(o->seed, 0x75E, at);
            mean += (double)t->y[k][i] / t->n;
        }
        for (int i = 0; i < t->n; i++) {
            const double off = (double)t->y[k][i] - mean;
            square += off * off / t->n;
        }
        if (k == 0) t->rate = square > 0 ? (float)(1e-4 / sqrt(square)) : 0;
        if (o->init == INTERP_EMBED_GIVEN) t->rate = 1;
        for (int i = 0; i < t->n; i++) t->y[k][i] = (float)((double)t->y[k][i] - mean) * t->rate;
        for (int i = 0; i < t->n && o->init != INTERP_EMBED_GIVEN; i++) /* parts equal points */
            t->y[k][i] +=
                1e-7f * interp_random_normal(o->seed, 0x75F, (uint64_t)i * dims + (uint64_t)k);
        if (!itp_is_finite(t->y[k], (size_t)t->n))
            return itp_fail(t->ctx, INTERP_NOT_FINITE, "t-sne: init_y holds NaN or infinity");
        t->low[k] = 0;
    }
    itp_tsne_centre(t);
    return INTERP_OK;
}

ITP_FN interp_status itp_tsne_run(itp_tsne *t, const float *x, itp_near_lists *l)
{
    ITP_TRY(itp_tsne_graph(t, x, l));
    itp_lists_close(t->ctx, l);
    ITP_TRY(itp_tsne_begin(t, x));
    return itp_tsne_descend(t);
}

INTERP_API interp_status interp_tsne(interp_ctx *ctx, const float *x, int n, int d,
                                     const interp_tsne_desc *desc, float *y, interp_tsne_info *info)
{
    itp_tsne t;
    itp_near_lists l;
    itp_tsne_plan(&t, ctx, n, d, desc);
    t.ctx = ctx;
    ITP_TRY(itp_tsne_check(ctx, &t));
    ITP_TRY(itp_lists_open(ctx, &l, n, t.k));
    itp_arena rest = {NULL, 0};
    itp_tsne_layout(&rest, &t, ctx);
    rest.base = (char *)interp_alloc(ctx, rest.used);
    interp_status status = rest.base ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        const size_t bytes = rest.used;
        rest.used = 0;
        itp_tsne_layout(&rest, &t, ctx);
        memset(rest.base, 0, bytes);
        status = itp_tsne_run(&t, x, &l);
    }
    if (!status) {
        itp_tsne_flatten(&t, y);
        if (info) {
            info->kl = itp_tsne_kl(&t);
            info->iterations = t.desc.early_exaggeration_iter + t.desc.n_iter;
            info->method = t.desc.method;
            info->perplexity = t.perplexity;
            info->knn_recall = t.recall;
        }
    }
    interp_free(ctx, rest.base);
    itp_lists_close(ctx, &l);
    return status;
}

INTERP_API size_t interp_tsne_bytes(const interp_ctx *ctx, int n, int d,
                                    const interp_tsne_desc *desc)
{
    itp_tsne t;
    itp_arena rest = {NULL, 0};
    interp_pca_desc pca;
    if (n < 2 || d < 1) return 0;
    itp_tsne_plan(&t, ctx, n, d, desc);
    const interp_knn_desc how = itp_tsne_knn(&t);
    itp_tsne_layout(&rest, &t, ctx);
    size_t more = itp_lists_bytes(ctx, n, d, t.k, &how, t.desc.knn_index != NULL);
    memset(&pca, 0, sizeof pca);
    pca.n_components = t.dims;
    if (t.desc.init != INTERP_EMBED_RANDOM && t.desc.init != INTERP_EMBED_GIVEN && d >= t.dims &&
        t.desc.metric != INTERP_METRIC_PRECOMPUTED)
        more = itp_max_size(more, interp_pca_bytes(n, d, &pca));
    return itp_add_size(itp_alloc_cost(rest.used), more);
}

/* ---- new points */

/* New points, of which each has its own distribution over those that stay (openTSNE's transform). */
typedef struct itp_arrival {
    const interp_ctx *ctx;
    int n, n_new, dims, k, near;
    const float *y;       /* [n, dims] */
    itp_near_lists lists; /* [n_new, k]: of the new points among those that stay */
    int32_t *near_index;  /* [n_new, near]: of whom the first k are those of the lists */
    float *near_distance; /* likewise */
    float *at[3], *velocity[3], *gain[3], *push[3], *sum; /* [n_new] */
    float *stay[3];                                       /* [n] */
    itp_mesh mesh;
    double dof;
    float exaggeration, rate, momentum;
} itp_arrival;

enum { ITP_ARRIVAL_NEAR = 25 };

ITP_FN void itp_arrival_layout(itp_arena *arena, itp_arrival *a, const interp_ctx *ctx,
                               float grid_step)
{
    const size_t m = itp_round_up((size_t)a->n_new, ITP_MOST_LANES);
    const size_t n = itp_round_up((size_t)a->n, ITP_MOST_LANES);
    itp_lists_layout(arena, &a->lists, ctx, a->n_new, a->k);
    const size_t near = itp_mul_size((size_t)a->near, m);
    a->near_index = (int32_t *)itp_arena_alloc(arena, itp_mul_size(sizeof(int32_t), near));
    a->near_distance = itp_arena_floats(arena, near);
    for (int k = 0; k < a->dims; k++) {
        a->at[k] = itp_arena_floats(arena, m);
        a->velocity[k] = itp_arena_floats(arena, m);
        a->gain[k] = itp_arena_floats(arena, m);
        a->push[k] = itp_arena_floats(arena, m);
        a->stay[k] = itp_arena_floats(arena, n);
    }
    a->sum = itp_arena_floats(arena, m);
    if (a->dims == 2) itp_mesh_layout(arena, &a->mesh, ctx, a->n, grid_step, a->dof);
}

/* The median of the places of the nearest points, in each dimension. */
ITP_FN void itp_arrival_begin(itp_arrival *a)
{
    const int near = itp_min(ITP_ARRIVAL_NEAR, a->near);
    for (int i = 0; i < a->n_new; i++)
        for (int k = 0; k < a->dims; k++) {
            float v[ITP_ARRIVAL_NEAR];
            for (int j = 0; j < near; j++) {
                const int32_t of = a->near_index[(size_t)i * (size_t)a->near + (size_t)j];
                const float w = a->y[(size_t)of * (size_t)a->dims + (size_t)k];
                int at = j;
                for (; at > 0 && v[at - 1] > w; at--) v[at] = v[at - 1];
                v[at] = w;
            }
            a->at[k][i] = 0.5f * (v[near / 2] + v[(near - 1) / 2]);
            a->gain[k][i] = 1;
            a->velocity[k][i] = 0;
        }
}

/* Repulsion of from..to by those that stay: of their grid, kept; or one by one. */
ITP_FN void itp_arrival_push(const itp_arrival *a, int from, int to)
{
    if (a->dims == 2) {
        const float edge = 3 * a->mesh.taken, reach = a->mesh.taken * (float)(a->mesh.grid.m - 5);
        for (int k = 0; k < 2; k++) /* what leaves the grid stays at its border */
            for (int i = from; i < to; i++) {
                const float low = a->mesh.origin[k] + edge, high = a->mesh.origin[k] + reach;
                if (a->at[k][i] < low) a->at[k][i] = low;
                if (a->at[k][i] > high) a->at[k][i] = high;
            }
        itp_embeds(a->ctx->k)->mesh_read(
            from, to, a->at[0], a->at[1], a->mesh.origin, 1 / a->mesh.taken, a->mesh.grid.grid,
            a->mesh.grid.width, (float)(-a->dof / (a->dof + 1)), a->sum, a->push[0], a->push[1]);
        return;
    }
    for (int i = from; i < to; i++) {
        double sum = 0, force[3] = {0, 0, 0};
        for (int j = 0; j < a->n; j++) {
            double gap[3], d2 = 0;
            for (int k = 0; k < a->dims; k++) {
                gap[k] = (double)a->at[k][i] - (double)a->stay[k][j];
                d2 += gap[k] * gap[k];
            }
            const double q = 1 / (1 + d2 / a->dof), w = pow(q, (a->dof + 1) / 2);
            sum += w;
            for (int k = 0; k < a->dims; k++) force[k] += w * q * gap[k];
        }
        a->sum[i] = (float)sum;
        for (int k = 0; k < a->dims; k++) a->push[k][i] = (float)force[k];
    }
}

ITP_FN void itp_arrival_step(const itp_arrival *a, int i)
{
    const double scale = 2 * (a->dof + 1) / a->dof;
    double g[3] = {0, 0, 0}, norm = 0;
    for (int j = 0; j < a->k; j++) {
        const size_t e = (size_t)i * (size_t)a->k + (size_t)j;
        const float *y = a->y + (size_t)a->lists.index[e] * (size_t)a->dims;
        double gap[3], d2 = 0;
        for (int k = 0; k < a->dims; k++) {
            gap[k] = (double)a->at[k][i] - (double)y[k];
            d2 += gap[k] * gap[k];
        }
        const double p = (double)a->exaggeration * (double)a->lists.value[e] / (1 + d2 / a->dof);
        for (int k = 0; k < a->dims; k++) g[k] += p * gap[k];
    }
    for (int k = 0; k < a->dims; k++) {
        const double z = (double)a->sum[i] > 1e-30 ? (double)a->sum[i] : 1e-30;
        g[k] = scale * (g[k] - (double)a->push[k][i] / z);
        norm += g[k] * g[k];
    }
    const double cut = norm > 0.0625 ? 0.25 / sqrt(norm) : 1; /* openTSNE's max_grad_norm */
    for (int k = 0; k < a->dims; k++) {
        const float d = (float)(cut * g[k]), v = a->velocity[k][i];
        float *gain = &a->gain[k][i];
        *gain = v * d > 0 ? 0.8f * *gain : *gain + 0.2f;
        if (*gain < 0.01f) *gain = 0.01f;
        a->velocity[k][i] = a->momentum * v - a->rate * *gain * d;
        a->at[k][i] += a->velocity[k][i];
    }
}

ITP_FN void itp_arrival_task(void *arg, int task, int slot)
{
    const itp_arrival *a = (const itp_arrival *)arg;
    const int from = task * ITP_POINTS, to = itp_min(a->n_new, from + ITP_POINTS);
    (void)slot;
    itp_arrival_push(a, from, to);
    for (int i = from; i < to; i++) itp_arrival_step(a, i);
}

ITP_FN interp_status itp_arrival_run(interp_ctx *ctx, itp_arrival *a, const float *x, int d,
                                     const float *x_new, const itp_tsne *t, float perplexity)
{
    interp_knn_desc how = itp_tsne_knn(t);
    itp_lists_job job;
    const int iterations = t->desc.n_iter;
    const double work = a->dims == 2 ? 1000 : 20.0 * a->n;
    float low[3], high[3];
    how.method = INTERP_KNN_AUTO;
    how.queries = x_new;
    how.n_queries = a->n_new;
    ITP_TRY(interp_knn(ctx, x, a->n, d, a->near, &how, a->near_index, a->near_distance, NULL));
    for (size_t i = 0, k = (size_t)a->k; i < (size_t)a->n_new; i++) {
        const size_t from = i * (size_t)a->near;
        memcpy(a->lists.index + i * k, a->near_index + from, k * sizeof(int32_t));
        memcpy(a->lists.value + i * k, a->near_distance + from, k * sizeof(float));
    }
    memset(&job, 0, sizeof job);
    job.ctx = ctx;
    job.l = &a->lists;
    job.perplexities = &perplexity;
    job.n_perplexities = 1;
    itp_parallel(ctx, itp_point_blocks(a->n_new), 1000.0 * a->n_new * a->k, itp_perplexity_task,
                 &job);
    for (int k = 0; k < a->dims; k++) {
        low[k] = INFINITY, high[k] = -INFINITY;
        for (int j = 0; j < a->n; j++) {
            const float v = a->y[(size_t)j * (size_t)a->dims + (size_t)k];
            a->stay[k][j] = v;
            if (!(fabsf(v) < 1e15f))
                return itp_fail(ctx, INTERP_NOT_FINITE,
                                "t-sne: place %d of the embedding is not finite", j);
            if (v < low[k]) low[k] = v;
            if (v > high[k]) high[k] = v;
        }
    }
    if (a->dims == 2) {
        itp_mesh_job mesh;
        memset(&mesh, 0, sizeof mesh);
        mesh.ctx = ctx;
        mesh.mesh = &a->mesh;
        mesh.n = a->n;
        mesh.x = a->stay[0], mesh.y = a->stay[1];
        for (int k = 0; k < 2; k++) low[k] -= 5, high[k] += 5; /* room to move */
        itp_mesh_potential(ctx, &mesh, low, high);
    }
    itp_arrival_begin(a);
    for (int iter = 0; iter < iterations; iter++) {
        if (iter % 10 == 0) ITP_TRY(itp_progress(ctx, "t-sne", iter, iterations, (double)NAN));
        itp_parallel(ctx, itp_point_blocks(a->n_new), work * a->n_new, itp_arrival_task, a);
    }
    return itp_progress(ctx, "t-sne", iterations, iterations, (double)NAN);
}

INTERP_API interp_status interp_tsne_transform(interp_ctx *ctx, const float *x, const float *y,
                                               int n, int d, const float *x_new, int n_new,
                                               const interp_tsne_desc *desc, float *y_new)
{
    itp_tsne t;
    itp_arrival a;
    itp_tsne_plan(&t, ctx, n, d, desc);
    t.ctx = ctx;
    ITP_TRY(itp_tsne_check(ctx, &t));
    if (n_new < 1 || !x_new)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "t-sne: there are %d new points", n_new);
    memset(&a, 0, sizeof a);
    const float asked = desc && desc->perplexity > 0 ? desc->perplexity : 5;
    if (!desc || !desc->n_iter) t.desc.n_iter = 250;
    a.ctx = ctx;
    a.n = n, a.n_new = n_new, a.dims = t.dims;
    a.k = itp_max(1, itp_min(n, (int)ceil(3 * (double)asked)));
    a.near = itp_max(a.k, itp_min(n, ITP_ARRIVAL_NEAR));
    a.y = y;
    a.dof = t.dof;
    a.exaggeration = desc ? itp_or(desc->exaggeration, 1.5f) : 1.5f;
    a.rate = desc ? itp_or(desc->learning_rate, 0.1f) : 0.1f;
    a.momentum = t.desc.momentum;
    itp_arena arena = {NULL, 0};
    itp_arrival_layout(&arena, &a, ctx, t.desc.grid_step);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    memset(block, 0, arena.used);
    arena.base = block;
    arena.used = 0;
    itp_arrival_layout(&arena, &a, ctx, t.desc.grid_step);
    const float perplexity = (float)itp_min_double((double)asked, a.k / 3.0);
    const interp_status status =
        itp_arrival_run(ctx, &a, x, d, x_new, &t, perplexity < 1 ? 1 : perplexity);
    for (int i = 0; i < n_new && !status; i++)
        for (int k = 0; k < a.dims; k++) y_new[(size_t)i * (size_t)a.dims + (size_t)k] = a.at[k][i];
    interp_free(ctx, block);
    return status;
}

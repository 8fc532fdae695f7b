/* ---- embed/affinity.c: neighbours as probabilities ---------------------------------------------- */

/* Points that a task of a loop over all points takes. Sums run over these blocks in order. */
enum { ITP_POINTS = 512 };

ITP_FN int itp_point_blocks(int n)
{
    return itp_div_up(n, ITP_POINTS);
}

/* A graph: row i's edges are start[i] .. start[i+1]. */
typedef struct itp_graph {
    int n;
    size_t *start;  /* [n+1] */
    int32_t *index; /* room for `most` and as many more as a vector reads */
    float *weight;  /* alike */
    size_t most;
} itp_graph;

ITP_FN void itp_graph_layout(itp_arena *arena, itp_graph *g, int n, size_t most)
{
    g->n = n;
    g->most = most;
    g->start = (size_t *)itp_arena_alloc(arena, ((size_t)n + 1) * sizeof(size_t));
    g->index = (int32_t *)itp_arena_alloc(
        arena, itp_mul_size(itp_add_size(most, ITP_MOST_LANES), sizeof(int32_t)));
    g->weight = itp_arena_floats(arena, itp_add_size(most, ITP_MOST_LANES));
}

/* Neighbours of n points, and room to turn their graph round. */
typedef struct itp_near_lists {
    int n, k;
    int32_t *index; /* [n,k]; later by index in each row */
    float *value;   /* [n,k]: distances, then weights */
    size_t *start;  /* [n+1]: the graph turned round */
    int32_t *from;  /* [n k] */
    float *weight;  /* [n k] */
    size_t *count;  /* [n] */
    uint64_t *keys; /* [slots][k] */
    float *row;     /* [slots][4 k] */
} itp_near_lists;

ITP_FN void itp_lists_layout(itp_arena *arena, itp_near_lists *l, const interp_ctx *ctx, int n,
                             int k)
{
    const size_t slots = (size_t)ctx->slots;
    const size_t all = itp_mul_size((size_t)n, (size_t)k);
    l->n = n;
    l->k = k;
    l->index = (int32_t *)itp_arena_alloc(arena, itp_mul_size(all, sizeof(int32_t)));
    l->value = itp_arena_floats(arena, all);
    l->start = (size_t *)itp_arena_alloc(arena, ((size_t)n + 1) * sizeof(size_t));
    l->from = (int32_t *)itp_arena_alloc(arena, itp_mul_size(all, sizeof(int32_t)));
    l->weight = itp_arena_floats(arena, all);
    l->count = (size_t *)itp_arena_alloc(arena, (size_t)n * sizeof(size_t));
    l->keys = (uint64_t *)itp_arena_alloc(arena, slots * (size_t)k * sizeof(uint64_t));
    l->row = itp_arena_floats(arena, slots * 4 * (size_t)k);
}

ITP_FN interp_status itp_lists_open(interp_ctx *ctx, itp_near_lists *l, int n, int k)
{
    itp_arena arena = {NULL, 0};
    itp_lists_layout(&arena, l, ctx, n, k);
    arena.base = (char *)interp_alloc(ctx, arena.used);
    if (!arena.base) return INTERP_NO_MEMORY;
    arena.used = 0;
    itp_lists_layout(&arena, l, ctx, n, k);
    return INTERP_OK;
}

/* Those of itp_lists_open; again does nothing. */
ITP_FN void itp_lists_close(interp_ctx *ctx, itp_near_lists *l)
{
    interp_free(ctx, l->index); /* the first array of its block */
    l->index = NULL;
}

/* What opening and filling them allocates at most. */
ITP_FN size_t itp_lists_bytes(const interp_ctx *ctx, int n, int d, int k,
                              const interp_knn_desc *how, bool given)
{
    itp_near_lists l;
    itp_arena arena = {NULL, 0};
    itp_lists_layout(&arena, &l, ctx, n, k);
    return itp_add_size(itp_alloc_cost(arena.used),
                        given ? 0 : interp_knn_bytes(ctx, n, d, k, how));
}

/* Neighbours looked for, or those given, cut to k. recall: of those looked for. */
ITP_FN interp_status itp_lists_fill(interp_ctx *ctx, itp_near_lists *l, const float *x, int d,
                                    const interp_knn_desc *how, const int32_t *index,
                                    const float *distance, int given, double *recall)
{
    *recall = 1;
    if (!index) {
        interp_knn_info found;
        ITP_TRY(interp_knn(ctx, x, l->n, d, l->k, how, l->index, l->value, &found));
        *recall = found.recall;
        return INTERP_OK;
    }
    if (!distance || given < l->k)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "embedding: %d neighbours of each point are needed with their distances, "
                        "but knn_k is %d",
                        l->k, distance ? given : 0);
    for (int i = 0; i < l->n; i++)
        for (int j = 0; j < l->k; j++) {
            const size_t from = (size_t)i * (size_t)given + (size_t)j;
            const size_t to = (size_t)i * (size_t)l->k + (size_t)j;
            const float v = distance[from];
            if (index[from] < 0 || index[from] >= l->n || index[from] == i ||
                !(v >= 0 && v <= 1e30f))
                return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                                "embedding: neighbour %d of point %d is point %d at distance %g", j,
                                i, (int)index[from], (double)v);
            l->index[to] = index[from];
            l->value[to] = v;
        }
    return INTERP_OK;
}

/* ---- rows by index, and the graph turned round */

typedef struct itp_lists_job {
    const interp_ctx *ctx;
    itp_near_lists *l;
    itp_graph *g;
    const float *perplexities;
    int n_perplexities;
    float mix, scale;
} itp_lists_job;

ITP_FN void itp_lists_sort_task(void *arg, int task, int slot)
{
    const itp_lists_job *job = (const itp_lists_job *)arg;
    itp_near_lists *l = job->l;
    const size_t k = (size_t)l->k;
    uint64_t *keys = l->keys + (size_t)slot * k;
    float *row = l->row + (size_t)slot * 4 * k;
    const int end = itp_min(l->n, (task + 1) * ITP_POINTS);
    for (int i = task * ITP_POINTS; i < end; i++) {
        int32_t *index = l->index + (size_t)i * k;
        float *value = l->value + (size_t)i * k;
        memcpy(row, value, k * sizeof *row);
        for (size_t j = 0; j < k; j++) keys[j] = (uint64_t)(uint32_t)index[j] << 32 | j;
        itp_keys_sort(keys, l->k);
        for (size_t j = 0; j < k; j++) {
            index[j] = (int32_t)(keys[j] >> 32);
            value[j] = row[(uint32_t)keys[j]];
        }
    }
}

/* Who has each point among its neighbours, in order. Edges of weight 0 are none. */
ITP_FN void itp_lists_turn(itp_near_lists *l)
{
    const size_t n = (size_t)l->n, k = (size_t)l->k;
    memset(l->start, 0, (n + 1) * sizeof *l->start);
    for (size_t e = 0; e < n * k; e++)
        if (l->value[e] > 0) l->start[l->index[e] + 1]++;
    for (size_t i = 0; i < n; i++) l->start[i + 1] += l->start[i];
    memcpy(l->count, l->start, n * sizeof *l->count);
    for (size_t i = 0; i < n; i++)
        for (size_t e = i * k; e < (i + 1) * k; e++) {
            if (!(l->value[e] > 0)) continue;
            const size_t at = l->count[l->index[e]]++;
            l->from[at] = (int32_t)i;
            l->weight[at] = l->value[e];
        }
}

/* The weight of an edge with weights a one way and b the other. mix below 0: their mean times scale;
   else between the intersection and the union of fuzzy sets. */
ITP_INLINE float itp_edge_weight(const itp_lists_job *job, float a, float b)
{
    if (job->mix < 0) return job->scale * (a + b);
    return job->mix * (a + b - a * b) + (1 - job->mix) * a * b;
}

/* Row i of the graph both ways, by index; returns how many edges. Writes them unless only counted. */
ITP_FN size_t itp_lists_merge(const itp_lists_job *job, int i, int32_t *index, float *weight)
{
    const itp_near_lists *l = job->l;
    size_t a = (size_t)i * (size_t)l->k, b = l->start[i], n = 0;
    const size_t a_end = a + (size_t)l->k, b_end = l->start[i + 1];
    for (;;) {
        while (a < a_end && !(l->value[a] > 0)) a++;
        if (a == a_end && b == b_end) return n;
        const int32_t u = a < a_end ? l->index[a] : INT32_MAX;
        const int32_t v = b < b_end ? l->from[b] : INT32_MAX;
        const float p = u <= v ? l->value[a++] : 0, q = v <= u ? l->weight[b++] : 0;
        const float w = itp_edge_weight(job, p, q);
        if (!(w > 0)) continue;
        if (index) index[n] = u < v ? u : v, weight[n] = w;
        n++;
    }
}

ITP_FN void itp_lists_count_task(void *arg, int task, int slot)
{
    const itp_lists_job *job = (const itp_lists_job *)arg;
    const int end = itp_min(job->l->n, (task + 1) * ITP_POINTS);
    (void)slot;
    for (int i = task * ITP_POINTS; i < end; i++)
        job->l->count[i] = itp_lists_merge(job, i, NULL, NULL);
}

ITP_FN void itp_lists_write_task(void *arg, int task, int slot)
{
    const itp_lists_job *job = (const itp_lists_job *)arg;
    const itp_graph *g = job->g;
    const int end = itp_min(job->l->n, (task + 1) * ITP_POINTS);
    (void)slot;
    for (int i = task * ITP_POINTS; i < end; i++)
        itp_lists_merge(job, i, g->index + g->start[i], g->weight + g->start[i]);
}

/* The symmetric graph of the lists, whose values are weights by now. */
ITP_FN void itp_lists_symmetric(interp_ctx *ctx, itp_lists_job *job)
{
    const int blocks = itp_point_blocks(job->l->n);
    const double work = 20.0 * job->l->n * job->l->k;
    itp_graph *g = job->g;
    itp_parallel(ctx, blocks, work, itp_lists_sort_task, job);
    itp_lists_turn(job->l);
    itp_parallel(ctx, blocks, work, itp_lists_count_task, job);
    g->start[0] = 0;
    for (int i = 0; i < g->n; i++) g->start[i + 1] = g->start[i] + job->l->count[i];
    itp_parallel(ctx, blocks, work, itp_lists_write_task, job);
    const size_t edges = g->start[g->n];
    memset(g->index + edges, 0, ITP_MOST_LANES * sizeof *g->index);
    memset(g->weight + edges, 0, ITP_MOST_LANES * sizeof *g->weight);
}

/* ---- perplexity: how wide each point's Gaussian is */

/* Adds exp(-beta d^2) / sum to p[k], beta such that its entropy is log(perplexity). row: [3k] of
   scratch, whose first k are squared distances less the smallest. Newton's method on log beta, kept
   between bounds: dH / dbeta = -beta var(d^2). */
ITP_FN void itp_perplexity_row(const itp_kernels *kernels, float *row, int k, double perplexity,
                               double share, float *p)
{
    const size_t n = (size_t)k;
    float *e = row + k, *square = row + 2 * k;
    const double want = log(perplexity);
    double mean = 0, low = 0, high = (double)INFINITY, sum = 1, beta;
    for (int j = 0; j < k; j++) mean += (double)row[j] / k, square[j] = row[j] * row[j];
    beta = mean > 0 ? 1 / mean : 1;
    for (int round = 0; round < 100; round++) {
        kernels->affine(n, (float)-beta, row, 0, e);
        sum = kernels->exp_sum(n, e, 0, e);
        const double m = kernels->dot(n, row, 0, e, 0) / sum;
        const double v = kernels->dot(n, square, 0, e, 0) / sum - m * m;
        const double off = log(sum) + beta * m - want;
        if (fabs(off) < 1e-5 || beta > 1e30 || beta < 1e-30) break;
        if (off > 0) low = beta;
        else high = beta;
        const double step = beta * beta * v > 0 ? off / (beta * beta * v) : off > 0 ? 1 : -1;
        double next = beta * exp(step > 2 ? 2 : step < -2 ? -2 : step);
        if (!(next > low && next < high))
            next = high < (double)INFINITY ? (low + high) / 2 : beta * 2;
        if (next == beta) break;
        beta = next;
    }
    for (int j = 0; j < k; j++) p[j] += (float)(share * (double)e[j] / sum);
}

ITP_FN void itp_perplexity_task(void *arg, int task, int slot)
{
    const itp_lists_job *job = (const itp_lists_job *)arg;
    const itp_near_lists *l = job->l;
    const size_t k = (size_t)l->k;
    float *row = l->row + (size_t)slot * 4 * k, *sums = row + 3 * k;
    const int end = itp_min(l->n, (task + 1) * ITP_POINTS);
    for (int i = task * ITP_POINTS; i < end; i++) {
        float *value = l->value + (size_t)i * k;
        const float least = value[0] * value[0];
        for (size_t j = 0; j < k; j++) row[j] = value[j] * value[j] - least, sums[j] = 0;
        for (int s = 0; s < job->n_perplexities; s++)
            itp_perplexity_row(job->ctx->k, row, l->k, (double)job->perplexities[s],
                               1.0 / job->n_perplexities, sums);
        memcpy(value, sums, k * sizeof *sums);
    }
}

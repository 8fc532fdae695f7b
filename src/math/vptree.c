/* ---- math/vptree.c: exact neighbours in few dimensions ----------------------------------------- */

/* A vantage-point tree (Yianilos 1993): points are ordered so that those of a node stand side by side,
   its vantage point first, then the half that is nearer to it, then the other. radius: of the nearer
   half. Runs of ITP_VANTAGE_LEAF points are looked through one by one. */
typedef struct itp_vantage {
    const itp_near *s;
    const interp_ctx *ctx;
    int32_t *order; /* [n] */
    float *radius;  /* [n] */
    uint64_t *keys; /* [n]: scratch of the building */
    float *value;   /* [n]: likewise */
} itp_vantage;

enum { ITP_VANTAGE_LEAF = 16, ITP_VANTAGE_DEPTH = 128 };

ITP_FN void itp_vantage_layout(itp_arena *arena, itp_vantage *t, int n)
{
    const size_t m = (size_t)n;
    t->order = (int32_t *)itp_arena_alloc(arena, m * sizeof(int32_t));
    t->radius = itp_arena_floats(arena, m);
    t->keys = (uint64_t *)itp_arena_alloc(arena, m * sizeof(uint64_t));
    t->value = itp_arena_floats(arena, m);
}

/* Which metrics keep the triangle inequality, in the form their rows are made ready. */
ITP_FN bool itp_vantage_suits(interp_metric m)
{
    return m == INTERP_METRIC_EUCLIDEAN || m == INTERP_METRIC_SQEUCLIDEAN ||
           m == INTERP_METRIC_MANHATTAN || m == INTERP_METRIC_CHEBYSHEV ||
           m == INTERP_METRIC_MINKOWSKI || m == INTERP_METRIC_HELLINGER ||
           m == INTERP_METRIC_EARTH_MOVER || m == INTERP_METRIC_CANBERRA ||
           m == INTERP_METRIC_HAMMING;
}

/* What is compared, as a distance in which the inequality holds. */
ITP_INLINE float itp_vantage_length(const itp_near *s, float v)
{
    if (s->how == ITP_COMPARE_L2) return sqrtf(v);
    if (s->how == ITP_COMPARE_LP) return (float)pow((double)v, 1 / (double)s->p);
    return v;
}

ITP_FN void itp_vantage_compare(const itp_vantage *t, const float *row, const int32_t *at, int m,
                                float *out)
{
    const itp_near *s = t->s;
    itp_embeds(t->ctx->k)->compare(s->how, s->p, s->width, row, s->rows, (size_t)s->width, at, m,
                                   out);
}

/* Orders first..end. The vantage point is the one farthest from the first: at the border, where spheres
   part best. */
ITP_FN void itp_vantage_build(itp_vantage *t, int first, int end)
{
    while (end - first > ITP_VANTAGE_LEAF) {
        int32_t *order = t->order + first;
        const int n = end - first, near = (n - 1) / 2;
        const size_t width = (size_t)t->s->width;
        itp_vantage_compare(t, t->s->rows + (size_t)order[0] * width, order, n, t->value);
        int far = 0;
        for (int i = 1; i < n; i++)
            if (t->value[i] > t->value[far]) far = i;
        const int32_t top = order[far];
        order[far] = order[0];
        order[0] = top;
        itp_vantage_compare(t, t->s->rows + (size_t)top * width, order + 1, n - 1, t->value);
        for (int i = 0; i < n - 1; i++) t->keys[i] = itp_key(t->value[i], order[1 + i]);
        itp_keys_select(t->keys, n - 1, near);
        uint64_t most = 0;
        for (int i = 0; i < near; i++) most = t->keys[i] > most ? t->keys[i] : most;
        for (int i = 0; i < n - 1; i++) order[1 + i] = itp_key_index(t->keys[i]);
        t->radius[first] = itp_vantage_length(t->s, itp_key_value(most));
        itp_vantage_build(t, first + 1, first + 1 + near);
        first += 1 + near;
    }
}

/* A search under way: the k best so far, sorted. */
typedef struct itp_vantage_search {
    const float *row;
    int self, k, found;
    uint64_t *best; /* [k + 1] */
} itp_vantage_search;

ITP_FN void itp_vantage_offer(itp_vantage_search *q, float value, int32_t index)
{
    if (index == q->self) return;
    const uint64_t key = itp_key(value, index);
    if (q->found == q->k && key >= q->best[q->k - 1]) return;
    int at = q->found < q->k ? q->found++ : q->k - 1;
    for (; at > 0 && q->best[at - 1] > key; at--) q->best[at] = q->best[at - 1];
    q->best[at] = key;
}

/* Nodes wait with the least distance anything in them can have. Rounding may make it a little too large:
   a millionth is taken off. */
ITP_FN void itp_vantage_find(const itp_vantage *t, itp_vantage_search *q)
{
    struct {
        int first, end;
        float least;
    } wait[ITP_VANTAGE_DEPTH];
    int waiting = 1;
    wait[0].first = 0, wait[0].end = t->s->n, wait[0].least = 0;
    while (waiting) {
        const int first = wait[--waiting].first, end = wait[waiting].end;
        float value[ITP_VANTAGE_LEAF];
        if (q->found == q->k) {
            const float worst = itp_vantage_length(t->s, itp_key_value(q->best[q->k - 1]));
            if (wait[waiting].least > worst) continue;
        }
        const bool leaf = end - first <= ITP_VANTAGE_LEAF;
        const int many = leaf ? end - first : 1;
        itp_vantage_compare(t, q->row, t->order + first, many, value);
        for (int i = 0; i < many; i++) itp_vantage_offer(q, value[i], t->order[first + i]);
        if (leaf) continue;
        const float d = itp_vantage_length(t->s, value[0]), r = t->radius[first];
        const float slack = 1e-6f * (d + r);
        const int middle = first + 1 + (end - first - 1) / 2;
        const bool inside = d < r;
        for (int turn = 0; turn < 2; turn++) { /* the nearer half is looked at first, so put last */
            const bool near = (turn == 0) != inside;
            const float least = (near ? d - r : r - d) - slack;
            wait[waiting].first = near ? first + 1 : middle;
            wait[waiting].end = near ? middle : end;
            wait[waiting++].least = least > 0 ? least : 0;
        }
    }
}

typedef struct itp_vantage_job {
    const itp_vantage *t;
    int k, first;
    bool self;
    uint64_t *best; /* [slots][k + 1] */
    int32_t *index;
    float *distance;
} itp_vantage_job;

enum { ITP_VANTAGE_ROWS = 256 };

ITP_FN void itp_vantage_task(void *arg, int task, int slot)
{
    const itp_vantage_job *job = (const itp_vantage_job *)arg;
    const itp_near *s = job->t->s;
    const size_t k = (size_t)job->k;
    task += job->first;
    const int end = itp_min(s->queries, (task + 1) * ITP_VANTAGE_ROWS);
    for (int i = task * ITP_VANTAGE_ROWS; i < end; i++) {
        itp_vantage_search q;
        q.row = s->asked + (size_t)i * (size_t)s->width;
        q.self = job->self ? i : -1;
        q.k = job->k;
        q.found = 0;
        q.best = job->best + (size_t)slot * (k + 1);
        itp_vantage_find(job->t, &q);
        for (size_t j = 0; j < k; j++) {
            job->index[(size_t)i * k + j] = itp_key_index(q.best[j]);
            if (job->distance)
                job->distance[(size_t)i * k + j] = itp_near_distance(s, itp_key_value(q.best[j]));
        }
    }
}

ITP_FN void itp_vantage_job_layout(itp_arena *arena, itp_vantage *t, itp_vantage_job *job,
                                   const interp_ctx *ctx, int n, int k)
{
    itp_vantage_layout(arena, t, n);
    job->best =
        (uint64_t *)itp_arena_alloc(arena, (size_t)ctx->slots * ((size_t)k + 1) * sizeof(uint64_t));
}

ITP_FN interp_status itp_near_tree(interp_ctx *ctx, const itp_near *s, int k, bool self,
                                   int32_t *index, float *distance)
{
    itp_vantage t;
    itp_vantage_job job;
    itp_arena arena = {NULL, 0};
    itp_vantage_job_layout(&arena, &t, &job, ctx, s->n, k);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_vantage_job_layout(&arena, &t, &job, ctx, s->n, k);
    t.s = s;
    t.ctx = ctx;
    for (int i = 0; i < s->n; i++) t.order[i] = i;
    itp_vantage_build(&t, 0, s->n);
    job.t = &t;
    job.k = k;
    job.self = self;
    job.index = index;
    job.distance = distance;
    const interp_status status = itp_parallel_lots(
        ctx, "neighbours", itp_div_up(s->queries, ITP_VANTAGE_ROWS), itp_max(8, 4 * ctx->slots),
        5000.0 * (int)ITP_VANTAGE_ROWS, itp_vantage_task, &job, &job.first);
    interp_free(ctx, block);
    return status;
}

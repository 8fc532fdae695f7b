/* ---- math/neighbours.c: exact nearest neighbours ------------------------------------------------ */

/* ---- rows made ready: every metric becomes squared Euclidean distance, or a comparison kernel */

/* Points among which neighbours are looked for. What is compared increases with the distance. */
typedef struct itp_near {
    interp_metric metric;
    itp_compare how;
    bool product; /* squared distances by matrix products */
    float p;
    int n, queries, d, width; /* width of a row made ready */
    int chunk;                /* columns of a panel */
    float *rows;              /* [n, width] */
    float *asked;             /* [queries, width]; rows when a point is not asked about itself */
    float *panels;            /* [n / chunk][width][chunk]: rows transposed */
    float *norm, *asked_norm; /* squared */
    const float *given;       /* precomputed [queries, n] */
} itp_near;

enum { ITP_NEAR_ROWS = 112, ITP_NEAR_SPARE = 8 };

ITP_FN bool itp_near_masses(interp_metric m)
{
    return m == INTERP_METRIC_HELLINGER || m == INTERP_METRIC_EARTH_MOVER;
}

/* Everything that follows from shapes; layout carves the arrays. */
ITP_FN void itp_near_plan(itp_near *s, int n, int d, const interp_knn_desc *desc)
{
    memset(s, 0, sizeof *s);
    s->metric = desc ? desc->metric : INTERP_METRIC_EUCLIDEAN;
    s->p = desc && desc->p > 0 ? desc->p : 3;
    s->n = n;
    s->queries = desc && desc->queries ? desc->n_queries : n;
    s->d = s->width = d;
    s->how = ITP_COMPARE_L2;
    switch (s->metric) {
    case INTERP_METRIC_COSINE:
    case INTERP_METRIC_CORRELATION:
    case INTERP_METRIC_HELLINGER:
        s->width++;
        s->product = true;
        break;
    case INTERP_METRIC_MANHATTAN:
    case INTERP_METRIC_EARTH_MOVER: s->how = ITP_COMPARE_L1; break;
    case INTERP_METRIC_CHEBYSHEV: s->how = ITP_COMPARE_MAX; break;
    case INTERP_METRIC_MINKOWSKI: s->how = ITP_COMPARE_LP; break;
    case INTERP_METRIC_CANBERRA: s->how = ITP_COMPARE_CANBERRA; break;
    case INTERP_METRIC_BRAY_CURTIS: s->how = ITP_COMPARE_BRAY_CURTIS; break;
    case INTERP_METRIC_HAMMING: s->how = ITP_COMPARE_HAMMING; break;
    case INTERP_METRIC_JACCARD: s->how = ITP_COMPARE_JACCARD; break;
    case INTERP_METRIC_PRECOMPUTED: break;
    default: s->product = true;
    }
    /* a panel is read in place by the product, as far as its rows do not share places in the cache */
    s->chunk = ITP_GEMM_SHARED_FLOATS / itp_max(1, s->width) / 32 * 32;
    s->chunk = itp_max(128, itp_min(s->chunk, 1024));
    if (s->product) s->chunk = itp_min(s->chunk, (int)itp_round_up((size_t)n, 32));
}

ITP_FN void itp_near_layout(itp_arena *arena, itp_near *s, bool panels)
{
    const size_t width = (size_t)s->width, n = (size_t)s->n, q = (size_t)s->queries;
    if (s->metric == INTERP_METRIC_PRECOMPUTED) return;
    s->rows = itp_arena_floats(arena, itp_mul_size(n, width));
    s->asked = s->queries == s->n ? s->rows : NULL;
    if (!s->asked) s->asked = itp_arena_floats(arena, itp_mul_size(q, width));
    if (!s->product) return;
    s->norm = itp_arena_floats(arena, n);
    s->asked_norm = itp_arena_floats(arena, q);
    if (panels)
        s->panels = itp_arena_floats(arena, itp_mul_size(width, itp_round_up(n, (size_t)s->chunk)));
}

/* One row: cosine and its kin as unit vectors, with a last number that keeps rows without direction
   at distance 1 from all others; masses as shares, cumulated or their roots. */
ITP_FN void itp_near_row(const itp_near *s, const float *x, const double *mean, float *out)
{
    const int d = s->d;
    if (itp_near_masses(s->metric)) {
        const double sum = itp_row_sum(x, d, 0, 1), scale = sum > 0 ? 1 / sum : 0;
        double run = 0;
        for (int i = 0; i < d; i++) {
            run += (double)x[i] * scale;
            if (s->metric == INTERP_METRIC_EARTH_MOVER) out[i] = (float)run;
            else out[i] = (float)sqrt((double)x[i] * scale);
        }
        if (s->width > d) out[d] = sum > 0 ? 0.0f : 1.0f;
    } else if (s->width > d) {
        const double m = s->metric == INTERP_METRIC_CORRELATION ? itp_row_sum(x, d, 0, 1) / d : 0;
        const double size = itp_row_sum(x, d, m, 2), scale = size > 0 ? 1 / sqrt(size) : 0;
        for (int i = 0; i < d; i++) out[i] = (float)(((double)x[i] - m) * scale);
        out[d] = size > 0 ? 0.0f : 1.0f;
    } else {
        for (int i = 0; i < d; i++) out[i] = (float)((double)x[i] - mean[i]);
    }
}

ITP_FN void itp_near_rows(const interp_ctx *ctx, itp_near *s, const float *x, int n,
                          const double *mean, float *rows, float *norm)
{
    for (int r = 0; r < n; r++) {
        float *row = rows + (size_t)r * (size_t)s->width;
        itp_near_row(s, x + (size_t)r * (size_t)s->d, mean, row);
        if (norm) norm[r] = (float)ctx->k->dot((size_t)s->width, row, 0, row, 0);
    }
}

ITP_FN interp_status itp_near_check(interp_ctx *ctx, const itp_near *s, const float *x, int n,
                                    const char *what)
{
    for (int r = 0; r < n; r++)
        for (int i = 0; i < s->d; i++) {
            const float v = x[(size_t)r * (size_t)s->d + (size_t)i];
            if (!(v <= 1e15f && v >= -1e15f))
                return itp_fail(ctx, INTERP_NOT_FINITE,
                                "neighbours: %s %d has %s in column %d; remove or scale it", what,
                                r, v != v ? "NaN" : "a number beyond 1e15", i);
            if (v < 0 && (itp_near_masses(s->metric) || s->metric == INTERP_METRIC_PRECOMPUTED))
                return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                                "neighbours: %s takes no negative numbers, but %s %d has one in "
                                "column %d",
                                interp_metric_name(s->metric), what, r, i);
        }
    return INTERP_OK;
}

/* Fills the arrays. Euclidean rows are centred first: products then lose fewer digits. */
ITP_FN interp_status itp_near_fill(interp_ctx *ctx, itp_near *s, const float *x,
                                   const float *queries)
{
    ITP_TRY(itp_near_check(ctx, s, x, s->n, "row"));
    if (queries) ITP_TRY(itp_near_check(ctx, s, queries, s->queries, "query"));
    if (s->metric == INTERP_METRIC_PRECOMPUTED) {
        s->given = queries ? queries : x;
        return INTERP_OK;
    }
    double *mean = (double *)itp_calloc(ctx, (size_t)s->d, sizeof *mean);
    if (!mean) return INTERP_NO_MEMORY;
    if (s->product && s->width == s->d) {
        for (int r = 0; r < s->n; r++)
            for (int i = 0; i < s->d; i++)
                mean[i] += (double)x[(size_t)r * (size_t)s->d + (size_t)i];
        for (int i = 0; i < s->d; i++) mean[i] /= s->n;
    }
    itp_near_rows(ctx, s, x, s->n, mean, s->rows, s->norm);
    if (queries) itp_near_rows(ctx, s, queries, s->queries, mean, s->asked, s->asked_norm);
    else if (s->norm) memcpy(s->asked_norm, s->norm, (size_t)s->n * sizeof *s->norm);
    interp_free(ctx, mean);
    if (!s->panels) return INTERP_OK;
    const size_t width = (size_t)s->width, chunk = (size_t)s->chunk;
    for (size_t at = 0; at < (size_t)s->n; at += chunk)
        for (size_t i = 0; i < width; i++) {
            float *to = s->panels + at * width + i * chunk;
            for (size_t j = 0; j < chunk; j++)
                to[j] = at + j < (size_t)s->n ? s->rows[(at + j) * width + i] : 0;
        }
    return INTERP_OK;
}

/* What is compared as the distance it stands for. */
ITP_FN float itp_near_distance(const itp_near *s, float v)
{
    switch (s->metric) {
    case INTERP_METRIC_EUCLIDEAN: return sqrtf(v);
    case INTERP_METRIC_COSINE:
    case INTERP_METRIC_CORRELATION: return 0.5f * v;
    case INTERP_METRIC_HELLINGER: return sqrtf(0.5f * v);
    case INTERP_METRIC_MINKOWSKI: return (float)pow((double)v, 1 / (double)s->p);
    default: return v;
    }
}

/* Compares row `row` of those asked about with rows `at` (NULL: 0..m-1), without products. */
ITP_FN void itp_near_compare(const interp_ctx *ctx, const itp_near *s, int row, const int32_t *at,
                             int first, int m, float *out)
{
    if (s->given) {
        const float *from = s->given + (size_t)row * (size_t)s->n;
        for (int i = 0; i < m; i++) out[i] = from[at ? at[i] : first + i];
        return;
    }
    const size_t width = (size_t)s->width;
    itp_embeds(ctx->k)->compare(s->how, s->p, s->width, s->asked + (size_t)row * width,
                                s->rows + (at ? 0 : (size_t)first * width), width, at, m, out);
}

/* out[rows, chunk]: rows from `row` on, compared with the points of one panel, approximately. */
ITP_FN void itp_near_block(const interp_ctx *ctx, const itp_near *s, int row, int rows, int panel,
                           float *out, float *scratch)
{
    const int first = panel * s->chunk, m = itp_min(s->chunk, s->n - first);
    if (!s->product) {
        for (int r = 0; r < rows; r++)
            itp_near_compare(ctx, s, row + r, NULL, first, m, out + (size_t)r * (size_t)s->chunk);
        return;
    }
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = rows, g.n = m, g.k = s->width;
    g.alpha = -2;
    g.a = s->asked + (size_t)row * (size_t)s->width, g.a_rs = s->width, g.a_cs = 1;
    g.b = s->panels + (size_t)first * (size_t)s->width, g.b_rs = s->chunk, g.b_cs = 1;
    g.c = out, g.c_rs = s->chunk;
    g.bias_row = s->asked_norm + row;
    g.bias_column = s->norm + first;
    itp_gemm_block(ctx->k, &g, 0, rows, 0, m, scratch);
}

/* ---- the k smallest */

/* Orders by value, then index: the bits of floats from 0 on are ordered as they are. */
ITP_INLINE uint64_t itp_key(float value, int32_t index)
{
    uint32_t bits;
    if (!(value > 0)) value = 0;
    memcpy(&bits, &value, sizeof bits);
    return (uint64_t)bits << 32 | (uint32_t)index;
}

ITP_INLINE float itp_key_value(uint64_t key)
{
    const uint32_t bits = (uint32_t)(key >> 32);
    float value = 0;
    memcpy(&value, &bits, sizeof bits);
    return value;
}

ITP_INLINE int32_t itp_key_index(uint64_t key)
{
    return (int32_t)(uint32_t)key;
}

ITP_FN void itp_keys_insert(uint64_t *keys, int n)
{
    for (int i = 1; i < n; i++) {
        const uint64_t t = keys[i];
        int j = i;
        for (; j > 0 && keys[j - 1] > t; j--) keys[j] = keys[j - 1];
        keys[j] = t;
    }
}

/* Parts keys[n], all different, at the middle of three: returns where that one is now, those before it
   being smaller. No branch depends on a comparison. */
ITP_FN int itp_keys_part(uint64_t *keys, int n)
{
    const int m = n / 2;
    const uint64_t a = keys[0], b = keys[m], c = keys[n - 1];
    const int at = a < b ? (b < c ? m : a < c ? n - 1 : 0) : (a < c ? 0 : b < c ? n - 1 : m);
    const uint64_t pivot = keys[at];
    int s = 0;
    keys[at] = c;
    for (int i = 0; i < n - 1; i++) {
        const uint64_t t = keys[i];
        keys[i] = keys[s];
        keys[s] = t;
        s += t < pivot;
    }
    keys[n - 1] = keys[s];
    keys[s] = pivot;
    return s;
}

/* The k smallest come first, in any order. */
ITP_FN void itp_keys_select(uint64_t *keys, int n, int k)
{
    while (n > 16 && k > 0 && k < n) {
        const int at = itp_keys_part(keys, n);
        if (k <= at) n = at;
        else keys += at + 1, n -= at + 1, k -= at + 1;
    }
    if (n <= 16) itp_keys_insert(keys, n);
}

ITP_FN void itp_keys_sort(uint64_t *keys, int n)
{
    while (n > 16) { /* the longer part stays in the loop */
        const int at = itp_keys_part(keys, n);
        if (at < n - at) {
            itp_keys_sort(keys, at);
            keys += at + 1, n -= at + 1;
        } else {
            itp_keys_sort(keys + at + 1, n - at - 1);
            n = at;
        }
    }
    itp_keys_insert(keys, n);
}

/* ---- exact neighbours: blocks of rows against all panels */

/* Scratch of one thread. */
typedef struct itp_near_slot {
    float *block;   /* [ITP_NEAR_ROWS, chunk] */
    uint64_t *keys; /* [ITP_NEAR_ROWS, room]: the best so far */
    int *count;     /* [ITP_NEAR_ROWS] */
    float *limit;   /* [ITP_NEAR_ROWS]: what is above is not among them */
    int32_t *at;    /* [chunk] or [room] */
    float *value;   /* likewise */
    float *gemm;
} itp_near_slot;

typedef struct itp_near_job {
    const interp_ctx *ctx;
    const itp_near *s;
    int k, keep, room, rows; /* keep: more than k, to be compared exactly */
    bool self;               /* a point is not its own neighbour */
    int first;               /* task */
    char *scratch;
    size_t slot_bytes;
    int32_t *index;
    float *distance;
} itp_near_job;

ITP_FN void itp_near_slot_layout(itp_arena *arena, itp_near_slot *w, const interp_ctx *ctx,
                                 const itp_near *s, int rows, int room)
{
    const size_t most = (size_t)itp_max(s->chunk, room);
    w->block = itp_arena_floats(arena, itp_mul_size((size_t)rows, (size_t)s->chunk));
    w->keys = (uint64_t *)itp_arena_alloc(
        arena, itp_mul_size((size_t)rows * sizeof(uint64_t), (size_t)room));
    w->count = (int *)itp_arena_alloc(arena, (size_t)rows * sizeof(int));
    w->limit = itp_arena_floats(arena, (size_t)rows);
    w->at = (int32_t *)itp_arena_alloc(arena, most * sizeof(int32_t));
    w->value = itp_arena_floats(arena, 2 * most); /* or as many keys */
    w->gemm = itp_arena_floats(
        arena, s->product ? itp_gemm_floats(s->width, rows, s->chunk, ctx->k->nr) : 0);
}

ITP_FN float itp_keys_largest(const uint64_t *keys, int n)
{
    uint64_t most = 0;
    for (int i = 0; i < n; i++) most = keys[i] > most ? keys[i] : most;
    return itp_key_value(most);
}

/* A limit that most likely leaves more than `keep` of all n numbers, and few more: from the first m of
   them, of which the lowest are told by 64. */
ITP_FN float itp_near_guess(const itp_near_job *job, itp_near_slot *w, const float *x, int m)
{
    const int n = job->s->n, want = (int)(1.7 * job->keep * m / n) + 16;
    const int at = want * 64 * 2 / m + 3;
    uint64_t some[64], *keys = (uint64_t *)(void *)w->value;
    if (m < 256 || at > 63 || 2 * want > m) return INFINITY;
    for (int i = 0; i < 64; i++) some[i] = itp_key(x[(size_t)i * (size_t)m / 64], i);
    itp_keys_select(some, 64, at + 1);
    const int found = itp_embeds(job->ctx->k)->below(m, x, itp_keys_largest(some, at + 1), w->at);
    if (found < want) return INFINITY;
    for (int i = 0; i < found; i++) keys[i] = itp_key(x[w->at[i]], w->at[i]);
    itp_keys_select(keys, found, want);
    return itp_keys_largest(keys, want);
}

/* Takes the numbers of a block's row that may be among the smallest. */
ITP_FN void itp_near_take(const itp_near_job *job, itp_near_slot *w, int r, int row, int first,
                          int m)
{
    const float *x = w->block + (size_t)r * (size_t)job->s->chunk;
    uint64_t *keys = w->keys + (size_t)r * (size_t)job->room;
    int n = w->count[r];
    float limit = w->limit[r];
    const int found = itp_embeds(job->ctx->k)->below(m, x, limit, w->at);
    for (int i = 0; i < found; i++) {
        const float value = x[w->at[i]];
        const int32_t index = first + w->at[i];
        if (value > limit || (job->self && index == row)) continue;
        keys[n++] = itp_key(value, index);
        if (n == job->room) {
            itp_keys_select(keys, n, job->keep);
            n = job->keep;
            limit = itp_keys_largest(keys, n);
        }
    }
    w->count[r] = n;
    w->limit[r] = limit;
}

/* Compares what is left exactly and writes the k nearest. */
ITP_FN void itp_near_finish(const itp_near_job *job, itp_near_slot *w, int r, int row)
{
    uint64_t *keys = w->keys + (size_t)r * (size_t)job->room;
    int n = w->count[r];
    if (n < job->keep) return;
    if (n > job->keep) itp_keys_select(keys, n, job->keep), n = job->keep;
    if (job->s->product) {
        for (int i = 0; i < n; i++) w->at[i] = itp_key_index(keys[i]);
        itp_near_compare(job->ctx, job->s, row, w->at, 0, n, w->value);
        for (int i = 0; i < n; i++) keys[i] = itp_key(w->value[i], w->at[i]);
    }
    itp_keys_sort(keys, n);
    for (int i = 0; i < job->k; i++) {
        const size_t to = (size_t)row * (size_t)job->k + (size_t)i;
        job->index[to] = itp_key_index(keys[i]);
        if (job->distance) job->distance[to] = itp_near_distance(job->s, itp_key_value(keys[i]));
    }
}

/* Rows of those asked about, against all panels. */
ITP_FN void itp_near_scan(const itp_near_job *job, itp_near_slot *w, int row, int rows, bool guess)
{
    const itp_near *s = job->s;
    for (int r = 0; r < rows; r++) w->count[r] = 0, w->limit[r] = INFINITY;
    for (int panel = 0; panel * s->chunk < s->n; panel++) {
        const int first = panel * s->chunk, m = itp_min(s->chunk, s->n - first);
        itp_near_block(job->ctx, s, row, rows, panel, w->block, w->gemm);
        for (int r = 0; r < rows; r++) {
            if (guess && panel == 0)
                w->limit[r] = itp_near_guess(job, w, w->block + (size_t)r * (size_t)s->chunk, m);
            itp_near_take(job, w, r, row + r, first, m);
        }
    }
}

ITP_FN void itp_near_task(void *arg, int task, int slot)
{
    const itp_near_job *job = (const itp_near_job *)arg;
    const itp_near *s = job->s;
    itp_near_slot w;
    itp_arena arena = {job->scratch + job->slot_bytes * (size_t)slot, 0};
    itp_near_slot_layout(&arena, &w, job->ctx, s, job->rows, job->room);
    const int row = (job->first + task) * job->rows, rows = itp_min(job->rows, s->queries - row);
    itp_near_scan(job, &w, row, rows, true);
    for (int r = 0; r < rows; r++) itp_near_finish(job, &w, r, row + r);
    for (int r = 0; r < rows; r++) {
        if (w.count[r] >= job->keep) continue; /* the guess was too low */
        itp_near_scan(job, &w, row + r, 1, false);
        itp_near_finish(job, &w, 0, row + r);
        w.count[0] = job->keep;
    }
}

ITP_FN void itp_near_job_plan(itp_near_job *job, const interp_ctx *ctx, const itp_near *s, int k,
                              bool self)
{
    itp_near_slot w;
    itp_arena arena = {NULL, 0};
    memset(job, 0, sizeof *job);
    job->ctx = ctx;
    job->s = s;
    job->k = k;
    job->self = self;
    job->keep = itp_min(k + (s->product ? ITP_NEAR_SPARE : 0), s->n - (self ? 1 : 0));
    job->room = 4 * job->keep + 32;
    job->rows = s->product ? ITP_NEAR_ROWS : 16;
    itp_near_slot_layout(&arena, &w, ctx, s, job->rows, job->room);
    job->slot_bytes = arena.used;
}

/* Runs tasks in lots, so that progress is told and may cancel. */
ITP_FN interp_status itp_parallel_lots(interp_ctx *ctx, const char *stage, int tasks, int lot,
                                       double work, itp_task_fn fn, void *arg, int *first)
{
    for (int at = 0; at < tasks; at += lot) {
        const int some = itp_min(lot, tasks - at);
        ITP_TRY(itp_progress(ctx, stage, at, tasks, (double)NAN));
        *first = at;
        itp_parallel(ctx, some, work * some, fn, arg);
    }
    return itp_progress(ctx, stage, tasks, tasks, (double)NAN);
}

ITP_FN interp_status itp_near_exact(interp_ctx *ctx, const itp_near *s, int k, bool self,
                                    int32_t *index, float *distance)
{
    itp_near_job job;
    itp_near_job_plan(&job, ctx, s, k, self);
    job.index = index;
    job.distance = distance;
    job.scratch = (char *)interp_alloc(ctx, itp_mul_size(job.slot_bytes, (size_t)ctx->slots));
    if (!job.scratch) return INTERP_NO_MEMORY;
    const int tasks = itp_div_up(s->queries, job.rows);
    const interp_status status =
        itp_parallel_lots(ctx, "neighbours", tasks, itp_max(8, 4 * ctx->slots),
                          (double)job.rows * s->n * s->width, itp_near_task, &job, &job.first);
    interp_free(ctx, job.scratch);
    return status;
}

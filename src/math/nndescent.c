/* ---- math/nndescent.c: neighbours of very many points, nearly all of them ----------------------- */

/* Nearest neighbour descent (Dong, Charikar and Li 2011) from lists that random projection trees begin
   (Dasgupta and Freund 2008): a neighbour of a neighbour is likely one. Each round, points offer those on
   their lists and those on whose lists they are; then each compares itself with what is offered by what
   it is offered, where one of the two is new. Offers are a copy and a list is changed by its owner only,
   so that the result is the same at any number of threads. */
typedef struct itp_nnd {
    const interp_ctx *ctx;
    const itp_near *s;
    uint64_t seed;
    int n, keep, offers, leaf, leaves, trees, lot, first;
    uint64_t *list;   /* [n, keep]: sorted keys of 2 index + (1: not offered yet) */
    int32_t *offer;   /* [n][ITP_OFFER_KINDS][offers], -1 after the last of a kind */
    int32_t *count;   /* [2][n]: backward offers, new and old, those there was no room for too */
    int32_t *bound;   /* [leaves + 1]: of the leaves, in every tree the same */
    int32_t *order;   /* [lot][n]: points, those of a leaf side by side */
    uint64_t *keys;   /* [lot][n] */
    float *direction; /* [lot][width] */
    int32_t *seen;    /* [slots][n]: the last point that was compared with this one, and 1 */
    int64_t *changes; /* [blocks] */
    int *found;       /* [samples] */
    uint64_t *far;    /* [slots][n]: of samples */
    float *value;     /* likewise */
} itp_nnd;

/* Kinds of offers; those of something new come first. */
enum { ITP_OFFER_NEW, ITP_OFFER_NEW_BACK, ITP_OFFER_OLD, ITP_OFFER_OLD_BACK, ITP_OFFER_KINDS };

enum {
    ITP_NND_LEAF = 60,
    ITP_NND_BLOCK = 256,  /* points of a task, and comparisons made at once */
    ITP_NND_BANDS = 16,   /* tasks of backward offers, each of which reads all forward ones */
    ITP_NND_SAMPLES = 100 /* points whose neighbours are looked for exactly, for the recall */
};

/* Leaves of first..end, halved until none holds more than `most`; bound: NULL to count only. */
ITP_FN int itp_nnd_halve(int first, int end, int most, int32_t *bound)
{
    if (end - first <= most) {
        if (bound) bound[0] = first, bound[1] = end;
        return 1;
    }
    const int middle = first + (end - first) / 2;
    const int left = itp_nnd_halve(first, middle, most, bound);
    return left + itp_nnd_halve(middle, end, most, bound ? bound + left : NULL);
}

ITP_FN void itp_nnd_plan(itp_nnd *d, const interp_ctx *ctx, const itp_near *s, int k,
                         const interp_knn_desc *desc)
{
    memset(d, 0, sizeof *d);
    d->ctx = ctx;
    d->s = s;
    d->seed = desc ? desc->seed : 0;
    d->n = s->n;
    d->keep = itp_min(itp_max(k, 10), s->n - 1);
    d->offers = desc && desc->max_candidates ? desc->max_candidates : itp_min(d->keep, 60);
    d->leaf = itp_max(ITP_NND_LEAF, 2 * d->keep + 2); /* half of which fills a list */
    d->leaves = itp_nnd_halve(0, d->n, d->leaf, NULL);
    /* as many as umap-learn's, fewer where a leaf compares more */
    const double trees = (5 + sqrt((double)d->n) / 20) * (int)ITP_NND_LEAF / d->leaf;
    d->trees = itp_max(3, itp_min(64, (int)(trees + 0.5)));
    d->lot = itp_min(d->trees, ctx->slots);
}

ITP_FN void itp_nnd_layout(itp_arena *arena, itp_nnd *d)
{
    const size_t n = (size_t)d->n, lot = (size_t)d->lot, offers = (size_t)d->offers;
    d->list =
        (uint64_t *)itp_arena_alloc(arena, itp_mul_size(n * sizeof(uint64_t), (size_t)d->keep));
    d->offer = (int32_t *)itp_arena_alloc(
        arena, itp_mul_size(n * ITP_OFFER_KINDS * sizeof(int32_t), offers));
    d->count = (int32_t *)itp_arena_alloc(arena, 2 * n * sizeof(int32_t));
    d->bound = (int32_t *)itp_arena_alloc(arena, ((size_t)d->leaves + 1) * sizeof(int32_t));
    d->order = (int32_t *)itp_arena_alloc(arena, itp_mul_size(lot, n * sizeof(int32_t)));
    d->keys = (uint64_t *)itp_arena_alloc(arena, itp_mul_size(lot, n * sizeof(uint64_t)));
    d->direction = itp_arena_floats(arena, itp_mul_size(lot, (size_t)d->s->width));
    d->seen =
        (int32_t *)itp_arena_alloc(arena, itp_mul_size((size_t)d->ctx->slots, n * sizeof(int32_t)));
    d->changes = (int64_t *)itp_arena_alloc(arena, (size_t)itp_div_up(d->n, ITP_NND_BLOCK) *
                                                       sizeof(int64_t));
    d->found = (int *)itp_arena_alloc(arena, ITP_NND_SAMPLES * sizeof(int));
    d->far = (uint64_t *)itp_arena_alloc(arena,
                                         itp_mul_size((size_t)d->ctx->slots, n * sizeof(uint64_t)));
    d->value = itp_arena_floats(arena, itp_mul_size((size_t)d->ctx->slots, n));
}

/* ---- lists */

/* Puts a point on a list, unless it is there or others are nearer. */
ITP_INLINE bool itp_nnd_insert(uint64_t *list, int keep, float value, int32_t index)
{
    const uint64_t key = itp_key(value, 2 * index + 1);
    int at = keep - 1;
    if (key >= list[at]) return false;
    while (at > 0 && list[at - 1] > key) at--;
    if (at > 0 && (list[at - 1] ^ key) <= 1) return false;
    memmove(list + at + 1, list + at, (size_t)(keep - 1 - at) * sizeof *list);
    list[at] = key;
    return true;
}

ITP_INLINE int32_t itp_nnd_index(uint64_t key)
{
    return (int32_t)((uint32_t)key >> 1);
}

ITP_FN int itp_nnd_compare(const itp_nnd *d, int u, const int32_t *at, int m)
{
    uint64_t *list = d->list + (size_t)u * (size_t)d->keep;
    float value[ITP_NND_BLOCK];
    int changes = 0;
    itp_near_compare(d->ctx, d->s, u, at, 0, m, value);
    for (int i = 0; i < m; i++) changes += itp_nnd_insert(list, d->keep, value[i], at[i]);
    return changes;
}

/* ---- trees */

/* Orders like the float, whatever its sign. */
ITP_INLINE uint64_t itp_signed_key(float value, int32_t index)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)index;
}

/* Halves first..end across the line through two random points, and the halves. */
ITP_FN void itp_nnd_part(const itp_nnd *d, int tree, int level, int first, int end, int32_t *order,
                         uint64_t *keys, float *direction)
{
    const size_t width = (size_t)d->s->width;
    for (; end - first > d->leaf; level++) {
        const int n = end - first, middle = n / 2;
        const uint64_t node = (uint64_t)level << 33 | (uint64_t)(unsigned)first << 1;
        const uint64_t stream = 0x7EE00u + (uint64_t)(unsigned)tree;
        const uint32_t a = itp_random_below(d->seed, stream, node, (uint32_t)n);
        const uint32_t b = itp_random_below(d->seed, stream, node + 1, (uint32_t)n);
        const float *from = d->s->rows + (size_t)order[first + (int)a] * width;
        const float *to = d->s->rows + (size_t)order[first + (int)b] * width;
        for (size_t i = 0; i < width; i++) direction[i] = to[i] - from[i];
        for (int i = 0; i < n; i++) {
            const int32_t index = order[first + i];
            keys[i] = itp_signed_key(
                (float)d->ctx->k->dot(width, d->s->rows + (size_t)index * width, 0, direction, 0),
                index);
        }
        itp_keys_select(keys, n, middle);
        for (int i = 0; i < n; i++) order[first + i] = itp_key_index(keys[i]);
        itp_nnd_part(d, tree, level + 1, first, first + middle, order, keys, direction);
        first += middle;
    }
}

ITP_FN void itp_nnd_tree_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const size_t n = (size_t)d->n, at = (size_t)task;
    int32_t *order = d->order + at * n;
    (void)slot;
    for (int i = 0; i < d->n; i++) order[i] = i;
    itp_nnd_part(d, d->first + task, 0, 0, d->n, order, d->keys + at * n,
                 d->direction + at * (size_t)d->s->width);
}

/* Compares the points of some leaves with one another. */
ITP_FN void itp_nnd_leaf_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const int32_t *order = d->order + (size_t)d->first * (size_t)d->n;
    float value[ITP_NND_BLOCK];
    (void)slot;
    for (int leaf = 4 * task; leaf < itp_min(4 * task + 4, d->leaves); leaf++)
        for (int i = d->bound[leaf]; i < d->bound[leaf + 1]; i++)
            for (int j = i + 1, m = 0; j < d->bound[leaf + 1]; j += m) {
                m = itp_min(ITP_NND_BLOCK, d->bound[leaf + 1] - j);
                itp_near_compare(d->ctx, d->s, order[i], order + j, 0, m, value);
                for (int o = 0; o < m; o++) {
                    itp_nnd_insert(d->list + (size_t)order[i] * (size_t)d->keep, d->keep, value[o],
                                   order[j + o]);
                    itp_nnd_insert(d->list + (size_t)order[j + o] * (size_t)d->keep, d->keep,
                                   value[o], order[i]);
                }
            }
}

/* ---- rounds */

ITP_FN void itp_nnd_offer_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const size_t keep = (size_t)d->keep, offers = (size_t)d->offers;
    const int end = itp_min(d->n, (task + 1) * ITP_NND_BLOCK);
    (void)slot;
    for (int u = task * ITP_NND_BLOCK; u < end; u++) {
        uint64_t *list = d->list + (size_t)u * keep;
        int32_t *offer = d->offer + (size_t)u * ITP_OFFER_KINDS * offers;
        size_t many[2] = {0, 0};
        memset(offer, -1, ITP_OFFER_KINDS * offers * sizeof *offer);
        for (size_t i = 0; i < keep; i++) {
            const size_t old = list[i] & 1 ? 0 : 1;
            if (many[old] == offers) continue;
            const size_t kind = old ? ITP_OFFER_OLD : ITP_OFFER_NEW;
            offer[kind * offers + many[old]++] = itp_nnd_index(list[i]);
            list[i] &= ~(uint64_t)1;
        }
    }
}

/* Backward offers to the points of a band: all, or where there are too many a random choice. */
ITP_FN void itp_nnd_back_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const size_t offers = (size_t)d->offers, n = (size_t)d->n;
    const int32_t low = (int32_t)((int64_t)d->n * task / ITP_NND_BANDS);
    const int32_t high = (int32_t)((int64_t)d->n * (task + 1) / ITP_NND_BANDS);
    const uint64_t stream = 0xBAC0u + (uint64_t)(unsigned)d->first;
    (void)slot;
    for (int v = 0; v < d->n; v++)
        for (size_t old = 0; old < 2; old++) {
            const size_t kind = old ? ITP_OFFER_OLD : ITP_OFFER_NEW;
            const int32_t *from = d->offer + ((size_t)v * ITP_OFFER_KINDS + kind) * offers;
            for (size_t i = 0; i < offers && from[i] >= 0; i++) {
                const int32_t w = from[i];
                if (w < low || w >= high) continue;
                int32_t *to = d->offer + ((size_t)w * ITP_OFFER_KINDS + kind + 1) * offers;
                const int32_t at = d->count[old * n + (size_t)w]++;
                if (at < d->offers) {
                    to[at] = v;
                } else {
                    const uint64_t draw = ((uint64_t)(unsigned)v << 32 | (uint32_t)w) * 2 + old;
                    const uint32_t other =
                        itp_random_below(d->seed, stream, draw, (uint32_t)at + 1);
                    if (other < (uint32_t)d->offers) to[other] = v;
                }
            }
        }
}

/* Compares u with what the offers to it offer. */
ITP_FN int itp_nnd_join(const itp_nnd *d, int u, int32_t *seen)
{
    const size_t offers = (size_t)d->offers, all = ITP_OFFER_KINDS * offers;
    const int32_t *mine = d->offer + (size_t)u * all;
    int32_t at[ITP_NND_BLOCK];
    int m = 0, changes = 0;
    seen[u] = u + 1;
    for (size_t i = 0; i < all; i++) {
        const int32_t w = mine[i];
        if (w < 0) {
            i += offers - 1 - i % offers;
            continue;
        }
        /* what was offered to it before, by someone who was, has been compared */
        const size_t kinds = i / offers < ITP_OFFER_OLD ? ITP_OFFER_KINDS : ITP_OFFER_OLD;
        const int32_t *theirs = d->offer + (size_t)w * all;
        if (seen[w] != u + 1) seen[w] = u + 1, at[m++] = w;
        for (size_t j = 0; j < kinds * offers; j++) {
            const int32_t c = theirs[j];
            if (c < 0) {
                j += offers - 1 - j % offers;
                continue;
            }
            if (m == ITP_NND_BLOCK) changes += itp_nnd_compare(d, u, at, m), m = 0;
            if (seen[c] != u + 1) seen[c] = u + 1, at[m++] = c;
        }
        if (m == ITP_NND_BLOCK) changes += itp_nnd_compare(d, u, at, m), m = 0;
    }
    return changes + itp_nnd_compare(d, u, at, m);
}

ITP_FN void itp_nnd_join_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const int block = d->first + task, end = itp_min(d->n, (block + 1) * ITP_NND_BLOCK);
    int64_t changes = 0;
    for (int u = block * ITP_NND_BLOCK; u < end; u++)
        changes += itp_nnd_join(d, u, d->seen + (size_t)slot * (size_t)d->n);
    d->changes[block] = changes;
}

ITP_FN interp_status itp_nnd_begin(interp_ctx *ctx, itp_nnd *d)
{
    const int n = d->n;
    const double work = (double)n * d->s->width;
    memset(d->list, -1, (size_t)n * (size_t)d->keep * sizeof *d->list);
    itp_nnd_halve(0, n, d->leaf, d->bound);
    for (int tree = 0; tree < d->trees; tree += d->lot) {
        const int some = itp_min(d->lot, d->trees - tree);
        ITP_TRY(itp_progress(ctx, "trees of neighbours", tree, d->trees, (double)NAN));
        d->first = tree;
        itp_parallel(ctx, some, 12 * work * some, itp_nnd_tree_task, d);
        for (d->first = 0; d->first < some; d->first++)
            itp_parallel(ctx, itp_div_up(d->leaves, 4), work * d->leaf, itp_nnd_leaf_task, d);
    }
    return INTERP_OK;
}

/* Rounds until less than a thousandth of the lists changes. */
ITP_FN interp_status itp_nnd_run(interp_ctx *ctx, itp_nnd *d, int *rounds)
{
    const int n = d->n, blocks = itp_div_up(n, ITP_NND_BLOCK);
    /* as umap-learn: the logarithm of n to base 2 */
    const int most = itp_max(5, (int)(log((double)n) / 0.69314718055994531 + 0.5));
    const double work = (double)n * d->offers;
    ITP_TRY(itp_nnd_begin(ctx, d));
    for (*rounds = 0; *rounds < most; ++*rounds) {
        int64_t changes = 0;
        memset(d->count, 0, 2 * (size_t)n * sizeof *d->count);
        memset(d->seen, 0, (size_t)ctx->slots * (size_t)n * sizeof *d->seen);
        d->first = *rounds;
        itp_parallel(ctx, blocks, work, itp_nnd_offer_task, d);
        itp_parallel(ctx, ITP_NND_BANDS, work * (int)ITP_NND_BANDS, itp_nnd_back_task, d);
        ITP_TRY(
            itp_parallel_lots(ctx, "neighbours", blocks, itp_max(64, 4 * ctx->slots),
                              (double)d->offers * d->offers * 4 * d->s->width * (int)ITP_NND_BLOCK,
                              itp_nnd_join_task, d, &d->first));
        for (int i = 0; i < blocks; i++) changes += d->changes[i];
        if ((double)changes <= 1e-3 * (double)n * d->keep) break;
    }
    return INTERP_OK;
}

ITP_FN void itp_nnd_write(const itp_nnd *d, int k, int32_t *index, float *distance)
{
    for (int u = 0; u < d->n; u++)
        for (int i = 0; i < k; i++) {
            const uint64_t key = d->list[(size_t)u * (size_t)d->keep + (size_t)i];
            const size_t to = (size_t)u * (size_t)k + (size_t)i;
            index[to] = itp_nnd_index(key);
            if (distance) distance[to] = itp_near_distance(d->s, itp_key_value(key));
        }
}

/* ---- how many were found */

ITP_FN int itp_nnd_samples(const itp_nnd *d)
{
    return itp_min(d->n, ITP_NND_SAMPLES);
}

/* Of one sample: neighbours found that are no farther than the last of all. first: how many. */
ITP_FN void itp_nnd_recall_task(void *arg, int task, int slot)
{
    const itp_nnd *d = (const itp_nnd *)arg;
    const int k = d->first, u = (int)((int64_t)task * d->n / itp_nnd_samples(d));
    const uint64_t *list = d->list + (size_t)u * (size_t)d->keep;
    uint64_t *far = d->far + (size_t)slot * (size_t)d->n;
    float *value = d->value + (size_t)slot * (size_t)d->n;
    itp_near_compare(d->ctx, d->s, u, NULL, 0, d->n, value);
    value[u] = INFINITY;
    for (int i = 0; i < d->n; i++) far[i] = itp_key(value[i], i);
    itp_keys_select(far, d->n, k);
    const float last = itp_keys_largest(far, k);
    d->found[task] = 0;
    for (int i = 0; i < k; i++) d->found[task] += itp_key_value(list[i]) <= last;
}

ITP_FN double itp_nnd_recall(interp_ctx *ctx, itp_nnd *d, int k)
{
    const int samples = itp_nnd_samples(d);
    double found = 0;
    d->first = k;
    itp_parallel(ctx, samples, (double)samples * d->n * d->s->width, itp_nnd_recall_task, d);
    for (int i = 0; i < samples; i++) found += d->found[i];
    return found / ((double)samples * k);
}

ITP_FN interp_status itp_near_descent(interp_ctx *ctx, const itp_near *s, int k,
                                      const interp_knn_desc *desc, int32_t *index, float *distance,
                                      interp_knn_info *info)
{
    itp_nnd d;
    itp_arena arena = {NULL, 0};
    itp_nnd_plan(&d, ctx, s, k, desc);
    itp_nnd_layout(&arena, &d);
    arena.base = (char *)interp_alloc(ctx, arena.used);
    if (!arena.base) return INTERP_NO_MEMORY;
    arena.used = 0;
    itp_nnd_layout(&arena, &d);
    const interp_status status = itp_nnd_run(ctx, &d, &info->rounds);
    if (!status) {
        itp_nnd_write(&d, k, index, distance);
        info->recall = itp_nnd_recall(ctx, &d, k);
    }
    interp_free(ctx, arena.base);
    return status;
}

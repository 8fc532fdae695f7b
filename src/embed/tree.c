/* ---- embed/tree.c: the repulsion of all pairs by a tree (Barnes and Hut 1986) ------------------- */

/* Points are sorted along a Morton curve; a node is a run of them, its children the runs that share
   more of the code. Nodes stand in the order of a walk: the next one is inside, `next` is behind. */
typedef struct itp_tree_node {
    float centre[3];
    float size2; /* square of the cell's side */
    int first, end, next;
} itp_tree_node;

typedef struct itp_tree {
    int dims, bits; /* of each coordinate's code */
    float angle2, stretch, power;
    int n, nodes;
    itp_tree_node *node; /* [2n] */
    uint64_t *keys;      /* [n]: code << 32 | point */
    float *at[3];        /* [n]: coordinates in that order */
    float side;
} itp_tree;

enum { ITP_TREE_LEAF = 8 };

ITP_FN void itp_tree_layout(itp_arena *arena, itp_tree *t, int n, int dims)
{
    memset(t, 0, sizeof *t);
    t->dims = dims;
    t->bits = dims == 3 ? 10 : 16;
    t->n = n;
    t->node =
        (itp_tree_node *)itp_arena_alloc(arena, itp_mul_size(2 * (size_t)n, sizeof(itp_tree_node)));
    t->keys = (uint64_t *)itp_arena_alloc(arena, (size_t)n * sizeof(uint64_t));
    for (int k = 0; k < dims; k++) t->at[k] = itp_arena_floats(arena, (size_t)n);
}

ITP_FN uint32_t itp_tree_code(const itp_tree *t, float *const *y, const float *low, int i)
{
    const double cells = (double)((1 << t->bits) - 1);
    uint32_t code = 0, place[3] = {0, 0, 0};
    for (int k = 0; k < t->dims; k++) {
        const double u = ((double)y[k][i] - (double)low[k]) / (double)t->side * cells;
        place[k] = (uint32_t)(u > 0 ? u < cells ? u : cells : 0);
    }
    for (int b = t->bits - 1; b >= 0; b--)
        for (int k = 0; k < t->dims; k++) code = code << 1 | (place[k] >> b & 1);
    return code;
}

/* The node of points first..end, whose codes agree above `level` (in coordinates' bits), and all in
   it. */
ITP_FN void itp_tree_build(itp_tree *t, int first, int end, int level)
{
    itp_tree_node *node = &t->node[t->nodes++];
    const int self = t->nodes - 1;
    const uint32_t low = (uint32_t)(t->keys[first] >> 32),
                   high = (uint32_t)(t->keys[end - 1] >> 32);
    while (level > 0 && low >> ((level - 1) * t->dims) == high >> ((level - 1) * t->dims)) level--;
    const float side = t->side * (float)(1 << level) / (float)(1 << t->bits);
    node->size2 = side * side;
    node->first = first;
    node->end = end;
    for (int k = 0; k < t->dims; k++) {
        double s = 0;
        for (int i = first; i < end; i++) s += (double)t->at[k][i];
        node->centre[k] = (float)(s / (end - first));
    }
    if (end - first > ITP_TREE_LEAF && level > 0) {
        const int shift = 32 + (level - 1) * t->dims;
        for (int from = first; from < end;) { /* a child for each value of the next bits */
            const uint64_t child = t->keys[from] >> shift;
            int to = from + 1, reach = 1;
            while (to + reach < end && t->keys[to + reach] >> shift == child)
                to += reach, reach *= 2;
            for (; reach; reach /= 2)
                if (to + reach <= end && t->keys[to + reach - 1] >> shift == child) to += reach;
            itp_tree_build(t, from, to, level - 1);
            from = to;
        }
    }
    t->node[self].next = t->nodes;
}

ITP_FN void itp_tree_make(itp_tree *t, float *const *y, const float *low, const float *high)
{
    t->side = 1e-30f;
    for (int k = 0; k < t->dims; k++)
        if (high[k] - low[k] > t->side) t->side = high[k] - low[k];
    for (int i = 0; i < t->n; i++)
        t->keys[i] = (uint64_t)itp_tree_code(t, y, low, i) << 32 | (uint32_t)i;
    itp_keys_sort(t->keys, t->n);
    for (int i = 0; i < t->n; i++)
        for (int k = 0; k < t->dims; k++) t->at[k][i] = y[k][(uint32_t)t->keys[i]];
    t->nodes = 0;
    itp_tree_build(t, 0, t->n, t->bits);
}

/* Adds to force what `many` points at distance vector gap do; returns the sum of their kernels. */
ITP_INLINE double itp_tree_push(const itp_tree *t, const float *gap, float d2, int many,
                                float *force)
{
    const float q = 1 / (1 + t->stretch * d2);
    const float w = (float)many * (t->power == 1 ? q : powf(q, t->power));
    for (int k = 0; k < t->dims; k++) force[k] += w * q * gap[k];
    return (double)w;
}

typedef struct itp_tree_job {
    const itp_tree *t;
    float *const *force;
    double *sums; /* [blocks] */
} itp_tree_job;

/* The force on the point at `rank` of the order, its own 1 not among the sum. */
ITP_FN double itp_tree_walk(const itp_tree *t, int rank, float *force)
{
    double sum = 0;
    for (int at = 0; at < t->nodes;) {
        const itp_tree_node *node = &t->node[at];
        const bool inside = rank >= node->first && rank < node->end;
        const bool leaf = node->next == at + 1;
        float gap[3], d2 = 0;
        for (int k = 0; k < t->dims; k++) {
            gap[k] = t->at[k][rank] - node->centre[k];
            d2 += gap[k] * gap[k];
        }
        if (!inside && (node->size2 < t->angle2 * d2)) {
            sum += itp_tree_push(t, gap, d2, node->end - node->first, force);
            at = node->next;
        } else if (leaf) {
            for (int j = node->first; j < node->end; j++) {
                if (j == rank) continue;
                d2 = 0;
                for (int k = 0; k < t->dims; k++) {
                    gap[k] = t->at[k][rank] - t->at[k][j];
                    d2 += gap[k] * gap[k];
                }
                sum += itp_tree_push(t, gap, d2, 1, force);
            }
            at = node->next;
        } else {
            at++;
        }
    }
    return sum;
}

ITP_FN void itp_tree_task(void *arg, int task, int slot)
{
    const itp_tree_job *job = (const itp_tree_job *)arg;
    const itp_tree *t = job->t;
    const int end = itp_min(t->n, (task + 1) * ITP_POINTS);
    double sum = 0;
    (void)slot;
    for (int rank = task * ITP_POINTS; rank < end; rank++) {
        float force[3] = {0, 0, 0};
        sum += itp_tree_walk(t, rank, force);
        for (int k = 0; k < t->dims; k++) job->force[k][(uint32_t)t->keys[rank]] = force[k];
    }
    job->sums[task] = sum;
}

ITP_FN double itp_tree_repel(interp_ctx *ctx, itp_tree *t, float *const *y, const float *low,
                             const float *high, float *const *force, double *sums)
{
    itp_tree_job job;
    itp_tree_make(t, y, low, high);
    job.t = t;
    job.force = force;
    job.sums = sums;
    itp_parallel(ctx, itp_point_blocks(t->n), 2000.0 * t->n, itp_tree_task, &job);
    double total = 0;
    for (int b = 0; b < itp_point_blocks(t->n); b++) total += sums[b];
    return total;
}

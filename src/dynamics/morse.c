/* ---- dynamics/morse.c: the hierarchy of Morse sets ---------------------------------------------- */

#define ITP_SETS_MAX 8192 /* their order is a table of bits */

struct interp_morse {
    interp_ctx *ctx;
    interp_map map;
    int min, max, init; /* halvings; min and max from init on */
    uint32_t limit;
    bool exact;
    itp_cubes grid; /* the final one */
    uint64_t *key, *spread;
    uint8_t *level;
    uint32_t *bucket;
    itp_cells *image;     /* [boxes]; NULL: not looked at yet */
    itp_components parts; /* of these images; label NULL: not looked for yet */
    int n_sets;
    uint32_t *box;   /* boxes of the sets, one after the other */
    uint32_t *first; /* [n_sets + 1]: where each begins */
    uint32_t *set;   /* [boxes]: the set each is of, ITP_NO_BOX: none */
    itp_order order;
};

/* ---- what is gathered on the way */

/* Numbers of 64 bits, as many as come. */
typedef struct itp_longs {
    uint64_t *v;
    size_t n, room;
} itp_longs;

ITP_INLINE interp_status itp_longs_room(interp_ctx *ctx, itp_longs *a, size_t more)
{
    return itp_make_room(ctx, &a->v, a->n, &a->room, more, sizeof *a->v);
}

typedef struct itp_hierarchy {
    interp_morse *m;
    itp_longs leaves; /* key << 8 | level, keys of depth + level bits at the top: the final grid */
    itp_longs found;  /* keys of Morse sets */
    itp_longs ends;   /* where each set ends in `found` */
    itp_longs edges;  /* from << 32 | to */
    uint64_t *spread[ITP_DEPTH_MAX + 1]; /* of each depth that was looked at */
} itp_hierarchy;

/* A key of `level` bits and its level: sorts along the tree, parents before their first child. */
ITP_INLINE uint64_t itp_leaf(uint64_t key, int level)
{
    return (key << (ITP_DEPTH_MAX - level)) << 8 | (uint64_t)level;
}

/* Sorts by bytes from the lowest, which keep the order of those below; spare: [n]. Returns the one of the
   two that holds them. */
ITP_FN uint64_t *itp_sort_u64(uint64_t *v, uint64_t *spare, size_t n)
{
    for (int shift = 0; shift < 64; shift += 8) {
        size_t count[257] = {0};
        for (size_t i = 0; i < n; i++) count[(v[i] >> shift & 255) + 1]++;
        bool one = false;
        for (int b = 0; b < 256; b++) one |= count[b + 1] == n;
        if (one) continue;
        for (int b = 0; b < 256; b++) count[b + 1] += count[b];
        for (size_t i = 0; i < n; i++) spare[count[v[i] >> shift & 255]++] = v[i];
        uint64_t *t = v;
        v = spare, spare = t;
    }
    return v;
}

/* ---- one grid of the hierarchy */

/* Its boxes, sorted by the set they are of. */
typedef struct itp_split {
    uint32_t sets;
    uint64_t *key;   /* keys of the boxes of all sets */
    uint32_t *first; /* [sets + 1] */
    itp_order order;
} itp_split;

ITP_FN void itp_split_free(interp_ctx *ctx, itp_split *s)
{
    interp_free(ctx, s->key);
    interp_free(ctx, s->first);
    interp_free(ctx, s->order.bits);
}

ITP_FN interp_status itp_too_many_sets(interp_ctx *ctx, size_t n)
{
    return itp_fail(
        ctx, INTERP_BAD_ARGUMENT,
        "morse: %zu sets return to themselves, more than %d; the grid is too coarse for "
        "this map, or every point stays where it is",
        n, ITP_SETS_MAX);
}

ITP_FN interp_status itp_split_by_set(interp_ctx *ctx, const itp_cubes *g, const itp_components *c,
                                      itp_split *s)
{
    s->sets = c->sets;
    if (c->sets > ITP_SETS_MAX) return itp_too_many_sets(ctx, c->sets);
    s->first = (uint32_t *)itp_calloc(ctx, (size_t)c->sets + 2, sizeof *s->first);
    if (!s->first) return INTERP_NO_MEMORY;
    for (uint32_t v = 0; v < g->n; v++)
        if (c->label[v] != ITP_NO_BOX) s->first[c->label[v] + 2]++;
    for (uint32_t i = 0; i < c->sets; i++) s->first[i + 2] += s->first[i + 1];
    s->key = (uint64_t *)interp_alloc(ctx, s->first[c->sets + 1] * sizeof *s->key);
    if (!s->key) return INTERP_NO_MEMORY;
    for (uint32_t v = 0; v < g->n; v++)
        if (c->label[v] != ITP_NO_BOX) s->key[s->first[c->label[v] + 1]++] = itp_box_key(g, v);
    return INTERP_OK;
}

/* Images and components of boxes keys[n] of `level` halvings; keys NULL: all. kept: NULL, or where images
   and components go instead of being freed. */
ITP_FN interp_status itp_split_grid(itp_hierarchy *h, const uint64_t *keys, uint32_t n, int level,
                                    itp_split *s, interp_morse *kept)
{
    interp_morse *m = h->m;
    interp_ctx *ctx = m->ctx;
    itp_cubes g = m->grid;
    itp_components c;
    itp_mapping f;
    memset(s, 0, sizeof *s);
    memset(&c, 0, sizeof c);
    f.ctx = ctx, f.map = m->map, f.g = &g;
    g.n = n, g.key = keys, g.level = NULL, g.bucket = NULL;
    if (!h->spread[level]) {
        h->spread[level] = (uint64_t *)interp_alloc(
            ctx, (size_t)itp_max(1, itp_cubes_spread(g.d, level)) * sizeof(uint64_t));
        if (h->spread[level]) itp_cubes_deepen(&g, level, h->spread[level]);
    } else {
        itp_cubes_shape(&g, level, h->spread[level]);
    }
    uint32_t *bucket =
        keys ? (uint32_t *)interp_alloc(ctx, itp_cubes_buckets(n, level) * sizeof *bucket) : NULL;
    itp_cells *image = (itp_cells *)interp_alloc(ctx, itp_mul_size(n, sizeof *image));
    interp_status status =
        h->spread[level] && image && (bucket || !keys) ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        if (keys) itp_cubes_index(&g, bucket);
        status = itp_images(&f, image);
    }
    if (!status) status = itp_components_find(ctx, &g, image, &c);
    if (!status) status = itp_split_by_set(ctx, &g, &c, s);
    if (!status) status = itp_order_of(ctx, &g, image, &c, c.label, c.sets, &s->order);
    if (status) itp_split_free(ctx, s);
    if (status || !kept) {
        interp_free(ctx, image);
        itp_components_free(ctx, &c);
    } else {
        kept->image = image;
        kept->parts = c;
    }
    interp_free(ctx, bucket);
    return status;
}

/* ---- the tree of grids */

/* What has become of a grid: the sets first..last below it; spurious when nothing lasts. */
typedef struct itp_branch {
    bool spurious;
    int first, last;
} itp_branch;

ITP_FN interp_status itp_hierarchy_leaves(itp_hierarchy *h, const uint64_t *keys, uint32_t n,
                                          int level)
{
    ITP_TRY(itp_longs_room(h->m->ctx, &h->leaves, n));
    for (uint32_t i = 0; i < n; i++)
        h->leaves.v[h->leaves.n++] = itp_leaf(keys ? keys[i] : i, level);
    return INTERP_OK;
}

ITP_FN interp_status itp_hierarchy_edge(itp_hierarchy *h, int from, int to)
{
    ITP_TRY(itp_longs_room(h->m->ctx, &h->edges, 1));
    h->edges.v[h->edges.n++] = (uint64_t)from << 32 | (uint64_t)to;
    return INTERP_OK;
}

/* The sets of a grid of depth min, those without a lasting child left out. */
ITP_FN interp_status itp_hierarchy_sets(itp_hierarchy *h, const itp_split *s,
                                        const itp_branch *child, itp_branch *out)
{
    interp_morse *m = h->m;
    int *id = (int *)interp_alloc(m->ctx, itp_max_size(1, s->sets) * sizeof *id);
    interp_status status = id ? INTERP_OK : INTERP_NO_MEMORY;
    for (uint32_t i = 0; i < s->sets && !status; i++) {
        const uint32_t n = s->first[i + 1] - s->first[i];
        id[i] = -1;
        if (child && child[i].spurious) continue;
        if (m->n_sets >= ITP_SETS_MAX) status = itp_too_many_sets(m->ctx, ITP_SETS_MAX + 1);
        if (!status) status = itp_longs_room(m->ctx, &h->found, n);
        if (!status) status = itp_longs_room(m->ctx, &h->ends, 1);
        if (status) break;
        memcpy(h->found.v + h->found.n, s->key + s->first[i], n * sizeof *s->key);
        h->found.n += n;
        h->ends.v[h->ends.n++] = h->found.n;
        id[i] = m->n_sets++;
        for (uint32_t k = 0; k < i && !status; k++)
            if (id[k] >= 0 && itp_leads(&s->order, i, k))
                status = itp_hierarchy_edge(h, id[i], id[k]);
    }
    out->last = m->n_sets;
    interp_free(m->ctx, id);
    return status;
}

/* Sets under a coarse one lead to those under another when the coarse one does. */
ITP_FN interp_status itp_hierarchy_inherit(itp_hierarchy *h, const itp_split *s,
                                           const itp_branch *child)
{
    for (uint32_t i = 0; i < s->sets; i++)
        for (uint32_t k = 0; k < i; k++) {
            if (!itp_leads(&s->order, i, k)) continue;
            for (int u = child[i].first; u < child[i].last; u++)
                for (int v = child[k].first; v < child[k].last; v++)
                    ITP_TRY(itp_hierarchy_edge(h, u, v));
        }
    return INTERP_OK;
}

ITP_FN interp_status itp_decompose(itp_hierarchy *h, const uint64_t *keys, uint32_t n, int depth,
                                   itp_branch *out);

/* Every set of a grid, halved once, is a grid by itself. */
ITP_FN interp_status itp_decompose_sets(itp_hierarchy *h, const itp_split *s, int depth,
                                        itp_branch *child)
{
    interp_ctx *ctx = h->m->ctx;
    for (uint32_t i = 0; i < s->sets; i++) {
        const uint32_t n = s->first[i + 1] - s->first[i];
        if (n > ITP_BOXES_MAX / 2)
            return itp_fail(ctx, INTERP_NO_MEMORY,
                            "morse: %u boxes are recurrent at depth %d; their halves are too many",
                            (unsigned)n, h->m->init + depth);
        uint64_t *half = (uint64_t *)interp_alloc(ctx, itp_mul_size(2 * (size_t)n, sizeof *half));
        if (!half) return INTERP_NO_MEMORY;
        for (uint32_t k = 0; k < n; k++) {
            half[2 * k] = s->key[s->first[i] + k] << 1;
            half[2 * k + 1] = half[2 * k] | 1;
        }
        const interp_status status = itp_decompose(h, half, 2 * n, depth + 1, &child[i]);
        interp_free(ctx, half);
        if (status) return status;
    }
    return INTERP_OK;
}

/* As CMGDB: down to depth min every set is a grid of its own; what is found there are the Morse sets;
   below, sets are only looked at for whether anything in them lasts. */
ITP_FN interp_status itp_decompose(itp_hierarchy *h, const uint64_t *keys, uint32_t n, int depth,
                                   itp_branch *out)
{
    interp_morse *m = h->m;
    const int level = m->init + depth;
    const size_t leaves = h->leaves.n;
    itp_split s;
    out->spurious = false;
    out->first = out->last = m->n_sets;
    if (depth > m->min && n > m->limit) return INTERP_OK;
    const bool whole = m->max == 0;
    ITP_TRY(itp_split_grid(h, keys, n, level, &s, whole ? m : NULL));
    out->spurious = s.sets == 0;
    itp_branch *child = NULL;
    interp_status status = whole ? INTERP_OK : itp_hierarchy_leaves(h, keys, n, level);
    if (!status && depth < m->max && s.sets) {
        child = (itp_branch *)itp_calloc(m->ctx, s.sets, sizeof *child);
        status = child ? itp_decompose_sets(h, &s, depth, child) : INTERP_NO_MEMORY;
        out->spurious = true;
        for (uint32_t i = 0; i < s.sets && !status; i++) out->spurious &= child[i].spurious;
    }
    /* Below min only spurious grids stay in the final one. */
    if (!status && depth == m->min + 1 && !out->spurious) h->leaves.n = leaves;
    if (!status && !out->spurious && depth == m->min)
        status = itp_hierarchy_sets(h, &s, child, out);
    if (!status && !out->spurious && depth < m->min) {
        out->last = m->n_sets;
        status = itp_hierarchy_inherit(h, &s, child);
    }
    interp_free(m->ctx, child);
    itp_split_free(m->ctx, &s);
    return status;
}

/* ---- the final grid */

/* Joins the leaves: of those on top of each other the deepest. */
ITP_FN interp_status itp_morse_join(interp_morse *m, itp_longs *leaves)
{
    itp_cubes *g = &m->grid;
    size_t n = 0;
    int depth = 0;
    uint64_t *spare = (uint64_t *)interp_alloc(m->ctx, itp_mul_size(leaves->n, sizeof *spare));
    if (!spare) return INTERP_NO_MEMORY;
    const uint64_t *v = itp_sort_u64(leaves->v, spare, leaves->n);
    for (size_t i = 0; i < leaves->n; i++) {
        n += i + 1 == leaves->n || v[i] >> 8 != v[i + 1] >> 8;
        depth = itp_max(depth, (int)(v[i] & 255));
    }
    m->key = (uint64_t *)interp_alloc(m->ctx, itp_mul_size(n, sizeof *m->key));
    m->level = (uint8_t *)interp_alloc(m->ctx, n);
    m->bucket =
        (uint32_t *)interp_alloc(m->ctx, itp_cubes_buckets((uint32_t)n, depth) * sizeof *m->bucket);
    m->spread = (uint64_t *)interp_alloc(m->ctx, (size_t)itp_max(1, itp_cubes_spread(g->d, depth)) *
                                                     sizeof *m->spread);
    const bool room = n < ITP_BOXES_MAX && m->key && m->level && m->bucket && m->spread;
    for (size_t i = 0, at = 0; room && i < leaves->n; i++)
        if (i + 1 == leaves->n || v[i] >> 8 != v[i + 1] >> 8) {
            m->key[at] = v[i] >> 8 >> (ITP_DEPTH_MAX - depth);
            m->level[at++] = (uint8_t)(v[i] & 255);
        }
    interp_free(m->ctx, spare);
    if (!room) return itp_fail(m->ctx, INTERP_NO_MEMORY, "morse: %zu boxes are too many", n);
    itp_cubes_deepen(g, depth, m->spread);
    g->n = (uint32_t)n;
    g->key = m->key, g->level = m->level;
    itp_cubes_index(g, m->bucket);
    return INTERP_OK;
}

/* All boxes of one depth: no list. */
ITP_FN interp_status itp_morse_whole(interp_morse *m)
{
    itp_cubes *g = &m->grid;
    m->spread = (uint64_t *)interp_alloc(
        m->ctx, (size_t)itp_max(1, itp_cubes_spread(g->d, m->init)) * sizeof *m->spread);
    if (!m->spread) return INTERP_NO_MEMORY;
    itp_cubes_deepen(g, m->init, m->spread);
    g->n = (uint32_t)1 << m->init;
    return INTERP_OK;
}

/* The boxes of the final grid that the sets are. */
ITP_FN interp_status itp_morse_find_sets(interp_morse *m, const itp_hierarchy *h)
{
    const itp_cubes *g = &m->grid;
    const int shift = g->depth - (m->init + m->min);
    itp_longs all = {NULL, 0, 0};
    interp_status status = INTERP_OK;
    m->first = (uint32_t *)itp_calloc(m->ctx, (size_t)m->n_sets + 1, sizeof *m->first);
    m->set = (uint32_t *)interp_alloc(m->ctx, itp_mul_size(g->n, sizeof *m->set));
    if (!m->first || !m->set) return INTERP_NO_MEMORY;
    memset(m->set, 255, (size_t)g->n * sizeof *m->set);
    for (int s = 0; s < m->n_sets && !status; s++) {
        for (size_t i = s ? (size_t)h->ends.v[s - 1] : 0; i < h->ends.v[s] && !status; i++) {
            const uint64_t key = h->found.v[i];
            const uint64_t from = shift >= 0 ? key << shift : key >> -shift;
            const uint64_t to = shift >= 0 ? from + ((uint64_t)1 << shift) : from + 1;
            uint32_t b = g->key ? itp_box_holding(g, from) : (uint32_t)from;
            for (; b < g->n && itp_box_key(g, b) < to && !status; b++) {
                status = itp_longs_room(m->ctx, &all, 1);
                if (status) break;
                all.v[all.n++] = b;
                m->set[b] = (uint32_t)s;
            }
        }
        m->first[s + 1] = (uint32_t)all.n;
    }
    m->box = (uint32_t *)interp_alloc(m->ctx, itp_max_size(1, all.n) * sizeof *m->box);
    if (!m->box) status = INTERP_NO_MEMORY;
    for (size_t i = 0; i < all.n && !status; i++) m->box[i] = (uint32_t)all.v[i];
    interp_free(m->ctx, all.v);
    return status;
}

/* Images of the final grid, once. */
ITP_FN interp_status itp_morse_images(interp_morse *m)
{
    if (m->image) return INTERP_OK;
    itp_mapping f;
    f.ctx = m->ctx, f.map = m->map, f.g = &m->grid;
    itp_cells *image = (itp_cells *)interp_alloc(m->ctx, itp_mul_size(m->grid.n, sizeof *image));
    const interp_status status = image ? itp_images(&f, image) : INTERP_NO_MEMORY;
    if (status) interp_free(m->ctx, image);
    else m->image = image;
    return status;
}

/* Components of the final grid, once. */
ITP_FN interp_status itp_morse_parts(interp_morse *m)
{
    ITP_TRY(itp_morse_images(m));
    if (m->parts.label) return INTERP_OK;
    return itp_components_find(m->ctx, &m->grid, m->image, &m->parts);
}

/* ---- public */

ITP_FN interp_status itp_morse_check(interp_ctx *ctx, const interp_map *map,
                                     const interp_morse_desc *o)
{
    ITP_TRY(itp_map_check(ctx, map));
    if (!o || !o->lower || !o->upper)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "morse: the domain is needed: lower and upper");
    for (int j = 0; j < map->dims; j++)
        if (!(o->upper[j] - o->lower[j] > 0) || !(o->upper[j] - o->lower[j] <= DBL_MAX))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "morse: axis %d of the domain goes from %g to %g; it needs a width", j,
                            o->lower[j], o->upper[j]);
    if (o->min < 0 || o->min > ITP_DEPTH_MAX || o->max < 0 || o->max > ITP_DEPTH_MAX ||
        o->init < 0 || o->init > 30 || o->limit < 0)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "morse: depths min %d, max %d, init %d; give up to %d, init up to 30, and a "
            "limit from 1",
            o->min, o->max, o->init, ITP_DEPTH_MAX);
    return INTERP_OK;
}

/* Depths with their defaults; false when they do not rise. */
ITP_FN bool itp_morse_depths(const interp_morse_desc *o, int *min, int *max, int *init)
{
    *min = o->min ? o->min : 12;
    *max = o->max ? o->max : *min;
    *init = o->init ? o->init : o->max ? 0 : *min;
    return *init <= *min && *min <= *max && *init <= 30;
}

/* Bytes while a uniform grid of 2^depth boxes is looked at. */
ITP_FN size_t itp_grid_bytes(const interp_map *map, int depth)
{
    const size_t n = (size_t)1 << depth;
    itp_cubes g;
    itp_mapping f;
    memset(&g, 0, sizeof g);
    memset(&f, 0, sizeof f);
    g.d = map->dims, g.depth = depth;
    for (int j = 0; j < g.d; j++) g.bits[j] = itp_axis_bits(g.d, depth, j);
    f.map = *map, f.g = &g;
    const size_t corners = itp_corners_shared(&f) ? itp_uniform_bytes(&f) : 0;
    /* label, order, reach, number, stack, open, low, gain, seen, or the lattice before them */
    const size_t search = itp_mul_size(n, 4 + 4 + 8 + 4 + 12 + 4 + 4 + 8) + n / 8 + 1024;
    return itp_add_size(
        itp_add_size(itp_mul_size(n, sizeof(itp_cells)), itp_max_size(corners, search)), 65536);
}

INTERP_API size_t interp_morse_bytes(const interp_map *map, const interp_morse_desc *desc)
{
    int min, max, init;
    if (!map || !desc || map->dims < 1 || map->dims > INTERP_MAP_DIMS ||
        !itp_morse_depths(desc, &min, &max, &init))
        return SIZE_MAX;
    /* sets and labels of the final grid stay beside what was found */
    return itp_add_size(itp_grid_bytes(map, init), itp_mul_size((size_t)1 << init, 20));
}

ITP_FN interp_status itp_morse_run(interp_morse *m)
{
    itp_hierarchy h;
    itp_branch all;
    memset(&h, 0, sizeof h);
    h.m = m;
    interp_status status = itp_decompose(&h, NULL, (uint32_t)1 << m->init, 0, &all);
    if (!status) status = m->max ? itp_morse_join(m, &h.leaves) : itp_morse_whole(m);
    if (!status) status = itp_morse_find_sets(m, &h);
    if (!status && m->exact && m->max) {
        status = itp_morse_parts(m);
        if (!status)
            status = itp_order_of(m->ctx, &m->grid, m->image, &m->parts, m->set,
                                  (uint32_t)m->n_sets, &m->order);
    } else if (!status) {
        status = itp_order_new(m->ctx, (uint32_t)m->n_sets, &m->order);
        for (size_t i = 0; i < h.edges.n && !status; i++) {
            const size_t from = (size_t)(h.edges.v[i] >> 32), to = h.edges.v[i] & 0xFFFFFFFFu;
            m->order.bits[from * m->order.words + to / 64] |= (uint64_t)1 << (to % 64);
        }
    }
    interp_free(m->ctx, h.leaves.v);
    interp_free(m->ctx, h.found.v);
    interp_free(m->ctx, h.ends.v);
    interp_free(m->ctx, h.edges.v);
    for (int k = 0; k <= ITP_DEPTH_MAX; k++) interp_free(m->ctx, h.spread[k]);
    return status;
}

INTERP_API interp_status interp_morse_new(interp_ctx *ctx, const interp_map *map,
                                          const interp_morse_desc *desc, interp_morse **morse)
{
    int min, max, init;
    ITP_TRY(itp_morse_check(ctx, map, desc));
    if (!itp_morse_depths(desc, &min, &max, &init))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "morse: depths init %d, min %d, max %d must rise, the whole grid of init is "
            "at most 2^30 boxes",
            init, min, max);
    const size_t bytes = interp_morse_bytes(map, desc), left = itp_memory_left(ctx);
    if (bytes > left)
        return itp_fail(ctx, INTERP_NO_MEMORY,
                        "morse: a grid of 2^%d boxes needs %zu bytes, but the limit leaves %zu",
                        init, bytes, left);
    interp_morse *m = (interp_morse *)itp_calloc(ctx, 1, sizeof *m);
    if (!m) return INTERP_NO_MEMORY;
    m->ctx = ctx;
    m->map = *map;
    m->init = init, m->min = min - init, m->max = max - init;
    m->limit = desc->limit ? (uint32_t)desc->limit : 10000;
    m->exact = desc->exact_edges;
    m->grid.d = map->dims;
    for (int j = 0; j < map->dims; j++) {
        m->grid.lower[j] = desc->lower[j], m->grid.upper[j] = desc->upper[j];
        m->grid.periodic[j] = desc->periodic && desc->periodic[j];
        m->grid.wraps |= m->grid.periodic[j];
    }
    const interp_status status = itp_morse_run(m);
    if (status) interp_morse_free(m);
    else *morse = m;
    return status;
}

INTERP_API void interp_morse_free(interp_morse *m)
{
    if (!m) return;
    interp_ctx *ctx = m->ctx;
    interp_free(ctx, m->key);
    interp_free(ctx, m->level);
    interp_free(ctx, m->bucket);
    interp_free(ctx, m->spread);
    interp_free(ctx, m->image);
    itp_components_free(ctx, &m->parts);
    interp_free(ctx, m->box);
    interp_free(ctx, m->first);
    interp_free(ctx, m->set);
    interp_free(ctx, m->order.bits);
    interp_free(ctx, m);
}

INTERP_API uint32_t interp_morse_boxes(const interp_morse *m)
{
    return m->grid.n;
}

INTERP_API int interp_morse_count(const interp_morse *m)
{
    return m->n_sets;
}

INTERP_API const uint32_t *interp_morse_set(const interp_morse *m, int set, uint32_t *n)
{
    *n = 0;
    if (set < 0 || set >= m->n_sets) return NULL;
    *n = m->first[set + 1] - m->first[set];
    return m->box + m->first[set];
}

INTERP_API void interp_morse_box(const interp_morse *m, uint32_t box, double *lower, double *upper)
{
    itp_box_ends(&m->grid, box, lower, upper);
}

INTERP_API uint32_t interp_morse_find(const interp_morse *m, const double *x)
{
    const itp_cubes *g = &m->grid;
    uint64_t key = 0;
    for (int j = 0; j < g->d; j++) {
        double part = (x[j] - g->lower[j]) / (g->upper[j] - g->lower[j]);
        const double cells = (double)((uint64_t)1 << g->bits[j]);
        if (g->periodic[j]) part -= floor(part);
        if (!(part >= 0 && part <= 1)) return ITP_NO_BOX;
        const uint64_t i = (uint64_t)(part * cells);
        key |= itp_spread(g, j, i < (uint64_t)cells ? i : (uint64_t)cells - 1);
    }
    return g->key ? itp_box_holding(g, key) : (uint32_t)key;
}

INTERP_API bool interp_morse_reaches(const interp_morse *m, int from, int to)
{
    return from >= 0 && to >= 0 && from < m->n_sets && to < m->n_sets && from != to &&
           itp_leads(&m->order, (uint32_t)from, (uint32_t)to);
}

INTERP_API bool interp_morse_edge(const interp_morse *m, int from, int to)
{
    if (!interp_morse_reaches(m, from, to)) return false;
    for (int k = to + 1; k < from; k++)
        if (interp_morse_reaches(m, from, k) && interp_morse_reaches(m, k, to)) return false;
    return true;
}

INTERP_API interp_status interp_morse_image(interp_morse *m, uint32_t box, uint32_t *out,
                                            uint32_t *n)
{
    if (box >= m->grid.n)
        return itp_fail(m->ctx, INTERP_BAD_ARGUMENT, "morse: box %u of %u", (unsigned)box,
                        (unsigned)m->grid.n);
    ITP_TRY(itp_morse_images(m));
    const size_t room = itp_boxes_room(&m->grid);
    uint32_t *work = out;
    if (room > m->grid.n) work = (uint32_t *)interp_alloc(m->ctx, room * sizeof *work);
    if (!work) return INTERP_NO_MEMORY;
    *n = itp_boxes(&m->grid, m->image[box], work);
    if (work == out) return INTERP_OK;
    memcpy(out, work, *n * sizeof *out);
    interp_free(m->ctx, work);
    return INTERP_OK;
}

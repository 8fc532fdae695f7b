/* ---- dynamics/components.c: what returns to itself, and what leads where ------------------------- */

/* Strongly connected components of the map between boxes. A box of none that returns to itself is a
   component by itself. */
typedef struct itp_components {
    uint32_t n, sets; /* boxes; components that return to themselves */
    uint32_t *label;  /* [n]: set of each box, ITP_NO_BOX: of none */
    uint32_t *order;  /* [n]: a box comes after all that it leads to; those of a set in a row */
    uint64_t *reach;  /* [n]: bit s: it leads to set s or is of it; of the first 64 */
} itp_components;

#define ITP_DONE UINT32_MAX
#define ITP_LEFT ((uint32_t)1 << 31) /* on the stack: to be left, not entered */

typedef struct itp_dfs {
    const itp_cubes *g;
    const itp_cells *image;
    itp_components *c;
    uint32_t *number; /* [n]: 0 not seen, else in order of being seen, ITP_DONE */
    uint32_t *stack;  /* boxes to enter or to leave */
    uint32_t *open;   /* [n]: seen, not in a component yet */
    uint32_t *low;    /* [n]: of the path, least number it returns to */
    uint64_t *gain;   /* [n]: of the path, sets it leads to */
    uint8_t *seen;    /* [n/8 + 1] */
    size_t top, room;
    uint32_t seen_count, opened, done, depth;
} itp_dfs;

ITP_FN void itp_components_free(interp_ctx *ctx, itp_components *c)
{
    interp_free(ctx, c->label);
    interp_free(ctx, c->order);
    interp_free(ctx, c->reach);
    memset(c, 0, sizeof *c);
}

/* Of what is to be entered, drops what was entered already and all but the topmost of equals. */
ITP_FN void itp_dfs_tidy(itp_dfs *s)
{
    size_t kept = s->top;
    memset(s->seen, 0, s->g->n / 8 + 1);
    for (size_t i = s->top; i-- > 0;) {
        const uint32_t v = s->stack[i];
        if (!(v & ITP_LEFT)) {
            if (s->number[v] || (s->seen[v >> 3] >> (v & 7) & 1)) continue;
            s->seen[v >> 3] = (uint8_t)(s->seen[v >> 3] | 1 << (v & 7));
        }
        s->stack[--kept] = v;
    }
    memmove(s->stack, s->stack + kept, (s->top - kept) * sizeof *s->stack);
    s->top -= kept;
}

ITP_FN void itp_dfs_enter(itp_dfs *s, uint32_t u)
{
    uint32_t low = ++s->seen_count, kept = 0;
    uint64_t gain = 0;
    bool self = false;
    s->number[u] = low;
    s->stack[s->top++] = u | ITP_LEFT;
    if (s->top > 2 * (size_t)s->g->n) itp_dfs_tidy(s);
    uint32_t *to = s->stack + s->top;
    const uint32_t n = itp_boxes(s->g, s->image[u], to);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t w = to[i], number = s->number[w];
        if (!number) to[kept++] = w;
        else if (number == ITP_DONE) gain |= s->c->reach[w];
        else if (number < low) low = number;
        self |= w == u;
    }
    s->top += kept;
    s->c->label[u] = self ? 0 : ITP_NO_BOX;
    s->low[s->depth] = low;
    s->gain[s->depth++] = gain;
    s->open[s->opened++] = u;
}

/* The boxes above and with u on the open stack are a component. */
ITP_FN uint64_t itp_dfs_close(itp_dfs *s, uint32_t u, uint64_t gain)
{
    uint32_t from = s->opened;
    while (s->open[--from] != u) continue;
    const bool recurrent = s->opened - from > 1 || s->c->label[u] == 0;
    const uint32_t set = recurrent ? s->c->sets++ : ITP_NO_BOX;
    if (set < 64) gain |= (uint64_t)1 << set;
    while (s->opened > from) {
        const uint32_t w = s->open[--s->opened];
        s->number[w] = ITP_DONE;
        s->c->label[w] = set;
        s->c->reach[w] = gain;
        s->c->order[s->done++] = w;
    }
    return gain;
}

ITP_FN void itp_dfs_leave(itp_dfs *s, uint32_t u)
{
    const uint32_t low = s->low[--s->depth];
    uint64_t gain = s->gain[s->depth];
    if (low == s->number[u]) gain = itp_dfs_close(s, u, gain);
    if (!s->depth) return;
    s->gain[s->depth - 1] |= gain;
    if (low < s->low[s->depth - 1]) s->low[s->depth - 1] = low;
}

/* Tarjan's components (1972), each image looked at once, boxes with the highest number first as CMGDB
   does; what leads to a set is known when its component is closed. */
ITP_FN interp_status itp_components_find(interp_ctx *ctx, const itp_cubes *g,
                                         const itp_cells *image, itp_components *c)
{
    const size_t n = g->n;
    itp_dfs s;
    memset(&s, 0, sizeof s);
    memset(c, 0, sizeof *c);
    s.g = g, s.image = image, s.c = c;
    s.room = 2 * n + itp_boxes_room(g) + 8;
    c->n = g->n;
    c->label = (uint32_t *)interp_alloc(ctx, n * sizeof *c->label);
    c->order = (uint32_t *)interp_alloc(ctx, n * sizeof *c->order);
    c->reach = (uint64_t *)interp_alloc(ctx, n * sizeof *c->reach);
    s.number = (uint32_t *)itp_calloc(ctx, n, sizeof *s.number);
    s.stack = (uint32_t *)interp_alloc(ctx, itp_mul_size(s.room, sizeof *s.stack));
    s.open = (uint32_t *)interp_alloc(ctx, n * sizeof *s.open);
    s.low = (uint32_t *)interp_alloc(ctx, n * sizeof *s.low);
    s.gain = (uint64_t *)interp_alloc(ctx, n * sizeof *s.gain);
    s.seen = (uint8_t *)interp_alloc(ctx, n / 8 + 1);
    interp_status status = c->label && c->order && c->reach && s.number && s.stack && s.open &&
                                   s.low && s.gain && s.seen
                               ? INTERP_OK
                               : INTERP_NO_MEMORY;
    for (uint32_t v = 0; v < g->n && !status; v++) {
        if ((v & 0xFFFFF) == 0)
            status = itp_progress(ctx, "components", (double)s.done, (double)n, (double)NAN);
        if (s.number[v] || status) continue;
        s.stack[s.top++] = v;
        while (s.top) {
            const uint32_t u = s.stack[--s.top];
            if (u & ITP_LEFT) itp_dfs_leave(&s, u & ~ITP_LEFT);
            else if (!s.number[u]) itp_dfs_enter(&s, u);
        }
    }
    interp_free(ctx, s.number);
    interp_free(ctx, s.stack);
    interp_free(ctx, s.open);
    interp_free(ctx, s.low);
    interp_free(ctx, s.gain);
    interp_free(ctx, s.seen);
    if (status) itp_components_free(ctx, c);
    return status;
}

/* End of the component that begins at place `from` of the order. */
ITP_INLINE uint32_t itp_component_end(const itp_components *c, uint32_t from)
{
    const uint32_t label = c->label[c->order[from]];
    uint32_t to = from + 1;
    if (label != ITP_NO_BOX)
        while (to < c->n && c->label[c->order[to]] == label) to++;
    return to;
}

/* Which boxes are looked for by their bits: set 64 group + s has bit s. */
typedef struct itp_marks {
    const uint32_t *set; /* [n]; ITP_NO_BOX: of none */
    uint32_t group;
} itp_marks;

ITP_INLINE uint64_t itp_mark(itp_marks m, uint32_t box)
{
    return m.set[box] / 64 == m.group ? (uint64_t)1 << m.set[box] % 64 : 0;
}

/* bits[n]: sets that each box leads to or is of. work has room for a box's images. */
ITP_FN void itp_reach_down(const itp_cubes *g, const itp_cells *image, const itp_components *c,
                           itp_marks m, uint64_t *bits, uint32_t *work)
{
    memset(bits, 0, c->n * sizeof *bits);
    for (uint32_t from = 0, to; from < c->n; from = to) {
        uint64_t all = 0;
        to = itp_component_end(c, from);
        for (uint32_t i = from; i < to; i++) {
            const uint32_t n = itp_boxes(g, image[c->order[i]], work);
            all |= itp_mark(m, c->order[i]);
            for (uint32_t k = 0; k < n; k++) all |= bits[work[k]];
        }
        for (uint32_t i = from; i < to; i++) bits[c->order[i]] = all;
    }
}

/* bits[n]: sets that lead to each box or that it is of. */
ITP_FN void itp_reach_up(const itp_cubes *g, const itp_cells *image, const itp_components *c,
                         itp_marks m, uint64_t *bits, uint32_t *work)
{
    memset(bits, 0, c->n * sizeof *bits);
    for (uint32_t to = c->n, from; to > 0; to = from) {
        const uint32_t label = c->label[c->order[to - 1]];
        uint64_t all = 0;
        from = to - 1;
        if (label != ITP_NO_BOX)
            while (from > 0 && c->label[c->order[from - 1]] == label) from--;
        for (uint32_t i = from; i < to; i++) all |= bits[c->order[i]] | itp_mark(m, c->order[i]);
        for (uint32_t i = from; i < to; i++) {
            bits[c->order[i]] = all;
            const uint32_t n = itp_boxes(g, image[c->order[i]], work);
            for (uint32_t k = 0; k < n; k++) bits[work[k]] |= all;
        }
    }
}

/* Rows of bits: what leads to what among the sets. */
typedef struct itp_order {
    uint32_t n;
    size_t words;   /* of a row */
    uint64_t *bits; /* [n, words]: set i leads to set j, or i is j */
} itp_order;

ITP_INLINE bool itp_leads(const itp_order *o, uint32_t i, uint32_t j)
{
    return o->bits[i * o->words + j / 64] >> (j % 64) & 1;
}

ITP_FN interp_status itp_order_new(interp_ctx *ctx, uint32_t n, itp_order *o)
{
    o->n = n;
    o->words = itp_max_size(1, (n + 63) / 64);
    o->bits = (uint64_t *)itp_calloc(ctx, itp_max_size(1, n), o->words * sizeof *o->bits);
    for (uint32_t i = 0; o->bits && i < n; i++)
        o->bits[i * o->words + i / 64] |= (uint64_t)1 << (i % 64);
    return o->bits ? INTERP_OK : INTERP_NO_MEMORY;
}

/* The order of `sets` sets of boxes, set[n] of each. Only what goes down in number counts: the sets of a
   grid are in such an order, and those that lead to each other on a coarser one are not told apart. */
ITP_FN interp_status itp_order_of(interp_ctx *ctx, const itp_cubes *g, const itp_cells *image,
                                  const itp_components *c, const uint32_t *set, uint32_t sets,
                                  itp_order *o)
{
    const bool known = set == c->label && sets <= 64;
    interp_status status = itp_order_new(ctx, sets, o);
    uint64_t *bits = known ? c->reach : (uint64_t *)interp_alloc(ctx, c->n * sizeof *bits);
    uint32_t *work = known ? NULL : (uint32_t *)interp_alloc(ctx, itp_boxes_room(g) * sizeof *work);
    if (!bits || (!known && !work)) status = INTERP_NO_MEMORY;
    for (itp_marks m = {set, 0}; m.group * 64 < sets && !status; m.group++) {
        if (!known) itp_reach_down(g, image, c, m, bits, work);
        for (uint32_t v = 0; v < c->n; v++)
            if (set[v] != ITP_NO_BOX) o->bits[set[v] * o->words + m.group] |= bits[v];
        status = itp_progress(ctx, "reachability", (double)m.group * 64, (double)sets, (double)NAN);
    }
    for (uint32_t i = 0; i < sets && !status; i++)
        for (uint32_t j = i + 1; j < sets; j++)
            o->bits[i * o->words + j / 64] &= ~((uint64_t)1 << (j % 64));
    if (!known) interp_free(ctx, bits);
    interp_free(ctx, work);
    if (!status) return INTERP_OK;
    interp_free(ctx, o->bits);
    memset(o, 0, sizeof *o);
    return status;
}

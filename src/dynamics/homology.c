/* ---- dynamics/homology.c: homology of cubical complexes over Z/p -------------------------------- */

/* Cells of a grid have an address with one coordinate for each axis: even where they are flat, odd where
   they have the width of a box; box i has 2 i + 1. A complex is any set of cells; faces that are not in it
   count as nothing, so that it may be one set relative to another. */
typedef struct itp_complex {
    interp_ctx *ctx;
    int d, p;
    uint64_t size[INTERP_MAP_DIMS], step[INTERP_MAP_DIMS]; /* coordinates of an axis; see wrap */
    bool wrap[INTERP_MAP_DIMS]; /* the last is next to the first; where it is not, one coordinate
                                   after it has no cells, so that steps off an end find nothing */
    uint32_t n;                 /* cells */
    uint64_t *address;          /* [n] */
    uint32_t *table;            /* [places]: cell of each; ITP_NO_BOX: none */
    size_t places;
    size_t slots;     /* places, a power of two, hashed; 0: the address is the place */
    uint32_t *rank;   /* [n]: when it was removed */
    uint32_t *mate;   /* [n]: the cell it went with; itself when it is critical */
    uint8_t *wide;    /* [n]: bit j: it has width on axis j */
    uint8_t *left;    /* [n]: faces that are still there */
    uint8_t *removed; /* [n] */
    uint32_t *queue;  /* [n] */
    uint32_t n_critical, *critical;      /* by dimension, then by rank */
    uint32_t first[INTERP_MAP_DIMS + 2]; /* of each dimension */
    uint8_t *coef;                       /* [n]: of the chain that flows */
    uint32_t *heap, heaped;
} itp_complex;

/* One cell and its coefficient in a chain. */
typedef struct itp_term {
    uint64_t cell; /* a number or an address */
    uint32_t coef; /* 1 .. p-1 */
} itp_term;

typedef struct itp_chain {
    itp_term *term;
    size_t n, room;
} itp_chain;

ITP_FN interp_status itp_chain_add(interp_ctx *ctx, itp_chain *c, uint64_t cell, uint32_t coef)
{
    ITP_TRY(itp_make_room(ctx, &c->term, c->n, &c->room, 1, sizeof *c->term));
    c->term[c->n].cell = cell;
    c->term[c->n++].coef = coef;
    return INTERP_OK;
}

ITP_FN uint32_t itp_inverse_mod(uint32_t a, uint32_t p)
{
    uint32_t r = 1;
    for (uint32_t e = p - 2, b = a % p; e; e >>= 1, b = b * b % p)
        if (e & 1) r = r * b % p;
    return r;
}

/* ---- cells */

ITP_INLINE uint32_t itp_cell_at(const itp_complex *c, uint64_t address)
{
    if (!c->slots) return address < c->places ? c->table[address] : ITP_NO_BOX;
    size_t at = (size_t)((address * 0x9E3779B97F4A7C15u) >> 20) & (c->slots - 1);
    while (c->table[at] != ITP_NO_BOX && c->address[c->table[at]] != address)
        at = (at + 1) & (c->slots - 1);
    return c->table[at];
}

enum { ITP_LEFT_UNKNOWN = 255 };

/* Adds a cell that is not there; left: how many of its faces will be, or ITP_LEFT_UNKNOWN. */
ITP_FN void itp_cell_add(itp_complex *c, uint64_t address, unsigned wide, int left)
{
    size_t at = (size_t)address;
    if (c->slots) {
        at = (size_t)((address * 0x9E3779B97F4A7C15u) >> 20) & (c->slots - 1);
        while (c->table[at] != ITP_NO_BOX) at = (at + 1) & (c->slots - 1);
    }
    c->table[at] = c->n;
    c->address[c->n] = address;
    c->left[c->n] = (uint8_t)left;
    c->wide[c->n++] = (uint8_t)wide;
}

/* Coordinates of an address. */
ITP_INLINE void itp_address_split(const itp_complex *c, uint64_t address, uint64_t *at)
{
    for (int j = c->d - 1; j >= 0; j--) at[j] = address / c->step[j] % c->size[j];
}

/* On which axes a cell has width: a bit for each. */
ITP_FN unsigned itp_address_wide(const itp_complex *c, uint64_t address)
{
    uint64_t at[INTERP_MAP_DIMS];
    unsigned wide = 0;
    itp_address_split(c, address, at);
    for (int j = 0; j < c->d; j++) wide |= (unsigned)(at[j] & 1) << j;
    return wide;
}

ITP_INLINE int itp_cell_dim(const itp_complex *c, uint32_t cell)
{
    return itp_bit_count(c->wide[cell]);
}

/* The addresses below and above one on an axis. */
ITP_INLINE void itp_cell_beside(const itp_complex *c, uint64_t address, int j, uint64_t *near)
{
    const uint64_t step = c->step[j];
    near[0] = address - step, near[1] = address + step;
    if (!c->wrap[j]) return;
    const uint64_t at = address / step % c->size[j];
    if (at == 0) near[0] += c->size[j] * step;
    if (at + 1 == c->size[j]) near[1] -= c->size[j] * step;
}

/* A cell's neighbours: faces when `faces`, else the cells it is a face of, there or not. minus: its sign
   in the boundary of the larger one. Returns how many there are. */
ITP_FN int itp_cell_near(const itp_complex *c, uint64_t address, unsigned wide, bool faces,
                         uint64_t *near, bool *minus)
{
    int n = 0;
    bool odd = false;
    for (int j = 0; j < c->d; j++, wide >>= 1) {
        const bool has_width = wide & 1;
        if (has_width == faces) {
            itp_cell_beside(c, address, j, near + n);
            /* the upper face counts +, and a cell is the lower face of the one above it */
            minus[n] = odd == !faces;
            minus[n + 1] = odd == faces;
            n += 2;
        }
        odd = odd != has_width;
    }
    return n;
}

/* ---- coreduction: cells go in pairs, one whose only face left is the other; what has no such partner is
   critical (Mrozek and Batko 2009) */

ITP_FN void itp_cell_remove(itp_complex *c, uint32_t cell, uint32_t *tail)
{
    uint64_t near[2];
    c->removed[cell] = 1;
    for (int j = 0; j < c->d; j++) {
        if (c->wide[cell] >> j & 1) continue;
        itp_cell_beside(c, c->address[cell], j, near);
        for (int i = 0; i < 2; i++) {
            const uint32_t k = itp_cell_at(c, near[i]);
            if (k == ITP_NO_BOX || c->removed[k]) continue;
            if (--c->left[k] == 1) c->queue[(*tail)++] = k;
        }
    }
}

/* The one face of a cell that is still there. */
ITP_FN uint32_t itp_cell_last_face(const itp_complex *c, uint32_t cell)
{
    uint64_t near[2];
    for (int j = 0; j < c->d; j++) {
        if (!(c->wide[cell] >> j & 1)) continue;
        itp_cell_beside(c, c->address[cell], j, near);
        for (int i = 0; i < 2; i++) {
            const uint32_t q = itp_cell_at(c, near[i]);
            if (q != ITP_NO_BOX && !c->removed[q]) return q;
        }
    }
    return ITP_NO_BOX;
}

/* Ranks, mates and critical cells. Every cell enters the queue at most once: when its second last face
   goes. */
ITP_FN void itp_coreduce(itp_complex *c)
{
    uint64_t near[2 * INTERP_MAP_DIMS];
    bool minus[2 * INTERP_MAP_DIMS];
    uint32_t head = 0, tail = 0, rank = 0, by_dim[INTERP_MAP_DIMS + 2] = {0};
    c->n_critical = 0;
    memset(c->removed, 0, c->n);
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->left[i] == ITP_LEFT_UNKNOWN) {
            const int n = itp_cell_near(c, c->address[i], c->wide[i], true, near, minus);
            c->left[i] = 0;
            for (int k = 0; k < n; k++)
                c->left[i] = (uint8_t)(c->left[i] + (itp_cell_at(c, near[k]) != ITP_NO_BOX));
        }
        if (c->left[i] == 1) c->queue[tail++] = i;
        by_dim[itp_cell_dim(c, i) + 1]++;
    }
    for (int k = 0; k <= c->d; k++) by_dim[k + 1] += by_dim[k];
    for (uint32_t i = 0; i < c->n; i++)
        c->heap[by_dim[itp_cell_dim(c, i)]++] = i; /* in order of it */
    for (uint32_t next = 0; next < c->n;) {
        while (head < tail) {
            const uint32_t king = c->queue[head++];
            if (c->removed[king] || c->left[king] != 1) continue;
            const uint32_t queen = itp_cell_last_face(c, king);
            c->mate[queen] = king, c->mate[king] = queen;
            c->rank[queen] = c->rank[king] = rank++;
            c->removed[king] = 1;
            itp_cell_remove(c, queen, &tail);
            itp_cell_remove(c, king, &tail);
        }
        while (next < c->n && c->removed[c->heap[next]]) next++;
        if (next == c->n) break;
        const uint32_t ace = c->heap[next];
        c->mate[ace] = ace;
        c->rank[ace] = rank++;
        c->critical[c->n_critical++] = ace;
        itp_cell_remove(c, ace, &tail);
    }
    /* they came by dimension already: the lowest that is left is taken first, and none lower appears */
    memset(c->first, 0, sizeof c->first);
    for (uint32_t i = 0; i < c->n_critical; i++) c->first[itp_cell_dim(c, c->critical[i]) + 1]++;
    for (int k = 0; k <= c->d; k++) c->first[k + 1] += c->first[k];
}

/* ---- flow: a chain loses its queens, the one removed last first, by boundaries of their kings */

ITP_INLINE bool itp_is_queen(const itp_complex *c, uint32_t cell)
{
    return c->wide[c->mate[cell]] > c->wide[cell]; /* it has the cell's width and one axis more */
}

ITP_FN void itp_heap_push(itp_complex *c, uint32_t cell)
{
    uint32_t at = c->heaped++;
    while (at > 0) {
        const uint32_t above = (at - 1) / 2;
        if (c->rank[c->heap[above]] >= c->rank[cell]) break;
        c->heap[at] = c->heap[above];
        at = above;
    }
    c->heap[at] = cell;
}

ITP_FN uint32_t itp_heap_pop(itp_complex *c)
{
    const uint32_t top = c->heap[0], last = c->heap[--c->heaped];
    uint32_t at = 0;
    for (;;) {
        uint32_t below = 2 * at + 1;
        if (below >= c->heaped) break;
        if (below + 1 < c->heaped && c->rank[c->heap[below + 1]] > c->rank[c->heap[below]]) below++;
        if (c->rank[c->heap[below]] <= c->rank[last]) break;
        c->heap[at] = c->heap[below];
        at = below;
    }
    c->heap[at] = last;
    return top;
}

/* Adds to the flowing chain; queens enter the heap when they appear. `removed` marks those in it or that
   were critical and seen. */
ITP_FN interp_status itp_flow_add(itp_complex *c, uint32_t cell, uint32_t coef, itp_chain *seen)
{
    c->coef[cell] = (uint8_t)((c->coef[cell] + coef) % (uint32_t)c->p);
    if (c->removed[cell] == 2) return INTERP_OK;
    c->removed[cell] = 2;
    if (itp_is_queen(c, cell)) itp_heap_push(c, cell);
    else return itp_chain_add(c->ctx, seen, cell, 0);
    return INTERP_OK;
}

/* coef times the boundary of a cell. */
ITP_FN interp_status itp_flow_boundary(itp_complex *c, uint32_t cell, uint32_t coef,
                                       itp_chain *seen)
{
    uint64_t near[2 * INTERP_MAP_DIMS];
    bool minus[2 * INTERP_MAP_DIMS];
    const int n = itp_cell_near(c, c->address[cell], c->wide[cell], true, near, minus);
    for (int i = 0; i < n; i++) {
        const uint32_t f = itp_cell_at(c, near[i]);
        if (f == ITP_NO_BOX) continue;
        ITP_TRY(itp_flow_add(c, f, minus[i] ? (uint32_t)c->p - coef : coef, seen));
    }
    return INTERP_OK;
}

/* Empties the heap: kings takes what was added of their boundaries, with the sign that takes it away;
   what is left goes to `rest`: critical cells, by number. seen is emptied. */
ITP_FN interp_status itp_flow_run(itp_complex *c, itp_chain *kings, itp_chain *rest,
                                  itp_chain *seen)
{
    uint64_t near[2 * INTERP_MAP_DIMS];
    bool minus[2 * INTERP_MAP_DIMS];
    const uint32_t p = (uint32_t)c->p;
    while (c->heaped) {
        const uint32_t queen = itp_heap_pop(c), king = c->mate[queen], v = c->coef[queen];
        c->removed[queen] = 1;
        if (!v) continue;
        const int n = itp_cell_near(c, c->address[king], c->wide[king], true, near, minus);
        uint32_t factor = 0;
        for (int i = 0; i < n; i++)
            if (near[i] == c->address[queen]) factor += minus[i] ? p - 1 : 1;
        factor = v * itp_inverse_mod(factor % p, p) % p;
        if (kings) ITP_TRY(itp_chain_add(c->ctx, kings, king, factor));
        ITP_TRY(itp_flow_boundary(c, king, p - factor, seen));
    }
    for (size_t i = 0; i < seen->n; i++) {
        const uint32_t cell = (uint32_t)seen->term[i].cell, v = c->coef[cell];
        c->coef[cell] = 0;
        c->removed[cell] = 1;
        if (rest && v && c->mate[cell] == cell) ITP_TRY(itp_chain_add(c->ctx, rest, cell, v));
    }
    seen->n = 0;
    return INTERP_OK;
}

/* ---- homology of what is critical */

/* Of one dimension: k critical cells, numbered from 0. Columns of dimension above and of this one are
   reduced from the left, so that no two end at the same row. */
typedef struct itp_level {
    uint32_t n;
    uint8_t *cycle;   /* [n,n]: column j is the chain whose boundary is reduced column j */
    uint8_t *reduced; /* [n, n below]: boundaries */
    uint32_t *pivot;  /* [n]: of this level's cells: the column above that ends at it, ITP_NO_BOX */
    uint32_t *essential;        /* [n]: generator that ends at it, ITP_NO_BOX */
    uint32_t betti, *generator; /* [betti]: columns that are cycles and no boundaries */
} itp_level;

typedef struct itp_homology {
    itp_complex *c;
    itp_level level[INTERP_MAP_DIMS + 1];
} itp_homology;

ITP_FN void itp_homology_free(itp_homology *h)
{
    for (int k = 0; h->c && k <= h->c->d; k++) {
        itp_level *l = &h->level[k];
        interp_free(h->c->ctx, l->cycle);
        interp_free(h->c->ctx, l->reduced);
        interp_free(h->c->ctx, l->pivot);
        interp_free(h->c->ctx, l->essential);
        interp_free(h->c->ctx, l->generator);
    }
    memset(h, 0, sizeof *h);
}

/* Place of a critical cell in its dimension: kept in `queue`, which coreduction no longer needs. */
ITP_INLINE uint32_t itp_critical_place(const itp_complex *c, uint32_t cell)
{
    return c->queue[cell];
}

ITP_INLINE void itp_column_add(uint8_t *to, const uint8_t *from, size_t n, uint32_t factor,
                               uint32_t p)
{
    for (size_t i = 0; i < n; i++) to[i] = (uint8_t)((to[i] + factor * from[i]) % p);
}

/* Reduces the columns of level k against each other; pivots are rows of the level below. */
ITP_FN interp_status itp_level_reduce(itp_homology *h, int k, itp_chain *rest, itp_chain *seen)
{
    itp_complex *c = h->c;
    itp_level *l = &h->level[k], *below = k ? &h->level[k - 1] : NULL;
    const uint32_t p = (uint32_t)c->p, rows = below ? below->n : 0;
    for (uint32_t j = 0; j < l->n; j++) {
        uint8_t *column = l->reduced + (size_t)j * rows, *cycle = l->cycle + (size_t)j * l->n;
        cycle[j] = 1;
        rest->n = 0;
        if (rows) {
            ITP_TRY(itp_flow_boundary(c, c->critical[c->first[k] + j], 1, seen));
            ITP_TRY(itp_flow_run(c, NULL, rest, seen));
        }
        for (size_t i = 0; i < rest->n; i++)
            column[itp_critical_place(c, (uint32_t)rest->term[i].cell)] =
                (uint8_t)rest->term[i].coef;
        for (uint32_t r = rows; r-- > 0;) {
            if (!column[r]) continue;
            const uint32_t o = below->pivot[r];
            if (o == ITP_NO_BOX) {
                below->pivot[r] = j;
                break;
            }
            const uint8_t *other = l->reduced + (size_t)o * rows;
            const uint32_t factor = (p - column[r]) * itp_inverse_mod(other[r], p) % p;
            itp_column_add(column, other, r + 1, factor, p);
            itp_column_add(cycle, l->cycle + (size_t)o * l->n, l->n, factor, p);
        }
    }
    return INTERP_OK;
}

/* Generators of all dimensions, after coreduction. */
ITP_FN interp_status itp_homology_find(itp_complex *c, itp_homology *h)
{
    itp_chain rest = {NULL, 0, 0}, seen = {NULL, 0, 0};
    interp_status status = INTERP_OK;
    memset(h, 0, sizeof *h);
    h->c = c;
    memset(c->coef, 0, c->n);
    c->heaped = 0;
    for (int k = 0; k <= c->d; k++)
        for (uint32_t i = c->first[k]; i < c->first[k + 1]; i++)
            c->queue[c->critical[i]] = i - c->first[k];
    for (int k = 0; k <= c->d && !status; k++) {
        itp_level *l = &h->level[k];
        const size_t n = l->n = c->first[k + 1] - c->first[k], rows = k ? h->level[k - 1].n : 0;
        l->cycle = (uint8_t *)itp_calloc(c->ctx, itp_max_size(1, n), itp_max_size(1, n));
        l->reduced = (uint8_t *)itp_calloc(c->ctx, itp_max_size(1, n), itp_max_size(1, rows));
        l->pivot = (uint32_t *)interp_alloc(c->ctx, itp_max_size(1, n) * sizeof *l->pivot);
        l->essential = (uint32_t *)interp_alloc(c->ctx, itp_max_size(1, n) * sizeof *l->pivot);
        l->generator = (uint32_t *)interp_alloc(c->ctx, itp_max_size(1, n) * sizeof *l->pivot);
        if (!l->cycle || !l->reduced || !l->pivot || !l->essential || !l->generator) {
            status = INTERP_NO_MEMORY;
            break;
        }
        memset(l->pivot, 255, n * sizeof *l->pivot);
        status = itp_level_reduce(h, k, &rest, &seen);
    }
    for (int k = 0; k <= c->d && !status; k++) {
        itp_level *l = &h->level[k];
        const size_t rows = k ? h->level[k - 1].n : 0;
        for (uint32_t j = 0; j < l->n; j++) {
            bool zero = true;
            for (size_t r = 0; r < rows; r++) zero &= !l->reduced[(size_t)j * rows + r];
            l->essential[j] = ITP_NO_BOX;
            if (!zero || l->pivot[j] != ITP_NO_BOX) continue;
            l->essential[j] = l->betti;
            l->generator[l->betti++] = j;
        }
    }
    interp_free(c->ctx, rest.term);
    interp_free(c->ctx, seen.term);
    if (status) itp_homology_free(h);
    return status;
}

/* The chain of cells, by number, that a chain [n] of critical ones of dimension k stands for: its boundary
   has critical cells only. Added to out. */
ITP_FN interp_status itp_homology_lift(itp_homology *h, int k, const uint8_t *coef, itp_chain *out)
{
    itp_complex *c = h->c;
    const uint32_t p = (uint32_t)c->p;
    itp_chain seen = {NULL, 0, 0};
    interp_status status = INTERP_OK;
    for (uint32_t i = 0; i < h->level[k].n && !status; i++) {
        if (!coef[i]) continue;
        const uint32_t cell = c->critical[c->first[k] + i];
        status = itp_chain_add(c->ctx, out, cell, coef[i]);
        if (!status) status = itp_flow_boundary(c, cell, coef[i], &seen);
    }
    const size_t from = out->n;
    if (!status) status = itp_flow_run(c, out, NULL, &seen);
    for (size_t i = from; i < out->n; i++) out->term[i].coef = p - out->term[i].coef;
    interp_free(c->ctx, seen.term);
    return status;
}

/* Generator g of dimension k as a chain of cells, by number. */
ITP_FN interp_status itp_homology_chain(itp_homology *h, int k, uint32_t g, itp_chain *out)
{
    const itp_level *l = &h->level[k];
    out->n = 0;
    return itp_homology_lift(h, k, l->cycle + (size_t)l->generator[g] * l->n, out);
}

/* A chain whose boundary is the given one of dimension k, a boundary, cells by number; added to out. */
ITP_FN interp_status itp_homology_fill(itp_homology *h, int k, const itp_chain *chain,
                                       itp_chain *out)
{
    itp_complex *c = h->c;
    const itp_level *l = &h->level[k], *above = k < c->d ? &h->level[k + 1] : NULL;
    const uint32_t p = (uint32_t)c->p;
    itp_chain rest = {NULL, 0, 0}, seen = {NULL, 0, 0};
    interp_status status = INTERP_OK;
    for (size_t i = 0; i < chain->n && !status; i++)
        status = itp_flow_add(c, (uint32_t)chain->term[i].cell, chain->term[i].coef, &seen);
    if (!status) status = itp_flow_run(c, out, &rest, &seen);
    if (!status && rest.n && above) { /* the part that critical cells bound */
        uint8_t *v = (uint8_t *)itp_calloc(c->ctx, (size_t)l->n + above->n, 1), *sum = v + l->n;
        if (!v) status = INTERP_NO_MEMORY;
        for (size_t i = 0; i < rest.n && v; i++)
            v[itp_critical_place(c, (uint32_t)rest.term[i].cell)] = (uint8_t)rest.term[i].coef;
        for (uint32_t r = l->n; v && r-- > 0;) {
            const uint32_t o = l->pivot[r];
            if (!v[r] || o == ITP_NO_BOX) continue;
            const uint8_t *b = above->reduced + (size_t)o * l->n;
            const uint32_t factor = v[r] * itp_inverse_mod(b[r], p) % p;
            itp_column_add(v, b, r + 1, p - factor, p);
            itp_column_add(sum, above->cycle + (size_t)o * above->n, above->n, factor, p);
        }
        if (v) status = itp_homology_lift(h, k + 1, sum, out);
        interp_free(c->ctx, v);
    }
    interp_free(c->ctx, rest.term);
    interp_free(c->ctx, seen.term);
    return status;
}

/* Coordinates [betti] of a cycle of dimension k, cells by number, among the generators. */
ITP_FN interp_status itp_homology_class(itp_homology *h, int k, const itp_chain *cycle,
                                        uint8_t *out)
{
    itp_complex *c = h->c;
    const itp_level *l = &h->level[k];
    const uint32_t p = (uint32_t)c->p;
    itp_chain rest = {NULL, 0, 0}, seen = {NULL, 0, 0};
    uint8_t *v = (uint8_t *)itp_calloc(c->ctx, itp_max_size(1, l->n), 1);
    interp_status status = v ? INTERP_OK : INTERP_NO_MEMORY;
    memset(out, 0, l->betti);
    for (size_t i = 0; i < cycle->n && !status; i++)
        status = itp_flow_add(c, (uint32_t)cycle->term[i].cell, cycle->term[i].coef, &seen);
    if (!status) status = itp_flow_run(c, NULL, &rest, &seen);
    for (size_t i = 0; i < rest.n && !status; i++)
        v[itp_critical_place(c, (uint32_t)rest.term[i].cell)] = (uint8_t)rest.term[i].coef;
    for (uint32_t r = l->n; r-- > 0 && !status;) {
        if (!v[r]) continue;
        if (l->pivot[r] != ITP_NO_BOX) {
            const uint8_t *b = h->level[k + 1].reduced + (size_t)l->pivot[r] * l->n;
            const uint32_t factor = (p - v[r]) * itp_inverse_mod(b[r], p) % p;
            itp_column_add(v, b, r + 1, factor, p);
        } else if (l->essential[r] != ITP_NO_BOX) {
            out[l->essential[r]] = v[r];
            itp_column_add(v, l->cycle + (size_t)r * l->n, r + 1, p - v[r], p);
        }
    }
    interp_free(c->ctx, v);
    interp_free(c->ctx, rest.term);
    interp_free(c->ctx, seen.term);
    return status;
}

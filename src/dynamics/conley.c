/* ---- dynamics/conley.c: Conley indices of Morse sets -------------------------------------------- */

/* X is a Morse set S and all boxes its image meets, A what of X is not in S. All boxes are taken at the depth
   of S: coarser ones as all the cubes they are of, finer ones as the cube they are in. Axis j of an address
   has 2 N coordinates where it is periodic, 2 N + 1 elsewhere, for N cubes. */
typedef struct itp_index {
    interp_morse *m;
    interp_ctx *ctx;
    int d, p;
    itp_cubes set;    /* cubes of S */
    itp_cells *image; /* [set.n] */
    itp_cubes around; /* the final grid, no deeper than S */
    uint8_t *in;      /* [around.n]: 1 in X, 3 in S too */
    itp_cubes exit;   /* cubes of A next to S */
    itp_cells *exit_image;
    itp_complex pair; /* cells of S that are not in A, with their faces */
    itp_homology homology;
    itp_complex fibre; /* of the cell at hand */
    size_t fibre_room, fibre_places;
    bool undefined;
    void *blocks[28]; /* to be freed: six of three grids, 20 others */
    int n_blocks;
} itp_index;

ITP_FN void *itp_index_take(itp_index *x, size_t n, size_t size)
{
    void *p = interp_alloc(x->ctx, itp_mul_size(itp_max_size(1, n), size));
    if (p) x->blocks[x->n_blocks++] = p;
    return p;
}

/* ---- cubes */

/* A grid of sorted keys at a depth. */
ITP_FN interp_status itp_index_grid(itp_index *x, itp_cubes *g, uint64_t *keys, uint8_t *level,
                                    uint32_t n, int depth)
{
    *g = x->m->grid;
    uint64_t *spread = (uint64_t *)itp_index_take(
        x, (size_t)itp_max(1, itp_cubes_spread(g->d, depth)), sizeof *spread);
    uint32_t *bucket =
        (uint32_t *)itp_index_take(x, itp_cubes_buckets(itp_max_size(1, n) > n ? 1 : n, depth), 4);
    if (!spread || !bucket) return INTERP_NO_MEMORY;
    itp_cubes_deepen(g, depth, spread);
    g->n = n, g->key = keys, g->level = level;
    if (keys) itp_cubes_index(g, bucket);
    return INTERP_OK;
}

/* The place of a key, ITP_NO_BOX where it is not in the grid. */
ITP_INLINE uint32_t itp_key_at(const itp_cubes *g, uint64_t key)
{
    if (!g->key) return (uint32_t)key;
    const uint32_t at = itp_box_holding(g, key);
    if (at >= g->n || g->key[at] > key) return ITP_NO_BOX;
    return g->level || g->key[at] == key ? at : ITP_NO_BOX;
}

ITP_INLINE uint64_t itp_cube_key(const itp_cubes *g, const uint64_t *cell)
{
    uint64_t key = 0;
    for (int j = 0; j < g->d; j++) key |= itp_spread(g, j, cell[j]);
    return key;
}

ITP_INLINE int itp_key_state(const itp_index *x, uint64_t key)
{
    const uint32_t at = itp_key_at(&x->around, key);
    return at == ITP_NO_BOX ? 0 : x->in[at];
}

/* The final grid with leaves below the depth of S cut off there; where that is not much more, all cubes of
   this depth, which are found faster. */
ITP_FN interp_status itp_index_around(itp_index *x, int depth)
{
    const itp_cubes *g = &x->m->grid;
    uint64_t *keys = NULL;
    uint8_t *level = NULL;
    uint32_t n = g->n;
    if (depth < 20 || (uint64_t)1 << depth <= 4 * (uint64_t)n) {
        n = (uint32_t)1 << depth;
    } else if (g->key || g->depth != depth) {
        const int cut = g->depth - depth;
        keys = (uint64_t *)itp_index_take(x, g->n, sizeof *keys);
        level = (uint8_t *)itp_index_take(x, g->n, 1);
        if (!keys || !level) return INTERP_NO_MEMORY;
        n = 0;
        for (uint32_t b = 0; b < g->n; b++) {
            const uint64_t key = itp_box_key(g, b) >> cut;
            if (n && keys[n - 1] == key) continue;
            keys[n] = key;
            level[n++] = (uint8_t)itp_min(itp_box_level(g, b), depth);
        }
    }
    ITP_TRY(itp_index_grid(x, &x->around, keys, level, n, depth));
    x->in = (uint8_t *)itp_index_take(x, n, 1);
    if (!x->in) return INTERP_NO_MEMORY;
    memset(x->in, 0, n);
    return INTERP_OK;
}

/* A box is in X as a whole: so are its cubes. */
ITP_FN void itp_index_fill(itp_index *x)
{
    const itp_cubes *g = &x->m->grid;
    const int depth = x->around.depth;
    for (uint32_t b = 0; g->level && !x->around.key && b < g->n; b++) {
        if (g->level[b] >= depth) continue;
        const size_t cubes = (size_t)1 << (depth - g->level[b]);
        uint8_t *in = x->in + (itp_box_key(g, b) >> (g->depth - depth));
        if (memchr(in, 1, cubes)) memset(in, 1, cubes);
    }
}

/* Cubes of S, their images, and what is in X. */
ITP_FN interp_status itp_index_pair(itp_index *x, int set)
{
    const interp_morse *m = x->m;
    const itp_cubes *g = &m->grid;
    uint32_t n, cubes = 0;
    const uint32_t *box = interp_morse_set(m, set, &n);
    int depth = 0;
    for (uint32_t i = 0; i < n; i++) depth = itp_max(depth, itp_box_level(g, box[i]));
    uint64_t *keys = (uint64_t *)itp_index_take(x, n, sizeof *keys);
    x->image = (itp_cells *)itp_index_take(x, n, sizeof *x->image);
    if (!keys || !x->image) return INTERP_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) keys[cubes++] = itp_box_key(g, box[i]) >> (g->depth - depth);
    ITP_TRY(itp_index_grid(x, &x->set, keys, NULL, cubes, depth));
    ITP_TRY(itp_index_around(x, depth));
    if (m->image && !g->key) {
        for (uint32_t i = 0; i < n; i++) x->image[i] = m->image[box[i]];
    } else {
        itp_mapping f;
        f.ctx = x->ctx, f.map = m->map, f.g = &x->set;
        ITP_TRY(itp_images(&f, x->image));
    }
    uint32_t *work =
        (uint32_t *)interp_alloc(x->ctx, 2 * itp_boxes_room(&x->around) * sizeof *work);
    if (!work) return INTERP_NO_MEMORY;
    for (uint32_t i = 0; i < cubes; i++) {
        if (x->image[i].lo == UINT64_MAX) continue;
        if (!x->around.key) {
            itp_boxes_mark(&x->around, x->image[i], work, x->in);
            continue;
        }
        const uint32_t k = itp_boxes(&x->around, x->image[i], work);
        for (uint32_t j = 0; j < k; j++) x->in[work[j]] = 1;
    }
    itp_index_fill(x);
    for (uint32_t i = 0; i < cubes; i++) x->in[itp_key_at(&x->around, keys[i])] = 3;
    interp_free(x->ctx, work);
    return INTERP_OK;
}

/* ---- the complex of S relative to A */

ITP_FN interp_status itp_complex_room(itp_index *x, itp_complex *c, size_t n, size_t places)
{
    c->ctx = x->ctx, c->d = x->d, c->p = x->p, c->places = places;
    c->address = (uint64_t *)itp_index_take(x, n, sizeof *c->address);
    c->table = (uint32_t *)itp_index_take(x, places, sizeof *c->table);
    c->rank = (uint32_t *)itp_index_take(x, itp_mul_size(5, n), sizeof *c->rank);
    c->wide = (uint8_t *)itp_index_take(x, itp_mul_size(4, n), 1);
    if (!c->address || !c->table || !c->rank || !c->wide) return INTERP_NO_MEMORY;
    c->mate = c->rank + n, c->queue = c->mate + n, c->heap = c->queue + n;
    c->critical = c->heap + n;
    c->left = c->wide + n, c->removed = c->left + n, c->coef = c->removed + n;
    memset(c->table, 255, places * sizeof *c->table);
    return INTERP_OK;
}

/* Steps to a cube's neighbours, and its faces, have numbers of d digits in base 3, the first axis' last:
   one down, none, one up; lower end, width, upper end. */
typedef struct itp_thirds {
    int n;           /* 3^d; step n / 2 stays */
    uint8_t *wide;   /* [n]: axes on which a face has width */
    uint16_t *share; /* steps to the cubes that share a face, of all faces: 5^d, rising */
    uint32_t *first; /* [n + 1]: of a face */
    uint64_t *key;   /* [n]: of neighbours of the cube at hand; the top bit is set outside */
    uint8_t *state;  /* [n]: of these */
    uint64_t *face;  /* [n]: addresses of its faces */
} itp_thirds;

ITP_FN interp_status itp_thirds_new(itp_index *x, itp_thirds *t)
{
    size_t shared = 1, k = 0;
    t->n = 1;
    for (int j = 0; j < x->d; j++) t->n *= 3, shared *= 5;
    const size_t n = (size_t)t->n;
    t->wide = (uint8_t *)itp_index_take(x, 2 * n, 1);
    t->share = (uint16_t *)itp_index_take(x, shared, sizeof *t->share);
    t->first = (uint32_t *)itp_index_take(x, n + 1, sizeof *t->first);
    t->key = (uint64_t *)itp_index_take(x, 2 * n, sizeof *t->key);
    if (!t->wide || !t->share || !t->first || !t->key) return INTERP_NO_MEMORY;
    t->state = t->wide + n;
    t->face = t->key + n;
    for (int f = 0; f < t->n; f++) {
        t->wide[f] = 0;
        t->first[f] = (uint32_t)k;
        for (int j = 0, v = f; j < x->d; j++, v /= 3)
            t->wide[f] = (uint8_t)(t->wide[f] | (unsigned)(v % 3 == 1) << j);
        for (int s = 0; s < t->n; s++) {
            bool shares = true;
            for (int j = 0, v = f, w = s; j < x->d; j++, v /= 3, w /= 3)
                shares &= w % 3 == 1 || w % 3 == v % 3;
            if (shares) t->share[k++] = (uint16_t)s;
        }
    }
    t->first[n] = (uint32_t)k;
    return INTERP_OK;
}

/* Neighbours of a cube and what they are. */
ITP_FN void itp_thirds_near(const itp_index *x, itp_thirds *t, const uint64_t *cell)
{
    const itp_cubes *g = &x->set;
    bool all = true;
    t->key[0] = 0;
    for (int j = 0, n = 1; j < x->d; j++, n *= 3)
        for (int side = 2; side >= 0; side--) {
            uint64_t to = cell[j] + (uint64_t)side - 1;
            if (g->periodic[j]) to &= ((uint64_t)1 << g->bits[j]) - 1;
            const bool outside = to >> g->bits[j] != 0;
            const uint64_t part = outside ? (uint64_t)1 << 63 : itp_spread(g, j, to);
            all &= !outside;
            for (int k = 0; k < n; k++) t->key[side * n + k] = t->key[k] | part;
        }
    if (all && !x->around.key)
        for (int s = 0; s < t->n; s++) t->state[s] = x->in[t->key[s]];
    else
        for (int s = 0; s < t->n; s++)
            t->state[s] = (uint8_t)(t->key[s] >> 63 ? 0 : itp_key_state(x, t->key[s]));
}

/* Addresses of its faces. */
ITP_FN void itp_thirds_faces(const itp_complex *c, itp_thirds *t, const uint64_t *cell)
{
    t->face[0] = 0;
    for (int j = 0, n = 1; j < c->d; j++, n *= 3)
        for (int side = 2; side >= 0; side--) {
            uint64_t at = 2 * cell[j] + (uint64_t)side;
            if (c->wrap[j] && at == c->size[j]) at = 0;
            for (int k = 0; k < n; k++) t->face[side * n + k] = t->face[k] + at * c->step[j];
        }
}

/* Faces that are cells: of the first of the cubes that share one, and not of A. */
typedef struct itp_new_faces {
    uint16_t *v;
    size_t n, room;
} itp_new_faces;

ITP_FN void itp_thirds_pick(const itp_thirds *t, itp_new_faces *out)
{
    for (int f = 0; f < t->n; f++) {
        uint32_t i = t->first[f];
        const uint32_t end = t->first[f + 1];
        for (; i < end && t->share[i] < t->n / 2; i++)
            if (t->state[t->share[i]] & 1) break;
        if (i < end && t->share[i] < t->n / 2) continue;
        for (; i < end && t->state[t->share[i]] != 1; i++) {}
        if (i == end) out->v[out->n++] = (uint16_t)f;
    }
}

/* Picks cells of all cubes, count[set.n] / 2 of each; count is odd where no cube of A is next to it, and
   all faces of its cells are cells. near takes keys of cubes of A next to any. */
ITP_FN interp_status itp_index_faces(itp_index *x, itp_thirds *t, uint16_t *count,
                                     itp_new_faces *out, itp_longs *near)
{
    uint64_t cell[INTERP_MAP_DIMS];
    for (uint32_t i = 0; i < x->set.n; i++) {
        itp_unspread(x->d, x->set.depth, x->set.key[i], cell);
        itp_thirds_near(x, t, cell);
        ITP_TRY(itp_make_room(x->ctx, &out->v, out->n, &out->room, (size_t)t->n, sizeof *out->v));
        ITP_TRY(itp_longs_room(x->ctx, near, (size_t)t->n));
        const size_t before = out->n;
        itp_thirds_pick(t, out);
        bool alone = true;
        for (int s = 0; s < t->n; s++)
            if (t->state[s] == 1) near->v[near->n++] = t->key[s], alone = false;
        count[i] = (uint16_t)(2 * (out->n - before) + alone);
    }
    return INTERP_OK;
}

/* Also finds which cubes of A are next to S: near takes their keys. */
ITP_FN interp_status itp_index_complex(itp_index *x, itp_longs *near)
{
    itp_complex *c = &x->pair;
    itp_thirds t;
    itp_new_faces faces = {NULL, 0, 0};
    uint64_t cell[INTERP_MAP_DIMS], step = 1;
    size_t places = 16, next = 0;
    uint16_t *count = (uint16_t *)itp_index_take(x, x->set.n, sizeof *count);
    if (!count) return INTERP_NO_MEMORY;
    ITP_TRY(itp_thirds_new(x, &t));
    for (int j = 0; j < x->d; j++) {
        c->wrap[j] = x->set.periodic[j];
        c->size[j] = ((uint64_t)2 << x->set.bits[j]) + (c->wrap[j] ? 0 : 2);
        c->step[j] = step;
        step *= c->size[j];
    }
    interp_status status = itp_index_faces(x, &t, count, &faces, near);
    const size_t cells = faces.n;
    if (!status && cells >= ITP_BOXES_MAX) status = itp_no_memory(x->ctx, cells);
    while (places < cells + cells / 2) places *= 2;
    const bool hashed = step / 8 > cells;
    if (!status) status = itp_complex_room(x, c, cells, hashed ? places : (size_t)step);
    c->slots = hashed ? places : 0;
    for (uint32_t i = 0; i < x->set.n && !status; i++) {
        itp_unspread(x->d, x->set.depth, x->set.key[i], cell);
        itp_thirds_faces(c, &t, cell);
        for (int k = 0; k < count[i] / 2; k++, next++) {
            const int f = faces.v[next], all = 2 * itp_bit_count(t.wide[f]);
            itp_cell_add(c, t.face[f], t.wide[f], count[i] & 1 ? all : ITP_LEFT_UNKNOWN);
        }
    }
    interp_free(x->ctx, faces.v);
    return status;
}

/* Images of the cubes of A next to S. */
ITP_FN interp_status itp_index_exit(itp_index *x, itp_longs *near)
{
    uint64_t *keys = (uint64_t *)itp_index_take(x, near->n, sizeof *keys);
    uint64_t *spare = (uint64_t *)interp_alloc(x->ctx, itp_max_size(1, near->n) * sizeof *spare);
    uint32_t n = 0;
    if (!keys || !spare) {
        interp_free(x->ctx, spare);
        return INTERP_NO_MEMORY;
    }
    const uint64_t *v = near->n ? itp_sort_u64(near->v, spare, near->n) : NULL;
    for (size_t i = 0; i < near->n; i++)
        if (!n || keys[n - 1] != v[i]) keys[n++] = v[i];
    interp_free(x->ctx, spare);
    ITP_TRY(itp_index_grid(x, &x->exit, keys, NULL, n, x->set.depth));
    x->exit_image = (itp_cells *)itp_index_take(x, n, sizeof *x->exit_image);
    if (!x->exit_image) return INTERP_NO_MEMORY;
    if (!n) return INTERP_OK;
    itp_mapping f;
    f.ctx = x->ctx, f.map = x->m->map, f.g = &x->exit;
    return itp_images(&f, x->exit_image);
}

/* ---- fibres: what the boxes around a cell are mapped to together */

/* Cubes first .. first + n - 1 of an axis, relative to the origin of the fibre. */
typedef struct itp_block_of {
    int64_t first[INTERP_MAP_DIMS], n[INTERP_MAP_DIMS];
} itp_block_of;

typedef struct itp_fibre {
    itp_block_of inside[1 << INTERP_MAP_DIMS], exit[1 << INTERP_MAP_DIMS];
    int n_inside, n_exit;
    bool round[INTERP_MAP_DIMS];     /* an image goes all round this periodic axis */
    int64_t origin[INTERP_MAP_DIMS]; /* cubes */
    int64_t low[INTERP_MAP_DIMS], high[INTERP_MAP_DIMS]; /* cubes of all images inside */
    bool star;                       /* all images share cubes, and none leaves */
    int64_t centre[INTERP_MAP_DIMS]; /* a vertex of these, in coordinates from the origin */
} itp_fibre;

/* An image relative to the origin; on periodic axes within half a turn of it. */
ITP_FN void itp_fibre_block(const itp_index *x, itp_fibre *f, itp_cells c, itp_block_of *b)
{
    uint64_t lo[INTERP_MAP_DIMS], hi[INTERP_MAP_DIMS];
    const bool first = f->n_inside == 0 && b == f->inside;
    itp_unspread(x->d, x->set.depth, c.lo, lo);
    itp_unspread(x->d, x->set.depth, c.hi, hi);
    for (int j = 0; j < x->d; j++) {
        const int64_t turn = (int64_t)1 << x->set.bits[j];
        int64_t from = (int64_t)lo[j], n = (int64_t)hi[j] - from + 1;
        if (n <= 0) n += turn;
        if (first) f->origin[j] = from;
        from -= f->origin[j];
        if (x->set.periodic[j]) {
            if (n >= turn) f->round[j] = true;
            while (from > turn / 2) from -= turn;
            while (from < -(turn / 2)) from += turn;
        }
        b->first[j] = from, b->n[j] = n;
    }
}

/* Images of all cubes of X that a cell is a face of; false when there are none. */
ITP_FN bool itp_fibre_open(const itp_index *x, uint64_t address, itp_fibre *f)
{
    uint64_t at[INTERP_MAP_DIMS], cell[INTERP_MAP_DIMS];
    itp_address_split(&x->pair, address, at);
    f->n_inside = f->n_exit = 0;
    memset(f->round, 0, sizeof f->round);
    for (int pass = 0; pass < 2; pass++)
        for (int side = 0; side < 1 << x->d; side++) {
            bool there = true;
            for (int j = 0; j < x->d && there; j++) {
                const uint64_t n = (uint64_t)1 << x->set.bits[j];
                const bool up = side >> j & 1;
                if (at[j] & 1) there = !up, cell[j] = at[j] / 2;
                else cell[j] = up ? at[j] / 2 : at[j] / 2 - 1;
                if (cell[j] < n) continue;
                if (x->set.periodic[j]) cell[j] &= n - 1;
                else there = false;
            }
            if (!there) continue;
            const uint64_t key = itp_cube_key(&x->set, cell); /* all grids have the depth of S */
            const int state = itp_key_state(x, key);
            if (state != (pass ? 1 : 3)) continue;
            const uint32_t k = itp_key_at(pass ? &x->exit : &x->set, key);
            const itp_cells image = pass ? x->exit_image[k] : x->image[k];
            if (image.lo == UINT64_MAX) continue;
            if (!pass) itp_fibre_block(x, f, image, &f->inside[f->n_inside]), f->n_inside++;
            else if (f->n_inside) itp_fibre_block(x, f, image, &f->exit[f->n_exit]), f->n_exit++;
        }
    f->star = f->n_exit == 0 && f->n_inside > 0;
    for (int j = 0; j < x->d; j++) {
        int64_t from = INT64_MIN, to = INT64_MAX;
        f->low[j] = INT64_MAX, f->high[j] = INT64_MIN;
        for (int i = 0; i < f->n_inside; i++) {
            const int64_t a = f->inside[i].first[j], b = a + f->inside[i].n[j] - 1;
            from = a > from ? a : from, to = b < to ? b : to;
            f->low[j] = a < f->low[j] ? a : f->low[j];
            f->high[j] = b > f->high[j] ? b : f->high[j];
        }
        if (from > to || f->round[j]) f->star = false;
        f->centre[j] = 2 * from;
        if (x->set.periodic[j] && f->n_inside &&
            f->high[j] - f->low[j] + 1 >= (int64_t)1 << x->set.bits[j])
            f->round[j] = true, f->star = false;
    }
    return f->n_inside > 0;
}

/* Coordinates from the origin, in half cubes, to an address of the whole grid. */
ITP_FN uint64_t itp_fibre_address(const itp_index *x, const itp_fibre *f, const int64_t *at)
{
    uint64_t address = 0;
    for (int j = 0; j < x->d; j++) {
        int64_t v = at[j] + 2 * f->origin[j];
        const int64_t size = (int64_t)x->pair.size[j];
        if (x->set.periodic[j]) v = (v % size + size) % size;
        address += (uint64_t)v * x->pair.step[j];
    }
    return address;
}

/* And back: on periodic axes the place that is in the fibre. */
ITP_FN void itp_fibre_place(const itp_index *x, const itp_fibre *f, uint64_t address, int64_t *at)
{
    uint64_t split[INTERP_MAP_DIMS];
    itp_address_split(&x->pair, address, split);
    for (int j = 0; j < x->d; j++) {
        const int64_t size = (int64_t)x->pair.size[j];
        at[j] = (int64_t)split[j] - 2 * f->origin[j];
        if (!x->set.periodic[j]) continue;
        while (at[j] < 2 * f->low[j]) at[j] += size;
        while (at[j] >= 2 * f->low[j] + size) at[j] -= size;
    }
}

/* ---- fibres whose images share a vertex: moved to it axis by axis, everything bounds */

/* out takes the chain whose boundary is the cycle `chain`. */
ITP_FN interp_status itp_star_fill(const itp_index *x, const itp_fibre *f, const itp_chain *chain,
                                   itp_chain *out)
{
    const uint32_t p = (uint32_t)x->p;
    for (size_t i = 0; i < chain->n; i++) {
        int64_t at[INTERP_MAP_DIMS];
        itp_fibre_place(x, f, chain->term[i].cell, at);
        for (int j = 0; j < x->d; j++) {
            if (at[j] & 1) break; /* it has shrunk to nothing by now */
            const int64_t to = f->centre[j], way = to > at[j] ? 1 : -1;
            for (int64_t v = at[j]; v != to; v += 2 * way) {
                at[j] = v + way;
                /* the way there has the boundary `there - here`, so it counts with the other sign */
                ITP_TRY(itp_chain_add(x->ctx, out, itp_fibre_address(x, f, at),
                                      way < 0 ? chain->term[i].coef : p - chain->term[i].coef));
            }
            at[j] = to;
        }
    }
    return INTERP_OK;
}

/* ---- other fibres: a complex of their own */

typedef void (*itp_cell_fn)(itp_index *x, const itp_fibre *f, const int64_t *at, void *user);

/* Calls fn for all places from low to high, both included, on every axis. */
ITP_FN void itp_each_place(itp_index *x, const itp_fibre *f, const int64_t *low,
                           const int64_t *high, itp_cell_fn fn, void *user)
{
    int64_t at[INTERP_MAP_DIMS];
    for (int j = 0; j < x->d; j++) {
        if (low[j] > high[j]) return;
        at[j] = low[j];
    }
    for (;;) {
        int j = 0;
        fn(x, f, at, user);
        while (j < x->d && at[j] == high[j]) at[j] = low[j], j++;
        if (j == x->d) return;
        at[j]++;
    }
}

/* The place of a cell in the fibre's complex; false outside. */
ITP_INLINE bool itp_fibre_slot(const itp_index *x, const itp_fibre *f, const int64_t *at,
                               uint64_t *slot)
{
    const itp_complex *c = &x->fibre;
    *slot = 0;
    for (int j = 0; j < x->d; j++) {
        int64_t v = at[j] - 2 * f->low[j];
        const int64_t size = (int64_t)c->size[j];
        if (c->wrap[j]) v = (v % size + size) % size;
        if (v < 0 || v >= size) return false;
        *slot += (uint64_t)v * c->step[j];
    }
    return true;
}

ITP_FN void itp_mark_cell(itp_index *x, const itp_fibre *f, const int64_t *at, void *value)
{
    uint64_t slot;
    if (itp_fibre_slot(x, f, at, &slot)) memcpy(&x->fibre.table[slot], value, sizeof(uint32_t));
}

/* Takes a cube that is in X, with its faces, out of the fibre. */
ITP_FN void itp_unmark_cube(itp_index *x, const itp_fibre *f, const int64_t *cube, void *none)
{
    int64_t low[INTERP_MAP_DIMS], high[INTERP_MAP_DIMS];
    uint64_t cell[INTERP_MAP_DIMS];
    for (int j = 0; j < x->d; j++) {
        const int64_t n = (int64_t)1 << x->set.bits[j];
        int64_t at = cube[j] + f->origin[j];
        if (x->set.periodic[j]) at = (at % n + n) % n;
        if (at < 0 || at >= n) return;
        cell[j] = (uint64_t)at;
        low[j] = 2 * cube[j], high[j] = 2 * cube[j] + 2;
    }
    if (itp_key_state(x, itp_cube_key(&x->set, cell)))
        itp_each_place(x, f, low, high, itp_mark_cell, none);
}

/* Room for a complex that is used again and again. */
ITP_FN interp_status itp_fibre_room(itp_index *x, size_t places)
{
    if (places <= x->fibre_places) return INTERP_OK;
    const size_t room = itp_max_size(places, 2 * x->fibre_places);
    void *old[4] = {x->fibre.address, x->fibre.table, x->fibre.rank, x->fibre.wide};
    if (places >= ITP_BOXES_MAX) return itp_no_memory(x->ctx, places);
    for (int k = 0; k < 4 && old[k]; k++)
        for (int i = 0; i < x->n_blocks; i++)
            if (x->blocks[i] == old[k]) {
                interp_free(x->ctx, old[k]);
                x->blocks[i] = x->blocks[--x->n_blocks];
            }
    x->fibre_places = 0;
    memset(&x->fibre, 0, sizeof x->fibre);
    ITP_TRY(itp_complex_room(x, &x->fibre, room, room));
    x->fibre_places = room;
    return INTERP_OK;
}

/* The complex of a fibre: images of cubes of S less those of cubes of A. */
ITP_FN interp_status itp_fibre_complex(itp_index *x, const itp_fibre *f)
{
    uint64_t places = 1;
    uint32_t there = 0, none = ITP_NO_BOX;
    itp_complex *c = &x->fibre;
    uint64_t size[INTERP_MAP_DIMS];
    for (int j = 0; j < x->d; j++) {
        size[j] = f->round[j] ? x->pair.size[j] : 2 * (uint64_t)(f->high[j] - f->low[j] + 1) + 2;
        places = itp_mul_size((size_t)places, (size_t)size[j]);
    }
    ITP_TRY(itp_fibre_room(x, (size_t)places));
    c->slots = 0, c->n = 0, c->places = (size_t)places;
    for (uint64_t step = 1, j = 0; j < (uint64_t)x->d; j++) {
        c->size[j] = size[j], c->step[j] = step, c->wrap[j] = f->round[j];
        step *= size[j];
    }
    memset(c->table, 255, (size_t)places * sizeof *c->table);
    for (int i = 0; i < f->n_inside + f->n_exit; i++) {
        const bool in = i < f->n_inside;
        const itp_block_of *b = in ? &f->inside[i] : &f->exit[i - f->n_inside];
        int64_t low[INTERP_MAP_DIMS], high[INTERP_MAP_DIMS];
        for (int j = 0; j < x->d; j++) {
            int64_t from = b->first[j], to = from + b->n[j] - 1;
            if (!in && !f->round[j]) { /* only cubes that touch the others matter */
                from = from < f->low[j] - 1 ? f->low[j] - 1 : from;
                to = to > f->high[j] + 1 ? f->high[j] + 1 : to;
            }
            low[j] = in ? 2 * from : from, high[j] = in ? 2 * to + 2 : to;
        }
        if (in) itp_each_place(x, f, low, high, itp_mark_cell, &there);
        else itp_each_place(x, f, low, high, itp_unmark_cube, &none);
    }
    for (uint64_t a = 0; a < places; a++)
        if (c->table[a] != ITP_NO_BOX) itp_cell_add(c, a, itp_address_wide(c, a), ITP_LEFT_UNKNOWN);
    return INTERP_OK;
}

/* An address of the whole grid for a cell of the fibre's complex. */
ITP_FN uint64_t itp_fibre_global(const itp_index *x, const itp_fibre *f, uint64_t slot)
{
    uint64_t split[INTERP_MAP_DIMS];
    int64_t at[INTERP_MAP_DIMS];
    itp_address_split(&x->fibre, slot, split);
    for (int j = 0; j < x->d; j++) at[j] = (int64_t)split[j] + 2 * f->low[j];
    return itp_fibre_address(x, f, at);
}

/* Whether it has the homology of a point, or, relative, none. */
ITP_FN bool itp_fibre_acyclic(const itp_homology *h, bool relative)
{
    bool yes = h->level[0].betti == 1 || (relative && !h->level[0].betti);
    for (int k = 1; k <= h->c->d; k++) yes &= h->level[k].betti == 0;
    return yes;
}

/* As itp_star_fill; what of `chain` is not in the complex counts as nothing. k: its dimension. Leaves
   *acyclic false where the fibre is not. */
ITP_FN interp_status itp_other_fill(itp_index *x, const itp_fibre *f, int k, const itp_chain *chain,
                                    itp_chain *out, bool *acyclic)
{
    itp_complex *c = &x->fibre;
    itp_chain local = {NULL, 0, 0}, filled = {NULL, 0, 0};
    itp_homology h;
    ITP_TRY(itp_fibre_complex(x, f));
    itp_coreduce(c);
    ITP_TRY(itp_homology_find(c, &h));
    *acyclic = itp_fibre_acyclic(&h, f->n_exit > 0);
    interp_status status = INTERP_OK;
    for (size_t i = 0; i < chain->n && *acyclic && !status; i++) {
        int64_t at[INTERP_MAP_DIMS];
        uint64_t slot;
        itp_fibre_place(x, f, chain->term[i].cell, at);
        if (!itp_fibre_slot(x, f, at, &slot)) continue;
        const uint32_t cell = itp_cell_at(c, slot);
        if (cell != ITP_NO_BOX) status = itp_chain_add(x->ctx, &local, cell, chain->term[i].coef);
    }
    if (*acyclic && !status) status = itp_homology_fill(&h, k, &local, &filled);
    for (size_t i = 0; i < filled.n && !status; i++)
        status = itp_chain_add(x->ctx, out, itp_fibre_global(x, f, c->address[filled.term[i].cell]),
                               filled.term[i].coef);
    interp_free(x->ctx, local.term);
    interp_free(x->ctx, filled.term);
    itp_homology_free(&h);
    return status;
}

/* ---- the image of a generator: a vertex of the fibre of each of its cells; then, in the fibres of their
   faces, chains between these; and so on down to vertices */

/* A piece of a chain over a cell. */
typedef struct itp_over {
    uint64_t base, cell;
    uint32_t coef;
} itp_over;

typedef struct itp_overs {
    itp_over *v;
    size_t n, room;
} itp_overs;

ITP_FN interp_status itp_overs_add(interp_ctx *ctx, itp_overs *o, uint64_t base, uint64_t cell,
                                   uint32_t coef)
{
    ITP_TRY(itp_make_room(ctx, &o->v, o->n, &o->room, 1, sizeof *o->v));
    o->v[o->n].base = base, o->v[o->n].cell = cell, o->v[o->n++].coef = coef;
    return INTERP_OK;
}

ITP_FN int itp_compare_over(const void *a, const void *b)
{
    const itp_over *p = (const itp_over *)a, *q = (const itp_over *)b;
    if (p->base != q->base) return p->base < q->base ? -1 : 1;
    return p->cell < q->cell ? -1 : p->cell > q->cell;
}

/* A chain over a cell goes to the cell's faces. */
ITP_FN interp_status itp_over_faces(const itp_index *x, uint64_t base, const itp_chain *chain,
                                    bool negative, itp_overs *out)
{
    uint64_t near[2 * INTERP_MAP_DIMS];
    bool minus[2 * INTERP_MAP_DIMS];
    const uint32_t p = (uint32_t)x->p;
    const int n =
        itp_cell_near(&x->pair, base, itp_address_wide(&x->pair, base), true, near, minus);
    for (int i = 0; i < n; i++)
        for (size_t t = 0; t < chain->n; t++)
            ITP_TRY(itp_overs_add(x->ctx, out, near[i], chain->term[t].cell,
                                  minus[i] != negative ? p - chain->term[t].coef
                                                       : chain->term[t].coef));
    return INTERP_OK;
}

/* A vertex of the fibre of a cell of the generator. */
ITP_FN interp_status itp_fibre_vertex(itp_index *x, uint64_t base, uint64_t *vertex)
{
    itp_fibre f;
    itp_chain none = {NULL, 0, 0};
    int64_t at[INTERP_MAP_DIMS];
    bool acyclic = true;
    if (!itp_fibre_open(x, base, &f)) {
        x->undefined = true;
        return INTERP_OK;
    }
    for (int j = 0; j < x->d; j++) at[j] = f.star ? f.centre[j] : 2 * f.inside[0].first[j];
    *vertex = itp_fibre_address(x, &f, at);
    if (f.star) return INTERP_OK;
    ITP_TRY(itp_other_fill(x, &f, 0, &none, &none, &acyclic));
    interp_free(x->ctx, none.term);
    x->undefined = !acyclic;
    return INTERP_OK;
}

/* Chains of dimension k over the cells of `from`, sorted, are filled; what fills them goes to the faces of
   the cells, or, over vertices, to the answer. */
ITP_FN interp_status itp_lift_level(itp_index *x, int base_dim, int k, itp_overs *from,
                                    itp_overs *to, itp_chain *answer)
{
    const uint32_t p = (uint32_t)x->p;
    itp_chain chain = {NULL, 0, 0}, fill = {NULL, 0, 0};
    interp_status status = INTERP_OK;
    to->n = 0;
    if (from->n) qsort(from->v, from->n, sizeof *from->v, itp_compare_over);
    for (size_t i = 0, end; i < from->n && !status && !x->undefined; i = end) {
        itp_fibre f;
        bool acyclic = true;
        const uint64_t base = from->v[i].base;
        chain.n = fill.n = 0;
        for (end = i; end < from->n && from->v[end].base == base && !status; end++) {
            const itp_over *o = &from->v[end];
            itp_term *last = chain.n ? &chain.term[chain.n - 1] : NULL;
            if (last && last->cell == o->cell) last->coef = (last->coef + o->coef) % p;
            else {
                if (last && !last->coef) chain.n--;
                status = itp_chain_add(x->ctx, &chain, o->cell, o->coef % p);
            }
        }
        if (chain.n && !chain.term[chain.n - 1].coef) chain.n--;
        if (status || !itp_fibre_open(x, base, &f)) continue;
        if (f.star) status = chain.n ? itp_star_fill(x, &f, &chain, &fill) : INTERP_OK;
        else status = itp_other_fill(x, &f, k, &chain, &fill, &acyclic);
        x->undefined |= !acyclic;
        for (size_t t = 0; base_dim == 0 && t < fill.n && !status; t++)
            status = itp_chain_add(x->ctx, answer, fill.term[t].cell, p - fill.term[t].coef);
        if (base_dim > 0 && !status)
            status = itp_over_faces(x, base, &fill, (base_dim & 1) == 0, to);
        if ((i & 1023) == 0 && !status)
            status = itp_progress(x->ctx, "conley index", (double)i, (double)from->n, (double)NAN);
    }
    interp_free(x->ctx, chain.term);
    interp_free(x->ctx, fill.term);
    return status;
}

/* The image of a cycle of dimension k, cells by number, as a chain of addresses. */
ITP_FN interp_status itp_lift(itp_index *x, int k, const itp_chain *cycle, itp_chain *answer)
{
    itp_overs over[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
    interp_status status = INTERP_OK;
    for (size_t i = 0; i < cycle->n && !status && !x->undefined; i++) {
        const uint64_t base = x->pair.address[cycle->term[i].cell];
        itp_term term = {0, cycle->term[i].coef};
        itp_chain one = {&term, 1, 1};
        status = itp_fibre_vertex(x, base, &term.cell);
        if (status || x->undefined) break;
        status = k ? itp_over_faces(x, base, &one, false, &over[0])
                   : itp_chain_add(x->ctx, answer, term.cell, term.coef);
    }
    for (int b = k - 1; b >= 0 && !status && !x->undefined; b--)
        status =
            itp_lift_level(x, b, k - 1 - b, &over[(k - 1 - b) & 1], &over[(k - b) & 1], answer);
    interp_free(x->ctx, over[0].v);
    interp_free(x->ctx, over[1].v);
    return status;
}

/* The matrix [betti,betti] of the map on the homology of dimension k, column by column. */
ITP_FN interp_status itp_index_matrix(itp_index *x, int k, uint8_t *matrix)
{
    const uint32_t betti = x->homology.level[k].betti;
    itp_chain cycle = {NULL, 0, 0}, image = {NULL, 0, 0};
    uint8_t *column = (uint8_t *)interp_alloc(x->ctx, itp_max_size(1, betti));
    interp_status status = column ? INTERP_OK : INTERP_NO_MEMORY;
    for (uint32_t g = 0; g < betti && !status && !x->undefined; g++) {
        size_t kept = 0;
        status = itp_homology_chain(&x->homology, k, g, &cycle);
        image.n = 0;
        if (!status) status = itp_lift(x, k, &cycle, &image);
        if (status || x->undefined) break;
        for (size_t i = 0; i < image.n; i++) { /* what is in A counts as nothing */
            const uint32_t cell = itp_cell_at(&x->pair, image.term[i].cell);
            if (cell == ITP_NO_BOX) continue;
            image.term[kept].cell = cell;
            image.term[kept++].coef = image.term[i].coef;
        }
        image.n = kept;
        status = itp_homology_class(&x->homology, k, &image, column);
        for (uint32_t i = 0; i < betti; i++) matrix[(size_t)i * betti + g] = column[i];
        if (!status)
            status = itp_progress(x->ctx, "conley index", (double)g, (double)betti, (double)NAN);
    }
    interp_free(x->ctx, column);
    interp_free(x->ctx, cycle.term);
    interp_free(x->ctx, image.term);
    return status;
}

ITP_FN interp_status itp_index_run(itp_index *x, int set, itp_buf *text, size_t *at, int *betti)
{
    itp_longs near = {NULL, 0, 0};
    uint32_t any = 0;
    interp_status status = itp_index_pair(x, set);
    if (!status) status = itp_index_complex(x, &near);
    if (!status) {
        itp_coreduce(&x->pair);
        status = itp_homology_find(&x->pair, &x->homology);
    }
    for (int k = 0; k <= x->d && !status; k++)
        any += (betti[k] = (int)x->homology.level[k].betti) > 0;
    if (!status && any) status = itp_index_exit(x, &near);
    for (int k = 0; k <= x->d && !status; k++) {
        const size_t n = (size_t)betti[k];
        at[k] = text->n;
        uint8_t *matrix = (uint8_t *)itp_calloc(x->ctx, itp_max_size(1, n), itp_max_size(1, n));
        status = matrix ? INTERP_OK : INTERP_NO_MEMORY;
        if (!status && !x->undefined) status = itp_index_matrix(x, k, matrix);
        if (!status && !x->undefined)
            status = itp_invariants_text(x->ctx, matrix, (int)n, x->p, text);
        if (!status) itp_buf_byte(text, 0);
        interp_free(x->ctx, matrix);
    }
    interp_free(x->ctx, near.v);
    return status;
}

INTERP_API interp_status interp_morse_conley(interp_morse *m, int set, int p, interp_conley *out)
{
    interp_ctx *ctx = m->ctx;
    interp_conley index;
    size_t at[INTERP_MAP_DIMS + 1];
    bool prime = p == 0 || (p >= 2 && p <= 251);
    for (int k = 2; k * k <= p; k++) prime &= p % k != 0;
    if (!prime || set < 0 || set >= m->n_sets)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "conley: set %d of %d over Z/%d; give a prime up to 251", set, m->n_sets,
                        p);
    itp_index *x = (itp_index *)itp_calloc(ctx, 1, sizeof *x);
    if (!x) return INTERP_NO_MEMORY;
    x->m = m, x->ctx = ctx, x->d = m->grid.d, x->p = p ? p : 5;
    memset(&index, 0, sizeof index);
    itp_buf text = itp_buf_new(ctx);
    interp_status status = itp_index_run(x, set, &text, at, index.betti);
    if (!status) status = text.status;
    itp_homology_free(&x->homology);
    for (int i = 0; i < x->n_blocks; i++) interp_free(ctx, x->blocks[i]);
    index.defined = !x->undefined;
    interp_free(ctx, x);
    if (status) {
        itp_buf_free(&text);
        return status;
    }
    for (int k = 0; k <= m->grid.d; k++) index.text[k] = text.data + at[k];
    *out = index;
    return INTERP_OK;
}

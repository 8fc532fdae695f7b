/* ---- dynamics/grid.c: boxes of a tree of halvings ----------------------------------------------- */

#define ITP_DEPTH_MAX 52 /* cells of an axis are counted exactly in double */
#define ITP_NO_BOX    UINT32_MAX
#define ITP_BOXES_MAX ((uint64_t)1 << 31)

/* A key has one bit for each halving, the first on top; halving k is of axis k mod d. All keys of a
   grid have `depth` bits; a leaf of a lower level stands for all keys that begin as its own. */
typedef struct itp_cubes {
    int d, depth;
    int bits[INTERP_MAP_DIMS];      /* of each axis */
    uint64_t mask[INTERP_MAP_DIMS]; /* bits of a key that are an axis' */
    double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
    bool periodic[INTERP_MAP_DIMS];
    bool wraps; /* some axis is periodic */
    uint32_t n;
    const uint64_t *key;  /* [n], rising; NULL: all of 2^depth */
    const uint8_t *level; /* [n]: halvings of each; NULL: depth */
    uint32_t *bucket;     /* first key with the upper bits b or more; NULL: there are few */
    int bucket_shift;
    uint64_t *spread; /* key bits of each byte of an axis' cell number: [axis][byte][256] */
    int spread_at[INTERP_MAP_DIMS];
} itp_cubes;

/* Cells from lo to hi on each axis, as keys; where hi is below lo on a periodic axis they go round the
   end. lo is UINT64_MAX when there are none. */
typedef struct itp_cells {
    uint64_t lo, hi;
} itp_cells;

/* Makes room for `more` things of `size` bytes behind n; `items` is where the pointer to them is. */
ITP_FN interp_status itp_make_room(interp_ctx *ctx, void *items, size_t n, size_t *room,
                                   size_t more, size_t size)
{
    void *old;
    if (more <= *room - n) return INTERP_OK;
    const size_t want = itp_max_size(itp_max_size(64, itp_add_size(n, more)), 2 * *room);
    memcpy(&old, items, sizeof old);
    void *p = interp_alloc(ctx, itp_mul_size(want, size));
    if (!p) return INTERP_NO_MEMORY;
    if (n) memcpy(p, old, n * size);
    interp_free(ctx, old);
    memcpy(items, &p, sizeof p);
    *room = want;
    return INTERP_OK;
}

ITP_INLINE int itp_top_bit(uint64_t x)
{
#if defined(__GNUC__) || defined(__clang__)
    return 63 - __builtin_clzll(x);
#else
    int b = 0;
    while (x >>= 1) b++;
    return b;
#endif
}

/* Keys of `depth` bits; spread has room for itp_cubes_spread entries. */
ITP_FN int itp_cubes_spread(int d, int depth)
{
    int bytes = 0;
    for (int j = 0; j < d; j++) bytes += itp_div_up(itp_div_up(itp_max(depth - j, 0), d), 8);
    return 256 * bytes;
}

/* With a table that is made already. */
ITP_FN void itp_cubes_shape(itp_cubes *g, int depth, uint64_t *spread)
{
    int at = 0;
    g->depth = depth;
    g->spread = spread;
    for (int j = 0; j < g->d; j++) {
        const int bits = itp_div_up(itp_max(depth - j, 0), g->d);
        g->bits[j] = bits;
        g->mask[j] = 0;
        g->spread_at[j] = at;
        for (int q = 0; q < bits; q++)
            g->mask[j] |= (uint64_t)1 << (depth - 1 - (j + g->d * (bits - 1 - q)));
        at += 256 * itp_div_up(bits, 8);
    }
}

ITP_FN void itp_cubes_deepen(itp_cubes *g, int depth, uint64_t *spread)
{
    itp_cubes_shape(g, depth, spread);
    memset(spread, 0, (size_t)itp_cubes_spread(g->d, depth) * sizeof *spread);
    for (int j = 0; j < g->d; j++)
        for (int q = 0; q < g->bits[j]; q++) {
            const uint64_t bit = (uint64_t)1 << (depth - 1 - (j + g->d * (g->bits[j] - 1 - q)));
            uint64_t *table = spread + g->spread_at[j] + 256 * (q >> 3);
            for (int v = 0; v < 256; v++)
                if (v >> (q & 7) & 1) table[v] |= bit;
        }
}

/* The key bits of cell i of an axis. */
ITP_INLINE uint64_t itp_spread(const itp_cubes *g, int axis, uint64_t i)
{
    const uint64_t *table = g->spread + g->spread_at[axis];
    uint64_t key = 0;
    for (int q = 0; q < g->bits[axis]; q += 8, table += 256, i >>= 8) key |= table[i & 255];
    return key;
}

/* Bits 0, 2, 4 ... side by side. */
ITP_INLINE uint64_t itp_every_other(uint64_t x)
{
    x &= 0x5555555555555555u;
    x = (x | x >> 1) & 0x3333333333333333u;
    x = (x | x >> 2) & 0x0F0F0F0F0F0F0F0Fu;
    x = (x | x >> 4) & 0x00FF00FF00FF00FFu;
    x = (x | x >> 8) & 0x0000FFFF0000FFFFu;
    return (x | x >> 16) & 0xFFFFFFFFu;
}

/* Bits 0, 3, 6 ... side by side. */
ITP_INLINE uint64_t itp_every_third(uint64_t x)
{
    x &= 0x1249249249249249u;
    x = (x | x >> 2) & 0x10C30C30C30C30C3u;
    x = (x | x >> 4) & 0x100F00F00F00F00Fu;
    x = (x | x >> 8) & 0x001F0000FF0000FFu;
    x = (x | x >> 16) & 0x001F00000000FFFFu;
    return (x | x >> 32) & 0x1FFFFFu;
}

/* Cells of a key of `level` bits on all axes. */
ITP_FN void itp_unspread(int d, int level, uint64_t key, uint64_t *cell)
{
    if (d == 2) { /* the last bit is of axis (level - 1) % 2 */
        cell[(level + 1) & 1] = itp_every_other(key);
        cell[level & 1] = itp_every_other(key >> 1);
        return;
    }
    if (d == 3) {
        cell[(level + 2) % 3] = itp_every_third(key);
        cell[(level + 1) % 3] = itp_every_third(key >> 1);
        cell[level % 3] = itp_every_third(key >> 2);
        return;
    }
    for (int j = 0; j < d; j++) cell[j] = 0;
    for (int k = 0, j = 0; k < level; k++, j = j + 1 < d ? j + 1 : 0)
        cell[j] = cell[j] << 1 | (key >> (level - 1 - k) & 1);
}

ITP_INLINE int itp_axis_bits(int d, int level, int axis)
{
    return level > axis ? (level - axis + d - 1) / d : 0;
}

/* Corner i of 2^bits cells of an axis: one value, whichever box it is a corner of. */
ITP_INLINE double itp_axis_corner(const itp_cubes *g, int axis, uint64_t i, int bits)
{
    const double part = (double)i / (double)((uint64_t)1 << bits);
    return part * g->upper[axis] + (1 - part) * g->lower[axis];
}

ITP_INLINE uint64_t itp_box_key(const itp_cubes *g, uint32_t box)
{
    return g->key ? g->key[box] : box;
}

ITP_INLINE int itp_box_level(const itp_cubes *g, uint32_t box)
{
    return g->level ? g->level[box] : g->depth;
}

/* Ends of a box: [d] each. */
ITP_FN void itp_box_ends(const itp_cubes *g, uint32_t box, double *lower, double *upper)
{
    uint64_t cell[INTERP_MAP_DIMS];
    const int level = itp_box_level(g, box);
    itp_unspread(g->d, level, itp_box_key(g, box) >> (g->depth - level), cell);
    for (int j = 0; j < g->d; j++) {
        const int bits = itp_axis_bits(g->d, level, j);
        lower[j] = itp_axis_corner(g, j, cell[j], bits);
        upper[j] = itp_axis_corner(g, j, cell[j] + 1, bits);
    }
}

/* ---- from images to cells */

/* Cells of an axis that [lower, upper] meets, closed as both are, in a domain [0, 2^60] with 2^10 to spare
   for rounding; false: none. */
ITP_INLINE bool itp_axis_cells(const itp_cubes *g, int j, double lower, double upper,
                               uint64_t *first, uint64_t *last)
{
    const double width = g->upper[j] - g->lower[j], whole = 1152921504606846976.0;
    double a = (lower - g->lower[j]) / width, b = (upper - g->lower[j]) / width;
    if (b < 0 || a > 1) return false;
    a = a < 0 ? 0 : a;
    b = b > 1 ? 1 : b;
    const int64_t x = (int64_t)(whole * a) - 1024, y = (int64_t)(whole * b) + 1024;
    const int shift = 60 - g->bits[j];
    const uint64_t end = ((uint64_t)1 << g->bits[j]) - 1;
    const uint64_t last_cell = (uint64_t)y >> shift;
    *first = x > 0 ? (uint64_t)(x - 1) >> shift : 0;
    *last = last_cell < end ? last_cell : end;
    return true;
}

/* The same where the ends of the domain meet; last may be below first then. */
ITP_FN bool itp_axis_round(const itp_cubes *g, int j, double lower, double upper, uint64_t *first,
                           uint64_t *last)
{
    const double width = g->upper[j] - g->lower[j];
    const uint64_t end = ((uint64_t)1 << g->bits[j]) - 1;
    uint64_t from = 0, to = 0, a = 0, b = 0;
    if (!(upper - lower < width)) {
        *first = 0, *last = end;
        return true;
    }
    for (int once = 0; upper > g->upper[j] || upper < g->lower[j]; once++) {
        const double turns = once ? 1 : floor((upper - g->lower[j]) / width);
        if (turns == 0 || once > 2) break;
        lower -= turns * width, upper -= turns * width;
    }
    const bool here = itp_axis_cells(g, j, lower, upper, &from, &to);
    const bool there = itp_axis_cells(g, j, lower + width, upper + width, &a, &b);
    if (!here && !there) return false;
    if (here && there && a <= to + 1) from = 0, to = end;
    else if (here && there) from = a;
    else if (there) from = a, to = b;
    *first = from;
    *last = to;
    return true;
}

/* Cells that a rectangle meets; false when an end is NaN or they are the wrong way round. */
ITP_INLINE bool itp_cells_of(const itp_cubes *g, const double *lower, const double *upper,
                             itp_cells *out)
{
    uint64_t lo = 0, hi = 0, first = 0, last = 0;
    bool inside = true;
    for (int j = 0; j < g->d; j++) {
        if (!(lower[j] <= upper[j])) return false;
        if (!inside) continue;
        inside = g->periodic[j] ? itp_axis_round(g, j, lower[j], upper[j], &first, &last)
                                : itp_axis_cells(g, j, lower[j], upper[j], &first, &last);
        if (!inside) continue;
        lo |= itp_spread(g, j, first);
        hi |= itp_spread(g, j, last);
    }
    out->lo = inside ? lo : UINT64_MAX;
    out->hi = inside ? hi : 0;
    return true;
}

/* ---- from cells to boxes */

/* First box whose key is `key` or more, in from..to. */
ITP_FN uint32_t itp_box_from(const itp_cubes *g, uint64_t key, uint32_t from, uint32_t to)
{
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (g->key[middle] < key) from = middle + 1;
        else to = middle;
    }
    return from;
}

/* The same in all boxes. */
ITP_FN uint32_t itp_box_search(const itp_cubes *g, uint64_t key)
{
    if (!g->bucket) return itp_box_from(g, key, 0, g->n);
    if (key >> g->depth) return g->n;
    const uint64_t b = key >> g->bucket_shift;
    return itp_box_from(g, key, g->bucket[b], g->bucket[b + 1]);
}

/* Buckets that itp_cubes_index wants room for; one more than their number. */
ITP_FN size_t itp_cubes_buckets(uint32_t n, int depth)
{
    int top = n > 1 ? itp_top_bit(n) : 0;
    if (top > depth) top = depth;
    return ((size_t)1 << top) + 1;
}

ITP_FN void itp_cubes_index(itp_cubes *g, uint32_t *bucket)
{
    const size_t n = itp_cubes_buckets(g->n, g->depth) - 1;
    uint32_t at = 0;
    g->bucket = bucket;
    g->bucket_shift = g->depth - itp_top_bit(n);
    for (size_t b = 0; b <= n; b++) {
        while (at < g->n && g->key[at] >> g->bucket_shift < b) at++;
        bucket[b] = at;
    }
}

/* All cells of an ordinary range, in order: where the topmost bit in which the two ends differ parts it
   in two, the axis' lower bits go to their ends (Tropf and Herzog 1981). */
ITP_FN uint32_t itp_boxes_all(const itp_cubes *g, itp_cells c, uint32_t *out)
{
    itp_cells stack[ITP_DEPTH_MAX + 1];
    int top = 0;
    uint32_t n = 0;
    for (;;) {
        const uint64_t x = c.lo ^ c.hi;
        if ((x & (x + 1)) == 0 && !(c.lo & x)) { /* one after the other */
            for (uint64_t key = c.lo; key <= c.hi; key++) out[n++] = (uint32_t)key;
            if (!top) return n;
            c = stack[--top];
            continue;
        }
        const int b = itp_top_bit(x);
        const uint64_t bit = (uint64_t)1 << b;
        const uint64_t below = g->mask[(g->depth - 1 - b) % g->d] & (bit - 1);
        stack[top].lo = (c.lo & ~below) | bit;
        stack[top++].hi = c.hi;
        c.hi = (c.hi & ~bit) | below;
    }
}

/* in[box] = 1 for all cells of a range, which may go round ends. Counting with the bits of an axis only:
   the others are set, so that a carry passes over them. work has room for twice the cells. */
ITP_FN void itp_boxes_mark(const itp_cubes *g, itp_cells c, uint32_t *work, uint8_t *in)
{
    size_t n = 1;
    work[0] = 0;
    for (int j = 0; j < g->d; j++) {
        const uint64_t mask = g->mask[j], last = c.hi & mask;
        const size_t before = n;
        for (uint64_t at = c.lo & mask;; at = ((at | ~mask) + 1) & mask) {
            const uint32_t part = (uint32_t)at;
            if (j + 1 == g->d)
                for (size_t i = 0; i < before; i++) in[work[i] | part] = 1;
            else
                for (size_t i = 0; i < before; i++) work[n++] = work[i] | part;
            if (at == last) break;
        }
        memmove(work, work + before, (n - before) * sizeof *work);
        n -= before;
    }
}

/* Adds those of boxes from..to that meet the cells; returns how many out holds. */
ITP_FN uint32_t itp_boxes_tested(const itp_cubes *g, uint32_t from, uint32_t to, itp_cells c,
                                 uint32_t *out, uint32_t n)
{
    uint64_t low[INTERP_MAP_DIMS], span[INTERP_MAP_DIMS];
    for (int j = 0; j < g->d; j++) {
        low[j] = c.lo & g->mask[j];
        span[j] = (c.hi & g->mask[j]) - low[j];
    }
    for (; from < to; from++) {
        const uint64_t key = g->key[from];
        bool meets = true;
        if (g->level) {
            const uint64_t end = key + (((uint64_t)1 << (g->depth - g->level[from])) - 1);
            for (int j = 0; j < g->d; j++)
                meets &= (end & g->mask[j]) >= low[j] && (key & g->mask[j]) <= low[j] + span[j];
        } else {
            for (int j = 0; j < g->d; j++) meets &= (key & g->mask[j]) - low[j] <= span[j];
        }
        out[n] = from;
        n += meets;
    }
    return n;
}

/* The box that holds a key or, where there is none, the first after it. */
ITP_FN uint32_t itp_box_holding(const itp_cubes *g, uint64_t key)
{
    const uint32_t at = itp_box_search(g, key);
    if (at < g->n && g->key[at] == key) return at;
    if (at == 0 || !g->level) return at;
    const uint64_t end = g->key[at - 1] + ((uint64_t)1 << (g->depth - g->level[at - 1]));
    return key < end ? at - 1 : at;
}

/* The same for the boxes of a grid that does not have all. */
ITP_FN uint32_t itp_boxes_some(const itp_cubes *g, itp_cells c, uint32_t *out)
{
    enum { few = 24 };
    struct {
        itp_cells c;
        uint32_t to;
    } stack[ITP_DEPTH_MAX + 1];
    const itp_cells all = c;
    uint32_t n = 0, done = 0; /* boxes below `done` are dealt with */
    uint32_t from = itp_box_holding(g, c.lo);
    uint32_t to = c.hi == UINT64_MAX ? g->n : itp_box_search(g, c.hi + 1);
    int top = 0;
    for (;;) {
        if (from < done) from = done;
        const uint64_t x = c.lo ^ c.hi;
        if ((x & (x + 1)) == 0 && !(c.lo & x)) { /* all keys between */
            while (from < to) out[n++] = from++;
        } else if (from < to && to - from > few) {
            const int b = itp_top_bit(x);
            const uint64_t bit = (uint64_t)1 << b;
            const uint64_t below = g->mask[(g->depth - 1 - b) % g->d] & (bit - 1);
            stack[top].c.lo = (c.lo & ~below) | bit;
            stack[top].c.hi = c.hi;
            stack[top++].to = to;
            c.hi = (c.hi & ~bit) | below;
            to = itp_box_from(g, c.hi + 1, from, to);
            continue;
        } else if (from < to) {
            n = itp_boxes_tested(g, from, to, all, out, n);
        }
        if (done < to) done = to;
        if (!top) return n;
        c = stack[--top].c;
        to = stack[top].to;
        from = itp_box_from(g, c.lo, done, to);
        if (g->level && from > done &&
            c.lo - g->key[from - 1] < (uint64_t)1 << (g->depth - g->level[from - 1]))
            from--; /* it holds c.lo */
    }
}

ITP_FN int itp_compare_u32(const void *a, const void *b)
{
    uint32_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return x < y ? -1 : x > y;
}

/* Room that itp_boxes wants: coarse boxes may be on both sides of an end. */
ITP_FN size_t itp_boxes_room(const itp_cubes *g)
{
    int rounds = 0;
    for (int j = 0; g->level && j < g->d; j++) rounds += g->periodic[j];
    return (size_t)g->n << rounds;
}

/* Boxes that the cells are of, rising. */
ITP_FN uint32_t itp_boxes(const itp_cubes *g, itp_cells c, uint32_t *out)
{
    int round[INTERP_MAP_DIMS], rounds = 0;
    if (c.lo == UINT64_MAX) return 0;
    for (int j = 0; g->wraps && j < g->d; j++)
        if ((c.lo & g->mask[j]) > (c.hi & g->mask[j])) round[rounds++] = j;
    if (!rounds) return g->key ? itp_boxes_some(g, c, out) : itp_boxes_all(g, c, out);
    uint32_t n = 0, kept = 0;
    for (int part = 0; part < 1 << rounds; part++) {
        itp_cells p = c;
        for (int k = 0; k < rounds; k++) {
            const uint64_t m = g->mask[round[k]];
            if (part >> k & 1) p.hi |= m;
            else p.lo &= ~m;
        }
        n += g->key ? itp_boxes_some(g, p, out + n) : itp_boxes_all(g, p, out + n);
    }
    qsort(out, n, sizeof *out, itp_compare_u32);
    for (uint32_t i = 0; i < n; i++)
        if (!kept || out[kept - 1] != out[i]) out[kept++] = out[i];
    return kept;
}

/* ---- dynamics/boxmap.c: images of boxes --------------------------------------------------------- */

/* A map with its defaults, on a grid. */
typedef struct itp_mapping {
    interp_ctx *ctx;
    interp_map map;
    const itp_cubes *g;
} itp_mapping;

enum { ITP_PIECE_POINTS = 4096, ITP_CALL_POINTS = 512 }; /* of a piece of work, and of a call */

ITP_FN int itp_map_samples(const interp_map *m)
{
    return m->mode == INTERP_BOX_CENTRE   ? 1
           : m->mode == INTERP_BOX_RANDOM ? (m->samples ? m->samples : 10)
                                          : 1 << m->dims;
}

ITP_FN interp_status itp_map_check(interp_ctx *ctx, const interp_map *m)
{
    if (!m || m->dims < 1 || m->dims > INTERP_MAP_DIMS || !m->points == !m->boxes)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "map: give 1 to %d dimensions, and points or boxes", INTERP_MAP_DIMS);
    if (m->samples < 0 || m->samples > 1 << 20 || (int)m->mode < 0 || m->mode > INTERP_BOX_RANDOM)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "map: mode %d with %d samples", (int)m->mode,
                        m->samples);
    return INTERP_OK;
}

/* Grows what the images of a box's samples span. farthest: how far, on an axis, a point of the box may be
   from the nearest sample, in widths of the box. */
ITP_FN void itp_image_widen(const interp_map *m, const double *lower, const double *upper,
                            double farthest, double *from, double *to)
{
    const bool pad = m->padding || (m->points && m->mode == INTERP_BOX_CENTRE && !m->lipschitz);
    for (int i = 0; i < m->dims; i++) {
        double more = pad ? upper[i] - lower[i] : 0;
        for (int j = 0; m->lipschitz && j < m->dims; j++)
            more += m->lipschitz[i * m->dims + j] * farthest * (upper[j] - lower[j]);
        from[i] -= more;
        to[i] += more;
    }
}

/* No point of a box is farther from a corner or the centre than half its width on any axis; from a
   random one, its whole width. */
ITP_FN double itp_map_farthest(const interp_map *m)
{
    return m->mode == INTERP_BOX_RANDOM ? 1 : 0.5;
}

ITP_FN interp_status itp_image_bad(interp_ctx *ctx, const itp_cubes *g, uint32_t box)
{
    double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
    char text[200];
    size_t at = 0;
    itp_box_ends(g, box, lower, upper);
    for (int j = 0; j < g->d && at < sizeof text - 60; j++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s[%.6g, %.6g]", j ? " x " : "",
                               lower[j], upper[j]);
    return itp_fail(ctx, INTERP_NOT_FINITE,
                    "map: the image of box %u, %s, is not a number, or its ends are the wrong way "
                    "round",
                    (unsigned)box, text);
}

/* ---- tasks: pieces of work, each by one thread; those of maps that are not for several threads by the
   caller's own */

typedef interp_status (*itp_piece_fn)(void *arg, size_t piece);

typedef struct itp_pieces {
    itp_piece_fn fn;
    void *arg;
    size_t from;           /* of this round */
    interp_status *status; /* [tasks of a round] */
} itp_pieces;

enum { ITP_PIECES = 256 }; /* of a round, after which progress is told */

ITP_FN void itp_piece_task(void *arg, int task, int slot)
{
    const itp_pieces *p = (const itp_pieces *)arg;
    (void)slot;
    p->status[task] = p->fn(p->arg, p->from + (size_t)task);
}

ITP_FN interp_status itp_map_pieces(const itp_mapping *m, bool calls, size_t n, itp_piece_fn fn,
                                    void *arg)
{
    interp_status status[ITP_PIECES];
    itp_pieces p;
    p.fn = fn, p.arg = arg, p.status = status;
    for (p.from = 0; p.from < n; p.from += ITP_PIECES) {
        const int round = (int)itp_min_size(n - p.from, ITP_PIECES);
        ITP_TRY(itp_progress(m->ctx, "box map", (double)p.from, (double)n, (double)NAN));
        if (calls && !m->map.concurrent) {
            for (int i = 0; i < round; i++) ITP_TRY(fn(arg, p.from + (size_t)i));
            continue;
        }
        itp_parallel(m->ctx, round, 1e9, itp_piece_task, &p);
        for (int i = 0; i < round; i++)
            if (status[i] != INTERP_OK) {
                if (interp_last_status(m->ctx) != status[i])
                    itp_fail(m->ctx, status[i], "map: it could not be evaluated");
                return status[i];
            }
    }
    return INTERP_OK;
}

/* ---- points of a lattice, in pieces of one call */

typedef struct itp_lattice {
    const itp_mapping *m;
    size_t n[INTERP_MAP_DIMS], step[INTERP_MAP_DIMS]; /* corners of each axis */
    size_t count;
    const uint64_t *keys;        /* [count]: corner numbers; NULL: all, row by row */
    double *y, *spread;          /* [count, d]; spread NULL: none */
    double *at[INTERP_MAP_DIMS]; /* [n]: where the corners of an axis are; NULL: not kept */
} itp_lattice;

ITP_FN interp_status itp_lattice_piece(void *arg, size_t piece)
{
    const itp_lattice *l = (const itp_lattice *)arg;
    const interp_map *m = &l->m->map;
    const int d = m->dims;
    double x[ITP_CALL_POINTS * INTERP_MAP_DIMS];
    size_t from = piece * ITP_PIECE_POINTS;
    const size_t end = itp_min_size(l->count, from + ITP_PIECE_POINTS);
    while (from < end) {
        const size_t n = itp_min_size(end - from, ITP_CALL_POINTS);
        for (size_t i = 0; i < n; i++) {
            size_t rest = l->keys ? (size_t)l->keys[from + i] : from + i;
            for (int j = 0; j < d; j++) {
                const size_t k = rest / l->step[j];
                x[i * (size_t)d + (size_t)j] =
                    l->at[j] ? l->at[j][k] : itp_axis_corner(l->m->g, j, k, l->m->g->bits[j]);
                rest %= l->step[j];
            }
        }
        ITP_TRY(m->points(x, l->y + from * (size_t)d, n, m->user));
        if (l->spread) ITP_TRY(m->spread(x, l->spread + from * (size_t)d, n, m->user));
        from += n;
    }
    return INTERP_OK;
}

/* Corners of all boxes of depth g->depth: n and step, not the arrays. False: more than fit 63 bits. */
ITP_FN bool itp_lattice_shape(itp_lattice *l, const itp_mapping *m)
{
    const itp_cubes *g = m->g;
    memset(l, 0, sizeof *l);
    l->m = m;
    l->count = 1;
    for (int j = 0; j < g->d; j++) l->n[j] = ((size_t)1 << g->bits[j]) + 1;
    for (int j = g->d - 1; j >= 0; j--) {
        l->step[j] = l->count;
        l->count = itp_mul_size(l->count, l->n[j]);
    }
    return l->count < SIZE_MAX / 4;
}

ITP_FN size_t itp_piece_count(size_t n)
{
    return (n + ITP_PIECE_POINTS - 1) / ITP_PIECE_POINTS;
}

/* Where corners are; at has room for all axes. */
ITP_FN void itp_lattice_places(itp_lattice *l, double *at)
{
    const itp_cubes *g = l->m->g;
    for (int j = 0; j < g->d; j++) {
        l->at[j] = at;
        for (size_t i = 0; i < l->n[j]; i++) *at++ = itp_axis_corner(g, j, i, g->bits[j]);
    }
}

ITP_FN size_t itp_lattice_rows(const itp_lattice *l)
{
    size_t n = 0;
    for (int j = 0; j < l->m->g->d; j++) n = itp_add_size(n, l->n[j]);
    return n;
}

/* ---- all boxes of a uniform grid, by the corners they share */

typedef struct itp_rows {
    const itp_lattice *l;
    itp_cells *image;
    uint32_t *bad; /* [pieces]: a box whose image is none, ITP_NO_BOX: none */
    size_t per_piece, rows;
} itp_rows;

/* Least and largest images at the corners i of the row of boxes whose other corners begin at `base`. */
ITP_INLINE void itp_row_span(const itp_lattice *l, const size_t *base, int corners, size_t i,
                             double *low, double *high, double *wide)
{
    const int d = l->m->map.dims;
    for (int k = 0; k < d; k++) wide[k] = 0;
    for (int c = 0; c < corners; c++) {
        const double *y = l->y + (base[c] + i) * (size_t)d;
        for (int k = 0; k < d; k++) {
            if (c == 0 || y[k] < low[k]) low[k] = y[k];
            if (c == 0 || y[k] > high[k]) high[k] = y[k];
            if (y[k] != y[k]) low[k] = (double)NAN;
            if (l->spread && !(l->spread[(base[c] + i) * (size_t)d + (size_t)k] <= wide[k]))
                wide[k] = l->spread[(base[c] + i) * (size_t)d + (size_t)k];
        }
    }
}

/* One row of boxes along the last axis. */
ITP_FN void itp_row_images(const itp_rows *r, size_t row, uint32_t *bad)
{
    const itp_lattice *l = r->l;
    const interp_map *m = &l->m->map;
    const itp_cubes *g = l->m->g;
    const int d = m->dims, last = d - 1, corners = 1 << last;
    const bool widen = m->padding || m->lipschitz;
    const double far = itp_map_farthest(m);
    size_t cell[INTERP_MAP_DIMS], base[1 << (INTERP_MAP_DIMS - 1)];
    double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
    double low[2][INTERP_MAP_DIMS], high[2][INTERP_MAP_DIMS], wide[2][INTERP_MAP_DIMS];
    uint64_t key = 0;
    for (int j = last - 1; j >= 0; j--) {
        cell[j] = row & (((size_t)1 << g->bits[j]) - 1);
        row >>= g->bits[j];
        key |= itp_spread(g, j, cell[j]);
        lower[j] = l->at[j][cell[j]], upper[j] = l->at[j][cell[j] + 1];
    }
    for (int c = 0; c < corners; c++) {
        base[c] = 0;
        for (int j = 0; j < last; j++) base[c] += (cell[j] + (size_t)(c >> j & 1)) * l->step[j];
    }
    itp_row_span(l, base, corners, 0, low[0], high[0], wide[0]);
    for (size_t i = 0; i + 1 < l->n[last]; i++) {
        const int a = (int)(i & 1), b = 1 - a;
        double from[INTERP_MAP_DIMS], to[INTERP_MAP_DIMS];
        itp_row_span(l, base, corners, i + 1, low[b], high[b], wide[b]);
        for (int k = 0; k < d; k++) {
            const double more = wide[a][k] > wide[b][k] ? wide[a][k] : wide[b][k];
            from[k] = low[a][k] < low[b][k] ? low[a][k] : low[b][k];
            to[k] = high[a][k] > high[b][k] ? high[a][k] : high[b][k];
            if (low[a][k] != low[a][k]) from[k] = low[a][k];
            if (l->spread) from[k] -= more, to[k] += more;
        }
        const uint64_t box = key | itp_spread(g, last, i);
        if (widen) {
            lower[last] = l->at[last][i], upper[last] = l->at[last][i + 1];
            itp_image_widen(m, lower, upper, far, from, to);
        }
        if (!itp_cells_of(g, from, to, &r->image[box]) && (uint32_t)box < *bad)
            *bad = (uint32_t)box;
    }
}

ITP_FN interp_status itp_rows_piece(void *arg, size_t piece)
{
    const itp_rows *r = (const itp_rows *)arg;
    const size_t from = piece * r->per_piece, to = itp_min_size(r->rows, from + r->per_piece);
    r->bad[piece] = ITP_NO_BOX;
    for (size_t i = from; i < to; i++) itp_row_images(r, i, &r->bad[piece]);
    return INTERP_OK;
}

ITP_FN interp_status itp_bad_of(const itp_mapping *m, const uint32_t *bad, size_t n)
{
    uint32_t first = ITP_NO_BOX;
    for (size_t i = 0; i < n; i++)
        if (bad[i] < first) first = bad[i];
    return first == ITP_NO_BOX ? INTERP_OK : itp_image_bad(m->ctx, m->g, first);
}

/* Bytes of the lattice of a uniform grid. */
ITP_FN size_t itp_uniform_bytes(const itp_mapping *m)
{
    itp_lattice l;
    if (!itp_lattice_shape(&l, m)) return SIZE_MAX;
    const size_t points = itp_mul_size(itp_mul_size(l.count, (size_t)m->map.dims),
                                       (m->map.spread ? 2 : 1) * sizeof(double));
    return itp_add_size(itp_alloc_cost(points),
                        itp_alloc_cost(itp_mul_size(itp_lattice_rows(&l), sizeof(double))));
}

ITP_FN interp_status itp_images_uniform(const itp_mapping *m, itp_cells *image)
{
    enum { row_boxes = 8192 };
    const size_t d = (size_t)m->map.dims;
    itp_lattice l;
    itp_rows r;
    if (!itp_lattice_shape(&l, m)) return itp_no_memory(m->ctx, SIZE_MAX / 4);
    const size_t numbers = itp_mul_size(l.count, d);
    r.l = &l, r.image = image;
    r.rows = (size_t)m->g->n >> m->g->bits[d - 1];
    r.per_piece = itp_max_size(1, row_boxes >> m->g->bits[d - 1]);
    const size_t pieces = (r.rows + r.per_piece - 1) / r.per_piece;
    double *at = (double *)interp_alloc(m->ctx, itp_mul_size(itp_lattice_rows(&l), sizeof *at));
    l.y = (double *)interp_alloc(m->ctx, itp_mul_size(numbers, sizeof *l.y));
    l.spread =
        m->map.spread ? (double *)interp_alloc(m->ctx, itp_mul_size(numbers, sizeof *l.y)) : NULL;
    r.bad = (uint32_t *)interp_alloc(m->ctx, pieces * sizeof *r.bad);
    interp_status status = INTERP_NO_MEMORY;
    if (at && l.y && r.bad && (l.spread || !m->map.spread)) {
        itp_lattice_places(&l, at);
        status = itp_map_pieces(m, true, itp_piece_count(l.count), itp_lattice_piece, &l);
        if (!status) status = itp_map_pieces(m, false, pieces, itp_rows_piece, &r);
        if (!status) status = itp_bad_of(m, r.bad, pieces);
    }
    interp_free(m->ctx, at);
    interp_free(m->ctx, l.y);
    interp_free(m->ctx, l.spread);
    interp_free(m->ctx, r.bad);
    return status;
}

/* ---- any boxes, each by itself: centres, random points, maps of boxes, corners of few boxes */

typedef struct itp_singles {
    const itp_mapping *m;
    itp_cells *image;
    uint32_t *bad;
    const uint32_t *corner; /* [n, 2^d]: corners in the lattice; NULL: points are made here */
    const itp_lattice *l;
} itp_singles;

/* Random numbers are drawn by the box's place, so that they are the same in any order. */
ITP_FN void itp_random_points(const interp_map *m, uint64_t key, int level, const double *lower,
                              const double *upper, int n, double *x)
{
    for (int i = 0; i < n * m->dims; i++) {
        const int j = i % m->dims;
        const uint64_t at = (uint64_t)i;
        const double u = ((double)interp_random_u32(m->seed, key * 64 + (uint64_t)level, at) + .5) /
                         4294967296.0;
        x[i] = lower[j] + u * (upper[j] - lower[j]);
    }
}

ITP_FN interp_status itp_image_samples(const itp_singles *s, uint32_t box, const double *lower,
                                       const double *upper, double *from, double *to)
{
    const interp_map *m = &s->m->map;
    const size_t d = (size_t)m->dims;
    double x[ITP_CALL_POINTS], y[ITP_CALL_POINTS], w[ITP_CALL_POINTS];
    double wide[INTERP_MAP_DIMS] = {0};
    const int most = ITP_CALL_POINTS / m->dims, total = itp_map_samples(m);
    for (int done = 0; done < total; done += most) {
        const int n = itp_min(most, total - done);
        if (m->mode == INTERP_BOX_RANDOM)
            itp_random_points(m, itp_box_key(s->m->g, box) + (uint64_t)done * 0x9E3779B97F4A7C15u,
                              itp_box_level(s->m->g, box), lower, upper, n, x);
        else
            for (int i = 0; i < n; i++)
                for (size_t j = 0; j < d; j++)
                    x[(size_t)i * d + j] = m->mode == INTERP_BOX_CENTRE ? (lower[j] + upper[j]) / 2
                                           : (done + i) >> j & 1        ? upper[j]
                                                                        : lower[j];
        ITP_TRY(m->points(x, y, (size_t)n, m->user));
        if (m->spread) ITP_TRY(m->spread(x, w, (size_t)n, m->user));
        for (size_t i = 0; i < (size_t)n * d; i++) {
            const size_t j = i % d;
            const bool first = !done && i < d;
            if (first || !(y[i] >= from[j])) from[j] = y[i];
            if (first || !(y[i] <= to[j])) to[j] = y[i];
            if (m->spread && !(w[i] <= wide[j])) wide[j] = w[i];
            if (y[i] != y[i]) from[j] = wide[j] = (double)NAN;
        }
    }
    for (size_t j = 0; j < d; j++) from[j] -= wide[j], to[j] += wide[j];
    return INTERP_OK;
}

/* From corners looked at before. */
ITP_FN void itp_image_corners(const itp_singles *s, uint32_t box, double *from, double *to)
{
    const size_t d = (size_t)s->m->map.dims, corners = (size_t)1 << d;
    double wide[INTERP_MAP_DIMS] = {0};
    for (size_t c = 0; c < corners; c++) {
        const size_t at = (size_t)s->corner[(size_t)box * corners + c] * d;
        for (size_t j = 0; j < d; j++) {
            const double y = s->l->y[at + j], w = s->l->spread ? s->l->spread[at + j] : 0;
            if (!c || y < from[j]) from[j] = y;
            if (!c || y > to[j]) to[j] = y;
            if (!(w <= wide[j])) wide[j] = w;
            if (y != y) wide[j] = y;
        }
    }
    for (size_t j = 0; j < d; j++) from[j] -= wide[j], to[j] += wide[j];
}

ITP_FN interp_status itp_singles_piece(void *arg, size_t piece)
{
    enum { most = 64 };
    const itp_singles *s = (const itp_singles *)arg;
    const interp_map *m = &s->m->map;
    const itp_cubes *g = s->m->g;
    const size_t d = (size_t)m->dims;
    double box[most * 2 * INTERP_MAP_DIMS], image[most * 2 * INTERP_MAP_DIMS];
    const size_t end = itp_min_size(g->n, (piece + 1) * ITP_PIECE_POINTS);
    s->bad[piece] = ITP_NO_BOX;
    for (size_t from = piece * ITP_PIECE_POINTS; from < end; from += most) {
        const size_t n = itp_min_size(most, end - from);
        for (size_t i = 0; i < n; i++)
            itp_box_ends(g, (uint32_t)(from + i), box + 2 * d * i, box + 2 * d * i + d);
        if (m->boxes) ITP_TRY(m->boxes(box, image, n, m->user));
        for (size_t i = 0; i < n; i++) {
            const uint32_t at = (uint32_t)(from + i);
            double *lower = box + 2 * d * i, *upper = lower + d;
            double *a = image + 2 * d * i, *b = a + d;
            if (s->corner) itp_image_corners(s, at, a, b);
            else if (!m->boxes) ITP_TRY(itp_image_samples(s, at, lower, upper, a, b));
            itp_image_widen(m, lower, upper, itp_map_farthest(m), a, b);
            if (!itp_cells_of(g, a, b, &s->image[at]) && s->bad[piece] == ITP_NO_BOX)
                s->bad[piece] = at;
        }
    }
    return INTERP_OK;
}

/* Numbers each corner of the boxes once; a table of places in `keys`. */
ITP_FN uint32_t itp_corners_number(const itp_lattice *l, uint64_t *keys, uint32_t *table,
                                   size_t slots, uint32_t *corner)
{
    const itp_cubes *g = l->m->g;
    const int d = g->d, corners = 1 << d;
    uint32_t n = 0;
    memset(table, 255, slots * sizeof *table);
    for (uint32_t b = 0; b < g->n; b++) {
        uint64_t cell[INTERP_MAP_DIMS], origin = 0;
        itp_unspread(d, g->depth, g->key[b], cell);
        for (int j = 0; j < d; j++) origin += cell[j] * l->step[j];
        for (int c = 0; c < corners; c++) {
            uint64_t key = origin;
            for (int j = 0; j < d; j++)
                if (c >> j & 1) key += l->step[j];
            size_t slot = (size_t)((key * 0x9E3779B97F4A7C15u) >> 20) & (slots - 1);
            while (table[slot] != ITP_NO_BOX && keys[table[slot]] != key)
                slot = (slot + 1) & (slots - 1);
            if (table[slot] == ITP_NO_BOX) keys[n] = key, table[slot] = n++;
            corner[(size_t)b * (size_t)corners + (size_t)c] = table[slot];
        }
    }
    return n;
}

/* Images of all boxes of a list, looking at each corner once. */
ITP_FN interp_status itp_images_shared(const itp_mapping *m, itp_singles *s, size_t pieces)
{
    const size_t d = (size_t)m->map.dims, all = itp_mul_size((size_t)m->g->n, (size_t)1 << d);
    itp_lattice l;
    size_t slots = 16;
    if (!itp_lattice_shape(&l, m)) return itp_no_memory(m->ctx, SIZE_MAX / 4);
    while (slots < itp_mul_size(all, 2)) slots *= 2;
    uint64_t *keys = (uint64_t *)interp_alloc(m->ctx, itp_mul_size(all, sizeof *keys));
    uint32_t *table = (uint32_t *)interp_alloc(m->ctx, itp_mul_size(slots, sizeof *table));
    uint32_t *corner = (uint32_t *)interp_alloc(m->ctx, itp_mul_size(all, sizeof *corner));
    interp_status status = INTERP_NO_MEMORY;
    l.y = l.spread = NULL;
    if (keys && table && corner) {
        l.count = itp_corners_number(&l, keys, table, slots, corner);
        l.keys = keys;
        l.y = (double *)interp_alloc(m->ctx, itp_mul_size(l.count, d * sizeof *l.y));
        if (l.y && m->map.spread)
            l.spread = (double *)interp_alloc(m->ctx, itp_mul_size(l.count, d * sizeof *l.y));
        status = l.y && (l.spread || !m->map.spread) ? INTERP_OK : INTERP_NO_MEMORY;
    }
    interp_free(m->ctx, table);
    if (!status) status = itp_map_pieces(m, true, itp_piece_count(l.count), itp_lattice_piece, &l);
    s->corner = corner, s->l = &l;
    if (!status) status = itp_map_pieces(m, false, pieces, itp_singles_piece, s);
    interp_free(m->ctx, keys);
    interp_free(m->ctx, corner);
    interp_free(m->ctx, l.y);
    interp_free(m->ctx, l.spread);
    return status;
}

/* Whether boxes that share corners look at them once. */
ITP_FN bool itp_corners_shared(const itp_mapping *m)
{
    itp_lattice l;
    if (m->map.boxes || m->map.mode != INTERP_BOX_CORNERS || m->g->level) return false;
    return itp_lattice_shape(&l, m);
}

/* Images of all boxes of the grid: cells of the same grid. */
ITP_FN interp_status itp_images(const itp_mapping *m, itp_cells *image)
{
    const bool shared = itp_corners_shared(m);
    if (shared && !m->g->key) return itp_images_uniform(m, image);
    itp_singles s;
    memset(&s, 0, sizeof s);
    s.m = m, s.image = image;
    const size_t pieces = itp_piece_count(m->g->n);
    s.bad = (uint32_t *)interp_alloc(m->ctx, itp_max_size(1, pieces) * sizeof *s.bad);
    if (!s.bad) return INTERP_NO_MEMORY;
    interp_status status = shared ? itp_images_shared(m, &s, pieces)
                                  : itp_map_pieces(m, true, pieces, itp_singles_piece, &s);
    if (!status) status = itp_bad_of(m, s.bad, pieces);
    interp_free(m->ctx, s.bad);
    return status;
}

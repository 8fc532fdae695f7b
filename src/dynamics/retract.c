/* ---- dynamics/retract.c: regions of attraction, order retraction -------------------------------- */

INTERP_API interp_status interp_morse_basins(interp_morse *m, interp_basins *out)
{
    interp_ctx *ctx = m->ctx;
    ITP_TRY(itp_morse_parts(m));
    const uint32_t n = m->grid.n;
    uint64_t *bits = (uint64_t *)interp_alloc(ctx, n * sizeof *bits);
    uint32_t *work = (uint32_t *)interp_alloc(ctx, itp_boxes_room(&m->grid) * sizeof *work);
    int32_t *to = (int32_t *)interp_alloc(ctx, n * sizeof *to);
    interp_status status = bits && work && to ? INTERP_OK : INTERP_NO_MEMORY;
    for (uint32_t v = 0; v < n && !status; v++) to[v] = -1;
    for (itp_marks k = {m->set, 0}; k.group * 64 < (uint32_t)m->n_sets && !status; k.group++) {
        uint64_t last = 0; /* sets of the group that lead to no other */
        for (uint32_t s = k.group * 64; s < k.group * 64 + 64 && s < (uint32_t)m->n_sets; s++) {
            bool attracts = true;
            for (uint32_t o = 0; o < s; o++) attracts &= !itp_leads(&m->order, s, o);
            if (attracts) last |= (uint64_t)1 << s % 64;
        }
        itp_reach_down(&m->grid, m->image, &m->parts, k, bits, work);
        for (uint32_t v = 0; v < n; v++) {
            const uint64_t b = bits[v] & last;
            if (!b) continue;
            if (to[v] != -1 || (b & (b - 1))) to[v] = -2;
            else to[v] = (int32_t)(k.group * 64) + itp_top_bit(b);
        }
        status = itp_progress(ctx, "basins", (double)k.group * 64, (double)m->n_sets, (double)NAN);
    }
    interp_free(ctx, bits);
    interp_free(ctx, work);
    if (status) {
        interp_free(ctx, to);
        return status;
    }
    memset(out, 0, sizeof *out);
    out->attractor = to;
    for (uint32_t v = 0; v < n; v++) {
        out->none += to[v] == -1;
        out->several += to[v] == -2;
    }
    return INTERP_OK;
}

/* ---- order retraction */

/* Boxes carry rows of `words` 64-bit words, one bit for each set of the final grid. */
typedef struct itp_retract {
    interp_morse *m;
    const uint32_t *label; /* [boxes] */
    itp_order order;
    uint32_t sets;
    size_t words;
    uint64_t *above;     /* [sets, words]: what leads to a set: the order turned round */
    uint64_t *down, *up; /* [boxes, words]: sets a box leads to; that lead to it; then closures */
    uint64_t *may;       /* [boxes, words]: candidates */
    uint32_t *work;      /* images of a box */
    int32_t *tile;
} itp_retract;

ITP_INLINE uint64_t *itp_row_of(const itp_retract *r, uint64_t *rows, uint32_t box)
{
    return rows + (size_t)box * r->words;
}

/* rows[.. , group] from one word a box. */
ITP_FN void itp_scatter_words(const itp_retract *r, uint64_t *rows, uint32_t group,
                              const uint64_t *bits)
{
    for (size_t v = 0; v < r->m->grid.n; v++) rows[v * r->words + group] = bits[v];
}

/* Union of the rows of `table` of all sets in `set`. */
ITP_INLINE void itp_union_rows(const itp_retract *r, const uint64_t *set, const uint64_t *table,
                               uint64_t *out)
{
    for (size_t w = 0; w < r->words; w++) out[w] = 0;
    for (size_t w = 0; w < r->words; w++)
        for (uint64_t b = set[w]; b; b &= b - 1) {
            const uint64_t *row = table + (w * 64 + (size_t)itp_top_bit(b & (~b + 1))) * r->words;
            for (size_t k = 0; k < r->words; k++) out[k] |= row[k];
        }
}

/* out &= rows of `table` of all sets in `set`. */
ITP_INLINE void itp_meet_rows(const itp_retract *r, const uint64_t *set, const uint64_t *table,
                              uint64_t *out)
{
    for (size_t w = 0; w < r->words; w++)
        for (uint64_t b = set[w]; b; b &= b - 1) {
            const uint64_t *row = table + (w * 64 + (size_t)itp_top_bit(b & (~b + 1))) * r->words;
            for (size_t k = 0; k < r->words; k++) out[k] &= row[k];
        }
}

ITP_INLINE bool itp_row_empty(const itp_retract *r, const uint64_t *row)
{
    uint64_t any = 0;
    for (size_t w = 0; w < r->words; w++) any |= row[w];
    return !any;
}

/* Whether some set of `set` has, in `table`, all of `set` in its row. */
ITP_FN bool itp_has_extreme(const itp_retract *r, const uint64_t *set, const uint64_t *table)
{
    for (size_t w = 0; w < r->words; w++)
        for (uint64_t b = set[w]; b; b &= b - 1) {
            const uint64_t *row = table + (w * 64 + (size_t)itp_top_bit(b & (~b + 1))) * r->words;
            uint64_t missing = 0;
            for (size_t k = 0; k < r->words; k++) missing |= set[k] & ~row[k];
            if (!missing) return true;
        }
    return false;
}

/* Candidates: at or above all sets below, at or below all above; and the classes of boxes. */
ITP_FN void itp_retract_candidates(itp_retract *r, interp_retraction *out)
{
    for (uint32_t v = 0; v < r->m->grid.n; v++) {
        const uint64_t *down = itp_row_of(r, r->down, v), *up = itp_row_of(r, r->up, v);
        uint64_t *may = itp_row_of(r, r->may, v);
        if (r->label[v] != ITP_NO_BOX) {
            memset(may, 0, r->words * sizeof *may);
            may[r->label[v] / 64] = (uint64_t)1 << r->label[v] % 64;
            continue;
        }
        for (uint32_t s = 0; s < r->words * 64; s += 64)
            may[s / 64] = r->sets - s >= 64 ? UINT64_MAX : ((uint64_t)1 << (r->sets - s)) - 1;
        itp_meet_rows(r, down, r->above, may);
        itp_meet_rows(r, up, r->order.bits, may);
        out->components++;
        if (itp_row_empty(r, may)) out->empty++;
        else if (itp_has_extreme(r, down, r->order.bits)) out->succ++;
        else if (itp_has_extreme(r, up, r->above)) out->pred++;
        else out->parallel++;
    }
    out->components += r->sets;
}

/* One sweep of arc consistency from below: what is above candidates of all boxes it leads to; then one
   from above. True when something changed. */
ITP_FN bool itp_retract_sweep(itp_retract *r, bool from_below)
{
    const interp_morse *m = r->m;
    const uint32_t n = m->grid.n;
    bool changed = false;
    const uint64_t *table = from_below ? r->above : r->order.bits;
    uint64_t *closure = r->down; /* of candidates, when their box has been dealt with */
    if (!from_below)
        for (uint32_t v = 0; v < n; v++) memset(itp_row_of(r, r->up, v), 255, r->words * 8);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t v = m->parts.order[from_below ? i : n - 1 - i];
        uint64_t *may = itp_row_of(r, r->may, v), *own = itp_row_of(r, closure, v);
        if (from_below && r->label[v] != ITP_NO_BOX) {
            itp_union_rows(r, may, table, own);
            continue;
        }
        const uint32_t k = itp_boxes(&m->grid, m->image[v], r->work);
        const uint64_t *limit = itp_row_of(r, r->up, v);
        for (size_t w = 0; w < r->words; w++) {
            uint64_t keep = may[w];
            if (!from_below) keep &= limit[w];
            for (uint32_t t = 0; from_below && t < k; t++)
                keep &= itp_row_of(r, closure, r->work[t])[w];
            if (r->label[v] != ITP_NO_BOX) continue;
            changed |= keep != may[w];
            may[w] = keep;
        }
        if (itp_row_empty(r, may)) memset(own, 255, r->words * sizeof *own); /* asks nothing */
        else itp_union_rows(r, may, table, own);
        for (uint32_t t = 0; !from_below && t < k; t++) {
            uint64_t *to = itp_row_of(r, r->up, r->work[t]);
            for (size_t w = 0; w < r->words; w++) to[w] &= own[w];
        }
    }
    return changed;
}

/* The lowest candidate above what all boxes it leads to were given. */
ITP_FN void itp_retract_choose(itp_retract *r, interp_retraction *out)
{
    const interp_morse *m = r->m;
    for (uint32_t i = 0; i < m->grid.n; i++) {
        const uint32_t v = m->parts.order[i];
        uint64_t *may = itp_row_of(r, r->may, v);
        r->tile[v] = -1;
        if (r->label[v] != ITP_NO_BOX) {
            r->tile[v] = (int32_t)r->label[v];
            continue;
        }
        if (itp_row_empty(r, may)) {
            out->trimmed++;
            continue;
        }
        const uint32_t k = itp_boxes(&m->grid, m->image[v], r->work);
        for (uint32_t t = 0; t < k; t++) {
            const int32_t below = r->tile[r->work[t]];
            if (below < 0) continue;
            const uint64_t *row = r->above + (size_t)below * r->words;
            for (size_t w = 0; w < r->words; w++) may[w] &= row[w];
        }
        for (size_t w = 0; w < r->words && r->tile[v] < 0; w++)
            if (may[w]) r->tile[v] = (int32_t)(w * 64) + itp_top_bit(may[w] & (~may[w] + 1));
        out->failed += r->tile[v] < 0;
    }
    for (uint32_t v = 0; v < m->grid.n; v++) {
        const uint32_t k = itp_boxes(&m->grid, m->image[v], r->work);
        for (uint32_t t = 0; t < k; t++) {
            const int32_t a = r->tile[v], b = r->tile[r->work[t]];
            out->violated += a < 0 || b < 0 || !itp_leads(&r->order, (uint32_t)a, (uint32_t)b);
        }
    }
}

/* Sets of the final grid in the numbers of the Morse sets they hold; those that hold none, or one that has
   been had, get the numbers after these. */
ITP_FN interp_status itp_retract_names(itp_retract *r, interp_retraction *out)
{
    interp_morse *m = r->m;
    int32_t *name = (int32_t *)interp_alloc(m->ctx, itp_max_size(1, r->sets) * sizeof *name);
    uint8_t *had = (uint8_t *)itp_calloc(m->ctx, (size_t)m->n_sets + 1, 1);
    int next = m->n_sets;
    interp_status status = name && had ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        memset(name, 255, r->sets * sizeof *name);
        for (uint32_t v = 0; v < m->grid.n; v++) {
            const uint32_t l = r->label[v], s = m->set[v];
            if (l == ITP_NO_BOX || s == ITP_NO_BOX || name[l] >= 0 || had[s]) continue;
            name[l] = (int32_t)s;
            had[s] = 1;
        }
        for (uint32_t l = 0; l < r->sets; l++)
            if (name[l] < 0) name[l] = next++;
        out->sets = next;
        out->size = (uint32_t *)itp_calloc(m->ctx, (size_t)itp_max(1, next), sizeof *out->size);
        if (!out->size) status = INTERP_NO_MEMORY;
    }
    for (uint32_t v = 0; v < m->grid.n && !status; v++)
        if (r->tile[v] >= 0) out->size[r->tile[v] = name[r->tile[v]]]++;
    interp_free(m->ctx, name);
    interp_free(m->ctx, had);
    return status;
}

ITP_FN interp_status itp_retract_room(itp_retract *r)
{
    interp_morse *m = r->m;
    interp_ctx *ctx = m->ctx;
    const size_t n = m->grid.n, row = r->words * sizeof(uint64_t);
    ITP_TRY(itp_order_of(ctx, &m->grid, m->image, &m->parts, r->label, r->sets, &r->order));
    r->above = (uint64_t *)itp_calloc(ctx, itp_max_size(1, r->sets), row);
    r->down = (uint64_t *)itp_calloc(ctx, n, row); /* without sets, nothing is written there */
    r->up = (uint64_t *)itp_calloc(ctx, n, row);
    r->may = (uint64_t *)interp_alloc(ctx, itp_mul_size(n, row));
    r->work = (uint32_t *)interp_alloc(ctx, itp_boxes_room(&m->grid) * sizeof *r->work);
    r->tile = (int32_t *)interp_alloc(ctx, n * sizeof *r->tile);
    if (!r->above || !r->down || !r->up || !r->may || !r->work || !r->tile) return INTERP_NO_MEMORY;
    for (uint32_t i = 0; i < r->sets; i++)
        for (uint32_t j = 0; j <= i; j++)
            if (itp_leads(&r->order, i, j))
                r->above[j * r->words + i / 64] |= (uint64_t)1 << i % 64;
    return INTERP_OK;
}

ITP_FN interp_status itp_retract_run(itp_retract *r, interp_retraction *out)
{
    interp_morse *m = r->m;
    uint64_t *bits = r->may; /* its first n words, until candidates are made */
    for (itp_marks k = {r->label, 0}; k.group * 64 < r->sets; k.group++) {
        itp_reach_down(&m->grid, m->image, &m->parts, k, bits, r->work);
        itp_scatter_words(r, r->down, k.group, bits);
        itp_reach_up(&m->grid, m->image, &m->parts, k, bits, r->work);
        itp_scatter_words(r, r->up, k.group, bits);
        ITP_TRY(
            itp_progress(m->ctx, "retraction", (double)k.group * 64, (double)r->sets, (double)NAN));
    }
    itp_retract_candidates(r, out);
    bool changed = true;
    while (changed) {
        changed = itp_retract_sweep(r, true);
        changed |= itp_retract_sweep(r, false);
        ITP_TRY(itp_progress(m->ctx, "retraction", 0, 0, (double)NAN));
    }
    itp_retract_choose(r, out);
    return itp_retract_names(r, out);
}

INTERP_API interp_status interp_morse_retract(interp_morse *m, interp_retraction *retraction)
{
    interp_ctx *ctx = m->ctx;
    interp_retraction out;
    itp_retract r;
    memset(&out, 0, sizeof out);
    memset(&r, 0, sizeof r);
    ITP_TRY(itp_morse_parts(m));
    r.m = m;
    r.label = m->parts.label;
    r.sets = m->parts.sets;
    r.words = itp_max_size(1, (r.sets + 63) / 64);
    interp_status status =
        r.sets > ITP_SETS_MAX ? itp_too_many_sets(ctx, r.sets) : itp_retract_room(&r);
    if (!status) status = itp_retract_run(&r, &out);
    interp_free(ctx, r.order.bits);
    interp_free(ctx, r.above);
    interp_free(ctx, r.down);
    interp_free(ctx, r.up);
    interp_free(ctx, r.may);
    interp_free(ctx, r.work);
    if (status) {
        interp_free(ctx, r.tile);
        interp_free(ctx, out.size);
        return status;
    }
    out.tile = r.tile;
    *retraction = out;
    return INTERP_OK;
}

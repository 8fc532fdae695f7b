/* ---- attr/owen.c: Owen values over a hierarchy of halves, the largest shares first ------------------ */

enum { ITP_OWEN_DEPTH = 31 }; /* two bits each in a path */

/* Sets the features of a box. */
ITP_FN void itp_owen_fill(itp_attr *a, const itp_box *b)
{
    const int *whole = a->p.root.hi;
    for (int i = b->lo[0]; i < b->hi[0]; i++)
        for (int y = b->lo[1]; y < b->hi[1]; y++)
            memset(a->p.on + ((size_t)i * (size_t)whole[1] + (size_t)y) * (size_t)whole[2] +
                       (size_t)b->lo[2],
                   1, (size_t)itp_box_size(b, 2));
}

/* Walks down to the box of a node; with_others: what its coalition holds besides is switched on. */
ITP_FN itp_box itp_owen_box(itp_attr *a, const itp_owen_node *n, bool with_others)
{
    itp_box b = a->p.root, half[2];
    for (int i = 0; i < n->depth; i++) {
        const unsigned bits = (unsigned)(n->path >> 2 * i) & 3;
        if (!itp_box_split(&b, half)) break;
        if (with_others && bits & 2) itp_owen_fill(a, &half[!(bits & 1)]);
        b = half[bits & 1];
    }
    return b;
}

ITP_FN double itp_owen_share(const itp_owen_node *n)
{
    return (n->f1 - n->f0) / (double)((uint64_t)1 << n->depth);
}

/* Whether a node comes first: the larger share, then the shorter way, so that order is fixed. */
ITP_FN bool itp_owen_first(const itp_owen_node *l, const itp_owen_node *r)
{
    const double u = fabs(itp_owen_share(l)), v = fabs(itp_owen_share(r));
    if (u != v) return u > v;
    return l->depth != r->depth ? l->depth < r->depth : l->path < r->path;
}

ITP_FN void itp_owen_push(itp_attr *a, const itp_owen_node *n)
{
    itp_owen_node *q = a->p.queue;
    int at = a->p.queued++;
    for (; at && itp_owen_first(n, &q[(at - 1) / 2]); at = (at - 1) / 2) q[at] = q[(at - 1) / 2];
    q[at] = *n;
}

ITP_FN itp_owen_node itp_owen_pop(itp_attr *a)
{
    itp_owen_node *q = a->p.queue, top = q[0], last = q[--a->p.queued];
    int at = 0;
    for (int next = 1; next < a->p.queued; next = 2 * at + 1) {
        if (next + 1 < a->p.queued && itp_owen_first(&q[next + 1], &q[next])) next++;
        if (!itp_owen_first(&q[next], &last)) break;
        q[at] = q[next];
        at = next;
    }
    q[at] = last;
    return top;
}

/* Spreads the share of a node evenly over its box. */
ITP_FN void itp_owen_credit(itp_attr *a, const itp_owen_node *n)
{
    const itp_box b = itp_owen_box(a, n, false);
    const int *whole = a->p.root.hi;
    const double each = itp_owen_share(n) /
                        ((double)itp_box_size(&b, 0) * itp_box_size(&b, 1) * itp_box_size(&b, 2));
    for (int i = b.lo[0]; i < b.hi[0]; i++)
        for (int y = b.lo[1]; y < b.hi[1]; y++)
            for (int x = b.lo[2]; x < b.hi[2]; x++)
                a->sum[((size_t)i * (size_t)whole[1] + (size_t)y) * (size_t)whole[2] + (size_t)x] +=
                    each;
}

/* A half of a node, with or without the other. */
ITP_FN void itp_owen_half(itp_attr *a, const itp_owen_node *n, int which, int other, double f0,
                          double f1)
{
    itp_owen_node child;
    itp_box half[2];
    child.path = n->path | (uint64_t)(unsigned)(which + 2 * other) << 2 * n->depth;
    child.depth = n->depth + 1;
    child.f0 = f0, child.f1 = f1;
    const itp_box b = itp_owen_box(a, &child, false);
    if (child.depth < ITP_OWEN_DEPTH && itp_box_split(&b, half)) itp_owen_push(a, &child);
    else itp_owen_credit(a, &child);
}

/* Outputs with the first and with the second half of every open node. */
ITP_FN interp_status itp_owen_look(itp_attr *a, int sample, int open)
{
    itp_perturb *p = &a->p;
    for (int at = 0; at < 2 * open; at += a->filled) {
        a->filled = itp_min(a->batch, 2 * open - at);
        for (int i = 0; i < a->filled; i++) {
            itp_box half[2];
            memset(p->on, 0, (size_t)p->count);
            const itp_box b = itp_owen_box(a, &p->open[(at + i) / 2], true);
            itp_box_split(&b, half);
            itp_owen_fill(a, &half[(at + i) & 1]);
            itp_coalition_apply(a, sample, itp_attr_slot(a, i, sample));
        }
        ITP_TRY(itp_attr_forward(a));
        const float *y = interp_workspace_target(a->w);
        for (int i = 0; i < a->filled; i++)
            p->value[at + i] =
                itp_attr_output(a, y + (size_t)i * (size_t)a->outputs, a->report[sample].target);
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

/* Splits the boxes with the largest shares, a fixed number at a time whatever the batch. */
ITP_FN interp_status itp_owen_sample(itp_attr *a, int sample)
{
    itp_perturb *p = &a->p;
    interp_attribution *r = &a->report[sample];
    const int splits = a->points / 2;
    itp_owen_node root = {0, r->baseline_output, r->output, 0};
    itp_box half[2];
    int done = 0;
    memset(a->sum, 0, (size_t)p->count * sizeof *a->sum);
    p->queued = 0;
    if (itp_box_split(&p->root, half)) itp_owen_push(a, &root);
    else itp_owen_credit(a, &root);
    while (p->queued && done < splits) {
        int open = 0;
        while (p->queued && open < ITP_OWEN_ROUND && done + open < splits)
            p->open[open++] = itp_owen_pop(a);
        ITP_TRY(itp_owen_look(a, sample, open));
        for (int i = 0; i < open; i++) {
            const itp_owen_node *n = &p->open[i];
            const double *f = &p->value[2 * i];
            for (int which = 0; which < 2; which++) {
                itp_owen_half(a, n, which, 0, n->f0, f[which]);
                itp_owen_half(a, n, which, 1, f[!which], n->f1);
            }
        }
        done += open;
    }
    while (p->queued) {
        const itp_owen_node n = itp_owen_pop(a);
        itp_owen_credit(a, &n);
    }
    r->passes = 2 * done + 2;
    return INTERP_OK;
}

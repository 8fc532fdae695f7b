/* ---- math/transport.c: earth mover's distance in two dimensions ----------------------------- */

/* Mass only has to flow between neighbouring cells for the distance along the axes to be the cost,
   so that the flow problem has 2 hw edges instead of (hw)^2 (Ling and Okada 2007). It is solved by
   cheapest paths from what is too much to what is too little, with potentials. */

enum { ITP_MOVER_CELLS = 256 };

typedef struct itp_mover {
    int height, width, n;
    double excess[ITP_MOVER_CELLS];
    double flow[2][ITP_MOVER_CELLS];    /* to the right; down; negative: the other way */
    int potential[ITP_MOVER_CELLS + 1]; /* the last: of the sink behind all cells that lack mass */
    int distance[ITP_MOVER_CELLS];      /* by reduced costs */
    int from[ITP_MOVER_CELLS];
    bool done[ITP_MOVER_CELLS];
} itp_mover;

/* Neighbour `side` of cell i, -1 when there is none; axis, sign: its flow. */
ITP_FN int itp_mover_next(const itp_mover *m, int i, int side, int *axis, int *sign)
{
    const int x = i % m->width;
    *axis = side / 2, *sign = side % 2 ? -1 : 1;
    if (*axis)
        return i + *sign * m->width < 0 || i + *sign * m->width >= m->n ? -1 : i + *sign * m->width;
    return x + *sign < 0 || x + *sign >= m->width ? -1 : i + *sign;
}

/* Flow from cell i along an edge that starts at it or ends there. */
ITP_FN double *itp_mover_edge(itp_mover *m, int i, int next, int axis)
{
    return &m->flow[axis][itp_min(i, next)];
}

/* Distances from every cell with too much; the nearest cell with too little, -1 when none is left.
   */
ITP_FN int itp_mover_search(itp_mover *m, double least)
{
    int best = -1, limit = INT_MAX;
    for (int i = 0; i < m->n; i++) {
        m->distance[i] = m->excess[i] > least ? 0 : INT_MAX;
        m->from[i] = -1, m->done[i] = false;
    }
    for (;;) {
        int at = -1;
        for (int i = 0; i < m->n; i++)
            if (!m->done[i] && m->distance[i] < (at < 0 ? limit : m->distance[at])) at = i;
        if (at < 0) break;
        m->done[at] = true;
        const int sink = m->distance[at] + m->potential[at] - m->potential[m->n];
        if (m->excess[at] < -least && sink < limit) best = at, limit = sink;
        for (int side = 0; side < 4; side++) {
            int axis, sign;
            const int next = itp_mover_next(m, at, side, &axis, &sign);
            if (next < 0 || m->done[next]) continue;
            const bool back = *itp_mover_edge(m, at, next, axis) * sign < 0;
            const int to =
                m->distance[at] + (back ? -1 : 1) + m->potential[at] - m->potential[next];
            if (to < m->distance[next]) m->distance[next] = to, m->from[next] = side;
        }
    }
    for (int i = 0; i < m->n && best >= 0; i++) m->potential[i] += itp_min(m->distance[i], limit);
    if (best >= 0) m->potential[m->n] += limit;
    return best;
}

/* The cell before i on its path, and the flow between them from that to i. */
ITP_FN int itp_mover_back(itp_mover *m, int i, double **flow, int *sign)
{
    int axis;
    const int before = itp_mover_next(m, i, m->from[i] ^ 1, &axis, sign);
    *sign = -*sign;
    *flow = itp_mover_edge(m, i, before, axis);
    return before;
}

ITP_FN void itp_mover_push(itp_mover *m, int to)
{
    double amount = -m->excess[to], *flow;
    int at = to, sign;
    while (m->from[at] >= 0) { /* flow that is undone is limited */
        const int before = itp_mover_back(m, at, &flow, &sign);
        if (*flow * sign < 0) amount = itp_min_double(amount, -*flow * sign);
        at = before;
    }
    amount = itp_min_double(amount, m->excess[at]);
    m->excess[at] -= amount;
    for (at = to; m->from[at] >= 0;) {
        const int before = itp_mover_back(m, at, &flow, &sign);
        *flow += sign * amount;
        at = before;
    }
    m->excess[to] += amount;
}

INTERP_API double interp_earth_mover_2d(const float *a, const float *b, int height, int width)
{
    itp_mover m;
    double sum_a = 0, sum_b = 0, cost = 0;
    if (height < 1 || width < 1 || height > ITP_MOVER_CELLS / width) return (double)NAN;
    memset(&m, 0, sizeof m);
    m.height = height, m.width = width, m.n = height * width;
    for (int i = 0; i < m.n; i++) {
        if (!(a[i] - a[i] == 0) || !(b[i] - b[i] == 0)) return (double)NAN;
        sum_a += a[i] > 0 ? (double)a[i] : 0, sum_b += b[i] > 0 ? (double)b[i] : 0;
    }
    if (!(sum_a > 0) || !(sum_b > 0)) return sum_a > 0 || sum_b > 0 ? height + width : 0;
    for (int i = 0; i < m.n; i++)
        m.excess[i] = (a[i] > 0 ? (double)a[i] : 0) / sum_a - (b[i] > 0 ? (double)b[i] : 0) / sum_b;
    /* what is left over by rounding is no mass */
    for (int to; (to = itp_mover_search(&m, 1e-13)) >= 0;) itp_mover_push(&m, to);
    for (int i = 0; i < m.n; i++) cost += fabs(m.flow[0][i]) + fabs(m.flow[1][i]);
    return cost;
}

/* ---- one image plane at a time: pooling --------------------------------------------------------- */

/* The output columns lo..hi whose source column for this tap lies inside the plane. */
static inline void ITP_K(tap_range)(int columns, int width, int stride, int offset, int *lo,
                                    int *hi)
{
    const int first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const int end = width > offset ? (width - offset + stride - 1) / stride : 0;
    *lo = first < columns ? first : columns;
    *hi = end < columns ? end : columns;
    if (*hi < *lo) *hi = *lo;
}

/* Runs the body for every output row `oy` and tap that has sources: `sy` source row, `lo`..`hi` output
   columns, `sx` source column of lo, `tap` its index. */
#define ITP_FOR_TAPS(g, ...)                                                                       \
    for (int oy = 0; oy < (g)->rows; oy++)                                                         \
        for (int ty = 0; ty < (g)->taps_y; ty++) {                                                 \
            const int sy = oy * (g)->stride_y + ty * (g)->dilation_y - (g)->pad_y;                 \
            if (sy < 0 || sy >= (g)->height) continue;                                             \
            for (int tx = 0; tx < (g)->taps_x; tx++) {                                             \
                int lo, hi;                                                                        \
                const int offset = tx * (g)->dilation_x - (g)->pad_x;                              \
                ITP_K(tap_range)((g)->columns, (g)->width, (g)->stride_x, offset, &lo, &hi);       \
                if (lo >= hi) continue;                                                            \
                const int sx = lo * (g)->stride_x + offset, tap = ty * (g)->taps_x + tx;           \
                const size_t count = (size_t)(hi - lo);                                            \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }

/* The first of this tap's sources inside of `size`, and how many follow it up to the last. */
static int ITP_K(taps_inside)(int at, int taps, int dilation, int size, int *first)
{
    *first = at < 0 ? (-at + dilation - 1) / dilation : 0;
    const int end = at < size ? (size - 1 - at) / dilation + 1 : 0;
    return (end < taps ? end : taps) - *first;
}

/* p[0], p[s] ... of w lanes, the rest 0; reads nothing behind the last. */
static inline vf ITP_K(get_strided)(const float *p, int s, int w)
{
    if (s == 1) return v_get(p, w);
    if (s == 2) {
        const int low = 2 * w - 1 < V_WIDTH ? 2 * w - 1 : V_WIDTH;
        return v_even(v_get(p, low), v_loadn(p + V_WIDTH, 2 * w - 1 - low));
    }
    if (w == V_WIDTH) return v_loads(p, s);
    float lane[V_WIDTH] = {0};
    for (int l = 0; l < w; l++) lane[l] = p[l * s];
    return v_load(lane);
}

/* y[i] = x[i step] */
static void ITP_K(every)(int n, const float *x, int step, float *y)
{
    int i = 0;
    for (; step == 2 && i + V_WIDTH < n; i += V_WIDTH)
        v_store(y + i, v_even(v_load(x + 2 * i), v_load(x + 2 * i + V_WIDTH)));
    for (; i < n; i++) y[i] = x[(ptrdiff_t)i * step];
}

/* The scratch of pools: a row of the plane with its pads, as wide as fits. */
#define ITP_POOL_ROW 1024

/* Largest number of each window, NaN where there is one; or, with per_y[rows] and per_x[columns], its
   sum times both. Over the rows first, then along them. Windows wider than the scratch go tap by tap. */
static void ITP_K(plane_pool)(const itp_plane *g, const float *x, const float *per_y,
                              const float *per_x, float *y)
{
    float row[ITP_POOL_ROW];
    const bool average = per_y != NULL;
    const vf none = v_set(average ? 0 : -(float)INFINITY);
    const int reach = (g->taps_x - 1) * g->dilation_x;
    const int piece = (ITP_POOL_ROW - reach) / g->stride_x - 2 * V_WIDTH; /* output columns */
    for (int c0 = 0; piece > 0 && c0 < g->columns; c0 += piece) {
        const int columns = g->columns - c0 < piece ? g->columns - c0 : piece;
        const int left = c0 * g->stride_x - g->pad_x; /* source column of row[0] */
        const int used = (columns - 1) * g->stride_x + reach + 1;
        const int lo = left < 0 ? -left : 0, hi = g->width - left < used ? g->width - left : used;
        for (int i = 0; i < (columns + V_WIDTH) * g->stride_x + reach; i += V_WIDTH)
            v_store(row + i, none);
        for (int oy = 0; oy < g->rows; oy++) {
            int ty;
            const int sy = oy * g->stride_y - g->pad_y;
            const int taps = ITP_K(taps_inside)(sy, g->taps_y, g->dilation_y, g->height, &ty);
            const ptrdiff_t at = (ptrdiff_t)(sy + ty * g->dilation_y) * g->width + left;
            float *to = y + (ptrdiff_t)oy * g->columns + c0;
            const vf scale = average ? v_set(per_y[oy]) : v_set(1);
            for (int i = lo; i < hi && taps > 0; i += V_WIDTH) {
                const int w = hi - i < V_WIDTH ? hi - i : V_WIDTH;
                vf v = v_get(x + at + i, w);
                for (int t = 1; t < taps; t++) {
                    const ptrdiff_t below = (ptrdiff_t)t * g->dilation_y * g->width;
                    const vf u = v_get(x + at + below + i, w);
                    v = average ? v_add(v, u) : ITP_K(larger)(v, u);
                }
                v_put(row + i, v, w);
            }
            for (int i = 0; i < columns; i += V_WIDTH) {
                const int w = columns - i < V_WIDTH ? columns - i : V_WIDTH;
                vf v = none;
                for (int tx = 0; tx < g->taps_x && taps > 0; tx++) {
                    const float *p = row + i * g->stride_x + tx * g->dilation_x;
                    const vf u = g->stride_x == 1   ? v_load(p)
                                 : g->stride_x == 2 ? v_even(v_load(p), v_load(p + V_WIDTH))
                                                    : v_loads(p, g->stride_x);
                    v = average ? v_add(v, u) : ITP_K(larger)(v, u);
                }
                if (average) v = v_mul(v, v_mul(scale, v_get(per_x + c0 + i, w)));
                v_put(to + i, v, w);
            }
        }
    }
    if (piece > 0) return;
    for (int i = 0; i < g->rows * g->columns; i++) y[i] = average ? 0 : -(float)INFINITY;
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = x + (ptrdiff_t)sy * g->width + sx;
        float *to = y + (ptrdiff_t)oy * g->columns + lo;
        for (size_t i = 0; i < count; i++, from += g->stride_x)
            if (average) to[i] += *from * (per_y[oy] * per_x[(size_t)lo + i]);
            else if (*from > to[i] || *from != *from) to[i] = *from;
    })
}

/* dx += d at the first largest source of the window at (oy, ox) */
static void ITP_K(window_max_grad)(const itp_plane *g, const float *x, int oy, int ox, float d,
                                   float *dx)
{
    int ty, tx;
    const int y = oy * g->stride_y - g->pad_y, left = ox * g->stride_x - g->pad_x;
    const int down = ITP_K(taps_inside)(y, g->taps_y, g->dilation_y, g->height, &ty);
    const int along = ITP_K(taps_inside)(left, g->taps_x, g->dilation_x, g->width, &tx);
    if (down <= 0 || along <= 0) return;
    ptrdiff_t row = (ptrdiff_t)(y + ty * g->dilation_y) * g->width + left + tx * g->dilation_x;
    ptrdiff_t best = row;
    for (int i = 0; i < down; i++, row += (ptrdiff_t)g->dilation_y * g->width)
        for (int t = 0; t < along; t++)
            if (x[row + t * g->dilation_x] > x[best]) best = row + t * g->dilation_x;
    dx[best] += d;
}

/* dx += dy at the first largest source of each window: vectors of windows, of which each lane keeps
   where its largest number lies, and windows that hang over at the sides one by one. */
static void ITP_K(plane_max_grad)(const itp_plane *g, const float *x, const float *dy, float *dx)
{
    const int reach = (g->taps_x - 1) * g->dilation_x, last = g->width - 1 - reach + g->pad_x;
    const int most = 1 << 24; /* places that a float can hold */
    int lo = (g->pad_x + g->stride_x - 1) / g->stride_x, hi = last < 0 ? 0 : last / g->stride_x + 1;
    if (hi > g->columns) hi = g->columns;
    if (hi < lo || g->taps_y > most / g->dilation_y / (g->width + reach)) hi = lo = 0;
    for (int oy = 0; oy < g->rows; oy++, dy += g->columns) {
        int ty;
        const int y = oy * g->stride_y - g->pad_y;
        const int taps = ITP_K(taps_inside)(y, g->taps_y, g->dilation_y, g->height, &ty);
        const ptrdiff_t row = (ptrdiff_t)(y + ty * g->dilation_y) * g->width - g->pad_x;
        if (taps <= 0) continue;
        for (int ox = 0; ox < lo; ox++) ITP_K(window_max_grad)(g, x, oy, ox, dy[ox], dx);
        for (int first = lo, end; first < hi; first = end) {
            float place[ITP_POOL_ROW];
            end = hi - first < ITP_POOL_ROW ? hi : first + ITP_POOL_ROW;
            for (int ox = first; ox < end; ox += V_WIDTH) {
                const int w = end - ox < V_WIDTH ? end - ox : V_WIDTH;
                const float *from = x + row + ox * g->stride_x;
                vf top = ITP_K(get_strided)(from, g->stride_x, w), best = v_zero();
                for (int t = 0; t < taps; t++)
                    for (int tx = 0; tx < g->taps_x; tx++) {
                        const int at = t * g->dilation_y * g->width + tx * g->dilation_x;
                        const vf v = ITP_K(get_strided)(from + at, g->stride_x, w);
                        const vm larger = v_gt(v, top);
                        top = v_select(larger, v, top);
                        best = v_select(larger, v_set((float)at), best);
                    }
                v_store(place + (ox - first), best);
            }
            float *to = dx + row; /* all at once: loads among stores would wait for them */
            for (int ox = first; ox < end; ox++)
                to[(int)place[ox - first] + ox * g->stride_x] += dy[ox];
        }
        for (int ox = hi; ox < g->columns; ox++) ITP_K(window_max_grad)(g, x, oy, ox, dy[ox], dx);
    }
}

/* dx (+)= what each window gives its sources, dy per_y[row] per_x[column]: over the rows first, then
   spread out by the stride and summed along them. */
static void ITP_K(plane_average_grad)(const itp_plane *g, const float *dy, const float *per_y,
                                      const float *per_x, float *dx, bool add)
{
    float sums[ITP_POOL_ROW], spread[ITP_POOL_ROW];
    const int reach = (g->taps_x - 1) * g->dilation_x, stride = g->stride_x;
    const int piece = ITP_POOL_ROW - reach - (2 * stride + 1) * V_WIDTH; /* columns of dx */
    for (int s0 = 0; piece > 0 && s0 < g->width; s0 += piece) {
        const int columns = g->width - s0 < piece ? g->width - s0 : piece;
        const int base = s0 + g->pad_x - reach; /* padded column of spread[0] */
        const int first = base > 0 ? (base + stride - 1) / stride : 0;
        const int end = (base + reach + columns - 1) / stride + 1;
        const int n = (end < g->columns ? end : g->columns) - first; /* windows that reach here */
        float *to = spread + (first * stride - base), *sum = stride == 1 ? to : sums;
        for (int i = 0; i < ITP_POOL_ROW; i += V_WIDTH) v_store(spread + i, v_zero());
        for (int sy = 0; sy < g->height; sy++) {
            bool any = false;
            for (int ty = 0; ty < g->taps_y; ty++) {
                const int y = sy + g->pad_y - ty * g->dilation_y, oy = y / g->stride_y;
                if (y < 0 || y % g->stride_y || oy >= g->rows) continue;
                const float *from = dy + (ptrdiff_t)oy * g->columns + first;
                for (int i = 0; i < n; i += V_WIDTH) {
                    const int w = n - i < V_WIDTH ? n - i : V_WIDTH;
                    const vf scale = v_mul(v_set(per_y[oy]), v_get(per_x + first + i, w));
                    const vf old = any ? v_get(sum + i, w) : v_zero();
                    v_put(sum + i, v_fma(v_get(from + i, w), scale, old), w);
                }
                any = true;
            }
            for (int i = 0; i < n && !any; i++) sum[i] = 0;
            for (int i = 0; i < n && stride == 2; i += V_WIDTH) {
                const vf v = v_get(sum + i, n - i < V_WIDTH ? n - i : V_WIDTH);
                v_store(to + 2 * i, v_zip(v, v_zero()));
                v_store(to + 2 * i + V_WIDTH, v_zip2(v, v_zero()));
            }
            for (int i = 0; i < n && stride > 2; i++) to[i * stride] = sum[i];
            float *row = dx + (ptrdiff_t)sy * g->width + s0;
            for (int i = 0; i < columns; i += V_WIDTH) {
                const int w = columns - i < V_WIDTH ? columns - i : V_WIDTH;
                vf v = add ? v_get(row + i, w) : v_zero();
                for (int tx = 0; tx < g->taps_x; tx++)
                    v = v_add(v, v_load(spread + i + reach - tx * g->dilation_x));
                v_put(row + i, v, w);
            }
        }
    }
    if (piece > 0) return;
    if (!add) memset(dx, 0, (size_t)g->height * (size_t)g->width * sizeof *dx);
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        for (size_t i = 0; i < count; i++, to += g->stride_x)
            *to += from[i] * (per_y[oy] * per_x[(size_t)lo + i]);
    })
}

#undef ITP_POOL_ROW

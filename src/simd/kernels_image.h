/* ---- one image plane at a time: pooling --------------------------------------------------------- */

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

/* Numbers 0, 2, 4 ... of 2 w, and the others. */
static inline vf ITP_K(get_pairs)(const float *p, int w, vf *odd)
{
    const int low = 2 * w < V_WIDTH ? 2 * w : V_WIDTH;
    const vf a = v_loadn(p, low), b = v_loadn(p + low, 2 * w - low);
    *odd = v_odd(a, b);
    return v_even(a, b);
}

/* p (+)= them. */
static inline void ITP_K(put_pairs)(float *p, int w, vf even, vf odd, bool add)
{
    const int low = 2 * w < V_WIDTH ? 2 * w : V_WIDTH, high = 2 * w - low;
    const vf a = add ? v_loadn(p, low) : v_zero(), b = add ? v_loadn(p + low, high) : v_zero();
    v_put(p, v_add(a, v_zip(even, odd)), low);
    v_put(p + low, v_add(b, v_zip2(even, odd)), high);
}

/* Windows of 2 x 2, side by side, none beyond the plane. */
static inline bool ITP_K(by_pairs)(const itp_plane *g)
{
    return V_PAIRWISE && g->taps_y == 2 && g->taps_x == 2 && g->stride_y == 2 && g->stride_x == 2 &&
           g->dilation_y == 1 && g->dilation_x == 1 && g->pad_y == 0 && g->pad_x == 0 &&
           2 * g->rows <= g->height && 2 * g->columns <= g->width;
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
    if (!average && ITP_K(by_pairs)(g)) {
        for (int oy = 0; oy < g->rows; oy++, x += 2 * g->width, y += g->columns)
            V_EACH((size_t)g->columns, {
                vf odd, odd_below;
                const vf even = ITP_K(get_pairs)(x + 2 * i, w, &odd);
                const vf below = ITP_K(get_pairs)(x + g->width + 2 * i, w, &odd_below);
                v_put(y + i,
                      ITP_K(larger)(ITP_K(larger)(even, below), ITP_K(larger)(odd, odd_below)), w);
            })
        return;
    }
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
            const int taps = itp_taps_inside(sy, g->taps_y, g->dilation_y, g->height, &ty);
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
    if (piece <= 0) itp_pool_by_taps(g, x, per_y, per_x, y);
}

/* dx (+)= dy at the first largest source of each window: vectors of windows, of which each lane keeps
   where its largest number lies, and windows that hang over at the sides one by one. */
static void ITP_K(plane_max_grad)(const itp_plane *g, const float *x, const float *dy, float *dx,
                                  bool add)
{
    const bool pairs = ITP_K(by_pairs)(g);
    if (!add && !(pairs && 2 * g->rows == g->height && 2 * g->columns == g->width))
        memset(dx, 0, (size_t)g->height * (size_t)g->width * sizeof *dx);
    if (pairs) {
        for (int oy = 0; oy < g->rows;
             oy++, dy += g->columns, x += 2 * g->width, dx += 2 * g->width)
            V_EACH((size_t)g->columns, {
                vf x1, x3;
                const vf x0 = ITP_K(get_pairs)(x + 2 * i, w, &x1);
                const vf x2 = ITP_K(get_pairs)(x + g->width + 2 * i, w, &x3);
                const vf d = v_get(dy + i, w), zero = v_zero();
                const vm on1 = v_gt(x1, x0);
                const vf top1 = v_select(on1, x1, x0);
                const vm on2 = v_gt(x2, top1), on3 = v_gt(x3, v_select(on2, x2, top1));
                const vf d2 = v_select(on3, zero, d), d1 = v_select(on2, zero, d2);
                ITP_K(put_pairs)
                (dx + 2 * i, w, v_select(on1, zero, d1), v_select(on1, d1, zero), add);
                ITP_K(put_pairs)
                (dx + g->width + 2 * i, w, v_select(on2, d2, zero), v_select(on3, d, zero), add);
            })
        return;
    }
    const int reach = (g->taps_x - 1) * g->dilation_x, last = g->width - 1 - reach + g->pad_x;
    const int most = 1 << 24; /* places that a float can hold */
    int lo = (g->pad_x + g->stride_x - 1) / g->stride_x, hi = last < 0 ? 0 : last / g->stride_x + 1;
    if (hi > g->columns) hi = g->columns;
    if (hi < lo || g->taps_y > most / g->dilation_y / (g->width + reach)) hi = lo = 0;
    for (int oy = 0; oy < g->rows; oy++, dy += g->columns) {
        int ty;
        const int y = oy * g->stride_y - g->pad_y;
        const int taps = itp_taps_inside(y, g->taps_y, g->dilation_y, g->height, &ty);
        const ptrdiff_t row = (ptrdiff_t)(y + ty * g->dilation_y) * g->width - g->pad_x;
        if (taps <= 0) continue;
        for (int ox = 0; ox < lo; ox++) itp_window_max_grad(g, x, oy, ox, dy[ox], dx);
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
        for (int ox = hi; ox < g->columns; ox++) itp_window_max_grad(g, x, oy, ox, dy[ox], dx);
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
    if (piece <= 0) itp_pool_grad_by_taps(g, dy, per_y, per_x, dx, add);
}

#undef ITP_POOL_ROW

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

/* Largest number of each window, NaN where there is one: over the rows first, then along them. Windows
   wider than the row of scratch go tap by tap. */
static void ITP_K(plane_max)(const itp_plane *g, const float *x, float *y)
{
    enum { most = 1024 };
    float row[most]; /* with the padding in front of it and behind it */
    const int reach = (g->columns + 2 * V_WIDTH) * g->stride_x + (g->taps_x - 1) * g->dilation_x;
    const size_t n = (size_t)g->rows * (size_t)g->columns;
    if (g->pad_x + g->width > most || reach > most) {
        for (size_t i = 0; i < n; i++) y[i] = -(float)INFINITY;
        ITP_FOR_TAPS(g, (void)tap;
                     ITP_K(max_into)(count, x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                     y + (ptrdiff_t)oy * g->columns + lo);)
        return;
    }
    for (int i = 0; i < most; i++) row[i] = -(float)INFINITY;
    float *inside = row + g->pad_x;
    for (int oy = 0; oy < g->rows; oy++, y += g->columns) {
        bool any = false;
        for (int ty = 0; ty < g->taps_y; ty++) {
            const int sy = oy * g->stride_y + ty * g->dilation_y - g->pad_y;
            if (sy < 0 || sy >= g->height) continue;
            const float *from = x + (ptrdiff_t)sy * g->width;
            if (any) ITP_K(max_into)((size_t)g->width, from, 1, inside);
            else memcpy(inside, from, (size_t)g->width * sizeof *row);
            any = true;
        }
        for (int ox = 0; ox < g->columns; ox += V_WIDTH) {
            const int w = g->columns - ox < V_WIDTH ? g->columns - ox : V_WIDTH;
            vf top = v_set(-(float)INFINITY);
            for (int tx = 0; tx < g->taps_x; tx++) {
                const float *p = row + ox * g->stride_x + tx * g->dilation_x;
                const vf v = g->stride_x == 1   ? v_load(p)
                             : g->stride_x == 2 ? v_even(v_load(p), v_load(p + V_WIDTH))
                                                : v_loads(p, g->stride_x);
                top = ITP_K(larger)(top, v);
            }
            v_put(y + ox, any ? top : v_set(-(float)INFINITY), w);
        }
    }
}

/* dx += dy at the first largest source of each window */
static void ITP_K(plane_max_grad)(const itp_plane *g, const float *x, const float *dy, float *dx)
{
    const bool pairs = g->taps_y == 2 && g->taps_x == 2 && g->dilation_y == 1 &&
                       g->dilation_x == 1 && g->pad_y == 0 && g->pad_x == 0 &&
                       (g->rows - 1) * g->stride_y + 2 <= g->height &&
                       (g->columns - 1) * g->stride_x + 2 <= g->width;
    for (int oy = 0; oy < g->rows; oy++)
        for (int ox = 0; ox < g->columns; ox++) {
            const float d = dy[(ptrdiff_t)oy * g->columns + ox];
            const int top_y = oy * g->stride_y - g->pad_y, top_x = ox * g->stride_x - g->pad_x;
            ptrdiff_t best = -1;
            if (pairs) { /* no branches: which source is largest cannot be foretold */
                const ptrdiff_t at = (ptrdiff_t)oy * g->stride_y * g->width + ox * g->stride_x;
                const ptrdiff_t below = at + g->width;
                const ptrdiff_t top = x[at + 1] > x[at] ? at + 1 : at;
                const ptrdiff_t low = x[below + 1] > x[below] ? below + 1 : below;
                dx[x[low] > x[top] ? low : top] += d;
                continue;
            }
            if (top_y >= 0 && top_x >= 0 && top_y + (g->taps_y - 1) * g->dilation_y < g->height &&
                top_x + (g->taps_x - 1) * g->dilation_x < g->width) {
                best = (ptrdiff_t)top_y * g->width + top_x;
                float top = x[best];
                for (int ty = 0; ty < g->taps_y; ty++) {
                    ptrdiff_t at = (ptrdiff_t)(top_y + ty * g->dilation_y) * g->width + top_x;
                    for (int tx = 0; tx < g->taps_x; tx++, at += g->dilation_x) {
                        best = x[at] > top ? at : best;
                        top = x[at] > top ? x[at] : top;
                    }
                }
                dx[best] += d;
                continue;
            }
            for (int ty = 0; ty < g->taps_y; ty++) {
                const int sy = top_y + ty * g->dilation_y;
                if (sy < 0 || sy >= g->height) continue;
                for (int tx = 0; tx < g->taps_x; tx++) {
                    const int sx = top_x + tx * g->dilation_x;
                    if (sx < 0 || sx >= g->width) continue;
                    const ptrdiff_t at = (ptrdiff_t)sy * g->width + sx;
                    if (best < 0 || x[at] > x[best]) best = at;
                }
            }
            if (best >= 0) dx[best] += d;
        }
}

/* y += sum of each window */
static void ITP_K(plane_sum)(const itp_plane *g, const float *x, float *y)
{
    ITP_FOR_TAPS(g, (void)tap; ITP_K(axpy)(count, 1, x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                           y + (ptrdiff_t)oy * g->columns + lo);)
}

static void ITP_K(plane_sum_grad)(const itp_plane *g, const float *dy, float *dx)
{
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        for (size_t i = 0; i < count; i++) to[i * (size_t)g->stride_x] += from[i];
    })
}

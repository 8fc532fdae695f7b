/* ---- depthwise convolution: one plane with a window of its own ---------------------------------- */

#define ITP_DW_TAPS    5  /* of a side, at most */
#define ITP_DW_AHEAD   24 /* rows */
#define ITP_DW_EACH(X) X(0) X(1) X(2) X(3) X(4)

#if V_WIDTH > 1 /* one lane gains nothing */

/* Planes are walked down in stripes of V_WIDTH columns of output. A row of input is loaded once per stripe,
   once for each column of the window, with zeros for what lies outside; windows that begin at
   different rows are under way at the same time, each with a vector of its own. */

/* The lanes of a row's loads that lie within 0..width: columns from `at` on. Stride 1: a load for each
   column of the window; 2: one before its middle column, two from there on, one behind them. */
ITP_INLINE void ITP_K(dw_lanes)(int taps, int stride, int at, int width, vl *lanes)
{
#define ITP_STEP(i)                                                                                \
    if (i < (stride == 1 || taps == 3 ? taps : 4)) {                                               \
        const int from = at + (stride == 1 ? i : taps / 2 + (i - 1) * V_WIDTH);                    \
        lanes[i] = v_lanes(-from, width - from);                                                   \
    }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* v[tx]: lane i is column i * stride + tx of the row at p. */
ITP_INLINE void ITP_K(dw_row)(int taps, int stride, const float *p, const vl *lanes, vf *v)
{
    if (stride == 2) {
        const float *middle = p + taps / 2;
        const vf a = v_between(middle, lanes[1]), b = v_between(middle + V_WIDTH, lanes[2]);
        const vf before = v_between(middle - V_WIDTH, lanes[0]), even = v_even(a, b);
        v[taps / 2] = even, v[taps / 2 + 1] = v_odd(a, b);
        v[taps / 2 - 1] = v_push(before, v[taps / 2 + 1]);
        if (taps == 3) return;
        v[0] = v_push(v_even(before, before), even);
        v[4] = v_pull(even, v_between(middle + 2 * V_WIDTH, lanes[3]));
        return;
    }
#define ITP_STEP(i)                                                                                \
    if (i < taps) v[i] = v_between(p + i, lanes[i]);
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* Asks for a row before it is needed: those of a stripe lie apart. In the last rows that is of the next
   plane. With stride 2 the chip does as well by itself. */
ITP_INLINE void ITP_K(dw_ahead)(const float *row, ptrdiff_t pitch)
{
    if (V_AHEAD) ITP_PREFETCH_NEAR(row + ITP_DW_AHEAD * pitch + V_WIDTH);
    (void)row, (void)pitch;
}

/* A window's weights, each in all lanes. */
ITP_INLINE void ITP_K(dw_window)(int taps, const float *w, vf *all)
{
#define ITP_STEP(i)                                                                                \
    if (i < taps) {                                                                                \
        all[i] = v_set(w[i]), all[taps + i] = v_set(w[taps + i]);                                  \
        all[2 * taps + i] = v_set(w[2 * taps + i]);                                                \
        if (taps > 3) {                                                                            \
            all[3 * taps + i] = v_set(w[3 * taps + i]);                                            \
            all[4 * taps + i] = v_set(w[4 * taps + i]);                                            \
        }                                                                                          \
    }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* sums[j] += a row of input, v, which the window's row last - j * stride meets. */
ITP_INLINE void ITP_K(dw_row_sums)(int taps, int stride, int last, const vf *w, const vf *v,
                                   vf *sums)
{
#define ITP_TAP(x, t)                                                                              \
    if (t <= last && (last - t) % stride == 0)                                                     \
        sums[(last - t) / stride] = v_fma(w[(t)*taps + (x)], v[x], sums[(last - t) / stride]);
#define ITP_STEP(x)                                                                                \
    if (x < taps) { ITP_TAP(x, 4) ITP_TAP(x, 3) ITP_TAP(x, 2) ITP_TAP(x, 1) ITP_TAP(x, 0) }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
#undef ITP_TAP
}

/* y (+)= window sums of x + bias. Always inlined with constant taps (per side) and stride. */
ITP_INLINE void ITP_K(dw_conv_of)(int taps, int stride, const itp_plane *g, const float *x,
                                  const float *window, float bias, bool add, float *y)
{
    const int behind = (taps - 1) / stride, height = g->height, rows = g->rows;
    const ptrdiff_t pitch = g->width, to_pitch = g->columns;
    vf w[ITP_DW_TAPS * ITP_DW_TAPS], v[ITP_DW_TAPS], sums[ITP_DW_TAPS];
    vl lanes[ITP_DW_TAPS];
    ITP_K(dw_window)(taps, window, w);
    const vf first = v_set(bias);
    for (int left = 0; left < g->columns; left += V_WIDTH) {
        const int n = g->columns - left < V_WIDTH ? g->columns - left : V_WIDTH;
        const int at = left * stride - g->pad_x;
        ITP_K(dw_lanes)(taps, stride, at, g->width, lanes);
        int row = taps - stride - g->pad_y - behind * stride;
        const float *from = x + row * pitch + at;
        float *to = y + left;
        sums[0] = sums[1] = sums[2] = sums[3] = sums[4] = first;
        for (int r = -behind; r < rows; r++) {
            if (stride == 1) ITP_K(dw_ahead)(from, pitch);
            if (row >= 0 && row < height) {
                ITP_K(dw_row)(taps, stride, from, lanes, v);
                ITP_K(dw_row_sums)(taps, stride, taps - stride, w, v, sums);
            }
            if (stride == 2 && row + 1 >= 0 && row + 1 < height) {
                ITP_K(dw_row)(taps, stride, from + pitch, lanes, v);
                ITP_K(dw_row_sums)(taps, stride, taps - 1, w, v, sums);
            }
            row += stride, from += stride * pitch;
            if (r >= 0) {
                v_put(to, add ? v_add(sums[0], v_get(to, n)) : sums[0], n);
                to += to_pitch;
            }
            sums[0] = sums[1], sums[1] = behind > 1 ? sums[2] : first;
            sums[2] = behind > 2 ? sums[3] : first, sums[3] = sums[4], sums[4] = first;
        }
    }
}

/* Square windows of 3 or 5 with stride 1 or 2: those of the networks in use. */
static bool ITP_K(dw_common)(const itp_plane *g)
{
    return (g->taps_y == 3 || g->taps_y == 5) && g->taps_x == g->taps_y && g->stride_y <= 2 &&
           g->stride_x == g->stride_y && g->dilation_y == 1 && g->dilation_x == 1;
}

/* Calls a body with constant taps and stride. */
#define ITP_DW_CALL(name, g, ...)                                                                  \
    do {                                                                                           \
        if ((g)->taps_x == 3 && (g)->stride_x == 1) ITP_K(name)(3, 1, g, __VA_ARGS__);             \
        else if ((g)->taps_x == 3) ITP_K(name)(3, 2, g, __VA_ARGS__);                              \
        else if ((g)->stride_x == 1) ITP_K(name)(5, 1, g, __VA_ARGS__);                            \
        else ITP_K(name)(5, 2, g, __VA_ARGS__);                                                    \
    } while (0)

static void ITP_K(dw_conv)(const itp_plane *g, const float *x, const float *w, float bias, bool add,
                           float *y)
{
    ITP_DW_CALL(dw_conv_of, g, x, w, bias, add, y);
}

/* A row of dy, v by columns of the window, adds to the pair of rows of dx it begins at and to those below:
   to sums[row & 1][row / 2 + 3 * (column & 1)]. */
ITP_INLINE void ITP_K(dw_row_back)(int taps, const vf *w, const vf *v, vf (*sums)[6])
{
#define ITP_TAP(x, t)                                                                              \
    sums[t % 2][t / 2 + x % 2 * 3] = v_fma(w[(t)*taps + (x)], v[x], sums[t % 2][t / 2 + x % 2 * 3])
#define ITP_STEP(t)                                                                                \
    if (t < taps) {                                                                                \
        ITP_TAP(0, t);                                                                             \
        ITP_TAP(1, t);                                                                             \
        ITP_TAP(2, t);                                                                             \
        if (taps > 3) ITP_TAP(3, t);                                                               \
        if (taps > 3) ITP_TAP(4, t);                                                               \
    }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
#undef ITP_TAP
}

/* Takes the first of those sums for n0 and n1 numbers of a row of dx, unless there is no such row. */
ITP_INLINE void ITP_K(dw_row_pairs)(vf *sums, bool odd, int n0, int n1, bool there, bool add,
                                    float *dx)
{
    const vf even = sums[0], uneven = sums[3];
    sums[0] = sums[1], sums[1] = sums[2], sums[2] = v_zero();
    sums[3] = sums[4], sums[4] = sums[5], sums[5] = v_zero();
    if (!there) return;
    vf low = odd ? v_zip(uneven, even) : v_zip(even, uneven);
    vf high = odd ? v_zip2(uneven, even) : v_zip2(even, uneven);
    if (n1 == V_WIDTH && !add) {
        v_store(dx, low), v_store(dx + V_WIDTH, high);
        return;
    }
    if (add) low = v_add(low, v_get(dx, n0)), high = v_add(high, v_get(dx + V_WIDTH, n1));
    v_put(dx, low, n0);
    v_put(dx + V_WIDTH, high, n1);
}

/* dx (+)= its gradient for stride 2. Counted from the padding on, even rows and columns of dx meet even
   ones of the window. Always inlined with constant taps. */
ITP_INLINE void ITP_K(dw_data_of)(int taps, const itp_plane *g, const float *dy,
                                  const float *window, bool add, float *dx)
{
    const bool odd = g->pad_x & 1;
    const int begin = g->pad_y / 2, height = g->height, rows = g->rows; /* begin: a row of dy */
    const ptrdiff_t pitch = g->width, from_pitch = g->columns;
    vf w[ITP_DW_TAPS * ITP_DW_TAPS], v[ITP_DW_TAPS], sums[2][6];
    vl lanes[ITP_DW_TAPS];
    ITP_K(dw_window)(taps, window, w);
    for (int left = 0; left < g->width; left += 2 * V_WIDTH) {
        /* What even and odd columns of the window meet first. */
        const int at0 = (left + g->pad_x + odd) / 2, at1 = (left + g->pad_x - odd) / 2;
#define ITP_STEP(i)                                                                                \
    if (i < taps)                                                                                  \
        lanes[i] = v_lanes(i / 2 - (i % 2 ? at1 : at0), g->columns + i / 2 - (i % 2 ? at1 : at0)); \
    sums[0][i + 1] = sums[1][i + 1] = v_zero();
        ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
        sums[0][0] = sums[1][0] = v_zero();
        const int n = g->width - left, n0 = n < V_WIDTH ? n : V_WIDTH;
        const int n1 = n < 2 * V_WIDTH ? n - n0 : V_WIDTH;
        int q = begin - taps / 2, row = 2 * q - g->pad_y;
        const float *even = dy + q * from_pitch + at0, *uneven = even - at0 + at1;
        float *to = dx + row * pitch + left;
        for (; row < height; q++, row += 2, to += 2 * pitch) {
            if (q >= 0 && q < rows) {
#define ITP_STEP(i)                                                                                \
    if (i < taps) v[i] = v_between((i % 2 ? uneven : even) - i / 2, lanes[i]);
                ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
                ITP_K(dw_row_back)(taps, w, v, sums);
            }
            even += from_pitch, uneven += from_pitch;
            const bool first = q >= begin && row >= 0, second = q >= begin && row + 1 < height;
            ITP_K(dw_row_pairs)(sums[0], odd, n0, n1, first, add, to);
            ITP_K(dw_row_pairs)(sums[1], odd, n0, n1, second, add, to + pitch);
        }
    }
}

/* s[3 * t] += v, of a row of x, times the row of dy whose window's row t meets it: for rows t of a kind. */
ITP_INLINE void ITP_K(dw_products)(int taps, int stride, int kind, vf v, const vf *d, vf *s)
{
#define ITP_STEP(t)                                                                                \
    if (t < taps && t % stride == kind) s[3 * t] = v_fma(v, d[t / stride], s[3 * t]);
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* Those of `columns` columns of the window, from `first` on. With stride 1 each is loaded when it is needed, as
   registers are few. */
ITP_INLINE void ITP_K(dw_row_products)(int taps, int stride, int kind, int first, int columns,
                                       const float *p, const vl *lanes, const vf *d, vf *s)
{
    vf v[ITP_DW_TAPS];
    if (stride == 2) ITP_K(dw_row)(taps, stride, p, lanes, v);
#define ITP_STEP(i)                                                                                \
    if (i < columns) {                                                                             \
        if (stride == 1) v[first + i] = v_between(p + first + i, lanes[first + i]);                \
        ITP_K(dw_products)(taps, stride, kind, v[first + i], d, s + i);                            \
    }
    ITP_STEP(0)
    ITP_STEP(1)
    ITP_STEP(2)
#undef ITP_STEP
}

/* sums[ty][tx] = x dy for up to three columns of the window, from `first` on, lanes apart. Always inlined with
   all that is constant. */
ITP_INLINE void ITP_K(dw_sums)(int taps, int stride, int first, int columns, const itp_plane *g,
                               const float *x, const float *dy, vf *sums)
{
    const int behind = (taps - 1) / stride, height = g->height;
    const ptrdiff_t pitch = g->width;
    vf s[ITP_DW_TAPS * 3], d[ITP_DW_TAPS];
    vl lanes[ITP_DW_TAPS];
#define ITP_STEP(i) s[3 * i] = s[3 * i + 1] = s[3 * i + 2] = v_zero();
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
    for (int left = 0; left < g->columns; left += V_WIDTH) {
        const int at = left * stride - g->pad_x;
        ITP_K(dw_lanes)(taps, stride, at, g->width, lanes);
        const int n = g->columns - left < V_WIDTH ? g->columns - left : V_WIDTH;
        const float *from = x - g->pad_y * pitch + at, *down = dy + left;
        int row = -g->pad_y;
        d[1] = d[2] = d[3] = d[4] = v_zero();
        for (int r = 0; r < g->rows + behind; r++, row += stride) {
            d[0] = v_zero();
            if (r < g->rows) d[0] = v_get(down, n);
            if (stride == 1) ITP_K(dw_ahead)(from, pitch);
            if (stride == 1) ITP_K(dw_ahead)(down, g->columns);
            if (row >= 0 && row < height)
                ITP_K(dw_row_products)(taps, stride, 0, first, columns, from, lanes, d, s);
            if (stride == 2 && row + 1 >= 0 && row + 1 < height)
                ITP_K(dw_row_products)(taps, 2, 1, first, columns, from + pitch, lanes, d, s);
            d[4] = d[3], d[3] = d[2], d[2] = d[1], d[1] = d[0];
            from += stride * pitch, down += g->columns;
        }
    }
#define ITP_STEP(t)                                                                                \
    if (t < taps) {                                                                                \
        sums[t * taps + first] = s[3 * t];                                                         \
        if (columns > 1) sums[t * taps + first + 1] = s[3 * t + 1];                                \
        if (columns > 2) sums[t * taps + first + 2] = s[3 * t + 2];                                \
    }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* Half as many vectors, each of the sums of neighbouring lanes of two; of the last one where n is odd. */
ITP_INLINE int ITP_K(dw_fold)(int n, vf *s)
{
#define ITP_STEP(i)                                                                                \
    if (2 * (i) < n) {                                                                             \
        const int second = 2 * (i) + 1 < n ? 2 * (i) + 1 : 2 * (i);                                \
        s[i] = v_add(v_even(s[2 * (i)], s[second]), v_odd(s[2 * (i)], s[second]));                 \
    }
    ITP_STEP(0)
    ITP_STEP(1)
    ITP_STEP(2)
    ITP_STEP(3)
    ITP_STEP(4)
    ITP_STEP(5)
    ITP_STEP(6)
    ITP_STEP(7)
    ITP_STEP(8)
    ITP_STEP(9)
    ITP_STEP(10)
    ITP_STEP(11)
    ITP_STEP(12)
#undef ITP_STEP
    return (n + 1) / 2;
}

/* dw = its gradient. Always inlined with constant taps and stride. */
ITP_INLINE void ITP_K(dw_weights_of)(int taps, int stride, const itp_plane *g, const float *x,
                                     const float *dy, float *dw)
{
    vf sums[ITP_DW_TAPS * ITP_DW_TAPS];
    /* As many columns at a time as the registers have room for, of which AVX2 has 16. */
    const int most = V_WIDTH == 8 ? 2 : 3;
    ITP_K(dw_sums)(taps, stride, 0, most, g, x, dy, sums);
    if (most == 3 && taps == 5) ITP_K(dw_sums)(taps, stride, 3, 2, g, x, dy, sums);
    if (most == 2) ITP_K(dw_sums)(taps, stride, 2, taps == 3 ? 1 : 2, g, x, dy, sums);
    if (most == 2 && taps == 5) ITP_K(dw_sums)(taps, stride, 4, 1, g, x, dy, sums);
    int n = ITP_K(dw_fold)(taps * taps, sums);
    if (V_WIDTH > 2) n = ITP_K(dw_fold)(n, sums);
    if (V_WIDTH > 4) n = ITP_K(dw_fold)(n, sums);
    if (V_WIDTH > 8) n = ITP_K(dw_fold)(n, sums);
    const int rest = taps * taps - (n - 1) * V_WIDTH;
    for (int i = 0; i + 1 < n; i++, dw += V_WIDTH) v_store(dw, sums[i]);
    v_storen(dw, sums[n - 1], rest);
}

/* dw = its gradient: common windows */
static void ITP_K(dw_weights)(const itp_plane *g, const float *x, const float *dy, float *dw)
{
    ITP_DW_CALL(dw_weights_of, g, x, dy, dw);
}
#else
#define ITP_DW_NONE 1
#endif

/* y (+)= sums over windows of x with w[taps_y][taps_x], plus bias */
static void ITP_K(plane_conv)(const itp_plane *g, const float *x, const float *w, float bias,
                              bool add, float *y)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_conv)(g, x, w, bias, add, y);
        return;
    }
#endif
    const size_t n = (size_t)g->rows * (size_t)g->columns;
    for (size_t i = 0; i < n && !add; i++) y[i] = bias;
    ITP_FOR_TAPS(g, ITP_K(axpy)(count, w[tap], x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                y + (ptrdiff_t)oy * g->columns + lo);)
}

/* dx (+)= its gradient */
static void ITP_K(plane_conv_data)(const itp_plane *g, const float *dy, const float *w, bool add,
                                   float *dx)
{
#ifndef ITP_DW_NONE
    const int taps = g->taps_y * g->taps_x;
    if (ITP_K(dw_common)(g) && g->stride_y == 1) {
        itp_plane turned = *g; /* dx is dy under the turned window */
        float back[ITP_DW_TAPS * ITP_DW_TAPS];
        turned.height = g->rows, turned.width = g->columns;
        turned.rows = g->height, turned.columns = g->width;
        turned.pad_y = g->taps_y - 1 - g->pad_y, turned.pad_x = g->taps_x - 1 - g->pad_x;
        for (int t = 0; t < taps; t++) back[t] = w[taps - 1 - t];
        ITP_K(dw_conv)(&turned, dy, back, 0, add, dx);
        return;
    }
    if (ITP_K(dw_common)(g) && g->stride_y == 2) {
        if (taps == 9) ITP_K(dw_data_of)(3, g, dy, w, add, dx);
        else ITP_K(dw_data_of)(5, g, dy, w, add, dx);
        return;
    }
#endif
    const size_t n = (size_t)g->height * (size_t)g->width;
    if (!add) memset(dx, 0, n * sizeof *dx);
    ITP_FOR_TAPS(g, {
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        if (g->stride_x == 1) ITP_K(axpy)(count, w[tap], from, 1, to);
        else
            for (size_t i = 0; i < count; i++) to[i * (size_t)g->stride_x] += w[tap] * from[i];
    })
}

/* dw = its gradient */
static void ITP_K(plane_conv_weights)(const itp_plane *g, const float *x, const float *dy,
                                      float *dw)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_weights)(g, x, dy, dw);
        return;
    }
#endif
    double sum[ITP_PLANE_TAPS] = {0};
    ITP_FOR_TAPS(g,
                 sum[tap] += ITP_K(dot_strided)(count, x + (ptrdiff_t)sy * g->width + sx,
                                                g->stride_x, dy + (ptrdiff_t)oy * g->columns + lo);)
    for (int t = 0; t < g->taps_y * g->taps_x; t++) dw[t] = (float)sum[t];
}

#undef ITP_DW_NONE
#undef ITP_DW_TAPS
#undef ITP_DW_AHEAD
#undef ITP_DW_EACH
#undef ITP_DW_CALL
#undef ITP_FOR_TAPS

/* ---- depthwise convolution: one plane with a window of its own ---------------------------------- */

#define ITP_DW_ROWS   7 /* of output at a time: image sizes tend to be multiples of 7 */
#define ITP_DW_TAPS   5
#define ITP_DW_OUT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6)
#define ITP_DW_IN(X)                                                                               \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)

#if V_WIDTH > 1 /* one lane gains nothing */

/* A band: some rows and columns of a plane with zeros around it, so that windows need no limits. */
#define ITP_DW_COLUMNS 112                                          /* of output at a time */
#define ITP_DW_PITCH   (ITP_DW_COLUMNS + ITP_DW_TAPS + 2 * V_WIDTH) /* floats of a row */
#define ITP_DW_BAND    (((ITP_DW_ROWS - 1) * 2 + ITP_DW_TAPS) * 2 * ITP_DW_PITCH)

/* Rows top.. and columns left.. of x[height][width], zeros outside it: band[row], or for stride 2
   band[row][parity of the column]. Always inlined with constant stride. */
ITP_INLINE void ITP_K(dw_band_of)(int stride, int rows, int columns, const float *x, int height,
                                  int width, int top, int left, float *band)
{
    const int start = left < 0 ? 0 : left; /* the first column of x */
    const int before = start - left;       /* and its place */
    const int there = width - start, wanted = columns * stride - before, step = stride * V_WIDTH;
    /* Vectors of a row: wanted, whole, and with one that ends within. */
    const int need = wanted > 0 && there > 0 ? (wanted + step - 1) / step : 0;
    const int whole = there / step < need ? there / step : need;
    const int n = there - whole * step, end = whole < need && n > 0 ? whole + 1 : whole;
    const vl here = v_lanes(0, n), next = v_lanes(0, n - V_WIDTH);
    /* The first column's row, and where in it; for stride 2 that of the column behind it too. */
    const ptrdiff_t row0 = before % stride * ITP_DW_PITCH, row1 = ITP_DW_PITCH - row0;
    const int at0 = before / stride, at1 = (before + 1) / stride, tail = end * V_WIDTH;
    const bool narrow = at1 <= V_WIDTH && columns <= at0 + tail + V_WIDTH; /* zeros at both sides */
    (void)next;
    for (int r = 0; r < rows; r++, band += stride * ITP_DW_PITCH) {
        const int sy = top + r;
        const bool inside = sy >= 0 && sy < height && need > 0;
        for (int q = 0; q < stride; q++) {
            float *row = band + q * ITP_DW_PITCH;
            v_store(row, v_zero());
            for (int i = V_WIDTH; i < columns && !(inside && narrow); i += V_WIDTH)
                v_store(row + i, v_zero());
        }
        if (!inside) continue;
        const float *p = x + (ptrdiff_t)sy * width + start;
        float *to0 = band + row0 + at0, *to1 = band + row1 + at1;
        if (narrow) v_store(to0 + tail, v_zero());
        if (narrow && stride == 2) v_store(to1 + tail, v_zero());
        for (int i = 0; i < whole * V_WIDTH; i += V_WIDTH, p += step) {
            const vf a = v_load(p), b = stride == 1 ? a : v_load(p + V_WIDTH);
            v_store(to0 + i, stride == 1 ? a : v_even(a, b));
            if (stride == 2) v_store(to1 + i, v_odd(a, b));
        }
        if (end > whole) {
            const vf a = v_between(p, here), b = stride == 1 ? a : v_between(p + V_WIDTH, next);
            v_store(to0 + whole * V_WIDTH, stride == 1 ? a : v_even(a, b));
            if (stride == 2) v_store(to1 + whole * V_WIDTH, v_odd(a, b));
        }
    }
}

static void ITP_K(dw_band)(int stride, int rows, int columns, const float *x, int height, int width,
                           int top, int left, float *band)
{
    if (stride == 1) ITP_K(dw_band_of)(1, rows, columns, x, height, width, top, left, band);
    else ITP_K(dw_band_of)(2, rows, columns, x, height, width, top, left, band);
}

/* Row k of a band, from column `from` on, once for all rows r of output that meet it: ITP_STEP(r) with the
   vector v and the row i. */
#define ITP_DW_SOURCE(k)                                                                           \
    if (k < (ITP_DW_ROWS - 1) * stride + taps) {                                                   \
        enum { i = k };                                                                            \
        const vf v = v_load(from + i * stride * ITP_DW_PITCH);                                     \
        ITP_DW_OUT(ITP_STEP)                                                                       \
    }

/* Window sums + bias of ITP_DW_ROWS rows and a vector of columns, from column ox of a band, into
   to[row * to_rs + column], n columns of them. Each vector of input is loaded once for all rows it
   belongs to. Always inlined with constant taps (per side) and stride. */
ITP_INLINE void ITP_K(dw_tile)(int taps, int stride, const float *band, const float *w, float bias,
                               int ox, int n, float *to, ptrdiff_t to_rs)
{
#define ITP_DECLARE(r) vf c##r = v_set(bias);
    ITP_DW_OUT(ITP_DECLARE)
#undef ITP_DECLARE
    for (int tx = 0; tx < taps; tx++) {
        const vf w0 = v_set(w[tx]), w1 = v_set(w[taps + tx]), w2 = v_set(w[2 * taps + tx]);
        const vf w3 = taps > 3 ? v_set(w[3 * taps + tx]) : w0;
        const vf w4 = taps > 3 ? v_set(w[4 * taps + tx]) : w0;
        const float *from = band + ox + (stride == 1 ? tx : tx % 2 * ITP_DW_PITCH + tx / 2);
#define ITP_STEP(r)                                                                                \
    if (i >= stride * (r) && i - stride * (r) < taps) {                                            \
        const int t = i - stride * (r);                                                            \
        c##r = v_fma(t == 0 ? w0 : t == 1 ? w1 : t == 2 ? w2 : t == 3 ? w3 : w4, v, c##r);         \
    }
        ITP_DW_IN(ITP_DW_SOURCE)
#undef ITP_STEP
    }
#define ITP_STORE(r) v_put(to + (r)*to_rs, c##r, n);
    ITP_DW_OUT(ITP_STORE)
#undef ITP_STORE
}

#define ITP_DW_FUNCTION(name, taps, stride)                                                        \
    static void ITP_K(name)(const float *band, const float *w, float bias, int ox, int n,          \
                            float *to, ptrdiff_t to_rs)                                            \
    {                                                                                              \
        ITP_K(dw_tile)(taps, stride, band, w, bias, ox, n, to, to_rs);                             \
    }
ITP_DW_FUNCTION(dw_3_1, 3, 1)
ITP_DW_FUNCTION(dw_3_2, 3, 2)
ITP_DW_FUNCTION(dw_5_1, 5, 1)
ITP_DW_FUNCTION(dw_5_2, 5, 2)
#undef ITP_DW_FUNCTION

/* Square windows of 3 or 5 with stride 1 or 2: those of the networks in use. */
static bool ITP_K(dw_common)(const itp_plane *g)
{
    return (g->taps_y == 3 || g->taps_y == 5) && g->taps_x == g->taps_y && g->stride_y <= 2 &&
           g->stride_x == g->stride_y && g->dilation_y == 1 && g->dilation_x == 1;
}

/* The band of x that windows of ITP_DW_ROWS rows of output from oy on, from column c0 on, begin at; it is
   filled where a new one begins. */
static const float *ITP_K(dw_band_of_rows)(const itp_plane *g, const float *x, int c0, int oy,
                                           float *band)
{
    const int taps = g->taps_y, stride = g->stride_y;
    const int many = ITP_DW_ROWS * (stride == 1 ? 4 : 1); /* rows of output of a band */
    const int columns = g->columns - c0 < ITP_DW_COLUMNS ? g->columns - c0 : ITP_DW_COLUMNS;
    const int wanted = (g->rows - oy + ITP_DW_ROWS - 1) / ITP_DW_ROWS * ITP_DW_ROWS;
    if (oy % many == 0) ITP_K(dw_band)
    (stride, ((wanted < many ? wanted : many) - 1) * stride + taps,
     (columns + V_WIDTH - 1) / V_WIDTH * V_WIDTH + (taps - 1) / stride, x, g->height, g->width,
     oy * stride - g->pad_y, c0 * stride - g->pad_x, band);
    return band + oy % many * ITP_DW_PITCH; /* stride 2: one group of rows */
}

/* y (+)= sums over windows of x with w[taps_y][taps_x], plus bias: common windows */
static void ITP_K(dw_conv)(const itp_plane *g, const float *x, const float *w, float bias, bool add,
                           float *y)
{
    typedef void (*dw_function)(const float *, const float *, float, int, int, float *, ptrdiff_t);
    static const dw_function functions[2][2] = {{ITP_K(dw_3_1), ITP_K(dw_3_2)},
                                                {ITP_K(dw_5_1), ITP_K(dw_5_2)}};
    const dw_function run = functions[g->taps_y == 5][g->stride_y == 2];
    float band[ITP_DW_BAND], sums[ITP_DW_ROWS * V_WIDTH];
    for (int c0 = 0; c0 < g->columns; c0 += ITP_DW_COLUMNS)
        for (int oy = 0; oy < g->rows; oy += ITP_DW_ROWS) {
            const int columns = g->columns - c0 < ITP_DW_COLUMNS ? g->columns - c0 : ITP_DW_COLUMNS;
            const int rows = g->rows - oy < ITP_DW_ROWS ? g->rows - oy : ITP_DW_ROWS;
            const float *from = ITP_K(dw_band_of_rows)(g, x, c0, oy, band);
            for (int ox = 0; ox < columns; ox += V_WIDTH) {
                const int n = columns - ox < V_WIDTH ? columns - ox : V_WIDTH;
                float *to = y + (ptrdiff_t)oy * g->columns + c0 + ox;
                if (rows == ITP_DW_ROWS && !add) {
                    run(from, w, bias, ox, n, to, g->columns);
                    continue;
                }
                run(from, w, bias, ox, V_WIDTH, sums, V_WIDTH);
                for (int r = 0; r < rows; r++, to += g->columns) {
                    const vf v = v_load(sums + r * V_WIDTH);
                    v_put(to, add ? v_add(v, v_get(to, n)) : v, n);
                }
            }
        }
}

/* A row of n numbers of dx (+)= its gradient for stride 2: taps of the window's rows w, w + 2 * taps ...
   and as many rows of dy, each a row before the last; dy is what the second tap meets in the first column,
   dy[odd] what the first does. Even taps make columns of one parity, those of `odd`, odd taps the others.
   Always inlined with constant taps and rows. */
ITP_INLINE void ITP_K(dw_data_row)(int taps, int rows, const float *dy, int odd, const float *w,
                                   int n, bool add, float *dx)
{
#define ITP_DW_BEHIND(X) X(0) X(1) X(2)
#define ITP_DECLARE(r)                                                                             \
    const float *const w##r = w + (r < rows ? r * 2 * taps : 0);                                   \
    const vf w##r##0 = v_set(w##r[0]), w##r##1 = v_set(w##r[1]), w##r##2 = v_set(w##r[2]);         \
    const vf w##r##3 = taps > 3 ? v_set(w##r[3]) : w##r##0;                                        \
    const vf w##r##4 = taps > 3 ? v_set(w##r[4]) : w##r##0;
    ITP_DW_BEHIND(ITP_DECLARE)
#undef ITP_DECLARE
    for (; n > 0; n -= 2 * V_WIDTH, dy += V_WIDTH, dx += 2 * V_WIDTH) {
        const float *from = dy + odd;
        vf even_taps = v_zero(), odd_taps = v_zero();
#define ITP_STEP(r)                                                                                \
    if (r < rows) {                                                                                \
        even_taps = v_fma(w##r##0, v_load(from - r * ITP_DW_PITCH), even_taps);                    \
        odd_taps = v_fma(w##r##1, v_load(dy - r * ITP_DW_PITCH), odd_taps);                        \
        even_taps = v_fma(w##r##2, v_load(from - r * ITP_DW_PITCH - 1), even_taps);                \
        if (taps > 3) {                                                                            \
            odd_taps = v_fma(w##r##3, v_load(dy - r * ITP_DW_PITCH - 1), odd_taps);                \
            even_taps = v_fma(w##r##4, v_load(from - r * ITP_DW_PITCH - 2), even_taps);            \
        }                                                                                          \
    }
        ITP_DW_BEHIND(ITP_STEP)
#undef ITP_STEP
        const vf first = odd ? odd_taps : even_taps, second = odd ? even_taps : odd_taps;
        vf low = v_zip(first, second), high = v_zip2(first, second);
        const int n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n < 2 * V_WIDTH ? n - n0 : V_WIDTH;
        if (add) {
            low = v_add(low, v_get(dx, n0));
            high = v_add(high, v_get(dx + V_WIDTH, n1));
        }
        v_put(dx, low, n0);
        v_put(dx + V_WIDTH, high, n1);
    }
#undef ITP_DW_BEHIND
}

/* dx (+)= its gradient for stride 2. Always inlined with constant taps. */
ITP_INLINE void ITP_K(dw_data)(int taps, const itp_plane *g, const float *dy, const float *w,
                               bool add, float *dx)
{
    enum { ROWS = 2 * ITP_DW_ROWS };
    const int odd = g->pad_x & 1;
    const int left = g->pad_x / 2 - taps / 2; /* the first column of dy, for 0 */
    float band[ITP_DW_BAND];
    for (int j0 = 0; 2 * j0 < g->width; j0 += ITP_DW_COLUMNS)
        for (int i0 = 0; i0 < g->height; i0 += ROWS) {
            const int end = (g->width + 1) / 2 - j0;
            const int columns = end < ITP_DW_COLUMNS ? end : ITP_DW_COLUMNS;
            const int rows = g->height - i0 < ROWS ? g->height - i0 : ROWS;
            const int n = g->width < 2 * (j0 + columns) ? g->width - 2 * j0 : 2 * columns;
            const int top = (i0 + g->pad_y) / 2 - taps / 2;
            ITP_K(dw_band)
            (1, (ROWS + taps) / 2 + 1, (columns + V_WIDTH - 1) / V_WIDTH * V_WIDTH + taps / 2 + 1,
             dy, g->rows, g->columns, top, j0 + left, band);
            for (int iy = i0; iy < i0 + rows; iy++) {
                const int ty = (iy + g->pad_y) & 1;
                const float *from =
                    band + ((iy + g->pad_y - ty) / 2 - top) * ITP_DW_PITCH + g->pad_x / 2 - left;
                float *to = dx + (ptrdiff_t)iy * g->width + 2 * j0;
                if (ty) ITP_K(dw_data_row)(taps, taps / 2, from, odd, w + taps, n, add, to);
                else ITP_K(dw_data_row)(taps, taps / 2 + 1, from, odd, w, n, add, to);
            }
        }
}

/* sums[ty][tx] += x dy for a tap tx of the windows of `rows` rows of dy and n columns from ox on, for all
   ty. Rows of dy stay in registers. Always inlined with constant taps and stride. */
ITP_INLINE void ITP_K(dw_sums)(int taps, int stride, const float *band, const float *dy, int rows,
                               int columns, int ox, int n, vf *sums)
{
#define ITP_DECLARE(r) const vf d##r = r < rows ? v_get(dy + (r)*columns, n) : v_zero();
    ITP_DW_OUT(ITP_DECLARE)
#undef ITP_DECLARE
    for (int tx = 0; tx < taps; tx++, sums++) {
        const float *from = band + ox + (stride == 1 ? tx : tx % 2 * ITP_DW_PITCH + tx / 2);
        vf s0 = sums[0], s1 = sums[taps], s2 = sums[2 * taps], s3 = s0, s4 = s0;
        if (taps > 3) s3 = sums[3 * taps], s4 = sums[4 * taps];
#define ITP_STEP(r)                                                                                \
    if (i == stride * (r)) s0 = v_fma(v, d##r, s0);                                                \
    if (i == stride * (r) + 1) s1 = v_fma(v, d##r, s1);                                            \
    if (i == stride * (r) + 2) s2 = v_fma(v, d##r, s2);                                            \
    if (taps > 3 && i == stride * (r) + 3) s3 = v_fma(v, d##r, s3);                                \
    if (taps > 3 && i == stride * (r) + 4) s4 = v_fma(v, d##r, s4);
        ITP_DW_IN(ITP_DW_SOURCE)
#undef ITP_STEP
        sums[0] = s0, sums[taps] = s1, sums[2 * taps] = s2;
        if (taps > 3) sums[3 * taps] = s3, sums[4 * taps] = s4;
    }
}

/* dw += its gradient. Always inlined with constant taps and stride. */
ITP_INLINE void ITP_K(dw_weights_of)(int taps, int stride, const itp_plane *g, const float *x,
                                     const float *dy, double *dw)
{
    float band[ITP_DW_BAND];
    vf sums[ITP_DW_TAPS * ITP_DW_TAPS];
    for (int t = 0; t < taps * taps; t++) sums[t] = v_zero();
    for (int c0 = 0; c0 < g->columns; c0 += ITP_DW_COLUMNS)
        for (int oy = 0; oy < g->rows; oy += ITP_DW_ROWS) {
            const float *from = ITP_K(dw_band_of_rows)(g, x, c0, oy, band);
            const int end = g->columns - c0 < ITP_DW_COLUMNS ? g->columns - c0 : ITP_DW_COLUMNS;
            for (int ox = 0; ox < end; ox += V_WIDTH) ITP_K(dw_sums)
            (taps, stride, from, dy + (ptrdiff_t)oy * g->columns + c0 + ox, g->rows - oy,
             g->columns, ox, end - ox < V_WIDTH ? end - ox : V_WIDTH, sums);
        }
    for (int t = 0; t < taps * taps; t++) dw[t] += (double)v_sum(sums[t]);
}

/* dw += its gradient: common windows */
static void ITP_K(dw_weights)(const itp_plane *g, const float *x, const float *dy, double *dw)
{
    if (g->taps_x == 3 && g->stride_x == 1) ITP_K(dw_weights_of)(3, 1, g, x, dy, dw);
    else if (g->taps_x == 3) ITP_K(dw_weights_of)(3, 2, g, x, dy, dw);
    else if (g->stride_x == 1) ITP_K(dw_weights_of)(5, 1, g, x, dy, dw);
    else ITP_K(dw_weights_of)(5, 2, g, x, dy, dw);
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
    if (ITP_K(dw_common)(g) && g->stride_y == 1 && g->pad_y < g->taps_y && g->pad_x < g->taps_x) {
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
        if (taps == 9) ITP_K(dw_data)(3, g, dy, w, add, dx);
        else ITP_K(dw_data)(5, g, dy, w, add, dx);
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

/* dw += its gradient; dw is in double while planes are added up */
static void ITP_K(plane_conv_weights)(const itp_plane *g, const float *x, const float *dy,
                                      double *dw)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_weights)(g, x, dy, dw);
        return;
    }
#endif
    ITP_FOR_TAPS(g,
                 dw[tap] += ITP_K(dot_strided)(count, x + (ptrdiff_t)sy * g->width + sx,
                                               g->stride_x, dy + (ptrdiff_t)oy * g->columns + lo);)
}

#undef ITP_DW_NONE
#undef ITP_DW_ROWS
#undef ITP_DW_TAPS
#undef ITP_DW_OUT
#undef ITP_DW_IN
#undef ITP_DW_COLUMNS
#undef ITP_DW_PITCH
#undef ITP_DW_BAND
#undef ITP_DW_SOURCE
#undef ITP_FOR_TAPS

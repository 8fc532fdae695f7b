/* ---- depthwise convolution: one plane with a window of its own ---------------------------------- */

#define ITP_DW_TAPS    5   /* of a side, at most */
#define ITP_DW_AHEAD   40  /* rows */
#define ITP_DW_PIECE   64  /* rows that are copied at a time */
#define ITP_DW_APART   108 /* sums that are folded together, at most */
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
    ITP_PREFETCH_NEAR(row + ITP_DW_AHEAD * pitch + V_WIDTH);
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

/* Some rows and columns of a window, whose sums are taken in one pass; inside: all that is read is there. */
typedef struct ITP_K(dw_part) {
    int top, tall, first, wide;
    bool inside;
} ITP_K(dw_part);

/* s[taps * t] += v, of a row of x, times the row of dy whose window's row t meets it: for rows t of a kind. */
ITP_INLINE void ITP_K(dw_products)(int tall, int taps, int stride, int kind, vf v, const vf *d,
                                   vf *s)
{
#define ITP_STEP(t)                                                                                \
    if (t < tall && t % stride == kind) v_mac(s[taps * t], v, d[t / stride]);
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* AVX2 has so few registers that sums would be put in memory for the sake of masks: those stay there. */
#if V_WIDTH == 8
#define ITP_DW_KEPT(lanes) (*(const volatile vl *)&(lanes))
#else
#define ITP_DW_KEPT(lanes) (lanes)
#endif

/* Those of all its columns. With stride 1 each is loaded when it is needed, as registers are few. */
ITP_INLINE void ITP_K(dw_row_products)(int taps, int stride, int kind, ITP_K(dw_part) part,
                                       const float *p, const vl *lanes, const vf *d, vf *s)
{
    vf v[ITP_DW_TAPS];
    if (stride == 2) {
        vl kept[4];
        kept[0] = ITP_DW_KEPT(lanes[0]), kept[1] = ITP_DW_KEPT(lanes[1]);
        kept[2] = ITP_DW_KEPT(lanes[2]);
        if (taps == 5) kept[3] = ITP_DW_KEPT(lanes[3]);
        ITP_K(dw_row)(taps, stride, p, kept, v);
    }
#define ITP_STEP(i)                                                                                \
    if (i >= part.first && i < part.first + part.wide) {                                           \
        if (stride == 1)                                                                           \
            v[i] = part.inside ? v_load(p + i) : v_between(p + i, ITP_DW_KEPT(lanes[i]));          \
        ITP_K(dw_products)(part.tall, taps, stride, kind, v[i], d, s + i);                         \
    }
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
}

/* sums[ty][tx] += x dy for a part of the window, lanes apart: its rows are those of a lower window further
   down. dy: rows of `dy_pitch`. Always inlined with all that is constant. */
ITP_INLINE void ITP_K(dw_sums)(int taps, int stride, ITP_K(dw_part) part, const itp_plane *g,
                               const float *x, const float *dy, ptrdiff_t dy_pitch, vf *sums)
{
    const int behind = (part.tall - 1) / stride, height = g->height, above = g->pad_y - part.top;
    const ptrdiff_t pitch = g->width;
    vf d[ITP_DW_TAPS], *s = sums + part.top * taps;
    vl lanes[ITP_DW_TAPS];
    for (int left = 0; left < g->columns; left += V_WIDTH) {
        const int at = left * stride - g->pad_x;
        if (!part.inside) ITP_K(dw_lanes)(taps, stride, at, g->width, lanes);
        const vl own = v_lanes(0, g->columns - left);
        const float *from = x - above * pitch + at, *down = dy + left;
        int row = -above;
        d[1] = d[2] = d[3] = d[4] = v_zero();
        for (int r = 0; r < g->rows + behind; r++, row += stride) {
            d[0] = v_zero();
            if (r < g->rows) d[0] = v_between(down, ITP_DW_KEPT(own));
            if (stride == 1 && !part.inside) ITP_K(dw_ahead)(from, pitch);
            if (stride == 1 && part.top == 0) ITP_K(dw_ahead)(down, dy_pitch);
            if (part.inside || (row >= 0 && row < height))
                ITP_K(dw_row_products)(taps, stride, 0, part, from, lanes, d, s);
            if (stride == 2 && row + 1 >= 0 && row + 1 < height)
                ITP_K(dw_row_products)(taps, 2, 1, part, from + pitch, lanes, d, s);
            d[4] = d[3], d[3] = d[2], d[2] = d[1], d[1] = d[0];
            from += stride * pitch, down += dy_pitch;
        }
    }
}

/* A pass over a plane, or a piece of one, into `sums`. */
#define ITP_DW_PASS(taps, stride, top, tall, first, wide, inside, plane, x, dy)                    \
    do {                                                                                           \
        const ITP_K(dw_part) part = {top, tall, first, wide, inside};                              \
        ITP_K(dw_sums)(taps, stride, part, plane, x, dy, g->columns, sums);                        \
    } while (0)

#if V_WIDTH < 16
/* Windows of 5, stride 1, where to leave out lanes costs time (AVX2) and registers do for two rows of the window:
   pieces of a stripe are copied with zeros around them, from which three passes read. */
ITP_INLINE void ITP_K(dw_piece_sums)(const itp_plane *g, const float *x, const float *dy, vf *sums)
{
    enum { PITCH = 2 * V_WIDTH, ROWS = ITP_DW_PIECE - 4 };
    float piece[ITP_DW_PIECE * PITCH];
    itp_plane p = *g;
    p.pad_x = p.pad_y = 0, p.width = PITCH;
    for (int left = 0; left < g->columns; left += V_WIDTH) {
        const int at = left - g->pad_x;
        const vl here = v_lanes(-at, g->width - at);
        const vl next = v_lanes(-at - V_WIDTH, g->width - at - V_WIDTH);
        p.columns = g->columns - left < V_WIDTH ? g->columns - left : V_WIDTH;
        for (int first = 0; first < g->rows; first += ROWS) {
            float *to = piece;
            p.rows = g->rows - first < ROWS ? g->rows - first : ROWS;
            p.height = p.rows + 4;
            int y = first - g->pad_y;
            const float *from = x + (ptrdiff_t)y * g->width + at;
            for (int r = 0; r < p.height; r++, y++, to += PITCH, from += g->width) {
                const bool there = y >= 0 && y < g->height;
                v_store(to, there ? v_between(from, here) : v_zero());
                v_store(to + V_WIDTH, there ? v_between(from + V_WIDTH, next) : v_zero());
            }
            const float *down = dy + (ptrdiff_t)first * g->columns + left;
            ITP_DW_PASS(5, 1, 0, 2, 0, 5, true, &p, piece, down);
            ITP_DW_PASS(5, 1, 2, 2, 0, 5, true, &p, piece, down);
            ITP_DW_PASS(5, 1, 4, 1, 0, 5, true, &p, piece, down);
        }
    }
}
#endif

/* Sums of a window, lanes apart, in as many passes as registers need. */
ITP_INLINE void ITP_K(dw_all_sums)(int taps, int stride, const itp_plane *g, const float *x,
                                   const float *dy, vf *sums)
{
#if V_WIDTH < 16
    if (taps == 5 && stride == 1) {
        ITP_K(dw_piece_sums)(g, x, dy, sums);
        return;
    }
#endif
    ITP_DW_PASS(taps, stride, 0, taps, 0, 3, false, g, x, dy);
    if (taps == 5) ITP_DW_PASS(5, stride, 0, 5, 3, 2, false, g, x, dy);
}

/* to[i]: the sum of the lanes of vector i, of n; v: room for whole groups of V_WIDTH. Neighbouring lanes of
   two vectors are added into one until one is left of each group. */
static void ITP_K(dw_fold)(int n, float *v, float *to)
{
    for (int i = n; i % V_WIDTH; i++) v_store(v + i * V_WIDTH, v_zero());
    for (int i = 0; i < n; i += V_WIDTH, v += V_WIDTH * V_WIDTH) {
        vf t[V_WIDTH];
#define ITP_LOAD(r) t[r] = v_load(v + (r)*V_WIDTH);
#define ITP_FOLD(r)                                                                                \
    t[r] = v_add(v_even(t[2 * (r)], t[2 * (r) + 1]), v_odd(t[2 * (r)], t[2 * (r) + 1]));
        V_LANES(ITP_LOAD)
#if V_WIDTH > 8
        ITP_FOLD(0)
        ITP_FOLD(1)
        ITP_FOLD(2)
        ITP_FOLD(3)
        ITP_FOLD(4)
        ITP_FOLD(5)
        ITP_FOLD(6)
        ITP_FOLD(7)
#endif
#if V_WIDTH > 4
        ITP_FOLD(0)
        ITP_FOLD(1)
        ITP_FOLD(2)
        ITP_FOLD(3)
#endif
        ITP_FOLD(0)
        ITP_FOLD(1)
        ITP_FOLD(0)
#undef ITP_LOAD
#undef ITP_FOLD
        v_storen(to + i, t[0], n - i < V_WIDTH ? n - i : V_WIDTH);
    }
}

/* apart[taps][taps]: its gradient for one plane, lanes apart. Always inlined with constant taps and stride. */
ITP_INLINE void ITP_K(dw_weights_of)(int taps, int stride, const itp_plane *g, const float *x,
                                     const float *dy, float *apart)
{
    vf sums[ITP_DW_TAPS * ITP_DW_TAPS];
#define ITP_STEP(i) sums[i] = sums[5 + i] = sums[10 + i] = sums[15 + i] = sums[20 + i] = v_zero();
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
    ITP_K(dw_all_sums)(taps, stride, g, x, dy, sums);
#define ITP_KEEP(i)                                                                                \
    if ((i) < taps * taps) v_store(apart + (i)*V_WIDTH, sums[i]);
#define ITP_STEP(i) ITP_KEEP(i) ITP_KEEP(5 + i) ITP_KEEP(10 + i) ITP_KEEP(15 + i) ITP_KEEP(20 + i)
    ITP_DW_EACH(ITP_STEP)
#undef ITP_STEP
#undef ITP_KEEP
}

static void ITP_K(dw_weights)(const itp_plane *g, const float *x, const float *dy, float *apart)
{
    ITP_DW_CALL(dw_weights_of, g, x, dy, apart);
}

/* Lanes of several windows are folded together, as those of one wait for each other. */
static void ITP_K(dw_windows)(const itp_plane *g, int planes, bool together, const float *x,
                              ptrdiff_t x_step, const float *dy, ptrdiff_t dy_step, float *dw)
{
    float apart[(ITP_DW_APART + V_WIDTH) * V_WIDTH];
    const int taps = g->taps_y * g->taps_x;
    int windows = 0; /* in `apart` */
    for (int p = 0; p < planes; p++, x += x_step, dy += dy_step) {
        float *own = apart + windows * taps * V_WIDTH;
        ITP_K(dw_weights)(g, x, dy, own);
        for (int t = 0; t < taps && together && p > 0; t++, own += V_WIDTH)
            v_store(apart + t * V_WIDTH, v_add(v_load(apart + t * V_WIDTH), v_load(own)));
        windows += !together || p == 0;
        if (p + 1 < planes && (windows + 1) * taps <= ITP_DW_APART) continue;
        ITP_K(dw_fold)(windows * taps, apart, dw);
        dw += windows * taps, windows = 0;
    }
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

/* dw[planes][taps_y][taps_x] = its gradient, for planes `x_step` and `dy_step` apart; together: dw[taps_y][taps_x]
   of all of them. */
static void ITP_K(plane_conv_weights)(const itp_plane *g, int planes, bool together, const float *x,
                                      ptrdiff_t x_step, const float *dy, ptrdiff_t dy_step,
                                      float *dw)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_windows)(g, planes, together, x, x_step, dy, dy_step, dw);
        return;
    }
#endif
    const int taps = g->taps_y * g->taps_x;
    double sum[ITP_PLANE_TAPS] = {0};
    for (int p = 0; p < planes; p++, x += x_step, dy += dy_step) {
        ITP_FOR_TAPS(g, sum[tap] +=
                        ITP_K(dot_strided)(count, x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                           dy + (ptrdiff_t)oy * g->columns + lo);)
        if (together && p < planes - 1) continue;
        for (int t = 0; t < taps; t++) dw[t] = (float)sum[t], sum[t] = 0;
        dw += taps;
    }
}

#undef ITP_DW_NONE
#undef ITP_DW_TAPS
#undef ITP_DW_AHEAD
#undef ITP_DW_PIECE
#undef ITP_DW_APART
#undef ITP_DW_PASS
#undef ITP_DW_KEPT
#undef ITP_DW_EACH
#undef ITP_DW_CALL

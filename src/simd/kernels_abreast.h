/* ---- networks side by side: ITP_ABREAST numbers at each place, one of each network ---------------- */

#define ITP_EIGHT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define ITP_FIVE(X)  X(0) X(1) X(2) X(3) X(4)

/* y = bias + sum over the taps of w x, for eight windows side by side, or for one. */
static inline void ITP_K(abreast_eight)(const itp_sliding *g, const int *tap, const float *x,
                                        const float *w, const float *bias, ptrdiff_t bias_step,
                                        float *y)
{
    const ptrdiff_t step = (ptrdiff_t)g->step * ITP_ABREAST;
#define ITP_START(i) vf s##i = v_load(bias + i * bias_step);
    ITP_EIGHT(ITP_START)
#undef ITP_START
    for (int t = 0; t < g->taps; t++, w += ITP_ABREAST) {
        const float *from = x + (ptrdiff_t)tap[t] * ITP_ABREAST;
        const vf factor = v_load(w);
#define ITP_TAP(i) s##i = v_fma(factor, v_load(from + i * step), s##i);
        ITP_EIGHT(ITP_TAP)
#undef ITP_TAP
    }
#define ITP_STORE(i) v_store(y + i * ITP_ABREAST, s##i);
    ITP_EIGHT(ITP_STORE)
#undef ITP_STORE
}

static inline void ITP_K(abreast_one)(const itp_sliding *g, const int *tap, const float *x,
                                      const float *w, const float *bias, float *y)
{
    vf s = v_load(bias);
    for (int t = 0; t < g->taps; t++)
        s = v_fma(v_load(w + (ptrdiff_t)t * ITP_ABREAST),
                  v_load(x + (ptrdiff_t)tap[t] * ITP_ABREAST), s);
    v_store(y, s);
}

/* y[row][column] = bias + sum over the taps of w x; bias_step: numbers from one window's to the
   next. The last eight may be done in part twice. */
static void ITP_K(abreast_sum)(const itp_sliding *g, const int *tap, const float *x, const float *w,
                               const float *bias, ptrdiff_t bias_step, float *y)
{
    const ptrdiff_t step = (ptrdiff_t)g->step * ITP_ABREAST;
    for (int r = 0; r < g->rows; r++) {
        for (int c0 = 0; c0 < g->columns; c0 += g->columns < 8 ? 1 : 8) {
            const int c = g->columns < 8 || c0 + 8 <= g->columns ? c0 : g->columns - 8;
            for (int l = 0; l < ITP_ABREAST; l += V_WIDTH) {
                const float *from = x + c * step + l, *b = bias + c * bias_step + l;
                float *to = y + (ptrdiff_t)c * ITP_ABREAST + l;
                if (g->columns < 8) ITP_K(abreast_one)(g, tap, from, w + l, b, to);
                else ITP_K(abreast_eight)(g, tap, from, w + l, b, bias_step, to);
            }
        }
        x += (ptrdiff_t)g->row_step * ITP_ABREAST;
        y += (ptrdiff_t)g->columns * ITP_ABREAST;
    }
}

/* dw += sum over the windows of dy x, and dbias, where it is not NULL, += sum of dy: five taps at a
   time, so that those of 3x3, 5x5 and 7x7 come out nearly even. */
static void ITP_K(abreast_weights)(const itp_sliding *g, const int *tap, const float *x,
                                   const float *dy, float *dw, float *dbias)
{
    const ptrdiff_t step = (ptrdiff_t)g->step * ITP_ABREAST;
    for (int l = 0; l < ITP_ABREAST; l += V_WIDTH)
        for (int t = 0; t < g->taps; t += 5) {
            const float *from = x + l, *d = dy + l;
            vf sum = v_zero();
#define ITP_START(i)                                                                               \
    vf s##i = v_zero();                                                                            \
    const ptrdiff_t at##i = (ptrdiff_t)tap[t + i < g->taps ? t + i : t] * ITP_ABREAST;
            ITP_FIVE(ITP_START)
#undef ITP_START
            for (int r = 0; r < g->rows; r++, from += (ptrdiff_t)g->row_step * ITP_ABREAST) {
                const float *here = from;
                for (int c = 0; c < g->columns; c++, here += step, d += ITP_ABREAST) {
                    const vf v = v_load(d);
                    sum = v_add(sum, v);
#define ITP_TAP(i) s##i = v_fma(v, v_load(here + at##i), s##i);
                    ITP_FIVE(ITP_TAP)
#undef ITP_TAP
                }
            }
            float *to = dw + (ptrdiff_t)t * ITP_ABREAST + l;
#define ITP_STORE(i)                                                                               \
    if (t + i < g->taps) v_store(to + i * ITP_ABREAST, v_add(v_load(to + i * ITP_ABREAST), s##i));
            ITP_FIVE(ITP_STORE)
#undef ITP_STORE
            if (dbias && t == 0) v_store(dbias + l, v_add(v_load(dbias + l), sum));
        }
}

/* dx += w dy at every tap of every window. */
static void ITP_K(abreast_spread)(const itp_sliding *g, const int *tap, const float *dy,
                                  const float *w, float *dx)
{
    const ptrdiff_t step = (ptrdiff_t)g->step * ITP_ABREAST;
    for (int r = 0; r < g->rows; r++, dx += (ptrdiff_t)g->row_step * ITP_ABREAST)
        for (int c = 0; c < g->columns; c++, dy += ITP_ABREAST)
            for (int t = 0; t < g->taps; t++) {
                float *to = dx + c * step + (ptrdiff_t)tap[t] * ITP_ABREAST;
                for (int l = 0; l < ITP_ABREAST; l += V_WIDTH)
                    v_store(to + l, v_fma(v_load(w + (ptrdiff_t)t * ITP_ABREAST + l),
                                          v_load(dy + l), v_load(to + l)));
            }
}

/* y = the largest x of each window. */
static void ITP_K(abreast_max)(const itp_sliding *g, const int *tap, const float *x, float *y)
{
    for (int r = 0; r < g->rows; r++, x += (ptrdiff_t)g->row_step * ITP_ABREAST)
        for (int c = 0; c < g->columns; c++, y += ITP_ABREAST)
            for (int l = 0; l < ITP_ABREAST; l += V_WIDTH) {
                const float *from = x + (ptrdiff_t)c * g->step * ITP_ABREAST + l;
                vf top = v_load(from + (ptrdiff_t)tap[0] * ITP_ABREAST);
                for (int t = 1; t < g->taps; t++)
                    top = v_max(top, v_load(from + (ptrdiff_t)tap[t] * ITP_ABREAST));
                v_store(y + l, top);
            }
}

/* dx += dy at the first x of each window that is y. */
static void ITP_K(abreast_max_grad)(const itp_sliding *g, const int *tap, const float *x,
                                    const float *y, const float *dy, float *dx)
{
    for (int r = 0; r < g->rows; r++) {
        for (int c = 0; c < g->columns; c++, y += ITP_ABREAST, dy += ITP_ABREAST)
            for (int l = 0; l < ITP_ABREAST; l += V_WIDTH) {
                const ptrdiff_t at = (ptrdiff_t)c * g->step * ITP_ABREAST + l;
                const vf top = v_load(y + l);
                vf left = v_load(dy + l); /* 0 once it is placed */
                for (int t = 0; t < g->taps; t++) {
                    const ptrdiff_t i = at + (ptrdiff_t)tap[t] * ITP_ABREAST;
                    const vm here = v_eq(v_load(x + i), top);
                    v_store(dx + i, v_add(v_load(dx + i), v_select(here, left, v_zero())));
                    left = v_select(here, v_zero(), left);
                }
            }
        x += (ptrdiff_t)g->row_step * ITP_ABREAST;
        dx += (ptrdiff_t)g->row_step * ITP_ABREAST;
    }
}

#undef ITP_EIGHT
#undef ITP_FIVE

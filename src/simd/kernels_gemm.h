/* ---- products: one tile of sums, and what moves numbers into and out of its order -------------- */

#define ITP_NR    (2 * V_WIDTH)
#define V_ROWS(X) X(0) X(1) X(2) V_ROWS_ON(X)

/* rows x nv vectors of sums in registers, of more than two in the first ITP_LONG_ROWS rows only. Always
   inlined with constant nv and rows. */
ITP_INLINE void ITP_K(tile_of)(int nv, int rows, const itp_tile *t)
{
    const float *from = t->from;
    float *to = t->to;
    const ptrdiff_t from_rs = t->from_rs, to_rs = t->to_rs, rs = t->a_rs;
#ifdef v_within /* rows may end within their last vector */
    const bool cut = nv <= 2;
    const vl ends = v_lanes(0, t->columns - (nv - 1) * V_WIDTH);
#define ITP_LOAD_SUMS(p, v)     (cut && v == nv - 1 ? v_between(p, ends) : v_load(p))
#define ITP_STORE_SUMS(p, v, c) (cut && v == nv - 1 ? v_within(p, c, ends) : v_store(p, c))
#else
#define ITP_LOAD_SUMS(p, v)     v_load(p)
#define ITP_STORE_SUMS(p, v, c) v_store(p, c)
#endif
#define ITP_DECLARE_ONE(r, v)                                                                      \
    vf c##r##_##v = r < rows && nv > v && from                                                     \
                        ? ITP_LOAD_SUMS(from + r * from_rs + v * V_WIDTH, v)                       \
                        : v_zero();
#define ITP_DECLARE(r)      ITP_DECLARE_ONE(r, 0) ITP_DECLARE_ONE(r, 1)
#define ITP_DECLARE_LONG(r) ITP_DECLARE(r) ITP_DECLARE_ONE(r, 2) ITP_DECLARE_ONE(r, 3)
#define ITP_TILE_ROWS(X)    X##_LONG(0) X##_LONG(1) X##_LONG(2) V_ROWS_ON(X)
    ITP_TILE_ROWS(ITP_DECLARE)
#undef ITP_DECLARE_LONG
#undef ITP_DECLARE
#undef ITP_DECLARE_ONE
#define ITP_LOAD_B(b)                                                                              \
    const vf b0 = v_load(b), b1 = nv > 1 ? v_load((b) + V_WIDTH) : b0;                             \
    const vf b2 = nv > 2 ? v_load((b) + 2 * V_WIDTH) : b0;                                         \
    const vf b3 = nv > 3 ? v_load((b) + 3 * V_WIDTH) : b0;
#define ITP_MULTIPLY(r, number, more)                                                              \
    if (r < rows) {                                                                                \
        const vf ar = v_set(number);                                                               \
        v_mac(c##r##_0, ar, b0);                                                                   \
        if (nv > 1) v_mac(c##r##_1, ar, b1);                                                       \
        more                                                                                       \
    }
#define ITP_MORE(r)                                                                                \
    if (nv > 2) v_mac(c##r##_2, ar, b2);                                                           \
    if (nv > 3) v_mac(c##r##_3, ar, b3);
#ifdef v_mac_lane /* rows that are whole vectors: products take their lanes */
#define ITP_LOAD_A                                                                                 \
    const bool lanes = nv == 2 && rows % V_WIDTH == 0;                                             \
    const vf av0 = lanes ? v_load(a0) : v_zero();                                                  \
    const vf av1 = lanes && rows > V_WIDTH ? v_load(a0 + V_WIDTH) : av0;
#define ITP_BESIDE_BY(r, more)                                                                     \
    if (lanes && r < rows) {                                                                       \
        v_mac_lane(c##r##_0, b0, r < V_WIDTH ? av0 : av1, r % V_WIDTH);                            \
        v_mac_lane(c##r##_1, b1, r < V_WIDTH ? av0 : av1, r % V_WIDTH);                            \
    } else ITP_MULTIPLY(r, a0[r], more)
#else
#define ITP_LOAD_A
#define ITP_BESIDE_BY(r, more) ITP_MULTIPLY(r, a0[r], more)
#endif
#define ITP_BESIDE(r)      ITP_BESIDE_BY(r, )
#define ITP_BESIDE_LONG(r) ITP_BESIDE_BY(r, ITP_MORE(r))
/* Three rows for each pointer: what an address can express. */
#define ITP_APART(r)      ITP_MULTIPLY(r, (r < 6 ? a3 : r < 9 ? a6 : r < 12 ? a9 : a12)[r % 3 * rs], )
#define ITP_APART_LONG(r) ITP_MULTIPLY(r, a0[r * rs], ITP_MORE(r))
#define ITP_AHEAD(b)                                                                               \
    if (V_AHEAD) {                                                                                 \
        ITP_PREFETCH((b) + ahead0);                                                                \
        if (nv > 1) ITP_PREFETCH((b) + ahead1);                                                    \
    }
#define ITP_STEP_BESIDE(s)                                                                         \
    {                                                                                              \
        const float *a0 = at + s * a_step;                                                         \
        ITP_LOAD_A                                                                                 \
        ITP_LOAD_B(b + s * b_step)                                                                 \
        ITP_AHEAD(b)                                                                               \
        ITP_TILE_ROWS(ITP_BESIDE)                                                                  \
    }
#define ITP_STEP_APART(s)                                                                          \
    {                                                                                              \
        ITP_LOAD_B(b + s * b_step)                                                                 \
        ITP_AHEAD(b)                                                                               \
        ITP_TILE_ROWS(ITP_APART)                                                                   \
        a0++, a3++, a6++, a9++, a12++;                                                             \
    }
/* All steps of an inner loop, V_STEPS at a time. */
#define ITP_STEPS(STEP, onward)                                                                    \
    for (; i + V_STEPS <= inner; i += V_STEPS) {                                                   \
        STEP(0)                                                                                    \
        if (V_STEPS > 1) STEP(1)                                                                   \
        if (V_STEPS > 2) STEP(2)                                                                   \
        onward(V_STEPS);                                                                           \
    }                                                                                              \
    for (; V_STEPS > 1 && i < inner; i++) {                                                        \
        STEP(0)                                                                                    \
        onward(1);                                                                                 \
    }
#define ITP_ONWARD(steps)   at += (steps)*a_step, b += (steps)*b_step
#define ITP_ONWARD_B(steps) b += (steps)*b_step
    const int outer = t->outer, inner = t->inner;
    const float *ao = t->a, *bo = t->b;
    const ptrdiff_t *a_at = t->a_at, *b_at = t->b_at;
    const ptrdiff_t a_outer = t->a_outer, b_outer = t->b_outer;
    const ptrdiff_t a_step = t->a_step, b_step = t->b_step;
    const ptrdiff_t ahead0 = t->ahead[0], ahead1 = t->ahead[1];
    for (int o = 0; o < outer; o++, ao += a_outer, bo += b_outer) {
        int i = 0;
        if (a_at) {
            for (; i < inner; i++) {
                const float *a0 = ao + a_at[i], *b = bo + b_at[i];
                ITP_LOAD_A
                ITP_LOAD_B(b)
                ITP_TILE_ROWS(ITP_BESIDE)
            }
        } else if (rs == 1) {
            const float *at = ao, *b = bo;
            ITP_STEPS(ITP_STEP_BESIDE, ITP_ONWARD)
        } else {
            const float *a0 = ao, *a3 = a0 + 3 * rs, *a6 = a3 + 3 * rs, *a9 = a6 + 3 * rs;
            const float *a12 = a9 + 3 * rs, *b = bo;
            ITP_STEPS(ITP_STEP_APART, ITP_ONWARD_B)
        }
    }
#undef ITP_ONWARD
#undef ITP_ONWARD_B
#undef ITP_STEPS
#undef ITP_AHEAD
#undef ITP_STEP_BESIDE
#undef ITP_STEP_APART
#undef ITP_BESIDE_LONG
#undef ITP_BESIDE
#undef ITP_APART_LONG
#undef ITP_APART
#undef ITP_MORE
#undef ITP_MULTIPLY
#undef ITP_BESIDE_BY
#undef ITP_LOAD_A
#undef ITP_LOAD_B
#define ITP_STORE(r)                                                                               \
    if (r < rows) {                                                                                \
        float *row = to + r * to_rs;                                                               \
        ITP_STORE_SUMS(row, 0, c##r##_0);                                                          \
        if (nv > 1) ITP_STORE_SUMS(row + V_WIDTH, 1, c##r##_1);                                    \
    }
#define ITP_STORE_LONG(r)                                                                          \
    ITP_STORE(r)                                                                                   \
    if (r < rows && nv > 2) v_store(to + r * to_rs + 2 * V_WIDTH, c##r##_2);                       \
    if (r < rows && nv > 3) v_store(to + r * to_rs + 3 * V_WIDTH, c##r##_3);
    ITP_TILE_ROWS(ITP_STORE)
#undef ITP_STORE_LONG
#undef ITP_STORE
#undef ITP_LOAD_SUMS
#undef ITP_STORE_SUMS
#undef ITP_TILE_ROWS
}

/* One function for each number of rows: none works on rows that are not there. */
#define ITP_TILE_FUNCTIONS(r)                                                                      \
    static void ITP_K(tile_narrow##r)(const itp_tile *t)                                           \
    {                                                                                              \
        ITP_K(tile_of)(1, (r) + 1, t);                                                             \
    }                                                                                              \
    static void ITP_K(tile_wide##r)(const itp_tile *t)                                             \
    {                                                                                              \
        ITP_K(tile_of)(2, (r) + 1, t);                                                             \
    }
V_ROWS(ITP_TILE_FUNCTIONS)
#undef ITP_TILE_FUNCTIONS

/* Few rows, of more vectors. */
#define ITP_TILE_FUNCTION(r)                                                                       \
    static void ITP_K(tile_long##r)(const itp_tile *t)                                             \
    {                                                                                              \
        ITP_K(tile_of)(ITP_LONG_VECTORS(r), r, t);                                                 \
    }
ITP_TILE_FUNCTION(1)
ITP_TILE_FUNCTION(2)
ITP_TILE_FUNCTION(3)
#undef ITP_TILE_FUNCTION

static void ITP_K(tile_whole)(bool wide, const itp_tile *t)
{
#define ITP_TILE_NARROW(r) ITP_K(tile_narrow##r),
#define ITP_TILE_WIDE(r)   ITP_K(tile_wide##r),
    static void (*const functions[2][V_MR])(const itp_tile *) = {{V_ROWS(ITP_TILE_NARROW)},
                                                                 {V_ROWS(ITP_TILE_WIDE)}};
#undef ITP_TILE_NARROW
#undef ITP_TILE_WIDE
    functions[wide][t->rows - 1](t);
}

static void ITP_K(tile)(const itp_tile *t)
{
    static void (*const longer[])(const itp_tile *) = {ITP_K(tile_long1), ITP_K(tile_long2),
                                                       ITP_K(tile_long3)};
    const int n = t->columns, n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n - n0;
    if (n > ITP_NR) {
        longer[t->rows - 1](t);
        return;
    }
#ifdef v_within
    ITP_K(tile_whole)(n1 > 0, t);
#else
    if (V_WIDTH == 1 || n == V_WIDTH || n == ITP_NR) {
        ITP_K(tile_whole)(n1 > 0, t);
        return;
    }
    float sums[V_MR * ITP_NR]; /* columns that end within a vector: through a copy */
    itp_tile whole = *t;
    if (t->from) {
        for (int r = 0; r < t->rows; r++) {
            const float *from = t->from + r * t->from_rs;
            v_store(sums + r * ITP_NR, v_get(from, n0));
            if (n1 > 0) v_store(sums + r * ITP_NR + V_WIDTH, v_get(from + V_WIDTH, n1));
        }
        whole.from = sums, whole.from_rs = ITP_NR;
    }
    whole.to = sums, whole.to_rs = ITP_NR;
    ITP_K(tile_whole)(n1 > 0, &whole);
    for (int r = 0; r < t->rows; r++) {
        float *to = t->to + r * t->to_rs;
        v_put(to, v_load(sums + r * ITP_NR), n0);
        if (n1 > 0) v_put(to + V_WIDTH, v_load(sums + r * ITP_NR + V_WIDTH), n1);
    }
#endif
}

/* A square of registers: row r from `from + at[r]`, w lanes of it; column k to `to + k * step`, `some`
   lanes of it, for k < w; beta times what is there is added. */
static void ITP_K(turn)(const float *from, const ptrdiff_t *at, int w, float *to, ptrdiff_t step,
                        int some, float beta)
{
    vf t[V_WIDTH];
#define ITP_LOAD(r)  t[r] = v_load(from + at[r]);
#define ITP_LOADN(r) t[r] = v_loadn(from + at[r], w);
    if (w == V_WIDTH) {
        V_LANES(ITP_LOAD)
    } else {
        V_LANES(ITP_LOADN)
    }
#undef ITP_LOAD
#undef ITP_LOADN
    v_transpose(t);
#ifdef v_within
    const vl lanes = v_lanes(0, some);
    const vf vb = v_set(beta);
#define ITP_STORE(k)                                                                               \
    if ((k) < w) {                                                                                 \
        float *p = to + (k)*step;                                                                  \
        v_within(p, beta != 0 ? v_fma(vb, v_between(p, lanes), t[k]) : t[k], lanes);               \
    }
    V_LANES(ITP_STORE)
#else
#define ITP_STORE(k) v_store(to + (k)*step, t[k]);
#define ITP_KEEP(k)  v_store(rest + (k)*V_WIDTH, t[k]);
    if (w == V_WIDTH && some == V_WIDTH && beta == 0) {
        V_LANES(ITP_STORE)
        return;
    }
    float rest[V_WIDTH * V_WIDTH];
    V_LANES(ITP_KEEP)
    for (int k = 0; k < w; k++, to += step) {
        const vf v = v_load(rest + k * V_WIDTH);
        v_put(to, beta != 0 ? v_fma(v_set(beta), v_get(to, some), v) : v, some);
    }
#undef ITP_KEEP
#endif
#undef ITP_STORE
}

/* out[k * step + r] = src[row(r) + k] for r < rows and k < n, step >= rows; row(r) is row_at[r], or
   r * row_step where row_at is NULL. */
static void ITP_K(interleave)(int rows, int n, const float *src, ptrdiff_t row_step,
                              const ptrdiff_t *row_at, float *out, ptrdiff_t step)
{
    for (int r0 = 0; r0 < rows; r0 += V_WIDTH) {
        const int some = rows - r0 < V_WIDTH ? rows - r0 : V_WIDTH;
        ptrdiff_t at[V_WIDTH]; /* rows that are not there read another */
        for (int r = 0; r < V_WIDTH; r++) {
            const int row = r0 + (r < some ? r : 0);
            at[r] = row_at ? row_at[row] : row * row_step;
        }
        for (int k = 0; k < n; k += V_WIDTH) ITP_K(turn)
        (src + k, at, n - k < V_WIDTH ? n - k : V_WIDTH, out + k * step + r0, step, some, 0);
    }
}

/* out[o][i][0..mr): for o < outer and i < inner, `runs` pieces of x, one after the other: length[r]
   numbers at o * step + at[i] + from[r]; V_MR numbers in all at most. Ends of vectors that are written
   past them are written over by what follows; V_WIDTH numbers must have room behind the last. */
static void ITP_K(gather)(int outer, ptrdiff_t step, int inner, const ptrdiff_t *at, int runs,
                          const ptrdiff_t *from, const int *length, const float *x, float *out)
{
    if (runs == 1 && V_MR <= V_WIDTH) {
        const vl lanes = v_lanes(0, length[0]);
        x += from[0];
        for (int o = 0; o < outer; o++, x += step)
            for (int i = 0; i < inner; i++, out += V_MR) v_store(out, v_between(x + at[i], lanes));
        return;
    }
    if (runs == 2 && V_MR <= V_WIDTH) {
        const vl lanes = v_lanes(0, length[0]), more = v_lanes(0, length[1]);
        const float *x1 = x + from[1];
        const int n = length[0];
        x += from[0];
        for (int o = 0; o < outer; o++, x += step, x1 += step)
            for (int i = 0; i < inner; i++, out += V_MR) {
                v_store(out, v_between(x + at[i], lanes));
                v_store(out + n, v_between(x1 + at[i], more));
            }
        return;
    }
    for (int o = 0; o < outer; o++, x += step)
        for (int i = 0; i < inner; i++, out += V_MR) {
            float *to = out;
            for (int r = 0; r < runs; to += length[r++])
                for (int k = 0; k < length[r]; k += V_WIDTH) {
                    const int w = length[r] - k < V_WIDTH ? length[r] - k : V_WIDTH;
                    v_store(to + k, v_get(x + at[i] + from[r] + k, w));
                }
        }
}

/* y[o * step + p] = tile[p][o] + beta y, for o < rows and p < n: sums of pixels, ITP_NR channels each,
   into the planes of the channels. */
static void ITP_K(spread)(int rows, int n, const float *tile, float *y, ptrdiff_t step, float beta)
{
    for (int p = 0; p < n; p += V_WIDTH) {
        const int some = n - p < V_WIDTH ? n - p : V_WIDTH;
        ptrdiff_t at[V_WIDTH];
        for (int r = 0; r < V_WIDTH; r++) at[r] = (p + (r < some ? r : 0)) * ITP_NR;
        for (int o = 0; o < rows; o += V_WIDTH) ITP_K(turn)
        (tile + o, at, rows - o < V_WIDTH ? rows - o : V_WIDTH, y + o * step + p, step, some, beta);
    }
}

/* Rows i0..i0+m of a over k0..k0+kc, side by side: out[k * m + row], times alpha. */
static void ITP_K(pack_a)(const itp_gemm *g, int i0, int m, int k0, int kc, float *out)
{
    const float *a = g->a + (ptrdiff_t)i0 * g->a_rs + (ptrdiff_t)k0 * g->a_cs;
    /* rows side by side: whole vectors, whose end the next step writes over, but for the last */
    if (g->a_cs == 1) ITP_K(interleave)(m, kc, a, g->a_rs, NULL, out, m);
    else if (g->a_rs == 1)
        for (int k = 0, left = kc * m; k < kc; k++, a += g->a_cs, left -= m)
            for (int r = 0; r < m; r += V_WIDTH) {
                const int w = m - r < V_WIDTH ? m - r : V_WIDTH;
                v_put(out + k * m + r, v_get(a + r, w), left - r < V_WIDTH ? w : V_WIDTH);
            }
    else itp_pack_apart(m, kc, a, g->a_rs, g->a_cs, out, m);
    if (g->alpha != 1) ITP_K(scale_add)((size_t)kc * (size_t)m, g->alpha, out, 0, out);
}

/* Columns j0..j0+n of b in panels: out[panel][k][column]; past the end there are zeros up to a whole
   vector. */
static void ITP_K(pack_b)(const itp_gemm *g, int k0, int kc, int j0, int n, float *out)
{
    for (int j = 0; j < n; j += ITP_NR, out += (size_t)kc * ITP_NR) {
        const float *b = g->b + (ptrdiff_t)k0 * g->b_rs + (ptrdiff_t)(j0 + j) * g->b_cs;
        const int some = n - j < ITP_NR ? n - j : ITP_NR;
        if (g->b_cs == 1) {
            const int n0 = some < V_WIDTH ? some : V_WIDTH, n1 = some - n0;
            float *to = out;
            for (int k = 0; k < kc; k++, b += g->b_rs, to += ITP_NR) {
                v_store(to, v_get(b, n0));
                if (n1 > 0) v_store(to + V_WIDTH, v_get(b + V_WIDTH, n1));
            }
            continue;
        }
        float *end = out + some / V_WIDTH * V_WIDTH;
        for (int k = 0; k < kc && some % V_WIDTH; k++, end += ITP_NR) v_store(end, v_zero());
        if (g->b_rs == 1) ITP_K(interleave)(some, kc, b, g->b_cs, NULL, out, ITP_NR);
        else itp_pack_apart(some, kc, b, g->b_cs, g->b_rs, out, ITP_NR);
    }
}

/* Which numbers of rows i0..i0+m of a over k0..k0+kc are not 0. One stride of a is 1: squares of registers
   along it, next to each other. */
static void ITP_K(sparse_bits)(const itp_gemm *g, int i0, int m, int k0, int kc, itp_sparse *s)
{
    if (!V_SPARSE) return; /* nor is there code for it */
    const bool turned = g->a_cs != 1;
    const ptrdiff_t stride = turned ? g->a_cs : g->a_rs;
    const int apart = turned ? kc : m, beside = turned ? m : kc;
    s->rows = m, s->words = (kc + 63) / 64;
    memset(s->bits, 0, sizeof s->bits);
    for (int o = 0; o < apart; o += V_WIDTH)
        for (int q = 0; q < beside; q += V_WIDTH) {
            const float *a = g->a + i0 * g->a_rs + k0 * g->a_cs + o * stride + q;
            const int last = apart - o < V_WIDTH ? apart - o - 1 : V_WIDTH - 1;
            const int i = turned ? q : o, k = turned ? o : q;
            const unsigned there =
                kc - k < V_WIDTH ? (1u << (kc - k)) - 1 : (2u << (V_WIDTH - 1)) - 1;
            const vl lanes = v_lanes(0, beside - q);
            vf t[V_WIDTH];
#define ITP_LOAD(r)                                                                                \
    t[r] = v_between(a + (r < last ? r : last) * stride, lanes);                                   \
    ITP_PREFETCH(a + (r + V_WIDTH) * stride);
            V_LANES(ITP_LOAD)
#undef ITP_LOAD
            if (turned) v_transpose(t);
            for (int r = 0; r < V_WIDTH; r++)
                s->bits[i + r][k / 64] |= (uint64_t)((v_bits(v_eq(t[r], v_zero())) ^ there) & there)
                                          << k % 64;
        }
}

/* Rows of c, n numbers of at most V_PAIRS pairs of vectors: `start`, or what is there where it is NULL,
   plus the numbers of a that are not 0 times rows of b, in panels of two vectors b_panel apart. 64 steps
   of all rows after the other: the rows of b that they need stay in the first-level cache. */
static void ITP_K(sparse_sums)(const itp_sparse *s, const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs,
                               const float *b, ptrdiff_t b_panel, const float *start, float *c,
                               ptrdiff_t c_rs, int n)
{
#define ITP_PAIRS(X)       X(0, 0, 1) X(1, 2, 3) X(2, 4, 5) V_PAIRS_ON(X)
#define ITP_PANEL(p, u, v) const ptrdiff_t at##p = (p < last ? p : last) * b_panel;
#define ITP_FROM(p, u, v)                                                                          \
    vf c##u = v_load((u < whole ? from : rest) + u * V_WIDTH);                                     \
    vf c##v = v_load((v < whole ? from : rest) + v * V_WIDTH);
#define ITP_PRODUCT(p, u, v)                                                                       \
    {                                                                                              \
        const float *bp = bk + at##p;                                                              \
        c##u = v_fma(ak, v_load(bp), c##u);                                                        \
        c##v = v_fma(ak, v_load(bp + V_WIDTH), c##v);                                              \
    }
#define ITP_TO(p, u, v)                                                                            \
    v_store((u < whole ? to : rest) + u * V_WIDTH, c##u);                                          \
    v_store((v < whole ? to : rest) + v * V_WIDTH, c##v);
    if (!V_SPARSE) return;
    const int whole = n / V_WIDTH, part = n % V_WIDTH, last = (n - 1) / ITP_NR;
    float rest[V_PAIRS * ITP_NR]; /* stands for columns that are not there, or not a whole vector */
    memset(rest, 0, sizeof rest);
    ITP_PAIRS(ITP_PANEL)
    for (int w = 0; w < s->words; w++, a += 64 * a_cs, b += 64 * ITP_NR)
        for (int i = 0; i < s->rows; i++) {
            const float *ai = a + i * a_rs;
            float *to = c + i * c_rs;
            const float *from = start && !w ? start : to;
            uint64_t left = s->bits[i][w];
            if (!left && (from == to || !s->skip[i])) continue;
            if (part) v_store(rest + whole * V_WIDTH, v_loadn(from + whole * V_WIDTH, part));
            ITP_PAIRS(ITP_FROM)
            for (; left; left &= left - 1) {
                const ptrdiff_t k = ITP_LOWEST_BIT(left);
                const float *bk = b + k * ITP_NR;
                const vf ak = v_set(ai[k * a_cs]);
                ITP_PAIRS(ITP_PRODUCT)
            }
            ITP_PAIRS(ITP_TO)
            if (part) v_storen(to + whole * V_WIDTH, v_load(rest + whole * V_WIDTH), part);
        }
#undef ITP_PAIRS
#undef ITP_PANEL
#undef ITP_FROM
#undef ITP_PRODUCT
#undef ITP_TO
}

#undef ITP_NR
#undef V_ROWS

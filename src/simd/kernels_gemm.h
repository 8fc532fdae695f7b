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
#define ITP_DECLARE_ONE(r, v)                                                                      \
    vf c##r##_##v =                                                                                \
        r < rows && nv > v && from ? v_load(from + r * from_rs + v * V_WIDTH) : v_zero();
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
        v_store(row, c##r##_0);                                                                    \
        if (nv > 1) v_store(row + V_WIDTH, c##r##_1);                                              \
    }
#define ITP_STORE_LONG(r)                                                                          \
    ITP_STORE(r)                                                                                   \
    if (r < rows && nv > 2) v_store(to + r * to_rs + 2 * V_WIDTH, c##r##_2);                       \
    if (r < rows && nv > 3) v_store(to + r * to_rs + 3 * V_WIDTH, c##r##_3);
    ITP_TILE_ROWS(ITP_STORE)
#undef ITP_STORE_LONG
#undef ITP_STORE
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
#undef ITP_STORE
#undef ITP_KEEP
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
    else
        for (int k = 0; k < kc; k++)
            for (int r = 0; r < m; r++) out[k * m + r] = a[r * g->a_rs + k * g->a_cs];
    if (g->alpha != 1)
        for (int t = 0; t < kc * m; t++) out[t] *= g->alpha;
}

/* Columns j0..j0+n of b in panels: out[panel][k][column], columns past the end are 0. */
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
                v_store(to + V_WIDTH, n1 > 0 ? v_get(b + V_WIDTH, n1) : v_zero());
            }
            continue;
        }
        if (some < ITP_NR) memset(out, 0, (size_t)kc * ITP_NR * sizeof *out);
        if (g->b_rs == 1) ITP_K(interleave)(some, kc, b, g->b_cs, NULL, out, ITP_NR);
        else
            for (int k = 0; k < kc; k++)
                for (int c = 0; c < some; c++) out[k * ITP_NR + c] = b[k * g->b_rs + c * g->b_cs];
    }
}

/* All of b: out[block of k][panel][k][column]. */
static void ITP_K(gemm_pack)(const itp_gemm *g, float *out)
{
    const size_t columns = itp_round_up((size_t)g->n, ITP_NR);
    for (int k0 = 0, step = itp_gemm_kc(g->k); k0 < g->k; k0 += step) {
        const int kc = g->k - k0 < step ? g->k - k0 : step;
        ITP_K(pack_b)(g, k0, kc, 0, g->n, out + (size_t)k0 * columns);
    }
}

/* Which numbers of rows i0..i0+m of a over k0..k0+kc are not 0; whether any rows are mostly zeros. One
   stride of a is 1: squares of registers along it, next to each other. */
static bool ITP_K(sparse_rows)(const itp_gemm *g, int i0, int m, int k0, int kc, itp_sparse *s)
{
    const bool turned = g->a_cs != 1;
    const ptrdiff_t stride = turned ? g->a_cs : g->a_rs;
    const int panels = (m + V_MR - 1) / V_MR, apart = turned ? kc : m, beside = turned ? m : kc;
    bool any = false;
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
    for (int p = 0; p < panels; p++) {
        const int from = m * p / panels, rows = m * (p + 1) / panels - from;
        const double most = ITP_SPARSE * kc * rows;
        int count = 0;
        for (int i = from; i < from + rows; i++)
            for (int w = 0; w < s->words; w++) count += itp_bit_count(s->bits[i][w]);
        memset(s->skip + from, count < most, (size_t)rows);
        if (count >= most) memset(s->bits[from], 0, (size_t)rows * sizeof *s->bits);
        any = any || count < most;
    }
    return any;
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

/* What the sums of row i of c start from, at columns j.., w of them. */
static vf ITP_K(gemm_start)(const itp_gemm *g, int i, int j, int w)
{
    vf s = v_set(g->bias_row ? g->bias_row[i] : 0);
    if (g->bias_column) s = v_add(s, v_get(g->bias_column + j, w));
    if (g->beta != 0) s = v_fma(v_set(g->beta), v_get(g->c + i * g->c_rs + j, w), s);
    return s;
}

/* Rows i0..i1 and columns j0..j1 of c, over all of k. Every number of c is summed in the same order
   whatever the block, so results do not depend on how c is cut. An operand that already lies as the
   tile reads it, and is read few times, is not packed. */
static void ITP_K(gemm_block)(const itp_gemm *g, int i0, int i1, int j0, int j1, float *scratch)
{
    const int step = itp_gemm_kc(g->k);
    const size_t packed_columns = itp_round_up((size_t)g->n, ITP_NR);
    float *pa = scratch, *pb = scratch + itp_gemm_a_floats(g->k, i1 - i0);
    const bool a_direct =
        g->alpha == 1 && (g->a_rs == 1 || g->a_cs == 1) && j1 - j0 <= ITP_GEMM_DIRECT_COLUMNS;
    const bool as_it_is = g->beta == 1 && !g->bias_row && !g->bias_column;
    const bool bias_only = g->beta == 0 && !g->bias_row;
    bool zeros = V_SPARSE && g->zeros && g->alpha == 1 && g->k > 0 &&
                 j1 - j0 > V_PAIRS / 2 * ITP_NR && (g->a_rs == 1 || g->a_cs == 1) &&
                 (as_it_is || bias_only);
    const bool b_apart = V_MR >= ITP_GEMM_SHARED_TILE || g->b_rs % ITP_GEMM_SHARED != 0 ||
                         (double)step * (double)g->b_rs <= ITP_GEMM_SHARED_FLOATS;
    const bool b_direct =
        g->b_cs == 1 && i1 - i0 <= ITP_GEMM_DIRECT_ROWS && b_apart && !g->packed && !zeros;
    static const float nothing[V_PAIRS * ITP_NR] = {0};
    const int most = ITP_GEMM_MC / V_MR * V_MR; /* whole tiles */
    itp_sparse sparse;
    itp_tile t;
    memset(&t, 0, sizeof t);
    memset(sparse.skip, 0, sizeof sparse.skip);
    t.outer = 1;
    for (int k0 = 0; k0 < g->k || k0 == 0; k0 += step) {
        const int kc = t.inner = g->k - k0 < step ? g->k - k0 : step;
        for (int jb = j0; jb < j1; jb += ITP_GEMM_NC) {
            const int nb = j1 - jb < ITP_GEMM_NC ? j1 - jb : ITP_GEMM_NC;
            const int there = b_direct ? nb / ITP_NR * ITP_NR : 0; /* columns left where they are */
            const float *b = pb;
            if (g->packed) b = g->packed + (size_t)k0 * packed_columns + (size_t)jb * (size_t)kc;
            else ITP_K(pack_b)(g, k0, kc, jb + there, nb - there, pb);
            for (int ib = i0; ib < i1; ib += most) {
                const int mb = i1 - ib < most ? i1 - ib : most;
                const int panels = (mb + V_MR - 1) / V_MR; /* of nearly the same height */
                /* a block without zeros says that others have none */
                zeros = zeros && ITP_K(sparse_rows)(g, ib, mb, k0, kc, &sparse);
                const int rest = nb % (V_PAIRS * ITP_NR);
                const int sparse_columns = !zeros                        ? 0
                                           : rest > V_PAIRS / 2 * ITP_NR ? nb
                                                                         : nb - rest;
                for (int p = 0; p < panels && !a_direct; p++) {
                    const int i = mb * p / panels, m = mb * (p + 1) / panels - i;
                    if (sparse_columns == nb && sparse.skip[i]) continue;
                    ITP_K(pack_a)(g, ib + i, m, k0, kc, pa + (size_t)i * (size_t)kc);
                }
                for (int jr = 0; jr < nb; jr += ITP_NR) {
                    t.columns = nb - jr < ITP_NR ? nb - jr : ITP_NR;
                    if (jr < there) {
                        t.b = g->b + (ptrdiff_t)k0 * g->b_rs + jb + jr;
                        t.b_step = g->b_rs;
                    } else {
                        t.b = b + (size_t)(jr - there) * (size_t)kc;
                        t.b_step = ITP_NR;
                    }
                    if (V_AHEAD) itp_tile_ahead(&t, V_AHEAD, V_WIDTH);
                    for (int p = 0; p < panels; p++) {
                        const int i = mb * p / panels;
                        if (jr < sparse_columns && sparse.skip[i]) continue;
                        t.rows = mb * (p + 1) / panels - i;
                        if (a_direct) {
                            t.a = g->a + (ib + i) * g->a_rs + (ptrdiff_t)k0 * g->a_cs;
                            t.a_rs = g->a_rs, t.a_step = g->a_cs;
                        } else {
                            t.a = pa + (size_t)i * (size_t)kc;
                            t.a_rs = 1, t.a_step = t.rows;
                        }
                        t.to = g->c + (ptrdiff_t)(ib + i) * g->c_rs + jb + jr;
                        t.to_rs = g->c_rs;
                        float start[V_MR * ITP_NR];
                        t.from = k0 || as_it_is ? t.to : start; /* what the sums start from */
                        t.from_rs = k0 || as_it_is ? t.to_rs : ITP_NR;
                        if (!k0 && bias_only) {
                            t.from = g->bias_column ? g->bias_column + jb + jr : NULL;
                            t.from_rs = 0;
                        }
                        for (int r = 0; t.from == start && r < t.rows; r++)
                            for (int c = 0; c < t.columns; c += V_WIDTH) {
                                const int w = t.columns - c < V_WIDTH ? t.columns - c : V_WIDTH;
                                v_store(start + r * ITP_NR + c,
                                        ITP_K(gemm_start)(g, ib + i + r, jb + jr + c, w));
                            }
                        ITP_K(tile)(&t);
                    }
                }
                for (int j = 0; j < sparse_columns; j += V_PAIRS * ITP_NR) {
                    const float *from = k0 || as_it_is   ? NULL
                                        : g->bias_column ? g->bias_column + jb + j
                                                         : nothing;
                    ITP_K(sparse_sums)
                    (&sparse, g->a + ib * g->a_rs + k0 * g->a_cs, g->a_rs, g->a_cs,
                     b + (ptrdiff_t)j * kc, (ptrdiff_t)kc * ITP_NR, from,
                     g->c + ib * g->c_rs + jb + j, g->c_rs,
                     nb - j < V_PAIRS * ITP_NR ? nb - j : V_PAIRS * ITP_NR);
                }
            }
        }
    }
}

#undef ITP_NR
#undef V_ROWS

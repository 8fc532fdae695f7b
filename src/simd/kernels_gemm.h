/* ---- matrix product -------------------------------------------------------------------------- */

#define ITP_NR (2 * V_WIDTH)

/* Packs rows i0..i0+m of a over k0..k0+kc into panels of V_MR rows: out[panel][k][row], rows past
   the end are 0. */
static void ITP_K(pack_a)(const itp_gemm *g, int i0, int m, int k0, int kc, float *out)
{
    for (int p = 0; p < m; p += V_MR, out += (size_t)kc * V_MR) {
        const int rows = m - p < V_MR ? m - p : V_MR;
        if (rows < V_MR) memset(out, 0, (size_t)kc * V_MR * sizeof *out);
        if (g->a_rs == 1 && !g->a_segment) {
            const float *a = g->a + (i0 + p) + (ptrdiff_t)k0 * g->a_cs;
            for (int k = 0; k < kc; k++, a += g->a_cs)
                for (int r = 0; r < rows; r++) out[k * V_MR + r] = a[r];
            continue;
        }
        for (int r = 0; r < rows; r++) {
            const float *a = g->a + (ptrdiff_t)(i0 + p + r) * g->a_rs;
            for (int k = 0; k < kc;) {
                int run = kc - k;
                const float *from = a + (ptrdiff_t)(k0 + k) * g->a_cs;
                if (g->a_segment) { /* k runs over segments that lie apart, one per image */
                    const int segment = (k0 + k) / g->a_segment, at = (k0 + k) % g->a_segment;
                    if (run > g->a_segment - at) run = g->a_segment - at;
                    from = a + segment * g->a_segment_stride + at * g->a_cs;
                }
                float *to = out + k * V_MR + r;
                for (int t = 0; t < run; t++) to[t * V_MR] = from[t * g->a_cs];
                k += run;
            }
        }
    }
}

/* One panel of b, columns j0..j0+n (n <= ITP_NR): out[k][column], columns past the end are 0. */
static void ITP_K(pack_b_plain)(const itp_gemm *g, int k0, int kc, int j0, int n, float *out)
{
    const float *b = g->b + (ptrdiff_t)k0 * g->b_rs + (ptrdiff_t)j0 * g->b_cs;
    if (g->b_cs == 1) {
        const int n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n - n0;
        for (int k = 0; k < kc; k++, b += g->b_rs, out += ITP_NR) {
            v_store(out, v_get(b, n0));
            v_store(out + V_WIDTH, n1 > 0 ? v_get(b + V_WIDTH, n1) : v_zero());
        }
        return;
    }
    if (n < ITP_NR) memset(out, 0, (size_t)kc * ITP_NR * sizeof *out);
    for (int j = 0; j < n; j++, b += g->b_cs)
        for (int k = 0; k < kc; k++) out[k * ITP_NR + j] = b[k * g->b_rs];
}

/* A run of panel columns that lie on one row of one image. */
typedef struct ITP_K(run) {
    const float *image;
    int y, x, at, length;
} ITP_K(run);

static int ITP_K(patch_runs)(const itp_patch *p, int j0, int n, ITP_K(run) * runs)
{
    const int area = p->rows * p->columns;
    int count = 0;
    for (int j = 0; j < n;) {
        const int image = (j0 + j) / area, pixel = (j0 + j) % area;
        ITP_K(run) *r = runs + count++;
        r->image = p->x + image * p->image_stride;
        r->y = pixel / p->columns;
        r->x = pixel % p->columns;
        r->at = j;
        r->length = p->columns - r->x < n - j ? p->columns - r->x : n - j;
        j += r->length;
    }
    return count;
}

/* The source coordinate of `at` for tap `tap`, or -1 where there is none (padding, or between the
   samples of a strided gradient). */
static inline int ITP_K(patch_source)(int at, int tap, int mul, int base, int step, int div,
                                      int size)
{
    int t = at * mul + base + tap * step;
    if (div > 1) {
        if (t < 0 || t % div) return -1;
        t /= div;
    }
    return t >= 0 && t < size ? t : -1;
}

/* The part lo..hi of a run whose sources lie inside of the row, and the source of lo; only for
   div 1, where sources are `mul` apart. */
static inline void ITP_K(patch_inside)(const itp_patch *p, const ITP_K(run) * r, int tap, int *lo,
                                       int *hi, int *source)
{
    const int first = r->x * p->mul_x + p->base_x + tap * p->step_x;
    const int s = p->mul_x;
    int a = first < 0 ? (s == 1 ? -first : (-first + s - 1) / s) : 0;
    int b = p->width - first;
    b = b <= 0 ? 0 : s == 1 ? b : (b + s - 1) / s;
    if (b > r->length) b = r->length;
    if (a > b) a = b;
    *lo = a, *hi = b, *source = first + a * s;
}

/* What is known of each run of a panel for each tap, so that it is found out once per panel. */
#define ITP_TAPS 8

/* See ITP_TAPS. */
typedef struct ITP_K(taps) {
    short lo[ITP_TAPS][ITP_NR], hi[ITP_TAPS][ITP_NR]; /* [tap_x][run] */
    int source_x[ITP_TAPS][ITP_NR];
    int source_y[ITP_TAPS][ITP_NR]; /* [tap_y][run]: row, -1 for none */
} ITP_K(taps);

static void ITP_K(patch_taps)(const itp_patch *p, const ITP_K(run) * runs, int count,
                              ITP_K(taps) * t)
{
    for (int r = 0; r < count; r++) {
        for (int tap = 0; tap < p->taps_x; tap++) {
            int lo, hi;
            ITP_K(patch_inside)(p, runs + r, tap, &lo, &hi, &t->source_x[tap][r]);
            t->lo[tap][r] = (short)lo, t->hi[tap][r] = (short)hi;
        }
        for (int tap = 0; tap < p->taps_y; tap++)
            t->source_y[tap][r] = ITP_K(patch_source)(runs[r].y, tap, p->mul_y, p->base_y,
                                                      p->step_y, p->div_y, p->height);
    }
}

/* Panel of image patches: b[k][j], k = (channel, tap row, tap column), j = (image, y, x). */
static void ITP_K(pack_b_patch)(const itp_patch *p, int k0, int kc, int j0, int n, float *out)
{
    ITP_K(run) runs[ITP_NR];
    ITP_K(taps) t;
    const int count = ITP_K(patch_runs)(p, j0, n, runs), taps = p->taps_y * p->taps_x;
    ITP_K(patch_taps)(p, runs, count, &t);
    int channel = k0 / taps, ty = k0 % taps / p->taps_x, tx = k0 % p->taps_x;
    for (int k = 0; k < kc; k++, out += ITP_NR) {
        v_store(out, v_zero());
        v_store(out + V_WIDTH, v_zero());
        for (int r = 0; r < count; r++) {
            const int lo = t.lo[tx][r], length = t.hi[tx][r] - lo, sy = t.source_y[ty][r];
            if (sy < 0 || length <= 0) continue;
            const float *from = runs[r].image + channel * p->channel_stride +
                                (ptrdiff_t)sy * p->width + t.source_x[tx][r];
            float *to = out + runs[r].at + lo;
            if (p->mul_x == 1)
                for (int i = 0; i < length; i += V_WIDTH) {
                    const int w = length - i < V_WIDTH ? length - i : V_WIDTH;
                    v_put(to + i, v_get(from + i, w), w);
                }
            else
                for (int i = 0; i < length; i++) to[i] = from[i * p->mul_x];
        }
        if (++tx == p->taps_x) {
            tx = 0;
            if (++ty == p->taps_y) ty = 0, channel++;
        }
    }
}

/* The same element by element, for strided gradients and windows beyond ITP_TAPS. */
static void ITP_K(pack_b_patch_any)(const itp_patch *p, int k0, int kc, int j0, int n, float *out)
{
    ITP_K(run) runs[ITP_NR];
    const int count = ITP_K(patch_runs)(p, j0, n, runs), taps = p->taps_y * p->taps_x;
    int column[ITP_NR]; /* source column of each j for the tap column at hand */
    for (int tap = 0; tap < taps; tap++) {
        const int ty = tap / p->taps_x, tx = tap % p->taps_x;
        for (int r = 0; r < count; r++)
            for (int i = 0; i < runs[r].length; i++)
                column[runs[r].at + i] = ITP_K(patch_source)(runs[r].x + i, tx, p->mul_x, p->base_x,
                                                             p->step_x, p->div_x, p->width);
        for (int k = (tap - k0 % taps + taps) % taps; k < kc; k += taps) {
            const ptrdiff_t channel = (k0 + k) / taps * p->channel_stride;
            float *to = out + (size_t)k * ITP_NR;
            for (int j = n; j < ITP_NR; j++) to[j] = 0;
            for (int r = 0; r < count; r++) {
                const int sy = ITP_K(patch_source)(runs[r].y, ty, p->mul_y, p->base_y, p->step_y,
                                                   p->div_y, p->height);
                const float *row =
                    runs[r].image + channel + (ptrdiff_t)(sy < 0 ? 0 : sy) * p->width;
                for (int j = runs[r].at; j < runs[r].at + runs[r].length; j++)
                    to[j] = sy < 0 || column[j] < 0 ? 0 : row[column[j]];
            }
        }
    }
}

/* The same matrix transposed: b[k][j], k = (image, y, x), j = (channel, tap row, tap column); only
   for div 1. */
static void ITP_K(pack_b_patch_t)(const itp_patch *p, int k0, int kc, int j0, int n, float *out)
{
    const int taps = p->taps_y * p->taps_x, area = p->rows * p->columns;
    ptrdiff_t channel[ITP_NR];
    int ty[ITP_NR], tx[ITP_NR];
    for (int j = 0; j < n; j++) {
        channel[j] = (j0 + j) / taps * p->channel_stride;
        ty[j] = (j0 + j) % taps / p->taps_x;
        tx[j] = (j0 + j) % p->taps_x;
    }
    memset(out, 0, (size_t)kc * ITP_NR * sizeof *out);
    for (int k = 0; k < kc;) {
        ITP_K(run) r;
        const int pixel = (k0 + k) % area;
        r.image = p->x + (k0 + k) / area * p->image_stride;
        r.y = pixel / p->columns;
        r.x = pixel % p->columns;
        r.at = k;
        r.length = p->columns - r.x < kc - k ? p->columns - r.x : kc - k;
        int low[ITP_TAPS], high[ITP_TAPS], start[ITP_TAPS];
        for (int t = 0; t < p->taps_x && t < ITP_TAPS; t++)
            ITP_K(patch_inside)(p, &r, t, low + t, high + t, start + t);
        for (int j = 0; j < n; j++) {
            const int sy = r.y * p->mul_y + p->base_y + ty[j] * p->step_y;
            int lo, hi, source;
            if (sy < 0 || sy >= p->height) continue;
            if (tx[j] < ITP_TAPS) lo = low[tx[j]], hi = high[tx[j]], source = start[tx[j]];
            else ITP_K(patch_inside)(p, &r, tx[j], &lo, &hi, &source);
            const float *from = r.image + channel[j] + (ptrdiff_t)sy * p->width + source;
            float *to = out + (size_t)(k + lo) * ITP_NR + j;
            for (int i = lo; i < hi; i++, to += ITP_NR, from += p->mul_x) *to = *from;
        }
        k += r.length;
    }
}

static void ITP_K(pack_b)(const itp_gemm *g, int k0, int kc, int j0, int n, float *out)
{
    for (int j = 0; j < n; j += ITP_NR, out += (size_t)kc * ITP_NR) {
        const int columns = n - j < ITP_NR ? n - j : ITP_NR;
        if (!g->patch) ITP_K(pack_b_plain)(g, k0, kc, j0 + j, columns, out);
        else if (g->patch_transposed) ITP_K(pack_b_patch_t)(g->patch, k0, kc, j0 + j, columns, out);
        else if (g->patch->div_x > 1 || g->patch->taps_x > ITP_TAPS || g->patch->taps_y > ITP_TAPS)
            ITP_K(pack_b_patch_any)(g->patch, k0, kc, j0 + j, columns, out);
        else ITP_K(pack_b_patch)(g->patch, k0, kc, j0 + j, columns, out);
    }
}

/* What a tile does with its sums: c = alpha sum + beta c + biases. */
typedef struct ITP_K(store) {
    float alpha, beta;
    const float *bias_row, *bias_column; /* at the tile's first row and column; NULL: none */
} ITP_K(store);

static inline void ITP_K(store_row)(const ITP_K(store) * s, int i, vf sum, float *c, int at, int n)
{
    vf t = v_mul(v_set(s->alpha), sum);
    if (s->beta != 0) t = v_fma(v_set(s->beta), v_get(c + at, n), t);
    if (s->bias_row) t = v_add(t, v_set(s->bias_row[i]));
    if (s->bias_column) t = v_add(t, v_get(s->bias_column + at, n));
    v_put(c + at, t, n);
}

/* m x n numbers of c from kc columns of a panel of a and a panel of b. `nv`: vectors per row that
   hold anything; `rows`: rows worked on, m or more. Always inlined with constant nv and rows. */
ITP_INLINE void ITP_K(tile)(int nv, int rows, int kc, const float *a, const float *b,
                            const ITP_K(store) * s, float *c, ptrdiff_t ldc, int m, int n)
{
#define ITP_DECLARE(r) vf c##r##l = v_zero(), c##r##h = v_zero();
    V_ROWS(ITP_DECLARE)
#undef ITP_DECLARE
    for (int k = 0; k < kc; k++) {
        const vf low = v_load(b), high = nv > 1 ? v_load(b + V_WIDTH) : low;
#define ITP_STEP(r)                                                                                \
    if (r < rows) {                                                                                \
        const vf ar = v_set(a[r]);                                                                 \
        c##r##l = v_fma(ar, low, c##r##l);                                                         \
        if (nv > 1) c##r##h = v_fma(ar, high, c##r##h);                                            \
    }
        V_ROWS(ITP_STEP)
#undef ITP_STEP
        a += V_MR;
        b += ITP_NR;
    }
    const int n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n - n0;
#define ITP_STORE(r)                                                                               \
    if (r < rows && r < m) {                                                                       \
        ITP_K(store_row)(s, r, c##r##l, c + r * ldc, 0, n0);                                       \
        if (nv > 1 && n1 > 0) ITP_K(store_row)(s, r, c##r##h, c + r * ldc, V_WIDTH, n1);           \
    }
    V_ROWS(ITP_STORE)
#undef ITP_STORE
}

/* Full tiles, those that end below two thirds of the rows, and those that end in the first vector. */
#define ITP_FEW_ROWS (V_MR * 2 / 3)

static void ITP_K(tile_wide)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                             float *c, ptrdiff_t ldc, int m, int n)
{
    ITP_K(tile)(2, V_MR, kc, a, b, s, c, ldc, m, n);
}

static void ITP_K(tile_low)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                            float *c, ptrdiff_t ldc, int m, int n)
{
    ITP_K(tile)(2, ITP_FEW_ROWS, kc, a, b, s, c, ldc, m, n);
}

static void ITP_K(tile_narrow)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                               float *c, ptrdiff_t ldc, int m, int n)
{
    ITP_K(tile)(1, V_MR, kc, a, b, s, c, ldc, m, n);
}

static void ITP_K(tile_any)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                            float *c, ptrdiff_t ldc, int m, int n)
{
    if (n <= V_WIDTH) ITP_K(tile_narrow)(kc, a, b, s, c, ldc, m, n);
    else if (m <= ITP_FEW_ROWS) ITP_K(tile_low)(kc, a, b, s, c, ldc, m, n);
    else ITP_K(tile_wide)(kc, a, b, s, c, ldc, m, n);
}

/* A tile whose columns lie in more than one image: through a dense copy. */
static void ITP_K(tile_split)(const itp_gemm *g, int kc, const float *a, const float *b,
                              const ITP_K(store) * s, int i, int j, int m, int n)
{
    float c[V_MR * ITP_NR];
    for (int pass = 0; pass < 2; pass++) { /* gather what is there, then scatter */
        if (pass == 0 && s->beta == 0) continue;
        if (pass == 1) ITP_K(tile_any)(kc, a, b, s, c, ITP_NR, m, n);
        for (int t = 0; t < n;) {
            const int segment = (j + t) / g->c_segment, at = (j + t) % g->c_segment;
            const int run = g->c_segment - at < n - t ? g->c_segment - at : n - t;
            float *to = g->c + segment * g->c_segment_stride + at + (ptrdiff_t)i * g->c_rs;
            for (int r = 0; r < m; r++, to += g->c_rs)
                for (int q = 0; q < run; q++)
                    if (pass) to[q] = c[r * ITP_NR + t + q];
                    else c[r * ITP_NR + t + q] = to[q];
            t += run;
        }
    }
}

/* Rows i0..i1 and columns j0..j1 of c, over all of k. Every number of c is summed in the same order
   whatever the block, so results do not depend on how c is cut. */
static void ITP_K(gemm_block)(const itp_gemm *g, int i0, int i1, int j0, int j1, float *scratch)
{
    float *pa = scratch, *pb = scratch + itp_gemm_a_floats(g->k, i1 - i0, V_MR);
    for (int k0 = 0; k0 < g->k || k0 == 0; k0 += ITP_GEMM_KC) {
        const int kc = g->k - k0 < ITP_GEMM_KC ? g->k - k0 : ITP_GEMM_KC;
        const bool last = k0 + kc >= g->k;
        for (int jb = j0; jb < j1; jb += ITP_GEMM_NC) {
            const int nb = j1 - jb < ITP_GEMM_NC ? j1 - jb : ITP_GEMM_NC;
            ITP_K(pack_b)(g, k0, kc, jb, nb, pb);
            for (int ib = i0; ib < i1; ib += ITP_GEMM_MC) {
                const int mb = i1 - ib < ITP_GEMM_MC ? i1 - ib : ITP_GEMM_MC;
                ITP_K(pack_a)(g, ib, mb, k0, kc, pa);
                for (int jr = 0; jr < nb; jr += ITP_NR) {
                    const int n = nb - jr < ITP_NR ? nb - jr : ITP_NR, j = jb + jr;
                    for (int ir = 0; ir < mb; ir += V_MR) {
                        const int m = mb - ir < V_MR ? mb - ir : V_MR, i = ib + ir;
                        const float *a = pa + (size_t)ir * (size_t)kc;
                        const float *b = pb + (size_t)jr * (size_t)kc;
                        ITP_K(store) s;
                        s.alpha = g->alpha;
                        s.beta = k0 ? 1 : g->beta;
                        s.bias_row = last && g->bias_row ? g->bias_row + i : NULL;
                        s.bias_column = last && g->bias_column ? g->bias_column + j : NULL;
                        float *c = g->c + (ptrdiff_t)i * g->c_rs;
                        if (g->c_segment) {
                            if (j % g->c_segment + n > g->c_segment) {
                                ITP_K(tile_split)(g, kc, a, b, &s, i, j, m, n);
                                continue;
                            }
                            c += j / g->c_segment * g->c_segment_stride + j % g->c_segment;
                        } else {
                            c += j;
                        }
                        ITP_K(tile_any)(kc, a, b, &s, c, g->c_rs, m, n);
                    }
                }
            }
        }
    }
}

#undef ITP_NR
#undef ITP_TAPS
#undef ITP_FEW_ROWS

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
static inline int ITP_K(patch_source)(int at, int tap, int mul, int base, int step, int div, int size)
{
    const int t = at * mul + base + tap * step;
    if (t < 0 || t % div) return -1;
    return t / div < size ? t / div : -1;
}

/* Writes source pixels x .. x+length of one row for one tap to out[0], out[stride], ... */
static inline void ITP_K(patch_row)(const itp_patch *p, const float *row, int x, int length, int tap,
                                    float *out, int stride)
{
    if (p->div_x == 1) {
        const int base = p->base_x + tap * p->step_x, s = p->mul_x;
        int lo = x, hi = x + length; /* part that is inside: 0 <= t*s + base < width */
        if (base < 0) {
            const int first = (-base + s - 1) / s;
            lo = first > lo ? first : lo;
        }
        const int end = p->width - base > 0 ? (p->width - base + s - 1) / s : 0;
        hi = end < hi ? end : hi;
        if (lo > x + length) lo = x + length;
        if (hi < lo) hi = lo;
        const float *from = row + (ptrdiff_t)lo * s + base;
        int t = x;
        for (; t < lo; t++, out += stride) *out = 0;
        if (stride == 1 && s == 1)
            for (; t + V_WIDTH <= hi; t += V_WIDTH, out += V_WIDTH, from += V_WIDTH)
                v_store(out, v_load(from));
        for (; t < hi; t++, out += stride, from += s) *out = *from;
        for (; t < x + length; t++, out += stride) *out = 0;
        return;
    }
    for (int t = x; t < x + length; t++, out += stride) {
        const int sx = ITP_K(patch_source)(t, tap, p->mul_x, p->base_x, p->step_x, p->div_x,
                                           p->width);
        *out = sx < 0 ? 0 : row[sx];
    }
}

/* Panel of image patches: b[k][j], k = (channel, tap row, tap column), j = (image, y, x). */
static void ITP_K(pack_b_patch)(const itp_patch *p, int k0, int kc, int j0, int n, float *out)
{
    ITP_K(run) runs[ITP_NR];
    const int count = ITP_K(patch_runs)(p, j0, n, runs), taps = p->taps_y * p->taps_x;
    for (int k = k0; k < k0 + kc; k++, out += ITP_NR) {
        const int channel = k / taps, tap_y = k % taps / p->taps_x, tap_x = k % p->taps_x;
        for (int j = n; j < ITP_NR; j++) out[j] = 0;
        for (int r = 0; r < count; r++) {
            const ITP_K(run) *run = runs + r;
            const int sy = ITP_K(patch_source)(run->y, tap_y, p->mul_y, p->base_y, p->step_y, p->div_y,
                                               p->height);
            if (sy < 0) {
                memset(out + run->at, 0, (size_t)run->length * sizeof *out);
                continue;
            }
            const float *row = run->image + channel * p->channel_stride + (ptrdiff_t)sy * p->width;
            ITP_K(patch_row)(p, row, run->x, run->length, tap_x, out + run->at, 1);
        }
    }
}

/* The same matrix transposed: b[k][j], k = (image, y, x), j = (channel, tap row, tap column). */
static void ITP_K(pack_b_patch_t)(const itp_patch *p, int k0, int kc, int j0, int n, float *out)
{
    const int area = p->rows * p->columns, taps = p->taps_y * p->taps_x;
    if (n < ITP_NR) memset(out, 0, (size_t)kc * ITP_NR * sizeof *out);
    for (int k = 0; k < kc;) {
        const int image = (k0 + k) / area, pixel = (k0 + k) % area;
        const int y = pixel / p->columns, x = pixel % p->columns;
        const int length = p->columns - x < kc - k ? p->columns - x : kc - k;
        const float *plane = p->x + image * p->image_stride;
        for (int j = 0; j < n; j++) {
            const int channel = (j0 + j) / taps, tap = (j0 + j) % taps;
            const int sy = ITP_K(patch_source)(y, tap / p->taps_x, p->mul_y, p->base_y, p->step_y,
                                               p->div_y, p->height);
            float *to = out + (size_t)k * ITP_NR + j;
            if (sy < 0) {
                for (int t = 0; t < length; t++) to[t * ITP_NR] = 0;
                continue;
            }
            const float *row = plane + channel * p->channel_stride + (ptrdiff_t)sy * p->width;
            ITP_K(patch_row)(p, row, x, length, tap % p->taps_x, to, ITP_NR);
        }
        k += length;
    }
}

static void ITP_K(pack_b)(const itp_gemm *g, int k0, int kc, int j0, int n, float *out)
{
    for (int j = 0; j < n; j += ITP_NR, out += (size_t)kc * ITP_NR) {
        const int columns = n - j < ITP_NR ? n - j : ITP_NR;
        if (!g->patch) ITP_K(pack_b_plain)(g, k0, kc, j0 + j, columns, out);
        else if (g->patch_transposed) ITP_K(pack_b_patch_t)(g->patch, k0, kc, j0 + j, columns, out);
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

/* m x n numbers of c from kc columns of a (strides ars, acs) and a panel of b. `nv`: vectors per row
   that hold anything. Always inlined with constant nv and strides. */
ITP_INLINE void ITP_K(tile)(int nv, int kc, const float *a, ptrdiff_t ars, ptrdiff_t acs,
                            const float *b, const ITP_K(store) * s, float *c, ptrdiff_t ldc, int m,
                            int n)
{
#define ITP_DECLARE(r) vf c##r##l = v_zero(), c##r##h = v_zero();
    V_ROWS(ITP_DECLARE)
#undef ITP_DECLARE
    for (int k = 0; k < kc; k++) {
        const vf low = v_load(b), high = nv > 1 ? v_load(b + V_WIDTH) : low;
#define ITP_STEP(r)                                                                                \
    {                                                                                              \
        const vf ar = v_set(a[r * ars]);                                                           \
        c##r##l = v_fma(ar, low, c##r##l);                                                         \
        if (nv > 1) c##r##h = v_fma(ar, high, c##r##h);                                            \
    }
        V_ROWS(ITP_STEP)
#undef ITP_STEP
        a += acs;
        b += ITP_NR;
    }
    const int n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n - n0;
#define ITP_STORE(r)                                                                               \
    if (r < m) {                                                                                   \
        ITP_K(store_row)(s, r, c##r##l, c + r * ldc, 0, n0);                                       \
        if (nv > 1 && n1 > 0) ITP_K(store_row)(s, r, c##r##h, c + r * ldc, V_WIDTH, n1);           \
    }
    V_ROWS(ITP_STORE)
#undef ITP_STORE
}

static void ITP_K(tile_wide)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                             float *c, ptrdiff_t ldc, int m, int n)
{
    ITP_K(tile)(2, kc, a, 1, V_MR, b, s, c, ldc, m, n);
}

static void ITP_K(tile_narrow)(int kc, const float *a, const float *b, const ITP_K(store) * s,
                               float *c, ptrdiff_t ldc, int m, int n)
{
    ITP_K(tile)(1, kc, a, 1, V_MR, b, s, c, ldc, m, n);
}

/* A tile whose columns lie in more than one image: through a dense copy. */
static void ITP_K(tile_split)(const itp_gemm *g, int kc, const float *a, const float *b,
                              const ITP_K(store) * s, int i, int j, int m, int n)
{
    float c[V_MR * ITP_NR];
    for (int pass = 0; pass < 2; pass++) { /* gather what is there, then scatter */
        if (pass == 0 && s->beta == 0) continue;
        if (pass == 1) ITP_K(tile_wide)(kc, a, b, s, c, ITP_NR, m, n);
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
                        if (n > V_WIDTH) ITP_K(tile_wide)(kc, a, b, &s, c, g->c_rs, m, n);
                        else ITP_K(tile_narrow)(kc, a, b, &s, c, g->c_rs, m, n);
                    }
                }
            }
        }
    }
}

#undef ITP_NR

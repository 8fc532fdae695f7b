/* ---- kernels of neighbours and embeddings ----------------------------------------------------- */

static const float ITP_K(iota)[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* Lanes below w. */
#define v_first(w) v_lt(v_load(ITP_K(iota)), v_set((float)(w)))

/* Writes the places of numbers up to `limit`, in order; `at` has room for n. */
static int ITP_K(below)(int n, const float *x, float limit, int32_t *at)
{
    const vf most = v_set(limit);
    int found = 0;
    int i = 0;
    for (; i + 64 <= n; i += 64) { /* few branches: those taken cannot be foreseen */
        uint64_t bits = 0;
        for (int v = 0; v < 64; v += V_WIDTH)
            bits |= (uint64_t)v_bits(v_le(v_load(x + i + v), most)) << v;
        for (; bits; bits &= bits - 1) at[found++] = i + ITP_LOWEST_BIT(bits);
    }
    for (; i < n; i++)
        if (x[i] <= limit) at[found++] = i;
    return found;
}

/* How many numbers come before (limit, index) in the order of value, then place. */
static int ITP_K(count_before)(int n, const float *x, float limit, int index)
{
    const vf value = v_set(limit), one = v_set(1), zero = v_zero();
    vf before = zero;
    int i = 0, found = 0;
    for (; i + V_WIDTH <= index; i += V_WIDTH)
        before = v_add(before, v_select(v_le(v_load(x + i), value), one, zero));
    for (; i < index; i++) found += x[i] <= limit;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        before = v_add(before, v_select(v_lt(v_load(x + i), value), one, zero));
    for (; i < n; i++) found += x[i] < limit;
    return found + (int)v_sum(before);
}

/* One term of a comparison into the sums s and t. */
ITP_INLINE void ITP_K(compare_term)(itp_compare how, vf p, vf a, vf b, vf *s, vf *t)
{
    const vf zero = v_zero(), one = v_set(1), gap = v_abs(v_sub(a, b));
    const vf size = v_add(v_abs(a), v_abs(b));
    switch (how) {
    case ITP_COMPARE_L1: *s = v_add(*s, gap); break;
    case ITP_COMPARE_MAX: *s = v_max(*s, gap); break;
    case ITP_COMPARE_LP:
        *s = v_add(*s, v_select(v_gt(gap, zero), ITP_K(exp)(v_mul(p, ITP_K(log)(gap))), zero));
        break;
    case ITP_COMPARE_CANBERRA:
        *s = v_add(*s, v_select(v_gt(size, zero), v_div(gap, size), zero));
        break;
    case ITP_COMPARE_BRAY_CURTIS:
        *s = v_add(*s, gap);
        *t = v_add(*t, v_abs(v_add(a, b)));
        break;
    case ITP_COMPARE_HAMMING: *s = v_add(*s, v_select(v_gt(gap, zero), one, zero)); break;
    case ITP_COMPARE_JACCARD: { /* of what is not zero */
        const vm left = v_gt(v_abs(a), zero), right = v_gt(v_abs(b), zero);
        *s = v_add(*s, v_select(v_both(left, right), one, zero));
        *t = v_add(*t, v_select(v_gt(size, zero), one, zero));
        break;
    }
    case ITP_COMPARE_L2: *s = v_fma(gap, gap, *s); break;
    }
}

/* Always inlined with a constant `how`. */
ITP_INLINE void ITP_K(compare_by)(itp_compare how, float p, int d, const float *x, const float *y,
                                  size_t ld, const int32_t *at, int m, float *out)
{
    const vf vp = v_set(p);
    for (int r = 0; r < m; r++) {
        const float *row = y + (size_t)(at ? at[r] : r) * ld;
        vf s = v_zero(), t = v_zero();
        int i = 0;
        for (; i + V_WIDTH <= d; i += V_WIDTH)
            ITP_K(compare_term)(how, vp, v_load(x + i), v_load(row + i), &s, &t);
        if (i < d) /* zeros on both sides count for nothing in any of them */
            ITP_K(compare_term)(how, vp, v_loadn(x + i, d - i), v_loadn(row + i, d - i), &s, &t);
        const float sum = how == ITP_COMPARE_MAX ? v_hmax(s) : v_sum(s), of = v_sum(t);
        if (how == ITP_COMPARE_BRAY_CURTIS) out[r] = of > 0 ? sum / of : 0;
        else if (how == ITP_COMPARE_JACCARD) out[r] = of > 0 ? 1 - sum / of : 0;
        else if (how == ITP_COMPARE_HAMMING) out[r] = sum / (float)d;
        else out[r] = sum;
    }
}

/* out[r]: x compared with row at[r] of y, or row r. */
static void ITP_K(compare)(itp_compare how, float p, int d, const float *x, const float *y,
                           size_t ld, const int32_t *at, int m, float *out)
{
#define ITP_HOW(name)                                                                              \
    case name: ITP_K(compare_by)(name, p, d, x, y, ld, at, m, out); break;
    switch (how) {
        ITP_HOW(ITP_COMPARE_L1)
        ITP_HOW(ITP_COMPARE_MAX)
        ITP_HOW(ITP_COMPARE_LP)
        ITP_HOW(ITP_COMPARE_CANBERRA)
        ITP_HOW(ITP_COMPARE_BRAY_CURTIS)
        ITP_HOW(ITP_COMPARE_HAMMING)
        ITP_HOW(ITP_COMPARE_JACCARD)
        ITP_HOW(ITP_COMPARE_L2)
    }
#undef ITP_HOW
}

/* ---- Fourier transforms of V_WIDTH signals side by side: number i of signal l is at i V_WIDTH + l */

/* (re, im) times the twiddle (c, s) */
#define ITP_TURN(re, im, c, s)                                                                     \
    do {                                                                                           \
        const vf turned = v_fnma(im, s, v_mul(re, c));                                             \
        im = v_fma(im, c, v_mul(re, s));                                                           \
        re = turned;                                                                               \
    } while (0)

/* The transform of `radix` numbers in place. Always inlined with a constant radix. */
ITP_INLINE void ITP_K(butterfly)(int radix, vf *r, vf *i)
{
    if (radix == 2) {
        const vf r1 = r[1], i1 = i[1];
        r[1] = v_sub(r[0], r1), i[1] = v_sub(i[0], i1);
        r[0] = v_add(r[0], r1), i[0] = v_add(i[0], i1);
    } else if (radix == 3) {
        const vf half = v_set(0.5f), root = v_set(0.866025403784438647f);
        const vf sr = v_add(r[1], r[2]), si = v_add(i[1], i[2]);
        const vf dr = v_mul(root, v_sub(r[1], r[2])), di = v_mul(root, v_sub(i[1], i[2]));
        const vf mr = v_fnma(half, sr, r[0]), mi = v_fnma(half, si, i[0]);
        r[0] = v_add(r[0], sr), i[0] = v_add(i[0], si);
        r[1] = v_add(mr, di), i[1] = v_sub(mi, dr);
        r[2] = v_sub(mr, di), i[2] = v_add(mi, dr);
    } else if (radix == 4) {
        const vf ar = v_add(r[0], r[2]), ai = v_add(i[0], i[2]);
        const vf br = v_sub(r[0], r[2]), bi = v_sub(i[0], i[2]);
        const vf cr = v_add(r[1], r[3]), ci = v_add(i[1], i[3]);
        const vf dr = v_sub(r[1], r[3]), di = v_sub(i[1], i[3]);
        r[0] = v_add(ar, cr), i[0] = v_add(ai, ci);
        r[1] = v_add(br, di), i[1] = v_sub(bi, dr);
        r[2] = v_sub(ar, cr), i[2] = v_sub(ai, ci);
        r[3] = v_sub(br, di), i[3] = v_add(bi, dr);
    } else { /* 5: cosines and sines of 72 and 144 degrees */
        const vf c1 = v_set(0.309016994374947424f), c2 = v_set(-0.809016994374947424f);
        const vf s1 = v_set(0.951056516295153572f), s2 = v_set(0.587785252292473129f);
        const vf ar = v_add(r[1], r[4]), ai = v_add(i[1], i[4]);
        const vf br = v_add(r[2], r[3]), bi = v_add(i[2], i[3]);
        const vf cr = v_sub(r[1], r[4]), ci = v_sub(i[1], i[4]);
        const vf dr = v_sub(r[2], r[3]), di = v_sub(i[2], i[3]);
        const vf er = v_fma(c2, br, v_fma(c1, ar, r[0])), ei = v_fma(c2, bi, v_fma(c1, ai, i[0]));
        const vf fr = v_fma(c1, br, v_fma(c2, ar, r[0])), fi = v_fma(c1, bi, v_fma(c2, ai, i[0]));
        const vf gr = v_fma(s2, dr, v_mul(s1, cr)), gi = v_fma(s2, di, v_mul(s1, ci));
        const vf hr = v_fnma(s1, dr, v_mul(s2, cr)), hi = v_fnma(s1, di, v_mul(s2, ci));
        r[0] = v_add(r[0], v_add(ar, br)), i[0] = v_add(i[0], v_add(ai, bi));
        r[1] = v_add(er, gi), i[1] = v_sub(ei, gr);
        r[4] = v_sub(er, gi), i[4] = v_add(ei, gr);
        r[2] = v_add(fr, hi), i[2] = v_sub(fi, hr);
        r[3] = v_sub(fr, hi), i[3] = v_add(fi, hr);
    }
}

/* All butterflies of one stage: blocks of radix * m numbers. Forward, results are turned after the
   butterfly and stand p * m apart; backward, exactly undone in the opposite order. */
ITP_INLINE void ITP_K(stage)(int radix, int m, int blocks, const float *w, float *re, float *im,
                             bool inverse)
{
#define ITP_GET(q)   (r[q] = v_load(a + (q)*step), i[q] = v_load(b + (q)*step))
#define ITP_PUT(q)   (v_store(a + (q)*step, r[q]), v_store(b + (q)*step, i[q]))
#define ITP_TWIST(q) ITP_TURN(r[q], i[q], c[q], s[q])
    const size_t step = (size_t)m * V_WIDTH;
    vf c[5], s[5];
    for (int j = 0; j < m; j++, w += 2 * (radix - 1)) {
        c[1] = v_set(w[0]), s[1] = v_set(w[1]);
        if (radix > 2) c[2] = v_set(w[2]), s[2] = v_set(w[3]);
        if (radix > 3) c[3] = v_set(w[4]), s[3] = v_set(w[5]);
        if (radix > 4) c[4] = v_set(w[6]), s[4] = v_set(w[7]);
        for (int k = 0; k < blocks; k++) {
            const size_t at = ((size_t)k * (size_t)(radix * m) + (size_t)j) * V_WIDTH;
            float *a = re + at, *b = im + at;
            vf r[5], i[5];
            ITP_GET(0), ITP_GET(1);
            if (radix > 2) ITP_GET(2);
            if (radix > 3) ITP_GET(3);
            if (radix > 4) ITP_GET(4);
            if (!inverse) ITP_K(butterfly)(radix, r, i);
            ITP_TWIST(1);
            if (radix > 2) ITP_TWIST(2);
            if (radix > 3) ITP_TWIST(3);
            if (radix > 4) ITP_TWIST(4);
            if (inverse) ITP_K(butterfly)(radix, r, i);
            ITP_PUT(0), ITP_PUT(1);
            if (radix > 2) ITP_PUT(2);
            if (radix > 3) ITP_PUT(3);
            if (radix > 4) ITP_PUT(4);
        }
    }
#undef ITP_GET
#undef ITP_PUT
#undef ITP_TWIST
}

#define ITP_STAGE(radix, inverse)                                                                  \
    case radix: ITP_K(stage)(radix, m, f->n / (radix * m), w, re, im, inverse); break;

/* Forward leaves frequency k at itp_grid.place[k]; backward takes it from there, times n. Backward
   works on the parts exchanged: i conj(z) in, i conj(z) out. */
static void ITP_K(fft)(const itp_fft *f, float *re, float *im, bool inverse)
{
    const float *w = f->twiddle;
    int m = f->n;
    if (!inverse) {
        for (int t = 0; t < f->stages; t++) {
            m /= f->factor[t];
            switch (f->factor[t]) {
                ITP_STAGE(2, false)
                ITP_STAGE(3, false)
                ITP_STAGE(4, false)
                ITP_STAGE(5, false)
            }
            w += 2 * (f->factor[t] - 1) * m;
        }
        return;
    }
    float *swap = re;
    re = im, im = swap;
    m = 1;
    for (int t = 0, n = f->n; t < f->stages; t++) {
        n /= f->factor[t];
        w += 2 * (f->factor[t] - 1) * n;
    }
    for (int t = f->stages - 1; t >= 0; t--) {
        w -= 2 * (f->factor[t] - 1) * m;
        switch (f->factor[t]) {
            ITP_STAGE(2, true)
            ITP_STAGE(3, true)
            ITP_STAGE(4, true)
            ITP_STAGE(5, true)
        }
        m *= f->factor[t];
    }
}

#undef ITP_STAGE
#undef ITP_TURN

/* ---- convolution of a grid with a kernel. Columns j and j + width/2 of the grid go through one
   complex transform; the spectrum's rows are frequencies, its columns still those of the grid. */

/* Down V_WIDTH pairs of columns: grid to spectrum, or back. scratch: 2 n V_WIDTH floats. */
static void ITP_K(grid_along)(const itp_grid *g, int block, bool inverse, float *scratch)
{
    const int n = g->fft->n, half = g->width / 2, at = block * V_WIDTH;
    const size_t ld = (size_t)g->width;
    float *re = scratch, *im = scratch + (size_t)n * V_WIDTH;
    const vf two = v_set(0.5f);
    if (!inverse) {
        for (int x = 0; x < n; x++) {
            const int row = g->mirror && x > g->m ? n - x : x;
            const bool there = g->mirror ? row <= g->m : row < g->m;
            const float *from = g->grid + (size_t)(there ? row : 0) * ld + at;
            v_store(re + (size_t)x * V_WIDTH, there ? v_load(from) : v_zero());
            v_store(im + (size_t)x * V_WIDTH, there ? v_load(from + half) : v_zero());
        }
        ITP_K(fft)(g->fft, re, im, false);
    }
    for (int k = 0; k <= n / 2; k++) {
        const size_t p = (size_t)g->place[k] * V_WIDTH,
                     q = (size_t)g->place[k ? n - k : 0] * V_WIDTH;
        float *sr = g->re + (size_t)k * ld + at, *si = g->im + (size_t)k * ld + at;
        if (!inverse) {
            const vf ar = v_load(re + p), ai = v_load(im + p);
            const vf br = v_load(re + q), bi = v_load(im + q);
            v_store(sr, v_mul(two, v_add(ar, br)));
            v_store(si, v_mul(two, v_sub(ai, bi)));
            v_store(sr + half, v_mul(two, v_add(ai, bi)));
            v_store(si + half, v_mul(two, v_sub(br, ar)));
        } else {
            const vf ar = v_load(sr), ai = v_load(si), br = v_load(sr + half),
                     bi = v_load(si + half);
            v_store(re + q, v_add(ar, bi));
            v_store(im + q, v_sub(br, ai));
            v_store(re + p, v_sub(ar, bi));
            v_store(im + p, v_add(ai, br));
        }
    }
    if (inverse) {
        ITP_K(fft)(g->fft, re, im, true);
        for (int x = 0; x < g->m; x++) {
            v_store(g->grid + (size_t)x * ld + at, v_load(re + (size_t)x * V_WIDTH));
            v_store(g->grid + (size_t)x * ld + at + half, v_load(im + (size_t)x * V_WIDTH));
        }
    }
}

/* V_WIDTH rows of the spectrum to numbers side by side, or back. */
ITP_INLINE void ITP_K(turn_rows)(float *rows, size_t ld, int columns, float *out, bool back)
{
    for (int c = 0; c < columns; c += V_WIDTH) {
        vf t[V_WIDTH];
        float *from = back ? out + (size_t)c * V_WIDTH : rows + c;
        float *to = back ? rows + c : out + (size_t)c * V_WIDTH;
        const size_t from_ld = back ? V_WIDTH : ld, to_ld = back ? ld : V_WIDTH;
#define ITP_LOAD(i) t[i] = v_load(from + (size_t)(i)*from_ld);
        V_LANES(ITP_LOAD)
#undef ITP_LOAD
        v_transpose(t);
#define ITP_STORE(i) v_store(to + (size_t)(i)*to_ld, t[i]);
        V_LANES(ITP_STORE)
#undef ITP_STORE
    }
}

/* Along V_WIDTH rows of the spectrum: transform, product with the kernel, and back; of a kernel:
   transform, and its real part is kept. scratch: 2 n V_WIDTH floats. */
static void ITP_K(grid_across)(const itp_grid *g, int block, float *scratch)
{
    const int n = g->fft->n;
    const size_t ld = (size_t)g->width, size = (size_t)n * V_WIDTH;
    float *re = scratch, *im = scratch + size, *kernel = g->kernel + (size_t)block * size;
    float *from_re = g->re + (size_t)block * V_WIDTH * ld;
    float *from_im = g->im + (size_t)block * V_WIDTH * ld;
    const size_t filled = ld * V_WIDTH;
    ITP_K(turn_rows)(from_re, ld, g->width, re, false);
    if (g->mirror) {
        memset(im, 0, size * sizeof *im);
        for (int y = g->m + 1; y < n; y++)
            v_store(re + (size_t)y * V_WIDTH, v_load(re + (size_t)(n - y) * V_WIDTH));
        ITP_K(fft)(g->fft, re, im, false);
        memcpy(kernel, re, size * sizeof *re);
        return;
    }
    ITP_K(turn_rows)(from_im, ld, g->width, im, false);
    memset(re + filled, 0, (size - filled) * sizeof *re);
    memset(im + filled, 0, (size - filled) * sizeof *im);
    ITP_K(fft)(g->fft, re, im, false);
    for (size_t i = 0; i < size; i += V_WIDTH) {
        const vf k = v_load(kernel + i);
        v_store(re + i, v_mul(k, v_load(re + i)));
        v_store(im + i, v_mul(k, v_load(im + i)));
    }
    ITP_K(fft)(g->fft, re, im, true);
    ITP_K(turn_rows)(from_re, ld, g->width, re, true);
    ITP_K(turn_rows)(from_im, ld, g->width, im, true);
}

/* ---- t-SNE */

/* Attraction along weighted edges. Always inlined with constant dims and cost: the force, or the sum
   of weight * log(1 + stretch d^2). */
ITP_INLINE double ITP_K(springs_of)(const itp_springs *s, int dims, int from, int to, bool cost)
{
    const vf one = v_set(1), stretch = v_set(s->stretch);
    const float *X = s->y[0], *Y = s->y[1], *Z = s->y[2];
    double total = 0;
    for (int i = from; i < to; i++) {
        const size_t end = s->start[i + 1];
        const vf x = v_set(X[i]), y = dims > 1 ? v_set(Y[i]) : one,
                 z = dims > 2 ? v_set(Z[i]) : one;
        vf fx = v_zero(), fy = fx, fz = fx;
        for (size_t e = s->start[i]; e < end; e += V_WIDTH) {
            const int32_t *at = s->index + e;
            const int w = end - e < V_WIDTH ? (int)(end - e) : V_WIDTH;
            const vf p = v_get(s->weight + e, w);
            const vf dx = v_sub(x, v_gather(X, at));
            vf dy = one, dz = one, d2 = v_mul(dx, dx);
            if (dims > 1) dy = v_sub(y, v_gather(Y, at)), d2 = v_fma(dy, dy, d2);
            if (dims > 2) dz = v_sub(z, v_gather(Z, at)), d2 = v_fma(dz, dz, d2);
            const vf t = v_fma(stretch, d2, one);
            if (cost) {
                fx = v_fma(p, ITP_K(log)(t), fx);
            } else {
                const vf q = v_div(p, t);
                fx = v_fma(q, dx, fx);
                if (dims > 1) fy = v_fma(q, dy, fy);
                if (dims > 2) fz = v_fma(q, dz, fz);
            }
        }
        if (cost) {
            total += (double)v_sum(fx);
        } else {
            s->force[0][i] = v_sum(fx);
            if (dims > 1) s->force[1][i] = v_sum(fy);
            if (dims > 2) s->force[2][i] = v_sum(fz);
        }
    }
    return total;
}

static void ITP_K(springs)(const itp_springs *s, int dims, int from, int to)
{
    if (dims == 2) ITP_K(springs_of)(s, 2, from, to, false);
    else if (dims == 3) ITP_K(springs_of)(s, 3, from, to, false);
    else ITP_K(springs_of)(s, 1, from, to, false);
}

static double ITP_K(springs_cost)(const itp_springs *s, int dims, int from, int to)
{
    if (dims == 2) return ITP_K(springs_of)(s, 2, from, to, true);
    if (dims == 3) return ITP_K(springs_of)(s, 3, from, to, true);
    return ITP_K(springs_of)(s, 1, from, to, true);
}

/* Repulsion of points from..to by all n: force = sum of w q (y_i - y_j), q = 1 / (1 + stretch d^2),
   w = q^power. Returns the sum of w, each point's own 1 among them. */
ITP_INLINE double ITP_K(repel_of)(const itp_springs *s, int dims, float power, int n, int from,
                                  int to)
{
    const vf one = v_set(1), stretch = v_set(s->stretch), vp = v_set(power);
    const float *X = s->y[0], *Y = s->y[1], *Z = s->y[2];
    double total = 0;
    for (int i = from; i < to; i++) {
        const vf x = v_set(X[i]), y = dims > 1 ? v_set(Y[i]) : one,
                 z = dims > 2 ? v_set(Z[i]) : one;
        vf fx = v_zero(), fy = fx, fz = fx, sum = fx;
        for (int j = 0; j < n; j += V_WIDTH) {
            const int w = n - j < V_WIDTH ? n - j : V_WIDTH;
            const vf dx = v_sub(x, v_get(X + j, w));
            vf dy = one, dz = one, d2 = v_mul(dx, dx);
            if (dims > 1) dy = v_sub(y, v_get(Y + j, w)), d2 = v_fma(dy, dy, d2);
            if (dims > 2) dz = v_sub(z, v_get(Z + j, w)), d2 = v_fma(dz, dz, d2);
            const vf q = v_div(one, v_fma(stretch, d2, one));
            vf weight = power == 1 ? q : ITP_K(exp)(v_mul(vp, ITP_K(log)(q)));
            if (w < V_WIDTH) weight = v_select(v_first(w), weight, v_zero());
            sum = v_add(sum, weight);
            weight = v_mul(weight, q);
            fx = v_fma(weight, dx, fx);
            if (dims > 1) fy = v_fma(weight, dy, fy);
            if (dims > 2) fz = v_fma(weight, dz, fz);
        }
        total += (double)v_sum(sum);
        s->force[0][i] = v_sum(fx);
        if (dims > 1) s->force[1][i] = v_sum(fy);
        if (dims > 2) s->force[2][i] = v_sum(fz);
    }
    return total;
}

static double ITP_K(repel)(const itp_springs *s, int dims, float power, int n, int from, int to)
{
    if (dims == 2) return ITP_K(repel_of)(s, 2, power, n, from, to);
    if (dims == 3) return ITP_K(repel_of)(s, 3, power, n, from, to);
    return ITP_K(repel_of)(s, 1, power, n, from, to);
}

/* Jacobs 1988's gains: they grow by 0.2 while a velocity runs against its gradient, else shrink by
   0.8 down to 0.01. */
static void ITP_K(descend)(const itp_descent *g, int dims, int from, int to)
{
    const vf pull = v_set(g->pull_scale), push = v_set(g->push_scale), rate = v_set(g->rate);
    const vf momentum = v_set(g->momentum), most = v_set(g->most), zero = v_zero();
    for (int i = from; i < to; i += V_WIDTH) {
        const int w = to - i < V_WIDTH ? to - i : V_WIDTH;
        vf step[3], length = zero;
        for (int k = 0; k < dims; k++) {
            const vf d =
                v_fnma(push, v_get(g->push[k] + i, w), v_mul(pull, v_get(g->pull[k] + i, w)));
            const vf v = v_get(g->velocity[k] + i, w), old = v_get(g->gain[k] + i, w);
            const vf shrunk = v_max(v_set(0.01f), v_mul(v_set(0.8f), old));
            const vf gain = v_select(v_gt(v_mul(v, d), zero), shrunk, v_add(old, v_set(0.2f)));
            v_put(g->gain[k] + i, gain, w);
            step[k] = v_fnma(v_mul(rate, gain), d, v_mul(momentum, v));
            length = v_fma(step[k], step[k], length);
        }
        length = v_sqrt(length);
        const vf cut = v_select(v_gt(length, most), v_div(most, length), v_set(1));
        for (int k = 0; k < dims; k++) {
            step[k] = v_mul(cut, step[k]);
            v_put(g->velocity[k] + i, step[k], w);
            v_put(g->y[k] + i, v_add(v_get(g->y[k] + i, w), step[k]), w);
        }
    }
}

/* The six quintic B-splines over a cell at t in [0,1], times 120, and their slopes. */
ITP_INLINE void ITP_K(splines)(vf t, vf *w, vf *slope)
{
    const vf u = v_sub(v_set(1), t);
    for (int side = 0; side < 2; side++) { /* the later three are the others seen from behind */
        const vf x = side ? u : t, y = side ? t : u, x2 = v_mul(x, x), y2 = v_mul(y, y);
        const int a = side ? 5 : 0, b = side ? 4 : 1, c = side ? 3 : 2;
        const vf turn = v_set(side ? -1 : 1);
        w[a] = v_mul(v_mul(y2, y2), y);
        slope[a] = v_mul(v_mul(turn, v_set(-5)), v_mul(y2, y2));
        vf p = v_fma(v_set(5), x, v_set(-20)), q = v_fma(v_set(25), x, v_set(-80));
        p = v_fma(p, x, v_set(20)), q = v_fma(q, x, v_set(60));
        p = v_fma(p, x, v_set(20)), q = v_fma(q, x, v_set(40));
        p = v_fma(p, x, v_set(-50)), q = v_fma(q, x, v_set(-50));
        w[b] = v_fma(p, x, v_set(26));
        slope[b] = v_mul(turn, q);
        w[c] = v_fma(v_fma(v_fma(v_set(-10), x, v_set(30)), x2, v_set(-60)), x2, v_set(66));
        slope[c] = v_mul(turn, v_mul(x, v_fma(v_fma(v_set(-50), x, v_set(120)), x2, v_set(-120))));
    }
}

/* The spline over `grid` at points from..to, into `values` if that is not NULL, and its slope, times
   `scale`, as forces. Returns the sum of the values. */
static double ITP_K(mesh_read)(int from, int to, const float *x, const float *y,
                               const float *origin, float per_cell, const float *grid, int width,
                               float scale, float *values, float *fx, float *fy)
{
    const vf step = v_set(per_cell), half = v_set(0.5f), ld = v_set((float)width);
    const vf ox = v_set(origin[0]), oy = v_set(origin[1]),
             slope_scale = v_set(scale * per_cell / 14400);
    double total = 0;
    for (int i = from; i < to; i += V_WIDTH) {
        const int w = to - i < V_WIDTH ? to - i : V_WIDTH;
        float cell[V_WIDTH];
        int32_t at[V_WIDTH];
        vf wx[6], wy[6], sx[6], sy[6];
        const vf there = w == V_WIDTH ? v_load(x + i) : v_select(v_first(w), v_loadn(x + i, w), ox);
        const vf here = w == V_WIDTH ? v_load(y + i) : v_select(v_first(w), v_loadn(y + i, w), oy);
        const vf u = v_max(v_set(2), v_mul(step, v_sub(there, ox)));
        const vf v = v_max(v_set(2), v_mul(step, v_sub(here, oy)));
        const vf row = v_round(v_sub(u, half)), column = v_round(v_sub(v, half));
        v_store(cell, v_fma(ld, row, column));
        for (int l = 0; l < V_WIDTH; l++) at[l] = (int32_t)cell[l];
        ITP_K(splines)(v_sub(u, row), wx, sx);
        ITP_K(splines)(v_sub(v, column), wy, sy);
        vf value = v_zero(), dx = value, dy = value;
        for (int r = 0; r < 6; r++) {
            const float *base = grid + (ptrdiff_t)(r - 2) * width - 2;
            vf along = v_zero(), rise = along;
#define ITP_TAP(c)                                                                                 \
    {                                                                                              \
        const vf here_ = v_gather(base + c, at);                                                   \
        along = v_fma(here_, wy[c], along);                                                        \
        rise = v_fma(here_, sy[c], rise);                                                          \
    }
            ITP_TAP(0)
            ITP_TAP(1)
            ITP_TAP(2)
            ITP_TAP(3)
            ITP_TAP(4)
            ITP_TAP(5)
#undef ITP_TAP
            value = v_fma(wx[r], along, value);
            dx = v_fma(sx[r], along, dx);
            dy = v_fma(wx[r], rise, dy);
        }
        value = v_mul(v_set(1.0f / 14400), value);
        if (values) v_put(values + i, value, w);
        v_put(fx + i, v_mul(slope_scale, dx), w);
        v_put(fy + i, v_mul(slope_scale, dy), w);
        if (w < V_WIDTH) value = v_select(v_first(w), value, v_zero());
        total += (double)v_sum(value);
    }
    return total;
}

/* ---- UMAP */

/* Statements for each dimension k: the first three unrolled, so that their vectors stay in registers. */
#define ITP_EACH_DIM(...)                                                                          \
    do {                                                                                           \
        if (dims > 0) {                                                                            \
            enum { k = 0 };                                                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (dims > 1) {                                                                            \
            enum { k = 1 };                                                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (dims > 2) {                                                                            \
            enum { k = 2 };                                                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        for (int k = 3; k < dims; k++) { __VA_ARGS__ }                                             \
    } while (0)

/* (d^2)^b to 1e-5 for d^2 in 1e-30 .. 1e30, next to 0 at 0: 2^(b log2 d^2), polynomials of our own. */
ITP_INLINE vf ITP_K(power_of)(vf d2, vf b)
{
#if defined(INTERP_TEST_DOUBLE)
    return pow(d2, b);
#else
    const vf m = v_mantissa(d2);
    vf l = v_set(-0.0256904f);
    l = v_fma(l, m, v_set(0.27514259f));
    l = v_fma(l, m, v_set(-1.26689544f));
    l = v_fma(l, m, v_set(3.28648435f));
    l = v_fma(l, m, v_set(-5.34194113f));
    l = v_fma(l, m, v_set(6.11293572f));
    l = v_fma(l, m, v_set(-3.04003384f));
    vf t = v_mul(b, v_add(l, v_exponent(d2)));
    t = v_max(v_set(-126), v_min(v_set(126), t));
    const vf n = v_round(t), f = v_sub(t, n);
    vf p = v_set(0.0096857f);
    p = v_fma(p, f, v_set(0.05592203f));
    p = v_fma(p, f, v_set(0.24021866f));
    p = v_fma(p, f, v_set(0.69312104f));
    p = v_fma(p, f, v_set(1.00000015f));
    return v_mul(p, v_pow2(n));
#endif
}

/* Moves at[] by rate * clip(factor * (from - other)). */
#define ITP_MOVE(factor, from)                                                                     \
    ITP_EACH_DIM({                                                                                 \
        const vf go = v_mul(factor, v_sub(from[k], other[k]));                                     \
        at[k] = v_fma(rate, v_min(four, v_max(low, go)), at[k]);                                   \
    })

/* What densMAP adds to the attraction of an edge (Narayan et al. 2021): both ends' local radii follow
   the original ones. */
ITP_INLINE vf ITP_K(density)(const itp_attraction *s, const int32_t *own, const int32_t *other,
                             vf d2, vf pb, vf weight)
{
    const float *per_sum = s->density, *per_radius = per_sum + s->stride;
    const float *want = per_radius + s->stride;
    const vf one = v_set(1), a = v_set(s->a), b = v_set(s->b);
    const vf phi = v_div(one, v_fma(a, pb, one));
    const vf slope = v_mul(v_mul(v_mul(a, b), v_div(pb, d2)), phi);
    const vf near = v_fnma(b, v_sub(one, phi), one);
    vf sum = v_zero();
    for (int end = 0; end < 2; end++) {
        const int32_t *v = end ? other : own;
        const vf grow =
            v_mul(v_mul(phi, v_gather(per_sum, v)), v_fma(near, v_gather(per_radius, v), slope));
        sum = v_fma(v_gather(want, v), grow, sum);
    }
    return v_div(v_mul(v_set(2 * s->density_scale), sum), weight);
}

/* One epoch of V_WIDTH vertices: each lane goes through its own edges, one after the other; edges that
   are not due have the weight 0. Negatives are runs of the shuffled others from random places on.
   Always inlined with constant dims. */
ITP_INLINE void ITP_K(attract_of)(const itp_attraction *s, int dims, bool dense, int steps,
                                  const int32_t *own, const int32_t *neighbour, const float *due,
                                  uint32_t *state, float *y)
{
    const vf zero = v_zero(), one = v_set(1), four = v_set(4), low = v_set(-4);
    const vf a = v_set(s->a), b = v_set(s->b), full = v_set(s->rate), near = v_set(0.001f);
    const vf pull = v_set(-2 * s->a * s->b), push = v_set(2 * s->repulsion * s->b);
    vf at[ITP_UMAP_DIMS] = {zero}, other[ITP_UMAP_DIMS] = {zero}, from[ITP_UMAP_DIMS] = {zero};
    float name[V_WIDTH];
    for (int l = 0; l < V_WIDTH; l++) name[l] = (float)own[l];
    const vf self = v_load(name);
    uint32_t random = *state;
    ITP_EACH_DIM({ at[k] = v_load(y + k * V_WIDTH); });
    for (int t = 0; t < steps; t++, neighbour += V_WIDTH, due += V_WIDTH) {
        const vf weight = v_load(due);
        const vf rate = v_select(v_gt(weight, zero), full, zero);
        ITP_EACH_DIM({ other[k] = v_gather(s->at + (size_t)k * s->stride, neighbour); });
        for (int twin = 0; twin < s->both; twin++) {
            vf d2 = zero;
            ITP_EACH_DIM({
                from[k] = at[k];
                const vf gap = v_sub(at[k], other[k]);
                d2 = v_fma(gap, gap, d2);
            });
            const vf pb = ITP_K(power_of)(d2, b);
            vf factor = v_div(v_mul(pull, pb), v_mul(d2, v_fma(a, pb, one)));
            factor = v_select(v_gt(d2, zero), factor, zero);
            ITP_MOVE(factor, from);
            if (dense) {
                const vf more = ITP_K(density)(s, own, neighbour, d2, pb, weight);
                const vm apart = v_gt(d2, zero), on = v_gt(weight, zero), real = v_both(apart, on);
                const vf right = v_select(real, more, zero);
                ITP_MOVE(right, from);
            }
        }
        for (int r = 0; r < s->negatives; r++) {
            random ^= random << 13; /* xorshift, Marsaglia 2003 */
            random ^= random >> 17;
            random ^= random << 5;
            const size_t run = (size_t)(((uint64_t)random * (uint32_t)s->others) >> 32);
            vf d2 = zero;
            ITP_EACH_DIM({
                other[k] = v_load(s->shuffled + (size_t)(k + 1) * s->shuffled_stride + run);
                const vf gap = v_sub(at[k], other[k]);
                d2 = v_fma(gap, gap, d2);
            });
            const vf pb = ITP_K(power_of)(d2, b);
            vf factor = v_div(push, v_mul(v_add(near, d2), v_fma(a, pb, one)));
            factor = v_select(v_eq(v_load(s->shuffled + run), self), zero, factor);
            ITP_MOVE(factor, at);
        }
    }
    *state = random;
    ITP_EACH_DIM({ v_store(y + k * V_WIDTH, at[k]); });
}

#undef ITP_MOVE
#undef ITP_EACH_DIM

static void ITP_K(attract)(const itp_attraction *s, int steps, const int32_t *own,
                           const int32_t *neighbour, const float *due, uint32_t *state, float *y)
{
    const int dims = s->dims;
    if (s->density) ITP_K(attract_of)(s, dims, true, steps, own, neighbour, due, state, y);
    else if (dims == 2) ITP_K(attract_of)(s, 2, false, steps, own, neighbour, due, state, y);
    else if (dims == 3) ITP_K(attract_of)(s, 3, false, steps, own, neighbour, due, state, y);
    else ITP_K(attract_of)(s, dims, false, steps, own, neighbour, due, state, y);
}

/* out[i] = a sum over neighbours of weight * x[neighbour] + b old[i], rows of `columns` numbers. */
static void ITP_K(spread_rows)(int from, int to, const size_t *start, const int32_t *index,
                               const float *weight, const float *x, int columns, float a,
                               const float *old, float b, float *out)
{
    const vf va = v_set(a), vb = v_set(b);
    for (int i = from; i < to; i++)
        for (int c = 0; c < columns; c += V_WIDTH) {
            const int w = columns - c < V_WIDTH ? columns - c : V_WIDTH;
            const size_t at = (size_t)i * (size_t)columns + (size_t)c;
            vf s = v_zero();
            for (size_t e = start[i]; e < start[i + 1]; e++)
                s = v_fma(v_set(weight[e]), v_get(x + (size_t)index[e] * (size_t)columns + c, w),
                          s);
            s = v_mul(va, s);
            if (b != 0) s = v_fma(vb, v_get(old + at, w), s);
            v_put(out + at, s, w);
        }
}

#undef v_first

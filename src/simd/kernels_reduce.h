/* ---- reductions and row kernels -------------------------------------------------------------- */

/* Sums run in float over blocks of this many numbers and in double over the blocks. */
#define ITP_SUM_BLOCK 2048

/* Four running sums, so that none waits for the one before. */
static double ITP_K(sum)(size_t n, const float *x)
{
    double total = 0;
    for (size_t at = 0; at < n; at += ITP_SUM_BLOCK) {
        const size_t m = n - at < ITP_SUM_BLOCK ? n - at : ITP_SUM_BLOCK;
        const float *p = x + at;
        vf s0 = v_zero(), s1 = s0, s2 = s0, s3 = s0;
        size_t i = 0;
        for (; i + 4 * V_WIDTH <= m; i += 4 * V_WIDTH) {
            s0 = v_add(s0, v_load(p + i));
            s1 = v_add(s1, v_load(p + i + V_WIDTH));
            s2 = v_add(s2, v_load(p + i + 2 * V_WIDTH));
            s3 = v_add(s3, v_load(p + i + 3 * V_WIDTH));
        }
        for (; i < m; i += V_WIDTH) {
            const int w = m - i < V_WIDTH ? (int)(m - i) : V_WIDTH;
            s0 = v_add(s0, v_get(p + i, w));
        }
        total += (double)v_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
    }
    return total;
}

/* Sum of (x - a) (y - b). */
static double ITP_K(dot)(size_t n, const float *x, float a, const float *y, float b)
{
    const vf va = v_set(a), vb = v_set(b);
    double total = 0;
#define ITP_TERM(s, at) s = v_fma(v_sub(v_load(p + (at)), va), v_sub(v_load(q + (at)), vb), s);
    for (size_t at = 0; at < n; at += ITP_SUM_BLOCK) {
        const size_t m = n - at < ITP_SUM_BLOCK ? n - at : ITP_SUM_BLOCK;
        const float *p = x + at, *q = y + at;
        vf s0 = v_zero(), s1 = s0, s2 = s0, s3 = s0;
        size_t i = 0;
        for (; i + 4 * V_WIDTH <= m; i += 4 * V_WIDTH) {
            ITP_TERM(s0, i)
            ITP_TERM(s1, i + V_WIDTH)
            ITP_TERM(s2, i + 2 * V_WIDTH)
            ITP_TERM(s3, i + 3 * V_WIDTH)
        }
        for (; i + V_WIDTH <= m; i += V_WIDTH) ITP_TERM(s0, i)
        total += (double)v_sum(v_add(v_add(s0, s1), v_add(s2, s3)));
        for (; i < m; i++) total += (double)((p[i] - a) * (q[i] - b));
    }
#undef ITP_TERM
    return total;
}

/* Sum of x[i sx] y[i]. */
static double ITP_K(dot_strided)(size_t n, const float *x, int sx, const float *y)
{
    vf s = v_zero();
    size_t i = 0;
    if (sx == 1)
        for (; i + V_WIDTH <= n; i += V_WIDTH) s = v_fma(v_load(x + i), v_load(y + i), s);
    else
        for (; i + V_WIDTH <= n; i += V_WIDTH)
            s = v_fma(v_loads(x + i * (size_t)sx, sx), v_load(y + i), s);
    double total = (double)v_sum(s);
    for (; i < n; i++) total += (double)(x[i * (size_t)sx] * y[i]);
    return total;
}

/* Largest number, NaN when there is one; -infinity for none. */
static float ITP_K(max)(size_t n, const float *x)
{
    vf m = v_set(-(float)INFINITY), m1 = m, m2 = m, m3 = m;
    size_t i = 0;
    for (; i + 4 * V_WIDTH <= n; i += 4 * V_WIDTH) {
        m = ITP_K(larger)(m, v_load(x + i));
        m1 = ITP_K(larger)(m1, v_load(x + i + V_WIDTH));
        m2 = ITP_K(larger)(m2, v_load(x + i + 2 * V_WIDTH));
        m3 = ITP_K(larger)(m3, v_load(x + i + 3 * V_WIDTH));
    }
    for (; i + V_WIDTH <= n; i += V_WIDTH) m = ITP_K(larger)(m, v_load(x + i));
    m = ITP_K(larger)(ITP_K(larger)(m, m1), ITP_K(larger)(m2, m3));
    float lane[V_WIDTH], top = -(float)INFINITY;
    v_store(lane, m);
    for (int l = 0; l < V_WIDTH; l++)
        if (lane[l] > top || lane[l] != lane[l]) top = lane[l];
    for (; i < n; i++)
        if (x[i] > top || x[i] != x[i]) top = x[i];
    return top;
}

/* y = exp(x - shift) and their sum; no x exceeds shift. */
static double ITP_K(exp_sum)(size_t n, const float *x, float shift, float *y)
{
    const vf vs = v_set(shift);
    double total = 0;
    vf s = v_zero();
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) {
        const vf e = ITP_K(exp_low)(v_sub(v_load(x + i), vs));
        v_store(y + i, e);
        s = v_add(s, e);
    }
    if (i < n) {
        const int w = (int)(n - i);
        const vf e = ITP_K(exp_low)(v_sub(v_loadn(x + i, w), vs));
        v_storen(y + i, e, w);
        for (; i < n; i++) total += (double)y[i];
    }
    return total + (double)v_sum(s);
}

/* The softmax of each of m columns, or its logarithm: n numbers, each `step` behind the one before. y
   may be x. */
static void ITP_K(softmax_across)(size_t n, size_t m, size_t step, const float *x, float *y,
                                  bool log)
{
    float top[ITP_ACROSS], sum[ITP_ACROSS];
    memcpy(top, x, m * sizeof *x);
    memset(sum, 0, m * sizeof *sum);
    for (size_t k = 1; k < n; k++)
        V_EACH(m,
               { v_put(top + i, ITP_K(larger)(v_get(top + i, w), v_get(x + k * step + i, w)), w); })
    for (size_t k = 0; k < n; k++)
        V_EACH(m, {
            const vf e = ITP_K(exp_low)(v_sub(v_get(x + k * step + i, w), v_get(top + i, w)));
            v_put(sum + i, v_add(v_get(sum + i, w), e), w);
            if (!log) v_put(y + k * step + i, e, w);
        })
    V_EACH(m, {
        const vf s = v_get(sum + i, w);
        v_put(sum + i, log ? v_add(ITP_K(log)(s), v_get(top + i, w)) : v_div(v_set(1), s), w);
    })
    for (size_t k = 0; k < n; k++)
        V_EACH(m, {
            const vf s = v_get(sum + i, w);
            const size_t at = k * step + i;
            v_put(y + at, log ? v_sub(v_get(x + at, w), s) : v_mul(v_get(y + at, w), s), w);
        })
}

/* y = (x - mean) rstd gamma + beta; gamma and beta may be NULL. */
static void ITP_K(normalise)(size_t n, const float *x, float mean, float rstd, const float *gamma,
                             const float *beta, float *y)
{
    const vf vm_ = v_set(mean), vr = v_set(rstd);
    V_LOOP(n, {
        vf t = v_mul(v_sub(v_get(x + i, w), vm_), vr);
        if (gamma) t = v_mul(t, v_get(gamma + i, w));
        if (beta) t = v_add(t, v_get(beta + i, w));
        v_put(y + i, t, w);
    });
}

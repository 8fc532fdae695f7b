/* ---- reductions and row kernels -------------------------------------------------------------- */

/* Sums run in float over blocks of this many numbers and in double over the blocks. */
#define ITP_SUM_BLOCK 2048

static double ITP_K(sum)(size_t n, const float *x)
{
    double total = 0;
    for (size_t at = 0; at < n; at += ITP_SUM_BLOCK) {
        const size_t m = n - at < ITP_SUM_BLOCK ? n - at : ITP_SUM_BLOCK;
        vf s = v_zero();
        V_LOOP(m, { s = v_add(s, v_get(x + at + i, w)); });
        total += (double)v_sum(s);
    }
    return total;
}

/* Sum of (x - a) (y - b). */
static double ITP_K(dot)(size_t n, const float *x, float a, const float *y, float b)
{
    const vf va = v_set(a), vb = v_set(b);
    double total = 0;
    for (size_t at = 0; at < n; at += ITP_SUM_BLOCK) {
        const size_t m = n - at < ITP_SUM_BLOCK ? n - at : ITP_SUM_BLOCK;
        const float *p = x + at, *q = y + at;
        vf s = v_zero();
        size_t i = 0;
        for (; i + V_WIDTH <= m; i += V_WIDTH)
            s = v_fma(v_sub(v_load(p + i), va), v_sub(v_load(q + i), vb), s);
        total += (double)v_sum(s);
        for (; i < m; i++) total += (double)((p[i] - a) * (q[i] - b));
    }
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
    vf m = v_set(-(float)INFINITY);
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) m = ITP_K(larger)(m, v_load(x + i));
    float lane[V_WIDTH], top = -(float)INFINITY;
    v_store(lane, m);
    for (int l = 0; l < V_WIDTH; l++)
        if (lane[l] > top || lane[l] != lane[l]) top = lane[l];
    for (; i < n; i++)
        if (x[i] > top || x[i] != x[i]) top = x[i];
    return top;
}

/* y = exp(x - shift) and their sum. */
static double ITP_K(exp_sum)(size_t n, const float *x, float shift, float *y)
{
    const vf vs = v_set(shift);
    double total = 0;
    vf s = v_zero();
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH) {
        const vf e = ITP_K(exp)(v_sub(v_load(x + i), vs));
        v_store(y + i, e);
        s = v_add(s, e);
    }
    if (i < n) {
        const int w = (int)(n - i);
        const vf e = ITP_K(exp)(v_sub(v_loadn(x + i, w), vs));
        v_storen(y + i, e, w);
        for (; i < n; i++) total += (double)y[i];
    }
    return total + (double)v_sum(s);
}

static void ITP_K(softmax)(size_t n, const float *x, float *y)
{
    const double sum = ITP_K(exp_sum)(n, x, ITP_K(max)(n, x), y);
    ITP_K(scale_add)(n, (float)(1 / sum), y, 0, y);
}

/* y may be x; it also serves as scratch. */
static void ITP_K(log_softmax)(size_t n, const float *x, float *y, float *scratch)
{
    const float top = ITP_K(max)(n, x);
    const double sum = ITP_K(exp_sum)(n, x, top, scratch);
    ITP_K(affine)(n, 1, x, -(top + (float)log(sum)), y);
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

/* Elementary functions. Errors in ulp of float32, measured over all floats of the domain by
   tests/test_kernels.c: exp 1.5, log 2, tanh 2.5, sigmoid 2.5, erf 2.5, softplus 2.5. Polynomials are
   minimax fits of our own (tools/fit_polynomials.py). */

#if defined(INTERP_TEST_DOUBLE)

static inline vf ITP_K(exp)(vf x)
{
    return exp(x);
}

static inline vf ITP_K(exp_low)(vf x)
{
    return exp(x);
}

static inline vf ITP_K(log)(vf x)
{
    return log(x);
}

static inline vf ITP_K(log1p_unit)(vf u)
{
    return log1p(u);
}

static inline vf ITP_K(tanh)(vf x)
{
    return tanh(x);
}

static inline vf ITP_K(sigmoid_under)(vf x)
{
    return 1 + exp(-x);
}

static inline vf ITP_K(erf)(vf x)
{
    return erf(x);
}

#else

/* exp(t) = 2^n exp(r), |r| <= ln(2)/2: n. */
static inline vf ITP_K(exp_whole)(vf t)
{
    return v_round(v_mul(t, v_set(1.44269504f)));
}

/* exp(r). */
static inline vf ITP_K(exp_rest)(vf t, vf n)
{
    vf r = v_fnma(n, v_set(0.693359375f), t);
    r = v_fnma(n, v_set(-2.12194440e-4f), r);
    vf p = v_set(0.00139411096f);
    p = v_fma(p, r, v_set(0.00836317526f));
    p = v_fma(p, r, v_set(0.0416663753f));
    p = v_fma(p, r, v_set(0.16666577f));
    p = v_fma(p, r, v_set(0.500000003f));
    return v_add(v_fma(p, v_mul(r, r), r), v_set(1));
}

/* Overflow gives infinity; results below the smallest normal number give 0. */
static inline vf ITP_K(exp)(vf x)
{
    const vf t = v_max(v_set(-88.0f), v_min(v_set(89.0f), x));
    const vf n = ITP_K(exp_whole)(t), y = ITP_K(exp_rest)(t, n);
    const vf half = v_round(v_mul(n, v_set(0.5f))); /* 2^n in two factors: n may be 128 */
    const vf e = v_mul(v_mul(y, v_pow2(half)), v_pow2(v_sub(n, half)));
    const vf high = v_select(v_gt(x, v_set(88.7228391f)), v_set((float)INFINITY), e);
    const vf low = v_select(v_lt(x, v_set(-87.3365448f)), v_zero(), high);
    return v_select(v_eq(x, x), low, x);
}

/* The same of x <= 0, in 18 instructions instead of 30. */
static inline vf ITP_K(exp_low)(vf x)
{
    const vf t = v_max(v_set(-87.3365448f), x), n = ITP_K(exp_whole)(t); /* NaN stays */
    const vf y = v_mul(ITP_K(exp_rest)(t, n), v_pow2(n));
    return v_select(v_lt(x, v_set(-87.3365448f)), v_zero(), y);
}

/* 2 atanh(s) = log((1+s)/(1-s)) for |s| <= 1/3. */
static inline vf ITP_K(two_atanh)(vf s)
{
    const vf u = v_mul(s, s);
    vf p = v_set(0.103600228f);
    p = v_fma(p, u, v_set(0.0874300566f));
    p = v_fma(p, u, v_set(0.111311279f));
    p = v_fma(p, u, v_set(0.142852151f));
    p = v_fma(p, u, v_set(0.200000041f));
    p = v_fma(p, u, v_set(0.333333333f));
    const vf d = v_add(s, s);
    return v_fma(v_mul(d, u), p, d);
}

/* log(x) = e ln 2 + log(m), m in [sqrt(1/2), sqrt(2)). 0 gives -infinity, negative x NaN; numbers
   below the smallest normal one count as 0. */
static inline vf ITP_K(log)(vf x)
{
    const vm big = v_gt(v_mantissa(x), v_set(1.41421356f));
    const vf m = v_select(big, v_mul(v_mantissa(x), v_set(0.5f)), v_mantissa(x));
    const vf e = v_select(big, v_add(v_exponent(x), v_set(1)), v_exponent(x));
    const vf l = ITP_K(two_atanh)(v_div(v_sub(m, v_set(1)), v_add(m, v_set(1))));
    vf y = v_fma(e, v_set(0.693359375f), v_fma(e, v_set(-2.12194440e-4f), l));
    y = v_select(v_lt(x, v_set(1.17549435e-38f)), v_set(-(float)INFINITY), y);
    y = v_select(v_lt(x, v_zero()), v_set((float)NAN), y);
    y = v_select(v_eq(x, v_set((float)INFINITY)), x, y);
    return v_select(v_eq(x, x), y, x);
}

/* log(1 + u) for u in [0, 1]. */
static inline vf ITP_K(log1p_unit)(vf u)
{
    return ITP_K(two_atanh)(v_div(u, v_add(u, v_set(2))));
}

static inline vf ITP_K(tanh)(vf x)
{
    const vf a = v_abs(x), u = v_mul(x, x);
    vf p = v_set(-0.00611318318f);
    p = v_fma(p, u, v_set(0.0210100745f));
    p = v_fma(p, u, v_set(-0.0538540679f));
    p = v_fma(p, u, v_set(0.133327945f));
    p = v_fma(p, u, v_set(-0.333333292f));
    const vf small = v_fma(v_mul(p, u), x, x);
    const vf e = ITP_K(exp_low)(v_mul(v_set(-2), a));
    const vf large = v_div(v_sub(v_set(1), e), v_add(v_set(1), e));
    const vf y = v_select(v_lt(x, v_zero()), v_neg(large), large);
    return v_select(v_lt(a, v_set(0.625f)), small, y);
}

/* 1 + exp(-x): from 2^127.5 on infinity. */
static inline vf ITP_K(sigmoid_under)(vf x)
{
    const vf t = v_max(v_set(-87.3365448f), v_min(v_set(89.0f), v_neg(x))); /* NaN stays */
    const vf n = ITP_K(exp_whole)(t);
    return v_fma(ITP_K(exp_rest)(t, n), v_pow2(n), v_set(1));
}

/* x R(x^2) below 1; above, 1 - erfc with log(erfc) as a polynomial; 1 from 4 on. */
static inline vf ITP_K(erf)(vf x)
{
    const vf a = v_abs(x), u = v_mul(x, x);
    vf r = v_set(7.85385769e-05f);
    r = v_fma(r, u, v_set(-0.000801019252f));
    r = v_fma(r, u, v_set(0.00518832756f));
    r = v_fma(r, u, v_set(-0.0268538119f));
    r = v_fma(r, u, v_set(0.112835851f));
    r = v_fma(r, u, v_set(-0.376126258f));
    r = v_fma(r, u, v_set(1.12837917f));
    const vf b = v_min(v_set(4), a);
    vf l = v_set(-2.1697639e-05f);
    l = v_fma(l, b, v_set(0.000441472917f));
    l = v_fma(l, b, v_set(-0.0042052859f));
    l = v_fma(l, b, v_set(0.0252103423f));
    l = v_fma(l, b, v_set(-0.108422103f));
    l = v_fma(l, b, v_set(-0.633216395f));
    l = v_fma(l, b, v_set(-1.12958031f));
    l = v_fma(l, b, v_set(0.000188467789f));
    const vf tail = v_sub(v_set(1), ITP_K(exp_low)(l));
    const vf large = v_select(v_lt(x, v_zero()), v_neg(tail), tail);
    return v_select(v_lt(a, v_set(1)), v_mul(x, r), large);
}

#endif

static inline vf ITP_K(sigmoid)(vf x)
{
    return v_div(v_set(1), ITP_K(sigmoid_under)(x));
}

/* log(1 + exp(x)) without overflow. */
static inline vf ITP_K(softplus)(vf x)
{
    const vf u = ITP_K(exp_low)(v_neg(v_abs(x)));
    return v_add(v_max(v_zero(), x), ITP_K(log1p_unit)(u));
}

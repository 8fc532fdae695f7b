/* The vector vocabulary, one lane: the specification of the others.

   vf            a vector of V_WIDTH floats;  vm  a lane mask
   v_load(p)     any alignment; v_loadn(p, n): the first n lanes, the rest 0; v_store, v_storen alike
   v_loads(p, s) lanes p[0], p[s], p[2s] ...
   v_lanes(lo, hi)  the lanes lo <= i < hi, a vl; v_between(p, l): those of p, the rest 0; reads
                 nothing else
   v_even(a, b), v_odd(a, b)  lanes 0, 2, 4 ... and 1, 3, 5 ... of a followed by b
   v_push(a, b)  the last lane of a, then b but its last; v_pull(a, b): a but its first, the first of b
   v_zip(a, b), v_zip2(a, b)  first and second half of a[0] b[0] a[1] b[1] ...
   v_fma(a,b,c)  a*b + c;  v_fnma(a,b,c)  c - a*b;  each rounds once where the machine can
   v_mac(c,a,b)  c = a*b + c, a statement;  v_mac_lane(c,a,b,k)  the same with lane k of b, if there is such
   v_max(a,b), v_min(a,b)  b when a lane of either is NaN
   v_round       to nearest, ties to even;  v_pow2(n)  2^n for whole n in -126..128, the last infinity
   v_exponent, v_mantissa  of positive normal x: x = mantissa * 2^exponent, mantissa in [1,2)
   v_gather(p, at)  lanes p[at[0]], p[at[1]] ... of V_WIDTH int32
   v_bits(m)     the lanes of a mask as bits of an unsigned, lane 0 the lowest
   v_sum(v)      sum of lanes, always in the same order
   v_transpose(t)  V_WIDTH vectors t[i] of lanes j become t[j] of lanes i
   V_LANES(X)    X(0) X(1) ...: V_WIDTH of them
   V_ROWS_ON(X)  X(3) X(4) ...: the rows of a tile of V_MR rows of two vectors, from the fourth on
   V_STEPS       steps of a tile that are taken without a jump, 1 to 3: more where a step is short
   V_PAIRS       pairs of vectors of a row whose sums are taken together where zeros are left out;
                 V_PAIRS_ON(X): X(3, 6, 7) ...: pair, first and second vector, from the fourth pair on
   V_AHEAD       steps of a tile by which the second operand is asked for early; 0: never, as where
                 that cost a third of a tile's speed (AVX2 of Zen 3) */
#if ITP_KERNEL_PASS == 1

#define ITP_K(name)       itp_##name##_scalar
#define ITP_ISA_NAME      "scalar"
#define V_WIDTH           1
#define V_MR              4
#define V_STEPS           1
#define V_AHEAD           0
#define V_PAIRS           7
#define V_PAIRS_ON(X)     X(3, 6, 7) X(4, 8, 9) X(5, 10, 11) X(6, 12, 13)
#define V_ROWS_ON(X)      X(3)
#define V_LANES(X)        X(0)
#define vf                float
#define vm                int
#define v_set(x)          ((float)(x))
#define v_zero()          ((float)0)
#define v_load(p)         (*(p))
#define v_store(p, v)     ((void)(*(p) = (v)))
#define v_loadn(p, n)     ((n) > 0 ? *(p) : (float)0)
#define v_storen(p, v, n) ((n) > 0 ? (void)(*(p) = (v)) : (void)0)
#define v_loads(p, s)     (*(p))
#define v_gather(p, at)   ((p)[*(at)])
#define v_bits(m)         ((unsigned)((m) != 0))
#define v_add(a, b)       ((a) + (b))
#define v_sub(a, b)       ((a) - (b))
#define v_mul(a, b)       ((a) * (b))
#define v_div(a, b)       ((a) / (b))
#define v_fma(a, b, c)    ((a) * (b) + (c))
#define v_mac(c, a, b)    ((c) = v_fma(a, b, c))
#define v_fnma(a, b, c)   ((c) - (a) * (b))
#define v_max(a, b)       itp_scalar_max(a, b)
#define v_min(a, b)       itp_scalar_min(a, b)
#define v_abs(a)          itp_scalar_abs(a)
#define v_neg(a)          (-(a))
#define v_sqrt(a)         itp_scalar_sqrt(a)
#define v_lt(a, b)        ((a) < (b))
#define v_le(a, b)        ((a) <= (b))
#define v_gt(a, b)        ((a) > (b))
#define v_eq(a, b)        ((a) == (b))
#define v_both(m, n)      ((m) & (n))
#define v_select(m, a, b) ((m) ? (a) : (b))
#define v_round(a)        itp_scalar_round(a)
#define v_pow2(n)         itp_scalar_pow2(n)
#define v_exponent(x)     itp_scalar_exponent(x)
#define v_mantissa(x)     itp_scalar_mantissa(x)
#define v_sum(v)          (v)
#define v_hmax(v)         (v)
#define v_transpose(t)    ((void)(t))
#define vl                int
#define v_lanes(lo, hi)   ((lo) <= 0 && (hi) > 0)
#define v_between(p, l)   ((l) ? *(p) : (float)0)
#define v_even(a, b)      (a)
#define v_odd(a, b)       (b)
#define v_push(a, b)      (a)
#define v_pull(a, b)      (b)
#define v_zip(a, b)       (a)
#define v_zip2(a, b)      (b)

static inline float itp_scalar_max(float a, float b)
{
    return a > b ? a : b;
}

static inline float itp_scalar_min(float a, float b)
{
    return a < b ? a : b;
}

static inline float itp_scalar_abs(float a)
{
#if defined(INTERP_TEST_DOUBLE)
    return fabs(a);
#else
    return fabsf(a);
#endif
}

static inline float itp_scalar_sqrt(float a)
{
#if defined(INTERP_TEST_DOUBLE)
    return sqrt(a);
#else
    return sqrtf(a);
#endif
}

#if !defined(INTERP_TEST_DOUBLE)
static inline uint32_t itp_scalar_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float itp_scalar_float(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* Adding and taking away 1.5 * 2^23 rounds to a whole number for |a| < 2^22; volatile keeps the
   compiler from seeing through it. */
static inline float itp_scalar_round(float a)
{
    volatile float t = a + 12582912.0f;
    return t - 12582912.0f;
}

static inline float itp_scalar_pow2(float n)
{
    return n >= -126 && n <= 128 ? itp_scalar_float((uint32_t)((int)n + 127) << 23) : (float)1;
}

static inline float itp_scalar_exponent(float x)
{
    return (float)((int)(itp_scalar_bits(x) >> 23 & 255) - 127);
}

static inline float itp_scalar_mantissa(float x)
{
    return itp_scalar_float((itp_scalar_bits(x) & 0x007FFFFFu) | 0x3F800000u);
}
#endif

#endif

/* The vector vocabulary for 64-bit NEON; see vocabulary_scalar.h for what each word means. */
#if ITP_KERNEL_PASS == 4

#define ITP_K(name)       itp_##name##_neon
#define ITP_ISA_NAME      "neon"
#define V_WIDTH           4
#define V_MR              8
#define V_STEPS           1
#define V_AHEAD           0
#define V_PAIRS           7
#define V_PAIRS_ON(X)     X(3, 6, 7) X(4, 8, 9) X(5, 10, 11) X(6, 12, 13)
#define V_ROWS_ON(X)      X(3) X(4) X(5) X(6) X(7)
#define V_LANES(X)        X(0) X(1) X(2) X(3)
#define vf                float32x4_t
#define vm                uint32x4_t
#define v_set(x)          vdupq_n_f32(x)
#define v_zero()          vdupq_n_f32(0)
#define v_load(p)         vld1q_f32(p)
#define v_store(p, v)     vst1q_f32(p, v)
#define v_loadn(p, n)     itp_neon_loadn(p, n)
#define v_storen(p, v, n) itp_neon_storen(p, v, n)
#define v_loads(p, s)     itp_neon_loads(p, s)
#define v_gather(p, at)   itp_neon_gather(p, at)
#define v_bits(m)         itp_neon_bits(m)
#define v_add(a, b)       vaddq_f32(a, b)
#define v_sub(a, b)       vsubq_f32(a, b)
#define v_mul(a, b)       vmulq_f32(a, b)
#define v_div(a, b)       vdivq_f32(a, b)
#define v_fma(a, b, c)    vfmaq_f32(c, a, b)
#define v_mac(c, a, b)    ((c) = v_fma(a, b, c))
#define v_fnma(a, b, c)   vfmsq_f32(c, a, b)
#define v_max(a, b)       vbslq_f32(vcgtq_f32(a, b), a, b)
#define v_min(a, b)       vbslq_f32(vcltq_f32(a, b), a, b)
#define v_abs(a)          vabsq_f32(a)
#define v_neg(a)          vnegq_f32(a)
#define v_sqrt(a)         vsqrtq_f32(a)
#define v_lt(a, b)        vcltq_f32(a, b)
#define v_le(a, b)        vcleq_f32(a, b)
#define v_gt(a, b)        vcgtq_f32(a, b)
#define v_eq(a, b)        vceqq_f32(a, b)
#define v_both(m, n)      vandq_u32(m, n)
#define v_select(m, a, b) vbslq_f32(m, a, b)
#define v_round(a)        vrndnq_f32(a)
#define v_pow2(n)         itp_neon_pow2(n)
#define v_exponent(x)     itp_neon_exponent(x)
#define v_mantissa(x)     itp_neon_mantissa(x)
#define v_sum(v)          itp_neon_sum(v)
#define v_hmax(v)         vmaxvq_f32(v)
#define v_transpose(t)    itp_neon_transpose(t)
#define vl                itp_neon_range
#define v_lanes(lo, hi)   itp_neon_lanes(lo, hi)
#define v_between(p, l)   itp_neon_between(p, l)
#define v_even(a, b)      vuzp1q_f32(a, b)
#define v_odd(a, b)       vuzp2q_f32(a, b)
#define v_push(a, b)      vextq_f32(a, b, 3)
#define v_pull(a, b)      vextq_f32(a, b, 1)
#define v_zip(a, b)       vzip1q_f32(a, b)
#define v_zip2(a, b)      vzip2q_f32(a, b)

#define v_mac_lane(c, a, b, k) ((c) = vfmaq_laneq_f32(c, a, b, k))

ITP_TARGET_BEGIN

static inline float32x4_t itp_neon_loadn(const float *p, int n)
{
    float t[4] = {0, 0, 0, 0};
    for (int i = 0; i < n && i < 4; i++) t[i] = p[i];
    return vld1q_f32(t);
}

static inline void itp_neon_storen(float *p, float32x4_t v, int n)
{
    float t[4];
    vst1q_f32(t, v);
    for (int i = 0; i < n && i < 4; i++) p[i] = t[i];
}

/* Lanes lo <= i < hi. */
typedef struct itp_neon_range {
    int lo, hi;
} itp_neon_range;

static inline itp_neon_range itp_neon_lanes(int lo, int hi)
{
    const itp_neon_range l = {lo > 0 ? lo : 0, hi < 4 ? hi : 4};
    return l;
}

static inline float32x4_t itp_neon_between(const float *p, itp_neon_range l)
{
    float t[4] = {0, 0, 0, 0};
    if (l.lo == 0 && l.hi == 4) return vld1q_f32(p);
    for (int i = l.lo; i < l.hi; i++) t[i] = p[i];
    return vld1q_f32(t);
}

static inline float32x4_t itp_neon_loads(const float *p, int s)
{
    const float t[4] = {p[0], p[s], p[2 * s], p[3 * s]};
    return vld1q_f32(t);
}

static inline float32x4_t itp_neon_gather(const float *p, const int32_t *at)
{
    const float t[4] = {p[at[0]], p[at[1]], p[at[2]], p[at[3]]};
    return vld1q_f32(t);
}

static inline unsigned itp_neon_bits(uint32x4_t m)
{
    const uint32_t lane[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(lane)));
}

static inline float32x4_t itp_neon_pow2(float32x4_t n)
{
    const int32x4_t e = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(e, 23));
}

static inline float32x4_t itp_neon_exponent(float32x4_t x)
{
    const int32x4_t e = vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_f32(x), 23));
    return vcvtq_f32_s32(vsubq_s32(e, vdupq_n_s32(127)));
}

static inline float32x4_t itp_neon_mantissa(float32x4_t x)
{
    const uint32x4_t m = vandq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(0x007FFFFFu));
    return vreinterpretq_f32_u32(vorrq_u32(m, vdupq_n_u32(0x3F800000u)));
}

static inline float itp_neon_sum(float32x4_t v)
{
    const float32x2_t h = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(h, 0) + vget_lane_f32(h, 1);
}

static inline void itp_neon_transpose(float32x4_t *t)
{
    const float32x4x2_t low = vtrnq_f32(t[0], t[1]), high = vtrnq_f32(t[2], t[3]);
    t[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    t[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    t[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    t[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

#endif

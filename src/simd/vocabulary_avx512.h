/* The vector vocabulary for AVX-512 (F, BW, DQ, VL); see vocabulary_scalar.h for the words. */
#if ITP_KERNEL_PASS == 3

#define ITP_K(name)       itp_##name##_avx512
#define ITP_ISA_NAME      "avx512"
#define ITP_TARGET_GCC    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"
#define V_WIDTH           16
#define V_MR              14
#define V_STEPS           1
#define V_AHEAD           64
#define V_PAIRS           4
#define V_PAIRS_ON(X)     X(3, 6, 7)
#define V_ROWS_ON(X)      X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#define V_LANES(X)        X(0) X(1) X(2) V_ROWS_ON(X) X(14) X(15)
#define vf                __m512
#define vm                __mmask16
#define v_set(x)          _mm512_set1_ps(x)
#define v_zero()          _mm512_setzero_ps()
#define v_load(p)         _mm512_loadu_ps(p)
#define v_store(p, v)     _mm512_storeu_ps(p, v)
#define v_loadn(p, n)     _mm512_maskz_loadu_ps(itp_avx512_mask(n), p)
#define v_storen(p, v, n) _mm512_mask_storeu_ps(p, itp_avx512_mask(n), v)
#define v_loads(p, s)     itp_avx512_loads(p, s)
#define v_gather(p, at)   _mm512_i32gather_ps(_mm512_loadu_si512(at), p, 4)
#define v_bits(m)         ((unsigned)(m))
#define v_add(a, b)       _mm512_add_ps(a, b)
#define v_sub(a, b)       _mm512_sub_ps(a, b)
#define v_mul(a, b)       _mm512_mul_ps(a, b)
#define v_div(a, b)       _mm512_div_ps(a, b)
#define v_fma(a, b, c)    _mm512_fmadd_ps(a, b, c)
#define v_mac(c, a, b)    ((c) = v_fma(a, b, c))
#define v_fnma(a, b, c)   _mm512_fnmadd_ps(a, b, c)
#define v_max(a, b)       _mm512_max_ps(a, b)
#define v_min(a, b)       _mm512_min_ps(a, b)
#define v_abs(a)          _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a)
#define v_neg(a)          _mm512_xor_ps(_mm512_set1_ps(-0.0f), a)
#define v_sqrt(a)         _mm512_sqrt_ps(a)
#define v_lt(a, b)        _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ)
#define v_le(a, b)        _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ)
#define v_gt(a, b)        _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ)
#define v_eq(a, b)        _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ)
#define v_both(m, n)      ((__mmask16)((m) & (n)))
#define v_select(m, a, b) _mm512_mask_blend_ps(m, b, a)
#define v_round(a)        _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_pow2(n)         itp_avx512_pow2(n)
#define v_exponent(x)     itp_avx512_exponent(x)
#define v_mantissa(x)     itp_avx512_mantissa(x)
#define v_sum(v)          itp_avx512_sum(v)
#define v_hmax(v)         itp_avx512_hmax(v)
#define v_transpose(t)    itp_avx512_transpose(t)
#define vl                __mmask16
#define v_lanes(lo, hi)   itp_avx512_range(lo, hi)
#define v_between(p, l)   _mm512_maskz_loadu_ps(l, p)
#define v_within(p, v, l) _mm512_mask_storeu_ps(p, l, v)
#define v_even(a, b)      itp_avx512_pick(a, b, 0)
#define v_odd(a, b)       itp_avx512_pick(a, b, 1)
#define v_push(a, b)      itp_avx512_slide(a, b, 15)
#define v_pull(a, b)      itp_avx512_slide(a, b, 1)
#define v_zip(a, b)       itp_avx512_zip(a, b, 0)
#define v_zip2(a, b)      itp_avx512_zip(a, b, 8)

#define itp_avx512_slide(a, b, n)                                                                  \
    _mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b), _mm512_castps_si512(a), n))

ITP_TARGET_BEGIN

static inline __mmask16 itp_avx512_mask(int n)
{
    return (__mmask16)((1u << (n < 16 ? n : 16)) - 1u);
}

static inline __mmask16 itp_avx512_range(int lo, int hi)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_mask_cmplt_epi32_mask(_mm512_cmple_epi32_mask(_mm512_set1_epi32(lo), lane), lane,
                                        _mm512_set1_epi32(hi));
}

static inline __m512 itp_avx512_pick(__m512 a, __m512 b, int first)
{
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, _mm512_add_epi32(at, _mm512_set1_epi32(first)), b);
}

static inline __m512 itp_avx512_zip(__m512 a, __m512 b, int from)
{
    const __m512i at = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, _mm512_add_epi32(at, _mm512_set1_epi32(from)), b);
}

static inline __m512 itp_avx512_loads(const float *p, int s)
{
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_i32gather_ps(_mm512_mullo_epi32(lane, _mm512_set1_epi32(s)), p, 4);
}

static inline __m512 itp_avx512_pow2(__m512 n)
{
    const __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}

static inline __m512 itp_avx512_exponent(__m512 x)
{
    const __m512i e = _mm512_srli_epi32(_mm512_castps_si512(x), 23);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(e, _mm512_set1_epi32(127)));
}

static inline __m512 itp_avx512_mantissa(__m512 x)
{
    const __m512i m = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x007FFFFF));
    return _mm512_castsi512_ps(_mm512_or_si512(m, _mm512_set1_epi32(0x3F800000)));
}

static inline float itp_avx512_sum(__m512 v)
{
    const __m256 h = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline float itp_avx512_hmax(__m512 v)
{
    const __m256 h = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/* Pairs of rows, pairs of pairs, quarters, halves. */
ITP_INLINE void itp_avx512_transpose(__m512 *t)
{
    __m512 u[16];
#define ITP_PAIR(i)                                                                                \
    u[i] = _mm512_unpacklo_ps(t[i], t[i + 1]), u[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1])
#define ITP_FOUR(i)                                                                                \
    t[i] = _mm512_shuffle_ps(u[i], u[i + 2], 0x44);                                                \
    t[i + 1] = _mm512_shuffle_ps(u[i], u[i + 2], 0xEE);                                            \
    t[i + 2] = _mm512_shuffle_ps(u[i + 1], u[i + 3], 0x44);                                        \
    t[i + 3] = _mm512_shuffle_ps(u[i + 1], u[i + 3], 0xEE)
#define ITP_QUARTER(i)                                                                             \
    u[i] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);                                             \
    u[i + 4] = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD)
#define ITP_HALF(i)                                                                                \
    t[i] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0x88);                                             \
    t[i + 8] = _mm512_shuffle_f32x4(u[i], u[i + 8], 0xDD)
    ITP_PAIR(0);
    ITP_PAIR(2);
    ITP_PAIR(4);
    ITP_PAIR(6);
    ITP_PAIR(8);
    ITP_PAIR(10);
    ITP_PAIR(12);
    ITP_PAIR(14);
    ITP_FOUR(0);
    ITP_FOUR(4);
    ITP_FOUR(8);
    ITP_FOUR(12);
    ITP_QUARTER(0);
    ITP_QUARTER(1);
    ITP_QUARTER(2);
    ITP_QUARTER(3);
    ITP_QUARTER(8);
    ITP_QUARTER(9);
    ITP_QUARTER(10);
    ITP_QUARTER(11);
    ITP_HALF(0);
    ITP_HALF(1);
    ITP_HALF(2);
    ITP_HALF(3);
    ITP_HALF(4);
    ITP_HALF(5);
    ITP_HALF(6);
    ITP_HALF(7);
#undef ITP_PAIR
#undef ITP_FOUR
#undef ITP_QUARTER
#undef ITP_HALF
}

#endif

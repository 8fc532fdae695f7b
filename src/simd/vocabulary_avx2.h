/* The vector vocabulary for AVX2 with FMA; see vocabulary_scalar.h for what each word means. */
#if ITP_KERNEL_PASS == 2

#define ITP_K(name)       itp_##name##_avx2
#define ITP_ISA_NAME      "avx2"
#define ITP_TARGET_GCC    "avx2,fma"
#define V_WIDTH           8
#define V_MR              6
#define V_STEPS           3
#define V_AHEAD           0
#define V_PAIRS           7
#define V_PAIRS_ON(X)     X(3, 6, 7) X(4, 8, 9) X(5, 10, 11) X(6, 12, 13)
#define V_ROWS_ON(X)      X(3) X(4) X(5)
#define V_LANES(X)        X(0) X(1) X(2) V_ROWS_ON(X) X(6) X(7)
#define vf                __m256
#define vm                __m256
#define v_set(x)          _mm256_set1_ps(x)
#define v_zero()          _mm256_setzero_ps()
#define v_load(p)         _mm256_loadu_ps(p)
#define v_store(p, v)     _mm256_storeu_ps(p, v)
#define v_loadn(p, n)     _mm256_maskload_ps(p, itp_avx2_mask(n))
#define v_storen(p, v, n) itp_avx2_storen(p, v, n)
#define v_loads(p, s)     itp_avx2_loads(p, s)
#define v_gather(p, at)   itp_avx2_gather(p, at)
#define v_bits(m)         ((unsigned)_mm256_movemask_ps(m))
#define v_add(a, b)       _mm256_add_ps(a, b)
#define v_sub(a, b)       _mm256_sub_ps(a, b)
#define v_mul(a, b)       _mm256_mul_ps(a, b)
#define v_div(a, b)       _mm256_div_ps(a, b)
#define v_fma(a, b, c)    _mm256_fmadd_ps(a, b, c)
#define v_mac(c, a, b)    itp_avx2_mac(c, a, b)
#define v_fnma(a, b, c)   _mm256_fnmadd_ps(a, b, c)
#define v_max(a, b)       _mm256_max_ps(a, b)
#define v_min(a, b)       _mm256_min_ps(a, b)
#define v_abs(a)          _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
#define v_neg(a)          _mm256_xor_ps(_mm256_set1_ps(-0.0f), a)
#define v_sqrt(a)         _mm256_sqrt_ps(a)
#define v_lt(a, b)        _mm256_cmp_ps(a, b, _CMP_LT_OQ)
#define v_le(a, b)        _mm256_cmp_ps(a, b, _CMP_LE_OQ)
#define v_gt(a, b)        _mm256_cmp_ps(a, b, _CMP_GT_OQ)
#define v_eq(a, b)        _mm256_cmp_ps(a, b, _CMP_EQ_OQ)
#define v_both(m, n)      _mm256_and_ps(m, n)
#define v_select(m, a, b) _mm256_blendv_ps(b, a, m)
#define v_round(a)        _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define v_pow2(n)         itp_avx2_pow2(n)
#define v_exponent(x)     itp_avx2_exponent(x)
#define v_mantissa(x)     itp_avx2_mantissa(x)
#define v_sum(v)          itp_avx2_sum(v)
#define v_hmax(v)         itp_avx2_hmax(v)
#define v_transpose(t)    itp_avx2_transpose(t)
#define vl                __m256i
#define v_lanes(lo, hi)   itp_avx2_range(lo, hi)
#define v_between(p, l)   _mm256_maskload_ps(p, l)
#define v_even(a, b)      itp_avx2_pick(a, b, 0x88)
#define v_odd(a, b)       itp_avx2_pick(a, b, 0xDD)
#define v_push(a, b)      itp_avx2_slide(b, itp_avx2_middle(a, b), 12)
#define v_pull(a, b)      itp_avx2_slide(itp_avx2_middle(a, b), a, 4)
#define v_zip(a, b)       itp_avx2_zip(a, b, 0x20)
#define v_zip2(a, b)      itp_avx2_zip(a, b, 0x31)
#define itp_avx2_pick(a, b, lanes)                                                                 \
    _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(a, b, lanes)), 0xD8))
#define itp_avx2_middle(a, b) _mm256_permute2f128_ps(a, b, 0x21)
#define itp_avx2_slide(a, b, n)                                                                    \
    _mm256_castsi256_ps(_mm256_alignr_epi8(_mm256_castps_si256(a), _mm256_castps_si256(b), n))
#define itp_avx2_zip(a, b, half)                                                                   \
    _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), half)

/* One instruction, in place: over several steps compilers move the sums of a tile about and run out of
   registers. */
#if defined(__GNUC__) || defined(__clang__)
#define itp_avx2_mac(c, a, b) __asm__("vfmadd231ps %2, %1, %0" : "+x"(c) : "x"(a), "x"(b))
#else
#define itp_avx2_mac(c, a, b) ((c) = _mm256_fmadd_ps(a, b, c))
#endif

ITP_TARGET_BEGIN

static inline __m256i itp_avx2_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Not by a mask, which AMD's chips before Zen 4 take forty steps for. */
static void itp_avx2_storen(float *p, __m256 v, int n)
{
    __m128 rest = _mm256_castps256_ps128(v);
    if (n >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
}

static inline __m256i itp_avx2_range(int lo, int hi)
{
    return _mm256_andnot_si256(itp_avx2_mask(lo), itp_avx2_mask(hi));
}

static inline __m256 itp_avx2_loads(const float *p, int s)
{
    const __m256i at = _mm256_setr_epi32(0, s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s);
    return _mm256_i32gather_ps(p, at, 4);
}

static inline __m256 itp_avx2_gather(const float *p, const int32_t *at)
{
    return _mm256_i32gather_ps(p, _mm256_loadu_si256((const __m256i *)(const void *)at), 4);
}

static inline __m256 itp_avx2_pow2(__m256 n)
{
    const __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}

static inline __m256 itp_avx2_exponent(__m256 x)
{
    const __m256i e = _mm256_srli_epi32(_mm256_castps_si256(x), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(e, _mm256_set1_epi32(127)));
}

static inline __m256 itp_avx2_mantissa(__m256 x)
{
    const __m256i m = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x007FFFFF));
    return _mm256_castsi256_ps(_mm256_or_si256(m, _mm256_set1_epi32(0x3F800000)));
}

static inline float itp_avx2_sum(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

static inline float itp_avx2_hmax(__m256 v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/* Pairs of rows, pairs of pairs, halves. */
ITP_INLINE void itp_avx2_transpose(__m256 *t)
{
    __m256 u[8];
#define ITP_PAIR(i)                                                                                \
    u[i] = _mm256_unpacklo_ps(t[i], t[i + 1]), u[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1])
#define ITP_FOUR(i)                                                                                \
    t[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);                                                \
    t[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xEE);                                            \
    t[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);                                        \
    t[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xEE)
#define ITP_HALF(i)                                                                                \
    u[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);                                           \
    u[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31)
    ITP_PAIR(0);
    ITP_PAIR(2);
    ITP_PAIR(4);
    ITP_PAIR(6);
    ITP_FOUR(0);
    ITP_FOUR(4);
    ITP_HALF(0);
    ITP_HALF(1);
    ITP_HALF(2);
    ITP_HALF(3);
#undef ITP_PAIR
#undef ITP_FOUR
#undef ITP_HALF
#define ITP_BACK(i) t[i] = u[i];
    V_LANES(ITP_BACK)
#undef ITP_BACK
}

#endif

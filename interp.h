/* interp.h is generated from src/ by `make interp.h`: edit there, never here.
   Contents; search for the name behind >> to get there:
     >>manual.h
     >>simd/vocabulary_scalar.h
     >>simd/vocabulary_avx2.h
     >>simd/vocabulary_avx512.h
     >>simd/vocabulary_neon.h
     >>simd/kernels_begin.h
     >>simd/kernels_math.h
     >>simd/kernels_map.h
     >>simd/kernels_reduce.h
     >>simd/kernels_gemm.h
     >>simd/kernels_image.h
     >>simd/kernels_depthwise.h
     >>simd/kernels_end.h
     >>base/base.h
     >>math/math.h
     >>data/data.h
     >>net/net.h
     >>onnx/onnx.h
     >>attr/attr.h
     >>view/view.h
     >>base/config.c
     >>base/ctx.c
     >>base/random.c
     >>base/threads.c
     >>base/buffer.c
     >>simd/dispatch.c
     >>base/open.c
     >>math/gemm.c
     >>math/conv.c
     >>math/linalg.c
     >>data/array.c
     >>data/npy.c
     >>data/zip.c
     >>data/csv.c
     >>data/safetensors.c
     >>data/images.c
     >>data/dataset.c
     >>data/open.c
     >>net/graph.c
     >>net/op_shape.c
     >>net/op_elementwise.c
     >>net/op_linear.c
     >>net/op_norm.c
     >>net/op_pool.c
     >>net/op_move.c
     >>net/op_table.c
     >>net/plan.c
     >>net/run.c
     >>net/layers.c
     >>net/arch.c
     >>net/loss.c
     >>net/metrics.c
     >>net/train.c
     >>onnx/protobuf.c
     >>onnx/map.c
     >>onnx/read.c
     >>onnx/write.c
     >>attr/attribute.c
     >>attr/canonical.c
     >>view/colour.c
     >>view/font.c
     >>view/image.c
     >>view/chart.c
     >>view/panels.c
     >>view/html.c
     >>view/tensorboard.c
*/
/* >>manual.h                                                                                  */
/* interp.h: trains, loads and explains neural networks on any CPU, with nothing to install.

   1. USE
   In one C or C++ file, and only one:

       #define INTERP_IMPLEMENTATION
       #include "interp.h"

   and in every other just the include. Build with `cc -O2 app.c -lm -pthread`; no other flags: one
   binary finds out at run time whether the CPU has AVX2, AVX-512 or NEON.

   2. STEP BY STEP
   - interp_open() gives a context: memory, threads, kernels, the last error. interp_close() frees it
     and everything made from it.
   - A network comes from interp_net_arch(), from the builders (interp_input, interp_conv2d, ...,
     interp_net_build), or from a file by interp_onnx_load().
   - Data sets are plain arrays (interp_dataset), filled by interp_data_open() or by hand.
   - interp_train() trains; interp_trainer_step() is for a loop of one's own.
   - interp_predict() predicts; a workspace (interp_workspace_new, interp_forward, interp_backward)
     does it without allocating, and gives gradients of inputs, parameters and layers.
   - interp_attribute() says which inputs an output depends on, interp_canonical() what a class looks
     like to the network, interp_confusion_count() where it is wrong.
   - The view functions draw plain arrays: charts, panels, confusion matrices, an HTML report.

   3. RULES THAT HOLD EVERYWHERE
   - Calls that can fail return an interp_status; interp_error() has the sentence. On error, outputs
     are as they were. Nothing prints, exits or aborts.
   - Every call with many options takes a descriptor; NULL, or 0 in a field, is the default written
     beside the field.
   - Arrays are dense, row-major float32, images [N,C,H,W]. Letters: N batch, C channels, H W height
     and width, K classes, n samples, d dimensions.
   - Results are bit-identical for one binary, instruction set and seed at any number of threads.
   - A context is for one thread at a time. A built network may be shared by contexts in several
     threads, each with a workspace of its own, as long as none trains it.
   - Sums of products run in float32 in a fixed order; statistics, losses and attributions in double.

   4. MEMORY
   Everything comes from the context's allocator (interp_desc.allocator), or from one buffer of yours
   (interp_desc.buffer), and counts towards interp_desc.memory_limit; batches are cut to keep the
   limit where that does not change results. Sizes are known beforehand, exactly, because the query
   runs the layout itself: interp_workspace_bytes(), interp_attribute_bytes(). Forward, backward and
   training steps allocate nothing.

   5. BUILD OPTIONS, defined before the include
       INTERP_STATIC       all functions static: the compiler drops what is not used
       INTERP_NO_TRAIN     no training, losses, evaluation, canonical inputs
       INTERP_NO_ONNX      no ONNX and no weights files
       INTERP_NO_ATTR      no attribution
       INTERP_NO_VIEW      no drawing, reports, TensorBoard
       INTERP_NO_SIMD      scalar kernels only
       INTERP_NO_THREADS   no threads; also no pthread.h
       INTERP_NO_STDIO     no files, no environment; memory in, memory out
       INTERP_NO_MALLOC    never calls malloc: give a buffer or an allocator
       INTERP_SELF         "name.h", when this file was renamed: it includes itself, once per
                           instruction set
       INTERP_ASSERT(c)    checks of our own mistakes; off by default
   stb_image.h, when included before interp.h, adds PNG and JPEG reading and .gz and .npz inflation;
   stb_image_write.h smaller PNG files. Both are optional.

   6. KERNELS
   INTERP_ISA=scalar|avx2|avx512|neon in the environment, or interp_desc.isa, forces an instruction
   set. Kernels are written once and compiled once for each.

   7. NOT THERE
   No GPU, no float16 arithmetic, no recurrent networks, no control flow in graphs. MSVC is written
   for, but not tested.

   Licence: MIT-0 or Unlicense, at your choice; see the end of LICENSE. */

#if defined(ITP_KERNEL_PASS)
/* ============================ kernels: compiled once per instruction set ====================== */
/* >>simd/vocabulary_scalar.h                                                                  */
/* The vector vocabulary, one lane: the specification of the others.

   vf            a vector of V_WIDTH floats;  vm  a lane mask
   v_load(p)     any alignment; v_loadn(p, n): the first n lanes, the rest 0; v_store, v_storen alike
   v_loads(p, s) lanes p[0], p[s], p[2s] ...
   v_lanes(lo, hi)  the lanes lo <= i < hi, a vl; v_between(p, l): those of p, the rest 0; reads
                 nothing else
   v_even(a, b)  lanes 0, 2, 4 ... of a followed by b
   v_zip(a, b), v_zip2(a, b)  first and second half of a[0] b[0] a[1] b[1] ...
   v_fma(a,b,c)  a*b + c;  v_fnma(a,b,c)  c - a*b;  each rounds once where the machine can
   v_max(a,b), v_min(a,b)  b when a lane of either is NaN
   v_round       to nearest, ties to even;  v_pow2(n)  2^n for whole n in -126..127
   v_exponent, v_mantissa  of positive normal x: x = mantissa * 2^exponent, mantissa in [1,2)
   v_sum(v)      sum of lanes, always in the same order
   v_transpose(t)  V_WIDTH vectors t[i] of lanes j become t[j] of lanes i
   V_LANES(X)    X(0) X(1) ...: V_WIDTH of them
   V_ROWS(X)     X(0) X(1) ...: the rows of a tile, V_MR of them, each two vectors wide */
#if ITP_KERNEL_PASS == 1

#define ITP_K(name)       itp_##name##_scalar
#define ITP_ISA_NAME      "scalar"
#define V_WIDTH           1
#define V_MR              4
#define V_ROWS(X)         X(0) X(1) X(2) X(3)
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
#define v_add(a, b)       ((a) + (b))
#define v_sub(a, b)       ((a) - (b))
#define v_mul(a, b)       ((a) * (b))
#define v_div(a, b)       ((a) / (b))
#define v_fma(a, b, c)    ((a) * (b) + (c))
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
    return n >= -126 && n <= 127 ? itp_scalar_float((uint32_t)((int)n + 127) << 23) : (float)1;
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
/* >>simd/vocabulary_avx2.h                                                                    */
/* The vector vocabulary for AVX2 with FMA; see vocabulary_scalar.h for what each word means. */
#if ITP_KERNEL_PASS == 2

#define ITP_K(name)       itp_##name##_avx2
#define ITP_ISA_NAME      "avx2"
#define ITP_TARGET_GCC    "avx2,fma"
#define V_WIDTH           8
#define V_MR              6
#define V_ROWS(X)         X(0) X(1) X(2) X(3) X(4) X(5)
#define V_LANES(X)        V_ROWS(X) X(6) X(7)
#define vf                __m256
#define vm                __m256
#define v_set(x)          _mm256_set1_ps(x)
#define v_zero()          _mm256_setzero_ps()
#define v_load(p)         _mm256_loadu_ps(p)
#define v_store(p, v)     _mm256_storeu_ps(p, v)
#define v_loadn(p, n)     _mm256_maskload_ps(p, itp_avx2_mask(n))
#define v_storen(p, v, n) _mm256_maskstore_ps(p, itp_avx2_mask(n), v)
#define v_loads(p, s)     itp_avx2_loads(p, s)
#define v_add(a, b)       _mm256_add_ps(a, b)
#define v_sub(a, b)       _mm256_sub_ps(a, b)
#define v_mul(a, b)       _mm256_mul_ps(a, b)
#define v_div(a, b)       _mm256_div_ps(a, b)
#define v_fma(a, b, c)    _mm256_fmadd_ps(a, b, c)
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
#define v_even(a, b)      itp_avx2_even(a, b)
#define v_zip(a, b)       itp_avx2_zip(a, b, 0x20)
#define v_zip2(a, b)      itp_avx2_zip(a, b, 0x31)
#define itp_avx2_zip(a, b, half)                                                                   \
    _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), half)

ITP_TARGET_BEGIN

static inline __m256i itp_avx2_mask(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline __m256i itp_avx2_range(int lo, int hi)
{
    return _mm256_andnot_si256(itp_avx2_mask(lo), itp_avx2_mask(hi));
}

static inline __m256 itp_avx2_even(__m256 a, __m256 b)
{
    const __m256d t = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(t, 0xD8));
}

static inline __m256 itp_avx2_loads(const float *p, int s)
{
    const __m256i at = _mm256_setr_epi32(0, s, 2 * s, 3 * s, 4 * s, 5 * s, 6 * s, 7 * s);
    return _mm256_i32gather_ps(p, at, 4);
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
/* >>simd/vocabulary_avx512.h                                                                  */
/* The vector vocabulary for AVX-512 (F, BW, DQ, VL); see vocabulary_scalar.h for the words. */
#if ITP_KERNEL_PASS == 3

#define ITP_K(name)       itp_##name##_avx512
#define ITP_ISA_NAME      "avx512"
#define ITP_TARGET_GCC    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"
#define V_WIDTH           16
#define V_MR              14
#define V_ROWS(X)         X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13)
#define V_LANES(X)        V_ROWS(X) X(14) X(15)
#define vf                __m512
#define vm                __mmask16
#define v_set(x)          _mm512_set1_ps(x)
#define v_zero()          _mm512_setzero_ps()
#define v_load(p)         _mm512_loadu_ps(p)
#define v_store(p, v)     _mm512_storeu_ps(p, v)
#define v_loadn(p, n)     _mm512_maskz_loadu_ps(itp_avx512_mask(n), p)
#define v_storen(p, v, n) _mm512_mask_storeu_ps(p, itp_avx512_mask(n), v)
#define v_loads(p, s)     itp_avx512_loads(p, s)
#define v_add(a, b)       _mm512_add_ps(a, b)
#define v_sub(a, b)       _mm512_sub_ps(a, b)
#define v_mul(a, b)       _mm512_mul_ps(a, b)
#define v_div(a, b)       _mm512_div_ps(a, b)
#define v_fma(a, b, c)    _mm512_fmadd_ps(a, b, c)
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
#define v_even(a, b)      itp_avx512_even(a, b)
#define v_zip(a, b)       itp_avx512_zip(a, b, 0)
#define v_zip2(a, b)      itp_avx512_zip(a, b, 8)

ITP_TARGET_BEGIN

static inline __mmask16 itp_avx512_mask(int n)
{
    return (__mmask16)(n >= 16 ? 0xFFFFu : (1u << n) - 1u);
}

static inline __mmask16 itp_avx512_range(int lo, int hi)
{
    return (__mmask16)(itp_avx512_mask(hi > 0 ? hi : 0) & ~itp_avx512_mask(lo > 0 ? lo : 0));
}

static inline __m512 itp_avx512_even(__m512 a, __m512 b)
{
    const __m512i at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, at, b);
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
/* >>simd/vocabulary_neon.h                                                                    */
/* The vector vocabulary for 64-bit NEON; see vocabulary_scalar.h for what each word means. */
#if ITP_KERNEL_PASS == 4

#define ITP_K(name)       itp_##name##_neon
#define ITP_ISA_NAME      "neon"
#define V_WIDTH           4
#define V_MR              8
#define V_ROWS(X)         X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
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
#define v_add(a, b)       vaddq_f32(a, b)
#define v_sub(a, b)       vsubq_f32(a, b)
#define v_mul(a, b)       vmulq_f32(a, b)
#define v_div(a, b)       vdivq_f32(a, b)
#define v_fma(a, b, c)    vfmaq_f32(c, a, b)
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
#define v_zip(a, b)       vzip1q_f32(a, b)
#define v_zip2(a, b)      vzip2q_f32(a, b)

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
/* >>simd/kernels_begin.h                                                                      */
/* ---- kernels: the bodies, written once ------------------------------------------------------- */
#if ITP_KERNEL_PASS == 1
ITP_TARGET_BEGIN
#endif

/* A loop over n floats: the body sees i and the lane count w of this step (w < V_WIDTH only in the
   last one), and uses v_get / v_put. */
#define V_LOOP(n, ...)                                                                             \
    do {                                                                                           \
        const size_t v_n_ = (n);                                                                   \
        size_t i = 0;                                                                              \
        for (; i + V_WIDTH <= v_n_; i += V_WIDTH) {                                                \
            enum { w = V_WIDTH };                                                                  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
        if (i < v_n_) {                                                                            \
            const int w = (int)(v_n_ - i);                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    } while (0)
/* The same with one copy of the body, for those whose code is long. */
#define V_EACH(n, ...)                                                                             \
    for (size_t v_n_ = (n), i = 0; i < v_n_; i += V_WIDTH) {                                       \
        const int w = v_n_ - i < V_WIDTH ? (int)(v_n_ - i) : V_WIDTH;                              \
        __VA_ARGS__                                                                                \
    }
#define v_get(p, w)    ((w) == V_WIDTH ? v_load(p) : v_loadn(p, w))
#define v_put(p, v, w) ((w) == V_WIDTH ? v_store(p, v) : v_storen(p, v, w))
/* >>simd/kernels_math.h                                                                       */
/* Elementary functions. Errors in ulp of float32, measured over all floats of the domain by
   tests/test_kernels.c: exp 1.5, log 2, tanh 2.5, sigmoid 2.5, erf 2.5, softplus 2.5. Polynomials are
   minimax fits of our own (tools/fit_polynomials.py). */

#if defined(INTERP_TEST_DOUBLE)

static inline vf ITP_K(exp)(vf x)
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

static inline vf ITP_K(sigmoid)(vf x)
{
    return 1 / (1 + exp(-x));
}

static inline vf ITP_K(erf)(vf x)
{
    return erf(x);
}

#else

/* exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= ln(2)/2. Overflow gives infinity; results below
   the smallest normal number give 0. */
static inline vf ITP_K(exp)(vf x)
{
    const vf t = v_max(v_set(-88.0f), v_min(v_set(89.0f), x));
    const vf n = v_round(v_mul(t, v_set(1.44269504f)));
    vf r = v_fnma(n, v_set(0.693359375f), t);
    r = v_fnma(n, v_set(-2.12194440e-4f), r);
    vf p = v_set(0.00139411096f);
    p = v_fma(p, r, v_set(0.00836317526f));
    p = v_fma(p, r, v_set(0.0416663753f));
    p = v_fma(p, r, v_set(0.16666577f));
    p = v_fma(p, r, v_set(0.500000003f));
    const vf y = v_add(v_fma(p, v_mul(r, r), r), v_set(1));
    const vf half = v_round(v_mul(n, v_set(0.5f))); /* 2^n in two factors: n may be 128 */
    const vf e = v_mul(v_mul(y, v_pow2(half)), v_pow2(v_sub(n, half)));
    const vf high = v_select(v_gt(x, v_set(88.7228391f)), v_set((float)INFINITY), e);
    const vf low = v_select(v_lt(x, v_set(-87.3365448f)), v_zero(), high);
    return v_select(v_eq(x, x), low, x);
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
    const vf e = ITP_K(exp)(v_add(a, a));
    const vf large = v_sub(v_set(1), v_div(v_set(2), v_add(e, v_set(1))));
    const vf y = v_select(v_lt(x, v_zero()), v_neg(large), large);
    return v_select(v_lt(a, v_set(0.625f)), small, y);
}

static inline vf ITP_K(sigmoid)(vf x)
{
    const vf e = ITP_K(exp)(v_neg(v_abs(x))); /* in (0,1]: never overflows */
    const vf d = v_add(v_set(1), e);
    return v_div(v_select(v_lt(x, v_zero()), e, v_set(1)), d);
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
    const vf tail = v_sub(v_set(1), ITP_K(exp)(l));
    const vf large = v_select(v_lt(x, v_zero()), v_neg(tail), tail);
    return v_select(v_lt(a, v_set(1)), v_mul(x, r), large);
}

#endif

/* log(1 + exp(x)) without overflow. */
static inline vf ITP_K(softplus)(vf x)
{
    const vf u = ITP_K(exp)(v_neg(v_abs(x)));
    return v_add(v_max(v_zero(), x), ITP_K(log1p_unit)(u));
}
/* >>simd/kernels_map.h                                                                        */
/* ---- elementwise kernels --------------------------------------------------------------------- */

#define ITP_SELU_SCALE   1.05070098735548f /* Klambauer et al. 2017 */
#define ITP_SELU_ALPHA   1.67326324235438f
#define ITP_SQRT_HALF    0.70710678118655f
#define ITP_SQRT_2_BY_PI 0.79788456080287f
#define ITP_GELU_CUBE    0.044715f /* Hendrycks and Gimpel 2016 */

static inline vf ITP_K(gelu)(vf x)
{
    const vf half = v_mul(v_set(0.5f), x);
    return v_fma(half, ITP_K(erf)(v_mul(x, v_set(ITP_SQRT_HALF))), half);
}

static inline vf ITP_K(gelu_grad)(vf x)
{
    const vf cdf = v_fma(v_set(0.5f), ITP_K(erf)(v_mul(x, v_set(ITP_SQRT_HALF))), v_set(0.5f));
    const vf pdf = v_mul(v_set(0.39894228040143f), /* 1/sqrt(2 pi) */
                         ITP_K(exp)(v_mul(v_set(-0.5f), v_mul(x, x))));
    return v_fma(x, pdf, cdf);
}

static inline vf ITP_K(gelu_tanh_inner)(vf x)
{
    const vf cube = v_mul(v_mul(x, x), x);
    return v_mul(v_set(ITP_SQRT_2_BY_PI), v_fma(v_set(ITP_GELU_CUBE), cube, x));
}

static inline vf ITP_K(gelu_tanh)(vf x)
{
    const vf half = v_mul(v_set(0.5f), x);
    return v_fma(half, ITP_K(tanh)(ITP_K(gelu_tanh_inner)(x)), half);
}

static inline vf ITP_K(gelu_tanh_grad)(vf x)
{
    const vf t = ITP_K(tanh)(ITP_K(gelu_tanh_inner)(x));
    const vf slope =
        v_mul(v_set(ITP_SQRT_2_BY_PI), v_fma(v_set(3 * ITP_GELU_CUBE), v_mul(x, x), v_set(1)));
    const vf left = v_fma(v_set(0.5f), t, v_set(0.5f));
    const vf right = v_mul(v_mul(v_mul(v_set(0.5f), x), v_fnma(t, t, v_set(1))), slope);
    return v_add(left, right);
}

static inline vf ITP_K(hard_swish_gate)(vf x)
{
    const vf g = v_fma(x, v_set(1.0f / 6), v_set(0.5f));
    return v_min(v_set(1), v_max(v_zero(), g));
}

/* Whole vectors only, to keep the many loops short; a rest goes through a padded copy. */
#define ITP_MAP(name, expr)                                                                        \
    case ITP_##name:                                                                               \
        for (size_t i = 0; i < whole; i += V_WIDTH) {                                              \
            const vf v = v_load(x + i);                                                            \
            v_store(y + i, expr);                                                                  \
        }                                                                                          \
        break;

/* y[i] = f(x[i]); x and y may be the same array. */
static void ITP_K(unary)(itp_unary op, size_t n, const float *x, float *y, float a, float b)
{
    const vf va = v_set(a), vb = v_set(b);
    const size_t whole = n - n % V_WIDTH;
    switch (op) {
        ITP_MAP(RELU, v_max(v_zero(), v))
        ITP_MAP(LEAKY_RELU, v_select(v_lt(v, v_zero()), v_mul(va, v), v))
        ITP_MAP(ELU, v_select(v_lt(v, v_zero()), v_mul(va, v_sub(ITP_K(exp)(v), v_set(1))), v))
        ITP_MAP(SELU,
                v_mul(v_set(ITP_SELU_SCALE),
                      v_select(v_lt(v, v_zero()),
                               v_mul(v_set(ITP_SELU_ALPHA), v_sub(ITP_K(exp)(v), v_set(1))), v)))
        ITP_MAP(SOFTPLUS, ITP_K(softplus)(v))
        ITP_MAP(SIGMOID, ITP_K(sigmoid)(v))
        ITP_MAP(TANH, ITP_K(tanh)(v))
        ITP_MAP(SILU, v_mul(v, ITP_K(sigmoid)(v)))
        ITP_MAP(GELU, ITP_K(gelu)(v))
        ITP_MAP(GELU_TANH, ITP_K(gelu_tanh)(v))
        ITP_MAP(HARD_SWISH, v_mul(v, ITP_K(hard_swish_gate)(v)))
        ITP_MAP(HARD_SIGMOID, v_min(v_set(1), v_max(v_zero(), v_fma(va, v, vb))))
        ITP_MAP(EXP, ITP_K(exp)(v))
        ITP_MAP(LOG, ITP_K(log)(v))
        ITP_MAP(SQRT, v_sqrt(v))
        ITP_MAP(ERF, ITP_K(erf)(v))
        ITP_MAP(NEG, v_neg(v))
        ITP_MAP(ABS, v_abs(v))
        ITP_MAP(RECIPROCAL, v_div(v_set(1), v))
        ITP_MAP(CLIP, v_min(vb, v_max(va, v)))
        ITP_MAP(SQUARE, v_mul(v, v))
    case ITP_UNARY_COUNT: break;
    }
    if (whole < n) {
        float rest[V_WIDTH] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *x);
        ITP_K(unary)(op, V_WIDTH, rest, rest, a, b);
        memcpy(y + whole, rest, (n - whole) * sizeof *x);
    }
}

#define ITP_MAP_GRAD(name, expr)                                                                   \
    case ITP_##name:                                                                               \
        for (size_t i = 0; i < whole; i += V_WIDTH) {                                              \
            const vf v = v_load(x + i), r = v_load(y + i), d = v_load(dy + i);                     \
            const vf g = expr, old = add ? v_load(dx + i) : v_zero();                              \
            (void)v, (void)r;                                                                      \
            v_store(dx + i, v_add(old, g));                                                        \
        }                                                                                          \
        break;

/* dx[i] (+)= dy[i] f'(x[i]), with y = f(x) at hand. Where f' has a jump, the value at the left of
   it counts, as in PyTorch. An op that needs only one of x and y may be given it twice. */
static void ITP_K(unary_grad)(itp_unary op, size_t n, const float *x, const float *y,
                              const float *dy, float *dx, float a, float b, bool add)
{
    const vf va = v_set(a), vb = v_set(b), one = v_set(1), zero = v_zero();
    const size_t whole = n - n % V_WIDTH;
    switch (op) {
        ITP_MAP_GRAD(RELU, v_select(v_gt(r, zero), d, zero))
        ITP_MAP_GRAD(LEAKY_RELU, v_select(v_gt(v, zero), d, v_mul(va, d)))
        ITP_MAP_GRAD(ELU, v_select(v_gt(r, zero), d, v_mul(d, v_add(r, va))))
        ITP_MAP_GRAD(SELU, v_select(v_gt(r, zero), v_mul(v_set(ITP_SELU_SCALE), d),
                                    v_mul(d, v_add(r, v_set(ITP_SELU_SCALE * ITP_SELU_ALPHA)))))
        ITP_MAP_GRAD(SOFTPLUS, v_mul(d, ITP_K(sigmoid)(v)))
        ITP_MAP_GRAD(SIGMOID, v_mul(d, v_fnma(r, r, r)))
        ITP_MAP_GRAD(TANH, v_mul(d, v_fnma(r, r, one)))
        ITP_MAP_GRAD(
            SILU, v_mul(d, v_mul(ITP_K(sigmoid)(v), v_fma(v, v_sub(one, ITP_K(sigmoid)(v)), one))))
        ITP_MAP_GRAD(GELU, v_mul(d, ITP_K(gelu_grad)(v)))
        ITP_MAP_GRAD(GELU_TANH, v_mul(d, ITP_K(gelu_tanh_grad)(v)))
        ITP_MAP_GRAD(HARD_SWISH,
                     v_mul(d, v_select(v_lt(v, v_set(-3)), zero,
                                       v_select(v_lt(v, v_set(3)),
                                                v_fma(v, v_set(1.0f / 3), v_set(0.5f)), one))))
        ITP_MAP_GRAD(HARD_SIGMOID,
                     v_select(v_both(v_gt(r, zero), v_lt(r, one)), v_mul(va, d), zero))
        ITP_MAP_GRAD(EXP, v_mul(d, r))
        ITP_MAP_GRAD(LOG, v_div(d, v))
        ITP_MAP_GRAD(SQRT, v_div(v_mul(v_set(0.5f), d), r))
        ITP_MAP_GRAD(ERF, v_mul(d, v_mul(v_set(1.12837916709551f), /* 2/sqrt(pi) */
                                         ITP_K(exp)(v_neg(v_mul(v, v))))))
        ITP_MAP_GRAD(NEG, v_neg(d))
        ITP_MAP_GRAD(ABS, v_select(v_gt(v, zero), d, v_select(v_lt(v, zero), v_neg(d), zero)))
        ITP_MAP_GRAD(RECIPROCAL, v_neg(v_mul(d, v_mul(r, r))))
        ITP_MAP_GRAD(CLIP, v_select(v_both(v_le(va, v), v_le(v, vb)), d, zero))
        ITP_MAP_GRAD(SQUARE, v_mul(d, v_add(v, v)))
    case ITP_UNARY_COUNT: break;
    }
    if (whole < n) {
        float rest[4][V_WIDTH] = {{0}};
        const size_t bytes = (n - whole) * sizeof *x;
        memcpy(rest[0], x + whole, bytes);
        memcpy(rest[1], y + whole, bytes);
        memcpy(rest[2], dy + whole, bytes);
        if (add) memcpy(rest[3], dx + whole, bytes);
        ITP_K(unary_grad)(op, V_WIDTH, rest[0], rest[1], rest[2], rest[3], a, b, add);
        memcpy(dx + whole, rest[3], bytes);
    }
}

#undef ITP_MAP
#undef ITP_MAP_GRAD

#define ITP_PAIR(name, word)                                                                       \
    case ITP_##name:                                                                               \
        if (a_step && b_step)                                                                      \
            V_LOOP(n, { v_put(y + i, word(v_get(a + i, w), v_get(b + i, w)), w); });               \
        else if (a_step) V_LOOP(n, { v_put(y + i, word(v_get(a + i, w), v_set(*b)), w); });        \
        else V_LOOP(n, { v_put(y + i, word(v_set(*a), v_get(b + i * (size_t)b_step, w)), w); });   \
        break;

/* y[i] = a[i] op b[i]; a step of 0 repeats the single number of that operand. */
static void ITP_K(binary)(itp_binary op, size_t n, const float *a, int a_step, const float *b,
                          int b_step, float *y)
{
    if (!a_step && !b_step) { /* both single: the vector paths read n numbers of one of them */
        const float p = *a, q = *b;
        const float r = op == ITP_ADD   ? p + q
                        : op == ITP_SUB ? p - q
                        : op == ITP_MUL ? p * q
                                        : p / q;
        V_LOOP(n, { v_put(y + i, v_set(r), w); });
        return;
    }
    switch (op) {
        ITP_PAIR(ADD, v_add)
        ITP_PAIR(SUB, v_sub)
        ITP_PAIR(MUL, v_mul)
        ITP_PAIR(DIV, v_div)
    case ITP_BINARY_COUNT: break;
    }
}

#undef ITP_PAIR

/* y = alpha x + beta y; y is not read when beta is 0. */
static void ITP_K(scale_add)(size_t n, float alpha, const float *x, float beta, float *y)
{
    const vf va = v_set(alpha), vb = v_set(beta);
    if (beta == 0) V_LOOP(n, { v_put(y + i, v_mul(va, v_get(x + i, w)), w); });
    else V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), v_mul(vb, v_get(y + i, w))), w); });
}

/* y (+)= a x + c, with the same numbers a and c for all. */
static void ITP_K(affine)(size_t n, float a, const float *x, float c, float *y)
{
    const vf va = v_set(a), vc = v_set(c);
    V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), vc), w); });
}

/* z (+)= a x + b y + c */
static void ITP_K(affine2)(size_t n, float a, const float *x, float b, const float *y, float c,
                           float *z, bool add)
{
    const vf va = v_set(a), vb = v_set(b), vc = v_set(c);
    V_LOOP(n, {
        const vf old = add ? v_get(z + i, w) : v_zero();
        const vf t = v_fma(va, v_get(x + i, w), v_fma(vb, v_get(y + i, w), vc));
        v_put(z + i, v_add(old, t), w);
    });
}

/* z (+)= x y, elementwise */
static void ITP_K(mul_add)(size_t n, const float *x, const float *y, float *z, bool add)
{
    V_LOOP(n, {
        const vf old = add ? v_get(z + i, w) : v_zero();
        v_put(z + i, v_fma(v_get(x + i, w), v_get(y + i, w), old), w);
    });
}

/* y[i] += a x[i sx] */
static void ITP_K(axpy)(size_t n, float a, const float *x, int sx, float *y)
{
    const vf va = v_set(a);
    if (sx == 1) {
        V_LOOP(n, { v_put(y + i, v_fma(va, v_get(x + i, w), v_get(y + i, w)), w); });
        return;
    }
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        v_store(y + i, v_fma(va, v_loads(x + i * (size_t)sx, sx), v_load(y + i)));
    for (; i < n; i++)
        v_storen(y + i, v_fma(va, v_loadn(x + i * (size_t)sx, 1), v_loadn(y + i, 1)), 1);
}

/* The larger; NaN when either is. */
static inline vf ITP_K(larger)(vf a, vf b)
{
    return v_select(v_eq(b, b), v_select(v_gt(b, a), b, a), b);
}

/* y[i] = max(y[i], x[i sx]) */
static void ITP_K(max_into)(size_t n, const float *x, int sx, float *y)
{
    if (sx == 1) {
        V_LOOP(n, { v_put(y + i, ITP_K(larger)(v_get(y + i, w), v_get(x + i, w)), w); });
        return;
    }
    size_t i = 0;
    for (; i + V_WIDTH <= n; i += V_WIDTH)
        v_store(y + i, ITP_K(larger)(v_load(y + i), v_loads(x + i * (size_t)sx, sx)));
    for (; i < n; i++)
        if (x[i * (size_t)sx] > y[i] || x[i * (size_t)sx] != x[i * (size_t)sx])
            y[i] = x[i * (size_t)sx];
}

/* ---- optimiser updates; all arrays of n floats, g is not changed */

static void ITP_K(sgd)(size_t n, float *p, const float *g, float *velocity, const itp_update *u)
{
    const vf lr = v_set(u->lr), decay = v_set(u->weight_decay), momentum = v_set(u->momentum);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(decay, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        vf step = d;
        if (velocity) {
            const vf s = v_fma(momentum, v_get(velocity + i, w), d);
            v_put(velocity + i, s, w);
            step = u->nesterov ? v_fma(momentum, s, d) : s;
        }
        v_put(p + i, v_fnma(lr, step, x), w);
    });
}

static void ITP_K(rmsprop)(size_t n, float *p, const float *g, float *square, float *velocity,
                           const itp_update *u)
{
    const vf lr = v_set(u->lr), decay = v_set(u->weight_decay), momentum = v_set(u->momentum);
    const vf rho = v_set(u->beta2), rest = v_set(1 - u->beta2), eps = v_set(u->epsilon);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(decay, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        const vf s = v_fma(rho, v_get(square + i, w), v_mul(rest, v_mul(d, d)));
        v_put(square + i, s, w);
        vf step = v_div(d, v_add(v_sqrt(s), eps));
        if (velocity) {
            step = v_fma(momentum, v_get(velocity + i, w), step);
            v_put(velocity + i, step, w);
        }
        v_put(p + i, v_fnma(lr, step, x), w);
    });
}

/* Kingma and Ba 2015; with `decoupled` the decay of Loshchilov and Hutter 2019. */
static void ITP_K(adam)(size_t n, float *p, const float *g, float *mean, float *square,
                        const itp_update *u)
{
    const vf b1 = v_set(u->beta1), r1 = v_set(1 - u->beta1);
    const vf b2 = v_set(u->beta2), r2 = v_set(1 - u->beta2), eps = v_set(u->epsilon);
    const vf lr = v_set(u->lr / u->correction1), c2 = v_set(1 / u->correction2);
    const vf coupled = v_set(u->decoupled ? 0 : u->weight_decay);
    const vf shrink = v_set(u->decoupled ? 1 - u->lr * u->weight_decay : 1);
    V_EACH(n, {
        const vf x = v_get(p + i, w);
        const vf d = v_fma(coupled, x, v_mul(v_set(u->grad_scale), v_get(g + i, w)));
        const vf m = v_fma(b1, v_get(mean + i, w), v_mul(r1, d));
        const vf s = v_fma(b2, v_get(square + i, w), v_mul(r2, v_mul(d, d)));
        v_put(mean + i, m, w);
        v_put(square + i, s, w);
        const vf step = v_div(m, v_add(v_sqrt(v_mul(s, c2)), eps));
        v_put(p + i, v_fnma(lr, step, v_mul(shrink, x)), w);
    });
}
/* >>simd/kernels_reduce.h                                                                     */
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
/* >>simd/kernels_gemm.h                                                                       */
/* ---- products: one tile of sums, and what moves numbers into and out of its order -------------- */

#define ITP_NR (2 * V_WIDTH)

/* rows x nv vectors of sums in registers. Always inlined with constant nv and rows. */
ITP_INLINE void ITP_K(tile_of)(int nv, int rows, const itp_tile *t)
{
    const float *from = t->from;
    float *to = t->to;
    const ptrdiff_t from_rs = t->from_rs, to_rs = t->to_rs, rs = t->a_rs;
#define ITP_DECLARE(r)                                                                             \
    vf c##r##l = r < rows && from ? v_load(from + r * from_rs) : v_zero();                         \
    vf c##r##h = r < rows && nv > 1 && from ? v_load(from + r * from_rs + V_WIDTH) : v_zero();
    V_ROWS(ITP_DECLARE)
#undef ITP_DECLARE
/* Three rows for each pointer: what an address can express. */
#define ITP_STEP(r)                                                                                \
    if (r < rows) {                                                                                \
        const vf ar = v_set((r < 3    ? a0                                                         \
                             : r < 6  ? a3                                                         \
                             : r < 9  ? a6                                                         \
                             : r < 12 ? a9                                                         \
                                      : a12)[r % 3 * rs]);                                         \
        c##r##l = v_fma(ar, low, c##r##l);                                                         \
        if (nv > 1) c##r##h = v_fma(ar, high, c##r##h);                                            \
    }
#define ITP_STEP_BESIDE(r)                                                                         \
    if (r < rows) {                                                                                \
        const vf ar = v_set(a0[r]);                                                                \
        c##r##l = v_fma(ar, low, c##r##l);                                                         \
        if (nv > 1) c##r##h = v_fma(ar, high, c##r##h);                                            \
    }
    const float *ao = t->a, *bo = t->b, *ahead = t->ahead;
    const ptrdiff_t ahead_step = t->ahead_step, a_outer = t->a_outer, b_outer = t->b_outer;
    if (t->apart) {
        const float *a0 = ao, *a3 = a0 + 3 * rs, *a6 = a3 + 3 * rs, *a9 = a6 + 3 * rs;
        const float *a12 = a9 + 3 * rs;
        for (int o = t->outer; o > 0; o--) {
            const vf low = v_load(bo), high = nv > 1 ? v_load(bo + V_WIDTH) : low;
            V_ROWS(ITP_STEP)
            a0 += a_outer, a3 += a_outer, a6 += a_outer, a9 += a_outer, a12 += a_outer;
            bo += b_outer;
        }
    } else {
        for (int o = 0; o < t->outer; o++, ao += a_outer, bo += b_outer)
            for (int i = 0; i < t->inner; i++) {
                const float *a0 = ao + t->a_inner[i], *b = bo + t->b_inner[i];
                const vf low = v_load(b), high = nv > 1 ? v_load(b + V_WIDTH) : low;
                ITP_PREFETCH(ahead);
                ahead += ahead_step;
                V_ROWS(ITP_STEP_BESIDE)
            }
    }
#undef ITP_STEP
#undef ITP_STEP_BESIDE
#define ITP_STORE(r)                                                                               \
    if (r < rows) {                                                                                \
        v_store(to + r * to_rs, c##r##l);                                                          \
        if (nv > 1) v_store(to + r * to_rs + V_WIDTH, c##r##h);                                    \
    }
    V_ROWS(ITP_STORE)
#undef ITP_STORE
}

/* One function for each number of rows: none works on rows that are not there. */
#define ITP_TILE_FUNCTIONS(r)                                                                      \
    static void ITP_K(tile_narrow##r)(const itp_tile *t)                                           \
    {                                                                                              \
        ITP_K(tile_of)(1, (r) + 1, t);                                                             \
    }                                                                                              \
    static void ITP_K(tile_wide##r)(const itp_tile *t)                                             \
    {                                                                                              \
        ITP_K(tile_of)(2, (r) + 1, t);                                                             \
    }
V_ROWS(ITP_TILE_FUNCTIONS)
#undef ITP_TILE_FUNCTIONS

static void ITP_K(tile_whole)(bool wide, const itp_tile *t)
{
#define ITP_TILE_NARROW(r) ITP_K(tile_narrow##r),
#define ITP_TILE_WIDE(r)   ITP_K(tile_wide##r),
    static void (*const functions[2][V_MR])(const itp_tile *) = {{V_ROWS(ITP_TILE_NARROW)},
                                                                 {V_ROWS(ITP_TILE_WIDE)}};
#undef ITP_TILE_NARROW
#undef ITP_TILE_WIDE
    functions[wide][t->rows - 1](t);
}

static void ITP_K(tile)(const itp_tile *t)
{
    const int n = t->columns, n0 = n < V_WIDTH ? n : V_WIDTH, n1 = n - n0;
    if (n == V_WIDTH || n == ITP_NR) {
        ITP_K(tile_whole)(n1 > 0, t);
        return;
    }
    float sums[V_MR * ITP_NR]; /* columns that end within a vector: through a copy */
    itp_tile whole = *t;
    if (t->from) {
        for (int r = 0; r < t->rows; r++) {
            const float *from = t->from + r * t->from_rs;
            v_store(sums + r * ITP_NR, v_get(from, n0));
            if (n1 > 0) v_store(sums + r * ITP_NR + V_WIDTH, v_get(from + V_WIDTH, n1));
        }
        whole.from = sums, whole.from_rs = ITP_NR;
    }
    whole.to = sums, whole.to_rs = ITP_NR;
    ITP_K(tile_whole)(n1 > 0, &whole);
    for (int r = 0; r < t->rows; r++) {
        float *to = t->to + r * t->to_rs;
        v_put(to, v_load(sums + r * ITP_NR), n0);
        if (n1 > 0) v_put(to + V_WIDTH, v_load(sums + r * ITP_NR + V_WIDTH), n1);
    }
}

/* A square of registers: row r from `from + at[r]`, w lanes of it; column k to `to + k * step`, `some`
   lanes of it, for k < w; beta times what is there is added. */
ITP_INLINE void ITP_K(turn)(const float *from, const ptrdiff_t *at, int w, float *to,
                            ptrdiff_t step, int some, float beta)
{
    vf t[V_WIDTH];
#define ITP_LOAD(r) t[r] = v_get(from + at[r], w);
    V_LANES(ITP_LOAD)
#undef ITP_LOAD
    v_transpose(t);
#define ITP_STORE(k)                                                                               \
    if (k < w) {                                                                                   \
        float *p = to + (k)*step;                                                                  \
        v_put(p, beta == 0 ? t[k] : v_fma(v_set(beta), v_get(p, some), t[k]), some);               \
    }
    V_LANES(ITP_STORE)
#undef ITP_STORE
}

/* out[k * step + r] = src[row(r) + k] for r < rows and k < n, step >= rows; row(r) is row_at[r], or
   r * row_step where row_at is NULL. */
static void ITP_K(interleave)(int rows, int n, const float *src, ptrdiff_t row_step,
                              const ptrdiff_t *row_at, float *out, ptrdiff_t step)
{
    for (int r0 = 0; r0 < rows; r0 += V_WIDTH) {
        const int some = rows - r0 < V_WIDTH ? rows - r0 : V_WIDTH;
        ptrdiff_t at[V_WIDTH]; /* rows that are not there read another */
        for (int r = 0; r < V_WIDTH; r++) {
            const int row = r0 + (r < some ? r : 0);
            at[r] = row_at ? row_at[row] : row * row_step;
        }
        for (int k = 0; k < n; k += V_WIDTH) ITP_K(turn)
        (src + k, at, n - k < V_WIDTH ? n - k : V_WIDTH, out + k * step + r0, step, some, 0);
    }
}

/* out[o][i][0..mr): for o < outer and i < inner, `runs` pieces of x, one after the other: length[r]
   numbers at o * step + at[i] + from[r]; V_MR numbers in all at most. */
static void ITP_K(gather)(int outer, ptrdiff_t step, int inner, const ptrdiff_t *at, int runs,
                          const ptrdiff_t *from, const int *length, const float *x, float *out)
{
    for (int o = 0; o < outer; o++, x += step)
        for (int i = 0; i < inner; i++, out += V_MR) {
            float *to = out;
            for (int r = 0; r < runs; to += length[r++])
                for (int k = 0; k < length[r]; k += V_WIDTH) {
                    const int w = length[r] - k < V_WIDTH ? length[r] - k : V_WIDTH;
                    v_put(to + k, v_get(x + at[i] + from[r] + k, w), w);
                }
        }
}

/* y[o * step + p] = tile[p][o] + beta y, for o < rows and p < n: sums of pixels, ITP_NR channels each,
   into the planes of the channels. */
static void ITP_K(spread)(int rows, int n, const float *tile, float *y, ptrdiff_t step, float beta)
{
    for (int p = 0; p < n; p += V_WIDTH) {
        const int some = n - p < V_WIDTH ? n - p : V_WIDTH;
        ptrdiff_t at[V_WIDTH];
        for (int r = 0; r < V_WIDTH; r++) at[r] = (p + (r < some ? r : 0)) * ITP_NR;
        for (int o = 0; o < rows; o += V_WIDTH) ITP_K(turn)
        (tile + o, at, rows - o < V_WIDTH ? rows - o : V_WIDTH, y + o * step + p, step, some, beta);
    }
}

/* Rows i0..i0+m of a over k0..k0+kc, side by side: out[k * m + row], times alpha. */
static void ITP_K(pack_a)(const itp_gemm *g, int i0, int m, int k0, int kc, float *out)
{
    const float *a = g->a + (ptrdiff_t)i0 * g->a_rs + (ptrdiff_t)k0 * g->a_cs;
    if (g->a_cs == 1) ITP_K(interleave)(m, kc, a, g->a_rs, NULL, out, m);
    else
        for (int k = 0; k < kc; k++)
            for (int r = 0; r < m; r++) out[k * m + r] = a[r * g->a_rs + k * g->a_cs];
    if (g->alpha != 1)
        for (int t = 0; t < kc * m; t++) out[t] *= g->alpha;
}

/* Columns j0..j0+n of b in panels: out[panel][k][column], columns past the end are 0. */
static void ITP_K(pack_b)(const itp_gemm *g, int k0, int kc, int j0, int n, float *out)
{
    for (int j = 0; j < n; j += ITP_NR, out += (size_t)kc * ITP_NR) {
        const float *b = g->b + (ptrdiff_t)k0 * g->b_rs + (ptrdiff_t)(j0 + j) * g->b_cs;
        const int some = n - j < ITP_NR ? n - j : ITP_NR;
        if (g->b_cs == 1) {
            const int n0 = some < V_WIDTH ? some : V_WIDTH, n1 = some - n0;
            float *to = out;
            for (int k = 0; k < kc; k++, b += g->b_rs, to += ITP_NR) {
                v_store(to, v_get(b, n0));
                v_store(to + V_WIDTH, n1 > 0 ? v_get(b + V_WIDTH, n1) : v_zero());
            }
            continue;
        }
        if (some < ITP_NR) memset(out, 0, (size_t)kc * ITP_NR * sizeof *out);
        if (g->b_rs == 1) ITP_K(interleave)(some, kc, b, g->b_cs, NULL, out, ITP_NR);
        else
            for (int k = 0; k < kc; k++)
                for (int c = 0; c < some; c++) out[k * ITP_NR + c] = b[k * g->b_rs + c * g->b_cs];
    }
}

/* Rows i0..i1 and columns j0..j1 of c, over all of k. Every number of c is summed in the same order
   whatever the block, so results do not depend on how c is cut. An operand that already lies as the
   tile reads it, and is read few times, is not packed. */
static void ITP_K(gemm_block)(const itp_gemm *g, int i0, int i1, int j0, int j1, float *scratch)
{

    float *pa = scratch, *pb = scratch + itp_gemm_a_floats(g->k, i1 - i0);
    const bool a_direct =
        g->alpha == 1 && (g->a_rs == 1 || g->a_cs == 1) && j1 - j0 <= ITP_GEMM_DIRECT_COLUMNS;
    const bool b_direct = g->b_cs == 1 && i1 - i0 <= ITP_GEMM_DIRECT_ROWS &&
                          (double)g->k * (double)g->b_rs <= ITP_GEMM_DIRECT_FLOATS;
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.inner = 1, t.apart = true;
    for (int k0 = 0; k0 < g->k || k0 == 0; k0 += ITP_GEMM_KC) {
        const int kc = t.outer = g->k - k0 < ITP_GEMM_KC ? g->k - k0 : ITP_GEMM_KC;
        for (int jb = j0; jb < j1; jb += ITP_GEMM_NC) {
            const int nb = j1 - jb < ITP_GEMM_NC ? j1 - jb : ITP_GEMM_NC;
            const int there = b_direct ? nb / ITP_NR * ITP_NR : 0; /* columns left where they are */
            ITP_K(pack_b)(g, k0, kc, jb + there, nb - there, pb);
            for (int ib = i0; ib < i1; ib += ITP_GEMM_MC) {
                const int mb = i1 - ib < ITP_GEMM_MC ? i1 - ib : ITP_GEMM_MC;
                const int panels = (mb + V_MR - 1) / V_MR; /* of nearly the same height */
                for (int p = 0; p < panels && !a_direct; p++) {
                    const int i = mb * p / panels, m = mb * (p + 1) / panels - i;
                    ITP_K(pack_a)(g, ib + i, m, k0, kc, pa + (size_t)i * (size_t)kc);
                }
                for (int jr = 0; jr < nb; jr += ITP_NR) {
                    t.columns = nb - jr < ITP_NR ? nb - jr : ITP_NR;
                    if (jr < there) {
                        t.b = g->b + (ptrdiff_t)k0 * g->b_rs + jb + jr;
                        t.b_outer = g->b_rs;
                    } else {
                        t.b = pb + (size_t)(jr - there) * (size_t)kc;
                        t.b_outer = ITP_NR;
                    }
                    for (int p = 0; p < panels; p++) {
                        const int i = mb * p / panels;
                        t.rows = mb * (p + 1) / panels - i;
                        if (a_direct) {
                            t.a = g->a + (ib + i) * g->a_rs + (ptrdiff_t)k0 * g->a_cs;
                            t.a_rs = g->a_rs, t.a_outer = g->a_cs;
                        } else {
                            t.a = pa + (size_t)i * (size_t)kc;
                            t.a_rs = 1, t.a_outer = t.rows;
                        }
                        t.to = g->c + (ptrdiff_t)(ib + i) * g->c_rs + jb + jr;
                        t.to_rs = g->c_rs;
                        float start[V_MR * ITP_NR]; /* what the sums start from */
                        const bool plain = g->beta == 0 && !g->bias_row && !g->bias_column;
                        t.from = k0 ? t.to : plain ? NULL : start;
                        t.from_rs = k0 ? t.to_rs : ITP_NR;
                        for (int r = 0; !k0 && !plain && r < t.rows; r++)
                            for (int c = 0; c < t.columns; c += V_WIDTH) {
                                const int w = t.columns - c < V_WIDTH ? t.columns - c : V_WIDTH;
                                vf s = v_set(g->bias_row ? g->bias_row[ib + i + r] : 0);
                                if (g->bias_column)
                                    s = v_add(s, v_get(g->bias_column + jb + jr + c, w));
                                if (g->beta != 0)
                                    s = v_fma(v_set(g->beta), v_get(t.to + r * t.to_rs + c, w), s);
                                v_store(start + r * ITP_NR + c, s);
                            }
                        ITP_K(tile)(&t);
                    }
                }
            }
        }
    }
}

#undef ITP_NR
/* >>simd/kernels_image.h                                                                      */
/* ---- one image plane at a time: pooling --------------------------------------------------------- */

/* The output columns lo..hi whose source column for this tap lies inside the plane. */
static inline void ITP_K(tap_range)(int columns, int width, int stride, int offset, int *lo,
                                    int *hi)
{
    const int first = offset < 0 ? (-offset + stride - 1) / stride : 0;
    const int end = width > offset ? (width - offset + stride - 1) / stride : 0;
    *lo = first < columns ? first : columns;
    *hi = end < columns ? end : columns;
    if (*hi < *lo) *hi = *lo;
}

/* Runs the body for every output row `oy` and tap that has sources: `sy` source row, `lo`..`hi` output
   columns, `sx` source column of lo, `tap` its index. */
#define ITP_FOR_TAPS(g, ...)                                                                       \
    for (int oy = 0; oy < (g)->rows; oy++)                                                         \
        for (int ty = 0; ty < (g)->taps_y; ty++) {                                                 \
            const int sy = oy * (g)->stride_y + ty * (g)->dilation_y - (g)->pad_y;                 \
            if (sy < 0 || sy >= (g)->height) continue;                                             \
            for (int tx = 0; tx < (g)->taps_x; tx++) {                                             \
                int lo, hi;                                                                        \
                const int offset = tx * (g)->dilation_x - (g)->pad_x;                              \
                ITP_K(tap_range)((g)->columns, (g)->width, (g)->stride_x, offset, &lo, &hi);       \
                if (lo >= hi) continue;                                                            \
                const int sx = lo * (g)->stride_x + offset, tap = ty * (g)->taps_x + tx;           \
                const size_t count = (size_t)(hi - lo);                                            \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }

/* Largest number of each window, NaN where there is one: over the rows first, then along them. Windows
   wider than the row of scratch go tap by tap. */
static void ITP_K(plane_max)(const itp_plane *g, const float *x, float *y)
{
    enum { most = 1024 };
    float row[most]; /* with the padding in front of it and behind it */
    const int reach = (g->columns + 2 * V_WIDTH) * g->stride_x + (g->taps_x - 1) * g->dilation_x;
    const size_t n = (size_t)g->rows * (size_t)g->columns;
    if (g->pad_x + g->width > most || reach > most) {
        for (size_t i = 0; i < n; i++) y[i] = -(float)INFINITY;
        ITP_FOR_TAPS(g, (void)tap;
                     ITP_K(max_into)(count, x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                     y + (ptrdiff_t)oy * g->columns + lo);)
        return;
    }
    for (int i = 0; i < most; i++) row[i] = -(float)INFINITY;
    float *inside = row + g->pad_x;
    for (int oy = 0; oy < g->rows; oy++, y += g->columns) {
        bool any = false;
        for (int ty = 0; ty < g->taps_y; ty++) {
            const int sy = oy * g->stride_y + ty * g->dilation_y - g->pad_y;
            if (sy < 0 || sy >= g->height) continue;
            const float *from = x + (ptrdiff_t)sy * g->width;
            if (any) ITP_K(max_into)((size_t)g->width, from, 1, inside);
            else memcpy(inside, from, (size_t)g->width * sizeof *row);
            any = true;
        }
        for (int ox = 0; ox < g->columns; ox += V_WIDTH) {
            const int w = g->columns - ox < V_WIDTH ? g->columns - ox : V_WIDTH;
            vf top = v_set(-(float)INFINITY);
            for (int tx = 0; tx < g->taps_x; tx++) {
                const float *p = row + ox * g->stride_x + tx * g->dilation_x;
                const vf v = g->stride_x == 1   ? v_load(p)
                             : g->stride_x == 2 ? v_even(v_load(p), v_load(p + V_WIDTH))
                                                : v_loads(p, g->stride_x);
                top = ITP_K(larger)(top, v);
            }
            v_put(y + ox, any ? top : v_set(-(float)INFINITY), w);
        }
    }
}

/* dx += dy at the first largest source of each window */
static void ITP_K(plane_max_grad)(const itp_plane *g, const float *x, const float *dy, float *dx)
{
    const bool pairs = g->taps_y == 2 && g->taps_x == 2 && g->dilation_y == 1 &&
                       g->dilation_x == 1 && g->pad_y == 0 && g->pad_x == 0 &&
                       (g->rows - 1) * g->stride_y + 2 <= g->height &&
                       (g->columns - 1) * g->stride_x + 2 <= g->width;
    for (int oy = 0; oy < g->rows; oy++)
        for (int ox = 0; ox < g->columns; ox++) {
            const float d = dy[(ptrdiff_t)oy * g->columns + ox];
            const int top_y = oy * g->stride_y - g->pad_y, top_x = ox * g->stride_x - g->pad_x;
            ptrdiff_t best = -1;
            if (pairs) { /* no branches: which source is largest cannot be foretold */
                const ptrdiff_t at = (ptrdiff_t)oy * g->stride_y * g->width + ox * g->stride_x;
                const ptrdiff_t below = at + g->width;
                const ptrdiff_t top = x[at + 1] > x[at] ? at + 1 : at;
                const ptrdiff_t low = x[below + 1] > x[below] ? below + 1 : below;
                dx[x[low] > x[top] ? low : top] += d;
                continue;
            }
            if (top_y >= 0 && top_x >= 0 && top_y + (g->taps_y - 1) * g->dilation_y < g->height &&
                top_x + (g->taps_x - 1) * g->dilation_x < g->width) {
                best = (ptrdiff_t)top_y * g->width + top_x;
                float top = x[best];
                for (int ty = 0; ty < g->taps_y; ty++) {
                    ptrdiff_t at = (ptrdiff_t)(top_y + ty * g->dilation_y) * g->width + top_x;
                    for (int tx = 0; tx < g->taps_x; tx++, at += g->dilation_x) {
                        best = x[at] > top ? at : best;
                        top = x[at] > top ? x[at] : top;
                    }
                }
                dx[best] += d;
                continue;
            }
            for (int ty = 0; ty < g->taps_y; ty++) {
                const int sy = top_y + ty * g->dilation_y;
                if (sy < 0 || sy >= g->height) continue;
                for (int tx = 0; tx < g->taps_x; tx++) {
                    const int sx = top_x + tx * g->dilation_x;
                    if (sx < 0 || sx >= g->width) continue;
                    const ptrdiff_t at = (ptrdiff_t)sy * g->width + sx;
                    if (best < 0 || x[at] > x[best]) best = at;
                }
            }
            if (best >= 0) dx[best] += d;
        }
}

/* y += sum of each window */
static void ITP_K(plane_sum)(const itp_plane *g, const float *x, float *y)
{
    ITP_FOR_TAPS(g, (void)tap; ITP_K(axpy)(count, 1, x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                           y + (ptrdiff_t)oy * g->columns + lo);)
}

static void ITP_K(plane_sum_grad)(const itp_plane *g, const float *dy, float *dx)
{
    ITP_FOR_TAPS(g, {
        (void)tap;
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        for (size_t i = 0; i < count; i++) to[i * (size_t)g->stride_x] += from[i];
    })
}
/* >>simd/kernels_depthwise.h                                                                  */
/* ---- depthwise convolution: one plane with a window of its own ---------------------------------- */

#define ITP_DW_ROWS   7 /* of output at a time: image sizes tend to be multiples of 7 */
#define ITP_DW_TAPS   5
#define ITP_DW_OUT(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6)
#define ITP_DW_IN(X)                                                                               \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16)

#if V_WIDTH > 1 /* one lane gains nothing */

/* Window sums + bias of ITP_DW_ROWS rows from oy and n columns, at most a vector, from ox, into
   to[row * to_rs + column]; rows past the last are sums of what there is. Each vector of input is
   loaded once for all rows it belongs to. Always inlined with constant taps (per side) and stride. */
ITP_INLINE void ITP_K(dw_tile)(int taps, int stride, const itp_plane *g, const float *x,
                               const float *w, float bias, int oy, int ox, int n, float *to,
                               ptrdiff_t to_rs)
{
    const int first = ox * stride - g->pad_x; /* source column of lane 0, tap 0 */
#define ITP_DECLARE(r) vf c##r = v_set(bias);
    ITP_DW_OUT(ITP_DECLARE)
#undef ITP_DECLARE
    for (int tx = 0; tx < taps; tx++) {
        const int at = first + tx;
        const vl here = v_lanes(-at, g->width - at);
        const vl next = v_lanes(-at - V_WIDTH, g->width - at - V_WIDTH);
        (void)next;
        const vf w0 = v_set(w[tx]), w1 = v_set(w[taps + tx]), w2 = v_set(w[2 * taps + tx]);
        const vf w3 = taps > 3 ? v_set(w[3 * taps + tx]) : w0;
        const vf w4 = taps > 3 ? v_set(w[4 * taps + tx]) : w0;
        const float *from = x + (ptrdiff_t)(oy * stride - g->pad_y) * g->width + at;
#define ITP_STEP(r)                                                                                \
    if (i >= stride * (r) && i - stride * (r) < taps) {                                            \
        const int t = i - stride * (r);                                                            \
        c##r = v_fma(t == 0 ? w0 : t == 1 ? w1 : t == 2 ? w2 : t == 3 ? w3 : w4, v, c##r);         \
    }
#define ITP_SOURCE(k)                                                                              \
    if (k < (ITP_DW_ROWS - 1) * stride + taps) {                                                   \
        enum { i = k };                                                                            \
        const int sy = oy * stride - g->pad_y + i;                                                 \
        if (sy >= 0 && sy < g->height) {                                                           \
            const float *p = from + (ptrdiff_t)i * g->width;                                       \
            vf v = v_between(p, here);                                                             \
            if (stride == 2) v = v_even(v, v_between(p + V_WIDTH, next));                          \
            ITP_DW_OUT(ITP_STEP)                                                                   \
        }                                                                                          \
    }
        ITP_DW_IN(ITP_SOURCE)
#undef ITP_SOURCE
#undef ITP_STEP
    }
#define ITP_STORE(r) v_put(to + (r)*to_rs, c##r, n);
    ITP_DW_OUT(ITP_STORE)
#undef ITP_STORE
}

#define ITP_DW_FUNCTION(name, taps, stride)                                                        \
    static void ITP_K(name)(const itp_plane *g, const float *x, const float *w, float bias,        \
                            int oy, int ox, int n, float *to, ptrdiff_t to_rs)                     \
    {                                                                                              \
        ITP_K(dw_tile)(taps, stride, g, x, w, bias, oy, ox, n, to, to_rs);                         \
    }
ITP_DW_FUNCTION(dw_3_1, 3, 1)
ITP_DW_FUNCTION(dw_3_2, 3, 2)
ITP_DW_FUNCTION(dw_5_1, 5, 1)
ITP_DW_FUNCTION(dw_5_2, 5, 2)
#undef ITP_DW_FUNCTION

/* Square windows of 3 or 5 with stride 1 or 2: those of the networks in use. */
static bool ITP_K(dw_common)(const itp_plane *g)
{
    return (g->taps_y == 3 || g->taps_y == 5) && g->taps_x == g->taps_y && g->stride_y <= 2 &&
           g->stride_x == g->stride_y && g->dilation_y == 1 && g->dilation_x == 1;
}

/* y (+)= sums over windows of x with w[taps_y][taps_x], plus bias: common windows */
static void ITP_K(dw_conv)(const itp_plane *g, const float *x, const float *w, float bias, bool add,
                           float *y)
{
    typedef void (*dw_function)(const itp_plane *, const float *, const float *, float, int, int,
                                int, float *, ptrdiff_t);
    static const dw_function functions[2][2] = {{ITP_K(dw_3_1), ITP_K(dw_3_2)},
                                                {ITP_K(dw_5_1), ITP_K(dw_5_2)}};
    const dw_function run = functions[g->taps_y == 5][g->stride_y == 2];
    float sums[ITP_DW_ROWS * V_WIDTH];
    for (int ox = 0; ox < g->columns; ox += V_WIDTH) {
        const int n = g->columns - ox < V_WIDTH ? g->columns - ox : V_WIDTH;
        for (int oy = 0; oy < g->rows; oy += ITP_DW_ROWS) {
            const int rows = g->rows - oy < ITP_DW_ROWS ? g->rows - oy : ITP_DW_ROWS;
            float *to = y + (ptrdiff_t)oy * g->columns + ox;
            if (rows == ITP_DW_ROWS && !add) {
                run(g, x, w, bias, oy, ox, n, to, g->columns);
                continue;
            }
            run(g, x, w, bias, oy, ox, V_WIDTH, sums, V_WIDTH);
            for (int r = 0; r < rows; r++, to += g->columns) {
                const vf v = v_load(sums + r * V_WIDTH);
                v_put(to, add ? v_add(v, v_get(to, n)) : v, n);
            }
        }
    }
}

/* One row of dx for stride 2, two columns for each of dy. */
static void ITP_K(dw_data_row)(const itp_plane *g, const float *dy, const float *w, bool add,
                               float *dx, int iy)
{
    float *to = dx + (ptrdiff_t)iy * g->width;
    for (int j = 0; 2 * j < g->width; j += V_WIDTH) {
        vf even = v_zero(), odd = v_zero();
        for (int ty = (iy + g->pad_y) & 1; ty < g->taps_y; ty += 2) {
            const int oy = (iy + g->pad_y - ty) / 2;
            if (iy + g->pad_y < ty || oy >= g->rows) continue;
            for (int tx = 0; tx < g->taps_x; tx++) {
                const int side = (g->pad_x + tx) & 1; /* of the columns this tap reaches */
                const int at = j + (side + g->pad_x - tx) / 2;
                const vf v =
                    v_between(dy + (ptrdiff_t)oy * g->columns + at, v_lanes(-at, g->columns - at));
                const vf tap = v_set(w[ty * g->taps_x + tx]);
                if (side) odd = v_fma(tap, v, odd);
                else even = v_fma(tap, v, even);
            }
        }
        const vf low = v_zip(even, odd), high = v_zip2(even, odd);
        const int n = g->width - 2 * j, n0 = n < V_WIDTH ? n : V_WIDTH;
        const int n1 = n - n0 < V_WIDTH ? n - n0 : V_WIDTH;
        float *p = to + 2 * j;
        v_put(p, add ? v_add(low, v_get(p, n0)) : low, n0);
        p += V_WIDTH;
        if (n1 > 0) v_put(p, add ? v_add(high, v_get(p, n1)) : high, n1);
    }
}

/* dw[ty][tx + c] += sum over pixels of x dy, for all ty and c < across. Rows of dy that a row of x meets
   stay in registers. Always inlined with constant taps, across and stride. */
ITP_INLINE void ITP_K(dw_sums)(int taps, int across, int stride, const itp_plane *g, const float *x,
                               const float *dy, int tx, double *dw)
{
    const int height = g->height, width = g->width, behind = (taps - 1) / stride;
#define ITP_DW_ACROSS(X) X(0) X(1) X(2) X(3) X(4)
#define ITP_DECLARE(c)                                                                             \
    vf s0##c = v_zero(), s1##c = v_zero(), s2##c = v_zero(), s3##c = v_zero(), s4##c = v_zero();
    ITP_DW_ACROSS(ITP_DECLARE)
#undef ITP_DECLARE
    for (int ox = 0; ox < g->columns; ox += V_WIDTH) {
        const int n = g->columns - ox < V_WIDTH ? g->columns - ox : V_WIDTH;
        const int first = ox * stride - g->pad_x + tx;
#define ITP_DECLARE(c)                                                                             \
    const int at##c = first + (c);                                                                 \
    const vl here##c = v_lanes(-at##c, width - at##c);                                             \
    const vl next##c = v_lanes(-at##c - V_WIDTH, width - at##c - V_WIDTH);                         \
    (void)here##c, (void)next##c;
        ITP_DW_ACROSS(ITP_DECLARE)
#undef ITP_DECLARE
        vf d0 = v_zero(), d1 = v_zero(), d2 = v_zero(), d3 = v_zero(), d4 = v_zero();
        for (int m = 0; m < g->rows + behind; m++) {
            d4 = d3, d3 = d2, d2 = d1, d1 = d0;
            d0 = m < g->rows ? v_get(dy + (ptrdiff_t)m * g->columns + ox, n) : v_zero();
            const int sy = m * stride - g->pad_y;
            const float *from = x + (ptrdiff_t)sy * width + first;
#define ITP_LOAD(c, p)                                                                             \
    (stride == 1 ? v_between((p) + (c), here##c)                                                   \
                 : v_even(v_between((p) + (c), here##c), v_between((p) + (c) + V_WIDTH, next##c)))
#define ITP_STEP(c)                                                                                \
    if (c < across) {                                                                              \
        const vf v = ITP_LOAD(c, from);                                                            \
        s0##c = v_fma(v, d0, s0##c);                                                               \
        if (stride == 1) s1##c = v_fma(v, d1, s1##c);                                              \
        s2##c = v_fma(v, stride == 1 ? d2 : d1, s2##c);                                            \
        if (taps > 3 && stride == 1) s3##c = v_fma(v, d3, s3##c);                                  \
        if (taps > 3) s4##c = v_fma(v, stride == 1 ? d4 : d2, s4##c);                              \
    }
            if (sy >= 0 && sy < height) { ITP_DW_ACROSS(ITP_STEP) }
#undef ITP_STEP
#define ITP_STEP(c)                                                                                \
    if (c < across) {                                                                              \
        const vf v = ITP_LOAD(c, from + width);                                                    \
        s1##c = v_fma(v, d0, s1##c);                                                               \
        if (taps > 3) s3##c = v_fma(v, d1, s3##c);                                                 \
    }
            if (stride == 2 && sy + 1 >= 0 && sy + 1 < height) { ITP_DW_ACROSS(ITP_STEP) }
#undef ITP_STEP
#undef ITP_LOAD
        }
    }
#define ITP_STORE(c)                                                                               \
    if (c < across) {                                                                              \
        dw[tx + c] += (double)v_sum(s0##c);                                                        \
        dw[taps + tx + c] += (double)v_sum(s1##c);                                                 \
        dw[2 * taps + tx + c] += (double)v_sum(s2##c);                                             \
        if (taps > 3) dw[3 * taps + tx + c] += (double)v_sum(s3##c);                               \
        if (taps > 3) dw[4 * taps + tx + c] += (double)v_sum(s4##c);                               \
    }
    ITP_DW_ACROSS(ITP_STORE)
#undef ITP_STORE
#undef ITP_DW_ACROSS
}

/* dw += its gradient: common windows. Five taps across need 31 registers. */
static void ITP_K(dw_weights)(const itp_plane *g, const float *x, const float *dy, double *dw)
{
    if (g->taps_x == 3 && g->stride_x == 1) ITP_K(dw_sums)(3, 3, 1, g, x, dy, 0, dw);
    else if (g->taps_x == 3) ITP_K(dw_sums)(3, 3, 2, g, x, dy, 0, dw);
    else if (V_MR == 14 && g->stride_x == 1) ITP_K(dw_sums)(5, 5, 1, g, x, dy, 0, dw);
    else
        for (int tx = 0; tx < 5; tx++)
            if (g->stride_x == 1) ITP_K(dw_sums)(5, 1, 1, g, x, dy, tx, dw);
            else ITP_K(dw_sums)(5, 1, 2, g, x, dy, tx, dw);
}
#else
#define ITP_DW_NONE 1
#endif

/* y (+)= sums over windows of x with w[taps_y][taps_x], plus bias */
static void ITP_K(plane_conv)(const itp_plane *g, const float *x, const float *w, float bias,
                              bool add, float *y)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_conv)(g, x, w, bias, add, y);
        return;
    }
#endif
    const size_t n = (size_t)g->rows * (size_t)g->columns;
    for (size_t i = 0; i < n && !add; i++) y[i] = bias;
    ITP_FOR_TAPS(g, ITP_K(axpy)(count, w[tap], x + (ptrdiff_t)sy * g->width + sx, g->stride_x,
                                y + (ptrdiff_t)oy * g->columns + lo);)
}

/* dx (+)= its gradient */
static void ITP_K(plane_conv_data)(const itp_plane *g, const float *dy, const float *w, bool add,
                                   float *dx)
{
#ifndef ITP_DW_NONE
    const int taps = g->taps_y * g->taps_x;
    if (ITP_K(dw_common)(g) && g->stride_y == 1 && g->pad_y < g->taps_y && g->pad_x < g->taps_x) {
        itp_plane turned = *g; /* dx is dy under the turned window */
        float back[ITP_DW_TAPS * ITP_DW_TAPS];
        turned.height = g->rows, turned.width = g->columns;
        turned.rows = g->height, turned.columns = g->width;
        turned.pad_y = g->taps_y - 1 - g->pad_y, turned.pad_x = g->taps_x - 1 - g->pad_x;
        for (int t = 0; t < taps; t++) back[t] = w[taps - 1 - t];
        ITP_K(dw_conv)(&turned, dy, back, 0, add, dx);
        return;
    }
    if (ITP_K(dw_common)(g) && g->stride_y == 2) {
        for (int iy = 0; iy < g->height; iy++) ITP_K(dw_data_row)(g, dy, w, add, dx, iy);
        return;
    }
#endif
    const size_t n = (size_t)g->height * (size_t)g->width;
    if (!add) memset(dx, 0, n * sizeof *dx);
    ITP_FOR_TAPS(g, {
        const float *from = dy + (ptrdiff_t)oy * g->columns + lo;
        float *to = dx + (ptrdiff_t)sy * g->width + sx;
        if (g->stride_x == 1) ITP_K(axpy)(count, w[tap], from, 1, to);
        else
            for (size_t i = 0; i < count; i++) to[i * (size_t)g->stride_x] += w[tap] * from[i];
    })
}

/* dw += its gradient; dw is in double while planes are added up */
static void ITP_K(plane_conv_weights)(const itp_plane *g, const float *x, const float *dy,
                                      double *dw)
{
#ifndef ITP_DW_NONE
    if (ITP_K(dw_common)(g)) {
        ITP_K(dw_weights)(g, x, dy, dw);
        return;
    }
#endif
    ITP_FOR_TAPS(g,
                 dw[tap] += ITP_K(dot_strided)(count, x + (ptrdiff_t)sy * g->width + sx,
                                               g->stride_x, dy + (ptrdiff_t)oy * g->columns + lo);)
}

#undef ITP_DW_NONE
#undef ITP_DW_ROWS
#undef ITP_DW_TAPS
#undef ITP_DW_OUT
#undef ITP_DW_IN
#undef ITP_FOR_TAPS
/* >>simd/kernels_end.h                                                                        */
/* ---- the table of this instruction set ------------------------------------------------------- */

static const itp_kernels ITP_K(kernels) = {ITP_ISA_NAME, V_WIDTH, V_MR, 2 * V_WIDTH,
#define ITP_KERNEL(type, name, arguments) ITP_K(name),
                                           ITP_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

static const itp_grad_kernels ITP_K(grad_kernels) = {
#define ITP_KERNEL(type, name, arguments) ITP_K(name),
    ITP_GRAD_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

ITP_TARGET_END

#undef ITP_K
#undef ITP_ISA_NAME
#undef ITP_TARGET_GCC
#undef V_WIDTH
#undef V_MR
#undef V_ROWS
#undef V_LANES
#undef vf
#undef vm
#undef v_set
#undef v_zero
#undef v_load
#undef v_store
#undef v_loadn
#undef v_storen
#undef v_loads
#undef v_add
#undef v_sub
#undef v_mul
#undef v_div
#undef v_fma
#undef v_fnma
#undef v_max
#undef v_min
#undef v_abs
#undef v_neg
#undef v_sqrt
#undef v_lt
#undef v_le
#undef v_gt
#undef v_eq
#undef v_both
#undef v_select
#undef v_round
#undef v_pow2
#undef v_exponent
#undef v_mantissa
#undef v_sum
#undef v_hmax
#undef v_transpose
#undef vl
#undef v_lanes
#undef v_between
#undef v_even
#undef v_zip
#undef v_zip2
#undef V_LOOP
#undef V_EACH
#undef v_get
#undef v_put
#undef ITP_SELU_SCALE
#undef ITP_SELU_ALPHA
#undef ITP_SQRT_HALF
#undef ITP_SQRT_2_BY_PI
#undef ITP_GELU_CUBE
#undef ITP_SUM_BLOCK
#else

/* ============================ public interface ================================================ */
#ifndef INTERP_H
#define INTERP_H
/* >>base/base.h                                                                               */
/* ---- base: context, status, memory, hooks ---------------------------------------------------- */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of this header, in parts and as 0xMMmmpp. */
#define INTERP_VERSION_MAJOR 0
#define INTERP_VERSION_MINOR 1
#define INTERP_VERSION_PATCH 0
#define INTERP_VERSION       0x000100

#if defined(__FAST_MATH__)
#error "interp.h relies on NaN and infinity: compile without -ffast-math"
#endif

/* In front of every public function. Define INTERP_STATIC to keep them to one file, or INTERP_API
   yourself, for example to export them from a shared library. */
#if defined(INTERP_STATIC)
#if defined(__GNUC__) || defined(__clang__)
#define INTERP_API static __attribute__((unused))
#else
#define INTERP_API static
#endif
#elif !defined(INTERP_API)
#define ITP_OWN_API
#define INTERP_API extern
#endif

/* Lets the compiler check format f against the arguments from a on. */
#if defined(__GNUC__) || defined(__clang__)
#define INTERP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define INTERP_PRINTF(f, a)
#endif

/* Gradient tests compile the same op code in double precision (scalar kernels only). System
   headers must come before interp.h in such a translation unit. */
#if defined(INTERP_TEST_DOUBLE)
#include <assert.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define float double
#ifndef INTERP_NO_SIMD
#define INTERP_NO_SIMD
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Every status and its default text, one list. */
#define INTERP_STATUS_LIST(X)                                                                      \
    X(OK, "no error")                                                                              \
    X(BAD_ARGUMENT, "an argument is out of its range")                                             \
    X(BAD_SHAPE, "shapes do not fit together")                                                     \
    X(NO_MEMORY, "memory ran out")                                                                 \
    X(IO, "a file could not be read or written")                                                   \
    X(FORMAT, "a file is damaged or of another format")                                            \
    X(NOT_FINITE, "a value is NaN or infinite")                                                    \
    X(UNSUPPORTED, "this is not supported")                                                        \
    X(CANCELLED, "cancelled by the progress hook")

/* Result of every call that can fail; INTERP_OK is 0. The sentence is in interp_error(). */
typedef enum interp_status {
#define INTERP_STATUS_ENUM(name, text) INTERP_##name,
    INTERP_STATUS_LIST(INTERP_STATUS_ENUM)
#undef INTERP_STATUS_ENUM
        INTERP_STATUS_COUNT
} interp_status;

/* Most dimensions a tensor can have. */
#define INTERP_MAX_RANK 8

/* Shape of a dense row-major array; dim[rank..] are 1. */
typedef struct interp_shape {
    int rank;                 /* number of dimensions, 0 for a scalar */
    int dim[INTERP_MAX_RANK]; /* sizes, outermost first */
} interp_shape;

/* One context: memory, threads, kernels and the last error. Not thread-safe from outside. */
typedef struct interp_ctx interp_ctx;

/* Where memory comes from; both functions or none. `alloc` returns NULL when it has none. */
typedef struct interp_allocator {
    void *(*alloc)(size_t bytes, size_t align, void *user); /* NULL: malloc */
    void (*free)(void *p, size_t bytes, void *user);        /* NULL: free */
    void *user;                                             /* NULL: handed to both as it is */
} interp_allocator;

/* What the progress hook is told. */
typedef struct interp_progress {
    const char *stage; /* what is being done, for example "train" */
    double done;       /* units finished */
    double total;      /* units in all, 0 when unknown */
    double value;      /* a figure worth showing (a loss), NaN when there is none */
} interp_progress;

/* Options of interp_open. */
typedef struct interp_desc {
    uint64_t seed;              /* 0: seed 0, which is a seed like any other */
    int threads;                /* 0: all cores; 1: none besides the caller */
    const char *isa;            /* NULL: INTERP_ISA of the environment, else the best the CPU has */
    interp_allocator allocator; /* zero: malloc and free */
    void *buffer;        /* NULL: none; else all memory comes from here, malloc is not called */
    size_t buffer_bytes; /* 0: none; size of `buffer` */
    size_t memory_limit; /* 0: none; bytes the context may hold at any time */
    int (*progress)(const interp_progress *p, void *user); /* NULL: none; non-zero cancels */
    void (*log)(interp_status level, const char *text, void *user); /* NULL: none; warnings */
    void (*parallel_for)(void (*fn)(void *arg, int slot), int slots, void *arg,
                         void *user); /* NULL: own pool; else must run fn for slots 0..slots-1 */
    void *user;                       /* NULL: handed to the three hooks as it is */
} interp_desc;

/* Opens a context; everything made from it is freed by interp_close.
   desc: NULL takes every default. Returns NULL when memory ran out, the buffer is too small, or
   the ISA named is not there. Cost: one block below 1 KB, and `threads`-1 threads with
   about 7 KB for all.
   Test: context_opens_in_a_user_buffer. */
INTERP_API interp_ctx *interp_open(const interp_desc *desc);

/* Frees the context and everything made from it. NULL is allowed. */
INTERP_API void interp_close(interp_ctx *ctx);

/* The sentence of the last error, "" when there was none. Valid until the next call. */
INTERP_API const char *interp_error(const interp_ctx *ctx);

/* The status of the last error. */
INTERP_API interp_status interp_last_status(const interp_ctx *ctx);

/* Forgets the last error. */
INTERP_API void interp_clear_error(interp_ctx *ctx);

/* The name of a status, for example "BAD_SHAPE". */
INTERP_API const char *interp_status_name(interp_status status);

/* "0.1.0". */
INTERP_API const char *interp_version(void);

/* The instruction set in use: "scalar", "avx2", "avx512" or "neon". */
INTERP_API const char *interp_isa(const interp_ctx *ctx);

/* Threads in use, the caller among them. */
INTERP_API int interp_threads(const interp_ctx *ctx);

/* Memory figures of a context, in bytes. */
typedef struct interp_memory {
    size_t used;        /* held now, bookkeeping included */
    size_t peak;        /* the most ever held */
    size_t limit;       /* 0: none */
    size_t allocations; /* calls to the allocator so far */
} interp_memory;

/* Reads the memory figures. Test: training_steps_allocate_nothing. */
INTERP_API interp_memory interp_memory_read(const interp_ctx *ctx);

/* Sets the byte limit; 0 lifts it. What is held already stays. */
INTERP_API void interp_memory_set_limit(interp_ctx *ctx, size_t bytes);

/* Allocates 64-byte aligned memory that interp_close frees; NULL with an error set when there is
   none. `bytes` may be 0. */
INTERP_API void *interp_alloc(interp_ctx *ctx, size_t bytes);

/* Gives back what interp_alloc gave. NULL is allowed. */
INTERP_API void interp_free(interp_ctx *ctx, void *p);

/* Sets an error on the context and returns its status, for callers' own functions. */
INTERP_API interp_status interp_fail(interp_ctx *ctx, interp_status status, const char *format, ...)
    INTERP_PRINTF(3, 4);

/* Number of elements of a shape; 1 for a scalar. */
INTERP_API size_t interp_shape_size(const interp_shape *shape);

/* Random numbers by counter (Philox4x32-10, Salmon et al. 2011): number `index` of stream `stream`
   of `seed`, uniform in [0, 2^32). Any order, any thread: the same numbers.
   Test: philox_matches_the_published_vectors. */
INTERP_API uint32_t interp_random_u32(uint64_t seed, uint64_t stream, uint64_t index);

/* Uniform in [0, 1), 24 bits, from interp_random_u32. */
INTERP_API float interp_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/* Standard normal by Box-Muller from two numbers of the stream. */
INTERP_API float interp_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

#ifdef __cplusplus
}
#endif
/* >>math/math.h                                                                               */
/* ---- math: matrix product, linear algebra ---------------------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

/* C = alpha op(A) op(B) + beta C, row-major, float32 sums.
   m, n, k: op(A) is [m,k], op(B) is [k,n], C is [m,n]; trans_a, trans_b: op() transposes, so that A
   is stored as [k,m] or B as [n,k]; lda, ldb, ldc: floats from row to row of the stored arrays. C is
   not read when beta is 0. Bit-identical at any thread count. Errors: BAD_ARGUMENT, NO_MEMORY.
   Cost: 2mnk operations; scratch of a few hundred KB per thread, kept by the context.
   Test: sgemm_matches_a_double_sum. */
INTERP_API interp_status interp_sgemm(interp_ctx *ctx, bool trans_a, bool trans_b, int m, int n,
                                      int k, float alpha, const float *a, int lda, const float *b,
                                      int ldb, float beta, float *c, int ldc);

/* Options of interp_pca. */
typedef struct interp_pca_desc {
    int n_components; /* 0: 2 */
    bool whiten;      /* false: scores keep their variance; true: unit variance each */
} interp_pca_desc;

/* Principal components of x[n,d], centred, by eigenvectors of the covariance matrix.
   scores: [n, n_components]; components: NULL or [n_components, d], unit rows whose largest entry is
   positive; explained: NULL or [n_components], share of the total variance. Errors: BAD_ARGUMENT (n
   below 2, more components than d), NOT_FINITE, NO_MEMORY. Cost: O(n d^2 + d^3), scratch O(d^2).
   Paper: Pearson 1901; matches scikit-learn's PCA. Test: pca_finds_the_axes_of_a_rotated_cloud. */
INTERP_API interp_status interp_pca(interp_ctx *ctx, const float *x, int n, int d,
                                    const interp_pca_desc *desc, float *scores, float *components,
                                    float *explained);

#ifdef __cplusplus
}
#endif
/* >>data/data.h                                                                               */
/* ---- data: arrays, data sets, files ---------------------------------------------------------- */

/* PNG, JPEG, .gz, deflated .npz: need stb_image. Include <stb_image.h> before the implementation
   of interp.h; without it these readers return UNSUPPORTED and all others work.
   Readers exist in two forms: from memory (..._parse) and from a file (..._read; these are left out
   by INTERP_NO_STDIO). On error the result is untouched. */

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of arrays in files and models. */
typedef enum interp_dtype {
    INTERP_FLOAT32,
    INTERP_FLOAT64,
    INTERP_FLOAT16,
    INTERP_BFLOAT16,
    INTERP_INT8,
    INTERP_INT16,
    INTERP_INT32,
    INTERP_INT64,
    INTERP_UINT8,
    INTERP_UINT16,
    INTERP_UINT32,
    INTERP_UINT64,
    INTERP_BOOL,
    INTERP_DTYPE_COUNT
} interp_dtype;

/* A dense row-major array of any element type; `data` belongs to the context. */
typedef struct interp_array {
    void *data;         /* interp_shape_size(&shape) elements */
    interp_dtype dtype; /* their type */
    interp_shape shape; /* outermost dimension first */
} interp_array;

/* A labelled data set in memory; its arrays belong to the context. */
typedef struct interp_dataset {
    float *x;   /* [n, shape]: samples */
    int32_t *y; /* [n]: class of each sample, 0..n_classes-1; NULL when there are no labels */
    int n;      /* number of samples */
    interp_shape shape; /* of one sample: [C,H,W] for images, [d] for tables */
    int n_classes;      /* 0 when there are no labels */
    char **class_names; /* [n_classes], NULL when they have none; one block with its text */
} interp_dataset;

/* An array with the name it has in a file. */
typedef struct interp_named_array {
    char *name;
    interp_array array;
} interp_named_array;

/* The contents of a safetensors file. */
typedef struct interp_named_arrays {
    interp_named_array *items; /* [n] */
    int n;                     /* number of arrays */
    char **keys;               /* [n_metadata]: names of the free-text notes of the file */
    char **values;             /* [n_metadata]: their texts */
    int n_metadata;            /* number of notes */
    char *text;                /* holds every name, key and value of a file read; else NULL */
} interp_named_arrays;

/* A table read from a CSV file. */
typedef struct interp_table {
    double *cells; /* [n_rows, n_columns]: numbers, category ids in text columns, NaN if empty */
    int n_rows;    /* data rows; the header is none */
    int n_columns; /* cells in every row */
    char **column_names; /* [n_columns]; NULL when the file has no header row */
    int *n_categories;   /* [n_columns]: 0 for columns of numbers */
    char ***categories;  /* [n_columns]: names by id, in byte order; NULL for columns of numbers */
} interp_table;

/* Bytes of one element. */
INTERP_API size_t interp_dtype_size(interp_dtype dtype);

/* Name of an element type as numpy spells it, for example "float32". */
INTERP_API const char *interp_dtype_name(interp_dtype dtype);

/* Frees an array and clears it. Test: readers_leak_nothing_when_input_is_damaged. */
INTERP_API void interp_array_free(interp_ctx *ctx, interp_array *array);

/* Writes all elements as float32 to out [interp_shape_size(&array->shape)]; allocates nothing.
   Test: every_dtype_converts_to_float32. */
INTERP_API void interp_array_floats(const interp_array *array, float *out);

/* Turns an array into float32 in place. Test: every_dtype_converts_to_float32. */
INTERP_API interp_status interp_array_to_f32(interp_ctx *ctx, interp_array *array);

/* Writes all elements as int32 to out [interp_shape_size(&array->shape)], which need not be
   defined after an error. BAD_ARGUMENT names the first element that is not a whole number within
   int32. Test: labels_must_be_whole_numbers. */
INTERP_API interp_status interp_array_ints(interp_ctx *ctx, const interp_array *array,
                                           int32_t *out);

/* Reads NPY (versions 1 to 3, both byte orders, C and Fortran order) from n bytes in memory; the
   array keeps its element type, in the order of this machine. UNSUPPORTED: objects, text, records,
   complex numbers. Test: npy_reads_every_dtype_in_both_byte_orders. */
INTERP_API interp_status interp_npy_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array);

/* Reads an IDX file (any of its six types), plain or gzipped, from n bytes in memory. FORMAT when
   the size is not exactly what the header says. Test: idx_wants_the_exact_size. */
INTERP_API interp_status interp_idx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array);

/* Reads one array of an NPZ archive (stored or deflated, zip64) from n bytes in memory.
   key: the array's name, with or without .npy; NULL or "" takes the only one there is.
   Test: npz_reads_what_numpy_wrote. */
INTERP_API interp_status interp_npz_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          const char *key, interp_array *array);

/* Reads a CSV table (RFC 4180 quotes; any line ends; comma, semicolon or tab) from n bytes in
   memory. The first row is the header when none of its cells is a number, or when one of them
   stands above a column of numbers. Numbers use a point in any locale. FORMAT names the line of a
   ragged row. Free with interp_table_free. Test: csv_names_the_ragged_line. */
INTERP_API interp_status interp_csv_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_table *table);

/* Index of the column called `name` (letter case only matters when two differ by it), or of that
   number (negative from the end) when no name fits; -1 when there is none.
   Test: csv_finds_columns_by_name_and_number. */
INTERP_API int interp_table_column(const interp_table *table, const char *name);

/* Frees a table and clears it. */
INTERP_API void interp_table_free(interp_ctx *ctx, interp_table *table);

/* Reads every array of a safetensors file from n bytes in memory, in the order of their data.
   Free with interp_named_arrays_free. Test: safetensors_refuses_what_the_format_forbids. */
INTERP_API interp_status interp_safetensors_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                  interp_named_arrays *arrays);

/* Frees what a safetensors reader gave and clears it. */
INTERP_API void interp_named_arrays_free(interp_ctx *ctx, interp_named_arrays *arrays);

/* Reads a PNG or JPEG from n bytes in memory as float32 [C,H,W] in 0..1; alpha is dropped.
   channels: 0 for those of the file (1 grey, 3 colour), else 1 or 3. UNSUPPORTED above 16384
   pixels a side. Test: images_decode_to_planes_between_0_and_1. */
INTERP_API interp_status interp_image_file_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                 int channels, interp_array *image);

/* Resizes n planes x [n,height,width] to out [n,out_height,out_width]: along each axis bilinear
   (pixel centres at halves, edges repeated) when it grows, mean over the covered area when it
   shrinks. Allocates nothing. Test: resize_keeps_the_mean_and_interpolates. */
INTERP_API void interp_planes_resize(const float *x, int n, int height, int width, float *out,
                                     int out_height, int out_width);

/* Makes a data set of copies: x [n,shape], y [n] or NULL, class_names [n_classes] or NULL.
   BAD_ARGUMENT when n < 1 or a label is not in 0..n_classes-1.
   Test: dataset_from_arrays_copies. */
INTERP_API interp_status interp_dataset_from_arrays(interp_ctx *ctx, const float *x,
                                                    const int32_t *y, int n,
                                                    const interp_shape *shape, int n_classes,
                                                    const char *const *class_names,
                                                    interp_dataset *dataset);

/* Frees a data set and clears it. */
INTERP_API void interp_dataset_free(interp_ctx *ctx, interp_dataset *dataset);

/* Copies the samples `indices` [n] (any order, repeats allowed) to a new data set.
   BAD_ARGUMENT names an index out of range. Test: subset_takes_samples_in_the_order_given. */
INTERP_API interp_status interp_dataset_subset(interp_ctx *ctx, const interp_dataset *all,
                                               const int *indices, int n, interp_dataset *out);

/* Splits by class: `second` gets the share `fraction` (0..1, 0.2 for a usual test set) of every
   class, rounded, `first` the rest, both in the order of `all`. Every class of two or more samples
   is on both sides. The same seed gives the same split.
   Test: split_is_stratified_and_repeatable. */
INTERP_API interp_status interp_dataset_split(interp_ctx *ctx, const interp_dataset *all,
                                              double fraction, uint64_t seed, interp_dataset *first,
                                              interp_dataset *second);

/* Statistics per channel (shape.dim[0] of them: C of [C,H,W], d of [d]), accumulated in double;
   std is that of the population. Any of the four outputs [channels] may be NULL.
   Test: statistics_match_numpy. */
INTERP_API void interp_dataset_statistics(const interp_dataset *dataset, float *mean, float *std,
                                          float *min, float *max);

/* x = (x - mean) / std per channel (shape.dim[0] of them), in place; a std of 0 divides by 1.
   Test: normalised_data_has_mean_0_and_std_1. */
INTERP_API void interp_dataset_normalise(interp_dataset *dataset, const float *mean,
                                         const float *std);

/* Resizes all samples [C,H,W] to height x width with interp_planes_resize. BAD_SHAPE when samples
   are no images. Test: data_open_resizes. */
INTERP_API interp_status interp_dataset_resize(interp_ctx *ctx, interp_dataset *dataset, int height,
                                               int width);

/* Checks that there are samples, all values are finite (NOT_FINITE) and all labels in
   0..n_classes-1 (BAD_ARGUMENT); the sentence names the first sample at fault.
   Test: dataset_check_names_the_sample. */
INTERP_API interp_status interp_dataset_check(interp_ctx *ctx, const interp_dataset *dataset);

/* Random changes of an image, drawn anew for every sample. */
typedef struct interp_augment_desc {
    bool flip_horizontal; /* 0: never; else left and right change places in half of the samples */
    bool flip_vertical;   /* 0: never; else top and bottom do */
    float shift;          /* 0: none; pixels: moved by up to this much along each axis */
    float rotate_deg;     /* 0: none; degrees: turned about the centre by up to this, either way */
    float scale;          /* 0: none; enlarged by a factor within 1-scale..1+scale; below 1 */
    int crop_padding;     /* 0: none; pixels: padded by this and cropped at random to its size */
    float fill;           /* 0: 0; value of what comes in from outside */
} interp_augment_desc;

/* Writes a changed copy of image x [C,H,W] to out, which must not overlap it: one affine map,
   bilinear; whole-pixel moves and flips are exact. Samples of other ranks are copied.
   desc: NULL copies. Depends on nothing but its arguments; allocates nothing.
   Test: augment_depends_on_seed_and_index_only. */
INTERP_API void interp_augment(const interp_augment_desc *desc, const float *x,
                               const interp_shape *shape, uint64_t seed, uint64_t index,
                               float *out);

/* Reads CIFAR-10 records (a label byte and 3072 pixels each) from n bytes in memory: [3,32,32] in
   0..1 with the ten class names. Test: cifar10_reads_records. */
INTERP_API interp_status interp_cifar10_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                              interp_dataset *dataset);

#if !defined(INTERP_NO_STDIO)

/* interp_npy_parse on a file. */
INTERP_API interp_status interp_npy_read(interp_ctx *ctx, const char *path, interp_array *array);

/* Writes an array as NPY version 1, little-endian, C order; bfloat16 is widened to float32.
   The file appears whole or not at all. Test: npy_round_trips_every_dtype. */
INTERP_API interp_status interp_npy_write(interp_ctx *ctx, const char *path,
                                          const interp_array *array);

/* Writes floats x of the shape given as NPY. Test: npy_round_trips_every_dtype. */
INTERP_API interp_status interp_npy_write_f32(interp_ctx *ctx, const char *path, const float *x,
                                              const interp_shape *shape);

/* interp_npz_parse on a file. */
INTERP_API interp_status interp_npz_read(interp_ctx *ctx, const char *path, const char *key,
                                         interp_array *array);

/* Writes n arrays as an NPZ archive with stored members; names get ".npy" added. UNSUPPORTED from
   4 GiB on. Test: npz_round_trips. */
INTERP_API interp_status interp_npz_write(interp_ctx *ctx, const char *path, int n,
                                          const char *const *names, const interp_array *arrays);

/* interp_idx_parse on a file. */
INTERP_API interp_status interp_idx_read(interp_ctx *ctx, const char *path, interp_array *array);

/* interp_csv_parse on a file. */
INTERP_API interp_status interp_csv_read(interp_ctx *ctx, const char *path, interp_table *table);

/* interp_safetensors_parse on a file. */
INTERP_API interp_status interp_safetensors_read(interp_ctx *ctx, const char *path,
                                                 interp_named_arrays *arrays);

/* Writes arrays and notes as safetensors. BAD_ARGUMENT: two of one name, or a name that is not
   UTF-8. Test: safetensors_round_trips. */
INTERP_API interp_status interp_safetensors_write(interp_ctx *ctx, const char *path,
                                                  const interp_named_arrays *arrays);

/* interp_image_file_parse on a file. */
INTERP_API interp_status interp_image_file_read(interp_ctx *ctx, const char *path, int channels,
                                                interp_array *image);

/* Reads an array named as on the command line: FILE.npy, FILE.npz[:KEY], FILE.csv,
   FILE.safetensors:KEY, an IDX file, a PNG or JPEG file ([1,C,H,W]) or a folder of them
   ([n,C,H,W] in order of name, resized to the first one's size where they differ).
   A CSV gives float64 [rows,columns]; text in it is only allowed in a table of one column, as
   category ids. Test: array_read_takes_every_form. */
INTERP_API interp_status interp_array_read(interp_ctx *ctx, const char *spec, interp_array *array);

/* Reads a data set named as on the command line:
     idx:DIR                        the four MNIST-named IDX files, plain or .gz
     cifar10:DIR                    binary batches
     npy:X.npy[,Y.npy]              X [n,d], [n,H,W] or [n,C,H,W]; Y whole numbers
     csv:FILE[,label=COLUMN]        label: default "label", "class", "target", "species" or
                                    "diagnosis", else the last column
     folder:DIR                     one sub-folder of images per class
     table:FILE.csv,images=DIR[,id=COLUMN,label=COLUMN]   a table that names image files
   each with [,size=HxW] to resize images. idx and cifar10 use their own test files; the others set
   20 % of every class aside for testing, chosen by `seed`. Bytes of images are scaled to 0..1.
   Where only one of training and test set is there, it is divided like the others. Tables: a column
   called "id" and empty columns are left out. npy: uint8 [n,H,W,C] with C 1, 3 or 4 is recognised.
   Such decisions go to the log hook. BAD_ARGUMENT for an unknown form lists the known ones;
   NOT_FINITE names the sample. digits and iris are in examples/data, not here.
   Test: data_open_reads_every_form. */
INTERP_API interp_status interp_data_open(interp_ctx *ctx, const char *spec, uint64_t seed,
                                          interp_dataset *train, interp_dataset *test);

#endif

#ifdef __cplusplus
}
#endif
/* >>net/net.h                                                                                 */
/* ---- net: networks as graphs of ops, training, metrics ---------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

/* A network: a graph of ops with its parameters. Read-only once built, except to training; it may
   then be shared by contexts in other threads, each with a workspace of its own. */
typedef struct interp_net interp_net;

/* A value of the graph under construction; 0 is none. Builders given a 0 return 0, so that the
   first error, kept by the net, is what interp_net_build reports. */
typedef int interp_tensor;

/* Starts an empty network. NULL when memory ran out. Shapes below name N batch, C channels, H
   height, W width, K classes; layout is NCHW, row-major, float32. */
INTERP_API interp_net *interp_net_new(interp_ctx *ctx, const char *name);

/* Frees a network. NULL is allowed. */
INTERP_API void interp_net_free(interp_net *net);

/* Adds an input of [N, sample]: `sample` is the shape of one sample. name NULL: "input". */
INTERP_API interp_tensor interp_input(interp_net *net, const char *name,
                                      const interp_shape *sample);

/* Initial values of weights. */
typedef enum interp_init {
    INTERP_INIT_DEFAULT,    /* He normal before rectifiers and in general */
    INTERP_HE_NORMAL,       /* sd sqrt(2 / fan_in), He et al. 2015 */
    INTERP_HE_UNIFORM,      /* +- sqrt(6 / fan_in) */
    INTERP_GLOROT_NORMAL,   /* sd sqrt(2 / (fan_in + fan_out)), Glorot and Bengio 2010 */
    INTERP_GLOROT_UNIFORM,  /* +- sqrt(6 / (fan_in + fan_out)) */
    INTERP_UNIFORM,         /* +- 1 / sqrt(fan_in) */
    INTERP_TRUNCATED_NORMAL /* sd 0.1, redrawn beyond two sd */
} interp_init;

/* Options of interp_dense. */
typedef struct interp_dense_desc {
    const char *name; /* NULL: "dense1", "dense2", ... */
    interp_init init; /* 0: He normal */
    bool no_bias;     /* false: a bias, starting at 0 */
} interp_dense_desc;

/* Fully connected: x[..., d] W[d, units] + b. Inputs of [N,C,H,W] are flattened first when they
   have more than three dimensions. */
INTERP_API interp_tensor interp_dense(interp_net *net, interp_tensor x, int units,
                                      const interp_dense_desc *desc);

/* Options of interp_conv2d. */
typedef struct interp_conv2d_desc {
    int channels;    /* 0: as many as the input has; output channels */
    int kernel[2];   /* 0: 3 and, for the second, the first; height, width */
    int stride[2];   /* 0: 1 and, for the second, the first */
    int dilation[2]; /* 0: 1 and, for the second, the first */
    int pad[4];      /* 0: none; top, left, bottom, right */
    bool same;       /* false: `pad` counts; true: output is input / stride, the extra at the end */
    int groups;      /* 0: 1; the number of input channels makes it depthwise */
    interp_init init; /* 0: He normal */
    bool no_bias;     /* false: a bias, starting at 0 */
    const char *name; /* NULL: "conv1", "conv2", ... */
} interp_conv2d_desc;

/* Cross-correlation of [N,C,H,W]. Errors (kept): BAD_SHAPE when groups do not divide the channels
   or the window is larger than the padded input. */
INTERP_API interp_tensor interp_conv2d(interp_net *net, interp_tensor x,
                                       const interp_conv2d_desc *desc);

/* Kinds of pooling. */
typedef enum interp_pool {
    INTERP_POOL_MAX,
    INTERP_POOL_AVERAGE,
    INTERP_POOL_GLOBAL_AVERAGE, /* to [N,C,1,1] */
    INTERP_POOL_GLOBAL_MAX      /* to [N,C,1,1] */
} interp_pool;

/* Options of interp_pool2d. */
typedef struct interp_pool2d_desc {
    interp_pool kind;       /* 0: max */
    int kernel[2];          /* 0: 2 and, for the second, the first */
    int stride[2];          /* 0: the kernel */
    int pad[4];             /* 0: none; top, left, bottom, right */
    bool same;              /* false: `pad` counts; true: output is input / stride */
    bool ceil_mode;         /* false: a window that would overhang is left out */
    bool count_include_pad; /* false: averages count real pixels only */
    const char *name;       /* NULL: "pool1", ... */
} interp_pool2d_desc;

/* Pooling of [N,C,H,W]. */
INTERP_API interp_tensor interp_pool2d(interp_net *net, interp_tensor x,
                                       const interp_pool2d_desc *desc);

/* Elementwise functions of one argument. */
typedef enum interp_activation {
    INTERP_RELU,
    INTERP_LEAKY_RELU,   /* alpha 0.01 below 0 */
    INTERP_ELU,          /* alpha 1 */
    INTERP_SELU,         /* Klambauer et al. 2017 */
    INTERP_SOFTPLUS,     /* log(1 + exp x) */
    INTERP_SIGMOID,      /* 1 / (1 + exp -x) */
    INTERP_TANH,         /* tanh x */
    INTERP_SILU,         /* x sigmoid(x), also called swish */
    INTERP_GELU,         /* x Phi(x) by erf */
    INTERP_GELU_TANH,    /* its tanh approximation */
    INTERP_HARD_SWISH,   /* x clip(x/6 + 1/2, 0, 1) */
    INTERP_HARD_SIGMOID, /* clip(alpha x + beta, 0, 1), 0.2 and 0.5 */
    INTERP_RELU6         /* clip(x, 0, 6) */
} interp_activation;

/* y = f(x). alpha 0: the constant beside the name above. */
INTERP_API interp_tensor interp_activate(interp_net *net, interp_tensor x, interp_activation kind,
                                         float alpha);

/* interp_activate with INTERP_RELU. */
INTERP_API interp_tensor interp_relu(interp_net *net, interp_tensor x);

/* Options of interp_batch_norm and interp_layer_norm. */
typedef struct interp_norm_desc {
    float epsilon;    /* 0: 1e-5 */
    float momentum;   /* 0: 0.9; share of the old running statistics kept at each step */
    const char *name; /* NULL: "bn1", "ln1", ... */
} interp_norm_desc;

/* Batch normalisation over N, H, W (Ioffe and Szegedy 2015), with running statistics for use. */
INTERP_API interp_tensor interp_batch_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc);

/* Layer normalisation over the last dimension (Ba et al. 2016). */
INTERP_API interp_tensor interp_layer_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc);

/* Softmax over dimension `axis` (negative: from the end). */
INTERP_API interp_tensor interp_softmax(interp_net *net, interp_tensor x, int axis);

/* Log-softmax over dimension `axis` (negative: from the end). */
INTERP_API interp_tensor interp_log_softmax(interp_net *net, interp_tensor x, int axis);

/* Elementwise with broadcasting from the right, as in NumPy. */
INTERP_API interp_tensor interp_add(interp_net *net, interp_tensor a, interp_tensor b);
/* a - b, as interp_add. */
INTERP_API interp_tensor interp_sub(interp_net *net, interp_tensor a, interp_tensor b);
/* a b, as interp_add. */
INTERP_API interp_tensor interp_mul(interp_net *net, interp_tensor a, interp_tensor b);
/* a / b, as interp_add. */
INTERP_API interp_tensor interp_div(interp_net *net, interp_tensor a, interp_tensor b);

/* A constant of any shape, copied. */
INTERP_API interp_tensor interp_constant(interp_net *net, const interp_shape *shape,
                                         const float *x);

/* A trainable parameter of any shape, drawn by `init` with the given fans. name NULL: "param1". */
INTERP_API interp_tensor interp_parameter(interp_net *net, const char *name,
                                          const interp_shape *shape, interp_init init, int fan_in,
                                          int fan_out);

/* Joins n tensors along `axis`. */
INTERP_API interp_tensor interp_concat(interp_net *net, int n, const interp_tensor *x, int axis);

/* Same numbers, other shape: 0 keeps a dimension, -1 takes what is left. Dimension 0 is the batch. */
INTERP_API interp_tensor interp_reshape(interp_net *net, interp_tensor x,
                                        const interp_shape *shape);

/* [N, everything else]. */
INTERP_API interp_tensor interp_flatten(interp_net *net, interp_tensor x);

/* Dimension i of the result is dimension perm[i] of x; as many entries as x has dimensions. */
INTERP_API interp_tensor interp_transpose(interp_net *net, interp_tensor x, const int *perm);

/* `length` entries of dimension `axis` from `start`; with `drop` and length 1 the dimension goes. */
INTERP_API interp_tensor interp_slice(interp_net *net, interp_tensor x, int axis, int start,
                                      int length, bool drop);

/* In training each number is 0 with probability `p`, and the rest are divided by 1 - p. */
INTERP_API interp_tensor interp_dropout(interp_net *net, interp_tensor x, float p);

/* Matrix product of the last two dimensions; those before broadcast. */
INTERP_API interp_tensor interp_matmul(interp_net *net, interp_tensor a, interp_tensor b);

/* Multi-head self-attention (Vaswani et al. 2017) of x[N,T,D]: four dense layers, softmax of
   q k^T / sqrt(D / heads), built from matmul, softmax and transpose. Errors (kept): BAD_SHAPE when
   heads do not divide D. */
INTERP_API interp_tensor interp_self_attention(interp_net *net, interp_tensor x, int heads);

/* Names a value as the network's output; call again for more. */
INTERP_API void interp_output(interp_net *net, interp_tensor x, const char *name);

/* Ends construction: checks, draws the parameters from `seed`. Returns the first error made while
   building, whose sentence interp_error gives. */
INTERP_API interp_status interp_net_build(interp_net *net, uint64_t seed);

/* A ready network by name: "linear", "mlp:784-100-50-10" (any widths; first and last must fit), "mlp"
   (one hidden layer of 64), "cnn", "lenet", "allcnn", "resnet20", "resnet18", "vgg-half", "mobilenet-v2", "efficientnet-b0".
   sample: shape of one input; n_classes: outputs (logits). Sizes follow the data. Errors:
   BAD_ARGUMENT for an unknown name or widths that do not fit, BAD_SHAPE for inputs too small.
   Test: every_architecture_builds_runs_and_differentiates. */
INTERP_API interp_status interp_net_arch(interp_ctx *ctx, const char *arch,
                                         const interp_shape *sample, int n_classes, uint64_t seed,
                                         interp_net **net);

/* What a network is made of. */
typedef struct interp_net_info {
    int n_nodes, n_inputs, n_outputs;
    size_t n_parameters; /* trainable */
    size_t n_buffers;    /* running statistics and constants */
    double macs;         /* multiply-adds of one sample, forward */
} interp_net_info;

/* Counts. */
INTERP_API interp_net_info interp_net_describe(const interp_net *net);

/* Shape of one sample of input i; dimension 0 of the network, the batch, left out. */
INTERP_API interp_shape interp_net_input_shape(const interp_net *net, int i);

/* Shape of one sample of output i. */
INTERP_API interp_shape interp_net_output_shape(const interp_net *net, int i);

/* Names of input i, output i, node i and of its op. */
INTERP_API const char *interp_net_input_name(const interp_net *net, int i);
/* Name of output i. */
INTERP_API const char *interp_net_output_name(const interp_net *net, int i);
/* Name of node i, in order of execution. */
INTERP_API const char *interp_net_node_name(const interp_net *net, int i);
/* Name of the op of node i, as ONNX has it. */
INTERP_API const char *interp_net_node_op(const interp_net *net, int i);
/* Shape of one sample of what node i gives. */
INTERP_API interp_shape interp_net_node_shape(const interp_net *net, int i);

/* The batch size the network was exported with, 0 when it takes any. */
INTERP_API int interp_net_fixed_batch(const interp_net *net);

/* All trainable parameters in the order they were made, one flat array of n_parameters. */
INTERP_API float *interp_net_parameters(interp_net *net);

/* One trainable parameter. */
typedef struct interp_parameter_info {
    const char *name;
    interp_shape shape;
    size_t offset; /* into interp_net_parameters */
} interp_parameter_info;

/* Number of trainable parameter arrays. */
INTERP_API int interp_net_parameter_count(const interp_net *net);
/* Parameter array i. */
INTERP_API interp_parameter_info interp_net_parameter(const interp_net *net, int i);

/* ---- running */

/* Memory for running a network on batches of one size. */
typedef struct interp_workspace interp_workspace;

/* How ops that differ between use and training behave. */
typedef enum interp_mode {
    INTERP_EVAL,       /* running statistics, no dropout */
    INTERP_TRAIN,      /* batch statistics, which update the running ones; dropout */
    INTERP_BATCH_STATS /* batch statistics, nothing updated, no dropout */
} interp_mode;

/* Options of a workspace. */
typedef struct interp_workspace_desc {
    int batch;          /* 0: 1 */
    interp_mode mode;   /* 0: INTERP_EVAL */
    bool input_grads;   /* false: no gradients of inputs */
    bool param_grads;   /* false: no gradients of parameters */
    const char *output; /* NULL: the first output; name of the value to differentiate */
    const char *keep;   /* NULL: none; name of a node or value whose numbers and gradient to keep */
    bool keep_all;      /* false: memory of values no longer needed is reused */
    uint64_t seed;      /* 0: 0; of dropout, drawn anew by every pass */
    bool constant_weights; /* false: parameters may change between passes; true: they stay, and are
                              laid out for the kernels once, which takes as much memory again */
} interp_workspace_desc;

/* Bytes that a workspace takes from the context, exactly, by running its layout without memory.
   Errors as interp_workspace_new. Test: workspace_bytes_are_exact. */
INTERP_API interp_status interp_workspace_bytes(interp_ctx *ctx, const interp_net *net,
                                                const interp_workspace_desc *desc, size_t *bytes);

/* The largest batch up to `most` whose workspace fits what the context's memory limit leaves;
   desc->batch does not count, a network's fixed batch does. 0 with the error set when not even the
   smallest fits: the sentence says how many bytes would do.
   Test: predict_splits_batches_to_keep_the_memory_limit. */
INTERP_API int interp_workspace_fit(interp_ctx *ctx, const interp_net *net,
                                    const interp_workspace_desc *desc, int most);

/* Makes a workspace on `ctx`, which may be another context than the net's.
   Errors: BAD_ARGUMENT for names that are not there, BAD_SHAPE, NO_MEMORY. */
INTERP_API interp_status interp_workspace_new(interp_ctx *ctx, const interp_net *net,
                                              const interp_workspace_desc *desc,
                                              interp_workspace **workspace);

/* Frees a workspace. NULL is allowed. */
INTERP_API void interp_workspace_free(interp_workspace *workspace);

/* Runs the network forward. inputs: one pointer per input, [batch, sample] each, which must stay
   until the backward pass is done. Allocates nothing. */
INTERP_API interp_status interp_forward(interp_workspace *workspace, const float *const *inputs);

/* Runs backward from the differentiated value. seed: its gradient, [batch, output]. Once after each
   interp_forward, whose numbers it overwrites. Allocates nothing. Errors: BAD_ARGUMENT without a
   forward pass before it. Test: gradients_match_central_differences. */
INTERP_API interp_status interp_backward(interp_workspace *workspace, const float *seed);

/* Numbers of output i after a forward pass: [batch, output]. */
INTERP_API const float *interp_workspace_output(const interp_workspace *workspace, int i);
/* Numbers of the differentiated value. */
INTERP_API const float *interp_workspace_target(const interp_workspace *workspace);
/* Numbers per sample of the differentiated value. */
INTERP_API size_t interp_workspace_target_size(const interp_workspace *workspace);
/* Gradient of input i after a backward pass, NULL without input_grads. */
INTERP_API const float *interp_workspace_input_grad(const interp_workspace *workspace, int i);
/* Gradient of all parameters as one flat array, NULL without param_grads. */
INTERP_API float *interp_workspace_param_grad(const interp_workspace *workspace);
/* Numbers of the value named by `keep`, NULL without. */
INTERP_API const float *interp_workspace_kept(const interp_workspace *workspace);
/* Gradient of the value named by `keep`, NULL without. */
INTERP_API const float *interp_workspace_kept_grad(const interp_workspace *workspace);
/* Shape of the value named by `keep`, batch first. */
INTERP_API interp_shape interp_workspace_kept_shape(const interp_workspace *workspace);

/* Runs samples x[n, input] through a network with one input, in pieces that fit the memory limit;
   y: [n, output]. Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY with the least that would do, NOT_FINITE
   when outputs are NaN or infinite. Test: predict_splits_batches_to_keep_the_memory_limit. */
INTERP_API interp_status interp_predict(interp_net *net, const float *x, int n, float *y);

/* ---- metrics */

/* Counts of what was predicted for what, and the figures that follow from them. 0/0 counts as 0. */
typedef struct interp_confusion {
    int n_classes;
    int64_t *counts;                 /* [K,K]: row truth, column prediction */
    double accuracy;                 /* share on the diagonal */
    double *precision, *recall, *f1; /* [K] */
    int64_t *support;                /* [K]: samples of each class */
    double macro[3], weighted[3];    /* means of precision, recall, f1: plain; by support */
} interp_confusion;

/* Fills a confusion matrix from labels truth[n] and predicted[n], both 0..n_classes-1; its arrays
   belong to the context. Errors: BAD_ARGUMENT for a label out of range. Test:
   confusion_rows_are_truth_and_columns_predictions. */
INTERP_API interp_status interp_confusion_count(interp_ctx *ctx, const int32_t *truth,
                                                const int32_t *predicted, int n, int n_classes,
                                                interp_confusion *out);

/* How a confusion matrix is scaled. */
typedef enum interp_normalize {
    INTERP_NORMALIZE_NONE,
    INTERP_NORMALIZE_TRUE, /* rows sum to 1 */
    INTERP_NORMALIZE_PRED, /* columns sum to 1 */
    INTERP_NORMALIZE_ALL   /* everything sums to 1 */
} interp_normalize;

/* out[K,K] = scaled counts; rows or columns without samples stay 0. */
INTERP_API void interp_confusion_normalize(const interp_confusion *confusion, interp_normalize how,
                                           double *out);

/* Index of the largest of x[n]; the first of equals, -1 when all are NaN. */
INTERP_API int interp_argmax(const float *x, int n);

#if !defined(INTERP_NO_STDIO)
/* Writes counts and the per-class figures as CSV, then their means as rows "macro" and "weighted".
   class_names: NULL: numbers. Test: confusion_is_written_as_csv. */
INTERP_API interp_status interp_confusion_write_csv(interp_ctx *ctx, const char *path,
                                                    const interp_confusion *confusion,
                                                    char *const *class_names);
#endif

#if !defined(INTERP_NO_TRAIN)
/* ---- training */

/* Losses; all are means over the samples of a batch. */
typedef enum interp_loss {
    INTERP_CROSS_ENTROPY, /* softmax cross-entropy of logits with labels or soft labels */
    INTERP_MSE,           /* mean of squares over outputs; labels count as one-hot */
    INTERP_BCE            /* sigmoid cross-entropy, mean over outputs; labels count as one-hot */
} interp_loss;

/* Optimisers. */
typedef enum interp_optimizer {
    INTERP_ADAM,   /* Kingma and Ba 2015 */
    INTERP_ADAMW,  /* Loshchilov and Hutter 2019 */
    INTERP_SGD,    /* with momentum when that is set */
    INTERP_RMSPROP /* Tieleman and Hinton 2012 */
} interp_optimizer;

/* How the learning rate goes over a training. */
typedef enum interp_schedule {
    INTERP_CONSTANT,
    INTERP_STEP_DECAY, /* times `decay` at each epoch of `milestones` */
    INTERP_COSINE,     /* down to 0 over all steps, Loshchilov and Hutter 2017 */
    INTERP_LINEAR      /* straight down to 0 over all steps */
} interp_schedule;

/* Settings of its own for parameters whose name begins with `layer`. */
typedef struct interp_layer_rule {
    const char *layer;   /* start of the parameter names it is about */
    float lr;            /* 0: the training's; times the same schedule */
    float momentum;      /* 0: the training's; negative: none */
    float weight_decay;  /* 0: the training's; negative: none */
    int64_t freeze_from; /* 0: never; else the first step (from 1) at which it no longer learns */
} interp_layer_rule;

/* One line of a training's history. */
typedef struct interp_epoch {
    int epoch;                         /* from 1 */
    double train_loss, train_accuracy; /* mean over the epoch's batches, as trained */
    double val_loss, val_accuracy;     /* NaN without validation data */
    double learning_rate, seconds;
} interp_epoch;

/* Options of training. Random choices come from `seed` alone. */
typedef struct interp_train_desc {
    int epochs;                         /* 0: 10 */
    int batch;                          /* 0: 64 */
    interp_loss loss;                   /* 0: cross-entropy */
    interp_optimizer optimizer;         /* 0: Adam */
    float lr;                           /* 0: 1e-3; SGD: 1e-2 */
    float momentum;                     /* 0: none (SGD, RMSProp) */
    bool nesterov;                      /* false: classical momentum */
    float beta1, beta2;                 /* 0: 0.9 and 0.999; beta2 of RMSProp: 0.99 */
    float epsilon;                      /* 0: 1e-8 */
    float weight_decay;                 /* 0: none; not applied to biases and normalisation */
    bool decay_all;                     /* false: see weight_decay; true: every parameter decays */
    interp_schedule schedule;           /* 0: constant */
    int milestones[8];                  /* 0: none; epochs (from 1) after which step decay acts */
    float decay;                        /* 0: 0.1; factor of step decay */
    int warmup_steps;                   /* 0: none; the rate rises in a straight line */
    float clip_norm;                    /* 0: none; largest norm of the whole gradient */
    float label_smoothing;              /* 0: none */
    const interp_layer_rule *rules;     /* NULL: none */
    int n_rules;                        /* 0: none */
    const interp_augment_desc *augment; /* NULL: none */
    bool no_shuffle;                    /* false: a new order every epoch */
    uint64_t seed;                      /* 0: seed 0; order, augmentation, dropout */
    const interp_dataset *validation;   /* NULL: none */
    int patience;                       /* 0: never stop early; epochs without a better val_loss */
    bool restore_best;     /* false: keep the last; true: end with the best validated */
    interp_epoch *history; /* NULL: none; room for `epochs` lines */
    int (*on_epoch)(const interp_epoch *epoch, bool is_best, void *user); /* NULL: none; else
                                         non-zero ends the training after this epoch */
    void *user;             /* NULL: handed to on_epoch */
    const char *checkpoint; /* NULL: none; file to resume from if it is there, written each epoch;
                               FORMAT when it is of another network, optimizer, seed or data */
} interp_train_desc;

/* What came of a training. */
typedef struct interp_train_result {
    int epochs;     /* run, those of resumed checkpoints included */
    int best_epoch; /* by val_loss (train_loss without validation), from 1 */
    double train_loss, train_accuracy, val_loss, val_accuracy; /* of the last epoch */
    double seconds;
} interp_train_result;

/* Trains a network on a data set. Bit-identical for a seed at any thread count. The progress hook
   is first called when all memory is taken and nothing is changed yet; cancelled later, the network
   keeps the state of its last step.
   result: NULL or filled. Errors: BAD_SHAPE when data and net do not fit, BAD_ARGUMENT, NOT_FINITE
   when the loss is (the parameters keep their last finite state), CANCELLED, IO, NO_MEMORY.
   Tests: training_learns_xor, training_is_bit_identical_at_any_thread_count,
   training_steps_allocate_nothing, training_resumes_bit_identically,
   training_can_be_cancelled_before_and_after_any_step. */
INTERP_API interp_status interp_train(interp_net *net, const interp_dataset *data,
                                      const interp_train_desc *desc, interp_train_result *result);

/* One's own loop: a trainer holds the optimiser's state and a workspace. */
typedef struct interp_trainer interp_trainer;

/* Makes a trainer; `desc` fields about epochs, data and validation do not count. total_steps: for
   schedules, 0 when there are none. */
INTERP_API interp_status interp_trainer_new(interp_net *net, const interp_train_desc *desc,
                                            int64_t total_steps, interp_trainer **trainer);
/* Frees a trainer. NULL is allowed. */
INTERP_API void interp_trainer_free(interp_trainer *trainer);

/* One step on x[n, input], n at most the batch size. y: [n] labels, or NULL with soft: [n, outputs]
   targets. loss, n_right: NULL or the mean loss and how many were classified right, before the
   step. Errors: NOT_FINITE leaves the parameters as they were. Allocates nothing. */
INTERP_API interp_status interp_trainer_step(interp_trainer *trainer, const float *x,
                                             const int32_t *y, const float *soft, int n,
                                             double *loss, int *n_right);

/* Figures of a network on a data set. */
typedef struct interp_evaluation {
    double loss, accuracy; /* means; accuracy is NaN without labels */
    int32_t *predicted;    /* NULL, or [n] where the classes go */
    float *outputs;        /* NULL, or [n, outputs] where the logits go */
} interp_evaluation;

/* Evaluates: set `predicted` and `outputs` to receive them. The progress hook is asked once, when all
   memory is taken. */
INTERP_API interp_status interp_evaluate(interp_net *net, const interp_dataset *data,
                                         interp_loss loss, interp_evaluation *out);

/* Mean loss and its gradient: logits[n,k], labels y[n] or soft[n,k]; grad: NULL or [n,k]; per_sample:
   NULL or [n]. Labels must be 0..k-1. The sum runs in double. */
INTERP_API double interp_loss_grad(interp_ctx *ctx, interp_loss loss, const float *logits, int n,
                                   int k, const int32_t *y, const float *soft, float smoothing,
                                   float *grad, double *per_sample);
#endif

#ifdef __cplusplus
}
#endif
/* >>onnx/onnx.h                                                                               */
/* ---- onnx: models in ONNX, weights in safetensors -------------------------------------------- */

#if !defined(INTERP_NO_ONNX)
#ifdef __cplusplus
extern "C" {
#endif

/* Reads an ONNX model of opset 7 or later from n bytes in memory, which may be freed afterwards.
   Names stay: nodes and values are found by those of the file (a node without a name is OP_INDEX).
   Initialisers used as weights, biases, scales and shifts are trainable, in the order of the file.
   The batch is the first dimension of every input; a model made for batches of one takes any where
   that means the same. Sigmoid times its input becomes Swish, the usual chains become Gelu.
   Errors: FORMAT for damaged input, UNSUPPORTED names node, op and opset, or the external data
   that only a file can have; BAD_SHAPE, NO_MEMORY. Tests: reference_models_give_their_outputs,
   damaged_models_are_refused_and_leak_nothing. */
INTERP_API interp_status interp_onnx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                           interp_net **net);

/* Writes a network as ONNX (opset 17, IR 8) to memory: *bytes, of *n bytes, belong to the context
   of the network; free them with interp_free. The same network gives the same bytes. Ops ONNX has
   no name for become chains of its own. Errors: BAD_ARGUMENT when the network is not built or a
   name is not UTF-8, UNSUPPORTED for what opset 17 cannot say, NO_MEMORY.
   Tests: every_op_survives_the_round_trip, architectures_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_serialize(const interp_net *net, void **bytes, size_t *n);

/* Adds a note (ONNX's metadata_props) to a serialized model, as "classes" with what its outputs are
   called: *bytes, of *n bytes, are replaced by longer ones. Errors: BAD_ARGUMENT when key or text is
   not UTF-8, NO_MEMORY. Test: notes_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_note_add(interp_ctx *ctx, void **bytes, size_t *n,
                                              const char *key, const char *text);

/* The note of that key in a serialized model of n bytes, ended by a 0; free *text with interp_free.
   *text is NULL when there is none, the last one when there are several. Errors: FORMAT for damaged
   input, NO_MEMORY. Test: notes_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_note_find(interp_ctx *ctx, const void *bytes, size_t n,
                                               const char *key, char **text);

#if !defined(INTERP_NO_STDIO)

/* interp_onnx_parse on a file; external data is looked for beside it and nowhere else. Sentences
   of errors begin with the path. Test: external_data_stays_in_the_folder_of_the_model. */
INTERP_API interp_status interp_onnx_load(interp_ctx *ctx, const char *path, interp_net **net);

/* interp_onnx_note_find in a file. */
INTERP_API interp_status interp_onnx_note_read(interp_ctx *ctx, const char *path, const char *key,
                                               char **text);

/* interp_onnx_serialize to a file, which appears whole or not at all. */
INTERP_API interp_status interp_onnx_save(const interp_net *net, const char *path);

/* Writes all parameters and running statistics by name as safetensors.
   Test: weights_survive_the_round_trip. */
INTERP_API interp_status interp_weights_save(const interp_net *net, const char *path);

/* Reads what interp_weights_save wrote, of any element type, into a network of the same names and
   shapes; after an error the network is as it was. Errors: BAD_ARGUMENT names an array that is
   missing or not wanted, BAD_SHAPE one of another shape, FORMAT, IO, NO_MEMORY.
   Test: weights_of_another_network_are_refused. */
INTERP_API interp_status interp_weights_load(interp_net *net, const char *path);

#endif

#ifdef __cplusplus
}
#endif
#endif
/* >>attr/attr.h                                                                               */
/* ---- attr: which inputs an output depends on ---------------------------------------------------- */

#if !defined(INTERP_NO_ATTR)
#ifdef __cplusplus
extern "C" {
#endif

/* Attribution methods. f: the target output, x: the input, x0: the baseline. */
typedef enum interp_method {
    INTERP_SALIENCY,             /* |df/dx|, Simonyan et al. 2013 */
    INTERP_INPUT_X_GRADIENT,     /* x df/dx, Shrikumar et al. 2016 */
    INTERP_INTEGRATED_GRADIENTS, /* (x - x0) times the mean gradient between, Sundararajan 2017 */
    INTERP_SMOOTH_GRAD,          /* mean gradient under noise, Smilkov et al. 2017 */
    INTERP_SMOOTH_GRAD_SQ,       /* mean squared gradient under noise, Hooker et al. 2019 */
    INTERP_VAR_GRAD,             /* variance of the gradient under noise, Adebayo et al. 2018 */
    INTERP_METHOD_COUNT
} interp_method;

/* Name of a method as the command line spells it, for example "integrated_gradients". */
INTERP_API const char *interp_method_name(interp_method method);

/* The method called `name`; INTERP_METHOD_COUNT when there is none. */
INTERP_API interp_method interp_method_from_name(const char *name);

/* Which output is explained. */
typedef enum interp_target {
    INTERP_TARGET_PREDICTED, /* the largest output of each sample */
    INTERP_TARGET_CLASS,     /* output `target` for all */
    INTERP_TARGET_LABELS,    /* output targets[i] for sample i */
    INTERP_TARGET_SUM        /* the sum of all outputs */
} interp_target;

/* Rules of integration between baseline and input. All weights sum to 1. */
typedef enum interp_quadrature {
    INTERP_GAUSS_LEGENDRE,
    INTERP_RIEMANN_LEFT,
    INTERP_RIEMANN_RIGHT,
    INTERP_RIEMANN_MIDDLE,
    INTERP_RIEMANN_TRAPEZOID
} interp_quadrature;

/* Options of interp_attribute. */
typedef struct interp_attribute_desc {
    interp_method method;      /* 0: saliency */
    interp_target target_kind; /* 0: the predicted class */
    int target;             /* 0: output 0 with INTERP_TARGET_CLASS; any other implies that kind */
    const int32_t *targets; /* NULL: none; [n] for INTERP_TARGET_LABELS */
    const float *baseline;  /* NULL: zeros; [n_baselines, input] */
    int n_baselines;        /* 0: 1, for all samples; else n, one for each */
    int n_steps;            /* 0: 50; points of the path of integrated gradients */
    interp_quadrature quadrature; /* 0: Gauss-Legendre */
    bool no_multiply;   /* false: integrated gradients times (x - x0); true: the gradient */
    bool keep_sign;     /* false: saliency is absolute; true: the gradient itself */
    int n_samples;      /* 0: 25; noisy copies of the smooth methods */
    float noise_sd;     /* 0: 0.15 times the range of the sample; sd of the noise */
    const float *noise; /* NULL: drawn; [n, n_samples, input] to be added instead */
    uint64_t seed;      /* 0: seed 0; of the noise */
    int batch;          /* 0: 32, or fewer under a memory limit; passes run at once */
} interp_attribute_desc;

/* What is known of one sample's attribution. */
typedef struct interp_attribution {
    int target;             /* the output explained; -1 for the sum */
    double output;          /* f(x) */
    double baseline_output; /* f(x0) */
    double residual; /* sum of the attribution minus (f(x) - f(x0)); 0 for a complete method */
    int passes;      /* forward and backward passes spent on it */
} interp_attribution;

/* Attributes an output of a network with one input to the numbers of that input.
   x: [n, input]; out: [n, input]; report: NULL or [n]. Memory grows by 16 bytes with each step and
   not at all with n_samples. No softmax is added or taken away: the output is explained as it is.
   Errors: BAD_ARGUMENT (a target out of range, a setting), BAD_SHAPE, NOT_FINITE (input, weights),
   NO_MEMORY with the least that would do, CANCELLED. Guarantee: bit-identical for a seed at any
   thread count and batch. Cost: n_steps or n_samples forward and backward passes a sample.
   Matches captum's Saliency, InputXGradient, IntegratedGradients and NoiseTunnel, with trapezoid
   weights that sum to 1. Tests: integrated_gradients_sum_to_the_output_difference,
   gradient_methods_match_the_references. */
INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report);

/* Bytes interp_attribute takes from the context at most, for n samples.
   Test: attribution_bytes_are_a_bound_independent_of_steps. */
INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes);

/* Kinds of baseline. */
typedef enum interp_baseline_kind {
    INTERP_BASELINE_ZERO,
    INTERP_BASELINE_MEAN, /* mean of each sample, per channel */
    INTERP_BASELINE_MIN,  /* smallest number of all samples */
    INTERP_BASELINE_MAX,  /* largest number of all samples */
    INTERP_BASELINE_BLUR, /* each image under a Gaussian of an eighth of its height */
    INTERP_BASELINE_NOISE /* uniform between the smallest and the largest number */
} interp_baseline_kind;

/* Fills out[n, sample] with baselines for x[n, sample]; sample: shape of one. BLUR needs [C,H,W].
   Test: baselines_are_what_they_say. */
INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out);

/* Abscissae and weights of a rule on [0,1]; both arrays [n]. BAD_ARGUMENT when n is below 1, or 2
   for the trapezoid; CANCELLED, after which the arrays are not defined. Gauss-Legendre takes a fixed
   number of operations for each point. Tests: quadrature_integrates_polynomials,
   many_gauss_legendre_points_match_the_recurrence. */
INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight);

#if !defined(INTERP_NO_TRAIN)
/* Options of interp_canonical. */
typedef struct interp_canonical_desc {
    int steps;       /* 0: 256 */
    float lr;        /* 0: 0.05 of the range; of Adam */
    float low, high; /* 0: both 0 mean 0 and 1; numbers of the input stay within */
    float tv;        /* 0: 0.3; weight of total variation, in units of the margin; negative: none */
    const interp_dataset *like; /* NULL: none; data like which the inputs shall look */
    float
        l2; /* 0: 0.01, or 0.1 with `like`; pull towards `low`, with `like` towards the mean of each
                 number in units of its standard deviation; negative: none */
    int jitter;    /* 0: 1 pixel each step; negative: none */
    uint64_t seed; /* 0: seed 0; of the start and the jitter */
} interp_canonical_desc;

/* An input for each class that the network takes for that class as surely as can be: gradient ascent
   with Adam on the margin of its logit over log sum exp of the others, with clamping, total variation
   and jitter, from noise over the lower half of the range. Without `like` nothing keeps them near what
   the network was trained on, and many look like noise.
   out: [K, input]; probability: NULL or [K], softmax probability of the class reached, without
   jitter. Errors: as interp_attribute; BAD_SHAPE when `like` does not fit. Cost: `steps` passes over a batch of K.
   Paper: Simonyan et al. 2013; Mahendran and Vedaldi 2015. Test:
   canonical_inputs_reach_their_class, canonical_inputs_look_like_the_data. */
INTERP_API interp_status interp_canonical(interp_net *net, const interp_canonical_desc *desc,
                                          float *out, float *probability);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INTERP_NO_ATTR */
/* >>view/view.h                                                                               */
/* ---- view: colour maps, pictures, charts, panels, reports, TensorBoard ----------------------- */

/* The top layer: draws plain arrays and knows no method. Pictures are RGB, 8 bits a channel;
   colours are 0xRRGGBB. Numbers that are NaN or infinite are left out of charts, never an error.
   Text is UTF-8; letters with accents are drawn without, what the font lacks as a box. */

#ifdef __cplusplus
extern "C" {
#endif

/* Every colour map and its name, one list. GRAY runs from black to white, the single-hue maps from
   white to dark, JET, VIRIDIS and MAGMA as everybody knows them; SEISMIC, BWR (blue, white, red)
   and RD_WH_GN (red, white, green) have their neutral colour in the middle; CATEGORY has 12
   colours. */
#define INTERP_COLORMAP_LIST(X)                                                                    \
    X(AUTO, "auto")                                                                                \
    X(VIRIDIS, "viridis")                                                                          \
    X(MAGMA, "magma")                                                                              \
    X(GRAY, "gray")                                                                                \
    X(GREENS, "Greens")                                                                            \
    X(REDS, "Reds")                                                                                \
    X(BLUES, "Blues")                                                                              \
    X(SEISMIC, "seismic")                                                                          \
    X(BWR, "bwr")                                                                                  \
    X(RD_WH_GN, "RdWhGn")                                                                          \
    X(JET, "jet")                                                                                  \
    X(CATEGORY, "category")

/* Colour maps; AUTO (0) is what the picture calls for, viridis where nothing else is said. */
typedef enum interp_colormap {
#define INTERP_COLORMAP_ENUM(name, text) INTERP_COLORMAP_##name,
    INTERP_COLORMAP_LIST(INTERP_COLORMAP_ENUM)
#undef INTERP_COLORMAP_ENUM
        INTERP_COLORMAP_COUNT
} interp_colormap;

/* The colour of `t` in a map, 0 the first and 1 the last of its 256 steps; t outside is clipped,
   NaN is grey. Within 2/255 of matplotlib's tables. Test: colour_maps_match_matplotlib. */
INTERP_API void interp_colormap_rgb(interp_colormap map, double t, uint8_t rgb[3]);

/* The name of a map, for example "viridis"; "?" when there is no such map. */
INTERP_API const char *interp_colormap_name(interp_colormap map);

/* The map of a name, upper or lower case; INTERP_COLORMAP_COUNT when there is none. */
INTERP_API interp_colormap interp_colormap_from_name(const char *name);

/* Colour of class `i` as 0xRRGGBB; from 12 on they come again. Any sign of i is allowed.
   Test: category_colours_are_told_apart. */
INTERP_API uint32_t interp_category_rgb(int i);

/* ---- pictures */

/* A picture; `rgb` belongs to the context. */
typedef struct interp_image {
    int width, height; /* pixels */
    uint8_t *rgb;      /* [height, width, 3] */
} interp_image;

/* Makes a picture filled with one colour. width, height: 1..32768, at most 2^27 pixels.
   Errors: BAD_ARGUMENT, NO_MEMORY. Free with interp_image_free. */
INTERP_API interp_status interp_image_new(interp_ctx *ctx, int width, int height, uint32_t rgb,
                                          interp_image *out);

/* Frees a picture and clears it; an empty one is allowed. */
INTERP_API void interp_image_free(interp_ctx *ctx, interp_image *image);

/* Fills pixels x..x+width-1, y..y+height-1 as far as they are in the picture.
   Test: nothing_is_drawn_outside_the_image. */
INTERP_API void interp_image_rect(interp_image *image, int x, int y, int width, int height,
                                  uint32_t rgb);

/* Draws an anti-aliased line with round ends; whole numbers are pixel centres, `width` is in
   pixels. A line with an end that is not finite is left out. */
INTERP_API void interp_image_line(interp_image *image, double x0, double y0, double x1, double y1,
                                  double width, uint32_t rgb);

/* Draws an anti-aliased disc; whole numbers are pixel centres, `radius` is in pixels. */
INTERP_API void interp_image_disc(interp_image *image, double x, double y, double radius,
                                  uint32_t rgb);

/* How a picture is brought to another size. */
typedef enum interp_resample {
    INTERP_RESAMPLE_PIXELS,  /* crisp pixels when larger, mean of the pixels covered when smaller */
    INTERP_RESAMPLE_BILINEAR /* smooth; meant for enlarging */
} interp_resample;

/* Draws `source` into the rectangle at x, y of width x height pixels, as far as it is in `image`.
   Pictures must not be the same. Test: nearest_and_area_scaling_keep_the_mean. */
INTERP_API void interp_image_blit(interp_image *image, int x, int y, int width, int height,
                                  const interp_image *source, interp_resample how);

/* How text is set; combine with |. */
typedef enum interp_text_flag {
    INTERP_TEXT_LEFT = 0,   /* starts at x */
    INTERP_TEXT_CENTRE = 1, /* is centred on x (on y with INTERP_TEXT_UP) */
    INTERP_TEXT_RIGHT = 2,  /* ends at x */
    INTERP_TEXT_UP = 4,     /* is turned by 90 degrees and read from bottom to top */
    INTERP_TEXT_BOLD = 8    /* has heavier strokes */
} interp_text_flag;

/* Width of a line of text in pixels. size: height of the type in pixels, as in CSS; 4..400. */
INTERP_API int interp_text_width(const char *text, int size, int flags);

/* Draws a line of text in the built-in stroke font. x: start, middle or end, by `flags`; y: the
   middle of the capital letters; with INTERP_TEXT_UP x and y change places. Test:
   font_draws_every_ascii_character_its_own_way. */
INTERP_API void interp_image_text(interp_image *image, int x, int y, int size, int flags,
                                  uint32_t rgb, const char *text);

/* Packs a picture as PNG; `*png` belongs to the context, free it with interp_free. Uses
   stb_image_write (and its malloc) when that was included before interp.h, else a small encoder of
   our own. Errors: NO_MEMORY. Test: png_decodes_to_the_same_pixels. */
INTERP_API interp_status interp_image_png(interp_ctx *ctx, const interp_image *image, uint8_t **png,
                                          size_t *bytes);

#ifndef INTERP_NO_STDIO
/* Writes a picture to a file that appears whole; the name ends in .png or .ppm.
   Errors: BAD_ARGUMENT for another ending, IO, NO_MEMORY. Test: pictures_are_written_whole. */
INTERP_API interp_status interp_image_write(interp_ctx *ctx, const interp_image *image,
                                            const char *path);
#endif

/* ---- attributions over pictures */

/* Which part of the attributions is drawn. */
typedef enum interp_attribution_sign {
    INTERP_SIGN_ALL,      /* -1..1 */
    INTERP_SIGN_POSITIVE, /* 0..1, the rest is 0 */
    INTERP_SIGN_NEGATIVE, /* their absolute value, 0..1 */
    INTERP_SIGN_ABSOLUTE  /* 0..1 */
} interp_attribution_sign;

/* How attributions are drawn. */
typedef enum interp_attribution_draw_method {
    INTERP_DRAW_HEAT_MAP, /* colours alone */
    INTERP_DRAW_BLENDED,  /* colours over the picture in grey */
    INTERP_DRAW_OVERLAY,  /* colours over the picture as it is */
    INTERP_DRAW_MASKED,   /* the picture times the attribution: dark where there is none */
    INTERP_DRAW_ALPHA,    /* the picture, the clearer the more attribution, on white */
    INTERP_DRAW_ORIGINAL  /* the picture alone */
} interp_attribution_draw_method;

/* Normalises attributions for drawing as captum does: sums the channels, keeps the sign asked for,
   and divides by the smallest value whose cumulative sum of sorted magnitudes reaches
   (100 - outlier_percent) % of the total; the result is clipped to -1..1.
   attr: [C,H,W]; out: [H,W]. outlier_percent: 0: 2; negative: 0, that is the largest magnitude.
   All-zero attributions give zeros; sums that are not finite count as zero.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: normalisation_matches_captum. */
INTERP_API interp_status interp_attribution_normalize(interp_ctx *ctx, const float *attr,
                                                      int channels, int height, int width,
                                                      interp_attribution_sign sign,
                                                      float outlier_percent, float *out);

/* Options of interp_attribution_draw. */
typedef struct interp_attribution_draw_desc {
    const float *attr;           /* [channels,height,width]; needed but for INTERP_DRAW_ORIGINAL */
    const float *image;          /* [image_channels,height,width]; NULL: none, only HEAT_MAP goes */
    int channels, height, width; /* of attr; channels 0: 1 */
    int image_channels;          /* 0: as channels; 3 is colour, all else is drawn as mean grey */
    float image_min, image_max; /* equal: 0..1 or 0..255 when the values lie so, else their range */
    interp_attribution_sign sign;          /* 0: all */
    interp_attribution_draw_method method; /* 0: heat map */
    interp_colormap colormap;              /* 0: RdWhGn, Greens, Reds or Blues by sign */
    float outlier_percent; /* 0: 2; negative: none, the largest magnitude is full colour */
    float alpha;           /* 0: 0.5; weight of the heat map in BLENDED and OVERLAY */
    int scale;             /* 0: as many times as bring the longer side to 256 pixels */
    bool smooth;           /* false: crisp pixels; true: bilinear */
    bool colour_bar;       /* false: none; true: at the right, where the method shows colours */
} interp_attribution_draw_desc;

/* Draws attributions, alone or over their picture; free *out with interp_image_free.
   Errors: BAD_ARGUMENT (MASKED and ALPHA need a sign other than ALL, as in captum), NO_MEMORY.
   Tests: heat_maps_match_captum, blends_match_captum, all_zero_attributions_draw_neutral. */
INTERP_API interp_status interp_attribution_draw(interp_ctx *ctx,
                                                 const interp_attribution_draw_desc *desc,
                                                 interp_image *out);

/* ---- charts */

/* What all charts have in common; NULL or zero fields take every default. */
typedef struct interp_chart {
    const char *title;          /* NULL: none */
    const char *x_label;        /* NULL: none */
    const char *y_label;        /* NULL: none */
    const char *right_label;    /* NULL: none; label of the second y axis */
    int width, height;          /* 0: 900 x 560 */
    float scale;                /* 0: 1; 2 draws the same chart with twice the pixels each way */
    float x_min, x_max;         /* equal: from the data */
    float y_min, y_max;         /* equal: from the data */
    float right_min, right_max; /* equal: from the data */
    bool log_y;                 /* false: linear; true: values <= 0 are left out */
    const char *const *x_names; /* NULL: numbers; else names of x = 0, 1, 2, ... */
    int n_x_names;              /* 0: none */
    const float *h_lines;       /* NULL: none; y of horizontal reference lines */
    int n_h_lines;              /* 0: none */
    const float *v_lines;       /* NULL: none; x of vertical reference lines */
    int n_v_lines;              /* 0: none */
    bool no_legend;             /* false: above the plot when a series has a name */
} interp_chart;

/* How a series is drawn. */
typedef enum interp_series_style {
    INTERP_SERIES_LINE,
    INTERP_SERIES_DASHED,
    INTERP_SERIES_DOTTED,
    INTERP_SERIES_POINTS,
    INTERP_SERIES_LINE_POINTS
} interp_series_style;

/* One series of a line or area chart. */
typedef struct interp_series {
    const char *name;          /* NULL: not in the legend */
    const float *x;            /* [n]; NULL: 0, 1, 2, ... */
    const float *y;            /* [n]; NaN leaves a gap */
    int n;                     /* 0: empty */
    uint32_t rgb;              /* 0: the next category colour; 1 is as good as black */
    interp_series_style style; /* 0: line */
    bool right;                /* false: left y axis; true: the second one at the right */
    float line_width;          /* 0: 2 pixels */
} interp_series;

/* Draws a line chart, with a second y axis when a series asks for it. chart: NULL takes defaults.
   series: [n_series]. Free *out with interp_image_free. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: line_charts_put_points_where_the_axes_say. */
INTERP_API interp_status interp_chart_lines(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out);

/* Draws series stacked on each other over the x of the first; NaN and negative values count as 0.
   Series with `right` set are drawn as lines over the areas on the second y axis.
   Errors: BAD_ARGUMENT when stacked series differ in length, NO_MEMORY.
   Test: stacked_areas_add_up. */
INTERP_API interp_status interp_chart_areas(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out);

/* Bars of a bar chart. */
typedef struct interp_bars {
    const float *values;             /* [n_series,n_groups] */
    int n_series, n_groups;          /* n_series 0: 1 */
    const char *const *group_names;  /* [n_groups]; NULL: 0, 1, 2, ... */
    const char *const *series_names; /* [n_series]; NULL: no legend */
    const uint32_t *colours;         /* [n_series]; NULL: category colours */
    bool horizontal;                 /* false: upright; true: groups from top to bottom */
    bool show_values;                /* false: none; true: the number at the end of each bar */
} interp_bars;

/* Draws a grouped bar chart from a common zero line; chart->y_label names the values either way.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: bars_are_as_long_as_their_values. */
INTERP_API interp_status interp_chart_bars(interp_ctx *ctx, const interp_chart *chart,
                                           const interp_bars *bars, interp_image *out);

/* Options of interp_chart_histogram. */
typedef struct interp_histogram {
    const float *values; /* [n]; those that are not finite are left out */
    size_t n;            /* 0: empty */
    int bins;            /* 0: 40; at most 4096 */
    bool align_zero;     /* false: bins over the range; true: 0 is an edge between two bins */
    float percentile;    /* 0: 100; 99 leaves the outer 0.5 % at each end out of the range */
    bool mean_line;      /* false: none; true: a line at the mean, with its value in the legend */
    uint32_t rgb;        /* 0: the first category colour */
} interp_histogram;

/* Counts values into the bins the chart of the same options shows.
   edges: [bins+1]; counts: [bins]. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: histogram_counts_every_value_once. */
INTERP_API interp_status interp_histogram_count(interp_ctx *ctx, const interp_histogram *histogram,
                                                double *edges, size_t *counts);

/* Draws a histogram; chart->log_y makes the counts logarithmic. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: absurd_inputs_draw_something. */
INTERP_API interp_status interp_chart_histogram(interp_ctx *ctx, const interp_chart *chart,
                                                const interp_histogram *histogram,
                                                interp_image *out);

/* Options of interp_chart_matrix. */
typedef struct interp_matrix {
    const float *values;          /* [rows,cols]; NaN is drawn grey */
    int rows, cols;               /* row 0 is on top */
    const char *const *row_names; /* [rows]; NULL: numbers */
    const char *const *col_names; /* [cols]; NULL: numbers */
    interp_colormap colormap;     /* 0: viridis, RdWhGn when symmetric */
    bool symmetric;               /* false: lowest..highest; true: as far below 0 as above */
    float percentile;             /* 0: 100; 99: the colours end at this percentile of |values| when
                                     symmetric, else at it and at its counterpart from below */
    float min, max;               /* equal: from the values; the colours end here */
    bool show_values;             /* false: none; true: numbers in the cells where they fit */
    const char *bar_label;        /* NULL: none; label of the colour bar */
} interp_matrix;

/* Draws a matrix as a heat map with a colour bar; chart->x_min..x_max, when given, number the
   columns. Errors: BAD_ARGUMENT, NO_MEMORY. Test: matrix_cells_have_the_colour_of_their_value. */
INTERP_API interp_status interp_chart_matrix(interp_ctx *ctx, const interp_chart *chart,
                                             const interp_matrix *matrix, interp_image *out);

/* Options of interp_chart_scatter. */
typedef struct interp_scatter {
    const float *points;            /* [n,stride]; the first two columns are x and y */
    int n;                          /* 0: empty */
    int stride;                     /* 0: 2 */
    const int32_t *classes;         /* [n]; NULL: one colour; negative: grey */
    const char *const *class_names; /* [n_classes]; NULL: numbers */
    int n_classes;                  /* 0: largest of classes + 1 */
    const float *values;            /* [n]; NULL: none; else colour by value, with a colour bar */
    interp_colormap colormap;       /* 0: viridis; for values */
    const char *bar_label;          /* NULL: none; label of the colour bar */
    float radius;                   /* 0: by the number of points, 1.5 to 4 pixels */
    bool equal;                     /* false: axes fill the picture; true: same unit both ways */
} interp_scatter;

/* Draws points coloured by class or by value. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: absurd_inputs_draw_something. */
INTERP_API interp_status interp_chart_scatter(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_scatter *scatter, interp_image *out);

/* ---- panels */

/* Which cells of a panel share the range of their colours. */
typedef enum interp_panel_range {
    INTERP_RANGE_CELL, /* each its own */
    INTERP_RANGE_ROW,  /* all of a row */
    INTERP_RANGE_ALL   /* all of the panel */
} interp_panel_range;

/* One cell of a panel; all zero: an empty cell. */
typedef struct interp_panel_cell {
    const float *values;         /* [channels,height,width]; NULL: `image` */
    int channels, height, width; /* channels 0: 1; 3 without a map is colour, else the mean */
    interp_colormap colormap;    /* 0: gray, or colour for 3 channels; diverging ones centre on 0 */
    float min, max;              /* equal: from the values, shared as desc.range says */
    const interp_image *image;   /* NULL: `values`; a finished picture, drawn as it is */
    const char *caption;         /* NULL: none; below the cell */
} interp_panel_cell;

/* Options of interp_panel_draw. */
typedef struct interp_panel_desc {
    const char *title;              /* NULL: none */
    const interp_panel_cell *cells; /* needed; [rows,cols] */
    int rows, cols;                 /* 1..1000 each */
    const char *const *row_labels;  /* [rows]; NULL: none */
    const char *const *col_labels;  /* [cols]; NULL: none */
    int cell_size;            /* 0: 32 to 160 by the number of columns; pixels across a cell */
    interp_panel_range range; /* 0: each cell its own */
    bool colour_bars;         /* false: none; true: beside each row whose cells share a range */
} interp_panel_desc;

/* Draws a grid of small pictures with labels: saliency panels, canonical inputs, learned features.
   Errors: BAD_ARGUMENT, NO_MEMORY. Test: panel_cells_are_right_way_up. */
INTERP_API interp_status interp_panel_draw(interp_ctx *ctx, const interp_panel_desc *desc,
                                           interp_image *out);

/* Options of interp_confusion_draw. */
typedef struct interp_confusion_draw_desc {
    const char *title;     /* NULL: "Confusion matrix" */
    const int64_t *counts; /* needed; [n_classes,n_classes]; row: true class, column: predicted */
    int n_classes;         /* 1..1000; cell numbers are left out where they do not fit */
    const char *const *class_names; /* [n_classes]; NULL: 0, 1, 2, ... */
    interp_colormap colormap;       /* 0: Blues; of each cell's share of its row */
    int cell_size;                  /* 0: by the number of classes; pixels */
} interp_confusion_draw_desc;

/* Draws a confusion matrix: counts, recall, F1 and support at the right of each true class,
   precision below each predicted class, accuracy and macro F1 above. What would be 0/0 is drawn as
   "-". Errors: BAD_ARGUMENT (also for negative counts), NO_MEMORY. Test:
   confusion_picture_has_truth_in_rows. */
INTERP_API interp_status interp_confusion_draw(interp_ctx *ctx,
                                               const interp_confusion_draw_desc *desc,
                                               interp_image *out);

/* ---- reports: one HTML page that opens offline */

/* A page being put together. Errors are kept until interp_report_html or interp_report_end. */
typedef struct interp_report interp_report;

/* Begins a page. subtitle: NULL for none. Errors: BAD_ARGUMENT, NO_MEMORY. */
INTERP_API interp_status interp_report_begin(interp_ctx *ctx, const char *title,
                                             const char *subtitle, interp_report **out);

/* Begins a section. text: NULL for none; blank lines part paragraphs. All text is escaped.
   Test: report_text_is_escaped. */
INTERP_API void interp_report_section(interp_report *report, const char *heading, const char *text);

/* Adds a picture by its path relative to the page; it opens in full when clicked. Pictures that
   follow each other stand side by side. */
INTERP_API void interp_report_picture(interp_report *report, const char *caption, const char *path);

/* Adds a picture into the page itself. */
INTERP_API void interp_report_image(interp_report *report, const char *caption,
                                    const interp_image *image);

/* Adds a table. header: [cols]; cells: [rows,cols], NULL is empty; numbers are set right-aligned.
   */
INTERP_API void interp_report_table(interp_report *report, const char *const *header, int cols,
                                    const char *const *cells, int rows);

/* Adds a link to a file by its path relative to the page. what: NULL or what it holds. */
INTERP_API void interp_report_file(interp_report *report, const char *path, const char *what);

/* Finishes the page; *html belongs to the report and ends with a 0 byte not counted in *bytes.
   Nothing may be added afterwards. Errors: the first one met on the way. */
INTERP_API interp_status interp_report_html(interp_report *report, const char **html,
                                            size_t *bytes);

/* Frees a report that is not to be written; NULL is allowed. */
INTERP_API void interp_report_free(interp_report *report);

#ifndef INTERP_NO_STDIO
/* Finishes the page, writes it to `path` and frees the report, also on errors.
   Errors: the first one met on the way, IO. Test: report_is_one_whole_page. */
INTERP_API interp_status interp_report_end(interp_report *report, const char *path);
#endif

#ifndef INTERP_NO_STDIO
/* ---- TensorBoard: event files and folders for its embedding projector */

/* A run being written: one event file, which TensorBoard may follow meanwhile. */
typedef struct interp_tensorboard interp_tensorboard;

/* Options of interp_tensorboard_open. */
typedef struct interp_tensorboard_desc {
    double wall_time; /* 0: the clock; else seconds since 1970, see interp_tensorboard_time */
    const char *host; /* NULL: "interp"; a part of the file name */
    int pid;          /* 0: 1; a part of the file name */
} interp_tensorboard_desc;

/* Begins a new event file events.out.tfevents.TIME.HOST.PID.UID in folder `dir`, which is made when
   it is not there (on POSIX). UID is the first number that is free, so that no file is ever
   overwritten. desc: NULL takes every default. Errors: BAD_ARGUMENT, IO, NO_MEMORY. Test:
   event_files_never_overwrite_each_other. */
INTERP_API interp_status interp_tensorboard_open(interp_ctx *ctx, const char *dir,
                                                 const interp_tensorboard_desc *desc,
                                                 interp_tensorboard **out);

/* Sets the time of the records to come, in seconds since 1970; 0: the clock. */
INTERP_API void interp_tensorboard_time(interp_tensorboard *tb, double wall_time);

/* Adds a number to the curve `tag`. Errors of all these calls: BAD_ARGUMENT, IO (the file then takes
   no more records), NO_MEMORY; each adds one whole record or none. Tests:
   records_equal_the_reference_bytes, records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_scalar(interp_tensorboard *tb, const char *tag,
                                                   int64_t step, float value);

/* Adds images[n] of one size under `tag`. TensorBoard shows at most 10 steps of a tag unless it is
   started with --samples_per_plugin images=100. Test: records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_image(interp_tensorboard *tb, const char *tag,
                                                  int64_t step, const interp_image *images, int n);

/* Adds the distribution of x[n]. bins: 0: 30; at most 4096. Numbers that are not finite are left
   out. Test: records_read_back_as_written. */
INTERP_API interp_status interp_tensorboard_histogram(interp_tensorboard *tb, const char *tag,
                                                      int64_t step, const float *x, size_t n,
                                                      int bins);

/* Adds a text, which TensorBoard reads as Markdown. */
INTERP_API interp_status interp_tensorboard_text(interp_tensorboard *tb, const char *tag,
                                                 int64_t step, const char *text);

/* Frees a run; every record is in the file already. NULL is allowed. */
INTERP_API void interp_tensorboard_close(interp_tensorboard *tb);

/* What is known of every point: one column of metadata, from the first array that is given. */
typedef struct interp_projector_column {
    const char *name;               /* needed when there are several columns */
    const char *const *texts;       /* [n]; NULL: `classes` */
    const int32_t *classes;         /* [n]; NULL: `values` */
    const char *const *class_names; /* [largest of classes + 1]; NULL: numbers */
    const float *values;            /* [n] */
} interp_projector_column;

/* Options of interp_projector_write. */
typedef struct interp_projector_desc {
    const char *name;                       /* NULL: "embedding" */
    const float *x;                         /* needed; [n,d], finite */
    int n, d;                               /* needed, from 1; points and their dimensions */
    const interp_projector_column *columns; /* NULL: none; to colour and label points by */
    int n_columns;                          /* 0: none */
    const float *images;         /* NULL: none; [n,channels,height,width], shown for the points */
    int channels, height, width; /* 0: 1; of an image; 3 channels are colour */
    interp_colormap colormap;    /* 0: gray; for images without colour */
    float image_min, image_max;  /* equal: 0..1 or 0..255 when all lie so, else their range */
} interp_projector_desc;

/* Writes tensors.tsv, metadata.tsv, sprite.png (a square mosaic of at most 8192 pixels a side, for
   which thumbnails are shrunk) and, last, projector_config.pbtxt to folder `dir`, which is made when
   it is not there (on POSIX). Errors: BAD_ARGUMENT, NOT_FINITE names the point, IO, NO_MEMORY.
   Tests: projector_folder_parses_back, sprites_shrink_to_the_largest_texture. */
INTERP_API interp_status interp_projector_write(interp_ctx *ctx, const char *dir,
                                                const interp_projector_desc *desc);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INTERP_H */

/* ============================ implementation ================================================== */
#if defined(INTERP_IMPLEMENTATION) && !defined(ITP_IMPLEMENTED)
#define ITP_IMPLEMENTED
/* >>base/config.c                                                                             */
/* ---- base/config.c: system headers and compiler differences ---------------------------------- */

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if !defined(INTERP_NO_STDIO) && !defined(_WIN32)
#include <dirent.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#define ITP_HAS_POSIX 1
#endif

#if !defined(INTERP_NO_THREADS)
#if defined(_WIN32) && !defined(__MINGW32__)
#define INTERP_NO_THREADS
#else
#include <pthread.h>
#include <unistd.h>
#endif
#endif

#if defined(__GNUC__) || defined(__clang__)
#define ITP_STATIC   static __attribute__((unused))
#define ITP_COLD     __attribute__((cold))
#define ITP_INLINE   static inline __attribute__((unused, always_inline))
#define ITP_RESTRICT __restrict__
#define ITP_ALIGN(n) __attribute__((aligned(n)))
#else
#define ITP_STATIC static
#define ITP_COLD
#define ITP_INLINE   static inline
#define ITP_RESTRICT __restrict
#define ITP_ALIGN(n) __declspec(align(n))
#endif

/* What every private function begins with. Where the spine sets ITP_HEAT to ITP_COLD, functions are
   compiled for size: all that is not arithmetic gains nothing from speed, and costs less to compile. */
#define ITP_HEAT
#define ITP_FN ITP_STATIC ITP_HEAT
#if defined(INTERP_STATIC)
#undef INTERP_API
#define INTERP_API ITP_STATIC ITP_HEAT
#elif defined(ITP_OWN_API)
#undef INTERP_API
#define INTERP_API extern ITP_HEAT
#endif

#if defined(__cplusplus)
#define ITP_STATIC_ASSERT(c, text) static_assert(c, text)
#else
#define ITP_STATIC_ASSERT(c, text) _Static_assert(c, text)
#endif

/* Our own mistakes only; never for what a caller or a file may say. */
#if defined(INTERP_ASSERT)
#define ITP_ASSERT(c) INTERP_ASSERT(c)
#else
#define ITP_ASSERT(c) ((void)0)
#endif

/* Returns from the calling function with the status when it is an error. */
#define ITP_TRY(call)                                                                              \
    do {                                                                                           \
        interp_status itp_status_ = (call);                                                        \
        if (itp_status_ != INTERP_OK) return itp_status_;                                          \
    } while (0)

#define ITP_CACHE_LINE 64

ITP_INLINE int itp_min(int a, int b)
{
    return a < b ? a : b;
}

ITP_INLINE int itp_max(int a, int b)
{
    return a > b ? a : b;
}

ITP_INLINE double itp_min_double(double a, double b)
{
    return a < b ? a : b;
}

ITP_INLINE size_t itp_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

ITP_INLINE size_t itp_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* a * b, or SIZE_MAX when it does not fit: no allocation of that size can succeed. */
ITP_INLINE size_t itp_mul_size(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

ITP_INLINE size_t itp_add_size(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

ITP_INLINE size_t itp_round_up(size_t n, size_t to)
{
    return n > SIZE_MAX - to ? SIZE_MAX : (n + to - 1) / to * to;
}

ITP_INLINE int itp_div_up(int a, int b)
{
    return (a + b - 1) / b;
}

ITP_FN void itp_fill(float *x, size_t n, float value)
{
    for (size_t i = 0; i < n; i++) x[i] = value;
}

ITP_FN bool itp_is_finite(const float *x, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++) s += x[i] * 0; /* NaN and infinity leave NaN behind */
    return s == 0;
}
#ifdef __cplusplus
extern "C" {
#endif
/* >>base/ctx.c                                                                                */
/* ---- base/ctx.c: the context, its memory and its errors -------------------------------------- */

#define ITP_ERROR_BYTES 512

/* In front of every block; the blocks of a context form a list so that close frees them all. */
typedef struct itp_block {
    struct itp_block *prev, *next;
    size_t bytes; /* of the whole block, header included */
} itp_block;

#define ITP_HEADER_BYTES ((size_t)ITP_CACHE_LINE)
ITP_STATIC_ASSERT(sizeof(itp_block) <= 64, "the block header fills one cache line");

/* A free run inside a user buffer, kept in address order. */
typedef struct itp_hole {
    struct itp_hole *next;
    size_t bytes;
} itp_hole;

typedef struct itp_pool itp_pool;
typedef struct itp_kernels itp_kernels;

struct interp_ctx {
    interp_desc desc;
    interp_memory memory;
    itp_block *blocks;
    itp_hole *holes; /* user buffer only */
    const itp_kernels *k;
    itp_pool *pool;
    int slots;      /* how many of a parallel job's slots run at once */
    float *scratch; /* see itp_ctx_scratch */
    size_t scratch_floats;
    interp_status status;
    char error[ITP_ERROR_BYTES];
};

ITP_FN int itp_format_v(char *out, size_t size, const char *format, va_list args)
{
    int n = vsnprintf(out, size, format, args);
    return n < 0 ? 0 : n;
}

INTERP_API const char *interp_version(void)
{
    return "0.1.0";
}

INTERP_API const char *interp_status_name(interp_status status)
{
    static const char *const names[] = {
#define ITP_STATUS_NAME(name, text) #name,
        INTERP_STATUS_LIST(ITP_STATUS_NAME)
#undef ITP_STATUS_NAME
    };
    return (unsigned)status < INTERP_STATUS_COUNT ? names[status] : "?";
}

ITP_FN const char *itp_status_text(interp_status status)
{
    static const char *const texts[] = {
#define ITP_STATUS_TEXT(name, text) text,
        INTERP_STATUS_LIST(ITP_STATUS_TEXT)
#undef ITP_STATUS_TEXT
    };
    return (unsigned)status < INTERP_STATUS_COUNT ? texts[status] : "?";
}

INTERP_API interp_status interp_fail(interp_ctx *ctx, interp_status status, const char *format, ...)
{
    if (!ctx) return status;
    ctx->status = status;
    char text[ITP_ERROR_BYTES]; /* the arguments may point into ctx->error */
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format ? format : itp_status_text(status), args);
    va_end(args);
    memcpy(ctx->error, text, sizeof text);
    return status;
}

#define itp_fail interp_fail

INTERP_API const char *interp_error(const interp_ctx *ctx)
{
    return ctx ? ctx->error : "there is no context: interp_open failed";
}

INTERP_API interp_status interp_last_status(const interp_ctx *ctx)
{
    return ctx ? ctx->status : INTERP_NO_MEMORY;
}

INTERP_API void interp_clear_error(interp_ctx *ctx)
{
    ctx->status = INTERP_OK;
    ctx->error[0] = 0;
}

ITP_FN void itp_warn(interp_ctx *ctx, const char *format, ...) INTERP_PRINTF(2, 3);
ITP_FN void itp_warn(interp_ctx *ctx, const char *format, ...)
{
    if (!ctx->desc.log) return;
    char text[ITP_ERROR_BYTES];
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format, args);
    va_end(args);
    ctx->desc.log(INTERP_OK, text, ctx->desc.user);
}

/* CANCELLED when the hook says so. */
ITP_FN interp_status itp_progress(interp_ctx *ctx, const char *stage, double done, double total,
                                  double value)
{
    if (!ctx->desc.progress) return INTERP_OK;
    interp_progress p;
    p.stage = stage;
    p.done = done;
    p.total = total;
    p.value = value;
    if (ctx->desc.progress(&p, ctx->desc.user) == 0) return INTERP_OK;
    return itp_fail(ctx, INTERP_CANCELLED, "%s was cancelled", stage);
}

/* ---- raw memory: malloc, the user's allocator, or first fit in the user's buffer */

ITP_FN void *itp_heap_alloc(size_t bytes, size_t align, void *user)
{
    (void)user;
#if defined(INTERP_NO_MALLOC)
    (void)bytes, (void)align;
    return NULL;
#elif defined(_WIN32)
    return _aligned_malloc(bytes, align);
#else
    return aligned_alloc(align, bytes); /* our sizes are multiples of the alignment */
#endif
}

ITP_FN void itp_heap_free(void *p, size_t bytes, void *user)
{
    (void)bytes, (void)user;
#if defined(INTERP_NO_MALLOC)
    (void)p;
#elif defined(_WIN32)
    _aligned_free(p);
#else
    free(p);
#endif
}

/* `bytes` is a multiple of the cache line, so holes stay aligned and can carry their header. */
ITP_FN void *itp_hole_take(interp_ctx *ctx, size_t bytes)
{
    for (itp_hole **at = &ctx->holes; *at; at = &(*at)->next) {
        itp_hole *hole = *at;
        if (hole->bytes < bytes) continue;
        if (hole->bytes == bytes) {
            *at = hole->next;
        } else {
            itp_hole *rest = (itp_hole *)(void *)((char *)hole + bytes);
            rest->next = hole->next;
            rest->bytes = hole->bytes - bytes;
            *at = rest;
        }
        return hole;
    }
    return NULL;
}

ITP_FN void itp_hole_give(interp_ctx *ctx, void *p, size_t bytes)
{
    itp_hole *hole = (itp_hole *)p, *before = NULL, *after = ctx->holes;
    while (after && after < hole) before = after, after = after->next;
    hole->bytes = bytes;
    hole->next = after;
    if (before) before->next = hole;
    else ctx->holes = hole;
    if (after && (char *)hole + hole->bytes == (char *)after) {
        hole->bytes += after->bytes;
        hole->next = after->next;
    }
    if (before && (char *)before + before->bytes == (char *)hole) {
        before->bytes += hole->bytes;
        before->next = hole->next;
    }
}

ITP_FN interp_status itp_no_memory(interp_ctx *ctx, size_t bytes)
{
    if (ctx->memory.limit)
        return itp_fail(ctx, INTERP_NO_MEMORY,
                        "%zu bytes are needed on top of the %zu in use, but the limit is %zu",
                        bytes, ctx->memory.used, ctx->memory.limit);
    return itp_fail(ctx, INTERP_NO_MEMORY, "%zu bytes could not be allocated (%zu are in use)",
                    bytes, ctx->memory.used);
}

INTERP_API void *interp_alloc(interp_ctx *ctx, size_t bytes)
{
    size_t need = itp_round_up(itp_add_size(bytes, ITP_HEADER_BYTES), ITP_CACHE_LINE);
    const size_t limit = ctx->memory.limit ? ctx->memory.limit : SIZE_MAX / 2;
    itp_block *b = NULL;
    if (need <= limit && ctx->memory.used <= limit - need) {
        ctx->memory.allocations++;
        if (ctx->desc.buffer) b = (itp_block *)itp_hole_take(ctx, need);
        else
            b = (itp_block *)ctx->desc.allocator.alloc(need, ITP_CACHE_LINE,
                                                       ctx->desc.allocator.user);
    }
    if (!b) {
        itp_no_memory(ctx, need);
        return NULL;
    }
    b->bytes = need;
    b->prev = NULL;
    b->next = ctx->blocks;
    if (b->next) b->next->prev = b;
    ctx->blocks = b;
    ctx->memory.used += need;
    ctx->memory.peak = itp_max_size(ctx->memory.peak, ctx->memory.used);
    return (char *)b + ITP_HEADER_BYTES;
}

INTERP_API void interp_free(interp_ctx *ctx, void *p)
{
    if (!p) return;
    itp_block *b = (itp_block *)(void *)((char *)p - ITP_HEADER_BYTES);
    if (b->next) b->next->prev = b->prev;
    if (b->prev) b->prev->next = b->next;
    else ctx->blocks = b->next;
    ctx->memory.used -= b->bytes;
    if (ctx->desc.buffer) itp_hole_give(ctx, b, b->bytes);
    else ctx->desc.allocator.free(b, b->bytes, ctx->desc.allocator.user);
}

/* Zeroed memory for `n` things of `size` bytes. */
ITP_FN void *itp_calloc(interp_ctx *ctx, size_t n, size_t size)
{
    const size_t bytes = itp_mul_size(n, size);
    void *p = interp_alloc(ctx, bytes);
    if (p) memset(p, 0, bytes);
    return p;
}

ITP_FN char *itp_strdup(interp_ctx *ctx, const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = (char *)interp_alloc(ctx, n);
    if (p) memcpy(p, s, n);
    return p;
}

/* What interp_alloc takes for `bytes`, for exact sums. */
ITP_FN size_t itp_alloc_cost(size_t bytes)
{
    return itp_round_up(itp_add_size(bytes, ITP_HEADER_BYTES), ITP_CACHE_LINE);
}

/* The most that one block may take now, header included; SIZE_MAX when nothing is known. */
ITP_FN size_t itp_memory_left(const interp_ctx *ctx)
{
    size_t left = SIZE_MAX, largest = 0;
    if (ctx->memory.limit)
        left = ctx->memory.limit > ctx->memory.used ? ctx->memory.limit - ctx->memory.used : 0;
    for (const itp_hole *hole = ctx->holes; hole; hole = hole->next)
        largest = itp_max_size(largest, hole->bytes);
    return ctx->desc.buffer ? itp_min_size(left, largest) : left;
}

INTERP_API interp_memory interp_memory_read(const interp_ctx *ctx)
{
    return ctx->memory;
}

INTERP_API void interp_memory_set_limit(interp_ctx *ctx, size_t bytes)
{
    ctx->memory.limit = bytes;
}

/* ---- arena: one block carved up; the same code on a counting arena gives the exact size */

typedef struct itp_arena {
    char *base; /* NULL: only count */
    size_t used;
} itp_arena;

ITP_FN void *itp_arena_alloc(itp_arena *a, size_t bytes)
{
    const size_t at = a->used;
    a->used = itp_add_size(a->used, itp_round_up(bytes, ITP_CACHE_LINE));
    return a->base ? a->base + at : NULL;
}

ITP_FN float *itp_arena_floats(itp_arena *a, size_t n)
{
    return (float *)itp_arena_alloc(a, itp_mul_size(n, sizeof(float)));
}

/* ---- growable array */

/* Makes room for one more element; `*items` is a pointer to the array, `size` that of an element. */
ITP_FN interp_status itp_grow(interp_ctx *ctx, void *items, int n, int *capacity, size_t size)
{
    if (n < *capacity) return INTERP_OK;
    const int want = *capacity ? *capacity * 2 : 16;
    void *old;
    memcpy(&old, items, sizeof old);
    char *p = (char *)interp_alloc(ctx, itp_mul_size((size_t)want, size));
    if (!p) return INTERP_NO_MEMORY;
    if (old) memcpy(p, old, (size_t)n * size);
    memset(p + (size_t)n * size, 0, (size_t)(want - n) * size);
    interp_free(ctx, old);
    memcpy(items, &p, sizeof p);
    *capacity = want;
    return INTERP_OK;
}

/* ---- shapes */

INTERP_API size_t interp_shape_size(const interp_shape *shape)
{
    size_t n = 1;
    for (int i = 0; i < shape->rank; i++) n = itp_mul_size(n, (size_t)shape->dim[i]);
    return n;
}

/* "[64,3,8,8]" into a caller's buffer, which is returned. */
ITP_FN const char *itp_shape_text(const interp_shape *s, char *out, size_t size)
{
    size_t at = 0;
    for (int i = 0; i < s->rank && at + 16 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%d", i ? "," : "[", s->dim[i]);
    snprintf(out + at, size - at, "%s", s->rank ? "]" : "[]");
    return out;
}

ITP_FN bool itp_shape_equal(const interp_shape *a, const interp_shape *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

/* Seconds on a wall clock, for rates and histories. */
ITP_FN double itp_seconds(void)
{
    struct timespec t;
    if (timespec_get(&t, TIME_UTC) != TIME_UTC) return 0;
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
/* >>base/random.c                                                                             */
/* ---- base/random.c: Philox4x32-10 ------------------------------------------------------------ */

ITP_FN void itp_philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)(block >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* golden ratio and sqrt(3)-1, the paper's Weyl constants */
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

INTERP_API uint32_t interp_random_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    itp_philox(seed, stream, index >> 2, r);
    return r[index & 3];
}

ITP_INLINE float itp_unit(uint32_t r)
{
    return (float)(r >> 8) * (1.0f / 16777216.0f);
}

INTERP_API float interp_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return itp_unit(interp_random_u32(seed, stream, index));
}

INTERP_API float interp_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    itp_philox(seed, stream, index >> 1, r);
    const uint32_t *pair = r + 2 * (index & 1);
    const double u = ((double)pair[0] + 1) / 4294967296.0, v = (double)pair[1] / 4294967296.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

/* Uniform in [0, n) without bias worth noticing (n far below 2^32). */
ITP_INLINE uint32_t itp_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint32_t n)
{
    return (uint32_t)(((uint64_t)interp_random_u32(seed, stream, index) * n) >> 32);
}

/* Fisher-Yates. */
ITP_FN void itp_shuffle(int *items, int n, uint64_t seed, uint64_t stream)
{
    for (int i = n - 1; i > 0; i--) {
        const int j = (int)itp_random_below(seed, stream, (uint64_t)i, (uint32_t)i + 1);
        const int t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}
/* >>base/threads.c                                                                            */
/* ---- base/threads.c: a pool that runs numbered tasks ----------------------------------------- */

/* A job is `n` tasks; each is computed whole by one thread and writes its own outputs, so results
   do not depend on who takes which. `slot` numbers the threads taking part, for scratch memory. */
typedef void (*itp_task_fn)(void *arg, int task, int slot);

typedef struct itp_job {
    itp_task_fn fn;
    void *arg;
    int n;
    int next; /* atomic: the first task nobody has taken */
} itp_job;

#if defined(__GNUC__) || defined(__clang__)
#define ITP_ATOMIC_ADD(p, v)   __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define ITP_ATOMIC_LOAD(p)     __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define ITP_ATOMIC_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#else
#define ITP_ATOMIC_ADD(p, v)   ((*(p) += (v)) - (v))
#define ITP_ATOMIC_LOAD(p)     (*(p))
#define ITP_ATOMIC_STORE(p, v) (*(p) = (v))
#endif

ITP_FN void itp_job_run(void *arg, int slot)
{
    itp_job *job = (itp_job *)arg;
    for (;;) {
        const int task = ITP_ATOMIC_ADD(&job->next, 1);
        if (task >= job->n) return;
        job->fn(job->arg, task, slot);
    }
}

#if !defined(INTERP_NO_THREADS)

#define ITP_MAX_THREADS 256
#define ITP_SPIN        4000 /* about 20 us: longer than the gap between two ops of a net */

typedef struct itp_worker {
    itp_pool *pool;
    pthread_t thread;
    int slot;
} itp_worker;

/* One job at a time. `ticket` holds its number and the next task nobody has taken; to take a task is
   to raise it, which fails once another job has come, so a worker that was asleep through a whole job
   neither holds anybody up nor touches what is gone. */
struct itp_pool {
    uint64_t ticket; /* atomic: job number << 32 | next task */
    itp_task_fn fn;  /* atomic, as are arg and n: read before a task is taken, right if it is */
    void *arg;
    int n;
    int done;     /* atomic: tasks finished */
    int sleeping; /* under the lock */
    bool stop;    /* atomic */
    int n_workers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    itp_worker workers[ITP_MAX_THREADS];
};

#define ITP_TICKET_CLOSED 0xFFFFFFFFu /* as next task: fn, arg and n are being changed */

ITP_INLINE void itp_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes tasks of the job at hand until there are none. */
ITP_FN void itp_pool_work(itp_pool *pool, int slot)
{
    for (;;) {
        uint64_t ticket = ITP_ATOMIC_LOAD(&pool->ticket);
        const uint32_t task = (uint32_t)ticket;
        const itp_task_fn fn = ITP_ATOMIC_LOAD(&pool->fn);
        void *arg = ITP_ATOMIC_LOAD(&pool->arg);
        if (task == ITP_TICKET_CLOSED || task >= (uint32_t)ITP_ATOMIC_LOAD(&pool->n)) return;
        if (!__atomic_compare_exchange_n(&pool->ticket, &ticket, ticket + 1, false,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            continue;
        fn(arg, (int)task, slot);
        ITP_ATOMIC_ADD(&pool->done, 1);
    }
}

ITP_FN uint32_t itp_pool_current(itp_pool *pool)
{
    return (uint32_t)(ITP_ATOMIC_LOAD(&pool->ticket) >> 32);
}

ITP_FN void *itp_worker_main(void *arg)
{
    itp_worker *w = (itp_worker *)arg;
    itp_pool *pool = w->pool;
    uint32_t seen = 0;
    for (;;) {
        int spins = 0;
        while (itp_pool_current(pool) == seen && spins < ITP_SPIN) spins++, itp_pause();
        if (itp_pool_current(pool) == seen) {
            pthread_mutex_lock(&pool->lock);
            pool->sleeping++;
            while (itp_pool_current(pool) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
            pool->sleeping--;
            pthread_mutex_unlock(&pool->lock);
        }
        seen = itp_pool_current(pool);
        if (ITP_ATOMIC_LOAD(&pool->stop)) return NULL;
        itp_pool_work(pool, w->slot);
    }
}

/* Publishes a job. The ticket is closed first, so that nobody pairs an old number with new fields. */
ITP_FN void itp_pool_start(itp_pool *pool, itp_task_fn fn, void *arg, int n)
{
    const uint64_t job = (uint64_t)itp_pool_current(pool) << 32;
    ITP_ATOMIC_STORE(&pool->ticket, job | ITP_TICKET_CLOSED);
    ITP_ATOMIC_STORE(&pool->fn, fn);
    ITP_ATOMIC_STORE(&pool->arg, arg);
    ITP_ATOMIC_STORE(&pool->n, n);
    ITP_ATOMIC_STORE(&pool->done, 0);
    pthread_mutex_lock(&pool->lock);
    ITP_ATOMIC_STORE(&pool->ticket, job + ((uint64_t)1 << 32));
    if (pool->sleeping) pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

ITP_FN void itp_pool_execute(itp_pool *pool, itp_task_fn fn, void *arg, int n)
{
    int spins = 0;
    itp_pool_start(pool, fn, arg, n);
    itp_pool_work(pool, 0);
    while (ITP_ATOMIC_LOAD(&pool->done) < n) {
        itp_pause();
        if (++spins > 1000) spins = 0, sched_yield(); /* more threads than cores */
    }
}

ITP_FN void itp_nothing(void *arg, int task, int slot)
{
    (void)arg, (void)task, (void)slot;
}

ITP_FN void itp_pool_close(interp_ctx *ctx)
{
    itp_pool *pool = ctx->pool;
    if (!pool) return;
    ITP_ATOMIC_STORE(&pool->stop, true);
    itp_pool_start(pool, itp_nothing, NULL, 0);
    for (int i = 0; i < pool->n_workers; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    interp_free(ctx, pool);
    ctx->pool = NULL;
}

ITP_FN bool itp_pool_open(interp_ctx *ctx, int threads)
{
    threads = itp_min(threads, ITP_MAX_THREADS);
    ctx->slots = 1;
    if (threads < 2) return true;
    itp_pool *pool = (itp_pool *)itp_calloc(ctx, 1, sizeof *pool);
    if (!pool) return false;
    ctx->pool = pool;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int i = 0; i + 1 < threads; i++) {
        itp_worker *w = &pool->workers[i];
        w->pool = pool;
        w->slot = i + 1;
        if (pthread_create(&w->thread, NULL, itp_worker_main, w)) break; /* fewer will do */
        pool->n_workers++;
    }
    ctx->slots = pool->n_workers + 1;
    return true;
}

ITP_FN int itp_cores(void)
{
#if defined(_SC_NPROCESSORS_ONLN)
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > ITP_MAX_THREADS ? ITP_MAX_THREADS : (int)n;
#else
    return 1;
#endif
}

#else

ITP_FN void itp_pool_close(interp_ctx *ctx)
{
    (void)ctx;
}

ITP_FN bool itp_pool_open(interp_ctx *ctx, int threads)
{
    (void)threads;
    ctx->slots = 1;
    return true;
}

ITP_FN int itp_cores(void)
{
    return 1;
}

#endif

/* Runs tasks 0..n-1. `work` is a rough count of operations in all: small jobs stay on the caller,
   since waking a thread costs more than they do. */
ITP_FN void itp_parallel(interp_ctx *ctx, int n, double work, itp_task_fn fn, void *arg)
{
    itp_job job;
    job.fn = fn;
    job.arg = arg;
    job.n = n;
    job.next = 0;
    if (n < 2 || ctx->slots < 2 || work < 200000) {
        itp_job_run(&job, 0);
    } else if (ctx->desc.parallel_for) {
        ctx->desc.parallel_for(itp_job_run, itp_min(n, ctx->slots), &job, ctx->desc.user);
    } else {
#if !defined(INTERP_NO_THREADS)
        itp_pool_execute(ctx->pool, fn, arg, n);
#endif
    }
}
/* >>base/buffer.c                                                                             */
/* ---- base/buffer.c: growing byte buffers, whole files in and out ----------------------------- */

/* Bytes being put together; the first failure is kept and makes later calls do nothing. */
typedef struct itp_buf {
    interp_ctx *ctx;
    char *data; /* always followed by a 0 byte once anything was added */
    size_t n, capacity;
    interp_status status;
} itp_buf;

ITP_FN itp_buf itp_buf_new(interp_ctx *ctx)
{
    itp_buf b;
    memset(&b, 0, sizeof b);
    b.ctx = ctx;
    return b;
}

ITP_FN void itp_buf_free(itp_buf *b)
{
    interp_free(b->ctx, b->data);
    b->data = NULL;
    b->n = b->capacity = 0;
}

ITP_FN bool itp_buf_reserve(itp_buf *b, size_t more)
{
    if (b->status) return false;
    const size_t need = itp_add_size(itp_add_size(b->n, more), 1);
    if (need <= b->capacity) return true;
    const size_t want = itp_max_size(need, itp_max_size(256, itp_mul_size(b->capacity, 2)));
    char *p = (char *)interp_alloc(b->ctx, want);
    if (!p) {
        b->status = INTERP_NO_MEMORY;
        return false;
    }
    if (b->n) memcpy(p, b->data, b->n);
    interp_free(b->ctx, b->data);
    b->data = p;
    b->capacity = want;
    return true;
}

ITP_FN void itp_buf_add(itp_buf *b, const void *data, size_t n)
{
    if (!itp_buf_reserve(b, n)) return;
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
    b->data[b->n] = 0;
}

ITP_FN void itp_buf_str(itp_buf *b, const char *s)
{
    itp_buf_add(b, s, strlen(s));
}

ITP_FN void itp_buf_byte(itp_buf *b, int c)
{
    const char byte = (char)c;
    itp_buf_add(b, &byte, 1);
}

ITP_FN void itp_buf_printf(itp_buf *b, const char *format, ...) INTERP_PRINTF(2, 3);
ITP_FN void itp_buf_printf(itp_buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !itp_buf_reserve(b, (size_t)n)) return;
    va_start(args, format);
    vsnprintf(b->data + b->n, (size_t)n + 1, format, args);
    va_end(args);
    b->n += (size_t)n;
}

/* The shortest of %.6g .. %.9g that reads back as the same float, with a point in any locale;
   NaN and infinity as "nan", "inf", "-inf". */
ITP_FN const char *itp_float_text(double x, char out[32])
{
    if (x != x) return "nan";
    if (x > (double)FLT_MAX) return "inf";
    if (x < -(double)FLT_MAX) return "-inf";
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(out, 32, "%.*g", digits, x);
        if ((float)strtod(out, NULL) == (float)x) break;
    }
    for (char *c = out; *c; c++)
        if (*c == ',') *c = '.';
    return out;
}

ITP_FN void itp_buf_float(itp_buf *b, double x)
{
    char text[32];
    itp_buf_str(b, itp_float_text(x, text));
}

#if !defined(INTERP_NO_STDIO)

/* Reads a file whole; the caller frees *data. One byte of 0 follows the end. */
ITP_FN interp_status itp_file_read(interp_ctx *ctx, const char *path, char **data, size_t *n)
{
    *data = NULL;
    *n = 0;
#if defined(ITP_HAS_POSIX)
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return itp_fail(ctx, INTERP_IO, "%s: this is not a regular file", path);
#endif
    FILE *f = fopen(path, "rb");
    if (!f) return itp_fail(ctx, INTERP_IO, "%s: %s", path, strerror(errno));
    long size = -1;
    if (fseek(f, 0, SEEK_END) == 0) size = ftell(f);
    if (size < 0 || fseek(f, 0, SEEK_SET)) {
        fclose(f);
        return itp_fail(ctx, INTERP_IO, "%s: %s", path, strerror(errno));
    }
    char *p = (char *)interp_alloc(ctx, (size_t)size + 1);
    if (!p) {
        fclose(f);
        return INTERP_NO_MEMORY;
    }
    const size_t got = fread(p, 1, (size_t)size, f);
    const bool bad = got != (size_t)size || ferror(f);
    fclose(f);
    if (bad) {
        interp_free(ctx, p);
        return itp_fail(ctx, INTERP_IO, "%s: only %zu of %ld bytes could be read", path, got, size);
    }
    p[size] = 0;
    *data = p;
    *n = (size_t)size;
    return INTERP_OK;
}

/* Writes a file whole: beside its place first, then renamed, so that no half file is ever seen. */
ITP_FN interp_status itp_file_write(interp_ctx *ctx, const char *path, const void *data, size_t n)
{
    const size_t length = strlen(path);
    char *part = (char *)interp_alloc(ctx, length + 8);
    if (!part) return INTERP_NO_MEMORY;
    memcpy(part, path, length);
    memcpy(part + length, ".part~", 7);
    FILE *f = fopen(part, "wb");
    bool ok = f && (n == 0 || fwrite(data, 1, n, f) == n);
    if (f && fclose(f)) ok = false;
    if (ok && rename(part, path)) ok = false;
    interp_status status = INTERP_OK;
    if (!ok) {
        status = itp_fail(ctx, INTERP_IO, "%s: could not be written: %s", path, strerror(errno));
        if (f) remove(part);
    }
    interp_free(ctx, part);
    return status;
}

/* Writes the buffer to a file and frees it. */
ITP_FN interp_status itp_buf_write(itp_buf *b, const char *path)
{
    interp_status status = b->status;
    if (!status) status = itp_file_write(b->ctx, path, b->data ? b->data : "", b->n);
    itp_buf_free(b);
    return status;
}

#endif
/* >>simd/dispatch.c                                                                           */
/* ---- simd/dispatch.c: one kernel table per instruction set, chosen at run time ---------------- */

/* Elementwise functions of one argument; a and b are their constants. */
typedef enum itp_unary {
    ITP_RELU,
    ITP_LEAKY_RELU, /* a: slope below 0 */
    ITP_ELU,        /* a */
    ITP_SELU,
    ITP_SOFTPLUS,
    ITP_SIGMOID,
    ITP_TANH,
    ITP_SILU,
    ITP_GELU,
    ITP_GELU_TANH,
    ITP_HARD_SWISH,
    ITP_HARD_SIGMOID, /* clip(a x + b, 0, 1) */
    ITP_EXP,
    ITP_LOG,
    ITP_SQRT,
    ITP_ERF,
    ITP_NEG,
    ITP_ABS,
    ITP_RECIPROCAL,
    ITP_CLIP, /* to [a, b] */
    ITP_SQUARE,
    ITP_UNARY_COUNT
} itp_unary;

typedef enum itp_binary { ITP_ADD, ITP_SUB, ITP_MUL, ITP_DIV, ITP_BINARY_COUNT } itp_binary;

/* Constants of one optimiser step. */
typedef struct itp_update {
    float lr, weight_decay, momentum, beta1, beta2, epsilon;
    float correction1, correction2; /* 1 - beta^t */
    float grad_scale;               /* from clipping */
    bool nesterov, decoupled;
} itp_update;

/* c[m,n] = alpha a[m,k] b[k,n] + beta c + bias_row[m] + bias_column[n]; c is not read if beta is 0. */
typedef struct itp_gemm {
    int m, n, k;
    float alpha, beta;
    const float *a;
    ptrdiff_t a_rs, a_cs; /* element strides from row to row and column to column */
    const float *b;
    ptrdiff_t b_rs, b_cs;
    float *c;
    ptrdiff_t c_rs;                      /* columns of c are contiguous */
    const float *bias_row, *bias_column; /* NULL: none */
} itp_gemm;

/* Sums to[r][c] = from[r][c] + sum of a[r] b[c] over outer * inner steps. Step (o, i) reads `rows` numbers
   side by side at a + o a_outer + a_inner[i], and whole vectors of `columns` numbers at
   b + o b_outer + b_inner[i]: also those past the last column must be readable. */
typedef struct itp_tile {
    int rows, columns; /* 1..mr and 1..nr */
    bool apart;        /* inner is 1, and the numbers of a are a_rs apart */
    int outer, inner;
    const float *a, *b;
    ptrdiff_t a_rs, a_outer, b_outer;
    const ptrdiff_t *a_inner, *b_inner; /* [inner] */
    const float *from;                  /* NULL: zeros */
    ptrdiff_t from_rs;
    float *to;
    ptrdiff_t to_rs;
    const float *ahead; /* fetched into the cache on the way, `ahead_step` further on each step */
    ptrdiff_t ahead_step;
} itp_tile;

/* The largest tile of any instruction set, in floats, and its columns. */
#define ITP_MOST_TILE (14 * 32)
#define ITP_MOST_NR   32
#define ITP_MOST_MR   14

#if defined(__GNUC__) || defined(__clang__)
#define ITP_PREFETCH(p) __builtin_prefetch(p, 0, 2)
#else
#define ITP_PREFETCH(p) ((void)(p))
#endif

/* Blocks of the product: a panel of b (KC x 2 vectors) stays in L1, a block of a (MC x KC) and of b
   (KC x NC) in L2. MC is a multiple of every tile height, NC of every tile width. */
#define ITP_GEMM_KC 256
#define ITP_GEMM_MC 168
#define ITP_GEMM_NC 512

/* Blocks so small that packing an operand would not pay. */
#define ITP_GEMM_DIRECT_ROWS    112
#define ITP_GEMM_DIRECT_COLUMNS 128
#define ITP_GEMM_DIRECT_FLOATS  (1 << 18) /* a larger b is not read in place: too many pages */

/* Scratch of a packed block of a, and of both blocks, in floats. */
ITP_FN size_t itp_gemm_a_floats(int k, int rows)
{
    const size_t kc = (size_t)itp_max(1, itp_min(k, ITP_GEMM_KC));
    return itp_round_up(kc * (size_t)itp_min(rows, ITP_GEMM_MC), ITP_CACHE_LINE / sizeof(float));
}

ITP_FN size_t itp_gemm_floats(int k, int rows, int columns, int nr)
{
    const size_t kc = (size_t)itp_max(1, itp_min(k, ITP_GEMM_KC));
    const size_t n = itp_round_up((size_t)itp_min(columns, ITP_GEMM_NC), (size_t)nr);
    return itp_gemm_a_floats(k, rows) + kc * n;
}

/* One plane under a sliding window. */
typedef struct itp_plane {
    int height, width, rows, columns, taps_y, taps_x;
    int stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x;
} itp_plane;

#define ITP_KERNEL_LIST(X)                                                                         \
    X(void, unary, (itp_unary op, size_t n, const float *x, float *y, float a, float b))           \
    X(void, binary,                                                                                \
      (itp_binary op, size_t n, const float *a, int a_step, const float *b, int b_step, float *y)) \
    X(void, scale_add, (size_t n, float alpha, const float *x, float beta, float *y))              \
    X(void, affine, (size_t n, float a, const float *x, float c, float *y))                        \
    X(void, affine2,                                                                               \
      (size_t n, float a, const float *x, float b, const float *y, float c, float *z, bool add))   \
    X(void, mul_add, (size_t n, const float *x, const float *y, float *z, bool add))               \
    X(void, axpy, (size_t n, float a, const float *x, int sx, float *y))                           \
    X(double, sum, (size_t n, const float *x))                                                     \
    X(double, dot, (size_t n, const float *x, float a, const float *y, float b))                   \
    X(float, max, (size_t n, const float *x))                                                      \
    X(double, exp_sum, (size_t n, const float *x, float shift, float *y))                          \
    X(void, softmax, (size_t n, const float *x, float *y))                                         \
    X(void, log_softmax, (size_t n, const float *x, float *y, float *scratch))                     \
    X(void, normalise,                                                                             \
      (size_t n, const float *x, float mean, float rstd, const float *gamma, const float *beta,    \
       float *y))                                                                                  \
    X(void, gemm_block, (const itp_gemm *g, int i0, int i1, int j0, int j1, float *scratch))       \
    X(void, tile, (const itp_tile *t))                                                             \
    X(void, interleave,                                                                            \
      (int rows, int n, const float *src, ptrdiff_t row_step, const ptrdiff_t *row_at, float *out, \
       ptrdiff_t step))                                                                            \
    X(void, gather,                                                                                \
      (int outer, ptrdiff_t step, int inner, const ptrdiff_t *at, int runs, const ptrdiff_t *from, \
       const int *length, const float *x, float *out))                                             \
    X(void, spread, (int rows, int n, const float *tile, float *y, ptrdiff_t step, float beta))    \
    X(void, plane_conv,                                                                            \
      (const itp_plane *g, const float *x, const float *w, float bias, bool add, float *y))        \
    X(void, plane_max, (const itp_plane *g, const float *x, float *y))                             \
    X(void, plane_sum, (const itp_plane *g, const float *x, float *y))

/* Those of backward passes and training, apart: a program that only infers links none of them. */
#define ITP_GRAD_KERNEL_LIST(X)                                                                    \
    X(void, unary_grad,                                                                            \
      (itp_unary op, size_t n, const float *x, const float *y, const float *dy, float *dx,         \
       float a, float b, bool add))                                                                \
    X(void, sgd, (size_t n, float *p, const float *g, float *velocity, const itp_update *u))       \
    X(void, rmsprop,                                                                               \
      (size_t n, float *p, const float *g, float *square, float *velocity, const itp_update *u))   \
    X(void, adam,                                                                                  \
      (size_t n, float *p, const float *g, float *mean, float *square, const itp_update *u))       \
    X(void, plane_conv_data,                                                                       \
      (const itp_plane *g, const float *dy, const float *w, bool add, float *dx))                  \
    X(void, plane_conv_weights, (const itp_plane *g, const float *x, const float *dy, double *dw)) \
    X(void, plane_max_grad, (const itp_plane *g, const float *x, const float *dy, float *dx))      \
    X(void, plane_sum_grad, (const itp_plane *g, const float *dy, float *dx))

struct itp_kernels {
    const char *name;
    int width, mr, nr; /* lanes; rows and columns of a gemm tile */
#define ITP_KERNEL(type, name, arguments) type(*name) arguments;
    ITP_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
};

typedef struct itp_grad_kernels {
#define ITP_KERNEL(type, name, arguments) type(*name) arguments;
    ITP_GRAD_KERNEL_LIST(ITP_KERNEL)
#undef ITP_KERNEL
} itp_grad_kernels;

#if !defined(INTERP_NO_SIMD) && (defined(__x86_64__) || defined(__i386__) || defined(_M_X64)) &&   \
    (defined(__GNUC__) || defined(__clang__) || defined(_MSC_VER))
#define ITP_X86 1
#ifdef __cplusplus
}
#endif
#include <immintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#ifdef __cplusplus
extern "C" {
#endif
#elif !defined(INTERP_NO_SIMD) && (defined(__aarch64__) || defined(_M_ARM64))
#define ITP_NEON 1
#ifdef __cplusplus
}
#endif
#include <arm_neon.h>
#ifdef __cplusplus
extern "C" {
#endif
#endif

/* The bodies are compiled by including this very header once per instruction set. A bare name, so
   that it is looked up beside this file; define INTERP_SELF when the header was renamed. */
#if !defined(INTERP_SELF)
#define INTERP_SELF "interp.h"
#endif
#if defined(__has_include)
#if !__has_include(INTERP_SELF)
#error "interp.h was renamed: define INTERP_SELF as its new name, in quotes"
#endif
#endif

#define ITP_TARGET_BEGIN
#define ITP_TARGET_END
#define ITP_KERNEL_PASS 1
#include INTERP_SELF
#undef ITP_KERNEL_PASS

#if defined(ITP_X86)
#undef ITP_TARGET_BEGIN
#undef ITP_TARGET_END
#define ITP_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define ITP_TARGET(isa)                                                                            \
    ITP_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define ITP_TARGET_END _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define ITP_TARGET(isa) _Pragma("GCC push_options") ITP_PRAGMA(GCC target isa)
#define ITP_TARGET_END  _Pragma("GCC pop_options")
/* g++ 12 warns of uninitialised values inside its own avx512fintrin.h; without optimisation gcc's
   intrinsics are macros, whose conversions it then sees in our lines. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#else
#define ITP_TARGET(isa)
#define ITP_TARGET_END
#endif
#if defined(__clang__)
#define ITP_TARGET_BEGIN ITP_TARGET(ITP_TARGET_GCC)
#else
#define ITP_TARGET_BEGIN ITP_TARGET((ITP_TARGET_GCC))
#endif
#define ITP_KERNEL_PASS 2
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#define ITP_KERNEL_PASS 3
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#elif defined(ITP_NEON)
#define ITP_KERNEL_PASS 4
#include INTERP_SELF
#undef ITP_KERNEL_PASS
#endif
#undef ITP_TARGET_BEGIN
#undef ITP_TARGET_END

/* ---- what this machine has */

#if defined(ITP_X86)
ITP_FN void itp_cpuid(unsigned leaf, unsigned r[4])
{
#if defined(_MSC_VER)
    int t[4];
    __cpuidex(t, (int)leaf, 0);
    for (int i = 0; i < 4; i++) r[i] = (unsigned)t[i];
#else
    __cpuid_count(leaf, 0, r[0], r[1], r[2], r[3]);
#endif
}

/* The register state the operating system saves. */
ITP_FN unsigned itp_xgetbv(void)
{
#if defined(_MSC_VER)
    return (unsigned)_xgetbv(0);
#else
    unsigned low, high;
    __asm__ volatile(".byte 0x0f, 0x01, 0xd0" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

ITP_FN bool itp_has_isa(int pass)
{
    unsigned r[4];
    itp_cpuid(0, r);
    if (r[0] < 7) return false;
    itp_cpuid(1, r);
    const bool osxsave = r[2] >> 27 & 1, avx = r[2] >> 28 & 1, fma = r[2] >> 12 & 1;
    if (!osxsave || !avx || !fma) return false;
    const unsigned state = itp_xgetbv();
    if ((state & 0x6u) != 0x6u) return false;
    itp_cpuid(7, r);
    if (!(r[1] >> 5 & 1)) return false; /* AVX2 */
    if (pass == 2) return true;
    const unsigned need = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    return (r[1] & need) == need && (state & 0xE6u) == 0xE6u;
}
#endif

/* The table called `isa`, or the best; NULL when that one is not there. NULL or "auto" as the name
   asks the environment first. */
ITP_FN const itp_kernels *itp_kernels_choose(const char *isa)
{
    const itp_kernels *found[4];
    int n = 0;
#if defined(ITP_X86)
    if (itp_has_isa(3)) found[n++] = &itp_kernels_avx512;
    if (itp_has_isa(2)) found[n++] = &itp_kernels_avx2;
#elif defined(ITP_NEON)
    found[n++] = &itp_kernels_neon;
#endif
    found[n++] = &itp_kernels_scalar;
#if !defined(INTERP_NO_STDIO)
    if (!isa || !isa[0] || !strcmp(isa, "auto")) isa = getenv("INTERP_ISA");
#endif
    if (!isa || !isa[0] || !strcmp(isa, "auto")) return found[0];
    for (int i = 0; i < n; i++)
        if (!strcmp(found[i]->name, isa)) return found[i];
    return NULL;
}

/* The gradients' kernels of the same instruction set. */
ITP_FN const itp_grad_kernels *itp_grads(const itp_kernels *k)
{
#if defined(ITP_X86)
    if (k == &itp_kernels_avx512) return &itp_grad_kernels_avx512;
    if (k == &itp_kernels_avx2) return &itp_grad_kernels_avx2;
#elif defined(ITP_NEON)
    if (k == &itp_kernels_neon) return &itp_grad_kernels_neon;
#endif
    (void)k;
    return &itp_grad_kernels_scalar;
}

INTERP_API const char *interp_isa(const interp_ctx *ctx)
{
    return ctx->k->name;
}
/* >>base/open.c                                                                               */
/* ---- base/open.c: opening and closing a context ---------------------------------------------- */

INTERP_API interp_ctx *interp_open(const interp_desc *desc)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!d.allocator.alloc || !d.allocator.free) {
        d.allocator.alloc = itp_heap_alloc;
        d.allocator.free = itp_heap_free;
    }
    const size_t size = itp_round_up(sizeof(interp_ctx), ITP_CACHE_LINE);
    char *at = NULL, *end = NULL;
    if (d.buffer) {
        const size_t skip = (size_t)(-(uintptr_t)d.buffer & (ITP_CACHE_LINE - 1));
        if (d.buffer_bytes < skip + size + ITP_CACHE_LINE) return NULL;
        at = (char *)d.buffer + skip;
        end = at + (d.buffer_bytes - skip) / ITP_CACHE_LINE * ITP_CACHE_LINE;
    } else {
        at = (char *)d.allocator.alloc(size, ITP_CACHE_LINE, d.allocator.user);
        if (!at) return NULL;
    }
    interp_ctx *ctx = (interp_ctx *)(void *)at;
    memset(ctx, 0, sizeof *ctx);
    ctx->desc = d;
    ctx->memory.limit = d.memory_limit;
    ctx->memory.used = ctx->memory.peak = size;
    ctx->memory.allocations = 1;
    if (d.buffer) {
        itp_hole *hole = (itp_hole *)(void *)(at + size);
        hole->next = NULL;
        hole->bytes = (size_t)(end - (at + size));
        ctx->holes = hole;
    }
    ctx->k = itp_kernels_choose(d.isa);
    const int threads = d.threads > 0 ? d.threads : d.buffer ? 1 : itp_cores();
    bool ok = ctx->k != NULL;
    if (ok && d.parallel_for) ctx->slots = threads;
    else if (ok) ok = itp_pool_open(ctx, threads);
    if (!ok) {
        interp_close(ctx);
        return NULL;
    }
    return ctx;
}

INTERP_API void interp_close(interp_ctx *ctx)
{
    if (!ctx) return;
    itp_pool_close(ctx);
    while (ctx->blocks) interp_free(ctx, (char *)ctx->blocks + ITP_HEADER_BYTES);
    if (!ctx->desc.buffer)
        ctx->desc.allocator.free(ctx, itp_round_up(sizeof *ctx, ITP_CACHE_LINE),
                                 ctx->desc.allocator.user);
}

INTERP_API int interp_threads(const interp_ctx *ctx)
{
    return ctx->slots;
}
/* >>math/gemm.c                                                                               */
/* ---- math/gemm.c: the matrix product over threads -------------------------------------------- */

/* Scratch memory with one part for each slot of a parallel job. */
typedef struct itp_scratch {
    float *base;
    size_t slot_floats;
} itp_scratch;

ITP_FN float *itp_scratch_slot(const itp_scratch *s, int slot)
{
    return s->base + s->slot_floats * (size_t)slot;
}

typedef struct itp_gemm_job {
    const itp_kernels *kernels;
    const itp_gemm *g;
    itp_scratch scratch;
    int step_m, step_n; /* block of one task */
    int tasks_n;
} itp_gemm_job;

ITP_FN void itp_gemm_task(void *arg, int task, int slot)
{
    const itp_gemm_job *job = (const itp_gemm_job *)arg;
    const int i = task / job->tasks_n * job->step_m, j = task % job->tasks_n * job->step_n;
    job->kernels->gemm_block(job->g, i, itp_min(i + job->step_m, job->g->m), j,
                             itp_min(j + job->step_n, job->g->n),
                             itp_scratch_slot(&job->scratch, slot));
}

ITP_FN size_t itp_gemm_scratch(const interp_ctx *ctx, int m, int n, int k)
{
    return itp_round_up(itp_gemm_floats(k, m, n, ctx->k->nr), 16);
}

/* Scratch slots must hold itp_gemm_scratch(m, n, k) floats each. */
ITP_FN void itp_gemm_run(interp_ctx *ctx, const itp_gemm *g, itp_scratch scratch)
{
    if (g->m <= 0 || g->n <= 0) return;
    itp_gemm_job job;
    job.kernels = ctx->k;
    job.g = g;
    job.scratch = scratch;
    job.step_m = g->m;
    job.step_n = g->n;
    /* Cut the longer side, which repeats less packing; results do not depend on the cut. */
    if (ctx->slots > 1) {
        if (g->n / ctx->k->nr >= g->m / ctx->k->mr) {
            const int parts = itp_min(2 * ctx->slots, itp_div_up(g->n, 4 * ctx->k->nr));
            job.step_n = (int)itp_round_up((size_t)itp_div_up(g->n, parts), (size_t)ctx->k->nr);
        } else {
            const int parts = itp_min(2 * ctx->slots, itp_div_up(g->m, 4 * ctx->k->mr));
            job.step_m = (int)itp_round_up((size_t)itp_div_up(g->m, parts), (size_t)ctx->k->mr);
        }
    }
    job.tasks_n = itp_div_up(g->n, job.step_n);
    const int tasks = job.tasks_n * itp_div_up(g->m, job.step_m);
    itp_parallel(ctx, tasks, (double)g->m * g->n * itp_max(g->k, 1), itp_gemm_task, &job);
}

/* ---- many products of one shape */

typedef struct itp_batch_job {
    const itp_kernels *kernels;
    const itp_gemm *g;
    const ptrdiff_t *a_offset, *b_offset; /* per product, in floats */
    ptrdiff_t c_stride;
    itp_scratch scratch;
} itp_batch_job;

ITP_FN void itp_batch_task(void *arg, int task, int slot)
{
    const itp_batch_job *job = (const itp_batch_job *)arg;
    itp_gemm g = *job->g;
    g.a += job->a_offset[task];
    g.b += job->b_offset[task];
    g.c += task * job->c_stride;
    job->kernels->gemm_block(&g, 0, g.m, 0, g.n, itp_scratch_slot(&job->scratch, slot));
}

/* c[t] = a[t] b[t] for t < count; each operand's start is given per product. */
ITP_FN void itp_gemm_batch(interp_ctx *ctx, const itp_gemm *g, int count, const ptrdiff_t *a_offset,
                           const ptrdiff_t *b_offset, ptrdiff_t c_stride, itp_scratch scratch)
{
    itp_batch_job job;
    if (g->m <= 0 || g->n <= 0 || count <= 0) return;
    job.kernels = ctx->k;
    job.g = g;
    job.a_offset = a_offset;
    job.b_offset = b_offset;
    job.c_stride = c_stride;
    job.scratch = scratch;
    if (count == 1) {
        itp_gemm one = *g;
        one.a += a_offset[0];
        one.b += b_offset[0];
        itp_gemm_run(ctx, &one, scratch);
    } else {
        itp_parallel(ctx, count, (double)count * g->m * g->n * itp_max(g->k, 1), itp_batch_task,
                     &job);
    }
}

/* Scratch kept by the context for calls that have no workspace; grows, never shrinks. */
ITP_FN interp_status itp_ctx_scratch(interp_ctx *ctx, size_t slot_floats, itp_scratch *out)
{
    if (slot_floats > ctx->scratch_floats) {
        interp_free(ctx, ctx->scratch);
        ctx->scratch_floats = 0;
        ctx->scratch = (float *)interp_alloc(
            ctx, itp_mul_size(itp_mul_size(slot_floats, (size_t)ctx->slots), sizeof(float)));
        if (!ctx->scratch) return INTERP_NO_MEMORY;
        ctx->scratch_floats = slot_floats;
    }
    out->base = ctx->scratch;
    out->slot_floats = ctx->scratch_floats;
    return INTERP_OK;
}

INTERP_API interp_status interp_sgemm(interp_ctx *ctx, bool trans_a, bool trans_b, int m, int n,
                                      int k, float alpha, const float *a, int lda, const float *b,
                                      int ldb, float beta, float *c, int ldc)
{
    if (m < 0 || n < 0 || k < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "sgemm: a size is negative: m %d, n %d, k %d", m,
                        n, k);
    if (lda < itp_max(1, trans_a ? m : k) || ldb < itp_max(1, trans_b ? k : n) ||
        ldc < itp_max(1, n))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "sgemm: a row is shorter than it must be: lda %d, ldb %d, ldc %d for m %d, "
                        "n %d, k %d",
                        lda, ldb, ldc, m, n, k);
    itp_scratch scratch;
    ITP_TRY(itp_ctx_scratch(ctx, itp_gemm_scratch(ctx, m, n, k), &scratch));
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = m, g.n = n, g.k = k;
    g.alpha = alpha, g.beta = beta;
    g.a = a, g.a_rs = trans_a ? 1 : lda, g.a_cs = trans_a ? lda : 1;
    g.b = b, g.b_rs = trans_b ? 1 : ldb, g.b_cs = trans_b ? ldb : 1;
    g.c = c, g.c_rs = ldc;
    itp_gemm_run(ctx, &g, scratch);
    return INTERP_OK;
}
/* >>math/conv.c                                                                               */
/* ---- math/conv.c: convolution and its two gradients, straight from the images ------------------ */

/* Shape of a convolution; weights are [out_channels, in_channels / groups, taps_y, taps_x]. */
typedef struct itp_conv {
    int batch, in_channels, out_channels, groups;
    itp_plane plane; /* input height and width, output rows and columns, window */
} itp_conv;

/* An elementwise function applied to what a convolution has just written. */
typedef struct itp_after {
    bool any;
    itp_unary kind;
    float a, b;
} itp_after;

#define ITP_DEPTHWISE_TAPS 128   /* larger windows take the general path */
#define ITP_SPLIT_PARTS    8     /* most parts the pixel sum of a weight gradient is cut into */
#define ITP_SPLIT_WEIGHTS  65536 /* more weights are not summed in parts */
#define ITP_SLAB           65536 /* floats of an image that are worked on at a time */
#define ITP_MOST_COLUMNS   4096  /* of them, columns */
#define ITP_GATHER_OUTPUTS 4     /* panels of output planes for which copying short rows pays */
#define ITP_GATHER_PIXELS  196   /* copied at a time */
#define ITP_MANY_PLANES    64 /* more are not read by rows of pixels where they lie: too many pages */

ITP_FN size_t itp_conv_in(const itp_conv *c)
{
    return (size_t)c->plane.height * (size_t)c->plane.width;
}

ITP_FN size_t itp_conv_out(const itp_conv *c)
{
    return (size_t)c->plane.rows * (size_t)c->plane.columns;
}

ITP_FN int itp_conv_taps(const itp_conv *c)
{
    return c->plane.taps_y * c->plane.taps_x;
}

/* One input channel per group: planes by themselves, no product. */
ITP_FN bool itp_conv_depthwise(const itp_conv *c)
{
    return c->groups == c->in_channels && c->groups > 1 && itp_conv_taps(c) <= ITP_DEPTHWISE_TAPS;
}

ITP_FN bool itp_conv_pointwise(const itp_conv *c)
{
    const itp_plane *p = &c->plane;
    return itp_conv_taps(c) == 1 && p->stride_y == 1 && p->stride_x == 1 && p->pad_y == 0 &&
           p->pad_x == 0 && p->rows == p->height && p->columns == p->width;
}

/* The part of a task list that is the same for all plane jobs. */
typedef struct itp_plane_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *x, *w, *bias, *dy;
    const itp_after *after; /* NULL: none */
    float *y, *dx, *dw;
    float beta;
} itp_plane_job;

ITP_FN void itp_depthwise_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const int o = task % c->out_channels, image = task / c->out_channels;
    const int i = o / (c->out_channels / c->groups);
    const size_t out = itp_conv_out(c);
    float *y = j->y + (size_t)task * out;
    j->kernels->plane_conv(
        &c->plane, j->x + ((size_t)image * (size_t)c->in_channels + (size_t)i) * itp_conv_in(c),
        j->w + (size_t)o * (size_t)itp_conv_taps(c), j->bias ? j->bias[o] : 0, false, y);
    if (j->after) j->kernels->unary(j->after->kind, out, y, y, j->after->a, j->after->b);
}

ITP_FN void itp_depthwise_data_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const int i = task % c->in_channels, image = task / c->in_channels;
    const int multiplier = c->out_channels / c->groups;
    const size_t in = itp_conv_in(c);
    float *dx = j->dx + (size_t)task * in;
    for (int o = i * multiplier; o < (i + 1) * multiplier; o++)
        itp_grads(j->kernels)
            ->plane_conv_data(&c->plane,
                              j->dy + ((size_t)image * (size_t)c->out_channels + (size_t)o) *
                                          itp_conv_out(c),
                              j->w + (size_t)o * (size_t)itp_conv_taps(c),
                              j->beta != 0 || o > i * multiplier, dx);
}

ITP_FN void itp_depthwise_weights_task(void *arg, int o, int slot)
{
    (void)slot;
    const itp_plane_job *j = (const itp_plane_job *)arg;
    const itp_conv *c = j->c;
    const size_t i = (size_t)(o / (c->out_channels / c->groups));
    const int taps = itp_conv_taps(c);
    double sum[ITP_DEPTHWISE_TAPS] = {0};
    for (int b = 0; b < c->batch; b++)
        itp_grads(j->kernels)
            ->plane_conv_weights(
                &c->plane, j->x + ((size_t)b * (size_t)c->in_channels + i) * itp_conv_in(c),
                j->dy + ((size_t)b * (size_t)c->out_channels + (size_t)o) * itp_conv_out(c), sum);
    float *dw = j->dw + (size_t)o * (size_t)taps;
    for (int t = 0; t < taps; t++) dw[t] = (float)sum[t] + (j->beta == 0 ? 0 : dw[t]);
}

ITP_FN itp_plane_job itp_plane_job_new(interp_ctx *ctx, const itp_conv *c, float beta)
{
    itp_plane_job j;
    memset(&j, 0, sizeof j);
    j.kernels = ctx->k;
    j.c = c;
    j.beta = beta;
    return j;
}

ITP_FN double itp_conv_work(const itp_conv *c)
{
    return (double)c->batch * c->out_channels * (double)itp_conv_out(c) * itp_conv_taps(c) *
           (c->in_channels / c->groups);
}

/* ---- sums over windows of planes

   y(k, oy, ox) = bias(k) + sum over c and taps of w(k, c, tap) x(c, oy mul_y + tap_y, ox mul_x + tap_x),
   x being 0 outside of its planes: a convolution, or one phase of the gradient of a strided one.
   A tile has pixels as rows and output planes as columns, or the other way round; either way it
   reads one operand straight from the image (from a padded copy of a part of it, the slab, where
   there is padding or a stride) and the other from packed weights. */
typedef struct itp_tap_axis {
    int count;        /* taps along an axis */
    int offset, step; /* of the first tap, and from one to the next */
    int tap, period;  /* which of the packed taps they are */
} itp_tap_axis;

typedef struct itp_windows {
    int batch, inputs, outputs; /* planes */
    int height, width;          /* of x */
    int rows, columns;          /* of y */
    int mul_y, mul_x;
    itp_tap_axis tap_y, tap_x;
    int taps, packed_taps, packed_taps_x; /* those summed here, those of the packed weights */
    const float *x, *packed, *bias;
    const itp_after *after; /* NULL: none */
    ptrdiff_t x_image;
    float *y, beta;
    ptrdiff_t y_image, y_plane, y_row, y_step; /* strides of y */
    bool pixels;                               /* pixels are the rows of tiles */
} itp_windows;

/* How a call is cut: `rows` x `columns` of y at a time, `inputs` planes of x at a time. */
typedef struct itp_cut {
    int rows, columns, inputs;
    int min_y, min_x, span_y, span_x; /* of the taps */
    int phases;                       /* columns of x are sorted by their rest modulo mul_x */
    ptrdiff_t pitch, row, plane;      /* of the slab: phase, row, plane */
    bool in_place;                    /* the image is read where it lies */
    bool gather;           /* rows of pixels are too short for a tile: several are copied */
    size_t slab, gathered; /* floats */
} itp_cut;

typedef struct itp_windows_job {
    const itp_kernels *kernels;
    const itp_windows *w;
    itp_cut cut;
    itp_scratch scratch;
    const ptrdiff_t *x_at, *w_at, *gather_at; /* [taps] */
    int row_parts, column_parts, output_parts;
} itp_windows_job;

/* The extent of the taps, and whether the image can be read where it lies. */
ITP_FN itp_cut itp_cut_taps(const itp_windows *w, int vector)
{
    itp_cut c;
    memset(&c, 0, sizeof c);
    const int end_y = w->tap_y.offset + (w->tap_y.count - 1) * w->tap_y.step;
    const int end_x = w->tap_x.offset + (w->tap_x.count - 1) * w->tap_x.step;
    const int max_y = itp_max(w->tap_y.offset, end_y), max_x = itp_max(w->tap_x.offset, end_x);
    c.min_y = itp_min(w->tap_y.offset, end_y);
    c.min_x = itp_min(w->tap_x.offset, end_x);
    c.span_y = max_y - c.min_y + 1;
    c.span_x = max_x - c.min_x + 1;
    c.phases = itp_min(w->mul_x, c.span_x);
    c.in_place = w->mul_x == 1 && c.min_y >= 0 && c.min_x >= 0 &&
                 (w->rows - 1) * w->mul_y + max_y < w->height &&
                 w->columns - 1 + max_x < w->width && w->columns % vector == 0;
    return c;
}

/* Cuts into pieces of rows x columns of y and `inputs` planes of x. `slack`: floats past the slab's
   end that may be read. */
ITP_FN void itp_cut_size(itp_cut *c, const itp_windows *w, int rows, int columns, int inputs,
                         int slack)
{
    c->rows = rows, c->columns = columns, c->inputs = inputs;
    if (c->in_place) {
        c->inputs = w->inputs;
        c->row = w->width;
        c->plane = (ptrdiff_t)w->height * w->width;
        return;
    }
    c->pitch = columns + (c->span_x - 1) / w->mul_x;
    if (c->pitch == columns) /* no shifts: rows start where vectors do */
        c->pitch = (ptrdiff_t)itp_round_up((size_t)columns, 16);
    c->row = c->phases * c->pitch;
    c->plane = ((rows - 1) * w->mul_y + c->span_y) * c->row;
    c->slab = itp_round_up((size_t)c->plane * (size_t)inputs + (size_t)slack, 16);
}

/* The planes taken at a time depend on the shape alone: they decide the order of the sums. */
ITP_FN itp_cut itp_cut_of(const interp_ctx *ctx, const itp_windows *w, int slots)
{
    const int unit = w->pixels ? ctx->k->mr : ctx->k->nr;
    itp_cut c = itp_cut_taps(w, w->pixels ? 1 : unit);
    int columns = itp_min(w->columns, ITP_MOST_COLUMNS);
    if (w->rows == 1) { /* a long row: pieces of it */
        columns = itp_min(columns, itp_div_up(itp_max(1, ITP_SLAB / w->inputs), unit) * unit);
        if (!w->pixels && w->inputs > ITP_MANY_PLANES) c.in_place = false;
    }
    const double row = (double)c.phases * (columns + (c.span_x - 1) / w->mul_x);
    int inputs = itp_max(1, (int)itp_min_double(w->inputs, 4 * ITP_SLAB / (row * c.span_y)));
    int rows = (int)((ITP_SLAB / (row * inputs) - c.span_y) / w->mul_y) + 1;
    rows = itp_max(1, itp_min(rows, w->rows));
    rows = itp_div_up(w->rows, itp_div_up(w->rows, rows));
    c.gather = w->pixels && 2 * columns <= unit && w->rows > 1 && w->taps &&
               w->outputs >= ITP_GATHER_OUTPUTS * ctx->k->nr;
    if (c.gather) {
        rows = itp_min(w->rows, itp_max(1, ITP_GATHER_PIXELS / columns));
        const int many = itp_max(1, ITP_SLAB / (w->taps * rows * columns));
        inputs = itp_div_up(w->inputs, itp_div_up(w->inputs, many));
        c.gathered = itp_round_up((size_t)inputs * (size_t)w->taps *
                                      (size_t)(itp_div_up(rows * columns, unit) * unit),
                                  16);
    } else if (slots > 1) {
        rows = itp_max(1, itp_min(rows, (int)((double)w->rows * w->batch / (4 * slots))));
        if (w->rows == 1)
            columns = itp_min(columns, itp_div_up(w->columns, 4 * slots * unit) * unit);
    }
    if (c.gather) c.in_place = false;
    itp_cut_size(&c, w, rows, columns, inputs, 2 * ctx->k->nr);
    return c;
}

/* Copies what rows y0.. and columns x0.. of the output read of planes c0..c0+n into the slab. */
ITP_FN void itp_slab_fill(const itp_windows *w, const itp_cut *c, const float *image, int y0,
                          int rows, int x0, int columns, int c0, int n, float *slab)
{
    const int rows_in = (rows - 1) * w->mul_y + c->span_y, step = w->mul_x;
    for (int i = 0; i < n; i++)
        for (int r = 0; r < rows_in; r++) {
            const int sy = y0 * w->mul_y + c->min_y + r;
            float *to = slab + i * c->plane + r * c->row;
            if (sy < 0 || sy >= w->height) {
                memset(to, 0, (size_t)c->row * sizeof *to);
                continue;
            }
            const float *from = image + ((ptrdiff_t)(c0 + i) * w->height + sy) * w->width;
            const int most = columns + (int)c->pitch - c->columns;
            for (int p = 0; p < c->phases; p++, to += c->pitch) {
                const int first = x0 * step + c->min_x + p; /* source column of to[0] */
                int lo = first < 0 ? (-first + step - 1) / step : 0;
                int hi = w->width > first ? (w->width - first + step - 1) / step : 0;
                lo = itp_min(lo, most), hi = itp_max(lo, itp_min(hi, most));
                for (int q = 0; q < lo; q++) to[q] = 0;
                if (step == 1) memcpy(to + lo, from + first + lo, (size_t)(hi - lo) * sizeof *to);
                else
                    for (int q = lo; q < hi; q++) to[q] = from[first + q * step];
                for (int q = hi; q < c->pitch; q++) to[q] = 0;
            }
        }
}

/* A tile of sums, planes x pixels in rows of `from_step`, into y at (k0, oy, ox). */
ITP_FN void itp_windows_put(const itp_windows *w, float *y, int planes, int pixels,
                            const float *from, ptrdiff_t from_step, float beta)
{
    for (int k = 0; k < planes; k++, y += w->y_plane, from += from_step)
        for (int p = 0; p < pixels; p++)
            y[p * w->y_step] = from[p] + (beta == 0 ? 0 : beta * y[p * w->y_step]);
}

/* A tile of gathered pixels, which may lie in several rows. */
ITP_FN void itp_windows_put_rows(const itp_windows_job *j, float *y, int planes, int first, int n,
                                 const float *sums, float beta)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float turned[ITP_MOST_TILE];
    for (int p = first, run; p < first + n; p += run) {
        float *to = y + p / w->columns * w->y_row + p % w->columns * w->y_step;
        const float *from = sums + (p - first) * k->nr;
        run = itp_min(w->columns - p % w->columns, first + n - p);
        if (w->y_step == 1) k->spread(planes, run, from, to, w->y_plane, beta);
        else {
            k->spread(planes, run, from, turned, k->mr, 0);
            itp_windows_put(w, to, planes, run, turned, k->mr, beta);
        }
    }
}

/* Copies the pixels of every tile side by side: gathered[tile][input][tap][mr]. */
ITP_FN void itp_windows_gather(const itp_windows_job *j, const float *x, int rows, int columns,
                               int inputs, float *gathered)
{
    const itp_windows *w = j->w;
    const int mr = j->kernels->mr, n = rows * columns, tiles = itp_div_up(n, mr);
    for (int q = 0; q < tiles; q++) {
        const int first = n * q / tiles, end = n * (q + 1) / tiles;
        ptrdiff_t from[ITP_MOST_MR];
        int length[ITP_MOST_MR], runs = 0;
        for (int p = first; p < end; p += length[runs++]) {
            from[runs] = p / columns * w->mul_y * j->cut.row + p % columns;
            length[runs] = itp_min(columns - p % columns, end - p);
        }
        j->kernels->gather(inputs, j->cut.plane, w->taps, j->x_at, runs, from, length, x,
                           gathered + (ptrdiff_t)q * inputs * w->taps * mr);
    }
}

/* Pixels as rows: for each panel of output planes k0..k1, all tiles of pixels. */
ITP_FN void itp_windows_pixels(const itp_windows_job *j, const float *x, float *y, int rows,
                               int columns, int c0, int inputs, int k0, int k1)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float sums[ITP_MOST_TILE], start[ITP_MOST_NR], turned[ITP_MOST_TILE];
    const bool gather = j->cut.gather; /* all pixels are one row */
    if (gather) columns *= rows, rows = 1;
    const int tiles = itp_div_up(columns, k->mr);
    const float beta = c0 ? 1 : w->beta;
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = inputs, t.inner = w->taps;
    t.a_outer = gather ? (ptrdiff_t)w->taps * k->mr : j->cut.plane,
    t.b_outer = (ptrdiff_t)w->packed_taps * k->nr;
    t.a_inner = gather ? j->gather_at : j->x_at, t.b_inner = j->w_at;
    t.apart = w->packed_taps == 1 && w->taps == 1, t.a_rs = 1; /* a single tap has no offset */
    t.from = w->bias && !c0 ? start : NULL, t.from_rs = 0;
    t.to = sums, t.to_rs = k->nr;
    for (; k0 < k1; k0 += k->nr) {
        const int planes = itp_min(k->nr, k1 - k0);
        for (int i = 0; t.from && i < k->nr; i++) start[i] = i < planes ? w->bias[k0 + i] : 0;
        t.columns = planes <= k->width ? k->width : k->nr;
        t.b = w->packed + ((ptrdiff_t)k0 * w->inputs + (ptrdiff_t)c0 * k->nr) * w->packed_taps;
        t.ahead = t.b; /* the weights of the next panel come in while this one is worked on */
        t.ahead_step = 0;
        if (k0 + k->nr < k1) {
            t.ahead += (ptrdiff_t)k->nr * w->inputs * w->packed_taps;
            t.ahead_step = itp_div_up(k->nr, rows * tiles);
        }
        for (int r = 0; r < rows; r++)
            for (int q = 0; q < tiles; q++) {
                const int p = (int)((int64_t)columns * q / tiles);
                t.rows = (int)((int64_t)columns * (q + 1) / tiles) - p;
                t.a = gather ? x + (ptrdiff_t)q * inputs * w->taps * k->mr
                             : x + r * w->mul_y * j->cut.row + p;
                k->tile(&t);
                t.ahead += t.ahead_step * inputs * w->taps;
                float *to = y + k0 * w->y_plane + r * w->y_row + p * w->y_step;
                if (gather) {
                    itp_windows_put_rows(j, y + k0 * w->y_plane, planes, p, t.rows, sums, beta);
                    continue;
                }
                if (w->y_step == 1) k->spread(planes, t.rows, sums, to, w->y_plane, beta);
                else {
                    k->spread(planes, t.rows, sums, turned, k->mr, 0);
                    itp_windows_put(w, to, planes, t.rows, turned, k->mr, beta);
                }
            }
    }
}

/* Output planes as rows: for each row of pixels, all panels of output planes. */
ITP_FN void itp_windows_planes(const itp_windows_job *j, const float *x, float *y, int rows,
                               int columns, int c0, int inputs)
{
    const itp_windows *w = j->w;
    const itp_kernels *k = j->kernels;
    float sums[ITP_MOST_TILE], start[ITP_MOST_TILE];
    const int panels = itp_div_up(w->outputs, k->mr);
    const float beta = c0 ? 1 : w->beta;
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = inputs, t.inner = w->taps;
    t.a_outer = (ptrdiff_t)w->packed_taps * k->mr, t.b_outer = j->cut.plane;
    t.a_inner = j->w_at, t.b_inner = j->x_at;
    t.apart = w->packed_taps == 1 && w->taps == 1, t.a_rs = 1;
    t.ahead = x, t.ahead_step = 0;
    for (int r = 0; r < rows; r++)
        for (int p = 0; p < panels; p++) {
            const int k0 = (int)((int64_t)w->outputs * p / panels);
            t.rows = (int)((int64_t)w->outputs * (p + 1) / panels) - k0;
            t.a = w->packed + ((ptrdiff_t)p * w->inputs + c0) * w->packed_taps * k->mr;
            const bool biased = w->bias && !c0;
            for (int i = 0; biased && i < t.rows; i++)
                for (int q = 0; q < k->nr; q++) start[i * k->nr + q] = w->bias[k0 + i];
            for (int q = 0; q < columns; q += k->nr) {
                float *to = y + k0 * w->y_plane + r * w->y_row + q * w->y_step;
                t.columns = itp_min(k->nr, columns - q);
                t.b = x + r * w->mul_y * j->cut.row + q;
                const bool straight = w->y_step == 1 && (beta == 0 || (beta == 1 && !biased));
                t.from = biased ? start : NULL, t.from_rs = k->nr;
                t.to = sums, t.to_rs = k->nr;
                if (straight) {
                    t.to = to, t.to_rs = w->y_plane;
                    if (beta != 0) t.from = to, t.from_rs = w->y_plane;
                }
                k->tile(&t);
                if (!straight) itp_windows_put(w, to, t.rows, t.columns, sums, k->nr, beta);
            }
        }
}

ITP_FN void itp_windows_task(void *arg, int task, int slot)
{
    const itp_windows_job *j = (const itp_windows_job *)arg;
    const itp_windows *w = j->w;
    const itp_cut *c = &j->cut;
    const int part = task % j->output_parts; /* of the output planes */
    task /= j->output_parts;
    const int x0 = task % j->column_parts * c->columns;
    const int y0 = task / j->column_parts % j->row_parts * c->rows;
    const int image = task / j->column_parts / j->row_parts;
    const int rows = itp_min(c->rows, w->rows - y0), columns = itp_min(c->columns, w->columns - x0);
    const int panels = itp_div_up(w->outputs, j->kernels->nr);
    const int k0 = panels * part / j->output_parts * j->kernels->nr;
    const int k1 = itp_min(panels * (part + 1) / j->output_parts * j->kernels->nr, w->outputs);
    const float *from = w->x + image * w->x_image;
    float *y = w->y + image * w->y_image + y0 * w->y_row + x0 * w->y_step;
    float *slab = itp_scratch_slot(&j->scratch, slot);
    for (int c0 = 0; c0 < w->inputs; c0 += c->inputs) {
        const int n = itp_min(c->inputs, w->inputs - c0);
        const float *x = slab;
        if (c->in_place) x = from + (ptrdiff_t)y0 * w->mul_y * c->row + x0;
        else itp_slab_fill(w, c, from, y0, rows, x0, columns, c0, n, slab);
        if (c->gather) {
            itp_windows_gather(j, slab, rows, columns, n, slab + c->slab);
            x = slab + c->slab;
        }
        if (w->pixels) itp_windows_pixels(j, x, y, rows, columns, c0, n, k0, k1);
        else itp_windows_planes(j, x, y, rows, columns, c0, n);
    }
    for (int k = w->pixels ? k0 : 0; w->after && k < (w->pixels ? k1 : w->outputs); k++)
        for (int r = 0; r < rows; r++) /* still in the cache */
            j->kernels->unary(w->after->kind, (size_t)columns, y + k * w->y_plane + r * w->y_row,
                              y + k * w->y_plane + r * w->y_row, w->after->a, w->after->b);
}

/* Where each tap of a window lies in the slab, or in the image. */
ITP_FN void itp_windows_offsets(const itp_windows *w, const itp_cut *c, ptrdiff_t *at)
{
    for (int i = 0; i < w->tap_y.count; i++)
        for (int j = 0; j < w->tap_x.count; j++) {
            const int y = w->tap_y.offset + i * w->tap_y.step;
            const int x = w->tap_x.offset + j * w->tap_x.step, u = x - c->min_x;
            *at++ = c->in_place ? (ptrdiff_t)y * w->width + x
                                : (y - c->min_y) * c->row + u % w->mul_x * c->pitch + u / w->mul_x;
        }
}

/* tables: 3 taps offsets. */
ITP_FN void itp_windows_run(interp_ctx *ctx, const itp_windows *w, itp_scratch scratch,
                            ptrdiff_t *tables)
{
    itp_windows_job j;
    j.kernels = ctx->k;
    j.w = w;
    j.cut = itp_cut_of(ctx, w, ctx->slots);
    j.scratch = scratch;
    itp_windows_offsets(w, &j.cut, tables);
    for (int t = 0; t < w->taps; t++) {
        const int ty = w->tap_y.tap + t / w->tap_x.count * w->tap_y.period;
        const int tx = w->tap_x.tap + t % w->tap_x.count * w->tap_x.period;
        tables[w->taps + t] =
            (ptrdiff_t)(ty * w->packed_taps_x + tx) * (w->pixels ? ctx->k->nr : ctx->k->mr);
    }
    for (int t = 0; t < w->taps; t++) tables[2 * w->taps + t] = (ptrdiff_t)t * ctx->k->mr;
    j.x_at = tables, j.w_at = tables + w->taps, j.gather_at = tables + 2 * w->taps;
    j.row_parts = itp_div_up(w->rows, j.cut.rows);
    j.column_parts = itp_div_up(w->columns, j.cut.columns);
    const double work =
        (double)w->batch * w->outputs * w->rows * w->columns * w->inputs * itp_max(1, w->taps);
    const int tasks = w->batch * j.row_parts * j.column_parts;
    j.output_parts = 1; /* few tasks are shared by output planes */
    if (ctx->slots > 1 && w->pixels && tasks < 4 * ctx->slots)
        j.output_parts = itp_min(itp_div_up(w->outputs, ctx->k->nr), 4 * ctx->slots / tasks);
    itp_parallel(ctx, tasks * j.output_parts, work, itp_windows_task, &j);
}

/* Whether pixels make better rows of tiles than output planes, by the cycles both would take: a step
   of a tile is bound by its products, its loads, or the products that must wait for each other. */
ITP_FN bool itp_windows_by_pixels(const interp_ctx *ctx, const itp_windows *w)
{
    const double k = (double)w->inputs * itp_max(1, w->taps), nr = ctx->k->nr;
    double cycles[2];
    for (int pixels = 0; pixels < 2; pixels++) {
        const int long_side = pixels ? w->columns : w->outputs; /* rows of tiles */
        const int wide_side = pixels ? w->outputs : w->columns;
        const int tiles = itp_div_up(long_side, ctx->k->mr);
        const double rows = (double)long_side / tiles;
        const int vectors = itp_div_up(wide_side, ctx->k->width);
        double sum = 0;
        for (int left = vectors; left > 0; left -= 2) {
            const double v = itp_min(2, left);
            double step = rows * v / 2;
            if (step < (rows + v) / 2) step = (rows + v) / 2;
            if (step < 4) step = 4; /* latency of a product */
            sum += k * step + rows * v * 2 + (pixels ? nr * 4 : 0);
        }
        cycles[pixels] = sum * tiles;
    }
    return cycles[1] < cycles[0];
}

/* ---- packed weights: panels of nr output planes, or of up to mr, as the tiles read them */

typedef struct itp_pack_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *w;
    float *packed;
    int inputs, outputs, panels;
    bool transposed, pixels; /* outputs are the input channels of w */
} itp_pack_job;

ITP_FN size_t itp_packed_floats(const interp_ctx *ctx, const itp_conv *c, int inputs, int outputs,
                                bool pixels)
{
    const size_t k = (size_t)inputs * (size_t)itp_conv_taps(c);
    const int width = pixels ? ctx->k->nr : ctx->k->mr;
    return itp_mul_size(k, (size_t)itp_div_up(outputs, width) * (size_t)width);
}

ITP_FN void itp_pack_task(void *arg, int panel, int slot)
{
    (void)slot;
    const itp_pack_job *j = (const itp_pack_job *)arg;
    const int taps = itp_conv_taps(j->c), width = j->pixels ? j->kernels->nr : j->kernels->mr;
    const ptrdiff_t k = (ptrdiff_t)j->inputs * taps;
    float *out = j->packed + panel * k * width;
    const int k0 = j->pixels ? panel * width : (int)((int64_t)j->outputs * panel / j->panels);
    const int k1 = j->pixels ? itp_min(k0 + width, j->outputs)
                             : (int)((int64_t)j->outputs * (panel + 1) / j->panels);
    if (k1 - k0 < width) memset(out, 0, (size_t)(k * width) * sizeof *out);
    if (!j->transposed) {
        j->kernels->interleave(k1 - k0, (int)k, j->w + k0 * k, k, NULL, out, width);
        return;
    }
    for (int c = 0; c < j->inputs; c++, out += taps * width) {
        const float *from = j->w + ((ptrdiff_t)c * j->outputs + k0) * taps;
        if (taps == 1) memcpy(out, from, (size_t)(k1 - k0) * sizeof *out);
        else j->kernels->interleave(k1 - k0, taps, from, taps, NULL, out, width);
    }
}

/* w[out][in][taps] of one group into `packed`; transposed: `outputs` is `in`. */
ITP_FN void itp_pack_weights(interp_ctx *ctx, const itp_conv *c, const float *w, bool transposed,
                             bool pixels, int inputs, int outputs, float *packed)
{
    itp_pack_job j;
    j.kernels = ctx->k, j.c = c, j.w = w, j.packed = packed;
    j.inputs = inputs, j.outputs = outputs;
    j.panels = itp_div_up(outputs, pixels ? ctx->k->nr : ctx->k->mr);
    j.transposed = transposed, j.pixels = pixels;
    itp_parallel(ctx, j.panels, (double)inputs * outputs * itp_conv_taps(c), itp_pack_task, &j);
}

/* ---- the three convolutions as sums over windows */

ITP_FN itp_windows itp_windows_forward(const interp_ctx *ctx, const itp_conv *c)
{
    const itp_plane *g = &c->plane;
    itp_windows w;
    memset(&w, 0, sizeof w);
    w.batch = c->batch;
    w.inputs = c->in_channels / c->groups, w.outputs = c->out_channels / c->groups;
    w.height = g->height, w.width = g->width, w.rows = g->rows, w.columns = g->columns;
    w.mul_y = g->stride_y, w.mul_x = g->stride_x;
    w.taps = w.packed_taps = itp_conv_taps(c);
    w.packed_taps_x = g->taps_x;
    const itp_tap_axis y = {g->taps_y, -g->pad_y, g->dilation_y, 0, 1};
    const itp_tap_axis x = {g->taps_x, -g->pad_x, g->dilation_x, 0, 1};
    w.tap_y = y, w.tap_x = x;
    w.x_image = (ptrdiff_t)c->in_channels * (ptrdiff_t)itp_conv_in(c);
    w.y_plane = (ptrdiff_t)itp_conv_out(c);
    w.y_image = c->out_channels * w.y_plane;
    w.y_row = g->columns, w.y_step = 1;
    if (itp_conv_pointwise(c)) { /* one long row instead of many short ones */
        w.width = w.columns = g->height * g->width;
        w.height = w.rows = 1;
    }
    w.pixels = itp_windows_by_pixels(ctx, &w);
    return w;
}

/* Taps that reach input pixels `at` modulo the stride, as offsets in the output. */
ITP_FN itp_tap_axis itp_tap_axis_backward(int taps, int at, int stride, int pad, int dilation)
{
    itp_tap_axis a = {0, 0, 0, 0, 0};
    for (int t = 0; t < taps; t++) {
        if ((at + pad - t * dilation) % stride) continue;
        const int offset = (at + pad - t * dilation) / stride;
        if (!a.count) a.tap = t, a.offset = offset;
        else if (a.count == 1) a.period = t - a.tap, a.step = offset - a.offset;
        a.count++;
    }
    return a;
}

/* The part of the gradient whose pixels are (oy, ox) modulo the strides: x is dy, y is dx. */
ITP_FN itp_windows itp_windows_backward(const itp_conv *c, int oy, int ox)
{
    const itp_plane *g = &c->plane;
    itp_windows w;
    memset(&w, 0, sizeof w);
    w.batch = c->batch;
    w.inputs = c->out_channels / c->groups, w.outputs = c->in_channels / c->groups;
    w.height = g->rows, w.width = g->columns;
    w.rows = itp_div_up(g->height - oy, g->stride_y);
    w.columns = itp_div_up(g->width - ox, g->stride_x);
    w.mul_y = w.mul_x = 1;
    w.tap_y = itp_tap_axis_backward(g->taps_y, oy, g->stride_y, g->pad_y, g->dilation_y);
    w.tap_x = itp_tap_axis_backward(g->taps_x, ox, g->stride_x, g->pad_x, g->dilation_x);
    w.taps = w.tap_y.count * w.tap_x.count;
    w.packed_taps = itp_conv_taps(c);
    w.packed_taps_x = g->taps_x;
    w.x_image = (ptrdiff_t)c->out_channels * (ptrdiff_t)itp_conv_out(c);
    w.y_plane = (ptrdiff_t)itp_conv_in(c);
    w.y_image = c->in_channels * w.y_plane;
    w.y_row = (ptrdiff_t)g->width * g->stride_y, w.y_step = g->stride_x;
    if (itp_conv_pointwise(c)) {
        w.width = w.columns = g->height * g->width;
        w.height = w.rows = 1;
    }
    return w;
}

/* Which side the pixels are on is one decision for all phases: they share the packed weights. */
ITP_FN bool itp_backward_by_pixels(const interp_ctx *ctx, const itp_conv *c)
{
    const itp_windows w = itp_windows_backward(c, 0, 0);
    return itp_windows_by_pixels(ctx, &w);
}

/* ---- gradient of the weights: sums over pixels

   dw(o, i, tap) = sum over images and pixels of dy(o, pixel) x(i, pixel + tap). Steps of a tile are
   pixels and its columns output planes; its rows are input planes for one tap at a time (shifted),
   or, where input planes are few, planes and taps. Both operands are turned first, so that what
   belongs to a pixel lies side by side. */
typedef struct itp_sums {
    itp_windows w; /* the forward convolution */
    itp_cut cut;   /* one block: some rows and columns of one image */
    bool shifted;
    int rows, panels; /* of tiles: all rows, panels of them */
    int column_blocks, row_blocks, blocks;
    int parts;              /* that the blocks are summed in; each has sums of its own */
    int out_panels, groups; /* panels of output planes; groups of them that are tasks */
    size_t slab, turned_x, turned_dy, part; /* floats */
} itp_sums;

#define ITP_FEW_PLANES 8 /* fewer input planes go together with their taps */

ITP_FN itp_sums itp_sums_of(const interp_ctx *ctx, const itp_conv *c)
{
    itp_sums s;
    const int mr = ctx->k->mr, nr = ctx->k->nr;
    s.w = itp_windows_forward(ctx, c);
    const itp_windows *w = &s.w;
    s.shifted = w->taps > 1 && w->inputs >= ITP_FEW_PLANES;
    s.rows = w->inputs * (s.shifted ? 1 : w->taps);
    s.panels = itp_div_up(s.rows, mr);
    s.out_panels = itp_div_up(w->outputs, nr);
    const double pixels = 2.0 * ITP_SLAB / (w->inputs + s.rows + w->outputs);
    int columns = w->columns, rows = (int)(pixels / columns);
    if (w->rows == 1) columns = itp_min(columns, itp_max(64, (int)pixels));
    rows = itp_max(1, itp_min(rows, w->rows));
    rows = itp_div_up(w->rows, itp_div_up(w->rows, rows));
    s.cut = itp_cut_taps(w, 1);
    itp_cut_size(&s.cut, w, rows, columns, w->inputs, 0);
    s.column_blocks = itp_div_up(w->columns, columns);
    s.row_blocks = itp_div_up(w->rows, rows);
    s.blocks = w->batch * s.row_blocks * s.column_blocks;
    s.part = (size_t)w->inputs * (size_t)w->taps * (size_t)(s.out_panels * nr);
    s.parts = s.part > ITP_SPLIT_WEIGHTS || itp_conv_work(c) < 1e6
                  ? 1
                  : itp_min(s.blocks, ITP_SPLIT_PARTS);
    s.groups = itp_min(s.out_panels, s.parts > 1 ? 1 : 2 * ctx->slots);
    const size_t reach = (size_t)(((rows - 1) * w->mul_y + s.cut.span_y) * s.cut.row);
    const size_t steps = s.shifted ? reach : (size_t)rows * (size_t)columns;
    s.slab = s.cut.slab;
    s.turned_x = itp_round_up(steps * (size_t)(s.panels * mr), 16);
    s.turned_dy = (size_t)rows * (size_t)columns * (size_t)nr;
    return s;
}

typedef struct itp_sums_job {
    const itp_kernels *kernels;
    const itp_sums *s;
    itp_scratch scratch;
    const ptrdiff_t *x_at;        /* [taps]: in the image or the slab */
    const ptrdiff_t *row_at;      /* [rows]: where a row of tiles starts, not shifted */
    const ptrdiff_t *a_at, *b_at; /* [columns]: steps along a row of pixels */
    const float *dy;
    ptrdiff_t dy_image;
    float *sums; /* [parts][out_panels][inputs][taps][nr] */
} itp_sums_job;

/* One block into the sums at `sums`, for output panels p0..p1; `first`: there are none yet. */
ITP_FN void itp_sums_block(const itp_sums_job *j, int block, int p0, int p1, bool first,
                           float *sums, float *slab)
{
    const itp_sums *s = j->s;
    const itp_windows *w = &s->w;
    const itp_cut *c = &s->cut;
    const itp_kernels *k = j->kernels;
    const int x0 = block % s->column_blocks * c->columns;
    const int y0 = block / s->column_blocks % s->row_blocks * c->rows;
    const int image = block / s->column_blocks / s->row_blocks;
    const int rows = itp_min(c->rows, w->rows - y0), columns = itp_min(c->columns, w->columns - x0);
    const int taps = s->shifted ? w->taps : 1;
    const float *x = w->x + image * w->x_image;
    float *turned_x = slab + s->slab, *turned_dy = turned_x + s->turned_x;
    if (c->in_place) x += (ptrdiff_t)y0 * w->mul_y * c->row + x0;
    else {
        itp_slab_fill(w, c, x, y0, rows, x0, columns, 0, w->inputs, slab);
        x = slab;
    }
    const int reach = (int)(((rows - 1) * w->mul_y + c->span_y) * c->row);
    const ptrdiff_t steps = s->shifted ? reach : rows * columns;
    for (int p = 0; p < s->panels; p++) {
        const int r0 = (int)((int64_t)s->rows * p / s->panels);
        const int m = (int)((int64_t)s->rows * (p + 1) / s->panels) - r0;
        float *out = turned_x + p * steps * k->mr;
        if (s->shifted) /* an image that is read where it lies may end within the last row */
            k->interleave(m, c->in_place ? reach - w->width + columns + c->span_x - 1 : reach,
                          x + r0 * c->plane, c->plane, NULL, out, k->mr);
        else
            for (int r = 0; r < rows; r++)
                k->interleave(m, columns, x + r * w->mul_y * c->row, 0, j->row_at + r0,
                              out + (ptrdiff_t)r * columns * k->mr, k->mr);
    }
    itp_tile t;
    memset(&t, 0, sizeof t);
    t.outer = rows, t.inner = columns;
    t.a_outer = (s->shifted ? w->mul_y * c->row : columns) * k->mr;
    t.b_outer = (ptrdiff_t)columns * k->nr;
    t.a_inner = j->a_at, t.b_inner = j->b_at;
    t.b = turned_dy;
    t.ahead = turned_dy, t.ahead_step = 0;
    t.from_rs = t.to_rs = (ptrdiff_t)taps * k->nr;
    for (int q = p0; q < p1; q++) {
        const int o0 = q * k->nr, planes = itp_min(k->nr, w->outputs - o0);
        const float *dy = j->dy + image * j->dy_image + o0 * w->y_plane + y0 * w->y_row + x0;
        t.columns = planes <= k->width ? k->width : k->nr;
        if (planes < t.columns)
            memset(turned_dy, 0, (size_t)(rows * columns * k->nr) * sizeof *turned_dy);
        if (columns == w->y_row)
            k->interleave(planes, rows * columns, dy, w->y_plane, NULL, turned_dy, k->nr);
        else
            for (int r = 0; r < rows; r++)
                k->interleave(planes, columns, dy + r * w->y_row, w->y_plane, NULL,
                              turned_dy + (ptrdiff_t)r * columns * k->nr, k->nr);
        for (int p = 0; p < s->panels; p++) {
            const int r0 = (int)((int64_t)s->rows * p / s->panels);
            t.rows = (int)((int64_t)s->rows * (p + 1) / s->panels) - r0;
            for (int tap = 0; tap < taps; tap++) {
                t.a = turned_x + p * steps * k->mr + (s->shifted ? j->x_at[tap] * k->mr : 0);
                t.to = sums + (((ptrdiff_t)q * s->rows + r0) * taps + tap) * k->nr;
                t.from = first ? NULL : t.to;
                k->tile(&t);
            }
        }
    }
}

ITP_FN void itp_sums_task(void *arg, int task, int slot)
{
    const itp_sums_job *j = (const itp_sums_job *)arg;
    const itp_sums *s = j->s;
    const int part = task / s->groups, group = task % s->groups;
    const int first = (int)((int64_t)s->blocks * part / s->parts);
    const int end = (int)((int64_t)s->blocks * (part + 1) / s->parts);
    for (int b = first; b < end; b++)
        itp_sums_block(j, b, (int)((int64_t)s->out_panels * group / s->groups),
                       (int)((int64_t)s->out_panels * (group + 1) / s->groups), b == first,
                       j->sums + (size_t)part * s->part, itp_scratch_slot(&j->scratch, slot));
}

typedef struct itp_turn_job {
    const itp_kernels *kernels;
    const itp_sums *s;
    const float *sums;
    itp_scratch scratch;
    float *dw, beta;
} itp_turn_job;

/* The sums of one panel of output planes, all parts in order, into dw[out][in][taps]. */
ITP_FN void itp_turn_task(void *arg, int panel, int slot)
{
    const itp_turn_job *j = (const itp_turn_job *)arg;
    const itp_sums *s = j->s;
    const itp_kernels *k = j->kernels;
    const int taps = s->w.taps, inputs = s->w.inputs, nr = k->nr;
    const int o0 = panel * nr, planes = itp_min(nr, s->w.outputs - o0);
    const size_t count = (size_t)inputs * (size_t)taps * (size_t)nr;
    float *total = itp_scratch_slot(&j->scratch, slot);
    const float *sums = j->sums + (size_t)panel * count;
    if (s->parts > 1) {
        memcpy(total, sums, count * sizeof *total);
        for (int p = 1; p < s->parts; p++)
            k->scale_add(count, 1, sums + (size_t)p * s->part, 1, total);
        sums = total;
    }
    const int step = inputs * taps;
    float *to = j->dw + (ptrdiff_t)o0 * step;
    if (j->beta == 0) {
        k->interleave(step, planes, sums, nr, NULL, to, step);
        return;
    }
    float *turned = total + (s->parts > 1 ? count : 0);
    k->interleave(step, planes, sums, nr, NULL, turned, step);
    k->scale_add((size_t)(planes * step), 1, turned, j->beta, to);
}

/* ---- what the ops call */

/* Packed weights of all groups, of the forward pass or of the gradient of x, in floats. */
ITP_FN size_t itp_conv_packed_floats(const interp_ctx *ctx, const itp_conv *c, bool backward)
{
    const int in = c->in_channels / c->groups, out = c->out_channels / c->groups;
    if (itp_conv_depthwise(c)) /* a copy, that a batch norm may be taken into */
        return backward ? 0 : itp_round_up((size_t)c->out_channels * (size_t)itp_conv_taps(c), 16);
    const size_t group =
        backward ? itp_packed_floats(ctx, c, out, in, itp_backward_by_pixels(ctx, c))
                 : itp_packed_floats(ctx, c, in, out, itp_windows_forward(ctx, c).pixels);
    return itp_round_up((size_t)c->groups * group, 16);
}

ITP_FN void itp_conv_pack(interp_ctx *ctx, const itp_conv *c, const float *w, bool backward,
                          float *packed)
{
    const int in = c->in_channels / c->groups, out = c->out_channels / c->groups;
    const int inputs = backward ? out : in, outputs = backward ? in : out;
    if (itp_conv_depthwise(c)) {
        if (!backward)
            memcpy(packed, w, (size_t)c->out_channels * (size_t)itp_conv_taps(c) * sizeof *w);
        return;
    }
    const bool pixels =
        backward ? itp_backward_by_pixels(ctx, c) : itp_windows_forward(ctx, c).pixels;
    const size_t group = itp_packed_floats(ctx, c, inputs, outputs, pixels);
    for (int g = 0; g < c->groups; g++)
        itp_pack_weights(ctx, c, w + (ptrdiff_t)g * out * in * itp_conv_taps(c), backward, pixels,
                         inputs, outputs, packed + (size_t)g * group);
}

/* Scratch of one slot, and scratch shared by all, in floats; for whichever of the three is asked. */
typedef struct itp_conv_need {
    size_t slot, shared;
} itp_conv_need;

/* Tables of offsets, in the shared scratch. */
ITP_FN size_t itp_conv_offset_floats(size_t offsets)
{
    return itp_round_up(offsets * sizeof(ptrdiff_t) / sizeof(float) + 1, 16);
}

ITP_FN itp_conv_need itp_conv_scratch(const interp_ctx *ctx, const itp_conv *c, bool forward,
                                      bool data, bool weights)
{
    itp_conv_need need = {0, 0};
    if (itp_conv_depthwise(c)) return need;
    const size_t taps = (size_t)itp_conv_taps(c);
    if (forward) {
        const itp_windows w = itp_windows_forward(ctx, c);
        const itp_cut cut = itp_cut_of(ctx, &w, ctx->slots);
        need.slot = cut.slab + cut.gathered;
        need.shared = itp_conv_offset_floats(3 * taps) + itp_conv_packed_floats(ctx, c, false);
    }
    if (data) {
        const bool pixels = itp_backward_by_pixels(ctx, c);
        for (int oy = 0; oy < itp_min(c->plane.stride_y, c->plane.height); oy++)
            for (int ox = 0; ox < itp_min(c->plane.stride_x, c->plane.width); ox++) {
                itp_windows w = itp_windows_backward(c, oy, ox);
                w.pixels = pixels;
                const itp_cut cut = itp_cut_of(ctx, &w, ctx->slots);
                need.slot = itp_max_size(need.slot, cut.slab + cut.gathered);
            }
        need.shared = itp_max_size(need.shared, itp_conv_offset_floats(3 * taps) +
                                                    itp_conv_packed_floats(ctx, c, true));
    }
    if (weights) {
        const itp_sums s = itp_sums_of(ctx, c);
        need.slot = itp_max_size(need.slot, s.slab + s.turned_x + s.turned_dy);
        need.slot = itp_max_size(need.slot, 2 * s.part / (size_t)s.out_panels);
        need.shared = itp_max_size(
            need.shared, itp_conv_offset_floats(taps + (size_t)s.rows + 2 * (size_t)s.cut.columns) +
                             (size_t)s.parts * s.part);
    }
    return need;
}

/* Multiplies the packed forward weights of one output channel. */
ITP_FN void itp_conv_scale_packed(const interp_ctx *ctx, const itp_conv *c, int channel,
                                  float scale, float *packed)
{
    const int outputs = c->out_channels / c->groups, k = channel % outputs;
    size_t steps = (size_t)itp_conv_taps(c), width = 1, at = (size_t)channel * steps;
    if (!itp_conv_depthwise(c)) {
        const itp_windows w = itp_windows_forward(ctx, c);
        const size_t group = itp_packed_floats(ctx, c, w.inputs, outputs, w.pixels);
        const int panels = itp_div_up(outputs, ctx->k->mr);
        int panel = 0, first = 0;
        steps *= (size_t)w.inputs;
        width = (size_t)(w.pixels ? ctx->k->nr : ctx->k->mr);
        if (w.pixels) panel = k / ctx->k->nr, first = panel * ctx->k->nr;
        else {
            while ((int64_t)outputs * (panel + 1) / panels <= k) panel++;
            first = (int)((int64_t)outputs * panel / panels);
        }
        at = (size_t)(channel / outputs) * group + (size_t)panel * steps * width +
             (size_t)(k - first);
    }
    for (size_t i = 0; i < steps; i++) packed[at + i * width] *= scale;
}

/* y = after(conv(x, w) + bias). packed: by itp_conv_pack, NULL: done here; shared: see itp_conv_scratch. */
ITP_FN void itp_conv_forward(interp_ctx *ctx, const itp_conv *c, const float *x, const float *w,
                             const float *packed, const float *bias, const itp_after *after,
                             float *y, itp_scratch scratch, float *shared)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, 0);
        j.x = x, j.w = packed ? packed : w, j.bias = bias, j.after = after, j.y = y;
        itp_parallel(ctx, c->batch * c->out_channels, itp_conv_work(c), itp_depthwise_task, &j);
        return;
    }
    itp_windows d = itp_windows_forward(ctx, c);
    d.after = after;
    if (!packed) {
        float *own = shared + itp_conv_offset_floats(3 * (size_t)itp_conv_taps(c));
        itp_conv_pack(ctx, c, w, false, own);
        packed = own;
    }
    for (int g = 0; g < c->groups; g++) {
        d.packed = packed + (size_t)g * itp_packed_floats(ctx, c, d.inputs, d.outputs, d.pixels);
        d.x = x + (size_t)(g * d.inputs) * itp_conv_in(c);
        d.y = y + g * d.outputs * d.y_plane;
        d.bias = bias ? bias + g * d.outputs : NULL;
        itp_windows_run(ctx, &d, scratch, (ptrdiff_t *)(void *)shared);
    }
}

/* dx = gradient (+ beta dx) */
ITP_FN void itp_conv_data(interp_ctx *ctx, const itp_conv *c, const float *dy, const float *w,
                          const float *packed, float beta, float *dx, itp_scratch scratch,
                          float *shared)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, beta);
        j.dy = dy, j.w = w, j.dx = dx;
        itp_parallel(ctx, c->batch * c->in_channels, itp_conv_work(c), itp_depthwise_data_task, &j);
        return;
    }
    const int in = c->in_channels / c->groups, out = c->out_channels / c->groups;
    if (!packed) {
        float *own = shared + itp_conv_offset_floats(3 * (size_t)itp_conv_taps(c));
        itp_conv_pack(ctx, c, w, true, own);
        packed = own;
    }
    const bool pixels = itp_backward_by_pixels(ctx, c);
    const size_t group = itp_packed_floats(ctx, c, out, in, pixels);
    for (int g = 0; g < c->groups; g++)
        for (int oy = 0; oy < itp_min(c->plane.stride_y, c->plane.height); oy++)
            for (int ox = 0; ox < itp_min(c->plane.stride_x, c->plane.width); ox++) {
                itp_windows d = itp_windows_backward(c, oy, ox);
                d.pixels = pixels;
                d.packed = packed + (size_t)g * group;
                d.x = dy + (size_t)(g * out) * itp_conv_out(c);
                d.y = dx + g * in * d.y_plane + (ptrdiff_t)oy * c->plane.width + ox;
                d.beta = beta;
                itp_windows_run(ctx, &d, scratch, (ptrdiff_t *)(void *)shared);
            }
}

/* dw = gradient (+ beta dw) */
ITP_FN void itp_conv_weights(interp_ctx *ctx, const itp_conv *c, const float *x, const float *dy,
                             float beta, float *dw, itp_scratch scratch, float *shared)
{
    if (itp_conv_depthwise(c)) {
        itp_plane_job j = itp_plane_job_new(ctx, c, beta);
        j.x = x, j.dy = dy, j.dw = dw;
        itp_parallel(ctx, c->out_channels, itp_conv_work(c), itp_depthwise_weights_task, &j);
        return;
    }
    itp_sums s = itp_sums_of(ctx, c);
    const int taps = s.w.taps, columns = s.cut.columns;
    ptrdiff_t *x_at = (ptrdiff_t *)(void *)shared;
    ptrdiff_t *row_at = x_at + taps, *a_at = row_at + s.rows, *b_at = a_at + columns;
    itp_windows_offsets(&s.w, &s.cut, x_at);
    for (int r = 0; r < s.rows && !s.shifted; r++)
        row_at[r] = r / taps * s.cut.plane + x_at[r % taps];
    for (int q = 0; q < columns; q++)
        a_at[q] = (ptrdiff_t)q * ctx->k->mr, b_at[q] = (ptrdiff_t)q * ctx->k->nr;
    itp_sums_job j;
    j.kernels = ctx->k, j.s = &s, j.scratch = scratch;
    j.x_at = x_at, j.row_at = row_at, j.a_at = a_at, j.b_at = b_at;
    j.dy_image = s.w.y_image;
    j.sums = shared + itp_conv_offset_floats((size_t)(taps + s.rows + 2 * columns));
    itp_turn_job turn;
    turn.kernels = ctx->k, turn.s = &s, turn.sums = j.sums, turn.scratch = scratch;
    turn.beta = beta;
    for (int g = 0; g < c->groups; g++) {
        s.w.x = x + (size_t)(g * s.w.inputs) * itp_conv_in(c);
        j.dy = dy + g * s.w.outputs * s.w.y_plane;
        turn.dw = dw + (ptrdiff_t)g * s.w.outputs * s.w.inputs * taps;
        itp_parallel(ctx, s.parts * s.groups, itp_conv_work(c), itp_sums_task, &j);
        itp_parallel(ctx, s.out_panels, (double)s.parts * (double)s.part, itp_turn_task, &turn);
    }
}

/* db[o] = sum of dy over images and pixels (+ beta db) */
typedef struct itp_bias_job {
    const itp_kernels *kernels;
    const itp_conv *c;
    const float *dy;
    float *db, beta;
} itp_bias_job;

ITP_FN void itp_conv_bias_task(void *arg, int o, int slot)
{
    (void)slot;
    const itp_bias_job *j = (const itp_bias_job *)arg;
    const size_t pixels = itp_conv_out(j->c);
    double sum = 0;
    for (int b = 0; b < j->c->batch; b++)
        sum += j->kernels->sum(
            pixels, j->dy + ((size_t)b * (size_t)j->c->out_channels + (size_t)o) * pixels);
    j->db[o] = (float)sum + (j->beta == 0 ? 0 : j->db[o]);
}

ITP_FN void itp_conv_bias(interp_ctx *ctx, const itp_conv *c, const float *dy, float beta,
                          float *db)
{
    itp_bias_job j;
    j.kernels = ctx->k, j.c = c, j.dy = dy, j.db = db, j.beta = beta;
    itp_parallel(ctx, c->out_channels, (double)c->batch * c->out_channels * (double)itp_conv_out(c),
                 itp_conv_bias_task, &j);
}
/* >>math/linalg.c                                                                             */
/* ---- math/linalg.c: symmetric eigenvectors, principal components ------------------------------ */

/* Householder reduction of the symmetric a[n,n] (row-major) to tridiagonal form: d the diagonal, e
   the part below it (e[0] unused). On return a holds the orthogonal matrix, columns its vectors. */
ITP_FN void itp_tridiagonal(int n, double *a, double *d, double *e)
{
#define ITP_A(i, j) a[(size_t)(i) * (size_t)n + (size_t)(j)]
    for (int i = n - 1; i > 0; i--) {
        double scale = 0, h = 0;
        for (int k = 0; k < i; k++) scale += fabs(ITP_A(i, k));
        if (i == 1 || scale == 0) {
            e[i] = ITP_A(i, i - 1);
            d[i] = 0;
            continue;
        }
        for (int k = 0; k < i; k++) {
            ITP_A(i, k) /= scale;
            h += ITP_A(i, k) * ITP_A(i, k);
        }
        const double f = ITP_A(i, i - 1), g = f > 0 ? -sqrt(h) : sqrt(h);
        e[i] = scale * g;
        h -= f * g;
        ITP_A(i, i - 1) = f - g;
        double sum = 0;
        for (int j = 0; j < i; j++) { /* e = A u / h, and u is kept in column i */
            ITP_A(j, i) = ITP_A(i, j) / h;
            double t = 0;
            for (int k = 0; k <= j; k++) t += ITP_A(j, k) * ITP_A(i, k);
            for (int k = j + 1; k < i; k++) t += ITP_A(k, j) * ITP_A(i, k);
            e[j] = t / h;
            sum += e[j] * ITP_A(i, j);
        }
        const double half = sum / (h + h);
        for (int j = 0; j < i; j++) {
            const double u = ITP_A(i, j);
            e[j] -= half * u;
            for (int k = 0; k <= j; k++) ITP_A(j, k) -= u * e[k] + e[j] * ITP_A(i, k);
        }
        d[i] = h;
    }
    d[0] = e[0] = 0;
    for (int i = 0; i < n; i++) { /* gather the reflections */
        if (d[i] != 0)
            for (int j = 0; j < i; j++) {
                double g = 0;
                for (int k = 0; k < i; k++) g += ITP_A(i, k) * ITP_A(k, j);
                for (int k = 0; k < i; k++) ITP_A(k, j) -= g * ITP_A(k, i);
            }
        d[i] = ITP_A(i, i);
        ITP_A(i, i) = 1;
        for (int j = 0; j < i; j++) ITP_A(j, i) = ITP_A(i, j) = 0;
    }
}

/* Implicit QL on the tridiagonal form; eigenvalues in d, vectors in the columns of a. */
ITP_FN bool itp_tridiagonal_ql(int n, double *a, double *d, double *e)
{
    for (int i = 1; i < n; i++) e[i - 1] = e[i];
    e[n - 1] = 0;
    for (int l = 0; l < n; l++) {
        for (int round = 0;; round++) {
            int m = l;
            for (; m < n - 1; m++) {
                const double size = fabs(d[m]) + fabs(d[m + 1]);
                if (fabs(e[m]) <= DBL_EPSILON * size) break;
            }
            if (m == l) break;
            if (round == 60) return false;
            double g = (d[l + 1] - d[l]) / (2 * e[l]);
            double r = sqrt(g * g + 1);
            g = d[m] - d[l] + e[l] / (g + (g >= 0 ? r : -r));
            double s = 1, c = 1, p = 0;
            int i = m - 1;
            for (; i >= l; i--) {
                const double f = s * e[i], b = c * e[i];
                r = sqrt(f * f + g * g);
                e[i + 1] = r;
                if (r == 0) {
                    d[i + 1] -= p;
                    e[m] = 0;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                const double t = (d[i] - g) * s + 2 * c * b;
                p = s * t;
                d[i + 1] = g + p;
                g = c * t - b;
                for (int k = 0; k < n; k++) {
                    const double v = ITP_A(k, i + 1);
                    ITP_A(k, i + 1) = s * ITP_A(k, i) + c * v;
                    ITP_A(k, i) = c * ITP_A(k, i) - s * v;
                }
            }
            if (r == 0 && i >= l) continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    return true;
#undef ITP_A
}

/* The scratch of a principal component analysis. */
typedef struct itp_pca {
    double *covariance, *values, *off, *mean;
    int *order;
    float *centred;
} itp_pca;

ITP_FN void itp_pca_layout(itp_arena *arena, itp_pca *p, int n, int d)
{
    const size_t s = (size_t)d;
    p->covariance = (double *)itp_arena_alloc(arena, s * s * sizeof(double));
    p->values = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->off = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->mean = (double *)itp_arena_alloc(arena, s * sizeof(double));
    p->order = (int *)itp_arena_alloc(arena, s * sizeof(int));
    p->centred = itp_arena_floats(arena, itp_mul_size((size_t)n, s) + s * s);
}

/* Covariance of the centred rows, in blocks of rows so that sums over many rows stay exact. */
ITP_FN interp_status itp_pca_covariance(interp_ctx *ctx, itp_pca *p, int n, int d)
{
    float *block = p->centred + (size_t)n * (size_t)d;
    memset(p->covariance, 0, (size_t)d * (size_t)d * sizeof(double));
    for (int at = 0; at < n; at += 1024) {
        const int rows = itp_min(1024, n - at);
        const float *x = p->centred + (size_t)at * (size_t)d;
        ITP_TRY(interp_sgemm(ctx, true, false, d, d, rows, 1, x, d, x, d, 0, block, d));
        for (size_t i = 0; i < (size_t)d * (size_t)d; i++) p->covariance[i] += (double)block[i];
    }
    for (size_t i = 0; i < (size_t)d * (size_t)d; i++) p->covariance[i] /= n - 1;
    return INTERP_OK;
}

ITP_FN void itp_pca_scores(const itp_pca *p, int n, int d, int k, bool whiten, float *scores,
                           float *components, float *explained)
{
    double total = 0;
    for (int i = 0; i < d; i++) total += p->values[i] > 0 ? p->values[i] : 0;
    for (int c = 0; c < k; c++) {
        const int column = p->order[c];
        const double value = p->values[column] > 0 ? p->values[column] : 0;
        double largest = 0;
        for (int i = 0; i < d; i++) {
            const double v = p->covariance[(size_t)i * (size_t)d + (size_t)column];
            if (fabs(v) > fabs(largest)) largest = v;
        }
        const double sign = largest < 0 ? -1 : 1;
        const double scale = whiten ? (value > 0 ? sign / sqrt(value) : 0) : sign;
        for (int r = 0; r < n; r++) {
            double s = 0;
            for (int i = 0; i < d; i++)
                s += (double)p->centred[(size_t)r * (size_t)d + (size_t)i] *
                     p->covariance[(size_t)i * (size_t)d + (size_t)column];
            scores[(size_t)r * (size_t)k + (size_t)c] = (float)(scale * s);
        }
        for (int i = 0; i < d && components; i++)
            components[(size_t)c * (size_t)d + (size_t)i] =
                (float)(sign * p->covariance[(size_t)i * (size_t)d + (size_t)column]);
        if (explained) explained[c] = (float)(total > 0 ? value / total : 0);
    }
}

INTERP_API interp_status interp_pca(interp_ctx *ctx, const float *x, int n, int d,
                                    const interp_pca_desc *desc, float *scores, float *components,
                                    float *explained)
{
    const int k = desc && desc->n_components ? desc->n_components : 2;
    if (n < 2 || d < 1 || k < 1 || k > d)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "pca: %d components of %d samples with %d columns cannot be found", k, n,
                        d);
    if (!itp_is_finite(x, (size_t)n * (size_t)d))
        return itp_fail(ctx, INTERP_NOT_FINITE, "pca: the samples hold NaN or infinite numbers");
    itp_pca p;
    itp_arena arena = {NULL, 0};
    itp_pca_layout(&arena, &p, n, d);
    char *block = (char *)interp_alloc(ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block;
    arena.used = 0;
    itp_pca_layout(&arena, &p, n, d);
    for (int i = 0; i < d; i++) {
        double s = 0;
        for (int r = 0; r < n; r++) s += (double)x[(size_t)r * (size_t)d + (size_t)i];
        p.mean[i] = s / n;
    }
    for (int r = 0; r < n; r++)
        for (int i = 0; i < d; i++) {
            const size_t at = (size_t)r * (size_t)d + (size_t)i;
            p.centred[at] = (float)((double)x[at] - p.mean[i]);
        }
    interp_status status = itp_pca_covariance(ctx, &p, n, d);
    if (!status) {
        itp_tridiagonal(d, p.covariance, p.values, p.off);
        if (!itp_tridiagonal_ql(d, p.covariance, p.values, p.off))
            status = itp_fail(ctx, INTERP_NOT_FINITE, "pca: the eigenvalues did not converge");
    }
    if (!status) {
        for (int i = 0; i < d; i++) p.order[i] = i;
        for (int i = 1; i < d; i++) { /* by falling eigenvalue */
            const int t = p.order[i];
            int j = i;
            for (; j > 0 && p.values[p.order[j - 1]] < p.values[t]; j--)
                p.order[j] = p.order[j - 1];
            p.order[j] = t;
        }
        itp_pca_scores(&p, n, d, k, desc && desc->whiten, scores, components, explained);
    }
    interp_free(ctx, block);
    return status;
}
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
/* >>data/array.c                                                                              */
/* ---- data/array.c: element types, byte order, conversion ------------------------------------- */

/* IEEE single even where double-precision tests redefine `float`. */
#if defined(INTERP_TEST_DOUBLE)
typedef __typeof__(1.0f) itp_f32;
#else
typedef float itp_f32;
#endif
ITP_STATIC_ASSERT(sizeof(itp_f32) == 4, "float32 is stored in files as four bytes");

#define ITP_FLOAT_DTYPE (sizeof(float) == 4 ? INTERP_FLOAT32 : INTERP_FLOAT64)

typedef struct itp_dtype_row {
    const char *name;        /* numpy's */
    unsigned size;           /* bytes */
    const char *npy;         /* type code in an NPY header, NULL when it has none */
    const char *safetensors; /* type name there */
} itp_dtype_row;

ITP_FN const itp_dtype_row *itp_dtype(interp_dtype dtype)
{
    static const itp_dtype_row rows[INTERP_DTYPE_COUNT] = {
        {"float32", 4, "f4", "F32"},   {"float64", 8, "f8", "F64"}, {"float16", 2, "f2", "F16"},
        {"bfloat16", 2, NULL, "BF16"}, {"int8", 1, "i1", "I8"},     {"int16", 2, "i2", "I16"},
        {"int32", 4, "i4", "I32"},     {"int64", 8, "i8", "I64"},   {"uint8", 1, "u1", "U8"},
        {"uint16", 2, "u2", "U16"},    {"uint32", 4, "u4", "U32"},  {"uint64", 8, "u8", "U64"},
        {"bool", 1, "b1", "BOOL"},
    };
    return &rows[dtype];
}

INTERP_API size_t interp_dtype_size(interp_dtype dtype)
{
    return (unsigned)dtype < INTERP_DTYPE_COUNT ? itp_dtype(dtype)->size : 0;
}

INTERP_API const char *interp_dtype_name(interp_dtype dtype)
{
    return (unsigned)dtype < INTERP_DTYPE_COUNT ? itp_dtype(dtype)->name : "?";
}

/* ---- bytes in either order */

ITP_FN unsigned itp_get_le16(const unsigned char *p)
{
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

ITP_FN uint32_t itp_get_le32(const unsigned char *p)
{
    return (uint32_t)itp_get_le16(p) | (uint32_t)itp_get_le16(p + 2) << 16;
}

ITP_FN uint64_t itp_get_le64(const unsigned char *p)
{
    return (uint64_t)itp_get_le32(p) | (uint64_t)itp_get_le32(p + 4) << 32;
}

ITP_FN uint32_t itp_get_be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

ITP_FN bool itp_host_is_little(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* Reverses the bytes of each of n elements. */
ITP_FN void itp_swap_bytes(void *data, size_t n, size_t size)
{
    unsigned char *p = (unsigned char *)data;
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t j = 0; j < size / 2; j++) {
            const unsigned char t = p[j];
            p[j] = p[size - 1 - j];
            p[size - 1 - j] = t;
        }
}

/* ---- sorting: in place, no allocation (qsort may call malloc), O(n log n) on any input */

typedef int (*itp_compare_fn)(const void *a, const void *b);

ITP_FN void itp_sort_swap(unsigned char *a, unsigned char *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const unsigned char t = a[i];
        a[i] = b[i];
        b[i] = t;
    }
}

/* Heap sort; not stable. */
ITP_FN void itp_sort(void *items, size_t n, size_t size, itp_compare_fn compare)
{
    unsigned char *p = (unsigned char *)items;
    if (n < 2) return;
    size_t start = n / 2, end = n;
    for (;;) {
        if (start > 0) start--;
        else if (--end > 0) itp_sort_swap(p, p + end * size, size);
        else return;
        for (size_t root = start, child; (child = 2 * root + 1) < end; root = child) {
            if (child + 1 < end && compare(p + child * size, p + (child + 1) * size) < 0) child++;
            if (compare(p + root * size, p + child * size) >= 0) break;
            itp_sort_swap(p + root * size, p + child * size, size);
        }
    }
}

/* Orders things that begin with a pointer to their name. */
ITP_FN int itp_compare_names(const void *a, const void *b)
{
    const char *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return strcmp(x, y);
}

/* ---- shapes and arrays */

ITP_FN interp_shape itp_shape_none(void)
{
    interp_shape s;
    s.rank = 0;
    for (int i = 0; i < INTERP_MAX_RANK; i++) s.dim[i] = 1;
    return s;
}

ITP_FN interp_shape itp_shape_3(int a, int b, int c)
{
    interp_shape s = itp_shape_none();
    s.rank = 3;
    s.dim[0] = a, s.dim[1] = b, s.dim[2] = c;
    return s;
}

/* The shape a file states, its `rank` within INTERP_MAX_RANK; FORMAT when so many elements of
   `size` bytes cannot be held. */
ITP_FN interp_status itp_shape_from_file(interp_ctx *ctx, const char *name, int rank,
                                         const uint64_t *dims, size_t size, interp_shape *shape,
                                         size_t *bytes)
{
    interp_shape s = itp_shape_none();
    s.rank = rank;
    for (int i = 0; i < rank; i++) {
        if (dims[i] > INT_MAX)
            return itp_fail(ctx, INTERP_FORMAT, "%s: dimension %d is %llu; at most %d is possible",
                            name, i, (unsigned long long)dims[i], INT_MAX);
        s.dim[i] = (int)dims[i];
    }
    *bytes = itp_mul_size(interp_shape_size(&s), size);
    if (*bytes > SIZE_MAX / 4)
        return itp_fail(ctx, INTERP_FORMAT, "%s: its shape has more elements than memory can hold",
                        name);
    *shape = s;
    return INTERP_OK;
}

ITP_FN interp_array itp_array_none(void)
{
    interp_array a;
    memset(&a, 0, sizeof a);
    return a;
}

ITP_FN interp_status itp_array_new(interp_ctx *ctx, interp_dtype dtype, const interp_shape *shape,
                                   interp_array *out)
{
    out->dtype = dtype;
    out->shape = *shape;
    out->data = interp_alloc(ctx, itp_mul_size(interp_shape_size(shape), itp_dtype(dtype)->size));
    return out->data ? INTERP_OK : INTERP_NO_MEMORY;
}

/* A new array of the elements at `bytes`, which are in the byte order told. */
ITP_FN interp_status itp_array_from_bytes(interp_ctx *ctx, interp_dtype dtype,
                                          const interp_shape *shape, const void *bytes, bool little,
                                          interp_array *out)
{
    ITP_TRY(itp_array_new(ctx, dtype, shape, out));
    const size_t n = interp_shape_size(shape), size = itp_dtype(dtype)->size;
    if (n) memcpy(out->data, bytes, n * size);
    if (little != itp_host_is_little()) itp_swap_bytes(out->data, n, size);
    if (dtype == INTERP_BOOL) {
        unsigned char *p = (unsigned char *)out->data;
        for (size_t i = 0; i < n; i++) p[i] = p[i] != 0; /* other values are no C bool */
    }
    return INTERP_OK;
}

INTERP_API void interp_array_free(interp_ctx *ctx, interp_array *array)
{
    interp_free(ctx, array->data);
    memset(array, 0, sizeof *array);
}

ITP_FN itp_f32 itp_f32_of_bits(uint32_t bits)
{
    itp_f32 x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

ITP_FN itp_f32 itp_f32_of_half(unsigned h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, fraction = h & 0x3FFu;
    const uint32_t exponent = h >> 10 & 31;
    if (exponent == 31) return itp_f32_of_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent) return itp_f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const itp_f32 tiny = (itp_f32)fraction * (1.0f / 16777216.0f); /* subnormal: fraction 2^-24 */
    return sign ? -tiny : tiny;
}

#define ITP_CONVERT_LOOP(type, value)                                                              \
    do {                                                                                           \
        const type *p = (const type *)array->data;                                                 \
        for (size_t i = 0; i < n; i++) out[i] = (float)(value);                                    \
    } while (0)

INTERP_API void interp_array_floats(const interp_array *array, float *out)
{
    const size_t n = interp_shape_size(&array->shape);
    switch (array->dtype) {
    case INTERP_FLOAT32: ITP_CONVERT_LOOP(itp_f32, p[i]); break;
    case INTERP_FLOAT64: ITP_CONVERT_LOOP(double, p[i]); break;
    case INTERP_FLOAT16: ITP_CONVERT_LOOP(uint16_t, itp_f32_of_half(p[i])); break;
    case INTERP_BFLOAT16: ITP_CONVERT_LOOP(uint16_t, itp_f32_of_bits((uint32_t)p[i] << 16)); break;
    case INTERP_INT8: ITP_CONVERT_LOOP(int8_t, p[i]); break;
    case INTERP_INT16: ITP_CONVERT_LOOP(int16_t, p[i]); break;
    case INTERP_INT32: ITP_CONVERT_LOOP(int32_t, p[i]); break;
    case INTERP_INT64: ITP_CONVERT_LOOP(int64_t, p[i]); break;
    case INTERP_UINT8: ITP_CONVERT_LOOP(uint8_t, p[i]); break;
    case INTERP_UINT16: ITP_CONVERT_LOOP(uint16_t, p[i]); break;
    case INTERP_UINT32: ITP_CONVERT_LOOP(uint32_t, p[i]); break;
    case INTERP_UINT64: ITP_CONVERT_LOOP(uint64_t, p[i]); break;
    case INTERP_BOOL: ITP_CONVERT_LOOP(uint8_t, p[i] != 0); break;
    case INTERP_DTYPE_COUNT: break;
    }
}

#undef ITP_CONVERT_LOOP

INTERP_API interp_status interp_array_to_f32(interp_ctx *ctx, interp_array *array)
{
    const interp_dtype dtype = ITP_FLOAT_DTYPE;
    if (array->dtype == dtype) return INTERP_OK;
    interp_array out = itp_array_none();
    ITP_TRY(itp_array_new(ctx, dtype, &array->shape, &out));
    interp_array_floats(array, (float *)out.data);
    interp_array_free(ctx, array);
    *array = out;
    return INTERP_OK;
}

/* Element i as a double. Whole numbers above 2^53 are rounded. */
ITP_FN double itp_array_at(const interp_array *array, size_t i)
{
    const void *p = array->data;
    switch (array->dtype) {
    case INTERP_FLOAT32: return (double)((const itp_f32 *)p)[i];
    case INTERP_FLOAT64: return ((const double *)p)[i];
    case INTERP_FLOAT16: return (double)itp_f32_of_half(((const uint16_t *)p)[i]);
    case INTERP_BFLOAT16: return (double)itp_f32_of_bits((uint32_t)((const uint16_t *)p)[i] << 16);
    case INTERP_INT8: return ((const int8_t *)p)[i];
    case INTERP_INT16: return ((const int16_t *)p)[i];
    case INTERP_INT32: return ((const int32_t *)p)[i];
    case INTERP_INT64: return (double)((const int64_t *)p)[i];
    case INTERP_UINT8: return ((const uint8_t *)p)[i];
    case INTERP_UINT16: return ((const uint16_t *)p)[i];
    case INTERP_UINT32: return ((const uint32_t *)p)[i];
    case INTERP_UINT64: return (double)((const uint64_t *)p)[i];
    case INTERP_BOOL: return ((const uint8_t *)p)[i] != 0;
    case INTERP_DTYPE_COUNT: break;
    }
    return 0;
}

INTERP_API interp_status interp_array_ints(interp_ctx *ctx, const interp_array *array, int32_t *out)
{
    const size_t n = interp_shape_size(&array->shape);
    for (size_t i = 0; i < n; i++) {
        const double v = itp_array_at(array, i);
        if (!(v >= -2147483648.0 && v <= 2147483647.0) || v != floor(v))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "element %zu is %g: a whole number of 32 bits is wanted", i, v);
        out[i] = (int32_t)v;
    }
    return INTERP_OK;
}

/* ---- text being read */

typedef struct itp_scan {
    const char *at, *end;
} itp_scan;

ITP_FN void itp_scan_space(itp_scan *t)
{
    while (t->at < t->end && (*t->at == ' ' || *t->at == '\t' || *t->at == '\n' || *t->at == '\r'))
        t->at++;
}

/* Takes the character c when it is next, white space skipped. */
ITP_FN bool itp_scan_take(itp_scan *t, char c)
{
    itp_scan_space(t);
    if (t->at == t->end || *t->at != c) return false;
    t->at++;
    return true;
}

ITP_FN bool itp_scan_word(itp_scan *t, const char *word)
{
    const size_t n = strlen(word);
    itp_scan_space(t);
    if ((size_t)(t->end - t->at) < n || memcmp(t->at, word, n)) return false;
    t->at += n;
    return true;
}

/* A whole number without sign; false when there is none or it leaves 64 bits. */
ITP_FN bool itp_scan_u64(itp_scan *t, uint64_t *out)
{
    itp_scan_space(t);
    const char *start = t->at;
    uint64_t v = 0;
    for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
        const unsigned digit = (unsigned)(*t->at - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = v;
    return t->at > start && (*start != '0' || t->at == start + 1);
}

ITP_FN char itp_ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

ITP_FN bool itp_same_word(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if (itp_ascii_lower(*a) != itp_ascii_lower(*b)) return false;
    return *a == *b;
}

ITP_FN bool itp_ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);
    return n >= m && itp_same_word(s + n - m, end);
}

/* Copies n strings into one block: the pointers, then the text. */
ITP_FN interp_status itp_names_copy(interp_ctx *ctx, const char *const *names, int n, char ***out)
{
    size_t bytes = itp_mul_size((size_t)n, sizeof(char *));
    for (int i = 0; i < n; i++) bytes = itp_add_size(bytes, strlen(names[i]) + 1);
    char **p = (char **)interp_alloc(ctx, bytes);
    if (!p) return INTERP_NO_MEMORY;
    char *text = (char *)(p + n);
    for (int i = 0; i < n; i++) {
        const size_t length = strlen(names[i]) + 1;
        memcpy(text, names[i], length);
        p[i] = text;
        text += length;
    }
    *out = p;
    return INTERP_OK;
}
/* >>data/npy.c                                                                                */
/* ---- data/npy.c: NPY files ------------------------------------------------------------------- */

typedef struct itp_npy_header {
    interp_dtype dtype;
    bool little, fortran;
    int rank;
    uint64_t dim[INTERP_MAX_RANK];
} itp_npy_header;

/* A Python string literal without escapes. */
ITP_FN bool itp_npy_string(itp_scan *t, const char **s, size_t *n)
{
    itp_scan_space(t);
    if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
    const char quote = *t->at++;
    *s = t->at;
    while (t->at < t->end && *t->at != quote)
        if (*t->at++ == '\\') return false;
    *n = (size_t)(t->at - *s);
    if (t->at == t->end) return false;
    t->at++;
    return true;
}

ITP_FN interp_status itp_npy_descr(interp_ctx *ctx, const char *name, itp_scan *t,
                                   itp_npy_header *h)
{
    const char *s;
    size_t n = 0;
    if (itp_scan_take(t, '['))
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: it holds records of several fields; save each field by itself", name);
    if (!itp_npy_string(t, &s, &n))
        return itp_fail(ctx, INTERP_FORMAT, "%s: the header's descr is not readable", name);
    h->little = itp_host_is_little();
    if (n > 0 && strchr("<>|=", *s)) {
        if (*s == '<' || *s == '>') h->little = *s == '<';
        s++, n--;
    }
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++) {
        const char *code = itp_dtype((interp_dtype)d)->npy;
        if (code && n == 2 && memcmp(code, s, 2) == 0) {
            h->dtype = (interp_dtype)d;
            return INTERP_OK;
        }
    }
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: elements of type '%.*s' cannot be read; floats of 2, 4 or 8 bytes, "
                    "integers and bool can",
                    name, (int)itp_min_size(n, 20), s);
}

ITP_FN interp_status itp_npy_shape(interp_ctx *ctx, const char *name, itp_scan *t,
                                   itp_npy_header *h)
{
    bool ok = itp_scan_take(t, '(');
    h->rank = 0;
    while (ok && !itp_scan_take(t, ')')) {
        if (h->rank == INTERP_MAX_RANK)
            return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it has more than %d dimensions", name,
                            INTERP_MAX_RANK);
        ok = itp_scan_u64(t, &h->dim[h->rank++]);
        if (ok) itp_scan_take(t, 'L'); /* Python 2 wrote long integers so */
        if (ok && !itp_scan_take(t, ',')) {
            ok = itp_scan_take(t, ')') && h->rank > 1; /* (3) is a number, (3,) a tuple */
            break;
        }
    }
    if (ok) return INTERP_OK;
    return itp_fail(ctx, INTERP_FORMAT, "%s: the header's shape is not readable", name);
}

/* The header is a Python dict literal of exactly three keys in any order. */
ITP_FN interp_status itp_npy_dict(interp_ctx *ctx, const char *name, itp_scan t, itp_npy_header *h)
{
    unsigned seen = 0;
    bool ok = itp_scan_take(&t, '{');
    while (ok && !itp_scan_take(&t, '}')) {
        const char *key;
        size_t n = 0;
        unsigned bit = 0;
        ok = itp_npy_string(&t, &key, &n) && itp_scan_take(&t, ':');
        if (!ok) break;
        if (n == 5 && memcmp(key, "descr", 5) == 0) {
            bit = 1;
            ITP_TRY(itp_npy_descr(ctx, name, &t, h));
        } else if (n == 13 && memcmp(key, "fortran_order", 13) == 0) {
            bit = 2;
            h->fortran = itp_scan_word(&t, "True");
            ok = h->fortran || itp_scan_word(&t, "False");
        } else if (n == 5 && memcmp(key, "shape", 5) == 0) {
            bit = 4;
            ITP_TRY(itp_npy_shape(ctx, name, &t, h));
        }
        ok = ok && bit && !(seen & bit);
        seen |= bit;
        if (ok && !itp_scan_take(&t, ',')) {
            ok = itp_scan_take(&t, '}');
            break;
        }
    }
    itp_scan_space(&t);
    if (ok && seen == 7 && t.at == t.end) return INTERP_OK;
    return itp_fail(ctx, INTERP_FORMAT, "%s: its NPY header is damaged", name);
}

/* out[i,j,..] in row-major order from column-major `in`. */
ITP_FN void itp_npy_transpose(const interp_shape *s, size_t size, const char *in, char *out)
{
    size_t stride[INTERP_MAX_RANK], at = 0;
    int index[INTERP_MAX_RANK] = {0};
    const size_t n = interp_shape_size(s);
    for (int i = 0; i < s->rank; i++) stride[i] = i ? stride[i - 1] * (size_t)s->dim[i - 1] : size;
    for (size_t k = 0; k < n; k++, out += size) {
        memcpy(out, in + at, size);
        for (int i = s->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < s->dim[i]) break;
            at -= stride[i] * (size_t)s->dim[i];
            index[i] = 0;
        }
    }
}

ITP_FN interp_status itp_npy_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   interp_array *array)
{
    const unsigned char *p = (const unsigned char *)bytes;
    if (n < 10 || memcmp(p, "\x93NUMPY", 6))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is not an NPY file", name);
    const int version = p[6];
    if (version < 1 || version > 3)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: NPY version %d is not known (1 to 3 are)",
                        name, version);
    const size_t at = version == 1 ? 10 : 12;
    const size_t length = version == 1 ? itp_get_le16(p + 8) : n < 12 ? n : itp_get_le32(p + 8);
    if (n < at || length > n - at)
        return itp_fail(ctx, INTERP_FORMAT, "%s: the file ends within its header", name);
    itp_npy_header h;
    memset(&h, 0, sizeof h);
    itp_scan t;
    t.at = (const char *)p + at;
    t.end = t.at + length;
    ITP_TRY(itp_npy_dict(ctx, name, t, &h));
    const size_t size = itp_dtype(h.dtype)->size, have = n - at - length;
    interp_shape shape = itp_shape_none();
    size_t need = 0;
    ITP_TRY(itp_shape_from_file(ctx, name, h.rank, h.dim, size, &shape, &need));
    if (need != have)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: its header promises %zu bytes of data but %zu follow", name, need,
                        have);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_from_bytes(ctx, h.dtype, &shape, t.end, h.little, &a));
    if (h.fortran && shape.rank > 1) {
        interp_array c = itp_array_none();
        if (itp_array_new(ctx, h.dtype, &shape, &c)) {
            interp_array_free(ctx, &a);
            return INTERP_NO_MEMORY;
        }
        itp_npy_transpose(&shape, size, (const char *)a.data, (char *)c.data);
        interp_array_free(ctx, &a);
        a = c;
    }
    *array = a;
    return INTERP_OK;
}

INTERP_API interp_status interp_npy_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array)
{
    return itp_npy_parse(ctx, "npy", bytes, n, array);
}

/* The element type an array is written with: NPY has no bfloat16, float32 holds it exactly. */
ITP_FN interp_dtype itp_npy_dtype(const interp_array *array)
{
    return array->dtype == INTERP_BFLOAT16 ? INTERP_FLOAT32 : array->dtype;
}

/* Appends the array as little-endian bytes of the type told, which is its own unless that is
   bfloat16 and float32 is told. */
ITP_FN void itp_array_put(itp_buf *b, const interp_array *array, interp_dtype dtype)
{
    const size_t n = interp_shape_size(&array->shape), size = itp_dtype(dtype)->size;
    const size_t start = b->n;
    if (!itp_buf_reserve(b, itp_mul_size(n, size))) return;
    if (dtype == array->dtype) {
        itp_buf_add(b, array->data, n * size);
    } else {
        const uint16_t *p = (const uint16_t *)array->data;
        for (size_t i = 0; i < n; i++) {
            const uint32_t bits = (uint32_t)p[i] << 16;
            itp_buf_add(b, &bits, sizeof bits);
        }
    }
    if (!itp_host_is_little()) itp_swap_bytes(b->data + start, n, size);
}

ITP_FN void itp_npy_put(itp_buf *b, const interp_array *array)
{
    const interp_dtype dtype = itp_npy_dtype(array);
    char head[256];
    int n = snprintf(head, sizeof head, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                     itp_dtype(dtype)->size == 1 ? '|' : '<', itp_dtype(dtype)->npy);
    for (int i = 0; i < array->shape.rank; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, i ? ", %d" : "%d", array->shape.dim[i]);
    n += snprintf(head + n, sizeof head - (size_t)n, array->shape.rank == 1 ? ",), }" : "), }");
    const int total = (10 + n + 1 + 63) / 64 * 64, length = total - 10;
    itp_buf_add(b, "\x93NUMPY\x01\x00", 8);
    itp_buf_byte(b, length & 255);
    itp_buf_byte(b, length >> 8);
    itp_buf_add(b, head, (size_t)n);
    for (int i = 10 + n + 1; i < total; i++) itp_buf_byte(b, ' ');
    itp_buf_byte(b, '\n');
    itp_array_put(b, array, dtype);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_npy_read(interp_ctx *ctx, const char *path, interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_npy_parse(ctx, path, bytes, n, array);
    interp_free(ctx, bytes);
    return status;
}

INTERP_API interp_status interp_npy_write(interp_ctx *ctx, const char *path,
                                          const interp_array *array)
{
    itp_buf b = itp_buf_new(ctx);
    const size_t size = itp_dtype(itp_npy_dtype(array))->size;
    itp_buf_reserve(&b, itp_add_size(itp_mul_size(interp_shape_size(&array->shape), size), 512));
    itp_npy_put(&b, array);
    return itp_buf_write(&b, path);
}

INTERP_API interp_status interp_npy_write_f32(interp_ctx *ctx, const char *path, const float *x,
                                              const interp_shape *shape)
{
    interp_array a = itp_array_none();
    a.dtype = ITP_FLOAT_DTYPE;
    a.shape = *shape;
    memcpy(&a.data, &x, sizeof x); /* only read; `data` has no const */
    return interp_npy_write(ctx, path, &a);
}

#endif
/* >>data/zip.c                                                                                */
/* ---- data/zip.c: gzip, zip and NPZ ----------------------------------------------------------- */

/* CRC-32 of zip, gzip and PNG: reflected polynomial 0xEDB88320 (RFC 1952, section 8). */
ITP_FN uint32_t itp_crc32(const void *bytes, size_t n)
{
    uint32_t table[256], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xEDB88320u : 0);
        table[i] = c;
    }
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

#define ITP_DEFLATE_RATIO 1032 /* the most a deflate stream can expand, per byte */
#define ITP_DEFLATE_SLACK 8    /* bytes that follow a stream in either format */

/* Inflates a raw deflate stream of n bytes that makes exactly `size` bytes of the CRC given, into
   a new block. stb reads ahead of the last code, so ITP_DEFLATE_SLACK bytes behind it must be
   readable; that the stream ends before them, the checksum tells. What is claimed beyond the best ratio there is must be a lie, so nothing is allocated. */
ITP_FN interp_status itp_inflate(interp_ctx *ctx, const char *name, const unsigned char *in,
                                 size_t n, size_t size, uint32_t crc, char **out)
{
#if defined(STBI_INCLUDE_STB_IMAGE_H)
    if (size / ITP_DEFLATE_RATIO > n)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: the file is cut off or damaged: %zu bytes cannot come out of %zu",
                        name, size, n);
    if (n > INT_MAX - ITP_DEFLATE_SLACK || size > INT_MAX - 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: compressed parts of 2 GiB and more cannot be read; unpack it first",
                        name);
    char *p = (char *)interp_alloc(ctx, size + 1); /* stb wants room for at least one byte */
    if (!p) return INTERP_NO_MEMORY;
    const int got = stbi_zlib_decode_noheader_buffer(p, (int)size + 1, (const char *)in,
                                                     (int)n + ITP_DEFLATE_SLACK);
    if (got < 0 || (size_t)got != size || itp_crc32(p, size) != crc) {
        interp_free(ctx, p);
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: the compressed data is cut off, damaged or in several parts", name);
    }
    *out = p;
    return INTERP_OK;
#else
    (void)in, (void)n, (void)size, (void)crc, (void)out;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: this is compressed; include stb_image.h before the implementation of "
                    "interp.h, or unpack it first",
                    name);
#endif
}

/* ---- gzip (RFC 1952), one member */

ITP_FN bool itp_is_gzip(const void *bytes, size_t n)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return n >= 2 && b[0] == 0x1f && b[1] == 0x8b;
}

/* Where the deflate stream starts, 0 when the header is damaged. */
ITP_FN size_t itp_gzip_header(const unsigned char *p, size_t n)
{
    if (n < 18 || p[2] != 8 || (p[3] & 0xE0)) return 0;
    size_t at = 10;
    if (p[3] & 4) at += 2 + itp_get_le16(p + at); /* extra field */
    for (int flag = 8; flag <= 16; flag *= 2) {   /* name, comment: both end with a 0 byte */
        if (!(p[3] & flag)) continue;
        while (at < n && p[at]) at++;
        at++;
    }
    if (p[3] & 2) at += 2; /* header CRC */
    return at <= n - 8 ? at : 0;
}

/* Unpacks a gzip file into a new block. */
ITP_FN interp_status itp_gunzip(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                char **out, size_t *out_n)
{
    const unsigned char *p = (const unsigned char *)bytes;
    const size_t at = itp_is_gzip(bytes, n) ? itp_gzip_header(p, n) : 0;
    if (!at) return itp_fail(ctx, INTERP_FORMAT, "%s: the gzip header is damaged", name);
    const uint32_t crc = itp_get_le32(p + n - 8), size = itp_get_le32(p + n - 4);
    for (size_t i = at; i + 11 <= n; i++) /* this trailer and then another member */
        if (memcmp(p + i, p + n - 8, 8) == 0 && memcmp(p + i + 8, "\x1f\x8b\x08", 3) == 0)
            return itp_fail(ctx, INTERP_UNSUPPORTED,
                            "%s: gzip files of several members are not read", name);
    ITP_TRY(itp_inflate(ctx, name, p + at, n - 8 - at, size, crc, out));
    *out_n = size;
    return INTERP_OK;
}

/* ---- zip: the central directory is what counts */

typedef struct itp_zip_entry {
    const char *name; /* not terminated */
    unsigned name_n, method, flags;
    uint32_t crc;
    uint64_t packed, size, header; /* bytes stored, bytes unpacked, place of the local header */
} itp_zip_entry;

typedef struct itp_zip {
    const char *file; /* for error sentences */
    const unsigned char *p;
    size_t n;
    uint64_t directory, directory_n; /* place and bytes of the central directory */
    uint64_t count;
    itp_zip_entry *entries; /* [count], sorted by name */
} itp_zip;

ITP_FN interp_status itp_zip_damaged(interp_ctx *ctx, const itp_zip *z, const char *what)
{
    return itp_fail(ctx, INTERP_FORMAT, "%s: damaged zip archive: %s", z->file, what);
}

/* Finds the end record: it is last, but for a comment of up to 65535 bytes. */
ITP_FN interp_status itp_zip_find(interp_ctx *ctx, itp_zip *z)
{
    const unsigned char *p = z->p;
    const size_t lowest = z->n > 65557 ? z->n - 65557 : 0;
    size_t at = z->n < 22 ? 0 : z->n - 22;
    if (z->n < 22) return itp_zip_damaged(ctx, z, "it is too short");
    while (memcmp(p + at, "PK\5\6", 4) || itp_get_le16(p + at + 20) != z->n - at - 22) {
        if (at == lowest)
            return itp_fail(ctx, INTERP_FORMAT, "%s: this is not a zip archive, or its end is cut",
                            z->file);
        at--;
    }
    uint64_t limit = at;
    bool disks = itp_get_le16(p + at + 4) || itp_get_le16(p + at + 6);
    uint64_t here = itp_get_le16(p + at + 8);
    z->count = itp_get_le16(p + at + 10);
    z->directory_n = itp_get_le32(p + at + 12);
    z->directory = itp_get_le32(p + at + 16);
    if (at >= 20 && memcmp(p + at - 20, "PK\6\7", 4) == 0) {
        const uint64_t end64 = itp_get_le64(p + at - 12);
        if (at < 76 || end64 > at - 76 || memcmp(p + end64, "PK\6\6", 4))
            return itp_zip_damaged(ctx, z, "its zip64 end record is not where it should be");
        const unsigned char *e = p + end64;
        disks = itp_get_le32(e + 16) || itp_get_le32(e + 20);
        here = itp_get_le64(e + 24);
        z->count = itp_get_le64(e + 32);
        z->directory_n = itp_get_le64(e + 40);
        z->directory = itp_get_le64(e + 48);
        limit = end64;
    }
    if (disks || here != z->count)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: zip archives in several parts are not read",
                        z->file);
    if (z->directory > limit || z->directory_n > limit - z->directory ||
        z->count > z->directory_n / 46)
        return itp_zip_damaged(ctx, z, "its directory lies outside the file");
    return INTERP_OK;
}

/* Zip64: the extra field holds, in this order, those of the three that read 0xFFFFFFFF. */
ITP_FN bool itp_zip_wide(const unsigned char *extra, size_t n, itp_zip_entry *e)
{
    uint64_t *wide[3];
    int want = 0;
    if (e->size == 0xFFFFFFFFu) wide[want++] = &e->size;
    if (e->packed == 0xFFFFFFFFu) wide[want++] = &e->packed;
    if (e->header == 0xFFFFFFFFu) wide[want++] = &e->header;
    while (want && n >= 4) {
        const size_t length = itp_get_le16(extra + 2);
        if (length > n - 4) return false;
        if (itp_get_le16(extra) == 1) {
            if (length < (size_t)want * 8) return false;
            for (int i = 0; i < want; i++) *wide[i] = itp_get_le64(extra + 4 + 8 * i);
            return true;
        }
        extra += 4 + length;
        n -= 4 + length;
    }
    return want == 0;
}

ITP_FN interp_status itp_zip_list(interp_ctx *ctx, itp_zip *z)
{
    const unsigned char *p = z->p + z->directory;
    size_t left = (size_t)z->directory_n;
    for (uint64_t i = 0; i < z->count; i++) {
        itp_zip_entry *e = &z->entries[i];
        if (left < 46 || memcmp(p, "PK\1\2", 4))
            return itp_zip_damaged(ctx, z, "its directory is cut");
        e->flags = itp_get_le16(p + 8);
        e->method = itp_get_le16(p + 10);
        e->crc = itp_get_le32(p + 16);
        e->packed = itp_get_le32(p + 20);
        e->size = itp_get_le32(p + 24);
        e->name_n = itp_get_le16(p + 28);
        e->header = itp_get_le32(p + 42);
        e->name = (const char *)p + 46;
        const size_t extra = itp_get_le16(p + 30);
        const size_t length = 46 + e->name_n + extra + itp_get_le16(p + 32);
        if (length > left || !itp_zip_wide(p + 46 + e->name_n, extra, e))
            return itp_zip_damaged(ctx, z, "its directory is cut");
        p += length;
        left -= length;
    }
    return INTERP_OK;
}

/* Where the data of an entry lies; only the lengths of name and extra field are taken from its
   local header, since sizes there may be missing. */
ITP_FN interp_status itp_zip_locate(interp_ctx *ctx, const itp_zip *z, const itp_zip_entry *e,
                                    size_t *at)
{
    if (e->header > z->directory || z->directory - e->header < 30 ||
        memcmp(z->p + e->header, "PK\3\4", 4))
        return itp_zip_damaged(ctx, z, "a member is not where its directory says");
    const unsigned char *p = z->p + e->header;
    const uint64_t start = e->header + 30 + itp_get_le16(p + 26) + itp_get_le16(p + 28);
    if (start > z->directory || e->packed > z->directory - start)
        return itp_zip_damaged(ctx, z, "a member is longer than the file");
    *at = (size_t)start;
    return INTERP_OK;
}

ITP_FN int itp_zip_by_place(const void *a, const void *b)
{
    const itp_zip_entry *x = (const itp_zip_entry *)a, *y = (const itp_zip_entry *)b;
    return x->header < y->header ? -1 : x->header > y->header;
}

ITP_FN int itp_zip_by_name(const void *a, const void *b)
{
    const itp_zip_entry *x = (const itp_zip_entry *)a, *y = (const itp_zip_entry *)b;
    const int order = memcmp(x->name, y->name, x->name_n < y->name_n ? x->name_n : y->name_n);
    return order ? order : x->name_n < y->name_n ? -1 : x->name_n > y->name_n;
}

/* Members that share bytes or names are how archives are made to mislead. */
ITP_FN interp_status itp_zip_check(interp_ctx *ctx, itp_zip *z)
{
    uint64_t end = 0;
    itp_sort(z->entries, (size_t)z->count, sizeof *z->entries, itp_zip_by_place);
    for (uint64_t i = 0; i < z->count; i++) {
        const itp_zip_entry *e = &z->entries[i];
        size_t at;
        if (e->header < end) return itp_zip_damaged(ctx, z, "two members overlap");
        ITP_TRY(itp_zip_locate(ctx, z, e, &at));
        end = at + e->packed;
    }
    itp_sort(z->entries, (size_t)z->count, sizeof *z->entries, itp_zip_by_name);
    for (uint64_t i = 1; i < z->count; i++)
        if (itp_zip_by_name(&z->entries[i - 1], &z->entries[i]) == 0)
            return itp_zip_damaged(ctx, z, "two members have one name");
    return INTERP_OK;
}

/* Opens an archive in memory; on success the caller frees z->entries. */
ITP_FN interp_status itp_zip_open(interp_ctx *ctx, itp_zip *z, const char *file, const void *bytes,
                                  size_t n)
{
    memset(z, 0, sizeof *z);
    z->file = file;
    z->p = (const unsigned char *)bytes;
    z->n = n;
    ITP_TRY(itp_zip_find(ctx, z));
    z->entries = (itp_zip_entry *)itp_calloc(ctx, (size_t)z->count, sizeof *z->entries);
    if (!z->entries) return INTERP_NO_MEMORY;
    interp_status status = itp_zip_list(ctx, z);
    if (!status) status = itp_zip_check(ctx, z);
    if (status) interp_free(ctx, z->entries);
    return status;
}

/* The bytes of a member: *data points into the archive when it is stored, else to a new block,
   which *block is set to as well. */
ITP_FN interp_status itp_zip_member(interp_ctx *ctx, const itp_zip *z, const itp_zip_entry *e,
                                    const void **data, size_t *n, char **block)
{
    size_t at;
    *block = NULL;
    ITP_TRY(itp_zip_locate(ctx, z, e, &at));
    if (e->flags & (1u | 1u << 6 | 1u << 13))
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: its members are encrypted", z->file);
    if (e->method == 8) {
        if ((size_t)e->size != e->size) return itp_zip_damaged(ctx, z, "a member is too large");
        ITP_TRY(itp_inflate(ctx, z->file, z->p + at, (size_t)e->packed, (size_t)e->size, e->crc,
                            block));
        *data = *block;
    } else if (e->method == 0) {
        if (e->size != e->packed || itp_crc32(z->p + at, (size_t)e->size) != e->crc)
            return itp_zip_damaged(ctx, z, "a member has the wrong size or checksum");
        *data = z->p + at;
    } else {
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "%s: compression method %u is not read (stored and deflated are)", z->file,
                        e->method);
    }
    *n = (size_t)e->size;
    return INTERP_OK;
}

/* ---- NPZ */

ITP_FN bool itp_npz_is(const itp_zip_entry *e, const char *key)
{
    const size_t n = strlen(key);
    if (e->name_n == n) return memcmp(e->name, key, n) == 0;
    return e->name_n == n + 4 && memcmp(e->name, key, n) == 0 &&
           memcmp(e->name + n, ".npy", 4) == 0;
}

ITP_FN interp_status itp_npz_find(interp_ctx *ctx, const itp_zip *z, const char *key,
                                  const itp_zip_entry **found)
{
    char names[200] = "";
    size_t at = 0;
    if (z->count == 0) return itp_fail(ctx, INTERP_FORMAT, "%s: the archive is empty", z->file);
    for (uint64_t i = 0; i < z->count; i++) {
        const itp_zip_entry *e = &z->entries[i];
        if (key && *key ? itp_npz_is(e, key) : z->count == 1) {
            *found = e;
            return INTERP_OK;
        }
        if (at + e->name_n + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.*s", at ? ", " : "",
                                   (int)e->name_n, e->name);
    }
    if (!key || !*key)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: it holds several arrays (%s); name one",
                        z->file, names);
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: there is no array \"%s\"; it holds %s", z->file,
                    key, names);
}

ITP_FN interp_status itp_npz_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   const char *key, interp_array *array)
{
    itp_zip z;
    const itp_zip_entry *e = NULL;
    const void *data = NULL;
    char *block = NULL;
    size_t size = 0;
    ITP_TRY(itp_zip_open(ctx, &z, name, bytes, n));
    interp_status status = itp_npz_find(ctx, &z, key, &e);
    if (!status) status = itp_zip_member(ctx, &z, e, &data, &size, &block);
    if (!status) status = itp_npy_parse(ctx, name, data, size, array);
    interp_free(ctx, block);
    interp_free(ctx, z.entries);
    return status;
}

INTERP_API interp_status interp_npz_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          const char *key, interp_array *array)
{
    return itp_npz_parse(ctx, "npz", bytes, n, key, array);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_npz_read(interp_ctx *ctx, const char *path, const char *key,
                                         interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_npz_parse(ctx, path, bytes, n, key, array);
    interp_free(ctx, bytes);
    return status;
}

ITP_FN void itp_buf_le(itp_buf *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) itp_buf_byte(b, (int)(v >> 8 * i & 255));
}

/* The fields that local header and directory have in common, from the version needed on. */
ITP_FN void itp_zip_put_fields(itp_buf *b, uint32_t crc, uint32_t size, size_t name_n)
{
    itp_buf_le(b, 20, 2);     /* version */
    itp_buf_le(b, 0x800, 2);  /* names are UTF-8 */
    itp_buf_le(b, 0, 2);      /* stored */
    itp_buf_le(b, 0, 2);      /* midnight */
    itp_buf_le(b, 0x0021, 2); /* of 1 January 1980: equal contents make equal files */
    itp_buf_le(b, crc, 4);
    itp_buf_le(b, size, 4);
    itp_buf_le(b, size, 4);
    itp_buf_le(b, (uint32_t)name_n + 4, 2);
    itp_buf_le(b, 0, 2); /* extra field */
}

/* Appends a member to `b` and its row of the directory to `directory`. */
ITP_FN interp_status itp_npz_put(itp_buf *b, itp_buf *directory, const char *path, const char *name,
                                 const interp_array *array)
{
    const size_t name_n = strlen(name), header = b->n;
    if (name_n == 0 || name_n > 65000)
        return itp_fail(b->ctx, INTERP_BAD_ARGUMENT, "%s: an array has no name, or too long a one",
                        path);
    itp_buf_str(b, "PK\3\4");
    const size_t fields = b->n;
    itp_zip_put_fields(b, 0, 0, name_n);
    itp_buf_str(b, name);
    itp_buf_str(b, ".npy");
    const size_t start = b->n;
    itp_npy_put(b, array);
    if (b->status) return b->status;
    if (b->n > 0xFFFFFFF0u)
        return itp_fail(b->ctx, INTERP_UNSUPPORTED,
                        "%s: archives of 4 GiB and more are not written; write several .npy files",
                        path);
    const size_t end = b->n;
    const uint32_t crc = itp_crc32(b->data + start, end - start);
    b->n = fields; /* once more over the same bytes, now that size and checksum are known */
    itp_zip_put_fields(b, crc, (uint32_t)(end - start), name_n);
    b->data[b->n] = name[0]; /* the buffer put a 0 byte there */
    b->n = end;
    itp_buf_str(directory, "PK\1\2");
    itp_buf_le(directory, 20, 2);
    itp_zip_put_fields(directory, crc, (uint32_t)(end - start), name_n);
    itp_buf_le(directory, 0, 4); /* comment, disk */
    itp_buf_le(directory, 0, 2); /* attributes: within */
    itp_buf_le(directory, 0, 4); /* and of the file */
    itp_buf_le(directory, (uint32_t)header, 4);
    itp_buf_str(directory, name);
    itp_buf_str(directory, ".npy");
    return directory->status;
}

INTERP_API interp_status interp_npz_write(interp_ctx *ctx, const char *path, int n,
                                          const char *const *names, const interp_array *arrays)
{
    itp_buf b = itp_buf_new(ctx), directory = itp_buf_new(ctx);
    interp_status status = INTERP_OK;
    if (n < 0 || n > 65534)
        status =
            itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: %d arrays; up to 65534 are possible", path, n);
    for (int i = 0; !status && i < n; i++) {
        for (int j = 0; !status && j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: two arrays are called \"%s\"",
                                  path, names[i]);
        if (!status) status = itp_npz_put(&b, &directory, path, names[i], &arrays[i]);
    }
    if (!status) {
        const size_t at = b.n;
        if (directory.n) itp_buf_add(&b, directory.data, directory.n);
        itp_buf_str(&b, "PK\5\6");
        itp_buf_le(&b, 0, 4); /* disks */
        itp_buf_le(&b, (uint32_t)n, 2);
        itp_buf_le(&b, (uint32_t)n, 2);
        itp_buf_le(&b, (uint32_t)directory.n, 4);
        itp_buf_le(&b, (uint32_t)at, 4);
        itp_buf_le(&b, 0, 2); /* comment */
        status = itp_buf_write(&b, path);
    }
    itp_buf_free(&b);
    itp_buf_free(&directory);
    return status;
}

#endif
/* >>data/csv.c                                                                                */
/* ---- data/csv.c: CSV tables ------------------------------------------------------------------ */

ITP_FN bool itp_ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits m and a power of ten as a double. Both operands of the fast path are exact, so its one
   rounding is right; else strtod gets plain digits, which no locale changes. */
ITP_FN double itp_decimal(uint64_t m, bool more, long exponent)
{
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (!more && m <= (uint64_t)1 << 53 && exponent >= -22 && exponent <= 22)
        return exponent < 0 ? (double)m / power[-exponent] : (double)m * power[exponent];
#endif
    char text[64];
    if (m == 0) return 0;
    snprintf(text, sizeof text, more ? "%llu1e%ld" : "%llue%ld", (unsigned long long)m,
             exponent - more);
    return strtod(text, NULL);
}

/* A number with a point in any locale, or nan, inf, infinity; white space around is allowed.
   Correctly rounded up to 19 digits. */
ITP_FN bool itp_number_parse(const char *s, size_t n, double *out)
{
    const char *end = s + n;
    while (s < end && (*s == ' ' || *s == '\t')) s++;
    while (end > s && (end[-1] == ' ' || end[-1] == '\t')) end--;
    const bool negative = s < end && *s == '-';
    if (s < end && (*s == '-' || *s == '+')) s++;
    if (s < end && !itp_ascii_digit(*s) && *s != '.') {
        char word[9] = "";
        for (int i = 0; i < 8 && s + i < end; i++) word[i] = itp_ascii_lower(s[i]);
        const bool inf = end - s <= 8 && (!strcmp(word, "inf") || !strcmp(word, "infinity"));
        if (!inf && (end - s > 8 || strcmp(word, "nan"))) return false;
        *out = inf ? (negative ? -HUGE_VAL : HUGE_VAL) : (double)NAN;
        return true;
    }
    uint64_t m = 0;
    bool more = false, digits = false;
    long exponent = 0;
    for (bool point = false; s < end; s++) {
        if (*s == '.' && !point) {
            point = true;
            continue;
        }
        if (!itp_ascii_digit(*s)) break;
        digits = true;
        if (m < UINT64_MAX / 10 - 1) {
            m = m * 10 + (unsigned)(*s - '0');
            if (point) exponent--;
        } else { /* beyond 19 digits all that counts is whether there is anything */
            if (*s != '0') more = true;
            if (!point) exponent++;
        }
    }
    if (!digits) return false;
    if (s < end && (*s == 'e' || *s == 'E')) {
        s++;
        const bool minus = s < end && *s == '-';
        if (s < end && (*s == '-' || *s == '+')) s++;
        if (s == end) return false;
        long e = 0;
        for (; s < end && itp_ascii_digit(*s); s++)
            if (e < 100000000) e = e * 10 + (*s - '0');
        exponent += minus ? -e : e;
    }
    if (s != end) return false;
    const double v = itp_decimal(m, more, exponent);
    *out = negative ? -v : v;
    return true;
}

/* ---- cells */

typedef struct itp_csv {
    interp_ctx *ctx;
    const char *name;
    const char *at, *end;
    char delimiter;
    size_t line; /* number of the line being read, from 1 */
} itp_csv;

typedef struct itp_cell {
    const char *text; /* as it stands in the file: quotes inside are doubled when `quoted` */
    size_t n;
    bool quoted, last; /* last: of its row */
} itp_cell;

/* Passes over one line end (LF, CR, CRLF) when there is one. */
ITP_FN bool itp_csv_break(itp_csv *c)
{
    if (c->at == c->end || (*c->at != '\n' && *c->at != '\r')) return false;
    if (*c->at == '\r' && c->at + 1 < c->end && c->at[1] == '\n') c->at++;
    c->at++;
    c->line++;
    return true;
}

ITP_FN bool itp_csv_blank(const itp_csv *c, char x)
{
    return x == ' ' || (x == '\t' && c->delimiter != '\t');
}

/* Moves to the next row that is not blank; false at the end. */
ITP_FN bool itp_csv_row(itp_csv *c)
{
    for (;;) {
        const char *p = c->at;
        while (p < c->end && itp_csv_blank(c, *p)) p++;
        if (p == c->end) return false;
        if (*p != '\n' && *p != '\r') return true;
        c->at = p;
        itp_csv_break(c);
    }
}

ITP_FN interp_status itp_csv_zero(const itp_csv *c)
{
    return itp_fail(c->ctx, INTERP_FORMAT, "%s: line %zu: a 0 byte; this is no text in UTF-8",
                    c->name, c->line);
}

/* Text within quotes; the opening quote is at c->at. */
ITP_FN interp_status itp_csv_quoted(itp_csv *c, itp_cell *cell)
{
    const size_t line = c->line;
    cell->quoted = true;
    cell->text = ++c->at;
    for (;; c->at++) {
        if (c->at == c->end)
            return itp_fail(c->ctx, INTERP_FORMAT, "%s: line %zu: a quote is never closed", c->name,
                            line);
        if (*c->at == '"') {
            if (c->at + 1 == c->end || c->at[1] != '"') break;
            c->at++;
        } else if (*c->at == 0) {
            return itp_csv_zero(c);
        } else if (*c->at == '\n' ||
                   (*c->at == '\r' && !(c->at + 1 < c->end && c->at[1] == '\n'))) {
            c->line++;
        }
    }
    cell->n = (size_t)(c->at++ - cell->text);
    while (c->at < c->end && itp_csv_blank(c, *c->at)) c->at++;
    if (c->at < c->end && *c->at != c->delimiter && *c->at != '\n' && *c->at != '\r')
        return itp_fail(c->ctx, INTERP_FORMAT,
                        "%s: line %zu: text follows a closing quote; double quotes inside text",
                        c->name, c->line);
    return INTERP_OK;
}

ITP_FN interp_status itp_csv_cell(itp_csv *c, itp_cell *cell)
{
    cell->quoted = false;
    while (c->at < c->end && itp_csv_blank(c, *c->at)) c->at++;
    if (c->at < c->end && *c->at == '"') {
        ITP_TRY(itp_csv_quoted(c, cell));
    } else {
        cell->text = c->at;
        while (c->at < c->end && *c->at != c->delimiter && *c->at != '\n' && *c->at != '\r') {
            if (*c->at == 0) return itp_csv_zero(c);
            c->at++;
        }
        const char *end = c->at;
        while (end > cell->text && itp_csv_blank(c, end[-1])) end--;
        cell->n = (size_t)(end - cell->text);
    }
    cell->last = !(c->at < c->end && *c->at == c->delimiter);
    if (cell->last) itp_csv_break(c);
    else c->at++;
    return INTERP_OK;
}

/* Copies the text of a cell, quotes resolved, and ends it with a 0 byte; returns what follows. */
ITP_FN char *itp_cell_copy(const itp_cell *cell, char *out)
{
    for (size_t i = 0; i < cell->n; i++) {
        if (cell->quoted && cell->text[i] == '"') i++;
        *out++ = cell->text[i];
    }
    *out++ = 0;
    return out;
}

/* ---- columns: numbers or text */

typedef struct itp_csv_column {
    size_t numbers, texts; /* cells of each kind, the first row left out */
    size_t bytes;          /* of all its cells, first row left out, with a 0 byte each */
    int first;             /* kind of the cell in the first row: 0 empty, 1 number, 2 text */
    size_t first_bytes;
    bool text;
} itp_csv_column;

typedef struct itp_csv_text {
    const char *text;
    int column, row;
} itp_csv_text;

/* 0 empty, 1 number, 2 text. */
ITP_FN int itp_cell_kind(const itp_cell *cell, double *value)
{
    *value = (double)NAN;
    if (cell->n == 0) return 0;
    return itp_number_parse(cell->text, cell->n, value) ? 1 : 2;
}

/* The most frequent of the three in the first line, outside quotes. */
ITP_FN char itp_csv_delimiter(const itp_csv *c)
{
    static const char candidates[3] = {',', ';', '\t'};
    size_t count[3] = {0, 0, 0};
    bool quoted = false;
    for (const char *p = c->at; p < c->end && (quoted || (*p != '\n' && *p != '\r')); p++) {
        if (*p == '"') quoted = !quoted;
        for (int i = 0; i < 3; i++) count[i] += !quoted && *p == candidates[i];
    }
    int best = 0;
    for (int i = 1; i < 3; i++)
        if (count[i] > count[best]) best = i;
    return candidates[best];
}

/* First pass over the file: the kind of every column and the number of rows. */
ITP_FN interp_status itp_csv_survey(itp_csv c, itp_csv_column *columns, int n_columns,
                                    size_t *n_rows)
{
    size_t rows = 0;
    for (; itp_csv_row(&c); rows++) {
        const size_t line = c.line;
        itp_cell cell;
        cell.last = false;
        for (int j = 0; !cell.last; j++) {
            ITP_TRY(itp_csv_cell(&c, &cell));
            if (j >= n_columns || (cell.last && j + 1 < n_columns))
                return itp_fail(c.ctx, INTERP_FORMAT,
                                "%s: line %zu has %s cells than the %d of the first line", c.name,
                                line, j >= n_columns ? "more" : "fewer", n_columns);
            double value;
            const int kind = itp_cell_kind(&cell, &value);
            itp_csv_column *column = &columns[j];
            if (rows == 0) {
                column->first = kind;
                column->first_bytes = cell.n + 1;
            } else {
                column->numbers += kind == 1;
                column->texts += kind == 2;
                column->bytes += cell.n + 1;
            }
        }
        if (rows >= INT_MAX)
            return itp_fail(c.ctx, INTERP_UNSUPPORTED, "%s: it has more than %d rows", c.name,
                            INT_MAX);
    }
    *n_rows = rows;
    return INTERP_OK;
}

/* A header has no number in it, or a word above a column of numbers. */
ITP_FN bool itp_csv_has_header(const itp_csv_column *columns, int n)
{
    bool any_number = false, any_text = false;
    for (int j = 0; j < n; j++) {
        any_number |= columns[j].first == 1;
        any_text |= columns[j].first == 2;
        if (columns[j].first == 2 && columns[j].numbers && !columns[j].texts) return true;
    }
    return any_text && !any_number;
}

ITP_FN int itp_csv_order(const void *a, const void *b)
{
    const itp_csv_text *x = (const itp_csv_text *)a, *y = (const itp_csv_text *)b;
    if (x->column != y->column) return x->column < y->column ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* Sorts the cells of text columns and gives equal ones an id. */
ITP_FN interp_status itp_csv_categories(interp_ctx *ctx, itp_csv_text *texts, size_t n,
                                        interp_table *t)
{
    size_t distinct = 0, bytes = 0;
    itp_sort(texts, n, sizeof *texts, itp_csv_order);
    for (size_t i = 0; i < n; i++) {
        if (i && itp_csv_order(&texts[i - 1], &texts[i]) == 0) continue;
        distinct++;
        bytes += strlen(texts[i].text) + 1;
    }
    const size_t columns = (size_t)t->n_columns;
    t->categories = (char ***)interp_alloc(
        ctx, itp_add_size(itp_mul_size(columns + distinct, sizeof(char **)), bytes));
    if (!t->categories) return INTERP_NO_MEMORY;
    memset(t->categories, 0, columns * sizeof(char **));
    char **name = (char **)(void *)(t->categories + columns);
    char *text = (char *)(name + distinct);
    for (size_t i = 0; i < n; i++) {
        const int j = texts[i].column;
        if (i == 0 || itp_csv_order(&texts[i - 1], &texts[i])) {
            const size_t length = strlen(texts[i].text) + 1;
            memcpy(text, texts[i].text, length);
            if (t->n_categories[j]++ == 0) t->categories[j] = name;
            *name++ = text;
            text += length;
        }
        t->cells[(size_t)texts[i].row * columns + (size_t)j] = t->n_categories[j] - 1;
    }
    return INTERP_OK;
}

/* Second pass: numbers to cells, text set aside and then turned into ids. `c` is behind the
   header. */
ITP_FN interp_status itp_csv_fill(itp_csv c, const itp_csv_column *columns, interp_table *t)
{
    size_t n = 0, bytes = 0;
    for (int j = 0; j < t->n_columns; j++)
        if (columns[j].text) {
            n += (size_t)t->n_rows;
            bytes += columns[j].bytes + columns[j].first_bytes;
        }
    itp_csv_text *texts =
        (itp_csv_text *)interp_alloc(c.ctx, itp_add_size(itp_mul_size(n, sizeof *texts), bytes));
    if (!texts) return INTERP_NO_MEMORY;
    char *text = (char *)(texts + n);
    interp_status status = INTERP_OK;
    n = 0;
    for (int row = 0; !status && itp_csv_row(&c); row++) {
        itp_cell cell;
        cell.last = false;
        for (int j = 0; !status && !cell.last; j++) {
            double value;
            status = itp_csv_cell(&c, &cell);
            if (status) break;
            const int kind = itp_cell_kind(&cell, &value);
            t->cells[(size_t)row * (size_t)t->n_columns + (size_t)j] = value;
            if (!columns[j].text || kind == 0) continue;
            texts[n].text = text;
            texts[n].column = j;
            texts[n].row = row;
            n++;
            text = itp_cell_copy(&cell, text);
        }
    }
    if (!status) status = itp_csv_categories(c.ctx, texts, n, t);
    interp_free(c.ctx, texts);
    return status;
}

/* Reads the first row as names, into one block, and leaves `c` behind it. */
ITP_FN interp_status itp_csv_names(itp_csv *c, const itp_csv_column *columns, interp_table *t)
{
    size_t bytes = (size_t)t->n_columns * sizeof(char *);
    for (int j = 0; j < t->n_columns; j++) bytes += columns[j].first_bytes;
    t->column_names = (char **)interp_alloc(c->ctx, bytes);
    if (!t->column_names) return INTERP_NO_MEMORY;
    char *text = (char *)(t->column_names + t->n_columns);
    itp_csv_row(c);
    for (int j = 0; j < t->n_columns; j++) {
        itp_cell cell;
        ITP_TRY(itp_csv_cell(c, &cell));
        t->column_names[j] = text;
        text = itp_cell_copy(&cell, text);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_csv_build(itp_csv c, itp_csv_column *columns, int text_column,
                                   interp_table *t)
{
    size_t n_rows = 0;
    ITP_TRY(itp_csv_survey(c, columns, t->n_columns, &n_rows));
    const bool header = itp_csv_has_header(columns, t->n_columns);
    t->n_rows = (int)n_rows - header;
    if (t->n_rows == 0)
        return itp_fail(c.ctx, INTERP_FORMAT, "%s: there is a header but no row of data", c.name);
    for (int j = 0; j < t->n_columns; j++)
        columns[j].text =
            columns[j].texts > 0 || (!header && columns[j].first == 2) || j == text_column;
    const size_t n = itp_mul_size((size_t)t->n_rows, (size_t)t->n_columns);
    t->cells = (double *)interp_alloc(c.ctx, itp_mul_size(n, sizeof *t->cells));
    t->n_categories = (int *)itp_calloc(c.ctx, (size_t)t->n_columns, sizeof *t->n_categories);
    if (!t->cells || !t->n_categories) return INTERP_NO_MEMORY;
    if (header) ITP_TRY(itp_csv_names(&c, columns, t));
    return itp_csv_fill(c, columns, t);
}

/* text_column: one to read as text whatever is in it (ids with leading zeros), -1 for none. */
ITP_FN interp_status itp_csv_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   int text_column, interp_table *table)
{
    itp_csv c;
    c.ctx = ctx;
    c.name = name;
    c.at = (const char *)bytes;
    c.end = c.at + n;
    c.line = 1;
    c.delimiter = ',';
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) c.at += 3;
    if (!itp_csv_row(&c)) return itp_fail(ctx, INTERP_FORMAT, "%s: the table is empty", name);
    c.delimiter = itp_csv_delimiter(&c);
    interp_table t;
    memset(&t, 0, sizeof t);
    itp_csv first = c;
    itp_cell cell;
    do {
        ITP_TRY(itp_csv_cell(&first, &cell));
        t.n_columns++;
    } while (!cell.last && t.n_columns < INT_MAX);
    itp_csv_column *columns =
        (itp_csv_column *)itp_calloc(ctx, (size_t)t.n_columns, sizeof *columns);
    if (!columns) return INTERP_NO_MEMORY;
    const interp_status status = itp_csv_build(c, columns, text_column, &t);
    interp_free(ctx, columns);
    if (status) interp_table_free(ctx, &t);
    else *table = t;
    return status;
}

INTERP_API interp_status interp_csv_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_table *table)
{
    return itp_csv_parse(ctx, "csv", bytes, n, -1, table);
}

INTERP_API void interp_table_free(interp_ctx *ctx, interp_table *table)
{
    interp_free(ctx, table->cells);
    interp_free(ctx, table->column_names);
    interp_free(ctx, table->n_categories);
    interp_free(ctx, table->categories);
    memset(table, 0, sizeof *table);
}

INTERP_API int interp_table_column(const interp_table *table, const char *name)
{
    for (int exact = 1; exact >= 0 && table->column_names; exact--)
        for (int j = 0; j < table->n_columns; j++)
            if (exact ? !strcmp(table->column_names[j], name)
                      : itp_same_word(table->column_names[j], name))
                return j;
    const bool negative = name[0] == '-';
    itp_scan t;
    uint64_t v;
    t.at = name + negative;
    t.end = name + strlen(name);
    if (!itp_scan_u64(&t, &v) || t.at != t.end || v > (uint64_t)table->n_columns) return -1;
    const int j = negative ? table->n_columns - (int)v : (int)v;
    return j < table->n_columns ? j : -1;
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_csv_read(interp_ctx *ctx, const char *path, interp_table *table)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_csv_parse(ctx, path, bytes, n, -1, table);
    interp_free(ctx, bytes);
    return status;
}

#endif
/* >>data/safetensors.c                                                                        */
/* ---- data/safetensors.c: safetensors files --------------------------------------------------- */

#define ITP_ST_MAX_HEADER 100000000u /* limit of the format */
#define ITP_JSON_DEPTH    32

/* True when the bytes are UTF-8: no overlong forms, surrogates or points above U+10FFFF. */
ITP_FN bool itp_is_utf8(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + n;
    while (p < end) {
        const unsigned c = *p++;
        const int more = c < 0x80   ? 0
                         : c < 0xC2 ? -1
                         : c < 0xE0 ? 1
                         : c < 0xF0 ? 2
                         : c < 0xF5 ? 3
                                    : -1;
        if (more < 0 || end - p < more) return false;
        if ((c == 0xE0 && *p < 0xA0) || (c == 0xED && *p > 0x9F) || (c == 0xF0 && *p < 0x90) ||
            (c == 0xF4 && *p > 0x8F))
            return false;
        for (int i = 0; i < more; i++)
            if ((*p++ & 0xC0) != 0x80) return false;
    }
    return true;
}

/* ---- JSON, as much of it as the header has; strings go to `out`, which holds them all */

typedef struct itp_json {
    itp_scan t; /* known to be UTF-8 */
    char *out;
} itp_json;

ITP_FN bool itp_json_hex4(itp_scan *t, unsigned *out)
{
    if (t->end - t->at < 4) return false;
    *out = 0;
    for (int i = 0; i < 4; i++) {
        const char c = itp_ascii_lower(*t->at++);
        if (!itp_ascii_digit(c) && !(c >= 'a' && c <= 'f')) return false;
        *out = *out << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

/* What follows a backslash, written as UTF-8; never longer than the escape itself. */
ITP_FN bool itp_json_escape(itp_json *j)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (j->t.at == j->t.end) return false;
    const char c = *j->t.at++;
    const char *named = c ? strchr(names, c) : NULL;
    if (named) {
        *j->out++ = values[named - names];
        return true;
    }
    unsigned u, low;
    if (c != 'u' || !itp_json_hex4(&j->t, &u) || u == 0) return false; /* no 0 inside names */
    if (u >= 0xD800 && u < 0xE000) {
        if (u >= 0xDC00 || j->t.end - j->t.at < 2 || memcmp(j->t.at, "\\u", 2)) return false;
        j->t.at += 2;
        if (!itp_json_hex4(&j->t, &low) || low < 0xDC00 || low > 0xDFFF) return false;
        u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
    }
    const int more = u < 0x80 ? 0 : u < 0x800 ? 1 : u < 0x10000 ? 2 : 3;
    static const unsigned lead[4] = {0, 0xC0, 0xE0, 0xF0};
    *j->out++ = (char)(lead[more] | u >> 6 * more);
    for (int i = more - 1; i >= 0; i--) *j->out++ = (char)(0x80 | (u >> 6 * i & 63));
    return true;
}

/* *s is set to the string, ended with a 0 byte, within j->out. */
ITP_FN bool itp_json_string(itp_json *j, char **s)
{
    if (!itp_scan_take(&j->t, '"')) return false;
    *s = j->out;
    while (j->t.at < j->t.end && *j->t.at != '"') {
        if ((unsigned char)*j->t.at < 0x20) return false;
        if (*j->t.at == '\\') {
            j->t.at++;
            if (!itp_json_escape(j)) return false;
        } else {
            *j->out++ = *j->t.at++;
        }
    }
    if (j->t.at == j->t.end) return false;
    j->t.at++;
    *j->out++ = 0;
    return true;
}

/* Passes over any value whose numbers are whole. */
ITP_FN bool itp_json_skip(itp_json *j, int depth)
{
    char *s;
    uint64_t v;
    if (depth > ITP_JSON_DEPTH) return false;
    itp_scan_space(&j->t);
    if (j->t.at == j->t.end) return false;
    const char open = *j->t.at;
    if (open == '"') return itp_json_string(j, &s);
    if (open == '{' || open == '[') {
        const char close = open == '{' ? '}' : ']';
        j->t.at++;
        if (itp_scan_take(&j->t, close)) return true;
        do {
            if (open == '{' && !(itp_json_string(j, &s) && itp_scan_take(&j->t, ':'))) return false;
            if (!itp_json_skip(j, depth + 1)) return false;
        } while (itp_scan_take(&j->t, ','));
        return itp_scan_take(&j->t, close);
    }
    if (itp_scan_word(&j->t, "true") || itp_scan_word(&j->t, "false") ||
        itp_scan_word(&j->t, "null"))
        return true;
    if (open == '-') j->t.at++;
    return itp_scan_u64(&j->t, &v);
}

/* ---- the header */

typedef struct itp_st_entry {
    char *name;
    int bits; /* of one element, 0 when the type is not known */
    int rank;
    bool readable; /* `dtype` is its type */
    interp_dtype dtype;
    uint64_t dim[INTERP_MAX_RANK], begin, end;
} itp_st_entry;

typedef struct itp_st_note {
    char *key, *value;
} itp_st_note;

typedef struct itp_st {
    interp_ctx *ctx;
    const char *file;
    itp_json j;
    char *text; /* block that j.out walks through */
    itp_st_entry *entries;
    int n, capacity;
    itp_st_note *notes;
    int n_notes, notes_capacity;
} itp_st;

ITP_FN interp_status itp_st_damaged(const itp_st *s, const char *what)
{
    return itp_fail(s->ctx, INTERP_FORMAT, "%s: damaged safetensors file: %s", s->file, what);
}

ITP_FN void itp_st_type(const char *name, itp_st_entry *e)
{
    static const struct {
        const char *name;
        int bits;
    } others[] = {{"C64", 64},        {"F8_E5M2", 8},     {"F8_E4M3", 8},
                  {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8},
                  {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"F4", 4}};
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++)
        if (strcmp(itp_dtype((interp_dtype)d)->safetensors, name) == 0) {
            e->dtype = (interp_dtype)d;
            e->bits = (int)itp_dtype(e->dtype)->size * 8;
            e->readable = true;
        }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strcmp(others[i].name, name) == 0) e->bits = others[i].bits;
}

ITP_FN bool itp_st_shape(itp_json *j, itp_st_entry *e)
{
    if (!itp_scan_take(&j->t, '[')) return false;
    e->rank = 0;
    if (itp_scan_take(&j->t, ']')) return true;
    do {
        uint64_t v;
        if (!itp_scan_u64(&j->t, &v)) return false;
        if (e->rank < INTERP_MAX_RANK) e->dim[e->rank] = v;
        e->rank++;
    } while (e->rank <= 1000 && itp_scan_take(&j->t, ','));
    return itp_scan_take(&j->t, ']');
}

/* {"dtype":..,"shape":[..],"data_offsets":[begin,end]} */
ITP_FN interp_status itp_st_entry_read(itp_st *s, itp_st_entry *e)
{
    itp_json *j = &s->j;
    unsigned seen = 0;
    char *key, *type;
    bool ok = itp_scan_take(&j->t, '{');
    while (ok) {
        unsigned bit = 0;
        char *const mark = j->out; /* keys and types need not stay */
        ok = itp_json_string(j, &key) && itp_scan_take(&j->t, ':');
        if (!ok) break;
        if (strcmp(key, "dtype") == 0) {
            bit = 1;
            ok = itp_json_string(j, &type);
            if (ok) itp_st_type(type, e);
        } else if (strcmp(key, "shape") == 0) {
            bit = 2;
            ok = itp_st_shape(j, e);
        } else if (strcmp(key, "data_offsets") == 0) {
            bit = 4;
            ok = itp_scan_take(&j->t, '[') && itp_scan_u64(&j->t, &e->begin) &&
                 itp_scan_take(&j->t, ',') && itp_scan_u64(&j->t, &e->end) &&
                 itp_scan_take(&j->t, ']');
        } else {
            ok = itp_json_skip(j, 0);
        }
        j->out = mark;
        ok = ok && !(seen & bit);
        seen |= bit;
        if (ok && !itp_scan_take(&j->t, ',')) break;
    }
    if (!ok || !itp_scan_take(&j->t, '}') || seen != 7)
        return itp_fail(s->ctx, INTERP_FORMAT, "%s: damaged safetensors file: entry \"%.100s\"",
                        s->file, e->name);
    return INTERP_OK;
}

ITP_FN interp_status itp_st_notes(itp_st *s)
{
    itp_json *j = &s->j;
    if (!itp_scan_take(&j->t, '{')) return itp_st_damaged(s, "__metadata__ is no object");
    if (itp_scan_take(&j->t, '}')) return INTERP_OK;
    do {
        ITP_TRY(itp_grow(s->ctx, &s->notes, s->n_notes, &s->notes_capacity, sizeof *s->notes));
        itp_st_note *note = &s->notes[s->n_notes++];
        if (!itp_json_string(j, &note->key) || !itp_scan_take(&j->t, ':') ||
            !itp_json_string(j, &note->value))
            return itp_st_damaged(s, "__metadata__ is not text to text");
    } while (itp_scan_take(&j->t, ','));
    return itp_scan_take(&j->t, '}') ? INTERP_OK : itp_st_damaged(s, "__metadata__ is not closed");
}

ITP_FN interp_status itp_st_header(itp_st *s)
{
    itp_json *j = &s->j;
    bool noted = false;
    if (j->t.at == j->t.end || *j->t.at != '{')
        return itp_st_damaged(s, "its header does not start with {");
    j->t.at++;
    if (!itp_scan_take(&j->t, '}')) {
        do {
            ITP_TRY(itp_grow(s->ctx, &s->entries, s->n, &s->capacity, sizeof *s->entries));
            itp_st_entry *e = &s->entries[s->n];
            memset(e, 0, sizeof *e);
            if (!itp_json_string(j, &e->name) || !itp_scan_take(&j->t, ':'))
                return itp_st_damaged(s, "its header is not readable");
            if (strcmp(e->name, "__metadata__")) {
                ITP_TRY(itp_st_entry_read(s, e));
                s->n++;
            } else {
                if (noted) return itp_st_damaged(s, "two entries have one name");
                noted = true;
                ITP_TRY(itp_st_notes(s));
            }
        } while (itp_scan_take(&j->t, ','));
        if (!itp_scan_take(&j->t, '}')) return itp_st_damaged(s, "its header is not closed");
    }
    while (j->t.at < j->t.end && *j->t.at == ' ') j->t.at++;
    return j->t.at == j->t.end ? INTERP_OK : itp_st_damaged(s, "something follows its header");
}

ITP_FN int itp_st_by_name(const void *a, const void *b)
{
    return strcmp(((const itp_st_entry *)a)->name, ((const itp_st_entry *)b)->name);
}

ITP_FN int itp_st_by_place(const void *a, const void *b)
{
    const itp_st_entry *x = (const itp_st_entry *)a, *y = (const itp_st_entry *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The bytes of an entry follow from its shape and must be those between its offsets. */
ITP_FN interp_status itp_st_check_entry(const itp_st *s, const itp_st_entry *e)
{
    if (!e->bits)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED, "%s: \"%.100s\" has an unknown element type",
                        s->file, e->name);
    if (e->rank > INTERP_MAX_RANK)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED,
                        "%s: \"%.100s\" has %d dimensions; up to %d are read", s->file, e->name,
                        e->rank, INTERP_MAX_RANK);
    uint64_t bits = (uint64_t)e->bits;
    bool fits = true, empty = false;
    for (int i = 0; i < e->rank; i++) empty |= e->dim[i] == 0;
    for (int i = 0; i < e->rank && !empty; i++) {
        fits = fits && bits <= UINT64_MAX / e->dim[i];
        if (fits) bits *= e->dim[i];
    }
    if (empty) bits = 0;
    if (!fits || bits % 8 || e->end < e->begin || bits / 8 != e->end - e->begin)
        return itp_fail(s->ctx, INTERP_FORMAT,
                        "%s: damaged safetensors file: shape and offsets of \"%.100s\" disagree",
                        s->file, e->name);
    return INTERP_OK;
}

/* Unique names, and data that covers the rest of the file without holes or overlaps. */
ITP_FN interp_status itp_st_check(itp_st *s, uint64_t data_bytes)
{
    itp_sort(s->entries, (size_t)s->n, sizeof *s->entries, itp_st_by_name);
    for (int i = 1; i < s->n; i++)
        if (itp_st_by_name(&s->entries[i - 1], &s->entries[i]) == 0)
            return itp_st_damaged(s, "two entries have one name");
    itp_sort(s->notes, (size_t)s->n_notes, sizeof *s->notes, itp_compare_names);
    for (int i = 1; i < s->n_notes; i++)
        if (strcmp(s->notes[i - 1].key, s->notes[i].key) == 0)
            return itp_st_damaged(s, "two notes have one name");
    itp_sort(s->entries, (size_t)s->n, sizeof *s->entries, itp_st_by_place);
    uint64_t at = 0;
    for (int i = 0; i < s->n; i++) {
        ITP_TRY(itp_st_check_entry(s, &s->entries[i]));
        if (s->entries[i].begin != at) return itp_st_damaged(s, "its data has holes or overlaps");
        at = s->entries[i].end;
    }
    if (at == data_bytes) return INTERP_OK;
    return itp_st_damaged(s, "its data does not end where the file ends");
}

ITP_FN interp_status itp_st_load(itp_st *s, const itp_st_entry *e, const unsigned char *data,
                                 interp_array *out)
{
    interp_shape shape = itp_shape_none();
    size_t bytes = 0;
    if (!e->readable)
        return itp_fail(s->ctx, INTERP_UNSUPPORTED,
                        "%s: elements of the type of \"%.100s\" are not read", s->file, e->name);
    ITP_TRY(itp_shape_from_file(s->ctx, s->file, e->rank, e->dim, itp_dtype(e->dtype)->size, &shape,
                                &bytes));
    return itp_array_from_bytes(s->ctx, e->dtype, &shape, data + e->begin, true, out);
}

/* Reads and checks the header; itp_st_close is due afterwards, whatever the result. */
ITP_FN interp_status itp_st_open(interp_ctx *ctx, itp_st *s, const char *file, const void *bytes,
                                 size_t n, const unsigned char **data)
{
    const unsigned char *p = (const unsigned char *)bytes;
    memset(s, 0, sizeof *s);
    s->ctx = ctx;
    s->file = file;
    const uint64_t header = n < 8 ? 0 : itp_get_le64(p);
    if (header < 2 || header > ITP_ST_MAX_HEADER || header > n - 8)
        return itp_st_damaged(s, "its header length does not fit the file");
    s->j.t.at = (const char *)p + 8;
    s->j.t.end = s->j.t.at + header;
    if (!itp_is_utf8(s->j.t.at, (size_t)header))
        return itp_st_damaged(s, "its header is not UTF-8");
    s->text = s->j.out = (char *)interp_alloc(ctx, (size_t)header);
    if (!s->text) return INTERP_NO_MEMORY;
    *data = p + 8 + header;
    ITP_TRY(itp_st_header(s));
    return itp_st_check(s, n - 8 - header);
}

ITP_FN void itp_st_close(itp_st *s)
{
    interp_free(s->ctx, s->text);
    interp_free(s->ctx, s->entries);
    interp_free(s->ctx, s->notes);
}

ITP_FN interp_status itp_st_load_all(itp_st *s, const unsigned char *data, interp_named_arrays *out)
{
    interp_ctx *ctx = s->ctx;
    const int notes = s->n_notes;
    out->items = (interp_named_array *)itp_calloc(ctx, (size_t)s->n, sizeof *out->items);
    out->keys = (char **)interp_alloc(ctx, (size_t)notes * sizeof(char *));
    out->values = (char **)interp_alloc(ctx, (size_t)notes * sizeof(char *));
    if (!out->items || !out->keys || !out->values) return INTERP_NO_MEMORY;
    for (int i = 0; i < s->n; i++) {
        out->n = i + 1;
        out->items[i].name = s->entries[i].name;
        ITP_TRY(itp_st_load(s, &s->entries[i], data, &out->items[i].array));
    }
    for (int i = 0; i < notes; i++) {
        out->keys[i] = s->notes[i].key;
        out->values[i] = s->notes[i].value;
    }
    out->n_metadata = notes;
    return INTERP_OK;
}

ITP_FN interp_status itp_safetensors_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                           size_t n, interp_named_arrays *arrays)
{
    itp_st s;
    const unsigned char *data = NULL;
    interp_named_arrays out;
    memset(&out, 0, sizeof out);
    interp_status status = itp_st_open(ctx, &s, name, bytes, n, &data);
    if (!status) status = itp_st_load_all(&s, data, &out);
    if (status) {
        interp_named_arrays_free(ctx, &out);
    } else {
        out.text = s.text;
        s.text = NULL;
        *arrays = out;
    }
    itp_st_close(&s);
    return status;
}

INTERP_API interp_status interp_safetensors_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                  interp_named_arrays *arrays)
{
    return itp_safetensors_parse(ctx, "safetensors", bytes, n, arrays);
}

INTERP_API void interp_named_arrays_free(interp_ctx *ctx, interp_named_arrays *arrays)
{
    for (int i = 0; i < arrays->n; i++) interp_array_free(ctx, &arrays->items[i].array);
    interp_free(ctx, arrays->items);
    interp_free(ctx, arrays->keys);
    interp_free(ctx, arrays->values);
    interp_free(ctx, arrays->text);
    memset(arrays, 0, sizeof *arrays);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_safetensors_read(interp_ctx *ctx, const char *path,
                                                 interp_named_arrays *arrays)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_safetensors_parse(ctx, path, bytes, n, arrays);
    interp_free(ctx, bytes);
    return status;
}

/* One array of a file, the others left alone. */
ITP_FN interp_status itp_safetensors_read_one(interp_ctx *ctx, const char *path, const char *key,
                                              interp_array *array)
{
    itp_st s;
    const unsigned char *data = NULL;
    char *bytes = NULL;
    size_t n = 0;
    interp_array a = itp_array_none();
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    interp_status status = itp_st_open(ctx, &s, path, bytes, n, &data);
    const itp_st_entry *found = NULL;
    for (int i = 0; !status && i < s.n; i++)
        if (*key ? !strcmp(s.entries[i].name, key) : s.n == 1) found = &s.entries[i];
    if (!status && !found)
        status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                          "%s: there is no array \"%.100s\"; it holds %d, the first \"%.100s\"",
                          path, key, s.n, s.n ? s.entries[0].name : "");
    if (!status) status = itp_st_load(&s, found, data, &a);
    if (!status) *array = a;
    itp_st_close(&s);
    interp_free(ctx, bytes);
    return status;
}

ITP_FN void itp_json_put(itp_buf *b, const char *text)
{
    itp_buf_byte(b, '"');
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') itp_buf_byte(b, '\\');
        if (c < 0x20) itp_buf_printf(b, "\\u%04x", (unsigned)c);
        else itp_buf_byte(b, c);
    }
    itp_buf_byte(b, '"');
}

/* Larger elements first, so that all stay aligned; then by name. */
ITP_FN int itp_st_write_order(const void *a, const void *b)
{
    const interp_named_array *x, *y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    const size_t p = interp_dtype_size(x->array.dtype), q = interp_dtype_size(y->array.dtype);
    return p != q ? (p > q ? -1 : 1) : strcmp(x->name, y->name);
}

ITP_FN interp_status itp_st_check_names(interp_ctx *ctx, const char *path,
                                        const interp_named_arrays *arrays)
{
    const char **names =
        (const char **)interp_alloc(ctx, itp_mul_size((size_t)arrays->n, sizeof *names));
    if (!names) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    for (int i = 0; i < arrays->n; i++) {
        names[i] = arrays->items[i].name;
        if (!itp_is_utf8(names[i], strlen(names[i])) || !strcmp(names[i], "__metadata__"))
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: array %d has a name that is reserved or not UTF-8", path, i);
    }
    itp_sort(names, (size_t)arrays->n, sizeof *names, itp_compare_names);
    for (int i = 1; i < arrays->n; i++)
        if (!status && strcmp(names[i - 1], names[i]) == 0)
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: two arrays are called \"%.100s\"",
                              path, names[i]);
    for (int i = 0; i < arrays->n_metadata; i++)
        if (!status && (!itp_is_utf8(arrays->keys[i], strlen(arrays->keys[i])) ||
                        !itp_is_utf8(arrays->values[i], strlen(arrays->values[i]))))
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: note %d is not UTF-8", path, i);
    interp_free(ctx, names);
    return status;
}

ITP_FN void itp_st_put_header(itp_buf *b, const interp_named_arrays *arrays,
                              const interp_named_array *const *order)
{
    uint64_t at = 0;
    itp_buf_byte(b, '{');
    if (arrays->n_metadata) itp_buf_str(b, "\"__metadata__\":{");
    for (int i = 0; i < arrays->n_metadata; i++) {
        if (i) itp_buf_byte(b, ',');
        itp_json_put(b, arrays->keys[i]);
        itp_buf_byte(b, ':');
        itp_json_put(b, arrays->values[i]);
    }
    if (arrays->n_metadata) itp_buf_str(b, arrays->n ? "}," : "}");
    for (int i = 0; i < arrays->n; i++) {
        const interp_array *a = &order[i]->array;
        if (i) itp_buf_byte(b, ',');
        itp_json_put(b, order[i]->name);
        itp_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", itp_dtype(a->dtype)->safetensors);
        for (int k = 0; k < a->shape.rank; k++)
            itp_buf_printf(b, k ? ",%d" : "%d", a->shape.dim[k]);
        const uint64_t end = at + interp_shape_size(&a->shape) * itp_dtype(a->dtype)->size;
        itp_buf_printf(b, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                       (unsigned long long)end);
        at = end;
    }
    itp_buf_byte(b, '}');
    while (!b->status && b->n % 8) itp_buf_byte(b, ' ');
}

INTERP_API interp_status interp_safetensors_write(interp_ctx *ctx, const char *path,
                                                  const interp_named_arrays *arrays)
{
    ITP_TRY(itp_st_check_names(ctx, path, arrays));
    const interp_named_array **order = (const interp_named_array **)interp_alloc(
        ctx, itp_mul_size((size_t)arrays->n, sizeof *order));
    if (!order) return INTERP_NO_MEMORY;
    for (int i = 0; i < arrays->n; i++) order[i] = &arrays->items[i];
    itp_sort(order, (size_t)arrays->n, sizeof *order, itp_st_write_order);
    itp_buf b = itp_buf_new(ctx);
    itp_buf_add(&b, "\0\0\0\0\0\0\0\0", 8);
    itp_st_put_header(&b, arrays, order);
    const uint64_t header = b.n - 8;
    for (int i = 0; !b.status && i < 8; i++) b.data[i] = (char)(header >> 8 * i & 255);
    for (int i = 0; i < arrays->n; i++) itp_array_put(&b, &order[i]->array, order[i]->array.dtype);
    const interp_status status = itp_buf_write(&b, path);
    interp_free(ctx, order);
    return status;
}

#endif
/* >>data/images.c                                                                             */
/* ---- data/images.c: picture files, resizing, folders of pictures ----------------------------- */

#define ITP_IMAGE_MAX_SIDE 16384 /* beyond this a header is taken for an attack on memory */

#if defined(STBI_INCLUDE_STB_IMAGE_H)

/* stb does not look at checksums: a PNG whose needed chunks are not whole is refused here. */
ITP_FN bool itp_png_is_whole(const unsigned char *p, size_t n)
{
    size_t at = 8;
    while (n - at >= 12) {
        const size_t length = itp_get_be32(p + at);
        const unsigned char *type = p + at + 4;
        if (length > n - at - 12) return false;
        const bool needed = !(type[0] & 32); /* a capital letter */
        if (needed && itp_crc32(type, length + 4) != itp_get_be32(type + 4 + length)) return false;
        if (memcmp(type, "IEND", 4) == 0) return true;
        at += length + 12;
    }
    return false;
}

/* Size and channels (1 grey, 3 colour) of a picture, from its header. */
ITP_FN interp_status itp_image_file_info(interp_ctx *ctx, const char *name, const void *bytes,
                                         size_t n, int *height, int *width, int *channels)
{
    int c = 0;
    if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0 &&
        !itp_png_is_whole((const unsigned char *)bytes, n))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this PNG is damaged", name);
    if (n > INT_MAX || !stbi_info_from_memory((const stbi_uc *)bytes, (int)n, width, height, &c))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is no PNG or JPEG that can be read", name);
    if (*width < 1 || *height < 1 || *width > ITP_IMAGE_MAX_SIDE || *height > ITP_IMAGE_MAX_SIDE)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it is %d x %d pixels; at most %d a side",
                        name, *width, *height, ITP_IMAGE_MAX_SIDE);
    *channels = c < 3 ? 1 : 3;
    return INTERP_OK;
}

/* Interleaved pixels to planes in 0..1. */
#define ITP_IMAGE_PLANES(type, scale)                                                              \
    do {                                                                                           \
        const type *p = (const type *)pixels;                                                      \
        for (int c = 0; c < channels; c++)                                                         \
            for (size_t i = 0; i < area; i++)                                                      \
                out[(size_t)c * area + i] = (float)p[i * (size_t)channels + (size_t)c] / scale;    \
    } while (0)

ITP_FN interp_status itp_image_file_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                          size_t n, int channels, interp_array *image)
{
    int height = 0, width = 0, own = 0, unused;
    if (channels != 0 && channels != 1 && channels != 3)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: %d channels asked for; 0, 1 or 3 can be had",
                        name, channels);
    ITP_TRY(itp_image_file_info(ctx, name, bytes, n, &height, &width, &own));
    if (!channels) channels = own;
    const interp_shape shape = itp_shape_3(channels, height, width);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_new(ctx, ITP_FLOAT_DTYPE, &shape, &a));
    const stbi_uc *in = (const stbi_uc *)bytes;
    const bool deep = stbi_is_16_bit_from_memory(in, (int)n) != 0;
    int h = 0, w = 0;
    void *pixels = deep ? (void *)stbi_load_16_from_memory(in, (int)n, &w, &h, &unused, channels)
                        : (void *)stbi_load_from_memory(in, (int)n, &w, &h, &unused, channels);
    if (!pixels || w != width || h != height) {
        stbi_image_free(pixels);
        interp_array_free(ctx, &a);
        return itp_fail(ctx, INTERP_FORMAT, "%s: the picture is damaged or memory ran out", name);
    }
    const size_t area = (size_t)height * (size_t)width;
    float *out = (float *)a.data;
    if (deep) ITP_IMAGE_PLANES(stbi_us, 65535);
    else ITP_IMAGE_PLANES(stbi_uc, 255);
    stbi_image_free(pixels);
    *image = a;
    return INTERP_OK;
}

#undef ITP_IMAGE_PLANES

#else

ITP_FN interp_status itp_image_file_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                          size_t n, int channels, interp_array *image)
{
    (void)bytes, (void)n, (void)channels, (void)image;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: to read pictures, include stb_image.h before the implementation of "
                    "interp.h",
                    name);
}

ITP_FN interp_status itp_image_file_info(interp_ctx *ctx, const char *name, const void *bytes,
                                         size_t n, int *height, int *width, int *channels)
{
    *height = *width = *channels = 0;
    return itp_image_file_parse(ctx, name, bytes, n, 0, NULL);
}

#endif

INTERP_API interp_status interp_image_file_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                 int channels, interp_array *image)
{
    return itp_image_file_parse(ctx, "image", bytes, n, channels, image);
}

/* ---- resizing */

/* The source pixels *first.. (their number is returned) that make pixel `o` of an axis. */
ITP_FN int itp_resize_taps(int o, int from, int to, int *first)
{
    const double ratio = (double)from / to;
    if (to <= from) {
        *first = itp_min((int)(o * ratio), from - 1);
        return itp_max(itp_min((int)ceil((o + 1) * ratio), from) - *first, 1);
    }
    *first = itp_max((int)floor((o + 0.5) * ratio - 0.5), 0);
    return *first + 1 < from ? 2 : 1;
}

/* The share that source pixel i, one of `taps` from `first` on, has in pixel `o`. */
ITP_FN double itp_resize_weight(int o, int i, int from, int to, int first, int taps)
{
    const double ratio = (double)from / to;
    if (to <= from) {
        const double a = o * ratio > i ? o * ratio : i;
        const double b = (o + 1) * ratio < i + 1 ? (o + 1) * ratio : i + 1;
        return taps == 1 ? 1 : b > a ? (b - a) / ratio : 0;
    }
    const double c = (o + 0.5) * ratio - 0.5 - first;
    if (taps == 1 || c <= 0) return i == first;
    return i == first ? 1 - c : c;
}

INTERP_API void interp_planes_resize(const float *x, int n, int height, int width, float *out,
                                     int out_height, int out_width)
{
    for (int plane = 0; plane < n; plane++, x += (size_t)height * (size_t)width)
        for (int oy = 0; oy < out_height; oy++) {
            int y0;
            const int ny = itp_resize_taps(oy, height, out_height, &y0);
            for (int ox = 0; ox < out_width; ox++) {
                int x0;
                const int nx = itp_resize_taps(ox, width, out_width, &x0);
                double sum = 0;
                for (int iy = y0; iy < y0 + ny; iy++) {
                    const float *row = x + (size_t)iy * (size_t)width;
                    double part = 0;
                    for (int ix = x0; ix < x0 + nx; ix++)
                        part +=
                            itp_resize_weight(ox, ix, width, out_width, x0, nx) * (double)row[ix];
                    sum += itp_resize_weight(oy, iy, height, out_height, y0, ny) * part;
                }
                *out++ = (float)sum;
            }
        }
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_image_file_read(interp_ctx *ctx, const char *path, int channels,
                                                interp_array *image)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_image_file_parse(ctx, path, bytes, n, channels, image);
    interp_free(ctx, bytes);
    return status;
}

/* ---- folders */

typedef struct itp_file {
    char *path; /* first: itp_compare_names looks here */
    int32_t label;
} itp_file;

typedef struct itp_files {
    itp_file *items;
    int n, capacity;
} itp_files;

ITP_FN void itp_files_free(interp_ctx *ctx, itp_files *files)
{
    for (int i = 0; i < files->n; i++) interp_free(ctx, files->items[i].path);
    interp_free(ctx, files->items);
    memset(files, 0, sizeof *files);
}

/* "folder/name" with `end` behind it. */
ITP_FN char *itp_path_join(interp_ctx *ctx, const char *folder, const char *name, const char *end)
{
    const size_t n = strlen(folder) + strlen(name) + strlen(end) + 2;
    char *path = (char *)interp_alloc(ctx, n);
    if (path) snprintf(path, n, "%s/%s%s", folder, name, end);
    return path;
}

/* Takes over `path`, which may be NULL after a failed allocation. */
ITP_FN interp_status itp_files_add(interp_ctx *ctx, itp_files *files, char *path, int label)
{
    if (!path) return INTERP_NO_MEMORY;
    if (itp_grow(ctx, &files->items, files->n, &files->capacity, sizeof *files->items)) {
        interp_free(ctx, path);
        return INTERP_NO_MEMORY;
    }
    files->items[files->n].path = path;
    files->items[files->n++].label = label;
    return INTERP_OK;
}

ITP_FN const char *itp_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

ITP_FN bool itp_is_image_name(const char *name)
{
    return itp_ends_with(name, ".png") || itp_ends_with(name, ".jpg") ||
           itp_ends_with(name, ".jpeg");
}

#if defined(ITP_HAS_POSIX)

ITP_FN bool itp_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Paths of the sub-folders, or of the files, of a folder, in order of name; hidden ones left out.
   On error the caller frees what is there. */
ITP_FN interp_status itp_folder_list(interp_ctx *ctx, const char *folder, bool folders,
                                     itp_files *files)
{
    DIR *dir = opendir(folder);
    if (!dir) return itp_fail(ctx, INTERP_IO, "%s: %s", folder, strerror(errno));
    interp_status status = INTERP_OK;
    for (struct dirent *d; !status && (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.') continue;
        char *path = itp_path_join(ctx, folder, d->d_name, "");
        if (path && itp_is_folder(path) != folders) interp_free(ctx, path);
        else status = itp_files_add(ctx, files, path, 0);
    }
    closedir(dir);
    itp_sort(files->items, (size_t)files->n, sizeof *files->items, itp_compare_names);
    return status;
}

#else

ITP_FN bool itp_is_folder(const char *path)
{
    (void)path;
    return false;
}

ITP_FN interp_status itp_folder_list(interp_ctx *ctx, const char *folder, bool folders,
                                     itp_files *files)
{
    (void)folders, (void)files;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: folders cannot be listed on this system; use idx, npy or table data",
                    folder);
}

#endif

/* Adds the images of a folder to `images` with the label given. */
ITP_FN interp_status itp_folder_images(interp_ctx *ctx, const char *folder, int label,
                                       itp_files *images)
{
    itp_files all;
    memset(&all, 0, sizeof all);
    interp_status status = itp_folder_list(ctx, folder, false, &all);
    for (int i = 0; !status && i < all.n; i++) {
        if (!itp_is_image_name(all.items[i].path)) continue;
        status = itp_files_add(ctx, images, all.items[i].path, label);
        all.items[i].path = NULL;
    }
    itp_files_free(ctx, &all);
    return status;
}

/* Channels that hold all images, and the size of the first when none is asked for. */
ITP_FN interp_status itp_images_survey(interp_ctx *ctx, const itp_files *files, int *height,
                                       int *width, int *channels)
{
    *channels = 1;
    for (int i = 0; i < files->n; i++) {
        char *bytes = NULL;
        size_t n = 0;
        int h = 0, w = 0, c = 0;
        ITP_TRY(itp_progress(ctx, "look at images", i, files->n, (double)NAN));
        ITP_TRY(itp_file_read(ctx, files->items[i].path, &bytes, &n));
        const interp_status status =
            itp_image_file_info(ctx, files->items[i].path, bytes, n, &h, &w, &c);
        interp_free(ctx, bytes);
        if (status) return status;
        *channels = itp_max(*channels, c);
        if (*height == 0) *height = h, *width = w;
    }
    return INTERP_OK;
}

/* Reads images to *x [n,shape], all of one size: the one given, or that of the first when height
   is 0. Grey stays one channel when all are grey. */
ITP_FN interp_status itp_images_load(interp_ctx *ctx, const itp_files *files, int height, int width,
                                     float **x, interp_shape *shape)
{
    int channels = 1;
    ITP_TRY(itp_images_survey(ctx, files, &height, &width, &channels));
    *shape = itp_shape_3(channels, height, width);
    const size_t size = interp_shape_size(shape);
    float *p = (float *)interp_alloc(
        ctx, itp_mul_size(itp_mul_size((size_t)files->n, size), sizeof(float)));
    if (!p) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    for (int i = 0; !status && i < files->n; i++) {
        interp_array image = itp_array_none();
        status = itp_progress(ctx, "read images", i, files->n, (double)NAN);
        if (!status) status = interp_image_file_read(ctx, files->items[i].path, channels, &image);
        if (status) break;
        interp_planes_resize((const float *)image.data, channels, image.shape.dim[1],
                             image.shape.dim[2], p + (size_t)i * size, height, width);
        interp_array_free(ctx, &image);
    }
    if (status) interp_free(ctx, p);
    else *x = p;
    return status;
}

#endif
/* >>data/dataset.c                                                                            */
/* ---- data/dataset.c: splits, statistics, augmentation, IDX, CIFAR-10 ------------------------- */

INTERP_API void interp_dataset_free(interp_ctx *ctx, interp_dataset *dataset)
{
    interp_free(ctx, dataset->x);
    interp_free(ctx, dataset->y);
    interp_free(ctx, dataset->class_names);
    memset(dataset, 0, sizeof *dataset);
}

/* A data set with room for n samples, and for labels when n_classes is not 0. */
ITP_FN interp_status itp_dataset_new(interp_ctx *ctx, int n, const interp_shape *shape,
                                     int n_classes, const char *const *class_names,
                                     interp_dataset *out)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.n = n;
    d.shape = *shape;
    d.n_classes = n_classes;
    const size_t size = itp_mul_size(interp_shape_size(shape), sizeof(float));
    d.x = (float *)interp_alloc(ctx, itp_mul_size((size_t)n, size));
    interp_status status = d.x ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status && n_classes) {
        d.y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)n, sizeof *d.y));
        if (!d.y) status = INTERP_NO_MEMORY;
        else if (class_names) status = itp_names_copy(ctx, class_names, n_classes, &d.class_names);
    }
    if (status) interp_dataset_free(ctx, &d);
    else *out = d;
    return status;
}

INTERP_API interp_status interp_dataset_from_arrays(interp_ctx *ctx, const float *x,
                                                    const int32_t *y, int n,
                                                    const interp_shape *shape, int n_classes,
                                                    const char *const *class_names,
                                                    interp_dataset *dataset)
{
    if (n < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "data set: %d samples; at least one is needed",
                        n);
    for (int i = 0; y && i < n; i++)
        if (y[i] < 0 || y[i] >= n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "data set: the label of sample %d is %d; it must be within 0..%d", i,
                            (int)y[i], n_classes - 1);
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, n, shape, y ? n_classes : 0, class_names, &d));
    memcpy(d.x, x, (size_t)n * interp_shape_size(shape) * sizeof(float));
    if (y) memcpy(d.y, y, (size_t)n * sizeof *y);
    *dataset = d;
    return INTERP_OK;
}

INTERP_API interp_status interp_dataset_subset(interp_ctx *ctx, const interp_dataset *all,
                                               const int *indices, int n, interp_dataset *out)
{
    const size_t size = interp_shape_size(&all->shape);
    interp_dataset d;
    if (n < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "subset: %d samples; at least one is needed", n);
    for (int i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= all->n)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "subset: index %d is %d, but there are %d samples", i, indices[i],
                            all->n);
    ITP_TRY(itp_dataset_new(ctx, n, &all->shape, all->y ? all->n_classes : 0,
                            (const char *const *)all->class_names, &d));
    for (int i = 0; i < n; i++) {
        memcpy(d.x + (size_t)i * size, all->x + (size_t)indices[i] * size, size * sizeof(float));
        if (all->y) d.y[i] = all->y[indices[i]];
    }
    *out = d;
    return INTERP_OK;
}

/* ---- splitting */

#define ITP_STREAM_SPLIT 0x53504C49u /* "SPLI": random numbers no one else uses */

/* Marks in `second` [n] the samples of one class that go there; members [n]: scratch. */
ITP_FN void itp_split_class(const interp_dataset *all, int label, double fraction, uint64_t seed,
                            int *members, unsigned char *second)
{
    int n = 0;
    for (int i = 0; i < all->n; i++)
        if (!all->y || all->y[i] == label) members[n++] = i;
    int take = (int)floor(fraction * n + 0.5);
    if (n >= 2) take = itp_max(1, itp_min(take, n - 1));
    else take = 0;
    itp_shuffle(members, n, seed, ((uint64_t)ITP_STREAM_SPLIT << 32) + (uint64_t)label);
    for (int i = 0; i < take; i++) second[members[i]] = 1;
}

ITP_FN interp_status itp_dataset_pick(interp_ctx *ctx, const interp_dataset *all,
                                      const unsigned char *side, int want, int *indices,
                                      interp_dataset *out)
{
    int n = 0;
    for (int i = 0; i < all->n; i++)
        if (side[i] == want) indices[n++] = i;
    if (n == 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "split: no class has the two samples it takes to divide it");
    return interp_dataset_subset(ctx, all, indices, n, out);
}

INTERP_API interp_status interp_dataset_split(interp_ctx *ctx, const interp_dataset *all,
                                              double fraction, uint64_t seed, interp_dataset *first,
                                              interp_dataset *second)
{
    if (!(fraction > 0 && fraction < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "split: the fraction is %g; it must be within 0..1", fraction);
    for (int i = 0; all->y && i < all->n; i++)
        if (all->y[i] < 0 || all->y[i] >= all->n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "split: the label of sample %d is %d; it must be within 0..%d", i,
                            (int)all->y[i], all->n_classes - 1);
    const size_t n = (size_t)itp_max(all->n, 0);
    int *members = (int *)interp_alloc(ctx, itp_mul_size(n, sizeof *members));
    unsigned char *side = (unsigned char *)itp_calloc(ctx, n, 1);
    interp_dataset a, b;
    memset(&a, 0, sizeof a);
    interp_status status = members && side ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        for (int label = 0; label < (all->y ? all->n_classes : 1); label++)
            itp_split_class(all, label, fraction, seed, members, side);
        status = itp_dataset_pick(ctx, all, side, 0, members, &a);
        if (!status) status = itp_dataset_pick(ctx, all, side, 1, members, &b);
    }
    interp_free(ctx, members);
    interp_free(ctx, side);
    if (status) {
        interp_dataset_free(ctx, &a);
        return status;
    }
    *first = a;
    *second = b;
    return INTERP_OK;
}

/* ---- statistics */

INTERP_API void interp_dataset_statistics(const interp_dataset *dataset, float *mean, float *std,
                                          float *min, float *max)
{
    const size_t size = interp_shape_size(&dataset->shape);
    const int channels = dataset->shape.rank ? dataset->shape.dim[0] : 1;
    const size_t area = channels ? size / (size_t)channels : 0;
    const double count = (double)dataset->n * (double)area;
    for (int c = 0; c < channels; c++) {
        double sum = 0, squares = 0;
        float low = (float)HUGE_VAL, high = (float)-HUGE_VAL;
        for (int i = 0; i < dataset->n; i++) {
            const float *x = dataset->x + (size_t)i * size + (size_t)c * area;
            for (size_t k = 0; k < area; k++) {
                sum += (double)x[k];
                low = x[k] < low ? x[k] : low;
                high = x[k] > high ? x[k] : high;
            }
        }
        const double m = count > 0 ? sum / count : 0;
        for (int i = 0; std && i < dataset->n; i++) {
            const float *x = dataset->x + (size_t)i * size + (size_t)c * area;
            for (size_t k = 0; k < area; k++) squares += ((double)x[k] - m) * ((double)x[k] - m);
        }
        if (mean) mean[c] = (float)m;
        if (std) std[c] = count > 0 ? (float)sqrt(squares / count) : 0;
        if (min) min[c] = low;
        if (max) max[c] = high;
    }
}

INTERP_API void interp_dataset_normalise(interp_dataset *dataset, const float *mean,
                                         const float *std)
{
    const size_t size = interp_shape_size(&dataset->shape);
    const int channels = dataset->shape.rank ? dataset->shape.dim[0] : 1;
    const size_t area = channels ? size / (size_t)channels : 0;
    float *x = dataset->x;
    for (int i = 0; i < dataset->n; i++)
        for (int c = 0; c < channels; c++) {
            const float divisor = std[c] > 0 ? std[c] : 1;
            for (size_t k = 0; k < area; k++, x++) *x = (*x - mean[c]) / divisor;
        }
}

INTERP_API interp_status interp_dataset_resize(interp_ctx *ctx, interp_dataset *dataset, int height,
                                               int width)
{
    const interp_shape old = dataset->shape;
    if (old.rank != 3)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "resize: samples have %d dimensions; only images [C,H,W] can be resized",
                        old.rank);
    if (height < 1 || width < 1 || old.dim[1] < 1 || old.dim[2] < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "resize: from %dx%d to %dx%d is not possible",
                        old.dim[1], old.dim[2], height, width);
    if (height == old.dim[1] && width == old.dim[2]) return INTERP_OK;
    const interp_shape shape = itp_shape_3(old.dim[0], height, width);
    const size_t from = interp_shape_size(&old), to = interp_shape_size(&shape);
    float *x = (float *)interp_alloc(
        ctx, itp_mul_size(itp_mul_size((size_t)dataset->n, to), sizeof(float)));
    if (!x) return INTERP_NO_MEMORY;
    for (int i = 0; i < dataset->n; i++)
        interp_planes_resize(dataset->x + (size_t)i * from, old.dim[0], old.dim[1], old.dim[2],
                             x + (size_t)i * to, height, width);
    interp_free(ctx, dataset->x);
    dataset->x = x;
    dataset->shape = shape;
    return INTERP_OK;
}

INTERP_API interp_status interp_dataset_check(interp_ctx *ctx, const interp_dataset *dataset)
{
    const size_t size = interp_shape_size(&dataset->shape);
    if (dataset->n < 1 || size == 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "the data set is empty: %d samples of %zu values",
                        dataset->n, size);
    for (int i = 0; i < dataset->n; i++) {
        const float *x = dataset->x + (size_t)i * size;
        if (dataset->y && (dataset->y[i] < 0 || dataset->y[i] >= dataset->n_classes))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "sample %d has label %d; labels must be within 0..%d", i,
                            (int)dataset->y[i], dataset->n_classes - 1);
        if (itp_is_finite(x, size)) continue;
        size_t k = 0;
        while (itp_is_finite(x + k, 1)) k++;
        return itp_fail(ctx, INTERP_NOT_FINITE,
                        "sample %d: value %zu is %s; fill in or remove such samples", i, k,
                        x[k] != x[k] ? "missing or NaN" : "infinite");
    }
    return INTERP_OK;
}

/* ---- augmentation */

#define ITP_STREAM_AUGMENT 0x41554Eu /* "AUG": random numbers no one else uses */

/* Where pixel (x,y) of the result comes from: origin + x*across + y*down, as (x,y) pairs. */
typedef struct itp_affine {
    double origin[2], across[2], down[2];
} itp_affine;

ITP_FN double itp_augment_between(uint64_t seed, uint64_t index, int k, double limit)
{
    const uint64_t stream = ((uint64_t)ITP_STREAM_AUGMENT << 40) + index;
    return limit * (2 * (double)interp_random_uniform(seed, stream, (uint64_t)k) - 1);
}

/* The inverse of: flip, scale and turn about the centre, then move. */
ITP_FN itp_affine itp_augment_map(const interp_augment_desc *d, int height, int width,
                                  uint64_t seed, uint64_t index)
{
    const double turn =
        itp_augment_between(seed, index, 0, (double)d->rotate_deg) * 0.017453292519943295;
    const double scale = 1 + itp_augment_between(seed, index, 1, (double)d->scale);
    const double pad = d->crop_padding > 0 ? d->crop_padding : 0;
    double move[2];
    for (int k = 0; k < 2;
         k++) /* half a pixel more each way: all 2 pad + 1 places equally likely */
        move[k] = itp_augment_between(seed, index, 2 + k, (double)d->shift) +
                  (pad > 0 ? floor(itp_augment_between(seed, index, 4 + k, pad + 0.5) + 0.5) : 0);
    const bool mirror_x = d->flip_horizontal && itp_augment_between(seed, index, 6, 1) < 0;
    const bool mirror_y = d->flip_vertical && itp_augment_between(seed, index, 7, 1) < 0;
    const double c = cos(turn) / scale, s = sin(turn) / scale;
    const double cx = (width - 1) * 0.5, cy = (height - 1) * 0.5;
    itp_affine a;
    a.across[0] = mirror_x ? -c : c;
    a.across[1] = mirror_y ? s : -s;
    a.down[0] = mirror_x ? -s : s;
    a.down[1] = mirror_y ? -c : c;
    const double dx = -cx - move[0], dy = -cy - move[1];
    a.origin[0] = cx + dx * a.across[0] + dy * a.down[0];
    a.origin[1] = cy + dx * a.across[1] + dy * a.down[1];
    return a;
}

ITP_FN float itp_augment_sample(const float *plane, int height, int width, double x, double y,
                                float fill)
{
    if (!(x > -1 && y > -1 && x < width && y < height)) return fill;
    const int x0 = (int)floor(x), y0 = (int)floor(y);
    const float fx = (float)(x - x0), fy = (float)(y - y0);
    float sum = 0;
    for (int k = 0; k < 4; k++) {
        const int ix = x0 + (k & 1), iy = y0 + (k >> 1);
        const float w = (k & 1 ? fx : 1 - fx) * (k >> 1 ? fy : 1 - fy);
        if (w == 0) continue; /* whole pixels stay exact, even beside NaN */
        const bool inside = ix >= 0 && iy >= 0 && ix < width && iy < height;
        sum += w * (inside ? plane[(size_t)iy * (size_t)width + (size_t)ix] : fill);
    }
    return sum;
}

INTERP_API void interp_augment(const interp_augment_desc *desc, const float *x,
                               const interp_shape *shape, uint64_t seed, uint64_t index, float *out)
{
    if (!desc || shape->rank != 3) {
        memcpy(out, x, interp_shape_size(shape) * sizeof(float));
        return;
    }
    const int height = shape->dim[1], width = shape->dim[2];
    const size_t area = (size_t)height * (size_t)width;
    const itp_affine a = itp_augment_map(desc, height, width, seed, index);
    for (int oy = 0; oy < height; oy++)
        for (int ox = 0; ox < width; ox++) {
            const double sx = a.origin[0] + ox * a.across[0] + oy * a.down[0];
            const double sy = a.origin[1] + ox * a.across[1] + oy * a.down[1];
            for (int c = 0; c < shape->dim[0]; c++)
                out[(size_t)c * area + (size_t)oy * (size_t)width + (size_t)ox] =
                    itp_augment_sample(x + (size_t)c * area, height, width, sx, sy, desc->fill);
        }
}

/* ---- from arrays in files */

#define ITP_MAX_CLASSES 65536 /* more of them are taken for numbers that are no classes */

/* [n,H,W,C] to [n,C,H,W]. */
ITP_FN void itp_channels_first(const uint8_t *in, const interp_shape *s, float *out)
{
    const size_t c_n = (size_t)s->dim[3], area = (size_t)s->dim[1] * (size_t)s->dim[2];
    for (int i = 0; i < s->dim[0]; i++, in += c_n * area)
        for (size_t c = 0; c < c_n; c++)
            for (size_t k = 0; k < area; k++) *out++ = (float)in[k * c_n + c];
}

ITP_FN interp_status itp_dataset_labels(interp_ctx *ctx, const char *name, const interp_array *y,
                                        interp_dataset *d)
{
    const interp_status status = interp_array_ints(ctx, y, d->y);
    if (status)
        return itp_fail(ctx, status, "%s: labels must be class numbers; in them, %s", name,
                        interp_error(ctx));
    d->n_classes = 0;
    for (int i = 0; i < d->n; i++) {
        if (d->y[i] < 0 || d->y[i] >= ITP_MAX_CLASSES)
            return itp_fail(
                ctx, INTERP_BAD_ARGUMENT,
                "%s: the label of sample %d is %d; classes are numbered from 0, below %d", name, i,
                (int)d->y[i], ITP_MAX_CLASSES);
        d->n_classes = itp_max(d->n_classes, d->y[i] + 1);
    }
    return INTERP_OK;
}

/* Samples as a data set without labels. Bytes of images are scaled to 0..1; those with
   channels last, as decoders leave them, are known by a last dimension of 1, 3 or 4 where the one
   of channels is none of these. */
ITP_FN interp_status itp_dataset_from_array(interp_ctx *ctx, const char *name,
                                            const interp_array *x, interp_dataset *dataset)
{
    const interp_shape *s = &x->shape;
    if (s->rank < 2 || s->rank > 4 || interp_shape_size(s) == 0)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "%s: samples must be [n,d], [n,H,W] or [n,C,H,W] and some; these have %d "
                        "dimensions and %zu values",
                        name, s->rank, interp_shape_size(s));
    interp_shape shape = itp_shape_none();
    shape.rank = s->rank == 2 ? 1 : 3;
    for (int i = 1; i < s->rank; i++) shape.dim[shape.rank - s->rank + i] = s->dim[i];
    const bool image = x->dtype == INTERP_UINT8 && s->rank > 2;
    const int c = s->dim[1], c_last = s->dim[3];
    const bool last = image && s->rank == 4 && (c_last == 1 || c_last == 3 || c_last == 4) &&
                      c != 1 && c != 3 && c != 4;
    if (last) shape = itp_shape_3(c_last, c, s->dim[2]);
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, s->dim[0], &shape, 0, NULL, &d));
    if (last) {
        itp_channels_first((const uint8_t *)x->data, s, d.x);
        itp_warn(ctx, "%s: taken as images with channels last, [n,H,W,C]", name);
    } else {
        interp_array_floats(x, d.x);
    }
    const size_t total = interp_shape_size(s);
    for (size_t i = 0; image && i < total; i++) d.x[i] /= 255;
    *dataset = d;
    return INTERP_OK;
}

/* ---- IDX */

ITP_FN interp_status itp_idx_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   interp_array *array)
{
    static const interp_dtype types[7] = {INTERP_UINT8,  INTERP_INT8,  INTERP_DTYPE_COUNT,
                                          INTERP_INT16,  INTERP_INT32, INTERP_FLOAT32,
                                          INTERP_FLOAT64};
    const unsigned char *p = (const unsigned char *)bytes;
    if (itp_is_gzip(bytes, n)) {
        char *plain = NULL;
        size_t plain_n = 0;
        ITP_TRY(itp_gunzip(ctx, name, bytes, n, &plain, &plain_n));
        const interp_status status =
            itp_is_gzip(plain, plain_n)
                ? itp_fail(ctx, INTERP_FORMAT, "%s: it is gzipped twice", name)
                : itp_idx_parse(ctx, name, plain, plain_n, array);
        interp_free(ctx, plain);
        return status;
    }
    if (n < 4 || p[0] || p[1] || p[2] < 8 || p[2] > 14 || types[p[2] - 8] == INTERP_DTYPE_COUNT)
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is not an IDX file", name);
    const int rank = p[3];
    const interp_dtype dtype = types[p[2] - 8];
    if (rank > INTERP_MAX_RANK)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it has %d dimensions; up to %d are read",
                        name, rank, INTERP_MAX_RANK);
    const size_t header = 4 + 4 * (size_t)rank;
    if (n < header)
        return itp_fail(ctx, INTERP_FORMAT, "%s: the file ends within its header", name);
    uint64_t dims[INTERP_MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = itp_get_be32(p + 4 + 4 * i);
    interp_shape shape = itp_shape_none();
    size_t need = 0;
    ITP_TRY(itp_shape_from_file(ctx, name, rank, dims, itp_dtype(dtype)->size, &shape, &need));
    if (need != n - header)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: its header promises %zu bytes of data but %zu follow", name, need,
                        n - header);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_from_bytes(ctx, dtype, &shape, p + header, false, &a));
    *array = a;
    return INTERP_OK;
}

INTERP_API interp_status interp_idx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array)
{
    return itp_idx_parse(ctx, "idx", bytes, n, array);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_idx_read(interp_ctx *ctx, const char *path, interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_idx_parse(ctx, path, bytes, n, array);
    interp_free(ctx, bytes);
    return status;
}

#endif

/* ---- CIFAR-10 */

#define ITP_CIFAR_RECORD 3073 /* label, then 32x32 red, green, blue */

ITP_FN interp_status itp_cifar10_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                       size_t n, interp_dataset *dataset)
{
    static const char *const names[10] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};
    const unsigned char *p = (const unsigned char *)bytes;
    if (n == 0 || n % ITP_CIFAR_RECORD || n / ITP_CIFAR_RECORD > INT_MAX)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: %zu bytes are not a whole number of CIFAR-10 records (%d bytes each)",
                        name, n, ITP_CIFAR_RECORD);
    const int count = (int)(n / ITP_CIFAR_RECORD);
    for (int i = 0; i < count; i++)
        if (p[(size_t)i * ITP_CIFAR_RECORD] > 9)
            return itp_fail(ctx, INTERP_FORMAT, "%s: the label of record %d is %d; it must be 0..9",
                            name, i, p[(size_t)i * ITP_CIFAR_RECORD]);
    const interp_shape shape = itp_shape_3(3, 32, 32);
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, count, &shape, 10, names, &d));
    for (int i = 0; i < count; i++) {
        d.y[i] = *p++;
        float *x = d.x + (size_t)i * (ITP_CIFAR_RECORD - 1);
        for (int k = 0; k < ITP_CIFAR_RECORD - 1; k++) x[k] = (float)*p++ / 255;
    }
    *dataset = d;
    return INTERP_OK;
}

INTERP_API interp_status interp_cifar10_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                              interp_dataset *dataset)
{
    return itp_cifar10_parse(ctx, "cifar10", bytes, n, dataset);
}
/* >>data/open.c                                                                               */
/* ---- data/open.c: data sets and arrays named on the command line ----------------------------- */

#if !defined(INTERP_NO_STDIO)

#define ITP_TEST_FRACTION 0.2

typedef struct itp_spec {
    char *text;         /* block the others point into */
    const char *path;   /* what follows the colon */
    const char *labels; /* npy: file of labels; NULL: none */
    const char *label, *images, *id;
    int height, width; /* 0: no resizing */
} itp_spec;

ITP_FN interp_status itp_spec_fail(interp_ctx *ctx, const char *spec, const char *why)
{
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "data \"%.100s\": %s; known are idx:DIR, cifar10:DIR, npy:X.npy[,Y.npy], "
                    "csv:FILE[,label=COLUMN], folder:DIR and "
                    "table:FILE.csv,images=DIR[,id=COLUMN,label=COLUMN], and digits and iris "
                    "where they are built in, as in the tool; images also with [,size=HxW]",
                    spec, why);
}

ITP_FN bool itp_spec_size(const char *text, itp_spec *s)
{
    itp_scan t;
    uint64_t h, w;
    t.at = text;
    t.end = text + strlen(text);
    if (!itp_scan_u64(&t, &h) || !(itp_scan_take(&t, 'x') || itp_scan_take(&t, 'X')) ||
        !itp_scan_u64(&t, &w) || t.at != t.end || h < 1 || w < 1 || h > 16384 || w > 16384)
        return false;
    s->height = (int)h;
    s->width = (int)w;
    return true;
}

/* The value of "key=value", NULL when the part is not that. */
ITP_FN const char *itp_spec_value(const char *part, const char *key)
{
    const size_t n = strlen(key);
    return strncmp(part, key, n) == 0 && part[n] == '=' ? part + n + 1 : NULL;
}

/* One part behind the path; NULL when it is fine, else what is wrong with it. */
ITP_FN const char *itp_spec_part(const char *kind, const char *part, itp_spec *s)
{
    const bool table = !strcmp(kind, "table"), csv = !strcmp(kind, "csv");
    const char *size = itp_spec_value(part, "size"), *label = itp_spec_value(part, "label");
    const char *images = itp_spec_value(part, "images"), *id = itp_spec_value(part, "id");
    if (size) return csv || !itp_spec_size(size, s) ? "size= is HxW pixels, for images only" : NULL;
    if (label && (csv || table)) s->label = label;
    else if (images && table) s->images = images;
    else if (id && table) s->id = id;
    else if (!s->labels && !strcmp(kind, "npy")) s->labels = part;
    else return "one of its parts is not known";
    return NULL;
}

/* Divides "kind:path,part,.."; on success the caller frees s->text. */
ITP_FN interp_status itp_spec_parse(interp_ctx *ctx, const char *spec, const char *kind,
                                    itp_spec *s)
{
    memset(s, 0, sizeof *s);
    s->text = itp_strdup(ctx, spec + strlen(kind) + 1);
    if (!s->text) return INTERP_NO_MEMORY;
    s->path = s->text;
    const char *why = NULL;
    char *next = strchr(s->text, ',');
    while (next && !why) {
        char *part = next + 1;
        *next = 0;
        next = strchr(part, ',');
        if (next) *next = 0;
        why = itp_spec_part(kind, part, s);
    }
    if (!why && !*s->path) why = "the path is missing";
    if (!why && !strcmp(kind, "table") && !s->images) why = "images=DIR is missing";
    if (!why) return INTERP_OK;
    interp_free(ctx, s->text);
    return itp_spec_fail(ctx, spec, why);
}

/* Samples and labels (NULL for none) from two files as a data set; sentences name the one at fault. */
ITP_FN interp_status itp_open_pair(interp_ctx *ctx, const char *x_path, const interp_array *x,
                                   const char *y_path, const interp_array *y, interp_dataset *out)
{
    interp_dataset d;
    ITP_TRY(itp_dataset_from_array(ctx, x_path, x, &d));
    const size_t n = y ? interp_shape_size(&y->shape) : 0;
    interp_status status = INTERP_OK;
    if (y && n != (size_t)d.n)
        status = itp_fail(ctx, INTERP_BAD_SHAPE, "%s: it has %zu labels for the %d samples of %s",
                          y_path, n, d.n, x_path);
    if (!status && y) {
        d.y = (int32_t *)interp_alloc(ctx, itp_mul_size(n, sizeof *d.y));
        status = d.y ? itp_dataset_labels(ctx, y_path, y, &d) : INTERP_NO_MEMORY;
    }
    if (status) interp_dataset_free(ctx, &d);
    else *out = d;
    return status;
}

/* ---- idx */

/* The file DIR/NAME in one of its spellings ("-idx", ".idx"; plain, .gz), NULL when there is none
   (or memory ran out, which *status tells). */
ITP_FN char *itp_idx_find(interp_ctx *ctx, const char *dir, const char *start, const char *end,
                          interp_status *status)
{
    static const char *const joints[2] = {"-", "."}, *const ends[2] = {"", ".gz"};
    for (int k = 0; k < 4; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", start, joints[k >> 1], end);
        char *path = itp_path_join(ctx, dir, name, ends[k & 1]);
        if (!path) {
            *status = INTERP_NO_MEMORY;
            return NULL;
        }
        FILE *f = fopen(path, "rb");
        if (f) {
            fclose(f);
            return path;
        }
        interp_free(ctx, path);
    }
    return NULL;
}

ITP_FN interp_status itp_idx_pair(interp_ctx *ctx, const char *images, const char *labels,
                                  interp_dataset *out)
{
    interp_array x = itp_array_none(), y = x;
    ITP_TRY(interp_idx_read(ctx, images, &x));
    interp_status status = interp_idx_read(ctx, labels, &y);
    if (!status) {
        status = itp_open_pair(ctx, images, &x, labels, &y, out);
        interp_array_free(ctx, &y);
    }
    interp_array_free(ctx, &x);
    return status;
}

/* The pair PREFIX-images-idx3-ubyte, PREFIX-labels-idx1-ubyte; *found tells whether both are
   there. */
ITP_FN interp_status itp_idx_named(interp_ctx *ctx, const char *dir, const char *images_start,
                                   const char *labels_start, bool *found, interp_dataset *out)
{
    interp_status status = INTERP_OK;
    char *images = itp_idx_find(ctx, dir, images_start, "idx3-ubyte", &status);
    char *labels = status ? NULL : itp_idx_find(ctx, dir, labels_start, "idx1-ubyte", &status);
    *found = images && labels;
    if (!status && *found) status = itp_idx_pair(ctx, images, labels, out);
    interp_free(ctx, images);
    interp_free(ctx, labels);
    return status;
}

/* The one pair of other name in the folder: ..images..idx3.. and the same with labels, idx1. */
ITP_FN interp_status itp_idx_other(interp_ctx *ctx, const char *dir, interp_dataset *out)
{
    itp_files files;
    char *labels = NULL;
    const char *images = NULL;
    int pairs = 0;
    memset(&files, 0, sizeof files);
    interp_status status = itp_folder_list(ctx, dir, false, &files);
    for (int i = 0; !status && i < files.n; i++) {
        const char *path = files.items[i].path, *base = itp_path_base(path);
        const char *word = strstr(base, "images"), *rank = strstr(base, "idx3");
        if (!word || !rank) continue;
        char *other = itp_strdup(ctx, path);
        if (!other) {
            status = INTERP_NO_MEMORY;
            break;
        }
        memcpy(other + (word - path), "labels", 6);
        other[rank - path + 3] = '1';
        FILE *f = fopen(other, "rb");
        if (f) fclose(f);
        if (f && ++pairs == 1) {
            images = path;
            labels = other;
        } else {
            interp_free(ctx, other);
        }
    }
    if (!status && pairs != 1)
        status =
            itp_fail(ctx, INTERP_IO,
                     "%s: %s; wanted are train-images-idx3-ubyte, train-labels-idx1-ubyte, "
                     "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz",
                     dir, pairs ? "there are several pairs of IDX files" : "no IDX files found");
    if (!status) status = itp_idx_pair(ctx, images, labels, out);
    interp_free(ctx, labels);
    itp_files_free(ctx, &files);
    return status;
}

/* *whole: only one set was there; it is in *train. */
ITP_FN interp_status itp_open_idx(interp_ctx *ctx, const char *dir, interp_dataset *train,
                                  interp_dataset *test, bool *whole)
{
    bool has_train, has_test = false;
    interp_status status =
        itp_idx_named(ctx, dir, "train-images", "train-labels", &has_train, train);
    if (status) return status;
    status = itp_idx_named(ctx, dir, "t10k-images", "t10k-labels", &has_test, test);
    *whole = !has_train || !has_test;
    if (!status && !has_train && has_test) {
        *train = *test;
        memset(test, 0, sizeof *test);
        has_train = true;
    }
    if (!status && !has_train) status = itp_idx_other(ctx, dir, train);
    if (!status && *whole)
        itp_warn(ctx, "%s: only %s is there; %g of it is set aside for testing", dir,
                 has_test    ? "the test set (t10k)"
                 : has_train ? "the training set"
                             : "one set",
                 ITP_TEST_FRACTION);
    if (status && has_train) interp_dataset_free(ctx, train);
    return status;
}

/* ---- CIFAR-10 */

/* Adds the file to the buffer; INTERP_OK with *found false when there is none. */
ITP_FN interp_status itp_cifar10_add(interp_ctx *ctx, const char *dir, const char *name, itp_buf *b,
                                     bool *found)
{
    char *path = itp_path_join(ctx, dir, name, ""), *bytes = NULL;
    size_t n = 0;
    *found = false;
    if (!path) return INTERP_NO_MEMORY;
    FILE *f = fopen(path, "rb");
    interp_status status = INTERP_OK;
    if (f) {
        fclose(f);
        *found = true;
        status = itp_file_read(ctx, path, &bytes, &n);
        if (!status && n % ITP_CIFAR_RECORD)
            status = itp_fail(ctx, INTERP_FORMAT,
                              "%s: %zu bytes are not a whole number of records (%d bytes each)",
                              path, n, ITP_CIFAR_RECORD);
        if (!status) itp_buf_add(b, bytes, n);
        if (!status) status = b->status;
    }
    interp_free(ctx, bytes);
    interp_free(ctx, path);
    return status;
}

ITP_FN interp_status itp_open_cifar10(interp_ctx *ctx, const char *dir, interp_dataset *train,
                                      interp_dataset *test, bool *whole)
{
    itp_buf b = itp_buf_new(ctx);
    bool found = false, any = false;
    interp_status status = INTERP_OK;
    for (int i = 1; !status && i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        status = itp_cifar10_add(ctx, dir, name, &b, &found);
        any |= found;
    }
    const bool has_train = any;
    if (!status && has_train) {
        status = itp_cifar10_parse(ctx, dir, b.data, b.n, train);
        b.n = 0;
    }
    const bool made = !status && has_train;
    if (!status) status = itp_cifar10_add(ctx, dir, "test_batch.bin", &b, &found);
    *whole = !has_train || !found;
    if (!status && !has_train && !found)
        status = itp_fail(ctx, INTERP_IO,
                          "%s: there is neither data_batch_1.bin nor test_batch.bin (the binary "
                          "version of CIFAR-10)",
                          dir);
    if (!status && found)
        status = itp_cifar10_parse(ctx, dir, b.data, b.n, has_train ? test : train);
    if (!status && *whole)
        itp_warn(ctx, "%s: only %s is there; %g of it is set aside for testing", dir,
                 has_train ? "the training set" : "the test set", ITP_TEST_FRACTION);
    if (status && made) interp_dataset_free(ctx, train);
    itp_buf_free(&b);
    return status;
}

/* ---- npy */

ITP_FN interp_status itp_open_npy(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    interp_array x = itp_array_none(), y = x;
    ITP_TRY(interp_npy_read(ctx, s->path, &x));
    interp_status status = s->labels ? interp_npy_read(ctx, s->labels, &y) : INTERP_OK;
    if (!status) status = itp_open_pair(ctx, s->path, &x, s->labels, s->labels ? &y : NULL, all);
    interp_array_free(ctx, &x);
    interp_array_free(ctx, &y);
    return status;
}

/* ---- tables */

/* The column asked for, or the first of the usual names, else `otherwise`; -1 with an error set. */
ITP_FN int itp_table_pick(interp_ctx *ctx, const char *file, const interp_table *t,
                          const char *asked, const char *const *usual, int n_usual, int otherwise)
{
    char names[240];
    if (asked) {
        const int j = interp_table_column(t, asked);
        if (j >= 0) return j;
        size_t at = 0;
        for (int k = 0; k < t->n_columns && t->column_names && at + 50 < sizeof names; k++)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.40s", k ? ", " : "",
                                   t->column_names[k]);
        itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: there is no column \"%.100s\" among its %d (%s)",
                 file, asked, t->n_columns, t->column_names ? names : "which have no names");
        return j;
    }
    for (int k = 0; k < n_usual && t->column_names; k++)
        for (int j = 0; j < t->n_columns; j++)
            if (itp_same_word(t->column_names[j], usual[k])) return j;
    return otherwise;
}

ITP_FN int itp_table_label(interp_ctx *ctx, const itp_spec *s, const interp_table *t)
{
    static const char *const usual[5] = {"label", "class", "target", "species", "diagnosis"};
    return itp_table_pick(ctx, s->path, t, s->label, usual, 5, t->n_columns - 1);
}

/* "column 3" or its name, for sentences. */
ITP_FN const char *itp_table_name(const interp_table *t, int j, char out[64])
{
    if (t->column_names) snprintf(out, 64, "column \"%.40s\"", t->column_names[j]);
    else snprintf(out, 64, "column %d", j);
    return out;
}

/* Classes of all rows from column j into y; *n_classes and *names (NULL for numbers) of them. */
ITP_FN interp_status itp_table_classes(interp_ctx *ctx, const char *file, const interp_table *t,
                                       int j, int32_t *y, int *n_classes, const char *const **names)
{
    char name[64];
    *n_classes = 0;
    for (int i = 0; i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)j];
        if (!(v >= 0 && v < ITP_MAX_CLASSES) || v != floor(v))
            return itp_fail(
                ctx, INTERP_BAD_ARGUMENT,
                "%s: row %d: the label in %s is %g; a label is a word or a whole number "
                "from 0, below %d",
                file, i + 1, itp_table_name(t, j, name), v, ITP_MAX_CLASSES);
        y[i] = (int32_t)v;
        *n_classes = itp_max(*n_classes, y[i] + 1);
    }
    *names = t->n_categories[j] ? (const char *const *)t->categories[j] : NULL;
    return INTERP_OK;
}

/* Whether a column can be a feature: not the label, not a row number, not empty throughout. */
ITP_FN bool itp_table_is_feature(const interp_table *t, int j, int label)
{
    if (j == label) return false;
    if (t->column_names && itp_same_word(t->column_names[j], "id")) return false;
    for (int i = 0; i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)j];
        if (v == v) return true;
    }
    return false;
}

/* Writes the numbers of the feature columns to columns [n_columns]; returns how many, or -1. */
ITP_FN int itp_table_features(interp_ctx *ctx, const char *file, const interp_table *t, int label,
                              int *columns)
{
    char name[64];
    int n = 0;
    for (int j = 0; j < t->n_columns; j++) {
        if (!itp_table_is_feature(t, j, label)) {
            if (j != label) itp_warn(ctx, "%s: %s is left out", file, itp_table_name(t, j, name));
            continue;
        }
        if (t->n_categories[j]) {
            itp_fail(ctx, INTERP_BAD_ARGUMENT,
                     "%s: %s holds text (\"%.40s\"); features are numbers, only the label may be "
                     "text",
                     file, itp_table_name(t, j, name), t->categories[j][0]);
            return -1;
        }
        columns[n++] = j;
    }
    if (n) return n;
    itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: it has no column besides the label", file);
    return -1;
}

ITP_FN interp_status itp_table_dataset(interp_ctx *ctx, const itp_spec *s, const interp_table *t,
                                       int *columns, int32_t *y, interp_dataset *all)
{
    const int label = itp_table_label(ctx, s, t);
    if (label < 0) return INTERP_BAD_ARGUMENT;
    const int d = itp_table_features(ctx, s->path, t, label, columns);
    if (d < 0) return INTERP_BAD_ARGUMENT;
    int n_classes;
    const char *const *names;
    ITP_TRY(itp_table_classes(ctx, s->path, t, label, y, &n_classes, &names));
    interp_shape shape = itp_shape_none();
    shape.rank = 1;
    shape.dim[0] = d;
    ITP_TRY(itp_dataset_new(ctx, t->n_rows, &shape, n_classes, names, all));
    float *x = all->x;
    for (int i = 0; i < t->n_rows; i++)
        for (int k = 0; k < d; k++)
            *x++ = (float)t->cells[(size_t)i * (size_t)t->n_columns + (size_t)columns[k]];
    memcpy(all->y, y, (size_t)t->n_rows * sizeof *y);
    return INTERP_OK;
}

ITP_FN interp_status itp_open_csv(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    interp_table t;
    ITP_TRY(interp_csv_read(ctx, s->path, &t));
    int *columns = (int *)interp_alloc(ctx, itp_mul_size((size_t)t.n_columns, sizeof *columns));
    int32_t *y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)t.n_rows, sizeof *y));
    interp_status status = INTERP_NO_MEMORY;
    if (columns && y) status = itp_table_dataset(ctx, s, &t, columns, y, all);
    interp_free(ctx, columns);
    interp_free(ctx, y);
    interp_table_free(ctx, &t);
    return status;
}

/* ---- images */

/* Takes over the files' labels; class names may be NULL. */
ITP_FN interp_status itp_images_dataset(interp_ctx *ctx, const itp_spec *s, const itp_files *files,
                                        int n_classes, const char *const *names,
                                        interp_dataset *all)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.n = files->n;
    d.n_classes = n_classes;
    ITP_TRY(itp_images_load(ctx, files, s->height, s->width, &d.x, &d.shape));
    d.y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)files->n, sizeof *d.y));
    interp_status status = d.y ? INTERP_OK : INTERP_NO_MEMORY;
    for (int i = 0; !status && i < files->n; i++) d.y[i] = files->items[i].label;
    if (!status && names) status = itp_names_copy(ctx, names, n_classes, &d.class_names);
    if (status) interp_dataset_free(ctx, &d);
    else *all = d;
    return status;
}

ITP_FN interp_status itp_open_folder(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    itp_files folders, images;
    int n_classes = 0;
    memset(&folders, 0, sizeof folders);
    memset(&images, 0, sizeof images);
    interp_status status = itp_folder_list(ctx, s->path, true, &folders);
    const char **names = NULL;
    if (!status) {
        names = (const char **)interp_alloc(ctx, (size_t)folders.n * sizeof *names);
        if (!names) status = INTERP_NO_MEMORY;
    }
    for (int i = 0; !status && i < folders.n; i++) {
        const int before = images.n;
        status = itp_folder_images(ctx, folders.items[i].path, n_classes, &images);
        if (images.n > before) names[n_classes++] = itp_path_base(folders.items[i].path);
    }
    if (!status && images.n == 0)
        status =
            itp_fail(ctx, INTERP_IO,
                     "%s: no sub-folder with PNG or JPEG images; one per class is wanted", s->path);
    if (!status) status = itp_images_dataset(ctx, s, &images, n_classes, names, all);
    interp_free(ctx, names);
    itp_files_free(ctx, &images);
    itp_files_free(ctx, &folders);
    return status;
}

/* The image that a table calls `id`, with or without its ending. */
ITP_FN interp_status itp_table_image(interp_ctx *ctx, const itp_spec *s, const char *id, int label,
                                     itp_files *files)
{
    static const char *const ends[] = {"", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG"};
    for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
        char *path = itp_path_join(ctx, s->images, id, ends[k]);
        if (!path) return INTERP_NO_MEMORY;
        FILE *f = itp_is_image_name(path) ? fopen(path, "rb") : NULL;
        if (f) {
            fclose(f);
            return itp_files_add(ctx, files, path, label);
        }
        interp_free(ctx, path);
    }
    return itp_fail(ctx, INTERP_IO, "%s: it names the image \"%.100s\", which is not in %.200s",
                    s->path, id, s->images);
}

ITP_FN interp_status itp_table_images(interp_ctx *ctx, const itp_spec *s, const interp_table *t,
                                      int id, int label, interp_dataset *all)
{
    itp_files files;
    int n_classes = 0;
    const char *const *names = NULL;
    memset(&files, 0, sizeof files);
    int32_t *y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)t->n_rows, sizeof *y));
    if (!y) return INTERP_NO_MEMORY;
    interp_status status = itp_table_classes(ctx, s->path, t, label, y, &n_classes, &names);
    for (int i = 0; !status && i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)id];
        if (!(v >= 0))
            status = itp_fail(ctx, INTERP_FORMAT, "%s: row %d names no image", s->path, i + 1);
        else status = itp_table_image(ctx, s, t->categories[id][(int)v], y[i], &files);
    }
    if (!status) status = itp_images_dataset(ctx, s, &files, n_classes, names, all);
    itp_files_free(ctx, &files);
    interp_free(ctx, y);
    return status;
}

/* Read twice: names of columns first, then with the ids as text, which keeps leading zeros. */
ITP_FN interp_status itp_open_table(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    static const char *const usual[] = {"id",       "id_code", "image", "image_id", "file",
                                        "filename", "path",    "name",  "img"};
    char *bytes = NULL;
    size_t n = 0;
    interp_table t;
    ITP_TRY(itp_file_read(ctx, s->path, &bytes, &n));
    interp_status status = itp_csv_parse(ctx, s->path, bytes, n, -1, &t);
    if (!status) {
        const int id = itp_table_pick(ctx, s->path, &t, s->id, usual, 9, 0);
        const int label = id < 0 ? -1 : itp_table_label(ctx, s, &t);
        interp_table_free(ctx, &t);
        if (label < 0) status = INTERP_BAD_ARGUMENT;
        else if (id == label)
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: image names and labels would be the same column; give id= and "
                              "label=",
                              s->path);
        if (!status) status = itp_csv_parse(ctx, s->path, bytes, n, id, &t);
        if (!status) {
            status = itp_table_images(ctx, s, &t, id, label, all);
            interp_table_free(ctx, &t);
        }
    }
    interp_free(ctx, bytes);
    return status;
}

/* ---- all of them */

/* Resizes and checks; `name` goes in front of the sentence. */
ITP_FN interp_status itp_open_finish(interp_ctx *ctx, const char *name, const itp_spec *s,
                                     interp_dataset *d)
{
    interp_status status = INTERP_OK;
    if (s->height) status = interp_dataset_resize(ctx, d, s->height, s->width);
    if (!status) status = interp_dataset_check(ctx, d);
    if (status && status != INTERP_NO_MEMORY)
        itp_fail(ctx, status, "%s: %s", name, interp_error(ctx));
    return status;
}

ITP_FN interp_status itp_open_kind(interp_ctx *ctx, const char *kind, const itp_spec *s,
                                   interp_dataset *train, interp_dataset *test, bool *whole)
{
    if (!strcmp(kind, "idx")) return itp_open_idx(ctx, s->path, train, test, whole);
    if (!strcmp(kind, "cifar10")) return itp_open_cifar10(ctx, s->path, train, test, whole);
    if (!strcmp(kind, "npy")) return itp_open_npy(ctx, s, train);
    if (!strcmp(kind, "csv")) return itp_open_csv(ctx, s, train);
    if (!strcmp(kind, "folder")) return itp_open_folder(ctx, s, train);
    return itp_open_table(ctx, s, train);
}

INTERP_API interp_status interp_data_open(interp_ctx *ctx, const char *spec, uint64_t seed,
                                          interp_dataset *train, interp_dataset *test)
{
    static const char *const kinds[] = {"idx", "cifar10", "npy", "csv", "folder", "table"};
    const char *kind = NULL;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const size_t n = strlen(kinds[k]);
        if (strncmp(spec, kinds[k], n) == 0 && spec[n] == ':') kind = kinds[k];
    }
    if (!kind) return itp_spec_fail(ctx, spec, "this form is not known");
    itp_spec s;
    ITP_TRY(itp_spec_parse(ctx, spec, kind, &s));
    interp_dataset a, b, first, second;
    bool whole = true;
    memset(&a, 0, sizeof a);
    b = first = second = a;
    interp_status status = itp_open_kind(ctx, kind, &s, &a, &b, &whole);
    const bool opened = !status;
    if (!status) status = itp_open_finish(ctx, s.path, &s, &a);
    if (!status && whole) {
        status = interp_dataset_split(ctx, &a, ITP_TEST_FRACTION, seed, &first, &second);
    } else if (!status) {
        status = itp_open_finish(ctx, s.path, &s, &b);
        if (!status && !itp_shape_equal(&a.shape, &b.shape))
            status = itp_fail(ctx, INTERP_BAD_SHAPE,
                              "%s: training and test samples are of different shapes", s.path);
        a.n_classes = b.n_classes = itp_max(a.n_classes, b.n_classes);
    }
    interp_free(ctx, s.text);
    if (opened && (status || whole)) {
        interp_dataset_free(ctx, &a);
        interp_dataset_free(ctx, &b);
    }
    if (status) return status;
    *train = whole ? first : a;
    *test = whole ? second : b;
    return INTERP_OK;
}

/* ---- arrays */

/* The key behind "FILE.end:KEY", with the path copied to *path; NULL when it is not that form. */
ITP_FN const char *itp_spec_key(interp_ctx *ctx, const char *spec, const char *end, char **path,
                                interp_status *status)
{
    const size_t n = strlen(end);
    for (const char *p = strchr(spec, '.'); p; p = strchr(p + 1, '.')) {
        if (strncmp(p, end, n) || (p[n] && p[n] != ':')) continue;
        *path = itp_strdup(ctx, spec);
        if (*path) (*path)[(size_t)(p - spec) + n] = 0;
        else *status = INTERP_NO_MEMORY;
        return p[n] ? p + n + 1 : p + n;
    }
    return NULL;
}

ITP_FN interp_status itp_array_read_csv(interp_ctx *ctx, const char *path, interp_array *array)
{
    interp_table t;
    char name[64];
    ITP_TRY(interp_csv_read(ctx, path, &t));
    interp_status status = INTERP_OK;
    for (int j = 0; !status && j < t.n_columns && t.n_columns > 1; j++)
        if (t.n_categories[j])
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: %s holds text (\"%.40s\"); an array holds numbers", path,
                              itp_table_name(&t, j, name), t.categories[j][0]);
    if (!status) {
        array->dtype = INTERP_FLOAT64;
        array->shape = itp_shape_none();
        array->shape.rank = 2;
        array->shape.dim[0] = t.n_rows;
        array->shape.dim[1] = t.n_columns;
        array->data = t.cells;
        t.cells = NULL;
    }
    interp_table_free(ctx, &t);
    return status;
}

ITP_FN interp_status itp_array_read_images(interp_ctx *ctx, const char *path, bool folder,
                                           interp_array *array)
{
    itp_files files;
    interp_shape shape = itp_shape_none();
    float *x = NULL;
    memset(&files, 0, sizeof files);
    interp_status status = folder ? itp_folder_images(ctx, path, 0, &files)
                                  : itp_files_add(ctx, &files, itp_strdup(ctx, path), 0);
    if (!status && files.n == 0)
        status = itp_fail(ctx, INTERP_IO, "%s: the folder has no PNG or JPEG images", path);
    if (!status) status = itp_images_load(ctx, &files, 0, 0, &x, &shape);
    if (!status) {
        array->data = x;
        array->dtype = ITP_FLOAT_DTYPE;
        array->shape = shape;
        array->shape.rank = 4;
        for (int i = 3; i > 0; i--) array->shape.dim[i] = shape.dim[i - 1];
        array->shape.dim[0] = files.n;
    }
    itp_files_free(ctx, &files);
    return status;
}

INTERP_API interp_status interp_array_read(interp_ctx *ctx, const char *spec, interp_array *array)
{
    char *path = NULL;
    interp_status status = INTERP_OK;
    if (itp_is_folder(spec)) return itp_array_read_images(ctx, spec, true, array);
    if (itp_is_image_name(spec)) return itp_array_read_images(ctx, spec, false, array);
    if (itp_ends_with(spec, ".npy")) return interp_npy_read(ctx, spec, array);
    if (itp_ends_with(spec, ".csv")) return itp_array_read_csv(ctx, spec, array);
    if (strstr(spec, "idx") && (itp_ends_with(spec, "ubyte") || itp_ends_with(spec, ".gz")))
        return interp_idx_read(ctx, spec, array);
    const char *key = itp_spec_key(ctx, spec, ".npz", &path, &status);
    if (key) {
        if (!status) status = interp_npz_read(ctx, path, key, array);
        interp_free(ctx, path);
        return status;
    }
    key = itp_spec_key(ctx, spec, ".safetensors", &path, &status);
    if (key) {
        if (!status) status = itp_safetensors_read_one(ctx, path, key, array);
        interp_free(ctx, path);
        return status;
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "array \"%.200s\": its kind is not known; known are FILE.npy, FILE.npz:KEY, "
                    "FILE.csv, FILE.safetensors:KEY, PNG and JPEG files and folders of them",
                    spec);
}

#endif
/* >>net/graph.c                                                                               */
/* ---- net/graph.c: values, nodes, the op table's types ----------------------------------------- */

#define ITP_MAX_INPUTS 64 /* of one node */

typedef enum itp_kind {
    ITP_INPUT,
    ITP_PARAM,     /* trained */
    ITP_BUFFER,    /* kept with the parameters, not trained by gradients */
    ITP_CONST,     /* numbers of the graph itself */
    ITP_ACTIVATION /* made by a node */
} itp_kind;

/* A value of the graph. Shapes of activations are for a batch of one until a workspace is made. */
typedef struct itp_value {
    char *name;
    itp_kind kind;
    interp_shape shape;
    int producer;  /* node index, -1 for none */
    float *data;   /* parameters, buffers, constants */
    size_t offset; /* parameters: into the flat array */
    interp_init init;
    int fan_in, fan_out; /* of weights; 0: starts at the constant `start` */
    float start;
} itp_value;

/* Constants of a node; each op reads those it knows. */
typedef struct itp_attrs {
    int kernel[2], stride[2], dilation[2], pad[4]; /* pad: top, left, bottom, right */
    int groups, axis, start, length;
    bool same, ceil_mode, count_include_pad, trans_a, trans_b, drop;
    float alpha, beta, epsilon, momentum;
    int perm[INTERP_MAX_RANK];
    interp_shape shape; /* reshape: 0 keeps, -1 infers */
} itp_attrs;

typedef struct itp_node {
    int op; /* row of the op table */
    char *name;
    int n_in, in[ITP_MAX_INPUTS]; /* value indices */
    int out;
    itp_attrs attrs;
} itp_node;

struct interp_net {
    interp_ctx *ctx;
    char *name;
    itp_value *values;
    int n_values, values_capacity;
    itp_node *nodes;
    int n_nodes, nodes_capacity;
    int inputs[ITP_MAX_INPUTS], n_inputs;
    int outputs[ITP_MAX_INPUTS], n_outputs;
    int *params, n_params; /* value indices of trained parameters */
    float *flat;           /* all trained parameters */
    size_t n_flat;
    int fixed_batch;
    bool built;
    interp_status status;        /* first error made while building */
    char error[ITP_ERROR_BYTES]; /* and its sentence */
};

/* ---- the op table's row */

/* What a shape rule sees: shapes of a node's inputs, and where the output's goes. */
typedef struct itp_infer {
    interp_ctx *ctx;
    const interp_net *net;
    const itp_node *node;
    const interp_shape *in[ITP_MAX_INPUTS];
    interp_shape *out;
} itp_infer;

/* Numbers of scratch and of state kept from forward to backward, in floats. */
typedef struct itp_need {
    size_t slot;   /* scratch of each thread */
    size_t shared; /* scratch of all */
    size_t save;   /* kept */
    size_t packed; /* constant weights as the kernels read them */
} itp_need;

typedef struct itp_op {
    const char *name; /* as ONNX has it */
    interp_status (*shape)(itp_infer *s);
    void (*forward)(interp_workspace *w, int node);
    itp_need (*need)(const interp_workspace *w, int node);       /* NULL: none */
    double (*macs)(const interp_net *net, const itp_node *node); /* NULL: 0; for a batch of one */
    int kind;       /* itp_unary or itp_binary of the elementwise rows */
    unsigned flags; /* ITP_NEEDS_X and so on */
} itp_op;

enum {
    ITP_NEEDS_X = 1,       /* backward reads the inputs */
    ITP_NEEDS_Y = 2,       /* backward reads the output */
    ITP_IN_PLACE = 4,      /* output may overwrite the first input */
    ITP_ALIAS = 8,         /* output is the first input under another shape */
    ITP_ALIAS_IN_EVAL = 16 /* an alias too, outside of training */
};

struct interp_workspace {
    interp_ctx *ctx;
    const interp_net *net;
    interp_workspace_desc desc;
    int target, kept;            /* values; kept -1: none */
    interp_shape *shape;         /* [n_values] */
    const float **data;          /* [n_values] */
    float **grad;                /* [n_values]; NULL where not asked for */
    float **save;                /* [n_nodes] */
    float **packed;              /* [n_nodes]: constant weights as the kernels read them, or NULL */
    unsigned char *is_packed;    /* [n_nodes]: bits of those that are there, the op's own */
    bool *needs_grad;            /* [n_values] */
    bool *unwritten;             /* [n_values]: a gradient that no backward step writes: zero */
    bool *runs, *runs_back;      /* [n_nodes] */
    bool *fused;                 /* [n_nodes]: done by the convolution before it */
    int *fused_norm, *fused_act; /* [n_nodes]: what a convolution does besides; -1: nothing */
    bool (*adds)[ITP_MAX_INPUTS]; /* [n_nodes]: this input's gradient was written by a later node */
    float *param_grad;
    char *block; /* activations, gradients, scratch */
    itp_scratch scratch;
    float *shared;
    uint64_t seed, step; /* of dropout */
    bool accumulate;     /* add to the parameters' gradients instead of replacing them */
    bool forward_done;
};

/* ---- what ops use */

ITP_FN const itp_node *itp_at(const interp_workspace *w, int node)
{
    return &w->net->nodes[node];
}

ITP_FN const float *itp_x(const interp_workspace *w, int node, int i)
{
    return w->data[w->net->nodes[node].in[i]];
}

/* The output of a node, to be written. */
ITP_FN float *itp_y(const interp_workspace *w, int node)
{
    union {
        const float *from;
        float *to;
    } p; /* activations live in the workspace's own block */
    p.from = w->data[w->net->nodes[node].out];
    return p.to;
}

ITP_FN const interp_shape *itp_shape_in(const interp_workspace *w, int node, int i)
{
    return &w->shape[w->net->nodes[node].in[i]];
}

ITP_FN const interp_shape *itp_shape_out(const interp_workspace *w, int node)
{
    return &w->shape[w->net->nodes[node].out];
}

/* Gradient of input i, NULL when nobody asks for it. */
ITP_FN float *itp_dx(const interp_workspace *w, int node, int i)
{
    return i < w->net->nodes[node].n_in ? w->grad[w->net->nodes[node].in[i]] : NULL;
}

ITP_FN const float *itp_dy(const interp_workspace *w, int node)
{
    return w->grad[w->net->nodes[node].out];
}

/* 1 when the gradient of input i must be added to what is there, 0 when it is the first. */
ITP_FN float itp_beta(const interp_workspace *w, int node, int i)
{
    if (w->adds[node][i]) return 1;
    return w->accumulate && w->net->values[w->net->nodes[node].in[i]].kind == ITP_PARAM ? 1 : 0;
}

ITP_FN size_t itp_count(const interp_shape *s)
{
    return interp_shape_size(s);
}

/* ---- building */

/* Keeps the context's error when it is the first. */
ITP_FN interp_status itp_net_error(interp_net *net)
{
    if (!net->status) {
        net->status = net->ctx->status;
        memcpy(net->error, net->ctx->error, sizeof net->error);
    }
    return net->status;
}

/* An error of a builder call, kept when it is the first. */
#define itp_net_fail(net, ...)                                                                     \
    ((net)->status ? (net)->status : (itp_fail((net)->ctx, __VA_ARGS__), itp_net_error(net)))

/* Whether something may still be added to the net. */
ITP_FN bool itp_net_open(interp_net *net)
{
    if (!net || net->status) return false;
    if (net->built)
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "network \"%s\" is built already", net->name);
    return !net->built;
}

INTERP_API interp_net *interp_net_new(interp_ctx *ctx, const char *name)
{
    interp_net *net = (interp_net *)itp_calloc(ctx, 1, sizeof *net);
    if (!net) return NULL;
    net->ctx = ctx;
    net->name = itp_strdup(ctx, name ? name : "net");
    if (!net->name) {
        interp_free(ctx, net);
        return NULL;
    }
    return net;
}

INTERP_API void interp_net_free(interp_net *net)
{
    if (!net) return;
    interp_ctx *ctx = net->ctx;
    for (int i = 0; i < net->n_values; i++) {
        itp_value *v = &net->values[i];
        interp_free(ctx, v->name);
        if (v->kind == ITP_BUFFER || v->kind == ITP_CONST || (v->kind == ITP_PARAM && !net->flat))
            interp_free(ctx, v->data);
    }
    for (int i = 0; i < net->n_nodes; i++) interp_free(ctx, net->nodes[i].name);
    interp_free(ctx, net->values);
    interp_free(ctx, net->nodes);
    interp_free(ctx, net->params);
    interp_free(ctx, net->flat);
    interp_free(ctx, net->name);
    interp_free(ctx, net);
}

/* Adds a value; -1 with the net's error set when memory ran out. */
ITP_FN int itp_add_value(interp_net *net, const char *name, itp_kind kind,
                         const interp_shape *shape)
{
    if (itp_grow(net->ctx, &net->values, net->n_values, &net->values_capacity,
                 sizeof *net->values)) {
        itp_net_error(net);
        return -1;
    }
    itp_value *v = &net->values[net->n_values];
    memset(v, 0, sizeof *v);
    v->name = itp_strdup(net->ctx, name);
    if (!v->name) {
        itp_net_error(net);
        return -1;
    }
    v->kind = kind;
    v->producer = -1;
    if (shape) v->shape = *shape;
    for (int i = v->shape.rank; i < INTERP_MAX_RANK; i++) v->shape.dim[i] = 1;
    return net->n_values++;
}

ITP_FN int itp_find_value(const interp_net *net, const char *name)
{
    for (int i = 0; i < net->n_values; i++)
        if (!strcmp(net->values[i].name, name)) return i;
    return -1;
}

/* A value by its own name or by that of the node that makes it, -1 for none. */
ITP_FN int itp_find(const interp_net *net, const char *name)
{
    const int value = itp_find_value(net, name);
    if (value >= 0) return value;
    for (int i = 0; i < net->n_nodes; i++)
        if (!strcmp(net->nodes[i].name, name)) return net->nodes[i].out;
    return -1;
}

ITP_FN const itp_op *itp_op_row(int op);
ITP_FN void itp_op_backward(interp_workspace *w, int node);

/* "conv1 ... conv9": the first number not taken by a node. */
ITP_FN void itp_auto_name(const interp_net *net, const char *stem, char out[64])
{
    for (int i = 1;; i++) {
        bool taken = false;
        snprintf(out, 64, "%.40s%d", stem, i);
        for (int n = 0; n < net->n_nodes && !taken; n++) taken = !strcmp(net->nodes[n].name, out);
        for (int v = 0; v < net->n_values && !taken; v++) taken = !strcmp(net->values[v].name, out);
        if (!taken) return;
    }
}

/* Checks a node's inputs and gives its output shape for a batch of one. */
ITP_FN interp_status itp_node_shape(interp_ctx *ctx, const interp_net *net, const itp_node *node,
                                    const interp_shape *shapes, interp_shape *out)
{
    itp_infer s;
    memset(&s, 0, sizeof s);
    s.ctx = ctx;
    s.net = net;
    s.node = node;
    for (int i = 0; i < node->n_in; i++)
        s.in[i] = shapes ? &shapes[node->in[i]] : &net->values[node->in[i]].shape;
    for (int i = 0; i < INTERP_MAX_RANK; i++) out->dim[i] = 1;
    out->rank = 0;
    s.out = out;
    ITP_TRY(itp_op_row(node->op)->shape(&s));
    if (interp_shape_size(out) > (size_t)INT_MAX)
        return itp_fail(ctx, INTERP_BAD_SHAPE, "%s \"%s\": its output has more than 2^31 numbers",
                        itp_op_row(node->op)->name, node->name);
    return INTERP_OK;
}

/* Adds a node over value indices `in`; `name` is used as it is. Returns the output value + 1. */
ITP_FN interp_tensor itp_add_node(interp_net *net, int op, const char *name, const char *out_name,
                                  int n_in, const int *in, const itp_attrs *attrs)
{
    if (net->status) return 0;
    if (n_in > ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "%s \"%s\" has %d inputs; at most %d are supported",
                     itp_op_row(op)->name, name, n_in, ITP_MAX_INPUTS);
        return 0;
    }
    if (itp_grow(net->ctx, &net->nodes, net->n_nodes, &net->nodes_capacity, sizeof *net->nodes)) {
        itp_net_error(net);
        return 0;
    }
    itp_node *node = &net->nodes[net->n_nodes];
    memset(node, 0, sizeof *node);
    node->op = op;
    node->n_in = n_in;
    memcpy(node->in, in, (size_t)n_in * sizeof *in);
    if (attrs) node->attrs = *attrs;
    node->name = itp_strdup(net->ctx, name);
    interp_shape shape;
    if (!node->name || itp_node_shape(net->ctx, net, node, NULL, &shape)) {
        interp_free(net->ctx, node->name);
        itp_net_error(net);
        return 0;
    }
    const int out = itp_add_value(net, out_name, ITP_ACTIVATION, &shape);
    if (out < 0) {
        interp_free(net->ctx, node->name);
        return 0;
    }
    node->out = out;
    net->values[out].producer = net->n_nodes++;
    return out + 1;
}

/* A node named automatically or by the user, over tensors. */
ITP_FN interp_tensor itp_add_named(interp_net *net, int op, const char *name, const char *stem,
                                   int n_in, const int *in, const itp_attrs *attrs)
{
    if (!itp_net_open(net)) return 0;
    char own[64], out[80];
    if (!name) {
        itp_auto_name(net, stem, own);
        name = own;
    }
    snprintf(out, sizeof out, "%.64s:0", name);
    bool taken = itp_find_value(net, out) >= 0;
    for (int i = 0; i < net->n_nodes && !taken; i++) taken = !strcmp(net->nodes[i].name, name);
    if (taken) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two nodes are named \"%s\"", name);
        return 0;
    }
    return itp_add_node(net, op, name, out, n_in, in, attrs);
}

/* Whether every tensor is one of the net's. */
ITP_FN bool itp_tensors_ok(interp_net *net, int n, const interp_tensor *x)
{
    if (!itp_net_open(net)) return false;
    for (int i = 0; i < n; i++)
        if (x[i] < 1 || x[i] > net->n_values) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT, "tensor %d is not one of network \"%s\"", x[i],
                         net->name);
            return false;
        }
    return true;
}

ITP_FN const interp_shape *itp_tensor_shape(const interp_net *net, interp_tensor x)
{
    return &net->values[x - 1].shape;
}
/* >>net/op_shape.c                                                                            */
/* ---- net/op_shape.c: shape rules -------------------------------------------------------------- */

/* An error sentence that begins with op and node. */
#define itp_shape_fail(s, ...)                                                                     \
    itp_shape_fail_at((s)->ctx, itp_op_row((s)->node->op)->name, (s)->node->name, __VA_ARGS__)

ITP_FN interp_status itp_shape_fail_at(interp_ctx *ctx, const char *op, const char *node,
                                       const char *format, ...) INTERP_PRINTF(4, 5);
ITP_FN interp_status itp_shape_fail_at(interp_ctx *ctx, const char *op, const char *node,
                                       const char *format, ...)
{
    char text[ITP_ERROR_BYTES / 2];
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format, args);
    va_end(args);
    return itp_fail(ctx, INTERP_BAD_SHAPE, "%s \"%.100s\": %s", op, node, text);
}

ITP_FN interp_status itp_shape_same(itp_infer *s)
{
    *s->out = *s->in[0];
    return INTERP_OK;
}

/* Negative axes count from the end. */
ITP_FN int itp_axis(int axis, int rank)
{
    return axis < 0 ? axis + rank : axis;
}

ITP_FN interp_status itp_shape_axis(itp_infer *s)
{
    const int rank = s->in[0]->rank, axis = itp_axis(s->node->attrs.axis, rank);
    if (axis < 0 || axis >= rank)
        return itp_shape_fail(s, "axis %d of a tensor with %d dimensions", s->node->attrs.axis,
                              rank);
    *s->out = *s->in[0];
    return INTERP_OK;
}

/* Output size and first pad along one axis of a sliding window; 0 when it does not fit. */
ITP_FN int itp_window_size(int size, int kernel, int stride, int dilation, int pad0, int pad1,
                           bool same, bool ceil_mode, int *first)
{
    const int64_t span = (int64_t)dilation * (kernel - 1) + 1;
    if (same) {
        const int out = itp_div_up(size, stride);
        const int64_t total = (int64_t)(out - 1) * stride + span - size;
        *first = total > 0 ? (int)(total / 2) : 0;
        return out;
    }
    *first = pad0;
    const int64_t room = (int64_t)size + pad0 + pad1 - span;
    if (room < 0 || room > INT_MAX) return 0;
    int out = (int)(room / stride) + 1;
    /* a window that hangs over counts only if it starts inside of the input or the first pad */
    if (ceil_mode && room % stride && (int64_t)out * stride < (int64_t)size + pad0) out++;
    return out;
}

/* The geometry of a window over [.., .., H, W]; rows is 0 when it does not fit. */
ITP_FN itp_plane itp_plane_of(const itp_attrs *a, const interp_shape *x)
{
    itp_plane p;
    p.height = x->dim[2], p.width = x->dim[3];
    p.taps_y = a->kernel[0], p.taps_x = a->kernel[1];
    p.stride_y = a->stride[0], p.stride_x = a->stride[1];
    p.dilation_y = a->dilation[0], p.dilation_x = a->dilation[1];
    p.rows = itp_window_size(p.height, p.taps_y, p.stride_y, p.dilation_y, a->pad[0], a->pad[2],
                             a->same, a->ceil_mode, &p.pad_y);
    p.columns = itp_window_size(p.width, p.taps_x, p.stride_x, p.dilation_x, a->pad[1], a->pad[3],
                                a->same, a->ceil_mode, &p.pad_x);
    if (p.rows == 0 || p.columns == 0) p.rows = p.columns = 0;
    return p;
}

/* Checks a window's constants and sets the output's last two dimensions. */
ITP_FN interp_status itp_shape_window(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    char text[96];
    if (s->in[0]->rank != 4)
        return itp_shape_fail(s, "input is %s but must be [N,C,H,W]",
                              itp_shape_text(s->in[0], text, sizeof text));
    for (int i = 0; i < 2; i++)
        if (a->kernel[i] < 1 || a->stride[i] < 1 || a->dilation[i] < 1 || a->pad[i] < 0 ||
            a->pad[i + 2] < 0 || a->pad[i] > 1 << 20 || a->pad[i + 2] > 1 << 20)
            return itp_shape_fail(
                s, "kernel, stride and dilation must be at least 1, pads at least 0");
    const itp_plane p = itp_plane_of(a, s->in[0]);
    if (p.rows == 0)
        return itp_shape_fail(s, "window %dx%d (dilation %d,%d) is larger than the padded input %s",
                              p.taps_y, p.taps_x, p.dilation_y, p.dilation_x,
                              itp_shape_text(s->in[0], text, sizeof text));
    *s->out = *s->in[0];
    s->out->dim[2] = p.rows;
    s->out->dim[3] = p.columns;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_conv(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    const interp_shape *w = s->in[1];
    char x_text[96], w_text[96];
    ITP_TRY(itp_shape_window(s));
    itp_shape_text(s->in[0], x_text, sizeof x_text);
    itp_shape_text(w, w_text, sizeof w_text);
    if (w->rank != 4 || w->dim[2] != a->kernel[0] || w->dim[3] != a->kernel[1])
        return itp_shape_fail(s, "weights are %s but the kernel is %dx%d", w_text, a->kernel[0],
                              a->kernel[1]);
    if (a->groups < 1 || s->in[0]->dim[1] % a->groups || w->dim[0] % a->groups || w->dim[0] < 1)
        return itp_shape_fail(s, "%d groups do not divide %d input and %d output channels",
                              a->groups, s->in[0]->dim[1], w->dim[0]);
    if (w->dim[1] * a->groups != s->in[0]->dim[1])
        return itp_shape_fail(s, "input is %s but weights %s expect %d channels", x_text, w_text,
                              w->dim[1] * a->groups);
    if (s->node->n_in > 2 && (s->in[2]->rank != 1 || s->in[2]->dim[0] != w->dim[0]))
        return itp_shape_fail(s, "bias has %zu numbers but there are %d output channels",
                              itp_count(s->in[2]), w->dim[0]);
    s->out->dim[1] = w->dim[0];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_global_pool(itp_infer *s)
{
    if (s->in[0]->rank < 3)
        return itp_shape_fail(s, "input has %d dimensions but must be [N,C,H,W]", s->in[0]->rank);
    *s->out = *s->in[0];
    for (int i = 2; i < s->out->rank; i++) s->out->dim[i] = 1;
    return INTERP_OK;
}

/* [M,K] and [K,N], each perhaps stored transposed; the bias broadcasts to [M,N]. */
ITP_FN interp_status itp_shape_dense(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    char x_text[96], w_text[96];
    itp_shape_text(s->in[0], x_text, sizeof x_text);
    itp_shape_text(s->in[1], w_text, sizeof w_text);
    if (s->in[0]->rank != 2 || s->in[1]->rank != 2)
        return itp_shape_fail(s, "operands are %s and %s but must have two dimensions", x_text,
                              w_text);
    const int m = s->in[0]->dim[a->trans_a], k = s->in[0]->dim[!a->trans_a];
    const int k2 = s->in[1]->dim[a->trans_b], n = s->in[1]->dim[!a->trans_b];
    if (k != k2)
        return itp_shape_fail(s, "input is %s but weights %s expect %d columns", x_text, w_text,
                              k2);
    if (s->node->n_in > 2) {
        const interp_shape *b = s->in[2];
        const int rows = b->rank > 1 ? b->dim[b->rank - 2] : 1;
        const int columns = b->rank > 0 ? b->dim[b->rank - 1] : 1;
        if (b->rank > 2 || (rows != 1 && rows != m) || (columns != 1 && columns != n))
            return itp_shape_fail(s, "bias %s does not fit an output of [%d,%d]",
                                  itp_shape_text(b, x_text, sizeof x_text), m, n);
    }
    s->out->rank = 2;
    s->out->dim[0] = m;
    s->out->dim[1] = n;
    return INTERP_OK;
}

/* Broadcasts a and b from the right into out; false when they do not fit. */
ITP_FN bool itp_broadcast(const interp_shape *a, const interp_shape *b, interp_shape *out)
{
    out->rank = itp_max(a->rank, b->rank);
    for (int i = 0; i < out->rank; i++) {
        const int p = i - (out->rank - a->rank) >= 0 ? a->dim[i - (out->rank - a->rank)] : 1;
        const int q = i - (out->rank - b->rank) >= 0 ? b->dim[i - (out->rank - b->rank)] : 1;
        if (p != q && p != 1 && q != 1) return false;
        out->dim[i] = p == 1 ? q : p;
    }
    return true;
}

ITP_FN interp_status itp_shape_binary(itp_infer *s)
{
    char a[96], b[96];
    if (!itp_broadcast(s->in[0], s->in[1], s->out))
        return itp_shape_fail(s, "%s and %s do not broadcast",
                              itp_shape_text(s->in[0], a, sizeof a),
                              itp_shape_text(s->in[1], b, sizeof b));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_matmul(itp_infer *s)
{
    char a[96], b[96];
    const interp_shape *x = s->in[0], *y = s->in[1];
    itp_shape_text(x, a, sizeof a);
    itp_shape_text(y, b, sizeof b);
    if (x->rank < 2 || y->rank < 2)
        return itp_shape_fail(s, "operands are %s and %s but need two dimensions or more", a, b);
    if (x->dim[x->rank - 1] != y->dim[y->rank - 2])
        return itp_shape_fail(s, "%s has rows of %d but %s has columns of %d", a,
                              x->dim[x->rank - 1], b, y->dim[y->rank - 2]);
    interp_shape p = *x, q = *y;
    p.rank -= 2, q.rank -= 2;
    if (!itp_broadcast(&p, &q, s->out))
        return itp_shape_fail(s, "the outer dimensions of %s and %s do not broadcast", a, b);
    s->out->dim[s->out->rank++] = x->dim[x->rank - 2];
    s->out->dim[s->out->rank++] = y->dim[y->rank - 1];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_batch_norm(itp_infer *s)
{
    if (s->in[0]->rank < 2)
        return itp_shape_fail(s, "input has %d dimensions but needs [N,C,...]", s->in[0]->rank);
    for (int i = 1; i < s->node->n_in; i++)
        if (itp_count(s->in[i]) != (size_t)s->in[0]->dim[1])
            return itp_shape_fail(s, "operand %d has %zu numbers but the input has %d channels", i,
                                  itp_count(s->in[i]), s->in[0]->dim[1]);
    *s->out = *s->in[0];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_layer_norm(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    size_t row = 1;
    for (int i = itp_axis(s->node->attrs.axis, s->in[0]->rank); i < s->in[0]->rank; i++)
        row *= (size_t)s->in[0]->dim[i];
    for (int i = 1; i < s->node->n_in; i++)
        if (itp_count(s->in[i]) != row)
            return itp_shape_fail(s, "operand %d has %zu numbers but rows have %zu", i,
                                  itp_count(s->in[i]), row);
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_concat(itp_infer *s)
{
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank);
    int64_t total = 0;
    char a[96], b[96];
    for (int i = 0; i < s->node->n_in; i++) {
        bool fits = s->in[i]->rank == s->in[0]->rank;
        for (int d = 0; fits && d < s->in[0]->rank; d++)
            fits = d == axis || s->in[i]->dim[d] == s->in[0]->dim[d];
        if (!fits)
            return itp_shape_fail(s, "%s and %s cannot be joined along axis %d",
                                  itp_shape_text(s->in[0], a, sizeof a),
                                  itp_shape_text(s->in[i], b, sizeof b), axis);
        total += s->in[i]->dim[axis];
    }
    if (total > INT_MAX) return itp_shape_fail(s, "the result is too large");
    s->out->dim[axis] = (int)total;
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_reshape(itp_infer *s)
{
    const interp_shape *want = &s->node->attrs.shape;
    const size_t n = itp_count(s->in[0]);
    size_t known = 1;
    int infer = -1;
    char a[96], b[96];
    if (want->rank < 0 || want->rank > INTERP_MAX_RANK)
        return itp_shape_fail(s, "%d dimensions are not supported", want->rank);
    s->out->rank = want->rank;
    for (int i = 0; i < want->rank; i++) {
        int d = want->dim[i];
        if (d == 0) d = i < s->in[0]->rank ? s->in[0]->dim[i] : -2;
        if (d == -1 && infer < 0) infer = i;
        else if (d < 0) return itp_shape_fail(s, "dimension %d of the new shape is wrong", i);
        else known = itp_mul_size(known, (size_t)d);
        s->out->dim[i] = d;
    }
    if (infer >= 0 && known && n % known == 0 && n / known <= (size_t)INT_MAX) {
        s->out->dim[infer] = (int)(n / known);
        known = n;
    }
    if (known != n || (infer >= 0 && s->out->dim[infer] < 0))
        return itp_shape_fail(s, "%s cannot become %s", itp_shape_text(s->in[0], a, sizeof a),
                              itp_shape_text(want, b, sizeof b));
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_flatten(itp_infer *s)
{
    const int axis = itp_axis(s->node->attrs.axis, s->in[0]->rank);
    if (axis < 0 || axis > s->in[0]->rank)
        return itp_shape_fail(s, "axis %d of a tensor with %d dimensions", s->node->attrs.axis,
                              s->in[0]->rank);
    s->out->rank = 2;
    s->out->dim[0] = s->out->dim[1] = 1;
    for (int i = 0; i < s->in[0]->rank; i++) s->out->dim[i >= axis] *= s->in[0]->dim[i];
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_transpose(itp_infer *s)
{
    const int rank = s->in[0]->rank;
    unsigned seen = 0;
    s->out->rank = rank;
    for (int i = 0; i < rank; i++) {
        const int from = s->node->attrs.perm[i];
        if (from < 0 || from >= rank || (seen >> from & 1))
            return itp_shape_fail(s, "the permutation does not name each of %d dimensions once",
                                  rank);
        seen |= 1u << from;
        s->out->dim[i] = s->in[0]->dim[from];
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_shape_slice(itp_infer *s)
{
    const itp_attrs *a = &s->node->attrs;
    ITP_TRY(itp_shape_axis(s));
    const int axis = itp_axis(a->axis, s->in[0]->rank), size = s->in[0]->dim[axis];
    if (a->start < 0 || a->length < 1 || a->start > size - a->length)
        return itp_shape_fail(s, "%d entries from entry %d on, of a dimension of %d", a->length,
                              a->start, size);
    s->out->dim[axis] = a->length;
    if (a->drop && a->length == 1) {
        for (int i = axis; i + 1 < s->out->rank; i++) s->out->dim[i] = s->out->dim[i + 1];
        s->out->dim[--s->out->rank] = 1;
    }
    return INTERP_OK;
}
#undef ITP_HEAT
#define ITP_HEAT
/* >>net/op_elementwise.c                                                                      */
/* ---- net/op_elementwise.c: functions of one and of two arguments ------------------------------ */

#define ITP_CHUNK 8192 /* numbers of one task */

typedef struct itp_unary_job {
    const itp_kernels *kernels;
    itp_unary kind;
    size_t n;
    const float *x, *y, *dy;
    float *out, a, b;
    bool add;
} itp_unary_job;

ITP_FN void itp_unary_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_unary_job *j = (const itp_unary_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    j->kernels->unary(j->kind, n, j->x + at, j->out + at, j->a, j->b);
}

ITP_FN void itp_unary_grad_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_unary_job *j = (const itp_unary_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, n = itp_min_size(ITP_CHUNK, j->n - at);
    itp_grads(j->kernels)
        ->unary_grad(j->kind, n, j->x + at, j->y + at, j->dy + at, j->out + at, j->a, j->b, j->add);
}

ITP_FN void itp_unary_run(interp_ctx *ctx, itp_unary_job *j, itp_task_fn task)
{
    j->kernels = ctx->k;
    itp_parallel(ctx, (int)((j->n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j->n * 8, task, j);
}

ITP_FN void itp_forward_unary(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    itp_unary_job j;
    memset(&j, 0, sizeof j);
    j.kind = (itp_unary)itp_op_row(o->op)->kind;
    j.n = itp_count(itp_shape_out(w, node));
    j.x = itp_x(w, node, 0);
    j.out = itp_y(w, node);
    j.a = o->attrs.alpha, j.b = o->attrs.beta;
    itp_unary_run(w->ctx, &j, itp_unary_task);
}

ITP_FN void itp_backward_unary(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_op *row = itp_op_row(o->op);
    itp_unary_job j;
    memset(&j, 0, sizeof j);
    j.kind = (itp_unary)row->kind;
    j.n = itp_count(itp_shape_out(w, node));
    j.x = itp_x(w, node, 0);
    j.y = itp_y(w, node);
    if (!(row->flags & ITP_NEEDS_X)) j.x = j.y; /* the numbers of x may be gone */
    if (!(row->flags & ITP_NEEDS_Y)) j.y = j.x;
    j.dy = itp_dy(w, node);
    j.out = itp_dx(w, node, 0);
    j.a = o->attrs.alpha, j.b = o->attrs.beta;
    j.add = itp_beta(w, node, 0) != 0;
    itp_unary_run(w->ctx, &j, itp_unary_grad_task);
}

/* ---- two arguments with broadcasting */

/* Dimensions merged where both operands run the same way; the last is a contiguous run in which
   each operand moves by 1 or stays. */
typedef struct itp_pairing {
    int rank;
    size_t dim[INTERP_MAX_RANK];
    size_t a_step[INTERP_MAX_RANK], b_step[INTERP_MAX_RANK]; /* in numbers */
    size_t rows; /* product of all but the last dimension */
} itp_pairing;

ITP_FN itp_pairing itp_pair(const interp_shape *a, const interp_shape *b, const interp_shape *out)
{
    itp_pairing p;
    memset(&p, 0, sizeof p);
    size_t a_at = 1, b_at = 1;
    size_t dim[INTERP_MAX_RANK], sa[INTERP_MAX_RANK], sb[INTERP_MAX_RANK];
    int n = 0; /* merged dimensions, innermost first */
    for (int i = out->rank - 1; i >= 0; i--) {
        const int ia = i - (out->rank - a->rank), ib = i - (out->rank - b->rank);
        const size_t d = (size_t)out->dim[i];
        const bool a_moves = ia >= 0 && a->dim[ia] != 1, b_moves = ib >= 0 && b->dim[ib] != 1;
        if (d == 1) continue;
        const size_t ta = a_moves ? a_at : 0, tb = b_moves ? b_at : 0;
        if (a_moves) a_at *= d;
        if (b_moves) b_at *= d;
        if (n && (sa[n - 1] != 0) == a_moves && (sb[n - 1] != 0) == b_moves) {
            dim[n - 1] *= d;
            continue;
        }
        dim[n] = d, sa[n] = ta, sb[n] = tb;
        n++;
    }
    if (n == 0) dim[0] = 1, sa[0] = sb[0] = 1, n = 1;
    p.rank = n;
    p.rows = 1;
    for (int i = 0; i < n; i++) {
        p.dim[i] = dim[n - 1 - i], p.a_step[i] = sa[n - 1 - i], p.b_step[i] = sb[n - 1 - i];
        if (i < n - 1) p.rows *= p.dim[i];
    }
    return p;
}

/* Where row `row` begins in both operands. */
ITP_FN void itp_pair_at(const itp_pairing *p, size_t row, size_t *a, size_t *b)
{
    *a = *b = 0;
    for (int i = p->rank - 2; i >= 0; i--) {
        const size_t at = row % p->dim[i];
        row /= p->dim[i];
        *a += at * p->a_step[i];
        *b += at * p->b_step[i];
    }
}

typedef struct itp_binary_job {
    const itp_kernels *kernels;
    itp_pairing p;
    itp_binary kind;
    size_t chunk, chunks; /* a row is cut into chunks */
    size_t per_task;      /* row chunks of one task */
    const float *a, *b;
    float *y;
} itp_binary_job;

ITP_FN void itp_binary_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_binary_job *j = (const itp_binary_job *)arg;
    const int last = j->p.rank - 1;
    const size_t row_size = j->p.dim[last], all = j->p.rows * j->chunks;
    const size_t first = (size_t)task * j->per_task, end = itp_min_size(all, first + j->per_task);
    for (size_t t = first; t < end; t++) {
        size_t a, b;
        const size_t row = t / j->chunks, at = t % j->chunks * j->chunk;
        itp_pair_at(&j->p, row, &a, &b);
        j->kernels->binary(j->kind, itp_min_size(j->chunk, row_size - at),
                           j->a + a + at * j->p.a_step[last], (int)j->p.a_step[last],
                           j->b + b + at * j->p.b_step[last], (int)j->p.b_step[last],
                           j->y + row * row_size + at);
    }
}

ITP_FN void itp_forward_binary(interp_workspace *w, int node)
{
    itp_binary_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.p = itp_pair(itp_shape_in(w, node, 0), itp_shape_in(w, node, 1), itp_shape_out(w, node));
    j.kind = (itp_binary)itp_op_row(itp_at(w, node)->op)->kind;
    j.a = itp_x(w, node, 0), j.b = itp_x(w, node, 1), j.y = itp_y(w, node);
    const size_t row = j.p.dim[j.p.rank - 1];
    j.chunk = itp_min_size(row, ITP_CHUNK);
    j.chunks = row ? (row + j.chunk - 1) / j.chunk : 0;
    j.per_task = row ? (ITP_CHUNK + j.chunk - 1) / j.chunk : 1;
    const size_t all = j.p.rows * j.chunks;
    itp_parallel(w->ctx, (int)((all + j.per_task - 1) / j.per_task), (double)(row * j.p.rows) * 2,
                 itp_binary_task, &j);
}

/* d (+)= sum over what was broadcast of g(dy, other), for one operand; g by `kind`:
   ADD: dy; SUB: -dy; MUL: dy other; DIV: dy / other. */
ITP_FN void itp_pair_reduce(const itp_kernels *k, const itp_pairing *p, bool second,
                            itp_binary kind, const float *dy, const float *other, float *d)
{
    const int last = p->rank - 1;
    const size_t n = p->dim[last];
    const bool moves = (second ? p->b_step[last] : p->a_step[last]) != 0;
    const bool other_moves = (second ? p->a_step[last] : p->b_step[last]) != 0;
    for (size_t row = 0; row < p->rows; row++) {
        size_t a, b;
        itp_pair_at(p, row, &a, &b);
        const float *g = dy + row * n;
        float *to = d + (second ? b : a);
        const float *o = other ? other + (second ? a : b) : NULL;
        const float factor = kind == ITP_SUB ? -1 : kind == ITP_MUL && !other_moves ? *o : 1;
        const bool product = kind == ITP_MUL && other_moves;
        if (moves && product) k->mul_add(n, g, o, to, true);
        else if (moves) k->scale_add(n, factor, g, 1, to);
        else if (product) *to += (float)k->dot(n, g, 0, o, 0);
        else *to += factor * (float)k->sum(n, g);
    }
}

ITP_FN void itp_backward_binary(interp_workspace *w, int node)
{
    const itp_kernels *k = w->ctx->k;
    const itp_pairing p =
        itp_pair(itp_shape_in(w, node, 0), itp_shape_in(w, node, 1), itp_shape_out(w, node));
    const itp_binary kind = (itp_binary)itp_op_row(itp_at(w, node)->op)->kind;
    const float *dy = itp_dy(w, node);
    for (int i = 0; i < 2; i++) {
        float *d = itp_dx(w, node, i);
        if (!d) continue;
        const size_t n = itp_count(itp_shape_in(w, node, i));
        if (itp_beta(w, node, i) == 0) memset(d, 0, n * sizeof *d);
        if (kind == ITP_ADD || (kind == ITP_SUB && i == 0))
            itp_pair_reduce(k, &p, i, ITP_ADD, dy, NULL, d);
        else if (kind == ITP_SUB) itp_pair_reduce(k, &p, true, ITP_SUB, dy, NULL, d);
        else if (kind == ITP_MUL) itp_pair_reduce(k, &p, i, ITP_MUL, dy, itp_x(w, node, 1 - i), d);
        else {
            /* a/b: da = dy (1/b); db = -dy y (1/b), with 1/b and the products in scratch */
            const interp_shape *bs = itp_shape_in(w, node, 1);
            const size_t nb = itp_count(bs), ny = itp_count(itp_shape_out(w, node));
            float *inverse = w->shared, *g = w->shared + itp_round_up(nb, 16);
            k->unary(ITP_RECIPROCAL, nb, itp_x(w, node, 1), inverse, 0, 0);
            if (i == 0) {
                itp_pair_reduce(k, &p, false, ITP_MUL, dy, inverse, d);
                continue;
            }
            /* pair dy y with 1/b by the same broadcasting, then sum over what b was spread over */
            k->binary(ITP_MUL, ny, dy, 1, itp_y(w, node), 1, g);
            const size_t row = p.dim[p.rank - 1];
            for (size_t r = 0; r < p.rows; r++) {
                size_t a, b;
                itp_pair_at(&p, r, &a, &b);
                k->binary(ITP_MUL, row, g + r * row, 1, inverse + b, (int)p.b_step[p.rank - 1],
                          g + r * row);
            }
            itp_pair_reduce(k, &p, true, ITP_SUB, g, NULL, d);
        }
    }
}

ITP_FN itp_need itp_need_div(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.input_grads || w->desc.param_grads)
        need.shared = itp_round_up(itp_count(itp_shape_in(w, node, 1)), 16) +
                      itp_count(itp_shape_out(w, node));
    return need;
}

/* ---- dropout */

typedef struct itp_dropout_job {
    const float *x;
    float *y, p;
    uint8_t *kept; /* one byte for each number: drawn forward, used again backward */
    size_t n;
    uint64_t seed, stream;
} itp_dropout_job;

ITP_FN void itp_dropout_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_dropout_job *j = (const itp_dropout_job *)arg;
    const size_t at = (size_t)task * ITP_CHUNK, end = itp_min_size(j->n, at + ITP_CHUNK);
    const float scale = 1 / (1 - j->p);
    const uint32_t least = (uint32_t)(j->p * 16777216.0f); /* of 24 random bits */
    for (size_t i = at; i < end; i += 4) {                 /* chunks are multiples of 4 */
        uint32_t r[4];
        itp_philox(j->seed, j->stream, i >> 2, r);
        for (size_t q = i; q < i + 4 && q < end; q++) j->kept[q] = (r[q - i] >> 8) >= least;
    }
    for (size_t i = at; i < end; i++) j->y[i] = j->kept[i] ? j->x[i] * scale : 0;
}

ITP_FN itp_need itp_need_dropout(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 0, 0};
    if (w->desc.mode == INTERP_TRAIN)
        need.save = itp_count(itp_shape_out(w, node)) / sizeof(float) + 1;
    return need;
}

ITP_FN void itp_forward_dropout(interp_workspace *w, int node)
{
    if (w->desc.mode != INTERP_TRAIN) return; /* then the output is the input's memory */
    itp_dropout_job j;
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    j.p = itp_at(w, node)->attrs.alpha;
    j.kept = (uint8_t *)(void *)w->save[node];
    j.n = itp_count(itp_shape_out(w, node));
    j.seed = w->seed;
    j.stream = w->step * 65536 + (uint64_t)node;
    itp_parallel(w->ctx, (int)((j.n + ITP_CHUNK - 1) / ITP_CHUNK), (double)j.n * 16,
                 itp_dropout_task, &j);
}

ITP_FN void itp_copy_or_add(const itp_kernels *k, const float *from, float beta, float *to,
                            size_t n)
{
    if (beta != 0) k->scale_add(n, 1, from, 1, to);
    else memcpy(to, from, n * sizeof *to);
}

ITP_FN void itp_backward_dropout(interp_workspace *w, int node)
{
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0);
    const float beta = itp_beta(w, node, 0);
    const size_t n = itp_count(itp_shape_out(w, node));
    if (w->desc.mode != INTERP_TRAIN) {
        itp_copy_or_add(w->ctx->k, dy, beta, dx, n);
        return;
    }
    const uint8_t *kept = (const uint8_t *)(const void *)w->save[node];
    const float scale = 1 / (1 - itp_at(w, node)->attrs.alpha);
    for (size_t i = 0; i < n; i++) dx[i] = (kept[i] ? dy[i] * scale : 0) + (beta != 0 ? dx[i] : 0);
}
/* >>net/op_linear.c                                                                           */
/* ---- net/op_linear.c: convolution, dense layer, matrix product --------------------------------- */

ITP_FN itp_conv itp_conv_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *x = itp_shape_in(w, node, 0);
    itp_conv c;
    c.batch = x->dim[0];
    c.in_channels = x->dim[1];
    c.out_channels = itp_shape_in(w, node, 1)->dim[0];
    c.groups = a->groups;
    c.plane = itp_plane_of(a, x);
    return c;
}

/* Packed once: the weights of the forward pass, behind them those of the gradient of x, behind them the
   biases where a batch norm is taken in. */
enum { ITP_PACKED_FORWARD = 1, ITP_PACKED_BACKWARD = 2 };

/* Neither an input nor computed. */
ITP_FN bool itp_is_constant(const interp_workspace *w, int value)
{
    const itp_kind kind = w->net->values[value].kind;
    return kind != ITP_INPUT && kind != ITP_ACTIVATION;
}

ITP_FN bool itp_conv_is_constant(const interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    return w->desc.constant_weights && itp_is_constant(w, o->in[1]) &&
           (o->n_in < 3 || itp_is_constant(w, o->in[2]));
}

ITP_FN itp_need itp_need_conv(const interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const int *in = itp_at(w, node)->in;
    const bool data = w->runs_back[node] && w->needs_grad[in[0]];
    const itp_conv_need n =
        itp_conv_scratch(w->ctx, &c, true, data, w->runs_back[node] && w->needs_grad[in[1]]);
    itp_need need = {n.slot, n.shared, 0, 0};
    if (itp_conv_is_constant(w, node))
        need.packed = itp_conv_packed_floats(w->ctx, &c, false) +
                      (data ? itp_conv_packed_floats(w->ctx, &c, true) : 0) +
                      (w->fused_norm[node] >= 0 ? (size_t)c.out_channels : 0);
    return need;
}

/* Batch norm of the output as a scale of the weights and a bias, channel by channel. */
ITP_FN void itp_conv_take_norm(interp_workspace *w, int node, const itp_conv *c, float *packed,
                               float *bias)
{
    const itp_node *o = itp_at(w, node), *norm = itp_at(w, w->fused_norm[node]);
    const float *old = o->n_in > 2 ? itp_x(w, node, 2) : NULL;
    const float *gamma = w->data[norm->in[1]], *beta = w->data[norm->in[2]];
    const float *mean = w->data[norm->in[3]], *variance = w->data[norm->in[4]];
    for (int i = 0; i < c->out_channels; i++) {
        const double scale =
            (double)gamma[i] / sqrt((double)variance[i] + (double)norm->attrs.epsilon);
        const double shift = (old ? (double)old[i] : 0) - (double)mean[i];
        itp_conv_scale_packed(w->ctx, c, i, (float)scale, packed);
        bias[i] = (float)((double)beta[i] + shift * scale);
    }
}

/* Packed weights of one direction, NULL where they may change. */
ITP_FN const float *itp_conv_packed(interp_workspace *w, int node, const itp_conv *c, bool backward)
{
    const unsigned bit = backward ? ITP_PACKED_BACKWARD : ITP_PACKED_FORWARD;
    const size_t forward = itp_conv_packed_floats(w->ctx, c, false);
    float *at = w->packed[node];
    if (!at) return NULL;
    if (backward) at += forward;
    if (!(w->is_packed[node] & bit)) {
        itp_conv_pack(w->ctx, c, itp_x(w, node, 1), backward, at);
        if (w->fused_norm[node] >= 0) itp_conv_take_norm(w, node, c, at, at + forward);
    }
    w->is_packed[node] = (unsigned char)(w->is_packed[node] | bit);
    return at;
}

ITP_FN void itp_forward_conv(interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const float *packed = itp_conv_packed(w, node, &c, false);
    const float *bias = itp_at(w, node)->n_in > 2 ? itp_x(w, node, 2) : NULL;
    itp_after after;
    after.any = w->fused_act[node] >= 0;
    if (after.any) {
        const itp_node *act = itp_at(w, w->fused_act[node]);
        after.kind = (itp_unary)itp_op_row(act->op)->kind;
        after.a = act->attrs.alpha, after.b = act->attrs.beta;
    }
    if (w->fused_norm[node] >= 0) bias = packed + itp_conv_packed_floats(w->ctx, &c, false);
    itp_conv_forward(w->ctx, &c, itp_x(w, node, 0), itp_x(w, node, 1), packed, bias,
                     after.any ? &after : NULL, itp_y(w, node), w->scratch, w->shared);
}

ITP_FN void itp_backward_conv(interp_workspace *w, int node)
{
    const itp_conv c = itp_conv_at(w, node);
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *dw = itp_dx(w, node, 1), *db = itp_dx(w, node, 2);
    if (dx)
        itp_conv_data(w->ctx, &c, dy, itp_x(w, node, 1), itp_conv_packed(w, node, &c, true),
                      itp_beta(w, node, 0), dx, w->scratch, w->shared);
    if (dw)
        itp_conv_weights(w->ctx, &c, itp_x(w, node, 0), dy, itp_beta(w, node, 1), dw, w->scratch,
                         w->shared);
    if (db) itp_conv_bias(w->ctx, &c, dy, itp_beta(w, node, 2), db);
}

ITP_FN double itp_macs_conv(const interp_net *net, const itp_node *node)
{
    const interp_shape *weights = &net->values[node->in[1]].shape;
    const interp_shape *y = &net->values[node->out].shape;
    return (double)itp_count(y) * weights->dim[1] * weights->dim[2] * weights->dim[3];
}

/* ---- dense: y[M,N] = alpha x[M,K] w[K,N] + beta b, ONNX's Gemm */

typedef struct itp_mat {
    int m, n, k;
    ptrdiff_t x_rs, x_cs, w_rs, w_cs;
} itp_mat;

ITP_FN itp_mat itp_dense_at(const interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *x = itp_shape_in(w, node, 0), *v = itp_shape_in(w, node, 1);
    itp_mat d;
    d.m = x->dim[a->trans_a], d.k = x->dim[!a->trans_a], d.n = v->dim[!a->trans_b];
    d.x_rs = a->trans_a ? 1 : d.k, d.x_cs = a->trans_a ? d.m : 1;
    d.w_rs = a->trans_b ? 1 : d.n, d.w_cs = a->trans_b ? d.k : 1;
    return d;
}

ITP_FN itp_need itp_need_dense(const interp_workspace *w, int node)
{
    const itp_mat d = itp_dense_at(w, node);
    itp_need need = {itp_gemm_scratch(w->ctx, d.m, d.n, d.k), 0, 0, 0};
    if (w->runs_back[node]) {
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.m, d.k, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.m, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.n, d.m));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.n, d.k, d.m));
    }
    return need;
}

ITP_FN void itp_forward_dense(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_mat d = itp_dense_at(w, node);
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = d.m, g.n = d.n, g.k = d.k, g.alpha = o->attrs.alpha;
    g.a = itp_x(w, node, 0), g.a_rs = d.x_rs, g.a_cs = d.x_cs;
    g.b = itp_x(w, node, 1), g.b_rs = d.w_rs, g.b_cs = d.w_cs;
    g.c = itp_y(w, node), g.c_rs = d.n;
    if (o->n_in > 2) {
        const float *b = itp_x(w, node, 2);
        const interp_shape *s = itp_shape_in(w, node, 2);
        const bool row = s->rank > 0 && itp_count(s) == (size_t)d.n && s->dim[s->rank - 1] == d.n;
        if (row && o->attrs.beta == 1) g.bias_column = b;
        else { /* any other bias goes into y first */
            const itp_pairing p = itp_pair(s, s, itp_shape_out(w, node));
            const size_t run = p.dim[p.rank - 1];
            for (size_t r = 0; r < p.rows; r++) {
                size_t at, same;
                itp_pair_at(&p, r, &at, &same);
                const int step = (int)p.a_step[p.rank - 1];
                for (size_t i = 0; i < run; i++)
                    g.c[r * run + i] = o->attrs.beta * b[at + i * (size_t)step];
            }
            g.beta = 1;
        }
    }
    itp_gemm_run(w->ctx, &g, w->scratch);
}

/* d[rows, columns] = alpha a b (+ beta d), where d may be stored transposed. */
ITP_FN void itp_dense_product(interp_workspace *w, int rows, int columns, int k, float alpha,
                              const float *a, ptrdiff_t a_rs, ptrdiff_t a_cs, const float *b,
                              ptrdiff_t b_rs, ptrdiff_t b_cs, float beta, float *d, bool transposed)
{
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.alpha = alpha, g.beta = beta, g.k = k;
    g.c = d;
    if (transposed) {
        g.m = columns, g.n = rows, g.c_rs = rows;
        g.a = b, g.a_rs = b_cs, g.a_cs = b_rs;
        g.b = a, g.b_rs = a_cs, g.b_cs = a_rs;
    } else {
        g.m = rows, g.n = columns, g.c_rs = columns;
        g.a = a, g.a_rs = a_rs, g.a_cs = a_cs;
        g.b = b, g.b_rs = b_rs, g.b_cs = b_cs;
    }
    itp_gemm_run(w->ctx, &g, w->scratch);
}

ITP_FN void itp_backward_dense(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const itp_mat d = itp_dense_at(w, node);
    const itp_kernels *k = w->ctx->k;
    const float *dy = itp_dy(w, node);
    float *dx = itp_dx(w, node, 0), *dw = itp_dx(w, node, 1), *db = itp_dx(w, node, 2);
    if (dx)
        itp_dense_product(w, d.m, d.k, d.n, o->attrs.alpha, dy, d.n, 1, itp_x(w, node, 1), d.w_cs,
                          d.w_rs, itp_beta(w, node, 0), dx, o->attrs.trans_a);
    if (dw)
        itp_dense_product(w, d.k, d.n, d.m, o->attrs.alpha, itp_x(w, node, 0), d.x_cs, d.x_rs, dy,
                          d.n, 1, itp_beta(w, node, 1), dw, o->attrs.trans_b);
    if (db) {
        const interp_shape *s = itp_shape_in(w, node, 2), *out = itp_shape_out(w, node);
        const itp_pairing p = itp_pair(s, s, out);
        const size_t n = itp_count(s), run = p.dim[p.rank - 1];
        if (itp_beta(w, node, 2) == 0) memset(db, 0, n * sizeof *db);
        for (size_t r = 0; r < p.rows; r++) {
            size_t at, same;
            itp_pair_at(&p, r, &at, &same);
            if (p.a_step[p.rank - 1]) k->scale_add(run, o->attrs.beta, dy + r * run, 1, db + at);
            else db[at] += o->attrs.beta * (float)k->sum(run, dy + r * run);
        }
    }
}

ITP_FN double itp_macs_dense(const interp_net *net, const itp_node *node)
{
    const itp_attrs *a = &node->attrs;
    return (double)itp_count(&net->values[node->out].shape) *
           net->values[node->in[0]].shape.dim[!a->trans_a];
}

/* ---- matmul: [.., M, K] x [.., K, N] with broadcasting outer dimensions */

typedef struct itp_matmul {
    int m, n, k, count;
    bool a_spread, b_spread; /* an operand is used by more than one product */
} itp_matmul;

ITP_FN itp_matmul itp_matmul_at(const interp_workspace *w, int node)
{
    const interp_shape *a = itp_shape_in(w, node, 0), *b = itp_shape_in(w, node, 1);
    const interp_shape *y = itp_shape_out(w, node);
    itp_matmul d;
    d.m = y->dim[y->rank - 2], d.n = y->dim[y->rank - 1], d.k = a->dim[a->rank - 1];
    const size_t products = itp_count(y) / itp_max_size(1, (size_t)d.m * (size_t)d.n);
    const size_t as = itp_count(a) / itp_max_size(1, (size_t)d.m * (size_t)d.k);
    const size_t bs = itp_count(b) / itp_max_size(1, (size_t)d.k * (size_t)d.n);
    d.count = (int)products;
    d.a_spread = as < products, d.b_spread = bs < products;
    if (bs == 1 && as == products) { /* one matrix on the right: all rows are one product */
        d.m *= d.count;
        d.count = 1;
        d.a_spread = d.b_spread = false;
    }
    return d;
}

/* Offsets of both operands of every product, in numbers. */
ITP_FN void itp_matmul_offsets(const interp_workspace *w, int node, const itp_matmul *d,
                               ptrdiff_t *a_offset, ptrdiff_t *b_offset)
{
    interp_shape a = *itp_shape_in(w, node, 0), b = *itp_shape_in(w, node, 1);
    interp_shape y = *itp_shape_out(w, node);
    if (d->count == 1) {
        a_offset[0] = b_offset[0] = 0;
        return;
    }
    a.rank -= 2, b.rank -= 2, y.rank -= 2;
    for (int t = 0; t < d->count; t++) {
        ptrdiff_t at_a = 0, at_b = 0, step_a = (ptrdiff_t)d->m * d->k,
                  step_b = (ptrdiff_t)d->k * d->n;
        int rest = t;
        for (int i = y.rank - 1; i >= 0; i--) {
            const int at = rest % y.dim[i], ia = i - (y.rank - a.rank), ib = i - (y.rank - b.rank);
            rest /= y.dim[i];
            if (ia >= 0 && a.dim[ia] > 1) at_a += at * step_a;
            if (ib >= 0 && b.dim[ib] > 1) at_b += at * step_b;
            if (ia >= 0) step_a *= a.dim[ia];
            if (ib >= 0) step_b *= b.dim[ib];
        }
        a_offset[t] = at_a;
        b_offset[t] = at_b;
    }
}

/* The products' offsets live in the shared scratch: four arrays of `count`. */
ITP_FN itp_need itp_need_matmul(const interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    itp_need need = {itp_gemm_scratch(w->ctx, d.m, d.n, d.k), 0, 0, 0};
    if (w->runs_back[node]) {
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.m, d.k, d.n));
        need.slot = itp_max_size(need.slot, itp_gemm_scratch(w->ctx, d.k, d.n, d.m));
    }
    need.shared = 3 * itp_round_up((size_t)d.count, 16) * (sizeof(ptrdiff_t) / sizeof(float) + 1);
    return need;
}

typedef struct itp_offsets {
    ptrdiff_t *a, *b, *y;
} itp_offsets;

ITP_FN itp_offsets itp_matmul_prepare(interp_workspace *w, int node, const itp_matmul *d)
{
    itp_offsets o;
    const size_t n = itp_round_up((size_t)d->count, 16);
    o.a = (ptrdiff_t *)(void *)w->shared;
    o.b = o.a + n;
    o.y = o.b + n;
    itp_matmul_offsets(w, node, d, o.a, o.b);
    for (int t = 0; t < d->count; t++) o.y[t] = (ptrdiff_t)t * d->m * d->n;
    return o;
}

ITP_FN void itp_forward_matmul(interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    const itp_offsets o = itp_matmul_prepare(w, node, &d);
    itp_gemm g;
    memset(&g, 0, sizeof g);
    g.m = d.m, g.n = d.n, g.k = d.k, g.alpha = 1;
    g.a = itp_x(w, node, 0), g.a_rs = d.k, g.a_cs = 1;
    g.b = itp_x(w, node, 1), g.b_rs = d.n, g.b_cs = 1;
    g.c = itp_y(w, node), g.c_rs = d.n;
    itp_gemm_batch(w->ctx, &g, d.count, o.a, o.b, (ptrdiff_t)d.m * d.n, w->scratch);
}

/* Products whose results land at `to`; those that share a place are added one after the other. */
ITP_FN void itp_matmul_grad(interp_workspace *w, itp_gemm *g, int count, const ptrdiff_t *a,
                            const ptrdiff_t *b, const ptrdiff_t *to, bool spread, size_t size,
                            float beta)
{
    float *c = g->c;
    g->alpha = 1, g->beta = beta;
    if (!spread) {
        itp_gemm_batch(w->ctx, g, count, a, b, (ptrdiff_t)g->m * g->n, w->scratch);
        return;
    }
    if (beta == 0) memset(c, 0, size * sizeof *c);
    g->beta = 1;
    for (int t = 0; t < count; t++) {
        itp_gemm one = *g;
        one.a += a[t];
        one.b += b[t];
        one.c = c + to[t];
        itp_gemm_run(w->ctx, &one, w->scratch);
    }
}

ITP_FN void itp_backward_matmul(interp_workspace *w, int node)
{
    const itp_matmul d = itp_matmul_at(w, node);
    const itp_offsets o = itp_matmul_prepare(w, node, &d);
    float *da = itp_dx(w, node, 0), *db = itp_dx(w, node, 1);
    itp_gemm g;
    if (da) { /* dy b^T */
        memset(&g, 0, sizeof g);
        g.m = d.m, g.n = d.k, g.k = d.n;
        g.a = itp_dy(w, node), g.a_rs = d.n, g.a_cs = 1;
        g.b = itp_x(w, node, 1), g.b_rs = 1, g.b_cs = d.n;
        g.c = da, g.c_rs = d.k;
        itp_matmul_grad(w, &g, d.count, o.y, o.b, o.a, d.a_spread,
                        itp_count(itp_shape_in(w, node, 0)), itp_beta(w, node, 0));
    }
    if (db) { /* a^T dy */
        memset(&g, 0, sizeof g);
        g.m = d.k, g.n = d.n, g.k = d.m;
        g.a = itp_x(w, node, 0), g.a_rs = 1, g.a_cs = d.k;
        g.b = itp_dy(w, node), g.b_rs = d.n, g.b_cs = 1;
        g.c = db, g.c_rs = d.n;
        itp_matmul_grad(w, &g, d.count, o.a, o.y, o.b, d.b_spread,
                        itp_count(itp_shape_in(w, node, 1)), itp_beta(w, node, 1));
    }
}

ITP_FN double itp_macs_matmul(const interp_net *net, const itp_node *node)
{
    const interp_shape *a = &net->values[node->in[0]].shape;
    return (double)itp_count(&net->values[node->out].shape) * a->dim[a->rank - 1];
}
/* >>net/op_norm.c                                                                             */
/* ---- net/op_norm.c: batch norm, layer norm, softmax -------------------------------------------- */

/* Batch norm's inputs: x, gamma, beta, running mean, running variance; all but x of [C]. */
typedef struct itp_bn {
    const itp_kernels *kernels;
    int n, channels;
    size_t pixels;
    const float *x, *dy, *gamma, *beta;
    float *mean, *variance; /* running; written in training */
    float *save;            /* mean and 1/sd of each channel, as used */
    float *y, *dx, *dgamma, *dbeta;
    float add_x, add_gamma, add_beta;
    float epsilon, momentum;
    interp_mode mode;
} itp_bn;

ITP_FN itp_bn itp_bn_at(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_bn b;
    memset(&b, 0, sizeof b);
    b.kernels = w->ctx->k;
    b.n = s->dim[0], b.channels = s->dim[1];
    b.pixels = itp_count(s) / itp_max_size(1, (size_t)b.n * (size_t)b.channels);
    b.x = itp_x(w, node, 0), b.gamma = itp_x(w, node, 1), b.beta = itp_x(w, node, 2);
    b.mean = w->net->values[o->in[3]].data, b.variance = w->net->values[o->in[4]].data;
    b.save = w->save[node];
    b.epsilon = o->attrs.epsilon, b.momentum = o->attrs.momentum;
    b.mode = w->desc.mode;
    return b;
}

ITP_FN itp_need itp_need_bn(const interp_workspace *w, int node)
{
    itp_need need = {0, 0, 2 * (size_t)itp_shape_in(w, node, 0)->dim[1], 0};
    return need;
}

ITP_FN const float *itp_bn_plane(const itp_bn *b, const float *x, int image, int channel)
{
    return x + ((size_t)image * (size_t)b->channels + (size_t)channel) * b->pixels;
}

/* Batch norm after a dense layer: one number per channel and image, so that it pays to go along
   channels instead. Sums over the batch run in double. */
ITP_FN void itp_bn_statistics(const itp_bn *b, int c, double *mean, double *variance)
{
    const double count = (double)b->n * (double)b->pixels;
    double sum = 0, square = 0;
    for (int i = 0; i < b->n; i++)
        sum += b->pixels == 1 ? (double)*itp_bn_plane(b, b->x, i, c)
                              : b->kernels->sum(b->pixels, itp_bn_plane(b, b->x, i, c));
    *mean = sum / count;
    const float m = (float)*mean;
    for (int i = 0; i < b->n; i++) {
        const float *x = itp_bn_plane(b, b->x, i, c);
        square +=
            b->pixels == 1 ? (double)((*x - m) * (*x - m)) : b->kernels->dot(b->pixels, x, m, x, m);
    }
    *variance = square / count;
}

ITP_FN void itp_bn_forward_task(void *arg, int c, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    double mean = (double)b->mean[c], variance = (double)b->variance[c];
    if (b->mode != INTERP_EVAL) itp_bn_statistics(b, c, &mean, &variance);
    if (b->mode == INTERP_TRAIN &&
        variance - variance == 0) { /* a step gone wrong leaves no trace */
        const double count = (double)b->n * (double)b->pixels;
        const double unbiased = count > 1 ? variance * count / (count - 1) : variance;
        const double keep = (double)b->momentum;
        b->mean[c] = (float)(keep * (double)b->mean[c] + (1 - keep) * mean);
        b->variance[c] = (float)(keep * (double)b->variance[c] + (1 - keep) * unbiased);
    }
    const double rstd = 1 / sqrt(variance + (double)b->epsilon);
    b->save[c] = (float)mean;
    b->save[b->channels + c] = (float)rstd;
    const float scale = (float)((double)b->gamma[c] * rstd);
    const float shift = (float)((double)b->beta[c] - mean * (double)b->gamma[c] * rstd);
    for (int i = 0; i < b->n; i++) {
        const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
        if (b->pixels == 1) b->y[at] = scale * b->x[at] + shift;
        else b->kernels->affine(b->pixels, scale, b->x + at, shift, b->y + at);
    }
}

ITP_FN void itp_forward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.y = itp_y(w, node);
    itp_parallel(w->ctx, b.channels, 4.0 * (double)b.n * (double)b.pixels * b.channels,
                 itp_bn_forward_task, &b);
}

/* With u = (x - mean) rstd: dbeta = sum dy, dgamma = sum dy u, and with batch statistics
   dx = gamma rstd (dy - dbeta/count - u dgamma/count). */
ITP_FN void itp_bn_backward_task(void *arg, int c, int slot)
{
    (void)slot;
    const itp_bn *b = (const itp_bn *)arg;
    const float mean = b->save[c], rstd = b->save[b->channels + c];
    const double count = (double)b->n * (double)b->pixels;
    const bool batch = b->mode != INTERP_EVAL;
    double sum = 0, product = 0;
    if (batch || b->dgamma || b->dbeta)
        for (int i = 0; i < b->n; i++) {
            const float *x = itp_bn_plane(b, b->x, i, c), *dy = itp_bn_plane(b, b->dy, i, c);
            if (b->pixels == 1) {
                sum += (double)*dy;
                product += (double)*dy * (double)(*x - mean);
            } else {
                sum += b->kernels->sum(b->pixels, dy);
                product += b->kernels->dot(b->pixels, dy, 0, x, mean);
            }
        }
    product *= (double)rstd;
    if (b->dgamma) b->dgamma[c] = (float)product + (b->add_gamma != 0 ? b->dgamma[c] : 0);
    if (b->dbeta) b->dbeta[c] = (float)sum + (b->add_beta != 0 ? b->dbeta[c] : 0);
    if (!b->dx) return;
    const double scale = (double)b->gamma[c] * (double)rstd;
    const double p = batch ? -scale * product / count * (double)rstd : 0;
    const double q = batch ? -scale * sum / count - p * (double)mean : 0;
    for (int i = 0; i < b->n; i++) {
        const size_t at = ((size_t)i * (size_t)b->channels + (size_t)c) * b->pixels;
        if (b->pixels == 1) {
            const double v = scale * (double)b->dy[at] + p * (double)b->x[at] + q;
            b->dx[at] = (float)v + (b->add_x != 0 ? b->dx[at] : 0);
        } else {
            b->kernels->affine2(b->pixels, (float)scale, b->dy + at, (float)p, b->x + at, (float)q,
                                b->dx + at, b->add_x != 0);
        }
    }
}

ITP_FN void itp_backward_bn(interp_workspace *w, int node)
{
    itp_bn b = itp_bn_at(w, node);
    b.dy = itp_dy(w, node);
    b.dx = itp_dx(w, node, 0), b.dgamma = itp_dx(w, node, 1), b.dbeta = itp_dx(w, node, 2);
    b.add_x = itp_beta(w, node, 0), b.add_gamma = itp_beta(w, node, 1);
    b.add_beta = itp_beta(w, node, 2);
    itp_parallel(w->ctx, b.channels, 6.0 * (double)b.n * (double)b.pixels * b.channels,
                 itp_bn_backward_task, &b);
}

/* ---- layer norm over the dimensions from `axis` on; inputs x, gamma, perhaps beta */

typedef struct itp_ln {
    const itp_kernels *kernels;
    size_t rows, n, per_task;
    const float *x, *dy, *gamma, *beta;
    float *save; /* mean and 1/sd of each row */
    float *y, *dx;
    float epsilon, add_x;
    itp_scratch scratch;
} itp_ln;

ITP_FN itp_ln itp_ln_at(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_ln l;
    memset(&l, 0, sizeof l);
    l.kernels = w->ctx->k;
    l.n = itp_count(itp_shape_in(w, node, 1));
    l.rows = itp_count(s) / itp_max_size(1, l.n);
    l.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, l.n));
    l.x = itp_x(w, node, 0), l.gamma = itp_x(w, node, 1);
    l.beta = o->n_in > 2 ? itp_x(w, node, 2) : NULL;
    l.save = w->save[node];
    l.epsilon = o->attrs.epsilon;
    l.scratch = w->scratch;
    return l;
}

ITP_FN itp_need itp_need_ln(const interp_workspace *w, int node)
{
    const size_t n = itp_count(itp_shape_in(w, node, 1));
    itp_need need = {n, 0, 2 * itp_count(itp_shape_in(w, node, 0)) / itp_max_size(1, n), 0};
    return need;
}

ITP_FN void itp_ln_forward_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_ln *l = (const itp_ln *)arg;
    const size_t first = (size_t)task * l->per_task,
                 end = itp_min_size(l->rows, first + l->per_task);
    for (size_t r = first; r < end; r++) {
        const float *x = l->x + r * l->n;
        const float mean = (float)(l->kernels->sum(l->n, x) / (double)l->n);
        const double variance = l->kernels->dot(l->n, x, mean, x, mean) / (double)l->n;
        const float rstd = (float)(1 / sqrt(variance + (double)l->epsilon));
        l->save[2 * r] = mean;
        l->save[2 * r + 1] = rstd;
        l->kernels->normalise(l->n, x, mean, rstd, l->gamma, l->beta, l->y + r * l->n);
    }
}

ITP_FN void itp_forward_ln(interp_workspace *w, int node)
{
    itp_ln l = itp_ln_at(w, node);
    l.y = itp_y(w, node);
    itp_parallel(w->ctx, (int)((l.rows + l.per_task - 1) / l.per_task),
                 6.0 * (double)(l.rows * l.n), itp_ln_forward_task, &l);
}

/* With g = dy gamma and u = (x - mean) rstd: dx = rstd (g - mean(g) - u mean(g u)). */
ITP_FN void itp_ln_backward_task(void *arg, int task, int slot)
{
    const itp_ln *l = (const itp_ln *)arg;
    float *g = itp_scratch_slot(&l->scratch, slot);
    const size_t first = (size_t)task * l->per_task,
                 end = itp_min_size(l->rows, first + l->per_task);
    for (size_t r = first; r < end; r++) {
        const float *x = l->x + r * l->n;
        const float mean = l->save[2 * r], rstd = l->save[2 * r + 1];
        l->kernels->mul_add(l->n, l->dy + r * l->n, l->gamma, g, false);
        const double a = l->kernels->sum(l->n, g) / (double)l->n;
        const double b = l->kernels->dot(l->n, g, 0, x, mean) * (double)rstd / (double)l->n;
        const double slope = -(double)rstd * b * (double)rstd;
        l->kernels->affine2(l->n, rstd, g, (float)slope, x,
                            (float)(-(double)rstd * a - slope * (double)mean), l->dx + r * l->n,
                            l->add_x != 0);
    }
}

ITP_FN void itp_backward_ln(interp_workspace *w, int node)
{
    itp_ln l = itp_ln_at(w, node);
    float *dgamma = itp_dx(w, node, 1), *dbeta = itp_dx(w, node, 2);
    l.dy = itp_dy(w, node);
    l.dx = itp_dx(w, node, 0);
    l.add_x = itp_beta(w, node, 0);
    if (l.dx)
        itp_parallel(w->ctx, (int)((l.rows + l.per_task - 1) / l.per_task),
                     8.0 * (double)(l.rows * l.n), itp_ln_backward_task, &l);
    if (dgamma && itp_beta(w, node, 1) == 0) memset(dgamma, 0, l.n * sizeof *dgamma);
    if (dbeta && itp_beta(w, node, 2) == 0) memset(dbeta, 0, l.n * sizeof *dbeta);
    float *u = itp_scratch_slot(&l.scratch, 0);
    for (size_t r = 0; r < l.rows && (dgamma || dbeta); r++) {
        const float *dy = l.dy + r * l.n;
        if (dbeta) l.kernels->scale_add(l.n, 1, dy, 1, dbeta);
        if (!dgamma) continue;
        l.kernels->normalise(l.n, l.x + r * l.n, l.save[2 * r], l.save[2 * r + 1], NULL, NULL, u);
        l.kernels->mul_add(l.n, dy, u, dgamma, true);
    }
}

/* ---- softmax and its logarithm along an axis */

typedef struct itp_softmax_job {
    const itp_kernels *kernels;
    size_t n, inner, rows, per_task; /* rows: outer x inner */
    const float *x, *y, *dy;
    float *out;
    bool log, add;
    itp_scratch scratch;
} itp_softmax_job;

ITP_FN itp_softmax_job itp_softmax_at(interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(itp_at(w, node)->attrs.axis, s->rank);
    itp_softmax_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.n = (size_t)s->dim[axis];
    j.inner = 1;
    for (int i = axis + 1; i < s->rank; i++) j.inner *= (size_t)s->dim[i];
    j.rows = itp_count(s) / itp_max_size(1, j.n);
    j.per_task = itp_max_size(1, ITP_CHUNK / itp_max_size(1, j.n));
    j.log = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.scratch = w->scratch;
    return j;
}

/* Three rows: of x or y, of dy, and of results. */
ITP_FN itp_need itp_need_softmax(const interp_workspace *w, int node)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_need need = {
        3 * itp_round_up((size_t)s->dim[itp_axis(itp_at(w, node)->attrs.axis, s->rank)], 16), 0, 0,
        0};
    return need;
}

ITP_FN void itp_softmax_forward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    float *a = itp_scratch_slot(&j->scratch, slot), *b = a + itp_round_up(j->n, 16);
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->rows, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const size_t at = r / j->inner * j->inner * j->n + r % j->inner;
        const float *x = j->x + at;
        float *y = j->out + at;
        if (j->inner > 1) { /* gather, work on a row, scatter */
            for (size_t i = 0; i < j->n; i++) a[i] = x[i * j->inner];
            x = y = a;
        }
        if (j->log) j->kernels->log_softmax(j->n, x, y, b);
        else j->kernels->softmax(j->n, x, y);
        for (size_t i = 0; j->inner > 1 && i < j->n; i++) j->out[at + i * j->inner] = a[i];
    }
}

ITP_FN void itp_forward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.x = itp_x(w, node, 0), j.out = itp_y(w, node);
    itp_parallel(w->ctx, (int)((j.rows + j.per_task - 1) / j.per_task),
                 8.0 * (double)(j.rows * j.n), itp_softmax_forward_task, &j);
}

/* softmax: dx = y (dy - sum dy y); its logarithm: dx = dy - exp(y) sum dy */
ITP_FN void itp_softmax_backward_task(void *arg, int task, int slot)
{
    const itp_softmax_job *j = (const itp_softmax_job *)arg;
    const size_t step = itp_round_up(j->n, 16);
    float *a = itp_scratch_slot(&j->scratch, slot), *b = a + step, *c = b + step;
    const size_t first = (size_t)task * j->per_task,
                 end = itp_min_size(j->rows, first + j->per_task);
    for (size_t r = first; r < end; r++) {
        const size_t at = r / j->inner * j->inner * j->n + r % j->inner;
        for (size_t i = 0; i < j->n; i++) {
            a[i] = j->y[at + i * j->inner];
            b[i] = j->dy[at + i * j->inner];
        }
        if (j->log) {
            j->kernels->unary(ITP_EXP, j->n, a, c, 0, 0);
            j->kernels->scale_add(j->n, 1, b, -(float)j->kernels->sum(j->n, b), c);
        } else {
            j->kernels->affine(j->n, 1, b, -(float)j->kernels->dot(j->n, a, 0, b, 0), c);
            j->kernels->mul_add(j->n, a, c, c, false);
        }
        for (size_t i = 0; i < j->n; i++) {
            float *to = j->out + at + i * j->inner;
            *to = c[i] + (j->add ? *to : 0);
        }
    }
}

ITP_FN void itp_backward_softmax(interp_workspace *w, int node)
{
    itp_softmax_job j = itp_softmax_at(w, node);
    j.y = itp_y(w, node), j.dy = itp_dy(w, node), j.out = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_parallel(w->ctx, (int)((j.rows + j.per_task - 1) / j.per_task),
                 8.0 * (double)(j.rows * j.n), itp_softmax_backward_task, &j);
}
/* >>net/op_pool.c                                                                             */
/* ---- net/op_pool.c: pooling -------------------------------------------------------------------- */

typedef struct itp_pool_job {
    const itp_kernels *kernels;
    itp_plane plane;
    const itp_attrs *attrs;
    bool average;
    const float *x, *dy;
    float *y, *dx;
    bool add;
    itp_scratch scratch;
} itp_pool_job;

/* How many numbers the average of a window divides by, along one axis: real pixels, or also those of
   the pads, but never what hangs over beyond them. */
ITP_FN int itp_window_count(int at, int taps, int stride, int dilation, int first, int size,
                            int end_pad, bool pads)
{
    int n = 0;
    for (int t = 0; t < taps; t++) {
        const int s = at * stride + t * dilation - first;
        n += pads ? s < size + end_pad : s >= 0 && s < size;
    }
    return n > 0 ? n : 1;
}

/* Divides sums over windows by their counts: out = in / count. */
ITP_FN void itp_pool_divide(const itp_pool_job *j, const float *in, float *out)
{
    const itp_plane *p = &j->plane;
    const itp_attrs *a = j->attrs;
    int below = a->pad[2], right = a->pad[3];
    if (a->same) { /* nothing hangs over: the last window ends where the pads do */
        below = (p->rows - 1) * p->stride_y + p->dilation_y * (p->taps_y - 1) + 1 - p->height -
                p->pad_y;
        right = (p->columns - 1) * p->stride_x + p->dilation_x * (p->taps_x - 1) + 1 - p->width -
                p->pad_x;
    }
    for (int y = 0; y < p->rows; y++) {
        const int ny = itp_window_count(y, p->taps_y, p->stride_y, p->dilation_y, p->pad_y,
                                        p->height, below, a->count_include_pad);
        for (int x = 0; x < p->columns; x++) {
            const int nx = itp_window_count(x, p->taps_x, p->stride_x, p->dilation_x, p->pad_x,
                                            p->width, right, a->count_include_pad);
            const size_t at = (size_t)y * (size_t)p->columns + (size_t)x;
            out[at] = in[at] / (float)(ny * nx);
        }
    }
}

ITP_FN void itp_pool_task(void *arg, int task, int slot)
{
    const itp_pool_job *j = (const itp_pool_job *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width,
                 out = (size_t)p->rows * (size_t)p->columns;
    const float *x = j->x + (size_t)task * in;
    float *y = j->y + (size_t)task * out;
    (void)slot;
    if (!j->average) {
        j->kernels->plane_max(p, x, y);
        return;
    }
    memset(y, 0, out * sizeof *y);
    j->kernels->plane_sum(p, x, y);
    itp_pool_divide(j, y, y);
}

ITP_FN void itp_pool_grad_task(void *arg, int task, int slot)
{
    const itp_pool_job *j = (const itp_pool_job *)arg;
    const itp_plane *p = &j->plane;
    const size_t in = (size_t)p->height * (size_t)p->width,
                 out = (size_t)p->rows * (size_t)p->columns;
    const float *dy = j->dy + (size_t)task * out;
    float *dx = j->dx + (size_t)task * in;
    if (!j->add) memset(dx, 0, in * sizeof *dx);
    if (!j->average) {
        itp_grads(j->kernels)->plane_max_grad(p, j->x + (size_t)task * in, dy, dx);
        return;
    }
    float *share = itp_scratch_slot(&j->scratch, slot);
    itp_pool_divide(j, dy, share);
    itp_grads(j->kernels)->plane_sum_grad(p, share, dx);
}

ITP_FN itp_pool_job itp_pool_at(interp_workspace *w, int node)
{
    itp_pool_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.attrs = &itp_at(w, node)->attrs;
    j.plane = itp_plane_of(j.attrs, itp_shape_in(w, node, 0));
    j.average = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.scratch = w->scratch;
    return j;
}

ITP_FN void itp_pool_run(interp_workspace *w, int node, itp_pool_job *j, itp_task_fn task)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_parallel(w->ctx, s->dim[0] * s->dim[1],
                 (double)itp_count(itp_shape_out(w, node)) * j->plane.taps_y * j->plane.taps_x * 2,
                 task, j);
}

ITP_FN itp_need itp_need_pool(const interp_workspace *w, int node)
{
    const interp_shape *y = itp_shape_out(w, node);
    itp_need need = {(size_t)y->dim[2] * (size_t)y->dim[3], 0, 0, 0};
    return need;
}

ITP_FN void itp_forward_pool(interp_workspace *w, int node)
{
    itp_pool_job j = itp_pool_at(w, node);
    j.x = itp_x(w, node, 0), j.y = itp_y(w, node);
    itp_pool_run(w, node, &j, itp_pool_task);
}

ITP_FN void itp_backward_pool(interp_workspace *w, int node)
{
    itp_pool_job j = itp_pool_at(w, node);
    if (!j.average) j.x = itp_x(w, node, 0);
    j.dy = itp_dy(w, node), j.dx = itp_dx(w, node, 0);
    j.add = itp_beta(w, node, 0) != 0;
    itp_pool_run(w, node, &j, itp_pool_grad_task);
}

/* ---- global pooling: whole planes */

typedef struct itp_global_job {
    const itp_kernels *kernels;
    size_t pixels, planes;
    const float *x, *dy;
    float *y, *dx;
    bool average, add;
} itp_global_job;

#define ITP_PLANES 16 /* of one task */

ITP_FN void itp_global_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_global_job *j = (const itp_global_job *)arg;
    const size_t first = (size_t)task * ITP_PLANES,
                 end = itp_min_size(j->planes, first + ITP_PLANES);
    for (size_t i = first; i < end; i++) {
        const float *x = j->x + i * j->pixels;
        if (!j->dy) {
            j->y[i] = j->average ? (float)(j->kernels->sum(j->pixels, x) / (double)j->pixels)
                                 : j->kernels->max(j->pixels, x);
            continue;
        }
        float *dx = j->dx + i * j->pixels;
        if (j->average) {
            const float share = j->dy[i] / (float)j->pixels;
            if (j->add) j->kernels->affine(j->pixels, 1, dx, share, dx);
            else itp_fill(dx, j->pixels, share);
            continue;
        }
        if (!j->add) memset(dx, 0, j->pixels * sizeof *dx);
        dx[itp_max(0, interp_argmax(x, (int)j->pixels))] += j->dy[i];
    }
}

ITP_FN void itp_global_run(interp_workspace *w, int node, bool backward)
{
    const interp_shape *s = itp_shape_in(w, node, 0);
    itp_global_job j;
    memset(&j, 0, sizeof j);
    j.kernels = w->ctx->k;
    j.planes = (size_t)s->dim[0] * (size_t)s->dim[1];
    j.pixels = itp_count(s) / itp_max_size(1, j.planes);
    j.average = itp_op_row(itp_at(w, node)->op)->kind != 0;
    j.x = itp_x(w, node, 0);
    if (backward) {
        j.dy = itp_dy(w, node), j.dx = itp_dx(w, node, 0);
        j.add = itp_beta(w, node, 0) != 0;
    } else {
        j.y = itp_y(w, node);
    }
    itp_parallel(w->ctx, (int)((j.planes + ITP_PLANES - 1) / ITP_PLANES), (double)itp_count(s) * 2,
                 itp_global_task, &j);
}

ITP_FN void itp_forward_global(interp_workspace *w, int node)
{
    itp_global_run(w, node, false);
}

ITP_FN void itp_backward_global(interp_workspace *w, int node)
{
    itp_global_run(w, node, true);
}
/* >>net/op_move.c                                                                             */
/* ---- net/op_move.c: ops that only move numbers ------------------------------------------------- */

ITP_FN void itp_forward_alias(interp_workspace *w, int node)
{
    (void)w, (void)node; /* the output is the input's own memory */
}

ITP_FN void itp_backward_alias(interp_workspace *w, int node)
{
    itp_copy_or_add(w->ctx->k, itp_dy(w, node), itp_beta(w, node, 0), itp_dx(w, node, 0),
                    itp_count(itp_shape_out(w, node)));
}

/* Copies x to y with dimension i of y being dimension perm[i] of x; `back` runs the other way, from
   a gradient of y to one of x, adding when `add`. */
ITP_FN void itp_transpose_run(const interp_shape *x, const int *perm, const float *from, float *to,
                              bool back, bool add)
{
    size_t stride[INTERP_MAX_RANK], step[INTERP_MAX_RANK];
    size_t at = 1, n = itp_count(x);
    int dim[INTERP_MAX_RANK], index[INTERP_MAX_RANK] = {0};
    const int rank = x->rank;
    for (int i = rank - 1; i >= 0; i--) {
        stride[i] = at;
        at *= (size_t)x->dim[i];
    }
    for (int i = 0; i < rank; i++) {
        step[i] = stride[perm[i]];
        dim[i] = x->dim[perm[i]];
    }
    if (n == 0) return;
    if (rank == 0) {
        *to = *from + (add ? *to : 0);
        return;
    }
    const size_t run = (size_t)dim[rank - 1], inner = step[rank - 1];
    size_t offset = 0; /* in x, of the row at hand */
    for (size_t row = 0; row < n; row += run) {
        for (size_t i = 0; i < run; i++) {
            const size_t xi = offset + i * inner;
            if (!back) to[row + i] = from[xi];
            else to[xi] = from[row + i] + (add ? to[xi] : 0);
        }
        for (int d = rank - 2; d >= 0; d--) {
            offset += step[d];
            if (++index[d] < dim[d]) break;
            offset -= step[d] * (size_t)dim[d];
            index[d] = 0;
        }
    }
}

ITP_FN void itp_forward_transpose(interp_workspace *w, int node)
{
    itp_transpose_run(itp_shape_in(w, node, 0), itp_at(w, node)->attrs.perm, itp_x(w, node, 0),
                      itp_y(w, node), false, false);
}

ITP_FN void itp_backward_transpose(interp_workspace *w, int node)
{
    itp_transpose_run(itp_shape_in(w, node, 0), itp_at(w, node)->attrs.perm, itp_dy(w, node),
                      itp_dx(w, node, 0), true, itp_beta(w, node, 0) != 0);
}

/* Numbers before an axis, and from it on. */
ITP_FN void itp_axis_split(const interp_shape *s, int axis, size_t *outer, size_t *run)
{
    *outer = *run = 1;
    for (int i = 0; i < s->rank; i++) *(i < axis ? outer : run) *= (size_t)s->dim[i];
}

ITP_FN void itp_forward_concat(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *out = itp_shape_out(w, node);
    const int axis = itp_axis(o->attrs.axis, out->rank);
    size_t outer, row, at = 0;
    itp_axis_split(out, axis, &outer, &row);
    float *y = itp_y(w, node);
    for (int i = 0; i < o->n_in; i++) {
        size_t same, run;
        itp_axis_split(itp_shape_in(w, node, i), axis, &same, &run);
        const float *x = itp_x(w, node, i);
        for (size_t r = 0; r < outer; r++) memcpy(y + r * row + at, x + r * run, run * sizeof *y);
        at += run;
    }
}

ITP_FN void itp_backward_concat(interp_workspace *w, int node)
{
    const itp_node *o = itp_at(w, node);
    const interp_shape *out = itp_shape_out(w, node);
    const int axis = itp_axis(o->attrs.axis, out->rank);
    size_t outer, row, at = 0;
    itp_axis_split(out, axis, &outer, &row);
    const float *dy = itp_dy(w, node);
    for (int i = 0; i < o->n_in; i++) {
        size_t same, run;
        itp_axis_split(itp_shape_in(w, node, i), axis, &same, &run);
        float *dx = itp_dx(w, node, i);
        for (size_t r = 0; dx && r < outer; r++)
            itp_copy_or_add(w->ctx->k, dy + r * row + at, itp_beta(w, node, i), dx + r * run, run);
        at += run;
    }
}

ITP_FN void itp_forward_slice(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, s->rank);
    size_t outer, row;
    itp_axis_split(s, axis, &outer, &row);
    const size_t unit = row / (size_t)s->dim[axis], run = unit * (size_t)a->length;
    const float *x = itp_x(w, node, 0) + unit * (size_t)a->start;
    float *y = itp_y(w, node);
    for (size_t r = 0; r < outer; r++) memcpy(y + r * run, x + r * row, run * sizeof *y);
}

ITP_FN void itp_backward_slice(interp_workspace *w, int node)
{
    const itp_attrs *a = &itp_at(w, node)->attrs;
    const interp_shape *s = itp_shape_in(w, node, 0);
    const int axis = itp_axis(a->axis, s->rank);
    size_t outer, row;
    itp_axis_split(s, axis, &outer, &row);
    const size_t unit = row / (size_t)s->dim[axis], run = unit * (size_t)a->length;
    float *dx = itp_dx(w, node, 0);
    if (itp_beta(w, node, 0) == 0) memset(dx, 0, outer * row * sizeof *dx);
    dx += unit * (size_t)a->start;
    const float *dy = itp_dy(w, node);
    for (size_t r = 0; r < outer; r++) w->ctx->k->scale_add(run, 1, dy + r * run, 1, dx + r * row);
}
/* >>net/op_table.c                                                                            */
/* ---- net/op_table.c: every op, one row each ---------------------------------------------------- */

/* Id, ONNX name, shape, forward, backward, need, macs, kind, flags. An elementwise row's kind is its
   kernel; for pools and softmax it tells average from max, and the logarithm from the plain one. */
#define ITP_X  ITP_NEEDS_X
#define ITP_Y  ITP_NEEDS_Y
#define ITP_IP ITP_IN_PLACE
#define ITP_UNARY_ROW(X, id, name, flags)                                                          \
    X(id, name, itp_shape_same, itp_forward_unary, itp_backward_unary, NULL, NULL, ITP_##id, flags)

#define ITP_OPS(X)                                                                                 \
    X(CONV, "Conv", itp_shape_conv, itp_forward_conv, itp_backward_conv, itp_need_conv,            \
      itp_macs_conv, 0, ITP_X)                                                                     \
    X(GEMM, "Gemm", itp_shape_dense, itp_forward_dense, itp_backward_dense, itp_need_dense,        \
      itp_macs_dense, 0, ITP_X)                                                                    \
    X(MATMUL, "MatMul", itp_shape_matmul, itp_forward_matmul, itp_backward_matmul,                 \
      itp_need_matmul, itp_macs_matmul, 0, ITP_X)                                                  \
    X(BATCH_NORM, "BatchNormalization", itp_shape_batch_norm, itp_forward_bn, itp_backward_bn,     \
      itp_need_bn, NULL, 0, ITP_X)                                                                 \
    X(LAYER_NORM, "LayerNormalization", itp_shape_layer_norm, itp_forward_ln, itp_backward_ln,     \
      itp_need_ln, NULL, 0, ITP_X)                                                                 \
    ITP_UNARY_ROW(X, RELU, "Relu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, LEAKY_RELU, "LeakyRelu", ITP_X)                                               \
    ITP_UNARY_ROW(X, ELU, "Elu", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, SELU, "Selu", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SOFTPLUS, "Softplus", ITP_X)                                                  \
    ITP_UNARY_ROW(X, SIGMOID, "Sigmoid", ITP_Y | ITP_IP)                                           \
    ITP_UNARY_ROW(X, TANH, "Tanh", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, SILU, "Swish", ITP_X)                                                         \
    ITP_UNARY_ROW(X, GELU, "Gelu", ITP_X)                                                          \
    ITP_UNARY_ROW(X, GELU_TANH, "GeluTanh", ITP_X)                                                 \
    ITP_UNARY_ROW(X, HARD_SWISH, "HardSwish", ITP_X)                                               \
    ITP_UNARY_ROW(X, HARD_SIGMOID, "HardSigmoid", ITP_Y | ITP_IP)                                  \
    ITP_UNARY_ROW(X, EXP, "Exp", ITP_Y | ITP_IP)                                                   \
    ITP_UNARY_ROW(X, LOG, "Log", ITP_X)                                                            \
    ITP_UNARY_ROW(X, SQRT, "Sqrt", ITP_Y | ITP_IP)                                                 \
    ITP_UNARY_ROW(X, ERF, "Erf", ITP_X)                                                            \
    ITP_UNARY_ROW(X, NEG, "Neg", ITP_IP)                                                           \
    ITP_UNARY_ROW(X, ABS, "Abs", ITP_X)                                                            \
    ITP_UNARY_ROW(X, RECIPROCAL, "Reciprocal", ITP_Y | ITP_IP)                                     \
    ITP_UNARY_ROW(X, CLIP, "Clip", ITP_X)                                                          \
    ITP_UNARY_ROW(X, SQUARE, "Square", ITP_X)                                                      \
    X(SOFTMAX, "Softmax", itp_shape_axis, itp_forward_softmax, itp_backward_softmax,               \
      itp_need_softmax, NULL, 0, ITP_Y | ITP_IP)                                                   \
    X(LOG_SOFTMAX, "LogSoftmax", itp_shape_axis, itp_forward_softmax, itp_backward_softmax,        \
      itp_need_softmax, NULL, 1, ITP_Y | ITP_IP)                                                   \
    X(MAX_POOL, "MaxPool", itp_shape_window, itp_forward_pool, itp_backward_pool, itp_need_pool,   \
      NULL, 0, ITP_X)                                                                              \
    X(AVERAGE_POOL, "AveragePool", itp_shape_window, itp_forward_pool, itp_backward_pool,          \
      itp_need_pool, NULL, 1, 0)                                                                   \
    X(GLOBAL_AVERAGE_POOL, "GlobalAveragePool", itp_shape_global_pool, itp_forward_global,         \
      itp_backward_global, NULL, NULL, 1, 0)                                                       \
    X(GLOBAL_MAX_POOL, "GlobalMaxPool", itp_shape_global_pool, itp_forward_global,                 \
      itp_backward_global, NULL, NULL, 0, ITP_X)                                                   \
    X(ADD, "Add", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_ADD,  \
      0)                                                                                           \
    X(SUB, "Sub", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_SUB,  \
      0)                                                                                           \
    X(MUL, "Mul", itp_shape_binary, itp_forward_binary, itp_backward_binary, NULL, NULL, ITP_MUL,  \
      ITP_X)                                                                                       \
    X(DIV, "Div", itp_shape_binary, itp_forward_binary, itp_backward_binary, itp_need_div, NULL,   \
      ITP_DIV, ITP_X | ITP_Y)                                                                      \
    X(CONCAT, "Concat", itp_shape_concat, itp_forward_concat, itp_backward_concat, NULL, NULL, 0,  \
      0)                                                                                           \
    X(RESHAPE, "Reshape", itp_shape_reshape, itp_forward_alias, itp_backward_alias, NULL, NULL, 0, \
      ITP_ALIAS)                                                                                   \
    X(FLATTEN, "Flatten", itp_shape_flatten, itp_forward_alias, itp_backward_alias, NULL, NULL, 0, \
      ITP_ALIAS)                                                                                   \
    X(IDENTITY, "Identity", itp_shape_same, itp_forward_alias, itp_backward_alias, NULL, NULL, 0,  \
      ITP_ALIAS)                                                                                   \
    X(TRANSPOSE, "Transpose", itp_shape_transpose, itp_forward_transpose, itp_backward_transpose,  \
      NULL, NULL, 0, 0)                                                                            \
    X(DROPOUT, "Dropout", itp_shape_same, itp_forward_dropout, itp_backward_dropout,               \
      itp_need_dropout, NULL, 0, ITP_ALIAS_IN_EVAL)                                                \
    X(SLICE, "Slice", itp_shape_slice, itp_forward_slice, itp_backward_slice, NULL, NULL, 0, 0)

enum {
#define ITP_OP_ID(id, name, shape, forward, backward, need, macs, kind, flags) ITP_OP_##id,
    ITP_OPS(ITP_OP_ID)
#undef ITP_OP_ID
        ITP_OP_COUNT
};

static const itp_op itp_op_table[] = {
#define ITP_OP_ROW(id, name, shape, forward, backward, need, macs, kind, flags)                    \
    {name, shape, forward, need, macs, kind, flags},
    ITP_OPS(ITP_OP_ROW)
#undef ITP_OP_ROW
};

/* Apart from the rows: a program that never calls interp_backward then links none of them. */
static void (*const itp_backward_table[])(interp_workspace *w, int node) = {
#define ITP_OP_BACKWARD(id, name, shape, forward, backward, need, macs, kind, flags) backward,
    ITP_OPS(ITP_OP_BACKWARD)
#undef ITP_OP_BACKWARD
};

#undef ITP_X
#undef ITP_Y
#undef ITP_IP

ITP_FN const itp_op *itp_op_row(int op)
{
    return &itp_op_table[op];
}

ITP_FN void itp_op_backward(interp_workspace *w, int node)
{
    itp_backward_table[w->net->nodes[node].op](w, node);
}
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
/* >>net/plan.c                                                                                */
/* ---- net/plan.c: workspaces: what runs, what lives when, where it lies -------------------------- */

/* Time runs over forward nodes 0..n-1, then backward from n-1 (time n) to 0 (time 2n-1). */
typedef struct itp_item {
    size_t bytes, offset;
    int begin, end;  /* first and last moment it is in use */
    int value, node; /* whose numbers, gradient or saved state; -1: not that */
    bool gradient, packed;
} itp_item;

typedef struct itp_plan {
    interp_workspace *w;
    int *root;  /* [n_values]: the value whose memory this one uses */
    int *first; /* [n_values]: when a root is first written */
    int *last;  /* [n_values]: when a root is last read */
    int *order; /* [n_items]: by falling size */
    itp_item *items;
    int n_items;
    size_t block; /* bytes of all items */
} itp_plan;

ITP_FN bool itp_is_alias(const interp_workspace *w, int node)
{
    const unsigned flags = itp_op_row(w->net->nodes[node].op)->flags;
    return w->fused[node] || (flags & ITP_ALIAS) ||
           ((flags & ITP_ALIAS_IN_EVAL) && w->desc.mode != INTERP_TRAIN);
}

/* Shapes of all values for the batch size asked for. */
ITP_FN interp_status itp_plan_shapes(interp_workspace *w)
{
    const interp_net *net = w->net;
    for (int i = 0; i < net->n_values; i++) w->shape[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++) {
        interp_shape *s = &w->shape[net->inputs[i]];
        s->dim[0] = w->desc.batch;
        if (interp_shape_size(s) > (size_t)INT_MAX)
            return itp_fail(w->ctx, INTERP_BAD_SHAPE,
                            "input \"%.100s\" has more than 2^31 numbers for a batch of %d",
                            net->values[net->inputs[i]].name, w->desc.batch);
    }
    for (int i = 0; i < net->n_nodes; i++)
        ITP_TRY(
            itp_node_shape(w->ctx, net, &net->nodes[i], w->shape, &w->shape[net->nodes[i].out]));
    return INTERP_OK;
}

/* Which nodes run, and which run backward. */
ITP_FN void itp_plan_runs(interp_workspace *w)
{
    const interp_net *net = w->net;
    bool *wanted = w->needs_grad; /* used for values wanted first, refilled below */
    memset(wanted, 0, (size_t)net->n_values * sizeof *wanted);
    for (int i = 0; i < net->n_outputs; i++) wanted[net->outputs[i]] = true;
    wanted[w->target] = true;
    if (w->kept >= 0) wanted[w->kept] = true;
    for (int n = net->n_nodes - 1; n >= 0; n--) {
        w->runs[n] = w->desc.keep_all || wanted[net->nodes[n].out];
        for (int i = 0; w->runs[n] && i < net->nodes[n].n_in; i++)
            wanted[net->nodes[n].in[i]] = true;
    }
    /* gradients flow from the inputs and parameters asked for ... */
    for (int i = 0; i < net->n_values; i++)
        w->needs_grad[i] = (net->values[i].kind == ITP_PARAM && w->desc.param_grads) ||
                           (net->values[i].kind == ITP_INPUT && w->desc.input_grads);
    const bool any = w->desc.param_grads || w->desc.input_grads;
    if (w->kept >= 0 && any) w->needs_grad[w->kept] = true;
    for (int n = 0; n < net->n_nodes; n++)
        for (int i = 0; i < net->nodes[n].n_in; i++)
            if (w->runs[n] && w->needs_grad[net->nodes[n].in[i]])
                w->needs_grad[net->nodes[n].out] = true;
    /* ... to the value that is differentiated, and nowhere else */
    for (int n = net->n_nodes - 1; n >= 0; n--) {
        const itp_node *node = &net->nodes[n];
        bool used = node->out == w->target;
        for (int m = n + 1; m < net->n_nodes && !used; m++)
            for (int i = 0; i < net->nodes[m].n_in && !used; i++)
                used = w->runs_back[m] && net->nodes[m].in[i] == node->out;
        w->runs_back[n] = any && used && w->runs[n] && w->needs_grad[node->out];
        if (!w->runs_back[n]) continue;
        bool deeper = false;
        for (int i = 0; i < node->n_in; i++) deeper |= w->needs_grad[node->in[i]];
        w->runs_back[n] = deeper;
    }
    /* the first consumer met backward writes an input's gradient, the others add */
    for (int v = 0; v < net->n_values; v++) w->unwritten[v] = v != w->target;
    for (int n = net->n_nodes - 1; n >= 0; n--)
        for (int i = 0; i < net->nodes[n].n_in; i++) {
            const int v = net->nodes[n].in[i];
            w->adds[n][i] = !w->unwritten[v];
            if (w->runs_back[n]) w->unwritten[v] = false;
        }
    for (int v = 0; v < net->n_values; v++) /* parameters always have a gradient, 0 if unused */
        if (w->unwritten[v] && net->values[v].kind == ITP_ACTIVATION && v != w->kept)
            w->needs_grad[v] = false;
}

/* The node that alone reads a value which nobody else asks for, -1 when there is none. */
ITP_FN int itp_only_reader(const interp_workspace *w, int value)
{
    const interp_net *net = w->net;
    int reader = -1;
    if (value == w->target || value == w->kept) return -1;
    for (int i = 0; i < net->n_outputs; i++)
        if (net->outputs[i] == value) return -1;
    for (int n = 0; n < net->n_nodes; n++)
        for (int i = 0; w->runs[n] && i < net->nodes[n].n_in; i++)
            if (net->nodes[n].in[i] == value) {
                if (reader >= 0 || i > 0) return -1;
                reader = n;
            }
    return reader;
}

/* Without gradients a convolution takes the batch norm behind it into its weights, where those are
   constant, and applies the elementwise function behind that to what it has just written. */
ITP_FN void itp_plan_fuse(interp_workspace *w)
{
    const interp_net *net = w->net;
    for (int n = 0; n < net->n_nodes; n++) w->fused_norm[n] = w->fused_act[n] = -1;
    if (w->desc.input_grads || w->desc.param_grads || w->desc.keep_all ||
        w->desc.mode != INTERP_EVAL)
        return;
    for (int n = 0; n < net->n_nodes; n++) {
        if (!w->runs[n] || net->nodes[n].op != ITP_OP_CONV) continue;
        int next = itp_only_reader(w, net->nodes[n].out);
        if (next >= 0 && net->nodes[next].op == ITP_OP_BATCH_NORM && itp_conv_is_constant(w, n) &&
            itp_is_constant(w, net->nodes[next].in[1]) &&
            itp_is_constant(w, net->nodes[next].in[2])) {
            w->fused_norm[n] = next;
            w->fused[next] = true;
            next = itp_only_reader(w, net->nodes[next].out);
        }
        if (next >= 0 && itp_op_row(net->nodes[next].op)->forward == itp_forward_unary) {
            w->fused_act[n] = next;
            w->fused[next] = true;
        }
    }
}

ITP_FN void itp_use(itp_plan *p, int value, int time)
{
    int *last = &p->last[p->root[value]];
    if (time > *last) *last = time;
}

/* Aliases, outputs that may overwrite an input, and lifetimes of numbers. */
ITP_FN void itp_plan_lifetimes(itp_plan *p)
{
    interp_workspace *w = p->w;
    const interp_net *net = w->net;
    const int n = net->n_nodes, end = 2 * n;
    for (int v = 0; v < net->n_values; v++) {
        p->root[v] = v;
        p->first[v] = p->last[v] = -1;
    }
    for (int i = 0; i < n; i++) {
        const itp_node *node = &net->nodes[i];
        if (!w->runs[i]) continue;
        p->first[node->out] = i;
        if (itp_is_alias(w, i)) p->root[node->out] = p->root[node->in[0]];
    }
    for (int i = 0; i < n; i++) {
        const itp_node *node = &net->nodes[i];
        if (!w->runs[i]) continue;
        itp_use(p, node->out, i);
        for (int k = 0; k < node->n_in; k++) itp_use(p, node->in[k], i);
        const unsigned flags = itp_op_row(node->op)->flags;
        if (!w->runs_back[i]) continue;
        if (flags & ITP_NEEDS_Y) itp_use(p, node->out, end - 1 - i);
        for (int k = 0; k < node->n_in && (flags & ITP_NEEDS_X); k++)
            itp_use(p, node->in[k], end - 1 - i);
    }
    for (int i = 0; i < net->n_outputs; i++) itp_use(p, net->outputs[i], end);
    itp_use(p, w->target, end);
    if (w->kept >= 0) itp_use(p, w->kept, end);
    for (int v = 0; w->desc.keep_all && v < net->n_values; v++) itp_use(p, v, end);
    for (int i = 0; i < n; i++) { /* in place: nobody reads the input afterwards */
        const itp_node *node = &net->nodes[i];
        const int in = p->root[node->in[0]], out = node->out;
        if (!w->runs[i] || !(itp_op_row(node->op)->flags & ITP_IN_PLACE)) continue;
        if (net->values[in].kind != ITP_ACTIVATION || p->root[out] != out || p->last[in] > i)
            continue;
        for (int v = 0; v < net->n_values; v++)
            if (p->root[v] == out) p->root[v] = in;
        p->last[in] = p->last[out];
    }
}

ITP_FN void itp_plan_add(itp_plan *p, size_t floats, int begin, int end, int value, int node,
                         bool gradient)
{
    itp_item *item = &p->items[p->n_items++];
    item->bytes = itp_round_up(itp_mul_size(floats, sizeof(float)), ITP_CACHE_LINE);
    item->offset = 0;
    item->begin = begin, item->end = end;
    item->value = value, item->node = node;
    item->gradient = gradient;
    item->packed = false;
}

/* Everything that needs memory, with its lifetime. */
ITP_FN void itp_plan_items(itp_plan *p)
{
    interp_workspace *w = p->w;
    const interp_net *net = w->net;
    const int n = net->n_nodes, end = 2 * n;
    p->n_items = 0;
    for (int v = 0; v < net->n_values; v++)
        if (net->values[v].kind == ITP_ACTIVATION && p->root[v] == v && p->first[v] >= 0)
            itp_plan_add(p, itp_count(&w->shape[v]), p->first[v], p->last[v], v, -1, false);
    for (int v = 0; v < net->n_values; v++) {
        if (!w->needs_grad[v] || net->values[v].kind == ITP_PARAM) continue;
        /* from the last consumer's step on; seeds and zeroes are written before the first */
        int begin = v == w->target || w->unwritten[v] ? n : end, last = end;
        for (int i = n - 1; i >= 0; i--)
            for (int k = 0; w->runs_back[i] && k < net->nodes[i].n_in; k++)
                if (net->nodes[i].in[k] == v && end - 1 - i < begin) begin = end - 1 - i;
        if (net->values[v].producer >= 0 && v != w->kept) last = end - 1 - net->values[v].producer;
        itp_plan_add(p, itp_count(&w->shape[v]), begin, last, v, -1, true);
    }
    for (int i = 0; i < n; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (!w->runs[i] || w->fused[i] || !row->need) continue;
        const itp_need need = row->need(w, i);
        if (need.save)
            itp_plan_add(p, need.save, i, w->runs_back[i] ? end - 1 - i : i, -1, i, false);
        if (need.packed) {
            itp_plan_add(p, need.packed, 0, end, -1, i, false);
            p->items[p->n_items - 1].packed = true;
        }
    }
}

ITP_FN bool itp_item_before(const itp_plan *p, int a, int b)
{
    const size_t x = p->items[a].bytes, y = p->items[b].bytes;
    return x != y ? x > y : a < b;
}

/* Heap sort of `order`; the C library's qsort may allocate. */
ITP_FN void itp_plan_sift(itp_plan *p, int at, int n)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && itp_item_before(p, p->order[child], p->order[child + 1])) child++;
        if (!itp_item_before(p, p->order[at], p->order[child])) return;
        const int t = p->order[at];
        p->order[at] = p->order[child];
        p->order[child] = t;
        at = child;
    }
}

ITP_FN void itp_plan_sort(itp_plan *p)
{
    for (int i = 0; i < p->n_items; i++) p->order[i] = i;
    for (int i = p->n_items / 2 - 1; i >= 0; i--) itp_plan_sift(p, i, p->n_items);
    for (int n = p->n_items - 1; n > 0; n--) {
        const int t = p->order[0];
        p->order[0] = p->order[n];
        p->order[n] = t;
        itp_plan_sift(p, 0, n);
    }
}

/* Largest first, each at the lowest place free during its whole life. */
ITP_FN void itp_plan_place(itp_plan *p)
{
    p->block = 0;
    for (int i = 0; i < p->n_items; i++) {
        itp_item *item = &p->items[p->order[i]];
        size_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (int j = 0; j < i; j++) {
                const itp_item *o = &p->items[p->order[j]];
                if (o->end < item->begin || o->begin > item->end) continue;
                if (at < o->offset + o->bytes && o->offset < at + item->bytes) {
                    at = o->offset + o->bytes;
                    moved = true;
                }
            }
        }
        item->offset = at;
        p->block = itp_max_size(p->block, itp_add_size(at, item->bytes));
    }
}

/* The workspace's own arrays, in the arena. */
ITP_FN interp_workspace *itp_workspace_layout(itp_arena *a, interp_workspace *w,
                                              const interp_net *net)
{
    const size_t v = (size_t)net->n_values, n = (size_t)net->n_nodes;
    interp_workspace *placed = (interp_workspace *)itp_arena_alloc(a, sizeof *w);
    w->shape = (interp_shape *)itp_arena_alloc(a, v * sizeof *w->shape);
    w->data = (const float **)itp_arena_alloc(a, v * sizeof *w->data);
    w->grad = (float **)itp_arena_alloc(a, v * sizeof *w->grad);
    w->needs_grad = (bool *)itp_arena_alloc(a, v * sizeof *w->needs_grad);
    w->unwritten = (bool *)itp_arena_alloc(a, v * sizeof *w->unwritten);
    w->save = (float **)itp_arena_alloc(a, n * sizeof *w->save);
    w->packed = (float **)itp_arena_alloc(a, n * sizeof *w->packed);
    w->is_packed = (unsigned char *)itp_arena_alloc(a, n * sizeof *w->is_packed);
    w->fused = (bool *)itp_arena_alloc(a, n * sizeof *w->fused);
    w->fused_norm = (int *)itp_arena_alloc(a, n * sizeof *w->fused_norm);
    w->fused_act = (int *)itp_arena_alloc(a, n * sizeof *w->fused_act);
    w->runs = (bool *)itp_arena_alloc(a, n * sizeof *w->runs);
    w->runs_back = (bool *)itp_arena_alloc(a, n * sizeof *w->runs_back);
    w->adds = (bool(*)[ITP_MAX_INPUTS])itp_arena_alloc(a, n * sizeof *w->adds);
    return placed;
}

/* What follows the arrays: items, parameter gradients, scratch. */
ITP_FN void itp_workspace_memory(itp_arena *a, interp_workspace *w, const itp_plan *p)
{
    const interp_net *net = w->net;
    itp_need most = {0, 0, 0, 0};
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (!w->runs[i] || w->fused[i] || !row->need) continue;
        const itp_need need = row->need(w, i);
        most.slot = itp_max_size(most.slot, need.slot);
        most.shared = itp_max_size(most.shared, need.shared);
    }
    w->block = (char *)itp_arena_alloc(a, p->block);
    if (w->desc.param_grads) w->param_grad = itp_arena_floats(a, net->n_flat);
    w->scratch.slot_floats = itp_round_up(most.slot, 16);
    w->scratch.base =
        itp_arena_floats(a, itp_mul_size(w->scratch.slot_floats, (size_t)w->ctx->slots));
    w->shared = itp_arena_floats(a, most.shared);
}

/* Pointers of values, gradients and saved state into the block. */
ITP_FN void itp_workspace_point(interp_workspace *w, const itp_plan *p)
{
    const interp_net *net = w->net;
    for (int i = 0; i < p->n_items; i++) {
        const itp_item *item = &p->items[i];
        float *at = (float *)(void *)(w->block + item->offset);
        if (item->packed) w->packed[item->node] = at;
        else if (item->value < 0) w->save[item->node] = at;
        else if (item->gradient) w->grad[item->value] = at;
        else w->data[item->value] = at;
    }
    for (int v = 0; v < net->n_values; v++) {
        const itp_value *value = &net->values[v];
        if (value->kind == ITP_ACTIVATION) w->data[v] = w->data[p->root[v]];
        else if (value->kind != ITP_INPUT) w->data[v] = value->data;
        if (value->kind == ITP_PARAM && w->desc.param_grads)
            w->grad[v] = w->param_grad + value->offset;
    }
}

/* The plan's own arrays, in the arena. */
ITP_FN void itp_plan_layout(itp_arena *a, itp_plan *p, const interp_net *net)
{
    const size_t v = (size_t)net->n_values, most = 2 * (v + (size_t)net->n_nodes);
    p->root = (int *)itp_arena_alloc(a, v * sizeof *p->root);
    p->first = (int *)itp_arena_alloc(a, v * sizeof *p->first);
    p->last = (int *)itp_arena_alloc(a, v * sizeof *p->last);
    p->items = (itp_item *)itp_arena_alloc(a, most * sizeof *p->items);
    p->order = (int *)itp_arena_alloc(a, most * sizeof *p->order);
}

/* Makes the plan of a workspace whose arrays, like the plan's, are there and zero. */
ITP_FN interp_status itp_plan_make(interp_workspace *w, itp_plan *p)
{
    p->w = w;
    ITP_TRY(itp_plan_shapes(w));
    itp_plan_runs(w);
    itp_plan_fuse(w);
    itp_plan_lifetimes(p);
    itp_plan_items(p);
    itp_plan_sort(p);
    itp_plan_place(p);
    return INTERP_OK;
}

/* An input or what a node makes, by name; parameters and constants have no numbers per sample. */
ITP_FN int itp_find_numbers(const interp_net *net, const char *name)
{
    const int v = itp_find(net, name);
    if (v < 0) return -1;
    return net->values[v].kind == ITP_INPUT || net->values[v].kind == ITP_ACTIVATION ? v : -1;
}

ITP_FN interp_status itp_workspace_check(interp_ctx *ctx, const interp_net *net,
                                         const interp_workspace_desc *desc, interp_workspace *w)
{
    memset(w, 0, sizeof *w);
    w->ctx = ctx;
    w->net = net;
    if (desc) w->desc = *desc;
    if (!net || !net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    if (!w->desc.batch) w->desc.batch = net->fixed_batch ? net->fixed_batch : 1;
    if (w->desc.batch < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "a batch of %d samples", w->desc.batch);
    if (net->fixed_batch && w->desc.batch != net->fixed_batch)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "network \"%s\" was exported for batches of %d, not %d", net->name,
                        net->fixed_batch, w->desc.batch);
    w->target = net->outputs[0];
    w->kept = -1;
    w->seed = w->desc.seed;
    if (w->desc.output && (w->target = itp_find_numbers(net, w->desc.output)) < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has no value named \"%s\"",
                        net->name, w->desc.output);
    if (w->desc.keep && (w->kept = itp_find_numbers(net, w->desc.keep)) < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has no layer named \"%s\"",
                        net->name, w->desc.keep);
    return INTERP_OK;
}

/* Bytes of a workspace's arrays, and with those of its plan behind them. */
ITP_FN size_t itp_plan_bytes(interp_workspace *w, itp_plan *p, size_t *arrays)
{
    itp_arena a = {NULL, 0};
    itp_workspace_layout(&a, w, w->net);
    *arrays = a.used;
    itp_plan_layout(&a, p, w->net);
    return a.used;
}

/* The whole layout in one block: the arrays, behind them the plan, and over the plan, which is needed
   only until everything has its place, what running takes. A block of *bytes gets the workspace;
   with `block` NULL the bytes are found by planning in memory of its own, which is never more. */
ITP_FN interp_status itp_workspace_plan(interp_workspace *w, char *block, size_t *bytes)
{
    itp_plan plan;
    size_t arrays;
    const size_t least = itp_plan_bytes(w, &plan, &arrays);
    char *own = block ? NULL : (char *)interp_alloc(w->ctx, least);
    itp_arena a = {block ? block : own, 0};
    if (!a.base) return INTERP_NO_MEMORY;
    memset(a.base, 0, least);
    interp_workspace *placed = itp_workspace_layout(&a, w, w->net);
    itp_plan_layout(&a, &plan, w->net);
    const interp_status status = itp_plan_make(w, &plan);
    if (!status) {
        itp_arena run = {block, arrays};
        itp_workspace_memory(&run, w, &plan);
        *bytes = itp_max_size(least, run.used);
    }
    if (!status && block) {
        itp_workspace_point(w, &plan);
        *placed = *w;
    }
    interp_free(w->ctx, own);
    return status;
}

INTERP_API interp_status interp_workspace_bytes(interp_ctx *ctx, const interp_net *net,
                                                const interp_workspace_desc *desc, size_t *bytes)
{
    interp_workspace w;
    size_t block;
    ITP_TRY(itp_workspace_check(ctx, net, desc, &w));
    ITP_TRY(itp_workspace_plan(&w, NULL, &block));
    *bytes = itp_alloc_cost(block);
    return INTERP_OK;
}

INTERP_API interp_status interp_workspace_new(interp_ctx *ctx, const interp_net *net,
                                              const interp_workspace_desc *desc,
                                              interp_workspace **workspace)
{
    interp_workspace w;
    size_t bytes;
    ITP_TRY(itp_workspace_check(ctx, net, desc, &w));
    ITP_TRY(itp_workspace_plan(&w, NULL, &bytes));
    char *block = (char *)interp_alloc(ctx, bytes);
    if (!block) return INTERP_NO_MEMORY;
    const interp_status status = itp_workspace_plan(&w, block, &bytes);
    if (status) interp_free(ctx, block);
    else *workspace = (interp_workspace *)(void *)block;
    return status;
}

INTERP_API void interp_workspace_free(interp_workspace *workspace)
{
    if (workspace) interp_free(workspace->ctx, workspace);
}
#undef ITP_HEAT
#define ITP_HEAT
/* >>net/run.c                                                                                 */
/* ---- net/run.c: forward, backward, prediction in pieces ----------------------------------------- */

INTERP_API interp_status interp_forward(interp_workspace *w, const float *const *inputs)
{
    const interp_net *net = w->net;
    w->forward_done = false;
    w->step++;
    for (int i = 0; i < net->n_inputs; i++) {
        if (!inputs[i])
            return itp_fail(w->ctx, INTERP_BAD_ARGUMENT, "input \"%s\" was not given",
                            net->values[net->inputs[i]].name);
        w->data[net->inputs[i]] = inputs[i];
    }
    for (int v = 0; v < net->n_values; v++) { /* views of inputs under another shape */
        const int p = net->values[v].producer;
        if (p >= 0 && w->runs[p] && itp_is_alias(w, p)) w->data[v] = w->data[net->nodes[p].in[0]];
    }
    for (int n = 0; n < net->n_nodes; n++)
        if (w->runs[n] && !w->fused[n]) itp_op_row(net->nodes[n].op)->forward(w, n);
    w->forward_done = true;
    return INTERP_OK;
}

INTERP_API interp_status interp_backward(interp_workspace *w, const float *seed)
{
    const interp_net *net = w->net;
    float *target = w->grad[w->target];
    if (!w->forward_done)
        return itp_fail(w->ctx, INTERP_BAD_ARGUMENT,
                        "backward was called before forward, or twice after one: it reuses the "
                        "memory of what forward left");
    if (!w->desc.input_grads && !w->desc.param_grads)
        return itp_fail(w->ctx, INTERP_BAD_ARGUMENT,
                        "the workspace was made without gradients: set input_grads or param_grads");
    w->forward_done = false;
    if (target) memcpy(target, seed, itp_count(&w->shape[w->target]) * sizeof *seed);
    for (int v = 0; v < net->n_values; v++) /* what the target does not depend on */
        if (w->grad[v] && w->unwritten[v] && !(w->accumulate && net->values[v].kind == ITP_PARAM))
            memset(w->grad[v], 0, itp_count(&w->shape[v]) * sizeof *seed);
    for (int n = net->n_nodes - 1; n >= 0; n--)
        if (w->runs_back[n]) itp_op_backward(w, n);
    return INTERP_OK;
}

INTERP_API const float *interp_workspace_output(const interp_workspace *w, int i)
{
    return i >= 0 && i < w->net->n_outputs ? w->data[w->net->outputs[i]] : NULL;
}

INTERP_API const float *interp_workspace_target(const interp_workspace *w)
{
    return w->data[w->target];
}

INTERP_API size_t interp_workspace_target_size(const interp_workspace *w)
{
    return itp_count(&w->shape[w->target]) / (size_t)w->desc.batch;
}

INTERP_API const float *interp_workspace_input_grad(const interp_workspace *w, int i)
{
    return i >= 0 && i < w->net->n_inputs ? w->grad[w->net->inputs[i]] : NULL;
}

INTERP_API float *interp_workspace_param_grad(const interp_workspace *w)
{
    return w->param_grad;
}

INTERP_API const float *interp_workspace_kept(const interp_workspace *w)
{
    return w->kept >= 0 ? w->data[w->kept] : NULL;
}

INTERP_API const float *interp_workspace_kept_grad(const interp_workspace *w)
{
    return w->kept >= 0 ? w->grad[w->kept] : NULL;
}

INTERP_API interp_shape interp_workspace_kept_shape(const interp_workspace *w)
{
    interp_shape none;
    memset(&none, 0, sizeof none);
    return w->kept >= 0 ? w->shape[w->kept] : none;
}

/* What a run over many samples takes. */
typedef struct itp_fit {
    interp_workspace_desc work; /* its batch is what is looked for */
    int n;         /* samples in all; those left over after whole batches get a workspace too */
    int most;      /* largest batch */
    bool divides;  /* batches must divide `most`, and what n leaves over that comes in pieces too */
    size_t floats; /* further numbers per sample of a batch */
    size_t reserve; /* further bytes */
} itp_fit;

/* Samples left over when batches of `batch` are taken out of all of them. */
ITP_FN int itp_fit_rest(const itp_fit *f, int batch)
{
    return (f->divides ? f->n % f->most : f->n) % batch;
}

ITP_FN interp_status itp_fit_bytes(interp_ctx *ctx, const interp_net *net, const itp_fit *f,
                                   int batch, size_t *bytes)
{
    interp_workspace_desc w = f->work;
    const int rest = itp_fit_rest(f, batch);
    size_t more = 0;
    w.batch = batch;
    ITP_TRY(interp_workspace_bytes(ctx, net, &w, bytes));
    w.batch = rest;
    if (rest) ITP_TRY(interp_workspace_bytes(ctx, net, &w, &more));
    *bytes = itp_add_size(itp_add_size(*bytes, more), f->reserve);
    if (f->floats)
        more = itp_alloc_cost(itp_mul_size(itp_mul_size(f->floats, (size_t)batch), sizeof(float)));
    if (f->floats) *bytes = itp_add_size(*bytes, more);
    return INTERP_OK;
}

/* The largest batch with which all of it fits what memory is left; 0 with the error set when not even
   one sample does. A fixed batch is all or nothing. */
ITP_FN int itp_fit_most(interp_ctx *ctx, const interp_net *net, const itp_fit *f)
{
    for (int batch = net->fixed_batch ? net->fixed_batch : f->most, k = 1;;) {
        size_t bytes = 0;
        if (itp_fit_bytes(ctx, net, f, batch, &bytes)) return 0;
        if (bytes <= itp_memory_left(ctx)) return batch;
        if (batch == 1 || net->fixed_batch) {
            itp_fail(ctx, INTERP_NO_MEMORY,
                     "the work needs at least %zu bytes, but only %zu are left", bytes,
                     itp_memory_left(ctx));
            return 0;
        }
        do k++;
        while (f->divides && f->most % k);
        batch = f->divides ? f->most / k : batch / 2;
    }
}

/* For work of several passes: weights are packed once if there is memory for them twice. */
ITP_FN interp_status itp_fit_pack(interp_ctx *ctx, const interp_net *net, itp_fit *f, int batch)
{
    size_t bytes = 0;
    f->work.constant_weights = true;
    ITP_TRY(itp_fit_bytes(ctx, net, f, batch, &bytes));
    f->work.constant_weights = bytes <= itp_memory_left(ctx);
    return INTERP_OK;
}

INTERP_API int interp_workspace_fit(interp_ctx *ctx, const interp_net *net,
                                    const interp_workspace_desc *desc, int most)
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    if (desc) fit.work = *desc;
    fit.most = itp_max(1, most);
    return itp_fit_most(ctx, net, &fit);
}

/* Workspaces for whole batches and for what is left over, [1] NULL when nothing is. */
ITP_FN interp_status itp_fit_open(interp_ctx *ctx, const interp_net *net, const itp_fit *f,
                                  int batch, interp_workspace *work[2])
{
    interp_workspace_desc w = f->work;
    w.batch = batch;
    ITP_TRY(interp_workspace_new(ctx, net, &w, &work[0]));
    w.batch = itp_fit_rest(f, batch);
    return w.batch ? interp_workspace_new(ctx, net, &w, &work[1]) : INTERP_OK;
}

INTERP_API interp_status interp_predict(interp_net *net, const float *x, int n, float *y)
{
    interp_ctx *ctx = net->ctx;
    itp_fit fit;
    interp_workspace *w = NULL;
    float *last = NULL; /* a batch filled up with repeats of the last sample */
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "network \"%s\" has %d inputs: use a workspace",
                        net->name, net->n_inputs);
    if (n < 1) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%d samples to predict", n);
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t row = interp_shape_size(&in);
    memset(&fit, 0, sizeof fit);
    fit.most = itp_min(n, 64);
    fit.floats = row;
    const int batch = fit.work.batch = itp_fit_most(ctx, net, &fit);
    if (!batch) return ctx->status;
    if (n > batch) ITP_TRY(itp_fit_pack(ctx, net, &fit, batch));
    interp_status status = interp_workspace_new(ctx, net, &fit.work, &w);
    if (!status && n % batch) {
        last = (float *)interp_alloc(ctx, itp_mul_size((size_t)batch * row, sizeof *last));
        if (!last) status = INTERP_NO_MEMORY;
    }
    for (int at = 0; at < n && !status; at += batch) {
        const int some = itp_min(batch, n - at);
        const float *from = x + (size_t)at * row;
        for (int i = 0; some < batch && i < batch; i++)
            memcpy(last + (size_t)i * row, from + (size_t)itp_min(i, some - 1) * row,
                   row * sizeof *last);
        if (some < batch) from = last;
        status = interp_forward(w, &from);
        if (status) break;
        const size_t out = interp_workspace_target_size(w);
        const float *got = interp_workspace_target(w);
        if (!itp_is_finite(got, (size_t)some * out))
            status = itp_fail(ctx, INTERP_NOT_FINITE,
                              "the output for samples %d to %d is NaN or infinite: look for such "
                              "numbers in the input and the weights",
                              at, at + some - 1);
        else memcpy(y + (size_t)at * out, got, (size_t)some * out * sizeof *y);
    }
    interp_free(ctx, last);
    interp_workspace_free(w);
    return status;
}
#undef ITP_HEAT
#define ITP_HEAT ITP_COLD
/* >>net/layers.c                                                                              */
/* ---- net/layers.c: the builders users call ------------------------------------------------------ */

INTERP_API interp_tensor interp_input(interp_net *net, const char *name, const interp_shape *sample)
{
    if (!itp_net_open(net)) return 0;
    if (sample->rank < 0 || sample->rank >= INTERP_MAX_RANK) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "input: %d dimensions are not supported", sample->rank);
        return 0;
    }
    if (net->n_inputs == ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "more than %d inputs", ITP_MAX_INPUTS);
        return 0;
    }
    interp_shape s;
    memset(&s, 0, sizeof s);
    s.rank = sample->rank + 1;
    s.dim[0] = 1;
    for (int i = 0; i < sample->rank; i++) {
        s.dim[i + 1] = sample->dim[i];
        if (sample->dim[i] < 1) {
            itp_net_fail(net, INTERP_BAD_SHAPE, "input: dimension %d is %d", i, sample->dim[i]);
            return 0;
        }
    }
    if (interp_shape_size(&s) > (size_t)INT_MAX) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "input: more than 2^31 numbers per sample");
        return 0;
    }
    if (!name) name = "input";
    if (itp_find(net, name) >= 0) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two inputs are named \"%s\"", name);
        return 0;
    }
    const int v = itp_add_value(net, name, ITP_INPUT, &s);
    if (v < 0) return 0;
    net->inputs[net->n_inputs++] = v;
    return v + 1;
}

/* A parameter array "layer.what"; fan_in 0 starts it at the constant `start`. -1 on error. */
ITP_FN int itp_add_param(interp_net *net, const char *layer, const char *what, itp_kind kind,
                         const interp_shape *shape, interp_init init, int fan_in, int fan_out,
                         float start)
{
    char name[96];
    snprintf(name, sizeof name, "%.64s%s%s", layer, what ? "." : "", what ? what : "");
    if (itp_find_value(net, name) >= 0) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "two parameters are named \"%s\"", name);
        return -1;
    }
    if (shape->rank < 0 || shape->rank > INTERP_MAX_RANK) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "\"%s\": %d dimensions are not supported", name,
                     shape->rank);
        return -1;
    }
    const size_t n = interp_shape_size(shape);
    if (n > (size_t)INT_MAX) { /* or a negative dimension */
        itp_net_fail(net, INTERP_BAD_SHAPE, "\"%s\" would have more than 2^31 numbers", name);
        return -1;
    }
    const int v = itp_add_value(net, name, kind, shape);
    if (v < 0) return -1;
    itp_value *value = &net->values[v];
    value->data = (float *)itp_calloc(net->ctx, n, sizeof(float));
    if (!value->data) {
        itp_net_error(net);
        return -1;
    }
    value->init = init;
    value->fan_in = fan_in, value->fan_out = fan_out;
    value->start = start;
    return v;
}

ITP_FN interp_shape itp_shape_of(int rank, int a, int b, int c, int d)
{
    interp_shape s;
    s.rank = rank;
    s.dim[0] = a, s.dim[1] = b, s.dim[2] = c, s.dim[3] = d;
    for (int i = 4; i < INTERP_MAX_RANK; i++) s.dim[i] = 1;
    return s;
}

INTERP_API interp_tensor interp_dense(interp_net *net, interp_tensor x, int units,
                                      const interp_dense_desc *desc)
{
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    if (units < 1) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "dense: %d units", units);
        return 0;
    }
    if (itp_tensor_shape(net, x)->rank > 3) x = interp_flatten(net, x);
    if (!x) return 0;
    if (itp_tensor_shape(net, x)->rank < 2) {
        itp_net_fail(net, INTERP_BAD_SHAPE, "dense: input has %d dimensions but needs [N,...]",
                     itp_tensor_shape(net, x)->rank);
        return 0;
    }
    char own[64];
    itp_auto_name(net, "dense", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *s = itp_tensor_shape(net, x);
    const int k = s->dim[s->rank - 1], rank = s->rank;
    const interp_shape ws = itp_shape_of(2, k, units, 1, 1), bs = itp_shape_of(1, units, 1, 1, 1);
    int in[3] = {x - 1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &ws, d.init, k, units, 0);
    if (in[1] >= 0 && !d.no_bias)
        in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &bs, INTERP_INIT_DEFAULT, 0, 0, 0);
    if (net->status) return 0;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = a.beta = 1;
    if (rank == 2) return itp_add_named(net, ITP_OP_GEMM, name, "dense", d.no_bias ? 2 : 3, in, &a);
    const interp_tensor y = itp_add_named(net, ITP_OP_MATMUL, name, "dense", 2, in, NULL);
    return d.no_bias ? y : interp_add(net, y, in[2] + 1);
}

/* Connections of one number of a convolution. */
ITP_FN int itp_fan(size_t taps, int channels)
{
    return (int)itp_min_size(INT_MAX, itp_mul_size(taps, (size_t)itp_max(1, channels)));
}

/* 0 in a pair of sizes: `fallback`, and the second takes the first. */
ITP_FN void itp_pair_default(const int from[2], int fallback, int to[2])
{
    to[0] = from[0] ? from[0] : fallback;
    to[1] = from[1] ? from[1] : to[0];
}

INTERP_API interp_tensor interp_conv2d(interp_net *net, interp_tensor x,
                                       const interp_conv2d_desc *desc)
{
    interp_conv2d_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "conv", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *s = itp_tensor_shape(net, x);
    const int in_channels = s->dim[1], channels = d.channels ? d.channels : in_channels;
    itp_pair_default(d.kernel, 3, a.kernel);
    itp_pair_default(d.stride, 1, a.stride);
    itp_pair_default(d.dilation, 1, a.dilation);
    memcpy(a.pad, d.pad, sizeof a.pad);
    a.same = d.same;
    a.groups = d.groups ? d.groups : 1;
    if (s->rank != 4 || channels < 1 || a.groups < 1 || in_channels % a.groups || a.kernel[0] < 1 ||
        a.kernel[1] < 1) {
        char text[96];
        itp_net_fail(net, INTERP_BAD_SHAPE,
                     "conv2d \"%s\": input %s does not go with %d channels in %d groups", name,
                     itp_shape_text(s, text, sizeof text), channels, a.groups);
        return 0;
    }
    const interp_shape ws =
        itp_shape_of(4, channels, in_channels / a.groups, a.kernel[0], a.kernel[1]);
    const interp_shape bs = itp_shape_of(1, channels, 1, 1, 1);
    const size_t taps = itp_mul_size((size_t)a.kernel[0], (size_t)a.kernel[1]);
    int in[3] = {x - 1, -1, -1};
    in[1] =
        itp_add_param(net, name, "weight", ITP_PARAM, &ws, d.init,
                      itp_fan(taps, in_channels / a.groups), itp_fan(taps, channels / a.groups), 0);
    if (in[1] >= 0 && !d.no_bias)
        in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &bs, INTERP_INIT_DEFAULT, 0, 0, 0);
    return itp_add_named(net, ITP_OP_CONV, name, "conv", d.no_bias ? 2 : 3, in, &a);
}

INTERP_API interp_tensor interp_pool2d(interp_net *net, interp_tensor x,
                                       const interp_pool2d_desc *desc)
{
    interp_pool2d_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    const int in = x - 1;
    if (d.kind == INTERP_POOL_GLOBAL_AVERAGE || d.kind == INTERP_POOL_GLOBAL_MAX)
        return itp_add_named(net,
                             d.kind == INTERP_POOL_GLOBAL_MAX ? ITP_OP_GLOBAL_MAX_POOL
                                                              : ITP_OP_GLOBAL_AVERAGE_POOL,
                             d.name, "pool", 1, &in, &a);
    itp_pair_default(d.kernel, 2, a.kernel);
    a.stride[0] = d.stride[0] ? d.stride[0] : a.kernel[0];
    a.stride[1] = d.stride[1] ? d.stride[1] : d.stride[0] ? d.stride[0] : a.kernel[1];
    a.dilation[0] = a.dilation[1] = 1;
    memcpy(a.pad, d.pad, sizeof a.pad);
    a.same = d.same;
    a.ceil_mode = d.ceil_mode;
    a.count_include_pad = d.count_include_pad;
    return itp_add_named(net, d.kind == INTERP_POOL_AVERAGE ? ITP_OP_AVERAGE_POOL : ITP_OP_MAX_POOL,
                         d.name, "pool", 1, &in, &a);
}

INTERP_API interp_tensor interp_activate(interp_net *net, interp_tensor x, interp_activation kind,
                                         float alpha)
{
    static const struct {
        int op;
        const char *stem;
        float alpha, beta;
    } rows[] = {{ITP_OP_RELU, "relu", 0, 0},
                {ITP_OP_LEAKY_RELU, "leaky", 0.01f, 0},
                {ITP_OP_ELU, "elu", 1, 0},
                {ITP_OP_SELU, "selu", 0, 0},
                {ITP_OP_SOFTPLUS, "softplus", 0, 0},
                {ITP_OP_SIGMOID, "sigmoid", 0, 0},
                {ITP_OP_TANH, "tanh", 0, 0},
                {ITP_OP_SILU, "silu", 0, 0},
                {ITP_OP_GELU, "gelu", 0, 0},
                {ITP_OP_GELU_TANH, "gelu", 0, 0},
                {ITP_OP_HARD_SWISH, "hardswish", 0, 0},
                {ITP_OP_HARD_SIGMOID, "hardsigmoid", 0.2f, 0.5f},
                {ITP_OP_CLIP, "relu6", 0, 6}};
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    if ((unsigned)kind >= sizeof rows / sizeof *rows) {
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "activation %d is not known", (int)kind);
        return 0;
    }
    const int in = x - 1;
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = alpha != 0 ? alpha : rows[kind].alpha;
    a.beta = rows[kind].beta;
    return itp_add_named(net, rows[kind].op, NULL, rows[kind].stem, 1, &in, &a);
}

INTERP_API interp_tensor interp_relu(interp_net *net, interp_tensor x)
{
    return interp_activate(net, x, INTERP_RELU, 0);
}

INTERP_API interp_tensor interp_batch_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc)
{
    interp_norm_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "bn", own);
    const char *name = d.name ? d.name : own;
    const interp_shape c = itp_shape_of(1, itp_tensor_shape(net, x)->dim[1], 1, 1, 1);
    int in[5] = {x - 1, -1, -1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &c, INTERP_INIT_DEFAULT, 0, 0, 1);
    in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &c, INTERP_INIT_DEFAULT, 0, 0, 0);
    in[3] = itp_add_param(net, name, "running_mean", ITP_BUFFER, &c, INTERP_INIT_DEFAULT, 0, 0, 0);
    in[4] = itp_add_param(net, name, "running_var", ITP_BUFFER, &c, INTERP_INIT_DEFAULT, 0, 0, 1);
    a.epsilon = d.epsilon > 0 ? d.epsilon : 1e-5f;
    a.momentum = d.momentum > 0 ? d.momentum : 0.9f;
    return itp_add_named(net, ITP_OP_BATCH_NORM, name, "bn", 5, in, &a);
}

INTERP_API interp_tensor interp_layer_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc)
{
    interp_norm_desc d;
    itp_attrs a;
    memset(&d, 0, sizeof d);
    memset(&a, 0, sizeof a);
    if (desc) d = *desc;
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    char own[64];
    itp_auto_name(net, "ln", own);
    const char *name = d.name ? d.name : own;
    const interp_shape *xs = itp_tensor_shape(net, x);
    const interp_shape s = itp_shape_of(1, xs->rank ? xs->dim[xs->rank - 1] : 1, 1, 1, 1);
    int in[3] = {x - 1, -1, -1};
    in[1] = itp_add_param(net, name, "weight", ITP_PARAM, &s, INTERP_INIT_DEFAULT, 0, 0, 1);
    in[2] = itp_add_param(net, name, "bias", ITP_PARAM, &s, INTERP_INIT_DEFAULT, 0, 0, 0);
    a.epsilon = d.epsilon > 0 ? d.epsilon : 1e-5f;
    a.axis = -1;
    return itp_add_named(net, ITP_OP_LAYER_NORM, name, "ln", 3, in, &a);
}

/* A node without parameters over n tensors. */
ITP_FN interp_tensor itp_plain(interp_net *net, int op, const char *stem, int n,
                               const interp_tensor *x, const itp_attrs *a)
{
    int in[ITP_MAX_INPUTS];
    if (!itp_tensors_ok(net, itp_min(n, ITP_MAX_INPUTS), x)) return 0;
    for (int i = 0; i < n && i < ITP_MAX_INPUTS; i++) in[i] = x[i] - 1;
    return itp_add_named(net, op, NULL, stem, n, in, a);
}

ITP_FN interp_tensor itp_with_axis(interp_net *net, int op, const char *stem, int n,
                                   const interp_tensor *x, int axis)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis;
    return itp_plain(net, op, stem, n, x, &a);
}

INTERP_API interp_tensor interp_softmax(interp_net *net, interp_tensor x, int axis)
{
    return itp_with_axis(net, ITP_OP_SOFTMAX, "softmax", 1, &x, axis);
}

INTERP_API interp_tensor interp_log_softmax(interp_net *net, interp_tensor x, int axis)
{
    return itp_with_axis(net, ITP_OP_LOG_SOFTMAX, "logsoftmax", 1, &x, axis);
}

INTERP_API interp_tensor interp_add(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_ADD, "add", 2, x, NULL);
}

INTERP_API interp_tensor interp_sub(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_SUB, "sub", 2, x, NULL);
}

INTERP_API interp_tensor interp_mul(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_MUL, "mul", 2, x, NULL);
}

INTERP_API interp_tensor interp_div(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_DIV, "div", 2, x, NULL);
}

INTERP_API interp_tensor interp_constant(interp_net *net, const interp_shape *shape, const float *x)
{
    if (!itp_net_open(net)) return 0;
    char name[64];
    itp_auto_name(net, "const", name);
    const int v = itp_add_param(net, name, NULL, ITP_CONST, shape, INTERP_INIT_DEFAULT, 0, 0, 0);
    if (v < 0) return 0;
    memcpy(net->values[v].data, x, interp_shape_size(shape) * sizeof *x);
    return v + 1;
}

INTERP_API interp_tensor interp_parameter(interp_net *net, const char *name,
                                          const interp_shape *shape, interp_init init, int fan_in,
                                          int fan_out)
{
    if (!itp_net_open(net)) return 0;
    char own[64];
    itp_auto_name(net, "param", own);
    return itp_add_param(net, name ? name : own, NULL, ITP_PARAM, shape, init, itp_max(1, fan_in),
                         itp_max(1, fan_out), 0) +
           1;
}

INTERP_API interp_tensor interp_concat(interp_net *net, int n, const interp_tensor *x, int axis)
{
    if (net && n < 1) itp_net_fail(net, INTERP_BAD_ARGUMENT, "concat: %d tensors", n);
    return itp_with_axis(net, ITP_OP_CONCAT, "concat", n, x, axis);
}

INTERP_API interp_tensor interp_reshape(interp_net *net, interp_tensor x, const interp_shape *shape)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *shape;
    return itp_plain(net, ITP_OP_RESHAPE, "reshape", 1, &x, &a);
}

INTERP_API interp_tensor interp_flatten(interp_net *net, interp_tensor x)
{
    return itp_with_axis(net, ITP_OP_FLATTEN, "flatten", 1, &x, 1);
}

INTERP_API interp_tensor interp_transpose(interp_net *net, interp_tensor x, const int *perm)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    memcpy(a.perm, perm, (size_t)itp_tensor_shape(net, x)->rank * sizeof *perm);
    return itp_plain(net, ITP_OP_TRANSPOSE, "transpose", 1, &x, &a);
}

INTERP_API interp_tensor interp_slice(interp_net *net, interp_tensor x, int axis, int start,
                                      int length, bool drop)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.axis = axis, a.start = start, a.length = length, a.drop = drop;
    return itp_plain(net, ITP_OP_SLICE, "slice", 1, &x, &a);
}

INTERP_API interp_tensor interp_dropout(interp_net *net, interp_tensor x, float p)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.alpha = p;
    if (net && !(p >= 0 && p < 1))
        itp_net_fail(net, INTERP_BAD_ARGUMENT, "dropout: probability %g is not in [0, 1)",
                     (double)p);
    return itp_plain(net, ITP_OP_DROPOUT, "dropout", 1, &x, &a);
}

INTERP_API interp_tensor interp_matmul(interp_net *net, interp_tensor a, interp_tensor b)
{
    const interp_tensor x[2] = {a, b};
    return itp_plain(net, ITP_OP_MATMUL, "matmul", 2, x, NULL);
}

/* [N,T,D] to [N,heads,T,D/heads] */
ITP_FN interp_tensor itp_split_heads(interp_net *net, interp_tensor x, int heads, const int *perm)
{
    const interp_shape *s = itp_tensor_shape(net, x);
    interp_shape split = itp_shape_of(4, 0, s->dim[1], heads, s->dim[2] / heads);
    return interp_transpose(net, interp_reshape(net, x, &split), perm);
}

INTERP_API interp_tensor interp_self_attention(interp_net *net, interp_tensor x, int heads)
{
    static const int perm_rows[4] = {0, 2, 1, 3}, perm_columns[4] = {0, 2, 3, 1};
    if (!itp_tensors_ok(net, 1, &x)) return 0;
    const interp_shape s = *itp_tensor_shape(net, x);
    if (s.rank != 3 || heads < 1 || s.dim[2] % heads) {
        char text[96];
        itp_net_fail(net, INTERP_BAD_SHAPE, "self-attention: %d heads do not divide input %s",
                     heads, itp_shape_text(&s, text, sizeof text));
        return 0;
    }
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    d.init = INTERP_GLOROT_UNIFORM;
    interp_tensor q = interp_dense(net, x, s.dim[2], &d), k = interp_dense(net, x, s.dim[2], &d);
    interp_tensor v = interp_dense(net, x, s.dim[2], &d);
    if (!v) return 0;
    q = itp_split_heads(net, q, heads, perm_rows);
    k = itp_split_heads(net, k, heads, perm_columns);
    v = itp_split_heads(net, v, heads, perm_rows);
    const interp_shape one = itp_shape_of(0, 1, 1, 1, 1);
    const float scale = (float)(1 / sqrt((double)s.dim[2] / heads));
    interp_tensor score =
        interp_mul(net, interp_matmul(net, q, k), interp_constant(net, &one, &scale));
    interp_tensor y = interp_matmul(net, interp_softmax(net, score, -1), v);
    const interp_shape joined = itp_shape_of(3, 0, s.dim[1], s.dim[2], 1);
    y = interp_reshape(net, interp_transpose(net, y, perm_rows), &joined);
    return interp_dense(net, y, s.dim[2], &d);
}

INTERP_API void interp_output(interp_net *net, interp_tensor x, const char *name)
{
    if (!itp_tensors_ok(net, 1, &x)) return;
    if (net->n_outputs == ITP_MAX_INPUTS) {
        itp_net_fail(net, INTERP_UNSUPPORTED, "more than %d outputs", ITP_MAX_INPUTS);
        return;
    }
    if (name) {
        const int other = itp_find_value(net, name);
        if (other >= 0 && other != x - 1) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT, "two values are named \"%s\"", name);
            return;
        }
        char *copy = itp_strdup(net->ctx, name);
        if (!copy) {
            itp_net_error(net);
            return;
        }
        interp_free(net->ctx, net->values[x - 1].name);
        net->values[x - 1].name = copy;
    }
    net->outputs[net->n_outputs++] = x - 1;
}

/* ---- the end of construction */

ITP_FN void itp_init_value(const itp_value *v, int index, uint64_t seed, float *out)
{
    const size_t n = interp_shape_size(&v->shape);
    const double fan_in = itp_max(1, v->fan_in), fan = fan_in + itp_max(1, v->fan_out);
    double sd = 0, limit = 0;
    if (!v->fan_in) {
        itp_fill(out, n, v->start);
        return;
    }
    switch (v->init) {
    case INTERP_INIT_DEFAULT:
    case INTERP_HE_NORMAL: sd = sqrt(2 / fan_in); break;
    case INTERP_HE_UNIFORM: limit = sqrt(6 / fan_in); break;
    case INTERP_GLOROT_NORMAL: sd = sqrt(2 / fan); break;
    case INTERP_GLOROT_UNIFORM: limit = sqrt(6 / fan); break;
    case INTERP_UNIFORM: limit = sqrt(1 / fan_in); break;
    case INTERP_TRUNCATED_NORMAL: sd = 0.1; break;
    }
    const uint64_t stream = 0x1000000u + (uint64_t)index; /* apart from those of training */
    for (size_t i = 0; i < n; i++) {
        if (sd > 0) {
            float z = interp_random_normal(seed, stream, i);
            for (uint64_t draw = 1; v->init == INTERP_TRUNCATED_NORMAL && (z > 2 || z < -2); draw++)
                z = interp_random_normal(seed, stream + draw * 0x100000000u, i);
            out[i] = (float)sd * z;
        } else {
            out[i] = (float)limit * (2 * interp_random_uniform(seed, stream, i) - 1);
        }
    }
}

/* Moves the trained parameters into one flat array. */
ITP_FN interp_status itp_net_flatten(interp_net *net)
{
    size_t n = 0;
    int count = 0;
    for (int i = 0; i < net->n_values; i++)
        if (net->values[i].kind == ITP_PARAM) {
            n += interp_shape_size(&net->values[i].shape);
            count++;
        }
    float *flat = (float *)interp_alloc(net->ctx, itp_mul_size(n, sizeof *flat));
    int *params = (int *)interp_alloc(net->ctx, (size_t)count * sizeof *params);
    if (!flat || !params) {
        interp_free(net->ctx, flat);
        interp_free(net->ctx, params);
        return INTERP_NO_MEMORY;
    }
    net->n_flat = 0;
    net->n_params = 0;
    for (int i = 0; i < net->n_values; i++) {
        itp_value *v = &net->values[i];
        if (v->kind != ITP_PARAM) continue;
        const size_t size = interp_shape_size(&v->shape);
        v->offset = net->n_flat;
        memcpy(flat + v->offset, v->data, size * sizeof *flat);
        interp_free(net->ctx, v->data);
        v->data = flat + v->offset;
        net->n_flat += size;
        params[net->n_params++] = i;
    }
    net->flat = flat;
    net->params = params;
    return INTERP_OK;
}

/* Checks the graph and takes parameters as they are. */
ITP_FN interp_status itp_net_finish(interp_net *net)
{
    if (net->status) return itp_fail(net->ctx, net->status, "%s", net->error);
    if (!itp_net_open(net)) return net->status;
    if (!net->n_outputs && net->n_nodes)
        net->outputs[net->n_outputs++] = net->nodes[net->n_nodes - 1].out;
    if (!net->n_inputs || !net->n_outputs)
        return itp_net_fail(net, INTERP_BAD_ARGUMENT, "network \"%s\" has no input or no output",
                            net->name);
    ITP_TRY(itp_net_flatten(net));
    net->built = true;
    return INTERP_OK;
}

INTERP_API interp_status interp_net_build(interp_net *net, uint64_t seed)
{
    if (!net) return INTERP_NO_MEMORY;
    ITP_TRY(itp_net_finish(net));
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (v->kind == ITP_PARAM || v->kind == ITP_BUFFER) itp_init_value(v, i, seed, v->data);
    }
    return INTERP_OK;
}

/* ---- description */

INTERP_API interp_net_info interp_net_describe(const interp_net *net)
{
    interp_net_info d;
    memset(&d, 0, sizeof d);
    d.n_nodes = net->n_nodes, d.n_inputs = net->n_inputs, d.n_outputs = net->n_outputs;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        const size_t n = interp_shape_size(&v->shape);
        if (v->kind == ITP_PARAM) d.n_parameters += n;
        if (v->kind == ITP_BUFFER || v->kind == ITP_CONST) d.n_buffers += n;
    }
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_op *row = itp_op_row(net->nodes[i].op);
        if (row->macs) d.macs += row->macs(net, &net->nodes[i]) / itp_max(1, net->fixed_batch);
    }
    return d;
}

/* A value's shape without the batch. */
ITP_FN interp_shape itp_sample_shape(const interp_net *net, int value)
{
    interp_shape s = net->values[value].shape;
    for (int i = 0; i + 1 < s.rank; i++) s.dim[i] = s.dim[i + 1];
    if (s.rank) s.dim[--s.rank] = 1;
    return s;
}

INTERP_API interp_shape interp_net_input_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->inputs[i]);
}

INTERP_API interp_shape interp_net_output_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->outputs[i]);
}

INTERP_API const char *interp_net_input_name(const interp_net *net, int i)
{
    return net->values[net->inputs[i]].name;
}

INTERP_API const char *interp_net_output_name(const interp_net *net, int i)
{
    return net->values[net->outputs[i]].name;
}

INTERP_API const char *interp_net_node_name(const interp_net *net, int i)
{
    return net->nodes[i].name;
}

INTERP_API const char *interp_net_node_op(const interp_net *net, int i)
{
    return itp_op_row(net->nodes[i].op)->name;
}

INTERP_API interp_shape interp_net_node_shape(const interp_net *net, int i)
{
    return itp_sample_shape(net, net->nodes[i].out);
}

INTERP_API int interp_net_fixed_batch(const interp_net *net)
{
    return net->fixed_batch;
}

INTERP_API float *interp_net_parameters(interp_net *net)
{
    return net->flat;
}

INTERP_API int interp_net_parameter_count(const interp_net *net)
{
    return net->n_params;
}

INTERP_API interp_parameter_info interp_net_parameter(const interp_net *net, int i)
{
    const itp_value *v = &net->values[net->params[i]];
    interp_parameter_info p;
    p.name = v->name;
    p.shape = v->shape;
    p.offset = v->offset;
    return p;
}
/* >>net/arch.c                                                                                */
/* ---- net/arch.c: networks by name ----------------------------------------------------------------- */

/* A convolution in one line. pad -1: same. */
ITP_FN interp_tensor itp_arch_conv(interp_net *net, interp_tensor x, int channels, int kernel,
                                   int stride, int pad, int groups, bool bias)
{
    interp_conv2d_desc d;
    memset(&d, 0, sizeof d);
    d.channels = channels;
    d.kernel[0] = kernel;
    d.stride[0] = stride;
    d.same = pad < 0;
    for (int i = 0; i < 4; i++) d.pad[i] = pad < 0 ? 0 : pad;
    d.groups = groups;
    d.no_bias = !bias;
    return interp_conv2d(net, x, &d);
}

/* Pooling; a window over an image that has become less than two pixels high or wide is left out.
   kernel 0: a global one. */
ITP_FN interp_tensor itp_arch_pool(interp_net *net, interp_tensor x, interp_pool kind, int kernel,
                                   int stride, int pad)
{
    interp_pool2d_desc d;
    const interp_shape *s = x ? itp_tensor_shape(net, x) : NULL;
    if (s && kernel && (s->dim[2] < 2 || s->dim[3] < 2)) return x;
    memset(&d, 0, sizeof d);
    d.kind = kind;
    d.kernel[0] = kernel;
    d.stride[0] = stride;
    for (int i = 0; i < 4; i++) d.pad[i] = pad;
    return interp_pool2d(net, x, &d);
}

ITP_FN interp_tensor itp_bn_relu(interp_net *net, interp_tensor x)
{
    return interp_relu(net, interp_batch_norm(net, x, NULL));
}

ITP_FN interp_tensor itp_last_dense(interp_net *net, interp_tensor x, int n_classes)
{
    interp_dense_desc d;
    memset(&d, 0, sizeof d);
    d.init = INTERP_GLOROT_UNIFORM;
    return interp_dense(net, x, n_classes, &d);
}

ITP_FN interp_tensor itp_arch_linear(interp_net *net, interp_tensor x, int n_classes)
{
    return itp_last_dense(net, interp_flatten(net, x), n_classes);
}

ITP_FN interp_tensor itp_arch_mlp(interp_net *net, interp_tensor x, int n_classes)
{
    x = interp_relu(net, interp_dense(net, interp_flatten(net, x), 64, NULL));
    return itp_last_dense(net, x, n_classes);
}

/* "784-100-50-10" */
ITP_FN interp_tensor itp_arch_widths(interp_net *net, interp_tensor x, int n_classes,
                                     const char *widths)
{
    enum { most = 32 };
    int width[most], n = 0;
    const char *c = widths;
    for (;;) {
        long w = 0;
        int digits = 0;
        for (; *c >= '0' && *c <= '9' && digits < 9; c++, digits++) w = w * 10 + (*c - '0');
        if (!digits || w < 1 || w > 1 << 24 || n == most || (*c && *c != '-')) {
            itp_net_fail(net, INTERP_BAD_ARGUMENT,
                         "mlp:%.60s: give up to %d widths like 784-100-50-10", widths, most);
            return 0;
        }
        width[n++] = (int)w;
        if (!*c++) break;
    }
    x = interp_flatten(net, x);
    const int in = x ? itp_tensor_shape(net, x)->dim[1] : 0;
    if (n < 2 || width[0] != in || width[n - 1] != n_classes) {
        itp_net_fail(
            net, INTERP_BAD_ARGUMENT,
            "mlp:%.60s: the data has %d inputs and %d classes, so the widths must begin with "
            "%d and end with %d",
            widths, in, n_classes, in, n_classes);
        return 0;
    }
    for (int i = 1; i + 1 < n; i++) x = interp_relu(net, interp_dense(net, x, width[i], NULL));
    return itp_last_dense(net, x, n_classes);
}

/* The default for small images: two blocks of two convolutions, the image halved after each. */
ITP_FN interp_tensor itp_arch_cnn(interp_net *net, interp_tensor x, int n_classes)
{
    for (int block = 0; block < 2; block++) {
        const int channels = block ? 64 : 32;
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, false));
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, false));
        const interp_shape *s = x ? itp_tensor_shape(net, x) : NULL;
        if (s && s->dim[2] > 3 && s->dim[3] > 3)
            x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    }
    x = interp_dropout(net, interp_flatten(net, x), 0.25f);
    return itp_last_dense(net, x, n_classes);
}

/* As in Lan et al. 2019: 20 and 40 filters of 5x5, 400 units. */
ITP_FN interp_tensor itp_arch_lenet(interp_net *net, interp_tensor x, int n_classes)
{
    x = interp_relu(net, itp_arch_conv(net, x, 20, 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_relu(net, itp_arch_conv(net, x, 40, 5, 1, 2, 1, true));
    x = itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_dropout(net, interp_flatten(net, x), 0.25f);
    x = interp_relu(net, interp_dense(net, x, 400, NULL));
    return itp_last_dense(net, interp_dropout(net, x, 0.5f), n_classes);
}

/* Springenberg et al. 2015, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_allcnn(interp_net *net, interp_tensor x, int n_classes)
{
    for (int block = 0; block < 2; block++) {
        const int channels = block ? 192 : 96;
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, 1, -1, 1, true));
        x = interp_dropout(net, itp_arch_conv(net, x, channels, 3, 2, -1, 1, true), 0.5f);
    }
    x = itp_bn_relu(net, itp_arch_conv(net, x, 192, 3, 1, -1, 1, true));
    x = itp_bn_relu(net, itp_arch_conv(net, x, 192, 1, 1, 0, 1, true));
    x = itp_arch_conv(net, x, n_classes, 1, 1, 0, 1, true);
    return interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
}

/* He et al. 2016 for small images: 3 stages of 3 blocks; shortcuts as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_resnet20(interp_net *net, interp_tensor x, int n_classes)
{
    x = itp_bn_relu(net, itp_arch_conv(net, x, 16, 3, 1, -1, 1, true));
    for (int stage = 0; stage < 3; stage++)
        for (int block = 0; block < 3; block++) {
            const int channels = 16 << stage, stride = stage && !block ? 2 : 1;
            interp_tensor y =
                itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, stride, -1, 1, true));
            y = interp_batch_norm(net, itp_arch_conv(net, y, channels, 3, 1, -1, 1, true), NULL);
            if (stride > 1) x = itp_arch_conv(net, x, channels, 1, stride, -1, 1, true);
            x = interp_relu(net, interp_add(net, x, y));
        }
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, x, n_classes);
}

/* Whether an input is too small for the strided first layers of the ImageNet networks. */
ITP_FN bool itp_is_small(const interp_net *net, interp_tensor x)
{
    if (!x) return true;
    const interp_shape *s = itp_tensor_shape(net, x);
    return s->rank != 4 || s->dim[2] < 65 || s->dim[3] < 65;
}

/* He et al. 2016; images below 65 pixels keep their size at first. */
ITP_FN interp_tensor itp_arch_resnet18(interp_net *net, interp_tensor x, int n_classes)
{
    if (itp_is_small(net, x)) {
        x = itp_bn_relu(net, itp_arch_conv(net, x, 64, 3, 1, 1, 1, false));
    } else {
        x = itp_bn_relu(net, itp_arch_conv(net, x, 64, 7, 2, 3, 1, false));
        x = itp_arch_pool(net, x, INTERP_POOL_MAX, 3, 2, 1);
    }
    for (int stage = 0; stage < 4; stage++)
        for (int block = 0; block < 2; block++) {
            const int channels = 64 << stage, stride = stage && !block ? 2 : 1;
            interp_tensor y =
                itp_bn_relu(net, itp_arch_conv(net, x, channels, 3, stride, 1, 1, false));
            y = interp_batch_norm(net, itp_arch_conv(net, y, channels, 3, 1, 1, 1, false), NULL);
            if (stride > 1)
                x = interp_batch_norm(net, itp_arch_conv(net, x, channels, 1, stride, 0, 1, false),
                                      NULL);
            x = interp_relu(net, interp_add(net, y, x));
        }
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, x, n_classes);
}

/* Half the channels of VGG-11, as in Lan et al. 2019. */
ITP_FN interp_tensor itp_arch_vgg_half(interp_net *net, interp_tensor x, int n_classes)
{
    static const int channels[] = {32, 0, 64, 0, 128, 128, 0, 256, 256, 0}; /* 0: pool */
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++)
        x = channels[i] ? interp_relu(net, itp_arch_conv(net, x, channels[i], 3, 1, -1, 1, true))
                        : itp_arch_pool(net, x, INTERP_POOL_MAX, 2, 2, 0);
    x = interp_flatten(net, x);
    for (int i = 0; i < 2; i++)
        x = interp_dropout(net, interp_relu(net, interp_dense(net, x, 512, NULL)), 0.5f);
    return itp_last_dense(net, x, n_classes);
}

/* One stage of mobile blocks: expansion, channels, repeats, first stride, kernel. */
typedef struct itp_mobile_stage {
    int expand, channels, repeats, stride, kernel;
} itp_mobile_stage;

/* Expand by 1x1, depthwise, squeeze and excite (EfficientNet), project by 1x1, add. */
ITP_FN interp_tensor itp_mobile_block(interp_net *net, interp_tensor x, const itp_mobile_stage *s,
                                      int stride, bool efficient)
{
    if (!x) return 0;
    const interp_activation f = efficient ? INTERP_SILU : INTERP_RELU6;
    const int in = itp_tensor_shape(net, x)->dim[1], wide = in * s->expand;
    interp_tensor y = x;
    if (s->expand > 1)
        y = interp_activate(
            net, interp_batch_norm(net, itp_arch_conv(net, y, wide, 1, 1, 0, 1, false), NULL), f,
            0);
    y = itp_arch_conv(net, y, wide, s->kernel, stride, s->kernel / 2, wide, false);
    y = interp_activate(net, interp_batch_norm(net, y, NULL), f, 0);
    if (efficient) {
        interp_tensor g = itp_arch_pool(net, y, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0);
        g = interp_activate(net, itp_arch_conv(net, g, itp_max(1, in / 4), 1, 1, 0, 1, true), f, 0);
        g = interp_activate(net, itp_arch_conv(net, g, wide, 1, 1, 0, 1, true), INTERP_SIGMOID, 0);
        y = interp_mul(net, y, g);
    }
    y = interp_batch_norm(net, itp_arch_conv(net, y, s->channels, 1, 1, 0, 1, false), NULL);
    return stride == 1 && in == s->channels ? interp_add(net, y, x) : y;
}

ITP_FN interp_tensor itp_arch_mobile(interp_net *net, interp_tensor x, int n_classes,
                                     const itp_mobile_stage *stages, int n_stages, bool efficient)
{
    const interp_activation f = efficient ? INTERP_SILU : INTERP_RELU6;
    const bool small = itp_is_small(net, x); /* the first two halvings are left out */
    int halvings = 1;
    x = itp_arch_conv(net, x, 32, 3, small ? 1 : 2, 1, 1, false);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), f, 0);
    for (int i = 0; i < n_stages; i++)
        for (int r = 0; r < stages[i].repeats; r++) {
            int stride = r ? 1 : stages[i].stride;
            if (stride > 1 && halvings++ < 2 && small) stride = 1;
            x = itp_mobile_block(net, x, &stages[i], stride, efficient);
        }
    x = itp_arch_conv(net, x, 1280, 1, 1, 0, 1, false);
    x = interp_activate(net, interp_batch_norm(net, x, NULL), f, 0);
    x = interp_flatten(net, itp_arch_pool(net, x, INTERP_POOL_GLOBAL_AVERAGE, 0, 0, 0));
    return itp_last_dense(net, interp_dropout(net, x, 0.2f), n_classes);
}

/* Sandler et al. 2018. */
ITP_FN interp_tensor itp_arch_mobilenet(interp_net *net, interp_tensor x, int n_classes)
{
    static const itp_mobile_stage stages[] = {{1, 16, 1, 1, 3}, {6, 24, 2, 2, 3}, {6, 32, 3, 2, 3},
                                              {6, 64, 4, 2, 3}, {6, 96, 3, 1, 3}, {6, 160, 3, 2, 3},
                                              {6, 320, 1, 1, 3}};
    return itp_arch_mobile(net, x, n_classes, stages, 7, false);
}

/* Tan and Le 2019. */
ITP_FN interp_tensor itp_arch_efficientnet(interp_net *net, interp_tensor x, int n_classes)
{
    static const itp_mobile_stage stages[] = {
        {1, 16, 1, 1, 3},  {6, 24, 2, 2, 3},  {6, 40, 2, 2, 5}, {6, 80, 3, 2, 3},
        {6, 112, 3, 1, 5}, {6, 192, 4, 2, 5}, {6, 320, 1, 1, 3}};
    return itp_arch_mobile(net, x, n_classes, stages, 7, true);
}

typedef struct itp_arch {
    const char *name;
    interp_tensor (*build)(interp_net *net, interp_tensor x, int n_classes);
    bool image; /* needs [C,H,W] */
} itp_arch;

ITP_FN const itp_arch *itp_arch_find(const char *name)
{
    static const itp_arch rows[] = {{"linear", itp_arch_linear, false},
                                    {"mlp", itp_arch_mlp, false},
                                    {"cnn", itp_arch_cnn, true},
                                    {"lenet", itp_arch_lenet, true},
                                    {"allcnn", itp_arch_allcnn, true},
                                    {"resnet20", itp_arch_resnet20, true},
                                    {"resnet18", itp_arch_resnet18, true},
                                    {"vgg-half", itp_arch_vgg_half, true},
                                    {"mobilenet-v2", itp_arch_mobilenet, true},
                                    {"efficientnet-b0", itp_arch_efficientnet, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].name, name)) return &rows[i];
    return NULL;
}

INTERP_API interp_status interp_net_arch(interp_ctx *ctx, const char *arch,
                                         const interp_shape *sample, int n_classes, uint64_t seed,
                                         interp_net **out)
{
    const bool mlp = !strncmp(arch, "mlp:", 4);
    const itp_arch *row = itp_arch_find(arch);
    if (!mlp && !row)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "architecture \"%.60s\" is not known: linear, mlp, mlp:WIDTH-...-WIDTH, cnn, lenet, "
            "allcnn, resnet20, resnet18, vgg-half, mobilenet-v2, efficientnet-b0",
            arch);
    if (n_classes < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "%s: a network for %d classes: the data has no labels, or say how many",
                        arch, n_classes);
    if (row && row->image && sample->rank != 3) {
        char text[96];
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "%s needs images [C,H,W] but samples are %s: use linear or mlp:...", arch,
                        itp_shape_text(sample, text, sizeof text));
    }
    interp_net *net = interp_net_new(ctx, arch);
    if (!net) return INTERP_NO_MEMORY;
    interp_tensor x = interp_input(net, NULL, sample);
    x = mlp ? itp_arch_widths(net, x, n_classes, arch + 4) : row->build(net, x, n_classes);
    interp_output(net, x, "logits");
    const interp_status status = interp_net_build(net, seed);
    if (status) interp_net_free(net);
    else *out = net;
    return status;
}
/* >>net/loss.c                                                                                */
/* ---- net/loss.c: losses and their gradients ------------------------------------------------------ */
#if !defined(INTERP_NO_TRAIN)

/* Target of output j of sample i. */
ITP_FN double itp_loss_target(const int32_t *y, const float *soft, float smoothing, int i, int j,
                              int k)
{
    if (soft) return (double)soft[(size_t)i * (size_t)k + (size_t)j];
    const double hot = y[i] == j ? 1 : 0;
    return smoothing > 0 ? hot * (1 - (double)smoothing) + (double)smoothing / k : hot;
}

/* Loss of one sample; g: NULL or its gradient. */
ITP_FN double itp_loss_sample(const itp_kernels *kernels, interp_loss loss, const float *x, int i,
                              int k, const int32_t *y, const float *soft, float smoothing, float *g)
{
    double sum = 0;
    if (loss == INTERP_CROSS_ENTROPY) { /* sum_j t_j (log sum exp(x) - x_j) */
        double total = 0, norm = 0;
        const float top = kernels->max((size_t)k, x);
        float part[256];
        for (int at = 0; at < k; at += 256)
            norm += kernels->exp_sum((size_t)itp_min(256, k - at), x + at, top, g ? g + at : part);
        const double lse = (double)top + log(norm);
        for (int j = 0; j < k; j++) {
            const double t = itp_loss_target(y, soft, smoothing, i, j, k);
            total += t;
            if (t != 0) sum += t * (lse - (double)x[j]);
        }
        for (int j = 0; g && j < k; j++)
            g[j] =
                (float)(total * (double)g[j] / norm - itp_loss_target(y, soft, smoothing, i, j, k));
        return sum;
    }
    for (int j = 0; j < k; j++) {
        const double t = itp_loss_target(y, soft, smoothing, i, j, k), v = (double)x[j];
        if (loss == INTERP_MSE) {
            sum += (v - t) * (v - t) / k;
            if (g) g[j] = (float)(2 * (v - t) / k);
        } else { /* max(v,0) - v t + log(1 + exp(-|v|)) */
            const double e = exp(-fabs(v));
            sum += ((v > 0 ? v : 0) - v * t + log1p(e)) / k;
            if (g) g[j] = (float)(((v >= 0 ? 1 / (1 + e) : e / (1 + e)) - t) / k);
        }
    }
    return sum;
}

INTERP_API double interp_loss_grad(interp_ctx *ctx, interp_loss loss, const float *logits, int n,
                                   int k, const int32_t *y, const float *soft, float smoothing,
                                   float *grad, double *per_sample)
{
    double total = 0;
    for (int i = 0; i < n; i++) {
        const size_t at = (size_t)i * (size_t)k;
        const double one = itp_loss_sample(ctx->k, loss, logits + at, i, k, y, soft, smoothing,
                                           grad ? grad + at : NULL);
        if (per_sample) per_sample[i] = one;
        total += one;
    }
    if (grad) ctx->k->scale_add((size_t)n * (size_t)k, 1 / (float)n, grad, 0, grad);
    return total / n;
}
#endif
/* >>net/metrics.c                                                                             */
/* ---- net/metrics.c: confusion matrix and what follows from it ------------------------------------ */

INTERP_API int interp_argmax(const float *x, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++)
        if (x[i] == x[i] && (best < 0 || x[i] > x[best])) best = i;
    return best;
}

ITP_FN double itp_ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

INTERP_API interp_status interp_confusion_count(interp_ctx *ctx, const int32_t *truth,
                                                const int32_t *predicted, int n, int n_classes,
                                                interp_confusion *out)
{
    const size_t k = n_classes > 0 ? (size_t)n_classes : 0;
    if (n_classes < 1 || n_classes > 65535)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: %d classes", n_classes);
    for (int i = 0; i < n; i++)
        if (truth[i] < 0 || truth[i] >= n_classes || predicted[i] < 0 || predicted[i] >= n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "confusion: sample %d is %d, predicted %d, but there are %d classes", i,
                            (int)truth[i], (int)predicted[i], n_classes);
    /* one block: counts, support, three rows of figures */
    int64_t *block = (int64_t *)itp_calloc(ctx, itp_mul_size(k, k + 4), sizeof(int64_t));
    if (!block) return INTERP_NO_MEMORY;
    interp_confusion c;
    memset(&c, 0, sizeof c);
    c.n_classes = n_classes;
    c.counts = block;
    c.support = block + k * k;
    c.precision = (double *)(void *)(c.support + k);
    c.recall = c.precision + k;
    c.f1 = c.recall + k;
    for (int i = 0; i < n; i++) c.counts[(size_t)truth[i] * k + (size_t)predicted[i]]++;
    double right = 0;
    for (size_t i = 0; i < k; i++) {
        double row = 0, column = 0;
        for (size_t j = 0; j < k; j++) {
            row += (double)c.counts[i * k + j];
            column += (double)c.counts[j * k + i];
        }
        const double hit = (double)c.counts[i * k + i];
        right += hit;
        c.support[i] = (int64_t)row;
        c.precision[i] = itp_ratio(hit, column);
        c.recall[i] = itp_ratio(hit, row);
        c.f1[i] = itp_ratio(2 * c.precision[i] * c.recall[i], c.precision[i] + c.recall[i]);
        const double figures[3] = {c.precision[i], c.recall[i], c.f1[i]};
        for (int f = 0; f < 3; f++) {
            c.macro[f] += figures[f] / (double)k;
            c.weighted[f] += itp_ratio(figures[f] * row, n);
        }
    }
    c.accuracy = itp_ratio(right, n);
    *out = c;
    return INTERP_OK;
}

INTERP_API void interp_confusion_normalize(const interp_confusion *c, interp_normalize how,
                                           double *out)
{
    const size_t k = (size_t)c->n_classes;
    double all = 0;
    for (size_t i = 0; i < k * k; i++) all += (double)c->counts[i];
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++) {
            double column = 0;
            for (size_t r = 0; how == INTERP_NORMALIZE_PRED && r < k; r++)
                column += (double)c->counts[r * k + j];
            const double by = how == INTERP_NORMALIZE_NONE   ? 1
                              : how == INTERP_NORMALIZE_TRUE ? (double)c->support[i]
                              : how == INTERP_NORMALIZE_PRED ? column
                                                             : all;
            out[i * k + j] = itp_ratio((double)c->counts[i * k + j], by);
        }
}

#if !defined(INTERP_NO_STDIO)
/* A class name in quotes, or its number. */
ITP_FN void itp_csv_class(itp_buf *b, char *const *names, size_t i)
{
    if (!names) {
        itp_buf_printf(b, "%zu", i);
        return;
    }
    itp_buf_byte(b, '"');
    for (const char *c = names[i]; *c; c++) {
        if (*c == '"') itp_buf_byte(b, '"');
        itp_buf_byte(b, *c);
    }
    itp_buf_byte(b, '"');
}

/* The end of a row. */
ITP_FN void itp_csv_figures(itp_buf *b, int64_t support, const double figures[3])
{
    itp_buf_printf(b, ",%lld", (long long)support);
    for (int i = 0; i < 3; i++) {
        itp_buf_byte(b, ',');
        itp_buf_float(b, figures[i]);
    }
    itp_buf_byte(b, '\n');
}

INTERP_API interp_status interp_confusion_write_csv(interp_ctx *ctx, const char *path,
                                                    const interp_confusion *c,
                                                    char *const *class_names)
{
    const size_t k = (size_t)c->n_classes;
    int64_t all = 0;
    itp_buf b = itp_buf_new(ctx);
    itp_buf_str(&b, "truth");
    for (size_t j = 0; j < k; j++) {
        itp_buf_str(&b, ",");
        itp_csv_class(&b, class_names, j);
    }
    itp_buf_str(&b, ",support,precision,recall,f1\n");
    for (size_t i = 0; i < k; i++) {
        itp_csv_class(&b, class_names, i);
        for (size_t j = 0; j < k; j++) itp_buf_printf(&b, ",%lld", (long long)c->counts[i * k + j]);
        const double figures[3] = {c->precision[i], c->recall[i], c->f1[i]};
        all += c->support[i];
        itp_csv_figures(&b, c->support[i], figures);
    }
    for (int row = 0; row < 2; row++) {
        itp_buf_str(&b, row ? "weighted" : "macro");
        for (size_t j = 0; j < k; j++) itp_buf_byte(&b, ',');
        itp_csv_figures(&b, all, row ? c->weighted : c->macro);
    }
    return itp_buf_write(&b, path);
}
#endif
#ifndef INTERP_NO_TRAIN
/* >>net/train.c                                                                               */
/* ---- net/train.c: optimisers, schedules, the training loop ---------------------------------------- */

/* How one parameter array learns. */
typedef struct itp_learn {
    size_t offset, n;
    float lr, momentum, weight_decay; /* lr before the schedule */
    int64_t freeze_from;
} itp_learn;

struct interp_trainer {
    interp_ctx *ctx;
    interp_net *net;
    interp_train_desc desc; /* defaults filled in */
    int64_t total_steps, step;
    int outputs; /* numbers per sample of the logits */
    const char *logits;
    int micro;                 /* samples of one forward and backward pass */
    interp_workspace *work[2]; /* for `micro` samples, and for the rest of a batch */
    itp_learn *learn;
    float *first, *second; /* the optimiser's moments, NULL where it has none */
    float *seed;           /* [micro, outputs]: gradient of the loss */
};

/* The logits: the output, or what goes into a softmax at the end. */
ITP_FN int itp_logits_value(const interp_net *net, interp_loss loss)
{
    const int out = net->outputs[0], producer = net->values[out].producer;
    if (loss == INTERP_CROSS_ENTROPY && producer >= 0) {
        const int op = net->nodes[producer].op;
        if (op == ITP_OP_SOFTMAX || op == ITP_OP_LOG_SOFTMAX) return net->nodes[producer].in[0];
    }
    return out;
}

ITP_FN interp_status itp_train_defaults(interp_ctx *ctx, const interp_train_desc *desc,
                                        interp_train_desc *d)
{
    memset(d, 0, sizeof *d);
    if (desc) *d = *desc;
    if (!d->epochs) d->epochs = 10;
    if (!d->batch) d->batch = 64;
    if (d->lr == 0) d->lr = d->optimizer == INTERP_SGD ? 1e-2f : 1e-3f;
    if (d->beta1 == 0) d->beta1 = 0.9f;
    if (d->beta2 == 0) d->beta2 = d->optimizer == INTERP_RMSPROP ? 0.99f : 0.999f;
    if (d->epsilon == 0) d->epsilon = 1e-8f;
    if (d->decay == 0) d->decay = 0.1f;
    if (d->epochs < 0 || d->batch < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: %d epochs of batches of %d", d->epochs,
                        d->batch);
    if (!(d->lr > 0) || !(d->lr <= 1e6f) || !(d->momentum >= 0 && d->momentum < 1) ||
        !(d->beta1 > 0 && d->beta1 < 1) || !(d->beta2 > 0 && d->beta2 < 1) || !(d->epsilon > 0) ||
        !(d->weight_decay >= 0) || !(d->clip_norm >= 0) ||
        !(d->label_smoothing >= 0 && d->label_smoothing < 1))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "train: a setting is out of range: lr %g must be above 0, momentum %g, beta1 "
            "%g and beta2 %g within [0,1), weight decay %g at least 0",
            (double)d->lr, (double)d->momentum, (double)d->beta1, (double)d->beta2,
            (double)d->weight_decay);
    return INTERP_OK;
}

/* What each parameter array learns by: the training's settings, or the first rule that fits. */
ITP_FN interp_status itp_trainer_rules(interp_trainer *t)
{
    const interp_train_desc *d = &t->desc;
    for (int r = 0; r < d->n_rules; r++) {
        bool used = false;
        for (int i = 0; i < t->net->n_params && !used; i++)
            used = !strncmp(interp_net_parameter(t->net, i).name, d->rules[r].layer,
                            strlen(d->rules[r].layer));
        if (!used)
            return itp_fail(t->ctx, INTERP_BAD_ARGUMENT,
                            "train: no parameter's name begins with \"%s\"", d->rules[r].layer);
        const interp_layer_rule *rule = &d->rules[r]; /* negative: none */
        if (!(rule->lr >= 0 && rule->lr <= 1e6f) || !(rule->momentum < 1) ||
            !(rule->weight_decay <= 1e6f))
            return itp_fail(t->ctx, INTERP_BAD_ARGUMENT,
                            "train: a setting of layer \"%s\" is out of range: lr %g, momentum %g, "
                            "weight decay %g",
                            rule->layer, (double)rule->lr, (double)rule->momentum,
                            (double)rule->weight_decay);
    }
    for (int i = 0; i < t->net->n_params; i++) {
        const interp_parameter_info p = interp_net_parameter(t->net, i);
        itp_learn *l = &t->learn[i];
        l->offset = p.offset;
        l->n = interp_shape_size(&p.shape);
        l->lr = d->lr;
        l->momentum = d->momentum;
        l->weight_decay = p.shape.rank > 1 || d->decay_all ? d->weight_decay : 0;
        for (int r = 0; r < d->n_rules; r++) {
            const interp_layer_rule *rule = &d->rules[r];
            if (strncmp(p.name, rule->layer, strlen(rule->layer))) continue;
            if (rule->lr != 0) l->lr = rule->lr;
            if (rule->momentum != 0) l->momentum = rule->momentum < 0 ? 0 : rule->momentum;
            if (rule->weight_decay != 0)
                l->weight_decay = rule->weight_decay < 0 ? 0 : rule->weight_decay;
            l->freeze_from = rule->freeze_from;
            break;
        }
    }
    return INTERP_OK;
}

ITP_FN bool itp_uses_momentum(const interp_train_desc *d)
{
    bool any = d->momentum > 0;
    for (int i = 0; i < d->n_rules; i++) any |= d->rules[i].momentum > 0;
    return any;
}

ITP_FN interp_workspace_desc itp_trainer_work(const interp_trainer *t, int batch)
{
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.batch = batch;
    w.mode = INTERP_TRAIN;
    w.param_grads = true;
    w.output = t->logits;
    return w;
}

/* Batch statistics would change if a batch were cut. */
ITP_FN bool itp_has_batch_norm(const interp_net *net)
{
    for (int i = 0; i < net->n_nodes; i++)
        if (net->nodes[i].op == ITP_OP_BATCH_NORM) return true;
    return false;
}

INTERP_API void interp_trainer_free(interp_trainer *t)
{
    if (!t) return;
    interp_workspace_free(t->work[0]);
    interp_workspace_free(t->work[1]);
    interp_free(t->ctx, t->learn);
    interp_free(t->ctx, t->first);
    interp_free(t->ctx, t->second);
    interp_free(t->ctx, t->seed);
    interp_free(t->ctx, t);
}

ITP_FN interp_status itp_trainer_memory(interp_trainer *t)
{
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    const size_t n = t->net->n_flat;
    const bool moments = d->optimizer == INTERP_ADAM || d->optimizer == INTERP_ADAMW;
    const bool velocity = !moments && itp_uses_momentum(d);
    t->learn = (itp_learn *)itp_calloc(ctx, (size_t)t->net->n_params, sizeof *t->learn);
    if (!t->learn) return INTERP_NO_MEMORY;
    if (moments || velocity) {
        t->first = (float *)itp_calloc(ctx, n, sizeof(float));
        if (!t->first) return INTERP_NO_MEMORY;
    }
    if (moments || d->optimizer == INTERP_RMSPROP) {
        t->second = (float *)itp_calloc(ctx, n, sizeof(float));
        if (!t->second) return INTERP_NO_MEMORY;
    }
    return itp_trainer_rules(t);
}

/* The workspaces, in pieces of a batch if whole ones do not fit. n: samples of an epoch, 0 when not
   known; reserve: bytes that must stay free. */
ITP_FN interp_status itp_trainer_open(interp_trainer *t, int n, size_t reserve)
{
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    fit.work = itp_trainer_work(t, d->batch);
    fit.n = n, fit.most = d->batch, fit.divides = true;
    fit.floats = (size_t)t->outputs, fit.reserve = reserve;
    t->micro = itp_fit_most(ctx, t->net, &fit);
    if (t->micro < d->batch && itp_has_batch_norm(t->net)) {
        size_t bytes = 0;
        ITP_TRY(itp_fit_bytes(ctx, t->net, &fit, d->batch, &bytes));
        return itp_fail(ctx, INTERP_NO_MEMORY,
                        "train: a batch of %d needs %zu bytes, but only %zu are left, and batch "
                        "normalisation forbids cutting it: batches of up to %d fit",
                        d->batch, bytes, itp_memory_left(ctx), t->micro);
    }
    if (!t->micro) return ctx->status;
    ITP_TRY(itp_fit_open(ctx, t->net, &fit, t->micro, t->work));
    if (interp_workspace_target_size(t->work[0]) != (size_t)t->outputs)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "train: the first dimension of \"%s\" is not the batch", t->logits);
    t->seed = (float *)interp_alloc(
        ctx, itp_mul_size((size_t)t->micro * (size_t)t->outputs, sizeof(float)));
    return t->seed ? INTERP_OK : INTERP_NO_MEMORY;
}

/* A trainer without its workspaces. */
ITP_FN interp_status itp_trainer_begin(interp_net *net, const interp_train_desc *desc,
                                       int64_t total_steps, interp_trainer **out)
{
    interp_ctx *ctx = net->ctx;
    interp_train_desc d;
    if (!net->built) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the network is not built");
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "train: network \"%s\" has %d inputs, not one",
                        net->name, net->n_inputs);
    ITP_TRY(itp_train_defaults(ctx, desc, &d));
    if (net->fixed_batch) d.batch = net->fixed_batch;
    interp_trainer *t = (interp_trainer *)itp_calloc(ctx, 1, sizeof *t);
    if (!t) return INTERP_NO_MEMORY;
    t->ctx = ctx;
    t->net = net;
    t->desc = d;
    t->total_steps = total_steps;
    const int logits = itp_logits_value(net, d.loss);
    const interp_shape sample = itp_sample_shape(net, logits);
    t->logits = net->values[logits].name;
    t->outputs = (int)interp_shape_size(&sample);
    const interp_status status = itp_trainer_memory(t);
    if (status) interp_trainer_free(t);
    else *out = t;
    return status;
}

INTERP_API interp_status interp_trainer_new(interp_net *net, const interp_train_desc *desc,
                                            int64_t total_steps, interp_trainer **out)
{
    interp_trainer *t;
    ITP_TRY(itp_trainer_begin(net, desc, total_steps, &t));
    const interp_status status = itp_trainer_open(t, 0, 0);
    if (status) interp_trainer_free(t);
    else *out = t;
    return status;
}

ITP_FN double itp_clamp01(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* Factor of the learning rate at step `step` (from 0) of epoch `epoch` (from 1). */
ITP_FN double itp_schedule(const interp_train_desc *d, int64_t step, int64_t total, int epoch)
{
    double f = 1;
    const double share = total > 0 ? (double)step / (double)total : 0;
    if (d->schedule == INTERP_STEP_DECAY)
        for (int i = 0; i < 8; i++)
            if (d->milestones[i] && epoch > d->milestones[i]) f *= (double)d->decay;
    if (d->schedule == INTERP_COSINE) f = 0.5 * (1 + cos(3.14159265358979 * itp_clamp01(share)));
    if (d->schedule == INTERP_LINEAR) f = 1 - itp_clamp01(share);
    if (step < d->warmup_steps) f *= (double)(step + 1) / d->warmup_steps;
    return f;
}

ITP_FN bool itp_is_frozen(const interp_trainer *t, const itp_learn *l)
{
    return l->freeze_from && t->step + 1 >= l->freeze_from;
}

/* One update of a piece of a parameter array. */
typedef struct itp_update_job {
    const interp_trainer *t;
    const itp_learn *l;
    const itp_update *u;
} itp_update_job;

#define ITP_UPDATE_CHUNK 65536

ITP_FN void itp_update_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_update_job *j = (const itp_update_job *)arg;
    const interp_trainer *t = j->t;
    const itp_grad_kernels *k = itp_grads(t->ctx->k);
    const interp_optimizer optimizer = t->desc.optimizer;
    const size_t from = (size_t)task * ITP_UPDATE_CHUNK, at = j->l->offset + from;
    const size_t n = itp_min_size(ITP_UPDATE_CHUNK, j->l->n - from);
    float *p = t->net->flat + at;
    const float *g = t->work[0]->param_grad + at;
    float *first = t->first ? t->first + at : NULL, *second = t->second ? t->second + at : NULL;
    if (optimizer == INTERP_SGD) k->sgd(n, p, g, j->l->momentum > 0 ? first : NULL, j->u);
    else if (optimizer == INTERP_RMSPROP)
        k->rmsprop(n, p, g, second, j->l->momentum > 0 ? first : NULL, j->u);
    else k->adam(n, p, g, first, second, j->u);
}

/* One update of every parameter that is not frozen. */
ITP_FN void itp_trainer_update(interp_trainer *t, double factor, float grad_scale)
{
    const interp_train_desc *d = &t->desc;
    const double count = (double)(t->step + 1);
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        if (itp_is_frozen(t, l)) continue;
        itp_update u;
        u.lr = (float)((double)l->lr * factor);
        u.weight_decay = l->weight_decay;
        u.momentum = l->momentum;
        u.beta1 = d->beta1, u.beta2 = d->beta2, u.epsilon = d->epsilon;
        u.correction1 = (float)(1 - pow((double)d->beta1, count));
        u.correction2 = (float)(1 - pow((double)d->beta2, count));
        u.grad_scale = grad_scale;
        u.nesterov = d->nesterov;
        u.decoupled = d->optimizer == INTERP_ADAMW;
        itp_update_job job = {t, l, &u};
        itp_parallel(t->ctx, (int)((l->n + ITP_UPDATE_CHUNK - 1) / ITP_UPDATE_CHUNK),
                     (double)l->n * 4, itp_update_task, &job);
    }
}

/* The workspace for `n` samples; the second is remade when another size comes. */
ITP_FN interp_status itp_trainer_workspace(interp_trainer *t, int n, interp_workspace **out)
{
    if (n != t->micro && (!t->work[1] || t->work[1]->desc.batch != n)) {
        interp_workspace_free(t->work[1]);
        t->work[1] = NULL;
        const interp_workspace_desc w = itp_trainer_work(t, n);
        ITP_TRY(interp_workspace_new(t->ctx, t->net, &w, &t->work[1]));
    }
    *out = t->work[n != t->micro];
    return INTERP_OK;
}

ITP_FN interp_status itp_trainer_gradient(interp_trainer *t, const float *x, const int32_t *y,
                                          const float *soft, int n, double *loss, int *n_right)
{
    const interp_train_desc *d = &t->desc;
    const interp_shape in = interp_net_input_shape(t->net, 0);
    const size_t row = interp_shape_size(&in), k = (size_t)t->outputs;
    *loss = 0;
    *n_right = 0;
    for (int at = 0; at < n; at += t->micro) {
        const int some = itp_min(t->micro, n - at);
        interp_workspace *w = NULL;
        ITP_TRY(itp_trainer_workspace(t, some, &w));
        const float *from = x + (size_t)at * row;
        w->seed = d->seed;
        w->step = (uint64_t)t->step * 4096 + (uint64_t)(at / t->micro);
        ITP_TRY(interp_forward(w, &from));
        const float *logits = interp_workspace_target(w);
        const int32_t *labels = y ? y + at : NULL;
        const float *targets = soft ? soft + (size_t)at * k : NULL;
        *loss += some * interp_loss_grad(t->ctx, d->loss, logits, some, t->outputs, labels, targets,
                                         d->label_smoothing, t->seed, NULL);
        for (int i = 0; y && i < some; i++)
            *n_right += interp_argmax(logits + (size_t)i * k, t->outputs) == labels[i];
        if (some < n)
            t->ctx->k->scale_add((size_t)some * k, (float)some / (float)n, t->seed, 0, t->seed);
        float *own = w->param_grad; /* all parts add up in the first workspace */
        w->accumulate = at > 0 && w == t->work[0];
        ITP_TRY(interp_backward(w, t->seed));
        if (w != t->work[0])
            t->ctx->k->scale_add(t->net->n_flat, 1, own, at > 0 ? 1 : 0, t->work[0]->param_grad);
    }
    *loss /= n;
    return INTERP_OK;
}

ITP_FN interp_status itp_trainer_step_at(interp_trainer *t, const float *x, const int32_t *y,
                                         const float *soft, int n, double factor, double *loss,
                                         int *n_right)
{
    interp_ctx *ctx = t->ctx;
    if (n < 1 || n > t->desc.batch || (!y && !soft))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: a step on %d samples with batches of %d",
                        n, t->desc.batch);
    for (int i = 0; y && i < n; i++)
        if (y[i] < 0 || y[i] >= t->outputs)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "train: label %d but the network has %d outputs", (int)y[i],
                            t->outputs);
    ITP_TRY(itp_trainer_gradient(t, x, y, soft, n, loss, n_right));
    double square = 0; /* of what learns */
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        const float *g = t->work[0]->param_grad + l->offset;
        if (!itp_is_frozen(t, l)) square += ctx->k->dot(l->n, g, 0, g, 0);
    }
    if (!(*loss - *loss == 0) || !(square - square == 0))
        return itp_fail(
            ctx, INTERP_NOT_FINITE,
            "train: the loss or its gradient is NaN or infinite at step %lld: lower the "
            "learning rate, or look for such numbers in the data",
            (long long)t->step + 1);
    const double norm = sqrt(square);
    const bool clip = t->desc.clip_norm > 0 && norm > (double)t->desc.clip_norm;
    itp_trainer_update(t, factor, clip ? (float)((double)t->desc.clip_norm / norm) : 1);
    t->step++;
    return INTERP_OK;
}

INTERP_API interp_status interp_trainer_step(interp_trainer *t, const float *x, const int32_t *y,
                                             const float *soft, int n, double *loss, int *n_right)
{
    double l;
    int right;
    const double factor = itp_schedule(&t->desc, t->step, t->total_steps, 1);
    return itp_trainer_step_at(t, x, y, soft, n, factor, loss ? loss : &l,
                               n_right ? n_right : &right);
}

/* ---- evaluation */

ITP_FN interp_status itp_data_fits(interp_ctx *ctx, const interp_net *net,
                                   const interp_dataset *data, int outputs)
{
    char a[96], b[96];
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "network \"%s\" has %d inputs, but data sets have one", net->name,
                        net->n_inputs);
    const interp_shape in = interp_net_input_shape(net, 0);
    if (interp_shape_size(&in) != interp_shape_size(&data->shape))
        return itp_fail(ctx, INTERP_BAD_SHAPE, "samples are %s but the network takes %s",
                        itp_shape_text(&data->shape, a, sizeof a),
                        itp_shape_text(&in, b, sizeof b));
    if (data->y && data->n_classes > outputs)
        return itp_fail(ctx, INTERP_BAD_SHAPE, "the data has %d classes but the network %d outputs",
                        data->n_classes, outputs);
    return interp_dataset_check(ctx, data);
}

/* Evaluates with a workspace for `batch` samples and one for what is left over. */
ITP_FN interp_status itp_evaluate_with(interp_net *net, const interp_dataset *data,
                                       interp_loss loss, interp_workspace *const work[2],
                                       interp_evaluation *out)
{
    interp_ctx *ctx = net->ctx;
    const int batch = work[0]->desc.batch;
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t row = interp_shape_size(&in), k = interp_workspace_target_size(work[0]);
    double total = 0;
    int right = 0;
    for (int at = 0; at < data->n; at += batch) {
        const int some = itp_min(batch, data->n - at);
        interp_workspace *w = work[some != batch];
        const float *x = data->x + (size_t)at * row;
        ITP_TRY(interp_forward(w, &x));
        const float *logits = interp_workspace_target(w);
        if (data->y)
            total += some * interp_loss_grad(ctx, loss, logits, some, (int)k, data->y + at, NULL, 0,
                                             NULL, NULL);
        for (int i = 0; i < some; i++) {
            const int c = interp_argmax(logits + (size_t)i * k, (int)k);
            if (data->y) right += c == data->y[at + i];
            if (out->predicted) out->predicted[at + i] = itp_max(0, c);
        }
        if (out->outputs)
            memcpy(out->outputs + (size_t)at * k, logits, (size_t)some * k * sizeof *x);
    }
    out->loss = data->y ? total / data->n : (double)NAN;
    out->accuracy = data->y ? (double)right / data->n : (double)NAN;
    return INTERP_OK;
}

/* Workspaces to evaluate n samples; `reserve` bytes stay free. */
ITP_FN interp_status itp_evaluate_open(interp_net *net, int n, interp_loss loss, size_t reserve,
                                       interp_workspace *work[2])
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    work[0] = work[1] = NULL;
    fit.work.output = net->values[itp_logits_value(net, loss)].name;
    fit.n = n, fit.most = itp_min(n, 256), fit.reserve = reserve;
    if (net->fixed_batch && n % net->fixed_batch)
        return itp_fail(
            net->ctx, INTERP_BAD_SHAPE,
            "the network takes batches of %d only, and %d samples do not divide into them",
            net->fixed_batch, n);
    const int batch = itp_fit_most(net->ctx, net, &fit);
    return batch ? itp_fit_open(net->ctx, net, &fit, batch, work) : net->ctx->status;
}

INTERP_API interp_status interp_evaluate(interp_net *net, const interp_dataset *data,
                                         interp_loss loss, interp_evaluation *out)
{
    interp_workspace *work[2] = {NULL, NULL};
    if (!net->built)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    const interp_shape o = itp_sample_shape(net, itp_logits_value(net, loss));
    ITP_TRY(itp_data_fits(net->ctx, net, data, (int)interp_shape_size(&o)));
    interp_status status = itp_evaluate_open(net, data->n, loss, 0, work);
    if (!status) status = itp_progress(net->ctx, "evaluate", 0, data->n, (double)NAN);
    if (!status) status = itp_evaluate_with(net, data, loss, work, out);
    interp_workspace_free(work[0]);
    interp_workspace_free(work[1]);
    return status;
}

/* ---- the loop */

typedef struct itp_checkpoint itp_checkpoint;

typedef struct itp_training {
    interp_trainer *t;
    const interp_dataset *data;
    interp_workspace *eval[2];
    int *order;
    float *x; /* one batch */
    int32_t *y;
    float *best;                /* parameters and running statistics of the best epoch */
    itp_checkpoint *checkpoint; /* NULL: none */
    int64_t data_hash;          /* with a checkpoint */
    size_t n_state;
    int epoch, best_epoch; /* epochs finished; the best of them */
    double best_loss;
    interp_epoch last;
} itp_training;

ITP_FN size_t itp_net_state_size(const interp_net *net)
{
    size_t n = net->n_flat;
    for (int i = 0; i < net->n_values; i++)
        if (net->values[i].kind == ITP_BUFFER) n += interp_shape_size(&net->values[i].shape);
    return n;
}

/* Copies parameters and running statistics out of the net, or back. */
ITP_FN void itp_net_state(interp_net *net, float *state, bool restore)
{
    memcpy(restore ? net->flat : state, restore ? state : net->flat, net->n_flat * sizeof *state);
    state += net->n_flat;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (v->kind != ITP_BUFFER) continue;
        const size_t n = interp_shape_size(&v->shape);
        memcpy(restore ? v->data : state, restore ? state : v->data, n * sizeof *state);
        state += n;
    }
}

ITP_FN int64_t itp_steps_per_epoch(int n, int batch)
{
    return (n + batch - 1) / batch;
}

ITP_FN interp_status itp_train_epoch(itp_training *r)
{
    interp_trainer *t = r->t;
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    const size_t row = interp_shape_size(&r->data->shape);
    const int n = r->data->n, epoch = r->epoch + 1;
    double loss_sum = 0, seconds = itp_seconds();
    int right = 0;
    for (int i = 0; i < n; i++) r->order[i] = i;
    if (!d->no_shuffle) itp_shuffle(r->order, n, d->seed, 0x2000000u + (uint64_t)epoch);
    float rate = 0;
    for (int at = 0; at < n; at += d->batch) {
        const int some = itp_min(d->batch, n - at);
        for (int i = 0; i < some; i++) {
            const size_t from = (size_t)r->order[at + i];
            float *to = r->x + (size_t)i * row;
            if (d->augment)
                interp_augment(d->augment, r->data->x + from * row, &r->data->shape, d->seed,
                               (uint64_t)epoch * (uint64_t)n + from, to);
            else memcpy(to, r->data->x + from * row, row * sizeof *to);
            r->y[i] = r->data->y[from];
        }
        double loss;
        int hits;
        const double factor = itp_schedule(d, t->step, t->total_steps, epoch);
        rate = (float)((double)d->lr * factor);
        ITP_TRY(itp_trainer_step_at(t, r->x, r->y, NULL, some, factor, &loss, &hits));
        loss_sum += loss * some;
        right += hits;
        ITP_TRY(itp_progress(ctx, "train", (double)t->step, (double)t->total_steps, loss));
    }
    interp_epoch *e = &r->last;
    e->epoch = epoch;
    e->train_loss = loss_sum / n;
    e->train_accuracy = (double)right / n;
    e->val_loss = e->val_accuracy = (double)NAN;
    e->learning_rate = (double)rate;
    if (d->validation) {
        interp_evaluation v;
        memset(&v, 0, sizeof v);
        ITP_TRY(itp_evaluate_with(t->net, d->validation, d->loss, r->eval, &v));
        e->val_loss = v.loss;
        e->val_accuracy = v.accuracy;
    }
    e->seconds = itp_seconds() - seconds;
    r->epoch = epoch;
    return INTERP_OK;
}

#if !defined(INTERP_NO_STDIO)
/* ---- checkpoints: everything a training is made of, as named arrays */

enum { ITP_CHECKPOINT_MOST = 7, ITP_CHECKPOINT_COUNTS = 8, ITP_EPOCH_FIGURES = 7 };

struct itp_checkpoint {
    char names[ITP_CHECKPOINT_MOST][12];
    interp_named_array items[ITP_CHECKPOINT_MOST];
    int n;
    int64_t counts[ITP_CHECKPOINT_COUNTS];
    double best_loss;
    float *state;
    double *history;
};

/* A number that other samples or labels are all but sure to change: FNV-1a over 32-bit words. */
ITP_FN uint64_t itp_data_hash(const interp_dataset *d)
{
    const size_t n = (size_t)d->n * interp_shape_size(&d->shape);
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) {
        const float x = d->x[i];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        h = (h ^ bits) * 0x100000001B3u;
    }
    for (int i = 0; i < d->n; i++) h = (h ^ (uint32_t)d->y[i]) * 0x100000001B3u;
    return h ^ h >> 32;
}

ITP_FN void itp_checkpoint_add(itp_checkpoint *c, const char *name, void *data, interp_dtype dtype,
                               size_t n)
{
    if (!data || !n) return;
    interp_named_array *a = &c->items[c->n];
    snprintf(c->names[c->n], sizeof c->names[0], "%s", name);
    a->name = c->names[c->n++];
    a->array.data = data;
    a->array.dtype = dtype;
    a->array.shape = itp_shape_of(1, (int)n, 1, 1, 1);
}

/* Points at all that is kept; `epochs` lines of history. */
ITP_FN void itp_checkpoint_list(itp_training *r, itp_checkpoint *c, int epochs)
{
    const size_t flat = r->t->net->n_flat;
    c->n = 0;
    itp_checkpoint_add(c, "counts", c->counts, INTERP_INT64, ITP_CHECKPOINT_COUNTS);
    itp_checkpoint_add(c, "best_loss", &c->best_loss, INTERP_FLOAT64, 1);
    itp_checkpoint_add(c, "history", c->history, INTERP_FLOAT64,
                       (size_t)epochs * ITP_EPOCH_FIGURES);
    itp_checkpoint_add(c, "state", c->state, INTERP_FLOAT32, r->n_state);
    itp_checkpoint_add(c, "best", r->best, INTERP_FLOAT32, r->n_state);
    itp_checkpoint_add(c, "first", r->t->first, INTERP_FLOAT32, flat);
    itp_checkpoint_add(c, "second", r->t->second, INTERP_FLOAT32, flat);
}

ITP_FN void itp_epoch_figures(interp_epoch *e, double *f, bool read)
{
    double *const at[ITP_EPOCH_FIGURES - 1] = {&e->train_loss,   &e->train_accuracy, &e->val_loss,
                                               &e->val_accuracy, &e->learning_rate,  &e->seconds};
    if (!read) f[0] = e->epoch; /* read, it is the line's number */
    for (int i = 1; i < ITP_EPOCH_FIGURES; i++) {
        if (read) *at[i - 1] = f[i];
        else f[i] = *at[i - 1];
    }
}

/* What a training cannot be taken up without: parameters, optimizer, samples, seed, data. */
ITP_FN void itp_checkpoint_identity(const itp_training *r, int64_t out[5])
{
    out[0] = (int64_t)r->t->net->n_flat;
    out[1] = (int64_t)r->t->desc.optimizer;
    out[2] = r->data->n;
    out[3] = (int64_t)r->t->desc.seed;
    out[4] = r->data_hash;
}

ITP_FN interp_status itp_checkpoint_write(itp_training *r, itp_checkpoint *c)
{
    const interp_train_desc *d = &r->t->desc;
    itp_net_state(r->t->net, c->state, false);
    c->counts[0] = r->epoch;
    c->counts[1] = r->best_epoch;
    c->counts[2] = r->t->step;
    itp_checkpoint_identity(r, c->counts + 3);
    c->best_loss = r->best_loss;
    itp_checkpoint_list(r, c, r->epoch);
    interp_named_arrays all;
    memset(&all, 0, sizeof all);
    all.items = c->items;
    all.n = c->n;
    return interp_safetensors_write(r->t->ctx, d->checkpoint, &all);
}

/* Whether the counts of a file are of this training. */
ITP_FN interp_status itp_checkpoint_check(const itp_training *r, const int64_t *counts)
{
    static const char *const what[5] = {"another network", "another optimizer",
                                        "another number of samples", "another seed", "other data"};
    const interp_train_desc *d = &r->t->desc;
    const char *other = NULL;
    int64_t own[5];
    itp_checkpoint_identity(r, own);
    for (int i = 4; i >= 0; i--)
        if (counts[3 + i] != own[i]) other = what[i];
    if (!other &&
        (counts[0] < 1 || counts[0] > d->epochs || counts[1] < 0 || counts[1] > counts[0] ||
         counts[2] != counts[0] * itp_steps_per_epoch(r->data->n, d->batch)))
        other = "fewer epochs or another batch size";
    if (!other) return INTERP_OK;
    return itp_fail(r->t->ctx, INTERP_FORMAT,
                    "%s: it is of a training with %s: delete the file to start over", d->checkpoint,
                    other);
}

/* Takes a training up where the file left it. Nothing is changed unless all of it fits. */
ITP_FN interp_status itp_checkpoint_read(itp_training *r, itp_checkpoint *c)
{
    interp_ctx *ctx = r->t->ctx;
    const interp_train_desc *d = &r->t->desc;
    FILE *f = fopen(d->checkpoint, "rb");
    if (!f) return INTERP_OK; /* a training that starts */
    fclose(f);
    interp_named_arrays all;
    ITP_TRY(interp_safetensors_read(ctx, d->checkpoint, &all));
    interp_status status = INTERP_OK;
    int64_t counts[ITP_CHECKPOINT_COUNTS] = {0};
    for (int pass = 0; pass < 2 && !status; pass++) { /* check, then copy */
        itp_checkpoint_list(r, c, pass ? (int)counts[0] : 1);
        for (int i = 0; i < c->n && !status; i++) {
            const interp_array *want = &c->items[i].array, *got = NULL;
            for (int j = 0; j < all.n; j++)
                if (!strcmp(all.items[j].name, c->items[i].name)) got = &all.items[j].array;
            const bool history = want->data == (void *)c->history;
            const size_t n = got ? interp_shape_size(&got->shape) : 0;
            if (!got || got->dtype != want->dtype ||
                (got->dtype == INTERP_FLOAT32 && !itp_is_finite((const float *)got->data, n)) ||
                (n != interp_shape_size(&want->shape) &&
                 !(history && !pass && n <= (size_t)d->epochs * ITP_EPOCH_FIGURES))) {
                status =
                    itp_fail(ctx, INTERP_FORMAT,
                             "%s: its \"%s\" does not fit this training: delete the file to start "
                             "over",
                             d->checkpoint, c->items[i].name);
                break;
            }
            if (!pass && i == 0) {
                memcpy(counts, got->data, sizeof counts);
                status = itp_checkpoint_check(r, counts);
            }
            if (pass) memcpy(want->data, got->data, n * interp_dtype_size(got->dtype));
        }
    }
    interp_named_arrays_free(ctx, &all);
    if (status) return status;
    r->epoch = (int)counts[0];
    r->best_epoch = (int)counts[1];
    r->t->step = counts[2];
    r->best_loss = c->best_loss;
    itp_net_state(r->t->net, c->state, true);
    for (int i = 0; i < r->epoch; i++) {
        interp_epoch e;
        e.epoch = i + 1;
        itp_epoch_figures(&e, c->history + (size_t)i * ITP_EPOCH_FIGURES, true);
        if (d->history) d->history[i] = e;
        r->last = e;
    }
    return INTERP_OK;
}
#endif

/* Everything after an epoch: history, the best so far, the hooks. */
ITP_FN bool itp_train_note(itp_training *r)
{
    const interp_train_desc *d = &r->t->desc;
    const double loss = d->validation ? r->last.val_loss : r->last.train_loss;
    const bool best = !r->best_epoch || loss < r->best_loss;
    if (d->history) d->history[r->epoch - 1] = r->last;
    if (best) {
        r->best_epoch = r->epoch;
        r->best_loss = loss;
        if (r->best) itp_net_state(r->t->net, r->best, false);
    }
    bool stop = d->patience > 0 && r->epoch - r->best_epoch >= d->patience;
    if (d->on_epoch && d->on_epoch(&r->last, best, d->user)) stop = true;
    return stop;
}

/* Room for a checkpoint, with the state and the history behind it. reserve: grows by what writing and
   reading the file take: the file itself, and at most twice that while a buffer grows to hold it. */
ITP_FN interp_status itp_train_checkpoint(itp_training *r, size_t *reserve)
{
#if !defined(INTERP_NO_STDIO)
    const interp_train_desc *d = &r->t->desc;
    const size_t figures = (size_t)d->epochs * ITP_EPOCH_FIGURES * sizeof(double);
    if (!d->checkpoint) return INTERP_OK;
    itp_checkpoint *c = (itp_checkpoint *)itp_calloc(
        r->t->ctx, 1, sizeof *c + figures + r->n_state * sizeof(float));
    if (!c) return INTERP_NO_MEMORY;
    c->history = (double *)(void *)(c + 1);
    c->state = (float *)(void *)((char *)c->history + figures);
    r->checkpoint = c;
    itp_checkpoint_list(r, c, d->epochs);
    size_t file = 4096; /* the header */
    for (int i = 0; i < c->n; i++)
        file += interp_shape_size(&c->items[i].array.shape) *
                interp_dtype_size(c->items[i].array.dtype);
    *reserve = itp_add_size(*reserve, itp_mul_size(file, 3));
#else
    (void)r, (void)reserve;
#endif
    return INTERP_OK;
}

/* Everything that lasts for the whole training comes first; the workspaces share what is left. */
ITP_FN interp_status itp_train_open(itp_training *r, interp_net *net)
{
    interp_trainer *t = r->t;
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    const size_t row = interp_shape_size(&r->data->shape);
    size_t evaluation = 0, file = 0;
    if (!r->data->y) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the data has no labels");
    ITP_TRY(itp_data_fits(ctx, net, r->data, t->outputs));
    if (d->validation) {
        if (!d->validation->y)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the validation data has no labels");
        ITP_TRY(itp_data_fits(ctx, net, d->validation, t->outputs));
        interp_workspace_desc least;
        memset(&least, 0, sizeof least);
        least.output = t->logits;
        ITP_TRY(interp_workspace_bytes(ctx, net, &least, &evaluation));
    }
    r->order = (int *)interp_alloc(ctx, (size_t)r->data->n * sizeof(int));
    r->x = (float *)interp_alloc(ctx, itp_mul_size((size_t)d->batch * row, sizeof(float)));
    r->y = (int32_t *)interp_alloc(ctx, (size_t)d->batch * sizeof(int32_t));
    r->n_state = itp_net_state_size(net);
    if (!r->order || !r->x || !r->y) return INTERP_NO_MEMORY;
    if (d->restore_best) {
        r->best = (float *)interp_alloc(ctx, r->n_state * sizeof(float));
        if (!r->best) return INTERP_NO_MEMORY;
        itp_net_state(net, r->best, false);
    }
    ITP_TRY(itp_train_checkpoint(r, &file));
    ITP_TRY(itp_trainer_open(t, r->data->n, itp_add_size(evaluation, file)));
    if (!d->validation) return INTERP_OK;
    return itp_evaluate_open(net, d->validation->n, d->loss, file, r->eval);
}

ITP_FN interp_status itp_train_run(itp_training *r)
{
    const interp_train_desc *d = &r->t->desc;
    /* all memory is taken and nothing changed: a hook that only asks whether it fits cancels here */
    ITP_TRY(itp_progress(r->t->ctx, "train", 0, (double)r->t->total_steps, (double)NAN));
#if !defined(INTERP_NO_STDIO)
    itp_checkpoint *c = r->checkpoint;
    if (c) {
        r->data_hash = (int64_t)itp_data_hash(r->data);
        ITP_TRY(itp_checkpoint_read(r, c));
    }
#endif
    bool stop = d->patience > 0 && r->epoch - r->best_epoch >= d->patience;
    while (r->epoch < d->epochs && !stop) {
        ITP_TRY(itp_train_epoch(r));
        stop = itp_train_note(r);
#if !defined(INTERP_NO_STDIO)
        if (!c) continue;
        itp_epoch_figures(&r->last, c->history + (size_t)(r->epoch - 1) * ITP_EPOCH_FIGURES, false);
        ITP_TRY(itp_checkpoint_write(r, c));
#endif
    }
    if (r->best && r->best_epoch) itp_net_state(r->t->net, r->best, true);
    return INTERP_OK;
}

INTERP_API interp_status interp_train(interp_net *net, const interp_dataset *data,
                                      const interp_train_desc *desc, interp_train_result *result)
{
    interp_ctx *ctx = net->ctx;
    interp_train_desc d;
    itp_training r;
    const double start = itp_seconds();
    memset(&r, 0, sizeof r);
    ITP_TRY(itp_train_defaults(ctx, desc, &d));
    if (data->n < 1) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: there are no samples");
    d.batch = net->fixed_batch ? net->fixed_batch : itp_min(d.batch, data->n);
    r.data = data;
    ITP_TRY(itp_trainer_begin(net, &d, d.epochs * itp_steps_per_epoch(data->n, d.batch), &r.t));
    interp_status status = itp_train_open(&r, net);
    if (!status) status = itp_train_run(&r);
    if (!status && result) {
        result->epochs = r.epoch;
        result->best_epoch = r.best_epoch;
        result->train_loss = r.last.train_loss, result->train_accuracy = r.last.train_accuracy;
        result->val_loss = r.last.val_loss, result->val_accuracy = r.last.val_accuracy;
        result->seconds = itp_seconds() - start;
    }
    interp_free(ctx, r.checkpoint);
    interp_free(ctx, r.best);
    interp_free(ctx, r.y);
    interp_free(ctx, r.x);
    interp_free(ctx, r.order);
    interp_workspace_free(r.eval[0]);
    interp_workspace_free(r.eval[1]);
    interp_trainer_free(r.t);
    return status;
}
#endif
#ifndef INTERP_NO_ONNX
/* >>onnx/protobuf.c                                                                           */
/* ---- onnx/protobuf.c: the wire format, and ONNX's messages as far as we read them ------------ */

/* Some of the bytes being read; not ended by a 0. */
typedef struct itp_slice {
    const char *at;
    size_t n;
} itp_slice;

ITP_FN itp_slice itp_slice_of(const char *text)
{
    itp_slice s;
    s.at = text;
    s.n = strlen(text);
    return s;
}

ITP_FN bool itp_slice_equal(itp_slice a, itp_slice b)
{
    return a.n == b.n && (a.n == 0 || !memcmp(a.at, b.at, a.n));
}

ITP_FN bool itp_slice_is(itp_slice s, const char *text)
{
    return itp_slice_equal(s, itp_slice_of(text));
}

/* For "%.*s": long names are cut. */
#define ITP_SHOW(s) (int)itp_min_size((s).n, 100), (s).n ? (s).at : ""

/* ---- reading the wire */

/* What is left of a message; `bad` once it made no sense. */
typedef struct itp_pb {
    const unsigned char *at, *end;
    bool bad;
} itp_pb;

enum { ITP_VARINT = 0, ITP_FIXED64 = 1, ITP_BYTES = 2, ITP_FIXED32 = 5 }; /* wire types */

typedef struct itp_pb_field {
    uint32_t number;
    int wire;
    uint64_t value;  /* unless ITP_BYTES */
    itp_slice bytes; /* of ITP_BYTES */
} itp_pb_field;

ITP_FN itp_pb itp_pb_of(itp_slice s)
{
    itp_pb p;
    p.at = (const unsigned char *)s.at;
    p.end = s.n ? p.at + s.n : p.at; /* the slice of nothing has no address */
    p.bad = false;
    return p;
}

ITP_FN bool itp_pb_varint(itp_pb *p, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 70 && p->at < p->end; shift += 7) {
        const unsigned char c = *p->at++;
        if (shift == 63 && c > 1) break;
        value |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *out = value;
            return true;
        }
    }
    p->bad = true;
    return false;
}

/* A number of 4 or 8 bytes. */
ITP_FN bool itp_pb_fixed(itp_pb *p, int wire, uint64_t *out)
{
    const size_t size = wire == ITP_FIXED64 ? 8 : 4;
    if ((size_t)(p->end - p->at) < size) {
        p->bad = true;
        return false;
    }
    *out = size == 8 ? itp_get_le64(p->at) : itp_get_le32(p->at);
    p->at += size;
    return true;
}

/* The next field, whatever it is; false at the end and when the bytes make no sense. */
ITP_FN bool itp_pb_next(itp_pb *p, itp_pb_field *f)
{
    uint64_t key = 0, n = 0;
    if (p->bad || p->at == p->end || !itp_pb_varint(p, &key)) return false;
    memset(f, 0, sizeof *f);
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    p->bad = key >> 32 || f->number == 0;
    if (p->bad) return false;
    switch (f->wire) {
    case ITP_VARINT: return itp_pb_varint(p, &f->value);
    case ITP_FIXED64:
    case ITP_FIXED32: return itp_pb_fixed(p, f->wire, &f->value);
    case ITP_BYTES:
        if (!itp_pb_varint(p, &n)) return false;
        if (n > (uint64_t)(p->end - p->at)) break;
        f->bytes.at = (const char *)p->at;
        f->bytes.n = (size_t)n;
        p->at += (size_t)n;
        return true;
    default: break; /* groups, and what was never defined */
    }
    p->bad = true;
    return false;
}

/* The numbers of one repeated field, each alone or packed together. */
typedef struct itp_pb_numbers {
    itp_pb message, packed;
    uint32_t number;
    int wire;
} itp_pb_numbers;

ITP_FN itp_pb_numbers itp_pb_numbers_of(itp_slice message, uint32_t number, int wire)
{
    itp_pb_numbers it;
    memset(&it, 0, sizeof it);
    it.message = itp_pb_of(message);
    it.number = number;
    it.wire = wire;
    return it;
}

ITP_FN bool itp_pb_number(itp_pb_numbers *it, uint64_t *out)
{
    itp_pb_field f;
    while (it->packed.at == it->packed.end) {
        if (!itp_pb_next(&it->message, &f)) return false;
        if (f.number != it->number) continue;
        if (f.wire == it->wire) {
            *out = f.value;
            return true;
        }
        if (f.wire != ITP_BYTES) {
            it->message.bad = true;
            return false;
        }
        it->packed = itp_pb_of(f.bytes);
    }
    const bool good = it->wire == ITP_VARINT ? itp_pb_varint(&it->packed, out)
                                             : itp_pb_fixed(&it->packed, it->wire, out);
    if (!good) it->message.bad = true;
    return good;
}

/* ---- writing the wire */

ITP_FN void itp_pb_put_varint(itp_buf *b, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
    itp_buf_add(b, bytes, n);
}

ITP_FN void itp_pb_put_key(itp_buf *b, uint32_t number, int wire)
{
    itp_pb_put_varint(b, (uint64_t)number << 3 | (uint64_t)wire);
}

ITP_FN void itp_pb_put_int(itp_buf *b, uint32_t number, int64_t value)
{
    itp_pb_put_key(b, number, ITP_VARINT);
    itp_pb_put_varint(b, (uint64_t)value);
}

/* The lowest `size` bytes of `bits`, little end first. */
ITP_FN void itp_put_le(itp_buf *b, uint64_t bits, int size)
{
    unsigned char bytes[8];
    for (int i = 0; i < size; i++) bytes[i] = (unsigned char)(bits >> 8 * i & 255);
    itp_buf_add(b, bytes, (size_t)size);
}

ITP_FN void itp_put_f32(itp_buf *b, double value)
{
    const itp_f32 x = (itp_f32)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    itp_put_le(b, bits, 4);
}

ITP_FN void itp_pb_put_float(itp_buf *b, uint32_t number, double value)
{
    itp_pb_put_key(b, number, ITP_FIXED32);
    itp_put_f32(b, value);
}

ITP_FN void itp_pb_put_bytes(itp_buf *b, uint32_t number, const void *bytes, size_t n)
{
    itp_pb_put_key(b, number, ITP_BYTES);
    itp_pb_put_varint(b, n);
    itp_buf_add(b, bytes, n);
}

ITP_FN void itp_pb_put_text(itp_buf *b, uint32_t number, const char *text)
{
    itp_pb_put_bytes(b, number, text, strlen(text));
}

/* Puts a finished message into another and empties its buffer for the next one. */
ITP_FN void itp_pb_put_message(itp_buf *b, uint32_t number, itp_buf *message)
{
    itp_pb_put_bytes(b, number, message->data ? message->data : "", message->n);
    if (message->status && !b->status) b->status = message->status;
    message->n = 0;
}

/* ---- ONNX's element types */

typedef struct itp_onnx_type {
    int id; /* TensorProto.DataType */
    interp_dtype dtype;
    uint32_t field; /* of TensorProto that holds them when not raw */
    int wire;
} itp_onnx_type;

enum { ITP_ONNX_FLOAT = 1, ITP_ONNX_INT64 = 7 };

/* NULL for text, complex numbers and those of less than 16 bits. */
ITP_FN const itp_onnx_type *itp_onnx_type_row(int id)
{
    static const itp_onnx_type rows[] = {
        {1, INTERP_FLOAT32, 4, ITP_FIXED32},  {2, INTERP_UINT8, 5, ITP_VARINT},
        {3, INTERP_INT8, 5, ITP_VARINT},      {4, INTERP_UINT16, 5, ITP_VARINT},
        {5, INTERP_INT16, 5, ITP_VARINT},     {6, INTERP_INT32, 5, ITP_VARINT},
        {7, INTERP_INT64, 7, ITP_VARINT},     {9, INTERP_BOOL, 5, ITP_VARINT},
        {10, INTERP_FLOAT16, 5, ITP_VARINT},  {11, INTERP_FLOAT64, 10, ITP_FIXED64},
        {12, INTERP_UINT32, 11, ITP_VARINT},  {13, INTERP_UINT64, 11, ITP_VARINT},
        {16, INTERP_BFLOAT16, 5, ITP_VARINT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id == id) return &rows[i];
    return NULL;
}

/* ---- what a model is made of. Symbols are its names; everything refers to them by number. */

typedef struct itp_onnx_tensor {
    int type; /* TensorProto.DataType */
    interp_shape shape;
    itp_slice raw;     /* little-endian; used when field is 0 */
    itp_slice message; /* the numbers are in this one's `field` */
    uint32_t field;
    int wire;
    bool repeats;  /* every element is the first */
    bool external; /* raw is in the file `location` */
    itp_slice location;
    uint64_t offset, length; /* length UINT64_MAX: to the end */
} itp_onnx_tensor;

enum { /* what the numbers of an initialiser are to the network */
       ITP_AS_CONST = 1,
       ITP_AS_PARAM = 2,
       ITP_AS_BUFFER = 4
};

typedef struct itp_symbol {
    itp_slice name;
    int maker;          /* node that makes it, -1 for none */
    int tensor;         /* its numbers when known at load, -1 when not */
    int input;          /* index among the graph's inputs, -1 */
    int uses;           /* by nodes that are needed, and as output */
    int root;           /* the symbol whose numbers these are, under another shape; else itself */
    interp_shape shape; /* of known numbers */
    unsigned role;      /* ITP_AS_...; of roots */
    bool trained;       /* a weighted op came before it */
    int value, buffer;  /* of the network, -1: not there; `buffer` apart from a trained `value` */
} itp_symbol;

typedef struct itp_onnx_attr {
    itp_slice name, message, s, t;
    int type; /* AttributeProto.AttributeType, 0 when not told */
    bool has_i, has_f;
    int64_t i;
    uint32_t f; /* bits */
} itp_onnx_attr;

typedef struct itp_onnx_row itp_onnx_row;

typedef struct itp_onnx_node {
    itp_slice name, op, domain;
    int index;                /* in the file */
    int in, n_in, out, n_out; /* ranges of links */
    int attr, n_attr;
    const itp_onnx_row *row;
    bool needed, skipped; /* skipped: its numbers are known, or another node does its work */
    int state;            /* of the search: 0 new, 1 open, 2 done */
    int fused, fused_x;   /* op of ours this node ends, -1 for none, and that op's input */
} itp_onnx_node;

typedef struct itp_onnx_port {
    int symbol;
    int type; /* of elements, 0 when not told */
    bool has_shape;
    int rank;
    int dim[INTERP_MAX_RANK]; /* 0: any */
} itp_onnx_port;

typedef struct itp_onnx_file {
    itp_slice location;
    char *bytes;
    size_t n;
} itp_onnx_file;

/* A model being read. */
typedef struct itp_onnx {
    interp_ctx *ctx;
    const char *path; /* NULL: from memory */
    interp_net *net;
    int64_t opset;
    itp_slice producer, name;
    itp_symbol *symbols;
    int n_symbols, symbols_capacity;
    int *table, table_size; /* hash table of symbols: index + 1, a power of two, 0 free */
    itp_onnx_tensor *tensors;
    int n_tensors, tensors_capacity;
    int *initializers; /* symbols, in the order of the file */
    int n_initializers, initializers_capacity;
    itp_onnx_node *nodes;
    int n_nodes, nodes_capacity;
    int *links; /* inputs and outputs of nodes: symbols, -1 for left out */
    int n_links, links_capacity;
    itp_onnx_attr *attrs;
    int n_attrs, attrs_capacity;
    itp_onnx_port *inputs;
    int n_inputs, inputs_capacity;
    int *outputs; /* symbols */
    int n_outputs, outputs_capacity;
    int *order; /* needed nodes, makers before users */
    int n_order;
    itp_onnx_file *files;
    int n_files, files_capacity;
    itp_buf node_name, value_name;
    bool own; /* written by interp_onnx_serialize */
} itp_onnx;

ITP_FN interp_status itp_onnx_damaged(itp_onnx *r, const char *what)
{
    return itp_fail(r->ctx, INTERP_FORMAT,
                    "%s cannot be decoded: the data is damaged, cut off or no ONNX model", what);
}

/* Room for one more; counts stay far from INT_MAX. */
ITP_FN interp_status itp_onnx_room(itp_onnx *r, void *items, int n, int *capacity, size_t size)
{
    if (n >= 1 << 26)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "the model has more than %d parts of one kind",
                        1 << 26);
    return itp_grow(r->ctx, items, n, capacity, size);
}

/* ---- symbols */

ITP_FN uint32_t itp_slice_hash(itp_slice s)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.at[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Place of a name in the table: of the symbol, or the free one where it would go. */
ITP_FN int itp_symbol_place(const itp_onnx *r, itp_slice name)
{
    int at = (int)(itp_slice_hash(name) & (uint32_t)(r->table_size - 1));
    while (r->table[at] && !itp_slice_equal(r->symbols[r->table[at] - 1].name, name))
        at = (at + 1) & (r->table_size - 1);
    return at;
}

ITP_FN int itp_symbol_find(const itp_onnx *r, itp_slice name)
{
    return r->table_size ? r->table[itp_symbol_place(r, name)] - 1 : -1;
}

/* The symbol of a name, made when it is new; -1 for the empty name. */
ITP_FN interp_status itp_symbol_get(itp_onnx *r, itp_slice name, int *out)
{
    *out = -1;
    if (!name.n) return INTERP_OK;
    if (memchr(name.at, 0, name.n))
        return itp_fail(r->ctx, INTERP_FORMAT, "a name has a zero byte: \"%.*s\"", ITP_SHOW(name));
    if (r->n_symbols >= r->table_size / 2) {
        const int size = itp_max(64, r->table_size * 2);
        int *table = (int *)itp_calloc(r->ctx, (size_t)size, sizeof *table);
        if (!table) return INTERP_NO_MEMORY;
        interp_free(r->ctx, r->table);
        r->table = table;
        r->table_size = size;
        for (int i = 0; i < r->n_symbols; i++)
            r->table[itp_symbol_place(r, r->symbols[i].name)] = i + 1;
    }
    const int at = itp_symbol_place(r, name);
    if (!r->table[at]) {
        ITP_TRY(
            itp_onnx_room(r, &r->symbols, r->n_symbols, &r->symbols_capacity, sizeof *r->symbols));
        itp_symbol *s = &r->symbols[r->n_symbols];
        memset(s, 0, sizeof *s);
        s->name = name;
        s->maker = s->tensor = s->input = s->value = s->buffer = -1;
        s->root = r->n_symbols;
        r->table[at] = ++r->n_symbols;
    }
    *out = r->table[at] - 1;
    return INTERP_OK;
}

/* ---- messages */

/* Whether a field that we know has the wire type it must have. */
ITP_FN bool itp_pb_wire(itp_pb *p, const itp_pb_field *f, int wire)
{
    if (f->wire != wire) p->bad = true;
    return f->wire == wire;
}

/* A number from a short list; 999 stands for all that no list has. */
ITP_FN int itp_pb_small(const itp_pb_field *f)
{
    return f->value > 999 ? 999 : (int)f->value;
}

/* key=1, value=2 of TensorProto.external_data */
ITP_FN bool itp_onnx_read_external(itp_slice message, itp_onnx_tensor *t)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice key = {NULL, 0}, value = {NULL, 0};
    while (itp_pb_next(&p, &f)) {
        if (f.number == 1 && itp_pb_wire(&p, &f, ITP_BYTES)) key = f.bytes;
        if (f.number == 2 && itp_pb_wire(&p, &f, ITP_BYTES)) value = f.bytes;
    }
    if (p.bad) return false;
    const bool offset = itp_slice_is(key, "offset");
    if (itp_slice_is(key, "location")) t->location = value;
    if (!offset && !itp_slice_is(key, "length")) return true;
    uint64_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.at[i] < '0' || value.at[i] > '9' || n > UINT64_MAX / 10 - 1) return false;
        n = n * 10 + (uint64_t)(value.at[i] - '0');
    }
    *(offset ? &t->offset : &t->length) = n;
    return value.n > 0;
}

/* dims=1 (repeated) as a shape. */
ITP_FN interp_status itp_onnx_read_dims(itp_onnx *r, itp_slice message, itp_slice name,
                                        interp_shape *shape)
{
    uint64_t dims[INTERP_MAX_RANK], d;
    int rank = 0;
    itp_pb_numbers it = itp_pb_numbers_of(message, 1, ITP_VARINT);
    while (itp_pb_number(&it, &d)) {
        if (rank == INTERP_MAX_RANK)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "tensor \"%.*s\" has more than %d dimensions", ITP_SHOW(name),
                            INTERP_MAX_RANK);
        dims[rank++] = d;
    }
    if (it.message.bad) return itp_onnx_damaged(r, "a tensor");
    char label[128];
    size_t bytes;
    snprintf(label, sizeof label, "tensor \"%.*s\"", ITP_SHOW(name));
    return itp_shape_from_file(r->ctx, label, rank, dims, 8, shape, &bytes);
}

/* Whether a tensor holds as many numbers as its shape says. */
ITP_FN interp_status itp_onnx_check_size(itp_onnx *r, const itp_onnx_tensor *t, itp_slice name)
{
    const itp_onnx_type *type = itp_onnx_type_row(t->type);
    const size_t count = interp_shape_size(&t->shape);
    size_t have = 0;
    uint64_t bits;
    if (!type || t->external) return INTERP_OK; /* looked at when it is used */
    if (t->field) {
        itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
        while (itp_pb_number(&it, &bits)) have++;
        if (it.message.bad) return itp_onnx_damaged(r, "a tensor");
    } else {
        have = t->raw.n / interp_dtype_size(type->dtype);
        if (t->raw.n % interp_dtype_size(type->dtype)) have = SIZE_MAX;
    }
    char text[96];
    if (have == (t->repeats ? 1 : count)) return INTERP_OK;
    return itp_fail(r->ctx, INTERP_FORMAT, "tensor \"%.*s\" of shape %s does not hold %zu numbers",
                    ITP_SHOW(name), itp_shape_text(&t->shape, text, sizeof text), count);
}

/* TensorProto: dims=1, data_type=2, name=8, raw_data=9, external_data=13, data_location=14 */
ITP_FN interp_status itp_onnx_read_tensor(itp_onnx *r, itp_slice message, itp_slice *name,
                                          itp_onnx_tensor *t)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    bool raw = false;
    memset(t, 0, sizeof *t);
    memset(name, 0, sizeof *name);
    t->message = message;
    t->length = UINT64_MAX;
    while (itp_pb_next(&p, &f)) {
        switch (f.number) {
        case 2:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) t->type = itp_pb_small(&f);
            break;
        case 8:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) *name = f.bytes;
            break;
        case 9:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) t->raw = f.bytes;
            raw = true;
            break;
        case 13:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) p.bad = !itp_onnx_read_external(f.bytes, t);
            break;
        case 14:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) t->external = f.value == 1;
            break;
        default: break;
        }
    }
    if (p.bad) return itp_onnx_damaged(r, "a tensor");
    const itp_onnx_type *type = itp_onnx_type_row(t->type);
    if (type && !raw && !t->external) {
        t->field = type->field;
        t->wire = type->wire;
    }
    ITP_TRY(itp_onnx_read_dims(r, message, *name, &t->shape));
    return itp_onnx_check_size(r, t, *name);
}

ITP_FN interp_status itp_onnx_add_tensor(itp_onnx *r, const itp_onnx_tensor *t, int symbol)
{
    ITP_TRY(itp_onnx_room(r, &r->tensors, r->n_tensors, &r->tensors_capacity, sizeof *r->tensors));
    r->tensors[r->n_tensors] = *t;
    r->symbols[symbol].tensor = r->n_tensors++;
    r->symbols[symbol].shape = t->shape;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_initializer(itp_onnx *r, itp_slice message)
{
    itp_onnx_tensor t;
    itp_slice name;
    int symbol;
    ITP_TRY(itp_onnx_read_tensor(r, message, &name, &t));
    ITP_TRY(itp_symbol_get(r, name, &symbol));
    if (symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an initializer has no name");
    if (r->symbols[symbol].tensor >= 0)
        return itp_fail(r->ctx, INTERP_FORMAT, "two initializers are named \"%.*s\"",
                        ITP_SHOW(name));
    ITP_TRY(itp_onnx_room(r, &r->initializers, r->n_initializers, &r->initializers_capacity,
                          sizeof *r->initializers));
    r->initializers[r->n_initializers++] = symbol;
    return itp_onnx_add_tensor(r, &t, symbol);
}

/* AttributeProto: name=1, f=2, i=3, s=4, t=5, type=20 */
ITP_FN interp_status itp_onnx_read_attribute(itp_onnx *r, itp_slice message)
{
    ITP_TRY(itp_onnx_room(r, &r->attrs, r->n_attrs, &r->attrs_capacity, sizeof *r->attrs));
    itp_onnx_attr *a = &r->attrs[r->n_attrs++];
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    memset(a, 0, sizeof *a);
    a->message = message;
    while (itp_pb_next(&p, &f)) {
        switch (f.number) {
        case 1:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->name = f.bytes;
            break;
        case 2:
            if (itp_pb_wire(&p, &f, ITP_FIXED32)) a->f = (uint32_t)f.value, a->has_f = true;
            break;
        case 3:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) a->i = (int64_t)f.value, a->has_i = true;
            break;
        case 4:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->s = f.bytes;
            break;
        case 5:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->t = f.bytes;
            break;
        case 20:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) a->type = itp_pb_small(&f);
            break;
        default: break;
        }
    }
    return p.bad ? itp_onnx_damaged(r, "an attribute") : INTERP_OK;
}

/* The names of field `number` as links. */
ITP_FN interp_status itp_onnx_read_links(itp_onnx *r, itp_slice message, uint32_t number,
                                         int *first, int *count)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    *first = r->n_links;
    while (itp_pb_next(&p, &f)) {
        int symbol;
        if (f.number != number || !itp_pb_wire(&p, &f, ITP_BYTES)) continue;
        ITP_TRY(itp_symbol_get(r, f.bytes, &symbol));
        ITP_TRY(itp_onnx_room(r, &r->links, r->n_links, &r->links_capacity, sizeof *r->links));
        r->links[r->n_links++] = symbol;
    }
    *count = r->n_links - *first;
    return p.bad ? itp_onnx_damaged(r, "a node") : INTERP_OK;
}

/* NodeProto: input=1, output=2, name=3, op_type=4, attribute=5, domain=7 */
ITP_FN interp_status itp_onnx_read_node(itp_onnx *r, itp_slice message)
{
    ITP_TRY(itp_onnx_room(r, &r->nodes, r->n_nodes, &r->nodes_capacity, sizeof *r->nodes));
    itp_onnx_node *n = &r->nodes[r->n_nodes];
    memset(n, 0, sizeof *n);
    n->index = r->n_nodes++;
    n->fused = n->fused_x = -1;
    n->attr = r->n_attrs;
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    while (itp_pb_next(&p, &f)) {
        if (f.number != 3 && f.number != 4 && f.number != 5 && f.number != 7) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        if (f.number == 3) n->name = f.bytes;
        if (f.number == 4) n->op = f.bytes;
        if (f.number == 5) ITP_TRY(itp_onnx_read_attribute(r, f.bytes));
        if (f.number == 7) n->domain = f.bytes;
    }
    if (p.bad) return itp_onnx_damaged(r, "a node");
    if (n->name.n && memchr(n->name.at, 0, n->name.n))
        return itp_fail(r->ctx, INTERP_FORMAT, "a node's name has a zero byte");
    n->n_attr = r->n_attrs - n->attr;
    ITP_TRY(itp_onnx_read_links(r, message, 1, &n->in, &n->n_in));
    while (n->n_in && r->links[n->in + n->n_in - 1] < 0) n->n_in--; /* left out at the end */
    ITP_TRY(itp_onnx_read_links(r, message, 2, &n->out, &n->n_out));
    for (int i = 0; i < n->n_out; i++) {
        const int symbol = r->links[n->out + i];
        if (symbol < 0) continue;
        if (r->symbols[symbol].maker >= 0)
            return itp_fail(r->ctx, INTERP_FORMAT, "two nodes make the value \"%.*s\"",
                            ITP_SHOW(r->symbols[symbol].name));
        r->symbols[symbol].maker = n->index;
    }
    return INTERP_OK;
}

/* Walks down messages of one field each: TypeProto.tensor_type=1, its shape=2. The last one of a
   kind counts. */
ITP_FN bool itp_pb_child(itp_slice message, uint32_t number, itp_slice *child)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    bool found = false;
    while (itp_pb_next(&p, &f))
        if (f.number == number && f.wire == ITP_BYTES) *child = f.bytes, found = true;
    return found && !p.bad;
}

/* TensorShapeProto.dim=1 {dim_value=1, dim_param=2} */
ITP_FN interp_status itp_onnx_read_port_shape(itp_onnx *r, itp_slice message, itp_onnx_port *port)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f, d;
    port->has_shape = true;
    while (itp_pb_next(&p, &f)) {
        if (f.number != 1 || !itp_pb_wire(&p, &f, ITP_BYTES)) continue;
        itp_pb q = itp_pb_of(f.bytes);
        int64_t value = 0;
        while (itp_pb_next(&q, &d))
            if (d.number == 1 && itp_pb_wire(&q, &d, ITP_VARINT)) value = (int64_t)d.value;
        if (q.bad) return itp_onnx_damaged(r, "an input");
        if (value < 0) value = 0;
        if (port->rank < INTERP_MAX_RANK)
            port->dim[port->rank] = value > INT_MAX ? INT_MAX : (int)value;
        port->rank++;
    }
    return p.bad ? itp_onnx_damaged(r, "an input") : INTERP_OK;
}

/* ValueInfoProto: name=1, type=2; TypeProto.Tensor: elem_type=1, shape=2 */
ITP_FN interp_status itp_onnx_read_input(itp_onnx *r, itp_slice message)
{
    itp_slice name = {NULL, 0}, type, tensor, shape;
    itp_onnx_port port;
    memset(&port, 0, sizeof port);
    (void)itp_pb_child(message, 1, &name);
    ITP_TRY(itp_symbol_get(r, name, &port.symbol));
    if (port.symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an input has no name");
    if (itp_pb_child(message, 2, &type) && itp_pb_child(type, 1, &tensor)) {
        itp_pb p = itp_pb_of(tensor);
        itp_pb_field f;
        while (itp_pb_next(&p, &f))
            if (f.number == 1 && itp_pb_wire(&p, &f, ITP_VARINT)) port.type = itp_pb_small(&f);
        if (p.bad) return itp_onnx_damaged(r, "an input");
        if (itp_pb_child(tensor, 2, &shape)) ITP_TRY(itp_onnx_read_port_shape(r, shape, &port));
    }
    if (r->symbols[port.symbol].input >= 0)
        return itp_fail(r->ctx, INTERP_FORMAT, "two inputs are named \"%.*s\"", ITP_SHOW(name));
    ITP_TRY(itp_onnx_room(r, &r->inputs, r->n_inputs, &r->inputs_capacity, sizeof *r->inputs));
    r->symbols[port.symbol].input = r->n_inputs;
    r->inputs[r->n_inputs++] = port;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_output(itp_onnx *r, itp_slice message)
{
    itp_slice name = {NULL, 0};
    int symbol;
    (void)itp_pb_child(message, 1, &name);
    ITP_TRY(itp_symbol_get(r, name, &symbol));
    if (symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an output has no name");
    ITP_TRY(itp_onnx_room(r, &r->outputs, r->n_outputs, &r->outputs_capacity, sizeof *r->outputs));
    r->outputs[r->n_outputs++] = symbol;
    return INTERP_OK;
}

/* GraphProto: node=1, name=2, initializer=5, input=11, output=12, sparse_initializer=15 */
ITP_FN interp_status itp_onnx_read_graph(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    while (itp_pb_next(&p, &f)) {
        interp_status status = INTERP_OK;
        if (f.wire != ITP_BYTES) continue;
        switch (f.number) {
        case 1: status = itp_onnx_read_node(r, f.bytes); break;
        case 2: r->name = f.bytes; break;
        case 5: status = itp_onnx_read_initializer(r, f.bytes); break;
        case 11: status = itp_onnx_read_input(r, f.bytes); break;
        case 12: status = itp_onnx_read_output(r, f.bytes); break;
        case 15:
            status = itp_fail(r->ctx, INTERP_UNSUPPORTED, "sparse initializers are not supported");
            break;
        default: break;
        }
        ITP_TRY(status);
    }
    return p.bad ? itp_onnx_damaged(r, "the graph") : INTERP_OK;
}

/* OperatorSetIdProto: domain=1, version=2 */
ITP_FN interp_status itp_onnx_read_opset(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice domain = {NULL, 0};
    int64_t version = 0;
    while (itp_pb_next(&p, &f)) {
        if (f.number == 1 && itp_pb_wire(&p, &f, ITP_BYTES)) domain = f.bytes;
        if (f.number == 2 && itp_pb_wire(&p, &f, ITP_VARINT)) version = (int64_t)f.value;
    }
    if (p.bad) return itp_onnx_damaged(r, "the opset");
    if (!domain.n || itp_slice_is(domain, "ai.onnx")) r->opset = version;
    return INTERP_OK;
}

/* ModelProto: producer_name=2, graph=7, opset_import=8 */
ITP_FN interp_status itp_onnx_read_model(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice graph = {NULL, 0};
    while (itp_pb_next(&p, &f)) {
        if (f.number != 2 && f.number != 7 && f.number != 8) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        if (f.number == 2) r->producer = f.bytes;
        if (f.number == 8) ITP_TRY(itp_onnx_read_opset(r, f.bytes));
        if (f.number == 7 && graph.at)
            return itp_fail(r->ctx, INTERP_FORMAT, "the model has two graphs");
        if (f.number == 7) graph = f.bytes;
    }
    if (p.bad) return itp_onnx_damaged(r, "the model");
    if (!graph.at)
        return itp_fail(r->ctx, INTERP_FORMAT, "there is no graph: this is no ONNX model");
    return itp_onnx_read_graph(r, graph);
}

/* ---- numbers of tensors */

/* One element from its bits, sign and value as its type has them. */
ITP_FN double itp_onnx_real(int type, uint64_t bits)
{
    double d;
    switch (type) {
    case 1: return (double)itp_f32_of_bits((uint32_t)bits);
    case 2: return (double)(bits & 255);
    case 3: return (double)(int8_t)(bits & 255);
    case 4: return (double)(bits & 65535);
    case 5: return (double)(int16_t)(bits & 65535);
    case 6: return (double)(int32_t)(bits & 0xFFFFFFFFu);
    case 7: return (double)(int64_t)bits;
    case 9: return (double)(bits != 0);
    case 10: return (double)itp_f32_of_half((unsigned)bits & 65535);
    case 11: memcpy(&d, &bits, sizeof d); return d;
    case 12: return (double)(bits & 0xFFFFFFFFu);
    case 13: return (double)bits;
    case 16: return (double)itp_f32_of_bits((uint32_t)(bits & 65535) << 16);
    default: return 0;
    }
}

/* The bits of raw element i. */
ITP_FN uint64_t itp_onnx_raw_bits(const itp_onnx_tensor *t, size_t i)
{
    const size_t size = interp_dtype_size(itp_onnx_type_row(t->type)->dtype);
    const unsigned char *p = (const unsigned char *)t->raw.at + i * size;
    switch (size) {
    case 1: return p[0];
    case 2: return itp_get_le16(p);
    case 4: return itp_get_le32(p);
    default: return itp_get_le64(p);
    }
}

/* All elements as floats; the size was checked. */
ITP_FN void itp_onnx_floats(const itp_onnx_tensor *t, float *out)
{
    const size_t n = interp_shape_size(&t->shape);
    uint64_t bits = 0;
    if (t->field) {
        itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
        for (size_t i = 0; i < n; i++) {
            if (!t->repeats || i == 0) (void)itp_pb_number(&it, &bits);
            out[i] = (float)itp_onnx_real(t->type, bits);
        }
    } else if (t->type == ITP_ONNX_FLOAT && sizeof *out == 4 && itp_host_is_little() &&
               !t->repeats) {
        if (n) memcpy(out, t->raw.at, n * sizeof *out);
    } else {
        for (size_t i = 0; i < n; i++)
            out[i] = (float)itp_onnx_real(t->type, itp_onnx_raw_bits(t, t->repeats ? 0 : i));
    }
}

/* The first n elements of an int64 or int32 tensor. */
ITP_FN void itp_onnx_whole(const itp_onnx_tensor *t, int64_t *out, size_t n)
{
    itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        if (!t->field) bits = itp_onnx_raw_bits(t, t->repeats ? 0 : i);
        else if (!t->repeats || i == 0) (void)itp_pb_number(&it, &bits);
        out[i] = t->type == ITP_ONNX_INT64 ? (int64_t)bits : (int64_t)itp_onnx_real(t->type, bits);
    }
}

/* ---- external data */

#if !defined(INTERP_NO_STDIO)

#if defined(ITP_HAS_POSIX) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
int lstat(const char *path, struct stat *info); /* which strict ISO C hides */
#endif

/* Relative, without "..", drive or backslash. */
ITP_FN bool itp_onnx_location_ok(itp_slice s)
{
    if (!s.n || s.n > 4096 || s.at[0] == '/') return false;
    for (size_t i = 0, start = 0; i <= s.n; i++) {
        if (i < s.n && (!s.at[i] || s.at[i] == '\\' || s.at[i] == ':')) return false;
        if (i < s.n && s.at[i] != '/') continue;
        if (i - start == 2 && s.at[start] == '.' && s.at[start + 1] == '.') return false;
        start = i + 1;
    }
    return true;
}

/* Whether a link stands anywhere on the way from the folder at path[folder] down. */
ITP_FN bool itp_onnx_has_link(char *path, size_t folder)
{
#if defined(ITP_HAS_POSIX)
    struct stat info;
    for (size_t i = folder;; i++) {
        if (path[i] && path[i] != '/') continue;
        const char kept = path[i];
        path[i] = 0;
        const bool link = i > folder && lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
        path[i] = kept;
        if (link) return true;
        if (!kept) return false;
    }
#else
    (void)path, (void)folder;
    return false;
#endif
}

/* The whole file an initializer names, read once. */
ITP_FN interp_status itp_onnx_open_file(itp_onnx *r, itp_slice location, const itp_onnx_file **out)
{
    for (int i = 0; i < r->n_files; i++)
        if (itp_slice_equal(r->files[i].location, location)) {
            *out = &r->files[i];
            return INTERP_OK;
        }
    if (!itp_onnx_location_ok(location))
        return itp_fail(r->ctx, INTERP_FORMAT,
                        "external data \"%.*s\" is not a relative path below the model's folder",
                        ITP_SHOW(location));
    ITP_TRY(itp_onnx_room(r, &r->files, r->n_files, &r->files_capacity, sizeof *r->files));
    const char *slash = strrchr(r->path, '/');
    itp_buf path = itp_buf_new(r->ctx);
    itp_buf_add(&path, r->path, slash ? (size_t)(slash - r->path) + 1 : 0);
    const size_t folder = path.n;
    itp_buf_add(&path, location.at, location.n);
    itp_onnx_file *f = &r->files[r->n_files];
    f->location = location;
    interp_status status = path.status;
    if (!status && itp_onnx_has_link(path.data, folder))
        status = itp_fail(r->ctx, INTERP_FORMAT,
                          "external data \"%.*s\" is a symbolic link: put the file itself there",
                          ITP_SHOW(location));
    if (!status) status = itp_file_read(r->ctx, path.data, &f->bytes, &f->n);
    itp_buf_free(&path);
    if (status) return status;
    r->n_files++;
    *out = f;
    return INTERP_OK;
}

#endif

ITP_FN interp_status itp_onnx_load_external(itp_onnx *r, int symbol)
{
    const itp_symbol *s = &r->symbols[symbol];
    itp_onnx_tensor *t = &r->tensors[s->tensor];
    if (!t->external) return INTERP_OK;
    if (!r->path)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "the numbers of \"%.*s\" are in another file: load the model from its file",
                        ITP_SHOW(s->name));
#if !defined(INTERP_NO_STDIO)
    const itp_onnx_file *f = NULL;
    ITP_TRY(itp_onnx_open_file(r, t->location, &f));
    if (t->offset > f->n || (t->length != UINT64_MAX && t->length > f->n - t->offset))
        return itp_fail(r->ctx, INTERP_FORMAT,
                        "the numbers of \"%.*s\" reach beyond the end of \"%.*s\"",
                        ITP_SHOW(s->name), ITP_SHOW(t->location));
    t->raw.at = f->bytes + (size_t)t->offset;
    t->raw.n = t->length == UINT64_MAX ? f->n - (size_t)t->offset : (size_t)t->length;
    t->external = false;
    return itp_onnx_check_size(r, t, s->name);
#else
    return INTERP_OK;
#endif
}

/* ---- the end */

ITP_FN void itp_onnx_free(itp_onnx *r)
{
    interp_ctx *ctx = r->ctx;
    for (int i = 0; i < r->n_files; i++) interp_free(ctx, r->files[i].bytes);
    void *all[] = {r->symbols, r->table,  r->tensors, r->initializers, r->nodes, r->links,
                   r->attrs,   r->inputs, r->outputs, r->order,        r->files};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) interp_free(ctx, all[i]);
    itp_buf_free(&r->node_name);
    itp_buf_free(&r->value_name);
}
/* >>onnx/map.c                                                                                */
/* ---- onnx/map.c: ONNX's ops and attributes against ours, for reading and for writing --------- */

/* What one attribute is to us. */
typedef enum itp_onnx_kind {
    ITP_A_INT,
    ITP_A_BOOL,
    ITP_A_FLOAT,
    ITP_A_PAIR, /* two sizes, height and width */
    ITP_A_PADS, /* four: top, left, bottom, right */
    ITP_A_PERM,
    ITP_A_MUST, /* supported only with this one value */
    ITP_A_OWN,  /* the row's own functions deal with it */
    ITP_A_SKIP  /* without meaning for the first output in use */
} itp_onnx_kind;

typedef struct itp_onnx_field {
    const char *name;
    itp_onnx_kind kind;
    size_t offset;    /* in itp_attrs */
    double value;     /* default, or the only one */
    int since, until; /* first and last opset that have it, 0: no such end */
} itp_onnx_field;

typedef struct itp_onnx_writer itp_onnx_writer;
typedef interp_status (*itp_onnx_read_fn)(itp_onnx *r, const itp_onnx_node *n);
typedef interp_status (*itp_onnx_view_fn)(itp_onnx *r, const itp_onnx_node *n,
                                          const interp_shape *in, interp_shape *want);
typedef void (*itp_onnx_write_fn)(itp_onnx_writer *w, const itp_node *node);

/* Inputs are told apart by a letter each, the last of which stands for all that follow:
   x a value; w one that is trained when it is an initialiser; o one that is trained when it is an
   initialiser with dimensions behind a weighted op; s running statistics; k not a value of the
   network: the row's own functions read it while loading. */
struct itp_onnx_row {
    const char *name; /* op_type; "" for those of ours that are only written */
    int op;           /* row of our table; -1: read as others */
    const char *inputs;
    int least, most; /* number of inputs */
    const itp_onnx_field *fields;
    itp_onnx_read_fn read;   /* NULL: one node of `op` with the attributes of `fields` */
    itp_onnx_view_fn view;   /* new shape, where the numbers stay as they are; else NULL */
    itp_onnx_write_fn write; /* NULL: likewise */
    bool weighted;           /* what follows is behind a weighted op */
};

/* Rows with readers and writers of their own; those are in read.c and write.c. */
ITP_FN interp_status itp_onnx_read_window(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_softmax(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_clip(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_dropout(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_view(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_slice(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_gather(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_mul(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_pow(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_sum(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_mean(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_read_gelu(itp_onnx *r, const itp_onnx_node *n);
ITP_FN interp_status itp_onnx_view_reshape(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_flatten(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_squeeze(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_unsqueeze(itp_onnx *r, const itp_onnx_node *n,
                                             const interp_shape *in, interp_shape *want);
ITP_FN interp_status itp_onnx_view_same(itp_onnx *r, const itp_onnx_node *n, const interp_shape *in,
                                        interp_shape *want);
ITP_FN void itp_onnx_write_window(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_clip(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_dropout(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_reshape(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_slice(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_silu(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_gelu(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_gelu_tanh(itp_onnx_writer *w, const itp_node *node);
ITP_FN void itp_onnx_write_square(itp_onnx_writer *w, const itp_node *node);

/* The constants of gelu's chains, and of Selu, which ONNX states to this precision. */
#define ITP_ONNX_SQRT_2       1.41421356237309505
#define ITP_ONNX_SQRT_2_BY_PI 0.79788456080286536
#define ITP_ONNX_GELU_CUBE    0.044715
#define ITP_ONNX_SELU_ALPHA   1.67326324235437728
#define ITP_ONNX_SELU_GAMMA   1.05070098735548049

#define ITP_TO(field) offsetof(itp_attrs, field)
#define ITP_NO_FIELD                                                                               \
    {                                                                                              \
        NULL, ITP_A_SKIP, 0, 0, 0, 0                                                               \
    }

static const itp_onnx_field itp_fields_none[] = {ITP_NO_FIELD};
static const itp_onnx_field itp_fields_conv[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 0, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"group", ITP_A_INT, ITP_TO(groups), 1, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_max_pool[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 0, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    {"storage_order", ITP_A_SKIP, 0, 0, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_average_pool[] = {
    {"kernel_shape", ITP_A_PAIR, ITP_TO(kernel), 0, 0, 0},
    {"strides", ITP_A_PAIR, ITP_TO(stride), 1, 0, 0},
    {"dilations", ITP_A_PAIR, ITP_TO(dilation), 1, 19, 0},
    {"pads", ITP_A_PADS, ITP_TO(pad), 0, 0, 0},
    {"ceil_mode", ITP_A_BOOL, ITP_TO(ceil_mode), 0, 0, 0},
    {"count_include_pad", ITP_A_BOOL, ITP_TO(count_include_pad), 0, 0, 0},
    {"auto_pad", ITP_A_OWN, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gemm[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0},
                                                 {"beta", ITP_A_FLOAT, ITP_TO(beta), 1, 0, 0},
                                                 {"transA", ITP_A_BOOL, ITP_TO(trans_a), 0, 0, 0},
                                                 {"transB", ITP_A_BOOL, ITP_TO(trans_b), 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_batch_norm[] = {
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"momentum", ITP_A_FLOAT, ITP_TO(momentum), 0.9, 0, 0},
    {"spatial", ITP_A_MUST, 0, 1, 0, 0},
    {"training_mode", ITP_A_MUST, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_layer_norm[] = {
    {"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
    {"epsilon", ITP_A_FLOAT, ITP_TO(epsilon), 1e-5, 0, 0},
    {"stash_type", ITP_A_SKIP, 0, 0, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_leaky[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.01, 0, 0},
                                                  ITP_NO_FIELD};
static const itp_onnx_field itp_fields_elu[] = {{"alpha", ITP_A_FLOAT, ITP_TO(alpha), 1, 0, 0},
                                                ITP_NO_FIELD};
static const itp_onnx_field itp_fields_selu[] = {
    {"alpha", ITP_A_MUST, 0, ITP_ONNX_SELU_ALPHA, 0, 0},
    {"gamma", ITP_A_MUST, 0, ITP_ONNX_SELU_GAMMA, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_swish[] = {{"alpha", ITP_A_MUST, 0, 1, 0, 0}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_hard_sigmoid[] = {
    {"alpha", ITP_A_FLOAT, ITP_TO(alpha), 0.2, 0, 0},
    {"beta", ITP_A_FLOAT, ITP_TO(beta), 0.5, 0, 0},
    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gelu[] = {{"approximate", ITP_A_OWN, 0, 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_clip[] = {
    {"min", ITP_A_OWN, 0, 0, 0, 10}, {"max", ITP_A_OWN, 0, 0, 0, 10}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_softmax[] = {{"axis", ITP_A_INT, ITP_TO(axis), -1, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_concat[] = {{"axis", ITP_A_INT, ITP_TO(axis), 0, 0, 0},
                                                   ITP_NO_FIELD};
static const itp_onnx_field itp_fields_flatten[] = {{"axis", ITP_A_INT, ITP_TO(axis), 1, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_gather[] = {{"axis", ITP_A_INT, ITP_TO(axis), 0, 0, 0},
                                                   ITP_NO_FIELD};
static const itp_onnx_field itp_fields_reshape[] = {{"allowzero", ITP_A_OWN, 0, 0, 0, 0},
                                                    ITP_NO_FIELD};
static const itp_onnx_field itp_fields_axes[] = {{"axes", ITP_A_OWN, 0, 0, 0, 12}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_transpose[] = {{"perm", ITP_A_PERM, ITP_TO(perm), 0, 0, 0},
                                                      ITP_NO_FIELD};
static const itp_onnx_field itp_fields_dropout[] = {
    {"ratio", ITP_A_OWN, 0, 0, 0, 11}, {"seed", ITP_A_SKIP, 0, 0, 0, 0}, ITP_NO_FIELD};
static const itp_onnx_field itp_fields_slice[] = {{"starts", ITP_A_OWN, 0, 0, 0, 9},
                                                  {"ends", ITP_A_OWN, 0, 0, 0, 9},
                                                  {"axes", ITP_A_OWN, 0, 0, 0, 9},
                                                  ITP_NO_FIELD};
static const itp_onnx_field itp_fields_mean[] = {{"axes", ITP_A_OWN, 0, 0, 0, 17},
                                                 {"keepdims", ITP_A_OWN, 0, 0, 0, 0},
                                                 {"noop_with_empty_axes", ITP_A_OWN, 0, 0, 0, 0},
                                                 ITP_NO_FIELD};
static const itp_onnx_field itp_fields_constant[] = {
    {"value", ITP_A_OWN, 0, 0, 0, 0},        {"value_float", ITP_A_OWN, 0, 0, 0, 0},
    {"value_floats", ITP_A_OWN, 0, 0, 0, 0}, {"value_int", ITP_A_OWN, 0, 0, 0, 0},
    {"value_ints", ITP_A_OWN, 0, 0, 0, 0},   ITP_NO_FIELD};
#define ITP_PLAIN(name, id, inputs, n, fields)                                                     \
    {                                                                                              \
        name, ITP_OP_##id, inputs, n, n, fields, NULL, NULL, NULL, false                           \
    }
static const itp_onnx_row itp_onnx_rows[] = {
    {"Conv", ITP_OP_CONV, "xww", 2, 3, itp_fields_conv, itp_onnx_read_window, NULL,
     itp_onnx_write_window, true},
    {"Gemm", ITP_OP_GEMM, "www", 2, 3, itp_fields_gemm, NULL, NULL, NULL, true},
    {"MatMul", ITP_OP_MATMUL, "ww", 2, 2, itp_fields_none, NULL, NULL, NULL, true},
    {"BatchNormalization", ITP_OP_BATCH_NORM, "xwwss", 5, 5, itp_fields_batch_norm, NULL, NULL,
     NULL, true},
    {"LayerNormalization", ITP_OP_LAYER_NORM, "xww", 2, 3, itp_fields_layer_norm, NULL, NULL, NULL,
     true},
    ITP_PLAIN("Relu", RELU, "x", 1, itp_fields_none),
    ITP_PLAIN("LeakyRelu", LEAKY_RELU, "x", 1, itp_fields_leaky),
    ITP_PLAIN("Elu", ELU, "x", 1, itp_fields_elu),
    ITP_PLAIN("Selu", SELU, "x", 1, itp_fields_selu),
    ITP_PLAIN("Softplus", SOFTPLUS, "x", 1, itp_fields_none),
    ITP_PLAIN("Sigmoid", SIGMOID, "x", 1, itp_fields_none),
    ITP_PLAIN("Tanh", TANH, "x", 1, itp_fields_none),
    {"Swish", ITP_OP_SILU, "x", 1, 1, itp_fields_swish, NULL, NULL, itp_onnx_write_silu, false},
    {"Gelu", ITP_OP_GELU, "x", 1, 1, itp_fields_gelu, itp_onnx_read_gelu, NULL, itp_onnx_write_gelu,
     false},
    {"", ITP_OP_GELU_TANH, "x", 1, 1, itp_fields_none, NULL, NULL, itp_onnx_write_gelu_tanh, false},
    ITP_PLAIN("HardSwish", HARD_SWISH, "x", 1, itp_fields_none),
    ITP_PLAIN("HardSigmoid", HARD_SIGMOID, "x", 1, itp_fields_hard_sigmoid),
    ITP_PLAIN("Exp", EXP, "x", 1, itp_fields_none),
    ITP_PLAIN("Log", LOG, "x", 1, itp_fields_none),
    ITP_PLAIN("Sqrt", SQRT, "x", 1, itp_fields_none),
    ITP_PLAIN("Erf", ERF, "x", 1, itp_fields_none),
    ITP_PLAIN("Neg", NEG, "x", 1, itp_fields_none),
    ITP_PLAIN("Abs", ABS, "x", 1, itp_fields_none),
    ITP_PLAIN("Reciprocal", RECIPROCAL, "x", 1, itp_fields_none),
    {"Clip", ITP_OP_CLIP, "xk", 1, 3, itp_fields_clip, itp_onnx_read_clip, NULL,
     itp_onnx_write_clip, false},
    {"", ITP_OP_SQUARE, "x", 1, 1, itp_fields_none, NULL, NULL, itp_onnx_write_square, false},
    {"Softmax", ITP_OP_SOFTMAX, "x", 1, 1, itp_fields_softmax, itp_onnx_read_softmax, NULL, NULL,
     false},
    {"LogSoftmax", ITP_OP_LOG_SOFTMAX, "x", 1, 1, itp_fields_softmax, itp_onnx_read_softmax, NULL,
     NULL, false},
    {"MaxPool", ITP_OP_MAX_POOL, "x", 1, 1, itp_fields_max_pool, itp_onnx_read_window, NULL,
     itp_onnx_write_window, false},
    {"AveragePool", ITP_OP_AVERAGE_POOL, "x", 1, 1, itp_fields_average_pool, itp_onnx_read_window,
     NULL, itp_onnx_write_window, false},
    ITP_PLAIN("GlobalAveragePool", GLOBAL_AVERAGE_POOL, "x", 1, itp_fields_none),
    ITP_PLAIN("GlobalMaxPool", GLOBAL_MAX_POOL, "x", 1, itp_fields_none),
    {"Add", ITP_OP_ADD, "oo", 2, 2, itp_fields_none, NULL, NULL, NULL, false},
    ITP_PLAIN("Sub", SUB, "xx", 2, itp_fields_none),
    {"Mul", ITP_OP_MUL, "oo", 2, 2, itp_fields_none, itp_onnx_read_mul, NULL, NULL, false},
    ITP_PLAIN("Div", DIV, "xx", 2, itp_fields_none),
    {"Concat", ITP_OP_CONCAT, "x", 1, ITP_MAX_INPUTS, itp_fields_concat, NULL, NULL, NULL, false},
    {"Reshape", ITP_OP_RESHAPE, "xk", 2, 2, itp_fields_reshape, itp_onnx_read_view,
     itp_onnx_view_reshape, itp_onnx_write_reshape, false},
    {"Flatten", ITP_OP_FLATTEN, "x", 1, 1, itp_fields_flatten, NULL, itp_onnx_view_flatten, NULL,
     false},
    {"Identity", ITP_OP_IDENTITY, "x", 1, 1, itp_fields_none, NULL, itp_onnx_view_same, NULL,
     false},
    ITP_PLAIN("Transpose", TRANSPOSE, "x", 1, itp_fields_transpose),
    {"Dropout", ITP_OP_DROPOUT, "xk", 1, 3, itp_fields_dropout, itp_onnx_read_dropout, NULL,
     itp_onnx_write_dropout, false},
    {"Slice", ITP_OP_SLICE, "xk", 1, 5, itp_fields_slice, itp_onnx_read_slice, NULL,
     itp_onnx_write_slice, false},
    {"Gather", -1, "xk", 2, 2, itp_fields_gather, itp_onnx_read_gather, NULL, NULL, false},
    {"Squeeze", -1, "xk", 1, 2, itp_fields_axes, itp_onnx_read_view, itp_onnx_view_squeeze, NULL,
     false},
    {"Unsqueeze", -1, "xk", 1, 2, itp_fields_axes, itp_onnx_read_view, itp_onnx_view_unsqueeze,
     NULL, false},
    {"Sum", -1, "x", 1, ITP_MAX_INPUTS, itp_fields_none, itp_onnx_read_sum, NULL, NULL, false},
    {"Pow", -1, "xk", 2, 2, itp_fields_none, itp_onnx_read_pow, NULL, NULL, false},
    {"ReduceMean", -1, "xk", 1, 2, itp_fields_mean, itp_onnx_read_mean, NULL, NULL, false},
    {"Constant", -1, "k", 0, 0, itp_fields_constant, NULL, NULL, NULL, false},
    {"ConstantOfShape", -1, "k", 1, 1, itp_fields_constant, NULL, NULL, NULL, false},
    {NULL, -1, NULL, 0, 0, NULL, NULL, NULL, NULL, false}};
#undef ITP_PLAIN

#undef ITP_TO
#undef ITP_NO_FIELD

/* The row of an op_type, NULL for none. */
ITP_FN const itp_onnx_row *itp_onnx_row_named(itp_slice op)
{
    if (!op.n) return NULL;
    for (const itp_onnx_row *row = itp_onnx_rows; row->name; row++)
        if (itp_slice_is(op, row->name)) return row;
    return NULL;
}

/* The row that writes an op of ours. */
ITP_FN const itp_onnx_row *itp_onnx_row_of(int op)
{
    const itp_onnx_row *row = itp_onnx_rows;
    while (row->name && row->op != op) row++;
    return row->name ? row : NULL;
}

ITP_FN char itp_onnx_input_kind(const itp_onnx_row *row, int i)
{
    const int last = (int)strlen(row->inputs) - 1;
    return row->inputs[itp_min(i, last)];
}

/* ---- where attributes lie in itp_attrs */

ITP_FN void *itp_onnx_place(itp_attrs *a, const itp_onnx_field *f)
{
    return (char *)a + f->offset;
}

/* How many whole numbers a field holds; 0 for those that hold none. */
ITP_FN int itp_onnx_field_ints(const itp_onnx_field *f, int rank)
{
    switch (f->kind) {
    case ITP_A_INT: return 1;
    case ITP_A_PAIR: return 2;
    case ITP_A_PADS: return 4;
    case ITP_A_PERM: return rank;
    default: return 0;
    }
}

ITP_FN void itp_onnx_set_default(itp_attrs *a, const itp_onnx_field *f)
{
    void *to = itp_onnx_place(a, f);
    const int n = f->kind == ITP_A_PERM ? 0 : itp_onnx_field_ints(f, 0);
    for (int i = 0; i < n; i++) ((int *)to)[i] = (int)f->value;
    if (f->kind == ITP_A_BOOL) *(bool *)to = f->value != 0;
    if (f->kind == ITP_A_FLOAT) *(float *)to = (float)f->value;
}

/* Shapes of all values at another batch size, into an array of n_values; false when they do not
   fit, which is an answer and no error. */
ITP_FN bool itp_onnx_shapes(const interp_net *net, int batch, interp_shape *shapes)
{
    char error[ITP_ERROR_BYTES];
    const interp_status before = net->ctx->status;
    memcpy(error, net->ctx->error, sizeof error);
    bool fits = true;
    for (int i = 0; i < net->n_values; i++) shapes[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++) {
        interp_shape *s = &shapes[net->inputs[i]];
        s->dim[0] = batch;
        fits = fits && interp_shape_size(s) <= (size_t)INT_MAX;
    }
    for (int i = 0; i < net->n_nodes && fits; i++)
        fits = !itp_node_shape(net->ctx, net, &net->nodes[i], shapes, &shapes[net->nodes[i].out]);
    net->ctx->status = before;
    memcpy(net->ctx->error, error, sizeof error);
    return fits;
}

/* ---- sentences */

/* "Conv \"conv1\"", or "Conv \"Conv_3\"" for the fourth node without a name. */
ITP_FN const char *itp_onnx_label(const itp_onnx_node *n, char out[256])
{
    if (n->name.n) snprintf(out, 256, "%.*s \"%.*s\"", ITP_SHOW(n->op), ITP_SHOW(n->name));
    else snprintf(out, 256, "%.*s \"%.*s_%d\"", ITP_SHOW(n->op), ITP_SHOW(n->op), n->index);
    return out;
}

ITP_FN interp_status itp_onnx_fail(const itp_onnx *r, interp_status status, const itp_onnx_node *n,
                                   const char *format, ...) INTERP_PRINTF(4, 5);
ITP_FN interp_status itp_onnx_fail(const itp_onnx *r, interp_status status, const itp_onnx_node *n,
                                   const char *format, ...)
{
    char label[256], text[ITP_ERROR_BYTES / 2];
    va_list args;
    va_start(args, format);
    itp_format_v(text, sizeof text, format, args);
    va_end(args);
    return itp_fail(r->ctx, status, "%s (opset %lld): %s", itp_onnx_label(n, label),
                    (long long)r->opset, text);
}

/* ---- attributes */

enum { /* AttributeProto.AttributeType */
       ITP_ATTR_FLOAT = 1,
       ITP_ATTR_INT = 2,
       ITP_ATTR_STRING = 3,
       ITP_ATTR_TENSOR = 4,
       ITP_ATTR_FLOATS = 6,
       ITP_ATTR_INTS = 7
};

ITP_FN const itp_onnx_attr *itp_onnx_attr_of(const itp_onnx *r, const itp_onnx_node *n,
                                             const char *name)
{
    for (int i = n->attr; i < n->attr + n->n_attr; i++)
        if (itp_slice_is(r->attrs[i].name, name)) return &r->attrs[i];
    return NULL;
}

ITP_FN interp_status itp_onnx_want(const itp_onnx *r, const itp_onnx_node *n,
                                   const itp_onnx_attr *a, int type, bool there)
{
    if (there && (a->type == type || a->type == 0)) return INTERP_OK;
    return itp_onnx_fail(r, INTERP_FORMAT, n, "attribute \"%.*s\" is not of the type it must have",
                         ITP_SHOW(a->name));
}

/* A whole number; *out stays when there is none. */
ITP_FN interp_status itp_onnx_int(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                  int *out)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_INT, a->has_i));
    if (a->i > INT_MAX || a->i < INT_MIN)
        return itp_onnx_fail(r, INTERP_FORMAT, n, "attribute \"%s\" is %lld", name,
                             (long long)a->i);
    *out = (int)a->i;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_float(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                    double *out)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_FLOAT, a->has_f));
    *out = (double)itp_f32_of_bits(a->f);
    return INTERP_OK;
}

/* Up to `most` whole numbers; *count is -1 when there is no such attribute. */
ITP_FN interp_status itp_onnx_ints(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                   int64_t *out, int most, int *count)
{
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, name);
    *count = -1;
    if (!a) return INTERP_OK;
    ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_INTS, true));
    itp_pb_numbers it = itp_pb_numbers_of(a->message, 8, ITP_VARINT);
    uint64_t bits;
    for (*count = 0; itp_pb_number(&it, &bits); ++*count) {
        if (*count == most)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                                 "attribute \"%s\" has more than %d numbers", name, most);
        out[*count] = (int64_t)bits;
    }
    if (it.message.bad) return itp_onnx_fail(r, INTERP_FORMAT, n, "\"%s\" is damaged", name);
    return INTERP_OK;
}

/* One attribute of the file into its place. */
ITP_FN interp_status itp_onnx_attr_set(const itp_onnx *r, const itp_onnx_node *n,
                                       const itp_onnx_field *f, int rank, itp_attrs *a)
{
    void *to = itp_onnx_place(a, f);
    const int want = itp_onnx_field_ints(f, rank);
    int64_t list[INTERP_MAX_RANK];
    double real = f->value;
    int count = 1, whole = 0;
    const itp_onnx_attr *from = itp_onnx_attr_of(r, n, f->name);
    switch (f->kind) {
    case ITP_A_INT: return itp_onnx_int(r, n, f->name, (int *)to);
    case ITP_A_BOOL:
        ITP_TRY(itp_onnx_int(r, n, f->name, &whole));
        *(bool *)to = whole != 0;
        return INTERP_OK;
    case ITP_A_FLOAT:
        ITP_TRY(itp_onnx_float(r, n, f->name, &real));
        *(float *)to = (float)real;
        return INTERP_OK;
    case ITP_A_MUST:
        if (from->has_i) real = (double)from->i;
        else ITP_TRY(itp_onnx_float(r, n, f->name, &real));
        if (fabs(real - f->value) <= 1e-6) return INTERP_OK;
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s %g is not supported, only %g", f->name,
                             real, f->value);
    case ITP_A_PAIR:
    case ITP_A_PADS:
    case ITP_A_PERM: break;
    case ITP_A_OWN:
    case ITP_A_SKIP: return INTERP_OK;
    }
    ITP_TRY(itp_onnx_ints(r, n, f->name, list, INTERP_MAX_RANK, &count));
    if (count != want)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s has %d numbers; only %d are supported",
                             f->name, count, want);
    for (int i = 0; i < count; i++) {
        if (list[i] < 0 || list[i] > INT_MAX)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "%s has %lld in it", f->name,
                                 (long long)list[i]);
        ((int *)to)[i] = (int)list[i];
    }
    return INTERP_OK;
}

/* All attributes as the row wants them; `rank` is that of the first input. */
ITP_FN interp_status itp_onnx_attrs(const itp_onnx *r, const itp_onnx_node *n, int rank,
                                    itp_attrs *a)
{
    memset(a, 0, sizeof *a);
    for (const itp_onnx_field *f = n->row->fields; f->name; f++) itp_onnx_set_default(a, f);
    for (int i = 0; i < rank; i++) a->perm[i] = rank - 1 - i;
    for (const itp_onnx_field *f = n->row->fields; f->name; f++)
        if (itp_onnx_attr_of(r, n, f->name)) ITP_TRY(itp_onnx_attr_set(r, n, f, rank, a));
    return INTERP_OK;
}

/* ---- numbers known while loading */

/* The symbol of input i, -1 when it is left out. */
ITP_FN int itp_onnx_in(const itp_onnx *r, const itp_onnx_node *n, int i)
{
    return i < n->n_in ? r->links[n->in + i] : -1;
}

ITP_FN bool itp_onnx_is_whole(const itp_onnx *r, int symbol)
{
    const int type = r->tensors[r->symbols[symbol].tensor].type;
    return type == ITP_ONNX_INT64 || type == 6;
}

ITP_FN bool itp_onnx_is_float(const itp_onnx *r, int symbol)
{
    const itp_onnx_type *type = itp_onnx_type_row(r->tensors[r->symbols[symbol].tensor].type);
    return type && type->dtype <= INTERP_BFLOAT16;
}

ITP_FN interp_status itp_onnx_unknown(const itp_onnx *r, const itp_onnx_node *n, int symbol)
{
    return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                         "\"%.*s\" is computed, but must be a constant of the right type",
                         ITP_SHOW(r->symbols[symbol].name));
}

/* The whole numbers of input i, at most `most`; *count is -1 when it is left out. */
ITP_FN interp_status itp_onnx_list(const itp_onnx *r, const itp_onnx_node *n, int i, int64_t *out,
                                   int most, int *count)
{
    const int symbol = itp_onnx_in(r, n, i);
    *count = -1;
    if (symbol < 0) return INTERP_OK;
    const itp_symbol *s = &r->symbols[symbol];
    if (s->tensor < 0 || !itp_onnx_is_whole(r, symbol)) return itp_onnx_unknown(r, n, symbol);
    const size_t size = interp_shape_size(&s->shape);
    if (s->shape.rank > 1 || size > (size_t)most)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "\"%.*s\" has %zu numbers; at most %d do",
                             ITP_SHOW(s->name), size, most);
    *count = (int)size;
    itp_onnx_whole(&r->tensors[s->tensor], out, size);
    return INTERP_OK;
}

/* A list that was an attribute up to opset `until` and is input i since. */
ITP_FN interp_status itp_onnx_either(const itp_onnx *r, const itp_onnx_node *n, const char *name,
                                     int until, int i, int64_t *out, int *count)
{
    if (r->opset <= until) return itp_onnx_ints(r, n, name, out, INTERP_MAX_RANK, count);
    return itp_onnx_list(r, n, i, out, INTERP_MAX_RANK, count);
}

/* The one number of a known symbol; false when there is another number of them. */
ITP_FN bool itp_onnx_scalar(const itp_onnx *r, int symbol, double *out)
{
    const itp_symbol *s = &r->symbols[symbol];
    float x;
    if (s->tensor < 0 || interp_shape_size(&s->shape) != 1) return false;
    if (!itp_onnx_type_row(r->tensors[s->tensor].type)) return false;
    itp_onnx_floats(&r->tensors[s->tensor], &x);
    *out = (double)x;
    return true;
}

/* The one number of input i; *out stays when it is left out. */
ITP_FN interp_status itp_onnx_scalar_in(const itp_onnx *r, const itp_onnx_node *n, int i,
                                        double *out)
{
    const int symbol = itp_onnx_in(r, n, i);
    if (symbol < 0 || itp_onnx_scalar(r, symbol, out)) return INTERP_OK;
    return itp_onnx_unknown(r, n, symbol);
}
/* >>onnx/read.c                                                                               */
/* ---- onnx/read.c: from an ONNX graph to a network -------------------------------------------- */

#define ITP_ONNX_OLDEST 7
#define ITP_ONNX_NEWEST 25
#define ITP_ONNX_LIST   64                /* most indices of one Gather */
#define ITP_ONNX_FILL   ((size_t)1 << 28) /* most numbers that a few bytes of a file may ask for */

/* ---- checks before anything is built */

/* What the outputs need, and how often each value is used. */
ITP_FN interp_status itp_onnx_mark(itp_onnx *r)
{
    int *stack = (int *)interp_alloc(r->ctx, itp_mul_size((size_t)r->n_nodes, sizeof *stack));
    int top = 0;
    if (!stack) return INTERP_NO_MEMORY;
    for (int o = 0; o < r->n_outputs; o++) {
        r->symbols[r->outputs[o]].uses++;
        const int maker = r->symbols[r->outputs[o]].maker;
        if (maker < 0 || r->nodes[maker].needed) continue;
        r->nodes[maker].needed = true;
        stack[top++] = maker;
        while (top > 0) {
            const itp_onnx_node *n = &r->nodes[stack[--top]];
            for (int i = 0; i < n->n_in; i++) {
                const int symbol = itp_onnx_in(r, n, i);
                if (symbol < 0) continue;
                r->symbols[symbol].uses++;
                const int from = r->symbols[symbol].maker;
                if (from < 0 || r->nodes[from].needed) continue;
                r->nodes[from].needed = true; /* each node is put here once */
                stack[top++] = from;
            }
        }
    }
    interp_free(r->ctx, stack);
    return INTERP_OK;
}

/* An attribute that this op did not have at this opset, or that we do not know, changes what the
   op means in a way we would miss. */
ITP_FN interp_status itp_onnx_check_attrs(const itp_onnx *r, const itp_onnx_node *n)
{
    for (int i = n->attr; i < n->attr + n->n_attr; i++) {
        const itp_onnx_field *f = n->row->fields;
        while (f->name && !itp_slice_is(r->attrs[i].name, f->name)) f++;
        if (!f->name || r->opset < f->since || (f->until && r->opset > f->until))
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "attribute \"%.*s\" is not supported",
                                 ITP_SHOW(r->attrs[i].name));
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_check_node(const itp_onnx *r, itp_onnx_node *n)
{
    if (n->domain.n && !itp_slice_is(n->domain, "ai.onnx"))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "ops of domain \"%.*s\" are not supported",
                             ITP_SHOW(n->domain));
    n->row = itp_onnx_row_named(n->op);
    if (!n->row) return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "this op is not supported");
    ITP_TRY(itp_onnx_check_attrs(r, n));
    if (n->n_in < n->row->least || n->n_in > n->row->most)
        return itp_onnx_fail(r, INTERP_FORMAT, n, "it has %d inputs", n->n_in);
    for (int i = 0; i < n->n_in; i++) {
        const int symbol = itp_onnx_in(r, n, i);
        if (symbol < 0 && (i < n->row->least || itp_onnx_input_kind(n->row, i) != 'k'))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its input %d is left out", i);
        if (symbol < 0) continue;
        const itp_symbol *s = &r->symbols[symbol];
        if (s->maker < 0 && s->tensor < 0 && s->input < 0)
            return itp_onnx_fail(r, INTERP_FORMAT, n, "nothing makes its input \"%.*s\"",
                                 ITP_SHOW(s->name));
    }
    for (int i = 0; i < n->n_out; i++) {
        const int symbol = r->links[n->out + i];
        if (symbol < 0) continue;
        const itp_symbol *s = &r->symbols[symbol];
        if (s->tensor >= 0 || s->input >= 0)
            return itp_onnx_fail(r, INTERP_FORMAT, n,
                                 "\"%.*s\" is its output, and an input or initializer too",
                                 ITP_SHOW(s->name));
        if (i > 0 && s->uses)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "its output %d is used", i);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_check(itp_onnx *r)
{
    if (!r->n_outputs) return itp_fail(r->ctx, INTERP_FORMAT, "the graph has no output");
    ITP_TRY(itp_onnx_mark(r));
    for (int i = 0; i < r->n_nodes; i++)
        if (r->nodes[i].needed) ITP_TRY(itp_onnx_check_node(r, &r->nodes[i]));
    if (r->opset < ITP_ONNX_OLDEST || r->opset > ITP_ONNX_NEWEST)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "opset %lld is not supported, only %d to %d: convert the model",
                        (long long)r->opset, ITP_ONNX_OLDEST, ITP_ONNX_NEWEST);
    for (int i = 0; i < r->n_outputs; i++) {
        const itp_symbol *s = &r->symbols[r->outputs[i]];
        if (s->maker < 0 && s->tensor < 0 && s->input < 0)
            return itp_fail(r->ctx, INTERP_FORMAT, "nothing makes the output \"%.*s\"",
                            ITP_SHOW(s->name));
    }
    return INTERP_OK;
}

/* Makers before users; the order of the file where it is that already. */
ITP_FN interp_status itp_onnx_sort(itp_onnx *r)
{
    const size_t size = itp_mul_size((size_t)r->n_nodes, sizeof(int));
    r->order = (int *)interp_alloc(r->ctx, size);
    int *stack = (int *)interp_alloc(r->ctx, size), *next = (int *)interp_alloc(r->ctx, size);
    interp_status status = r->order && stack && next ? INTERP_OK : INTERP_NO_MEMORY;
    for (int first = 0; first < r->n_nodes && !status; first++) {
        int top = 0;
        if (!r->nodes[first].needed || r->nodes[first].state) continue;
        stack[0] = first, next[0] = 0;
        r->nodes[first].state = 1;
        while (top >= 0 && !status) {
            itp_onnx_node *n = &r->nodes[stack[top]];
            if (next[top] == n->n_in) {
                n->state = 2;
                r->order[r->n_order++] = stack[top--];
                continue;
            }
            const int symbol = itp_onnx_in(r, n, next[top]++);
            const int maker = symbol < 0 ? -1 : r->symbols[symbol].maker;
            if (maker < 0 || r->nodes[maker].state == 2) continue;
            if (r->nodes[maker].state == 1) {
                status = itp_onnx_fail(r, INTERP_FORMAT, n, "it depends on its own output");
                break;
            }
            r->nodes[maker].state = 1;
            stack[++top] = maker;
            next[top] = 0;
        }
    }
    interp_free(r->ctx, stack);
    interp_free(r->ctx, next);
    return status;
}

/* ---- folding: numbers that are known without running anything */

/* The shape that `in` takes when it becomes `want`, with its 0 and -1. */
ITP_FN interp_status itp_onnx_resolve(const itp_onnx *r, const itp_onnx_node *n,
                                      const interp_shape *in, const interp_shape *want,
                                      interp_shape *out)
{
    itp_node node;
    char label[256];
    memset(&node, 0, sizeof node);
    node.op = ITP_OP_RESHAPE;
    node.name = label;
    node.n_in = 1;
    node.attrs.shape = *want;
    (void)itp_onnx_label(n, label);
    return itp_node_shape(r->ctx, NULL, &node, in, out);
}

/* Constant: one of five attributes. */
ITP_FN interp_status itp_onnx_fold_constant(itp_onnx *r, const itp_onnx_node *n)
{
    static const struct {
        const char *name;
        int type, element;
        uint32_t field;
        int wire, rank;
    } forms[] = {{"value_float", ITP_ATTR_FLOAT, ITP_ONNX_FLOAT, 2, ITP_FIXED32, 0},
                 {"value_floats", ITP_ATTR_FLOATS, ITP_ONNX_FLOAT, 7, ITP_FIXED32, 1},
                 {"value_int", ITP_ATTR_INT, ITP_ONNX_INT64, 3, ITP_VARINT, 0},
                 {"value_ints", ITP_ATTR_INTS, ITP_ONNX_INT64, 8, ITP_VARINT, 1}};
    const int symbol = r->links[n->out];
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, "value");
    itp_onnx_tensor t;
    itp_slice name;
    if (a) {
        ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_TENSOR, a->t.at != NULL));
        ITP_TRY(itp_onnx_read_tensor(r, a->t, &name, &t));
        ITP_TRY(itp_onnx_add_tensor(r, &t, symbol));
        return itp_onnx_load_external(r, symbol);
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        a = itp_onnx_attr_of(r, n, forms[i].name);
        if (!a) continue;
        const bool there = forms[i].field == 2 ? a->has_f : forms[i].field == 3 ? a->has_i : true;
        ITP_TRY(itp_onnx_want(r, n, a, forms[i].type, there));
        memset(&t, 0, sizeof t);
        t.type = forms[i].element;
        t.message = a->message;
        t.field = forms[i].field;
        t.wire = forms[i].wire;
        t.shape = itp_shape_none();
        itp_pb_numbers it = itp_pb_numbers_of(t.message, t.field, t.wire);
        uint64_t bits;
        int count = 0;
        while (count < INT_MAX && itp_pb_number(&it, &bits)) count++;
        if (it.message.bad || (!forms[i].rank && count != 1))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its \"%s\" is damaged", forms[i].name);
        t.shape.rank = forms[i].rank;
        if (t.shape.rank) t.shape.dim[0] = count;
        return itp_onnx_add_tensor(r, &t, symbol);
    }
    return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "it has no value of a kind that is supported");
}

ITP_FN interp_status itp_onnx_fold_filled(itp_onnx *r, const itp_onnx_node *n)
{
    static const char zero[4] = {0, 0, 0, 0};
    int64_t dims[INTERP_MAX_RANK];
    int rank;
    itp_onnx_tensor t;
    itp_slice name;
    ITP_TRY(itp_onnx_list(r, n, 0, dims, INTERP_MAX_RANK, &rank));
    const itp_onnx_attr *a = itp_onnx_attr_of(r, n, "value");
    if (a) {
        ITP_TRY(itp_onnx_want(r, n, a, ITP_ATTR_TENSOR, a->t.at != NULL));
        ITP_TRY(itp_onnx_read_tensor(r, a->t, &name, &t));
        if (interp_shape_size(&t.shape) != 1 || t.external)
            return itp_onnx_fail(r, INTERP_FORMAT, n, "its value is not one number");
    } else {
        memset(&t, 0, sizeof t);
        t.type = ITP_ONNX_FLOAT;
        t.raw.at = zero;
        t.raw.n = sizeof zero;
    }
    t.repeats = true;
    t.shape = itp_shape_none();
    t.shape.rank = rank;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 1 || dims[i] > INT_MAX)
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d is %lld", i,
                                 (long long)dims[i]);
        t.shape.dim[i] = (int)dims[i];
    }
    if (interp_shape_size(&t.shape) > ITP_ONNX_FILL)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "it makes more than %zu numbers",
                             ITP_ONNX_FILL);
    return itp_onnx_add_tensor(r, &t, r->links[n->out]);
}

/* Known numbers under another shape. Those that others use as they are stay apart. */
ITP_FN interp_status itp_onnx_fold_view(itp_onnx *r, itp_onnx_node *n)
{
    const int from = itp_onnx_in(r, n, 0);
    interp_shape want, shape;
    if (r->symbols[from].tensor < 0) return INTERP_OK;
    if (r->symbols[from].uses > 1 && !itp_onnx_is_whole(r, from)) return INTERP_OK;
    ITP_TRY(n->row->view(r, n, &r->symbols[from].shape, &want));
    ITP_TRY(itp_onnx_resolve(r, n, &r->symbols[from].shape, &want, &shape));
    itp_symbol *to = &r->symbols[r->links[n->out]];
    to->tensor = r->symbols[from].tensor;
    to->root = r->symbols[from].root;
    to->shape = shape;
    n->skipped = true;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_fold(itp_onnx *r)
{
    for (int i = 0; i < r->n_initializers; i++)
        ITP_TRY(itp_onnx_load_external(r, r->initializers[i]));
    for (int i = 0; i < r->n_order; i++) {
        itp_onnx_node *n = &r->nodes[r->order[i]];
        const bool constant = itp_slice_is(n->op, "Constant");
        const bool filled = itp_slice_is(n->op, "ConstantOfShape");
        if (constant) ITP_TRY(itp_onnx_fold_constant(r, n));
        if (filled) ITP_TRY(itp_onnx_fold_filled(r, n));
        n->skipped = constant || filled;
        if (n->row->view) ITP_TRY(itp_onnx_fold_view(r, n));
    }
    return INTERP_OK;
}

/* ---- fusing: chains that stand for one op of ours. All but the last node must be used by nobody
   else. */

/* The node that makes a symbol for one user only, when it is of that op. */
ITP_FN itp_onnx_node *itp_onnx_maker(const itp_onnx *r, int symbol, const char *op)
{
    if (symbol < 0) return NULL;
    const itp_symbol *s = &r->symbols[symbol];
    if (s->maker < 0 || s->uses != 1 || s->tensor >= 0) return NULL;
    itp_onnx_node *n = &r->nodes[s->maker];
    return itp_slice_is(n->op, op) && !n->skipped && n->fused < 0 ? n : NULL;
}

/* The other input of a node that has the number `want` as one of its two; -1 when it has not. */
ITP_FN int itp_onnx_beside(const itp_onnx *r, const itp_onnx_node *n, double want, bool second_only)
{
    for (int i = second_only ? 1 : 0; i < 2; i++) {
        double x = 0;
        const int symbol = itp_onnx_in(r, n, i);
        if (r->symbols[symbol].shape.rank < 2 && itp_onnx_scalar(r, symbol, &x) &&
            fabs(x - want) <= 1e-6 * fabs(want))
            return itp_onnx_in(r, n, 1 - i);
    }
    return -1;
}

/* What a product multiplies with `symbol`; -1 when that is no factor. */
ITP_FN int itp_onnx_other(const itp_onnx *r, const itp_onnx_node *n, int symbol)
{
    for (int i = 0; i < 2; i++)
        if (itp_onnx_in(r, n, i) == symbol) return itp_onnx_in(r, n, 1 - i);
    return -1;
}

/* x + 0.044715 x^3, of which all but x are added to `chain`. */
ITP_FN bool itp_onnx_match_cubic(const itp_onnx *r, int symbol, int x, itp_onnx_node **chain,
                                 int *n_chain)
{
    itp_onnx_node *add = itp_onnx_maker(r, symbol, "Add");
    if (!add) return false;
    itp_onnx_node *scaled = itp_onnx_maker(r, itp_onnx_other(r, add, x), "Mul");
    if (!scaled) return false;
    const int cube = itp_onnx_beside(r, scaled, ITP_ONNX_GELU_CUBE, false);
    itp_onnx_node *power = itp_onnx_maker(r, cube, "Pow"), *mul = itp_onnx_maker(r, cube, "Mul");
    chain[(*n_chain)++] = add;
    chain[(*n_chain)++] = scaled;
    if (power) {
        chain[(*n_chain)++] = power;
        return itp_onnx_beside(r, power, 3, true) == x;
    }
    itp_onnx_node *square = mul ? itp_onnx_maker(r, itp_onnx_other(r, mul, x), "Mul") : NULL;
    if (!square) return false;
    chain[(*n_chain)++] = mul;
    chain[(*n_chain)++] = square;
    return itp_onnx_in(r, square, 0) == x && itp_onnx_in(r, square, 1) == x;
}

/* Whether `symbol` is 1 + erf(x / sqrt 2), or 1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)). */
ITP_FN int itp_onnx_match_gate(const itp_onnx *r, int symbol, int x, itp_onnx_node **chain,
                               int *n_chain)
{
    itp_onnx_node *add = itp_onnx_maker(r, symbol, "Add");
    if (!add) return -1;
    const int inner = itp_onnx_beside(r, add, 1, false);
    itp_onnx_node *erf = itp_onnx_maker(r, inner, "Erf"),
                  *tanh_node = itp_onnx_maker(r, inner, "Tanh");
    itp_onnx_node *end = erf ? erf : tanh_node;
    if (!end) return -1;
    const int argument = itp_onnx_in(r, end, 0);
    itp_onnx_node *div = itp_onnx_maker(r, argument, "Div"),
                  *mul = itp_onnx_maker(r, argument, "Mul");
    chain[(*n_chain)++] = add;
    chain[(*n_chain)++] = end;
    if (!div && !mul) return -1;
    chain[(*n_chain)++] = div ? div : mul;
    if (erf && div) return itp_onnx_beside(r, div, ITP_ONNX_SQRT_2, true) == x ? ITP_OP_GELU : -1;
    if (erf) return itp_onnx_beside(r, mul, 1 / ITP_ONNX_SQRT_2, false) == x ? ITP_OP_GELU : -1;
    if (!mul) return -1;
    const int cubic = itp_onnx_beside(r, mul, ITP_ONNX_SQRT_2_BY_PI, false);
    return itp_onnx_match_cubic(r, cubic, x, chain, n_chain) ? ITP_OP_GELU_TANH : -1;
}

/* A product of x, 1/2 and a gate, in any order. */
ITP_FN bool itp_onnx_fuse_gelu(const itp_onnx *r, itp_onnx_node *n)
{
    for (int side = 0; side < 2; side++) {
        itp_onnx_node *inner = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Mul");
        if (!inner) continue;
        const int factors[3] = {itp_onnx_in(r, n, 1 - side), itp_onnx_in(r, inner, 0),
                                itp_onnx_in(r, inner, 1)};
        for (int half = 0; half < 3; half++) {
            double c = 0;
            if (!itp_onnx_scalar(r, factors[half], &c) || fabs(c - 0.5) > 1e-6) continue;
            if (r->symbols[factors[half]].shape.rank > 1) continue;
            for (int swap = 0; swap < 2; swap++) {
                const int x = factors[(half + 1 + swap) % 3], gate = factors[(half + 2 - swap) % 3];
                itp_onnx_node *chain[8];
                int n_chain = 0;
                const int op = itp_onnx_match_gate(r, gate, x, chain, &n_chain);
                if (op < 0) continue;
                n->fused = op;
                n->fused_x = x;
                inner->skipped = true;
                for (int i = 0; i < n_chain; i++) chain[i]->skipped = true;
                return true;
            }
        }
    }
    return false;
}

ITP_FN void itp_onnx_fuse(itp_onnx *r)
{
    for (int i = 0; i < r->n_order; i++) {
        itp_onnx_node *n = &r->nodes[r->order[i]];
        if (n->skipped || !itp_slice_is(n->op, "Mul") || itp_onnx_fuse_gelu(r, n)) continue;
        for (int side = 0; side < 2 && n->fused < 0; side++) {
            itp_onnx_node *gate = itp_onnx_maker(r, itp_onnx_in(r, n, side), "Sigmoid");
            const int x = itp_onnx_in(r, n, 1 - side);
            if (!gate || itp_onnx_in(r, gate, 0) != x) continue;
            n->fused = ITP_OP_SILU;
            n->fused_x = x;
            gate->skipped = true;
        }
    }
}

/* ---- what becomes of known numbers */

ITP_FN interp_status itp_onnx_mark_role(itp_onnx *r, const itp_onnx_node *n, int symbol, char kind,
                                        bool behind)
{
    const itp_symbol *s = &r->symbols[symbol];
    itp_symbol *root = &r->symbols[s->root];
    const bool initializer = root->maker < 0, trained = r->own || (behind && s->shape.rank > 0);
    if (s->tensor < 0 || kind == 'k') return INTERP_OK;
    if (!itp_onnx_is_float(r, symbol))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "\"%.*s\" does not hold floats, and nothing else can be computed with",
                             ITP_SHOW(s->name));
    unsigned role = ITP_AS_CONST;
    if (kind == 's') role = ITP_AS_BUFFER;
    else if (initializer && (kind == 'w' || (kind == 'o' && trained) || r->own))
        role = ITP_AS_PARAM;
    root->role |= role;
    root->shape = s->shape;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_mark_roles(itp_onnx *r)
{
    for (int k = 0; k < r->n_order; k++) {
        const itp_onnx_node *n = &r->nodes[r->order[k]];
        bool behind = false;
        if (n->skipped) continue;
        for (int i = 0; i < n->n_in && n->fused < 0; i++) {
            const int symbol = itp_onnx_in(r, n, i);
            behind = behind || (symbol >= 0 && r->symbols[symbol].trained);
        }
        if (n->fused >= 0) {
            behind = r->symbols[n->fused_x].trained;
            ITP_TRY(itp_onnx_mark_role(r, n, n->fused_x, 'x', behind));
        }
        for (int i = 0; i < n->n_in && n->fused < 0; i++) {
            const int symbol = itp_onnx_in(r, n, i);
            if (symbol < 0) continue;
            ITP_TRY(itp_onnx_mark_role(r, n, symbol, itp_onnx_input_kind(n->row, i), behind));
        }
        for (int i = 0; i < n->n_out; i++) {
            const int symbol = r->links[n->out + i];
            if (symbol >= 0) r->symbols[symbol].trained = n->row->weighted || behind;
        }
    }
    for (int i = 0; i < r->n_outputs; i++) {
        const itp_symbol *s = &r->symbols[r->outputs[i]];
        if (s->tensor < 0) continue;
        r->symbols[s->root].role |= ITP_AS_CONST;
        r->symbols[s->root].shape = s->shape;
    }
    return INTERP_OK;
}

/* A name ended by 0, in one of the reader's two buffers. */
ITP_FN const char *itp_onnx_text(itp_buf *b, itp_slice s)
{
    b->n = 0;
    itp_buf_add(b, s.at, s.n);
    return b->status ? "" : b->data;
}

/* The name of `s` with "/suffix" that no other value has. */
ITP_FN const char *itp_onnx_derived(itp_onnx *r, itp_buf *b, itp_slice s, const char *suffix)
{
    itp_slice made;
    (void)itp_onnx_text(b, s);
    itp_buf_byte(b, '/');
    itp_buf_str(b, suffix);
    for (; !b->status; itp_buf_byte(b, '_')) {
        made.at = b->data;
        made.n = b->n;
        if (itp_symbol_find(r, made) < 0) return b->data;
    }
    return "";
}

/* The numbers of a root symbol as a value of the network. */
ITP_FN interp_status itp_onnx_add_numbers(itp_onnx *r, int root, itp_kind kind, const char *name,
                                          int *value)
{
    const itp_symbol *s = &r->symbols[root];
    const itp_onnx_tensor *t = &r->tensors[s->tensor];
    const size_t n = interp_shape_size(&s->shape);
    char text[96];
    if (!itp_onnx_is_float(r, root))
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" does not hold floats",
                        ITP_SHOW(s->name));
    if (n < 1 || n > (size_t)INT_MAX)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "\"%.*s\" of shape %s has too %s numbers",
                        ITP_SHOW(s->name), itp_shape_text(&s->shape, text, sizeof text),
                        n ? "many" : "few");
    const int v = itp_add_value(r->net, name, kind, &s->shape);
    if (v < 0) return INTERP_NO_MEMORY;
    float *data = (float *)interp_alloc(r->ctx, itp_mul_size(n, sizeof *data));
    if (!data) return INTERP_NO_MEMORY;
    r->net->values[v].data = data;
    itp_onnx_floats(t, data);
    *value = v;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_add_root(itp_onnx *r, int root)
{
    itp_symbol *s = &r->symbols[root];
    if (s->value >= 0) return INTERP_OK;
    const itp_kind kind = s->role & ITP_AS_PARAM    ? ITP_PARAM
                          : s->role & ITP_AS_BUFFER ? ITP_BUFFER
                                                    : ITP_CONST;
    const char *name = itp_onnx_text(&r->value_name, s->name);
    ITP_TRY(r->value_name.status);
    return itp_onnx_add_numbers(r, root, kind, name, &s->value);
}

/* The value of the network that a symbol stands for. */
ITP_FN interp_status itp_onnx_symbol_value(itp_onnx *r, int symbol, int *value)
{
    const itp_symbol *s = &r->symbols[symbol];
    if (s->tensor >= 0) {
        ITP_TRY(itp_onnx_add_root(r, s->root));
        *value = r->symbols[s->root].value;
    } else {
        *value = s->value;
    }
    return INTERP_OK;
}

/* Running statistics, which training writes: never a parameter's own numbers. */
ITP_FN interp_status itp_onnx_buffer_value(itp_onnx *r, const itp_onnx_node *n, int symbol,
                                           int *value)
{
    const int root = r->symbols[symbol].root;
    if (r->symbols[symbol].tensor < 0) return itp_onnx_unknown(r, n, symbol);
    ITP_TRY(itp_onnx_symbol_value(r, symbol, value));
    if (r->net->values[*value].kind == ITP_BUFFER) return INTERP_OK;
    itp_symbol *s = &r->symbols[root];
    if (s->buffer < 0) {
        const char *name = itp_onnx_derived(r, &r->value_name, s->name, "running");
        ITP_TRY(r->value_name.status);
        ITP_TRY(itp_onnx_add_numbers(r, root, ITP_BUFFER, name, &s->buffer));
    }
    *value = s->buffer;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_value(itp_onnx *r, const itp_onnx_node *n, int i, int *value)
{
    const int symbol = itp_onnx_in(r, n, i);
    if (itp_onnx_input_kind(n->row, i) == 's') return itp_onnx_buffer_value(r, n, symbol, value);
    return itp_onnx_symbol_value(r, symbol, value);
}

/* ---- nodes */

/* Adds a node of ours. suffix NULL: the one that makes the first output of `n`; else one on the way
   to it. Gives the value it makes. */
ITP_FN interp_status itp_onnx_emit(itp_onnx *r, const itp_onnx_node *n, const char *suffix, int op,
                                   int n_in, const int *in, const itp_attrs *a, int *value)
{
    const int out = r->links[n->out];
    const itp_slice made = r->symbols[out].name;
    itp_buf *b = &r->node_name;
    b->n = 0;
    if (n->name.n) itp_buf_add(b, n->name.at, n->name.n);
    else itp_buf_printf(b, "%.*s_%d", ITP_SHOW(n->op), n->index);
    if (suffix) itp_buf_printf(b, "/%s", suffix);
    const char *name = suffix ? itp_onnx_derived(r, &r->value_name, made, suffix)
                              : itp_onnx_text(&r->value_name, made);
    ITP_TRY(b->status);
    ITP_TRY(r->value_name.status);
    const interp_tensor y = itp_add_node(r->net, op, b->data, name, n_in, in, a);
    if (!y) return r->net->status;
    if (!suffix) r->symbols[out].value = y - 1;
    if (value) *value = y - 1;
    return INTERP_OK;
}

ITP_FN const interp_shape *itp_onnx_shape(const itp_onnx *r, int value)
{
    return &r->net->values[value].shape;
}

/* The first input and the attributes. */
ITP_FN interp_status itp_onnx_begin(itp_onnx *r, const itp_onnx_node *n, int *x, itp_attrs *a)
{
    ITP_TRY(itp_onnx_value(r, n, 0, x));
    return itp_onnx_attrs(r, n, itp_onnx_shape(r, *x)->rank, a);
}

ITP_FN interp_status itp_onnx_emit_shape(itp_onnx *r, const itp_onnx_node *n, const char *suffix,
                                         int x, const interp_shape *want, int *value)
{
    itp_attrs a;
    memset(&a, 0, sizeof a);
    a.shape = *want;
    return itp_onnx_emit(r, n, suffix, ITP_OP_RESHAPE, 1, &x, &a, value);
}

ITP_FN interp_status itp_onnx_read_plain(itp_onnx *r, const itp_onnx_node *n, int op,
                                         const itp_attrs *a)
{
    int in[ITP_MAX_INPUTS];
    for (int i = 0; i < n->n_in; i++) ITP_TRY(itp_onnx_value(r, n, i, &in[i]));
    return itp_onnx_emit(r, n, NULL, op, n->n_in, in, a, NULL);
}

/* Pads that ONNX leaves to us: output is input / stride; the odd one at the end or the start. */
ITP_FN void itp_onnx_same_pads(itp_attrs *a, const interp_shape *x, bool at_end)
{
    for (int i = 0; i < 2; i++) {
        const int64_t size = x->dim[2 + i], stride = itp_max(1, a->stride[i]);
        const int64_t span = (int64_t)a->dilation[i] * (a->kernel[i] - 1) + 1;
        int64_t total = ((size + stride - 1) / stride - 1) * stride + span - size;
        if (total < 0) total = 0;
        if (total > 1 << 21) total = 1 << 21; /* refused by the shape rule */
        const int less = (int)(total / 2), more = (int)(total - total / 2);
        a->pad[i] = at_end ? less : more;
        a->pad[i + 2] = at_end ? more : less;
    }
}

/* Convolution and pooling. */
ITP_FN interp_status itp_onnx_read_window(itp_onnx *r, const itp_onnx_node *n)
{
    itp_attrs a;
    int x, w;
    char text[96];
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (s.rank != 4)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "only images [N,C,H,W] are supported, not %s",
                             itp_shape_text(&s, text, sizeof text));
    ITP_TRY(itp_onnx_attrs(r, n, s.rank, &a));
    if (n->row->op == ITP_OP_CONV && !a.kernel[0]) {
        ITP_TRY(itp_onnx_value(r, n, 1, &w));
        a.kernel[0] = itp_onnx_shape(r, w)->dim[2];
        a.kernel[1] = itp_onnx_shape(r, w)->dim[3];
    }
    const itp_onnx_attr *pad = itp_onnx_attr_of(r, n, "auto_pad");
    if (pad) {
        ITP_TRY(itp_onnx_want(r, n, pad, ITP_ATTR_STRING, true));
        const bool upper = itp_slice_is(pad->s, "SAME_UPPER");
        if (upper || itp_slice_is(pad->s, "SAME_LOWER")) itp_onnx_same_pads(&a, &s, upper);
        else if (itp_slice_is(pad->s, "VALID")) memset(a.pad, 0, sizeof a.pad);
        else if (pad->s.n && !itp_slice_is(pad->s, "NOTSET"))
            return itp_onnx_fail(r, INTERP_FORMAT, n, "auto_pad \"%.*s\" is not known",
                                 ITP_SHOW(pad->s));
    }
    return itp_onnx_read_plain(r, n, n->row->op, &a);
}

/* Before opset 13 the sum ran over all dimensions from the axis on. */
ITP_FN interp_status itp_onnx_read_softmax(itp_onnx *r, const itp_onnx_node *n)
{
    itp_attrs a;
    int x, many = 0, last = 0;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (r->opset < 13 && !itp_onnx_attr_of(r, n, "axis")) a.axis = 1;
    const int axis = itp_axis(a.axis, s.rank);
    if (r->opset >= 13 || axis < 0 || axis >= s.rank)
        return itp_onnx_emit(r, n, NULL, n->row->op, 1, &x, &a, NULL);
    a.axis = axis;
    for (int i = axis; i < s.rank; i++)
        if (s.dim[i] != 1) last = i, many++;
    if (many == 1) a.axis = last;
    if (many <= 1) return itp_onnx_emit(r, n, NULL, n->row->op, 1, &x, &a, NULL);
    interp_shape flat = itp_shape_none(), back = s;
    flat.rank = axis + 1;
    for (int i = 0; i < axis; i++) flat.dim[i] = 0;
    flat.dim[axis] = -1;
    back.dim[0] = axis ? 0 : -1;
    ITP_TRY(itp_onnx_emit_shape(r, n, "flat", x, &flat, &x));
    ITP_TRY(itp_onnx_emit(r, n, "rows", n->row->op, 1, &x, &a, &x));
    return itp_onnx_emit_shape(r, n, NULL, x, &back, NULL);
}

ITP_FN interp_status itp_onnx_read_clip(itp_onnx *r, const itp_onnx_node *n)
{
    double low = -(double)FLT_MAX, high = (double)FLT_MAX;
    itp_attrs a;
    int x;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    if (r->opset < 11) {
        ITP_TRY(itp_onnx_float(r, n, "min", &low));
        ITP_TRY(itp_onnx_float(r, n, "max", &high));
    } else {
        ITP_TRY(itp_onnx_scalar_in(r, n, 1, &low));
        ITP_TRY(itp_onnx_scalar_in(r, n, 2, &high));
    }
    a.alpha = (float)low, a.beta = (float)high;
    return itp_onnx_emit(r, n, NULL, ITP_OP_CLIP, 1, &x, &a, NULL);
}

ITP_FN interp_status itp_onnx_read_dropout(itp_onnx *r, const itp_onnx_node *n)
{
    double ratio = 0.5, training = 0;
    itp_attrs a;
    int x;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_float(r, n, "ratio", &ratio));
    if (r->opset >= 12) {
        ITP_TRY(itp_onnx_scalar_in(r, n, 1, &ratio));
        ITP_TRY(itp_onnx_scalar_in(r, n, 2, &training));
    }
    if (training != 0)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                             "it is set to training: export the model for inference");
    if (!(ratio >= 0 && ratio < 1))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "its ratio %g is not in [0, 1)", ratio);
    a.alpha = (float)ratio;
    return itp_onnx_emit(r, n, NULL, ITP_OP_DROPOUT, 1, &x, &a, NULL);
}

/* ---- new shapes. Dimension 0, perhaps the batch, is kept by name and not by number. */

ITP_FN interp_status itp_onnx_view_reshape(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count, literal = 0;
    ITP_TRY(itp_onnx_list(r, n, 1, list, INTERP_MAX_RANK, &count));
    ITP_TRY(itp_onnx_int(r, n, "allowzero", &literal));
    *want = itp_shape_none();
    want->rank = count;
    for (int i = 0; i < count; i++) {
        if (list[i] < -1 || list[i] > INT_MAX || (literal && list[i] == 0))
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d of the new shape is %lld", i,
                                 (long long)list[i]);
        want->dim[i] = (int)list[i];
    }
    if (count && in->rank && want->dim[0] == in->dim[0]) want->dim[0] = 0;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_flatten(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    itp_attrs a;
    ITP_TRY(itp_onnx_attrs(r, n, in->rank, &a));
    const int axis = itp_axis(a.axis, in->rank);
    *want = itp_shape_none();
    want->rank = 2;
    if (axis < 0 || axis > in->rank)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "axis %d of %d dimensions", a.axis, in->rank);
    size_t rows = 1;
    for (int i = 0; i < axis; i++) rows = itp_mul_size(rows, (size_t)in->dim[i]);
    if (rows > (size_t)INT_MAX)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "its input has too many numbers");
    want->dim[0] = (int)rows;
    want->dim[1] = -1;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_same(itp_onnx *r, const itp_onnx_node *n, const interp_shape *in,
                                        interp_shape *want)
{
    (void)r, (void)n;
    *want = *in;
    return INTERP_OK;
}

/* Axes as a set of bits among `rank` dimensions. */
ITP_FN interp_status itp_onnx_axes(const itp_onnx *r, const itp_onnx_node *n, const int64_t *list,
                                   int count, int rank, unsigned *set)
{
    *set = 0;
    for (int i = 0; i < count; i++) {
        const int64_t axis = list[i] < 0 ? list[i] + rank : list[i];
        if (axis < 0 || axis >= rank || (*set >> axis & 1))
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "axis %lld among %d dimensions",
                                 (long long)list[i], rank);
        *set |= 1u << axis;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_squeeze(itp_onnx *r, const itp_onnx_node *n,
                                           const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count;
    unsigned gone = 0;
    ITP_TRY(itp_onnx_either(r, n, "axes", 12, 1, list, &count));
    if (count >= 0) ITP_TRY(itp_onnx_axes(r, n, list, count, in->rank, &gone));
    *want = itp_shape_none();
    for (int i = 0; i < in->rank; i++) {
        if (count < 0 && in->dim[i] == 1) gone |= 1u << i;
        if (!(gone >> i & 1)) want->dim[want->rank++] = i ? in->dim[i] : 0;
        else if (in->dim[i] != 1)
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "dimension %d is %d and cannot go", i,
                                 in->dim[i]);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_view_unsqueeze(itp_onnx *r, const itp_onnx_node *n,
                                             const interp_shape *in, interp_shape *want)
{
    int64_t list[INTERP_MAX_RANK];
    int count, from = 0;
    unsigned added;
    ITP_TRY(itp_onnx_either(r, n, "axes", 12, 1, list, &count));
    if (count < 0) return itp_onnx_fail(r, INTERP_FORMAT, n, "it has no axes");
    if (in->rank + count > INTERP_MAX_RANK)
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "more than %d dimensions", INTERP_MAX_RANK);
    ITP_TRY(itp_onnx_axes(r, n, list, count, in->rank + count, &added));
    *want = itp_shape_none();
    want->rank = in->rank + count;
    for (int i = 0; i < want->rank; i++) {
        if (added >> i & 1) continue;
        want->dim[i] = from ? in->dim[from] : i ? -1 : 0;
        from++;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_view(itp_onnx *r, const itp_onnx_node *n)
{
    interp_shape want;
    int x;
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    const interp_shape s = *itp_onnx_shape(r, x);
    ITP_TRY(n->row->view(r, n, &s, &want));
    return itp_onnx_emit_shape(r, n, NULL, x, &want, NULL);
}

/* ---- ops that become others */

/* One of our slices for each axis that is not taken whole. */
ITP_FN interp_status itp_onnx_read_slice(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t start[INTERP_MAX_RANK], end[INTERP_MAX_RANK], axes[INTERP_MAX_RANK];
    int64_t steps[INTERP_MAX_RANK];
    int count, n_end, n_axes, n_steps = -1, x;
    unsigned set;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    const int rank = itp_onnx_shape(r, x)->rank;
    ITP_TRY(itp_onnx_either(r, n, "starts", 9, 1, start, &count));
    ITP_TRY(itp_onnx_either(r, n, "ends", 9, 2, end, &n_end));
    ITP_TRY(itp_onnx_either(r, n, "axes", 9, 3, axes, &n_axes));
    if (r->opset > 9) ITP_TRY(itp_onnx_list(r, n, 4, steps, INTERP_MAX_RANK, &n_steps));
    if (count < 0 || n_end != count || (n_axes >= 0 && n_axes != count) ||
        (n_steps >= 0 && n_steps != count))
        return itp_onnx_fail(r, INTERP_FORMAT, n, "starts, ends, axes and steps differ in number");
    for (int i = 0; i < count && n_axes < 0; i++) axes[i] = i;
    ITP_TRY(itp_onnx_axes(r, n, axes, count, rank, &set));
    int last = -1, cut[INTERP_MAX_RANK]; /* 1: this axis is not taken whole */
    for (int i = 0; i < count; i++) {
        const int axis = (int)(axes[i] < 0 ? axes[i] + rank : axes[i]);
        const int64_t size = itp_onnx_shape(r, x)->dim[axis];
        if (n_steps >= 0 && steps[i] != 1)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "a step of %lld is not supported",
                                 (long long)steps[i]);
        const bool to_end = end[i] >= INT_MAX; /* how exporters say "all", also of any batch */
        if (start[i] < 0) start[i] = start[i] < -size ? 0 : start[i] + size;
        if (end[i] < 0) end[i] = end[i] < -size ? 0 : end[i] + size;
        if (end[i] > size) end[i] = size;
        if (start[i] > size) start[i] = size;
        cut[i] = start[i] != 0 || (axis ? end[i] != size : !to_end);
        axes[i] = axis;
        if (cut[i]) last = i;
    }
    if (last < 0) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, &x, NULL, NULL);
    for (int i = 0; i <= last; i++) {
        char suffix[16];
        if (!cut[i]) continue;
        snprintf(suffix, sizeof suffix, "axis%d", (int)axes[i]);
        a.axis = (int)axes[i], a.start = (int)start[i];
        a.length = (int)(end[i] > start[i] ? end[i] - start[i] : 0);
        ITP_TRY(itp_onnx_emit(r, n, i == last ? NULL : suffix, ITP_OP_SLICE, 1, &x, &a, &x));
    }
    return INTERP_OK;
}

/* With one index, or with several in a row. */
ITP_FN interp_status itp_onnx_read_gather(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t index[ITP_ONNX_LIST];
    int count, x;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_list(r, n, 1, index, ITP_ONNX_LIST, &count));
    const interp_shape *s = itp_onnx_shape(r, x);
    const int axis = itp_axis(a.axis, s->rank);
    if (axis < 0 || axis >= s->rank || count < 1)
        return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "%d indices along axis %d of %d dimensions",
                             count, a.axis, s->rank);
    for (int i = 0; i < count; i++) {
        if (index[i] < 0) index[i] += s->dim[axis];
        if (index[i] < 0 || index[i] >= s->dim[axis])
            return itp_onnx_fail(r, INTERP_BAD_SHAPE, n, "an index is not within %d", s->dim[axis]);
        if (i && index[i] != index[i - 1] + 1)
            return itp_onnx_fail(r, INTERP_UNSUPPORTED, n,
                                 "only neighbouring indices are supported");
    }
    a.start = (int)index[0];
    a.length = count;
    a.drop = r->symbols[itp_onnx_in(r, n, 1)].shape.rank == 0;
    return itp_onnx_emit(r, n, NULL, ITP_OP_SLICE, 1, &x, &a, NULL);
}

ITP_FN interp_status itp_onnx_read_mul(itp_onnx *r, const itp_onnx_node *n)
{
    int x;
    if (n->fused >= 0) {
        ITP_TRY(itp_onnx_symbol_value(r, n->fused_x, &x));
        return itp_onnx_emit(r, n, NULL, n->fused, 1, &x, NULL, NULL);
    }
    if (itp_onnx_in(r, n, 0) != itp_onnx_in(r, n, 1))
        return itp_onnx_read_plain(r, n, ITP_OP_MUL, NULL);
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    return itp_onnx_emit(r, n, NULL, ITP_OP_SQUARE, 1, &x, NULL, NULL);
}

ITP_FN interp_status itp_onnx_read_pow(itp_onnx *r, const itp_onnx_node *n)
{
    double power = 0;
    int x, op = -1;
    ITP_TRY(itp_onnx_value(r, n, 0, &x));
    ITP_TRY(itp_onnx_scalar_in(r, n, 1, &power));
    if (power == 2) op = ITP_OP_SQUARE;
    if (power == 1) op = ITP_OP_IDENTITY;
    if (power == 0.5) op = ITP_OP_SQRT;
    if (power == -1) op = ITP_OP_RECIPROCAL;
    if (op < 0) return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "power %g is not supported", power);
    return itp_onnx_emit(r, n, NULL, op, 1, &x, NULL, NULL);
}

ITP_FN interp_status itp_onnx_read_sum(itp_onnx *r, const itp_onnx_node *n)
{
    int in[2];
    ITP_TRY(itp_onnx_value(r, n, 0, &in[0]));
    if (n->n_in == 1) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, in, NULL, NULL);
    for (int i = 1; i < n->n_in; i++) {
        char suffix[16];
        snprintf(suffix, sizeof suffix, "part%d", i);
        ITP_TRY(itp_onnx_value(r, n, i, &in[1]));
        ITP_TRY(
            itp_onnx_emit(r, n, i + 1 < n->n_in ? suffix : NULL, ITP_OP_ADD, 2, in, NULL, &in[0]));
    }
    return INTERP_OK;
}

/* As global average pooling of [N, kept, reduced], which most of them are already. */
ITP_FN interp_status itp_onnx_read_mean(itp_onnx *r, const itp_onnx_node *n)
{
    int64_t list[INTERP_MAX_RANK];
    int count, keep = 1, noop = 0, x;
    unsigned gone;
    itp_attrs a;
    ITP_TRY(itp_onnx_begin(r, n, &x, &a));
    ITP_TRY(itp_onnx_int(r, n, "keepdims", &keep));
    ITP_TRY(itp_onnx_int(r, n, "noop_with_empty_axes", &noop));
    ITP_TRY(itp_onnx_either(r, n, "axes", 17, 1, list, &count));
    const interp_shape s = *itp_onnx_shape(r, x);
    if (count < 1 && noop) return itp_onnx_emit(r, n, NULL, ITP_OP_IDENTITY, 1, &x, NULL, NULL);
    for (int i = 0; i < s.rank && count < 1; i++) list[i] = i;
    ITP_TRY(itp_onnx_axes(r, n, list, count < 1 ? s.rank : count, s.rank, &gone));
    if (s.rank < 2 || (gone & 1))
        return itp_onnx_fail(r, INTERP_UNSUPPORTED, n, "a mean over the batch is not supported");
    interp_shape rows = itp_shape_none(), out = itp_shape_none();
    int at = 0;
    bool moves = false;
    rows.rank = 3;
    rows.dim[0] = 0;
    memset(&a, 0, sizeof a);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < s.rank; i++) {
            if ((int)(gone >> i & 1) != pass) continue;
            moves = moves || i != at;
            a.perm[at++] = i;
            if (i) rows.dim[1 + pass] *= s.dim[i]; /* no more numbers than s has */
        }
    for (int i = 0; i < s.rank; i++)
        if (keep || !(gone >> i & 1)) out.dim[out.rank++] = !i ? 0 : gone >> i & 1 ? 1 : s.dim[i];
    const bool ready = s.rank > 2 && gone == (1u << s.rank) - 4;
    if (ready && keep)
        return itp_onnx_emit(r, n, NULL, ITP_OP_GLOBAL_AVERAGE_POOL, 1, &x, NULL, NULL);
    if (moves) ITP_TRY(itp_onnx_emit(r, n, "moved", ITP_OP_TRANSPOSE, 1, &x, &a, &x));
    if (!ready) ITP_TRY(itp_onnx_emit_shape(r, n, "rows", x, &rows, &x));
    ITP_TRY(itp_onnx_emit(r, n, "mean", ITP_OP_GLOBAL_AVERAGE_POOL, 1, &x, NULL, &x));
    return itp_onnx_emit_shape(r, n, NULL, x, &out, NULL);
}

ITP_FN interp_status itp_onnx_read_gelu(itp_onnx *r, const itp_onnx_node *n)
{
    const itp_onnx_attr *how = itp_onnx_attr_of(r, n, "approximate");
    int op = ITP_OP_GELU;
    if (how) ITP_TRY(itp_onnx_want(r, n, how, ITP_ATTR_STRING, true));
    if (how && itp_slice_is(how->s, "tanh")) op = ITP_OP_GELU_TANH;
    else if (how && !itp_slice_is(how->s, "none"))
        return itp_onnx_fail(r, INTERP_FORMAT, n, "approximate \"%.*s\" is not known",
                             ITP_SHOW(how->s));
    return itp_onnx_read_plain(r, n, op, NULL);
}

/* ---- inputs, outputs and the batch */

ITP_FN interp_status itp_onnx_check_input(const itp_onnx *r, const itp_onnx_port *p)
{
    const itp_slice name = r->symbols[p->symbol].name;
    const itp_onnx_type *type = itp_onnx_type_row(p->type);
    if (p->type != ITP_ONNX_FLOAT)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" is of type %s; only float32 is supported", ITP_SHOW(name),
                        type ? interp_dtype_name(type->dtype) : "unknown");
    if (!p->has_shape || p->rank < 1 || p->rank > INTERP_MAX_RANK)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "input \"%.*s\" has no fixed number of dimensions from 1 to %d",
                        ITP_SHOW(name), INTERP_MAX_RANK);
    for (int i = 1; i < p->rank; i++)
        if (p->dim[i] < 1)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "dimension %d of input \"%.*s\" is not fixed; only the first one, the "
                            "batch, may be: export the model with fixed sizes",
                            i, ITP_SHOW(name));
    return INTERP_OK;
}

/* Adds the inputs. *batch: what they were exported with, or 1; *fixed: whether they say so. */
ITP_FN interp_status itp_onnx_add_inputs(itp_onnx *r, int *batch, bool *fixed)
{
    *batch = 1;
    *fixed = false;
    for (int i = 0; i < r->n_inputs; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        if (r->symbols[p->symbol].tensor >= 0) continue; /* an initializer listed as an input */
        ITP_TRY(itp_onnx_check_input(r, p));
        if (p->dim[0] < 1) continue;
        if (*fixed && *batch != p->dim[0])
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "the first dimensions of the inputs differ: %d and %d", *batch,
                            p->dim[0]);
        *fixed = true;
        *batch = p->dim[0];
    }
    for (int i = 0; i < r->n_inputs; i++) {
        const itp_onnx_port *p = &r->inputs[i];
        itp_symbol *symbol = &r->symbols[p->symbol];
        if (symbol->tensor >= 0) continue;
        interp_shape s = itp_shape_none();
        s.rank = p->rank;
        for (int d = 0; d < p->rank; d++) s.dim[d] = d ? p->dim[d] : *batch;
        if (r->net->n_inputs == ITP_MAX_INPUTS || interp_shape_size(&s) > (size_t)INT_MAX)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "there are too many or too large inputs");
        const char *name = itp_onnx_text(&r->value_name, symbol->name);
        ITP_TRY(r->value_name.status);
        symbol->value = itp_add_value(r->net, name, ITP_INPUT, &s);
        if (symbol->value < 0) return INTERP_NO_MEMORY;
        r->net->inputs[r->net->n_inputs++] = symbol->value;
    }
    return INTERP_OK;
}

/* Whether the network means the same for `batch` samples as for each of them alone. strict: no
   value may hold samples in another way than one after the other. */
ITP_FN bool itp_onnx_takes(const interp_net *net, int batch, bool strict, interp_shape *shapes,
                           bool *moves)
{
    if (!itp_onnx_shapes(net, batch, shapes)) return false;
    for (int i = 0; i < net->n_values; i++) moves[i] = net->values[i].kind == ITP_INPUT;
    for (int i = 0; i < net->n_nodes; i++) {
        const itp_node *node = &net->nodes[i];
        for (int k = 0; k < node->n_in; k++) moves[node->out] |= moves[node->in[k]];
        const bool softmax = node->op == ITP_OP_SOFTMAX || node->op == ITP_OP_LOG_SOFTMAX;
        if (strict && softmax && itp_axis(node->attrs.axis, shapes[node->in[0]].rank) == 0)
            return false;
    }
    for (int i = 0; i < net->n_values; i++) {
        bool asked = strict && moves[i];
        for (int k = 0; k < net->n_outputs; k++) asked = asked || net->outputs[k] == i;
        const size_t one = interp_shape_size(&net->values[i].shape);
        if (asked && (!shapes[i].rank || shapes[i].dim[0] != batch ||
                      interp_shape_size(&shapes[i]) != itp_mul_size(one, (size_t)batch)))
            return false;
    }
    return true;
}

/* A model made for batches of one may take any, and one that says it does may not. */
ITP_FN interp_status itp_onnx_find_batch(itp_onnx *r, int batch, bool fixed)
{
    interp_net *net = r->net;
    interp_ctx *ctx = r->ctx;
    const size_t n = (size_t)net->n_values;
    if (batch > 1) {
        net->fixed_batch = batch;
        return INTERP_OK;
    }
    interp_shape *shapes = (interp_shape *)interp_alloc(ctx, itp_mul_size(n, sizeof *shapes));
    bool *moves = (bool *)interp_alloc(ctx, itp_mul_size(n, sizeof *moves));
    const bool memory = shapes && moves;
    const bool takes = memory && itp_onnx_takes(net, 2, fixed, shapes, moves) &&
                       itp_onnx_takes(net, 7, fixed, shapes, moves);
    interp_free(ctx, shapes);
    interp_free(ctx, moves);
    if (!memory) return INTERP_NO_MEMORY;
    net->fixed_batch = takes ? 0 : 1;
    return INTERP_OK;
}

/* ---- the whole model */

ITP_FN interp_status itp_onnx_build(itp_onnx *r)
{
    int batch = 1;
    bool fixed = false;
    ITP_TRY(itp_onnx_check(r));
    ITP_TRY(itp_onnx_sort(r));
    ITP_TRY(itp_onnx_fold(r));
    itp_onnx_fuse(r);
    ITP_TRY(itp_onnx_mark_roles(r));
    const char *name = r->name.n && !memchr(r->name.at, 0, r->name.n)
                           ? itp_onnx_text(&r->value_name, r->name)
                           : "net";
    ITP_TRY(r->value_name.status);
    r->net = interp_net_new(r->ctx, name);
    if (!r->net) return INTERP_NO_MEMORY;
    ITP_TRY(itp_onnx_add_inputs(r, &batch, &fixed));
    for (int i = 0; i < r->n_initializers; i++)
        if (r->symbols[r->initializers[i]].role) ITP_TRY(itp_onnx_add_root(r, r->initializers[i]));
    for (int i = 0; i < r->n_order; i++) {
        const itp_onnx_node *n = &r->nodes[r->order[i]];
        itp_attrs a;
        int x;
        if (n->skipped) continue;
        if (n->row->read) {
            ITP_TRY(n->row->read(r, n));
            continue;
        }
        ITP_TRY(itp_onnx_begin(r, n, &x, &a));
        ITP_TRY(itp_onnx_read_plain(r, n, n->row->op, &a));
    }
    for (int i = 0; i < r->n_outputs; i++) {
        int value;
        if (i == ITP_MAX_INPUTS)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED, "more than %d outputs", ITP_MAX_INPUTS);
        ITP_TRY(itp_onnx_symbol_value(r, r->outputs[i], &value));
        r->net->outputs[r->net->n_outputs++] = value;
    }
    ITP_TRY(itp_net_finish(r->net));
    return itp_onnx_find_batch(r, batch, fixed);
}

ITP_FN interp_status itp_onnx_read(interp_ctx *ctx, const char *path, const void *bytes, size_t n,
                                   interp_net **net)
{
    itp_onnx r;
    itp_slice all;
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    r.path = path;
    r.node_name = itp_buf_new(ctx);
    r.value_name = itp_buf_new(ctx);
    all.at = (const char *)bytes;
    all.n = n;
    interp_status status = itp_onnx_read_model(&r, all);
    r.own = itp_slice_is(r.producer, "interp.h");
    if (!status) status = itp_onnx_build(&r);
    if (status) interp_net_free(r.net);
    else *net = r.net;
    itp_onnx_free(&r);
    if (status) return itp_fail(ctx, status, "%s: %s", path ? path : "ONNX", ctx->error);
    return INTERP_OK;
}

INTERP_API interp_status interp_onnx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                           interp_net **net)
{
    return itp_onnx_read(ctx, NULL, bytes, n, net);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_onnx_load(interp_ctx *ctx, const char *path, interp_net **net)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_onnx_read(ctx, path, bytes, n, net);
    interp_free(ctx, bytes);
    return status;
}

#endif
/* >>onnx/write.c                                                                              */
/* ---- onnx/write.c: from a network to an ONNX graph; notes; weights by name ------------------- */

#define ITP_ONNX_IR     8
#define ITP_ONNX_WRITES 17 /* opset */

/* A model being written: fields of its graph, and messages being put together. */
struct itp_onnx_writer {
    const interp_net *net;
    itp_buf nodes, extra, ports; /* nodes; initializers made here; inputs and outputs */
    itp_buf node, part, inner, name;
    interp_status status;
};

/* The first error of the writer or one of its buffers. */
ITP_FN interp_status itp_onnx_writer_status(const itp_onnx_writer *w)
{
    const itp_buf *all[] = {&w->nodes, &w->extra, &w->ports, &w->node,
                            &w->part,  &w->inner, &w->name};
    if (w->status) return w->status;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->status) return all[i]->status;
    return INTERP_OK;
}

/* ---- names */

ITP_FN const char *itp_onnx_value_name(const itp_onnx_writer *w, int value)
{
    return w->net->values[value].name;
}

/* The name of a value on the way to what `node` makes: one that no value has. */
ITP_FN const char *itp_onnx_inner_name(itp_onnx_writer *w, const itp_node *node, const char *suffix)
{
    itp_buf *b = &w->name;
    b->n = 0;
    itp_buf_printf(b, "%s/%s", itp_onnx_value_name(w, node->out), suffix);
    while (!b->status && itp_find_value(w->net, b->data) >= 0) itp_buf_byte(b, '_');
    return b->status ? "" : b->data;
}

/* ---- NodeProto: input=1, output=2, name=3, op_type=4, attribute=5. Inputs first, then the node,
   then its attributes. */

ITP_FN void itp_onnx_put_input(itp_onnx_writer *w, int value)
{
    itp_pb_put_text(&w->node, 1, itp_onnx_value_name(w, value));
}

ITP_FN void itp_onnx_put_inner(itp_onnx_writer *w, const itp_node *node, const char *suffix)
{
    itp_pb_put_text(&w->node, 1, itp_onnx_inner_name(w, node, suffix));
}

/* suffix NULL: the node that makes the value; else one on the way to it. */
ITP_FN void itp_onnx_put_op(itp_onnx_writer *w, const itp_node *node, const char *op,
                            const char *suffix)
{
    itp_pb_put_text(&w->node, 2,
                    suffix ? itp_onnx_inner_name(w, node, suffix)
                           : itp_onnx_value_name(w, node->out));
    w->name.n = 0;
    itp_buf_printf(&w->name, suffix ? "%s/%s" : "%s", node->name, suffix ? suffix : "");
    itp_pb_put_text(&w->node, 3, w->name.status ? "" : w->name.data);
    itp_pb_put_text(&w->node, 4, op);
}

ITP_FN void itp_onnx_end_node(itp_onnx_writer *w)
{
    itp_pb_put_message(&w->nodes, 1, &w->node);
}

/* AttributeProto: name=1, f=2, i=3, t=5, ints=8, type=20 */
ITP_FN void itp_onnx_end_attr(itp_onnx_writer *w, int type)
{
    itp_pb_put_int(&w->part, 20, type);
    itp_pb_put_message(&w->node, 5, &w->part);
}

ITP_FN void itp_onnx_put_int(itp_onnx_writer *w, const char *name, int value)
{
    itp_pb_put_text(&w->part, 1, name);
    itp_pb_put_int(&w->part, 3, value);
    itp_onnx_end_attr(w, ITP_ATTR_INT);
}

ITP_FN void itp_onnx_put_ints(itp_onnx_writer *w, const char *name, const int *values, int n)
{
    itp_pb_put_text(&w->part, 1, name);
    for (int i = 0; i < n; i++) itp_pb_put_int(&w->part, 8, values[i]);
    itp_onnx_end_attr(w, ITP_ATTR_INTS);
}

ITP_FN void itp_onnx_put_float(itp_onnx_writer *w, const char *name, double value)
{
    itp_pb_put_text(&w->part, 1, name);
    itp_pb_put_float(&w->part, 2, value);
    itp_onnx_end_attr(w, ITP_ATTR_FLOAT);
}

/* All attributes of the op's row. */
ITP_FN void itp_onnx_put_attrs(itp_onnx_writer *w, const itp_node *node, const itp_attrs *attrs)
{
    itp_attrs a = *attrs;
    const int rank = w->net->values[node->in[0]].shape.rank;
    for (const itp_onnx_field *f = itp_onnx_row_of(node->op)->fields; f->name; f++) {
        const void *from = itp_onnx_place(&a, f);
        const int n = itp_onnx_field_ints(f, rank);
        if (f->since > ITP_ONNX_WRITES) {
            for (int i = 0; i < n; i++)
                if (((const int *)from)[i] != (int)f->value && !w->status)
                    w->status =
                        itp_fail(w->net->ctx, INTERP_UNSUPPORTED,
                                 "%s \"%.100s\" has %s, which opset %d cannot say",
                                 itp_op_row(node->op)->name, node->name, f->name, ITP_ONNX_WRITES);
            continue;
        }
        if (f->kind == ITP_A_INT) itp_onnx_put_int(w, f->name, *(const int *)from);
        else if (f->kind == ITP_A_BOOL) itp_onnx_put_int(w, f->name, *(const bool *)from);
        else if (f->kind == ITP_A_FLOAT)
            itp_onnx_put_float(w, f->name, (double)*(const float *)from);
        else if (n) itp_onnx_put_ints(w, f->name, (const int *)from, n);
    }
}

/* ---- TensorProto: dims=1, data_type=2, name=8, raw_data=9 */

/* All but the bytes themselves. */
ITP_FN void itp_onnx_put_tensor(itp_buf *b, const char *name, int type, const interp_shape *shape,
                                size_t bytes)
{
    for (int i = 0; i < shape->rank; i++) itp_pb_put_int(b, 1, shape->dim[i]);
    itp_pb_put_int(b, 2, type);
    if (name) itp_pb_put_text(b, 8, name);
    itp_pb_put_key(b, 9, ITP_BYTES);
    itp_pb_put_varint(b, bytes);
}

ITP_FN void itp_onnx_put_numbers(itp_buf *b, const float *x, size_t n)
{
    if (sizeof *x == 4 && itp_host_is_little()) itp_buf_add(b, x, n * sizeof *x);
    else
        for (size_t i = 0; i < n; i++) itp_put_f32(b, (double)x[i]);
}

/* An input of `node` that ONNX wants as whole numbers: n in a list, or one of rank 0. */
ITP_FN void itp_onnx_put_list(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                              const int *values, int rank, int n)
{
    interp_shape shape = itp_shape_none();
    shape.rank = rank;
    shape.dim[0] = n;
    itp_onnx_put_inner(w, node, suffix);
    itp_onnx_put_tensor(&w->part, itp_onnx_inner_name(w, node, suffix), ITP_ONNX_INT64, &shape,
                        (size_t)n * 8);
    for (int i = 0; i < n; i++) itp_put_le(&w->part, (uint64_t)(int64_t)values[i], 8);
    itp_pb_put_message(&w->extra, 5, &w->part);
}

/* An input of `node` that ONNX wants as one number. */
ITP_FN void itp_onnx_put_scalar(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                double value)
{
    const interp_shape shape = itp_shape_none();
    itp_onnx_put_inner(w, node, suffix);
    itp_onnx_put_tensor(&w->part, itp_onnx_inner_name(w, node, suffix), ITP_ONNX_FLOAT, &shape, 4);
    itp_put_f32(&w->part, value);
    itp_pb_put_message(&w->extra, 5, &w->part);
}

/* The attribute "value" of a node Constant, which is then complete. */
ITP_FN void itp_onnx_end_constant(itp_onnx_writer *w, const interp_shape *shape, const float *x)
{
    const size_t n = interp_shape_size(shape);
    itp_onnx_put_tensor(&w->inner, NULL, ITP_ONNX_FLOAT, shape, n * 4);
    itp_onnx_put_numbers(&w->inner, x, n);
    itp_pb_put_text(&w->part, 1, "value");
    itp_pb_put_message(&w->part, 5, &w->inner);
    itp_onnx_end_attr(w, ITP_ATTR_TENSOR);
    itp_onnx_end_node(w);
}

/* ---- ops of more than one ONNX node */

/* One number of a chain, by its suffix. */
ITP_FN void itp_onnx_chain_number(itp_onnx_writer *w, const itp_node *node, const char *suffix,
                                  double value)
{
    const interp_shape shape = itp_shape_none();
    const float x = (float)value;
    itp_onnx_put_op(w, node, "Constant", suffix);
    itp_onnx_end_constant(w, &shape, &x);
}

/* One step of a chain. a and b: suffixes of what came before, "" the input of the node; b NULL: an
   op of one argument. out NULL: the last step. */
ITP_FN void itp_onnx_chain(itp_onnx_writer *w, const itp_node *node, const char *op, const char *a,
                           const char *b, const char *out)
{
    const char *const in[2] = {a, b};
    for (int i = 0; i < 2 && in[i]; i++) {
        if (*in[i]) itp_onnx_put_inner(w, node, in[i]);
        else itp_onnx_put_input(w, node->in[0]);
    }
    itp_onnx_put_op(w, node, op, out);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_silu(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain(w, node, "Sigmoid", "", NULL, "sigmoid");
    itp_onnx_chain(w, node, "Mul", "", "sigmoid", NULL);
}

/* x (1 + gate) / 2, where "gate" is there. */
ITP_FN void itp_onnx_write_gelu_end(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "one", 1);
    itp_onnx_chain_number(w, node, "half", 0.5);
    itp_onnx_chain(w, node, "Add", "gate", "one", "sum");
    itp_onnx_chain(w, node, "Mul", "", "sum", "product");
    itp_onnx_chain(w, node, "Mul", "product", "half", NULL);
}

ITP_FN void itp_onnx_write_gelu(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "root", ITP_ONNX_SQRT_2);
    itp_onnx_chain(w, node, "Div", "", "root", "scaled");
    itp_onnx_chain(w, node, "Erf", "scaled", NULL, "gate");
    itp_onnx_write_gelu_end(w, node);
}

ITP_FN void itp_onnx_write_gelu_tanh(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain_number(w, node, "share", ITP_ONNX_GELU_CUBE);
    itp_onnx_chain_number(w, node, "root", ITP_ONNX_SQRT_2_BY_PI);
    itp_onnx_chain(w, node, "Mul", "", "", "square");
    itp_onnx_chain(w, node, "Mul", "square", "", "cube");
    itp_onnx_chain(w, node, "Mul", "cube", "share", "bend");
    itp_onnx_chain(w, node, "Add", "", "bend", "bent");
    itp_onnx_chain(w, node, "Mul", "bent", "root", "scaled");
    itp_onnx_chain(w, node, "Tanh", "scaled", NULL, "gate");
    itp_onnx_write_gelu_end(w, node);
}

ITP_FN void itp_onnx_write_square(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_chain(w, node, "Mul", "", "", NULL);
}

/* ---- ops with inputs or attributes of their own */

ITP_FN void itp_onnx_write_window(itp_onnx_writer *w, const itp_node *node)
{
    itp_attrs a = node->attrs;
    const interp_shape *x = &w->net->values[node->in[0]].shape;
    if (a.same) itp_onnx_same_pads(&a, x, true);
    if (a.same) a.ceil_mode = false;
    for (int i = 0; i < node->n_in; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, itp_op_row(node->op)->name, NULL);
    itp_onnx_put_attrs(w, node, &a);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_clip(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_scalar(w, node, "min", (double)node->attrs.alpha);
    itp_onnx_put_scalar(w, node, "max", (double)node->attrs.beta);
    itp_onnx_put_op(w, node, "Clip", NULL);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_dropout(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_scalar(w, node, "ratio", (double)node->attrs.alpha);
    itp_onnx_put_op(w, node, "Dropout", NULL);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_reshape(itp_onnx_writer *w, const itp_node *node)
{
    itp_onnx_put_input(w, node->in[0]);
    itp_onnx_put_list(w, node, "shape", node->attrs.shape.dim, 1, node->attrs.shape.rank);
    itp_onnx_put_op(w, node, "Reshape", NULL);
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_slice(itp_onnx_writer *w, const itp_node *node)
{
    const itp_attrs *a = &node->attrs;
    const bool drop = a->drop && a->length == 1;
    const int end = a->start + a->length;
    itp_onnx_put_input(w, node->in[0]);
    if (drop) { /* one index without dimensions takes its axis away */
        itp_onnx_put_list(w, node, "index", &a->start, 0, 1);
        itp_onnx_put_op(w, node, "Gather", NULL);
        itp_onnx_put_int(w, "axis", a->axis);
    } else {
        itp_onnx_put_list(w, node, "starts", &a->start, 1, 1);
        itp_onnx_put_list(w, node, "ends", &end, 1, 1);
        itp_onnx_put_list(w, node, "axes", &a->axis, 1, 1);
        itp_onnx_put_op(w, node, "Slice", NULL);
    }
    itp_onnx_end_node(w);
}

ITP_FN void itp_onnx_write_node(itp_onnx_writer *w, const itp_node *node)
{
    const itp_onnx_row *row = itp_onnx_row_of(node->op);
    if (row->write) {
        row->write(w, node);
        return;
    }
    for (int i = 0; i < node->n_in; i++) itp_onnx_put_input(w, node->in[i]);
    itp_onnx_put_op(w, node, row->name, NULL);
    itp_onnx_put_attrs(w, node, &node->attrs);
    itp_onnx_end_node(w);
}

/* ---- the graph around the nodes */

/* ValueInfoProto. Dimensions that follow the batch are "N", those that change in another way have
   no size. */
ITP_FN void itp_onnx_put_port(itp_onnx_writer *w, uint32_t field, int value,
                              const interp_shape *other, int other_batch)
{
    const interp_shape *s = &w->net->values[value].shape;
    for (int i = 0; i < s->rank; i++) { /* TensorShapeProto.dim=1 {dim_value=1, dim_param=2} */
        if (other->rank != s->rank) continue;
        if (other->dim[i] == s->dim[i]) itp_pb_put_int(&w->part, 1, s->dim[i]);
        else if (other->dim[i] == s->dim[i] * other_batch) itp_pb_put_text(&w->part, 2, "N");
        itp_pb_put_message(&w->inner, 1, &w->part);
    }
    itp_pb_put_int(&w->part, 1, ITP_ONNX_FLOAT); /* TypeProto.Tensor: elem_type=1, shape=2 */
    itp_pb_put_message(&w->part, 2, &w->inner);
    itp_pb_put_message(&w->inner, 1, &w->part); /* TypeProto: tensor_type=1 */
    itp_pb_put_text(&w->part, 1, itp_onnx_value_name(w, value));
    itp_pb_put_message(&w->part, 2, &w->inner);
    itp_pb_put_message(&w->ports, field, &w->part);
}

ITP_FN interp_status itp_onnx_put_ports(itp_onnx_writer *w)
{
    const interp_net *net = w->net;
    const int batch = net->fixed_batch ? net->fixed_batch : 2;
    interp_shape *shapes =
        (interp_shape *)interp_alloc(net->ctx, itp_mul_size((size_t)net->n_values, sizeof *shapes));
    if (!shapes) return INTERP_NO_MEMORY;
    if (!itp_onnx_shapes(net, batch, shapes)) /* works for the batch it was built with only */
        for (int i = 0; i < net->n_values; i++) shapes[i] = net->values[i].shape;
    for (int i = 0; i < net->n_inputs; i++)
        itp_onnx_put_port(w, 11, net->inputs[i], &shapes[net->inputs[i]], batch);
    for (int i = 0; i < net->n_outputs; i++)
        itp_onnx_put_port(w, 12, net->outputs[i], &shapes[net->outputs[i]], batch);
    interp_free(net->ctx, shapes);
    return INTERP_OK;
}

/* Constants become nodes, so that a reader can tell them from parameters. */
ITP_FN void itp_onnx_put_constants(itp_onnx_writer *w)
{
    const interp_net *net = w->net;
    for (int v = 0; v < net->n_values; v++) {
        const itp_value *value = &net->values[v];
        if (value->kind != ITP_CONST) continue;
        itp_pb_put_text(&w->node, 2, value->name);
        itp_pb_put_text(&w->node, 3, value->name);
        itp_pb_put_text(&w->node, 4, "Constant");
        itp_onnx_end_constant(w, &value->shape, value->data);
    }
}

ITP_FN interp_status itp_onnx_check_names(const interp_net *net)
{
    bool good = itp_is_utf8(net->name, strlen(net->name));
    for (int i = 0; i < net->n_values && good; i++)
        good = itp_is_utf8(net->values[i].name, strlen(net->values[i].name));
    for (int i = 0; i < net->n_nodes && good; i++)
        good = itp_is_utf8(net->nodes[i].name, strlen(net->nodes[i].name));
    if (good) return INTERP_OK;
    return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                    "network \"%.100s\": a name is not UTF-8, as ONNX wants it", net->name);
}

ITP_FN bool itp_is_initializer(const itp_value *v)
{
    return v->kind == ITP_PARAM || v->kind == ITP_BUFFER;
}

ITP_FN size_t itp_varint_size(uint64_t value)
{
    size_t n = 1;
    while (value >>= 7) n++;
    return n;
}

/* The head of a value's initializer in `part`, and the length of the whole message. */
ITP_FN size_t itp_onnx_initializer_head(itp_onnx_writer *w, const itp_value *v)
{
    const size_t bytes = itp_mul_size(interp_shape_size(&v->shape), 4);
    w->part.n = 0;
    itp_onnx_put_tensor(&w->part, v->name, ITP_ONNX_FLOAT, &v->shape, bytes);
    return itp_add_size(w->part.n, bytes);
}

/* Everything in its place. Weights, which are most of it, are copied only once. */
ITP_FN interp_status itp_onnx_assemble(itp_onnx_writer *w, itp_buf *out)
{
    const interp_net *net = w->net;
    itp_buf *name = &w->name;
    name->n = 0;
    itp_pb_put_text(name, 2, net->name);
    size_t graph = w->nodes.n + name->n + w->extra.n + w->ports.n;
    for (int i = 0; i < net->n_values; i++) {
        if (!itp_is_initializer(&net->values[i])) continue;
        const size_t length = itp_onnx_initializer_head(w, &net->values[i]);
        graph = itp_add_size(graph, itp_add_size(length, 1 + itp_varint_size(length)));
    }
    ITP_TRY(itp_onnx_writer_status(w));
    if (graph > (size_t)INT_MAX - 1024)
        return itp_fail(net->ctx, INTERP_UNSUPPORTED,
                        "network \"%.100s\" takes more than the 2 GiB that an ONNX file may have",
                        net->name);
    (void)itp_buf_reserve(out, graph + 128);
    itp_pb_put_int(out, 1, ITP_ONNX_IR); /* ModelProto */
    itp_pb_put_text(out, 2, "interp.h");
    itp_pb_put_text(out, 3, interp_version());
    itp_pb_put_key(out, 7, ITP_BYTES);
    itp_pb_put_varint(out, graph);
    itp_buf_add(out, w->nodes.data, w->nodes.n); /* GraphProto */
    itp_buf_add(out, name->data, name->n);
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (!itp_is_initializer(v)) continue;
        const size_t length = itp_onnx_initializer_head(w, v);
        itp_pb_put_key(out, 5, ITP_BYTES);
        itp_pb_put_varint(out, length);
        itp_buf_add(out, w->part.data, w->part.n);
        itp_onnx_put_numbers(out, v->data, interp_shape_size(&v->shape));
    }
    itp_buf_add(out, w->extra.data, w->extra.n);
    itp_buf_add(out, w->ports.data, w->ports.n);
    w->part.n = 0;
    itp_pb_put_text(&w->part, 1, ""); /* OperatorSetIdProto */
    itp_pb_put_int(&w->part, 2, ITP_ONNX_WRITES);
    itp_pb_put_message(out, 8, &w->part);
    ITP_TRY(itp_onnx_writer_status(w));
    return out->status;
}

ITP_FN interp_status itp_onnx_write(const interp_net *net, itp_buf *out)
{
    interp_ctx *ctx = net->ctx;
    itp_onnx_writer w;
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    ITP_TRY(itp_onnx_check_names(net));
    memset(&w, 0, sizeof w);
    w.net = net;
    itp_buf *all[] = {&w.nodes, &w.extra, &w.ports, &w.node, &w.part, &w.inner, &w.name};
    const size_t n = sizeof all / sizeof *all;
    for (size_t i = 0; i < n; i++) *all[i] = itp_buf_new(ctx);
    itp_onnx_put_constants(&w);
    for (int i = 0; i < net->n_nodes; i++) itp_onnx_write_node(&w, &net->nodes[i]);
    interp_status status = itp_onnx_put_ports(&w);
    if (!status) status = itp_onnx_writer_status(&w);
    if (!status) status = itp_onnx_assemble(&w, out);
    for (size_t i = 0; i < n; i++) itp_buf_free(all[i]);
    return status;
}

INTERP_API interp_status interp_onnx_serialize(const interp_net *net, void **bytes, size_t *n)
{
    if (!net) return INTERP_NO_MEMORY;
    itp_buf out = itp_buf_new(net->ctx);
    const interp_status status = itp_onnx_write(net, &out);
    if (status) {
        itp_buf_free(&out);
        return status;
    }
    *bytes = out.data;
    *n = out.n;
    return INTERP_OK;
}

/* ---- notes */

/* ModelProto: metadata_props=14, StringStringEntryProto {key=1, value=2}. Fields may stand in any
   order, so that a note goes behind everything else. */
INTERP_API interp_status interp_onnx_note_add(interp_ctx *ctx, void **bytes, size_t *n,
                                              const char *key, const char *text)
{
    if (!itp_is_utf8(key, strlen(key)) || !itp_is_utf8(text, strlen(text)))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "note \"%.60s\": it is not UTF-8, as ONNX wants it", key);
    itp_buf out = itp_buf_new(ctx), entry = itp_buf_new(ctx);
    (void)itp_buf_reserve(&out, itp_add_size(*n, strlen(key) + strlen(text) + 32));
    itp_buf_add(&out, *bytes, *n);
    itp_pb_put_text(&entry, 1, key);
    itp_pb_put_text(&entry, 2, text);
    const interp_status status = entry.status;
    itp_pb_put_message(&out, 14, &entry);
    itp_buf_free(&entry);
    if (status || out.status) {
        itp_buf_free(&out);
        return INTERP_NO_MEMORY;
    }
    interp_free(ctx, *bytes);
    *bytes = out.data;
    *n = out.n;
    return INTERP_OK;
}

INTERP_API interp_status interp_onnx_note_find(interp_ctx *ctx, const void *bytes, size_t n,
                                               const char *key, char **text)
{
    itp_slice all, found = {NULL, 0};
    all.at = (const char *)bytes;
    all.n = n;
    itp_pb p = itp_pb_of(all);
    itp_pb_field f, part;
    while (itp_pb_next(&p, &f)) { /* ModelProto: metadata_props=14 {key=1, value=2} */
        itp_slice name = {NULL, 0}, value = {NULL, 0};
        if (f.number != 14) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        itp_pb entry = itp_pb_of(f.bytes);
        while (itp_pb_next(&entry, &part)) {
            if (part.number != 1 && part.number != 2) continue;
            if (!itp_pb_wire(&entry, &part, ITP_BYTES)) break;
            *(part.number == 1 ? &name : &value) = part.bytes;
        }
        p.bad = p.bad || entry.bad;
        if (!entry.bad && itp_slice_is(name, key)) found = value.at ? value : itp_slice_of("");
    }
    if (p.bad) return itp_fail(ctx, INTERP_FORMAT, "ONNX: the model is damaged at its notes");
    char *copy = found.at ? (char *)interp_alloc(ctx, found.n + 1) : NULL;
    if (found.at && !copy) return INTERP_NO_MEMORY;
    if (copy) {
        memcpy(copy, found.at, found.n);
        copy[found.n] = 0;
    }
    *text = copy;
    return INTERP_OK;
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_onnx_note_read(interp_ctx *ctx, const char *path, const char *key,
                                               char **text)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = interp_onnx_note_find(ctx, bytes, n, key, text);
    interp_free(ctx, bytes);
    return status;
}

INTERP_API interp_status interp_onnx_save(const interp_net *net, const char *path)
{
    void *bytes = NULL;
    size_t n = 0;
    ITP_TRY(interp_onnx_serialize(net, &bytes, &n));
    const interp_status status = itp_file_write(net->ctx, path, bytes, n);
    interp_free(net->ctx, bytes);
    return status;
}

/* ---- weights */

INTERP_API interp_status interp_weights_save(const interp_net *net, const char *path)
{
    if (!net) return INTERP_NO_MEMORY;
    interp_ctx *ctx = net->ctx;
    interp_named_arrays all;
    memset(&all, 0, sizeof all);
    if (!net->built)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    all.items = (interp_named_array *)interp_alloc(
        ctx, itp_mul_size((size_t)net->n_values, sizeof *all.items));
    if (!all.items) return INTERP_NO_MEMORY;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (!itp_is_initializer(v)) continue;
        interp_named_array *item = &all.items[all.n++];
        item->name = v->name;
        item->array.data = v->data;
        item->array.dtype = ITP_FLOAT_DTYPE;
        item->array.shape = v->shape;
    }
    const interp_status status = interp_safetensors_write(ctx, path, &all);
    interp_free(ctx, all.items);
    return status;
}

ITP_FN const interp_named_array *itp_weights_find(const interp_named_arrays *all, const char *name)
{
    for (int i = 0; i < all->n; i++)
        if (!strcmp(all->items[i].name, name)) return &all->items[i];
    return NULL;
}

/* Whether a file has what the network wants and nothing else. */
ITP_FN interp_status itp_weights_check(const interp_net *net, const char *path,
                                       const interp_named_arrays *all)
{
    char want[96], have[96];
    int found = 0;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (!itp_is_initializer(v)) continue;
        const interp_named_array *item = itp_weights_find(all, v->name);
        if (!item)
            return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                            "%s: there is no \"%.100s\", which network \"%.100s\" has", path,
                            v->name, net->name);
        if (!itp_shape_equal(&item->array.shape, &v->shape))
            return itp_fail(net->ctx, INTERP_BAD_SHAPE, "%s: \"%.100s\" is %s but should be %s",
                            path, v->name, itp_shape_text(&item->array.shape, have, sizeof have),
                            itp_shape_text(&v->shape, want, sizeof want));
        found++;
    }
    for (int i = 0; i < all->n && found < all->n; i++) {
        const int v = itp_find_value(net, all->items[i].name);
        if (v < 0 || !itp_is_initializer(&net->values[v]))
            return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                            "%s: network \"%.100s\" has no weights \"%.100s\"", path, net->name,
                            all->items[i].name);
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_weights_load(interp_net *net, const char *path)
{
    if (!net) return INTERP_NO_MEMORY;
    interp_named_arrays all;
    if (!net->built)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    ITP_TRY(interp_safetensors_read(net->ctx, path, &all));
    const interp_status status = itp_weights_check(net, path, &all);
    for (int i = 0; i < net->n_values && !status; i++) {
        const itp_value *v = &net->values[i];
        if (itp_is_initializer(v))
            interp_array_floats(&itp_weights_find(&all, v->name)->array, v->data);
    }
    interp_named_arrays_free(net->ctx, &all);
    return status;
}

#endif
#endif
#ifndef INTERP_NO_ATTR
/* >>attr/attribute.c                                                                          */
/* ---- attr/attribute.c: gradient methods, streamed ------------------------------------------------- */

INTERP_API const char *interp_method_name(interp_method method)
{
    static const char *const names[] = {"saliency",    "input_x_gradient", "integrated_gradients",
                                        "smooth_grad", "smooth_grad_sq",   "var_grad"};
    return (unsigned)method < INTERP_METHOD_COUNT ? names[method] : "?";
}

INTERP_API interp_method interp_method_from_name(const char *name)
{
    int m = 0;
    while (m < INTERP_METHOD_COUNT && strcmp(interp_method_name((interp_method)m), name)) m++;
    return (interp_method)m;
}

/* ---- integration rules */

/* P_n(cos t) and its derivative by t, from Bonnet's recurrence: n steps. It adds up differences, so
   that nothing is lost where cos t is almost 1. */
ITP_FN double itp_legendre(int n, double t, double *slope)
{
    const double half = sin(0.5 * t), u = 2 * half * half; /* 1 - cos t */
    double p = 1, step = 0;                                /* P_k and P_k - P_{k-1} */
    for (int k = 0; k < n; k++) {
        step = (k * step - (2 * k + 1) * u * p) / (k + 1);
        p += step;
    }
    *slope = n * (step - u * p) / sin(t);
    return p;
}

/* The factor 2 Gamma(n+1) / (sqrt(pi) Gamma(n+3/2)) of the expansion below, by Stirling's series. */
ITP_FN double itp_legendre_factor(int n)
{
    const double a = n + 1.0, b = n + 1.5, a2 = a * a, b2 = b * b;
    const double series = (1 / 12.0 - 1 / (360 * a2) + 1 / (1260 * a2 * a2)) / a -
                          (1 / 12.0 - 1 / (360 * b2) + 1 / (1260 * b2 * b2)) / b;
    const double shrink = exp(0.5 + series - (n + 0.5) * log1p(0.5 / a));
    return 2 * shrink / sqrt(3.14159265358979323846 * b);
}

/* The same by Stieltjes' expansion in cos((n+m+1/2)t - (m+1/2)pi/2) / (2 sin t)^(m+1/2), which takes
   about ten terms from the ITP_LEGENDRE_EDGE-th root on (Hale and Townsend 2013, eq. 3.3). */
ITP_FN double itp_legendre_far(int n, double factor, double t, double *slope)
{
    const double s = sin(t), cot = cos(t) / s;
    double h = factor / sqrt(2 * s), p = 0, d = 0;
    for (int m = 0; m < 60 && h > 1e-18 * factor; m++) {
        const double order = m + 0.5;
        const double phase = (n + order) * t - order * (0.5 * 3.14159265358979323846);
        const double c = h * cos(phase);
        p += c;
        d -= (n + order) * h * sin(phase) + order * cot * c;
        h *= order * order / ((m + 1) * (n + order + 1) * 2 * s);
    }
    *slope = d;
    return p;
}

enum { ITP_LEGENDRE_EDGE = 30 }; /* roots at each end that are found by the recurrence */

/* Roots cos(t) of the Legendre polynomial by Newton's method from Tricomi's estimate: a fixed number
   of operations each, but for those at the ends. */
ITP_FN interp_status itp_gauss_legendre(interp_ctx *ctx, int n, double *at, double *weight)
{
    const int half = (n + 1) / 2;
    const double factor = itp_legendre_factor(n), m = n;
    for (int i = 0; i < half; i++) {
        const double guess = 3.14159265358979323846 * (i + 0.75) / (m + 0.5);
        double t = guess + (m - 1) / (8 * m * m * m) * cos(guess) / sin(guess), slope = 1;
        bool near = false; /* once a step was small, the next one ends below rounding */
        for (int round = 0; round < 20; round++) {
            const double p = i < ITP_LEGENDRE_EDGE ? itp_legendre(n, t, &slope)
                                                   : itp_legendre_far(n, factor, t, &slope);
            const double step = p / slope;
            t -= step;
            if (near) break;
            near = m * fabs(step) < 1e-6;
        }
        const double low = sin(0.5 * t), high = cos(0.5 * t);
        at[i] = low * low, at[n - 1 - i] = high * high;
        weight[i] = weight[n - 1 - i] = 1 / (slope * slope);
        if (i < ITP_LEGENDRE_EDGE || i % 1024 == 0)
            ITP_TRY(itp_progress(ctx, "quadrature", i, half, (double)NAN));
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight)
{
    if (n < 1 || (rule == INTERP_RIEMANN_TRAPEZOID && n < 2) || n > 1000000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%d steps are too few or too many for the rule",
                        n);
    if (rule == INTERP_GAUSS_LEGENDRE) return itp_gauss_legendre(ctx, n, at, weight);
    for (int i = 0; i < n; i++) {
        weight[i] = 1.0 / n;
        switch (rule) {
        case INTERP_RIEMANN_LEFT: at[i] = (double)i / n; break;
        case INTERP_RIEMANN_RIGHT: at[i] = (double)(i + 1) / n; break;
        case INTERP_RIEMANN_MIDDLE: at[i] = (i + 0.5) / n; break;
        case INTERP_RIEMANN_TRAPEZOID:
            at[i] = (double)i / (n - 1);
            weight[i] = (i == 0 || i == n - 1 ? 0.5 : 1.0) / (n - 1);
            break;
        default: return itp_fail(ctx, INTERP_BAD_ARGUMENT, "quadrature %d is not known", (int)rule);
        }
    }
    return INTERP_OK;
}

/* ---- one run: points (sample, step) go through the network batch by batch */

typedef struct itp_attr {
    interp_ctx *ctx;
    interp_net *net;
    interp_attribute_desc d; /* defaults filled in */
    const float *x;
    int n, points; /* samples, and points of each */
    size_t size;   /* numbers of one input */
    int outputs, batch;
    interp_workspace *w;
    double *at, *weight;  /* [points] of integrated gradients */
    float *in, *seed;     /* [batch, size], [batch, outputs] */
    double *sum, *square; /* [size]: of the sample at hand */
    float *result;        /* [n, size] */
    interp_attribution *report;
    int filled;  /* points waiting in `in` */
    int first;   /* number of the first of them, counted over all samples */
    double done; /* passes, for the progress hook */
} itp_attr;

ITP_FN bool itp_attr_smooth(const itp_attr *a)
{
    return a->d.method >= INTERP_SMOOTH_GRAD;
}

ITP_FN void itp_attr_layout(itp_arena *m, itp_attr *a)
{
    const size_t b = (size_t)a->batch, n = (size_t)a->n;
    a->at = (double *)itp_arena_alloc(m, (size_t)a->points * sizeof(double));
    a->weight = (double *)itp_arena_alloc(m, (size_t)a->points * sizeof(double));
    a->in = itp_arena_floats(m, itp_mul_size(b, a->size));
    a->seed = itp_arena_floats(m, itp_mul_size(b, (size_t)a->outputs));
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(a->size, sizeof(double)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size(a->size, sizeof(double)));
    a->result = itp_arena_floats(m, itp_mul_size(n, a->size));
    a->report = (interp_attribution *)itp_arena_alloc(m, itp_mul_size(n, sizeof *a->report));
}

ITP_FN const float *itp_attr_baseline(const itp_attr *a, int sample)
{
    if (!a->d.baseline) return NULL;
    return a->d.baseline + (a->d.n_baselines > 1 ? (size_t)sample * a->size : 0);
}

/* The output of a slot that is explained. */
ITP_FN double itp_attr_output(const itp_attr *a, const float *y, int target)
{
    double sum = 0;
    if (target >= 0) return (double)y[target];
    for (int k = 0; k < a->outputs; k++) sum += (double)y[k];
    return sum;
}

/* Fills up a batch that must have its size: a fixed one, or the last. */
ITP_FN void itp_attr_pad(itp_attr *a)
{
    for (int i = a->filled; i < a->batch; i++)
        memcpy(a->in + (size_t)i * a->size, a->in, a->size * sizeof *a->in);
}

ITP_FN interp_status itp_attr_forward(itp_attr *a)
{
    const float *in = a->in;
    itp_attr_pad(a);
    ITP_TRY(interp_forward(a->w, &in));
    const float *y = interp_workspace_target(a->w);
    if (!itp_is_finite(y, (size_t)a->filled * (size_t)a->outputs))
        return itp_fail(
            a->ctx, INTERP_NOT_FINITE,
            "attribution: the network's output is NaN or infinite: look for such numbers "
            "in its weights");
    return INTERP_OK;
}

/* Outputs at the inputs (which = 0) or at the baselines (which = 1), and the targets. */
ITP_FN interp_status itp_attr_outputs(itp_attr *a, int which)
{
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        for (int i = 0; i < a->filled; i++) {
            float *to = a->in + (size_t)i * a->size;
            const float *x0 = itp_attr_baseline(a, at + i);
            if (!which) memcpy(to, a->x + (size_t)(at + i) * a->size, a->size * sizeof *to);
            else if (x0) memcpy(to, x0, a->size * sizeof *to);
            else memset(to, 0, a->size * sizeof *to);
        }
        ITP_TRY(itp_attr_forward(a));
        for (int i = 0; i < a->filled; i++) {
            const float *y = interp_workspace_target(a->w) + (size_t)i * (size_t)a->outputs;
            interp_attribution *r = &a->report[at + i];
            if (!which && a->d.target_kind == INTERP_TARGET_PREDICTED)
                r->target = interp_argmax(y, a->outputs);
            *(which ? &r->baseline_output : &r->output) = itp_attr_output(a, y, r->target);
        }
        a->done += a->filled;
        ITP_TRY(itp_progress(a->ctx, interp_method_name(a->d.method), a->done,
                             (double)a->n * (a->points + 2), (double)NAN));
    }
    a->filled = 0;
    return INTERP_OK;
}

/* The point of a sample's path, or a noisy copy of it. */
ITP_FN void itp_attr_point(const itp_attr *a, int sample, int point, float *to)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    if (a->d.method == INTERP_INTEGRATED_GRADIENTS) {
        for (size_t i = 0; i < a->size; i++) {
            const double from = x0 ? (double)x0[i] : 0;
            to[i] = (float)(from + a->at[point] * ((double)x[i] - from));
        }
    } else if (itp_attr_smooth(a)) {
        const size_t row = ((size_t)sample * (size_t)a->points + (size_t)point) * a->size;
        const float sd = a->d.noise_sd > 0 ? a->d.noise_sd : (float)a->report[sample].residual;
        for (size_t i = 0; i < a->size; i++)
            to[i] = x[i] + (a->d.noise ? a->d.noise[row + i]
                                       : sd * interp_random_normal(a->d.seed, 0x3000000u, row + i));
    } else {
        memcpy(to, x, a->size * sizeof *to);
    }
}

/* A sample whose points are all in: its attribution and residual. */
ITP_FN void itp_attr_finish(itp_attr *a, int sample)
{
    const float *x = a->x + (size_t)sample * a->size, *x0 = itp_attr_baseline(a, sample);
    float *out = a->result + (size_t)sample * a->size;
    interp_attribution *r = &a->report[sample];
    double total = 0;
    for (size_t i = 0; i < a->size; i++) {
        const double mean = a->sum[i] / a->points;
        double v = a->sum[i];
        switch (a->d.method) {
        case INTERP_SALIENCY: v = a->d.keep_sign ? v : fabs(v); break;
        case INTERP_INPUT_X_GRADIENT: v *= (double)x[i]; break;
        case INTERP_INTEGRATED_GRADIENTS:
            if (!a->d.no_multiply) v *= (double)x[i] - (x0 ? (double)x0[i] : 0);
            break;
        case INTERP_SMOOTH_GRAD: v = mean; break;
        case INTERP_SMOOTH_GRAD_SQ: v = a->square[i] / a->points; break;
        case INTERP_VAR_GRAD: v = a->square[i] / a->points - mean * mean; break;
        case INTERP_METHOD_COUNT: break;
        }
        out[i] = (float)v;
        total += v;
    }
    r->residual = total - (r->output - r->baseline_output);
    r->passes = a->points + 2;
}

/* Runs the points that wait and adds up their gradients, sample after sample. */
ITP_FN interp_status itp_attr_flush(itp_attr *a)
{
    if (!a->filled) return INTERP_OK;
    ITP_TRY(itp_attr_forward(a));
    memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
    for (int i = 0; i < a->filled; i++) {
        const int target = a->report[(a->first + i) / a->points].target;
        float *seed = a->seed + (size_t)i * (size_t)a->outputs;
        if (target >= 0) seed[target] = 1;
        else itp_fill(seed, (size_t)a->outputs, 1);
    }
    ITP_TRY(interp_backward(a->w, a->seed));
    const float *grad = interp_workspace_input_grad(a->w, 0);
    for (int i = 0; i < a->filled; i++, grad += a->size) {
        const int sample = (a->first + i) / a->points, point = (a->first + i) % a->points;
        if (point == 0) {
            memset(a->sum, 0, a->size * sizeof *a->sum);
            memset(a->square, 0, a->size * sizeof *a->square);
        }
        const double w = a->d.method == INTERP_INTEGRATED_GRADIENTS ? a->weight[point] : 1;
        for (size_t j = 0; j < a->size; j++) a->sum[j] += w * (double)grad[j];
        if (a->d.method == INTERP_SMOOTH_GRAD_SQ || a->d.method == INTERP_VAR_GRAD)
            for (size_t j = 0; j < a->size; j++) a->square[j] += (double)grad[j] * (double)grad[j];
        if (point == a->points - 1) itp_attr_finish(a, sample);
    }
    a->first += a->filled;
    a->done += a->filled;
    a->filled = 0;
    return itp_progress(a->ctx, interp_method_name(a->d.method), a->done,
                        (double)a->n * (a->points + 2), (double)NAN);
}

ITP_FN interp_status itp_attr_defaults(itp_attr *a, interp_net *net, int n,
                                       const interp_attribute_desc *desc)
{
    memset(a, 0, sizeof *a);
    a->ctx = net->ctx;
    a->net = net;
    a->n = n;
    if (desc) a->d = *desc;
    interp_attribute_desc *d = &a->d;
    if (d->target && d->target_kind == INTERP_TARGET_PREDICTED)
        d->target_kind = INTERP_TARGET_CLASS;
    if (!d->n_steps) d->n_steps = 50;
    if (!d->n_samples) d->n_samples = 25;
    if (!d->n_baselines) d->n_baselines = 1;
    a->points = d->method == INTERP_INTEGRATED_GRADIENTS ? d->n_steps
                : itp_attr_smooth(a)                     ? d->n_samples
                                                         : 1;
    if (net->n_inputs != 1)
        return itp_fail(a->ctx, INTERP_UNSUPPORTED,
                        "attribution: network \"%s\" has %d inputs, not one", net->name,
                        net->n_inputs);
    if ((unsigned)d->method >= INTERP_METHOD_COUNT || n < 1 || a->points < 1 || d->batch < 0 ||
        !(d->noise_sd >= 0) || (int64_t)n * a->points > INT_MAX)
        return itp_fail(
            a->ctx, INTERP_BAD_ARGUMENT,
            "attribution: a setting is out of range: %d samples, %d steps, %d noisy copies", n,
            d->n_steps, d->n_samples);
    if (d->n_baselines != 1 && d->n_baselines != n)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: %d baselines for %d samples: give one, or one for each",
                        d->n_baselines, n);
    const interp_shape in = interp_net_input_shape(net, 0), out = interp_net_output_shape(net, 0);
    a->size = interp_shape_size(&in);
    a->outputs = (int)interp_shape_size(&out);
    return INTERP_OK;
}

/* The workspace the passes run in, the batch as large as wanted and as memory allows. bytes: all that
   the run takes, rounding included. */
ITP_FN interp_status itp_attr_batch(itp_attr *a, interp_workspace_desc *w, size_t *bytes)
{
    const int64_t all = (int64_t)a->n * a->points;
    const int want = a->d.batch ? a->d.batch : 32;
    itp_arena fixed = {NULL, 0};
    itp_fit fit;
    memset(w, 0, sizeof *w);
    w->input_grads = true;
    a->batch = 0;
    itp_attr_layout(&fixed, a); /* what there must be whatever the batch */
    memset(&fit, 0, sizeof fit);
    fit.work = *w;
    fit.most = all < want ? (int)all : want;
    fit.floats = a->size + (size_t)a->outputs;
    fit.reserve = itp_add_size(fixed.used, 2 * ITP_CACHE_LINE); /* two arrays of them, rounded up */
    a->batch = itp_fit_most(a->ctx, a->net, &fit);
    if (!a->batch) return a->ctx->status;
    if (all > a->batch) ITP_TRY(itp_fit_pack(a->ctx, a->net, &fit, a->batch));
    *w = fit.work;
    w->batch = a->batch;
    return itp_fit_bytes(a->ctx, a->net, &fit, a->batch, bytes);
}

ITP_FN interp_status itp_attr_targets(itp_attr *a)
{
    const interp_attribute_desc *d = &a->d;
    if (d->target_kind == INTERP_TARGET_LABELS && !d->targets)
        return itp_fail(a->ctx, INTERP_BAD_ARGUMENT,
                        "attribution: the labels to explain were not given: set targets");
    for (int i = 0; i < a->n; i++) {
        int t = -1;
        if (d->target_kind == INTERP_TARGET_CLASS) t = d->target;
        if (d->target_kind == INTERP_TARGET_LABELS) t = d->targets[i];
        if ((d->target_kind == INTERP_TARGET_CLASS || d->target_kind == INTERP_TARGET_LABELS) &&
            (t < 0 || t >= a->outputs))
            return itp_fail(
                a->ctx, INTERP_BAD_ARGUMENT,
                "attribution: target %d of sample %d, but the network has outputs 0 to %d", t, i,
                a->outputs - 1);
        a->report[i].target = t;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_run(itp_attr *a)
{
    ITP_TRY(itp_attr_targets(a));
    ITP_TRY(itp_progress(a->ctx, interp_method_name(a->d.method), 0, (double)a->n * (a->points + 2),
                         (double)NAN));
    if (a->d.method == INTERP_INTEGRATED_GRADIENTS)
        ITP_TRY(interp_quadrature_rule(a->ctx, a->d.quadrature, a->points, a->at, a->weight));
    ITP_TRY(itp_attr_outputs(a, 0));
    ITP_TRY(itp_attr_outputs(a, 1));
    for (int s = 0; itp_attr_smooth(a) && s < a->n; s++) { /* sd of each sample, until it is done */
        const float *x = a->x + (size_t)s * a->size;
        float low = x[0], high = x[0];
        for (size_t i = 1; i < a->size; i++) {
            low = x[i] < low ? x[i] : low;
            high = x[i] > high ? x[i] : high;
        }
        a->report[s].residual = 0.15 * ((double)high - (double)low);
    }
    for (int s = 0; s < a->n; s++)
        for (int p = 0; p < a->points; p++) {
            itp_attr_point(a, s, p, a->in + (size_t)a->filled++ * a->size);
            if (a->filled == a->batch) ITP_TRY(itp_attr_flush(a));
        }
    return itp_attr_flush(a);
}

INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes)
{
    itp_attr a;
    interp_workspace_desc w;
    ITP_TRY(itp_attr_defaults(&a, net, n, desc));
    return itp_attr_batch(&a, &w, bytes);
}

INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report)
{
    itp_attr a;
    interp_workspace_desc w;
    itp_arena arena = {NULL, 0};
    size_t bytes;
    ITP_TRY(itp_attr_defaults(&a, net, n, desc));
    a.x = x;
    const size_t size = (size_t)n * a.size;
    if (!itp_is_finite(x, size) ||
        (a.d.baseline && !itp_is_finite(a.d.baseline, (size_t)a.d.n_baselines * a.size)))
        return itp_fail(a.ctx, INTERP_NOT_FINITE,
                        "attribution: the input or the baseline holds NaN or infinite numbers");
    ITP_TRY(itp_attr_batch(&a, &w, &bytes));
    itp_attr_layout(&arena, &a);
    char *block = (char *)interp_alloc(a.ctx, arena.used);
    if (!block) return INTERP_NO_MEMORY;
    arena.base = block, arena.used = 0;
    itp_attr_layout(&arena, &a);
    memset(a.report, 0, (size_t)n * sizeof *a.report);
    interp_status status = interp_workspace_new(a.ctx, net, &w, &a.w);
    if (!status) status = itp_attr_run(&a);
    if (!status) {
        memcpy(out, a.result, size * sizeof *out);
        if (report) memcpy(report, a.report, (size_t)n * sizeof *report);
    }
    interp_workspace_free(a.w);
    interp_free(a.ctx, block);
    return status;
}

/* ---- baselines */

/* Gaussian blur of one plane along one axis, edges repeated; weights[0..radius]. */
ITP_FN void itp_blur_axis(const float *from, float *to, int height, int width, bool rows,
                          const float *weights, int radius)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double sum = 0;
            for (int t = -radius; t <= radius; t++) {
                const int sy = rows ? y : itp_min(itp_max(y + t, 0), height - 1);
                const int sx = rows ? itp_min(itp_max(x + t, 0), width - 1) : x;
                sum += (double)weights[t < 0 ? -t : t] *
                       (double)from[(size_t)sy * (size_t)width + (size_t)sx];
            }
            to[(size_t)y * (size_t)width + (size_t)x] = (float)sum;
        }
}

ITP_FN interp_status itp_baseline_blur(interp_ctx *ctx, const float *x, size_t planes, int height,
                                       int width, float *out)
{
    float weights[65];
    const double sd = fmax(1, height / 8.0);
    const int radius = itp_min(64, (int)(3 * sd));
    double sum = 0;
    for (int t = 0; t <= radius; t++) {
        weights[t] = (float)exp(-0.5 * t * t / (sd * sd));
        sum += (double)weights[t] * (t ? 2 : 1);
    }
    for (int t = 0; t <= radius; t++) weights[t] = (float)((double)weights[t] / sum);
    const size_t area = (size_t)height * (size_t)width;
    float *half = (float *)interp_alloc(ctx, area * sizeof *half);
    if (!half) return INTERP_NO_MEMORY;
    for (size_t p = 0; p < planes; p++) {
        itp_blur_axis(x + p * area, half, height, width, true, weights, radius);
        itp_blur_axis(half, out + p * area, height, width, false, weights, radius);
    }
    interp_free(ctx, half);
    return INTERP_OK;
}

INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out)
{
    const size_t size = interp_shape_size(sample), all = (size_t)n * size;
    const size_t channels = sample->rank == 3 ? (size_t)sample->dim[0] : 1;
    const size_t area = size / itp_max_size(1, channels);
    float low = all ? x[0] : 0, high = low;
    for (size_t i = 0; i < all; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    switch (kind) {
    case INTERP_BASELINE_ZERO: itp_fill(out, all, 0); return INTERP_OK;
    case INTERP_BASELINE_MIN: itp_fill(out, all, low); return INTERP_OK;
    case INTERP_BASELINE_MAX: itp_fill(out, all, high); return INTERP_OK;
    case INTERP_BASELINE_MEAN:
        for (size_t p = 0; p < all; p += area)
            itp_fill(out + p, area, (float)(ctx->k->sum(area, x + p) / (double)area));
        return INTERP_OK;
    case INTERP_BASELINE_NOISE:
        for (size_t i = 0; i < all; i++)
            out[i] = low + (high - low) * interp_random_uniform(seed, 0x3100000u, i);
        return INTERP_OK;
    case INTERP_BASELINE_BLUR:
        if (sample->rank != 3)
            return itp_fail(ctx, INTERP_BAD_SHAPE, "a blurred baseline needs images [C,H,W]");
        return itp_baseline_blur(ctx, x, (size_t)n * channels, sample->dim[1], sample->dim[2], out);
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "baseline %d is not known", (int)kind);
}
#ifndef INTERP_NO_TRAIN
/* >>attr/canonical.c                                                                          */
/* ---- attr/canonical.c: what the network takes for each class -------------------------------------- */

typedef struct itp_canonical {
    interp_ctx *ctx;
    interp_net *net;
    interp_canonical_desc d; /* defaults filled in */
    int classes, batch;
    size_t size;
    interp_shape shape;
    interp_workspace *w;
    float *x, *shown;             /* [batch, size]: the inputs, and as shifted for this step */
    float *grad, *first, *second; /* [batch, size] */
    float *seed;                  /* [batch, classes] */
    float *centre, *pull;         /* [size]: where l2 pulls to, and how strongly */
    float *tame;                  /* [batch]: how much smoothness and plausibility count */
    int32_t *labels;              /* [batch] */
} itp_canonical;

ITP_FN void itp_canonical_layout(itp_arena *m, itp_canonical *c)
{
    const size_t n = (size_t)c->batch * c->size;
    float **const arrays[] = {&c->x, &c->shown, &c->grad, &c->first, &c->second};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = itp_arena_floats(m, n);
    c->seed = itp_arena_floats(m, (size_t)c->batch * (size_t)c->classes);
    c->tame = itp_arena_floats(m, (size_t)c->batch);
    c->centre = itp_arena_floats(m, c->size);
    c->pull = itp_arena_floats(m, c->size);
    c->labels = (int32_t *)itp_arena_alloc(m, (size_t)c->batch * sizeof(int32_t));
}

/* Copies every image moved by (dy, dx), edges repeated; adds back the other way round. */
ITP_FN void itp_canonical_shift(const itp_canonical *c, const float *from, float *to, int dy,
                                int dx, bool back)
{
    const int channels = c->shape.dim[0], h = c->shape.dim[1], w = c->shape.dim[2];
    const size_t planes = (size_t)c->batch * (size_t)channels, area = (size_t)h * (size_t)w;
    if (back) memset(to, 0, planes * area * sizeof *to);
    for (size_t p = 0; p < planes; p++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const int sy = itp_min(itp_max(y + dy, 0), h - 1),
                          sx = itp_min(itp_max(x + dx, 0), w - 1);
                const size_t a = p * area + (size_t)y * (size_t)w + (size_t)x;
                const size_t b = p * area + (size_t)sy * (size_t)w + (size_t)sx;
                if (back) to[b] += from[a];
                else to[a] = from[b];
            }
}

/* Gradient of total variation, by squares of differences of neighbours. */
ITP_FN void itp_canonical_smooth(const itp_canonical *c)
{
    if (c->shape.rank != 3 || c->d.tv <= 0) return;
    const int h = c->shape.dim[1], w = c->shape.dim[2];
    const size_t channels = (size_t)c->shape.dim[0], area = (size_t)h * (size_t)w;
    const double range = (double)c->d.high - (double)c->d.low;
    const float scale = (float)(2 * (double)c->d.tv / (range * range));
    for (size_t p = 0; p < (size_t)c->batch * channels; p++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++) {
                const size_t at = p * area + (size_t)y * (size_t)w + (size_t)x;
                const size_t next[2] = {at + 1, at + (size_t)w};
                for (int k = 0; k < 2; k++) {
                    if (k ? y + 1 == h : x + 1 == w) continue;
                    const float d = scale * c->tame[p / channels] * (c->x[at] - c->x[next[k]]);
                    c->grad[at] += d;
                    c->grad[next[k]] -= d;
                }
            }
}

/* Gradient of minus the margin z_k - log sum exp(the others), which unlike the log-probability does
   not fade once the class has won. What keeps the image plausible fades instead while the margin is
   below about 6, a probability of 0.998. */
ITP_FN void itp_canonical_seed(const itp_canonical *c, const float *logits)
{
    for (int i = 0; i < c->batch; i++) {
        const float *z = logits + (size_t)i * (size_t)c->classes;
        float *g = c->seed + (size_t)i * (size_t)c->classes;
        const int k = c->labels[i];
        double most = -HUGE_VAL, sum = 0;
        for (int j = 0; j < c->classes; j++)
            if (j != k) most = fmax(most, (double)z[j]);
        for (int j = 0; j < c->classes; j++)
            if (j != k) sum += exp((double)z[j] - most);
        for (int j = 0; j < c->classes; j++) g[j] = (float)(exp((double)z[j] - most) / sum);
        g[k] = -1;
        const double margin = (double)z[k] - most - log(sum);
        c->tame[i] = c->classes > 1 ? (float)(1 / (1 + exp(2 * (6 - margin)))) : 1;
    }
}

/* Mean and one over the variance of each number in the data; a number that hardly varies counts as if
   it did by a tenth of the range. */
ITP_FN void itp_canonical_prior(const itp_canonical *c)
{
    const interp_dataset *like = c->d.like;
    const double least = 0.1 * ((double)c->d.high - (double)c->d.low);
    for (size_t i = 0; i < c->size; i++) {
        double mean = 0, square = 0;
        for (int r = 0; like && r < like->n; r++) mean += (double)like->x[(size_t)r * c->size + i];
        if (like) mean /= like->n;
        for (int r = 0; like && r < like->n; r++) {
            const double d = (double)like->x[(size_t)r * c->size + i] - mean;
            square += d * d;
        }
        c->centre[i] = like ? (float)mean : c->d.low;
        c->pull[i] = like ? (float)(1 / fmax(square / like->n, least * least)) : 1;
    }
}

ITP_FN interp_status itp_canonical_step(itp_canonical *c, int step, int first_class)
{
    const size_t n = (size_t)c->batch * c->size;
    const bool image = c->shape.rank == 3 && c->d.jitter > 0;
    int dy = 0, dx = 0;
    if (image) {
        const uint32_t span = 2 * (uint32_t)c->d.jitter + 1;
        const uint64_t stream = 0x3200000u + (uint64_t)first_class, at = 2 * (uint64_t)step;
        dy = (int)itp_random_below(c->d.seed, stream, at, span) - c->d.jitter;
        dx = (int)itp_random_below(c->d.seed, stream, at + 1, span) - c->d.jitter;
    }
    if (image) itp_canonical_shift(c, c->x, c->shown, dy, dx, false);
    else memcpy(c->shown, c->x, n * sizeof *c->x);
    const float *in = c->shown;
    ITP_TRY(interp_forward(c->w, &in));
    itp_canonical_seed(c, interp_workspace_target(c->w));
    ITP_TRY(interp_backward(c->w, c->seed));
    const float *g = interp_workspace_input_grad(c->w, 0);
    if (!itp_is_finite(g, n))
        return itp_fail(
            c->ctx, INTERP_NOT_FINITE,
            "canonical: a gradient is NaN or infinite: look for such numbers in the weights");
    if (image) itp_canonical_shift(c, g, c->grad, dy, dx, true);
    else memcpy(c->grad, g, n * sizeof *g);
    itp_canonical_smooth(c);
    itp_update u;
    memset(&u, 0, sizeof u);
    u.lr = c->d.lr * (1 - 0.9f * (float)step / (float)c->d.steps);
    u.beta1 = 0.9f, u.beta2 = 0.999f, u.epsilon = 1e-8f, u.grad_scale = 1;
    u.correction1 = (float)(1 - pow((double)u.beta1, step + 1));
    u.correction2 = (float)(1 - pow((double)u.beta2, step + 1));
    for (size_t i = 0; i < n && c->d.l2 > 0; i++)
        c->grad[i] += 2 * c->d.l2 * c->tame[i / c->size] * c->pull[i % c->size] *
                      (c->x[i] - c->centre[i % c->size]);
    itp_grads(c->ctx->k)->adam(n, c->x, c->grad, c->first, c->second, &u);
    c->ctx->k->unary(ITP_CLIP, n, c->x, c->x, c->d.low, c->d.high);
    return INTERP_OK;
}

/* Images of classes first .. first + batch. */
ITP_FN interp_status itp_canonical_run(itp_canonical *c, int first, float *out, float *probability)
{
    const size_t n = (size_t)c->batch * c->size;
    const int some = itp_min(c->batch, c->classes - first);
    memset(c->first, 0, n * sizeof *c->first);
    memset(c->second, 0, n * sizeof *c->second);
    for (int i = 0; i < c->batch; i++) c->labels[i] = itp_min(first + i, c->classes - 1);
    for (size_t i = 0; i < n; i++) /* noise over the lower half of the range */
        c->x[i] = c->d.low + 0.5f * (c->d.high - c->d.low) *
                                 interp_random_uniform(c->d.seed, 0x3300000u + (uint64_t)first, i);
    for (int step = 0; step < c->d.steps; step++) {
        ITP_TRY(itp_canonical_step(c, step, first));
        ITP_TRY(itp_progress(c->ctx, "canonical inputs",
                             (double)first / c->batch * c->d.steps + step + 1,
                             (double)itp_div_up(c->classes, c->batch) * c->d.steps, (double)NAN));
    }
    const float *in = c->x;
    ITP_TRY(interp_forward(c->w, &in));
    const float *y = interp_workspace_target(c->w);
    for (int i = 0; i < some; i++) {
        float *p = c->seed + (size_t)i * (size_t)c->classes;
        c->ctx->k->softmax((size_t)c->classes, y + (size_t)i * (size_t)c->classes, p);
        probability[first + i] = p[first + i];
    }
    memcpy(out + (size_t)first * c->size, c->x, (size_t)some * c->size * sizeof *out);
    return INTERP_OK;
}

/* How many classes at once; `fixed`: bytes there must be besides. */
ITP_FN interp_status itp_canonical_batch(itp_canonical *c, interp_workspace_desc *w, size_t fixed)
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    fit.work = *w;
    fit.most = itp_min(c->classes, 32);
    fit.floats = itp_add_size(itp_mul_size(5, c->size), (size_t)c->classes + 2);
    fit.reserve = itp_add_size(fixed, 8 * ITP_CACHE_LINE); /* so many arrays, rounded up */
    c->batch = w->batch = itp_fit_most(c->ctx, c->net, &fit);
    return c->batch ? INTERP_OK : c->ctx->status;
}

INTERP_API interp_status interp_canonical(interp_net *net, const interp_canonical_desc *desc,
                                          float *out, float *probability)
{
    interp_ctx *ctx = net->ctx;
    itp_canonical c;
    memset(&c, 0, sizeof c);
    c.ctx = ctx;
    c.net = net;
    if (desc) c.d = *desc;
    if (c.d.low == 0 && c.d.high == 0) c.d.high = 1;
    if (!c.d.steps) c.d.steps = 256;
    if (c.d.lr == 0) c.d.lr = 0.05f * (c.d.high - c.d.low);
    if (c.d.tv == 0) c.d.tv = 0.3f;
    if (c.d.l2 == 0) c.d.l2 = c.d.like ? 0.1f : 0.01f;
    if (c.d.jitter == 0) c.d.jitter = 1;
    if (net->n_inputs != 1 || c.d.steps < 1 || !(c.d.high > c.d.low) || !(c.d.lr > 0))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "canonical: one input, at least one step, and low below high are needed");
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.input_grads = true;
    const int logits = itp_logits_value(net, INTERP_CROSS_ENTROPY);
    const interp_shape k = itp_sample_shape(net, logits);
    w.output = net->values[logits].name;
    c.classes = (int)interp_shape_size(&k);
    c.shape = interp_net_input_shape(net, 0);
    c.size = interp_shape_size(&c.shape);
    if (c.d.like && (c.d.like->n < 1 || interp_shape_size(&c.d.like->shape) != c.size))
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "canonical: the data to look like has %d samples of %zu numbers, but the "
                        "network takes %zu",
                        c.d.like->n, interp_shape_size(&c.d.like->shape), c.size);
    /* results apart, so that an error leaves the caller's arrays as they were; measured without a
       batch, then with one, then laid out */
    const size_t size = (size_t)c.classes * c.size;
    float *images = NULL, *reached = NULL;
    char *block = NULL;
    for (int pass = 0; pass < 3; pass++) {
        itp_arena arena = {block, 0};
        itp_canonical_layout(&arena, &c);
        images = itp_arena_floats(&arena, size);
        reached = itp_arena_floats(&arena, (size_t)c.classes);
        if (pass == 0) ITP_TRY(itp_canonical_batch(&c, &w, arena.used));
        if (pass == 1 && !(block = (char *)interp_alloc(ctx, arena.used))) return INTERP_NO_MEMORY;
    }
    interp_status status = interp_workspace_new(ctx, net, &w, &c.w);
    if (!status) status = itp_progress(ctx, "canonical inputs", 0, c.d.steps, (double)NAN);
    if (!status) itp_canonical_prior(&c);
    for (int first = 0; first < c.classes && !status; first += c.batch)
        status = itp_canonical_run(&c, first, images, reached);
    if (!status) {
        memcpy(out, images, size * sizeof *out);
        if (probability) memcpy(probability, reached, (size_t)c.classes * sizeof *reached);
    }
    interp_workspace_free(c.w);
    interp_free(ctx, block);
    return status;
}
#endif
#endif
#ifndef INTERP_NO_VIEW
/* >>view/colour.c                                                                             */
/* ---- view/colour.c: colour maps -------------------------------------------------------------- */

/* Evenly spaced colours with straight lines between. Greens, Reds and Blues are ColorBrewer's
   9-class schemes; viridis and magma (van der Walt and Smith) are reduced to the fewest points that
   stay within 2/255 of their 256-step tables; the others are matplotlib's definitions. */
static const uint32_t itp_map_viridis[24] = {
    0x440154, 0x481264, 0x482072, 0x472e7d, 0x443c84, 0x3f4989, 0x39558c, 0x34618d,
    0x2f6c8e, 0x2b768e, 0x26818e, 0x228b8e, 0x1f958b, 0x1ea088, 0x24aa83, 0x2fb47c,
    0x41be72, 0x57c666, 0x6fcf58, 0x8ad647, 0xa7db35, 0xc5e020, 0xe2e417, 0xfde724};
static const uint32_t itp_map_magma[16] = {
    0x000003, 0x0a0923, 0x1f124c, 0x3b0f71, 0x57147f, 0x722081, 0x8c2982, 0xa8327d,
    0xc43b75, 0xde4868, 0xf2605c, 0xfa7f5d, 0xfe9f6d, 0xfebf83, 0xfdde9f, 0xfcfdbf};
static const uint32_t itp_map_greens[9] = {0xf7fcf5, 0xe5f5e0, 0xc7e9c0, 0xa1d99b, 0x74c476,
                                           0x41ab5d, 0x238b45, 0x006d2c, 0x00441b};
static const uint32_t itp_map_reds[9] = {0xfff5f0, 0xfee0d2, 0xfcbba1, 0xfc9272, 0xfb6a4a,
                                         0xef3b2c, 0xcb181d, 0xa50f15, 0x67000d};
static const uint32_t itp_map_blues[9] = {0xf7fbff, 0xdeebf7, 0xc6dbef, 0x9ecae1, 0x6baed6,
                                          0x4292c6, 0x2171b5, 0x08519c, 0x08306b};
static const uint32_t itp_map_gray[2] = {0x000000, 0xffffff};
static const uint32_t itp_map_seismic[5] = {0x00004c, 0x0000ff, 0xffffff, 0xff0000, 0x800000};
static const uint32_t itp_map_bwr[3] = {0x0000ff, 0xffffff, 0xff0000};
static const uint32_t itp_map_rd_wh_gn[3] = {0xff0000, 0xffffff, 0x008000};

/* The seven colours of Okabe and Ito (2008) that show on white, then five darker ones that keep
   their distance from them, for normal sight and for red-green blindness. */
static const uint32_t itp_map_category[12] = {0x0072b2, 0xe69f00, 0x009e73, 0xd55e00,
                                              0x56b4e9, 0xcc79a7, 0xd9c800, 0x332288,
                                              0x7f7f7f, 0x882255, 0x105030, 0x000000};

/* matplotlib's jet: where each channel bends, and its value there. */
static const float itp_jet_red[][2] = {{0, 0}, {.35f, 0}, {.66f, 1}, {.89f, 1}, {1, .5f}};
static const float itp_jet_green[][2] = {{0, 0},    {.125f, 0}, {.375f, 1},
                                         {.64f, 1}, {.91f, 0},  {1, 0}};
static const float itp_jet_blue[][2] = {{0, .5f}, {.11f, 1}, {.34f, 1}, {.65f, 0}, {1, 0}};

ITP_FN double itp_map_bends(const float (*p)[2], double t)
{
    int i = 0;
    while (t > (double)p[i + 1][0]) i++; /* the last position is 1, and t is at most 1 */
    const double x0 = (double)p[i][0], x1 = (double)p[i + 1][0];
    const double y0 = (double)p[i][1], y1 = (double)p[i + 1][1];
    return y0 + (y1 - y0) * (t - x0) / (x1 - x0);
}

ITP_FN uint32_t itp_rgb(double r, double g, double b)
{
    return (uint32_t)(r + .5) << 16 | (uint32_t)(g + .5) << 8 | (uint32_t)(b + .5);
}

/* Between two colours; t is 0..1. */
ITP_FN uint32_t itp_rgb_mix(uint32_t a, uint32_t b, double t)
{
    double c[3];
    for (int i = 0; i < 3; i++) {
        const double from = (double)(a >> (16 - 8 * i) & 255),
                     to = (double)(b >> (16 - 8 * i) & 255);
        c[i] = from + (to - from) * t;
    }
    return itp_rgb(c[0], c[1], c[2]);
}

ITP_FN const uint32_t *itp_map_table(interp_colormap map, int *n)
{
    switch (map) {
    case INTERP_COLORMAP_MAGMA: *n = 16; return itp_map_magma;
    case INTERP_COLORMAP_GRAY: *n = 2; return itp_map_gray;
    case INTERP_COLORMAP_GREENS: *n = 9; return itp_map_greens;
    case INTERP_COLORMAP_REDS: *n = 9; return itp_map_reds;
    case INTERP_COLORMAP_BLUES: *n = 9; return itp_map_blues;
    case INTERP_COLORMAP_SEISMIC: *n = 5; return itp_map_seismic;
    case INTERP_COLORMAP_BWR: *n = 3; return itp_map_bwr;
    case INTERP_COLORMAP_RD_WH_GN: *n = 3; return itp_map_rd_wh_gn;
    default: *n = 24; return itp_map_viridis;
    }
}

#define ITP_RGB_NAN 0xb0b0b0u

/* The colour of t as 0xRRGGBB. */
ITP_FN uint32_t itp_map_rgb(interp_colormap map, double t)
{
    if (t != t) return ITP_RGB_NAN;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    if (map == INTERP_COLORMAP_CATEGORY) return itp_map_category[itp_min((int)(t * 12), 11)];
    t = itp_min((int)(t * 256), 255) / 255.0; /* matplotlib's 256 steps */
    if (map == INTERP_COLORMAP_JET)
        return itp_rgb(255 * itp_map_bends(itp_jet_red, t), 255 * itp_map_bends(itp_jet_green, t),
                       255 * itp_map_bends(itp_jet_blue, t));
    int n = 0;
    const uint32_t *table = itp_map_table(map, &n);
    const int i = itp_min((int)(t * (n - 1)), n - 2);
    return itp_rgb_mix(table[i], table[i + 1], t * (n - 1) - i);
}

ITP_FN bool itp_map_diverges(interp_colormap map)
{
    return map == INTERP_COLORMAP_SEISMIC || map == INTERP_COLORMAP_BWR ||
           map == INTERP_COLORMAP_RD_WH_GN;
}

ITP_FN void itp_rgb_put(uint8_t *to, uint32_t rgb)
{
    to[0] = (uint8_t)(rgb >> 16);
    to[1] = (uint8_t)(rgb >> 8);
    to[2] = (uint8_t)rgb;
}

/* Black or white, whichever is read better on the colour. */
ITP_FN uint32_t itp_rgb_ink(uint32_t rgb)
{
    const double luma = .299 * (rgb >> 16 & 255) + .587 * (rgb >> 8 & 255) + .114 * (rgb & 255);
    return luma > 140 ? 0x202020 : 0xffffff;
}

INTERP_API void interp_colormap_rgb(interp_colormap map, double t, uint8_t rgb[3])
{
    itp_rgb_put(rgb, itp_map_rgb(map, t));
}

INTERP_API const char *interp_colormap_name(interp_colormap map)
{
    static const char *const names[] = {
#define ITP_COLORMAP_NAME(name, text) text,
        INTERP_COLORMAP_LIST(ITP_COLORMAP_NAME)
#undef ITP_COLORMAP_NAME
    };
    return (unsigned)map < INTERP_COLORMAP_COUNT ? names[map] : "?";
}

ITP_FN int itp_view_lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

INTERP_API interp_colormap interp_colormap_from_name(const char *name)
{
    for (int i = 0; name && i < INTERP_COLORMAP_COUNT; i++) {
        const char *a = name, *b = interp_colormap_name((interp_colormap)i);
        while (*a && itp_view_lower(*a) == itp_view_lower(*b)) a++, b++;
        if (!*a && !*b) return (interp_colormap)i;
    }
    return INTERP_COLORMAP_COUNT;
}

INTERP_API uint32_t interp_category_rgb(int i)
{
    return itp_map_category[(i % 12 + 12) % 12];
}
/* >>view/font.c                                                                               */
/* ---- view/font.c: a stroke font, ASCII and a few signs more ---------------------------------- */

/* A glyph is its width and the way of a pen. Baseline at y = 0, small letters reach 14, capitals
   and digits 20, descenders -6. M moves, L draws a line, Q a quadratic curve (control point, end),
   h and v a quarter of an ellipse that sets out horizontally or vertically. The pen is round, so a
   glyph is all points within half a stroke of its lines: sharp at any size, weight and turn. */
#define ITP_CAP_UNITS     20
#define ITP_SMALL_UNITS   14
#define ITP_DESCENT_UNITS 6

/* clang-format off */
static const char *const itp_glyphs[95] = {
    /*   */ "2",
    /* ! */ "0 M0,20L0,7M0,1L0,0",
    /* " */ "5 M0,20L0,14M5,20L5,14",
    /* # */ "14 M5,20L2,0M12,20L9,0M0,13L14,13M0,7L14,7",
    /* $ */ "12 M12,15v6,18h0,14v6,10h12,6v6,2h0,5M6,22L6,-2",
    /* % */ "18 M4,20h8,16v4,12h0,16v4,20M15,20L3,0M14,8h18,4v14,0h10,4v14,8",
    /* & */ "14 M14,0L3,14v6,20h10,16v4,10h0,5v5,0h14,8",
    /* ' */ "0 M0,20L0,14",
    /* ( */ "4 M4,23Q-3,9,4,-5",
    /* ) */ "4 M0,23Q7,9,0,-5",
    /* * */ "10 M5,20L5,10M1,18L9,12M9,18L1,12",
    /* + */ "12 M6,15L6,3M0,9L12,9",
    /* , */ "2 M2,1L0,-4",
    /* - */ "7 M0,8L7,8",
    /* . */ "0 M0,1L0,0",
    /* / */ "9 M9,22L0,-3",
    /* 0 */ "12 M6,20h12,12L12,8v6,0h0,8L0,12v6,20",
    /* 1 */ "12 M2,16L7,20L7,0",
    /* 2 */ "12 M0,15v6,20h12,15Q12,11,8,8L0,0L12,0",
    /* 3 */ "12 M1,17v6,20h11,15v6,11L4,11M6,11h12,5v6,0h0,4",
    /* 4 */ "12 M9,0L9,20L0,6L12,6",
    /* 5 */ "12 M11,20L2,20L1,11Q3,13,6,13h12,7v6,0h0,4",
    /* 6 */ "12 M11,18Q9,20,6,20h0,10L0,6v6,0h12,6v6,12h0,6",
    /* 7 */ "12 M0,20L12,20L4,0",
    /* 8 */ "12 M6,20h11,15v6,11h1,15v6,20M6,11h12,5v6,0h0,5v6,11",
    /* 9 */ "12 M1,2Q3,0,6,0h12,10L12,14v6,20h0,14v6,8h12,14",
    /* : */ "0 M0,12L0,11M0,1L0,0",
    /* ; */ "2 M2,12L2,11M2,1L0,-4",
    /* < */ "11 M11,16L0,9L11,2",
    /* = */ "12 M0,12L12,12M0,6L12,6",
    /* > */ "11 M0,16L11,9L0,2",
    /* ? */ "10 M0,16v5,20h10,15Q10,12,7,10Q5,8,5,6M5,1L5,0",
    /* @ */ "20 M10,13h14,9v10,5h6,9v10,13M14,13L14,8v17,5h20,10v10,20h0,9v10,-3Q14,-3,17,-1",
    /* A */ "14 M0,0L7,20L14,0M3,7L11,7",
    /* B */ "12 M0,0L0,20L6,20h11,15v6,11L0,11M6,11h12,5v6,0L0,0",
    /* C */ "13 M13,16v7,20h0,10v7,0h13,4",
    /* D */ "13 M0,0L0,20L5,20h13,10v5,0L0,0",
    /* E */ "10 M10,20L0,20L0,0L10,0M0,10L8,10",
    /* F */ "10 M10,20L0,20L0,0M0,10L8,10",
    /* G */ "14 M13,16v7,20h0,10v7,0h14,7L14,9L8,9",
    /* H */ "12 M0,0L0,20M12,0L12,20M0,10L12,10",
    /* I */ "0 M0,0L0,20",
    /* J */ "8 M8,20L8,5v4,0h0,4",
    /* K */ "12 M0,0L0,20M12,20L0,8M4,12L12,0",
    /* L */ "9 M0,20L0,0L9,0",
    /* M */ "14 M0,0L0,20L7,5L14,20L14,0",
    /* N */ "12 M0,0L0,20L12,0L12,20",
    /* O */ "14 M7,20h14,10v7,0h0,10v7,20",
    /* P */ "11 M0,0L0,20L6,20h11,15v6,9L0,9",
    /* Q */ "14 M7,20h14,10v7,0h0,10v7,20M9,5L14,-1",
    /* R */ "12 M0,0L0,20L6,20h11,15v6,10L0,10M6,10L12,0",
    /* S */ "12 M12,16v6,20h0,15v6,10h12,5v6,0h0,4",
    /* T */ "12 M0,20L12,20M6,20L6,0",
    /* U */ "12 M0,20L0,6v6,0h12,6L12,20",
    /* V */ "14 M0,20L7,0L14,20",
    /* W */ "20 M0,20L5,0L10,18L15,0L20,20",
    /* X */ "12 M0,0L12,20M0,20L12,0",
    /* Y */ "12 M0,20L6,10L12,20M6,10L6,0",
    /* Z */ "12 M0,20L12,20L0,0L12,0",
    /* [ */ "4 M4,22L0,22L0,-4L4,-4",
    /* \ */ "9 M0,22L9,-3",
    /* ] */ "4 M0,22L4,22L4,-4L0,-4",
    /* ^ */ "10 M0,13L5,20L10,13",
    /* _ */ "12 M0,-3L12,-3",
    /* ` */ "3 M0,20L3,16",
    /* a */ "10 M1,12v5,14h10,9L10,0M10,8L4,8h0,4v4,0Q8,0,10,3",
    /* b */ "10 M0,20L0,0M0,7v5,14h10,7v5,0h0,7",
    /* c */ "9 M9,11v5,14h0,7v5,0h9,3",
    /* d */ "10 M10,20L10,0M10,7v5,14h0,7v5,0h10,7",
    /* e */ "10 M0,7L10,7L10,8v5,14h0,7v5,0Q8,0,10,3",
    /* f */ "7 M7,20Q3,20,3,16L3,0M0,14L7,14",
    /* g */ "10 M10,14L10,-1v5,-6Q2,-6,0,-4M10,7v5,14h0,7v5,0h10,7",
    /* h */ "10 M0,20L0,0M0,8v5,14h10,8L10,0",
    /* i */ "0 M0,14L0,0M0,20L0,19",
    /* j */ "3 M3,14L3,-3Q3,-6,0,-6M3,20L3,19",
    /* k */ "9 M0,20L0,0M9,14L0,5M4,9L9,0",
    /* l */ "3 M0,20L0,3Q0,0,3,0",
    /* m */ "16 M0,14L0,0M0,9v4,14h8,9L8,0M8,9v12,14h16,9L16,0",
    /* n */ "10 M0,14L0,0M0,8v5,14h10,8L10,0",
    /* o */ "10 M5,14h10,7v5,0h0,7v5,14",
    /* p */ "10 M0,14L0,-6M0,7v5,14h10,7v5,0h0,7",
    /* q */ "10 M10,14L10,-6M10,7v5,14h0,7v5,0h10,7",
    /* r */ "6 M0,14L0,0M0,8v6,14",
    /* s */ "9 M9,12Q8,14,5,14h0,11v5,7h9,3v4,0Q1,0,0,2",
    /* t */ "7 M3,19L3,4Q3,0,7,0M0,14L7,14",
    /* u */ "10 M0,14L0,6v5,0h10,6M10,14L10,0",
    /* v */ "10 M0,14L5,0L10,14",
    /* w */ "16 M0,14L4,0L8,13L12,0L16,14",
    /* x */ "10 M0,0L10,14M0,14L10,0",
    /* y */ "10 M0,14L5,0M10,14L5,0L4,-3Q3,-6,0,-6",
    /* z */ "10 M0,14L10,14L0,0L10,0",
    /* { */ "5 M5,22Q2,22,2,18L2,12Q2,9,0,9Q2,9,2,6L2,0Q2,-4,5,-4",
    /* | */ "0 M0,22L0,-4",
    /* } */ "5 M0,22Q3,22,3,18L3,12Q3,9,5,9Q3,9,3,6L3,0Q3,-4,0,-4",
    /* ~ */ "12 M0,8Q3,12,6,9Q9,6,12,10",
};

static const struct { uint32_t code; const char *path; } itp_signs[] = {
    {0x00b0, "6 M3,20h6,17v3,14h0,17v3,20"},               /* degree */
    {0x00b1, "12 M6,17L6,5M0,11L12,11M0,0L12,0"},          /* plus-minus */
    {0x00b2, "6 M0,17v3,20h6,17L0,10L6,10"},               /* squared */
    {0x00b5, "10 M0,14L0,-6M0,6v5,0h10,6M10,14L10,0"},     /* micro */
    {0x00b7, "0 M0,9L0,8"},                                /* middle dot */
    {0x00d7, "10 M0,4L10,14M0,14L10,4"},                   /* times */
    {0x0394, "14 M0,0L7,20L14,0L0,0"},                     /* Delta */
    {0x03c3, "11 M11,14L5,14h0,7v5,0h10,7Q10,11,7,14"},    /* sigma */
    {0x2013, "10 M0,8L10,8"},                              /* en dash */
    {0x2014, "18 M0,8L18,8"},                              /* em dash */
    {0x2026, "12 M0,1L0,0M6,1L6,0M12,1L12,0"},             /* ellipsis */
    {0x2190, "16 M16,9L0,9M5,14L0,9L5,4"},                 /* left arrow */
    {0x2192, "16 M0,9L16,9M11,14L16,9L11,4"},              /* right arrow */
    {0x2212, "12 M0,9L12,9"},                              /* minus */
    {0x2264, "11 M11,18L0,12L11,6M0,1L11,1"},              /* at most */
    {0x2265, "11 M0,18L11,12L0,6M0,1L11,1"},               /* at least */
};

/* U+00C0..U+00FF without their accents. */
static const char itp_latin1[] = "AAAAAAACEEEEIIIIDNOOOOOxOUUUUYPsaaaaaaaceeeeiiiidnooooo/ouuuuypy";
/* clang-format on */

static const char itp_glyph_missing[] = "10 M0,0L10,0L10,20L0,20L0,0";

/* Reads one character of UTF-8 and moves on; a stray byte is U+FFFD. */
ITP_FN uint32_t itp_utf8_next(const char **text)
{
    const unsigned char *p = (const unsigned char *)*text;
    const int more = p[0] < 0x80 ? 0 : p[0] >= 0xf0 ? 3 : p[0] >= 0xe0 ? 2 : p[0] >= 0xc0 ? 1 : -1;
    if (more < 1) {
        *text += 1;
        return more ? 0xfffd : p[0];
    }
    uint32_t code = p[0] & (0x3fu >> more);
    for (int i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *text += i;
            return 0xfffd;
        }
        code = code << 6 | (p[i] & 0x3fu);
    }
    *text += more + 1;
    return code;
}

ITP_FN const char *itp_glyph_of(uint32_t code)
{
    if (code < 32 || code == 0xa0) code = ' ';
    if (code >= 0xc0 && code <= 0xff && code != 0xd7) code = (uint32_t)itp_latin1[code - 0xc0];
    if (code < 127) return itp_glyphs[code - 32];
    for (size_t i = 0; i < sizeof itp_signs / sizeof itp_signs[0]; i++)
        if (itp_signs[i].code == code) return itp_signs[i].path;
    return itp_glyph_missing;
}

/* The font at one size: heights and gaps in whole pixels, so that stems and bars sit on pixels. */
typedef struct itp_face {
    double unit; /* pixels of a font unit */
    double pen;  /* width of a stroke */
    int cap, small, descent, gap;
} itp_face;

ITP_FN itp_face itp_face_of(int size, int flags)
{
    itp_face f;
    const bool bold = (flags & INTERP_TEXT_BOLD) != 0;
    size = itp_max(4, itp_min(size, 400));
    f.unit = size * .72 / ITP_CAP_UNITS;
    f.pen = itp_max(size, 10) * (bold ? .15 : .1);
    f.cap = itp_max(3, (int)(f.unit * ITP_CAP_UNITS + .5));
    f.small = itp_max(2, (int)(f.unit * ITP_SMALL_UNITS + .5));
    f.descent = itp_max(1, (int)(f.unit * ITP_DESCENT_UNITS + .5));
    f.gap = itp_max(2, (int)(f.unit * (bold ? 7 : 6) + .5));
    return f;
}

ITP_FN const char *itp_glyph_number(const char *s, int *value)
{
    while (*s == ',' || *s == ' ') s++;
    const bool minus = *s == '-';
    if (minus) s++;
    int v = 0;
    while (*s >= '0' && *s <= '9') v = v * 10 + (*s++ - '0');
    *value = minus ? -v : v;
    return s;
}

/* Pixels of a glyph's body; the next one starts a gap later. */
ITP_FN int itp_glyph_width(const itp_face *f, const char *glyph)
{
    int units = 0;
    itp_glyph_number(glyph, &units);
    return (int)(units * f->unit + .5);
}

#define ITP_GLYPH_SEGMENTS 128
#define ITP_CURVE_STEPS    6

/* A glyph at a size: straight pieces in pixels, y upwards from the baseline. */
typedef struct itp_outline {
    int n;
    double at[ITP_GLYPH_SEGMENTS][4];
} itp_outline;

/* Font units to pixels, each height between two lines of the font on its own scale. */
ITP_FN double itp_face_y(const itp_face *f, double y)
{
    if (y < 0) return y * f->descent / ITP_DESCENT_UNITS;
    if (y <= ITP_SMALL_UNITS) return y * f->small / ITP_SMALL_UNITS;
    return f->small +
           (y - ITP_SMALL_UNITS) * (f->cap - f->small) / (ITP_CAP_UNITS - ITP_SMALL_UNITS);
}

/* One step along a piece of the way, t in 0..1: p are start, control point and end. */
ITP_FN void itp_glyph_step(char how, const int p[6], double t, double *x, double *y)
{
    const double u = 1 - t, quarter = 1.57079632679489662;
    const double s = sin(t * quarter), c = cos(t * quarter);
    if (how == 'Q') {
        *x = u * u * p[0] + 2 * u * t * p[2] + t * t * p[4];
        *y = u * u * p[1] + 2 * u * t * p[3] + t * t * p[5];
    } else if (how == 'h') {
        *x = p[0] + (p[4] - p[0]) * s;
        *y = p[5] + (p[1] - p[5]) * c;
    } else if (how == 'v') {
        *x = p[4] + (p[0] - p[4]) * c;
        *y = p[1] + (p[5] - p[1]) * s;
    } else {
        *x = u * p[0] + t * p[4];
        *y = u * p[1] + t * p[5];
    }
}

ITP_FN void itp_glyph_outline(const itp_face *f, const char *glyph, itp_outline *o)
{
    int units = 0, p[6] = {0, 0, 0, 0, 0, 0};
    const char *s = itp_glyph_number(glyph, &units);
    const double sx = units > 0 ? (double)itp_glyph_width(f, glyph) / units : f->unit;
    o->n = 0;
    while (*s) {
        const char how = *s++;
        if (how == ' ') continue;
        p[0] = p[4], p[1] = p[5];
        if (how == 'Q') s = itp_glyph_number(itp_glyph_number(s, &p[2]), &p[3]);
        s = itp_glyph_number(itp_glyph_number(s, &p[4]), &p[5]);
        if (how == 'M') continue;
        const int steps = how == 'L' ? 1 : ITP_CURVE_STEPS;
        double x0 = p[0], y0 = p[1];
        for (int i = 1; i <= steps && o->n < ITP_GLYPH_SEGMENTS; i++) {
            double x = 0, y = 0, *at = o->at[o->n++];
            itp_glyph_step(how, p, (double)i / steps, &x, &y);
            at[0] = x0 * sx, at[1] = itp_face_y(f, y0);
            at[2] = x * sx, at[3] = itp_face_y(f, y);
            x0 = x, y0 = y;
        }
    }
}

INTERP_API int interp_text_width(const char *text, int size, int flags)
{
    const itp_face f = itp_face_of(size, flags);
    int width = 0;
    for (const char *s = text ? text : ""; *s && width < 1000000;)
        width += itp_glyph_width(&f, itp_glyph_of(itp_utf8_next(&s))) + f.gap;
    return width ? width - f.gap + 1 : 0;
}

#define ITP_LABEL_BYTES 256

/* The text, or as much of its beginning as fits with an ellipsis. */
ITP_FN const char *itp_text_fit(char out[ITP_LABEL_BYTES], const char *text, int size, int flags,
                                int width)
{
    static const char dots[] = "\xe2\x80\xa6";
    if (!text) text = "";
    if (strlen(text) < ITP_LABEL_BYTES && interp_text_width(text, size, flags) <= width)
        return text;
    size_t keep = 0;
    out[0] = 0;
    for (const char *s = text; *s;) {
        itp_utf8_next(&s);
        const size_t n = (size_t)(s - text);
        if (n + sizeof dots > ITP_LABEL_BYTES) break;
        memcpy(out, text, n);
        memcpy(out + n, dots, sizeof dots);
        if (interp_text_width(out, size, flags) > width) break;
        keep = n;
    }
    while (keep && text[keep - 1] == ' ') keep--;
    memcpy(out, text, keep);
    if (keep) memcpy(out + keep, dots, sizeof dots);
    else out[0] = 0;
    return out;
}
/* >>view/image.c                                                                              */
/* ---- view/image.c: pixels, lines, text and PNG files ----------------------------------------- */

#define ITP_IMAGE_SIDE   32768
#define ITP_IMAGE_PIXELS ((size_t)1 << 27)

INTERP_API interp_status interp_image_new(interp_ctx *ctx, int width, int height, uint32_t rgb,
                                          interp_image *out)
{
    if (width < 1 || height < 1 || width > ITP_IMAGE_SIDE || height > ITP_IMAGE_SIDE ||
        (size_t)width * (size_t)height > ITP_IMAGE_PIXELS)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "picture: %d x %d pixels were asked for; a side is 1..%d, and at most 2^27 "
                        "pixels fit",
                        width, height, ITP_IMAGE_SIDE);
    const size_t n = (size_t)width * (size_t)height;
    uint8_t *p = (uint8_t *)interp_alloc(ctx, n * 3);
    if (!p) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++) itp_rgb_put(p + 3 * i, rgb);
    out->width = width;
    out->height = height;
    out->rgb = p;
    return INTERP_OK;
}

INTERP_API void interp_image_free(interp_ctx *ctx, interp_image *image)
{
    interp_free(ctx, image->rgb);
    memset(image, 0, sizeof *image);
}

/* A picture and the part of it that may be drawn on: x0 <= x < x1, y0 <= y < y1. */
typedef struct itp_canvas {
    interp_image *image;
    int x0, y0, x1, y1;
} itp_canvas;

ITP_FN itp_canvas itp_canvas_of(interp_image *image)
{
    itp_canvas c;
    c.image = image;
    c.x0 = c.y0 = 0;
    c.x1 = image->rgb ? image->width : 0;
    c.y1 = image->rgb ? image->height : 0;
    return c;
}

ITP_FN itp_canvas itp_canvas_clip(const itp_canvas *of, int x0, int y0, int x1, int y1)
{
    itp_canvas c = *of;
    c.x0 = itp_max(c.x0, x0), c.y0 = itp_max(c.y0, y0);
    c.x1 = itp_min(c.x1, x1), c.y1 = itp_min(c.y1, y1);
    return c;
}

/* To the next pixel, far outside the picture when there is none. */
ITP_FN int itp_draw_px(double v)
{
    if (!(v > -1e6)) return -1000000;
    return v < 1e6 ? (int)floor(v + .5) : 1000000;
}

/* Mixes a colour in; cover 0..1. The pixel must be on the canvas. */
ITP_FN void itp_draw_blend(const itp_canvas *c, int x, int y, uint32_t rgb, double cover)
{
    uint8_t *p = c->image->rgb + ((size_t)y * (size_t)c->image->width + (size_t)x) * 3;
    const int a = (int)(cover * 256 + .5);
    for (int i = 0; i < 3; i++) {
        const int to = (int)(rgb >> (16 - 8 * i) & 255);
        p[i] = (uint8_t)((p[i] * (256 - a) + to * a + 128) >> 8);
    }
}

/* Fills x0 <= x < x1, y0 <= y < y1. */
ITP_FN void itp_draw_rect(const itp_canvas *c, int x0, int y0, int x1, int y1, uint32_t rgb,
                          double cover)
{
    x0 = itp_max(x0, c->x0), x1 = itp_min(x1, c->x1);
    y0 = itp_max(y0, c->y0), y1 = itp_min(y1, c->y1);
    for (int y = y0; y < y1; y++)
        for (int x = x0; x < x1; x++) itp_draw_blend(c, x, y, rgb, cover);
}

ITP_FN void itp_draw_frame(const itp_canvas *c, int x0, int y0, int x1, int y1, uint32_t rgb)
{
    itp_draw_rect(c, x0, y0, x1, y0 + 1, rgb, 1);
    itp_draw_rect(c, x0, y1 - 1, x1, y1, rgb, 1);
    itp_draw_rect(c, x0, y0 + 1, x0 + 1, y1 - 1, rgb, 1);
    itp_draw_rect(c, x1 - 1, y0 + 1, x1, y1 - 1, rgb, 1);
}

/* Cuts p = x0, y0, x1, y1 down to the canvas and a margin (Liang and Barsky 1984). */
ITP_FN bool itp_draw_clip(const itp_canvas *c, double margin, double p[4])
{
    const double low[2] = {c->x0 - margin, c->y0 - margin};
    const double high[2] = {c->x1 - 1 + margin, c->y1 - 1 + margin};
    double from = 0, to = 1;
    for (int i = 0; i < 4; i++)
        if (!(fabs(p[i]) <= DBL_MAX / 4)) return false;
    for (int i = 0; i < 2; i++) {
        const double d = p[i + 2] - p[i];
        if (d == 0 && (p[i] < low[i] || p[i] > high[i])) return false;
        if (d == 0) continue;
        const double a = (low[i] - p[i]) / d, b = (high[i] - p[i]) / d;
        from = fmax(from, fmin(a, b));
        to = fmin(to, fmax(a, b));
    }
    if (from > to) return false;
    for (int i = 0; i < 2; i++) {
        const double at = p[i], d = p[i + 2] - p[i];
        p[i] = fmin(fmax(at + from * d, low[i]), high[i]);
        p[i + 2] = fmin(fmax(at + to * d, low[i]), high[i]);
    }
    return true;
}

/* Squared distance of a point to a segment. */
ITP_FN double itp_draw_d2(const double p[4], double x, double y)
{
    const double dx = p[2] - p[0], dy = p[3] - p[1], length2 = dx * dx + dy * dy;
    double t = length2 > 0 ? ((x - p[0]) * dx + (y - p[1]) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    const double ex = x - p[0] - t * dx, ey = y - p[1] - t * dy;
    return ex * ex + ey * ey;
}

/* How much of a pixel a stroke covers whose middle is sqrt(d2) away. */
ITP_FN double itp_draw_cover(double d2, double half_width)
{
    const double c = half_width + .5 - sqrt(d2);
    return c < 0 ? 0 : c > 1 ? 1 : c;
}

ITP_FN void itp_draw_line(const itp_canvas *c, double x0, double y0, double x1, double y1,
                          double width, uint32_t rgb, double alpha)
{
    double p[4] = {x0, y0, x1, y1};
    const double half = fmin(fmax(width, .2), 1000) / 2, reach = half + .5;
    if (c->x0 >= c->x1 || c->y0 >= c->y1 || !itp_draw_clip(c, reach, p)) return;
    const int major = fabs(p[2] - p[0]) >= fabs(p[3] - p[1]) ? 0 : 1, minor = 1 - major;
    const double run = p[major + 2] - p[major];
    const double slope = run != 0 ? (p[minor + 2] - p[minor]) / run : 0;
    const double band = reach * sqrt(1 + slope * slope) + 1;
    const double first = fmin(p[major], p[major + 2]), last = fmax(p[major], p[major + 2]);
    const int low = major ? c->y0 : c->x0, high = (major ? c->y1 : c->x1) - 1;
    const int minor_low = major ? c->x0 : c->y0, minor_high = (major ? c->x1 : c->y1) - 1;
    for (int i = itp_max(low, itp_draw_px(first - reach));
         i <= itp_min(high, itp_draw_px(last + reach)); i++) {
        const double middle = p[minor] + slope * (fmin(fmax(i, first), last) - p[major]);
        const int from = itp_max(minor_low, itp_draw_px(middle - band));
        const int to = itp_min(minor_high, itp_draw_px(middle + band));
        for (int j = from; j <= to; j++) {
            const int x = major ? j : i, y = major ? i : j;
            const double cover = itp_draw_cover(itp_draw_d2(p, x, y), half);
            if (cover > 0) itp_draw_blend(c, x, y, rgb, cover * fmin(1, width) * alpha);
        }
    }
}

ITP_FN void itp_draw_disc(const itp_canvas *c, double x, double y, double radius, uint32_t rgb,
                          double alpha)
{
    const double p[4] = {x, y, x, y};
    if (!(fabs(x) < 1e6 && fabs(y) < 1e6 && radius > 0)) return;
    radius = fmin(radius, 1e5);
    const int x0 = itp_max(c->x0, itp_draw_px(x - radius - 1)), x1 = itp_draw_px(x + radius + 1);
    const int y0 = itp_max(c->y0, itp_draw_px(y - radius - 1)), y1 = itp_draw_px(y + radius + 1);
    for (int j = y0; j <= itp_min(c->y1 - 1, y1); j++)
        for (int i = x0; i <= itp_min(c->x1 - 1, x1); i++) {
            const double cover = itp_draw_cover(itp_draw_d2(p, i, j), radius);
            if (cover > 0) itp_draw_blend(c, i, j, rgb, cover * alpha);
        }
}

/* ---- text */

ITP_FN void itp_outline_draw(const itp_canvas *c, const itp_outline *o, double pen, uint32_t rgb)
{
    double box[4] = {1e9, 1e9, -1e9, -1e9};
    for (int i = 0; i < o->n; i++)
        for (int k = 0; k < 4; k++) {
            box[k & 1] = fmin(box[k & 1], o->at[i][k]);
            box[2 + (k & 1)] = fmax(box[2 + (k & 1)], o->at[i][k]);
        }
    const int x1 = itp_min(c->x1 - 1, itp_draw_px(box[2] + pen)),
              y1 = itp_min(c->y1 - 1, itp_draw_px(box[3] + pen));
    for (int y = itp_max(c->y0, itp_draw_px(box[1] - pen)); y <= y1; y++)
        for (int x = itp_max(c->x0, itp_draw_px(box[0] - pen)); x <= x1; x++) {
            double d2 = 1e9;
            for (int i = 0; i < o->n; i++) d2 = fmin(d2, itp_draw_d2(o->at[i], x, y));
            const double cover = itp_draw_cover(d2, pen / 2);
            if (cover > 0) itp_draw_blend(c, x, y, rgb, cover);
        }
}

ITP_FN void itp_draw_text(const itp_canvas *c, int x, int y, int size, int flags, uint32_t rgb,
                          const char *text)
{
    if (!text || !*text) return;
    const itp_face f = itp_face_of(size, flags);
    const int width = interp_text_width(text, size, flags), up = flags & INTERP_TEXT_UP;
    const int back = flags & INTERP_TEXT_RIGHT    ? width - 1
                     : flags & INTERP_TEXT_CENTRE ? width / 2
                                                  : 0;
    int at = -back;
    for (const char *s = text; *s && at < ITP_IMAGE_SIDE * 2;) {
        const char *glyph = itp_glyph_of(itp_utf8_next(&s));
        itp_outline o;
        itp_glyph_outline(&f, glyph, &o);
        for (int i = 0; i < o.n; i++)
            for (int k = 0; k < 4; k += 2) {
                const double along = at + o.at[i][k], rise = o.at[i][k + 1] - f.cap / 2;
                o.at[i][k] = up ? x - rise : x + along;
                o.at[i][k + 1] = up ? y - along : y - rise;
            }
        itp_outline_draw(c, &o, f.pen, rgb);
        at += itp_glyph_width(&f, glyph) + f.gap;
    }
}

INTERP_API void interp_image_rect(interp_image *image, int x, int y, int width, int height,
                                  uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    const int64_t x1 = (int64_t)x + itp_max(width, 0), y1 = (int64_t)y + itp_max(height, 0);
    if (x1 > 0 && y1 > 0)
        itp_draw_rect(&c, x, y, x1 < c.x1 ? (int)x1 : c.x1, y1 < c.y1 ? (int)y1 : c.y1, rgb, 1);
}

INTERP_API void interp_image_line(interp_image *image, double x0, double y0, double x1, double y1,
                                  double width, uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    if (width > 0) itp_draw_line(&c, x0, y0, x1, y1, width, rgb, 1);
}

INTERP_API void interp_image_disc(interp_image *image, double x, double y, double radius,
                                  uint32_t rgb)
{
    const itp_canvas c = itp_canvas_of(image);
    itp_draw_disc(&c, x, y, radius, rgb, 1);
}

INTERP_API void interp_image_text(interp_image *image, int x, int y, int size, int flags,
                                  uint32_t rgb, const char *text)
{
    const itp_canvas c = itp_canvas_of(image);
    if (abs(x / 2) > 500000 || abs(y / 2) > 500000) return;
    itp_draw_text(&c, x, y, size, flags, rgb, text);
}

/* ---- scaling */

/* Where pixel i of `to` lies among `from` pixels: a range to take the mean over. */
ITP_FN void itp_blit_span(int i, int from, int to, double *a, double *b)
{
    if (to >= from) {
        *a = itp_min((int)((i + .5) * from / to), from - 1);
        *b = *a + 1;
    } else {
        *a = (double)i * from / to;
        *b = fmin((i + 1.) * from / to, from);
    }
}

ITP_FN uint32_t itp_mean_rgb(const interp_image *s, double xa, double xb, double ya, double yb)
{
    double sum[3] = {0, 0, 0}, weight = 0;
    for (int y = (int)ya; y < yb; y++)
        for (int x = (int)xa; x < xb; x++) {
            const double w = (fmin(xb, x + 1) - fmax(xa, x)) * (fmin(yb, y + 1) - fmax(ya, y));
            const uint8_t *p = s->rgb + ((size_t)y * (size_t)s->width + (size_t)x) * 3;
            for (int i = 0; i < 3; i++) sum[i] += w * p[i];
            weight += w;
        }
    return weight > 0 ? itp_rgb(sum[0] / weight, sum[1] / weight, sum[2] / weight) : 0;
}

/* Bilinear weights along one axis: pixels *k and *k2, the latter with weight *f. */
ITP_FN void itp_blit_between(int i, int from, int to, int *k, int *k2, double *f)
{
    const double at = fmin(fmax((i + .5) * from / to - .5, 0), from - 1);
    *k = itp_min((int)at, from - 1);
    *k2 = itp_min(*k + 1, from - 1);
    *f = at - *k;
}

ITP_FN uint32_t itp_bilinear_rgb(const interp_image *s, int i, int j, int width, int height)
{
    int x, x2, y, y2;
    double fx, fy, c[3];
    itp_blit_between(i, s->width, width, &x, &x2, &fx);
    itp_blit_between(j, s->height, height, &y, &y2, &fy);
    const uint8_t *top = s->rgb + (size_t)y * (size_t)s->width * 3;
    const uint8_t *low = s->rgb + (size_t)y2 * (size_t)s->width * 3;
    for (int k = 0; k < 3; k++) {
        const double a = top[3 * x + k] * (1 - fx) + top[3 * x2 + k] * fx;
        const double b = low[3 * x + k] * (1 - fx) + low[3 * x2 + k] * fx;
        c[k] = a * (1 - fy) + b * fy;
    }
    return itp_rgb(c[0], c[1], c[2]);
}

INTERP_API void interp_image_blit(interp_image *image, int x, int y, int width, int height,
                                  const interp_image *source, interp_resample how)
{
    const itp_canvas c = itp_canvas_of(image);
    const int64_t x1 = (int64_t)x + itp_max(width, 0), y1 = (int64_t)y + itp_max(height, 0);
    if (x1 <= 0 || y1 <= 0 || !source->rgb) return;
    for (int py = itp_max(0, y); py < c.y1 && py < y1; py++)
        for (int px = itp_max(0, x); px < c.x1 && px < x1; px++) {
            const int i = px - x, j = py - y;
            uint32_t rgb;
            if (how == INTERP_RESAMPLE_BILINEAR) {
                rgb = itp_bilinear_rgb(source, i, j, width, height);
            } else {
                double xa, xb, ya, yb;
                itp_blit_span(i, source->width, width, &xa, &xb);
                itp_blit_span(j, source->height, height, &ya, &yb);
                rgb = itp_mean_rgb(source, xa, xb, ya, yb);
            }
            itp_rgb_put(image->rgb + ((size_t)py * (size_t)image->width + (size_t)px) * 3, rgb);
        }
}

/* ---- PNG */

/* Our own encoder: deflate with the fixed codes, looking for repeats one pixel to the left and
   one row above. Flat areas, of which charts are made, shrink to almost nothing. */
typedef struct itp_png_bits {
    itp_buf *b;
    uint32_t hold;
    int n;
} itp_png_bits;

ITP_FN void itp_png_bits_put(itp_png_bits *w, uint32_t value, int n)
{
    w->hold |= value << w->n;
    for (w->n += n; w->n >= 8; w->n -= 8, w->hold >>= 8) itp_buf_byte(w->b, (int)(w->hold & 255));
}

/* Huffman codes start with their highest bit (RFC 1951, 3.1.1). */
ITP_FN void itp_png_bits_code(itp_png_bits *w, uint32_t code, int n)
{
    uint32_t turned = 0;
    for (int i = 0; i < n; i++) turned |= (code >> i & 1) << (n - 1 - i);
    itp_png_bits_put(w, turned, n);
}

/* RFC 1951, 3.2.6 */
ITP_FN void itp_png_symbol(itp_png_bits *w, uint32_t s)
{
    if (s < 144) itp_png_bits_code(w, 0x30 + s, 8);
    else if (s < 256) itp_png_bits_code(w, 0x190 + s - 144, 9);
    else if (s < 280) itp_png_bits_code(w, s - 256, 7);
    else itp_png_bits_code(w, 0xc0 + s - 280, 8);
}

/* RFC 1951, 3.2.5: `length` 3..258 bytes again from `distance` back. */
ITP_FN void itp_png_match(itp_png_bits *w, uint32_t length, uint32_t distance)
{
    const uint32_t l = length - 3, d = distance - 1;
    uint32_t extra = 0;
    if (length == 258) {
        itp_png_symbol(w, 285);
    } else if (l < 8) {
        itp_png_symbol(w, 257 + l);
    } else {
        while (l >> (extra + 3)) extra++; /* l has extra + 3 bits: 1, two of the symbol, the rest */
        itp_png_symbol(w, 257 + 4 * extra + (l >> extra));
        itp_png_bits_put(w, l & ((1u << extra) - 1), (int)extra);
    }
    if (d < 4) {
        itp_png_bits_code(w, d, 5);
        return;
    }
    extra = 0;
    while (d >> (extra + 2)) extra++;
    itp_png_bits_code(w, 2 * extra + (d >> extra), 5);
    itp_png_bits_put(w, d & ((1u << extra) - 1), (int)extra);
}

ITP_FN size_t itp_png_repeats(const uint8_t *p, size_t i, size_t n, size_t distance)
{
    size_t k = 0;
    if (distance > i || distance > 32768) return 0;
    while (k < 258 && i + k < n && p[i + k] == p[i + k - distance]) k++;
    return k;
}

ITP_FN void itp_png_zlib(itp_buf *b, const uint8_t *p, size_t n, size_t stride)
{
    itp_png_bits w;
    uint32_t s1 = 1, s2 = 0; /* Adler-32 */
    w.b = b, w.hold = 0, w.n = 0;
    itp_buf_add(b, "\x78\x01", 2);
    itp_png_bits_put(&w, 3, 3); /* last block, fixed codes */
    for (size_t i = 0; i < n && !b->status;) {
        const size_t left = itp_png_repeats(p, i, n, 3), above = itp_png_repeats(p, i, n, stride);
        const size_t best = itp_max_size(left, above);
        if (best >= 4) itp_png_match(&w, (uint32_t)best, (uint32_t)(left >= above ? 3 : stride));
        else itp_png_symbol(&w, p[i]);
        for (size_t k = best >= 4 ? best : 1; k > 0; k--, i++) {
            s1 = (s1 + p[i]) % 65521;
            s2 = (s2 + s1) % 65521;
        }
    }
    itp_png_symbol(&w, 256);
    itp_png_bits_put(&w, 0, 7); /* to the next byte */
    for (int i = 24; i >= 0; i -= 8) itp_buf_byte(b, (int)((s2 << 16 | s1) >> i & 255));
}

ITP_FN void itp_png_be32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(v >> (24 - 8 * i));
}

ITP_FN void itp_png_chunk(itp_buf *b, const char *type, const void *data, size_t n)
{
    uint8_t head[8], tail[4];
    uint32_t crc = 0xffffffffu;
    itp_png_be32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    for (size_t i = 0; i < n + 4; i++) {
        crc ^= i < 4 ? head[4 + i] : ((const uint8_t *)data)[i - 4];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    itp_png_be32(tail, ~crc);
    itp_buf_add(b, head, 8);
    if (n) itp_buf_add(b, data, n);
    itp_buf_add(b, tail, 4);
}

ITP_FN void itp_png_pack_own(itp_buf *b, const interp_image *image)
{
    const size_t row = (size_t)image->width * 3, rows = (size_t)image->height;
    uint8_t *raw = (uint8_t *)interp_alloc(b->ctx, (row + 1) * rows);
    if (!raw) {
        b->status = INTERP_NO_MEMORY;
        return;
    }
    for (size_t y = 0; y < rows; y++) {
        raw[y * (row + 1)] = 0; /* no filter: rows that are the same stay the same */
        memcpy(raw + y * (row + 1) + 1, image->rgb + y * row, row);
    }
    itp_buf z = itp_buf_new(b->ctx);
    itp_png_zlib(&z, raw, (row + 1) * rows, row + 1);
    interp_free(b->ctx, raw);
    uint8_t head[13] = {0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0};
    itp_png_be32(head, (uint32_t)image->width);
    itp_png_be32(head + 4, (uint32_t)image->height);
    itp_buf_add(b, "\x89PNG\r\n\x1a\n", 8);
    itp_png_chunk(b, "IHDR", head, sizeof head);
    if (z.status) b->status = z.status;
    else itp_png_chunk(b, "IDAT", z.data, z.n);
    itp_png_chunk(b, "IEND", NULL, 0);
    itp_buf_free(&z);
}

#if defined(INCLUDE_STB_IMAGE_WRITE_H)

ITP_FN void itp_png_take(void *user, void *data, int n)
{
    itp_buf_add((itp_buf *)user, data, (size_t)n);
}

ITP_FN void itp_png_pack(itp_buf *b, const interp_image *image)
{
    if (!stbi_write_png_to_func(itp_png_take, b, image->width, image->height, 3, image->rgb,
                                image->width * 3) &&
        !b->status)
        b->status = itp_fail(b->ctx, INTERP_NO_MEMORY, "PNG: stb_image_write ran out of memory");
}

#else
#define itp_png_pack itp_png_pack_own
#endif

ITP_FN interp_status itp_image_check(interp_ctx *ctx, const interp_image *image)
{
    if (image && image->rgb && image->width > 0 && image->height > 0) return INTERP_OK;
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "picture: it is empty; draw one first");
}

INTERP_API interp_status interp_image_png(interp_ctx *ctx, const interp_image *image, uint8_t **png,
                                          size_t *bytes)
{
    ITP_TRY(itp_image_check(ctx, image));
    itp_buf b = itp_buf_new(ctx);
    itp_png_pack(&b, image);
    if (b.status) {
        itp_buf_free(&b);
        return b.status;
    }
    *png = (uint8_t *)b.data;
    *bytes = b.n;
    return INTERP_OK;
}

#ifndef INTERP_NO_STDIO

ITP_FN bool itp_view_path_ends(const char *path, const char *ending)
{
    const size_t n = strlen(path), e = strlen(ending);
    if (n < e) return false;
    for (size_t i = 0; i < e; i++)
        if (itp_view_lower(path[n - e + i]) != ending[i]) return false;
    return true;
}

INTERP_API interp_status interp_image_write(interp_ctx *ctx, const interp_image *image,
                                            const char *path)
{
    ITP_TRY(itp_image_check(ctx, image));
    const bool png = path && itp_view_path_ends(path, ".png");
    if (!png && !(path && itp_view_path_ends(path, ".ppm")))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "%s: pictures are written as .png or .ppm; end the name with one of them",
                        path ? path : "(no path)");
    itp_buf b = itp_buf_new(ctx);
    if (png) {
        itp_png_pack(&b, image);
    } else {
        itp_buf_printf(&b, "P6\n%d %d\n255\n", image->width, image->height);
        itp_buf_add(&b, image->rgb, (size_t)image->width * (size_t)image->height * 3);
    }
    return itp_buf_write(&b, path);
}

#endif
/* >>view/chart.c                                                                              */
/* ---- view/chart.c: axes, legends and the charts made of them --------------------------------- */

#define ITP_RGB_PAPER 0xffffffu
#define ITP_RGB_TITLE 0x1f1f1fu
#define ITP_RGB_TEXT  0x404040u
#define ITP_RGB_AXIS  0x8c8c8cu
#define ITP_RGB_GRID  0xe8e8e8u
#define ITP_RGB_LINE  0x6e6e6eu

#define ITP_TICKS     40
#define ITP_TICK_TEXT 24

/* One axis: numbers, or names at 0, 1, 2, ... High may be below low: then it runs the other way. */
typedef struct itp_chart_axis {
    double low, high;
    bool log, whole; /* whole: ticks at whole numbers only */
    const char *const *names;
    int n_names;
    int n;
    double tick[ITP_TICKS];
    char text[ITP_TICKS][ITP_TICK_TEXT];
} itp_chart_axis;

/* Points to a decimal point in any locale, and 1e-07 to 1e-7. */
ITP_FN void itp_number_tidy(char *text)
{
    char *to = text;
    bool exponent = false, digits = false;
    for (const char *s = text; *s; s++) {
        if (exponent && !digits && (*s == '+' || (*s == '0' && s[1]))) continue;
        if (exponent && *s != '-') digits = true;
        if (*s == 'e') exponent = true;
        *to++ = *s == ',' ? '.' : *s;
    }
    *to = 0;
}

ITP_FN void itp_tick_text(char out[ITP_TICK_TEXT], double v, double step, double largest)
{
    const int place = (int)floor(log10(step) + 1e-9);
    if (fabs(v) < step * 1e-6) {
        snprintf(out, ITP_TICK_TEXT, "0");
    } else if (largest >= 1e6 || place < -5) {
        const int digits = (int)floor(log10(fabs(v)) + 1e-9) - place;
        snprintf(out, ITP_TICK_TEXT, "%.*e", itp_max(0, itp_min(digits, 8)), v);
    } else {
        snprintf(out, ITP_TICK_TEXT, "%.*f", itp_max(0, -place), v);
    }
    itp_number_tidy(out);
}

/* A number beside a bar or in a cell: three digits, whole numbers in full. */
ITP_FN const char *itp_value_text(char out[ITP_TICK_TEXT], double v)
{
    const bool whole = fabs(v) < 1e6 && (fabs(v) >= 1000 || v == floor(v));
    snprintf(out, ITP_TICK_TEXT, whole ? "%.0f" : "%.3g", v);
    itp_number_tidy(out);
    return out;
}

/* The step of 1, 2 or 5 times a power of ten that gives about `want` ticks, at most half more. */
ITP_FN double itp_nice_step(double range, int want)
{
    const double raw = range / itp_max(want, 1), power = pow(10, floor(log10(raw)));
    const double f = raw / power;
    return power * (f <= 1.4 ? 1 : f <= 2.8 ? 2 : f <= 7 ? 5 : 10);
}

ITP_FN void itp_axis_add(itp_chart_axis *a, double v, double step, double largest)
{
    if (a->n == ITP_TICKS) return;
    a->tick[a->n] = v;
    itp_tick_text(a->text[a->n], v, step, largest);
    a->n++;
}

ITP_FN void itp_axis_log_ticks(itp_chart_axis *a, int want)
{
    const int from = (int)floor(log10(a->low) - 1e-9), to = (int)ceil(log10(a->high) + 1e-9);
    const int every = itp_max(1, itp_div_up(to - from, itp_max(want, 1)));
    const int few = to - from <= 3 ? 3 : 1; /* ticks of a decade: 1, 2, 5 or 1 */
    static const int at[3] = {1, 2, 5};
    for (int k = from; k <= to; k += every)
        for (int i = 0; i < few; i++) {
            const double v = at[i] * pow(10, k);
            if (v < a->low * (1 - 1e-9) || v > a->high * (1 + 1e-9)) continue;
            const bool plain = k >= -4 && k <= 5;
            itp_axis_add(a, v, pow(10, k), plain ? 1 : 1e9);
        }
}

ITP_FN void itp_axis_ticks(itp_chart_axis *a, int want)
{
    a->n = 0;
    if (a->n_names > 0) return;
    if (a->log) {
        itp_axis_log_ticks(a, want);
        return;
    }
    const double low = fmin(a->low, a->high), high = fmax(a->low, a->high);
    const double largest = fmax(fabs(low), fabs(high));
    double step = itp_nice_step(high - low, itp_max(2, itp_min(want, ITP_TICKS / 2)));
    if (a->whole) step = fmax(step, 1);
    if (!(step > largest * 1e-12)) return; /* the range is below the precision of the numbers */
    const double first = ceil(low / step - 1e-9), last = floor(high / step + 1e-9);
    for (double k = first; k <= last && a->n < ITP_TICKS; k++)
        itp_axis_add(a, k * step, step, largest);
}

/* 0 at the low end, 1 at the high end; NaN when the value is not on the axis at all. */
ITP_FN double itp_axis_at(const itp_chart_axis *a, double v)
{
    if (a->log) return v > 0 ? log10(v / a->low) / log10(a->high / a->low) : (double)NAN;
    return (v - a->low) / (a->high - a->low);
}

ITP_FN const char *itp_axis_name(const itp_chart_axis *a, int i, char buf[ITP_TICK_TEXT])
{
    if (a->names && a->names[i]) return a->names[i];
    snprintf(buf, ITP_TICK_TEXT, "%d", i);
    return buf;
}

ITP_FN int itp_names_width(const itp_chart_axis *a, int size)
{
    char buf[ITP_TICK_TEXT];
    int width = 0;
    for (int i = 0; i < a->n_names; i++)
        width = itp_max(width, interp_text_width(itp_axis_name(a, i, buf), size, 0));
    return width;
}

ITP_FN int itp_ticks_width(const itp_chart_axis *a, int size)
{
    int width = 0;
    for (int i = 0; i < a->n; i++) width = itp_max(width, interp_text_width(a->text[i], size, 0));
    return width;
}

/* ---- ranges of data */

typedef struct itp_view_range {
    double low, high; /* low > high: nothing yet */
} itp_view_range;

ITP_FN itp_view_range itp_view_range_new(void)
{
    itp_view_range r;
    r.low = 1, r.high = 0;
    return r;
}

ITP_FN void itp_view_range_add(itp_view_range *r, double v, bool log)
{
    if (!(fabs(v) <= DBL_MAX) || (log && v <= 0)) return;
    const bool empty = r->low > r->high;
    if (empty || v < r->low) r->low = v;
    if (empty || v > r->high) r->high = v;
}

ITP_FN void itp_view_range_add_all(itp_view_range *r, const float *v, size_t n, bool log)
{
    for (size_t i = 0; v && i < n; i++) itp_view_range_add(r, (double)v[i], log);
}

/* Sets an axis to the data, with some air at each end and a width that is never 0. */
ITP_FN void itp_axis_fit(itp_chart_axis *a, itp_view_range r, double air, float fixed_low,
                         float fixed_high)
{
    const double f0 = (double)fixed_low, f1 = (double)fixed_high;
    if (fabs(f0) <= DBL_MAX && fabs(f1) <= DBL_MAX && f0 < f1 && (!a->log || f0 > 0)) {
        a->low = f0, a->high = f1;
        return;
    }
    if (r.low > r.high) r.low = a->log ? .1 : 0, r.high = 1;
    if (a->log) {
        const double span = pow(r.high / r.low, air), wide = r.high / r.low < 1.5 ? 2 : 1;
        a->low = r.low / span / wide, a->high = r.high * span * wide;
        return;
    }
    double width = r.high - r.low;
    const double least = fmax(fabs(r.low), fabs(r.high)) * 1e-6;
    if (!(width > least))
        width = least > 0 ? fabs(r.high) * .2 : 1, r.low -= width / 2, r.high += width / 2;
    const bool from_zero = r.low >= 0 && r.low < .35 * r.high && air > 0;
    a->low = from_zero ? 0 : r.low - air * width;
    a->high = r.high <= 0 && r.high > .35 * r.low && air > 0 ? 0 : r.high + air * width;
}

ITP_FN int itp_view_compare_floats(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Range of the finite values between two percentiles, of the magnitudes when asked for. */
ITP_FN interp_status itp_view_range_percentile(interp_ctx *ctx, const float *v, size_t n,
                                               double from, double to, bool magnitude,
                                               itp_view_range *out)
{
    float *sorted = (float *)interp_alloc(ctx, itp_mul_size(n, sizeof(float)));
    size_t m = 0;
    if (!sorted) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)v[i]) <= (double)FLT_MAX)
            sorted[m++] = magnitude ? (float)fabs((double)v[i]) : v[i];
    *out = itp_view_range_new();
    if (m > 0) {
        qsort(sorted, m, sizeof(float), itp_view_compare_floats);
        itp_view_range_add(out, (double)sorted[(size_t)((double)(m - 1) * from / 100 + .5)], false);
        itp_view_range_add(out, (double)sorted[(size_t)((double)(m - 1) * to / 100 + .5)], false);
    }
    interp_free(ctx, sorted);
    return INTERP_OK;
}

/* ---- the plot: picture, margins, axes */

enum { ITP_KEY_LINE, ITP_KEY_BOX, ITP_KEY_DOT };

typedef struct itp_chart_key {
    const char *name;
    uint32_t rgb;
    int kind;
} itp_chart_key;

typedef struct itp_plot {
    interp_ctx *ctx;
    interp_chart d; /* with defaults filled in */
    double s;       /* pixels of a unit of layout */
    interp_image image;
    itp_canvas all, area; /* area: the inside of the axes */
    int x0, y0, x1, y1;   /* corners of the area, both ends within */
    itp_chart_axis x, y, right, bar;
    bool has_right, has_bar, equal, no_grid, names_up;
    interp_colormap map;
    const char *bar_label;
    itp_chart_key *keys; /* legend; freed with the plot */
    int n_keys;
} itp_plot;

ITP_FN int itp_units(const itp_plot *p, double v)
{
    return (int)(v * p->s + .5);
}

#define ITP_SIZE_TITLE 19
#define ITP_SIZE_LABEL 15
#define ITP_SIZE_TICK  14

ITP_FN void itp_plot_init(itp_plot *p, interp_ctx *ctx, const interp_chart *chart)
{
    memset(p, 0, sizeof *p);
    p->ctx = ctx;
    if (chart) p->d = *chart;
    if (p->d.width < 1) p->d.width = 900;
    if (p->d.height < 1) p->d.height = 560;
    p->s = (double)p->d.scale;
    if (!(p->s > 0)) p->s = 1;
    p->s = fmin(fmax(p->s, .1), 16);
    if (p->d.x_names && p->d.n_x_names > 0)
        p->x.names = p->d.x_names, p->x.n_names = p->d.n_x_names;
    p->y.log = p->d.log_y;
    if (!p->d.h_lines) p->d.n_h_lines = 0;
    if (!p->d.v_lines) p->d.n_v_lines = 0;
}

/* Frees what the plot holds; hands the picture over when all went well. */
ITP_FN interp_status itp_plot_close(itp_plot *p, interp_status status, interp_image *out)
{
    interp_free(p->ctx, p->keys);
    if (status) interp_image_free(p->ctx, &p->image);
    else *out = p->image;
    return status;
}

ITP_FN interp_status itp_plot_keys(itp_plot *p, int n)
{
    p->keys = (itp_chart_key *)itp_calloc(p->ctx, (size_t)itp_max(n, 1), sizeof *p->keys);
    return p->keys ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN void itp_plot_key(itp_plot *p, const char *name, uint32_t rgb, int kind)
{
    if (!name || !*name) return;
    itp_chart_key *key = &p->keys[p->n_keys++];
    key->name = name, key->rgb = rgb, key->kind = kind;
}

#define ITP_LEGEND_ROWS 3

/* Draws the sign of a legend entry, its left end at x. */
ITP_FN void itp_plot_sign(const itp_plot *p, const itp_chart_key *key, int x, int y, int width)
{
    if (key->kind == ITP_KEY_LINE)
        itp_draw_line(&p->all, x + 2, y, x + width - 3, y, 3 * p->s, key->rgb, 1);
    else if (key->kind == ITP_KEY_DOT)
        itp_draw_disc(&p->all, x + width / 2, y, 5 * p->s, key->rgb, 1);
    else itp_draw_rect(&p->all, x, y - width / 2, x + width, y + width - width / 2, key->rgb, 1);
}

/* Draws the legend in rows from `top`; returns its height. */
ITP_FN int itp_plot_legend(const itp_plot *p, int top)
{
    if (p->d.no_legend || p->n_keys == 0) return 0;
    const int size = itp_units(p, ITP_SIZE_TICK), gap = itp_units(p, 7), step = itp_units(p, 22);
    const int left = itp_units(p, 24), room = p->image.width - 2 * left;
    int x = 0, row = 0;
    for (int i = 0; i < p->n_keys; i++) {
        char cut[ITP_LABEL_BYTES], rest[ITP_TICK_TEXT];
        const int sign = itp_units(p, p->keys[i].kind == ITP_KEY_LINE ? 24 : 13);
        const char *name = itp_text_fit(cut, p->keys[i].name, size, 0, room - sign - gap);
        const int width = sign + gap + interp_text_width(name, size, 0);
        const bool last_row = row == ITP_LEGEND_ROWS - 1;
        const int spare = last_row && i + 1 < p->n_keys ? itp_units(p, 90) : 0;
        if (x > 0 && x + width + spare > room) {
            if (last_row) {
                snprintf(rest, sizeof rest, "+ %d more", p->n_keys - i);
                itp_draw_text(&p->all, left + x, top + row * step + step / 2, size, 0, ITP_RGB_AXIS,
                              rest);
                break;
            }
            x = 0, row++;
        }
        const int y = top + row * step + step / 2;
        itp_plot_sign(p, &p->keys[i], left + x, y, sign);
        itp_draw_text(&p->all, left + x + sign + gap, y, size, 0, ITP_RGB_TEXT, name);
        x += width + itp_units(p, 22);
    }
    return (row + 1) * step + itp_units(p, 12);
}

/* Room below the plot for the labels of x; decides whether names are turned. */
ITP_FN int itp_plot_bottom(itp_plot *p, int width)
{
    const int size = itp_units(p, ITP_SIZE_TICK);
    int room = itp_units(p, 16) + size;
    if (p->x.n_names > 0) {
        const int longest = itp_names_width(&p->x, size);
        p->names_up = longest + itp_units(p, 4) > width / p->x.n_names && longest > 3 * size;
        if (p->names_up) room = itp_min(longest, p->image.height * 3 / 10) + itp_units(p, 18);
    }
    return room + (p->d.x_label ? itp_units(p, 26) : itp_units(p, 6));
}

/* Room beside the plot for the labels of an upright axis. */
ITP_FN int itp_plot_side(const itp_plot *p, const itp_chart_axis *a, const char *label)
{
    const int size = itp_units(p, ITP_SIZE_TICK);
    int width = a->n_names > 0 ? itp_names_width(a, size) : itp_ticks_width(a, size);
    width = itp_min(width, p->image.width * 35 / 100);
    return width + itp_units(p, 22) + (label ? itp_units(p, 28) : 0);
}

/* Same units both ways: widens the range of one axis. */
ITP_FN void itp_plot_equalise(itp_plot *p)
{
    const double w = itp_max(1, p->x1 - p->x0), h = itp_max(1, p->y1 - p->y0);
    const double ux = (p->x.high - p->x.low) / w, uy = (p->y.high - p->y.low) / h;
    itp_chart_axis *a = ux < uy ? &p->x : &p->y;
    const double more = ux < uy ? (uy - ux) * w : (ux - uy) * h;
    a->low -= more / 2, a->high += more / 2;
}

/* Ticks for the room there is, the corners of the area, and the ticks once more for these. */
ITP_FN void itp_plot_layout(itp_plot *p, int top)
{
    const int W = p->image.width, H = p->image.height;
    const int every_y = itp_max(1, itp_units(p, 48)), every_x = itp_max(1, itp_units(p, 90));
    const int bar = p->has_bar ? itp_units(p, 34) : 0;
    int bottom = itp_plot_bottom(p, W - itp_units(p, 110) - bar), left = 0, right = 0;
    p->y0 = top;
    p->y1 = itp_max(p->y0 + 1, H - 1 - bottom);
    for (int pass = 0; pass < 2; pass++) {
        const int want = (p->y1 - p->y0) / every_y;
        itp_axis_ticks(&p->y, want);
        itp_axis_ticks(&p->right, want);
        itp_axis_ticks(&p->bar, want);
        left = itp_plot_side(p, &p->y, p->d.y_label);
        right = itp_units(p, 26);
        if (p->has_right) right = itp_plot_side(p, &p->right, p->d.right_label);
        if (p->has_bar) right = itp_plot_side(p, &p->bar, p->bar_label) + bar;
        p->x0 = left;
        p->x1 = itp_max(p->x0 + 1, W - 1 - right);
        if (pass == 1 && p->equal) itp_plot_equalise(p);
        itp_axis_ticks(&p->x, (p->x1 - p->x0) / every_x);
        if (p->equal) itp_axis_ticks(&p->y, want);
        const int longest = itp_ticks_width(&p->x, itp_units(p, ITP_SIZE_TICK));
        p->x1 = itp_max(p->x0 + 1, itp_min(p->x1, W - 1 - longest / 2 - itp_units(p, 4)));
    }
    p->area = itp_canvas_clip(&p->all, p->x0, p->y0, p->x1 + 1, p->y1 + 1);
}

ITP_FN double itp_plot_x(const itp_plot *p, double v)
{
    return p->x0 + itp_axis_at(&p->x, v) * (p->x1 - p->x0);
}

ITP_FN double itp_plot_y(const itp_plot *p, const itp_chart_axis *a, double v)
{
    return p->y1 - itp_axis_at(a, v) * (p->y1 - p->y0);
}

ITP_FN void itp_plot_grid(const itp_plot *p)
{
    for (int i = 0; i < p->y.n; i++) {
        const int y = itp_draw_px(itp_plot_y(p, &p->y, p->y.tick[i]));
        itp_draw_rect(&p->area, p->x0, y, p->x1 + 1, y + 1, ITP_RGB_GRID, 1);
    }
    for (int i = 0; i < p->x.n; i++) {
        const int x = itp_draw_px(itp_plot_x(p, p->x.tick[i]));
        itp_draw_rect(&p->area, x, p->y0, x + 1, p->y1 + 1, ITP_RGB_GRID, 1);
    }
}

ITP_FN void itp_plot_x_names(const itp_plot *p)
{
    const int size = itp_units(p, ITP_SIZE_TICK), n = p->x.n_names;
    const double slot = fabs(itp_plot_x(p, 1) - itp_plot_x(p, 0));
    const int longest = itp_names_width(&p->x, size);
    const int need = p->names_up ? size + itp_units(p, 3) : longest + itp_units(p, 4);
    const int every = itp_max(1, (int)fmin(ceil(need / fmax(slot, 1e-3)), 1e6));
    const int room = p->names_up ? p->image.height * 3 / 10 : itp_max((int)slot * every, size);
    for (int i = 0; i < n; i += every) {
        char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
        const char *name = itp_text_fit(cut, itp_axis_name(&p->x, i, buf), size, 0, room);
        const int x = itp_draw_px(itp_plot_x(p, i));
        if (x < p->x0 - 1 || x > p->x1 + 1) continue;
        if (p->names_up)
            itp_draw_text(&p->all, x, p->y1 + itp_units(p, 9), size,
                          INTERP_TEXT_UP | INTERP_TEXT_RIGHT, ITP_RGB_TEXT, name);
        else
            itp_draw_text(&p->all, x, p->y1 + itp_units(p, 16), size, INTERP_TEXT_CENTRE,
                          ITP_RGB_TEXT, name);
    }
}

/* Labels of an upright axis: left of x when `flags` says right, else right of it. */
ITP_FN void itp_plot_y_text(const itp_plot *p, const itp_chart_axis *a, int x, int flags)
{
    const int size = itp_units(p, ITP_SIZE_TICK), width = p->image.width * 35 / 100;
    for (int i = 0; i < a->n; i++) {
        const int y = itp_draw_px(itp_plot_y(p, a, a->tick[i]));
        itp_draw_text(&p->all, x, y, size, flags, ITP_RGB_TEXT, a->text[i]);
    }
    const double slot = fabs(itp_plot_y(p, a, 1) - itp_plot_y(p, a, 0));
    const int every = itp_max(1, (int)fmin(ceil((size + 1) / fmax(slot, 1e-3)), 1e6));
    for (int i = 0; i < a->n_names; i += every) {
        char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
        const char *name = itp_text_fit(cut, itp_axis_name(a, i, buf), size, 0, width);
        itp_draw_text(&p->all, x, itp_draw_px(itp_plot_y(p, a, i)), size, flags, ITP_RGB_TEXT,
                      name);
    }
}

ITP_FN void itp_draw_label(const itp_plot *p, int x, int y, int flags, int room, const char *text)
{
    char cut[ITP_LABEL_BYTES];
    const int size = itp_units(p, ITP_SIZE_LABEL);
    if (!text) return;
    itp_draw_text(&p->all, x, y, size, flags | INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                  itp_text_fit(cut, text, size, flags, room));
}

ITP_FN void itp_plot_bar(itp_plot *p)
{
    const int x0 = p->x1 + 1 + itp_units(p, 16), x1 = x0 + itp_units(p, 16);
    for (int y = p->y0; y <= p->y1; y++) {
        const double t = (double)(p->y1 - y) / itp_max(1, p->y1 - p->y0);
        itp_draw_rect(&p->all, x0, y, x1, y + 1, itp_map_rgb(p->map, t), 1);
    }
    itp_draw_frame(&p->all, x0, p->y0, x1, p->y1 + 1, ITP_RGB_AXIS);
    itp_plot_y_text(p, &p->bar, x1 + itp_units(p, 8), INTERP_TEXT_LEFT);
    itp_draw_label(p, p->image.width - itp_units(p, 16), (p->y0 + p->y1) / 2, INTERP_TEXT_UP,
                   p->image.height - itp_units(p, 8), p->bar_label);
}

/* Everything but the data. The ranges of the axes must be set. */
ITP_FN interp_status itp_plot_open(itp_plot *p)
{
    const double w = p->d.width * p->s + .5, h = p->d.height * p->s + .5;
    ITP_TRY(interp_image_new(p->ctx, (int)fmax(1, fmin(w, 1e9)), (int)fmax(1, fmin(h, 1e9)),
                             ITP_RGB_PAPER, &p->image));
    p->all = itp_canvas_of(&p->image);
    int top = itp_units(p, 18);
    if (p->d.title) {
        char cut[ITP_LABEL_BYTES];
        const int size = itp_units(p, ITP_SIZE_TITLE), side = itp_units(p, 24);
        itp_draw_text(
            &p->all, side, itp_units(p, 26), size, INTERP_TEXT_BOLD, ITP_RGB_TITLE,
            itp_text_fit(cut, p->d.title, size, INTERP_TEXT_BOLD, p->image.width - 2 * side));
        top = itp_units(p, p->n_keys > 0 && !p->d.no_legend ? 48 : 56);
    }
    top += itp_plot_legend(p, top);
    itp_plot_layout(p, top);
    if (!p->no_grid) itp_plot_grid(p);
    return INTERP_OK;
}

/* Reference lines, axes and labels, over the data. */
ITP_FN void itp_plot_finish(itp_plot *p)
{
    const int tick = itp_units(p, ITP_SIZE_TICK), H = p->image.height, mid = (p->y0 + p->y1) / 2;
    for (int i = 0; i < p->d.n_h_lines; i++) {
        const double y = itp_plot_y(p, &p->y, (double)p->d.h_lines[i]);
        itp_draw_line(&p->area, p->x0, y, p->x1, y, p->s, ITP_RGB_LINE, 1);
    }
    for (int i = 0; i < p->d.n_v_lines; i++) {
        const double x = itp_plot_x(p, (double)p->d.v_lines[i]);
        itp_draw_line(&p->area, x, p->y0, x, p->y1, p->s, ITP_RGB_LINE, 1);
    }
    itp_draw_rect(&p->all, p->x0 - 1, p->y1 + 1, p->x1 + 2, p->y1 + 2, ITP_RGB_AXIS, 1);
    itp_draw_rect(&p->all, p->x0 - 1, p->y0, p->x0, p->y1 + 1, ITP_RGB_AXIS, 1);
    if (p->has_right)
        itp_draw_rect(&p->all, p->x1 + 1, p->y0, p->x1 + 2, p->y1 + 1, ITP_RGB_AXIS, 1);
    for (int i = 0; i < p->x.n; i++)
        itp_draw_text(&p->all, itp_draw_px(itp_plot_x(p, p->x.tick[i])), p->y1 + itp_units(p, 16),
                      tick, INTERP_TEXT_CENTRE, ITP_RGB_TEXT, p->x.text[i]);
    if (p->x.n_names > 0) itp_plot_x_names(p);
    itp_plot_y_text(p, &p->y, p->x0 - itp_units(p, 9), INTERP_TEXT_RIGHT);
    if (p->has_right) itp_plot_y_text(p, &p->right, p->x1 + itp_units(p, 9), INTERP_TEXT_LEFT);
    if (p->has_bar) itp_plot_bar(p);
    itp_draw_label(p, (p->x0 + p->x1) / 2, H - itp_units(p, 15), 0,
                   p->image.width - itp_units(p, 16), p->d.x_label);
    itp_draw_label(p, itp_units(p, 17), mid, INTERP_TEXT_UP, H - itp_units(p, 8), p->d.y_label);
    if (p->has_right)
        itp_draw_label(p, p->image.width - itp_units(p, 16), mid, INTERP_TEXT_UP,
                       H - itp_units(p, 8), p->d.right_label);
}

ITP_FN interp_status itp_chart_bad(interp_ctx *ctx, const char *what)
{
    return itp_fail(ctx, INTERP_BAD_ARGUMENT, "chart: %s", what);
}

/* ---- lines and areas */

ITP_FN double itp_series_x(const interp_series *s, int i)
{
    return s->x ? (double)s->x[i] : i;
}

ITP_FN uint32_t itp_series_rgb(const interp_series *s, int i)
{
    return s->rgb ? s->rgb : interp_category_rgb(i);
}

/* A line with gaps; `at` is how far along the pattern of on and off pixels the last one ended. */
ITP_FN void itp_draw_dashes(const itp_canvas *c, const double from[4], double width, uint32_t rgb,
                            double on, double off, double *at)
{
    double p[4] = {from[0], from[1], from[2], from[3]};
    if (!itp_draw_clip(c, width, p)) return;
    const double dx = p[2] - p[0], dy = p[3] - p[1], length = sqrt(dx * dx + dy * dy);
    for (double done = 0; done < length;) {
        const bool ink = *at < on;
        const double step = fmin((ink ? on : on + off) - *at, length - done), t = done / length;
        const double u = (done + step) / length;
        if (ink)
            itp_draw_line(c, p[0] + dx * t, p[1] + dy * t, p[0] + dx * u, p[1] + dy * u, width, rgb,
                          1);
        done += fmax(step, 1e-3);
        *at += fmax(step, 1e-3);
        if (*at >= on + off - 1e-6) *at = 0;
    }
}

ITP_FN void itp_series_draw(const itp_plot *p, const interp_series *s, uint32_t rgb)
{
    const itp_chart_axis *axis = s->right ? &p->right : &p->y;
    const double width = fmin(fmax(s->line_width > 0 ? (double)s->line_width : 2, .2), 100) * p->s;
    const bool dots = s->style == INTERP_SERIES_POINTS || s->style == INTERP_SERIES_LINE_POINTS;
    const bool lines = s->style != INTERP_SERIES_POINTS;
    const double on = s->style == INTERP_SERIES_DASHED ? 4 * width : .1, off = 2.4 * width;
    const bool dashes = s->style == INTERP_SERIES_DASHED || s->style == INTERP_SERIES_DOTTED;
    double at[4] = {0, 0, 0, 0}, pattern = 0;
    bool had = false, joined = false; /* a point before this one; a line drawn to it */
    for (int i = 0; i <= s->n; i++) {
        bool have = false;
        if (i < s->n) {
            at[2] = itp_plot_x(p, itp_series_x(s, i));
            at[3] = itp_plot_y(p, axis, (double)s->y[i]);
            have = fabs(at[2]) <= DBL_MAX && fabs(at[3]) <= DBL_MAX;
        }
        if (lines && had && !have && !joined) itp_draw_disc(&p->area, at[0], at[1], width, rgb, 1);
        if (have && had && dashes) itp_draw_dashes(&p->area, at, width, rgb, on, off, &pattern);
        else if (have && had && lines)
            itp_draw_line(&p->area, at[0], at[1], at[2], at[3], width, rgb, 1);
        if (have && dots) itp_draw_disc(&p->area, at[2], at[3], 1.2 * width + p->s, rgb, 1);
        joined = have && had;
        had = have;
        if (have) at[0] = at[2], at[1] = at[3];
    }
}

ITP_FN interp_status itp_series_check(interp_ctx *ctx, const interp_series *series, int n)
{
    if (n < 0 || (n > 0 && !series))
        return itp_chart_bad(ctx, "there are no series; give an array of them");
    for (int i = 0; i < n; i++)
        if (series[i].n < 0 || (series[i].n > 0 && !series[i].y))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "chart: series %d has n = %d and %s y; give n values in y", i,
                            series[i].n, series[i].y ? "a" : "no");
    return INTERP_OK;
}

/* Axes and legend for series; stacked ones have put their totals into `y` before. */
ITP_FN interp_status itp_series_axes(itp_plot *p, const interp_series *series, int n, bool stacked,
                                     itp_view_range y)
{
    itp_view_range x = itp_view_range_new(), right = itp_view_range_new();
    ITP_TRY(itp_plot_keys(p, n));
    for (int i = 0; i < n; i++) {
        const interp_series *s = &series[i];
        if (s->right) p->has_right = true;
        for (int k = 0; k < s->n; k++) {
            const bool seen = s->right || fabs((double)s->y[k]) <= DBL_MAX;
            if (seen || stacked) itp_view_range_add(&x, itp_series_x(s, k), false);
        }
        if (s->right) itp_view_range_add_all(&right, s->y, (size_t)s->n, false);
        else if (!stacked) itp_view_range_add_all(&y, s->y, (size_t)s->n, p->y.log);
        itp_plot_key(p, s->name, itp_series_rgb(s, i),
                     stacked && !s->right ? ITP_KEY_BOX : ITP_KEY_LINE);
    }
    itp_view_range_add_all(&y, p->d.h_lines, (size_t)itp_max(0, p->d.n_h_lines), p->y.log);
    itp_view_range_add_all(&x, p->d.v_lines, (size_t)itp_max(0, p->d.n_v_lines), false);
    if (p->x.n_names > 0)
        itp_view_range_add(&x, -.4, false), itp_view_range_add(&x, p->x.n_names - .6, false);
    itp_axis_fit(&p->x, x, 0, p->d.x_min, p->d.x_max);
    itp_axis_fit(&p->y, y, .05, p->d.y_min, p->d.y_max);
    itp_axis_fit(&p->right, right, .05, p->d.right_min, p->d.right_max);
    return INTERP_OK;
}

INTERP_API interp_status interp_chart_lines(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out)
{
    itp_plot p;
    ITP_TRY(itp_series_check(ctx, series, n_series));
    itp_plot_init(&p, ctx, chart);
    interp_status status = itp_series_axes(&p, series, n_series, false, itp_view_range_new());
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        for (int i = 0; i < n_series; i++)
            itp_series_draw(&p, &series[i], itp_series_rgb(&series[i], i));
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* What a stacked series adds at point k. */
ITP_FN double itp_area_value(const interp_series *s, int k)
{
    const double v = (double)s->y[k];
    return v > 0 && v <= DBL_MAX ? v : 0;
}

/* Fills one column of pixels from y = a down to y = b with soft ends. */
ITP_FN void itp_area_column(const itp_plot *p, int x, double a, double b, uint32_t rgb)
{
    const int from = itp_max(p->area.y0, itp_draw_px(a)),
              to = itp_min(p->area.y1 - 1, itp_draw_px(b));
    for (int y = from; y <= to; y++) {
        const double cover = fmin(b, y + .5) - fmax(a, y - .5);
        if (cover > 0) itp_draw_blend(&p->area, x, y, rgb, fmin(cover, 1));
    }
}

ITP_FN void itp_areas_draw(const itp_plot *p, const interp_series *series, int n, int first)
{
    const interp_series *base = &series[first];
    int k = 0;
    for (int x = p->area.x0; x < p->area.x1 && base->n > 0; x++) {
        const double at =
            p->x.low + (p->x.high - p->x.low) * (x - p->x0) / itp_max(1, p->x1 - p->x0);
        while (k + 2 < base->n && itp_series_x(base, k + 1) < at) k++;
        const int next = itp_min(k + 1, base->n - 1);
        const double x0 = itp_series_x(base, k), x1 = itp_series_x(base, next);
        if (!(at >= x0 - 1e-9 * fabs(x0)) || !(at <= x1 + 1e-9 * fabs(x1))) continue;
        const double t = x1 > x0 ? (at - x0) / (x1 - x0) : 0;
        double sum = 0;
        for (int i = 0; i < n; i++) {
            if (series[i].right) continue;
            const double v =
                itp_area_value(&series[i], k) * (1 - t) + itp_area_value(&series[i], next) * t;
            const double low = p->y.log && sum <= 0 ? p->y.low : sum;
            if (v > 0)
                itp_area_column(p, x, itp_plot_y(p, &p->y, sum + v), itp_plot_y(p, &p->y, low),
                                itp_series_rgb(&series[i], i));
            sum += v;
        }
    }
}

INTERP_API interp_status interp_chart_areas(interp_ctx *ctx, const interp_chart *chart,
                                            const interp_series *series, int n_series,
                                            interp_image *out)
{
    itp_plot p;
    itp_view_range y = itp_view_range_new();
    int first = -1;
    ITP_TRY(itp_series_check(ctx, series, n_series));
    for (int i = 0; i < n_series; i++) {
        if (series[i].right) continue;
        if (first < 0) first = i;
        if (series[i].n != series[first].n)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "chart: stacked series %d has %d points but series %d has %d", i,
                            series[i].n, first, series[first].n);
    }
    itp_plot_init(&p, ctx, chart);
    for (int k = 0; first >= 0 && k < series[first].n; k++) {
        double sum = 0;
        for (int i = first; i < n_series; i++)
            if (!series[i].right) sum += itp_area_value(&series[i], k);
        itp_view_range_add(&y, sum, p.y.log);
        if (!p.y.log) itp_view_range_add(&y, 0, false);
    }
    interp_status status = itp_series_axes(&p, series, n_series, true, y);
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        if (first >= 0) itp_areas_draw(&p, series, n_series, first);
        for (int i = 0; i < n_series; i++)
            if (series[i].right) itp_series_draw(&p, &series[i], itp_series_rgb(&series[i], i));
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- bars */

/* One bar; box: first and second edge across, base and end along. */
ITP_FN void itp_chart_bar(const itp_plot *p, bool horizontal, const double box[4], uint32_t rgb)
{
    const double a = horizontal ? box[2] : box[0], b = horizontal ? box[3] : box[1];
    const double c = horizontal ? box[0] : box[2], d = horizontal ? box[1] : box[3];
    if (a != a || b != b || c != c || d != d) return;
    const int x0 = itp_draw_px(fmin(a, b)), x1 = itp_draw_px(fmax(a, b));
    const int y0 = itp_draw_px(fmin(c, d)), y1 = itp_draw_px(fmax(c, d));
    itp_draw_rect(&p->area, x0, y0, itp_max(x1, x0 + 1), itp_max(y1, y0 + 1), rgb, 1);
}

/* Whether the widest number of a chart needs more room than a bar is thick. */
ITP_FN bool itp_bars_turn(const itp_plot *p, const interp_bars *b, int n_series, double thick)
{
    const size_t n = (size_t)n_series * (size_t)b->n_groups;
    const int size = itp_units(p, 12);
    for (size_t i = 0; i < n; i++) {
        char text[ITP_TICK_TEXT];
        const double v = (double)b->values[i];
        if (fabs(v) <= DBL_MAX && interp_text_width(itp_value_text(text, v), size, 0) + 2 > thick)
            return true;
    }
    return false;
}

/* The number at the end of a bar. */
ITP_FN void itp_bar_text(const itp_plot *p, bool horizontal, bool turn, const double box[4],
                         double v)
{
    char text[ITP_TICK_TEXT];
    const int size = itp_units(p, 12), gap = itp_units(p, 5);
    const int end = itp_draw_px(box[3]), middle = itp_draw_px((box[0] + box[1]) / 2);
    if (fabs(box[1] - box[0]) < size - 2 || box[3] != box[3]) return;
    const int back = v < 0 ? INTERP_TEXT_RIGHT : INTERP_TEXT_LEFT;
    itp_value_text(text, v);
    if (horizontal)
        itp_draw_text(&p->all, v < 0 ? end - gap : end + gap, middle, size, back, ITP_RGB_TEXT,
                      text);
    else if (turn)
        itp_draw_text(&p->all, middle, v < 0 ? end + gap : end - gap, size, INTERP_TEXT_UP | back,
                      ITP_RGB_TEXT, text);
    else
        itp_draw_text(&p->all, middle, v < 0 ? end + gap + size / 3 : end - gap - size / 3, size,
                      INTERP_TEXT_CENTRE, ITP_RGB_TEXT, text);
}

ITP_FN void itp_bars_draw(const itp_plot *p, const interp_bars *b, int n_series)
{
    const itp_chart_axis *axis = b->horizontal ? &p->x : &p->y;
    const double base = axis->log ? axis->low : fmin(fmax(0, axis->low), axis->high);
    const double wide = .8 / n_series;
    const double thick = fabs(itp_plot_x(p, wide) - itp_plot_x(p, 0));
    const bool turn = b->show_values && !b->horizontal && itp_bars_turn(p, b, n_series, thick);
    for (int g = 0; g < b->n_groups; g++)
        for (int s = 0; s < n_series; s++) {
            const double v = (double)b->values[(size_t)s * (size_t)b->n_groups + (size_t)g];
            const double from = g - .4 + wide * s, to = from + wide * (n_series > 1 ? .92 : 1);
            double box[4]; /* first and second edge across, base and end along */
            if (!(fabs(v) <= DBL_MAX)) continue;
            if (b->horizontal) {
                box[0] = itp_plot_y(p, &p->y, from), box[1] = itp_plot_y(p, &p->y, to);
                box[2] = itp_plot_x(p, base), box[3] = itp_plot_x(p, v);
            } else {
                box[0] = itp_plot_x(p, from), box[1] = itp_plot_x(p, to);
                box[2] = itp_plot_y(p, &p->y, base), box[3] = itp_plot_y(p, &p->y, v);
            }
            itp_chart_bar(p, b->horizontal, box,
                          b->colours ? b->colours[s] : interp_category_rgb(s));
            if (b->show_values) itp_bar_text(p, b->horizontal, turn, box, v);
        }
}

INTERP_API interp_status interp_chart_bars(interp_ctx *ctx, const interp_chart *chart,
                                           const interp_bars *bars, interp_image *out)
{
    itp_plot p;
    const int n_series = bars && bars->n_series > 0 ? bars->n_series : 1;
    if (!bars || bars->n_groups < 0 || bars->n_series < 0 || (bars->n_groups > 0 && !bars->values))
        return itp_chart_bad(ctx, "bars need values of [n_series, n_groups]");
    itp_plot_init(&p, ctx, chart);
    itp_chart_axis *value = bars->horizontal ? &p.x : &p.y, *group = bars->horizontal ? &p.y : &p.x;
    itp_view_range r = itp_view_range_new();
    value->log = p.d.log_y;
    group->log = false;
    if (bars->horizontal) {
        const char *label = p.d.x_label; /* y_label names the values either way */
        p.d.x_label = p.d.y_label, p.d.y_label = label;
        p.x.names = NULL, p.x.n_names = 0;
    }
    if (!value->log) itp_view_range_add(&r, 0, false);
    itp_view_range_add_all(&r, bars->values, (size_t)n_series * (size_t)bars->n_groups, value->log);
    itp_axis_fit(value, r, bars->show_values ? .12 : .05, p.d.y_min, p.d.y_max);
    group->names = bars->group_names;
    group->n_names = bars->n_groups;
    group->low = bars->horizontal ? bars->n_groups - .5 : -.5;
    group->high = bars->horizontal ? -.5 : bars->n_groups - .5;
    if (bars->n_groups == 0) group->low = 0, group->high = 1;
    interp_status status = itp_plot_keys(&p, n_series);
    for (int s = 0; !status && bars->series_names && s < n_series; s++)
        itp_plot_key(&p, bars->series_names[s],
                     bars->colours ? bars->colours[s] : interp_category_rgb(s), ITP_KEY_BOX);
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_bars_draw(&p, bars, n_series);
        if (!value->log && bars->horizontal) {
            const double x = itp_plot_x(&p, 0);
            itp_draw_line(&p.area, x, p.y0, x, p.y1, p.s, ITP_RGB_LINE, 1);
        } else if (!value->log) {
            const double y = itp_plot_y(&p, &p.y, 0);
            itp_draw_line(&p.area, p.x0, y, p.x1, y, p.s, ITP_RGB_LINE, 1);
        }
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- histogram */

#define ITP_BINS_MOST 4096

ITP_FN int itp_histogram_bins(const interp_histogram *h)
{
    return h->bins > 0 ? h->bins : 40;
}

INTERP_API interp_status interp_histogram_count(interp_ctx *ctx, const interp_histogram *h,
                                                double *edges, size_t *counts)
{
    if (!h || (h->n > 0 && !h->values) || h->bins < 0 || h->bins > ITP_BINS_MOST)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "histogram: it needs values, and at most %d bins",
                        ITP_BINS_MOST);
    const int bins = itp_histogram_bins(h);
    itp_view_range r = itp_view_range_new();
    const double cut = (double)h->percentile;
    if (cut > 0 && cut < 100)
        ITP_TRY(itp_view_range_percentile(ctx, h->values, h->n, (100 - cut) / 2, (100 + cut) / 2,
                                          false, &r));
    else itp_view_range_add_all(&r, h->values, h->n, false);
    if (r.low > r.high) r.low = 0, r.high = 1;
    if (!(r.high - r.low > fabs(r.high) * 1e-7)) {
        const double air = r.high != 0 ? fabs(r.high) * .05 : .5;
        r.low -= air, r.high += air;
    }
    double width = (r.high - r.low) / bins, low = r.low;
    if (h->align_zero && bins > 1) {
        width = (r.high - r.low) / (bins - 1);
        low = floor(r.low / width) * width; /* high still fits: it is bins-1 widths above r.low */
    }
    for (int i = 0; i <= bins; i++) edges[i] = low + width * i;
    memset(counts, 0, (size_t)bins * sizeof *counts);
    for (size_t i = 0; i < h->n; i++) {
        const double v = (double)h->values[i];
        if (v >= r.low && v <= r.high) counts[itp_min(bins - 1, (int)((v - low) / width))]++;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_histogram_plot(itp_plot *p, const interp_histogram *h, const double *edges,
                                        const size_t *counts, char mean_text[64])
{
    const int bins = itp_histogram_bins(h);
    const uint32_t rgb = h->rgb ? h->rgb : interp_category_rgb(0);
    itp_view_range r = itp_view_range_new();
    double sum = 0, n = 0;
    for (int i = 0; i < bins; i++) itp_view_range_add(&r, (double)counts[i], p->y.log);
    if (!p->y.log) itp_view_range_add(&r, 0, false);
    else itp_view_range_add(&r, .8, true);
    p->x.names = NULL, p->x.n_names = 0;
    p->x.low = edges[0], p->x.high = edges[bins];
    if (p->d.x_min < p->d.x_max) itp_axis_fit(&p->x, r, 0, p->d.x_min, p->d.x_max);
    itp_axis_fit(&p->y, r, .05, p->d.y_min, p->d.y_max);
    ITP_TRY(itp_plot_keys(p, 1));
    for (size_t i = 0; h->mean_line && i < h->n; i++)
        if (fabs((double)h->values[i]) <= DBL_MAX) sum += (double)h->values[i], n++;
    if (n > 0) {
        char text[ITP_TICK_TEXT];
        snprintf(mean_text, 64, "mean %s", itp_value_text(text, sum / n));
        itp_plot_key(p, mean_text, interp_category_rgb(3), ITP_KEY_LINE);
    }
    ITP_TRY(itp_plot_open(p));
    const double base = p->y.log ? p->y.low : 0;
    for (int i = 0; i < bins; i++) {
        const double a = itp_plot_x(p, edges[i]), b = itp_plot_x(p, edges[i + 1]);
        const double gap = b - a > 5 ? 1 : 0;
        const double box[4] = {a + gap, b, itp_plot_y(p, &p->y, base),
                               itp_plot_y(p, &p->y, (double)counts[i])};
        if (counts[i]) itp_chart_bar(p, false, box, rgb);
    }
    if (n > 0) {
        const double x = itp_plot_x(p, sum / n);
        itp_draw_line(&p->area, x, p->y0, x, p->y1, 2 * p->s, interp_category_rgb(3), 1);
    }
    itp_plot_finish(p);
    return INTERP_OK;
}

INTERP_API interp_status interp_chart_histogram(interp_ctx *ctx, const interp_chart *chart,
                                                const interp_histogram *histogram,
                                                interp_image *out)
{
    itp_plot p;
    char mean_text[64];
    if (!histogram || histogram->bins > ITP_BINS_MOST || histogram->bins < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "histogram: it needs values, and at most %d bins",
                        ITP_BINS_MOST);
    const size_t bins = (size_t)itp_histogram_bins(histogram);
    double *edges = (double *)interp_alloc(ctx, (bins + 1) * sizeof *edges);
    size_t *counts = (size_t *)interp_alloc(ctx, bins * sizeof *counts);
    interp_status status = edges && counts ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = interp_histogram_count(ctx, histogram, edges, counts);
    if (!status) {
        itp_plot_init(&p, ctx, chart);
        status = itp_histogram_plot(&p, histogram, edges, counts, mean_text);
        status = itp_plot_close(&p, status, out);
    }
    interp_free(ctx, counts);
    interp_free(ctx, edges);
    return status;
}

/* ---- matrix */

/* Mean of the finite cells of a block, NaN when there are none. */
ITP_FN double itp_block_mean(const interp_matrix *m, double xa, double xb, double ya, double yb)
{
    double sum = 0, n = 0;
    for (int y = (int)ya; y < yb; y++)
        for (int x = (int)xa; x < xb; x++) {
            const double v = (double)m->values[(size_t)y * (size_t)m->cols + (size_t)x];
            if (fabs(v) <= DBL_MAX) sum += v, n++;
        }
    return n > 0 ? sum / n : (double)NAN;
}

ITP_FN interp_status itp_matrix_range(interp_ctx *ctx, const interp_matrix *m, itp_chart_axis *bar)
{
    const size_t n = (size_t)m->rows * (size_t)m->cols;
    const double cut = (double)m->percentile;
    itp_view_range r = itp_view_range_new();
    if (cut > 0 && cut < 100) {
        ITP_TRY(itp_view_range_percentile(ctx, m->values, n, m->symmetric ? cut : 100 - cut, cut,
                                          m->symmetric, &r));
        if (m->symmetric && r.high <= 0)
            r.low = 1, r.high = 0; /* nearly all zeros: take them all */
    }
    if (r.low > r.high) itp_view_range_add_all(&r, m->values, n, false);
    if (m->symmetric && r.low <= r.high) {
        r.high = fmax(fabs(r.low), fabs(r.high));
        r.low = -r.high;
    }
    itp_axis_fit(bar, r, 0, m->min, m->max);
    return INTERP_OK;
}

ITP_FN void itp_matrix_draw(const itp_plot *p, const interp_matrix *m)
{
    const int w = p->x1 - p->x0 + 1, h = p->y1 - p->y0 + 1, size = itp_units(p, 12);
    for (int y = p->area.y0; y < p->area.y1; y++)
        for (int x = p->area.x0; x < p->area.x1; x++) {
            double xa, xb, ya, yb;
            itp_blit_span(x - p->x0, m->cols, w, &xa, &xb);
            itp_blit_span(y - p->y0, m->rows, h, &ya, &yb);
            const double t = itp_axis_at(&p->bar, itp_block_mean(m, xa, xb, ya, yb));
            itp_draw_blend(&p->area, x, y, itp_map_rgb(p->map, t), 1);
        }
    if (!m->show_values || (size_t)m->rows * (size_t)m->cols > (size_t)w * (size_t)h / 64) return;
    for (int j = 0; j < m->rows; j++)
        for (int i = 0; i < m->cols; i++) {
            char text[ITP_TICK_TEXT];
            const double v = (double)m->values[(size_t)j * (size_t)m->cols + (size_t)i];
            if (!(fabs(v) <= DBL_MAX) || h / m->rows < size + 2) continue;
            if (interp_text_width(itp_value_text(text, v), size, 0) > w / m->cols - 4) continue;
            const uint32_t ink = itp_rgb_ink(itp_map_rgb(p->map, itp_axis_at(&p->bar, v)));
            itp_draw_text(&p->area, p->x0 + (int)((i + .5) * w / m->cols),
                          p->y0 + (int)((j + .5) * h / m->rows), size, INTERP_TEXT_CENTRE, ink,
                          text);
        }
}

INTERP_API interp_status interp_chart_matrix(interp_ctx *ctx, const interp_chart *chart,
                                             const interp_matrix *matrix, interp_image *out)
{
    itp_plot p;
    if (!matrix || !matrix->values || matrix->rows < 1 || matrix->cols < 1)
        return itp_chart_bad(ctx, "a matrix needs values of [rows, cols] with at least one cell");
    itp_plot_init(&p, ctx, chart);
    interp_status status = itp_matrix_range(ctx, matrix, &p.bar);
    p.has_bar = p.no_grid = true;
    p.map = matrix->colormap;
    if (p.map == INTERP_COLORMAP_AUTO)
        p.map = matrix->symmetric ? INTERP_COLORMAP_RD_WH_GN : INTERP_COLORMAP_VIRIDIS;
    p.bar_label = matrix->bar_label;
    p.y.log = false;
    p.y.names = matrix->row_names, p.y.n_names = matrix->row_names ? matrix->rows : 0;
    p.x.names = matrix->col_names, p.x.n_names = matrix->col_names ? matrix->cols : 0;
    p.x.whole = p.y.whole = true;
    p.x.low = -.5, p.x.high = matrix->cols - .5;
    p.y.low = matrix->rows - .5, p.y.high = -.5;
    if (!matrix->col_names && p.d.x_min < p.d.x_max) {
        itp_axis_fit(&p.x, itp_view_range_new(), 0, p.d.x_min, p.d.x_max);
        p.x.whole = false;
    }
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_matrix_draw(&p, matrix);
        itp_plot_finish(&p);
    }
    return itp_plot_close(&p, status, out);
}

/* ---- scatter */

ITP_FN interp_status itp_scatter_check(interp_ctx *ctx, const interp_scatter *s)
{
    if (!s || s->n < 0 || (s->n > 0 && !s->points))
        return itp_chart_bad(ctx, "a scatter plot needs points of [n, 2]");
    if (s->stride < 0 || s->stride == 1 || s->n_classes < 0)
        return itp_chart_bad(ctx,
                             "a scatter plot needs a stride of at least 2, and n_classes >= 0");
    return INTERP_OK;
}

ITP_FN int itp_scatter_classes(const interp_scatter *s)
{
    int n = s->n_classes;
    if (n > 0 || !s->classes) return s->classes ? n : 0;
    for (int i = 0; i < s->n; i++)
        if (s->classes[i] >= n && s->classes[i] < 1000000) n = s->classes[i] + 1;
    return n;
}

ITP_FN void itp_scatter_draw(const itp_plot *p, const interp_scatter *s)
{
    const size_t stride = (size_t)(s->stride ? s->stride : 2);
    const double many = s->n < 300 ? 4 : s->n < 1500 ? 3.2 : s->n < 6000 ? 2.4 : 1.6;
    const double radius = (s->radius > 0 ? fmin((double)s->radius, 1000) : many) * p->s;
    for (int i = 0; i < s->n; i++) {
        const float *at = s->points + (size_t)i * stride;
        uint32_t rgb = interp_category_rgb(0);
        if (p->has_bar) rgb = itp_map_rgb(p->map, itp_axis_at(&p->bar, (double)s->values[i]));
        else if (s->classes)
            rgb = s->classes[i] < 0 ? ITP_RGB_NAN : interp_category_rgb(s->classes[i]);
        itp_draw_disc(&p->area, itp_plot_x(p, (double)at[0]), itp_plot_y(p, &p->y, (double)at[1]),
                      radius, rgb, .8);
    }
}

INTERP_API interp_status interp_chart_scatter(interp_ctx *ctx, const interp_chart *chart,
                                              const interp_scatter *scatter, interp_image *out)
{
    itp_plot p;
    ITP_TRY(itp_scatter_check(ctx, scatter));
    itp_plot_init(&p, ctx, chart);
    const int n = scatter->n, n_classes = itp_scatter_classes(scatter);
    const size_t stride = (size_t)(scatter->stride ? scatter->stride : 2);
    itp_view_range x = itp_view_range_new(), y = itp_view_range_new(), bar = itp_view_range_new();
    for (int i = 0; i < n; i++) {
        itp_view_range_add(&x, (double)scatter->points[(size_t)i * stride], false);
        itp_view_range_add(&y, (double)scatter->points[(size_t)i * stride + 1], p.y.log);
    }
    const double air_x = (x.high - x.low) * .04, air_y = (y.high - y.low) * .04;
    if (air_x > 0) x.low -= air_x, x.high += air_x;
    if (air_y > 0 && !p.y.log) y.low -= air_y, y.high += air_y;
    itp_axis_fit(&p.x, x, 0, p.d.x_min, p.d.x_max);
    itp_axis_fit(&p.y, y, 0, p.d.y_min, p.d.y_max);
    p.x.names = NULL, p.x.n_names = 0;
    p.equal = scatter->equal && !p.y.log;
    p.has_bar = scatter->values != NULL;
    p.bar_label = scatter->bar_label;
    p.map = scatter->colormap;
    itp_view_range_add_all(&bar, scatter->values, (size_t)n, false);
    itp_axis_fit(&p.bar, bar, 0, 0, 0);
    interp_status status = itp_plot_keys(&p, n_classes);
    char(*numbers)[ITP_TICK_TEXT] = NULL;
    if (!status && !scatter->class_names && n_classes > 0) {
        numbers = (char(*)[ITP_TICK_TEXT])itp_calloc(ctx, (size_t)n_classes, sizeof *numbers);
        if (!numbers) status = INTERP_NO_MEMORY;
    }
    for (int i = 0; !status && !p.has_bar && i < n_classes; i++) {
        if (numbers) snprintf(numbers[i], ITP_TICK_TEXT, "%d", i);
        itp_plot_key(&p, numbers ? numbers[i] : scatter->class_names[i], interp_category_rgb(i),
                     ITP_KEY_DOT);
    }
    if (!status) status = itp_plot_open(&p);
    if (!status) {
        itp_scatter_draw(&p, scatter);
        itp_plot_finish(&p);
    }
    interp_free(ctx, numbers);
    return itp_plot_close(&p, status, out);
}
/* >>view/panels.c                                                                             */
/* ---- view/panels.c: attributions over pictures, grids of pictures, confusion matrices -------- */

ITP_FN int itp_view_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* captum's _cumulative_sum_threshold; 0 percent takes the largest where captum can fail. */
ITP_FN double itp_cumulative_threshold(double *magnitudes, size_t n, double outlier_percent)
{
    qsort(magnitudes, n, sizeof(double), itp_view_compare_doubles);
    double total = 0, sum = 0;
    for (size_t i = 0; i < n; i++) total += magnitudes[i];
    const double limit = total * .01 * (100 - outlier_percent);
    for (size_t i = 0; i < n; i++) {
        sum += magnitudes[i];
        if (sum >= limit) return magnitudes[i];
    }
    return n ? magnitudes[n - 1] : 0;
}

ITP_FN interp_status itp_attribution_check(interp_ctx *ctx, int channels, int height, int width,
                                           interp_attribution_sign sign, float outlier_percent)
{
    if (channels < 1 || height < 1 || width < 1 || height > ITP_IMAGE_SIDE ||
        width > ITP_IMAGE_SIDE)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: its shape is [%d,%d,%d]; all must be at least 1 and a side at "
            "most %d",
            channels, height, width, ITP_IMAGE_SIDE);
    if ((unsigned)sign > INTERP_SIGN_ABSOLUTE || !(outlier_percent < 100))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: sign is %d and outlier_percent %g; take one of interp_attribution_"
            "sign and less than 100",
            (int)sign, (double)outlier_percent);
    return INTERP_OK;
}

INTERP_API interp_status interp_attribution_normalize(interp_ctx *ctx, const float *attr,
                                                      int channels, int height, int width,
                                                      interp_attribution_sign sign,
                                                      float outlier_percent, float *out)
{
    ITP_TRY(itp_attribution_check(ctx, channels, height, width, sign, outlier_percent));
    const size_t n = (size_t)height * (size_t)width;
    const double percent = outlier_percent == 0  ? 2
                           : outlier_percent < 0 ? 0
                                                 : (double)outlier_percent;
    if (!attr) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "attribution: attr is NULL");
    double *value = (double *)interp_alloc(ctx, itp_mul_size(n, 2 * sizeof(double)));
    if (!value) return INTERP_NO_MEMORY;
    double *magnitude = value + n;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (int c = 0; c < channels; c++) sum += (double)attr[(size_t)c * n + i];
        if (!(fabs(sum) <= DBL_MAX)) sum = 0;
        if (sign == INTERP_SIGN_NEGATIVE) sum = -sum;
        if (sign == INTERP_SIGN_ABSOLUTE) sum = fabs(sum);
        if (sign != INTERP_SIGN_ALL && sum < 0) sum = 0;
        value[i] = sum;
        magnitude[i] = fabs(sum);
    }
    const double threshold = itp_cumulative_threshold(magnitude, n, percent);
    for (size_t i = 0; i < n; i++)
        out[i] = threshold > 0 ? (float)fmin(fmax(value[i] / threshold, -1), 1) : 0;
    interp_free(ctx, value);
    return INTERP_OK;
}

/* The range from black to white: 0..1 or 0..255 when the values lie so, else their own. */
ITP_FN itp_view_range itp_picture_range(const float *v, size_t n, float low, float high)
{
    itp_view_range r = itp_view_range_new();
    if (low < high) {
        r.low = (double)low, r.high = (double)high;
        return r;
    }
    itp_view_range_add_all(&r, v, n, false);
    const bool positive = r.low <= r.high && r.low >= 0;
    if (positive && r.high <= 1) r.low = 0, r.high = 1;
    else if (positive && r.high > 16 && r.high <= 255) r.low = 0, r.high = 255;
    return r;
}

/* Where a value lies in a range, 0..1; NaN stays NaN, an empty range gives 0. */
ITP_FN double itp_view_range_at(const itp_view_range *r, double v)
{
    if (v != v || !(r->high > r->low)) return v != v ? v : 0;
    return fmin(fmax((v - r->low) / (r->high - r->low), 0), 1);
}

/* A picture [C,H,W] as three planes of 0..1. */
ITP_FN void itp_picture_planes(const float *v, int channels, size_t n, const itp_view_range *r,
                               float *planes)
{
    for (size_t i = 0; i < n; i++) {
        double mean = 0;
        for (int c = 0; c < channels; c++) mean += (double)v[(size_t)c * n + i] / channels;
        for (int k = 0; k < 3; k++) {
            const double t =
                itp_view_range_at(r, channels == 3 ? (double)v[(size_t)k * n + i] : mean);
            planes[(size_t)k * n + i] = (float)(t == t ? t : 0);
        }
    }
}

/* Three planes to their mean, stretched from its smallest to its largest value. */
ITP_FN void itp_planes_to_grey(float *planes, size_t n)
{
    itp_view_range r = itp_view_range_new();
    for (size_t i = 0; i < n; i++) {
        planes[i] = (planes[i] + planes[n + i] + planes[2 * n + i]) / 3;
        itp_view_range_add(&r, (double)planes[i], false);
    }
    for (size_t i = 0; i < n; i++) {
        planes[i] = (float)itp_view_range_at(&r, (double)planes[i]);
        planes[n + i] = planes[2 * n + i] = planes[i];
    }
}

/* Value of a plane [h,w] at pixel i, j of the plane enlarged `scale` times. */
ITP_FN double itp_plane_at(const float *plane, int h, int w, int i, int j, int scale, bool smooth)
{
    int x, x2, y, y2;
    double fx, fy;
    if (!smooth) return (double)plane[(size_t)(j / scale) * (size_t)w + (size_t)(i / scale)];
    itp_blit_between(i, w, w * scale, &x, &x2, &fx);
    itp_blit_between(j, h, h * scale, &y, &y2, &fy);
    const float *top = plane + (size_t)y * (size_t)w, *low = plane + (size_t)y2 * (size_t)w;
    const double a = (double)top[x] * (1 - fx) + (double)top[x2] * fx;
    const double b = (double)low[x] * (1 - fx) + (double)low[x2] * fx;
    return a * (1 - fy) + b * fy;
}

ITP_FN interp_colormap itp_sign_map(interp_attribution_sign sign)
{
    switch (sign) {
    case INTERP_SIGN_POSITIVE: return INTERP_COLORMAP_GREENS;
    case INTERP_SIGN_NEGATIVE: return INTERP_COLORMAP_REDS;
    case INTERP_SIGN_ABSOLUTE: return INTERP_COLORMAP_BLUES;
    default: return INTERP_COLORMAP_RD_WH_GN;
    }
}

/* One pixel: attribution v, picture c of 0..1. */
ITP_FN uint32_t itp_attribution_pixel(const interp_attribution_draw_desc *d, double v,
                                      const double c[3])
{
    const double t = d->sign == INTERP_SIGN_ALL ? (v + 1) / 2 : v;
    const uint32_t picture = itp_rgb(255 * c[0], 255 * c[1], 255 * c[2]);
    switch (d->method) {
    case INTERP_DRAW_BLENDED:
    case INTERP_DRAW_OVERLAY:
        return itp_rgb_mix(picture, itp_map_rgb(d->colormap, t), (double)d->alpha);
    case INTERP_DRAW_MASKED: return itp_rgb_mix(0x000000, picture, v);
    case INTERP_DRAW_ALPHA: return itp_rgb_mix(0xffffff, picture, v);
    case INTERP_DRAW_ORIGINAL: return picture;
    default: return itp_map_rgb(d->colormap, t);
    }
}

ITP_FN interp_status itp_attribution_desc(interp_ctx *ctx, interp_attribution_draw_desc *d)
{
    if (d->channels == 0) d->channels = 1;
    if (d->image_channels == 0) d->image_channels = d->channels;
    if (d->alpha == 0) d->alpha = .5f;
    if (d->method > INTERP_DRAW_OVERLAY) d->colour_bar = false;
    if (d->colormap == INTERP_COLORMAP_AUTO) d->colormap = itp_sign_map(d->sign);
    ITP_TRY(
        itp_attribution_check(ctx, d->channels, d->height, d->width, d->sign, d->outlier_percent));
    if (d->scale == 0) d->scale = itp_max(1, itp_div_up(256, itp_max(d->height, d->width)));
    const bool one_sign = d->method == INTERP_DRAW_MASKED || d->method == INTERP_DRAW_ALPHA;
    if (!d->attr && d->method != INTERP_DRAW_ORIGINAL)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "attribution: attr is NULL; only ORIGINAL goes without");
    if (!d->image && d->method != INTERP_DRAW_HEAT_MAP)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "attribution: image is NULL; only HEAT_MAP goes without");
    if (one_sign && d->sign == INTERP_SIGN_ALL)
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: MASKED and ALPHA show magnitudes; take a sign other than ALL");
    if (d->scale < 1 || d->scale > ITP_IMAGE_SIDE / itp_max(d->height, d->width) ||
        d->image_channels < 1 || !(d->alpha >= 0 && d->alpha <= 1))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "attribution: scale is %d, image_channels %d, alpha %g; the picture may have %d "
            "pixels a side, alpha is 0..1",
            d->scale, d->image_channels, (double)d->alpha, ITP_IMAGE_SIDE);
    return INTERP_OK;
}

#define ITP_BAR_GAP   12
#define ITP_BAR_WIDTH 14

/* An upright bar of the colours with a text at top, middle and bottom. */
ITP_FN void itp_draw_bar(const itp_canvas *c, int x, int y, int height, interp_colormap map,
                         int size, const char *const text[3])
{
    const int inset = size * 36 / 100 + 1;
    const int at[3] = {y + inset, y + height / 2, y + height - 1 - inset};
    for (int j = 0; j < height; j++)
        itp_draw_rect(c, x, y + j, x + ITP_BAR_WIDTH, y + j + 1,
                      itp_map_rgb(map, (height - 1 - j) / (double)itp_max(1, height - 1)), 1);
    itp_draw_frame(c, x, y, x + ITP_BAR_WIDTH, y + height, ITP_RGB_AXIS);
    for (int i = 0; i < 3; i++)
        if (text[i]) itp_draw_text(c, x + ITP_BAR_WIDTH + 6, at[i], size, 0, ITP_RGB_TEXT, text[i]);
}

/* `planes` is [4,H,W]: the attributions, then the picture. */
ITP_FN void itp_attribution_paint(const interp_attribution_draw_desc *d, const float *planes,
                                  interp_image *image)
{
    const itp_canvas c = itp_canvas_of(image);
    const size_t n = (size_t)d->height * (size_t)d->width;
    const int w = d->width * d->scale, h = d->height * d->scale;
    for (int j = 0; j < h; j++)
        for (int i = 0; i < w; i++) {
            double v[4];
            for (size_t k = 0; k < 4; k++)
                v[k] = itp_plane_at(planes + k * n, d->height, d->width, i, j, d->scale, d->smooth);
            itp_draw_blend(&c, i, j, itp_attribution_pixel(d, v[0], v + 1), 1);
        }
    if (!d->colour_bar) return;
    static const char *const all[3] = {"1", "0", "-1"}, *const half[3] = {"1", "0.5", "0"};
    itp_draw_bar(&c, w + ITP_BAR_GAP, 0, h, d->colormap, 13,
                 d->sign == INTERP_SIGN_ALL ? all : half);
}

INTERP_API interp_status interp_attribution_draw(interp_ctx *ctx,
                                                 const interp_attribution_draw_desc *desc,
                                                 interp_image *out)
{
    interp_attribution_draw_desc d;
    interp_image image = {0, 0, NULL};
    if (!desc) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "attribution: the description is NULL");
    d = *desc;
    ITP_TRY(itp_attribution_desc(ctx, &d));
    const size_t n = (size_t)d.height * (size_t)d.width;
    float *planes = (float *)itp_calloc(ctx, itp_mul_size(n, 4), sizeof(float));
    if (!planes) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    if (d.attr)
        status = interp_attribution_normalize(ctx, d.attr, d.channels, d.height, d.width, d.sign,
                                              d.outlier_percent, planes);
    if (d.image) {
        const itp_view_range r =
            itp_picture_range(d.image, n * (size_t)d.image_channels, d.image_min, d.image_max);
        itp_picture_planes(d.image, d.image_channels, n, &r, planes + n);
        if (d.method == INTERP_DRAW_BLENDED) itp_planes_to_grey(planes + n, n);
    }
    const int bar = d.colour_bar ? ITP_BAR_GAP + ITP_BAR_WIDTH + 36 : 0;
    if (!status)
        status = interp_image_new(ctx, d.width * d.scale + bar, d.height * d.scale, ITP_RGB_PAPER,
                                  &image);
    if (!status) {
        itp_attribution_paint(&d, planes, &image);
        *out = image;
    }
    interp_free(ctx, planes);
    return status;
}

/* ---- grids of pictures */

#define ITP_PANEL_PAD     18
#define ITP_PANEL_GAP     6
#define ITP_PANEL_CAPTION 18
#define ITP_PANEL_SIDE    240 /* most pixels of a row label */
#define ITP_SIZE_CAPTION  12

typedef struct itp_panel {
    const interp_panel_desc *d;
    int cell_w, cell_h, left, top, bar;
    itp_view_range *ranges; /* [rows,cols] */
} itp_panel;

ITP_FN const interp_panel_cell *itp_panel_cell(const interp_panel_desc *d, int row, int col)
{
    return &d->cells[(size_t)row * (size_t)d->cols + (size_t)col];
}

ITP_FN int itp_cell_channels(const interp_panel_cell *cell)
{
    return cell->channels > 0 ? cell->channels : 1;
}

/* Drawn as it is, so that no range of other cells touches it. */
ITP_FN bool itp_cell_is_colour(const interp_panel_cell *cell)
{
    return cell->channels == 3 && cell->colormap == INTERP_COLORMAP_AUTO;
}

ITP_FN void itp_cell_size(const interp_panel_cell *cell, int *w, int *h)
{
    const bool image = !cell->values && cell->image && cell->image->rgb;
    *w = image ? cell->image->width : cell->values ? cell->width : 0;
    *h = image ? cell->image->height : cell->values ? cell->height : 0;
}

ITP_FN double itp_cell_mean(const interp_panel_cell *cell, size_t i)
{
    const int channels = itp_cell_channels(cell);
    const size_t n = (size_t)cell->height * (size_t)cell->width;
    double sum = 0;
    for (int c = 0; c < channels; c++) sum += (double)cell->values[(size_t)c * n + i];
    return sum / channels;
}

ITP_FN itp_view_range itp_cell_range(const interp_panel_cell *cell)
{
    itp_view_range r = itp_view_range_new();
    const size_t n = cell->values ? (size_t)cell->height * (size_t)cell->width : 0;
    if (cell->values && itp_cell_is_colour(cell))
        return itp_picture_range(cell->values, 3 * n, cell->min, cell->max);
    if (cell->min < cell->max) {
        r.low = (double)cell->min, r.high = (double)cell->max;
        return r;
    }
    for (size_t i = 0; i < n; i++) itp_view_range_add(&r, itp_cell_mean(cell, i), false);
    if (itp_map_diverges(cell->colormap) && r.low <= r.high) {
        r.high = fmax(fabs(r.low), fabs(r.high));
        r.low = -r.high;
    }
    return r;
}

/* Ranges of all cells, joined as the description says. */
ITP_FN void itp_panel_ranges(itp_panel *p)
{
    const interp_panel_desc *d = p->d;
    itp_view_range all = itp_view_range_new();
    for (int r = 0; r < d->rows; r++) {
        itp_view_range row = itp_view_range_new(), *to = d->range == INTERP_RANGE_ALL ? &all : &row;
        itp_view_range *own = p->ranges + (size_t)r * (size_t)d->cols;
        for (int c = 0; c < d->cols; c++) {
            const interp_panel_cell *cell = itp_panel_cell(d, r, c);
            own[c] = itp_cell_range(cell);
            if (itp_cell_is_colour(cell) || own[c].low > own[c].high) continue;
            itp_view_range_add(to, own[c].low, false);
            itp_view_range_add(to, own[c].high, false);
        }
        for (int c = 0; c < d->cols && d->range == INTERP_RANGE_ROW; c++) {
            const interp_panel_cell *cell = itp_panel_cell(d, r, c);
            if (!itp_cell_is_colour(cell) && !(cell->min < cell->max)) own[c] = row;
        }
    }
    const size_t n = (size_t)d->rows * (size_t)d->cols;
    for (size_t i = 0; i < n && d->range == INTERP_RANGE_ALL; i++)
        if (!itp_cell_is_colour(&d->cells[i]) && !(d->cells[i].min < d->cells[i].max))
            p->ranges[i] = all;
}

ITP_FN interp_status itp_cell_image(interp_ctx *ctx, const interp_panel_cell *cell,
                                    const itp_view_range *range, interp_image *out)
{
    const size_t n = (size_t)cell->height * (size_t)cell->width;
    const interp_colormap map =
        cell->colormap == INTERP_COLORMAP_AUTO ? INTERP_COLORMAP_GRAY : cell->colormap;
    ITP_TRY(interp_image_new(ctx, cell->width, cell->height, 0, out));
    for (size_t i = 0; i < n; i++) {
        uint32_t rgb;
        if (itp_cell_is_colour(cell)) {
            double c[3];
            for (size_t k = 0; k < 3; k++) {
                c[k] = 255 * itp_view_range_at(range, (double)cell->values[k * n + i]);
                if (c[k] != c[k]) c[k] = 0;
            }
            rgb = itp_rgb(c[0], c[1], c[2]);
        } else if (range->low == range->high && itp_map_diverges(map)) {
            rgb = itp_map_rgb(map, .5); /* nothing but zeros */
        } else {
            rgb = itp_map_rgb(map, itp_view_range_at(range, itp_cell_mean(cell, i)));
        }
        itp_rgb_put(out->rgb + 3 * i, rgb);
    }
    return INTERP_OK;
}

/* Draws a cell's picture into its place, as large as fits. */
ITP_FN interp_status itp_cell_draw(interp_ctx *ctx, const itp_panel *p, int row, int col, int x,
                                   int y, interp_image *image)
{
    const interp_panel_cell *cell = itp_panel_cell(p->d, row, col);
    const itp_view_range *range = &p->ranges[(size_t)row * (size_t)p->d->cols + (size_t)col];
    interp_image own = {0, 0, NULL};
    int w, h;
    itp_cell_size(cell, &w, &h);
    if (w < 1 || h < 1) return INTERP_OK;
    if (cell->values) ITP_TRY(itp_cell_image(ctx, cell, range, &own));
    const double fit = fmin((double)p->cell_w / w, (double)p->cell_h / h);
    const int to_w = itp_max(1, (int)(w * fit + .5)), to_h = itp_max(1, (int)(h * fit + .5));
    const itp_canvas c = itp_canvas_of(image);
    x += (p->cell_w - to_w) / 2, y += (p->cell_h - to_h) / 2;
    interp_image_blit(image, x, y, to_w, to_h, cell->values ? &own : cell->image,
                      INTERP_RESAMPLE_PIXELS);
    itp_draw_frame(&c, x - 1, y - 1, x + to_w + 1, y + to_h + 1, ITP_RGB_GRID);
    if (cell->values) interp_image_free(ctx, &own);
    return INTERP_OK;
}

/* Height of a row, with its captions when it has any. */
ITP_FN int itp_row_height(const itp_panel *p, int row)
{
    for (int c = 0; c < p->d->cols; c++)
        if (itp_panel_cell(p->d, row, c)->caption) return p->cell_h + ITP_PANEL_CAPTION;
    return p->cell_h;
}

/* The range and map that all cells of a row share, if they do. */
ITP_FN bool itp_row_shares(const itp_panel *p, int row, itp_view_range *range, interp_colormap *map)
{
    bool any = false;
    for (int c = 0; c < p->d->cols; c++) {
        const interp_panel_cell *cell = itp_panel_cell(p->d, row, c);
        const itp_view_range *r = &p->ranges[(size_t)row * (size_t)p->d->cols + (size_t)c];
        if (!cell->values) continue;
        if (itp_cell_is_colour(cell) || !(r->low < r->high)) return false;
        if (any && (r->low != range->low || r->high != range->high || cell->colormap != *map))
            return false;
        *range = *r;
        *map = cell->colormap;
        any = true;
    }
    if (*map == INTERP_COLORMAP_AUTO) *map = INTERP_COLORMAP_GRAY;
    return any;
}

ITP_FN void itp_row_bar(const itp_panel *p, const itp_canvas *c, int row, int x, int y)
{
    char low[ITP_TICK_TEXT], high[ITP_TICK_TEXT];
    itp_view_range r = itp_view_range_new();
    interp_colormap map = INTERP_COLORMAP_AUTO;
    if (!itp_row_shares(p, row, &r, &map)) return;
    if (fabs(r.low) < 1e-3 * fabs(r.high)) r.low = 0; /* as near to it as three digits tell */
    const char *text[3];
    text[0] = itp_value_text(high, r.high), text[1] = NULL, text[2] = itp_value_text(low, r.low);
    itp_draw_bar(c, x, y, p->cell_h, map, ITP_SIZE_CAPTION, text);
}

/* Sizes of cells and margins; returns false when the whole would be too large to count. */
ITP_FN bool itp_panel_layout(itp_panel *p, int *width, int *height)
{
    const interp_panel_desc *d = p->d;
    const int n = d->rows * d->cols;
    int w = 0, h = 0;
    for (int i = 0; i < n && (w < 1 || h < 1); i++) itp_cell_size(&d->cells[i], &w, &h);
    w = itp_max(w, 1), h = itp_max(h, 1);
    p->cell_w = d->cell_size > 0 ? d->cell_size : itp_max(32, itp_min(1100 / d->cols, 160));
    if (d->cell_size < 1 && w <= p->cell_w) p->cell_w = p->cell_w / w * w;
    p->cell_h = (int)fmin(fmax((double)p->cell_w * h / w + .5, 8), 4. * p->cell_w);
    p->left = ITP_PANEL_PAD;
    int label = 0;
    for (int r = 0; d->row_labels && r < d->rows; r++)
        label =
            itp_max(label, interp_text_width(d->row_labels[r], ITP_SIZE_TICK, INTERP_TEXT_BOLD));
    if (label) p->left += itp_min(label, ITP_PANEL_SIDE) + 12;
    p->top = ITP_PANEL_PAD + (d->title ? 34 : 0) + (d->col_labels ? 24 : 0);
    itp_view_range r = itp_view_range_new();
    interp_colormap map = INTERP_COLORMAP_AUTO;
    for (int i = 0; d->colour_bars && i < d->rows; i++)
        if (itp_row_shares(p, i, &r, &map)) p->bar = ITP_BAR_GAP + ITP_BAR_WIDTH + 66;
    const int64_t W = p->left + (int64_t)d->cols * (p->cell_w + ITP_PANEL_GAP) - ITP_PANEL_GAP +
                      p->bar + ITP_PANEL_PAD;
    int64_t H = p->top - ITP_PANEL_GAP + ITP_PANEL_PAD;
    for (int i = 0; i < d->rows; i++) H += itp_row_height(p, i) + ITP_PANEL_GAP;
    if (W > ITP_IMAGE_SIDE || H > ITP_IMAGE_SIDE) return false;
    const int title = d->title ? interp_text_width(d->title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD) : 0;
    *width = itp_max((int)W, itp_min(title + 2 * ITP_PANEL_PAD, 900));
    *height = (int)H;
    return true;
}

ITP_FN interp_status itp_panel_paint(interp_ctx *ctx, const itp_panel *p, interp_image *image)
{
    const interp_panel_desc *d = p->d;
    const itp_canvas c = itp_canvas_of(image);
    const int step_x = p->cell_w + ITP_PANEL_GAP;
    int y = p->top;
    char cut[ITP_LABEL_BYTES];
    if (d->title)
        itp_draw_text(&c, ITP_PANEL_PAD, ITP_PANEL_PAD + 8, ITP_SIZE_TITLE, INTERP_TEXT_BOLD,
                      ITP_RGB_TITLE,
                      itp_text_fit(cut, d->title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD,
                                   image->width - 2 * ITP_PANEL_PAD));
    for (int col = 0; d->col_labels && col < d->cols; col++)
        itp_draw_text(&c, p->left + col * step_x + p->cell_w / 2, p->top - 14, ITP_SIZE_TICK,
                      INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                      itp_text_fit(cut, d->col_labels[col], ITP_SIZE_TICK, 0, step_x - 4));
    for (int row = 0; row < d->rows; row++) {
        if (d->row_labels)
            itp_draw_text(&c, p->left - 12, y + p->cell_h / 2, ITP_SIZE_TICK,
                          INTERP_TEXT_RIGHT | INTERP_TEXT_BOLD, ITP_RGB_TEXT,
                          itp_text_fit(cut, d->row_labels[row], ITP_SIZE_TICK, INTERP_TEXT_BOLD,
                                       ITP_PANEL_SIDE));
        for (int col = 0; col < d->cols; col++) {
            const int x = p->left + col * step_x;
            ITP_TRY(itp_cell_draw(ctx, p, row, col, x, y, image));
            itp_draw_text(&c, x + p->cell_w / 2, y + p->cell_h + 9, ITP_SIZE_CAPTION,
                          INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                          itp_text_fit(cut, itp_panel_cell(d, row, col)->caption, ITP_SIZE_CAPTION,
                                       0, step_x - 2));
        }
        if (p->bar)
            itp_row_bar(p, &c, row, p->left + d->cols * step_x - ITP_PANEL_GAP + ITP_BAR_GAP, y);
        y += itp_row_height(p, row) + ITP_PANEL_GAP;
    }
    return INTERP_OK;
}

INTERP_API interp_status interp_panel_draw(interp_ctx *ctx, const interp_panel_desc *desc,
                                           interp_image *out)
{
    itp_panel p;
    interp_image image = {0, 0, NULL};
    int width = 0, height = 0;
    if (!desc || !desc->cells || desc->rows < 1 || desc->cols < 1 || desc->rows > 1000 ||
        desc->cols > 1000 || desc->cell_size < 0 || desc->cell_size > ITP_IMAGE_SIDE)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "panel: it needs 1..1000 rows and columns of cells");
    const size_t n = (size_t)desc->rows * (size_t)desc->cols;
    for (size_t i = 0; i < n; i++) {
        const interp_panel_cell *c = &desc->cells[i];
        if (c->values && (c->channels < 0 || c->height < 1 || c->width < 1 ||
                          c->height > ITP_IMAGE_SIDE || c->width > ITP_IMAGE_SIDE))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "panel: cell %zu has shape [%d,%d,%d]", i,
                            c->channels, c->height, c->width);
    }
    memset(&p, 0, sizeof p);
    p.d = desc;
    p.ranges = (itp_view_range *)interp_alloc(ctx, itp_mul_size(n, sizeof(itp_view_range)));
    if (!p.ranges) return INTERP_NO_MEMORY;
    itp_panel_ranges(&p);
    interp_status status = INTERP_OK;
    if (!itp_panel_layout(&p, &width, &height))
        status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                          "panel: %d x %d cells of %d pixels are too large for one picture",
                          desc->rows, desc->cols, p.cell_w);
    if (!status) status = interp_image_new(ctx, width, height, ITP_RGB_PAPER, &image);
    if (!status) status = itp_panel_paint(ctx, &p, &image);
    interp_free(ctx, p.ranges);
    if (status) interp_image_free(ctx, &image);
    else *out = image;
    return status;
}

/* ---- confusion matrix */

typedef struct itp_confusion {
    const interp_confusion_draw_desc *d;
    interp_colormap map;
    int k, cell, text, count_text; /* classes; pixels; sizes of names and counts, 0: none */
    int x, y;                      /* corner of the cells */
    bool upright;                  /* names of columns stand upright */
    double *truth, *predicted;     /* [k] sums of rows and columns */
    double total, hits, macro_f1;
} itp_confusion;

#define ITP_CONFUSION_COLUMN 70
#define ITP_CONFUSION_LEFT   122 /* room for the words "precision %" */

ITP_FN double itp_confusion_count(const itp_confusion *m, int row, int col)
{
    return (double)m->d->counts[(size_t)row * (size_t)m->k + (size_t)col];
}

ITP_FN const char *itp_confusion_name(const itp_confusion *m, int i, char buf[ITP_TICK_TEXT])
{
    if (m->d->class_names && m->d->class_names[i]) return m->d->class_names[i];
    snprintf(buf, ITP_TICK_TEXT, "%d", i);
    return buf;
}

/* F1 of a class, NaN when it is neither in the truth nor predicted. */
ITP_FN double itp_confusion_f1(const itp_confusion *m, int i)
{
    const double both = m->truth[i] + m->predicted[i];
    return both > 0 ? 2 * itp_confusion_count(m, i, i) / both : (double)NAN;
}

ITP_FN void itp_confusion_sums(itp_confusion *m)
{
    double classes = 0;
    for (int i = 0; i < m->k; i++)
        for (int j = 0; j < m->k; j++) {
            const double n = itp_confusion_count(m, i, j);
            m->truth[i] += n;
            m->predicted[j] += n;
            m->total += n;
            if (i == j) m->hits += n;
        }
    for (int i = 0; i < m->k; i++) {
        const double f1 = itp_confusion_f1(m, i);
        if (f1 == f1) m->macro_f1 += f1, classes++;
    }
    m->macro_f1 = classes > 0 ? m->macro_f1 / classes : (double)NAN;
}

ITP_FN const char *itp_percent_text(char out[ITP_TICK_TEXT], double part, double whole)
{
    if (!(whole > 0) || part != part) return "-";
    snprintf(out, ITP_TICK_TEXT, "%.1f", 100 * part / whole);
    itp_number_tidy(out);
    return out;
}

/* Sizes of cells and text, and the corner of the cells. */
ITP_FN void itp_confusion_layout(itp_confusion *m)
{
    static const int most[7] = {2, 5, 10, 16, 25, 50, 100}, size[7] = {110, 84, 58, 44, 32, 20, 13};
    char buf[ITP_TICK_TEXT];
    int names = 0;
    m->cell = itp_max(3, 1300 / m->k);
    for (int i = 6; i >= 0; i--)
        if (m->k <= most[i]) m->cell = size[i];
    if (m->d->cell_size > 0) m->cell = itp_min(m->d->cell_size, 400);
    m->text = itp_max(8, itp_min(m->cell - 2, ITP_SIZE_TICK));
    double widest = 0;
    for (size_t i = 0; i < (size_t)m->k * (size_t)m->k; i++)
        widest = fmax(widest, (double)m->d->counts[i]);
    snprintf(buf, sizeof buf, "%.0f", widest);
    for (int s = 8; s <= 15; s++)
        if (interp_text_width(buf, s, 0) <= m->cell - 5 && s <= m->cell - 3) m->count_text = s;
    for (int i = 0; i < m->k; i++)
        names = itp_max(names, interp_text_width(itp_confusion_name(m, i, buf), m->text, 0));
    m->upright = names > m->cell - 4;
    names = itp_min(names, 200);
    m->x = 18 + 24 + names + 12;
    m->y = 86 + 26 + (m->upright ? names : m->text) + 12;
}

/* Class names, every so many that they do not run into each other. */
ITP_FN void itp_confusion_names(const itp_confusion *m, const itp_canvas *c)
{
    const int every = itp_div_up(m->text, m->cell), side = m->k * m->cell;
    char buf[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
    for (int i = 0; i < m->k; i += every) {
        const int middle = i * m->cell + m->cell / 2;
        const char *name = itp_text_fit(cut, itp_confusion_name(m, i, buf), m->text, 0, 200);
        itp_draw_text(c, m->x - 9, m->y + middle, m->text, INTERP_TEXT_RIGHT, ITP_RGB_TEXT, name);
        if (m->upright)
            itp_draw_text(c, m->x + middle, m->y - 9, m->text, INTERP_TEXT_UP, ITP_RGB_TEXT, name);
        else
            itp_draw_text(c, m->x + middle, m->y - 9 - m->text / 3, m->text, INTERP_TEXT_CENTRE,
                          ITP_RGB_TEXT, name);
    }
    itp_draw_text(c, 22, m->y + side / 2, ITP_SIZE_LABEL,
                  INTERP_TEXT_UP | INTERP_TEXT_CENTRE | INTERP_TEXT_BOLD, ITP_RGB_TEXT,
                  "true class");
    itp_draw_text(c, m->x + side / 2, 96, ITP_SIZE_LABEL, INTERP_TEXT_CENTRE | INTERP_TEXT_BOLD,
                  ITP_RGB_TEXT,
                  itp_text_fit(cut, "predicted class", ITP_SIZE_LABEL, INTERP_TEXT_BOLD,
                               side + 2 * ITP_CONFUSION_COLUMN));
}

ITP_FN void itp_confusion_cells(const itp_confusion *m, const itp_canvas *c)
{
    const int gap = m->cell >= 12 ? 1 : 0;
    for (int i = 0; i < m->k; i++)
        for (int j = 0; j < m->k; j++) {
            char text[ITP_TICK_TEXT];
            const int x = m->x + j * m->cell, y = m->y + i * m->cell;
            const double n = itp_confusion_count(m, i, j),
                         share = m->truth[i] > 0 ? n / m->truth[i] : 0;
            const uint32_t rgb = itp_map_rgb(m->map, share);
            itp_draw_rect(c, x, y, x + m->cell - gap, y + m->cell - gap, rgb, 1);
            if (!m->count_text) continue;
            snprintf(text, sizeof text, "%.0f", n);
            const uint32_t ink = n > 0 ? itp_rgb_ink(rgb) : itp_rgb_mix(rgb, itp_rgb_ink(rgb), .35);
            itp_draw_text(c, x + m->cell / 2, y + m->cell / 2, m->count_text, INTERP_TEXT_CENTRE,
                          ink, text);
        }
    itp_draw_frame(c, m->x - 1, m->y - 1, m->x + m->k * m->cell + 1 - gap,
                   m->y + m->k * m->cell + 1 - gap, ITP_RGB_AXIS);
}

/* Recall, F1 and support at the right of each row, precision below each column. */
ITP_FN void itp_confusion_margins(const itp_confusion *m, const itp_canvas *c)
{
    static const char *const heads[3] = {"recall %", "F1 %", "support"};
    const int right = m->x + m->k * m->cell, bottom = m->y + m->k * m->cell;
    const int every = itp_div_up(m->text, m->cell), size = itp_min(m->text, 13);
    for (int i = 0; i < 3; i++)
        itp_draw_text(c, right + (i + 1) * ITP_CONFUSION_COLUMN - 4, m->y - 9 - m->text / 3, 13,
                      INTERP_TEXT_RIGHT, ITP_RGB_AXIS, heads[i]);
    itp_draw_text(c, m->x - 9, bottom + 18, 13, INTERP_TEXT_RIGHT, ITP_RGB_AXIS, "precision %");
    for (int i = 0; i < m->k; i += every) {
        char text[3][ITP_TICK_TEXT], below[ITP_TICK_TEXT];
        const char *show[3];
        const double hit = itp_confusion_count(m, i, i);
        const int middle = i * m->cell + m->cell / 2;
        snprintf(text[2], ITP_TICK_TEXT, "%.0f", m->truth[i]);
        show[0] = itp_percent_text(text[0], hit, m->truth[i]);
        show[1] = itp_percent_text(text[1], itp_confusion_f1(m, i), 1);
        show[2] = text[2];
        for (int s = 0; s < 3; s++)
            itp_draw_text(c, right + (s + 1) * ITP_CONFUSION_COLUMN - 4, m->y + middle, size,
                          INTERP_TEXT_RIGHT, ITP_RGB_TEXT, show[s]);
        const char *precision = itp_percent_text(below, hit, m->predicted[i]);
        const bool up = interp_text_width("100.0", size, 0) > m->cell - 4;
        itp_draw_text(c, m->x + middle, bottom + (up ? 10 : 18), size,
                      up ? INTERP_TEXT_UP | INTERP_TEXT_RIGHT : INTERP_TEXT_CENTRE, ITP_RGB_TEXT,
                      precision);
    }
}

ITP_FN interp_status itp_confusion_paint(interp_ctx *ctx, const itp_confusion *m,
                                         interp_image *image)
{
    char text[160], accuracy[ITP_TICK_TEXT], f1[ITP_TICK_TEXT], cut[ITP_LABEL_BYTES];
    const char *title = m->d->title ? m->d->title : "Confusion matrix";
    const int right = 3 * ITP_CONFUSION_COLUMN + 18, left = itp_max(m->x, ITP_CONFUSION_LEFT);
    snprintf(text, sizeof text, "accuracy %s %% of %.0f samples \xc2\xb7 macro F1 %s %%",
             itp_percent_text(accuracy, m->hits, m->total), m->total,
             itp_percent_text(f1, m->macro_f1, 1));
    const int need = interp_text_width(text, ITP_SIZE_TICK, 0) + 36;
    const int64_t side = (int64_t)m->k * m->cell;
    if (side > ITP_IMAGE_SIDE - 1000)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: %d cells of %d pixels are too large",
                        m->k, m->cell);
    itp_confusion at = *m;
    at.x = left;
    ITP_TRY(interp_image_new(ctx, itp_max(left + (int)side + right, need), m->y + (int)side + 62,
                             ITP_RGB_PAPER, image));
    const itp_canvas c = itp_canvas_of(image);
    itp_draw_text(&c, 18, 26, ITP_SIZE_TITLE, INTERP_TEXT_BOLD, ITP_RGB_TITLE,
                  itp_text_fit(cut, title, ITP_SIZE_TITLE, INTERP_TEXT_BOLD, image->width - 36));
    itp_draw_text(&c, 18, 56, ITP_SIZE_TICK, 0, ITP_RGB_TEXT, text);
    itp_confusion_names(&at, &c);
    itp_confusion_cells(&at, &c);
    itp_confusion_margins(&at, &c);
    return INTERP_OK;
}

INTERP_API interp_status interp_confusion_draw(interp_ctx *ctx,
                                               const interp_confusion_draw_desc *desc,
                                               interp_image *out)
{
    itp_confusion m;
    interp_image image = {0, 0, NULL};
    if (!desc || !desc->counts || desc->n_classes < 1 || desc->n_classes > 1000 ||
        desc->cell_size < 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: it needs counts of 1..1000 classes");
    const size_t k = (size_t)desc->n_classes;
    for (size_t i = 0; i < k * k; i++)
        if (desc->counts[i] < 0)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "confusion: the count at [%zu,%zu] is negative", i / k, i % k);
    memset(&m, 0, sizeof m);
    m.d = desc;
    m.k = desc->n_classes;
    m.map = desc->colormap == INTERP_COLORMAP_AUTO ? INTERP_COLORMAP_BLUES : desc->colormap;
    m.truth = (double *)itp_calloc(ctx, 2 * k, sizeof(double));
    if (!m.truth) return INTERP_NO_MEMORY;
    m.predicted = m.truth + k;
    itp_confusion_sums(&m);
    itp_confusion_layout(&m);
    const interp_status status = itp_confusion_paint(ctx, &m, &image);
    interp_free(ctx, m.truth);
    if (!status) *out = image;
    return status;
}
/* >>view/html.c                                                                               */
/* ---- view/html.c: a report as one HTML page -------------------------------------------------- */

/* What is open at the end of the page: a section, in it a row of pictures or a list of files. */
enum { ITP_OPEN_NOTHING, ITP_OPEN_SECTION, ITP_OPEN_PICTURES, ITP_OPEN_FILES };

struct interp_report {
    interp_ctx *ctx;
    itp_buf page;
    int open;
    bool finished;
};

static const char itp_report_style[] =
    "<style>\n"
    ":root{color-scheme:light dark;--paper:#f6f7f9;--card:#fff;--ink:#1d2129;--soft:#5d6675;"
    "--line:#dfe3e9;--link:#0b5cad;--shade:0 1px 3px rgba(20,30,50,.10)}\n"
    "@media(prefers-color-scheme:dark){:root{--paper:#14171c;--card:#1d2128;--ink:#e7eaf0;"
    "--soft:#9aa4b4;--line:#303742;--link:#7db8f7;--shade:none}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif}\n"
    "header,section,footer{max-width:1180px;margin:0 auto;padding:0 24px}\n"
    "header{padding-top:44px;padding-bottom:8px}\n"
    "h1{margin:0;font-size:2.1rem;line-height:1.2;letter-spacing:-.01em;overflow-wrap:anywhere}\n"
    "header p{margin:.5rem 0 0;color:var(--soft);font-size:1.08rem;overflow-wrap:anywhere}\n"
    "h2{margin:2.6rem 0 .4rem;padding-top:1.2rem;border-top:1px solid var(--line);"
    "font-size:1.35rem;overflow-wrap:anywhere}\n"
    "section p{max-width:75ch;margin:.5rem 0;overflow-wrap:anywhere}\n"
    "a{color:var(--link)}\n"
    ".pictures{display:grid;gap:18px;align-items:start;margin:1.1rem 0;"
    "grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))}\n"
    "figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;box-shadow:var(--shade)}\n"
    "figure img{display:block;max-width:100%;height:auto;margin:0 auto;background:#fff;"
    "border-radius:5px}\n"
    "figcaption{margin-top:.6rem;color:var(--soft);font-size:.92rem;overflow-wrap:anywhere}\n"
    ".table{overflow-x:auto;margin:1.1rem 0;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;box-shadow:var(--shade)}\n"
    "table{border-collapse:collapse;width:100%;font-size:.95rem}\n"
    "th,td{padding:.45rem .9rem;text-align:left;border-bottom:1px solid var(--line);"
    "white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:600}\n"
    "tbody tr:last-child td{border-bottom:0}\n"
    ".n{text-align:right;font-variant-numeric:tabular-nums}\n"
    "ul.files{margin:.8rem 0;padding-left:1.3rem}\n"
    "ul.files span{color:var(--soft)}\n"
    "footer{margin-top:3rem;padding-bottom:40px;color:var(--soft);font-size:.88rem}\n"
    "</style>\n";

/* Text with everything escaped that HTML could take for markup; control characters are dropped. */
ITP_FN void itp_html_text(itp_buf *b, const char *text)
{
    for (const char *s = text ? text : ""; *s; s++) {
        switch (*s) {
        case '&': itp_buf_str(b, "&amp;"); break;
        case '<': itp_buf_str(b, "&lt;"); break;
        case '>': itp_buf_str(b, "&gt;"); break;
        case '"': itp_buf_str(b, "&quot;"); break;
        case '\'': itp_buf_str(b, "&#39;"); break;
        default:
            if ((unsigned char)*s >= 32 || *s == '\n' || *s == '\t') itp_buf_byte(b, *s);
        }
    }
}

/* A relative path as a URL: everything but letters, digits and -._~/ as %XX, so that no path can
   name another scheme, leave its attribute or carry a query. */
ITP_FN void itp_html_path(itp_buf *b, const char *path)
{
    for (const char *s = path ? path : ""; *s; s++) {
        const int lower = itp_view_lower(*s);
        const bool plain = (lower >= 'a' && lower <= 'z') || (*s >= '0' && *s <= '9') ||
                           strchr("-._~/", *s) != NULL;
        if (*s == '\\') itp_buf_byte(b, '/'); /* as Windows writes paths */
        else if (plain) itp_buf_byte(b, *s);
        else itp_buf_printf(b, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

ITP_FN void itp_html_base64(itp_buf *b, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        const size_t have = itp_min_size(3, n - i);
        uint32_t v = 0;
        char out[4];
        for (size_t k = 0; k < 3; k++) v = v << 8 | (k < have ? p[i + k] : 0u);
        for (size_t k = 0; k < 4; k++) out[k] = k <= have ? digits[v >> (18 - 6 * k) & 63] : '=';
        itp_buf_add(b, out, 4);
    }
}

/* Closes what is open down to a level, or opens up to it. */
ITP_FN void itp_report_to(interp_report *r, int level)
{
    itp_buf *b = &r->page;
    if (r->open == level && level != ITP_OPEN_NOTHING && level != ITP_OPEN_SECTION) return;
    if (r->open == ITP_OPEN_PICTURES) itp_buf_str(b, "</div>\n");
    if (r->open == ITP_OPEN_FILES) itp_buf_str(b, "</ul>\n");
    if (r->open != ITP_OPEN_NOTHING && level == ITP_OPEN_NOTHING) itp_buf_str(b, "</section>\n");
    if (r->open == ITP_OPEN_NOTHING && level != ITP_OPEN_NOTHING) itp_buf_str(b, "<section>\n");
    if (level == ITP_OPEN_PICTURES) itp_buf_str(b, "<div class=\"pictures\">\n");
    if (level == ITP_OPEN_FILES) itp_buf_str(b, "<ul class=\"files\">\n");
    r->open = level;
}

INTERP_API interp_status interp_report_begin(interp_ctx *ctx, const char *title,
                                             const char *subtitle, interp_report **out)
{
    if (!title) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "report: title is NULL; give one");
    interp_report *r = (interp_report *)itp_calloc(ctx, 1, sizeof *r);
    if (!r) return INTERP_NO_MEMORY;
    r->ctx = ctx;
    r->page = itp_buf_new(ctx);
    itp_buf *b = &r->page;
    itp_buf_str(b,
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    itp_html_text(b, title);
    itp_buf_str(b, "</title>\n");
    itp_buf_str(b, itp_report_style);
    itp_buf_str(b, "</head>\n<body>\n<header>\n<h1>");
    itp_html_text(b, title);
    itp_buf_str(b, "</h1>\n");
    if (subtitle) {
        itp_buf_str(b, "<p>");
        itp_html_text(b, subtitle);
        itp_buf_str(b, "</p>\n");
    }
    itp_buf_str(b, "</header>\n<main>\n");
    if (b->status) {
        const interp_status status = b->status;
        interp_report_free(r);
        return status;
    }
    *out = r;
    return INTERP_OK;
}

INTERP_API void interp_report_section(interp_report *report, const char *heading, const char *text)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_NOTHING);
    itp_report_to(report, ITP_OPEN_SECTION);
    if (heading) {
        itp_buf_str(b, "<h2>");
        itp_html_text(b, heading);
        itp_buf_str(b, "</h2>\n");
    }
    for (const char *s = text; s && *s;) { /* a paragraph at a time */
        const char *end = strstr(s, "\n\n");
        const size_t n = end ? (size_t)(end - s) : strlen(s);
        char *paragraph = (char *)interp_alloc(report->ctx, n + 1);
        if (!paragraph) {
            b->status = INTERP_NO_MEMORY;
            return;
        }
        memcpy(paragraph, s, n);
        paragraph[n] = 0;
        itp_buf_str(b, "<p>");
        itp_html_text(b, paragraph);
        itp_buf_str(b, "</p>\n");
        interp_free(report->ctx, paragraph);
        s = end ? end + 2 : s + n;
        while (*s == '\n') s++;
    }
}

ITP_FN void itp_report_caption(itp_buf *b, const char *caption)
{
    if (caption && *caption) {
        itp_buf_str(b, "<figcaption>");
        itp_html_text(b, caption);
        itp_buf_str(b, "</figcaption>");
    }
    itp_buf_str(b, "</figure>\n");
}

INTERP_API void interp_report_picture(interp_report *report, const char *caption, const char *path)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_PICTURES);
    itp_buf_str(b, "<figure><a href=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\"><img loading=\"lazy\" src=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\" alt=\"");
    itp_html_text(b, caption);
    itp_buf_str(b, "\"></a>");
    itp_report_caption(b, caption);
}

INTERP_API void interp_report_image(interp_report *report, const char *caption,
                                    const interp_image *image)
{
    itp_buf *b = &report->page;
    uint8_t *png = NULL;
    size_t n = 0;
    if (b->status) return;
    b->status = interp_image_png(report->ctx, image, &png, &n);
    if (b->status) return;
    itp_report_to(report, ITP_OPEN_PICTURES);
    itp_buf_printf(b, "<figure><img width=\"%d\" height=\"%d\" src=\"data:image/png;base64,",
                   image->width, image->height);
    itp_html_base64(b, png, n);
    itp_buf_str(b, "\" alt=\"");
    itp_html_text(b, caption);
    itp_buf_str(b, "\">");
    itp_report_caption(b, caption);
    interp_free(report->ctx, png);
}

/* A number, with or without a percent sign or a unit's space before it. */
ITP_FN bool itp_html_is_number(const char *s)
{
    bool digits = false;
    if (*s == '-' || *s == '+') s++;
    for (; *s; s++) {
        if (*s >= '0' && *s <= '9') digits = true;
        else if (!strchr(".,%eE+- ", *s)) return false;
    }
    return digits;
}

ITP_FN void itp_report_cell(itp_buf *b, const char *tag, const char *text, bool number)
{
    itp_buf_printf(b, "<%s%s>", tag, number ? " class=\"n\"" : "");
    itp_html_text(b, text);
    itp_buf_printf(b, "</%s>", tag);
}

INTERP_API void interp_report_table(interp_report *report, const char *const *header, int cols,
                                    const char *const *cells, int rows)
{
    itp_buf *b = &report->page;
    if (cols < 1) return;
    itp_report_to(report, ITP_OPEN_SECTION);
    itp_buf_str(b, "<div class=\"table\"><table>\n");
    if (header) {
        itp_buf_str(b, "<thead><tr>");
        for (int c = 0; c < cols; c++) {
            const char *below = cells && rows > 0 ? cells[c] : NULL;
            itp_report_cell(b, "th", header[c], below && itp_html_is_number(below));
        }
        itp_buf_str(b, "</tr></thead>\n");
    }
    itp_buf_str(b, "<tbody>\n");
    for (int r = 0; cells && r < rows; r++) {
        itp_buf_str(b, "<tr>");
        for (int c = 0; c < cols; c++) {
            const char *text = cells[(size_t)r * (size_t)cols + (size_t)c];
            itp_report_cell(b, "td", text, text && itp_html_is_number(text));
        }
        itp_buf_str(b, "</tr>\n");
    }
    itp_buf_str(b, "</tbody></table></div>\n");
}

INTERP_API void interp_report_file(interp_report *report, const char *path, const char *what)
{
    itp_buf *b = &report->page;
    itp_report_to(report, ITP_OPEN_FILES);
    itp_buf_str(b, "<li><a href=\"");
    itp_html_path(b, path);
    itp_buf_str(b, "\">");
    itp_html_text(b, path);
    itp_buf_str(b, "</a>");
    if (what && *what) {
        itp_buf_str(b, " <span>");
        itp_html_text(b, what);
        itp_buf_str(b, "</span>");
    }
    itp_buf_str(b, "</li>\n");
}

INTERP_API interp_status interp_report_html(interp_report *report, const char **html, size_t *bytes)
{
    itp_buf *b = &report->page;
    if (!report->finished) {
        itp_report_to(report, ITP_OPEN_NOTHING);
        itp_buf_printf(b, "</main>\n<footer>Made with interp.h %s</footer>\n</body>\n</html>\n",
                       interp_version());
        report->finished = true;
    }
    if (b->status) return b->status;
    *html = b->data;
    *bytes = b->n;
    return INTERP_OK;
}

INTERP_API void interp_report_free(interp_report *report)
{
    if (!report) return;
    itp_buf_free(&report->page);
    interp_free(report->ctx, report);
}

#ifndef INTERP_NO_STDIO

INTERP_API interp_status interp_report_end(interp_report *report, const char *path)
{
    const char *html = NULL;
    size_t bytes = 0;
    interp_status status = interp_report_html(report, &html, &bytes);
    if (!status && !path)
        status = itp_fail(report->ctx, INTERP_BAD_ARGUMENT, "report: path is NULL");
    if (!status) status = itp_file_write(report->ctx, path, html, bytes);
    interp_report_free(report);
    return status;
}

#endif
/* >>view/tensorboard.c                                                                        */
/* ---- view/tensorboard.c: TensorBoard event files, folders for its projector ------------------ */

#ifndef INTERP_NO_STDIO

/* CRC-32C (Castagnoli), reflected. */
ITP_FN uint32_t itp_crc32c(const void *data, size_t n)
{
    const uint8_t *p = (const uint8_t *)data;
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return ~crc;
}

/* As records store it, so that a CRC over bytes that hold CRCs stays a good one. */
ITP_FN uint32_t itp_crc32c_masked(const void *data, size_t n)
{
    const uint32_t crc = itp_crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protocol buffers, as far as they are needed: keys are field << 3 | wire type */

ITP_FN void itp_tb_little(uint8_t *to, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) to[i] = (uint8_t)(v >> (8 * i));
}

ITP_FN void itp_tb_varint(itp_buf *b, uint64_t v)
{
    for (; v > 127; v >>= 7) itp_buf_byte(b, (int)(v & 127) | 128);
    itp_buf_byte(b, (int)v);
}

ITP_FN void itp_tb_int(itp_buf *b, int field, uint64_t v)
{
    itp_tb_varint(b, (uint64_t)field << 3);
    itp_tb_varint(b, v);
}

ITP_FN void itp_tb_put_double(itp_buf *b, double v)
{
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &v, sizeof bits);
    itp_tb_little(bytes, bits, 8);
    itp_buf_add(b, bytes, 8);
}

ITP_FN void itp_tb_bytes(itp_buf *b, int field, const void *data, size_t n)
{
    itp_tb_varint(b, (uint64_t)field << 3 | 2);
    itp_tb_varint(b, n);
    itp_buf_add(b, data, n);
}

/* Turns everything from byte `start` on into a field of its own: its length is only known now. */
ITP_FN void itp_tb_wrap(itp_buf *b, size_t start, int field)
{
    const size_t end = b->n, n = end - start;
    itp_tb_varint(b, (uint64_t)field << 3 | 2);
    itp_tb_varint(b, n);
    if (b->status) return;
    uint8_t head[20];
    const size_t h = b->n - end;
    memcpy(head, b->data + end, h);
    memmove(b->data + start + h, b->data + start, n);
    memcpy(b->data + start, head, h);
}

/* ---- records: u64 length | u32 masked CRC of it | message | u32 masked CRC of the message */

#define ITP_TB_HEAD 12

struct interp_tensorboard {
    interp_ctx *ctx;
    char *path;
    double wall_time; /* 0: the clock */
    bool broken;      /* the file may end in a part of a record */
};

/* Numbers of TensorProto.dtype and SummaryMetadata.data_class. */
enum { ITP_TB_FLOAT = 1, ITP_TB_DOUBLE = 2, ITP_TB_STRING = 7 };
enum { ITP_TB_CLASS_SCALAR = 1, ITP_TB_CLASS_TENSOR = 2, ITP_TB_CLASS_BLOBS = 3 };

/* A record under construction, with the places where the messages it is nested in begin. */
typedef struct itp_tb_record {
    itp_buf b;
    size_t summary, tensor;
} itp_tb_record;

ITP_FN itp_tb_record itp_tb_event(interp_ctx *ctx, double wall_time, int64_t step)
{
    static const uint8_t head[ITP_TB_HEAD] = {0};
    itp_tb_record r;
    r.b = itp_buf_new(ctx);
    itp_buf_add(&r.b, head, sizeof head);
    itp_tb_varint(&r.b, 1 << 3 | 1);
    itp_tb_put_double(&r.b, wall_time != 0 ? wall_time : itp_seconds());
    if (step) itp_tb_int(&r.b, 2, (uint64_t)step);
    r.summary = r.tensor = r.b.n;
    return r;
}

/* Fills in length and checksums. */
ITP_FN void itp_tb_seal(itp_buf *b)
{
    uint8_t tail[4];
    if (b->status) return;
    uint8_t *p = (uint8_t *)b->data;
    const size_t n = b->n - ITP_TB_HEAD;
    itp_tb_little(p, n, 8);
    itp_tb_little(p + 8, itp_crc32c_masked(p, 8), 4);
    itp_tb_little(tail, itp_crc32c_masked(p + ITP_TB_HEAD, n), 4);
    itp_buf_add(b, tail, sizeof tail);
}

/* Begins an event with one value up to its tensor's numbers. dims: [rank], of the tensor. */
ITP_FN interp_status itp_tb_begin(interp_tensorboard *tb, const char *tag, int64_t step,
                                  const char *plugin, int data_class, int dtype, int rank,
                                  const int *dims, itp_tb_record *r)
{
    if (!tag || !*tag)
        return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: a record needs a tag");
    if (tb->broken)
        return itp_fail(tb->ctx, INTERP_IO,
                        "%s: an earlier record could not be written whole; open a new file",
                        tb->path);
    *r = itp_tb_event(tb->ctx, tb->wall_time, step);
    itp_buf *b = &r->b;
    itp_tb_bytes(b, 1, tag, strlen(tag));
    const size_t metadata = b->n;
    itp_tb_bytes(b, 1, plugin, strlen(plugin));
    itp_tb_bytes(b, 2, NULL, 0); /* the plugin's own content, empty in all of them */
    itp_tb_wrap(b, metadata, 1);
    itp_tb_int(b, 4, (uint64_t)data_class);
    itp_tb_wrap(b, metadata, 9);
    r->tensor = b->n;
    itp_tb_int(b, 1, (uint64_t)dtype);
    const size_t shape = b->n;
    for (int i = 0; i < rank; i++) {
        const size_t dim = b->n;
        itp_tb_int(b, 1, (uint64_t)dims[i]);
        itp_tb_wrap(b, dim, 2);
    }
    itp_tb_wrap(b, shape, 2);
    return INTERP_OK;
}

/* Writes a buffer in one go; a new file that could not be filled is removed again. */
ITP_FN bool itp_tb_write(const char *path, bool create, const itp_buf *b)
{
    FILE *f = fopen(path, create ? "wbx" : "ab");
    if (!f) return false;
    bool ok = fwrite(b->data, 1, b->n, f) == b->n;
    if (fclose(f)) ok = false;
    if (!ok && create) remove(path);
    return ok;
}

/* Ends a value and appends its record. */
ITP_FN interp_status itp_tb_end(interp_tensorboard *tb, itp_tb_record *r)
{
    itp_buf *b = &r->b;
    itp_tb_wrap(b, r->tensor, 8);
    itp_tb_wrap(b, r->summary, 1);
    itp_tb_wrap(b, r->summary, 5);
    itp_tb_seal(b);
    interp_status status = b->status;
    if (!status && !itp_tb_write(tb->path, false, b)) {
        status = itp_fail(tb->ctx, INTERP_IO, "%s: a record could not be written: %s", tb->path,
                          strerror(errno));
        tb->broken = true;
    }
    itp_buf_free(b);
    return status;
}

/* Makes a folder and those it lies in, as far as they are not there. */
ITP_FN interp_status itp_tb_folder(interp_ctx *ctx, const char *dir)
{
    if (!dir || !*dir)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "tensorboard: the folder has no name");
#if defined(ITP_HAS_POSIX)
    char *path = itp_strdup(ctx, dir);
    if (!path) return INTERP_NO_MEMORY;
    for (char *s = path + 1; *s; s++) {
        if (*s != '/') continue;
        *s = 0;
        mkdir(path, 0777); /* what fails here shows below */
        *s = '/';
    }
    interp_status status = INTERP_OK;
    if (mkdir(path, 0777) && errno != EEXIST)
        status =
            itp_fail(ctx, INTERP_IO, "%s: the folder could not be made: %s", dir, strerror(errno));
    interp_free(ctx, path);
    return status;
#else
    return INTERP_OK;
#endif
}

/* Looks for a name that is free and begins its file with the record of the version. */
ITP_FN interp_status itp_tb_create(interp_tensorboard *tb, const char *dir,
                                   const interp_tensorboard_desc *d)
{
    static const char version[] = "brain.Event:2";
    itp_tb_record r = itp_tb_event(tb->ctx, tb->wall_time, 0);
    itp_tb_bytes(&r.b, 3, version, sizeof version - 1);
    itp_tb_seal(&r.b);
    interp_status status = r.b.status;
    const double now = floor(tb->wall_time != 0 ? tb->wall_time : itp_seconds());
    for (int uid = 0; !status; uid++) {
        itp_buf path = itp_buf_new(tb->ctx);
        itp_buf_printf(&path, "%s/events.out.tfevents.%010.0f.%s.%d.%d", dir, now,
                       d->host ? d->host : "interp", d->pid ? d->pid : 1, uid);
        tb->path = path.data;
        status = path.status;
        if (status || itp_tb_write(tb->path, true, &r.b)) break;
        if (errno != EEXIST)
            status = itp_fail(tb->ctx, INTERP_IO, "%s: could not be written: %s", tb->path,
                              strerror(errno));
        else interp_free(tb->ctx, tb->path);
    }
    itp_buf_free(&r.b);
    return status;
}

INTERP_API interp_status interp_tensorboard_open(interp_ctx *ctx, const char *dir,
                                                 const interp_tensorboard_desc *desc,
                                                 interp_tensorboard **out)
{
    interp_tensorboard_desc d;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (d.host && (!*d.host || strchr(d.host, '/') || strchr(d.host, '\\')))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "tensorboard: host is \"%s\"; it must fit into a file name", d.host);
    if (!(d.wall_time >= 0 && d.wall_time < 1e10))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "tensorboard: wall_time is %g; it counts seconds since 1970", d.wall_time);
    ITP_TRY(itp_tb_folder(ctx, dir));
    interp_tensorboard *tb = (interp_tensorboard *)itp_calloc(ctx, 1, sizeof *tb);
    if (!tb) return INTERP_NO_MEMORY;
    tb->ctx = ctx;
    tb->wall_time = d.wall_time;
    const interp_status status = itp_tb_create(tb, dir, &d);
    if (status) interp_tensorboard_close(tb);
    else *out = tb;
    return status;
}

INTERP_API void interp_tensorboard_time(interp_tensorboard *tb, double wall_time)
{
    tb->wall_time = wall_time;
}

INTERP_API void interp_tensorboard_close(interp_tensorboard *tb)
{
    if (!tb) return;
    interp_free(tb->ctx, tb->path);
    interp_free(tb->ctx, tb);
}

INTERP_API interp_status interp_tensorboard_scalar(interp_tensorboard *tb, const char *tag,
                                                   int64_t step, float value)
{
    itp_tb_record r;
    ITP_TRY(itp_tb_begin(tb, tag, step, "scalars", ITP_TB_CLASS_SCALAR, ITP_TB_FLOAT, 0, NULL, &r));
    uint32_t bits;
    uint8_t bytes[4];
    memcpy(&bits, &value, sizeof bits);
    itp_tb_little(bytes, bits, 4);
    itp_tb_bytes(&r.b, 4, bytes, 4);
    return itp_tb_end(tb, &r);
}

/* A tensor of strings: width, height, and each picture as a PNG file. */
INTERP_API interp_status interp_tensorboard_image(interp_tensorboard *tb, const char *tag,
                                                  int64_t step, const interp_image *images, int n)
{
    itp_tb_record r;
    char side[2][16];
    if (n < 1 || n > INT_MAX - 2 || !images)
        return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: there are no images");
    for (int i = 0; i < n; i++) {
        ITP_TRY(itp_image_check(tb->ctx, &images[i]));
        if (images[i].width != images[0].width || images[i].height != images[0].height)
            return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT,
                            "tensorboard: images of tag \"%s\" differ in size; use a tag for each",
                            tag ? tag : "");
    }
    const int dims[1] = {n + 2};
    ITP_TRY(itp_tb_begin(tb, tag, step, "images", ITP_TB_CLASS_BLOBS, ITP_TB_STRING, 1, dims, &r));
    snprintf(side[0], sizeof side[0], "%d", images[0].width);
    snprintf(side[1], sizeof side[1], "%d", images[0].height);
    for (int i = 0; i < 2; i++) itp_tb_bytes(&r.b, 8, side[i], strlen(side[i]));
    for (int i = 0; i < n && !r.b.status; i++) {
        itp_buf png = itp_buf_new(tb->ctx);
        itp_png_pack(&png, &images[i]);
        itp_tb_bytes(&r.b, 8, png.data, png.n);
        if (png.status) r.b.status = png.status;
        itp_buf_free(&png);
    }
    return itp_tb_end(tb, &r);
}

INTERP_API interp_status interp_tensorboard_histogram(interp_tensorboard *tb, const char *tag,
                                                      int64_t step, const float *x, size_t n,
                                                      int bins)
{
    itp_tb_record r;
    interp_histogram h;
    memset(&h, 0, sizeof h);
    h.values = x, h.n = n, h.bins = bins ? bins : 30;
    const int dims[2] = {h.bins, 3};
    const size_t room = bins > 0 && bins <= ITP_BINS_MOST ? (size_t)bins : 30;
    double *edges = (double *)interp_alloc(tb->ctx, (room + 1) * sizeof *edges);
    size_t *counts = (size_t *)interp_alloc(tb->ctx, room * sizeof *counts);
    interp_status status = edges && counts ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = interp_histogram_count(tb->ctx, &h, edges, counts);
    if (!status)
        status = itp_tb_begin(tb, tag, step, "histograms", ITP_TB_CLASS_TENSOR, ITP_TB_DOUBLE, 2,
                              dims, &r);
    if (!status) {
        const size_t content = r.b.n;
        for (size_t i = 0; i < room; i++) {
            itp_tb_put_double(&r.b, edges[i]);
            itp_tb_put_double(&r.b, edges[i + 1]);
            itp_tb_put_double(&r.b, (double)counts[i]);
        }
        itp_tb_wrap(&r.b, content, 4);
        status = itp_tb_end(tb, &r);
    }
    interp_free(tb->ctx, counts);
    interp_free(tb->ctx, edges);
    return status;
}

INTERP_API interp_status interp_tensorboard_text(interp_tensorboard *tb, const char *tag,
                                                 int64_t step, const char *text)
{
    itp_tb_record r;
    const int dims[1] = {1};
    if (!text) return itp_fail(tb->ctx, INTERP_BAD_ARGUMENT, "tensorboard: text is NULL");
    ITP_TRY(itp_tb_begin(tb, tag, step, "text", ITP_TB_CLASS_TENSOR, ITP_TB_STRING, 1, dims, &r));
    itp_tb_bytes(&r.b, 8, text, strlen(text));
    return itp_tb_end(tb, &r);
}

/* ---- the embedding projector */

#define ITP_SPRITE_SIDE 8192 /* largest texture every WebGL of a desktop takes */

/* Writes a buffer to a file of the folder and frees it. */
ITP_FN interp_status itp_projector_file(itp_buf *b, const char *dir, const char *name)
{
    itp_buf path = itp_buf_new(b->ctx);
    if (!b->status) itp_buf_printf(&path, "%s/%s", dir, name);
    if (path.status) b->status = path.status;
    const interp_status status = itp_buf_write(b, path.data);
    itp_buf_free(&path);
    return status;
}

ITP_FN interp_status itp_projector_tensors(interp_ctx *ctx, const char *dir,
                                           const interp_projector_desc *d)
{
    itp_buf b = itp_buf_new(ctx);
    for (int i = 0; i < d->n && !b.status; i++) {
        const float *x = d->x + (size_t)i * (size_t)d->d;
        for (int k = 0; k < d->d; k++) {
            itp_buf_float(&b, (double)x[k]);
            itp_buf_byte(&b, k + 1 < d->d ? '\t' : '\n');
        }
        if (!itp_is_finite(x, (size_t)d->d) && !b.status)
            b.status =
                itp_fail(ctx, INTERP_NOT_FINITE, "projector: point %d is NaN or infinite", i);
    }
    return itp_projector_file(&b, dir, "tensors.tsv");
}

/* Control characters, which part rows and columns, become spaces; `escape` gets a backslash. */
ITP_FN void itp_projector_text(itp_buf *b, const char *text, const char *escape)
{
    for (const char *s = text ? text : ""; *s; s++) {
        if (strchr(escape, *s)) itp_buf_byte(b, '\\');
        itp_buf_byte(b, (unsigned char)*s < 32 ? ' ' : *s);
    }
}

/* A header is only allowed with several columns; TensorBoard tells by that whether there is one. */
ITP_FN interp_status itp_projector_metadata(interp_ctx *ctx, const char *dir,
                                            const interp_projector_desc *d)
{
    itp_buf b = itp_buf_new(ctx);
    for (int i = d->n_columns > 1 ? -1 : 0; i < d->n && !b.status; i++)
        for (int k = 0; k < d->n_columns; k++) {
            const interp_projector_column *c = &d->columns[k];
            if (i < 0) itp_projector_text(&b, c->name, "");
            else if (c->texts) itp_projector_text(&b, c->texts[i], "");
            else if (c->classes && c->class_names && c->classes[i] >= 0)
                itp_projector_text(&b, c->class_names[c->classes[i]], "");
            else if (c->classes) itp_buf_printf(&b, "%d", (int)c->classes[i]);
            else itp_buf_float(&b, (double)c->values[i]);
            itp_buf_byte(&b, k + 1 < d->n_columns ? '\t' : '\n');
        }
    return itp_projector_file(&b, dir, "metadata.tsv");
}

/* Draws the mosaic; *width and *height become the size of one thumbnail. */
ITP_FN interp_status itp_projector_sprite(interp_ctx *ctx, const char *dir,
                                          const interp_projector_desc *d, int *width, int *height)
{
    const int side = (int)ceil(sqrt((double)d->n));
    const int room = itp_max(1, ITP_SPRITE_SIDE / side), larger = itp_max(d->width, d->height);
    interp_panel_cell cell;
    memset(&cell, 0, sizeof cell);
    cell.channels = d->channels, cell.height = d->height, cell.width = d->width;
    cell.colormap = d->colormap;
    const size_t size = (size_t)itp_cell_channels(&cell) * (size_t)d->height * (size_t)d->width;
    const itp_view_range range =
        itp_picture_range(d->images, (size_t)d->n * size, d->image_min, d->image_max);
    if (larger > room) {
        *width = itp_max(1, (int)((double)d->width * room / larger));
        *height = itp_max(1, (int)((double)d->height * room / larger));
    }
    interp_image sprite, one;
    ITP_TRY(interp_image_new(ctx, side * *width, side * *height, 0xffffff, &sprite));
    interp_status status = INTERP_OK;
    for (int i = 0; i < d->n && !status; i++) {
        cell.values = d->images + (size_t)i * size;
        status = itp_cell_image(ctx, &cell, &range, &one);
        if (status) break;
        interp_image_blit(&sprite, i % side * *width, i / side * *height, *width, *height, &one,
                          INTERP_RESAMPLE_PIXELS);
        interp_image_free(ctx, &one);
    }
    itp_buf b = itp_buf_new(ctx);
    if (!status) itp_png_pack(&b, &sprite);
    else b.status = status;
    interp_image_free(ctx, &sprite);
    return itp_projector_file(&b, dir, "sprite.png");
}

ITP_FN interp_status itp_projector_check(interp_ctx *ctx, const interp_projector_desc *d)
{
    if (!d || !d->x || d->n < 1 || d->d < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "projector: x must be [n,d] with n and d from 1");
    for (int k = 0; k < d->n_columns; k++) {
        const interp_projector_column *c = d->columns ? &d->columns[k] : NULL;
        if (!c || (!c->texts && !c->classes && !c->values) || (d->n_columns > 1 && !c->name))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "projector: column %d of %d needs texts, classes or values, and a name "
                            "when it is not the only one",
                            k, d->n_columns);
    }
    if (d->images && (d->channels < 0 || d->height < 1 || d->width < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "projector: images are [%d,%d,%d,%d]; give their sizes", d->n, d->channels,
                        d->height, d->width);
    return INTERP_OK;
}

INTERP_API interp_status interp_projector_write(interp_ctx *ctx, const char *dir,
                                                const interp_projector_desc *desc)
{
    ITP_TRY(itp_projector_check(ctx, desc));
    ITP_TRY(itp_tb_folder(ctx, dir));
    int width = desc->width, height = desc->height;
    ITP_TRY(itp_projector_tensors(ctx, dir, desc));
    if (desc->n_columns > 0) ITP_TRY(itp_projector_metadata(ctx, dir, desc));
    if (desc->images) ITP_TRY(itp_projector_sprite(ctx, dir, desc, &width, &height));
    itp_buf b = itp_buf_new(ctx);
    itp_buf_str(&b, "embeddings {\n  tensor_name: \"");
    itp_projector_text(&b, desc->name ? desc->name : "embedding", "\"\\");
    itp_buf_str(&b, "\"\n  tensor_path: \"tensors.tsv\"\n");
    if (desc->n_columns > 0) itp_buf_str(&b, "  metadata_path: \"metadata.tsv\"\n");
    if (desc->images)
        itp_buf_printf(&b,
                       "  sprite {\n    image_path: \"sprite.png\"\n    single_image_dim: %d\n"
                       "    single_image_dim: %d\n  }\n",
                       width, height);
    itp_buf_str(&b, "}\n");
    return itp_projector_file(&b, dir, "projector_config.pbtxt");
}

#endif
#endif
#ifdef __cplusplus
}
#endif
#endif /* INTERP_IMPLEMENTATION */
#endif /* ITP_KERNEL_PASS */

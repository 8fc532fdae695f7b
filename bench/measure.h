/* Clocks, medians, and what this machine can do at most: multiply-adds in registers, bytes read. */

/* Bench programs include this first, and it the whole library: kernels have no public call. */
#define _GNU_SOURCE
#define INTERP_IMPLEMENTATION
#include "interp.h"

#include <dlfcn.h>

/* What functions of these headers begin with: no program needs all of them. */
#define BENCH_FN static __attribute__((unused))

enum { MOST_ROUNDS = 64 };

/* Seconds: processor time of this thread when there is one, which other programs cannot spoil,
   else the wall's. */
BENCH_FN double bench_seconds(int threads)
{
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

BENCH_FN int bench_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quantile q of x[n], n at most MOST_ROUNDS: 0.5 is the median. */
BENCH_FN double bench_quantile(const double *x, int n, double q)
{
    double sorted[MOST_ROUNDS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, bench_compare);
    const double at = q * (n - 1);
    const int low = (int)at, high = low + 1 < n ? low + 1 : low;
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
}

/* Ends the program: nothing here goes on without memory or after an error of ours. */
BENCH_FN void *bench_need(interp_ctx *ctx, void *p)
{
    if (p) return p;
    fprintf(stderr, "%s\n", ctx ? interp_error(ctx) : "the instruction set asked for is not here");
    exit(1);
}

/* Numbers in [-0.5, 0.5). */
BENCH_FN float *bench_random(interp_ctx *ctx, size_t n, uint64_t stream)
{
    float *x = (float *)bench_need(ctx, interp_alloc(ctx, n * sizeof *x));
    for (size_t i = 0; i < n; i++) x[i] = interp_random_uniform(1, stream, i) - 0.5f;
    return x;
}

/* ---- peaks: one pair of functions per instruction set */

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define TWENTY(X) TWELVE(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19)

/* fma: `repeats` times one multiply-add on each accumulator, as many as hide the latency of all
   units. read: n floats once through. Both return a number so that nothing is optimised away. */
#define DECLARE(i)   c##i = SET(i), /* all different, or the compiler makes one of them */
#define STEP_FMA(i)  c##i = FMA(x, y, c##i);
#define STEP_READ(i) c##i = ADD(c##i, LOAD(p + i * lanes));
#define SUM(i)       total = ADD(total, c##i);
#define PEAK_FUNCTIONS(ISA, TARGET, ALL, V, LANES)                                                 \
    TARGET static float peak_fma_##ISA(long repeats)                                               \
    {                                                                                              \
        const V x = SET(1e-9f * (float)repeats), y = SET(0.25f);                                   \
        V ALL(DECLARE) total = SET(0);                                                             \
        for (long r = 0; r < repeats; r++) { ALL(STEP_FMA) }                                       \
        ALL(SUM)                                                                                   \
        float out[LANES];                                                                          \
        STORE(out, total);                                                                         \
        return out[0];                                                                             \
    }                                                                                              \
    TARGET static float peak_read_##ISA(const float *p, size_t n)                                  \
    {                                                                                              \
        enum { lanes = LANES };                                                                    \
        V TWELVE(DECLARE) total = SET(0);                                                          \
        for (const float *end = p + n / (12 * lanes) * (12 * lanes); p < end; p += 12 * lanes) {   \
            TWELVE(STEP_READ)                                                                      \
        }                                                                                          \
        TWELVE(SUM)                                                                                \
        float out[LANES];                                                                          \
        STORE(out, total);                                                                         \
        return out[0];                                                                             \
    }

#if defined(ITP_X86)
#define SET   _mm256_set1_ps
#define FMA   _mm256_fmadd_ps
#define ADD   _mm256_add_ps
#define LOAD  _mm256_loadu_ps
#define STORE _mm256_storeu_ps
PEAK_FUNCTIONS(avx2, __attribute__((target("avx2,fma"))), TWELVE, __m256, 8)
#undef SET
#undef FMA
#undef ADD
#undef LOAD
#undef STORE
#define SET   _mm512_set1_ps
#define FMA   _mm512_fmadd_ps
#define ADD   _mm512_add_ps
#define LOAD  _mm512_loadu_ps
#define STORE _mm512_storeu_ps
PEAK_FUNCTIONS(avx512, __attribute__((target("avx512f"))), TWENTY, __m512, 16)
#elif defined(ITP_NEON)
#define SET          vdupq_n_f32
#define FMA(x, y, c) vfmaq_f32(c, x, y)
#define ADD          vaddq_f32
#define LOAD         vld1q_f32
#define STORE        vst1q_f32
PEAK_FUNCTIONS(neon, , TWENTY, float32x4_t, 4)
#endif

/* The pair for one instruction set; fma NULL: none (scalar). */
typedef struct peak {
    float (*fma)(long repeats);
    float (*read)(const float *p, size_t n);
    double flops; /* of one repeat */
} peak;

BENCH_FN peak peak_find(const char *isa)
{
    peak p = {NULL, NULL, 0};
#if defined(ITP_X86)
    if (!strcmp(isa, "avx2")) p = (peak){peak_fma_avx2, peak_read_avx2, 2.0 * 12 * 8};
    if (!strcmp(isa, "avx512")) p = (peak){peak_fma_avx512, peak_read_avx512, 2.0 * 20 * 16};
#elif defined(ITP_NEON)
    if (!strcmp(isa, "neon")) p = (peak){peak_fma_neon, peak_read_neon, 2.0 * 20 * 4};
#endif
    return p;
}

typedef struct peak_job {
    const peak *p;
    long repeats;
    const float *x;
    size_t n;
    float sink[256]; /* per task */
} peak_job;

BENCH_FN void peak_fma_task(void *arg, int task, int slot)
{
    (void)slot;
    peak_job *j = (peak_job *)arg;
    j->sink[task] = j->p->fma(j->repeats);
}

BENCH_FN void peak_read_task(void *arg, int task, int slot)
{
    (void)slot;
    peak_job *j = (peak_job *)arg;
    for (long r = 0; r < j->repeats; r++)
        j->sink[task] += j->p->read(j->x + (size_t)task * j->n, j->n);
}

/* GFLOP/s of multiply-adds on all threads of the context, in a burst of about half a millisecond. */
BENCH_FN double peak_gflops(interp_ctx *ctx, const peak *p)
{
    peak_job job;
    const int threads = interp_threads(ctx);
    memset(&job, 0, sizeof job);
    if (!p->fma) return 0;
    job.p = p, job.repeats = (long)(1e8 / p->flops);
    const double start = bench_seconds(threads);
    itp_parallel(ctx, threads, 1e12, peak_fma_task, &job);
    return p->flops * (double)job.repeats * threads / (bench_seconds(threads) - start) * 1e-9;
}

/* GB/s of reading `bytes` per thread again and again; the best of a few. */
BENCH_FN double peak_bandwidth(interp_ctx *ctx, const peak *p, size_t bytes)
{
    peak_job job;
    const int threads = interp_threads(ctx);
    double best = 0;
    memset(&job, 0, sizeof job);
    if (!p->read) return 0;
    job.p = p, job.n = bytes / sizeof(float), job.repeats = 1 + (long)(5e7 / (double)bytes);
    float *x = (float *)bench_need(ctx, interp_alloc(ctx, bytes * (size_t)threads));
    memset(x, 0, bytes * (size_t)threads);
    job.x = x;
    for (int r = 0; r < 5; r++) {
        const double start = bench_seconds(threads);
        itp_parallel(ctx, threads, 1e12, peak_read_task, &job);
        const double rate =
            (double)bytes * (double)job.repeats * threads / (bench_seconds(threads) - start) * 1e-9;
        if (rate > best) best = rate;
    }
    interp_free(ctx, x);
    return best;
}

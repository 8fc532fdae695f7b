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

#if !defined(INTERP_NO_MALLOC) && defined(__linux__)
#include <sys/mman.h> /* MADV_HUGEPAGE, where the compiler is not held to bare C */
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

/* Bits that are set. */
ITP_FN int itp_bit_count(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    return (int)(((x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u >> 56);
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

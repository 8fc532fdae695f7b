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
    bool
        no_winograd; /* false: 3x3 convolutions of 32 or more planes, 12 or more pixels wide and high,
                         go by Winograd's F(4x4, 3x3), which rounds about twice as much, smaller ones
                         from about 7x7 by F(2x2, 3x3); true: none */
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

/* Looks for a regular expression in a text: the leftmost match, the longest of those that begin there;
   found, from, n: whether, where and how long. Known are . [a-z] [^a-z] ( | ) * + ? ^ $, \d \w \s for
   digits, characters of words, space, and \ before a character that stands for itself. Time grows with
   pattern times text. Errors: BAD_ARGUMENT for what is no such expression.
   Test: patterns_find_the_leftmost_longest_match. */
INTERP_API interp_status interp_pattern_find(interp_ctx *ctx, const char *pattern, const char *text,
                                             bool *found, size_t *from, size_t *n);

#ifdef __cplusplus
}
#endif

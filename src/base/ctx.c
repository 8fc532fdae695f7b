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

#define ITP_HUGE_PAGE  ((size_t)2 << 20) /* of Linux on x86-64 and most ARM */
#define ITP_HUGE_BLOCK (2 * ITP_HUGE_PAGE)

ITP_FN void *itp_heap_alloc(size_t bytes, size_t align, void *user)
{
    (void)user;
#if defined(INTERP_NO_MALLOC)
    (void)bytes, (void)align;
    return NULL;
#elif defined(_WIN32)
    return _aligned_malloc(bytes, align);
#else
#if defined(MADV_HUGEPAGE)
    if (bytes >= ITP_HUGE_BLOCK &&
        bytes <=
            SIZE_MAX -
                ITP_HUGE_PAGE) { /* a fifth of a call's time may be the faults of small pages */
        void *p = aligned_alloc(ITP_HUGE_PAGE, itp_round_up(bytes, ITP_HUGE_PAGE));
        if (p) (void)madvise(p, bytes, MADV_HUGEPAGE);
        if (p) return p;
    }
#endif
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

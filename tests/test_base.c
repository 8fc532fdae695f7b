/* The base layer: contexts, memory, errors, threads, random numbers, buffers and files. */
#if !defined(_POSIX_C_SOURCE) && !defined(__cplusplus)
#define _POSIX_C_SOURCE 200809L /* symlink */
#endif
#define INTERP_NO_ATTR
#define INTERP_NO_VIEW
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"

static char folder[256]; /* for files; made by main */

static const char *at(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* ---- an allocator that counts, checks and fails when told to */

static interp_desc counted(void)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    memset(&heap, 0, sizeof heap);
    d.threads = 1;
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free, d.allocator.user = &heap;
    return d;
}

static interp_ctx *open_threads(int threads)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = threads;
    return interp_open(&d);
}

/* ---- opening */

TEST(a_context_opened_without_options_takes_every_default)
{
    interp_ctx *ctx = interp_open(NULL);
    REQUIRE(ctx);
    const interp_memory m = interp_memory_read(ctx);
    CHECK(interp_threads(ctx) >= 1 && interp_threads(ctx) <= 256);
    CHECK(m.limit == 0 && m.used > 0 && m.peak == m.used && m.allocations >= 1);
    CHECK(interp_last_status(ctx) == INTERP_OK);
    CHECK_STR(interp_error(ctx), "");
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon"};
    bool known = false;
    for (int i = 0; i < 4; i++) known |= !strcmp(interp_isa(ctx), isas[i]);
    CHECK(known);
    interp_close(ctx);
    interp_close(NULL);
}

TEST(an_instruction_set_is_taken_by_name_or_refused)
{
    static const char *const isas[] = {"scalar", "avx2", "avx512", "neon", "auto", ""};
    for (int i = 0; i < 6; i++) {
        interp_desc d = counted();
        d.isa = isas[i];
        interp_ctx *ctx = interp_open(&d);
        if (i == 0 || i > 3) REQUIRE(ctx);
        if (ctx && i < 4) CHECK_STR(interp_isa(ctx), isas[i]);
        interp_close(ctx);
        CHECK(heap.held == 0 && heap.blocks == 0);
    }
    interp_desc d = counted();
    d.isa = "mmx";
    CHECK(!interp_open(&d));
    CHECK(heap.calls == 1 && heap.held == 0);
}

TEST(threads_are_as_many_as_asked_for)
{
    for (int threads = 1; threads <= 5; threads += 2) {
        interp_ctx *ctx = open_threads(threads);
        REQUIRE(ctx);
#if defined(INTERP_NO_THREADS)
        CHECK(interp_threads(ctx) == 1);
#else
        CHECK(interp_threads(ctx) == threads);
#endif
        interp_close(ctx);
    }
}

TEST(context_opens_in_a_user_buffer)
{
    enum { guard = 64, size = 1 << 16 };
    unsigned char *block = (unsigned char *)malloc(size + 2 * guard);
    REQUIRE(block);
    for (int skew = 0; skew <= 64; skew += skew < 8 ? 1 : 7) {
        memset(block, 0xA5, size + 2 * guard);
        interp_desc d = counted();
        d.buffer = block + guard + skew;
        d.buffer_bytes = (size_t)(size - skew - 5);
        interp_ctx *ctx = interp_open(&d);
        REQUIRE(ctx);
        CHECK(interp_threads(ctx) == 1);
        const unsigned char *end = block + guard + skew + d.buffer_bytes;
        for (int i = 0; i < 100; i++) {
            unsigned char *p = (unsigned char *)interp_alloc(ctx, (size_t)(37 * i));
            if (!p) break;
            CHECK(((uintptr_t)p & 63) == 0 && p >= block + guard + skew && p + 37 * i <= end);
            memset(p, i, (size_t)(37 * i));
        }
        CHECK(interp_last_status(ctx) == INTERP_NO_MEMORY); /* 100 blocks are more than it holds */
        CHECK(interp_memory_read(ctx).used <= d.buffer_bytes);
        interp_close(ctx);
        CHECK(heap.calls == 0);
        bool clean = true;
        for (int i = 0; i < guard + skew; i++) clean &= block[i] == 0xA5;
        for (const unsigned char *p = end; p < block + size + 2 * guard; p++) clean &= *p == 0xA5;
        CHECK(clean);
    }
    free(block);
}

TEST(a_buffer_that_is_too_small_opens_nothing)
{
    static unsigned char block[16384];
    bool opened = false;
    for (size_t n = 0; n <= sizeof block; n += 32) {
        interp_desc d;
        memset(&d, 0, sizeof d);
        d.buffer = block + 3;
        d.buffer_bytes = n < sizeof block - 3 ? n : sizeof block - 3;
        interp_ctx *ctx = interp_open(&d);
        CHECK(ctx || !opened); /* once large enough, always */
        opened |= ctx != NULL;
        if (ctx) CHECK(interp_memory_read(ctx).used <= n);
        interp_close(ctx);
    }
    CHECK(opened);
}

TEST(a_pool_of_threads_fits_in_a_user_buffer)
{
    static unsigned char block[1 << 16];
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.buffer = block, d.buffer_bytes = sizeof block, d.threads = 3;
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
#if !defined(INTERP_NO_THREADS)
    CHECK(interp_threads(ctx) == 3);
#endif
    interp_close(ctx);
}

TEST(opening_survives_every_failed_allocation)
{
    for (int mode = 0; mode < 2; mode++)
        for (long n = 1; n < 20; n++) {
            interp_desc d = counted();
            d.threads = 3;
            heap.fail_at = n, heap.from_then_on = mode;
            interp_ctx *ctx = interp_open(&d);
            const bool reached = heap.calls >= n;
            CHECK((ctx == NULL) == reached);
            interp_close(ctx);
            CHECK(heap.held == 0 && heap.blocks == 0);
            if (!reached) break;
        }
}

/* ---- memory */

TEST(closing_gives_everything_back)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    void *kept[50];
    for (int i = 0; i < 50; i++) {
        kept[i] = interp_alloc(ctx, (size_t)(i * i));
        REQUIRE(kept[i]);
        CHECK(((uintptr_t)kept[i] & 63) == 0);
        memset(kept[i], 0, (size_t)(i * i));
    }
    CHECK(interp_memory_read(ctx).used == heap.held);
    CHECK(interp_memory_read(ctx).allocations == (size_t)heap.calls);
    for (int i = 0; i < 50; i += 3)
        interp_free(ctx, kept[i]); /* head, tail and middle of the list */
    interp_free(ctx, NULL);
    CHECK(interp_memory_read(ctx).used == heap.held);
    interp_close(ctx);
    CHECK(heap.held == 0 && heap.blocks == 0 && !heap.bad);
}

TEST(a_memory_limit_is_kept_to_the_byte)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    const size_t before = interp_memory_read(ctx).used, cost = itp_alloc_cost(1000);
    CHECK(cost == 64 + 1024);
    interp_memory_set_limit(ctx, before + cost - 1);
    CHECK(!interp_alloc(ctx, 1000));
    CHECK(interp_last_status(ctx) == INTERP_NO_MEMORY);
    char want[200];
    snprintf(want, sizeof want,
             "%zu bytes are needed on top of the %zu in use, but the limit is %zu", cost, before,
             before + cost - 1);
    CHECK_STR(interp_error(ctx), want);
    CHECK(interp_memory_read(ctx).used == before);
    interp_memory_set_limit(ctx, before + cost);
    void *p = interp_alloc(ctx, 1000);
    CHECK(p);
    CHECK_STR(interp_error(ctx), want); /* errors stay until they are cleared */
    interp_memory m = interp_memory_read(ctx);
    CHECK(m.used == before + cost && m.peak == m.used && m.limit == before + cost);
    CHECK(!interp_alloc(ctx, 0)); /* a header is needed even then */
    interp_memory_set_limit(ctx, 10);
    CHECK(!interp_alloc(ctx, 1)); /* below what is held already */
    interp_free(ctx, p);
    interp_memory_set_limit(ctx, 0);
    p = interp_alloc(ctx, 100000);
    CHECK(p);
    interp_free(ctx, p);
    m = interp_memory_read(ctx);
    CHECK(m.used == before && m.peak == before + itp_alloc_cost(100000) && m.limit == 0);
    interp_close(ctx);
}

TEST(allocations_that_cannot_be_are_refused_and_the_context_goes_on)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    static const size_t sizes[] = {SIZE_MAX,       SIZE_MAX - 1, SIZE_MAX - 63,    SIZE_MAX - 64,
                                   SIZE_MAX - 128, SIZE_MAX / 2, SIZE_MAX / 2 + 64};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CHECK(!interp_alloc(ctx, sizes[i]));
        CHECK(interp_last_status(ctx) == INTERP_NO_MEMORY);
    }
    CHECK(heap.calls == 1);              /* the context itself */
    volatile size_t many = SIZE_MAX / 2; /* the compiler would warn if it knew */
    CHECK(!itp_calloc(ctx, many, 3));
    heap.fail_at = heap.calls + 1;
    CHECK(!interp_alloc(ctx, 10));
    CHECK(strstr(interp_error(ctx), "128 bytes could not be allocated"));
    void *p = interp_alloc(ctx, 0), *q = interp_alloc(ctx, 0);
    CHECK(p && q && p != q);
    interp_clear_error(ctx);
    CHECK(interp_last_status(ctx) == INTERP_OK && !interp_error(ctx)[0]);
    interp_close(ctx);
    CHECK(heap.held == 0);
}

/* Each live block is filled with a pattern of its own, checked before it is freed. */
typedef struct block {
    unsigned char *p;
    size_t n;
    unsigned char fill;
} block;

static bool intact(const block *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->p[i] != b->fill) return false;
    return true;
}

TEST(a_user_buffer_survives_random_use_and_grows_together_again)
{
    enum { size = 90000, most = 64, rounds = 20000 };
    unsigned char *memory = (unsigned char *)malloc(size);
    REQUIRE(memory);
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.buffer = memory + 17, d.buffer_bytes = size - 17;
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    const size_t before = interp_memory_read(ctx).used;
    /* the largest block an empty buffer gives */
    size_t largest = size;
    void *all = NULL;
    while (!all) all = interp_alloc(ctx, largest -= 64);
    interp_free(ctx, all);
    block live[most];
    memset(live, 0, sizeof live);
    int refused = 0;
    size_t held = before;
    for (int i = 0; i < rounds; i++) {
        const uint32_t r = interp_random_u32(1, 1, (uint64_t)i);
        block *b = &live[r % most];
        if (b->p) {
            if (!intact(b)) {
                test_fail(__FILE__, __LINE__, "round %d: a block was overwritten", i);
                break;
            }
            held -= itp_alloc_cost(b->n);
            interp_free(ctx, b->p);
            b->p = NULL;
        } else {
            b->n = (r >> 8) % ((r >> 28) ? 3000 : 40000);
            b->fill = (unsigned char)(r >> 16);
            b->p = (unsigned char *)interp_alloc(ctx, b->n);
            if (!b->p) {
                refused++;
                continue;
            }
            held += itp_alloc_cost(b->n);
            memset(b->p, b->fill, b->n);
        }
        if (interp_memory_read(ctx).used != held) {
            test_fail(__FILE__, __LINE__, "round %d: %zu bytes in use, want %zu", i,
                      interp_memory_read(ctx).used, held);
            break;
        }
    }
    CHECK(refused > 50 && refused < rounds / 2); /* it was full at times */
    for (int i = 0; i < most; i++) {
        if (live[i].p) CHECK(intact(&live[i]));
        interp_free(ctx, live[i].p);
    }
    CHECK(interp_memory_read(ctx).used == before);
    all = interp_alloc(ctx, largest); /* one hole again */
    CHECK(all);
    CHECK(!interp_alloc(ctx, 0));
    interp_close(ctx);
    free(memory);
}

TEST(a_full_user_buffer_takes_a_block_again_once_one_is_freed)
{
    enum { size = 20000, most = 64 };
    static unsigned char memory[size];
    static const int order[4] = {1, 5, 3, 2}; /* backwards, forwards, alone, both sides */
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.buffer = memory, d.buffer_bytes = size;
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    void *p[most];
    int n = 0;
    while (n < most && (p[n] = interp_alloc(ctx, 900)) != NULL) n++;
    REQUIRE(n > 8 && n < most);
    CHECK(interp_last_status(ctx) == INTERP_NO_MEMORY);
    CHECK(strstr(interp_error(ctx), "960 bytes") || strstr(interp_error(ctx), "1024 bytes"));
    for (int i = 0; i < 4; i++) {
        interp_free(ctx, p[order[i]]);
        void *again = interp_alloc(ctx, 900);
        CHECK(again == p[order[i]]);
        p[order[i]] = again;
    }
    interp_free(ctx, p[1]), interp_free(ctx, p[3]), interp_free(ctx, p[2]);
    void *three = interp_alloc(ctx, 3 * itp_alloc_cost(900) - 64);
    CHECK(three == p[1]); /* neighbours merged, to the byte */
    interp_close(ctx);
}

TEST(counting_an_arena_gives_the_bytes_it_takes)
{
    itp_arena count = {NULL, 0}, real = {NULL, 0};
    char memory[4096];
    for (int pass = 0; pass < 2; pass++) {
        itp_arena *a = pass ? &real : &count;
        real.base = memory;
        for (size_t n = 0; n < 20; n++) {
            const size_t from = a->used;
            void *p = itp_arena_alloc(a, n * 13);
            CHECK(pass ? p == memory + from : p == NULL);
        }
        CHECK(!!itp_arena_floats(a, 3) == pass);
    }
    CHECK(count.used == real.used && count.used % 64 == 0);
    itp_arena_alloc(&count, SIZE_MAX - 100);
    itp_arena_floats(&count, SIZE_MAX / 2);
    CHECK(count.used > SIZE_MAX / 2); /* saturates instead of wrapping round */
}

/* ---- errors, hooks */

TEST(errors_carry_a_status_and_a_sentence)
{
    interp_ctx *ctx = open_threads(1);
    REQUIRE(ctx);
    CHECK(interp_fail(ctx, INTERP_BAD_SHAPE, "%s: %d of %d", "conv", 3, 4) == INTERP_BAD_SHAPE);
    CHECK_STR(interp_error(ctx), "conv: 3 of 4");
    CHECK(interp_last_status(ctx) == INTERP_BAD_SHAPE);
    interp_fail(ctx, INTERP_IO, "again: %s", interp_error(ctx));
    CHECK_STR(interp_error(ctx), "again: conv: 3 of 4");
    interp_fail(ctx, INTERP_CANCELLED, NULL);
    CHECK_STR(interp_error(ctx), "cancelled by the progress hook");
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    interp_fail(ctx, INTERP_FORMAT, "%s", text);
    CHECK(strlen(interp_error(ctx)) == 511 && interp_error(ctx)[510] == 'x');
    interp_clear_error(ctx);
    CHECK_STR(interp_error(ctx), "");
    CHECK(interp_fail(NULL, INTERP_IO, "no one hears") == INTERP_IO);
    CHECK(interp_last_status(NULL) == INTERP_NO_MEMORY && interp_error(NULL)[0]);
    interp_close(ctx);
}

TEST(every_status_has_a_name)
{
    static const char *const names[] = {"OK",     "BAD_ARGUMENT", "BAD_SHAPE",   "NO_MEMORY", "IO",
                                        "FORMAT", "NOT_FINITE",   "UNSUPPORTED", "CANCELLED"};
    CHECK(INTERP_STATUS_COUNT == 9 && INTERP_OK == 0);
    for (int i = 0; i < 9; i++) CHECK_STR(interp_status_name((interp_status)i), names[i]);
    CHECK_STR(interp_status_name(INTERP_STATUS_COUNT), "?");
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", INTERP_VERSION_MAJOR, INTERP_VERSION_MINOR,
             INTERP_VERSION_PATCH);
    CHECK_STR(interp_version(), version);
    CHECK(INTERP_VERSION ==
          (INTERP_VERSION_MAJOR << 16 | INTERP_VERSION_MINOR << 8 | INTERP_VERSION_PATCH));
}

static interp_progress told;
static char logged[200];

static int on_progress(const interp_progress *p, void *user)
{
    told = *p;
    return *(int *)user;
}

static void on_log(interp_status level, const char *text, void *user)
{
    (void)user;
    snprintf(logged, sizeof logged, "%d %s", (int)level, text);
}

TEST(hooks_hear_of_progress_and_warnings_and_can_cancel)
{
    int cancel = 0;
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    d.progress = on_progress, d.log = on_log, d.user = &cancel;
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    CHECK(itp_progress(ctx, "train", 3, 10, 0.5) == INTERP_OK);
    CHECK_STR(told.stage, "train");
    CHECK(told.done == 3 && told.total == 10 && told.value == 0.5);
    cancel = 7;
    CHECK(itp_progress(ctx, "train", 4, 10, 0.5) == INTERP_CANCELLED);
    CHECK(interp_last_status(ctx) == INTERP_CANCELLED);
    CHECK_STR(interp_error(ctx), "train was cancelled");
    itp_warn(ctx, "%d images", 5);
    CHECK_STR(logged, "0 5 images");
    interp_close(ctx);
    ctx = open_threads(1); /* no hooks at all */
    REQUIRE(ctx);
    CHECK(itp_progress(ctx, "train", 0, 0, 0) == INTERP_OK);
    itp_warn(ctx, "unheard");
    interp_close(ctx);
}

/* ---- threads */

typedef struct job {
    int *count; /* [n]: how often each task ran */
    int slots;
    bool wrong_slot;
} job;

static void count_task(void *arg, int task, int slot)
{
    job *j = (job *)arg;
    j->count[task]++;
    if (slot < 0 || slot >= j->slots) ITP_ATOMIC_STORE(&j->wrong_slot, true);
}

#define ALWAYS 1e9 /* rough operations: enough for threads to be woken */

TEST(every_task_of_a_job_runs_exactly_once)
{
    enum { most = 300, jobs = 400 };
    static int count[most];
    for (int threads = 1; threads <= 8; threads++) {
        interp_ctx *ctx = open_threads(threads);
        REQUIRE(ctx);
        job j;
        j.count = count, j.slots = interp_threads(ctx), j.wrong_slot = false;
        bool once = true;
        for (int i = 0; i < jobs / threads; i++) { /* many tiny ones, one right after the other */
            const int n = i % 7 ? i % 5 : (int)interp_random_u32(2, 3, (uint64_t)i) % most;
            memset(count, 0, sizeof count);
            itp_parallel(ctx, n < 0 ? -n : n, ALWAYS, count_task, &j);
            for (int t = 0; t < most; t++) once &= count[t] == (t < (n < 0 ? -n : n));
        }
        CHECK(once);
        CHECK(!j.wrong_slot);
        interp_close(ctx);
    }
}

#if !defined(INTERP_NO_THREADS)
TEST(sleeping_threads_wake_for_the_next_job)
{
    static int count[64];
    interp_ctx *ctx = open_threads(4);
    REQUIRE(ctx);
    job j;
    j.count = count, j.slots = 4, j.wrong_slot = false;
    for (int i = 0; i < 5; i++) {
        struct timespec pause = {0, 3000000}; /* far longer than they spin */
        nanosleep(&pause, NULL);
        memset(count, 0, sizeof count);
        itp_parallel(ctx, 64, ALWAYS, count_task, &j);
        for (int t = 0; t < 64; t++) CHECK(count[t] == 1);
    }
    interp_close(ctx);
}
#endif

typedef struct hook_call {
    void (*fn)(void *arg, int slot);
    void *arg;
    int slot;
} hook_call;

static int hook_uses, hook_slots;

static void slots_in_order(void (*fn)(void *arg, int slot), int slots, void *arg, void *user)
{
    (void)user;
    hook_uses++, hook_slots = slots;
    for (int i = 0; i < slots; i++) fn(arg, i);
}

static void slots_backwards(void (*fn)(void *arg, int slot), int slots, void *arg, void *user)
{
    (void)user;
    hook_uses++, hook_slots = slots;
    for (int i = slots - 1; i >= 0; i--) fn(arg, i);
}

#if !defined(INTERP_NO_THREADS)
static void *hook_thread(void *arg)
{
    hook_call *c = (hook_call *)arg;
    c->fn(c->arg, c->slot);
    return NULL;
}

static void slots_in_threads(void (*fn)(void *arg, int slot), int slots, void *arg, void *user)
{
    pthread_t threads[16];
    hook_call calls[16];
    (void)user;
    hook_uses++, hook_slots = slots;
    for (int i = 0; i < slots; i++) {
        calls[i].fn = fn, calls[i].arg = arg, calls[i].slot = i;
        if (pthread_create(&threads[i], NULL, hook_thread, &calls[i])) exit(1);
    }
    for (int i = 0; i < slots; i++) pthread_join(threads[i], NULL);
}
#endif

/* The product of two matrices under some way of running slots. */
static bool product(const interp_desc *d, float *c, int m, int n, int k)
{
    interp_ctx *ctx = interp_open(d);
    if (!ctx) return false;
    float *a = (float *)malloc(sizeof *a * (size_t)(m * k + k * n)), *b = a + m * k;
    for (int i = 0; i < m * k + k * n; i++) a[i] = interp_random_normal(4, 4, (uint64_t)i);
    const interp_status status = interp_sgemm(ctx, false, false, m, n, k, 1, a, k, b, n, 0, c, n);
    free(a);
    interp_close(ctx);
    return status == INTERP_OK;
}

TEST(a_parallel_for_hook_gives_the_same_results)
{
    enum { m = 70, n = 150, k = 90 };
    static float want[m * n], got[m * n];
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    REQUIRE(product(&d, want, m, n, k));
    void (*hooks[])(void (*fn)(void *, int), int, void *, void *) = {
        NULL,
        slots_in_order,
        slots_backwards,
#if !defined(INTERP_NO_THREADS)
        slots_in_threads
#endif
    };
    for (size_t h = 0; h < sizeof hooks / sizeof *hooks; h++)
        for (int threads = 2; threads <= 5; threads++) {
            d.threads = threads;
            d.parallel_for = hooks[h];
            hook_uses = 0;
            memset(got, 0, sizeof got);
            REQUIRE(product(&d, got, m, n, k));
            CHECK(memcmp(got, want, sizeof got) == 0);
            CHECK(!hooks[h] || (hook_uses > 0 && hook_slots <= threads));
        }
}

/* ---- random numbers */

TEST(random_numbers_do_not_depend_on_the_order_they_are_drawn_in)
{
    enum { n = 2000 };
    static uint32_t sequence[n];
    for (int i = 0; i < n; i++) sequence[i] = interp_random_u32(11, 22, (uint64_t)i);
    for (int i = 0; i < n; i++) {
        const int j = (int)((unsigned)i * 769u % n); /* 769 and 2000 have no common factor */
        CHECK(interp_random_u32(11, 22, (uint64_t)j) == sequence[j]);
        CHECK(interp_random_uniform(11, 22, (uint64_t)j) ==
              (float)(sequence[j] >> 8) / 16777216.0f);
    }
    int same = 0;
    for (int i = 0; i < n; i++) {
        same += sequence[i] == interp_random_u32(11, 23, (uint64_t)i);
        same += sequence[i] == interp_random_u32(12, 22, (uint64_t)i);
        same += sequence[i] == interp_random_u32(11, 22, (uint64_t)i + ((uint64_t)1 << 34));
    }
    CHECK(same < 3); /* chance: 1e-6 for one */
}

TEST(uniform_numbers_fill_their_range_evenly)
{
    enum { n = 40000, bins = 20 };
    int count[bins] = {0};
    for (int i = 0; i < n; i++) {
        const float u = interp_random_uniform(5, 6, (uint64_t)i);
        REQUIRE(u >= 0 && u < 1);
        count[(int)(u * (float)bins)]++;
        REQUIRE(itp_random_below(5, 6, (uint64_t)i, 7) < 7);
    }
    for (int i = 0; i < bins; i++) /* 5 standard deviations of a count */
        CHECK_NEAR(count[i], n / bins, 5 * sqrt((double)(n / bins)));
}

TEST(shuffling_keeps_every_item_and_follows_its_seed)
{
    int a[100], b[100], seen[100] = {0}, moved = 0, same = 0;
    for (int i = 0; i < 100; i++) a[i] = b[i] = i;
    itp_shuffle(a, 100, 3, 1);
    itp_shuffle(b, 100, 3, 1);
    CHECK(memcmp(a, b, sizeof a) == 0);
    for (int i = 0; i < 100; i++) seen[a[i]]++, moved += a[i] != i, b[i] = i;
    for (int i = 0; i < 100; i++) CHECK(seen[i] == 1);
    CHECK(moved > 80);
    itp_shuffle(b, 100, 3, 2);
    for (int i = 0; i < 100; i++) same += a[i] == b[i];
    CHECK(same < 20);
    itp_shuffle(b, 1, 3, 2);
    itp_shuffle(b, 0, 3, 2);
}

/* ---- text, buffers, files */

TEST(floats_are_written_so_that_they_read_back_the_same)
{
    char text[32];
    for (int i = 0; i < 20000; i++) {
        union {
            uint32_t bits;
            float f;
        } u;
        u.bits = interp_random_u32(8, 8, (uint64_t)i);
        if (!(u.f - u.f == 0)) continue;
        if (strtof(itp_float_text((double)u.f, text), NULL) != u.f) {
            test_fail(__FILE__, __LINE__, "%.9g became %s", (double)u.f, text);
            return;
        }
    }
    CHECK_STR(itp_float_text((double)NAN, text), "nan");
    CHECK_STR(itp_float_text((double)INFINITY, text), "inf");
    CHECK_STR(itp_float_text(-(double)INFINITY, text), "-inf");
    CHECK_STR(itp_float_text(1e300, text), "inf");
    CHECK_STR(itp_float_text(0.5, text), "0.5");
    CHECK_STR(itp_float_text((double)0.1f, text), "0.1");
    CHECK_STR(itp_float_text(-0.0, text), "-0");
}

TEST(buffers_grow_and_keep_their_first_failure)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    const size_t before = interp_memory_read(ctx).used;
    itp_buf b = itp_buf_new(ctx);
    for (int i = 0; i < 500; i++) {
        itp_buf_printf(&b, "%d,", i);
        itp_buf_str(&b, "");
        itp_buf_byte(&b, 'x');
        itp_buf_float(&b, 0.25);
        itp_buf_add(&b, "\0", 1);
    }
    REQUIRE(!b.status && b.data);
    CHECK(b.n == 500 * 7 + 10 * 1 + 90 * 2 + 400 * 3);
    CHECK(memcmp(b.data, "0,x0.25\0001,x0.25\0", 16) == 0 && b.data[b.n] == 0);
    CHECK(memcmp(b.data + b.n - 10, "499,x0.25", 10) == 0);
    const size_t n = b.n;
    interp_memory_set_limit(ctx, interp_memory_read(ctx).used);
    char more[9000];
    memset(more, 'y', sizeof more);
    itp_buf_add(&b, more, sizeof more);
    CHECK(b.status == INTERP_NO_MEMORY && b.n == n);
    interp_memory_set_limit(ctx, 0);
    itp_buf_str(&b, "z"); /* not even what would fit now */
    itp_buf_printf(&b, "%d", 1);
    CHECK(b.status == INTERP_NO_MEMORY && b.n == n);
    CHECK(itp_buf_write(&b, at("never")) == INTERP_NO_MEMORY);
    FILE *f = fopen(at("never"), "rb");
    CHECK(!f);
    if (f) fclose(f);
    CHECK(!b.data && interp_memory_read(ctx).used == before);
    interp_close(ctx);
}

TEST(a_growing_array_keeps_its_items_and_clears_new_ones)
{
    interp_ctx *ctx = open_threads(1);
    REQUIRE(ctx);
    int *items = NULL, capacity = 0;
    for (int n = 0; n < 1000; n++) {
        REQUIRE_OK(ctx, itp_grow(ctx, &items, n, &capacity, sizeof *items));
        REQUIRE(items[n] == 0);
        items[n] = n + 1;
    }
    for (int n = 0; n < 1000; n++) CHECK(items[n] == n + 1);
    interp_memory_set_limit(ctx, 1);
    const int *old = items;
    CHECK(itp_grow(ctx, &items, capacity, &capacity, sizeof *items) == INTERP_NO_MEMORY);
    CHECK(items == old);
    interp_close(ctx);
}

static bool exists(const char *name)
{
    FILE *f = fopen(at(name), "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* Whether a file holds exactly this. */
static bool holds(interp_ctx *ctx, const char *name, const char *want, size_t n)
{
    char *data;
    size_t size;
    if (itp_file_read(ctx, at(name), &data, &size)) return false;
    const bool same = size == n && memcmp(data, want, n) == 0 && data[n] == 0;
    interp_free(ctx, data);
    return same;
}

TEST(files_are_written_whole_or_not_at_all)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    const size_t before = interp_memory_read(ctx).used;
    CHECK_OK(ctx, itp_file_write(ctx, at("a"), "one\0two", 7));
    CHECK(holds(ctx, "a", "one\0two", 7) && !exists("a.part~"));
    CHECK_OK(ctx, itp_file_write(ctx, at("a"), "three", 5)); /* over an existing one */
    CHECK(holds(ctx, "a", "three", 5));
    CHECK_OK(ctx, itp_file_write(ctx, at("empty"), "", 0));
    CHECK(holds(ctx, "empty", "", 0));
    /* a folder that is not there, and one that is a file */
    CHECK(itp_file_write(ctx, at("no/such"), "x", 1) == INTERP_IO);
    CHECK(strstr(interp_error(ctx), "no/such: could not be written: "));
    CHECK(itp_file_write(ctx, at("a/b"), "x", 1) == INTERP_IO);
    CHECK(holds(ctx, "a", "three", 5));
#if defined(ITP_HAS_POSIX)
    /* a full disk: the old file stays, and nothing is left beside it */
    char part[600];
    snprintf(part, sizeof part, "%s", at("a.part~"));
    if (symlink("/dev/full", part) == 0) {
        CHECK(itp_file_write(ctx, at("a"), "four", 4) == INTERP_IO);
        CHECK(strstr(interp_error(ctx), strerror(ENOSPC)));
        CHECK(holds(ctx, "a", "three", 5) && !exists("a.part~"));
    }
    /* the place is taken by a folder */
    REQUIRE(mkdir(at("taken"), 0777) == 0);
    CHECK(itp_file_write(ctx, at("taken"), "x", 1) == INTERP_IO);
    CHECK(!exists("taken.part~"));
    rmdir(at("taken"));
#endif
    /* no memory for the name */
    heap.fail_at = heap.calls + 1;
    CHECK(itp_file_write(ctx, at("b"), "x", 1) == INTERP_NO_MEMORY);
    CHECK(!exists("b") && !exists("b.part~"));
    CHECK(interp_memory_read(ctx).used == before);
    remove(at("a"));
    remove(at("empty"));
    interp_close(ctx);
}

TEST(files_that_cannot_be_read_are_errors_that_name_them)
{
    interp_desc d = counted();
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx);
    const size_t before = interp_memory_read(ctx).used;
    char *data;
    size_t n;
    CHECK(itp_file_read(ctx, at("missing"), &data, &n) == INTERP_IO);
    CHECK(strstr(interp_error(ctx), "missing: ") && !data && n == 0);
#if defined(ITP_HAS_POSIX)
    CHECK(itp_file_read(ctx, folder, &data, &n) == INTERP_IO);
    CHECK(strstr(interp_error(ctx), "not a regular file"));
    CHECK(itp_file_read(ctx, "/dev/zero", &data, &n) == INTERP_IO);
#endif
    CHECK_OK(ctx, itp_file_write(ctx, at("c"), "12345", 5));
    heap.fail_at = heap.calls + 1;
    CHECK(itp_file_read(ctx, at("c"), &data, &n) == INTERP_NO_MEMORY);
    heap.fail_at = 0;
    CHECK(interp_memory_read(ctx).used == before);
    remove(at("c"));
    interp_close(ctx);
}

/* ---- sizes and shapes */

TEST(sizes_saturate_instead_of_wrapping_round)
{
    CHECK(itp_mul_size(SIZE_MAX, 2) == SIZE_MAX && itp_mul_size(SIZE_MAX / 2 + 1, 2) == SIZE_MAX);
    CHECK(itp_mul_size(SIZE_MAX, 0) == 0 && itp_mul_size(7, 6) == 42);
    CHECK(itp_add_size(SIZE_MAX, 1) == SIZE_MAX && itp_add_size(3, 4) == 7);
    CHECK(itp_round_up(SIZE_MAX - 3, 64) == SIZE_MAX && itp_round_up(65, 64) == 128);
    CHECK(itp_round_up(0, 64) == 0 && itp_round_up(64, 64) == 64);
    const interp_shape huge = itp_shape_of(4, INT_MAX, INT_MAX, INT_MAX, 2);
    CHECK(interp_shape_size(&huge) == SIZE_MAX);
}

TEST(shapes_are_written_as_lists)
{
    char text[96], small[20];
    const interp_shape scalar = itp_shape_of(0, 1, 1, 1, 1), s = itp_shape_of(4, 64, 3, 8, 8);
    CHECK_STR(itp_shape_text(&s, text, sizeof text), "[64,3,8,8]");
    CHECK_STR(itp_shape_text(&scalar, text, sizeof text), "[]");
    CHECK(interp_shape_size(&scalar) == 1 && interp_shape_size(&s) == 12288);
    interp_shape long_one = s;
    long_one.rank = INTERP_MAX_RANK;
    for (int i = 0; i < INTERP_MAX_RANK; i++) long_one.dim[i] = INT_MAX;
    CHECK(strlen(itp_shape_text(&long_one, text, sizeof text)) == 89);
    CHECK(strlen(itp_shape_text(&long_one, small, sizeof small)) < sizeof small);
    CHECK(itp_shape_equal(&s, &s) && !itp_shape_equal(&s, &scalar));
}

TEST(finiteness_is_found_wherever_it_ends)
{
    float x[37];
    for (int i = 0; i < 37; i++) x[i] = i % 2 ? FLT_MAX : -FLT_MAX;
    CHECK(itp_is_finite(x, 37) && itp_is_finite(x, 0));
    for (int i = 0; i < 37; i++) {
        const float old = x[i];
        static const float bad[3] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
        x[i] = bad[i % 3];
        CHECK(!itp_is_finite(x, 37));
        x[i] = old;
    }
}

/* Matches as POSIX has them. */
TEST(patterns_find_the_leftmost_longest_match)
{
    static const struct {
        const char *pattern, *text;
        int from, n; /* from -1: none */
    } rows[] = {{"dense", "dense10.weight", 0, 5},
                {"dense1", "dense10.weight", 0, 6},
                {"dense1\\.", "dense10.weight", -1, 0},
                {"dense[0-9]+", "x/dense10.bias", 2, 7},
                {"[.](weight|bias)$", "bias.weight.bias", 11, 5},
                {"a|ab|abc", "xabcd", 1, 3},
                {"(ab|a)(bc)?", "abc", 0, 3},
                {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaac", -1, 0},
                {"(a|b)*c", "ababc", 0, 5},
                {"^b", "ab", -1, 0},
                {"x*", "aaa", 0, 0},
                {"[^a-c]\\d", "b1-2", 2, 2},
                {"[]x-]+", "a]-x", 1, 3},
                {"\\w+\\s", "+ab_9 c", 1, 5},
                {"a.c", "abac\n", -1, 0},
                {"a.c$", "zabc", 1, 3},
                {"", "", 0, 0}};
    static const char *const wrong[] = {"(a", "a)", "[a", "*a", "a|*", "a\\", "[^]"};
    interp_ctx *ctx = open_threads(1);
    bool found = false;
    size_t from = 9, n = 9;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_OK(ctx, interp_pattern_find(ctx, rows[i].pattern, rows[i].text, &found, &from, &n));
        if (found != (rows[i].from >= 0) ||
            (found && ((int)from != rows[i].from || (int)n != rows[i].n)))
            test_fail(__FILE__, __LINE__, "%s in %s: %d, %zu, %zu", rows[i].pattern, rows[i].text,
                      found, from, n);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(interp_pattern_find(ctx, wrong[i], "a", &found, &from, &n) == INTERP_BAD_ARGUMENT);
        CHECK(strstr(interp_error(ctx), wrong[i]) != NULL);
    }
    char many[2000];
    memset(many, '(', sizeof many), many[sizeof many - 1] = 0;
    CHECK(interp_pattern_find(ctx, many, "a", &found, &from, &n) == INTERP_BAD_ARGUMENT);
    memset(many, 'a', sizeof many - 1);
    CHECK(interp_pattern_find(ctx, many, "a", &found, &from, &n) == INTERP_BAD_ARGUMENT);
    interp_close(ctx);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
#if defined(ITP_HAS_POSIX)
    snprintf(folder, sizeof folder, "%.200s/interp_test_base_%d", tmp ? tmp : "/tmp",
             (int)getpid());
    if (mkdir(folder, 0777)) return 1;
#else
    snprintf(folder, sizeof folder, "%.200s", tmp ? tmp : ".");
#endif
    RUN(a_context_opened_without_options_takes_every_default);
    RUN(an_instruction_set_is_taken_by_name_or_refused);
    RUN(threads_are_as_many_as_asked_for);
    RUN(context_opens_in_a_user_buffer);
    RUN(a_buffer_that_is_too_small_opens_nothing);
    RUN(a_pool_of_threads_fits_in_a_user_buffer);
    RUN(opening_survives_every_failed_allocation);
    RUN(closing_gives_everything_back);
    RUN(a_memory_limit_is_kept_to_the_byte);
    RUN(allocations_that_cannot_be_are_refused_and_the_context_goes_on);
    RUN(a_user_buffer_survives_random_use_and_grows_together_again);
    RUN(a_full_user_buffer_takes_a_block_again_once_one_is_freed);
    RUN(counting_an_arena_gives_the_bytes_it_takes);
    RUN(errors_carry_a_status_and_a_sentence);
    RUN(every_status_has_a_name);
    RUN(hooks_hear_of_progress_and_warnings_and_can_cancel);
    RUN(every_task_of_a_job_runs_exactly_once);
#if !defined(INTERP_NO_THREADS)
    RUN(sleeping_threads_wake_for_the_next_job);
#endif
    RUN(a_parallel_for_hook_gives_the_same_results);
    RUN(random_numbers_do_not_depend_on_the_order_they_are_drawn_in);
    RUN(uniform_numbers_fill_their_range_evenly);
    RUN(shuffling_keeps_every_item_and_follows_its_seed);
    RUN(floats_are_written_so_that_they_read_back_the_same);
    RUN(buffers_grow_and_keep_their_first_failure);
    RUN(a_growing_array_keeps_its_items_and_clears_new_ones);
    RUN(files_are_written_whole_or_not_at_all);
    RUN(files_that_cannot_be_read_are_errors_that_name_them);
    RUN(sizes_saturate_instead_of_wrapping_round);
    RUN(shapes_are_written_as_lists);
    RUN(finiteness_is_found_wherever_it_ends);
    RUN(patterns_find_the_leftmost_longest_match);
#if defined(ITP_HAS_POSIX)
    rmdir(folder);
#endif
    return test_end(argc, argv);
}

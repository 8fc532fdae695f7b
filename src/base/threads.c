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

/* Runs tasks 0..n-1 on the caller. */
ITP_FN void itp_in_turn(int n, itp_task_fn fn, void *arg)
{
    for (int i = 0; i < n; i++) fn(arg, i, 0);
}

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
        itp_in_turn(n, fn, arg);
    } else if (ctx->desc.parallel_for) {
        ctx->desc.parallel_for(itp_job_run, itp_min(n, ctx->slots), &job, ctx->desc.user);
    } else {
#if !defined(INTERP_NO_THREADS)
        itp_pool_execute(ctx->pool, fn, arg, n);
#endif
    }
}

/* Runs tasks 0..n-1, large ones that are best left alone: jobs that they start themselves run on their
   own thread. A single one is not, its jobs run on all threads. */
ITP_FN void itp_parallel_alone(interp_ctx *ctx, int n, itp_task_fn fn, void *arg)
{
    const int slots = ctx->slots;
    itp_job job;
    job.fn = fn;
    job.arg = arg;
    job.n = n;
    job.next = 0;
    if (n < 2 || slots < 2) {
        itp_in_turn(n, fn, arg);
        return;
    }
    ctx->slots = 1;
    if (ctx->desc.parallel_for) {
        ctx->desc.parallel_for(itp_job_run, itp_min(n, slots), &job, ctx->desc.user);
    } else {
#if !defined(INTERP_NO_THREADS)
        itp_pool_execute(ctx->pool, fn, arg, n);
#endif
    }
    ctx->slots = slots;
}

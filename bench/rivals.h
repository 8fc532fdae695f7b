/* The libraries that others link for this work, looked for at run time, each with its best kernels
   forced. One process holds them all: every one is loaded for itself, so that functions of one name
   (cblas_sgemm) do not meet. Needs measure.h. */

/* One way to do the work of a row. `result` gives what `run` computed, in plain row-major order. */
typedef struct side {
    const char *name;
    void (*run)(void *state);
    void (*result)(void *state, float *out);
    void (*release)(void *state);
    void *state;
} side;

enum { MOST_SIDES = 6 };

typedef void (*cblas_sgemm_fn)(int order, int trans_a, int trans_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb,
                               float beta, float *c, int ldc);
typedef int (*dnnl_sgemm_fn)(char trans_a, char trans_b, int64_t m, int64_t n, int64_t k,
                             float alpha, const float *a, int64_t lda, const float *b, int64_t ldb,
                             float beta, float *c, int64_t ldc);
typedef void (*xsmm_kernel)(const float *a, const float *b, float *c, ...);

#if defined(BENCH_LIBXSMM)
void libxsmm_init(void);
const char *libxsmm_get_target_arch(void);
xsmm_kernel libxsmm_smmdispatch(int m, int n, int k, const int *lda, const int *ldb, const int *ldc,
                                const float *alpha, const float *beta, const int *flags,
                                const int *prefetch);
#endif

/* What is installed; NULL: missing. */
typedef struct rivals {
    cblas_sgemm_fn openblas, blis;
    dnnl_sgemm_fn dnnl_sgemm;
    void *onednn, *onnxruntime; /* libraries */
    bool libxsmm;
} rivals;

/* Reads a symbol of a library into a function pointer; false when it is not there. */
BENCH_FN bool rival_symbol(void *library, const char *name, void *function)
{
    void *found = library ? dlsym(library, name) : NULL;
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

/* Must come before any library is loaded: most read these while loading. Nothing of it is left to
   the environment: a machine whose OPENBLAS_CORETYPE is set to an older one would hold a rival back. */
BENCH_FN void rivals_environment(const char *isa, int threads)
{
    static const char *const limits[] = {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
                                         "BLIS_ARCH_TYPE",    "ONEDNN_MAX_CPU_ISA",
                                         "DNNL_MAX_CPU_ISA",  "LIBXSMM_TARGET"};
    char count[16];
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) unsetenv(limits[i]);
    snprintf(count, sizeof count, "%d", threads);
    setenv("OPENBLAS_NUM_THREADS", count, 1);
    setenv("BLIS_NUM_THREADS", count, 1);
    setenv("OMP_NUM_THREADS", count, 1);
    setenv("OPENBLAS_THREAD_TIMEOUT", "20", 0); /* 2^20 cycles: no spinning while others run */
    if (!strcmp(isa, "avx512")) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
        setenv("BLIS_ARCH_TYPE", "0", 1); /* skx of BLIS 0.9 */
    } else if (!strcmp(isa, "avx2")) {
        setenv("OPENBLAS_CORETYPE", "Haswell", 1);
        setenv("BLIS_ARCH_TYPE", "3", 1); /* haswell of BLIS 0.9 */
        setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
        setenv("LIBXSMM_TARGET", "hsw", 1);
    }
}

/* onnxruntime-node brings the C library along: NODE_MODULES/onnxruntime-node/bin/napi-vN/linux/x64. */
BENCH_FN void *rival_open_onnxruntime(void)
{
    char path[4096];
    const char *folder = getenv("ORT_NODE_MODULES");
    void *library = NULL;
#if defined(__x86_64__)
    const char *machine = "x64";
#else
    const char *machine = "arm64";
#endif
    for (int version = 3; version < 12 && !library; version++) {
        snprintf(path, sizeof path, "%s/onnxruntime-node/bin/napi-v%d/linux/%s/libonnxruntime.so.1",
                 folder ? folder : "bench/node_modules", version, machine);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return library;
}

/* Loads what there is and says what there is not. */
BENCH_FN rivals rivals_open(const char *isa, int threads)
{
    const int flags = RTLD_NOW | RTLD_LOCAL;
    const char *(*text)(void);
    rivals r;
    memset(&r, 0, sizeof r);
    rivals_environment(isa, threads);

    void *library = dlopen("libopenblas.so.0", flags);
    if (rival_symbol(library, "cblas_sgemm", &r.openblas))
        printf("OpenBLAS      core %s\n",
               rival_symbol(library, "openblas_get_corename", &text) ? text() : "unknown");
    else printf("OpenBLAS      missing: apt install libopenblas0-pthread\n");

    void (*init)(void);
    int (*query)(void);
    const char *(*name)(int);
    library = dlopen("libblis.so.4", flags);
    if (rival_symbol(library, "cblas_sgemm", &r.blis) && rival_symbol(library, "bli_init", &init) &&
        rival_symbol(library, "bli_arch_query_id", &query) &&
        rival_symbol(library, "bli_arch_string", &name)) {
        init(); /* before anything else is asked of it */
        printf("BLIS          kernels %s\n", name(query()));
    } else {
        r.blis = NULL;
        printf("BLIS          missing: apt install libblis4-openmp\n");
    }

    r.onednn = dlopen("libdnnl.so.2", flags);
    if (rival_symbol(r.onednn, "dnnl_sgemm", &r.dnnl_sgemm)) printf("oneDNN        2\n");
    else printf("oneDNN        missing: apt install libdnnl-dev\n");

#if defined(BENCH_LIBXSMM)
    libxsmm_init();
    r.libxsmm = threads == 1;
    printf("libxsmm       %s%s\n", libxsmm_get_target_arch(),
           r.libxsmm ? "" : ", left out: its kernels have one thread");
#else
    printf("libxsmm       missing: apt install libxsmm-dev, then build again\n");
#endif

    if (!strcmp(isa, "avx2")) printf("ONNX Runtime  left out: it cannot be held to AVX2\n");
    else if ((r.onnxruntime = rival_open_onnxruntime()) != NULL) printf("ONNX Runtime  loaded\n");
    else printf("ONNX Runtime  missing: see bench/README.md\n");
    return r;
}

/* ---- matrix products */

/* C = op(A) op(B), row-major; every side has a C of its own. */
typedef struct gemm_state {
    interp_ctx *ctx;
    int m, n, k, lda, ldb;
    bool ta, tb;
    const float *a, *b;
    float *c;
    cblas_sgemm_fn cblas;
    dnnl_sgemm_fn dnnl;
    xsmm_kernel xsmm;
} gemm_state;

BENCH_FN void gemm_run_interp(void *state)
{
    const gemm_state *g = (const gemm_state *)state;
    interp_sgemm(g->ctx, g->ta, g->tb, g->m, g->n, g->k, 1, g->a, g->lda, g->b, g->ldb, 0, g->c,
                 g->n);
}

BENCH_FN void gemm_run_cblas(void *state)
{
    enum { row_major = 101, no_trans = 111, trans = 112 };
    const gemm_state *g = (const gemm_state *)state;
    g->cblas(row_major, g->ta ? trans : no_trans, g->tb ? trans : no_trans, g->m, g->n, g->k, 1,
             g->a, g->lda, g->b, g->ldb, 0, g->c, g->n);
}

BENCH_FN void gemm_run_dnnl(void *state)
{
    const gemm_state *g = (const gemm_state *)state;
    g->dnnl(g->ta ? 'T' : 'N', g->tb ? 'T' : 'N', g->m, g->n, g->k, 1, g->a, g->lda, g->b, g->ldb,
            0, g->c, g->n);
}

/* Column-major: C^T = op(B)^T op(A)^T. */
BENCH_FN void gemm_run_xsmm(void *state)
{
    const gemm_state *g = (const gemm_state *)state;
    g->xsmm(g->b, g->a, g->c);
}

/* A kernel written for this shape; NULL when libxsmm has none. */
BENCH_FN xsmm_kernel gemm_dispatch_xsmm(const rivals *r, const gemm_state *g)
{
    if (!r->libxsmm) return NULL;
#if defined(BENCH_LIBXSMM)
    const float one = 1, zero = 0;
    const int flags = (g->tb ? 1 : 0) | (g->ta ? 2 : 0);
    return libxsmm_smmdispatch(g->n, g->m, g->k, &g->ldb, &g->lda, &g->n, &one, &zero, &flags,
                               NULL);
#else
    (void)g;
    return NULL;
#endif
}

BENCH_FN void gemm_result(void *state, float *out)
{
    const gemm_state *g = (const gemm_state *)state;
    memcpy(out, g->c, (size_t)g->m * (size_t)g->n * sizeof *out);
}

BENCH_FN void gemm_release(void *state)
{
    gemm_state *g = (gemm_state *)state;
    interp_free(g->ctx, g->c);
    interp_free(g->ctx, g);
}

BENCH_FN side gemm_side(const char *name, const gemm_state *shape, void (*run)(void *state))
{
    const side s = {name, run, gemm_result, gemm_release,
                    bench_need(shape->ctx, interp_alloc(shape->ctx, sizeof(gemm_state)))};
    gemm_state *g = (gemm_state *)s.state;
    *g = *shape;
    g->c = (float *)bench_need(g->ctx,
                               interp_alloc(g->ctx, (size_t)g->m * (size_t)g->n * sizeof(float)));
    return s;
}

/* All sides of one product, ours first. */
BENCH_FN int gemm_sides(const rivals *r, gemm_state shape, side *out)
{
    int n = 0;
    out[n++] = gemm_side("interp.h", &shape, gemm_run_interp);
    shape.cblas = r->openblas;
    if (r->openblas) out[n++] = gemm_side("OpenBLAS", &shape, gemm_run_cblas);
    shape.cblas = r->blis;
    if (r->blis) out[n++] = gemm_side("BLIS", &shape, gemm_run_cblas);
    shape.dnnl = r->dnnl_sgemm;
    if (r->dnnl_sgemm) out[n++] = gemm_side("oneDNN", &shape, gemm_run_dnnl);
    shape.xsmm = gemm_dispatch_xsmm(r, &shape);
    if (shape.xsmm) out[n++] = gemm_side("libxsmm", &shape, gemm_run_xsmm);
    return n;
}

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
#define V_SPARSE       (V_WIDTH > 1) /* products leave zeros out: the same results sooner */
#define V_PAIRWISE     (V_WIDTH > 1) /* pools of two by two have a path of their own */
#ifdef __OPTIMIZE_SIZE__             /* the compiler is asked for small code */
#undef V_LOOP
#undef V_STEPS
#undef V_SPARSE
#undef V_PAIRWISE
#define V_LOOP(n, ...)                                                                             \
    do {                                                                                           \
        V_EACH(n, __VA_ARGS__)                                                                     \
    } while (0)
#define V_STEPS    1
#define V_SPARSE   0
#define V_PAIRWISE 0
#endif

/* ---- math: matrix product, linear algebra, neighbours --------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

/* C = alpha op(A) op(B) + beta C, row-major, float32 sums. m, n, k: op(A) is [m,k], op(B) is [k,n],
   C is [m,n]; trans_a, trans_b: op() transposes, so that A is stored as [k,m] or B as [n,k]; lda,
   ldb, ldc: floats from row to row of the stored arrays. C is not read when beta is 0. Bit-
   identical at any thread count; a row of C does not depend on how many there are, but for one row
   or column alone, whose sums run in another order. Errors: BAD_ARGUMENT, NO_MEMORY. Cost: 2mnk operations; scratch of
   a few hundred KB per thread, kept by the context. Test: sgemm_matches_a_double_sum. */
INTERP_API interp_status interp_sgemm(interp_ctx *ctx, bool trans_a, bool trans_b, int m, int n,
                                      int k, float alpha, const float *a, int lda, const float *b,
                                      int ldb, float beta, float *c, int ldc);

/* How interp_pca finds the components. */
typedef enum interp_pca_solver {
    INTERP_PCA_AUTO,  /* exact up to 256 columns, else randomised when a tenth of them is enough */
    INTERP_PCA_EXACT, /* all eigenvectors of the covariance matrix */
    INTERP_PCA_RANDOMIZED /* the leading ones, by subspace iteration from random vectors */
} interp_pca_solver;

/* Options of interp_pca. */
typedef struct interp_pca_desc {
    int n_components;         /* 0: 2 */
    bool whiten;              /* false: scores keep their variance; true: unit variance each */
    interp_pca_solver solver; /* 0: auto */
    int n_iter;               /* 0: 8; rounds of the randomised solver */
    int n_oversamples;        /* 0: 10; vectors it carries besides those asked for */
    uint64_t seed;            /* 0: seed 0; of its random vectors */
    float *mean;              /* NULL: not wanted; [d], filled: what is taken off each column */
    float *variance; /* NULL: not wanted; [n_components], filled: of the scores, unwhitened */
} interp_pca_desc;

/* Principal components of x[n,d], centred, by eigenvectors of the covariance matrix. scores: NULL
   or [n, n_components]; components: NULL or [n_components, d], unit rows whose largest entry is
   positive; explained: NULL or [n_components], share of the total variance. Columns that are
   constant do no harm. Errors: BAD_ARGUMENT (n below 2, more components than d), NOT_FINITE,
   NO_MEMORY, CANCELLED. Cost: O(n d^2), and O(d^3) or O(d^2 n_components); scratch
   interp_pca_bytes. Bit-identical at any thread count. Paper: Pearson 1901, Halko et al. 2011;
   matches scikit-learn's PCA. Tests: pca_finds_the_axes_of_a_rotated_cloud,
   randomised_components_are_the_exact_ones. */
INTERP_API interp_status interp_pca(interp_ctx *ctx, const float *x, int n, int d,
                                    const interp_pca_desc *desc, float *scores, float *components,
                                    float *explained);

/* Bytes that interp_pca allocates, exactly, besides scratch of matrix products that the context
   keeps. Test: memory_of_embeddings_is_known_beforehand. */
INTERP_API size_t interp_pca_bytes(int n, int d, const interp_pca_desc *desc);

/* Scores of other samples: x[n,d] less mean[d], times components[n_components, d], each divided by
   the root of variance[n_components] when that is not NULL. Errors: BAD_ARGUMENT, NO_MEMORY. Test:
   randomised_components_are_the_exact_ones. */
INTERP_API interp_status interp_pca_transform(interp_ctx *ctx, const float *x, int n, int d,
                                              const float *mean, const float *components,
                                              int n_components, const float *variance,
                                              float *scores);

/* ---- distances */

/* Distances between rows a and b of d numbers. Sums run in float32, those of products in blocks. */
#define INTERP_METRIC_LIST(X)                                                                      \
    X(EUCLIDEAN, "euclidean")     /* sqrt(sum (a-b)^2) */                                          \
    X(SQEUCLIDEAN, "sqeuclidean") /* sum (a-b)^2 */                                                \
    X(COSINE, "cosine") /* 1 - a.b / (|a| |b|); a row of zeros is 1 from all but zeros */          \
    X(CORRELATION, "correlation") /* cosine of rows less their means */                            \
    X(MANHATTAN, "manhattan")     /* sum |a-b| */                                                  \
    X(CHEBYSHEV, "chebyshev")     /* max |a-b| */                                                  \
    X(MINKOWSKI, "minkowski")     /* (sum |a-b|^p)^(1/p) */                                        \
    X(CANBERRA, "canberra")       /* sum |a-b| / (|a|+|b|) */                                      \
    X(BRAY_CURTIS, "braycurtis")  /* sum |a-b| / sum |a+b| */                                      \
    X(HAMMING, "hamming")         /* share of numbers that differ */                               \
    X(JACCARD, "jaccard")         /* 1 - both / either, of numbers that are not zero */            \
    X(HELLINGER, "hellinger")     /* sqrt(1 - sum sqrt(a b)) of rows divided by their sums */      \
    X(EARTH_MOVER, "earthmover") /* in one dimension: sum |cumulated a - cumulated b|, likewise */ \
    X(PRECOMPUTED, "precomputed") /* x is [n,n]: the distances themselves */

/* Names of metrics, from INTERP_METRIC_LIST. */
typedef enum interp_metric {
#define INTERP_METRIC_ENUM(name, text) INTERP_METRIC_##name,
    INTERP_METRIC_LIST(INTERP_METRIC_ENUM)
#undef INTERP_METRIC_ENUM
        INTERP_METRIC_COUNT
} interp_metric;

/* "euclidean", "cosine" ... as in scipy; NULL when there is none. */
INTERP_API const char *interp_metric_name(interp_metric metric);

/* The distance of two rows of d numbers; NaN for INTERP_METRIC_PRECOMPUTED. Test:
   metrics_are_their_definitions. */
INTERP_API double interp_distance(const float *a, const float *b, int d, interp_metric metric,
                                  float p);

/* Earth mover's distance of two pictures [height, width], at most 256 cells, in cells: the least
   amount of mass times way along the axes that makes the one into the other, each divided by its
   sum first; what is below 0 counts as 0, and an empty picture is height + width from all but empty
   ones. Exact, by cheapest flows between neighbours; NaN for other sizes or numbers that are not
   finite. Paper: Rubner et al. 2000, Ling and Okada 2007. Tests: earth_moves_in_two_dimensions,
   metrics_match_scipy. */
INTERP_API double interp_earth_mover_2d(const float *a, const float *b, int height, int width);

/* ---- statistics */

/* A paired comparison of a[n] with b[n], by their differences a - b. */
typedef struct interp_paired {
    int n;
    double mean, sd;        /* of the differences; sd with n - 1 */
    double ci_low, ci_high; /* 95 % confidence interval of the mean, by Student's distribution */
    double effect;          /* Cohen's d of paired samples: mean / sd */
    double t, p_t;          /* paired t-test, two-sided */
    double w, p_wilcoxon;   /* signed-rank test, two-sided; w: the smaller sum of ranks */
} interp_paired;

/* Compares pairs. Differences of 0 are left out of the signed ranks, equal ones share their mean
   rank; up to 50 the distribution is the exact one, given the ties, above the normal with the
   variance of the ties. Without any difference both p are 1 and effect and t NaN. Errors:
   BAD_ARGUMENT for less than 2 pairs, NOT_FINITE, NO_MEMORY. Paper: Student 1908, Wilcoxon 1945,
   Cohen 1988; matches scipy.stats. Tests: paired_tests_match_scipy, exact_ranks_match_enumeration.
   */
INTERP_API interp_status interp_paired_test(interp_ctx *ctx, const double *a, const double *b,
                                            int n, interp_paired *out);

/* The probability that Student's t with so many degrees of freedom is as far from 0, either way.
   Test: paired_tests_match_scipy. */
INTERP_API double interp_student_p(double t, double freedom);

/* Holm's correction of p[n] for n comparisons; adjusted: [n], not p itself. Those that are NaN stay
   so. Paper: Holm 1979. Test: holm_steps_down. */
INTERP_API void interp_holm(const double *p, int n, double *adjusted);

#if !defined(INTERP_NO_EMBED)
/* ---- nearest neighbours */

/* How neighbours are found; all but INTERP_KNN_DESCENT exactly. */
typedef enum interp_knn_method {
    INTERP_KNN_AUTO,   /* exact; above 20 000 points of 1 to 3 numbers the tree, and of more above
                          100 000 points and 2500 k the descent */
    INTERP_KNN_EXACT,  /* all distances: blocks of a matrix product where the metric allows */
    INTERP_KNN_TREE,   /* vantage-point tree: for few dimensions, and metrics with the triangle
                          inequality */
    INTERP_KNN_DESCENT /* nearest neighbour descent from random projection trees: nearly all */
} interp_knn_method;

/* Options of interp_knn. */
typedef struct interp_knn_desc {
    interp_metric metric;     /* 0: euclidean */
    float p;                  /* 0: 3; of minkowski, from 1 */
    interp_knn_method method; /* 0: auto */
    const float *queries; /* NULL: x itself, no row being its own neighbour; else [n_queries, d] */
    int n_queries;        /* 0: none; needed with queries */
    int max_candidates; /* 0: k, from 10 to 60; those that a point of the descent passes on of each
                             kind: more find more */
    uint64_t seed;      /* 0: seed 0; of the descent */
} interp_knn_desc;

/* What became of a search for neighbours. */
typedef struct interp_knn_info {
    interp_knn_method method; /* taken */
    double recall; /* share of the neighbours found; of the descent, as 100 points tell */
    int rounds;    /* of the descent; else 0 */
} interp_knn_info;

/* The k nearest of x[n,d] to each row. index: [rows, k], nearest first, equals by index; distance:
   NULL or [rows, k]; rows is n, or n_queries. Duplicates are neighbours at distance 0. info: NULL or
   filled. Errors: BAD_ARGUMENT (k below 1 or above n-1, n with queries), NOT_FINITE, also for numbers
   beyond 1e15, UNSUPPORTED for a tree of a metric that is none and a descent of queries or of
   precomputed distances, NO_MEMORY, CANCELLED, after which the arrays are not defined. Cost: 2 n^2 d,
   by the tree O(n log n) where d is small, by the descent about n k^2 d; scratch interp_knn_bytes.
   Bit-identical at any thread count. Papers: Yianilos 1993; Dong, Charikar and Li 2011; matches
   scikit-learn's NearestNeighbors. Tests: neighbours_are_those_of_a_double_loop,
   metrics_are_their_definitions, the_tree_finds_the_same_neighbours,
   the_descent_finds_nearly_all_neighbours. */
INTERP_API interp_status interp_knn(interp_ctx *ctx, const float *x, int n, int d, int k,
                                    const interp_knn_desc *desc, int32_t *index, float *distance,
                                    interp_knn_info *info);

/* Bytes that interp_knn allocates, exactly. Test: memory_of_embeddings_is_known_beforehand. */
INTERP_API size_t interp_knn_bytes(const interp_ctx *ctx, int n, int d, int k,
                                   const interp_knn_desc *desc);

#endif

/* Rules of integration between baseline and input. All weights sum to 1. */
typedef enum interp_quadrature {
    INTERP_GAUSS_LEGENDRE,
    INTERP_RIEMANN_LEFT,
    INTERP_RIEMANN_RIGHT,
    INTERP_RIEMANN_MIDDLE,
    INTERP_RIEMANN_TRAPEZOID
} interp_quadrature;

/* Abscissae and weights of a rule on [0,1]; both arrays [n]. BAD_ARGUMENT when n is below 1, or 2
   for the trapezoid; CANCELLED, after which the arrays are not defined. Gauss-Legendre takes a
   fixed number of operations for each point. Tests: quadrature_integrates_polynomials,
   many_gauss_legendre_points_match_the_recurrence. */
INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight);

#ifdef __cplusplus
}
#endif

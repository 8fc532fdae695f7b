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

/* Rules of integration between baseline and input. All weights sum to 1. */
typedef enum interp_quadrature {
    INTERP_GAUSS_LEGENDRE,
    INTERP_RIEMANN_LEFT,
    INTERP_RIEMANN_RIGHT,
    INTERP_RIEMANN_MIDDLE,
    INTERP_RIEMANN_TRAPEZOID
} interp_quadrature;

/* Abscissae and weights of a rule on [0,1]; both arrays [n]. BAD_ARGUMENT when n is below 1, or 2
   for the trapezoid; CANCELLED, after which the arrays are not defined. Gauss-Legendre takes a fixed
   number of operations for each point. Tests: quadrature_integrates_polynomials,
   many_gauss_legendre_points_match_the_recurrence. */
INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight);

#ifdef __cplusplus
}
#endif

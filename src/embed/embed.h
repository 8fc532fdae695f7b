/* ---- embed: t-SNE, UMAP, and how good an embedding is ------------------------------------------ */

#if !defined(INTERP_NO_EMBED)
#ifdef __cplusplus
extern "C" {
#endif

/* Where an embedding starts. */
typedef enum interp_embed_init {
    INTERP_EMBED_DEFAULT,  /* t-SNE: pca; UMAP: spectral */
    INTERP_EMBED_PCA,      /* the first principal components */
    INTERP_EMBED_RANDOM,   /* t-SNE: normal; UMAP: uniform */
    INTERP_EMBED_SPECTRAL, /* eigenvectors of the graph's Laplacian, component by component */
    INTERP_EMBED_GIVEN     /* desc.init_y; t-SNE centres it, UMAP scales it */
} interp_embed_init;

/* How t-SNE sums the repulsion of all pairs. */
typedef enum interp_tsne_method {
    INTERP_TSNE_AUTO,       /* in the plane: grid; else exact below 3000 points and tree above */
    INTERP_TSNE_EXACT,      /* all pairs */
    INTERP_TSNE_BARNES_HUT, /* a tree, cells seen below an angle as one point */
    INTERP_TSNE_FFT /* a potential on a grid by a Fourier transform: O(n), in the plane only */
} interp_tsne_method;

/* Options of interp_tsne. */
typedef struct interp_tsne_desc {
    int n_components;            /* 0: 2; 1 to 3 */
    float perplexity;            /* 0: 30; cut to a third of what n allows */
    const float *perplexities;   /* NULL: the one above; else several scales, averaged */
    int n_perplexities;          /* 0: none; needed with perplexities */
    float early_exaggeration;    /* 0: 12; factor of the attraction in the first iterations */
    int early_exaggeration_iter; /* 0: 250; -1: none */
    float exaggeration;          /* 0: 1; of the others */
    int n_iter;                  /* 0: 500; those after the early ones */
    float learning_rate;         /* 0: n / exaggeration of the phase */
    float momentum;              /* 0: 0.8 */
    float degrees_of_freedom;    /* 0: 1; of the t-distribution, lower spreads clusters more */
    float angle;                 /* 0: 0.5; of Barnes-Hut */
    float grid_step;             /* 0: 0.4; of the Fourier grid, in units of the embedding */
    interp_tsne_method method;   /* 0: auto */
    interp_metric metric;        /* 0: euclidean; of the neighbours */
    float metric_p;              /* 0: 3; of minkowski */
    interp_knn_method knn;       /* 0: auto */
    const int32_t *knn_index;  /* NULL: looked for; else [n,k], nearest first, without the point */
    const float *knn_distance; /* NULL: none; needed with knn_index: [n,k] */
    int knn_k;                 /* 0: none; needed with knn_index: k, three perplexities or more */
    interp_embed_init init;    /* 0: pca, scaled to a standard deviation of 1e-4 */
    const float *init_y;       /* NULL: none; needed with INTERP_EMBED_GIVEN: [n, n_components] */
    uint64_t seed;             /* 0: seed 0; of random beginnings */
    int report_every;          /* 0: 50; iterations from call to call of on_iter */
    interp_status (*on_iter)(int iter, double kl, const float *y, void *user); /* NULL: none; y
                                    is [n, n_components] until it returns; its error ends the work */
    void *user; /* NULL: handed to on_iter as it is */
} interp_tsne_desc;

/* What became of a t-SNE. */
typedef struct interp_tsne_info {
    double kl;                 /* divergence of the embedding in nats, without exaggeration */
    int iterations;            /* done */
    interp_tsne_method method; /* taken */
    float perplexity;          /* taken; the largest of several */
    double knn_recall;         /* share of the neighbours found, as interp_knn_info tells; 1 of
                                  those given */
} interp_tsne_info;

/* t-SNE of x[n,d] to y[n, n_components], centred at 0. info: NULL or filled. Fewer than 4 points, all
   equal ones too, give a result without meaning but no error. Bit-identical at any thread count.
   Errors: BAD_ARGUMENT, NOT_FINITE, NO_MEMORY, CANCELLED. Cost: neighbours, then O(n) an
   iteration; scratch interp_tsne_bytes. Papers: van der Maaten and Hinton 2008, van der Maaten
   2014, Linderman et al. 2019 (ours: one potential in cubic B-splines instead of three interpolated
   kernels, its slope is the force); defaults are openTSNE's. Tests: tsne_of_digits_keeps_neighbours,
   tsne_is_the_same_at_any_thread_count, repulsion_is_that_of_all_pairs. */
INTERP_API interp_status interp_tsne(interp_ctx *ctx, const float *x, int n, int d,
                                     const interp_tsne_desc *desc, float *y,
                                     interp_tsne_info *info);

/* Bytes that interp_tsne allocates at most at one time, besides scratch of matrix products that the
   context keeps. Test: memory_of_embeddings_is_known_beforehand. */
INTERP_API size_t interp_tsne_bytes(const interp_ctx *ctx, int n, int d,
                                    const interp_tsne_desc *desc);

/* Places new points x_new[n_new, d] among those of an embedding y[n, n_components] of x[n,d], which
   stay: each starts at the median of its 25 nearest and descends 250 iterations against its own
   neighbours (perplexity 5, exaggeration 1.5, rate 0.1; desc's values where they are not 0). Errors as
   interp_tsne's. As openTSNE's transform. Test: new_points_land_among_their_kind. */
INTERP_API interp_status interp_tsne_transform(interp_ctx *ctx, const float *x, const float *y,
                                               int n, int d, const float *x_new, int n_new,
                                               const interp_tsne_desc *desc, float *y_new);

/* Options of interp_umap. */
typedef struct interp_umap_desc {
    int n_components;             /* 0: 2; up to 16 */
    int n_neighbors;              /* 0: 15; the point itself counts as one; from 2, cut to n */
    float min_dist;               /* 0: 0.1; negative: 0 */
    float spread;                 /* 0: 1 */
    float a, b;                   /* 0: fitted to min_dist and spread */
    int n_epochs;                 /* 0: 500 up to 10 000 points, 200 above; a transform's third */
    float learning_rate;          /* 0: 1 */
    int negative_sample_rate;     /* 0: 5 */
    float repulsion_strength;     /* 0: 1 */
    float set_op_mix_ratio;       /* 0: 1, the fuzzy union; 1e-6 or less: the intersection */
    int local_connectivity;       /* 0: 1 */
    float disconnection_distance; /* 0: none; neighbours from there on are none */
    interp_metric metric;         /* 0: euclidean; of the neighbours */
    float metric_p;               /* 0: 3; of minkowski */
    interp_knn_method knn;        /* 0: auto */
    const int32_t *knn_index;  /* NULL: looked for; else [n,k], nearest first, without the point */
    const float *knn_distance; /* NULL: none; needed with knn_index: [n,k] */
    int knn_k;                 /* 0: none; needed with knn_index: k, n_neighbors - 1 or more */
    interp_embed_init init;    /* 0: spectral */
    const float *init_y;       /* NULL: none; needed with INTERP_EMBED_GIVEN: [n, n_components] */
    const int32_t *y_class;    /* NULL: unsupervised; else [n]: classes, -1 where not known */
    float target_weight;       /* 0: 0.5; how much classes count, up to 1 */
    bool densmap;              /* false; true: local densities are kept as well */
    float dens_lambda;         /* 0: 2; weight of densities */
    float dens_frac;           /* 0: 0.3; share of the last epochs that follow them */
    float dens_var_shift;      /* 0: 0.1 */
    uint64_t seed;             /* 0: seed 0 */
    int report_every;          /* 0: none; epochs from call to call of on_epoch */
    interp_status (*on_epoch)(int epoch, const float *y, void *user); /* NULL: none; y is
                                    [n, n_components] until it returns; its error ends the work */
    void *user; /* NULL: handed to on_epoch as it is */
} interp_umap_desc;

/* What became of a UMAP. */
typedef struct interp_umap_info {
    float a, b;     /* of the curve 1 / (1 + a d^2b) */
    int epochs;     /* done */
    int components; /* pieces the graph falls into */
    int isolated;   /* points without neighbours (disconnection_distance); their y is NaN */
    size_t edges;   /* of the graph, each once */
    double
        knn_recall; /* share of the neighbours found, as interp_knn_info tells; 1 of those given */
} interp_umap_info;

/* UMAP of x[n,d] to y[n, n_components]. info: NULL or filled. Every vertex has one owner, which goes
   through its edges one by one against the others' places of the last round: no locks, and
   bit-identical at any thread count. Errors: BAD_ARGUMENT (also n below 2), NOT_FINITE, NO_MEMORY,
   CANCELLED. Cost: neighbours, then O(n k) an epoch; scratch interp_umap_bytes. Papers: McInnes et al.
   2018, Narayan et al. 2021; defaults are umap-learn's. Tests: umap_of_digits_keeps_neighbours,
   umap_is_the_same_at_any_thread_count, pieces_of_a_graph_stay_apart. */
INTERP_API interp_status interp_umap(interp_ctx *ctx, const float *x, int n, int d,
                                     const interp_umap_desc *desc, float *y,
                                     interp_umap_info *info);

/* Bytes that interp_umap allocates at most at one time. Test:
   memory_of_embeddings_is_known_beforehand. */
INTERP_API size_t interp_umap_bytes(const interp_ctx *ctx, int n, int d,
                                    const interp_umap_desc *desc);

/* Places new points x_new[n_new, d] among those of an embedding y[n, n_components] of x[n,d], which
   stay. desc: as given to interp_umap. Errors as interp_umap's. Test:
   new_points_land_among_their_kind. */
INTERP_API interp_status interp_umap_transform(interp_ctx *ctx, const float *x, const float *y,
                                               int n, int d, const float *x_new, int n_new,
                                               const interp_umap_desc *desc, float *y_new);

/* The curve 1 / (1 + a d^2b) nearest to 1 up to min_dist and exp((min_dist - d) / spread) beyond, by
   least squares on 300 points. BAD_ARGUMENT unless spread > 0 and 0 <= min_dist <= spread. Test:
   curves_are_those_of_umap_learn. */
INTERP_API interp_status interp_umap_curve(interp_ctx *ctx, double spread, double min_dist,
                                           double *a, double *b);

/* Options of interp_embed_quality. */
typedef struct interp_quality_desc {
    int k_trust;            /* 0: 12; neighbours of trustworthiness and continuity */
    int k_preserved;        /* 0: 10; of neighbourhood preservation */
    int samples;            /* 0: 10 000; points that are judged, all when there are fewer */
    int pairs;              /* 0: 100 000; random pairs of Spearman's correlation */
    interp_metric metric;   /* 0: euclidean; of x */
    float metric_p;         /* 0: 3; of minkowski */
    const int32_t *classes; /* NULL: none; [n]: for knn_accuracy */
    int k_accuracy;         /* 0: 1; neighbours that vote, ties to the nearest */
    uint64_t seed;          /* 0: seed 0; of samples and pairs */
} interp_quality_desc;

/* How good an embedding is; 1 is best. Those that n is too small for are NaN. */
typedef struct interp_quality {
    double trustworthiness; /* Venna and Kaski 2001: few neighbours that were far */
    double continuity;      /* few neighbours lost */
    double preservation;    /* share of the k nearest that stay among them */
    double spearman;        /* rank correlation of distances of random pairs */
    double knn_accuracy;    /* of each point by its nearest others; NaN without classes */
} interp_quality;

/* Compares y[n,m] with x[n,d]. Errors: BAD_ARGUMENT, NOT_FINITE, NO_MEMORY, CANCELLED. Cost:
   2 n samples (d + m), O(n) memory. trustworthiness matches scikit-learn's. Tests:
   quality_of_known_arrangements, trustworthiness_counts_ranks. */
INTERP_API interp_status interp_embed_quality(interp_ctx *ctx, const float *x, int n, int d,
                                              const float *y, int m,
                                              const interp_quality_desc *desc,
                                              interp_quality *quality);

/* Bytes that interp_embed_quality of x[n,d] and y[n,m] allocates at most at one time, besides scratch of
   matrix products. Test: memory_of_embeddings_is_known_beforehand. */
INTERP_API size_t interp_quality_bytes(const interp_ctx *ctx, int n, int d, int m,
                                       const interp_quality_desc *desc);

#ifdef __cplusplus
}
#endif
#endif

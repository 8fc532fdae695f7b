/* ---- dynamics: box maps, Morse graphs, Conley indices, regions of attraction ------------------ */

/* A map f is looked at through a grid: the domain is halved again and again, axis after axis, and each
   box goes to all boxes that its image meets. What returns to itself are the Morse sets; the graph says
   which leads to which. A depth is the number of halvings in all: 20 in the plane are 1024 x 1024
   boxes. Boxes are numbered along the tree of halvings, the lower half first; Morse sets as
   CMGDB does, so that edges lead from higher to lower numbers and 0 attracts. */

#if !defined(INTERP_NO_DYNAMICS)
#ifdef __cplusplus
extern "C" {
#endif

/* Most dimensions of a map. */
#define INTERP_MAP_DIMS 8

/* y[n,d] = f(x[n,d]), for up to 512 points. Its error ends the work. */
typedef interp_status (*interp_point_map)(const double *x, double *y, size_t n, void *user);

/* images[n,2d] of boxes[n,2d]: lower ends, then upper ends. Its error ends the work. */
typedef interp_status (*interp_box_map)(const double *boxes, double *images, size_t n, void *user);

/* Which points of a box stand for it. */
typedef enum interp_box_mode {
    INTERP_BOX_CORNERS, /* the image is what the images of all corners span */
    INTERP_BOX_CENTRE,  /* of the centre, one box wider on every side */
    INTERP_BOX_RANDOM   /* of points drawn in it */
} interp_box_mode;

/* A map and how boxes go through it; one of `points` and `boxes`. */
typedef struct interp_map {
    int dims;                /* needed; 1 to INTERP_MAP_DIMS */
    interp_point_map points; /* NULL: `boxes` */
    interp_box_map boxes;    /* NULL: `points`; images as they are, but for the padding */
    void *user;              /* NULL: handed to both, and to spread */
    interp_box_mode mode;    /* 0: corners */
    int samples;             /* 0: 10; points of a box in random mode */
    uint64_t seed;           /* 0: seed 0; of these */
    bool padding;            /* false; true: images are one box wider on every side */
    const double
        *lipschitz; /* NULL: none; [d,d]: |f_i(x) - f_i(z)| <= sum over j of [i,j] |x_j - z_j|;
                                images hold f of every point then, whatever the mode */
    interp_point_map
        spread;      /* NULL: none; y[n,d] from 0: images are wider by the largest at the points
                                looked at, e.g. two standard deviations of a Gaussian process */
    bool concurrent; /* false: called from the calling thread; true: from several at once */
} interp_map;

/* Options of interp_morse_new. Depths count halvings. */
typedef struct interp_morse_desc {
    const double *lower, *upper; /* needed; [d]: the domain */
    const bool *periodic;        /* NULL: no axis is; [d]: the ends of those that are meet */
    int min;                     /* 0: 12; depth of the Morse sets, up to 52 */
    int max;  /* 0: min; sets in which nothing is recurrent down to this depth are left out */
    int init; /* 0: none, or min where max is 0; depth that the whole domain begins with, up to 30 */
    int limit; /* 0: 10000; larger sets are believed below min */
    /* false: as CMGDB, sets lead to sets when the coarse sets they are in do; true: edges are found anew
       on the final grid */
    bool exact_edges;
} interp_morse_desc;

/* The Morse decomposition of a map on a grid. */
typedef struct interp_morse interp_morse;

/* Bytes that interp_morse_new takes at most for the grid it begins with, of 2^init boxes: all it takes where
   that is the only one. Images of boxes and what each leads to are a part of it, edges are not. SIZE_MAX
   for what cannot be. Test: memory_of_grids_is_told_beforehand. */
INTERP_API size_t interp_morse_bytes(const interp_map *map, const interp_morse_desc *desc);

/* Finds the Morse sets. What the map points to is borrowed until it is freed. Points that boxes share are
   looked at once. Errors: BAD_ARGUMENT (no width, depths, more than 2^31 boxes or 8192 sets), NOT_FINITE
   names a box whose image is NaN, NO_MEMORY with the bytes that uniform grids need, CANCELLED, what the
   map returns. Cost: one call of the map a corner, then some 100 ns a box; edges are never stored.
   Bit-identical at any thread count. Papers: Kalies et al. 2005, Arai et al. 2009, Bush et al. 2012.
   Tests: morse_sets_are_those_of_cmgdb, adaptive_grids_find_the_same_sets,
   spurious_edges_go_on_the_final_grid. */
INTERP_API interp_status interp_morse_new(interp_ctx *ctx, const interp_map *map,
                                          const interp_morse_desc *desc, interp_morse **morse);
/* Frees one. NULL is allowed. */
INTERP_API void interp_morse_free(interp_morse *morse);

/* Number of boxes of the grid. */
INTERP_API uint32_t interp_morse_boxes(const interp_morse *morse);
/* Number of Morse sets. */
INTERP_API int interp_morse_count(const interp_morse *morse);
/* The boxes of a set, rising; n: how many. */
INTERP_API const uint32_t *interp_morse_set(const interp_morse *morse, int set, uint32_t *n);
/* Ends of a box: lower[d], upper[d]. Test: boxes_are_found_again. */
INTERP_API void interp_morse_box(const interp_morse *morse, uint32_t box, double *lower,
                                 double *upper);
/* The box a point x[d] is in, on the border the upper one; UINT32_MAX outside. Test:
   boxes_are_found_again. */
INTERP_API uint32_t interp_morse_find(const interp_morse *morse, const double *x);
/* Whether set `from` leads to set `to`. */
INTERP_API bool interp_morse_reaches(const interp_morse *morse, int from, int to);
/* Whether it does so with no set between: the edges that are drawn. */
INTERP_API bool interp_morse_edge(const interp_morse *morse, int from, int to);

/* The map between boxes, evaluated once on the final grid and then kept: out[interp_morse_boxes] takes the
   boxes that the image of `box` meets, rising; n: how many. Errors as interp_morse_new. Test:
   digraphs_are_those_of_cmgdb. */
INTERP_API interp_status interp_morse_image(interp_morse *morse, uint32_t box, uint32_t *out,
                                            uint32_t *n);

/* ---- where boxes go */

/* Regions of attraction. An attractor is a set that leads to no other. */
typedef struct interp_basins {
    int32_t *attractor; /* [boxes]: the only attractor that the box reaches; -1: none, -2: several;
                           free it with interp_free */
    uint32_t none, several; /* boxes */
} interp_basins;

/* Which attractor each box of the grid leads to. Errors as interp_morse_image. Test:
   basins_and_tiles_are_the_references. */
INTERP_API interp_status interp_morse_basins(interp_morse *morse, interp_basins *basins);

/* What an order retraction came to. */
typedef struct interp_retraction {
    int32_t
        *tile; /* [boxes]: the set each box goes to; -1: there is none in order with those around,
                          and no retraction; sets that only the final grid has, on adaptive grids, come
                          after the others; free it with interp_free */
    uint32_t *size; /* [sets]: boxes of each tile, sets of the final grid included; interp_free */
    int sets;       /* of the final grid */
    uint32_t components; /* strongly connected ones, Morse sets included */
    uint32_t succ, pred, parallel,
        empty;         /* other components: those below which one set is greatest,
                                             else above which one is least, else; without candidates */
    uint32_t trimmed;  /* left without candidates by their neighbours */
    uint32_t failed;   /* without a choice above all that is below them */
    uint32_t violated; /* edges on which the order is not kept; 0 when it is a retraction */
} interp_retraction;

/* An order retraction: each box goes to a Morse set such that the order of what leads to what is kept and
   sets stay themselves. Its tiles divide the domain into attracting blocks. Candidates are made
   consistent along all edges, then chosen from below. Errors as interp_morse_image. Paper: Kalies,
   Kasti and Vandervorst 2018 and 2021. Test: basins_and_tiles_are_the_references. */
INTERP_API interp_status interp_morse_retract(interp_morse *morse, interp_retraction *retraction);

/* ---- Conley index */

/* The index of a Morse set: the map of its homology, relative to where it leaves, up to what dies out. */
typedef struct interp_conley {
    bool defined;                   /* false: images of neighbouring boxes are not acyclic */
    int betti[INTERP_MAP_DIMS + 1]; /* [d+1]: generators of the relative homology */
    char *text[INTERP_MAP_DIMS +
               1]; /* [d+1]: invariant factors of the map as polynomials, powers of x
                                        left out: "x-1", "x^3-1", "0"; of all dimensions one block,
                                        text[0]; free it with interp_free */
} interp_conley;

/* The Conley index of a set over the numbers modulo the prime p (0: 5; up to 251): homology of the set and
   its image relative to the image outside it, by coreduction, and the map on it, lifted through acyclic
   fibres. Errors: BAD_ARGUMENT, NO_MEMORY, CANCELLED, as interp_morse_image. Papers: Mrozek and Batko
   2009, Harker et al. 2014. Test: conley_indices_are_those_of_cmgdb. */
INTERP_API interp_status interp_morse_conley(interp_morse *morse, int set, int p,
                                             interp_conley *index);

/* ---- surrogates: maps from pairs of points */

/* Kernels of Gaussian processes; r is the distance over the length scale. */
typedef enum interp_gp_kernel {
    INTERP_GP_RBF,     /* exp(-r^2 / 2) */
    INTERP_GP_MATERN52 /* (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r) */
} interp_gp_kernel;

/* Options of interp_gp_new. */
typedef struct interp_gp_desc {
    interp_gp_kernel kernel;       /* 0: RBF */
    double length;                 /* 0: 0.5; where the search begins */
    double length_min, length_max; /* 0: 0.01 and 2; length_max negative: as long as the data */
    double noise;                  /* 0: 1; variance of white noise, where the search begins */
    double noise_min, noise_max;   /* 0: 1e-5 and 1e5 */
    double jitter;                 /* 0: 1e-10; added to the noise */
    bool fixed;                    /* false; true: length and noise stay as they are given */
    bool normalize; /* false: the mean is 0 and the kernel's variance 1; true: outputs are brought
                       to mean 0 and variance 1 first, in whose units the noise is then */
} interp_gp_desc;

/* A Gaussian process whose outputs share one kernel. */
typedef struct interp_gp interp_gp;

/* What was found. */
typedef struct interp_gp_info {
    double length, noise, lml; /* lml: log marginal likelihood, summed over outputs */
    int evaluations;           /* of it */
} interp_gp_info;

/* Fits one to y[n,m] at x[n,d] by the largest marginal likelihood, searched for from the given start in
   logarithms within the bounds. info: NULL or filled. Errors: BAD_ARGUMENT, NOT_FINITE, NO_MEMORY,
   CANCELLED. Cost: n^3 / 3 a step. Matches scikit-learn's with RBF + WhiteKernel. Book: Rasmussen and
   Williams 2006. Tests: gaussian_processes_find_the_reference_optimum, likelihoods_slope_as_they_say. */
INTERP_API interp_status interp_gp_new(interp_ctx *ctx, const double *x, const double *y, int n,
                                       int d, int m, const interp_gp_desc *desc, interp_gp **gp,
                                       interp_gp_info *info);
/* Frees one. NULL is allowed. */
INTERP_API void interp_gp_free(interp_gp *gp);

/* Mean, for interp_map.points with the process as its user (m is d then). */
INTERP_API interp_status interp_gp_mean(const double *x, double *y, size_t n, void *gp);
/* Standard deviation of f without the noise, for interp_map.spread; not for several threads at once. Test:
   variance_is_small_at_data_and_large_afar. */
INTERP_API interp_status interp_gp_deviation(const double *x, double *y, size_t n, void *gp);
/* The weights [n,m] of the mean, (K + noise I)^-1 y, where outputs are not normalised. */
INTERP_API const double *interp_gp_weights(const interp_gp *gp);
/* Log marginal likelihood at a length and noise; slope: NULL or [2], by their logarithms. Test:
   likelihoods_slope_as_they_say. */
INTERP_API double interp_gp_likelihood(interp_gp *gp, double length, double noise, double *slope);

/* What becomes of boxes without data. */
typedef enum interp_pairs_empty {
    INTERP_PAIRS_GROW,    /* the box doubles until it holds some */
    INTERP_PAIRS_OUTSIDE, /* they leave the domain */
    INTERP_PAIRS_FAIL     /* an error */
} interp_pairs_empty;

/* Options of interp_pairs_new. */
typedef struct interp_pairs_desc {
    interp_pairs_empty empty; /* 0: grow */
    bool no_neighbours; /* false: boxes take the data of their neighbours too, as far as a box */
} interp_pairs_desc;

/* Pairs of points as a map of boxes: what the images of the points in a box span. */
typedef struct interp_pairs interp_pairs;

/* Makes one of y[n,d] = f(x[n,d]), copied. Errors: BAD_ARGUMENT, NOT_FINITE, NO_MEMORY. As CMGDB's
   BoxMapData. Test: maps_from_pairs_are_those_of_cmgdb. */
INTERP_API interp_status interp_pairs_new(interp_ctx *ctx, const double *x, const double *y, int n,
                                          int d, const interp_pairs_desc *desc,
                                          interp_pairs **pairs);
/* Frees one. NULL is allowed. */
INTERP_API void interp_pairs_free(interp_pairs *pairs);
/* For interp_map.boxes with the pairs as its user; from several threads at once, unless boxes without
   data are an error. */
INTERP_API interp_status interp_pairs_map(const double *boxes, double *images, size_t n,
                                          void *pairs);

#ifdef __cplusplus
}
#endif
#endif

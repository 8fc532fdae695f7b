/* ---- lca: which parameters lowered the loss, at every step of a training ------------------------ */

#if !defined(INTERP_NO_LCA) && !defined(INTERP_NO_TRAIN)
#ifdef __cplusplus
extern "C" {
#endif

/* Loss change allocation (Lan et al. 2019, "LCA: Loss Change Allocation for Neural Network Training"):
   the loss L of a whole data set changes along the straight path from the parameters before a step to
   those after it by the sum over parameters i of

     A[i] = (after[i] - before[i]) * the mean of dL/dp[i] along the path,

   negative where a parameter helped. The mean is a quadrature of gradients over all samples. */

/* Quadratures of the mean gradient along a step's path. */
typedef enum interp_lca_rule {
    INTERP_LCA_SIMPSON,   /* composite Simpson: splits doubled until the sum is the loss change */
    INTERP_LCA_LEFT,      /* gradient before the step */
    INTERP_LCA_RIGHT,     /* gradient after the step */
    INTERP_LCA_TRAPEZOID, /* mean of both */
    INTERP_LCA_GAUSS      /* Gauss-Legendre: points doubled until the sum is the loss change */
} interp_lca_rule;

/* One step. Arrays stay until the next call. Sums run in double. */
typedef struct interp_lca_step_info {
    int64_t step;                   /* from 1, or of the training that is resumed */
    double loss_before, loss_after; /* of all samples */
    double allocated;               /* sum of the allocations */
    double residual;                /* loss_after - loss_before - allocated */
    double interval;                /* half the 95 % confidence interval of the loss change when the
                                        loss is of a random part of the samples; else 0 */
    int splits;                     /* of the path; with Gauss the points */
    bool resolved; /* the residual is within the tolerance, or the rule has no choice */
    double val_before, val_after, val_allocated, val_residual; /* NaN without validation data */
    const double *lca;     /* [parameters]: the allocation, as interp_net_parameters */
    const double *val_lca; /* [parameters]: that of the validation loss; NULL without */
    const float *moved;    /* [parameters]: after - before */
    const double *parts;   /* [n_parts, n_groups + n_directions]: share of each part of the samples
                                        in each sum; NULL unless groups were given */
    const double
        *directions; /* [n_directions + 1]: allocated along each, the rest last; NULL without;
                                        the penalty is not in it */
    const double *part_change; /* [n_parts]: its share of the loss change; NULL like `parts` */
} interp_lca_step_info;

/* Options of loss change allocation. */
typedef struct interp_lca_desc {
    interp_loss loss;     /* 0: cross-entropy */
    interp_lca_rule rule; /* 0: Simpson */
    double tolerance;     /* 0: 1e-3; residual of one step that is borne */
    double relative;      /* 0: none; or this share of the loss change, where that is more */
    int max_splits;       /* 0: 32; even; of Simpson, and points of Gauss */
    const interp_dataset *validation; /* NULL: none; its loss is allocated too */
    interp_mode mode;      /* 0: INTERP_EVAL; INTERP_BATCH_STATS: batch norm by each chunk */
    int chunk;             /* 0: 2048, with batch statistics those that fit 64 MB; samples whose
                                        gradients add up in float32; chunks add up in double */
    int subsample;         /* 0: all; samples drawn anew for each step */
    double l2;             /* 0: none; adds l2 * sum of squares of weights that are not vectors */
    float label_smoothing; /* 0: none */
    const int32_t *groups; /* NULL: none; [parameters]: group of each, for sums by part */
    int n_groups;          /* 0: none; ids are below it */
    const int32_t *parts; /* NULL: the classes; [samples]: part of each, -1: of none; single samples
                                        as parts are the allocations of each example */
    int n_parts;          /* 0: the classes */
    const float *directions; /* NULL: none; [n_directions, parameters]: orthonormal, borrowed */
    int n_directions;        /* 0: none */
    interp_status (*on_step)(const interp_lca_step_info *step, void *user); /* NULL: none */
    void *user; /* NULL: handed to on_step */
    interp_allreduce
        allreduce;        /* NULL: one process; else `data` is this one's part of the samples */
    void *allreduce_user; /* NULL: handed to allreduce */
    uint64_t seed;        /* 0: seed 0; of subsamples */
} interp_lca_desc;

/* An allocation that follows a network's training. */
typedef struct interp_lca interp_lca;

/* Makes one. data: the samples whose loss is allocated, borrowed until it is freed. Memory besides
   one pass: 36 bytes a parameter, 24 more with validation data; for each further thread, up to 16 and
   while they fit, and for parts that are given, 4 and another pass.
   Errors: BAD_ARGUMENT, BAD_SHAPE when net and data do not fit, UNSUPPORTED, NO_MEMORY.
   Tests: allocations_add_up_to_the_loss_change, allocation_survives_every_failing_allocation. */
INTERP_API interp_status interp_lca_new(interp_net *net, const interp_dataset *data,
                                        const interp_lca_desc *desc, interp_lca **lca);
/* Frees one. NULL is allowed. */
INTERP_API void interp_lca_free(interp_lca *lca);

/* The path starts at the parameters as they are. Errors: NOT_FINITE, CANCELLED. */
INTERP_API interp_status interp_lca_begin(interp_lca *lca);

/* The parameters have moved: allocates the loss change from where the last step left them. The net
   is not changed. info: NULL or filled. Errors: BAD_ARGUMENT before interp_lca_begin, NOT_FINITE,
   CANCELLED, after which the path still starts where it did; what on_step returns, the step being
   allocated by then. Allocates nothing.
   Bit-identical at any thread count. Tests: allocations_match_a_double_precision_path,
   quadratic_losses_are_allocated_exactly, a_loop_of_ones_own_allocates_the_same. */
INTERP_API interp_status interp_lca_step(interp_lca *lca, interp_lca_step_info *info);

/* For interp_train_desc.on_step with the allocation as its user: begins, then allocates every step.
   Test: a_loop_of_ones_own_allocates_the_same. */
INTERP_API interp_status interp_lca_on_step(interp_net *net, int64_t step, void *lca);

/* The k orthonormal directions in which the loss is most curved at the net's parameters, at right angles
   to basis [n_basis, parameters]: eigenvectors of the Hessian by Lanczos' steps, each two gradients.
   iterations: 0: 2 k + 20; vectors: [k, parameters]; values: [k], falling. Allocations along them, by
   example, are those of Kangaslahti et al. 2025, with the integral in place of their second-order term.
   Uses the allocation's own memory and iterations + 3 arrays of the parameters' length in float32.
   Errors: BAD_ARGUMENT, also when the loss is flat in all but fewer directions, NO_MEMORY, CANCELLED.
   Tests: curvature_of_a_quadratic_loss_is_known, allocations_along_directions_add_up. */
INTERP_API interp_status interp_lca_curvature(interp_lca *lca, int k, int iterations,
                                              const float *basis, int n_basis, float *vectors,
                                              double *values);

/* How parameters are grouped. */
typedef enum interp_grouping {
    INTERP_BY_VARIABLE, /* each parameter array */
    INTERP_BY_LAYER,    /* arrays of one layer: what their names share before the last dot or slash;
                           without one, the node that reads them */
    INTERP_BY_KIND,     /* weights, biases, normalisation */
    INTERP_BY_NEURON,   /* output unit or channel, with its bias */
    INTERP_BY_INPUT     /* input number of a dense layer that reads the network's input; the others
                           are in one more group */
} interp_grouping;

/* Groups of all parameters. ids: NULL or [parameters]; count: number of groups; of_variable: NULL or
   [interp_net_parameter_count] where the first group of each array goes. Errors: BAD_ARGUMENT for a
   network without such parameters. Test: groups_cover_every_parameter_once. */
INTERP_API interp_status interp_net_groups(const interp_net *net, interp_grouping how, int32_t *ids,
                                           int *count, int32_t *of_variable);

/* Groups by name: arrays in whose names the same match of a pattern is found (see interp_pattern_find)
   are one group, numbered as they come; those without a match are the last group, if there are any.
   "conv|dense" makes groups of kinds of layers, "^block[0-9]+" of blocks. ids, count, of_variable: as
   above. Errors: BAD_ARGUMENT. Test: groups_by_pattern_hold_what_matches_alike. */
INTERP_API interp_status interp_net_groups_match(const interp_net *net, const char *pattern,
                                                 int32_t *ids, int *count, int32_t *of_variable);

/* Name of a group, cut to `size` bytes; "" when there is none. Test: groups_have_names. */
INTERP_API void interp_net_group_name(const interp_net *net, interp_grouping how, int group,
                                      char *name, size_t size);

/* ---- figures over a run */

/* Options of interp_lca_analysis_new. */
typedef struct interp_lca_analysis_desc {
    int steps;       /* 0: not known; else room for so many is made at once */
    bool validation; /* false; true: steps bring validation's allocations too */
    bool inputs;     /* false; true: sums by input of the dense layers that read the network's */
    bool movement;   /* false; true: a control: what parameters moved by, not what they allocated */
    const int32_t *groups; /* NULL: the layers; [parameters]: what stands for layers, copied */
    int n_groups;          /* 0: with the layers; ids are below it */
    int n_parts;           /* 0: none; steps bring `parts`, by layers */
    int sample;            /* 0: 65536; at least 64; allocations kept for interp_lca_tail_fit */
    uint64_t seed;         /* 0: seed 0; of that sample */
} interp_lca_analysis_desc;

/* A run being looked at, step by step. */
typedef struct interp_lca_analysis interp_lca_analysis;

/* Makes one for a network's allocations. Memory: 35 bytes a parameter, 8 more with validation, and for
   each step its sums by layer, neuron and input. desc: NULL takes every default. Errors:
   BAD_ARGUMENT, NO_MEMORY. */
INTERP_API interp_status interp_lca_analysis_new(const interp_net *net,
                                                 const interp_lca_analysis_desc *desc,
                                                 interp_lca_analysis **out);
/* Frees one. NULL is allowed. */
INTERP_API void interp_lca_analysis_free(interp_lca_analysis *analysis);

/* Adds a step; for interp_lca_desc.on_step with the analysis as its user. One pass over the
   parameters. Errors: BAD_ARGUMENT when arrays are missing, NO_MEMORY; the step then counts for nothing.
   Tests: figures_of_a_run_are_those_of_its_array, an_analysis_survives_every_failing_allocation. */
INTERP_API interp_status interp_lca_analysis_step(const interp_lca_step_info *step, void *analysis);

/* Bins on each side of zero. */
#define INTERP_LCA_BINS 2048

/* What has been gathered. Arrays stay until the next step. */
typedef struct interp_lca_run {
    int steps, layers, neurons, inputs, n_parts;
    size_t parameters;
    const int32_t *layer_of, *neuron_of; /* [parameters] */
    const interp_lca_step_info *step;    /* [steps]; without arrays */
    const double *layer;                 /* [steps, layers]: sums */
    const double *val_layer;             /* [steps, layers]; NULL without validation */
    const double *help;                  /* [steps, layers]: sums of what is below zero */
    const uint32_t *helped, *zero;       /* [steps, layers]: parameters below and at zero */
    const double *part_layer;            /* [steps, n_parts, layers]; NULL without parts */
    const double *part_change;           /* [steps, n_parts]; NULL without parts */
    const float *neuron;                 /* [steps, neurons]: sums, biases with their unit */
    const float *input;                  /* [steps, inputs]; NULL when not asked for */
    const double *total, *val_total;     /* [parameters]; val_total NULL without validation */
    const uint32_t *times_helped;        /* [parameters]: steps below zero */
    const uint32_t *times_zero;          /* [parameters]: steps at zero */
    const float *sample;                 /* [n_sample]: allocations at random, alike of all steps */
    size_t n_sample;                     /* numbers of it */
    const uint64_t *bins; /* [2 INTERP_LCA_BINS]: all allocations but zeros, counted */
    double bin_width;     /* their middle edge is zero */
} interp_lca_run;

/* A view of what has been gathered. Test: figures_of_a_run_are_those_of_its_array. */
INTERP_API interp_lca_run interp_lca_analysis_run(const interp_lca_analysis *analysis);

/* Figures of a layer, or of all, over a run of allocations A[step, parameter]; what is below zero helps.
   T[parameter] is the sum over steps. 0/0 is NaN. */
typedef struct interp_lca_figures {
    size_t parameters;
    double total, val_total;   /* sum of A; of validation's, NaN without */
    double overfit;            /* total - val_total: below zero where only training data gained */
    double kind[3];            /* total of weights, biases, normalisation */
    double helped, zero, hurt; /* shares of all A below, at and above zero */
    double helped_of_moved;    /* helped / (helped + hurt) */
    double helped_of_size;     /* sum |A| of what helped / sum |A| */
    double most_helped;        /* largest share of parameters that helped in one step */
    double hurting;            /* share of parameters with T > 0 */
    double gini_help,
        gini_hurt;    /* sum (2 k - n - 1) x[k] / (n sum x) of x = |T| sorted upwards, of the
                                    n parameters that helped, and that hurt */
    double top_share; /* part of all help done by the top 1 % (at least one) of those that helped */
    double needed;    /* smallest share of those that helped that did 90 % of all help */
    double gradient_flips; /* mean over parameters of the steps whose mean gradient along the path
                              has the other sign than the step's before; exact zeros are no sign */
    double weight_turns;   /* the same of the parameter's change: it turns round */
    double lca_flips;      /* the same of A */
    double lca_turns;      /* the same of A's change from step to step: local optima of A */
} interp_lca_figures;

/* Figures of layer `layer`, -1: of all. As Lan et al. 2019 and its code have them, but that flips of
   gradients are those of A / change. Errors: BAD_ARGUMENT, NO_MEMORY. Tests:
   figures_of_a_run_are_those_of_its_array, concentration_of_known_totals. */
INTERP_API interp_status interp_lca_analysis_figures(const interp_lca_analysis *analysis, int layer,
                                                     interp_lca_figures *figures);

/* A heavy-tailed distribution on both sides of zero, the double Weibull:
   density c / (2 s) (|x| / s)^(c - 1) exp(-(|x| / s)^c). */
typedef struct interp_lca_tail {
    double shape, scale; /* c and s; a shape of 1 is Laplace's, below it tails are heavier */
    double distance;     /* of Kolmogorov and Smirnov, between |x| and the fit; 0: the same */
    size_t n;            /* numbers that are finite and not zero */
} interp_lca_tail;

/* Fits it to values[n] by maximum likelihood: c solves
   sum |x|^c log|x| / sum |x|^c - 1/c = mean log|x|, and s^c = mean |x|^c. Fewer than two values that
   are not zero give NaN. Errors: NO_MEMORY. Test: tails_are_found_again. */
INTERP_API interp_status interp_lca_tail_fit(interp_ctx *ctx, const float *values, size_t n,
                                             interp_lca_tail *tail);

/* Options of interp_lca_peaks. */
typedef struct interp_lca_peaks_desc {
    int top;       /* 0: 20; peaks of a series that count */
    int shifts;    /* 0: 999; of the null test */
    int reach;     /* 0: any; else shifts are of at most so many steps either way, which keeps what
                      all series share on the whole, like a loss that falls most in the beginning */
    uint64_t seed; /* 0: seed 0; of the shifts */
} interp_lca_peaks_desc;

/* Whether series peak together. */
typedef struct interp_lca_synchrony {
    int peaks;       /* of all series */
    int coincident;  /* pairs of peaks of different series at one step */
    double expected; /* mean of it when each series is shifted in time by a random number of steps,
                        round the end */
    double p_value;  /* (1 + shifts with as many or more) / (1 + shifts) */
} interp_lca_synchrony;

/* Moments at which series peak, and a test of whether they do so together. A peak is a step whose value
   is below zero and below both its neighbours'; the lowest `top` of each count. series:
   [steps, n_series]; peaks: NULL or [n_series, top], steps from 0 in time's order, -1 where there are
   fewer. Errors: BAD_ARGUMENT, NO_MEMORY. Test: synchrony_is_told_from_chance. */
INTERP_API interp_status interp_lca_peaks(interp_ctx *ctx, const double *series, int steps,
                                          int n_series, const interp_lca_peaks_desc *desc,
                                          int32_t *peaks, interp_lca_synchrony *synchrony);

#ifdef __cplusplus
}
#endif
#endif

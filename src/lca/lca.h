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
    int64_t step;                   /* from 1 */
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
    const double *classes; /* [n_classes, n_groups]: part of each class in each group's sum;
                                        NULL unless groups were given */
} interp_lca_step_info;

/* Sums doubles of all processes that share a run, in place; see interp_lca_desc. */
typedef void (*interp_allreduce)(double *values, size_t n, void *user);

/* Options of loss change allocation. */
typedef struct interp_lca_desc {
    interp_loss loss;     /* 0: cross-entropy */
    interp_lca_rule rule; /* 0: Simpson */
    double tolerance;     /* 0: 1e-3; residual of one step that is borne */
    double relative;      /* 0: none; or this share of the loss change, where that is more */
    int max_splits;       /* 0: 32; even; of Simpson, and points of Gauss */
    const interp_dataset *validation; /* NULL: none; its loss is allocated too */
    interp_mode mode;      /* 0: INTERP_EVAL; INTERP_BATCH_STATS: batch norm by each chunk */
    int chunk;             /* 0: samples of one pass that fit 64 MB, at most 2048 */
    int subsample;         /* 0: all; samples drawn anew for each step */
    double l2;             /* 0: none; adds l2 * sum of squares of weights that are not vectors */
    float label_smoothing; /* 0: none */
    const int32_t *groups; /* NULL: none; [parameters]: group of each, for `classes` */
    int n_groups;          /* 0: none; ids are below it */
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
   one pass: six arrays of the parameters' length, two of them in double; one more of floats and two
   of doubles with validation data.
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
   CANCELLED, what on_step returns; then the path still starts where it did. Allocates nothing.
   Bit-identical at any thread count. Tests: allocations_match_a_double_precision_path,
   quadratic_losses_are_allocated_exactly, a_loop_of_ones_own_allocates_the_same. */
INTERP_API interp_status interp_lca_step(interp_lca *lca, interp_lca_step_info *info);

/* For interp_train_desc.on_step with the allocation as its user: begins, then allocates every step.
   Test: a_loop_of_ones_own_allocates_the_same. */
INTERP_API interp_status interp_lca_on_step(interp_net *net, int64_t step, void *lca);

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

/* Name of a group, cut to `size` bytes; "" when there is none. Test: groups_have_names. */
INTERP_API void interp_net_group_name(const interp_net *net, interp_grouping how, int group,
                                      char *name, size_t size);

#ifdef __cplusplus
}
#endif
#endif

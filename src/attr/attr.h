/* ---- attr: which inputs an output depends on ---------------------------------------------------- */

#if !defined(INTERP_NO_ATTR)
#ifdef __cplusplus
extern "C" {
#endif

/* Attribution methods. f: the target output, x: the input, x0: the baseline. */
typedef enum interp_method {
    INTERP_SALIENCY,             /* |df/dx|, Simonyan et al. 2013 */
    INTERP_INPUT_X_GRADIENT,     /* x df/dx, Shrikumar et al. 2016 */
    INTERP_INTEGRATED_GRADIENTS, /* (x - x0) times the mean gradient between, Sundararajan 2017 */
    INTERP_SMOOTH_GRAD,          /* mean gradient under noise, Smilkov et al. 2017 */
    INTERP_SMOOTH_GRAD_SQ,       /* mean squared gradient under noise, Hooker et al. 2019 */
    INTERP_VAR_GRAD,             /* variance of the gradient under noise, Adebayo et al. 2018 */
    INTERP_METHOD_COUNT
} interp_method;

/* Name of a method as the command line spells it, for example "integrated_gradients". */
INTERP_API const char *interp_method_name(interp_method method);

/* The method called `name`; INTERP_METHOD_COUNT when there is none. */
INTERP_API interp_method interp_method_from_name(const char *name);

/* Which output is explained. */
typedef enum interp_target {
    INTERP_TARGET_PREDICTED, /* the largest output of each sample */
    INTERP_TARGET_CLASS,     /* output `target` for all */
    INTERP_TARGET_LABELS,    /* output targets[i] for sample i */
    INTERP_TARGET_SUM        /* the sum of all outputs */
} interp_target;

/* Rules of integration between baseline and input. All weights sum to 1. */
typedef enum interp_quadrature {
    INTERP_GAUSS_LEGENDRE,
    INTERP_RIEMANN_LEFT,
    INTERP_RIEMANN_RIGHT,
    INTERP_RIEMANN_MIDDLE,
    INTERP_RIEMANN_TRAPEZOID
} interp_quadrature;

/* Options of interp_attribute. */
typedef struct interp_attribute_desc {
    interp_method method;      /* 0: saliency */
    interp_target target_kind; /* 0: the predicted class */
    int target;             /* 0: output 0 with INTERP_TARGET_CLASS; any other implies that kind */
    const int32_t *targets; /* NULL: none; [n] for INTERP_TARGET_LABELS */
    const float *baseline;  /* NULL: zeros; [n_baselines, input] */
    int n_baselines;        /* 0: 1, for all samples; else n, one for each */
    int n_steps;            /* 0: 50; points of the path of integrated gradients */
    interp_quadrature quadrature; /* 0: Gauss-Legendre */
    bool no_multiply;   /* false: integrated gradients times (x - x0); true: the gradient */
    bool keep_sign;     /* false: saliency is absolute; true: the gradient itself */
    int n_samples;      /* 0: 25; noisy copies of the smooth methods */
    float noise_sd;     /* 0: 0.15 times the range of the sample; sd of the noise */
    const float *noise; /* NULL: drawn; [n, n_samples, input] to be added instead */
    uint64_t seed;      /* 0: seed 0; of the noise */
    int batch;          /* 0: 32, or fewer under a memory limit; passes run at once */
} interp_attribute_desc;

/* What is known of one sample's attribution. */
typedef struct interp_attribution {
    int target;             /* the output explained; -1 for the sum */
    double output;          /* f(x) */
    double baseline_output; /* f(x0) */
    double residual; /* sum of the attribution minus (f(x) - f(x0)); 0 for a complete method */
    int passes;      /* forward and backward passes spent on it */
} interp_attribution;

/* Attributes an output of a network with one input to the numbers of that input.
   x: [n, input]; out: [n, input]; report: NULL or [n]. Memory grows by 16 bytes with each step and
   not at all with n_samples. No softmax is added or taken away: the output is explained as it is.
   Errors: BAD_ARGUMENT (a target out of range, a setting), BAD_SHAPE, NOT_FINITE (input, weights),
   NO_MEMORY with the least that would do, CANCELLED. Guarantee: bit-identical for a seed at any
   thread count and batch. Cost: n_steps or n_samples forward and backward passes a sample.
   Matches captum's Saliency, InputXGradient, IntegratedGradients and NoiseTunnel, with trapezoid
   weights that sum to 1. Tests: integrated_gradients_sum_to_the_output_difference,
   gradient_methods_match_the_references. */
INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report);

/* Bytes interp_attribute takes from the context at most, for n samples.
   Test: attribution_bytes_are_a_bound_independent_of_steps. */
INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes);

/* Kinds of baseline. */
typedef enum interp_baseline_kind {
    INTERP_BASELINE_ZERO,
    INTERP_BASELINE_MEAN, /* mean of each sample, per channel */
    INTERP_BASELINE_MIN,  /* smallest number of all samples */
    INTERP_BASELINE_MAX,  /* largest number of all samples */
    INTERP_BASELINE_BLUR, /* each image under a Gaussian of an eighth of its height */
    INTERP_BASELINE_NOISE /* uniform between the smallest and the largest number */
} interp_baseline_kind;

/* Fills out[n, sample] with baselines for x[n, sample]; sample: shape of one. BLUR needs [C,H,W].
   Test: baselines_are_what_they_say. */
INTERP_API interp_status interp_baseline(interp_ctx *ctx, interp_baseline_kind kind, const float *x,
                                         int n, const interp_shape *sample, uint64_t seed,
                                         float *out);

/* Abscissae and weights of a rule on [0,1]; both arrays [n]. BAD_ARGUMENT when n is below 1, or 2
   for the trapezoid; CANCELLED, after which the arrays are not defined. Gauss-Legendre takes a fixed
   number of operations for each point. Tests: quadrature_integrates_polynomials,
   many_gauss_legendre_points_match_the_recurrence. */
INTERP_API interp_status interp_quadrature_rule(interp_ctx *ctx, interp_quadrature rule, int n,
                                                double *at, double *weight);

#if !defined(INTERP_NO_TRAIN)
/* Options of interp_canonical. */
typedef struct interp_canonical_desc {
    int steps;       /* 0: 256 */
    float lr;        /* 0: 0.05 of the range; of Adam */
    float low, high; /* 0: both 0 mean 0 and 1; numbers of the input stay within */
    float tv;        /* 0: 0.3; weight of total variation, in units of the margin; negative: none */
    const interp_dataset *like; /* NULL: none; data like which the inputs shall look */
    float
        l2; /* 0: 0.01, or 0.1 with `like`; pull towards `low`, with `like` towards the mean of each
                 number in units of its standard deviation; negative: none */
    int jitter;    /* 0: 1 pixel each step; negative: none */
    uint64_t seed; /* 0: seed 0; of the start and the jitter */
} interp_canonical_desc;

/* An input for each class that the network takes for that class as surely as can be: gradient ascent
   with Adam on the margin of its logit over log sum exp of the others, with clamping, total variation
   and jitter, from noise over the lower half of the range. Without `like` nothing keeps them near what
   the network was trained on, and many look like noise.
   out: [K, input]; probability: NULL or [K], softmax probability of the class reached, without
   jitter. Errors: as interp_attribute; BAD_SHAPE when `like` does not fit. Cost: `steps` passes over a batch of K.
   Paper: Simonyan et al. 2013; Mahendran and Vedaldi 2015. Test:
   canonical_inputs_reach_their_class, canonical_inputs_look_like_the_data. */
INTERP_API interp_status interp_canonical(interp_net *net, const interp_canonical_desc *desc,
                                          float *out, float *probability);
#endif

#ifdef __cplusplus
}
#endif
#endif /* INTERP_NO_ATTR */

/* ---- attr: which inputs an output depends on ---------------------------------------------------- */

#if !defined(INTERP_NO_ATTR)
#ifdef __cplusplus
extern "C" {
#endif

/* The methods of interp_attribute, as its desc.method; the papers stand beside their names below. Passes: of
   one sample and target, 1 a forward and backward pass. Memory, above the weights and foretold by
   interp_attribute_bytes: F one pass forward of the batch, P one forward and back; nothing grows with steps
   or samples. Matches: what tests hold it against.

   method                              passes                     memory             matches
   saliency, input_x_gradient          1                          P                  captum
   integrated_gradients                n_steps                    P                  captum, completeness
   smooth_grad, smooth_grad_sq         n_samples                  P                  captum, its noise
   var_grad                            n_samples                  P + 2 inputs       its definition
   .. with `base`                      n_samples x the method     the method's       their definitions
   expected_gradients, gradient_shap   n_samples                  P                  captum, its draws
   blur_ig                             n_steps                    P                  completeness
   guided_ig                           n_steps                    P + 3 inputs       completeness
   guided_backprop, deconvolution      1                          P                  captum
   guided_backprop_smooth              1                          P                  its definition
   deep_lift                           2 forward, 1 back          2 P, all values    captum, completeness
   deep_lift_shap                      the same a baseline        2 P, all values    captum
   lrp                                 1 to 5                     P, all values      zennit, conservation
   grad_cam, .._plus_plus, xgrad_cam   1                          P                  pytorch-grad-cam
   layer_cam, hires_cam, eigen_cam     1                          P                  pytorch-grad-cam
   score_cam, ablation_cam             1 forward a channel        F                  pytorch-grad-cam
   guided_grad_cam                     2                          P                  captum
   full_grad                           1                          P, all values      pytorch-grad-cam
   layer_gradient_x_activation         1                          P                  captum
   layer_conductance, .._influence     n_steps                    P                  captum
   neuron_gradient, .._conductance     1, n_steps                 P                  captum
   at a layer, of a neuron (scope)     the method's               the method's       captum, nets cut in two
   occlusion                           1 forward a window         F + early layers   captum
   feature_ablation, .._permutation    1 forward a feature        F + early layers   captum
   shapley_value_exact                 2^M forward, M features    F                  the sum over coalitions
   shapley_value_sampling              n_samples x M forward      F                  captum, its permutations
   kernel_shap, lime                   n_samples forward          F + M x M          captum, its coalitions
   partition_shap                      n_samples forward          F + 48 B a pass    exact values, efficiency
   rise                                n_samples forward          F                  its definition
   anchors                             up to n_samples forward    F                  counting copies */

/* Attribution methods. f: the target output, x: the input, x0: the baseline. */
typedef enum interp_method {
    INTERP_SALIENCY,             /* |df/dx|, Simonyan et al. 2013 */
    INTERP_INPUT_X_GRADIENT,     /* x df/dx, Shrikumar et al. 2016 */
    INTERP_INTEGRATED_GRADIENTS, /* (x - x0) times the mean gradient between, Sundararajan 2017 */
    INTERP_SMOOTH_GRAD,          /* mean gradient under noise, Smilkov et al. 2017 */
    INTERP_SMOOTH_GRAD_SQ,       /* mean squared gradient under noise, Hooker et al. 2019 */
    INTERP_VAR_GRAD,             /* variance of the gradient under noise, Adebayo et al. 2018 */
    INTERP_EXPECTED_GRADIENTS,   /* integrated gradients over random baselines, Erion et al. 2019 */
    INTERP_GRADIENT_SHAP,        /* the same with noise, Lundberg and Lee 2017 */
    INTERP_BLUR_IG,              /* integrated from blurred to sharp, Xu et al. 2020 */
    INTERP_GUIDED_IG,            /* along a path of small gradients, Kapishnikov et al. 2021 */
    INTERP_GUIDED_BACKPROP,      /* ReLU passes what is positive both ways, Springenberg 2014 */
    INTERP_DECONVOLUTION,        /* ReLU passes what is positive on the way back, Zeiler 2014 */
    INTERP_GUIDED_BACKPROP_SMOOTH, /* the same for any activation: the positive gradient times its
                                      derivative where that is positive; ours, for SiLU and GELU */
    INTERP_DEEP_LIFT,              /* contributions of differences, Shrikumar et al. 2017 */
    INTERP_DEEP_LIFT_SHAP,         /* their mean over many baselines, Lundberg and Lee 2017 */
    INTERP_LRP,                    /* relevance handed down layer by layer, Bach et al. 2015 */
    INTERP_GRAD_CAM,               /* channels by mean gradient, Selvaraju et al. 2017 */
    INTERP_GRAD_CAM_PLUS_PLUS,     /* by weighted positive gradients, Chattopadhay et al. 2018 */
    INTERP_XGRAD_CAM,              /* by gradients weighted with activation, Fu et al. 2020 */
    INTERP_LAYER_CAM,              /* positive gradient at each pixel, Jiang et al. 2021 */
    INTERP_HIRES_CAM,              /* gradient at each pixel, Draelos and Carin 2020 */
    INTERP_EIGEN_CAM,              /* first principal component, Muhammad and Yeasin 2020 */
    INTERP_SCORE_CAM,              /* channels by the output of what they show, Wang et al. 2020 */
    INTERP_ABLATION_CAM,           /* by the loss without them, Desai and Ramaswamy 2020 */
    INTERP_GUIDED_GRAD_CAM,        /* guided backprop where Grad-CAM is positive, Selvaraju 2017 */
    INTERP_FULL_GRAD, /* |x df/dx| and |b df/db| of every bias, Srinivas and Fleuret 2019 */
    INTERP_LAYER_GRADIENT_X_ACTIVATION, /* of a layer */
    INTERP_LAYER_CONDUCTANCE,      /* flow through a layer along the path, Dhamdhere et al. 2018 */
    INTERP_INTERNAL_INFLUENCE,     /* mean gradient of a layer along the path, Leino et al. 2018 */
    INTERP_NEURON_GRADIENT,        /* of a neuron of a layer */
    INTERP_NEURON_CONDUCTANCE,     /* flow through one neuron of a layer, the same */
    INTERP_OCCLUSION,              /* f(x) less f without a window, Zeiler and Fergus 2014 */
    INTERP_FEATURE_ABLATION,       /* f(x) less f without a feature, Suresh et al. 2017 */
    INTERP_FEATURE_PERMUTATION,    /* with the feature of another sample, Breiman 2001 */
    INTERP_SHAPLEY_VALUE_EXACT,    /* over all 2^M coalitions of features, Shapley 1953 */
    INTERP_SHAPLEY_VALUE_SAMPLING, /* over random permutations, Castro et al. 2009 */
    INTERP_KERNEL_SHAP,            /* by weighted least squares, Lundberg and Lee 2017 */
    INTERP_LIME,                   /* by a Lasso on random coalitions, Ribeiro et al. 2016 */
    INTERP_PARTITION_SHAP,         /* Owen values over halves of halves, Owen 1977 */
    INTERP_RISE,                   /* mean of random masks weighted by f, Petsiuk et al. 2018 */
    INTERP_ANCHORS, /* the fewest features that hold the prediction, Ribeiro et al. 2018 */
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

/* What is explained, and by what. */
typedef enum interp_scope {
    INTERP_SCOPE_INPUT, /* an output by the numbers of the input */
    INTERP_SCOPE_LAYER, /* an output by the numbers of `layer`: the method takes them, at the input and
                           at the baseline, for its input and its baseline; what goes around the layer
                           stays as at the input */
    INTERP_SCOPE_NEURON /* number `target` of `layer`, instead of an output, by the input */
} interp_scope;

/* Rules of layer-wise relevance propagation, for dense layers and convolutions; z: what a layer makes
   of x, w+ and w-: its positive and negative weights. Elementwise functions and batch norm hand
   relevance on; sums and average pools share it by what each part adds, and so does layer norm, whose
   deviation counts as a constant (Ali et al. 2022). */
typedef enum interp_lrp_rule {
    INTERP_LRP_EPSILON,              /* x w / (z + epsilon sign(z)), Bach et al. 2015 */
    INTERP_LRP_GAMMA,                /* with w + gamma w+, for inputs of any sign; Montavon 2019 */
    INTERP_LRP_ALPHA_BETA,           /* alpha positive part - (alpha - 1) negative part */
    INTERP_LRP_Z_PLUS,               /* the positive part alone, Montavon et al. 2017 */
    INTERP_LRP_FLAT,                 /* evenly over all inputs */
    INTERP_LRP_W_SQUARE,             /* by squared weights */
    INTERP_LRP_Z_BOX,                /* inputs of a known range low..high, Montavon et al. 2017 */
    INTERP_LRP_EPSILON_PLUS,         /* convolutions z-plus, dense layers epsilon */
    INTERP_LRP_EPSILON_PLUS_FLAT,    /* and the first layer flat */
    INTERP_LRP_EPSILON_ALPHA2_BETA1, /* convolutions alpha-beta, dense layers epsilon */
    INTERP_LRP_EPSILON_ALPHA2_BETA1_FLAT, /* and the first layer flat */
    INTERP_LRP_EPSILON_GAMMA_BOX,         /* convolutions gamma, dense epsilon, first layer z-box */
    INTERP_LRP_EXCITATION_BACKPROP,       /* z-plus everywhere, Zhang et al. 2016 */
    INTERP_LRP_PRESET_A, /* epsilon_plus with an epsilon of 0.1; Lapuschkin et al. 2017 */
    INTERP_LRP_PRESET_A_FLAT,
    INTERP_LRP_PRESET_B, /* epsilon_alpha2_beta1 with an epsilon of 0.1 */
    INTERP_LRP_PRESET_B_FLAT,
    INTERP_LRP_DEEP_TAYLOR, /* first layer z-box, all others z-plus, none with bias: relevance is kept
                               but where no input speaks for an output; Montavon et al. 2017 */
    INTERP_LRP_RULE_COUNT
} interp_lrp_rule;

/* The rule of one layer. */
typedef struct interp_lrp_layer {
    const char *layer;    /* required: a dense layer's or a convolution's node, or its output */
    interp_lrp_rule rule; /* 0: epsilon; any but a composite */
} interp_lrp_layer;

/* What a product with a gate, as in squeeze-excite blocks, hands down. */
typedef enum interp_lrp_gate {
    INTERP_LRP_SIGNAL_TAKES_ALL, /* nothing to the gate, Arras et al. 2017 */
    INTERP_LRP_HALF              /* half to each */
} interp_lrp_gate;

/* Options of interp_attribute. */
typedef struct interp_attribute_desc {
    interp_method method;      /* 0: saliency */
    interp_target target_kind; /* 0: the predicted class */
    int target;             /* 0: output 0 with INTERP_TARGET_CLASS; any other implies that kind */
    const int32_t *targets; /* NULL: none; [n] for INTERP_TARGET_LABELS */
    int n_targets; /* 0: one for each sample; K: outputs targets[0 .. K) for every sample, or 0 to
                               K - 1 when these are NULL: results are [n, K, ..], reports [n, K]. Methods of
                               gradients and of rules then go forward once for all of them */
    const float *baseline; /* NULL: zeros; [n_baselines, input], of the input in every scope */
    int n_baselines;       /* 0: 1, for all samples; else n, one for each; methods over a
                               distribution of baselines take any number */
    int n_steps;           /* 0: 50; points of the path of integrated gradients */
    float
        tolerance; /* 0: so many steps; else integrated gradients doubles them, sample by sample, until
                        the residual is no more than this times |f(x) - f(x0)| */
    int max_steps;                /* 0: 32 times n_steps; where doubling ends */
    interp_quadrature quadrature; /* 0: Gauss-Legendre */
    bool
        captum; /* false: weights sum to 1; true: those of the trapezoid to (n - 1) / n, as captum's do */
    bool no_multiply;     /* false: integrated gradients times (x - x0); true: the gradient */
    bool keep_sign;       /* false: saliency is absolute; true: the gradient itself */
    int n_samples;        /* 0: 25, or 5 of gradient_shap; noisy copies, random points, permutations
                             of Shapley sampling; 1 donor of feature_permutation; coalitions of lime
                             50, of kernel_shap 50 or two for each feature, at 2^M all of them;
                             passes of partition_shap 500, of rise 1000, of anchors at most 20000 */
    interp_method base;   /* 0: the gradient; what smooth_grad and its like average, any method but
                             they themselves, on copies with noise on the input */
    float noise_sd;       /* 0: 0.15 times the range of the sample, none for gradient_shap */
    const float *noise;   /* NULL: drawn; [n, n_samples, input] to be added instead, or
                             [n, n_samples, layer] in that scope */
    const float *alphas;  /* NULL: drawn; [n, n_samples] in 0..1, where random points lie */
    const int32_t *draws; /* NULL: drawn; [n, n_samples], which baseline they start from */
    uint64_t seed;        /* 0: seed 0; of what is drawn */
    float fraction;       /* 0: 0.25; share of numbers that guided_ig moves at once */
    float max_blur;       /* 0: 50; blur that blur_ig starts from, in pixels */
    interp_scope scope;   /* 0: outputs by the input; makes a method one of a layer or of neurons */
    const char *layer; /* NULL: none, or for CAMs the last images of 4x4 or more; a node or value */
    int neuron;        /* 0: the first; number of the layer that neuron_conductance goes through */
    bool raw; /* false: CAMs are cut at 0, scaled to 0..1 and as large as the input; parts of
                          full_grad and their sum are scaled so too */
    bool reveal_cancel;   /* false: DeepLIFT by Rescale; true: functions behind dense layers by
                                RevealCancel */
    interp_lrp_rule rule; /* 0: epsilon */
    interp_lrp_gate gate; /* 0: the signal takes all */
    const interp_lrp_layer *layer_rules; /* NULL: none; [n_layer_rules], instead of `rule` there */
    int n_layer_rules;                   /* 0: none */
    float epsilon;           /* 0: 1e-6, of presets 0.1; of LRP, also where another rule divides */
    float gamma;             /* 0: 0.25; of LRP */
    float alpha;             /* 0: 2; of LRP, beta is alpha - 1 */
    float low, high;         /* both 0: range of the samples; of LRP's z-box */
    const int32_t *mask;     /* NULL: none; ids 0..65535, the same for all numbers of one feature */
    interp_shape mask_shape; /* rank 0: that of the input; 1 fits any size, aligned at the end */
    int segments; /* 0: none; features are about so many superpixels of each sample, by interp_slic,
                     unless a mask is given; not those of feature_permutation, which mixes samples */
    int grid[2];  /* 0: none; rows and columns of tiles as features, of each view of inputs
                     [V,C,H,W], unless a mask is given */
    int window[INTERP_MAX_RANK]; /* all 0: of images [..,C,H,W] all channels and an eighth of height
                                    and width, else 1; of occlusion, a size along each dimension */
    int stride[INTERP_MAX_RANK]; /* 0: 1, or half a window that was not given */
    const int32_t *permutations; /* NULL: drawn; [n_samples, M] of Shapley sampling, orders of the M
                                    features, for every sample */
    const int32_t
        *coalitions;     /* NULL: drawn; [n, n_samples, M] of kernel_shap and lime, 1: present */
    float kernel_width;  /* 0: 1; of lime, weights exp(-D^2 / 2 width^2), D the cosine distance */
    float penalty;       /* 0: 0.01; of lime, what the Lasso lays on the size of coefficients */
    float threshold;     /* 0: 0.95; share of copies with an anchor that must keep the prediction */
    int batch;           /* 0: 32, or fewer under a memory limit; passes run at once */
    size_t packed_bytes; /* 0: 64 MiB; weights that are laid out for the kernels once for several
                            passes, of each of the two workspaces that methods with a baseline have */
} interp_attribute_desc;

/* What is known of one sample's attribution. */
typedef struct interp_attribution {
    int target;             /* the output explained; -1 for the sum */
    double output;          /* f(x) */
    double baseline_output; /* f(x0); NAN for methods whose parts add up to nothing, as saliency */
    double residual; /* sum of the attribution minus (f(x) - f(x0)), features of a mask counted
                        once; 0 for a complete method; NAN where parts do not add up to anything:
                        gradients, maps, windows, rise, lime, anchors. Of lrp the sum minus f(x); of
                        full_grad x . df/dx + b . df/db minus f(x), 0 for nets of pieces that are
                        linear */
    double precision, coverage; /* of an anchor, which is 1 where it holds a feature and else 0: the
                                   share of random copies with it that keep the target largest, and
                                   of all random copies that contain it;
                                   precision is below the threshold where passes ran out */
    int steps;                  /* that integrated gradients took, 0 for methods without a path */
    int passes;                 /* forward and backward passes spent on it */
    int nodes; /* that were changed by guided_backprop and deconvolution: none without ReLU or ReLU6 */
} interp_attribution;

/* Attributes an output of a network with one input to the numbers of that input, or as `scope` says.
   x: [n, input]; out: [n, input], or the shape of interp_attribute_shape; report: NULL or [n]. Memory
   grows by 16 bytes with each step, by 48 with each pass of partition_shap, by 24 with each feature of
   a mask, by 8 with each window, and not at all with other samples or perturbations. No softmax is
   added or taken away: the output is explained as it is.
   Errors: BAD_ARGUMENT (a target out of range, a setting), BAD_SHAPE, NOT_FINITE (input, weights,
   result), NO_MEMORY with the least that would do, CANCELLED. Guarantee: bit-identical for a seed at
   any thread count and batch. Cost: n_steps or n_samples forward and backward passes a sample;
   perturbations go forward only: once for each window, feature, draw, or 2^M coalitions. Windows of
   images and features in small boxes run only what they reach, through convolutions and pools of the
   early layers, where memory suffices (else they are the same but for rounding); all else is kept from
   one pass. Inputs [V,C,H,W] are V views: where the layer of a map is one of the calls of a part on each, or
   has a row for each in its batch, every view has its map, scaled together; this costs V calls.
   Matches captum's Saliency, InputXGradient, IntegratedGradients and NoiseTunnel, with trapezoid
   weights that sum to 1; Occlusion, FeatureAblation, ShapleyValues, ShapleyValueSampling, KernelShap
   and Lime with the same draws. Tests: integrated_gradients_sum_to_the_output_difference,
   gradient_methods_match_the_references, many_targets_are_what_each_is_alone,
   perturbations_match_the_references, random_nets_give_the_same_with_less_work,
   anchors_are_the_fewest_features_that_hold, kernel_shap_of_all_coalitions_equals_exact_shapley,
   views_have_maps_of_their_own. */
INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report);

/* Shape of one sample's attribution, which is that of the input, of the layer (of V views in its batch V
   times that), or [H,W] or [V,H,W] of a map.
   layer: NULL or where the name of the layer goes, NULL when the method has none.
   Errors as interp_attribute. Test: layers_are_chosen_and_named. */
INTERP_API interp_status interp_attribute_shape(interp_net *net, const interp_attribute_desc *desc,
                                                interp_shape *shape, const char **layer);

/* Number of features M that a perturbation method tells apart: those of the mask, each number without
   one, or tiles of images (8 a side for kernel_shap, lime and anchors, 3 for exact Shapley values, 16 for the
   others where there are more than 4096 numbers). Each number of a feature gets the feature's value.
   0 for methods without features. Errors as interp_attribute.
   Test: masks_broadcast_and_features_are_counted. */
INTERP_API interp_status interp_attribute_features(interp_net *net,
                                                   const interp_attribute_desc *desc, int *count);

/* The same call again and again, for one picture after the other: plans, memory and the weights as the
   kernels read them, within packed_bytes, stay from one run to the next, which for methods of few passes
   is a third of the time. Occlusion and ablations, targets that run one by one and segments begin anew. */
typedef struct interp_attributor interp_attributor;

/* Makes one for n samples at a time. What desc points at is read by every run: targets, baselines, noise,
   draws and masks of as many features may hold other numbers then. It and the net, whose parameters must
   not change, outlive the attributor.
   Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY. Test: attributors_say_what_attribute_says. */
INTERP_API interp_status interp_attributor_new(interp_net *net, int n,
                                               const interp_attribute_desc *desc,
                                               interp_attributor **out);

/* Attributes x[n, input] as interp_attribute does, to the same bits; after an error the next run is as if
   there had been none. Test: attributors_say_what_attribute_says. */
INTERP_API interp_status interp_attributor_run(interp_attributor *attributor, const float *x,
                                               float *out, interp_attribution *report);

/* a may be NULL. */
INTERP_API void interp_attributor_free(interp_attributor *a);

/* Bytes that one takes from the context at most, its runs with it.
   Test: attributors_say_what_attribute_says. */
INTERP_API interp_status interp_attributor_bytes(interp_net *net, int n,
                                                 const interp_attribute_desc *desc, size_t *bytes);

/* Options of interp_slic. */
typedef struct interp_slic_desc {
    int segments; /* 0: 64; at most so many */
    float
        compactness; /* 0: 10; how much distances count against colours, whose largest range over the
                          image is 100 */
    int iterations;  /* 0: 10 */
} interp_slic_desc;

/* Superpixels of an image [C,H,W], or [..,H,W] with more planes: connected, by k-means over place and
   numbers as they are (no conversion to CIELAB). ids: [H,W], 0 up in the order of their first pixels,
   as masks are; count: NULL or how many. Deterministic. Errors: BAD_ARGUMENT, NOT_FINITE, NO_MEMORY.
   Cost: iterations times 16 visits of each pixel. Paper: Achanta et al. 2012. Test:
   superpixels_are_connected_and_follow_edges. */
INTERP_API interp_status interp_slic(interp_ctx *ctx, const float *image, const interp_shape *shape,
                                     const interp_slic_desc *desc, int32_t *ids, int *count);

/* Bytes interp_attribute takes from the context at most, for n samples.
   Test: attribution_bytes_are_a_bound_independent_of_steps. */
INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes);

/* Options of interp_tcav. */
typedef struct interp_tcav_desc {
    const char *layer;         /* required: whose numbers the concept is sought in */
    interp_target target_kind; /* 0: the predicted class */
    int target;                /* 0: as in interp_attribute_desc */
    const int32_t *targets;    /* NULL: none; [n] */
    const float *examples;     /* required: [n_examples, input], of the concept */
    int n_examples;            /* required: at least 2 */
    const float *random;       /* required: [n_random, input], of anything else */
    int n_random;              /* required: at least 4 */
    int splits;                /* 0: 20; classifiers, each with another half of the examples */
    float penalty; /* 0: 0.01; of the ridge classifier, in units of the examples' variance */
    uint64_t seed; /* 0: seed 0 */
    int batch;     /* 0: 32, or fewer under a memory limit */
} interp_tcav_desc;

/* Whether outputs grow along a concept; means over the splits. */
typedef struct interp_tcav_result {
    double score;        /* share of samples whose output grows along the concept */
    double score_sd;     /* and its standard deviation */
    double random_score; /* the same for one half of the random examples against the other */
    double random_sd;
    double magnitude; /* share of the size of derivatives that is of positive ones */
    double
        accuracy; /* of the classifiers on the halves they have not seen: a concept that the layer
                         does not know is near chance, and its score means nothing */
    double p;     /* two-sided Welch test that both scores have one mean */
} interp_tcav_result;

/* Tests whether the outputs of x[n, input] grow along a concept, given by examples: the share of samples
   whose df/da . w is positive, a the numbers of a layer and w the normal of a ridge classifier of
   concept against random examples.
   cav: NULL or [layer], the direction from all examples, of length 1. Memory: the layer's numbers for
   every example. Splits share examples, which makes p smaller than it would be with sets of their own.
   Errors: as interp_attribute; BAD_ARGUMENT with too few examples. Guarantee: bit-identical for a seed at
   any thread count and batch. Paper: Kim et al. 2018. Tests:
   tcav_tells_a_concept_from_chance, tcav_p_is_that_of_welchs_test. */
INTERP_API interp_status interp_tcav(interp_net *net, const float *x, int n,
                                     const interp_tcav_desc *desc, interp_tcav_result *out,
                                     float *cav);

/* How good the attribution of a sample is. A pixel is a number of each channel of an image [C,H,W], and
   a single number of other inputs; its relevance is the sum. NAN: not asked for. */
typedef struct interp_scores {
    int target;             /* the output that was explained; -1 for the sum */
    double output;          /* f(x) */
    double completeness;    /* sum of the attribution minus (f(x) - f(x0)) */
    double infidelity;      /* mean square of (sum of noise times attribution) minus what the output
                               loses when the noise is taken off the input; Yeh et al. 2019 */
    double max_sensitivity; /* largest relative change of the attribution within a box around the
                               input; Yeh et al. 2019 */
    double deletion;      /* area under the output as the most relevant pixels are removed first */
    double insertion;     /* and as they are put into the baseline first; Petsiuk et al. 2018 */
    double road;          /* output when least relevant pixels go first minus most relevant first,
                               halved; holes are filled by what is around; Rong et al. 2022 */
    double flipping;      /* mean loss of output as the most relevant pixels are mirrored at the
                             middle of the sample's range; Bach et al. 2015, Samek et al. 2017 */
    double irof;          /* and as the segments of the largest mean relevance get the mean of their
                             channel, all of them in turn; Rieger and Hansen 2020 */
    double sensitivity_n; /* correlation of the relevance of random pixels with the loss of output
                             without them; Ancona et al. 2018 */
    double sparseness;    /* Gini index of magnitudes, 0 even to 1; Chalasani et al. 2020 */
    double complexity;    /* entropy of magnitudes in nats; Bhatt et al. 2020 */
    double pointing;      /* 1 when the most relevant pixel is on the object, of several the share;
                             Zhang et al. 2016 */
    double mass;          /* share of the positive relevance on the object; Arras et al. 2022 */
    double rank;          /* share of the object's number of most relevant pixels that are on it */
    double randomisation; /* rank correlation of magnitudes with the attribution of the network with
                               parameters drawn anew: near 0 is right; Adebayo et al. 2018 */
    double invariance; /* relative change of the attribution when the input grows by a constant that
                             the first layer's bias takes away again: 0 is right; Kindermans et al.
                             2019. NAN where it cannot, as behind padding */
} interp_scores;

/* Shares of pixels that ROAD removes: 10 to 90 %. */
enum { INTERP_ROAD_LEVELS = 9 };

/* Options of interp_attribution_score. */
typedef struct interp_score_desc {
    interp_target target_kind; /* 0: the predicted class */
    int target;             /* 0: output 0 with INTERP_TARGET_CLASS; any other implies that kind */
    const int32_t *targets; /* NULL: none; [n] */
    const float *baseline;  /* NULL: zeros; what removed pixels become */
    int n_baselines;        /* 0: 1, for all samples; else n */
    const interp_attribute_desc
        *method;                /* NULL: no max_sensitivity, randomisation, invariance; else
                                            how the attribution was made, but for the targets */
    const unsigned char *mask;  /* NULL: none; [n, pixels], not 0 where the object is */
    int steps;                  /* 0: 32; parts of the curves */
    int n_perturbations;        /* 0: 10; of infidelity and max_sensitivity */
    float perturbation_sd;      /* 0: 0.03; of infidelity's normal noise */
    const float *perturbations; /* NULL: drawn; [n, n_perturbations, input] */
    float radius;               /* 0: 0.02; of max_sensitivity's box; negative: none */
    float shift;                /* 0: 1; constant of invariance */
    int n_subsets;              /* 0: 50; of sensitivity_n */
    int subset;                 /* 0: a tenth; pixels of each of them */
    const int32_t *segments;    /* NULL: tiles of images, 8 a side, or 64 runs; else
                                            [pixels], numbers from 0 on; of irof */
    uint64_t seed;              /* 0: seed 0 */
    int batch;                  /* 0: 32, or fewer */
} interp_score_desc;

/* Measures attribution[n, input] of x[n, input]. out: [n]; curves: NULL or
   [n, 2 (steps + 1) + 2 INTERP_ROAD_LEVELS], outputs along deletion and insertion from 0 to all
   pixels, and along ROAD, most and least relevant first. A map [H,W] of a method is measured with its
   values in one channel, or shared by all.
   Errors: as interp_attribute; NOT_FINITE for the attribution; BAD_SHAPE for methods of layers.
   Guarantee: bit-identical at any thread count and batch; parameters are as they were afterwards.
   Cost: n_perturbations + 3 steps + n_subsets + 20 and, for each segment, 1 forward passes a sample, and
   n_perturbations + 2 times the method where it is given. Tests: infidelity_matches_the_reference,
   scores_of_a_linear_network_have_closed_forms, evaluation_tells_good_attributions_from_bad,
   maps_are_judged_by_attributing_again, segments_and_subsets_are_as_given,
   constants_that_a_bias_takes_away_change_gradients_nowhere, equal_relevance_is_shared_out,
   cancelled_scores_change_nothing. */
INTERP_API interp_status interp_attribution_score(interp_net *net, const float *x, int n,
                                                  const float *attribution,
                                                  const interp_score_desc *desc, interp_scores *out,
                                                  float *curves);

/* In which order the layers of a network are drawn anew. */
typedef enum interp_cascade {
    INTERP_CASCADE_TOP_DOWN,   /* the last layer, then the one before it too, down to the first */
    INTERP_CASCADE_BOTTOM_UP,  /* the first layer, then the one behind it too */
    INTERP_CASCADE_INDEPENDENT /* each layer alone */
} interp_cascade;

/* Options of interp_attribution_randomise. */
typedef struct interp_randomise_desc {
    const interp_attribute_desc
        *method;          /* NULL: saliency; the target of the network as it is stays */
    interp_cascade order; /* 0: top down */
    uint64_t seed;        /* 0: seed 0 */
} interp_randomise_desc;

/* How much of an attribution depends on what each layer has learned (model parameter randomisation,
   Adebayo et al. 2018): layer after layer gets parameters from normal distributions of their own mean and
   deviation, and the attribution is made again. layers: [*n_layers] of the network's nodes, those that
   interp_net_node gives parameters to, in the order they are drawn in; correlation: [*n_layers, n], rank
   correlation of magnitudes with the attribution of the network as it is, for each of x[n, input]; both with
   room for all nodes. Parameters are as they were afterwards. Errors: as interp_attribute; UNSUPPORTED
   for networks without parameters of their own; BAD_ARGUMENT for several targets. Cost: the method once and
   once for each layer. Tests: layers_drawn_anew_change_attributions_of_what_they_have_learned,
   cancelled_randomisation_changes_nothing. */
INTERP_API interp_status interp_attribution_randomise(interp_net *net, const float *x, int n,
                                                      const interp_randomise_desc *desc,
                                                      int *n_layers, int *layers,
                                                      double *correlation);

/* Kinds of baseline. */
typedef enum interp_baseline_kind {
    INTERP_BASELINE_ZERO,
    INTERP_BASELINE_MEAN, /* mean of each sample, per channel of each view */
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

/* ---- mode: which label a network gets wrong, in which layer, and inputs that mend it -------- */

#if !defined(INTERP_NO_MODE) && !defined(INTERP_NO_TRAIN)
#ifdef __cplusplus
extern "C" {
#endif

/* Model debugging by differential state comparison (Ma et al. 2018, "MODE: Automated Neural Network
   Model Debugging via State Differential Analysis and Input Selection"): labels that do badly are
   found, then the layer at which they are lost, by models of its features; heat maps of that layer
   say how inputs that are taken for a label differ from those that should be; and inputs to train
   on next are selected by them. The test data has no part in it: it is only measured on. */

/* ---- how alike a sample and a heat map are */

/* Measures: name, and the other name that goes. Distances are interp_distance, 0/0 being 0.
   The earth mover's is that of the numbers as a sample, mean |sorted x - sorted h|, which does not
   see where they are; in two dimensions it is interp_earth_mover_2d of pictures, brought to at most
   8x8, in their pixels. RANDOM is no likeness at all: what selection by label alone gives. */
#define INTERP_MODE_METRIC_LIST(X)                                                                 \
    X(DOT, "dot", "product") /* sum x h; the larger the more alike */                              \
    X(COSINE, "cosine", "cos")                                                                     \
    X(MANHATTAN, "manhattan", "l1")                                                                \
    X(EUCLIDEAN, "euclidean", "l2")                                                                \
    X(MINKOWSKI, "minkowski", "lp")                                                                \
    X(CHEBYSHEV, "chebyshev", "linf")                                                              \
    X(EARTH_MOVER, "earthmover", "wasserstein")                                                    \
    X(CANBERRA, "canberra", "cb")                                                                  \
    X(BRAY_CURTIS, "braycurtis", "bc")                                                             \
    X(EARTH_MOVER_2D, "earthmover2d", "emd")                                                       \
    X(RANDOM, "random", "none")

/* Names of the measures, from INTERP_MODE_METRIC_LIST. */
typedef enum interp_mode_metric {
#define INTERP_MODE_METRIC_ENUM(name, text, alias) INTERP_MODE_##name,
    INTERP_MODE_METRIC_LIST(INTERP_MODE_METRIC_ENUM)
#undef INTERP_MODE_METRIC_ENUM
        INTERP_MODE_METRIC_COUNT
} interp_mode_metric;

/* "dot", "cosine" ...; NULL when there is none. */
INTERP_API const char *interp_mode_metric_name(interp_mode_metric metric);
/* The measure of a name or of its other name; INTERP_MODE_METRIC_COUNT when there is none. */
INTERP_API interp_mode_metric interp_mode_metric_find(const char *name);

/* Measures samples x[n, shape] against a map [shape]; p: of minkowski, 0: 3; out: [n]. Errors:
   BAD_ARGUMENT (p below 1, RANDOM), BAD_SHAPE when EARTH_MOVER_2D gets no pictures [C,H,W], whose
   channels add up, NO_MEMORY. In double; bit-identical at any thread count. Tests:
   metrics_match_scipy, an_identical_sample_is_most_alike. */
INTERP_API interp_status interp_mode_compare(interp_ctx *ctx, const float *x, int n,
                                             const interp_shape *shape, const float *map,
                                             interp_mode_metric metric, float p, double *out);

/* Places of values[n] in the order of the measure, the most alike first, equals by place; NaN comes
   last. Test: an_identical_sample_is_most_alike. */
INTERP_API interp_status interp_mode_order(interp_ctx *ctx, interp_mode_metric metric,
                                           const double *values, int n, int *order);

/* ---- diagnosis */

/* Options of interp_mode_diagnose. */
typedef struct interp_mode_diagnose_desc {
    double theta; /* 0: 0.92; a label with lower accuracy on both sets is under-fitted */
    double gamma; /* 0: 0.1; one with more accuracy on the training data by this is over-fitted */
} interp_mode_diagnose_desc;

/* One label. */
typedef struct interp_mode_label {
    int train_n, val_n;                  /* samples */
    double train_accuracy, val_accuracy; /* NaN without samples */
    bool underfit, overfit;
} interp_mode_label;

/* What is wrong with a network. */
typedef struct interp_mode_diagnosis {
    int n_classes;
    interp_mode_label *labels;           /* [K] */
    double train_accuracy, val_accuracy; /* of all samples */
    int underfit; /* the under-fitted label with the lowest accuracy in validation; -1: none */
    int overfit;  /* the over-fitted one with the largest gap; -1: none */
    int64_t *train_counts, *val_counts; /* [K,K]: row truth, column prediction */
} interp_mode_diagnosis;

/* Accuracies by label and what they say. Free with interp_mode_diagnosis_free. desc: NULL takes
   every default. Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY, NOT_FINITE, CANCELLED. Test:
   labels_are_diagnosed_on_both_sets. */
INTERP_API interp_status interp_mode_diagnose(interp_net *net, const interp_dataset *train,
                                              const interp_dataset *validation,
                                              const interp_mode_diagnose_desc *desc,
                                              interp_mode_diagnosis *out);
/* Frees one and clears it. */
INTERP_API void interp_mode_diagnosis_free(interp_ctx *ctx, interp_mode_diagnosis *diagnosis);

/* ---- the layer */

/* When the outputs of feature models have stopped to change from layer to layer. */
typedef enum interp_mode_saturation {
    INTERP_MODE_BY_DISTANCE, /* their mean squared Hellinger distance is within the threshold */
    INTERP_MODE_BY_ACCURACY  /* their accuracies in validation are */
} interp_mode_saturation;

/* Options of interp_mode_select_layer. */
typedef struct interp_mode_layer_desc {
    bool backward; /* false: the first layer that the next one adds nothing to; true: from the
                      end, the last one that adds to the one before it */
    interp_mode_saturation saturation; /* 0: by distance */
    double threshold;                  /* 0: 0.01 */
    double ridge;     /* 0: 1e-3; penalty of the feature models, of the features' mean square */
    int max_features; /* 0: 512; of more, planes are averaged over a grid; what is still more is
                         folded: each number goes to one of them with a random sign */
    int max_samples;  /* 0: 10000; of the training data that the models are made of, at random */
    uint64_t seed;    /* 0: seed 0; of those */
} interp_mode_layer_desc;

/* One layer's feature model: class probabilities linear in its features, by least squares. */
typedef struct interp_mode_layer {
    const char *name; /* of the node, borrowed from the network */
    int node;         /* see interp_net_node */
    int features;     /* of a sample */
    double train_accuracy, val_accuracy;
    double distance; /* of its outputs in validation from those of the layer before, 0 to 1; NaN
                        for the first */
} interp_mode_layer;

/* The layers of a network, in order. */
typedef struct interp_mode_layers {
    interp_mode_layer *layer; /* [n] */
    int n, n_classes;
    int selected;           /* of them */
    double *label_accuracy; /* [n, K]: in validation; NaN without samples */
    float *weights; /* [features + 1, K]: feature model of the selected layer, constant last */
} interp_mode_layers;

/* Feature models of every layer, and the layer to look at. Layers are outputs of nodes with
   parameters, activations, pools and residual sums, each with the normalisation and activation
   behind it; dropout and changes of shape are none. Free with interp_mode_layers_free. desc: NULL
   takes every default. Cost: a pass over both sets, and features^2 a sample and layer; memory of
   features^2 a layer. Errors: BAD_ARGUMENT, BAD_SHAPE, UNSUPPORTED without layers, NO_MEMORY,
   NOT_FINITE, CANCELLED. Bit-identical at any thread count. Tests:
   saturation_selects_the_layer_before_an_identity, feature_models_are_ridge_regressions,
   convolutions_have_layers_too. */
INTERP_API interp_status interp_mode_select_layer(interp_net *net, const interp_dataset *train,
                                                  const interp_dataset *validation,
                                                  const interp_mode_layer_desc *desc,
                                                  interp_mode_layers *out);
/* Frees them and clears the struct. */
INTERP_API void interp_mode_layers_free(interp_ctx *ctx, interp_mode_layers *layers);

/* The mean over samples of 1 - sum sqrt(a b): the squared Hellinger distance of probabilities a,
   b[n,k]. Test: hellinger_distances_are_known. */
INTERP_API double interp_mode_hellinger(const float *a, const float *b, int n, int k);

/* ---- heat maps */

/* What a neuron's importance to a label is. */
typedef enum interp_mode_importance {
    INTERP_MODE_ACTIVATION, /* its number */
    INTERP_MODE_WEIGHT,     /* its number times the feature model's weight for the label */
    INTERP_MODE_GRADIENT    /* its number times the gradient of the label's output */
} interp_mode_importance;

/* Options of interp_mode_heat_maps. */
typedef struct interp_mode_maps_desc {
    const char *layer;                 /* NULL: the input itself; name of a node */
    interp_mode_importance importance; /* 0: activation; of the input, WEIGHT is not there */
    const float *weights;              /* NULL: none; as interp_mode_layers.weights, for WEIGHT */
    int max_features; /* 0: 512; as in interp_mode_layer_desc; the input stays as it is */
    bool swapped;     /* false: by definition; true: HMI and HWI change places, as in the
                         replication at github.com/fabriceyhc/mode_nn_debugging */
} interp_mode_maps_desc;

/* Heat maps: means over samples, label by label. Those without samples are zero. */
typedef struct interp_mode_maps {
    int n_classes;
    interp_shape shape;         /* of one map: of the input, [C,h,w] of planes, or [d] */
    size_t size;                /* numbers of one map */
    float *hci;                 /* [K, size]: inputs of the label that are classified right */
    float *hmi;                 /* [K, size]: inputs of other labels that are mistaken for it */
    float *hwi;                 /* [K, size]: inputs of the label that are mistaken for others */
    float *dhmi, *dhwi;         /* [K, size]: hmi - hci, hwi - hci; zero where one has no samples */
    int *n_hci, *n_hmi, *n_hwi; /* [K]: samples */
    int node;                   /* of the layer; -1: the input */
    interp_mode_importance importance; /* as asked for */
    int max_features;                  /* as asked for */
    float *weights;                    /* [size, K] of WEIGHT; else NULL */
} interp_mode_maps;

/* Heat maps over a data set, from the network's own predictions. Free with interp_mode_maps_free.
   desc: NULL takes every default. Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY, NOT_FINITE,
   CANCELLED. Tests: heat_maps_follow_the_confusion_table, gradient_maps_are_finite_differences. */
INTERP_API interp_status interp_mode_heat_maps(interp_net *net, const interp_dataset *data,
                                               const interp_mode_maps_desc *desc,
                                               interp_mode_maps *out);
/* Frees them and clears the struct. */
INTERP_API void interp_mode_maps_free(interp_ctx *ctx, interp_mode_maps *maps);

/* DHCI: hci of label `a` less that of `b`; out: [size]. Test: heat_maps_follow_the_confusion_table.
   */
INTERP_API void interp_mode_dhci(const interp_mode_maps *maps, int a, int b, float *out);

/* ---- selection of inputs */

/* What inputs are looked for. Samples are measured in the same terms as the maps are made of. A
   difference of maps is met by the difference of the likenesses to them, which for the dot product
   is the product with the differential map. */
typedef enum interp_mode_choice {
    INTERP_MODE_WRONG,    /* of the label, like HWI and unlike HCI: DHWI */
    INTERP_MODE_TYPICAL,  /* of the label, like HCI */
    INTERP_MODE_UNIQUE,   /* of the label, like its HCI and unlike that of the label it is mixed up
                             with most: DHCI */
    INTERP_MODE_MISTAKEN, /* of other labels, like HMI and unlike HCI: DHMI */
    INTERP_MODE_UNTYPICAL /* of the label, unlike HCI */
} interp_mode_choice;

/* "wrong", "typical" ...; NULL when there is none. */
INTERP_API const char *interp_mode_choice_name(interp_mode_choice choice);

/* Options of interp_mode_select_inputs. */
typedef struct interp_mode_select_desc {
    int label;                 /* needed: the label to mend */
    int rival;                 /* needed for UNIQUE: the label it is mixed up with most */
    int samples;               /* 0: 2000; to select */
    double alpha;              /* 0: 0.25; negative: none; share of them by likeness, the others at
                                  random from all that is left */
    interp_mode_metric metric; /* 0: dot */
    float p;                   /* 0: 3; of minkowski */
    interp_mode_choice choice; /* 0: like what is wrong */
    uint64_t seed;             /* 0: seed 0; of the random part */
} interp_mode_select_desc;

/* Selects inputs from a pool without replacement: used [pool->n] says which are gone, and those
   selected are marked in it. indices: [samples], by likeness first; score: NULL or [samples], how
   well each fits, NaN for random ones; targeted, n: how many by likeness, and in all, fewer when
   the pool ends. Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY, CANCELLED; nothing is marked then.
   Tests: a_pool_gives_each_input_once, selection_takes_the_most_alike. */
INTERP_API interp_status interp_mode_select_inputs(interp_net *net, const interp_dataset *pool,
                                                   const interp_mode_maps *maps,
                                                   const interp_mode_select_desc *desc,
                                                   unsigned char *used, int *indices, double *score,
                                                   int *targeted, int *n);

/* The share of targeted inputs that a diagnosis calls for: three quarters of the share of
   validation's errors that are made on samples of the label, at least 1 / K; label -1: of all
   labels at fault. Test: alpha_follows_the_share_of_errors. */
INTERP_API double interp_mode_alpha(const interp_mode_diagnosis *diagnosis, int label);

/* A pool made larger: data, and `copies` of it changed by `augment` at random. Free with
   interp_dataset_free. Errors: BAD_ARGUMENT, NO_MEMORY. Test: augmented_pools_keep_labels. */
INTERP_API interp_status interp_mode_augment_pool(interp_ctx *ctx, const interp_dataset *data,
                                                  const interp_augment_desc *augment, int copies,
                                                  uint64_t seed, interp_dataset *out);

/* ---- training rounds */

/* A way of selecting inputs. */
typedef struct interp_mode_arm {
    interp_mode_metric metric;         /* 0: dot */
    float p;                           /* 0: 3; of minkowski */
    interp_mode_choice choice;         /* 0: like what is wrong; for under-fitted labels */
    interp_mode_choice overfit_choice; /* 0: like what is wrong; for over-fitted labels */
    interp_mode_importance importance; /* 0: activation */
    bool input;        /* false: heat maps of a layer's neurons; true: of the input */
    const char *layer; /* NULL: selected anew in each round; name of a node */
    bool one_label;    /* false: inputs for all labels at fault, each by its share of their errors;
                          true: for the one that is worst */
    double alpha; /* 0: by interp_mode_alpha, anew in each round; negative: none, all at random */
} interp_mode_arm;

/* What training rounds work with. Sets must not share samples; only `test` may be NULL. */
typedef struct interp_mode_sets {
    const interp_dataset *train;      /* what the network was trained on */
    const interp_dataset *validation; /* what is wrong with it is found here */
    const interp_dataset *pool;       /* what may be selected */
    const interp_dataset *test;       /* measured on, never looked at */
} interp_mode_sets;

/* One round of one arm. */
typedef struct interp_mode_round {
    int arm, round;           /* arm -1: the control; round 0: before the first */
    int label;                /* the worst at fault; -1: none was, or the control */
    bool overfit;             /* whether it was over-fitted, not under-fitted */
    int layer;                /* node whose heat maps were used; -1: the input */
    double alpha;             /* share of targeted inputs asked for */
    int targeted, selected;   /* inputs by likeness; in all */
    int pool_used, pool_left; /* of the arm's own pool, after the round; they add up to its size */
    double val_accuracy;      /* after the round */
    double accuracy;          /* on the test data after the round; NaN without */
    const double *val_label_accuracy, *label_accuracy; /* [K] of each */
    double seconds;
} interp_mode_round;

/* Options of interp_mode_train. */
typedef struct interp_mode_train_desc {
    interp_train_desc train; /* 0: 3 epochs of batches of 32; of each round; no validation */
    int rounds;              /* 0: 5; most */
    int samples;             /* 0: 2000; selected in each */
    bool forget; /* false: rounds train on all that was selected so far; true: on their own alone,
                    as the replication does */
    int replay;  /* 0: twice `samples`; negative: none; training samples, drawn anew in each, that
                    are trained on besides */
    const interp_mode_arm *arms; /* NULL: one of all defaults */
    int n_arms;                  /* 0: 1 */
    int keep; /* 0: the network ends as the first arm left it; -1: as the control */
    interp_mode_diagnose_desc diagnose; /* 0: its defaults */
    interp_mode_layer_desc layers;      /* 0: its defaults */
    uint64_t seed;                      /* 0: seed 0; of all random choices */
    interp_status (*on_round)(const interp_mode_round *round, void *user); /* NULL: none; an error
                                                                              ends it */
    void *user; /* NULL: handed to on_round */
} interp_mode_train_desc;

/* What came of it. */
typedef struct interp_mode_result {
    interp_mode_round *round; /* [n_arms + 1, rounds + 1]: the control first, each from before its
                                 first round; those not run are repeats of the last */
    int *run;                 /* [n_arms + 1]: rounds each has run */
    int n_arms, rounds, n_classes;
    double *accuracies; /* what the rounds' arrays lie in */
} interp_mode_result;

/* Mends a network by rounds of diagnosis, selection and training, beside a control whose inputs are
   selected at random from the whole pool: as many of them, with the same settings, from the same
   start, and each arm with its own copy of the pool. An arm stops when no label is at fault. Under-
   fitted labels come first, the lowest first, then over-fitted ones; each round diagnoses anew.
   Free with interp_mode_result_free. desc: NULL takes every default. Errors: those of interp_train
   and the calls above; the network is then as it was. Memory: copies of the parameters, of the
   samples that the last round trains on and a byte a pool sample, besides that of training and of
   feature models, whichever is more. Bit-identical at any thread count. Tests:
   rounds_keep_account_of_the_pool, the_control_is_the_same_whatever_the_arms,
   a_starved_label_is_mended. */
INTERP_API interp_status interp_mode_train(interp_net *net, const interp_mode_sets *sets,
                                           const interp_mode_train_desc *desc,
                                           interp_mode_result *out);
/* Frees it and clears the struct. */
INTERP_API void interp_mode_result_free(interp_ctx *ctx, interp_mode_result *result);

#ifdef __cplusplus
}
#endif
#endif

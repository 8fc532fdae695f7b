/* ---- net: networks as graphs of ops, training, metrics ---------------------------------------- */

#ifdef __cplusplus
extern "C" {
#endif

/* A network: a graph of ops with its parameters. Read-only once built, except to training; it may
   then be shared by contexts in other threads, each with a workspace of its own. */
typedef struct interp_net interp_net;

/* A value of the graph under construction; 0 is none. Builders given a 0 return 0, so that the
   first error, kept by the net, is what interp_net_build reports. */
typedef int interp_tensor;

/* Starts an empty network. NULL when memory ran out. Shapes below name N batch, C channels, H
   height, W width, K classes; layout is NCHW, row-major, float32. */
INTERP_API interp_net *interp_net_new(interp_ctx *ctx, const char *name);

/* Frees a network. NULL is allowed. */
INTERP_API void interp_net_free(interp_net *net);

/* Adds an input of [N, sample]: `sample` is the shape of one sample. name NULL: "input". */
INTERP_API interp_tensor interp_input(interp_net *net, const char *name,
                                      const interp_shape *sample);

/* Initial values of weights. */
typedef enum interp_init {
    INTERP_INIT_DEFAULT,    /* He normal before rectifiers and in general */
    INTERP_HE_NORMAL,       /* sd sqrt(2 / fan_in), He et al. 2015 */
    INTERP_HE_UNIFORM,      /* +- sqrt(6 / fan_in) */
    INTERP_GLOROT_NORMAL,   /* sd sqrt(2 / (fan_in + fan_out)), Glorot and Bengio 2010 */
    INTERP_GLOROT_UNIFORM,  /* +- sqrt(6 / (fan_in + fan_out)) */
    INTERP_UNIFORM,         /* +- 1 / sqrt(fan_in) */
    INTERP_TRUNCATED_NORMAL /* sd 0.1, redrawn beyond two sd */
} interp_init;

/* Options of interp_dense. */
typedef struct interp_dense_desc {
    const char *name; /* NULL: "dense1", "dense2", ... */
    interp_init init; /* 0: He normal */
    bool no_bias;     /* false: a bias, starting at 0 */
} interp_dense_desc;

/* Fully connected: x[..., d] W[d, units] + b. Inputs of [N,C,H,W] are flattened first when they
   have more than three dimensions. */
INTERP_API interp_tensor interp_dense(interp_net *net, interp_tensor x, int units,
                                      const interp_dense_desc *desc);

/* Options of interp_conv2d. */
typedef struct interp_conv2d_desc {
    int channels;    /* 0: as many as the input has; output channels */
    int kernel[2];   /* 0: 3 and, for the second, the first; height, width */
    int stride[2];   /* 0: 1 and, for the second, the first */
    int dilation[2]; /* 0: 1 and, for the second, the first */
    int pad[4];      /* 0: none; top, left, bottom, right */
    bool same;       /* false: `pad` counts; true: output is input / stride, the extra at the end */
    int groups;      /* 0: 1; the number of input channels makes it depthwise */
    interp_init init; /* 0: He normal */
    bool no_bias;     /* false: a bias, starting at 0 */
    const char *name; /* NULL: "conv1", "conv2", ... */
} interp_conv2d_desc;

/* Cross-correlation of [N,C,H,W]. Errors (kept): BAD_SHAPE when groups do not divide the channels
   or the window is larger than the padded input. */
INTERP_API interp_tensor interp_conv2d(interp_net *net, interp_tensor x,
                                       const interp_conv2d_desc *desc);

/* Kinds of pooling. */
typedef enum interp_pool {
    INTERP_POOL_MAX,
    INTERP_POOL_AVERAGE,
    INTERP_POOL_GLOBAL_AVERAGE, /* to [N,C,1,1] */
    INTERP_POOL_GLOBAL_MAX      /* to [N,C,1,1] */
} interp_pool;

/* Options of interp_pool2d. */
typedef struct interp_pool2d_desc {
    interp_pool kind;       /* 0: max */
    int kernel[2];          /* 0: 2 and, for the second, the first */
    int stride[2];          /* 0: the kernel */
    int pad[4];             /* 0: none; top, left, bottom, right */
    bool same;              /* false: `pad` counts; true: output is input / stride */
    bool ceil_mode;         /* false: a window that would overhang is left out */
    bool count_include_pad; /* false: averages count real pixels only */
    const char *name;       /* NULL: "pool1", ... */
} interp_pool2d_desc;

/* Pooling of [N,C,H,W]. */
INTERP_API interp_tensor interp_pool2d(interp_net *net, interp_tensor x,
                                       const interp_pool2d_desc *desc);

/* Elementwise functions of one argument. */
typedef enum interp_activation {
    INTERP_RELU,
    INTERP_LEAKY_RELU,   /* alpha 0.01 below 0 */
    INTERP_ELU,          /* alpha 1 */
    INTERP_SELU,         /* Klambauer et al. 2017 */
    INTERP_SOFTPLUS,     /* log(1 + exp x) */
    INTERP_SIGMOID,      /* 1 / (1 + exp -x) */
    INTERP_TANH,         /* tanh x */
    INTERP_SILU,         /* x sigmoid(x), also called swish */
    INTERP_GELU,         /* x Phi(x) by erf */
    INTERP_GELU_TANH,    /* its tanh approximation */
    INTERP_HARD_SWISH,   /* x clip(x/6 + 1/2, 0, 1) */
    INTERP_HARD_SIGMOID, /* clip(alpha x + beta, 0, 1), 0.2 and 0.5 */
    INTERP_RELU6         /* clip(x, 0, 6) */
} interp_activation;

/* y = f(x). alpha 0: the constant beside the name above. */
INTERP_API interp_tensor interp_activate(interp_net *net, interp_tensor x, interp_activation kind,
                                         float alpha);

/* interp_activate with INTERP_RELU. */
INTERP_API interp_tensor interp_relu(interp_net *net, interp_tensor x);

/* Options of interp_batch_norm and interp_layer_norm. */
typedef struct interp_norm_desc {
    float epsilon;    /* 0: 1e-5 */
    float momentum;   /* 0: 0.9; share of the old running statistics kept at each step */
    const char *name; /* NULL: "bn1", "ln1", ... */
} interp_norm_desc;

/* Batch normalisation over N, H, W (Ioffe and Szegedy 2015), with running statistics for use. */
INTERP_API interp_tensor interp_batch_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc);

/* Layer normalisation over the last dimension (Ba et al. 2016). */
INTERP_API interp_tensor interp_layer_norm(interp_net *net, interp_tensor x,
                                           const interp_norm_desc *desc);

/* Softmax over dimension `axis` (negative: from the end). */
INTERP_API interp_tensor interp_softmax(interp_net *net, interp_tensor x, int axis);

/* Log-softmax over dimension `axis` (negative: from the end). */
INTERP_API interp_tensor interp_log_softmax(interp_net *net, interp_tensor x, int axis);

/* Elementwise with broadcasting from the right, as in NumPy. */
INTERP_API interp_tensor interp_add(interp_net *net, interp_tensor a, interp_tensor b);
/* a - b, as interp_add. */
INTERP_API interp_tensor interp_sub(interp_net *net, interp_tensor a, interp_tensor b);
/* a b, as interp_add. */
INTERP_API interp_tensor interp_mul(interp_net *net, interp_tensor a, interp_tensor b);
/* a / b, as interp_add. */
INTERP_API interp_tensor interp_div(interp_net *net, interp_tensor a, interp_tensor b);

/* A constant of any shape, copied. */
INTERP_API interp_tensor interp_constant(interp_net *net, const interp_shape *shape,
                                         const float *x);

/* A trainable parameter of any shape, drawn by `init` with the given fans. name NULL: "param1". */
INTERP_API interp_tensor interp_parameter(interp_net *net, const char *name,
                                          const interp_shape *shape, interp_init init, int fan_in,
                                          int fan_out);

/* Joins n tensors along `axis`. */
INTERP_API interp_tensor interp_concat(interp_net *net, int n, const interp_tensor *x, int axis);

/* Same numbers, other shape: 0 keeps a dimension, -1 takes what is left. Dimension 0 is the batch. */
INTERP_API interp_tensor interp_reshape(interp_net *net, interp_tensor x,
                                        const interp_shape *shape);

/* [N, everything else]. */
INTERP_API interp_tensor interp_flatten(interp_net *net, interp_tensor x);

/* Dimension i of the result is dimension perm[i] of x; as many entries as x has dimensions. */
INTERP_API interp_tensor interp_transpose(interp_net *net, interp_tensor x, const int *perm);

/* `length` entries of dimension `axis` from `start`; with `drop` and length 1 the dimension goes. */
INTERP_API interp_tensor interp_slice(interp_net *net, interp_tensor x, int axis, int start,
                                      int length, bool drop);

/* In training each number is 0 with probability `p`, and the rest are divided by 1 - p. */
INTERP_API interp_tensor interp_dropout(interp_net *net, interp_tensor x, float p);

/* Matrix product of the last two dimensions; those before broadcast. */
INTERP_API interp_tensor interp_matmul(interp_net *net, interp_tensor a, interp_tensor b);

/* Multi-head self-attention (Vaswani et al. 2017) of x[N,T,D]: four dense layers, softmax of
   q k^T / sqrt(D / heads), built from matmul, softmax and transpose. Errors (kept): BAD_SHAPE when
   heads do not divide D. */
INTERP_API interp_tensor interp_self_attention(interp_net *net, interp_tensor x, int heads);

/* What leads from `from` to `to` once more, on x, with the same parameters and running statistics:
   layer NAME becomes NAME@2, NAME@3, ... Gives what stands for `to`. Errors (kept): BAD_ARGUMENT
   when `to` does not depend on `from`, BAD_SHAPE when x does not fit.
   Test: a_part_called_again_shares_its_parameters. */
INTERP_API interp_tensor interp_reuse(interp_net *net, interp_tensor from, interp_tensor to,
                                      interp_tensor x);

/* Names a value as the network's output; call again for more. */
INTERP_API void interp_output(interp_net *net, interp_tensor x, const char *name);

/* Ends construction: checks, draws the parameters from `seed`. Returns the first error made while
   building, whose sentence interp_error gives. */
INTERP_API interp_status interp_net_build(interp_net *net, uint64_t seed);

/* A ready network by name: "linear"; "mlp" (one hidden layer of 64), "mlp:784-100-50-10" (any widths;
   first and last must fit); "cnn", "lenet", "allcnn", "vgg-half"; "resnet20", "resnet18", "resnet50";
   "lenet:20-40-400", "allcnn:96-192-192", "vgg-half:32-64-128-128-256-256-512-512" and
   "resnet20:16-32-64-16-32-64" (stages, then between the convolutions of their blocks) with other
   widths in these places; "mobilenet-v2"; "efficientnet-b0" to "-b3"; "vit-tiny" (patches of 16 at 224 pixels, smaller for
   smaller images). "multiview:resnet18" (any of these names) is one backbone called on each view of
   samples [V,C,H,W], its last layer with a ReLU the head of every view, then a classifier of their
   mean; "multiview-concat:NAME" one of all side by side. sample: shape of one input; n_classes:
   outputs (logits). Sizes follow the data. Errors: BAD_ARGUMENT for an unknown name or widths that
   do not fit, BAD_SHAPE for inputs too small.
   Tests: every_architecture_builds_runs_and_differentiates, architectures_have_the_published_sizes,
   architectures_take_other_widths, architectures_learn_and_survive_the_round_trip. */
INTERP_API interp_status interp_net_arch(interp_ctx *ctx, const char *arch,
                                         const interp_shape *sample, int n_classes, uint64_t seed,
                                         interp_net **net);

/* What a network is made of. */
typedef struct interp_net_info {
    int n_nodes, n_inputs, n_outputs;
    size_t n_parameters; /* trainable */
    size_t n_buffers;    /* running statistics and constants */
    double macs;         /* multiply-adds of one sample, forward */
} interp_net_info;

/* Counts. */
INTERP_API interp_net_info interp_net_describe(const interp_net *net);

/* Shape of one sample of input i; dimension 0 of the network, the batch, left out. */
INTERP_API interp_shape interp_net_input_shape(const interp_net *net, int i);

/* Shape of one sample of output i. */
INTERP_API interp_shape interp_net_output_shape(const interp_net *net, int i);

/* Names of input i, output i, node i and of its op. */
INTERP_API const char *interp_net_input_name(const interp_net *net, int i);
/* Name of output i. */
INTERP_API const char *interp_net_output_name(const interp_net *net, int i);
/* Name of node i, in order of execution. */
INTERP_API const char *interp_net_node_name(const interp_net *net, int i);
/* Name of the op of node i, as ONNX has it. */
INTERP_API const char *interp_net_node_op(const interp_net *net, int i);
/* Shape of one sample of what node i gives. */
INTERP_API interp_shape interp_net_node_shape(const interp_net *net, int i);

/* What the numbers of input i stand for; they are given as float32 whatever it is. */
INTERP_API interp_dtype interp_net_input_dtype(const interp_net *net, int i);
/* What the numbers of output i stand for; they come as float32 whatever it is. */
INTERP_API interp_dtype interp_net_output_dtype(const interp_net *net, int i);

/* Place of input i among those of the file it was read from, counting inputs that were given as known
   numbers when it was loaded. */
INTERP_API int interp_net_input_place(const interp_net *net, int i);

/* Whether input i is [..,H,W,C] in the file it was read from and [..,C,H,W] here: see
   interp_onnx_load_desc.channels_first. */
INTERP_API bool interp_net_input_is_turned(const interp_net *net, int i);

/* Whether the network has no batch: its inputs have different first dimensions, or none. Then the
   shapes of a sample are those of everything, and the batch is 1. */
INTERP_API bool interp_net_is_whole(const interp_net *net);

/* One node of a network. */
typedef struct interp_node_info {
    const char *name, *op; /* as interp_net_node_name and interp_net_node_op */
    interp_shape shape;    /* of one sample of what it gives */
    size_t n_parameters;   /* trainable numbers that it is the first to read */
    double macs;           /* multiply-adds of one sample, forward */
    size_t bytes;          /* of one sample of what it gives; 0: the numbers of its input again */
    int n_sources;         /* inputs of the network and nodes that it reads */
    int kernel[2], stride[2], groups; /* of convolutions and pools; 0: it has none */
} interp_node_info;

/* Node i, in order of execution. The sums over nodes are those of interp_net_describe.
   Test: nodes_add_up_to_the_network. */
INTERP_API interp_node_info interp_net_node(const interp_net *net, int i);

/* Source k of node i: an earlier node, or -1 - j for input j of the network; the number of nodes when
   there is none. Test: nodes_add_up_to_the_network. */
INTERP_API int interp_net_node_source(const interp_net *net, int i, int k);

/* What output i comes from: a node, or -1 - j for input j; the number of nodes for a constant. */
INTERP_API int interp_net_output_source(const interp_net *net, int i);

/* The batch size the network was exported with, 0 when it takes any. */
INTERP_API int interp_net_fixed_batch(const interp_net *net);

/* All trainable parameters in the order they were made, one flat array of n_parameters; NULL for a
   network loaded in place. */
INTERP_API float *interp_net_parameters(interp_net *net);

/* One trainable parameter. */
typedef struct interp_parameter_info {
    const char *name;
    interp_shape shape;
    size_t offset; /* into interp_net_parameters and gradients */
} interp_parameter_info;

/* Number of trainable parameter arrays. */
INTERP_API int interp_net_parameter_count(const interp_net *net);
/* Parameter array i. */
INTERP_API interp_parameter_info interp_net_parameter(const interp_net *net, int i);

/* ---- running */

/* Memory for running a network on batches of one size. */
typedef struct interp_workspace interp_workspace;

/* How ops that differ between use and training behave. */
typedef enum interp_mode {
    INTERP_EVAL,       /* running statistics, no dropout */
    INTERP_TRAIN,      /* batch statistics, which update the running ones; dropout */
    INTERP_BATCH_STATS /* batch statistics, nothing updated, no dropout */
} interp_mode;

/* Options of a workspace. */
typedef struct interp_workspace_desc {
    int batch;          /* 0: 1 */
    interp_mode mode;   /* 0: INTERP_EVAL */
    bool input_grads;   /* false: no gradients of inputs */
    bool param_grads;   /* false: no gradients of parameters */
    const char *output; /* NULL: the first output; name of the value to differentiate */
    const char *keep;   /* NULL: none; name of a node or value whose numbers and gradient to keep */
    bool keep_grad;     /* false: the gradient of `keep` only beside others; true: always */
    bool keep_all;      /* false: memory of values no longer needed is reused */
    bool
        keep_for_back; /* false: only what gradients are made of stays until the backward pass; true:
                           inputs and outputs of all nodes do, for other rules than gradients */
    bool
        many_back; /* false: one backward pass after each forward pass; true: any number of them, which
                       takes more memory */
    uint64_t seed;         /* 0: 0; of dropout, drawn anew by every pass */
    bool constant_weights; /* false: parameters may change between passes; true: they stay, and are
                              laid out for the kernels once, which takes as much memory again */
    size_t packed_bytes;   /* 0: of all of them; of so many bytes at most, backward first */
    bool no_winograd;      /* false: as the context's; true: a pixel's sums have one order, whatever
                              the size of the image around it */
    int plain_nodes;       /* 0: none; so many of the first nodes do without Winograd */
    bool small_winograd;   /* false: images of less than 12x12 go by F(2x2, 3x3) or the plain order;
                              true: by F(4x4, 3x3) too, which pays where weights are read for 8 or
                              more samples at a time.
                              Test: small_images_go_by_winograd_on_request */
} interp_workspace_desc;

/* Bytes that a workspace takes from the context, exactly, by running its layout without memory.
   Errors as interp_workspace_new. Test: workspace_bytes_are_exact. */
INTERP_API interp_status interp_workspace_bytes(interp_ctx *ctx, const interp_net *net,
                                                const interp_workspace_desc *desc, size_t *bytes);

/* The largest batch up to `most` whose workspace fits what the context's memory limit leaves;
   desc->batch does not count, a network's fixed batch does. 0 with the error set when not even the
   smallest fits: the sentence says how many bytes would do.
   Test: predict_splits_batches_to_keep_the_memory_limit. */
INTERP_API int interp_workspace_fit(interp_ctx *ctx, const interp_net *net,
                                    const interp_workspace_desc *desc, int most);

/* Makes a workspace on `ctx`, which may be another context than the net's.
   Errors: BAD_ARGUMENT for names that are not there, BAD_SHAPE, NO_MEMORY. */
INTERP_API interp_status interp_workspace_new(interp_ctx *ctx, const interp_net *net,
                                              const interp_workspace_desc *desc,
                                              interp_workspace **workspace);

/* Frees a workspace. NULL is allowed. */
INTERP_API void interp_workspace_free(interp_workspace *workspace);

/* Runs the network forward. inputs: one pointer per input, [batch, sample] each, which must stay
   until the backward pass is done. Allocates nothing. */
INTERP_API interp_status interp_forward(interp_workspace *workspace, const float *const *inputs);

/* Runs backward from the differentiated value. seed: its gradient, [batch, output]. Once after each
   interp_forward, whose numbers it overwrites, or as often as wanted with many_back. Allocates nothing.
   Errors: BAD_ARGUMENT without a forward pass before it. Test: gradients_match_central_differences. */
INTERP_API interp_status interp_backward(interp_workspace *workspace, const float *seed);

/* Numbers of output i after a forward pass: [batch, output]. */
INTERP_API const float *interp_workspace_output(const interp_workspace *workspace, int i);
/* Numbers of the differentiated value. */
INTERP_API const float *interp_workspace_target(const interp_workspace *workspace);
/* Numbers per sample of the differentiated value. */
INTERP_API size_t interp_workspace_target_size(const interp_workspace *workspace);
/* Gradient of input i after a backward pass, NULL without input_grads. */
INTERP_API const float *interp_workspace_input_grad(const interp_workspace *workspace, int i);
/* Gradient of all parameters as one flat array, NULL without param_grads. */
INTERP_API float *interp_workspace_param_grad(const interp_workspace *workspace);
/* Numbers of the value named by `keep`, NULL without. */
INTERP_API const float *interp_workspace_kept(const interp_workspace *workspace);
/* Gradient of the value named by `keep`, NULL without. */
INTERP_API const float *interp_workspace_kept_grad(const interp_workspace *workspace);
/* Shape of the value named by `keep`, batch first. */
INTERP_API interp_shape interp_workspace_kept_shape(const interp_workspace *workspace);

/* Runs samples x[n, input] through a network with one input, in pieces that fit the memory limit;
   y: [n, output]. Errors: BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY with the least that would do, NOT_FINITE
   when outputs are NaN or infinite. Test: predict_splits_batches_to_keep_the_memory_limit. */
INTERP_API interp_status interp_predict(interp_net *net, const float *x, int n, float *y);

/* ---- metrics */

/* Counts of what was predicted for what, and the figures that follow from them. 0/0 counts as 0. */
typedef struct interp_confusion {
    int n_classes;
    int64_t *counts;                 /* [K,K]: row truth, column prediction */
    double accuracy;                 /* share on the diagonal */
    double *precision, *recall, *f1; /* [K] */
    int64_t *support;                /* [K]: samples of each class */
    double macro[3], weighted[3];    /* means of precision, recall, f1: plain; by support */
} interp_confusion;

/* Fills a confusion matrix from labels truth[n] and predicted[n], both 0..n_classes-1; its arrays
   belong to the context. Errors: BAD_ARGUMENT for a label out of range. Test:
   confusion_rows_are_truth_and_columns_predictions. */
INTERP_API interp_status interp_confusion_count(interp_ctx *ctx, const int32_t *truth,
                                                const int32_t *predicted, int n, int n_classes,
                                                interp_confusion *out);

/* How a confusion matrix is scaled. */
typedef enum interp_normalize {
    INTERP_NORMALIZE_NONE,
    INTERP_NORMALIZE_TRUE, /* rows sum to 1 */
    INTERP_NORMALIZE_PRED, /* columns sum to 1 */
    INTERP_NORMALIZE_ALL   /* everything sums to 1 */
} interp_normalize;

/* out[K,K] = scaled counts; rows or columns without samples stay 0. */
INTERP_API void interp_confusion_normalize(const interp_confusion *confusion, interp_normalize how,
                                           double *out);

/* Index of the largest of x[n]; the first of equals, -1 when all are NaN. */
INTERP_API int interp_argmax(const float *x, int n);

#if !defined(INTERP_NO_STDIO)
/* Writes counts and the per-class figures as CSV, then their means as rows "macro" and "weighted".
   class_names: NULL: numbers. Test: confusion_is_written_as_csv. */
INTERP_API interp_status interp_confusion_write_csv(interp_ctx *ctx, const char *path,
                                                    const interp_confusion *confusion,
                                                    char *const *class_names);
#endif

#if !defined(INTERP_NO_TRAIN)
/* ---- training */

/* Losses; all are means over the samples of a batch. */
typedef enum interp_loss {
    INTERP_CROSS_ENTROPY, /* softmax cross-entropy of logits with labels or soft labels */
    INTERP_MSE,           /* mean of squares over outputs; labels count as one-hot */
    INTERP_BCE            /* sigmoid cross-entropy, mean over outputs; labels count as one-hot */
} interp_loss;

/* Optimisers. */
typedef enum interp_optimizer {
    INTERP_ADAM,   /* Kingma and Ba 2015 */
    INTERP_ADAMW,  /* Loshchilov and Hutter 2019 */
    INTERP_SGD,    /* with momentum when that is set */
    INTERP_RMSPROP /* Tieleman and Hinton 2012 */
} interp_optimizer;

/* How the learning rate goes over a training. */
typedef enum interp_schedule {
    INTERP_CONSTANT,
    INTERP_STEP_DECAY, /* times `decay` at each epoch of `milestones` */
    INTERP_COSINE,     /* down to 0 over all steps, Loshchilov and Hutter 2017 */
    INTERP_LINEAR      /* straight down to 0 over all steps */
} interp_schedule;

/* Settings of its own for parameters whose name begins with a match of `layer`. The first rule that fits
   counts. Tests: a_layer_learns_by_an_optimiser_of_its_own, rules_are_about_names_by_pattern. */
typedef struct interp_layer_rule {
    const char *layer; /* needed; a pattern, see interp_pattern_find: "dense1[.]", "conv|bn" */
    const interp_optimizer *optimizer; /* NULL: the training's; beta2 is then that one's default */
    bool constant_lr;                  /* false; true: the schedule is not for it */
    float lr;                          /* 0: the training's; times the schedule */
    float momentum;                    /* 0: the training's; negative: none */
    float weight_decay;                /* 0: the training's; negative: none */
    int64_t freeze_from; /* 0: never; else the first step (from 1) at which it no longer learns */
    int delay; /* 0: none; learns from the gradient of so many steps before, and not before
                            there is one; takes as many arrays of its parameters' length, and
                            goes with no checkpoint. Test: a_delayed_layer_learns_from_the_past */
} interp_layer_rule;

/* One line of a training's history. */
typedef struct interp_epoch {
    int epoch;                         /* from 1 */
    double train_loss, train_accuracy; /* mean over the epoch's batches, as trained */
    double val_loss, val_accuracy;     /* NaN without validation data */
    double learning_rate, seconds;
} interp_epoch;

/* Options of training. Random choices come from `seed` alone. */
typedef struct interp_train_desc {
    int epochs;                         /* 0: 10 */
    int batch;                          /* 0: 64 */
    interp_loss loss;                   /* 0: cross-entropy */
    interp_optimizer optimizer;         /* 0: Adam */
    float lr;                           /* 0: 1e-3; SGD: 1e-2 */
    float momentum;                     /* 0: none (SGD, RMSProp) */
    bool nesterov;                      /* false: classical momentum */
    float beta1, beta2;                 /* 0: 0.9 and 0.999; beta2 of RMSProp: 0.99 */
    float epsilon;                      /* 0: 1e-8 */
    float weight_decay;                 /* 0: none; not applied to biases and normalisation */
    bool decay_all;                     /* false: see weight_decay; true: every parameter decays */
    interp_schedule schedule;           /* 0: constant */
    int milestones[8];                  /* 0: none; epochs (from 1) after which step decay acts */
    float decay;                        /* 0: 0.1; factor of step decay */
    int warmup_steps;                   /* 0: none; the rate rises in a straight line */
    float clip_norm;                    /* 0: none; largest norm of the whole gradient */
    float label_smoothing;              /* 0: none */
    const interp_layer_rule *rules;     /* NULL: none */
    int n_rules;                        /* 0: none */
    const interp_augment_desc *augment; /* NULL: none */
    bool no_shuffle;                    /* false: a new order every epoch */
    uint64_t seed;                      /* 0: seed 0; order, augmentation, dropout */
    const interp_dataset *validation;   /* NULL: none */
    int patience;                       /* 0: never stop early; epochs without a better val_loss */
    bool restore_best;     /* false: keep the last; true: end with the best validated */
    interp_epoch *history; /* NULL: none; room for `epochs` lines */
    int (*on_epoch)(const interp_epoch *epoch, bool is_best, void *user); /* NULL: none; else
                                         non-zero ends the training after this epoch */
    interp_status (*on_step)(interp_net *net, int64_t step,
                             void *user); /* NULL: none; called before
                                         the first step, with the steps made so far, and after each;
                                         an error ends the training with it */
    void *on_step_user;                   /* NULL: handed to on_step */
    float *
        gradient; /* NULL: not; [parameters]: where the mean gradient of each step's samples goes before
                        on_step, as it was before delay, clipping and decay. Test:
                        a_step_shows_its_gradient */
    void *user;             /* NULL: handed to on_epoch */
    const char *checkpoint; /* NULL: none; file to resume from if it is there, written each epoch;
                               FORMAT when it is of another network, optimizer, seed or data */
} interp_train_desc;

/* What came of a training. */
typedef struct interp_train_result {
    int epochs;     /* run, those of resumed checkpoints included */
    int best_epoch; /* by val_loss (train_loss without validation), from 1 */
    double train_loss, train_accuracy, val_loss, val_accuracy; /* of the last epoch */
    double seconds;
} interp_train_result;

/* Trains a network on a data set. Bit-identical for a seed at any thread count. The progress hook
   is first called when all memory is taken and nothing is changed yet; cancelled later, the network
   keeps the state of its last step.
   result: NULL or filled. Errors: BAD_SHAPE when data and net do not fit, BAD_ARGUMENT, NOT_FINITE
   when the loss is (the parameters keep their last finite state), CANCELLED, IO, NO_MEMORY.
   Tests: training_learns_xor, training_is_bit_identical_at_any_thread_count,
   training_steps_allocate_nothing, training_resumes_bit_identically,
   training_can_be_cancelled_before_and_after_any_step. */
INTERP_API interp_status interp_train(interp_net *net, const interp_dataset *data,
                                      const interp_train_desc *desc, interp_train_result *result);

/* One's own loop: a trainer holds the optimiser's state and a workspace. */
typedef struct interp_trainer interp_trainer;

/* Makes a trainer; `desc` fields about epochs, data and validation do not count. total_steps: for
   schedules, 0 when there are none. */
INTERP_API interp_status interp_trainer_new(interp_net *net, const interp_train_desc *desc,
                                            int64_t total_steps, interp_trainer **trainer);
/* Frees a trainer. NULL is allowed. */
INTERP_API void interp_trainer_free(interp_trainer *trainer);

/* One step on x[n, input], n at most the batch size. y: [n] labels, or NULL with soft: [n, outputs]
   targets. loss, n_right: NULL or the mean loss and how many were classified right, before the
   step. Errors: NOT_FINITE leaves the parameters as they were. Allocates nothing. */
INTERP_API interp_status interp_trainer_step(interp_trainer *trainer, const float *x,
                                             const int32_t *y, const float *soft, int n,
                                             double *loss, int *n_right);

/* Figures of a network on a data set. */
typedef struct interp_evaluation {
    double loss, accuracy; /* means; accuracy is NaN without labels */
    int32_t *predicted;    /* NULL, or [n] where the classes go */
    float *outputs;        /* NULL, or [n, outputs] where the logits go */
} interp_evaluation;

/* Evaluates: set `predicted` and `outputs` to receive them. The progress hook is asked once, when all
   memory is taken. */
INTERP_API interp_status interp_evaluate(interp_net *net, const interp_dataset *data,
                                         interp_loss loss, interp_evaluation *out);

/* Mean loss and its gradient: logits[n,k], labels y[n] or soft[n,k]; grad: NULL or [n,k]; per_sample:
   NULL or [n]. Labels must be 0..k-1. The sum runs in double. */
INTERP_API double interp_loss_grad(interp_ctx *ctx, interp_loss loss, const float *logits, int n,
                                   int k, const int32_t *y, const float *soft, float smoothing,
                                   float *grad, double *per_sample);

/* ---- ensembles: the same network trained many times */

/* Sums doubles of all processes that share a run, in place; see interp_lca_desc. */
typedef void (*interp_allreduce)(double *values, size_t n, void *user);

/* What many trainings came to. Free it with interp_ensemble_free. */
typedef struct interp_ensemble {
    int models, n_snapshots, n_test, n_classes;
    size_t parameters;
    float *weights; /* [models, n_snapshots, parameters] */
    float
        *probabilities; /* [models, n_test, n_classes]: softmax of the outputs; NULL without test */
    double *test_loss;  /* [models] */
    uint8_t *done;      /* [models] */
} interp_ensemble;

/* Options of interp_ensemble_train. */
typedef struct interp_ensemble_desc {
    int models; /* needed */
    interp_status (*build)(interp_ctx *ctx, int model, interp_net **net,
                           void *user); /* needed; makes a network with its first weights, on the
                                           context it is given; called from several threads */
    interp_train_desc
        train; /* 0: its defaults; of each; the order of samples of model i comes from its seed and i;
                                history, gradient, checkpoint and on_epoch do not count */
    const int *snapshots; /* NULL: none; [n_snapshots]: epochs after which weights are kept, 0:
                                before the first */
    int n_snapshots;      /* 0: none */
    const interp_dataset *test;    /* NULL: none; what the trained networks predict for */
    const interp_ensemble *resume; /* NULL: none; models that are done in it are taken over */
    interp_status (*on_round)(const interp_ensemble *so_far,
                              void *user); /* NULL: none; after every few models, to save them; its
                                              error ends the work */
    int rank, ranks; /* 0: one process; else this one trains models rank, rank + ranks.. */
    interp_allreduce allreduce; /* NULL: one process; else everybody has all results in the end */
    void *allreduce_user;       /* NULL: handed to allreduce */
    void *user;                 /* NULL: handed to build and on_round */
} interp_ensemble_desc;

/* Trains many networks on data. Small ones, of up to 1,024 parameters, of dense and convolutional
   layers, pooling, functions of one number, softmax, sums and dropout, with the cross-entropy and without
   augmentation, smoothing, clipping and validation, are trained sixteen at a time, one in each lane of
   the vectors; others one for each thread at a time. Every model depends on its number and the seed
   alone: the same at any number of threads and processes; only where the limit leaves no room for
   sixteen are small ones trained one by one, which rounds otherwise. Each thread has a block of memory;
   fewer run at a time where there is no room. Errors: those of build and interp_train; nothing is left
   then. Tests: ensembles_are_the_same_at_any_thread_count, networks_train_abreast_as_they_do_alone,
   networks_unlike_the_first_train_alone, ensembles_resume, processes_share_an_ensemble. */
INTERP_API interp_status interp_ensemble_train(interp_ctx *ctx, const interp_dataset *data,
                                               const interp_ensemble_desc *desc,
                                               interp_ensemble *ensemble);
/* Frees and clears it. */
INTERP_API void interp_ensemble_free(interp_ctx *ctx, interp_ensemble *ensemble);

/* Figures of an ensemble; each array may be NULL. accuracy: [models], balanced: the mean over classes of
   the share of truth[n_test] that is found, or, swapped, of what is predicted that is right (as when the
   arguments change places); entropy: [n_test], of the mean probabilities, in nats; spread: [parameters],
   standard deviation over models of the last snapshot. Test: figures_of_ensembles_are_their_definitions.
   */
INTERP_API void interp_ensemble_statistics(const interp_ensemble *ensemble, const int32_t *truth,
                                           bool swapped, double *accuracy, double *entropy,
                                           double *spread);
#endif

#ifdef __cplusplus
}
#endif

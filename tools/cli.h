/* The command line: options, errors, progress, results, inputs; and the commands' own faces. */
#ifndef CLI_H
#define CLI_H

#include "interp.h"

#include <stdio.h>

/* One option of a command, and its line in the help. */
typedef struct cli_option {
    const char *name;  /* "--epochs" */
    const char *value; /* what its value is called; NULL: it takes none */
    const char *help;
} cli_option;

typedef struct cli cli;

/* One command. `options` ends with an empty row; the common ones are added. */
typedef struct cli_command {
    const char *name, *arguments, *summary;
    int positionals; /* how many must be there; -1: one or none */
    const cli_option *options;
    int (*run)(cli *c);
} cli_command;

#define CLI_MOST 256  /* options and positionals of one call */
#define CLI_PATH 1024 /* bytes of a path */

struct cli {
    const cli_command *command;
    interp_ctx *ctx;
    const char *names[CLI_MOST], *values[CLI_MOST]; /* options as given */
    int n_options;
    const char *positional[CLI_MOST];
    int n_positional;
    bool quiet, json;
    uint64_t seed;
    size_t memory;                        /* bytes of workspace, 0: no limit */
    const char *memory_text;              /* as it was given */
    char folder[CLI_PATH], out[CLI_PATH]; /* of the results, see cli_begin; "": none */
    bool new_folder;                      /* `folder` was not there before */
};

/* Exit codes. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* ---- cli.c: options, errors, progress, text */

/* Prints "interp: error: ..." and returns CLI_FAILED. */
int cli_fail(const char *format, ...) INTERP_PRINTF(1, 2);
/* The same with the context's sentence. */
int cli_fail_ctx(const cli *c);
/* Prints an error about the call itself and returns CLI_USAGE. */
int cli_usage(const char *format, ...) INTERP_PRINTF(1, 2);
/* A line for people on stderr, unless --quiet. */
void cli_say(const cli *c, const char *format, ...) INTERP_PRINTF(2, 3);

/* Parses argv[0..argc) (after the command's name) and opens the context. */
int cli_open(cli *c, const cli_command *command, int argc, char **argv);
/* Closes it, and removes results that were not committed. */
void cli_close(cli *c);
/* Prints a command's options on stdout. */
void cli_help(const cli_command *command);

/* Value of an option, NULL when it was not given; the i-th one of those given many times. */
const char *cli_get(const cli *c, const char *name);
const char *cli_get_nth(const cli *c, const char *name, int i);
bool cli_has(const cli *c, const char *name);
/* Numbers: CLI_DONE, or CLI_USAGE after a message. Left alone when the option is absent. */
int cli_int(const cli *c, const char *name, int low, int high, int *out);
int cli_float(const cli *c, const char *name, double low, double high, float *out);
/* The index of the option's value among n names; the message lists them. */
int cli_choice(const cli *c, const char *name, const char *const *names, int n, int *out);
/* A whole text as a number. */
bool cli_parse_double(const char *text, double *out);

/* Seconds on a wall clock. */
double cli_now(void);
/* Tells of progress and asks about Ctrl-C, as the library does. */
interp_status cli_progress(cli *c, const char *stage, double done, double total);

/* One stage of a command's work, which takes all the memory it needs before it first tells of
   progress and gives it back in the end, cancelled or not. */
typedef interp_status (*cli_stage)(cli *c, void *job);
/* Runs the stages within --memory each. That they fit is found beforehand by starting and cancelling
   each; what does not is refused with the least --memory that would do, and what else: "" or " or
   ...". */
interp_status cli_work(cli *c, const cli_stage *stages, int n, void *job, const char *otherwise);

/* Text being put together. */
typedef struct cli_text {
    char *data;
    size_t n, capacity;
    bool failed;
} cli_text;

void cli_add(cli_text *t, const char *format, ...) INTERP_PRINTF(2, 3);
/* A string in JSON quotes; the same, then a comma and so on: ["a","b"]. */
void cli_add_json(cli_text *t, const char *s);
void cli_add_json_list(cli_text *t, char *const *list, int n);
/* A string for CSV, in quotes where it needs them. */
void cli_add_csv(cli_text *t, const char *s);
/* A number for CSV and JSON: %.9g, null in JSON when it is not finite. */
void cli_add_number(cli_text *t, double x, bool json);
/* Writes the text to a file and frees it. */
int cli_text_write(cli_text *t, const char *path);
/* Prints the text on stdout and frees it. */
int cli_text_print(cli_text *t);

/* ---- cli_results.c: results, which appear together or not at all */

/* Makes FOLDER and, hidden in it, the folder c->out to write into: before any work, so that a place
   that cannot be written is found at once. */
int cli_begin(cli *c, const char *folder);
/* Moves everything from c->out into the folder. stale: patterns, NULL-ended, of what an earlier run of
   the command may have left and this one did not write ('#': a number, '*': any text), which is
   removed. */
int cli_commit(cli *c, const char *const *stale);
/* Removes c->out and all in it. */
void cli_discard(cli *c);
/* The files in c->out as a list in JSON. */
void cli_add_files(cli_text *t, const cli *c);

/* Makes DIR and its parents; CLI_FAILED after a message. */
int cli_make_folder(const char *path);
/* "FOLDER/NAME" into a buffer that is returned. */
const char *cli_path(char out[CLI_PATH], const char *folder, const char *name);
/* Writes a file that appears whole. */
int cli_write(const char *path, const void *bytes, size_t n);
/* Writes a picture and frees it. */
int cli_write_image(cli *c, interp_image *image, const char *path);

/* ---- cli_inputs.c: models, data, arrays */

/* A model and what its classes are called. */
typedef struct cli_model {
    const char *path;
    interp_net *net;
    char **classes; /* [n_classes]; NULL: they have no names */
    int n_classes;
} cli_model;

/* Loads a model, desc NULL: with channels first; weights that are NaN are refused by name. */
int cli_model_load(cli *c, const char *path, const interp_onnx_load_desc *desc, cli_model *m);
/* A network as ONNX with the names of its classes, which may be NULL; free it with interp_free. */
int cli_model_bytes(cli *c, const interp_net *net, const interp_onnx_save_desc *desc,
                    char *const *classes, int n, void **bytes, size_t *size);
/* The same in a file. */
int cli_model_save(cli *c, const interp_net *net, char *const *classes, int n, const char *path);
/* The context's sentence, with the weights that are to blame when they are not finite. */
int cli_fail_model(const cli *c, const cli_model *m);

/* Opens DATA of the command line. Which samples are the test set does not depend on --seed. */
int cli_data(cli *c, const char *spec, interp_dataset *train, interp_dataset *test);
/* Makes data fit a model: pictures are converted, labels renumbered by the names of classes. */
int cli_data_fit(cli *c, const char *spec, const cli_model *m, interp_dataset *train,
                 interp_dataset *test);

/* Samples for an input of a model. */
typedef struct cli_samples {
    interp_array x; /* float32, finite */
    int n;
    bool last;       /* an array of them has channels last; here they are first */
    char **files;    /* [n]: of pictures, without their folder; else NULL */
    float *shown;    /* x as it is drawn: before --preprocess */
    int32_t *labels; /* [n]: their classes, where those are known; else NULL */
} cli_samples;

/* Reads samples for an input of a network; pictures are converted to it, arrays must hold as many
   numbers, of images with channels first or last. */
int cli_samples_read(cli *c, const char *spec, const interp_net *net, int input, bool any_number,
                     cli_samples *s);
/* The dimensions [C,H,W] to [H,W,C] (last), or back. */
void cli_turn(int dim[3], bool last);
/* The shape [..,C,H,W] with channels last. */
interp_shape cli_shape_last(interp_shape first);
/* The numbers of n samples [..,H,W,C] with channels first. */
int cli_array_first(cli *c, interp_array *a, size_t n, const interp_shape *sample);
/* Turns an array of samples with channels last to channels first; a flat one lies as the model's file
   has it. *last: whether it was turned. */
int cli_channels_first(cli *c, const interp_net *net, int input, interp_array *a, bool *last);
/* Brings what was read to what the model was trained on, as --preprocess says; keeps what it was. */
int cli_preprocess(cli *c, const interp_shape *sample, cli_samples *s);
/* Reads an array as float32. */
int cli_array(cli *c, const char *spec, interp_array *array);

/* A sample that can be drawn: a picture, or views of a thing, which are put below each other, or side by
   side where they are tall. */
typedef struct cli_picture {
    int views, channels, height, width; /* of each view */
    int whole_height, whole_width;      /* of all */
} cli_picture;

/* False, and no views, when samples of that shape are no pictures. */
bool cli_picture_of(const interp_shape *sample, cli_picture *p);
/* Numbers of a sample [views,channels,height,width] as one picture. */
void cli_picture_join(const cli_picture *p, const float *x, float *to);

/* Whether an input is an array and no picture or folder of pictures. */
bool cli_is_array(const char *spec);

/* Whether a file of that name can be read. */
bool cli_is_file(const char *path);
/* How many samples an array holds; -1 after a message. what: for the message. */
int cli_count(const char *what, const interp_array *array, const interp_shape *sample);
/* Whether a sample is a picture: [1,H,W] or [3,H,W]. */
bool cli_is_image(const interp_shape *sample);
/* "[1,8,8]" */
const char *cli_shape(const interp_shape *s, char out[128]);

/* ---- cli_layers.c: what layers make of samples */

/* The node of that name, -1 when there is none; the one whose output the last layer with weights reads,
   -1 when there is none. */
int cli_layer_find(const interp_net *net, const char *name);
int cli_layer_last(const interp_net *net);
/* The output of a node for n samples, in batches that fit. */
interp_status cli_layer_run(cli *c, const interp_net *net, int node, const float *x, int n,
                            float *out);

/* ---- cli_embedding.c: rows of numbers as points */

/* The lines of their help. */
#define EMBEDDING_OPTIONS                                                                          \
    {"--method", "NAME", "tsne (default), umap or pca"},                                           \
        {"--n-components", "N", "dimensions of the points (2)"},                                   \
        {"--metric", "NAME",                                                                       \
         "euclidean (default), cosine, correlation, manhattan, ... precomputed"},                  \
        {"--knn", "NAME",                                                                          \
         "how neighbours are found: auto, exact, tree or descent (above 100 000 rows)"},           \
        {"--init", "NAME",                                                                         \
         "where points start: pca, random, spectral (tsne: pca, umap: spectral)"},                 \
        {"--perplexity", "X[,X..]",                                                                \
         "tsne: neighbours that count for each point (30); several scales are averaged"},          \
        {"--early-exaggeration", "X", "tsne: of the first 250 iterations (12)"},                   \
        {"--exaggeration", "X", "tsne: of the others (1)"},                                        \
        {"--degrees-of-freedom", "X", "tsne: of the t-distribution (1)"},                          \
        {"--n-iter", "N", "tsne: iterations after the first 250 (500)"},                           \
        {"--learning-rate", "X", "tsne: (n / exaggeration); umap: (1)"},                           \
        {"--n-neighbors", "N", "umap: neighbours of each point, itself among them (15)"},          \
        {"--min-dist", "X", "umap: how near points may come (0.1)"},                               \
        {"--spread", "X", "umap: scale of the embedding (1)"},                                     \
        {"--n-epochs", "N", "umap: rounds (500, above 10 000 points 200)"},                        \
    {                                                                                              \
        "--densmap", NULL, "umap: keep local densities as well"                                    \
    }

/* Rows, how they are laid out, and what is known of them. */
typedef struct cli_embedding {
    const float *x; /* [n,d] */
    int n, d, dims;
    int method; /* 0 t-SNE, 1 UMAP, 2 PCA */
    interp_tsne_desc tsne;
    float scales[16]; /* perplexities, when there are several */
    interp_umap_desc umap;
    interp_pca_desc pca;
    interp_metric metric;
    char title[160];
    const int32_t *classes, *predicted;                /* [n] each; NULL: not known */
    const char *const *names, *const *predicted_names; /* of classes; NULL: numbers */
    int n_names;
    const float *values; /* [n]; NULL: none; colours where there are no classes */
    char **files;        /* [n]; NULL: none */
    const float *images; /* [n, channels, height, width]; NULL: none */
    int channels, height, width;
    float *y;                   /* [n, dims] */
    double kl, recall, seconds; /* recall: of the neighbours it was made from */
    float explained[16];
    interp_quality quality;
    bool judge, judged; /* wanted; done */
} cli_embedding;

/* Clears it and reads the options, the method from `option`; rows and title are the caller's. */
int cli_embedding_options(const cli *c, const char *option, cli_embedding *e);
/* "t-SNE" ... */
const char *cli_embedding_name(const cli_embedding *e);
/* Room for the result; then the stage for cli_work, with the embedding as its job. */
int cli_embedding_room(cli *c, cli_embedding *e);
interp_status cli_embedding_stage(cli *c, void *embedding);
/* How good it is; left out where points are isolated, or it is not wanted. */
int cli_embedding_judge(cli *c, cli_embedding *e);
/* Writes embedding.npy, a table of measures, STEM.png, embedding.html and projector/. */
int cli_embedding_write(cli *c, const cli_embedding *e, const char *folder, const char *stem);

/* ---- cli_dynamics.c: a map between boxes, its graph and its pictures */

/* The lines of their help. */
#define DYNAMICS_OPTIONS                                                                            \
    {"--subdivide", "MIN[:MAX[:INIT[:LIMIT]]]",                                                     \
     "halvings of the domain in all; with MAX only what is recurrent is halved, from INIT on, and " \
     "sets up to LIMIT boxes are tested down to MAX"},                                              \
        {"--lower", "A,B,..", "lower ends of the domain (those of the pairs, 5 % more)"},           \
        {"--upper", "A,B,..", "upper ends"},                                                        \
        {"--periodic", "0,1,..", "1 for each axis whose ends meet (none)"},                         \
        {"--mode", "NAME", "points of a box that are mapped: corners (default), centre, random"},   \
        {"--samples", "N", "points of random mode (10)"},                                           \
        {"--padding", NULL, "images are one box wider on every side"},                              \
        {"--lipschitz", "L",                                                                        \
         "images hold all of a map whose numbers change by at most L times "                        \
         "the sum of changes of its arguments"},                                                    \
        {"--conley", NULL, "Conley index of every Morse set"},                                      \
        {"--prime", "P", "its coefficients are numbers modulo P (5)"},                              \
        {"--exact-edges", NULL, "edges found on the final grid, not inherited from coarse ones"},   \
    {                                                                                               \
        "--cmgdb", NULL, "also CMGDB_mvmap.txt, CMGDB_retract.txt, CMGDB_morse_sets.csv"            \
    }

/* A map, its decomposition, and all that is made of it. */
typedef struct cli_dynamics {
    interp_map map;
    interp_morse_desc grid;
    double lower[INTERP_MAP_DIMS], upper[INTERP_MAP_DIMS];
    double slopes[INTERP_MAP_DIMS * INTERP_MAP_DIMS];
    bool periodic[INTERP_MAP_DIMS];
    const char *axis[INTERP_MAP_DIMS]; /* their names */
    float deviations;
    int prime;
    bool conley, interchange, retracted;
    interp_gp *gp; /* NULL: no */
    interp_gp_info fitted;
    interp_pairs *pairs; /* NULL: no */
    interp_morse *morse;
    interp_conley *index; /* [sets]; NULL: not asked for */
    interp_retraction tiles;
    interp_basins basins;
    double seconds;
} cli_dynamics;

/* Numbers with commas or colons between them: how many, -1 when it is something else. */
int cli_numbers(const char *text, double *out, int most);
/* Reads the options; lower and upper hold the default domain. */
int cli_dynamics_options(const cli *c, int d, cli_dynamics *y);
/* A Gaussian process of pairs [n,d] becomes the map. */
interp_status cli_dynamics_gp(cli *c, cli_dynamics *y, const double *from, const double *to, int n,
                              const interp_gp_desc *desc);
/* Refuses grids that this machine has not the memory for, when the map is set. */
int cli_dynamics_check(const cli_dynamics *y);
/* Decomposition, indices, tiles and basins, as a stage of cli_work does it. */
interp_status cli_dynamics_stage(cli *c, cli_dynamics *y);
/* Frees all that was made. */
void cli_dynamics_free(cli *c, cli_dynamics *y);
/* The contents of morse_graph.json. */
void cli_dynamics_json(cli_text *t, const cli_dynamics *y);
/* Writes every table and picture; over: drawn over the tiles. */
int cli_dynamics_write(cli *c, const cli_dynamics *y, const char *folder, const interp_series *over,
                       int n_over);
/* Half way to white. */
uint32_t cli_light(uint32_t rgb);

/* ---- cli_ensemble.c: many trainings of one network */

/* The lines of their help. */
#define ENSEMBLE_OPTIONS                                                                           \
    {"--data", "DATA", "what networks are trained on"},                                            \
        {"--arch", "ARCH",                                                                         \
         "linear (default for tables; --layers and --nodes put softmax layers before), tiny "      \
         "(default for images: convolutions of 2 filters), or any of interp train"},               \
        {"--models", "N", "trainings (100)"}, {"--epochs", "N", "of each (150, images 4)"},        \
        {"--batch", "N", "samples of a step (5, images 128)"},                                     \
        {"--optimizer", "NAME", "adam (default), sgd, rmsprop"},                                   \
        {"--lr", "X", "learning rate (0.001, sgd 0.01)"},                                          \
        {"--layers", "N", "of linear and tiny (1)"},                                               \
        {"--nodes", "N",                                                                           \
         "of the layers before the last (as many as classes; filters of tiny: 2)"},                \
        {"--columns", "0,1,..", "numbers of a table that count (all; iris 2,3), or all"},          \
        {"--classes", "A,B,..", "classes that count (all)"},                                       \
        {"--scale", "X", "images are multiplied by it (1; the original's pixels end at 255)"},     \
        {"--early", "N", "epochs after which weights count as the beginning (2)"},                 \
        {"--dims", "N", "weights that are looked at (2)"},                                         \
        {"--weights", "WHICH",                                                                     \
         "those that spread most over the models: largest (default), or "                          \
         "smallest"},                                                                              \
        {"--positional-pairs", NULL, "a control: beginnings are matched with other models' ends"}, \
        {"--swapped-accuracy", NULL,                                                               \
         "balanced accuracy with its arguments changed over, as in the original"},                 \
    {                                                                                              \
        "--sweep", "NAME=A,B,..", "an ensemble for each value of epochs, batch, layers or nodes"   \
    }

/* Most values of a sweep; numbers that say what a training is. */
enum { CLI_SWEPT = 12, CLI_KEY = 11 };

/* An ensemble and its figures. */
typedef struct cli_ensemble {
    cli *c;
    interp_dataset train, test;
    interp_ensemble_desc desc;
    interp_ensemble all; /* two snapshots: early and last */
    const char *arch;
    bool tiny, smallest, positional, swapped;
    int layers, nodes, early, dims;
    uint64_t seed;
    int kernels, *kernel;        /* weights that are no biases: their places */
    char (*names)[40];           /* [kernels] */
    int chosen[INTERP_MAP_DIMS]; /* of these */
    int *order;                  /* [models]: whose end goes with each beginning, as a control */
    double *spread, *accuracy, *entropy; /* [parameters], [models], [test samples] */
    double *from, *to;                   /* [models, dims]: chosen weights, early and last */
    double seconds, saved, key[CLI_KEY];
    char part[CLI_PATH], text[CLI_PATH];
} cli_ensemble;

/* Opens the data and reads the options. Copies of what is opened share the data. */
int cli_ensemble_open(cli *c, cli_ensemble *e);
/* Frees the data, of all copies. */
void cli_ensemble_close(cli *c, cli_ensemble *e);
/* Trains; what has been done is kept beside the results every ten seconds, and found again. */
int cli_ensemble_train(cli *c, cli_ensemble *e);
/* Figures, the weights that are looked at, and their pairs; the domain and its names go to y. */
int cli_ensemble_pairs(cli *c, cli_ensemble *e, cli_dynamics *y);
/* Mean balanced accuracy. */
double cli_ensemble_accuracy(const cli_ensemble *e);
/* Frees what training and figures came to. */
void cli_ensemble_free(cli *c, cli_ensemble *e);
/* Violins of accuracy, entropy and weights of n ensembles. */
int cli_ensemble_violins(cli *c, const cli_ensemble *e, int n, const char *const *names,
                         const char *folder);
/* Tables and arrays of one, and what its models' tiles say. */
int cli_ensemble_write(cli *c, const cli_ensemble *e, const cli_dynamics *y, const char *folder);

/* ---- cli_training.c: what commands that train share */

/* The lines of their help. */
#define TRAINING_OPTIONS                                                                           \
    {"--data", "DATA", "what to train on"},                                                        \
        {"--arch", "ARCH",                                                                         \
         "cnn (default for images), mlp (default otherwise), mlp:W-..-W, linear, lenet, allcnn, "  \
         "resnet20, resnet18, resnet50, vgg-half, mobilenet-v2, efficientnet-b0 .. b3, vit-tiny; " \
         "lenet:W-W-W, allcnn:W-W-W, resnet20:W-.., vgg-half:W-.. with other widths; "             \
         "multiview:NAME or multiview-concat:NAME for samples of several views"},                  \
        {"--model", "FILE.onnx", "start from this model instead of an architecture"},              \
        {"--epochs", "N",                                                                          \
         "passes over the data (10; below 5000 samples 25, without convolutions 60)"},             \
        {"--batch", "N", "samples of a step (32 below 5000 samples, else 64)"},                    \
        {"--optimizer", "NAME", "adam (default), adamw, sgd, momentum, rmsprop"},                  \
        {"--lr", "X",                                                                              \
         "learning rate (sgd: 0.01; else 0.001, cnn 0.002, mlp on few samples 0.003)"},            \
        {"--momentum", "X", "momentum of sgd and rmsprop (momentum: 0.9)"},                        \
        {"--nesterov", NULL, "look-ahead momentum"},                                               \
        {"--weight-decay", "X", "decay of weights, not of biases (0)"},                            \
        {"--schedule", "NAME", "cosine (default), constant, linear, step"},                        \
        {"--milestones", "E,E,..", "epochs after which step multiplies the rate by --decay"},      \
        {"--decay", "X", "factor of schedule step (0.1)"},                                         \
        {"--warmup", "N", "steps over which the rate rises (0)"},                                  \
        {"--clip", "X", "largest norm of the gradient (none)"},                                    \
        {"--label-smoothing", "X", "share of the label spread over all classes (0)"},              \
        {"--loss", "NAME", "cross_entropy (default), mse, bce"},                                   \
        {"--augment", "WHAT",                                                                      \
         "auto (default), none, or shift=PX,rotate=DEG,scale=X,crop=PX,flip,vflip"},               \
        {"--freeze", "LAYER@STEP",                                                                 \
         "parameters whose names begin with LAYER, a pattern like dense1 or 'dense[12][.]', stop " \
         "learning at STEP, 0: never learn; this and the following may be repeated"},              \
        {"--layer-lr", "LAYER=LR", "their learning rate"},                                         \
        {"--layer-schedule", "LAYER=constant", "their learning rate stays"},                       \
        {"--layer-optimizer", "LAYER=NAME", "their optimizer"},                                    \
        {"--layer-momentum", "LAYER=M", "their momentum, 0 to below 1"},                           \
        {"--layer-l2", "LAYER=L", "adds L times their squares to the loss"},                       \
        {"--layer-delay", "LAYER=STEPS", "they learn from gradients of STEPS steps before"},       \
        {"--validation", "X", "share of the training data set aside for validation (0.1)"},        \
    {                                                                                              \
        "--patience", "N", "stop after N epochs without a better validation loss (never)"          \
    }

enum { CLI_MOST_RULES = 32 };

/* A training as the options describe it. Its desc points into it. */
typedef struct cli_training {
    cli_model model;
    interp_dataset train, validation, test;
    interp_train_desc desc;
    interp_augment_desc augment;
    interp_layer_rule rules[CLI_MOST_RULES];
    char names[CLI_MOST_RULES + 1][64];
} cli_training;

/* Opens data and network and reads the options; says what will be trained. */
int cli_training_open(cli *c, cli_training *t);

/* ---- cli_attribution.c: what the commands about attributions share */

enum { CLI_METHODS = 64 };

/* Methods in the order of the command line, each once. "layer_" and "neuron_" before the name of one
   of the input make it one of a layer or a neuron. */
typedef struct cli_methods {
    interp_method list[CLI_METHODS];
    interp_scope scope[CLI_METHODS];
    char names[CLI_METHODS][64]; /* as they were given */
    int n;
    bool all;  /* "all": those that a model does not allow are left out */
    bool tcav; /* and TCAV, whose results are no attributions */
} cli_methods;

/* Reads --method: names, "all", and "-NAME" for all but that. */
int cli_methods_parse(const cli *c, cli_methods *m);
/* One more; false when there is no such method or no room. */
bool cli_methods_add(cli_methods *m, const char *name);

/* RISE's numbers are mean outputs under random masks, none near 0: what tells in a picture is by how much
   they exceed the least. */
void cli_above_least(float *v, size_t n);

/* Opens the model that is named first, --input, --target and --baseline; the last two into `d`. */
int cli_attribution_open(cli *c, cli_model *model, interp_shape *sample, cli_samples *in,
                         interp_attribute_desc *d);

/* ---- cli_settings.c: the options of methods */

enum { CLI_LRP_RULES = 256 };

/* What --set gives besides numbers: random draws from files, concepts, rules of single layers. */
typedef struct cli_draws {
    interp_array noise, alphas, draws, perms, coalitions, concept, random;
    interp_lrp_layer rules[CLI_LRP_RULES];
} cli_draws;

/* Reads every --set. `d` points into `j` afterwards. */
int cli_settings(cli *c, interp_attribute_desc *d, cli_draws *j);
/* Windows and strides of samples with channels last. */
void cli_settings_turn(const cli_samples *in, const interp_shape *sample, interp_attribute_desc *d);

/* ---- cli_scores.c: attributions are scored */

enum { CLI_SCORES = 24 }; /* most measures */

/* An attribution and how good it is. */
typedef struct cli_scored {
    char name[64];
    float *attribution; /* [n, size] */
    bool made;          /* by `how`; false: from a file */
    interp_attribute_desc how;
    interp_scores *scores; /* [n] */
    float *curves;         /* [n, 2 (steps + 1) + 2 INTERP_ROAD_LEVELS] */
    double mean[CLI_SCORES], error[CLI_SCORES], rank[CLI_SCORES]; /* rank 1 is the best */
    double *left; /* [layers, n]: correlation as layers are drawn anew; NULL: not asked for */
    double mean_rank;
} cli_scored;

/* Attributions of the same samples, scored. */
typedef struct cli_evaluation {
    cli_model model;
    interp_shape sample;
    int channels, height, width; /* pixels of a sample are height x width */
    size_t size;                 /* numbers of a sample */
    int n;
    float *x;                   /* [n, size] */
    interp_attribute_desc desc; /* target, baselines and settings of all methods */
    cli_draws given;            /* what they point to */
    interp_score_desc score;
    unsigned char *mask; /* [n, pixels]; NULL: none */
    bool cascades;       /* layer after layer is drawn anew */
    interp_cascade cascade;
    int *layers, n_layers; /* nodes, in that order */
    cli_scored *of;        /* [count], after the evaluation the best first */
    int count, room;
} cli_evaluation;

/* Scores, ranks, and writes scores.csv, ranking.csv, curves.csv, curves.png; where masks tell the truth about
   three attributions or more, agreement.csv; and of a cascade randomisation.csv and .png. */
int cli_evaluation_run(cli *c, cli_evaluation *e, const char *folder);
/* Reads --cascade. */
int cli_cascade(const cli *c, cli_evaluation *e);
/* The column of a measure in `mean`. */
int cli_score(const char *name);
/* The summary, with the files that are written. */
void cli_add_scores(cli_text *t, const cli *c, const cli_evaluation *e);
/* Maps [n,H,W] at the beginning of `a` [n,C,H,W] go to all channels alike. */
void cli_spread(const cli_evaluation *e, float *a);

/* ---- cmd_evaluate.c and test_bed.c: what is scored */

/* One more method; those that attribute to no pixels are an error, or left out with a word. */
int cli_evaluation_method(cli *c, cli_evaluation *e, const interp_attribute_desc *how,
                          bool leave_out);

/* Pictures with known truth, a network trained on them, and every method that explains it. */
int test_bed_open(cli *c, cli_evaluation *e, const char *folder);
/* Its arrays and its picture, after the evaluation. */
int test_bed_write(cli *c, const cli_evaluation *e, const char *folder);

/* ---- cli_groups.c: what parameters are summed by */

typedef struct cli_groups {
    int32_t *of;  /* [parameters] */
    char **names; /* [n] */
    size_t *size; /* [n]: parameters of each */
    int n;
    size_t parameters;
} cli_groups;

/* Opens "variable", "layer", "kind", "neuron", "input", "regex:PATTERN" (groups of what matches alike)
   or a file: .npy with the number of each parameter's group, or lines "NAME PATTERN". */
int cli_groups_open(cli *c, const interp_net *net, const char *what, cli_groups *g);

/* ---- cli_lca.c: pictures of a run of allocations, and the same for TensorBoard */

typedef struct cli_lca {
    const interp_net *net;
    const interp_dataset *data; /* whose loss it is */
    interp_lca_run run;         /* its layers are the groups */
    cli_groups groups, layers, inputs;
    interp_lca_figures *figures;            /* [groups] */
    interp_lca_synchrony synchrony, nearby; /* against any shifts, and against near ones */
    int reach;                              /* of those */
    int32_t *peaks;                         /* [groups, top] */
    int top;
    double relative_error; /* of the sum of all allocations */
    const float *stored;   /* [steps, parameters]; NULL: not kept */
    const float *along;    /* [steps, n_along]: along directions, the rest last; NULL: none */
    int n_along;
    const float *first; /* [parameters] before the first step */
    const int32_t
        *example;     /* [run.n_parts]: the samples that are the parts; NULL: those are classes */
    const char *unit; /* what the numbers are */
    int steps;        /* as many are expected */
    interp_tensorboard *tb; /* NULL: no pictures */
    float *weights;         /* [CLI_FRAMES, run.inputs]: how far those of an input have moved */
} cli_lca;

enum { CLI_FRAMES = 48 }; /* most, of an animation */

/* Before the first step: begins the events in FOLDER/tensorboard. */
int cli_lca_open(cli *c, cli_lca *l, const char *folder);
/* After each step, which l->run holds already: writes what TensorBoard shows of it. step: with arrays. */
int cli_lca_step(cli *c, cli_lca *l, const interp_lca_step_info *step);
/* At the end: writes every picture into FOLDER too. */
int cli_lca_draw(cli *c, cli_lca *l, const char *folder);

/* ---- what commands share; their bodies write into a folder that is there */

extern const cli_command cmd_demo, cmd_train, cmd_info, cmd_run, cmd_attribute, cmd_lca,
    cmd_inspect, cmd_convert, cmd_evaluate, cmd_embed, cmd_mode, cmd_dynamics;

/* What a training gave. */
typedef struct train_outcome {
    double train_accuracy, val_accuracy, test_accuracy, test_loss, seconds;
    int epochs;
    size_t peak_bytes;
    bool cancelled; /* by Ctrl-C; what there was is written when there were epochs */
} train_outcome;

/* The body of `train`, also called by `demo`. */
int train_run(cli *c, const char *folder, train_outcome *outcome);

/* What an allocation gave. */
typedef struct lca_outcome {
    double helped, helped_of_moved, relative_error, synchrony_p;
    int steps;
} lca_outcome;

/* The body of `lca`, also called by `demo`. */
int lca_run(cli *c, const char *folder, lca_outcome *outcome);

/* What mending gave: means over repeats, of the label at fault and of all. */
typedef struct mode_outcome {
    int label, rounds, repeats;
    double before, mode, control, accuracy_mode, accuracy_control, p;
} mode_outcome;

/* The body of `mode`, also called by `demo`. */
int mode_run(cli *c, const char *folder, mode_outcome *outcome);

/* What an ensemble and its map gave. */
typedef struct dynamics_outcome {
    int models, sets;
    uint32_t boxes;
    double accuracy, seconds;
} dynamics_outcome;

/* The body of `dynamics --data`, also called by `demo`. */
int dynamics_run(cli *c, const char *folder, dynamics_outcome *outcome);

/* Figures of a confusion matrix: precision, recall, F1 as means over classes. */
typedef struct confusion_figures {
    double accuracy, macro[3], weighted[3];
} confusion_figures;

/* Confusion matrix of predictions as FOLDER/confusion.csv and .png, and by --normalize as
   confusion_normalized.csv. figures: NULL or filled. */
int write_confusion(cli *c, const interp_dataset *data, const int32_t *predicted,
                    const char *folder, confusion_figures *figures);
/* The option's line in the help of both commands. */
#define NORMALIZE_OPTION                                                                           \
    {                                                                                              \
        "--normalize", "HOW",                                                                      \
            "also write confusion_normalized.csv: shares by true (rows), pred (columns) or all"    \
    }

/* The body of `attribute`, also called by `demo`. */
int attribute_run(cli *c, const char *folder);

/* The body of `evaluate-attribution`, also called by `demo`. */
int evaluate_run(cli *c, cli_evaluation *e, const char *folder);

/* The body of `inspect`, also called by `demo`. */
int inspect_run(cli *c, const cli_model *m, const interp_dataset *train, const interp_dataset *test,
                const char *folder);

#endif

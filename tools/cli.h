/* The command line: options, errors, progress, output folders; and the commands' own faces. */
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
    int positionals; /* how many must be there */
    const cli_option *options;
    int (*run)(cli *c);
} cli_command;

#define CLI_MOST 256 /* options and positionals of one call */

struct cli {
    const cli_command *command;
    interp_ctx *ctx;
    const char *names[CLI_MOST], *values[CLI_MOST]; /* options as given */
    int n_options;
    const char *positional[CLI_MOST];
    int n_positional;
    bool quiet, json;
    uint64_t seed;
    size_t memory; /* bytes of workspace, 0: no limit */
};

/* Exit codes. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* Prints "interp: error: ..." and returns CLI_FAILED. */
int cli_fail(const char *format, ...) INTERP_PRINTF(1, 2);
/* The same with the context's sentence. */
int cli_fail_ctx(const cli *c);
/* Prints an error about the call itself and returns CLI_USAGE. */
int cli_usage(const char *format, ...) INTERP_PRINTF(1, 2);

/* Parses argv[0..argc) (after the command's name) and opens the context. */
int cli_open(cli *c, const cli_command *command, int argc, char **argv);
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
/* A whole text as a number. */
bool cli_parse_double(const char *text, double *out);

/* From here on the context may hold --memory bytes more than it does now. */
void cli_limit_memory(cli *c);

/* Makes DIR and its parents; CLI_FAILED after a message. */
int cli_make_folder(const char *path);
/* "FOLDER/NAME" into a buffer that is returned. */
const char *cli_path(char out[1024], const char *folder, const char *name);
/* Writes a text file that appears whole. */
int cli_write_text(const char *path, const char *text, size_t n);
/* Writes a picture and frees it. */
int cli_write_image(cli *c, interp_image *image, const char *path);

/* Text being put together. */
typedef struct cli_text {
    char *data;
    size_t n, capacity;
    bool failed;
} cli_text;

void cli_add(cli_text *t, const char *format, ...) INTERP_PRINTF(2, 3);
/* A string in JSON quotes. */
void cli_add_json(cli_text *t, const char *s);
/* A number for CSV and JSON: %.9g, null in JSON when it is not finite. */
void cli_add_number(cli_text *t, double x, bool json);
/* Writes the text to a file and frees it. */
int cli_text_write(cli_text *t, const char *path);
/* Prints the text on stdout and frees it. */
int cli_text_print(cli_text *t);

/* A line for people on stderr, unless --quiet. */
void cli_say(const cli *c, const char *format, ...) INTERP_PRINTF(2, 3);

/* Opens DATA of the command line. */
int cli_data(cli *c, const char *spec, interp_dataset *train, interp_dataset *test);
/* Reads an array as float32; it must be finite with `finite`. */
int cli_array(cli *c, const char *spec, interp_array *array);
/* How many samples of shape `sample` an array holds; -1 after a message. what: for the message. */
int cli_samples(const char *what, const interp_array *array, const interp_shape *sample);
/* Whether a sample is a picture: [1,H,W] or [3,H,W]. */
bool cli_is_image(const interp_shape *sample);

/* ---- what commands share */

extern const cli_command cmd_demo, cmd_train, cmd_info, cmd_run, cmd_attribute, cmd_inspect;

/* What a training gave. */
typedef struct train_outcome {
    double train_accuracy, val_accuracy, test_accuracy, test_loss, seconds;
    int epochs;
    size_t peak_bytes;
} train_outcome;

/* The body of `train`, also called by `demo`. */
int train_run(cli *c, const char *folder, train_outcome *outcome);

/* Confusion matrix of predictions as FOLDER/confusion.csv and .png. */
int write_confusion(cli *c, const interp_dataset *data, const int32_t *predicted,
                    const char *folder, double *accuracy);

/* The body of `inspect`, also called by `demo`. */
int inspect_run(cli *c, interp_net *net, const interp_dataset *train, const interp_dataset *test,
                const char *folder);

#endif

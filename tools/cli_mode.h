/* What `mode` and its pictures share. */
#ifndef CLI_MODE_H
#define CLI_MODE_H

#include "cli.h"

enum { MODE_ARMS = 64, MODE_NAME = 64 };

/* One row of significance.csv. */
typedef struct mode_test {
    int arm, measure;
    double mode, control; /* means */
    interp_paired paired;
    double holm_wilcoxon, holm_t;
} mode_test;

enum { MODE_MEASURES = 3 }; /* accuracy, that of the label, of the worst label */

/* Arms, repeats, and what came of them. */
typedef struct cli_mode {
    cli_training t;             /* its train data is what is left after validation */
    interp_dataset train, pool; /* of this repeat */
    interp_mode_sets sets;
    interp_mode_train_desc desc;
    interp_mode_arm arms[MODE_ARMS];
    char names[MODE_ARMS][MODE_NAME];
    interp_mode_layer_desc layer;
    interp_mode_importance importance;
    float pool_share;
    int repeats, repeat, copies;
    bool swapped, loaded; /* HMI and HWI as the replication has them; a model is mended, not made */
    int fault, fault_label;
    double fault_share;
    double start_accuracy;           /* training ends when validation has it; 0: never */
    uint64_t seed;                   /* of this repeat */
    interp_mode_result *result;      /* [repeats] */
    int *label;                      /* [repeats]: whose accuracy is told */
    interp_mode_diagnosis diagnosis; /* of the first repeat, before the first round */
    interp_mode_layers layers;
    interp_mode_maps inputs, neurons; /* heat maps */
    int32_t *predicted;               /* [validation] */
    mode_test *tests;
    int n_tests;
    double seconds;
} cli_mode;

extern const char *const mode_measures[MODE_MEASURES];

/* The round of an arm (0: the control) in a repeat. */
const interp_mode_round *mode_round(const cli_mode *m, int repeat, int arm, int round);
/* A measure after a round. */
double mode_measure(const cli_mode *m, int repeat, int arm, int round, int measure);

/* cli_mode.c: pictures and arrays of the first repeat, then of all rounds. */
int mode_draw_maps(cli *c, const cli_mode *m, const char *folder);
int mode_draw_selection(cli *c, const cli_mode *m, const char *folder);
int mode_draw_rounds(cli *c, const cli_mode *m, const char *folder);

#endif

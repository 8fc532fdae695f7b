/* interp demo: the whole tour on the built-in digits, and a report of it. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const cli_option options[] = {{NULL, NULL, NULL}};

enum { SHOWN = 10 }; /* digits in the pictures */

/* A call of another command on the same context. */
static cli sub_call(const cli *c, const cli_command *command)
{
    cli s = *c;
    s.command = command;
    s.n_options = 0;
    s.n_positional = 0;
    s.json = false;
    s.quiet = true;
    return s;
}

static void add_option(cli *s, const char *name, const char *value)
{
    s->names[s->n_options] = name;
    s->values[s->n_options++] = value;
}

/* A call with options [..][2] up to a NULL, and the folder of the tour that it writes into. */
static int begin_part(const cli *c, const cli_command *command, const char *const (*option)[2],
                      const char *parent, const char *name, cli *s, char folder[CLI_PATH])
{
    *s = sub_call(c, command);
    for (; (*option)[0]; option++) add_option(s, (*option)[0], (*option)[1]);
    return cli_make_folder(cli_path(folder, parent, name));
}

/* What the report needs to know. */
typedef struct tour {
    const char *folder;
    interp_dataset train, test;
    train_outcome cnn, mlp;
    cli_evaluation scored;
    lca_outcome lca;
    mode_outcome mode;
    dynamics_outcome dynamics;
    double seconds;
} tour;

static int train_one(cli *c, const tour *t, const char *name, const char *arch,
                     train_outcome *outcome)
{
    char folder[CLI_PATH];
    cli s = sub_call(c, &cmd_train);
    add_option(&s, "--data", "digits");
    add_option(&s, "--arch", arch);
    if (strcmp(arch, "cnn")) { /* a net without convolutions needs more of everything */
        add_option(&s, "--epochs", "100");
        add_option(&s, "--label-smoothing", "0.05");
    }
    int code = cli_make_folder(cli_path(folder, t->folder, name));
    if (!code) code = train_run(&s, folder, outcome);
    if (!code && outcome->cancelled) code = cli_fail("demo was cancelled");
    if (!code)
        cli_say(c, "%-4s test accuracy %.2f %%, %d epochs in %.1f s", name,
                100 * outcome->test_accuracy, outcome->epochs, outcome->seconds);
    return code;
}

/* The first test sample of each class. */
static int write_samples(cli *c, const tour *t, const char *path)
{
    const size_t size = interp_shape_size(&t->test.shape);
    float *x = (float *)interp_alloc(c->ctx, SHOWN * size * sizeof *x);
    if (!x) return cli_fail_ctx(c);
    for (int k = 0; k < SHOWN; k++) {
        int i = 0;
        while (i + 1 < t->test.n && t->test.y[i] != k) i++;
        memcpy(x + (size_t)k * size, t->test.x + (size_t)i * size, size * sizeof *x);
    }
    const interp_shape *s = &t->test.shape;
    const interp_shape all = {4, {SHOWN, s->dim[0], s->dim[1], s->dim[2], 1, 1, 1, 1}};
    const interp_status status = interp_npy_write_f32(c->ctx, path, x, &all);
    interp_free(c->ctx, x);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

static int attribute_samples(cli *c, const tour *t, const char *folder)
{
    char model[CLI_PATH], input[CLI_PATH];
    cli s = sub_call(c, &cmd_attribute);
    int code = cli_make_folder(folder);
    if (!code) code = write_samples(c, t, cli_path(input, folder, "inputs.npy"));
    if (code) return code;
    s.positional[s.n_positional++] = cli_path(model, t->folder, "cnn/model.onnx");
    add_option(&s, "--input", input);
    add_option(&s, "--method", "all,-anchors"); /* which take longer than all others together */
    code = attribute_run(&s, folder);
    if (!code)
        cli_say(c, "attributions of %d digits by every method that this network takes", SHOWN);
    return code;
}

/* Whether an array lies over the pictures: [n,C,H,W], or [n,H,W] of maps. */
static bool is_over(const interp_array *a, const interp_shape *pictures)
{
    const interp_shape *s = &a->shape;
    const int h = pictures->dim[2], w = pictures->dim[3];
    return (s->rank == 4 && s->dim[2] == h && s->dim[3] == w) ||
           (s->rank == 3 && s->dim[1] == h && s->dim[2] == w);
}

/* A row of cells, one for each sample. */
static void fill_cells(const interp_array *a, bool is_input, interp_panel_cell *cells)
{
    const interp_shape *s = &a->shape;
    const int channels = s->rank == 4 ? s->dim[1] : 1;
    const int height = s->dim[s->rank - 2], width = s->dim[s->rank - 1];
    const size_t size = (size_t)channels * (size_t)height * (size_t)width;
    const float *x = (const float *)a->data;
    bool positive = true;
    for (size_t i = 0; i < size * SHOWN; i++) positive = positive && x[i] >= 0;
    for (int i = 0; i < SHOWN; i++) {
        cells[i].values = x + (size_t)i * size;
        cells[i].channels = channels, cells[i].height = height, cells[i].width = width;
        if (!is_input)
            cells[i].colormap = positive ? INTERP_COLORMAP_VIRIDIS : INTERP_COLORMAP_RD_WH_GN;
    }
}

/* Inputs and every method's attributions in one picture, a row each. */
static int draw_methods(cli *c, const char *folder)
{
    enum { most = INTERP_METHOD_COUNT + 1 };
    char path[CLI_PATH], name[96];
    interp_array arrays[most];
    interp_panel_cell cells[most * SHOWN];
    const char *labels[most];
    interp_panel_desc d;
    interp_image image;
    int rows = 0;
    memset(cells, 0, sizeof cells);
    memset(&d, 0, sizeof d);
    for (int r = 0; r < most; r++) {
        labels[rows] = r ? interp_method_name((interp_method)(r - 1)) : "input";
        snprintf(name, sizeof name, "%s.npy", r ? labels[rows] : "inputs");
        if (!cli_is_file(cli_path(path, folder, name))) continue; /* not for this model */
        if (interp_npy_read(c->ctx, path, &arrays[rows])) return cli_fail_ctx(c);
        if (is_over(&arrays[rows], &arrays[0].shape)) {
            fill_cells(&arrays[rows], r == 0, &cells[rows * SHOWN]);
            rows++;
        } else {
            interp_array_free(c->ctx, &arrays[rows]);
        }
    }
    d.title = "Attributions of the predicted class";
    d.cells = cells;
    d.rows = rows, d.cols = SHOWN;
    d.row_labels = labels;
    const interp_status status = interp_panel_draw(c->ctx, &d, &image);
    for (int r = 0; r < rows; r++) interp_array_free(c->ctx, &arrays[r]);
    if (status) return cli_fail_ctx(c);
    return cli_write_image(c, &image, cli_path(path, folder, "methods.png"));
}

/* How good the attributions are, measured by removing and adding pixels. */
static int score_attributions(cli *c, tour *t, const char *folder)
{
    char model[CLI_PATH], input[CLI_PATH], path[CLI_PATH], name[96];
    cli_text list = {NULL, 0, 0, false};
    cli s = sub_call(c, &cmd_evaluate);
    for (int m = 0; m < INTERP_METHOD_COUNT; m++) {
        snprintf(name, sizeof name, "%s.npy", interp_method_name((interp_method)m));
        if (cli_is_file(cli_path(path, folder, name))) cli_add(&list, "%s,", path);
    }
    if (list.failed) return cli_fail("out of memory");
    s.positional[s.n_positional++] = cli_path(model, t->folder, "cnn/model.onnx");
    add_option(&s, "--input", cli_path(input, folder, "inputs.npy"));
    add_option(&s, "--attribution", list.data);
    add_option(&s, "--steps", "16");
    add_option(&s, "--subsets", "10");
    int code = cli_make_folder(cli_path(path, t->folder, "scores"));
    if (!code) code = evaluate_run(&s, &t->scored, path);
    free(list.data);
    if (!code) cli_say(c, "scores of %d of these methods", t->scored.count);
    return code;
}

static int inspect_model(cli *c, const tour *t)
{
    char path[CLI_PATH], folder[CLI_PATH];
    cli_model model;
    cli s = sub_call(c, &cmd_inspect);
    int code = cli_model_load(c, cli_path(path, t->folder, "cnn/model.onnx"), NULL, &model);
    if (!code) code = cli_make_folder(cli_path(folder, t->folder, "inspect"));
    if (!code) code = inspect_run(&s, &model, &t->train, &t->test, folder);
    if (!code) cli_say(c, "confusion, saliency panels, canonical inputs, features and embedding");
    return code;
}

/* Who lowered the loss, in a short training of a small network. */
static int allocate_loss(cli *c, tour *t)
{
    static const char *const option[][2] = {
        {"--data", "digits"},        {"--arch", "mlp:64-32-16-10"},
        {"--optimizer", "momentum"}, {"--lr", "0.05"},
        {"--epochs", "3"},           {NULL, NULL}};
    char folder[CLI_PATH];
    cli s;
    int code = begin_part(c, &cmd_lca, option, t->folder, "lca", &s, folder);
    if (!code) code = lca_run(&s, folder, &t->lca);
    if (!code) cli_say(c, "loss change of %d steps, shared out among the parameters", t->lca.steps);
    return code;
}

/* A label is starved, found and mended. */
static int mend_label(cli *c, tour *t)
{
    static const char *const option[][2] = {
        {"--data", "digits"},    {"--arch", "mlp:64-28-28-10"},
        {"--epochs", "30"},      {"--fault", "starve:8:0.05"},
        {"--validation", "0.2"}, {"--metric", "cosine,random"},
        {"--samples", "50"},     {"--round-epochs", "10"},
        {"--theta", "1.01"}, /* all rounds, whatever has been reached */
        {"--repeats", "8"},      {NULL, NULL}};
    char folder[CLI_PATH];
    cli s;
    int code = begin_part(c, &cmd_mode, option, t->folder, "mode", &s, folder);
    if (!code) code = mode_run(&s, folder, &t->mode);
    if (!code)
        cli_say(c, "label %d mended: %.1f %% to %.1f %%, by random inputs %.1f %%", t->mode.label,
                100 * t->mode.before, 100 * t->mode.mode, 100 * t->mode.control);
    return code;
}

/* Where the weights of many small trainings go. */
static int follow_trainings(cli *c, tour *t)
{
    static const char *const option[][2] = {
        {"--data", "iris"}, {"--epochs", "300"}, {"--conley", ""}, {NULL, NULL}};
    char folder[CLI_PATH];
    cli s;
    int code = begin_part(c, &cmd_dynamics, option, t->folder, "dynamics", &s, folder);
    if (!code) code = dynamics_run(&s, folder, &t->dynamics);
    if (!code)
        cli_say(c, "%d trainings on iris as a map of weights: %d Morse sets", t->dynamics.models,
                t->dynamics.sets);
    return code;
}

/* ---- the report */

static void report_training(interp_report *r, const tour *t)
{
    static const char *const header[] = {
        "network",           "test accuracy", "validation accuracy",
        "training accuracy", "epochs",        "seconds"};
    char text[2][6][32];
    const char *cells[12];
    const train_outcome *o[2] = {&t->cnn, &t->mlp};
    for (int i = 0; i < 2; i++) {
        snprintf(text[i][0], 32, "%s", i ? "mlp:64-128-64-10" : "cnn");
        snprintf(text[i][1], 32, "%.2f %%", 100 * o[i]->test_accuracy);
        snprintf(text[i][2], 32, "%.2f %%", 100 * o[i]->val_accuracy);
        snprintf(text[i][3], 32, "%.2f %%", 100 * o[i]->train_accuracy);
        snprintf(text[i][4], 32, "%d", o[i]->epochs);
        snprintf(text[i][5], 32, "%.1f", o[i]->seconds);
        for (int k = 0; k < 6; k++) cells[i * 6 + k] = text[i][k];
    }
    interp_report_section(
        r, "How good it is",
        "1797 real handwritten digits of 8x8 pixels. A fifth of every class was set "
        "aside before anything else and never seen in training; a tenth of the rest "
        "chose the best epoch.");
    interp_report_table(r, header, 6, cells, 2);
    interp_report_picture(r, "Training of the convolutional network", "cnn/history.png");
    interp_report_picture(r, "Confusion matrix on the test digits: rows are the truth",
                          "cnn/confusion.png");
}

static void report_scores(interp_report *r, const tour *t)
{
    enum { columns = 5, most = 10 };
    static const char *const header[columns] = {"method", "deletion", "insertion", "ROAD",
                                                "mean rank"};
    static const char *const scores[3] = {"deletion", "insertion", "road"};
    char text[most][columns][64];
    const char *cells[most * columns];
    const int rows = t->scored.count < most ? t->scored.count : most;
    for (int i = 0; i < rows; i++) {
        const cli_scored *s = &t->scored.of[i];
        snprintf(text[i][0], 64, "%s", s->name);
        for (int k = 0; k < 3; k++) {
            const int of = cli_score(scores[k]);
            snprintf(text[i][k + 1], 64, "%.2f \302\261 %.2f", s->mean[of], s->error[of]);
        }
        snprintf(text[i][4], 64, "%.1f", s->mean_rank);
        for (int k = 0; k < columns; k++) cells[i * columns + k] = text[i][k];
    }
    interp_report_section(
        r, "Which of them to believe",
        "The output, as the pixels a method finds most relevant are removed first (deletion: low "
        "is good), put in first (insertion: high is good), or imputed from what is around (ROAD: "
        "the difference to removing the least relevant first); means over the ten digits with "
        "standard errors.\n\nThe truth about digits is not known. "
        "`interp evaluate-attribution --test-bed` makes pictures in which it is.");
    interp_report_table(r, header, columns, cells, rows);
    interp_report_picture(r, "Deletion, insertion and ROAD", "scores/curves.png");
}

static void report_lca(interp_report *r, const tour *t)
{
    char text[640];
    snprintf(
        text, sizeof text,
        "The loss change of each of the %d steps of a small network's training, shared out among "
        "its parameters; the shares add up to it within %.2g %%. In a step %.1f %% of the "
        "parameters help, %.1f %% of those that do anything.\n\nLayers do best at the same steps "
        "more often than chance would have it: p = %.2g.",
        t->lca.steps, 100 * fabs(t->lca.relative_error), 100 * t->lca.helped,
        100 * t->lca.helped_of_moved, t->lca.synchrony_p);
    interp_report_section(r, "Which parameters learn", text);
    interp_report_picture(r, "Share that helped and hurt", "lca/helped.png");
    interp_report_picture(r, "What each layer has done", "lca/trajectories_layers.png");
    interp_report_picture(r, "Neurons of the first layer", "lca/neurons_dense1.png");
    interp_report_picture(r, "Input pixels over time", "lca/inputs.gif");
}

static void report_mode(interp_report *r, const tour *t)
{
    const mode_outcome *m = &t->mode;
    char text[640];
    snprintf(
        text, sizeof text,
        "A network that was given one in twenty of the %ds is right about %.1f %% of them. In rounds "
        "the label at fault is found on validation data, inputs like those that are mistaken are "
        "selected from a pool, and training goes on.\n\nThat brings it to %.1f %%; a control that "
        "gets as many inputs at random comes to %.1f %% (means of %d networks, p = %.2g by a paired "
        "t-test). Of all digits it is %.1f %% against %.1f %%.",
        m->label, 100 * m->before, 100 * m->mode, 100 * m->control, m->repeats, m->p,
        100 * m->accuracy_mode, 100 * m->accuracy_control);
    interp_report_section(r, "What to train on next", text);
    interp_report_picture(r, "Accuracy of the label, round by round", "mode/rounds_label.png");
    interp_report_picture(r, "Inputs that are mistaken, less those that are right",
                          "mode/heatmaps/input_dhwi.png");
    interp_report_picture(r, "What a linear model of each layer gets right", "mode/layers.png");
    interp_report_picture(r, "Most like the right inputs, by nine measures",
                          "mode/selection/best.png");
}

static void report_dynamics(interp_report *r, const tour *t)
{
    char text[700];
    snprintf(
        text, sizeof text,
        "%d networks learned irises from different beginnings, in %.1f s. A Gaussian process "
        "learns from them where weights after two epochs end up, and the plane of the two that "
        "spread most is divided into %u boxes, each mapped once. What returns to itself are "
        "%d Morse set%s; every other box belongs to the tile of one of them.\n\nThe Conley "
        "index of a set says what is certain about it whatever happens inside: (x-1, 0, 0) is "
        "that of an attracting fixed point.",
        t->dynamics.models, t->dynamics.seconds, (unsigned)t->dynamics.boxes, t->dynamics.sets,
        t->dynamics.sets == 1 ? "" : "s");
    interp_report_section(r, "Where training leads", text);
    interp_report_picture(r, "Tiles, and where networks begin and end", "dynamics/retraction.png");
    interp_report_picture(r, "Morse graph", "dynamics/morse_graph.png");
    interp_report_picture(r, "Accuracy by tile", "dynamics/accuracy_by_tile.png");
}

static int write_report(cli *c, const tour *t)
{
    char path[CLI_PATH], subtitle[160];
    interp_report *r;
    const time_t clock = time(NULL);
    char day[32] = "";
    const struct tm *date = gmtime(&clock);
    if (date) strftime(day, sizeof day, "%Y-%m-%d", date);
    snprintf(subtitle, sizeof subtitle,
             "interp.h %s, %s, %s, %d thread%s, the whole tour in %.0f s", interp_version(), day,
             interp_isa(c->ctx), interp_threads(c->ctx), interp_threads(c->ctx) > 1 ? "s" : "",
             t->seconds);
    if (interp_report_begin(c->ctx, "A network that reads digits, explained", subtitle, &r))
        return cli_fail_ctx(c);
    report_training(r, t);
    interp_report_section(
        r, "What it looks at",
        "One test digit of each class. The gradient of the predicted class at a black "
        "picture (baseline) and at the digit (saliency), their difference (delta), and "
        "the difference times the digit (overlay).");
    interp_report_picture(r, "Source, baseline, saliency, delta, overlay", "inspect/saliency.png");
    interp_report_section(
        r, "Which pixels decide",
        "Every attribution method on the same ten digits. Green pixels speak for the "
        "predicted class, red ones against it; integrated gradients add up to the "
        "output's difference from the baseline.");
    interp_report_picture(r, "Methods compared", "attribution/methods.png");
    report_scores(r, t);
    interp_report_section(
        r, "What it takes for each digit",
        "Inputs grown from noise, kept near the mean and the spread of the training "
        "digits, until the network is as sure as it can be; and the probability "
        "they reach.");
    interp_report_picture(r, "Canonical inputs", "inspect/canonical.png");
    interp_report_section(
        r, "What it has learned",
        "The filters of the first layer, and where the test digits lie in the numbers "
        "that the last layer reads, laid out by t-SNE. inspect/embedding.html shows each digit "
        "under the pointer, finds and selects them.");
    interp_report_picture(r, "Filters", "inspect/features.png");
    interp_report_picture(r, "Embedding", "inspect/embedding.png");
    report_lca(r, t);
    report_mode(r, t);
    report_dynamics(r, t);
    interp_report_section(r, "Files", NULL);
    static const char *const files[][2] = {
        {"cnn/model.onnx", "the network; any ONNX runtime loads it"},
        {"cnn/best.onnx", "the epoch with the best validation loss"},
        {"cnn/history.csv", "loss and accuracy of every epoch"},
        {"cnn/confusion.csv", "counts, precision, recall and F1"},
        {"attribution/summary.csv",
         "outputs, completeness residuals, passes and time of every method"},
        {"attribution/integrated_gradients.npy", "one of the attribution arrays, [10,1,8,8]"},
        {"scores/ranking.csv", "how good each method is by every score, with standard errors"},
        {"lca/figures.csv", "what each layer's parameters did: shares, Gini, turns"},
        {"mode/rounds.csv", "every round of mending: label, layer, inputs, accuracies"},
        {"dynamics/morse_graph.json", "Morse sets of training, what leads to what, Conley indices"},
        {"inspect/canonical.csv", "probabilities reached by the canonical inputs"},
        {"inspect/embedding.html", "the embedding to explore: hover, search, select, export"},
        {"inspect/embedding.npy", "its points, [n,2]"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        interp_report_file(r, files[i][0], files[i][1]);
    if (interp_report_end(r, cli_path(path, t->folder, "report.html"))) return cli_fail_ctx(c);
    return CLI_DONE;
}

static int run(cli *c)
{
    static const char *const stale[] = {"lca/tensorboard/events.out.tfevents.#.interp.#.#",
                                        "cnn/tensorboard/events.out.tfevents.#.interp.#.#",
                                        "mlp/tensorboard/events.out.tfevents.#.interp.#.#", NULL};
    char folder[CLI_PATH];
    tour t;
    const double start = cli_now();
    memset(&t, 0, sizeof t);
    int code = cli_begin(c, cli_get(c, "-o") ? cli_get(c, "-o") : "out");
    t.folder = c->out;
    if (!code) code = cli_data(c, "digits", &t.train, &t.test);
    if (!code) code = train_one(c, &t, "cnn", "cnn", &t.cnn);
    if (!code) code = train_one(c, &t, "mlp", "mlp:64-128-64-10", &t.mlp);
    if (!code) code = inspect_model(c, &t);
    if (!code) code = attribute_samples(c, &t, cli_path(folder, t.folder, "attribution"));
    if (!code) code = draw_methods(c, folder);
    if (!code) code = score_attributions(c, &t, folder);
    if (!code) code = allocate_loss(c, &t);
    if (!code) code = mend_label(c, &t);
    if (!code) code = follow_trainings(c, &t);
    t.seconds = cli_now() - start;
    if (!code) code = write_report(c, &t);
    if (!code) code = cli_commit(c, stale);
    if (code) return code;
    cli_say(c, "open %s/report.html  (%.1f s)", c->folder, t.seconds);
    if (c->json)
        printf("{\"cnn_test_accuracy\":%.6g,\"mlp_test_accuracy\":%.6g,\"seconds\":%.3f}\n",
               t.cnn.test_accuracy, t.mlp.test_accuracy, t.seconds);
    return CLI_DONE;
}

const cli_command cmd_demo = {
    "demo", "[-o out]", "the whole tour on built-in digits in about a minute", 0, options, run};

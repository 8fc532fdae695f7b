/* interp train: trains a network, measures it, saves it. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--data", "DATA", "what to train on"},
    {"--arch", "ARCH", "linear, mlp:W-..-W, cnn (default), lenet, allcnn, resnet20, resnet18, ..."},
    {"--model", "FILE.onnx", "start from this model instead of an architecture"},
    {"--epochs", "N", "passes over the data (10; below 5000 samples 25, without convolutions 60)"},
    {"--batch", "N", "samples of a step (32 below 5000 samples, else 64)"},
    {"--optimizer", "NAME", "adam (default), adamw, sgd, momentum, rmsprop"},
    {"--lr", "X", "learning rate (sgd: 0.01; else 0.001, cnn 0.002, mlp on few samples 0.003)"},
    {"--momentum", "X", "momentum of sgd and rmsprop (momentum: 0.9)"},
    {"--nesterov", NULL, "look-ahead momentum"},
    {"--weight-decay", "X", "decay of weights, not of biases (0)"},
    {"--schedule", "NAME", "cosine (default), constant, linear, step"},
    {"--milestones", "E,E,..", "epochs after which step multiplies the rate by --decay"},
    {"--decay", "X", "factor of schedule step (0.1)"},
    {"--warmup", "N", "steps over which the rate rises (0)"},
    {"--clip", "X", "largest norm of the gradient (none)"},
    {"--label-smoothing", "X", "share of the label spread over all classes (0)"},
    {"--loss", "NAME", "cross_entropy (default), mse, bce"},
    {"--augment", "WHAT",
     "auto (default), none, or shift=PX,rotate=DEG,scale=X,crop=PX,flip,vflip"},
    {"--freeze", "LAYER@STEP", "parameters named LAYER... stop learning at STEP; may be repeated"},
    {"--layer-lr", "LAYER=LR", "learning rate of parameters named LAYER...; may be repeated"},
    {"--validation", "X", "share of the training data set aside for validation (0.1)"},
    {"--patience", "N", "stop after N epochs without a better validation loss (never)"},
    {"--resume", NULL, "keep RUN/checkpoint.safetensors and go on from it when it is there"},
    {NULL, NULL, NULL}};

/* ---- settings */

enum { FEW_SAMPLES = 5000 }; /* below, more epochs of smaller batches */

/* "a,b=1,c=2": the value of `key`, "" for one without; NULL when it is not there. */
static const char *list_value(const char *list, const char *key, char out[64])
{
    const size_t n = strlen(key);
    for (const char *at = list; *at;) {
        size_t length = strcspn(at, ",");
        if (!strncmp(at, key, n) && (at[n] == '=' || n == length)) {
            const size_t skip = n + (at[n] == '=');
            snprintf(out, 64, "%.*s", (int)(length - skip < 60 ? length - skip : 60), at + skip);
            return out;
        }
        at += length + (at[length] == ',');
    }
    return NULL;
}

/* What a network sees in pictures, for the defaults. */
typedef enum arch_kind { ARCH_LINEAR, ARCH_MLP, ARCH_CONVOLUTIONAL } arch_kind;

static int parse_augment(const char *text, const interp_dataset *data, arch_kind kind,
                         interp_augment_desc *a, bool *used)
{
    static const char *const keys[] = {"shift", "rotate", "scale", "crop", "flip", "vflip"};
    char value[64];
    memset(a, 0, sizeof *a);
    *used = false;
    if (!text || !strcmp(text, "auto")) { /* gentle moves; without convolutions, for few pictures */
        const bool few = data->n < FEW_SAMPLES;
        if (data->shape.rank != 3 || kind == ARCH_LINEAR || (kind == ARCH_MLP && !few))
            return CLI_DONE;
        a->shift = (float)data->shape.dim[1] / (kind == ARCH_MLP ? 24 : 16);
        a->rotate_deg = kind == ARCH_MLP ? 6 : 8;
        *used = true;
        return CLI_DONE;
    }
    if (!strcmp(text, "none")) return CLI_DONE;
    for (const char *at = text; *at;) { /* only words we know */
        const size_t length = strcspn(at, ",");
        bool known = false;
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            known |= !strncmp(at, keys[i], strlen(keys[i])) &&
                     (at[strlen(keys[i])] == '=' || strlen(keys[i]) == length);
        if (!known) return cli_usage("--augment %s: %.*s is not known", text, (int)length, at);
        at += length + (at[length] == ',');
    }
    double v[4] = {0};
    for (int i = 0; i < 4; i++)
        if (list_value(text, keys[i], value) && (!cli_parse_double(value, &v[i]) || v[i] < 0))
            return cli_usage("--augment %s: %s needs a number from 0", text, keys[i]);
    a->shift = (float)v[0], a->rotate_deg = (float)v[1], a->scale = (float)v[2];
    a->crop_padding = (int)v[3];
    a->flip_horizontal = list_value(text, "flip", value) != NULL;
    a->flip_vertical = list_value(text, "vflip", value) != NULL;
    *used = true;
    return CLI_DONE;
}

/* --freeze LAYER@STEP and --layer-lr LAYER=LR as rules; `names` keeps the texts. */
static int parse_rules(const cli *c, interp_layer_rule *rules, char names[][64], int most, int *n)
{
    for (int kind = 0; kind < 2; kind++) {
        const char *option = kind ? "--layer-lr" : "--freeze";
        const char *text;
        for (int i = 0; (text = cli_get_nth(c, option, i)) != NULL; i++) {
            const char *mark = strrchr(text, kind ? '=' : '@');
            double v;
            if (!mark || mark == text || mark - text > 60 || !cli_parse_double(mark + 1, &v) ||
                v <= 0)
                return cli_usage("%s %s: give %s", option, text,
                                 kind ? "LAYER=RATE" : "LAYER@STEP, steps from 1");
            if (*n == most) return cli_usage("more than %d rules for layers", most);
            snprintf(names[*n], 64, "%.*s", (int)(mark - text), text);
            int at = 0; /* a rule of that layer, or a new one */
            while (at < *n && strcmp(rules[at].layer, names[*n])) at++;
            if (at == *n) {
                memset(&rules[at], 0, sizeof rules[at]);
                rules[at].layer = names[(*n)++];
            }
            if (kind) rules[at].lr = (float)v;
            else rules[at].freeze_from = (int64_t)v;
        }
    }
    return CLI_DONE;
}

static int parse_choice(const cli *c, const char *option, const char *const *names, int n, int *out)
{
    const char *text = cli_get(c, option);
    if (!text) return CLI_DONE;
    for (int i = 0; i < n; i++)
        if (!strcmp(text, names[i])) {
            *out = i;
            return CLI_DONE;
        }
    cli_usage("%s %s: it is not one of them:", option, text);
    for (int i = 0; i < n; i++) fprintf(stderr, "  %s\n", names[i]);
    return CLI_USAGE;
}

static int parse_optimizer(const cli *c, interp_train_desc *d)
{
    static const char *const names[] = {"adam", "adamw", "sgd", "rmsprop", "momentum"};
    static const interp_optimizer kinds[] = {INTERP_ADAM, INTERP_ADAMW, INTERP_SGD, INTERP_RMSPROP,
                                             INTERP_SGD};
    int i = 0;
    const int code = parse_choice(c, "--optimizer", names, 5, &i);
    d->optimizer = kinds[i];
    if (i == 4) d->momentum = 0.9f;
    return code;
}

static int parse_milestones(const cli *c, interp_train_desc *d)
{
    const char *text = cli_get(c, "--milestones");
    int n = 0;
    for (const char *at = text; at && *at;) {
        char *end;
        const long e = strtol(at, &end, 10);
        if (end == at || e < 1 || e > 1000000 || n == 8 || (*end && *end != ','))
            return cli_usage("--milestones %s: give up to 8 epochs like 10,20", text);
        d->milestones[n++] = (int)e;
        at = *end ? end + 1 : end;
    }
    return CLI_DONE;
}

/* Everything but the augmentation and the rules. */
static int parse_settings(const cli *c, const interp_dataset *data, const char *arch,
                          arch_kind kind, interp_train_desc *d)
{
    static const char *const schedules[] = {"constant", "step", "cosine", "linear"};
    static const char *const losses[] = {"cross_entropy", "mse", "bce"};
    int schedule = INTERP_COSINE, loss = 0, code = 0;
    memset(d, 0, sizeof *d);
    const bool few = data->n < FEW_SAMPLES;
    d->epochs = !few ? 10 : kind == ARCH_CONVOLUTIONAL ? 25 : 60;
    d->batch = few ? 32 : 64;
    d->seed = c->seed;
    d->nesterov = cli_has(c, "--nesterov");
    if (cli_has(c, "--milestones") && !cli_has(c, "--schedule")) schedule = INTERP_STEP_DECAY;
    if (!code) code = parse_optimizer(c, d);
    if (d->optimizer != INTERP_SGD && !strcmp(arch, "cnn")) d->lr = 2e-3f;
    if (d->optimizer != INTERP_SGD && few && kind != ARCH_CONVOLUTIONAL) d->lr = 3e-3f;
    if (!code) code = parse_choice(c, "--schedule", schedules, 4, &schedule);
    if (!code) code = parse_choice(c, "--loss", losses, 3, &loss);
    if (!code) code = cli_int(c, "--epochs", 1, 1000000, &d->epochs);
    if (!code) code = cli_int(c, "--batch", 1, 1000000, &d->batch);
    if (!code) code = cli_float(c, "--lr", 1e-12, 1e6, &d->lr);
    if (!code) code = cli_float(c, "--momentum", 0, 0.999999, &d->momentum);
    if (!code) code = cli_float(c, "--weight-decay", 0, 1e6, &d->weight_decay);
    if (!code) code = cli_float(c, "--decay", 1e-6, 1, &d->decay);
    if (!code) code = cli_int(c, "--warmup", 0, 1 << 30, &d->warmup_steps);
    if (!code) code = cli_float(c, "--clip", 1e-12, 1e12, &d->clip_norm);
    if (!code) code = cli_float(c, "--label-smoothing", 0, 0.999, &d->label_smoothing);
    if (!code) code = cli_int(c, "--patience", 1, 1000000, &d->patience);
    if (!code) code = parse_milestones(c, d);
    d->schedule = (interp_schedule)schedule;
    d->loss = (interp_loss)loss;
    return code;
}

/* ---- running */

/* What the epoch hook keeps. */
typedef struct run_state {
    cli *c;
    interp_net *net;
    int epochs;
    void *best; /* ONNX bytes of the best epoch */
    size_t best_bytes;
    bool failed;
} run_state;

static int on_epoch(const interp_epoch *e, bool is_best, void *user)
{
    run_state *s = (run_state *)user;
    if (is_best) {
        interp_free(s->c->ctx, s->best);
        s->best = NULL;
        s->failed = interp_onnx_serialize(s->net, &s->best, &s->best_bytes) != INTERP_OK;
    }
    cli_say(s->c, "epoch %*d/%d  loss %.4f  accuracy %.2f %%  validation %.4f  %.2f %%  %.1f s%s",
            s->epochs > 99 ? 3 : 2, e->epoch, s->epochs, e->train_loss, 100 * e->train_accuracy,
            e->val_loss, 100 * e->val_accuracy, e->seconds, is_best ? "  *" : "");
    return s->failed;
}

static int write_history(cli *c, const char *folder, const interp_epoch *h, int n)
{
    char path[1024];
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "epoch,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,seconds\n");
    for (int i = 0; i < n; i++) {
        const double row[] = {h[i].train_loss,   h[i].train_accuracy, h[i].val_loss,
                              h[i].val_accuracy, h[i].learning_rate,  h[i].seconds};
        cli_add(&t, "%d", h[i].epoch);
        for (int k = 0; k < 6; k++) cli_add(&t, ","), cli_add_number(&t, row[k], false);
        cli_add(&t, "\n");
    }
    const int code = cli_text_write(&t, cli_path(path, folder, "history.csv"));
    if (code) return code;
    float *y = (float *)interp_alloc(c->ctx, 5 * (size_t)n * sizeof *y);
    if (!y) return cli_fail_ctx(c);
    static const char *const names[] = {"training loss", "validation loss",
                                        "training accuracy (right)", "validation accuracy (right)"};
    interp_series series[4];
    memset(series, 0, sizeof series);
    for (int i = 0; i < n; i++) {
        const double row[] = {h[i].train_loss, h[i].val_loss, h[i].train_accuracy,
                              h[i].val_accuracy};
        for (int k = 0; k < 4; k++) y[k * n + i] = (float)row[k];
        y[4 * n + i] = (float)h[i].epoch;
    }
    for (int k = 0; k < 4; k++) {
        series[k].name = names[k];
        series[k].x = y + 4 * n, series[k].y = y + k * n, series[k].n = n;
        series[k].right = k > 1;
        series[k].style = k % 2 ? INTERP_SERIES_LINE : INTERP_SERIES_DASHED;
    }
    interp_chart chart;
    memset(&chart, 0, sizeof chart);
    chart.title = "Training", chart.x_label = "epoch", chart.y_label = "loss";
    chart.right_label = "accuracy";
    interp_image image;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, 4, &image);
    interp_free(c->ctx, y);
    if (status) return cli_fail_ctx(c);
    return cli_write_image(c, &image, cli_path(path, folder, "history.png"));
}

int write_confusion(cli *c, const interp_dataset *data, const int32_t *predicted,
                    const char *folder, double *accuracy)
{
    char path[1024];
    interp_confusion m;
    interp_image image;
    if (interp_confusion_count(c->ctx, data->y, predicted, data->n, data->n_classes, &m))
        return cli_fail_ctx(c);
    if (accuracy) *accuracy = m.accuracy;
    interp_confusion_draw_desc d;
    memset(&d, 0, sizeof d);
    d.counts = m.counts;
    d.n_classes = m.n_classes;
    d.class_names = (const char *const *)data->class_names;
    interp_status status = interp_confusion_write_csv(
        c->ctx, cli_path(path, folder, "confusion.csv"), &m, data->class_names);
    if (!status && m.n_classes <= 1000) {
        status = interp_confusion_draw(c->ctx, &d, &image);
        if (!status && cli_write_image(c, &image, cli_path(path, folder, "confusion.png"))) {
            interp_free(c->ctx, m.counts);
            return CLI_FAILED;
        }
    }
    interp_free(c->ctx, m.counts);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* Loss and accuracy over a window of training, as TensorBoard events. */
static int write_tensorboard(cli *c, const char *folder, const interp_epoch *h, int n)
{
    char path[1024];
    interp_tensorboard *tb;
    if (interp_tensorboard_open(c->ctx, cli_path(path, folder, "tensorboard"), NULL, &tb))
        return cli_fail_ctx(c);
    interp_status status = INTERP_OK;
    for (int i = 0; i < n && !status; i++) {
        static const char *const tags[] = {"Loss/train", "Loss/eval", "Accuracy/train",
                                           "Accuracy/eval", "learning_rate"};
        const double row[] = {h[i].train_loss, h[i].val_loss, h[i].train_accuracy,
                              h[i].val_accuracy, h[i].learning_rate};
        for (int k = 0; k < 5 && !status; k++)
            if (!isnan(row[k]))
                status = interp_tensorboard_scalar(tb, tags[k], h[i].epoch, (float)row[k]);
    }
    interp_tensorboard_close(tb);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* Everything that is left of a run. */
static int write_run(cli *c, const char *folder, run_state *s, const interp_epoch *history,
                     int epochs, const interp_dataset *test, const int32_t *predicted)
{
    char path[1024];
    int code = cli_make_folder(folder);
    if (!code && interp_onnx_save(s->net, cli_path(path, folder, "model.onnx")))
        code = cli_fail_ctx(c);
    if (!code && s->best)
        code = cli_write_text(cli_path(path, folder, "best.onnx"), (const char *)s->best,
                              s->best_bytes);
    if (!code) code = write_history(c, folder, history, epochs);
    if (!code && test->y) code = write_confusion(c, test, predicted, folder, NULL);
    if (!code) code = cli_make_folder(cli_path(path, folder, "tensorboard"));
    if (!code) code = write_tensorboard(c, folder, history, epochs);
    return code;
}

static int train_and_write(cli *c, const char *folder, run_state *s, interp_train_desc *d,
                           const interp_dataset *train, const interp_dataset *test,
                           train_outcome *outcome)
{
    interp_train_result result;
    interp_evaluation on_test, on_train;
    char checkpoint[1024];
    interp_epoch *history =
        (interp_epoch *)interp_alloc(c->ctx, (size_t)d->epochs * sizeof *history);
    int32_t *predicted = (int32_t *)interp_alloc(c->ctx, (size_t)test->n * sizeof *predicted);
    if (!history || !predicted) return cli_fail_ctx(c);
    memset(&on_test, 0, sizeof on_test);
    memset(&on_train, 0, sizeof on_train);
    on_test.predicted = predicted;
    d->history = history;
    d->on_epoch = on_epoch;
    d->user = s;
    if (cli_has(c, "--resume")) {
        if (cli_make_folder(folder)) return CLI_FAILED;
        d->checkpoint = cli_path(checkpoint, folder, "checkpoint.safetensors");
    }
    s->epochs = d->epochs;
    cli_limit_memory(c);
    interp_status status = interp_train(s->net, train, d, &result);
    if (!status && s->failed) status = interp_last_status(c->ctx);
    if (!status) status = interp_evaluate(s->net, test, d->loss, &on_test);
    if (!status) status = interp_evaluate(s->net, train, d->loss, &on_train);
    outcome->peak_bytes = interp_memory_read(c->ctx).peak;
    interp_memory_set_limit(c->ctx, 0);
    if (status) return cli_fail_ctx(c);
    outcome->train_accuracy = on_train.accuracy;
    outcome->val_accuracy = result.val_accuracy;
    outcome->test_accuracy = on_test.accuracy;
    outcome->test_loss = on_test.loss;
    outcome->seconds = result.seconds;
    outcome->epochs = result.epochs;
    const int code = write_run(c, folder, s, history, result.epochs, test, predicted);
    interp_free(c->ctx, history);
    interp_free(c->ctx, predicted);
    return code;
}

int train_run(cli *c, const char *folder, train_outcome *outcome)
{
    enum { most_rules = 32 };
    interp_dataset all, train, validation, test;
    interp_train_desc d;
    interp_augment_desc augment;
    interp_layer_rule rules[most_rules];
    char names[most_rules + 1][64];
    run_state s;
    bool augmented = false;
    float share = 0.1f;
    memset(&s, 0, sizeof s);
    const char *arch = cli_get(c, "--arch") ? cli_get(c, "--arch") : "cnn";
    int code = cli_data(c, cli_get(c, "--data"), &all, &test);
    if (!code) code = cli_float(c, "--validation", 0, 0.9, &share);
    if (code) return code;
    const arch_kind kind = cli_has(c, "--model")       ? ARCH_CONVOLUTIONAL
                           : !strcmp(arch, "linear")   ? ARCH_LINEAR
                           : !strncmp(arch, "mlp:", 4) ? ARCH_MLP
                                                       : ARCH_CONVOLUTIONAL;
    code = parse_settings(c, &all, arch, kind, &d);
    if (!code) code = parse_augment(cli_get(c, "--augment"), &all, kind, &augment, &augmented);
    if (!code) code = parse_rules(c, rules, names, most_rules, &d.n_rules);
    if (code) return code;
    d.rules = rules;
    if (augmented) d.augment = &augment;
    const interp_status made =
        cli_has(c, "--model")
            ? interp_onnx_load(c->ctx, cli_get(c, "--model"), &s.net)
            : interp_net_arch(c->ctx, arch, &all.shape, all.n_classes, c->seed, &s.net);
    if (made) return cli_fail_ctx(c);
    s.c = c;
    if (share > 0 && all.n >= 20 && all.y) {
        if (interp_dataset_split(c->ctx, &all, (double)share, c->seed + 1, &train, &validation))
            return cli_fail_ctx(c);
        interp_dataset_free(c->ctx, &all);
        d.validation = &validation;
    } else {
        train = all;
    }
    const interp_net_info info = interp_net_describe(s.net);
    cli_say(c,
            "%s: %d samples to train on, %d to validate, %d to test; %s with %zu parameters; %s, "
            "%d thread%s",
            cli_get(c, "--data"), train.n, d.validation ? validation.n : 0, test.n,
            cli_has(c, "--model") ? cli_get(c, "--model") : arch, info.n_parameters,
            interp_isa(c->ctx), interp_threads(c->ctx), interp_threads(c->ctx) > 1 ? "s" : "");
    return train_and_write(c, folder, &s, &d, &train, &test, outcome);
}

static int run(cli *c)
{
    train_outcome o;
    const char *folder = cli_get(c, "-o");
    if (!folder) return cli_usage("train: -o RUN is missing: the folder for the results");
    memset(&o, 0, sizeof o);
    const int code = train_run(c, folder, &o);
    if (code) return code;
    cli_say(c, "test accuracy %.2f %%  (%d epochs, %.1f s); written to %s", 100 * o.test_accuracy,
            o.epochs, o.seconds, folder);
    if (!c->json) return CLI_DONE;
    cli_text t = {NULL, 0, 0, false};
    const double figures[] = {o.train_accuracy, o.val_accuracy, o.test_accuracy, o.test_loss,
                              o.seconds};
    static const char *const keys[] = {"train_accuracy", "val_accuracy", "test_accuracy",
                                       "test_loss", "seconds"};
    cli_add(&t, "{");
    for (int i = 0; i < 5; i++) {
        cli_add(&t, "%s\"%s\":", i ? "," : "", keys[i]);
        cli_add_number(&t, figures[i], true);
    }
    cli_add(&t, ",\"epochs\":%d,\"peak_bytes\":%zu}\n", o.epochs, o.peak_bytes);
    return cli_text_print(&t);
}

const cli_command cmd_train = {"train",
                               "--data DATA [--arch ARCH | --model FILE.onnx] -o RUN",
                               "trains a network; writes model.onnx, best.onnx, history, confusion",
                               0,
                               options,
                               run};

/* interp train: trains a network, measures it, saves it. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--data", "DATA", "what to train on"},
    {"--arch", "ARCH",
     "cnn (default for images), mlp (default otherwise), mlp:W-..-W, linear, lenet, allcnn, "
     "resnet20, resnet18, resnet50, vgg-half, mobilenet-v2, efficientnet-b0 .. b3, vit-tiny; "
     "multiview:NAME or multiview-concat:NAME for samples of several views"},
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
    {"--freeze", "LAYER@STEP",
     "parameters named LAYER... stop learning at STEP, 0: never learn; may be repeated"},
    {"--layer-lr", "LAYER=LR", "learning rate of parameters named LAYER...; may be repeated"},
    {"--validation", "X", "share of the training data set aside for validation (0.1)"},
    {"--patience", "N", "stop after N epochs without a better validation loss (never)"},
    NORMALIZE_OPTION,
    {"--resume", NULL,
     "keep RUN/checkpoint.safetensors, and go on from it and best.onnx when it is there"},
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
    if (data->shape.rank != 3)
        return cli_usage("--augment %s: the samples are no images; give none", text);
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
                (kind ? v <= 0 : !(v >= 0 && v <= 1e15)))
                return cli_usage("%s %s: give %s", option, text,
                                 kind ? "LAYER=RATE" : "LAYER@STEP, a step from 0");
            if (*n == most) return cli_usage("more than %d rules for layers", most);
            snprintf(names[*n], 64, "%.*s", (int)(mark - text), text);
            int at = 0; /* a rule of that layer, or a new one */
            while (at < *n && strcmp(rules[at].layer, names[*n])) at++;
            if (at == *n) {
                memset(&rules[at], 0, sizeof rules[at]);
                rules[at].layer = names[(*n)++];
            }
            if (kind) rules[at].lr = (float)v;
            else rules[at].freeze_from = v < 1 ? 1 : (int64_t)v;
        }
    }
    return CLI_DONE;
}

static int parse_optimizer(const cli *c, interp_train_desc *d)
{
    static const char *const names[] = {"adam", "adamw", "sgd", "rmsprop", "momentum"};
    static const interp_optimizer kinds[] = {INTERP_ADAM, INTERP_ADAMW, INTERP_SGD, INTERP_RMSPROP,
                                             INTERP_SGD};
    int i = 0;
    const int code = cli_choice(c, "--optimizer", names, 5, &i);
    d->optimizer = kinds[i];
    if (i == 4) d->momentum = 0.9f;
    return code;
}

static int parse_milestones(const cli *c, interp_train_desc *d)
{
    const char *text = cli_get(c, "--milestones");
    int n = 0;
    long last = 0;
    for (const char *at = text; at && *at;) {
        char *end;
        const long e = strtol(at, &end, 10);
        if (end == at || e <= last || e > 1000000 || n == 8 || (*end && *end != ','))
            return cli_usage("--milestones %s: give up to 8 rising epochs like 10,20", text);
        last = e;
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
    if (!code) code = cli_choice(c, "--schedule", schedules, 4, &schedule);
    if (!code) code = cli_choice(c, "--loss", losses, 3, &loss);
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

/* A training on its way. */
typedef struct run_state {
    cli *c;
    const char *folder;
    cli_model model;
    interp_dataset train, validation, test;
    interp_train_desc desc;
    interp_train_result result;
    interp_evaluation on_test, on_train;
    interp_epoch *history; /* [epochs] */
    int done;              /* epochs */
    int saved;             /* code of the last save of best.onnx */
} run_state;

/* best.onnx is written whenever there is a better one; its bytes are no workspace. With --resume it
   stands beside the checkpoint: a later call may go on without ever being better. */
static int save_best(run_state *s)
{
    char path[CLI_PATH];
    const bool resume = s->desc.checkpoint != NULL;
    const size_t limit = interp_memory_read(s->c->ctx).limit;
    interp_memory_set_limit(s->c->ctx, 0);
    const int code = cli_model_save(s->c, s->model.net, s->model.classes, s->model.n_classes,
                                    cli_path(path, resume ? s->c->folder : s->folder, "best.onnx"));
    interp_memory_set_limit(s->c->ctx, limit);
    return code;
}

static int on_epoch(const interp_epoch *e, bool is_best, void *user)
{
    run_state *s = (run_state *)user;
    const int epochs = s->desc.epochs;
    s->done = e->epoch;
    if (is_best) s->saved = save_best(s);
    cli_say(s->c, "epoch %*d/%d  loss %.4f  accuracy %.2f %%  validation %.4f  %.2f %%  %.1f s%s",
            epochs > 99 ? 3 : 2, e->epoch, epochs, e->train_loss, 100 * e->train_accuracy,
            e->val_loss, 100 * e->val_accuracy, e->seconds, is_best ? "  *" : "");
    return s->saved;
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

/* Shares instead of counts, as --normalize says. */
static int write_shares(cli *c, const interp_confusion *m, char *const *names, const char *folder)
{
    static const char *const ways[] = {"none", "true", "pred", "all"};
    char path[CLI_PATH], number[16];
    const int k = m->n_classes;
    int how = 0;
    cli_text t = {NULL, 0, 0, false};
    const int code = cli_choice(c, "--normalize", ways, 4, &how);
    if (code || !how) return code;
    double *share = (double *)interp_alloc(c->ctx, (size_t)k * (size_t)k * sizeof *share);
    if (!share) return cli_fail_ctx(c);
    interp_confusion_normalize(m, (interp_normalize)how, share);
    for (int i = -1; i < k; i++) {
        for (int j = -1; j < k; j++) {
            const int label = i < 0 ? j : i;
            snprintf(number, sizeof number, "%d", label);
            if (j >= 0) cli_add(&t, ",");
            if (label < 0) cli_add(&t, "truth");
            else if (i < 0 || j < 0) cli_add_csv(&t, names ? names[label] : number);
            else cli_add_number(&t, share[i * k + j], false);
        }
        cli_add(&t, "\n");
    }
    interp_free(c->ctx, share);
    return cli_text_write(&t, cli_path(path, folder, "confusion_normalized.csv"));
}

int write_confusion(cli *c, const interp_dataset *data, const int32_t *predicted,
                    const char *folder, confusion_figures *figures)
{
    char path[CLI_PATH];
    interp_confusion m;
    interp_image image;
    if (interp_confusion_count(c->ctx, data->y, predicted, data->n, data->n_classes, &m))
        return cli_fail_ctx(c);
    if (figures) {
        figures->accuracy = m.accuracy;
        memcpy(figures->macro, m.macro, sizeof m.macro);
        memcpy(figures->weighted, m.weighted, sizeof m.weighted);
    }
    interp_confusion_draw_desc d;
    memset(&d, 0, sizeof d);
    d.counts = m.counts;
    d.n_classes = m.n_classes;
    d.class_names = (const char *const *)data->class_names;
    int code = write_shares(c, &m, data->class_names, folder);
    if (!code && interp_confusion_write_csv(c->ctx, cli_path(path, folder, "confusion.csv"), &m,
                                            data->class_names))
        code = cli_fail_ctx(c);
    if (!code && m.n_classes <= 1000)
        code = interp_confusion_draw(c->ctx, &d, &image)
                   ? cli_fail_ctx(c)
                   : cli_write_image(c, &image, cli_path(path, folder, "confusion.png"));
    interp_free(c->ctx, m.counts);
    return code;
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

/* Everything that is left of a run but best.onnx. */
static int write_run(cli *c, run_state *s)
{
    char path[CLI_PATH];
    int code = cli_model_save(c, s->model.net, s->model.classes, s->model.n_classes,
                              cli_path(path, s->folder, "model.onnx"));
    if (!code) code = write_history(c, s->folder, s->history, s->done);
    if (!code) code = cli_make_folder(cli_path(path, s->folder, "tensorboard"));
    if (!code) code = write_tensorboard(c, s->folder, s->history, s->done);
    return code;
}

static interp_status stage_train(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    const interp_status status = interp_train(s->model.net, &s->train, &s->desc, &s->result);
    if (status == INTERP_OK && s->saved)
        return interp_fail(c->ctx, INTERP_IO, "best.onnx could not be written");
    return status;
}

static interp_status stage_test(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    (void)c;
    return interp_evaluate(s->model.net, &s->test, s->desc.loss, &s->on_test);
}

static interp_status stage_check(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    (void)c;
    return interp_evaluate(s->model.net, &s->train, s->desc.loss, &s->on_train);
}

static int train_and_write(cli *c, run_state *s, train_outcome *outcome)
{
    static const cli_stage stages[] = {stage_train, stage_test, stage_check};
    char checkpoint[CLI_PATH];
    interp_train_desc *d = &s->desc;
    s->history = (interp_epoch *)interp_alloc(c->ctx, (size_t)d->epochs * sizeof *s->history);
    s->on_test.predicted =
        (int32_t *)interp_alloc(c->ctx, (size_t)s->test.n * sizeof *s->on_test.predicted);
    if (!s->history || !s->on_test.predicted) return cli_fail_ctx(c);
    d->history = s->history;
    d->on_epoch = on_epoch;
    d->user = s;
    if (cli_has(c, "--resume")) /* beside the results: it must outlive whatever ends this run */
        d->checkpoint = cli_path(checkpoint, c->folder, "checkpoint.safetensors");
    const interp_status status =
        cli_work(c, stages, 3, s, s->desc.batch > 1 ? " or a smaller --batch" : "");
    if (s->saved) return CLI_FAILED; /* and has been said */
    outcome->cancelled = status == INTERP_CANCELLED;
    outcome->epochs = s->done;
    if (outcome->cancelled) return s->done ? write_run(c, s) : CLI_DONE;
    if (status) return cli_fail_ctx(c);
    outcome->epochs = s->done = s->result.epochs; /* also when a checkpoint left nothing to do */
    outcome->peak_bytes = interp_memory_read(c->ctx).peak;
    outcome->train_accuracy = s->on_train.accuracy;
    outcome->val_accuracy = s->result.val_accuracy;
    outcome->test_accuracy = s->on_test.accuracy;
    outcome->test_loss = s->on_test.loss;
    outcome->seconds = s->result.seconds;
    int code = write_run(c, s);
    if (!code) code = write_confusion(c, &s->test, s->on_test.predicted, s->folder, NULL);
    interp_free(c->ctx, s->history);
    interp_free(c->ctx, s->on_test.predicted);
    return code;
}

/* The network, from a file or by name, and what its classes are called. */
static int open_model(cli *c, run_state *s, const char *arch)
{
    const interp_dataset *d = &s->train;
    if (cli_has(c, "--model")) {
        const int code = cli_model_load(c, cli_get(c, "--model"), NULL, &s->model);
        return code ? code : cli_data_fit(c, cli_get(c, "--data"), &s->model, &s->train, &s->test);
    }
    if (interp_net_arch(c->ctx, arch, &d->shape, d->n_classes, c->seed, &s->model.net))
        return cli_fail_ctx(c);
    s->model.path = arch;
    s->model.classes = d->class_names;
    s->model.n_classes = d->n_classes;
    return CLI_DONE;
}

/* Sets the validation samples aside. */
static int split_validation(cli *c, run_state *s)
{
    float share = 0.1f;
    interp_dataset all = s->train;
    const int code = cli_float(c, "--validation", 0, 0.9, &share);
    if (code || !(share > 0) || all.n < 20) return code;
    if (interp_dataset_split(c->ctx, &all, (double)share, 1, &s->train, &s->validation))
        return cli_fail_ctx(c);
    if (s->model.classes == all.class_names) s->model.classes = s->train.class_names;
    interp_dataset_free(c->ctx, &all);
    s->desc.validation = &s->validation;
    return CLI_DONE;
}

int train_run(cli *c, const char *folder, train_outcome *outcome)
{
    enum { most_rules = 32 };
    interp_augment_desc augment;
    interp_layer_rule rules[most_rules];
    char names[most_rules + 1][64];
    run_state s;
    bool augmented = false;
    const char *data = cli_get(c, "--data");
    memset(&s, 0, sizeof s);
    s.c = c;
    s.folder = folder;
    int code = cli_data(c, data, &s.train, &s.test);
    if (code) return code;
    if (!s.train.y)
        return cli_fail("%s: it has no labels to train on; those of npy are npy:X.npy,Y.npy", data);
    const char *arch = cli_get(c, "--arch");
    if (!arch) arch = s.train.shape.rank == 3 ? "cnn" : "mlp";
    const arch_kind kind = cli_has(c, "--model")      ? ARCH_CONVOLUTIONAL
                           : !strcmp(arch, "linear")  ? ARCH_LINEAR
                           : !strncmp(arch, "mlp", 3) ? ARCH_MLP
                                                      : ARCH_CONVOLUTIONAL;
    code = parse_settings(c, &s.train, arch, kind, &s.desc);
    if (!code) code = parse_augment(cli_get(c, "--augment"), &s.train, kind, &augment, &augmented);
    if (!code) code = parse_rules(c, rules, names, most_rules, &s.desc.n_rules);
    if (!code) code = open_model(c, &s, arch);
    if (!code) code = split_validation(c, &s);
    if (code) return code;
    s.desc.rules = rules;
    if (augmented) s.desc.augment = &augment;
    cli_say(c,
            "%s: %d samples to train on, %d to validate, %d to test; %s with %zu parameters; %s, "
            "%d thread%s",
            data, s.train.n, s.desc.validation ? s.validation.n : 0, s.test.n, s.model.path,
            interp_net_describe(s.model.net).n_parameters, interp_isa(c->ctx),
            interp_threads(c->ctx), interp_threads(c->ctx) > 1 ? "s" : "");
    return train_and_write(c, &s, outcome);
}

static int print_json(const train_outcome *o)
{
    cli_text t = {NULL, 0, 0, false};
    const double figures[] = {o->train_accuracy, o->val_accuracy, o->test_accuracy, o->test_loss,
                              o->seconds};
    static const char *const keys[] = {"train_accuracy", "val_accuracy", "test_accuracy",
                                       "test_loss", "seconds"};
    cli_add(&t, "{");
    for (int i = 0; i < 5; i++) {
        cli_add(&t, "%s\"%s\":", i ? "," : "", keys[i]);
        cli_add_number(&t, figures[i], true);
    }
    cli_add(&t, ",\"epochs\":%d,\"peak_bytes\":%zu}\n", o->epochs, o->peak_bytes);
    return cli_text_print(&t);
}

static int run(cli *c)
{
    static const char *const stale[] = {"confusion.csv", "confusion.png",
                                        "confusion_normalized.csv",
                                        "tensorboard/events.out.tfevents.#.interp.#.#", NULL};
    train_outcome o;
    memset(&o, 0, sizeof o);
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = train_run(c, c->out, &o);
    if (code) return code;
    if (o.cancelled && !o.epochs)
        return cli_fail("train was cancelled before the first epoch was done: nothing is written");
    code = cli_commit(c, stale);
    if (code) return code;
    if (o.cancelled)
        return cli_fail("train was cancelled after %d epoch%s: the model, the best one and the "
                        "history so far are in %s",
                        o.epochs, o.epochs == 1 ? "" : "s", c->folder);
    cli_say(c, "test accuracy %.2f %%  (%d epochs, %.1f s); written to %s", 100 * o.test_accuracy,
            o.epochs, o.seconds, c->folder);
    return c->json ? print_json(&o) : CLI_DONE;
}

const cli_command cmd_train = {"train",
                               "--data DATA [--arch ARCH | --model FILE.onnx] -o RUN",
                               "trains a network; writes model.onnx, best.onnx, history, confusion",
                               0,
                               options,
                               run};

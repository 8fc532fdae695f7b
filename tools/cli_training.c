/* What commands that train share: the options of training, its data and its network. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static const char *const optimizer_names[] = {"adam", "adamw", "sgd", "rmsprop", "momentum"};
static const interp_optimizer optimizers[] = {INTERP_ADAM, INTERP_ADAMW, INTERP_SGD, INTERP_RMSPROP,
                                              INTERP_SGD};

enum { OPTIMIZERS = sizeof optimizers / sizeof *optimizers, NAMED_MOMENTUM = OPTIMIZERS - 1 };

/* An option that gives a layer its own setting: a number, or one of `words`. */
typedef struct rule_option {
    const char *name;
    char mark; /* between layer and value */
    double low, high;
    const char *give;
    const char *const *words; /* NULL: a number */
} rule_option;

enum {
    RULE_FREEZE,
    RULE_LR,
    RULE_MOMENTUM,
    RULE_L2,
    RULE_DELAY,
    RULE_OPTIMIZER,
    RULE_SCHEDULE,
    RULE_OPTIONS
};

static void set_rule(interp_layer_rule *rule, int kind, double v)
{
    if (kind == RULE_FREEZE) rule->freeze_from = v < 1 ? 1 : (int64_t)v;
    if (kind == RULE_LR) rule->lr = (float)v;
    if (kind == RULE_MOMENTUM) rule->momentum = v > 0 ? (float)v : -1;
    if (kind == RULE_L2)
        rule->weight_decay = v > 0 ? (float)(2 * v) : -1; /* the gradient of L p^2 */
    if (kind == RULE_DELAY) rule->delay = (int)v;
    if (kind == RULE_OPTIMIZER) rule->optimizer = &optimizers[(int)v];
    if (kind == RULE_OPTIMIZER && (int)v == NAMED_MOMENTUM && rule->momentum == 0)
        rule->momentum = 0.9f;
    if (kind == RULE_SCHEDULE) rule->constant_lr = v > 0;
}

/* The number behind the mark, or which of the words it is. */
static bool parse_rule_value(const rule_option *o, const char *text, double *v)
{
    if (!o->words) return cli_parse_double(text, v) && *v >= o->low && *v <= o->high;
    for (int i = 0; i <= (int)o->high; i++)
        if (!strcmp(o->words[i], text)) {
            *v = i;
            return true;
        }
    return false;
}

/* Options about layers as rules; `names` keeps the texts. */
static int parse_rules(const cli *c, interp_layer_rule *rules, char names[][64], int most, int *n)
{
    static const char *const schedules[] = {"training", "constant"};
    static const rule_option of[RULE_OPTIONS] = {
        {"--freeze", '@', 0, 1e15, "LAYER@STEP, a step from 0", NULL},
        {"--layer-lr", '=', 1e-30, 1e30, "LAYER=RATE", NULL},
        {"--layer-momentum", '=', 0, 0.999999, "LAYER=M, from 0 to below 1", NULL},
        {"--layer-l2", '=', 0, 4e5, "LAYER=L, from 0", NULL},
        {"--layer-delay", '=', 0, 1000000, "LAYER=STEPS, from 0", NULL},
        {"--layer-optimizer", '=', 0, OPTIMIZERS - 1,
         "LAYER=NAME, adam, adamw, sgd, rmsprop or momentum", optimizer_names},
        {"--layer-schedule", '=', 0, 1, "LAYER=constant or LAYER=training", schedules}};
    for (int kind = 0; kind < RULE_OPTIONS; kind++) {
        const rule_option *o = &of[kind];
        const char *text;
        for (int i = 0; (text = cli_get_nth(c, o->name, i)) != NULL; i++) {
            const char *mark = strrchr(text, o->mark);
            double v;
            if (!mark || mark == text || mark - text > 60 || !parse_rule_value(o, mark + 1, &v))
                return cli_usage("%s %s: give %s", o->name, text, o->give);
            if (*n == most) return cli_usage("more than %d rules for layers", most);
            snprintf(names[*n], 64, "%.*s", (int)(mark - text), text);
            int at = 0; /* a rule of that layer, or a new one */
            while (at < *n && strcmp(rules[at].layer, names[*n])) at++;
            if (at == *n) {
                memset(&rules[at], 0, sizeof rules[at]);
                rules[at].layer = names[(*n)++];
            }
            set_rule(&rules[at], kind, v);
        }
    }
    return CLI_DONE;
}

static int parse_optimizer(const cli *c, interp_train_desc *d)
{
    int i = 0;
    const int code = cli_choice(c, "--optimizer", optimizer_names, OPTIMIZERS, &i);
    d->optimizer = optimizers[i];
    if (i == NAMED_MOMENTUM) d->momentum = 0.9f;
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

/* The network, from a file or by name, and what its classes are called. */
static int open_model(cli *c, cli_training *s, const char *arch)
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
static int split_validation(cli *c, cli_training *s)
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

int cli_training_open(cli *c, cli_training *t)
{
    bool augmented = false;
    const char *data = cli_get(c, "--data");
    memset(t, 0, sizeof *t);
    int code = cli_data(c, data, &t->train, &t->test);
    if (code) return code;
    if (!t->train.y)
        return cli_fail("%s: it has no labels to train on; those of npy are npy:X.npy,Y.npy", data);
    const char *arch = cli_get(c, "--arch");
    if (!arch) arch = t->train.shape.rank == 3 ? "cnn" : "mlp";
    const arch_kind kind = cli_has(c, "--model")      ? ARCH_CONVOLUTIONAL
                           : !strcmp(arch, "linear")  ? ARCH_LINEAR
                           : !strncmp(arch, "mlp", 3) ? ARCH_MLP
                                                      : ARCH_CONVOLUTIONAL;
    code = parse_settings(c, &t->train, arch, kind, &t->desc);
    if (!code)
        code = parse_augment(cli_get(c, "--augment"), &t->train, kind, &t->augment, &augmented);
    if (!code) code = parse_rules(c, t->rules, t->names, CLI_MOST_RULES, &t->desc.n_rules);
    if (!code) code = open_model(c, t, arch);
    if (!code) code = split_validation(c, t);
    if (code) return code;
    t->desc.rules = t->rules;
    if (augmented) t->desc.augment = &t->augment;
    cli_say(c,
            "%s: %d samples to train on, %d to validate, %d to test; %s with %zu parameters; %s, "
            "%d thread%s",
            data, t->train.n, t->desc.validation ? t->validation.n : 0, t->test.n, t->model.path,
            interp_net_describe(t->model.net).n_parameters, interp_isa(c->ctx),
            interp_threads(c->ctx), interp_threads(c->ctx) > 1 ? "s" : "");
    return CLI_DONE;
}

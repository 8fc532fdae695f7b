/* interp mode: which label a network gets wrong, in which layer, and inputs that mend it, beside a
   control whose inputs are drawn at random. */
#include "cli_mode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    TRAINING_OPTIONS,
    {"--metric", "NAME,...",
     "dot (default), cosine, manhattan, euclidean, minkowski, chebyshev, earthmover, canberra, "
     "braycurtis; all: these nine; earthmover2d, of pictures; random: by label alone"},
    {"--p", "X", "of minkowski (3)"},
    {"--space", "NAME,...",
     "heat maps of: layer (default), input, which leaves out layer selection"},
    {"--choice", "NAME,...",
     "inputs looked for: wrong (default: like those of the label that are mistaken, unlike those "
     "that are not), typical, unique, mistaken, untypical"},
    {"--one-label", NULL, "inputs for the worst label only, not for all at fault by their errors"},
    {"--overfit-choice", "NAME", "the same for over-fitted labels (wrong)"},
    {"--importance", "NAME", "of neurons: activation (default), weight, gradient"},
    {"--layer", "NODE", "this layer instead of a selected one"},
    {"--saturation", "NAME", "feature models saturate by distance (default) or accuracy"},
    {"--threshold", "X", "of saturation (0.01)"},
    {"--alpha", "X",
     "share of inputs by likeness: auto (default: 3/4 of the share of errors), or a number"},
    {"--repeats", "N", "networks trained, mended and compared (1)"},
    {"--rounds", "N", "of diagnosis, selection and training (5)"},
    {"--samples", "N", "selected in each (2000, or a tenth of the pool when that is less)"},
    {"--round-epochs", "N", "of each (3)"},
    {"--forget", NULL,
     "rounds train on their own inputs alone, not on those of earlier rounds too"},
    {"--replay", "N", "training samples besides, in both arms (twice --samples)"},
    {"--pool", "X", "share of the training data set aside as the pool (0.5)"},
    {"--augment-pool", "N",
     "so many copies of the pool, changed by --augment or gently, added to it (0)"},
    {"--theta", "X", "labels with lower accuracy are under-fitted (0.92)"},
    {"--gamma", "X", "labels with a larger gap from training to validation are over-fitted (0.1)"},
    {"--fault", "WHAT",
     "spoil the training: starve:LABEL:SHARE leaves that share of a label's samples, "
     "mislabel:LABEL:SHARE gives that share other labels, undertrain:ACCURACY ends it there"},
    {"--compatible", NULL, "HMI and HWI change places in heatmaps/, as the replication has them"},
    {"--no-pictures", NULL, "tables and arrays only"},
    {NULL, NULL, NULL}};

enum { FAULT_NONE, FAULT_STARVE, FAULT_MISLABEL, FAULT_UNDERTRAIN };

const char *const mode_measures[MODE_MEASURES] = {"accuracy", "label_accuracy",
                                                  "worst_label_accuracy"};

const interp_mode_round *mode_round(const cli_mode *m, int repeat, int arm, int round)
{
    return &m->result[repeat].round[arm * (m->desc.rounds + 1) + round];
}

double mode_measure(const cli_mode *m, int repeat, int arm, int round, int measure)
{
    const interp_mode_round *r = mode_round(m, repeat, arm, round);
    double worst = 1;
    if (measure == 0) return r->accuracy;
    if (measure == 1) return r->label_accuracy[m->label[repeat]];
    for (int l = 0; l < m->result[repeat].n_classes; l++) worst = fmin(worst, r->label_accuracy[l]);
    return worst;
}

/* ---- settings */

/* The next word of a list with commas; false at its end. */
static bool next_word(const char **list, char word[MODE_NAME])
{
    const size_t n = strcspn(*list, ",");
    if (!**list) return false;
    snprintf(word, MODE_NAME, "%.*s", (int)(n < MODE_NAME ? n : MODE_NAME - 1), *list);
    *list += n + ((*list)[n] == ',');
    return true;
}

static int parse_fault(const cli *c, cli_mode *m)
{
    static const char *const kinds[] = {"", "starve:", "mislabel:", "undertrain:"};
    const char *text = cli_get(c, "--fault");
    double label = 0, share;
    if (!text) return CLI_DONE;
    for (int k = FAULT_STARVE; k <= FAULT_UNDERTRAIN; k++) {
        const size_t n = strlen(kinds[k]);
        if (strncmp(text, kinds[k], n)) continue;
        const char *mark = k == FAULT_UNDERTRAIN ? text + n - 1 : strchr(text + n, ':');
        char first[32] = "0";
        if (mark && k != FAULT_UNDERTRAIN)
            snprintf(first, sizeof first, "%.*s", (int)(mark - text - (int)n), text + n);
        if (!mark || !cli_parse_double(first, &label) || label < 0 || label > 65535 ||
            !cli_parse_double(mark + 1, &share) || share < 0 || share > 1)
            break;
        m->fault = k, m->fault_label = (int)label, m->fault_share = share;
        if (k == FAULT_UNDERTRAIN) m->start_accuracy = share;
        return CLI_DONE;
    }
    return cli_usage("--fault %s: give starve:LABEL:SHARE, mislabel:LABEL:SHARE or "
                     "undertrain:ACCURACY, shares from 0 to 1",
                     text);
}

/* The choice of a name; CLI_USAGE after a message. */
static int parse_choice(const char *option, const char *name, interp_mode_choice *choice)
{
    const char *known;
    for (int k = 0; (known = interp_mode_choice_name((interp_mode_choice)k)) != NULL; k++)
        if (!strcmp(name, known)) {
            *choice = (interp_mode_choice)k;
            return CLI_DONE;
        }
    return cli_usage("%s %s: give wrong, typical, unique, mistaken or untypical", option, name);
}

/* One arm more. */
static int add_arm(cli_mode *m, const interp_mode_arm *arm, bool settings)
{
    interp_mode_train_desc *d = &m->desc;
    if (d->n_arms == MODE_ARMS) return cli_usage("more than %d arms", MODE_ARMS);
    m->arms[d->n_arms] = *arm;
    snprintf(m->names[d->n_arms], MODE_NAME, settings ? "%s/%s/%s" : "%s",
             interp_mode_metric_name(arm->metric), arm->input ? "input" : "layer",
             interp_mode_choice_name(arm->choice));
    d->n_arms++;
    return CLI_DONE;
}

/* Arms by what is looked for, and where; settings: whether there are several of these. */
static int add_arms(const cli *c, cli_mode *m, interp_mode_arm *arm)
{
    const char *spaces = cli_get(c, "--space"), *choices = cli_get(c, "--choice");
    spaces = spaces ? spaces : "layer", choices = choices ? choices : "wrong";
    const bool settings = strchr(spaces, ',') || strchr(choices, ',');
    char word[MODE_NAME];
    for (const char *s = spaces; next_word(&s, word);) {
        if (strcmp(word, "layer") && strcmp(word, "input"))
            return cli_usage("--space %s: give layer or input", word);
        arm->input = !strcmp(word, "input");
        arm->importance = arm->input && m->importance == INTERP_MODE_WEIGHT ? INTERP_MODE_ACTIVATION
                                                                            : m->importance;
        for (const char *t = choices; next_word(&t, word);) {
            if (parse_choice("--choice", word, &arm->choice)) return CLI_USAGE;
            if (add_arm(m, arm, settings)) return CLI_USAGE;
        }
    }
    return CLI_DONE;
}

static int parse_arms(const cli *c, cli_mode *m)
{
    static const char *const importances[] = {"activation", "weight", "gradient"};
    const char *list = cli_get(c, "--metric"), *alpha = cli_get(c, "--alpha");
    char word[MODE_NAME];
    interp_mode_arm arm;
    int importance = 0, code = cli_choice(c, "--importance", importances, 3, &importance);
    memset(&arm, 0, sizeof arm);
    m->importance = (interp_mode_importance)importance;
    arm.layer = cli_get(c, "--layer"), arm.one_label = cli_has(c, "--one-label");
    if (!code) code = cli_float(c, "--p", 1, 1000, &arm.p);
    if (!code && cli_has(c, "--overfit-choice"))
        code =
            parse_choice("--overfit-choice", cli_get(c, "--overfit-choice"), &arm.overfit_choice);
    if (!code && alpha && strcmp(alpha, "auto") &&
        (!cli_parse_double(alpha, &arm.alpha) || !(arm.alpha > 0) || arm.alpha > 1))
        code = cli_usage("--alpha %s: give auto, or a number above 0 up to 1", alpha);
    if (!code && arm.layer && importance == INTERP_MODE_WEIGHT)
        code = cli_usage("--importance weight: is of layers that are selected; leave out --layer");
    for (const char *at = list ? list : "dot"; !code && next_word(&at, word);) {
        const bool all = !strcmp(word, "all");
        const int first = all ? 0 : (int)interp_mode_metric_find(word);
        if (first == INTERP_MODE_METRIC_COUNT)
            return cli_usage("--metric %s: interp help mode lists them", word);
        for (int k = first; k <= (all ? INTERP_MODE_BRAY_CURTIS : first) && !code; k++) {
            arm.metric = (interp_mode_metric)k;
            code = add_arms(c, m, &arm);
        }
    }
    return code;
}

static int parse(const cli *c, cli_mode *m)
{
    static const char *const saturations[] = {"distance", "accuracy"};
    interp_mode_train_desc *d = &m->desc;
    float theta = 0, gamma = 0, threshold = 0;
    int saturation = 0;
    d->rounds = 5, m->repeats = 1, m->pool_share = 0.5f;
    int code = parse_fault(c, m);
    if (!code) code = parse_arms(c, m);
    if (!code) code = cli_int(c, "--repeats", 1, 1000, &m->repeats);
    if (!code) code = cli_int(c, "--rounds", 1, 1000, &d->rounds);
    if (!code) code = cli_int(c, "--samples", 1, 1 << 30, &d->samples);
    if (!code) code = cli_int(c, "--replay", 0, 1 << 30, &d->replay);
    if (cli_has(c, "--replay") && !d->replay) d->replay = -1;
    if (!code) code = cli_int(c, "--augment-pool", 0, 1000, &m->copies);
    if (!code) code = cli_float(c, "--pool", 0.01, 0.9, &m->pool_share);
    if (!code) code = cli_float(c, "--theta", 1e-6, 1.01, &theta);
    if (!code) code = cli_float(c, "--gamma", 1e-6, 1, &gamma);
    if (!code) code = cli_float(c, "--threshold", 1e-12, 1, &threshold);
    if (!code) code = cli_choice(c, "--saturation", saturations, 2, &saturation);
    d->arms = m->arms;
    d->diagnose.theta = (double)theta, d->diagnose.gamma = (double)gamma;
    d->layers.threshold = (double)threshold;
    d->layers.saturation = (interp_mode_saturation)saturation;
    d->forget = cli_has(c, "--forget");
    m->swapped = cli_has(c, "--compatible");
    m->loaded = cli_has(c, "--model") && !cli_has(c, "--epochs");
    return code;
}

/* Where the options say nothing: the replication's training, on data as large as its. */
static int training_defaults(const cli *c, cli_mode *m)
{
    interp_train_desc *d = &m->t.desc;
    const bool few = m->t.train.n < 5000;
    if (!cli_has(c, "--epochs") && !few) d->epochs = 3;
    if (!cli_has(c, "--batch") && !few) d->batch = 32;
    if (!cli_has(c, "--schedule") && !cli_has(c, "--milestones")) d->schedule = INTERP_CONSTANT;
    m->desc.train = *d;
    m->desc.train.validation = NULL, m->desc.train.patience = 0;
    m->desc.train.epochs = 3;
    return cli_int(c, "--round-epochs", 1, 1000000, &m->desc.train.epochs);
}

/* ---- data of a repeat */

/* Spoils the training data. */
static int spoil(cli *c, cli_mode *m)
{
    const int label = m->fault_label;
    interp_dataset *d = &m->train, left;
    if (m->fault != FAULT_STARVE && m->fault != FAULT_MISLABEL) return CLI_DONE;
    if (label >= d->n_classes)
        return cli_usage("--fault: label %d, but there are %d classes", label, d->n_classes);
    int *rows = (int *)malloc((size_t)d->n * sizeof *rows), n = 0, of = 0, seen = 0;
    if (!rows) return cli_fail("out of memory");
    for (int i = 0; i < d->n; i++) of += d->y[i] == label;
    const int hit = (int)floor(m->fault_share * of + 0.5);
    for (int i = 0, want = hit, all = of; i < d->n; i++) {
        bool chosen = false;
        if (d->y[i] == label) { /* each as likely as any other */
            const double u = (double)interp_random_uniform(m->seed, 0x4D0001, (uint64_t)i);
            chosen = u * all-- < want;
            want -= chosen, seen++;
        }
        if (m->fault == FAULT_STARVE && d->y[i] == label && !chosen) continue;
        if (m->fault == FAULT_MISLABEL && chosen) {
            const uint32_t to =
                interp_random_u32(m->seed, 0x4D0002, (uint64_t)i) % (uint32_t)(d->n_classes - 1);
            d->y[i] = (int32_t)to + ((int32_t)to >= label);
        }
        rows[n++] = i;
    }
    const interp_status status = interp_dataset_subset(c->ctx, d, rows, n, &left);
    free(rows);
    if (status) return cli_fail_ctx(c);
    interp_dataset_free(c->ctx, d);
    *d = left;
    return CLI_DONE;
}

/* Splits the training data, spoils one half and makes the other larger; a network of its own. */
static int open_repeat(cli *c, cli_mode *m)
{
    interp_dataset more;
    const double pool = (double)m->pool_share * (m->t.train.n + m->t.validation.n) / m->t.train.n;
    m->seed = c->seed + (uint64_t)m->repeat;
    interp_dataset_free(c->ctx, &m->train), interp_dataset_free(c->ctx, &m->pool);
    if (interp_dataset_split(c->ctx, &m->t.train, pool < 0.95 ? pool : 0.95, m->seed + 1, &m->train,
                             &m->pool))
        return cli_fail_ctx(c);
    if (m->copies) {
        if (m->train.shape.rank != 3) return cli_usage("--augment-pool: the samples are no images");
        interp_augment_desc a = m->t.augment;
        if (!m->t.desc.augment) a.shift = (float)m->train.shape.dim[1] / 16, a.rotate_deg = 8;
        if (interp_mode_augment_pool(c->ctx, &m->pool, &a, m->copies, m->seed, &more))
            return cli_fail_ctx(c);
        interp_dataset_free(c->ctx, &m->pool);
        m->pool = more;
    }
    int code = spoil(c, m);
    if (code || !m->repeat) return code;
    interp_net_free(m->t.model.net);
    m->t.model.net = NULL;
    if (cli_has(c, "--model")) return cli_model_load(c, m->t.model.path, NULL, &m->t.model);
    if (interp_net_arch(c->ctx, m->t.model.path, &m->train.shape, m->train.n_classes, m->seed,
                        &m->t.model.net))
        return cli_fail_ctx(c);
    return CLI_DONE;
}

/* ---- the stages that memory limits */

/* Ends the training when validation is as good as it should be. */
static interp_status on_step(interp_net *net, int64_t step, void *user)
{
    const cli_mode *m = (const cli_mode *)user;
    interp_dataset some = m->t.validation;
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    if (step % 2) return INTERP_OK;
    if (some.n > 2000) some.n = 2000;
    const interp_status status = interp_evaluate(net, &some, INTERP_CROSS_ENTROPY, &e);
    return !status && e.accuracy >= m->start_accuracy ? INTERP_CANCELLED : status;
}

static interp_status stage_base(cli *c, void *user)
{
    cli_mode *m = (cli_mode *)user;
    interp_train_desc d = m->t.desc;
    if (m->loaded) return cli_progress(c, "train", 0, 1);
    d.seed = m->seed, d.validation = NULL, d.patience = 0;
    if (m->start_accuracy > 0) d.on_step = on_step, d.on_step_user = m;
    interp_status status = interp_train(m->t.model.net, &m->train, &d, NULL);
    if (status != INTERP_CANCELLED || m->start_accuracy <= 0) return status;
    status = cli_progress(c, "train", 1, 1); /* by ourselves, or by Ctrl-C */
    if (!status) interp_clear_error(c->ctx);
    return status;
}

/* What the first network looks like inside. */
static interp_status stage_look(cli *c, void *user)
{
    cli_mode *m = (cli_mode *)user;
    interp_net *net = m->t.model.net;
    const interp_mode_train_desc *d = &m->desc;
    interp_mode_maps_desc of;
    if (m->repeat) return cli_progress(c, "layers", 0, 1);
    interp_mode_diagnosis_free(c->ctx, &m->diagnosis);
    interp_mode_layers_free(c->ctx, &m->layers);
    interp_mode_maps_free(c->ctx, &m->inputs), interp_mode_maps_free(c->ctx, &m->neurons);
    interp_status status =
        interp_mode_select_layer(net, &m->train, &m->t.validation, &d->layers, &m->layers);
    if (!status)
        status =
            interp_mode_diagnose(net, &m->train, &m->t.validation, &d->diagnose, &m->diagnosis);
    memset(&of, 0, sizeof of);
    of.swapped = m->swapped;
    if (!status) status = interp_mode_heat_maps(net, &m->t.validation, &of, &m->inputs);
    interp_evaluation e;
    memset(&e, 0, sizeof e);
    e.predicted = m->predicted;
    if (!status) status = interp_evaluate(net, &m->t.validation, INTERP_CROSS_ENTROPY, &e);
    if (status) return status;
    of.layer = d->arms[0].layer ? d->arms[0].layer : m->layers.layer[m->layers.selected].name;
    of.importance = m->importance, of.weights = m->layers.weights;
    return interp_mode_heat_maps(net, &m->t.validation, &of, &m->neurons);
}

static interp_status stage_mend(cli *c, void *user)
{
    (void)c;
    cli_mode *m = (cli_mode *)user;
    interp_mode_train_desc d = m->desc;
    d.seed = m->seed;
    m->sets.train = &m->train, m->sets.validation = &m->t.validation;
    m->sets.pool = &m->pool, m->sets.test = &m->t.test;
    return interp_mode_train(m->t.model.net, &m->sets, &d, &m->result[m->repeat]);
}

/* ---- what came of it */

/* The label whose accuracy is told: the spoilt one, else the first that was mended. */
static int told_label(const cli_mode *m, int repeat)
{
    if (m->fault == FAULT_STARVE || m->fault == FAULT_MISLABEL) return m->fault_label;
    for (int a = 1; a <= m->desc.n_arms; a++)
        if (mode_round(m, repeat, a, 1)->label >= 0) return mode_round(m, repeat, a, 1)->label;
    int worst = 0; /* nothing was at fault */
    const double *of = mode_round(m, repeat, 0, 0)->val_label_accuracy;
    for (int l = 1; l < m->result[repeat].n_classes; l++)
        if (of[l] < of[worst]) worst = l;
    return worst;
}

/* Each arm against the control after as many rounds, over all repeats. */
static int compare(cli *c, cli_mode *m)
{
    const size_t n = (size_t)m->repeats, rows = (size_t)m->desc.n_arms * MODE_MEASURES;
    double *a = (double *)interp_alloc(c->ctx, (2 * n + 2 * rows) * sizeof *a), *b = a + n;
    m->tests = (mode_test *)interp_alloc(c->ctx, rows * sizeof *m->tests);
    if (!a || !m->tests) return cli_fail_ctx(c);
    double *p = b + n, *holm = p + rows;
    memset(m->tests, 0, rows * sizeof *m->tests);
    for (size_t i = 0; i < rows; i++) {
        mode_test *t = &m->tests[i];
        t->arm = (int)i / MODE_MEASURES, t->measure = (int)i % MODE_MEASURES;
        for (int r = 0; r < m->repeats; r++) {
            const int run = m->result[r].run[t->arm + 1];
            a[r] = mode_measure(m, r, t->arm + 1, run, t->measure);
            b[r] = mode_measure(m, r, 0, run, t->measure);
            t->mode += a[r] / m->repeats, t->control += b[r] / m->repeats;
        }
        t->paired.mean = t->mode - t->control, t->paired.n = m->repeats;
        t->paired.ci_low = t->paired.ci_high = t->paired.p_t = t->paired.p_wilcoxon = NAN;
        t->paired.effect = NAN;
        if (m->repeats > 1 && interp_paired_test(c->ctx, a, b, m->repeats, &t->paired))
            return cli_fail_ctx(c);
    }
    for (int way = 0; way < 2; way++) { /* all comparisons of the table are one family */
        for (size_t i = 0; i < rows; i++)
            p[i] = way ? m->tests[i].paired.p_t : m->tests[i].paired.p_wilcoxon;
        interp_holm(p, (int)rows, holm);
        for (size_t i = 0; i < rows; i++)
            *(way ? &m->tests[i].holm_t : &m->tests[i].holm_wilcoxon) = holm[i];
    }
    m->n_tests = (int)rows;
    interp_free(c->ctx, a);
    return CLI_DONE;
}

static int write_rounds(const cli_mode *m, const char *folder)
{
    char path[CLI_PATH];
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t,
            "metric,repeat,round,label,accuracy_mode,accuracy_control,label_accuracy_mode,"
            "label_accuracy_control,samples,mended,overfit,layer,alpha,targeted,val_accuracy_mode,"
            "val_accuracy_control,val_label_accuracy_mode,val_label_accuracy_control,pool_used,"
            "pool_left,seconds\n");
    for (int a = 0; a < m->desc.n_arms; a++)
        for (int r = 0; r < m->repeats; r++)
            for (int i = 0; i <= m->result[r].run[a + 1]; i++) {
                const interp_mode_round *own = mode_round(m, r, a + 1, i);
                const interp_mode_round *control = mode_round(m, r, 0, i);
                const int l = m->label[r];
                cli_add(&t, "%s,%d,%d,%d,%.9g,%.9g,%.9g,%.9g,%d,", m->names[a], r, i, l,
                        own->accuracy, control->accuracy, own->label_accuracy[l],
                        control->label_accuracy[l], own->selected);
                if (own->label >= 0) cli_add(&t, "%d", own->label);
                cli_add(&t, ",%d,", own->overfit);
                cli_add_csv(&t, own->label < 0 ? ""
                                : own->layer < 0
                                    ? "input"
                                    : interp_net_node_name(m->t.model.net, own->layer));
                cli_add(&t, ",%.6g,%d,%.9g,%.9g,", own->alpha, own->targeted, own->val_accuracy,
                        control->val_accuracy);
                cli_add_number(&t, own->val_label_accuracy[l], false), cli_add(&t, ",");
                cli_add_number(&t, control->val_label_accuracy[l], false);
                cli_add(&t, ",%d,%d,%.4g\n", own->pool_used, own->pool_left, own->seconds);
            }
    return cli_text_write(&t, cli_path(path, folder, "rounds.csv"));
}

static int write_significance(const cli_mode *m, const char *folder)
{
    char path[CLI_PATH];
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "metric,measure,mean_difference,ci_low,ci_high,p_wilcoxon,p_t,repeats,effect,"
                "p_wilcoxon_holm,p_t_holm,mean_mode,mean_control\n");
    for (int i = 0; i < m->n_tests; i++) {
        const mode_test *q = &m->tests[i];
        const double values[] = {q->paired.mean, q->paired.ci_low, q->paired.ci_high,
                                 q->paired.p_wilcoxon, q->paired.p_t};
        const double more[] = {q->paired.effect, q->holm_wilcoxon, q->holm_t, q->mode, q->control};
        cli_add(&t, "%s,%s", m->names[q->arm], mode_measures[q->measure]);
        for (int k = 0; k < 5; k++) cli_add(&t, ","), cli_add_number(&t, values[k], false);
        cli_add(&t, ",%d", m->repeats);
        for (int k = 0; k < 5; k++) cli_add(&t, ","), cli_add_number(&t, more[k], false);
        cli_add(&t, "\n");
    }
    return cli_text_write(&t, cli_path(path, folder, "significance.csv"));
}

/* Layers and labels of the first network before its first round. */
static int write_diagnosis(const cli_mode *m, const char *folder)
{
    char path[CLI_PATH];
    const interp_mode_layers *l = &m->layers;
    const interp_mode_diagnosis *d = &m->diagnosis;
    cli_text t = {NULL, 0, 0, false};
    cli_add(
        &t,
        "layer,node,op,features,train_accuracy,val_accuracy,label_accuracy,distance,selected\n");
    for (int i = 0; i < l->n; i++) {
        const interp_mode_layer *of = &l->layer[i];
        cli_add(&t, "%d,", i), cli_add_csv(&t, of->name);
        cli_add(&t, ",%s,%d,%.9g,%.9g,", interp_net_node_op(m->t.model.net, of->node), of->features,
                of->train_accuracy, of->val_accuracy);
        cli_add_number(&t, l->label_accuracy[i * l->n_classes + m->label[0]], false);
        cli_add(&t, ","), cli_add_number(&t, of->distance, false);
        cli_add(&t, ",%d\n", i == l->selected);
    }
    const int code = cli_text_write(&t, cli_path(path, folder, "layers.csv"));
    if (code) return code;
    cli_add(&t, "label,train_samples,val_samples,train_accuracy,val_accuracy,underfit,overfit\n");
    for (int k = 0; k < d->n_classes; k++) {
        const interp_mode_label *of = &d->labels[k];
        if (m->t.model.classes && k < m->t.model.n_classes) cli_add_csv(&t, m->t.model.classes[k]);
        else cli_add(&t, "%d", k);
        cli_add(&t, ",%d,%d,", of->train_n, of->val_n);
        cli_add_number(&t, of->train_accuracy, false), cli_add(&t, ",");
        cli_add_number(&t, of->val_accuracy, false);
        cli_add(&t, ",%d,%d\n", of->underfit, of->overfit);
    }
    return cli_text_write(&t, cli_path(path, folder, "diagnosis.csv"));
}

static int repeat(cli *c, cli_mode *m)
{
    static const cli_stage stages[] = {stage_base, stage_look, stage_mend};
    int code = open_repeat(c, m);
    if (code) return code;
    if (!m->desc.samples) m->desc.samples = m->pool.n / 10 < 2000 ? (m->pool.n + 9) / 10 : 2000;
    if (cli_work(c, stages, 3, m, "")) return cli_fail_model(c, &m->t.model);
    const int r = m->repeat;
    m->label[r] = told_label(m, r);
    const interp_mode_round *first = mode_round(m, r, 0, 0),
                            *own = mode_round(m, r, 1, m->desc.rounds);
    cli_say(c,
            "repeat %d: %.2f %% at first, label %d %.2f %%; %s %.2f %%, %.2f %%; control %.2f %%, "
            "%.2f %%",
            r + 1, 100 * first->accuracy, m->label[r], 100 * first->label_accuracy[m->label[r]],
            m->names[0], 100 * own->accuracy, 100 * own->label_accuracy[m->label[r]],
            100 * mode_round(m, r, 0, m->result[r].run[1])->accuracy,
            100 * mode_round(m, r, 0, m->result[r].run[1])->label_accuracy[m->label[r]]);
    return CLI_DONE;
}

/* The body of the command. */
static int mend(cli *c, cli_mode *m, const char *folder)
{
    memset(m, 0, sizeof *m);
    const double start = cli_now();
    int code = parse(c, m);
    if (!code) code = cli_training_open(c, &m->t);
    if (!code) code = training_defaults(c, m);
    if (code) return code;
    if (!m->t.validation.n)
        return cli_usage("mode: validation needs 20 samples or more and --validation above 0");
    m->result = (interp_mode_result *)interp_alloc(c->ctx, (size_t)m->repeats * sizeof *m->result);
    m->label = (int *)interp_alloc(c->ctx, (size_t)m->repeats * sizeof *m->label);
    m->predicted =
        (int32_t *)interp_alloc(c->ctx, (size_t)m->t.validation.n * sizeof *m->predicted);
    if (!m->result || !m->label || !m->predicted) return cli_fail_ctx(c);
    memset(m->result, 0, (size_t)m->repeats * sizeof *m->result);
    const bool draw = !cli_has(c, "--no-pictures");
    for (m->repeat = 0; m->repeat < m->repeats && !code; m->repeat++) {
        code = repeat(c, m);
        if (!code && !m->repeat) code = write_diagnosis(m, folder);
        if (!code && !m->repeat && draw) code = mode_draw_maps(c, m, folder);
        if (!code && !m->repeat && draw) code = mode_draw_selection(c, m, folder);
    }
    if (!code) code = compare(c, m);
    if (!code) code = write_rounds(m, folder);
    if (!code) code = write_significance(m, folder);
    if (!code && draw) code = mode_draw_rounds(c, m, folder);
    m->seconds = cli_now() - start;
    return code;
}

int mode_run(cli *c, const char *folder, mode_outcome *outcome)
{
    cli_mode m;
    const int code = mend(c, &m, folder);
    if (code) return code;
    outcome->label = m.label[0], outcome->rounds = m.result[0].run[1];
    outcome->before = mode_measure(&m, 0, 0, 0, 1);
    outcome->mode = m.tests[1].mode, outcome->control = m.tests[1].control;
    outcome->accuracy_mode = m.tests[0].mode, outcome->accuracy_control = m.tests[0].control;
    outcome->repeats = m.repeats, outcome->p = m.tests[1].paired.p_t;
    return CLI_DONE;
}

static int print_json(const cli_mode *m, const cli_text *files)
{
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t,
            "{\"repeats\":%d,\"rounds\":%d,\"samples\":%d,\"seconds\":%.3f,\"label\":%d,"
            "\"layer\":",
            m->repeats, m->desc.rounds, m->desc.samples, m->seconds, m->label[0]);
    cli_add_json(&t,
                 interp_net_node_name(m->t.model.net, m->layers.layer[m->layers.selected].node));
    cli_add(&t, ",\"comparisons\":[");
    for (int i = 0; i < m->n_tests; i++) {
        const mode_test *q = &m->tests[i];
        static const char *const keys[] = {
            "mode",       "control", "mean_difference", "ci_low",          "ci_high",
            "p_wilcoxon", "p_t",     "effect",          "p_wilcoxon_holm", "p_t_holm"};
        const double values[] = {q->mode,          q->control,        q->paired.mean,
                                 q->paired.ci_low, q->paired.ci_high, q->paired.p_wilcoxon,
                                 q->paired.p_t,    q->paired.effect,  q->holm_wilcoxon,
                                 q->holm_t};
        cli_add(&t, "%s{\"metric\":", i ? "," : ""), cli_add_json(&t, m->names[q->arm]);
        cli_add(&t, ",\"measure\":\"%s\"", mode_measures[q->measure]);
        for (int k = 0; k < 10; k++)
            cli_add(&t, ",\"%s\":", keys[k]), cli_add_number(&t, values[k], true);
        cli_add(&t, "}");
    }
    cli_add(&t, "],\"files\":%s}\n", files->data ? files->data : "[]");
    return cli_text_print(&t);
}

static int run(cli *c)
{
    static const char *const stale[] = {"layers.png",     "mistakes.png",    "rounds*.png",
                                        "pool.png",       "differences.png", "heatmaps/*.png",
                                        "heatmaps/*.npy", "selection/*.png", NULL};
    cli_mode m;
    cli_text files = {NULL, 0, 0, false};
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = mend(c, &m, c->out);
    if (code) return code;
    cli_add_files(&files, c);
    code = cli_commit(c, stale);
    if (code) return code;
    cli_say(c, "%d repeats of %d rounds of %d samples in %.1f s; written to %s", m.repeats,
            m.desc.rounds, m.desc.samples, m.seconds, c->folder);
    if (c->json) code = print_json(&m, &files);
    free(files.data);
    return code;
}

const cli_command cmd_mode = {
    "mode",
    "--data DATA (--arch ARCH | --model M.onnx) [--metric NAME,..] -o DIR",
    "finds the label and layer at fault and selects inputs that mend them",
    0,
    options,
    run};

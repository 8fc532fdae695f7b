/* What the commands about attributions share: methods by name, the output explained, baselines. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int unknown_method(const char *name)
{
    cli_text list = {NULL, 0, 0, false};
    for (int k = 0; k < INTERP_METHOD_COUNT; k++)
        cli_add(&list, "%s, ", interp_method_name((interp_method)k));
    cli_usage("--method %s: there is no such method; give %sor all", name,
              list.failed ? "" : list.data);
    free(list.data);
    return CLI_USAGE;
}

/* Takes a method out of the list. */
static void leave_out(cli_methods *m, const char *name)
{
    int kept = 0;
    for (int i = 0; i < m->n; i++) {
        if (!strcmp(m->names[i], name)) continue;
        m->list[kept] = m->list[i], m->scope[kept] = m->scope[i];
        memmove(m->names[kept++], m->names[i], sizeof m->names[0]);
    }
    m->n = kept;
}

bool cli_methods_add(cli_methods *m, const char *name)
{
    static const char *const before[] = {"", "layer_", "neuron_"};
    for (int scope = INTERP_SCOPE_INPUT; scope <= INTERP_SCOPE_NEURON; scope++) {
        const size_t n = strlen(before[scope]);
        const interp_method method = strncmp(name, before[scope], n)
                                         ? INTERP_METHOD_COUNT
                                         : interp_method_from_name(name + n);
        if (method == INTERP_METHOD_COUNT || m->n == CLI_METHODS) continue;
        snprintf(m->names[m->n], sizeof m->names[0], "%s", name);
        m->list[m->n] = method;
        m->scope[m->n++] = (interp_scope)scope;
        return true;
    }
    return false;
}

int cli_methods_parse(const cli *c, cli_methods *m)
{
    const char *text = cli_get(c, "--method");
    char name[64];
    memset(m, 0, sizeof *m);
    if (!text) return cli_usage("--method is missing: one or more of the methods, or all");
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, ",");
        const bool minus = *at == '-';
        snprintf(name, sizeof name, "%.*s", (int)(n < 60 ? n : 60) - minus, at + minus);
        at += n + (at[n] == ',');
        if (!strcmp(name, "all")) {
            m->all = true, m->n = 0;
            for (int k = 0; k < INTERP_METHOD_COUNT; k++)
                cli_methods_add(m, interp_method_name((interp_method)k));
            continue;
        }
        if (!strcmp(name, "tcav")) {
            m->tcav = !minus;
            continue;
        }
        leave_out(m, name); /* no method twice */
        if (m->n == CLI_METHODS) return cli_usage("--method: these are too many");
        if (!cli_methods_add(m, name)) return unknown_method(name);
        if (minus) m->n--;
    }
    return m->n || m->tcav ? CLI_DONE : cli_usage("--method: no method was named");
}

/* ---- the output explained, and baselines */

/* Numbers of an array file, one for each of n samples. */
static int read_labels(cli *c, const char *option, const char *path, int n, int32_t **labels)
{
    interp_array a;
    memset(&a, 0, sizeof a);
    if (interp_array_read(c->ctx, path, &a))
        return cli_fail("%s %s: %s: %s", option, path,
                        strcmp(option, "--target") ? "labels cannot be read"
                                                   : "it is no class, nor can labels be read",
                        interp_error(c->ctx));
    const size_t count = interp_shape_size(&a.shape);
    if (count != (size_t)n)
        return cli_fail("%s %s: it holds %zu labels but there are %d samples", option, path, count,
                        n);
    *labels = (int32_t *)interp_alloc(c->ctx, count * sizeof **labels);
    if (!*labels || interp_array_ints(c->ctx, &a, *labels))
        return cli_fail("%s %s: %s", option, path, interp_error(c->ctx));
    interp_array_free(c->ctx, &a);
    return CLI_DONE;
}

/* A class by name or number; -1: neither. */
static int class_number(const cli_model *model, const char *text)
{
    double v;
    for (int k = 0; k < model->n_classes; k++)
        if (!strcmp(model->classes[k], text)) return k;
    return cli_parse_double(text, &v) && v == floor(v) && v >= 0 && v <= 1e9 ? (int)v : -1;
}

/* "3,cat,5", all of which every sample is explained for; *found: whether it is that. */
static int parse_classes(cli *c, const cli_model *model, const char *text, bool *found,
                         interp_attribute_desc *d)
{
    int n = 1;
    for (const char *at = text; *at; at++) n += *at == ',';
    char *copy = (char *)interp_alloc(c->ctx, strlen(text) + 1);
    int32_t *targets = (int32_t *)interp_alloc(c->ctx, (size_t)n * sizeof *targets);
    if (!copy || !targets) return cli_fail_ctx(c);
    char *at = strcpy(copy, text);
    *found = n > 1;
    for (int k = 0; k < n && *found; k++) {
        char *end = at + strcspn(at, ",");
        const bool last = !*end;
        *end = 0;
        targets[k] = class_number(model, at);
        if (k && targets[k] < 0) return cli_usage("--target %s: \"%s\" is no class", text, at);
        *found = targets[k] >= 0;
        at = last ? end : end + 1;
    }
    interp_free(c->ctx, copy);
    if (*found) d->targets = targets, d->n_targets = n;
    return CLI_DONE;
}

static int parse_target(cli *c, const cli_model *model, const cli_samples *in,
                        interp_attribute_desc *d)
{
    const char *text = cli_get(c, "--target");
    bool classes = false;
    double v;
    if (!text || !strcmp(text, "pred")) return CLI_DONE;
    if (!strcmp(text, "true")) {
        if (!in->labels) return cli_usage("--target true: the classes are not known, see --labels");
        d->target_kind = INTERP_TARGET_LABELS;
        d->targets = in->labels;
        return CLI_DONE;
    }
    if (!strcmp(text, "sum")) {
        d->target_kind = INTERP_TARGET_SUM;
        return CLI_DONE;
    }
    if (!strcmp(text, "all")) {
        const interp_shape out = interp_net_output_shape(model->net, 0);
        d->n_targets = (int)interp_shape_size(&out);
        return CLI_DONE;
    }
    d->target_kind = INTERP_TARGET_CLASS;
    d->target = class_number(model, text);
    if (d->target >= 0) return CLI_DONE;
    d->target = 0;
    if (cli_parse_double(text, &v))
        return cli_usage("--target %s: give a whole number, classes count from 0", text);
    int code = parse_classes(c, model, text, &classes, d);
    if (code) return code;
    if (classes) {
        d->target_kind = INTERP_TARGET_PREDICTED;
        return CLI_DONE;
    }
    int32_t *targets;
    code = read_labels(c, "--target", text, in->n, &targets);
    d->target_kind = INTERP_TARGET_LABELS;
    d->targets = code ? NULL : targets;
    return code;
}

static int parse_baseline(cli *c, const cli_model *model, const interp_shape *sample,
                          const cli_samples *in, interp_attribute_desc *d)
{
    static const char *const kinds[] = {"zero", "mean", "min", "max", "blur", "noise"};
    const char *text = cli_get(c, "--baseline");
    const size_t size = interp_shape_size(sample);
    if (!text || !strcmp(text, "zero")) return CLI_DONE;
    for (int k = 0; k < 6; k++) {
        if (strcmp(text, kinds[k])) continue;
        float *b = (float *)interp_alloc(c->ctx, (size_t)in->n * size * sizeof *b);
        if (!b || interp_baseline(c->ctx, (interp_baseline_kind)k, (const float *)in->x.data, in->n,
                                  sample, c->seed, b))
            return cli_fail_ctx(c);
        d->baseline = b;
        d->n_baselines = in->n;
        return CLI_DONE;
    }
    cli_samples b;
    if (cli_samples_read(c, text, model->net, 0, false, &b)) return CLI_FAILED;
    if (cli_preprocess(c, sample, &b)) return CLI_FAILED;
    d->baseline = (const float *)b.x.data;
    d->n_baselines = b.n;
    return CLI_DONE;
}

/* The test samples of --data, the first --samples of them, with their classes. */
static int read_data(cli *c, cli_model *model, const interp_shape *sample, cli_samples *in)
{
    interp_dataset train, test;
    const char *spec = cli_get(c, "--data");
    int most = 0;
    int code = cli_int(c, "--samples", 1, 1000000000, &most);
    if (!code) code = cli_data(c, spec, &train, &test);
    if (!code) code = cli_data_fit(c, spec, model, &train, &test);
    if (code) return code;
    if (!test.n) return cli_fail("--data %s: there are no test samples in it", spec);
    in->n = most && most < test.n ? most : test.n;
    in->x.dtype = INTERP_FLOAT32;
    in->x.shape = *sample;
    in->x.data = test.x;
    in->labels = test.y;
    in->last = interp_net_input_is_turned(model->net, 0);
    if (!model->classes && test.class_names) {
        const interp_shape out = interp_net_output_shape(model->net, 0);
        if ((size_t)test.n_classes == interp_shape_size(&out))
            model->classes = test.class_names, model->n_classes = test.n_classes;
    }
    return CLI_DONE;
}

int cli_attribution_open(cli *c, cli_model *model, interp_shape *sample, cli_samples *in,
                         interp_attribute_desc *d)
{
    int code = cli_model_load(c, c->positional[0], NULL, model);
    if (code) return code;
    const int inputs = interp_net_describe(model->net).n_inputs;
    if (inputs != 1)
        return cli_fail("%s: it has %d inputs, and attribution is of one", model->path, inputs);
    *sample = interp_net_input_shape(model->net, 0);
    memset(in, 0, sizeof *in);
    code = cli_has(c, "--data")
               ? read_data(c, model, sample, in)
               : cli_samples_read(c, cli_get(c, "--input"), model->net, 0, false, in);
    if (!code && cli_has(c, "--labels"))
        code = read_labels(c, "--labels", cli_get(c, "--labels"), in->n, &in->labels);
    const interp_shape out = interp_net_output_shape(model->net, 0);
    if (!code && in->files && interp_shape_size(&out) == 1000 && !cli_has(c, "--preprocess"))
        cli_say(c, "pictures are given to the model as 0..1: for one of ImageNet that may lack "
                   "--preprocess imagenet");
    if (!code) code = cli_preprocess(c, sample, in);
    if (!code) code = parse_target(c, model, in, d);
    return code ? code : parse_baseline(c, model, sample, in, d);
}

void cli_above_least(float *v, size_t n)
{
    float least = v[0];
    for (size_t i = 1; i < n; i++) least = v[i] < least ? v[i] : least;
    for (size_t i = 0; i < n; i++) v[i] -= least;
}

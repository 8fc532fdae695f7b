/* The options of attribution methods, --set KEY=VALUE. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One option of the methods: a number, a choice, or an array from a file. */
typedef struct setting {
    const char *key;
    float *number;
    int *count, *choice;
    bool *flag, when; /* *flag becomes true when the value is `when` */
    const char *const *choices;
    interp_array *array;
    int *list;     /* [INTERP_MAX_RANK] */
    bool positive; /* numbers below or at 0 are refused, and 0 as a count */
} setting;

static int set_array(cli *c, const char *text, const char *value, interp_array *to)
{
    (void)text;
    return cli_array(c, value, to) ? CLI_FAILED : CLI_DONE;
}

/* Whole numbers with commas or an x between. */
static bool set_list(const char *value, int *to)
{
    int n = 0;
    for (char *end; n < INTERP_MAX_RANK; value = end + 1) {
        const long v = strtol(value, &end, 10);
        if (end == value || v < 1 || v > 1000000000) return false;
        to[n++] = (int)v;
        if (!*end) return true;
        if (*end != ',' && *end != 'x') return false;
    }
    return false;
}

static int set_one(cli *c, const char *text, const char *value, const setting *s)
{
    double v = 0;
    const bool number = cli_parse_double(value, &v);
    if (s->array) return set_array(c, text, value, s->array);
    if (s->list && set_list(value, s->list)) return CLI_DONE;
    for (int k = 0; s->choices && s->choices[k]; k++)
        if (!strcmp(s->choices[k], value)) {
            *s->choice = k;
            return CLI_DONE;
        }
    if (s->flag && number && (v == 0 || v == 1)) {
        *s->flag = (v != 0) == s->when;
        return CLI_DONE;
    }
    if (s->count && number && v == floor(v) && v >= s->positive && v <= 1e6) {
        *s->count = (int)v;
        return CLI_DONE;
    }
    if (s->number && number && fabs(v) < 1e30 && (!s->positive || v > 0)) {
        *s->number = (float)v;
        return CLI_DONE;
    }
    cli_text list = {NULL, 0, 0, false};
    for (int k = 0; s->choices && s->choices[k]; k++)
        cli_add(&list, "%s%s", k ? ", " : "; one of ", s->choices[k]);
    cli_usage("--set %s: the value is wrong%s", text, list.data ? list.data : "");
    free(list.data);
    return CLI_USAGE;
}

/* NODE:RULE */
static int set_rule_of(cli *c, interp_attribute_desc *d, cli_draws *j, const char *value,
                       const char *const *rules)
{
    const char *colon = strrchr(value, ':');
    int rule = 0;
    while (colon && rules[rule] && strcmp(rules[rule], colon + 1)) rule++;
    if (!colon || !rules[rule] || d->n_layer_rules == CLI_LRP_RULES)
        return cli_usage("--set rule_of=%s: give NODE:RULE, at most %d times", value,
                         CLI_LRP_RULES);
    char *name = (char *)interp_alloc(c->ctx, (size_t)(colon - value) + 1);
    if (!name) return cli_fail_ctx(c);
    memcpy(name, value, (size_t)(colon - value));
    name[colon - value] = 0;
    j->rules[d->n_layer_rules].layer = name;
    j->rules[d->n_layer_rules++].rule = (interp_lrp_rule)rule;
    d->layer_rules = j->rules;
    return CLI_DONE;
}

void cli_settings_turn(const cli_samples *in, const interp_shape *sample, interp_attribute_desc *d)
{
    const int rank = sample->rank;
    int *const lists[] = {d->window, d->stride};
    for (int k = 0; k < 2 && in->last && rank >= 3; k++)
        if (lists[k][rank - 1]) cli_turn(lists[k] + rank - 3, false);
}

int cli_settings(cli *c, interp_attribute_desc *d, cli_draws *j)
{
    static const char *const quadratures[] = {"gausslegendre",     "riemann_left",
                                              "riemann_right",     "riemann_middle",
                                              "riemann_trapezoid", NULL};
    static const char *const rules[] = {"epsilon",
                                        "gamma",
                                        "alpha_beta",
                                        "z_plus",
                                        "flat",
                                        "w_square",
                                        "z_box",
                                        "epsilon_plus",
                                        "epsilon_plus_flat",
                                        "epsilon_alpha2_beta1",
                                        "epsilon_alpha2_beta1_flat",
                                        "epsilon_gamma_box",
                                        "excitation_backprop",
                                        "preset_a",
                                        "preset_a_flat",
                                        "preset_b",
                                        "preset_b_flat",
                                        "deep_taylor",
                                        NULL};
    static const char *const gates[] = {"signal", "half", NULL};
    const char *methods[INTERP_METHOD_COUNT + 1];
    int grid[INTERP_MAX_RANK] = {0}, quadrature = 0, rule = 0, gate = 0, base = 0;
    for (int k = 0; k < INTERP_METHOD_COUNT; k++) methods[k] = interp_method_name((interp_method)k);
    methods[INTERP_METHOD_COUNT] = NULL;
    const setting settings[] = {
        {"abs", NULL, NULL, NULL, &d->keep_sign, false, NULL, NULL, NULL, false},
        {"multiply_by_inputs", NULL, NULL, NULL, &d->no_multiply, false, NULL, NULL, NULL, false},
        {"captum", NULL, NULL, NULL, &d->captum, true, NULL, NULL, NULL, false},
        {"reveal_cancel", NULL, NULL, NULL, &d->reveal_cancel, true, NULL, NULL, NULL, false},
        {"tolerance", &d->tolerance, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"max_steps", NULL, &d->max_steps, NULL, NULL, false, NULL, NULL, NULL, true},
        {"raw", NULL, NULL, NULL, &d->raw, true, NULL, NULL, NULL, false},
        {"neuron", NULL, &d->neuron, NULL, NULL, false, NULL, NULL, NULL, false},
        {"samples", NULL, &d->n_samples, NULL, NULL, false, NULL, NULL, NULL, true},
        {"stdev", &d->noise_sd, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"max_blur", &d->max_blur, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"fraction", &d->fraction, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"epsilon", &d->epsilon, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"gamma", &d->gamma, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"alpha", &d->alpha, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"low", &d->low, NULL, NULL, NULL, false, NULL, NULL, NULL, false},
        {"high", &d->high, NULL, NULL, NULL, false, NULL, NULL, NULL, false},
        {"quadrature", NULL, NULL, &quadrature, NULL, false, quadratures, NULL, NULL, false},
        {"base", NULL, NULL, &base, NULL, false, methods, NULL, NULL, false},
        {"rule", NULL, NULL, &rule, NULL, false, rules, NULL, NULL, false},
        {"gate", NULL, NULL, &gate, NULL, false, gates, NULL, NULL, false},
        {"noise", NULL, NULL, NULL, NULL, false, NULL, &j->noise, NULL, false},
        {"alphas", NULL, NULL, NULL, NULL, false, NULL, &j->alphas, NULL, false},
        {"draws", NULL, NULL, NULL, NULL, false, NULL, &j->draws, NULL, false},
        {"kernel_width", &d->kernel_width, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"threshold", &d->threshold, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"penalty", &d->penalty, NULL, NULL, NULL, false, NULL, NULL, NULL, true},
        {"window", NULL, NULL, NULL, NULL, false, NULL, NULL, d->window, false},
        {"grid", NULL, NULL, NULL, NULL, false, NULL, NULL, grid, false},
        {"segments", NULL, &d->segments, NULL, NULL, false, NULL, NULL, NULL, true},
        {"stride", NULL, NULL, NULL, NULL, false, NULL, NULL, d->stride, false},
        {"concept", NULL, NULL, NULL, NULL, false, NULL, &j->concept, NULL, false},
        {"random", NULL, NULL, NULL, NULL, false, NULL, &j->random, NULL, false},
        {"perms", NULL, NULL, NULL, NULL, false, NULL, &j->perms, NULL, false},
        {"coalitions", NULL, NULL, NULL, NULL, false, NULL, &j->coalitions, NULL, false},
    };
    const char *text;
    for (int i = 0; (text = cli_get_nth(c, "--set", i)) != NULL; i++) {
        const char *value = strchr(text, '=');
        const size_t n = value ? (size_t)(value - text) : 0;
        const setting *s = NULL;
        if (value && !strncmp(text, "rule_of=", n + 1)) {
            const int code = set_rule_of(c, d, j, value + 1, rules);
            if (code) return code;
            continue;
        }
        if (!value) return cli_usage("--set %s: give KEY=VALUE", text);
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
            if (strlen(settings[k].key) == n && !strncmp(text, settings[k].key, n))
                s = &settings[k];
        if (!s) return cli_usage("--set %s: there is no such option", text);
        const int code = set_one(c, text, value + 1, s);
        if (code) return code;
    }
    d->quadrature = (interp_quadrature)quadrature;
    d->rule = (interp_lrp_rule)rule;
    d->grid[0] = grid[0], d->grid[1] = grid[1];
    d->base = (interp_method)base;
    d->gate = (interp_lrp_gate)gate;
    d->noise = (const float *)j->noise.data;
    d->alphas = (const float *)j->alphas.data;
    return CLI_DONE;
}

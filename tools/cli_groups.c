/* What parameters are summed by: the library's groupings, patterns of names, files of one's own. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

enum { NAME = 64 };

static int no_memory(void)
{
    return cli_fail("out of memory");
}

/* Numbers as names, and the sizes of n groups whose parameters are known. */
static int make_names(cli *c, cli_groups *g, int n)
{
    g->n = n;
    g->names = (char **)interp_alloc(c->ctx, (size_t)n * (sizeof *g->names + NAME));
    g->size = (size_t *)interp_alloc(c->ctx, (size_t)n * sizeof *g->size);
    if (!g->names || !g->size) return cli_fail_ctx(c);
    memset(g->size, 0, (size_t)n * sizeof *g->size);
    for (size_t i = 0; i < g->parameters; i++) g->size[g->of[i]]++;
    for (int k = 0; k < n; k++) {
        g->names[k] = (char *)(g->names + n) + (size_t)NAME * (size_t)k;
        snprintf(g->names[k], NAME, "%d", k);
    }
    return CLI_DONE;
}

static int by_grouping(cli *c, const interp_net *net, interp_grouping how, cli_groups *g)
{
    int n = 0;
    if (interp_net_groups(net, how, g->of, &n, NULL)) return cli_fail_ctx(c);
    const int code = make_names(c, g, n);
    for (int k = 0; k < n && !code; k++) interp_net_group_name(net, how, k, g->names[k], NAME);
    return code;
}

/* Groups are called by what matches in the names of their parameters. */
static int by_pattern(cli *c, const interp_net *net, const char *pattern, cli_groups *g)
{
    const int arrays = interp_net_parameter_count(net);
    int n = 0;
    int32_t *of = (int32_t *)interp_alloc(c->ctx, (size_t)arrays * sizeof *of);
    if (!of || interp_net_groups_match(net, pattern, g->of, &n, of)) return cli_fail_ctx(c);
    const int code = make_names(c, g, n);
    for (int i = 0; i < arrays && !code; i++) {
        const char *name = interp_net_parameter(net, i).name;
        bool found;
        size_t from, length;
        if (interp_pattern_find(c->ctx, pattern, name, &found, &from, &length))
            return cli_fail_ctx(c);
        if (!found) snprintf(g->names[of[i]], NAME, "others");
        else
            snprintf(g->names[of[i]], NAME, "%.*s", (int)(length < NAME ? length : NAME - 1),
                     name + from);
    }
    interp_free(c->ctx, of);
    return code;
}

/* An array with the number of each parameter's group. */
static int by_array(cli *c, const char *path, cli_groups *g)
{
    const size_t n = g->parameters;
    interp_array a;
    int most = 0;
    if (interp_npy_read(c->ctx, path, &a)) return cli_fail_ctx(c);
    if (interp_shape_size(&a.shape) != n)
        return cli_fail("%s: it holds %zu numbers, but there are %zu parameters", path,
                        interp_shape_size(&a.shape), n);
    if (interp_array_ints(c->ctx, &a, g->of)) return cli_fail_ctx(c);
    interp_array_free(c->ctx, &a);
    for (size_t i = 0; i < n; i++) {
        if (g->of[i] < 0 || g->of[i] > 1000000)
            return cli_fail("%s: parameter %zu is of group %d", path, i, (int)g->of[i]);
        if (g->of[i] > most) most = g->of[i];
    }
    return make_names(c, g, most + 1);
}

/* The next line "NAME PATTERN" of a text, empty ones and those with # left out; false at the end. */
static bool next_line(char **at, char **name, char **pattern)
{
    while (**at) {
        char *line = *at + strspn(*at, " \t\r\n");
        *at = line + strcspn(line, "\n");
        if (**at) *(*at)++ = 0;
        if (!*line || *line == '#') continue;
        for (size_t n = strlen(line); n && strchr(" \t\r", line[n - 1]); n--) line[n - 1] = 0;
        *name = line;
        *pattern = line + strcspn(line, " \t");
        if (**pattern) *(*pattern)++ = 0;
        *pattern += strspn(*pattern, " \t");
        return true;
    }
    return false;
}

/* Each array is of the first group whose pattern is found in its name; what has none is of the last. */
static int by_lines(cli *c, const interp_net *net, const char *path, char *text, cli_groups *g)
{
    enum { most = 1000 };
    char *names[most], *patterns[most], *at = text;
    int n = 0;
    bool others = false;
    while (n < most && next_line(&at, &names[n], &patterns[n])) n++;
    for (int k = 0; k < n; k++)
        if (!*patterns[k]) return cli_fail("%s: %s needs a pattern behind it", path, names[k]);
    if (!n || n == most) return cli_fail("%s: give lines NAME PATTERN, below %d", path, most);
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info p = interp_net_parameter(net, i);
        bool found = false;
        size_t from, length;
        int k = 0;
        for (; k < n && !found; k++)
            if (interp_pattern_find(c->ctx, patterns[k], p.name, &found, &from, &length))
                return cli_fail("%s: %s", path, interp_error(c->ctx));
        others |= !found;
        for (size_t j = 0; j < interp_shape_size(&p.shape); j++)
            g->of[p.offset + j] = found ? k - 1 : n;
    }
    const int code = make_names(c, g, n + others);
    for (int k = 0; k < g->n && !code; k++)
        snprintf(g->names[k], NAME, "%.60s", k < n ? names[k] : "others");
    return code;
}

static int by_file(cli *c, const interp_net *net, const char *path, cli_groups *g)
{
    const size_t n = strlen(path);
    if (n > 4 && !strcmp(path + n - 4, ".npy")) return by_array(c, path, g);
    char *text = (char *)calloc(1, 1 << 16);
    FILE *f = fopen(path, "rb");
    size_t bytes = 0;
    if (text && f) bytes = fread(text, 1, (1 << 16) - 1, f);
    const bool read = text && f && !ferror(f) && feof(f);
    if (f) fclose(f);
    const int code = !text                            ? no_memory()
                     : !read || strlen(text) != bytes ? cli_fail("%s: it cannot be read", path)
                                                      : by_lines(c, net, path, text, g);
    free(text);
    return code;
}

/* Leaves out groups of no parameters. */
static void drop_empty(cli_groups *g, int32_t *number)
{
    int n = 0;
    for (int k = 0; k < g->n; k++) {
        number[k] = n;
        g->names[n] = g->names[k], g->size[n] = g->size[k];
        n += g->size[k] > 0;
    }
    for (size_t i = 0; i < g->parameters; i++) g->of[i] = number[g->of[i]];
    g->n = n;
}

int cli_groups_open(cli *c, const interp_net *net, const char *what, cli_groups *g)
{
    static const char *const words[] = {"variable", "layer", "kind", "neuron", "input"};
    memset(g, 0, sizeof *g);
    g->parameters = interp_net_describe(net).n_parameters;
    g->of = (int32_t *)interp_alloc(c->ctx, g->parameters * sizeof *g->of);
    if (!g->of) return cli_fail_ctx(c);
    int code = CLI_USAGE, how = 0;
    while (how < 5 && strcmp(words[how], what)) how++;
    if (how < 5) code = by_grouping(c, net, (interp_grouping)how, g);
    else if (!strncmp(what, "regex:", 6)) code = by_pattern(c, net, what + 6, g);
    else if (cli_is_file(what)) code = by_file(c, net, what, g);
    else
        cli_usage("--by %s: give layer, variable, kind, neuron, input, regex:PATTERN or a file of "
                  "groups; class or example[:N]; several with commas",
                  what);
    if (code) return code;
    int32_t *number = (int32_t *)interp_alloc(c->ctx, (size_t)g->n * sizeof *number);
    if (!number) return cli_fail_ctx(c);
    drop_empty(g, number);
    interp_free(c->ctx, number);
    return CLI_DONE;
}

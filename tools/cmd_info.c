/* interp info: what a model is made of, and what it needs. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--batch", "N", "batch size the memory figures are for (1, or the model's own)"},
    {"--methods", NULL, "what each method of attribution takes, instead of the nodes"},
    {"--picture", "FILE.png", "draw the graph: boxes by op, with what one sample gives"},
    {NULL, NULL, NULL}};

/* Exact bytes of a workspace. */
static interp_status workspace_bytes(cli *c, interp_net *net, int batch, bool input_grads,
                                     bool param_grads, size_t *bytes)
{
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.batch = batch;
    w.input_grads = input_grads;
    w.param_grads = param_grads;
    w.mode = param_grads ? INTERP_TRAIN : INTERP_EVAL;
    return interp_workspace_bytes(c->ctx, net, &w, bytes);
}

/* Of one sample, each value once. */
static size_t activation_bytes(const interp_net *net)
{
    const int n = interp_net_describe(net).n_nodes;
    size_t bytes = 0;
    for (int i = 0; i < n; i++) bytes += interp_net_node(net, i).bytes;
    return bytes;
}

/* What each method of attribution takes for `batch` samples and default options; those that are not for
   this network are left out. */
static void add_methods(cli_text *t, interp_net *net, int batch, bool json)
{
    interp_attribute_desc d;
    bool some = false;
    memset(&d, 0, sizeof d);
    cli_add(t, "%s", json ? ",\"method_bytes\":{" : "");
    for (int m = 0; m < INTERP_METHOD_COUNT; m++) {
        size_t bytes;
        d.method = (interp_method)m;
        if (interp_attribute_bytes(net, batch, &d, &bytes)) continue;
        const char *name = interp_method_name(d.method);
        if (json) cli_add(t, "%s\"%s\":%zu", some ? "," : "", name, bytes);
        else cli_add(t, "%-30s %12zu bytes\n", name, bytes);
        some = true;
    }
    cli_add(t, "%s", json ? "}" : "");
}

/* Inputs, then outputs. */
static void add_ends(cli_text *t, const interp_net *net, bool json)
{
    const interp_net_info d = interp_net_describe(net);
    char shape[128];
    for (int side = 0; side < 2; side++) {
        const int n = side ? d.n_outputs : d.n_inputs;
        if (json) cli_add(t, ",\"%s\":[", side ? "outputs" : "inputs");
        for (int i = 0; i < n; i++) {
            const char *name =
                side ? interp_net_output_name(net, i) : interp_net_input_name(net, i);
            const interp_shape s =
                side ? interp_net_output_shape(net, i) : interp_net_input_shape(net, i);
            if (json) {
                cli_add(t, "%s{\"name\":", i ? "," : "");
                cli_add_json(t, name);
                cli_add(t, ",\"sample_shape\":");
            } else {
                cli_add(t, "%-7s %s  one sample ", side ? "output" : "input", name);
            }
            cli_add(t, "%s%s", cli_shape(&s, shape), json ? "}" : "\n");
        }
        if (json) cli_add(t, "]");
    }
}

/* A row for each node; figures are those of one sample. */
static void add_nodes(cli_text *t, const interp_net *net, bool json)
{
    const interp_net_info d = interp_net_describe(net);
    char shape[128];
    if (json) cli_add(t, ",\"nodes\":[");
    else
        cli_add(t, "\n%-24s %-20s %-18s %11s %13s %11s\n", "node", "op", "one sample gives",
                "parameters", "multiply-adds", "bytes");
    for (int i = 0; i < d.n_nodes; i++) {
        const interp_node_info n = interp_net_node(net, i);
        cli_shape(&n.shape, shape);
        if (!json) {
            cli_add(t, "%-24s %-20s %-18s %11zu %13.0f %11zu\n", n.name, n.op, shape,
                    n.n_parameters, n.macs, n.bytes);
            continue;
        }
        cli_add(t, "%s{\"name\":", i ? "," : "");
        cli_add_json(t, n.name);
        cli_add(t,
                ",\"op\":\"%s\",\"sample_shape\":%s,\"parameters\":%zu,\"macs\":%.0f,"
                "\"activation_bytes\":%zu}",
                n.op, shape, n.n_parameters, n.macs, n.bytes);
    }
    if (json) cli_add(t, "]");
}

/* ---- the picture */

/* How an op is drawn: its colour, and whether it goes into the box of what it reads. */
typedef struct op_look {
    const char *op; /* or how it begins, with '*' behind it */
    uint32_t rgb;
    bool joins;
} op_look;

static op_look look_of(const char *op)
{
    enum { weights = 0xa9c8ec, norm = 0xbfe3d6, bend = 0xf6e3a1, pool = 0xc4dfa8 };
    enum { join = 0xf4c095, view = 0xe4e4e4 };
    static const op_look looks[] = {
        {"Conv*", weights, false},    {"Gemm", weights, false},  {"MatMul*", weights, false},
        {"QLinear*", weights, false}, {"LSTM", weights, false},  {"GRU", weights, false},
        {"RNN", weights, false},      {"Batch*", norm, true},    {"Layer*", norm, true},
        {"Instance*", norm, true},    {"Group*", norm, true},    {"LRN", norm, true},
        {"Lp*", norm, true},          {"MaxPool", pool, false},  {"Average*", pool, false},
        {"Global*", pool, false},     {"Reduce*", pool, false},  {"Add", join, true},
        {"Sub", join, true},          {"Mul", join, true},       {"Div", join, true},
        {"Concat", join, false},      {"Sum", join, true},       {"Reshape", view, true},
        {"Flatten", view, true},      {"Transpose", view, true}, {"Identity", view, true},
        {"Dropout", view, true},      {"Squeeze", view, true},   {"Unsqueeze", view, true},
        {"Slice", view, false},       {"Split", view, false},    {"Gather*", view, false},
        {"Pad", view, true},          {"Resize", view, false},   {"*", bend, true}};
    for (const op_look *l = looks;; l++) {
        const size_t n = strlen(l->op) - 1;
        if (l->op[n] == '*' ? !strncmp(l->op, op, n) : !strcmp(l->op, op)) return *l;
    }
}

/* The graph as nodes and edges: inputs, nodes, outputs. */
typedef struct sketch {
    interp_graph_node *nodes;
    interp_graph_edge *edges;
    char (*notes)[128], (*titles)[128];
    int n, n_edges;
} sketch;

static void add_node(sketch *s, const char *title, const interp_shape *shape, op_look look)
{
    interp_graph_node *node = &s->nodes[s->n];
    node->title = title;
    node->note = shape ? cli_shape(shape, s->notes[s->n]) : NULL;
    node->rgb = look.rgb;
    node->joins = look.joins;
    s->n++;
}

/* An edge to the newest node; sources are numbered as interp_net_node_source does. */
static void add_edge(sketch *s, const interp_net_info *d, int source)
{
    if (source >= d->n_nodes) return; /* a constant */
    interp_graph_edge *e = &s->edges[s->n_edges++];
    e->from = source < 0 ? -1 - source : d->n_inputs + source;
    e->to = s->n - 1;
}

/* The op, with its window: "Conv 3x3 /2 depthwise". */
static const char *node_title(const interp_node_info *n, char out[128])
{
    const int *k = n->kernel, *by = n->stride;
    int at = snprintf(out, 128, "%.40s", n->op);
    if (k[0]) at += snprintf(out + at, 128 - (size_t)at, " %dx%d", k[0], k[1]);
    if (k[0] && (by[0] > 1 || by[1] > 1))
        at +=
            snprintf(out + at, 128 - (size_t)at, by[0] == by[1] ? " /%d" : " /%dx%d", by[0], by[1]);
    if (n->groups > 1 && n->groups == n->shape.dim[0])
        snprintf(out + at, 128 - (size_t)at, " depthwise");
    else if (n->groups > 1) snprintf(out + at, 128 - (size_t)at, " %d groups", n->groups);
    return out;
}

static void make_sketch(sketch *s, const interp_net *net)
{
    static const op_look in = {"", 0xd9c7ea, false}, out = {"", 0xd9c7ea, true};
    const interp_net_info d = interp_net_describe(net);
    for (int i = 0; i < d.n_inputs; i++) {
        const interp_shape shape = interp_net_input_shape(net, i);
        add_node(s, interp_net_input_name(net, i), &shape, in);
    }
    for (int i = 0; i < d.n_nodes; i++) {
        const interp_node_info node = interp_net_node(net, i);
        add_node(s, node_title(&node, s->titles[s->n]), &node.shape, look_of(node.op));
        for (int k = 0; k < node.n_sources; k++) add_edge(s, &d, interp_net_node_source(net, i, k));
    }
    for (int i = 0; i < d.n_outputs; i++) {
        const interp_shape shape = interp_net_output_shape(net, i);
        add_node(s, interp_net_output_name(net, i), &shape, out);
        add_edge(s, &d, interp_net_output_source(net, i));
    }
}

static int draw_picture(cli *c, const interp_net *net, const char *title, const char *path)
{
    const interp_net_info d = interp_net_describe(net);
    const size_t n = (size_t)(d.n_inputs + d.n_nodes + d.n_outputs);
    size_t edges = (size_t)d.n_outputs;
    for (int i = 0; i < d.n_nodes; i++) edges += (size_t)interp_net_node(net, i).n_sources;
    sketch s = {NULL, NULL, NULL, NULL, 0, 0};
    s.nodes = (interp_graph_node *)calloc(n, sizeof *s.nodes);
    s.edges = (interp_graph_edge *)calloc(edges, sizeof *s.edges);
    s.notes = (char(*)[128])calloc(n, sizeof *s.notes);
    s.titles = (char(*)[128])calloc(n, sizeof *s.titles);
    int code = CLI_DONE;
    if (!s.nodes || !s.edges || !s.notes || !s.titles) code = cli_fail("%s: out of memory", path);
    if (!code) {
        make_sketch(&s, net);
        interp_graph graph;
        interp_image image;
        memset(&graph, 0, sizeof graph);
        graph.nodes = s.nodes, graph.n_nodes = s.n;
        graph.edges = s.edges, graph.n_edges = s.n_edges;
        graph.title = strrchr(title, '/') ? strrchr(title, '/') + 1 : title;
        code = interp_graph_draw(c->ctx, &graph, &image) ? cli_fail_ctx(c)
                                                         : cli_write_image(c, &image, path);
    }
    free(s.nodes);
    free(s.edges);
    free(s.notes);
    free(s.titles);
    return code;
}

static int run(cli *c)
{
    cli_model model;
    int batch = 0;
    interp_onnx_load_desc as_is;
    memset(&as_is, 0, sizeof as_is);
    int code = cli_int(c, "--batch", 1, 1 << 20, &batch);
    if (!code) code = cli_model_load(c, c->positional[0], &as_is, &model);
    if (code) return code;
    interp_net *net = model.net;
    const interp_net_info d = interp_net_describe(net);
    const int fixed = interp_net_fixed_batch(net);
    if (!batch) batch = fixed ? fixed : 1;
    size_t infer = 0, attribute = 0, train = 0;
    if (workspace_bytes(c, net, batch, false, false, &infer) ||
        workspace_bytes(c, net, batch, true, false, &attribute) ||
        workspace_bytes(c, net, batch, false, true, &train))
        return cli_fail_ctx(c);
    const char *picture = cli_get(c, "--picture");
    if (picture) code = draw_picture(c, net, c->positional[0], picture);
    if (code) return code;
    cli_text t = {NULL, 0, 0, false};
    if (c->json) {
        cli_add(&t, "{\"model\":");
        cli_add_json(&t, c->positional[0]);
        cli_add(&t,
                ",\"n_nodes\":%d,\"parameters\":%zu,\"buffers\":%zu,\"macs\":%.0f,\"batch\":%d,"
                "\"fixed_batch\":%d,\"inference_bytes\":%zu,\"attribution_bytes\":%zu,"
                "\"training_bytes\":%zu,\"activation_bytes\":%zu",
                d.n_nodes, d.n_parameters, d.n_buffers, d.macs, batch, fixed, infer, attribute,
                train, activation_bytes(net));
        if (model.classes) {
            cli_add(&t, ",\"classes\":");
            cli_add_json_list(&t, model.classes, model.n_classes);
        }
        add_ends(&t, net, true);
        if (cli_has(c, "--methods")) add_methods(&t, net, batch, true);
        add_nodes(&t, net, true);
        cli_add(&t, "}\n");
        return cli_text_print(&t);
    }
    cli_add(&t, "%s\n", c->positional[0]);
    add_ends(&t, net, false);
    cli_add(&t,
            "%zu parameters, %zu further numbers; a sample: %.3f million multiply-adds, %zu bytes "
            "of activations\n",
            d.n_parameters, d.n_buffers, d.macs / 1e6, activation_bytes(net));
    cli_add(&t,
            "bytes of workspace at batch %d: inference %zu, input gradients %zu, training %zu\n",
            batch, infer, attribute, train);
    for (int k = 0; k < model.n_classes; k++)
        cli_add(&t, "%s%s%s", k ? ", " : "classes: ", model.classes[k],
                k + 1 < model.n_classes ? "" : "\n");
    if (cli_has(c, "--methods")) add_methods(&t, net, batch, false);
    else add_nodes(&t, net, false);
    return cli_text_print(&t);
}

const cli_command cmd_info = {
    "info", "MODEL.onnx", "ops, shapes, parameters and exact memory of a model", 1, options, run};

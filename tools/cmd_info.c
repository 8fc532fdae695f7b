/* interp info: what a model is made of, and what it needs. */
#include "cli.h"

#include <string.h>

static const cli_option options[] = {
    {"--batch", "N", "batch size the memory figures are for (1, or the model's own)"},
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

static void add_nodes(cli_text *t, const interp_net *net, bool json)
{
    const interp_net_info d = interp_net_describe(net);
    char shape[128];
    cli_add(t, json ? ",\"nodes\":[" : "\n%-28s %-20s %s\n", "node", "op", "one sample gives");
    for (int i = 0; i < d.n_nodes; i++) {
        const interp_shape s = interp_net_node_shape(net, i);
        if (json) {
            cli_add(t, "%s{\"name\":", i ? "," : "");
            cli_add_json(t, interp_net_node_name(net, i));
            cli_add(t, ",\"op\":\"%s\",\"sample_shape\":", interp_net_node_op(net, i));
        } else {
            cli_add(t, "%-28s %-20s ", interp_net_node_name(net, i), interp_net_node_op(net, i));
        }
        cli_add(t, "%s%s", cli_shape(&s, shape), json ? "}" : "\n");
    }
    if (json) cli_add(t, "]");
}

static int run(cli *c)
{
    cli_model model;
    int batch = 0;
    int code = cli_int(c, "--batch", 1, 1 << 20, &batch);
    if (!code) code = cli_model_load(c, c->positional[0], NULL, &model);
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
    cli_text t = {NULL, 0, 0, false};
    if (c->json) {
        cli_add(&t, "{\"model\":");
        cli_add_json(&t, c->positional[0]);
        cli_add(&t,
                ",\"n_nodes\":%d,\"parameters\":%zu,\"buffers\":%zu,\"macs\":%.0f,\"batch\":%d,"
                "\"fixed_batch\":%d,\"inference_bytes\":%zu,\"attribution_bytes\":%zu,"
                "\"training_bytes\":%zu",
                d.n_nodes, d.n_parameters, d.n_buffers, d.macs, batch, fixed, infer, attribute,
                train);
        if (model.classes) {
            cli_add(&t, ",\"classes\":");
            cli_add_json_list(&t, model.classes, model.n_classes);
        }
        add_ends(&t, net, true);
        add_nodes(&t, net, true);
        cli_add(&t, "}\n");
        return cli_text_print(&t);
    }
    cli_add(&t, "%s\n", c->positional[0]);
    add_ends(&t, net, false);
    cli_add(&t, "%zu parameters, %zu further numbers, %.3f million multiply-adds a sample\n",
            d.n_parameters, d.n_buffers, d.macs / 1e6);
    cli_add(&t,
            "bytes of workspace at batch %d: inference %zu, input gradients %zu, training %zu\n",
            batch, infer, attribute, train);
    for (int k = 0; k < model.n_classes; k++)
        cli_add(&t, "%s%s%s", k ? ", " : "classes: ", model.classes[k],
                k + 1 < model.n_classes ? "" : "\n");
    add_nodes(&t, net, false);
    return cli_text_print(&t);
}

const cli_command cmd_info = {
    "info", "MODEL.onnx", "ops, shapes, parameters and exact memory of a model", 1, options, run};

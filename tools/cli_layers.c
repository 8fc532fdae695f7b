/* What layers of a network make of samples. */
#include "cli.h"

#include <string.h>

int cli_layer_find(const interp_net *net, const char *name)
{
    if (!name) return -1;
    for (int i = 0; i < interp_net_describe(net).n_nodes; i++)
        if (!strcmp(interp_net_node_name(net, i), name)) return i;
    return -1;
}

int cli_layer_last(const interp_net *net)
{
    for (int i = interp_net_describe(net).n_nodes - 1; i > 0; i--)
        if (!strcmp(interp_net_node_op(net, i), "Gemm") ||
            !strcmp(interp_net_node_op(net, i), "MatMul"))
            return i - 1;
    return -1;
}

/* Batches of samples through a workspace; room: for one of them. */
static interp_status run_batches(cli *c, const float *x, int n, size_t size, size_t width,
                                 interp_workspace *w, int batch, float *room, float *out)
{
    const float *from = room;
    interp_status status = INTERP_OK;
    memset(room, 0, (size_t)batch * size * sizeof *room);
    for (int i = 0; i < n && !status; i += batch) {
        const int some = n - i < batch ? n - i : batch;
        status = cli_progress(c, "layer", i, n);
        if (status) break;
        memcpy(room, x + (size_t)i * size, (size_t)some * size * sizeof *room);
        status = interp_forward(w, &from);
        if (!status)
            memcpy(out + (size_t)i * width, interp_workspace_kept(w),
                   (size_t)some * width * sizeof *out);
    }
    return status;
}

interp_status cli_layer_run(cli *c, const interp_net *net, int node, const float *x, int n,
                            float *out)
{
    const interp_shape in = interp_net_input_shape(net, 0), made = interp_net_node_shape(net, node);
    const size_t size = interp_shape_size(&in), width = interp_shape_size(&made);
    interp_workspace_desc d;
    interp_workspace *w = NULL;
    interp_status status = INTERP_NO_MEMORY;
    memset(&d, 0, sizeof d);
    d.keep = interp_net_node_name(net, node);
    for (int most = n < 64 ? n : 64; most && status == INTERP_NO_MEMORY; most = d.batch / 2) {
        d.batch = interp_workspace_fit(c->ctx, net, &d, most);
        if (!d.batch) return interp_last_status(c->ctx);
        float *room = (float *)interp_alloc(c->ctx, (size_t)d.batch * size * sizeof *room);
        status = room ? interp_workspace_new(c->ctx, net, &d, &w) : INTERP_NO_MEMORY;
        if (!status) {
            status = run_batches(c, x, n, size, width, w, d.batch, room, out);
            interp_workspace_free(w);
        }
        interp_free(c->ctx, room);
        if (interp_net_fixed_batch(net)) break;
    }
    return status;
}

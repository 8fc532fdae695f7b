/* ---- attr/full_grad.c: what the input and every bias add to the output --------------------------

   A net of pieces that are linear is f(x) = x . df/dx + sum over biases b of b . df/db (Srinivas and
   Fleuret 2019, eq. 3). Biases are those of layers, numbers added, and what a batch norm adds:
   beta - mean gamma / sigma. Those that lie over images become maps of the image. */

typedef struct itp_full {
    int planes, height, width; /* of one sample, or of each view of it */
    int views;                 /* rows of a sample: 1, or as many as there are views */
    int view;                  /* with 1: the one that it is of; -1: all */
} itp_full;

/* The images a value holds for one sample; false when it holds none. */
ITP_FN bool itp_full_images(const itp_attr *a, int value, const interp_shape *s, itp_full *f)
{
    const int rows = itp_value_rows(a->net, value), views = itp_views(&a->in_shape);
    if (s->rank != 4 || s->dim[0] % a->batch) return false;
    f->views = rows == views ? views : 1;
    f->view = a->view_of[value] >= 0 ? a->view_of[value] : -1;
    f->planes = s->dim[0] / a->batch * s->dim[1] / f->views;
    f->height = s->dim[2], f->width = s->dim[3];
    return true;
}

/* Adds the planes |v| of a sample to its map, or to those of its views, each scaled to 0..1 unless they are
   wanted raw. What is of no one view counts for all of them. */
ITP_FN void itp_full_add(itp_attr *a, int slot, const itp_full *f, const float *v)
{
    const interp_shape *s = &a->result_shape;
    const int height = s->dim[s->rank - 2], width = s->dim[s->rank - 1];
    const int maps = itp_views(&a->in_shape);
    const size_t area = (size_t)f->height * (size_t)f->width, size = a->result_size / (size_t)maps;
    float *plane = a->scratch, *all = plane + area, *big = all + area;
    for (int row = 0; row < f->views; row++) {
        memset(all, 0, area * sizeof *all);
        for (int p = 0; p < f->planes; p++, v += area) {
            for (size_t i = 0; i < area; i++) plane[i] = fabsf(v[i]);
            if (!a->d.raw) itp_cam_scale(plane, area, 1e-7);
            for (size_t i = 0; i < area; i++) all[i] += plane[i];
        }
        itp_cam_resize(all, f->height, f->width, big, height, width, false);
        const int of = f->views > 1 ? row : f->view;
        for (int m = of < 0 ? 0 : of; m < (of < 0 ? maps : of + 1); m++) {
            double *map = a->sum + (size_t)slot * a->result_size + (size_t)m * size;
            for (size_t i = 0; i < size; i++) map[i] += (double)big[i];
        }
    }
}

/* A bias, [channels] or of a shape that fits the output's from the end, times its gradient. */
ITP_FN void itp_full_bias(itp_attr *a, interp_workspace *w, int node, const float *bias,
                          const interp_shape *shape, double factor)
{
    const interp_shape *out = itp_shape_out(w, node);
    const size_t size = itp_count(out) / (size_t)a->batch;
    float *v = a->scratch + a->scratch_floats - size;
    size_t inner = 1;
    itp_full images;
    const bool shown = itp_full_images(a, a->net->nodes[node].out, out, &images);
    for (int d = 2; d < out->rank; d++) inner *= (size_t)out->dim[d];
    for (int slot = 0; slot < a->filled; slot++) {
        const float *g = itp_dy(w, node) + (size_t)slot * size;
        double total = 0;
        for (size_t i = 0; i < size; i++) {
            const size_t k = (size_t)slot * size + i;
            const size_t from =
                shape ? itp_mask_place(shape, out, k) : k / inner % (size_t)out->dim[1];
            v[i] = (float)(factor * (double)bias[from] * (double)g[i]);
            total += (double)v[i];
        }
        a->square[slot] += total;
        if (shown) itp_full_add(a, slot, &images, v);
    }
}

ITP_FN void itp_full_grad_rule(void *user, interp_workspace *w, int node)
{
    itp_attr *a = (itp_attr *)user;
    const itp_node *o = itp_at(w, node);
    const bool third = o->n_in > 2 && !itp_rule_moves(w, node, 2);
    switch (o->op) {
    case ITP_OP_CONV:
    case ITP_OP_CONV_TRANSPOSE:
        if (third) itp_full_bias(a, w, node, itp_x(w, node, 2), NULL, 1);
        break;
    case ITP_OP_GEMM:
        if (third)
            itp_full_bias(a, w, node, itp_x(w, node, 2), itp_shape_in(w, node, 2),
                          (double)o->attrs.beta);
        break;
    case ITP_OP_LAYER_NORM:
        if (third) itp_full_bias(a, w, node, itp_x(w, node, 2), itp_shape_in(w, node, 2), 1);
        break;
    case ITP_OP_ADD:
    case ITP_OP_SUB:
        for (int k = 0; k < 2; k++)
            if (!itp_rule_moves(w, node, k))
                itp_full_bias(a, w, node, itp_x(w, node, k), itp_shape_in(w, node, k),
                              k && o->op == ITP_OP_SUB ? -1 : 1);
        break;
    case ITP_OP_BATCH_NORM: {
        const size_t channels = (size_t)itp_shape_out(w, node)->dim[1];
        itp_bn_scales(w, node, a->bias, a->bias + channels);
        itp_full_bias(a, w, node, a->bias + channels, NULL, 1);
        break;
    }
    default: break;
    }
    itp_op_backward(w, node);
}

/* ---- the method */

ITP_FN interp_status itp_attr_settle_full_grad(itp_attr *a)
{
    const interp_shape in = a->result_shape;
    if (in.rank < 2)
        return itp_fail(a->ctx, INTERP_BAD_SHAPE, "%s: the input is no image", a->row->name);
    a->result_shape = itp_attr_map_shape(&in);
    return INTERP_OK;
}

/* The most numbers that a node makes for a sample. */
ITP_FN size_t itp_full_most(const itp_attr *a)
{
    size_t most = a->size;
    for (int i = 0; i < a->net->n_nodes; i++)
        most = itp_max_size(most, interp_shape_size(&a->net->values[a->net->nodes[i].out].shape));
    return most;
}

ITP_FN size_t itp_attr_scratch_full_grad(const itp_attr *a, int batch)
{
    (void)batch;
    return itp_add_size(itp_mul_size(3, itp_full_most(a)), interp_shape_size(&a->result_shape));
}

ITP_FN void itp_attr_layout_full_grad(itp_arena *m, itp_attr *a)
{
    const size_t b = (size_t)a->batch;
    a->sum = (double *)itp_arena_alloc(
        m, itp_mul_size(itp_mul_size(b, interp_shape_size(&a->result_shape)), sizeof(double)));
    a->square = (double *)itp_arena_alloc(m, b * sizeof(double));
    a->bias = itp_arena_floats(m, itp_mul_size(2, itp_full_most(a)));
    a->view_of = (int *)itp_arena_alloc(m, itp_mul_size((size_t)a->net->n_values, sizeof(int)));
}

ITP_FN interp_status itp_attr_run_full_grad(itp_attr *a)
{
    itp_full image;
    const interp_shape *s = &a->in_shape;
    image.height = s->dim[s->rank - 2], image.width = s->dim[s->rank - 1];
    image.views = itp_views(s), image.view = -1;
    image.planes = (int)(a->size / a->result_size);
    itp_views_find(a->net, a->view_of);
    a->w->rule = itp_full_grad_rule, a->w->rule_user = a;
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        for (int i = 0; i < a->filled; i++)
            itp_attr_put(a, a->x + (size_t)(at + i) * a->size, itp_attr_slot(a, i, at + i));
        memset(a->sum, 0, (size_t)a->filled * a->result_size * sizeof *a->sum);
        memset(a->square, 0, (size_t)a->filled * sizeof *a->square);
        ITP_TRY(itp_attr_forward(a));
        memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
        for (int i = 0; i < a->filled; i++) itp_attr_seed(a, i, a->report[at + i].target, 1);
        ITP_TRY(interp_backward(a->w, a->seed));
        for (int i = 0; i < a->filled; i++) {
            const float *g = itp_attr_grad(a) + (size_t)i * a->size;
            float *out = a->result + (size_t)(at + i) * a->result_size;
            float *v = a->scratch + a->scratch_floats - a->size;
            double total = a->square[i];
            for (size_t k = 0; k < a->size; k++) {
                v[k] = a->in[(size_t)i * a->size + k] * g[k];
                total += (double)v[k];
            }
            itp_full_add(a, i, &image, v);
            for (size_t k = 0; k < a->result_size; k++)
                out[k] = (float)a->sum[(size_t)i * a->result_size + k];
            if (!a->d.raw) itp_cam_scale(out, a->result_size, 1e-7);
            a->report[at + i].residual = total - a->report[at + i].output;
        }
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

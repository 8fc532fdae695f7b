/* ---- attr/cam.c: class activation maps: channels of a layer, weighted and added ------------------- */

enum {
    ITP_CAM_MEAN,
    ITP_CAM_PLUS_PLUS,
    ITP_CAM_X,
    ITP_CAM_LAYER,
    ITP_CAM_HIRES,
    ITP_CAM_EIGEN,
    ITP_CAM_SCORE,
    ITP_CAM_ABLATION,
    ITP_CAM_GUIDED
};

typedef struct itp_cam_size {
    int channels, height, width; /* of the layer */
    size_t area, all;
    int in_height, in_width;
    size_t plane; /* of the input */
} itp_cam_size;

ITP_FN itp_cam_size itp_cam_sizes(const itp_attr *a)
{
    const interp_shape *s = &a->net->values[a->layer].shape;
    const interp_shape in = interp_net_input_shape(a->net, 0);
    itp_cam_size z;
    z.channels = s->dim[1], z.height = s->dim[2], z.width = s->dim[3];
    z.area = (size_t)z.height * (size_t)z.width;
    z.all = z.area * (size_t)z.channels;
    z.in_height = in.rank > 1 ? in.dim[in.rank - 2] : 1;
    z.in_width = in.rank ? in.dim[in.rank - 1] : 1;
    z.plane = (size_t)z.in_height * (size_t)z.in_width;
    return z;
}

ITP_FN bool itp_cam_perturbs(const itp_attr *a)
{
    return a->row->kind == ITP_CAM_SCORE || a->row->kind == ITP_CAM_ABLATION;
}

/* The row of a layer that has a sample's numbers, or those of the view at hand. */
ITP_FN size_t itp_cam_row(const itp_attr *a, int slot)
{
    const int rows = itp_value_rows(a->net, a->layer);
    return (size_t)slot * (size_t)rows + (size_t)(rows > 1 ? itp_max(0, a->view) : 0);
}

/* The numbers of a sample that are of the view at hand: from here on, up to *end. */
ITP_FN size_t itp_cam_shown(const itp_attr *a, size_t *end)
{
    const size_t part = a->size / (size_t)itp_views(&a->in_shape);
    *end = a->view < 0 ? a->size : (size_t)(a->view + 1) * part;
    return a->view < 0 ? 0 : (size_t)a->view * part;
}

/* The layer of view v: the one of the call where it has rows for all; -1: there is none. */
ITP_FN interp_status itp_cam_layer(const itp_attr *a, int v, int *layer)
{
    const interp_net *net = a->net;
    *layer = a->layer;
    if (itp_value_rows(net, a->layer) > 1) return INTERP_OK;
    int *view = (int *)interp_alloc(a->ctx, itp_mul_size((size_t)net->n_values, sizeof *view));
    if (!view) return INTERP_NO_MEMORY;
    itp_views_find(net, view);
    *layer = view[a->layer] < 0 ? -1 : itp_view_layer(net, view, a->layer, v);
    interp_free(a->ctx, view);
    return INTERP_OK;
}

/* Whether each view has a map of its own: the layer has a row for each, or is one of as many calls. */
ITP_FN interp_status itp_cam_maps(itp_attr *a)
{
    const interp_net *net = a->net;
    const int views = itp_views(&a->in_shape), rows = itp_value_rows(net, a->layer);
    if (rows != 1 && rows != views)
        return itp_fail(a->ctx, INTERP_BAD_SHAPE,
                        "%s: layer \"%s\" has %d rows for a sample of %d images", a->row->name,
                        net->values[a->layer].name, rows, views);
    if (views == 1) return INTERP_OK;
    for (int v = 0, layer; v < views; v++) {
        ITP_TRY(itp_cam_layer(a, v, &layer));
        if (layer < 0) return INTERP_OK;
    }
    a->maps = views;
    return INTERP_OK;
}

/* Makes a call that was settled for the layer of view v one for that view. */
ITP_FN void itp_cam_of_view(itp_attr *a, int v)
{
    interp_shape *s = &a->result_shape;
    a->maps = 1, a->view = v;
    if (a->row->kind == ITP_CAM_GUIDED) return;
    for (int i = 0; i + 1 < s->rank; i++) s->dim[i] = s->dim[i + 1];
    s->dim[--s->rank] = 1;
    a->result_size = interp_shape_size(s);
}

ITP_FN interp_status itp_attr_settle_cam(itp_attr *a)
{
    const itp_cam_size z = itp_cam_sizes(a);
    const interp_shape in = interp_net_input_shape(a->net, 0);
    if (in.rank < 2)
        return itp_fail(a->ctx, INTERP_BAD_SHAPE, "%s: the input is no image", a->row->name);
    ITP_TRY(itp_cam_maps(a));
    if (a->row->kind == ITP_CAM_GUIDED) {
        a->result_shape = in;
        return INTERP_OK;
    }
    interp_shape *s = &a->result_shape;
    *s = itp_shape_none();
    if (a->maps > 1) s->dim[s->rank++] = a->maps;
    s->dim[s->rank++] = a->d.raw ? z.height : z.in_height;
    s->dim[s->rank++] = a->d.raw ? z.width : z.in_width;
    if (itp_cam_perturbs(a)) a->points = z.channels;
    return INTERP_OK;
}

ITP_FN size_t itp_attr_scratch_cam(const itp_attr *a, int batch)
{
    const itp_cam_size z = itp_cam_sizes(a);
    (void)batch;
    return itp_add_size(z.plane, z.all) + z.area + 2 * (size_t)z.channels + 256;
}

ITP_FN void itp_attr_layout_cam(itp_arena *m, itp_attr *a)
{
    const itp_cam_size z = itp_cam_sizes(a);
    a->sum = (double *)itp_arena_alloc(m, itp_mul_size(z.area, sizeof(double)));
    a->square = (double *)itp_arena_alloc(m, itp_mul_size((size_t)z.channels, sizeof(double)));
}

/* ---- maps */

/* Bilinear resizing of one plane; corners: the corners of both fall together. */
ITP_FN void itp_cam_resize(const float *from, int h, int w, float *to, int height, int width,
                           bool corners)
{
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            double sy = corners ? (height > 1 ? (double)y * (h - 1) / (height - 1) : 0)
                                : (y + 0.5) * h / height - 0.5;
            double sx = corners ? (width > 1 ? (double)x * (w - 1) / (width - 1) : 0)
                                : (x + 0.5) * w / width - 0.5;
            sy = fmin(fmax(sy, 0), h - 1), sx = fmin(fmax(sx, 0), w - 1);
            const int y0 = (int)sy, x0 = (int)sx;
            const int y1 = itp_min(y0 + 1, h - 1), x1 = itp_min(x0 + 1, w - 1);
            const double fy = sy - y0, fx = sx - x0;
            to[(size_t)y * (size_t)width + (size_t)x] =
                (float)((1 - fy) * ((1 - fx) * (double)from[y0 * w + x0] +
                                    fx * (double)from[y0 * w + x1]) +
                        fy * ((1 - fx) * (double)from[y1 * w + x0] +
                              fx * (double)from[y1 * w + x1]));
        }
}

/* To 0..1, as pytorch-grad-cam scales. */
ITP_FN void itp_cam_scale(float *x, size_t n, double tiny)
{
    double low = (double)x[0], high = 0;
    for (size_t i = 0; i < n; i++) low = fmin(low, (double)x[i]);
    for (size_t i = 0; i < n; i++) high = fmax(high, (double)x[i] - low);
    for (size_t i = 0; i < n; i++) x[i] = (float)(((double)x[i] - low) / (tiny + high));
}

/* The sum of a sample, raw or as a map. */
ITP_FN void itp_cam_finish(itp_attr *a, int sample)
{
    const itp_cam_size z = itp_cam_sizes(a);
    float *out = a->result + (size_t)sample * a->result_size, *cut = a->scratch;
    for (size_t i = 0; i < z.area; i++) {
        if (a->d.raw) out[i] = (float)a->sum[i];
        else cut[i] = a->sum[i] > 0 ? (float)a->sum[i] : 0;
    }
    a->report[sample].residual = (double)NAN; /* maps do not add up to anything */
    if (a->d.raw) return;
    if (a->view < 0) itp_cam_scale(cut, z.area, 1e-7); /* those of views are scaled together */
    itp_cam_resize(cut, z.height, z.width, out, z.in_height, z.in_width, false);
    if (a->view < 0) itp_cam_scale(out, a->result_size, 1e-7);
}

/* ---- weights by gradients */

/* Adds one channel: activations x and gradients g of its pixels. */
ITP_FN void itp_cam_channel(itp_attr *a, const float *x, const float *g, size_t n)
{
    double weight = 0, sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    for (size_t i = 0; i < n; i++) {
        const double d = (double)g[i];
        switch (a->row->kind) {
        case ITP_CAM_MEAN:
        case ITP_CAM_GUIDED: weight += d / (double)n; break;
        case ITP_CAM_PLUS_PLUS:
            if (d > 0) weight += d * d * d / (2 * d * d + sum * d * d * d + 1e-6);
            break;
        case ITP_CAM_X: weight += d * (double)x[i] / (sum + 1e-7); break;
        case ITP_CAM_LAYER: a->sum[i] += fmax(0, d) * (double)x[i]; break;
        case ITP_CAM_HIRES: a->sum[i] += d * (double)x[i]; break;
        default: break;
        }
    }
    for (size_t i = 0; i < n; i++) a->sum[i] += weight * (double)x[i];
}

/* y: the pixels, each a point with a number for every channel, centred, along v. x: [channels, n]. */
ITP_FN void itp_cam_project(const float *x, int channels, size_t n, const double *v, double *y)
{
    memset(y, 0, n * sizeof *y);
    for (int c = 0; c < channels; c++, x += n) {
        double mean = 0;
        for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
        for (size_t i = 0; i < n; i++) y[i] += ((double)x[i] - mean) * v[c];
    }
}

/* The pixels along their first principal component, by power iteration; the sign is that of the mean
   activation. */
ITP_FN void itp_cam_eigen(itp_attr *a, const float *x, const itp_cam_size *z)
{
    double *v = a->square, *y = a->sum, sign = 0;
    const size_t n = z->area;
    for (int c = 0; c < z->channels; c++) v[c] = 1 + c % 7 * 0.1;
    for (int round = 0; round < 1000; round++) {
        double size = 0, moved = 0;
        itp_cam_project(x, z->channels, n, v, y);
        for (int c = 0; c < z->channels; c++) { /* y has no mean, so that x needs none here */
            double dot = 0;
            for (size_t i = 0; i < n; i++) dot += (double)x[(size_t)c * n + i] * y[i];
            a->scratch[c] = (float)dot;
            size += dot * dot;
        }
        for (int c = 0; c < z->channels && size > 0; c++) {
            const double now = (double)a->scratch[c] / sqrt(size);
            moved = fmax(moved, fabs(now - v[c]));
            v[c] = now;
        }
        if (moved < 1e-7) break;
    }
    itp_cam_project(x, z->channels, n, v, y);
    for (int c = 0; c < z->channels; c++)
        for (size_t i = 0; i < n; i++) sign += (double)x[(size_t)c * n + i] * y[i];
    for (size_t i = 0; i < n && sign < 0; i++) y[i] = -y[i];
}

/* One batch of samples whose layer and perhaps gradients are there. */
ITP_FN void itp_cam_samples(itp_attr *a, int first)
{
    const itp_cam_size z = itp_cam_sizes(a);
    const float *kept = interp_workspace_kept(a->w), *grad = interp_workspace_kept_grad(a->w);
    for (int i = 0; i < a->filled; i++) {
        const size_t at = itp_cam_row(a, i) * z.all;
        memset(a->sum, 0, z.area * sizeof *a->sum);
        if (a->row->kind == ITP_CAM_EIGEN) itp_cam_eigen(a, kept + at, &z);
        for (int c = 0; c < z.channels && a->row->kind != ITP_CAM_EIGEN; c++)
            itp_cam_channel(a, kept + at + (size_t)c * z.area, grad + at + (size_t)c * z.area,
                            z.area);
        if (a->row->kind != ITP_CAM_GUIDED) {
            itp_cam_finish(a, first + i);
            continue;
        }
        float *out = a->result + (size_t)(first + i) * a->result_size;
        size_t end, k = itp_cam_shown(a, &end);
        memset(out, 0, a->result_size * sizeof *out);
        for (; k < end; k++) { /* nearest pixel of the map */
            const size_t pixel = k % z.plane, y = pixel / (size_t)z.in_width,
                         x = pixel % (size_t)z.in_width;
            const double v = a->sum[y * (size_t)z.height / (size_t)z.in_height * (size_t)z.width +
                                    x * (size_t)z.width / (size_t)z.in_width];
            out[k] = v > 0 ? (float)v : 0;
        }
    }
}

ITP_FN interp_status itp_cam_backward(itp_attr *a, int first)
{
    ITP_TRY(itp_attr_forward(a));
    memset(a->seed, 0, (size_t)a->batch * (size_t)a->outputs * sizeof *a->seed);
    for (int i = 0; i < a->filled; i++) itp_attr_seed(a, i, a->report[first + i].target, 1);
    return interp_backward(a->w, a->seed);
}

ITP_FN void itp_cam_guided_rule(void *user, interp_workspace *w, int node)
{
    (void)user;
    itp_guided_node(w, node, ITP_WAY_GUIDED, NULL);
}

/* The map times the guided gradient of the input, from a pass of its own. */
ITP_FN interp_status itp_cam_guide(itp_attr *a, int first)
{
    a->w->rule = itp_cam_guided_rule, a->w->rule_user = a;
    const interp_status status = itp_cam_backward(a, first);
    a->w->rule = NULL;
    if (status) return status;
    const float *g = interp_workspace_input_grad(a->w, 0);
    float *out = a->result + (size_t)first * a->result_size;
    for (size_t k = 0; k < (size_t)a->filled * a->result_size; k++) out[k] *= g[k];
    for (int i = 0; i < a->filled; i++) {
        a->report[first + i].residual = (double)NAN;
        a->report[first + i].nodes = itp_guided_nodes(a, ITP_WAY_GUIDED);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_cam_by_gradient(itp_attr *a)
{
    for (int at = 0; at < a->n; at += a->batch) {
        a->filled = itp_min(a->batch, a->n - at);
        memcpy(a->in, a->x + (size_t)at * a->size, (size_t)a->filled * a->size * sizeof *a->in);
        if (a->row->kind == ITP_CAM_EIGEN) ITP_TRY(itp_attr_forward(a));
        else ITP_TRY(itp_cam_backward(a, at));
        itp_cam_samples(a, at);
        if (a->row->kind == ITP_CAM_GUIDED) ITP_TRY(itp_cam_guide(a, at));
        ITP_TRY(itp_attr_tick(a, a->filled));
    }
    return INTERP_OK;
}

/* ---- weights by what the output loses or gains */

/* Puts 0 in place of one channel of each slot's layer, channels a->first on. */
ITP_FN void itp_cam_ablate(void *user, interp_workspace *w, int node)
{
    const itp_attr *a = (const itp_attr *)user;
    const itp_cam_size z = itp_cam_sizes(a);
    float *y = itp_y(w, node);
    for (int i = 0; i < a->filled; i++)
        memset(y + itp_cam_row(a, i) * z.all + (size_t)(a->first + i) * z.area, 0,
               z.area * sizeof *y);
}

ITP_FN interp_status itp_cam_by_output(itp_attr *a)
{
    const itp_cam_size z = itp_cam_sizes(a);
    const bool score = a->row->kind == ITP_CAM_SCORE;
    float *kept = a->scratch, *up = kept + z.all;
    size_t end;
    const size_t shown = itp_cam_shown(a, &end);
    for (int s = 0; s < a->n; s++) {
        const float *x = a->x + (size_t)s * a->size;
        const interp_attribution *r = &a->report[s];
        double top = -DBL_MAX, total = 0;
        a->w->after_node = -1;
        a->filled = 1;
        memcpy(a->in, x, a->size * sizeof *x);
        ITP_TRY(itp_attr_forward(a));
        memcpy(kept, interp_workspace_kept(a->w) + itp_cam_row(a, 0) * z.all, z.all * sizeof *kept);
        if (!score) {
            a->w->after_node = a->net->values[a->layer].producer;
            a->w->after = itp_cam_ablate, a->w->after_user = a;
        }
        for (a->first = 0; a->first < z.channels; a->first += a->filled) {
            a->filled = itp_min(a->batch, z.channels - a->first);
            for (int i = 0; i < a->filled; i++) {
                float *to = a->in + (size_t)i * a->size;
                memcpy(to, x, a->size * sizeof *x);
                if (!score) continue;
                itp_cam_resize(kept + (size_t)(a->first + i) * z.area, z.height, z.width, up,
                               z.in_height, z.in_width, true);
                itp_cam_scale(up, z.plane, 1e-8);
                for (size_t at = shown; at < end; at += z.plane)
                    for (size_t k = 0; k < z.plane; k++) to[at + k] *= up[k];
            }
            ITP_TRY(itp_attr_forward(a));
            for (int i = 0; i < a->filled; i++)
                a->square[a->first + i] = itp_attr_output(
                    a, interp_workspace_target(a->w) + (size_t)i * (size_t)a->outputs, r->target);
            ITP_TRY(itp_attr_tick(a, a->filled));
        }
        a->w->after_node = -1;
        for (int c = 0; c < z.channels; c++) top = fmax(top, a->square[c]);
        for (int c = 0; c < z.channels; c++) {
            if (score) total += a->square[c] = exp(a->square[c] - top);
            else
                a->square[c] =
                    r->output != 0 ? (r->output - a->square[c]) / r->output : -a->square[c];
        }
        memset(a->sum, 0, z.area * sizeof *a->sum);
        for (int c = 0; c < z.channels; c++)
            for (size_t i = 0; i < z.area; i++)
                a->sum[i] +=
                    a->square[c] / (score ? total : 1) * (double)kept[(size_t)c * z.area + i];
        itp_cam_finish(a, s);
    }
    a->filled = 0;
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_run_cam(itp_attr *a)
{
    return itp_cam_perturbs(a) ? itp_cam_by_output(a) : itp_cam_by_gradient(a);
}

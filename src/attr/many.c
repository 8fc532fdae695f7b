/* ---- attr/many.c: the call, and calls made of calls: for each target, sample or view ----------------- */

/* ---- many targets of methods that take one */

ITP_FN bool itp_attr_each_alone(const itp_attr *a)
{
    return a->k > 1 && (!itp_attr_needs(a, ITP_ATTR_MANY_TARGETS) || itp_attr_averages(a));
}

ITP_FN interp_attribute_desc itp_attr_each_desc(const itp_attr *a, int j)
{
    interp_attribute_desc d = a->d;
    d.n_targets = 0;
    d.target_kind = INTERP_TARGET_CLASS;
    d.target = d.targets ? d.targets[j] : j;
    return d;
}

/* Room for the results of all targets, or views, and of one; its size. */
ITP_FN size_t itp_attr_each_layout(itp_attr *a, char *block, float **one)
{
    itp_arena m = {block, 0};
    const size_t n = (size_t)a->n, all = itp_mul_size(n, (size_t)a->k);
    float *own = itp_arena_floats(&m, itp_mul_size(n, a->result_size));
    if (one) *one = own;
    a->result = itp_arena_floats(&m, itp_mul_size(all, a->result_size));
    a->report = (interp_attribution *)itp_arena_alloc(&m, itp_mul_size(all, sizeof *a->report));
    return m.used;
}

ITP_FN interp_status itp_attr_each(itp_attr *a, const float *x, float *out,
                                   interp_attribution *report)
{
    float *one;
    interp_status status = INTERP_OK;
    const size_t n = (size_t)a->n, k = (size_t)a->k, size = a->result_size;
    char *block = (char *)interp_alloc(a->ctx, itp_attr_each_layout(a, NULL, NULL));
    if (!block) return INTERP_NO_MEMORY;
    itp_attr_each_layout(a, block, &one);
    for (size_t j = 0; j < k && !status; j++) {
        const interp_attribute_desc d = itp_attr_each_desc(a, (int)j);
        itp_attr sub;
        status = itp_attr_settle(&sub, a->net, a->n, &d, NULL, NULL);
        sub.done = (double)j * sub.total, sub.total *= (double)k;
        interp_attribution *r = a->report + j * n; /* put in order below */
        if (!status) status = itp_attr_dispatch(&sub, x, one, r);
        for (size_t i = 0; i < n && !status; i++)
            memcpy(a->result + (i * k + j) * size, one + i * size, size * sizeof *one);
    }
    if (!status) memcpy(out, a->result, n * k * size * sizeof *out);
    for (size_t i = 0; i < n * k && !status && report; i++)
        report[i] = a->report[i % k * n + i / k];
    interp_free(a->ctx, block);
    return status;
}

/* ---- features that are segments of each sample */

/* The call for sample i alone, with a mask [H,W], or [V,1,H,W] of views. */
ITP_FN interp_attribute_desc itp_attr_segment_desc(const itp_attr *a, int i, const int32_t *mask)
{
    interp_attribute_desc d = a->d;
    d.segments = mask ? 0 : d.segments;
    d.mask = mask;
    d.mask_shape = a->in_shape;
    if (d.mask_shape.rank > 2) d.mask_shape.dim[d.mask_shape.rank - 3] = 1;
    if (d.targets) d.targets += i;
    if (d.baseline && d.n_baselines > 1) d.baseline += (size_t)i * a->given, d.n_baselines = 1;
    return d;
}

ITP_FN size_t itp_attr_segment_layout(itp_attr *a, char *block, int32_t **mask)
{
    itp_arena m = {block, 0};
    const size_t n = (size_t)a->n;
    int32_t *own = (int32_t *)itp_arena_alloc(&m, itp_mul_size(a->size, sizeof *own));
    if (mask) *mask = own;
    a->result = itp_arena_floats(&m, itp_mul_size(n, a->result_size));
    a->report = (interp_attribution *)itp_arena_alloc(&m, itp_mul_size(n, sizeof *a->report));
    return m.used;
}

/* How one view is cut into segments, and its shape. */
ITP_FN interp_slic_desc itp_attr_view(const itp_attr *a, interp_shape *view)
{
    interp_slic_desc d;
    memset(&d, 0, sizeof d);
    d.segments = itp_max(1, a->d.segments / itp_views(&a->in_shape));
    *view = a->in_shape;
    for (int i = 0; i < view->rank - 3; i++) view->dim[i] = 1;
    return d;
}

/* Segments of each view of a sample, numbered on from view to view. */
ITP_FN interp_status itp_attr_slic(const itp_attr *a, const float *x, int32_t *mask)
{
    interp_shape view;
    const interp_slic_desc d = itp_attr_view(a, &view);
    const int views = itp_views(&a->in_shape);
    const size_t size = interp_shape_size(&view);
    const size_t area = (size_t)view.dim[view.rank - 2] * (size_t)view.dim[view.rank - 1];
    for (int v = 0, first = 0; v < views; v++) {
        int32_t *to = mask + (size_t)v * area;
        int count;
        ITP_TRY(interp_slic(a->ctx, x + (size_t)v * size, &view, &d, to, &count));
        for (size_t i = 0; i < area; i++) to[i] += first;
        first += count;
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_attr_each_sample(itp_attr *a, const float *x, float *out,
                                          interp_attribution *report)
{
    int32_t *mask;
    interp_status status = INTERP_OK;
    char *block = (char *)interp_alloc(a->ctx, itp_attr_segment_layout(a, NULL, NULL));
    if (!block) return INTERP_NO_MEMORY;
    itp_attr_segment_layout(a, block, &mask);
    for (int i = 0; i < a->n && !status; i++) {
        const float *own = x + (size_t)i * a->given;
        const interp_attribute_desc d = itp_attr_segment_desc(a, i, mask);
        itp_attr sub;
        status = itp_attr_slic(a, own, mask);
        if (!status) status = itp_attr_settle(&sub, a->net, 1, &d, NULL, NULL);
        sub.whole_passes = true; /* what is foretold knows no segments */
        sub.done = (double)i * a->total / a->n, sub.total = a->total;
        if (!status)
            status =
                itp_attr_execute(&sub, own, a->result + (size_t)i * a->result_size, &a->report[i]);
    }
    const size_t n = (size_t)a->n;
    if (!status) memcpy(out, a->result, n * a->result_size * sizeof *out);
    if (!status && report) memcpy(report, a->report, n * sizeof *report);
    interp_free(a->ctx, block);
    return status;
}

/* ---- maps of each view */

ITP_FN interp_attribute_desc itp_attr_view_desc(const itp_attr *a, int layer)
{
    interp_attribute_desc d = a->d;
    d.layer = a->net->values[layer].name;
    return d;
}

/* A call for each view; the maps of a sample are scaled together, so that views compare. */
ITP_FN interp_status itp_attr_each_view(itp_attr *a, const float *x, float *out,
                                        interp_attribution *report)
{
    float *one;
    interp_status status = INTERP_OK;
    const size_t n = (size_t)a->n, size = a->result_size, part = size / (size_t)a->maps;
    const bool map = a->result_shape.rank == 3;
    char *block = (char *)interp_alloc(a->ctx, itp_attr_each_layout(a, NULL, NULL));
    if (!block) return INTERP_NO_MEMORY;
    itp_attr_each_layout(a, block, &one);
    for (int v = 0; v < a->maps && !status; v++) {
        itp_attr sub;
        int layer;
        status = itp_cam_layer(a, v, &layer);
        if (status) break;
        const interp_attribute_desc d = itp_attr_view_desc(a, layer);
        status = itp_attr_settle(&sub, a->net, a->n, &d, NULL, NULL);
        if (status) break;
        itp_cam_of_view(&sub, v);
        sub.done = v * sub.total, sub.total *= a->maps;
        status = itp_attr_execute(&sub, x, one, a->report);
        for (size_t i = 0; i < n && !status; i++) /* all views of a guided gradient, but for 0s */
            memcpy(a->result + i * size + (size_t)v * part,
                   one + i * sub.result_size + (map ? 0 : (size_t)v * part), part * sizeof *one);
    }
    for (size_t i = 0; i < n && !status && map && !a->d.raw; i++)
        itp_cam_scale(a->result + i * size, size, 1e-7);
    if (!status) memcpy(out, a->result, n * size * sizeof *out);
    if (!status && report) memcpy(report, a->report, n * sizeof *report);
    interp_free(a->ctx, block);
    return status;
}

/* ---- the calls */

ITP_FN interp_status itp_attr_dispatch(itp_attr *a, const float *x, float *out,
                                       interp_attribution *report)
{
    if (itp_attr_each_alone(a)) return itp_attr_each(a, x, out, report);
    if (itp_attr_by_segments(a)) return itp_attr_each_sample(a, x, out, report);
    if (a->maps > 1) return itp_attr_each_view(a, x, out, report);
    return itp_attr_execute(a, x, out, report);
}

INTERP_API interp_status interp_attribute_bytes(interp_net *net, int n,
                                                const interp_attribute_desc *desc, size_t *bytes)
{
    itp_attr a;
    interp_workspace_desc w;
    size_t block;
    ITP_TRY(itp_attr_settle(&a, net, n, desc, NULL, NULL));
    if (itp_attr_each_alone(&a)) {
        const interp_attribute_desc one = itp_attr_each_desc(&a, 0);
        ITP_TRY(interp_attribute_bytes(net, n, &one, bytes));
        block = itp_attr_each_layout(&a, NULL, NULL);
    } else if (itp_attr_by_segments(&a)) {
        itp_attr one;
        itp_slic s;
        int iterations;
        interp_shape view;
        const interp_slic_desc slic = itp_attr_view(&a, &view);
        const interp_attribute_desc d = itp_attr_segment_desc(&a, 0, NULL);
        ITP_TRY(itp_attr_settle(&one, net, 1, &d, NULL, NULL));
        ITP_TRY(itp_attr_fit(&one, &w, bytes));
        ITP_TRY(itp_slic_settle(a.ctx, NULL, &view, &slic, &s, &iterations));
        *bytes = itp_max_size(*bytes, itp_alloc_cost(itp_slic_layout(&s, NULL)));
        block = itp_attr_segment_layout(&a, NULL, NULL);
    } else if (a.maps > 1) {
        itp_attr one = a;
        itp_cam_of_view(&one, 0);
        ITP_TRY(itp_attr_bytes(&one, bytes));
        block = itp_attr_each_layout(&a, NULL, NULL);
    } else {
        return itp_attr_bytes(&a, bytes);
    }
    *bytes = itp_add_size(*bytes, itp_alloc_cost(block));
    return INTERP_OK;
}

/* Calls made of calls, and cones, which are made for their samples, start anew with each run. */
struct interp_attributor {
    itp_attr start; /* before any run */
    bool opened;    /* a run goes on from `start` */
};

ITP_FN bool itp_attr_lasts(const itp_attr *a)
{
    return !itp_attr_each_alone(a) && !itp_attr_by_segments(a) && a->maps == 1 &&
           !itp_attr_needs(a, ITP_ATTR_LOCAL);
}

INTERP_API interp_status interp_attributor_bytes(interp_net *net, int n,
                                                 const interp_attribute_desc *desc, size_t *bytes)
{
    itp_attr a;
    ITP_TRY(itp_attr_settle(&a, net, n, desc, NULL, NULL));
    a.again = itp_attr_lasts(&a);
    if (a.again) ITP_TRY(itp_attr_bytes(&a, bytes));
    else ITP_TRY(interp_attribute_bytes(net, n, desc, bytes));
    *bytes = itp_add_size(*bytes, itp_alloc_cost(sizeof(interp_attributor)));
    return INTERP_OK;
}

INTERP_API void interp_attributor_free(interp_attributor *a)
{
    if (!a) return;
    if (a->opened) itp_attr_release(&a->start);
    interp_free(a->start.ctx, a);
}

INTERP_API interp_status interp_attributor_new(interp_net *net, int n,
                                               const interp_attribute_desc *desc,
                                               interp_attributor **out)
{
    itp_attr start;
    ITP_TRY(itp_attr_settle(&start, net, n, desc, NULL, NULL));
    interp_attributor *a = (interp_attributor *)interp_alloc(start.ctx, sizeof *a);
    if (!a) return INTERP_NO_MEMORY;
    a->opened = start.again = itp_attr_lasts(&start);
    a->start = start;
    const interp_status status = a->opened ? itp_attr_acquire(&a->start) : INTERP_OK;
    if (status) interp_attributor_free(a);
    else *out = a;
    return status;
}

INTERP_API interp_status interp_attributor_run(interp_attributor *attributor, const float *x,
                                               float *out, interp_attribution *report)
{
    itp_attr a = attributor->start;
    if (!attributor->opened) return itp_attr_dispatch(&a, x, out, report);
    ITP_TRY(itp_attr_check_given(&a, x));
    a.x = x;
    a.w->rule = NULL, a.w->after_node = -1; /* of the run before */
    if (a.w0) a.w0->rule = NULL, a.w0->after_node = -1;
    return itp_attr_go(&a, out, report);
}

INTERP_API interp_status interp_attribute(interp_net *net, const float *x, int n,
                                          const interp_attribute_desc *desc, float *out,
                                          interp_attribution *report)
{
    itp_attr a;
    ITP_TRY(itp_attr_settle(&a, net, n, desc, NULL, NULL));
    return itp_attr_dispatch(&a, x, out, report);
}

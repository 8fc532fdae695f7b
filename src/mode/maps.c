/* ---- mode/maps.c: heat maps of the input and of layers -------------------------------------- */

/* Rows of numbers by which samples and maps are compared: importance of a view's features to a
   label. */
typedef struct itp_mode_states {
    itp_mode_pass pass;
    itp_mode_view view;
    interp_mode_importance importance;
    const float *weights; /* [features + 1, K] or more rows */
    int k;
    float *rows, *planes, *seed; /* [batch, features]; scratch; [batch, outputs] */
} itp_mode_states;

ITP_FN void itp_mode_states_close(itp_mode_states *s)
{
    interp_free(s->pass.net->ctx, s->rows);
    itp_mode_pass_close(&s->pass);
}

ITP_FN interp_status itp_mode_states_open(itp_mode_states *s, interp_net *net, int node,
                                          interp_mode_importance importance, const float *weights,
                                          int k, int max_features, int n)
{
    const bool gradient = importance == INTERP_MODE_GRADIENT;
    memset(s, 0, sizeof *s);
    s->importance = importance, s->weights = weights, s->k = k;
    s->view = itp_mode_view_of(net, node, max_features);
    ITP_TRY(itp_mode_pass_open(&s->pass, net, node, gradient, n));
    const size_t batch = (size_t)s->pass.batch, planes = itp_mode_features_room(net->ctx, &s->view);
    const size_t rows = itp_mul_size(batch, (size_t)s->view.features);
    const size_t seed = gradient ? batch * (size_t)s->pass.outputs : 0;
    s->rows = (float *)interp_alloc(
        net->ctx, itp_mul_size(itp_add_size(itp_add_size(rows, planes), seed), sizeof(float)));
    if (!s->rows) {
        itp_mode_pass_close(&s->pass);
        return INTERP_NO_MEMORY;
    }
    s->planes = s->rows + rows, s->seed = s->planes + planes;
    return INTERP_OK;
}

/* The next rows: of samples sample[at..] and their labels label[at..], of n. */
ITP_FN interp_status itp_mode_states_run(itp_mode_states *s, const interp_dataset *data,
                                         const int *sample, const int *label, int at, int n)
{
    itp_mode_pass *p = &s->pass;
    const size_t d = (size_t)s->view.features;
    const bool gradient = s->importance == INTERP_MODE_GRADIENT;
    ITP_TRY(itp_mode_pass_run(p, data, sample, at, n));
    if (gradient) {
        memset(s->seed, 0, (size_t)p->batch * (size_t)p->outputs * sizeof *s->seed);
        for (int i = 0; i < p->count; i++)
            s->seed[(size_t)i * (size_t)p->outputs + (size_t)label[at + i]] = 1;
        ITP_TRY(interp_backward(p->w, s->seed));
        float *g = p->w->grad[s->view.value];
        const float *x = s->view.node < 0 ? p->x : p->w->data[s->view.value];
        for (size_t i = 0; i < (size_t)p->count * (size_t)s->view.size; i++) g[i] *= x[i];
    }
    itp_mode_features(p, &s->view, gradient, s->planes, s->rows, d);
    for (int i = 0; s->importance == INTERP_MODE_WEIGHT && i < p->count; i++)
        for (size_t j = 0; j < d; j++)
            s->rows[(size_t)i * d + j] *= s->weights[j * (size_t)s->k + (size_t)label[at + i]];
    return INTERP_OK;
}

/* Which samples go into which map. */
typedef struct itp_mode_entries {
    int n;
    int *sample, *label, *kind; /* kind 0: HCI, 1: HMI, 2: HWI */
} itp_mode_entries;

ITP_FN void itp_mode_enter(itp_mode_entries *e, int sample, int label, int kind)
{
    e->sample[e->n] = sample, e->label[e->n] = label, e->kind[e->n++] = kind;
}

/* Sums over the entries, label by label: sum [3, K, size], n_of [3, K]. */
ITP_FN interp_status itp_mode_maps_sum(itp_mode_states *s, const interp_dataset *data,
                                       const itp_mode_entries *e, double *sum, int *n_of)
{
    const size_t d = (size_t)s->view.features;
    for (int at = 0; at < e->n; at += s->pass.batch) {
        ITP_TRY(itp_progress(s->pass.net->ctx, "heat maps", at, e->n, (double)NAN));
        ITP_TRY(itp_mode_states_run(s, data, e->sample, e->label, at, e->n));
        for (int i = 0; i < s->pass.count; i++) {
            const int of = e->kind[at + i] * s->k + e->label[at + i];
            const float *row = s->rows + (size_t)i * d;
            n_of[of]++;
            for (size_t j = 0; j < d; j++) sum[(size_t)of * d + j] += (double)row[j];
        }
    }
    return INTERP_OK;
}

ITP_FN void itp_mode_maps_fill(interp_mode_maps *m, const double *sum, const int *n_of)
{
    const int k = m->n_classes;
    float *const to[3] = {m->hci, m->hmi, m->hwi};
    int *const count[3] = {m->n_hci, m->n_hmi, m->n_hwi};
    for (int of = 0; of < 3 * k; of++) {
        float *map = to[of / k] + (size_t)(of % k) * m->size;
        count[of / k][of % k] = n_of[of];
        for (size_t j = 0; j < m->size && n_of[of]; j++)
            map[j] = (float)(sum[(size_t)of * m->size + j] / n_of[of]);
    }
    for (int l = 0; l < k; l++)
        for (size_t j = 0; j < m->size; j++) {
            const size_t at = (size_t)l * m->size + j;
            if (m->n_hci[l] && m->n_hmi[l]) m->dhmi[at] = m->hmi[at] - m->hci[at];
            if (m->n_hci[l] && m->n_hwi[l]) m->dhwi[at] = m->hwi[at] - m->hci[at];
        }
}

INTERP_API void interp_mode_maps_free(interp_ctx *ctx, interp_mode_maps *m)
{
    interp_free(ctx, m->hci);
    memset(m, 0, sizeof *m);
}

/* Room for maps of a view, in one block. */
ITP_FN interp_status itp_mode_maps_new(interp_net *net, const itp_mode_view *v, int k, bool weights,
                                       interp_mode_maps *m)
{
    interp_ctx *ctx = net->ctx;
    const size_t n = (size_t)k, d = (size_t)v->features, all = itp_mul_size(n, d);
    memset(m, 0, sizeof *m);
    m->n_classes = k, m->size = d, m->node = v->node;
    m->shape = itp_shape_of(1, v->features, 1, 1, 1);
    if (v->node < 0) m->shape = itp_sample_shape(net, v->value);
    else if (!v->folded && !v->tokens && v->height * v->width > 1)
        m->shape = itp_shape_3(v->channels, v->grid[0], v->grid[1]);
    m->hci = (float *)itp_calloc(
        ctx, 1, itp_add_size(itp_mul_size(all, 6 * sizeof(float)), 3 * n * sizeof(int)));
    if (!m->hci) return INTERP_NO_MEMORY;
    m->hmi = m->hci + all, m->hwi = m->hmi + all, m->dhmi = m->hwi + all, m->dhwi = m->dhmi + all;
    if (weights) m->weights = m->dhwi + all;
    m->n_hci = (int *)(void *)(m->dhwi + 2 * all);
    m->n_hmi = m->n_hci + n, m->n_hwi = m->n_hmi + n;
    return INTERP_OK;
}

ITP_FN interp_status itp_mode_maps_make(interp_net *net, const interp_dataset *data, bool swapped,
                                        interp_mode_maps *m)
{
    interp_ctx *ctx = net->ctx;
    const size_t n = (size_t)data->n, k = (size_t)m->n_classes;
    itp_mode_states s;
    itp_mode_entries e;
    memset(&e, 0, sizeof e);
    int32_t *predicted = (int32_t *)interp_alloc(ctx, itp_mul_size(n, sizeof *predicted));
    e.sample = (int *)interp_alloc(ctx, itp_mul_size(n, 6 * sizeof(int)));
    double *sum = (double *)itp_calloc(ctx, itp_mul_size(3 * k, m->size), sizeof *sum);
    int *n_of = (int *)itp_calloc(ctx, 3 * k, sizeof *n_of);
    interp_status status = predicted && e.sample && sum && n_of ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = itp_mode_predict(net, data, predicted);
    if (!status) {
        e.label = e.sample + 2 * n, e.kind = e.label + 2 * n;
        for (int i = 0; i < data->n; i++) {
            const bool right = predicted[i] == data->y[i];
            itp_mode_enter(&e, i, data->y[i], right ? 0 : swapped ? 1 : 2);
            if (!right) itp_mode_enter(&e, i, predicted[i], swapped ? 2 : 1);
        }
        status = itp_mode_states_open(&s, net, m->node, m->importance, m->weights, m->n_classes,
                                      m->max_features, e.n);
    }
    if (!status) {
        status = itp_mode_maps_sum(&s, data, &e, sum, n_of);
        itp_mode_states_close(&s);
    }
    if (!status) itp_mode_maps_fill(m, sum, n_of);
    interp_free(ctx, n_of);
    interp_free(ctx, sum);
    interp_free(ctx, e.sample);
    interp_free(ctx, predicted);
    return status;
}

INTERP_API interp_status interp_mode_heat_maps(interp_net *net, const interp_dataset *data,
                                               const interp_mode_maps_desc *desc,
                                               interp_mode_maps *out)
{
    interp_ctx *ctx = net->ctx;
    interp_mode_maps_desc d;
    interp_mode_maps m;
    memset(&d, 0, sizeof d);
    if (desc) d = *desc;
    if (!d.max_features) d.max_features = ITP_MODE_FEATURES;
    ITP_TRY(itp_mode_fits(net, data, "the data of heat maps"));
    int node = -1;
    for (int i = 0; i < net->n_nodes && d.layer; i++)
        if (!strcmp(net->nodes[i].name, d.layer)) node = i;
    if ((d.layer && node < 0) || d.max_features < 1 ||
        (unsigned)d.importance > INTERP_MODE_GRADIENT)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "mode: layer \"%.100s\" is not there, or an option of heat maps is out of "
                        "range",
                        d.layer ? d.layer : "");
    const bool weights = d.importance == INTERP_MODE_WEIGHT;
    if (weights && (node < 0 || !d.weights))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "mode: importance by weights needs a layer and its feature model");
    const itp_mode_view v = itp_mode_view_of(net, node, d.max_features);
    ITP_TRY(itp_mode_maps_new(net, &v, data->n_classes, weights, &m));
    m.importance = d.importance, m.max_features = d.max_features;
    if (weights) memcpy(m.weights, d.weights, m.size * (size_t)m.n_classes * sizeof *m.weights);
    const interp_status status = itp_mode_maps_make(net, data, d.swapped, &m);
    if (status) interp_mode_maps_free(ctx, &m);
    else *out = m;
    return status;
}

INTERP_API void interp_mode_dhci(const interp_mode_maps *m, int a, int b, float *out)
{
    for (size_t j = 0; j < m->size; j++)
        out[j] = m->hci[(size_t)a * m->size + j] - m->hci[(size_t)b * m->size + j];
}

/* ---- mode/select.c: inputs from a pool ------------------------------------------------------ */

INTERP_API const char *interp_mode_choice_name(interp_mode_choice choice)
{
    static const char *const names[] = {"wrong", "typical", "unique", "mistaken", "untypical"};
    return (unsigned)choice < sizeof names / sizeof *names ? names[choice] : NULL;
}

/* Candidates and how well they fit. */
typedef struct itp_mode_selection {
    interp_ctx *ctx;
    const interp_dataset *pool;
    const interp_mode_maps *maps;
    const interp_mode_select_desc *d;
    int n, left;                /* candidates; what the pool still has */
    int *place, *label, *order; /* [pool]: candidates, the label, ranks */
    double *fit, *part;         /* [pool] */
} itp_mode_selection;

/* Adds sign * likeness to a map, of candidates `at`.. in rows. */
ITP_FN interp_status itp_mode_like(const itp_mode_selection *s, const float *rows, int at, int n,
                                   const float *map, int samples, int sign)
{
    const interp_mode_select_desc *d = s->d;
    if (!samples) return INTERP_OK; /* an empty map is like nothing */
    ITP_TRY(interp_mode_compare(
        s->ctx, rows, n, &s->maps->shape,
        map + (size_t)(sign < 0 && d->choice == INTERP_MODE_UNIQUE ? d->rival : d->label) *
                  s->maps->size,
        d->metric, d->p, s->part));
    for (int i = 0; i < n; i++)
        s->fit[at + i] += (d->metric == INTERP_MODE_DOT ? sign : -sign) * s->part[i];
    return INTERP_OK;
}

ITP_FN interp_status itp_mode_fit_rows(const itp_mode_selection *s, const float *rows, int at,
                                       int n)
{
    const interp_mode_maps *m = s->maps;
    const int l = s->d->label, rival = s->d->rival;
    for (int i = 0; i < n; i++) s->fit[at + i] = 0;
    switch (s->d->choice) {
    case INTERP_MODE_TYPICAL: return itp_mode_like(s, rows, at, n, m->hci, m->n_hci[l], 1);
    case INTERP_MODE_UNTYPICAL: return itp_mode_like(s, rows, at, n, m->hci, m->n_hci[l], -1);
    case INTERP_MODE_UNIQUE:
        ITP_TRY(itp_mode_like(s, rows, at, n, m->hci, m->n_hci[l], 1));
        return itp_mode_like(s, rows, at, n, m->hci, m->n_hci[rival], -1);
    case INTERP_MODE_MISTAKEN:
        ITP_TRY(itp_mode_like(s, rows, at, n, m->hmi, m->n_hmi[l], 1));
        return itp_mode_like(s, rows, at, n, m->hci, m->n_hci[l], -1);
    default:
        ITP_TRY(itp_mode_like(s, rows, at, n, m->hwi, m->n_hwi[l], 1));
        return itp_mode_like(s, rows, at, n, m->hci, m->n_hci[l], -1);
    }
}

/* How well each candidate fits; by chance without a measure. */
ITP_FN interp_status itp_mode_fit(const itp_mode_selection *s, interp_net *net)
{
    const interp_mode_maps *m = s->maps;
    itp_mode_states states;
    if (s->d->metric == INTERP_MODE_RANDOM) {
        for (int i = 0; i < s->n; i++)
            s->fit[i] = (double)interp_random_uniform(s->d->seed, ITP_STREAM_MODE + 2,
                                                      (uint64_t)s->place[i]);
        return INTERP_OK;
    }
    ITP_TRY(itp_mode_states_open(&states, net, m->node, m->importance, m->weights, m->n_classes,
                                 m->max_features, s->n));
    interp_status status = INTERP_OK;
    for (int at = 0; at < s->n && !status; at += states.pass.batch) {
        status = itp_progress(s->ctx, "select", at, s->n, (double)NAN);
        if (!status) status = itp_mode_states_run(&states, s->pool, s->place, s->label, at, s->n);
        if (!status) status = itp_mode_fit_rows(s, states.rows, at, states.pass.count);
    }
    itp_mode_states_close(&states);
    return status;
}

/* Everything is chosen before anything is marked. */
ITP_FN interp_status itp_mode_choose(itp_mode_selection *s, interp_net *net, unsigned char *used,
                                     int *indices, double *score, int *targeted, int *n)
{
    const interp_mode_select_desc *d = s->d;
    const double alpha = d->alpha == 0 ? 0.25 : d->alpha < 0 ? 0 : d->alpha;
    const int want = itp_min(d->samples, s->left);
    int some = itp_min((int)floor(alpha * d->samples + 0.5), itp_min(s->n, want)), rest = 0;
    if (some) {
        ITP_TRY(itp_mode_fit(s, net));
        ITP_TRY(interp_mode_order(s->ctx, INTERP_MODE_DOT, s->fit, s->n, s->order));
    }
    for (int i = 0; i < some; i++) {
        indices[i] = s->place[s->order[i]];
        if (score) score[i] = s->fit[s->order[i]];
    }
    for (int i = 0; i < some; i++) used[indices[i]] = 1;
    for (int i = 0; i < s->pool->n; i++)
        if (!used[i]) s->place[rest++] = i;
    itp_shuffle(s->place, rest, d->seed, ITP_STREAM_MODE + 3);
    for (int i = some; i < want; i++) {
        indices[i] = s->place[i - some];
        used[indices[i]] = 1;
        if (score) score[i] = (double)NAN;
    }
    *targeted = some, *n = want;
    return INTERP_OK;
}

INTERP_API interp_status interp_mode_select_inputs(interp_net *net, const interp_dataset *pool,
                                                   const interp_mode_maps *maps,
                                                   const interp_mode_select_desc *desc,
                                                   unsigned char *used, int *indices, double *score,
                                                   int *targeted, int *n)
{
    interp_ctx *ctx = net->ctx;
    interp_mode_select_desc d = *desc;
    itp_mode_selection s;
    if (!d.samples) d.samples = 2000;
    ITP_TRY(itp_mode_fits(net, pool, "the pool"));
    if (d.label < 0 || d.label >= maps->n_classes || d.rival < 0 || d.rival >= maps->n_classes ||
        d.samples < 1 || !(d.alpha <= 1) || (unsigned)d.metric >= INTERP_MODE_METRIC_COUNT ||
        !interp_mode_choice_name(d.choice))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "mode: label %d of %d, %d samples of which %g by likeness: an option of "
                        "selection is out of range",
                        d.label, maps->n_classes, d.samples, d.alpha);
    memset(&s, 0, sizeof s);
    s.ctx = ctx, s.pool = pool, s.maps = maps, s.d = &d;
    const size_t all = (size_t)pool->n;
    s.fit = (double *)interp_alloc(ctx, itp_mul_size(all, 2 * sizeof(double) + 3 * sizeof(int)));
    if (!s.fit) return INTERP_NO_MEMORY;
    s.part = s.fit + all;
    s.place = (int *)(void *)(s.part + all), s.label = s.place + all, s.order = s.label + all;
    for (int i = 0; i < pool->n; i++) {
        const bool others = d.choice == INTERP_MODE_MISTAKEN;
        s.left += !used[i];
        if (used[i] || (pool->y[i] == d.label) == others) continue;
        s.label[s.n] = d.label;
        s.place[s.n++] = i;
    }
    const interp_status status = itp_mode_choose(&s, net, used, indices, score, targeted, n);
    interp_free(ctx, s.fit);
    return status;
}

INTERP_API interp_status interp_mode_augment_pool(interp_ctx *ctx, const interp_dataset *data,
                                                  const interp_augment_desc *augment, int copies,
                                                  uint64_t seed, interp_dataset *out)
{
    const size_t row = interp_shape_size(&data->shape);
    if (copies < 0 || copies >= INT_MAX / itp_max(1, data->n) || !data->y)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "mode: a pool of %d samples, %d times more",
                        data->n, copies);
    interp_dataset d;
    const int all = data->n * (copies + 1);
    ITP_TRY(itp_dataset_new(ctx, all, &data->shape, data->n_classes,
                            (const char *const *)data->class_names, &d));
    for (int i = 0; i < all; i++) {
        const int from = i % data->n;
        d.y[i] = data->y[from];
        interp_augment(i < data->n ? NULL : augment, data->x + (size_t)from * row, &data->shape,
                       seed, (uint64_t)i, d.x + (size_t)i * row);
    }
    *out = d;
    return INTERP_OK;
}

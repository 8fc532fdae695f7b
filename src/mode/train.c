/* ---- mode/train.c: rounds of diagnosis, selection and training, beside a control ------------ */

typedef struct itp_mode_run {
    interp_ctx *ctx;
    interp_net *net;
    interp_mode_sets sets;
    interp_mode_train_desc d; /* defaults filled in */
    interp_mode_arm one;      /* when no arms are given */
    interp_mode_result r;
    interp_mode_diagnosis diagnosis; /* of the network as it is */
    float *start, *kept;             /* states of the network */
    unsigned char *used;             /* [pool] */
    int *indices, *order;            /* [kept]: selected so far; [train samples], for replays */
    int most, n_before;              /* room for those; of earlier rounds, that are trained on */
    interp_dataset batch;            /* what a round trains on */
    int64_t *test_counts;
} itp_mode_run;

INTERP_API void interp_mode_result_free(interp_ctx *ctx, interp_mode_result *r)
{
    interp_free(ctx, r->round);
    memset(r, 0, sizeof *r);
}

ITP_FN interp_status itp_mode_train_defaults(itp_mode_run *m, const interp_mode_train_desc *desc)
{
    interp_mode_train_desc *d = &m->d;
    if (desc) *d = *desc;
    if (!d->rounds) d->rounds = 5;
    if (!d->samples) d->samples = 2000;
    if (!d->train.epochs) d->train.epochs = 3;
    if (!d->train.batch) d->train.batch = 32;
    if (!d->arms) d->arms = &m->one, d->n_arms = 1;
    d->samples = itp_min(d->samples, m->sets.pool->n);
    if (d->rounds < 1 || d->samples < 1 || d->n_arms < 0 || d->keep < -1 ||
        d->keep >= itp_max(1, d->n_arms) || d->train.validation || d->train.checkpoint ||
        d->train.history || d->train.gradient)
        return itp_fail(
            m->ctx, INTERP_BAD_ARGUMENT,
            "mode: %d rounds of %d samples and %d replayed, %d arms, to keep %d: an "
            "option is out of range, or the training has validation, history, a gradient "
            "or a checkpoint of its own",
            d->rounds, d->samples, d->replay, d->n_arms, d->keep);
    if (!d->replay) d->replay = d->samples > INT_MAX / 2 ? INT_MAX : 2 * d->samples;
    d->replay = itp_max(0, itp_min(d->replay, m->sets.train->n));
    const int rounds = itp_min(d->rounds, itp_div_up(m->sets.pool->n, d->samples));
    m->most = d->forget ? d->samples : itp_min(rounds * d->samples, m->sets.pool->n);
    return INTERP_OK;
}

/* Results: rounds, how many were run, and accuracies by label in one block. */
ITP_FN interp_status itp_mode_result_new(itp_mode_run *m)
{
    interp_mode_result *r = &m->r;
    const size_t k = (size_t)m->sets.train->n_classes, arms = (size_t)m->d.n_arms + 1;
    const size_t rounds = itp_mul_size(arms, (size_t)m->d.rounds + 1);
    r->n_arms = m->d.n_arms, r->rounds = m->d.rounds, r->n_classes = (int)k;
    r->round = (interp_mode_round *)itp_calloc(
        m->ctx, 1,
        itp_add_size(itp_mul_size(rounds, sizeof *r->round + 2 * k * sizeof(double)),
                     arms * sizeof(int)));
    if (!r->round) return INTERP_NO_MEMORY;
    r->accuracies = (double *)(void *)(r->round + rounds);
    r->run = (int *)(void *)(r->accuracies + 2 * k * rounds);
    return INTERP_OK;
}

/* All memory that lasts. */
ITP_FN interp_status itp_mode_run_open(itp_mode_run *m)
{
    interp_ctx *ctx = m->ctx;
    const interp_mode_sets *s = &m->sets;
    const size_t state = itp_net_state_size(m->net), k = (size_t)s->train->n_classes;
    ITP_TRY(itp_mode_result_new(m));
    ITP_TRY(itp_mode_diagnosis_new(ctx, (int)k, &m->diagnosis));
    m->start = (float *)interp_alloc(ctx, itp_mul_size(state, sizeof(float)));
    m->kept = (float *)interp_alloc(ctx, itp_mul_size(state, sizeof(float)));
    m->used = (unsigned char *)interp_alloc(ctx, (size_t)s->pool->n);
    m->indices = (int *)interp_alloc(ctx, (size_t)m->most * sizeof(int));
    m->order = (int *)interp_alloc(ctx, (size_t)s->train->n * sizeof(int));
    m->test_counts = (int64_t *)interp_alloc(ctx, itp_mul_size(k, k * sizeof(int64_t)));
    if (!m->start || !m->kept || !m->used || !m->indices || !m->order || !m->test_counts)
        return INTERP_NO_MEMORY;
    return itp_dataset_new(ctx, m->most + m->d.replay, &s->train->shape, (int)k, NULL, &m->batch);
}

ITP_FN void itp_mode_run_close(itp_mode_run *m)
{
    interp_ctx *ctx = m->ctx;
    interp_dataset_free(ctx, &m->batch);
    interp_mode_diagnosis_free(ctx, &m->diagnosis);
    interp_free(ctx, m->start), interp_free(ctx, m->kept), interp_free(ctx, m->used);
    interp_free(ctx, m->indices), interp_free(ctx, m->order), interp_free(ctx, m->test_counts);
}

/* Measures the network as it is. */
ITP_FN interp_status itp_mode_measure(itp_mode_run *m, interp_mode_round *r)
{
    const int k = m->r.n_classes, left = m->sets.pool->n;
    const size_t at = (size_t)(r - m->r.round) * 2 * (size_t)k;
    double *val = m->r.accuracies + at, *test = val + k;
    ITP_TRY(itp_mode_diagnose_into(m->net, m->sets.train, m->sets.validation, &m->d.diagnose,
                                   &m->diagnosis));
    r->accuracy = (double)NAN;
    if (m->sets.test) ITP_TRY(itp_mode_count(m->net, m->sets.test, m->test_counts, &r->accuracy));
    for (int l = 0; l < k; l++) {
        val[l] = m->diagnosis.labels[l].val_accuracy;
        test[l] = m->sets.test ? itp_mode_label_accuracy(m->test_counts, k, l, NULL) : (double)NAN;
    }
    r->val_accuracy = m->diagnosis.val_accuracy;
    r->val_label_accuracy = val, r->label_accuracy = test;
    r->pool_used = 0;
    for (int i = 0; i < left; i++) r->pool_used += m->used[i];
    r->pool_left = left - r->pool_used;
    return INTERP_OK;
}

/* Inputs for every label at fault, each by its share of their errors, then the random ones. */
ITP_FN interp_status itp_mode_pick_labels(itp_mode_run *m, const interp_mode_maps *maps,
                                          interp_mode_select_desc *how, interp_mode_round *r)
{
    const interp_mode_diagnosis *d = &m->diagnosis;
    const double alpha = r->alpha * m->d.samples;
    int64_t all = 0;
    for (int l = 0; l < d->n_classes; l++)
        if (itp_mode_at_fault(d, l)) all += itp_mode_missed(d, l);
    for (int l = 0; l <= d->n_classes && r->selected < m->d.samples; l++) {
        const bool rest = l == d->n_classes;
        if (!rest && !itp_mode_at_fault(d, l)) continue;
        const double share = rest || !all ? 0 : (double)itp_mode_missed(d, l) / (double)all;
        int targeted = 0, n = 0;
        how->label = rest ? r->label : l, how->rival = itp_mode_rival(d, how->label);
        how->alpha = rest ? -1 : 1;
        how->samples = m->d.samples - r->selected;
        if (!rest) how->samples = itp_min(how->samples, (int)floor(share * alpha + 0.5));
        if (how->samples < 1) continue;
        ITP_TRY(interp_mode_select_inputs(m->net, m->sets.pool, maps, how, m->used,
                                          m->indices + m->n_before + r->selected, NULL, &targeted,
                                          &n));
        r->selected += n, r->targeted += targeted;
    }
    return INTERP_OK;
}

/* Inputs for label r->label, by the maps of the layer that is selected. */
ITP_FN interp_status itp_mode_pick(itp_mode_run *m, const interp_mode_arm *arm, uint64_t seed,
                                   interp_mode_round *r)
{
    interp_ctx *ctx = m->ctx;
    interp_mode_layers layers;
    interp_mode_maps maps;
    interp_mode_maps_desc of;
    interp_mode_select_desc how;
    const bool by_random = arm->metric == INTERP_MODE_RANDOM;
    const bool select = !arm->input && !arm->layer && !by_random;
    memset(&layers, 0, sizeof layers);
    memset(&of, 0, sizeof of);
    memset(&how, 0, sizeof how);
    if (select) {
        interp_mode_layer_desc which = m->d.layers;
        which.backward = which.backward != r->overfit;
        which.seed = seed;
        ITP_TRY(
            interp_mode_select_layer(m->net, m->sets.train, m->sets.validation, &which, &layers));
    }
    of.layer = select ? layers.layer[layers.selected].name : arm->layer;
    of.importance = by_random ? INTERP_MODE_ACTIVATION : arm->importance;
    of.weights = layers.weights;
    of.max_features = m->d.layers.max_features;
    interp_status status = interp_mode_heat_maps(m->net, m->sets.validation, &of, &maps);
    interp_mode_layers_free(ctx, &layers);
    if (status) return status;
    how.label = r->label, how.rival = itp_mode_rival(&m->diagnosis, r->label);
    how.samples = m->d.samples;
    how.metric = arm->metric, how.p = arm->p;
    how.choice = r->overfit ? arm->overfit_choice : arm->choice;
    how.seed = seed;
    how.alpha = arm->alpha != 0 ? arm->alpha
                                : interp_mode_alpha(&m->diagnosis, arm->one_label ? r->label : -1);
    r->alpha = how.alpha < 0 ? 0 : how.alpha, r->layer = maps.node;
    status = !arm->one_label ? itp_mode_pick_labels(m, &maps, &how, r)
                             : interp_mode_select_inputs(m->net, m->sets.pool, &maps, &how, m->used,
                                                         m->indices + m->n_before, NULL,
                                                         &r->targeted, &r->selected);
    interp_mode_maps_free(ctx, &maps);
    return status;
}

/* The control's inputs. */
ITP_FN void itp_mode_draw(itp_mode_run *m, uint64_t seed, interp_mode_round *r)
{
    const int n = m->sets.pool->n;
    int seen = 0, left = 0;
    for (int i = 0; i < n; i++) left += !m->used[i];
    r->selected = itp_min(m->d.samples, left);
    for (int i = 0; i < n && seen < r->selected; i++) {
        if (m->used[i]) continue;
        /* of those left, each is as likely to be among those still wanted */
        const uint32_t of =
            itp_random_below(seed, ITP_STREAM_MODE + 4, (uint64_t)i, (uint32_t)left--);
        if (of >= (uint32_t)(r->selected - seen)) continue;
        m->used[i] = 1;
        m->indices[m->n_before + seen++] = i;
    }
}

/* Trains on what is selected, and on as many of the training samples as are replayed. */
ITP_FN interp_status itp_mode_learn(itp_mode_run *m, uint64_t seed, const interp_mode_round *r)
{
    const interp_mode_sets *s = &m->sets;
    const size_t row = interp_shape_size(&s->train->shape);
    interp_train_desc d = m->d.train;
    for (int i = 0; i < s->train->n; i++) m->order[i] = i;
    if (m->d.replay) itp_shuffle(m->order, s->train->n, seed, ITP_STREAM_MODE + 5);
    const int selected = m->n_before + r->selected;
    if (!m->d.forget) m->n_before = selected;
    m->batch.n = selected + m->d.replay;
    if (!m->batch.n) return INTERP_OK;
    for (int i = 0; i < m->batch.n; i++) {
        const bool old = i >= selected;
        const interp_dataset *of = old ? s->train : s->pool;
        const int from = old ? m->order[i - selected] : m->indices[i];
        memcpy(m->batch.x + (size_t)i * row, of->x + (size_t)from * row, row * sizeof(float));
        m->batch.y[i] = of->y[from];
    }
    d.seed = seed;
    return interp_train(m->net, &m->batch, &d, NULL);
}

/* One round; `over`: nothing is at fault. */
ITP_FN interp_status itp_mode_round(itp_mode_run *m, int arm, interp_mode_round *r, bool *over)
{
    const double start = itp_seconds();
    /* the same for all arms, so that they differ by their inputs alone */
    const uint64_t seed = m->d.seed * 0x9E3779B97F4A7C15u + (uint64_t)r->round;
    const interp_mode_diagnosis *d = &m->diagnosis;
    r->arm = arm, r->label = r->layer = -1;
    if (arm >= 0) {
        r->overfit = d->underfit < 0;
        r->label = r->overfit ? d->overfit : d->underfit;
        *over = r->label < 0;
        if (*over) return INTERP_OK;
        ITP_TRY(itp_mode_pick(m, &m->d.arms[arm], seed, r));
    } else {
        itp_mode_draw(m, seed, r);
    }
    ITP_TRY(itp_mode_learn(m, seed, r));
    ITP_TRY(itp_mode_measure(m, r));
    r->seconds = itp_seconds() - start;
    return m->d.on_round ? m->d.on_round(r, m->d.user) : INTERP_OK;
}

ITP_FN interp_status itp_mode_run_arm(itp_mode_run *m, int arm)
{
    const int rounds = m->d.rounds + 1;
    interp_mode_round *first = m->r.round + (size_t)(arm + 1) * (size_t)rounds;
    bool over = false;
    itp_net_state(m->net, m->start, true);
    memset(m->used, 0, (size_t)m->sets.pool->n);
    m->n_before = 0;
    first->arm = arm, first->label = first->layer = -1;
    ITP_TRY(itp_mode_measure(m, first));
    if (m->d.on_round) ITP_TRY(m->d.on_round(first, m->d.user));
    for (int i = 1; i < rounds; i++) {
        interp_mode_round *r = first + i;
        r->round = i;
        if (!over) ITP_TRY(itp_mode_round(m, arm, r, &over));
        if (!over) m->r.run[arm + 1] = i;
        else *r = first[m->r.run[arm + 1]];
    }
    if (arm == m->d.keep) itp_net_state(m->net, m->kept, false);
    return INTERP_OK;
}

INTERP_API interp_status interp_mode_train(interp_net *net, const interp_mode_sets *sets,
                                           const interp_mode_train_desc *desc,
                                           interp_mode_result *out)
{
    interp_ctx *ctx = net->ctx;
    itp_mode_run m;
    memset(&m, 0, sizeof m);
    m.ctx = ctx, m.net = net, m.sets = *sets;
    ITP_TRY(itp_mode_fits(net, sets->pool, "the pool"));
    ITP_TRY(itp_mode_sets_fit(net, sets));
    ITP_TRY(itp_net_writable(ctx, net));
    ITP_TRY(itp_mode_train_defaults(&m, desc));
    interp_status status = itp_mode_run_open(&m);
    if (!status) {
        itp_net_state(net, m.start, false);
        for (int arm = -1; arm < m.d.n_arms && !status; arm++) status = itp_mode_run_arm(&m, arm);
        itp_net_state(net, status ? m.start : m.kept, true);
    }
    itp_mode_run_close(&m);
    if (status) interp_mode_result_free(ctx, &m.r);
    else *out = m.r;
    return status;
}

/* ---- net/ensemble.c: many trainings of the same network ----------------------------------------- */

enum { ITP_ENSEMBLE_TASKS = 4 }; /* of each thread in a round */

/* A task trains one model, or, where they fit in lanes (net/abreast.c), up to ITP_ABREAST of them. The first
   is on the caller's context and shows how much memory one takes; the others have contexts of their own
   in blocks of that size, so that no thread asks the caller's allocator for anything. */
typedef struct itp_ensemble_run {
    interp_ctx *ctx;
    const interp_ensemble_desc *o;
    const interp_dataset *data;
    interp_ensemble *e;
    itp_abreast_plan *plan; /* NULL: not for lanes */
    int *chosen;            /* models of a round, `share` of each task */
    int n, share;
    interp_ctx **of_slot;
    interp_status *status; /* [tasks of a round] */
} itp_ensemble_run;

typedef struct itp_ensemble_model {
    const itp_ensemble_run *r;
    interp_net *net;
    int model;
} itp_ensemble_model;

/* Where the weights of a snapshot after this epoch go, from snapshot *s on; NULL when there is none. */
ITP_FN float *itp_ensemble_snapshot(const itp_ensemble_run *r, int model, int epoch, int *s)
{
    const interp_ensemble *e = r->e;
    while (*s < e->n_snapshots && r->o->snapshots[*s] != epoch) ++*s;
    if (*s == e->n_snapshots) return NULL;
    return e->weights + ((size_t)model * (size_t)e->n_snapshots + (size_t)*s) * e->parameters;
}

ITP_FN void itp_ensemble_keep(const itp_ensemble_model *m, int epoch)
{
    float *to;
    for (int s = 0; (to = itp_ensemble_snapshot(m->r, m->model, epoch, &s)) != NULL; s++)
        memcpy(to, interp_net_parameters(m->net), m->r->e->parameters * sizeof *to);
}

ITP_FN int itp_ensemble_epoch(const interp_epoch *epoch, bool best, void *user)
{
    (void)best;
    itp_ensemble_keep((const itp_ensemble_model *)user, epoch->epoch);
    return 0;
}

ITP_FN interp_status itp_ensemble_predict(const itp_ensemble_run *r, interp_net *net, int model)
{
    const interp_ensemble *e = r->e;
    const size_t k = (size_t)e->n_classes, rows = (size_t)e->n_test;
    float *to = e->probabilities + (size_t)model * rows * k;
    interp_evaluation v;
    memset(&v, 0, sizeof v);
    v.outputs = to;
    ITP_TRY(interp_evaluate(net, r->o->test, r->o->train.loss, &v));
    e->test_loss[model] = v.loss;
    for (size_t i = 0; i < rows; i++) {
        float *p = to + i * k, most = p[0];
        double sum = 0;
        for (size_t j = 1; j < k; j++) most = p[j] > most ? p[j] : most;
        for (size_t j = 0; j < k; j++) sum += (double)(p[j] = expf(p[j] - most));
        for (size_t j = 0; j < k; j++) p[j] = (float)((double)p[j] / sum);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_ensemble_finish(const itp_ensemble_run *r, interp_net *net, int model)
{
    if (r->e->probabilities) ITP_TRY(itp_ensemble_predict(r, net, model));
    r->e->done[model] = 1;
    return INTERP_OK;
}

ITP_FN interp_status itp_ensemble_build(const itp_ensemble_run *r, interp_ctx *ctx, int model,
                                        interp_net **net)
{
    ITP_TRY(r->o->build(ctx, model, net, r->o->user));
    const size_t n = interp_net_describe(*net).n_parameters;
    if (n == r->e->parameters) return INTERP_OK;
    interp_net_free(*net);
    *net = NULL;
    return itp_fail(ctx, INTERP_BAD_SHAPE, "ensemble: network %d has %zu parameters, the first %zu",
                    model, n, r->e->parameters);
}

ITP_FN uint64_t itp_ensemble_seed(const itp_ensemble_run *r, int model)
{
    const uint64_t seed = r->o->train.seed;
    return (uint64_t)interp_random_u32(seed, 0xE05E, (uint64_t)model * 2) << 32 |
           interp_random_u32(seed, 0xE05E, (uint64_t)model * 2 + 1);
}

/* Trains one model by itself. */
ITP_FN interp_status itp_ensemble_train(const itp_ensemble_run *r, interp_net *net, int model)
{
    itp_ensemble_model m;
    interp_train_desc d = r->o->train;
    m.r = r, m.model = model, m.net = net;
    d.seed = itp_ensemble_seed(r, model);
    d.on_epoch = itp_ensemble_epoch, d.user = &m;
    d.history = NULL, d.gradient = NULL, d.checkpoint = NULL;
    itp_ensemble_keep(&m, 0);
    ITP_TRY(interp_train(net, r->data, &d, NULL));
    return itp_ensemble_finish(r, net, model);
}

/* ---- several models in lanes */

typedef struct itp_ensemble_group {
    const itp_ensemble_run *r;
    interp_ctx *ctx;
    interp_net *net; /* the first; the others are like it */
    itp_abreast_run lanes;
    int model[ITP_ABREAST], n;
} itp_ensemble_group;

ITP_FN void itp_ensemble_keep_lanes(const itp_ensemble_group *g, int epoch)
{
    float *to;
    for (int i = 0; i < g->n; i++)
        for (int s = 0; (to = itp_ensemble_snapshot(g->r, g->model[i], epoch, &s)) != NULL; s++)
            itp_abreast_get(&g->lanes, i, to);
}

/* Brings a model to a lane; one that is unlike the first of all is trained by itself. */
ITP_FN interp_status itp_ensemble_join(itp_ensemble_group *g, int model)
{
    const itp_ensemble_run *r = g->r;
    interp_net *net = NULL;
    ITP_TRY(itp_ensemble_build(r, g->ctx, model, &net));
    itp_abreast_plan *own = (itp_abreast_plan *)interp_alloc(g->ctx, sizeof *own);
    bool like = false;
    interp_status status =
        own ? itp_abreast_plan_of(g->ctx, net, &r->o->train, own, &like) : INTERP_NO_MEMORY;
    like = like && !memcmp(own, r->plan, sizeof *own);
    interp_free(g->ctx, own);
    if (!status && !like) status = itp_ensemble_train(r, net, model);
    if (!status && like && !g->net) {
        status = itp_abreast_open(net, r->plan, r->data, &r->o->train, &g->lanes);
        g->net = net;
    }
    if (!status && like) {
        const float *p = interp_net_parameters(net);
        for (int l = g->n; l < (g->n ? g->n + 1 : ITP_ABREAST); l++) /* no lane stays empty */
            itp_abreast_put(&g->lanes, l, p, itp_ensemble_seed(r, model));
        g->model[g->n++] = model;
    }
    if (net != g->net) interp_net_free(net);
    return status;
}

ITP_FN void itp_ensemble_group_free(itp_ensemble_group *g)
{
    itp_abreast_close(&g->lanes);
    interp_net_free(g->net);
}

ITP_FN interp_status itp_ensemble_side_by_side(const itp_ensemble_run *r, interp_ctx *ctx,
                                               const int *models, int n)
{
    itp_ensemble_group g;
    interp_status status = INTERP_OK;
    memset(&g, 0, sizeof g);
    g.r = r, g.ctx = ctx;
    for (int i = 0; i < n && !status; i++) status = itp_ensemble_join(&g, models[i]);
    if (!status) itp_ensemble_keep_lanes(&g, 0);
    for (int e = 1; g.n && !status && e <= g.lanes.t->desc.epochs; e++) {
        status = itp_abreast_epoch(&g.lanes, e);
        if (!status) itp_ensemble_keep_lanes(&g, e);
    }
    for (int i = 0; i < g.n && !status; i++) {
        itp_abreast_get(&g.lanes, i, interp_net_parameters(g.net));
        status = itp_ensemble_finish(r, g.net, g.model[i]);
    }
    itp_ensemble_group_free(&g);
    return status;
}

/* Takes all memory that models side by side need, and gives it back. */
ITP_FN interp_status itp_ensemble_try(const itp_ensemble_run *r)
{
    itp_ensemble_group g;
    interp_workspace *work[2] = {NULL, NULL};
    memset(&g, 0, sizeof g);
    g.r = r, g.ctx = r->ctx;
    interp_status status = itp_ensemble_join(&g, 0); /* the model that the plan is of */
    if (!status && r->o->test && g.net)
        status = itp_evaluate_open(g.net, r->o->test->n, r->o->train.loss, 0, work);
    interp_workspace_free(work[0]);
    interp_workspace_free(work[1]);
    itp_ensemble_group_free(&g);
    return status;
}

/* ---- all of them */

/* The models of one task. */
ITP_FN interp_status itp_ensemble_share(const itp_ensemble_run *r, interp_ctx *ctx, int task)
{
    const int from = task * r->share, *models = r->chosen + from;
    interp_net *net = NULL;
    if (r->plan) return itp_ensemble_side_by_side(r, ctx, models, itp_min(r->share, r->n - from));
    ITP_TRY(itp_ensemble_build(r, ctx, *models, &net));
    const interp_status status = itp_ensemble_train(r, net, *models);
    interp_net_free(net);
    return status;
}

ITP_FN void itp_ensemble_task(void *arg, int task, int slot)
{
    const itp_ensemble_run *r = (const itp_ensemble_run *)arg;
    r->status[task] = itp_ensemble_share(r, r->of_slot[slot], task);
}

/* Contexts for the threads, each in a block of `bytes`; returns how many there are. */
ITP_FN int itp_ensemble_open(itp_ensemble_run *r, size_t bytes, int most)
{
    interp_ctx *ctx = r->ctx;
    int n = 0;
    for (; n < most; n++) {
        interp_desc d;
        if (bytes > itp_memory_left(ctx) / 2) break; /* never fails late */
        memset(&d, 0, sizeof d);
        d.threads = 1;
        d.isa = interp_isa(ctx);
        d.no_winograd = ctx->desc.no_winograd;
        d.buffer = interp_alloc(ctx, bytes);
        d.buffer_bytes = bytes;
        r->of_slot[n] = d.buffer ? interp_open(&d) : NULL;
        if (!r->of_slot[n]) {
            interp_free(ctx, d.buffer);
            break;
        }
    }
    interp_clear_error(ctx);
    return n;
}

ITP_FN void itp_ensemble_close(itp_ensemble_run *r, int n)
{
    for (int i = 0; i < n; i++) {
        void *buffer = r->of_slot[i]->desc.buffer;
        interp_close(r->of_slot[i]);
        interp_free(r->ctx, buffer);
    }
}

/* Which models a failed task was of, and what its context says. */
ITP_FN void itp_ensemble_fail(const itp_ensemble_run *r, int task, const char *why)
{
    const int first = r->chosen[task * r->share];
    const int last = r->chosen[itp_min(r->n, (task + 1) * r->share) - 1];
    if (first == last) itp_fail(r->ctx, r->status[task], "ensemble, model %d: %s", first, why);
    else
        itp_fail(r->ctx, r->status[task], "ensemble, one of models %d to %d: %s", first, last, why);
}

/* Those of a round, on all threads; one that fails for want of room in its block is made again on the
   caller's context, which has none. */
ITP_FN interp_status itp_ensemble_round(itp_ensemble_run *r, int contexts)
{
    interp_ctx *ctx = r->ctx;
    const int n = itp_div_up(r->n, r->share);
    if (contexts < 2) {
        for (int i = 0; i < n; i++) r->status[i] = itp_ensemble_share(r, ctx, i);
    } else {
        const int slots = ctx->slots;
        ctx->slots = itp_min(slots, contexts);
        itp_parallel_alone(ctx, n, itp_ensemble_task, r);
        ctx->slots = slots;
    }
    for (int i = 0; i < n; i++) {
        if (contexts > 1 && r->status[i] == INTERP_NO_MEMORY)
            r->status[i] = itp_ensemble_share(r, ctx, i);
        if (!r->status[i]) continue;
        if (!interp_last_status(ctx))
            for (int s = 0; s < contexts; s++)
                if (interp_last_status(r->of_slot[s]) == r->status[i])
                    itp_ensemble_fail(r, i, interp_error(r->of_slot[s]));
        return r->status[i];
    }
    return INTERP_OK;
}

/* Zeros where other processes' models go, then the sum of all. */
ITP_FN void itp_ensemble_gather(const interp_ensemble_desc *o, float *v, size_t n)
{
    double part[1024];
    for (size_t from = 0; from < n; from += 1024) {
        const size_t k = itp_min_size(1024, n - from);
        for (size_t i = 0; i < k; i++) part[i] = (double)v[from + i];
        o->allreduce(part, k, o->allreduce_user);
        for (size_t i = 0; i < k; i++) v[from + i] = (float)part[i];
    }
}

ITP_FN void itp_ensemble_drop_plan(itp_ensemble_run *r)
{
    interp_free(r->ctx, r->plan);
    r->plan = NULL;
}

ITP_FN interp_status itp_ensemble_room(itp_ensemble_run *r)
{
    interp_ctx *ctx = r->ctx;
    const interp_ensemble_desc *o = r->o;
    interp_ensemble *e = r->e;
    interp_net *net = NULL;
    ITP_TRY(o->build(ctx, 0, &net, o->user));
    e->parameters = interp_net_describe(net).n_parameters;
    const interp_shape out = interp_net_output_shape(net, 0);
    interp_status status = INTERP_NO_MEMORY;
    bool suits = false;
    r->plan = (itp_abreast_plan *)interp_alloc(ctx, sizeof *r->plan);
    if (r->plan) status = itp_abreast_plan_of(ctx, net, &o->train, r->plan, &suits);
    interp_net_free(net);
    ITP_TRY(status);
    if (!suits) itp_ensemble_drop_plan(r);
    e->models = o->models, e->n_snapshots = o->n_snapshots;
    e->n_classes = (int)interp_shape_size(&out);
    e->n_test = o->test ? o->test->n : 0;
    const size_t models = (size_t)o->models;
    e->weights = (float *)itp_calloc(
        ctx, models, itp_mul_size((size_t)o->n_snapshots * sizeof(float), e->parameters));
    if (o->test)
        e->probabilities = (float *)itp_calloc(
            ctx, models, (size_t)e->n_test * (size_t)e->n_classes * sizeof(float));
    e->test_loss = (double *)itp_calloc(ctx, models, sizeof *e->test_loss);
    e->done = (uint8_t *)itp_calloc(ctx, models, 1);
    return e->weights && (e->probabilities || !o->test) && e->test_loss && e->done
               ? INTERP_OK
               : INTERP_NO_MEMORY;
}

/* Models that are there already. */
ITP_FN interp_status itp_ensemble_resume(interp_ctx *ctx, const interp_ensemble_desc *o,
                                         interp_ensemble *e)
{
    const interp_ensemble *from = o->resume;
    const size_t row = (size_t)e->n_snapshots * e->parameters;
    const size_t tests = (size_t)e->n_test * (size_t)e->n_classes;
    if (from->models != e->models || from->parameters != e->parameters ||
        from->n_snapshots != e->n_snapshots || from->n_test != e->n_test ||
        from->n_classes != e->n_classes)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "ensemble: what is to be resumed has %d models of %zu parameters at %d "
                        "times, not %d of %zu at %d",
                        from->models, from->parameters, from->n_snapshots, e->models, e->parameters,
                        e->n_snapshots);
    for (size_t m = 0; m < (size_t)e->models; m++) {
        const bool own = m % (size_t)itp_max(1, o->ranks) == (size_t)o->rank;
        if (!from->done[m] || !own) continue;
        memcpy(e->weights + m * row, from->weights + m * row, row * sizeof(float));
        if (tests)
            memcpy(e->probabilities + m * tests, from->probabilities + m * tests,
                   tests * sizeof(float));
        e->test_loss[m] = from->test_loss[m];
        e->done[m] = 1;
    }
    return INTERP_OK;
}

/* The next models of this process into `chosen`, at most `most`; m: the first that may be one. */
ITP_FN void itp_ensemble_choose(itp_ensemble_run *r, int *m, int most)
{
    r->n = 0;
    for (; *m < r->o->models && r->n < most; *m += itp_max(1, r->o->ranks))
        if (!r->e->done[*m]) r->chosen[r->n++] = *m;
}

/* What one task takes of the caller's memory. */
ITP_FN interp_status itp_ensemble_measured(itp_ensemble_run *r, bool only_try, size_t *bytes)
{
    interp_memory *memory = &r->ctx->memory;
    const size_t before = memory->peak, used = memory->used;
    memory->peak = used;
    const interp_status status = only_try ? itp_ensemble_try(r) : itp_ensemble_round(r, 0);
    *bytes = memory->peak - used;
    memory->peak = itp_max_size(before, memory->peak);
    *bytes += *bytes / 2 + 65536;
    return status;
}

ITP_FN interp_status itp_ensemble_all(itp_ensemble_run *r)
{
    const interp_ensemble_desc *o = r->o;
    interp_ctx *ctx = r->ctx;
    const int ranks = itp_max(1, o->ranks);
    int contexts = 0, made = 0, left = 0, m = o->rank;
    size_t bytes = 0;
    interp_status status = INTERP_OK;
    for (int i = o->rank; i < o->models; i += ranks) left += !r->e->done[i];
    if (r->plan && left) {
        status = itp_ensemble_measured(r, true, &bytes);
        if (status == INTERP_NO_MEMORY) { /* one by one, then */
            itp_ensemble_drop_plan(r);
            bytes = 0, status = INTERP_OK;
            interp_clear_error(ctx);
        }
    }
    while (left > 0 && !status) {
        status = itp_progress(ctx, "ensemble", made, made + left, (double)NAN);
        if (status) break;
        if (bytes && !contexts && ctx->slots > 1)
            contexts = itp_ensemble_open(r, bytes, ctx->slots);
        const bool first = !bytes && ctx->slots > 1; /* alone, to be measured */
        const int tasks = itp_max(1, contexts), several = r->plan || first ? 1 : ITP_ENSEMBLE_TASKS;
        r->share = r->plan ? itp_min(ITP_ABREAST, itp_div_up(left, tasks)) : 1;
        itp_ensemble_choose(r, &m, first ? 1 : tasks * several * r->share);
        status = first ? itp_ensemble_measured(r, false, &bytes) : itp_ensemble_round(r, contexts);
        made += r->n, left = r->n ? left - r->n : 0;
        if (!status && o->on_round) status = o->on_round(r->e, o->user);
    }
    itp_ensemble_close(r, contexts);
    return status;
}

INTERP_API interp_status interp_ensemble_train(interp_ctx *ctx, const interp_dataset *data,
                                               const interp_ensemble_desc *desc,
                                               interp_ensemble *ensemble)
{
    if (!desc || !data || !desc->build || desc->models < 1 || desc->n_snapshots < 0 ||
        (desc->n_snapshots && !desc->snapshots) || desc->rank < 0 ||
        desc->rank >= itp_max(1, desc->ranks) || (desc->ranks > 1 && !desc->allreduce))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "ensemble: models, build and snapshots are needed, and allreduce where there "
            "are several processes");
    interp_ensemble e;
    itp_ensemble_run r;
    memset(&e, 0, sizeof e);
    memset(&r, 0, sizeof r);
    r.ctx = ctx, r.o = desc, r.data = data, r.e = &e;
    const size_t tasks = ITP_ENSEMBLE_TASKS * (size_t)itp_max(1, ctx->slots);
    r.chosen = (int *)interp_alloc(ctx, tasks * ITP_ABREAST * sizeof *r.chosen);
    r.status = (interp_status *)interp_alloc(ctx, tasks * sizeof *r.status);
    r.of_slot = (interp_ctx **)itp_calloc(ctx, (size_t)ctx->slots, sizeof *r.of_slot);
    interp_status status = r.chosen && r.status && r.of_slot ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = itp_ensemble_room(&r);
    if (!status && desc->resume) status = itp_ensemble_resume(ctx, desc, &e);
    if (!status) status = itp_ensemble_all(&r);
    if (!status && desc->ranks > 1) {
        const size_t models = (size_t)e.models;
        itp_ensemble_gather(desc, e.weights, models * (size_t)e.n_snapshots * e.parameters);
        itp_ensemble_gather(desc, e.probabilities, models * (size_t)e.n_test * (size_t)e.n_classes);
        desc->allreduce(e.test_loss, models, desc->allreduce_user);
        memset(e.done, 1, models);
    }
    interp_free(ctx, r.plan);
    interp_free(ctx, r.chosen);
    interp_free(ctx, r.status);
    interp_free(ctx, r.of_slot);
    if (status) interp_ensemble_free(ctx, &e);
    else *ensemble = e;
    return status;
}

INTERP_API void interp_ensemble_free(interp_ctx *ctx, interp_ensemble *e)
{
    interp_free(ctx, e->weights);
    interp_free(ctx, e->probabilities);
    interp_free(ctx, e->test_loss);
    interp_free(ctx, e->done);
    memset(e, 0, sizeof *e);
}

INTERP_API void interp_ensemble_statistics(const interp_ensemble *e, const int32_t *truth,
                                           bool swapped, double *accuracy, double *entropy,
                                           double *spread)
{
    const size_t k = (size_t)e->n_classes, n = (size_t)e->n_test, models = (size_t)e->models;
    for (size_t m = 0; accuracy && m < models; m++) {
        double sum = 0;
        int classes = 0;
        for (size_t c = 0; c < k; c++) { /* means over the classes that appear */
            int of = 0, right = 0;
            for (size_t i = 0; i < n; i++) {
                const int said = interp_argmax(e->probabilities + (m * n + i) * k, (int)k);
                const bool both = said == (int)c && truth[i] == (int32_t)c;
                of += (swapped ? said : (int)truth[i]) == (int)c;
                right += both;
            }
            if (of) sum += (double)right / of, classes++;
        }
        accuracy[m] = classes ? sum / classes : (double)NAN;
    }
    for (size_t i = 0; entropy && i < n; i++) {
        entropy[i] = 0;
        for (size_t c = 0; c < k; c++) {
            double p = 0;
            for (size_t m = 0; m < models; m++)
                p += (double)e->probabilities[(m * n + i) * k + c] / (double)models;
            if (p > 0) entropy[i] -= p * log(p);
        }
    }
    const size_t row = (size_t)e->n_snapshots * e->parameters;
    for (size_t w = 0; spread && e->n_snapshots && w < e->parameters; w++) {
        const float *last = e->weights + (size_t)(e->n_snapshots - 1) * e->parameters + w;
        double mean = 0, square = 0;
        for (size_t m = 0; m < models; m++) mean += (double)last[m * row] / (double)models;
        for (size_t m = 0; m < models; m++) {
            const double off = (double)last[m * row] - mean;
            square += off * off / (double)models;
        }
        spread[w] = sqrt(square);
    }
}

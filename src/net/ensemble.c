/* ---- net/ensemble.c: many trainings of the same network ----------------------------------------- */

/* One training at a time. The first is on the caller's context and shows how much memory one takes; the
   others have contexts of their own in blocks of that size, so that no thread asks the caller's allocator
   for anything. */
typedef struct itp_ensemble_run {
    interp_ctx *ctx;
    const interp_ensemble_desc *o;
    const interp_dataset *data;
    interp_ensemble *e;
    int *chosen; /* models of a round */
    interp_ctx **of_slot;
    interp_status *status; /* [round] */
} itp_ensemble_run;

typedef struct itp_ensemble_model {
    const itp_ensemble_run *r;
    interp_net *net;
    int model;
} itp_ensemble_model;

ITP_FN void itp_ensemble_keep(const itp_ensemble_model *m, int epoch)
{
    const interp_ensemble *e = m->r->e;
    for (int s = 0; s < e->n_snapshots; s++)
        if (m->r->o->snapshots[s] == epoch)
            memcpy(e->weights +
                       ((size_t)m->model * (size_t)e->n_snapshots + (size_t)s) * e->parameters,
                   interp_net_parameters(m->net), e->parameters * sizeof(float));
}

ITP_FN int itp_ensemble_epoch(const interp_epoch *epoch, bool best, void *user)
{
    (void)best;
    itp_ensemble_keep((const itp_ensemble_model *)user, epoch->epoch);
    return 0;
}

ITP_FN interp_status itp_ensemble_predict(const itp_ensemble_model *m)
{
    const itp_ensemble_run *r = m->r;
    const interp_ensemble *e = r->e;
    const size_t k = (size_t)e->n_classes, rows = (size_t)e->n_test;
    float *to = e->probabilities + (size_t)m->model * rows * k;
    interp_evaluation v;
    memset(&v, 0, sizeof v);
    v.outputs = to;
    ITP_TRY(interp_evaluate(m->net, r->o->test, r->o->train.loss, &v));
    e->test_loss[m->model] = v.loss;
    for (size_t i = 0; i < rows; i++) {
        float *p = to + i * k, most = p[0];
        double sum = 0;
        for (size_t j = 1; j < k; j++) most = p[j] > most ? p[j] : most;
        for (size_t j = 0; j < k; j++) sum += (double)(p[j] = expf(p[j] - most));
        for (size_t j = 0; j < k; j++) p[j] = (float)((double)p[j] / sum);
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_ensemble_train(const itp_ensemble_run *r, interp_ctx *ctx, int model)
{
    itp_ensemble_model m;
    interp_train_desc d = r->o->train;
    m.r = r, m.model = model, m.net = NULL;
    interp_status status = r->o->build(ctx, model, &m.net, r->o->user);
    if (!status && interp_net_describe(m.net).n_parameters != r->e->parameters)
        status = itp_fail(ctx, INTERP_BAD_SHAPE,
                          "ensemble: network %d has %zu parameters, the first %zu", model,
                          interp_net_describe(m.net).n_parameters, r->e->parameters);
    d.seed = (uint64_t)interp_random_u32(d.seed, 0xE05E, (uint64_t)model * 2) << 32 |
             interp_random_u32(d.seed, 0xE05E, (uint64_t)model * 2 + 1);
    d.on_epoch = itp_ensemble_epoch, d.user = &m;
    d.history = NULL, d.checkpoint = NULL;
    if (!status) itp_ensemble_keep(&m, 0);
    if (!status) status = interp_train(m.net, r->data, &d, NULL);
    if (!status && r->e->probabilities) status = itp_ensemble_predict(&m);
    interp_net_free(m.net);
    if (!status) r->e->done[model] = 1;
    return status;
}

ITP_FN void itp_ensemble_task(void *arg, int task, int slot)
{
    const itp_ensemble_run *r = (const itp_ensemble_run *)arg;
    r->status[task] = itp_ensemble_train(r, r->of_slot[slot], r->chosen[task]);
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

/* Those of a round, on all threads; one that fails for want of room in its block is made again on the
   caller's context, which has none. */
ITP_FN interp_status itp_ensemble_round(itp_ensemble_run *r, int n, int contexts)
{
    interp_ctx *ctx = r->ctx;
    if (contexts < 2) {
        for (int i = 0; i < n; i++) r->status[i] = itp_ensemble_train(r, ctx, r->chosen[i]);
    } else {
        const int slots = ctx->slots;
        ctx->slots = itp_min(slots, contexts);
        itp_parallel_alone(ctx, n, itp_ensemble_task, r);
        ctx->slots = slots;
    }
    for (int i = 0; i < n; i++) {
        if (contexts > 1 && r->status[i] == INTERP_NO_MEMORY)
            r->status[i] = itp_ensemble_train(r, ctx, r->chosen[i]);
        if (!r->status[i]) continue;
        if (!interp_last_status(ctx))
            for (int s = 0; s < contexts; s++)
                if (interp_last_status(r->of_slot[s]) == r->status[i])
                    itp_fail(ctx, r->status[i], "ensemble, model %d: %s", r->chosen[i],
                             interp_error(r->of_slot[s]));
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

ITP_FN interp_status itp_ensemble_room(interp_ctx *ctx, const interp_ensemble_desc *o,
                                       interp_ensemble *e)
{
    interp_net *net = NULL;
    ITP_TRY(o->build(ctx, 0, &net, o->user));
    e->parameters = interp_net_describe(net).n_parameters;
    const interp_shape out = interp_net_output_shape(net, 0);
    interp_net_free(net);
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

ITP_FN interp_status itp_ensemble_all(itp_ensemble_run *r)
{
    const interp_ensemble_desc *o = r->o;
    interp_ctx *ctx = r->ctx;
    const int ranks = itp_max(1, o->ranks), round = 4 * itp_max(1, ctx->slots);
    int contexts = 0, made = 0;
    interp_status status = INTERP_OK;
    for (int m = o->rank, n; m < o->models && !status; made += n) {
        const int share = contexts || ctx->slots < 2 ? round : 1;
        for (n = 0; m < o->models && n < share; m += ranks)
            if (!r->e->done[m]) r->chosen[n++] = m;
        status = itp_progress(ctx, "ensemble", made, (o->models + ranks - 1) / ranks, (double)NAN);
        if (status || !n) break;
        const size_t before = ctx->memory.peak, used = ctx->memory.used;
        ctx->memory.peak = used;
        status = itp_ensemble_round(r, n, contexts);
        const size_t bytes = ctx->memory.peak - used;
        ctx->memory.peak = itp_max_size(before, ctx->memory.peak);
        if (!status && !contexts && ctx->slots > 1 && m < o->models)
            contexts = itp_ensemble_open(r, bytes + bytes / 2 + 65536, ctx->slots);
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
    const size_t round = 4 * (size_t)itp_max(1, ctx->slots);
    r.chosen = (int *)interp_alloc(ctx, round * sizeof *r.chosen);
    r.status = (interp_status *)interp_alloc(ctx, round * sizeof *r.status);
    r.of_slot = (interp_ctx **)itp_calloc(ctx, (size_t)ctx->slots, sizeof *r.of_slot);
    interp_status status = r.chosen && r.status && r.of_slot ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) status = itp_ensemble_room(ctx, desc, &e);
    if (!status && desc->resume) status = itp_ensemble_resume(ctx, desc, &e);
    if (!status) status = itp_ensemble_all(&r);
    if (!status && desc->ranks > 1) {
        const size_t models = (size_t)e.models;
        itp_ensemble_gather(desc, e.weights, models * (size_t)e.n_snapshots * e.parameters);
        itp_ensemble_gather(desc, e.probabilities, models * (size_t)e.n_test * (size_t)e.n_classes);
        desc->allreduce(e.test_loss, models, desc->allreduce_user);
        memset(e.done, 1, models);
    }
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

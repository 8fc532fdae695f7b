/* ---- net/train.c: optimisers, schedules, the training loop ---------------------------------------- */

/* How one parameter array learns. */
typedef struct itp_learn {
    size_t offset, n;
    interp_optimizer optimizer;
    float lr, momentum, weight_decay, beta2; /* lr before the schedule */
    bool constant_lr;
    int64_t freeze_from;
    int delay;
    float *ring; /* [delay, n]: gradients of the last steps; NULL without delay */
} itp_learn;

struct interp_trainer {
    interp_ctx *ctx;
    interp_net *net;
    interp_train_desc desc; /* defaults filled in */
    int64_t total_steps, step;
    int outputs; /* numbers per sample of the logits */
    const char *logits;
    int micro;                 /* samples of one forward and backward pass */
    interp_workspace *work[2]; /* for `micro` samples, and for the rest of a batch */
    itp_learn *learn;
    float *first, *second; /* the optimiser's moments, NULL where it has none */
    float *seed;           /* [micro, outputs]: gradient of the loss */
};

/* The logits: the output, or what goes into a softmax at the end. */
ITP_FN int itp_logits_value(const interp_net *net, interp_loss loss)
{
    const int out = net->outputs[0], producer = net->values[out].producer;
    if (loss == INTERP_CROSS_ENTROPY && producer >= 0) {
        const int op = net->nodes[producer].op;
        if (op == ITP_OP_SOFTMAX || op == ITP_OP_LOG_SOFTMAX) return net->nodes[producer].in[0];
    }
    return out;
}

ITP_FN float itp_beta2_of(interp_optimizer optimizer)
{
    return optimizer == INTERP_RMSPROP ? 0.99f : 0.999f;
}

ITP_FN interp_status itp_train_defaults(interp_ctx *ctx, const interp_train_desc *desc,
                                        interp_train_desc *d)
{
    memset(d, 0, sizeof *d);
    if (desc) *d = *desc;
    if (!d->epochs) d->epochs = 10;
    if (!d->batch) d->batch = 64;
    if (d->lr == 0) d->lr = d->optimizer == INTERP_SGD ? 1e-2f : 1e-3f;
    if (d->beta1 == 0) d->beta1 = 0.9f;
    if (d->beta2 == 0) d->beta2 = itp_beta2_of(d->optimizer);
    if (d->epsilon == 0) d->epsilon = 1e-8f;
    if (d->decay == 0) d->decay = 0.1f;
    if (d->epochs < 0 || d->batch < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: %d epochs of batches of %d", d->epochs,
                        d->batch);
    if (!(d->lr > 0) || !(d->lr <= 1e6f) || !(d->momentum >= 0 && d->momentum < 1) ||
        !(d->beta1 > 0 && d->beta1 < 1) || !(d->beta2 > 0 && d->beta2 < 1) || !(d->epsilon > 0) ||
        !(d->weight_decay >= 0) || !(d->clip_norm >= 0) ||
        !(d->label_smoothing >= 0 && d->label_smoothing < 1))
        return itp_fail(
            ctx, INTERP_BAD_ARGUMENT,
            "train: a setting is out of range: lr %g must be above 0, momentum %g, beta1 "
            "%g and beta2 %g within [0,1), weight decay %g at least 0",
            (double)d->lr, (double)d->momentum, (double)d->beta1, (double)d->beta2,
            (double)d->weight_decay);
    return INTERP_OK;
}

/* The first rule that fits the name of an array; NULL for none. */
ITP_FN interp_status itp_trainer_rule_of(const interp_trainer *t, const char *name, bool *used,
                                         const interp_layer_rule **rule)
{
    *rule = NULL;
    for (int r = 0; r < t->desc.n_rules; r++) {
        bool found;
        size_t from = 0, n = 0;
        ITP_TRY(interp_pattern_find(t->ctx, t->desc.rules[r].layer, name, &found, &from, &n));
        if (!found || from) continue;
        used[r] = true;
        if (!*rule) *rule = &t->desc.rules[r];
    }
    return INTERP_OK;
}

ITP_FN interp_status itp_trainer_rule_check(interp_ctx *ctx, const interp_layer_rule *rule)
{
    if (rule->lr >= 0 && rule->lr <= 1e6f && rule->momentum < 1 && rule->weight_decay <= 1e6f &&
        rule->delay >= 0) /* negative momentum and decay: none */
        return INTERP_OK;
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "train: a setting of layer \"%s\" is out of range: lr %g, momentum %g, "
                    "weight decay %g, delay %d",
                    rule->layer, (double)rule->lr, (double)rule->momentum,
                    (double)rule->weight_decay, rule->delay);
}

/* What an array learns by: the training's settings, or the rule's. */
ITP_FN interp_status itp_trainer_learn(interp_trainer *t, itp_learn *l, const char *name,
                                       bool decays, bool *used)
{
    const interp_train_desc *d = &t->desc;
    const interp_layer_rule *rule;
    l->optimizer = d->optimizer;
    l->lr = d->lr, l->momentum = d->momentum, l->beta2 = d->beta2;
    l->weight_decay = decays ? d->weight_decay : 0;
    ITP_TRY(itp_trainer_rule_of(t, name, used, &rule));
    if (!rule) return INTERP_OK;
    if (rule->optimizer && *rule->optimizer != d->optimizer)
        l->optimizer = *rule->optimizer, l->beta2 = itp_beta2_of(l->optimizer);
    if (rule->lr != 0) l->lr = rule->lr;
    if (rule->momentum != 0) l->momentum = rule->momentum < 0 ? 0 : rule->momentum;
    if (rule->weight_decay != 0) l->weight_decay = rule->weight_decay < 0 ? 0 : rule->weight_decay;
    l->constant_lr = rule->constant_lr;
    l->freeze_from = rule->freeze_from;
    l->delay = rule->delay;
    if (!l->delay) return INTERP_OK;
    l->ring = (float *)itp_calloc(t->ctx, itp_mul_size(l->n, (size_t)l->delay), sizeof(float));
    return l->ring ? INTERP_OK : INTERP_NO_MEMORY;
}

ITP_FN interp_status itp_trainer_rules(interp_trainer *t)
{
    const interp_train_desc *d = &t->desc;
    bool *used = (bool *)itp_calloc(t->ctx, (size_t)d->n_rules + 1, sizeof *used);
    interp_status status = used ? INTERP_OK : INTERP_NO_MEMORY;
    for (int r = 0; r < d->n_rules && !status; r++)
        status = itp_trainer_rule_check(t->ctx, &d->rules[r]);
    for (int i = 0; i < t->net->n_params && !status; i++) {
        const interp_parameter_info p = interp_net_parameter(t->net, i);
        t->learn[i].offset = p.offset, t->learn[i].n = interp_shape_size(&p.shape);
        status = itp_trainer_learn(t, &t->learn[i], p.name, p.shape.rank > 1 || d->decay_all, used);
    }
    for (int r = 0; r < d->n_rules && !status; r++)
        if (!used[r])
            status = itp_fail(t->ctx, INTERP_BAD_ARGUMENT,
                              "train: no parameter's name begins with \"%s\"", d->rules[r].layer);
    interp_free(t->ctx, used);
    return status;
}

ITP_FN bool itp_is_adam(interp_optimizer optimizer)
{
    return optimizer == INTERP_ADAM || optimizer == INTERP_ADAMW;
}

ITP_FN interp_workspace_desc itp_trainer_work(const interp_trainer *t, int batch)
{
    interp_workspace_desc w;
    memset(&w, 0, sizeof w);
    w.batch = batch;
    w.mode = INTERP_TRAIN;
    w.param_grads = true;
    w.output = t->logits;
    return w;
}

/* Batch statistics would change if a batch were cut. */
ITP_FN bool itp_has_batch_norm(const interp_net *net)
{
    for (int i = 0; i < net->n_nodes; i++)
        if (net->nodes[i].op == ITP_OP_BATCH_NORM) return true;
    return false;
}

INTERP_API void interp_trainer_free(interp_trainer *t)
{
    if (!t) return;
    interp_workspace_free(t->work[0]);
    interp_workspace_free(t->work[1]);
    for (int i = 0; t->learn && i < t->net->n_params; i++) interp_free(t->ctx, t->learn[i].ring);
    interp_free(t->ctx, t->learn);
    interp_free(t->ctx, t->first);
    interp_free(t->ctx, t->second);
    interp_free(t->ctx, t->seed);
    interp_free(t->ctx, t);
}

ITP_FN interp_status itp_trainer_memory(interp_trainer *t)
{
    interp_ctx *ctx = t->ctx;
    const size_t n = t->net->n_flat;
    bool first = false, second = false;
    t->learn = (itp_learn *)itp_calloc(ctx, (size_t)t->net->n_params, sizeof *t->learn);
    if (!t->learn) return INTERP_NO_MEMORY;
    ITP_TRY(itp_trainer_rules(t));
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        first |= itp_is_adam(l->optimizer) || l->momentum > 0;
        second |= itp_is_adam(l->optimizer) || l->optimizer == INTERP_RMSPROP;
    }
    if (first) t->first = (float *)itp_calloc(ctx, n, sizeof(float));
    if (second) t->second = (float *)itp_calloc(ctx, n, sizeof(float));
    return (first && !t->first) || (second && !t->second) ? INTERP_NO_MEMORY : INTERP_OK;
}

/* The workspaces, in pieces of a batch if whole ones do not fit. n: samples of an epoch, 0 when not
   known; reserve: bytes that must stay free. */
ITP_FN interp_status itp_trainer_open(interp_trainer *t, int n, size_t reserve)
{
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    fit.work = itp_trainer_work(t, d->batch);
    fit.n = n, fit.most = d->batch, fit.divides = true;
    fit.floats = (size_t)t->outputs, fit.reserve = reserve;
    t->micro = itp_fit_most(ctx, t->net, &fit);
    if (t->micro < d->batch && itp_has_batch_norm(t->net)) {
        size_t bytes = 0;
        ITP_TRY(itp_fit_bytes(ctx, t->net, &fit, d->batch, &bytes));
        return itp_fail(ctx, INTERP_NO_MEMORY,
                        "train: a batch of %d needs %zu bytes, but only %zu are left, and batch "
                        "normalisation forbids cutting it: batches of up to %d fit",
                        d->batch, bytes, itp_memory_left(ctx), t->micro);
    }
    if (!t->micro) return ctx->status;
    ITP_TRY(itp_fit_open(ctx, t->net, &fit, t->micro, t->work));
    if (interp_workspace_target_size(t->work[0]) != (size_t)t->outputs)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "train: the first dimension of \"%s\" is not the batch", t->logits);
    t->seed = (float *)interp_alloc(
        ctx, itp_mul_size((size_t)t->micro * (size_t)t->outputs, sizeof(float)));
    return t->seed ? INTERP_OK : INTERP_NO_MEMORY;
}

/* A trainer without its workspaces. */
ITP_FN interp_status itp_trainer_begin(interp_net *net, const interp_train_desc *desc,
                                       int64_t total_steps, interp_trainer **out)
{
    interp_ctx *ctx = net->ctx;
    interp_train_desc d;
    if (!net->built) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the network is not built");
    ITP_TRY(itp_net_writable(ctx, net));
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "train: network \"%s\" has %d inputs, not one",
                        net->name, net->n_inputs);
    ITP_TRY(itp_train_defaults(ctx, desc, &d));
    if (net->fixed_batch) d.batch = net->fixed_batch;
    interp_trainer *t = (interp_trainer *)itp_calloc(ctx, 1, sizeof *t);
    if (!t) return INTERP_NO_MEMORY;
    t->ctx = ctx;
    t->net = net;
    t->desc = d;
    t->total_steps = total_steps;
    const int logits = itp_logits_value(net, d.loss);
    const interp_shape sample = itp_sample_shape(net, logits);
    t->logits = net->values[logits].name;
    t->outputs = (int)interp_shape_size(&sample);
    const interp_status status = itp_trainer_memory(t);
    if (status) interp_trainer_free(t);
    else *out = t;
    return status;
}

INTERP_API interp_status interp_trainer_new(interp_net *net, const interp_train_desc *desc,
                                            int64_t total_steps, interp_trainer **out)
{
    interp_trainer *t;
    ITP_TRY(itp_trainer_begin(net, desc, total_steps, &t));
    const interp_status status = itp_trainer_open(t, 0, 0);
    if (status) interp_trainer_free(t);
    else *out = t;
    return status;
}

ITP_FN double itp_clamp01(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* Factor of the learning rate at step `step` (from 0) of epoch `epoch` (from 1). */
ITP_FN double itp_schedule(const interp_train_desc *d, int64_t step, int64_t total, int epoch)
{
    double f = 1;
    const double share = total > 0 ? (double)step / (double)total : 0;
    if (d->schedule == INTERP_STEP_DECAY)
        for (int i = 0; i < 8; i++)
            if (d->milestones[i] && epoch > d->milestones[i]) f *= (double)d->decay;
    if (d->schedule == INTERP_COSINE) f = 0.5 * (1 + cos(3.14159265358979 * itp_clamp01(share)));
    if (d->schedule == INTERP_LINEAR) f = 1 - itp_clamp01(share);
    if (step < d->warmup_steps) f *= (double)(step + 1) / d->warmup_steps;
    return f;
}

ITP_FN bool itp_is_frozen(const interp_trainer *t, const itp_learn *l)
{
    return (l->freeze_from && t->step + 1 >= l->freeze_from) || t->step < l->delay;
}

/* Exchanges the gradients of layers with a delay for those of that many steps before; done twice,
   nothing has happened. */
ITP_FN void itp_trainer_delay(interp_trainer *t)
{
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        if (!l->delay) continue;
        float *now = t->work[0]->param_grad + l->offset;
        float *then = l->ring + (size_t)(t->step % l->delay) * l->n;
        for (size_t k = 0; k < l->n; k++) {
            const float g = now[k];
            now[k] = then[k], then[k] = g;
        }
    }
}

/* One update of n numbers of an array, with their gradient and moments. */
ITP_FN void itp_update_numbers(const itp_kernels *kernels, const itp_learn *l, const itp_update *u,
                               size_t n, float *p, const float *g, float *first, float *second)
{
    const itp_grad_kernels *k = itp_grads(kernels);
    float *velocity = l->momentum > 0 ? first : NULL;
    if (l->optimizer == INTERP_SGD) k->sgd(n, p, g, velocity, u);
    else if (l->optimizer == INTERP_RMSPROP) k->rmsprop(n, p, g, second, velocity, u);
    else k->adam(n, p, g, first, second, u);
}

/* One update of a piece of a parameter array. */
typedef struct itp_update_job {
    const interp_trainer *t;
    const itp_learn *l;
    const itp_update *u;
} itp_update_job;

#define ITP_UPDATE_CHUNK 65536

ITP_FN void itp_update_task(void *arg, int task, int slot)
{
    (void)slot;
    const itp_update_job *j = (const itp_update_job *)arg;
    const interp_trainer *t = j->t;
    const size_t from = (size_t)task * ITP_UPDATE_CHUNK, at = j->l->offset + from;
    const size_t n = itp_min_size(ITP_UPDATE_CHUNK, j->l->n - from);
    itp_update_numbers(t->ctx->k, j->l, j->u, n, t->net->flat + at, t->work[0]->param_grad + at,
                       t->first ? t->first + at : NULL, t->second ? t->second + at : NULL);
}

/* How the next step changes an array. */
ITP_FN itp_update itp_trainer_next(const interp_trainer *t, const itp_learn *l, double factor,
                                   float grad_scale)
{
    const interp_train_desc *d = &t->desc;
    const double count = (double)(t->step + 1);
    itp_update u;
    u.lr = (float)((double)l->lr * (l->constant_lr ? 1 : factor));
    u.weight_decay = l->weight_decay;
    u.momentum = l->momentum;
    u.beta1 = d->beta1, u.beta2 = l->beta2, u.epsilon = d->epsilon;
    u.correction1 = (float)(1 - pow((double)d->beta1, count));
    u.correction2 = (float)(1 - pow((double)l->beta2, count));
    u.grad_scale = grad_scale;
    u.nesterov = d->nesterov;
    u.decoupled = l->optimizer == INTERP_ADAMW;
    return u;
}

/* One update of every parameter that is not frozen. */
ITP_FN void itp_trainer_update(interp_trainer *t, double factor, float grad_scale)
{
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        if (itp_is_frozen(t, l)) continue;
        const itp_update u = itp_trainer_next(t, l, factor, grad_scale);
        itp_update_job job = {t, l, &u};
        itp_parallel(t->ctx, (int)((l->n + ITP_UPDATE_CHUNK - 1) / ITP_UPDATE_CHUNK),
                     (double)l->n * 4, itp_update_task, &job);
    }
}

/* The workspace for `n` samples; the second is remade when another size comes. */
ITP_FN interp_status itp_trainer_workspace(interp_trainer *t, int n, interp_workspace **out)
{
    if (n != t->micro && (!t->work[1] || t->work[1]->desc.batch != n)) {
        interp_workspace_free(t->work[1]);
        t->work[1] = NULL;
        const interp_workspace_desc w = itp_trainer_work(t, n);
        ITP_TRY(interp_workspace_new(t->ctx, t->net, &w, &t->work[1]));
    }
    *out = t->work[n != t->micro];
    return INTERP_OK;
}

ITP_FN interp_status itp_trainer_gradient(interp_trainer *t, const float *x, const int32_t *y,
                                          const float *soft, int n, double *loss, int *n_right)
{
    const interp_train_desc *d = &t->desc;
    const interp_shape in = interp_net_input_shape(t->net, 0);
    const size_t row = interp_shape_size(&in), k = (size_t)t->outputs;
    *loss = 0;
    *n_right = 0;
    for (int at = 0; at < n; at += t->micro) {
        const int some = itp_min(t->micro, n - at);
        interp_workspace *w = NULL;
        ITP_TRY(itp_trainer_workspace(t, some, &w));
        const float *from = x + (size_t)at * row;
        w->seed = d->seed;
        w->step = (uint64_t)t->step * 4096 + (uint64_t)(at / t->micro);
        ITP_TRY(interp_forward(w, &from));
        const float *logits = interp_workspace_target(w);
        const int32_t *labels = y ? y + at : NULL;
        const float *targets = soft ? soft + (size_t)at * k : NULL;
        *loss += some * interp_loss_grad(t->ctx, d->loss, logits, some, t->outputs, labels, targets,
                                         d->label_smoothing, t->seed, NULL);
        for (int i = 0; y && i < some; i++)
            *n_right += interp_argmax(logits + (size_t)i * k, t->outputs) == labels[i];
        if (some < n)
            t->ctx->k->scale_add((size_t)some * k, (float)some / (float)n, t->seed, 0, t->seed);
        float *own = w->param_grad; /* all parts add up in the first workspace */
        w->accumulate = at > 0 && w == t->work[0];
        ITP_TRY(interp_backward(w, t->seed));
        if (w != t->work[0])
            t->ctx->k->scale_add(t->net->n_flat, 1, own, at > 0 ? 1 : 0, t->work[0]->param_grad);
    }
    *loss /= n;
    return INTERP_OK;
}

ITP_FN interp_status itp_train_diverged(interp_ctx *ctx, int64_t step)
{
    return itp_fail(ctx, INTERP_NOT_FINITE,
                    "train: the loss or its gradient is NaN or infinite at step %lld: lower the "
                    "learning rate, or look for such numbers in the data",
                    (long long)step);
}

ITP_FN interp_status itp_trainer_step_at(interp_trainer *t, const float *x, const int32_t *y,
                                         const float *soft, int n, double factor, double *loss,
                                         int *n_right)
{
    interp_ctx *ctx = t->ctx;
    if (n < 1 || n > t->desc.batch || (!y && !soft))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: a step on %d samples with batches of %d",
                        n, t->desc.batch);
    for (int i = 0; y && i < n; i++)
        if (y[i] < 0 || y[i] >= t->outputs)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "train: label %d but the network has %d outputs", (int)y[i],
                            t->outputs);
    ITP_TRY(itp_trainer_gradient(t, x, y, soft, n, loss, n_right));
    if (t->desc.gradient)
        memcpy(t->desc.gradient, t->work[0]->param_grad, t->net->n_flat * sizeof *t->desc.gradient);
    itp_trainer_delay(t);
    double square = 0; /* of what learns */
    for (int i = 0; i < t->net->n_params; i++) {
        const itp_learn *l = &t->learn[i];
        const float *g = t->work[0]->param_grad + l->offset;
        if (!itp_is_frozen(t, l)) square += ctx->k->dot(l->n, g, 0, g, 0);
    }
    if (!(*loss - *loss == 0) || !(square - square == 0)) {
        itp_trainer_delay(t);
        return itp_train_diverged(ctx, t->step + 1);
    }
    const double norm = sqrt(square);
    const bool clip = t->desc.clip_norm > 0 && norm > (double)t->desc.clip_norm;
    itp_trainer_update(t, factor, clip ? (float)((double)t->desc.clip_norm / norm) : 1);
    t->step++;
    return INTERP_OK;
}

INTERP_API interp_status interp_trainer_step(interp_trainer *t, const float *x, const int32_t *y,
                                             const float *soft, int n, double *loss, int *n_right)
{
    double l;
    int right;
    const double factor = itp_schedule(&t->desc, t->step, t->total_steps, 1);
    return itp_trainer_step_at(t, x, y, soft, n, factor, loss ? loss : &l,
                               n_right ? n_right : &right);
}

/* ---- evaluation */

ITP_FN interp_status itp_data_fits(interp_ctx *ctx, const interp_net *net,
                                   const interp_dataset *data, int outputs)
{
    char a[96], b[96];
    if (net->n_inputs != 1)
        return itp_fail(ctx, INTERP_UNSUPPORTED,
                        "network \"%s\" has %d inputs, but data sets have one", net->name,
                        net->n_inputs);
    const interp_shape in = interp_net_input_shape(net, 0);
    if (interp_shape_size(&in) != interp_shape_size(&data->shape))
        return itp_fail(ctx, INTERP_BAD_SHAPE, "samples are %s but the network takes %s",
                        itp_shape_text(&data->shape, a, sizeof a),
                        itp_shape_text(&in, b, sizeof b));
    if (data->y && data->n_classes > outputs)
        return itp_fail(ctx, INTERP_BAD_SHAPE, "the data has %d classes but the network %d outputs",
                        data->n_classes, outputs);
    return interp_dataset_check(ctx, data);
}

/* Evaluates with a workspace for `batch` samples and one for what is left over. */
ITP_FN interp_status itp_evaluate_with(interp_net *net, const interp_dataset *data,
                                       interp_loss loss, interp_workspace *const work[2],
                                       interp_evaluation *out)
{
    interp_ctx *ctx = net->ctx;
    const int batch = work[0]->desc.batch;
    const interp_shape in = interp_net_input_shape(net, 0);
    const size_t row = interp_shape_size(&in), k = interp_workspace_target_size(work[0]);
    double total = 0;
    int right = 0;
    for (int at = 0; at < data->n; at += batch) {
        const int some = itp_min(batch, data->n - at);
        interp_workspace *w = work[some != batch];
        const float *x = data->x + (size_t)at * row;
        ITP_TRY(interp_forward(w, &x));
        const float *logits = interp_workspace_target(w);
        if (data->y)
            total += some * interp_loss_grad(ctx, loss, logits, some, (int)k, data->y + at, NULL, 0,
                                             NULL, NULL);
        for (int i = 0; i < some; i++) {
            const int c = interp_argmax(logits + (size_t)i * k, (int)k);
            if (data->y) right += c == data->y[at + i];
            if (out->predicted) out->predicted[at + i] = itp_max(0, c);
        }
        if (out->outputs)
            memcpy(out->outputs + (size_t)at * k, logits, (size_t)some * k * sizeof *x);
    }
    out->loss = data->y ? total / data->n : (double)NAN;
    out->accuracy = data->y ? (double)right / data->n : (double)NAN;
    return INTERP_OK;
}

/* Workspaces to evaluate n samples; `reserve` bytes stay free. */
ITP_FN interp_status itp_evaluate_open(interp_net *net, int n, interp_loss loss, size_t reserve,
                                       interp_workspace *work[2])
{
    itp_fit fit;
    memset(&fit, 0, sizeof fit);
    work[0] = work[1] = NULL;
    fit.work.output = net->values[itp_logits_value(net, loss)].name;
    fit.n = n, fit.most = itp_min(n, 256), fit.reserve = reserve;
    if (net->fixed_batch && n % net->fixed_batch)
        return itp_fail(
            net->ctx, INTERP_BAD_SHAPE,
            "the network takes batches of %d only, and %d samples do not divide into them",
            net->fixed_batch, n);
    const int batch = itp_fit_most(net->ctx, net, &fit);
    return batch ? itp_fit_open(net->ctx, net, &fit, batch, work) : net->ctx->status;
}

INTERP_API interp_status interp_evaluate(interp_net *net, const interp_dataset *data,
                                         interp_loss loss, interp_evaluation *out)
{
    interp_workspace *work[2] = {NULL, NULL};
    if (!net->built)
        return itp_fail(net->ctx, INTERP_BAD_ARGUMENT,
                        "the network is not built: call interp_net_build");
    const interp_shape o = itp_sample_shape(net, itp_logits_value(net, loss));
    ITP_TRY(itp_data_fits(net->ctx, net, data, (int)interp_shape_size(&o)));
    interp_status status = itp_evaluate_open(net, data->n, loss, 0, work);
    if (!status) status = itp_progress(net->ctx, "evaluate", 0, data->n, (double)NAN);
    if (!status) status = itp_evaluate_with(net, data, loss, work, out);
    interp_workspace_free(work[0]);
    interp_workspace_free(work[1]);
    return status;
}

/* ---- the loop */

typedef struct itp_checkpoint itp_checkpoint;

typedef struct itp_training {
    interp_trainer *t;
    const interp_dataset *data;
    interp_workspace *eval[2];
    int *order;
    float *x; /* one batch */
    int32_t *y;
    float *best;                /* parameters and running statistics of the best epoch */
    itp_checkpoint *checkpoint; /* NULL: none */
    int64_t data_hash;          /* with a checkpoint */
    size_t n_state;
    int epoch, best_epoch; /* epochs finished; the best of them */
    double best_loss;
    interp_epoch last;
} itp_training;

ITP_FN size_t itp_net_state_size(const interp_net *net)
{
    size_t n = net->n_flat;
    for (int i = 0; i < net->n_values; i++)
        if (net->values[i].kind == ITP_BUFFER) n += interp_shape_size(&net->values[i].shape);
    return n;
}

/* Copies parameters and running statistics out of the net, or back. */
ITP_FN void itp_net_state(interp_net *net, float *state, bool restore)
{
    memcpy(restore ? net->flat : state, restore ? state : net->flat, net->n_flat * sizeof *state);
    state += net->n_flat;
    for (int i = 0; i < net->n_values; i++) {
        const itp_value *v = &net->values[i];
        if (v->kind != ITP_BUFFER) continue;
        const size_t n = interp_shape_size(&v->shape);
        memcpy(restore ? v->data : state, restore ? state : v->data, n * sizeof *state);
        state += n;
    }
}

ITP_FN int64_t itp_steps_per_epoch(int n, int batch)
{
    return (n + batch - 1) / batch;
}

/* The order of n samples in an epoch, from 1. */
ITP_FN void itp_train_order(const interp_train_desc *d, uint64_t seed, int epoch, int n, int *order)
{
    for (int i = 0; i < n; i++) order[i] = i;
    if (!d->no_shuffle) itp_shuffle(order, n, seed, 0x2000000u + (uint64_t)epoch);
}

/* Whether there is something to train on. */
ITP_FN interp_status itp_train_samples(interp_ctx *ctx, const interp_dataset *data)
{
    if (data->n < 1) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: there are no samples");
    if (!data->y) return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the data has no labels");
    return INTERP_OK;
}

ITP_FN interp_status itp_train_epoch(itp_training *r)
{
    interp_trainer *t = r->t;
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    const size_t row = interp_shape_size(&r->data->shape);
    const int n = r->data->n, epoch = r->epoch + 1;
    double loss_sum = 0, seconds = itp_seconds();
    int right = 0;
    itp_train_order(d, d->seed, epoch, n, r->order);
    float rate = 0;
    for (int at = 0; at < n; at += d->batch) {
        const int some = itp_min(d->batch, n - at);
        for (int i = 0; i < some; i++) {
            const size_t from = (size_t)r->order[at + i];
            float *to = r->x + (size_t)i * row;
            if (d->augment)
                interp_augment(d->augment, r->data->x + from * row, &r->data->shape, d->seed,
                               (uint64_t)epoch * (uint64_t)n + from, to);
            else memcpy(to, r->data->x + from * row, row * sizeof *to);
            r->y[i] = r->data->y[from];
        }
        double loss;
        int hits;
        const double factor = itp_schedule(d, t->step, t->total_steps, epoch);
        rate = (float)((double)d->lr * factor);
        ITP_TRY(itp_trainer_step_at(t, r->x, r->y, NULL, some, factor, &loss, &hits));
        loss_sum += loss * some;
        right += hits;
        if (d->on_step) ITP_TRY(d->on_step(t->net, t->step, d->on_step_user));
        ITP_TRY(itp_progress(ctx, "train", (double)t->step, (double)t->total_steps, loss));
    }
    interp_epoch *e = &r->last;
    e->epoch = epoch;
    e->train_loss = loss_sum / n;
    e->train_accuracy = (double)right / n;
    e->val_loss = e->val_accuracy = (double)NAN;
    e->learning_rate = (double)rate;
    if (d->validation) {
        interp_evaluation v;
        memset(&v, 0, sizeof v);
        ITP_TRY(itp_evaluate_with(t->net, d->validation, d->loss, r->eval, &v));
        e->val_loss = v.loss;
        e->val_accuracy = v.accuracy;
    }
    e->seconds = itp_seconds() - seconds;
    r->epoch = epoch;
    return INTERP_OK;
}

#if !defined(INTERP_NO_STDIO)
/* ---- checkpoints: everything a training is made of, as named arrays */

enum { ITP_CHECKPOINT_MOST = 7, ITP_CHECKPOINT_COUNTS = 8, ITP_EPOCH_FIGURES = 7 };

struct itp_checkpoint {
    char names[ITP_CHECKPOINT_MOST][12];
    interp_named_array items[ITP_CHECKPOINT_MOST];
    int n;
    int64_t counts[ITP_CHECKPOINT_COUNTS];
    double best_loss;
    float *state;
    double *history;
};

/* A number that other samples or labels are all but sure to change: FNV-1a over 32-bit words. */
ITP_FN uint64_t itp_data_hash(const interp_dataset *d)
{
    const size_t n = (size_t)d->n * interp_shape_size(&d->shape);
    uint64_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++) {
        const float x = d->x[i];
        uint32_t bits;
        memcpy(&bits, &x, sizeof bits);
        h = (h ^ bits) * 0x100000001B3u;
    }
    for (int i = 0; i < d->n; i++) h = (h ^ (uint32_t)d->y[i]) * 0x100000001B3u;
    return h ^ h >> 32;
}

ITP_FN void itp_checkpoint_add(itp_checkpoint *c, const char *name, void *data, interp_dtype dtype,
                               size_t n)
{
    if (!data || !n) return;
    interp_named_array *a = &c->items[c->n];
    snprintf(c->names[c->n], sizeof c->names[0], "%s", name);
    a->name = c->names[c->n++];
    a->array.data = data;
    a->array.dtype = dtype;
    a->array.shape = itp_shape_of(1, (int)n, 1, 1, 1);
}

/* Points at all that is kept; `epochs` lines of history. */
ITP_FN void itp_checkpoint_list(itp_training *r, itp_checkpoint *c, int epochs)
{
    const size_t flat = r->t->net->n_flat;
    c->n = 0;
    itp_checkpoint_add(c, "counts", c->counts, INTERP_INT64, ITP_CHECKPOINT_COUNTS);
    itp_checkpoint_add(c, "best_loss", &c->best_loss, INTERP_FLOAT64, 1);
    itp_checkpoint_add(c, "history", c->history, INTERP_FLOAT64,
                       (size_t)epochs * ITP_EPOCH_FIGURES);
    itp_checkpoint_add(c, "state", c->state, INTERP_FLOAT32, r->n_state);
    itp_checkpoint_add(c, "best", r->best, INTERP_FLOAT32, r->n_state);
    itp_checkpoint_add(c, "first", r->t->first, INTERP_FLOAT32, flat);
    itp_checkpoint_add(c, "second", r->t->second, INTERP_FLOAT32, flat);
}

ITP_FN void itp_epoch_figures(interp_epoch *e, double *f, bool read)
{
    double *const at[ITP_EPOCH_FIGURES - 1] = {&e->train_loss,   &e->train_accuracy, &e->val_loss,
                                               &e->val_accuracy, &e->learning_rate,  &e->seconds};
    if (!read) f[0] = e->epoch; /* read, it is the line's number */
    for (int i = 1; i < ITP_EPOCH_FIGURES; i++) {
        if (read) *at[i - 1] = f[i];
        else f[i] = *at[i - 1];
    }
}

/* What a training cannot be taken up without: parameters, optimizer, samples, seed, data. */
ITP_FN void itp_checkpoint_identity(const itp_training *r, int64_t out[5])
{
    out[0] = (int64_t)r->t->net->n_flat;
    out[1] = (int64_t)r->t->desc.optimizer;
    out[2] = r->data->n;
    out[3] = (int64_t)r->t->desc.seed;
    out[4] = r->data_hash;
}

ITP_FN interp_status itp_checkpoint_write(itp_training *r, itp_checkpoint *c)
{
    const interp_train_desc *d = &r->t->desc;
    itp_net_state(r->t->net, c->state, false);
    c->counts[0] = r->epoch;
    c->counts[1] = r->best_epoch;
    c->counts[2] = r->t->step;
    itp_checkpoint_identity(r, c->counts + 3);
    c->best_loss = r->best_loss;
    itp_checkpoint_list(r, c, r->epoch);
    interp_named_arrays all;
    memset(&all, 0, sizeof all);
    all.items = c->items;
    all.n = c->n;
    return interp_safetensors_write(r->t->ctx, d->checkpoint, &all);
}

/* Whether the counts of a file are of this training. */
ITP_FN interp_status itp_checkpoint_check(const itp_training *r, const int64_t *counts)
{
    static const char *const what[5] = {"another network", "another optimizer",
                                        "another number of samples", "another seed", "other data"};
    const interp_train_desc *d = &r->t->desc;
    const char *other = NULL;
    int64_t own[5];
    itp_checkpoint_identity(r, own);
    for (int i = 4; i >= 0; i--)
        if (counts[3 + i] != own[i]) other = what[i];
    if (!other &&
        (counts[0] < 1 || counts[0] > d->epochs || counts[1] < 0 || counts[1] > counts[0] ||
         counts[2] != counts[0] * itp_steps_per_epoch(r->data->n, d->batch)))
        other = "fewer epochs or another batch size";
    if (!other) return INTERP_OK;
    return itp_fail(r->t->ctx, INTERP_FORMAT,
                    "%s: it is of a training with %s: delete the file to start over", d->checkpoint,
                    other);
}

/* Takes a training up where the file left it. Nothing is changed unless all of it fits. */
ITP_FN interp_status itp_checkpoint_read(itp_training *r, itp_checkpoint *c)
{
    interp_ctx *ctx = r->t->ctx;
    const interp_train_desc *d = &r->t->desc;
    FILE *f = fopen(d->checkpoint, "rb");
    if (!f) return INTERP_OK; /* a training that starts */
    fclose(f);
    interp_named_arrays all;
    ITP_TRY(interp_safetensors_read(ctx, d->checkpoint, &all));
    interp_status status = INTERP_OK;
    int64_t counts[ITP_CHECKPOINT_COUNTS] = {0};
    for (int pass = 0; pass < 2 && !status; pass++) { /* check, then copy */
        itp_checkpoint_list(r, c, pass ? (int)counts[0] : 1);
        for (int i = 0; i < c->n && !status; i++) {
            const interp_array *want = &c->items[i].array, *got = NULL;
            for (int j = 0; j < all.n; j++)
                if (!strcmp(all.items[j].name, c->items[i].name)) got = &all.items[j].array;
            const bool history = want->data == (void *)c->history;
            const size_t n = got ? interp_shape_size(&got->shape) : 0;
            if (!got || got->dtype != want->dtype ||
                (got->dtype == INTERP_FLOAT32 && !itp_is_finite((const float *)got->data, n)) ||
                (n != interp_shape_size(&want->shape) &&
                 !(history && !pass && n <= (size_t)d->epochs * ITP_EPOCH_FIGURES))) {
                status =
                    itp_fail(ctx, INTERP_FORMAT,
                             "%s: its \"%s\" does not fit this training: delete the file to start "
                             "over",
                             d->checkpoint, c->items[i].name);
                break;
            }
            if (!pass && i == 0) {
                memcpy(counts, got->data, sizeof counts);
                status = itp_checkpoint_check(r, counts);
            }
            if (pass) memcpy(want->data, got->data, n * interp_dtype_size(got->dtype));
        }
    }
    interp_named_arrays_free(ctx, &all);
    if (status) return status;
    r->epoch = (int)counts[0];
    r->best_epoch = (int)counts[1];
    r->t->step = counts[2];
    r->best_loss = c->best_loss;
    itp_net_state(r->t->net, c->state, true);
    for (int i = 0; i < r->epoch; i++) {
        interp_epoch e;
        e.epoch = i + 1;
        itp_epoch_figures(&e, c->history + (size_t)i * ITP_EPOCH_FIGURES, true);
        if (d->history) d->history[i] = e;
        r->last = e;
    }
    return INTERP_OK;
}
#endif

/* Everything after an epoch: history, the best so far, the hooks. */
ITP_FN bool itp_train_note(itp_training *r)
{
    const interp_train_desc *d = &r->t->desc;
    const double loss = d->validation ? r->last.val_loss : r->last.train_loss;
    const bool best = !r->best_epoch || loss < r->best_loss;
    if (d->history) d->history[r->epoch - 1] = r->last;
    if (best) {
        r->best_epoch = r->epoch;
        r->best_loss = loss;
        if (r->best) itp_net_state(r->t->net, r->best, false);
    }
    bool stop = d->patience > 0 && r->epoch - r->best_epoch >= d->patience;
    if (d->on_epoch && d->on_epoch(&r->last, best, d->user)) stop = true;
    return stop;
}

/* Room for a checkpoint, with the state and the history behind it. reserve: grows by what writing and
   reading the file take: the file itself, and at most twice that while a buffer grows to hold it. */
ITP_FN interp_status itp_train_checkpoint(itp_training *r, size_t *reserve)
{
#if !defined(INTERP_NO_STDIO)
    const interp_train_desc *d = &r->t->desc;
    const size_t figures = (size_t)d->epochs * ITP_EPOCH_FIGURES * sizeof(double);
    if (!d->checkpoint) return INTERP_OK;
    for (int i = 0; i < d->n_rules; i++)
        if (d->rules[i].delay)
            return itp_fail(
                r->t->ctx, INTERP_UNSUPPORTED,
                "train: a checkpoint holds no delayed gradients, and layer \"%s\" has a "
                "delay of %d",
                d->rules[i].layer, d->rules[i].delay);
    itp_checkpoint *c = (itp_checkpoint *)itp_calloc(
        r->t->ctx, 1, sizeof *c + figures + r->n_state * sizeof(float));
    if (!c) return INTERP_NO_MEMORY;
    c->history = (double *)(void *)(c + 1);
    c->state = (float *)(void *)((char *)c->history + figures);
    r->checkpoint = c;
    itp_checkpoint_list(r, c, d->epochs);
    size_t file = 4096; /* the header */
    for (int i = 0; i < c->n; i++)
        file += interp_shape_size(&c->items[i].array.shape) *
                interp_dtype_size(c->items[i].array.dtype);
    *reserve = itp_add_size(*reserve, itp_mul_size(file, 3));
#else
    (void)r, (void)reserve;
#endif
    return INTERP_OK;
}

/* Everything that lasts for the whole training comes first; the workspaces share what is left. */
ITP_FN interp_status itp_train_open(itp_training *r, interp_net *net)
{
    interp_trainer *t = r->t;
    interp_ctx *ctx = t->ctx;
    const interp_train_desc *d = &t->desc;
    const size_t row = interp_shape_size(&r->data->shape);
    size_t evaluation = 0, file = 0;
    ITP_TRY(itp_data_fits(ctx, net, r->data, t->outputs));
    if (d->validation) {
        if (!d->validation->y)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT, "train: the validation data has no labels");
        ITP_TRY(itp_data_fits(ctx, net, d->validation, t->outputs));
        interp_workspace_desc least;
        memset(&least, 0, sizeof least);
        least.output = t->logits;
        ITP_TRY(interp_workspace_bytes(ctx, net, &least, &evaluation));
    }
    r->order = (int *)interp_alloc(ctx, (size_t)r->data->n * sizeof(int));
    r->x = (float *)interp_alloc(ctx, itp_mul_size((size_t)d->batch * row, sizeof(float)));
    r->y = (int32_t *)interp_alloc(ctx, (size_t)d->batch * sizeof(int32_t));
    r->n_state = itp_net_state_size(net);
    if (!r->order || !r->x || !r->y) return INTERP_NO_MEMORY;
    if (d->restore_best) {
        r->best = (float *)interp_alloc(ctx, r->n_state * sizeof(float));
        if (!r->best) return INTERP_NO_MEMORY;
        itp_net_state(net, r->best, false);
    }
    ITP_TRY(itp_train_checkpoint(r, &file));
    ITP_TRY(itp_trainer_open(t, r->data->n, itp_add_size(evaluation, file)));
    if (!d->validation) return INTERP_OK;
    return itp_evaluate_open(net, d->validation->n, d->loss, file, r->eval);
}

ITP_FN interp_status itp_train_run(itp_training *r)
{
    const interp_train_desc *d = &r->t->desc;
    /* all memory is taken and nothing changed: a hook that only asks whether it fits cancels here */
    ITP_TRY(itp_progress(r->t->ctx, "train", 0, (double)r->t->total_steps, (double)NAN));
#if !defined(INTERP_NO_STDIO)
    itp_checkpoint *c = r->checkpoint;
    if (c) {
        r->data_hash = (int64_t)itp_data_hash(r->data);
        ITP_TRY(itp_checkpoint_read(r, c));
    }
#endif
    if (d->on_step) ITP_TRY(d->on_step(r->t->net, r->t->step, d->on_step_user));
    bool stop = d->patience > 0 && r->epoch - r->best_epoch >= d->patience;
    while (r->epoch < d->epochs && !stop) {
        ITP_TRY(itp_train_epoch(r));
        stop = itp_train_note(r);
#if !defined(INTERP_NO_STDIO)
        if (!c) continue;
        itp_epoch_figures(&r->last, c->history + (size_t)(r->epoch - 1) * ITP_EPOCH_FIGURES, false);
        ITP_TRY(itp_checkpoint_write(r, c));
#endif
    }
    if (r->best && r->best_epoch) itp_net_state(r->t->net, r->best, true);
    return INTERP_OK;
}

INTERP_API interp_status interp_train(interp_net *net, const interp_dataset *data,
                                      const interp_train_desc *desc, interp_train_result *result)
{
    interp_ctx *ctx = net->ctx;
    interp_train_desc d;
    itp_training r;
    const double start = itp_seconds();
    memset(&r, 0, sizeof r);
    ITP_TRY(itp_train_defaults(ctx, desc, &d));
    ITP_TRY(itp_train_samples(ctx, data));
    d.batch = net->fixed_batch ? net->fixed_batch : itp_min(d.batch, data->n);
    r.data = data;
    ITP_TRY(itp_trainer_begin(net, &d, d.epochs * itp_steps_per_epoch(data->n, d.batch), &r.t));
    interp_status status = itp_train_open(&r, net);
    if (!status) status = itp_train_run(&r);
    if (!status && result) {
        result->epochs = r.epoch;
        result->best_epoch = r.best_epoch;
        result->train_loss = r.last.train_loss, result->train_accuracy = r.last.train_accuracy;
        result->val_loss = r.last.val_loss, result->val_accuracy = r.last.val_accuracy;
        result->seconds = itp_seconds() - start;
    }
    interp_free(ctx, r.checkpoint);
    interp_free(ctx, r.best);
    interp_free(ctx, r.y);
    interp_free(ctx, r.x);
    interp_free(ctx, r.order);
    interp_workspace_free(r.eval[0]);
    interp_workspace_free(r.eval[1]);
    interp_trainer_free(r.t);
    return status;
}

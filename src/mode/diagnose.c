/* ---- mode/diagnose.c: labels that do badly -------------------------------------------------- */

/* Predictions of samples among the first n_classes outputs. */
ITP_FN interp_status itp_mode_predict(interp_net *net, const interp_dataset *data,
                                      int32_t *predicted)
{
    itp_mode_pass p;
    ITP_TRY(itp_mode_pass_open(&p, net, -1, false, data->n));
    interp_status status = itp_progress(net->ctx, "diagnose", 0, data->n, (double)NAN);
    for (int at = 0; at < data->n && !status; at += p.batch) {
        status = itp_mode_pass_run(&p, data, NULL, at, data->n);
        const float *logits = interp_workspace_target(p.w);
        for (int i = 0; i < p.count && !status; i++)
            predicted[at + i] = interp_argmax(logits + (size_t)i * (size_t)p.outputs,
                                              itp_min(p.outputs, data->n_classes));
    }
    itp_mode_pass_close(&p);
    return status;
}

/* Counts of predictions and the share that is right. */
ITP_FN interp_status itp_mode_count(interp_net *net, const interp_dataset *data, int64_t *counts,
                                    double *accuracy)
{
    interp_ctx *ctx = net->ctx;
    const size_t k = (size_t)data->n_classes;
    int right = 0;
    int32_t *predicted =
        (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)data->n, sizeof *predicted));
    if (!predicted) return INTERP_NO_MEMORY;
    const interp_status status = itp_mode_predict(net, data, predicted);
    memset(counts, 0, k * k * sizeof *counts);
    for (int i = 0; i < data->n && !status; i++) {
        counts[(size_t)data->y[i] * k + (size_t)predicted[i]]++;
        right += data->y[i] == predicted[i];
    }
    *accuracy = (double)right / data->n;
    interp_free(ctx, predicted);
    return status;
}

/* Samples of label l, and which share of them is right. */
ITP_FN double itp_mode_label_accuracy(const int64_t *counts, int n_classes, int l, int *n)
{
    int64_t all = 0;
    for (int j = 0; j < n_classes; j++) all += counts[(size_t)l * (size_t)n_classes + (size_t)j];
    if (n) *n = (int)all;
    if (!all) return (double)NAN;
    return (double)counts[(size_t)l * (size_t)n_classes + (size_t)l] / (double)all;
}

/* Labels and the two that are worst, from the counts. */
ITP_FN void itp_mode_judge(interp_mode_diagnosis *r, const interp_mode_diagnose_desc *desc)
{
    const double theta = desc && desc->theta != 0 ? desc->theta : 0.92;
    const double gamma = desc && desc->gamma != 0 ? desc->gamma : 0.1;
    double lowest = 2, widest = -2;
    r->underfit = r->overfit = -1;
    for (int l = 0; l < r->n_classes; l++) {
        interp_mode_label *label = &r->labels[l];
        label->train_accuracy =
            itp_mode_label_accuracy(r->train_counts, r->n_classes, l, &label->train_n);
        label->val_accuracy =
            itp_mode_label_accuracy(r->val_counts, r->n_classes, l, &label->val_n);
        const double gap = label->train_accuracy - label->val_accuracy;
        /* a label that was never seen in training is not fitted either */
        label->underfit =
            label->val_accuracy < theta && (label->train_accuracy < theta || !label->train_n);
        label->overfit = gap > gamma;
        if (label->underfit && label->val_accuracy < lowest)
            r->underfit = l, lowest = label->val_accuracy;
        if (label->overfit && gap > widest) r->overfit = l, widest = gap;
    }
}

INTERP_API void interp_mode_diagnosis_free(interp_ctx *ctx, interp_mode_diagnosis *d)
{
    interp_free(ctx, d->labels);
    memset(d, 0, sizeof *d);
}

/* Room for k labels, in one block. */
ITP_FN interp_status itp_mode_diagnosis_new(interp_ctx *ctx, int k, interp_mode_diagnosis *r)
{
    const size_t n = (size_t)k, squares = itp_mul_size(n, n);
    memset(r, 0, sizeof *r);
    r->n_classes = k;
    r->labels = (interp_mode_label *)itp_calloc(
        ctx, 1, itp_add_size(n * sizeof *r->labels, itp_mul_size(squares, 2 * sizeof(int64_t))));
    if (!r->labels) return INTERP_NO_MEMORY;
    r->train_counts = (int64_t *)(void *)(r->labels + n);
    r->val_counts = r->train_counts + squares;
    return INTERP_OK;
}

ITP_FN interp_status itp_mode_diagnose_into(interp_net *net, const interp_dataset *train,
                                            const interp_dataset *validation,
                                            const interp_mode_diagnose_desc *desc,
                                            interp_mode_diagnosis *r)
{
    ITP_TRY(itp_mode_count(net, train, r->train_counts, &r->train_accuracy));
    ITP_TRY(itp_mode_count(net, validation, r->val_counts, &r->val_accuracy));
    itp_mode_judge(r, desc);
    return INTERP_OK;
}

INTERP_API interp_status interp_mode_diagnose(interp_net *net, const interp_dataset *train,
                                              const interp_dataset *validation,
                                              const interp_mode_diagnose_desc *desc,
                                              interp_mode_diagnosis *out)
{
    interp_ctx *ctx = net->ctx;
    interp_mode_diagnosis r;
    const interp_mode_sets sets = {train, validation, NULL, NULL};
    ITP_TRY(itp_mode_sets_fit(net, &sets));
    ITP_TRY(itp_mode_diagnosis_new(ctx, train->n_classes, &r));
    const interp_status status = itp_mode_diagnose_into(net, train, validation, desc, &r);
    if (status) interp_mode_diagnosis_free(ctx, &r);
    else *out = r;
    return status;
}

/* Samples of label l that are mistaken in validation. */
ITP_FN int64_t itp_mode_missed(const interp_mode_diagnosis *d, int l)
{
    int64_t n = 0;
    for (int j = 0; j < d->n_classes; j++) n += j == l ? 0 : d->val_counts[l * d->n_classes + j];
    return n;
}

/* Whether a label is at fault: over-fitted labels count when none is under-fitted. */
ITP_FN bool itp_mode_at_fault(const interp_mode_diagnosis *d, int l)
{
    return d->underfit >= 0 ? d->labels[l].underfit : d->labels[l].overfit;
}

INTERP_API double interp_mode_alpha(const interp_mode_diagnosis *d, int label)
{
    int64_t all = 0, own = 0;
    for (int l = 0; l < d->n_classes; l++) {
        const int64_t missed = itp_mode_missed(d, l);
        all += missed;
        if (label < 0 ? itp_mode_at_fault(d, l) : l == label) own += missed;
    }
    /* with less at random than a quarter labels that do well are forgotten */
    const double share = all ? 0.75 * (double)own / (double)all : 0;
    return fmax(share, 1.0 / d->n_classes);
}

/* The label that `l` is mixed up with most, either way; l itself when there is none. */
ITP_FN int itp_mode_rival(const interp_mode_diagnosis *d, int l)
{
    const int k = d->n_classes;
    int best = l;
    int64_t most = 0;
    for (int j = 0; j < k; j++) {
        const int64_t n = d->val_counts[l * k + j] + d->val_counts[j * k + l];
        if (j != l && n > most) best = j, most = n;
    }
    return best;
}

/* ---- net/metrics.c: confusion matrix and what follows from it ------------------------------------ */

INTERP_API int interp_argmax(const float *x, int n)
{
    int best = -1;
    for (int i = 0; i < n; i++)
        if (x[i] == x[i] && (best < 0 || x[i] > x[best])) best = i;
    return best;
}

ITP_FN double itp_ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

INTERP_API interp_status interp_confusion_count(interp_ctx *ctx, const int32_t *truth,
                                                const int32_t *predicted, int n, int n_classes,
                                                interp_confusion *out)
{
    const size_t k = n_classes > 0 ? (size_t)n_classes : 0;
    if (n_classes < 1 || n_classes > 65535)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "confusion: %d classes", n_classes);
    for (int i = 0; i < n; i++)
        if (truth[i] < 0 || truth[i] >= n_classes || predicted[i] < 0 || predicted[i] >= n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "confusion: sample %d is %d, predicted %d, but there are %d classes", i,
                            (int)truth[i], (int)predicted[i], n_classes);
    /* one block: counts, support, three rows of figures */
    int64_t *block = (int64_t *)itp_calloc(ctx, itp_mul_size(k, k + 4), sizeof(int64_t));
    if (!block) return INTERP_NO_MEMORY;
    interp_confusion c;
    memset(&c, 0, sizeof c);
    c.n_classes = n_classes;
    c.counts = block;
    c.support = block + k * k;
    c.precision = (double *)(void *)(c.support + k);
    c.recall = c.precision + k;
    c.f1 = c.recall + k;
    for (int i = 0; i < n; i++) c.counts[(size_t)truth[i] * k + (size_t)predicted[i]]++;
    double right = 0;
    for (size_t i = 0; i < k; i++) {
        double row = 0, column = 0;
        for (size_t j = 0; j < k; j++) {
            row += (double)c.counts[i * k + j];
            column += (double)c.counts[j * k + i];
        }
        const double hit = (double)c.counts[i * k + i];
        right += hit;
        c.support[i] = (int64_t)row;
        c.precision[i] = itp_ratio(hit, column);
        c.recall[i] = itp_ratio(hit, row);
        c.f1[i] = itp_ratio(2 * c.precision[i] * c.recall[i], c.precision[i] + c.recall[i]);
        const double figures[3] = {c.precision[i], c.recall[i], c.f1[i]};
        for (int f = 0; f < 3; f++) {
            c.macro[f] += figures[f] / (double)k;
            c.weighted[f] += itp_ratio(figures[f] * row, n);
        }
    }
    c.accuracy = itp_ratio(right, n);
    *out = c;
    return INTERP_OK;
}

INTERP_API void interp_confusion_normalize(const interp_confusion *c, interp_normalize how,
                                           double *out)
{
    const size_t k = (size_t)c->n_classes;
    double all = 0;
    for (size_t i = 0; i < k * k; i++) all += (double)c->counts[i];
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++) {
            double column = 0;
            for (size_t r = 0; how == INTERP_NORMALIZE_PRED && r < k; r++)
                column += (double)c->counts[r * k + j];
            const double by = how == INTERP_NORMALIZE_NONE   ? 1
                              : how == INTERP_NORMALIZE_TRUE ? (double)c->support[i]
                              : how == INTERP_NORMALIZE_PRED ? column
                                                             : all;
            out[i * k + j] = itp_ratio((double)c->counts[i * k + j], by);
        }
}

#if !defined(INTERP_NO_STDIO)
/* A class name in quotes, or its number. */
ITP_FN void itp_csv_class(itp_buf *b, char *const *names, size_t i)
{
    if (!names) {
        itp_buf_printf(b, "%zu", i);
        return;
    }
    itp_buf_byte(b, '"');
    for (const char *c = names[i]; *c; c++) {
        if (*c == '"') itp_buf_byte(b, '"');
        itp_buf_byte(b, *c);
    }
    itp_buf_byte(b, '"');
}

/* The end of a row. */
ITP_FN void itp_csv_figures(itp_buf *b, int64_t support, const double figures[3])
{
    itp_buf_printf(b, ",%lld", (long long)support);
    for (int i = 0; i < 3; i++) {
        itp_buf_byte(b, ',');
        itp_buf_float(b, figures[i]);
    }
    itp_buf_byte(b, '\n');
}

INTERP_API interp_status interp_confusion_write_csv(interp_ctx *ctx, const char *path,
                                                    const interp_confusion *c,
                                                    char *const *class_names)
{
    const size_t k = (size_t)c->n_classes;
    int64_t all = 0;
    itp_buf b = itp_buf_new(ctx);
    itp_buf_str(&b, "truth");
    for (size_t j = 0; j < k; j++) {
        itp_buf_str(&b, ",");
        itp_csv_class(&b, class_names, j);
    }
    itp_buf_str(&b, ",support,precision,recall,f1\n");
    for (size_t i = 0; i < k; i++) {
        itp_csv_class(&b, class_names, i);
        for (size_t j = 0; j < k; j++) itp_buf_printf(&b, ",%lld", (long long)c->counts[i * k + j]);
        const double figures[3] = {c->precision[i], c->recall[i], c->f1[i]};
        all += c->support[i];
        itp_csv_figures(&b, c->support[i], figures);
    }
    for (int row = 0; row < 2; row++) {
        itp_buf_str(&b, row ? "weighted" : "macro");
        for (size_t j = 0; j < k; j++) itp_buf_byte(&b, ',');
        itp_csv_figures(&b, all, row ? c->weighted : c->macro);
    }
    return itp_buf_write(&b, path);
}
#endif

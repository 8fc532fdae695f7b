/* interp train: trains a network, measures it, saves it. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    TRAINING_OPTIONS,
    NORMALIZE_OPTION,
    {"--resume", NULL,
     "keep RUN/checkpoint.safetensors, and go on from it and best.onnx when it is there"},
    {NULL, NULL, NULL}};

/* ---- running */

/* A training on its way. */
typedef struct run_state {
    cli *c;
    const char *folder;
    cli_training t;
    interp_train_result result;
    interp_evaluation on_test, on_train;
    interp_epoch *history; /* [epochs] */
    int done;              /* epochs */
    int saved;             /* code of the last save of best.onnx */
} run_state;

/* best.onnx is written whenever there is a better one; its bytes are no workspace. With --resume it
   stands beside the checkpoint: a later call may go on without ever being better. */
static int save_best(run_state *s)
{
    char path[CLI_PATH];
    const bool resume = s->t.desc.checkpoint != NULL;
    const size_t limit = interp_memory_read(s->c->ctx).limit;
    interp_memory_set_limit(s->c->ctx, 0);
    const int code = cli_model_save(s->c, s->t.model.net, s->t.model.classes, s->t.model.n_classes,
                                    cli_path(path, resume ? s->c->folder : s->folder, "best.onnx"));
    interp_memory_set_limit(s->c->ctx, limit);
    return code;
}

static int on_epoch(const interp_epoch *e, bool is_best, void *user)
{
    run_state *s = (run_state *)user;
    const int epochs = s->t.desc.epochs;
    s->done = e->epoch;
    if (is_best) s->saved = save_best(s);
    cli_say(s->c, "epoch %*d/%d  loss %.4f  accuracy %.2f %%  validation %.4f  %.2f %%  %.1f s%s",
            epochs > 99 ? 3 : 2, e->epoch, epochs, e->train_loss, 100 * e->train_accuracy,
            e->val_loss, 100 * e->val_accuracy, e->seconds, is_best ? "  *" : "");
    return s->saved;
}

static int write_history(cli *c, const char *folder, const interp_epoch *h, int n)
{
    char path[1024];
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "epoch,train_loss,train_accuracy,val_loss,val_accuracy,learning_rate,seconds\n");
    for (int i = 0; i < n; i++) {
        const double row[] = {h[i].train_loss,   h[i].train_accuracy, h[i].val_loss,
                              h[i].val_accuracy, h[i].learning_rate,  h[i].seconds};
        cli_add(&t, "%d", h[i].epoch);
        for (int k = 0; k < 6; k++) cli_add(&t, ","), cli_add_number(&t, row[k], false);
        cli_add(&t, "\n");
    }
    const int code = cli_text_write(&t, cli_path(path, folder, "history.csv"));
    if (code) return code;
    float *y = (float *)interp_alloc(c->ctx, 5 * (size_t)n * sizeof *y);
    if (!y) return cli_fail_ctx(c);
    static const char *const names[] = {"training loss", "validation loss",
                                        "training accuracy (right)", "validation accuracy (right)"};
    interp_series series[4];
    memset(series, 0, sizeof series);
    for (int i = 0; i < n; i++) {
        const double row[] = {h[i].train_loss, h[i].val_loss, h[i].train_accuracy,
                              h[i].val_accuracy};
        for (int k = 0; k < 4; k++) y[k * n + i] = (float)row[k];
        y[4 * n + i] = (float)h[i].epoch;
    }
    for (int k = 0; k < 4; k++) {
        series[k].name = names[k];
        series[k].x = y + 4 * n, series[k].y = y + k * n, series[k].n = n;
        series[k].right = k > 1;
        series[k].style = k % 2 ? INTERP_SERIES_LINE : INTERP_SERIES_DASHED;
    }
    interp_chart chart;
    memset(&chart, 0, sizeof chart);
    chart.title = "Training", chart.x_label = "epoch", chart.y_label = "loss";
    chart.right_label = "accuracy";
    interp_image image;
    const interp_status status = interp_chart_lines(c->ctx, &chart, series, 4, &image);
    interp_free(c->ctx, y);
    if (status) return cli_fail_ctx(c);
    return cli_write_image(c, &image, cli_path(path, folder, "history.png"));
}

/* Shares instead of counts, as --normalize says. */
static int write_shares(cli *c, const interp_confusion *m, char *const *names, const char *folder)
{
    static const char *const ways[] = {"none", "true", "pred", "all"};
    char path[CLI_PATH], number[16];
    const int k = m->n_classes;
    int how = 0;
    cli_text t = {NULL, 0, 0, false};
    const int code = cli_choice(c, "--normalize", ways, 4, &how);
    if (code || !how) return code;
    double *share = (double *)interp_alloc(c->ctx, (size_t)k * (size_t)k * sizeof *share);
    if (!share) return cli_fail_ctx(c);
    interp_confusion_normalize(m, (interp_normalize)how, share);
    for (int i = -1; i < k; i++) {
        for (int j = -1; j < k; j++) {
            const int label = i < 0 ? j : i;
            snprintf(number, sizeof number, "%d", label);
            if (j >= 0) cli_add(&t, ",");
            if (label < 0) cli_add(&t, "truth");
            else if (i < 0 || j < 0) cli_add_csv(&t, names ? names[label] : number);
            else cli_add_number(&t, share[i * k + j], false);
        }
        cli_add(&t, "\n");
    }
    interp_free(c->ctx, share);
    return cli_text_write(&t, cli_path(path, folder, "confusion_normalized.csv"));
}

int write_confusion(cli *c, const interp_dataset *data, const int32_t *predicted,
                    const char *folder, confusion_figures *figures)
{
    char path[CLI_PATH];
    interp_confusion m;
    interp_image image;
    if (interp_confusion_count(c->ctx, data->y, predicted, data->n, data->n_classes, &m))
        return cli_fail_ctx(c);
    if (figures) {
        figures->accuracy = m.accuracy;
        memcpy(figures->macro, m.macro, sizeof m.macro);
        memcpy(figures->weighted, m.weighted, sizeof m.weighted);
    }
    interp_confusion_draw_desc d;
    memset(&d, 0, sizeof d);
    d.counts = m.counts;
    d.n_classes = m.n_classes;
    d.class_names = (const char *const *)data->class_names;
    int code = write_shares(c, &m, data->class_names, folder);
    if (!code && interp_confusion_write_csv(c->ctx, cli_path(path, folder, "confusion.csv"), &m,
                                            data->class_names))
        code = cli_fail_ctx(c);
    if (!code && m.n_classes <= 1000)
        code = interp_confusion_draw(c->ctx, &d, &image)
                   ? cli_fail_ctx(c)
                   : cli_write_image(c, &image, cli_path(path, folder, "confusion.png"));
    interp_free(c->ctx, m.counts);
    return code;
}

/* Loss and accuracy over a window of training, as TensorBoard events. */
static int write_tensorboard(cli *c, const char *folder, const interp_epoch *h, int n)
{
    char path[1024];
    interp_tensorboard *tb;
    if (interp_tensorboard_open(c->ctx, cli_path(path, folder, "tensorboard"), NULL, &tb))
        return cli_fail_ctx(c);
    interp_status status = INTERP_OK;
    for (int i = 0; i < n && !status; i++) {
        static const char *const tags[] = {"Loss/train", "Loss/eval", "Accuracy/train",
                                           "Accuracy/eval", "learning_rate"};
        const double row[] = {h[i].train_loss, h[i].val_loss, h[i].train_accuracy,
                              h[i].val_accuracy, h[i].learning_rate};
        for (int k = 0; k < 5 && !status; k++)
            if (!isnan(row[k]))
                status = interp_tensorboard_scalar(tb, tags[k], h[i].epoch, (float)row[k]);
    }
    interp_tensorboard_close(tb);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

/* Everything that is left of a run but best.onnx. */
static int write_run(cli *c, run_state *s)
{
    char path[CLI_PATH];
    int code = cli_model_save(c, s->t.model.net, s->t.model.classes, s->t.model.n_classes,
                              cli_path(path, s->folder, "model.onnx"));
    if (!code) code = write_history(c, s->folder, s->history, s->done);
    if (!code) code = cli_make_folder(cli_path(path, s->folder, "tensorboard"));
    if (!code) code = write_tensorboard(c, s->folder, s->history, s->done);
    return code;
}

static interp_status stage_train(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    const interp_status status = interp_train(s->t.model.net, &s->t.train, &s->t.desc, &s->result);
    if (status == INTERP_OK && s->saved)
        return interp_fail(c->ctx, INTERP_IO, "best.onnx could not be written");
    return status;
}

static interp_status stage_test(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    (void)c;
    return interp_evaluate(s->t.model.net, &s->t.test, s->t.desc.loss, &s->on_test);
}

static interp_status stage_check(cli *c, void *user)
{
    run_state *s = (run_state *)user;
    (void)c;
    return interp_evaluate(s->t.model.net, &s->t.train, s->t.desc.loss, &s->on_train);
}

static int train_and_write(cli *c, run_state *s, train_outcome *outcome)
{
    static const cli_stage stages[] = {stage_train, stage_test, stage_check};
    char checkpoint[CLI_PATH];
    interp_train_desc *d = &s->t.desc;
    s->history = (interp_epoch *)interp_alloc(c->ctx, (size_t)d->epochs * sizeof *s->history);
    s->on_test.predicted =
        (int32_t *)interp_alloc(c->ctx, (size_t)s->t.test.n * sizeof *s->on_test.predicted);
    if (!s->history || !s->on_test.predicted) return cli_fail_ctx(c);
    d->history = s->history;
    d->on_epoch = on_epoch;
    d->user = s;
    if (cli_has(c, "--resume")) /* beside the results: it must outlive whatever ends this run */
        d->checkpoint = cli_path(checkpoint, c->folder, "checkpoint.safetensors");
    const interp_status status =
        cli_work(c, stages, 3, s, s->t.desc.batch > 1 ? " or a smaller --batch" : "");
    if (s->saved) return CLI_FAILED; /* and has been said */
    outcome->cancelled = status == INTERP_CANCELLED;
    outcome->epochs = s->done;
    if (outcome->cancelled) return s->done ? write_run(c, s) : CLI_DONE;
    if (status) return cli_fail_ctx(c);
    outcome->epochs = s->done = s->result.epochs; /* also when a checkpoint left nothing to do */
    outcome->peak_bytes = interp_memory_read(c->ctx).peak;
    outcome->train_accuracy = s->on_train.accuracy;
    outcome->val_accuracy = s->result.val_accuracy;
    outcome->test_accuracy = s->on_test.accuracy;
    outcome->test_loss = s->on_test.loss;
    outcome->seconds = s->result.seconds;
    int code = write_run(c, s);
    if (!code) code = write_confusion(c, &s->t.test, s->on_test.predicted, s->folder, NULL);
    interp_free(c->ctx, s->history);
    interp_free(c->ctx, s->on_test.predicted);
    return code;
}

int train_run(cli *c, const char *folder, train_outcome *outcome)
{
    run_state s;
    memset(&s, 0, sizeof s);
    s.c = c;
    s.folder = folder;
    const int code = cli_training_open(c, &s.t);
    return code ? code : train_and_write(c, &s, outcome);
}

static int print_json(const train_outcome *o)
{
    cli_text t = {NULL, 0, 0, false};
    const double figures[] = {o->train_accuracy, o->val_accuracy, o->test_accuracy, o->test_loss,
                              o->seconds};
    static const char *const keys[] = {"train_accuracy", "val_accuracy", "test_accuracy",
                                       "test_loss", "seconds"};
    cli_add(&t, "{");
    for (int i = 0; i < 5; i++) {
        cli_add(&t, "%s\"%s\":", i ? "," : "", keys[i]);
        cli_add_number(&t, figures[i], true);
    }
    cli_add(&t, ",\"epochs\":%d,\"peak_bytes\":%zu}\n", o->epochs, o->peak_bytes);
    return cli_text_print(&t);
}

static int run(cli *c)
{
    static const char *const stale[] = {"confusion.csv", "confusion.png",
                                        "confusion_normalized.csv",
                                        "tensorboard/events.out.tfevents.#.interp.#.#", NULL};
    train_outcome o;
    memset(&o, 0, sizeof o);
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = train_run(c, c->out, &o);
    if (code) return code;
    if (o.cancelled && !o.epochs)
        return cli_fail("train was cancelled before the first epoch was done: nothing is written");
    code = cli_commit(c, stale);
    if (code) return code;
    if (o.cancelled)
        return cli_fail("train was cancelled after %d epoch%s: the model, the best one and the "
                        "history so far are in %s",
                        o.epochs, o.epochs == 1 ? "" : "s", c->folder);
    cli_say(c, "test accuracy %.2f %%  (%d epochs, %.1f s); written to %s", 100 * o.test_accuracy,
            o.epochs, o.seconds, c->folder);
    return c->json ? print_json(&o) : CLI_DONE;
}

const cli_command cmd_train = {"train",
                               "--data DATA [--arch ARCH | --model FILE.onnx] -o RUN",
                               "trains a network; writes model.onnx, best.onnx, history, confusion",
                               0,
                               options,
                               run};

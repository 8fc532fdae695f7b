/* interp run: inference on arrays. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const cli_option options[] = {
    {"--input", "[NAME=]X", "array for an input, by name or in the model's order; may be repeated"},
    {"--preprocess", "HOW",
     "pictures to what the model knows: imagenet, or MEAN:SD, numbers or one for each channel"},
    {"--classify", NULL, "also write predictions.csv with the five likeliest classes"},
    {NULL, NULL, NULL}};

enum { MOST_ENDS = 64 };

/* The arrays of one run. */
typedef struct run_data {
    cli_model model;
    interp_net *net; /* of the model */
    interp_net_info info;
    cli_samples in[MOST_ENDS];
    size_t in_size[MOST_ENDS], out_size[MOST_ENDS]; /* numbers of one sample */
    float *out[MOST_ENDS];                          /* [n, sample] */
    int n;
    bool any_number;                    /* NaN and infinite numbers mean something to the network */
    int n_given, n_arrays;              /* --input: all, and those that are arrays */
    interp_onnx_input given[MOST_ENDS]; /* the arrays among them */
    interp_array array[MOST_ENDS];      /* of all, data NULL for pictures */
    const char *spec[MOST_ENDS];
    char name[MOST_ENDS][CLI_PATH];
} run_data;

/* NAME=X where there is no such file; else X alone. */
static const char *split_spec(const char *text, char name[CLI_PATH], bool *named)
{
    const char *equals = strchr(text, '=');
    *named = equals && access(text, F_OK) && (size_t)(equals - text) < CLI_PATH;
    if (!*named) return text;
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = 0;
    return equals + 1;
}

/* Reads what is given as arrays, before the model: shapes may depend on it. Pictures come later. */
static int read_given(cli *c, run_data *r)
{
    const char *text;
    for (int i = 0; (text = cli_get_nth(c, "--input", i)) != NULL; i++) {
        bool named;
        if (i == MOST_ENDS) return cli_fail("more than %d inputs", MOST_ENDS);
        r->spec[i] = split_spec(text, r->name[i], &named);
        if (named) r->given[i].name = r->name[i];
        r->n_given++;
        if (!cli_is_array(r->spec[i])) continue;
        if (interp_array_read(c->ctx, r->spec[i], &r->array[i])) return cli_fail_ctx(c);
        r->given[r->n_arrays].name = r->given[i].name;
        r->given[r->n_arrays++].array = &r->array[i];
    }
    return CLI_DONE;
}

/* Which of what was given is for input k of the network: by its name, else by its place; -1: none. */
static int given_for(const run_data *r, int k)
{
    const char *name = interp_net_input_name(r->net, k);
    for (int i = 0; i < r->n_given; i++)
        if (r->name[i][0] && !strcmp(r->name[i], name)) return i;
    const int place = interp_net_input_place(r->net, k);
    return place < r->n_given && !r->name[place][0] ? place : -1;
}

/* The whole of an array as the one sample of a network without a batch. */
static int take_whole(cli *c, run_data *r, int k, int i, const interp_shape *s)
{
    char have[128], want[128];
    bool last;
    if (!r->array[i].data) return cli_fail("%s: an array is wanted", r->spec[i]);
    if (interp_array_to_f32(c->ctx, &r->array[i])) return cli_fail_ctx(c);
    if (cli_channels_first(c, r->net, k, &r->array[i], &last)) return CLI_FAILED;
    bool same = s->rank == r->array[i].shape.rank;
    for (int d = 0; same && d < s->rank; d++) same = s->dim[d] == r->array[i].shape.dim[d];
    if (!same)
        return cli_fail("%s: its shape is %s but input \"%s\" has %s", r->spec[i],
                        cli_shape(&r->array[i].shape, have), interp_net_input_name(r->net, k),
                        cli_shape(s, want));
    const float *x = (const float *)r->array[i].data;
    for (size_t j = 0; j < interp_shape_size(s) && !r->any_number; j++)
        if (!isfinite(x[j])) return cli_fail("%s: it holds NaN or infinite numbers", r->spec[i]);
    r->in[k].x = r->array[i];
    r->in[k].n = 1;
    memset(&r->array[i], 0, sizeof r->array[i]);
    return CLI_DONE;
}

/* Some ops are there to deal with numbers that are none. */
static bool takes_any_number(const interp_net *net)
{
    const interp_net_info info = interp_net_describe(net);
    for (int i = 0; i < info.n_nodes; i++) {
        const char *op = interp_net_node_op(net, i);
        if (!strcmp(op, "IsNaN") || !strcmp(op, "IsInf")) return true;
    }
    return info.n_parameters == 0;
}

static int read_inputs(cli *c, run_data *r)
{
    for (int k = 0; k < r->info.n_inputs; k++) {
        const interp_shape s = interp_net_input_shape(r->net, k);
        const int i = given_for(r, k);
        if (i < 0)
            return cli_fail("input \"%s\" was not given; use --input %s=FILE",
                            interp_net_input_name(r->net, k), interp_net_input_name(r->net, k));
        const bool whole = interp_net_is_whole(r->net);
        if (whole ? take_whole(c, r, k, i, &s)
                  : cli_samples_read(c, r->spec[i], r->net, k, r->any_number, &r->in[k]))
            return CLI_FAILED;
        if (cli_is_image(&s) && cli_preprocess(c, &s, &r->in[k])) return CLI_FAILED;
        r->in_size[k] = interp_shape_size(&s);
        const int n = r->in[k].n;
        if (r->n && n != r->n)
            return cli_fail("--input %s: it has %d samples but another input has %d", r->spec[i], n,
                            r->n);
        r->n = n;
    }
    if (!r->info.n_inputs) r->n = 1;
    return CLI_DONE;
}

/* Outputs of `some` samples from `at` on. */
static interp_status take_outputs(cli *c, run_data *r, const interp_workspace *w, int at, int some)
{
    for (int k = 0; k < r->info.n_outputs; k++) {
        const float *y = interp_workspace_output(w, k);
        const size_t size = r->out_size[k], all = (size_t)some * size;
        for (size_t i = 0; i < all && !r->any_number; i++)
            if (!isfinite(y[i]))
                return interp_fail(c->ctx, INTERP_NOT_FINITE,
                                   "%s: its output \"%s\" for sample %zu is NaN or infinite: look "
                                   "for such or huge numbers in its weights",
                                   r->model.path, interp_net_output_name(r->net, k),
                                   (size_t)at + i / size);
        memcpy(r->out[k] + (size_t)at * size, y, all * sizeof *y);
    }
    return INTERP_OK;
}

/* Runs all samples batch by batch; the last one is filled up with repeats. */
static interp_status infer_all(cli *c, run_data *r, interp_workspace *w, float *const *piece,
                               int batch)
{
    const float *from[MOST_ENDS];
    for (int k = 0; k < r->info.n_inputs; k++) from[k] = piece[k];
    interp_status status = INTERP_OK;
    for (int at = 0; at < r->n && !status; at += batch) {
        const int some = r->n - at < batch ? r->n - at : batch;
        status = cli_progress(c, "run", at, r->n);
        if (status) break;
        for (int k = 0; k < r->info.n_inputs; k++)
            for (int i = 0; i < batch; i++) {
                const size_t size = r->in_size[k], row = (size_t)(at + (i < some ? i : some - 1));
                memcpy(piece[k] + (size_t)i * size, (const float *)r->in[k].x.data + row * size,
                       size * sizeof(float));
            }
        status = interp_forward(w, from);
        if (!status) status = take_outputs(c, r, w, at, some);
    }
    return status;
}

/* infer_all with a workspace and arrays of inputs for one batch. */
static interp_status infer_batches(cli *c, run_data *r, const interp_workspace_desc *d)
{
    interp_workspace *w = NULL;
    float *piece[MOST_ENDS];
    memset(piece, 0, sizeof piece);
    interp_status status = interp_workspace_new(c->ctx, r->net, d, &w);
    for (int k = 0; k < r->info.n_inputs && !status; k++) {
        piece[k] = (float *)interp_alloc(c->ctx, (size_t)d->batch * r->in_size[k] * sizeof(float));
        if (!piece[k]) status = INTERP_NO_MEMORY;
    }
    if (!status) status = infer_all(c, r, w, piece, d->batch);
    for (int k = 0; k < r->info.n_inputs; k++) interp_free(c->ctx, piece[k]);
    interp_workspace_free(w);
    return status;
}

/* The stage that memory limits: batches as large as fit. */
static interp_status infer(cli *c, void *user)
{
    run_data *r = (run_data *)user;
    interp_workspace_desc d;
    interp_status status = INTERP_NO_MEMORY;
    memset(&d, 0, sizeof d);
    for (int most = r->n < 64 ? r->n : 64; most && status == INTERP_NO_MEMORY; most = d.batch / 2) {
        d.batch = interp_workspace_fit(c->ctx, r->net, &d, most);
        if (!d.batch) return interp_last_status(c->ctx);
        status = infer_batches(c, r, &d);
        if (interp_net_fixed_batch(r->net)) break;
    }
    return status;
}

/* A file name of an output: every character but letters, digits, '.', '_' and '-' becomes '_'. */
static void file_name(const char *name, char out[256])
{
    int n = 0;
    for (; name[n] && n < 240; n++) {
        const unsigned char ch = (unsigned char)name[n];
        out[n] = isalnum(ch) || ch == '.' || ch == '_' || ch == '-' ? name[n] : '_';
    }
    memcpy(out + n, ".npy", 5);
}

/* Shape of all samples of output k. */
static interp_shape whole_shape(const run_data *r, int k)
{
    interp_shape s = interp_net_output_shape(r->net, k);
    if (interp_net_is_whole(r->net)) return s;
    for (int i = s.rank; i > 0; i--) s.dim[i] = s.dim[i - 1];
    s.dim[0] = r->n;
    s.rank++;
    return s;
}

/* The five likeliest of a row; probabilities by softmax unless the row sums to 1 already. Returns the
   first of them. */
static int add_row(cli_text *t, int sample, const float *y, int k)
{
    int top[5] = {0};
    double total = 0, norm = 0, lowest = 0, largest = (double)y[0];
    for (int i = 0; i < k; i++) {
        total += (double)y[i];
        lowest = fmin(lowest, (double)y[i]);
        largest = fmax(largest, (double)y[i]);
    }
    const bool ready = lowest >= 0 && fabs(total - 1) < 1e-3;
    for (int i = 0; i < k; i++) norm += exp((double)y[i] - largest);
    const int some = k < 5 ? k : 5;
    for (int n = 0; n < some; n++) {
        top[n] = -1;
        for (int i = 0; i < k; i++) {
            bool taken = false;
            for (int m = 0; m < n; m++) taken |= top[m] == i;
            if (!taken && (top[n] < 0 || y[i] > y[top[n]])) top[n] = i;
        }
    }
    cli_add(t, "%d,%d,", sample, top[0]);
    for (int n = 0; n < some; n++) {
        const double p = ready ? (double)y[top[n]] : exp((double)y[top[n]] - largest) / norm;
        if (n == 0) cli_add(t, "%.6g,", p);
        cli_add(t, "%s%d:%.6g", n ? " " : "", top[n], p);
    }
    return top[0];
}

/* predictions.csv; names of classes and files follow where there are some. */
static int write_predictions(const run_data *r, const char *path)
{
    char *const *classes = r->model.classes, *const *files = r->in[0].files;
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "sample,class,probability,top5%s%s\n", classes ? ",name" : "",
            files ? ",file" : "");
    for (int i = 0; i < r->n; i++) {
        const int top = add_row(&t, i, r->out[0] + (size_t)i * r->out_size[0], (int)r->out_size[0]);
        if (classes) cli_add(&t, ","), cli_add_csv(&t, classes[top]);
        if (files) cli_add(&t, ","), cli_add_csv(&t, files[i]);
        cli_add(&t, "\n");
    }
    return cli_text_write(&t, path);
}

static int write_outputs(cli *c, run_data *r)
{
    char path[CLI_PATH], name[256];
    if (cli_has(c, "--classify") && write_predictions(r, cli_path(path, c->out, "predictions.csv")))
        return CLI_FAILED;
    for (int k = 0; k < r->info.n_outputs; k++) {
        const interp_shape s = whole_shape(r, k);
        file_name(interp_net_output_name(r->net, k), name);
        interp_array array;
        array.data = r->out[k];
        array.dtype = INTERP_FLOAT32;
        array.shape = s;
        if (interp_array_cast(c->ctx, &array, interp_net_output_dtype(r->net, k)))
            return cli_fail_ctx(c);
        const interp_status status = interp_npy_write(c->ctx, cli_path(path, c->out, name), &array);
        if (status) return cli_fail_ctx(c);
    }
    return CLI_DONE;
}

static int print_json(const run_data *r)
{
    char name[256];
    cli_text t = {NULL, 0, 0, false};
    cli_add(&t, "{\"samples\":%d,\"outputs\":[", r->n);
    for (int k = 0; k < r->info.n_outputs; k++) {
        const interp_shape s = whole_shape(r, k);
        file_name(interp_net_output_name(r->net, k), name);
        cli_add(&t, "%s{\"name\":", k ? "," : "");
        cli_add_json(&t, interp_net_output_name(r->net, k));
        cli_add(&t, ",\"shape\":[");
        for (int i = 0; i < s.rank; i++) cli_add(&t, "%s%d", i ? "," : "", s.dim[i]);
        cli_add(&t, "],\"file\":");
        cli_add_json(&t, name);
        cli_add(&t, "}");
    }
    cli_add(&t, "]}\n");
    return cli_text_print(&t);
}

/* Inference and what it writes, with the model and its arrays at hand. */
static int run_model(cli *c, run_data *r)
{
    static const char *const stale[] = {"predictions.csv", NULL};
    static const cli_stage stages[] = {infer};
    r->net = r->model.net;
    r->info = interp_net_describe(r->net);
    r->any_number = takes_any_number(r->net);
    if (read_inputs(c, r)) return CLI_FAILED;
    for (int k = 0; k < r->info.n_outputs; k++) {
        const interp_shape s = interp_net_output_shape(r->net, k);
        r->out_size[k] = interp_shape_size(&s);
        r->out[k] =
            (float *)interp_alloc(c->ctx, ((size_t)r->n * r->out_size[k] + 1) * sizeof(float));
        if (!r->out[k]) return cli_fail_ctx(c);
    }
    if (cli_work(c, stages, 1, r, "")) return cli_fail_model(c, &r->model);
    int code = write_outputs(c, r);
    if (!code) code = cli_commit(c, stale);
    if (code) return code;
    cli_say(c, "%d sample%s; written to %s", r->n, r->n == 1 ? "" : "s", c->folder);
    return c->json ? print_json(r) : CLI_DONE;
}

static int run(cli *c)
{
    run_data *data = (run_data *)interp_alloc(c->ctx, sizeof *data);
    if (!data) return cli_fail_ctx(c);
    memset(data, 0, sizeof *data);
    int code = cli_begin(c, cli_get(c, "-o"));
    if (!code) code = read_given(c, data);
    interp_onnx_load_desc known;
    memset(&known, 0, sizeof known);
    known.n_inputs = data->n_arrays, known.inputs = data->given;
    known.channels_first = true;
    if (!code) code = cli_model_load(c, c->positional[0], &known, &data->model);
    if (!code) code = run_model(c, data);
    return code;
}

const cli_command cmd_run = {
    "run", "MODEL.onnx --input [NAME=]X ... -o DIR", "runs a model on arrays", 1, options, run};

/* interp run: inference on arrays. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const cli_option options[] = {
    {"--input", "[NAME=]X", "array for an input, by name or in the model's order; may be repeated"},
    {"--classify", NULL, "also write predictions.csv with the five likeliest classes"},
    {NULL, NULL, NULL}};

enum { MOST_ENDS = 64 };

/* The arrays of one run. */
typedef struct run_data {
    interp_net *net;
    interp_net_info info;
    interp_array in[MOST_ENDS];
    size_t in_size[MOST_ENDS], out_size[MOST_ENDS]; /* numbers of one sample */
    float *out[MOST_ENDS];                          /* [n, sample] */
    int n;
} run_data;

/* Which input an --input is for: by NAME= if that is one, else the i-th. */
static int input_index(const run_data *r, const char *text, int i, const char **spec)
{
    const char *equals = strchr(text, '=');
    *spec = text;
    if (!equals) return i;
    for (int k = 0; k < r->info.n_inputs; k++) {
        const char *name = interp_net_input_name(r->net, k);
        if (strlen(name) == (size_t)(equals - text) && !strncmp(name, text, strlen(name))) {
            *spec = equals + 1;
            return k;
        }
    }
    return i;
}

static int read_inputs(cli *c, run_data *r)
{
    const char *text;
    for (int i = 0; (text = cli_get_nth(c, "--input", i)) != NULL; i++) {
        const char *spec;
        const int k = input_index(r, text, i, &spec);
        if (k >= r->info.n_inputs)
            return cli_fail("--input %s: the model has %d input%s", text, r->info.n_inputs,
                            r->info.n_inputs == 1 ? "" : "s");
        if (r->in[k].data) return cli_fail("--input %s: that input was given already", text);
        if (cli_array(c, spec, &r->in[k])) return CLI_FAILED;
        const interp_shape s = interp_net_input_shape(r->net, k);
        const int n = cli_samples(spec, &r->in[k], &s);
        if (n < 0) return CLI_FAILED;
        if (r->n && n != r->n)
            return cli_fail("--input %s: it has %d samples but another input has %d", spec, n,
                            r->n);
        r->n = n;
        r->in_size[k] = interp_shape_size(&s);
    }
    for (int k = 0; k < r->info.n_inputs; k++)
        if (!r->in[k].data)
            return cli_fail("input \"%s\" was not given; use --input %s=FILE",
                            interp_net_input_name(r->net, k), interp_net_input_name(r->net, k));
    return CLI_DONE;
}

/* Runs all samples in pieces that fit the memory limit; the last piece is filled up with repeats. */
static int infer(cli *c, run_data *r)
{
    interp_workspace_desc d;
    interp_workspace *w;
    float *piece[MOST_ENDS];
    const float *from[MOST_ENDS];
    memset(&d, 0, sizeof d);
    for (int k = 0; k < r->info.n_outputs; k++) {
        const interp_shape s = interp_net_output_shape(r->net, k);
        r->out_size[k] = interp_shape_size(&s);
        r->out[k] = (float *)interp_alloc(c->ctx, (size_t)r->n * r->out_size[k] * sizeof(float));
        if (!r->out[k]) return cli_fail_ctx(c);
    }
    cli_limit_memory(c);
    d.batch = interp_workspace_fit(c->ctx, r->net, &d, r->n < 64 ? r->n : 64);
    if (!d.batch || interp_workspace_new(c->ctx, r->net, &d, &w)) return cli_fail_ctx(c);
    interp_memory_set_limit(c->ctx, 0);
    for (int k = 0; k < r->info.n_inputs; k++) {
        piece[k] = (float *)interp_alloc(c->ctx, (size_t)d.batch * r->in_size[k] * sizeof(float));
        if (!piece[k]) return cli_fail_ctx(c);
        from[k] = piece[k];
    }
    for (int at = 0; at < r->n; at += d.batch) {
        const int some = r->n - at < d.batch ? r->n - at : d.batch;
        for (int k = 0; k < r->info.n_inputs; k++)
            for (int i = 0; i < d.batch; i++) {
                const size_t row = (size_t)(at + (i < some ? i : some - 1));
                memcpy(piece[k] + (size_t)i * r->in_size[k],
                       (const float *)r->in[k].data + row * r->in_size[k],
                       r->in_size[k] * sizeof(float));
            }
        if (interp_forward(w, from)) return cli_fail_ctx(c);
        for (int k = 0; k < r->info.n_outputs; k++)
            memcpy(r->out[k] + (size_t)at * r->out_size[k], interp_workspace_output(w, k),
                   (size_t)some * r->out_size[k] * sizeof(float));
    }
    interp_workspace_free(w);
    return CLI_DONE;
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
    for (int i = s.rank; i > 0; i--) s.dim[i] = s.dim[i - 1];
    s.dim[0] = r->n;
    s.rank++;
    return s;
}

/* The five likeliest of a row; probabilities by softmax unless the row sums to 1 already. */
static void add_row(cli_text *t, int sample, const float *y, int k)
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
    cli_add(t, "\n");
}

static int write_outputs(cli *c, run_data *r, const char *folder)
{
    char path[1024], name[256];
    int code = cli_make_folder(folder);
    for (int k = 0; k < r->info.n_outputs && !code; k++) {
        const interp_shape s = whole_shape(r, k);
        file_name(interp_net_output_name(r->net, k), name);
        if (interp_npy_write_f32(c->ctx, cli_path(path, folder, name), r->out[k], &s))
            code = cli_fail_ctx(c);
    }
    if (!code && cli_has(c, "--classify")) {
        cli_text t = {NULL, 0, 0, false};
        cli_add(&t, "sample,class,probability,top5\n");
        for (int i = 0; i < r->n; i++)
            add_row(&t, i, r->out[0] + (size_t)i * r->out_size[0], (int)r->out_size[0]);
        code = cli_text_write(&t, cli_path(path, folder, "predictions.csv"));
    }
    if (code || !c->json) return code;
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

static int run(cli *c)
{
    run_data r;
    const char *folder = cli_get(c, "-o");
    if (!folder) return cli_usage("run: -o DIR is missing: the folder for the outputs");
    memset(&r, 0, sizeof r);
    if (interp_onnx_load(c->ctx, c->positional[0], &r.net)) return cli_fail_ctx(c);
    r.info = interp_net_describe(r.net);
    int code = read_inputs(c, &r);
    if (!code) code = infer(c, &r);
    if (!code) code = write_outputs(c, &r, folder);
    if (!code) cli_say(c, "%d sample%s; written to %s", r.n, r.n == 1 ? "" : "s", folder);
    return code;
}

const cli_command cmd_run = {
    "run", "MODEL.onnx --input [NAME=]X ... -o DIR", "runs a model on arrays", 1, options, run};

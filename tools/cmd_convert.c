/* interp convert: a model in another form, its weights in fewer bytes. */
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const cli_option options[] = {
    {"--float16", NULL, "keep weights as float16 (.onnx, .h)"},
    {"--int8", NULL, "keep weights as int8, a scale for each output channel (.onnx, .h)"},
    {"--data", "DATA", "measure the accuracy before and after on its test part"},
    {NULL, NULL, NULL}};

/* What is known of a conversion. */
typedef struct conversion {
    const cli_model *model;
    const char *path;
    interp_storage storage;
    interp_storage_report report;
    interp_dataset test;
    interp_evaluation evaluation;
    double before, after; /* accuracies; NaN without data */
    size_t bytes;         /* of the file */
} conversion;

/* ---- C arrays */

/* A name in C after the file, without folder and ending. */
static void c_name(const char *path, char out[64])
{
    const char *slash = strrchr(path, '/'), *from = slash ? slash + 1 : path;
    int n = isdigit((unsigned char)*from) ? snprintf(out, 64, "model_") : 0;
    for (; *from && *from != '.' && n < 63; from++)
        out[n++] = isalnum((unsigned char)*from) ? *from : '_';
    out[n] = 0;
    if (!n) snprintf(out, 64, "model");
}

static void add_usage(cli_text *t, const conversion *v, const char *name, size_t n)
{
    char in[128], out[128];
    const interp_shape x = interp_net_input_shape(v->model->net, 0);
    const interp_shape y = interp_net_output_shape(v->model->net, 0);
    const char *slash = strrchr(v->path, '/');
    cli_add(
        t,
        "/* %s: a network as ONNX, %zu bytes, to be kept in flash. One sample is %s, its output "
        "%s.\n\n"
        "       #include \"interp.h\"\n"
        "       #include \"%s\"\n\n"
        "       interp_net *net = NULL;\n"
        "       interp_onnx_load_desc how = {0};\n"
        "       how.in_place = true;\n%s"
        "       if (interp_onnx_parse(ctx, %s, sizeof %s, &how, &net)) puts(interp_error(ctx));\n\n"
        "   The numbers of every parameter begin at a multiple of 64 bytes and are used there; "
        "NULL\n   instead of &how copies them to a network that can be trained. */\n"
        "#if defined(__cplusplus)\nalignas(64)\n#else\n_Alignas(64)\n#endif\n"
        "static const unsigned char %s[%zu] = {",
        name, n, cli_shape(&x, in), cli_shape(&y, out), slash ? slash + 1 : v->path,
        interp_net_input_is_turned(v->model->net, 0) ? "       how.channels_first = true;\n" : "",
        name, name, name, n);
}

static int write_array(const conversion *v, const unsigned char *bytes, size_t n)
{
    enum { per_line = 24, digits = 4 };
    cli_text head = {NULL, 0, 0, false};
    char name[64];
    c_name(v->path, name);
    add_usage(&head, v, name, n);
    char *text = head.failed ? NULL : (char *)malloc(head.n + n * digits + n / per_line + 16);
    if (!text) {
        free(head.data);
        return cli_fail("%s: out of memory", v->path);
    }
    memcpy(text, head.data, head.n);
    char *at = text + head.n;
    for (size_t i = 0; i < n; i++) {
        const unsigned b = bytes[i];
        if (i % per_line == 0) *at++ = '\n';
        if (b > 99) *at++ = (char)('0' + b / 100);
        if (b > 9) *at++ = (char)('0' + b / 10 % 10);
        *at++ = (char)('0' + b % 10);
        *at++ = ',';
    }
    memcpy(at, "\n};\n", 4);
    const int code = cli_write(v->path, text, (size_t)(at + 4 - text));
    free(head.data);
    free(text);
    return code;
}

/* ---- the work */

static interp_status stage_evaluate(cli *c, void *user)
{
    conversion *v = (conversion *)user;
    (void)c;
    return interp_evaluate(v->model->net, &v->test, INTERP_CROSS_ENTROPY, &v->evaluation);
}

static int measure(cli *c, conversion *v, double *accuracy)
{
    static const cli_stage stages[] = {stage_evaluate};
    if (!v->test.n) return CLI_DONE;
    if (cli_work(c, stages, 1, v, "")) return cli_fail_model(c, v->model);
    *accuracy = v->evaluation.accuracy;
    return CLI_DONE;
}

static int round_weights(cli *c, conversion *v)
{
    int code = measure(c, v, &v->before);
    if (!code && interp_weights_round(v->model->net, v->storage, &v->report))
        code = cli_fail_ctx(c);
    if (!code) code = measure(c, v, &v->after);
    return code;
}

static int write_model(cli *c, const conversion *v, bool as_array)
{
    const cli_model *m = v->model;
    interp_onnx_save_desc d;
    void *bytes = NULL;
    size_t n = 0;
    memset(&d, 0, sizeof d);
    d.storage = v->storage;
    d.align = as_array;
    int code = cli_model_bytes(c, m->net, &d, m->classes, m->n_classes, &bytes, &n);
    if (code) return code;
    code =
        as_array ? write_array(v, (const unsigned char *)bytes, n) : cli_write(v->path, bytes, n);
    interp_free(c->ctx, bytes);
    return code;
}

static int report(const cli *c, const conversion *v)
{
    static const char *const names[] = {"float32", "float16", "int8"};
    const interp_storage_report *r = &v->report;
    cli_text t = {NULL, 0, 0, false};
    if (c->json) {
        cli_add(&t, "{\"file\":");
        cli_add_json(&t, v->path);
        cli_add(&t, ",\"storage\":\"%s\",\"arrays\":%d,\"weights\":%zu,\"largest_error\":",
                names[v->storage], r->n_arrays, r->n_weights);
        cli_add_number(&t, r->largest, true);
        cli_add(&t, ",\"rms_error\":");
        cli_add_number(&t, r->rms, true);
        cli_add(&t, ",\"samples\":%d,\"accuracy_before\":", v->test.n);
        cli_add_number(&t, v->before, true);
        cli_add(&t, ",\"accuracy_after\":");
        cli_add_number(&t, v->after, true);
        cli_add(&t, "}\n");
        return cli_text_print(&t);
    }
    cli_say(c, "%s: written", v->path);
    if (!v->storage) return CLI_DONE;
    cli_add(&t,
            "%s: %zu weights in %d arrays; largest change %.3g %% of the largest weight of its "
            "array, rms %.3g %%\n",
            names[v->storage], r->n_weights, r->n_arrays, 100 * r->largest, 100 * r->rms);
    if (v->test.n)
        cli_add(&t, "accuracy on %d samples: %.2f %% before, %.2f %% after\n", v->test.n,
                100 * v->before, 100 * v->after);
    return cli_text_print(&t);
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), k = strlen(end);
    return n > k && !strcmp(text + n - k, end);
}

static int run(cli *c)
{
    cli_model model;
    conversion v;
    const char *data = cli_get(c, "--data");
    memset(&v, 0, sizeof v);
    v.model = &model;
    v.path = cli_get(c, "-o");
    v.before = v.after = (double)NAN;
    if (!v.path) return cli_usage("convert: -o FILE is missing");
    const bool as_array = ends_with(v.path, ".h"), onnx = ends_with(v.path, ".onnx");
    const bool weights = ends_with(v.path, ".safetensors") || ends_with(v.path, ".npz");
    if (!as_array && !onnx && !weights)
        return cli_usage("-o %s: end the name with .onnx, .h, .safetensors or .npz", v.path);
    if (cli_has(c, "--float16")) v.storage = INTERP_STORE_FLOAT16;
    if (cli_has(c, "--int8")) v.storage = INTERP_STORE_INT8;
    if (cli_has(c, "--float16") && cli_has(c, "--int8"))
        return cli_usage("--float16 and --int8 exclude each other");
    if (v.storage && weights)
        return cli_usage("%s: weights in fewer bytes go into .onnx and .h", v.path);
    if (data && !v.storage)
        return cli_usage("--data measures what --float16 or --int8 lose; give one of them");
    int code = cli_model_load(c, c->positional[0], NULL, &model);
    interp_dataset train;
    if (!code && data) code = cli_data(c, data, &train, &v.test);
    if (!code && data) code = cli_data_fit(c, data, &model, &train, &v.test);
    if (!code && data && !v.test.y) code = cli_fail("%s: it has no labels to measure with", data);
    if (!code && v.storage) code = round_weights(c, &v);
    if (!code && !weights) code = write_model(c, &v, as_array);
    if (!code && weights && interp_weights_save(model.net, v.path)) code = cli_fail_ctx(c);
    return code ? code : report(c, &v);
}

const cli_command cmd_convert = {
    "convert",
    "MODEL.onnx -o FILE.(onnx|safetensors|npz|h)",
    "a model as ONNX or C array, its weights as arrays or in fewer bytes",
    1,
    options,
    run};

/* ONNX's own conformance tests: runs every test_NAME/model.onnx of the folders given on its stored
   inputs and compares with its stored outputs. Prints the score by operator.

       conformance [-v] EXPECTED FOLDER...

   Every model is also written by us, read again and run again.

   EXPECTED lists the tests that are not passed, one "NAME reason" a line; that a test fails which is
   not in it, or that one in it passes, is a failure. -v shows why each test fails. */
#define INTERP_IMPLEMENTATION
#include "interp.h"

#include <dirent.h>
#include <sys/stat.h>

#define RELATIVE 1e-3 /* as the conformance tests of other runtimes have it */
#define ABSOLUTE 1e-5
#define MOST     64 /* inputs and outputs */

typedef struct score {
    char op[64];
    int passed, all;
} score;

static score scores[512];
static int n_scores;

static void count(const char *op, bool passed)
{
    int i = 0;
    while (i < n_scores && strcmp(scores[i].op, op)) i++;
    if (i == n_scores && n_scores < 511) snprintf(scores[n_scores++].op, 64, "%s", op);
    scores[i].passed += passed;
    scores[i].all++;
}

/* A TensorProto of a file; data NULL when there is none or it is of a type we do not read. */
static interp_status read_tensor(interp_ctx *ctx, const char *path, interp_array *out)
{
    itp_onnx r;
    itp_onnx_tensor t;
    itp_slice all, name;
    char *bytes;
    size_t n;
    memset(out, 0, sizeof *out);
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    all.at = bytes, all.n = n;
    interp_status status = itp_onnx_read_tensor(&r, all, &name, &t);
    if (!status && !itp_onnx_type_row(t.type))
        status = interp_fail(ctx, INTERP_UNSUPPORTED, "element type %d", t.type);
    if (!status) status = itp_array_new(ctx, INTERP_FLOAT64, &t.shape, out);
    if (!status) {
        itp_onnx_reals(&t, (double *)out->data);
        status = interp_array_cast(ctx, out, itp_onnx_type_row(t.type)->dtype);
    }
    interp_free(ctx, bytes);
    return status;
}

/* The operator of the first node, or NULL. */
static void first_op(interp_ctx *ctx, const char *path, char out[64])
{
    itp_onnx r;
    itp_slice all;
    char *bytes;
    size_t n;
    strcpy(out, "?");
    memset(&r, 0, sizeof r);
    r.ctx = ctx;
    if (itp_file_read(ctx, path, &bytes, &n)) return;
    all.at = bytes, all.n = n;
    r.node_name = itp_buf_new(ctx);
    r.value_name = itp_buf_new(ctx);
    (void)itp_onnx_read_model(&r, all);
    if (r.n_nodes) snprintf(out, 64, "%.*s", ITP_SHOW(r.nodes[0].op));
    itp_onnx_free(&r);
    interp_free(ctx, bytes);
}

static bool near_to(double got, double want)
{
    if (got != got || want != want) return got != got && want != want;
    return got == want || fabs(got - want) <= ABSOLUTE + RELATIVE * fabs(want);
}

/* Compares output i with its file. */
static interp_status compare(interp_ctx *ctx, const interp_workspace *w, const interp_net *net,
                             int i, const char *path)
{
    interp_array want;
    ITP_TRY(read_tensor(ctx, path, &want));
    const size_t n = interp_shape_size(&want.shape);
    const interp_shape *shape = &w->shape[net->outputs[i]];
    const float *got = interp_workspace_output(w, i);
    interp_status status = INTERP_OK;
    bool same = shape->rank == want.shape.rank;
    for (int d = 0; same && d < shape->rank; d++) same = shape->dim[d] == want.shape.dim[d];
    char a[96], b[96];
    if (!same)
        status = interp_fail(ctx, INTERP_BAD_SHAPE, "output %d is %s, want %s", i,
                             itp_shape_text(shape, a, sizeof a),
                             itp_shape_text(&want.shape, b, sizeof b));
    if (!status && net->values[net->outputs[i]].dtype != want.dtype)
        status = interp_fail(ctx, INTERP_FORMAT, "output %d is of type %s, want %s", i,
                             interp_dtype_name(net->values[net->outputs[i]].dtype),
                             interp_dtype_name(want.dtype));
    interp_array made = itp_array_none();
    if (!status) status = itp_array_new(ctx, INTERP_FLOAT32, shape, &made);
    if (!status && n) memcpy(made.data, got, n * sizeof *got);
    if (!status) status = interp_array_cast(ctx, &made, want.dtype);
    for (size_t j = 0; j < n && !status; j++)
        if (!near_to(itp_array_at(&made, j), itp_array_at(&want, j)))
            status = interp_fail(ctx, INTERP_FORMAT, "output %d number %zu is %g, want %g", i, j,
                                 itp_array_at(&made, j), itp_array_at(&want, j));
    interp_array_free(ctx, &made);
    interp_array_free(ctx, &want);
    return status;
}

/* Runs a network on the stored inputs and compares all outputs. */
static interp_status run_net(interp_ctx *ctx, const char *folder, interp_net *net,
                             interp_array *const *arrays)
{
    interp_workspace *w = NULL;
    const float *in[MOST];
    char path[1024];
    interp_workspace_desc d;
    memset(&d, 0, sizeof d);
    interp_status status = INTERP_OK;
    for (int i = 0; i < net->n_inputs && !status; i++) {
        status = interp_array_to_f32(ctx, arrays[i]);
        in[i] = (const float *)arrays[i]->data;
        if (!net->whole) d.batch = arrays[i]->shape.rank ? arrays[i]->shape.dim[0] : 1;
    }
    if (!status) status = interp_workspace_new(ctx, net, &d, &w);
    if (!status) status = interp_forward(w, in);
    for (int i = 0; i < net->n_outputs && !status; i++) {
        snprintf(path, sizeof path, "%s/test_data_set_0/output_%d.pb", folder, i);
        status = compare(ctx, w, net, i, path);
    }
    interp_workspace_free(w);
    return status;
}

/* The same with what interp_onnx_serialize makes of the network. */
static interp_status run_written(interp_ctx *ctx, const char *folder, const interp_net *net,
                                 interp_array *const *arrays)
{
    interp_net *back = NULL;
    void *bytes = NULL;
    size_t n;
    interp_onnx_input given[MOST];
    interp_onnx_load_desc desc;
    memset(&desc, 0, sizeof desc);
    memset(given, 0, sizeof given);
    for (int i = 0; i < net->n_inputs; i++) given[i].array = arrays[i];
    desc.n_inputs = net->n_inputs, desc.inputs = given;
    ITP_TRY(interp_onnx_serialize(net, &bytes, &n));
    interp_status status = interp_onnx_parse(ctx, bytes, n, &desc, &back);
    interp_free(ctx, bytes);
    if (!status && back->n_inputs != net->n_inputs)
        status =
            interp_fail(ctx, INTERP_FORMAT, "%d inputs became %d", net->n_inputs, back->n_inputs);
    if (!status) status = run_net(ctx, folder, back, arrays);
    interp_net_free(back);
    if (status) return interp_fail(ctx, status, "written again: %s", ctx->error);
    return INTERP_OK;
}

static interp_status run_model(interp_ctx *ctx, const char *folder, interp_array *arrays, int n)
{
    interp_onnx_input given[MOST];
    interp_array *used[MOST];
    interp_onnx_load_desc desc;
    memset(&desc, 0, sizeof desc);
    interp_net *net = NULL;
    char path[1024];
    memset(given, 0, sizeof given);
    for (int i = 0; i < n; i++) given[i].array = &arrays[i];
    desc.n_inputs = n, desc.inputs = given;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    ITP_TRY(interp_onnx_load(ctx, path, &desc, &net));
    for (int i = 0; i < net->n_inputs; i++) used[i] = &arrays[net->input_place[i]];
    interp_status status = run_net(ctx, folder, net, used);
    if (!status) status = run_written(ctx, folder, net, used);
    interp_net_free(net);
    return status;
}

static interp_status run_test(interp_ctx *ctx, const char *folder)
{
    interp_array arrays[MOST];
    char path[1024];
    struct stat info;
    int n = 0;
    interp_status status = INTERP_OK;
    for (; n < MOST && !status; n++) {
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", folder, n);
        if (stat(path, &info)) break;
        status = read_tensor(ctx, path, &arrays[n]);
    }
    if (!status) status = run_model(ctx, folder, arrays, n);
    for (int i = 0; i < n; i++) interp_array_free(ctx, &arrays[i]);
    return status;
}

/* Whether `name` begins a line of the list. */
static bool is_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = list; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL)
        if (!strncmp(at, name, n) && (at[n] == ' ' || at[n] == '\n')) return true;
    return false;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    const bool verbose = argc > 1 && !strcmp(argv[1], "-v");
    argv += verbose, argc -= verbose;
    if (argc < 3) {
        fprintf(stderr, "usage: conformance [-v] EXPECTED FOLDER...\n");
        return 2;
    }
    int passed = 0, failed = 0, skipped = 0;
    interp_ctx *ctx = interp_open(NULL);
    char *list = NULL;
    size_t size;
    char *bytes = NULL;
    if (!ctx || itp_file_read(ctx, argv[1], &bytes, &size)) return 2;
    list = (char *)calloc(size + 1, 1);
    if (!list) return 2;
    memcpy(list, bytes, size);
    interp_free(ctx, bytes);
    for (int k = 2; k < argc; k++) {
        static char *names[4096];
        int n = 0;
        DIR *dir = opendir(argv[k]);
        const struct dirent *entry;
        while (dir && (entry = readdir(dir)) != NULL && n < 4096)
            if (!strncmp(entry->d_name, "test_", 5)) names[n++] = strdup(entry->d_name);
        if (dir) closedir(dir);
        qsort(names, (size_t)n, sizeof *names, compare_names);
        for (int i = 0; i < n; i++) {
            char folder[512], op[64], path[600];
            snprintf(folder, sizeof folder, "%s/%s", argv[k], names[i]);
            snprintf(path, sizeof path, "%s/model.onnx", folder);
            first_op(ctx, path, op);
            const interp_status status = run_test(ctx, folder);
            const bool listed = is_listed(list, names[i]);
            if (!listed) count(op, !status);
            if (!status && !listed) passed++;
            else if (status && listed) skipped++;
            else failed++;
            if (status && !listed) printf("FAILED %s: %s\n", names[i], interp_error(ctx));
            if (status && listed && verbose)
                printf("skipped %s: %s\n", names[i], interp_error(ctx));
            if (!status && listed) printf("FAILED %s: it passes, but is listed as not\n", names[i]);
            free(names[i]);
        }
    }
    for (int i = 0; i < n_scores; i++)
        printf("%s%s %d/%d",
               i % 6 ? ", "
               : i   ? ",\n"
                     : "",
               scores[i].op, scores[i].passed, scores[i].all);
    printf("\n%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    free(list);
    interp_close(ctx);
    return failed > 0;
}

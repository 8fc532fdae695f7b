/* Whole networks: answers questions of bench_nets.py, which runs this beside PyTorch and ONNX
   Runtime. One question a line on standard input, one line of answer:

     prepare NET TASK BATCH   "ok" and a few results, to compare; or "error" and a sentence
     run                      seconds of one step, from one sample of steps
     share                    of the machine's multiply-adds a second, in that sample; 0: not known
     onnx FILE, weights FILE  writes the network that is prepared; "ok"
     images FILE              takes inputs from it, a byte each, instead of made ones; "-": no more; "ok"

   NET: lenet5, or a name of interp_net_arch. TASK: forward; saliency (forward and backward to the
   input); train (forward, backward, SGD update); attr.METHOD (interp_attribute, all of a call); lca (loss
   change allocation of one step, by Simpson's rule: two gradients of all of BATCH samples).

     build/bench_nets [--threads N] [--isa NAME] [--by-hand]

   --by-hand: no network of ours but the training loop of the MLP 784-100-50-10 as one writes it on
   OpenBLAS. */
#include "measure.h"

#include "rivals.h"

#define SAMPLE_SECONDS 30e-3
#define LEARNING_RATE  1e-3f
#define PACKED         ((size_t)256 << 20) /* bytes, but of integrals, which shall hold below 100 MB */

enum { SHOWN = 5, TARGET_CLASS = 3 };
/* Pixels: of occlusion, and of the tiles that are features; points of integrals; rows of kernel_shap. */
enum { WINDOW = 15, STRIDE = 8, TILE = 16, STEPS = 50, COALITIONS = 200 };

typedef enum task { FORWARD, SALIENCY, TRAIN, ATTRIBUTE, ALLOCATE } task;

/* What is prepared. */
typedef struct job {
    interp_ctx *ctx;
    interp_net *net;
    interp_workspace *workspace;
    interp_trainer *trainer;
    task task;
    int batch, classes;
    float *x, *seed;
    int32_t *y;
    double loss;
    interp_attribute_desc how;
    interp_attributor *attributor;
    float *attribution;
    int32_t *mask;
    struct by_hand *hand; /* NULL: ours */
    interp_lca *lca;
    interp_dataset data;
    interp_lca_step_info info;
    float *moves;      /* [parameters] of a step of lca, forth and back */
    char images[1024]; /* file; empty: none */
    long repeats;
    double seconds; /* of a step, in the last sample */
} job;

#define LCA_MOVE 1e-3f

/* ---- the loop by hand */

enum { LAYERS = 3, HAND_BATCH = 64, WIDEST = 784 };

static const int hand_width[LAYERS + 1] = {784, 100, 50, 10};

/* y = relu(x w + b) for w [in, out]; the last layer without relu. */
typedef struct by_hand {
    cblas_sgemm_fn gemm;
    float w[LAYERS][WIDEST * 100], b[LAYERS][100];
    float y[LAYERS][HAND_BATCH * 100], dy[LAYERS][HAND_BATCH * 100];
} by_hand;

static by_hand *hand_new(interp_ctx *ctx)
{
    by_hand *h = (by_hand *)bench_need(ctx, interp_alloc(ctx, sizeof *h));
    memset(h, 0, sizeof *h);
    rivals_environment(interp_isa(ctx), interp_threads(ctx));
    if (!rival_symbol(dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL), "cblas_sgemm", &h->gemm)) {
        interp_free(ctx, h);
        return NULL;
    }
    for (int l = 0; l < LAYERS; l++)
        for (int i = 0; i < hand_width[l] * hand_width[l + 1]; i++)
            h->w[l][i] = 0.05f * interp_random_normal(1, (uint64_t)l, (uint64_t)i);
    return h;
}

/* What gcc 12 does not do at -O2 by itself. */
#if defined(__clang__)
#define VECTORISED
#else
#define VECTORISED __attribute__((optimize("O3")))
#endif

/* dy of the logits; returns the mean loss. */
static double hand_loss(by_hand *h, const int32_t *label)
{
    const int classes = hand_width[LAYERS];
    double loss = 0;
    for (int n = 0; n < HAND_BATCH; n++) {
        const float *y = h->y[LAYERS - 1] + n * classes;
        float *dy = h->dy[LAYERS - 1] + n * classes, top = y[0], sum = 0;
        for (int k = 1; k < classes; k++) top = fmaxf(top, y[k]);
        for (int k = 0; k < classes; k++) sum += dy[k] = expf(y[k] - top);
        loss -= log(dy[label[n]] / sum);
        for (int k = 0; k < classes; k++)
            dy[k] = (dy[k] / sum - (float)(k == label[n])) / (float)HAND_BATCH;
    }
    return loss / HAND_BATCH;
}

VECTORISED static double hand_step(by_hand *h, const float *x, const int32_t *label)
{
    enum { row_major = 101, plain = 111, trans = 112 };
    for (int l = 0; l < LAYERS; l++) {
        const int in = hand_width[l], out = hand_width[l + 1];
        float *y = h->y[l];
        h->gemm(row_major, plain, plain, HAND_BATCH, out, in, 1, l ? h->y[l - 1] : x, in, h->w[l],
                out, 0, y, out);
        for (int n = 0; n < HAND_BATCH; n++)
            for (int k = 0; k < out; k++) {
                const float v = y[n * out + k] + h->b[l][k];
                y[n * out + k] = l + 1 < LAYERS && v < 0 ? 0 : v;
            }
    }
    const double loss = hand_loss(h, label);
    for (int l = LAYERS - 1; l >= 0; l--) {
        const int in = hand_width[l], out = hand_width[l + 1];
        const float *dy = h->dy[l], *from = l ? h->y[l - 1] : x;
        if (l) {
            float *dx = h->dy[l - 1];
            h->gemm(row_major, plain, trans, HAND_BATCH, in, out, 1, dy, out, h->w[l], out, 0, dx,
                    in);
            for (int i = 0; i < HAND_BATCH * in; i++) dx[i] = from[i] > 0 ? dx[i] : 0;
        }
        for (int n = 0; n < HAND_BATCH; n++)
            for (int k = 0; k < out; k++) h->b[l][k] -= LEARNING_RATE * dy[n * out + k];
        h->gemm(row_major, trans, plain, in, out, HAND_BATCH, -LEARNING_RATE, from, in, dy, out, 1,
                h->w[l], out);
    }
    return loss;
}

/* ---- ours */

/* LeCun et al. 1998 with rectifiers, as in everybody's tutorial; the "lenet" of interp_net_arch is
   a wider one. */
static interp_status lenet5_new(interp_ctx *ctx, interp_net **out)
{
    static const int channels[] = {6, 16}, pads[] = {2, 0}, units[] = {120, 84};
    const interp_shape sample = {3, {1, 28, 28, 1, 1, 1, 1, 1}};
    interp_net *net = interp_net_new(ctx, "lenet5");
    bench_need(ctx, net);
    interp_tensor x = interp_input(net, NULL, &sample);
    for (int i = 0; i < 2; i++) {
        interp_conv2d_desc d;
        memset(&d, 0, sizeof d);
        d.channels = channels[i], d.kernel[0] = 5;
        for (int j = 0; j < 4; j++) d.pad[j] = pads[i];
        x = interp_pool2d(net, interp_relu(net, interp_conv2d(net, x, &d)), NULL);
    }
    x = interp_flatten(net, x);
    for (int i = 0; i < 2; i++) x = interp_relu(net, interp_dense(net, x, units[i], NULL));
    interp_output(net, interp_dense(net, x, 10, NULL), "logits");
    *out = net;
    return interp_net_build(net, 1);
}

/* Bytes 0 to 255 of a file as numbers 0 to 1. */
static interp_status read_images(const job *j, size_t n)
{
    FILE *f = fopen(j->images, "rb");
    size_t i = 0;
    for (int c; f && i < n && (c = getc(f)) != EOF; i++) j->x[i] = (float)c / 255;
    if (f) fclose(f);
    return i == n ? INTERP_OK : interp_fail(j->ctx, INTERP_IO, "%s: not %zu bytes", j->images, n);
}

static interp_status job_build(job *j, const char *name)
{
    const bool small = !strncmp(name, "mlp:", 4) || !strcmp(name, "lenet5");
    const interp_shape sample = {
        3, {small ? 1 : 3, small ? 28 : 224, small ? 28 : 224, 1, 1, 1, 1, 1}};
    j->classes = small ? 10 : 1000;
    const size_t pixels = interp_shape_size(&sample) * (size_t)j->batch;
    j->x = (float *)bench_need(j->ctx, interp_alloc(j->ctx, pixels * sizeof *j->x));
    j->y = (int32_t *)bench_need(j->ctx, interp_alloc(j->ctx, (size_t)j->batch * sizeof *j->y));
    for (size_t i = 0; i < pixels; i++) j->x[i] = (float)(i * 7919 % 1009) / 1009 - 0.5f;
    for (int i = 0; i < j->batch; i++) j->y[i] = i % 10;
    if (*j->images) ITP_TRY(read_images(j, pixels));
    if (j->hand) return INTERP_OK;
    if (!strcmp(name, "lenet5")) return lenet5_new(j->ctx, &j->net);
    return interp_net_arch(j->ctx, name, &sample, j->classes, 1, &j->net);
}

/* The settings of worker_torch.py. */
static interp_status attribute_start(job *j)
{
    const interp_shape s = interp_net_input_shape(j->net, 0);
    const size_t size = interp_shape_size(&s);
    const int tiles = s.dim[2] / TILE;
    interp_attribute_desc *d = &j->how;
    d->target_kind = INTERP_TARGET_CLASS, d->target = TARGET_CLASS;
    d->keep_sign = true, d->n_steps = STEPS;
    if (d->method != INTERP_INTEGRATED_GRADIENTS) d->packed_bytes = PACKED;
    j->attribution = (float *)bench_need(
        j->ctx, interp_alloc(j->ctx, size * (size_t)j->batch * sizeof *j->attribution));
    if (d->method == INTERP_OCCLUSION) {
        d->window[0] = d->stride[0] = s.dim[0];
        d->window[1] = d->window[2] = WINDOW, d->stride[1] = d->stride[2] = STRIDE;
        return interp_attributor_new(j->net, j->batch, d, &j->attributor);
    }
    d->mask_shape = s, d->mask_shape.dim[0] = 1;
    d->n_samples = d->method == INTERP_KERNEL_SHAP ? COALITIONS : 1;
    j->mask = (int32_t *)bench_need(
        j->ctx, interp_alloc(j->ctx, interp_shape_size(&d->mask_shape) * sizeof *j->mask));
    for (int i = 0; i < s.dim[1] * s.dim[2]; i++)
        j->mask[i] = i / s.dim[2] / TILE * tiles + i % s.dim[2] / TILE;
    d->mask = j->mask;
    return interp_attributor_new(j->net, j->batch, d, &j->attributor);
}

static interp_status allocate_start(job *j)
{
    interp_lca_desc how;
    const size_t n = interp_net_describe(j->net).n_parameters;
    memset(&j->data, 0, sizeof j->data), memset(&how, 0, sizeof how);
    j->data.x = j->x, j->data.y = j->y, j->data.n = j->batch, j->data.n_classes = j->classes;
    j->data.shape = interp_net_input_shape(j->net, 0);
    how.max_splits = 2;
    j->moves = (float *)bench_need(j->ctx, interp_alloc(j->ctx, n * sizeof *j->moves));
    for (size_t i = 0; i < n; i++)
        j->moves[i] = LCA_MOVE * ((float)(i * 7919 % 1009) / 1009 - 0.5f);
    ITP_TRY(interp_lca_new(j->net, &j->data, &how, &j->lca));
    return interp_lca_begin(j->lca);
}

static interp_status allocate_step(job *j)
{
    float *p = interp_net_parameters(j->net);
    const size_t n = interp_net_describe(j->net).n_parameters;
    for (size_t i = 0; i < n; i++) p[i] += j->moves[i], j->moves[i] = -j->moves[i];
    return interp_lca_step(j->lca, &j->info);
}

/* Operations of a step: products with the weights forward, with what goes into a layer, and, but for
   the first, with what comes out of it, of two points. 0: not counted. */
static double job_flops(const job *j)
{
    if (!j->lca) return 0;
    const interp_net_info d = interp_net_describe(j->net);
    const interp_parameter_info first = interp_net_parameter(j->net, 0);
    return 2.0 * 2 * j->batch * (3 * d.macs - (double)interp_shape_size(&first.shape));
}

static interp_status job_start(job *j)
{
    if (j->hand) return INTERP_OK;
    if (j->task == ALLOCATE) return allocate_start(j);
    if (j->task == TRAIN) {
        interp_train_desc how;
        memset(&how, 0, sizeof how);
        how.batch = j->batch, how.optimizer = INTERP_SGD, how.lr = LEARNING_RATE;
        return interp_trainer_new(j->net, &how, 0, &j->trainer);
    }
    if (j->task == ATTRIBUTE) return attribute_start(j);
    interp_workspace_desc desc;
    const size_t outputs = (size_t)j->batch * (size_t)j->classes;
    memset(&desc, 0, sizeof desc);
    desc.batch = j->batch, desc.input_grads = j->task == SALIENCY;
    desc.constant_weights = true;
    j->seed = (float *)bench_need(j->ctx, interp_alloc(j->ctx, outputs * sizeof *j->seed));
    memset(j->seed, 0, outputs * sizeof *j->seed);
    for (int i = 0; i < j->batch; i++) j->seed[i * j->classes + TARGET_CLASS] = 1;
    return interp_workspace_new(j->ctx, j->net, &desc, &j->workspace);
}

static interp_status job_step(job *j)
{
    if (j->hand) {
        j->loss = hand_step(j->hand, j->x, j->y);
        return INTERP_OK;
    }
    if (j->task == TRAIN)
        return interp_trainer_step(j->trainer, j->x, j->y, NULL, j->batch, &j->loss, NULL);
    if (j->task == ATTRIBUTE)
        return interp_attributor_run(j->attributor, j->x, j->attribution, NULL);
    if (j->task == ALLOCATE) return allocate_step(j);
    const float *const inputs[] = {j->x};
    ITP_TRY(interp_forward(j->workspace, inputs));
    return j->task == SALIENCY ? interp_backward(j->workspace, j->seed) : INTERP_OK;
}

static void job_end(job *j)
{
    interp_lca_free(j->lca);
    interp_trainer_free(j->trainer);
    interp_workspace_free(j->workspace);
    interp_attributor_free(j->attributor);
    interp_net_free(j->net);
    interp_free(j->ctx, j->x);
    interp_free(j->ctx, j->y);
    interp_free(j->ctx, j->seed);
    interp_free(j->ctx, j->attribution);
    interp_free(j->ctx, j->mask);
    interp_free(j->ctx, j->moves);
    memset(&j->how, 0, sizeof j->how);
    j->attribution = NULL, j->mask = NULL, j->lca = NULL, j->moves = NULL;
    j->trainer = NULL, j->workspace = NULL, j->net = NULL, j->attributor = NULL;
    j->x = j->seed = NULL, j->y = NULL;
}

/* Seconds of each of `repeats` steps; negative after an error. */
static double job_sample(job *j)
{
    const int threads = interp_threads(j->ctx);
    const double start = bench_seconds(threads);
    for (long i = 0; i < j->repeats; i++)
        if (job_step(j)) return -1;
    j->seconds = (bench_seconds(threads) - start) / (double)j->repeats;
    return j->seconds;
}

/* ---- questions and answers */

static interp_status prepare(job *j, const char *name, const char *task)
{
    j->task = !strcmp(task, "forward")     ? FORWARD
              : !strcmp(task, "saliency")  ? SALIENCY
              : !strcmp(task, "lca")       ? ALLOCATE
              : !strncmp(task, "attr.", 5) ? ATTRIBUTE
                                           : TRAIN;
    if (j->task == ATTRIBUTE) {
        j->how.method = interp_method_from_name(task + 5);
        if (j->hand || j->how.method == INTERP_METHOD_COUNT)
            return interp_fail(j->ctx, INTERP_UNSUPPORTED, "no method %s", task + 5);
    }
    if (j->hand &&
        (j->task != TRAIN || j->batch != HAND_BATCH || strcmp(name, "mlp:784-100-50-10")))
        return interp_fail(j->ctx, INTERP_UNSUPPORTED, "by hand there is the MLP only");
    ITP_TRY(job_build(j, name));
    ITP_TRY(job_start(j));
    ITP_TRY(job_step(j));
    printf("ok");
    if (j->task == TRAIN) {
        printf(" %.9g", j->loss);
    } else if (j->task == ALLOCATE) { /* of the first and the last parameters, too */
        const size_t n = interp_net_describe(j->net).n_parameters;
        printf(" %.9g", j->info.allocated);
        for (size_t i = 0; i < SHOWN; i++)
            printf(" %.9g %.9g", j->info.lca[i], j->info.lca[n - 1 - i]);
    } else {
        const float *v = j->task == FORWARD    ? interp_workspace_output(j->workspace, 0)
                         : j->task == SALIENCY ? interp_workspace_input_grad(j->workspace, 0)
                                               : j->attribution;
        for (int i = 0; i < SHOWN; i++) printf(" %.9g", (double)v[i]);
    }
    printf("\n");
    j->repeats = 1;
    const double seconds = job_sample(j);
    if (seconds > 0) j->repeats = 1 + (long)(SAMPLE_SECONDS / seconds);
    return INTERP_OK;
}

static void answer(job *j, char *line)
{
    char command[16] = "", a[1024] = "", b[64] = "";
    interp_status status = INTERP_OK;
    const int n = sscanf(line, "%15s %1023s %63s %d", command, a, b, &j->batch);
    if (!strcmp(command, "prepare") && n == 4 && j->batch > 0) {
        job_end(j);
        status = prepare(j, a, b);
    } else if (!strcmp(command, "run") && j->x) {
        const double seconds = job_sample(j);
        if (seconds >= 0) printf("%.9g\n", seconds);
        else status = interp_last_status(j->ctx);
    } else if (!strcmp(command, "share") &&
               j->x) { /* the peak right after, with the clock as it is */
        const peak p = peak_find(interp_isa(j->ctx));
        const double most = peak_gflops(j->ctx, &p);
        printf("%.4f\n", most > 0 ? job_flops(j) / j->seconds * 1e-9 / most : 0.0);
    } else if (!strcmp(command, "images") && n == 2) {
        snprintf(j->images, sizeof j->images, "%s", strcmp(a, "-") ? a : "");
        printf("ok\n");
    } else if (j->net && (!strcmp(command, "onnx") || !strcmp(command, "weights"))) {
        status = command[0] == 'o' ? interp_onnx_save(j->net, a) : interp_weights_save(j->net, a);
        if (!status) printf("ok\n");
    } else {
        printf("error not understood\n");
    }
    if (status) printf("error %s\n", interp_error(j->ctx));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[1200];
    interp_desc desc;
    job j;
    bool by_hand = false;
    memset(&desc, 0, sizeof desc);
    memset(&j, 0, sizeof j);
    desc.threads = 1;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--by-hand")) by_hand = true;
        else if (i + 1 < argc && !strcmp(argv[i], "--threads")) desc.threads = atoi(argv[++i]);
        else if (i + 1 < argc && !strcmp(argv[i], "--isa")) desc.isa = argv[++i];
        else
            return fprintf(stderr, "usage: bench_nets [--threads N] [--isa NAME] [--by-hand]\n"), 2;
    }
    j.ctx = interp_open(&desc);
    bench_need(NULL, j.ctx);
    if (by_hand && !(j.hand = hand_new(j.ctx))) {
        fprintf(stderr, "OpenBLAS is not installed\n");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) answer(&j, line);
    interp_close(j.ctx);
    return 0;
}

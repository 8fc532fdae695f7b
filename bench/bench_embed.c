/* Neighbours and embeddings: answers questions of bench_embed.py, which runs this beside others. One
   question a line on standard input, one line of answer, "error" and a sentence when it cannot:

     mnist DIR N D FILE    "ok": writes N images as their D principal components, float32 rows
     data FILE N D         "ok": reads such rows, and works on them from now on
     run WHAT              seconds of the processor, seconds of the wall, bytes at most, and of t-SNE the
                           divergence, of neighbours the share found
     judge [FILE]          trustworthiness, neighbours kept, accuracy of the nearest, rank correlation of
                           distances: of the last embedding, or of float32 pairs

   WHAT: exact, tree, descent (15 neighbours); tsne; umap.

     build/bench_embed [--threads N] [--isa NAME] */
#define STB_IMAGE_IMPLEMENTATION /* it unpacks the files */
#define STBI_ONLY_PNG
#include <stb_image.h>

#include "measure.h"

enum { NEIGHBOURS = 15, WORD = 1000 };

typedef struct job {
    interp_ctx *ctx;
    int n, d;
    float *x, *y;     /* [n,d], [n,2] */
    int32_t *classes; /* of the data set, by sample; NULL: not known */
    int32_t *index;   /* [n, NEIGHBOURS] */
} job;

static bool fail(const char *sentence)
{
    printf("error %s\n", sentence);
    return false;
}

static bool read_floats(const char *path, float *x, size_t n)
{
    FILE *f = fopen(path, "rb");
    const bool good = f && fread(x, sizeof *x, n, f) == n;
    if (f) fclose(f);
    return good;
}

static void resize(job *j, int n, int d)
{
    interp_free(j->ctx, j->x);
    interp_free(j->ctx, j->y);
    interp_free(j->ctx, j->index);
    j->n = n, j->d = d;
    j->x = (float *)bench_need(j->ctx, interp_alloc(j->ctx, (size_t)n * (size_t)d * sizeof(float)));
    j->y = (float *)bench_need(j->ctx, interp_alloc(j->ctx, (size_t)n * 2 * sizeof(float)));
    j->index = (int32_t *)bench_need(
        j->ctx, interp_alloc(j->ctx, (size_t)n * NEIGHBOURS * sizeof(int32_t)));
}

/* Images in their order, those of training first; their classes are kept. */
static bool make_mnist(job *j, const char *dir, int n, int d, const char *path)
{
    char spec[WORD + 8];
    interp_dataset train, test;
    interp_pca_desc pca;
    snprintf(spec, sizeof spec, "idx:%s", dir);
    if (interp_data_open(j->ctx, spec, 0, &train, &test)) return fail(interp_error(j->ctx));
    const size_t size = interp_shape_size(&train.shape), from = (size_t)train.n;
    if (n > train.n + test.n) return fail("there are fewer images");
    float *all =
        (float *)bench_need(j->ctx, interp_alloc(j->ctx, (size_t)n * size * sizeof(float)));
    j->classes = (int32_t *)bench_need(j->ctx, interp_alloc(j->ctx, (size_t)n * sizeof(int32_t)));
    for (size_t i = 0; i < (size_t)n; i++) {
        const interp_dataset *set = i < from ? &train : &test;
        const size_t at = i < from ? i : i - from;
        memcpy(all + i * size, set->x + at * size, size * sizeof(float));
        j->classes[i] = set->y[at];
    }
    resize(j, n, d);
    memset(&pca, 0, sizeof pca);
    pca.n_components = d;
    const interp_status status = interp_pca(j->ctx, all, n, (int)size, &pca, j->x, NULL, NULL);
    interp_free(j->ctx, all);
    if (status) return fail(interp_error(j->ctx));
    FILE *f = fopen(path, "wb");
    const size_t count = (size_t)n * (size_t)d;
    const bool good = f && fwrite(j->x, sizeof(float), count, f) == count;
    if (f) fclose(f);
    return good || fail("the rows cannot be written");
}

static void run(job *j, const char *what)
{
    interp_ctx *ctx = j->ctx;
    const clock_t cpu = clock();
    const double wall = bench_seconds(0);
    double detail = 0;
    size_t bytes = 0;
    interp_status status;
    if (!strcmp(what, "tsne")) {
        interp_tsne_info info;
        status = interp_tsne(ctx, j->x, j->n, j->d, NULL, j->y, &info);
        bytes = interp_tsne_bytes(ctx, j->n, j->d, NULL);
        detail = info.kl;
    } else if (!strcmp(what, "umap")) {
        interp_umap_info info;
        status = interp_umap(ctx, j->x, j->n, j->d, NULL, j->y, &info);
        bytes = interp_umap_bytes(ctx, j->n, j->d, NULL);
        detail = info.knn_recall;
    } else {
        interp_knn_desc desc;
        interp_knn_info info;
        memset(&desc, 0, sizeof desc);
        desc.method = !strcmp(what, "tree")      ? INTERP_KNN_TREE
                      : !strcmp(what, "descent") ? INTERP_KNN_DESCENT
                                                 : INTERP_KNN_EXACT;
        status = interp_knn(ctx, j->x, j->n, j->d, NEIGHBOURS, &desc, j->index, NULL, &info);
        bytes = interp_knn_bytes(ctx, j->n, j->d, NEIGHBOURS, &desc);
        detail = info.recall;
    }
    if (status) fail(interp_error(ctx));
    else
        printf("%.6f %.6f %zu %.5f\n", (double)(clock() - cpu) / CLOCKS_PER_SEC,
               bench_seconds(0) - wall, bytes, detail);
}

static void judge(job *j, const char *path)
{
    interp_quality_desc desc;
    interp_quality q;
    memset(&desc, 0, sizeof desc);
    desc.classes = j->classes;
    if (path[0] && !read_floats(path, j->y, 2 * (size_t)j->n)) fail("no embedding there");
    else if (interp_embed_quality(j->ctx, j->x, j->n, j->d, j->y, 2, &desc, &q))
        fail(interp_error(j->ctx));
    else
        printf("%.5f %.5f %.5f %.5f\n", q.trustworthiness, q.preservation, q.knn_accuracy,
               q.spearman);
}

static void answer(job *j, const char *line)
{
    char what[WORD] = "", path[WORD] = "", other[WORD] = "";
    int n, d;
    if (sscanf(line, "mnist %999s %d %d %999s", path, &n, &d, other) == 4) {
        if (make_mnist(j, path, n, d, other)) puts("ok");
    } else if (sscanf(line, "data %999s %d %d", path, &n, &d) == 3 && n > 1 && d > 0) {
        resize(j, n, d);
        if (read_floats(path, j->x, (size_t)n * (size_t)d)) puts("ok");
        else fail("no rows there");
    } else if (sscanf(line, "run %999s", what) == 1 && j->x) {
        run(j, what);
    } else if (!strncmp(line, "judge", 5) && j->x) {
        sscanf(line, "judge %999s", path);
        judge(j, path);
    } else {
        fail("not a question");
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    interp_desc desc;
    job j;
    char line[3 * WORD];
    memset(&desc, 0, sizeof desc);
    memset(&j, 0, sizeof j);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--threads")) desc.threads = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--isa")) desc.isa = argv[i + 1];
    }
    j.ctx = interp_open(&desc);
    bench_need(NULL, j.ctx);
    while (fgets(line, sizeof line, stdin)) answer(&j, line);
    interp_close(j.ctx);
    return 0;
}

/* Reads ONNX models after every single damage: cut off behind each byte, and with each byte changed
   to several values. Whatever comes of it must be a network or an error, and leave nothing behind;
   crashes and reads out of bounds are for the sanitizers it is compiled with.

     build/damage [--every N] MODEL.onnx...

   Prints how many readings there were and how long the slowest took. --every: only each N-th byte is
   changed, for models that take long to read. */
#define INTERP_NO_ATTR
#define INTERP_NO_LCA
#define INTERP_NO_EMBED
#define INTERP_NO_VIEW
#define INTERP_NO_MODE
#define INTERP_NO_DYNAMICS
#define INTERP_NO_TRAIN
#define INTERP_IMPLEMENTATION
#include "interp.h"

#include <time.h>

#define MEMORY_LIMIT ((size_t)64 << 20)

static size_t every = 1;
static long readings, networks;
static double slowest;

static int failed(const char *path, const char *what, size_t at, const char *why)
{
    fprintf(stderr, "damage: %s: %s %zu: %s\n", path, what, at, why);
    return 1;
}

static int read_one(interp_ctx *ctx, const char *path, const char *what, size_t at,
                    const void *bytes, size_t n)
{
    const size_t before = interp_memory_read(ctx).used;
    const clock_t start = clock();
    interp_net *net = NULL;
    const interp_status status = interp_onnx_parse(ctx, bytes, n, NULL, &net);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    readings++;
    if (seconds > slowest) slowest = seconds;
    if (seconds > 20) return failed(path, what, at, "it took more than 20 seconds");
    if (!status != (net != NULL)) return failed(path, what, at, "no network and no error");
    if (status && strncmp(interp_error(ctx), "ONNX: ", 6))
        return failed(path, what, at, "an error without a sentence");
    networks += net != NULL;
    interp_net_free(net);
    if (interp_memory_read(ctx).used != before) return failed(path, what, at, "memory is left");
    return 0;
}

static int damage(interp_ctx *ctx, const char *path)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    char *whole = NULL;
    size_t n = 0;
    int bad = 0;
    if (itp_file_read(ctx, path, &whole, &n)) return failed(path, "byte", 0, interp_error(ctx));
    for (size_t length = 0; length < n && !bad; length++) {
        char *cut = (char *)malloc(length ? length : 1); /* its end is guarded */
        if (!cut) return failed(path, "length", length, "out of memory");
        memcpy(cut, whole, length);
        bad = read_one(ctx, path, "cut behind byte", length, cut, length);
        free(cut);
    }
    for (size_t i = 0; i < n && !bad; i += every) {
        const char kept = whole[i];
        for (size_t k = 0; k < sizeof flips && !bad; k++) {
            whole[i] = (char)(kept ^ (char)flips[k]);
            bad = read_one(ctx, path, "changed byte", i, whole, n);
        }
        whole[i] = 0;
        if (!bad && kept) bad = read_one(ctx, path, "zeroed byte", i, whole, n);
        whole[i] = kept;
    }
    interp_free(ctx, whole);
    return bad;
}

int main(int argc, char **argv)
{
    interp_desc desc;
    int bad = 0;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx) return 1;
    interp_memory_set_limit(ctx, MEMORY_LIMIT);
    int first = 1;
    if (argc > 2 && !strcmp(argv[1], "--every")) {
        every = itp_max_size(1, (size_t)strtoul(argv[2], NULL, 10));
        first = 3;
    }
    for (int i = first; i < argc; i++) bad += damage(ctx, argv[i]);
    printf("%d models, %ld readings, %ld of them networks, slowest %.2f s\n", argc - first,
           readings, networks, slowest);
    interp_close(ctx);
    return bad != 0;
}

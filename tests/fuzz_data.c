/* Fuzzes the readers of data files; the first byte of the input picks one.

     clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
         -I. -isystem /usr/include/stb tests/fuzz_data.c -o build/fuzz_data -lm -lpthread
     mkdir -p build/corpus && build/fuzz_data -max_len=4096 -max_total_time=300 build/corpus

   A run that ends without a report is good: no crash, no leak, no byte left allocated. */
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#include <stb_image.h>
#define INTERP_NO_ATTR
#define INTERP_NO_LCA
#define INTERP_NO_EMBED
#define INTERP_NO_VIEW
#define INTERP_NO_MODE
#define INTERP_NO_DYNAMICS
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_IMPLEMENTATION
#include "interp.h"

#define MEMORY_LIMIT ((size_t)64 << 20)

/* Uses every element, so that tools see whether all of them are there. */
static void use_array(interp_ctx *ctx, interp_array *a)
{
    const size_t n = interp_shape_size(&a->shape);
    int32_t *ints = (int32_t *)interp_alloc(ctx, itp_mul_size(n, sizeof *ints));
    if (ints) (void)interp_array_ints(ctx, a, ints);
    interp_free(ctx, ints);
    interp_dataset d;
    if (itp_dataset_from_array(ctx, "fuzz", a, &d) == INTERP_OK) {
        (void)interp_dataset_check(ctx, &d);
        interp_dataset_free(ctx, &d);
    }
    (void)interp_array_to_f32(ctx, a);
    interp_array_free(ctx, a);
}

static void use_table(interp_ctx *ctx, interp_table *t)
{
    for (int j = 0; j < t->n_columns; j++) {
        if (t->column_names && interp_table_column(t, t->column_names[j]) < 0) abort();
        for (int i = 0; i < t->n_rows; i++) {
            const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)j];
            if (t->n_categories[j] && v == v && !t->categories[j][(int)v]) abort();
        }
    }
    interp_table_free(ctx, t);
}

static void use_named(interp_ctx *ctx, interp_named_arrays *a)
{
    for (int i = 0; i < a->n; i++) {
        if (!itp_is_utf8(a->items[i].name, strlen(a->items[i].name))) abort();
        use_array(ctx, &a->items[i].array);
    }
    interp_named_arrays_free(ctx, a);
}

static void read_one(interp_ctx *ctx, int which, const uint8_t *data, size_t n)
{
    interp_array a;
    interp_table t;
    interp_named_arrays all;
    interp_dataset d;
    switch (which % 6) {
    case 0:
        if (interp_npy_parse(ctx, data, n, &a) == INTERP_OK) use_array(ctx, &a);
        break;
    case 1:
        if (interp_npz_parse(ctx, data, n, which & 64 ? "a" : NULL, &a) == INTERP_OK)
            use_array(ctx, &a);
        break;
    case 2: /* gzipped or plain */
        if (interp_idx_parse(ctx, data, n, &a) == INTERP_OK) use_array(ctx, &a);
        break;
    case 3:
        if (itp_csv_parse(ctx, "fuzz", data, n, which / 6 - 1, &t) == INTERP_OK) use_table(ctx, &t);
        break;
    case 4:
        if (interp_safetensors_parse(ctx, data, n, &all) == INTERP_OK) use_named(ctx, &all);
        break;
    default:
        if (interp_cifar10_parse(ctx, data, n, &d) == INTERP_OK) interp_dataset_free(ctx, &d);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    interp_desc desc;
    memset(&desc, 0, sizeof desc);
    desc.threads = 1;
    desc.memory_limit = MEMORY_LIMIT;
    interp_ctx *ctx = interp_open(&desc);
    if (!ctx || n == 0) {
        interp_close(ctx);
        return 0;
    }
    const size_t before = interp_memory_read(ctx).used;
    read_one(ctx, data[0], data + 1, n - 1);
    if (interp_memory_read(ctx).used != before) abort();
    interp_close(ctx);
    return 0;
}

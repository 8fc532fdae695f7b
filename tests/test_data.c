/* Readers and writers of data files, data sets, augmentation: every format's good and bad cases. */
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>
#define INTERP_NO_ATTR
#define INTERP_NO_ONNX
#define INTERP_NO_TRAIN
#define INTERP_NO_EMBED
#define INTERP_NO_DYNAMICS
#define INTERP_NO_MODE
#define INTERP_IMPLEMENTATION
#include "interp.h"
#include "heap.h"
#include "test.h"
#include "../examples/data/digits.h"
#include "../examples/data/iris.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- samples that numpy, Python's gzip and zipfile-compatible code wrote */

static const unsigned char npz_deflated[400] = {
    80,  75,  3,   4,   20,  0,   0,   0,   8,   0,   0,   0,   33,  0,   11,  192, 176, 118, 87,
    0,   0,   0,   152, 0,   0,   0,   5,   0,   20,  0,   97,  46,  110, 112, 121, 1,   0,   16,
    0,   152, 0,   0,   0,   0,   0,   0,   0,   87,  0,   0,   0,   0,   0,   0,   0,   155, 236,
    23,  234, 27,  16,  201, 200, 80,  198, 80,  173, 158, 146, 90,  156, 92,  164, 110, 165, 160,
    110, 147, 102, 162, 174, 163, 160, 158, 150, 95,  84,  82,  148, 152, 23,  159, 95,  148, 146,
    10,  18,  119, 75,  204, 41,  78,  5,   138, 23,  103, 36,  22,  164, 2,   249, 26,  70,  58,
    10,  198, 154, 58,  10,  181, 10,  100, 3,   46,  6,   8,   176, 103, 96,  104, 0,   226, 3,
    64,  204, 224, 192, 192, 160, 224, 0,   0,   80,  75,  3,   4,   20,  0,   0,   0,   8,   0,
    0,   0,   33,  0,   229, 143, 173, 66,  79,  0,   0,   0,   136, 0,   0,   0,   5,   0,   20,
    0,   98,  46,  110, 112, 121, 1,   0,   16,  0,   136, 0,   0,   0,   0,   0,   0,   0,   79,
    0,   0,   0,   0,   0,   0,   0,   155, 236, 23,  234, 27,  16,  201, 200, 80,  198, 80,  173,
    158, 146, 90,  156, 92,  164, 110, 165, 160, 110, 151, 105, 164, 174, 163, 160, 158, 150, 95,
    84,  82,  148, 152, 23,  159, 95,  148, 146, 10,  18,  119, 75,  204, 41,  78,  5,   138, 23,
    103, 36,  22,  164, 2,   249, 26,  70,  58,  10,  70,  154, 58,  10,  181, 10,  100, 3,   46,
    6,   198, 255, 255, 24,  152, 25,  39,  0,   0,   80,  75,  1,   2,   20,  3,   20,  0,   0,
    0,   8,   0,   0,   0,   33,  0,   11,  192, 176, 118, 87,  0,   0,   0,   152, 0,   0,   0,
    5,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   128, 1,   0,   0,   0,   0,   97,
    46,  110, 112, 121, 80,  75,  1,   2,   20,  3,   20,  0,   0,   0,   8,   0,   0,   0,   33,
    0,   229, 143, 173, 66,  79,  0,   0,   0,   136, 0,   0,   0,   5,   0,   0,   0,   0,   0,
    0,   0,   0,   0,   0,   0,   128, 1,   142, 0,   0,   0,   98,  46,  110, 112, 121, 80,  75,
    5,   6,   0,   0,   0,   0,   2,   0,   2,   0,   102, 0,   0,   0,   20,  1,   0,   0,   0,
    0,
};

static const unsigned char npz_stored[280] = {
    80,  75,  3,  4,   20, 0,  0,   0,   0,   0,   0,   0,   33,  0,   11,  192, 176, 118, 152,
    0,   0,   0,  152, 0,  0,  0,   5,   0,   20,  0,   97,  46,  110, 112, 121, 1,   0,   16,
    0,   152, 0,  0,   0,  0,  0,   0,   0,   152, 0,   0,   0,   0,   0,   0,   0,   147, 78,
    85,  77,  80, 89,  1,  0,  118, 0,   123, 39,  100, 101, 115, 99,  114, 39,  58,  32,  39,
    60,  102, 52, 39,  44, 32, 39,  102, 111, 114, 116, 114, 97,  110, 95,  111, 114, 100, 101,
    114, 39,  58, 32,  70, 97, 108, 115, 101, 44,  32,  39,  115, 104, 97,  112, 101, 39,  58,
    32,  40,  50, 44,  32, 51, 41,  44,  32,  125, 32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32, 32,  32, 32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32, 32,  32, 32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32, 32,  32, 32, 32,  32,  32,  32,  32,  10,  0,   0,   0,   0,   0,   0,   0,
    63,  0,   0,  128, 63, 0,  0,   192, 63,  0,   0,   0,   64,  0,   0,   32,  64,  80,  75,
    1,   2,   20, 3,   20, 0,  0,   0,   0,   0,   0,   0,   33,  0,   11,  192, 176, 118, 152,
    0,   0,   0,  152, 0,  0,  0,   5,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,
    128, 1,   0,  0,   0,  0,  97,  46,  110, 112, 121, 80,  75,  5,   6,   0,   0,   0,   0,
    1,   0,   1,  0,   51, 0,  0,   0,   207, 0,   0,   0,   0,   0,
};

static const unsigned char idx_gz[42] = {
    31, 139, 8,  0,   0,  0,  0,  0,   2,  3,  99, 96,  224, 96,  102, 96, 96,  96, 130, 98, 102,
    6,  70,  38, 102, 22, 86, 54, 118, 14, 78, 46, 110, 0,   120, 30,  35, 132, 28, 0,   0,  0,
};

static const unsigned char idx_gz_fields[62] = {
    31,  139, 8,   30, 0,   0,   0,   0,   0,   0,   3,   0,  120, 121, 122, 110,
    97,  109, 101, 0,  99,  111, 109, 109, 101, 110, 116, 0,  13,  61,  99,  96,
    224, 96,  102, 96, 96,  96,  130, 98,  102, 6,   70,  38, 102, 22,  86,  54,
    118, 14,  78,  46, 110, 0,   120, 30,  35,  132, 28,  0,  0,   0,
};

static const unsigned char npy_f4_fortran[224] = {
    147, 78,  85,  77,  80, 89,  1,  0,   118, 0,   123, 39,  100, 101, 115, 99,  114, 39,  58,
    32,  39,  60,  102, 52, 39,  44, 32,  39,  102, 111, 114, 116, 114, 97,  110, 95,  111, 114,
    100, 101, 114, 39,  58, 32,  84, 114, 117, 101, 44,  32,  39,  115, 104, 97,  112, 101, 39,
    58,  32,  40,  50,  44, 32,  51, 44,  32,  52,  41,  44,  32,  125, 32,  32,  32,  32,  32,
    32,  32,  32,  32,  32, 32,  32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32,  32,  32, 32,  32, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32,  32,  32, 32,  32, 32,  32,  32,  32,  32,  32,  10,  0,   0,   0,   0,   0,
    0,   64,  65,  0,   0,  128, 64, 0,   0,   128, 65,  0,   0,   0,   65,  0,   0,   160, 65,
    0,   0,   128, 63,  0,  0,   80, 65,  0,   0,   160, 64,  0,   0,   136, 65,  0,   0,   16,
    65,  0,   0,   168, 65, 0,   0,  0,   64,  0,   0,   96,  65,  0,   0,   192, 64,  0,   0,
    144, 65,  0,   0,   32, 65,  0,  0,   176, 65,  0,   0,   64,  64,  0,   0,   112, 65,  0,
    0,   224, 64,  0,   0,  152, 65, 0,   0,   48,  65,  0,   0,   184, 65,
};

static const unsigned char npz_zip64[377] = {
    80,  75,  3,   4,   45,  0,   8,   0,   0,   0,   0,   0,   33,  0,   0,   0,   0,   0,   255,
    255, 255, 255, 255, 255, 255, 255, 5,   0,   20,  0,   107, 46,  110, 112, 121, 1,   0,   16,
    0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   0,   147, 78,
    85,  77,  80,  89,  1,   0,   118, 0,   123, 39,  100, 101, 115, 99,  114, 39,  58,  32,  39,
    60,  105, 52,  39,  44,  32,  39,  102, 111, 114, 116, 114, 97,  110, 95,  111, 114, 100, 101,
    114, 39,  58,  32,  70,  97,  108, 115, 101, 44,  32,  39,  115, 104, 97,  112, 101, 39,  58,
    32,  40,  51,  44,  41,  44,  32,  125, 32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,
    32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  32,  10,  7,   0,   0,   0,   8,   0,   0,
    0,   9,   0,   0,   0,   80,  75,  1,   2,   45,  0,   45,  0,   8,   0,   0,   0,   0,   0,
    33,  0,   167, 153, 107, 21,  255, 255, 255, 255, 255, 255, 255, 255, 5,   0,   28,  0,   0,
    0,   0,   0,   0,   0,   0,   0,   0,   0,   255, 255, 255, 255, 107, 46,  110, 112, 121, 1,
    0,   24,  0,   140, 0,   0,   0,   0,   0,   0,   0,   140, 0,   0,   0,   0,   0,   0,   0,
    0,   0,   0,   0,   0,   0,   0,   0,   80,  75,  6,   6,   44,  0,   0,   0,   0,   0,   0,
    0,   45,  0,   45,  0,   0,   0,   0,   0,   0,   0,   0,   0,   1,   0,   0,   0,   0,   0,
    0,   0,   1,   0,   0,   0,   0,   0,   0,   0,   79,  0,   0,   0,   0,   0,   0,   0,   195,
    0,   0,   0,   0,   0,   0,   0,   80,  75,  6,   7,   0,   0,   0,   0,   18,  1,   0,   0,
    0,   0,   0,   0,   1,   0,   0,   0,   80,  75,  5,   6,   0,   0,   0,   0,   255, 255, 255,
    255, 255, 255, 255, 255, 255, 255, 255, 255, 5,   0,   104, 101, 108, 108, 111,
};

static const unsigned char jpeg_grey[161] = {
    255, 216, 255, 224, 0,  16,  74,  70, 73, 70, 0,   1,   1,   0,   0,  1, 0,  1,  0,   0,   255,
    219, 0,   67,  0,   2,  1,   1,   1,  1,  1,  2,   1,   1,   1,   2,  2, 2,  2,  2,   4,   3,
    2,   2,   2,   2,   5,  4,   4,   3,  4,  6,  5,   6,   6,   6,   5,  6, 6,  6,  7,   9,   8,
    6,   7,   9,   7,   6,  6,   8,   11, 8,  9,  10,  10,  10,  10,  10, 6, 8,  11, 12,  11,  10,
    12,  9,   10,  10,  10, 255, 192, 0,  11, 8,  0,   16,  0,   16,  1,  1, 17, 0,  255, 196, 0,
    21,  0,   1,   1,   0,  0,   0,   0,  0,  0,  0,   0,   0,   0,   0,  0, 0,  0,  0,   7,   255,
    196, 0,   20,  16,  1,  0,   0,   0,  0,  0,  0,   0,   0,   0,   0,  0, 0,  0,  0,   0,   0,
    255, 218, 0,   8,   1,  1,   0,   0,  63, 0,  135, 128, 255, 217,
};

static const unsigned char png_16_bit[75] = {
    137, 80,  78,  71,  13,  10,  26, 10, 0,  0,   0,  13, 73,  72,  68,  82, 0,  0,  0,
    2,   0,   0,   0,   2,   16,  0,  0,  0,  0,   7,  77, 142, 187, 0,   0,  0,  18, 73,
    68,  65,  84,  120, 156, 99,  96, 96, 96, 100, 96, 96, 126, 241, 255, 63, 0,  5,  210,
    2,   235, 129, 44,  143, 166, 0,  0,  0,  0,   73, 69, 78,  68,  174, 66, 96, 130};

/* ---- a context whose allocator can be told to fail */

static char warning[512];

static void take_warning(interp_status level, const char *text, void *user)
{
    (void)level, (void)user;
    snprintf(warning, sizeof warning, "%s", text);
}

static interp_ctx *ctx;

static void open_ctx(void)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    d.allocator.alloc = heap_alloc;
    d.allocator.free = heap_free;
    d.log = take_warning;
    ctx = interp_open(&d);
    if (!ctx) exit(1);
}

/* ---- scratch folder and files */

static char folder[256];

static const char *at(const char *name)
{
    static char path[4][512];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[0], "%s/%s", folder, name);
    return path[next];
}

static void put(const char *name, const void *bytes, size_t n)
{
    if (itp_file_write(ctx, at(name), bytes, n)) exit(1);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static const char *spec(const char *kind, const char *name, const char *rest)
{
    static char text[1024];
    snprintf(text, sizeof text, "%s%s%s", kind, at(name), rest);
    return text;
}

static size_t used(void)
{
    return interp_memory_read(ctx).used;
}

/* ---- arrays */

static interp_array new_array(interp_dtype dtype, int rank, int a, int b, int c)
{
    interp_array x;
    x.dtype = dtype;
    x.shape = itp_shape_3(a, b, c);
    x.shape.rank = rank;
    const size_t bytes = interp_shape_size(&x.shape) * interp_dtype_size(dtype);
    x.data = interp_alloc(ctx, bytes);
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)x.data)[i] =
            (unsigned char)(dtype == INTERP_BOOL ? i & 1 : (i * 37 + 11) & 0x7B);
    return x;
}

static bool same_array(const interp_array *a, const interp_array *b)
{
    return a->dtype == b->dtype && itp_shape_equal(&a->shape, &b->shape) &&
           memcmp(a->data, b->data, interp_shape_size(&a->shape) * interp_dtype_size(a->dtype)) ==
               0;
}

TEST(every_dtype_converts_to_float32)
{
    interp_array h = new_array(INTERP_FLOAT16, 2, 256, 256, 1);
    uint16_t *bits = (uint16_t *)h.data;
    for (int i = 0; i < 65536; i++) bits[i] = (uint16_t)i;
    REQUIRE_OK(ctx, interp_array_to_f32(ctx, &h));
    const float *x = (const float *)h.data;
    CHECK(h.dtype == INTERP_FLOAT32);
    for (int i = 0; i < 65536; i++) { /* IEEE 754 binary16 by its definition */
        const int e = i >> 10 & 31, f = i & 1023;
        const double size = e ? ldexp(1024 + f, e - 25) : ldexp(f, -24);
        if (e == 31) CHECK(f ? isnan(x[i]) : isinf(x[i]) && (x[i] < 0) == (i > 32767));
        else CHECK((double)x[i] == (i > 32767 ? -size : size));
    }
    CHECK(signbit(x[0x8000]));
    interp_array_free(ctx, &h);
    union {
        double d[4];
        int64_t l[4];
        uint64_t ul[4];
        int32_t i[4];
        uint32_t u[4];
        int16_t s[4];
        uint16_t us[4];
        int8_t c[4];
        uint8_t uc[4];
        float f[4];
    } v;
    float out[2];
    interp_array a;
    a.data = &v;
    a.shape = itp_shape_3(2, 1, 1);
#define CONVERTS(type, field, p, q)                                                                \
    do {                                                                                           \
        a.dtype = type;                                                                            \
        v.field[0] = p, v.field[1] = q;                                                            \
        interp_array_floats(&a, out);                                                              \
        CHECK(out[0] == (float)(p) && out[1] == (float)(q));                                       \
        CHECK(itp_array_at(&a, 0) == (double)v.field[0] &&                                         \
              itp_array_at(&a, 1) == (double)v.field[1]);                                          \
    } while (0)
    CONVERTS(INTERP_FLOAT64, d, 1.5, -2e30);
    CONVERTS(INTERP_FLOAT32, f, 1.5f, -2e30f);
    CONVERTS(INTERP_INT8, c, -128, 127);
    CONVERTS(INTERP_UINT8, uc, 0, 255);
    CONVERTS(INTERP_INT16, s, -32768, 32767);
    CONVERTS(INTERP_UINT16, us, 1, 65535);
    CONVERTS(INTERP_INT32, i, INT32_MIN, INT32_MAX);
    CONVERTS(INTERP_UINT32, u, 7, 4294967295u);
    CONVERTS(INTERP_INT64, l, INT64_MIN, 16777217);
    CONVERTS(INTERP_UINT64, ul, 3, UINT64_MAX);
    a.dtype = INTERP_BFLOAT16;
    v.us[0] = 0x3FC0, v.us[1] = 0xC000;
    interp_array_floats(&a, out);
    CHECK(out[0] == 1.5f && out[1] == -2.0f && itp_array_at(&a, 0) == 1.5);
    a.dtype = INTERP_FLOAT16;
    v.us[0] = 0x3E00;
    CHECK(itp_array_at(&a, 0) == 1.5);
    a.dtype = INTERP_BOOL;
    v.uc[0] = 1, v.uc[1] = 0;
    interp_array_floats(&a, out);
    CHECK(out[0] == 1 && out[1] == 0 && itp_array_at(&a, 0) == 1);
    CHECK_STR(interp_dtype_name(INTERP_BFLOAT16), "bfloat16");
    CHECK(interp_dtype_size(INTERP_UINT64) == 8 && interp_dtype_size(INTERP_BOOL) == 1);
    CHECK(interp_dtype_size(INTERP_DTYPE_COUNT) == 0);
}

TEST(labels_must_be_whole_numbers)
{
    double v[3] = {0, 41, -7};
    int32_t out[3];
    interp_array a;
    a.data = v;
    a.dtype = INTERP_FLOAT64;
    a.shape = itp_shape_3(3, 1, 1);
    CHECK_OK(ctx, interp_array_ints(ctx, &a, out));
    CHECK(out[0] == 0 && out[1] == 41 && out[2] == -7);
    const double bad[4] = {0.5, 3e9, (double)NAN, -HUGE_VAL};
    for (int i = 0; i < 4; i++) {
        v[2] = bad[i];
        CHECK(interp_array_ints(ctx, &a, out) == INTERP_BAD_ARGUMENT);
        CHECK(strstr(interp_error(ctx), "element 2"));
    }
}

TEST(sort_orders_anything)
{
    for (int n = 0; n < 40; n++) {
        char text[40][4];
        const char *names[40];
        for (int i = 0; i < n; i++) {
            snprintf(text[i], 4, "%d",
                     (int)interp_random_u32(1, (uint64_t)n, (uint64_t)i) % 50 + 50);
            names[i] = text[i];
        }
        itp_sort(names, (size_t)n, sizeof *names, itp_compare_names);
        for (int i = 1; i < n; i++) CHECK(strcmp(names[i - 1], names[i]) <= 0);
    }
}

/* ---- NPY */

static size_t make_npy(unsigned char *out, int version, const char *header, const void *data,
                       size_t n)
{
    const size_t length = strlen(header), head = version == 1 ? 10 : 12;
    memcpy(out, "\x93NUMPY", 6);
    memset(out + 6, 0, 6);
    out[6] = (unsigned char)version;
    out[8] = (unsigned char)(length & 255);
    out[9] = (unsigned char)(length >> 8);
    memcpy(out + head, header, length);
    if (n) memcpy(out + head + length, data, n);
    return head + length + n;
}

TEST(npy_reads_every_dtype_in_both_byte_orders)
{
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++) {
        const char *code = itp_dtype((interp_dtype)d)->npy;
        if (!code) continue;
        const size_t size = interp_dtype_size((interp_dtype)d);
        interp_array a = new_array((interp_dtype)d, 2, 3, 2, 1), b = itp_array_none();
        for (int order = 0; order < 4; order++) {
            unsigned char file[400], data[64];
            char header[128];
            memcpy(data, a.data, 6 * size);
            const char mark = "<>=|"[order];
            if (order < 2 && (mark == '<') != itp_host_is_little()) itp_swap_bytes(data, 6, size);
            snprintf(header, sizeof header,
                     "{'shape': (3, 2), 'descr': '%c%s', 'fortran_order': False}", mark, code);
            const size_t n = make_npy(file, 1 + order % 3, header, data, 6 * size);
            REQUIRE_OK(ctx, interp_npy_parse(ctx, file, n, &b));
            CHECK(same_array(&a, &b));
            interp_array_free(ctx, &b);
        }
        interp_array_free(ctx, &a);
    }
}

TEST(npy_reads_fortran_order)
{
    interp_array a = itp_array_none();
    REQUIRE_OK(ctx, interp_npy_parse(ctx, npy_f4_fortran, sizeof npy_f4_fortran, &a));
    CHECK(a.shape.rank == 3 && a.shape.dim[0] == 2 && a.shape.dim[1] == 3 && a.shape.dim[2] == 4);
    for (int i = 0; i < 24; i++) CHECK(((const float *)a.data)[i] == (float)i);
    interp_array_free(ctx, &a);
}

TEST(npy_header_may_be_written_in_many_ways)
{
    static const struct {
        const char *header;
        interp_status status;
    } cases[] = {
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), }   \n", INTERP_OK},
        {"{\"descr\":\"|u1\",\"shape\":(4L,),\"fortran_order\":True}", INTERP_OK},
        {"{'shape': (2, 2L), 'fortran_order': False, 'descr': 'u1'}", INTERP_OK},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", INTERP_OK},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4), }", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-4,), }", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': 0, 'shape': (4,), }", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False}", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,), 'x': 1}", INTERP_FORMAT},
        {"{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (4,)}", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,)} x", INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (4,)", INTERP_FORMAT},
        {"", INTERP_FORMAT},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }",
         INTERP_FORMAT},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2147483647, 2147483647, 2147483647), }",
         INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999,), }",
         INTERP_FORMAT},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,4), }",
         INTERP_UNSUPPORTED},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (4,), }", INTERP_UNSUPPORTED},
        {"{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", INTERP_UNSUPPORTED},
        {"{'descr': '|S4', 'fortran_order': False, 'shape': (1,), }", INTERP_UNSUPPORTED},
        {"{'descr': '|V4', 'fortran_order': False, 'shape': (1,), }", INTERP_UNSUPPORTED},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", INTERP_UNSUPPORTED},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", INTERP_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char file[300];
        interp_array a = itp_array_none();
        const size_t n = make_npy(file, 1, cases[i].header, "\1\2\3\4", 4);
        const interp_status status = interp_npy_parse(ctx, file, n, &a);
        if (status != cases[i].status)
            test_fail(__FILE__, __LINE__, "%s: %s, %s", cases[i].header, interp_status_name(status),
                      interp_error(ctx));
        if (status) CHECK(a.data == NULL);
        else interp_array_free(ctx, &a);
    }
}

TEST(npy_round_trips_every_dtype)
{
    for (int d = 0; d < INTERP_DTYPE_COUNT; d++)
        for (int rank = 0; rank <= 3; rank++) {
            interp_array a = new_array((interp_dtype)d, rank, rank ? 3 : 1, rank > 1 ? 2 : 1,
                                       rank > 2 ? 5 : 1),
                         b = itp_array_none();
            REQUIRE_OK(ctx, interp_npy_write(ctx, at("a.npy"), &a));
            REQUIRE_OK(ctx, interp_npy_read(ctx, at("a.npy"), &b));
            if (d == INTERP_BFLOAT16) CHECK_OK(ctx, interp_array_to_f32(ctx, &a));
            CHECK(same_array(&a, &b));
            interp_array_free(ctx, &a);
            interp_array_free(ctx, &b);
        }
    const float x[6] = {0, 0.5f, 1, 1.5f, 2, 2.5f};
    const interp_shape shape = {2, {2, 3, 1, 1, 1, 1, 1, 1}};
    REQUIRE_OK(ctx, interp_npy_write_f32(ctx, at("f.npy"), x, &shape));
    char *bytes;
    size_t n;
    REQUIRE_OK(ctx, itp_file_read(ctx, at("f.npy"), &bytes, &n));
    CHECK(n == 128 + 24); /* as numpy: data starts at a multiple of 64 */
    CHECK(strncmp(bytes + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ", 60) ==
          0);
    CHECK(bytes[127] == '\n');
    interp_free(ctx, bytes);
    interp_array none = new_array(INTERP_FLOAT32, 2, 0, 3, 1), back = itp_array_none();
    CHECK_OK(ctx, interp_npy_write(ctx, at("e.npy"), &none));
    CHECK_OK(ctx, interp_npy_read(ctx, at("e.npy"), &back));
    CHECK(same_array(&none, &back));
    interp_array_free(ctx, &none);
    interp_array_free(ctx, &back);
    CHECK(interp_npy_write_f32(ctx, "/nowhere/at/all.npy", x, &shape) == INTERP_IO);
    CHECK(interp_npy_read(ctx, at("missing.npy"), &back) == INTERP_IO);
}

/* ---- gzip, zip, NPZ */

TEST(crc32_matches_the_published_check_value)
{
    CHECK(itp_crc32("123456789", 9) == 0xCBF43926u);
    CHECK(itp_crc32("", 0) == 0);
}

TEST(gzip_checks_size_and_checksum)
{
    interp_array a = itp_array_none();
    unsigned char bytes[sizeof idx_gz];
    CHECK_OK(ctx, interp_idx_parse(ctx, idx_gz_fields, sizeof idx_gz_fields, &a));
    CHECK(a.shape.rank == 3 && ((const uint8_t *)a.data)[11] == 11);
    interp_array_free(ctx, &a);
    for (size_t i = sizeof bytes - 8; i < sizeof bytes; i++) {
        memcpy(bytes, idx_gz, sizeof bytes);
        bytes[i] ^= 1;
        CHECK(interp_idx_parse(ctx, bytes, sizeof bytes, &a) == INTERP_FORMAT);
    }
    memcpy(bytes, idx_gz, sizeof bytes);             /* 2 GiB - 2 out of some forty bytes */
    for (int top = 0x7F; top <= 0xFF; top += 0x80) { /* 4 GiB - 2: what a cut file may end with */
        memcpy(bytes + sizeof bytes - 4, "\xFE\xFF\xFF", 3);
        bytes[sizeof bytes - 1] = (unsigned char)top;
        CHECK(interp_idx_parse(ctx, bytes, sizeof bytes, &a) == INTERP_FORMAT);
        CHECK(strstr(interp_error(ctx), "cut off or damaged"));
    }
    unsigned char twice[2 * sizeof idx_gz];
    memcpy(twice, idx_gz, sizeof idx_gz);
    memcpy(twice + sizeof idx_gz, idx_gz, sizeof idx_gz);
    CHECK(interp_idx_parse(ctx, twice, sizeof twice, &a) == INTERP_UNSUPPORTED);
}

TEST(npz_reads_what_numpy_wrote)
{
    interp_array a = itp_array_none(), b = a, c = a;
    REQUIRE_OK(ctx, interp_npz_parse(ctx, npz_deflated, sizeof npz_deflated, "a", &a));
    REQUIRE_OK(ctx, interp_npz_parse(ctx, npz_deflated, sizeof npz_deflated, "b.npy", &b));
    REQUIRE_OK(ctx, interp_npz_parse(ctx, npz_stored, sizeof npz_stored, NULL, &c));
    for (int i = 0; i < 6; i++) CHECK(((const float *)a.data)[i] == (float)i / 2);
    static const int16_t want[4] = {1, -2, 3, 400};
    CHECK(b.dtype == INTERP_INT16 && memcmp(b.data, want, sizeof want) == 0);
    CHECK(same_array(&a, &c));
    interp_array_free(ctx, &a);
    interp_array_free(ctx, &b);
    interp_array_free(ctx, &c);
    CHECK(interp_npz_parse(ctx, npz_deflated, sizeof npz_deflated, "c", &a) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "a.npy, b.npy"));
    CHECK(interp_npz_parse(ctx, npz_deflated, sizeof npz_deflated, "", &a) == INTERP_BAD_ARGUMENT);
    REQUIRE_OK(ctx, interp_npz_parse(ctx, npz_zip64, sizeof npz_zip64, "k", &a));
    CHECK(a.dtype == INTERP_INT32 && ((const int32_t *)a.data)[2] == 9);
    interp_array_free(ctx, &a);
}

TEST(npz_round_trips)
{
    interp_array arrays[3], b = itp_array_none();
    static const char *const names[3] = {"weights", "b", "mask"};
    arrays[0] = new_array(INTERP_FLOAT32, 3, 2, 3, 4);
    arrays[1] = new_array(INTERP_INT64, 1, 5, 1, 1);
    arrays[2] = new_array(INTERP_BOOL, 2, 2, 2, 1);
    REQUIRE_OK(ctx, interp_npz_write(ctx, at("z.npz"), 3, names, arrays));
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(ctx, interp_npz_read(ctx, at("z.npz"), names[i], &b));
        CHECK(same_array(&arrays[i], &b));
        interp_array_free(ctx, &b);
    }
    static const char *const twice[2] = {"a", "a"};
    CHECK(interp_npz_write(ctx, at("t.npz"), 2, twice, arrays) == INTERP_BAD_ARGUMENT);
    CHECK(access(at("t.npz"), F_OK) != 0);
    for (int i = 0; i < 3; i++) interp_array_free(ctx, &arrays[i]);
}

static unsigned char *find_bytes(unsigned char *p, size_t n, const char *what, int nth)
{
    for (size_t i = 0; i + 4 <= n; i++)
        if (memcmp(p + i, what, 4) == 0 && nth-- == 0) return p + i;
    return NULL;
}

TEST(zip_refuses_what_misleads)
{
    unsigned char z[sizeof npz_deflated];
    interp_array a = itp_array_none();
#define FRESH() memcpy(z, npz_deflated, sizeof z)
#define REFUSES(status, word)                                                                      \
    do {                                                                                           \
        CHECK(interp_npz_parse(ctx, z, sizeof z, "a", &a) == status);                              \
        if (!strstr(interp_error(ctx), word))                                                      \
            test_fail(__FILE__, __LINE__, "\"%s\" says nothing of %s", interp_error(ctx), word);   \
    } while (0)
    FRESH();
    find_bytes(z, sizeof z, "PK\1\2", 0)[8] |= 1;
    REFUSES(INTERP_UNSUPPORTED, "encrypted");
    FRESH();
    find_bytes(z, sizeof z, "PK\1\2", 0)[10] = 12;
    REFUSES(INTERP_UNSUPPORTED, "method 12");
    FRESH();
    find_bytes(z, sizeof z, "PK\1\2", 1)[46] = 'a';
    REFUSES(INTERP_FORMAT, "one name");
    FRESH();
    memset(find_bytes(z, sizeof z, "PK\1\2", 1) + 42, 0, 4);
    REFUSES(INTERP_FORMAT, "overlap");
    FRESH();
    find_bytes(z, sizeof z, "PK\1\2", 0)[16] ^= 1;
    REFUSES(INTERP_FORMAT, "damaged");
    FRESH();
    memcpy(find_bytes(z, sizeof z, "PK\1\2", 0) + 24, "\xF0\xFF\xFF\x7F", 4);
    REFUSES(INTERP_FORMAT, "cannot come out");
    FRESH();
    find_bytes(z, sizeof z, "PK\5\6", 0)[4] = 1;
    REFUSES(INTERP_UNSUPPORTED, "several parts");
    FRESH();
    find_bytes(z, sizeof z, "PK\5\6", 0)[19] = 1;
    REFUSES(INTERP_FORMAT, "outside");
}

/* ---- CSV */

static interp_status csv(const char *text, interp_table *t)
{
    memset(t, 0, sizeof *t);
    return interp_csv_parse(ctx, text, strlen(text), t);
}

TEST(csv_numbers_are_rounded_right)
{
    static const char *const good[] = {"0",
                                       "-0",
                                       "1",
                                       "12.5",
                                       ".5",
                                       "5.",
                                       "+3e2",
                                       "1e-3",
                                       "0.1",
                                       "1e22",
                                       "1e23",
                                       "1e308",
                                       "1.7976931348623157e308",
                                       "4.9e-324",
                                       "2.2250738585072011e-308",
                                       "123456789012345678901234567890",
                                       "0.30000000000000004",
                                       "9007199254740993",
                                       "9007199254740992.999999",
                                       "1e400",
                                       "1e-400",
                                       "7.2057594037927933e16",
                                       "3.4028234663852886e38",
                                       " 42 ",
                                       "000000000000000000000000000000000000000000001.25"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        double v = -1;
        CHECK(itp_number_parse(good[i], strlen(good[i]), &v));
        const double want = strtod(good[i], NULL); /* the C locale is in force here */
        if (!(v == want)) test_fail(__FILE__, __LINE__, "%s: %.17g", good[i], v);
    }
    for (int i = 0; i < 20000; i++) { /* random doubles printed exactly enough come back */
        uint64_t bits = (uint64_t)interp_random_u32(3, 0, (uint64_t)i) << 32 |
                        interp_random_u32(3, 1, (uint64_t)i);
        double want, v = 0;
        char text[40];
        memcpy(&want, &bits, sizeof want);
        if (!isfinite(want)) continue;
        snprintf(text, sizeof text, i & 1 ? "%.17g" : "%.6g", want);
        CHECK(itp_number_parse(text, strlen(text), &v));
        CHECK(v == strtod(text, NULL));
    }
    double v;
    CHECK(itp_number_parse("nan", 3, &v) && isnan(v));
    CHECK(itp_number_parse("-Inf", 4, &v) && isinf(v) && v < 0);
    CHECK(itp_number_parse("Infinity", 8, &v) && isinf(v) && v > 0);
    static const char *const bad[] = {"",    "-",   "+",     ".",     "e5",   "1e",  "1e+", "1,5",
                                      "0x1", "1 2", "1.2.3", "infin", "nano", "one", "1f",  "--1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(!itp_number_parse(bad[i], strlen(bad[i]), &v));
}

TEST(csv_reads_quotes_delimiters_and_line_ends)
{
    static const char *const same[] = {
        "a,b,label\n1,2.5,x\n3,,y\n",
        "a,b,label\r\n1,2.5,x\r\n3,,y",
        "a,b,label\r1,2.5,x\r3,,y\r",
        ("\xEF\xBB\xBF"
         "a;b;label\n1;2.5;x\n3;;y\n\n\n"),
        "a\tb\tlabel\n1\t2.5\tx\n3\t\ty\n",
        "\n \n\"a\", \"b\" ,label\n\n 1 , 2.5 ,\"x\"\n\"3\",\"\",y\n  ",
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        interp_table t;
        REQUIRE_OK(ctx, csv(same[i], &t));
        CHECK(t.n_rows == 2 && t.n_columns == 3);
        REQUIRE(t.column_names && t.n_rows == 2 && t.n_columns == 3);
        CHECK_STR(t.column_names[0], "a");
        CHECK_STR(t.column_names[2], "label");
        CHECK(t.cells[0] == 1 && t.cells[1] == 2.5 && t.cells[2] == 0);
        CHECK(t.cells[3] == 3 && isnan(t.cells[4]) && t.cells[5] == 1);
        CHECK(t.n_categories[0] == 0 && t.n_categories[2] == 2 && !t.categories[0]);
        CHECK_STR(t.categories[2][0], "x");
        CHECK_STR(t.categories[2][1], "y");
        interp_table_free(ctx, &t);
    }
    interp_table t;
    REQUIRE_OK(ctx, csv("v,w\n\"say \"\"hi\"\",\nyou\",1\n\"\",2\nplain \"q\",3\n", &t));
    CHECK(t.n_rows == 3 && t.n_categories[0] == 2);
    CHECK_STR(t.categories[0][1], "say \"hi\",\nyou");
    CHECK_STR(t.categories[0][0], "plain \"q\"");
    CHECK(t.cells[0] == 1 && isnan(t.cells[2]) && t.cells[4] == 0);
    interp_table_free(ctx, &t);
}

TEST(csv_finds_the_header)
{
    static const struct {
        const char *text;
        bool header;
        int rows;
    } cases[] = {
        {"1,2\n3,4\n", false, 2},
        {"a,b\n3,4\n", true, 1},
        {"5.1,3.5,Iris-setosa\n4.9,3.0,Iris-virginica\n", false, 2}, /* UCI's iris.data */
        {"label,0,1\n7,0.5,0.25\n", true, 1},                        /* column numbers as names */
        {"id_code,diagnosis\n000c,2\n", true, 1},
        {",a\n0,1\n", true, 1}, /* a pandas index */
        {"word\nred\nblue\n", true, 2},
        {"7", false, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        interp_table t;
        REQUIRE_OK(ctx, csv(cases[i].text, &t));
        CHECK((t.column_names != NULL) == cases[i].header);
        CHECK(t.n_rows == cases[i].rows);
        interp_table_free(ctx, &t);
    }
}

TEST(csv_finds_columns_by_name_and_number)
{
    interp_table t;
    REQUIRE_OK(ctx, csv("Age,age,Target,5\n1,2,3,x\n", &t));
    CHECK(interp_table_column(&t, "age") == 1 && interp_table_column(&t, "Age") == 0);
    CHECK(interp_table_column(&t, "TARGET") == 2 && interp_table_column(&t, "-1") == 3);
    CHECK(interp_table_column(&t, "2") == 2 && interp_table_column(&t, "5") == 3);
    CHECK(interp_table_column(&t, "4") == -1 && interp_table_column(&t, "-5") == -1);
    CHECK(interp_table_column(&t, "no") == -1 && interp_table_column(&t, "") == -1);
    interp_table_free(ctx, &t);
}

TEST(csv_names_the_ragged_line)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"a,b,label\n1,2,0\n3,1\n", "line 3 has fewer"},
        {"a,b\n1,2,0\n", "line 2 has more"},
        {"a,b\n\"x\n\n\",1\n2\n", "line 5 has fewer"},
        {"a,b\n1,\"2\n", "line 2: a quote is never closed"},
        {"a,b\n1,\"2\" x\n", "line 2: text follows"},
        {"a,b\n", "no row"},
        {"", "empty"},
        {" \n\n", "empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        interp_table t;
        CHECK(csv(cases[i].text, &t) == INTERP_FORMAT);
        if (!strstr(interp_error(ctx), cases[i].word))
            test_fail(__FILE__, __LINE__, "\"%s\" does not say %s", interp_error(ctx),
                      cases[i].word);
        CHECK(t.cells == NULL);
    }
    interp_table t;
    CHECK(interp_csv_parse(ctx, "a,b\n1,\0", 8, &t) == INTERP_FORMAT);
    CHECK(interp_csv_parse(ctx, "a,b\n1,\"\0\"", 10, &t) == INTERP_FORMAT);
}

/* ---- safetensors */

static size_t make_st(unsigned char *out, const char *header, size_t data)
{
    const size_t n = strlen(header);
    memset(out, 0, 8);
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(n >> 8 * i & 255);
    memcpy(out + 8, header, n);
    for (size_t i = 0; i < data; i++) out[8 + n + i] = (unsigned char)i;
    return 8 + n + data;
}

#define ST_A    "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}"
#define ST_B    "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}"
#define ST_DEEP "[[[[[[[["

TEST(safetensors_refuses_what_the_format_forbids)
{
    static const struct {
        const char *header;
        size_t data;
        interp_status status;
    } cases[] = {
        {"{" ST_A "," ST_B "}", 4, INTERP_OK},
        {"{" ST_B " ,\n" ST_A "}   ", 4, INTERP_OK},
        {"{}", 0, INTERP_OK},
        {"{\"__metadata__\":{},\"s\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}", 4,
         INTERP_OK},
        {"{\"z\":{\"dtype\":\"F64\",\"shape\":[3,0,7],\"data_offsets\":[0,0]}," ST_A "}", 2,
         INTERP_OK},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2],\"more\":[1,{\"x\":null}]}}",
         2, INTERP_OK},
        {"{" ST_A "," ST_B "}", 5, INTERP_FORMAT},
        {"{" ST_A "," ST_B "}", 3, INTERP_FORMAT},
        {" {" ST_A "}", 2, INTERP_FORMAT},
        {"{" ST_A "}\n", 2, INTERP_FORMAT},
        {"{" ST_A "}x", 2, INTERP_FORMAT},
        {"{" ST_A, 2, INTERP_FORMAT},
        {"{" ST_A ",}", 2, INTERP_FORMAT},
        {"[" ST_A "]", 2, INTERP_FORMAT},
        {"{" ST_A "," ST_A "}", 2, INTERP_FORMAT},
        {"{" ST_B "}", 4, INTERP_FORMAT},
        {"{" ST_A ",\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3,
         INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,0]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2.0],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[02],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2,3]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,0]}}", 0,
         INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
         INTERP_FORMAT},
        {"{\"__metadata__\":{\"k\":1}," ST_A "}", 2, INTERP_FORMAT},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}," ST_A "}", 2, INTERP_FORMAT},
        {"{\"__metadata__\":{},\"__metadata__\":{}," ST_A "}", 2, INTERP_FORMAT},
        {"{\"\\u0000\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"\\uD800\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"\\x\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"\xC3\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"\xED\xA0\x80\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         INTERP_FORMAT},
        {"{\"a\nb\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"x\":" ST_DEEP ST_DEEP ST_DEEP ST_DEEP ST_DEEP "]]}}", 2, INTERP_FORMAT},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,2]}}", 2,
         INTERP_UNSUPPORTED},
        {"{\"a\":{\"dtype\":\"Q7\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, INTERP_UNSUPPORTED},
        {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2,
         INTERP_UNSUPPORTED},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, INTERP_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char file[400];
        interp_named_arrays a;
        memset(&a, 0, sizeof a);
        const size_t before = used(), n = make_st(file, cases[i].header, cases[i].data);
        const interp_status status = interp_safetensors_parse(ctx, file, n, &a);
        if (status != cases[i].status)
            test_fail(__FILE__, __LINE__, "%s: %s, %s", cases[i].header, interp_status_name(status),
                      interp_error(ctx));
        if (status) CHECK(a.items == NULL);
        else interp_named_arrays_free(ctx, &a);
        CHECK(used() == before);
    }
    unsigned char file[64];
    interp_named_arrays a;
    make_st(file, "{}", 0);
    memset(file, 0xFF, 8);
    CHECK(interp_safetensors_parse(ctx, file, 10, &a) == INTERP_FORMAT);
    memcpy(file, "\x01\xE1\xF5\x05\0\0\0\0", 8); /* 100,000,001 */
    CHECK(interp_safetensors_parse(ctx, file, sizeof file, &a) == INTERP_FORMAT);
}

TEST(safetensors_decodes_names)
{
    unsigned char file[300];
    interp_named_arrays a;
    const size_t n = make_st(file,
                             "{\"__metadata__\":{\"k\\t\":\"\\u00e9\"},\"\\u00e9\\\"\\\\\\/"
                             "\\uD83D\\ude00\":{\"dtype\":\"I16\",\"shape\":[1],"
                             "\"data_offsets\":[0,2]}}",
                             2);
    REQUIRE_OK(ctx, interp_safetensors_parse(ctx, file, n, &a));
    REQUIRE(a.n == 1 && a.n_metadata == 1);
    CHECK_STR(a.items[0].name, "\xC3\xA9\"\\/\xF0\x9F\x98\x80");
    CHECK_STR(a.keys[0], "k\t");
    CHECK_STR(a.values[0], "\xC3\xA9");
    CHECK(*(const int16_t *)a.items[0].array.data == 0x0100);
    interp_named_arrays_free(ctx, &a);
}

TEST(safetensors_round_trips)
{
    interp_named_array items[INTERP_DTYPE_COUNT];
    char names[INTERP_DTYPE_COUNT][16];
    char key[] = "for\"mat", value[] = "pt\n";
    char *keys[1] = {key}, *values[1] = {value};
    interp_named_arrays all, back;
    memset(&all, 0, sizeof all);
    all.items = items;
    all.n = INTERP_DTYPE_COUNT;
    all.keys = keys;
    all.values = values;
    all.n_metadata = 1;
    for (int i = 0; i < all.n; i++) {
        snprintf(names[i], sizeof names[i], "w.%d", i);
        items[i].name = names[i];
        items[i].array =
            new_array((interp_dtype)i, i % 4, i % 4 ? 3 : 1, i % 4 > 1 ? 2 : 1, i % 4 > 2 ? 3 : 1);
    }
    REQUIRE_OK(ctx, interp_safetensors_write(ctx, at("s.safetensors"), &all));
    REQUIRE_OK(ctx, interp_safetensors_read(ctx, at("s.safetensors"), &back));
    CHECK(back.n == all.n && back.n_metadata == 1);
    CHECK_STR(back.keys[0], key);
    CHECK_STR(back.values[0], value);
    for (int i = 0; i < back.n; i++) {
        const int k = atoi(back.items[i].name + 2);
        CHECK(same_array(&back.items[i].array, &items[k].array));
        if (i) /* larger elements first keep all of them aligned */
            CHECK(interp_dtype_size(back.items[i].array.dtype) <=
                  interp_dtype_size(back.items[i - 1].array.dtype));
    }
    interp_named_arrays_free(ctx, &back);
    items[1].name = names[0];
    CHECK(interp_safetensors_write(ctx, at("t.safetensors"), &all) == INTERP_BAD_ARGUMENT);
    char bad[] = "\xFF";
    items[1].name = bad;
    CHECK(interp_safetensors_write(ctx, at("t.safetensors"), &all) == INTERP_BAD_ARGUMENT);
    for (int i = 0; i < all.n; i++) interp_array_free(ctx, &items[i].array);
}

/* ---- IDX, CIFAR-10 */

TEST(idx_wants_the_exact_size)
{
    static const struct {
        int type;
        interp_dtype dtype;
    } types[6] = {{8, INTERP_UINT8},  {9, INTERP_INT8},     {11, INTERP_INT16},
                  {12, INTERP_INT32}, {13, INTERP_FLOAT32}, {14, INTERP_FLOAT64}};
    for (int k = 0; k < 6; k++) {
        interp_array a = new_array(types[k].dtype, 1, 3, 1, 1), b = itp_array_none();
        const size_t size = interp_dtype_size(a.dtype), n = 8 + 3 * size;
        unsigned char file[40] = {0, 0, 0, 1, 0, 0, 0, 3};
        file[2] = (unsigned char)types[k].type;
        memcpy(file + 8, a.data, 3 * size);
        if (itp_host_is_little()) itp_swap_bytes(file + 8, 3, size);
        REQUIRE_OK(ctx, interp_idx_parse(ctx, file, n, &b));
        CHECK(same_array(&a, &b));
        interp_array_free(ctx, &a);
        interp_array_free(ctx, &b);
        CHECK(interp_idx_parse(ctx, file, n + 1, &b) == INTERP_FORMAT);
        CHECK(interp_idx_parse(ctx, file, n - 1, &b) == INTERP_FORMAT);
    }
    interp_array b;
    static const unsigned char huge[16] = {0,   0,   8,   3,   255, 255, 255, 255,
                                           255, 255, 255, 255, 255, 255, 255, 255};
    CHECK(interp_idx_parse(ctx, huge, sizeof huge, &b) == INTERP_FORMAT);
    static const unsigned char many[4] = {0, 0, 8, 9}, type[4] = {0, 0, 10, 0};
    CHECK(interp_idx_parse(ctx, many, 4, &b) == INTERP_UNSUPPORTED);
    CHECK(interp_idx_parse(ctx, type, 4, &b) == INTERP_FORMAT);
}

static unsigned char cifar[20 * 3073];

static void make_cifar(void)
{
    for (int i = 0; i < 20; i++) {
        cifar[i * 3073] = (unsigned char)(i % 10);
        for (int k = 0; k < 3072; k++) cifar[i * 3073 + 1 + k] = (unsigned char)(i + k % 200);
    }
}

TEST(cifar10_reads_records)
{
    interp_dataset d;
    make_cifar();
    REQUIRE_OK(ctx, interp_cifar10_parse(ctx, cifar, sizeof cifar, &d));
    CHECK(d.n == 20 && d.n_classes == 10 && d.shape.rank == 3 && d.shape.dim[2] == 32);
    CHECK(d.y[13] == 3 && d.x[13 * 3072 + 7] == (float)(20 / 255.0f));
    CHECK_STR(d.class_names[3], "cat");
    interp_dataset_free(ctx, &d);
    CHECK(interp_cifar10_parse(ctx, cifar, sizeof cifar - 1, &d) == INTERP_FORMAT);
    CHECK(interp_cifar10_parse(ctx, cifar, 0, &d) == INTERP_FORMAT);
    cifar[3073] = 10;
    CHECK(interp_cifar10_parse(ctx, cifar, sizeof cifar, &d) == INTERP_FORMAT);
    CHECK(strstr(interp_error(ctx), "record 1"));
    make_cifar();
}

/* ---- images */

/* Each channel a ramp of its own. */
static void put_png(const char *name, int width, int height, int channels)
{
    unsigned char pixels[64 * 64 * 4];
    for (int i = 0; i < width * height; i++)
        for (int c = 0; c < channels; c++)
            pixels[i * channels + c] = (unsigned char)(i * 5 + c * 50);
    if (!stbi_write_png(at(name), width, height, channels, pixels, width * channels)) exit(1);
}

TEST(images_decode_to_planes_between_0_and_1)
{
    interp_array a;
    for (int channels = 1; channels <= 4; channels++) {
        put_png("p.png", 6, 4, channels);
        REQUIRE_OK(ctx, interp_image_file_read(ctx, at("p.png"), 0, &a));
        const int c_n = channels < 3 ? 1 : 3; /* alpha is dropped */
        CHECK(a.dtype == INTERP_FLOAT32 && a.shape.rank == 3 && a.shape.dim[0] == c_n &&
              a.shape.dim[1] == 4 && a.shape.dim[2] == 6);
        for (int c = 0; c < c_n; c++)
            for (int i = 0; i < 24; i++)
                CHECK(((const float *)a.data)[c * 24 + i] ==
                      (float)((float)(i * 5 + c * 50) / 255));
        interp_array_free(ctx, &a);
    }
    REQUIRE_OK(ctx, interp_image_file_read(ctx, at("p.png"), 1, &a));
    CHECK(a.shape.dim[0] == 1);
    interp_array_free(ctx, &a);
    REQUIRE_OK(ctx, interp_image_file_parse(ctx, jpeg_grey, sizeof jpeg_grey, 0, &a));
    CHECK(a.shape.dim[0] == 1 && a.shape.dim[1] == 16 && a.shape.dim[2] == 16);
    const double jpeg_step = 2.0 / 255; /* quantisation at quality 95 */
    CHECK_NEAR(((const float *)a.data)[77], 100 / 255.0, jpeg_step);
    interp_array_free(ctx, &a);
    static const float deep[4] = {0, 256 / 65535.0f, 1000 / 65535.0f, 1};
    REQUIRE_OK(ctx, interp_image_file_parse(ctx, png_16_bit, sizeof png_16_bit, 0, &a));
    CHECK(a.shape.dim[0] == 1 && memcmp(a.data, deep, sizeof deep) == 0);
    interp_array_free(ctx, &a);
    CHECK(interp_image_file_read(ctx, at("p.png"), 2, &a) == INTERP_BAD_ARGUMENT);
    CHECK(interp_image_file_parse(ctx, "not a picture", 13, 0, &a) == INTERP_FORMAT);
    CHECK(interp_image_file_parse(ctx, "", 0, 0, &a) == INTERP_FORMAT);
    unsigned char big[45] = {
        137, 80, 78, 71, 13, 10, 26, 10, 0, 0,  0,  13, 73,
        72,  68, 82, 0,  0,  78, 32, 0,  0, 78, 32, 8}; /* says 20000 x 20000 */
    const uint32_t crc = itp_crc32(big + 12, 17);
    for (int i = 0; i < 4; i++) big[29 + i] = (unsigned char)(crc >> (24 - 8 * i) & 255);
    memcpy(big + 33, "\0\0\0\0IEND\xAE\x42\x60\x82", 12);
    CHECK(interp_image_file_parse(ctx, big, sizeof big, 0, &a) == INTERP_UNSUPPORTED);
}

TEST(resize_keeps_the_mean_and_interpolates)
{
    float x[12], out[64];
    for (int i = 0; i < 12; i++) x[i] = (float)(i * i);
    interp_planes_resize(x, 1, 3, 4, out, 3, 4);
    CHECK(memcmp(x, out, sizeof x) == 0);
    interp_planes_resize(x, 1, 3, 4, out, 1, 1);
    CHECK_NEAR(out[0], 506.0 / 12, 1e-5);
    interp_planes_resize(x, 1, 2, 4, out, 2, 2); /* pairs averaged */
    CHECK(out[0] == 0.5f && out[1] == 6.5f && out[2] == 20.5f && out[3] == 42.5f);
    interp_planes_resize(x, 1, 1, 3, out, 1, 2); /* 1.5 pixels each: (0 + 1/2) / 1.5 */
    CHECK_NEAR(out[0], 1.0 / 3, 1e-6);
    CHECK_NEAR(out[1], (0.5 + 4) / 1.5, 1e-6);
    interp_planes_resize(x, 1, 1, 2, out, 1, 4); /* centres at -1/4, 1/4, 3/4, 5/4 */
    CHECK(out[0] == 0 && out[1] == 0.25f && out[2] == 0.75f && out[3] == 1);
    interp_planes_resize(x, 2, 1, 2, out, 2, 1);
    CHECK(out[0] == 0.5f && out[1] == 0.5f && out[2] == 6.5f && out[3] == 6.5f);
    interp_planes_resize(x, 1, 1, 1, out, 5, 5);
    for (int i = 0; i < 25; i++) CHECK(out[i] == x[0]);
}

/* ---- data sets */

static interp_dataset small_set(int n, int n_classes)
{
    float x[64 * 2];
    int32_t y[64];
    const interp_shape shape = {1, {2, 1, 1, 1, 1, 1, 1, 1}};
    static const char *const names[4] = {"a", "b", "c", "d"};
    interp_dataset d;
    for (int i = 0; i < n; i++) {
        x[2 * i] = (float)i;
        x[2 * i + 1] = (float)(i * i) * 0.5f;
        y[i] = i % n_classes;
    }
    if (interp_dataset_from_arrays(ctx, x, y, n, &shape, n_classes, names, &d)) exit(1);
    return d;
}

TEST(dataset_from_arrays_copies)
{
    float x[2] = {1, 2};
    int32_t y[2] = {0, 1};
    char text[] = "one";
    const char *names[2] = {text, "two"};
    const interp_shape shape = {1, {1, 1, 1, 1, 1, 1, 1, 1}};
    interp_dataset d;
    REQUIRE_OK(ctx, interp_dataset_from_arrays(ctx, x, y, 2, &shape, 2, names, &d));
    x[0] = 9, y[0] = 1, text[0] = 'X';
    CHECK(d.x[0] == 1 && d.x[1] == 2 && d.y[0] == 0 && d.n == 2 && d.n_classes == 2);
    CHECK_STR(d.class_names[0], "one");
    interp_dataset_free(ctx, &d);
    CHECK(d.x == NULL && d.n == 0);
    REQUIRE_OK(ctx, interp_dataset_from_arrays(ctx, x, NULL, 2, &shape, 0, NULL, &d));
    CHECK(d.y == NULL && d.n_classes == 0);
    interp_dataset_free(ctx, &d);
    y[1] = 2;
    CHECK(interp_dataset_from_arrays(ctx, x, y, 2, &shape, 2, NULL, &d) == INTERP_BAD_ARGUMENT);
    CHECK(interp_dataset_from_arrays(ctx, x, y, 0, &shape, 2, NULL, &d) == INTERP_BAD_ARGUMENT);
}

TEST(subset_takes_samples_in_the_order_given)
{
    interp_dataset all = small_set(10, 3), d;
    const int indices[3] = {7, 0, 7}, bad[2] = {0, 10};
    REQUIRE_OK(ctx, interp_dataset_subset(ctx, &all, indices, 3, &d));
    CHECK(d.x[0] == 7 && d.x[2] == 0 && d.x[4] == 7 && d.y[0] == 1 && d.y[1] == 0);
    CHECK_STR(d.class_names[2], "c");
    interp_dataset_free(ctx, &d);
    CHECK(interp_dataset_subset(ctx, &all, bad, 2, &d) == INTERP_BAD_ARGUMENT);
    CHECK(interp_dataset_subset(ctx, &all, bad, 0, &d) == INTERP_BAD_ARGUMENT);
    interp_dataset_free(ctx, &all);
}

TEST(split_is_stratified_and_repeatable)
{
    interp_dataset all, a, b, c, d;
    REQUIRE_OK(ctx, digits_open(ctx, &all));
    REQUIRE_OK(ctx, interp_dataset_split(ctx, &all, 0.2, 5, &a, &b));
    REQUIRE_OK(ctx, interp_dataset_split(ctx, &all, 0.2, 5, &c, &d));
    CHECK(a.n + b.n == all.n && a.n == c.n);
    CHECK(memcmp(a.x, c.x, (size_t)a.n * 64 * sizeof(float)) == 0);
    CHECK(memcmp(b.y, d.y, (size_t)b.n * sizeof(int32_t)) == 0);
    for (int k = 0; k < 10; k++) {
        int n = 0, m = 0;
        for (int i = 0; i < all.n; i++) n += all.y[i] == k;
        for (int i = 0; i < b.n; i++) m += b.y[i] == k;
        CHECK(m == (int)floor(0.2 * n + 0.5));
    }
    interp_dataset_free(ctx, &c);
    interp_dataset_free(ctx, &d);
    REQUIRE_OK(ctx, interp_dataset_split(ctx, &all, 0.2, 6, &c, &d));
    CHECK(memcmp(b.x, d.x, (size_t)b.n * 64 * sizeof(float)) != 0);
    interp_dataset_free(ctx, &a);
    interp_dataset_free(ctx, &b);
    interp_dataset_free(ctx, &c);
    interp_dataset_free(ctx, &d);
    interp_dataset_free(ctx, &all);
}

TEST(split_leaves_no_class_of_two_on_one_side)
{
    const double fractions[4] = {0.001, 0.2, 0.5, 0.999};
    for (int n = 4; n < 16; n++)
        for (int f = 0; f < 4; f++) {
            interp_dataset all = small_set(n, 4), a, b; /* classes of 1 to 4 samples */
            if (interp_dataset_split(ctx, &all, fractions[f], 1, &a, &b)) {
                CHECK(n < 5);
                interp_dataset_free(ctx, &all);
                continue;
            }
            bool seen[20] = {false};
            for (int k = 0; k < 4; k++) {
                int in_a = 0, in_b = 0;
                for (int i = 0; i < a.n; i++) in_a += a.y[i] == k;
                for (int i = 0; i < b.n; i++) in_b += b.y[i] == k;
                CHECK(in_a + in_b < 2 || (in_a && in_b));
            }
            for (int i = 0; i < a.n; i++) seen[(int)a.x[2 * i]] = true;
            for (int i = 0; i < b.n; i++) CHECK(!seen[(int)b.x[2 * i]]);
            interp_dataset_free(ctx, &a);
            interp_dataset_free(ctx, &b);
            interp_dataset_free(ctx, &all);
        }
    interp_dataset one = small_set(1, 1), a, b;
    CHECK(interp_dataset_split(ctx, &one, 0.5, 1, &a, &b) == INTERP_BAD_ARGUMENT);
    CHECK(interp_dataset_split(ctx, &one, 1, 1, &a, &b) == INTERP_BAD_ARGUMENT);
    CHECK(interp_dataset_split(ctx, &one, (double)NAN, 1, &a, &b) == INTERP_BAD_ARGUMENT);
    interp_dataset_free(ctx, &one);
}

TEST(statistics_match_numpy)
{
    /* numpy: load_iris().data.mean(0), .std(0) */
    static const double mean_want[4] = {876.5 / 150, 458.6 / 150, 563.7 / 150, 179.9 / 150};
    static const double std_want[4] = {0.82530129, 0.43441097, 1.75940407, 0.75969263};
    const double single = 2e-6; /* the data are float32 of size 8 */
    interp_dataset d;
    float mean[4], std[4], min[4], max[4];
    REQUIRE_OK(ctx, iris_open(ctx, &d));
    CHECK(d.n == 150 && d.n_classes == 3 && d.shape.rank == 1 && d.y[149] == 2);
    CHECK_STR(d.class_names[1], "versicolor");
    interp_dataset_statistics(&d, mean, std, min, max);
    for (int k = 0; k < 4; k++) {
        CHECK_NEAR(mean[k], mean_want[k], single);
        CHECK_NEAR(std[k], std_want[k], single);
    }
    CHECK(min[0] == (float)4.3 && max[0] == (float)7.9 && min[3] == (float)0.1 && max[3] == 2.5f);
    interp_dataset_free(ctx, &d);
}

TEST(normalised_data_has_mean_0_and_std_1)
{
    make_cifar();
    interp_dataset d;
    float mean[3], std[3];
    REQUIRE_OK(ctx, interp_cifar10_parse(ctx, cifar, sizeof cifar, &d));
    interp_dataset_statistics(&d, mean, std, NULL, NULL);
    interp_dataset_normalise(&d, mean, std);
    interp_dataset_statistics(&d, mean, std, NULL, NULL);
    for (int c = 0; c < 3; c++) {
        CHECK_NEAR(mean[c], 0, 1e-6);
        CHECK_NEAR(std[c], 1, 1e-5);
    }
    const float zero[3] = {0, 0, 0};
    const float before = d.x[5];
    interp_dataset_normalise(&d, zero, zero);
    CHECK(d.x[5] == before);
    interp_dataset_free(ctx, &d);
}

TEST(dataset_check_names_the_sample)
{
    interp_dataset d = small_set(8, 4);
    CHECK_OK(ctx, interp_dataset_check(ctx, &d));
    d.x[11] = (float)NAN;
    CHECK(interp_dataset_check(ctx, &d) == INTERP_NOT_FINITE);
    CHECK(strstr(interp_error(ctx), "sample 5: value 1"));
    d.x[11] = (float)-HUGE_VAL;
    CHECK(interp_dataset_check(ctx, &d) == INTERP_NOT_FINITE);
    d.x[11] = 0;
    d.y[6] = 4;
    CHECK(interp_dataset_check(ctx, &d) == INTERP_BAD_ARGUMENT);
    CHECK(strstr(interp_error(ctx), "sample 6 has label 4"));
    d.y[6] = -1;
    CHECK(interp_dataset_check(ctx, &d) == INTERP_BAD_ARGUMENT);
    interp_dataset_free(ctx, &d);
    CHECK(interp_dataset_check(ctx, &d) == INTERP_BAD_ARGUMENT);
}

/* ---- augmentation */

static float picture[2 * 5 * 7];
static const interp_shape picture_shape = {3, {2, 5, 7, 1, 1, 1, 1, 1}};

static void make_picture(void)
{
    for (int i = 0; i < 70; i++) picture[i] = (float)(i * 13 % 29) + 1;
}

TEST(augment_depends_on_seed_and_index_only)
{
    interp_augment_desc d;
    float a[70], b[70];
    memset(&d, 0, sizeof d);
    make_picture();
    interp_augment(NULL, picture, &picture_shape, 1, 2, a);
    CHECK(memcmp(a, picture, sizeof a) == 0);
    interp_augment(&d, picture, &picture_shape, 1, 2, a);
    CHECK(memcmp(a, picture, sizeof a) == 0);
    d.flip_horizontal = d.flip_vertical = true;
    d.shift = 1.5f, d.rotate_deg = 20, d.scale = 0.2f, d.crop_padding = 2, d.fill = 0.5f;
    const size_t calls = interp_memory_read(ctx).allocations;
    interp_augment(&d, picture, &picture_shape, 1, 2, a);
    interp_augment(&d, picture, &picture_shape, 1, 2, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    interp_augment(&d, picture, &picture_shape, 1, 3, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    interp_augment(&d, picture, &picture_shape, 2, 2, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    CHECK(interp_memory_read(ctx).allocations == calls);
    const interp_shape flat = {1, {70, 1, 1, 1, 1, 1, 1, 1}};
    interp_augment(&d, picture, &flat, 1, 2, a);
    CHECK(memcmp(a, picture, sizeof a) == 0);
}

TEST(augment_flips_are_exact_and_half_of_the_time)
{
    interp_augment_desc d;
    float a[70];
    int kept = 0, flipped = 0;
    memset(&d, 0, sizeof d);
    make_picture();
    for (int vertical = 0; vertical < 2; vertical++) {
        d.flip_horizontal = !vertical;
        d.flip_vertical = vertical;
        kept = flipped = 0;
        for (uint64_t index = 0; index < 400; index++) {
            interp_augment(&d, picture, &picture_shape, 9, index, a);
            bool same = true, mirror = true;
            for (int i = 0; i < 70; i++) {
                const int x = i % 7, y = i / 7 % 5, c = i / 35;
                const int from = vertical ? c * 35 + (4 - y) * 7 + x : c * 35 + y * 7 + 6 - x;
                same &= a[i] == picture[i];
                mirror &= a[i] == picture[from];
            }
            kept += same;
            flipped += mirror;
        }
        CHECK(kept + flipped == 400);
        CHECK(kept > 150 && kept < 250); /* five standard deviations of a fair coin */
    }
}

TEST(augment_crops_move_by_whole_pixels)
{
    interp_augment_desc d;
    float a[70];
    int seen[5][5];
    memset(&d, 0, sizeof d);
    memset(seen, 0, sizeof seen);
    make_picture();
    d.crop_padding = 2;
    d.fill = -1;
    for (uint64_t index = 0; index < 1000; index++) {
        interp_augment(&d, picture, &picture_shape, 4, index, a);
        int found = 0;
        for (int dy = -2; dy <= 2; dy++)
            for (int dx = -2; dx <= 2; dx++) {
                bool same = true;
                for (int i = 0; i < 70; i++) {
                    const int x = i % 7 - dx, y = i / 7 % 5 - dy;
                    const bool inside = x >= 0 && y >= 0 && x < 7 && y < 5;
                    same &= a[i] == (inside ? picture[i / 35 * 35 + y * 7 + x] : -1);
                }
                found += same;
                seen[dy + 2][dx + 2] += same;
            }
        CHECK(found == 1);
    }
    for (int i = 0; i < 25; i++) CHECK(seen[i / 5][i % 5] > 10); /* 40 expected */
}

TEST(augment_rotation_and_scale_stay_in_range)
{
    /* A ramp is kept by bilinear sampling, so inner pixels tell where they came from. */
    enum { SIDE = 33 };
    static float ramp[SIDE * SIDE], a[SIDE * SIDE];
    const interp_shape shape = {3, {1, SIDE, SIDE, 1, 1, 1, 1, 1}};
    interp_augment_desc d;
    memset(&d, 0, sizeof d);
    for (int i = 0; i < SIDE * SIDE; i++) ramp[i] = (float)(i % SIDE) - SIDE / 2;
    double most_turn = 0, most_zoom = 0;
    for (uint64_t index = 0; index < 200; index++) {
        d.rotate_deg = 30, d.scale = 0;
        interp_augment(&d, ramp, &shape, 1, index, a);
        const int centre = SIDE / 2 * SIDE + SIDE / 2;
        const double gx = (double)a[centre + 1] - (double)a[centre - 1];
        const double gy = (double)a[centre + SIDE] - (double)a[centre - SIDE];
        CHECK_NEAR(a[centre], 0, 1e-5);
        CHECK_NEAR(hypot(gx, gy), 2, 1e-4);
        most_turn = fmax(most_turn, fabs(atan2(gy, gx)) * 57.29577951308232);
        d.rotate_deg = 0, d.scale = 0.25f;
        interp_augment(&d, ramp, &shape, 1, index, a);
        const double zoom = 2 / ((double)a[centre + 1] - (double)a[centre - 1]);
        most_zoom = fmax(most_zoom, fabs(zoom - 1));
    }
    CHECK(most_turn > 25 && most_turn <= 30.001);
    CHECK(most_zoom > 0.2 && most_zoom <= 0.25001);
}

/* ---- everything by name */

static void put_idx(const char *name, int rank, int n, int side, int classes)
{
    unsigned char file[16 + 40 * 64];
    const size_t head = 4 + 4 * (size_t)rank;
    const size_t size = rank == 3 ? (size_t)(n * side * side) : (size_t)n;
    memset(file, 0, sizeof file);
    file[2] = 8, file[3] = (unsigned char)rank;
    file[7] = (unsigned char)n;
    if (rank == 3) file[11] = file[15] = (unsigned char)side;
    for (size_t i = 0; i < size; i++)
        file[head + i] = (unsigned char)(rank == 3 ? i * 7 : i % (size_t)classes);
    put(name, file, head + size);
}

static void folder_make(const char *name)
{
    if (mkdir(at(name), 0700) && errno != EEXIST) exit(1);
}

static void free_both(interp_dataset *a, interp_dataset *b)
{
    interp_dataset_free(ctx, a);
    interp_dataset_free(ctx, b);
}

#define OPENS(s, n_train, n_test, classes)                                                         \
    do {                                                                                           \
        memset(&a, 0, sizeof a), memset(&b, 0, sizeof b);                                          \
        REQUIRE_OK(ctx, interp_data_open(ctx, s, 0, &a, &b));                                      \
        if (a.n != n_train || b.n != n_test || a.n_classes != classes || b.n_classes != classes)   \
            test_fail(__FILE__, __LINE__, "%s: %d and %d samples, %d classes", s, a.n, b.n,        \
                      a.n_classes);                                                                \
    } while (0)

#define REFUSED(s, want, word)                                                                     \
    do {                                                                                           \
        const interp_status got = interp_data_open(ctx, s, 0, &a, &b);                             \
        if (got != want || !strstr(interp_error(ctx), word))                                       \
            test_fail(__FILE__, __LINE__, "%s: %s, \"%s\"", s, interp_status_name(got),            \
                      interp_error(ctx));                                                          \
    } while (0)

static void make_folders(void)
{
    folder_make("idx"), folder_make("idx2"), folder_make("idx3"), folder_make("empty");
    put_idx("idx/train-images-idx3-ubyte", 3, 20, 4, 0);
    put_idx("idx/train-labels.idx1-ubyte", 1, 20, 0, 4);
    put_idx("idx/t10k-images.idx3-ubyte", 3, 8, 4, 0);
    put_idx("idx/t10k-labels-idx1-ubyte", 1, 8, 0, 3);
    put_idx("idx2/t10k-images-idx3-ubyte", 3, 20, 4, 0);
    put_idx("idx2/t10k-labels-idx1-ubyte", 1, 20, 0, 4);
    put_idx("idx3/my-images-idx3-ubyte", 3, 20, 4, 0);
    put_idx("idx3/my-labels-idx1-ubyte", 1, 20, 0, 4);
    folder_make("cifar"), folder_make("cifar2");
    make_cifar();
    put("cifar/data_batch_1.bin", cifar, sizeof cifar);
    put("cifar/data_batch_2.bin", cifar, 3073);
    put("cifar/test_batch.bin", cifar, 5 * 3073);
    put("cifar2/test_batch.bin", cifar, sizeof cifar);
    folder_make("pets"), folder_make("pets/dog"), folder_make("pets/cat"), folder_make("pets/none");
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "pets/dog/%d.png", i);
        put_png(name, 6, 4, 1);
        snprintf(name, sizeof name, "pets/cat/%d.PNG", i);
        put_png(name, 8, 8, 1);
    }
    put_text("pets/dog/notes.txt", "no picture");
    folder_make("eyes");
    put_png("eyes/007.png", 5, 5, 3);
    put_png("eyes/008.png", 5, 5, 1);
    put_png("eyes/009.png", 4, 4, 1);
    put_png("eyes/010.png", 5, 5, 1);
    put_text("eyes.csv", "id_code,diagnosis\n007,0\n008,1\n009,0\n010,1\n");
}

TEST(data_open_reads_every_form)
{
    interp_dataset a, b;
    OPENS(spec("idx:", "idx", ""), 20, 8, 4);
    CHECK(a.shape.rank == 3 && a.shape.dim[0] == 1 && a.shape.dim[1] == 4);
    CHECK(a.x[1] == (float)(7 / 255.0f) && a.y[5] == 1);
    free_both(&a, &b);
    warning[0] = 0;
    OPENS(spec("idx:", "idx2", ""), 16, 4, 4);
    CHECK(strstr(warning, "only the test set"));
    free_both(&a, &b);
    OPENS(spec("idx:", "idx3", ""), 16, 4, 4);
    free_both(&a, &b);
    OPENS(spec("cifar10:", "cifar", ""), 21, 5, 10);
    CHECK_STR(b.class_names[9], "truck");
    free_both(&a, &b);
    OPENS(spec("cifar10:", "cifar2", ""), 10, 10, 10);
    free_both(&a, &b);
    OPENS(spec("folder:", "pets", ""), 8, 2, 2);
    CHECK_STR(a.class_names[0], "cat");
    CHECK(a.shape.dim[0] == 1 && a.shape.dim[1] == 8); /* size of the first, grey kept */
    free_both(&a, &b);
    char text[1024];
    snprintf(text, sizeof text, "table:%s,images=%s", at("eyes.csv"), at("eyes"));
    OPENS(text, 2, 2, 2);
    CHECK(a.shape.dim[0] == 3 && a.shape.dim[2] == 5);
    free_both(&a, &b);
    snprintf(text, sizeof text, "table:%s,images=%s,label=1,id=id_code,size=3x2", at("eyes.csv"),
             at("eyes"));
    OPENS(text, 2, 2, 2);
    CHECK(a.shape.dim[1] == 3 && a.shape.dim[2] == 2);
    free_both(&a, &b);
    interp_array x = new_array(INTERP_UINT8, 3, 10, 3, 3),
                 y = new_array(INTERP_FLOAT64, 1, 10, 1, 1);
    for (int i = 0; i < 10; i++) ((double *)y.data)[i] = i % 2;
    CHECK_OK(ctx, interp_npy_write(ctx, at("x.npy"), &x));
    CHECK_OK(ctx, interp_npy_write(ctx, at("y.npy"), &y));
    snprintf(text, sizeof text, "npy:%s,%s,size=6x6", at("x.npy"), at("y.npy"));
    OPENS(text, 8, 2, 2);
    CHECK(a.shape.rank == 3 && a.shape.dim[0] == 1 && a.shape.dim[1] == 6);
    for (int i = 0; i < 8 * 36; i++) CHECK(a.x[i] >= 0 && a.x[i] <= 1);
    free_both(&a, &b);
    OPENS(spec("npy:", "x.npy", ""), 8, 2, 0);
    CHECK(a.y == NULL);
    free_both(&a, &b);
    interp_array_free(ctx, &x);
    interp_array_free(ctx, &y);
}

TEST(data_open_reads_tables)
{
    interp_dataset a, b;
    put_text("flowers.csv", "Id,length,Species,width,\n1,1.5,rose,2,\n2,1.6,tulip,3,\n"
                            "3,1.7,rose,4,\n4,1.8,tulip,5,\n");
    OPENS(spec("csv:", "flowers.csv", ""), 2, 2, 2);
    CHECK(a.shape.rank == 1 && a.shape.dim[0] == 2); /* neither the id nor the empty column */
    CHECK_STR(a.class_names[1], "tulip");
    CHECK(strstr(warning, "left out"));
    free_both(&a, &b);
    put_text("plain.csv", "0.5,1,0\n0.25,1,1\n1,2,0\n2,2,1\n");
    OPENS(spec("csv:", "plain.csv", ""), 2, 2, 2);
    CHECK(a.shape.dim[0] == 2);
    free_both(&a, &b);
    OPENS(spec("csv:", "plain.csv", ",label=1"), 2, 2, 3);
    CHECK(a.class_names == NULL);
    free_both(&a, &b);
    REFUSED(spec("csv:", "plain.csv", ",label=9"), INTERP_BAD_ARGUMENT, "no column \"9\"");
    REFUSED(spec("csv:", "plain.csv", ",label=0"), INTERP_BAD_ARGUMENT,
            "row 1: the label in column");
    REFUSED(spec("csv:", "flowers.csv", ",label=width"), INTERP_BAD_ARGUMENT, "holds text");
    REFUSED(spec("csv:", "flowers.csv", ",label=x"), INTERP_BAD_ARGUMENT,
            "no column \"x\" among its 5 (Id, length, Species, width, )");
    put_text("hole.csv", "a,b,label\n1,2,0\n1,,1\n");
    REFUSED(spec("csv:", "hole.csv", ""), INTERP_NOT_FINITE, "sample 1: value 1 is missing");
    put_text("ragged.csv", "a,b,label\n1,2,0\n3,1\n");
    REFUSED(spec("csv:", "ragged.csv", ""), INTERP_FORMAT, "line 3");
    put_text("nothing.csv", "");
    REFUSED(spec("csv:", "nothing.csv", ""), INTERP_FORMAT, "empty");
    put_text("labels.csv", "label\n1\n0\n");
    REFUSED(spec("csv:", "labels.csv", ""), INTERP_BAD_ARGUMENT, "besides the label");
}

TEST(data_open_says_what_is_wrong)
{
    interp_dataset a, b;
    char text[1024];
    REFUSED("mnist", INTERP_BAD_ARGUMENT, "csv:FILE");
    REFUSED("", INTERP_BAD_ARGUMENT, "folder:DIR");
    REFUSED("idx", INTERP_BAD_ARGUMENT, "idx:DIR");
    REFUSED("idx:", INTERP_BAD_ARGUMENT, "path is missing");
    REFUSED("idx:x,colour=1", INTERP_BAD_ARGUMENT, "not known");
    REFUSED("idx:x,size=8", INTERP_BAD_ARGUMENT, "HxW");
    REFUSED("idx:x,size=0x8", INTERP_BAD_ARGUMENT, "HxW");
    REFUSED("csv:x,size=8x8", INTERP_BAD_ARGUMENT, "images only");
    REFUSED("npy:x,y,z", INTERP_BAD_ARGUMENT, "not known");
    REFUSED("table:x.csv", INTERP_BAD_ARGUMENT, "images=DIR");
    REFUSED(spec("idx:", "empty", ""), INTERP_IO, "no IDX files");
    REFUSED(spec("idx:", "absent", ""), INTERP_IO, "absent");
    put_idx("idx3/other-images-idx3-ubyte", 3, 20, 4, 0);
    put_idx("idx3/other-labels-idx1-ubyte", 1, 20, 0, 4);
    REFUSED(spec("idx:", "idx3", ""), INTERP_IO, "several pairs");
    remove(at("idx3/other-images-idx3-ubyte"));
    snprintf(text, sizeof text, "table:%s,images=%s,label=0", at("eyes.csv"), at("eyes"));
    REFUSED(text, INTERP_BAD_ARGUMENT, "same column");
    REFUSED(spec("cifar10:", "empty", ""), INTERP_IO, "test_batch.bin");
    REFUSED(spec("folder:", "empty", ""), INTERP_IO, "one per class");
    REFUSED(spec("npy:", "absent.npy", ""), INTERP_IO, "absent.npy");
    put_text("more.csv", "id_code,diagnosis\n007,0\n999,1\n");
    snprintf(text, sizeof text, "table:%s,images=%s", at("more.csv"), at("eyes"));
    REFUSED(text, INTERP_IO, "\"999\"");
    interp_array x = new_array(INTERP_FLOAT32, 2, 4, 2, 1), y = new_array(INTERP_INT64, 1, 3, 1, 1);
    memset(y.data, 0, 24);
    CHECK_OK(ctx, interp_npy_write(ctx, at("x4.npy"), &x));
    CHECK_OK(ctx, interp_npy_write(ctx, at("y3.npy"), &y));
    snprintf(text, sizeof text, "npy:%s,%s", at("x4.npy"), at("y3.npy"));
    REFUSED(text, INTERP_BAD_SHAPE, "3 labels for the 4 samples of");
    snprintf(text, sizeof text, "npy:%s,size=4x4", at("x4.npy"));
    REFUSED(text, INTERP_BAD_SHAPE, "only images");
    y.shape.dim[0] = 1;
    ((int64_t *)y.data)[0] = -3;
    x.shape.dim[0] = 1;
    CHECK_OK(ctx, interp_npy_write(ctx, at("x4.npy"), &x));
    CHECK_OK(ctx, interp_npy_write(ctx, at("y3.npy"), &y));
    snprintf(text, sizeof text, "npy:%s,%s", at("x4.npy"), at("y3.npy"));
    REFUSED(text, INTERP_BAD_ARGUMENT, "y3.npy: the label of sample 0 is -3");
    interp_array_free(ctx, &x);
    interp_array_free(ctx, &y);
}

TEST(data_open_resizes)
{
    interp_dataset a, b, c, d;
    OPENS(spec("idx:", "idx", ""), 20, 8, 4);
    c = a, d = b;
    OPENS(spec("idx:", "idx", ",size=2x2"), 20, 8, 4);
    const float *x = c.x + 16 * 3;
    CHECK_NEAR(a.x[4 * 3], (x[0] + x[1] + x[4] + x[5]) / 4, 1e-6);
    CHECK(b.shape.dim[1] == 2 && b.shape.dim[2] == 2);
    free_both(&a, &b);
    free_both(&c, &d);
}

TEST(npy_images_with_channels_last_are_recognised)
{
    interp_array x = new_array(INTERP_UINT8, 3, 4, 5, 6);
    interp_dataset d;
    x.shape.rank = 4; /* [4,5,2,3] */
    x.shape.dim[2] = 2, x.shape.dim[3] = 3;
    REQUIRE_OK(ctx, itp_dataset_from_array(ctx, "x", &x, &d));
    CHECK(d.shape.dim[0] == 3 && d.shape.dim[1] == 5 && d.shape.dim[2] == 2);
    const uint8_t *p = (const uint8_t *)x.data;
    for (int c = 0; c < 3; c++)
        for (int k = 0; k < 10; k++)
            CHECK(d.x[30 + c * 10 + k] == (float)((float)p[30 + k * 3 + c] / 255));
    interp_dataset_free(ctx, &d);
    REQUIRE_OK(ctx, interp_array_to_f32(ctx, &x));
    REQUIRE_OK(ctx, itp_dataset_from_array(ctx, "x", &x, &d)); /* floats stay what they are */
    CHECK(d.shape.dim[0] == 3 && d.x[30 + 2 * 10 + 7] == ((const float *)x.data)[30 + 7 * 3 + 2]);
    interp_dataset_free(ctx, &d);
    interp_array_free(ctx, &x);
}

TEST(channels_are_turned_both_ways)
{
    float x[48], first[48], back[48];
    interp_shape last = itp_shape_none();
    last.rank = 4; /* two views of 2 x 4 pixels with three channels */
    last.dim[0] = 2, last.dim[1] = 2, last.dim[2] = 4, last.dim[3] = 3;
    interp_shape of_first = last;
    of_first.dim[1] = 3, of_first.dim[2] = 2, of_first.dim[3] = 4;
    for (int i = 0; i < 48; i++) x[i] = (float)i;
    interp_channels_to_first(x, 1, &last, first);
    for (int v = 0; v < 2; v++)
        for (int c = 0; c < 3; c++)
            for (int k = 0; k < 8; k++)
                CHECK(first[v * 24 + c * 8 + k] == (float)(v * 24 + k * 3 + c));
    interp_channels_to_last(first, 1, &of_first, back);
    CHECK(!memcmp(back, x, sizeof x));
    CHECK(interp_channels_are_last(&last) && !interp_channels_are_last(&of_first));
    last.dim[2] = 1; /* a line is no image */
    CHECK(!interp_channels_are_last(&last));
    last.dim[1] = 4, last.dim[2] = 4; /* could be either */
    CHECK(!interp_channels_are_last(&last));
    last.rank = 2;
    CHECK(!interp_channels_are_last(&last));
}

TEST(array_read_takes_every_form)
{
    interp_array a = new_array(INTERP_INT32, 2, 2, 3, 1), b = itp_array_none();
    static const char *const names[1] = {"k"};
    char k[] = "k";
    interp_named_array item;
    interp_named_arrays all;
    memset(&all, 0, sizeof all);
    item.name = k;
    item.array = a;
    all.items = &item;
    all.n = 1;
    CHECK_OK(ctx, interp_npy_write(ctx, at("r.npy"), &a));
    CHECK_OK(ctx, interp_npz_write(ctx, at("r.npz"), 1, names, &a));
    CHECK_OK(ctx, interp_safetensors_write(ctx, at("r.safetensors"), &all));
    static const char *const specs[5] = {"r.npy", "r.npz:k", "r.npz", "r.safetensors:k",
                                         "r.safetensors"};
    for (int i = 0; i < 5; i++) {
        REQUIRE_OK(ctx, interp_array_read(ctx, at(specs[i]), &b));
        CHECK(same_array(&a, &b));
        interp_array_free(ctx, &b);
    }
    CHECK(interp_array_read(ctx, at("r.npz:x"), &b) == INTERP_BAD_ARGUMENT);
    CHECK(interp_array_read(ctx, at("r.safetensors:x"), &b) == INTERP_BAD_ARGUMENT);
    CHECK(interp_array_read(ctx, at("r.txt"), &b) == INTERP_BAD_ARGUMENT);
    interp_array_free(ctx, &a);
    put_text("r.csv", "a,b\n1,2\n3,4\n");
    REQUIRE_OK(ctx, interp_array_read(ctx, at("r.csv"), &b));
    CHECK(b.dtype == INTERP_FLOAT64 && b.shape.dim[0] == 2 && ((const double *)b.data)[3] == 4);
    interp_array_free(ctx, &b);
    put_text("words.csv", "colour\nred\nblue\nred\n");
    REQUIRE_OK(ctx, interp_array_read(ctx, at("words.csv"), &b));
    CHECK(b.shape.dim[0] == 3 && ((const double *)b.data)[0] == 1);
    interp_array_free(ctx, &b);
    CHECK(interp_array_read(ctx, at("eyes.csv"), &b) == INTERP_OK);
    interp_array_free(ctx, &b);
    CHECK(interp_array_read(ctx, at("flowers.csv"), &b) == INTERP_BAD_ARGUMENT);
    REQUIRE_OK(ctx, interp_array_read(ctx, at("eyes/009.png"), &b));
    CHECK(b.shape.rank == 4 && b.shape.dim[0] == 1 && b.shape.dim[1] == 1 && b.shape.dim[3] == 4);
    interp_array_free(ctx, &b);
    REQUIRE_OK(ctx, interp_array_read(ctx, at("eyes"), &b));
    CHECK(b.shape.rank == 4 && b.shape.dim[0] == 4 && b.shape.dim[1] == 3 && b.shape.dim[2] == 5);
    interp_array_free(ctx, &b);
    CHECK(interp_array_read(ctx, at("empty"), &b) == INTERP_IO);
    REQUIRE_OK(ctx, interp_array_read(ctx, at("idx/t10k-labels-idx1-ubyte"), &b));
    CHECK(b.dtype == INTERP_UINT8 && b.shape.rank == 1);
    interp_array_free(ctx, &b);
}

/* ---- damage and lack of memory */

typedef interp_status (*read_fn)(const void *bytes, size_t n);

static interp_status done(interp_status status, interp_array *a)
{
    if (!status) interp_array_free(ctx, a);
    return status;
}

static interp_status read_npy(const void *bytes, size_t n)
{
    interp_array a;
    return done(interp_npy_parse(ctx, bytes, n, &a), &a);
}

static interp_status read_npz(const void *bytes, size_t n)
{
    interp_array a;
    return done(interp_npz_parse(ctx, bytes, n, "a", &a), &a);
}

static interp_status read_zip64(const void *bytes, size_t n)
{
    interp_array a;
    return done(interp_npz_parse(ctx, bytes, n, NULL, &a), &a);
}

static interp_status read_idx(const void *bytes, size_t n)
{
    interp_array a;
    return done(interp_idx_parse(ctx, bytes, n, &a), &a);
}

static interp_status read_image(const void *bytes, size_t n)
{
    interp_array a;
    return done(interp_image_file_parse(ctx, bytes, n, 0, &a), &a);
}

static interp_status read_csv(const void *bytes, size_t n)
{
    interp_table t;
    const interp_status status = interp_csv_parse(ctx, bytes, n, &t);
    if (!status) interp_table_free(ctx, &t);
    return status;
}

static interp_status read_st(const void *bytes, size_t n)
{
    interp_named_arrays a;
    const interp_status status = interp_safetensors_parse(ctx, bytes, n, &a);
    if (!status) interp_named_arrays_free(ctx, &a);
    return status;
}

static const char csv_sample[] = "a;b;word\r\n1;-2.5e3;\"x \"\"y\"\"\"\r\n;4;z\n5;nan;z\n";
static const char st_sample[] =
    "{\"__metadata__\":{\"k\":\"v\\u00e9\"},\"a\":{\"dtype\":\"F16\",\"shape\":[2,1],"
    "\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[4,6]}}";

typedef struct sample {
    const char *name;
    read_fn read;
    const void *bytes;
    size_t n;
    bool cut_is_error; /* every shorter length must be refused */
} sample;

static int all_samples(sample out[10])
{
    static unsigned char st[400], idx[40] = {0, 0, 0x0D, 2, 0, 0, 0, 2, 0, 0, 0, 3};
    static char *png;
    static size_t png_n;
    put_png("s.png", 5, 3, 3);
    if (!png && itp_file_read(ctx, at("s.png"), &png, &png_n)) exit(1);
    const sample list[10] = {
        {"npy", read_npy, npy_f4_fortran, sizeof npy_f4_fortran, true},
        {"npz", read_npz, npz_deflated, sizeof npz_deflated, true},
        {"npz stored", read_npz, npz_stored, sizeof npz_stored, true},
        {"zip64", read_zip64, npz_zip64, sizeof npz_zip64, true},
        {"gz", read_idx, idx_gz, sizeof idx_gz, true},
        {"gz with fields", read_idx, idx_gz_fields, sizeof idx_gz_fields, true},
        {"idx", read_idx, idx, 12 + 24, true},
        {"csv", read_csv, csv_sample, sizeof csv_sample - 1, false},
        {"safetensors", read_st, st, make_st(st, st_sample, 6), true},
        {"png", read_image, png, png_n, true},
    };
    memcpy(out, list, sizeof list);
    return 10;
}

/* stb_image 2.27 looks at unset table entries on damaged deflate streams. The checksum refuses what
   comes out, but valgrind reports the reading. */
/* Reads a copy of exactly n bytes, so that tools see a step beyond its end. */
static interp_status read_copy(const sample *s, const unsigned char *bytes, size_t n)
{
    unsigned char *copy = (unsigned char *)malloc(n ? n : 1);
    if (!copy) exit(1);
    memcpy(copy, bytes, n);
    const interp_status status = s->read(copy, n);
    free(copy);
    return status;
}

TEST(readers_leak_nothing_when_input_is_damaged)
{
    static const unsigned char values[5] = {0, 1, 0x7F, 0x80, 0xFF};
    sample list[10];
    const int n_samples = all_samples(list);
    for (int k = 0; k < n_samples; k++) {
        const sample *s = &list[k];
        const size_t before = used();
        unsigned char bytes[600];
        REQUIRE(s->n <= sizeof bytes);
        memcpy(bytes, s->bytes, s->n);
        CHECK_OK(ctx, read_copy(s, bytes, s->n));
        for (size_t n = 0; n < s->n; n++) {
            const interp_status status = read_copy(s, bytes, n);
            if (s->cut_is_error && status == INTERP_OK)
                test_fail(__FILE__, __LINE__, "%s cut to %zu bytes is taken", s->name, n);
        }
        const bool deflated =
            s->bytes == npz_deflated || s->bytes == idx_gz || s->bytes == idx_gz_fields;
        for (size_t i = 0; i < s->n && !(deflated && slow_here()); i++) {
            for (int v = 0; v < 5; v++) {
                bytes[i] = values[v];
                read_copy(s, bytes, s->n);
            }
            bytes[i] = ((const unsigned char *)s->bytes)[i];
        }
        CHECK(used() == before);
    }
}

/* Calls `act` with the n-th allocation failing, n = 1, 2, .. until it is not reached; twice: that
   one alone, and all from it on. */
static void starve(const char *name, interp_status (*act)(void *arg), void *arg)
{
    const size_t before = used();
    for (int mode = 0; mode < 2; mode++)
        for (long n = 1; n < 10000; n++) {
            heap.calls = 0;
            heap.fail_at = n;
            heap.from_then_on = mode;
            const interp_status status = act(arg);
            const bool reached = heap.calls >= n;
            heap.fail_at = 0;
            if (used() != before || status != (reached ? INTERP_NO_MEMORY : INTERP_OK)) {
                test_fail(__FILE__, __LINE__, "%s: allocation %ld: %s, %zu bytes left", name, n,
                          interp_status_name(status), used() - before);
                return;
            }
            if (!reached) break;
        }
}

static interp_status act_read(void *arg)
{
    const sample *s = (const sample *)arg;
    return s->read(s->bytes, s->n);
}

static interp_status act_open(void *arg)
{
    interp_dataset a, b;
    const interp_status status = interp_data_open(ctx, (const char *)arg, 0, &a, &b);
    if (!status) free_both(&a, &b);
    return status;
}

static interp_status act_array(void *arg)
{
    interp_array a;
    return done(interp_array_read(ctx, (const char *)arg, &a), &a);
}

static interp_status act_write(void *arg)
{
    static const char *const names[2] = {"a", "b"};
    static char a[] = "a", b[] = "b";
    const interp_array *x = (const interp_array *)arg;
    interp_array two[2];
    interp_named_array items[2];
    interp_named_arrays all;
    two[0] = two[1] = *x;
    memset(&all, 0, sizeof all);
    items[0].name = a, items[1].name = b;
    items[0].array = items[1].array = *x;
    all.items = items, all.n = 2;
    ITP_TRY(interp_npy_write(ctx, at("w.npy"), x));
    ITP_TRY(interp_npz_write(ctx, at("w.npz"), 2, names, two));
    return interp_safetensors_write(ctx, at("w.safetensors"), &all);
}

static interp_status act_set(void *arg)
{
    interp_dataset a, b, all;
    (void)arg;
    ITP_TRY(iris_open(ctx, &all));
    interp_status status = interp_dataset_split(ctx, &all, 0.3, 1, &a, &b);
    if (!status) free_both(&a, &b);
    interp_dataset_free(ctx, &all);
    ITP_TRY(status);
    ITP_TRY(digits_open(ctx, &all));
    status = interp_dataset_resize(ctx, &all, 5, 5);
    interp_dataset_free(ctx, &all);
    return status;
}

TEST(every_failed_allocation_is_survived)
{
    sample list[10];
    const int n_samples = all_samples(list);
    for (int k = 0; k < n_samples; k++) starve(list[k].name, act_read, &list[k]);
    static const char *const forms[][2] = {
        {"idx:", "idx"},        {"idx:", "idx2"},    {"idx:", "idx3"},        {"cifar10:", "cifar"},
        {"cifar10:", "cifar2"}, {"folder:", "pets"}, {"csv:", "flowers.csv"}, {"npy:", "x.npy"}};
    char text[1024];
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        snprintf(text, sizeof text, "%s%s", forms[i][0], at(forms[i][1]));
        starve(text, act_open, text);
    }
    snprintf(text, sizeof text, "table:%s,images=%s,size=2x2", at("eyes.csv"), at("eyes"));
    starve(text, act_open, text);
    static const char *const arrays[] = {"r.npy", "r.npz:k",      "r.safetensors:k",
                                         "r.csv", "eyes/009.png", "eyes"};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        snprintf(text, sizeof text, "%s", at(arrays[i]));
        starve(text, act_array, text);
    }
    interp_array x = new_array(INTERP_BFLOAT16, 2, 30, 20, 1);
    starve("writers", act_write, &x);
    interp_array_free(ctx, &x);
    starve("data sets", act_set, NULL);
}

/* ---- real data */

TEST(arrays_are_cast)
{
    static const double x[8] = {-300, -1.5, -0.25, 0, 0.5, 1.0009765625, 70000, 5e9};
    static const double want[][8] = {{-128, -1, 0, 0, 1, 1, 127, 127},
                                     {0, 0, 0, 0, 1, 1, 255, 255},
                                     {-300, -1, 0, 0, 1, 1, 70000, 2147483647},
                                     {1, 1, 1, 0, 1, 1, 1, 1},
                                     {-300, -1.5, -0.25, 0, 0.5, 1.0009765625, INFINITY, INFINITY},
                                     {-300, -1.5, -0.25, 0, 0.5, 1, 70144, 4999610368.0}};
    static const interp_dtype types[] = {INTERP_INT8, INTERP_UINT8,   INTERP_INT32,
                                         INTERP_BOOL, INTERP_FLOAT16, INTERP_BFLOAT16};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        interp_array a = itp_array_none();
        interp_shape s = itp_shape_none();
        s.rank = 1, s.dim[0] = 8;
        REQUIRE_OK(ctx, itp_array_new(ctx, INTERP_FLOAT64, &s, &a));
        memcpy(a.data, x, sizeof x);
        CHECK_OK(ctx, interp_array_cast(ctx, &a, types[t]));
        CHECK(a.dtype == types[t] && a.shape.dim[0] == 8);
        for (size_t i = 0; i < 8; i++) CHECK(itp_array_at(&a, i) == want[t][i]);
        interp_array_free(ctx, &a);
    }
}

TEST(embedded_digits_are_those_of_scikit_learn)
{
    static const int counts[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
    int seen[10] = {0};
    double sum = 0;
    interp_dataset d;
    REQUIRE_OK(ctx, digits_open(ctx, &d));
    CHECK_OK(ctx, interp_dataset_check(ctx, &d));
    REQUIRE(d.n == 1797 && d.shape.rank == 3 && d.shape.dim[2] == 8 && d.n_classes == 10);
    for (int i = 0; i < d.n; i++) seen[d.y[i]]++;
    for (int i = 0; i < d.n * 64; i++) sum += (double)d.x[i];
    CHECK(memcmp(seen, counts, sizeof seen) == 0);
    CHECK(sum == 561718.0 / 16);
    CHECK(d.y[1796] == 8 && d.x[1796 * 64 + 10] == 1.0f && d.x[1796 * 64 + 3] == 14 / 16.0f);
    interp_dataset_free(ctx, &d);
}

static bool have(const char *path)
{
    return access(path, F_OK) == 0;
}

TEST(mnist_opens_with_its_own_test_files)
{
    static const int counts[10] = {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009};
    int seen[10] = {0};
    interp_dataset a, b;
    float mean, std;
    if (!have("../shared/data/mnist")) SKIP("../shared/data/mnist is not there");
    REQUIRE_OK(ctx, interp_data_open(ctx, "idx:../shared/data/mnist", 0, &a, &b));
    CHECK(a.n == 60000 && b.n == 10000 && a.n_classes == 10 && b.n_classes == 10);
    for (int i = 0; i < b.n; i++) seen[b.y[i]]++;
    CHECK(memcmp(seen, counts, sizeof seen) == 0);
    interp_dataset_statistics(&b, &mean, &std, NULL, NULL); /* numpy on the same file */
    CHECK_NEAR(mean, 0.13251460584233699, 1e-7);
    CHECK_NEAR(std, 0.3104802479305348, 1e-7);
    interp_dataset_statistics(&a, &mean, &std, NULL, NULL); /* the constants everyone uses */
    CHECK_NEAR(mean, 0.1307, 5e-5);
    CHECK_NEAR(std, 0.3081, 5e-5);
    free_both(&a, &b);
}

TEST(fashion_and_cifar_samples_open)
{
    interp_dataset a, b;
    float mean[3];
    if (!have("../shared/data/fashion900")) SKIP("../shared/data/fashion900 is not there");
    OPENS("idx:../shared/data/fashion900", 720, 180, 10);
    free_both(&a, &b);
    OPENS("npy:../shared/data/cifar10/test1000_nhwc_u8.npy,../shared/data/cifar10/"
          "test1000_labels_u8.npy",
          800, 200, 10);
    CHECK(a.shape.dim[0] == 3 && a.shape.dim[1] == 32);
    free_both(&a, &b);
    OPENS("npy:../shared/data/cifar10/test1000_nhwc_u8.npy", 800, 200, 0);
    interp_dataset_statistics(&a, mean, NULL, NULL, NULL);
    CHECK_NEAR(mean[0], 0.4967, 0.02); /* of all 1000; a sample of 800 is near */
    CHECK_NEAR(mean[2], 0.4510, 0.02);
    free_both(&a, &b);
}

/* Removes the scratch folder and what is in it, two levels deep. */
static void sweep(const char *path, int depth)
{
    itp_files files;
    for (int folders = 0; folders < 2; folders++) {
        memset(&files, 0, sizeof files);
        if (itp_folder_list(ctx, path, folders, &files)) return;
        for (int i = 0; i < files.n; i++) {
            if (folders && depth) sweep(files.items[i].path, depth - 1);
            else remove(files.items[i].path);
        }
        itp_files_free(ctx, &files);
    }
    rmdir(path);
}

int main(int argc, char **argv)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.200s/interp_test_data_%d", tmp ? tmp : "/tmp",
             (int)getpid());
    if (mkdir(folder, 0700)) return 1;
    open_ctx();
    make_folders();
    RUN(every_dtype_converts_to_float32);
    RUN(labels_must_be_whole_numbers);
    RUN(sort_orders_anything);
    RUN(npy_reads_every_dtype_in_both_byte_orders);
    RUN(npy_reads_fortran_order);
    RUN(npy_header_may_be_written_in_many_ways);
    RUN(npy_round_trips_every_dtype);
    RUN(crc32_matches_the_published_check_value);
    RUN(gzip_checks_size_and_checksum);
    RUN(npz_reads_what_numpy_wrote);
    RUN(npz_round_trips);
    RUN(zip_refuses_what_misleads);
    RUN(csv_numbers_are_rounded_right);
    RUN(csv_reads_quotes_delimiters_and_line_ends);
    RUN(csv_finds_the_header);
    RUN(csv_finds_columns_by_name_and_number);
    RUN(csv_names_the_ragged_line);
    RUN(safetensors_refuses_what_the_format_forbids);
    RUN(safetensors_decodes_names);
    RUN(safetensors_round_trips);
    RUN(idx_wants_the_exact_size);
    RUN(cifar10_reads_records);
    RUN(images_decode_to_planes_between_0_and_1);
    RUN(resize_keeps_the_mean_and_interpolates);
    RUN(dataset_from_arrays_copies);
    RUN(subset_takes_samples_in_the_order_given);
    RUN(split_is_stratified_and_repeatable);
    RUN(split_leaves_no_class_of_two_on_one_side);
    RUN(statistics_match_numpy);
    RUN(normalised_data_has_mean_0_and_std_1);
    RUN(dataset_check_names_the_sample);
    RUN(augment_depends_on_seed_and_index_only);
    RUN(augment_flips_are_exact_and_half_of_the_time);
    RUN(augment_crops_move_by_whole_pixels);
    RUN(augment_rotation_and_scale_stay_in_range);
    RUN(data_open_reads_every_form);
    RUN(data_open_reads_tables);
    RUN(data_open_says_what_is_wrong);
    RUN(data_open_resizes);
    RUN(npy_images_with_channels_last_are_recognised);
    RUN(channels_are_turned_both_ways);
    RUN(array_read_takes_every_form);
    RUN(readers_leak_nothing_when_input_is_damaged);
    RUN(every_failed_allocation_is_survived);
    RUN(arrays_are_cast);
    RUN(embedded_digits_are_those_of_scikit_learn);
    RUN(mnist_opens_with_its_own_test_files);
    RUN(fashion_and_cifar_samples_open);
    sweep(folder, 2);
    interp_close(ctx);
    return test_end(argc, argv);
}

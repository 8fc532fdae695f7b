/* Tests of event files and projector folders, with a reader of their own. Files are written to
   test_tensorboard_out/ in the current folder and removed again. */
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#include <stb_image.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

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

#define SAMPLE "../shared/refs/tb/sample/run1/events.out.tfevents.1700000000.interp.1.0"
#define OUT    "test_tensorboard_out"

/* ---- helpers */

static interp_ctx *open_ctx(void)
{
    interp_desc d;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    return interp_open(&d);
}

/* Removes the folder of the tests with everything in it, two levels deep. */
static void clean(const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder) return;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        char path[600];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (remove(path)) clean(path);
    }
    closedir(folder);
    rmdir(dir);
}

static int files_in(const char *dir)
{
    int n = 0;
    DIR *folder = opendir(dir);
    if (!folder) return 0;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) n += e->d_name[0] != '.';
    closedir(folder);
    return n;
}

typedef struct bytes {
    const uint8_t *p;
    size_t n;
} bytes;

static bytes slurp(interp_ctx *ctx, const char *path)
{
    bytes b = {NULL, 0};
    char *data = NULL;
    if (itp_file_read(ctx, path, &data, &b.n)) return b;
    b.p = (const uint8_t *)data;
    return b;
}

static void drop(interp_ctx *ctx, bytes b)
{
    interp_free(ctx, (void *)(uintptr_t)b.p);
}

static bool is_text(bytes b, const char *text)
{
    return b.n == strlen(text) && memcmp(b.p, text, b.n) == 0;
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static double as_double(const uint8_t *p)
{
    const uint64_t bits = little(p, 8);
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

/* ---- reading records */

/* Takes a message off the front of a file; false at its end or where a checksum is wrong. */
static bool take_record(bytes *file, bytes *message)
{
    if (file->n < 16) return false;
    const uint64_t n = little(file->p, 8);
    if (n > file->n - 16) return false;
    if (little(file->p + 8, 4) != itp_crc32c_masked(file->p, 8)) return false;
    message->p = file->p + 12, message->n = (size_t)n;
    if (little(file->p + 12 + n, 4) != itp_crc32c_masked(message->p, message->n)) return false;
    file->p += 16 + n, file->n -= (size_t)(16 + n);
    return true;
}

/* One field of a message: numbers in `number`, everything else in `data`. */
typedef struct field {
    int number;
    int wire;
    uint64_t value;
    bytes data;
} field;

static bool take_varint(bytes *m, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; m->n && shift < 64; shift += 7) {
        const uint8_t c = *m->p;
        m->p++, m->n--;
        *v |= (uint64_t)(c & 127) << shift;
        if (c < 128) return true;
    }
    return false;
}

static bool take_field(bytes *m, field *f)
{
    uint64_t key, n = 0;
    if (!take_varint(m, &key)) return false;
    f->number = (int)(key >> 3), f->wire = (int)(key & 7), f->value = 0;
    if (f->wire == 0 && !take_varint(m, &f->value)) return false;
    if (f->wire == 1) n = 8;
    if (f->wire == 5) n = 4;
    if (f->wire == 2 && !take_varint(m, &n)) return false;
    if (n > m->n || f->wire == 3 || f->wire == 4 || f->wire > 5) return false;
    f->data.p = m->p, f->data.n = (size_t)n;
    m->p += n, m->n -= (size_t)n;
    return true;
}

/* Field `number` of a message, its nth occurrence. */
static bool find(bytes m, int number, int nth, field *f)
{
    while (take_field(&m, f))
        if (f->number == number && nth-- == 0) return true;
    return false;
}

/* What an event with one value holds. */
typedef struct event {
    double wall_time;
    int64_t step;
    bytes version, tag, plugin, content;
    int data_class, dtype, rank;
    int dims[4];
    bytes strings[8];
    int n_strings;
} event;

static bool read_event(bytes m, event *e)
{
    field f, v, s, d;
    memset(e, 0, sizeof *e);
    if (!find(m, 1, 0, &f) || f.wire != 1) return false;
    e->wall_time = as_double(f.data.p);
    if (find(m, 2, 0, &f)) e->step = (int64_t)f.value;
    if (find(m, 3, 0, &f)) e->version = f.data;
    if (!find(m, 5, 0, &s)) return e->version.n > 0;
    if (!find(s.data, 1, 0, &v) || find(s.data, 1, 1, &f)) return false;
    if (!find(v.data, 1, 0, &f)) return false;
    e->tag = f.data;
    if (!find(v.data, 9, 0, &f) || !find(f.data, 1, 0, &d)) return false;
    if (find(f.data, 4, 0, &s)) e->data_class = (int)s.value;
    if (!find(d.data, 1, 0, &s)) return false;
    e->plugin = s.data;
    if (!find(v.data, 8, 0, &f) || !find(f.data, 1, 0, &d)) return false;
    e->dtype = (int)d.value;
    if (!find(f.data, 2, 0, &s)) return false;
    for (; e->rank < 4 && find(s.data, 2, e->rank, &d); e->rank++) {
        if (!find(d.data, 1, 0, &v)) return false;
        e->dims[e->rank] = (int)v.value;
    }
    if (find(f.data, 4, 0, &d)) e->content = d.data;
    for (; e->n_strings < 8 && find(f.data, 8, e->n_strings, &d); e->n_strings++)
        e->strings[e->n_strings] = d.data;
    return true;
}

/* ---- checksums */

TEST(crc32c_matches_the_published_vectors)
{
    uint8_t v[32]; /* RFC 3720, B.4 */
    memset(v, 0, sizeof v);
    CHECK(itp_crc32c(v, 32) == 0x8a9136aau);
    memset(v, 255, sizeof v);
    CHECK(itp_crc32c(v, 32) == 0x62a8ab43u);
    for (int i = 0; i < 32; i++) v[i] = (uint8_t)i;
    CHECK(itp_crc32c(v, 32) == 0x46dd794eu);
    CHECK(itp_crc32c("123456789", 9) == 0xe3069283u);
    CHECK(itp_crc32c(NULL, 0) == 0);
}

TEST(checksums_are_masked_as_tensorflow_masks_them)
{
    const uint8_t length[8] = {24, 0, 0, 0, 0, 0, 0, 0}; /* of the record of every file's version */
    CHECK(itp_crc32c_masked("123456789", 9) == 0xc78ab0e5u);
    CHECK(itp_crc32c_masked(length, 8) == 0x224b7fa3u);
}

/* ---- event files */

static const float hist_values[10] = {0, .25f, .5f, 1, 1.25f, 1.5f, 1.75f, 1.9f, 2, 3};

/* The values of make_sample.py in the forms we write; pictures are the bytes of its own PNG. */
static interp_status write_sample(interp_tensorboard *tb, bytes png)
{
    const double wall = 1700000000.25;
    for (int step = 0; step < 5; step++) {
        interp_tensorboard_time(tb, wall + step);
        ITP_TRY(interp_tensorboard_scalar(tb, "loss/new", step, (float)(1. / (step + 1))));
    }
    interp_tensorboard_time(tb, wall + 9);
    itp_tb_record r;
    const int dims[1] = {4};
    ITP_TRY(
        itp_tb_begin(tb, "attr/new", 3, "images", ITP_TB_CLASS_BLOBS, ITP_TB_STRING, 1, dims, &r));
    itp_tb_bytes(&r.b, 8, "16", 2);
    itp_tb_bytes(&r.b, 8, "16", 2);
    itp_tb_bytes(&r.b, 8, png.p, png.n);
    itp_tb_bytes(&r.b, 8, png.p, png.n);
    ITP_TRY(itp_tb_end(tb, &r));
    ITP_TRY(interp_tensorboard_histogram(tb, "hist/new", 3, hist_values, 10, 3));
    return interp_tensorboard_text(tb, "notes", 3, "# hello");
}

TEST(records_equal_the_reference_bytes)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb = NULL;
    interp_tensorboard_desc d;
    memset(&d, 0, sizeof d);
    bytes sample = slurp(ctx, SAMPLE), rest = sample, m, png = {NULL, 0};
    if (!sample.p) {
        interp_close(ctx);
        SKIP("no ../shared here");
    }
    event e;
    while (take_record(&rest, &m))
        if (read_event(m, &e) && is_text(e.tag, "attr/new")) png = e.strings[2];
    CHECK(rest.n == 0 && png.n > 0);

    clean(OUT);
    d.wall_time = 1700000000.25;
    REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT "/run1", &d, &tb));
    CHECK_OK(ctx, write_sample(tb, png));
    const char *name = strrchr(SAMPLE, '/');
    CHECK_STR(strrchr(tb->path, '/'), name); /* the name is the reference's, too */
    const bytes ours = slurp(ctx, tb->path);
    interp_tensorboard_close(tb);

    /* record by record, without the older forms of scalars, pictures and histograms */
    bytes left = ours;
    int same = 0;
    for (rest = sample; take_record(&rest, &m);) {
        const uint8_t *whole = m.p - 12;
        const size_t n = m.n + 16;
        if (!read_event(m, &e)) continue;
        REQUIRE(left.n >= n && memcmp(left.p, whole, n) == 0);
        left.p += n, left.n -= n;
        same++;
    }
    CHECK(same == 9 && left.n == 0);
    interp_close(ctx);
}

static bool decodes_to(bytes png, const interp_image *image)
{
    int w = 0, h = 0, c = 0;
    uint8_t *rgb = stbi_load_from_memory(png.p, (int)png.n, &w, &h, &c, 3);
    const bool same = rgb && w == image->width && h == image->height &&
                      memcmp(rgb, image->rgb, (size_t)w * (size_t)h * 3) == 0;
    stbi_image_free(rgb);
    return same;
}

TEST(records_read_back_as_written)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb = NULL;
    interp_image pictures[2];
    event e;
    bytes m;
    const float x[5] = {-1, 0, 3, (float)NAN, (float)INFINITY};
    clean(OUT);
    REQUIRE_OK(ctx, interp_image_new(ctx, 20, 10, 0x204060, &pictures[0]));
    REQUIRE_OK(ctx, interp_image_new(ctx, 20, 10, 0xffffff, &pictures[1]));
    interp_image_disc(&pictures[1], 8, 5, 4, 0xff0000);
    const double before = itp_seconds();
    REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT "/a/b", NULL, &tb));
    CHECK_OK(ctx, interp_tensorboard_scalar(tb, "s", -2, .1f));
    CHECK_OK(ctx, interp_tensorboard_image(tb, "i", 1 << 30, pictures, 2));
    CHECK_OK(ctx, interp_tensorboard_histogram(tb, "h", 300, x, 5, 0));
    CHECK_OK(ctx, interp_tensorboard_text(tb, "t", 4, "\xc3\xa9t\xc3\xa9"));
    CHECK_OK(ctx, interp_tensorboard_histogram(tb, "none", 5, NULL, 0, 2));
    bytes file = slurp(ctx, tb->path);
    interp_tensorboard_close(tb);

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    CHECK(is_text(e.version, "brain.Event:2"));
    CHECK(e.wall_time >= before && e.wall_time <= itp_seconds());

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    const float tenth = .1f;
    CHECK(e.step == -2 && is_text(e.tag, "s") && is_text(e.plugin, "scalars"));
    CHECK(e.data_class == 1 && e.dtype == 1 && e.rank == 0 && e.content.n == 4);
    CHECK(memcmp(e.content.p, &tenth, 4) == 0);

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    CHECK(e.step == 1 << 30 && is_text(e.tag, "i") && is_text(e.plugin, "images"));
    CHECK(e.data_class == 3 && e.dtype == 7 && e.rank == 1 && e.dims[0] == 4 && e.n_strings == 4);
    CHECK(is_text(e.strings[0], "20") && is_text(e.strings[1], "10"));
    CHECK(decodes_to(e.strings[2], &pictures[0]) && decodes_to(e.strings[3], &pictures[1]));

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    CHECK(e.step == 300 && is_text(e.plugin, "histograms") && e.data_class == 2 && e.dtype == 2);
    REQUIRE(e.rank == 2 && e.dims[0] == 30 && e.dims[1] == 3 && e.content.n == 30 * 24);
    double count = 0;
    for (size_t i = 0; i < 30; i++) {
        const uint8_t *row = e.content.p + 24 * i;
        CHECK(as_double(row) < as_double(row + 8));
        if (i) CHECK(as_double(row) == as_double(row - 16)); /* bins touch */
        count += as_double(row + 16);
    }
    CHECK(as_double(e.content.p) == -1 && as_double(e.content.p + 29 * 24 + 8) == 3);
    CHECK(count == 3); /* NaN and infinity are left out */

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    CHECK(is_text(e.plugin, "text") && e.dtype == 7 && e.rank == 1 && e.dims[0] == 1);
    CHECK(e.n_strings == 1 && is_text(e.strings[0], "\xc3\xa9t\xc3\xa9"));

    REQUIRE(take_record(&file, &m) && read_event(m, &e));
    CHECK(e.dims[0] == 2 && e.content.n == 48 && as_double(e.content.p + 16) == 0);
    CHECK(file.n == 0);
    interp_close(ctx);
}

TEST(one_flipped_bit_spoils_its_record)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb = NULL;
    clean(OUT);
    REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT, NULL, &tb));
    CHECK_OK(ctx, interp_tensorboard_scalar(tb, "loss", 1, 2));
    const bytes file = slurp(ctx, tb->path);
    interp_tensorboard_close(tb);
    uint8_t *p = (uint8_t *)interp_alloc(ctx, file.n);
    REQUIRE(p != NULL);
    for (size_t i = 0; i < file.n; i++) {
        bytes copy = {p, file.n}, m;
        int records = 0;
        memcpy(p, file.p, file.n);
        p[i] ^= 4;
        while (take_record(&copy, &m)) records++;
        CHECK(records < 2);
    }
    interp_close(ctx);
}

TEST(event_files_never_overwrite_each_other)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb[3] = {NULL, NULL, NULL};
    interp_tensorboard_desc d;
    memset(&d, 0, sizeof d);
    clean(OUT);
    d.wall_time = 5.5;
    d.host = "box";
    d.pid = 77;
    for (int i = 0; i < 3; i++) {
        char want[100];
        snprintf(want, sizeof want, OUT "/events.out.tfevents.0000000005.box.77.%d", i);
        REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT, &d, &tb[i]));
        CHECK_STR(tb[i]->path, want);
    }
    CHECK(files_in(OUT) == 3);
    for (int i = 0; i < 3; i++) interp_tensorboard_close(tb[i]);
    interp_close(ctx);
}

TEST(bad_arguments_are_refused_and_write_nothing)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb = NULL;
    interp_tensorboard_desc d;
    interp_image pictures[2];
    memset(&d, 0, sizeof d);
    clean(OUT);
    CHECK(interp_tensorboard_open(ctx, "", NULL, &tb) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_open(ctx, NULL, NULL, &tb) == INTERP_BAD_ARGUMENT);
    d.host = "a/b";
    CHECK(interp_tensorboard_open(ctx, OUT, &d, &tb) == INTERP_BAD_ARGUMENT);
    d.host = NULL, d.wall_time = (double)NAN;
    CHECK(interp_tensorboard_open(ctx, OUT, &d, &tb) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_open(ctx, "/dev/null/x", NULL, &tb) == INTERP_IO);
    CHECK(strstr(interp_error(ctx), "/dev/null/x") != NULL);
    CHECK(!tb && files_in(OUT) == 0);

    REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT, NULL, &tb));
    REQUIRE_OK(ctx, interp_image_new(ctx, 4, 4, 0, &pictures[0]));
    REQUIRE_OK(ctx, interp_image_new(ctx, 4, 5, 0, &pictures[1]));
    const bytes file = slurp(ctx, tb->path);
    const size_t used = interp_memory_read(ctx).used;
    const float x[1] = {1};
    CHECK(interp_tensorboard_scalar(tb, NULL, 0, 1) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_scalar(tb, "", 0, 1) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_image(tb, "i", 0, pictures, 0) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_image(tb, "i", 0, NULL, 1) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_image(tb, "i", 0, pictures, 2) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_histogram(tb, "h", 0, x, 1, -1) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_histogram(tb, "h", 0, x, 1, 1 << 20) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_histogram(tb, "h", 0, NULL, 1, 0) == INTERP_BAD_ARGUMENT);
    CHECK(interp_tensorboard_text(tb, "t", 0, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(interp_memory_read(ctx).used == used);
    CHECK(slurp(ctx, tb->path).n == file.n);
    interp_tensorboard_close(tb);
    interp_tensorboard_close(NULL);
    interp_close(ctx);
}

/* A record cut off in the middle would hide every later one from TensorBoard. */
TEST(a_file_that_failed_takes_no_more_records)
{
    interp_ctx *ctx = open_ctx();
    interp_tensorboard *tb = NULL;
    clean(OUT);
    REQUIRE_OK(ctx, interp_tensorboard_open(ctx, OUT, NULL, &tb));
    tb->path[0] = '/'; /* to a folder that is not there */
    CHECK(interp_tensorboard_scalar(tb, "s", 0, 1) == INTERP_IO);
    tb->path[0] = OUT[0];
    CHECK(interp_tensorboard_scalar(tb, "s", 1, 1) == INTERP_IO);
    CHECK(strstr(interp_error(ctx), "open a new file") != NULL);
    interp_tensorboard_close(tb);
    interp_close(ctx);
}

/* ---- projector folders */

/* The text between `before` and the end of its line. */
static void after(const char *text, const char *before, char out[100])
{
    const char *at = strstr(text, before);
    out[0] = 0;
    if (!at) return;
    at += strlen(before);
    const size_t n = itp_min_size(99, strcspn(at, "\n"));
    memcpy(out, at, n);
    out[n] = 0;
}

TEST(projector_folder_parses_back)
{
    interp_ctx *ctx = open_ctx();
    interp_projector_desc d;
    interp_projector_column columns[3];
    const float x[15] = {1, -2, .1f, 3e-30f, 1e30f, 0, 1.f / 3, 5, 6, 1e-7f, -.5f, 2, 7, 8, 9};
    const int32_t classes[5] = {0, 1, 0, -1, 1};
    const char *const names[2] = {"zero\tline\n", "one"}, *const texts[5] = {"a", "b", NULL, "",
                                                                             "e"};
    float images[5 * 6];
    char text[100], *tail = NULL;
    clean(OUT);
    memset(&d, 0, sizeof d);
    memset(columns, 0, sizeof columns);
    for (int i = 0; i < 30; i++) images[i] = (float)(i / 6) * .25f; /* picture i is one grey */
    columns[0].name = "class", columns[0].classes = classes, columns[0].class_names = names;
    columns[1].name = "value", columns[1].values = x;
    columns[2].name = "text", columns[2].texts = texts;
    d.name = "say \"x\"";
    d.x = x, d.n = 5, d.d = 3;
    d.columns = columns, d.n_columns = 3;
    d.images = images, d.height = 2, d.width = 3;
    REQUIRE_OK(ctx, interp_projector_write(ctx, OUT "/p", &d));
    CHECK(files_in(OUT "/p") == 4);

    const char *s = (const char *)slurp(ctx, OUT "/p/tensors.tsv").p;
    REQUIRE(s != NULL);
    for (int i = 0; i < 15; i++) {
        CHECK((float)strtod(s, &tail) == x[i]); /* the text is the same float again */
        CHECK(*tail == (i % 3 == 2 ? '\n' : '\t'));
        s = tail + 1;
    }
    CHECK(*s == 0);
    CHECK(
        is_text(slurp(ctx, OUT "/p/metadata.tsv"),
                "class\tvalue\ttext\nzero line \t1\ta\none\t-2\tb\nzero line \t0.1\t\n-1\t3e-30\t\n"
                "one\t1e+30\te\n"));

    s = (const char *)slurp(ctx, OUT "/p/projector_config.pbtxt").p;
    REQUIRE(s != NULL);
    after(s, "tensor_name: ", text);
    CHECK_STR(text, "\"say \\\"x\\\"\"");
    after(s, "tensor_path: ", text);
    CHECK_STR(text, "\"tensors.tsv\"");
    after(s, "metadata_path: ", text);
    CHECK_STR(text, "\"metadata.tsv\"");
    after(s, "image_path: ", text);
    CHECK_STR(text, "\"sprite.png\"");
    after(s, "single_image_dim: ", text);
    CHECK_STR(text, "3");
    after(strstr(s, "single_image_dim: ") + 5, "single_image_dim: ", text);
    CHECK_STR(text, "2");

    interp_image sprite;
    const bytes png = slurp(ctx, OUT "/p/sprite.png");
    int channels = 0;
    sprite.rgb =
        stbi_load_from_memory(png.p, (int)png.n, &sprite.width, &sprite.height, &channels, 3);
    REQUIRE(sprite.rgb != NULL);
    CHECK(sprite.width == 9 && sprite.height == 6 && channels == 3); /* 3 by 3 places */
    for (int i = 0; i < 9; i++) {
        const uint8_t *p = sprite.rgb + (i / 3 * 2 * 9 + i % 3 * 3) * 3;
        const int want = i < 5 ? (int)(63.75 * i + .5) : 255;
        CHECK(abs(p[0] - want) <= 1 && p[0] == p[1] && p[1] == p[2]);
    }
    stbi_image_free(sprite.rgb);
    interp_close(ctx);
}

/* TensorBoard takes the first line for names exactly when it holds a tab. */
TEST(one_column_of_metadata_has_no_header)
{
    interp_ctx *ctx = open_ctx();
    interp_projector_desc d;
    interp_projector_column column;
    const float x[2] = {1, 2};
    const int32_t classes[2] = {7, 3};
    clean(OUT);
    memset(&d, 0, sizeof d);
    memset(&column, 0, sizeof column);
    column.classes = classes;
    d.x = x, d.n = 2, d.d = 1, d.columns = &column, d.n_columns = 1;
    REQUIRE_OK(ctx, interp_projector_write(ctx, OUT, &d));
    CHECK(is_text(slurp(ctx, OUT "/metadata.tsv"), "7\n3\n"));
    CHECK(files_in(OUT) == 3); /* no pictures were given */
    interp_close(ctx);
}

TEST(sprites_shrink_to_the_largest_texture)
{
    interp_ctx *ctx = open_ctx();
    interp_projector_desc d;
    int side = 0, height = 0, channels = 0;
    char text[100];
    clean(OUT);
    memset(&d, 0, sizeof d);
    d.n = 2, d.d = 1, d.height = 8, d.width = 5000;
    float *images = (float *)itp_calloc(ctx, 2, 8 * 5000 * sizeof(float));
    const float x[2] = {1, 2};
    REQUIRE(images != NULL);
    d.x = x, d.images = images;
    REQUIRE_OK(ctx, interp_projector_write(ctx, OUT, &d));
    const bytes png = slurp(ctx, OUT "/sprite.png");
    CHECK(stbi_info_from_memory(png.p, (int)png.n, &side, &height, &channels));
    CHECK(side == 8192 && height == 2 * 6); /* 5000 x 8 became 4096 x 6 */
    const char *s = (const char *)slurp(ctx, OUT "/projector_config.pbtxt").p;
    REQUIRE(s != NULL);
    after(s, "single_image_dim: ", text);
    CHECK_STR(text, "4096");
    interp_close(ctx);
}

TEST(projector_refuses_what_it_cannot_write)
{
    interp_ctx *ctx = open_ctx();
    interp_projector_desc d;
    interp_projector_column columns[2];
    float x[4] = {1, 2, 3, 4};
    clean(OUT);
    memset(&d, 0, sizeof d);
    memset(columns, 0, sizeof columns);
    CHECK(interp_projector_write(ctx, OUT, NULL) == INTERP_BAD_ARGUMENT);
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_BAD_ARGUMENT);
    d.x = x, d.n = 2, d.d = 2;
    CHECK(interp_projector_write(ctx, NULL, &d) == INTERP_BAD_ARGUMENT);
    d.images = x;
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_BAD_ARGUMENT); /* of which size? */
    d.images = NULL;
    d.n_columns = 1;
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_BAD_ARGUMENT);
    d.columns = columns;
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_BAD_ARGUMENT); /* an empty column */
    columns[0].values = columns[1].values = x;
    d.n_columns = 2;
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_BAD_ARGUMENT); /* without names */
    d.n_columns = 0;
    CHECK(files_in(OUT) == 0);
    x[3] = (float)NAN;
    CHECK(interp_projector_write(ctx, OUT, &d) == INTERP_NOT_FINITE);
    CHECK(strstr(interp_error(ctx), "point 1") != NULL);
    CHECK(files_in(OUT) == 0);
    interp_close(ctx);
}

/* ---- memory */

static interp_status write_everything(interp_ctx *ctx, const interp_image *picture)
{
    interp_tensorboard *tb = NULL;
    interp_projector_desc d;
    interp_projector_column column;
    const float x[4] = {1, 2, 3, 4};
    memset(&d, 0, sizeof d);
    memset(&column, 0, sizeof column);
    column.values = x;
    d.x = d.images = x, d.n = 2, d.d = d.height = 2, d.width = 1;
    d.columns = &column, d.n_columns = 1;
    interp_status status = interp_tensorboard_open(ctx, OUT "/run", NULL, &tb);
    if (status) return tb ? INTERP_OK : status; /* tb must stay untouched */
    status = interp_tensorboard_scalar(tb, "s", 0, 1);
    if (!status) status = interp_tensorboard_image(tb, "i", 0, picture, 1);
    if (!status) status = interp_tensorboard_histogram(tb, "h", 0, x, 4, 0);
    if (!status) status = interp_tensorboard_text(tb, "t", 0, "text");
    if (!status) status = interp_projector_write(ctx, OUT, &d);
    interp_tensorboard_close(tb);
    return status;
}

/* Whole records and nothing else in every event file of a folder. */
static void check_whole_records(interp_ctx *ctx, const char *dir)
{
    DIR *folder = opendir(dir);
    if (!folder) return;
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        char path[600];
        bytes m;
        int records = 0;
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        const bytes file = slurp(ctx, path);
        bytes rest = file;
        while (take_record(&rest, &m)) records++;
        CHECK(records >= 1 && records <= 5 && rest.n == 0);
        drop(ctx, file);
    }
    closedir(folder);
}

TEST(every_allocation_may_fail)
{
    int fails = 0;
    interp_desc d;
    interp_image picture;
    memset(&d, 0, sizeof d);
    d.threads = 1;
    d.allocator.alloc = heap_alloc, d.allocator.free = heap_free;
    interp_ctx *ctx = interp_open(&d);
    REQUIRE(ctx != NULL);
    REQUIRE_OK(ctx, interp_image_new(ctx, 3, 3, 0, &picture));
    const size_t before = interp_memory_read(ctx).used;
    for (interp_status s = INTERP_NO_MEMORY; s && fails < 200; fails += s != INTERP_OK) {
        clean(OUT);
        heap_fail_after(fails);
        s = write_everything(ctx, &picture);
        heap.fail_at = 0;
        CHECK(s == INTERP_OK || s == INTERP_NO_MEMORY);
        CHECK(interp_memory_read(ctx).used == before);
        check_whole_records(ctx, OUT "/run");
    }
    CHECK(fails > 20 && fails < 200);
    interp_close(ctx);
}

int main(int argc, char **argv)
{
    RUN(crc32c_matches_the_published_vectors);
    RUN(checksums_are_masked_as_tensorflow_masks_them);
    RUN(records_equal_the_reference_bytes);
    RUN(records_read_back_as_written);
    RUN(one_flipped_bit_spoils_its_record);
    RUN(event_files_never_overwrite_each_other);
    RUN(bad_arguments_are_refused_and_write_nothing);
    RUN(a_file_that_failed_takes_no_more_records);
    RUN(projector_folder_parses_back);
    RUN(one_column_of_metadata_has_no_header);
    RUN(sprites_shrink_to_the_largest_texture);
    RUN(projector_refuses_what_it_cannot_write);
    RUN(every_allocation_may_fail);
    clean(OUT);
    return test_end(argc, argv);
}

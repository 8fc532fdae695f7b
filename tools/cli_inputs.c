/* What commands read: models with the names of their classes, data sets, arrays, pictures. */
#include "cli.h"

#include "../examples/data/digits.h"
#include "../examples/data/iris.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* ---- models */

#define CLASSES_NOTE "classes" /* of an ONNX file: names of the classes, a list in JSON */

/* One character of a string in JSON; *at goes behind it. */
static char json_character(const char **at)
{
    static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
    const char ch = *(*at)++;
    if (ch != '\\' || !**at) return ch;
    const char code = *(*at)++, *known = strchr(from, code);
    if (known && code) return to[known - from];
    if (code != 'u') return code;
    char digits[5] = "";
    for (int i = 0; i < 4 && **at; i++) digits[i] = *(*at)++;
    return (char)strtol(digits, NULL, 16); /* we write no others than those below 32 */
}

/* A list of n names in one block: pointers, then text. */
static char **new_names(cli *c, int n, size_t bytes, char **text)
{
    char **names = (char **)interp_alloc(c->ctx, (size_t)n * sizeof *names + bytes);
    if (names) *text = (char *)(names + n);
    return names;
}

/* ["a","b"] with exactly n names; NULL when it is anything else. */
static char **parse_names(cli *c, const char *json, int n)
{
    char *text;
    char **names = new_names(c, n, strlen(json) + 1, &text);
    int found = 0;
    const char *at = json + strspn(json, " [");
    while (names && *at == '"' && found < n) {
        names[found++] = text;
        for (at++; *at && *at != '"';) *text++ = json_character(&at);
        *text++ = 0;
        if (*at) at++;
        at += strspn(at, " ,");
    }
    if (found == n && *at == ']') return names;
    interp_free(c->ctx, names);
    return NULL;
}

/* The first weights that are not numbers, NULL when all are. */
static const char *bad_weights(interp_net *net, bool infinite)
{
    for (int i = 0; i < interp_net_parameter_count(net); i++) {
        const interp_parameter_info p = interp_net_parameter(net, i);
        const float *x = interp_net_parameters(net) + p.offset;
        for (size_t k = 0; k < interp_shape_size(&p.shape); k++)
            if (isnan(x[k]) || (infinite && isinf(x[k]))) return p.name;
    }
    return NULL;
}

int cli_model_load(cli *c, const char *path, const interp_onnx_load_desc *desc, cli_model *m)
{
    char *note = NULL;
    interp_onnx_load_desc usual;
    memset(m, 0, sizeof *m);
    memset(&usual, 0, sizeof usual);
    usual.channels_first = true;
    m->path = path;
    if (interp_onnx_load(c->ctx, path, desc ? desc : &usual, &m->net)) return cli_fail_ctx(c);
    const char *bad = bad_weights(m->net, false);
    if (bad) return cli_fail("%s: its weights \"%s\" hold NaN: train it again", path, bad);
    if (interp_onnx_note_read(c->ctx, path, CLASSES_NOTE, &note)) return cli_fail_ctx(c);
    const interp_shape out = interp_net_output_shape(m->net, 0);
    const size_t n = interp_shape_size(&out);
    if (note && n > 0 && n <= 65536) m->classes = parse_names(c, note, (int)n);
    if (m->classes) m->n_classes = (int)n;
    interp_free(c->ctx, note);
    return CLI_DONE;
}

int cli_model_bytes(cli *c, const interp_net *net, const interp_onnx_save_desc *desc,
                    char *const *classes, int n, void **bytes, size_t *size)
{
    cli_text note = {NULL, 0, 0, false};
    *bytes = NULL;
    if (interp_onnx_serialize_as(net, desc, bytes, size)) return cli_fail_ctx(c);
    if (classes) cli_add_json_list(&note, classes, n);
    interp_status status = INTERP_OK;
    if (note.failed) status = interp_fail(c->ctx, INTERP_NO_MEMORY, NULL);
    else if (classes) status = interp_onnx_note_add(c->ctx, bytes, size, CLASSES_NOTE, note.data);
    free(note.data);
    if (!status) return CLI_DONE;
    interp_free(c->ctx, *bytes);
    return cli_fail_ctx(c);
}

int cli_model_save(cli *c, const interp_net *net, char *const *classes, int n, const char *path)
{
    void *bytes;
    size_t size = 0;
    int code = cli_model_bytes(c, net, NULL, classes, n, &bytes, &size);
    if (code) return code;
    code = cli_write(path, bytes, size);
    interp_free(c->ctx, bytes);
    return code;
}

int cli_fail_model(const cli *c, const cli_model *m)
{
    const char *bad =
        interp_last_status(c->ctx) == INTERP_NOT_FINITE ? bad_weights(m->net, true) : NULL;
    if (!bad) return cli_fail_ctx(c);
    return cli_fail("%s: its weights \"%s\" hold infinite numbers: train it again", m->path, bad);
}

/* ---- shapes and pictures */

const char *cli_shape(const interp_shape *s, char out[128])
{
    size_t at = (size_t)snprintf(out, 128, "[");
    for (int i = 0; i < s->rank && at < 110; i++)
        at += (size_t)snprintf(out + at, 128 - at, "%s%d", i ? "," : "", s->dim[i]);
    snprintf(out + at, 128 - at, "]");
    return out;
}

/* Grey or colour, of whatever size. */
static bool is_picture(const interp_shape *s)
{
    return s->rank == 3 && (s->dim[0] == 1 || s->dim[0] == 3);
}

bool cli_is_image(const interp_shape *s)
{
    return is_picture(s) && s->dim[1] > 1 && s->dim[2] > 1;
}

bool cli_picture_of(const interp_shape *sample, cli_picture *p)
{
    interp_shape one = *sample;
    memset(p, 0, sizeof *p);
    if (one.rank == 4) {
        one.rank = 3;
        memmove(one.dim, one.dim + 1, 3 * sizeof *one.dim);
    }
    if (!cli_is_image(&one)) return false;
    p->views = sample->rank == 4 ? sample->dim[0] : 1;
    p->channels = one.dim[0], p->height = one.dim[1], p->width = one.dim[2];
    const bool below = p->width >= p->height;
    p->whole_height = p->height * (below ? p->views : 1);
    p->whole_width = p->width * (below ? 1 : p->views);
    return true;
}

void cli_picture_join(const cli_picture *p, const float *x, float *to)
{
    const size_t width = (size_t)p->width, height = (size_t)p->height, area = width * height;
    const size_t whole = (size_t)p->whole_width, all = whole * (size_t)p->whole_height;
    const bool below = p->whole_width == p->width;
    for (size_t v = 0; v < (size_t)p->views; v++)
        for (size_t c = 0; c < (size_t)p->channels; c++)
            for (size_t y = 0; y < height; y++)
                memcpy(to + c * all + (below ? v * height + y : y) * whole +
                           (below ? 0 : v * width),
                       x + (v * (size_t)p->channels + c) * area + y * width, width * sizeof *x);
}

/* A picture as the other shape: grey to colour by copies, colour to grey by luminance (ITU-R BT.601),
   then resized. `scratch` holds the largest of both. */
static void fit_picture(const float *x, const interp_shape *from, float *out,
                        const interp_shape *to, float *scratch)
{
    static const float luminance[3] = {0.299f, 0.587f, 0.114f};
    const size_t area = (size_t)from->dim[1] * (size_t)from->dim[2];
    const int channels = to->dim[0];
    if (from->dim[0] != channels) {
        for (int c = 0; c < channels; c++)
            for (size_t i = 0; i < area; i++) {
                float v = x[i];
                if (channels == 1) v *= luminance[0];
                for (int k = 1; channels == 1 && k < 3; k++)
                    v += luminance[k] * x[(size_t)k * area + i];
                scratch[(size_t)c * area + i] = v;
            }
        x = scratch;
    }
    interp_planes_resize(x, channels, from->dim[1], from->dim[2], out, to->dim[1], to->dim[2]);
}

static bool same_shape(const interp_shape *a, const interp_shape *b)
{
    bool same = a->rank == b->rank;
    for (int i = 0; same && i < a->rank; i++) same = a->dim[i] == b->dim[i];
    return same;
}

/* Floats of scratch that fit_picture takes. */
static float *fit_scratch(cli *c, const interp_shape *from)
{
    return (float *)interp_alloc(c->ctx,
                                 3 * (size_t)from->dim[1] * (size_t)from->dim[2] * sizeof(float));
}

/* ---- data */

/* shapes[:N][,size=HxW], if `spec` says so: *found. */
static int open_shapes(cli *c, const char *spec, interp_dataset *all, bool *found)
{
    interp_shapes_desc d;
    const char *at = spec + 6;
    int end = 0;
    *found = !strncmp(spec, "shapes", 6) && (!*at || *at == ':' || *at == ',');
    if (!*found) return CLI_DONE;
    memset(&d, 0, sizeof d);
    if (*at == ':' && sscanf(at, ":%d%n", &d.n, &end) == 1 && d.n > 0) at += end;
    if (*at == ',' && sscanf(at, ",size=%dx%d%n", &d.height, &d.width, &end) == 2) at += end;
    if (*at)
        return cli_usage("--data %s: behind the name there may be :N samples and ,size=HxW", spec);
    if (interp_dataset_shapes(c->ctx, &d, all, NULL))
        return cli_fail("--data %s: %s", spec, interp_error(c->ctx));
    return CLI_DONE;
}

/* digits or iris, if `spec` says so: *found. */
static int open_embedded(cli *c, const char *spec, interp_dataset *all, bool *found)
{
    const size_t n = strcspn(spec, ",");
    const bool digits = n == 6 && !strncmp(spec, "digits", n);
    int height, width, end = 0;
    *found = digits || (n == 4 && !strncmp(spec, "iris", n));
    if (!*found) return CLI_DONE;
    if (digits ? digits_open(c->ctx, all) : iris_open(c->ctx, all)) return cli_fail_ctx(c);
    if (!spec[n]) return CLI_DONE;
    if (sscanf(spec + n, ",size=%dx%d%n", &height, &width, &end) < 2 || spec[n + (size_t)end] ||
        height < 1 || width < 1 || height > 1024 || width > 1024)
        return cli_usage("--data %s: behind the name there may be ,size=HxW, up to 1024x1024",
                         spec);
    if (interp_dataset_resize(c->ctx, all, height, width))
        return cli_fail("--data %s: %s", spec, interp_error(c->ctx));
    return CLI_DONE;
}

int cli_data(cli *c, const char *spec, interp_dataset *train, interp_dataset *test)
{
    enum { split_seed = 0 }; /* what is measured must never have been trained on */
    interp_dataset all;
    bool embedded;
    if (!spec)
        return cli_usage(
            "--data is missing: digits, iris, shapes, idx:DIR, csv:FILE, folder:DIR ...");
    int code = open_embedded(c, spec, &all, &embedded);
    if (!code && !embedded) code = open_shapes(c, spec, &all, &embedded);
    if (code) return code;
    if (!embedded)
        return interp_data_open(c->ctx, spec, split_seed, train, test) ? cli_fail_ctx(c) : CLI_DONE;
    const interp_status status = interp_dataset_split(c->ctx, &all, 0.2, split_seed, train, test);
    interp_dataset_free(c->ctx, &all);
    return status ? cli_fail_ctx(c) : CLI_DONE;
}

static int fit_pictures(cli *c, const interp_shape *to, interp_dataset *d)
{
    const size_t from_size = interp_shape_size(&d->shape), to_size = interp_shape_size(to);
    float *x = (float *)interp_alloc(c->ctx, (size_t)d->n * to_size * sizeof *x);
    float *scratch = fit_scratch(c, &d->shape);
    if (!x || !scratch) return cli_fail_ctx(c);
    for (int i = 0; i < d->n; i++)
        fit_picture(d->x + (size_t)i * from_size, &d->shape, x + (size_t)i * to_size, to, scratch);
    interp_free(c->ctx, scratch);
    interp_free(c->ctx, d->x);
    d->x = x;
    d->shape = *to;
    return CLI_DONE;
}

/* Numbers and names of the data's classes become the model's. */
static int match_classes(cli *c, const char *spec, const cli_model *m, interp_dataset *d)
{
    size_t bytes = 0;
    char *text;
    if (!m->classes || (d->y && d->n_classes > m->n_classes)) return CLI_DONE;
    int *number = (int *)interp_alloc(c->ctx, (size_t)(d->n_classes + 1) * sizeof *number);
    if (!number) return cli_fail_ctx(c);
    for (int k = 0; k < d->n_classes; k++) {
        int at = 0;
        while (d->class_names && at < m->n_classes && strcmp(m->classes[at], d->class_names[k]))
            at++;
        number[k] = d->class_names ? at : k;
        if (at == m->n_classes)
            return cli_fail("%s: its class \"%s\" is none of those of %s", spec, d->class_names[k],
                            m->path);
    }
    for (int i = 0; d->y && i < d->n; i++) d->y[i] = number[d->y[i]];
    for (int k = 0; k < m->n_classes; k++) bytes += strlen(m->classes[k]) + 1;
    char **names = new_names(c, m->n_classes, bytes, &text);
    if (!names) return cli_fail_ctx(c);
    for (int k = 0; k < m->n_classes; k++) {
        names[k] = strcpy(text, m->classes[k]);
        text += strlen(text) + 1;
    }
    interp_free(c->ctx, number);
    interp_free(c->ctx, d->class_names);
    d->class_names = names;
    if (d->y) d->n_classes = m->n_classes;
    return CLI_DONE;
}

int cli_data_fit(cli *c, const char *spec, const cli_model *m, interp_dataset *train,
                 interp_dataset *test)
{
    char have[128], want[128];
    interp_dataset *const sets[2] = {train, test};
    const interp_shape in = interp_net_input_shape(m->net, 0), from = train->shape;
    cli_shape(&from, have);
    cli_shape(&in, want);
    const bool pictures = is_picture(&from) && is_picture(&in) && !same_shape(&from, &in);
    if (!pictures && interp_shape_size(&in) != interp_shape_size(&from))
        return cli_fail("%s: its samples are %s but %s takes %s", spec, have, m->path, want);
    if (pictures) cli_say(c, "%s: the pictures are fitted from %s to %s", spec, have, want);
    for (int i = 0; i < 2; i++) {
        if (pictures && fit_pictures(c, &in, sets[i])) return CLI_FAILED;
        if (match_classes(c, spec, m, sets[i])) return CLI_FAILED;
    }
    return CLI_DONE;
}

/* ---- arrays */

static bool is_picture_file(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name &&
           (!strcasecmp(dot, ".png") || !strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg"));
}

bool cli_is_array(const char *spec)
{
    struct stat info;
    if (!stat(spec, &info) && S_ISDIR(info.st_mode)) return false;
    return !is_picture_file(spec);
}

int cli_array(cli *c, const char *spec, interp_array *array)
{
    if (interp_array_read(c->ctx, spec, array) || interp_array_to_f32(c->ctx, array))
        return cli_fail_ctx(c);
    return CLI_DONE;
}

int cli_count(const char *what, const interp_array *array, const interp_shape *sample)
{
    const interp_shape *s = &array->shape;
    char got[128], want[128];
    const size_t all = interp_shape_size(s), one = interp_shape_size(sample);
    if (s->rank && s->dim[0] > 0 && one > 0 && all == one * (size_t)s->dim[0]) return s->dim[0];
    if (all == one && one > 0) return 1;
    cli_shape(s, got);
    cli_shape(sample, want);
    cli_fail("%s: its shape is %s but one sample is %s; give [n%s%s", what, got, want,
             sample->rank ? "," : "", want + 1);
    return -1;
}

/* Whether an array ends with these dimensions. */
static bool ends_with(const interp_shape *s, const interp_shape *end)
{
    return s->rank >= end->rank &&
           !memcmp(s->dim + s->rank - end->rank, end->dim, (size_t)end->rank * sizeof *end->dim);
}

void cli_turn(int dim[3], bool last)
{
    const int a = dim[0], b = dim[1], c = dim[2];
    dim[0] = last ? b : c, dim[1] = last ? c : a, dim[2] = last ? a : b;
}

interp_shape cli_shape_last(interp_shape s)
{
    cli_turn(s.dim + s.rank - 3, true);
    return s;
}

int cli_array_first(cli *c, interp_array *a, size_t n, const interp_shape *sample)
{
    float *x = (float *)interp_alloc(c->ctx, n * interp_shape_size(sample) * sizeof *x);
    if (!x) return cli_fail_ctx(c);
    interp_channels_to_first((const float *)a->data, n, sample, x);
    interp_free(c->ctx, a->data);
    a->data = x;
    return CLI_DONE;
}

int cli_channels_first(cli *c, const interp_net *net, int input, interp_array *a, bool *last)
{
    const interp_shape first = interp_net_input_shape(net, input);
    const size_t one = interp_shape_size(&first), all = interp_shape_size(&a->shape);
    *last = false;
    if (first.rank < 3 || !one || all % one || ends_with(&a->shape, &first)) return CLI_DONE;
    const interp_shape turned = cli_shape_last(first);
    *last = ends_with(&a->shape, &turned) ||
            (a->shape.rank < 3 && interp_net_input_is_turned(net, input));
    if (!*last || !all) return CLI_DONE;
    if (cli_array_first(c, a, all / one, &turned)) return CLI_FAILED;
    if (ends_with(&a->shape, &turned))
        memcpy(a->shape.dim + a->shape.rank - first.rank, first.dim,
               (size_t)first.rank * sizeof *first.dim);
    return CLI_DONE;
}

static int is_picture_entry(const struct dirent *d)
{
    return d->d_name[0] != '.' && is_picture_file(d->d_name);
}

/* One picture into row i; *fitted counts those that had another shape, the first of which is kept. */
static int read_picture(cli *c, const char *path, const interp_shape *sample, float *out,
                        int *fitted, interp_shape *first)
{
    interp_array image;
    memset(&image, 0, sizeof image);
    if (interp_image_file_read(c->ctx, path, 0, &image)) return cli_fail_ctx(c);
    float *scratch = fit_scratch(c, &image.shape);
    if (!scratch) return cli_fail_ctx(c);
    fit_picture((const float *)image.data, &image.shape, out, sample, scratch);
    if (!same_shape(&image.shape, sample) && !(*fitted)++) *first = image.shape;
    interp_free(c->ctx, scratch);
    interp_array_free(c->ctx, &image);
    return CLI_DONE;
}

/* The pictures of a list of names, in `folder` unless that is NULL, and their names without it. */
static int read_pictures(cli *c, const char *spec, const char *folder, char *const *names, int n,
                         const interp_shape *sample, cli_samples *s)
{
    char path[CLI_PATH], have[128], want[128], *text;
    size_t bytes = 0;
    int fitted = 0;
    interp_shape first = *sample;
    for (int i = 0; i < n; i++) bytes += strlen(names[i]) + 1;
    s->n = n;
    s->x.dtype = INTERP_FLOAT32;
    s->x.shape = *sample;
    s->x.shape.rank = 4;
    for (int i = 3; i > 0; i--) s->x.shape.dim[i] = sample->dim[i - 1];
    s->x.shape.dim[0] = n;
    s->x.data = interp_alloc(c->ctx, interp_shape_size(&s->x.shape) * sizeof(float));
    s->files = new_names(c, n, bytes, &text);
    if (!s->x.data || !s->files) return cli_fail_ctx(c);
    for (int i = 0; i < n; i++) {
        const char *slash = strrchr(names[i], '/');
        s->files[i] = strcpy(text, slash ? slash + 1 : names[i]);
        text += strlen(text) + 1;
        if (cli_progress(c, "read images", i, n)) return cli_fail_ctx(c);
        if (read_picture(c, folder ? cli_path(path, folder, names[i]) : names[i], sample,
                         (float *)s->x.data + (size_t)i * interp_shape_size(sample), &fitted,
                         &first))
            return CLI_FAILED;
    }
    if (fitted)
        cli_say(c, "%s: %d of %d picture%s fitted to %s, the first from %s", spec, fitted, n,
                n == 1 ? "" : "s", cli_shape(sample, want), cli_shape(&first, have));
    return CLI_DONE;
}

static int read_folder(cli *c, const char *spec, const interp_shape *sample, cli_samples *s)
{
    struct dirent **entries;
    const int n = scandir(spec, &entries, is_picture_entry, alphasort);
    if (n < 1) {
        if (!n) free(entries);
        return cli_fail("%s: the folder has no PNG or JPEG images", spec);
    }
    char **names = (char **)interp_alloc(c->ctx, (size_t)n * sizeof *names);
    int code = names ? CLI_DONE : cli_fail_ctx(c);
    for (int i = 0; i < n && names; i++) names[i] = entries[i]->d_name;
    if (!code) code = read_pictures(c, spec, spec, names, n, sample, s);
    for (int i = 0; i < n; i++) free(entries[i]);
    free(entries);
    interp_free(c->ctx, names);
    return code;
}

int cli_samples_read(cli *c, const char *spec, const interp_net *net, int input, bool any_number,
                     cli_samples *s)
{
    const interp_shape shape = interp_net_input_shape(net, input), *const sample = &shape;
    struct stat info;
    char one[CLI_PATH], *name = one;
    memset(s, 0, sizeof *s);
    s->last = interp_net_input_is_turned(net, input);
    const bool folder = !stat(spec, &info) && S_ISDIR(info.st_mode);
    if (is_picture(sample) && (folder || (is_picture_file(spec) && strlen(spec) < sizeof one))) {
        if (folder) return read_folder(c, spec, sample, s);
        strcpy(one, spec);
        return read_pictures(c, spec, NULL, &name, 1, sample, s);
    }
    if (cli_array(c, spec, &s->x)) return CLI_FAILED;
    s->n = cli_count(spec, &s->x, sample);
    if (s->n > 0 && cli_channels_first(c, net, input, &s->x, &s->last)) return CLI_FAILED;
    const float *x = (const float *)s->x.data;
    const size_t one_size = interp_shape_size(sample);
    for (size_t i = 0; s->n > 0 && i < (size_t)s->n * one_size && !any_number; i++)
        if (!isfinite(x[i]))
            return cli_fail("%s: sample %zu holds NaN or infinite numbers", spec, i / one_size);
    return s->n > 0 ? CLI_DONE : CLI_FAILED;
}

/* ---- preprocessing */

enum { MOST_CHANNELS = 64 };

/* "a,b,.." up to the end or a colon: one number, or one for each channel; *at goes behind it. */
static bool parse_channels(const char **at, int channels, double *out)
{
    int n = 0;
    for (; n < channels; n++) {
        char *end;
        out[n] = strtod(*at, &end);
        if (end == *at || !isfinite(out[n])) return false;
        *at = end;
        if (*end != ',') break;
        (*at)++;
    }
    if (n == 0)
        for (int k = 1; k < channels; k++) out[k] = out[0];
    return n == 0 || n == channels - 1;
}

int cli_preprocess(cli *c, const interp_shape *sample, cli_samples *s)
{
    static const double mean_of[3] = {0.485, 0.456, 0.406}, sd_of[3] = {0.229, 0.224, 0.225};
    const char *text = cli_get(c, "--preprocess"), *at = text;
    const int channels = sample->rank >= 3 ? sample->dim[sample->rank - 3] : 1;
    const size_t size = interp_shape_size(sample), all = (size_t)s->n * size;
    double mean[MOST_CHANNELS], sd[MOST_CHANNELS];
    float *x = (float *)s->x.data;
    s->shown = x;
    if (!text) return CLI_DONE;
    bool good = channels <= MOST_CHANNELS;
    if (good && !strcmp(text, "imagenet")) {
        if (channels != 3)
            return cli_fail("--preprocess imagenet: the model takes %d channels, not 3", channels);
        memcpy(mean, mean_of, sizeof mean_of), memcpy(sd, sd_of, sizeof sd_of);
    } else {
        good = good && parse_channels(&at, channels, mean) && *at == ':' && at++ &&
               parse_channels(&at, channels, sd) && !*at;
        for (int k = 0; good && k < channels; k++) good = sd[k] > 0;
    }
    if (!good)
        return cli_usage("--preprocess %s: give imagenet, or MEAN:SD with one number each or one "
                         "for each of %d channels, as 0.5,0.5,0.5:0.25,0.25,0.25",
                         text, channels);
    s->shown = (float *)interp_alloc(c->ctx, all * sizeof *x);
    if (!s->shown) return cli_fail_ctx(c);
    memcpy(s->shown, x, all * sizeof *x);
    const size_t area = sample->rank >= 3 ? (size_t)sample->dim[sample->rank - 2] *
                                                (size_t)sample->dim[sample->rank - 1]
                                          : size;
    for (size_t i = 0; i < all; i++) {
        const size_t k = i / area % (size_t)channels;
        x[i] = (float)(((double)x[i] - mean[k]) / sd[k]);
    }
    return CLI_DONE;
}

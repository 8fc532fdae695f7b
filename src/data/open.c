/* ---- data/open.c: data sets and arrays named on the command line ----------------------------- */

#if !defined(INTERP_NO_STDIO)

#define ITP_TEST_FRACTION 0.2

typedef struct itp_spec {
    char *text;         /* block the others point into */
    const char *path;   /* what follows the colon */
    const char *labels; /* npy: file of labels; NULL: none */
    const char *label, *images, *id;
    int height, width; /* 0: no resizing */
} itp_spec;

ITP_FN interp_status itp_spec_fail(interp_ctx *ctx, const char *spec, const char *why)
{
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "data \"%.100s\": %s; known are idx:DIR, cifar10:DIR, npy:X.npy[,Y.npy], "
                    "csv:FILE[,label=COLUMN], folder:DIR and "
                    "table:FILE.csv,images=DIR[,id=COLUMN,label=COLUMN], and digits and iris "
                    "where they are built in, as in the tool; images also with [,size=HxW]",
                    spec, why);
}

ITP_FN bool itp_spec_size(const char *text, itp_spec *s)
{
    itp_scan t;
    uint64_t h, w;
    t.at = text;
    t.end = text + strlen(text);
    if (!itp_scan_u64(&t, &h) || !(itp_scan_take(&t, 'x') || itp_scan_take(&t, 'X')) ||
        !itp_scan_u64(&t, &w) || t.at != t.end || h < 1 || w < 1 || h > 16384 || w > 16384)
        return false;
    s->height = (int)h;
    s->width = (int)w;
    return true;
}

/* The value of "key=value", NULL when the part is not that. */
ITP_FN const char *itp_spec_value(const char *part, const char *key)
{
    const size_t n = strlen(key);
    return strncmp(part, key, n) == 0 && part[n] == '=' ? part + n + 1 : NULL;
}

/* One part behind the path; NULL when it is fine, else what is wrong with it. */
ITP_FN const char *itp_spec_part(const char *kind, const char *part, itp_spec *s)
{
    const bool table = !strcmp(kind, "table"), csv = !strcmp(kind, "csv");
    const char *size = itp_spec_value(part, "size"), *label = itp_spec_value(part, "label");
    const char *images = itp_spec_value(part, "images"), *id = itp_spec_value(part, "id");
    if (size) return csv || !itp_spec_size(size, s) ? "size= is HxW pixels, for images only" : NULL;
    if (label && (csv || table)) s->label = label;
    else if (images && table) s->images = images;
    else if (id && table) s->id = id;
    else if (!s->labels && !strcmp(kind, "npy")) s->labels = part;
    else return "one of its parts is not known";
    return NULL;
}

/* Divides "kind:path,part,.."; on success the caller frees s->text. */
ITP_FN interp_status itp_spec_parse(interp_ctx *ctx, const char *spec, const char *kind,
                                    itp_spec *s)
{
    memset(s, 0, sizeof *s);
    s->text = itp_strdup(ctx, spec + strlen(kind) + 1);
    if (!s->text) return INTERP_NO_MEMORY;
    s->path = s->text;
    const char *why = NULL;
    char *next = strchr(s->text, ',');
    while (next && !why) {
        char *part = next + 1;
        *next = 0;
        next = strchr(part, ',');
        if (next) *next = 0;
        why = itp_spec_part(kind, part, s);
    }
    if (!why && !*s->path) why = "the path is missing";
    if (!why && !strcmp(kind, "table") && !s->images) why = "images=DIR is missing";
    if (!why) return INTERP_OK;
    interp_free(ctx, s->text);
    return itp_spec_fail(ctx, spec, why);
}

/* Samples and labels (NULL for none) from two files as a data set; sentences name the one at fault. */
ITP_FN interp_status itp_open_pair(interp_ctx *ctx, const char *x_path, const interp_array *x,
                                   const char *y_path, const interp_array *y, interp_dataset *out)
{
    interp_dataset d;
    ITP_TRY(itp_dataset_from_array(ctx, x_path, x, &d));
    const size_t n = y ? interp_shape_size(&y->shape) : 0;
    interp_status status = INTERP_OK;
    if (y && n != (size_t)d.n)
        status = itp_fail(ctx, INTERP_BAD_SHAPE, "%s: it has %zu labels for the %d samples of %s",
                          y_path, n, d.n, x_path);
    if (!status && y) {
        d.y = (int32_t *)interp_alloc(ctx, itp_mul_size(n, sizeof *d.y));
        status = d.y ? itp_dataset_labels(ctx, y_path, y, &d) : INTERP_NO_MEMORY;
    }
    if (status) interp_dataset_free(ctx, &d);
    else *out = d;
    return status;
}

/* ---- idx */

/* The file DIR/NAME in one of its spellings ("-idx", ".idx"; plain, .gz), NULL when there is none
   (or memory ran out, which *status tells). */
ITP_FN char *itp_idx_find(interp_ctx *ctx, const char *dir, const char *start, const char *end,
                          interp_status *status)
{
    static const char *const joints[2] = {"-", "."}, *const ends[2] = {"", ".gz"};
    for (int k = 0; k < 4; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", start, joints[k >> 1], end);
        char *path = itp_path_join(ctx, dir, name, ends[k & 1]);
        if (!path) {
            *status = INTERP_NO_MEMORY;
            return NULL;
        }
        FILE *f = fopen(path, "rb");
        if (f) {
            fclose(f);
            return path;
        }
        interp_free(ctx, path);
    }
    return NULL;
}

ITP_FN interp_status itp_idx_pair(interp_ctx *ctx, const char *images, const char *labels,
                                  interp_dataset *out)
{
    interp_array x = itp_array_none(), y = x;
    ITP_TRY(interp_idx_read(ctx, images, &x));
    interp_status status = interp_idx_read(ctx, labels, &y);
    if (!status) {
        status = itp_open_pair(ctx, images, &x, labels, &y, out);
        interp_array_free(ctx, &y);
    }
    interp_array_free(ctx, &x);
    return status;
}

/* The pair PREFIX-images-idx3-ubyte, PREFIX-labels-idx1-ubyte; *found tells whether both are
   there. */
ITP_FN interp_status itp_idx_named(interp_ctx *ctx, const char *dir, const char *images_start,
                                   const char *labels_start, bool *found, interp_dataset *out)
{
    interp_status status = INTERP_OK;
    char *images = itp_idx_find(ctx, dir, images_start, "idx3-ubyte", &status);
    char *labels = status ? NULL : itp_idx_find(ctx, dir, labels_start, "idx1-ubyte", &status);
    *found = images && labels;
    if (!status && *found) status = itp_idx_pair(ctx, images, labels, out);
    interp_free(ctx, images);
    interp_free(ctx, labels);
    return status;
}

/* The one pair of other name in the folder: ..images..idx3.. and the same with labels, idx1. */
ITP_FN interp_status itp_idx_other(interp_ctx *ctx, const char *dir, interp_dataset *out)
{
    itp_files files;
    char *labels = NULL;
    const char *images = NULL;
    int pairs = 0;
    memset(&files, 0, sizeof files);
    interp_status status = itp_folder_list(ctx, dir, false, &files);
    for (int i = 0; !status && i < files.n; i++) {
        const char *path = files.items[i].path, *base = itp_path_base(path);
        const char *word = strstr(base, "images"), *rank = strstr(base, "idx3");
        if (!word || !rank) continue;
        char *other = itp_strdup(ctx, path);
        if (!other) {
            status = INTERP_NO_MEMORY;
            break;
        }
        memcpy(other + (word - path), "labels", 6);
        other[rank - path + 3] = '1';
        FILE *f = fopen(other, "rb");
        if (f) fclose(f);
        if (f && ++pairs == 1) {
            images = path;
            labels = other;
        } else {
            interp_free(ctx, other);
        }
    }
    if (!status && pairs != 1)
        status =
            itp_fail(ctx, INTERP_IO,
                     "%s: %s; wanted are train-images-idx3-ubyte, train-labels-idx1-ubyte, "
                     "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or .gz",
                     dir, pairs ? "there are several pairs of IDX files" : "no IDX files found");
    if (!status) status = itp_idx_pair(ctx, images, labels, out);
    interp_free(ctx, labels);
    itp_files_free(ctx, &files);
    return status;
}

/* *whole: only one set was there; it is in *train. */
ITP_FN interp_status itp_open_idx(interp_ctx *ctx, const char *dir, interp_dataset *train,
                                  interp_dataset *test, bool *whole)
{
    bool has_train, has_test = false;
    interp_status status =
        itp_idx_named(ctx, dir, "train-images", "train-labels", &has_train, train);
    if (status) return status;
    status = itp_idx_named(ctx, dir, "t10k-images", "t10k-labels", &has_test, test);
    *whole = !has_train || !has_test;
    if (!status && !has_train && has_test) {
        *train = *test;
        memset(test, 0, sizeof *test);
        has_train = true;
    }
    if (!status && !has_train) status = itp_idx_other(ctx, dir, train);
    if (!status && *whole)
        itp_warn(ctx, "%s: only %s is there; %g of it is set aside for testing", dir,
                 has_test    ? "the test set (t10k)"
                 : has_train ? "the training set"
                             : "one set",
                 ITP_TEST_FRACTION);
    if (status && has_train) interp_dataset_free(ctx, train);
    return status;
}

/* ---- CIFAR-10 */

/* Adds the file to the buffer; INTERP_OK with *found false when there is none. */
ITP_FN interp_status itp_cifar10_add(interp_ctx *ctx, const char *dir, const char *name, itp_buf *b,
                                     bool *found)
{
    char *path = itp_path_join(ctx, dir, name, ""), *bytes = NULL;
    size_t n = 0;
    *found = false;
    if (!path) return INTERP_NO_MEMORY;
    FILE *f = fopen(path, "rb");
    interp_status status = INTERP_OK;
    if (f) {
        fclose(f);
        *found = true;
        status = itp_file_read(ctx, path, &bytes, &n);
        if (!status && n % ITP_CIFAR_RECORD)
            status = itp_fail(ctx, INTERP_FORMAT,
                              "%s: %zu bytes are not a whole number of records (%d bytes each)",
                              path, n, ITP_CIFAR_RECORD);
        if (!status) itp_buf_add(b, bytes, n);
        if (!status) status = b->status;
    }
    interp_free(ctx, bytes);
    interp_free(ctx, path);
    return status;
}

ITP_FN interp_status itp_open_cifar10(interp_ctx *ctx, const char *dir, interp_dataset *train,
                                      interp_dataset *test, bool *whole)
{
    itp_buf b = itp_buf_new(ctx);
    bool found = false, any = false;
    interp_status status = INTERP_OK;
    for (int i = 1; !status && i <= 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        status = itp_cifar10_add(ctx, dir, name, &b, &found);
        any |= found;
    }
    const bool has_train = any;
    if (!status && has_train) {
        status = itp_cifar10_parse(ctx, dir, b.data, b.n, train);
        b.n = 0;
    }
    const bool made = !status && has_train;
    if (!status) status = itp_cifar10_add(ctx, dir, "test_batch.bin", &b, &found);
    *whole = !has_train || !found;
    if (!status && !has_train && !found)
        status = itp_fail(ctx, INTERP_IO,
                          "%s: there is neither data_batch_1.bin nor test_batch.bin (the binary "
                          "version of CIFAR-10)",
                          dir);
    if (!status && found)
        status = itp_cifar10_parse(ctx, dir, b.data, b.n, has_train ? test : train);
    if (!status && *whole)
        itp_warn(ctx, "%s: only %s is there; %g of it is set aside for testing", dir,
                 has_train ? "the training set" : "the test set", ITP_TEST_FRACTION);
    if (status && made) interp_dataset_free(ctx, train);
    itp_buf_free(&b);
    return status;
}

/* ---- npy */

ITP_FN interp_status itp_open_npy(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    interp_array x = itp_array_none(), y = x;
    ITP_TRY(interp_npy_read(ctx, s->path, &x));
    interp_status status = s->labels ? interp_npy_read(ctx, s->labels, &y) : INTERP_OK;
    if (!status) status = itp_open_pair(ctx, s->path, &x, s->labels, s->labels ? &y : NULL, all);
    interp_array_free(ctx, &x);
    interp_array_free(ctx, &y);
    return status;
}

/* ---- tables */

/* The column asked for, or the first of the usual names, else `otherwise`; -1 with an error set. */
ITP_FN int itp_table_pick(interp_ctx *ctx, const char *file, const interp_table *t,
                          const char *asked, const char *const *usual, int n_usual, int otherwise)
{
    char names[240];
    if (asked) {
        const int j = interp_table_column(t, asked);
        if (j >= 0) return j;
        size_t at = 0;
        for (int k = 0; k < t->n_columns && t->column_names && at + 50 < sizeof names; k++)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%.40s", k ? ", " : "",
                                   t->column_names[k]);
        itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: there is no column \"%.100s\" among its %d (%s)",
                 file, asked, t->n_columns, t->column_names ? names : "which have no names");
        return j;
    }
    for (int k = 0; k < n_usual && t->column_names; k++)
        for (int j = 0; j < t->n_columns; j++)
            if (itp_same_word(t->column_names[j], usual[k])) return j;
    return otherwise;
}

ITP_FN int itp_table_label(interp_ctx *ctx, const itp_spec *s, const interp_table *t)
{
    static const char *const usual[5] = {"label", "class", "target", "species", "diagnosis"};
    return itp_table_pick(ctx, s->path, t, s->label, usual, 5, t->n_columns - 1);
}

/* "column 3" or its name, for sentences. */
ITP_FN const char *itp_table_name(const interp_table *t, int j, char out[64])
{
    if (t->column_names) snprintf(out, 64, "column \"%.40s\"", t->column_names[j]);
    else snprintf(out, 64, "column %d", j);
    return out;
}

/* Classes of all rows from column j into y; *n_classes and *names (NULL for numbers) of them. */
ITP_FN interp_status itp_table_classes(interp_ctx *ctx, const char *file, const interp_table *t,
                                       int j, int32_t *y, int *n_classes, const char *const **names)
{
    char name[64];
    *n_classes = 0;
    for (int i = 0; i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)j];
        if (!(v >= 0 && v < ITP_MAX_CLASSES) || v != floor(v))
            return itp_fail(
                ctx, INTERP_BAD_ARGUMENT,
                "%s: row %d: the label in %s is %g; a label is a word or a whole number "
                "from 0, below %d",
                file, i + 1, itp_table_name(t, j, name), v, ITP_MAX_CLASSES);
        y[i] = (int32_t)v;
        *n_classes = itp_max(*n_classes, y[i] + 1);
    }
    *names = t->n_categories[j] ? (const char *const *)t->categories[j] : NULL;
    return INTERP_OK;
}

/* Whether a column can be a feature: not the label, not a row number, not empty throughout. */
ITP_FN bool itp_table_is_feature(const interp_table *t, int j, int label)
{
    if (j == label) return false;
    if (t->column_names && itp_same_word(t->column_names[j], "id")) return false;
    for (int i = 0; i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)j];
        if (v == v) return true;
    }
    return false;
}

/* Writes the numbers of the feature columns to columns [n_columns]; returns how many, or -1. */
ITP_FN int itp_table_features(interp_ctx *ctx, const char *file, const interp_table *t, int label,
                              int *columns)
{
    char name[64];
    int n = 0;
    for (int j = 0; j < t->n_columns; j++) {
        if (!itp_table_is_feature(t, j, label)) {
            if (j != label) itp_warn(ctx, "%s: %s is left out", file, itp_table_name(t, j, name));
            continue;
        }
        if (t->n_categories[j]) {
            itp_fail(ctx, INTERP_BAD_ARGUMENT,
                     "%s: %s holds text (\"%.40s\"); features are numbers, only the label may be "
                     "text",
                     file, itp_table_name(t, j, name), t->categories[j][0]);
            return -1;
        }
        columns[n++] = j;
    }
    if (n) return n;
    itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: it has no column besides the label", file);
    return -1;
}

ITP_FN interp_status itp_table_dataset(interp_ctx *ctx, const itp_spec *s, const interp_table *t,
                                       int *columns, int32_t *y, interp_dataset *all)
{
    const int label = itp_table_label(ctx, s, t);
    if (label < 0) return INTERP_BAD_ARGUMENT;
    const int d = itp_table_features(ctx, s->path, t, label, columns);
    if (d < 0) return INTERP_BAD_ARGUMENT;
    int n_classes;
    const char *const *names;
    ITP_TRY(itp_table_classes(ctx, s->path, t, label, y, &n_classes, &names));
    interp_shape shape = itp_shape_none();
    shape.rank = 1;
    shape.dim[0] = d;
    ITP_TRY(itp_dataset_new(ctx, t->n_rows, &shape, n_classes, names, all));
    float *x = all->x;
    for (int i = 0; i < t->n_rows; i++)
        for (int k = 0; k < d; k++)
            *x++ = (float)t->cells[(size_t)i * (size_t)t->n_columns + (size_t)columns[k]];
    memcpy(all->y, y, (size_t)t->n_rows * sizeof *y);
    return INTERP_OK;
}

ITP_FN interp_status itp_open_csv(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    interp_table t;
    ITP_TRY(interp_csv_read(ctx, s->path, &t));
    int *columns = (int *)interp_alloc(ctx, itp_mul_size((size_t)t.n_columns, sizeof *columns));
    int32_t *y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)t.n_rows, sizeof *y));
    interp_status status = INTERP_NO_MEMORY;
    if (columns && y) status = itp_table_dataset(ctx, s, &t, columns, y, all);
    interp_free(ctx, columns);
    interp_free(ctx, y);
    interp_table_free(ctx, &t);
    return status;
}

/* ---- images */

/* Takes over the files' labels; class names may be NULL. */
ITP_FN interp_status itp_images_dataset(interp_ctx *ctx, const itp_spec *s, const itp_files *files,
                                        int n_classes, const char *const *names,
                                        interp_dataset *all)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.n = files->n;
    d.n_classes = n_classes;
    ITP_TRY(itp_images_load(ctx, files, s->height, s->width, &d.x, &d.shape));
    d.y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)files->n, sizeof *d.y));
    interp_status status = d.y ? INTERP_OK : INTERP_NO_MEMORY;
    for (int i = 0; !status && i < files->n; i++) d.y[i] = files->items[i].label;
    if (!status && names) status = itp_names_copy(ctx, names, n_classes, &d.class_names);
    if (status) interp_dataset_free(ctx, &d);
    else *all = d;
    return status;
}

ITP_FN interp_status itp_open_folder(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    itp_files folders, images;
    int n_classes = 0;
    memset(&folders, 0, sizeof folders);
    memset(&images, 0, sizeof images);
    interp_status status = itp_folder_list(ctx, s->path, true, &folders);
    const char **names = NULL;
    if (!status) {
        names = (const char **)interp_alloc(ctx, (size_t)folders.n * sizeof *names);
        if (!names) status = INTERP_NO_MEMORY;
    }
    for (int i = 0; !status && i < folders.n; i++) {
        const int before = images.n;
        status = itp_folder_images(ctx, folders.items[i].path, n_classes, &images);
        if (images.n > before) names[n_classes++] = itp_path_base(folders.items[i].path);
    }
    if (!status && images.n == 0)
        status =
            itp_fail(ctx, INTERP_IO,
                     "%s: no sub-folder with PNG or JPEG images; one per class is wanted", s->path);
    if (!status) status = itp_images_dataset(ctx, s, &images, n_classes, names, all);
    interp_free(ctx, names);
    itp_files_free(ctx, &images);
    itp_files_free(ctx, &folders);
    return status;
}

/* The image that a table calls `id`, with or without its ending. */
ITP_FN interp_status itp_table_image(interp_ctx *ctx, const itp_spec *s, const char *id, int label,
                                     itp_files *files)
{
    static const char *const ends[] = {"", ".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG"};
    for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
        char *path = itp_path_join(ctx, s->images, id, ends[k]);
        if (!path) return INTERP_NO_MEMORY;
        FILE *f = itp_is_image_name(path) ? fopen(path, "rb") : NULL;
        if (f) {
            fclose(f);
            return itp_files_add(ctx, files, path, label);
        }
        interp_free(ctx, path);
    }
    return itp_fail(ctx, INTERP_IO, "%s: it names the image \"%.100s\", which is not in %.200s",
                    s->path, id, s->images);
}

ITP_FN interp_status itp_table_images(interp_ctx *ctx, const itp_spec *s, const interp_table *t,
                                      int id, int label, interp_dataset *all)
{
    itp_files files;
    int n_classes = 0;
    const char *const *names = NULL;
    memset(&files, 0, sizeof files);
    int32_t *y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)t->n_rows, sizeof *y));
    if (!y) return INTERP_NO_MEMORY;
    interp_status status = itp_table_classes(ctx, s->path, t, label, y, &n_classes, &names);
    for (int i = 0; !status && i < t->n_rows; i++) {
        const double v = t->cells[(size_t)i * (size_t)t->n_columns + (size_t)id];
        if (!(v >= 0))
            status = itp_fail(ctx, INTERP_FORMAT, "%s: row %d names no image", s->path, i + 1);
        else status = itp_table_image(ctx, s, t->categories[id][(int)v], y[i], &files);
    }
    if (!status) status = itp_images_dataset(ctx, s, &files, n_classes, names, all);
    itp_files_free(ctx, &files);
    interp_free(ctx, y);
    return status;
}

/* Read twice: names of columns first, then with the ids as text, which keeps leading zeros. */
ITP_FN interp_status itp_open_table(interp_ctx *ctx, const itp_spec *s, interp_dataset *all)
{
    static const char *const usual[] = {"id",       "id_code", "image", "image_id", "file",
                                        "filename", "path",    "name",  "img"};
    char *bytes = NULL;
    size_t n = 0;
    interp_table t;
    ITP_TRY(itp_file_read(ctx, s->path, &bytes, &n));
    interp_status status = itp_csv_parse(ctx, s->path, bytes, n, -1, &t);
    if (!status) {
        const int id = itp_table_pick(ctx, s->path, &t, s->id, usual, 9, 0);
        const int label = id < 0 ? -1 : itp_table_label(ctx, s, &t);
        interp_table_free(ctx, &t);
        if (label < 0) status = INTERP_BAD_ARGUMENT;
        else if (id == label)
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: image names and labels would be the same column; give id= and "
                              "label=",
                              s->path);
        if (!status) status = itp_csv_parse(ctx, s->path, bytes, n, id, &t);
        if (!status) {
            status = itp_table_images(ctx, s, &t, id, label, all);
            interp_table_free(ctx, &t);
        }
    }
    interp_free(ctx, bytes);
    return status;
}

/* ---- all of them */

/* Resizes and checks; `name` goes in front of the sentence. */
ITP_FN interp_status itp_open_finish(interp_ctx *ctx, const char *name, const itp_spec *s,
                                     interp_dataset *d)
{
    interp_status status = INTERP_OK;
    if (s->height) status = interp_dataset_resize(ctx, d, s->height, s->width);
    if (!status) status = interp_dataset_check(ctx, d);
    if (status && status != INTERP_NO_MEMORY)
        itp_fail(ctx, status, "%s: %s", name, interp_error(ctx));
    return status;
}

ITP_FN interp_status itp_open_kind(interp_ctx *ctx, const char *kind, const itp_spec *s,
                                   interp_dataset *train, interp_dataset *test, bool *whole)
{
    if (!strcmp(kind, "idx")) return itp_open_idx(ctx, s->path, train, test, whole);
    if (!strcmp(kind, "cifar10")) return itp_open_cifar10(ctx, s->path, train, test, whole);
    if (!strcmp(kind, "npy")) return itp_open_npy(ctx, s, train);
    if (!strcmp(kind, "csv")) return itp_open_csv(ctx, s, train);
    if (!strcmp(kind, "folder")) return itp_open_folder(ctx, s, train);
    return itp_open_table(ctx, s, train);
}

INTERP_API interp_status interp_data_open(interp_ctx *ctx, const char *spec, uint64_t seed,
                                          interp_dataset *train, interp_dataset *test)
{
    static const char *const kinds[] = {"idx", "cifar10", "npy", "csv", "folder", "table"};
    const char *kind = NULL;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const size_t n = strlen(kinds[k]);
        if (strncmp(spec, kinds[k], n) == 0 && spec[n] == ':') kind = kinds[k];
    }
    if (!kind) return itp_spec_fail(ctx, spec, "this form is not known");
    itp_spec s;
    ITP_TRY(itp_spec_parse(ctx, spec, kind, &s));
    interp_dataset a, b, first, second;
    bool whole = true;
    memset(&a, 0, sizeof a);
    b = first = second = a;
    interp_status status = itp_open_kind(ctx, kind, &s, &a, &b, &whole);
    const bool opened = !status;
    if (!status) status = itp_open_finish(ctx, s.path, &s, &a);
    if (!status && whole) {
        status = interp_dataset_split(ctx, &a, ITP_TEST_FRACTION, seed, &first, &second);
    } else if (!status) {
        status = itp_open_finish(ctx, s.path, &s, &b);
        if (!status && !itp_shape_equal(&a.shape, &b.shape))
            status = itp_fail(ctx, INTERP_BAD_SHAPE,
                              "%s: training and test samples are of different shapes", s.path);
        a.n_classes = b.n_classes = itp_max(a.n_classes, b.n_classes);
    }
    interp_free(ctx, s.text);
    if (opened && (status || whole)) {
        interp_dataset_free(ctx, &a);
        interp_dataset_free(ctx, &b);
    }
    if (status) return status;
    *train = whole ? first : a;
    *test = whole ? second : b;
    return INTERP_OK;
}

/* ---- arrays */

/* The key behind "FILE.end:KEY", with the path copied to *path; NULL when it is not that form. */
ITP_FN const char *itp_spec_key(interp_ctx *ctx, const char *spec, const char *end, char **path,
                                interp_status *status)
{
    const size_t n = strlen(end);
    for (const char *p = strchr(spec, '.'); p; p = strchr(p + 1, '.')) {
        if (strncmp(p, end, n) || (p[n] && p[n] != ':')) continue;
        *path = itp_strdup(ctx, spec);
        if (*path) (*path)[(size_t)(p - spec) + n] = 0;
        else *status = INTERP_NO_MEMORY;
        return p[n] ? p + n + 1 : p + n;
    }
    return NULL;
}

ITP_FN interp_status itp_array_read_csv(interp_ctx *ctx, const char *path, interp_array *array)
{
    interp_table t;
    char name[64];
    ITP_TRY(interp_csv_read(ctx, path, &t));
    interp_status status = INTERP_OK;
    for (int j = 0; !status && j < t.n_columns && t.n_columns > 1; j++)
        if (t.n_categories[j])
            status = itp_fail(ctx, INTERP_BAD_ARGUMENT,
                              "%s: %s holds text (\"%.40s\"); an array holds numbers", path,
                              itp_table_name(&t, j, name), t.categories[j][0]);
    if (!status) {
        array->dtype = INTERP_FLOAT64;
        array->shape = itp_shape_none();
        array->shape.rank = 2;
        array->shape.dim[0] = t.n_rows;
        array->shape.dim[1] = t.n_columns;
        array->data = t.cells;
        t.cells = NULL;
    }
    interp_table_free(ctx, &t);
    return status;
}

ITP_FN interp_status itp_array_read_images(interp_ctx *ctx, const char *path, bool folder,
                                           interp_array *array)
{
    itp_files files;
    interp_shape shape = itp_shape_none();
    float *x = NULL;
    memset(&files, 0, sizeof files);
    interp_status status = folder ? itp_folder_images(ctx, path, 0, &files)
                                  : itp_files_add(ctx, &files, itp_strdup(ctx, path), 0);
    if (!status && files.n == 0)
        status = itp_fail(ctx, INTERP_IO, "%s: the folder has no PNG or JPEG images", path);
    if (!status) status = itp_images_load(ctx, &files, 0, 0, &x, &shape);
    if (!status) {
        array->data = x;
        array->dtype = ITP_FLOAT_DTYPE;
        array->shape = shape;
        array->shape.rank = 4;
        for (int i = 3; i > 0; i--) array->shape.dim[i] = shape.dim[i - 1];
        array->shape.dim[0] = files.n;
    }
    itp_files_free(ctx, &files);
    return status;
}

INTERP_API interp_status interp_array_read(interp_ctx *ctx, const char *spec, interp_array *array)
{
    char *path = NULL;
    interp_status status = INTERP_OK;
    if (itp_is_folder(spec)) return itp_array_read_images(ctx, spec, true, array);
    if (itp_is_image_name(spec)) return itp_array_read_images(ctx, spec, false, array);
    if (itp_ends_with(spec, ".npy")) return interp_npy_read(ctx, spec, array);
    if (itp_ends_with(spec, ".csv")) return itp_array_read_csv(ctx, spec, array);
    if (strstr(spec, "idx") && (itp_ends_with(spec, "ubyte") || itp_ends_with(spec, ".gz")))
        return interp_idx_read(ctx, spec, array);
    const char *key = itp_spec_key(ctx, spec, ".npz", &path, &status);
    if (key) {
        if (!status) status = interp_npz_read(ctx, path, key, array);
        interp_free(ctx, path);
        return status;
    }
    key = itp_spec_key(ctx, spec, ".safetensors", &path, &status);
    if (key) {
        if (!status) status = itp_safetensors_read_one(ctx, path, key, array);
        interp_free(ctx, path);
        return status;
    }
    return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                    "array \"%.200s\": its kind is not known; known are FILE.npy, FILE.npz:KEY, "
                    "FILE.csv, FILE.safetensors:KEY, PNG and JPEG files and folders of them",
                    spec);
}

#endif

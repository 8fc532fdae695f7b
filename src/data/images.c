/* ---- data/images.c: picture files, resizing, folders of pictures ----------------------------- */

#define ITP_IMAGE_MAX_SIDE 16384 /* beyond this a header is taken for an attack on memory */

#if defined(STBI_INCLUDE_STB_IMAGE_H)

/* stb does not look at checksums: a PNG whose needed chunks are not whole is refused here. */
ITP_FN bool itp_png_is_whole(const unsigned char *p, size_t n)
{
    size_t at = 8;
    while (n - at >= 12) {
        const size_t length = itp_get_be32(p + at);
        const unsigned char *type = p + at + 4;
        if (length > n - at - 12) return false;
        const bool needed = !(type[0] & 32); /* a capital letter */
        if (needed && itp_crc32(type, length + 4) != itp_get_be32(type + 4 + length)) return false;
        if (memcmp(type, "IEND", 4) == 0) return true;
        at += length + 12;
    }
    return false;
}

/* Size and channels (1 grey, 3 colour) of a picture, from its header. */
ITP_FN interp_status itp_image_file_info(interp_ctx *ctx, const char *name, const void *bytes,
                                         size_t n, int *height, int *width, int *channels)
{
    int c = 0;
    if (n >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0 &&
        !itp_png_is_whole((const unsigned char *)bytes, n))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this PNG is damaged", name);
    if (n > INT_MAX || !stbi_info_from_memory((const stbi_uc *)bytes, (int)n, width, height, &c))
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is no PNG or JPEG that can be read", name);
    if (*width < 1 || *height < 1 || *width > ITP_IMAGE_MAX_SIDE || *height > ITP_IMAGE_MAX_SIDE)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it is %d x %d pixels; at most %d a side",
                        name, *width, *height, ITP_IMAGE_MAX_SIDE);
    *channels = c < 3 ? 1 : 3;
    return INTERP_OK;
}

/* Interleaved pixels to planes in 0..1. */
#define ITP_IMAGE_PLANES(type, scale)                                                              \
    do {                                                                                           \
        const type *p = (const type *)pixels;                                                      \
        for (int c = 0; c < channels; c++)                                                         \
            for (size_t i = 0; i < area; i++)                                                      \
                out[(size_t)c * area + i] = (float)p[i * (size_t)channels + (size_t)c] / scale;    \
    } while (0)

ITP_FN interp_status itp_image_file_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                          size_t n, int channels, interp_array *image)
{
    int height = 0, width = 0, own = 0, unused;
    if (channels != 0 && channels != 1 && channels != 3)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "%s: %d channels asked for; 0, 1 or 3 can be had",
                        name, channels);
    ITP_TRY(itp_image_file_info(ctx, name, bytes, n, &height, &width, &own));
    if (!channels) channels = own;
    const interp_shape shape = itp_shape_3(channels, height, width);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_new(ctx, ITP_FLOAT_DTYPE, &shape, &a));
    const stbi_uc *in = (const stbi_uc *)bytes;
    const bool deep = stbi_is_16_bit_from_memory(in, (int)n) != 0;
    int h = 0, w = 0;
    void *pixels = deep ? (void *)stbi_load_16_from_memory(in, (int)n, &w, &h, &unused, channels)
                        : (void *)stbi_load_from_memory(in, (int)n, &w, &h, &unused, channels);
    if (!pixels || w != width || h != height) {
        stbi_image_free(pixels);
        interp_array_free(ctx, &a);
        return itp_fail(ctx, INTERP_FORMAT, "%s: the picture is damaged or memory ran out", name);
    }
    const size_t area = (size_t)height * (size_t)width;
    float *out = (float *)a.data;
    if (deep) ITP_IMAGE_PLANES(stbi_us, 65535);
    else ITP_IMAGE_PLANES(stbi_uc, 255);
    stbi_image_free(pixels);
    *image = a;
    return INTERP_OK;
}

#undef ITP_IMAGE_PLANES

#else

ITP_FN interp_status itp_image_file_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                          size_t n, int channels, interp_array *image)
{
    (void)bytes, (void)n, (void)channels, (void)image;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: to read pictures, include stb_image.h before the implementation of "
                    "interp.h",
                    name);
}

ITP_FN interp_status itp_image_file_info(interp_ctx *ctx, const char *name, const void *bytes,
                                         size_t n, int *height, int *width, int *channels)
{
    *height = *width = *channels = 0;
    return itp_image_file_parse(ctx, name, bytes, n, 0, NULL);
}

#endif

INTERP_API interp_status interp_image_file_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                 int channels, interp_array *image)
{
    return itp_image_file_parse(ctx, "image", bytes, n, channels, image);
}

/* ---- resizing */

/* The source pixels *first.. (their number is returned) that make pixel `o` of an axis. */
ITP_FN int itp_resize_taps(int o, int from, int to, int *first)
{
    const double ratio = (double)from / to;
    if (to <= from) {
        *first = itp_min((int)(o * ratio), from - 1);
        return itp_max(itp_min((int)ceil((o + 1) * ratio), from) - *first, 1);
    }
    *first = itp_max((int)floor((o + 0.5) * ratio - 0.5), 0);
    return *first + 1 < from ? 2 : 1;
}

/* The share that source pixel i, one of `taps` from `first` on, has in pixel `o`. */
ITP_FN double itp_resize_weight(int o, int i, int from, int to, int first, int taps)
{
    const double ratio = (double)from / to;
    if (to <= from) {
        const double a = o * ratio > i ? o * ratio : i;
        const double b = (o + 1) * ratio < i + 1 ? (o + 1) * ratio : i + 1;
        return taps == 1 ? 1 : b > a ? (b - a) / ratio : 0;
    }
    const double c = (o + 0.5) * ratio - 0.5 - first;
    if (taps == 1 || c <= 0) return i == first;
    return i == first ? 1 - c : c;
}

/* ---- channels first or last */

ITP_FN bool itp_is_channels(int n)
{
    return n == 1 || n == 3 || n == 4;
}

INTERP_API bool interp_channels_are_last(const interp_shape *sample)
{
    const int r = sample->rank, *d = sample->dim;
    return r >= 3 && itp_is_channels(d[r - 1]) && !itp_is_channels(d[r - 3]) && d[r - 2] > 1;
}

/* n matrices [rows, columns] to [columns, rows]. */
ITP_FN void itp_turn(const float *x, size_t n, size_t rows, size_t columns, float *out)
{
    for (size_t i = 0; i < n; i++, x += rows * columns)
        for (size_t c = 0; c < columns; c++)
            for (size_t r = 0; r < rows; r++) *out++ = x[r * columns + c];
}

INTERP_API void interp_channels_to_first(const float *x, size_t n, const interp_shape *sample,
                                         float *out)
{
    const int *d = sample->dim + sample->rank - 3;
    const size_t area = (size_t)d[0] * (size_t)d[1], size = area * (size_t)d[2];
    itp_turn(x, n * (interp_shape_size(sample) / itp_max_size(1, size)), area, (size_t)d[2], out);
}

INTERP_API void interp_channels_to_last(const float *x, size_t n, const interp_shape *sample,
                                        float *out)
{
    const int *d = sample->dim + sample->rank - 3;
    const size_t area = (size_t)d[1] * (size_t)d[2], size = area * (size_t)d[0];
    itp_turn(x, n * (interp_shape_size(sample) / itp_max_size(1, size)), (size_t)d[0], area, out);
}

INTERP_API void interp_planes_resize(const float *x, int n, int height, int width, float *out,
                                     int out_height, int out_width)
{
    for (int plane = 0; plane < n; plane++, x += (size_t)height * (size_t)width)
        for (int oy = 0; oy < out_height; oy++) {
            int y0;
            const int ny = itp_resize_taps(oy, height, out_height, &y0);
            for (int ox = 0; ox < out_width; ox++) {
                int x0;
                const int nx = itp_resize_taps(ox, width, out_width, &x0);
                double sum = 0;
                for (int iy = y0; iy < y0 + ny; iy++) {
                    const float *row = x + (size_t)iy * (size_t)width;
                    double part = 0;
                    for (int ix = x0; ix < x0 + nx; ix++)
                        part +=
                            itp_resize_weight(ox, ix, width, out_width, x0, nx) * (double)row[ix];
                    sum += itp_resize_weight(oy, iy, height, out_height, y0, ny) * part;
                }
                *out++ = (float)sum;
            }
        }
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_image_file_read(interp_ctx *ctx, const char *path, int channels,
                                                interp_array *image)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_image_file_parse(ctx, path, bytes, n, channels, image);
    interp_free(ctx, bytes);
    return status;
}

/* ---- folders */

typedef struct itp_file {
    char *path; /* first: itp_compare_names looks here */
    int32_t label;
} itp_file;

typedef struct itp_files {
    itp_file *items;
    int n, capacity;
} itp_files;

ITP_FN void itp_files_free(interp_ctx *ctx, itp_files *files)
{
    for (int i = 0; i < files->n; i++) interp_free(ctx, files->items[i].path);
    interp_free(ctx, files->items);
    memset(files, 0, sizeof *files);
}

/* "folder/name" with `end` behind it. */
ITP_FN char *itp_path_join(interp_ctx *ctx, const char *folder, const char *name, const char *end)
{
    const size_t n = strlen(folder) + strlen(name) + strlen(end) + 2;
    char *path = (char *)interp_alloc(ctx, n);
    if (path) snprintf(path, n, "%s/%s%s", folder, name, end);
    return path;
}

/* Takes over `path`, which may be NULL after a failed allocation. */
ITP_FN interp_status itp_files_add(interp_ctx *ctx, itp_files *files, char *path, int label)
{
    if (!path) return INTERP_NO_MEMORY;
    if (itp_grow(ctx, &files->items, files->n, &files->capacity, sizeof *files->items)) {
        interp_free(ctx, path);
        return INTERP_NO_MEMORY;
    }
    files->items[files->n].path = path;
    files->items[files->n++].label = label;
    return INTERP_OK;
}

ITP_FN const char *itp_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

ITP_FN bool itp_is_image_name(const char *name)
{
    return itp_ends_with(name, ".png") || itp_ends_with(name, ".jpg") ||
           itp_ends_with(name, ".jpeg");
}

#if defined(ITP_HAS_POSIX)

ITP_FN bool itp_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Paths of the sub-folders, or of the files, of a folder, in order of name; hidden ones left out.
   On error the caller frees what is there. */
ITP_FN interp_status itp_folder_list(interp_ctx *ctx, const char *folder, bool folders,
                                     itp_files *files)
{
    DIR *dir = opendir(folder);
    if (!dir) return itp_fail(ctx, INTERP_IO, "%s: %s", folder, strerror(errno));
    interp_status status = INTERP_OK;
    for (struct dirent *d; !status && (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] == '.') continue;
        char *path = itp_path_join(ctx, folder, d->d_name, "");
        if (path && itp_is_folder(path) != folders) interp_free(ctx, path);
        else status = itp_files_add(ctx, files, path, 0);
    }
    closedir(dir);
    itp_sort(files->items, (size_t)files->n, sizeof *files->items, itp_compare_names);
    return status;
}

#else

ITP_FN bool itp_is_folder(const char *path)
{
    (void)path;
    return false;
}

ITP_FN interp_status itp_folder_list(interp_ctx *ctx, const char *folder, bool folders,
                                     itp_files *files)
{
    (void)folders, (void)files;
    return itp_fail(ctx, INTERP_UNSUPPORTED,
                    "%s: folders cannot be listed on this system; use idx, npy or table data",
                    folder);
}

#endif

/* Adds the images of a folder to `images` with the label given. */
ITP_FN interp_status itp_folder_images(interp_ctx *ctx, const char *folder, int label,
                                       itp_files *images)
{
    itp_files all;
    memset(&all, 0, sizeof all);
    interp_status status = itp_folder_list(ctx, folder, false, &all);
    for (int i = 0; !status && i < all.n; i++) {
        if (!itp_is_image_name(all.items[i].path)) continue;
        status = itp_files_add(ctx, images, all.items[i].path, label);
        all.items[i].path = NULL;
    }
    itp_files_free(ctx, &all);
    return status;
}

/* Channels that hold all images, and the size of the first when none is asked for. */
ITP_FN interp_status itp_images_survey(interp_ctx *ctx, const itp_files *files, int *height,
                                       int *width, int *channels)
{
    *channels = 1;
    for (int i = 0; i < files->n; i++) {
        char *bytes = NULL;
        size_t n = 0;
        int h = 0, w = 0, c = 0;
        ITP_TRY(itp_progress(ctx, "look at images", i, files->n, (double)NAN));
        ITP_TRY(itp_file_read(ctx, files->items[i].path, &bytes, &n));
        const interp_status status =
            itp_image_file_info(ctx, files->items[i].path, bytes, n, &h, &w, &c);
        interp_free(ctx, bytes);
        if (status) return status;
        *channels = itp_max(*channels, c);
        if (*height == 0) *height = h, *width = w;
    }
    return INTERP_OK;
}

/* Reads images to *x [n,shape], all of one size: the one given, or that of the first when height
   is 0. Grey stays one channel when all are grey. */
ITP_FN interp_status itp_images_load(interp_ctx *ctx, const itp_files *files, int height, int width,
                                     float **x, interp_shape *shape)
{
    int channels = 1;
    ITP_TRY(itp_images_survey(ctx, files, &height, &width, &channels));
    *shape = itp_shape_3(channels, height, width);
    const size_t size = interp_shape_size(shape);
    float *p = (float *)interp_alloc(
        ctx, itp_mul_size(itp_mul_size((size_t)files->n, size), sizeof(float)));
    if (!p) return INTERP_NO_MEMORY;
    interp_status status = INTERP_OK;
    for (int i = 0; !status && i < files->n; i++) {
        interp_array image = itp_array_none();
        status = itp_progress(ctx, "read images", i, files->n, (double)NAN);
        if (!status) status = interp_image_file_read(ctx, files->items[i].path, channels, &image);
        if (status) break;
        interp_planes_resize((const float *)image.data, channels, image.shape.dim[1],
                             image.shape.dim[2], p + (size_t)i * size, height, width);
        interp_array_free(ctx, &image);
    }
    if (status) interp_free(ctx, p);
    else *x = p;
    return status;
}

#endif

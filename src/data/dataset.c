/* ---- data/dataset.c: splits, statistics, augmentation, IDX, CIFAR-10 ------------------------- */

INTERP_API void interp_dataset_free(interp_ctx *ctx, interp_dataset *dataset)
{
    interp_free(ctx, dataset->x);
    interp_free(ctx, dataset->y);
    interp_free(ctx, dataset->class_names);
    memset(dataset, 0, sizeof *dataset);
}

/* A data set with room for n samples, and for labels when n_classes is not 0. */
ITP_FN interp_status itp_dataset_new(interp_ctx *ctx, int n, const interp_shape *shape,
                                     int n_classes, const char *const *class_names,
                                     interp_dataset *out)
{
    interp_dataset d;
    memset(&d, 0, sizeof d);
    d.n = n;
    d.shape = *shape;
    d.n_classes = n_classes;
    const size_t size = itp_mul_size(interp_shape_size(shape), sizeof(float));
    d.x = (float *)interp_alloc(ctx, itp_mul_size((size_t)n, size));
    interp_status status = d.x ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status && n_classes) {
        d.y = (int32_t *)interp_alloc(ctx, itp_mul_size((size_t)n, sizeof *d.y));
        if (!d.y) status = INTERP_NO_MEMORY;
        else if (class_names) status = itp_names_copy(ctx, class_names, n_classes, &d.class_names);
    }
    if (status) interp_dataset_free(ctx, &d);
    else *out = d;
    return status;
}

INTERP_API interp_status interp_dataset_from_arrays(interp_ctx *ctx, const float *x,
                                                    const int32_t *y, int n,
                                                    const interp_shape *shape, int n_classes,
                                                    const char *const *class_names,
                                                    interp_dataset *dataset)
{
    if (n < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "data set: %d samples; at least one is needed",
                        n);
    for (int i = 0; y && i < n; i++)
        if (y[i] < 0 || y[i] >= n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "data set: the label of sample %d is %d; it must be within 0..%d", i,
                            (int)y[i], n_classes - 1);
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, n, shape, y ? n_classes : 0, class_names, &d));
    memcpy(d.x, x, (size_t)n * interp_shape_size(shape) * sizeof(float));
    if (y) memcpy(d.y, y, (size_t)n * sizeof *y);
    *dataset = d;
    return INTERP_OK;
}

INTERP_API interp_status interp_dataset_subset(interp_ctx *ctx, const interp_dataset *all,
                                               const int *indices, int n, interp_dataset *out)
{
    const size_t size = interp_shape_size(&all->shape);
    interp_dataset d;
    if (n < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "subset: %d samples; at least one is needed", n);
    for (int i = 0; i < n; i++)
        if (indices[i] < 0 || indices[i] >= all->n)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "subset: index %d is %d, but there are %d samples", i, indices[i],
                            all->n);
    ITP_TRY(itp_dataset_new(ctx, n, &all->shape, all->y ? all->n_classes : 0,
                            (const char *const *)all->class_names, &d));
    for (int i = 0; i < n; i++) {
        memcpy(d.x + (size_t)i * size, all->x + (size_t)indices[i] * size, size * sizeof(float));
        if (all->y) d.y[i] = all->y[indices[i]];
    }
    *out = d;
    return INTERP_OK;
}

/* ---- splitting */

#define ITP_STREAM_SPLIT 0x53504C49u /* "SPLI": random numbers no one else uses */

/* Marks in `second` [n] the samples of one class that go there; members [n]: scratch. */
ITP_FN void itp_split_class(const interp_dataset *all, int label, double fraction, uint64_t seed,
                            int *members, unsigned char *second)
{
    int n = 0;
    for (int i = 0; i < all->n; i++)
        if (!all->y || all->y[i] == label) members[n++] = i;
    int take = (int)floor(fraction * n + 0.5);
    if (n >= 2) take = itp_max(1, itp_min(take, n - 1));
    else take = 0;
    itp_shuffle(members, n, seed, ((uint64_t)ITP_STREAM_SPLIT << 32) + (uint64_t)label);
    for (int i = 0; i < take; i++) second[members[i]] = 1;
}

ITP_FN interp_status itp_dataset_pick(interp_ctx *ctx, const interp_dataset *all,
                                      const unsigned char *side, int want, int *indices,
                                      interp_dataset *out)
{
    int n = 0;
    for (int i = 0; i < all->n; i++)
        if (side[i] == want) indices[n++] = i;
    if (n == 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "split: no class has the two samples it takes to divide it");
    return interp_dataset_subset(ctx, all, indices, n, out);
}

INTERP_API interp_status interp_dataset_split(interp_ctx *ctx, const interp_dataset *all,
                                              double fraction, uint64_t seed, interp_dataset *first,
                                              interp_dataset *second)
{
    if (!(fraction > 0 && fraction < 1))
        return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                        "split: the fraction is %g; it must be within 0..1", fraction);
    for (int i = 0; all->y && i < all->n; i++)
        if (all->y[i] < 0 || all->y[i] >= all->n_classes)
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "split: the label of sample %d is %d; it must be within 0..%d", i,
                            (int)all->y[i], all->n_classes - 1);
    const size_t n = (size_t)itp_max(all->n, 0);
    int *members = (int *)interp_alloc(ctx, itp_mul_size(n, sizeof *members));
    unsigned char *side = (unsigned char *)itp_calloc(ctx, n, 1);
    interp_dataset a, b;
    memset(&a, 0, sizeof a);
    interp_status status = members && side ? INTERP_OK : INTERP_NO_MEMORY;
    if (!status) {
        for (int label = 0; label < (all->y ? all->n_classes : 1); label++)
            itp_split_class(all, label, fraction, seed, members, side);
        status = itp_dataset_pick(ctx, all, side, 0, members, &a);
        if (!status) status = itp_dataset_pick(ctx, all, side, 1, members, &b);
    }
    interp_free(ctx, members);
    interp_free(ctx, side);
    if (status) {
        interp_dataset_free(ctx, &a);
        return status;
    }
    *first = a;
    *second = b;
    return INTERP_OK;
}

/* ---- statistics */

INTERP_API void interp_dataset_statistics(const interp_dataset *dataset, float *mean, float *std,
                                          float *min, float *max)
{
    const size_t size = interp_shape_size(&dataset->shape);
    const int channels = dataset->shape.rank ? dataset->shape.dim[0] : 1;
    const size_t area = channels ? size / (size_t)channels : 0;
    const double count = (double)dataset->n * (double)area;
    for (int c = 0; c < channels; c++) {
        double sum = 0, squares = 0;
        float low = (float)HUGE_VAL, high = (float)-HUGE_VAL;
        for (int i = 0; i < dataset->n; i++) {
            const float *x = dataset->x + (size_t)i * size + (size_t)c * area;
            for (size_t k = 0; k < area; k++) {
                sum += (double)x[k];
                low = x[k] < low ? x[k] : low;
                high = x[k] > high ? x[k] : high;
            }
        }
        const double m = count > 0 ? sum / count : 0;
        for (int i = 0; std && i < dataset->n; i++) {
            const float *x = dataset->x + (size_t)i * size + (size_t)c * area;
            for (size_t k = 0; k < area; k++) squares += ((double)x[k] - m) * ((double)x[k] - m);
        }
        if (mean) mean[c] = (float)m;
        if (std) std[c] = count > 0 ? (float)sqrt(squares / count) : 0;
        if (min) min[c] = low;
        if (max) max[c] = high;
    }
}

INTERP_API void interp_dataset_normalise(interp_dataset *dataset, const float *mean,
                                         const float *std)
{
    const size_t size = interp_shape_size(&dataset->shape);
    const int channels = dataset->shape.rank ? dataset->shape.dim[0] : 1;
    const size_t area = channels ? size / (size_t)channels : 0;
    float *x = dataset->x;
    for (int i = 0; i < dataset->n; i++)
        for (int c = 0; c < channels; c++) {
            const float divisor = std[c] > 0 ? std[c] : 1;
            for (size_t k = 0; k < area; k++, x++) *x = (*x - mean[c]) / divisor;
        }
}

INTERP_API interp_status interp_dataset_resize(interp_ctx *ctx, interp_dataset *dataset, int height,
                                               int width)
{
    const interp_shape old = dataset->shape;
    if (old.rank != 3)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "resize: samples have %d dimensions; only images [C,H,W] can be resized",
                        old.rank);
    if (height < 1 || width < 1 || old.dim[1] < 1 || old.dim[2] < 1)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "resize: from %dx%d to %dx%d is not possible",
                        old.dim[1], old.dim[2], height, width);
    if (height == old.dim[1] && width == old.dim[2]) return INTERP_OK;
    const interp_shape shape = itp_shape_3(old.dim[0], height, width);
    const size_t from = interp_shape_size(&old), to = interp_shape_size(&shape);
    float *x = (float *)interp_alloc(
        ctx, itp_mul_size(itp_mul_size((size_t)dataset->n, to), sizeof(float)));
    if (!x) return INTERP_NO_MEMORY;
    for (int i = 0; i < dataset->n; i++)
        interp_planes_resize(dataset->x + (size_t)i * from, old.dim[0], old.dim[1], old.dim[2],
                             x + (size_t)i * to, height, width);
    interp_free(ctx, dataset->x);
    dataset->x = x;
    dataset->shape = shape;
    return INTERP_OK;
}

INTERP_API interp_status interp_dataset_check(interp_ctx *ctx, const interp_dataset *dataset)
{
    const size_t size = interp_shape_size(&dataset->shape);
    if (dataset->n < 1 || size == 0)
        return itp_fail(ctx, INTERP_BAD_ARGUMENT, "the data set is empty: %d samples of %zu values",
                        dataset->n, size);
    for (int i = 0; i < dataset->n; i++) {
        const float *x = dataset->x + (size_t)i * size;
        if (dataset->y && (dataset->y[i] < 0 || dataset->y[i] >= dataset->n_classes))
            return itp_fail(ctx, INTERP_BAD_ARGUMENT,
                            "sample %d has label %d; labels must be within 0..%d", i,
                            (int)dataset->y[i], dataset->n_classes - 1);
        if (itp_is_finite(x, size)) continue;
        size_t k = 0;
        while (itp_is_finite(x + k, 1)) k++;
        return itp_fail(ctx, INTERP_NOT_FINITE,
                        "sample %d: value %zu is %s; fill in or remove such samples", i, k,
                        x[k] != x[k] ? "missing or NaN" : "infinite");
    }
    return INTERP_OK;
}

/* ---- augmentation */

#define ITP_STREAM_AUGMENT 0x41554Eu /* "AUG": random numbers no one else uses */

/* Where pixel (x,y) of the result comes from: origin + x*across + y*down, as (x,y) pairs. */
typedef struct itp_affine {
    double origin[2], across[2], down[2];
} itp_affine;

ITP_FN double itp_augment_between(uint64_t seed, uint64_t index, int k, double limit)
{
    const uint64_t stream = ((uint64_t)ITP_STREAM_AUGMENT << 40) + index;
    return limit * (2 * (double)interp_random_uniform(seed, stream, (uint64_t)k) - 1);
}

/* The inverse of: flip, scale and turn about the centre, then move. */
ITP_FN itp_affine itp_augment_map(const interp_augment_desc *d, int height, int width,
                                  uint64_t seed, uint64_t index)
{
    const double turn =
        itp_augment_between(seed, index, 0, (double)d->rotate_deg) * 0.017453292519943295;
    const double scale = 1 + itp_augment_between(seed, index, 1, (double)d->scale);
    const double pad = d->crop_padding > 0 ? d->crop_padding : 0;
    double move[2];
    for (int k = 0; k < 2;
         k++) /* half a pixel more each way: all 2 pad + 1 places equally likely */
        move[k] = itp_augment_between(seed, index, 2 + k, (double)d->shift) +
                  (pad > 0 ? floor(itp_augment_between(seed, index, 4 + k, pad + 0.5) + 0.5) : 0);
    const bool mirror_x = d->flip_horizontal && itp_augment_between(seed, index, 6, 1) < 0;
    const bool mirror_y = d->flip_vertical && itp_augment_between(seed, index, 7, 1) < 0;
    const double c = cos(turn) / scale, s = sin(turn) / scale;
    const double cx = (width - 1) * 0.5, cy = (height - 1) * 0.5;
    itp_affine a;
    a.across[0] = mirror_x ? -c : c;
    a.across[1] = mirror_y ? s : -s;
    a.down[0] = mirror_x ? -s : s;
    a.down[1] = mirror_y ? -c : c;
    const double dx = -cx - move[0], dy = -cy - move[1];
    a.origin[0] = cx + dx * a.across[0] + dy * a.down[0];
    a.origin[1] = cy + dx * a.across[1] + dy * a.down[1];
    return a;
}

ITP_FN float itp_augment_sample(const float *plane, int height, int width, double x, double y,
                                float fill)
{
    if (!(x > -1 && y > -1 && x < width && y < height)) return fill;
    const int x0 = (int)floor(x), y0 = (int)floor(y);
    const float fx = (float)(x - x0), fy = (float)(y - y0);
    float sum = 0;
    for (int k = 0; k < 4; k++) {
        const int ix = x0 + (k & 1), iy = y0 + (k >> 1);
        const float w = (k & 1 ? fx : 1 - fx) * (k >> 1 ? fy : 1 - fy);
        if (w == 0) continue; /* whole pixels stay exact, even beside NaN */
        const bool inside = ix >= 0 && iy >= 0 && ix < width && iy < height;
        sum += w * (inside ? plane[(size_t)iy * (size_t)width + (size_t)ix] : fill);
    }
    return sum;
}

INTERP_API void interp_augment(const interp_augment_desc *desc, const float *x,
                               const interp_shape *shape, uint64_t seed, uint64_t index, float *out)
{
    if (!desc || shape->rank != 3) {
        memcpy(out, x, interp_shape_size(shape) * sizeof(float));
        return;
    }
    const int height = shape->dim[1], width = shape->dim[2];
    const size_t area = (size_t)height * (size_t)width;
    const itp_affine a = itp_augment_map(desc, height, width, seed, index);
    for (int oy = 0; oy < height; oy++)
        for (int ox = 0; ox < width; ox++) {
            const double sx = a.origin[0] + ox * a.across[0] + oy * a.down[0];
            const double sy = a.origin[1] + ox * a.across[1] + oy * a.down[1];
            for (int c = 0; c < shape->dim[0]; c++)
                out[(size_t)c * area + (size_t)oy * (size_t)width + (size_t)ox] =
                    itp_augment_sample(x + (size_t)c * area, height, width, sx, sy, desc->fill);
        }
}

/* ---- from arrays in files */

#define ITP_MAX_CLASSES 65536 /* more of them are taken for numbers that are no classes */

ITP_FN interp_status itp_dataset_labels(interp_ctx *ctx, const char *name, const interp_array *y,
                                        interp_dataset *d)
{
    const interp_status status = interp_array_ints(ctx, y, d->y);
    if (status)
        return itp_fail(ctx, status, "%s: labels must be class numbers; in them, %s", name,
                        interp_error(ctx));
    d->n_classes = 0;
    for (int i = 0; i < d->n; i++) {
        if (d->y[i] < 0 || d->y[i] >= ITP_MAX_CLASSES)
            return itp_fail(
                ctx, INTERP_BAD_ARGUMENT,
                "%s: the label of sample %d is %d; classes are numbered from 0, below %d", name, i,
                (int)d->y[i], ITP_MAX_CLASSES);
        d->n_classes = itp_max(d->n_classes, d->y[i] + 1);
    }
    return INTERP_OK;
}

/* Turns the samples of a data set [H,W,C] to [C,H,W]. */
ITP_FN interp_status itp_dataset_turn(interp_ctx *ctx, interp_dataset *d)
{
    const interp_shape last = d->shape;
    const size_t size = interp_shape_size(&last);
    float *own = (float *)interp_alloc(ctx, itp_mul_size(size, sizeof *own));
    if (!own) return INTERP_NO_MEMORY;
    for (size_t i = 0; i < (size_t)d->n; i++) {
        memcpy(own, d->x + i * size, size * sizeof *own);
        interp_channels_to_first(own, 1, &last, d->x + i * size);
    }
    interp_free(ctx, own);
    d->shape = itp_shape_3(last.dim[2], last.dim[0], last.dim[1]);
    return INTERP_OK;
}

/* Samples as a data set without labels. Bytes of images are scaled to 0..1. */
ITP_FN interp_status itp_dataset_from_array(interp_ctx *ctx, const char *name,
                                            const interp_array *x, interp_dataset *dataset)
{
    const interp_shape *s = &x->shape;
    if (s->rank < 2 || s->rank > 4 || interp_shape_size(s) == 0)
        return itp_fail(ctx, INTERP_BAD_SHAPE,
                        "%s: samples must be [n,d], [n,H,W] or [n,C,H,W] and some; these have %d "
                        "dimensions and %zu values",
                        name, s->rank, interp_shape_size(s));
    interp_shape shape = itp_shape_none();
    shape.rank = s->rank == 2 ? 1 : 3;
    for (int i = 1; i < s->rank; i++) shape.dim[shape.rank - s->rank + i] = s->dim[i];
    const bool image = x->dtype == INTERP_UINT8 && s->rank > 2;
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, s->dim[0], &shape, 0, NULL, &d));
    interp_array_floats(x, d.x);
    if (s->rank == 4 && interp_channels_are_last(&shape)) {
        const interp_status status = itp_dataset_turn(ctx, &d);
        if (status) {
            interp_dataset_free(ctx, &d);
            return status;
        }
        itp_warn(ctx, "%s: taken as images with channels last, [n,H,W,C]", name);
    }
    const size_t total = interp_shape_size(s);
    for (size_t i = 0; image && i < total; i++) d.x[i] /= 255;
    *dataset = d;
    return INTERP_OK;
}

/* ---- IDX */

ITP_FN interp_status itp_idx_parse(interp_ctx *ctx, const char *name, const void *bytes, size_t n,
                                   interp_array *array)
{
    static const interp_dtype types[7] = {INTERP_UINT8,  INTERP_INT8,  INTERP_DTYPE_COUNT,
                                          INTERP_INT16,  INTERP_INT32, INTERP_FLOAT32,
                                          INTERP_FLOAT64};
    const unsigned char *p = (const unsigned char *)bytes;
    if (itp_is_gzip(bytes, n)) {
        char *plain = NULL;
        size_t plain_n = 0;
        ITP_TRY(itp_gunzip(ctx, name, bytes, n, &plain, &plain_n));
        const interp_status status =
            itp_is_gzip(plain, plain_n)
                ? itp_fail(ctx, INTERP_FORMAT, "%s: it is gzipped twice", name)
                : itp_idx_parse(ctx, name, plain, plain_n, array);
        interp_free(ctx, plain);
        return status;
    }
    if (n < 4 || p[0] || p[1] || p[2] < 8 || p[2] > 14 || types[p[2] - 8] == INTERP_DTYPE_COUNT)
        return itp_fail(ctx, INTERP_FORMAT, "%s: this is not an IDX file", name);
    const int rank = p[3];
    const interp_dtype dtype = types[p[2] - 8];
    if (rank > INTERP_MAX_RANK)
        return itp_fail(ctx, INTERP_UNSUPPORTED, "%s: it has %d dimensions; up to %d are read",
                        name, rank, INTERP_MAX_RANK);
    const size_t header = 4 + 4 * (size_t)rank;
    if (n < header)
        return itp_fail(ctx, INTERP_FORMAT, "%s: the file ends within its header", name);
    uint64_t dims[INTERP_MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = itp_get_be32(p + 4 + 4 * i);
    interp_shape shape = itp_shape_none();
    size_t need = 0;
    ITP_TRY(itp_shape_from_file(ctx, name, rank, dims, itp_dtype(dtype)->size, &shape, &need));
    if (need != n - header)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: its header promises %zu bytes of data but %zu follow", name, need,
                        n - header);
    interp_array a = itp_array_none();
    ITP_TRY(itp_array_from_bytes(ctx, dtype, &shape, p + header, false, &a));
    *array = a;
    return INTERP_OK;
}

INTERP_API interp_status interp_idx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array)
{
    return itp_idx_parse(ctx, "idx", bytes, n, array);
}

#if !defined(INTERP_NO_STDIO)

INTERP_API interp_status interp_idx_read(interp_ctx *ctx, const char *path, interp_array *array)
{
    char *bytes = NULL;
    size_t n = 0;
    ITP_TRY(itp_file_read(ctx, path, &bytes, &n));
    const interp_status status = itp_idx_parse(ctx, path, bytes, n, array);
    interp_free(ctx, bytes);
    return status;
}

#endif

/* ---- CIFAR-10 */

#define ITP_CIFAR_RECORD 3073 /* label, then 32x32 red, green, blue */

ITP_FN interp_status itp_cifar10_parse(interp_ctx *ctx, const char *name, const void *bytes,
                                       size_t n, interp_dataset *dataset)
{
    static const char *const names[10] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                          "dog",      "frog",       "horse", "ship", "truck"};
    const unsigned char *p = (const unsigned char *)bytes;
    if (n == 0 || n % ITP_CIFAR_RECORD || n / ITP_CIFAR_RECORD > INT_MAX)
        return itp_fail(ctx, INTERP_FORMAT,
                        "%s: %zu bytes are not a whole number of CIFAR-10 records (%d bytes each)",
                        name, n, ITP_CIFAR_RECORD);
    const int count = (int)(n / ITP_CIFAR_RECORD);
    for (int i = 0; i < count; i++)
        if (p[(size_t)i * ITP_CIFAR_RECORD] > 9)
            return itp_fail(ctx, INTERP_FORMAT, "%s: the label of record %d is %d; it must be 0..9",
                            name, i, p[(size_t)i * ITP_CIFAR_RECORD]);
    const interp_shape shape = itp_shape_3(3, 32, 32);
    interp_dataset d;
    ITP_TRY(itp_dataset_new(ctx, count, &shape, 10, names, &d));
    for (int i = 0; i < count; i++) {
        d.y[i] = *p++;
        float *x = d.x + (size_t)i * (ITP_CIFAR_RECORD - 1);
        for (int k = 0; k < ITP_CIFAR_RECORD - 1; k++) x[k] = (float)*p++ / 255;
    }
    *dataset = d;
    return INTERP_OK;
}

INTERP_API interp_status interp_cifar10_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                              interp_dataset *dataset)
{
    return itp_cifar10_parse(ctx, "cifar10", bytes, n, dataset);
}

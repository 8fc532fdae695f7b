/* ---- data: arrays, data sets, files ---------------------------------------------------------- */

/* PNG, JPEG, .gz, deflated .npz: need stb_image. Include <stb_image.h> before the implementation
   of interp.h; without it these readers return UNSUPPORTED and all others work.
   Readers exist in two forms: from memory (..._parse) and from a file (..._read; these are left out
   by INTERP_NO_STDIO). On error the result is untouched. */

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of arrays in files and models. */
typedef enum interp_dtype {
    INTERP_FLOAT32,
    INTERP_FLOAT64,
    INTERP_FLOAT16,
    INTERP_BFLOAT16,
    INTERP_INT8,
    INTERP_INT16,
    INTERP_INT32,
    INTERP_INT64,
    INTERP_UINT8,
    INTERP_UINT16,
    INTERP_UINT32,
    INTERP_UINT64,
    INTERP_BOOL,
    INTERP_DTYPE_COUNT
} interp_dtype;

/* A dense row-major array of any element type; `data` belongs to the context. */
typedef struct interp_array {
    void *data;         /* interp_shape_size(&shape) elements */
    interp_dtype dtype; /* their type */
    interp_shape shape; /* outermost dimension first */
} interp_array;

/* A labelled data set in memory; its arrays belong to the context. */
typedef struct interp_dataset {
    float *x;   /* [n, shape]: samples */
    int32_t *y; /* [n]: class of each sample, 0..n_classes-1; NULL when there are no labels */
    int n;      /* number of samples */
    interp_shape shape; /* of one sample: [C,H,W] for images, [d] for tables */
    int n_classes;      /* 0 when there are no labels */
    char **class_names; /* [n_classes], NULL when they have none; one block with its text */
} interp_dataset;

/* An array with the name it has in a file. */
typedef struct interp_named_array {
    char *name;
    interp_array array;
} interp_named_array;

/* The contents of a safetensors file. */
typedef struct interp_named_arrays {
    interp_named_array *items; /* [n] */
    int n;                     /* number of arrays */
    char **keys;               /* [n_metadata]: names of the free-text notes of the file */
    char **values;             /* [n_metadata]: their texts */
    int n_metadata;            /* number of notes */
    char *text;                /* holds every name, key and value of a file read; else NULL */
} interp_named_arrays;

/* A table read from a CSV file. */
typedef struct interp_table {
    double *cells; /* [n_rows, n_columns]: numbers, category ids in text columns, NaN if empty */
    int n_rows;    /* data rows; the header is none */
    int n_columns; /* cells in every row */
    char **column_names; /* [n_columns]; NULL when the file has no header row */
    int *n_categories;   /* [n_columns]: 0 for columns of numbers */
    char ***categories;  /* [n_columns]: names by id, in byte order; NULL for columns of numbers */
} interp_table;

/* Bytes of one element. */
INTERP_API size_t interp_dtype_size(interp_dtype dtype);

/* Name of an element type as numpy spells it, for example "float32". */
INTERP_API const char *interp_dtype_name(interp_dtype dtype);

/* Frees an array and clears it. Test: readers_leak_nothing_when_input_is_damaged. */
INTERP_API void interp_array_free(interp_ctx *ctx, interp_array *array);

/* Writes all elements as float32 to out [interp_shape_size(&array->shape)]; allocates nothing.
   Test: every_dtype_converts_to_float32. */
INTERP_API void interp_array_floats(const interp_array *array, float *out);

/* Turns an array into float32 in place. Test: every_dtype_converts_to_float32. */
INTERP_API interp_status interp_array_to_f32(interp_ctx *ctx, interp_array *array);

/* Converts an array in place to another element type: to whole numbers the nearest one of the type, to
   truth values whether a number is not 0. NO_MEMORY leaves it as it is. Test: arrays_are_cast. */
INTERP_API interp_status interp_array_cast(interp_ctx *ctx, interp_array *array,
                                           interp_dtype dtype);

/* Writes all elements as int32 to out [interp_shape_size(&array->shape)], which need not be
   defined after an error. BAD_ARGUMENT names the first element that is not a whole number within
   int32. Test: labels_must_be_whole_numbers. */
INTERP_API interp_status interp_array_ints(interp_ctx *ctx, const interp_array *array,
                                           int32_t *out);

/* Reads NPY (versions 1 to 3, both byte orders, C and Fortran order) from n bytes in memory; the
   array keeps its element type, in the order of this machine. UNSUPPORTED: objects, text, records,
   complex numbers. Test: npy_reads_every_dtype_in_both_byte_orders. */
INTERP_API interp_status interp_npy_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array);

/* Reads an IDX file (any of its six types), plain or gzipped, from n bytes in memory. FORMAT when
   the size is not exactly what the header says. Test: idx_wants_the_exact_size. */
INTERP_API interp_status interp_idx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_array *array);

/* Reads one array of an NPZ archive (stored or deflated, zip64) from n bytes in memory.
   key: the array's name, with or without .npy; NULL or "" takes the only one there is.
   Test: npz_reads_what_numpy_wrote. */
INTERP_API interp_status interp_npz_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          const char *key, interp_array *array);

/* Reads a CSV table (RFC 4180 quotes; any line ends; comma, semicolon or tab) from n bytes in
   memory. The first row is the header when none of its cells is a number, or when one of them
   stands above a column of numbers. Numbers use a point in any locale. FORMAT names the line of a
   ragged row. Free with interp_table_free. Test: csv_names_the_ragged_line. */
INTERP_API interp_status interp_csv_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                          interp_table *table);

/* Index of the column called `name` (letter case only matters when two differ by it), or of that
   number (negative from the end) when no name fits; -1 when there is none.
   Test: csv_finds_columns_by_name_and_number. */
INTERP_API int interp_table_column(const interp_table *table, const char *name);

/* Frees a table and clears it. */
INTERP_API void interp_table_free(interp_ctx *ctx, interp_table *table);

/* Reads every array of a safetensors file from n bytes in memory, in the order of their data.
   Free with interp_named_arrays_free. Test: safetensors_refuses_what_the_format_forbids. */
INTERP_API interp_status interp_safetensors_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                  interp_named_arrays *arrays);

/* Frees what a safetensors reader gave and clears it. */
INTERP_API void interp_named_arrays_free(interp_ctx *ctx, interp_named_arrays *arrays);

/* Reads a PNG or JPEG from n bytes in memory as float32 [C,H,W] in 0..1; alpha is dropped.
   channels: 0 for those of the file (1 grey, 3 colour), else 1 or 3. UNSUPPORTED above 16384
   pixels a side. Test: images_decode_to_planes_between_0_and_1. */
INTERP_API interp_status interp_image_file_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                                 int channels, interp_array *image);

/* Whether samples of that shape look like images with channels last, [..,H,W,C], as decoders leave them:
   the last of three or more dimensions is 1, 3 or 4, the one where channels would else be is not, and the
   one between is more than 1.
   Test: channels_are_turned_both_ways. */
INTERP_API bool interp_channels_are_last(const interp_shape *sample);

/* n samples [..,H,W,C] of the shape `sample` to [..,C,H,W]; x and out are other memory.
   Test: channels_are_turned_both_ways. */
INTERP_API void interp_channels_to_first(const float *x, size_t n, const interp_shape *sample,
                                         float *out);

/* n samples [..,C,H,W] of the shape `sample` to [..,H,W,C]; x and out are other memory.
   Test: channels_are_turned_both_ways. */
INTERP_API void interp_channels_to_last(const float *x, size_t n, const interp_shape *sample,
                                        float *out);

/* Resizes n planes x [n,height,width] to out [n,out_height,out_width]: along each axis bilinear
   (pixel centres at halves, edges repeated) when it grows, mean over the covered area when it
   shrinks. Allocates nothing. Test: resize_keeps_the_mean_and_interpolates. */
INTERP_API void interp_planes_resize(const float *x, int n, int height, int width, float *out,
                                     int out_height, int out_width);

/* Makes a data set of copies: x [n,shape], y [n] or NULL, class_names [n_classes] or NULL.
   BAD_ARGUMENT when n < 1 or a label is not in 0..n_classes-1.
   Test: dataset_from_arrays_copies. */
INTERP_API interp_status interp_dataset_from_arrays(interp_ctx *ctx, const float *x,
                                                    const int32_t *y, int n,
                                                    const interp_shape *shape, int n_classes,
                                                    const char *const *class_names,
                                                    interp_dataset *dataset);

/* Frees a data set and clears it. */
INTERP_API void interp_dataset_free(interp_ctx *ctx, interp_dataset *dataset);

/* Copies the samples `indices` [n] (any order, repeats allowed) to a new data set.
   BAD_ARGUMENT names an index out of range. Test: subset_takes_samples_in_the_order_given. */
INTERP_API interp_status interp_dataset_subset(interp_ctx *ctx, const interp_dataset *all,
                                               const int *indices, int n, interp_dataset *out);

/* Splits by class: `second` gets the share `fraction` (0..1, 0.2 for a usual test set) of every
   class, rounded, `first` the rest, both in the order of `all`. Every class of two or more samples
   is on both sides. The same seed gives the same split.
   Test: split_is_stratified_and_repeatable. */
INTERP_API interp_status interp_dataset_split(interp_ctx *ctx, const interp_dataset *all,
                                              double fraction, uint64_t seed, interp_dataset *first,
                                              interp_dataset *second);

/* Statistics per channel (shape.dim[0] of them: C of [C,H,W], d of [d]), accumulated in double;
   std is that of the population. Any of the four outputs [channels] may be NULL.
   Test: statistics_match_numpy. */
INTERP_API void interp_dataset_statistics(const interp_dataset *dataset, float *mean, float *std,
                                          float *min, float *max);

/* x = (x - mean) / std per channel (shape.dim[0] of them), in place; a std of 0 divides by 1.
   Test: normalised_data_has_mean_0_and_std_1. */
INTERP_API void interp_dataset_normalise(interp_dataset *dataset, const float *mean,
                                         const float *std);

/* Resizes all samples [C,H,W] to height x width with interp_planes_resize. BAD_SHAPE when samples
   are no images. Test: data_open_resizes. */
INTERP_API interp_status interp_dataset_resize(interp_ctx *ctx, interp_dataset *dataset, int height,
                                               int width);

/* Checks that there are samples, all values are finite (NOT_FINITE) and all labels in
   0..n_classes-1 (BAD_ARGUMENT); the sentence names the first sample at fault.
   Test: dataset_check_names_the_sample. */
INTERP_API interp_status interp_dataset_check(interp_ctx *ctx, const interp_dataset *dataset);

/* Options of interp_dataset_shapes. */
typedef struct interp_shapes_desc {
    int n;                       /* 0: 1000; pictures, as many of each class as of the others */
    int channels, height, width; /* 0: 1, 32, 32; of a picture, sides from 16 pixels on */
    uint64_t seed;               /* 0: seed 0; other seeds give other pictures */
} interp_shapes_desc;

/* Makes pictures in which the pixels that decide are known, to test attributions against the truth: a
   disc, a square, a triangle or a cross is the class; a ring, two bars or an x beside it say nothing
   about it, nor do places, turns and tones, nor the texture behind them. Numbers are -1..1, the
   background is 0 in the mean.
   masks: NULL or [n,height,width], 1 for the pixels of the shape that decides and those next to
   them, else 0. Errors: BAD_ARGUMENT, NO_MEMORY. Picture i depends on the seed, the size and i alone.
   Test: pictures_of_shapes_are_what_their_masks_say. */
INTERP_API interp_status interp_dataset_shapes(interp_ctx *ctx, const interp_shapes_desc *desc,
                                               interp_dataset *dataset, unsigned char *masks);

/* Random changes of an image, drawn anew for every sample. */
typedef struct interp_augment_desc {
    bool flip_horizontal; /* 0: never; else left and right change places in half of the samples */
    bool flip_vertical;   /* 0: never; else top and bottom do */
    float shift;          /* 0: none; pixels: moved by up to this much along each axis */
    float rotate_deg;     /* 0: none; degrees: turned about the centre by up to this, either way */
    float scale;          /* 0: none; enlarged by a factor within 1-scale..1+scale; below 1 */
    int crop_padding;     /* 0: none; pixels: padded by this and cropped at random to its size */
    float fill;           /* 0: 0; value of what comes in from outside */
} interp_augment_desc;

/* Writes a changed copy of image x [C,H,W] to out, which must not overlap it: one affine map,
   bilinear; whole-pixel moves and flips are exact. Samples of other ranks are copied.
   desc: NULL copies. Depends on nothing but its arguments; allocates nothing.
   Test: augment_depends_on_seed_and_index_only. */
INTERP_API void interp_augment(const interp_augment_desc *desc, const float *x,
                               const interp_shape *shape, uint64_t seed, uint64_t index,
                               float *out);

/* Reads CIFAR-10 records (a label byte and 3072 pixels each) from n bytes in memory: [3,32,32] in
   0..1 with the ten class names. Test: cifar10_reads_records. */
INTERP_API interp_status interp_cifar10_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                              interp_dataset *dataset);

#if !defined(INTERP_NO_STDIO)

/* interp_npy_parse on a file. */
INTERP_API interp_status interp_npy_read(interp_ctx *ctx, const char *path, interp_array *array);

/* Writes an array as NPY version 1, little-endian, C order; bfloat16 is widened to float32.
   The file appears whole or not at all. Test: npy_round_trips_every_dtype. */
INTERP_API interp_status interp_npy_write(interp_ctx *ctx, const char *path,
                                          const interp_array *array);

/* Writes floats x of the shape given as NPY. Test: npy_round_trips_every_dtype. */
INTERP_API interp_status interp_npy_write_f32(interp_ctx *ctx, const char *path, const float *x,
                                              const interp_shape *shape);

/* interp_npz_parse on a file. */
INTERP_API interp_status interp_npz_read(interp_ctx *ctx, const char *path, const char *key,
                                         interp_array *array);

/* Writes n arrays as an NPZ archive with stored members; names get ".npy" added. UNSUPPORTED from
   4 GiB on. Test: npz_round_trips. */
INTERP_API interp_status interp_npz_write(interp_ctx *ctx, const char *path, int n,
                                          const char *const *names, const interp_array *arrays);

/* interp_idx_parse on a file. */
INTERP_API interp_status interp_idx_read(interp_ctx *ctx, const char *path, interp_array *array);

/* interp_csv_parse on a file. */
INTERP_API interp_status interp_csv_read(interp_ctx *ctx, const char *path, interp_table *table);

/* interp_safetensors_parse on a file. */
INTERP_API interp_status interp_safetensors_read(interp_ctx *ctx, const char *path,
                                                 interp_named_arrays *arrays);

/* Writes arrays and notes as safetensors. BAD_ARGUMENT: two of one name, or a name that is not
   UTF-8. Test: safetensors_round_trips. */
INTERP_API interp_status interp_safetensors_write(interp_ctx *ctx, const char *path,
                                                  const interp_named_arrays *arrays);

/* interp_image_file_parse on a file. */
INTERP_API interp_status interp_image_file_read(interp_ctx *ctx, const char *path, int channels,
                                                interp_array *image);

/* Reads an array named as on the command line: FILE.npy, FILE.npz[:KEY], FILE.csv,
   FILE.safetensors:KEY, an IDX file, a PNG or JPEG file ([1,C,H,W]) or a folder of them
   ([n,C,H,W] in order of name, resized to the first one's size where they differ).
   A CSV gives float64 [rows,columns]; text in it is only allowed in a table of one column, as
   category ids. Test: array_read_takes_every_form. */
INTERP_API interp_status interp_array_read(interp_ctx *ctx, const char *spec, interp_array *array);

/* Reads a data set named as on the command line:
     idx:DIR                        the four MNIST-named IDX files, plain or .gz
     cifar10:DIR                    binary batches
     npy:X.npy[,Y.npy]              X [n,d], [n,H,W] or [n,C,H,W]; Y whole numbers
     csv:FILE[,label=COLUMN]        label: default "label", "class", "target", "species" or
                                    "diagnosis", else the last column
     folder:DIR                     one sub-folder of images per class
     table:FILE.csv,images=DIR[,id=COLUMN,label=COLUMN]   a table that names image files
   each with [,size=HxW] to resize images. idx and cifar10 use their own test files; the others set
   20 % of every class aside for testing, chosen by `seed`. Bytes of images are scaled to 0..1.
   Where only one of training and test set is there, it is divided like the others. Tables: a column
   called "id" and empty columns are left out. npy: uint8 [n,H,W,C] with C 1, 3 or 4 is recognised.
   Such decisions go to the log hook. BAD_ARGUMENT for an unknown form lists the known ones;
   NOT_FINITE names the sample. digits and iris are in examples/data, not here.
   Test: data_open_reads_every_form. */
INTERP_API interp_status interp_data_open(interp_ctx *ctx, const char *spec, uint64_t seed,
                                          interp_dataset *train, interp_dataset *test);

#endif

#ifdef __cplusplus
}
#endif

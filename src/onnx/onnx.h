/* ---- onnx: models in ONNX, weights in safetensors -------------------------------------------- */

#if !defined(INTERP_NO_ONNX)
#ifdef __cplusplus
extern "C" {
#endif

/* What is known of an input when a model is loaded. */
typedef struct interp_onnx_input {
    const char *name;          /* NULL: the first input without any so far */
    const interp_array *array; /* its shape; and its numbers, `data` NULL: they come later */
} interp_onnx_input;

/* Options of interp_onnx_load. */
typedef struct interp_onnx_load_desc {
    int n_inputs;                    /* 0: all that matters is in the file */
    const interp_onnx_input *inputs; /* [n_inputs]; 0: none */
    bool channels_first; /* false: inputs as in the file; true: images [..,H,W,C], known as by
                            interp_channels_are_last, are taken as [..,C,H,W], as every method of
                            images wants them; interp_net_input_is_turned tells, and a file written
                            of the network takes what it took. Test:
                            models_of_images_with_channels_last_take_them_first */
    bool in_place; /* false: numbers are copied; true, only from memory: float32 at multiples of 4
                      bytes are used where they lie, as `interp convert -o MODEL.h` and
                      interp_onnx_save_desc.align lay them. The bytes must then stay until the network is
                      freed, and may be in flash; the network cannot be trained. Test:
                      models_in_place_take_no_memory_for_weights */
} interp_onnx_load_desc;

/* Reads an ONNX model of opset 1 to 25 from n bytes in memory, which may be freed afterwards; desc
   NULL: as the file is. Names stay: nodes and values are found by those of the file (a node without a
   name is OP_INDEX). Initialisers used as weights, biases, scales and shifts are trainable, in the
   order of the file. The batch is the first dimension of every input; a model made for batches of one
   takes any where that means the same. Other dimensions that the file leaves open are those of
   desc->inputs. Inputs that shapes depend on, like the sizes of a Reshape, must be given with their
   numbers there, and are then no inputs of the network. Sigmoid times its input becomes Swish, the
   usual chains become Gelu and layer norm. Whole numbers and truth values are computed as float32.
   Errors: FORMAT for damaged input, UNSUPPORTED names node, op and opset, or the external data that
   only a file can have; BAD_ARGUMENT, BAD_SHAPE, NO_MEMORY. Tests: reference_models_give_their_outputs,
   damaged_models_are_refused_and_leak_nothing. */
INTERP_API interp_status interp_onnx_parse(interp_ctx *ctx, const void *bytes, size_t n,
                                           const interp_onnx_load_desc *desc, interp_net **net);

/* Writes a network as ONNX (opset 17, IR 8) to memory: *bytes, of *n bytes, belong to the context
   of the network; free them with interp_free. The same network gives the same bytes. Ops ONNX has
   no name for become chains of its own. Errors: BAD_ARGUMENT when the network is not built or a
   name is not UTF-8, UNSUPPORTED for what opset 17 cannot say, NO_MEMORY.
   Tests: every_op_survives_the_round_trip, architectures_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_serialize(const interp_net *net, void **bytes, size_t *n);

/* How weights are kept in a file: trainable arrays of two or more dimensions; all else is float32.
   Arrays that the form would spoil stay float32: float16 those beyond 65504, int8 those that are not
   the weights of a convolution or dense layer. */
typedef enum interp_storage {
    INTERP_STORE_FLOAT32,
    INTERP_STORE_FLOAT16, /* the nearest float16, and a Cast */
    INTERP_STORE_INT8     /* whole steps of a 127th of the largest weight of each output channel,
                             and a DequantizeLinear */
} interp_storage;

/* Options of interp_onnx_serialize_as. */
typedef struct interp_onnx_save_desc {
    interp_storage storage; /* 0: float32 */
    bool align; /* false: as short as can be; true: the numbers of every parameter and running
                   statistic begin at a multiple of 64 bytes from the beginning, for flash */
} interp_onnx_save_desc;

/* interp_onnx_serialize in other forms, which ONNX Runtime runs as well. desc: NULL takes every
   default. Errors as interp_onnx_serialize. Tests: weights_in_fewer_bytes_come_back_rounded,
   aligned_models_begin_numbers_at_64_bytes. */
INTERP_API interp_status interp_onnx_serialize_as(const interp_net *net,
                                                  const interp_onnx_save_desc *desc, void **bytes,
                                                  size_t *n);

/* What rounding changes. */
typedef struct interp_storage_report {
    int n_arrays;     /* kept in fewer bytes */
    size_t n_weights; /* numbers in them */
    double largest;   /* change of a weight by the largest weight of its array */
    double rms;       /* root of the sum of squared changes by that of the squared weights */
} interp_storage_report;

/* Rounds the weights of a network to what a file of that storage gives back, so that the loss of
   accuracy can be measured. report: NULL or filled. Errors: BAD_ARGUMENT, NO_MEMORY.
   Test: weights_in_fewer_bytes_come_back_rounded. */
INTERP_API interp_status interp_weights_round(interp_net *net, interp_storage storage,
                                              interp_storage_report *report);

/* Adds a note (ONNX's metadata_props) to a serialized model, as "classes" with what its outputs are
   called: *bytes, of *n bytes, are replaced by longer ones. Errors: BAD_ARGUMENT when key or text is
   not UTF-8, NO_MEMORY. Test: notes_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_note_add(interp_ctx *ctx, void **bytes, size_t *n,
                                              const char *key, const char *text);

/* The note of that key in a serialized model of n bytes, ended by a 0; free *text with interp_free.
   *text is NULL when there is none, the last one when there are several. Errors: FORMAT for damaged
   input, NO_MEMORY. Test: notes_survive_the_round_trip. */
INTERP_API interp_status interp_onnx_note_find(interp_ctx *ctx, const void *bytes, size_t n,
                                               const char *key, char **text);

#if !defined(INTERP_NO_STDIO)

/* interp_onnx_parse on a file; external data is looked for beside it and nowhere else. Sentences
   of errors begin with the path. Test: external_data_stays_in_the_folder_of_the_model. */
INTERP_API interp_status interp_onnx_load(interp_ctx *ctx, const char *path,
                                          const interp_onnx_load_desc *desc, interp_net **net);

/* interp_onnx_note_find in a file. */
INTERP_API interp_status interp_onnx_note_read(interp_ctx *ctx, const char *path, const char *key,
                                               char **text);

/* interp_onnx_serialize to a file, which appears whole or not at all. */
INTERP_API interp_status interp_onnx_save(const interp_net *net, const char *path);

/* Writes all parameters and running statistics by name as safetensors, or as NPZ when the path ends
   in .npz. Test: weights_survive_the_round_trip. */
INTERP_API interp_status interp_weights_save(const interp_net *net, const char *path);

/* Reads what interp_weights_save wrote, of any element type, into a network of the same names and
   shapes; after an error the network is as it was. Errors: BAD_ARGUMENT names an array that is
   missing or not wanted, BAD_SHAPE one of another shape, FORMAT, IO, NO_MEMORY.
   Test: weights_of_another_network_are_refused. */
INTERP_API interp_status interp_weights_load(interp_net *net, const char *path);

#endif

#ifdef __cplusplus
}
#endif
#endif

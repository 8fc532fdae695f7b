/* ---- onnx/protobuf.c: the wire format, and ONNX's messages as far as we read them ------------ */

/* Some of the bytes being read; not ended by a 0. */
typedef struct itp_slice {
    const char *at;
    size_t n;
} itp_slice;

ITP_FN itp_slice itp_slice_of(const char *text)
{
    itp_slice s;
    s.at = text;
    s.n = strlen(text);
    return s;
}

ITP_FN bool itp_slice_equal(itp_slice a, itp_slice b)
{
    return a.n == b.n && (a.n == 0 || !memcmp(a.at, b.at, a.n));
}

ITP_FN bool itp_slice_is(itp_slice s, const char *text)
{
    return itp_slice_equal(s, itp_slice_of(text));
}

/* For "%.*s": long names are cut. */
#define ITP_SHOW(s) (int)itp_min_size((s).n, 100), (s).n ? (s).at : ""

/* ---- reading the wire */

/* What is left of a message; `bad` once it made no sense. */
typedef struct itp_pb {
    const unsigned char *at, *end;
    bool bad;
} itp_pb;

enum { ITP_VARINT = 0, ITP_FIXED64 = 1, ITP_BYTES = 2, ITP_FIXED32 = 5 }; /* wire types */

typedef struct itp_pb_field {
    uint32_t number;
    int wire;
    uint64_t value;  /* unless ITP_BYTES */
    itp_slice bytes; /* of ITP_BYTES */
} itp_pb_field;

ITP_FN itp_pb itp_pb_of(itp_slice s)
{
    itp_pb p;
    p.at = (const unsigned char *)s.at;
    p.end = s.n ? p.at + s.n : p.at; /* the slice of nothing has no address */
    p.bad = false;
    return p;
}

ITP_FN bool itp_pb_varint(itp_pb *p, uint64_t *out)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 70 && p->at < p->end; shift += 7) {
        const unsigned char c = *p->at++;
        if (shift == 63 && c > 1) break;
        value |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *out = value;
            return true;
        }
    }
    p->bad = true;
    return false;
}

/* A number of 4 or 8 bytes. */
ITP_FN bool itp_pb_fixed(itp_pb *p, int wire, uint64_t *out)
{
    const size_t size = wire == ITP_FIXED64 ? 8 : 4;
    if ((size_t)(p->end - p->at) < size) {
        p->bad = true;
        return false;
    }
    *out = size == 8 ? itp_get_le64(p->at) : itp_get_le32(p->at);
    p->at += size;
    return true;
}

/* The next field, whatever it is; false at the end and when the bytes make no sense. */
ITP_FN bool itp_pb_next(itp_pb *p, itp_pb_field *f)
{
    uint64_t key = 0, n = 0;
    if (p->bad || p->at == p->end || !itp_pb_varint(p, &key)) return false;
    memset(f, 0, sizeof *f);
    f->number = (uint32_t)(key >> 3);
    f->wire = (int)(key & 7);
    p->bad = key >> 32 || f->number == 0;
    if (p->bad) return false;
    switch (f->wire) {
    case ITP_VARINT: return itp_pb_varint(p, &f->value);
    case ITP_FIXED64:
    case ITP_FIXED32: return itp_pb_fixed(p, f->wire, &f->value);
    case ITP_BYTES:
        if (!itp_pb_varint(p, &n)) return false;
        if (n > (uint64_t)(p->end - p->at)) break;
        f->bytes.at = (const char *)p->at;
        f->bytes.n = (size_t)n;
        p->at += (size_t)n;
        return true;
    default: break; /* groups, and what was never defined */
    }
    p->bad = true;
    return false;
}

/* The numbers of one repeated field, each alone or packed together. */
typedef struct itp_pb_numbers {
    itp_pb message, packed;
    uint32_t number;
    int wire;
} itp_pb_numbers;

ITP_FN itp_pb_numbers itp_pb_numbers_of(itp_slice message, uint32_t number, int wire)
{
    itp_pb_numbers it;
    memset(&it, 0, sizeof it);
    it.message = itp_pb_of(message);
    it.number = number;
    it.wire = wire;
    return it;
}

ITP_FN bool itp_pb_number(itp_pb_numbers *it, uint64_t *out)
{
    itp_pb_field f;
    while (it->packed.at == it->packed.end) {
        if (!itp_pb_next(&it->message, &f)) return false;
        if (f.number != it->number) continue;
        if (f.wire == it->wire) {
            *out = f.value;
            return true;
        }
        if (f.wire != ITP_BYTES) {
            it->message.bad = true;
            return false;
        }
        it->packed = itp_pb_of(f.bytes);
    }
    const bool good = it->wire == ITP_VARINT ? itp_pb_varint(&it->packed, out)
                                             : itp_pb_fixed(&it->packed, it->wire, out);
    if (!good) it->message.bad = true;
    return good;
}

/* ---- writing the wire */

ITP_FN void itp_pb_put_varint(itp_buf *b, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    do {
        bytes[n++] = (unsigned char)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
    itp_buf_add(b, bytes, n);
}

ITP_FN void itp_pb_put_key(itp_buf *b, uint32_t number, int wire)
{
    itp_pb_put_varint(b, (uint64_t)number << 3 | (uint64_t)wire);
}

ITP_FN void itp_pb_put_int(itp_buf *b, uint32_t number, int64_t value)
{
    itp_pb_put_key(b, number, ITP_VARINT);
    itp_pb_put_varint(b, (uint64_t)value);
}

/* The lowest `size` bytes of `bits`, little end first. */
ITP_FN void itp_put_le(itp_buf *b, uint64_t bits, int size)
{
    unsigned char bytes[8];
    for (int i = 0; i < size; i++) bytes[i] = (unsigned char)(bits >> 8 * i & 255);
    itp_buf_add(b, bytes, (size_t)size);
}

ITP_FN void itp_put_f32(itp_buf *b, double value)
{
    const itp_f32 x = (itp_f32)value;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    itp_put_le(b, bits, 4);
}

ITP_FN void itp_pb_put_float(itp_buf *b, uint32_t number, double value)
{
    itp_pb_put_key(b, number, ITP_FIXED32);
    itp_put_f32(b, value);
}

ITP_FN void itp_pb_put_bytes(itp_buf *b, uint32_t number, const void *bytes, size_t n)
{
    itp_pb_put_key(b, number, ITP_BYTES);
    itp_pb_put_varint(b, n);
    itp_buf_add(b, bytes, n);
}

ITP_FN void itp_pb_put_text(itp_buf *b, uint32_t number, const char *text)
{
    itp_pb_put_bytes(b, number, text, strlen(text));
}

/* Puts a finished message into another and empties its buffer for the next one. */
ITP_FN void itp_pb_put_message(itp_buf *b, uint32_t number, itp_buf *message)
{
    itp_pb_put_bytes(b, number, message->data ? message->data : "", message->n);
    if (message->status && !b->status) b->status = message->status;
    message->n = 0;
}

/* ---- ONNX's element types */

typedef struct itp_onnx_type {
    int id; /* TensorProto.DataType */
    interp_dtype dtype;
    uint32_t field; /* of TensorProto that holds them when not raw */
    int wire;
    int bits; /* of one */
} itp_onnx_type;

enum { /* TensorProto.DataType */
       ITP_ONNX_FLOAT = 1,
       ITP_ONNX_UINT8 = 2,
       ITP_ONNX_INT32 = 6,
       ITP_ONNX_INT64 = 7,
       ITP_ONNX_BOOL = 9,
       ITP_ONNX_UINT4 = 21,
       ITP_ONNX_INT4 = 22
};

/* NULL for text and complex numbers. Types that we have no arrays of are given as those that hold all their
   numbers. */
ITP_FN const itp_onnx_type *itp_onnx_type_row(int id)
{
    static const itp_onnx_type rows[] = {
        {1, INTERP_FLOAT32, 4, ITP_FIXED32, 32},  {2, INTERP_UINT8, 5, ITP_VARINT, 8},
        {3, INTERP_INT8, 5, ITP_VARINT, 8},       {4, INTERP_UINT16, 5, ITP_VARINT, 16},
        {5, INTERP_INT16, 5, ITP_VARINT, 16},     {6, INTERP_INT32, 5, ITP_VARINT, 32},
        {7, INTERP_INT64, 7, ITP_VARINT, 64},     {9, INTERP_BOOL, 5, ITP_VARINT, 8},
        {10, INTERP_FLOAT16, 5, ITP_VARINT, 16},  {11, INTERP_FLOAT64, 10, ITP_FIXED64, 64},
        {12, INTERP_UINT32, 11, ITP_VARINT, 32},  {13, INTERP_UINT64, 11, ITP_VARINT, 64},
        {16, INTERP_BFLOAT16, 5, ITP_VARINT, 16}, {17, INTERP_FLOAT32, 5, ITP_VARINT, 8},
        {18, INTERP_FLOAT32, 5, ITP_VARINT, 8},   {19, INTERP_FLOAT32, 5, ITP_VARINT, 8},
        {20, INTERP_FLOAT32, 5, ITP_VARINT, 8},   {21, INTERP_UINT8, 5, ITP_VARINT, 4},
        {22, INTERP_INT8, 5, ITP_VARINT, 4},      {23, INTERP_FLOAT32, 5, ITP_VARINT, 4},
        {24, INTERP_FLOAT32, 5, ITP_VARINT, 8},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id == id) return &rows[i];
    return NULL;
}

/* TensorProto.DataType of an element type. */
ITP_FN int itp_onnx_type_id(interp_dtype dtype)
{
    for (int id = 1; id < 17; id++)
        if (itp_onnx_type_row(id) && itp_onnx_type_row(id)->dtype == dtype) return id;
    return ITP_ONNX_FLOAT;
}

/* ---- what a model is made of. Symbols are its names; everything refers to them by number. */

typedef struct itp_onnx_tensor {
    int type; /* TensorProto.DataType */
    interp_shape shape;
    itp_slice raw;     /* little-endian; used when field is 0 */
    itp_slice message; /* the numbers are in this one's `field` */
    uint32_t field;
    int wire;
    bool repeats;  /* every element is the first */
    bool external; /* raw is in the file `location` */
    itp_slice location;
    uint64_t offset, length; /* length UINT64_MAX: to the end */
    double *values;          /* own numbers, computed or converted; NULL: none */
    unsigned char *batch;    /* which of them are the size of the batch; NULL: none */
} itp_onnx_tensor;

enum { /* what the numbers of an initialiser are to the network */
       ITP_AS_CONST = 1,
       ITP_AS_PARAM = 2,
       ITP_AS_BUFFER = 4
};

typedef struct itp_symbol {
    itp_slice name;
    int maker;          /* node that makes it, -1 for none */
    int tensor;         /* its numbers when known at load, -1 when not */
    int input;          /* index among the graph's inputs, -1 */
    int type, declared; /* TensorProto.DataType: of what is computed; as an output; 0: not told */
    int uses;           /* by nodes that are needed, and as output */
    int root;           /* the symbol whose numbers these are, under another shape; else itself */
    interp_shape shape; /* of known numbers */
    unsigned role;      /* ITP_AS_...; of roots */
    bool trained;       /* a weighted op came before it */
    int value, buffer;  /* of the network, -1: not there; `buffer` apart from a trained `value` */
    bool turned;        /* `value` has channels first, where the file has them last */
} itp_symbol;

typedef struct itp_onnx_attr {
    itp_slice name, message, s, t;
    int type; /* AttributeProto.AttributeType, 0 when not told */
    bool has_i, has_f;
    int64_t i;
    uint32_t f; /* bits */
} itp_onnx_attr;

typedef struct itp_onnx_row itp_onnx_row;
typedef struct itp_onnx_node itp_onnx_node;

struct itp_onnx_node {
    itp_slice name, op, domain;
    int index;                /* in the file */
    int in, n_in, out, n_out; /* ranges of links */
    int attr, n_attr;
    const itp_onnx_row *row;
    bool needed, skipped; /* skipped: its numbers are known, or another node does its work */
    int state;            /* of the search: 0 new, 1 open, 2 done */
    int fused;            /* op of ours this node ends, -1 for none */
    int fused_in[3];      /* and its inputs, -1 for none */
    double fused_number;  /* and its constant */
};

typedef struct itp_onnx_port {
    int symbol;
    int type; /* of elements, 0 when not told */
    bool has_shape;
    int rank;
    int dim[INTERP_MAX_RANK];   /* -1: any */
    bool wanted;                /* its numbers decide about shapes */
    const interp_array *values; /* given by the caller; NULL: none */
} itp_onnx_port;

typedef struct itp_onnx_file {
    itp_slice location;
    char *bytes;
    size_t n;
} itp_onnx_file;

/* A model being read. */
typedef struct itp_onnx {
    interp_ctx *ctx;
    const char *path; /* NULL: from memory */
    interp_net *net;
    int64_t opset;
    itp_slice producer, name;
    itp_symbol *symbols;
    int n_symbols, symbols_capacity;
    int *table, table_size; /* hash table of symbols: index + 1, a power of two, 0 free */
    itp_onnx_tensor *tensors;
    int n_tensors, tensors_capacity;
    int *initializers; /* symbols, in the order of the file */
    int n_initializers, initializers_capacity;
    itp_onnx_node *nodes;
    int n_nodes, nodes_capacity;
    int *links; /* inputs and outputs of nodes: symbols, -1 for left out */
    int n_links, links_capacity;
    itp_onnx_attr *attrs;
    int n_attrs, attrs_capacity;
    itp_onnx_port *inputs;
    int n_inputs, inputs_capacity;
    int *outputs; /* symbols */
    int n_outputs, outputs_capacity;
    int *order; /* needed nodes, makers before users */
    int n_order;
    itp_onnx_file *files;
    int n_files, files_capacity;
    itp_buf node_name, value_name;
    itp_slice place; /* numbers in it stay there when they can be used so; at NULL: none do */
    bool own;        /* written by interp_onnx_serialize */
    bool literal;    /* no dimension is the batch */
    bool channels_first;
    bool any_batch; /* the first dimension of an input is open */
} itp_onnx;

ITP_FN interp_status itp_onnx_damaged(itp_onnx *r, const char *what)
{
    return itp_fail(r->ctx, INTERP_FORMAT,
                    "%s cannot be decoded: the data is damaged, cut off or no ONNX model", what);
}

/* Room for one more; counts stay far from INT_MAX. */
ITP_FN interp_status itp_onnx_room(itp_onnx *r, void *items, int n, int *capacity, size_t size)
{
    if (n >= 1 << 26)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED, "the model has more than %d parts of one kind",
                        1 << 26);
    return itp_grow(r->ctx, items, n, capacity, size);
}

/* ---- symbols */

ITP_FN uint32_t itp_slice_hash(itp_slice s)
{
    uint32_t h = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < s.n; i++) h = (h ^ (unsigned char)s.at[i]) * 16777619u;
    return h ^ h >> 15;
}

/* Place of a name in the table: of the symbol, or the free one where it would go. */
ITP_FN int itp_symbol_place(const itp_onnx *r, itp_slice name)
{
    int at = (int)(itp_slice_hash(name) & (uint32_t)(r->table_size - 1));
    while (r->table[at] && !itp_slice_equal(r->symbols[r->table[at] - 1].name, name))
        at = (at + 1) & (r->table_size - 1);
    return at;
}

ITP_FN int itp_symbol_find(const itp_onnx *r, itp_slice name)
{
    return r->table_size ? r->table[itp_symbol_place(r, name)] - 1 : -1;
}

/* The symbol of a name, made when it is new; -1 for the empty name. */
ITP_FN interp_status itp_symbol_get(itp_onnx *r, itp_slice name, int *out)
{
    *out = -1;
    if (!name.n) return INTERP_OK;
    if (memchr(name.at, 0, name.n))
        return itp_fail(r->ctx, INTERP_FORMAT, "a name has a zero byte: \"%.*s\"", ITP_SHOW(name));
    if (r->n_symbols >= r->table_size / 2) {
        const int size = itp_max(64, r->table_size * 2);
        int *table = (int *)itp_calloc(r->ctx, (size_t)size, sizeof *table);
        if (!table) return INTERP_NO_MEMORY;
        interp_free(r->ctx, r->table);
        r->table = table;
        r->table_size = size;
        for (int i = 0; i < r->n_symbols; i++)
            r->table[itp_symbol_place(r, r->symbols[i].name)] = i + 1;
    }
    const int at = itp_symbol_place(r, name);
    if (!r->table[at]) {
        ITP_TRY(
            itp_onnx_room(r, &r->symbols, r->n_symbols, &r->symbols_capacity, sizeof *r->symbols));
        itp_symbol *s = &r->symbols[r->n_symbols];
        memset(s, 0, sizeof *s);
        s->name = name;
        s->maker = s->tensor = s->input = s->value = s->buffer = -1;
        s->root = r->n_symbols;
        r->table[at] = ++r->n_symbols;
    }
    *out = r->table[at] - 1;
    return INTERP_OK;
}

/* ---- messages */

/* Whether a field that we know has the wire type it must have. */
ITP_FN bool itp_pb_wire(itp_pb *p, const itp_pb_field *f, int wire)
{
    if (f->wire != wire) p->bad = true;
    return f->wire == wire;
}

/* A number from a short list; 999 stands for all that no list has. */
ITP_FN int itp_pb_small(const itp_pb_field *f)
{
    return f->value > 999 ? 999 : (int)f->value;
}

/* key=1, value=2 of TensorProto.external_data */
ITP_FN bool itp_onnx_read_external(itp_slice message, itp_onnx_tensor *t)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice key = {NULL, 0}, value = {NULL, 0};
    while (itp_pb_next(&p, &f)) {
        if (f.number == 1 && itp_pb_wire(&p, &f, ITP_BYTES)) key = f.bytes;
        if (f.number == 2 && itp_pb_wire(&p, &f, ITP_BYTES)) value = f.bytes;
    }
    if (p.bad) return false;
    const bool offset = itp_slice_is(key, "offset");
    if (itp_slice_is(key, "location")) t->location = value;
    if (!offset && !itp_slice_is(key, "length")) return true;
    uint64_t n = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.at[i] < '0' || value.at[i] > '9' || n > UINT64_MAX / 10 - 1) return false;
        n = n * 10 + (uint64_t)(value.at[i] - '0');
    }
    *(offset ? &t->offset : &t->length) = n;
    return value.n > 0;
}

/* dims=1 (repeated) as a shape. */
ITP_FN interp_status itp_onnx_read_dims(itp_onnx *r, itp_slice message, itp_slice name,
                                        interp_shape *shape)
{
    uint64_t dims[INTERP_MAX_RANK], d;
    int rank = 0;
    itp_pb_numbers it = itp_pb_numbers_of(message, 1, ITP_VARINT);
    while (itp_pb_number(&it, &d)) {
        if (rank == INTERP_MAX_RANK)
            return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                            "tensor \"%.*s\" has more than %d dimensions", ITP_SHOW(name),
                            INTERP_MAX_RANK);
        dims[rank++] = d;
    }
    if (it.message.bad) return itp_onnx_damaged(r, "a tensor");
    char label[128];
    size_t bytes;
    snprintf(label, sizeof label, "tensor \"%.*s\"", ITP_SHOW(name));
    return itp_shape_from_file(r->ctx, label, rank, dims, 8, shape, &bytes);
}

/* Whether a tensor holds as many numbers as its shape says. */
ITP_FN interp_status itp_onnx_check_size(itp_onnx *r, const itp_onnx_tensor *t, itp_slice name)
{
    const itp_onnx_type *type = itp_onnx_type_row(t->type);
    const size_t count = interp_shape_size(&t->shape);
    size_t have = 0;
    uint64_t bits;
    if (!type || t->external) return INTERP_OK; /* looked at when it is used */
    if (t->field) {
        itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
        while (itp_pb_number(&it, &bits)) have++;
        if (it.message.bad) return itp_onnx_damaged(r, "a tensor");
    } else {
        const size_t size = (size_t)itp_max(1, type->bits / 8);
        have = t->raw.n % size ? SIZE_MAX : t->raw.n / size;
    }
    char text[96];
    const size_t numbers = t->repeats ? 1 : count;
    if (have == (type->bits < 8 ? numbers / 2 + numbers % 2 : numbers)) return INTERP_OK;
    return itp_fail(r->ctx, INTERP_FORMAT, "tensor \"%.*s\" of shape %s does not hold %zu numbers",
                    ITP_SHOW(name), itp_shape_text(&t->shape, text, sizeof text), count);
}

/* TensorProto: dims=1, data_type=2, name=8, raw_data=9, external_data=13, data_location=14 */
ITP_FN interp_status itp_onnx_read_tensor(itp_onnx *r, itp_slice message, itp_slice *name,
                                          itp_onnx_tensor *t)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    bool raw = false;
    memset(t, 0, sizeof *t);
    memset(name, 0, sizeof *name);
    t->message = message;
    t->length = UINT64_MAX;
    while (itp_pb_next(&p, &f)) {
        switch (f.number) {
        case 2:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) t->type = itp_pb_small(&f);
            break;
        case 8:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) *name = f.bytes;
            break;
        case 9:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) t->raw = f.bytes;
            raw = true;
            break;
        case 13:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) p.bad = !itp_onnx_read_external(f.bytes, t);
            break;
        case 14:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) t->external = f.value == 1;
            break;
        default: break;
        }
    }
    if (p.bad) return itp_onnx_damaged(r, "a tensor");
    const itp_onnx_type *type = itp_onnx_type_row(t->type);
    if (type && !raw && !t->external) {
        t->field = type->field;
        t->wire = type->wire;
    }
    ITP_TRY(itp_onnx_read_dims(r, message, *name, &t->shape));
    return itp_onnx_check_size(r, t, *name);
}

ITP_FN interp_status itp_onnx_add_tensor(itp_onnx *r, const itp_onnx_tensor *t, int symbol)
{
    ITP_TRY(itp_onnx_room(r, &r->tensors, r->n_tensors, &r->tensors_capacity, sizeof *r->tensors));
    r->tensors[r->n_tensors] = *t;
    r->symbols[symbol].tensor = r->n_tensors++;
    r->symbols[symbol].shape = t->shape;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_initializer(itp_onnx *r, itp_slice message)
{
    itp_onnx_tensor t;
    itp_slice name;
    int symbol;
    ITP_TRY(itp_onnx_read_tensor(r, message, &name, &t));
    ITP_TRY(itp_symbol_get(r, name, &symbol));
    if (symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an initializer has no name");
    if (r->symbols[symbol].tensor >= 0)
        return itp_fail(r->ctx, INTERP_FORMAT, "two initializers are named \"%.*s\"",
                        ITP_SHOW(name));
    ITP_TRY(itp_onnx_room(r, &r->initializers, r->n_initializers, &r->initializers_capacity,
                          sizeof *r->initializers));
    r->initializers[r->n_initializers++] = symbol;
    return itp_onnx_add_tensor(r, &t, symbol);
}

/* AttributeProto: name=1, f=2, i=3, s=4, t=5, type=20 */
ITP_FN interp_status itp_onnx_read_attribute(itp_onnx *r, itp_slice message)
{
    ITP_TRY(itp_onnx_room(r, &r->attrs, r->n_attrs, &r->attrs_capacity, sizeof *r->attrs));
    itp_onnx_attr *a = &r->attrs[r->n_attrs++];
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    memset(a, 0, sizeof *a);
    a->message = message;
    while (itp_pb_next(&p, &f)) {
        switch (f.number) {
        case 1:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->name = f.bytes;
            break;
        case 2:
            if (itp_pb_wire(&p, &f, ITP_FIXED32)) a->f = (uint32_t)f.value, a->has_f = true;
            break;
        case 3:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) a->i = (int64_t)f.value, a->has_i = true;
            break;
        case 4:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->s = f.bytes;
            break;
        case 5:
            if (itp_pb_wire(&p, &f, ITP_BYTES)) a->t = f.bytes;
            break;
        case 20:
            if (itp_pb_wire(&p, &f, ITP_VARINT)) a->type = itp_pb_small(&f);
            break;
        default: break;
        }
    }
    return p.bad ? itp_onnx_damaged(r, "an attribute") : INTERP_OK;
}

/* The names of field `number` as links. */
ITP_FN interp_status itp_onnx_read_links(itp_onnx *r, itp_slice message, uint32_t number,
                                         int *first, int *count)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    *first = r->n_links;
    while (itp_pb_next(&p, &f)) {
        int symbol;
        if (f.number != number || !itp_pb_wire(&p, &f, ITP_BYTES)) continue;
        ITP_TRY(itp_symbol_get(r, f.bytes, &symbol));
        ITP_TRY(itp_onnx_room(r, &r->links, r->n_links, &r->links_capacity, sizeof *r->links));
        r->links[r->n_links++] = symbol;
    }
    *count = r->n_links - *first;
    return p.bad ? itp_onnx_damaged(r, "a node") : INTERP_OK;
}

/* NodeProto: input=1, output=2, name=3, op_type=4, attribute=5, domain=7 */
ITP_FN interp_status itp_onnx_read_node(itp_onnx *r, itp_slice message)
{
    ITP_TRY(itp_onnx_room(r, &r->nodes, r->n_nodes, &r->nodes_capacity, sizeof *r->nodes));
    itp_onnx_node *n = &r->nodes[r->n_nodes];
    memset(n, 0, sizeof *n);
    n->index = r->n_nodes++;
    n->fused = n->fused_in[0] = n->fused_in[1] = n->fused_in[2] = -1;
    n->attr = r->n_attrs;
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    while (itp_pb_next(&p, &f)) {
        if (f.number != 3 && f.number != 4 && f.number != 5 && f.number != 7) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        if (f.number == 3) n->name = f.bytes;
        if (f.number == 4) n->op = f.bytes;
        if (f.number == 5) ITP_TRY(itp_onnx_read_attribute(r, f.bytes));
        if (f.number == 7) n->domain = f.bytes;
    }
    if (p.bad) return itp_onnx_damaged(r, "a node");
    if (n->name.n && memchr(n->name.at, 0, n->name.n))
        return itp_fail(r->ctx, INTERP_FORMAT, "a node's name has a zero byte");
    n->n_attr = r->n_attrs - n->attr;
    ITP_TRY(itp_onnx_read_links(r, message, 1, &n->in, &n->n_in));
    while (n->n_in && r->links[n->in + n->n_in - 1] < 0) n->n_in--; /* left out at the end */
    ITP_TRY(itp_onnx_read_links(r, message, 2, &n->out, &n->n_out));
    for (int i = 0; i < n->n_out; i++) {
        const int symbol = r->links[n->out + i];
        if (symbol < 0) continue;
        if (r->symbols[symbol].maker >= 0)
            return itp_fail(r->ctx, INTERP_FORMAT, "two nodes make the value \"%.*s\"",
                            ITP_SHOW(r->symbols[symbol].name));
        r->symbols[symbol].maker = n->index;
    }
    return INTERP_OK;
}

/* Walks down messages of one field each: TypeProto.tensor_type=1, its shape=2. The last one of a
   kind counts. */
ITP_FN bool itp_pb_child(itp_slice message, uint32_t number, itp_slice *child)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    bool found = false;
    while (itp_pb_next(&p, &f))
        if (f.number == number && f.wire == ITP_BYTES) *child = f.bytes, found = true;
    return found && !p.bad;
}

/* TensorShapeProto.dim=1 {dim_value=1, dim_param=2} */
ITP_FN interp_status itp_onnx_read_port_shape(itp_onnx *r, itp_slice message, itp_onnx_port *port)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f, d;
    port->has_shape = true;
    while (itp_pb_next(&p, &f)) {
        if (f.number != 1 || !itp_pb_wire(&p, &f, ITP_BYTES)) continue;
        itp_pb q = itp_pb_of(f.bytes);
        int64_t value = -1;
        while (itp_pb_next(&q, &d))
            if (d.number == 1 && itp_pb_wire(&q, &d, ITP_VARINT)) value = (int64_t)d.value;
        if (q.bad) return itp_onnx_damaged(r, "an input");
        if (value < 0) value = -1;
        if (port->rank < INTERP_MAX_RANK)
            port->dim[port->rank] = value > INT_MAX ? INT_MAX : (int)value;
        port->rank++;
    }
    return p.bad ? itp_onnx_damaged(r, "an input") : INTERP_OK;
}

/* ValueInfoProto: name=1, type=2; TypeProto.Tensor: elem_type=1, shape=2 */
ITP_FN interp_status itp_onnx_read_input(itp_onnx *r, itp_slice message)
{
    itp_slice name = {NULL, 0}, type, tensor, shape;
    itp_onnx_port port;
    memset(&port, 0, sizeof port);
    (void)itp_pb_child(message, 1, &name);
    ITP_TRY(itp_symbol_get(r, name, &port.symbol));
    if (port.symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an input has no name");
    if (itp_pb_child(message, 2, &type) && itp_pb_child(type, 1, &tensor)) {
        itp_pb p = itp_pb_of(tensor);
        itp_pb_field f;
        while (itp_pb_next(&p, &f))
            if (f.number == 1 && itp_pb_wire(&p, &f, ITP_VARINT)) port.type = itp_pb_small(&f);
        if (p.bad) return itp_onnx_damaged(r, "an input");
        if (itp_pb_child(tensor, 2, &shape)) ITP_TRY(itp_onnx_read_port_shape(r, shape, &port));
    }
    if (r->symbols[port.symbol].input >= 0)
        return itp_fail(r->ctx, INTERP_FORMAT, "two inputs are named \"%.*s\"", ITP_SHOW(name));
    ITP_TRY(itp_onnx_room(r, &r->inputs, r->n_inputs, &r->inputs_capacity, sizeof *r->inputs));
    r->symbols[port.symbol].input = r->n_inputs;
    r->inputs[r->n_inputs++] = port;
    return INTERP_OK;
}

ITP_FN interp_status itp_onnx_read_output(itp_onnx *r, itp_slice message)
{
    itp_slice name = {NULL, 0}, type, tensor;
    int symbol;
    (void)itp_pb_child(message, 1, &name);
    ITP_TRY(itp_symbol_get(r, name, &symbol));
    if (symbol < 0) return itp_fail(r->ctx, INTERP_FORMAT, "an output has no name");
    if (itp_pb_child(message, 2, &type) && itp_pb_child(type, 1, &tensor)) {
        itp_pb p = itp_pb_of(tensor);
        itp_pb_field f;
        while (itp_pb_next(&p, &f))
            if (f.number == 1 && itp_pb_wire(&p, &f, ITP_VARINT))
                r->symbols[symbol].declared = itp_pb_small(&f);
        if (p.bad) return itp_onnx_damaged(r, "an output");
    }
    ITP_TRY(itp_onnx_room(r, &r->outputs, r->n_outputs, &r->outputs_capacity, sizeof *r->outputs));
    r->outputs[r->n_outputs++] = symbol;
    return INTERP_OK;
}

/* GraphProto: node=1, name=2, initializer=5, input=11, output=12, sparse_initializer=15 */
ITP_FN interp_status itp_onnx_read_graph(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    while (itp_pb_next(&p, &f)) {
        interp_status status = INTERP_OK;
        if (f.wire != ITP_BYTES) continue;
        switch (f.number) {
        case 1: status = itp_onnx_read_node(r, f.bytes); break;
        case 2: r->name = f.bytes; break;
        case 5: status = itp_onnx_read_initializer(r, f.bytes); break;
        case 11: status = itp_onnx_read_input(r, f.bytes); break;
        case 12: status = itp_onnx_read_output(r, f.bytes); break;
        case 15:
            status = itp_fail(r->ctx, INTERP_UNSUPPORTED, "sparse initializers are not supported");
            break;
        default: break;
        }
        ITP_TRY(status);
    }
    return p.bad ? itp_onnx_damaged(r, "the graph") : INTERP_OK;
}

/* OperatorSetIdProto: domain=1, version=2 */
ITP_FN interp_status itp_onnx_read_opset(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice domain = {NULL, 0};
    int64_t version = 0;
    while (itp_pb_next(&p, &f)) {
        if (f.number == 1 && itp_pb_wire(&p, &f, ITP_BYTES)) domain = f.bytes;
        if (f.number == 2 && itp_pb_wire(&p, &f, ITP_VARINT)) version = (int64_t)f.value;
    }
    if (p.bad) return itp_onnx_damaged(r, "the opset");
    if (!domain.n || itp_slice_is(domain, "ai.onnx")) r->opset = version;
    return INTERP_OK;
}

/* ModelProto: producer_name=2, graph=7, opset_import=8 */
ITP_FN interp_status itp_onnx_read_model(itp_onnx *r, itp_slice message)
{
    itp_pb p = itp_pb_of(message);
    itp_pb_field f;
    itp_slice graph = {NULL, 0};
    while (itp_pb_next(&p, &f)) {
        if (f.number != 2 && f.number != 7 && f.number != 8) continue;
        if (!itp_pb_wire(&p, &f, ITP_BYTES)) break;
        if (f.number == 2) r->producer = f.bytes;
        if (f.number == 8) ITP_TRY(itp_onnx_read_opset(r, f.bytes));
        if (f.number == 7 && graph.at)
            return itp_fail(r->ctx, INTERP_FORMAT, "the model has two graphs");
        if (f.number == 7) graph = f.bytes;
    }
    if (p.bad) return itp_onnx_damaged(r, "the model");
    if (!graph.at)
        return itp_fail(r->ctx, INTERP_FORMAT, "there is no graph: this is no ONNX model");
    return itp_onnx_read_graph(r, graph);
}

/* ---- numbers of tensors */

/* One element from its bits, sign and value as its type has them. */
ITP_FN double itp_onnx_real(int type, uint64_t bits)
{
    double d;
    switch (type) {
    case 1: return (double)itp_f32_of_bits((uint32_t)bits);
    case 2: return (double)(bits & 255);
    case 3: return (double)(int8_t)(bits & 255);
    case 4: return (double)(bits & 65535);
    case 5: return (double)(int16_t)(bits & 65535);
    case 6: return (double)(int32_t)(bits & 0xFFFFFFFFu);
    case 7: return (double)(int64_t)bits;
    case 9: return (double)(bits != 0);
    case 10: return (double)itp_f32_of_half((unsigned)bits & 65535);
    case 11: memcpy(&d, &bits, sizeof d); return d;
    case 12: return (double)(bits & 0xFFFFFFFFu);
    case 13: return (double)bits;
    case 16: return (double)itp_f32_of_bits((uint32_t)(bits & 65535) << 16);
    case ITP_ONNX_UINT4: return (double)(bits & 15);
    case ITP_ONNX_INT4: return (double)(bits & 15) - (bits & 8 ? 16 : 0);
    default: break;
    }
    const itp_small_float *f = itp_small_float_of(type);
    return f ? itp_small_float_value(f, (unsigned)bits & ((1u << f->bits) - 1)) : 0;
}

/* The bits of raw element i; of two in a byte the first is the lower half. */
ITP_FN uint64_t itp_onnx_raw_bits(const itp_onnx_tensor *t, size_t i)
{
    const unsigned char *p = (const unsigned char *)t->raw.at;
    switch (itp_onnx_type_row(t->type)->bits) {
    case 4: return (uint64_t)p[i / 2] >> (i % 2 * 4) & 15;
    case 8: return p[i];
    case 16: return itp_get_le16(p + 2 * i);
    case 32: return itp_get_le32(p + 4 * i);
    default: return itp_get_le64(p + 8 * i);
    }
}

/* Those of element i, when it is its turn, of the numbers of a field. */
ITP_FN uint64_t itp_onnx_field_bits(const itp_onnx_tensor *t, itp_pb_numbers *it, size_t i,
                                    uint64_t *entry)
{
    const bool halves = itp_onnx_type_row(t->type)->bits == 4;
    if (!(halves && i % 2) && (!t->repeats || i == 0)) (void)itp_pb_number(it, entry);
    return halves && i % 2 && !t->repeats ? *entry >> 4 : *entry;
}

/* All elements as floats; the size was checked. */
ITP_FN void itp_onnx_floats(const itp_onnx_tensor *t, float *out)
{
    const size_t n = interp_shape_size(&t->shape);
    uint64_t bits = 0;
    if (t->values) {
        for (size_t i = 0; i < n; i++) out[i] = (float)t->values[i];
    } else if (t->field) {
        itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
        for (size_t i = 0; i < n; i++) {
            const uint64_t own = itp_onnx_field_bits(t, &it, i, &bits);
            out[i] = (float)itp_onnx_real(t->type, own);
        }
    } else if (t->type == ITP_ONNX_FLOAT && sizeof *out == 4 && itp_host_is_little() &&
               !t->repeats) {
        if (n) memcpy(out, t->raw.at, n * sizeof *out);
    } else {
        for (size_t i = 0; i < n; i++)
            out[i] = (float)itp_onnx_real(t->type, itp_onnx_raw_bits(t, t->repeats ? 0 : i));
    }
}

/* All elements as doubles. */
ITP_FN void itp_onnx_reals(const itp_onnx_tensor *t, double *out)
{
    const size_t n = interp_shape_size(&t->shape);
    itp_pb_numbers it = itp_pb_numbers_of(t->message, t->field, t->wire);
    uint64_t bits = 0;
    for (size_t i = 0; i < n; i++) {
        const uint64_t own = t->field ? itp_onnx_field_bits(t, &it, i, &bits)
                                      : itp_onnx_raw_bits(t, t->repeats ? 0 : i);
        out[i] = itp_onnx_real(t->type, own);
    }
}

/* A double as a whole number, the nearest there is. */
ITP_FN int64_t itp_whole(double x)
{
    if (!(x > -9.2e18)) return x == x ? INT64_MIN : 0;
    return x < 9.2e18 ? (int64_t)x : INT64_MAX;
}

/* ---- external data */

#if !defined(INTERP_NO_STDIO)

#if defined(ITP_HAS_POSIX) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
int lstat(const char *path, struct stat *info); /* which strict ISO C hides */
#endif

/* Relative, without "..", drive or backslash. */
ITP_FN bool itp_onnx_location_ok(itp_slice s)
{
    if (!s.n || s.n > 4096 || s.at[0] == '/') return false;
    for (size_t i = 0, start = 0; i <= s.n; i++) {
        if (i < s.n && (!s.at[i] || s.at[i] == '\\' || s.at[i] == ':')) return false;
        if (i < s.n && s.at[i] != '/') continue;
        if (i - start == 2 && s.at[start] == '.' && s.at[start + 1] == '.') return false;
        start = i + 1;
    }
    return true;
}

/* Whether a link stands anywhere on the way from the folder at path[folder] down. */
ITP_FN bool itp_onnx_has_link(char *path, size_t folder)
{
#if defined(ITP_HAS_POSIX)
    struct stat info;
    for (size_t i = folder;; i++) {
        if (path[i] && path[i] != '/') continue;
        const char kept = path[i];
        path[i] = 0;
        const bool link = i > folder && lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
        path[i] = kept;
        if (link) return true;
        if (!kept) return false;
    }
#else
    (void)path, (void)folder;
    return false;
#endif
}

/* The whole file an initializer names, read once. */
ITP_FN interp_status itp_onnx_open_file(itp_onnx *r, itp_slice location, const itp_onnx_file **out)
{
    for (int i = 0; i < r->n_files; i++)
        if (itp_slice_equal(r->files[i].location, location)) {
            *out = &r->files[i];
            return INTERP_OK;
        }
    if (!itp_onnx_location_ok(location))
        return itp_fail(r->ctx, INTERP_FORMAT,
                        "external data \"%.*s\" is not a relative path below the model's folder",
                        ITP_SHOW(location));
    ITP_TRY(itp_onnx_room(r, &r->files, r->n_files, &r->files_capacity, sizeof *r->files));
    const char *slash = strrchr(r->path, '/');
    itp_buf path = itp_buf_new(r->ctx);
    itp_buf_add(&path, r->path, slash ? (size_t)(slash - r->path) + 1 : 0);
    const size_t folder = path.n;
    itp_buf_add(&path, location.at, location.n);
    itp_onnx_file *f = &r->files[r->n_files];
    f->location = location;
    interp_status status = path.status;
    if (!status && itp_onnx_has_link(path.data, folder))
        status = itp_fail(r->ctx, INTERP_FORMAT,
                          "external data \"%.*s\" is a symbolic link: put the file itself there",
                          ITP_SHOW(location));
    if (!status) status = itp_file_read(r->ctx, path.data, &f->bytes, &f->n);
    itp_buf_free(&path);
    if (status) return status;
    r->n_files++;
    *out = f;
    return INTERP_OK;
}

#endif

ITP_FN interp_status itp_onnx_load_external(itp_onnx *r, int symbol)
{
    const itp_symbol *s = &r->symbols[symbol];
    itp_onnx_tensor *t = &r->tensors[s->tensor];
    if (!t->external) return INTERP_OK;
    if (!r->path)
        return itp_fail(r->ctx, INTERP_UNSUPPORTED,
                        "the numbers of \"%.*s\" are in another file: load the model from its file",
                        ITP_SHOW(s->name));
#if !defined(INTERP_NO_STDIO)
    const itp_onnx_file *f = NULL;
    ITP_TRY(itp_onnx_open_file(r, t->location, &f));
    if (t->offset > f->n || (t->length != UINT64_MAX && t->length > f->n - t->offset))
        return itp_fail(r->ctx, INTERP_FORMAT,
                        "the numbers of \"%.*s\" reach beyond the end of \"%.*s\"",
                        ITP_SHOW(s->name), ITP_SHOW(t->location));
    t->raw.at = f->bytes + (size_t)t->offset;
    t->raw.n = t->length == UINT64_MAX ? f->n - (size_t)t->offset : (size_t)t->length;
    t->external = false;
    return itp_onnx_check_size(r, t, s->name);
#else
    return INTERP_OK;
#endif
}

/* ---- the end */

ITP_FN void itp_onnx_free(itp_onnx *r)
{
    interp_ctx *ctx = r->ctx;
    for (int i = 0; i < r->n_files; i++) interp_free(ctx, r->files[i].bytes);
    for (int i = 0; i < r->n_tensors; i++) {
        interp_free(ctx, r->tensors[i].values);
        interp_free(ctx, r->tensors[i].batch);
    }
    void *all[] = {r->symbols, r->table,  r->tensors, r->initializers, r->nodes, r->links,
                   r->attrs,   r->inputs, r->outputs, r->order,        r->files};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) interp_free(ctx, all[i]);
    itp_buf_free(&r->node_name);
    itp_buf_free(&r->value_name);
}

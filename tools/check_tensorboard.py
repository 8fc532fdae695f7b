#!/usr/bin/python3
"""Reads what TensorBoard reads, by its schema, with Google's protobuf and checksums of its own.

    tools/check_tensorboard.py FILE...

FILE is an event file: prints how many values of which plugin, and the tags; or a projector_config.pbtxt:
prints the points and dimensions of each embedding. The schema is built here from field numbers of
event.proto, summary.proto, tensor.proto, tensor_shape.proto and projector_config.proto. Exit 1 when a
record is damaged, does not parse, holds fields that the schema does not know, or a value that its plugin
could not show, or the files of an embedding do not fit together; 77 when python3-protobuf is not
installed.
"""
import math
import os
import struct
import sys

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
except ImportError:
    print('python3-protobuf is not installed')
    sys.exit(77)

F = descriptor_pb2.FieldDescriptorProto
# Message: (field, number, type, repeated); a type in capitals is a message.
SCHEMA = {
    'Event': [('wall_time', 1, 'double', 0), ('step', 2, 'int64', 0),
              ('file_version', 3, 'string', 0), ('graph_def', 4, 'bytes', 0),
              ('summary', 5, 'Summary', 0), ('meta_graph_def', 9, 'bytes', 0)],
    'Summary': [('value', 1, 'Value', 1)],
    'Value': [('tag', 1, 'string', 0), ('simple_value', 2, 'float', 0), ('image', 4, 'bytes', 0),
              ('histo', 5, 'bytes', 0), ('node_name', 7, 'string', 0), ('tensor', 8, 'TensorProto', 0), ('metadata', 9, 'SummaryMetadata', 0)],
    'SummaryMetadata': [('plugin_data', 1, 'PluginData', 0), ('display_name', 2, 'string', 0),
                        ('summary_description', 3, 'string', 0), ('data_class', 4, 'int32', 0)],
    'PluginData': [('plugin_name', 1, 'string', 0), ('content', 2, 'bytes', 0)],
    'TensorProto': [('dtype', 1, 'int32', 0), ('tensor_shape', 2, 'TensorShapeProto', 0),
                    ('version_number', 3, 'int32', 0), ('tensor_content', 4, 'bytes', 0),
                    ('float_val', 5, 'float', 1), ('double_val', 6, 'double', 1),
                    ('int_val', 7, 'int32', 1), ('string_val', 8, 'bytes', 1)],
    'TensorShapeProto': [('dim', 2, 'Dim', 1), ('unknown_rank', 3, 'bool', 0)],
    'Dim': [('size', 1, 'int64', 0), ('name', 2, 'string', 0)],
    'ProjectorConfig': [('model_checkpoint_path', 1, 'string', 0), ('embeddings', 2, 'Embedding', 1),
                        ('model_checkpoint_dir', 3, 'string', 0)],
    'Embedding': [('tensor_name', 1, 'string', 0), ('metadata_path', 2, 'string', 0),
                  ('bookmarks_path', 3, 'string', 0), ('tensor_shape', 4, 'uint32', 1),
                  ('sprite', 5, 'Sprite', 0), ('tensor_path', 6, 'string', 0)],
    'Sprite': [('image_path', 1, 'string', 0), ('single_image_dim', 2, 'uint32', 1)],
}
FLOAT, DOUBLE, STRING = 1, 2, 7


def message_classes(*names):
    file = descriptor_pb2.FileDescriptorProto(name='event.proto', package='tb', syntax='proto3')
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            f = message.field.add(name=field, number=number,
                                  label=F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL)
            if kind in SCHEMA:
                f.type, f.type_name = F.TYPE_MESSAGE, '.tb.' + kind
            else:
                f.type = getattr(F, 'TYPE_' + kind.upper())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    make = getattr(message_factory, 'GetMessageClass', None)
    make = make or message_factory.MessageFactory(pool).GetPrototype
    return [make(pool.FindMessageTypeByName('tb.' + name)) for name in names]


TABLE = []
for n in range(256):
    for _ in range(8): n = n >> 1 ^ (0x82f63b78 if n & 1 else 0)
    TABLE.append(n)


def checksum(data):
    crc = 0xffffffff
    for byte in data: crc = TABLE[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xffffffff
    return ((crc >> 15 | crc << 17) + 0xa282ead8) & 0xffffffff


def records(data):
    at = 0
    while at < len(data):
        n, crc = struct.unpack('<QI', data[at:at + 12])
        body = data[at + 12:at + 12 + n]
        if len(body) < n or len(data) < at + 16 + n: raise ValueError('it ends within a record')
        if checksum(data[at:at + 8]) != crc: raise ValueError('length at %d is damaged' % at)
        if checksum(body) != struct.unpack('<I', data[at + 12 + n:at + 16 + n])[0]:
            raise ValueError('record at %d is damaged' % at)
        yield body
        at += 16 + n


def check_value(v):
    """The plugin, when the value is what it shows."""
    plugin, t = v.metadata.plugin_data.plugin_name, v.tensor
    shape = [d.size for d in t.tensor_shape.dim]
    if not v.tag: raise ValueError('a value without a tag')
    if plugin == 'scalars':
        good = (v.metadata.data_class, t.dtype, shape, len(t.tensor_content)) == (1, FLOAT, [], 4)
    elif plugin == 'images':
        good = (v.metadata.data_class, t.dtype) == (3, STRING) and shape == [len(t.string_val)]
        size = [int(s) for s in t.string_val[:2]]
        for png in t.string_val[2:]:
            good &= png[:8] == b'\x89PNG\r\n\x1a\n' and list(struct.unpack('>II', png[16:24])) == size
    elif plugin == 'histograms':
        good = (v.metadata.data_class, t.dtype, shape[1:]) == (2, DOUBLE, [3])
        numbers = struct.unpack('<%dd' % (len(t.tensor_content) // 8), t.tensor_content)
        rows = [numbers[i:i + 3] for i in range(0, len(numbers), 3)]
        good &= len(rows) == shape[0] and all(a <= b and c >= 0 for a, b, c in rows)
        good &= all(x[1] == y[0] for x, y in zip(rows, rows[1:]))
    elif plugin == 'text':
        good = t.dtype == STRING
    else:  # scalars of old
        good, plugin = not plugin and not v.HasField('tensor'), 'simple'
    if not good: raise ValueError('%s: not what %s shows' % (v.tag, plugin))
    return plugin


def check(path, event):
    plugins, tags = {}, {}
    for i, body in enumerate(records(open(path, 'rb').read())):
        e = event.FromString(body)
        known = event()
        known.CopyFrom(e)
        known.DiscardUnknownFields()
        if known.ByteSize() != e.ByteSize(): raise ValueError('record %d: unknown fields' % i)
        if i == 0 and e.file_version != 'brain.Event:2': raise ValueError('no version first')
        for v in e.summary.value:
            plugin = check_value(v)
            plugins[plugin] = plugins.get(plugin, 0) + 1
            steps = tags.setdefault(v.tag, [])
            if steps and e.step <= steps[-1]: raise ValueError(v.tag + ' goes back in time')
            steps.append(e.step)
    return plugins, tags


def check_embedding(folder, e):
    """Points and dimensions of an embedding whose files fit together."""
    def read(name): return open(os.path.join(folder, name), 'rb').read()
    def lines(name): return read(name).decode().rstrip('\n').split('\n')
    rows = [[float(v) for v in line.split('\t')] for line in lines(e.tensor_path)]
    if any(len(r) != len(rows[0]) or not all(map(math.isfinite, r)) for r in rows):
        raise ValueError(e.tensor_path + ': rows are not finite numbers, as many in each')
    if e.tensor_shape and list(e.tensor_shape) != [len(rows), len(rows[0])]:
        raise ValueError('%s is not %s' % (e.tensor_path, list(e.tensor_shape)))
    if e.metadata_path:
        labels = [line.split('\t') for line in lines(e.metadata_path)]
        head = len(labels[0]) > 1  # one column has no header
        if len(labels) != len(rows) + head or any(len(row) != len(labels[0]) for row in labels):
            raise ValueError('%s: %d lines for %d points' % (e.metadata_path, len(labels), len(rows)))
    if e.HasField('sprite'):
        width, height = struct.unpack('>II', read(e.sprite.image_path)[16:24])
        w, h = e.sprite.single_image_dim
        if width % w or height % h or (width // w) * (height // h) < len(rows):
            raise ValueError('%s: %dx%d is no room for %d pictures of %dx%d' %
                             (e.sprite.image_path, width, height, len(rows), w, h))
    return '%s: %d points of %d numbers' % (e.tensor_name, len(rows), len(rows[0]))


def check_projector(path, config):
    parsed = text_format.Parse(open(path).read(), config())
    if not parsed.embeddings: raise ValueError('no embedding')
    return [check_embedding(os.path.dirname(path), e) for e in parsed.embeddings]


def main():
    (event, config), code = message_classes('Event', 'ProjectorConfig'), 0
    for path in sys.argv[1:]:
        try:
            if path.endswith('.pbtxt'):
                print(path + ':\n  ' + '\n  '.join(check_projector(path, config)))
                continue
            plugins, tags = check(path, event)
        except Exception as error:  # whatever is wrong with the file
            print('%s: %s' % (path, error))
            code = 1
            continue
        print(path + ':', ', '.join('%d %s' % (n, p) for p, n in sorted(plugins.items())))
        for tag, steps in sorted(tags.items()): print('  %s: %d steps' % (tag, len(steps)))
    return code


if __name__ == '__main__':
    sys.exit(main())
